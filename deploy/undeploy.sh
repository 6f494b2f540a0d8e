#!/usr/bin/env bash
# Removes the functions from Nuclio: deploy/undeploy.sh. With IMAGES=remove also their images and the base images.
# The project stays: CVAT's own functions live in it too.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

main() {
  local file flavour image
  [[ $# -eq 0 ]] || die "usage: undeploy.sh (no arguments)"
  # The folders that were mounted may be gone by now, and are of no matter here.
  MODELS_DIR="" WEIGHTS="" ENSEMBLE="" GPU=""
  read_settings
  one_of IMAGES "${IMAGES:-keep}" keep remove
  nuctl_place
  need_nuctl
  # Both flavours of a function have one name.
  while IFS= read -r file; do
    run "${NUCTL}" delete function "$(function_name "${file}")" "${PLACE[@]}"
  done < <(function_files cpu)
  if [[ ${IMAGES:-keep} == keep ]]; then return 0; fi
  need_docker
  for flavour in cpu gpu; do
    while IFS= read -r image; do
      if dry_run || "${DOCKER}" image inspect "${image}" > /dev/null 2>&1; then run "${DOCKER}" image rm "${image}"; fi
    done < <(
      while IFS= read -r file; do
        image="$(function_image "${file}")"
        printf '%s/%s\n' "${IMAGE_PREFIX}" "${image#"${DEFAULT_PREFIX}"/}"
      done < <(function_files "${flavour}")
      base_image "${flavour}"
    )
  done
}

main "$@"
