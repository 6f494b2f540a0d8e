"""The whole fusion of a picture, final score and points included, does not depend on the order of lists, members or rows."""

import numpy as np
import pytest
from fusion.scenes import points_in
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from auto_annotator.calibration import Calibration
from auto_annotator.fusion.boxes import FusionSettings, Source
from auto_annotator.fusion.edges import KNOTS, EdgeHabit
from auto_annotator.fusion.faces import fuse_evidence
from auto_annotator.fusion.stacking import Stack
from auto_annotator.types import Faces

RULES = ["nms", "soft_nms", "nmw", "wbf", "vote", "stack"]
MEMBERS = ("a", "b", "c")
BOX_PIXELS, SCORE = 0.01, 1e-4


def habit(spread):
    return EdgeHabit(
        knots=KNOTS, bias=np.zeros((len(KNOTS), 4)), spread=np.outer(spread * np.linspace(1, 2, len(KNOTS)), np.ones(4))
    )


def model():
    """Weights on every input, each with a say that a change would show."""
    weights = {f"{kind}/{name}": 0.1 + 0.1 * i for i, name in enumerate(MEMBERS) for kind in ("mean", "best")}
    inputs = {"views": 0.5, "votes": 0.7, "top": 0.2, "together": 0.3, "agreement": 2.0}
    return Stack(constant=-0.5, weights=weights | inputs | {"size": 0.2, "size2": -0.1, "overlap": -3.0, "inside": -2.0})


@st.composite
def scenes(draw):
    """Boxes on a coarse grid with scores in tenths: equal scores, equal boxes and sides that are just what a list can see."""
    number = st.integers(0, 8)
    row = st.tuples(number, number, st.integers(1, 4), st.integers(1, 4), st.integers(1, 10))
    lists, sources = [], []
    for _ in range(draw(st.integers(1, 5))):
        table = np.array(draw(st.lists(row, max_size=8)), np.float64).reshape(-1, 5)
        boxes = np.hstack([table[:, :2], table[:, :2] + table[:, 2:4]]) * 10
        lists.append(Faces.of(boxes, table[:, 4] / 10, points_in(boxes)))
        sources.append(
            Source(
                member=draw(st.integers(0, 2)),
                weight=draw(st.sampled_from([0.3, 0.7, 1.0, 1.1])),
                min_side=draw(st.sampled_from([0.0, 10.0, 20.0])),
                max_side=draw(st.sampled_from([30.0, np.inf])),
                scale=draw(st.sampled_from([0.5, 2.0])),
                edges=draw(st.sampled_from([None, habit(0.05), habit(0.1)])),
            )
        )
    return lists, sources


def fused(lists, sources, members, rule):
    score = Calibration(score=model()).final_scores if rule == "stack" else None
    return fuse_evidence(lists, sources, members, FusionSettings(rule=rule), None, score)


def table(fused):
    """(n, columns) all that is said of each face; silence is -1, members stand by name."""
    by_name = np.argsort(fused.votes.members)
    columns = (fused.faces.boxes, fused.faces.scores[:, None], fused.faces.landmarks.reshape(-1, 10))
    return np.hstack([*columns, fused.votes.edge_spread, np.nan_to_num(fused.votes.scores[:, by_name], nan=-1)])


def assert_same(a, b, *, votes=True):
    """The same faces in any order: each has its twin."""
    assert len(a.faces) == len(b.faces)
    first, second = (np.nan_to_num(table(f).astype(float), nan=-1) for f in (a, b))
    limits = np.repeat([BOX_PIXELS, SCORE, BOX_PIXELS, BOX_PIXELS, SCORE], [4, 1, 10, 4, len(MEMBERS)])
    off = (np.abs(first[:, None] - second[None]) / limits)[..., : None if votes else -len(MEMBERS)].max(axis=2)
    rows, twins = linear_sum_assignment(np.minimum(off, 1e6))
    assert off[rows, twins].max(initial=0) <= 1, (first, second)


@settings(max_examples=150, deadline=None)
@given(scene=scenes(), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("rule", RULES)
def test_order_of_lists_and_of_members(rule, scene, seed):
    lists, sources = scene
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(lists)), rng.permutation(len(MEMBERS))
    place = np.argsort(names)
    moved = [
        Source(member=int(place[s.member]), weight=s.weight, min_side=s.min_side, max_side=s.max_side, scale=s.scale, edges=s.edges)
        for s in (sources[i] for i in order)
    ]
    mixed = fused([lists[i] for i in order], moved, tuple(MEMBERS[i] for i in names), rule)
    # Soft-NMS fades the second of two equal boxes: where two members say the very same, either may be called the first.
    assert_same(fused(lists, sources, MEMBERS, rule), mixed, votes=rule != "soft_nms")


@pytest.mark.parametrize("rule", ["wbf", "stack"])
def test_the_last_digit_of_a_mean_does_not_decide_who_was_asked(rule):
    rng = np.random.default_rng(0)
    for _ in range(100):
        x = 3.0 * rng.integers(0, 9)
        lists = [Faces.of([[x, 5, x + 10, 15]], [score]) for score in rng.integers(1, 10, 4) / 10] + [Faces.empty()]
        sources = [Source(member=0, weight=float(w), min_side=10.0) for w in rng.choice([0.3, 0.7, 1.0, 1.1], 5)]
        order = rng.permutation(5)
        plain = fused(lists, sources, MEMBERS, rule)
        mixed = fused([lists[i] for i in order], [sources[i] for i in order], MEMBERS, rule)
        assert plain.evidence.asked.all()
        assert mixed.evidence.asked.all()
        assert_same(plain, mixed)
