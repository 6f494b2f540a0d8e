"""A user's own ensemble file with an own detector beside it, used from anywhere."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
import zlib
from pathlib import Path

import pytest

OWN_DETECTOR = """
from fakes import SquareDetector
from own_helper_{n} import SHIFT

class Own(SquareDetector):
    def __init__(self, context, **options):
        super().__init__(SHIFT)
"""


@pytest.fixture
def own(tmp_path, request) -> Path:
    """An ensemble file whose detector lies in two files beside it; every test has modules of its own."""
    n = zlib.crc32(request.node.nodeid.encode())
    folder = tmp_path / "my models"
    folder.mkdir()
    (folder / f"own_detector_{n}.py").write_text(OWN_DETECTOR.format(n=n))
    (folder / f"own_helper_{n}.py").write_text("SHIFT = 7.0\n")
    member = {"name": "own", "use": f"own_detector_{n}:Own", "views": [{"size": 320}]}
    (folder / "mine.yaml").write_text(json.dumps({"name": "mine", "members": [member]}))
    return folder / "mine.yaml"


@pytest.mark.parametrize("relative", [True, False])
def test_a_detector_beside_the_ensemble_file_is_found_from_anywhere(cli, own, photos, tmp_path, monkeypatch, relative):
    monkeypatch.chdir(photos)
    before = list(sys.path)
    name = Path("..") / own.relative_to(tmp_path) if relative else own
    assert cli("detect", "1.png", "--output", "../f.jsonl", "--ensemble", name).code == 0
    assert sys.path == before, "the folder stays on the path after the import"
    record = json.loads((tmp_path / "f.jsonl").read_text())
    assert record["faces"][0]["box"] == pytest.approx([17, 27, 57, 67], abs=0.5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "ModuleNotFoundError"),
        ("class Other: pass", "has no Own"),
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("import no_such_library", "No module named 'no_such_library'"),
        ("class Own:\n def __init__(self): pass", "does not take these options"),
        ("class Own:\n def __init__(self, context): raise RuntimeError('no licence key')", "RuntimeError: no licence key"),
        ("class Own:\n def __init__(self, context): context.session()", "needs more weight files than 0"),
    ],
)
def test_a_detector_file_that_does_not_work_is_named(cli, own, photos, tmp_path, content, message):
    module = next(own.parent.glob("own_detector_*.py"))
    module.unlink() if content is None else module.write_text(content)
    result = cli("detect", photos, "--output", tmp_path / "f.jsonl", "--ensemble", own)
    assert result.code == 2
    assert message in result.one_line and module.stem in result.one_line
    assert not (tmp_path / "f.jsonl").exists()
    examined = cli("doctor", "--ensemble", own)
    assert examined.code == 1
    assert message in examined.out and examined.err == ""


def test_a_name_that_another_module_has_says_which(cli, own, photos, tmp_path):
    own.write_text(re.sub(r"own_detector_\d+", "json", own.read_text()))
    (own.parent / "json.py").write_text("class Own: pass")
    result = cli("detect", photos, "--output", tmp_path / "f.jsonl", "--ensemble", own)
    assert result.code == 2
    assert json.__file__ in result.one_line and "rename yours" in result.one_line


def test_a_model_file_beside_the_ensemble_file_is_found_from_anywhere(cli, own, photos, tmp_path, monkeypatch):
    data = json.loads(own.read_text())
    data["members"][0]["weights"] = "nets/mine.onnx"
    own.write_text(json.dumps(data))
    monkeypatch.chdir(photos)
    arguments = ["detect", ".", "--output", tmp_path / "f.jsonl", "--ensemble", own]
    assert "'nets/mine.onnx' is not a file" in cli(*arguments).one_line
    (own.parent / "nets").mkdir()
    (own.parent / "nets/mine.onnx").write_bytes(b"a model")
    assert cli(*arguments).code == 0
    assert "your own file, not checked" in cli("doctor", "--ensemble", own).out


@pytest.mark.weights
def test_the_example_of_the_documentation(cli, pulled, repository, tmp_path, monkeypatch):
    """Exactly the files and commands of docs/ensembles.md, on a real face."""
    text = (repository / "docs/ensembles.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^`(my[\w.-]+)`:\n\n```\w+\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert sorted(files) == ["my-ensemble.yaml", "my_detectors.py"]
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (tmp_path / "photos").mkdir()
    shutil.copy(pulled("sample-astronaut"), tmp_path / "photos/astronaut.png")
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^auto-annotator .*$", re.search(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[1], re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        result = cli(*shlex.split(command)[1:])
        assert result.code == 0, (command, result)
    record = json.loads(Path("out/faces.jsonl").read_text())
    face = next(face for face in record["faces"] if face["score"] > 0.5)
    assert set(face["votes"]) == {"centerface", "opencv"} and None not in face["votes"].values()
    assert face["box"] == pytest.approx([178, 62, 269, 176], abs=12)
