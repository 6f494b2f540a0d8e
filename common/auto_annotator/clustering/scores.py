"""What cosines mean in a set of vectors: where strangers lie, and from where on two faces are one person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.clustering.exact import Grid, cosines
from auto_annotator.clustering.neighbours import NeighbourLists
from auto_annotator.clustering.settings import ClusteringSettings

RANDOM_PAIRS = 400_000
"""Enough for a spread of strangers that is right to half a percent."""

FEW_PAIRS = 500
"""Below it the set cannot say how strangers look; `SMALL_SET` is used."""

FEWEST_FACES = 8
"""Fewer say nothing at all of how strangers look."""

FACES_TO_JUDGE = 200
"""From so many faces on a set may cast doubt on the threshold of the recogniser."""

FEW_JOINED = 60
"""Below so many joined pairs the first clustering cannot say how alike one person's photos are."""

SMALL_SET = (0.0, 0.1)
"""Centre and sigma of strangers' cosines of common recognisers (MobileFaceNet, ArcFace and SFace on LFW: 0.01, 0.10)."""

PAIRS_PER_FACE = 8
"""Of each face so many pairs count, or people with many photos would speak for all."""

SAMPLED_FACES = 100_000
"""So many faces say how alike one person's photos are; more would only cost memory."""

DIFFERS_SIGMAS = 1.5
"""A shipped threshold this far from that of the data is worth a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreModel:
    """What a cosine says about two faces.

    Cosines of strangers follow a Beta distribution over -1..1, as those of random directions do, whose centre and spread are
    taken from the set. Its tail is what tells strangers from one person: "z sigmas" below means the cosine that strangers pass as
    seldom as a normal variable passes z. A recogniser whose vectors share a common part (dlib's: strangers at 0.83) is skewed,
    and the Beta distribution with it; a normal tail would end above 1.

    Attributes:
        centre: the usual cosine of two strangers.
        sigma: spread of the cosines of strangers.
        threshold: cosine at which a link has probability 1/2.
        width: width of the logistic link.
        warning: a sentence, or empty.
    """

    centre: float
    sigma: float
    threshold: float
    width: float
    warning: str = ""

    def link(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probability of a link by cosine, 0..1."""
        with np.errstate(over="ignore"):  # of recognisers that tell everybody apart: 1 / (1 + inf) is the 0 that is meant
            return np.asarray(1 / (1 + np.exp((self.threshold - scores) / self.width)), np.float32)

    @property
    def floor(self) -> float:
        """Cosine below which a link is too weak to be stored (probability below 0.7 %)."""
        return self.threshold - 5 * self.width

    def above(self, sigmas: float) -> float:
        """The cosine that lies so many sigmas above that of strangers."""
        return beta_quantile(self.centre, self.sigma, sigmas)

    def stretched(self, similarity: float) -> float:
        """The cosine at a place between strangers (0) and equal vectors (1)."""
        return self.centre + similarity * (1 - self.centre)


def beta_quantile(centre: float, sigma: float, z: float) -> float:
    """Cosine that strangers of such centre and spread pass as seldom as a normal variable passes z."""
    from scipy.stats import beta, norm

    mean, variance = (centre + 1) / 2, (sigma / 2) ** 2
    total = max(mean * (1 - mean) / variance - 1, 2.0)  # effective dimensions; below 2 the density has no peak
    return float(2 * beta.isf(norm.sf(z), mean * total, (1 - mean) * total) - 1)


def fit_scores(grid: Grid, settings: ClusteringSettings, *, threshold: float | None) -> ScoreModel:
    """Look at random pairs of faces, almost all of whom are strangers.

    The spread is the smaller of the two sides of the median: pairs of one person only ever widen the upper side, and a skewed
    recogniser widens the lower one.

    Args:
        grid: the vectors in content order.
        settings: how far above strangers a link begins.
        threshold: the calibrated cosine of the recogniser, which goes before that of the data; None = none known.
    """
    centre, sigma = _strangers(grid)
    found = beta_quantile(centre, sigma, settings.link_sigmas)
    if (
        len(grid) * (len(grid) - 1) // 2 < FEW_PAIRS
    ):  # the few pairs may be of one person, or say too little: the stricter of two guesses
        found = max(found, beta_quantile(*SMALL_SET, settings.link_sigmas))
    warning = ""
    if threshold is not None:
        if (
            len(grid) >= FACES_TO_JUDGE
            and abs(found - threshold) > beta_quantile(centre, sigma, settings.link_sigmas + DIFFERS_SIGMAS) - found
        ):
            warning = (
                f"threshold: the recogniser's is {threshold:.3f}, but these faces suggest {found:.3f};"
                " are they unlike the faces it was calibrated on?"
            )
        found = threshold
    return _with_threshold(centre, found, settings, warning)


def _strangers(grid: Grid) -> tuple[float, float]:
    """Median and spread of cosines of random pairs; the spread is the smaller of its two sides."""
    n = len(grid)
    if n < FEWEST_FACES:
        return SMALL_SET
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, n, RANDOM_PAIRS), rng.integers(0, n - 1, RANDOM_PAIRS)
    second += second >= first
    low, centre, high = (float(q) for q in np.quantile(cosines(grid, first, second), (0.1587, 0.5, 0.8413)))
    return centre, max(min(centre - low, high - centre), 1e-3)


