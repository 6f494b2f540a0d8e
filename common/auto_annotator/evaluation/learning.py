"""What an ensemble learns from labelled pictures: curves, habits of edges, the final score, the model of errors.

Everything is measured on what the members found once (`looks`); nothing here runs a network.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from auto_annotator.calibration import Calibration, ViewCalibration
from auto_annotator.ensemble import Ensemble
from auto_annotator.evaluation.detection import FloatColumn, IntColumn, Pairs, pair
from auto_annotator.evaluation.labels import BoolArray, LabelledPicture
from auto_annotator.evaluation.looks import Look
from auto_annotator.evaluation.summary import all_counts
from auto_annotator.fusion.boxes import FusionSettings
from auto_annotator.fusion.calibration import Curve, SizedCurve, fit_isotonic, fit_sized
from auto_annotator.fusion.edges import EdgeHabit, fit_edges
from auto_annotator.fusion.faces import FusedFaces, fuse_evidence
from auto_annotator.fusion.stacking import Stack, fit_stack, joined
from auto_annotator.geometry import box_sides, clip_boxes
from auto_annotator.types import Faces

LEVEL = "hard"
"""The list of faces that counts: hard holds nearly all of them."""

FEW_FOR_SIZE = 200
"""Found faces below which a view's curve does not depend on size."""

FEW_FOR_EDGES = 30
TIGHT = 0.7

SMOOTH = 40.0
"""The final curve is mixed with the straight line as if that had been seen on so many boxes, per tenth of the range."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Rows that count, of many: is it a face, which one, and how far does it overlap it.

    Attributes:
        rows: (d,) which rows count.
        hits: (d,) bool, first box of a face that counts.
        face: (d,) the face of a hit over all pictures, else -1.
        overlaps: (d,) IoU.
    """

    rows: IntColumn
    hits: BoolArray
    face: IntColumn
    overlaps: FloatColumn


def judge(faces: Sequence[Faces], pictures: Sequence[LabelledPicture]) -> Judged:
    """Detections by the WIDER rule on the list `LEVEL`."""
    pairs: Pairs = pair(faces, [p.boxes for p in pictures])
    matches = pairs.matches(all_counts(pictures, LEVEL))
    order = np.argsort(matches.row)
    return Judged(rows=matches.row[order], hits=matches.hits[order], face=matches.face[order], overlaps=matches.overlaps[order])


def learn(ensemble: Ensemble, seen: Sequence[Sequence[Look]], pictures: Sequence[LabelledPicture]) -> Calibration:
    """The calibration of an ensemble.

    Args:
        ensemble: whose rule and members count; its own calibration is not used.
        seen: the looks at each picture, scores raw.
        pictures: the labels, same order.
    """
    by_view: dict[tuple[str, str], list[tuple[int, Look]]] = defaultdict(list)
    for number, row in enumerate(seen):
        for look in row:
            by_view[look.member, look.curve].append((number, look))
    views: dict[str, dict[str, ViewCalibration]] = defaultdict(dict)
    for (member, view), rows in by_view.items():
        views[member][view] = learn_view(rows, pictures)
    calibration = Calibration(views=dict(views))
    fused = [fuse_looks(ensemble, calibration, row, p) for row, p in zip(seen, pictures, strict=True)]
    judged = judge([f.faces for f in fused], pictures)
    if ensemble.config.fusion.rule != "stack":
        scores = np.concatenate([f.faces.scores for f in fused])[judged.rows]
        return replace(calibration, final=top_curve(scores, judged.hits))
    inputs = {name: column[judged.rows] for name, column in joined([f.evidence.inputs() for f in fused]).items()}
    score = fit_stack(inputs, judged.hits)
    score = replace(score, curve=smooth_curve(score(inputs), judged.hits))
    return replace(calibration, score=score, right=learn_right(inputs, score, judged, ensemble.config.threshold))


def learn_right(inputs: Mapping[str, FloatColumn], score: Stack, judged: Judged, threshold: float) -> Stack:
    """Model of the probability that a shown box needs no correction."""
    shown = score(inputs) >= threshold / 2  # below the threshold too: a user may lower it
    right = (judged.hits & (judged.overlaps >= TIGHT))[shown]
    return fit_stack({name: column[shown] for name, column in inputs.items()}, right)


