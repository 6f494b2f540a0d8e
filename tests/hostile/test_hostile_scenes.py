"""Odd pictures, real faces: the embedded ensemble through the whole path."""

from __future__ import annotations

import numpy as np
import pytest
from hostile_pictures import ASTRONAUT_FACE, background, encoded, plant
from hostile_replies import same_faces

from auto_annotator.geometry import iou_matrix

pytestmark = pytest.mark.weights

FOUND = 0.5
"""IoU with the planted box from which a face counts as found, as in WIDER FACE."""


def overlap(answer, box) -> float:
    """IoU of the best box of an answer with a box."""
    return float(iou_matrix(answer.boxes, np.array([box], float)).max(initial=0))


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)


NOBODY = {
    "black": lambda: np.zeros((480, 640, 3), np.uint8),
    "white": lambda: np.full((480, 640, 3), 255, np.uint8),
    "noise": noise,
    "1 x 1": lambda: np.full((1, 1, 3), 128, np.uint8),
    "1 x 4000": lambda: np.full((4000, 1, 3), 200, np.uint8),
    "4000 x 1": lambda: noise().reshape(-1, 3)[None, :4000],
    "2 x 2": lambda: noise()[:2, :2],
    "31 x 33": lambda: noise()[:31, :33],
    "clouds": lambda: background(640, 480, np.random.default_rng(1)),
    "stripes": lambda: np.tile(np.uint8([0, 255])[None, :, None], (480, 320, 3)),
}


@pytest.mark.parametrize("kind", NOBODY)
def test_nobody_there(kind, answer):
    found = answer(encoded(NOBODY[kind]()))
    assert found.items == [] and found.fields["problems"] == []


def test_a_panorama_one_face_high(answer, astronaut):
    """20,000 x 64: shrunk to the views it is four pixels high, so only the tiles can see its faces."""
    rng = np.random.default_rng(2)
    image = background(20_000, 64, rng)
    planted = [plant(image, astronaut, (x, 32), 30.0, rng) for x in (40, 5000, 10_111, 15_000, 19_950)]
    found = answer(encoded(image))
    assert found.fields["problems"] == []
    assert min(overlap(found, box) for box in planted) >= FOUND


@pytest.mark.parametrize("size", [(3, 3000), (3000, 3), (60_000, 2)])
def test_slivers(size, answer):
    found = answer(encoded(background(*size, np.random.default_rng(3))))
    assert found.items == [] and found.fields["problems"] == []


