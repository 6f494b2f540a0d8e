"""Writing annotations so that every item lands exactly once, whatever the network does: read, compare, write, read again."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from auto_annotator.bridge.errors import ServerError, Unsure
from auto_annotator.bridge.retry import backoff_of_environment, pause
from auto_annotator.bridge.server import Action, Server

logger = logging.getLogger(__name__)

STUBBORN = 3
"""Rounds in which the server accepts everything and then shows something else, before we stop asking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One request: what to do (`create`, `update`, `delete`) with which items (`tags`, `shapes`, `tracks`)."""

    action: Action
    body: dict[str, Any]


def converge(
    server: Server,
    job: int,
    pending: Callable[[dict[str, Any]], list[Write]],
    *,
    attempts: int = 8,
    wait: Callable[[int], float] | None = None,
    first: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write until nothing is pending; the last read is also the verification.

    A request that may or may not have been done is never repeated blindly: the job is read again, and `pending` says what is
    still missing. A gateway may give up on a request that the server still finishes later; `pending` must therefore also see (and
    delete) items of its own that stand there twice.

    Args:
        server: where the job is.
        job: its number.
        pending: from the job's annotations to the requests that are still needed, in order; pure.
        attempts: rounds in a row that may end without progress.
        wait: seconds to wait after so many of them (from 1); None = the waiting times of the environment.
        first: annotations that were read just now, such as what the call before has returned; None = read them.

    Returns:
        The job's annotations, with nothing pending.

    Raises:
        ServerError: if a request is refused, or the attempts are used up; what was written so far is valid, and the same call
            goes on from there.
    """
    backoff = backoff_of_environment()
    failures, stubborn, fewest = 0, 0, math.inf
    unsure: Unsure | None = None
    while True:
        now, first = server.annotations(job) if first is None else first, None
        writes = pending(now)
        if not writes:
            return now
        done, unsure = _send(server, job, writes, shaken=unsure is not None)
        if unsure is None:
            failures, stubborn = 0, stubborn + 1
            if stubborn > STUBBORN:
                raise ServerError(
                    f"job {job}: {server.host} accepts the annotations but does not keep them as they were sent: "
                    "is somebody else writing to the job, or do its labels differ (auto-annotator cvat doctor)?"
                )
            continue
        failures = 0 if done and len(writes) < fewest else failures + 1
        fewest = min(fewest, len(writes))
        if failures >= attempts:
            raise ServerError(
                f"job {job}: gave up after {failures} tries: {unsure}; start the command again to go on", status=unsure.status
            )
        seconds = wait(max(failures, 1)) if wait else backoff.seconds(max(failures, 1), unsure.retry_after)
        logger.info("job %d: a write ended without an answer, looking again in %.1f s", job, seconds)
        pause(seconds)


def _send(server: Server, job: int, writes: list[Write], *, shaken: bool) -> tuple[int, Unsure | None]:
    """How many requests were done, and the error that stopped them.

    An update deletes and inserts the same ids. Where the update before it is still at work at the server (`shaken`: nobody knows
    how it ended), the second one is refused with 400 for a key that exists: then the job is read again too.
    """
    for done, write in enumerate(writes):
        try:
            server.patch(job, write.action, write.body)
        except Unsure as error:
            return done, error
        except ServerError as error:
            if not (shaken and error.status == 400 and write.action == "update"):
                raise
            return done, Unsure(str(error), status=error.status)
    return len(writes), None
