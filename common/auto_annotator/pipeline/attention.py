"""Which looks are worth having, and what a look may say beside a closer one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from auto_annotator.ensemble import Member, Plan
from auto_annotator.fusion.boxes import Source
from auto_annotator.geometry import box_sides
from auto_annotator.types import Faces

CONFIRMS = 0.5
"""Calibrated score from which a view confirms a face that is too small for its doubts to count: more likely a face than not."""

LIKELY = 0.1
"""Calibrated score from which a box may be a face that calls for a closer look."""


def smallest_side(looks: Sequence[Faces]) -> float:
    """Side in pixels of the smallest face that may be one; 0 if there is none, as all faces may be too small to be seen."""
    sides = np.concatenate([box_sides(faces.boxes[faces.scores >= LIKELY]) for faces in looks] or [np.zeros(0)])
    return float(sides.min()) if len(sides) else 0.0


def beside_tiles(member: Member, plan: Plan, faces: Faces) -> tuple[Faces, Source]:
    """What a view of the whole picture has to say where tiles show small faces many times larger.

    Its silence and its doubts about faces smaller than `sure_face` would outvote the tiles; it may only confirm them.
    """
    source = member.source(plan)
    sure = min(max(source.min_side, plan.view.sure_face / plan.scale), source.max_side)
    heard = (box_sides(faces.boxes) >= sure) | (faces.scores >= CONFIRMS)
    return faces.select(heard), replace(source, min_side=sure)
