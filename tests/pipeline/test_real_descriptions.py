"""The embedded recognisers on real pictures: one person stays one person whatever happens to the picture, two people do not mix."""

from __future__ import annotations

import numpy as np
import pytest

from auto_annotator.config import load_ensemble, load_settings
from auto_annotator.geometry import flip_faces, map_faces
from auto_annotator.imageio import read
from auto_annotator.pipeline import FaceDescription
from auto_annotator.samples import sample_pictures
from auto_annotator.types import Faces

pytestmark = pytest.mark.weights

ASTRONAUT = Faces.of([[175, 55, 275, 180]], [0.99], [[(203, 101), (246, 103), (225, 126), (204, 140), (244, 141)]])
"""Read off an enlargement of the sample picture."""

CROSSING = Faces.of([[604, 153, 639, 201], [761, 113, 796, 159]], [0.9, 0.9])


@pytest.fixture(scope="module")
def describe(pulled):
    for name in load_ensemble("embedded").descriptor_weights:
        pulled(name)
    description = FaceDescription.from_settings(load_settings(device="cpu", threads=1))
    description.warm_up()
    return description


@pytest.fixture(scope="module")
def pictures():
    settings = load_settings()
    return {p.stem: read(p, max_pixels=settings.max_pixels) for p in sample_pictures(settings.models / "samples")}


@pytest.fixture(scope="module")
def astronaut(describe, pictures):
    return describe(pictures["astronaut"], ASTRONAUT)


def test_the_default_has_two_recognisers_of_128_numbers(describe, astronaut):
    assert describe.members == ("sface", "dlib") and describe.dimension == 256 and describe.device == "cpu"
    assert astronaut.failures == ("",) and np.linalg.norm(astronaut.vectors[0]) == pytest.approx(1, abs=1e-4)
    assert "aligned_by_box" not in astronaut.notes[0]


def resized(image, factor):
    import cv2

    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)


@pytest.mark.parametrize(("factor", "least"), [(4, 0.98), (2, 0.98), (0.5, 0.97), (0.25, 0.8)])
def test_the_size_of_the_picture_hardly_counts(describe, pictures, astronaut, factor, least):
    image = resized(pictures["astronaut"], factor)
    described = describe(image, map_faces(ASTRONAUT, (factor, factor), (0, 0)))
    assert described.vectors[0] @ astronaut.vectors[0] > least > describe.threshold


def test_a_mirrored_or_turned_picture_shows_the_same_person(describe, pictures, astronaut):
    image = pictures["astronaut"]
    height, width = image.shape[:2]
    mirrored = describe(np.ascontiguousarray(image[:, ::-1]), flip_faces(ASTRONAUT, width))
    assert mirrored.vectors[0] @ astronaut.vectors[0] > 0.98
    points = np.stack([height - ASTRONAUT.landmarks[..., 1], ASTRONAUT.landmarks[..., 0]], axis=-1)
    x1, y1, x2, y2 = ASTRONAUT.boxes[0]
    turned = describe(np.ascontiguousarray(np.rot90(image, -1)), Faces.of([[height - y2, x1, height - y1, x2]], [0.99], points))
    assert turned.vectors[0] @ astronaut.vectors[0] > 0.98


def test_a_face_without_points_is_described_by_its_box(describe, pictures, astronaut):
    described = describe(pictures["astronaut"], Faces.of(ASTRONAUT.boxes, ASTRONAUT.scores))
    assert "aligned_by_box" in described.notes[0]
    assert described.vectors[0] @ astronaut.vectors[0] > 0.8


def test_other_people_are_other_people(describe, pictures, astronaut):
    crossing = describe(pictures["crossing"], CROSSING)
    people = np.concatenate([astronaut.vectors, crossing.vectors])
    alike = people @ people.T
    assert alike[np.triu_indices(3, 1)].max() < 0.75 < alike[0, 0]


def test_company_and_order_do_not_count(describe, pictures):
    both = describe(pictures["crossing"], CROSSING)
    other = describe(pictures["crossing"], CROSSING.select([1, 0]))
    alone = np.concatenate([describe(pictures["crossing"], CROSSING.select([i])).vectors for i in range(2)])
    np.testing.assert_allclose(other.vectors[::-1], both.vectors, atol=1e-4)
    np.testing.assert_allclose(alone, both.vectors, atol=1e-4)
