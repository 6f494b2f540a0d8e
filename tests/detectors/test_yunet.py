"""YuNet: faces encoded as the network does it come back; real weights agree with OpenCV's own FaceDetectorYN."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from auto_annotator.detectors.base import MemberContext
from auto_annotator.detectors.yunet import YuNet
from auto_annotator.errors import ConfigError, MemberError, WeightsError
from auto_annotator.geometry import iou_matrix
from auto_annotator.session import Runtime, TensorInfo
from auto_annotator.types import Faces
from auto_annotator.views import make_canvas

HEIGHT, WIDTH = 128, 288
STRIDES = (8, 16, 32)
NAMES = [f"{kind}_{s}" for kind in ("cls", "obj", "bbox", "kps") for s in STRIDES]
ASTRONAUT_POINTS = ((203, 101), (246, 103), (225, 126), (204, 140), (244, 141))
"""Read off an enlargement of scikit-image's astronaut: her right eye, left eye, nose tip, right and left mouth corner."""


def random_faces(seed):
    rng = np.random.default_rng(seed)
    corners = np.array([(5.0, 10.0), (100.0, 20.0), (190.0, 10.0)]) + rng.uniform(0, 10, (3, 2))
    sides = rng.uniform(30, 80, (3, 2))
    points = corners[:, None] + rng.uniform(0.1, 0.9, (3, 5, 2)) * sides[:, None]
    return Faces.of(np.hstack([corners, corners + sides]), [0.9, 0.7, 0.5], points)


