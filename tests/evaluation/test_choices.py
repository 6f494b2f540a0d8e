"""Which of two calibrations is better, on sets where the answer is known."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.evaluation.choices import SURE, best_threshold, choices, recommended
from auto_annotator.evaluation.detection import match
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.types import Faces

BOX = np.array([[10.0, 10.0, 50.0, 60.0]], np.float32)
PICTURES = [LabelledPicture(path=Path(f"{i}.jpg"), boxes=BOX) for i in range(20)]
PARTS = [np.arange(i, 20, 4) for i in range(4)]


def found(true, false):
    """One face and one false box in each picture, with these scores."""
    boxes = np.concatenate([BOX, BOX + 200])
    return [Faces.of(boxes, np.array([t, f], np.float32)) for t, f in zip(true, false, strict=True)]


def test_what_is_better_in_every_picture_is_recommended():
    good, bad = found([0.9] * 20, [0.1] * 20), found([0.9] * 20, [0.95] * 20)
    now, _, learned, _ = listed = choices(bad, good, PICTURES, PARTS, 0.5)
    assert (now.c100, learned.c100, learned.fewer, learned.higher) == (100.0, 0.0, 1.0, 1.0)
    assert recommended(listed) is learned, "of two that are equally good the one with the threshold there is"
    listed = choices(good, bad, PICTURES, PARTS, 0.5)
    assert recommended(listed) is listed[0]
    assert listed[2].fewer == 0.0


def test_what_makes_no_difference_is_not():
    same = found([0.9] * 20, [0.1] * 20)
    listed = choices(same, same, PICTURES, PARTS, 0.5)
    assert [one.fewer for one in listed] == [None, 0.5, 0.5, 0.5]
    assert recommended(listed) is listed[0]


def test_a_threshold_is_found_and_judged_on_other_pictures():
    now = found([0.9] * 20, [0.7] * 20)
    listed = choices(now, now, PICTURES, PARTS, 0.5)
    assert (listed[0].c100, listed[1].c100) == (100.0, 0.0)
    assert 0.7 <= listed[1].threshold <= 0.9
    assert recommended(listed) is listed[1]


def test_a_threshold_that_fits_only_its_own_pictures_gains_nothing():
    """Each part of the pictures has its own best threshold: what is best on the others is wrong for it."""
    true, false = np.full(20, 0.5), np.full(20, 0.1)
    odd = np.arange(20) % 2 == 1
    true[odd], false[odd] = 0.9, 0.6
    now = found(true, false)
    listed = choices(now, now, PICTURES, [np.flatnonzero(odd), np.flatnonzero(~odd)], 0.3)
    assert listed[0].c100 == 50.0
    assert listed[1].c100 == 100.0 * 20 / 20 / 1 * 0.5 + 100.0 * 10 / 20, "odd ones: a false box; even ones: a missed face"
    assert recommended(listed) is listed[0]


def test_without_a_calibration_there_is_nothing_to_compare():
    listed = choices(None, found([0.9] * 20, [0.1] * 20), PICTURES, PARTS, 0.5)
    assert [(one.learned, one.fewer) for one in listed] == [(True, None), (True, None)]
    assert recommended(listed) is listed[0]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=20, max_size=20), st.floats(0.05, 0.95))
def test_the_best_threshold_costs_least_and_a_recommendation_is_sure(scores, threshold):
    faces = found(*map(list, zip(*scores, strict=True)))
    matches = match(faces, [p.truth("hard") for p in PICTURES])
    best = best_threshold(matches, threshold)

    def cost(at):
        return sum(int(t < at) + int(f >= at) for t, f in np.asarray(scores, np.float32).tolist())

    assert cost(best) == min(cost(i / 50) for i in range(1, 50))
    listed = choices(faces, faces, PICTURES, PARTS, threshold)
    chosen = recommended(listed)
    assert chosen is listed[0] or (chosen.fewer >= SURE and chosen.c100 <= listed[0].c100)
