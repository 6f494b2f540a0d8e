"""Faces in profile: which points are hidden, and who places the points."""

import numpy as np
import pytest
from fakes import SquareDetector, picture, pipeline

from auto_annotator.detectors.base import Capabilities
from auto_annotator.pipeline.points import FacePoints
from auto_annotator.types import Faces

IMAGE = picture(640, 480, [(50, 60, 130, 140)])
PROFILE = np.array([[0.25, 0.4], [0.4, 0.4], [0.15, 0.6], [0.27, 0.8], [0.38, 0.8]])
FRONTAL = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def placed(faces: Faces, shares: np.ndarray) -> np.ndarray:
    return faces.boxes[:, None, :2] + shares * (faces.boxes[:, 2:] - faces.boxes[:, :2])[:, None]


class Turned(SquareDetector):
    """Sees every square as a face that looks to the image-left."""

    def _one(self, canvas, threshold):
        faces = super()._one(canvas, threshold)
        return Faces(boxes=faces.boxes, scores=faces.scores, landmarks=placed(faces, PROFILE).reshape(-1, 5, 2))


class Pointless(SquareDetector):
    """Boxes without points."""

    capabilities = Capabilities(landmarks=False, batch=True)

    def _one(self, canvas, threshold):
        faces = super()._one(canvas, threshold)
        return Faces.of(faces.boxes, faces.scores)


class Refiner:
    """Puts the points at given shares of the box."""

    def __init__(self, shares):
        self.shares = shares

    def refine(self, image, faces):
        return placed(faces, self.shares).astype(np.float32)


class FrontalOnly(Refiner):
    KNOWS_PROFILES = False


@pytest.mark.parametrize(
    ("detector", "hidden"),
    [(SquareDetector, [False] * 5), (Turned, [True, False, False, True, False]), (Pointless, [False] * 5)],
)
def test_the_detectors_points_tell_what_is_hidden(detector, hidden):
    assert pipeline({"a": detector()})(IMAGE).hidden.tolist() == [hidden]


def test_mirrored_views_do_not_swap_the_sides():
    views = [{"size": 640}, {"size": 640, "flip": True}]

    class Mirrored(Turned):
        """Looks to the other side where the picture is mirrored, as a real detector would."""

        def _one(self, canvas, threshold):
            faces = super()._one(canvas, threshold)
            if len(faces) and faces.boxes[0, 0] > canvas.shape[1] / 2:
                mirrored = placed(faces, (PROFILE * (-1, 1) + (1, 0))[[1, 0, 2, 4, 3]])
                faces = Faces(boxes=faces.boxes, scores=faces.scores, landmarks=mirrored)
            return faces

    assert pipeline({"a": Mirrored()}, views=views)(IMAGE).hidden.tolist() == [[True, False, False, True, False]]


def test_a_refiner_that_does_not_know_profiles_has_no_say_on_them():
    alone = pipeline({"a": Turned()})(IMAGE)
    helped = pipeline({"a": Turned()}, refiners={"r": FrontalOnly(FRONTAL)})(IMAGE)
    assert helped.faces.landmarks == pytest.approx(alone.faces.landmarks)
    moved = pipeline({"a": SquareDetector()}, refiners={"r": FrontalOnly(PROFILE)})(IMAGE)
    assert moved.faces.landmarks[0, 1, 0] < pipeline({"a": SquareDetector()})(IMAGE).faces.landmarks[0, 1, 0]


def test_other_refiners_place_the_points_of_profiles_and_the_detectors_still_tell_what_is_hidden():
    alone = pipeline({"a": Turned()})(IMAGE)
    helped = pipeline({"a": Turned()}, refiners={"r": Refiner(FRONTAL)})(IMAGE)
    assert helped.faces.landmarks[0, 1, 0] > alone.faces.landmarks[0, 1, 0] + 1
    assert helped.hidden.tolist() == alone.hidden.tolist()


def test_without_detectors_points_the_refiners_tell_what_is_hidden():
    assert pipeline({"a": Pointless()}, refiners={"r": Refiner(PROFILE)})(IMAGE).hidden.tolist() == [
        [True, False, False, True, False]
    ]


def test_a_picture_without_faces():
    assert pipeline({"a": Turned()})(np.zeros((64, 64, 3), np.uint8)).hidden.shape == (0, 5)


class DoubtingFrontal(FrontalOnly):
    """Sees every point in two places, and only half of a profile."""

    def looks(self, image, faces):
        points = self.refine(image, faces)
        return np.stack([points - 8, points + 8], axis=1)


def test_nor_have_its_doubts():
    alone = pipeline({"a": Turned()})(IMAGE)
    helped = pipeline({"a": Turned()}, refiners={"r": DoubtingFrontal(FRONTAL)})(IMAGE)
    assert np.array_equal(helped.votes.landmark_spread, alone.votes.landmark_spread, equal_nan=True)


class Blind(Refiner):
    def refine(self, image, faces):
        return np.full((len(faces), 5, 2), np.nan, np.float32)


class Doubting(Refiner):
    """Sees every point in two places, 16 pixels apart."""

    def looks(self, image, faces):
        points = self.refine(image, faces)
        return np.stack([points - 8, points + 8], axis=1)


class Breaking(Refiner):
    def refine(self, image, faces):
        raise RuntimeError


LARGE = picture(640, 480, [(50, 60, 250, 260)])


def test_a_large_face_that_a_refiner_does_not_see_is_flagged():
    seen, blind, broken = (
        pipeline({"a": SquareDetector()}, refiners={"r": r})(LARGE) for r in (Refiner(FRONTAL), Blind(FRONTAL), Breaking(FRONTAL))
    )
    assert "landmarks_disagree" in blind.reasons[0]
    assert "landmarks_disagree" not in seen.reasons[0] + broken.reasons[0]


def test_a_refiner_whose_looks_lie_apart_is_flagged_and_its_mean_counts():
    sure, doubting = (pipeline({"a": SquareDetector()}, refiners={"r": r})(LARGE) for r in (Refiner(FRONTAL), Doubting(FRONTAL)))
    assert doubting.faces.landmarks == pytest.approx(sure.faces.landmarks, abs=1e-3)
    assert doubting.votes.landmark_spread[0] == pytest.approx(np.full(5, 8 * np.sqrt(2)), abs=1e-3)
    limit = {"landmark_spread_above": 0.028}
    flagged = pipeline({"a": SquareDetector()}, refiners={"r": Doubting(FRONTAL)}, review=limit)(LARGE)
    assert "landmarks_disagree" in flagged.reasons[0]


def test_boxes_in_profile_are_left_to_those_who_know_profiles_also_without_a_detectors_points():
    detect = pipeline({"a": Pointless()}, refiners={"knows": Refiner(PROFILE), "frontal": FrontalOnly(FRONTAL)})
    found = detect(IMAGE)
    assert found.faces.landmarks[0] == pytest.approx(placed(found.faces, PROFILE)[0], abs=1e-3)
    drawn = Faces.of([[100, 100, 200, 200]], [1.0])
    assert FacePoints(detect.ensemble.refiners)(IMAGE, drawn.boxes)[0] == pytest.approx(placed(drawn, PROFILE)[0], abs=1e-3)