def encode(faces, height, width):
    """The twelve tables by name; class and object score differ, and only the root of their product is the score."""
    out = {f"{k}_{s}": np.zeros((height // s * (width // s), c), np.float32) for k, c in KINDS.items() for s in STRIDES}
    for i in range(len(faces)):
        s = STRIDES[i % 3]
        x1, y1, x2, y2 = faces.boxes[i]
        center = np.array([(x1 + x2) / 2, (y1 + y2) / 2]) / s
        cell = np.floor(center)
        row = int(cell[1] * (width // s) + cell[0])
        out[f"cls_{s}"][row] = faces.scores[i] ** 2 / 0.95
        out[f"obj_{s}"][row] = 0.95
        out[f"bbox_{s}"][row] = (*(center - cell), *np.log([(x2 - x1) / s, (y2 - y1) / s]))
        out[f"kps_{s}"][row] = (faces.landmarks[i] / s - cell).ravel()
    return out


KINDS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


class FakeYuNet:
    """Answers with the faces whose number is the red value of a canvas's first pixel."""

    device = "cpu"

    def __init__(self, pictures, *, batch=1, size=(None, None), names=NAMES, change=None):
        self.pictures, self.names, self.change = pictures, names, change
        self.calls = []
        self.inputs = (TensorInfo(name="input", shape=(batch, 3, *size), dtype="float32"),)
        self.outputs = tuple(TensorInfo(name=n, shape=(batch, None, KINDS[n.split("_")[0]]), dtype="float32") for n in names)

    def run(self, feeds):
        blob = feeds["input"]
        self.calls.append(blob)
        tables = [encode(self.pictures[int(red)], *blob.shape[2:]) for red in blob[:, 2, 0, 0]]
        for table in tables:
            if self.change:
                self.change(table)
        return [np.stack([t[n] for t in tables]) for n in self.names]


def canvas(number=0):
    picture = np.full((HEIGHT, WIDTH, 3), 99, np.uint8)
    picture[0, 0] = number, 7, 8
    return picture


def build(session, **options):
    return YuNet(MemberContext(weights=(Path("yunet.onnx"),), open_session=lambda _: session), **options)


def assert_same(found, expected):
    assert len(found) == len(expected)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_known_faces_come_back(seed):
    faces = random_faces(seed)
    assert_same(build(FakeYuNet([faces])).detect([canvas()], threshold=0.3)[0], faces)


def test_outputs_are_recognised_in_any_order():
    faces = random_faces(1)
    by_level = [f"{kind}_{s}" for s in STRIDES for kind in ("cls", "obj", "bbox", "kps")]
    for names in (by_level, list(reversed(NAMES))):
        assert_same(build(FakeYuNet([faces], names=names)).detect([canvas()], threshold=0.3)[0], faces)


def test_input_is_bgr_without_normalisation():
    session = FakeYuNet([Faces.empty()])
    build(session).detect([canvas()], threshold=0.3)
    assert session.calls[0][0, :, 0, 0].tolist() == [8, 7, 0]
    assert session.calls[0].shape == (1, 3, HEIGHT, WIDTH)


def test_scores_beyond_one_and_below_zero_are_cut_as_opencv_does():
    def change(table):
        table["cls_8"][0], table["obj_8"][0] = 1.2, 0.81
        table["cls_16"][0], table["obj_16"][0] = -0.5, -0.5

    found = build(FakeYuNet([Faces.empty()], change=change)).detect([canvas()], threshold=0.3)[0]
    np.testing.assert_allclose(found.scores, [0.9], atol=1e-6)


@pytest.mark.parametrize(("batch", "calls"), [(None, 1), (1, 3)])
def test_several_canvases_give_what_each_gives_alone(batch, calls):
    pictures = [random_faces(6), Faces.empty(), random_faces(7)]
    session = FakeYuNet(pictures, batch=batch)
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
    assert len(build(FakeYuNet([faces])).detect([canvas()], threshold=0.6)[0]) == 2
    twins = Faces.of([[40, 40, 100, 100], [48, 40, 108, 100]], [0.9, 0.8], np.full((2, 5, 2), 70.0))  # IoU 0.76
    assert len(build(FakeYuNet([twins])).detect([canvas()], threshold=0.3)[0]) == 1
    assert len(build(FakeYuNet([twins]), nms_iou=0.8).detect([canvas()], threshold=0.3)[0]) == 2
    with pytest.raises(ConfigError):
        build(FakeYuNet([twins]), nms_iou=1.1)


def test_files_of_another_family_are_refused():
    with pytest.raises(WeightsError, match=r"yunet\.onnx: not a file of the YuNet family: got outputs .*6 of 1 columns"):
        build(FakeYuNet([], names=NAMES[:9]))


def test_rows_that_do_not_fit_the_canvas_are_an_error_of_the_member():
    def change(table):
        table["obj_8"] = table["obj_8"][:-1]

    with pytest.raises(MemberError, match="stride 8: got"):
        build(FakeYuNet([Faces.empty()], change=change)).detect([canvas()], threshold=0.3)


def test_canvas_that_is_no_multiple_of_the_stride_is_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        build(FakeYuNet([Faces.empty()])).detect([np.zeros((100, 100, 3), np.uint8)], threshold=0.3)


def test_nothing_in_nothing_out():
    assert build(FakeYuNet([])).detect([], threshold=0.3) == []


def real(path):
    return YuNet(MemberContext(weights=(path,), open_session=Runtime(device="cpu").open))


def astronaut_canvas(detector):
    from skimage.data import astronaut

    return make_canvas(astronaut(), (0, 0, 512, 512), 1.25, stride=detector.stride, fixed=detector.fixed_size, flip=False)


def assert_agrees_with_opencv(path, pictures):
    """Same canvas, same file, threshold high enough for OpenCV's whole-pixel NMS to make no difference."""
    import cv2

    detector = real(path)
    for image in pictures:
        height, width = image.shape[:2]
        scale = 640 / max(height, width)
        pixels = make_canvas(image, (0, 0, width, height), scale, stride=32, fixed=detector.fixed_size, flip=False).pixels
        oracle = cv2.FaceDetectorYN.create(str(path), "", pixels.shape[1::-1], 0.6, 0.3)
        rows = oracle.detect(np.ascontiguousarray(pixels[..., ::-1]))[1]
        boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
        faces = detector.detect([pixels], threshold=0.6)[0]
        assert len(faces) == len(rows)
        best = iou_matrix(boxes, faces.boxes).argmax(axis=1)
        assert np.diag(iou_matrix(boxes, faces.boxes[best])).min() > 0.9999
        np.testing.assert_allclose(faces.scores[best], rows[:, 14], atol=1e-4)
        np.testing.assert_allclose(faces.landmarks[best], rows[:, 4:14].reshape(-1, 5, 2), atol=1e-2)


@pytest.mark.weights
def test_registered_weights_agree_with_opencv_on_the_astronaut(pulled):
    from skimage.data import astronaut

    assert_agrees_with_opencv(pulled("yunet-2023mar"), [astronaut(), astronaut()[:300, 100:400]])


@pytest.mark.weights
def test_registered_weights_find_the_astronaut(pulled):
    detector = real(pulled("yunet-2023mar"))
    seen = astronaut_canvas(detector)
    faces = seen.to_picture(detector.detect([seen.pixels], threshold=0.5)[0])
    assert len(faces) == 1
    assert np.linalg.norm(faces.landmarks[0] - ASTRONAUT_POINTS, axis=1).max() < 7


@pytest.mark.shared
@pytest.mark.parametrize("name", ["yunet_n_640_640.onnx", "yunet_n_dynamic.onnx"])
def test_training_repository_weights_agree_with_opencv(shared_models, shared_data, name):
    from PIL import Image

    paths = sorted((shared_data / "dlib_faces" / "images").iterdir())
    assert_agrees_with_opencv(shared_models / name, [np.asarray(Image.open(p).convert("RGB")) for p in paths])


def assert_batch_is_one_by_one(detector):
    assert detector.capabilities.batch
    seen = astronaut_canvas(detector).pixels
    pictures = [seen, np.ascontiguousarray(seen[::-1]), np.zeros_like(seen)]
    for together, picture in zip(detector.detect(pictures, threshold=0.3), pictures, strict=True):
        alone = detector.detect([picture], threshold=0.3)[0]
        np.testing.assert_allclose(together.boxes, alone.boxes, atol=1e-2)
        np.testing.assert_allclose(together.landmarks, alone.landmarks, atol=1e-2)


@pytest.mark.shared
def test_a_real_batch_gives_what_each_canvas_gives_alone(shared_models):
    assert_batch_is_one_by_one(real(shared_models / "yunet_n_dynamic.onnx"))


@pytest.mark.weights
def test_registered_weights_take_any_size_and_any_batch(pulled):
    detector = real(pulled("yunet-2023mar"))
    assert detector.fixed_size is None
    assert_batch_is_one_by_one(detector)
