"""Reading and writing .npz member by member: no pickles, shapes known before memory is taken, large members mapped."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from auto_annotator.errors import ConfigError

Shape = tuple[int | None, ...]
"""Expected lengths of the axes, None = any."""

_DATE = (1980, 1, 1, 0, 0, 0)
"""Zip's first day, instead of now: the same arrays give the same bytes."""
_LOCAL_HEADER = 30
"""Bytes of a zip member's local header before its name (PKWARE APPNOTE 4.3.7); the lengths of name and extra stand at 26."""
_LENGTHS_AT = 26


def write_npz(stream: BinaryIO, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as an .npz: texts deflated, numbers stored as they are, so that they can be mapped.

    Raises:
        ValueError: for an array of objects, which would need a pickle.
    """
    with zipfile.ZipFile(stream, "w", allowZip64=True) as archive:
        for name, array in columns.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED if array.dtype.kind == "U" else zipfile.ZIP_STORED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


class Npz:
    """An .npz that is open for reading; a context manager.

    Raises:
        OSError: if the file cannot be read.
        zipfile.BadZipFile: if it is not a zip, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive = zipfile.ZipFile(path)

    def __enter__(self) -> Npz:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._archive.close()

    def column(self, name: str, kind: str, shape: Shape) -> npt.NDArray[Any]:
        """One member in memory.

        Args:
            name: of the member, without `.npy`.
            kind: expected type: `f4`, `i8`, ... or `U` for text.
            shape: expected shape.

        Raises:
            ConfigError: if it is missing or has another type, shape or length.
        """
        with self._member(name) as member:
            dtype, found, fortran = self._header(member, name, kind, shape)
            raw = member.read()
        array = np.frombuffer(raw, dtype).reshape(found[::-1] if fortran else found)
        return (array.T if fortran else array).astype(dtype.newbyteorder("="), copy=False)

    def mapped(self, name: str, kind: str, shape: Shape) -> npt.NDArray[Any]:
        """One member as a read-only map of the file; in memory where that is not possible (compressed, or empty).

        Raises:
            ConfigError: as `column`.
        """
        with self._member(name) as member:
            dtype, found, fortran = self._header(member, name, kind, shape)
            inside = member.tell()
        info = self._archive.getinfo(f"{name}.npy")
        if info.compress_type != zipfile.ZIP_STORED or fortran or 0 in found or dtype != dtype.newbyteorder("="):
            return self.column(name, kind, shape)
        with self._path.open("rb") as stream:
            stream.seek(info.header_offset)
            header = stream.read(_LOCAL_HEADER)
        name_length, extra_length = np.frombuffer(header, "<u2", 2, _LENGTHS_AT).tolist()
        start = info.header_offset + _LOCAL_HEADER + name_length + extra_length + inside
        return np.memmap(self._path, dtype, "r", start, found)

    def _member(self, name: str) -> IO[bytes]:
        try:
            return self._archive.open(f"{name}.npy")
        except KeyError as error:
            there = ", ".join(sorted(Path(n).stem for n in self._archive.namelist())[:20]) or "nothing"
            raise ConfigError(f"{name}: the column is missing, the file has {there}") from error

    def _header(self, member: IO[bytes], name: str, kind: str, shape: Shape) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
        """Type, shape and order of a member, checked against what is expected and against the bytes that are there."""
        version = np.lib.format.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            raise ConfigError(f"{name}: got version {version} of the .npy format, expected 1.0 or 2.0")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        found, fortran, dtype = read(member)
        wanted = dtype.kind == "U" if kind == "U" else dtype.newbyteorder("=") == np.dtype(kind)
        if not wanted:
            raise ConfigError(f"{name}: got {dtype.name}, expected {'text' if kind == 'U' else np.dtype(kind).name}")
        if len(found) != len(shape) or any(want not in (None, have) for want, have in zip(shape, found, strict=True)):
            expected = ", ".join("any" if axis is None else str(axis) for axis in shape)
            raise ConfigError(f"{name}: got shape {found}, expected ({expected})")
        held = self._archive.getinfo(f"{name}.npy").file_size - member.tell()
        if held != math.prod(found) * dtype.itemsize:
            raise ConfigError(f"{name}: got {held} bytes, expected {math.prod(found) * dtype.itemsize} for shape {found}")
        return dtype, found, fortran
