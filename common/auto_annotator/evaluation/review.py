"""What the review flag is worth: how many of the errors a person meets who looks only where the ensemble asks to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.evaluation.detection import FloatColumn, Matches
from auto_annotator.evaluation.labels import BoolArray
from auto_annotator.evaluation.landmarks import FAILURE

SHARES = (0.1, 0.2, 0.3)
"""First parts of the queue that the curve names."""

TIGHT = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewEfficiency:
    """How well the flag finds the boxes that are wrong; shares 0..1, NaN where there is nothing to share.

    An error is a false box, a box with an IoU below 0.7, or a set of points above 10 % NME. A missed face has no box that could be
    flagged; `missed` and `errors_inside_with_missed` tell what that hides.

    Attributes:
        boxes: shown boxes that are judged (those of faces that do not count are left out).
        errors: how many of them are wrong; `false_boxes` of them hold no face.
        missed: faces without a box.
        flagged: share of the boxes that are flagged.
        errors_inside, false_boxes_inside: share of the wrong, and of the false boxes, that are flagged.
        errors_inside_with_missed: share of all errors, missed faces among them, that are flagged.
        unflagged_faces: share of the boxes that are not flagged and hold a face (IoU 0.5).
        unflagged_right: share of the boxes that are not flagged and need no correction.
        first: share of the errors in the first 10, 20, 30 % of the boxes by review score, keys `10`, `20`, `30`.
        area: area under that curve; 0.5 = chance.
    """

    boxes: int
    errors: int
    false_boxes: int
    missed: int
    flagged: float
    errors_inside: float
    false_boxes_inside: float
    errors_inside_with_missed: float
    unflagged_faces: float
    unflagged_right: float
    first: Mapping[str, float]
    area: float


def review_efficiency(
    matches: Matches,
    threshold: float,
    flagged: BoolArray,
    need: npt.NDArray[np.floating],
    *,
    landmark_errors: FloatColumn | None = None,
) -> ReviewEfficiency:
    """Judge the flags of one system.

    Args:
        matches: its judged detections.
        threshold: boxes from this score up are shown.
        flagged: (all detections,) in the order given to `pair`: a person is asked to look.
        need: (all detections,) same order, how much a look is needed, higher first; only the order matters.
        landmark_errors: (all detections,) same order, NME; NaN = not labelled. None = points not judged.

    Raises:
        ValueError: if `flagged` and `need` differ in length.
    """
    if len(flagged) != len(need):
        raise ValueError(f"review: got {len(flagged)} flags and {len(need)} review scores")
    shown = matches.select(matches.scores >= threshold)
    flags, queue = flagged[shown.row], need[shown.row]
    false = ~shown.hits
    wrong = false | (shown.overlaps < TIGHT)
    if landmark_errors is not None:
        wrong = wrong | (landmark_errors[shown.row] > FAILURE)
    missed = int(matches.faces - shown.hits.sum())
    curve = error_curve(wrong, queue)
    return ReviewEfficiency(
        boxes=len(flags),
        errors=int(wrong.sum()),
        false_boxes=int(false.sum()),
        missed=missed,
        flagged=_share(int(flags.sum()), len(flags)),
        errors_inside=_share(int((wrong & flags).sum()), int(wrong.sum())),
        false_boxes_inside=_share(int((false & flags).sum()), int(false.sum())),
        errors_inside_with_missed=_share(int((wrong & flags).sum()), int(wrong.sum()) + missed),
        unflagged_faces=_share(int((shown.hits & ~flags).sum()), int((~flags).sum())),
        unflagged_right=_share(int((~wrong & ~flags).sum()), int((~flags).sum())),
        first={f"{100 * share:.0f}": found_first(curve, share) for share in SHARES},
        area=float(np.trapezoid(curve, dx=1 / (len(curve) - 1))) if len(curve) > 1 else float("nan"),
    )


def error_curve(wrong: BoolArray, need: npt.NDArray[np.floating]) -> FloatColumn:
    """(n + 1,) share of the errors among the first 0..n boxes by review score; boxes of equal score share theirs.

    Empty without an error.
    """
    if not wrong.any():
        return np.zeros(0)
    _, group = np.unique(-np.asarray(need, np.float64), return_inverse=True)
    mean = np.bincount(group, wrong) / np.bincount(group)
    return np.concatenate([[0.0], np.cumsum(mean[np.sort(group)]) / wrong.sum()])


def found_first(curve: FloatColumn, share: float) -> float:
    """Value of an `error_curve` at the first `share` of the boxes."""
    return float(np.interp(share * (len(curve) - 1), np.arange(len(curve)), curve)) if len(curve) else float("nan")


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
