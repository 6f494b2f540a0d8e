"""Is a calibration that was learned from labelled pictures better than the one there is? Judged on the same pictures, paired.

The learned one is judged on pictures that it never saw, a threshold on pictures that it was not chosen on. What the figures say is
little where pictures are few, so nothing is recommended that is not better in nearly all draws of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.evaluation.bootstrap import average_precision_draws, draw_pictures, ratio_draws
from auto_annotator.evaluation.comparison import LEVEL, THRESHOLDS
from auto_annotator.evaluation.detection import FloatColumn, IntColumn, Matches, average_precision, pair
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.summary import TIGHT, all_counts, touches
from auto_annotator.types import Faces

MIN_PICTURES, MIN_FACES = 10, 100
"""Fewer labelled pictures or faces are refused. Measured (`benchmarks.few_labels`): what was learned from 15 to 76 faces needed up
to 32 more corrections per 100 faces than leaving things as they were, from 141 faces up to 10, from 437 on up to 3.5."""

SURE = 0.95
"""Share of the draws in which a change must need fewer corrections before it is recommended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One thing that can be done.

    Attributes:
        learned: with the learned calibration; else with the one there is.
        threshold: to use with it.
        moved: the threshold is the one with the fewest corrections here, not the ensemble's.
        c100: corrections of boxes per 100 faces; of a moved threshold, each part of the pictures by the one that is best on the
            other parts.
        ap, ap_tight: average precision at IoU 0.5 and 0.7.
        fewer, higher: share of the draws of pictures in which it needs fewer corrections, has a higher AP, than things as they are;
            None = it is things as they are, or nothing is known of them.
    """

    learned: bool
    threshold: float
    moved: bool
    c100: float
    ap: float
    ap_tight: float
    fewer: float | None = None
    higher: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Judged:
    loose: Matches
    tight: Matches

    @classmethod
    def of(cls, faces: Sequence[Faces], pictures: Sequence[LabelledPicture]) -> _Judged:
        pairs, counts = pair(faces, [p.boxes for p in pictures]), all_counts(pictures, LEVEL)
        return cls(loose=pairs.matches(counts), tight=pairs.matches(counts, iou=TIGHT))


def choices(
    now: Sequence[Faces] | None,
    learned: Sequence[Faces],
    pictures: Sequence[LabelledPicture],
    parts: Sequence[IntColumn],
    threshold: float,
    *,
    seed: int = 0,
) -> list[Choice]:
    """What can be done, things as they are first where they are known.

    Args:
        now: fused faces of each picture by the calibration that there is; None = there is none.
        learned: by calibrations that never saw the picture.
        pictures: the truth, same order.
        parts: rows of the pictures of each fold.
        threshold: the ensemble's.
        seed: of the draws.
    """
    drawn = draw_pictures(len(pictures), seed=seed)
    found: list[Choice] = []
    first: tuple[FloatColumn, FloatColumn] | None = None
    for is_learned, faces in ((False, now), (True, learned)):
        if faces is None:
            continue
        judged = _Judged.of(faces, pictures)
        precision = average_precision_draws(judged.loose, drawn)
        for moved in (False, True):
            mended = _cross_fitted(judged.loose, parts, threshold) if moved else touches(judged.loose, threshold)
            draws = 100 * ratio_draws(mended, judged.loose.faces_in_picture, drawn)
            found.append(
                Choice(
                    learned=is_learned,
                    threshold=best_threshold(judged.loose, threshold) if moved else threshold,
                    moved=moved,
                    c100=100 * float(mended.sum()) / max(1, judged.loose.faces),
                    ap=average_precision(judged.loose),
                    ap_tight=average_precision(judged.tight),
                    fewer=None if first is None else _share(first[0] - draws),
                    higher=None if first is None or not is_learned else _share(precision - first[1]),
                )
            )
            if first is None and now is not None:
                first = draws, precision
    return found


def recommended(found: Sequence[Choice]) -> Choice:
    """The choice with the fewest corrections of those that are surely better than things as they are, else those.

    Without knowledge of things as they are: the learned calibration at the ensemble's threshold.
    """
    sure = [choice for choice in found if choice.fewer is not None and choice.fewer >= SURE]
    return min(sure, key=lambda choice: choice.c100, default=found[0])


def best_threshold(matches: Matches, near: float, *, rows: IntColumn | None = None) -> float:
    """The threshold with the fewest corrections on some pictures; of equal ones that nearest to `near`."""
    costs = [_sum(touches(matches, t), rows) for t in THRESHOLDS]
    least = min(costs)
    return min((t for t, cost in zip(THRESHOLDS, costs, strict=True) if cost == least), key=lambda t: abs(t - near))


def _sum(column: FloatColumn, rows: IntColumn | None) -> float:
    return float((column if rows is None else column[rows]).sum())


def _cross_fitted(matches: Matches, parts: Sequence[IntColumn], near: float) -> FloatColumn:
    """(pictures,) corrections when each part is shown from the threshold up that is best on the others."""
    out = np.zeros(matches.pictures)
    everything = np.arange(matches.pictures)
    for held in parts:
        threshold = best_threshold(matches, near, rows=np.setdiff1d(everything, held))
        out[held] = touches(matches, threshold)[held]
    return out


def _share(gains: npt.NDArray[np.float64]) -> float:
    """Share of the draws with a gain; equal ones count half."""
    gains = gains[np.isfinite(gains)]
    return float((gains > 0).mean() + (gains == 0).mean() / 2) if len(gains) else float("nan")
