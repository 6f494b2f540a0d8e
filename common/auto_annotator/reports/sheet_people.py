"""Which faces of a plan go where on the contact sheet, and in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from auto_annotator.bridge.plan import Plan, PlannedFace, PlannedPerson
from auto_annotator.bridge.review_queue import is_never, moved, queue_of_plan

FACES_PER_PERSON, FACES_PER_SIDE, FACES_PER_MOVE = 48, 3, 12
"""Faces with a picture in the row of a person, of each of two people who may be one, and of each move; others are links."""
MAX_PICTURES = 4000
"""Faces with a picture on the whole page, which then has some 25 MB; others are links."""
MAX_LOOSE, MAX_PAIRS, MAX_MOVES, MAX_ASKED = 480, 60, 60, 40
"""Pictures of each group at the end; look-alike pairs, moves and questions."""

Place = tuple[int, int, str, int]
"""`FaceRef.place`."""


class SheetPeople:
    """A plan, looked at from its people.

    Args:
        plan: the plan.

    Attributes:
        plan: the plan.
        queue: faces to look at, by place.
        faces: person -> faces, the most doubtful first; everybody whom the plan gives a face.
        people: what the plan says of them.
        anchors: person -> place on the page.
        row_order: people with a row of their own, those to check first.
        once: faces of people who were seen once and have no name.
        nobody: faces that were given to nobody.
        never: faces that are never to be clustered.
        shown: faces that are worth a picture, by place; the frames of no other face are needed.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.queue = {entry.ref.place: entry for entry in queue_of_plan(plan)}
        self._merged = {person.id: frozenset(person.aliases) for person in plan.people}
        self.faces: dict[str, list[PlannedFace]] = {}
        for face in sorted(plan.faces, key=self._order):
            self.faces.setdefault(face.person.strip(), []).append(face)
        self.people = {person.id: person for person in plan.people}
        self.nobody = self.faces.pop("", [])
        self.never = [face for person in list(self.faces) if is_never(person) for face in self.faces.pop(person)]
        for person in self.faces:  # a plan that was edited by hand may forget somebody
            self.people.setdefault(person, PlannedPerson(id=person, faces=len(self.faces[person])))
        self.anchors = {person: f"p{number}" for number, person in enumerate(sorted(self.faces), start=1)}
        self.row_order = self._in_rows()
        rows = set(self.row_order)
        self.once = [faces[0] for person, faces in self.faces.items() if person not in rows]
        self.once.sort(key=self._order)
        self._by_key: dict[str, list[PlannedFace]] = defaultdict(list)
        for face in plan.faces:
            self._by_key[face.ref.key].append(face)
        self.shown = self._with_picture()

    def _in_rows(self) -> list[str]:
        """Everybody with several faces or a name, those to check first."""
        rows = [person for person, faces in self.faces.items() if len(faces) > 1 or self.people[person].name]
        looks = {person: sum(face.ref.place in self.queue for face in self.faces[person]) for person in rows}
        worst = {person: max(self._priority(face) for face in self.faces[person]) for person in rows}
        return sorted(rows, key=lambda p: (looks[p] == 0, -worst[p], self.people[p].purity, -len(self.faces[p]), p))

    def _priority(self, face: PlannedFace) -> int:
        entry = self.queue.get(face.ref.place)
        return entry.priority if entry else -1

    def _order(self, face: PlannedFace) -> tuple[int, float, Place]:
        """Most doubtful first, then the ones that stand out best."""
        return -self._priority(face), -face.quality, face.ref.place

    def _with_picture(self) -> dict[Place, PlannedFace]:
        """What is worth a picture, the most important first, up to the limit."""
        groups: list[Sequence[PlannedFace]] = [self.asked(s.faces)[:FACES_PER_MOVE] for s in self.plan.suggestions[:MAX_ASKED]]
        groups += [faces[:FACES_PER_MOVE] for _, faces in self.moves()[:MAX_MOVES]]
        groups += [self.typical(p) for pair in self.plan.pairs[:MAX_PAIRS] for p in (pair.first, pair.second)]
        groups += [self.faces[person][:FACES_PER_PERSON] for person in self.row_order]
        groups += [loose[:MAX_LOOSE] for loose in (self.once, self.nobody, self.never)]
        found: dict[Place, PlannedFace] = {}
        for group in groups:
            for face in group:
                if len(found) < MAX_PICTURES:
                    found[face.ref.place] = face
        return found

    def asked(self, keys: Sequence[str]) -> list[PlannedFace]:
        """The faces of some geometry keys."""
        return [face for key in keys for face in self._by_key.get(key, ())]

    def typical(self, person: str) -> list[PlannedFace]:
        """Faces that show best who somebody is."""
        faces = self.faces.get(person, [])
        return sorted(faces, key=lambda f: (-f.confidence * f.quality, -f.quality, f.ref.place))[:FACES_PER_SIDE]

    def moves(self) -> list[tuple[tuple[str, str], list[PlannedFace]]]:
        """(old id, new id) -> faces, the largest moves first; an empty new id = taken out."""
        groups: dict[tuple[str, str], list[PlannedFace]] = defaultdict(list)
        for face in self.plan.faces:
            was = face.before.get("person", "").strip()
            if moved(face, self._merged) or (was and not face.person):
                groups[was, face.person.strip()].append(face)
        return sorted(((pair, sorted(f, key=self._order)) for pair, f in groups.items()), key=lambda m: (-len(m[1]), m[0]))

    @property
    def counts(self) -> dict[str, int]:
        """The figures on top of the page."""
        faces = self.plan.faces
        first = [f for f in faces if f.person and not f.before.get("person", "").strip()]
        names = [f for f in faces if f.before.get("name", "") != f.after.get("name", "")]
        return {
            "faces": len(faces),
            "frames": len({(face.ref.task, face.ref.frame) for face in faces}),
            "people": len(self.row_order),
            "named": sum(bool(self.people[person].name) for person in self.row_order),
            "once": len(self.once),
            "nobody": len(self.nobody),
            "never": len(self.never),
            "look": len(self.queue),
            "write": len(self.plan.changed),
            "first": len(first),
            "moved": sum(len(moved_faces) for _, moved_faces in self.moves()),
            "merged_faces": sum(f.before.get("person", "").strip() in self._merged.get(f.person, ()) for f in faces),
            "names": len(names),
            "human": sum(face.human for face in faces),
        }
