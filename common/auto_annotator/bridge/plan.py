"""The plan file: what a push would write, for every face with the reason, before anything is written to CVAT.

It holds personal data (names that people typed, where somebody's face is): the file is readable by its owner only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from auto_annotator.bridge.own_files import read_own
from auto_annotator.errors import ConfigError
from auto_annotator.exchange.files import replacing

VERSION: Final = 1
KIND: Final = "auto-annotator plan"

Kind = Literal["shape", "track"]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRef:
    """Where a face is in CVAT.

    Attributes:
        task, job: their numbers.
        frame: number of the frame in the task; of a track its first visible keyframe.
        kind: `shape` or `track`.
        id: the server's id when it was pulled; servers before 2.16 change it with every update.
        label: the server's id of its label.
        box: x1 y1 x2 y2 in pixels of the frame.
        key: geometry key (`exchange.keys`) of frame and box.
    """

    task: int
    job: int
    frame: int
    kind: Kind
    id: int
    label: int
    box: Box
    key: str

    @property
    def place(self) -> tuple[int, int, str, int]:
        """Task, frame, kind, id: an order that does not depend on how the server lists shapes."""
        return self.task, self.frame, self.kind, self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFace:
    """One face and what is planned for it.

    Attributes:
        ref: where it is.
        before: attributes by name as they were pulled: `person`, `name`, `face_key`, and `quality` where the label has it.
        after: the same names with the values to push; equal to `before` where nothing changes.
        confidence: 0..1, how well the face fits the person.
        quality: 0..1, how far it can be trusted for identity.
        human: a person decided who it is; `person` is never written then.
        reasons: codes of `review.REASONS` about who it is.
        nearest: the next-best person, empty = none near.
        nearest_score: cosine to that person, 0 where there is none.
        detector_reasons: codes in the attribute `reasons` in CVAT.
        score: attribute `score` in CVAT, percent; -1 = the label has none.
    """

    ref: FaceRef
    before: Mapping[str, str]
    after: Mapping[str, str]
    confidence: float = 0.0
    quality: float = 0.0
    human: bool = False
    reasons: tuple[str, ...] = ()
    nearest: str = ""
    nearest_score: float = 0.0
    detector_reasons: tuple[str, ...] = ()
    score: int = -1

    @property
    def changed(self) -> bool:
        """Whether a push writes anything."""
        return dict(self.before) != dict(self.after)

    @property
    def person(self) -> str:
        """Who it is after the push."""
        return self.after.get("person", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedPerson:
    """Somebody. `purity`: estimated share of the faces that are really this person; `aliases`: ids merged into this one."""

    id: str
    name: str = ""
    faces: int = 0
    purity: float = 1.0
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that happened to an id in this run, with the reason, see `clustering.registry.Event`."""

    kind: str
    person: str
    others: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two people who may be one; a person decides."""

    first: str
    second: str
    score: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Something only a person can decide.

    Attributes:
        kind: `two_names` (one cluster, several names: maybe a split), `contradiction` (human words that exclude each other).
        person: the id it is about.
        text: a sentence, without names.
        names: the names, for `two_names`.
        faces: geometry keys of the faces.
    """

    kind: str
    person: str
    text: str
    names: tuple[str, ...] = ()
    faces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The whole plan.

    Attributes:
        server: `Server.host` it was made for.
        tasks: numbers of the tasks.
        created: ISO 8601, UTC.
        model_set, model_hash: what made the vectors.
        threshold: cosine from which two faces are more likely one person than two.
        faces: all faces that were pulled, by `FaceRef.place`.
        people: those who have faces after the push, by id.
        changes, pairs, suggestions: for people to look at.
        notes: sentences about the run as a whole.
    """

    server: str
    tasks: tuple[int, ...]
    created: str
    model_set: str
    model_hash: str
    threshold: float
    faces: tuple[PlannedFace, ...] = ()
    people: tuple[PlannedPerson, ...] = ()
    changes: tuple[Change, ...] = ()
    pairs: tuple[Pair, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def changed(self) -> tuple[PlannedFace, ...]:
        """Faces of which a push would write something."""
        return tuple(face for face in self.faces if face.changed)


def write_plan(path: Path, plan: Plan) -> None:
    """Write the file whole or not at all, readable by its owner only.

    Raises:
        OSError: if it cannot be written.
    """
    content = {
        "kind": KIND,
        "version": VERSION,
        **{one.name: getattr(plan, one.name) for one in fields(plan) if one.name != "faces"},
    }
    head = json.dumps(content, ensure_ascii=False, allow_nan=False, default=asdict)
    with replacing(path, private=True) as stream:
        stream.write(f'{head[:-1]}, "faces": [')
        for number, face in enumerate(plan.faces):  # a line each: a person can read it, and json's fast path does the work
            stream.write(",\n" if number else "\n")
            stream.write(json.dumps(_plain(face), ensure_ascii=False, allow_nan=False))
        stream.write("\n]}\n")


def _plain(face: PlannedFace) -> dict[str, Any]:
    """`dataclasses.asdict` without its deep copies, which take longer than all the rest of writing a plan."""
    row = {one.name: getattr(face, one.name) for one in fields(face)}
    row["ref"] = {one.name: getattr(face.ref, one.name) for one in fields(face.ref)}
    return row | {"before": dict(face.before), "after": dict(face.after)}


def read_plan(path: Path) -> Plan:
    """Read what `write_plan` wrote.

    Raises:
        ConfigError: if it is not there, or is not a plan of this version.
    """
    data = read_own(path, "plan", KIND, VERSION, hint="`auto-annotator cvat cluster` writes one")
    try:
        return _plan(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"plan {path}: damaged ({type(error).__name__}): make it anew with `auto-annotator cvat cluster`"
        ) from error


def _plan(data: Mapping[str, Any]) -> Plan:
    rest = {name: data[name] for name in ("server", "created", "model_set", "model_hash")}
    return Plan(
        **rest,
        threshold=float(data["threshold"]),
        tasks=tuple(int(task) for task in data["tasks"]),
        faces=tuple(_face(row) for row in data["faces"]),
        people=tuple(PlannedPerson(**{**row, "aliases": tuple(row["aliases"])}) for row in data["people"]),
        changes=tuple(Change(**{**row, "others": tuple(row["others"])}) for row in data["changes"]),
        pairs=tuple(Pair(**row) for row in data["pairs"]),
        suggestions=tuple(
            Suggestion(**{**row, "names": tuple(row["names"]), "faces": tuple(row["faces"])}) for row in data["suggestions"]
        ),
        notes=tuple(str(note) for note in data["notes"]),
    )


def _face(row: Mapping[str, Any]) -> PlannedFace:
    ref = dict(row["ref"])
    if ref["kind"] not in get_args(Kind):
        raise ValueError("kind")
    x1, y1, x2, y2 = (float(edge) for edge in ref.pop("box"))
    texts = {name: {str(k): str(v) for k, v in row[name].items()} for name in ("before", "after")}
    codes = {name: tuple(row[name]) for name in ("reasons", "detector_reasons")}
    return PlannedFace(**{**row, **texts, **codes, "ref": FaceRef(**ref, box=(x1, y1, x2, y2))})
