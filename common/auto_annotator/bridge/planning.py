"""What the clustering and the registry say, as a plan in CVAT's terms. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.bridge.decisions import Decision, mark_after
from auto_annotator.bridge.faces import IDENTITY, PulledFace
from auto_annotator.bridge.marks import parse_mark
from auto_annotator.bridge.plan import Change, Pair, Plan, PlannedFace, PlannedPerson, Suggestion
from auto_annotator.bridge.review_queue import detector_reasons
from auto_annotator.bridge.state import Identities
from auto_annotator.clustering.identity import Assignment
from auto_annotator.cvat.shapes import percent
from auto_annotator.types import Clusters, Float32Array

CONTRADICTIONS = {
    "must_across_cannot": "People said of these faces that they are one person, and that they are two.",
    "track_across_cannot": "A track holds faces that people gave to different persons.",
    "never_in_must": "A face that is never to be clustered was given to a person as well.",
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DescribedLooks:
    """Descriptors of all looks of all faces; m rows.

    Attributes:
        face: (m,) int64 number of the face, ascending; each face has at least one row.
        picture: (m,) int64 number of the frame, over all tasks.
        vectors: (m, d) float16 unit rows, zeros = no descriptor.
        quality: (m,) float32, 0..1.
        notes: for each row codes of `review.REASONS`.
        failures: for each row empty, or the code of why it has no descriptor.
    """

    face: npt.NDArray[np.int64]
    picture: npt.NDArray[np.int64]
    vectors: npt.NDArray[np.float16]
    quality: Float32Array
    notes: tuple[tuple[str, ...], ...]
    failures: tuple[str, ...]

    def starts(self, faces: int) -> npt.NDArray[np.intp]:
        """First row of each face."""
        return np.searchsorted(self.face, np.arange(faces))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the vectors come from, for the plan: server, time, models, the cosine of their calibration (None = not known)."""

    server: str
    tasks: tuple[int, ...]
    created: str
    model_set: str
    model_hash: str
    threshold: float | None


