"""MTCNN: the cascade with networks that read a planted square, and the real weights on a real face."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.detectors import mtcnn
from auto_annotator.detectors.base import MemberContext
from auto_annotator.detectors.mtcnn import MTCNN, MtcnnNet, points_in, shifted, squared, suppress_nested
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.geometry import iou_matrix
from auto_annotator.session import Runtime, TensorInfo

LOW, SPAN = 60, 180
POINTS = np.array([[0.3, 0.35], [0.7, 0.4], [0.55, 0.6], [0.35, 0.8], [0.65, 0.85]], np.float32)
"""Where the fake O-net sees the points, in sides of the planted square."""


def planted(width, height, *boxes):
    """A black picture with squares whose red and green tell the place within the square, and whose blue is 255."""
    image = np.zeros((height, width, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        xs, ys = np.meshgrid((np.arange(x2 - x1) + 0.5) / (x2 - x1), (np.arange(y2 - y1) + 0.5) / (y2 - y1))
        image[y1:y2, x1:x2] = np.stack([LOW + SPAN * xs, LOW + SPAN * ys, np.full_like(xs, 255)], axis=-1).round()
    return image


def read_square(window):
    """x1 y1 x2 y2 of the planted square in sides of an upright (s, s, 3) window and the share of the window it fills."""
    inside = window[..., 2] > 250
    ys, xs = np.nonzero(inside)
    if len(np.unique(xs)) < 3 or len(np.unique(ys)) < 3:
        return np.zeros(4, np.float32), 0.0
    side = len(window)
    x = np.polyfit((window[inside][:, 0] - LOW) / SPAN, (xs + 0.5) / side, 1)
    y = np.polyfit((window[inside][:, 1] - LOW) / SPAN, (ys + 0.5) / side, 1)
    return np.array([x[1], y[1], x.sum(), y.sum()], np.float32), inside.mean()


class FakeNet:
    """Sees what the real networks are given: (n, x, y, 3) in -1..1. Its outputs come in an order of its own."""

    device = "cpu"

    def __init__(self, kind):
        self.kind, self.batches = kind, []
        self.inputs = (TensorInfo(name="in", shape=(None, None, None, 3), dtype="float32"),)
        widths = {"pnet": (4, 2), "rnet": (4, 2), "onet": (4, 10, 2)}[kind]
        self.outputs = tuple(TensorInfo(name=f"o{w}", shape=(None, w), dtype="float32") for w in widths)

    def run(self, feeds):
        pixels = (np.asarray(feeds["in"]) * 128 + 127.5).transpose(0, 2, 1, 3)
        assert pixels.min() > -0.1 and pixels.max() < 255.1
        self.batches.append(len(pixels))
        return self._slide(pixels[0]) if self.kind == "pnet" else self._look(pixels)

    def _slide(self, picture):
        rows, columns = (picture.shape[0] - 12) // 2 + 1, (picture.shape[1] - 12) // 2 + 1
        scores, offsets = np.zeros((1, columns, rows, 2), np.float32), np.zeros((1, columns, rows, 4), np.float32)
        for row in range(rows):
            for column in range(columns):
                seen, share = read_square(picture[2 * row : 2 * row + 12, 2 * column : 2 * column + 12])
                fits = share > 0.4 and 0.6 < seen[2] - seen[0] < 1.6
                scores[0, column, row, 1] = share if fits else 0
                offsets[0, column, row] = seen - [0, 0, 1, 1]
        return [offsets, scores]

    def _look(self, crops):
        seen, shares = map(np.array, zip(*map(read_square, crops), strict=True))
        scores = np.stack([1 - shares, shares], axis=1).astype(np.float32)
        places = seen[:, None, :2] + POINTS * (seen[:, None, 2:] - seen[:, None, :2])
        points = np.concatenate([places[..., 0], places[..., 1]], axis=1)
        return [seen - [0, 0, 1, 1], points, scores] if self.kind == "onet" else [seen - [0, 0, 1, 1], scores]


@pytest.fixture
def fake_context(tmp_path):
    files = tuple(tmp_path / name for name in ("pnet", "rnet", "onet"))
    return MemberContext(weights=files, open_session=lambda path: FakeNet(path.name))


def test_the_cascade_finds_planted_squares(fake_context):
    """The picture is not square and the squares not on its diagonal, so that mixing up x and y cannot pass."""
    boxes = np.array([[30, 50, 62, 82], [90, 12, 114, 36]])
    (faces,) = MTCNN(fake_context, thresholds=(0.4, 0.4, 0.4)).detect([planted(150, 100, *boxes)], threshold=0.4)
    faces = faces.select(np.argsort(faces.boxes[:, 0]))
    assert len(faces) == 2
    np.testing.assert_allclose(faces.boxes, boxes, atol=0.5)
    sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
    np.testing.assert_allclose(faces.landmarks, boxes[:, None, :2] + POINTS * sides, atol=0.5)


def test_a_face_cut_by_the_border_keeps_its_whole_box(fake_context):
    canvas = planted(120, 90, (20, 20, 60, 60))[:, 28:]
    (faces,) = MTCNN(fake_context, thresholds=(0.4, 0.4, 0.4)).detect([canvas], threshold=0)
    np.testing.assert_allclose(faces.boxes[0], [-8, 20, 32, 60], atol=0.6)


def test_threshold_filters_the_final_scores(fake_context):
    canvases = [planted(150, 100, (30, 50, 62, 82))] * 2
    detector = MTCNN(fake_context, thresholds=(0.4, 0.4, 0.4))
    low = detector.detect(canvases, threshold=0.0)
    assert len(low) == 2
    assert (low[0].scores >= 0.4).all()
    assert all(len(f) == 0 for f in detector.detect(canvases, threshold=float(low[0].scores.max()) + 0.01))


@pytest.mark.parametrize("shape", [(1, 1), (11, 300), (12, 12), (13, 400)])
def test_pictures_too_small_for_a_face_are_empty(fake_context, shape):
    (faces,) = MTCNN(fake_context, min_face=12).detect([np.zeros((*shape, 3), np.uint8)], threshold=0)
    assert len(faces) == 0


def test_pyramid_ends_where_the_short_side_is_one_cell(fake_context):
    detector = MTCNN(fake_context, min_face=24, factor=0.5)
    assert detector.scales(200, 400) == [0.5, 0.25, 0.125, 0.0625]
    assert detector.scales(23, 400) == []


def test_candidates_are_capped(fake_context, monkeypatch):
    """A P-net that fires everywhere: later networks see the cap, in batches of bounded size."""
    sessions = {}

    def open_session(path):
        sessions[path.name] = FakeNet(path.name)
        return sessions[path.name]

    def everywhere(picture):
        columns, rows = (picture.shape[1] - 12) // 2 + 1, (picture.shape[0] - 12) // 2 + 1
        scores = np.random.default_rng(0).uniform(0.7, 1, (1, columns, rows, 2))
        return [np.zeros((1, columns, rows, 4), np.float32), scores.astype(np.float32)]

    monkeypatch.setattr(mtcnn, "MAX_CROPS", 50)
    monkeypatch.setattr(mtcnn, "BATCH", 20)
    detector = MTCNN(MemberContext(weights=fake_context.weights, open_session=open_session))
    sessions["pnet"]._slide = everywhere
    detector.detect([np.zeros((200, 200, 3), np.uint8)], threshold=0)
    assert sessions["rnet"].batches == [20, 20, 10]


def test_weights_in_the_wrong_order_are_refused(fake_context):
    context = MemberContext(weights=fake_context.weights[::-1], open_session=fake_context.open_session)
    with pytest.raises(WeightsError, match="pnet, rnet, onet"):
        MTCNN(context)


@pytest.mark.parametrize("options", [{"min_face": 0}, {"factor": 1.0}, {"thresholds": (0.5, 0.5)}, {"thresholds": (0.5, 0.5, 2)}])
def test_bad_options_are_refused(fake_context, options):
    with pytest.raises(ConfigError, match="expected min_face"):
        MTCNN(fake_context, **options)


def test_missing_weights_are_refused(fake_context):
    with pytest.raises(ConfigError, match="got 1 weight files"):
        MTCNN(MemberContext(weights=fake_context.weights[:1], open_session=fake_context.open_session))


def test_networks_get_floats_around_zero_transposed():
    class Recorder(FakeNet):
        def run(self, feeds):
            self.seen = feeds["in"]
            return [np.zeros((1, 4), np.float32), np.zeros((1, 2), np.float32)]

    session = Recorder("rnet")
    pixels = np.zeros((1, 2, 3, 3), np.uint8)
    pixels[0, 0, 2] = [255, 0, 128]
    MtcnnNet(session, widths=(2, 4)).run(pixels)
    assert session.seen.shape == (1, 3, 2, 3)
    assert session.seen.dtype == np.float32
    np.testing.assert_allclose(session.seen[0, 2, 0], [0.99609375, -0.99609375, 0.00390625])


def test_squares_keep_the_middle_and_the_long_side():
    np.testing.assert_allclose(squared(np.array([[0, 0, 10, 4]], np.float32)), [[0, -3, 10, 7]])


def test_offsets_are_in_sides_of_the_box():
    boxes = np.array([[10, 20, 30, 60]], np.float32)
    np.testing.assert_allclose(shifted(boxes, np.array([[0.1, -0.1, 0.5, 0.25]], np.float32)), [[12, 16, 40, 70]])


def test_points_in_turned_squares():
    square, corner = np.array([[10, 20, 30, 40]], np.float32), np.zeros((1, 5, 2), np.float32)
    np.testing.assert_allclose(points_in(square, corner)[0, 0], [10, 20])
    np.testing.assert_allclose(points_in(square, corner, np.array([np.pi / 2]))[0, 0], [30, 20], atol=1e-5)


def test_nested_boxes_go_though_their_iou_is_small():
    boxes = np.array([[0, 0, 100, 100], [40, 40, 60, 60], [90, 90, 150, 150]], np.float32)
    assert suppress_nested(boxes, np.array([0.9, 0.8, 0.95], np.float32), 0.7).tolist() == [2, 0]


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_suppression_keeps_the_best_and_no_nested_pair(n, seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (n, 2))], axis=1).astype(np.float32)
    scores = rng.uniform(0, 1, n).astype(np.float32)
    keep = suppress_nested(boxes, scores, 0.7)
    assert (np.diff(scores[keep]) <= 0).all()
    assert n == 0 or keep[0] == scores.argmax()
    low, high = np.maximum(boxes[:, None, :2], boxes[None, :, :2]), np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    sizes = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    share = np.prod(np.clip(high - low, 0, None), axis=2) / np.minimum(sizes[:, None], sizes[None]) - np.eye(n)
    assert n == 0 or (share[np.ix_(keep, keep)] <= 0.7001).all()


@pytest.fixture(scope="module")
def real(pulled):
    weights = tuple(pulled(f"mtcnn-{name}") for name in ("pnet", "rnet", "onet"))
    return MTCNN(MemberContext(weights=weights, open_session=Runtime(device="cpu").open))


@pytest.mark.weights
def test_astronaut(real):
    """Box and points measured by eye on scikit-image's picture."""
    from skimage.data import astronaut

    (faces,) = real.detect([astronaut()], threshold=0.9)
    assert len(faces) == 1
    assert iou_matrix(faces.boxes, np.array([[180, 62, 268, 175]], np.float32))[0, 0] > 0.85
    expected = [[203, 101], [247, 104], [225, 129], [201, 139], [245, 142]]
    assert np.abs(faces.landmarks[0] - expected).max() < 4


@pytest.mark.weights
def test_faces_in_a_corner_of_a_long_picture(real):
    """x and y mixed up anywhere would lose the face or its place."""
    from skimage.data import astronaut

    canvas = np.full((300, 900, 3), 128, np.uint8)
    canvas[100:300, 700:900] = astronaut()[20:220, 120:320]
    (faces,) = real.detect([canvas], threshold=0.9)
    assert len(faces) == 1
    assert iou_matrix(faces.boxes, np.array([[760, 142, 848, 255]], np.float32))[0, 0] > 0.8


@pytest.mark.weights
def test_noise_stays_fast_and_valid(real):
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    (faces,) = real.detect([noise], threshold=0.0)
    assert np.isfinite(faces.boxes).all()
    assert len(faces) < 10
