"""Parquet and mapped files in the folder that several machines share: what goes into a task and what comes out of it."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.exact import Grid
from auto_annotator.clustering.neighbours import NeighbourLists

SHARD = 65_536
"""Rows of a file of vectors: 64 MB at 512 dimensions."""


def write_columns(path: Path, **columns: npt.NDArray[Any]) -> None:
    """Columns of equal length as Parquet; the file is there whole or not at all, also if two machines write it."""
    import pyarrow as pa

    _write(path, pa.table({name: pa.array(values) for name, values in columns.items()}))


def read_columns(path: Path) -> dict[str, npt.NDArray[Any]]:
    """What `write_columns` wrote."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}


def write_lists(path: Path, lists: NeighbourLists) -> None:
    """Neighbour lists: a row per face with a list of rows and one of cosines."""
    import pyarrow as pa

    starts = pa.array(lists.starts.astype(np.int32))
    columns = {name: pa.ListArray.from_arrays(starts, pa.array(values)) for name, values in _values(lists).items()}
    _write(path, pa.table(columns))


def _values(lists: NeighbourLists) -> dict[str, npt.NDArray[Any]]:
    return {"neighbours": lists.rows, "cosines": lists.scores}


def read_lists(path: Path) -> NeighbourLists:
    """What `write_lists` wrote."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    counts = pc.list_value_length(table.column("neighbours")).to_numpy().astype(np.int64)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    rows, scores = (pc.list_flatten(table.column(name)).to_numpy() for name in ("neighbours", "cosines"))
    return NeighbourLists(starts=starts, rows=rows, scores=scores)


def write_grid(folder: Path, grid: Grid) -> None:
    """Vectors as shards of `SHARD` rows; a row is the little-endian float16 numbers of one face."""
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    width = 2 * grid.shape[1]
    for number, start in enumerate(range(0, len(grid), SHARD)):
        path = folder / f"vectors-{number:05d}.parquet"
        if not path.exists():
            part = np.ascontiguousarray(grid[start : start + SHARD], "<f2")
            column = pa.Array.from_buffers(pa.binary(width), len(part), [None, pa.py_buffer(part)])
            _write(path, pa.table({"vector": column}), compression="none")


def read_grid(folder: Path) -> Grid:
    """All shards of a folder as one array."""
    import pyarrow.parquet as pq

    parts = []
    for path in sorted(folder.glob("vectors-*.parquet")):
        column = pq.read_table(path).column("vector")
        width = column.type.byte_width
        for chunk in column.chunks:
            data = np.frombuffer(chunk.buffers()[1], "<f2", count=len(chunk) * width // 2, offset=chunk.offset * width)
            parts.append(data.reshape(len(chunk), width // 2))
    return np.concatenate(parts).astype(np.float16, copy=False)


def _write(path: Path, table: Any, *, compression: str = "zstd") -> None:
    import pyarrow.parquet as pq

    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        pq.write_table(table, part, compression=compression)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_mapped(stem: Path, **columns: npt.NDArray[Any]) -> None:
    """Arrays as .npy files, which other processes map into memory: of these any part may be wanted."""
    for name, values in columns.items():
        np.save(stem.with_name(f"{stem.name}-{name}.npy"), values, allow_pickle=False)


def read_mapped(stem: Path, name: str) -> npt.NDArray[Any]:
    """One array of `write_mapped`; only pages that are looked at are read."""
    mapped = np.load(stem.with_name(f"{stem.name}-{name}.npy"), mmap_mode="c", allow_pickle=False)
    return np.asarray(mapped)


def remove_mapped(stem: Path) -> None:
    """Delete what `write_mapped` wrote."""
    for path in stem.parent.glob(f"{stem.name}-*.npy"):
        path.unlink(missing_ok=True)
