"""The contact sheet of a plan: one HTML file with everybody, the faces to check first, and links into CVAT.

Like the other pages it has no script and no external reference but the links to the server; pictures lie inside the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from auto_annotator.reports.files import printable, replacing
from auto_annotator.reports.page_view import short_name
from auto_annotator.reports.sheet_people import MAX_ASKED, MAX_MOVES, MAX_PAIRS, Place, SheetPeople
from auto_annotator.reports.sheet_view import SENTENCE, SheetViews
from auto_annotator.reports.templates import template

TEMPLATE = "sheet.html.j2"
MARGIN = 0.2
"""Share of the box side around a face: hair and chin help to recognise people."""


def write_sheet(who: SheetPeople, path: Path, urls: Mapping[Place, str]) -> None:
    """Write the page, readable by its owner only.

    Args:
        who: the people of the plan.
        path: the HTML file to write.
        urls: pictures as data URLs by place of the face, for those of `who.shown`; empty = a page without pictures.

    Raises:
        ConfigError: if the plan's server is no web address.
        OSError: if the file cannot be written.
    """
    plan, views = who.plan, SheetViews(who, urls)
    values = {
        "title": "Who is who",
        "server": printable(views.host),
        "tasks": plan.tasks,
        "created": short_name(plan.created.replace("T", " ").replace("+00:00", " UTC")),
        "model_set": short_name(plan.model_set),
        "n": who.counts,
        "events": views.events(),
        "moves": views.moves(),
        "moves_left_out": len(who.moves()) - MAX_MOVES,
        "questions": views.questions(),
        "questions_left_out": len(plan.suggestions) - MAX_ASKED,
        "notes": [short_name(note, SENTENCE) for note in plan.notes],
        "pairs": views.pairs(),
        "pairs_left_out": max(len(plan.pairs) - MAX_PAIRS, 0),
        "rows": views.rows(),
        "groups": views.groups(),
        "pictures": bool(urls),
    }
    with replacing(path, private=True) as stream:
        for piece in template(TEMPLATE).generate(**values):
            stream.write(piece)
