"""The recognisers of an ensemble ready to run: built from the ensemble file, with their measured say."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auto_annotator.alignment import TEMPLATES, Template
from auto_annotator.config import DescriptorConfig, EnsembleConfig, Settings, ensemble_path, load_ensemble
from auto_annotator.descriptors.base import Recogniser
from auto_annotator.ensemble import build_part, require_licences
from auto_annotator.errors import ConfigError
from auto_annotator.fusion.descriptors import DescriptorCalibration, MemberCalibration
from auto_annotator.review import IdentitySettings
from auto_annotator.session import Runtime, Session
from auto_annotator.weights import identity_of

CODE_VERSION = 1
"""Part of the hash of a model set: raise it with every change of the code (alignment, crops, mirroring, fusion) that changes
vectors, so that old and new vectors are never compared."""

HASH_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorMember:
    """A recogniser and its entry in the ensemble file."""

    config: DescriptorConfig
    recogniser: Recogniser

    @property
    def name(self) -> str:
        """Its name in the ensemble file."""
        return self.config.name

    @property
    def template(self) -> Template:
        """The crop that it looks at."""
        return TEMPLATES[self.recogniser.template]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorSet:
    """All recognisers of an ensemble file, built.

    Attributes:
        name: of the ensemble.
        members: the recognisers, in the order of the file.
        calibration: say of each member in the fused vector, and the match threshold if it was measured.
        model_hash: short hex of all that the vectors depend on.
        devices: devices that the opened sessions really use.
        review: when a person should know that a face can hardly be told from others.
    """

    name: str
    members: tuple[DescriptorMember, ...]
    calibration: DescriptorCalibration
    model_hash: str
    devices: tuple[str, ...] = ()
    review: IdentitySettings = field(default_factory=IdentitySettings)


def build_descriptors(settings: Settings) -> DescriptorSet:
    """Read the ensemble of the settings, check the weights of its recognisers and open them.

    Raises:
        ConfigError: if the file, a class or the calibration is wrong, or the ensemble has no descriptors.
        WeightsError: if a weight file is missing or has another hash.
        DeviceError: if the GPU that was asked for is not there.
    """
    config = load_ensemble(settings.ensemble)
    if not config.descriptors:
        raise ConfigError(f"ensemble {config.name}: has no `descriptors`, expected at least one to describe faces with")
    require_licences(config)
    runtime = Runtime(
        device=settings.device, allow_cpu=settings.allow_cpu, threads=settings.threads, gpu_memory_mb=settings.gpu_memory_mb
    )
    devices: list[str] = []

    def open_session(path: Path) -> Session:
        session = runtime.open(path)
        devices.append(session.device)
        return session

    beside = ensemble_path(settings.ensemble).parent
    members = tuple(
        DescriptorMember(config=d, recogniser=_checked(d, build_part(d, settings.models, open_session, beside=beside)))
        for d in config.descriptors
    )
    calibration = load_descriptor_calibration(settings.ensemble, config, members)
    weights = {name: identity_of(name, settings.models) for name in config.descriptor_weights}
    return DescriptorSet(
        name=config.name,
        members=members,
        calibration=calibration,
        model_hash=model_hash(members, calibration, weights),
        devices=tuple(dict.fromkeys(devices)),
        review=IdentitySettings(**config.identity_review.model_dump()),
    )


def _checked(config: DescriptorConfig, built: Any) -> Recogniser:
    """A user's own class is held to the protocol while it is built, not at the first picture.

    Raises:
        ConfigError: says what it lacks.
    """
    template, dimension = getattr(built, "template", None), getattr(built, "dimension", None)
    if template not in TEMPLATES:
        raise ConfigError(f"descriptor {config.name}: got template {template!r}, expected one of {', '.join(TEMPLATES)}")
    if not isinstance(dimension, int) or dimension < 1 or not callable(getattr(built, "describe", None)):
        raise ConfigError(f"descriptor {config.name}: {config.use} has no `dimension` above 0 and method `describe`")
    recogniser: Recogniser = built
    return recogniser


def load_descriptor_calibration(
    ensemble: str, config: EnsembleConfig, members: Sequence[DescriptorMember]
) -> DescriptorCalibration:
    """The measured calibration beside the ensemble file, or one in which each member has the say of its `weight`.

    Raises:
        ConfigError: if the file is missing, malformed, or made for other members.
    """
    if config.descriptor_calibration is None:
        rows = [MemberCalibration(name=m.name, dimension=m.recogniser.dimension, coefficient=m.config.weight) for m in members]
        return DescriptorCalibration(members=tuple(rows))
    path = ensemble_path(ensemble).parent / config.descriptor_calibration
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"descriptor calibration {path.name}: cannot be read ({type(error).__name__}: {error})") from error
    calibration = DescriptorCalibration.from_json(data)
    got = {m.name: m.dimension for m in calibration.members}
    expected = {m.name: m.recogniser.dimension for m in members}
    if got != expected:
        raise ConfigError(
            f"descriptor calibration {path.name}: is of the members {got}, but the ensemble has {expected} (name and numbers of a"
            " vector); fit it again (python -m benchmarks.calibrate_descriptors)"
        )
    return calibration


def model_hash(members: Sequence[DescriptorMember], calibration: DescriptorCalibration, weights: Mapping[str, str]) -> str:
    """Short hex of all that the vectors depend on: classes, weights, crops, mirroring, fusion, the version of the code.

    Args:
        members: the recognisers.
        calibration: only say, origins and neutral vectors count; a new threshold leaves vectors as they are.
        weights: what identifies the content of each weight file.
    """
    parts = [
        {
            "name": m.name,
            "use": m.config.use,
            "options": m.config.options,
            "weights": [weights[w] for w in m.config.weights],
            "template": [m.template.name, m.template.size, m.template.points.tolist()],
            "flip": m.config.flip,
        }
        for m in members
    ]
    fusion = [
        [m.name, m.coefficient, *(None if v is None else [round(float(x), 6) for x in v] for v in (m.origin, m.neutral))]
        for m in calibration.members
    ]
    content = json.dumps({"version": CODE_VERSION, "members": parts, "fusion": fusion}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:HASH_DIGITS]
