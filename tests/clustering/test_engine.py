"""The clustering as a whole: right on clear sets, the same for any order, threads and blocks, true to human words."""

from __future__ import annotations

import numpy as np
import pytest
from clustering.clustering_faces import people, same_partition
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.pipeline import FaceClustering
from auto_annotator.types import Constraints

COUNTS = [40, 25, 12, 8, 5, 3, 2, 2, *[1] * 60]


@pytest.fixture(scope="module")
def album():
    return people(COUNTS)


def test_clear_people_come_out_right(album):
    vectors, who = album
    clusters = FaceClustering()(vectors)
    assert same_partition(clusters.labels, who)
    assert clusters.labels.max() + 1 == clusters.count == len(COUNTS) == len(clusters.purity)
    sizes = np.bincount(clusters.labels)
    assert (np.diff(sizes) <= 0).all(), "the largest cluster comes first"
    assert clusters.confidence[who == 0].min() > 0.5


def test_no_faces_one_face_and_no_descriptors():
    assert len(FaceClustering()(np.zeros((0, 8), np.float32))) == 0
    assert FaceClustering()(np.eye(1, 8, dtype=np.float32)).labels.tolist() == [0]
    assert FaceClustering()(np.zeros((3, 8), np.float32)).labels.tolist() == [-1, -1, -1]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), block=st.sampled_from([7, 50, 4096]))
def test_order_and_blocks_do_not_matter(seed, block):
    vectors, _ = people([9, 6, 4, 3, 2, *[1] * 40], noise=0.9, seed=seed % 7)  # noisy: some decisions are close
    order = np.random.default_rng(seed).permutation(len(vectors))
    images = np.arange(len(vectors)) // 3
    first = FaceClustering()(vectors, constraints=Constraints(images=images))
    again = FaceClustering(ClusteringSettings(block=block))(vectors[order], constraints=Constraints(images=images[order]))
    assert same_partition(first.labels[order], again.labels)
    np.testing.assert_array_equal(first.confidence[order], again.confidence)


def test_threads_do_not_matter(album):
    import faiss
    import numba

    vectors, _ = people([30, 20, 10, *[1] * 100], noise=1.0)
    faiss_threads, numba_threads = faiss.omp_get_max_threads(), numba.get_num_threads()
    try:
        faiss.omp_set_num_threads(1)
        numba.set_num_threads(1)
        one = FaceClustering()(vectors)
        faiss.omp_set_num_threads(2)
        numba.set_num_threads(min(2, numba_threads))
        two = FaceClustering()(vectors)
    finally:
        faiss.omp_set_num_threads(faiss_threads)
        numba.set_num_threads(numba_threads)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_array_equal(one.confidence, two.confidence)


def test_approximate_neighbours_agree_with_exact_ones(album):
    vectors, _ = album
    exact = FaceClustering()(vectors)
    approximate = FaceClustering(ClusteringSettings(exact_below=0))(vectors)
    assert same_partition(exact.labels, approximate.labels)


def test_half_precision_gives_the_same_people(album):
    vectors, _ = album
    assert same_partition(FaceClustering()(vectors).labels, FaceClustering()(vectors.astype(np.float16)).labels)


def test_human_words_are_kept(album):
    vectors, who = album
    same = np.flatnonzero(who == 0)
    apart = np.array([[same[0], same[1]], [same[2], same[3]]])
    joined = np.array([[same[4], np.flatnonzero(who == 1)[0]], [np.flatnonzero(who == 9)[0], np.flatnonzero(who == 10)[0]]])
    never = np.array([same[5]])
    clusters = FaceClustering()(vectors, constraints=Constraints(must=joined, cannot=apart, never=never))
    labels = clusters.labels
    assert (labels[joined[:, 0]] == labels[joined[:, 1]]).all()
    assert (labels[apart[:, 0]] != labels[apart[:, 1]]).all()
    assert labels[never[0]] == -1
    assert clusters.conflicts == ()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_all_words_that_do_not_contradict_are_kept(data):
    vectors, _ = people([6, 5, 4, 3, *[1] * 8], noise=0.8)
    n = len(vectors)
    pair = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] != p[1])
    must, cannot = (np.array(data.draw(st.lists(pair, max_size=12)), np.int64).reshape(-1, 2) for _ in range(2))
    clusters = FaceClustering()(vectors, constraints=Constraints(must=must, cannot=cannot))
    labels = clusters.labels
    assert all(labels[a] != labels[b] for a, b in cannot.tolist()), "a cannot-link is never broken"
    reported = {frozenset(c.rows[:2]) for c in clusters.conflicts} | {frozenset(c.rows[-2:]) for c in clusters.conflicts}
    for a, b in must.tolist():
        assert labels[a] == labels[b] or frozenset((a, b)) in reported, "a lost must-link is reported"
    assert len(clusters.conflicts) == 0 or len(cannot)


def test_contradiction_is_reported_with_its_chain(album):
    vectors, _ = album
    must = np.array([[0, 1], [1, 2], [2, 3]])
    clusters = FaceClustering()(vectors, constraints=Constraints(must=must, cannot=np.array([[0, 3]])))
    (conflict,) = clusters.conflicts
    assert conflict.kind == "must_across_cannot"
    assert set(conflict.rows[:2]) == {0, 3}
    assert set(conflict.rows) == {0, 1, 2, 3}
    assert clusters.labels[0] != clusters.labels[3]


