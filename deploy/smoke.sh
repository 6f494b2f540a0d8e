#!/usr/bin/env bash
# Asks every deployed function, as CVAT and others do, and checks the replies: deploy/smoke.sh.
# HOST and PORT (the first one) lead it elsewhere, for example to auto-annotator serve; FUNCTION=face-detection asks one alone;
# PICTURE names a picture of your own.
set -euo pipefail
here="$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=deploy/lib.sh
source "${here}/lib.sh"

main() {
  local file folder port python="${PYTHON:-}" failed=0 asked=0 host="${HOST:-127.0.0.1}" arguments
  [[ $# -eq 0 ]] || die "usage: smoke.sh (no arguments; HOST, PORT, FUNCTION, PICTURE and WAIT are variables)"
  [[ -z ${PORT:-} || ${PORT} =~ ^[0-9]+$ ]] || die "PORT: got '${PORT}', expected the port of face-detection, the first one"
  if [[ -z ${python} && -x ${ROOT}/.venv/bin/python ]]; then python="${ROOT}/.venv/bin/python"; fi
  python="${python:-python3}"
  command -v "${python}" > /dev/null || die "${python} is missing: install Python 3.11, or name it with PYTHON=..."
  # In an address an IPv6 host stands between brackets.
  if [[ ${host} == *:* && ${host} != \[* ]]; then host="[${host}]"; fi
  while IFS= read -r file; do
    folder="$(basename "$(dirname "$(dirname "${file}")")")"
    case "${folder}" in
      face-detection | face-tracker | face-descriptor | face-clustering) ;;
      *) continue ;; # a function of yours: nobody here knows what it should answer
    esac
    [[ -z ${FUNCTION:-} || ${FUNCTION} == "${folder}" ]] || continue
    asked=1
    # auto-annotator serve --direct-port counts up in the order of the pinned ports.
    port=$(($(function_port "${file}") + ${PORT:-${FIRST_PORT}} - FIRST_PORT))
    arguments=(--name "$(function_name "${file}")" --function "${folder}" --wait "${WAIT:-60}")
    if [[ -n ${PICTURE:-} ]]; then arguments+=(--picture "${PICTURE}"); fi
    run "${python}" "${here}/smoke.py" "http://${host}:${port}/" "${arguments[@]}" || failed=1
  done < <(function_files cpu)
  ((asked)) || die "FUNCTION: got '${FUNCTION:-}', expected a folder of functions/ such as face-detection"
  return "${failed}"
}

main "$@"
