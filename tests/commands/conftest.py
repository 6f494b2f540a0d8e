"""A command line in this process, one in its own process, and pictures with bright squares to run them on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import PIL.Image
import pytest
import yaml
from fakes import picture

from auto_annotator.cli import main
from auto_annotator.weights import Weight, registry

HERE = Path(__file__).parent
CONSOLE_SCRIPT = "from auto_annotator.cli import main; raise SystemExit(main())"
"""What the installed command runs; `-m auto_annotator.cli` would give its loggers another name."""
sys.path.insert(0, str(HERE))


@dataclass(frozen=True)
class Result:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str

    @property
    def one_line(self) -> str:
        """The message, which must be one line and no traceback."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch):
    for name in [n for n in os.environ if n.startswith("AUTO_ANNOTATOR_") and n != "AUTO_ANNOTATOR_MODELS"]:
        monkeypatch.delenv(name)


@pytest.fixture
def cli(capsys) -> Callable[..., Result]:
    """Function: arguments -> result of the command, run in this process."""

    def run(*arguments: object) -> Result:
        capsys.readouterr()
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as error:  # argparse
            code = error.code
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture
def spawn() -> Callable[..., subprocess.Popen[bytes]]:
    """Function: arguments -> the command as a process with pipes, ended with the test at the latest."""
    started = []

    def start(*arguments: object, cwd: Path | None = None, **streams: int) -> subprocess.Popen[bytes]:
        paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        environment.pop("PYTHONUNBUFFERED", None)  # buffered, as users have it
        command = [sys.executable, "-c", CONSOLE_SCRIPT, *map(str, arguments)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | streams
        started.append(subprocess.Popen(command, env=environment, cwd=cwd, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()


@pytest.fixture
def ensemble(tmp_path) -> Callable[..., Path]:
    """Function: class of `command_detectors` -> ensemble file that names it."""

    def write(detector: str = "Squares", **changes: object) -> Path:
        member = {"name": "squares", "use": f"command_detectors:{detector}", "views": [{"size": 320}]}
        path = tmp_path / f"{detector.lower()}.yaml"
        path.write_text(yaml.safe_dump({"name": "fakes", "members": [member]} | changes))
        return path

    return write


@pytest.fixture
def save() -> Callable[..., Path]:
    """Function: path, number of faces -> a picture file with so many bright squares."""

    def write(path: Path, faces: int = 1) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        squares = [(10 + 60 * i, 20, 50 + 60 * i, 60) for i in range(faces)]
        PIL.Image.fromarray(picture(320, 240, squares)).save(path, "PNG")
        return path

    return write


@pytest.fixture
def photos(tmp_path, save) -> Path:
    """A folder of six pictures with 0 to 2 faces."""
    for number in range(6):
        save(tmp_path / "photos" / f"{number}.png", number % 3)
    return tmp_path / "photos"


@pytest.fixture
def unverified(monkeypatch) -> str:
    """The name of a registered weight whose hash no public source states; the packaged registry need not have one."""
    row = Weight.model_validate(
        {
            "name": "nobody-vouches",
            "file": "nobody.onnx",
            "task": "detector",
            "source": {"kind": "https", "url": "https://127.0.0.1:9/nobody.onnx"},
            "licence": "MIT",
            "commercial": "yes",
            "verified": False,
        }
    )
    rows = {**registry(), row.name: row}
    monkeypatch.setattr(sys.modules["auto_annotator.weights.registry"], "registry", lambda: rows)
    return row.name


@pytest.fixture
def people_ensemble(ensemble) -> Callable[..., Path]:
    """Function: class of `command_people` -> ensemble file whose descriptors are it."""

    def write(recogniser: str = "Greens", **changes: object) -> Path:
        return ensemble(descriptors=[{"name": "greens", "use": f"command_people:{recogniser}"}], **changes)

    return write


@pytest.fixture
def clustering(monkeypatch):
    """A clustering that groups equal vectors, in the place of ours; its `calls` are those of this test."""
    from command_people import FakeClustering

    import auto_annotator.pipeline

    FakeClustering.calls.clear()
    monkeypatch.setattr(auto_annotator.pipeline, "FaceClustering", FakeClustering, raising=False)
    return FakeClustering


@pytest.fixture
def album(tmp_path) -> Path:
    """Photos of three people in two folders, two photos of one name: 0 three times, 1 twice, 2 once, one face nobody can tell."""
    from command_people import photo

    folder = tmp_path / "album"
    photo(folder / "a" / "x.png", [0, 1])
    photo(folder / "b" / "x.png", [0])
    photo(folder / "b" / "y.png", [1, 2, -1])
    photo(folder / "z.png", [0])
    photo(folder / "empty.png", [])
    return folder
