"""Alignment: points come to lie on the template; what cannot be points of the face is not believed, and the box places it."""

from __future__ import annotations

import numpy as np
import pytest
from coordinate_pictures import coordinate_picture, read_transform
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.alignment import TEMPLATES, align
from auto_annotator.crops import Pyramid, inverse
from auto_annotator.geometry import transform_points
from auto_annotator.types import Faces

ARCFACE = TEMPLATES["arcface"]
WIDTH, HEIGHT = 640, 480


def face(template=ARCFACE, *, center=(320.0, 240.0), scale=1.0, angle=0.0):
    """A face whose points lie exactly as in a template after a known similarity, with the box that belongs to it."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (template.points - template.box_center) * scale @ turn.T + center
    half = template.box_side * scale / 2
    return Faces.of([[*np.subtract(center, half), *np.add(center, half)]], [0.9], [points])


def replaced(faces: Faces, points) -> Faces:
    return Faces.of(faces.boxes, faces.scores, np.asarray(points, float).reshape(1, 5, 2))


def aligned(faces, template=ARCFACE):
    return align(faces, template, width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize("name", TEMPLATES)
@given(center=st.tuples(st.floats(60, 580), st.floats(60, 420)), scale=st.floats(0.05, 3), angle=st.floats(-3.2, 3.2))
def test_points_come_to_lie_on_the_template(name, center, scale, angle):
    template = TEMPLATES[name]
    faces = face(template, center=center, scale=scale, angle=angle)
    alignment = aligned(faces, template)
    assert not alignment.by_box[0] and alignment.failures == ("",)
    np.testing.assert_allclose(transform_points(faces.landmarks[0], alignment.matrices[0]), template.points, atol=2e-3)


def test_templates_agree_with_their_authors():
    """Published as pixel centres, which are half a pixel less than continuous coordinates."""
    assert ARCFACE.points[0] == pytest.approx([38.2946 + 0.5, 51.6963 + 0.5])
    assert TEMPLATES["sphereface"].points[0] == pytest.approx([30.2946 + 0.5, 51.6963 + 0.5])
    assert TEMPLATES["dlib"].points[2] == pytest.approx([74.01 + 0.5, 76.56 + 0.5])
    assert [TEMPLATES[n].size for n in ("arcface", "sphereface", "dlib")] == [(112, 112), (96, 112), (150, 150)]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_crop_equals_the_warp_of_opencv_with_pixel_centres(name):
    """What the authors do: least squares between pixel centres, then warpAffine. At scale 1 both are bilinear."""
    import cv2

    template = TEMPLATES[name]
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    faces = face(template, scale=0.8, angle=0.3)
    crop = Pyramid(image).crop(aligned(faces, template).matrices[0], template.size)
    linear, _ = cv2.estimateAffinePartial2D(faces.landmarks[0] - 0.5, template.points - 0.5, method=cv2.LMEDS)
    oracle = cv2.warpAffine(image, linear, template.size)
    assert crop.shape == (template.height, template.width, 3)
    assert np.abs(crop.astype(int) - oracle).mean() < 1.0


def test_large_faces_do_not_alias():
    """Stripes of one pixel become grey, where plain bilinear sampling makes new stripes of them."""
    image = np.zeros((1200, 1200, 3), np.uint8)
    image[:, ::2] = 255
    faces = face(center=(600, 600), scale=8)
    crop = Pyramid(image).crop(align(faces, ARCFACE, width=1200, height=1200).matrices[0], ARCFACE.size)
    assert np.ptp(crop[20:90, 20:90].astype(int)) <= 2


@pytest.mark.parametrize(
    "points",
    [
        np.full((5, 2), np.nan),
        np.where(np.arange(5)[:, None] == 3, np.nan, face().landmarks[0]),
        np.full((5, 2), 320.0),
        np.linspace([280, 200], [360, 280], 5),
        face().landmarks[0] + [200, 0],
        face().landmarks[0][[1, 0, 2, 4, 3]],
        (face().landmarks[0] - [320, 240]) * 0.2 + [320, 240],
        [[280, 200], [360, 280], [280, 280], [360, 200], [320, 100]],
        np.full((5, 2), np.inf),
        np.full((5, 2), 1e30),
    ],
    ids=[
        "none",
        "one missing",
        "all equal",
        "on a line",
        "outside the box",
        "mirrored",
        "tiny in the box",
        "scattered",
        "inf",
        "far",
    ],
)
def test_absurd_points_leave_it_to_the_box(points):
    faces = replaced(face(), points)
    alignment = aligned(faces)
    assert alignment.by_box[0] and alignment.failures == ("",)
    middle = transform_points(np.array([[320.0, 240.0]]), alignment.matrices[0])[0]
    assert middle == pytest.approx(ARCFACE.box_center)
    corners = transform_points(faces.boxes[0].reshape(2, 2).astype(float), alignment.matrices[0])
    assert corners[1] - corners[0] == pytest.approx([ARCFACE.box_side] * 2)


def test_profiles_are_believed():
    """Eyes and mouth corners nearly above each other, the nose beside the box."""
    points = [[300, 200], [304, 200], [350, 225], [306, 262], [308, 262]]
    faces = Faces.of([[260, 165, 345, 285]], [0.9], [points])
    assert not aligned(faces).by_box[0]


def test_a_sliver_at_the_border_is_not_smeared():
    faces = Faces.of([[0, 100, 4, 300]], [0.9])
    matrix = aligned(faces).matrices[0]
    assert matrix[0, 0] == pytest.approx(matrix[1, 1])
    assert 200 * matrix[0, 0] <= ARCFACE.box_side / 0.5


@pytest.mark.parametrize(
    ("box", "code"),
    [
        ([np.nan, 0, 10, 10], "bad_box"),
        ([0, 0, np.inf, 10], "bad_box"),
        ([20, 20, 10, 10], "bad_box"),
        ([10, 10, 10, 10], "bad_box"),
        ([10, 10, 10.4, 10.4], "bad_box"),
        ([700, 10, 800, 100], "outside_picture"),
        ([-50, -50, 0, 0], "outside_picture"),
        ([10, 10, 11, 11], ""),
        ([-1e6, -1e6, 1e6, 1e6], ""),
    ],
)
def test_boxes_that_show_nothing_have_a_code(box, code):
    alignment = aligned(Faces.of([box], [0.5]))
    assert alignment.failures == (code,)
    assert np.isnan(alignment.matrices).all() == bool(code)


def test_no_face_is_no_problem():
    alignment = aligned(Faces.empty())
    assert alignment.matrices.shape == (0, 2, 3) and alignment.failures == ()


def test_crops_need_not_be_square():
    template = TEMPLATES["sphereface"]
    matrix = align(face(template, scale=1.5), template, width=WIDTH, height=HEIGHT).matrices[0]
    crop = Pyramid(coordinate_picture(WIDTH, HEIGHT)).crop(matrix, template.size)
    assert crop.shape == (112, 96, 3)
    np.testing.assert_allclose(read_transform(crop, WIDTH, HEIGHT), inverse(matrix), atol=1.5)


@pytest.mark.shared
def test_annotated_points_of_all_poses_are_believed(shared_data):
    """AFLW: faces in every pose, points by people; a box is made of each face's crop."""
    import json

    rows = json.loads((shared_data / "aflw_crops" / "annotations.json").read_text())
    points = np.array([row["landmarks5"] for row in rows])
    low, high = points.min(axis=1), points.max(axis=1)
    center, side = (low + high) / 2, np.linalg.norm(high - low, axis=1, keepdims=True)
    boxes = np.hstack([center - side * 0.7, center + side * 0.7])
    alignment = align(Faces.of(boxes, np.ones(len(boxes)), points), ARCFACE, width=80, height=80)
    assert alignment.by_box.mean() < 0.01
