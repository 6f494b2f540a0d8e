"""Which clusters must stay apart: cannot-links between them, and pictures in which they meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.constraints import Links
from auto_annotator.clustering.potts import Labels

Pairs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Guards:
    """Cannot-links and pictures of all faces, in content order."""

    cannot: Pairs
    images: npt.NDArray[np.int64]

    @classmethod
    def of(cls, links: Links, images: npt.NDArray[np.int64]) -> Guards:
        """From constraints without contradictions."""
        return cls(cannot=links.cannot, images=images)

    def forbidden(self, labels: Labels) -> set[tuple[int, int]]:
        """Pairs of clusters, smaller number first, between which a cannot-link lies."""
        pairs = np.sort(labels[self.cannot], axis=1)
        return set(map(tuple, pairs[pairs[:, 0] >= 0].tolist()))

    def incidence(self, labels: Labels) -> Any:
        """(k, pictures) sparse matrix: 1 where a cluster has a face in a picture."""
        import scipy.sparse as sparse

        inside = (labels >= 0) & (self.images >= 0)
        _, picture = np.unique(self.images[inside], return_inverse=True)
        shape = (int(labels.max(initial=-1)) + 1, int(picture.max(initial=-1)) + 1)
        matrix = sparse.csr_matrix((np.ones(inside.sum()), (labels[inside], picture)), shape=shape)
        matrix.data[:] = 1
        return matrix

    def shared(self, labels: Labels) -> Callable[[Pairs], npt.NDArray[np.float64]]:
        """Pairs of clusters -> pictures in which both have a face, as a share of the faces of the smaller one."""
        matrix = self.incidence(labels)
        sizes = np.bincount(labels[labels >= 0], minlength=matrix.shape[0])

        def share(pairs: Pairs) -> npt.NDArray[np.float64]:
            if not matrix.shape[1]:
                return np.zeros(len(pairs))
            common = np.asarray(matrix[pairs[:, 0]].multiply(matrix[pairs[:, 1]]).sum(axis=1)).reshape(-1)
            return np.asarray(common / sizes[pairs].min(axis=1))

        return share

    def blocked(self, labels: Labels, shared_images: float) -> Callable[[Pairs], npt.NDArray[np.bool_]]:
        """Pairs of clusters -> whether they must stay apart."""
        forbidden, share = self.forbidden(labels), self.shared(labels)

        def block(pairs: Pairs) -> npt.NDArray[np.bool_]:
            apart = share(pairs) > shared_images
            if forbidden:
                apart |= np.array([tuple(p) in forbidden for p in pairs.tolist()], np.bool_)
            return np.asarray(apart, np.bool_)

        return block
