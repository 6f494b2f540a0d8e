"""What has come together for one picture so far: lists of faces, problems, time."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from auto_annotator.ensemble import Plan
from auto_annotator.errors import AutoAnnotatorError, MemberError
from auto_annotator.fusion.boxes import Source
from auto_annotator.types import Faces, Problem

_OUT_OF_MEMORY = ("out of memory", "failed to allocate", "bad allocation", "bad_alloc", "cudaerrormemoryallocation")


@dataclass(slots=True)
class Run:
    """The work on one picture in one orientation.

    Attributes:
        deadline: `time.perf_counter` at which the time budget of the picture ends.
        lists, sources: what the members saw, and who saw it.
        problems: of members and refiners, by name.
        seconds: wall time by stage.
        pace: seconds per megapixel of each member, to tell whether a look still fits.
        quarters: of a full turn by which the picture is turned, clockwise.
    """

    deadline: float
    lists: list[Faces] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    problems: dict[str, Problem] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pace: dict[str, float] = field(default_factory=dict)
    quarters: int = 0

    def timed(self, name: str, start: float) -> None:
        """Count the time since `start` to a stage."""
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def stops(self, member: str, plan: Plan) -> bool:
        """Whether time is up while a member looks at tiles; if so, it is noted."""
        late = time.perf_counter() > self.deadline
        if late:
            self.problems[member] = Problem(member=member, reason="out_of_time", detail=f"some tiles of {plan.view.name} left out")
        return late

    def broken(self, member: str) -> bool:
        """Whether a member has failed; one that ran out of time has not."""
        problem = self.problems.get(member)
        return problem is not None and problem.reason != "out_of_time"

    def turned(self, quarters: int) -> Run:
        """The same picture turned: one clock for all, and members that broke are not asked again."""
        broken = {name: problem for name, problem in self.problems.items() if self.broken(name)}
        return Run(deadline=self.deadline, problems=broken, seconds=self.seconds, pace=self.pace, quarters=quarters)

    def learn(self, turned: Run) -> None:
        """Take over the problems of a turned picture; of one member the gravest is told, then the first."""
        for name, problem in turned.problems.items():
            if name not in self.problems or (turned.broken(name) and not self.broken(name)):
                detail = f"{problem.detail} (picture turned by {90 * turned.quarters} degrees)".lstrip()
                self.problems[name] = replace(problem, detail=detail)


def problem_of(member: str, error: Exception) -> Problem:
    """What happened, without any text that a third-party library may have filled with data of the picture."""
    text = str(error).lower()
    if isinstance(error, MemberError):
        return Problem(member=member, reason=error.reason, detail=str(error))
    if isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY):
        return Problem(member=member, reason="out_of_memory", detail=type(error).__name__)
    detail = str(error) if isinstance(error, AutoAnnotatorError) else type(error).__name__
    return Problem(member=member, reason="raised", detail=detail)
