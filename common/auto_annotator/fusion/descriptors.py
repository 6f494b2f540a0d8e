"""Many recognisers' vectors in, one vector whose inner product is the fused score.

A recogniser says how alike two faces are by the cosine s of its two vectors. Recognisers differ in scale (dlib's cosine of
strangers is .83, SFace's .1), so cosines are neither averaged nor are vectors laid side by side as they come: each member's
log-odds of "same person" are close to linear in its cosine, and independent evidence adds up in log-odds:

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

_VECTORS = ("origin", "neutral")

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
        origin: (dimension,) float32 part of what all faces share, taken off each unit vector before it is scaled to unit length
            again; None = nothing. All cosines of this class are those of the result.
        neutral: (dimension,) float32 mean of these vectors over many people, or None = the zero vector. Its inner product with a
            face is on average the cosine of two strangers, so it stands in where the member has no vector.

    Raises:
        ValueError: if a number is negative or not finite, or a vector has another dimension or is longer than 1.
    """

    name: str
    dimension: int
    coefficient: float
    slope: float = 1.0
    offset: float = 0.0
    origin: Float32Array | None = None
    neutral: Float32Array | None = None

    def __post_init__(self) -> None:
        if not self.dimension > 0:
            raise ValueError(f"member {self.name}: got dimension {self.dimension}, expected a number above 0")
        for what in ("coefficient", "slope"):
            if not 0 <= getattr(self, what) < np.inf:
                raise ValueError(f"member {self.name}: got {what} {getattr(self, what)}, expected a finite number >= 0")
        if not np.isfinite(self.offset):
            raise ValueError(f"member {self.name}: got offset {self.offset}, expected a finite number")
        for what in _VECTORS:
            if getattr(self, what) is None:
                continue
            vector = np.array(getattr(self, what), np.float32)
            if vector.shape != (self.dimension,) or not np.isfinite(vector).all() or np.linalg.norm(vector) > 1 + 1e-3:
                raise ValueError(f"member {self.name}: {what} must have {self.dimension} finite numbers and length <= 1")
            vector.flags.writeable = False
            object.__setattr__(self, what, vector)

    def units(self, vectors: npt.ArrayLike) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
        """(n, dimension) float32 unit rows of (n, dimension) raw vectors without the origin, and which rows have one at all.

        Raises:
            ValueError: for another dimension.
        """
        rows, known = unit_rows(vectors)
        if rows.shape[1] != self.dimension:
            raise ValueError(f"fusion: got {rows.shape[1]} numbers of member {self.name}, expected {self.dimension}")
        return (rows, known) if self.origin is None else unit_rows(np.where(known[:, None], rows - self.origin, 0))

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
            | {what: [round(float(x), 6) for x in getattr(m, what)] for what in _VECTORS if getattr(m, what) is not None}
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
        part, known = member.units(vectors.get(member.name, np.zeros((n, member.dimension))))
        if member.neutral is not None:
            part = np.where(known[:, None], part, member.neutral)
        parts.append(np.sqrt(member.coefficient / total) * part)
        if member.coefficient > 0:
            seen |= known
    return np.asarray(np.where(seen[:, None], np.concatenate(parts, axis=1), 0.0), np.float32)
