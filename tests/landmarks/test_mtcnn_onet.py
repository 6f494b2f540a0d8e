"""O-net as a refiner: a fake that sees where its crop lies, and the real network."""

from __future__ import annotations

import numpy as np
import pytest
from coordinate_pictures import coordinate_picture, read_transform
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.crops import inverse
from auto_annotator.detectors.base import MemberContext
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.geometry import FLIP_ORDER, transform_points
from auto_annotator.landmarks.mtcnn_onet import OnetRefiner
from auto_annotator.session import Runtime, TensorInfo
from auto_annotator.types import Faces

WIDTH, HEIGHT = 320, 240
TRUTH = np.array([[140, 90], [180, 100], [158, 120], [136, 140], [172, 148]], np.float64)


class FakeOnet:
    """Knows the points of the one face in `coordinate_picture` and says where they are in the crop."""

    device = "cpu"
    inputs = (TensorInfo(name="in", shape=(None, 48, 48, 3), dtype="float32"),)
    outputs = tuple(TensorInfo(name=str(w), shape=(None, w), dtype="float32") for w in (10, 2, 4))

    def __init__(self, score=0.9):
        self.score, self.transforms = score, []

    def run(self, feeds):
        crops = (feeds["in"] * 128 + 127.5).transpose(0, 2, 1, 3)
        points = np.zeros((len(crops), 10), np.float32)
        for row, crop in zip(points, crops, strict=True):
            matrix = read_transform(crop, WIDTH, HEIGHT)
            self.transforms.append(matrix)
            if abs(np.linalg.det(matrix[:, :2])) > 1e-6:
                truth = TRUTH[FLIP_ORDER] if np.linalg.det(matrix[:, :2]) < 0 else TRUTH
                row[:] = (transform_points(truth, inverse(matrix)) / 48).T.reshape(-1)
        scores = np.tile(np.float32([1 - self.score, self.score]), (len(crops), 1))
        return [points, scores, np.zeros((len(crops), 4), np.float32)]


def refiner(session, tmp_path, **options):
    return OnetRefiner(MemberContext(weights=(tmp_path / "onet",), open_session=lambda _: session), **options)


@pytest.mark.parametrize("box", [[110, 60, 200, 170], [100, 80, 300, 150], [-60, -30, 210, 200]])
def test_points_come_back_in_picture_pixels(tmp_path, box):
    """Square or not, inside or partly outside the picture."""
    points = refiner(FakeOnet(), tmp_path).refine(coordinate_picture(WIDTH, HEIGHT), Faces.of([box], [1]))
    np.testing.assert_allclose(points[0], TRUTH, atol=1.5)


@pytest.mark.parametrize("turned", [False, True])
def test_mirrored_crops_are_looked_at_too(tmp_path, turned):
    session = FakeOnet()
    first = np.full((1, 5, 2), np.nan, np.float32)
    first[0, :2] = [[140, 90], [160, 110 if turned else 90]]
    faces = Faces.of([[110, 70, 200, 160]], [1], first)
    points = refiner(session, tmp_path, mirrored=True).refine(coordinate_picture(WIDTH, HEIGHT), faces)
    np.testing.assert_allclose(points[0], TRUTH, atol=1.5)
    assert [bool(np.linalg.det(m[:, :2]) < 0) for m in session.transforms] == [False, True]


def test_a_mirrored_crop_without_a_face_has_no_say(tmp_path):
    class Half(FakeOnet):
        def run(self, feeds):
            self.score = 0.1 if self.transforms else 0.9
            points, scores, offsets = super().run(feeds)
            return [points + 9 * (self.score < 0.5), scores, offsets]

    points = refiner(Half(), tmp_path, mirrored=True).refine(
        coordinate_picture(WIDTH, HEIGHT), Faces.of([[110, 60, 200, 170]], [1])
    )
    np.testing.assert_allclose(points[0], TRUTH, atol=1.5)


