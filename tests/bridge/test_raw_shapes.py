"""What CVAT's raw annotations mean: boxes, attributes, skeletons, tracks and groups."""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from prelabel_scene import FRAME, Scene, face, schema, track

from auto_annotator.bridge.shapes import (
    attributes_of,
    box_of,
    by_id,
    free_group,
    groups_in,
    label_named,
    landmarks_of,
    tied_landmarks,
    tied_skeleton,
    track_boxes,
    with_attributes,
)
from auto_annotator.errors import ConfigError

FACE, LANDMARKS, ERROR = schema()
number = st.floats(0, 500, allow_nan=False).map(lambda v: round(v, 2))


def rectangle(points, **more):
    return {"id": 1, "type": "rectangle", "label_id": FACE.id, "frame": FRAME, "group": 0, "points": points, **more}


@given(st.lists(number, min_size=4, max_size=4), st.floats(0, 360))
def test_the_box_of_a_turned_rectangle_holds_its_corners_and_no_more(points, rotation):
    x1, y1, x2, y2 = points
    middle = complex((x1 + x2) / 2, (y1 + y2) / 2)
    turn = complex(math.cos(math.radians(rotation)), math.sin(math.radians(rotation)))
    corners = [middle + (complex(x, y) - middle) * turn for x in (x1, x2) for y in (y1, y2)]
    xs, ys = [c.real for c in corners], [c.imag for c in corners]
    assert np.allclose(box_of(rectangle(points, rotation=rotation)), (min(xs), min(ys), max(xs), max(ys)), atol=1e-6)


def test_the_box_of_other_shapes_is_the_one_around_them():
    elements = [{"points": [5, 9]}, {"points": [1, 20]}, {"points": [99, 99], "outside": True}]
    assert box_of({"type": "skeleton", "points": [], "elements": elements}) == (1, 9, 5, 20)
    assert box_of({"points": [3, 1, 9, 5, 4, 8]}) == (3, 1, 9, 8)
    assert box_of({}) == (0, 0, 0, 0)


names = st.sampled_from([a.name for a in FACE.attributes])


@given(st.dictionaries(names, st.text(max_size=5)), st.dictionaries(names, st.text(max_size=5)), st.randoms())
def test_attributes_are_replaced_by_name_and_all_else_stays(sent, values, rng):
    ids = {a.name: a.id for a in FACE.attributes}
    listed = [{"spec_id": ids[name], "value": value, "extra": 1} for name, value in sent.items()]
    rng.shuffle(listed)
    item = rectangle([1, 2, 3, 4], attributes=listed, source="file", unknown=[1])
    before = copy.deepcopy(item)
    changed = with_attributes(item, FACE, values)
    assert item == before
    defaults = {a.name: a.default for a in FACE.attributes}
    assert attributes_of(changed, FACE) == defaults | sent | values
    assert {k: v for k, v in changed.items() if k != "attributes"} == {k: v for k, v in item.items() if k != "attributes"}
    assert [v["spec_id"] for v in changed["attributes"]][: len(listed)] == [v["spec_id"] for v in listed]
    assert all(v["extra"] for v in changed["attributes"][: len(listed)])


def test_an_attribute_that_the_label_lacks_is_refused():
    with pytest.raises(ConfigError, match="setup"):
        with_attributes(rectangle([1, 2, 3, 4]), FACE, {"agee": "3"})


def test_labels_are_found_by_name_and_type():
    assert label_named((FACE, LANDMARKS, ERROR), "face", "rectangle") is FACE
    assert label_named((FACE, LANDMARKS, ERROR), "face", "tag") is None
    assert label_named((FACE, LANDMARKS, ERROR), "nose", "skeleton") is None


def test_a_track_moves_in_a_straight_line_between_keyframes_and_stays_after_the_last():
    boxes = track_boxes(track(FACE, {2: (0, 0), 4: (20, 40), 5: None, 8: (8, 8)}), range(0, 11))
    assert {frame: box[:2] for frame, box in boxes.items()} == {
        2: (0, 0), 3: (10, 20), 4: (20, 40), 8: (8, 8), 9: (8, 8), 10: (8, 8),
    }  # fmt: skip
    assert all(box[2] - box[0] == box[3] - box[1] == 60 for box in boxes.values())


@given(
    st.dictionaries(st.integers(0, 12), st.one_of(st.none(), st.tuples(number, number)), min_size=1),
    st.integers(0, 12),
    st.integers(0, 12),
)
def test_frames_that_are_asked_for_do_not_change_what_is_shown(keyframes, start, stop):
    shown = track_boxes(track(FACE, keyframes), range(0, 20))
    part = track_boxes(track(FACE, keyframes), range(start, stop))
    assert part == {frame: box for frame, box in shown.items() if start <= frame < stop}
    assert all((frame in shown) == (here is not None) for frame, here in keyframes.items())


def test_a_track_turns_the_shorter_way():
    turning = track(FACE, {0: (0, 0), 2: (0, 0)})
    turning["shapes"][0]["rotation"], turning["shapes"][1]["rotation"] = 350.0, 10.0
    assert np.allclose(track_boxes(turning, range(0, 3))[1], (0, 0, 60, 60))


def scene_of(*faces):
    scene = Scene()
    scene.run(faces)
    return scene


def test_landmarks_come_from_the_skeleton_of_the_group_in_any_order_of_elements():
    scene = scene_of(face(100), face(110))
    for box, skeleton in zip(scene.boxes(), scene.skeletons(), strict=True):
        skeleton["elements"].reverse()
        points = tied_landmarks(box, list(scene.shapes.values()), scene.labels)
        assert np.allclose(points[2], (box["points"][0] + 30, 56))
    skeleton["elements"][0]["outside"] = True  # mouth_left
    points = landmarks_of(skeleton, LANDMARKS)
    assert np.isnan(points).all(axis=1).tolist() == [False] * 4 + [True]


def test_without_a_group_the_skeleton_that_lies_best_in_the_box_belongs_to_it():
    scene = scene_of(face(100), face(104), face(300))
    first, _, far = scene.boxes()
    skeletons = scene.skeletons()
    for shape in scene.shapes.values():
        shape["group"] = 0
    shapes = list(scene.shapes.values())
    assert tied_skeleton(first, shapes, scene.labels) is skeletons[0]
    assert tied_skeleton(far, shapes, scene.labels) is skeletons[2]
    assert tied_skeleton(rectangle([500, 300, 560, 360]), shapes, scene.labels) is None
    assert tied_skeleton({**far, "frame": FRAME + 1}, shapes, scene.labels) is None


def test_the_skeleton_of_another_box_is_not_taken():
    scene = scene_of(face(100))
    shapes = [*scene.shapes.values(), other := rectangle([98, 18, 162, 82], id=9)]
    assert tied_skeleton(other, shapes, scene.labels) is None
    assert tied_skeleton(scene.boxes()[0], shapes, scene.labels) is scene.skeletons()[0]
    assert tied_landmarks(other, shapes, by_id([FACE])) is None, "the label of the skeleton is not known"


def test_free_groups_count_the_frame_and_every_track():
    annotations = {
        "shapes": [{"frame": 1, "group": 1}, {"frame": 2, "group": 2}, {"frame": 1, "group": 0}],
        "tags": [{"frame": 1, "group": 3}],
        "tracks": [{"frame": 9, "group": 5}],
    }
    used = groups_in(annotations, 1)
    assert used == {1, 3, 5}
    assert free_group(used) == 2
    assert free_group(set()) == 1
    assert free_group({1, 2, 3}) == 4
