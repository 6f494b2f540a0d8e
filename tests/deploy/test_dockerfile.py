"""The base image without Docker: its rules, what Nuclio makes of it, and every step that can run here, run."""

from __future__ import annotations

import os
import re
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import yaml
from docker_files import chain, context, fill, parse, shell_of

from auto_annotator.cvat.function_rules import base_python
from auto_annotator.cvat.specs import function_files

USER = "10001:10001"
NUCLIO_PIP = (
    "python /opt/nuclio/whl/$(basename /opt/nuclio/whl/pip-*.whl)/pip install pip --no-index --find-links /opt/nuclio/whl"
    " && python -m pip install nuclio-sdk msgpack --no-index --find-links /opt/nuclio/whl"
)


@pytest.fixture(scope="module")
def text(repository):
    return (repository / "deploy" / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def parsed(text):
    return parse(text)


@pytest.fixture(params=["baked", "mounted"])
def stages(request, parsed):
    """The stages of an image, from python up."""
    arguments, found = parsed
    return chain(found, arguments | {"WEIGHTS": request.param})


def rendered(base_user: str, function: dict) -> list[tuple[str, str]]:
    """What Nuclio 1.13 to 1.15 generate for a Python function on our base: instruction and text, in their order."""
    build = function["spec"]["build"]
    directives = {when: build.get("directives", {}).get(when, []) for when in ("preCopy", "postCopy")}
    own = {when: [(d["kind"], d["value"]) for d in rows] for when, rows in directives.items()}
    return [
        ("FROM", build["baseImage"]),
        ("USER", base_user),  # inherited
        *own["preCopy"],
        ("COPY", "artifacts/processor /usr/local/bin/processor"),
        ("COPY", "artifacts/py /opt/nuclio/"),
        ("COPY", "artifacts/py3.11-whl /opt/nuclio/whl"),
        ("COPY", "artifacts/uhttpc /usr/local/bin/uhttpc"),
        ("COPY", "handler /opt/nuclio"),
        ("HEALTHCHECK", "--interval=1s --timeout=3s CMD /usr/local/bin/uhttpc --url http://127.0.0.1:8082/ready || exit 1"),
        ("RUN", NUCLIO_PIP),
        *own["postCopy"],
        ("CMD", '[ "processor" ]'),
    ]


def test_the_interpreter_is_the_runtime_of_every_function(text, repository):
    runtimes = {yaml.safe_load(p.read_text())["spec"]["runtime"] for p in function_files(repository / "functions")}
    assert runtimes == {f"python:{base_python(text)}"}


def test_base_images_are_pinned(parsed):
    arguments, stages = parsed
    outside = {fill(s.base, arguments) for s in stages} - {s.name for s in stages}
    assert outside == {"python:3.11-slim-bookworm"}


def test_every_choice_has_a_stage(parsed):
    names = {s.name for s in parsed[1]}
    assert {n for n in names if n.startswith("weights-")} == {"weights-baked", "weights-mounted"}


def test_it_ends_as_a_numeric_user_that_is_not_root(stages):
    final = stages[-1]
    assert final.all("USER") == [USER], "numeric, so that Kubernetes can see that it is not root"
    assert not any(s.all("USER") for s in stages[:-1]), "everything is installed by root, so the function cannot change it"
    after = [kind for kind, _ in final.lines[[k for k, _ in final.lines].index("USER") :]]
    assert not {"RUN", "COPY", "ADD"} & set(after)
    uid, gid = USER.split(":")
    created = " ".join(r for s in stages for r in s.all("RUN"))
    assert f"useradd --uid {uid} --gid {gid}" in created


def test_nuclio_installs_its_wheels_as_the_user_that_runs_them(stages, repository):
    """Its pip step comes after ours and cannot write into root's site-packages: it must find PYTHONUSERBASE writable."""
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(stages[-1].all("ENV"))))
    installs = " ".join(r for s in stages for r in s.all("RUN"))
    assert f"install --directory --owner 10001 --group 10001 {variables['PYTHONUSERBASE']}" in installs
    for path in function_files(repository / "functions"):
        user, users = "root", {}
        for kind, value in rendered(stages[-1].all("USER")[-1], yaml.safe_load(path.read_text())):
            user = value if kind == "USER" else user
            users[kind] = user
        assert users["RUN"] == users["CMD"] == USER, path


def test_the_entrypoint_survives_nuclios_command(stages):
    (entrypoint,) = (e for s in stages for e in s.all("ENTRYPOINT"))
    assert entrypoint == '["/opt/auto-annotator/entrypoint.sh"]', "exec form: Nuclio's CMD becomes its arguments"
    assert any("deploy/entrypoint.sh" in c and "--chmod=0755" in c for s in stages for c in s.all("COPY"))


