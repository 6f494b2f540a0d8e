"""Every shell script: strict mode, syntax, shellcheck, executable, and no host or path of one machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
SCRIPTS = sorted(DEPLOY.glob("*.sh"))
SOURCED = {"lib.sh", "checks.sh"}


def test_there_are_scripts():
    assert {"deploy.sh", "images.sh", "smoke.sh", "undeploy.sh", *SOURCED} <= {p.name for p in SCRIPTS}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_syntax_and_mode(path):
    shell = "sh" if path.name == "entrypoint.sh" else "bash"
    subprocess.run([shell, "-n", str(path)], check=True, timeout=60)
    text = path.read_text()
    assert os.access(path, os.X_OK) == (path.name not in SOURCED)
    if path.name not in SOURCED:
        assert text.startswith("#!/") and re.search(r"^set -eu(o pipefail)?$", text, re.MULTILINE)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_shellcheck(path):
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed (apt install shellcheck)")
    # -x follows `source`; the folder is the root that the directives name.
    command = ["shellcheck", "--external-sources", "--severity=style", str(path.relative_to(DEPLOY.parent))]
    result = subprocess.run(command, cwd=DEPLOY.parent, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("path", sorted(p for p in DEPLOY.iterdir() if p.is_file()), ids=lambda p: p.name)
def test_no_place_of_one_machine(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(work|home/\w|root/(?!\.cache/pip)|Users)/?", text)
    hosts = set(re.findall(r"https?://([\w.-]+)", text))
    assert hosts <= {"github.com", "127.0.0.1", "HOST"}, hosts


def test_settings_that_are_handed_on_exist():
    from auto_annotator.config import Settings

    (line,) = re.findall(r"^HANDED_ON=\((.*)\)$", (DEPLOY / "deploy.sh").read_text(), re.MULTILINE)
    unknown = set(line.lower().split()) - set(Settings.model_fields)
    assert not unknown


def test_every_variable_is_in_the_readme():
    readme = (DEPLOY / "README.md").read_text()
    used = set()
    for path in SCRIPTS:
        used |= set(re.findall(r"\$\{([A-Z][A-Z_]+):-", path.read_text()))
    assert used
    for name in sorted(used):
        assert f"`{name}`" in readme, name
