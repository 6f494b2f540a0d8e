"""What faces of one picture say about each other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.constraints import image_pairs
from auto_annotator.clustering.exact import Grid, cosines
from auto_annotator.clustering.merging import Pairs, unique_pairs
from auto_annotator.clustering.nearest import Listed
from auto_annotator.clustering.scores import ScoreModel
from auto_annotator.clustering.settings import ClusteringSettings

CROWD = 256
"""A picture with more faces has too many pairs to look at all of them (5,000 faces: 12 million); only neighbours count."""


def same_picture(images: npt.NDArray[np.int64], rows: npt.NDArray[np.intp], listed: Listed) -> Pairs:
    """Pairs of faces of one picture; of the faces of a crowd, those of which one is a neighbour of the other.

    Args:
        images: (n,) picture of each face, -1 = unknown.
        rows: the faces to look at.
        listed: faces whose neighbours are known.
    """
    _, number, counts = np.unique(images, return_inverse=True, return_counts=True)
    crowd = (counts[number.reshape(-1)] > CROWD) & (images >= 0)
    pairs = rows[image_pairs(np.where(crowd, -1, images), rows)]
    faces = np.flatnonzero(crowd[listed.faces])
    if not len(faces):
        return pairs
    starts = listed.lists.starts
    close = [np.zeros((0, 2), np.int64)]
    for face in faces.tolist():
        near = listed.faces[listed.lists.rows[starts[face] : starts[face + 1]]]
        near = near[images[near] == images[listed.faces[face]]]
        close.append(np.stack([np.full(len(near), listed.faces[face]), near], axis=1))
    return np.concatenate([pairs, unique_pairs(np.concatenate(close))])


def without_mirrors(
    images: npt.NDArray[np.int64],
    grid: Grid,
    quality: npt.NDArray[np.float32],
    model: ScoreModel,
    settings: ClusteringSettings,
    listed: Listed,
) -> npt.NDArray[np.int64]:
    """Pictures of the faces, where the poorer of two that are all too alike to be two people of one picture has none (-1).

    They are a mirror image, a picture in the picture, or one face that the detector boxed twice.
    """
    pairs = same_picture(images, np.arange(len(images)), listed)
    alike = cosines(grid, pairs[:, 0], pairs[:, 1]) >= model.stretched(settings.mirror_similarity)
    first, second = pairs[alike].T
    images = images.copy()
    images[np.where(quality[first] < quality[second], first, second)] = -1
    return images
