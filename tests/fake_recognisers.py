"""Recognisers and descriptions without weights, for tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from auto_annotator.config import DescriptorConfig
from auto_annotator.descriptor_set import DescriptorMember, DescriptorSet, model_hash
from auto_annotator.fusion.descriptors import DescriptorCalibration
from auto_annotator.pipeline import FaceDescription

GRID = 4


class GridRecogniser:
    """The mean colours of a grid over the crop, without their mean: like crops give like vectors."""

    def __init__(self, template: str = "arcface", answer: Callable[[np.ndarray], np.ndarray] | None = None) -> None:
        self.template, self.dimension = template, GRID * GRID * 3
        self.answer = answer or (lambda vectors: vectors)
        self.calls: list[int] = []

    def describe(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        self.calls.append(len(crops))
        blob = np.stack(crops).astype(np.float32)
        count, height, width, _ = blob.shape
        cells = blob[:, : height // GRID * GRID, : width // GRID * GRID]
        cells = cells.reshape(count, GRID, height // GRID, GRID, width // GRID, 3).mean(axis=(2, 4)).reshape(count, -1)
        return self.answer((cells - cells.mean(axis=1, keepdims=True) + 0.1).astype(np.float32))


class RaisingRecogniser(GridRecogniser):
    """Raises whatever it is given."""

    def __init__(self, error: Exception, **options: Any) -> None:
        super().__init__(**options)
        self.error = error

    def describe(self, crops):
        raise self.error


def description(
    recognisers: dict[str, Any], *, flip: bool = True, calibration: DescriptorCalibration | None = None
) -> FaceDescription:
    """A FaceDescription over fake recognisers with equal say."""
    members = tuple(
        DescriptorMember(config=DescriptorConfig(name=name, use="tests:Fake", flip=flip), recogniser=recogniser)
        for name, recogniser in recognisers.items()
    )
    calibration = calibration or DescriptorCalibration.equal({name: r.dimension for name, r in recognisers.items()})
    return FaceDescription(
        DescriptorSet(
            name="fakes",
            members=members,
            calibration=calibration,
            model_hash=model_hash(members, calibration, {}),
            devices=("cpu",),
        )
    )
