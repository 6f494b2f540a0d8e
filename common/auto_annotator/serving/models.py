"""The models behind the functions of one process: each is built when a function first asks for it, and once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from auto_annotator.config import Settings
from auto_annotator.pipeline import FaceDescription, FaceDetection, build_description, build_pipeline
from auto_annotator.pipeline.points import FacePoints
from auto_annotator.serving.replies import Reply
from auto_annotator.weights import registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A function that is loaded and warm.

    Attributes:
        answer: request body -> reply; called in one thread, one body at a time.
        facts: what the log of a deployment should say: members, device, licences.
    """

    answer: Callable[[object], Reply]
    facts: Mapping[str, Any]

    def __call__(self, body: object) -> Reply:
        """Answer one body."""
        return self.answer(body)


class Models:
    """Detection and description by the same settings, shared by the functions that need them.

    Both may be called from several threads at once. They are built in one thread: functions are loaded one after the other.

    Args:
        settings: of the process.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def detection(self) -> FaceDetection:
        """The detectors, warm.

        Raises:
            AutoAnnotatorError: if settings, weights or the device are wrong.
        """
        return build_pipeline(self.settings)

    @cached_property
    def description(self) -> FaceDescription:
        """The recognisers, warm.

        Raises:
            AutoAnnotatorError: if settings, weights or the device are wrong.
        """
        return build_description(self.settings)

    @cached_property
    def points(self) -> FacePoints:
        """The landmark models alone, for faces whose boxes are known."""
        return FacePoints(self.detection.ensemble.refiners)

    def facts(self, *, described: bool = False) -> dict[str, Any]:
        """What runs, for a log."""
        facts: dict[str, Any] = {
            "ensemble": Path(self.settings.ensemble).stem,
            "members": list(self.detection.members),
            "device": self.detection.device,
            "licences": licences(self.detection.ensemble.config.weight_names),
        }
        if described:
            facts |= {"model_set": self.description.model_set, "model_hash": self.description.model_hash}
            facts |= {"threshold": self.description.threshold}
            facts |= {"descriptors": list(self.description.members), "descriptor_device": self.description.device}
        return facts


def licences(names: Sequence[str]) -> dict[str, str]:
    """Licence of each weight of the ensemble, so that the log of a deployment says what it may be used for."""
    known = registry()
    return {n: f"{known[n].licence}, commercial use: {known[n].commercial}" if n in known else "own file" for n in names}
