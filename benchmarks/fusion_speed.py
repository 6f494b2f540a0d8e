"""Speed of the fusion core: ours against ensemble-boxes, rule by rule, and 10,000 faces in one picture.

Each figure is the best of several runs on one core; the two sides take turns, so that a busy machine slows both.
"""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Callable, Sequence

import numpy as np

from auto_annotator.fusion.boxes import FusionSettings, Source, fuse_boxes
from auto_annotator.fusion.faces import fuse_faces
from auto_annotator.types import Faces

MEMBERS, FACES = 9, 1_000
ROUNDS = 5
OUR_RUNS, THEIR_RUNS = 4, 1
RULES = ("wbf", "nmw", "nms", "soft_nms")
POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


def crowd(rng: np.random.Generator, *, faces: int = FACES, members: int = MEMBERS, size: float = 1.0) -> list[Faces]:
    """Faces of one picture of `size` x `size`, seen by every member with jitter; one box in ten is clutter instead.

    The faces share the picture area as 1,000 faces of 1 to 3 % of the picture's side do, whatever their number.
    """
    low, high = np.array([0.01, 0.03]) * np.sqrt(FACES / faces)
    middle, side = rng.uniform(0.03, 0.97, (faces, 2)), rng.uniform(low, high, faces)
    true = np.c_[middle - side[:, None] / 2, middle + side[:, None] / 2]
    lists = []
    for _ in range(members):
        boxes = true + rng.normal(0, 0.06, (faces, 4)) * side[:, None]
        lost = rng.choice(faces, faces // 10, replace=False)
        elsewhere, other = rng.uniform(0.03, 0.97, (len(lost), 2)), rng.uniform(low, high, len(lost))
        boxes[lost] = np.c_[elsewhere - other[:, None] / 2, elsewhere + other[:, None] / 2]
        boxes = np.clip(boxes, 0, 1) * size
        points = boxes[:, None, :2] + POINTS * (boxes[:, None, 2:] - boxes[:, None, :2])
        lists.append(Faces.of(boxes, rng.uniform(0.02, 1, faces), points))
    return lists


def scatter(rng: np.random.Generator, *, boxes: int = FACES, members: int = MEMBERS) -> list[Faces]:
    """Boxes with sides of 1 to 10 % anywhere in the unit square: 27 layers of boxes that have nothing to do with each other."""
    lists = []
    for _ in range(members):
        corner, side = rng.uniform(0, 0.9, (boxes, 2)), rng.uniform(0.01, 0.1, (boxes, 2))
        lists.append(Faces.of(np.c_[corner, corner + side], rng.uniform(0.02, 1, boxes)))
    return lists


def ours(lists: Sequence[Faces], rule: str, *, as_published: bool = False) -> Callable[[], object]:
    """The fusion of the lists by our core, with the settings of the product or with those of the published algorithm."""
    settings = FusionSettings(rule=rule, one_per_source=not as_published)  # type: ignore[arg-type]
    sources = [Source(member=number) for number in range(len(lists))]
    return lambda: fuse_boxes(lists, sources, settings)


def theirs(lists: Sequence[Faces], rule: str) -> Callable[[], object]:
    """The fusion of the lists by ensemble-boxes."""
    import ensemble_boxes

    boxes, scores = [faces.boxes.astype(float) for faces in lists], [faces.scores.astype(float) for faces in lists]
    labels = [np.zeros(len(faces)) for faces in lists]
    function = {
        "wbf": ensemble_boxes.weighted_boxes_fusion,
        "nmw": ensemble_boxes.non_maximum_weighted,
        "nms": ensemble_boxes.nms,
        "soft_nms": ensemble_boxes.soft_nms,
    }[rule]
    return lambda: function(boxes, scores, labels, iou_thr=0.5)


def best_seconds(*functions: tuple[Callable[[], object], int], rounds: int = ROUNDS) -> list[float]:
    """Shortest time of each function; they take turns, each called its number of times per round."""
    best = [np.inf] * len(functions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ensemble-boxes warns of every clipped box
        for _ in range(rounds):
            for place, (function, times) in enumerate(functions):
                for _ in range(times):
                    start = time.perf_counter()
                    function()
                    best[place] = min(best[place], time.perf_counter() - start)
    return best


def ten_thousand() -> tuple[float, float]:
    """Seconds and peak megabytes of new memory of fusing 10,000 faces with landmarks, seen by nine members."""
    lists = crowd(np.random.default_rng(1), faces=10_000, size=10_000.0)
    sources = [Source(member=number) for number in range(len(lists))]
    members = [f"member{number}" for number in range(len(lists))]

    def fuse() -> object:
        return fuse_faces(lists, sources, members, FusionSettings())

    (seconds,) = best_seconds((fuse, 1), rounds=3)
    tracemalloc.start()
    fuse()
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return seconds, peak


def main() -> None:
    """Print the table."""
    print(f"{MEMBERS} lists of {FACES} boxes, one core, best of {ROUNDS} rounds, in milliseconds")
    print(f"{'boxes':10}{'rule':10}{'ours':>8}{'equal settings':>16}{'ensemble-boxes':>16}{'ratio':>8}{'equal':>8}")
    for name, lists in (("crowd", crowd(np.random.default_rng(0))), ("scatter", scatter(np.random.default_rng(0)))):
        for rule in RULES:
            rounds = 1 if rule == "nmw" else ROUNDS  # theirs takes many seconds
            mine, equal, other = best_seconds(
                (ours(lists, rule), OUR_RUNS),
                (ours(lists, rule, as_published=True), OUR_RUNS),
                (theirs(lists, rule), THEIR_RUNS),
                rounds=rounds,
            )
            times = f"{mine * 1e3:8.1f}{equal * 1e3:16.1f}{other * 1e3:16.1f}"
            print(f"{name:10}{rule:10}{times}{other / mine:8.1f}{other / equal:8.1f}")
    seconds, peak = ten_thousand()
    print(f"10,000 faces with landmarks in one picture, seen by {MEMBERS} members: {seconds:.2f} s, {peak:.0f} MB")


if __name__ == "__main__":
    main()