def _with_threshold(centre: float, threshold: float, settings: ClusteringSettings, warning: str) -> ScoreModel:
    """The model in which a threshold lies `link_sigmas` above strangers, so that all other limits move with it."""
    sigma = _sigma_of(centre, threshold, settings.link_sigmas)
    step = beta_quantile(centre, sigma, settings.link_sigmas + 0.5) - beta_quantile(centre, sigma, settings.link_sigmas - 0.5)
    return ScoreModel(centre=centre, sigma=sigma, threshold=threshold, width=settings.link_width * step, warning=warning)


def raise_threshold(
    model: ScoreModel, lists: NeighbourLists, labels: npt.NDArray[np.int64], settings: ClusteringSettings
) -> ScoreModel:
    """Look at the pairs that a first clustering joined, and link only where such pairs usually lie.

    Strangers in general say nothing of relatives, twins and look-alikes, whose cosines lie far above theirs. Where the photos of
    one person are much more alike than strangers, the threshold can rise and keep those apart, and loses few true links. Centre and
    spread of the joined pairs are taken from their upper half, which wrong joins do not reach.

    Args:
        model: of strangers.
        lists: neighbours.
        labels: (n,) the first clustering.
        settings: `member_sigmas`.
    """
    scores = _joined_scores(lists, labels)
    if len(scores) < FEW_JOINED:
        return model
    middle, high = (float(q) for q in np.quantile(scores, (0.5, 0.8413)))
    threshold = middle - settings.member_sigmas * (high - middle)
    if threshold <= model.threshold:
        return model
    return _with_threshold(model.centre, threshold, settings, model.warning)


def _joined_scores(lists: NeighbourLists, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Cosines of up to `PAIRS_PER_FACE` joined neighbours of each face of a sample, evenly taken from its list."""
    step = max(1, len(lists) // SAMPLED_FACES)  # faces are in content order: any regular choice is a random one
    sampled = np.arange(0, len(lists), step)
    counts = np.diff(lists.starts)[sampled]
    entries = np.repeat(lists.starts[sampled] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) + np.arange(counts.sum())
    faces = np.repeat(np.arange(len(sampled)), counts)
    joined = labels[sampled][faces] == labels[lists.rows[entries]]
    entries, faces = entries[joined], faces[joined]
    ends = np.searchsorted(faces, np.arange(len(sampled) + 1))
    found = np.diff(ends)
    having = np.flatnonzero(found)
    picks = ends[having, None] + (np.arange(PAIRS_PER_FACE) * found[having, None]) // PAIRS_PER_FACE
    return np.asarray(lists.scores[entries[np.unique(picks)]], np.float32)


def _sigma_of(centre: float, threshold: float, z: float) -> float:
    """The spread with which a threshold lies z sigmas above strangers."""
    low, high = 1e-4, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if beta_quantile(centre, middle, z) < threshold else (low, middle)
    return (low + high) / 2
