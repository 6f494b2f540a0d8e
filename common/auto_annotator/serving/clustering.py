"""The function face-clustering: descriptors in, people out, for those who keep faces outside CVAT."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from auto_annotator.config import Settings
from auto_annotator.serving.cluster_requests import ClusterRequest, Method, parse_request
from auto_annotator.serving.replies import Answer, Reply, handle_object
from auto_annotator.types import Clusters, Constraints

EXPECTED = "a JSON object with a `descriptors` key (base64 of float16) or a `path`"

DIGITS = 4
"""Decimals of confidences and cosines: finer differences mean nothing."""


class Clustering(Protocol):
    """What the function needs of `pipeline.FaceClustering`."""

    def __call__(
        self,
        vectors: npt.NDArray[np.floating],
        *,
        quality: npt.NDArray[np.float32] | None,
        constraints: Constraints | None,
        previous: npt.NDArray[np.int64] | None,
        threshold: float | None,
    ) -> Clusters:
        """Say who is who."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceClusters:
    """The function; called with bodies.

    Attributes:
        clustering: gives the engine of a method by its name.
        settings: `max_cluster_faces` and `shared_dir` are used here.
    """

    clustering: Callable[[Method], Clustering]
    settings: Settings

    def __call__(self, body: object) -> Reply:
        """Answer one request; there is always a reply."""
        return handle_object(body, self._answer, expected=EXPECTED, task="clustering")

    def _answer(self, given: dict[str, Any]) -> Answer:
        request = parse_request(given, self.settings)
        clusters = self.clustering(request.method)(
            request.vectors,
            quality=request.quality,
            constraints=request.constraints,
            previous=request.previous,
            threshold=request.threshold,
        )
        return Answer(value=_value(clusters, request), fields=_fields(clusters, request))


def _value(clusters: Clusters, request: ClusterRequest) -> dict[str, Any]:
    return {
        "count": clusters.count,
        "labels": clusters.labels.tolist(),
        "confidence": _rounded(clusters.confidence),
        "purity": _rounded(clusters.purity),
        "nearest": clusters.nearest.tolist(),
        "nearest_score": _rounded(clusters.nearest_score),
        "suggestions": [
            {"first": s.first, "second": s.second, "score": round(s.score, DIGITS), "reason": s.reason}
            for s in clusters.suggestions
        ],
        "doubtful": [int(row) for row in clusters.doubtful],
        "conflicts": [{"kind": c.kind, "rows": [int(row) for row in c.rows]} for c in clusters.conflicts],
        "threshold": round(clusters.threshold, DIGITS) if math.isfinite(clusters.threshold) else None,
        "model_hash": request.model_hash,
        "warnings": list(clusters.warnings),
    }


def _rounded(values: npt.NDArray[np.float32]) -> list[float]:
    numbers: list[float] = np.round(values.astype(np.float64), DIGITS).tolist()
    return numbers


def _fields(clusters: Clusters, request: ClusterRequest) -> dict[str, Any]:
    rows, dimension = request.vectors.shape
    constraints = request.constraints
    return {
        "faces": rows,
        "dimension": dimension,
        "from_file": request.from_file,
        "method": request.method,
        "must": len(constraints.must),
        "cannot": len(constraints.cannot),
        "never": len(constraints.never),
        "people": clusters.count,
        "nobody": int((clusters.labels < 0).sum()),
        "suggestions": len(clusters.suggestions),
        "conflicts": len(clusters.conflicts),
        "warnings": len(clusters.warnings),
    }
