"""What only large sets, crowds and odd input bring: candidates instead of all clusters, faces without vectors, any labels."""

from __future__ import annotations

import numpy as np
import pytest
from clustering.clustering_faces import people, same_partition

from auto_annotator.clustering import nearest, pictures
from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.pipeline import FaceClustering
from auto_annotator.types import Constraints

COUNTS = [60, 45, 12, 8, 5, 3, 2, 2, *[1] * 60]


@pytest.fixture
def crowd():
    vectors, who = people(COUNTS, noise=0.7, seed=4)
    vectors[who == 3] += 0.9 * vectors[who == 2].mean(axis=0)  # sisters: each is the other's next-best
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    quality = np.ones(len(vectors), np.float32)
    quality[::9] = 0.05
    return vectors, who, quality


def test_candidates_find_what_all_clusters_would(crowd, monkeypatch):
    vectors, _, quality = crowd
    whole = FaceClustering()(vectors, quality=quality)
    monkeypatch.setattr(nearest, "EXACT_COMPARISONS", 0)
    few = FaceClustering()(vectors, quality=quality)
    np.testing.assert_array_equal(few.labels, whole.labels)
    np.testing.assert_allclose(few.confidence, whole.confidence, atol=0.03)  # who has no candidate counts as far from all
    known = few.nearest >= 0
    assert known.any()
    assert (few.nearest[known] == whole.nearest[known]).mean() > 0.9


def test_candidates_do_not_depend_on_the_order(crowd, monkeypatch):
    vectors, _, quality = crowd
    monkeypatch.setattr(nearest, "EXACT_COMPARISONS", 0)
    order = np.random.default_rng(5).permutation(len(vectors))
    first = FaceClustering()(vectors, quality=quality)
    again = FaceClustering(ClusteringSettings(block=17))(vectors[order], quality=quality[order])
    assert same_partition(first.labels[order], again.labels)
    np.testing.assert_array_equal(first.confidence[order], again.confidence)
    np.testing.assert_array_equal(first.nearest_score[order], again.nearest_score)


def test_large_cluster_whose_lists_are_full_still_knows_its_neighbour(monkeypatch):
    vectors, who = people([60, 60, *[1] * 80], noise=0.3, seed=2)
    vectors[who == 1] += 1.1 * vectors[who == 0].mean(axis=0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    monkeypatch.setattr(nearest, "EXACT_COMPARISONS", 0)
    clusters = FaceClustering(ClusteringSettings(neighbours=20, more_neighbours=20))(vectors, threshold=0.85)
    assert [{s.first, s.second} for s in clusters.suggestions] == [{0, 1}]


def test_faces_of_a_crowd_stay_apart(monkeypatch):
    twins, _ = people([2] * 30, noise=0.85)
    images = np.arange(60) % 2  # two pictures, each twin in one: nobody of one picture is alike
    images[: 2 * 10] = 2  # ten pairs stand in one picture
    strict = ClusteringSettings(mirror_similarity=1.01)
    whole = FaceClustering(strict)(twins, constraints=Constraints(images=images))
    monkeypatch.setattr(pictures, "CROWD", 5)
    crowd = FaceClustering(strict)(twins, constraints=Constraints(images=images))
    np.testing.assert_array_equal(crowd.labels, whole.labels)
    assert len(np.unique(crowd.labels[:20])) == 20


def test_picture_of_thousands_of_faces_is_bounded():
    images = np.zeros(200_000, np.int64)
    none = nearest.Listed(faces=np.zeros(0, np.intp), lists=nearest.NeighbourLists.join([]))
    assert len(pictures.same_picture(images, np.arange(len(images)), none)) == 0
    few = pictures.same_picture(np.array([7, -1, 7, 3, -1, 7]), np.arange(6), none)
    assert sorted(map(tuple, few.tolist())) == [(0, 2), (0, 5), (2, 5)]


def test_word_through_a_face_without_a_vector_holds(crowd):
    vectors, who, _ = crowd
    a, b = int(np.flatnonzero(who == 2)[0]), int(np.flatnonzero(who == 3)[0])
    empty = len(vectors)
    faces = np.concatenate([vectors, np.zeros((2, vectors.shape[1]), np.float32)])
    must = np.array([[a, empty], [empty, b]])
    clusters = FaceClustering()(faces, constraints=Constraints(must=must))
    assert clusters.labels[a] == clusters.labels[b] == clusters.labels[empty] >= 0
    assert clusters.labels[empty + 1] == -1
    told = Constraints(must=must[:1], cannot=must[1:])
    clusters = FaceClustering()(faces, constraints=told)
    assert clusters.labels[a] == clusters.labels[empty] != clusters.labels[b]
    contradicted = FaceClustering()(faces, constraints=Constraints(must=must, cannot=np.array([[a, b]])))
    assert [c.kind for c in contradicted.conflicts] == ["must_across_cannot"]
    assert empty in contradicted.conflicts[0].rows


def test_earlier_labels_may_be_any_numbers(crowd):
    vectors, who, _ = crowd
    names = np.random.default_rng(0).integers(0, 2**63 - 1, who.max() + 1)
    names[0] = 2**63 - 1
    previous = names[who]
    previous[::4] = -1
    assert same_partition(FaceClustering()(vectors, previous=previous).labels, FaceClustering()(vectors).labels)


def test_words_are_kept_against_earlier_labels(crowd):
    vectors, who, quality = crowd
    same = np.flatnonzero(who == 0)
    poor = same[quality[same] < 0.1]
    cannot = np.array([[same[0], same[1]], [poor[0], same[2]], [poor[0], same[3]]])
    must = np.array([[poor[1], np.flatnonzero(who == 1)[0]]])
    labels = FaceClustering()(
        vectors, quality=quality, previous=np.zeros(len(vectors), int), constraints=Constraints(must=must, cannot=cannot)
    ).labels
    for a, b in cannot.tolist():
        assert labels[a] != labels[b] or labels[a] == -1
    assert labels[must[0, 0]] == labels[must[0, 1]] >= 0
