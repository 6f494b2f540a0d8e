"""How the tests of pictures ask why one was refused."""

from __future__ import annotations

from auto_annotator import imageio
from auto_annotator.errors import ImageError

LIMIT = 10**7
"""Pixel limit of tests that are not about it."""


def reason_of(data, limit=LIMIT, call=imageio.decode):
    """Reason of the refusal, or None if the picture was decoded."""
    try:
        call(data, max_pixels=limit)
    except ImageError as error:
        assert error.reason in imageio.REASONS
        return error.reason
    return None
