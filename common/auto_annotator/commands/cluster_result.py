"""What the clustering and the registry of ids say, as the content of a clusters file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np

from auto_annotator.clustering.identity import Assignment
from auto_annotator.exchange.clusters_file import (
    ClusteredFace,
    ClusteredPerson,
    ClusterFile,
    Contradiction,
    Meta,
    Nearest,
    State,
    Suggestion,
    Words,
)
from auto_annotator.exchange.descriptors_file import DescribedFaces
from auto_annotator.types import Clusters


def cluster_file(
    faces: DescribedFaces, clusters: Clusters, assignment: Assignment, words: Words, meta: Meta, named: Collection[str]
) -> ClusterFile:
    """Put the file together.

    Args:
        faces: what was clustered.
        clusters: labels of the same rows.
        assignment: an id for each of them.
        words: all human words in force.
        meta: how it was made.
        named: keys of faces that a person gave a name in this run.
    """
    person_of = _people_of_labels(clusters, assignment)
    states = _states(faces, clusters, words, named)
    counts = Counter(person for person in assignment.people if person)
    purity = _purity(clusters, assignment)
    known = assignment.registry.people
    return ClusterFile(
        meta=meta,
        people=tuple(
            ClusteredPerson(id=person, name=known[person].name, faces=n, purity=purity.get(person, 1.0))
            for person, n in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        ),
        suggestions=_suggestions(clusters, assignment, person_of),
        doubtful=tuple(faces.keys[row] for row in clusters.doubtful),
        conflicts=_conflicts(faces, clusters, assignment),
        warnings=clusters.warnings,
        words=words,
        faces=tuple(_face(faces, clusters, row, assignment.people[row], states[row], person_of) for row in range(len(faces))),
        registry=assignment.registry.to_json(),
    )


def _face(
    faces: DescribedFaces, clusters: Clusters, row: int, person: str, state: State, person_of: dict[int, str]
) -> ClusteredFace:
    x1, y1, x2, y2 = faces.boxes[row].tolist()
    near = int(clusters.nearest[row])
    return ClusteredFace(
        key=faces.keys[row],
        image=faces.image_of(row),
        box=(round(x1, 2), round(y1, 2), round(x2, 2), round(y2, 2)),
        person=person,
        label=int(clusters.labels[row]),
        confidence=float(np.clip(clusters.confidence[row], 0, 1)),
        quality=float(faces.quality[row]),
        state=state,
        nearest=Nearest(person=person_of[near], score=float(clusters.nearest_score[row])) if near in person_of else None,
        failure=faces.failures[row],
        notes=faces.notes[row],
    )


def _states(faces: DescribedFaces, clusters: Clusters, words: Words, named: Collection[str]) -> list[State]:
    confirmed, never = {key for pair in words.must for key in pair} | set(named), set(words.never)

    def state(row: int) -> State:
        key = faces.keys[row]
        if clusters.labels[row] >= 0:
            return "confirmed" if key in confirmed else "auto"
        if key in never:
            return "rejected"
        return "failed" if faces.failures[row] else "unknown"

    return [state(row) for row in range(len(faces))]


def _people_of_labels(clusters: Clusters, assignment: Assignment) -> dict[int, str]:
    """Whose each cluster is; where names keep people apart within one, that of most of its faces."""
    votes = Counter((int(label), person) for label, person in zip(clusters.labels, assignment.people, strict=True) if label >= 0)
    people: dict[int, str] = {}
    for (label, person), _ in sorted(votes.items(), key=lambda item: (-item[1], item[0])):
        people.setdefault(label, person)
    return people


def _purity(clusters: Clusters, assignment: Assignment) -> dict[str, float]:
    """Mean over a person's faces of the purity of the cluster each is in."""
    values: dict[str, list[float]] = {}
    for label, person in zip(clusters.labels, assignment.people, strict=True):
        if label >= 0:
            values.setdefault(person, []).append(float(clusters.purity[label]))
    return {person: float(np.clip(np.mean(those), 0, 1)) for person, those in values.items()}


def _suggestions(clusters: Clusters, assignment: Assignment, person_of: dict[int, str]) -> tuple[Suggestion, ...]:
    """People who may be one: what the clustering says, and people whom names alone keep apart."""
    two_names = [
        Suggestion(first=conflict.person, second=other, score=1.0, reason="two_names")
        for conflict in assignment.name_conflicts
        for other in conflict.others
        if {conflict.person, other} <= set(assignment.people)
    ]
    alike = [
        Suggestion(first=person_of[s.first], second=person_of[s.second], score=float(s.score), reason=s.reason)
        for s in clusters.suggestions
        if person_of[s.first] != person_of[s.second]
    ]
    return (*two_names, *alike)


def _conflicts(faces: DescribedFaces, clusters: Clusters, assignment: Assignment) -> tuple[Contradiction, ...]:
    rows = [Contradiction(kind=c.kind, faces=tuple(faces.keys[row] for row in c.rows)) for c in clusters.conflicts]
    named = [
        Contradiction(kind="two_names", faces=(), detail=f"{c.person} has been given several names: {', '.join(c.names)}")
        for c in assignment.name_conflicts
    ]
    return (*rows, *named)
