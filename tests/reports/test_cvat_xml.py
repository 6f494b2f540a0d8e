"""The XML against the rules of CVAT's importer and format page, written down here once more."""

from __future__ import annotations

import re
import tracemalloc
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reports_strategies import any_record, make_face

from auto_annotator.cvat.labels import label_constructor
from auto_annotator.cvat.shapes import face_shapes
from auto_annotator.errors import ConfigError
from auto_annotator.reports.cvat_xml import face_attributes, write_cvat_xml
from auto_annotator.reports.files import printable
from auto_annotator.reports.points import seen_points
from auto_annotator.reports.records import Record, from_detection
from auto_annotator.types import LANDMARK_NAMES, Detection, Faces, Votes

LABELS = label_constructor()
NUMBER, PLACE, BIT = r"-?\d+\.\d\d", r"-?\d+\.\d\d,-?\d+\.\d\d", "[01]"
RULES = {
    # element: (its children, its attributes: None = any text)
    "annotations": ({"version", "meta", "image"}, {}),
    "version": (set(), {}),
    "meta": ({"task"}, {}),
    "task": ({"name", "mode", "labels"}, {}),
    "name": (set(), {}),
    "mode": (set(), {}),
    "labels": ({"label"}, {}),
    "label": ({"name", "color", "type", "attributes", "svg", "parent"}, {}),
    "color": (set(), {}),
    "type": (set(), {}),
    "attributes": ({"attribute"}, {}),
    "mutable": (set(), {}),
    "input_type": (set(), {}),
    "default_value": (set(), {}),
    "values": (set(), {}),
    "svg": (set(), {}),
    "parent": (set(), {}),
    "box": (
        {"attribute"},
        {"label": "face", "source": "auto", "occluded": BIT, "z_order": r"\d+", "group_id": r"[1-9]\d*"}
        | dict.fromkeys(("xtl", "ytl", "xbr", "ybr"), NUMBER),
    ),
    "skeleton": ({"points"}, {"label": "face_landmarks", "source": "auto", "z_order": r"\d+", "group_id": r"[1-9]\d*"}),
    "points": (set(), {"label": "|".join(LANDMARK_NAMES), "source": "auto", "outside": BIT, "occluded": BIT, "points": PLACE}),
    "tag": ({"attribute"}, {"label": "face_error", "source": "auto"}),
}
SHOWN = {"box", "skeleton", "tag"}


def check(element, inside=None):
    """Every element, child and attribute is one that the format has, with a value of the right form."""
    if element.tag == "image":
        size = {} if element.find("tag") is not None else {"width": r"\d+", "height": r"\d+"}
        children, attributes = SHOWN, {"id": r"\d+", "name": None} | size
    elif element.tag == "attribute" and inside == "attributes":
        children, attributes = {"name", "mutable", "input_type", "default_value", "values"}, {}
    elif element.tag == "attribute":
        children, attributes = set(), {"name": None}
    else:
        children, attributes = RULES[element.tag]
    assert set(element.keys()) == set(attributes)
    for name, form in attributes.items():
        assert form is None or re.fullmatch(form, element.get(name)), (name, element.get(name))
    for child in element:
        assert child.tag in children, (element.tag, child.tag)
        check(child, element.tag)


def written(path, records, **options):
    write_cvat_xml(records, path, labels=LABELS, **options)
    root = ET.parse(path).getroot()
    check(root)
    return root


def test_the_whole_form(tmp_path, records):
    root = written(tmp_path / "annotations.xml", records)
    assert [e.tag for e in root] == ["version", "meta", "image", "image", "image", "image"]
    assert root.findtext("version") == "1.1" and root.findtext("meta/task/mode") == "annotation"
    assert [(i.get("id"), i.get("name")) for i in root.iter("image")] == [
        ("0", "party/a.jpg"), ("1", "empty.png"), ("2", "c.png"), ("3", "broken.jpg"),
    ]  # fmt: skip
    first, _, no_points, broken = root.iter("image")
    assert [e.tag for e in first] == ["box", "skeleton", "box", "skeleton"]
    assert [e.get("group_id") for e in first] == ["1", "1", "2", "2"]
    assert [p.get("label") for p in first.find("skeleton")] == list(LANDMARK_NAMES)
    assert [e.tag for e in no_points] == ["box"]
    assert {a.get("name"): a.text for a in broken.find("tag")} == {"reason": "truncated"}


