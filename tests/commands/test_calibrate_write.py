"""`calibrate --write`: an ensemble file that does what is recommended, and the copy that it is made of."""

import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml
from fakes import picture

from auto_annotator.commands.ensemble_copy import check_place, write_copy
from auto_annotator.config import ensemble_path, load_ensemble
from auto_annotator.errors import ConfigError


@pytest.fixture
def labelled(tmp_path):
    """Twelve pictures with four faces of score 0.6 and one box of score 0.4 that is none."""
    rows = []
    for number in range(12):
        squares = [(10 + 60 * i, 20, 50 + 60 * i, 60) for i in range(4)]
        image = picture(320, 240, [*squares, (10, 120, 50, 160)])
        image[20:60, :, 0] = np.where(image[20:60, :, 0] > 100, 160, image[20:60, :, 0])
        image[120:160, :, 0] = np.where(image[120:160, :, 0] > 100, 140, image[120:160, :, 0])
        (tmp_path / "set" / "images").mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(image).save(tmp_path / "set" / "images" / f"{number}.png")
        rows.append({"file": f"{number}.png", "boxes_xywh": [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in squares]})
    (tmp_path / "set" / "annotations.json").write_text(json.dumps(rows))
    return tmp_path / "set"


def test_a_better_threshold_is_written_and_used(cli, ensemble, labelled, tmp_path):
    own = ensemble(fusion={"rule": "wbf"}, threshold=0.3)
    target = tmp_path / "better.yaml"
    result = cli("calibrate", labelled, "--ensemble", own, "--write", target, "--no-cache", "--anyway")
    assert result.code == 0, result.err
    advice = re.search("Keep the calibration that it has now, with `threshold: ([0-9.]+)`: 0.0 .* against 25.0 now", result.out)
    assert advice, result.out
    assert result.out.splitlines()[-1] == str(target)
    assert 0.4 < float(advice[1]) <= 0.6
    assert load_ensemble(str(target)).threshold == float(advice[1])
    assert (tmp_path / "better.calibration.json").exists(), "beside it, if it is wanted after all"
    out = tmp_path / "found.jsonl"
    assert cli("detect", labelled / "images" / "1.png", "--ensemble", target, "--output", out).code == 0
    assert len(json.loads(out.read_text())["faces"]) == 4
    again = cli("calibrate", labelled, "--ensemble", own, "--write", target, "--no-cache", "--anyway")
    assert "exists already" in again.one_line
    final = tmp_path / "final.yaml"
    kept = cli("calibrate", labelled, "--ensemble", target, "--write", final, "--no-cache", "--anyway")
    assert kept.code == 0
    assert "was not written" in kept.err
    assert not final.exists()


def test_without_a_judgement_the_learned_one_is_written(cli, ensemble, labelled, tmp_path):
    target = tmp_path / "mine.yaml"
    own = ensemble(fusion={"rule": "wbf"}, threshold=0.3)
    assert cli("calibrate", labelled, "--ensemble", own, "--write", target, "--no-cache", "--anyway", "--folds", 0).code == 0
    written = load_ensemble(str(target))
    assert (written.name, written.calibration, written.threshold) == ("mine", "mine.calibration.json", 0.3)


def test_a_copy_of_a_packaged_ensemble_brings_its_files(tmp_path):
    target = tmp_path / "faces-of-ours.yaml"
    written = write_copy("embedded", target, calibration=None, threshold=0.66)
    assert sorted(p.name for p in written) == ["embedded.calibration.json", "embedded.descriptors.json", target.name]
    ours, theirs = (yaml.safe_load(Path(p).read_text()) for p in (target, ensemble_path("embedded")))
    assert ours == theirs | {"name": "faces-of-ours", "threshold": 0.66}
    assert "# " in target.read_text(), "its comments stay"


def test_a_calibration_that_does_not_fit_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"version": 2, "members": {}}')
    with pytest.raises(ConfigError, match=r"x\.json"):
        write_copy("embedded", tmp_path / "e.yaml", calibration=tmp_path / "x.json", threshold=0.5)


def test_places_where_it_could_not_work(ensemble, tmp_path):
    own = str(ensemble())
    for name, words in (("e.json", "name of a .yaml"), ("no/e.yaml", "does not exist")):
        with pytest.raises(ConfigError, match=words):
            check_place("embedded", tmp_path / name, tmp_path / "c.json")
    (tmp_path / "sub").mkdir()
    with pytest.raises(ConfigError, match=r"beside squares\.yaml"):
        check_place(own, tmp_path / "sub" / "e.yaml", tmp_path / "sub" / "c.json")
    check_place(own, tmp_path / "e.yaml", tmp_path / "c.json")
    check_place("embedded", tmp_path / "sub" / "e.yaml", tmp_path / "sub" / "c.json")


def test_no_file_that_another_ensemble_may_need_is_replaced(ensemble, tmp_path):
    own = str(ensemble(calibration="now.json"))
    (tmp_path / "now.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"now\.json is a file of the present ensemble"):
        check_place(own, tmp_path / "e.yaml", tmp_path / "now.json")
    with pytest.raises(ConfigError, match="is a file of the present ensemble"):
        check_place("embedded", tmp_path / "embedded.yaml", tmp_path / "embedded.calibration.json")
    shipped = ensemble_path("embedded").with_name("embedded.calibration.json")
    (tmp_path / shipped.name).write_bytes(shipped.read_bytes())
    check_place("embedded", tmp_path / "e.yaml", tmp_path / "c.json")
    (tmp_path / shipped.name).write_text("{}")  # learned earlier: the default place of `calibrate` without --write
    with pytest.raises(ConfigError, match=r"another embedded\.calibration\.json lies there"):
        check_place("embedded", tmp_path / "e.yaml", tmp_path / "c.json")


@pytest.mark.parametrize("stem", ["2026", "no", "a: b", "#1"])
def test_any_name_of_a_file_is_a_name_of_an_ensemble(ensemble, tmp_path, stem):
    source = ensemble(fusion={"rule": "wbf"})
    source.write_text(source.read_text().rstrip("\n"))  # as some editors leave it
    (tmp_path / f"{stem}.json").write_text('{"version": 2, "members": {}}')
    target = tmp_path / f"{stem}.yaml"
    write_copy(str(source), target, calibration=tmp_path / f"{stem}.json", threshold=0.5)
    written = load_ensemble(str(target))
    assert (written.name, written.calibration, written.threshold) == (stem, f"{stem}.json", 0.5)


def test_the_calibration_lies_beside_the_ensemble(cli, ensemble, labelled, tmp_path):
    (tmp_path / "sub").mkdir()
    result = cli(
        "calibrate", labelled, "--ensemble", ensemble(), "--write", tmp_path / "e.yaml", "--output", tmp_path / "sub" / "c.json"
    )
    assert result.code == 2
    assert "expected a file beside" in result.one_line
