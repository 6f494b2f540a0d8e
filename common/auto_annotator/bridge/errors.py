"""Errors of the way to a CVAT server; their texts hold no token, no file name and nothing that the server sent."""

from __future__ import annotations

from auto_annotator.errors import AutoAnnotatorError


class ServerError(AutoAnnotatorError):
    """The server cannot be used for what was asked: the text says what it was and what to do.

    Attributes:
        status: HTTP status of the answer; 0 = there was none.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Unsure(ServerError):
    """A write whose outcome is not known (5xx, 429, reset, timeout): read again, compare, then repeat what is still missing.

    Attributes:
        retry_after: seconds that the server asked to wait, None = it did not say.
    """

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after
