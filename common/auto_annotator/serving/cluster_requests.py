"""A clustering request -> checked arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from auto_annotator.config import Settings
from auto_annotator.exchange.vectors import MAX_DIMENSION, WIRE, VectorError, check_rows, decode_vectors
from auto_annotator.serving import shared_files, values
from auto_annotator.serving.replies import RequestError
from auto_annotator.types import Constraints

Method = Literal["potts", "dbscan", "hdbscan"]
METHODS: tuple[Method, ...] = get_args(Method)
MOST_COMPARED: dict[Method, int] = {"dbscan": 20_000, "hdbscan": 5_000}
"""Faces that a method of comparison may get: it looks at every pair, and must end within the event's time too."""

MAX_HASH = 128
"""Longest text of a model hash."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClusterRequest:
    """What the engine gets.

    Attributes:
        vectors: (n, d) float16 or float32 unit rows, zeros = no descriptor; from a file they may be mapped.
        quality: (n,) float32, 0..1, or None.
        constraints: what is known beside the vectors.
        previous: (n,) int64 labels of an earlier run, -1 = new face, or None.
        threshold: cosine, or None = found from the data.
        method: one of `METHODS`.
        model_hash: what made the vectors, as far as the request or the file says so.
        from_file: whether they came by `path`.
    """

    vectors: npt.NDArray[np.floating]
    quality: npt.NDArray[np.float32] | None
    constraints: Constraints
    previous: npt.NDArray[np.int64] | None
    threshold: float | None
    method: Method
    model_hash: str | None
    from_file: bool


def parse_request(given: dict[str, Any], settings: Settings) -> ClusterRequest:
    """Read a request; keys that are not known are left alone, null is as good as absent.

    Raises:
        RequestError: names the key, and what it should be.
    """
    given = {key: value for key, value in given.items() if value is not None}
    if ("descriptors" in given) == ("path" in given):
        got = "both" if "path" in given else "neither"
        raise RequestError(
            f"descriptors, path: got {got}, expected one of them: base64 of float16 rows, or a file of the shared folder"
        )
    method, threshold, model_hash = _options(given)
    count = _optional(given, "count", 0, 2**40)
    dimension = _optional(given, "dimension", 1, MAX_DIMENSION)
    most = min(settings.max_cluster_faces, MOST_COMPARED.get(method, settings.max_cluster_faces))
    if "path" in given:
        table = _from_file(given["path"], count, dimension, settings.shared_dir, most)
    else:
        table = shared_files.Table(vectors=_from_text(given["descriptors"], count, dimension, most))
    if model_hash and table.model_hash and model_hash != table.model_hash:
        raise RequestError(
            "model_hash: got another one than the file has; vectors of two model sets never compare: describe all again"
        )
    rows = len(table.vectors)
    return ClusterRequest(
        vectors=table.vectors,
        quality=values.numbers_of_rows(given["quality"], "quality", rows, 0, 1) if "quality" in given else table.quality,
        constraints=_constraints(given, rows, table.images),
        previous=values.whole_numbers_of_rows(given["previous"], "previous", rows, -1) if "previous" in given else None,
        threshold=table.threshold if threshold is None else threshold,
        method=method,
        model_hash=model_hash or table.model_hash,
        from_file="path" in given,
    )


def _options(given: dict[str, Any]) -> tuple[Method, float | None, str | None]:
    method = next((m for m in METHODS if m == given.get("method", METHODS[0])), None)
    if method is None:
        raise RequestError(f"method: got another one, expected one of {', '.join(METHODS)}")
    model_hash = given.get("model_hash")
    if model_hash is not None and not (isinstance(model_hash, str) and 0 < len(model_hash) <= MAX_HASH):
        raise RequestError("model_hash: got something else, expected the text that face-descriptor gave")
    threshold = values.number(given["threshold"], "threshold", -1, 1) if "threshold" in given else None
    return method, threshold, model_hash


def _optional(given: dict[str, Any], key: str, low: int, high: int) -> int | None:
    return values.whole_number(given[key], key, low, high) if key in given else None


def _from_file(text: object, count: int | None, dimension: int | None, folder: Path | None, most: int) -> shared_files.Table:
    path = shared_files.resolve(text, folder)
    shape = shared_files.file_shape(path)
    for name, wanted, got in (("count", count, shape.rows), ("dimension", dimension, shape.dimension)):
        if wanted is not None and wanted != got:
            raise RequestError(f"{name}: got {wanted}, but the file has {got}; leave the key out, or name the right file")
    _check_size(shape.rows, shape.dimension, most, "path")
    table = shared_files.read(path)
    if path.suffix.lower() == ".npy":  # the rows of the other kind are checked when it is read
        try:
            check_rows(table.vectors, what="path")
        except VectorError as error:
            raise RequestError(str(error)) from None
    return table


def _from_text(text: object, count: int | None, dimension: int | None, most: int) -> npt.NDArray[np.floating]:
    """The rows in base64; of their number and their length one may be left out."""
    if not isinstance(text, str):
        raise RequestError("descriptors: got no text, expected base64 of float16 numbers, little endian, row after row")
    numbers = (len(text) // 4 * 3 - text[-2:].count("=")) // WIRE.itemsize
    if dimension is None:
        if not count:
            raise RequestError("dimension: got none, expected how many numbers a descriptor has, as face-descriptor says")
        dimension = max(numbers // count, 1)
    if count is None:
        count = numbers // dimension
    _check_size(count, dimension, most, "descriptors")
    try:
        return decode_vectors(text, count, dimension)
    except VectorError as error:
        raise RequestError(f"descriptors: {error}") from None


def _check_size(rows: int, dimension: int, most: int, place: str) -> None:
    if not 1 <= dimension <= MAX_DIMENSION:
        raise RequestError(f"{place}: got rows of {dimension} numbers, expected 1 to {MAX_DIMENSION}")
    if rows > most:
        raise RequestError(
            f"{place}: got {rows} faces, expected at most {most} in one request of this method, which must end in time: use the"
            " command line (`auto-annotator cluster FILE.npz`), or raise AUTO_ANNOTATOR_MAX_CLUSTER_FACES (for potts alone)"
        )


def _constraints(given: dict[str, Any], rows: int, images: npt.NDArray[np.int64] | None) -> Constraints:
    never = values.rows_of(given["never"], "never", rows) if "never" in given else np.zeros(0, np.int64)
    return Constraints(
        must=values.pairs_of_rows(given.get("must", []), "must", rows),
        cannot=values.pairs_of_rows(given.get("cannot", []), "cannot", rows),
        never=np.unique(never),
        images=values.names_of_rows(given["images"], "images", rows) if "images" in given else images,
        tracks=values.names_of_rows(given["tracks"], "tracks", rows) if "tracks" in given else None,
    )
