"""How far a face can be trusted for identity: 0..1, from what its descriptors and its points say of it.

The number is a probability with a meaning: that two photos of one person, both as good as this one, are recognised as one person
at the threshold of the model set. Its ingredients, each monotone (more is never worse):

- agreement: cosine of the descriptors of the crop and of the mirrored crop, by member. A recogniser that sees another person in
  the mirror has not seen the person (occlusion, blur, a turned head).
- strength: length of the raw vector, by member. Networks trained with a softmax give short vectors to what they do not know.
- size in pixels, sharpness of the crop, how frontal the points are.
- the detection score: it is the probability that there is a face at all, and multiplies what the others say.

Sources: Terhorst et al., SER-FIQ (CVPR 2020), for agreement; Meng et al., MagFace (CVPR 2021), for strength; Deng et al.,
recognisability embedding (WACV 2023), for why such faces must not decide who is who.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.errors import ConfigError
from auto_annotator.geometry import box_sides, pose
from auto_annotator.types import Faces, Float32Array, Image

Float64Array = npt.NDArray[np.float64]

SIZE_ENOUGH = 112.0
"""Box side in pixels from which size no longer counts: recognisers look at 112 pixels."""

CENTRE = (0.2, 0.9)
"""Part of the crop's height and width whose sharpness counts: the face without what is around it."""

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601 luma
_FLAT = 25.0
"""Variance of the grey values below which contrast is only noise (5 of 255 levels)."""
_FLOOR = 1e-3
"""Smallest measure whose logarithm is taken."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FaceMeasures:
    """What is measured on each face of a picture. NaN = not known.

    Attributes:
        side: (n,) geometric mean side of the box in pixels.
        score: (n,) detection score, 0..1.
        sharpness: (n,) energy of the Laplacian of the aligned crop over the variance of its grey values.
        yaw: (n,) `pose`, how far the nose lies beside the middle line, in lengths from eyes to mouth: 0 frontal, 0.3 half turned.
        pitch: (n,) `pose`, how far down from the eyes to the mouth the nose lies: 0.53 frontal, less = head up, more = head down.
        agreement: by member, (n,) cosine of the vectors of the crop and of the mirrored crop.
        strength: by member, (n,) length of the raw vector.
    """

    side: Float64Array
    score: Float64Array
    sharpness: Float64Array
    yaw: Float64Array
    pitch: Float64Array
    agreement: Mapping[str, Float64Array]
    strength: Mapping[str, Float64Array]

    def __len__(self) -> int:
        return len(self.side)


def sharpness(crop: Image) -> float:
    """Energy of the Laplacian over the variance of the grey values in the middle of an aligned crop, >= 0.

    Args:
        crop: RGB (h, w, 3) uint8. Crops of one size compare; a small face that was enlarged is as unsharp as a blurred one.
    """
    grey = crop.astype(np.float64) @ _GREY
    low, high = (np.array(CENTRE)[:, None] * grey.shape).astype(int)
    inner = grey[low[0] : high[0], low[1] : high[1]]
    laplacian = inner[:-2, 1:-1] + inner[2:, 1:-1] + inner[1:-1, :-2] + inner[1:-1, 2:] - 4 * inner[1:-1, 1:-1]
    return float((laplacian**2).mean() / (inner.var() + _FLAT))


def measure(
    faces: Faces,
    sharp: npt.ArrayLike,
    plain: Mapping[str, npt.ArrayLike],
    mirrored: Mapping[str, npt.ArrayLike],
) -> FaceMeasures:
    """Everything that the quality is made of.

    Args:
        faces: boxes, scores and points.
        sharp: (n,) `sharpness` of the aligned crops, NaN where there is none.
        plain: by member, (n, d) raw vectors; rows of zeros = none.
        mirrored: the same of the mirrored crops; members that do not mirror are absent.

    Raises:
        ValueError: if a column has another number of rows.
    """
    n = len(faces)
    if len(np.asarray(sharp)) != n or any(len(np.asarray(v)) != n for v in (*plain.values(), *mirrored.values())):
        raise ValueError(f"measures: expected {n} rows in every column, as many as faces")
    yaw, pitch = pose(faces.landmarks)
    agreement, strength = {}, {}
    for name, rows in plain.items():
        first = np.asarray(rows, np.float64)
        second = np.asarray(mirrored[name], np.float64) if name in mirrored else first
        with np.errstate(invalid="ignore", divide="ignore"):
            lengths = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
            if name in mirrored:
                agreement[name] = (first * second).sum(axis=1) / (lengths[0] * lengths[1])
            strength[name] = np.where(lengths[0] > 0, np.linalg.norm(first + second, axis=1) / 2, np.nan)
    side = box_sides(faces.boxes.astype(np.float64)).astype(np.float64)
    return FaceMeasures(
        side=side,
        score=faces.scores.astype(np.float64),
        sharpness=np.asarray(sharp, np.float64),
        yaw=yaw,
        pitch=pitch,
        agreement=agreement,
        strength=strength,
    )


FRONTAL_PITCH = 0.53
"""Median pitch of the faces of LFW and CelebA."""


def ingredients(measures: FaceMeasures) -> dict[str, Float64Array]:
    """By name, (n,) numbers of which more is never worse; NaN where the measure is not known.

    Logarithms where a measure counts by its ratio; agreement on the scale of the angle.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "size": np.log(np.clip(measures.side, 1.0, SIZE_ENOUGH) / SIZE_ENOUGH),
            "sharpness": np.log(np.maximum(measures.sharpness, _FLOOR)),
            "frontal": -np.abs(measures.yaw),
            "level": -np.abs(measures.pitch - FRONTAL_PITCH),
        }
        for name, values in measures.agreement.items():
            columns[f"agreement/{name}"] = -np.arccos(np.clip(values, -1, 1))
        for name, values in measures.strength.items():
            columns[f"strength/{name}"] = np.log(np.maximum(values, _FLOOR))
    return columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredient:
    """The say of one ingredient.

    Attributes:
        weight: log-odds per unit, >= 0: this makes the quality monotone.
        typical: its median over good faces; stands in where it is not known.
    """

    weight: float
    typical: float

    def __post_init__(self) -> None:
        if not 0 <= self.weight < np.inf or not np.isfinite(self.typical):
            raise ValueError(f"got weight {self.weight} and typical {self.typical}, expected weight >= 0, both finite")


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityModel:
    """Quality of a face: score * logistic(constant + sum over ingredients of weight * (value - typical)).

    Attributes:
        constant: log-odds of a typical face.
        ingredients: by the names of `ingredients()`.
    """

    constant: float
    ingredients: Mapping[str, Ingredient]

    def __call__(self, measures: FaceMeasures) -> Float32Array:
        """(n,) float32 0..1."""
        face = np.clip(np.nan_to_num(measures.score), 0, 1)
        return np.asarray(face / (1 + np.exp(-np.clip(self.log_odds(measures), -_LOGIT_LIMIT, _LOGIT_LIMIT))), np.float32)

    def log_odds(self, measures: FaceMeasures) -> Float64Array:
        """(n,) log-odds, given that there is a face."""
        values = ingredients(measures)
        total = np.full(len(measures), self.constant, np.float64)
        for name, ingredient in self.ingredients.items():
            column = values.get(name, np.full(len(measures), np.nan))
            away = np.where(np.isnan(column), 0.0, column - ingredient.typical)
            total += ingredient.weight * np.clip(away, -_FAR_AWAY, _FAR_AWAY)
        return total

    def to_json(self) -> dict[str, Any]:
        """Plain values for the calibration file."""
        rows = {n: {"weight": round(i.weight, 4), "typical": round(i.typical, 4)} for n, i in self.ingredients.items()}
        return {"constant": round(self.constant, 4), "ingredients": rows}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> QualityModel:
        """The model in the `quality` section of a calibration file; an empty section gives the default.

        Raises:
            ConfigError: says what is missing or wrong.
        """
        if not data:
            return DEFAULT
        try:
            rows = {str(name): Ingredient(**row) for name, row in data["ingredients"].items()}
            return cls(constant=float(data["constant"]), ingredients=rows)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"quality: {type(error).__name__}: {error}; fit the descriptor calibration again") from error


_FAR_AWAY = 1e3
"""Distance from the typical value beyond which an ingredient no longer counts more: keeps absurd measures finite."""

_LOGIT_LIMIT = 30.0
"""Log-odds beyond it are 0 or 1 in float32 anyway."""

DEFAULT = QualityModel(
    constant=3.0,
    ingredients={
        "size": Ingredient(weight=2.0, typical=0.0),
        "frontal": Ingredient(weight=4.0, typical=-0.1),
    },
)
"""Of an ensemble that nobody has measured: size, pose and score only, roughly as they weigh in the embedded ensemble."""
