"""Large pictures with fake members: what tiles say, what views of the whole picture may say beside them, and time running out."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import SquareDetector, picture, pipeline

from auto_annotator.detectors.base import Capabilities
from auto_annotator.types import Faces
from auto_annotator.views import whole_in_tile

SIDE = 2000
VIEWS = [
    {"size": 400, "min_face": 4},
    {"size": 400, "flip": True, "min_face": 4},
    {"tile": 500, "longer_than": 1000, "min_face": 4},
]
SMALL, LARGE = (100, 100, 160, 160), (1200, 1200, 1500, 1500)
"""12 and 60 pixels on a canvas of 400."""


class Doubtful(SquareDetector):
    """Takes a face smaller than 24 pixels on the canvas for one with little confidence."""

    def __init__(self, doubt: float) -> None:
        super().__init__()
        self.doubt = doubt

    def _one(self, canvas: np.ndarray, threshold: float) -> Faces:
        faces = super()._one(canvas, threshold)
        tiny = faces.boxes[:, 2] - faces.boxes[:, 0] < 24
        return Faces(boxes=faces.boxes, scores=np.where(tiny, self.doubt, faces.scores), landmarks=faces.landmarks)


@pytest.mark.parametrize("detector", [SquareDetector(blind_below=24), Doubtful(0.05)], ids=["silent", "doubtful"])
def test_views_that_show_a_face_too_small_do_not_outvote_the_tiles(detector):
    detection = pipeline({"a": detector}, views=VIEWS)(picture(SIDE, SIDE, [SMALL, LARGE]))
    assert len(detection.faces) == 2
    assert detection.faces.scores == pytest.approx(0.9, abs=0.02)


def test_they_may_confirm_it():
    unsure_tiles = {"a": Doubtful(0.6)}
    detection = pipeline(unsure_tiles, views=VIEWS)(picture(SIDE, SIDE, [SMALL]))
    assert detection.faces.scores[0] == pytest.approx((0.9 + 0.6 + 0.6) / 3, abs=0.02)


def test_their_silence_about_large_faces_counts():
    class OnlyInTiles(SquareDetector):
        def _one(self, canvas, threshold):
            return super()._one(canvas, threshold) if canvas.shape[0] > 450 else Faces.empty()

    views = [{**VIEWS[0]}, {**VIEWS[1]}, {**VIEWS[2], "tile": 900}]
    detection = pipeline({"a": OnlyInTiles()}, views=views, threshold=0.1)(picture(SIDE, SIDE, [LARGE]))
    assert detection.faces.scores[0] == pytest.approx(0.3, abs=0.02)


class Timed(SquareDetector):
    """Takes `whole` seconds for a view of the whole picture and 1 for a tile."""

    capabilities = Capabilities(landmarks=True)

    def __init__(self, clock, whole: float) -> None:
        super().__init__()
        self.clock, self.whole = clock, whole

    def detect(self, canvases, *, threshold):
        self.clock.now += self.whole if canvases[0].shape[0] < 450 else 1.0
        return super().detect(canvases, threshold=threshold)


def test_tiles_run_although_the_whole_picture_took_long(clock):
    """Shrinking a huge picture takes seconds, so the pace of the first view is no forecast for tiles."""
    views = [VIEWS[0], VIEWS[2]]
    detect = pipeline({"a": Timed(clock, whole=20.0)}, views=views, settings={"budget_seconds": 60})
    detection = detect(picture(SIDE, SIDE, [SMALL, LARGE]))
    assert not detection.problems and len(detection.faces) == 2
    assert clock.now <= 60


def test_tiles_stop_when_time_is_up_and_keep_what_they_saw(clock):
    views = [VIEWS[0], VIEWS[2]]
    below = (1850, 1850, 1880, 1880)  # 6 pixels on the view of the whole picture
    detect = pipeline({"a": Timed(clock, whole=1.0)}, views=views, settings={"budget_seconds": 5}, threshold=0.6)
    detection = detect(picture(SIDE, SIDE, [SMALL, below]))
    assert [(p.member, p.reason) for p in detection.problems] == [("a", "out_of_time")]
    assert "tiles" in detection.problems[0].detail
    assert 5 <= clock.now <= 7
    assert len(detect.ensemble.members[0].detector.calls) < 10
    assert any(np.abs(b - SMALL).max() < 5 for b in detection.faces.boxes)
    assert not any("few_votes" in r for r in detection.reasons)


def test_half_a_face_at_the_side_of_a_tile_is_no_face():
    """Detectors end its box a little before the cut; only the border of the picture itself may be that near."""
    half, whole = [600, 300, 985, 900], [600, 300, 900, 900]
    boxes = np.array([half, whole, [700, 700, 990, 992]], np.float32)
    assert whole_in_tile(boxes, (0, 0, 1000, 1000), 3000, 3000).tolist() == [False, True, False]
    assert whole_in_tile(boxes, (0, 0, 1000, 1000), 1000, 1000).all()
