"""An ensemble ready to run: detectors and refiners built from an ensemble file, each with its weights, views and curves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auto_annotator.calibration import Calibration, load_calibration
from auto_annotator.config import (
    EnsembleConfig,
    PartConfig,
    RefinerConfig,
    Settings,
    ensemble_path,
    import_object,
    load_ensemble,
)
from auto_annotator.detectors.base import MemberContext
from auto_annotator.errors import AutoAnnotatorError, ConfigError
from auto_annotator.landmarks.base import Refiner
from auto_annotator.members import Member, Plan
from auto_annotator.session import Runtime, Session
from auto_annotator.weights import find, is_path, locate

__all__ = ["Ensemble", "Member", "NamedRefiner", "Plan", "build_ensemble", "build_part", "require_licences"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRefiner:
    """A landmark refiner and its entry in the ensemble file."""

    config: RefinerConfig
    refiner: Refiner


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Everything an ensemble file names, built.

    Attributes:
        config: the file.
        members: the detectors, in the order of the file.
        refiners: the landmark models, in the order of the file.
        calibration: models of the fused face.
        devices: devices that the opened sessions really use.
    """

    config: EnsembleConfig
    members: tuple[Member, ...]
    refiners: tuple[NamedRefiner, ...] = ()
    calibration: Calibration = field(default_factory=Calibration)
    devices: tuple[str, ...] = ()


def build_ensemble(settings: Settings, *, calibrated: bool = True) -> Ensemble:
    """Read the ensemble of the settings, check its weights and open its models.

    Args:
        settings: which ensemble, and on what it runs.
        calibrated: False leaves its calibration file out: scores stay raw. For those who fit a new one.

    Raises:
        ConfigError: if the file or a class is wrong.
        WeightsError: if a weight file is missing or has another hash.
        DeviceError: if the GPU that was asked for is not there.
    """
    config = load_ensemble(settings.ensemble)
    require_licences(config)
    build, devices = _workshop(settings, sharing=len(config.members))
    calibration = load_calibration(settings.ensemble, config) if calibrated else Calibration()
    detectors = [build(m) for m in config.members]
    few_shapes = any(device != "cpu" for device in devices)
    members = tuple(
        Member(index=i, config=m, detector=detector, curves=calibration.views.get(m.name, {}), few_shapes=few_shapes)
        for i, (m, detector) in enumerate(zip(config.members, detectors, strict=True))
    )
    refiners = _refiners(config, build)
    return Ensemble(
        config=config, members=members, refiners=refiners, calibration=calibration, devices=tuple(dict.fromkeys(devices))
    )


def build_refiners(settings: Settings) -> tuple[NamedRefiner, ...]:
    """The landmark models of the ensemble alone, for faces whose boxes are known.

    Raises:
        ConfigError: if the file or a class is wrong.
        WeightsError: if a weight file is missing or has another hash.
        DeviceError: if the GPU that was asked for is not there.
    """
    config = load_ensemble(settings.ensemble)
    require_licences(config)
    return _refiners(config, _workshop(settings)[0])


def _workshop(settings: Settings, *, sharing: int = 1) -> tuple[Callable[[PartConfig], Any], list[str]]:
    """What builds the parts of an ensemble, and the devices that their sessions turn out to use."""
    runtime = Runtime(
        device=settings.device, allow_cpu=settings.allow_cpu, threads=settings.threads, gpu_memory_mb=settings.gpu_memory_mb
    )
    if settings.side_by_side:
        runtime = runtime.shared_between(sharing)
    devices: list[str] = []

    def open_session(path: Path) -> Session:
        session = runtime.open(path)
        devices.append(session.device)
        return session

    def build(part: PartConfig) -> Any:
        return build_part(part, settings.models, open_session, beside=ensemble_path(settings.ensemble).parent)

    return build, devices


def _refiners(config: EnsembleConfig, build: Callable[[PartConfig], Any]) -> tuple[NamedRefiner, ...]:
    return tuple(NamedRefiner(config=refiner, refiner=build(refiner)) for refiner in config.refiners)


def require_licences(config: EnsembleConfig) -> None:
    """Hold an ensemble that says `commercial: true` to its word.

    Raises:
        ConfigError: names the weights whose registered licence does not clearly allow commercial use.
    """
    if not config.commercial:
        return
    refused = [n for n in config.weight_names if is_path(n) or find(n).commercial != "yes"]
    if refused:
        raise ConfigError(
            f"ensemble {config.name}: says `commercial: true`, but the licence of {', '.join(refused)} is not known to allow it;"
            " see `auto-annotator models list`, and use other weights or drop the line"
        )


def build_part(part: PartConfig, folder: Path, open_session: Callable[[Path], Session], *, beside: Path) -> Any:
    """The object that an entry of an ensemble file names, with its weights located.

    Raises:
        ConfigError: if the class is not there, or does not take the options or the number of weights.
        WeightsError: if a weight file is missing or has another hash.
    """
    context = MemberContext(weights=tuple(locate(name, folder) for name in part.weights), open_session=open_session)
    factory = import_object(part.use, beside=beside)
    try:
        return factory(context, **part.options)
    except AutoAnnotatorError:
        raise
    except TypeError as error:
        raise ConfigError(f"member {part.name}: {part.use} does not take these options: {error}") from error
    except IndexError as error:
        raise ConfigError(f"member {part.name}: {part.use} needs more weight files than {len(part.weights)}") from error
    except Exception as error:  # a user's own class may fail in any way
        raise ConfigError(f"member {part.name}: {part.use} cannot be built ({type(error).__name__}: {error})") from error
