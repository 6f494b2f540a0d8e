"""The queue of faces to look at as one HTML file: grouped by what the look is for, each face a link into CVAT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auto_annotator.bridge.links import checked_host, face_url
from auto_annotator.bridge.review_queue import Entry, Tier, sentence
from auto_annotator.reports.files import printable, replacing
from auto_annotator.reports.frame_pictures import FacePicture
from auto_annotator.reports.page_view import short_name
from auto_annotator.reports.sheet_people import Place
from auto_annotator.reports.templates import template

TEMPLATE = "queue.html.j2"
MARGIN = 0.4
"""Share of the box side around a face: enough to judge whether the box is right."""
SENTENCE = 400
"""Characters of a sentence that are shown."""
MAX_PICTURES = 4000
"""Entries with a picture, the first ones; others have their place only."""

TITLES = {
    Tier.WORDS: ("What people said", "People's words about these faces leave a question open."),
    Tier.PERSON: ("Who is it?", "These may belong to somebody else than the person they were given to."),
    Tier.MOVED: ("Changed hands", "These go from one person to another in this run."),
    Tier.DETECTION: ("Face, box, landmarks", "The detectors disagree, or had a hard time: is it a face, is the box right?"),
    Tier.QUALITY: ("Hard to identify", "These have a person, but the recognisers are not sure of them."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """One face to look at; `number` is its place in the queue, from 1."""

    number: int
    link: str
    place: str
    priority: int
    person: str
    was: str
    near: str
    reasons: tuple[str, ...]
    facts: str
    picture: FacePicture | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOfEntries:
    """The faces of a tier."""

    anchor: str
    title: str
    meaning: str
    count: int
    entries: tuple[EntryView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonShare:
    """How many faces have a reason; the fields that the bars ask for."""

    name: str
    count: int
    percent: float
    note: str = ""


def write_queue(
    entries: Sequence[Entry], host: str, path: Path, pictures: Mapping[Place, FacePicture], *, subtitle: str, left_out: int = 0
) -> None:
    """Write the page, readable by its owner only.

    Args:
        entries: the queue, in order.
        host: of the CVAT server.
        path: the HTML file to write.
        pictures: by place of the face, for those that have one.
        subtitle: what was looked at.
        left_out: how many faces a limit has cut off.

    Raises:
        ConfigError: if the host is no web address.
        OSError: if the file cannot be written.
    """
    host = checked_host(host)
    values = {
        "title": "Faces to look at",
        "server": printable(host),
        "subtitle": short_name(subtitle),
        "total": len(entries),
        "left_out": left_out,
        "jobs": len({entry.ref.job for entry in entries}),
        "reasons": _shares(entries),
        "groups": list(_groups(entries, host, pictures)),
    }
    with replacing(path, private=True) as stream:
        for piece in template(TEMPLATE).generate(**values):
            stream.write(piece)


def with_picture(entries: Sequence[Entry]) -> Sequence[Entry]:
    """The entries that are worth a picture."""
    return entries[:MAX_PICTURES]


def _shares(entries: Sequence[Entry]) -> list[ReasonShare]:
    counts = Counter(code for entry in entries for code in entry.reasons)
    return [
        ReasonShare(name=short_name(sentence(code), SENTENCE), count=count, percent=round(100 * count / len(entries), 1))
        for code, count in counts.most_common()
    ]


def _groups(entries: Sequence[Entry], host: str, pictures: Mapping[Place, FacePicture]) -> Iterator[GroupOfEntries]:
    numbered = list(enumerate(entries, start=1))
    for tier, (title, meaning) in TITLES.items():
        mine = [(number, entry) for number, entry in numbered if entry.tier == tier]
        if mine:
            views = tuple(_view(number, entry, host, pictures.get(entry.ref.place)) for number, entry in mine)
            yield GroupOfEntries(anchor=tier.name.lower(), title=title, meaning=meaning, count=len(views), entries=views)


def _view(number: int, entry: Entry, host: str, picture: FacePicture | None) -> EntryView:
    ref = entry.ref
    facts = [f"score {entry.score} %"] if entry.score >= 0 else []
    if entry.confidence is not None and entry.person:
        facts.append(f"fits {round(100 * entry.confidence)} %")
    return EntryView(
        number=number,
        link=face_url(host, ref),
        place=f"task {ref.task}, job {ref.job}, frame {ref.frame}" + (", track" if ref.kind == "track" else ""),
        priority=entry.priority,
        person=short_name(entry.person),
        was=short_name(entry.was),
        near=short_name(entry.nearest),
        reasons=tuple(short_name(sentence(code), SENTENCE) for code in entry.reasons),
        facts=", ".join(facts),
        picture=picture,
    )