def test_the_crop_is_turned_by_the_eye_line(tmp_path):
    session = FakeOnet()
    first = np.full((1, 5, 2), np.nan, np.float32)
    first[0, :2] = [[140, 90], [160, 110]]
    points = refiner(session, tmp_path).refine(coordinate_picture(WIDTH, HEIGHT), Faces.of([[110, 70, 200, 160]], [1], first))
    np.testing.assert_allclose(points[0], TRUTH, atol=1.5)
    along = session.transforms[0][:, 0]
    assert np.degrees(np.arctan2(along[1], along[0])) == pytest.approx(45, abs=2)


def test_rows_keep_their_order_and_bad_boxes_are_unknown(tmp_path):
    boxes = [[110, 60, 200, 170], [500, 500, 600, 600], [50, 50, 50, 50], [np.nan] * 4, [100, 50, 220, 180]]
    points = refiner(FakeOnet(), tmp_path).refine(coordinate_picture(WIDTH, HEIGHT), Faces.of(boxes, [1] * 5))
    assert np.isfinite(points).all(axis=(1, 2)).tolist() == [True, False, False, False, True]
    assert np.isnan(points[1:4]).all()


def test_low_scores_give_no_points(tmp_path):
    faces = Faces.of([[110, 60, 200, 170]], [1])
    assert np.isnan(refiner(FakeOnet(score=0.3), tmp_path).refine(coordinate_picture(WIDTH, HEIGHT), faces)).all()
    assert np.isfinite(refiner(FakeOnet(score=0.3), tmp_path, min_score=0.2).refine(coordinate_picture(WIDTH, HEIGHT), faces)).all()


def test_no_faces(tmp_path):
    assert refiner(FakeOnet(), tmp_path).refine(coordinate_picture(WIDTH, HEIGHT), Faces.empty()).shape == (0, 5, 2)


def test_wrong_files_and_options_are_refused(tmp_path):
    session = FakeOnet()
    with pytest.raises(ConfigError, match="min_score"):
        refiner(session, tmp_path, min_score=2)
    session.outputs = session.outputs[1:]
    with pytest.raises(WeightsError, match="onet"):
        refiner(session, tmp_path)
    with pytest.raises(ConfigError, match="0 weight files"):
        OnetRefiner(MemberContext(weights=(), open_session=lambda _: session))


coordinates = st.floats(-2000, 2000, width=32)
boxes = st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), max_size=6)


@pytest.mark.weights
@settings(deadline=None, max_examples=40)
@given(boxes, st.booleans())
def test_any_boxes(real, boxes, tiny):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    if tiny:
        boxes[:, 2:] = boxes[:, :2] + 2
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    points = real.refine(image, Faces.of(boxes / 10, np.ones(len(boxes))))
    assert points.shape == (len(boxes), 5, 2)
    finite = np.isfinite(points).all(axis=(1, 2))
    assert np.isnan(points[~finite]).all()


@pytest.fixture(scope="module")
def real(pulled):
    return OnetRefiner(MemberContext(weights=(pulled("mtcnn-onet"),), open_session=Runtime(device="cpu").open), min_score=0.5)


@pytest.mark.weights
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_astronaut_turned(real, turns):
    """With first points a face on its side is as good as an upright one."""
    from skimage.data import astronaut

    image = astronaut()
    expected = np.array([[203, 101], [247, 104], [225, 129], [201, 139], [245, 142]], np.float32)
    corners = np.array([[180, 62], [268, 175]], np.float32)
    for _ in range(turns):  # np.rot90 turns against the clock: (x, y) -> (y, width - x)
        expected, corners = (np.stack([p[:, 1], image.shape[1] - p[:, 0]], axis=1) for p in (expected, corners))
        image = np.rot90(image)
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    points = real.refine(np.ascontiguousarray(image), Faces.of([box], [1], expected[None]))
    assert np.abs(points[0] - expected).max() < 5
