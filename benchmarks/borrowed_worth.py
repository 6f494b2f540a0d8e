"""What a borrowed calibration is worth, where both siblings are at hand: `python -m benchmarks.borrowed_worth`.

Pairs of ensembles whose members are siblings of each other. Each is fused with raw scores, with the calibration of its twin, and
with its own; all are fitted to other events of the development data than they are judged on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import yaml

from auto_annotator.calibration import Calibration
from auto_annotator.config import load_settings
from auto_annotator.ensemble import Ensemble, build_ensemble
from auto_annotator.evaluation.comparison import best_threshold
from auto_annotator.evaluation.detection import pair
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.learning import folds, fuse_looks, learn
from auto_annotator.evaluation.looks import Cache, Look, looks
from auto_annotator.evaluation.pictures import Prepared, prepare
from auto_annotator.evaluation.readers import read_labelled
from auto_annotator.evaluation.summary import all_counts, summary
from auto_annotator.types import Faces
from benchmarks.borrowed_calibration import DATA_SET, MODELS, SIBLINGS, learn_nameless
from benchmarks.common import CACHE, need, table

FOLDS = 5
RAW, CALIBRATED = 0.3, 0.8
"""Thresholds that an ensemble ships with: of raw scores, and of calibrated ones."""


def member(name: str, use: str, weights: str, size: int, *, flip: bool = True) -> dict[str, Any]:
    """An entry of an ensemble file with one size."""
    views = [{"size": size, "min_face": 8}, {"size": size, "flip": True, "min_face": 8}][: 1 + flip]
    return {"name": name, "use": f"auto_annotator.detectors.{use}", "weights": weights, "views": views}


def ensembles() -> dict[str, tuple[list[dict[str, Any]], dict[str, str]]]:
    """Name -> members, and for each member its twin in the ensemble that it borrows from."""
    scrfd = {
        "scrfd-500m": member("scrfd-500m", "scrfd:SCRFD", str(MODELS / "det_500m.onnx"), 640),
        "scrfd-2.5g": member("scrfd-2.5g", "scrfd:SCRFD", str(MODELS / "scrfd_2.5g_bnkps.onnx"), 640),
    }
    yunet = {
        "yunet": member("yunet", "yunet:YuNet", "yunet-2023mar", 1280),
        "yunet-n": member("yunet-n", "yunet:YuNet", str(MODELS / "yunet_n_dynamic.onnx"), 1280),
    }
    others = [
        member("retinaface", "retinaface:RetinaFace", str(SIBLINGS["retinaface-r50"].path()), 1024),
        member("yolov8-lite-t", "yolo_face:YoloV8Face", str(MODELS / "yolov8-lite-t.onnx"), 640),
        member("centerface", "centerface:CenterFace", "centerface", 1024, flip=False),
    ]
    out = {}
    for first, second, twins in (
        ("scrfd-500m", "yunet", ("scrfd-2.5g", "yunet-n")),
        ("scrfd-2.5g", "yunet-n", ("scrfd-500m", "yunet")),
    ):
        borrows = dict(zip((first, second), twins, strict=True))
        pair_ = [scrfd[first], yunet[second]]
        out[f"{first}, {second}"] = pair_, borrows
        out[f"{first}, {second} and three"] = [*pair_, *others], borrows | {m["name"]: m["name"] for m in others}
    return out


def build(
    name: str, members: Sequence[Mapping[str, Any]], shown: Sequence[Prepared], cache: Cache
) -> tuple[Ensemble, list[list[Look]]]:
    """The ensemble without a calibration, and its looks at all pictures."""
    path = CACHE / "worth.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({"name": name, "members": list(members), "threshold": CALIBRATED}))
    settings = load_settings(ensemble=str(path), threads=1)
    ensemble = build_ensemble(settings, calibrated=False)
    return ensemble, looks(ensemble, shown, settings, cache)


def with_rule(ensemble: Ensemble, rule: str) -> Ensemble:
    """The same ensemble, fused by another rule."""
    fusion = ensemble.config.fusion.model_copy(update={"rule": rule})
    return replace(ensemble, config=ensemble.config.model_copy(update={"fusion": fusion}))


def judged(
    ensemble: Ensemble, seen: Sequence[Sequence[Look]], pictures: Sequence[LabelledPicture], calibrations: Any
) -> list[Faces]:
    """Faces of every picture, each with the calibration of its part."""
    out: list[Faces | None] = [None] * len(pictures)
    for held, calibration in calibrations:
        for i in held.tolist():
            out[i] = fuse_looks(ensemble, calibration, seen[i], pictures[i]).faces
    return [faces for faces in out if faces is not None]


def row(name: str, how: str, faces: Sequence[Faces], pictures: Sequence[LabelledPicture], threshold: float) -> list[object]:
    """A row of the table."""
    found = summary(faces, pictures, threshold)
    medium = pair(faces, [p.boxes for p in pictures]).matches(all_counts(pictures, "medium"))
    best = best_threshold(medium)[1]
    ap = (found.ap["medium"], found.ap["hard"], found.ap_tight["medium"])
    return [name, f"{how}, {threshold:g}", *ap, f"{found.c100():.1f}", f"{best:.1f}", found.ece]


def main() -> None:
    """Print the table."""
    settings = load_settings(threads=1)
    shown, pictures = prepare(read_labelled(need(DATA_SET)), settings.max_pixels)
    cache = Cache(settings.models.parent / "evaluation")
    built = {name: build(name, members, shown, cache) for name, (members, _) in ensembles().items()}
    parts = folds(pictures, FOLDS)
    rows = []
    for name, (_, borrows) in ensembles().items():
        ensemble, seen = built[name]
        twin, twin_seen = next(
            b for other, b in built.items() if other != name and {m.name for m in b[0].members} == set(borrows.values())
        )
        own, borrowed = [], []
        for held in parts:
            rest = np.setdiff1d(np.arange(len(pictures)), held).tolist()
            labels = [pictures[i] for i in rest]
            own.append((held, learn(with_rule(ensemble, "stack"), [seen[i] for i in rest], labels)))
            lent = learn_nameless(twin, [twin_seen[i] for i in rest], labels)
            borrowed.append((held, replace(lent, views={mine: lent.views[of] for mine, of in borrows.items()})))
        raw = judged(with_rule(ensemble, "wbf"), seen, pictures, [(held, Calibration()) for held in parts])
        rows.append(row(name, "raw, WBF", raw, pictures, RAW))
        for how, fitted in (("borrowed", borrowed), ("own", own)):
            rows.append(row(name, how, judged(with_rule(ensemble, "stack"), seen, pictures, fitted), pictures, CALIBRATED))
    header = ["ensemble", "scores, threshold", "AP medium", "AP hard", "medium, IoU 0.7", "C100 medium", "at the best one", "D-ECE"]
    print(table("Borrowed calibrations, cross-validated over events", header, rows))


if __name__ == "__main__":
    main()
