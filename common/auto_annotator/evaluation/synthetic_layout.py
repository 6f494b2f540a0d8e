"""Who is in a synthetic set: sizes of people, families, quality, junk, pictures. Numbers only; `synthetic` makes the vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Int64Array = npt.NDArray[np.int64]

MOST_FACES_IN_A_PICTURE = 4
QUALITY_NOISE = 0.05
"""Standard deviation of the observed quality around the true one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSettings:
    """What a set of faces looks like. Cosines and shares are without unit; lengths are relative to a person's mean vector.

    Attributes:
        size_law, sizes: faces per person: `normal` (mean, standard deviation; never below 1) or `pareto` (exponent, largest).
        family: fewest and most people per family; their means share `alike` of their variance (uniform between the two).
        typical: greatest share of a mean's variance that comes from the person's kind (sex, age, origin), which strangers share.
        twins: share of people who are the twin of the one before them, at a cosine of `twin_cosine`.
        modes, mode_weights, mode_spread: kinds of photos per person (age, pose): how many at most, concentration of their Dirichlet
            weights, length of the shift of a kind.
        quality: parameters of the Beta distribution of the true quality.
        noise, noise_growth: length of a face's own noise at quality 1, and what (1 - quality)^2 adds to it.
        drift: length of the pull to a common "unrecognisable" direction at quality 0; none from `drift_below` up.
        junk, junk_quality, junk_cosine: share of faces that are nobody (each its own identity), Beta parameters of their quality,
            and least and greatest cosine to their common direction.
        photo_load: faces per picture that one family takes; 0 = each face comes alone.
        junk_in_photos: share of junk that stands in the picture of somebody else.
        label_noise, duplicates: share of faces under a wrong label, share of labels that are a second label of one person
            (the ceiling that web collections have).
    """

    size_law: Literal["normal", "pareto"]
    sizes: tuple[float, float]
    family: tuple[int, int] = (1, 4)
    alike: tuple[float, float] = (0.05, 0.75)
    typical: float = 0.3
    twins: float = 0.0
    twin_cosine: tuple[float, float] = (0.75, 0.85)
    modes: int = 3
    mode_weights: float = 1.0
    mode_spread: float = 0.5
    quality: tuple[float, float] = (4.0, 2.0)
    noise: float = 0.4
    noise_growth: float = 1.9
    drift: float = 0.6
    drift_below: float = 0.45
    junk: float = 0.0
    junk_quality: tuple[float, float] = (1.5, 14.0)
    junk_cosine: tuple[float, float] = (0.7, 0.9)
    photo_load: float = 0.0
    junk_in_photos: float = 0.5
    label_noise: float = 0.0
    duplicates: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """A set without vectors; columns over n faces, sorted by person, junk last.

    Attributes:
        person: (n,) who the face truly is, 0..p-1 without gaps, -1 = junk.
        label: (n,) who the truth of the set says it is (differs by label noise and duplicates); junk has labels of its own.
        quality, observed: (n,) float32 true quality, and as a product would measure it.
        image: (n,) number of the picture.
        family: (p,) family of each person, ascending.
        twin: (p,) bool: twin of the person before, who is of the same family and no twin of the one before that.
    """

    person: Int64Array
    label: Int64Array
    quality: npt.NDArray[np.float32]
    observed: npt.NDArray[np.float32]
    image: Int64Array
    family: Int64Array
    twin: npt.NDArray[np.bool_]


