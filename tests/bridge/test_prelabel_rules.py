"""What a run of the detectors writes into a frame: our own work is brought up to date, everybody else's stays."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from prelabel_scene import FRAME, TASK, Scene, face, schema, task, track

from auto_annotator.bridge.marks import Mark, digest, parse_mark
from auto_annotator.bridge.prelabel_items import geometry_key, target_of
from auto_annotator.bridge.prelabel_run import writes_of
from auto_annotator.errors import ConfigError
from auto_annotator.types import LANDMARK_NAMES


@pytest.fixture
def scene():
    return Scene()


def push(scene, shape, person, name=""):
    """What `cvat push` does to a face."""
    mark = parse_mark(scene.values(shape)["face_key"])
    scene.set(
        shape, person=person, name=name, quality="80", face_key=str(replace(mark, person=person, name=digest(name) if name else ""))
    )


def test_a_new_face_is_a_box_and_a_skeleton_in_one_free_group(scene):
    scene.draw(300, group=1)
    scene.tracks = [track(scene.target.face, {0: (500, 300)}, group=2)]
    change = scene.run([face(100), face(200, points=False)])
    box, bare = scene.boxes()[1:]
    (skeleton,) = scene.skeletons()
    assert (box["group"], skeleton["group"], bare["group"]) == (3, 3, 4)
    assert box["points"] == [100.0, 20.0, 160.0, 80.0]
    assert {item["source"] for item in (box, skeleton, *skeleton["elements"])} == {"auto"}
    assert scene.values(box) == {
        "score": "90", "votes": "1/1 a=90", "review": "false", "reasons": "", "quality": "0", "person": "", "name": "",
        "face_key": geometry_key(TASK, FRAME, (100, 20, 160, 80)),
    }  # fmt: skip
    names = {label.id: label.name for label in scene.target.landmarks.sublabels}
    assert [names[e["label_id"]] for e in skeleton["elements"]] == list(LANDMARK_NAMES)
    assert skeleton["elements"][2]["points"] == [130.0, 56.0]
    assert (change.counts.faces, change.counts.created, change.counts.theirs) == (2, 2, 0)


def test_the_same_again_writes_nothing(scene):
    faces = [face(100), face(200, points=False)]
    scene.run(faces)
    assert not scene.change(faces)
    near = [face(100.05, spread=0.04), face(199.95, points=False)]
    assert not scene.change(near), "less than a tenth of a pixel is nothing"
    assert scene.change(near).counts.same == 2


@pytest.mark.parametrize("remember", [True, False])
def test_our_box_is_brought_up_to_date_in_place(remember):
    scene = Scene(remember=remember)
    scene.run([face(100)])
    old = copy.deepcopy(scene.boxes()[0])
    push(scene, scene.boxes()[0], "p0042", "Ada")
    scene.run([face(104, score=0.8, review=True, spread=2)])
    (new,), (skeleton,) = scene.boxes(), scene.skeletons()
    key = geometry_key(TASK, FRAME, (104, 20, 164, 80))
    assert new["points"] == [104.0, 20.0, 164.0, 80.0]
    assert (new["id"], new["group"], new["source"]) == (old["id"], old["group"], "auto")
    assert scene.values(new) == {
        "score": "80", "votes": "1/1 a=80", "review": "true", "reasons": "low_score", "quality": "80", "person": "p0042",
        "name": "Ada", "face_key": str(Mark(key=key, person="p0042", name=digest("Ada"))),
    }  # fmt: skip
    assert skeleton["elements"][0]["points"] == [104 + 18 + 2, 44.0]
    assert skeleton["group"] == new["group"]


def test_a_box_without_landmarks_gets_a_skeleton_in_its_group_and_loses_it_again(scene):
    scene.run([face(100, points=False)])
    scene.boxes()[0]["group"] = 0
    scene.run([face(100)])
    assert scene.boxes()[0]["group"] == scene.skeletons()[0]["group"] == 1
    scene.run([face(100, points=False)])
    assert not scene.skeletons()
    assert len(scene.boxes()) == 1


@pytest.mark.parametrize("source", ["manual", "semi-auto", "file", "consensus"])
def test_a_box_of_a_person_is_left_alone_and_nothing_is_added_over_it(scene, source):
    shape = scene.draw(100, source=source, person="p0001", face_key=geometry_key(TASK, FRAME, (100, 20, 160, 80)))
    before = copy.deepcopy(scene.shapes)
    change = scene.run([face(110)])
    assert scene.shapes == before
    assert change.counts.theirs == 1
    assert shape["source"] == source


def test_an_automatic_box_without_our_mark_is_not_ours(scene):
    scene.draw(100, source="auto")
    before = copy.deepcopy(scene.shapes)
    scene.run([face(104)])
    scene.run([])
    assert scene.shapes == before


def test_a_track_that_is_shown_counts_and_is_never_touched(scene):
    scene.tracks = [track(scene.target.face, {0: (100, 20), 6: (160, 20)})]  # at 130 in frame 3
    tracks = copy.deepcopy(scene.tracks)
    assert not scene.change([face(130)])
    assert scene.change([face(190)]), "the track is elsewhere"
    assert scene.tracks == tracks
    scene.tracks = [track(scene.target.face, {0: (130, 20), 2: None, 5: (130, 20)})]
    assert scene.change([face(130)]), "it is outside"
    scene.tracks = [track(scene.target.landmarks, {0: (130, 20)})]
    assert scene.change([face(130)]), "it is something else"


def test_other_labels_do_not_count_and_stay(scene):
    shape = scene.draw(100)
    shape["label_id"] = scene.target.error.id
    before = copy.deepcopy(shape)
    scene.run([face(100)])
    assert scene.shapes[shape["id"]] == before
    assert len(scene.boxes()) == 1


def test_our_box_that_no_face_fits_any_more_goes_with_its_skeleton(scene):
    scene.run([face(100), face(200)])
    change = scene.run([face(200)])
    assert [box["points"][0] for box in scene.boxes()] == [200.0]
    assert len(scene.skeletons()) == 1
    assert change.counts.removed == 1
    scene.run([face(200), face(100)])
    assert len(scene.boxes()) == 2, "that we removed it is no word of a person"


@pytest.mark.parametrize("word", [{"name": "Ada"}, {"person": "p0001"}, {"person": "none"}])
def test_it_stays_where_a_person_said_who_it_is(scene, word):
    scene.run([face(100)])
    scene.set(scene.boxes()[0], **word)
    before = copy.deepcopy(scene.shapes)
    assert scene.run([]).counts.kept == 1
    assert scene.shapes == before


def test_it_stays_where_a_person_said_who_it_is_not(scene):
    scene.run([face(100)])
    mark = parse_mark(scene.values(scene.boxes()[0])["face_key"])
    scene.set(scene.boxes()[0], face_key=str(replace(mark, apart=("p0003",))))
    assert not scene.change([])


def test_a_person_that_only_we_gave_keeps_nothing(scene):
    scene.run([face(100)])
    push(scene, scene.boxes()[0], "p0042")
    scene.run([])
    assert not scene.shapes


def test_keep_old_keeps_it(scene):
    scene.run([face(100)])
    before = copy.deepcopy(scene.shapes)
    scene.run([face(300)], keep_old=True)
    assert before.items() <= scene.shapes.items()


@pytest.mark.parametrize("how", ["source", "element", "digest"])
def test_points_that_a_person_moved_stay_and_keep_the_box(scene, how):
    scene.run([face(100)])
    skeleton = scene.skeletons()[0]
    if how == "source":
        skeleton["source"] = "semi-auto"
    elif how == "element":
        skeleton["elements"][1]["source"] = "semi-auto"
    else:
        skeleton["elements"][1]["points"] = [150.0, 50.0]
    before = copy.deepcopy(skeleton)
    scene.run([face(103, spread=3)])
    assert scene.skeletons() == [before]
    assert scene.boxes()[0]["points"][0] == 103.0
    scene.run([])
    assert scene.skeletons() == [before]
    assert len(scene.boxes()) == 1


def test_a_face_that_a_person_deleted_is_not_added_again(scene):
    scene.run([face(100), face(200)])
    scene.shapes = {n: s for n, s in scene.shapes.items() if s["group"] == 2}
    for faces in ([face(103), face(200)], [face(200)], [face(97), face(201)]):
        change = scene.run(faces)
        assert [box["group"] for box in scene.boxes()] == [2]
    assert change.counts.refused == 1
    assert scene.change([face(100), face(200)], restore=True).counts.created == 1
    scene.run([face(100), face(200)], restore=True)
    assert len(scene.boxes()) == len(scene.skeletons()) == 2
    assert not scene.change([face(100), face(200)]), "restored faces are no longer deleted ones"


def test_a_box_of_a_person_that_a_person_deleted_is_not_replaced_by_ours(scene):
    shape = scene.draw(100)
    scene.run([face(103)])
    del scene.shapes[shape["id"]]
    assert scene.change([face(103)]).counts.refused == 1


def test_without_memory_it_is_added_again():
    scene = Scene(remember=False)
    scene.run([face(100)])
    scene.shapes.clear()
    assert scene.change([face(100)]).counts.created == 1


@pytest.mark.parametrize("remember", [True, False])
def test_a_box_that_a_person_dragged_away_is_not_replaced(remember):
    scene = Scene(remember=remember)
    scene.run([face(100, points=False)])
    shape = scene.boxes()[0]
    shape.update(points=[400.0, 300.0, 460.0, 360.0], source="semi-auto")
    before = copy.deepcopy(scene.shapes)
    scene.run([face(100, points=False)])
    assert scene.shapes == before


@pytest.mark.parametrize("attribute", ["score", "votes", "review", "reasons"])
def test_an_attribute_that_a_person_changed_makes_the_box_theirs(scene, attribute):
    scene.run([face(100, review=True)])
    scene.set(scene.boxes()[0], **{attribute: "7"})
    before = copy.deepcopy(scene.shapes)
    for faces in ([face(100, review=True)], [face(106, review=True)], []):
        scene.run(faces)
        assert scene.shapes == before, "although the source is still auto"


def test_a_deleted_skeleton_is_not_made_again(scene):
    scene.run([face(100)])
    del scene.shapes[scene.skeletons()[0]["id"]]
    for x in (100, 104, 108):
        scene.run([face(x)])
        assert not scene.skeletons()
        assert scene.boxes()[0]["points"][0] == x


def test_a_skeleton_that_a_deleted_box_left_behind_is_nobody_else_s(scene):
    scene.run([face(100, 32)])
    del scene.shapes[scene.boxes()[0]["id"]]
    before = copy.deepcopy(scene.skeletons())
    scene.run([face(100, 56, points=False)])
    assert scene.skeletons() == before
    assert [box["group"] for box in scene.boxes()] == [2]


def test_a_frame_that_fails_gets_one_tag_and_loses_it_when_it_works(scene):
    scene.run([face(100)])
    before = copy.deepcopy(scene.shapes)
    scene.run(error="truncated")
    scene.run(error="truncated")
    (tag,) = scene.tags.values()
    assert scene.values(tag) == {"reason": "truncated"}
    scene.run(error="out_of_memory")
    assert [scene.values(one) for one in scene.tags.values()] == [{"reason": "out_of_memory"}]
    assert scene.tags[tag["id"]]["frame"] == FRAME
    assert scene.shapes == before, "what is there stays while nothing is known"
    scene.tags[99] = {**scene.tags[tag["id"]], "id": 99, "source": "manual"}
    scene.run([face(100)])
    assert list(scene.tags) == [99], "the tag of a person stays"


@pytest.mark.parametrize("keep_old", [True, False])
def test_what_a_slow_proxy_made_twice_is_made_once(scene, keep_old):
    faces = [face(100), face(200)]
    (create,) = writes_of([scene.change(faces)])
    scene.note = scene.change(faces).planned
    for _ in range(2):
        scene.apply("create", create.body)
    scene.run(faces, keep_old=keep_old)
    assert [box["points"][0] for box in scene.boxes()] == [100.0, 200.0]
    assert len(scene.skeletons()) == 2


def test_two_faces_take_their_own_boxes(scene):
    scene.run([face(100), face(130)])
    ids = [box["id"] for box in scene.boxes()]
    scene.run([face(133), face(103)])
    assert [(box["id"], box["points"][0]) for box in scene.boxes()] == [(ids[0], 103.0), (ids[1], 133.0)]


def test_missing_labels_and_attributes_are_named_with_the_fix():
    labels = schema()
    no_votes = replace(labels[0], attributes=tuple(a for a in labels[0].attributes if a.name != "votes"))
    no_nose = replace(labels[1], sublabels=labels[1].sublabels[:2])
    for broken, text in (
        (labels[1:], "no rectangle label 'face'"),
        ((no_votes, *labels[1:]), "attribute votes of label face"),
        ((labels[0], labels[2]), "skeleton face_landmarks"),
        ((labels[0], no_nose, labels[2]), "skeleton face_landmarks"),
        (labels[:2], "tag face_error"),
    ):
        with pytest.raises(ConfigError, match=text) as caught:
            target_of(task(labels=broken))
        assert "auto-annotator cvat setup --task 7" in str(caught.value)


def test_another_label_gets_what_it_has_attributes_for():
    labels = schema()
    head = replace(labels[0], name="head", attributes=tuple(a for a in labels[0].attributes if a.name not in ("votes", "reasons")))
    scene = Scene()
    scene.info = task(labels=(head, *labels[1:]))
    scene.target, scene.labels = target_of(scene.info, "head"), {**scene.labels, head.id: head}
    scene.run([face(100)])
    assert scene.values(scene.boxes()[0])["score"] == "90"
    assert set(scene.values(scene.boxes()[0])) == {"score", "review", "quality", "person", "name", "face_key"}


positions = st.lists(st.integers(0, 9), min_size=0, max_size=5, unique=True)


@st.composite
def histories(draw):
    """A first run, what people do to it, and a second run of other models."""
    spread = st.sampled_from([0.0, 0.04, 3.0, 12.0, 31.0])

    def faces():
        return [
            face(60 * i + draw(spread), 20 + draw(spread), 50, score=draw(st.sampled_from([0.9, 0.6])), points=draw(st.booleans()))
            for i in draw(positions)
        ]

    acts = st.sampled_from(["none", "delete", "edit", "name", "review", "points", "no_skeleton", "ungroup"])
    return faces(), draw(st.lists(acts, min_size=10, max_size=10)), draw(positions), faces(), draw(st.booleans())


def act(scene, deeds):
    """Let people work; ids of what is theirs now."""
    theirs = set()
    for shape, deed in zip(scene.boxes(), deeds, strict=False):
        skeleton = next((s for s in scene.skeletons() if s["group"] == shape["group"]), None)
        if deed == "delete":
            del scene.shapes[shape["id"]]
        elif deed == "edit":
            shape.update(source="semi-auto", points=[p + 2 for p in shape["points"]])
            theirs.add(shape["id"])
        elif deed == "name":
            scene.set(shape, name="Ada")
        elif deed == "review":
            scene.set(shape, review="true")
            theirs.add(shape["id"])
        elif deed == "ungroup":
            shape["group"] = 0
        elif skeleton and deed == "points":
            skeleton["source"] = "semi-auto"
            theirs.add(skeleton["id"])
        elif skeleton and deed == "no_skeleton":
            del scene.shapes[skeleton["id"]]
    return theirs


@settings(max_examples=300, deadline=None)
@given(histories(), st.integers(0, 3))
def test_any_history_settles_once_and_a_killed_run_ends_the_same(history, requests):
    first, deeds, drawn, second, keep_old = history
    scene = Scene()
    scene.run(first)
    theirs = act(scene, deeds)
    theirs |= {scene.draw(60 * i + 5, 25, 50)["id"] for i in drawn[:2]}
    scene.tracks = [track(scene.target.face, {0: (60 * i, 20)}) for i in drawn[2:3]]
    kept = {number: copy.deepcopy(scene.shapes[number]) for number in theirs}
    names = sum(scene.values(box)["name"] == "Ada" for box in scene.boxes())
    killed = copy.deepcopy(scene)

    counts = scene.run(second, keep_old=keep_old).counts  # asserts that one round settles it
    assert {number: scene.shapes[number] for number in theirs} == kept
    assert sum(scene.values(box)["name"] == "Ada" for box in scene.boxes()) == names
    assert counts.faces == counts.created + counts.updated + counts.same + counts.theirs + counts.refused
    groups = [shape["group"] for shape in scene.skeletons() if shape["id"] not in theirs and shape["source"] == "auto"]
    assert len(groups) == len(set(groups))

    killed.run(second, keep_old=keep_old, requests=requests)
    killed.run(second, keep_old=keep_old)
    assert killed.content() == scene.content()
    assert killed.note == scene.note
    assert not killed.change(second, keep_old=keep_old)
