# shellcheck shell=bash disable=SC2034
# What the scripts of this folder share; sourced by them, which use its variables. Every variable is described in README.md.

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
MODELS_IN_IMAGE=/opt/auto-annotator/models
ENSEMBLE_IN_IMAGE=/opt/auto-annotator/ensemble
SHARED_IN_IMAGE=/opt/auto-annotator/shared
CHECK_IN_IMAGE=/opt/auto-annotator/check_image.py
DEFAULT_PREFIX=auto-annotator
# Pinned port of face-detection; the other functions follow it.
FIRST_PORT=18101
# The first driver that knows CUDA 13, which the GPU flavour is built for.
MINIMUM_DRIVER=580

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
# Something that must be right before we touch anything; a dry run only mentions it.
problem() {
  if dry_run; then warn "$*"; else die "$*"; fi
}
dry_run() { [[ ${DRY_RUN:-} == 1 ]]; }

# Prints a command as it could be typed, then runs it unless this is a dry run.
run() {
  local line
  printf -v line '%q ' "$@"
  say "+ ${line% }"
  dry_run || "$@"
}

# Reads the variables that all scripts know. make hands on empty ones, so empty means not given.
read_settings() {
  DOCKER="${DOCKER:-docker}"
  NUCTL="${NUCTL:-nuctl}"
  NUCTL_PLATFORM="${NUCTL_PLATFORM:-local}"
  IMAGE_PREFIX="${IMAGE_PREFIX:-${DEFAULT_PREFIX}}"
  ENSEMBLE="${ENSEMBLE:-embedded}"
  GPU="${GPU:-all}"
  MODELS_DIR="${MODELS_DIR:-}"
  local default_weights=baked
  [[ -z ${MODELS_DIR} ]] || default_weights=mounted
  WEIGHTS="${WEIGHTS:-${default_weights}}"

  one_of NUCTL_PLATFORM "${NUCTL_PLATFORM}" local kube
  one_of WEIGHTS "${WEIGHTS}" baked mounted
  [[ ${IMAGE_PREFIX} =~ ^[a-z0-9][a-z0-9._:/-]*[a-z0-9]$ ]] \
    || die "IMAGE_PREFIX: got '${IMAGE_PREFIX}', expected the front of an image name such as registry.example.com/team"
  [[ ${GPU} =~ ^(all|([0-9]+|(GPU|MIG)-[0-9A-Za-z/-]+)(,([0-9]+|(GPU|MIG)-[0-9A-Za-z/-]+))*)$ ]] \
    || die "GPU: got '${GPU}', expected all, numbers as in nvidia-smi -L (0 or 0,1), or UUIDs"
  read_ensemble
  read_models_dir
  read_shared_dir
}

one_of() {
  local name="$1" value="$2" allowed
  shift 2
  for allowed in "$@"; do [[ ${value} == "${allowed}" ]] && return 0; done
  die "${name}: got '${value}', expected one of: $*"
}