EXPOSURES = {
    "an eighth of the light": lambda p: p // 8,
    "two stops over": lambda p: np.minimum(p.astype(int) * 4, 255).astype(np.uint8),
    "low contrast": lambda p: (p // 8 + 110).astype(np.uint8),
    "negative colours swapped": lambda p: np.ascontiguousarray(p[..., ::-1]),
}


@pytest.mark.parametrize("kind", EXPOSURES)
def test_badly_exposed_pictures(kind, answer, portrait):
    # In the overexposed picture only CenterFace sees a face: the score is 0.4, below the ensemble's own threshold.
    request = {"threshold": 0.3} if kind == "two stops over" else {}
    found = answer(encoded(EXPOSURES[kind](portrait)), **request)
    assert len(found.boxes) == 1
    assert overlap(found, np.array(ASTRONAUT_FACE) - [144, 16, 144, 16]) >= 0.7


def test_a_face_that_fills_the_picture(answer, astronaut):
    x1, y1, x2, y2 = (int(v) for v in ASTRONAUT_FACE)
    face = astronaut[y1:y2, x1:x2]
    found = answer(encoded(face))
    assert len(found.boxes) == 1
    assert overlap(found, [0, 0, x2 - x1, y2 - y1]) >= 0.7
    assert "at_border" in found.attributes[0]["reasons"]


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_face_cut_by_the_border(side, answer, astronaut):
    """A third of the face is missing; the box covers what is left, and where it reaches the border it says so."""
    x1, y1, x2, y2 = (int(v) for v in ASTRONAUT_FACE)
    left, top, right, bottom = x1 - 60, 10, x2 + 60, y2 + 60
    third_x, third_y = (x2 - x1) // 3, (y2 - y1) // 3
    left, right = (x1 + third_x if side == "left" else left), (x2 - third_x if side == "right" else right)
    top, bottom = (y1 + third_y if side == "top" else top), (y2 - third_y if side == "bottom" else bottom)
    found = answer(encoded(astronaut[top:bottom, left:right]))
    visible = [max(x1, left) - left, max(y1, top) - top, min(x2, right) - left, min(y2, bottom) - top]
    assert len(found.boxes) == 1 and overlap(found, visible) >= FOUND
    height, width = bottom - top, right - left
    gap = {
        "left": found.boxes[0, 0],
        "top": found.boxes[0, 1],
        "right": width - found.boxes[0, 2],
        "bottom": height - found.boxes[0, 3],
    }
    assert gap[side] <= 0.06 * (x2 - x1), "the box ends at the cut, give or take what detectors are off by"
    assert gap[side] > 1 or "at_border" in found.attributes[0]["reasons"]


def test_a_region_of_interest_of_128_pixels(answer, astronaut):
    """What CVAT sends when an annotator marks a region: the face keeps its place within the crop."""
    left, top = 160, 52
    found = answer(encoded(astronaut[top : top + 128, left : left + 128]))
    assert len(found.boxes) == 1
    assert overlap(found, np.array(ASTRONAUT_FACE) - [left, top, left, top]) >= 0.8


def test_a_face_of_24_pixels_in_a_small_picture(answer, astronaut):
    rng = np.random.default_rng(4)
    image = background(200, 150, rng)
    box = plant(image, astronaut, (77, 66), 24.0, rng)
    found = answer(encoded(image))
    assert len(found.boxes) == 1 and overlap(found, box) >= FOUND


def test_upside_down_without_a_tag_is_no_crash_and_no_lie(answer, portrait):
    """Detectors learn from upright faces. Whatever they find of one on its head covers that head, and nothing else."""
    found = answer(encoded(np.ascontiguousarray(portrait[::-1, ::-1])))
    height, width = portrait.shape[:2]
    x1, y1, x2, y2 = np.array(ASTRONAUT_FACE) - [144, 16, 144, 16]
    turned = [width - x2, height - y2, width - x1, height - y1]
    assert found.fields["problems"] == []
    assert all(iou_matrix(found.boxes, np.array([turned])) >= 0.3)


@pytest.fixture(scope="module")
def at_2560(astronaut):
    """Faces of 60 to 400 pixels on a picture whose long side is the last without tiles, and the boxes."""
    rng = np.random.default_rng(5)
    image = background(2560, 1440, rng)
    places = [((300, 300), 60), ((800, 350), 90), ((1300, 330), 130), ((2000, 400), 250), ((640, 1000), 400), ((1900, 1050), 180)]
    return image, np.array([plant(image, astronaut, center, float(side), rng) for center, side in places])


def test_tiles_set_in_without_a_jump(answer, at_2560):
    image, planted = at_2560
    whole = answer(encoded(image, "BMP"))
    tiled = answer(encoded(np.pad(image, ((0, 0), (0, 1), (0, 0)), mode="edge"), "BMP"))
    assert same_faces(whole.boxes, planted, FOUND) and same_faces(tiled.boxes, planted, FOUND)
    assert same_faces(tiled.boxes, whole.boxes, 0.8)
    assert min(*whole.scores, *tiled.scores) >= 0.5


def test_small_faces_in_a_large_picture_are_the_tiles_business(answer, astronaut):
    """48 pixels of 5,200: about 10 on the views of the whole picture, whose silence must not outvote the tiles."""
    rng = np.random.default_rng(6)
    image = background(5200, 1300, rng)
    planted = np.array([plant(image, astronaut, (x, y), 48.0, rng) for x in range(150, 5200, 640) for y in (200, 700, 1180)])
    found = answer(encoded(image, "BMP"))
    assert same_faces(found.boxes, planted, FOUND)
    assert found.scores.min() >= 0.5
