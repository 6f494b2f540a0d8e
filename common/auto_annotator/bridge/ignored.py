"""Faces that people marked as not to be judged: neither asked for nor an error when they are found."""

from __future__ import annotations

from collections.abc import Mapping

IGNORED_LABELS = frozenset({"ignore", "ignored", "face_ignore", "face_ignored"})
IGNORED_ATTRIBUTES = frozenset({"ignore", "ignored", "invalid"})
"""A box of such a label, or a face with such an attribute that is true, is ignored; upper and lower case are the same."""


def is_true(value: object) -> bool:
    """Whether a value of an attribute, as text or as JSON has it, says yes."""
    return str(value).strip().casefold() in ("true", "1", "yes")


def is_ignored(label: str, attributes: Mapping[str, object]) -> bool:
    """Whether a box of this label with these attributes is ignored."""
    return label.casefold() in IGNORED_LABELS or any(
        is_true(value) for name, value in attributes.items() if name.casefold() in IGNORED_ATTRIBUTES
    )
