"""The embedded ensemble on real pictures: every face that a person sees is found, and what is more than that is flagged."""

import json

import numpy as np
import pytest

from auto_annotator.config import load_ensemble, load_settings
from auto_annotator.geometry import iou_matrix
from auto_annotator.imageio import read
from auto_annotator.pipeline import FaceDetection
from auto_annotator.samples import sample_pictures

# Outlined by eye on the sample picture `crossing`, enlarged four times, in pixels: x1 y1 x2 y2.
CROSSING = [
    (604, 153, 639, 201), (56, 129, 90, 174), (761, 113, 796, 159), (221, 106, 255, 148), (181, 113, 211, 152),
    (476, 157, 502, 191), (427, 138, 443, 159), (322, 126, 350, 164), (532, 131, 554, 159), (652, 134, 671, 157),
    (673, 146, 687, 163), (98, 130, 119, 160), (584, 108, 608, 137), (631, 158, 658, 193), (512, 139, 526, 157),
    (367, 132, 390, 159), (598, 130, 621, 158), (474, 143, 491, 163), (564, 172, 594, 205), (311, 146, 331, 171),
]  # fmt: skip
ASTRONAUT = [(175, 55, 275, 180)]


@pytest.fixture(scope="module")
def detect(pulled):
    settings = load_settings(device="cpu")
    for name in load_ensemble("embedded").weight_names:
        pulled(name)
    return FaceDetection.from_settings(settings)


def judged(detection, truth):
    overlap = iou_matrix(detection.faces.boxes, np.array(truth, np.float32))
    extra = overlap.max(axis=1) < 0.5
    return (overlap.max(axis=0) >= 0.5).sum(), [detection.reasons[i] for i in np.flatnonzero(extra)]


@pytest.mark.weights
def test_all_faces_of_the_sample_pictures(detect):
    settings = load_settings()
    pictures = {p.stem: read(p, max_pixels=settings.max_pixels) for p in sample_pictures(settings.models / "samples")}
    found, extra = judged(detect(pictures["astronaut"]), ASTRONAUT)
    assert (found, extra) == (1, [])
    found, extra = judged(detect(pictures["crossing"]), CROSSING)
    assert found == len(CROSSING) == 20
    assert len(extra) <= 5
    assert all(extra)  # a reason to look at each of them


@pytest.mark.weights
@pytest.mark.shared
def test_all_faces_of_group_photos(detect, shared_data):
    rows = json.loads((shared_data / "dlib_faces" / "annotations.json").read_text())
    for row in rows:
        detection = detect(read(shared_data / "dlib_faces" / "images" / row["file"], max_pixels=10**8))
        truth = np.array([f["box_xywh"] for f in row["faces"] if not f["ignore"]], float)
        centres = truth[:, :2] + truth[:, 2:] / 2
        inside = [((detection.faces.boxes[:, :2] < c) & (c < detection.faces.boxes[:, 2:])).all(axis=1).any() for c in centres]
        assert all(inside), row["file"]
