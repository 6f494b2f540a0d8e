"""Synthetic descriptors with known people: sets of any size that behave like real ones, for tests, benchmarks and scale.

A face is x = normalise(mean(person) + shift(person, mode) + noise(quality) + drift(quality)) in 512 dimensions.
The spectrum falls by a power law, so that two strangers have a cosine of 0.01 +- 0.1 with wide tails as with a small recogniser
on LFW, and two faces of a person 0.67 +- 0.12. There are look-alikes, twins, bad faces that all look the same, junk, and people
who meet in pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from auto_annotator.evaluation.synthetic_layout import Layout, SyntheticSettings, lay_out

DIMENSION = 512
SPECTRUM_POWER = 0.62
"""Variance of axis j falls as j^-power; this one gives an effective dimension (sum^2 / sum of squares) of about 180."""

KINDS = 12
"""Kinds of people (sex, age, origin) that share a direction: why strangers' cosines have a wide upper tail."""

DIRECTIONS = 3
"""How many "unrecognisable" directions bad faces and junk share."""

FAMILIES_PER_BLOCK = 64
"""Families whose vectors are made at once: about 100 MB of work space with the largest people. Part of the random stream."""

JUNK_PER_BLOCK = 8192

_CELEBRITIES = SyntheticSettings(size_law="normal", sizes=(68.5, 40.6), twins=0.02, label_noise=0.009, duplicates=0.018)
_ALBUM = SyntheticSettings(size_law="pareto", sizes=(0.9, 300), twins=0.08, noise_growth=2.1, junk=0.03, photo_load=1.4)

