"""`auto-annotator evaluate` on generated pictures."""

import json
import re

import numpy as np
import pytest


@pytest.fixture
def labelled(tmp_path, save):
    rows = []
    for number in range(3):
        save(tmp_path / "set" / "images" / f"{number}.png", number)
        boxes = [[10 + 60 * i, 20, 40, 40] for i in range(number)]
        rows.append({"file": f"{number}.png", "boxes_xywh": boxes})
    (tmp_path / "set" / "annotations.json").write_text(json.dumps(rows))
    return tmp_path / "set"


def test_a_report_is_three_files(cli, ensemble, labelled, tmp_path):
    out = tmp_path / "report"
    result = cli("evaluate", labelled, "--ensemble", ensemble(), "--output", out, "--no-cache")
    assert result.code == 0, result.err
    assert {p.name for p in out.iterdir()} == {"evaluation.html", "evaluation.json", "evaluation.md"}
    assert sorted(result.out.split()) == sorted(str(p) for p in out.iterdir())
    data = json.loads((out / "evaluation.json").read_text())
    ours = next(s for s in data["systems"] if s["kind"] == "ensemble")
    assert ours["boxes"]["ap"]["hard"] == 1.0
    assert ours["boxes"]["corrections"]["hard"]["per_100"] == 0.0
    assert [s["system"] for s in data["systems"]] == ["squares, one look", "fakes"]


def test_without_an_output_the_tables_go_to_the_terminal(cli, ensemble, labelled):
    result = cli("evaluate", labelled, "--ensemble", ensemble(), "--systems", "ensemble", "--limit", 2, "--no-cache")
    assert result.code == 0, result.err
    assert "- 2 pictures, 1 labelled faces" in result.out
    assert re.search(r"^\| fakes \| 1.000 \| 1.000 \| 1.000 ", result.out, re.M)


def test_a_threshold_changes_what_is_shown(cli, ensemble, labelled):
    result = cli("evaluate", labelled, "--ensemble", ensemble(), "--systems", "ensemble", "--threshold", 1, "--no-cache")
    assert "100.0 (1)" in result.out


def test_answers_are_kept_where_the_user_says(cli, ensemble, labelled, tmp_path):
    for _ in range(2):
        assert cli("evaluate", labelled, "--ensemble", ensemble(), "--cache", tmp_path / "kept").code == 0
    assert len(list((tmp_path / "kept").iterdir())) == 3 + 3 + 1  # looks, answers of the ensemble, its time


def test_points_are_judged_without_boxes(cli, ensemble, save, tmp_path):
    save(tmp_path / "points" / "images" / "0.png", 1)
    offsets = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
    five = (np.array([10, 20]) + 40 * offsets).tolist()
    (tmp_path / "points" / "annotations.json").write_text(json.dumps([{"file": "0.png", "landmarks5": five}]))
    result = cli("evaluate", tmp_path / "points", "--ensemble", ensemble(), "--output", tmp_path / "out", "--no-cache")
    assert result.code == 0, result.err
    text = (tmp_path / "out" / "evaluation.md").read_text()
    assert "## Landmarks, over the 1 faces" in text
    assert "## Boxes" not in text


def test_wrong_sets_are_one_line(cli, tmp_path, ensemble):
    assert "annotations.json" in cli("evaluate", tmp_path, "--ensemble", ensemble()).one_line
    (tmp_path / "annotations.json").write_text("[]")
    assert cli("evaluate", tmp_path, "--ensemble", ensemble()).code == 2
    (tmp_path / "annotations.json").write_text('[{"file": "secret name.png", "boxes_xywh": []}]')
    result = cli("evaluate", tmp_path, "--ensemble", ensemble(), "--no-cache")
    assert result.code == 2
