#!/usr/bin/env bash
# Posts a picture to every deployed detector, as CVAT does, and checks the replies: deploy/smoke.sh.
# HOST and PORT lead it elsewhere, for example to auto-annotator serve; PICTURE names a picture of your own.
set -euo pipefail
here="$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=deploy/lib.sh
source "${here}/lib.sh"

main() {
  local file python="${PYTHON:-}" failed=0 host="${HOST:-127.0.0.1}" arguments
  [[ $# -eq 0 ]] || die "usage: smoke.sh (no arguments; HOST, PORT, PICTURE and WAIT are variables)"
  if [[ -z ${python} && -x ${ROOT}/.venv/bin/python ]]; then python="${ROOT}/.venv/bin/python"; fi
  python="${python:-python3}"
  command -v "${python}" > /dev/null || die "${python} is missing: install Python 3.11, or name it with PYTHON=..."
  # In an address an IPv6 host stands between brackets.
  if [[ ${host} == *:* && ${host} != \[* ]]; then host="[${host}]"; fi
  while IFS= read -r file; do
    [[ $(function_kind "${file}") == detector ]] || continue
    arguments=(--name "$(function_name "${file}")" --wait "${WAIT:-60}")
    if [[ -n ${PICTURE:-} ]]; then arguments+=(--picture "${PICTURE}"); fi
    run "${python}" "${here}/smoke.py" "http://${host}:${PORT:-$(function_port "${file}")}/" "${arguments[@]}" || failed=1
  done < <(function_files cpu)
  return "${failed}"
}

main "$@"
