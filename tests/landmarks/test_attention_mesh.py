"""Face mesh with attention as a refiner: fakes that see where their crop lies, and the real models."""

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
from auto_annotator.landmarks.attention_mesh import MARGINS, NOSE_BRIDGE_SHARE, AttentionMesh
from auto_annotator.session import Runtime, TensorInfo
from auto_annotator.types import Faces

WIDTH, HEIGHT = 320, 240
BOX = [110, 60, 200, 170]
TIP, BRIDGE = np.array([158.0, 120.0]), np.array([160.0, 110.0])
TRUTH = np.array([[141, 90], [182, 101], TIP + NOSE_BRIDGE_SHARE * (BRIDGE - TIP), [136, 140], [172, 148]], np.float64)
NAMED = {33: (133, 88), 133: (149, 92), 362: (173, 99), 263: (190, 103), 1: BRIDGE, 4: TIP, 61: (136, 140), 291: (172, 148)}
TWINS = {33: 263, 263: 33, 133: 362, 362: 133, 61: 291, 291: 61}


def mesh_of(matrix):
    """(468, 2) vertices in the crop; in a mirrored crop the model calls the right eye left, as it should."""
    places = np.random.default_rng(0).uniform((110, 50), (205, 175), (468, 2))
    mirrored = np.linalg.det(matrix[:, :2]) < 0
    for index, place in NAMED.items():
        places[TWINS.get(index, index) if mirrored else index] = place
    return transform_points(places, inverse(matrix))


class FakeMesh:
    device = "cpu"
    inputs = (TensorInfo(name="in", shape=(1, 192, 192, 3), dtype="float32"),)
    outputs = (TensorInfo(name="a", shape=(1, 1), dtype="float32"), TensorInfo(name="b", shape=(1, 1404), dtype="float32"))

    def __init__(self, logits=(5.0,)):
        self.logits, self.calls = logits, 0

    def run(self, feeds):
        matrix = read_transform(np.asarray(feeds["in"])[0] * 255, WIDTH, HEIGHT)
        logit = self.logits[min(self.calls, len(self.logits) - 1)]
        self.calls += 1
        mesh = np.hstack([mesh_of(matrix), np.zeros((468, 1))]).reshape(1, -1)
        return [np.full((1, 1), logit, np.float32), mesh.astype(np.float32)]


class FakeAttention:
    """Knows where eyes and mouth of the one face are; outputs in an order of its own."""

    device = "cpu"
    inputs = (TensorInfo(name="crop", shape=(None, 192, 192, 3), dtype="float32"),)
    outputs = tuple(
        TensorInfo(name=n, shape=(None, k, 2), dtype="float32") for n, k in (("lips", 80), ("left_iris", 5), ("right_iris", 5))
    )

    def __init__(self, *, broken=False):
        self.matrices, self.broken = [], broken

    def run(self, feeds):
        crops = np.asarray(feeds["crop"])
        assert crops.dtype == np.float32
        assert 0 <= crops.min() <= crops.max() <= 1
        lips, left, right = (np.zeros((len(crops), k, 2), np.float32) for k in (80, 5, 5))
        for row, crop in enumerate(crops):
            matrix = read_transform(crop * 255, WIDTH, HEIGHT)
            self.matrices.append(matrix)
            seen = transform_points(TRUTH, inverse(matrix))
            if np.linalg.det(matrix[:, :2]) < 0:
                seen = seen[FLIP_ORDER]
            right[row, 0], left[row, 0], lips[row, 0], lips[row, 10] = seen[[0, 1, 3, 4]]
        return [np.full_like(lips, np.nan) if self.broken else lips, left, right]


def build(tmp_path, mesh=None, attention=None, **options):
    sessions = {"mesh": mesh or FakeMesh(), "attention": attention or FakeAttention()}
    context = MemberContext(weights=(tmp_path / "mesh", tmp_path / "attention"), open_session=lambda path: sessions[path.name])
    return AttentionMesh(context, **options)


@pytest.fixture(scope="module")
def picture():
    return coordinate_picture(WIDTH, HEIGHT)


@pytest.mark.parametrize("box", [BOX, [100, 90, 240, 150], [-40, 0, 210, 190], [150, 110, 152, 112]])
def test_points_come_back_in_picture_pixels(tmp_path, picture, box):
    points = build(tmp_path).refine(picture, Faces.of([box], [1]))
    np.testing.assert_allclose(points[0], TRUTH, atol=1.5)


def test_the_points_are_the_mean_of_the_looks(tmp_path, picture):
    faces = Faces.of([BOX, [500, 500, 600, 600]], [1, 1])
    looks = build(tmp_path).looks(picture, faces)
    assert looks.shape == (2, 2, 5, 2)
    np.testing.assert_allclose(build(tmp_path).refine(picture, faces), looks.mean(axis=1), atol=1e-4)
    assert np.isnan(looks[1]).all()


