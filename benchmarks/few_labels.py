"""How many labelled pictures does `auto-annotator calibrate` need, and is its advice right? Printed as tables.

    python -m benchmarks.few_labels [--draws 16] [--seed 3]

The development half of WIDER FACE stands for everything: a calibration learned from one part of it is the one that the ensemble
has, a new one is learned from a few pictures of another part, and both are judged on a third part. The new task is of the same
kind (pictures of other events), or of another: the half of the pictures with the smaller or with the larger faces, where the
ensemble's calibration comes from the other half.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from auto_annotator.config import load_settings
from auto_annotator.ensemble import Ensemble, build_ensemble
from auto_annotator.evaluation.choices import Choice, choices, recommended
from auto_annotator.evaluation.detection import Matches, corrections, pair
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.learning import cross_validated, folds, fuse_looks, learn
from auto_annotator.evaluation.looks import Cache, Look, looks
from auto_annotator.evaluation.pictures import prepare
from auto_annotator.evaluation.summary import all_counts
from benchmarks.common import machine, table, wider

KINDS = ("the same kind", "smaller faces", "larger faces")
SIZES = (5, 10, 25, 40)
TEST, BASE, HALF = 24, 35, 50
PARTS = 5

HEAD = ("learned from", "as it is", "learned", "learned, its threshold", "only another threshold", "as advised", "advice changes")

Set = tuple[list[list[Look]], list[LabelledPicture]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.few_labels", description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=16, help="draws of pictures (default: 16)")
    parser.add_argument("--seed", type=int, default=3, help="of the draws (default: 3)")
    args = parser.parse_args()
    settings = load_settings(ensemble="embedded")
    ensemble = build_ensemble(settings, calibrated=False)
    shown, labels = prepare([_all_count(p) for p in wider()], settings.max_pixels)
    seen = looks(ensemble, shown, settings, Cache(settings.models.parent / "evaluation"))
    print(f"measured {machine()}")
    for kind in KINDS:
        rows = measure(ensemble, (seen, labels), kind, np.random.default_rng(args.seed), args.draws)
        title = f"A task of {kind}: corrections per 100 faces, more or less than as it is; in brackets the worst draw"
        print(table(title, HEAD, rows), flush=True)


def _all_count(picture: LabelledPicture) -> LabelledPicture:
    """A user's own task knows no levels: the faces of the longest list count in all."""
    return replace(picture, keep=dict.fromkeys(("easy", "medium", "hard"), picture.keep["hard"]))


def measure(ensemble: Ensemble, every: Set, kind: str, rng: np.random.Generator, draws: int) -> Iterator[list[str]]:
    """One row for each number of pictures."""
    found: dict[int, list[list[float]]] = defaultdict(list)
    for _ in range(draws):
        base, pool, test = _split(every[1], kind, rng)
        present = learn(ensemble, *_take(every, base))
        before = _matches(ensemble, present, _take(every, test))
        cost = corrections(before, ensemble.config.threshold).per_100
        for size in [size for size in SIZES if size <= len(pool)]:
            few = _take(every, pool[:size])
            try:
                after = _matches(ensemble, learn(ensemble, *few), _take(every, test))
                listed = _choices(ensemble, present, few)
            except ValueError:  # too poor to learn from
                continue
            worth = {one: corrections(after if one.learned else before, one.threshold).per_100 - cost for one in listed}
            now, moved, learned, both = listed
            best = recommended(listed)
            faces = int(all_counts(few[1], "hard").sum())
            found[size].append([faces, cost, worth[learned], worth[both], worth[moved], worth[best], float(best is not now)])
    for size, rows in found.items():
        mean, worst = np.mean(rows, axis=0), np.max(rows, axis=0)
        gains = [f"{mean[i]:+.1f} ({worst[i]:+.1f})" for i in range(2, 6)]
        yield [f"{size} pictures, {mean[0]:.0f} faces", f"{mean[1]:.1f}", *gains, f"{mean[6]:.0%}"]


def _split(labels: list[LabelledPicture], kind: str, rng: np.random.Generator) -> tuple[list[int], list[int], list[int]]:
    """Rows that the present calibration is learned from, those of the new task to learn from, and those to judge on."""
    if kind == KINDS[0]:
        events = rng.permutation(sorted({p.event for p in labels})).tolist()
        order = [row for event in events for row, p in enumerate(labels) if p.event == event]
        base, own = order[:BASE], order[BASE:]
    else:
        heights = np.argsort([np.median(p.boxes[:, 3] - p.boxes[:, 1]) for p in labels])
        own = (heights[:HALF] if kind == KINDS[1] else heights[-HALF:]).tolist()
        base = sorted(set(range(len(labels))) - set(own))
    own = rng.permutation(own).tolist()
    return base, own[:-TEST], own[-TEST:]


def _take(every: Set, rows: list[int]) -> Set:
    return [every[0][i] for i in rows], [every[1][i] for i in rows]


def _matches(ensemble: Ensemble, calibration: object, some: Set) -> Matches:
    faces = [fuse_looks(ensemble, calibration, row, p).faces for row, p in zip(*some, strict=True)]
    return pair(faces, [p.boxes for p in some[1]]).matches(all_counts(some[1], "hard"))


def _choices(ensemble: Ensemble, present: object, few: Set) -> list[Choice]:
    fused, _ = cross_validated(ensemble, *few, count=PARTS)
    now = [fuse_looks(ensemble, present, row, p).faces for row, p in zip(*few, strict=True)]
    return choices(now, [f.faces for f in fused], few[1], folds(few[1], PARTS), ensemble.config.threshold)


if __name__ == "__main__":
    main()
