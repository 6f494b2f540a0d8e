"""Views that are used only where they are worth their time."""

import pytest
from fakes import SquareDetector, picture, pipeline
from pydantic import ValidationError

from auto_annotator.config import ViewConfig
from auto_annotator.config.parts import MemberConfig
from auto_annotator.pipeline.attention import smallest_side
from auto_annotator.types import Faces


class Counting(SquareDetector):
    """Remembers the sizes of its canvases."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def detect(self, canvases, *, threshold):
        self.seen += [max(c.shape[:2]) for c in canvases]
        return super().detect(canvases, threshold=threshold)


@pytest.mark.parametrize(("boxes", "sizes"), [
    ([(50, 60, 130, 150)], [320]),
    ([(50, 60, 130, 150), (300, 300, 320, 324)], [320, 640]),
    ([], [320, 640]),
])  # fmt: skip
def test_a_view_for_small_faces_is_used_only_if_there_may_be_some(boxes, sizes):
    detector = Counting()
    views = ({"size": 320}, {"size": 640, "small_below": 30})
    detect = pipeline({"a": detector}, views=views, settings={"rotations": "off"})
    detect(picture(640, 480, boxes))
    assert detector.seen == sizes


def test_faint_boxes_call_for_no_closer_look():
    assert smallest_side([Faces.of([[0, 0, 10, 10], [0, 0, 80, 80]], [0.05, 0.9])]) == pytest.approx(80)
    assert smallest_side([]) == smallest_side([Faces.empty()]) == 0


def test_the_first_view_cannot_wait_for_others():
    with pytest.raises(ValidationError, match="no view before it"):
        MemberConfig(name="a", use="tests:Fake", views=(ViewConfig(size=640, small_below=24),))


def test_only_tiles_have_a_zoom():
    assert ViewConfig(tile=320, zoom=2).name == "tile320x2"
    with pytest.raises(ValidationError, match="only tiles"):
        ViewConfig(size=640, zoom=2)
