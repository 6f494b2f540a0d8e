"""Generated mosaics: the truth is where the pixels are."""

import json
import stat

import numpy as np
import pytest

from auto_annotator.evaluation.mosaics import Condition, Portrait, make_mosaics, write_mosaics
from auto_annotator.evaluation.readers import read_labelled

POINTS = np.array([[80, 100], [120, 100], [100, 120], [85, 140], [115, 140]], np.float32)
COLOURS = ([255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255])


def portrait(mark=9):
    """A grey picture with a coloured square around each point."""
    image = np.full((240, 200, 3), 128, np.uint8)
    for (x, y), colour in zip(POINTS.astype(int), COLOURS, strict=True):
        image[y - mark : y + mark, x - mark : x + mark] = colour
    return Portrait(image=image, points=POINTS)


def one(condition, **more):
    (mosaic,) = make_mosaics([portrait()], condition, **{"sizes": (200,), "per_size": 1, "canvas": (400, 400)} | more)
    return mosaic


@pytest.mark.parametrize("turned", [0, 30, 90, 180])
@pytest.mark.parametrize("size", [60, 120, 200])
def test_points_lie_on_their_marks(turned, size):
    mosaic = one(Condition(turned=turned), sizes=(size,))
    ys, xs = np.mgrid[: mosaic.image.shape[0], : mosaic.image.shape[1]]
    x1, y1, x2, y2 = mosaic.boxes[0]
    inside = (xs >= x1) & (xs < x2) & (ys >= y1) & (ys < y2)
    for point, colour in zip(mosaic.landmarks[0], COLOURS, strict=True):
        mark = inside & (np.abs(mosaic.image.astype(int) - colour).sum(axis=2) < 60)
        centre = np.array([xs[mark].mean(), ys[mark].mean()]) + 0.5
        assert np.abs(centre - point).max() < 0.6 + size / 200


def test_boxes_have_the_size_that_was_asked_for():
    mosaics = list(make_mosaics([portrait()], Condition(), sizes=(8, 16, 64), per_size=30, canvas=(400, 300)))
    sizes = np.concatenate([m.sizes for m in mosaics])
    heights = np.concatenate([m.boxes[:, 3] - m.boxes[:, 1] for m in mosaics])
    assert heights == pytest.approx(sizes, rel=1e-4)
    assert np.bincount(sizes)[[8, 16, 64]].tolist() == [30, 30, 30]


def test_faces_do_not_touch_and_stay_on_the_canvas():
    for mosaic in make_mosaics([portrait()], Condition(turned=45), sizes=(8, 20, 80), per_size=20, canvas=(400, 300)):
        b = mosaic.boxes
        assert (b[:, :2] >= 0).all()
        assert (b[:, 2:] <= [400, 300]).all()
        apart = (b[:, None, 2:] <= b[None, :, :2]).any(axis=2)
        assert (apart | apart.T | np.eye(len(b), dtype=bool)).all()


def test_conditions_change_what_they_say():
    clean, covered, blurred = (one(c).image.astype(int) for c in (Condition(), Condition(covered=0.35), Condition(blur=0.1)))
    box = one(Condition()).boxes[0].round().astype(int)
    middle = (box[0] + box[2]) // 2
    assert np.ptp(covered[box[1] + 60 : box[1] + 100, middle]) == 0 or np.ptp(covered[box[3] - 60 : box[3] - 10, middle]) == 0
    inside = np.s_[box[1] + 40 : box[3] - 20, box[0] + 10 : box[2] - 10]
    assert np.abs(np.diff(blurred[inside], axis=1)).max() < np.abs(np.diff(clean[inside], axis=1)).max() / 3
    assert (one(Condition(jpeg=20)).image != one(Condition()).image).any()
    assert (one(Condition(), seed=1).image != one(Condition(), seed=2).image).any()
    assert (one(Condition(), seed=1).image == one(Condition(), seed=1).image).all()


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="no portrait"):
        list(make_mosaics([], Condition()))
    with pytest.raises(ValueError, match="does not fit"):
        one(Condition(), sizes=(300,))


def test_a_written_set_is_read_back_as_it_was(tmp_path):
    mosaics = list(make_mosaics([portrait()], Condition(turned=30), sizes=(20, 40), per_size=3, canvas=(300, 200)))
    written = write_mosaics(mosaics, tmp_path / "set")
    read = read_labelled(tmp_path / "set")
    assert stat.S_IMODE((tmp_path / "set").stat().st_mode) == 0o700
    assert len(read) == len(written) == len(mosaics)
    assert not read[0].points_only
    assert read[0].boxes == pytest.approx(mosaics[0].boxes, abs=2e-3)
    assert read[0].landmarks == pytest.approx(mosaics[0].landmarks, abs=2e-3)
    assert json.loads((tmp_path / "set" / "annotations.json").read_text())[0]["condition"]["turned"] == 30
