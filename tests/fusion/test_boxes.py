"""What holds for every rule and every input, and the invariances of the result."""

import numpy as np
import pytest
from fusion.scenes import faces, points_in, seen, sources_of
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.fusion.boxes import FusionSettings, Source, fuse_boxes
from auto_annotator.fusion.faces import fuse_faces
from auto_annotator.types import Faces

RULES = ["nms", "soft_nms", "nmw", "wbf", "vote"]
CLUSTERING = ["nms", "nmw", "wbf", "vote"]
INVARIANT = 1e-4
NAMES = [f"m{i}" for i in range(20)]


@st.composite
def scenes(draw):
    """Lists of boxes on a coarse grid, so that touching, nested, equal and empty boxes and equal scores are common."""
    lists, number = [], st.integers(0, 12)
    row = st.tuples(number, number, number, number, st.integers(0, 10))
    for _ in range(draw(st.integers(1, 4))):
        table = np.array(draw(st.lists(row, max_size=8)), np.float64).reshape(-1, 5)
        boxes = np.hstack([np.minimum(table[:, :2], table[:, 2:4]), np.maximum(table[:, :2], table[:, 2:4])]) * 5
        lists.append(Faces.of(boxes, table[:, 4] / 10, points_in(boxes)))
    sources = [Source(member=draw(st.integers(0, 2)), weight=draw(st.sampled_from([0.5, 1.0, 2.0]))) for _ in lists]
    return lists, sources


@settings(max_examples=150, deadline=None)
@given(scene=scenes(), iou=st.sampled_from([0.2, 0.5, 0.8]), votes=st.integers(1, 3))
@pytest.mark.parametrize("rule", RULES)
def test_whatever_comes_in(rule, scene, iou, votes):
    lists, sources = scene
    fused = fuse_boxes(lists, sources, FusionSettings(rule=rule, iou=iou, min_votes=votes))
    rows = Faces.concat(lists)
    assert fused.membership.shape == fused.source.shape == (len(rows),)
    assert fused.membership.min(initial=0) >= -1
    assert np.array_equal(np.unique(fused.membership[fused.membership >= 0]), np.arange(len(fused)))
    assert ((fused.scores >= 0) & (fused.scores <= 1 + 1e-6)).all()
    assert (np.diff(fused.scores) <= 0).all()
    for k in range(len(fused)):
        mine = np.flatnonzero(fused.membership == k)
        hull = np.r_[rows.boxes[mine, :2].min(0), rows.boxes[mine, 2:].max(0)]
        assert (fused.boxes[k, :2] >= hull[:2] - 1e-4).all()
        assert (fused.boxes[k, 2:] <= hull[2:] + 1e-4).all()
        assert fused.scores[k] <= rows.scores[mine].max() + 1e-6
        assert len({sources[s].member for s in fused.source[mine]}) >= votes
        if rule in CLUSTERING:
            assert len(set(fused.source[mine])) == len(mine)


@settings(max_examples=100, deadline=None)
@given(scene=scenes(), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("rule", RULES)
def test_order_of_lists_and_rows(rule, scene, seed):
    lists, sources = scene
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(lists))
    mixed = [lists[m].select(rng.permutation(len(lists[m]))) for m in order]
    a = fuse_boxes(lists, sources, FusionSettings(rule=rule))
    b = fuse_boxes(mixed, [sources[m] for m in order], FusionSettings(rule=rule))
    assert a.boxes == pytest.approx(b.boxes, abs=1e-4)
    assert a.scores == pytest.approx(b.scores, abs=1e-6)


@pytest.fixture(params=range(8))
def crowd(request):
    return seen(np.random.default_rng(request.param), count=20, members=4, jitter=0.25)


def everything(lists, sources, rule):
    result, votes, _ = fuse_faces(lists, sources, NAMES, FusionSettings(rule=rule))
    return result, votes


def assert_same(a, b, scale=1000.0):
    (faces_a, votes_a), (faces_b, votes_b) = a, b
    assert faces_a.boxes == pytest.approx(faces_b.boxes, abs=INVARIANT * scale)
    assert faces_a.scores == pytest.approx(faces_b.scores, abs=INVARIANT)
    assert faces_a.landmarks == pytest.approx(faces_b.landmarks, abs=INVARIANT * scale, nan_ok=True)
    assert votes_a.edge_spread == pytest.approx(votes_b.edge_spread, abs=INVARIANT * scale, nan_ok=True)
    assert votes_a.landmark_spread == pytest.approx(votes_b.landmark_spread, abs=INVARIANT * scale, nan_ok=True)