def test_every_attribute_of_the_schema_is_there(tmp_path, records):
    box = written(tmp_path / "a.xml", records).findall("image/box")[1]
    assert {a.get("name"): a.text or "" for a in box} == {
        "score": "97", "votes": "1/2 yunet=98", "review": "true", "reasons": "few_votes",
        "quality": "0", "person": "", "name": "", "face_key": "",
    }  # fmt: skip


def test_meta_has_the_schema_with_the_points_under_their_skeleton(tmp_path):
    labels = written(tmp_path / "a.xml", []).findall("meta/task/labels/label")
    assert [(e.findtext("name"), e.findtext("type"), e.findtext("parent")) for e in labels] == [
        ("face", "rectangle", None),
        ("face_landmarks", "skeleton", None),
        *((name, "points", "face_landmarks") for name in LANDMARK_NAMES),
        ("face_error", "tag", None),
    ]
    assert labels[1].findtext("svg") == LABELS[1]["svg"]
    score = labels[0].find("attributes/attribute")
    assert [score.findtext(k) for k in ("name", "mutable", "input_type", "default_value", "values")] == [
        "score", "True", "number", "0", "0\n100\n1",
    ]  # fmt: skip


def with_points(box, landmarks):
    return replace(make_face(box), landmarks=landmarks)


def test_a_point_that_nobody_saw_is_outside_and_stands_where_a_frontal_face_has_it(tmp_path):
    face = with_points((10.0, 20.0, 50.0, 80.0), ((22.5, 44.0), (38.5, 44.0), None, None, None))
    root = written(tmp_path / "a.xml", [Record(image="a.jpg", width=90, height=90, faces=(face,))])
    assert [(p.get("outside"), p.get("points")) for p in root.iter("points")] == [
        ("0", "22.50,44.00"), ("0", "38.50,44.00"), ("1", "30.00,56.00"), ("1", "23.60,68.00"), ("1", "36.40,68.00"),
    ]  # fmt: skip


def test_a_point_beyond_the_picture_is_moved_onto_its_edge_and_outside_if_far(tmp_path):
    face = with_points((0.0, 0.0, 30.0, 40.0), ((-2.61, 10.0), (20.0, -0.9), (10.0, 20.0), (5.0, 41.0), (20.0, 41.01)))
    root = written(tmp_path / "a.xml", [Record(image="a.jpg", width=40, height=40, faces=(face,))])
    assert [(p.get("outside"), p.get("points")) for p in root.iter("points")] == [
        ("1", "0.00,10.00"), ("0", "20.00,0.00"), ("0", "10.00,20.00"), ("0", "5.00,40.00"), ("1", "20.00,40.00"),
    ]  # fmt: skip


def test_a_skeleton_with_no_point_in_the_picture_is_left_out(tmp_path):
    face = with_points((0.0, 0.0, 8.0, 8.0), ((-9.0, 1.0), None, (-5.0, 2.0), (1.0, 99.0), None))
    root = written(tmp_path / "a.xml", [Record(image="a.jpg", width=40, height=40, faces=(face,))])
    assert [e.tag for e in root.find("image")] == ["box"]


def test_points_are_those_of_the_function_reply(tmp_path):
    landmarks = [[-2.61, 45.07], [26.34, 44.29], [4.0, 66.23], [0.52, 87.42], [np.nan, np.nan]]
    detection = Detection(
        width=175,
        height=240,
        faces=Faces.of([[0, 10, 40, 110]], [0.9], [landmarks]),
        votes=Votes(
            members=("m",),
            scores=np.ones((1, 1), np.float32),
            edge_spread=np.zeros((1, 4), np.float32),
            landmark_spread=np.zeros((1, 5), np.float32),
        ),
        reasons=((),),
        hidden=np.array([[False, False, False, True, False]]),
    )
    root = written(tmp_path / "a.xml", [from_detection("a.jpg", detection)])
    ours = [(*map(float, p.get("points").split(",")), p.get("outside") == "1") for p in root.iter("points")]
    assert ours == [(p.x, p.y, p.outside) for p in face_shapes(detection)[0].points]
    assert [outside for _, _, outside in ours] == [True, False, False, True, True]


