"""The measures of many systems on one labelled set, each against the best member: what `auto-annotator evaluate` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.evaluation.bootstrap import Interval, average_precision_draws, difference, draw_pictures, ratio_draws
from auto_annotator.evaluation.curves import reliability, sampled_curve
from auto_annotator.evaluation.detection import Matches, Pairs, average_precision, corrections, pair
from auto_annotator.evaluation.labels import LEVELS, LabelledPicture
from auto_annotator.evaluation.landmarks import detection_errors
from auto_annotator.evaluation.points import PointsResult, compare_points
from auto_annotator.evaluation.review import ReviewEfficiency, error_curve, review_efficiency
from auto_annotator.evaluation.subsets import ONCE, Subset, compare_subsets, subset_matches
from auto_annotator.evaluation.summary import GROUPS_LEVEL, TIGHT, Summary, all_counts, as_plain, summary, touches
from auto_annotator.evaluation.systems import System

LEVEL = "medium"
"""The list that thresholds, corrections and review are judged on."""

THRESHOLDS = tuple(i / 50 for i in range(1, 50))
MEASURES = ("ap_medium", "ap_hard", "ap_medium_tight", "c100_medium")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One system on a set.

    Attributes:
        system: its name; `kind` as in `System`.
        note: why it is not available; empty = it is.
        seconds: median CPU seconds per picture, None = not measured.
        own_threshold: the threshold is its own, not the best one on this set.
        summary: boxes; None if not available or if the set cannot judge boxes.
        best_c100, best_threshold: corrections per 100 medium faces at the threshold that is best on this set, which flatters.
        points: landmarks; None if the set has none.
        review: what its review flag is worth; None = it has none.
        against: measure of `MEASURES` -> difference to the best member of that measure.
        subsets: of an ensemble, size or attribute -> AP over the hard list against the best member there.
        curves: points of the plots by name.
    """

    system: str
    kind: str
    note: str = ""
    seconds: float | None = None
    own_threshold: bool = False
    summary: Summary | None = None
    best_c100: float = float("nan")
    best_threshold: float = float("nan")
    points: PointsResult | None = None
    review: ReviewEfficiency | None = None
    against: Mapping[str, Interval] = field(default_factory=dict)
    subsets: Mapping[str, Subset] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        skipped = ("summary",)
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in skipped}
        return {**as_plain(data), "boxes": None if self.summary is None else self.summary.as_json()}


@dataclass(slots=True)
class _Judged:
    system: System
    pairs: Pairs
    levels: dict[str, Matches]
    tight: Matches
    errors: npt.NDArray[np.float64]
    threshold: float
    values: dict[str, float] = field(default_factory=dict)
    draws: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)


def compare(found: Sequence[System], pictures: Sequence[LabelledPicture], *, seed: int = 0) -> list[Result]:
    """Judge all systems on the same pictures.

    Args:
        found: what the systems found; those without faces are reported as not available.
        pictures: the truth, in the pixels that the systems saw.
        seed: of the bootstrap.
    """
    there = [s for s in found if s.faces is not None]
    judged: dict[str, _Judged] = {}
    if any(not p.points_only for p in pictures):
        drawn = draw_pictures(len(pictures), seed=seed)
        judged = {s.name: _judge(s, pictures, drawn) for s in there}
    points = compare_points({s.name: s.faces or () for s in there}, pictures)
    best = {m: _best_member(list(judged.values()), m) for m in MEASURES}
    results = [_result(s, judged.get(s.name), points.get(s.name), best, pictures) for s in found]
    if not judged:
        return results
    members = {name: _by_subset(j, pictures) for name, j in judged.items() if j.system.kind == "member"}
    return [
        replace(r, subsets=compare_subsets(_by_subset(judged[r.system], pictures), members, drawn))
        if r.kind == "ensemble" and r.system in judged
        else r
        for r in results
    ]


def _by_subset(judged: _Judged, pictures: Sequence[LabelledPicture]) -> dict[str, Matches]:
    matches = subset_matches(judged.pairs, pictures, all_counts(pictures, GROUPS_LEVEL))
    return {name: part for name, (_, part) in matches.items()}


