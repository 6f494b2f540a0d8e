"""Points of the plots: precision over recall, share of hits over score."""

from __future__ import annotations

import numpy as np

from auto_annotator.evaluation.detection import Matches, precision_recall, reliability_bins

POINTS = 200


def sampled_curve(matches: Matches, *, points: int = POINTS) -> list[list[float]]:
    """At most `points` of (recall, precision), evenly spread over recall, precision interpolated as AP does."""
    if not matches.faces or not len(matches.scores):
        return []
    precision, recall, _ = precision_recall(matches)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    wanted = np.linspace(0, recall[-1], points)
    at = np.unique(np.searchsorted(recall, wanted).clip(0, len(recall) - 1))
    return [[round(float(recall[i]), 4), round(float(envelope[i]), 4)] for i in at]


def reliability(matches: Matches, *, floor: float = 0.1, bins: int = 20) -> list[list[float]]:
    """(mean score, share of hits, how many boxes) of each bin of scores that is not empty."""
    bin_of, kept = reliability_bins(matches, floor=floor, bins=bins)
    scores, hits = matches.scores[kept], matches.hits[kept]
    out = []
    for number in np.unique(bin_of):
        part = bin_of == number
        out.append([round(float(scores[part].mean()), 4), round(float(hits[part].mean()), 4), float(part.sum())])
    return out
