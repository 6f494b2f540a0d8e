"""How good the faces of a CVAT task are: boxes, landmarks, people, ensemble members and people's edits, against true annotations.

A face that was found belongs to the true face that it overlaps most, from IoU 0.5 up; of several on one face the best is right and
the others are false (`evaluation.detection`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.bridge.quality import Annotated
from auto_annotator.evaluation.clustering import ClusteringScores, score
from auto_annotator.evaluation.detection import Corrections, Matches, corrections, pair
from auto_annotator.evaluation.labels import SIZE_EDGES, LabelledPicture, size_names
from auto_annotator.evaluation.landmarks import FAILURE, detection_errors

TIGHT = 0.7
"""IoU from which a box needs no correction."""
NEVER = "none"
"""`person` of a face that is nobody's."""

_VOTES = re.compile(r"\d+/\d+((?: \S+=\d+)*)", re.ASCII)

Column = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """Faces of one size; shares are 0..1, NaN where there is nothing to divide by.

    Attributes:
        name: which heights in pixels.
        true, right: true faces of that height, and how many of them were found.
        found: found faces of that height.
        precision: share of `found` that are right.
        recall: share of `true` that were found.
        iou: mean IoU of the right ones.
    """

    name: str
    true: int
    found: int
    right: int
    precision: float
    recall: float
    iou: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Landmarks of right faces whose true points are all known.

    Attributes:
        judged: how many have five points on both sides.
        lacking: how many have none, or not all, where the true face has all.
        nme: mean error divided by the eye distance, NaN without any.
        bad: share with an error above 10 %, lacking ones too.
    """

    judged: int
    lacking: int
    nme: float
    bad: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of the ensemble, by the attribute `votes`.

    Attributes:
        name: its name.
        votes: faces it voted for.
        right: how many of them are right.
        precision: that as a share.
        alone_right: right faces that no other member saw: it helped.
        alone_wrong: wrong faces that no other member saw: it hurt.
        overlooked: right faces with votes, but not with its.
    """

    name: str
    votes: int
    right: int
    precision: float
    alone_right: int
    alone_wrong: int
    overlooked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One face to correct: what is wrong (`missed`, `false`, `loose`, `landmarks`), and its row among the true or found faces."""

    kind: str
    row: int
    detail: str = ""

    @property
    def of_truth(self) -> bool:
        """Whether `row` counts the true faces; there is no found one then."""
        return self.kind == "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Everything that is measured.

    Attributes:
        frames: pictures that were compared.
        all: all sizes together.
        bands: by height.
        landmarks: of the five points.
        corrections: what a person must mend.
        people_faces: right faces of which the truth says who they are; 0 = people were not judged.
        people: how well they are put together; None without any.
        members: by name; empty where no face has votes.
        sources: CVAT's source -> (faces, right ones). `semi-auto` = ours, edited by a person. What people deleted is unknown.
        faults: every face to correct.
    """

    frames: int
    all: Band
    bands: tuple[Band, ...]
    landmarks: Points
    corrections: Corrections
    people_faces: int
    people: ClusteringScores | None
    members: tuple[Member, ...]
    sources: Mapping[str, tuple[int, int]]
    faults: tuple[Fault, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; NaN becomes None. The faults are left out."""
        data = asdict(self)
        del data["faults"]
        data["corrections"]["per_100"] = self.corrections.per_100
        data["sources"] = {name: {"faces": faces, "right": right} for name, (faces, right) in self.sources.items()}
        plain: dict[str, Any] = _plain(data)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def quality(found: Annotated, truth: Annotated) -> Quality:
    """Judge annotations.

    Args:
        found: the faces to judge.
        truth: the true ones, of the same pictures in the same order.

    Raises:
        ValueError: if there are not as many pictures on both sides.
    """
    labelled = [LabelledPicture(path=Path(), boxes=p.boxes, landmarks=p.landmarks) for p in truth.pictures]
    pairs = pair(found.pictures, [p.boxes for p in truth.pictures])
    matches = pairs.matches(np.ones(len(truth.places), np.bool_))  # every true face counts, so no found one is left out
    right = np.zeros(len(found.places), np.bool_)
    right[matches.row] = matches.hits
    errors = detection_errors(found.pictures, labelled, pairs)
    errors[~right] = np.nan
    people_faces, people = _people(found, truth, matches)
    bins = zip(size_names(), pairwise(SIZE_EDGES), strict=True)
    return Quality(
        frames=len(found.pictures),
        all=_band("all", (0.0, math.inf), matches, pairs.face_heights),
        bands=tuple(_band(name, edges, matches, pairs.face_heights) for name, edges in bins),
        landmarks=_points(errors),
        corrections=corrections(matches, 0.0, tight=TIGHT, landmark_errors=errors[matches.row], failure=FAILURE),
        people_faces=people_faces,
        people=people,
        members=members(found.votes, right),
        sources=_sources(found.sources, right),
        faults=_faults(matches, errors, len(truth.places)),
    )


def _band(name: str, edges: tuple[float, float], matches: Matches, true_heights: Column) -> Band:
    low, high = edges
    true = (true_heights >= low) & (true_heights < high)
    found = (matches.heights >= low) & (matches.heights < high)
    hit = matches.hits & true[matches.face] if len(true) else matches.hits  # a hit counts with the size of its true face
    right = int(hit.sum())
    return Band(
        name=name,
        true=int(true.sum()),
        found=int(found.sum()),
        right=right,
        precision=_share(int((matches.hits & found).sum()), int(found.sum())),
        recall=_share(right, int(true.sum())),
        iou=float(matches.overlaps[hit].mean()) if right else math.nan,
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _points(errors: Column) -> Points:
    judged, lacking = np.isfinite(errors), np.isinf(errors)
    both = int(judged.sum() + lacking.sum())
    return Points(
        judged=int(judged.sum()),
        lacking=int(lacking.sum()),
        nme=float(errors[judged].mean()) if judged.any() else math.nan,
        bad=_share(int((errors > FAILURE).sum()), both),
    )


def _people(found: Annotated, truth: Annotated, matches: Matches) -> tuple[int, ClusteringScores | None]:
    """Right faces of which the truth says who they are; a found face without a person is a cluster of its own."""
    named = [
        (found.people[row], truth.people[face])
        for row, face in zip(matches.row.tolist(), matches.face.tolist(), strict=True)
        if face >= 0 and _is_somebody(truth.people[face])
    ]
    if not named:
        return 0, None
    ours = {person: number for number, person in enumerate(sorted({a for a, _ in named if _is_somebody(a)}))}
    theirs = {person: number for number, person in enumerate(sorted({b for _, b in named}))}
    return len(named), score([ours.get(a, -1) for a, _ in named], [theirs[b] for _, b in named])


def _is_somebody(person: str) -> bool:
    return bool(person) and person.casefold() != NEVER


def voters(text: str) -> frozenset[str] | None:
    """Who saw a face, from the attribute `votes` such as `2/3 yunet=93 centerface=88`; None if it is not such a text."""
    match = _VOTES.fullmatch(text.strip())
    return frozenset(part.rpartition("=")[0] for part in match[1].split()) if match else None


def members(votes: Sequence[str], right: Mask) -> tuple[Member, ...]:
    """What each member of the ensemble brought, by name.

    Args:
        votes: attribute `votes` of every found face.
        right: (n,) bool, which of them are right.
    """
    seen = [(who, bool(good)) for text, good in zip(votes, right.tolist(), strict=True) if (who := voters(text)) is not None]
    result = []
    for name in sorted({one for who, _ in seen for one in who}):
        own = [good for who, good in seen if name in who]
        alone = [good for who, good in seen if who == {name}]
        result.append(
            Member(
                name=name,
                votes=len(own),
                right=sum(own),
                precision=_share(sum(own), len(own)),
                alone_right=sum(alone),
                alone_wrong=len(alone) - sum(alone),
                overlooked=sum(good for who, good in seen if name not in who),
            )
        )
    return tuple(result)


def _sources(sources: Sequence[str], right: Mask) -> dict[str, tuple[int, int]]:
    rows = list(zip(sources, right.tolist(), strict=True))
    return {name: (sum(s == name for s, _ in rows), sum(s == name and good for s, good in rows)) for name in sorted(set(sources))}


def _faults(matches: Matches, errors: Column, true: int) -> tuple[Fault, ...]:
    """Every face to correct, missed ones first."""
    hit = set(matches.face[matches.hits].tolist())
    faults = [Fault(kind="missed", row=face) for face in range(true) if face not in hit]
    order = np.argsort(matches.row, kind="stable")
    rows, hits, overlaps = matches.row[order], matches.hits[order], matches.overlaps[order]
    faults += [Fault(kind="false", row=int(row)) for row in rows[~hits]]
    loose = hits & (overlaps < TIGHT)
    faults += [Fault(kind="loose", row=int(r), detail=f"IoU {o:.2f}") for r, o in zip(rows[loose], overlaps[loose], strict=True)]
    bad = np.flatnonzero(errors > FAILURE)
    faults += [
        Fault(kind="landmarks", row=int(row), detail=f"{errors[row]:.0%} off" if np.isfinite(errors[row]) else "not all there")
        for row in bad
    ]
    return tuple(faults)
