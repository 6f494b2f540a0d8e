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
    result = cli(
        "calibrate", labelled, "--ensemble", own, "--output", tmp_path / "own.json", "--folds", 2, "--no-cache", "--anyway"
    )
    assert result.code == 0, result.err
    assert "Cross-validated over events in 2 parts" in result.out
    assert ("There is nothing to compare with" in result.out) == (rule == "stack"), "a rule that averages works without"
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


@pytest.fixture
def many(tmp_path, save):
    """Twelve pictures in four events with ten faces each; every second square of the pictures is a labelled face."""
    return _many(tmp_path / "many", save)


def _many(folder, save, *, events=4, pictures=12, faces=10):
    rows = []
    for number in range(pictures):
        save(folder / "images" / f"{number}.png", 4)
        boxes = [[10 + 60 * i, 20, 40, 40] for i in range(4)] + [[10 + 20 * i, 150, 10, 10] for i in range(faces - 4)]
        rows.append({"file": f"{number}.png", "boxes_xywh": boxes, "event": f"event {number % events}"})
    (folder / "annotations.json").write_text(json.dumps(rows))
    return folder


def test_it_stands_beside_the_calibration_that_there_is_and_says_which_is_better(cli, ensemble, many, tmp_path):
    own = tmp_path / "own.yaml"
    data = yaml.safe_load(Path(ensemble()).read_text()) | {"fusion": {"rule": "wbf"}, "threshold": 0.3}
    own.write_text(yaml.safe_dump(data))
    first = cli("calibrate", many, "--ensemble", own, "--output", tmp_path / "own.json", "--no-cache", "--folds", 4)
    assert first.code == 0, first.err
    assert "| all faces | learned here |" in first.out
    assert "| all faces | as it is now |" in first.out
    assert "Keep the calibration and the threshold that it has now" in first.out, "nothing can be better than nothing to mend"
    assert "these very pictures" not in first.out
    own.write_text(yaml.safe_dump(data | {"calibration": "own.json"}))
    again = cli("calibrate", many, "--ensemble", own, "--output", tmp_path / "again.json", "--no-cache", "--folds", 4)
    assert "learned from these very pictures" in again.out
    own.write_text(yaml.safe_dump(data | {"calibration": "missing.json"}))
    without = cli("calibrate", many, "--ensemble", own, "--output", tmp_path / "again.json", "--no-cache", "--folds", 4)
    assert without.code == 0, "the file that it will have may not be there yet"
    assert "There is nothing to compare with" in without.out


def test_too_little_says_how_much_is_needed(cli, ensemble, tmp_path, save):
    few = _many(tmp_path / "few", save, pictures=9, faces=10)
    result = cli("calibrate", few, "--ensemble", ensemble(), "--output", tmp_path / "x.json", "--no-cache")
    assert result.code == 2
    assert "got 90 faces in 9 pictures, expected at least 100 faces in 10 pictures" in result.one_line
    assert not (tmp_path / "x.json").exists()


def test_one_event_cannot_be_judged_and_says_so(cli, ensemble, tmp_path, save):
    alike = _many(tmp_path / "alike", save, events=1)
    result = cli("calibrate", alike, "--ensemble", ensemble(), "--output", tmp_path / "x.json", "--no-cache")
    assert result.code == 0, result.err
    assert "All pictures are of one event" in result.out
    assert (tmp_path / "x.json").exists()


def test_labels_of_other_pictures_are_refused(cli, ensemble, tmp_path, save):
    folder = _many(tmp_path / "other", save)
    rows = json.loads((folder / "annotations.json").read_text())
    for row in rows:
        row["boxes_xywh"] = [[x + 5000, y, w, h] for x, y, w, h in row["boxes_xywh"]]
    (folder / "annotations.json").write_text(json.dumps(rows))
    result = cli("calibrate", folder, "--ensemble", ensemble(), "--output", tmp_path / "x.json", "--no-cache")
    assert result.code == 2
    assert "are these the labels of these pictures?" in result.err


def test_points_alone_are_refused(cli, ensemble, tmp_path, save):
    save(tmp_path / "set" / "images" / "0.png", 1)
    points = {"0.png": {"landmarks5": [[20, 30], [40, 30], [30, 40], [24, 50], [36, 50]]}}
    (tmp_path / "set" / "landmarks.json").write_text(json.dumps(points))
    result = cli("calibrate", tmp_path / "set", "--ensemble", ensemble(), "--output", tmp_path / "x.json", "--no-cache")
    assert result.code == 2
    assert "expected all faces as boxes" in result.err


def test_an_export_of_cvat_with_another_label(cli, ensemble, tmp_path, save):
    images = []
    for number in range(12):
        save(tmp_path / "cvat" / "images" / f"{number}.png", 4)
        boxes = "".join(f'<box label="head" xtl="{10 + 60 * i}" ytl="20" xbr="{50 + 60 * i}" ybr="60"/>' for i in range(4))
        car = '<box label="car" xtl="1" ytl="90" xbr="9" ybr="99"/>'
        images.append(f'<image id="{number}" name="{number}.png" width="320" height="240">{boxes}{car}</image>')
    (tmp_path / "cvat" / "annotations.xml").write_text(f"<annotations>{''.join(images)}</annotations>")
    command = ("calibrate", tmp_path / "cvat", "--ensemble", ensemble(), "--output", tmp_path / "x.json", "--no-cache", "--anyway")
    assert "name it with --label" in cli(*command).err
    result = cli(*command, "--label", "head")
    assert result.code == 0, result.err
    assert "12 pictures, 48 faces" in result.err
    first = json.loads((tmp_path / "x.json").read_text())["data_sha256"]
    text = (tmp_path / "cvat" / "annotations.xml").read_text()
    (tmp_path / "cvat" / "annotations.xml").write_text(text.replace('xbr="50"', 'xbr="51"', 1))
    cli(*command, "--label", "head")
    assert json.loads((tmp_path / "x.json").read_text())["data_sha256"] != first
