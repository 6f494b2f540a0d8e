"""What may be told about an error that ended the work on one picture: a reason code, and the place in the code."""

from __future__ import annotations

import traceback

from auto_annotator.errors import ImageError, MemberError

INTERNAL_ERROR = "internal_error"
"""Reason code of an error that nobody foresaw."""

OUT_OF_MEMORY = "out_of_memory"
NO_MEMBER_ANSWERED = "no_member_answered"

_TRACE_DEPTH = 3
"""Innermost frames that are named: enough to find the line."""


def failure_reason(error: BaseException) -> str:
    """Reason code of an error from the decoder or the pipeline, safe for CVAT and logs."""
    if isinstance(error, ImageError):
        return error.reason
    if isinstance(error, MemoryError):
        return OUT_OF_MEMORY
    return NO_MEMBER_ANSWERED if isinstance(error, MemberError) else INTERNAL_ERROR


def failure_place(error: BaseException) -> str:
    """Innermost frames as `module:line < module:line`; no path, no value, and not the message, which may hold anything."""
    frames = [f"{frame.f_globals.get('__name__', '?')}:{line}" for frame, line in traceback.walk_tb(error.__traceback__)]
    return " < ".join(frames[: -_TRACE_DEPTH - 1 : -1])
