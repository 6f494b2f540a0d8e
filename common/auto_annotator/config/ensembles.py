"""Ensemble files (YAML): the packaged ones and the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import yaml
from pydantic import Field, ValidationError, model_validator

from auto_annotator.config.parts import (
    DescriptorConfig,
    FusionConfig,
    IdentityReviewConfig,
    MemberConfig,
    PartConfig,
    RefinerConfig,
    ReviewConfig,
    Strict,
)
from auto_annotator.errors import ConfigError


class EnsembleConfig(Strict):
    """One ensemble file."""

    name: str
    description: str = ""
    commercial: bool = Field(default=False, description="refuse weights whose licence does not clearly allow commercial use")
    members: tuple[MemberConfig, ...] = Field(min_length=1)
    refiners: tuple[RefinerConfig, ...] = ()
    descriptors: tuple[DescriptorConfig, ...] = ()
    fusion: FusionConfig = FusionConfig()
    review: ReviewConfig = ReviewConfig()
    identity_review: IdentityReviewConfig = IdentityReviewConfig()
    threshold: float = Field(
        default=0.3, ge=0, le=1, description="faces below it are not returned unless the caller says otherwise"
    )
    turned_odds: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="what the odds of a face are multiplied by that was found in the turned picture, see the setting `rotations`",
    )
    calibration: str | None = Field(default=None, description="calibration file beside the ensemble file")
    descriptor_calibration: str | None = Field(
        default=None, description="file beside the ensemble file with the measured say of each descriptor and the match threshold"
    )

    @model_validator(mode="after")
    def _distinct(self) -> EnsembleConfig:
        for what, parts in (("members and refiners", (*self.members, *self.refiners)), ("descriptors", self.descriptors)):
            names = [p.name for p in parts]
            if len(set(names)) < len(names):
                raise ValueError(f"names of {what} must differ, got {', '.join(names)}")
        if self.fusion.min_votes > len(self.members):
            raise ValueError(f"min_votes is {self.fusion.min_votes}, but there are only {len(self.members)} members")
        return self

    @property
    def detection_weights(self) -> tuple[str, ...]:
        """Every weight that finding faces needs, once, in order."""
        return _weights((*self.members, *self.refiners))

    @property
    def descriptor_weights(self) -> tuple[str, ...]:
        """Every weight that describing faces needs, once, in order."""
        return _weights(self.descriptors)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Every weight of the ensemble, once, in order."""
        return _weights((*self.members, *self.refiners, *self.descriptors))


def _weights(parts: Sequence[PartConfig]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(w for p in parts for w in p.weights))


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
