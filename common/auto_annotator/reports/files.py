"""Writing a result file: whole or not at all, and only characters that its readers accept."""

from __future__ import annotations

import re

from auto_annotator.exchange.files import replacing

__all__ = ["printable", "replacing"]

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\u007e\u0085\u00a0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """The text with every character that XML 1.0 or HTML forbids replaced by U+FFFD.

    These are control characters, lone surrogates (file names that are not valid UTF-8 have them) and noncharacters.
    """
    return _FORBIDDEN.sub("\ufffd", text)
