#!/usr/bin/env bash
# Builds the base image of one flavour: deploy/images.sh cpu|gpu. README.md has the variables.
set -euo pipefail
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

read_flavour "$@"
read_settings
need_docker

# Own files are mounted when the function runs; the image then holds no weights at all.
arguments=(--build-arg "FLAVOUR=${FLAVOUR}" --build-arg "WEIGHTS=${WEIGHTS}")
if [[ ${WEIGHTS} == baked ]]; then
  arguments+=(--build-arg "ENSEMBLE=${ENSEMBLE_VALUE}")
  if [[ ${ALLOW_UNVERIFIED:-} == 1 ]]; then arguments+=(--build-arg ALLOW_UNVERIFIED=1); fi
fi
if [[ -n ${EXTRA_PIP:-} ]]; then arguments+=(--build-arg "EXTRA_PIP=${EXTRA_PIP}"); fi
if [[ -n ${PYTHON_IMAGE:-} ]]; then arguments+=(--build-arg "PYTHON_IMAGE=${PYTHON_IMAGE}"); fi
# A secret, because an address may carry a password and build arguments stay in the image's history.
if [[ -n ${PIP_INDEX_URL:-} ]]; then arguments+=(--secret "id=index_url,env=PIP_INDEX_URL"); fi

version="$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "${ROOT}/common/auto_annotator/__init__.py")"
revision="$(git -C "${ROOT}" rev-parse HEAD 2> /dev/null || printf unknown)"
arguments+=(--build-arg "VERSION=${version}" --build-arg "REVISION=${revision}")

export DOCKER_BUILDKIT=1
run "${DOCKER}" build --file "${ROOT}/deploy/Dockerfile" "${arguments[@]}" --tag "$(base_image "${FLAVOUR}")" "${ROOT}"
