"""`auto-annotator calibrate` on generated pictures."""

import json
from pathlib import Path

import pytest
import yaml

from auto_annotator.calibration import load_calibration
from auto_annotator.config import load_ensemble


@pytest.fixture
def labelled(tmp_path, save):
    """Eight pictures of bright squares; the last square of each is not labelled."""
    rows = []
    for number in range(8):
        squares = 2 + number % 2
        save(tmp_path / "set" / "images" / f"{number}.png", squares)
        boxes = [[10 + 60 * i, 20, 40, 40] for i in range(squares - 1)]
        rows.append({"file": f"{number}.png", "boxes_xywh": boxes, "event": f"event {number % 4}"})
    (tmp_path / "set" / "annotations.json").write_text(json.dumps(rows))
    return tmp_path / "set"


@pytest.mark.parametrize("rule", ["wbf", "stack"])
def test_what_was_learned_is_used(cli, ensemble, labelled, tmp_path, rule):
    path = ensemble()
    data = yaml.safe_load(Path(path).read_text()) | {"fusion": {"rule": rule}, "threshold": 0.1}
    own = tmp_path / "own.yaml"
    own.write_text(yaml.safe_dump(data))
    result = cli("calibrate", labelled, "--ensemble", own, "--output", tmp_path / "own.json", "--folds", 2, "--no-cache")
    assert result.code == 0, result.err
    assert "Cross-validated over events in 2 parts" in result.out
    written = json.loads((tmp_path / "own.json").read_text())
    assert written["data"] == "set"
    assert written["command"] == "auto-annotator calibrate set --ensemble own.yaml"
    assert str(tmp_path) not in json.dumps(written)
    own.write_text(yaml.safe_dump(data | {"calibration": "own.json"}))
    calibration = load_calibration(str(own), load_ensemble(str(own)))
    assert (calibration.score is not None) == (calibration.right is not None) == (rule == "stack")
    out = tmp_path / "found.jsonl"
    assert cli("detect", labelled / "images" / "1.png", "--ensemble", own, "--output", out).code == 0
    faces = json.loads(out.read_text().splitlines()[0])["faces"]
    assert len(faces) == 3
    assert max(face["score"] for face in faces) < 0.95  # one square in three or so is no face


def test_a_set_without_faces_is_refused(cli, ensemble, tmp_path, save):
    save(tmp_path / "set" / "images" / "0.png", 0)
    (tmp_path / "set" / "annotations.json").write_text(json.dumps([{"file": "0.png", "boxes_xywh": []}]))
    result = cli("calibrate", tmp_path / "set", "--ensemble", ensemble(), "--output", tmp_path / "x.json")
    assert result.code == 2
    assert "holds no face" in result.err
    assert not (tmp_path / "x.json").exists()
