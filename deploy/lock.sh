#!/usr/bin/env bash
# Writes deploy/constraints-cpu.txt and -gpu.txt: the versions that pip finds today for Python 3.11 on Linux x86_64.
# Run it on such a machine, look at the diff, build, run the smoke test, commit. Nothing is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python3.11}"

for flavour in cpu gpu; do
  "${python}" -m pip install --dry-run --ignore-installed --quiet --report - ".[${flavour}]" \
    | "${python}" -c '
import json, sys
print(f"# Versions of the {sys.argv[1]} flavour, written by deploy/lock.sh. Python 3.11, Linux x86_64.")
rows = [item["metadata"] for item in json.load(sys.stdin)["install"]]
for name, version in sorted((row["name"].lower(), row["version"]) for row in rows):
    if name != "auto-annotator":
        print(f"{name}=={version}")
' "${flavour}" > "deploy/constraints-${flavour}.txt.new"
  mv "deploy/constraints-${flavour}.txt.new" "deploy/constraints-${flavour}.txt"
done
