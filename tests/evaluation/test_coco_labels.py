"""COCO JSON: categories, keypoints, subsets, and what is refused."""

import json

import numpy as np
import pytest

from auto_annotator.errors import ConfigError
from auto_annotator.evaluation.readers import read_labelled
from auto_annotator.types import LANDMARK_NAMES

FACE = {"id": 1, "name": "face", "keypoints": list(LANDMARK_NAMES)}
POINTS = [20, 30, 2, 40, 30, 1, 30, 40, 0, 24, 50, 2, 36, 50, 2]


def annotation(number=1, image=1, category=1, bbox=(10, 20, 40, 40), **more):
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(bbox), "iscrowd": 0, **more}


def coco(folder, annotations, *, categories=(FACE,), names=("a.jpg",), file="annotations/instances_default.json", put="images"):
    for name in names:
        (folder / put / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / put / name).write_bytes(b"picture")
    images = [{"id": i, "file_name": name, "width": 100, "height": 80} for i, name in enumerate(names, start=1)]
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": list(categories)}))
    return folder


def test_boxes_keypoints_and_pictures_without_faces(tmp_path):
    one, two = read_labelled(coco(tmp_path, [annotation(keypoints=POINTS)], names=("a.jpg", "party/b.jpg")))
    assert one.boxes.tolist() == [[10, 20, 50, 60]]
    assert one.landmarks[0, [0, 1, 3, 4]].tolist() == [[20, 30], [40, 30], [24, 50], [36, 50]]
    assert np.isnan(one.landmarks[0, 2]).all(), "visibility 0 is not labelled"
    assert (len(two.boxes), two.event) == (0, "party")


def test_keypoints_by_name_and_by_order(tmp_path):
    names = list(LANDMARK_NAMES)
    turned = {**FACE, "keypoints": names[::-1]}
    values = [v for x in range(5) for v in (20 + x, 30 + x, 2)]
    (one,) = read_labelled(coco(tmp_path, [annotation(keypoints=values)], categories=[turned]))
    assert one.landmarks[0].tolist() == [[24 - i, 34 - i] for i in range(5)]
    (one,) = read_labelled(coco(tmp_path, [annotation(keypoints=values)], categories=[{**FACE, "keypoints": list("abcde")}]))
    assert one.landmarks[0].tolist() == [[20 + i, 30 + i] for i in range(5)]
    (one,) = read_labelled(coco(tmp_path, [annotation(keypoints=values[:9])], categories=[{**FACE, "keypoints": list("abc")}]))
    assert one.landmarks is None


def test_keypoints_of_another_category_belong_to_the_box_they_lie_in(tmp_path):
    categories = [{"id": 1, "name": "face"}, {**FACE, "id": 2, "name": "face_landmarks"}]
    seen = [v or 2 for v in POINTS]
    rows = [annotation(bbox=(60, 0, 10, 10)), annotation(2), annotation(3, category=2, keypoints=seen, bbox=(0, 0, 1, 1))]
    (one,) = read_labelled(coco(tmp_path, rows, categories=categories))
    assert len(one.boxes) == 2
    assert np.isnan(one.landmarks[0]).all()
    assert one.landmarks[1, 2].tolist() == [30, 40]


def test_ignored_faces(tmp_path):
    categories = [FACE, {"id": 2, "name": "ignore"}, {"id": 3, "name": "car"}]
    rows = [annotation(), annotation(2, iscrowd=1), annotation(3, ignore=1), annotation(4, category=2), annotation(5, category=3)]
    rows.append(annotation(6, attributes={"ignored": True, "occluded": False}))
    (one,) = read_labelled(coco(tmp_path, rows, categories=categories))
    assert one.counts("hard").tolist() == [True, False, False, False, False]


def test_a_turned_box_of_cvat(tmp_path):
    (one,) = read_labelled(coco(tmp_path, [annotation(bbox=(10, 20, 40, 20), attributes={"rotation": 90.0})]))
    assert np.allclose(one.boxes, [[20, 10, 40, 50]])


def test_the_category_of_the_faces(tmp_path):
    head, body = {"id": 1, "name": "head"}, {"id": 2, "name": "person", "keypoints": ["nose"] * 17}
    assert len(read_labelled(coco(tmp_path, [annotation(), annotation(2, category=2)], categories=[head, body]))[0].boxes) == 1
    with pytest.raises(ConfigError, match="--label"):
        read_labelled(coco(tmp_path, [annotation(category=2)], categories=[body]))
    assert len(read_labelled(coco(tmp_path, [annotation(category=2)], categories=[body]), label="person")[0].boxes) == 1
    with pytest.raises(ConfigError, match=r"'cat', 'head'.*--label"):
        read_labelled(coco(tmp_path, [annotation(), annotation(2, category=2)], categories=[head, {"id": 2, "name": "cat"}]))


def test_subsets_and_the_richer_of_two_files(tmp_path):
    coco(tmp_path, [annotation()], file="annotations/instances_train.json", put="images/train")
    coco(tmp_path, [annotation(keypoints=POINTS)], file="annotations/person_keypoints_train.json", put="images/train")
    coco(tmp_path, [annotation()], file="annotations/instances_val.json", put="images/val")
    one, two = read_labelled(tmp_path)
    assert [p.path.parent.name for p in (one, two)] == ["train", "val"]
    assert (one.landmarks is None, two.landmarks is None) == (False, True)


def test_a_file_of_our_name_may_be_coco(tmp_path):
    coco(tmp_path, [annotation()], file="annotations.json")
    assert len(read_labelled(tmp_path)[0].boxes) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"bbox": [1, 2, 3]},
        {"bbox": [1, 2, float("nan"), 4]},
        {"category_id": 9},
        {"keypoints": [1, 2]},
        {"keypoints": [1, 2, 2] * 3},
        {"attributes": [1]},
        {"bbox": [10**400, 0, 1, 1]},
    ],
)
def test_malformed_annotations_are_refused(tmp_path, row):
    with pytest.raises(ConfigError, match="not as COCO"):
        read_labelled(coco(tmp_path, [annotation() | row]))


def test_holes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="not listed"):
        read_labelled(coco(tmp_path, [annotation(image=7)]))
    folder = coco(tmp_path, [annotation()], names=("a.jpg", "canary.jpg"))
    (folder / "images" / "canary.jpg").unlink()
    with pytest.raises(ConfigError, match="1 of 2 pictures are not there") as error:
        read_labelled(folder)
    assert "canary" not in str(error.value)
    (folder / "annotations" / "more.json").write_text((folder / "annotations" / "instances_default.json").read_text())
    (folder / "images" / "canary.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="twice"):
        read_labelled(folder)
    (folder / "annotations" / "more.json").write_text("[" * 200_000)
    with pytest.raises(ConfigError, match="not whole JSON"):
        read_labelled(folder)


def test_a_name_too_long_for_a_file_is_a_picture_that_is_missing(tmp_path):
    folder = coco(tmp_path, [annotation()])
    path = folder / "annotations" / "instances_default.json"
    path.write_text(path.read_text().replace("a.jpg", "canary" * 100))
    with pytest.raises(ConfigError, match="1 of 1 pictures are not there") as error:
        read_labelled(folder)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/hostname"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    folder = coco(tmp_path / "set", [annotation()])
    path = folder / "annotations" / "instances_default.json"
    path.write_text(path.read_text().replace("a.jpg", name))
    with pytest.raises(ConfigError, match="leads out"):
        read_labelled(folder)
