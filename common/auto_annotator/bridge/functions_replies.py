"""Replies of the deployed functions -> checked values; the schemas are in docs/schemas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from auto_annotator.bridge.errors import ServerError
from auto_annotator.exchange.vectors import MAX_DIMENSION, VectorError, decode_vectors
from auto_annotator.types import Clusters, Conflict, Descriptors, MergeSuggestion

MAX_HASH = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """What face-descriptor describes with.

    Attributes:
        model_set: name of the ensemble.
        model_hash: what the vectors depend on; vectors of two hashes never compare.
        dimension: numbers of a vector.
        threshold: calibrated cosine, None = nobody has measured it.
    """

    model_set: str
    model_hash: str
    dimension: int
    threshold: float | None


def model_info(reply: Any) -> ModelInfo:
    """The models behind a reply of face-descriptor.

    Raises:
        ServerError: if it is no such reply.
    """
    try:
        threshold = reply["threshold"]
        info = ModelInfo(
            model_set=str(reply["model_set"]),
            model_hash=str(reply["model_hash"]),
            dimension=int(reply["dimension"]),
            threshold=None if threshold is None else float(threshold),
        )
    except (KeyError, TypeError, ValueError):
        raise _strange("face-descriptor") from None
    if not (0 < len(info.model_hash) <= MAX_HASH and 1 <= info.dimension <= MAX_DIMENSION):
        raise _strange("face-descriptor")
    return info


def items_of(reply: Any) -> list[dict[str, Any]]:
    """The items of a reply of face-detection.

    Raises:
        ServerError: if it is no list of labelled items.
    """
    if not isinstance(reply, list) or not all(isinstance(item, dict) and {"label", "type"} <= item.keys() for item in reply):
        raise _strange("face-detection")
    return reply


def descriptors_of(reply: Any, count: int) -> Descriptors:
    """The descriptors of a reply of face-descriptor to a request that named the faces.

    Args:
        reply: the parsed JSON.
        count: how many faces were named.

    Raises:
        ServerError: if it is no such reply, has another number of faces, or a vector that is not of unit length.
    """
    info = model_info(reply)
    faces = reply.get("faces")
    if not isinstance(faces, list) or len(faces) != count:
        raise _strange("face-descriptor")
    vectors, quality = np.zeros((count, info.dimension), np.float32), np.zeros(count, np.float32)
    failures, notes = [], []
    try:
        for row, face in enumerate(faces):
            text = face["descriptor"]
            if text is not None:
                vectors[row] = decode_vectors(text, 1, info.dimension)[0]
                quality[row] = min(max(float(face["quality"]), 0.0), 1.0)
            failures.append("" if text is not None else str(face["failure"] or "no_descriptor"))
            notes.append(tuple(str(note) for note in face["notes"]))
    except (KeyError, TypeError, ValueError, VectorError):
        raise _strange("face-descriptor") from None
    return Descriptors(
        vectors=vectors,
        quality=quality,
        failures=tuple(failures),
        notes=tuple(notes),
        model_set=info.model_set,
        model_hash=info.model_hash,
    )


def clusters_of(reply: Any, count: int, model_hash: str) -> Clusters:
    """The clusters of a reply of face-clustering.

    Args:
        reply: the parsed JSON.
        count: how many faces were sent.
        model_hash: that was sent with them.

    Raises:
        ServerError: if it is no such reply, or for other faces.
    """
    try:
        clusters = _clusters(reply)
        other = reply["model_hash"] != model_hash
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _strange("face-clustering") from None
    if len(clusters) != count or other:
        raise _strange("face-clustering")
    return clusters


def _clusters(reply: Mapping[str, Any]) -> Clusters:
    return Clusters(
        labels=np.array(reply["labels"], np.int32).reshape(-1),
        confidence=np.array(reply["confidence"], np.float32).reshape(-1),
        purity=np.array(reply["purity"], np.float32).reshape(-1),
        nearest=np.array(reply["nearest"], np.int32).reshape(-1),
        nearest_score=np.array(reply["nearest_score"], np.float32).reshape(-1),
        suggestions=tuple(
            MergeSuggestion(first=int(s["first"]), second=int(s["second"]), score=float(s["score"]), reason=str(s["reason"]))
            for s in reply["suggestions"]
        ),
        doubtful=tuple(int(row) for row in reply["doubtful"]),
        conflicts=tuple(Conflict(kind=str(c["kind"]), rows=tuple(int(row) for row in c["rows"])) for c in reply["conflicts"]),
        threshold=float("nan") if reply["threshold"] is None else float(reply["threshold"]),
        warnings=tuple(str(warning) for warning in reply["warnings"]),
    )


def _strange(function: str) -> ServerError:
    return ServerError(
        f"{function}: got a reply of another form, expected the one of docs/functions.md: "
        "is it this project's function, of this version?"
    )
