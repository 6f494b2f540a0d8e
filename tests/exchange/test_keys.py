"""Face keys are unique in a picture, stable over runs and silent about names."""

from __future__ import annotations

import re

import numpy as np

from auto_annotator.exchange.keys import face_keys

BOXES = [[1.2, 2.0, 30.0, 40.0], [50.0, 2.0, 80.0, 40.0]]


def test_form():
    assert all(re.fullmatch(r"f[0-9a-f]{16}", key) for key in face_keys("secret.jpg", BOXES))


def test_a_key_does_not_depend_on_the_other_faces():
    assert face_keys("a.jpg", BOXES)[1] == face_keys("a.jpg", BOXES[1:])[0]


def test_hundredths_of_a_pixel_change_nothing():
    assert face_keys("a.jpg", BOXES) == face_keys("a.jpg", np.array(BOXES, np.float32) + np.float32(0.01))


def test_picture_and_place_make_the_key():
    keys = {*face_keys("a.jpg", BOXES), *face_keys("b.jpg", BOXES), *face_keys("x/a.jpg", BOXES)}
    assert len(keys) == 6


def test_the_same_box_twice_gets_two_keys():
    first, second, third = face_keys("a.jpg", [BOXES[0]] * 3)
    assert (second, third) == (f"{first}-2", f"{first}-3")


def test_names_that_are_not_text_and_no_faces():
    assert len(face_keys("\ud800.jpg", BOXES)) == 2
    assert face_keys("a.jpg", []) == ()
