from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from reports_strategies import any_record

from auto_annotator.reports.records import RecordError, RecordWriter, from_detection, from_json, read_records, to_json
from auto_annotator.types import Detection, Faces, Problem, Votes


@given(any_record)
def test_json_round_trip_is_exact_and_one_line_of_ascii(record):
    line = to_json(record)
    assert from_json(line) == record
    assert line.isascii() and len(line.splitlines()) == 1


def detection(**changes):
    points = np.full((1, 5, 2), np.nan, np.float32)
    points[0, 0] = (20.126, 30.0)
    values = {
        "width": 120,
        "height": 100,
        "faces": Faces.of([[10.004, 20.126, 50, 80]], [0.987654], points),
        "votes": Votes(
            members=("yunet", "centerface"),
            scores=np.array([[0.5, np.nan]], np.float32),
            edge_spread=np.zeros((1, 4), np.float32),
            landmark_spread=np.zeros((1, 5), np.float32),
        ),
        "reasons": (("few_votes",),),
        "problems": (Problem(member="mtcnn", reason="out_of_time", detail="3 of 4 views"),),
    }
    return Detection(**{**values, **changes})


def test_a_detection_becomes_the_promised_json():
    assert json.loads(to_json(from_detection("a/b.jpg", detection()))) == {
        "image": "a/b.jpg",
        "width": 120,
        "height": 100,
        "faces": [
            {
                "box": [10.0, 20.13, 50.0, 80.0],
                "score": 0.9877,
                "landmarks": [[20.13, 30.0], None, None, None, None],
                "votes": {"yunet": 0.5, "centerface": None},
                "review": True,
                "reasons": ["few_votes"],
            }
        ],
        "problems": [{"member": "mtcnn", "reason": "out_of_time", "detail": "3 of 4 views"}],
    }


def test_points_that_the_head_hides_are_named_and_keep_their_place():
    points = np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    faces = Faces.of([[10, 20, 50, 80]], [0.9], points)
    record = from_detection("a.jpg", detection(faces=faces, hidden=np.array([[False, True, False, False, True]])))
    face = json.loads(to_json(record))["faces"][0]
    assert face["hidden"] == ["left_eye", "mouth_left"] and face["landmarks"] == points[0].tolist()
    assert from_json(to_json(record)) == record
    with pytest.raises(RecordError, match="hidden"):
        from_json(to_json(record).replace("left_eye", "left_ear"))


def test_an_error_has_no_size_and_says_why(records):
    assert json.loads(to_json(records[-1])) == {
        "image": "broken.jpg",
        "width": None,
        "height": None,
        "faces": [],
        "error": {"reason": "truncated", "message": "got 12 bytes, expected a whole picture"},
    }


def test_a_box_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="not finite"):
        from_detection("a.jpg", detection(faces=Faces.of([[0, 0, np.inf, 9]], [0.9])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("image"), "image: Field required"),
        (lambda d: d.update(width="120"), "width: "),
        (lambda d: d.update(width=None), "size: got None x 100"),
        (lambda d: d["faces"][0].update(score="0.9"), "faces.0.score"),
        (lambda d: d["faces"][0].update(score=float("nan")), "NaN is not JSON"),
        (lambda d: d["faces"][0].update(box=[1, 2, 3]), "faces.0.box"),
        (lambda d: d["faces"][0].update(box=[5, 2, 3, 9]), "expected x1 <= x2"),
        (lambda d: d["faces"][0].update(landmarks=[[1, 2]]), "got 1 points, expected 5"),
        (lambda d: d["faces"][0].update(review="yes"), "faces.0.review"),
        (lambda d: d.update(error={"reason": "empty", "message": ""}), "no size and no faces"),
    ],
)
def test_a_wrong_line_is_refused_with_its_place(records, change, message):
    data = json.loads(to_json(records[0]))
    change(data)
    with pytest.raises(RecordError, match=f"faces.jsonl line 7: .*{message}"):
        from_json(json.dumps(data), where="faces.jsonl line 7")


@pytest.mark.parametrize("line", ["", "{", "[]", "[" * 100_000, b"\xff\xfe", "1e999"])
def test_a_line_that_is_not_a_record_never_raises_anything_else(line):
    with pytest.raises(RecordError):
        from_json(line)


def test_keys_of_a_later_version_are_ignored(records):
    data = json.loads(to_json(records[0])) | {"later": 1}
    assert from_json(json.dumps(data)) == records[0]


@pytest.mark.parametrize("cut", [1, 2, 10, 100])
def test_half_a_line_of_a_killed_run_is_dropped_and_resume_goes_on(tmp_path, records, cut):
    path = tmp_path / "faces.jsonl"
    with RecordWriter(path) as writer:
        for record in records:
            writer.write(record)
    path.write_bytes(path.read_bytes()[:-cut])
    kept = records if cut == 1 else records[:-1]  # without its line end alone a line is still whole
    assert list(read_records(path)) == kept
    if cut > 1:
        with pytest.raises(RecordError, match="line 4"):
            list(read_records(path, tolerate_partial_last_line=False))
    with RecordWriter(path, append=True) as writer:
        writer.write(records[0])
    assert list(read_records(path, tolerate_partial_last_line=False)) == [*kept, records[0]]


def test_a_broken_line_in_the_middle_is_an_error(tmp_path, records):
    path = tmp_path / "faces.jsonl"
    path.write_text(f"{to_json(records[0])}\n{{\n{to_json(records[1])}", encoding="ascii")
    with pytest.raises(RecordError, match=r"faces\.jsonl line 2"):
        list(read_records(path))


def test_each_record_is_on_disk_before_the_next(tmp_path, records):
    path = tmp_path / "faces.jsonl"
    with RecordWriter(path) as writer:
        writer.write(records[0])
        assert list(read_records(path)) == records[:1]


def test_records_cannot_be_changed(records):
    with pytest.raises(dataclasses.FrozenInstanceError):
        records[0].image = "b.jpg"