def test_without_error_tags_the_other_ids_stay(tmp_path, records):
    root = written(tmp_path / "a.xml", [records[-1], *records[:2]], error_tags=False)
    assert [i.get("id") for i in root.iter("image")] == ["1", "2"]


@settings(max_examples=60, deadline=None)
@given(records=st.lists(any_record, max_size=3))
def test_what_is_read_back_is_what_was_written(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("xml") / "a.xml"
    images = list(written(path, records).iter("image"))
    assert len(images) == len(records)
    for image, record in zip(images, records, strict=True):
        # attributes keep tabs and line ends because they are escaped as character references
        assert image.get("name") == printable(record.image)
        boxes = [tuple(float(b.get(k)) for k in ("xtl", "ytl", "xbr", "ybr")) for b in image.iter("box")]
        assert boxes == [face.box for face in record.faces]
        shown = list(image.iter("skeleton"))
        known = [points for face in record.faces if any(points := seen_points(face, record))]
        for skeleton, points in zip(shown, known, strict=True):
            places = [tuple(map(float, p.get("points").split(","))) for p in skeleton]
            assert [None if p.get("outside") == "1" else place for p, place in zip(skeleton, places, strict=True)] == list(points)
            assert all(0 <= x <= record.width and 0 <= y <= record.height for x, y in places)
        review = [b.find("attribute[@name='review']").text for b in image.iter("box")]
        assert review == ["true" if face.review else "false" for face in record.faces]


@given(score=st.floats(0, 1), votes=st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=4), doubt=st.booleans())
def test_attributes_are_those_of_the_function_reply(score, votes, doubt):
    rounded = [None if v is None else round(v, 4) for v in votes]
    column = np.array([[np.nan if v is None else v for v in rounded]], np.float32)
    detection = Detection(
        width=100,
        height=100,
        faces=Faces.of([[10, 10, 50, 50]], [round(score, 4)]),
        votes=Votes(
            members=tuple(f"m{i}" for i in range(len(votes))),
            scores=column,
            edge_spread=np.zeros((1, 4), np.float32),
            landmark_spread=np.zeros((1, 5), np.float32),
        ),
        reasons=(("few_votes", "tiny"),) if doubt else ((),),
    )
    ours, reply = face_attributes(from_detection("a", detection).faces[0]), face_shapes(detection)[0].attributes
    percents = re.compile(r"=?\d+$")
    assert {k: v for k, v in ours.items() if k in ("review", "reasons")} == {k: reply[k] for k in ("review", "reasons")}
    for a, b in zip([ours["score"], *ours["votes"].split()], [reply["score"], *reply["votes"].split()], strict=True):
        assert percents.sub("", a) == percents.sub("", b)
        assert abs(int(re.search(r"\d+$", a)[0]) - int(re.search(r"\d+$", b)[0])) <= 1  # a tie may round either way


def test_a_schema_without_our_labels_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="got face, expected also face_landmarks, face_error"):
        write_cvat_xml([], tmp_path / "a.xml", labels=LABELS[:1])


def test_a_run_that_breaks_leaves_the_older_file(tmp_path, records):
    path = tmp_path / "a.xml"
    written(path, records)
    before = path.read_bytes()

    def broken():
        yield records[0]
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_cvat_xml(broken(), path, labels=LABELS)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path):
    def peak(count):
        tracemalloc.start()
        faces = (make_face(),) * 3
        write_cvat_xml(
            (Record(image=f"{i}.jpg", width=90, height=90, faces=faces) for i in range(count)), tmp_path / "a", labels=LABELS
        )
        _, top = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return top

    assert peak(600) < (tmp_path / "a").stat().st_size / 4