PRESETS: Mapping[str, SyntheticSettings] = MappingProxyType(
    {
        "ms1m": _CELEBRITIES,
        "ms1m-hard": replace(_CELEBRITIES, twins=0.12),
        "album": _ALBUM,
        "album-junk": replace(_ALBUM, junk=0.2),
        "twins": replace(_ALBUM, family=(2, 4), twins=1.0),
    }
)
"""`ms1m`: people of the size of MS-Celeb-1M's, each face alone; `album`: a family's photos; `album-junk`: with much background;
`twins`: everybody has one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SyntheticFaces:
    """A set of n faces in random order, whose truth is known.

    Attributes:
        vectors: (n, 512) unit rows, float32 or float16; a memory map when written to a file.
        identity: (n,) int64 what the truth of the set says; each junk face is an identity of its own.
        person: (n,) int64 who it truly is: scoring it against `identity` gives the ceiling of the set. Junk as in `identity`.
        quality: (n,) float32, 0..1, as observed.
        image: (n,) int64 number of the picture.
        is_junk: (n,) bool: nobody.
        second: the same faces by a second recogniser, or None.
    """

    vectors: npt.NDArray[np.floating]
    identity: npt.NDArray[np.int64]
    person: npt.NDArray[np.int64]
    quality: npt.NDArray[np.float32]
    image: npt.NDArray[np.int64]
    is_junk: npt.NDArray[np.bool_]
    second: npt.NDArray[np.floating] | None = None


def generate(
    preset: str | SyntheticSettings,
    faces: int,
    *,
    seed: int,
    second: float | None = None,
    file: Path | None = None,
    dtype: npt.DTypeLike = np.float32,
) -> SyntheticFaces:
    """Make a set; the same arguments give the same set.

    Args:
        preset: a name of `PRESETS` or settings of one's own.
        faces: how many, exactly.
        seed: of all random numbers.
        second: correlation of every part of a second recogniser's vectors with those of the first; None = no second.
        file: where the vectors go as a float16 `.npy` memory map (the second's beside it with `-second` in the name);
            None = in memory, in `dtype`.
        dtype: float32 or float16.

    Raises:
        ValueError: if the preset has no such name or `faces` is below 1.
    """
    if isinstance(preset, str) and preset not in PRESETS:
        raise ValueError(f"preset: got {preset!r}, expected one of {', '.join(PRESETS)}")
    if faces < 1:
        raise ValueError(f"faces: got {faces}, expected at least 1")
    settings = PRESETS[preset] if isinstance(preset, str) else preset
    rng = np.random.default_rng([seed, 0])
    layout = lay_out(settings, faces, rng)
    position = rng.permutation(faces)
    vectors = _storage(file, faces, dtype)
    other = None if second is None else _storage(file and file.with_stem(f"{file.stem}-second"), faces, dtype)
    for rows, first_block, second_block in _blocks(settings, layout, seed, second):
        vectors[position[rows]] = first_block
        if other is not None and second_block is not None:
            other[position[rows]] = second_block
    order = np.empty(faces, np.int64)
    order[position] = np.arange(faces)
    person = np.where(layout.person >= 0, layout.person, layout.label + faces)
    return SyntheticFaces(
        vectors=vectors,
        identity=layout.label[order],
        person=person[order],
        quality=layout.observed[order],
        image=layout.image[order],
        is_junk=layout.person[order] < 0,
        second=other,
    )


def _storage(file: Path | None, faces: int, dtype: npt.DTypeLike) -> npt.NDArray[np.floating]:
    if file is None:
        return np.empty((faces, DIMENSION), dtype)
    return np.asanyarray(np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(faces, DIMENSION)))


def spectrum() -> npt.NDArray[np.float32]:
    """(512,) standard deviation of each axis; squares add up to 1."""
    variance = np.arange(1, DIMENSION + 1, dtype=float) ** -SPECTRUM_POWER
    return np.asarray(np.sqrt(variance / variance.sum()), np.float32)


class _Recognisers:
    """Random parts of one recogniser, or of two whose parts correlate."""

    def __init__(self, rng: np.random.Generator, correlation: float | None) -> None:
        self._rng, self._correlation, self._scale = rng, correlation, spectrum()

    def draw(self, count: int) -> list[npt.NDArray[np.float32]]:
        """(count, 512) of length about 1, for each recogniser."""
        first = self._rng.standard_normal((count, DIMENSION), np.float32) * self._scale
        if self._correlation is None:
            return [first]
        own = self._rng.standard_normal((count, DIMENSION), np.float32) * self._scale
        rho = np.float32(self._correlation)
        return [first, rho * first + np.sqrt(1 - rho * rho) * own]


Block = tuple[npt.NDArray[np.int64], npt.NDArray[np.float32], npt.NDArray[np.float32] | None]


def _blocks(settings: SyntheticSettings, layout: Layout, seed: int, correlation: float | None) -> Iterator[Block]:
    """Rows of the layout and their unit vectors, block by block."""
    shared = _Recognisers(np.random.default_rng([seed, 1]), correlation).draw(DIRECTIONS + KINDS)
    shared = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in shared]
    real = int(np.count_nonzero(layout.person >= 0))
    block_of_person = layout.family // FAMILIES_PER_BLOCK
    count = int(block_of_person.max(initial=-1)) + 1
    bounds = np.searchsorted(block_of_person[layout.person[:real]], np.arange(count + 1))
    for number in range(count):
        rng = np.random.default_rng([seed, 2, number])
        rows = np.arange(bounds[number], bounds[number + 1])
        parts = _people(settings, layout, rows, [part[DIRECTIONS:] for part in shared], rng, correlation)
        yield (rows, *_finish(settings, layout.quality[rows], parts, shared, rng))
    for number, start in enumerate(range(real, len(layout.person), JUNK_PER_BLOCK)):
        rng = np.random.default_rng([seed, 3, number])
        rows = np.arange(start, min(start + JUNK_PER_BLOCK, len(layout.person)))
        yield (rows, *_junk(settings, len(rows), shared, rng, correlation))


def _people(
    settings: SyntheticSettings,
    layout: Layout,
    rows: npt.NDArray[np.int64],
    kinds: list[npt.NDArray[np.float32]],
    rng: np.random.Generator,
    correlation: float | None,
) -> list[npt.NDArray[np.float32]]:
    """Mean + kind + noise of each row, for each recogniser."""
    recognisers = _Recognisers(rng, correlation)
    first, last = layout.person[rows[0]], layout.person[rows[-1]]
    people = np.arange(first, last + 1)
    family = layout.family[people] - layout.family[first]
    alike = rng.uniform(*settings.alike, (len(people), 1)).astype(np.float32)
    kind = rng.integers(0, KINDS, int(family[-1]) + 1)
    typical = rng.uniform(0, settings.typical, (len(kind), 1)).astype(np.float32)
    twin = np.flatnonzero(layout.twin[people])
    cosine = rng.uniform(*settings.twin_cosine, (len(twin), 1)).astype(np.float32)
    person = layout.person[rows] - first
    weights = rng.dirichlet(np.full(settings.modes, settings.mode_weights), len(people)).cumsum(axis=1)[:, :-1]
    mode = (rng.random(len(rows))[:, None] > weights[person]).sum(axis=1)
    length = settings.noise + settings.noise_growth * (1 - layout.quality[rows, None]) ** 2
    results = []
    for direction, base, own, shift, noise in zip(
        kinds,
        recognisers.draw(int(family[-1]) + 1),
        recognisers.draw(len(people)),
        recognisers.draw(len(people) * settings.modes),
        recognisers.draw(len(rows)),
        strict=True,
    ):
        shared = np.sqrt(typical) * direction[kind]
        mean = np.sqrt(alike) * base[family] + np.sqrt(1 - alike) * own
        mean = shared[family] + np.sqrt(1 - typical[family]) * mean
        mean[twin] = cosine * mean[twin - 1] + np.sqrt(1 - cosine**2) * own[twin]
        results.append(mean[person] + settings.mode_spread * shift[person * settings.modes + mode] + length * noise)
    return results


def _finish(
    settings: SyntheticSettings,
    quality: npt.NDArray[np.float32],
    parts: list[npt.NDArray[np.float32]],
    shared: list[npt.NDArray[np.float32]],
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Add the pull of the bad ones; to unit length."""
    pull = settings.drift * np.maximum(settings.drift_below - quality, 0) / settings.drift_below
    towards = rng.integers(0, DIRECTIONS, len(quality))
    done = [_unit(part + pull[:, None] * common[towards]) for part, common in zip(parts, shared, strict=True)]
    return done[0], done[1] if len(done) > 1 else None


def _junk(
    settings: SyntheticSettings,
    count: int,
    shared: list[npt.NDArray[np.float32]],
    rng: np.random.Generator,
    correlation: float | None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """Faces that are nobody: a common direction and noise of their own."""
    cosine = rng.uniform(*settings.junk_cosine, (count, 1)).astype(np.float32)
    towards = rng.integers(0, DIRECTIONS, count)
    noise = _Recognisers(rng, correlation).draw(count)
    pairs = zip(noise, shared, strict=True)
    done = [_unit(cosine * common[towards] + np.sqrt(1 - cosine**2) * own) for own, common in pairs]
    return done[0], done[1] if len(done) > 1 else None


def _unit(rows: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
