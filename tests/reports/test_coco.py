from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from reports_strategies import any_record, make_face

from auto_annotator.reports.coco import write_coco
from auto_annotator.reports.records import Record
from auto_annotator.types import LANDMARK_NAMES


def written(path, records):
    write_coco(records, path)
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_form(tmp_path, records):
    data = written(tmp_path / "coco.json", records)
    assert set(data) == {"info", "licenses", "categories", "images", "annotations"}
    (category,) = data["categories"]
    assert category["name"] == "face" and category["keypoints"] == list(LANDMARK_NAMES)
    assert all(1 <= a < b <= 5 for a, b in category["skeleton"])
    assert data["images"] == [
        {"id": 1, "file_name": "party/a.jpg", "width": 120, "height": 100},
        {"id": 2, "file_name": "empty.png", "width": 64, "height": 48},
        {"id": 3, "file_name": "c.png", "width": 90, "height": 90},
    ]
    assert data["annotations"][0] == {
        "id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": [],
        "bbox": [10.0, 20.0, 40.0, 60.0], "area": 2400.0,
        "keypoints": [22.0, 44.0, 2, 38.0, 44.0, 2, 30.0, 56.0, 2, 23.6, 68.0, 2, 36.4, 68.0, 2], "num_keypoints": 5,
        "score": 0.97, "attributes": {"review": False, "reasons": ""},
    }  # fmt: skip
    last = data["annotations"][-1]
    assert last["keypoints"] == [0] * 15 and last["num_keypoints"] == 0


def test_a_point_beyond_the_picture_is_not_labelled(tmp_path):
    face = replace(make_face(), landmarks=((-2.0, 10.0), (20.0, -0.5), (10.0, 20.0), None, (5.0, 90.5)))
    data = written(tmp_path / "coco.json", [Record(image="a.jpg", width=90, height=90, faces=(face,))])
    assert data["annotations"][0]["keypoints"] == [0, 0, 0, 20.0, 0.0, 2, 10.0, 20.0, 2, 0, 0, 0, 5.0, 90.0, 2]
    assert data["annotations"][0]["num_keypoints"] == 3


def test_a_point_that_the_head_hides_is_placed_but_not_visible(tmp_path):
    face = replace(make_face(), hidden=("left_eye", "mouth_left"))
    data = written(tmp_path / "coco.json", [Record(image="a.jpg", width=90, height=90, faces=(face,))])
    assert data["annotations"][0]["keypoints"][2::3] == [2, 1, 2, 2, 1]
    assert data["annotations"][0]["keypoints"][3:5] == [38.0, 44.0] and data["annotations"][0]["num_keypoints"] == 5


@settings(max_examples=60, deadline=None)
@given(records=st.lists(any_record, max_size=4))
def test_ids_and_figures_hold_together(tmp_path_factory, records):
    data = written(tmp_path_factory.mktemp("coco") / "a.json", records)
    readable = [r for r in records if r.error is None]
    assert [i["id"] for i in data["images"]] == list(range(1, len(readable) + 1))
    assert [a["id"] for a in data["annotations"]] == list(range(1, sum(len(r.faces) for r in readable) + 1))
    for annotation in data["annotations"]:
        x, y, width, height = annotation["bbox"]
        face = [f for r in readable for f in r.faces][annotation["id"] - 1]
        assert abs(x + width - face.box[2]) < 0.011 and abs(y + height - face.box[3]) < 0.011
        assert annotation["num_keypoints"] == sum(v > 0 for v in annotation["keypoints"][2::3])
        assert 0 < annotation["image_id"] <= len(readable)


def test_no_record_at_all_is_still_a_valid_file(tmp_path):
    data = written(tmp_path / "coco.json", [])
    assert data["images"] == [] and data["annotations"] == []
