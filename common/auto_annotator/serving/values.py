"""Values of a JSON request -> arrays, each refused with the place, what was got and what is expected; no value is repeated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.serving.replies import RequestError

MAX_COORDINATE = 1e6
"""Largest coordinate in pixels, either side of 0; far beyond any picture, and far from where float32 loses whole pixels."""


def number(value: object, place: str, low: float, high: float) -> float:
    """A finite number of low..high.

    Raises:
        RequestError: for anything else.
    """
    expected = f"expected a number from {low:g} to {high:g}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError(f"{place}: got {kind(value)}, {expected}")
    # An integer of any length is a number in JSON; comparing it needs no conversion.
    if not low <= value <= high:
        raise RequestError(f"{place}: got a number out of range, {expected}")
    return float(value)


def whole_number(value: object, place: str, low: int, high: int) -> int:
    """A whole number of low..high.

    Raises:
        RequestError: for anything else.
    """
    expected = f"expected a whole number from {low} to {high}"
    if type(value) is not int:
        raise RequestError(f"{place}: got {kind(value)}, {expected}")
    if not low <= value <= high:
        raise RequestError(f"{place}: got a number out of range, {expected}")
    return value


def box(value: object, place: str) -> tuple[float, float, float, float]:
    """x1 y1 x2 y2 in pixels; whether it lies in the picture is not asked here.

    Raises:
        RequestError: for anything but four numbers.
    """
    x1, y1, x2, y2 = _coordinates(value, place, 4, "x1, y1, x2, y2 in pixels of the picture")
    return x1, y1, x2, y2


def points(value: object, place: str, count: int) -> npt.NDArray[np.float32]:
    """(count, 2) float32 points in pixels; null for a point that is not known becomes NaN.

    Raises:
        RequestError: for anything but that many pairs of numbers or nulls.
    """
    if not isinstance(value, list) or len(value) != count:
        raise RequestError(f"{place}: got {kind(value)}, expected {count} pairs [x, y], null for one that is not known")
    rows = [[math.nan] * 2 if p is None else _coordinates(p, f"{place}[{i}]", 2, "x, y") for i, p in enumerate(value)]
    return np.array(rows, np.float32)


def _coordinates(value: object, place: str, count: int, what: str) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise RequestError(f"{place}: got {kind(value)}, expected {count} numbers {what}")
    return [number(v, f"{place}[{i}]", -MAX_COORDINATE, MAX_COORDINATE) for i, v in enumerate(value)]


def numbers_of_rows(value: object, place: str, rows: int, low: float, high: float) -> npt.NDArray[np.float32]:
    """(rows,) float32 of low..high, one for each face.

    Raises:
        RequestError: for another length, or anything but numbers of that range.
    """
    column = _column(value, place, rows, "numbers")
    good = [type(v) in (int, float) and low <= v <= high for v in column]
    if not all(good):
        raise RequestError(
            f"{place}[{good.index(False)}]: got {kind(column[good.index(False)])}, expected a number {low:g}..{high:g}"
        )
    return np.array(column, np.float32)


def whole_numbers_of_rows(value: object, place: str, rows: int, low: int) -> npt.NDArray[np.int64]:
    """(rows,) int64 from `low` up, one for each face.

    Raises:
        RequestError: for another length, or anything but whole numbers of that range.
    """
    return _whole(_column(value, place, rows, "whole numbers"), place, low, np.iinfo(np.int64).max)


def names_of_rows(value: object, place: str, rows: int) -> npt.NDArray[np.int64]:
    """(rows,) int64: a number for each different name, -1 for null; the names are texts or whole numbers from 0, -1 = null.

    Raises:
        RequestError: for another length, or anything else than names.
    """
    column = _column(value, place, rows, "names (texts or whole numbers; null = not known)")
    seen: dict[Any, int] = {}
    numbers = np.full(rows, -1, np.int64)
    for row, name in enumerate(column):
        if not (name is None or isinstance(name, str) or (type(name) is int and name >= -1)):
            raise RequestError(f"{place}[{row}]: got {kind(name)}, expected a text, a whole number from -1, or null")
        if name is not None and name != -1:
            numbers[row] = seen.setdefault(name, len(seen))
    return numbers


def pairs_of_rows(value: object, place: str, rows: int) -> npt.NDArray[np.int64]:
    """(m, 2) int64 pairs of two different rows of 0..rows-1.

    Raises:
        RequestError: for anything else.
    """
    if not isinstance(value, list):
        raise RequestError(f"{place}: got {kind(value)}, expected a list of pairs [row, row]")
    for i, pair in enumerate(value):
        if not isinstance(pair, list) or len(pair) != 2:
            raise RequestError(f"{place}[{i}]: got {kind(pair)}, expected a pair [row, row] of two faces, counted from 0")
    flat = _whole([row for pair in value for row in pair], place, 0, rows - 1, width=2)
    pairs = flat.reshape(-1, 2)
    same = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    if len(same):
        raise RequestError(f"{place}[{same[0]}]: got one face twice, expected two different ones")
    return pairs


def rows_of(value: object, place: str, rows: int) -> npt.NDArray[np.int64]:
    """(x,) int64 rows of 0..rows-1.

    Raises:
        RequestError: for anything else.
    """
    if not isinstance(value, list):
        raise RequestError(f"{place}: got {kind(value)}, expected a list of rows")
    return _whole(value, place, 0, rows - 1)


def _column(value: object, place: str, rows: int, what: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != rows:
        raise RequestError(f"{place}: got {kind(value)}, expected {rows} {what}, one for each face")
    return value


def _whole(values: Sequence[Any], place: str, low: int, high: int, *, width: int = 1) -> npt.NDArray[np.int64]:
    good = [type(v) is int and low <= v <= high for v in values]
    if not all(good):
        bad = good.index(False)
        got = "a number out of range" if type(values[bad]) is int else kind(values[bad])
        limit = f"from {low}" if high == np.iinfo(np.int64).max else f"from {low} to {high}"
        raise RequestError(f"{place}[{bad // width}]: got {got}, expected a whole number {limit}")
    return np.array(values, np.int64)


def kind(value: object) -> str:
    """What a value is, in JSON's words and without its content."""
    if isinstance(value, list):
        return f"a list of {len(value)}"
    names = {dict: "an object", str: "a text", bool: "true or false", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), type(value).__name__)
