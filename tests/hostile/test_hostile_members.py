"""The embedded ensemble with one broken member among the real ones, in other orders, on other numbers of threads, twice."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from fakes import AnsweringDetector, RaisingDetector
from hostile_pictures import encoded

from auto_annotator.config import MemberConfig
from auto_annotator.ensemble import Ensemble, Member
from auto_annotator.pipeline import FaceDetection
from auto_annotator.types import Faces

pytestmark = pytest.mark.weights

THREADS_PIXELS = 0.01
"""Largest difference of a coordinate that the order of additions in other numbers of threads may make (and its rounding)."""


def with_members(ensemble: Ensemble, members: list[Member]) -> Ensemble:
    """The same ensemble with these members in this order."""
    renumbered = tuple(dataclasses.replace(m, index=i) for i, m in enumerate(members))
    config = ensemble.config.model_copy(update={"members": tuple(m.config for m in members)})
    return dataclasses.replace(ensemble, config=config, members=renumbered)


def joined_by(detector: FaceDetection, fake: object, place: int) -> FaceDetection:
    """The ensemble and one member more, which looks at the same views as the first."""
    config = MemberConfig(name="fake", use="tests:Fake", views=detector.ensemble.members[0].config.views)
    members = list(detector.ensemble.members)
    members.insert(place, Member(index=0, config=config, detector=fake, curves={}))
    return FaceDetection(with_members(detector.ensemble, members), detector.settings)


@pytest.fixture(scope="module")
def crop(street):
    """(180, 200, 3) uint8 with several faces."""
    return street[90:270, :200].copy()


@pytest.fixture(scope="module")
def alone(answer, crop):
    """The answer of the ensemble by itself."""
    found = answer(encoded(crop))
    assert len(found.boxes) >= 2
    return found


BROKEN = {
    "nan": (AnsweringDetector(lambda c: Faces.of([[np.nan, 1, 5, 5]], [0.5])), "garbage"),
    "infinite": (AnsweringDetector(lambda c: Faces.of([[0, 0, np.inf, 5]], [0.5])), "garbage"),
    "inverted": (AnsweringDetector(lambda c: Faces.of([[90, 90, 10, 10]], [0.9])), "garbage"),
    "outside": (AnsweringDetector(lambda c: Faces.of([[9e4, 9e4, 9.1e4, 9.1e4]], [0.9])), "garbage"),
    "score of 7": (AnsweringDetector(lambda c: Faces.of([[0, 0, 50, 50]], [7])), "garbage"),
    "a million boxes": (AnsweringDetector(lambda c: Faces.of(np.full((10**6, 4), [0, 0, 9, 9]), np.ones(10**6))), "too_many_boxes"),
    "raises": (RaisingDetector(ValueError("the.jpg")), "raised"),
    "out of memory": (RaisingDetector(MemoryError()), "out_of_memory"),
    "cuda out of memory": (RaisingDetector(RuntimeError("CUDA error: out of memory")), "out_of_memory"),
    "answers nothing": (type("Mute", (RaisingDetector,), {"detect": lambda self, canvases, threshold: []})(None), "garbage"),
    "answers None": (type("None_", (RaisingDetector,), {"detect": lambda self, canvases, threshold: None})(None), "raised"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_member_changes_nothing_that_the_others_say(kind, answer, alone, crop, detector):
    fake, reason = BROKEN[kind]
    found = answer(encoded(crop), pipeline=joined_by(detector, fake, place=1))
    assert np.array_equal(found.boxes, alone.boxes)
    assert np.array_equal(found.scores, alone.scores)
    assert np.array_equal(found.points, alone.points)
    assert found.fields["problems"] == [f"fake:{reason}"], "counted once"
    assert all(a["review"] == "true" and "few_votes" in a["reasons"] for a in found.attributes)


def test_a_refiner_that_breaks_leaves_boxes_and_the_points_of_the_others(answer, alone, crop, detector):
    class Broken:
        def refine(self, image, faces):
            raise RuntimeError("the.jpg")

    first, *others = detector.ensemble.refiners
    ensemble = dataclasses.replace(detector.ensemble, refiners=(dataclasses.replace(first, refiner=Broken()), *others))
    found = answer(encoded(crop), pipeline=FaceDetection(ensemble, detector.settings))
    assert np.array_equal(found.boxes, alone.boxes)
    assert found.points.shape == alone.points.shape
    assert found.fields["problems"] == [f"{first.config.name}:raised"]


def test_when_all_members_break_the_picture_gets_a_tag(answer, crop, detector):
    fakes = [dataclasses.replace(m, detector=RaisingDetector(ValueError())) for m in detector.ensemble.members]
    found = answer(encoded(crop), pipeline=FaceDetection(with_members(detector.ensemble, fakes), detector.settings))
    assert found.error == "no_member_answered"


def test_the_same_picture_twice_gives_the_same_bytes(answer, alone, crop, astronaut):
    answer(encoded(astronaut[:300]))  # another picture in between
    assert answer(encoded(crop)).body == alone.body


def test_the_order_of_members_does_not_matter(crop, detector):
    ensemble = with_members(detector.ensemble, list(detector.ensemble.members)[::-1])
    one, other = detector(crop), FaceDetection(ensemble, detector.settings)(crop)
    assert other.faces.boxes == pytest.approx(one.faces.boxes, abs=1e-3)
    assert other.faces.scores == pytest.approx(one.faces.scores, abs=1e-5)
    assert other.faces.landmarks == pytest.approx(one.faces.landmarks, abs=1e-3)
    assert other.votes.scores[:, ::-1] == pytest.approx(one.votes.scores, abs=1e-6, nan_ok=True)
    assert other.reasons == one.reasons


@pytest.mark.parametrize("changes", [{"threads": 1}, {"threads": 2}, {"side_by_side": True}], ids=["1", "2", "side by side"])
def test_threads_do_not_matter(changes, answer, alone, crop, serving, detector):
    other = FaceDetection.from_settings(serving.model_copy(update=changes))
    found = answer(encoded(crop), pipeline=other)
    assert found.boxes == pytest.approx(alone.boxes, abs=THREADS_PIXELS)
    assert found.scores == pytest.approx(alone.scores, abs=1e-3)
    assert [a["reasons"] for a in found.attributes] == [a["reasons"] for a in alone.attributes]
