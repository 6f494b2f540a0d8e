"""Which faces a person should look at, and in which order: where detectors disagree, and where it is doubtful who it is. Pure.

The order is a number from 0 to 99. Its tens come from the gravest reason (`TIERS`), its ones from how doubtful the face is
within that tier.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, TextIO

from auto_annotator.bridge.links import face_url
from auto_annotator.bridge.marks import NEVER, parse_mark
from auto_annotator.bridge.plan import FaceRef, Plan, PlannedFace
from auto_annotator.review import REASONS

if TYPE_CHECKING:
    from auto_annotator.bridge.faces import PulledFace

QUEUE_REASONS: dict[str, str] = {
    **REASONS,
    "words_contradict": "What people said of this face contradicts what they said of others.",
    "two_names": "Faces that look like one person were given several names.",
    "moved": "The face goes from one person to another in this run.",
    "flagged": "The face is flagged for review in CVAT, without a reason.",
}
"""Code -> sentence: those of `review.REASONS` and what only the comparison of runs and of people's words shows."""


class Tier(IntEnum):
    """What a look is for, gravest last; the value is the lowest priority of the tier."""

    QUALITY = 0
    DETECTION = 20
    MOVED = 40
    PERSON = 60
    WORDS = 80


WITHIN = 19
"""Points between the least and the most doubtful face of a tier."""

TIERS: dict[str, Tier] = {
    "words_contradict": Tier.WORDS,
    "two_names": Tier.WORDS,
    "doubtful_person": Tier.PERSON,
    "moved": Tier.MOVED,
    "identity_doubtful": Tier.QUALITY,
}
"""Reasons about who it is that put a face into the queue. The other codes about identity explain, they do not ask for a look:
a blurred face is no mistake. Every code of a detector asks for one."""

_WORDS = {"two_names": "two_names", "contradiction": "words_contradict"}
"""Kind of a suggestion in the plan -> code here."""

COLUMNS = ("priority", "task", "job", "frame", "kind", "person", "reasons", "score", "confidence", "link")
"""Of the CSV file."""
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula, in full width too, which spreadsheets of some languages take as well."""
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One face to look at.

    Attributes:
        ref: where it is.
        priority: 0..99, higher = look earlier.
        reasons: codes of `QUEUE_REASONS`, the ones that ask for a look first.
        person: who it is in CVAT, or would be after the push of the plan.
        was: who it was before, where the plan changes that.
        nearest: the next-best person, empty = none or not known.
        score: attribute `score` in CVAT, percent; -1 = not known.
        confidence: 0..1, how well it fits the person; None without a plan.
        earlier_key: geometry key that it had when its mark was written, empty = no mark.
    """

    ref: FaceRef
    priority: int
    reasons: tuple[str, ...]
    person: str = ""
    was: str = ""
    nearest: str = ""
    score: int = -1
    confidence: float | None = None
    earlier_key: str = ""

    @property
    def tier(self) -> Tier:
        """What the look is for."""
        return max(tier for tier in Tier if tier <= self.priority)


def detector_reasons(attributes: Mapping[str, str]) -> tuple[str, ...]:
    """Why a face is flagged for review in CVAT; empty when it is not, or when somebody has taken the flag off.

    Args:
        attributes: `review` and `reasons` by name, as far as the label has them.
    """
    codes = tuple(dict.fromkeys(code for part in attributes.get("reasons", "").split(",") if (code := part.strip())))
    flag = attributes.get("review", "").strip().casefold()
    if flag == "true":
        return codes or ("flagged",)
    return () if flag else codes


def queue_of_plan(plan: Plan) -> tuple[Entry, ...]:
    """The faces of a plan that need a look, the first to look at first."""
    words = _words(plan)
    merged = {person.id: frozenset(person.aliases) for person in plan.people}
    found = [entry for face in plan.faces if (entry := _planned(face, words.get(face.ref.key, ()), merged))]
    return _ordered(found)


