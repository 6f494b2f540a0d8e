"""Quality for identity: its ingredients, that it is monotone in each, and its file."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.errors import ConfigError
from auto_annotator.quality import (
    DEFAULT,
    FRONTAL_PITCH,
    FaceMeasures,
    Ingredient,
    QualityModel,
    ingredients,
    measure,
    pose,
    sharpness,
)
from auto_annotator.types import Faces

FRONTAL = np.array([[0.3, 0.3], [0.7, 0.3], [0.5, 0.3 + 0.5 * FRONTAL_PITCH], [0.35, 0.8], [0.65, 0.8]])
MODEL = QualityModel(
    constant=1.0,
    ingredients={
        name: Ingredient(weight=weight, typical=typical)
        for name, weight, typical in (
            ("size", 1.0, 0.0),
            ("sharpness", 0.5, -2.0),
            ("frontal", 4.0, -0.1),
            ("level", 3.0, -0.1),
            ("agreement/a", 4.0, -0.4),
            ("strength/a", 2.0, 2.0),
        )
    },
)


def measures(**columns):
    values = {"side": 100.0, "score": 0.99, "sharpness": 0.1, "yaw": 0.0, "pitch": FRONTAL_PITCH} | columns
    a = {
        key: np.atleast_1d(np.asarray(values.pop(key, default), float)) for key, default in (("agreement", 0.9), ("strength", 8.0))
    }
    n = max(np.size(v) for v in (*values.values(), *a.values()))
    column = {k: np.broadcast_to(np.asarray(v, float), (n,)) for k, v in values.items()}
    return FaceMeasures(**column, **{k: {"a": np.broadcast_to(v, (n,))} for k, v in a.items()})


def picture(seed=0, size=112):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)


class TestSharpness:
    def test_blur_lowers_it(self):
        import cv2

        small = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
        crop = cv2.resize(small, (112, 112), interpolation=cv2.INTER_CUBIC)
        values = [sharpness(crop), *(sharpness(cv2.GaussianBlur(crop, (0, 0), s)) for s in (1.0, 2.0, 4.0))]
        assert values == sorted(values, reverse=True)
        assert values[0] > 4 * values[-1]

    def test_contrast_does_not_count(self):
        crop = picture()
        assert sharpness((crop // 2 + 60).astype(np.uint8)) == pytest.approx(sharpness(crop), rel=0.05)

    def test_a_flat_crop_has_none(self):
        assert sharpness(np.full((112, 112, 3), 90, np.uint8)) == pytest.approx(0.0, abs=1e-12)

    def test_by_hand(self):
        crop = np.zeros((20, 20, 3), np.uint8)
        crop[10, 10] = 200  # rows and columns 4..18 count: 14 x 14 pixels, 12 x 12 of them with all neighbours
        mean = 200 / 196
        variance = 200**2 / 196 - mean**2
        assert sharpness(crop) == pytest.approx((800**2 + 4 * 200**2) / 144 / (variance + 25))


class TestPose:
    def test_frontal(self):
        yaw, pitch = pose(FRONTAL[None])
        assert yaw[0] == pytest.approx(0, abs=1e-12)
        assert pitch[0] == pytest.approx(FRONTAL_PITCH)

    def test_a_turned_picture_changes_nothing(self):
        turned = FRONTAL + np.array([[0, 0], [0, 0], [0.1, -0.05], [0, 0], [0, 0]])
        angle = 0.7
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        np.testing.assert_allclose(pose(turned[None]), pose((turned @ rotation.T * 37 + 5)[None]), atol=1e-9)

    def test_sides_and_directions(self):
        right = FRONTAL + np.array([[0, 0], [0, 0], [0.1, 0], [0, 0], [0, 0]])
        up = FRONTAL + np.array([[0, 0], [0, 0], [0, -0.1], [0, 0], [0, 0]])
        np.testing.assert_allclose(pose(right[None])[0], [0.2])
        np.testing.assert_allclose(pose(up[None])[1], [FRONTAL_PITCH - 0.2])

    @pytest.mark.parametrize("points", [np.full((5, 2), np.nan), np.zeros((5, 2))])
    def test_unknown(self, points):
        assert np.isnan(pose(points[None])).all()


class TestMeasure:
    def faces(self, n=3):
        return Faces.of(np.tile([[0, 0, 40, 90]], (n, 1)), np.full(n, 0.9), np.tile(FRONTAL * 40, (n, 1, 1)))

    def test_columns(self):
        plain = {"a": [[3, 0], [0, 0], [2, 2]], "b": np.ones((3, 4))}
        mirrored = {"a": [[0, 3], [0, 0], [2, 2]]}
        got = measure(self.faces(), [0.1, np.nan, 0.2], plain, mirrored)
        np.testing.assert_allclose(got.side, 60)
        np.testing.assert_allclose(got.agreement["a"], [0, np.nan, 1])
        np.testing.assert_allclose(got.strength["a"], [np.sqrt(18) / 2, np.nan, np.sqrt(8)])
        np.testing.assert_allclose(got.strength["b"], 2)
        assert "b" not in got.agreement
        assert len(got) == 3

    def test_no_face(self):
        got = measure(Faces.empty(), [], {"a": np.zeros((0, 2))}, {"a": np.zeros((0, 2))})
        assert len(got) == 0
        assert DEFAULT(got).shape == (0,)

    def test_rows_must_fit(self):
        with pytest.raises(ValueError, match="expected 3 rows"):
            measure(self.faces(), [0.1], {"a": np.ones((3, 2))}, {})


class TestModel:
    @pytest.mark.parametrize(
        ("name", "worse_to_better"),
        [
            ("side", [4, 8, 16, 50, 112, 500]),
            ("score", [0.01, 0.3, 0.9, 0.999]),
            ("sharpness", [0, 0.001, 0.01, 0.1, 1]),
            ("yaw", [0.6, -0.5, 0.2, -0.1, 0.0]),
            ("pitch", [1.2, 0.2, 0.6, FRONTAL_PITCH]),
            ("agreement", [-0.5, 0.0, 0.5, 0.9, 1.0]),
            ("strength", [0.0, 1.0, 5.0, 20.0]),
        ],
    )
    def test_monotone_in_each_measure(self, name, worse_to_better):
        quality = MODEL(measures(**{name: worse_to_better}))
        assert (np.diff(quality) >= 0).all()
        assert quality[-1] > quality[0]
        assert ((quality >= 0) & (quality <= 1)).all()
        assert quality.dtype == np.float32

    def test_beyond_the_size_of_the_crop_size_is_no_gain(self):
        np.testing.assert_array_equal(*MODEL(measures(side=[112.0, 4000.0]))[[[0], [1]]])

    def test_a_typical_face_has_the_constant(self):
        typical = {n: np.array([i.typical]) for n, i in MODEL.ingredients.items()}
        face = measures(
            sharpness=np.exp(typical["sharpness"]),
            yaw=0.1,
            pitch=FRONTAL_PITCH + 0.1,
            side=112,
            agreement=np.cos(0.4),
            strength=np.exp(2.0),
        )
        assert MODEL.log_odds(face)[0] == pytest.approx(1.0)

    def test_what_is_not_known_is_typical(self):
        known = measures(yaw=0.1, pitch=FRONTAL_PITCH + 0.1)
        unknown = replace(known, yaw=np.array([np.nan]), pitch=np.array([np.nan]))
        np.testing.assert_allclose(MODEL(unknown), MODEL(known), atol=1e-6)
        without = replace(known, agreement={}, strength={})
        assert np.isfinite(MODEL(without)).all()

    @given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=7, max_size=7))
    @settings(max_examples=200, deadline=None)
    def test_any_measure_gives_a_quality(self, values):
        names = ("side", "score", "sharpness", "yaw", "pitch", "agreement", "strength")
        quality = MODEL(measures(**dict(zip(names, values, strict=True))))
        assert ((quality >= 0) & (quality <= 1)).all()

    def test_every_ingredient_has_a_name_that_is_measured(self):
        assert set(MODEL.ingredients) == set(ingredients(measures()))

    def test_the_score_multiplies(self):
        np.testing.assert_allclose(MODEL(measures(score=[0.5, 0.0])), MODEL(measures(score=1.0)) * [0.5, 0.0], rtol=1e-6)
        assert MODEL(measures(score=np.nan))[0] == 0

    def test_file_round_trip(self):
        again = QualityModel.from_json(json.loads(json.dumps(MODEL.to_json())))
        assert again == MODEL

    def test_an_empty_section_is_the_default(self):
        assert QualityModel.from_json({}) is DEFAULT

    @pytest.mark.parametrize(
        "data",
        [
            {"constant": 1.0},
            {"constant": 1.0, "ingredients": {"size": {"weight": -1.0, "typical": 0.0}}},
            {"constant": 1.0, "ingredients": {"size": {"weight": 1.0}}},
            {"constant": "x", "ingredients": {}},
            {"constant": 1.0, "ingredients": []},
        ],
    )
    def test_what_a_file_refuses(self, data):
        with pytest.raises(ConfigError, match="fit the descriptor calibration again"):
            QualityModel.from_json(data)
