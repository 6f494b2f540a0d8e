"""The templates of the pages: escaped, strict, and clean of characters that HTML forbids."""

from __future__ import annotations

from typing import Any

from auto_annotator.reports.files import printable


def template(name: str) -> Any:
    """A template of this folder; `base.html.j2` has what all pages share.

    Every value is cleaned, then escaped; one that the caller forgot is an error, not an empty place.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("auto_annotator.reports", "."),
        autoescape=True,
        finalize=_clean,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _clean(value: Any) -> Any:
    """Applied to every value that enters the page, before it is escaped; what a macro made has been through it already."""
    return printable(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
