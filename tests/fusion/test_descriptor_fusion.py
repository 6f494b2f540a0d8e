"""The fused vector, its calibration and its file: what holds for every ensemble, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.errors import ConfigError
from auto_annotator.fusion.descriptor_fit import fit_log_odds
from auto_annotator.fusion.descriptors import (
    DescriptorCalibration,
    MemberCalibration,
    fuse_descriptors,
    unit_rows,
)

CLOSE = 1e-5


def member(name, dimension, coefficient, **more):
    return MemberCalibration(name=name, dimension=dimension, coefficient=coefficient, **more)


@st.composite
def ensembles(draw):
    """A calibration of 1..4 members, vectors of raw lengths of 1..8 faces, and which of them are missing."""
    count, n = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    members, vectors, known = [], {}, {}
    for i in range(count):
        d = int(rng.integers(2, 40))
        neutral = rng.normal(size=d)
        neutral *= rng.uniform(0, 1) / np.linalg.norm(neutral)
        origin = rng.normal(size=d)
        origin *= rng.uniform(0, 0.9) / np.linalg.norm(origin)
        more = {"neutral": neutral if rng.random() < 0.5 else None, "origin": origin if rng.random() < 0.5 else None}
        members.append(member(f"m{i}", d, float(rng.uniform(0.1, 50)), **more))
        rows = rng.normal(size=(n, d)) * np.exp(rng.normal(0, 3, (n, 1)))
        known[f"m{i}"] = rng.random(n) < draw(st.sampled_from([1.0, 0.6, 0.0]))
        rows[~known[f"m{i}"]] = rng.choice([0.0, np.nan])
        vectors[f"m{i}"] = rows
    return DescriptorCalibration(members=tuple(members)), vectors, known


def member_cosines(calibration, vectors, known):
    """(n, n, m) cosines of the members, a neutral vector standing in where one is missing."""
    tables = []
    for m in calibration.members:
        rows = np.nan_to_num(vectors[m.name])
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
        rows = rows - (0 if m.origin is None else m.origin)
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
        neutral = np.zeros(m.dimension) if m.neutral is None else m.neutral
        rows = np.where(known[m.name][:, None], rows, neutral)
        tables.append(rows @ rows.T)
    return np.stack(tables, axis=-1)


@given(ensembles())
@settings(max_examples=150, deadline=None)
def test_inner_product_is_the_fused_score(case):
    calibration, vectors, known = case
    fused = fuse_descriptors(vectors, calibration)
    any_known = np.any([known[m.name] for m in calibration.members], axis=0)
    expected = calibration.fused_cosine(member_cosines(calibration, vectors, known))
    expected = np.where(any_known[:, None] & any_known[None], expected, 0.0)
    assert fused.dtype == np.float32
    np.testing.assert_allclose(fused @ fused.T, expected, atol=CLOSE)


@given(ensembles())
@settings(max_examples=100, deadline=None)
def test_rows_are_unit_shorter_or_zero(case):
    calibration, vectors, known = case
    lengths = np.linalg.norm(fuse_descriptors(vectors, calibration), axis=1)
    present = np.array([known[m.name] for m in calibration.members])
    assert np.isfinite(lengths).all()
    np.testing.assert_allclose(lengths[present.all(axis=0)], 1, atol=CLOSE)
    assert (lengths <= 1 + 1e-3).all()
    np.testing.assert_array_equal(lengths == 0, ~present.any(axis=0))


@given(ensembles(), st.floats(1e-3, 1e3))
@settings(max_examples=60, deadline=None)
def test_length_of_a_members_vectors_does_not_count(case, factor):
    """Seed bug B11: raw lengths of 24.71 and 1.00 gave one member 0.16 % of the say."""
    calibration, vectors, _ = case
    first = calibration.members[0].name
    longer = vectors | {first: unit_rows(vectors[first])[0] * factor}
    np.testing.assert_allclose(fuse_descriptors(longer, calibration), fuse_descriptors(vectors, calibration), atol=CLOSE)


def test_a_face_is_the_same_alone_and_among_others():
    rng = np.random.default_rng(0)
    calibration = DescriptorCalibration(members=(member("a", 8, 3.0), member("b", 5, 1.0)))
    vectors = {"a": rng.normal(size=(6, 8)), "b": rng.normal(size=(6, 5))}
    whole = fuse_descriptors(vectors, calibration)
    for i in range(6):
        np.testing.assert_array_equal(
            whole[i : i + 1], fuse_descriptors({k: v[i : i + 1] for k, v in vectors.items()}, calibration)
        )


def test_a_missing_member_says_what_it_says_of_strangers():
    rng = np.random.default_rng(1)
    centre = np.zeros(64)
    centre[0] = 3.0
    crowd = unit_rows(rng.normal(size=(4000, 64)) * 0.2 + centre)[0]
    calibration = DescriptorCalibration(
        members=(member("a", 4, 1.0), member("b", 64, 1.0, neutral=crowd.mean(axis=0))),
    )
    a = np.ones((2, 4))
    b = np.stack([crowd[0], np.zeros(64)])
    fused = fuse_descriptors({"a": a, "b": b}, calibration)
    strangers = np.mean(crowd[:2000] * crowd[2000:] @ np.ones(64))
    assert fused[0] @ fused[1] == pytest.approx((1 + strangers) / 2, abs=0.02)


def test_a_member_that_is_absent_everywhere():
    calibration = DescriptorCalibration(members=(member("a", 3, 1.0), member("b", 3, 3.0)))
    fused = fuse_descriptors({"a": np.eye(3)}, calibration)
    np.testing.assert_allclose(fused @ fused.T, np.eye(3) / 4, atol=CLOSE)


def test_a_member_without_say_makes_no_descriptor():
    calibration = DescriptorCalibration(members=(member("a", 3, 0.0), member("b", 3, 1.0)))
    assert not fuse_descriptors({"a": np.eye(3), "b": np.zeros((3, 3))}, calibration).any()


def test_no_face():
    calibration = DescriptorCalibration.equal({"a": 3, "b": 2})
    assert fuse_descriptors({"a": np.zeros((0, 3)), "b": np.zeros((0, 2))}, calibration).shape == (0, 5)


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({"c": np.eye(3)}, r"got vectors of \['c'\], expected of \['a', 'b'\]"),
        ({}, "no member"),
        ({"a": np.eye(3), "b": np.eye(2)}, "different numbers of rows"),
        ({"a": np.eye(2)}, "got 2 numbers of member a, expected 3"),
        ({"a": np.zeros(3)}, "expected .n, d."),
    ],
)
def test_what_fusion_refuses(vectors, message):
    with pytest.raises(ValueError, match=message):
        fuse_descriptors(vectors, DescriptorCalibration.equal({"a": 3, "b": 2}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"dimension": 0},
        {"coefficient": -1.0},
        {"coefficient": float("inf")},
        {"slope": float("nan")},
        {"offset": float("nan")},
        {"neutral": np.zeros(3)},
        {"origin": np.zeros(3)},
        {"origin": np.full(2, 1.0)},
        {"neutral": np.full(2, 2.0)},
        {"neutral": np.full(2, np.nan)},
    ],
)
def test_what_a_member_refuses(wrong):
    with pytest.raises(ValueError, match="member a"):
        MemberCalibration(**({"name": "a", "dimension": 2, "coefficient": 1.0} | wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": ()},
        {"members": (member("a", 2, 1.0), member("a", 2, 1.0))},
        {"members": (member("a", 2, 0.0),)},
        {"threshold": 1.5},
        {"slope": 0.0},
    ],
)
def test_what_a_calibration_refuses(wrong):
    with pytest.raises(ValueError, match=r"got|coefficients"):
        DescriptorCalibration(**({"members": (member("a", 2, 1.0),)} | wrong))


def test_file_round_trip():
    calibration = DescriptorCalibration(
        members=(
            member("a", 3, 12.5, slope=14.0, offset=-4.0, neutral=[0.25, -0.5, 0.125], origin=[0.5, 0, 0]),
            member("b", 2, 3.0),
        ),
        threshold=0.4,
        slope=30.0,
        quality={"limit": 1.5},
        provenance={"command": "x"},
    )
    again = DescriptorCalibration.from_json(json.loads(json.dumps(calibration.to_json())))
    assert again.to_json() == calibration.to_json()
    np.testing.assert_array_equal(again.members[0].neutral, calibration.members[0].neutral)
    np.testing.assert_array_equal(again.members[0].origin, calibration.members[0].origin)
    assert again.dimension == 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "expected an object"),
        ({"fused": {"threshold": 0.4, "slope": 1.0}}, "has no 'members'"),
        ({"members": [], "fused": {"threshold": 0.4, "slope": 1.0}}, "expected at least one"),
        ({"members": [{"name": "a"}], "fused": {}}, "dimension"),
        ({"members": [{"name": "a", "dimension": 2, "coefficient": 1.0, "colour": 3}], "fused": {}}, "colour"),
        ({"members": [{"name": "a", "dimension": 2, "coefficient": 1.0}], "fused": {"slope": 1.0}}, "has no 'threshold'"),
        ({"members": 3, "fused": {}}, "fit it again"),
    ],
)
def test_what_a_file_refuses(data, message):
    with pytest.raises(ConfigError, match=message):
        DescriptorCalibration.from_json(data)


def test_log_odds_are_even_at_the_threshold():
    calibration = DescriptorCalibration(members=(member("a", 2, 1.0),), threshold=0.3, slope=20.0)
    np.testing.assert_allclose(calibration.log_odds([0.3, 0.4]), [0.0, 2.0], atol=1e-12)
    with pytest.raises(ValueError, match="no threshold"):
        DescriptorCalibration.equal({"a": 2}).log_odds(0.3)
    assert member("a", 2, 1.0, slope=2.0, offset=-1.0).log_odds(0.5) == pytest.approx(0.0)


class TestFit:
    """Two Gaussians of equal spread have log-odds that are linear: slope = gap / variance."""

    def pairs(self, n=40_000, seed=0):
        rng = np.random.default_rng(seed)
        same = rng.random(n) < 0.3
        good = rng.normal(np.where(same, 0.6, 0.2), 0.1)
        weak = rng.normal(np.where(same, 0.5, 0.3), 0.1)
        return np.stack([good, weak], axis=1), same

    def test_recovers_what_made_the_pairs(self):
        cosines, same = self.pairs()
        coefficients, constant = fit_log_odds(cosines, same)
        np.testing.assert_allclose(coefficients, [40, 20], rtol=0.05)
        assert constant == pytest.approx(-(40 * 0.4 + 20 * 0.4), rel=0.05)  # even prior: whatever the share of same pairs

    @pytest.mark.parametrize("prior", [0.9, 0.1, 1e-3])
    def test_the_prior_does_not_move_what_is_linear(self, prior):
        cosines, same = self.pairs(200_000)
        coefficients, constant = fit_log_odds(cosines, same, prior=prior)
        np.testing.assert_allclose(coefficients, [40, 20], rtol=0.1)
        assert constant == pytest.approx(-24, rel=0.1)

    def test_weights_are_repetitions(self):
        cosines, same = self.pairs(2000)
        weights = np.random.default_rng(3).integers(1, 4, len(same))
        repeated = fit_log_odds(np.repeat(cosines, weights, axis=0), np.repeat(same, weights))
        weighted = fit_log_odds(cosines, same, weights)
        np.testing.assert_allclose(weighted[0], repeated[0], rtol=1e-4)
        assert weighted[1] == pytest.approx(repeated[1], rel=1e-4)

    def test_a_harmful_member_gets_no_say(self):
        cosines, same = self.pairs(5000)
        wrong = np.stack([cosines[:, 0], -cosines[:, 1]], axis=1)
        coefficients, _ = fit_log_odds(wrong, same)
        assert coefficients[0] > 0
        assert coefficients[1] == 0

    def test_separable_pairs_stay_finite(self):
        coefficients, constant = fit_log_odds([[0.1], [0.2], [0.8], [0.9]], [False, False, True, True])
        assert np.isfinite(coefficients).all()
        assert coefficients[0] > 0
        assert np.isfinite(constant)

    @pytest.mark.parametrize(
        ("cosines", "same", "message"),
        [
            (np.zeros((2, 1)), [True, True], "one class"),
            (np.zeros(2), [True, False], "expected finite"),
            (np.full((2, 1), np.nan), [True, False], "expected finite"),
        ],
    )
    def test_what_it_refuses(self, cosines, same, message):
        with pytest.raises(ValueError, match=message):
            fit_log_odds(cosines, same)

    def test_it_refuses_a_prior_that_is_none(self):
        with pytest.raises(ValueError, match="got prior 1"):
            fit_log_odds([[0.1], [0.9]], [False, True], prior=1.0)
