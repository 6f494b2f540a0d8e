"""Vectors as text and as rows that can be trusted: base64 of little-endian float16, checked when they come in.

Half precision keeps the cosine of two unit vectors to about 0.0003, far below what tells people apart, at half the size.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.errors import ConfigError
from auto_annotator.types import Float32Array

WIRE = np.dtype("<f2")
"""IEEE half precision, little endian: what `encode_vector` writes on every machine."""
MAX_DIMENSION = 8192
"""Far above any recogniser or sum of recognisers; a larger number is a mistake or an attack on memory."""
NORM_TOLERANCE = 0.01
"""How far the length of a row may lie from 1: rounding to float16 moves it by less than 0.001, a raw vector by much more."""
CHUNK = 16_384
"""Rows that are checked at once, so that a file mapped into memory is never copied as a whole."""


class VectorError(ConfigError):
    """Vectors that came from outside are not what they are said to be."""


def encode_vector(row: npt.NDArray[Any]) -> str:
    """One vector as text.

    Args:
        row: (d,) unit length, or zeros for a face without a descriptor.

    Returns:
        Base64 (RFC 4648, with padding) of d little-endian float16 numbers.

    Raises:
        VectorError: unless it is a finite row of unit length or of zeros.
    """
    return encode_vectors(np.asarray(row)[None])


def encode_vectors(vectors: npt.NDArray[Any]) -> str:
    """All rows as one text, one after the other; `decode_vectors` takes it with their number.

    Args:
        vectors: (n, d) rows as for `encode_vector`.

    Raises:
        VectorError: as for `encode_vector`; the message names the row.
    """
    if np.ndim(vectors) != 2:
        raise VectorError(f"vectors: got shape {np.shape(vectors)}, expected (n, d)")
    check_rows(vectors)
    return base64.b64encode(np.ascontiguousarray(vectors, dtype=WIRE).tobytes()).decode("ascii")


def decode_vectors(text: str | bytes, count: int, dimension: int) -> Float32Array:
    """The rows that `encode_vector` or `encode_vectors` wrote, for computing with them.

    Args:
        text: base64 of `count * dimension` little-endian float16 numbers.
        count: how many rows there must be, 0 or more.
        dimension: numbers per row.

    Returns:
        (count, dimension) float32, rows of exactly unit length up to rounding, or zeros.

    Raises:
        VectorError: if it is not base64, has another length, or a row is not finite or not of unit length; the message holds
            sizes and row numbers, never numbers of a vector.
    """
    return unit_rows(decode_rows(text, count, dimension))


def decode_rows(text: str | bytes, count: int, dimension: int) -> npt.NDArray[np.float16]:
    """The same rows to the bit as they were written, read-only, (count, dimension) float16; checked as in `decode_vectors`.

    Raises:
        VectorError: as `decode_vectors`.
    """
    if count < 0 or not 1 <= dimension <= MAX_DIMENSION:
        raise VectorError(f"vectors: got {count} x {dimension}, expected 0 rows or more of 1 to {MAX_DIMENSION} numbers")
    size = count * dimension * WIRE.itemsize
    if len(text) != (size + 2) // 3 * 4:  # before decoding: a wrong size costs no memory
        held = len(text) // 4 * 3
        raise VectorError(f"vectors: got base64 of about {held} bytes, expected {size} ({count} x {dimension} float16)")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise VectorError("vectors: not base64 (RFC 4648, padded, no line breaks)") from error
    if len(raw) != size:
        raise VectorError(f"vectors: got {len(raw)} bytes, expected {size} ({count} x {dimension} float16)")
    rows = np.frombuffer(raw, WIRE).reshape(count, dimension)
    check_rows(rows)
    return rows


def check_rows(vectors: npt.NDArray[Any], *, what: str = "vectors") -> None:
    """Refuse rows that are not finite, or neither of unit length nor all zeros.

    Args:
        vectors: (n, d), also a memory map; at most `CHUNK` rows are converted at once.
        what: how the message calls them.

    Raises:
        VectorError: names the first row that is wrong.
    """
    for first in range(0, len(vectors), CHUNK):
        norms = np.linalg.norm(np.asarray(vectors[first : first + CHUNK], np.float32), axis=1)
        good = (np.abs(norms - 1) <= NORM_TOLERANCE) | (norms == 0)
        if not good.all():
            row = int(np.argmin(good))
            length = f"length {norms[row]:.3g}" if np.isfinite(norms[row]) else "numbers that are not finite"
            raise VectorError(f"{what}: row {first + row} has {length}, expected unit length, or zeros for a face without a vector")


def unit_rows(vectors: npt.NDArray[Any]) -> Float32Array:
    """The rows as float32, made exactly unit again after rounding to half precision; rows of zeros stay zeros."""
    rows = np.array(vectors, np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    np.divide(rows, norms, out=rows, where=norms > 0)
    return rows
