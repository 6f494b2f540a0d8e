# shellcheck shell=bash
# What must be right before a deployment, each with its fix in the message; sourced by deploy.sh after lib.sh.

# CVAT ships a Nuclio dashboard, and nuctl must be of the same version.
nuctl_of_cvat() {
  local version="${1#v}" major minor rest
  [[ ${version} =~ ^[0-9]+\.[0-9]+(\..*)?$ ]] || die "CVAT_VERSION: got '$1', expected a version such as 2.54.1"
  IFS=. read -r major minor rest <<< "${version}"
  : "${rest}"
  minor=$((10#${minor}))
  if ((major != 2 || minor < 15)); then die "CVAT_VERSION: got '$1', expected 2.15 or newer (of CVAT 2)"; fi
  if ((minor <= 51)); then say 1.13.0; else say 1.15.9; fi
}

nuctl_version() { "${NUCTL}" version 2> /dev/null | sed -n 's/.*Label: v\{0,1\}\([0-9][0-9.]*[0-9]\).*/\1/p' | head -n 1; }

# Version of a running container's image, such as quay.io/nuclio/dashboard:1.15.9-amd64.
running_version() {
  { "${DOCKER}" ps --format '{{.Image}}' 2> /dev/null || true; } | sed -n "s#.*$1:v\{0,1\}\([0-9][0-9.]*[0-9]\).*#\1#p" | head -n 1
}

# Nuclio 1.13's dashboard carries a Docker client that Docker 29 refuses.
check_docker_for() {
  local server
  command -v "${DOCKER}" > /dev/null || return 0
  server="$("${DOCKER}" info --format '{{.ServerVersion}}' 2> /dev/null || true)"
  if [[ $1 == 1.13.* && ${server%%.*} =~ ^[0-9]+$ ]] && ((${server%%.*} >= 29)); then
    warn "Docker is ${server}; the dashboard of Nuclio $1 cannot speak to Docker 29 and newer: use CVAT 2.52 or newer, or Docker 28"
  fi
}

check_nuctl() {
  local have want="" why="" dashboard="" cvat="${CVAT_VERSION:-}"
  if [[ ${NUCTL_CHECK:-} == skip ]] || ! command -v "${NUCTL}" > /dev/null; then return 0; fi
  have="$(nuctl_version)"
  if command -v "${DOCKER}" > /dev/null && [[ ${NUCTL_PLATFORM} == local ]]; then
    dashboard="$(running_version nuclio/dashboard)"
    [[ -n ${cvat} ]] || cvat="$(running_version cvat/server)"
  fi
  if [[ -n ${cvat} ]]; then want="$(nuctl_of_cvat "${cvat}")" why="CVAT ${cvat} ships Nuclio ${want}"; fi
  if [[ -n ${dashboard} ]]; then want="${dashboard}" why="the running Nuclio dashboard is ${dashboard}"; fi
  if [[ -z ${have} ]]; then
    warn "${NUCTL} version says nothing that could be read${want:+; it should be ${want}}"
  elif [[ -n ${want} && ${have} != "${want}" ]]; then
    problem "nuctl is ${have}, but ${why}: get nuctl ${want} from https://github.com/nuclio/nuclio/releases/tag/${want}" \
      "and name it with NUCTL=/path/to/nuctl (NUCTL_CHECK=skip goes on at your own risk)"
  elif [[ -z ${want} && ${have} != 1.13.0 && ${have} != 1.15.9 ]]; then
    warn "nuctl is ${have}; CVAT up to 2.51 has 1.13.0, later ones 1.15.9 (set CVAT_VERSION for a strict check)"
  fi
  check_docker_for "${want:-${have}}"
}

# Sets CVAT_NETWORK. The dashboard calls functions by their address in this network.
find_network() {
  local found="" count
  if [[ -n ${CVAT_NETWORK:-} ]]; then
    [[ ${CVAT_NETWORK} =~ ^[A-Za-z0-9][A-Za-z0-9_.-]*$ ]] || die "CVAT_NETWORK: got '${CVAT_NETWORK}', which is no name of a Docker network"
    if command -v "${DOCKER}" > /dev/null && ! "${DOCKER}" network inspect "${CVAT_NETWORK}" > /dev/null 2>&1; then
      problem "CVAT_NETWORK: Docker has no network ${CVAT_NETWORK}; docker network ls lists them, CVAT's is <compose project>_cvat"
    fi
    return 0
  fi
  if command -v "${DOCKER}" > /dev/null; then
    found="$("${DOCKER}" network ls --filter label=com.docker.compose.network=cvat --format '{{.Name}}' 2> /dev/null || true)"
    [[ -n ${found} ]] || found="$("${DOCKER}" network ls --format '{{.Name}}' 2> /dev/null | grep '_cvat$' || true)"
  fi
  count="$(printf '%s' "${found}" | grep -c . || true)"
  if ((count == 0)); then
    problem "no network of CVAT found: start CVAT with its serverless part (docker compose -f docker-compose.yml" \
      "-f components/serverless/docker-compose.serverless.yml up -d), or set CVAT_NETWORK=<compose project>_cvat"
    found=cvat_cvat
  elif ((count > 1)); then
    problem "more than one network of CVAT found ($(printf '%s' "${found}" | tr '\n' ' ')): choose one with CVAT_NETWORK=..."
    found="$(printf '%s' "${found}" | head -n 1)"
  fi
  CVAT_NETWORK="${found}"
}

# Before the images are built, because that takes long.
check_gpu_host() {
  local driver index indices runtimes
  if [[ ${GPU_CHECK:-} == skip ]]; then return 0; fi
  if ! command -v nvidia-smi > /dev/null || ! driver="$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2> /dev/null)"; then
    problem "no working NVIDIA driver (nvidia-smi): install driver ${MINIMUM_DRIVER} or newer, or use make deploy-cpu;" \
      "GPU_CHECK=skip if the Docker daemon is on another machine"
    return 0
  fi
  driver="$(head -n 1 <<< "${driver}")"
  if [[ ${driver%%.*} =~ ^[0-9]+$ ]] && ((${driver%%.*} < MINIMUM_DRIVER)); then
    warn "the NVIDIA driver is ${driver}; the GPU flavour is built for CUDA 13, which needs ${MINIMUM_DRIVER} or newer"
  fi
  if [[ ${GPU} =~ ^[0-9,]+$ ]]; then
    indices="$(nvidia-smi --query-gpu=index --format=csv,noheader)"
    for index in ${GPU//,/ }; do
      grep -qx "${index}" <<< "${indices}" \
        || problem "GPU: there is no GPU ${index} here; nvidia-smi -L lists them"
    done
  fi
  command -v "${DOCKER}" > /dev/null || return 0
  runtimes="$("${DOCKER}" info --format '{{json .Runtimes}}' 2> /dev/null || true)"
  if [[ ${runtimes} != *nvidia* ]]; then
    problem "Docker has no NVIDIA runtime: install nvidia-container-toolkit, then" \
      "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
  fi
}

# With the image at hand: one product on the device, through the same --gpus all that Nuclio uses.
check_gpu_image() {
  local image
  if [[ ${GPU_CHECK:-} == skip ]]; then return 0; fi
  image="$(base_image gpu)"
  run "${DOCKER}" run --rm --gpus all "${GPU_ENV[@]}" "${image}" python "${CHECK_IN_IMAGE}" gpu --run \
    || die "a container of ${image} cannot compute on the GPU, see above; check: docker run --rm --gpus all ${image} nvidia-smi"
}
