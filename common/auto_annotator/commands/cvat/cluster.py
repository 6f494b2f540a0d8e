"""`auto-annotator cvat cluster`: who is who among the faces of tasks or a project, as a plan; nothing is written to CVAT."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from auto_annotator.commands.cvat.options import add_scope_options, add_server_options, connect, tasks_in_scope
from auto_annotator.commands.options import add_settings_options, fraction, settings_of
from auto_annotator.commands.progress import progress_bar
from auto_annotator.config import Settings
from auto_annotator.cvat.labels import FACE
from auto_annotator.errors import ConfigError

if TYPE_CHECKING:
    from auto_annotator.bridge.describing import Describer
    from auto_annotator.bridge.faces import PulledFace
    from auto_annotator.bridge.identities import Clustering
    from auto_annotator.bridge.plan import Plan
    from auto_annotator.bridge.planning import DescribedLooks
    from auto_annotator.bridge.server import Server, TaskInfo
    from auto_annotator.bridge.vector_cache import VectorCache

PLAN = Path("plan.json")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the subcommand."""
    text = "find out who is who among the faces of tasks or a project and write a plan; nothing is written to CVAT"
    parser = subparsers.add_parser("cluster", help=text, description=text)
    add_scope_options(parser)
    parser.add_argument("--label", default=FACE, metavar="NAME", help=f"rectangle label of the faces (default: {FACE})")
    text = f"the plan (default: {PLAN}); ids of earlier runs are kept beside it and go on"
    parser.add_argument("--output", type=Path, default=PLAN, metavar="PLAN.json", help=text)
    text = "cosine from which two faces are one person (default: that of the models)"
    parser.add_argument("--threshold", type=fraction, metavar="0..1", help=text)
    text = "use the deployed functions face-descriptor and face-clustering of this gateway or Nuclio dashboard"
    parser.add_argument("--functions", metavar="URL", help=text)
    add_settings_options(parser)
    add_server_options(parser)
    parser.set_defaults(run=run, parser=parser)


def run(args: argparse.Namespace) -> int:
    """Pull, describe, cluster, write the plan."""
    from auto_annotator.bridge.identities import identify
    from auto_annotator.bridge.plan import write_plan
    from auto_annotator.bridge.planning import Source
    from auto_annotator.bridge.state import read_identities, state_path, write_identities
    from auto_annotator.bridge.vector_cache import VectorCache, cache_path

    if not args.output.parent.is_dir():
        raise ConfigError(f"--output {args.output}: its folder does not exist: make it first")
    settings = settings_of(args)
    server = connect(args)
    tasks = tasks_in_scope(args, server)
    identities = read_identities(state_path(args.output), server.host)
    faces = pull(server, tasks, args.label)
    with VectorCache(cache_path(server.host, scope_of(tasks))) as cache:
        with progress_bar(None, "", "loading models"):
            describer, clustering = workers(args, settings)
        looks = describe(server, tasks, faces, cache, describer, settings)
        source = Source(
            server=server.host,
            tasks=tuple(task.id for task in tasks),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            model_set=describer.model_set,
            model_hash=describer.model_hash,
            threshold=describer.threshold if args.threshold is None else args.threshold,
        )
        with progress_bar(None, "", f"clustering {len(faces)} faces"):
            plan, identities = identify(faces, looks, identities, clustering, source)
            cache.give({face.ref.key: face.person for face in plan.faces})
            write_plan(args.output, plan)
            write_identities(state_path(args.output), identities)
    say(plan)
    if not args.project and (project := tasks[0].project) is not None:
        sys.stderr.write(f"note: ids hold for what is pulled together; `--project {project}` pulls all tasks of the project\n")
    sys.stdout.write(f"{args.output}\n")
    return 0


def scope_of(tasks: Sequence[TaskInfo]) -> str:
    """What the ids and the cache of a run belong to: the project, or the tasks where there is none."""
    projects = {task.project for task in tasks}
    if len(projects) == 1 and None not in projects:
        return f"project {projects.pop()}"
    return f"tasks {','.join(str(task.id) for task in tasks)}"


def pull(server: Server, tasks: Sequence[TaskInfo], label: str) -> list[PulledFace]:
    """All faces of the tasks, with a bar over jobs.

    Raises:
        ConfigError: if a task lacks the label or an attribute; nothing has been done then.
    """
    from auto_annotator.bridge.faces import face_label, pulled_faces

    labels = {task.id: face_label(task, label) for task in tasks}
    jobs = [(task, job) for task in tasks for job in task.jobs]
    found: list[PulledFace] = []
    with progress_bar(len(jobs), "job", "pulling") as bar:
        for task, job in jobs:
            found += pulled_faces(task, job, server.annotations(job.id), labels[task.id])
            bar.set_postfix(faces=len(found), refresh=False)
            bar.update()
    return found


def workers(args: argparse.Namespace, settings: Settings) -> tuple[Describer, Clustering]:
    """Who describes and who clusters: this machine, or the deployed functions."""
    if args.functions:
        from auto_annotator.bridge.deployed import deployed_workers

        return deployed_workers(args.functions)
    from auto_annotator.bridge.describing import LocalDescriber
    from auto_annotator.ensemble import build_refiners
    from auto_annotator.pipeline import FaceClustering, FaceDescription, require_device
    from auto_annotator.pipeline.points import FacePoints

    description = FaceDescription.from_settings(settings)
    require_device(settings, description.device)
    return LocalDescriber(description, FacePoints(build_refiners(settings))), FaceClustering()


def describe(
    server: Server,
    tasks: Sequence[TaskInfo],
    faces: Sequence[PulledFace],
    cache: VectorCache,
    describer: Describer,
    settings: Settings,
) -> DescribedLooks:
    """Descriptors of all faces, with a bar over frames; Ctrl-C loses one frame at most."""
    from auto_annotator.bridge.describing import describe_faces

    total = len({(face.ref.task, look.frame) for face in faces for look in face.looks})
    with progress_bar(total, "frame", "describing") as bar:
        done = Counter[str]()

        def report(frames: int, looks: int) -> None:
            done.update(faces=looks, frames=frames)
            bar.set_postfix(faces=done["faces"], refresh=False)
            bar.update(frames)

        try:
            return describe_faces(server, tasks, faces, cache, describer, max_pixels=settings.max_pixels, report=report)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted: {done['frames']} of {total} frames are described and kept; the same command goes on from there"
            ) from None


def count_of(number: int, noun: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {noun}{'s' * (number != 1)}"


def say(plan: Plan) -> None:
    """What a person wants to know before looking at the sheet."""
    several = sum(person.faces > 1 for person in plan.people)
    nobody = sum(not face.person for face in plan.faces)
    human = sum(face.human for face in plan.faces)
    where = count_of(len(plan.tasks), "task")
    questions = count_of(len(plan.suggestions), "question")
    lines = [
        f"{count_of(len(plan.faces), 'face')} in {where}: {several} people with several faces,"
        f" {len(plan.people) - several} seen once, {nobody} faces of nobody; {human} decided by people",
        f"{len(plan.changed)} faces to write, {len(plan.pairs)} pairs of people may be one, {questions}",
    ]
    kinds = Counter(change.kind for change in plan.changes)
    if kinds:
        lines.append("people: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())))
    lines += [f"note: {note}" for note in plan.notes]
    sys.stderr.write("".join(f"{line}\n" for line in lines))
