"""Paired bootstrap over pictures: how far a measure, or the difference of two systems, would move with other pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.evaluation.detection import FloatColumn, Matches, score_ends

DRAWS = 1000
CELLS = 4_000_000
"""Numbers in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A difference and its 95 % interval; `low > 0` = the first system is better beyond the choice of pictures."""

    value: float
    low: float
    high: float


def draw_pictures(pictures: int, *, draws: int = DRAWS, seed: int = 0) -> npt.NDArray[np.int32]:
    """(draws, pictures) how often each picture is in each draw; the same for every system, which makes comparisons paired."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(pictures, np.full(pictures, 1 / max(1, pictures)), size=draws).astype(np.int32)


def average_precision_draws(matches: Matches, drawn: npt.NDArray[np.int32]) -> FloatColumn:
    """(draws,) average precision of each draw; NaN where no face was drawn.

    Between two scores at which faces are found precision only falls, so boxes are counted up to those scores at once.
    """
    from scipy.sparse import coo_array

    ends = score_ends(matches.scores)
    found_by = np.cumsum(matches.hits)[ends]
    knots = ends[np.diff(found_by, prepend=0) > 0]
    faces = drawn @ matches.faces_in_picture
    out = np.where(faces > 0, 0.0, np.nan)
    if not len(knots):
        return out
    kept = np.arange(knots[-1] + 1)
    knot, shape = np.searchsorted(knots, kept), (len(knots), matches.pictures)
    shown_at = coo_array((np.ones(len(kept)), (knot, matches.picture[kept])), shape=shape).tocsr()
    found_at = coo_array((matches.hits[kept].astype(float), (knot, matches.picture[kept])), shape=shape).tocsr()
    step = max(1, CELLS // len(knots))
    for first in range(0, len(drawn), step):
        weight = drawn[first : first + step].T.astype(float)
        found = np.cumsum(found_at @ weight, axis=0)
        precision = found / np.maximum(np.cumsum(shown_at @ weight, axis=0), 1)
        envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        area = (np.diff(found, axis=0, prepend=0) * envelope).sum(axis=0)
        some = faces[first : first + step]
        out[first : first + step] = np.divide(area, some, out=np.full(len(area), np.nan), where=some > 0)
    return out


def ratio_draws(numerator: npt.ArrayLike, denominator: npt.ArrayLike, drawn: npt.NDArray[np.int32]) -> FloatColumn:
    """(draws,) ratio of two sums over pictures, for example corrections per face; NaN where the second is 0."""
    top, bottom = drawn @ np.asarray(numerator, float), drawn @ np.asarray(denominator, float)
    return np.asarray(np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0))


def difference(first: FloatColumn, second: FloatColumn, value: float) -> Interval:
    """Interval of first - second over paired draws, around the difference `value` on all pictures."""
    gaps = first - second
    gaps = gaps[np.isfinite(gaps)]
    if not len(gaps):
        return Interval(value=value, low=float("nan"), high=float("nan"))
    low, high = np.percentile(gaps, [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))
