"""What the pipeline asks of any refiner beyond its points."""

import numpy as np
import pytest

from auto_annotator.landmarks.base import knows_profiles, points_and_spread
from auto_annotator.types import Faces

IMAGE = np.zeros((20, 20, 3), np.uint8)
FACES = Faces.of([[0, 0, 9, 9]], [1])


class Once:
    def refine(self, image, faces):
        return np.full((len(faces), 5, 2), 3.0)


class Twice(Once):
    """Two looks, 6 and 8 pixels apart."""

    KNOWS_PROFILES = False

    def looks(self, image, faces):
        return np.full((len(faces), 2, 5, 2), 3.0) + np.array([[[[0.0, 0.0]], [[6.0, 8.0]]]])


def test_one_look_has_no_spread():
    points, spread = points_and_spread(Once(), IMAGE, FACES)
    assert (points == 3).all() and np.isnan(spread).all()
    assert spread.shape == (1, 5)


def test_looks_are_averaged_and_their_spread_is_the_distance_from_the_mean():
    points, spread = points_and_spread(Twice(), IMAGE, FACES)
    assert points[0, 0].tolist() == [6.0, 7.0]
    assert spread[0] == pytest.approx(np.full(5, 5.0))


def test_a_refiner_knows_profiles_unless_it_says_otherwise():
    assert knows_profiles(Once()) and not knows_profiles(Twice())
