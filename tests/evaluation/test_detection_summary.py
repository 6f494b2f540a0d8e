"""The one-call summary on a set that can be worked out by hand."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from detection_oracle import labelled, scene

from auto_annotator.evaluation.detection import average_precision, match
from auto_annotator.evaluation.labels import LabelledPicture, size_names
from auto_annotator.evaluation.summary import one_false_box, summary, touches
from auto_annotator.types import Faces

SMALL, LARGE, FALSE = [0, 0, 10, 10], [100, 0, 180, 80], [300, 0, 380, 80]
POINTS = np.array([[[110, 20], [170, 20], [140, 40], [120, 60], [160, 60]]], np.float32)


def pictures():
    keep = {"easy": (1,), "medium": (1,), "hard": (0, 1)}
    one = labelled([SMALL, LARGE], keep=keep, attributes={"blur": np.array([2, 0])})
    return [one, labelled([LARGE], attributes={"blur": np.array([1])})]


def test_levels_sizes_and_attributes():
    faces = [Faces.of([LARGE, FALSE], [0.9, 0.4]), Faces.of([LARGE], [0.8])]
    got = summary(faces, pictures(), 0.5)
    assert got.faces == {"easy": 2, "medium": 2, "hard": 3}
    assert got.ap["medium"] == got.ap_tight["medium"] == got.ap_range["medium"] == 1.0
    assert got.ap["hard"] == pytest.approx(2 / 3)
    assert (got.c100("medium"), got.c100("hard")) == (0.0, pytest.approx(100 / 3))
    assert got.zero_touch == {"easy": 1.0, "medium": 1.0, "hard": 0.5}
    sizes = {name: got.groups[f"size: {name}"] for name in (size_names()[0], size_names()[-1])}
    assert [(g.faces, g.recall) for g in sizes.values()] == [(1, 0.0), (2, 1.0)]
    assert (got.groups["blur: heavy"].seen, got.groups["blur: clear"].seen) == (0.0, 1.0)
    assert "pose: typical" not in got.groups


def test_false_boxes_of_another_size_do_not_count_against_a_size():
    faces = [Faces.of([FALSE, SMALL], [0.95, 0.9]), Faces.of([LARGE], [0.8])]
    got = summary(faces, pictures(), 0.5)
    assert got.groups[f"size: {size_names()[0]}"].ap == 1.0
    assert got.groups["blur: heavy"].ap == pytest.approx(0.5)


def test_points_are_judged_where_they_are_labelled():
    picture = LabelledPicture(path=Path("x"), boxes=np.array([LARGE], np.float32), landmarks=POINTS)
    for points, bad in ((POINTS, 0), (POINTS + 20, 1), (None, 1)):
        got = summary([Faces.of([LARGE], [0.9], points)], [picture], 0.5)
        assert (got.corrections["hard"].bad_landmarks, got.zero_touch["hard"]) == (bad, 1.0 - bad)


def test_what_it_says_is_what_the_single_measures_say():
    detections, truths = scene(7, pictures=12)
    set_ = [labelled(t.boxes, keep={"hard": tuple(np.flatnonzero(t.counts).tolist())}) for t in truths]
    got = summary(detections, set_, 0.5)
    assert got.ap["hard"] == average_precision(match(detections, truths))
    ious = [average_precision(match(detections, truths, iou=i / 100)) for i in range(50, 100, 5)]
    assert got.ap_range["hard"] == pytest.approx(np.mean(ious))
    total = touches(match(detections, truths), 0.5).sum()
    assert got.c100("hard") == pytest.approx(100 * total / got.faces["hard"])


def test_the_score_with_one_false_box_per_picture():
    matches = match([Faces.of([FALSE, SMALL, LARGE], [0.9, 0.8, 0.7])], [pictures()[1].truth("hard")])
    assert one_false_box(matches) == pytest.approx(0.9)  # the small box is the second false one
    tied = match([Faces.of([FALSE, SMALL], [0.9, 0.9])], [pictures()[1].truth("hard")])
    assert one_false_box(tied) == math.inf


def test_json_has_no_nan():
    text = json.dumps(summary([Faces.empty()], [labelled([])], 0.5).as_json(), allow_nan=False)
    assert json.loads(text)["ap"]["medium"] is None


def test_labels_refuse_what_does_not_fit():
    for change in ({"keep": {"hard": (1,)}}, {"attributes": {"blur": np.zeros(2, int)}}, {"landmarks": np.zeros((2, 5, 2))}):
        with pytest.raises(ValueError, match="labels"):
            labelled([SMALL], **change)
