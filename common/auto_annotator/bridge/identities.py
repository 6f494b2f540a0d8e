"""Who is who among the faces of CVAT: vectors and human decisions in, a plan out. Pure; nothing is read or written here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.bridge.decisions import Decision, Links, decide, links_of
from auto_annotator.bridge.faces import PulledFace
from auto_annotator.bridge.marks import parse_mark, token
from auto_annotator.bridge.plan import Plan
from auto_annotator.bridge.planning import DescribedLooks, Planner, Source
from auto_annotator.bridge.state import Identities, completed, named
from auto_annotator.clustering.identity import Assignment, assign_people
from auto_annotator.geometry import iou_matrix
from auto_annotator.types import Clusters, Constraints

SAME_FACE_IOU = 0.6
"""Two boxes of one frame in two jobs that overlap (CVAT's task option *overlap size*) are one face from this IoU on."""

Clustering = Callable[..., Clusters]
"""What `pipeline.FaceClustering` is."""


def identify(
    faces: Sequence[PulledFace],
    looks: DescribedLooks,
    identities: Identities,
    clustering: Clustering,
    source: Source,
    **options: Any,
) -> tuple[Plan, Identities]:
    """Cluster the faces under all human decisions and plan what to write.

    Args:
        faces: all faces of the tasks.
        looks: their descriptors.
        identities: of the last run.
        clustering: `pipeline.FaceClustering`, or a function of the same arguments.
        source: for the plan.
        options: for the clustering (`workspace`, `progress`).

    Returns:
        The plan, and the identities for the next run.
    """
    decisions = [decide(face.attributes) for face in faces]
    known = named(completed(identities, decisions), decisions)
    first = looks.starts(len(faces))
    best = np.maximum.reduceat(looks.quality, first) if len(faces) else looks.quality
    links = links_of(decisions, best, lambda person: known.registry.resolve(known.inside(person)))
    before = _before(faces, decisions, known)
    clusters = clustering(
        looks.vectors,
        quality=looks.quality,
        constraints=_constraints(faces, looks, links, first),
        previous=_previous(before, looks.face),
        threshold=source.threshold,
        **options,
    )
    assignment = _assign(faces, decisions, before, known, clusters, first)
    after = replace(known, registry=assignment.registry)
    after = replace(after, faces=_faces_by_task(faces, assignment, known, decisions))
    return Planner(faces, decisions, looks, clusters, assignment, after).plan(source), after


def _before(faces: Sequence[PulledFace], decisions: Sequence[Decision], known: Identities) -> list[str]:
    """Who each face was, by the id inside: what CVAT says, else what an earlier plan that was not pushed said."""
    before = []
    for face, decision in zip(faces, decisions, strict=True):
        person = known.inside(decision.now)
        if not person and not decision.never:
            planned = known.faces.get(face.ref.task, {})
            mark = parse_mark(face.attributes.get("face_key", ""))
            person = planned.get(face.ref.key) or (planned.get(mark.key, "") if mark else "")
            if token(known.outside(person)) in decision.apart or person not in known.registry.people:
                person = ""
        before.append(known.registry.resolve(person) if person else "")
    return before


def _previous(before: Sequence[str], face: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    numbers = {person: number for number, person in enumerate(sorted(set(before) - {""}))}
    return np.array([numbers.get(person, -1) for person in before], np.int64)[face]


def _constraints(faces: Sequence[PulledFace], looks: DescribedLooks, links: Links, first: npt.NDArray[np.intp]) -> Constraints:
    """Links between faces as links between rows; rows of one track are one person."""
    twice = _same_face_in_two_jobs(faces)
    never = np.flatnonzero(np.isin(looks.face, links.never))
    tracks = np.where(np.array([face.ref.kind == "track" for face in faces], np.bool_)[looks.face], looks.face, -1)
    return Constraints(
        must=first[np.concatenate([links.must, twice])] if len(faces) else links.must,
        cannot=first[links.cannot] if len(faces) else links.cannot,
        never=never,
        images=looks.picture,
        tracks=tracks,
    )


def _same_face_in_two_jobs(faces: Sequence[PulledFace]) -> npt.NDArray[np.int64]:
    """Pairs of faces: where jobs of a task overlap, each job has its own box of a face."""
    by_frame: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, face in enumerate(faces):
        by_frame[face.ref.task, face.ref.frame].append(number)
    pairs: list[tuple[int, int]] = []
    for rows in by_frame.values():
        if len({faces[row].ref.job for row in rows}) > 1:
            boxes = np.array([faces[row].ref.box for row in rows], np.float64)
            for i, j in np.argwhere(np.triu(iou_matrix(boxes, boxes), 1) >= SAME_FACE_IOU).tolist():
                if faces[rows[i]].ref.job != faces[rows[j]].ref.job:
                    pairs.append((rows[i], rows[j]))
    return np.array(pairs, np.int64).reshape(-1, 2)


def _assign(
    faces: Sequence[PulledFace],
    decisions: Sequence[Decision],
    before: Sequence[str],
    known: Identities,
    clusters: Clusters,
    first: npt.NDArray[np.intp],
) -> Assignment:
    """An id inside for every face."""
    keys = [f"{face.ref.task}/{face.ref.job}/{face.ref.key}" for face in faces]  # jobs that overlap hold a key twice
    pulled = {face.ref.task for face in faces}
    kept = {f"{task}/{key}": p for task, rows in known.faces.items() if task not in pulled for key, p in rows.items()}
    now = {key: person for key, person in zip(keys, before, strict=True) if person}
    registry = replace(known.registry, faces=MappingProxyType({**kept, **now}))
    return assign_people(
        registry,
        keys,
        clusters.labels[first],
        confirmed={key: known.inside(d.person) for key, d in zip(keys, decisions, strict=True) if d.person},
        names={key: d.name for key, d in zip(keys, decisions, strict=True) if d.name},
        confidence=clusters.confidence[first],
    )


def _faces_by_task(
    faces: Sequence[PulledFace], assignment: Assignment, known: Identities, decisions: Sequence[Decision]
) -> dict[int, dict[str, str]]:
    """For the next run: whose each face is. Tasks that were not pulled keep what they had."""
    by_task: dict[int, dict[str, str]] = {task: dict(rows) for task, rows in known.faces.items()}
    by_task.update({face.ref.task: {} for face in faces})
    for face, person, decision in zip(faces, assignment.people, decisions, strict=True):
        if person and not decision.never:
            by_task[face.ref.task][face.ref.key] = person
    return by_task
