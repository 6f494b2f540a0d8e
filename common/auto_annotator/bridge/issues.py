"""The queue as issues on CVAT's jobs, each face once: a mark in an issue's first comment says which face it is about.

Server ids of shapes change and boxes are moved, so a face is known by three things: the geometry key it has, the one it had when
its mark was written, and the region of an issue of ours that it still fills. A face that has an issue gets no second one, whether
the issue is open or resolved.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from auto_annotator.bridge.errors import ServerError, Unsure
from auto_annotator.bridge.retry import backoff_of_environment, pause
from auto_annotator.bridge.review_queue import Entry, sentence
from auto_annotator.geometry import iou_matrix

if TYPE_CHECKING:
    from auto_annotator.bridge.server import Server

logger = logging.getLogger(__name__)

SAME_PLACE = 0.6
"""IoU from which a box that was moved still is what an issue is about; two faces side by side have far less."""
LONGEST_ID = 64
"""Characters of a `person` that an issue repeats."""
ATTEMPTS = 8
"""Tries in a row that may end without one more issue."""

_MARKER = re.compile(r"\[auto-annotator (f[0-9a-f]{16}(?:-\d+)?)\]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An issue that is about a face of ours: the key in its marker, its frame and region (x1 y1 x2 y2)."""

    key: str
    frame: int
    region: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How many issues were opened (or would be), and how many faces had one already."""

    opened: int
    had_one: int


def message(entry: Entry) -> str:
    """The first comment of an issue: why to look, without names, and the mark at the end."""
    lines = [sentence(code) for code in entry.reasons]
    if entry.was:
        lines.append(f"Before it was {_short(entry.was)}, now it is {_short(entry.person)}.")
    if entry.nearest:
        lines.append(f"Next best: {_short(entry.nearest)}.")
    return "\n".join([*lines, f"[auto-annotator {entry.ref.key}]"])


def _short(person: str) -> str:
    """A person in a sentence: people may type anything."""
    return " ".join(person.split())[:LONGEST_ID]


def known_issues(issues: Sequence[Mapping[str, Any]], comments: Sequence[Mapping[str, Any]]) -> list[Known]:
    """The issues that are about our faces.

    Args:
        issues: of one job, as the server sends them.
        comments: of the same job.

    Raises:
        ServerError: if an issue has comments that the account cannot see: whose it is would be a guess.
    """
    texts: dict[int, list[str]] = defaultdict(list)
    for comment in comments:
        texts[int(comment["issue"])].append(str(comment.get("message", "")))
    found = []
    for issue in issues:
        count = (issue.get("comments") or {}).get("count", 0)
        if count and not texts[int(issue["id"])]:
            raise ServerError(
                f"issue {issue['id']}: has {count} comments, the server shows none of them: give the organization of the task"
                " (--organization), so that no face gets two issues"
            )
        # the last one of a comment: what stands before it may repeat texts that people typed
        keys = [marks[-1] for text in texts[int(issue["id"])] if (marks := _MARKER.findall(text))]
        if keys:
            xs, ys = list(issue["position"])[::2], list(issue["position"])[1::2]
            found.append(Known(key=keys[0], frame=int(issue["frame"]), region=(min(xs), min(ys), max(xs), max(ys))))
    return found


def missing(entries: Sequence[Entry], known: Iterable[Known]) -> list[Entry]:
    """The entries of one job that have no issue yet, in order; every issue stands for one face."""
    ours = list(known)
    keys = {issue.key for issue in ours}
    without = [entry for entry in entries if keys.isdisjoint({entry.ref.key, entry.earlier_key})]
    named = {key for entry in entries for key in (entry.ref.key, entry.earlier_key)}
    free = [issue for issue in ours if issue.key not in named]
    result = []
    for entry in without:
        place = _same_place(entry, free)
        if place is None:
            result.append(entry)
        else:
            free.pop(place)
    return result


def _same_place(entry: Entry, free: Sequence[Known]) -> int | None:
    here = [number for number, issue in enumerate(free) if issue.frame == entry.ref.frame]
    if not here:
        return None
    regions = np.array([free[number].region for number in here], np.float32)
    overlap = iou_matrix(np.array([entry.ref.box], np.float32), regions)[0]
    best = int(np.argmax(overlap))
    return here[best] if overlap[best] >= SAME_PLACE else None


def open_issues(
    server: Server, entries: Sequence[Entry], *, dry_run: bool = False, progress: Callable[[int], object] = lambda faces: None
) -> Outcome:
    """Open an issue for every face that has none.

    Args:
        server: where the faces are.
        entries: of the queue, in the order in which issues are opened within each job.
        dry_run: only look.
        progress: called with the number of faces that were dealt with since the last call.

    Raises:
        ServerError: if the server cannot be reached or refuses; what was opened so far stands, and the same call goes on.
    """
    jobs: dict[int, list[Entry]] = defaultdict(list)
    for entry in entries:
        jobs[entry.ref.job].append(entry)
    opened = had_one = 0
    for job, mine in jobs.items():
        now = _look(server, job, mine)
        had_one += len(mine) - len(now)
        progress(len(mine) - len(now))
        opened += len(now)
        if dry_run:
            progress(len(now))
        else:
            _open_all(server, job, mine, now, progress)
    return Outcome(opened=opened, had_one=had_one)


def _look(server: Server, job: int, entries: Sequence[Entry]) -> list[Entry]:
    issues = server.issues(job)
    return missing(entries, known_issues(issues, server.issue_comments(job) if issues else []))


def _open_all(server: Server, job: int, entries: Sequence[Entry], now: list[Entry], progress: Callable[[int], object]) -> None:
    """Open what is missing; a request whose outcome nobody knows is not repeated, the job is read again."""
    backoff, failures = backoff_of_environment(), 0
    while now:
        unsure = None
        for entry in list(now):
            try:
                server.create_issue(job, entry.ref.frame, entry.ref.box, message(entry))
            except Unsure as error:
                unsure = error
                break
            now.remove(entry)
            failures = 0
            progress(1)
        if unsure is None:
            return
        failures += 1
        if failures >= ATTEMPTS:
            raise ServerError(f"job {job}: gave up after {failures} tries: {unsure}")
        logger.info("job %d: an issue ended without an answer, looking again", job)
        pause(backoff.seconds(failures, unsure.retry_after))
        left = len(now)
        now = _look(server, job, entries)
        progress(max(left - len(now), 0))
