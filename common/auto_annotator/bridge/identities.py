"""Who is who among the faces of CVAT: vectors and human decisions in, a plan out. Pure; nothing is read or written here."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.bridge.decisions import Decision, Links, decide, links_of
from auto_annotator.bridge.faces import IDENTITY, PulledFace
from auto_annotator.bridge.marks import parse_mark, token
from auto_annotator.bridge.plan import Plan
from auto_annotator.bridge.planning import DescribedLooks, Planner, Source
from auto_annotator.bridge.state import Identities, completed, named
from auto_annotator.clustering.identity import Assignment, Event, assign_people
from auto_annotator.geometry import iou_matrix
from auto_annotator.types import Clusters, Constraints, Float32Array

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
    ever = map(known.outside, known.registry.people)
    links = links_of(decisions, best, lambda person: known.registry.resolve(known.inside(person)), ever)
    before = _before(faces, decisions, known)
    clusters = clustering(
        looks.vectors,
        quality=looks.quality,
        constraints=_constraints(faces, looks, links, first),
        previous=_previous(before, looks.face),
        threshold=source.threshold,
        **options,
    )
    confirmed = [known.inside(decision.person) for decision in decisions]
    if news(faces, [face.attributes for face in faces], looks, source) == identities.news:
        labels = _previous(before, np.arange(len(faces)))  # nothing is new: a few faces on the edge of two people must not move
    else:
        labels = with_parts(clusters.labels[first], before, confirmed, links.cannot)
    assignment = _assign(faces, decisions, before, known, labels, clusters.confidence[first])
    assignment = _retired_by_people(faces, decisions, assignment)
    after = replace(known, registry=assignment.registry)
    after = replace(after, faces=_faces_by_task(faces, assignment, known, decisions))
    plan = Planner(faces, decisions, looks, clusters, assignment, after).plan(source)
    written = {face.ref.place: face.after for face in plan.faces}
    return plan, replace(after, news=news(faces, [written[face.ref.place] for face in faces], looks, source))


def news(faces: Sequence[PulledFace], attributes: Sequence[Mapping[str, str]], looks: DescribedLooks, source: Source) -> str:
    """A digest of all that a run depends on; the same for a run that would find what the last push left, and nothing else.

    Args:
        faces: all faces, in any order.
        attributes: of each face, as they are or as they will be after the push.
        looks: their descriptors.
        source: models and threshold.
    """
    bounds = np.append(looks.starts(len(faces)), len(looks.face))
    parts = [f"{source.model_hash} {source.threshold}".encode()]
    entries = []
    for number, (face, values) in enumerate(zip(faces, attributes, strict=True)):
        place = [face.ref.task, face.ref.job, face.ref.kind, face.ref.key, *(values.get(name, "") for name in IDENTITY)]
        rows = slice(bounds[number], bounds[number + 1])
        entries.append(repr(place).encode() + looks.vectors[rows].tobytes() + looks.quality[rows].tobytes())
    return hashlib.sha256(b"\n".join([*parts, *sorted(entries)])).hexdigest()


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


def with_parts(
    labels: npt.NDArray[np.integer], before: Sequence[str], confirmed: Sequence[str], cannot: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Clusters of faces that we had given to somebody whom people confirmed elsewhere stay with that person.

    A person may say that two groups of quite different faces are one: no vector shows it, so the clustering finds two clusters.

    Args:
        labels: (n,) of the clustering, -1 = nobody.
        before: who each face was.
        confirmed: who people said each face is, empty = nobody said.
        cannot: (c, 2) faces that are two people.

    Returns:
        (n,) labels with such clusters joined to the person's.
    """
    joined = np.asarray(labels, np.int64).copy()
    rows: dict[int, list[int]] = defaultdict(list)
    told: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(joined.tolist()):
        if confirmed[row]:
            told[confirmed[row]].append(row)
        if label >= 0:
            rows[label].append(row)
    home = {person: max((int(joined[r]) for r in those), default=-1) for person, those in told.items()}
    enemies: dict[int, set[int]] = defaultdict(set)
    for a, b in cannot.tolist():
        enemies[a].add(b)
        enemies[b].add(a)
    for label in sorted(rows, key=lambda one: (-len(rows[one]), rows[one][0])):
        members = rows[label]
        person, count = Counter(before[r] for r in members).most_common(1)[0]
        if person not in home or 2 * count <= len(members) or any(confirmed[r] for r in members):
            continue
        there = [*told[person], *(rows[home[person]] if home[person] >= 0 else [])]
        if any(enemies[r] & set(there) for r in members if enemies[r]):
            continue
        if home[person] < 0:
            home[person] = label
            joined[told[person]] = label
        joined[members] = home[person]
    return joined


def _assign(
    faces: Sequence[PulledFace],
    decisions: Sequence[Decision],
    before: Sequence[str],
    known: Identities,
    labels: npt.NDArray[np.integer],
    confidence: Float32Array,
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
        labels,
        confirmed={key: known.inside(d.person) for key, d in zip(keys, decisions, strict=True) if d.person},
        names={key: d.name for key, d in zip(keys, decisions, strict=True) if d.name},
        confidence=confidence,
    )


def _retired_by_people(faces: Sequence[PulledFace], decisions: Sequence[Decision], assignment: Assignment) -> Assignment:
    """With a note for each person all of whose faces people gave to others; said once."""
    registry = assignment.registry
    noted = {event.person for event in registry.events if event.kind == "retired"}
    marks = [parse_mark(face.attributes.get("face_key", "")) for face in faces]
    given_away = {mark.person for mark, decision in zip(marks, decisions, strict=True) if mark and decision.human}
    gone = sorted((given_away & set(registry.people)) - set(assignment.people) - noted)
    events = tuple(
        Event(run=registry.run, kind="retired", person=person, reason="people gave all of the faces to others") for person in gone
    )
    return replace(assignment, events=(*assignment.events, *events), registry=replace(registry, events=(*registry.events, *events)))


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