class Planner:
    """Puts the plan together.

    Args:
        faces: all that were pulled.
        decisions: of each face.
        looks: descriptors of the faces.
        clusters: of the rows of `looks`.
        assignment: an id inside for each face.
        identities: after this run.
    """

    def __init__(
        self,
        faces: Sequence[PulledFace],
        decisions: Sequence[Decision],
        looks: DescribedLooks,
        clusters: Clusters,
        assignment: Assignment,
        identities: Identities,
    ) -> None:
        self.faces, self.decisions, self.looks, self.clusters = faces, decisions, looks, clusters
        self.assignment, self.identities = assignment, identities
        self.bounds = np.append(looks.starts(len(faces)), len(looks.face))
        self.disputed = {conflict.person for conflict in assignment.name_conflicts}
        self.doubtful = frozenset(clusters.doubtful)
        self.person_of = self._people_of_labels()

    def plan(self, source: Source) -> Plan:
        """The plan, its faces by place."""
        threshold = float(self.clusters.threshold)
        planned = [self._face(number) for number in range(len(self.faces))]
        return Plan(
            server=source.server,
            tasks=source.tasks,
            created=source.created,
            model_set=source.model_set,
            model_hash=source.model_hash,
            threshold=0.0 if np.isnan(threshold) else threshold,
            faces=tuple(sorted(planned, key=lambda face: face.ref.place)),
            people=self._people(),
            changes=tuple(self._changes()),
            pairs=self._pairs(),
            suggestions=(*self._two_names(), *self._contradictions()),
            notes=self.clusters.warnings,
        )

    def _face(self, number: int) -> PlannedFace:
        face, decision = self.faces[number], self.decisions[number]
        rows = range(self.bounds[number], self.bounds[number + 1])
        best = max(rows, key=lambda row: (self.looks.quality[row], -row))
        before, after = self._values(number, best)
        near = self.person_of.get(int(self.clusters.nearest[best]), "")
        return PlannedFace(
            ref=face.ref,
            before=before,
            after=after,
            confidence=round(float(np.mean(self.clusters.confidence[rows.start : rows.stop])), 4),
            quality=round(float(self.looks.quality[best]), 4),
            human=decision.human,
            reasons=self._reasons(rows, best),
            nearest=self.identities.outside(near),
            nearest_score=round(float(self.clusters.nearest_score[best]), 4) if near else 0.0,
            detector_reasons=detector_reasons(face.attributes),
            score=_whole(face.attributes.get("score", "")) if face.ref.kind == "shape" else -1,
        )

    def _reasons(self, rows: range, best: int) -> tuple[str, ...]:
        codes = list(self.looks.notes[best])
        if self.looks.failures[best]:
            codes.append("identity_doubtful")
        if not self.doubtful.isdisjoint(rows):
            codes.append("doubtful_person")
        return tuple(dict.fromkeys(codes))

    def _values(self, number: int, best: int) -> tuple[dict[str, str], dict[str, str]]:
        """Attributes before and after: what a person set stays."""
        face, decision = self.faces[number], self.decisions[number]
        before = {name: face.attributes[name] for name in IDENTITY}
        after = dict(before)
        inside = "" if decision.never else self.assignment.people[number]
        if not decision.human:
            after["person"] = self.identities.outside(inside)
        if not decision.name_is_human and inside not in self.disputed:
            after["name"] = self.identities.registry.people[inside].name if inside else ""
        mark = parse_mark(before["face_key"])
        after["face_key"] = str(mark_after(face.ref.key, mark, decision, after["person"], after["name"]))
        if face.ref.kind == "shape" and face.attributes.get("quality") in ("", "0"):  # nobody has written it yet
            before["quality"] = face.attributes["quality"]
            share = percent(float(self.looks.quality[best]))
            after["quality"] = before["quality"] if share == "0" else share
        return before, after

    def _people_of_labels(self) -> dict[int, str]:
        """Whose each cluster is: that of most of its faces, by the id inside."""
        first = self.bounds[:-1]
        pairs = zip(self.clusters.labels[first].tolist(), self.assignment.people, strict=True)
        votes = Counter((label, person) for label, person in pairs if label >= 0 and person)
        people: dict[int, str] = {}
        for (label, person), _ in sorted(votes.items(), key=lambda item: (-item[1], item[0])):
            people.setdefault(label, person)
        return people

    def _people(self) -> tuple[PlannedPerson, ...]:
        known, outside = self.identities.registry.people, self.identities.outside
        purity: dict[str, list[float]] = defaultdict(list)
        counts: Counter[str] = Counter()
        for number, person in enumerate(self.assignment.people):
            if person and not self.decisions[number].never:
                counts[person] += 1
                label = int(self.clusters.labels[self.bounds[number]])
                purity[person].append(float(self.clusters.purity[label]) if label >= 0 else 1.0)
        aliases: dict[str, list[str]] = defaultdict(list)
        for one in known.values():
            if one.alias_of:
                aliases[self.identities.registry.resolve(one.id)].append(outside(one.id))
        return tuple(
            PlannedPerson(
                id=outside(person),
                name=known[person].name,
                faces=count,
                purity=round(float(np.clip(np.mean(purity[person]), 0, 1)), 4),
                aliases=tuple(aliases[person]),
            )
            for person, count in sorted(counts.items())
        )

    def _changes(self) -> Sequence[Change]:
        outside = self.identities.outside
        return [
            Change(kind=e.kind, person=outside(e.person), others=tuple(outside(p) for p in e.others), reason=e.reason)
            for e in self.assignment.events
        ]

    def _pairs(self) -> tuple[Pair, ...]:
        pairs = []
        for suggestion in self.clusters.suggestions:
            first, second = self.person_of.get(suggestion.first, ""), self.person_of.get(suggestion.second, "")
            if first and second and first != second:
                names = self.identities.outside(first), self.identities.outside(second)
                pairs.append(Pair(first=names[0], second=names[1], score=round(suggestion.score, 4), reason=suggestion.reason))
        return tuple(pairs)

    def _two_names(self) -> list[Suggestion]:
        outside, made = self.identities.outside, []
        for conflict in self.assignment.name_conflicts:
            people = {conflict.person, *conflict.others}
            faces = [
                self.faces[n].ref.key
                for n, person in enumerate(self.assignment.people)
                if person in people and self.decisions[n].name in conflict.names
            ]
            text = "Faces that look like one person have several names: are they one person, or should the cluster be split?"
            made.append(
                Suggestion(kind="two_names", person=outside(conflict.person), text=text, names=conflict.names, faces=tuple(faces))
            )
        return made

    def _contradictions(self) -> list[Suggestion]:
        return [
            Suggestion(
                kind="contradiction",
                person=self.identities.outside(self.assignment.people[int(self.looks.face[conflict.rows[0]])]),
                text=CONTRADICTIONS[conflict.kind],
                faces=tuple(dict.fromkeys(self.faces[int(self.looks.face[row])].ref.key for row in conflict.rows)),
            )
            for conflict in self.clusters.conflicts
        ]


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1
