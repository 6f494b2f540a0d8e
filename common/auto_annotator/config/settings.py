"""Settings of a process from the environment (AUTO_ANNOTATOR_*)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from auto_annotator.errors import ConfigError

Rotations = Literal["off", "when_empty", "always"]
"""Whether the picture is looked at turned too: never, where no face is found upright, always."""


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
    rotations: Rotations = Field(
        default="when_empty",
        description="look at the picture turned by 90, 180 and 270 degrees too; when_empty: if upright shows no face",
    )
    max_faces: int = Field(default=10_000, ge=1, description="of one member in one view; more are garbage")
    max_request_faces: int = Field(default=1000, ge=1, description="faces that one request to face-descriptor describes")
    max_cluster_faces: int = Field(default=200_000, ge=1, description="faces that one request to face-clustering may hold")
    shared_dir: Path | None = Field(default=None, description="folder from which face-clustering may read descriptor files")
    tracks: int = Field(default=10_000, ge=1, description="people that face-tracker remembers at once; the least used goes first")
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
