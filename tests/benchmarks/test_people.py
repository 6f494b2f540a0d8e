"""What the benchmarks of recognition do with photos and pairs, on small cases."""

import numpy as np
import pytest
from benchmarks.calibrate_descriptors import LABEL_NOISE, cosines_of_all, mean_of_people, pairs_of, say, trusted
from benchmarks.people import Photo, main_face, shrunk
from benchmarks.verification import SHARES, discard, mix, pair_scores
from benchmarks.verification_peers import central

from auto_annotator.types import Faces


def test_pairs_and_cosines_have_one_order():
    people = np.array([0, 0, 1, 1])
    first, second, same = pairs_of(people)
    vectors = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(cosines_of_all(vectors), (vectors[first] * vectors[second]).sum(axis=1))
    assert same.tolist() == [True, False, False, False, False, True]


def test_every_photo_has_the_same_say():
    people = np.array([0, 0, 1, 1, 1, 2])
    first, second, same = pairs_of(people)
    weights = say(people, first)
    total = np.bincount(first[same], weights[same], 6) + np.bincount(second[same], weights[same], 6)
    np.testing.assert_allclose(total, [1, 1, 1, 1, 1, 0])


def test_label_errors_are_the_highest_pairs_of_two_names():
    n = round(3 / LABEL_NOISE)
    scores, same = np.arange(float(n)), np.zeros(n, bool)
    same[-1] = True  # the highest of all is one person: it stays
    kept = trusted(scores, same)
    assert np.flatnonzero(~kept).tolist() == [n - 4, n - 3, n - 2]


def test_mean_over_people_not_over_photos():
    units = np.array([[1.0, 0], [1.0, 0], [1.0, 0], [0, 1.0], [0, 0]])
    np.testing.assert_allclose(mean_of_people(units, np.array([0, 0, 0, 1, 2])), [0.5, 0.5])


def test_the_main_face_is_sure_large_and_central():
    faces = Faces.of([[10, 10, 30, 30], [80, 80, 120, 120], [150, 150, 200, 200], [70, 70, 130, 130]], [0.9, 0.9, 0.9, 0.3])
    assert main_face(faces, 200, 200).boxes.tolist() == [[80, 80, 120, 120]]
    assert len(main_face(Faces.empty(), 200, 200)) == 0


def test_shrinking_makes_the_face_so_many_pixels_tall(tmp_path):
    from PIL import Image as Pillow

    path = tmp_path / "a.png"
    Pillow.fromarray(np.zeros((100, 80, 3), np.uint8)).save(path)
    photos = [Photo(key="a", person="a", path=path)] * 2
    faces = Faces.of([[10, 10, 50, 60], [np.nan] * 4], [0.9, 0.0])
    small, unknown = shrunk(photos, faces, 25)
    assert small.load().shape == (50, 40, 3)
    assert unknown.scale == 1.0


def test_a_photo_without_a_vector_has_no_score():
    scores = pair_scores(np.array([[1.0, 0], [0, 0], [0.6, 0.8]]), np.array([[0, 2], [0, 1]]))
    assert scores[0] == pytest.approx(0.6)
    assert np.isnan(scores[1])


def test_discard_counts_photos_that_have_a_partner():
    same = np.array([True] * 10 + [False] * 10)
    rows = np.array([[2 * i, 2 * i + 1] for i in range(10)] + [[20 + i, 2 * i] for i in range(10)])
    scores = np.where(same, 0.9, 0.1)
    scores[0] = 0.0  # refused
    value = np.ones(30)
    value[[0, 1]] = 0.0
    value[20:] = -1.0  # photos without a partner are not dropped
    curve = discard(scores, same, rows, value)
    assert curve[0] == pytest.approx(0.1)
    assert curve[SHARES.index(0.1)] == 0.0


def test_a_mix_takes_each_photo_from_one_set():
    sets = [(np.full((50, 2), k), np.full(50, k)) for k in range(4)]
    vectors, values = mix(sets)
    np.testing.assert_array_equal(vectors[:, 0], values)
    assert set(values.tolist()) == {0, 1, 2, 3}


def test_the_face_of_a_peer_is_the_central_one():
    image = np.zeros((100, 100, 3), np.uint8)
    assert central([], [], image) is None
    np.testing.assert_array_equal(central([[0, 0, 20, 20], [30, 30, 70, 70]], [[1, 0], [0, 1]], image), [0, 1])
