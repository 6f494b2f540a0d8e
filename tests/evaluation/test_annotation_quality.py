"""Quality of annotations as a function: what must hold for any annotations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.bridge.quality import Annotated, Place
from auto_annotator.evaluation.annotation_quality import quality, voters
from auto_annotator.types import Faces


def side(pictures, *, order=None):
    """Faces of pictures; each face is (column, size, person, votes). `order` puts the faces of each picture in another order."""
    rows = [[faces[i] for i in (order(len(faces)) if order else range(len(faces)))] for faces in pictures]
    boxes = [[(100.0 * c, 0.0, 100.0 * c + s, 1.25 * s) for c, s, _, _ in faces] for faces in rows]
    flat = [face for faces in rows for face in faces]
    places = [Place(task=1, job=1, frame=n, kind="shape", id=1) for n, faces in enumerate(rows) for _ in faces]
    return Annotated(
        pictures=tuple(Faces.of(np.reshape(b, (-1, 4)), np.ones(len(b))) for b in boxes),
        people=tuple(person for _, _, person, _ in flat),
        votes=tuple(votes for _, _, _, votes in flat),
        sources=("auto",) * len(flat),
        places=tuple(places),
        frame_places=tuple(Place(task=1, job=1, frame=n, kind="", id=0) for n in range(len(rows))),
    )


faces = st.tuples(
    st.integers(0, 9),
    st.sampled_from([10.0, 20.0, 40.0, 80.0]),
    st.sampled_from(["", "none", "p0001", "p0002"]),
    st.sampled_from(["", "1/2 a=9", "2/2 a=9 b=8", "1/2 b=7"]),
)
albums = st.lists(st.lists(faces, max_size=5, unique_by=lambda face: face[0]), min_size=1, max_size=5)


@settings(max_examples=100, deadline=None)
@given(albums)
def test_true_annotations_are_perfect(pictures):
    both = side(pictures)
    result = quality(both, both)
    n = len(both.places)
    assert (result.all.true, result.all.found, result.all.right) == (n, n, n)
    assert sum(band.true for band in result.bands) == sum(band.found for band in result.bands) == n
    assert result.faults == ()
    assert all(member.precision == 1 and member.alone_wrong == 0 for member in result.members)
    assert result.people is None or (result.people.bcubed_f, result.people.pairwise_f) == (1, 1)
    assert result.people_faces == sum(person.startswith("p") for person in both.people)


@settings(max_examples=100, deadline=None)
@given(albums, albums)
def test_counts_add_up_and_no_order_matters(pictures, others):
    n = min(len(pictures), len(others))
    truth = side(others[:n])
    result = quality(side(pictures[:n]), truth)
    mend = result.corrections
    assert mend.missed == result.all.true - result.all.right
    assert mend.false_boxes == result.all.found - result.all.right
    assert len(result.faults) == mend.missed + mend.false_boxes + mend.loose + mend.bad_landmarks
    assert sum(band.right for band in result.bands) == result.all.right
    assert sum(right for _, right in result.sources.values()) == result.all.right
    turned = quality(side(pictures[:n], order=lambda k: range(k - 1, -1, -1)), truth)
    assert turned.as_json() == result.as_json()


def test_of_two_boxes_on_one_face_the_better_is_right():
    truth = side([[(0, 40.0, "", "")]])
    found = side([[(0, 32.0, "", "1/1 a=1"), (0, 38.0, "", "1/1 b=1")]])
    result = quality(found, truth)
    assert (result.all.right, result.corrections.false_boxes) == (1, 1)
    assert {member.name: (member.alone_right, member.alone_wrong) for member in result.members} == {"a": (0, 1), "b": (1, 0)}


def test_without_faces_there_is_no_number():
    result = quality(side([[]]), side([[]]))
    assert math.isnan(result.all.precision)
    assert result.as_json()["all"]["recall"] is None


def test_other_numbers_of_pictures_are_refused():
    with pytest.raises(ValueError, match="pictures"):
        quality(side([[]]), side([[], []]))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("2/3 yunet=93 centerface=88", {"yunet", "centerface"}),
        ("0/3", set()),
        ("1/2 a=b=7", {"a=b"}),
        ("", None),
        ("yunet", None),
        ("2/3 yunet", None),
    ],
)
def test_votes_are_read_or_refused(text, names):
    assert voters(text) == (None if names is None else frozenset(names))