def test_the_image_is_checked_after_everything_is_installed(stages):
    runs = [shell_of(r) for s in stages for r in s.all("RUN")]
    checks = [i for i, r in enumerate(runs) if "check_image.py" in r]
    installs = [i for i, r in enumerate(runs) if "pip install" in r]
    assert len(checks) == 1 and checks[0] > max(installs)
    last = shell_of(next(r for s in stages for r in s.all("RUN") if "EXTRA_PIP" in r))
    assert last.rstrip().endswith("xargs --no-run-if-empty python -m pip install --no-deps"), (
        "extras come last, without dependencies"
    )


def test_nothing_secret_or_needless(text, parsed):
    instructions = {kind for s in parsed[1] for kind, _ in s.lines}
    assert not instructions & {"ADD", "EXPOSE", "VOLUME", "MAINTAINER"}
    assert "apt-get" not in re.sub(r"^#.*", "", text, flags=re.MULTILINE), "the wheels need nothing from it"
    kept = [t for s in parsed[1] for kind in ("ARG", "ENV") for t in s.all(kind)]
    assert not re.search(r"(?i)index_url|password|token|secret", " ".join(kept)), "ARG and ENV stay in the image"
    assert ":latest" not in text


def test_onnxruntime_is_told_to_report_nothing_before_it_is_first_imported(stages):
    lines = [line for s in stages for line in s.lines]
    silenced = next(i for i, (kind, value) in enumerate(lines) if kind == "ENV" and "ORT_DISABLE_TELEMETRY=1" in value)
    assert silenced < next(i for i, (kind, value) in enumerate(lines) if kind == "RUN" and "check_image.py" in value)


def test_labels(stages):
    (labels,) = (lab for s in stages for lab in s.all("LABEL"))
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels


@pytest.mark.parametrize("flavour", ["cpu", "gpu"])
def test_constraints_fit_the_project_and_the_flavour(repository, flavour):
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (repository / "deploy" / f"constraints-{flavour}.txt").read_text().splitlines()
    pins = {canonicalize_name(n): v for n, v in (line.split("==") for line in lines if not line.startswith("#"))}
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    for wanted in map(Requirement, [*project["dependencies"], *project["optional-dependencies"][flavour]]):
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), f"{wanted}: run deploy/lock.sh"
    assert ("onnxruntime" in pins, "onnxruntime-gpu" in pins) == (flavour == "cpu", flavour == "gpu")
    assert ("torch" in pins) == (flavour == "gpu")


@pytest.fixture(scope="module")
def sent(repository, tmp_path_factory):
    """The build context."""
    return context(repository, tmp_path_factory.mktemp("context") / "context")


def test_the_context_holds_what_is_copied_and_nothing_else(sent, parsed):
    for stage in parsed[1]:
        for copy in stage.all("COPY"):
            for flavour in ("cpu", "gpu"):
                sources = [w for w in fill(copy, {"FLAVOUR": flavour}).split() if not w.startswith("--")][:-1]
                assert all((sent / s).exists() for s in sources), copy
    assert {p.name for p in sent.iterdir()} == {"LICENSE", "README.md", "pyproject.toml", "common", "deploy"}
    assert not [p for p in sent.rglob("*") if p.suffix in (".pyc", ".onnx", ".tflite") or p.name.endswith(".egg-info")]


