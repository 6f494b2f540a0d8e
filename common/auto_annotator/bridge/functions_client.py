"""The deployed functions instead of models on this machine: face-detection, face-descriptor and face-clustering over HTTP.

The address is that of Nuclio's dashboard or of `auto-annotator serve`; both take `POST /api/function_invocations`. What goes in
and comes out stands in docs/functions.md and docs/schemas. All calls may come from several threads at once.
"""

from __future__ import annotations

import base64
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.functions_http import FunctionsHttp
from auto_annotator.bridge.functions_replies import ModelInfo, clusters_of, descriptors_of, items_of, model_info
from auto_annotator.bridge.retry import Backoff
from auto_annotator.errors import ConfigError, ImageError
from auto_annotator.exchange.vectors import encode_vectors
from auto_annotator.types import Clusters, Constraints, Descriptors

DETECTION = "auto-annotator-face-detection"
DESCRIPTOR = "auto-annotator-face-descriptor"
CLUSTERING = "auto-annotator-face-clustering"

REQUEST_FACES = 1000
"""Faces that one request to face-descriptor may hold."""


class FunctionsClient:
    """Calls deployed functions.

    Args:
        url: such as `http://127.0.0.1:8070`; a user name and password in it are used and never shown.
        backoff: waiting times between tries; None = those of the environment.

    Attributes:
        url: the address without user name and password.

    Raises:
        ConfigError: if the address is none.
    """

    def __init__(self, url: str, *, backoff: Backoff | None = None) -> None:
        self._http = FunctionsHttp(url, backoff=backoff)
        self.url = self._http.url
        self._lock = threading.Lock()
        self._info: ModelInfo | None = None

    def functions(self) -> dict[str, str]:
        """State of every function that the address offers, by name.

        Raises:
            ServerError: if nothing that offers functions answers there.
        """
        return self._http.functions()

    def models(self) -> ModelInfo:
        """What face-descriptor describes with; asked once.

        Raises:
            ServerError: if it cannot be asked.
        """
        with self._lock:
            info = self._info
        if info is None:
            body = {"image": base64.b64encode(_PIXEL).decode("ascii"), "faces": []}
            info = self._remember(model_info(self._http.call(DESCRIPTOR, body, what="face-descriptor")))
        return info

    def detect(self, image: bytes, threshold: float | None = None) -> list[dict[str, Any]]:
        """Find faces with face-detection.

        Args:
            image: the encoded picture.
            threshold: lowest score, 0..1; None = the ensemble's own.

        Returns:
            The items of the reply as CVAT gets them: rectangles, skeletons tied by `group_id`, or a `face_error` tag.

        Raises:
            ImageError: if this picture cannot be worked on: the next one may be fine.
            ServerError: if the function cannot be used.
        """
        body: dict[str, Any] = {"image": base64.b64encode(image).decode("ascii")}
        if threshold is not None:
            body["threshold"] = float(threshold)
        return items_of(self._http.call(DETECTION, body, what="face-detection"))

    def describe(self, image: bytes, boxes: npt.ArrayLike, landmarks: npt.ArrayLike | None = None) -> Descriptors:
        """Describe known faces with face-descriptor; more than one request carries go in several.

        Args:
            image: the encoded picture.
            boxes: (n, 4) x1 y1 x2 y2 in pixels of the upright picture.
            landmarks: (n, 5, 2) in the order of `LANDMARK_NAMES`, NaN where unknown; None = all unknown.

        Returns:
            Rows as in `boxes`.

        Raises:
            ImageError: if this picture cannot be worked on.
            ServerError: if the function cannot be used, or has other models than before.
        """
        rows = np.asarray(boxes, np.float64).reshape(-1, 4)
        points = np.full((len(rows), 5, 2), np.nan) if landmarks is None else np.asarray(landmarks, np.float64).reshape(-1, 5, 2)
        faces = [{"box": box, "landmarks": _points(five)} for box, five in zip(rows.tolist(), points, strict=True)]
        text = base64.b64encode(image).decode("ascii")
        parts = []
        for first in range(0, max(len(faces), 1), REQUEST_FACES):
            part = faces[first : first + REQUEST_FACES]
            reply = self._http.call(DESCRIPTOR, {"image": text, "faces": part}, what="face-descriptor")
            self._remember(model_info(reply))
            parts.append(descriptors_of(reply, len(part)))
        return _joined(parts)

    def cluster(
        self,
        vectors: npt.NDArray[np.floating],
        *,
        model_hash: str,
        quality: npt.NDArray[np.floating] | None = None,
        constraints: Constraints | None = None,
        previous: npt.NDArray[np.integer] | None = None,
        threshold: float | None = None,
    ) -> Clusters:
        """Say who is who with face-clustering; arguments as for `pipeline.FaceClustering`.

        Args:
            vectors: (n, d) unit rows, zeros = no descriptor.
            model_hash: what made them.
            quality: (n,) 0..1, None = all good.
            constraints: what is known beside the vectors.
            previous: (n,) labels of an earlier run, -1 = a new face.
            threshold: cosine, None = found from the data.

        Raises:
            ConfigError: if they are more than one request carries.
            ServerError: if the function cannot be used.
        """
        known = constraints or Constraints()
        body: dict[str, Any] = {
            "descriptors": encode_vectors(vectors),
            "count": len(vectors),
            "dimension": int(np.shape(vectors)[1]),
            "model_hash": model_hash,
            "quality": None if quality is None else np.round(np.clip(np.asarray(quality, np.float64), 0, 1), 6).tolist(),
            "must": known.must.tolist(),
            "cannot": known.cannot.tolist(),
            "never": known.never.tolist(),
            "images": None if known.images is None else known.images.tolist(),
            "tracks": None if known.tracks is None else known.tracks.tolist(),
            "previous": None if previous is None else np.asarray(previous).tolist(),
            "threshold": None if threshold is None else float(threshold),
        }
        body = {key: value for key, value in body.items() if value is not None}
        try:
            return clusters_of(self._http.call(CLUSTERING, body, what="face-clustering"), len(vectors), model_hash)
        except ImageError as error:
            raise ConfigError(f"face-clustering: {len(vectors)} faces: {error}; cluster without --functions instead") from None

    def _remember(self, info: ModelInfo) -> ModelInfo:
        with self._lock:
            known, self._info = self._info, self._info or info
        if known is not None and known.model_hash != info.model_hash:
            raise ServerError(
                "face-descriptor: its models changed during the run, and vectors of two model sets never compare: "
                "start the command again"
            )
        return info


def _points(five: npt.NDArray[np.float64]) -> list[list[float] | None] | None:
    known = np.asarray(np.isfinite(five).all(axis=1))
    return [point if ok else None for point, ok in zip(five.tolist(), known.tolist(), strict=True)] if bool(known.any()) else None


def _joined(parts: list[Descriptors]) -> Descriptors:
    if len(parts) == 1:
        return parts[0]
    return Descriptors(
        vectors=np.concatenate([part.vectors for part in parts]),
        quality=np.concatenate([part.quality for part in parts]),
        failures=tuple(failure for part in parts for failure in part.failures),
        notes=tuple(note for part in parts for note in part.notes),
        model_set=parts[0].model_set,
        model_hash=parts[0].model_hash,
    )


_PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAADUlEQVR4nGNgGAXIAAABEAABoJMRpQAAAABJRU5ErkJggg==")
