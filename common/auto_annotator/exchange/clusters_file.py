"""The clusters file: who is who among the faces of one or more descriptors files, as JSON that people can read.

docs/clusters.schema.json is its JSON Schema (made from the classes here; a test holds the two together). One face, person,
suggestion or conflict stands on one line. Faces are named by their key, people by their id; `registry` is what keeps the ids
stable when the file is given to the next run as `--previous`. The file holds no vectors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AllowInfNan, Field, Strict, TypeAdapter, ValidationError, with_config

from auto_annotator.errors import ConfigError
from auto_annotator.exchange.files import replacing

FORMAT: Final = "auto-annotator clusters"
VERSION: Final = 1
DECIMALS = 4
"""Of confidences, qualities and cosines: finer than any of them means."""

Number = Annotated[float, Strict(), AllowInfNan(False)]
Share = Annotated[float, Strict(), AllowInfNan(False), Field(ge=0, le=1)]
Whole = Annotated[int, Strict(), Field(ge=0)]
State = Literal["auto", "confirmed", "unknown", "rejected", "failed"]
"""`auto`: clustered; `confirmed`: clustered, and a person has said so; `unknown`: could be anyone; `rejected`: never to be
clustered, a person has said so; `failed`: has no descriptor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The next-best person of a face (for an unknown face: the best), and the cosine to the middle of that person's faces."""

    person: str
    score: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusteredFace:
    """One face.

    Attributes:
        key: `keys.face_keys`.
        image: name of its picture in the results.
        box: x1 y1 x2 y2 in pixels of the upright picture.
        person: id such as `p0042`; empty = nobody.
        label: number of the cluster in this run, -1 = none; another run may number otherwise, ids stay.
        confidence: 0..1: how much better the face fits its own person than the next one.
        quality: 0..1: how far the face can be trusted for identity.
        state: see `State`.
        nearest: None = nobody is near.
        failure: code of why there is no descriptor, else empty.
        notes: codes of what a person should know about the face.
    """

    key: str
    image: str
    box: tuple[Number, Number, Number, Number]
    person: str
    label: Annotated[int, Strict(), Field(ge=-1)]
    confidence: Share
    quality: Share
    state: State
    nearest: Nearest | None = None
    failure: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusteredPerson:
    """One person of this run: id, name (empty = not named), number of faces, estimated share of faces that are really theirs."""

    id: str
    name: str
    faces: Whole
    purity: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Two people who may be one; `reason` is that of `types.MergeSuggestion`, `score` the cosine of their middles."""

    first: str
    second: str
    score: Number
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contradiction:
    """Human words that contradict each other: kind (`types.Conflict`, or `two_names`), the keys of the faces, a sentence."""

    kind: str
    faces: tuple[str, ...]
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """How the clusters were made: recognisers, threshold (cosine, None = unknown), settings of the clustering."""

    model_set: str
    model_hash: str
    threshold: Number | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What people have said so far, by face key; the next run keeps to it.

    Attributes:
        must: pairs that are one person.
        cannot: pairs that are two people.
        never: faces that are never to be clustered.
    """

    must: tuple[tuple[str, str], ...] = ()
    cannot: tuple[tuple[str, str], ...] = ()
    never: tuple[str, ...] = ()


@with_config({"extra": "ignore"})
@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterFile:
    """The content of a clusters file.

    Attributes:
        format, version: of the file.
        meta: how it was made.
        people: largest first.
        suggestions: best first.
        doubtful: keys of faces that a person should look at, most doubtful first.
        conflicts: human words that contradict each other.
        warnings: sentences about the data as a whole.
        words: what people have said so far.
        faces: in the order of the descriptors files.
        registry: the identity registry as JSON (`clustering.identity`), opaque here.

    Raises:
        ValueError: if keys or ids repeat, or a face, suggestion or doubt names a person or face that is not there.
    """

    format: Literal["auto-annotator clusters"] = FORMAT
    version: Literal[1] = VERSION
    meta: Meta
    people: tuple[ClusteredPerson, ...]
    suggestions: tuple[Suggestion, ...] = ()
    doubtful: tuple[str, ...] = ()
    conflicts: tuple[Contradiction, ...] = ()
    warnings: tuple[str, ...] = ()
    words: Words = Words()
    faces: tuple[ClusteredFace, ...]
    registry: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        people, keys = {p.id for p in self.people}, {f.key for f in self.faces}
        if len(people) < len(self.people) or "" in people:
            raise ValueError("people: an id is empty or stands twice")
        if len(keys) < len(self.faces) or "" in keys:
            raise ValueError("faces: a key is empty or stands twice")
        named = [f.person for f in self.faces if f.person] + [p for s in self.suggestions for p in (s.first, s.second)]
        if lost := next((p for p in named if p not in people), None):
            raise ValueError(f"people: {lost!r} is named, but not listed")
        if lost := next((k for k in self.doubtful if k not in keys), None):
            raise ValueError(f"doubtful: {lost!r} is not the key of a face")

    @property
    def names(self) -> dict[str, str]:
        """Id -> name of everybody who has one."""
        return {p.id: p.name for p in self.people if p.name}


_MANY = ("people", "suggestions", "conflicts", "faces")
"""Lists that may be long: one entry a line."""


def write_clusters(path: Path, content: ClusterFile) -> None:
    """Write the file as a whole or not at all: ASCII, one entry of each list a line.

    Raises:
        OSError: if it cannot be written; an older file is then still whole.
    """
    with replacing(path) as stream:
        stream.write("{")
        for number, part in enumerate(fields(content)):
            stream.write(f"{',' * (number > 0)}\n{json.dumps(part.name)}: ")
            value = getattr(content, part.name)
            if part.name not in _MANY:
                stream.write(json.dumps(asdict(value) if isinstance(value, Meta | Words) else value, allow_nan=False))
                continue
            stream.write("[")
            for row, entry in enumerate(value):
                stream.write(("," if row else "") + "\n  " + json.dumps(_short(asdict(entry)), allow_nan=False))
            stream.write("\n]" if value else "]")
        stream.write("\n}\n")


def _short(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Without the optional fields that say nothing; numbers rounded."""
    optional = {"nearest": None, "failure": "", "notes": (), "detail": ""}
    return {k: _rounded(v) for k, v in entry.items() if k not in optional or v != optional[k]}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, DECIMALS) + 0.0  # + 0.0 turns -0.0 into 0.0
    if isinstance(value, Mapping):
        return {k: _rounded(v) for k, v in value.items()}
    return [_rounded(v) for v in value] if isinstance(value, Sequence) and not isinstance(value, str) else value


def read_clusters(path: Path) -> ClusterFile:
    """Read and check a clusters file. Keys of a later form of the same version are ignored.

    Raises:
        ConfigError: says what is wrong: no such file, not JSON, another version, a field.
    """
    try:
        data = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); `auto-annotator cluster` writes it") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON; expected a clusters file that `auto-annotator cluster` wrote") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ConfigError(f"{path}: not a clusters file; expected what `auto-annotator cluster` wrote")
    if data.get("version") != VERSION:
        raise ConfigError(f"{path}: got version {data.get('version')!r}, expected {VERSION}")
    try:
        return _adapter().validate_python(data)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()[:3])
        raise ConfigError(f"{path}: not a clusters file: {problems}") from error


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


@cache
def _adapter() -> TypeAdapter[ClusterFile]:
    return TypeAdapter(ClusterFile)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_adapter().json_schema()}
