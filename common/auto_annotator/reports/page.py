"""The result page: one HTML file that shows every picture with its boxes, points, votes and reasons, and needs nothing else.

No script, no external reference (a content security policy in the page forbids both); pictures are thumbnails inside the file.
The page is written picture by picture, so memory holds one picture at a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from auto_annotator.reports.files import printable, replacing
from auto_annotator.reports.page_view import CROWD, PictureView, Read, picture_view, short_name
from auto_annotator.reports.records import Record
from auto_annotator.reports.templates import template
from auto_annotator.review import REASONS

TEMPLATE = "page.html.j2"
MAX_PICTURES = 200
"""Pictures on one page: about 20 MB, which a browser still opens at once."""
MAX_CROPS = 600
"""Close-ups of faces on one page: a folder of crowds must not make the page huge."""
MAX_FAILED = 100
"""Pictures that could not be read and are listed by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A bar of the summary: a name, a count, and its share of a whole in per cent."""

    name: str
    count: int
    percent: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The figures on top of the page, over all records, also those that are not shown."""

    pictures: int
    faces: int
    review: int
    review_pictures: int
    without_faces: int
    crowded: bool
    failed: tuple[tuple[str, str, str], ...]
    failed_count: int
    members: tuple[Share, ...]
    reasons: tuple[Share, ...]

    @property
    def review_percent(self) -> float:
        """Share of the faces that a person should look at."""
        return _percent(self.review, self.faces)


def write_page(
    records: Iterable[Record],
    pictures: Mapping[str, Path] | Path,
    path: Path,
    *,
    title: str = "Faces found",
    subtitle: str = "",
    people_page: str = "",
    max_pictures: int = MAX_PICTURES,
    read: Read | None = None,
) -> None:
    """Write the page; pictures most in need of review come first.

    Args:
        records: all records of a run.
        pictures: where the picture of each record lies, or the folder its `image` is relative to. A picture that is not there
            any more is shown as an empty frame with its boxes.
        path: the HTML file to write.
        title: heading of the page.
        subtitle: a line below it, for example the name of the ensemble.
        people_page: file name of the page of people beside this one, empty = none.
        max_pictures: how many pictures to show; the page says how many were left out.
        read: file -> upright RGB picture, default `imageio.read`.

    Raises:
        OSError: if the file cannot be written.
    """
    if read is None:
        read = default_read()
    ordered = sorted(records, key=need_of_review)
    shown = [record for record in ordered if record.error is None][:max_pictures]
    summary = summarise(ordered)
    views = _views(shown, pictures, read)
    index = [(f"p{i}", short_name(r.image), len(r.faces), r.review_count) for i, r in enumerate(shown, start=1)]
    values: dict[str, Any] = {"title": printable(title), "subtitle": printable(subtitle), "summary": summary, "index": index}
    values["people_page"] = people_page
    left_out = summary.pictures - summary.failed_count - len(shown)
    with replacing(path) as stream:
        for piece in template(TEMPLATE).generate(**values, views=views, left_out=left_out):
            stream.write(piece)


def default_read() -> Read:
    """`imageio.read` under the pixel limit of the settings."""
    from auto_annotator import imageio
    from auto_annotator.config import load_settings

    return partial(imageio.read, max_pixels=load_settings().max_pixels)


def need_of_review(record: Record) -> tuple[Any, ...]:
    """Sort key: most faces to review first, then most members that failed, then the lowest score, then the name."""
    lowest = min((face.score for face in record.faces), default=1.0)
    return (-record.review_count, -len(record.problems), lowest, record.image)


def _views(records: Sequence[Record], pictures: Mapping[str, Path] | Path, read: Read) -> Iterator[PictureView]:
    crops = MAX_CROPS
    for number, record in enumerate(records, start=1):
        view = picture_view(record, number, _path(record.image, pictures), read=read, sentences=REASONS, crops=crops)
        crops -= sum(face.crop is not None for face in view.faces)
        yield view


def _path(name: str, pictures: Mapping[str, Path] | Path) -> Path | None:
    """Where the picture lies; a name that leads out of the folder is not followed: a records file may come from anyone."""
    if not isinstance(pictures, Path):
        return pictures.get(name)
    relative = Path(name)
    return None if "\0" in name or relative.is_absolute() or ".." in relative.parts else pictures / relative


def summarise(records: Sequence[Record]) -> Summary:
    """The figures of all records."""
    faces = [face for record in records for face in record.faces]
    failed = [(short_name(r.image), r.error.reason, printable(r.error.message)) for r in records if r.error is not None]
    asked, saw = Counter[str](), Counter[str]()
    for face in faces:
        asked.update(iter(face.votes))
        saw.update(member for member, score in face.votes.items() if score is not None)
    problems = Counter(problem.member for record in records for problem in record.problems)
    reasons = Counter(reason for face in faces for reason in set(face.reasons))
    members = [*asked, *(m for m in problems if m not in asked)]
    return Summary(
        pictures=len(records),
        faces=len(faces),
        review=sum(face.review for face in faces),
        review_pictures=sum(record.review_count > 0 for record in records),
        without_faces=sum(record.error is None and not record.faces for record in records),
        crowded=any(len(record.faces) >= CROWD for record in records),
        failed=tuple(islice(failed, MAX_FAILED)),
        failed_count=len(failed),
        members=tuple(_member(m, saw[m], asked[m], problems[m]) for m in members),
        reasons=tuple(
            Share(name=REASONS.get(code, code), count=n, percent=_percent(n, len(faces))) for code, n in reasons.most_common()
        ),
    )


def _member(name: str, saw: int, asked: int, problems: int) -> Share:
    note = f"no answer for {problems} picture{'s' * (problems != 1)}" if problems else ""
    return Share(name=name, count=saw, percent=_percent(saw, asked), note=note)


def _percent(part: int, whole: int) -> float:
    return round(100 * part / whole, 1) if whole else 0.0
