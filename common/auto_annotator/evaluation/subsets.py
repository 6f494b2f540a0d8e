"""Where an ensemble is better than its members and where it is not: by size of the face and by what the labels say of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from auto_annotator.evaluation.bootstrap import Interval, average_precision_draws, difference
from auto_annotator.evaluation.detection import Matches, Pairs, average_precision
from auto_annotator.evaluation.labels import ATTRIBUTES, SIZE_EDGES, BoolArray, LabelledPicture, size_names

ONCE, VIEWS = "one look", "all views"
"""How a member is run: with its first view alone, or with all it has joined by WBF. The names of its systems end so."""

FEW = 30
"""Faces below which the AP of a subset says next to nothing: it stays in the tables, but is never called the worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """An ensemble against the best of some systems in one subset.

    Attributes:
        system: the one with the highest AP in this subset, chosen after the fact, which favours it.
        ap: its average precision.
        difference: ensemble minus it, with a 95 % interval over paired draws of pictures.
    """

    system: str
    ap: float
    difference: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """An ensemble on the faces of one size or attribute.

    Attributes:
        faces: how many count.
        ap: its average precision at IoU 0.5.
        against: how members are run (`ONCE`, `VIEWS`) -> gain on the best of them; without those that are not there.
    """

    faces: int
    ap: float
    against: Mapping[str, Gain]


def subset_masks(pairs: Pairs, pictures: Sequence[LabelledPicture]) -> Iterator[tuple[str, BoolArray, tuple[float, float] | None]]:
    """Name and faces of each subset; for sizes also the heights of the boxes that can be false there."""
    for name, (low, high) in zip(size_names(), pairwise(SIZE_EDGES), strict=True):
        yield f"size: {name}", (pairs.face_heights >= low) & (pairs.face_heights < high), (low, high)
    for attribute, values in ATTRIBUTES.items():
        if all(attribute in p.attributes for p in pictures) and pictures:
            column = np.concatenate([p.attributes[attribute] for p in pictures])
            for value, word in enumerate(values):
                yield f"{attribute}: {word}", column == value, None


def subset_matches(pairs: Pairs, pictures: Sequence[LabelledPicture], counts: BoolArray) -> dict[str, tuple[BoolArray, Matches]]:
    """Name of each subset that has faces -> which they are, and the detections judged on them.

    Faces outside the subset neither count nor are errors when found. A box on no face is false in every subset of an attribute, as
    nobody says what it would be, and among the sizes only in its own.

    Args:
        pairs: detections and the faces they mean.
        pictures: the truth.
        counts: (g,) bool, faces of the list that subsets are taken from.
    """
    out = {}
    for name, mask, heights in subset_masks(pairs, pictures):
        asked = mask & counts
        if asked.any():
            judged = pairs.matches(asked)
            if heights is not None:
                judged = judged.select(judged.hits | ((judged.heights >= heights[0]) & (judged.heights < heights[1])))
            out[name] = asked, judged
    return out


def compare_subsets(
    ours: Mapping[str, Matches], members: Mapping[str, Mapping[str, Matches]], drawn: npt.NDArray[np.int32]
) -> dict[str, Subset]:
    """The ensemble against the best member of each subset.

    Args:
        ours: subset -> detections of the ensemble, judged on it.
        members: system -> the same; names end with `ONCE` or `VIEWS`.
        drawn: (draws, pictures), see `draw_pictures`.
    """
    out = {}
    for name, matches in ours.items():
        ap, draws = average_precision(matches), average_precision_draws(matches, drawn)
        against = {}
        for how in (ONCE, VIEWS):
            scores = {system: average_precision(judged[name]) for system, judged in members.items() if system.endswith(how)}
            if scores:
                best = max(scores, key=lambda system: scores[system])
                rival = average_precision_draws(members[best][name], drawn)
                against[how] = Gain(system=best, ap=scores[best], difference=difference(draws, rival, ap - scores[best]))
        out[name] = Subset(faces=matches.faces, ap=ap, against=against)
    return out


def worst(subsets: Mapping[str, Subset], how: str = ONCE) -> str | None:
    """The subset of at least `FEW` faces in which the ensemble gains least; None if there is none."""
    gains = {name: s.against[how].difference.value for name, s in subsets.items() if s.faces >= FEW and how in s.against}
    return min(gains, key=lambda name: gains[name], default=None)
