"""Creating or completing the labels of a project or task: only what is missing is added, everything that is there stays."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from auto_annotator.bridge.errors import ServerError, Unsure
from auto_annotator.bridge.infos import label_info
from auto_annotator.bridge.label_check import check_labels, wanted_labels
from auto_annotator.bridge.retry import backoff_of_environment, pause
from auto_annotator.bridge.server import Server
from auto_annotator.cvat.labels import FACE, label_constructor
from auto_annotator.errors import ConfigError

logger = logging.getLogger(__name__)

Json = dict[str, Any]

ATTEMPTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What owns the labels: exactly one of the two is a number."""

    project: int | None = None
    task: int | None = None

    def __str__(self) -> str:
        return f"project {self.project}" if self.project is not None else f"task {self.task}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupPlan:
    """What would be written.

    Attributes:
        steps: sentences for a person.
        labels: body of the request; labels that nothing is added to are not in it.
        notes: things that stay as they are and that a person should know.
    """

    steps: tuple[str, ...] = ()
    labels: tuple[Json, ...] = ()
    notes: tuple[str, ...] = ()


def target_of(server: Server, *, project: int | None = None, task: int | None = None) -> Target:
    """Where the labels live: those of a task inside a project belong to the project.

    Raises:
        ServerError: if the project or task cannot be seen.
    """
    if project is not None:
        server.raw_project(project)
        return Target(project=project)
    assert task is not None, "one of the two is given"
    owner = server.raw_task(task).get("project_id")
    return Target(task=task) if owner is None else Target(project=int(owner))


def plan_setup(there: Sequence[Json], *, name: str | None = None) -> SetupPlan:
    """What to add to labels as the server sent them.

    Args:
        there: `Server.raw_labels`.
        name: of a rectangle label that gets the attributes of a face; None = our own labels.

    Raises:
        ConfigError: for everything that is in the way, in one message; nothing may be written then.
    """
    infos = [label_info(row) for row in there]
    findings = check_labels(infos, wanted_labels(name))
    conflicts = [finding.text for finding in findings if finding.kind == "conflict"]
    if name not in (None, FACE) and any(finding.kind == "missing_label" for finding in findings):
        known = ", ".join(repr(info.name) for info in infos if info.type in ("rectangle", "any")) or "none"
        conflicts.append(f"--label: there is no label {name!r}; rectangle labels are: {known}")
    if conflicts:
        raise ConfigError("labels are in the way, nothing was written:\n" + "\n".join(f"  {text}" for text in conflicts))
    added = {f.label: [g.attribute for g in findings if g.label == f.label and g.kind == "missing_attribute"] for f in findings}
    steps: list[str] = []
    labels: list[Json] = []
    schema = {label["name"]: label for label in label_constructor()}
    for item in wanted_labels(name):
        row = next((row for row in there if row["name"] == item.name), None)
        template = schema[FACE if item.name == name else item.name]
        if row is None:
            labels.append(template)
            steps.append(_creation(template))
        elif names := added.get(item.name):
            labels.append(_completed(row, [a for a in template["attributes"] if a["name"] in names]))
            steps.append(f"add to label {item.name}: {', '.join(names)}")
    return SetupPlan(steps=tuple(steps), labels=tuple(labels), notes=tuple(f.text for f in findings if f.kind == "mutable"))


def _creation(template: Json) -> str:
    parts = [row["name"] for row in template.get("sublabels") or template["attributes"]]
    return f"create label {template['name']} ({template['type']}): {', '.join(parts)}"


def _completed(row: Json, attributes: list[Json]) -> Json:
    """The label with everything it has by id, and the new attributes.

    The colour must be sent along: a server that gets none chooses another.
    """
    kept: Json = {key: row[key] for key in ("id", "name", "color", "type") if key in row}
    return {**kept, "attributes": [*(dict(a) for a in row.get("attributes") or ()), *attributes]}


def apply_setup(server: Server, target: Target, *, name: str | None = None, attempts: int = ATTEMPTS) -> None:
    """Write what is missing, look again, and end when nothing is.

    A request that may or may not have been done is not repeated blindly: the labels are read again first.

    Raises:
        ConfigError: for conflicts, also those that somebody made meanwhile.
        ServerError: if it is refused, or does not hold after so many attempts.
    """
    backoff = backoff_of_environment()
    last = ServerError(f"labels of {target}: {server.host} accepts them but does not keep them")
    for failures in range(1, attempts + 1):
        plan = plan_setup(server.raw_labels(project=target.project, task=target.task), name=name)
        if not plan.labels:
            return
        try:
            server.patch_labels(plan.labels, project=target.project, task=target.task)
        except Unsure as error:
            last = error
            logger.info("labels of %s: a write ended without an answer, looking again", target)
            pause(backoff.seconds(failures, error.retry_after))
    if plan_setup(server.raw_labels(project=target.project, task=target.task), name=name).labels:
        raise ServerError(f"{last}; start the command again to go on", status=last.status)
