"""What a push would do or an undo would take back, as lines of text. Pure.

Names of people stand in no line: a terminal may be a log. A `person` that is not an id of ours may be a name too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from auto_annotator.bridge.judging import IDENTITY, Goal, Judged, State
from auto_annotator.bridge.marks import NEVER
from auto_annotator.bridge.plan import Change, Plan

_ID = re.compile(r"p\d{4,}", re.ASCII)
TELLING = ("merged", "split")
"""Changes of people that are listed one by one; the others are only counted."""


def shown(person: str) -> str:
    """A value of `person` as it may be printed: an id or `none` as it is, `-` for empty, `(typed)` for what people wrote."""
    text = person.strip()
    if not text:
        return "-"
    return text if _ID.fullmatch(text) or text.casefold() == NEVER else "(typed)"


def kinds_of(goal: Goal) -> tuple[str, ...]:
    """What changes about a face, as words for the counts."""
    kinds = []
    for name in ("person", "name"):
        before, after = goal.old.get(name, "").strip(), goal.new.get(name, goal.old.get(name, "")).strip()
        if before != after:
            kinds.append(f"{name} {'removed' if not after else 'given' if not before else 'changed'}")
    if not kinds:
        kinds.append("mark only" if set(goal.writes) & set(IDENTITY) else "quality only")
    return tuple(kinds)


def count_lines(judged: Iterable[Judged]) -> list[str]:
    """How many faces there are of each kind of change and in each state."""
    rows = list(judged)
    kinds = Counter(kind for one in rows if one.state is State.TODO for kind in kinds_of(one.goal))
    states = Counter(one.state for one in rows)
    lines = [f"{states[State.TODO]:7d}  faces to write"]
    lines += [f"{number:7d}    {kind}" for kind, number in sorted(kinds.items())]
    lines += [f"{states[state]:7d}  {state}" for state in (State.DONE, State.SAME) if states[state]]
    return lines + [f"{states[state]:7d}  left alone: {state}" for state in State if state.skipped and states[state]]


def change_lines(changes: Sequence[Change]) -> list[str]:
    """Merges and splits with their reason, the rest as counts."""
    others = Counter(change.kind for change in changes if change.kind not in TELLING)
    lines = [f"{number:7d}  {kind}" for kind, number in sorted(others.items())]
    for change in changes:
        if change.kind in TELLING:
            people = ", ".join(shown(person) for person in change.others)
            text = (
                f"{people} merged into {shown(change.person)}"
                if change.kind == "merged"
                else f"{shown(change.person)} split: {people}"
            )
            lines.append(f"{text}{f' ({change.reason})' if change.reason else ''}")
    return lines


def face_lines(judged: Iterable[Judged], limit: int | None) -> list[str]:
    """A table of the faces that would be written, the first `limit` (None = all)."""
    rows = [one.goal for one in judged if one.state is State.TODO]
    cells = [("task", "job", "frame", "face", "person", "also")]
    for goal in rows[:limit]:
        ref = goal.ref
        before, after = shown(goal.old.get("person", "")), shown(goal.new.get("person", goal.old.get("person", "")))
        person = before if before == after and not set(goal.writes) & {"person"} else f"{before} -> {after}"
        also = ", ".join(kind for kind in kinds_of(goal) if not kind.startswith("person"))
        cells.append((str(ref.task), str(ref.job), str(ref.frame), f"{ref.kind} {ref.id}", person, also))
    if len(cells) == 1:
        return []
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    more = len(rows) - (len(cells) - 1)
    return lines + ([f"... and {more} more (--all prints them)"] if more else [])


def plan_lines(plan: Plan, judged: Sequence[Judged], limit: int | None) -> list[str]:
    """Everything that `push --dry-run` prints."""
    parts = [count_lines(judged), change_lines(plan.changes), face_lines(judged, limit)]
    return "\n\n".join("\n".join(part) for part in parts if part).split("\n")