def learn_view(rows: Sequence[tuple[int, Look]], pictures: Sequence[LabelledPicture]) -> ViewCalibration:
    """What can be measured of one member in one view, given the number of the picture and the look at it."""
    some = [pictures[number] for number, _ in rows]
    judged = judge([look.faces for _, look in rows], some)
    every = Faces.concat([look.faces for _, look in rows])
    scale = np.concatenate([np.full(len(look.faces), look.source.scale) for _, look in rows])[judged.rows]
    boxes, scores = every.boxes[judged.rows].astype(np.float64), every.scores[judged.rows].astype(np.float64)
    if not len(scores):
        return ViewCalibration(curve=Curve.identity())
    curve = top_curve(scores, judged.hits)
    sized: Curve | SizedCurve = curve
    if judged.hits.sum() >= FEW_FOR_SIZE:
        sized = fit_sized(curve, scores, judged.hits, box_sides(boxes) * scale)
    habit: EdgeHabit | None = None
    if judged.hits.sum() >= FEW_FOR_EDGES:
        true = np.concatenate([p.boxes for p in some])[judged.face[judged.hits]]
        habit = fit_edges(boxes[judged.hits], true, scale[judged.hits])
    return ViewCalibration(curve=sized, edges=habit)


def top_curve(scores: FloatColumn, hits: BoolArray) -> Curve:
    """Isotonic curve, with half a miss added at the top: no finite number of hits shows that a score is never wrong."""
    top = float(scores.max(initial=0.0))
    weights = np.append(np.ones(len(scores)), 0.5)
    return fit_isotonic(np.append(scores, top), np.append(np.asarray(hits, float), 0.0), weights)


def smooth_curve(scores: FloatColumn, hits: BoolArray, *, knots: int = 10) -> Curve:
    """A gentle correction of scores that are nearly right: shares of hits by tenths of the range, drawn to the straight line."""
    bins = np.minimum((scores * knots).astype(int), knots - 1)
    mass = np.bincount(bins, minlength=knots) + SMOOTH
    prior = SMOOTH * (np.arange(knots) + 0.5) / knots
    centre = (np.bincount(bins, scores, minlength=knots) + prior) / mass
    rate = (np.bincount(bins, np.asarray(hits, float), minlength=knots) + prior) / mass
    fitted = fit_isotonic(centre, np.clip(rate, 0, 1), mass)
    x, y = np.concatenate([[0.0], fitted.x, [1.0]]), np.concatenate([[0.0], fitted.y, [1.0]])
    return Curve(x=x, y=np.maximum.accumulate(y))


def fuse_looks(ensemble: Ensemble, calibration: Calibration, row: Sequence[Look], picture: LabelledPicture) -> FusedFaces:
    """The fused faces of one picture as the pipeline would give them, without refiners, tiles' precedence and threshold."""
    config = ensemble.config.fusion
    settings = FusionSettings(rule=config.rule, iou=config.iou, min_votes=config.min_votes)
    lists, sources = [], []
    for look in row:
        view = calibration.views.get(look.member, {}).get(look.curve)
        faces = look.faces if view is None else view(look.faces, look.source.scale)
        boxes = np.asarray(clip_boxes(faces.boxes, *look.size), np.float32)
        lists.append(Faces(boxes=boxes, scores=faces.scores, landmarks=faces.landmarks))
        sources.append(replace(look.source, edges=None if view is None else view.edges))
    names = [m.name for m in ensemble.members]
    return fuse_evidence(lists, sources, names, settings, None, calibration.final_scores)


def folds(pictures: Sequence[LabelledPicture], count: int) -> list[IntColumn]:
    """Rows of the pictures of each fold; pictures of one event stay together, folds are about equally large.

    Pictures without an event are dealt out one by one.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for row, picture in enumerate(pictures):
        groups[picture.event or f"picture {row}"].append(row)
    out: list[list[int]] = [[] for _ in range(count)]
    for _, rows in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        min(out, key=len).extend(rows)
    return [np.array(sorted(rows), np.intp) for rows in out if rows]


def cross_validated(
    ensemble: Ensemble, seen: Sequence[Sequence[Look]], pictures: Sequence[LabelledPicture], *, count: int
) -> tuple[list[FusedFaces], list[np.ndarray | None]]:
    """Fused faces of every picture, and how likely each is wrong, with a calibration that never saw the picture's event."""
    fused: list[FusedFaces | None] = [None] * len(pictures)
    wrong: list[np.ndarray | None] = [None] * len(pictures)
    for held in folds(pictures, count):
        rest = np.setdiff1d(np.arange(len(pictures)), held)
        calibration = learn(ensemble, [seen[i] for i in rest], [pictures[i] for i in rest])
        for i in held.tolist():
            answer = fuse_looks(ensemble, calibration, seen[i], pictures[i])
            fused[i], wrong[i] = answer, calibration.wrong(answer.evidence)
    return [f for f in fused if f is not None], wrong
