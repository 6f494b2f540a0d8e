"""Fit the calibration of an ensemble on the development data and write it beside the ensemble file.

    python -m benchmarks.calibrate embedded

Isotonic curves: one per member and view (raw score -> share of hits), then one for the fused score.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from auto_annotator.config import ensemble_path
from auto_annotator.evaluation.detection import match
from auto_annotator.fusion.boxes import FusionSettings
from auto_annotator.fusion.calibration import Curve, fit_isotonic
from benchmarks.common import LabelledPicture, digest, wider
from benchmarks.raw import Curves, Look, ensemble_without_calibration, fuse, looks

LEVEL = "hard"
"""The list of faces that counts: hard holds nearly all of them."""


def curve_of(scores: np.ndarray, hits: np.ndarray) -> Curve:
    """Isotonic curve, with half a miss added at the top: no finite number of hits shows that a score is never wrong."""
    top = float(scores.max(initial=0.0))
    weights = np.append(np.ones(len(scores)), 0.5)
    return fit_isotonic(np.append(scores, top), np.append(hits.astype(float), 0.0), weights)


def fit(
    pictures: Sequence[LabelledPicture], seen: Sequence[Sequence[Look]], members: Sequence[str], settings: FusionSettings
) -> tuple[Curves, Curve]:
    """The curves of all members and views, and the one of the fused score."""
    truths = [p.truth(LEVEL) for p in pictures]
    by_view: dict[tuple[str, str], list[int]] = defaultdict(list)
    for row in seen:
        for number, look in enumerate(row):
            by_view[look.member, look.view].append(number)
    curves: Curves = defaultdict(dict)
    for member, view in by_view:
        rows = [
            (look.faces, truth)
            for row, truth in zip(seen, truths, strict=True)
            for look in row
            if (look.member, look.view) == (member, view)
        ]
        judged = match([faces for faces, _ in rows], [truth for _, truth in rows])
        curves[member][view] = curve_of(judged.scores, judged.hits)
    fused = match([fuse(row, members, settings, curves, None) for row in seen], truths)
    return dict(curves), curve_of(fused.scores, fused.hits)


def main() -> None:
    """Fit and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ensemble", nargs="?", default="embedded")
    name = parser.parse_args().ensemble
    ensemble = ensemble_without_calibration(name)
    pictures = wider()
    paths = [p.path for p in pictures]
    config = ensemble.config.fusion
    settings = FusionSettings(rule=config.rule, iou=config.iou, min_votes=1)
    curves, final = fit(pictures, looks(ensemble, paths), [m.name for m in ensemble.members], settings)

    def knots(curve: Curve) -> dict[str, list[float]]:
        return {"x": np.round(np.asarray(curve.x, float), 5).tolist(), "y": np.round(np.asarray(curve.y, float), 5).tolist()}

    data = {
        "about": "score -> share of true faces (IoU 0.5), isotonic; members: raw score by member and view; final: fused score",
        "command": f"python -m benchmarks.calibrate {name}",
        "data": "wider_val_subset, development half, hard list",
        "data_sha256": digest([*paths, paths[0].parents[1] / "annotations.json"]),
        "members": {m: {v: knots(c) for v, c in views.items()} for m, views in curves.items()},
        "final": knots(final),
    }
    path = ensemble_path(name).with_name(f"{name}.calibration.json")
    text = re.sub(r"\[[^][]*\]", lambda m: " ".join(m[0].split()), json.dumps(data, indent=1))  # a curve's knots on one line
    path.write_text(text + "\n")
    print(f"wrote {path.name}: {sum(len(v) for v in curves.values())} curves; set `calibration: {path.name}` in the ensemble file")


if __name__ == "__main__":
    main()
