"""Faces and people as the contact sheets show them; `faces.html.j2` draws them."""

from __future__ import annotations

from dataclasses import dataclass

UNSURE_BELOW = 80
"""Per cent of a row that are estimated to be one person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TileView:
    """One face.

    Attributes:
        key: its face key.
        url: thumbnail as a data URL, None if the picture is not there any more.
        picture: short name of its picture.
        look: a person should check it.
        confirmed: a person has said who it is.
        near: anchor and name of the next-best person, where that matters.
        confidence, quality: as text, 0 to 1.
        hover: all that is known.
        link: where a click leads, empty = nowhere.
        note: a line below the picture.
        missing: what stands in place of a picture that is not there.
    """

    key: str
    url: str | None
    picture: str
    look: bool
    confirmed: bool
    near: tuple[str, str] | None
    confidence: str
    quality: str
    hover: str
    link: str = ""
    note: str = ""
    missing: str = "picture not there"


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonView:
    """One person with the faces that are shown, those to check first; `target` = where links lead, empty if not on the page."""

    anchor: str
    target: str
    id: str
    name: str
    faces: int
    pictures: int
    purity: int
    look: int
    tiles: tuple[TileView, ...]

    @property
    def left_out(self) -> int:
        """Faces that are not shown."""
        return self.faces - len(self.tiles)

    @property
    def unsure(self) -> bool:
        """The estimate is low enough to look at the whole row."""
        return self.purity < UNSURE_BELOW


@dataclass(frozen=True, slots=True, kw_only=True)
class PairView:
    """Two people who may be one."""

    first: PersonView
    second: PersonView
    score: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """Faces without a row of their own: a heading, what it means, how many there are, those that are shown."""

    anchor: str
    title: str
    meaning: str
    faces: int
    tiles: tuple[TileView, ...]