@pytest.mark.parametrize("rule", RULES)
def test_invariant_to_the_order_of_members(crowd, rule):
    order = [2, 0, 3, 1]
    sources = sources_of(crowd, [1, 2, 0.5, 1])
    assert_same(everything(crowd, sources, rule), everything([crowd[m] for m in order], [sources[m] for m in order], rule))


@pytest.mark.parametrize("rule", ["nms", "nmw", "wbf", "vote"])
def test_invariant_to_a_member_twice_with_half_weight(crowd, rule):
    plain = everything(crowd, sources_of(crowd), rule)
    twice = everything([crowd[0], *crowd], sources_of([crowd[0], *crowd], [0.5, 0.5, 1, 1, 1]), rule)
    for a, b in ((plain[0].boxes, twice[0].boxes), (plain[0].landmarks, twice[0].landmarks)):
        assert a == pytest.approx(b, abs=INVARIANT * 1000, nan_ok=True)
    assert plain[0].scores == pytest.approx(twice[0].scores, abs=INVARIANT)


@pytest.mark.parametrize("rule", RULES)
def test_invariant_to_scale(crowd, rule):
    double = [Faces.of(f.boxes * 2, f.scores, f.landmarks * 2) for f in crowd]
    result, votes = everything(double, sources_of(crowd), rule)
    half = Faces.of(result.boxes / 2, result.scores, result.landmarks / 2)
    spread = type(votes)(
        members=votes.members, scores=votes.scores, edge_spread=votes.edge_spread / 2, landmark_spread=votes.landmark_spread / 2
    )
    assert_same(everything(crowd, sources_of(crowd), rule), (half, spread))


@pytest.mark.parametrize("rule", RULES)
def test_invariant_to_mirroring(crowd, rule):
    from auto_annotator.geometry import flip_faces

    plain = everything(crowd, sources_of(crowd), rule)
    result, votes = everything([flip_faces(f, 1000) for f in crowd], sources_of(crowd), rule)
    back = type(votes)(
        members=votes.members,
        scores=votes.scores,
        edge_spread=votes.edge_spread[:, [2, 1, 0, 3]],
        landmark_spread=votes.landmark_spread[:, [1, 0, 2, 4, 3]],
    )
    assert_same(plain, (flip_faces(result, 1000), back))


def test_scale_of_weights_has_no_say(crowd):
    a = fuse_boxes(crowd, sources_of(crowd, [1, 2, 3, 4]), FusionSettings())
    b = fuse_boxes(crowd, sources_of(crowd, [10, 20, 30, 40]), FusionSettings())
    assert a.boxes == pytest.approx(b.boxes, abs=1e-3)
    assert a.scores == pytest.approx(b.scores, abs=1e-6)


def test_more_votes_needed_keep_a_part_of_the_faces(crowd):
    kept = [{tuple(b) for b in fuse_boxes(crowd, sources_of(crowd), FusionSettings(min_votes=k)).boxes} for k in (1, 2, 3, 4)]
    assert kept[0] > kept[1] >= kept[2] >= kept[3]


def test_rules_differ_as_described():
    lists = [faces((0, 0, 100, 100, 0.9)), faces((10, 0, 110, 100, 0.3)), Faces.empty()]
    result = {rule: fuse_boxes(lists, sources_of(lists), FusionSettings(rule=rule)) for rule in RULES}
    assert result["nms"].boxes.tolist() == [[0, 0, 100, 100]]
    assert result["nms"].membership.tolist() == [0, 0]
    assert result["wbf"].boxes[0] == pytest.approx([2.5, 0, 102.5, 100], abs=1e-4)
    assert result["wbf"].scores[0] == pytest.approx(1.2 / 3)
    assert result["vote"].scores[0] == pytest.approx(1.2 / 2)
    assert result["vote"].boxes == pytest.approx(result["wbf"].boxes)
    share = 0.3 * (90 / 110) / (0.9 + 0.3 * 90 / 110)
    assert result["nmw"].boxes[0] == pytest.approx([10 * share, 0, 100 + 10 * share, 100], abs=1e-4)
    assert result["nmw"].scores[0] == pytest.approx(0.9)
    assert result["soft_nms"].scores == pytest.approx([0.9, 0.3 * np.exp(-((90 / 110) ** 2) / 0.5)], abs=1e-6)


