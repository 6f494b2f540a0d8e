"""The mark in a face's attribute `face_key`: which face it is, and what we last wrote about it.

    f0123456789abcdef.p0042~5d41402a!p0007

is the face with the geometry key `f0123456789abcdef` (`exchange.keys`), of which we last pushed the person `p0042` and a name whose
SHA-256 begins with `5d41402a`, and whom a person has taken away from `p0007`. A value in CVAT that differs from what the mark says
is a human decision. So decisions can be read from CVAT alone: shape ids change, local files get lost, the mark travels with the
face.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

DIGEST_DIGITS = 8
NEVER = "none"
"""The value of `person` with which people take a face out of the clustering."""

_ID = re.compile(r"p\d{4,}", re.ASCII)
_MARK = re.compile(
    r"(?P<key>f[0-9a-f]{16}(?:-\d+)?)(?:\.(?P<person>[^.~!\s]+))?(?:~(?P<name>[0-9a-f]{8}))?(?P<apart>(?:![^.~!\s]+)*)", re.ASCII
)


def digest(text: str) -> str:
    """Eight hexadecimal digits that stand for a text which should not be repeated."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_DIGITS]


def token(person: str) -> str:
    """How a mark names a person: an id as it is, whatever else a person typed as `@` and a digest."""
    return person if not person or _ID.fullmatch(person) else f"@{digest(person)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What `face_key` holds.

    Attributes:
        key: geometry key of the box when the mark was written.
        person: `token` of the `person` that we last pushed, empty = none yet.
        name: `digest` of the `name` that we last pushed, empty = none yet.
        apart: tokens of people whom a person said the face is not, in the order in which it was said.
    """

    key: str
    person: str = ""
    name: str = ""
    apart: tuple[str, ...] = ()

    def __str__(self) -> str:
        person = f".{self.person}" if self.person else ""
        name = f"~{self.name}" if self.name else ""
        return f"{self.key}{person}{name}{''.join(f'!{one}' for one in self.apart)}"


def parse_mark(text: str) -> Mark | None:
    """The mark in a text, None if it is empty or not ours: whatever the face says was then said by a person."""
    match = _MARK.fullmatch(text.strip())
    if match is None:
        return None
    apart = tuple(dict.fromkeys(part for part in match["apart"].split("!") if part))
    return Mark(key=match["key"], person=match["person"] or "", name=match["name"] or "", apart=apart)


def person_is_human(mark: Mark | None, person: str) -> bool:
    """Whether a person set this value of `person`; a value that is cleared again counts too."""
    return token(person.strip()) != (mark.person if mark else "")


def name_is_human(mark: Mark | None, name: str) -> bool:
    """Whether a person set this value of `name`."""
    return (digest(name.strip()) if name.strip() else "") != (mark.name if mark else "")