def queue_of_faces(faces: Iterable[PulledFace]) -> tuple[Entry, ...]:
    """The faces that are flagged in CVAT, the first to look at first; nothing is known of who they are but `person`."""
    found = []
    for face in faces:
        codes = detector_reasons(face.attributes)
        if codes:
            score = _whole(face.attributes.get("score", "")) if face.ref.kind == "shape" else -1
            found.append(
                Entry(
                    ref=face.ref,
                    priority=_priority(Tier.DETECTION, _doubt_of(score)),
                    reasons=codes,
                    person=face.attributes.get("person", "").strip(),
                    score=score,
                    earlier_key=_earlier(face.attributes),
                )
            )
    return _ordered(found)


def moved(face: PlannedFace, merged: Mapping[str, frozenset[str]]) -> bool:
    """Whether the plan gives the face to somebody else; a person who was merged into another did not move.

    Args:
        face: of the plan.
        merged: id -> ids that were merged into it.
    """
    was, now = face.before.get("person", "").strip(), face.person.strip()
    return bool(was and now and was != now and was not in merged.get(now, ()))


def sentence(code: str) -> str:
    """What a code means; one that is not known, such as that of another program, is shown as it is."""
    return QUEUE_REASONS.get(code, code)


def write_csv(stream: TextIO, entries: Sequence[Entry], host: str) -> None:
    """Write the queue as CSV with a heading; reasons are codes with a space between.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.

    Args:
        stream: opened with `newline=""` or one that leaves line ends alone.
        entries: in the order of the rows.
        host: of the CVAT server, for the links.
    """
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        ref = entry.ref
        numbers = (entry.priority, ref.task, ref.job, ref.frame)
        score = "" if entry.score < 0 else entry.score
        confidence = "" if entry.confidence is None else f"{entry.confidence:.4f}"
        texts = (ref.kind, _plain(entry.person), _plain(" ".join(entry.reasons)))
        writer.writerow((*numbers, *texts, score, confidence, face_url(host, ref)))


def _plain(text: str) -> str:
    """The text as a spreadsheet may open it, on one line, and as UTF-8 can hold it."""
    clean = _CONTROL.sub(" ", text.encode("utf-8", "replace").decode("utf-8"))
    return f"'{clean}" if clean[:1].isspace() or clean.startswith(_FORMULA) else clean


def _words(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Face key -> codes of what people's words leave open."""
    found: dict[str, list[str]] = defaultdict(list)
    for suggestion in plan.suggestions:
        for key in suggestion.faces:
            found[key].append(_WORDS.get(suggestion.kind, "words_contradict"))
    return {key: tuple(dict.fromkeys(codes)) for key, codes in found.items()}


def _planned(face: PlannedFace, words: tuple[str, ...], merged: Mapping[str, frozenset[str]]) -> Entry | None:
    changed = moved(face, merged)
    about = [*words]
    if not face.human:  # who it is has been decided otherwise
        about += [code for code in face.reasons if TIERS.get(code, Tier.QUALITY) > Tier.QUALITY]
        about += ["moved"] * changed
        about += [code for code in face.reasons if face.person and TIERS.get(code) == Tier.QUALITY]
    asking = [*about, *face.detector_reasons]
    if not asking:
        return None
    tiers = [TIERS[code] for code in about if code in TIERS] + [Tier.DETECTION] * bool(face.detector_reasons)
    tier = max(tiers)
    doubt = _doubt_of(face.score) if tier == Tier.DETECTION else 1 - (face.quality if tier == Tier.QUALITY else face.confidence)
    return Entry(
        ref=face.ref,
        priority=_priority(tier, doubt),
        reasons=tuple(dict.fromkeys((*asking, *face.reasons))),
        person=face.person,
        was=face.before.get("person", "").strip() if changed else "",
        nearest=face.nearest,
        score=face.score,
        confidence=face.confidence,
        earlier_key=_earlier(face.before),
    )


def _earlier(attributes: Mapping[str, str]) -> str:
    mark = parse_mark(attributes.get("face_key", ""))
    return mark.key if mark else ""


def _doubt_of(score: int) -> float:
    return 1 - score / 100 if score >= 0 else 0.5


def _priority(tier: Tier, doubt: float) -> int:
    return int(tier) + round(WITHIN * min(max(doubt, 0.0), 1.0))


def _ordered(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: (-entry.priority, -len(entry.reasons), entry.ref.place)))


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else -1


def is_never(person: str) -> bool:
    """Whether the value of `person` takes a face out of the clustering."""
    return person.strip().casefold() == NEVER
