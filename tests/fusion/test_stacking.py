"""The rule `stack`: edges by measured spread, the final score by a fitted model."""

from dataclasses import replace

import numpy as np
import pytest
from fusion.scenes import faces, seen, sources_of
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.fusion.boxes import FusionSettings, Source
from auto_annotator.fusion.calibration import Curve, SizedCurve, fit_isotonic, fit_sized
from auto_annotator.fusion.edges import EdgeHabit, fit_edges, fuse_edges
from auto_annotator.fusion.faces import fuse_evidence
from auto_annotator.fusion.logistic import fit_logistic, log_odds, sigmoid
from auto_annotator.fusion.stacking import FAINT, Stack, beside_better, fit_stack, joined

STACK = FusionSettings(rule="stack")
NAMES = ("a", "b", "c")
MODEL = Stack(constant=-1.0, weights={"top": 0.5, "votes": 2.0, "mean/a": 0.3, "mean/b": 0.2, "mean/c": 0.2, "inside": -1.0})


def habit(spread):
    return EdgeHabit(knots=[0.0], bias=np.zeros((1, 4)), spread=np.full((1, 4), spread))


def fused(lists, sources, members=NAMES, model=MODEL):
    return fuse_evidence(lists, sources, members, STACK, None, lambda evidence: model(evidence.inputs()))


@given(st.integers(0, 10_000), st.permutations(range(3)))
def test_the_order_of_lists_changes_nothing(seed, order):
    lists = seen(np.random.default_rng(seed), count=5, members=3)
    sources = [replace(s, edges=habit(0.02 * (i + 1))) for i, s in enumerate(sources_of(lists))]
    one, other = fused(lists, sources), fused([lists[i] for i in order], [sources[i] for i in order])
    assert other.faces.boxes == pytest.approx(one.faces.boxes, abs=1e-3)
    assert other.faces.scores == pytest.approx(one.faces.scores, abs=1e-6)


@given(st.integers(0, 10_000))
def test_another_vote_never_lowers_the_score(seed):
    rng = np.random.default_rng(seed)
    box, scores = (100, 100, 160, 170), rng.uniform(0.05, 0.95, 3)
    two = [faces((*box, scores[0])), faces((*box, scores[1])), faces()]
    three = [*two[:2], faces((*box, scores[2]))]
    assert fused(three, sources_of(three)).faces.scores[0] >= fused(two, sources_of(two)).faces.scores[0] - 1e-6


def test_a_silent_member_counts_only_if_it_could_have_seen_the_face():
    lists = [faces((100, 100, 110, 112, 0.8)), faces(), faces()]
    asked = fused(lists, sources_of(lists)).faces.scores[0]
    blind = [Source(member=0), Source(member=1, min_side=50), Source(member=2, min_side=50)]
    assert fused(lists, blind).faces.scores[0] > asked + 0.1


def test_a_member_that_was_left_out_has_no_say():
    lists = [faces((100, 100, 160, 170, 0.9)), faces((100, 100, 160, 170, 0.9))]
    without = fused(lists, [Source(member=0), Source(member=1)]).evidence.inputs()
    assert without["mean/c"] == pytest.approx(without["mean/a"])
    assert without["votes"] == pytest.approx([1.0])


def test_edges_follow_the_member_with_the_least_spread():
    lists = [faces((100, 100, 200, 200, 0.9)), faces((110, 100, 200, 200, 0.9))]
    sources = [Source(member=0, edges=habit(0.02)), Source(member=1, edges=habit(0.2))]
    assert fused(lists, sources).faces.boxes[0] == pytest.approx([100, 100, 200, 200], abs=0.05)
    alike = [replace(s, edges=habit(0.05)) for s in sources]
    assert fused(lists, alike).faces.boxes[0] == pytest.approx([105, 100, 200, 200], abs=0.5)


def test_faint_rows_are_silence():
    lists = [faces((100, 100, 160, 170, 0.9), (300, 300, 340, 350, FAINT / 2)), faces((100, 100, 160, 170, FAINT / 2)), faces()]
    answer = fused(lists, sources_of(lists))
    assert len(answer.faces) == 1
    assert np.isnan(answer.votes.scores[0, 1])


def test_the_score_decides_the_order_and_all_columns_follow():
    lists = [faces((100, 100, 160, 170, 0.5), (300, 300, 360, 370, 0.6)), faces((100, 100, 160, 170, 0.5)), faces()]
    answer = fused(lists, sources_of(lists))
    assert answer.faces.boxes[0] == pytest.approx([100, 100, 160, 170], abs=0.01)
    assert (np.diff(answer.faces.scores) <= 0).all()
    assert answer.votes.count.tolist() == [2, 1]
    assert answer.evidence.boxes == pytest.approx(answer.faces.boxes, abs=0.01)


def test_nothing_seen():
    answer = fused([faces(), faces(), faces()], sources_of([faces()] * 3))
    assert len(answer.faces) == len(answer.votes) == 0
    assert len(fused([], []).faces) == 0