def test_one_track_is_one_person_and_one_picture_shows_nobody_twice():
    vectors, _who = people([10, 10, *[1] * 40], noise=0.5)
    tracks = np.full(len(vectors), -1)
    tracks[[0, 12, 25]] = 4
    labels = FaceClustering()(vectors, constraints=Constraints(tracks=tracks)).labels
    assert labels[0] == labels[12] == labels[25]
    twins, _ = people([2] * 30, noise=0.85)
    images = np.arange(60) // 2  # each pair of look-alikes stands in one picture
    assert FaceClustering()(twins).count < 60
    strict = ClusteringSettings(mirror_similarity=1.01)
    assert FaceClustering(strict)(twins, constraints=Constraints(images=images)).count == 60


def test_equal_faces_of_one_picture_are_a_mirror(album):
    vectors, _ = album
    doubled = np.concatenate([vectors, vectors[:1]])
    images = np.arange(len(doubled))
    images[-1] = 0
    labels = FaceClustering()(doubled, constraints=Constraints(images=images)).labels
    assert labels[-1] == labels[0]


def test_poor_faces_stay_out_unless_one_person_clearly_fits(album):
    vectors, _who = album
    rng = np.random.default_rng(3)
    blob = rng.normal(size=64) + 0.2 * rng.normal(size=(30, 64))
    blob /= np.linalg.norm(blob, axis=1, keepdims=True)
    faces = np.concatenate([vectors, blob.astype(np.float32), vectors[:1]])
    quality = np.concatenate([np.ones(len(vectors)), np.full(15, 0.05), np.full(15, 0.2), [0.05]]).astype(np.float32)
    clusters = FaceClustering()(faces, quality=quality)
    assert (clusters.labels[len(vectors) : -1] == -1).all(), "what the recogniser cannot see is nobody, though it is all alike"
    assert clusters.labels[-1] == clusters.labels[0]


def test_new_faces_join_known_people(album):
    vectors, who = album
    early = np.random.default_rng(1).random(len(vectors)) < 0.8
    first = FaceClustering()(vectors[early])
    previous = np.full(len(vectors), -1)
    previous[early] = first.labels
    second = FaceClustering()(vectors, previous=previous)
    assert same_partition(second.labels, who)


def test_shipped_threshold_and_its_warning(album):
    vectors, _ = album
    assert FaceClustering()(vectors, threshold=0.62).threshold >= 0.62
    assert FaceClustering()(vectors, threshold=0.05).warnings == (), "a hundred faces are too few to judge"
    many, _ = people([3] * 100)
    (warning,) = FaceClustering()(many, threshold=0.05).warnings
    assert "threshold: the recogniser's is 0.050" in warning


@pytest.mark.parametrize("method", ["dbscan", "hdbscan"])
def test_methods_for_comparison(album, method):
    vectors, who = album
    clusters = FaceClustering(ClusteringSettings(method=method))(vectors)
    assert len(np.unique(clusters.labels[who == 0])) == 1
    assert clusters.labels.min() >= 0
    with pytest.raises(ValueError, match="at most"):
        FaceClustering(ClusteringSettings(method=method))(np.zeros((50_001, 4), np.float16))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vectors": np.ones(4, np.float32)}, r"vectors: got shape \(4,\)"),
        ({"vectors": np.full((2, 4), 3, np.float32)}, "row 0 has norm 6"),
        ({"vectors": np.full((2, 4), np.nan, np.float32)}, "row 0 is not finite"),
        ({"quality": np.ones(3)}, r"quality: got shape \(3,\)"),
        ({"previous": np.zeros(1, int)}, r"previous: got shape \(1,\)"),
        ({"constraints": Constraints(must=np.array([[0, 9]]))}, r"must: got rows 0\.\.9"),
        ({"constraints": Constraints(cannot=np.array([[1, 1]]))}, "with itself"),
        ({"constraints": Constraints(never=np.array([-1]))}, "never: got rows"),
        ({"constraints": Constraints(images=np.zeros(5))}, "images: got 5 numbers"),
    ],
)
def test_wrong_input_is_refused_by_name(change, message):
    arguments = {"vectors": np.eye(2, 4, dtype=np.float32)} | change
    with pytest.raises(ValueError, match=message):
        FaceClustering()(**arguments)


def test_interrupted_run_goes_on(album, tmp_path, monkeypatch):
    vectors, _who = album
    clusters = FaceClustering(ClusteringSettings(block=32))(vectors, workspace=tmp_path)
    assert list(tmp_path.glob("neighbours-*.npz"))
    monkeypatch.setattr("auto_annotator.clustering.search.choose_search", lambda *_, **__: pytest.fail("searched again"))
    again = FaceClustering(ClusteringSettings(block=32))(vectors, workspace=tmp_path)
    np.testing.assert_array_equal(clusters.labels, again.labels)


def test_look_alikes_are_suggested_not_merged():
    vectors, who = people([12, 12, *[1] * 80], noise=0.3, seed=2)
    first, second = who == 0, who == 1
    vectors[second] += 1.1 * vectors[first].mean(axis=0)  # a sister: cosine of the two means about 0.7
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    clusters = FaceClustering()(vectors, threshold=0.85)
    pair = {int(clusters.labels[0]), int(clusters.labels[12])}
    assert len(pair) == 2
    assert pair in [{s.first, s.second} for s in clusters.suggestions]
    told = FaceClustering()(vectors, threshold=0.85, constraints=Constraints(cannot=np.array([[0, 12]])))
    pair = {int(told.labels[0]), int(told.labels[12])}
    assert pair not in [{s.first, s.second} for s in told.suggestions], "what a person told apart is not suggested"
