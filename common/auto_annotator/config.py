"""Ensemble files (YAML) and settings from the environment (AUTO_ANNOTATOR_*)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from auto_annotator.errors import ConfigError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ViewConfig(_Strict):
    """One way a member looks at the picture.

    Either the whole picture resized so that its long side has `size` pixels, or tiles of `tile` picture pixels at scale 1.
    """

    size: int | None = Field(default=None, ge=32, le=8192)
    tile: int | None = Field(default=None, ge=64, le=8192)
    overlap: float = Field(default=0.2, ge=0, lt=0.9)
    flip: bool = False
    max_enlarge: float = Field(default=4.0, gt=0, description="a small picture is enlarged at most this many times")
    longer_than: int = Field(default=0, ge=0, description="used only for pictures whose long side exceeds this, in pixels")
    min_face: float = Field(default=0.0, ge=0, description="smallest face on the canvas, in pixels, that the member can see")
    max_face: float = Field(default=1e9, gt=0, description="largest face on the canvas, in pixels, that the member can see")
    sure_face: float = Field(
        default=14.0,  # WIDER development half: recall of the embedded members has levelled off there
        ge=0,
        description="where tiles are looked at too, silence about faces smaller than this on the canvas says nothing",
    )
    weight: float = Field(default=1.0, gt=0)
    curve: str | None = Field(default=None, description="name of the view whose calibration curve is used; default its own")

    @model_validator(mode="after")
    def _one_kind(self) -> ViewConfig:
        if (self.size is None) == (self.tile is None):
            raise ValueError("a view has either `size` (whole picture) or `tile`")
        if self.min_face > self.max_face:
            raise ValueError(f"min_face is {self.min_face:g} and max_face {self.max_face:g}: the view could see no face at all")
        return self

    @property
    def name(self) -> str:
        """Short stable name within a member: `1280`, `1280-flip`, `tile960`."""
        return (f"{self.size}" if self.size is not None else f"tile{self.tile}") + ("-flip" if self.flip else "")


class PartConfig(_Strict):
    """A model of the ensemble: where its code and weights are."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    use: str = Field(pattern=r"^[\w.]+:\w+$", description="import path of the class, package.module:Class")
    weights: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)

    @field_validator("weights", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("weights")
    @classmethod
    def _beside_the_file(cls, weights: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        """A model file beside the user's ensemble file is found from any working directory; registered names have no suffix."""
        folder: Path | None = (info.context or {}).get("folder")
        if folder is None:
            return weights
        return tuple(str(folder / w) if Path(w).suffix and (folder / w).is_file() else w for w in weights)


class MemberConfig(PartConfig):
    """A detector that votes on boxes."""

    threshold: float = Field(default=0.02, ge=0, le=1, description="raw scores below it never enter the fusion")
    views: tuple[ViewConfig, ...] = Field(min_length=1)
    landmark_weight: float = Field(default=1.0, ge=0, description="weight of its points in the fused points; 0 = no say")

    @field_validator("views")
    @classmethod
    def _distinct(cls, views: tuple[ViewConfig, ...]) -> tuple[ViewConfig, ...]:
        names = [v.name for v in views]
        if len(set(names)) < len(names):
            raise ValueError(f"views must differ, got {', '.join(names)}")
        if all(v.longer_than for v in views):
            raise ValueError("every view has `longer_than`: the member would say nothing about small pictures; one must be for all")
        return views


class RefinerConfig(PartConfig):
    """A landmark model that looks at the crop of each fused face."""

    landmark_weight: float = Field(default=1.0, gt=0)


class FusionConfig(_Strict):
    """How boxes become one; the meaning of each field is that of `fusion.boxes.FusionSettings`."""

    rule: Literal["nms", "soft_nms", "nmw", "wbf", "vote"] = "wbf"
    iou: float = Field(default=0.5, gt=0, lt=1)
    min_votes: int = Field(default=1, ge=1)


class ReviewConfig(_Strict):
    """When a person should look; the codes are those of `review.py`."""

    score_below: float = Field(default=0.5, ge=0, le=1)
    votes_below: float = Field(default=0.6, ge=0, le=1, description="share of the members that saw the face")
    edge_spread_above: float = Field(default=0.08, gt=0, description="of the box side")
    landmark_spread_above: float = Field(default=0.06, gt=0, description="of the box side")
    side_below: float = Field(default=16.0, ge=0, description="pixels")


class EnsembleConfig(_Strict):
    """One ensemble file."""

    name: str
    description: str = ""
    commercial: bool = Field(default=False, description="refuse weights whose licence does not clearly allow commercial use")
    members: tuple[MemberConfig, ...] = Field(min_length=1)
    refiners: tuple[RefinerConfig, ...] = ()
    fusion: FusionConfig = FusionConfig()
    review: ReviewConfig = ReviewConfig()
    threshold: float = Field(
        default=0.3, ge=0, le=1, description="faces below it are not returned unless the caller says otherwise"
    )
    calibration: str | None = Field(default=None, description="calibration file beside the ensemble file")

    @model_validator(mode="after")
    def _distinct(self) -> EnsembleConfig:
        names = [p.name for p in (*self.members, *self.refiners)]
        if len(set(names)) < len(names):
            raise ValueError(f"names of members and refiners must differ, got {', '.join(names)}")
        if self.fusion.min_votes > len(self.members):
            raise ValueError(f"min_votes is {self.fusion.min_votes}, but there are only {len(self.members)} members")
        return self

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Every registered weight the ensemble needs, once, in order."""
        return tuple(dict.fromkeys(w for p in (*self.members, *self.refiners) for w in p.weights))


def packaged_ensembles() -> tuple[str, ...]:
    """Names of the ensembles that ship with the package."""
    folder = files("auto_annotator") / "ensembles"
    return tuple(sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".yaml")))


def ensemble_path(name_or_path: str) -> Path:
    """The file of a packaged ensemble, or the user's own file.

    Raises:
        ConfigError: if there is neither.
    """
    if name_or_path in packaged_ensembles():
        return Path(str(files("auto_annotator") / "ensembles" / f"{name_or_path}.yaml"))
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yaml", ".yml") and path.is_file():
        return path
    raise ConfigError(
        f"ensemble: got {name_or_path!r}, expected one of {', '.join(packaged_ensembles())} or the path of a .yaml file that exists"
    )


def load_ensemble(name_or_path: str) -> EnsembleConfig:
    """Read and check an ensemble file.

    Raises:
        ConfigError: if it is not there, not YAML, or breaks a rule; the message names the field.
    """
    path = ensemble_path(name_or_path)
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        return EnsembleConfig.model_validate(data, context={"folder": path.parent.resolve()})
    except OSError as error:
        raise ConfigError(f"ensemble {path.name}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"ensemble {path.name}: not valid YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"ensemble {path.name}: {problems}") from error


def import_object(path: str, *, beside: Path | None = None) -> Any:
    """The object behind `package.module:Name`.

    Args:
        path: what the ensemble file says under `use`.
        beside: folder in which modules are looked for first while the import runs: that of the user's ensemble file, so that a
            detector file beside it is found from any working directory.

    Raises:
        ConfigError: if the module or the name is not there, or the module fails while it is imported.
    """
    module_name, _, name = path.partition(":")
    try:
        with _importable(beside):
            module = importlib.import_module(module_name)
    except Exception as error:  # a user's own file may fail in any way
        detail = f"{type(error).__name__}: {error}"
        raise ConfigError(
            f"use: cannot import {path!r} ({detail}); expected package.module:Class, the module beside the ensemble file or on"
            " PYTHONPATH"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError as error:
        found = getattr(module, "__file__", None) or "built in"
        raise ConfigError(
            f"use: cannot import {path!r}: {module_name} ({found}) has no {name}; expected package.module:Class."
            " Is it another module of that name? Then rename yours"
        ) from error


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    """Put a folder in front of `sys.path`, as Python does with that of a script, for as long as an import runs."""
    if folder is None:
        yield
        return
    entry = str(folder.resolve())
    sys.path.insert(0, entry)
    importlib.invalidate_caches()  # the file may be younger than the last look into its folder
    try:
        yield
    finally:
        sys.path.remove(entry)


class Settings(BaseSettings):
    """Settings of a process, each from `AUTO_ANNOTATOR_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="AUTO_ANNOTATOR_", frozen=True, extra="ignore")

    ensemble: str = "embedded"
    models: Path = Field(default_factory=lambda: Path.home() / ".cache" / "auto-annotator" / "models")
    device: Literal["auto", "cpu", "cuda", "tensorrt"] = "auto"
    allow_cpu: bool = False
    threads: int = Field(default=0, ge=0)
    side_by_side: bool = Field(default=False, description="run the members of an ensemble at once, sharing the cores")
    gpu_memory_mb: int = Field(default=0, ge=0)
    max_pixels: int = Field(default=200_000_000, ge=1)
    budget_seconds: float = Field(default=60.0, gt=0, description="views are dropped to keep one picture within it")
    max_faces: int = Field(default=10_000, ge=1, description="of one member in one view; more are garbage")
    max_request_faces: int = Field(default=1000, ge=1, description="faces that one request to face-descriptor describes")
    max_cluster_faces: int = Field(default=200_000, ge=1, description="faces that one request to face-clustering may hold")
    shared_dir: Path | None = Field(default=None, description="folder from which face-clustering may read descriptor files")
    tracks: int = Field(default=10_000, ge=1, description="people that face-tracker remembers at once; the least used one goes first")
    track_minutes: float = Field(default=480.0, gt=0, description="how long face-tracker remembers a person that nobody asks for")
    on_lost: Literal["null", "keep"] = Field(
        default="null", description="face-tracker answers null for a person that it lost, or keeps the last box"
    )
    on_error: Literal["tag", "fail"] = Field(
        default="tag", description="a served function answers a failure with a face_error tag, or with 500 so that the run stops"
    )

    @field_validator("models", "shared_dir")
    @classmethod
    def _home(cls, folder: Path | None) -> Path | None:
        """`~` is the user's home, as in a shell, which expands it neither in a variable's quotes nor after `name=str:`."""
        try:
            return None if folder is None else folder.expanduser()
        except RuntimeError as error:
            raise ValueError(f"got {str(folder)!r}: {error}") from error


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment, with explicit values on top; None means not given.

    Raises:
        ConfigError: names the variable that is wrong.
    """
    try:
        return Settings(**{k: v for k, v in overrides.items() if v is not None})
    except ValidationError as error:
        problems = "; ".join(f"AUTO_ANNOTATOR_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"settings: {problems}") from error
