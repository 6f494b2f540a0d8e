"""What the page of people shows of a clusters file: who is in which row, which faces come first, what is said in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auto_annotator.exchange.clusters_file import ClusteredFace, ClusteredPerson, ClusterFile
from auto_annotator.reports.face_tiles import GroupView, PairView, PersonView, TileView
from auto_annotator.reports.page_view import short_name
from auto_annotator.review import REASONS

FACES_PER_PERSON = 24
"""Faces in the row of a person; the most doubtful ones are always among them."""
MAX_PEOPLE, MAX_LOOSE, MAX_SUGGESTIONS = 300, 240, 60
"""Rows of people, faces of each group at the end, and look-alike pairs: with all of them the page has about 20 MB."""
MAX_THUMBNAILS = 3000
"""Faces in all rows together."""
FACES_PER_SIDE = 3
"""Faces of each of two people who may be one."""
MAX_CONFLICTS = 50

SUGGESTION_REASONS = {
    "look_alike": "They look alike, but not enough to be sure.",
    "same_picture": "They look alike enough to be one, but they are in pictures together.",
    "two_names": "One group of faces has been given two names.",
}
CONFLICT_KINDS = {
    "must_across_cannot": "One person and two people at once: faces that must be together are joined to faces that must not.",
    "track_across_cannot": "A track joins two faces that must not be together.",
    "never_in_must": "A face that is never to be grouped must be with another.",
    "two_names": "Faces of one group have been given different names.",
}
FAILURES = {
    "missing_picture": "the picture is not where it was",
    "changed_picture": "the picture has changed since its faces were found",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which faces the page shows, by place; the pictures of no other face are opened.

    Attributes:
        rows: person id -> faces, in the order of the page.
        sides: person id -> faces shown beside a person who may be the same.
        singles, unknown, rejected: the groups at the end.
    """

    rows: Mapping[str, tuple[ClusteredFace, ...]]
    sides: Mapping[str, tuple[ClusteredFace, ...]]
    singles: tuple[ClusteredFace, ...]
    unknown: tuple[ClusteredFace, ...]
    rejected: tuple[ClusteredFace, ...]

    @property
    def faces(self) -> tuple[ClusteredFace, ...]:
        """Every face once."""
        groups = [*self.sides.values(), *self.rows.values(), self.singles, self.unknown, self.rejected]
        return tuple({face.key: face for group in groups for face in group}.values())


