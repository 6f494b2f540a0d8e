"""CenterFace: faces encoded as the network does it come back; real weights find the astronaut's eyes, nose and mouth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auto_annotator.detectors.base import MemberContext
from auto_annotator.detectors.centerface import CenterFace
from auto_annotator.errors import ConfigError, MemberError, WeightsError
from auto_annotator.session import Runtime, TensorInfo
from auto_annotator.types import Faces
from auto_annotator.views import make_canvas

HEIGHT, WIDTH = 128, 288
CHANNELS = (1, 2, 2, 10)
ASTRONAUT_POINTS = ((203, 101), (246, 103), (225, 126), (204, 140), (244, 141))
"""Read off an enlargement of scikit-image's astronaut: her right eye, left eye, nose tip, right and left mouth corner."""


def random_faces(seed):
    rng = np.random.default_rng(seed)
    corners = np.array([(5.0, 10.0), (100.0, 20.0), (190.0, 10.0)]) + rng.uniform(0, 10, (3, 2))
    sides = rng.uniform(30, 80, (3, 2))
    points = corners[:, None] + rng.uniform(0.1, 0.9, (3, 5, 2)) * sides[:, None]
    return Faces.of(np.hstack([corners, corners + sides]), [0.9, 0.7, 0.5], points)


def encode(faces, height, width):
    """Heat, log of (height, width), offset (y, x) from the cell's middle, points (y, x) in box sides from the box's corner."""
    heat, size, offset, points = (np.zeros((c, height // 4, width // 4), np.float32) for c in CHANNELS)
    for i in range(len(faces)):
        corner, other = faces.boxes[i].reshape(2, 2)
        center = (corner + other) / 8
        column, row = np.floor(center).astype(int)
        heat[0, row, column] = faces.scores[i]
        size[:, row, column] = np.log((other - corner)[::-1] / 4)
        offset[:, row, column] = (center - (column, row) - 0.5)[::-1]
        points[:, row, column] = ((faces.landmarks[i] - corner) / (other - corner))[:, ::-1].ravel()
    return heat, size, offset, points


class FakeCenterFace:
    """Answers with the faces whose number is the red value of a canvas's first pixel."""

    device = "cpu"

    def __init__(self, pictures, *, batch=None, size=(None, None), maps=4):
        self.pictures, self.maps = pictures, maps
        self.calls = []
        self.inputs = (TensorInfo(name="input.1", shape=(batch, 3, *size), dtype="float32"),)
        self.outputs = tuple(
            TensorInfo(name=str(537 + i), shape=(batch, CHANNELS[i], None, None), dtype="float32") for i in range(maps)
        )

    def run(self, feeds):
        blob = feeds["input.1"]
        self.calls.append(blob)
        maps = [encode(self.pictures[int(red)], *blob.shape[2:]) for red in blob[:, 0, 0, 0]]
        return [np.stack([m[i] for m in maps]) for i in range(self.maps)]


def canvas(number=0):
    picture = np.full((HEIGHT, WIDTH, 3), 99, np.uint8)
    picture[0, 0] = number, 7, 8
    return picture


def build(session, **options):
    return CenterFace(MemberContext(weights=(Path("centerface.onnx"),), open_session=lambda _: session), **options)


def assert_same(found, expected):
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_known_faces_come_back(seed):
    faces = random_faces(seed)
    assert_same(build(FakeCenterFace([faces])).detect([canvas()], threshold=0.3)[0], faces)


def test_a_face_partly_outside_keeps_its_far_edge_and_its_points():
    points = np.array([[[2, 20], [30, 20], [12, 40], [4, 60], [26, 60]]], np.float32)
    faces = Faces.of([[-20.5, -6, 50, 80]], [0.9], points)
    assert_same(build(FakeCenterFace([faces])).detect([canvas()], threshold=0.3)[0], faces)


def test_a_file_without_landmarks_answers_with_unknown_points():
    faces = random_faces(1)
    detector = build(FakeCenterFace([faces], maps=3))
    assert not detector.capabilities.landmarks
    found = detector.detect([canvas()], threshold=0.3)[0]
    np.testing.assert_allclose(found.boxes, faces.boxes, atol=1e-3)
    assert not found.has_landmarks.any()


def test_input_is_rgb_without_normalisation():
    session = FakeCenterFace([Faces.empty()])
    build(session).detect([canvas()], threshold=0.3)
    assert session.calls[0][0, :, 0, 0].tolist() == [0, 7, 8]
    assert session.calls[0].shape == (1, 3, HEIGHT, WIDTH)


@pytest.mark.parametrize(("batch", "calls"), [(None, 1), (1, 3)])
def test_several_canvases_give_what_each_gives_alone(batch, calls):
    pictures = [random_faces(6), Faces.empty(), random_faces(7)]
    session = FakeCenterFace(pictures, batch=batch)
    detector = build(session)
    assert detector.capabilities.batch is (calls == 1)
    found = detector.detect([canvas(i) for i in range(3)], threshold=0.3)
    assert len(session.calls) == calls
    for i, faces in enumerate(found):
        assert_same(faces, pictures[i])
        alone = detector.detect([canvas(i)], threshold=0.3)[0]
        assert np.array_equal(faces.boxes, alone.boxes)
        assert np.array_equal(faces.landmarks, alone.landmarks)


def test_threshold_and_nms_option():
    faces = random_faces(8)
    assert len(build(FakeCenterFace([faces])).detect([canvas()], threshold=0.6)[0]) == 2
    twins = Faces.of([[40, 40, 100, 100], [48, 40, 108, 100]], [0.9, 0.8], np.full((2, 5, 2), 70.0))  # IoU 0.76
    assert len(build(FakeCenterFace([twins])).detect([canvas()], threshold=0.3)[0]) == 1
    assert len(build(FakeCenterFace([twins]), nms_iou=0.8).detect([canvas()], threshold=0.3)[0]) == 2
    with pytest.raises(ConfigError):
        build(FakeCenterFace([twins]), nms_iou=-1)


def test_the_original_file_with_fixed_axes_is_refused_with_the_way_out():
    with pytest.raises(WeightsError, match=r"\[10, 3, 32, 32\].*batch axis of 1 or any length; make the axes dynamic"):
        build(FakeCenterFace([], batch=10, size=(32, 32)))


@pytest.mark.parametrize("maps", [0, 2])
def test_files_of_another_family_are_refused(maps):
    with pytest.raises(WeightsError, match=r"centerface\.onnx: not a file of the CenterFace family: got outputs"):
        build(FakeCenterFace([], maps=maps))


def test_other_channels_are_refused():
    session = FakeCenterFace([])
    session.outputs = tuple(reversed(session.outputs))
    with pytest.raises(WeightsError, match="1, 2, 2 and"):
        build(session)


def test_a_grid_that_does_not_fit_the_canvas_is_an_error_of_the_member():
    session = FakeCenterFace([Faces.empty()])
    run = session.run
    session.run = lambda feeds: [o[..., :-1] for o in run(feeds)]
    with pytest.raises(MemberError, match="expected"):
        build(session).detect([canvas()], threshold=0.3)


def test_nothing_in_nothing_out():
    assert build(FakeCenterFace([])).detect([], threshold=0.3) == []


@pytest.mark.weights
def test_registered_weights_find_the_astronaut_alone_and_in_a_batch(pulled):
    from skimage.data import astronaut

    detector = CenterFace(MemberContext(weights=(pulled("centerface"),), open_session=Runtime(device="cpu").open))
    assert detector.fixed_size is None
    seen = make_canvas(astronaut(), (0, 0, 512, 512), 1.25, stride=detector.stride, fixed=None, flip=False)
    alone = detector.detect([seen.pixels], threshold=0.5)[0]
    faces = seen.to_picture(alone)
    assert len(faces) == 1
    assert np.linalg.norm(faces.landmarks[0] - ASTRONAUT_POINTS, axis=1).max() < 5
    assert detector.capabilities.batch
    blank, together = detector.detect([np.zeros_like(seen.pixels), seen.pixels], threshold=0.5)
    assert len(blank) == 0
    np.testing.assert_allclose(together.boxes, alone.boxes, atol=1e-2)
    np.testing.assert_allclose(together.landmarks, alone.landmarks, atol=1e-2)