def test_faces_of_score_zero_are_fused():
    lists = [faces((0, 0, 10, 10, 0)), faces((2, 0, 12, 10, 0))]
    fused = fuse_boxes(lists, sources_of(lists), FusionSettings())
    assert fused.boxes[0] == pytest.approx([1, 0, 11, 10])
    assert fused.scores.tolist() == [0]


def test_boxes_without_area_belong_to_no_face():
    lists = [faces((0, 0, 10, 10, 0.5), (5, 5, 5, 9, 0.9))]
    assert fuse_boxes(lists, sources_of(lists), FusionSettings()).membership.tolist() == [0, -1]


@pytest.mark.parametrize(("row", "message"), [
    ((0, 0, np.nan, 10, 0.5), "not finite"),
    ((0, 0, np.inf, 10, 0.5), "not finite"),
    ((10, 0, 0, 10, 0.5), "inverted"),
    ((0, 0, 10, 10, 1.5), "outside 0..1"),
    ((0, 0, 10, 10, np.nan), "outside 0..1"),
])  # fmt: skip
def test_garbage_is_refused(row, message):
    lists = [faces((0, 0, 10, 10, 0.5)), faces(row)]
    with pytest.raises(ValueError, match=rf"list 1 .*{message}"):
        fuse_boxes(lists, sources_of(lists), FusionSettings())


@pytest.mark.parametrize("wrong", [{"rule": "mean"}, {"iou": 0}, {"iou": 1}, {"sigma": 0}, {"min_votes": 0}])
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=r"got .*expected"):
        FusionSettings(**wrong)


@pytest.mark.parametrize("wrong", [{"member": -1}, {"member": 0, "weight": 0}, {"member": 0, "min_side": 5, "max_side": 4}])
def test_sources_are_checked(wrong):
    with pytest.raises(ValueError, match=r"got .*expected"):
        Source(**wrong)


def test_lists_and_sources_must_fit():
    with pytest.raises(ValueError, match="1 lists and 0 sources"):
        fuse_boxes([Faces.empty()], [], FusionSettings())
    with pytest.raises(ValueError, match="member 3"):
        fuse_faces([Faces.empty()], [Source(member=3)], ["a"], FusionSettings())
    with pytest.raises(ValueError, match="2 landmark weights for 1 sources"):
        fuse_faces([Faces.empty()], [Source(member=0)], ["a"], FusionSettings(), [1, 2])


def test_votes_of_fused_faces():
    lists = [faces((0, 0, 100, 100, 0.9)), faces((4, 0, 104, 100, 0.7)), faces((300, 0, 400, 100, 0.4))]
    sources = [Source(member=0), Source(member=0), Source(member=2)]
    result, votes, opinions = fuse_faces(lists, sources, ["a", "b", "c"], FusionSettings())
    assert votes.members == ("a", "b", "c")
    assert votes.scores == pytest.approx(np.array([[0.9, np.nan, np.nan], [np.nan, np.nan, 0.4]]), nan_ok=True)
    assert votes.edge_spread[0] == pytest.approx([2, 0, 2, 0], abs=1e-5)
    assert np.isnan(votes.edge_spread[1]).all()
    assert votes.landmark_spread[0] == pytest.approx(np.full(5, 2.0), abs=1e-3)
    assert np.isnan(votes.landmark_spread[1]).all()
    assert opinions.points.shape == (2, 2, 5, 2)
    assert result.landmarks[1] == pytest.approx(lists[2].landmarks[0], abs=1e-4)


def test_a_member_without_say_in_the_landmarks():
    lists = [faces((0, 0, 100, 100, 0.9)), faces((4, 0, 104, 100, 0.7))]
    result, votes, _ = fuse_faces(lists, sources_of(lists), ["a", "b"], FusionSettings(), [0, 1])
    assert result.landmarks[0] == pytest.approx(lists[1].landmarks[0], abs=1e-4)
    assert np.isnan(votes.landmark_spread).all()