def test_beside_better():
    boxes = np.array([[0, 0, 100, 100], [10, 10, 50, 50], [400, 400, 450, 450]], float)
    overlap, inside = beside_better(boxes, np.array([0.9, 0.4, 0.8]))
    assert inside == pytest.approx([0, 0.9, 0])
    assert overlap == pytest.approx([0, 0.9 * 0.16, 0])


@pytest.mark.parametrize("weights", [{"votes": -0.1}, {"mean/a": -1.0}, {"size": np.nan}])
def test_a_model_that_punishes_evidence_is_refused(weights):
    with pytest.raises(ValueError, match="stack"):
        Stack(constant=0.0, weights=weights)


def test_a_model_of_other_members_is_refused():
    with pytest.raises(ValueError, match="mean/z"):
        Stack(constant=0.0, weights={"mean/z": 1.0})({"mean/a": np.zeros(2)})


def test_the_fit_finds_the_truth_and_keeps_the_signs():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20_000, 3))
    hits = rng.uniform(size=len(x)) < sigmoid(0.5 + x @ [1.0, -2.0, 0.0])
    constant, weights = fit_logistic(x, hits, ridge=1.0)
    assert [constant, *weights] == pytest.approx([0.5, 1.0, -2.0, 0.0], abs=0.1)
    _, bounded = fit_logistic(x, hits, ridge=1.0, rising=[True, True, True])
    assert bounded[1] == 0
    assert (bounded >= 0).all()
    model = fit_stack({"top": x[:, 0], "size": x[:, 1]}, hits)
    assert model({"top": x[:, 0], "size": x[:, 1]}).mean() == pytest.approx(hits.mean(), abs=0.01)


def test_a_fit_without_rows_or_with_nonsense_is_refused():
    for x, y in ((np.zeros((0, 2)), []), ([[np.nan]], [1]), ([[1.0]], [2.0]), ([1.0], [1.0])):
        with pytest.raises(ValueError, match="logistic"):
            fit_logistic(x, y, ridge=1.0)


def test_inputs_of_pictures_are_joined():
    assert joined([{"a": np.array([1.0])}, {"a": np.array([2.0, 3.0])}])["a"].tolist() == [1, 2, 3]
    assert joined([]) == {}


def test_small_faces_need_a_higher_score():
    rng = np.random.default_rng(1)
    side = rng.choice([12.0, 96.0], 8000)
    scores = rng.uniform(0, 1, 8000)
    hits = rng.uniform(size=8000) < np.where(side > 20, scores, scores / 3)
    sized = fit_sized(fit_isotonic(scores, hits), scores, hits, side)
    assert sized([0.9], [12.0])[0] == pytest.approx(0.3, abs=0.08)
    assert sized([0.9], [96.0])[0] == pytest.approx(0.9, abs=0.08)
    for at in (4, 12, 24, 96, 400):
        assert (np.diff(sized(np.linspace(0, 1, 50), np.full(50, float(at)))) >= 0).all()


def test_terms_that_turn_scores_around_are_refused():
    curve = Curve.identity()
    with pytest.raises(ValueError, match="mean less"):
        SizedCurve(curve=curve, terms=[0, 1, 0, 0, 1])
    with pytest.raises(ValueError, match="five"):
        SizedCurve(curve=curve, terms=[0, 1])


def test_habits_are_found_and_a_shift_of_the_whole_set_is_not():
    rng = np.random.default_rng(2)
    true = np.tile([[100, 100, 140, 150]], (3000, 1)) + rng.uniform(0, 500, (3000, 1))
    side = np.sqrt(40 * 50)
    found = true + side * np.array([0.02 + 0.05, 0.04, -0.02 + 0.05, 0.0]) + rng.normal(0, 0.03 * side, (3000, 4))
    learned = fit_edges(found, true, np.ones(3000))
    assert learned.bias_at([side])[0] == pytest.approx([0.02, 0.04, -0.02, 0.0], abs=0.01)
    assert learned.spread_at([side])[0] == pytest.approx([0.03] * 4, abs=0.012)
    none = fit_edges(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros(0))
    assert (none.bias == 0).all()
    assert (none.spread > 0).all()


def test_habits_are_checked():
    with pytest.raises(ValueError, match="shapes"):
        EdgeHabit(knots=[0.0], bias=np.zeros((2, 4)), spread=np.ones((1, 4)))
    with pytest.raises(ValueError, match="positive"):
        EdgeHabit(knots=[0.0], bias=np.zeros((1, 4)), spread=np.zeros((1, 4)))


def test_a_single_opinion_is_the_box():
    box = np.array([[3.0, 4.0, 50.0, 60.0]])
    assert fuse_edges(box, np.ones((1, 4)), np.array([0.2]), np.array([0]), 1) == pytest.approx(box)


def test_log_odds_and_back():
    p = np.array([0.0, 0.01, 0.5, 0.9, 1.0])
    assert sigmoid(log_odds(p)) == pytest.approx(np.clip(p, 1e-4, 1 - 1e-4))