def _judge(system: System, pictures: Sequence[LabelledPicture], drawn: npt.NDArray[np.int32]) -> _Judged:
    faces = system.faces or ()
    pairs = pair(faces, [p.boxes for p in pictures])
    errors = detection_errors(faces, pictures, pairs)
    levels = {level: pairs.matches(all_counts(pictures, level)) for level in LEVELS}
    tight = pairs.matches(all_counts(pictures, LEVEL), iou=TIGHT)
    threshold = best_threshold(levels[LEVEL])[0] if system.threshold is None else system.threshold
    judged = _Judged(system=system, pairs=pairs, levels=levels, tight=tight, errors=errors, threshold=threshold)
    for name, matches in (("ap_medium", levels["medium"]), ("ap_hard", levels["hard"]), ("ap_medium_tight", tight)):
        judged.values[name] = average_precision(matches)
        judged.draws[name] = average_precision_draws(matches, drawn)
    medium = levels[LEVEL]
    mended = touches(medium, threshold, errors)
    judged.values["c100_medium"] = 100 * float(mended.sum()) / medium.faces if medium.faces else float("nan")
    judged.draws["c100_medium"] = 100 * ratio_draws(mended, medium.faces_in_picture, drawn)
    return judged


def best_threshold(matches: Matches) -> tuple[float, float]:
    """The threshold with the fewest corrections on this set, and how many they are per 100 faces."""
    costs = [corrections(matches, t).per_100 for t in THRESHOLDS]
    at = int(np.nanargmin(costs)) if matches.faces else 0
    return THRESHOLDS[at], costs[at]


def _best_member(judged: Sequence[_Judged], measure: str) -> _Judged | None:
    """The member that is best in a measure when it is run alone, once."""
    alone = [j for j in judged if j.system.kind == "member" and j.system.name.endswith(ONCE)]
    sign = -1 if measure.startswith("c100") else 1
    return max(alone, key=lambda j: sign * j.values[measure], default=None)


def _result(
    system: System,
    judged: _Judged | None,
    points: PointsResult | None,
    best: Mapping[str, _Judged | None],
    pictures: Sequence[LabelledPicture],
) -> Result:
    if judged is None:
        return Result(system=system.name, kind=system.kind, note=system.note, seconds=system.seconds, points=points)
    against = {}
    for measure, member in best.items():
        if member is not None and member is not judged:
            gap = judged.values[measure] - member.values[measure]
            against[measure] = difference(judged.draws[measure], member.draws[measure], gap)
    threshold, cost = best_threshold(judged.levels[LEVEL])
    return Result(
        system=system.name,
        kind=system.kind,
        seconds=system.seconds,
        own_threshold=system.threshold is not None,
        summary=summary(system.faces or (), pictures, judged.threshold),
        best_c100=cost,
        best_threshold=threshold,
        points=points,
        review=_review(judged),
        against=against,
        curves=_curves(judged),
    )


def _flags(judged: _Judged) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]] | None:
    flagged, need = judged.system.flagged, judged.system.need
    if flagged is None or need is None or not len(flagged):
        return None
    return np.concatenate(list(flagged)), np.concatenate(list(need)).astype(np.float64)


def _review(judged: _Judged) -> ReviewEfficiency | None:
    flags = _flags(judged)
    if flags is None:
        return None
    return review_efficiency(judged.levels[LEVEL], judged.threshold, *flags, landmark_errors=judged.errors)


def _curves(judged: _Judged) -> dict[str, Any]:
    curves: dict[str, Any] = {level: sampled_curve(matches) for level, matches in judged.levels.items()}
    curves["medium_tight"] = sampled_curve(judged.tight)
    curves["reliability"] = reliability(judged.levels[GROUPS_LEVEL])
    flags = _flags(judged)
    if flags is not None:
        shown = judged.levels[LEVEL].select(judged.levels[LEVEL].scores >= judged.threshold)
        curve = error_curve(~shown.hits | (shown.overlaps < TIGHT), flags[1][shown.row])
        places = np.unique(np.linspace(0, max(0, len(curve) - 1), 101).astype(int)) if len(curve) else np.zeros(0, int)
        curves["review"] = [[float(i / (len(curve) - 1)), float(curve[i])] for i in places]
    return curves
