"""Where findings come from: the ensemble here or the deployed function, in order, and bad frames among good ones."""

from __future__ import annotations

import threading

import numpy as np
import PIL.Image
import pytest
from fakes import SquareDetector, picture, pipeline

from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.prelabel_findings import HOPELESS, deployed_findings, finding_of, local_findings
from auto_annotator.cvat.shapes import error_reply, face_shapes, reply
from auto_annotator.errors import ImageError

LIMIT = 1_000_000


def encoded(image):
    import io

    out = io.BytesIO()
    PIL.Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


class Frames:
    """The part of `Server` that gives frames."""

    def __init__(self, frames):
        self.frames = frames

    def frame_bytes(self, task, frame):
        data = self.frames[frame]
        if isinstance(data, Exception):
            raise data
        return data if isinstance(data, bytes) else encoded(data)


class Task:
    id = 7


class Functions:
    """A deployed face-detection; `answers`: by call, an exception or None for the truth."""

    def __init__(self, answers=None):
        self.detect_here = pipeline({"squares": SquareDetector()})
        self.answers, self.busy, self.most = answers or {}, 0, 0
        self.lock, self.together = threading.Lock(), threading.Event()

    def detect(self, image, threshold=None):
        import io

        with self.lock:
            self.busy += 1
            self.most = max(self.most, self.busy)
            if self.busy >= 3:
                self.together.set()
        self.together.wait(0.05)
        with self.lock:
            self.busy -= 1
        pixels = np.asarray(PIL.Image.open(io.BytesIO(image)))
        number = int(pixels[0, 0, 0])
        if number in self.answers:
            if isinstance(self.answers[number], Exception):
                raise self.answers[number]
            return self.answers[number]
        return reply(self.detect_here(pixels, threshold=threshold))


def numbered(count):
    """Pictures with a face each, whose first pixel is their number."""
    pictures = [picture(320, 240, [(40 + 5 * i, 50, 100 + 5 * i, 110)]) for i in range(count)]
    for number, image in enumerate(pictures):
        image[0, 0] = number
    return pictures


def test_a_reply_holds_the_same_faces_as_the_detection():
    image = picture(320, 240, [(40, 50, 100, 110), (200, 60, 260, 120)], 0.87)
    detection = pipeline({"squares": SquareDetector(shift=0.37)})(image)
    found = finding_of(3, reply(detection))
    assert found.frame == 3
    assert list(found.faces) == face_shapes(detection)
    assert len(found.faces) == 2
    assert finding_of(3, []).faces == ()
    assert finding_of(3, error_reply("truncated")).error == "truncated"


@pytest.mark.parametrize(
    "items",
    [
        [{"label": "face"}],
        [{"label": "face", "points": [1, 2, 3], "group_id": 1, "confidence": "0.5"}],
        [{"label": "face", "points": [9, 2, 3, 4], "group_id": 1, "confidence": "0.5"}],
        [{"label": "face", "points": [1, 2, 3, "nan"], "group_id": 1, "confidence": "0.5"}],
        [{"label": "face_landmarks", "group_id": 1, "elements": [{"label": "nose", "points": [1, 2], "outside": False}]}],
    ],
)
def test_a_reply_of_another_form_is_refused(items):
    with pytest.raises(ServerError, match=r"functions\.md"):
        finding_of(0, items)


def test_local_findings_come_in_order_and_a_bad_frame_is_one_of_them():
    frames = dict(enumerate(numbered(5)))
    frames[1] = b"no picture"
    frames[3] = ServerError("gone", status=404)
    detect = pipeline({"squares": SquareDetector()})

    def moody(image):
        if image[0, 0, 0] == 2:
            raise MemoryError
        return detect(image)

    found = list(local_findings(Frames(frames), Task(), range(5), moody, max_pixels=LIMIT))
    assert [finding.frame for finding in found] == list(range(5))
    assert [finding.error for finding in found] == ["", "not_an_image", "out_of_memory", "unreadable_file", ""]
    assert [len(finding.faces) for finding in found] == [1, 0, 0, 0, 1]


def test_deployed_findings_are_those_of_the_ensemble_with_several_frames_in_flight():
    frames = dict(enumerate(numbered(8)))
    frames[4] = b"no picture"
    detect = pipeline({"squares": SquareDetector()})
    here = list(local_findings(Frames(frames), Task(), range(8), detect, max_pixels=LIMIT))
    functions = Functions({2: ImageError("too_large_to_send", "x"), 5: error_reply("out_of_memory")})
    found = list(deployed_findings(Frames(frames), Task(), range(8), functions, threshold=None, in_flight=3, max_pixels=LIMIT))
    assert [finding.frame for finding in found] == list(range(8))
    assert {f.frame: f.error for f in found if f.error} == {2: "too_large_to_send", 4: "not_an_image", 5: "out_of_memory"}
    assert all(a == b for a, b in zip(found, here, strict=True) if a.frame not in (2, 5))
    assert functions.most == 3


def test_one_failure_of_the_function_is_a_bad_frame_and_many_in_a_row_are_the_end():
    frames = dict(enumerate(numbered(12)))
    broken = ServerError("500", status=500)

    def run(bad):
        answers = dict.fromkeys(bad, broken)
        return list(
            deployed_findings(Frames(frames), Task(), range(12), Functions(answers), threshold=None, in_flight=2, max_pixels=LIMIT)
        )

    found = run([0, 1, 2, 3, 5])
    assert [finding.frame for finding in found if finding.error == "internal_error"] == [0, 1, 2, 3, 5]
    with pytest.raises(ServerError):
        run(range(2, 2 + HOPELESS))


def test_a_function_that_is_not_there_is_the_end():
    functions = Functions({1: ServerError("404", status=404)})
    stream = deployed_findings(
        Frames(dict(enumerate(numbered(3)))), Task(), range(3), functions, threshold=None, in_flight=1, max_pixels=LIMIT
    )
    assert next(stream).frame == 0
    with pytest.raises(ServerError):
        next(stream)
