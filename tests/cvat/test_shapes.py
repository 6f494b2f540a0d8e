"""From a detection to CVAT's shapes."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
from contract_fakes import detection_of, random_detection

from auto_annotator.cvat import shapes
from auto_annotator.types import LANDMARK_NAMES

NAN = float("nan")
RANDOM_CASES = 2_000
"""Pictures of 0 to 8 faces: about 8,000 faces, more than 10,000 with the gentle ones below."""


def one(box, *, points=None, width=100, height=80, **more):
    found = shapes.face_shapes(
        detection_of([box], landmarks=None if points is None else [points], width=width, height=height, **more)
    )
    return found[0] if found else None


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([10, 10, 50, 60], (10, 10, 50, 60)),
        ([10.004, 10.006, 50.5, 60], (10, 10.01, 50.5, 60)),
        ([-5, -7, 50, 60], (0, 0, 50, 60)),
        ([60, 40, 500, 600], (60, 40, 100, 80)),
        ([50, 60, 10, 10], (10, 10, 50, 60)),
        ([-1e30, -1e30, 1e30, 1e30], (0, 0, 100, 80)),
        ([10, 10, 10.5, 60], (9.25, 10, 11.25, 60)),
        ([0, 0, 0.2, 0.2], (0, 0, 2, 2)),
        ([99.9, 79.9, 100, 80], (98, 78, 100, 80)),
        ([30, 30, 30, 30], (29, 29, 31, 31)),
    ],
)
def test_boxes_are_cut_ordered_and_large_enough(box, expected):
    assert one(box).box == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    "box", [[NAN, 0, 10, 10], [0, 0, math.inf, 10], [200, 10, 300, 20], [-30, 0, -10, 20], [100, 0, 120, 20], [10, 80, 20, 90]]
)
def test_boxes_that_are_no_boxes_of_the_picture_are_left_out(box):
    assert one(box) is None


@pytest.mark.parametrize(("width", "height", "count"), [(1, 1, 0), (1, 4000, 0), (2, 2, 1)])
def test_a_picture_without_room_for_a_box(width, height, count):
    assert len(shapes.face_shapes(detection_of([[0, 0, 1, 1]], width=width, height=height))) == count


def test_groups_count_the_faces_that_are_kept():
    found = shapes.reply(detection_of([[0, 0, 10, 10], [NAN] * 4, [20, 20, 40, 40]], landmarks=np.full((3, 5, 2), 5.0)))
    assert [(i["type"], i["group_id"]) for i in found] == [("rectangle", 1), ("skeleton", 1), ("rectangle", 2), ("skeleton", 2)]


@pytest.mark.parametrize(
    ("score", "text"),
    [(0.93, "93"), (0, "0"), (1, "100"), (0.004, "0"), (0.996, "100"), (NAN, "0"), (2, "100"), (-1, "0"), (math.inf, "100")],
)
def test_scores_are_whole_percents(score, text):
    assert shapes.percent(score) == text
    assert one([0, 0, 10, 10], scores=[score]).attributes["score"] == text


def test_votes_say_who_saw_the_face():
    assert shapes.votes_text(("yunet", "centerface"), (0.93, 0.88)) == "2/2 yunet=93 centerface=88"
    assert shapes.votes_text(("yunet", "centerface", "mtcnn"), (NAN, 0.88, NAN)) == "1/3 centerface=88"
    assert shapes.votes_text(("yunet",), (NAN,)) == "0/1"


def test_long_texts_are_cut_between_words():
    names = [f"member-{i:04}" for i in range(1000)]
    text = shapes.votes_text(names, [0.5] * 1000)
    assert 4000 < len(text) <= 4096 and text.endswith("=50") and text.startswith("1000/1000 ")
    face = one([0, 0, 10, 10], reasons=[tuple(names)])
    assert len(face.attributes["reasons"]) <= 4096 and set(face.attributes["reasons"].split(",")) <= set(names)


def test_review_and_reasons():
    calm, odd = shapes.face_shapes(detection_of([[0, 0, 10, 10]] * 2, reasons=[(), ("few_votes", "small")]))
    assert (calm.attributes["review"], calm.attributes["reasons"]) == ("false", "")
    assert (odd.attributes["review"], odd.attributes["reasons"]) == ("true", "few_votes,small")


def test_what_the_detector_does_not_know_is_left_to_cvats_defaults():
    assert list(one([0, 0, 10, 10]).attributes) == ["score", "votes", "review", "reasons"]


POINTS = [[20, 20], [40, 20], [30, 30], [22, 45], [38, 45]]


def test_seen_points_stay_where_they_are():
    face = one([10, 10, 50, 60], points=POINTS)
    assert [(p.x, p.y, p.outside) for p in face.points] == [(x, y, False) for x, y in POINTS]


def test_a_point_nobody_saw_waits_at_its_place_in_the_box():
    face = one([10, 10, 50, 60], points=[*POINTS[:2], [NAN, 3], *POINTS[3:]])
    nose = face.points[LANDMARK_NAMES.index("nose")]
    assert (nose.x, nose.y, nose.outside) == (30, 40, True)
    assert sum(p.outside for p in face.points) == 1


def test_a_point_beyond_the_picture_is_outside_and_waits_at_its_edge():
    face = one([60, 10, 100, 60], points=[[70, 20], [120, 20], [100.6, 30], [-5, 90], [80, 79]])
    assert [(p.x, p.y, p.outside) for p in face.points] == [
        (70, 20, False),
        (100, 20, True),
        (100, 30, False),
        (0, 80, True),
        (80, 79, False),
    ]


def test_a_point_that_the_head_hides_is_outside_and_waits_where_it_was_predicted():
    detection = replace(detection_of([[10, 10, 50, 60]], landmarks=[POINTS]), hidden=np.array([[False, True, False, False, True]]))
    (face,) = shapes.face_shapes(detection)
    assert [(p.x, p.y) for p in face.points] == [tuple(map(float, p)) for p in POINTS]
    assert [p.outside for p in face.points] == [False, True, False, False, True]
    assert [e["outside"] for e in shapes.reply(detection)[1]["elements"]] == [False, True, False, False, True]
    assert [e.outside for e in shapes.sdk_annotations(detection)[1].elements] == [False, True, False, False, True]


def test_a_face_without_a_visible_point_has_no_skeleton():
    for points in ([[NAN, NAN]] * 5, [[500, 500]] * 5, [[1, math.inf]] * 5):
        detection = detection_of([[10, 10, 50, 60]], landmarks=[points])
        assert [i["type"] for i in shapes.reply(detection)] == ["rectangle"]
        assert [s.type.value for s in shapes.sdk_annotations(detection)] == ["rectangle"]


def test_no_face_is_an_empty_list():
    assert shapes.reply(detection_of([])) == [] == shapes.sdk_annotations(detection_of([]))


def check(detection):
    """Property 21 of the list of tests: every box and point is one that CVAT can show."""
    for face in shapes.face_shapes(detection):
        x1, y1, x2, y2 = face.box
        assert 0 <= x1 < x2 <= detection.width and 0 <= y1 < y2 <= detection.height
        assert min(x2 - x1, y2 - y1) >= 2 - 1e-9
        assert 0 <= face.score <= 1 and 0 <= int(face.attributes["score"]) <= 100
        if face.points is not None:
            assert len(face.points) == 5 and not all(p.outside for p in face.points)
            assert all(0 <= p.x <= detection.width and 0 <= p.y <= detection.height for p in face.points)
        assert {type(v) for v in (*face.box, *((c for p in face.points for c in (p.x, p.y)) if face.points else ()))} == {float}


@pytest.mark.parametrize("hostile", [True, False])
def test_every_shape_is_valid_over_ten_thousand_random_faces(hostile):
    rng = np.random.default_rng(11 + hostile)
    detections = [random_detection(rng, hostile=hostile) for _ in range(RANDOM_CASES)]
    assert sum(len(d.faces) for d in detections) > 5_000
    for detection in detections:
        check(detection)


def test_a_face_inside_the_picture_is_not_moved():
    rng = np.random.default_rng(3)
    corner = rng.uniform(0, 500, (200, 2))
    boxes = np.hstack([corner, corner + rng.uniform(3, 400, (200, 2))])
    found = shapes.face_shapes(detection_of(boxes, width=1000, height=1000))
    assert np.abs(np.array([f.box for f in found]) - boxes).max() <= 0.5 / shapes.GRID + 1e-4


def test_the_detection_is_left_as_it_was():
    detection = detection_of([[-5, 0, 10, 10]], landmarks=[POINTS])
    before = detection.faces.boxes.copy()
    shapes.reply(detection), shapes.sdk_annotations(detection)
    assert np.array_equal(detection.faces.boxes, before)


def test_box_and_skeleton_for_the_sdk_carry_score_and_group():
    detection = detection_of([[10, 10, 50, 60], [1, 1, 9, 9]], [0.9, 0.5], landmarks=[POINTS, [[NAN, NAN]] * 5])
    box, skeleton, second = shapes.sdk_annotations(detection)
    assert (box.label_id, skeleton.label_id, second.label_id) == (1, 2, 1)
    assert (box.group, skeleton.group, second.group) == (1, 1, 2)
    assert (box.score, skeleton.score, second.score) == (0.9, 0.9, 0.5)
    assert [e.label_id for e in skeleton.elements] == [1, 2, 3, 4, 5]
    assert {v.spec_id: v.value for v in box.attributes} == {1: "90", 2: "3/3 yunet=90 centerface=90 mtcnn=90", 3: "false", 4: ""}


@pytest.mark.slow
def test_ten_thousand_faces_in_a_second():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 9_000, (10_000, 2))
    points = corner[:, None] + rng.uniform(0, 50, (10_000, 5, 2))
    detection = detection_of(np.hstack([corner, corner + 50]), landmarks=points, width=10_000, height=10_000)
    start = time.process_time()
    assert len(shapes.reply(detection)) == 20_000
    assert time.process_time() - start < 2, "about 0.4 s on one core"
