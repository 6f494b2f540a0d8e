"""Small sets of vectors with known people, for tests of the clustering."""

from __future__ import annotations

import numpy as np


def people(counts, *, seed=0, dimension=64, noise=0.45):
    """Unit vectors of so many faces per person, and who each is."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(len(counts)), counts)
    centres = rng.normal(size=(len(counts), dimension))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    own = rng.normal(size=(len(who), dimension)) / np.sqrt(dimension)
    vectors = centres[who] + noise * own
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), who


def same_partition(a, b):
    """Whether two labelings group the faces alike; each -1 is a group of its own."""
    a, b = (np.where(np.asarray(x) < 0, -1 - np.arange(len(x)), x) for x in (a, b))
    _, a = np.unique(a, return_inverse=True)
    _, b = np.unique(b, return_inverse=True)
    pairs = np.unique(np.stack([a, b]), axis=1)
    return pairs.shape[1] == a.max(initial=-1) + 1 == b.max(initial=-1) + 1