read_flavour() {
  [[ $# -eq 1 ]] || die "usage: $(basename "$0") cpu|gpu"
  one_of flavour "$1" cpu gpu
  FLAVOUR="$1"
}

# ENSEMBLE is the name of a packaged ensemble, or a YAML file of the user, whose folder is then mounted (with its calibration
# and its own detectors).
read_ensemble() {
  local packaged="${ROOT}/common/auto_annotator/ensembles" names
  ENSEMBLE_DIR=""
  ENSEMBLE_VALUE="${ENSEMBLE}"
  if [[ ${ENSEMBLE} != */* && -f ${packaged}/${ENSEMBLE}.yaml ]]; then return 0; fi
  if [[ ${ENSEMBLE} != *.yaml && ${ENSEMBLE} != *.yml || ! -f ${ENSEMBLE} ]]; then
    names="$(cd "${packaged}" && for f in *.yaml; do printf '%s ' "${f%.yaml}"; done)"
    die "ENSEMBLE: got '${ENSEMBLE}', expected one of: ${names}or the path of a .yaml file that exists"
  fi
  [[ ${WEIGHTS} == mounted ]] || die "ENSEMBLE: with an own file the weights are mounted:" \
    "auto-annotator models pull --ensemble '${ENSEMBLE}' --models FOLDER, then set MODELS_DIR=FOLDER"
  ENSEMBLE_DIR="$(cd "$(dirname "${ENSEMBLE}")" && pwd -P)"
  ENSEMBLE_VALUE="${ENSEMBLE_IN_IMAGE}/$(basename "${ENSEMBLE}")"
  mountable ENSEMBLE "${ENSEMBLE_DIR}"
}

read_models_dir() {
  if [[ ${WEIGHTS} == baked ]]; then
    [[ -z ${MODELS_DIR} ]] || die "MODELS_DIR is set, but WEIGHTS=baked: unset one of them"
    return 0
  fi
  [[ -n ${MODELS_DIR} ]] || die "WEIGHTS=mounted needs MODELS_DIR: the folder that auto-annotator models pull --models FOLDER filled"
  [[ -d ${MODELS_DIR} ]] || die "MODELS_DIR: '${MODELS_DIR}' is not a folder; fill it with auto-annotator models pull --models '${MODELS_DIR}'"
  MODELS_DIR="$(cd "${MODELS_DIR}" && pwd -P)"
  mountable MODELS_DIR "${MODELS_DIR}"
  local unreadable
  unreadable="$(find -L "${MODELS_DIR}" -maxdepth 1 ! -perm -o=r -print -quit)"
  [[ -z ${unreadable} ]] || problem "MODELS_DIR: others may not read ${unreadable}, and the function runs as its own user:" \
    "chmod -R o+rX '${MODELS_DIR}'"
}

# A folder of descriptor files that face-clustering may read, besides what a request carries.
read_shared_dir() {
  SHARED_DIR="${SHARED_DIR:-}"
  [[ -n ${SHARED_DIR} ]] || return 0
  [[ -d ${SHARED_DIR} ]] || die "SHARED_DIR: '${SHARED_DIR}' is not a folder; make it and put files of auto-annotator describe there"
  SHARED_DIR="$(cd "${SHARED_DIR}" && pwd -P)"
  mountable SHARED_DIR "${SHARED_DIR}"
}

# docker --mount takes a comma for the next option, and nuctl hands the text through a shell and through YAML.
mountable() {
  case "$2" in
    *[,:\"\'\\]* | *$'\n'*) die "$1: '$2' cannot be mounted; use a path without , : \" ' \\ and line breaks" ;;
  esac
}

need_docker() {
  command -v "${DOCKER}" > /dev/null \
    || { problem "${DOCKER} is missing: install Docker Engine, or name the program with DOCKER=/path/to/docker"; return 0; }
  "${DOCKER}" info --format '{{.ServerVersion}}' > /dev/null 2>&1 \
    || problem "${DOCKER} is here, but its daemon does not answer: start it (sudo systemctl start docker)," \
      "or join its group (sudo usermod -aG docker \"\$USER\", then log in again)"
}

need_nuctl() {
  command -v "${NUCTL}" > /dev/null && return 0
  problem "${NUCTL} is missing: get it from https://github.com/nuclio/nuclio/releases (version 1.13.0 for CVAT up to 2.51," \
    "1.15.9 from 2.52), make it executable, put it on PATH or name it with NUCTL=/path/to/nuctl"
}

# Every folder under functions/ in CVAT's layout; a later function comes by itself.
function_files() {
  local name=function.yaml
  [[ $1 == gpu ]] && name=function-gpu.yaml
  find "${ROOT}/functions" -path "*/nuclio/${name}" | LC_ALL=C sort
}

# Values of a function file, at the places where our own files have them (a test holds that).
function_name() { sed -n '/^metadata:/,/^spec:/s/^  name: *//p' "$1" | head -n 1; }
function_kind() { sed -n '/^metadata:/,/^spec:/s/^    type: *//p' "$1" | head -n 1; }
function_image() { sed -n '/^  build:/,/^  [a-z]*:$/s/^    image: *//p' "$1" | head -n 1; }
function_port() { sed -n 's/^        port: *//p' "$1" | head -n 1; }

# CVAT lists every function of its project, and can call only these kinds; the others live beside it.
function_project() {
  case "$(function_kind "$1")" in
    detector | interactor | reid | tracker) printf '%s\n' "${NUCLIO_PROJECT:-cvat}" ;;
    *) printf '%s\n' "${NUCLIO_SERVICE_PROJECT:-faces}" ;;
  esac
}

# The flags that say where nuctl works; without a namespace it takes nuclio, which is also what CVAT asks for.
nuctl_place() {
  PLACE=(--platform "${NUCTL_PLATFORM}")
  if [[ -n ${NUCLIO_NAMESPACE:-} ]]; then PLACE+=(--namespace "${NUCLIO_NAMESPACE}"); fi
}

base_image() { printf '%s/base:%s\n' "${IMAGE_PREFIX}" "$1"; }