def lay_out(settings: SyntheticSettings, faces: int, rng: np.random.Generator) -> Layout:
    """Draw a set of exactly `faces` faces."""
    junk = round(settings.junk * faces)
    sizes = _sizes(settings, faces - junk, rng)
    label_of_face = np.repeat(np.arange(len(sizes)), sizes)
    person_of_label = np.arange(len(sizes))
    again = rng.choice(len(sizes) // 2, round(settings.duplicates * len(sizes)), replace=False)
    person_of_label[2 * again + 1] -= 1
    _, person_of_label = np.unique(person_of_label, return_inverse=True)
    person = np.concatenate([person_of_label[label_of_face], np.full(junk, -1)])
    people = int(person.max(initial=-1)) + 1
    family, twin = _families(settings, people, rng)
    quality = np.concatenate([rng.beta(*settings.quality, faces - junk), rng.beta(*settings.junk_quality, junk)])
    observed = np.clip(quality + rng.normal(0, QUALITY_NOISE, faces), 0, 1)
    label = np.concatenate([_noisy(label_of_face, settings.label_noise, rng), len(sizes) + np.arange(junk)])
    return Layout(
        person=person,
        label=label,
        quality=quality.astype(np.float32),
        observed=observed.astype(np.float32),
        image=_pictures(settings, person, family, rng),
        family=family,
        twin=twin,
    )


def _sizes(settings: SyntheticSettings, faces: int, rng: np.random.Generator) -> Int64Array:
    """Faces of each label; together `faces`."""
    first, second = settings.sizes
    if settings.size_law == "normal":
        drawn = np.maximum(rng.normal(first, second, faces), 1)
    else:
        drawn = np.minimum(rng.random(faces) ** (-1 / first), second)
    sizes = drawn.astype(np.int64)
    last = int(np.searchsorted(np.cumsum(sizes), faces))
    sizes = sizes[: last + 1]
    if len(sizes):
        sizes[-1] -= sizes.sum() - faces
    return sizes


def _families(settings: SyntheticSettings, people: int, rng: np.random.Generator) -> tuple[Int64Array, npt.NDArray[np.bool_]]:
    """Family of each person, and who is a twin of the person before."""
    low, high = settings.family
    members = rng.integers(low, high + 1, people)
    family = np.repeat(np.arange(people), members)[:people]
    wants = (rng.random(people) < settings.twins) & (np.diff(family, prepend=-1) == 0)
    run = np.arange(people) - np.maximum.accumulate(np.where(wants, 0, np.arange(people)))
    return family, wants & (run % 2 == 1)


def _noisy(label: Int64Array, share: float, rng: np.random.Generator) -> Int64Array:
    """Labels with a share of them dealt out anew among those faces."""
    wrong = np.flatnonzero(rng.random(len(label)) < share)
    noisy = label.copy()
    noisy[wrong] = label[rng.permutation(wrong)]
    return noisy


def _pictures(settings: SyntheticSettings, person: Int64Array, family: Int64Array, rng: np.random.Generator) -> Int64Array:
    """Number of each face's picture: a family meets in pictures of 1 to 4 faces, nobody is in one twice."""
    image = np.arange(len(person))
    if settings.photo_load <= 0 or not len(family):
        return image
    real = np.flatnonzero(person >= 0)
    circle = family[person[real]]
    events = np.maximum(np.bincount(circle) / settings.photo_load, 1).astype(np.int64)
    event = np.concatenate([[0], np.cumsum(events)])[circle] + (rng.random(len(real)) * events[circle]).astype(np.int64)
    order = rng.permutation(len(real))
    _, first = np.unique(np.stack([event, person[real]])[:, order], axis=1, return_index=True)
    kept = order[first]  # further faces of a person at the same event stay alone
    kept = kept[np.argsort(event[kept], kind="stable")]
    starts = np.flatnonzero(np.diff(event[kept], prepend=-1))
    place = np.arange(len(kept)) - np.repeat(starts, np.diff(np.append(starts, len(kept))))
    lead = np.maximum.accumulate(np.where(place % MOST_FACES_IN_A_PICTURE == 0, np.arange(len(kept)), 0))
    image[real[kept]] = real[kept[lead]]
    return _add_junk(settings, person, image, rng)


def _add_junk(settings: SyntheticSettings, person: Int64Array, image: Int64Array, rng: np.random.Generator) -> Int64Array:
    """Put a share of the junk into pictures that have room, one each."""
    junk = np.flatnonzero((person < 0) & (rng.random(len(person)) < settings.junk_in_photos))
    taken = np.bincount(image[person >= 0], minlength=len(person))
    rooms = rng.permutation(np.flatnonzero((taken > 0) & (taken < MOST_FACES_IN_A_PICTURE)))[: len(junk)]
    image[junk[: len(rooms)]] = rooms
    return image