@pytest.fixture(scope="module")
def image(sent, parsed, tmp_path_factory):
    """A folder with the interpreter after the build's own RUN lines: the wheel built, then installed without dependencies.

    Those come from the development environment. Only paths are replaced in the lines.
    """
    root = tmp_path_factory.mktemp("image")
    stages = {s.name: s for s in parsed[1]}
    venv.create(root / "python", with_pip=True)
    python = root / "python" / "bin"
    (wheel_line,) = (shell_of(r) for r in stages["builder"].all("RUN"))
    (install_line,) = (shell_of(r) for r in stages["runtime"].all("RUN") if "pip install" in r)
    install_line = install_line.replace('"${wheel}[${FLAVOUR}]"', '--no-deps "${wheel}[${FLAVOUR}]"')
    (root / "constraints.txt").write_text((sent / "deploy" / "constraints-cpu.txt").read_text())
    variables = os.environ | {"PATH": f"{python}:{os.environ['PATH']}", "FLAVOUR": "cpu", "EXTRA_PIP": ""}
    variables["PIP_CONSTRAINT"] = ""
    for line in (wheel_line, install_line):
        for inside, outside in (("/wheels", root / "wheels"), ("/opt/auto-annotator", root), ("/run/secrets", root / "secrets")):
            line = line.replace(inside, str(outside))
        # Keep the index of this machine where one is configured: the secret is absent, so the line would unset it.
        if "PIP_INDEX_URL" in os.environ:
            line = line.replace("2>/dev/null || true", f"2>/dev/null || echo '{os.environ['PIP_INDEX_URL']}'")
        result = subprocess.run(
            ["/bin/sh", "-c", line], cwd=sent, env=variables, capture_output=True, text=True, timeout=300, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr
    packages = next((root / "python" / "lib").glob("python*/site-packages"))
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return root


@pytest.mark.slow
def test_the_wheel_carries_the_package_with_its_data(image, repository, tmp_path):
    script = (
        "import auto_annotator, auto_annotator.config as c, auto_annotator.weights as w; from pathlib import Path;"
        "print(Path(auto_annotator.__file__).parent); print(*c.packaged_ensembles());"
        "[c.load_ensemble(n) for n in c.packaged_ensembles()]; print(len(w.registry()))"
    )
    command = [str(image / "python" / "bin" / "python"), "-c", script]
    lines = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    assert Path(lines[0]).is_relative_to(image), "the wheel, not the checkout"
    assert lines[1].split() == sorted(p.stem for p in (repository / "common/auto_annotator/ensembles").glob("*.yaml"))
    assert int(lines[2]) > 5


@pytest.mark.slow
@pytest.mark.weights
def test_the_weights_line_runs_and_verifies(image, parsed, pulled, tmp_path):
    from auto_annotator.config import load_ensemble

    names = load_ensemble("embedded").weight_names
    models = tmp_path / "models"
    models.mkdir()
    for name in names:
        for path in pulled(name).parent.glob(f"{pulled(name).name}*"):
            shutil.copy(path, models)
    (line,) = (shell_of(r) for s in parsed[1] if s.name == "weights-baked" for r in s.all("RUN"))
    line = line.replace("/opt/auto-annotator/models", str(models)).replace("/run/secrets", str(tmp_path))
    path = f"{image / 'python' / 'bin'}:{os.environ['PATH']}"
    variables = os.environ | {"PATH": path, "ENSEMBLE": "embedded", "ALLOW_UNVERIFIED": "", "AUTO_ANNOTATOR_MODELS": str(models)}
    result = subprocess.run(["/bin/sh", "-c", line], env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("ok ") == len(names)
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in models.iterdir()), "the function's user may read them"
    damaged = next(models.glob("*.onnx"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    verify = ["auto-annotator", "models", "verify"]
    assert subprocess.run(verify, env=variables, capture_output=True, timeout=120, check=False).returncode == 1


@pytest.mark.slow
def test_the_handler_imports_where_nuclio_puts_it(image, repository, tmp_path):
    """COPY handler -> /opt/nuclio, both function files beside it, and only that folder on PYTHONPATH."""
    for folder in {p.parent for p in function_files(repository / "functions")}:
        place = tmp_path / folder.parent.name
        (place / "whl").mkdir(parents=True)
        for name in ("_nuclio_wrapper.py", "wrapper_common.py"):
            (place / name).touch()
        before = {p.name for p in place.iterdir()}
        names = {p.name for p in folder.iterdir() if p.name != "__pycache__"}
        assert not names & before, "a file of ours would replace one of Nuclio's"
        shutil.copytree(folder, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        assert {"function.yaml", "function-gpu.yaml", "main.py"} <= {p.name for p in place.iterdir()}
        script = "import main, sys; assert callable(main.handler) and callable(main.init_context); print(main.__file__)"
        script += "; assert not {'onnxruntime', 'cv2', 'torch'} & set(sys.modules)"
        variables = {"PYTHONPATH": str(place), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        command = [str(image / "python" / "bin" / "python"), "-c", script]
        result = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=120, check=False)
        assert result.returncode == 0, result.stderr
        assert result.stdout.strip() == str(place / "main.py")


def test_the_entrypoint_switches_core_dumps_off_and_keeps_the_arguments(repository):
    script = 'ulimit -c; for word in "$@"; do printf "<%s>" "$word"; done; exit 7'
    command = ["/bin/sh", str(repository / "deploy" / "entrypoint.sh"), "/bin/sh", "-c", script, "processor", "a b", "$HOME", ""]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (7, "0\n<a b><$HOME><>")


def test_this_suite_runs_on_the_interpreter_of_the_image(text):
    assert base_python(text) == ".".join(map(str, sys.version_info[:2]))


def test_the_clustering_finds_a_place_for_what_it_compiles(stages):
    """Numba wants to write beside its source, which belongs to root, or below a home, which the user has not."""
    variables = dict(re.findall(r"(\w+)=(\S+)", " ".join(stages[-1].all("ENV"))))
    assert variables["NUMBA_CACHE_DIR"].startswith("/tmp/")
