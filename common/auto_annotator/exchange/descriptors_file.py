"""The descriptors file: vectors of all faces of a set of pictures in one .npz, with all that clustering needs beside them.

A plain zip of .npy members, which `numpy.load` reads without this module and without pickles. n faces, m pictures, d numbers:

    meta          ()        text     JSON: format, version, model_set, model_hash, threshold (number or null)
    vectors       (n, d)    float16  unit rows; zeros = no descriptor. Stored without compression, so that it can be mapped
    quality       (n,)      float32  0..1
    boxes         (n, 4)    float32  x1 y1 x2 y2, pixels of the upright picture
    scores        (n,)      float32  0..1
    landmarks     (n, 5, 2) float32  x y in the order of `types.LANDMARK_NAMES`, NaN where unknown
    images        (n,)      int64    row of the picture in image_names
    image_names   (m,)      text     name relative to the input folder, with forward slashes
    keys          (n,)      text     `keys.face_keys`: unique, stable over runs
    failures      (n,)      text     empty, or the short code of why there is no descriptor
    notes         (n,)      text     codes of what a person should know, joined by commas

It holds biometric data: keep it as carefully as the pictures. Vectors of two `model_hash`es never compare.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.errors import ConfigError
from auto_annotator.exchange.files import replacing_binary
from auto_annotator.exchange.npz import Npz, write_npz
from auto_annotator.exchange.vectors import MAX_DIMENSION, VectorError, check_rows
from auto_annotator.types import Float32Array

FORMAT, VERSION = "auto-annotator descriptors", 1
MAX_TEXT = 4096
"""Characters of a name, the longest path that Linux takes. The column is as wide as its longest entry, 4 bytes a character."""
NOTE_SEPARATOR = ","


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DescribedFaces:
    """The content of a descriptors file; the columns are those of the module's table.

    Attributes:
        vectors: (n, d) float16, perhaps a read-only map of the file.
        quality, boxes, scores, landmarks: float32 columns.
        images: (n,) int64.
        image_names: m names.
        keys, failures: n texts.
        notes: for each face its codes.
        model_set, model_hash: which recognisers made the vectors.
        threshold: calibrated cosine from which two faces are one person, None = not known.

    Raises:
        ConfigError: if columns differ in length or shape, keys repeat, or a number is out of its range.
    """

    vectors: npt.NDArray[np.float16]
    quality: Float32Array
    boxes: Float32Array
    scores: Float32Array
    landmarks: Float32Array
    images: npt.NDArray[np.int64]
    image_names: tuple[str, ...]
    keys: tuple[str, ...]
    failures: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...]
    model_set: str
    model_hash: str
    threshold: float | None = None

    def __post_init__(self) -> None:
        n = len(self.keys)
        if np.ndim(self.vectors) != 2 or len(self.vectors) != n or not 1 <= self.vectors.shape[1] <= MAX_DIMENSION:
            raise ConfigError(f"vectors: got shape {np.shape(self.vectors)}, expected ({n}, 1 to {MAX_DIMENSION})")
        shapes: dict[str, tuple[int, ...]] = {"quality": (), "boxes": (4,), "scores": (), "landmarks": (5, 2), "images": ()}
        for name, rest in shapes.items():
            if np.shape(getattr(self, name)) != (n, *rest):
                raise ConfigError(f"{name}: got shape {np.shape(getattr(self, name))}, expected {(n, *rest)}")
        if not len(self.failures) == len(self.notes) == n:
            raise ConfigError(f"rows differ: {n} keys, {len(self.failures)} failures, {len(self.notes)} notes")
        self._check_values()

    def _check_values(self) -> None:
        for name, low, high in (("quality", 0.0, 1.0), ("scores", 0.0, 1.0), ("boxes", -np.inf, np.inf)):
            column = getattr(self, name)
            if not (np.isfinite(column).all() and ((column >= low) & (column <= high)).all()):
                expected = "finite numbers" if math.isinf(low) else f"numbers from {low:g} to {high:g}"
                raise ConfigError(f"{name}: has numbers that are NaN or out of range, expected {expected}")
        low, high = (self.images.min(), self.images.max()) if len(self.images) else (0, -1)
        if low < 0 or high >= len(self.image_names):
            raise ConfigError(f"images: got {low} to {high}, expected rows of the {len(self.image_names)} image_names")
        if len(set(self.keys)) < len(self.keys) or "" in self.keys:
            raise ConfigError("keys: some are empty or stand twice, expected one per face")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ConfigError(f"threshold: got {self.threshold}, expected a cosine from -1 to 1")

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dimension(self) -> int:
        """Numbers per vector."""
        return int(self.vectors.shape[1])

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """(n,) bool: the face has a descriptor."""
        return np.array([not f for f in self.failures], np.bool_)

    def image_of(self, row: int) -> str:
        """Name of the picture that a face is in."""
        return self.image_names[int(self.images[row])]


def write_descriptors(path: Path, faces: DescribedFaces) -> None:
    """Write the file as a whole or not at all; the same faces give the same bytes.

    Args:
        path: the .npz to write; its folder must exist.
        faces: checked when it was built; its vectors are checked here.

    Raises:
        ConfigError: for vectors that are not unit rows or zeros, or a text longer than `MAX_TEXT`.
        OSError: if it cannot be written; an older file is then still whole.
    """
    check_rows(faces.vectors)
    meta = {"format": FORMAT, "version": VERSION, "model_set": faces.model_set, "model_hash": faces.model_hash}
    columns: dict[str, npt.NDArray[Any]] = {
        "meta": np.array(json.dumps(meta | {"threshold": faces.threshold}, allow_nan=False)),
        "vectors": np.asarray(faces.vectors, "<f2"),
        "quality": np.asarray(faces.quality, "<f4"),
        "boxes": np.asarray(faces.boxes, "<f4"),
        "scores": np.asarray(faces.scores, "<f4"),
        "landmarks": np.asarray(faces.landmarks, "<f4"),
        "images": np.asarray(faces.images, "<i8"),
        "image_names": _texts("image_names", faces.image_names),
        "keys": _texts("keys", faces.keys),
        "failures": _texts("failures", faces.failures),
        "notes": _texts("notes", [NOTE_SEPARATOR.join(codes) for codes in faces.notes]),
    }
    with replacing_binary(path) as stream:
        write_npz(stream, columns)


def _texts(name: str, texts: Sequence[str]) -> npt.NDArray[np.str_]:
    if longest := max((len(t) for t in texts if len(t) > MAX_TEXT), default=0):
        raise ConfigError(f"{name}: got a text of {longest} characters, expected at most {MAX_TEXT}")
    return np.array([t.replace("\0", "\ufffd") for t in texts], dtype=np.str_)  # numpy would cut zeros off at the end


def read_descriptors(path: Path, *, mapped: bool = True) -> DescribedFaces:
    """Read and check a descriptors file.

    Args:
        path: a file that `write_descriptors` wrote.
        mapped: leave the vectors on disk and map them (read-only) where the file allows it; they are then read at most once per
            use and memory stays free.

    Raises:
        ConfigError: says what is wrong with the file: no such file, not an .npz, another version, a column that is missing or
            has another type, shape or length, rows that are not unit vectors.
    """
    try:
        with Npz(path) as npz:
            meta = _meta(npz)
            faces = _content(npz, meta, mapped=mapped)
        check_rows(faces.vectors)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; `auto-annotator describe` writes one") from error
    except VectorError as error:
        raise VectorError(f"{path}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except Exception as error:  # a damaged zip makes its readers raise almost anything
        detail = str(error) or type(error).__name__
        raise ConfigError(f"{path}: cannot be read as a descriptors file ({detail}); expected what `describe` wrote") from error
    return faces


def _meta(npz: Npz) -> dict[str, Any]:
    text = str(npz.column("meta", "U", ()))
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError("meta: not JSON, expected what `describe` wrote") from error
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ConfigError(f"meta: expected the format {FORMAT!r}")
    if meta.get("version") != VERSION:
        raise ConfigError(f"meta: got version {meta.get('version')!r}, expected {VERSION}: describe the faces again")
    for name in ("model_set", "model_hash"):
        if not isinstance(meta.get(name), str) or not meta[name]:
            raise ConfigError(f"meta: {name} is missing or not a text")
    threshold = meta.get("threshold")
    if threshold is not None and (isinstance(threshold, bool) or not isinstance(threshold, int | float)):
        raise ConfigError("meta: threshold is neither a number nor null")
    return meta


def _content(npz: Npz, meta: dict[str, Any], *, mapped: bool) -> DescribedFaces:
    keys = _list(npz, "keys")
    n = len(keys)
    # The vectors come last: whatever else is wrong is found without touching the bulk of the file.
    rest: dict[str, Any] = {
        name: npz.column(name, "f4", (n, *shape))
        for name, shape in (("quality", ()), ("boxes", (4,)), ("scores", ()), ("landmarks", (5, 2)))
    }
    take: Callable[..., npt.NDArray[Any]] = npz.mapped if mapped else npz.column
    return DescribedFaces(
        **rest,
        images=npz.column("images", "i8", (n,)),
        image_names=_list(npz, "image_names"),
        keys=keys,
        failures=_list(npz, "failures", n),
        notes=tuple(tuple(t.split(NOTE_SEPARATOR)) if t else () for t in _list(npz, "notes", n)),
        vectors=take("vectors", "f2", (n, None)),
        model_set=meta["model_set"],
        model_hash=meta["model_hash"],
        threshold=None if meta.get("threshold") is None else float(meta["threshold"]),
    )


def _list(npz: Npz, name: str, length: int | None = None) -> tuple[str, ...]:
    return tuple(npz.column(name, "U", (length,)).tolist())
