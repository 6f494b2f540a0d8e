#!/usr/bin/env bash
# Builds the base image and deploys every function beside a CVAT: deploy/deploy.sh cpu|gpu. README.md has the variables.
# A second run replaces what the first one made. DRY_RUN=1 prints the commands and changes nothing.
set -euo pipefail
here="$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=deploy/lib.sh
source "${here}/lib.sh"
# shellcheck source=deploy/checks.sh
source "${here}/checks.sh"

# Settings of a served function that are handed on when they are set; the flavour decides the device, the image the folder.
HANDED_ON=(ON_ERROR BUDGET_SECONDS MAX_PIXELS MAX_FACES THREADS SIDE_BY_SIDE GPU_MEMORY_MB ROTATIONS)
HANDED_ON+=(MAX_REQUEST_FACES MAX_CLUSTER_FACES TRACKS TRACK_MINUTES ON_LOST)
# The one function that reads SHARED_DIR.
READS_SHARED=auto-annotator-face-clustering

# nuctl's --env ends in a shell line between single quotes, so a quote in a value would end it.
add_environment() {
  case "$2" in
    *"'"* | *$'\n'*) die "$1: got '$2'; Nuclio cannot carry a single quote or a line break" ;;
  esac
  ENVIRONMENT+=(--env "$1=$2")
}

read_environment() {
  local name variable
  ENVIRONMENT=() GPU_ENV=(--env CUDA_DEVICE_ORDER=PCI_BUS_ID)
  add_environment AUTO_ANNOTATOR_ENSEMBLE "${ENSEMBLE_VALUE}"
  if [[ -n ${ENSEMBLE_DIR} ]]; then add_environment PYTHONPATH "${ENSEMBLE_IN_IMAGE}"; fi
  for name in "${HANDED_ON[@]}"; do
    variable="AUTO_ANNOTATOR_${name}"
    if [[ -n ${!variable:-} ]]; then add_environment "${variable}" "${!variable}"; fi
  done
  # PCI order: number 1 is then the same card as in nvidia-smi. Nuclio itself gives a function all GPUs or none.
  if [[ ${GPU} != all ]]; then GPU_ENV+=(--env "CUDA_VISIBLE_DEVICES=${GPU}"); fi
  if [[ ${FLAVOUR} == gpu ]]; then ENVIRONMENT+=("${GPU_ENV[@]}"); fi
}

# One hostPath volume in the indentation of our function files; nuctl's --volume cannot say read-only.
volume() {
  printf '    - volume: {name: %s, hostPath: {path: "%s"}}\n' "$1" "$2"
  printf '      volumeMount: {name: %s, mountPath: %s, readOnly: true}\n' "$1" "$3"
}

shares() { [[ -n ${SHARED_DIR} && $1 == "${READS_SHARED}" ]]; }

# Prints the file to give to nuctl: the function's own, or a copy with the mounted folders.
function_file_to_deploy() {
  local file="$1" copy name
  name="$(function_name "${file}")"
  if [[ ${WEIGHTS} == baked ]] && ! shares "${name}"; then
    printf '%s\n' "${file}"
    return 0
  fi
  if [[ $(grep -c '^spec:$' "${file}") != 1 ]] || grep -q '^  volumes:' "${file}"; then
    die "${file}: expected one line 'spec:' and no volumes of its own; with WEIGHTS=baked and no SHARED_DIR it is deployed as it is"
  fi
  copy="${SCRATCH}/${name}.yaml"
  {
    sed '/^spec:$/q' "${file}"
    printf '  volumes:\n'
    [[ ${WEIGHTS} == baked ]] || volume models "${MODELS_DIR}" "${MODELS_IN_IMAGE}"
    [[ -z ${ENSEMBLE_DIR} ]] || volume ensemble "${ENSEMBLE_DIR}" "${ENSEMBLE_IN_IMAGE}"
    ! shares "${name}" || volume shared "${SHARED_DIR}" "${SHARED_IN_IMAGE}"
    sed '1,/^spec:$/d' "${file}"
  } > "${copy}"
  printf '%s\n' "${copy}"
}

