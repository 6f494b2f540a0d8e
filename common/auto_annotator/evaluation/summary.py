"""All detection measures of one system in one value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

from auto_annotator.evaluation.detection import (
    Corrections,
    FloatColumn,
    Matches,
    Pairs,
    average_precision,
    calibration_error,
    corrections,
    official_average_precision,
    pair,
    recall_at_false_boxes,
)
from auto_annotator.evaluation.labels import LEVELS, SIZE_EDGES, BoolArray, LabelledPicture, size_names
from auto_annotator.evaluation.landmarks import FAILURE, detection_errors
from auto_annotator.evaluation.subsets import subset_matches
from auto_annotator.types import Faces

OVERLAPS = tuple(i / 100 for i in range(50, 100, 5))
TIGHT = 0.7
SEEN = 0.05
"""Calibrated score from which a face was seen at all."""

GROUPS_LEVEL = "hard"
"""Sizes, attributes and calibration are judged over the longest list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Faces of one size or attribute.

    Attributes:
        faces: how many of them count.
        ap: average precision when all other faces neither count nor are errors; of a size, false boxes of other sizes neither.
        recall: share found at the score with one false box per picture over the whole set.
        seen: share found at any score from `SEEN` up.
    """

    faces: int
    ap: float
    recall: float
    seen: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Measures of one system; shares are 0..1, NaN where nothing counts.

    Attributes:
        pictures: how many.
        threshold: score from which boxes are shown.
        faces, ap, ap_tight, ap_range, recall_at_one: by level; AP at IoU 0.5, at 0.7, mean of 0.5 to 0.95; recall at one false
            box per picture.
        ap_official: by level, AP as the script of WIDER FACE works it out; published figures are such.
        corrections: by level, at the threshold.
        zero_touch: by level, share of the pictures that need no correction.
        ece: D-ECE over the hard list, scores from 0.1 up.
        ece_by_size: bin of the box's height -> (D-ECE, how many boxes).
        groups: `size: under 16 px`, `blur: heavy`, ... -> measures over the hard list.
    """

    pictures: int
    threshold: float
    faces: Mapping[str, int]
    ap: Mapping[str, float]
    ap_tight: Mapping[str, float]
    ap_range: Mapping[str, float]
    recall_at_one: Mapping[str, float]
    ap_official: Mapping[str, float]
    corrections: Mapping[str, Corrections]
    zero_touch: Mapping[str, float]
    ece: float
    ece_by_size: Mapping[str, tuple[float, int]]
    groups: Mapping[str, Group]

    def c100(self, level: str = "medium") -> float:
        """Corrections per 100 faces of a level, at the threshold."""
        return self.corrections[level].per_100

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None."""
        data: dict[str, Any] = as_plain(self)
        for level, value in self.corrections.items():
            data["corrections"][level]["per_100"] = as_plain(value.per_100)
        return data


def summary(detections: Sequence[Faces], pictures: Sequence[LabelledPicture], threshold: float) -> Summary:
    """Judge one system.

    Args:
        detections: its faces in each picture, down to the lowest score it gives.
        pictures: the truth.
        threshold: score from which its boxes are shown to a person.

    Raises:
        ValueError: if there are not as many pictures with detections as with truth.
    """
    pairs = pair(detections, [p.boxes for p in pictures])
    errors = detection_errors(detections, pictures, pairs)
    official = pair(detections, [p.boxes for p in pictures], pixel=1.0)
    counts = {level: all_counts(pictures, level) for level in LEVELS}
    by_level = {level: pairs.matches(mask) for level, mask in counts.items()}
    mended = {level: corrections(m, threshold, tight=TIGHT, landmark_errors=errors[m.row]) for level, m in by_level.items()}
    return Summary(
        pictures=len(pictures),
        threshold=threshold,
        faces={level: m.faces for level, m in by_level.items()},
        ap={level: average_precision(m) for level, m in by_level.items()},
        ap_tight={level: average_precision(pairs.matches(mask, iou=TIGHT)) for level, mask in counts.items()},
        ap_range={
            level: float(np.mean([average_precision(pairs.matches(mask, iou=iou)) for iou in OVERLAPS]))
            for level, mask in counts.items()
        },
        recall_at_one={level: recall_at_false_boxes(m) for level, m in by_level.items()},
        ap_official={level: official_average_precision(official, mask) for level, mask in counts.items()},
        corrections=mended,
        zero_touch={level: float((touches(m, threshold, errors) == 0).mean()) for level, m in by_level.items()},
        ece=calibration_error(by_level[GROUPS_LEVEL]),
        ece_by_size=calibration_by_size(by_level[GROUPS_LEVEL]),
        groups=_groups(pairs, pictures, counts[GROUPS_LEVEL]),
    )


def touches(matches: Matches, threshold: float, landmark_errors: FloatColumn | None = None, *, tight: float = TIGHT) -> FloatColumn:
    """(pictures,) corrections of each picture: missed faces, false boxes, loose boxes, points that are off.

    Args:
        matches: judged detections.
        threshold: boxes from this score up are shown.
        landmark_errors: one NME per detection of the set, in the order given; None = points not judged.
        tight: least IoU of a box that stays.
    """
    shown = matches.scores >= threshold
    hits = matches.hits & shown
    cost = (shown & ~matches.hits).astype(float) - hits + (hits & (matches.overlaps < tight))
    if landmark_errors is not None:
        cost += hits & (landmark_errors[matches.row] > FAILURE)
    return np.asarray(matches.faces_in_picture + np.bincount(matches.picture, cost, minlength=matches.pictures), np.float64)


def all_counts(pictures: Sequence[LabelledPicture], level: str) -> BoolArray:
    """(faces of all pictures,) which of them are in a level."""
    return np.concatenate([np.zeros(0, np.bool_), *(p.counts(level) for p in pictures)])


def calibration_by_size(matches: Matches, *, floor: float = 0.1) -> dict[str, tuple[float, int]]:
    """Bin of `SIZE_EDGES` by the height of the box -> (D-ECE, how many boxes from `floor` up)."""
    bins = np.digitize(matches.heights, SIZE_EDGES[1:-1])
    out = {}
    for number, name in enumerate(size_names()):
        part = matches.select(bins == number)
        out[name] = calibration_error(part, floor=floor), int((part.scores >= floor).sum())
    return out


def _groups(pairs: Pairs, pictures: Sequence[LabelledPicture], counts: BoolArray) -> dict[str, Group]:
    everything = pairs.matches(counts)
    found = np.zeros(len(counts), np.bool_)
    found[everything.face[everything.hits & (everything.scores >= one_false_box(everything))]] = True
    seen = np.zeros(len(counts), np.bool_)
    seen[everything.face[everything.hits & (everything.scores >= SEEN)]] = True
    return {
        name: Group(
            faces=int(asked.sum()),
            ap=average_precision(judged),
            recall=float(found[asked].mean()),
            seen=float(seen[asked].mean()),
        )
        for name, (asked, judged) in subset_matches(pairs, pictures, counts).items()
    }


def one_false_box(matches: Matches, *, per_picture: float = 1.0) -> float:
    """Lowest score at which there is at most one false box per picture; infinity if there is none."""
    false = np.cumsum(~matches.hits)
    allowed = np.searchsorted(false, per_picture * matches.pictures, side="right")
    scores = matches.scores
    if allowed == len(scores):
        return float(scores[-1]) if len(scores) else math.inf
    above = scores[scores > scores[allowed]]  # detections of equal score come in together
    return float(above[-1]) if len(above) else math.inf


def as_plain(value: Any) -> Any:
    """Dataclasses, mappings and sequences as values that JSON knows; NaN and infinity become None."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_plain({f.name: getattr(value, f.name) for f in fields(value)})
    if isinstance(value, Mapping):
        return {str(k): as_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
