"""The contact sheet: one HTML file with everybody who was found, the faces to check first, and who may be the same person.

Like the result page it has no script and no external reference, and shows thumbnails that lie inside the file. Every picture of a
face that is shown is opened once; memory holds one picture and the thumbnails.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from auto_annotator.errors import ImageError
from auto_annotator.exchange.clusters_file import ClusteredFace, ClusterFile
from auto_annotator.reports.files import printable, replacing
from auto_annotator.reports.page import default_read
from auto_annotator.reports.page_view import Read, data_url, short_name, square_around
from auto_annotator.reports.people_view import CONFLICT_KINDS, FAILURES, MAX_CONFLICTS, People
from auto_annotator.reports.templates import template

TEMPLATE = "people.html.j2"
THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 144, 76
"""Pixels: one and a half times the size on the page, some 5 kB each."""
MARGIN = 0.2
"""Share of the box side around a face: hair and chin help to recognise people."""
MAX_KEYS = 12
"""Faces of a contradiction that are named."""

Find = Callable[[str], Path | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The counts on top of the page."""

    people: int
    faces: int
    pictures: int
    look: int
    singles: int
    unknown: int
    grouped: int


def write_people_page(
    content: ClusterFile,
    find: Find,
    path: Path,
    *,
    title: str = "People found",
    subtitle: str = "",
    detection_page: str = "",
    read: Read | None = None,
) -> None:
    """Write the page.

    Args:
        content: the clusters.
        find: name of a picture -> where it lies, None = nowhere; such faces are shown as an empty frame.
        path: the HTML file to write.
        title: heading of the page.
        subtitle: a line below it, for example the name of the ensemble.
        detection_page: file name of the page of pictures beside this one, empty = none.
        read: file -> upright RGB picture, default `imageio.read`.

    Raises:
        OSError: if the file cannot be written.
    """
    people = People(content)
    urls = thumbnails(people.chosen.faces, find, read or default_read())
    rows = people.rows(urls)
    values = {
        "title": printable(title),
        "subtitle": printable(subtitle),
        "detection_page": detection_page,
        "figures": _figures(content, people),
        "pairs": people.pairs(urls),
        "rows": rows,
        "groups": people.groups(urls),
        "pairs_left_out": len(content.suggestions) - len(people.pairs(urls)),
        "people_left_out": people.count_in_rows - len(rows),
        "conflicts": _conflicts(content),
        "conflicts_left_out": len(content.conflicts) - MAX_CONFLICTS,
        "warnings": content.warnings,
        "failures": _failures(content),
    }
    with replacing(path) as stream:
        for piece in template(TEMPLATE).generate(**values):
            stream.write(piece)


def thumbnails(faces: Sequence[ClusteredFace], find: Find, read: Read) -> dict[str, str]:
    """Face key -> thumbnail as a data URL; faces whose picture cannot be read any more are absent."""
    by_picture: dict[str, list[ClusteredFace]] = {}
    for face in faces:
        by_picture.setdefault(face.image, []).append(face)
    urls = {}
    for name, group in by_picture.items():
        path = find(name)
        if path is None:
            continue
        try:
            image = read(path)
        except (ImageError, OSError):
            continue
        for face in group:
            urls[face.key] = data_url(square_around(image, face.box, MARGIN)[0], THUMBNAIL_SIDE, THUMBNAIL_QUALITY)
    return urls


def _figures(content: ClusterFile, people: People) -> Figures:
    return Figures(
        people=people.count_in_rows,
        faces=len(content.faces),
        pictures=len({face.image for face in content.faces}),
        look=len(content.doubtful),
        singles=people.count_singles,
        unknown=people.count("unknown"),
        grouped=sum(bool(face.person) for face in content.faces),
    )


def _conflicts(content: ClusterFile) -> list[tuple[str, str]]:
    return [
        (c.detail or CONFLICT_KINDS.get(c.kind, c.kind), ", ".join(short_name(key) for key in c.faces[:MAX_KEYS]))
        for c in content.conflicts[:MAX_CONFLICTS]
    ]


def _failures(content: ClusterFile) -> list[tuple[str, int]]:
    counts = Counter(face.failure for face in content.faces if face.failure)
    return [(FAILURES.get(code, short_name(code).replace("_", " ")), n) for code, n in counts.most_common()]
