"""The measures of a task as tables, figures and links; the terminal and the page show the same ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from auto_annotator.bridge.quality import Annotated, Place
from auto_annotator.evaluation.annotation_quality import Quality
from auto_annotator.reports.quality_page import Group, Link, Table, Tile

SOURCES = {
    "auto": "as the models left it",
    "semi-auto": "by the models, then edited by a person",
    "manual": "drawn by a person, or from a file and then edited",
    "file": "from a file",
}
FAULTS = {
    "missed": "Missed",
    "false": "False",
    "loose": "Box to be moved",
    "landmarks": "Landmarks to be moved",
}


def percent(share: float) -> str:
    """A share as a person reads it; - where there is none."""
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def number(value: float, digits: int = 3) -> str:
    """A number as a person reads it; - where there is none."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def tiles(quality: Quality) -> tuple[Tile, ...]:
    """The figures on top."""
    people = quality.people
    return (
        Tile(name="Precision", figure=percent(quality.all.precision), note=f"{quality.all.found} faces in the task"),
        Tile(name="Recall", figure=percent(quality.all.recall), note=f"{quality.all.true} true faces"),
        Tile(name="Mean IoU", figure=number(quality.all.iou), note=f"of {quality.all.right} right boxes"),
        Tile(
            name="Landmark error",
            figure=percent(quality.landmarks.nme),
            note=f"of {quality.landmarks.judged} faces, by eye distance",
        ),
        Tile(
            name="BCubed F",
            figure=number(people.bcubed_f) if people else "-",
            note=f"{quality.people_faces} faces with a true person",
        ),
        Tile(name="Corrections", figure=number(quality.corrections.per_100, 1), note="per 100 faces"),
    )


def tables(quality: Quality) -> tuple[Table, ...]:
    """All tables that have rows."""
    found = (_sizes(quality), _corrections(quality), _people(quality), _members(quality), _sources(quality))
    return tuple(table for table in found if table.rows)


def _sizes(quality: Quality) -> Table:
    rows = [
        (band.name, f"{band.true}", f"{band.found}", percent(band.precision), percent(band.recall), number(band.iou))
        for band in (quality.all, *quality.bands)
        if band.true or band.found
    ]
    heads = ("height", "true", "found", "precision", "recall", "mean IoU")
    return Table(title="Boxes", heads=heads, rows=tuple(rows), note="A found face is right from IoU 0.5 up.")


def _corrections(quality: Quality) -> Table:
    mend, points = quality.corrections, quality.landmarks
    counts = {"missed": mend.missed, "false": mend.false_boxes, "IoU below 0.7": mend.loose, "landmarks off": mend.bad_landmarks}
    rows = [(name, f"{n}", number(100 * n / mend.faces if mend.faces else math.nan, 1)) for name, n in counts.items()]
    total = sum(counts.values())
    error = f"mean error {percent(points.nme)} of the eye distance, {percent(points.bad)} above 10 %"
    note = f"Landmarks: {points.judged} faces judged, {error}; {points.lacking} more faces lack points that are known."
    note = note if points.judged or points.lacking else "No landmarks to judge."
    return Table(
        title="Corrections",
        heads=("what", "faces", "per 100 true faces"),
        rows=(*rows, ("all", f"{total}", number(mend.per_100, 1))),
        note=note,
    )


def _people(quality: Quality) -> Table:
    heads = ("measure", "precision", "recall", "F")
    if quality.people is None:
        return Table(title="People", heads=heads, rows=())
    p = quality.people
    rows = (
        ("pairs of faces", number(p.pairwise_precision), number(p.pairwise_recall), number(p.pairwise_f)),
        ("BCubed", number(p.bcubed_precision), number(p.bcubed_recall), number(p.bcubed_f)),
    )
    note = (
        f"{quality.people_faces} right faces with a true person: {p.people} people, put into {p.clusters} groups; "
        f"{percent(p.people_right)} of the people are right to nine tenths."
    )
    return Table(title="People", heads=heads, rows=rows, note=note)


def _members(quality: Quality) -> Table:
    rows = tuple(
        (m.name, f"{m.votes}", percent(m.precision), f"{m.alone_right}", f"{m.alone_wrong}", f"{m.overlooked}")
        for m in quality.members
    )
    return Table(
        title="Members of the ensemble",
        heads=("member", "votes", "right", "only it, right", "only it, wrong", "overlooked"),
        rows=rows,
        note="A member helped with the right faces that only it saw, and hurt with the wrong ones.",
    )


def _sources(quality: Quality) -> Table:
    rows = tuple(
        (f"{name}: {SOURCES[name]}" if name in SOURCES else name, f"{faces}", percent(right / faces))
        for name, (faces, right) in quality.sources.items()
    )
    note = "Faces that people deleted are not known to CVAT any more."
    return Table(title="Who made the faces", heads=("source", "faces", "right"), rows=rows, note=note)


def groups(quality: Quality, found: Annotated, truth: Annotated, url: Callable[[Place], str]) -> tuple[Group, ...]:
    """Every face to correct, with a link: a missed one leads to the true face."""
    result = []
    for kind, title in FAULTS.items():
        faults = [fault for fault in quality.faults if fault.kind == kind]
        places = [(truth if fault.of_truth else found).places[fault.row] for fault in faults]
        links = tuple(
            Link(text=f"frame {place.frame}, {place.kind} {place.id}", url=url(place), note=fault.detail)
            for fault, place in zip(faults, places, strict=True)
        )
        if links:
            result.append(Group(title=title, links=links))
    return tuple(result)


def text_of(tables: Sequence[Table]) -> str:
    """Tables for a terminal."""
    parts = []
    for table in tables:
        cells = [table.heads, *table.rows]
        widths = [max(len(row[column]) for row in cells) for column in range(len(table.heads))]
        lines = [
            "  ".join(
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        ]
        parts.append(
            "\n".join([table.title, *(f"  {line}".rstrip() for line in lines), *([f"  {table.note}"] if table.note else [])])
        )
    return "\n\n".join(parts) + "\n"