@settings(deadline=None, max_examples=25)
@given(st.floats(-3.1, 3.1))
def test_any_first_angle(tmp_path_factory, angle):
    first = np.full((1, 5, 2), np.nan, np.float32)
    first[0, :2] = [[150, 100], [150 + 20 * np.cos(angle), 100 + 20 * np.sin(angle)]]
    refiner = build(tmp_path_factory.getbasetemp())
    points = refiner.refine(coordinate_picture(WIDTH, HEIGHT), Faces.of([BOX], [1], first))
    np.testing.assert_allclose(points[0], TRUTH, atol=2)


def test_crops_are_one_batch_with_their_margins_and_the_eye_line_of_the_mesh(tmp_path, picture):
    attention = FakeAttention()
    build(tmp_path, attention=attention).refine(picture, Faces.of([BOX], [1]))
    sides = [np.linalg.norm(m[:, 0]) * 192 for m in attention.matrices]
    assert len(sides) == len(MARGINS)
    assert sides[1] / sides[0] == pytest.approx(MARGINS[1][0] / MARGINS[0][0], rel=0.02)
    assert [bool(np.linalg.det(m[:, :2]) < 0) for m in attention.matrices] == [mirrored for _, mirrored in MARGINS]
    own = np.arctan2(NAMED[263][1] - NAMED[33][1], NAMED[263][0] - NAMED[33][0])
    along = attention.matrices[0][:, 0]
    assert np.arctan2(along[1], along[0]) == pytest.approx(own, abs=0.04)


@pytest.mark.parametrize("logits", [(-3,), (5, -3)])
def test_no_face_in_the_first_crops_means_unknown(tmp_path, picture, logits):
    assert np.isnan(build(tmp_path, FakeMesh(logits)).refine(picture, Faces.of([BOX], [1]))).all()


def test_a_mirrored_crop_without_a_face_has_no_say_on_the_nose(tmp_path, picture):
    points = build(tmp_path, FakeMesh((5, 5, -3))).refine(picture, Faces.of([BOX], [1]))
    np.testing.assert_allclose(points[0], TRUTH, atol=1.5)


def test_an_answer_that_is_not_finite_means_unknown(tmp_path, picture):
    assert np.isnan(build(tmp_path, attention=FakeAttention(broken=True)).refine(picture, Faces.of([BOX], [1]))).all()


def test_rows_keep_their_order_and_bad_boxes_are_unknown(tmp_path, picture):
    boxes = [BOX, [500, 500, 600, 600], [50, 50, 50, 50], [np.nan] * 4, BOX]
    points = build(tmp_path).refine(picture, Faces.of(boxes, [1] * 5))
    assert np.isfinite(points).all(axis=(1, 2)).tolist() == [True, False, False, False, True]
    assert build(tmp_path).refine(picture, Faces.empty()).shape == (0, 5, 2)


def test_wrong_files_and_options_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="min_presence"):
        build(tmp_path, min_presence=1.5)
    with pytest.raises(WeightsError, match="order face mesh, face mesh with attention"):
        build(tmp_path, attention=FakeMesh())
    with pytest.raises(WeightsError, match="order face mesh, face mesh with attention"):
        build(tmp_path, mesh=FakeAttention())
    with pytest.raises(ConfigError, match="got 1 weight files"):
        AttentionMesh(MemberContext(weights=(tmp_path,), open_session=lambda _: FakeMesh()))


@pytest.fixture(scope="module")
def real(pulled):
    weights = (pulled("face-mesh"), pulled("face-mesh-attention"))
    return AttentionMesh(MemberContext(weights=weights, open_session=Runtime(device="cpu").open))


@pytest.mark.weights
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_astronaut_turned(real, turns):
    """Positions measured by eye."""
    from skimage.data import astronaut

    image = astronaut()
    expected = np.array([[204.5, 100.5], [248.5, 103], [225, 127], [203, 140], [246, 142]], np.float32)
    corners = np.array([[180, 62], [268, 175]], np.float32)
    for _ in range(turns):  # np.rot90 turns against the clock: (x, y) -> (y, width - x)
        expected, corners = (np.stack([p[:, 1], image.shape[1] - p[:, 0]], axis=1) for p in (expected, corners))
        image = np.rot90(image)
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    points = real.refine(np.ascontiguousarray(image), Faces.of([box], [1], expected[None]))
    assert np.abs(points[0] - expected).max() < 4


@pytest.mark.weights
def test_a_plain_wall_has_no_face(real):
    assert np.isnan(real.refine(np.full((100, 100, 3), 180, np.uint8), Faces.of([[20, 20, 80, 80]], [1]))).all()
