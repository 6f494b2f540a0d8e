"""The central values check their shapes once and cannot be changed afterwards."""

import numpy as np
import pytest

from auto_annotator.types import Detection, Faces, Votes


def faces(n: int) -> Faces:
    boxes = np.arange(n * 4, dtype=np.float32).reshape(n, 4)
    return Faces.of(boxes, np.linspace(1, 0.1, n), np.arange(n * 10).reshape(n, 5, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"boxes": np.zeros((2, 3))}, "boxes"),
        ({"scores": np.zeros(3)}, "scores"),
        ({"landmarks": np.zeros((2, 4, 2))}, "landmarks"),
        ({"landmarks": np.zeros((1, 5, 2))}, "landmarks"),
    ],
)
def test_faces_refuse_columns_of_other_shapes(change, message):
    good = {"boxes": np.zeros((2, 4)), "scores": np.zeros(2), "landmarks": np.zeros((2, 5, 2))}
    with pytest.raises(ValueError, match=message):
        Faces(**(good | change))


def test_faces_cannot_be_changed_in_place_and_do_not_share_memory_with_the_caller():
    boxes = np.ones((1, 4), np.float32)
    value = Faces.of(boxes, [0.5])
    boxes[:] = 7
    assert value.boxes.tolist() == [[1, 1, 1, 1]]
    with pytest.raises(ValueError, match="read-only"):
        value.boxes[0, 0] = 3
    with pytest.raises(AttributeError):
        value.boxes = boxes


def test_select_takes_masks_indexes_and_nothing():
    value = faces(3)
    assert value.select([2, 0]).scores.tolist() == [value.scores[2], value.scores[0]]
    assert len(value.select(np.array([True, False, True]))) == 2
    assert len(value.select([])) == 0
    assert [len(row) for row in value] == [1, 1, 1]


def test_concat_keeps_the_order_and_knows_nothing_from_nothing():
    joined = Faces.concat([faces(2), Faces.empty(), faces(1)])
    assert joined.boxes[:, 0].tolist() == [0, 4, 0]
    assert len(Faces.concat([])) == 0


def test_has_landmarks_wants_all_five():
    points = np.ones((3, 5, 2), np.float32)
    points[1, 4, 1] = np.nan
    points[2] = np.nan
    assert Faces.of(np.zeros((3, 4)), np.zeros(3), points).has_landmarks.tolist() == [True, False, False]


def test_votes_count_the_members_that_saw_a_face():
    votes = Votes(
        members=("a", "b"), scores=[[0.5, np.nan], [0.1, 0.2]], edge_spread=np.zeros((2, 4)), landmark_spread=np.zeros((2, 5))
    )
    assert votes.count.tolist() == [1, 2]
    assert len(Votes.empty(["a", "b"])) == 0
    with pytest.raises(ValueError, match="edge_spread"):
        Votes(members=("a",), scores=np.zeros((2, 1)), edge_spread=np.zeros((1, 4)), landmark_spread=np.zeros((2, 5)))


def test_a_detection_has_one_row_of_votes_and_reasons_for_each_face():
    with pytest.raises(ValueError, match="rows differ"):
        Detection(width=4, height=4, faces=faces(1), votes=Votes.empty(["a"]), reasons=())


def test_hidden_points_have_a_row_for_each_face_and_stay_as_they_are() -> None:
    votes = Votes(members=("a",), scores=np.ones((1, 1)), edge_spread=np.zeros((1, 4)), landmark_spread=np.zeros((1, 5)))
    own = np.array([[True, False, False, False, True]])
    detection = Detection(width=4, height=4, faces=faces(1), votes=votes, reasons=((),), hidden=own)
    own[:] = False
    assert detection.hidden is not None
    assert detection.hidden.tolist() == [[True, False, False, False, True]]
    with pytest.raises(ValueError, match="read-only"):
        detection.hidden[0, 0] = False
    with pytest.raises(ValueError, match="hidden"):
        Detection(width=4, height=4, faces=faces(1), votes=votes, reasons=((),), hidden=np.zeros((2, 5), bool))
