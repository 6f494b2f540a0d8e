"""The default ensemble on a real picture: order of members, views and tiles, and how many tiles run together, change nothing."""

import shutil

import cv2
import numpy as np
import pytest
import yaml
from scipy.optimize import linear_sum_assignment

from auto_annotator import members as members_module
from auto_annotator.config import ensemble_path, load_ensemble, load_settings
from auto_annotator.imageio import read
from auto_annotator.pipeline import FaceDetection
from auto_annotator.samples import sample_pictures
from auto_annotator.views import view_windows

pytestmark = [pytest.mark.weights, pytest.mark.slow]
THRESHOLD = 0.1
BOX_PIXELS, SCORE = 0.01, 1e-4
POINT_PIXELS = 0.01


@pytest.fixture(scope="module")
def build(pulled, tmp_path_factory):
    """Function: what to do to the parsed file -> the ensemble."""
    for name in load_ensemble("embedded").detection_weights:
        pulled(name)
    folder = tmp_path_factory.mktemp("order")
    source = ensemble_path("embedded")
    for path in source.parent.glob("embedded.*.json"):
        shutil.copy(path, folder)

    def make(change=lambda data: None):
        data = yaml.safe_load(source.read_text())
        change(data)
        path = folder / "changed.yaml"
        path.write_text(yaml.safe_dump(data))
        return FaceDetection.from_settings(load_settings(ensemble=str(path), device="cpu"))

    return make


@pytest.fixture(scope="module")
def image():
    """The sample picture of a crossing, enlarged so that tiles are used; they see its faces twice and cut."""
    settings = load_settings()
    path = next(p for p in sample_pictures(settings.models / "samples") if p.stem == "crossing")
    small = read(path, max_pixels=settings.max_pixels)
    return cv2.resize(small, None, fx=2700 / small.shape[1], fy=2700 / small.shape[1], interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope="module")
def plain(build, image):
    return build()(image, threshold=THRESHOLD)


def assert_same(a, b):
    assert not a.problems
    assert not b.problems
    assert len(a.faces) == len(b.faces) >= 20
    far = np.abs(a.faces.boxes[:, None] - b.faces.boxes[None]).max(axis=2)
    rows, twins = linear_sum_assignment(far)
    assert far[rows, twins].max() <= BOX_PIXELS
    assert np.abs(a.faces.scores[rows] - b.faces.scores[twins]).max() <= SCORE
    assert a.faces.landmarks[rows] == pytest.approx(b.faces.landmarks[twins], abs=POINT_PIXELS, nan_ok=True)


def reversed_members(data):
    data["members"].reverse()


def reversed_views(data):
    """All but those that depend on what the views before them found."""
    for member in data["members"]:
        free = [v for v in member["views"] if "small_below" not in v]
        member["views"] = free[::-1] + [v for v in member["views"] if "small_below" in v]


@pytest.mark.parametrize("change", [reversed_members, reversed_views])
def test_order_in_the_file(build, image, plain, change):
    assert_same(plain, build(change)(image, threshold=THRESHOLD))


def test_order_of_tiles(build, image, plain, monkeypatch):
    monkeypatch.setattr(members_module, "view_windows", lambda *args: view_windows(*args)[::-1])
    assert_same(plain, build()(image, threshold=THRESHOLD))


@pytest.mark.parametrize("pixels", [1, 10**9])
def test_how_many_tiles_run_together(build, image, plain, monkeypatch, pixels):
    detection = build()
    assert any(m.detector.capabilities.batch for m in detection.ensemble.members)
    monkeypatch.setattr(members_module, "BATCH_PIXELS", pixels)
    assert_same(plain, detection(image, threshold=THRESHOLD))
