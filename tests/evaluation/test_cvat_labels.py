"""CVAT for images 1.1: what CVAT writes, what our exporter writes, and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.bridge.label_export import VIDEO_BLOCK
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.errors import ConfigError
from auto_annotator.evaluation.readers import read_labelled
from auto_annotator.reports.coco import write_coco
from auto_annotator.reports.cvat_xml import write_cvat_xml
from auto_annotator.reports.records import Record
from auto_annotator.types import LANDMARK_NAMES

sys.path.insert(0, str(Path(__file__).parent.parent / "reports"))
from reports_strategies import faces, make_face

META = (
    "<meta><task><name>t</name><mode>annotation</mode><labels><label><name>face</name><type>rectangle</type></label></labels>"
    "</task></meta>"
)
FIVE = [(20.0, 30.0), (40.0, 30.0), (30.0, 40.0), (24.0, 50.0), (36.0, 50.0)]


def texts(more):
    return " ".join(f"{key}={json.dumps(str(value))}" for key, value in more.items())


def box(points="10,20,50,60", label="face", inner="", **more):
    given = dict(zip(("xtl", "ytl", "xbr", "ybr"), points.split(","), strict=True)) | more
    return f'<box label="{label}" source="manual" occluded="0" {texts(given)}>{inner}</box>'


def attribute(name, value):
    return f'<attribute name="{name}">{value}</attribute>'


def skeleton(points=FIVE, names=LANDMARK_NAMES, outside=(), **more):
    inner = "".join(
        f'<points label="{name}" source="manual" outside="{int(name in outside)}" occluded="0" points="{x},{y}"></points>'
        for name, (x, y) in reversed(list(zip(names, points, strict=True)))  # CVAT keeps no order
    )
    return f'<skeleton label="face_landmarks" source="manual" z_order="0" {texts(more)}>{inner}</skeleton>'


def image(shapes="", name="a.jpg", number=0, **more):
    return f'<image id="{number}" name="{name}" {texts(more)} width="200" height="100">{shapes}</image>'


def export(folder, *images, meta=META, files=("images/a.jpg",)):
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"picture")
    (folder / "annotations.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>{meta}{"".join(images)}</annotations>'
    )
    return folder


def one(folder, shapes, **more):
    (found,) = read_labelled(export(folder, image(shapes)), **more)
    return found


def test_every_picture_counts_those_without_faces_too(tmp_path):
    files = ("images/a.jpg", "images/party/b.png")
    first, second = read_labelled(export(tmp_path, image(box()), image(name="party/b.png", number=1), files=files))
    assert first.boxes.tolist() == [[10, 20, 50, 60]]
    assert (first.landmarks, first.keep, first.event, first.points_only) == (None, {}, "", False)
    assert second.path == tmp_path / "images" / "party" / "b.png"
    assert (len(second.boxes), second.event != "") == (0, True)


def test_points_belong_to_the_box_of_their_group(tmp_path):
    inside_both = box("0,0,100,100", group_id=1) + box(group_id=2) + skeleton(group_id=2, outside=("nose",)) + skeleton(group_id=1)
    found = one(tmp_path, inside_both)
    assert found.landmarks[0].tolist() == [list(xy) for xy in FIVE]
    assert np.isnan(found.landmarks[1, 2]).all()
    assert found.landmarks[1, [0, 1, 3, 4]].tolist() == [list(FIVE[i]) for i in (0, 1, 3, 4)]


def test_points_without_a_group_belong_to_the_box_they_lie_in(tmp_path):
    found = one(tmp_path, box("100,20,150,60") + box() + skeleton())
    assert np.isnan(found.landmarks[0]).all()
    assert found.landmarks[1].tolist() == [list(xy) for xy in FIVE]


@pytest.mark.parametrize(
    "drawn",
    [
        '<points label="marks" points="' + ";".join(f"{x},{y}" for x, y in FIVE) + '" group_id="3"/>',
        "".join(f'<points label="{n}" points="{x},{y}" group_id="3"/>' for n, (x, y) in zip(LANDMARK_NAMES, FIVE, strict=True)),
    ],
)
def test_five_points_that_are_no_skeleton(tmp_path, drawn):
    assert one(tmp_path, box(group_id=3) + drawn).landmarks.tolist() == [[list(xy) for xy in FIVE]]


def test_points_of_other_names_are_not_guessed(tmp_path):
    found = one(tmp_path, box() + skeleton(names=("a", "b", "c", "d", "e")))
    assert found.landmarks is None


def test_a_turned_box_is_the_upright_one_around_it(tmp_path):
    found = one(tmp_path, box("10,20,50,40", rotation=90))
    assert np.allclose(found.boxes, [[20, 10, 40, 50]])


def test_other_shapes_of_the_label_are_boxes_around_them(tmp_path):
    shapes = (
        '<ellipse label="face" cx="30" cy="40" rx="10" ry="20"/><polygon label="face" points="1,2;5,2;3,9"/>'
        '<mask label="face" rle="4" left="7" top="8" width="2" height="3"/><polyline label="face" points="0,0;9,9"/>'
    )
    assert one(tmp_path, shapes).boxes.tolist() == [[20, 20, 40, 60], [1, 2, 5, 9], [7, 8, 9, 11]]


def test_ignored_faces_neither_count_nor_are_errors(tmp_path):
    shapes = (
        box()
        + box("60,0,90,30", inner=attribute("ignore", "true"))
        + box("100,0,120,30", label="ignore")
        + box("1,1,5,5", label="car")
    )
    found = one(tmp_path, shapes + box("130,0,150,20", inner=attribute("invalid", "false")))
    assert len(found.boxes) == 4
    for level in ("easy", "hard"):
        assert found.counts(level).tolist() == [True, False, False, True]


def test_boxes_without_area_are_left_out(tmp_path):
    assert len(one(tmp_path, box("10,20,10,60") + box()).boxes) == 1


def test_the_label_of_the_faces(tmp_path):
    assert len(one(tmp_path, box(label="head") + box(label="car"), label="head").boxes) == 1
    other = META.replace("<name>face</name>", "<name>head</name>")
    (found,) = read_labelled(export(tmp_path, image(box(label="head")), meta=other))
    assert len(found.boxes) == 1
    with pytest.raises(ConfigError, match=r"'car', 'head', expected 'face'; name it with --label"):
        read_labelled(export(tmp_path, image(box(label="head") + box(label="car")), meta=""))
    with pytest.raises(ConfigError, match=r"expected .dog"):
        one(tmp_path, box(), label="dog")


def test_a_project_has_subsets(tmp_path):
    files = ("images/train/a.jpg", "images/default/a.jpg")
    images = (image(box(), subset="train", task_id=1), image(subset="default", task_id=2))
    first, second = read_labelled(export(tmp_path, *images, files=files))
    assert [p.path.relative_to(tmp_path).as_posix() for p in (first, second)] == list(files)


def test_pictures_of_one_name_in_two_tasks_are_refused(tmp_path):
    images = (image(box(), subset="train", task_id=1), image(subset="train", task_id=2))
    with pytest.raises(ConfigError, match="1 pictures are listed twice"):
        read_labelled(export(tmp_path, *images, files=("images/train/a.jpg",)))
    images = (image(box(), subset="train", task_id=1), image(subset="val", task_id=2))
    with pytest.raises(ConfigError, match="listed twice"):
        read_labelled(export(tmp_path / "flat", *images))


def test_frames_of_a_video_are_named_without_their_suffix_and_alike_when_near(tmp_path):
    numbers = (0, VIDEO_BLOCK - 1, VIDEO_BLOCK)
    files = [f"images/frame_{n:06d}.PNG" for n in numbers]
    images = [image(name=f"frame_{n:06d}", number=n) for n in numbers]
    found = read_labelled(export(tmp_path, *images, files=files))
    assert [p.path.name for p in found] == [Path(file).name for file in files]
    assert found[0].event == found[1].event != found[2].event


def test_missing_pictures_are_counted_and_not_named(tmp_path):
    with pytest.raises(ConfigError, match=r"2 of 3 pictures are not there.*Save images") as error:
        read_labelled(export(tmp_path, image(), image(name="secret.jpg", number=1), image(name="canary.jpg", number=2)))
    assert "secret" not in str(error.value)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/hostname", "a/../../a.jpg", "C:/a.jpg", "..\\\\a.jpg", ""])
def test_names_that_lead_out_are_refused(tmp_path, name):
    inside = tmp_path / "set"
    (tmp_path / "a.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="leads out"):
        read_labelled(export(inside, image(name=name)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('<!DOCTYPE a [<!ENTITY x "aaaa"><!ENTITY y "&x;&x;&x;">]><annotations>&y;</annotations>', "document type"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotations/>', "document type"),
        ("<annotations><track id='0' label='face'/></annotations>", "CVAT for images 1.1"),
        ("<annotations><image", "not whole XML"),
        ("<?xml version='1.0' encoding='klingon'?><annotations/>", "unknown encoding"),
        ("<?xml version='1.0' encoding='gbk'?><annotations/>", "unknown encoding"),
        ("", "not whole XML"),
        ("<html></html>", "expected <annotations>"),
        ("<annotations>" + "<a>" * 40, "nested too deeply"),
        ("<annotations>" + " " * 2_000_000 + "</annotations>", "far longer"),
        (f"<annotations>{image(box('nan,0,1,1'))}</annotations>", "would not write"),
        (f"<annotations>{image(box('0,0,1,inf'))}</annotations>", "would not write"),
        ("<annotations>" + image('<box label="face"/>') + "</annotations>", "would not write"),
        ("<annotations>" + image('<points label="face" points="1,2,3"/>') + "</annotations>", "would not write"),
    ],
)  # fmt: skip
def test_hostile_and_foreign_files_are_refused(tmp_path, text, words):
    export(tmp_path)
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_labelled(tmp_path)


@settings(max_examples=60, deadline=None)
@given(found=st.lists(faces, max_size=4))
def test_what_our_exporters_write_can_be_read(tmp_path_factory, found):
    """Boxes to a hundredth of a pixel from both formats; points that nobody saw, or that lie outside, stay unknown."""
    folder = tmp_path_factory.mktemp("set")
    (folder / "images").mkdir()
    (folder / "images" / "a.jpg").write_bytes(b"picture")
    record = Record(image="a.jpg", width=2000, height=2000, faces=tuple(found))
    kept = [face for face in found if face.box[2] > face.box[0] and face.box[3] > face.box[1]]
    write_coco([record], folder / "coco.json")
    (coco,) = read_labelled(folder)
    (folder / "coco.json").unlink()
    write_cvat_xml([record], folder / "annotations.xml", labels=label_constructor())
    (cvat,) = read_labelled(folder)
    for got in (cvat, coco):
        assert np.allclose(got.boxes, np.reshape([face.box for face in kept], (-1, 4)), atol=0.011)
    for row, face in enumerate(kept):
        if all(p is not None and min(p) >= 0 and max(p) <= 2000 for p in face.landmarks):
            assert np.allclose(cvat.landmarks[row], face.landmarks, atol=0.011)
            assert np.allclose(coco.landmarks[row], face.landmarks, atol=0.011)


def test_points_survive_the_round_trip(tmp_path):
    record = Record(image="x/a.jpg", width=120, height=100, faces=(make_face(), make_face((60.0, 5.0, 110.0, 70.0), points=False)))
    (tmp_path / "images" / "x").mkdir(parents=True)
    (tmp_path / "images" / "x" / "a.jpg").write_bytes(b"picture")
    write_cvat_xml([record], tmp_path / "annotations.xml", labels=label_constructor())
    (found,) = read_labelled(tmp_path)
    assert np.allclose(found.landmarks[0], record.faces[0].landmarks, atol=0.011)
    assert np.isnan(found.landmarks[1]).all()
    assert found.event == "", "all lie in one folder, which says nothing"
