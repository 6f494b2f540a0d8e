"""The folder of models: what lies there, whether it is what the registry promises, and where to find it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from auto_annotator.errors import WeightsError
from auto_annotator.weights.conversions import CONVERTER_VERSION
from auto_annotator.weights.registry import FileSource, Weight, expand, find, registry

State = Literal["missing", "present", "ok", "broken"]


class Record(BaseModel):
    """The sidecar `<file>.json`: what is stored where that is not the file at the source.

    Attributes:
        sha256: of the stored file.
        source_sha256: of the downloaded file it was made from.
        convert: the conversions in order.
        converter: `CONVERTER_VERSION` that made it.
    """

    sha256: str
    source_sha256: str
    convert: tuple[str, ...] = ()
    converter: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightStatus:
    """What is known about one weight in the folder.

    Attributes:
        weight: the registered row.
        state: `missing`; `present` (there, not checked); `ok` (hash checked); `broken` (hash or record wrong).
        detail: what is wrong and what to do, else empty.
    """

    weight: Weight
    state: State
    detail: str = ""

    @property
    def name(self) -> str:
        """The registered name."""
        return self.weight.name


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def needs_record(weight: Weight) -> bool:
    """Whether the stored file's hash is not the registry's, so that a sidecar states it."""
    return bool(weight.convert) or weight.sha256 is None


def record_path(weight: Weight, folder: Path) -> Path:
    """The sidecar of a weight."""
    return folder / f"{weight.file}.json"


def refuse_escape(path: Path, folder: Path) -> None:
    """Refuse a path that a symlink leads out of the folder.

    Raises:
        WeightsError: names the link.
    """
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise WeightsError(f"{path.name}: is a symlink out of the folder of models ({folder}); remove it, or copy the file there")


def _remedy(weight: Weight) -> str:
    extra = " --allow-unverified" if weight.sha256 is None else ""
    return f"run `auto-annotator models pull {weight.name}{extra}`"


def _expected_hash(weight: Weight, folder: Path) -> str:
    if not needs_record(weight):
        return str(weight.sha256)
    path = record_path(weight, folder)
    refuse_escape(path, folder)
    try:
        record = Record.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise WeightsError(
            f"{weight.file}: its record {path.name} is missing or damaged, so the file cannot be checked; {_remedy(weight)}"
        ) from error
    if weight.sha256 is not None and record.source_sha256 != weight.sha256:
        raise WeightsError(
            f"{weight.file}: was made from sha256 {record.source_sha256}, expected {weight.sha256}; {_remedy(weight)}"
        )
    made = (record.convert, record.converter)
    if weight.convert and made != (weight.convert, CONVERTER_VERSION):
        raise WeightsError(
            f"{weight.file}: was converted by version {record.converter}, expected {CONVERTER_VERSION}; {_remedy(weight)}"
        )
    return record.sha256


def checked_path(weight: Weight, folder: Path) -> Path:
    """The stored file, its hash checked now.

    Raises:
        WeightsError: if it is missing, has another hash, or a symlink leads out of the folder; names the file, both hashes and
            what to do.
    """
    if isinstance(weight.source, FileSource):
        if not weight.source.path.is_file():
            raise WeightsError(f"weights: {str(weight.source.path)!r} is not a file; expected the path of an own model")
        return weight.source.path
    path = folder / weight.file
    refuse_escape(path, folder)
    if not path.is_file():
        raise WeightsError(f"{weight.file}: not in the folder of models ({folder}, AUTO_ANNOTATOR_MODELS); {_remedy(weight)}")
    expected = _expected_hash(weight, folder)
    try:
        got = sha256_of(path)
    except OSError as error:
        raise WeightsError(f"{weight.file}: cannot be read ({error.strerror}); check the owner and mode of {folder}") from error
    if got != expected:
        raise WeightsError(
            f"{weight.file}: got sha256 {got} ({path.stat().st_size} bytes), expected {expected}; the file is truncated, damaged or"
            f" replaced: {_remedy(weight)}"
        )
    return path


def locate(name: str, folder: Path, *, rows: Mapping[str, Weight] | None = None) -> Path:
    """The file of a weight, its sha256 checked now: call it before every load.

    Args:
        name: a registered name, or the path of the user's own file (which has no known hash and is taken as it is).
        folder: the folder of models.
        rows: another registry than the packaged one.

    Raises:
        WeightsError: if the name is unknown, or the file is missing or not what the registry promises; the message names the
            file, both hashes and the command that helps.
    """
    return checked_path(find(name, rows), folder)


def identity_of(name: str, folder: Path, *, rows: Mapping[str, Weight] | None = None) -> str:
    """What tells the content of a weight from any other, equal on every machine: the hash at its source and what was made of it.

    A file whose source states no hash is hashed as it is here.

    Raises:
        WeightsError: if the name is unknown, or such a file is missing.
    """
    weight = find(name, rows)
    if weight.sha256 is not None:
        return "+".join((weight.sha256, *weight.convert))
    return sha256_of(checked_path(weight, folder))


def is_ready(weight: Weight, folder: Path) -> bool:
    """Whether the stored file is what the registry promises."""
    try:
        checked_path(weight, folder)
    except WeightsError:
        return False
    return True


def write_record(weight: Weight, folder: Path, record: Record) -> None:
    """Write the sidecar in one step."""
    path = record_path(weight, folder)
    refuse_escape(path, folder)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(record.model_dump(), indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def verify(folder: Path, names: Iterable[str] | None = None, *, quick: bool = False) -> list[WeightStatus]:
    """What lies in the folder of models, and whether it is what the registry promises.

    Args:
        folder: the folder of models; it need not exist.
        names: names and patterns; None = all registered weights (not the sample pictures, which live elsewhere).
        quick: only look whether the files are there (`present`), do not read them.

    Raises:
        WeightsError: if a name or a pattern matches nothing.
    """
    if names is None:
        names = [row.name for row in registry().values() if row.task != "sample"]
    return [_status(weight, folder, quick=quick) for weight in expand(names)]


def _status(weight: Weight, folder: Path, *, quick: bool) -> WeightStatus:
    path = weight.source.path if isinstance(weight.source, FileSource) else folder / weight.file
    if not path.is_file():
        return WeightStatus(weight=weight, state="missing")
    if quick:
        return WeightStatus(weight=weight, state="present")
    try:
        checked_path(weight, folder)
    except WeightsError as error:
        return WeightStatus(weight=weight, state="broken", detail=str(error))
    return WeightStatus(weight=weight, state="ok")
