"""What `annotate` writes is what `evaluate` reads: an ensemble judged on its own answers makes no error."""

import json
import shutil
import zipfile

import pytest


@pytest.fixture
def answered(cli, ensemble, photos, tmp_path):
    """The folder of `annotate`, with the pictures in `images/`."""
    out = tmp_path / "out"
    assert cli("annotate", photos, "--out", out, "--ensemble", ensemble()).code == 0
    shutil.copytree(photos, out / "images")
    return out


def judged(cli, data, ensemble, tmp_path, *more):
    command = ("evaluate", data, "--ensemble", ensemble(), "--output", tmp_path / "report", "--systems", "ensemble", "--no-cache")
    result = cli(*command, *more)
    assert result.code == 0, result.err
    return json.loads((tmp_path / "report" / "evaluation.json").read_text())["systems"][0]


@pytest.mark.parametrize("name", ["annotations.xml", "coco.json"])
def test_own_answers_are_right(cli, ensemble, answered, tmp_path, name):
    (answered / ({"annotations.xml", "coco.json"} - {name}).pop()).unlink()
    found = judged(cli, answered, ensemble, tmp_path)
    assert found["boxes"]["pictures"] == 6
    assert found["boxes"]["faces"]["hard"] == 6
    assert found["boxes"]["ap"]["hard"] == 1.0
    assert found["boxes"]["corrections"]["hard"]["per_100"] == 0.0


def test_a_zip_with_another_label(cli, ensemble, answered, tmp_path):
    xml = (answered / "annotations.xml").read_text().replace('label="face"', 'label="head"').replace(">face<", ">head<")
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("annotations.xml", xml)
        for picture in (answered / "images").iterdir():
            archive.write(picture, f"images/{picture.name}")
    found = judged(cli, path, ensemble, tmp_path, "--label", "head")
    assert found["boxes"]["corrections"]["hard"]["per_100"] == 0.0
    result = cli("evaluate", path, "--ensemble", ensemble(), "--no-cache", "--label", "dog")
    assert result.code == 2
    assert "name it with --label" in result.err


def test_without_the_pictures_it_says_what_is_missing(cli, ensemble, answered):
    shutil.rmtree(answered / "images")
    result = cli("evaluate", answered, "--ensemble", ensemble(), "--no-cache")
    assert result.code == 2
    assert "6 of 6 pictures are not there" in result.one_line