class People:
    """A clusters file, looked at from its people.

    Attributes:
        content: the file.
        chosen: what the page shows.
    """

    def __init__(self, content: ClusterFile) -> None:
        self.content = content
        self._doubt = {key: number for number, key in enumerate(content.doubtful)}
        self._faces: dict[str, list[ClusteredFace]] = {person.id: [] for person in content.people}
        for face in content.faces:
            if face.person:
                self._faces[face.person].append(face)
        # A named person has a row even with one face: somebody looks for the name.
        self._in_rows = [p for p in content.people if p.faces > 1 or p.name]
        self._anchors = {person.id: f"p{number}" for number, person in enumerate(content.people, start=1)}
        self._names = {person.id: short_name(person.name) for person in content.people}
        self._people = {person.id: person for person in content.people}
        self.chosen = self._choose()

    def _choose(self) -> Chosen:
        content = self.content
        once = [self._faces[p.id][0] for p in content.people if p.faces == 1 and not p.name and self._faces[p.id]]
        order = sorted(
            self._in_rows, key=lambda p: (self._looks(p.id) == 0, p.purity if self._looks(p.id) else 1.0, -p.faces, p.id)
        )
        paired = dict.fromkeys(p for s in content.suggestions[:MAX_SUGGESTIONS] for p in (s.first, s.second))
        by_state = {state: [f for f in content.faces if f.state == state] for state in ("unknown", "rejected")}
        near = sorted(by_state["unknown"], key=lambda f: -f.nearest.score if f.nearest else 1.0)
        return Chosen(
            rows=self._within_limit(order),
            sides={person: self._typical(person) for person in paired},
            singles=tuple(sorted(once, key=self._order)[:MAX_LOOSE]),
            unknown=tuple(near[:MAX_LOOSE]),
            rejected=tuple(by_state["rejected"][:MAX_LOOSE]),
        )

    def _within_limit(self, order: Sequence[ClusteredPerson]) -> dict[str, tuple[ClusteredFace, ...]]:
        """Rows until there are enough people or faces; a row is shown with its thumbnails or not at all."""
        rows: dict[str, tuple[ClusteredFace, ...]] = {}
        room = MAX_THUMBNAILS
        for person in order[:MAX_PEOPLE]:
            faces = self._first(person.id, FACES_PER_PERSON)
            room -= len(faces)
            if room < 0:
                break
            rows[person.id] = faces
        return rows

    def _order(self, face: ClusteredFace) -> tuple[float, float, str]:
        """Most doubtful first, then the ones that stand out best."""
        return self._doubt.get(face.key, len(self._doubt)), -face.quality, face.key

    def _first(self, person: str, count: int) -> tuple[ClusteredFace, ...]:
        return tuple(sorted(self._faces[person], key=self._order)[:count])

    def _typical(self, person: str) -> tuple[ClusteredFace, ...]:
        """Faces that show best who somebody is."""
        return tuple(sorted(self._faces[person], key=lambda f: (-f.confidence * f.quality, -f.quality, f.key))[:FACES_PER_SIDE])

    def _looks(self, person: str) -> int:
        return sum(face.key in self._doubt for face in self._faces[person])

    @property
    def count_in_rows(self) -> int:
        """People with a row of their own, also those beyond the limit."""
        return len(self._in_rows)

    @property
    def count_singles(self) -> int:
        """People who were seen once and have no name."""
        return len(self.content.people) - len(self._in_rows)

    def count(self, state: str) -> int:
        """Faces of a state."""
        return sum(face.state == state for face in self.content.faces)

    def person(self, person: str, faces: Sequence[ClusteredFace], urls: Mapping[str, str]) -> PersonView:
        """One person with the given faces."""
        mine = self._faces[person]
        return PersonView(
            anchor=self._anchors[person],
            target=self._target(person),
            id=short_name(person),
            name=self._names[person],
            faces=len(mine),
            pictures=len({face.image for face in mine}),
            purity=round(100 * self._people[person].purity),
            look=self._looks(person),
            tiles=self.tiles(faces, urls),
        )

    def rows(self, urls: Mapping[str, str]) -> tuple[PersonView, ...]:
        """The rows of the page."""
        return tuple(self.person(person, faces, urls) for person, faces in self.chosen.rows.items())

    def pairs(self, urls: Mapping[str, str]) -> tuple[PairView, ...]:
        """People who may be one, side by side."""
        sides = self.chosen.sides
        return tuple(
            PairView(
                first=self.person(s.first, sides[s.first], urls),
                second=self.person(s.second, sides[s.second], urls),
                score=f"{s.score:.2f}",
                reason=SUGGESTION_REASONS.get(s.reason, s.reason),
            )
            for s in self.content.suggestions[:MAX_SUGGESTIONS]
        )

    def groups(self, urls: Mapping[str, str]) -> tuple[GroupView, ...]:
        """The groups at the end that are not empty."""
        chosen, unsure = (
            self.chosen,
            "Too blurred, small or turned to say who it is; the likeliest person is named where one is near.",
        )
        groups = (
            ("once", "Seen once", "Nobody else among these faces is the same person.", self.count_singles, chosen.singles),
            ("unknown", "Unknown", unsure, self.count("unknown"), chosen.unknown),
            (
                "rejected",
                "Left out",
                "A person has said that these are never to be grouped.",
                self.count("rejected"),
                chosen.rejected,
            ),
        )
        return tuple(GroupView(anchor=a, title=t, meaning=m, faces=n, tiles=self.tiles(f, urls)) for a, t, m, n, f in groups if n)

    def tiles(self, faces: Sequence[ClusteredFace], urls: Mapping[str, str]) -> tuple[TileView, ...]:
        """Faces as the page shows them."""
        return tuple(self._tile(face, urls.get(face.key)) for face in faces)

    def _tile(self, face: ClusteredFace, url: str | None) -> TileView:
        look = face.key in self._doubt
        near = face.nearest if face.nearest is not None and face.nearest.person in self._anchors else None
        known = [
            short_name(face.image),
            f"key {short_name(face.key)}",
            f"confidence {face.confidence:.2f}, quality {face.quality:.2f}",
            *([f"next best: {self._called(near.person)}, alike {near.score:.2f}"] if near else []),
            *(REASONS.get(code, short_name(code)) for code in face.notes),
        ]
        return TileView(
            key=short_name(face.key),
            url=url,
            picture=short_name(face.image),
            look=look,
            confirmed=face.state == "confirmed",
            near=(self._target(near.person), self._called(near.person)) if near and (look or not face.person) else None,
            confidence=f"{face.confidence:.2f}",
            quality=f"{face.quality:.2f}",
            hover="\n".join(known),
        )

    def _called(self, person: str) -> str:
        return self._names[person] or short_name(person)

    def _target(self, person: str) -> str:
        """Anchor of the row of a person, or of the group that holds those seen once; empty if it is not on the page."""
        if person in self.chosen.rows:
            return self._anchors[person]
        return "once" if self._people[person].faces == 1 else ""
