"""What the contact sheet shows of a plan: who is in which row, the doubtful faces first, links into CVAT, what changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from auto_annotator.bridge.links import checked_host, face_url, job_url
from auto_annotator.bridge.plan import PlannedFace, PlannedPerson
from auto_annotator.bridge.review_queue import sentence
from auto_annotator.reports.face_tiles import GroupView, PairView, PersonView, TileView
from auto_annotator.reports.page_view import short_name
from auto_annotator.reports.sheet_people import (
    FACES_PER_MOVE,
    FACES_PER_PERSON,
    MAX_ASKED,
    MAX_LOOSE,
    MAX_MOVES,
    MAX_PAIRS,
    Place,
    SheetPeople,
)

SENTENCE = 400
"""Characters of a sentence that are shown."""
PAIR_REASONS = {
    "look_alike": "They look alike, but not enough to be sure.",
    "same_picture": "They look alike enough to be one, but they are in pictures together.",
    "two_names": "One group of faces has been given two names.",
}


EVENTS = {
    "merged": "now includes",
    "split": "was split, some faces now belong to",
    "retired": "has no faces any more",
    "named": "got a name",
    "created": "is new",
}
"""Kind of a change in the plan -> words between the person and the others."""
TOGETHER = {"retired": "have no faces any more", "named": "got names", "created": "are new"}
"""Kinds that are one line when there are more than `FEW_EVENTS` of them."""
FEW_EVENTS, MAX_EVENTS = 5, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkView:
    """A link with few words."""

    url: str
    text: str
    look: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RowView(PersonView):
    """A person with what CVAT calls for: links to the faces without a picture, and to the jobs where the person is."""

    rest: tuple[LinkView, ...]
    jobs: tuple[LinkView, ...]
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseView(GroupView):
    """Faces without a row; the ones without a picture are links."""

    rest: tuple[LinkView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveView:
    """Faces that go from one person to another (empty `target` = not on the page; empty `to` = taken out)."""

    was: str
    to: str
    target: str
    faces: int
    tiles: tuple[TileView, ...]
    rest: tuple[LinkView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionView:
    """Something that only a person can decide; the faces with the names that they were given."""

    text: str
    person: str
    target: str
    names: tuple[str, ...]
    faces: int
    tiles: tuple[TileView, ...]
    rest: tuple[LinkView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """What became of ids: `people` words `others` (reason)."""

    words: str
    people: tuple[LinkView, ...]
    others: tuple[LinkView, ...]
    reason: str


class SheetViews:
    """What the page shows of the people of a plan.

    Args:
        who: the people.
        urls: pictures as data URLs by place of the face; a face without one stays a link with words.

    Raises:
        ConfigError: if the plan's server is no web address.
    """

    def __init__(self, who: SheetPeople, urls: Mapping[Place, str]) -> None:
        self.who, self.urls = who, urls
        self.host = checked_host(who.plan.server)

    def rows(self) -> list[RowView]:
        """The rows of people."""
        return [self._row(person) for person in self.who.row_order]

    def _row(self, person: str) -> RowView:
        faces = self.who.faces[person]
        tiles, rest = self._split(faces, FACES_PER_PERSON)
        return RowView(**self._person(person), tiles=tiles, rest=rest, jobs=self._jobs(faces), aliases=self._aliases(person))

    def _person(self, person: str) -> dict[str, Any]:
        faces = self.who.faces.get(person, [])
        known = self.who.people.get(person) or PlannedPerson(id=person, faces=len(faces))
        return {
            "anchor": self.who.anchors.get(person, ""),
            "target": self._target(person),
            "id": short_name(person),
            "name": short_name(known.name),
            "faces": len(faces),
            "pictures": len({(face.ref.task, face.ref.frame) for face in faces}),
            "purity": round(100 * known.purity),
            "look": sum(face.ref.place in self.who.queue for face in faces),
        }

    def _aliases(self, person: str) -> tuple[str, ...]:
        return tuple(short_name(alias) for alias in self.who.people[person].aliases)

    def _jobs(self, faces: Sequence[PlannedFace]) -> tuple[LinkView, ...]:
        """Each job of the person, opened at the first frame with the person."""
        frames: dict[tuple[int, int], list[int]] = defaultdict(list)
        for face in faces:
            frames[face.ref.task, face.ref.job].append(face.ref.frame)
        return tuple(
            LinkView(
                url=job_url(self.host, task, job, frame=min(numbers)),
                text=f"task {task}, job {job}: {len(numbers)} face{'s' * (len(numbers) != 1)}",
            )
            for (task, job), numbers in sorted(frames.items())
        )

    def pairs(self) -> list[PairView]:
        """People who may be one, side by side."""
        return [
            PairView(
                first=self._side(pair.first),
                second=self._side(pair.second),
                score=f"{pair.score:.2f}",
                reason=PAIR_REASONS.get(pair.reason, short_name(pair.reason)),
            )
            for pair in self.who.plan.pairs[:MAX_PAIRS]
        ]

    def _side(self, person: str) -> PersonView:
        return PersonView(**self._person(person), tiles=tuple(self._tile(face) for face in self.who.typical(person)))

    def moves(self) -> list[MoveView]:
        """Faces that go to somebody else."""
        views = []
        for (was, to), faces in self.who.moves()[:MAX_MOVES]:
            tiles, rest = self._split(faces, FACES_PER_MOVE, note=lambda face: "")
            words = {"was": short_name(was), "to": self._named_link(to).text if to else "", "target": self._target(to)}
            views.append(MoveView(**words, faces=len(faces), tiles=tiles, rest=rest))
        return views

    def events(self) -> list[EventView]:
        """What became of ids, the grave ones first; new and named people are one line each: they may be many."""
        told = []
        for kind, words in EVENTS.items():
            changes = [change for change in self.who.plan.changes if change.kind == kind]
            if kind in TOGETHER and len(changes) > FEW_EVENTS:
                people = tuple(self._named_link(change.person) for change in changes)
                told.append(EventView(words=TOGETHER[kind], people=people, others=(), reason=""))
                continue
            told += [
                EventView(
                    words=words,
                    people=(self._named_link(change.person),),
                    others=tuple(self._named_link(other) for other in change.others),
                    reason=short_name(change.reason, SENTENCE),
                )
                for change in changes
            ]
        return told[:MAX_EVENTS]

    def _named_link(self, person: str) -> LinkView:
        target = self._target(person)
        known = self.who.people.get(person)
        name = f" {short_name(known.name)}" if known and known.name else ""
        return LinkView(url=f"#{target}" if target else "", text=short_name(person) + name)

    def questions(self) -> list[QuestionView]:
        """What only a person can decide."""
        views = []
        for asked in self.who.plan.suggestions[:MAX_ASKED]:
            faces = self.who.asked(asked.faces)
            tiles, rest = self._split(faces, FACES_PER_MOVE, note=_typed_name)
            views.append(
                QuestionView(
                    text=short_name(asked.text, SENTENCE),
                    person=self._called(asked.person) if asked.person else "",
                    target=self._target(asked.person),
                    names=tuple(short_name(name) for name in asked.names),
                    faces=len(faces),
                    tiles=tiles,
                    rest=rest,
                )
            )
        return views

    def groups(self) -> list[LooseView]:
        """Faces without a row, where there are any."""
        told = (
            ("once", "Seen once", "Nobody else among these faces is the same person.", self.who.once),
            (
                "nobody",
                "Nobody yet",
                "Too blurred, small or turned to say who it is; who is likeliest stands below.",
                self.who.nobody,
            ),
            ("never", "Left out", "A person has set `none`: these are never to be clustered.", self.who.never),
        )
        views = []
        for anchor, title, meaning, faces in told:
            if faces:
                tiles, rest = self._split(faces, MAX_LOOSE)
                views.append(LooseView(anchor=anchor, title=title, meaning=meaning, faces=len(faces), tiles=tiles, rest=rest))
        return views

    def _split(
        self, faces: Sequence[PlannedFace], most: int, *, note: Callable[[PlannedFace], str] | None = None
    ) -> tuple[tuple[TileView, ...], tuple[LinkView, ...]]:
        """The first faces as tiles, the others as links."""
        room = [face for face in faces[:most] if face.ref.place in self.who.shown]
        kept = {face.ref.place for face in room}
        rest = [face for face in faces if face.ref.place not in kept]
        return tuple(self._tile(face, note=note) for face in room), tuple(self._link(face) for face in rest)

    def _link(self, face: PlannedFace) -> LinkView:
        ref = face.ref
        return LinkView(url=face_url(self.host, ref), text=self._place(face), look=ref.place in self.who.queue)

    def _place(self, face: PlannedFace) -> str:
        ref = face.ref
        return f"{ref.task}/{ref.frame}" if len(self.who.plan.tasks) > 1 else f"frame {ref.frame}"

    def _tile(self, face: PlannedFace, *, note: Callable[[PlannedFace], str] | None = None) -> TileView:
        entry = self.who.queue.get(face.ref.place)
        near = face.nearest if face.nearest in self.who.anchors and (entry or not face.person) else ""
        known = [
            f"task {face.ref.task}, frame {face.ref.frame}, {face.ref.kind} {face.ref.id}",
            f"confidence {face.confidence:.2f}, quality {face.quality:.2f}"
            + (f", score {face.score} %" if face.score >= 0 else ""),
            *([f"next best: {self._called(face.nearest)}, alike {face.nearest_score:.2f}"] if face.nearest else []),
            *(short_name(sentence(code), SENTENCE) for code in (entry.reasons if entry else face.reasons)),
        ]
        return TileView(
            key=face.ref.key,
            url=self.urls.get(face.ref.place),
            picture=f"frame {face.ref.frame} of task {face.ref.task}",
            look=entry is not None,
            confirmed=face.human,
            near=(self._target(near), self._called(near)) if near else None,
            confidence=f"{face.confidence:.2f}",
            quality=f"{face.quality:.2f}",
            hover="\n".join(known),
            link=face_url(self.host, face.ref),
            note=short_name((note or _earlier)(face)),
            missing=self._place(face),
        )

    def _called(self, person: str) -> str:
        known = self.who.people.get(person)
        return short_name(known.name or person if known else person)

    def _target(self, person: str) -> str:
        """Anchor of the row of a person, or of the group of those seen once; empty if not on the page."""
        if person not in self.who.faces:
            return ""
        return self.who.anchors[person] if len(self.who.faces[person]) > 1 or self.who.people[person].name else "once"


def _earlier(face: PlannedFace) -> str:
    was = face.before.get("person", "").strip()
    return f"was {was}" if was and was != face.person.strip() else ""


def _typed_name(face: PlannedFace) -> str:
    return face.before.get("name", "")
