"""The page of annotation quality: figures, tables, and a link to every face that needs a correction. No script, no picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from auto_annotator.reports.files import replacing
from auto_annotator.reports.templates import template

TEMPLATE = "quality.html.j2"
MAX_LINKS = 5000
"""Links in one group: a page of more would not be worked through, and browsers get slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure on top: what, how much, and a remark."""

    name: str
    figure: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: title, heads of its columns, rows of texts of the same length, and a remark below."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A face to correct: what the link says, where it leads, and a remark."""

    text: str
    url: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Faces with the same fault."""

    title: str
    links: tuple[Link, ...]

    @property
    def shown(self) -> tuple[Link, ...]:
        """Those that the page has."""
        return self.links[:MAX_LINKS]


def write_quality_page(
    path: Path, *, title: str, subtitle: str, tiles: Sequence[Tile], tables: Sequence[Table], groups: Sequence[Group]
) -> None:
    """Write the page.

    Args:
        path: the HTML file to write; readable by its owner only.
        title: heading of the page.
        subtitle: what was compared with what.
        tiles: figures on top.
        tables: tables with at least one row.
        groups: faces to correct.

    Raises:
        OSError: if the file cannot be written.
    """
    values = {"title": title, "subtitle": subtitle, "tiles": tiles, "tables": tables, "groups": groups}
    with replacing(path, private=True) as stream:
        for piece in template(TEMPLATE).generate(**values):
            stream.write(piece)
