"""The measures of clusterings against brute force over all pairs and against scikit-learn."""

import time
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import pair_confusion_matrix

from auto_annotator.evaluation.clustering import changed_ids, contingency, kept_constraints, score, score_junk, score_pictures
from auto_annotator.types import Constraints

partitions = st.integers(1, 30).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(-1, 6), min_size=n, max_size=n),
        st.lists(st.integers(0, 6), min_size=n, max_size=n),
    )
)


def together(labels):
    """(n, n) bool: two faces in one cluster; -1 is with itself only."""
    labels = np.asarray(labels)
    return ((labels[:, None] == labels) & (labels[:, None] >= 0)) | np.eye(len(labels), dtype=bool)


@given(partitions)
def test_pairwise_and_bcubed_equal_brute_force(case):
    labels, identity = map(np.array, case)
    mine, true = together(labels), together(identity)
    scores = score(labels, identity)
    upper = np.triu(np.ones_like(mine), 1).astype(bool)
    both, mine_pairs, true_pairs = ((x & upper).sum() for x in (mine & true, mine, true))
    assert scores.pairwise_precision == pytest.approx(both / mine_pairs if mine_pairs else 1)
    assert scores.pairwise_recall == pytest.approx(both / true_pairs if true_pairs else 1)
    assert scores.bcubed_precision == pytest.approx(((mine & true).sum(1) / mine.sum(1)).mean())
    assert scores.bcubed_recall == pytest.approx(((mine & true).sum(1) / true.sum(1)).mean())
    right = [
        any((g := set(np.flatnonzero(mine[i]))) and len(g & t) >= 0.9 * len(g) and len(g & t) >= 0.9 * len(t) for i in t)
        for t in ({*np.flatnonzero(identity == person)} for person in set(identity.tolist()))
    ]
    assert scores.people_right == pytest.approx(np.mean(right))
    assert (scores.people, scores.clusters) == (len(right), len(np.unique(mine, axis=0)))


@given(partitions)
def test_agrees_with_scikit_learn_where_nobody_is_unknown(case):
    labels, identity = np.abs(case[0]), np.array(case[1])
    scores, confusion = score(labels, identity), pair_confusion_matrix(identity, labels)
    assert scores.nmi == pytest.approx(normalized_mutual_info_score(identity, labels), abs=1e-9)
    if confusion[1, 1]:
        assert scores.pairwise_precision == pytest.approx(confusion[1, 1] / confusion[:, 1].sum())
        assert scores.pairwise_recall == pytest.approx(confusion[1, 1] / confusion[1].sum())


@given(partitions, st.randoms(use_true_random=False))
def test_the_order_of_faces_and_the_names_of_labels_do_not_matter(case, random):
    labels, identity = map(np.array, case)
    order = list(range(len(labels)))
    random.shuffle(order)
    renamed = np.where(labels < 0, -1, 1000 - 7 * labels)
    assert astuple(score(labels, identity)) == pytest.approx(astuple(score(renamed[order], identity[order] * 3)))


@given(partitions)
def test_the_truth_scores_one(case):
    scores = score(case[1], case[1])
    assert (scores.pairwise_f, scores.bcubed_f, scores.people_right, scores.identity_f) == (1, 1, 1, 1)
    assert scores.nmi == pytest.approx(1)


@given(partitions)
def test_pairs_of_one_picture_equal_brute_force(case):
    labels, images = np.array(case[0]), np.array(case[1]) - 1
    mine, shared = together(labels), together(images)
    upper = np.triu(np.ones_like(mine), 1).astype(bool)
    found = score_pictures(labels, images)
    assert (found.pairs, found.violations) == ((shared & upper).sum(), (shared & mine & upper).sum())


def test_junk_in_company_alone_and_unknown():
    scores = score_junk([0, 0, 1, -1, 2, -1], [True, False, True, True, False, False])
    assert (scores.in_clusters, scores.unknown_recall, scores.good_unknown) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert score_junk([0, 0], [False, False]).in_clusters == 0


def test_changed_ids_look_at_faces_that_had_one():
    assert changed_ids(["p1", "p1", "p2", ""], ["p1", "p2", "", "p3"]) == pytest.approx(2 / 3)
    assert changed_ids(["", ""], ["p1", "p2"]) == 0
    with pytest.raises(ValueError, match="got 1 ids, expected 2"):
        changed_ids(["a", "b"], ["a"])


def test_kept_constraints_count_each_kind():
    constraints = Constraints(must=[[0, 1], [2, 3]], cannot=[[0, 2], [0, 1], [2, 3]], never=[3, 0])
    assert kept_constraints(np.array([0, 0, -1, -1]), constraints) == (1 + 2 + 1, 7)
    assert kept_constraints(np.array([0]), Constraints()) == (0, 0)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="expected the same"):
        contingency([0, 1], [0])
    with pytest.raises(ValueError, match="n > 0"):
        contingency([], [])


@pytest.mark.slow
def test_a_million_faces_take_seconds():
    rng = np.random.default_rng(0)
    identity = rng.integers(0, 100_000, 1_000_000)
    labels = np.where(rng.random(1_000_000) < 0.1, -1, identity)
    start = time.perf_counter()
    score(labels, identity)
    score_pictures(labels, rng.integers(0, 700_000, 1_000_000))
    assert time.perf_counter() - start < 20
