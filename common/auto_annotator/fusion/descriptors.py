"""Many recognisers' vectors in, one vector whose inner product is the fused score.

A recogniser says how alike two faces are by the cosine s of its two vectors. Recognisers differ in scale (dlib's cosine of
strangers is .83, SFace's is near 0), so cosines are neither averaged nor are vectors laid side by side as they come: each
member's log-odds of "same person" are close to linear in its cosine, and independent evidence adds up in log-odds:

    log-odds = sum over members of c_m * s_m + constant

with c_m >= 0 measured on pairs of known people. With u_m the member's unit vector, the row [sqrt(c_1) u_1, sqrt(c_2) u_2, ...]
divided by sqrt(sum of c_m) has unit length, and the inner product of two such rows is sum(c_m * s_m) / sum(c_m): the fused
score up to an affine map. So one index of inner products serves the whole ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.errors import ConfigError
from auto_annotator.types import Float32Array

_MIN_NORM = 1e-6
"""A vector shorter than this has no direction: the member has no opinion on the face."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MemberCalibration:
    """What is known of one recogniser.

    Attributes:
        name: of the member in the ensemble file.
        dimension: length of its vectors.
        coefficient: c_m, log-odds per unit of its cosine in the presence of the other members, >= 0; 0 = no say.
        slope: log-odds per unit of its cosine when it is the only member, >= 0.
        offset: log-odds at cosine 0 when it is the only member, at even prior.
        neutral: (dimension,) float32 mean of the unit vectors of many people, or None = the zero vector. Its inner product with a
            face is on average the cosine of two strangers, so it stands in where the member has no vector.

    Raises:
        ValueError: if a number is negative or not finite, or the neutral vector has another length.
    """

    name: str
    dimension: int
    coefficient: float
    slope: float = 1.0
    offset: float = 0.0
    neutral: Float32Array | None = None

    def __post_init__(self) -> None:
        if not self.dimension > 0:
            raise ValueError(f"member {self.name}: got dimension {self.dimension}, expected a number above 0")
        for what in ("coefficient", "slope"):
            if not 0 <= getattr(self, what) < np.inf:
                raise ValueError(f"member {self.name}: got {what} {getattr(self, what)}, expected a finite number >= 0")
        if not np.isfinite(self.offset):
            raise ValueError(f"member {self.name}: got offset {self.offset}, expected a finite number")
        if self.neutral is not None:
            neutral = np.array(self.neutral, np.float32)
            if neutral.shape != (self.dimension,) or not np.isfinite(neutral).all() or np.linalg.norm(neutral) > 1 + 1e-3:
                raise ValueError(f"member {self.name}: neutral vector must have {self.dimension} finite numbers and length <= 1")
            neutral.flags.writeable = False
            object.__setattr__(self, "neutral", neutral)

    def log_odds(self, cosine: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Log-odds of "same person" at even prior from this member's cosine alone, same shape."""
        return np.asarray(self.slope * np.asarray(cosine, np.float64) + self.offset)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DescriptorCalibration:
    """How the vectors of an ensemble of recognisers become one.

    Attributes:
        members: in the order in which their parts stand in the fused vector.
        threshold: fused cosine from which two faces are more likely one person than two at the prior of a large collection
            (where about one pair of strangers in a million lies above it); None = not measured.
        slope: log-odds per unit of the fused cosine, > 0.
        quality: parameters of `quality.QualityModel`, as it writes them; empty = not fitted.
        provenance: how it was made: about, command, data, data_sha256 and so on.

    Raises:
        ValueError: for no member, a name twice, no member with a coefficient above 0, or a threshold outside -1..1.
    """

    members: tuple[MemberCalibration, ...]
    threshold: float | None = None
    slope: float = 1.0
    quality: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [m.name for m in self.members]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"members: got names {names}, expected at least one, all different")
        if not sum(m.coefficient for m in self.members) > 0:
            raise ValueError("members: all coefficients are 0, expected at least one above 0")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold: got {self.threshold}, expected a cosine -1..1 or None")
        if not 0 < self.slope < np.inf:
            raise ValueError(f"slope: got {self.slope}, expected a finite number above 0")

    @classmethod
    def equal(cls, dimensions: Mapping[str, int]) -> DescriptorCalibration:
        """The calibration of an ensemble that nobody has measured: every member has the same say, no threshold is known.

        Args:
            dimensions: length of the vectors by member, in order.
        """
        return cls(members=tuple(MemberCalibration(name=n, dimension=d, coefficient=1.0) for n, d in dimensions.items()))

    @property
    def dimension(self) -> int:
        """Length of the fused vector."""
        return sum(m.dimension for m in self.members)

    def fused_cosine(self, cosines: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """What the inner product of two fused vectors is, from the (..., m) cosines of the members: shape (...)."""
        say = np.array([m.coefficient for m in self.members])
        return np.asarray(np.asarray(cosines, np.float64) @ (say / say.sum()))

    def log_odds(self, cosine: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Log-odds of "same person" from a fused cosine at the prior at which the threshold is even, same shape.

        Raises:
            ValueError: if the threshold was never measured.
        """
        if self.threshold is None:
            raise ValueError("log-odds: the calibration has no threshold; fit it (python -m benchmarks.calibrate_descriptors)")
        return np.asarray(self.slope * (np.asarray(cosine, np.float64) - self.threshold))

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file; `from_json` reads them back."""
        members = [
            {"name": m.name, "dimension": m.dimension, "coefficient": m.coefficient, "slope": m.slope, "offset": m.offset}
            | ({} if m.neutral is None else {"neutral": [round(float(x), 6) for x in m.neutral]})
            for m in self.members
        ]
        fused = {"threshold": self.threshold, "slope": self.slope}
        return {"provenance": dict(self.provenance), "fused": fused, "quality": dict(self.quality), "members": members}

    @classmethod
    def from_json(cls, data: object) -> DescriptorCalibration:
        """The calibration in the plain values of a JSON file.

        Raises:
            ConfigError: says what is missing or wrong.
        """
        if not isinstance(data, Mapping):
            raise ConfigError(f"descriptor calibration: got {type(data).__name__}, expected an object with `members` and `fused`")
        try:
            return cls(
                members=tuple(MemberCalibration(**row) for row in data["members"]),
                threshold=data["fused"]["threshold"],
                slope=data["fused"]["slope"],
                quality=dict(data.get("quality") or {}),
                provenance=dict(data.get("provenance") or {}),
            )
        except KeyError as error:
            raise ConfigError(f"descriptor calibration: has no {error}; fit it again") from error
        except (TypeError, ValueError) as error:
            raise ConfigError(f"descriptor calibration: {error}; fit it again") from error


def unit_rows(vectors: npt.ArrayLike) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """Rows of unit length, and which rows have a direction at all.

    Args:
        vectors: (n, d) in any length; a row of zeros or with a number that is not finite = no vector.

    Returns:
        (n, d) float32 unit rows, zeros where there is no vector, and (n,) bool.

    Raises:
        ValueError: for another number of axes.
    """
    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2:
        raise ValueError(f"vectors: got shape {rows.shape}, expected (n, d)")
    finite = np.asarray(np.isfinite(rows).all(axis=1), np.bool_)
    rows = np.where(finite[:, None], rows, 0.0)
    norms = np.asarray(np.linalg.norm(rows, axis=1))
    known = np.asarray(norms > _MIN_NORM, np.bool_)
    return np.asarray(np.where(known[:, None], rows / np.where(known, norms, 1.0)[:, None], 0.0), np.float32), known


def fuse_descriptors(vectors: Mapping[str, npt.ArrayLike], calibration: DescriptorCalibration) -> Float32Array:
    """One row per face whose inner product with another row is the fused cosine of the two faces.

    Args:
        vectors: (n, d_m) by member name, any length; rows of zeros or NaN = the member has no vector for the face. A member of the
            calibration that is absent has no vector for any face.
        calibration: say and neutral vector of each member.

    Returns:
        (n, sum of d_m) float32. Rows have unit length where every member has a vector, are shorter where one is missing (its
        neutral vector stands in, so that its part says what it says of strangers, and nothing is scaled up), and are zero where
        no member has one. Do not normalise them again.

    Raises:
        ValueError: for a member that the calibration does not know, another dimension, or columns of different length.
    """
    unknown = sorted(set(vectors) - {m.name for m in calibration.members})
    if unknown or not vectors:
        raise ValueError(f"fusion: got vectors of {unknown or 'no member'}, expected of {[m.name for m in calibration.members]}")
    counts = {name: len(np.asarray(v)) for name, v in vectors.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"fusion: got different numbers of rows: {counts}")
    n = next(iter(counts.values()))
    total = sum(m.coefficient for m in calibration.members)
    parts, seen = [], np.zeros(n, np.bool_)
    for member in calibration.members:
        part, known = unit_rows(vectors.get(member.name, np.zeros((n, member.dimension))))
        if part.shape[1] != member.dimension:
            raise ValueError(f"fusion: got {part.shape[1]} numbers of member {member.name}, expected {member.dimension}")
        if member.neutral is not None:
            part = np.where(known[:, None], part, member.neutral)
        parts.append(np.sqrt(member.coefficient / total) * part)
        if member.coefficient > 0:
            seen |= known
    return np.asarray(np.where(seen[:, None], np.concatenate(parts, axis=1), 0.0), np.float32)


def fit_log_odds(
    cosines: npt.ArrayLike,
    same: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    prior: float = 0.5,
    ridge: float = 1e-6,
) -> tuple[npt.NDArray[np.float64], float]:
    """Coefficients >= 0 and constant of log-odds that are linear in the members' cosines (logistic regression, Newton's method).

    Args:
        cosines: (p, m) cosine of each member for each pair.
        same: (p,) True = one person.
        weights: (p,) > 0, say of each pair within its class; None = equal.
        prior: share of same pairs at which errors are to be few, whatever it is in the data: where the log-odds are not quite
            linear, a small share makes the fit good for strangers who look alike.
        ridge: pull of the coefficients towards 0 in units of their own spread; keeps separable data finite.

    Returns:
        (m,) coefficients and the constant, as of an even prior. A member that would get a negative coefficient gets 0.

    Raises:
        ValueError: for other shapes, values that are not finite, pairs of one class only, or a prior outside 0 < prior < 1.
    """
    x, y = np.asarray(cosines, np.float64), np.asarray(same, np.bool_)
    if x.ndim != 2 or y.shape != (len(x),) or not np.isfinite(x).all():
        raise ValueError(f"fit: got cosines {x.shape} and {y.shape} truths, expected finite (p, m) and (p,)")
    if y.all() or not y.any():
        raise ValueError("fit: got pairs of one class only, expected same and different people")
    if not 0 < prior < 1:
        raise ValueError(f"fit: got prior {prior}, expected 0 < prior < 1")
    w = np.ones(len(x)) if weights is None else np.asarray(weights, np.float64)
    w = np.where(y, prior * w / w[y].sum(), (1 - prior) * w / w[~y].sum()) / min(prior, 1 - prior)
    centre, spread = x.mean(axis=0), x.std(axis=0) + 1e-12
    active = list(range(x.shape[1]))
    while True:
        beta = _newton((x[:, active] - centre[active]) / spread[active], y, w, ridge)
        if (beta[1:] >= 0).all() or len(active) == 1:
            break
        active.pop(int(np.argmin(beta[1:])))
    coefficients = np.zeros(x.shape[1])
    coefficients[active] = np.maximum(beta[1:], 0) / spread[active]
    return coefficients, float(beta[0] - coefficients @ centre - np.log(prior / (1 - prior)))


def _newton(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.bool_], w: npt.NDArray[np.float64], ridge: float
) -> npt.NDArray[np.float64]:
    """Constant and coefficients of a weighted logistic regression with a small ridge; steps are halved until they help."""
    design = np.hstack([np.ones((len(x), 1)), x])
    penalty = np.diag([0.0, *[ridge] * x.shape[1]])
    sign = np.where(y, 1.0, -1.0)

    def loss(b: npt.NDArray[np.float64]) -> float:
        return float(w @ np.logaddexp(0, -sign * (design @ b)) + b @ penalty @ b / 2)

    beta = np.zeros(design.shape[1])
    for _ in range(_NEWTON_STEPS):
        p = 1 / (1 + np.exp(-np.clip(design @ beta, -_LOGIT_LIMIT, _LOGIT_LIMIT)))
        gradient = design.T @ (w * (p - y)) + penalty @ beta
        hessian = (design * (w * p * (1 - p))[:, None]).T @ design + penalty + _JITTER * np.eye(len(beta))
        step, scale = np.linalg.solve(hessian, gradient), 1.0
        while loss(beta - scale * step) > loss(beta) and scale > _MIN_STEP:
            scale /= 2
        beta = beta - scale * step
        if np.abs(scale * step).max() < _CONVERGED:
            break
    return beta


_NEWTON_STEPS, _LOGIT_LIMIT, _JITTER, _MIN_STEP, _CONVERGED = 100, 500.0, 1e-12, 1e-6, 1e-9
"""Of `_newton`: it converges in about ten steps; the rest guards against overflow and endless loops on separable data."""