deploy_function() {
  local file="$1" name given image arguments
  name="$(function_name "${file}")"
  given="$(function_file_to_deploy "${file}")"
  arguments=(deploy --project-name "$(function_project "${file}")" --path "$(dirname "${file}")" --file "${given}" "${PLACE[@]}")
  if [[ ${NUCTL_PLATFORM} == local ]]; then
    arguments+=(--platform-config "{\"attributes\": {\"network\": \"${CVAT_NETWORK}\"}}")
  fi
  if [[ ${IMAGE_PREFIX} != "${DEFAULT_PREFIX}" ]]; then
    image="$(function_image "${file}")"
    arguments+=(--base-image "$(base_image "${FLAVOUR}")" --image "${IMAGE_PREFIX}/${image#"${DEFAULT_PREFIX}"/}")
  fi
  if [[ -n ${REGISTRY:-} ]]; then arguments+=(--registry "${REGISTRY}"); fi
  if [[ -n ${CPUS:-} ]]; then arguments+=(--resource-limit "cpu=${CPUS}"); fi
  if [[ -n ${MEMORY:-} ]]; then arguments+=(--resource-limit "memory=${MEMORY}"); fi
  if [[ -n ${READINESS_TIMEOUT:-} ]]; then arguments+=(--readiness-timeout "${READINESS_TIMEOUT}"); fi
  if [[ ${OFFLINE:-} == 1 ]]; then arguments+=(--no-pull); fi
  if [[ -n ${MODELS_DIR} ]]; then say "# ${given} mounts, read-only: ${MODELS_DIR}${ENSEMBLE_DIR:+ and ${ENSEMBLE_DIR}}"; fi
  if shares "${name}"; then
    say "# ${given} mounts, read-only: ${SHARED_DIR}"
    arguments+=(--env "AUTO_ANNOTATOR_SHARED_DIR=${SHARED_IN_IMAGE}")
  fi
  run "${NUCTL}" "${arguments[@]}" "${ENVIRONMENT[@]}" \
    || die "${name} was not deployed, see above. Its own words: docker logs nuclio-${NUCLIO_NAMESPACE:-nuclio}-${name};" \
      "deploy/README.md has a table of symptoms"
}

main() {
  local file files project projects
  read_flavour "$@"
  read_settings
  one_of IMAGES "${IMAGES:-build}" build skip
  if [[ -n ${CPUS:-} && ! ${CPUS} =~ ^[0-9]+(\.[0-9]+)?$ ]]; then die "CPUS: got '${CPUS}', expected a number of cores such as 4"; fi
  if [[ -n ${MEMORY:-} && ! ${MEMORY} =~ ^[0-9]+([KMG]i?)?$ ]]; then die "MEMORY: got '${MEMORY}', expected a size such as 4Gi"; fi
  if [[ -n ${READINESS_TIMEOUT:-} && ! ${READINESS_TIMEOUT} =~ ^[0-9]+$ ]]; then
    die "READINESS_TIMEOUT: got '${READINESS_TIMEOUT}', expected seconds"
  fi
  nuctl_place
  read_environment
  files="$(function_files "${FLAVOUR}")"
  [[ -n ${files} ]] || die "no function files under ${ROOT}/functions: is the checkout complete?"
  SCRATCH="$(mktemp -d)"
  trap 'rm -rf "${SCRATCH}"' EXIT

  if [[ ${NUCTL_PLATFORM} == local || ${IMAGES:-build} == build ]]; then need_docker; fi
  need_nuctl
  check_nuctl
  if [[ ${NUCTL_PLATFORM} == local ]]; then
    find_network
    if [[ ${FLAVOUR} == gpu ]]; then check_gpu_host; fi
  fi

  if [[ ${IMAGES:-build} == build ]]; then "${here}/images.sh" "${FLAVOUR}"; fi
  if [[ ${NUCTL_PLATFORM} == local && ${FLAVOUR} == gpu ]]; then check_gpu_image; fi

  projects="$(while IFS= read -r file; do function_project "${file}"; done <<< "${files}" | LC_ALL=C sort -u)"
  while IFS= read -r project; do
    # Creates it, or leaves it as it is.
    run "${NUCTL}" create project "${project}" "${PLACE[@]}"
  done <<< "${projects}"
  while IFS= read -r file; do deploy_function "${file}"; done <<< "${files}"
  run "${NUCTL}" get function "${PLACE[@]}"
  if dry_run; then say "dry run: nothing was changed"; return 0; fi
  say "deployed. Next: make smoke, then Actions > Automatic annotation in CVAT (labels: auto-annotator labels)"
}

main "$@"
