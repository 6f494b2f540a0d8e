"""The deployed functions face-descriptor and face-clustering in the place of models on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.bridge.faces import Look
from auto_annotator.bridge.functions_client import FunctionsClient
from auto_annotator.types import Clusters, Constraints, Descriptors, Image


class DeployedDescriber:
    """Descriptors by the function face-descriptor.

    Args:
        client: of the functions.

    Raises:
        ServerError: if the function does not answer.
    """

    def __init__(self, client: FunctionsClient) -> None:
        info = client.models()
        self._client = client
        self.model_set, self.model_hash = info.model_set, info.model_hash
        self.dimension, self.threshold = info.dimension, info.threshold

    def describe(self, data: bytes, image: Image, looks: Sequence[Look]) -> Descriptors:
        """Describe the faces of one frame."""
        points = np.full((len(looks), 5, 2), np.nan)
        for row, look in enumerate(looks):
            if look.landmarks is not None:
                points[row] = look.landmarks
        return self._client.describe(data, [look.box for look in looks], points)


class DeployedClustering:
    """People by the function face-clustering; called as `pipeline.FaceClustering`.

    Args:
        client: of the functions.
        model_hash: what made the vectors.
    """

    def __init__(self, client: FunctionsClient, model_hash: str) -> None:
        self._client, self._model_hash = client, model_hash

    def __call__(
        self,
        vectors: npt.NDArray[np.floating],
        *,
        quality: npt.NDArray[np.floating] | None = None,
        constraints: Constraints | None = None,
        previous: npt.NDArray[np.integer] | None = None,
        threshold: float | None = None,
        **_: Any,
    ) -> Clusters:
        """Find out who is who; further options (a progress bar) mean nothing to a function."""
        return self._client.cluster(
            vectors, model_hash=self._model_hash, quality=quality, constraints=constraints, previous=previous, threshold=threshold
        )


def deployed_workers(url: str) -> tuple[DeployedDescriber, DeployedClustering]:
    """Who describes and who clusters at an address.

    Raises:
        ConfigError: if the address is none.
        ServerError: if the functions do not answer there.
    """
    client = FunctionsClient(url)
    describer = DeployedDescriber(client)
    return describer, DeployedClustering(client, describer.model_hash)
