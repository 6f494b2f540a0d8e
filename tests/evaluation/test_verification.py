"""Measures of verification against cases worked out by hand."""

import numpy as np
import pytest

from auto_annotator.evaluation.verification import (
    accuracy_by_folds,
    best_threshold,
    equal_error_rate,
    error_versus_discard,
    tar_at_far,
    threshold_at,
)

NAN = float("nan")


def test_threshold_of_a_fold_comes_from_the_others():
    scores = [0.1, 0.9, 0.45, 0.2, 0.6, 0.48]
    same = [False, True, True, False, True, True]
    result = accuracy_by_folds(scores, same, [0, 0, 0, 1, 1, 1])
    # fold 1 alone: .2 different, .48 and .6 same -> cut at .34; fold 0 alone: .1 different, .45 same -> cut at .275
    np.testing.assert_allclose(result.thresholds, [0.34, 0.275])
    np.testing.assert_array_equal(result.right, [True] * 6)
    assert result.mean == 1.0
    assert result.spread == 0.0


def test_a_fold_can_be_judged_wrong_by_the_others():
    result = accuracy_by_folds([0.1, 0.9, 0.95, 0.99], [False, True, False, True], [0, 0, 1, 1])
    np.testing.assert_allclose(result.thresholds, [0.97, 0.5])
    np.testing.assert_array_equal(result.right, [True, False, False, True])
    np.testing.assert_allclose(result.folds, [0.5, 0.5])


def test_failure_to_enrol_is_an_error_whatever_the_truth():
    scores, same = [NAN, 0.9, 0.1, NAN, 0.8, 0.1], [False, True, False, True, True, False]
    result = accuracy_by_folds(scores, same, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(result.right, [False, True, True, False, True, True])
    assert tar_at_far([NAN, 0.9, 0.1], [True, True, False], 0.0) == 0.5


def test_best_threshold_takes_the_widest_of_equal_gaps():
    assert best_threshold([0.1, 0.2, 0.9], [False, True, True]) == pytest.approx(0.15)
    # one error each: cut .3/.4 (narrow) or below .1 ... the cut between .5 and .9 is the widest that leaves one error
    assert best_threshold([0.3, 0.4, 0.5, 0.9], [False, True, False, True]) == pytest.approx(0.7)
    assert best_threshold([0.5, 0.5, 0.9], [True, False, True]) == pytest.approx(
        -0.5 / 2 + 0.25
    )  # below all: 2 right of 3, width 1
    assert best_threshold([NAN, NAN], [True, False]) == 0.0


def test_rate_of_false_accepts_by_hand():
    strangers, mates = np.arange(1000) / 1000, np.array([0.9975, 0.9985, 0.9995])
    scores, same = np.concatenate([strangers, mates]), np.arange(1003) >= 1000
    assert threshold_at(scores, same, 1e-3) == pytest.approx(0.998)  # one stranger (.999) lies above it
    assert tar_at_far(scores, same, 1e-3) == pytest.approx(2 / 3)
    assert tar_at_far(scores, same, 0.0) == pytest.approx(1 / 3)
    assert tar_at_far(scores, same, 1e-2) == 1.0


def test_the_product_of_rate_and_count_is_rounded_well():
    scores, same = np.append(np.arange(3000.0), 1e9), np.arange(3001) >= 3000
    assert threshold_at(scores, same, 0.001) == 2996.0  # 2999, 2998 and 2997 are the three that may pass


def test_equal_error_rate_by_hand():
    assert equal_error_rate([0.1, 0.2, 0.8, 0.9], [False, False, True, True]) == 0.0
    # cut at .5: one of four strangers (.6) passes, one of four mates (.4) does not
    scores, same = [0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9], [False] * 4 + [True] * 4
    assert equal_error_rate(scores, same) == 0.25
    assert equal_error_rate([0.5, 0.5], [True, False]) == 0.5
    assert equal_error_rate([NAN, 0.9, 0.1, 0.2], [True, True, False, False]) == pytest.approx(0.5)  # half the mates have no score


class TestErrorVersusDiscard:
    # faces 0 and 1 are blurred: the two same pairs with them score low
    PAIRS = ((0, 2), (1, 3), (2, 3), (4, 5), (2, 4), (3, 5))
    SCORES = (0.1, 0.2, 0.9, 0.8, 0.3, 0.4)
    SAME = (True, True, True, True, False, False)

    def rates(self, quality, shares):
        return error_versus_discard(self.SCORES, self.SAME, self.PAIRS, quality, shares=shares, far=0.0)

    def test_by_hand(self):
        quality = [0.1, 0.2, 0.9, 0.9, 0.8, 0.9]
        rates = self.rates(quality, (0.0, 1 / 6, 2 / 6, 5 / 6, 1.0))
        np.testing.assert_allclose(rates, [2 / 4, 1 / 3, 0.0, np.nan, np.nan])

    def test_a_wrong_quality_makes_it_worse(self):
        rates = self.rates([0.9, 0.9, 0.9, 0.9, 0.1, 0.2], (0.0, 2 / 6))
        np.testing.assert_allclose(rates, [2 / 4, 2 / 3])

    def test_the_bar_stays(self):
        """Dropping the faces of the hardest strangers must not lower the threshold."""
        scores, same = [0.5, 0.9, 0.6, 0.1], [True, True, False, False]
        pairs = [(0, 1), (1, 2), (3, 4), (0, 2)]
        rates = error_versus_discard(scores, same, pairs, [1, 1, 1, 0, 0], shares=(0.0, 0.4), far=0.0)
        np.testing.assert_allclose(rates, [0.5, 0.5])

    def test_only_faces_in_pairs_count_in_the_share(self):
        quality = [0.1, 0.2, 0.9, 0.9, 0.8, 0.9, *[0.0] * 50]
        np.testing.assert_allclose(self.rates(quality, (2 / 6,)), [0.0])

    @pytest.mark.parametrize(
        ("pairs", "quality", "message"),
        [([(0, 1)], [1, 1], "expected .6, 2."), (PAIRS, [NAN] * 6, "got NaN")],
    )
    def test_what_it_refuses(self, pairs, quality, message):
        with pytest.raises(ValueError, match=message):
            error_versus_discard(self.SCORES, self.SAME, pairs, quality)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: equal_error_rate([0.1], [True]), "got 1 same of 1"),
        (lambda: equal_error_rate([0.1, 0.2], [True]), "two equal columns"),
        (lambda: tar_at_far([0.1, 0.2], [True, False], 1.0), "0 <= far < 1"),
        (lambda: accuracy_by_folds([0.1, 0.2], [True, False], [0, 0]), "at least 2 folds"),
        (lambda: accuracy_by_folds([0.1, 0.2], [True, False], [0]), "at least 2 folds"),
        (lambda: accuracy_by_folds([0.1, 0.2], [True, False], [0, 1]), "expected both same and different"),
    ],
)
def test_what_the_measures_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()
