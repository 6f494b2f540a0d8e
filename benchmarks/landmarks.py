"""Five points against truth: members, refiners and the fused points, on the development half of Helen and on LFW photos."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from auto_annotator.ensemble import Ensemble
from auto_annotator.evaluation.landmarks import normalised_errors
from auto_annotator.fusion.boxes import FusionSettings
from auto_annotator.fusion.faces import fuse_faces
from auto_annotator.fusion.landmarks import LandmarkOpinions, fuse_landmarks
from auto_annotator.geometry import box_sides
from benchmarks.common import CACHE, landmarked, load, need, table
from benchmarks.raw import ensemble_without_calibration, looks

FAILURE = 0.10
"""An error above this share of the eye distance is a failure."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Face:
    """The labelled face of one picture: its box and every opinion on its points.

    `opinions`: name of a member or refiner -> (o, 5, 2), one row per view.
    """

    box: np.ndarray
    truth: np.ndarray
    opinions: dict[str, np.ndarray]


def lfw(limit: int) -> tuple[list[Path], np.ndarray]:
    """LFW photos with five points."""
    root = need("lfw")
    rows = json.loads((root / "landmarks.json").read_text())
    rows = [{"file": k, **v} for k, v in rows.items()] if isinstance(rows, dict) else rows
    rows = rows[:limit]
    return [root / "images" / r["file"] for r in rows], np.asarray([r["landmarks5"] for r in rows], float)


def faces_of(ensemble: Ensemble, paths: Sequence[Path], truths: np.ndarray) -> list[Face | None]:
    """The labelled face of every picture with all opinions; None where no member found it."""
    members = [m.name for m in ensemble.members]
    out: list[Face | None] = []
    for path, row, truth in zip(tqdm(paths, disable=None), looks(ensemble, paths), truths, strict=True):
        lists = [look.faces for look in row]
        fused, _, _ = fuse_faces(lists, [look.source for look in row], members, FusionSettings())
        hit = [i for i, b in enumerate(fused.boxes) if (truth.mean(0) > b[:2]).all() and (truth.mean(0) < b[2:]).all()]
        if not hit:
            out.append(None)
            continue
        one = fused.select([hit[0]])
        opinions: dict[str, np.ndarray] = {}
        for member in members:
            seen = [
                f.landmarks[_nearest(f.boxes, one.boxes[0])]
                for k, f in zip(row, lists, strict=True)
                if k.member == member and len(f)
            ]
            opinions[member] = np.asarray(seen, np.float32).reshape(-1, 5, 2)
        cache = CACHE / "refined" / f"{path.stem}.npz"
        if not cache.exists():
            cache.parent.mkdir(parents=True, exist_ok=True)
            image = load(path)
            np.savez(cache, **{n.config.name: n.refiner.refine(image, one) for n in ensemble.refiners})
        with np.load(cache) as data:
            opinions |= {n.config.name: data[n.config.name] for n in ensemble.refiners}
        out.append(Face(box=one.boxes[0], truth=truth, opinions=opinions))
    return out


def _nearest(boxes: np.ndarray, box: np.ndarray) -> int:
    return int(np.abs(boxes - box).sum(1).argmin())


def fused_points(faces: Sequence[Face], weights: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """(n, 5, 2) points fused with the given weights per opinion, and (n,) largest spread as a share of the box side."""
    points, spreads = [], []
    for face in faces:
        opinions = LandmarkOpinions.none(1)
        for name, weight in weights.items():
            for row in face.opinions[name]:
                opinions = opinions.with_opinion(row[None], weight)
        fused, spread = fuse_landmarks(opinions, face.box[None])
        points.append(fused[0])
        spreads.append(float(np.nanmax(spread)) / float(box_sides(face.box[None])[0]) if np.isfinite(spread).any() else np.nan)
    return np.asarray(points), np.asarray(spreads)


def main() -> None:
    """Print one table per set."""
    ensemble = ensemble_without_calibration()
    shipped = {m.name: m.config.landmark_weight for m in ensemble.members}
    shipped |= {n.config.name: n.config.landmark_weight for n in ensemble.refiners}
    systems = {name: {name: 1.0} for name in shipped}
    systems |= {"all, equal weights": dict.fromkeys(shipped, 1.0), "**as shipped**": shipped}
    for name, (paths, truths) in {"Helen": landmarked("helen"), "LFW": lfw(150)}.items():
        everyone = faces_of(ensemble, paths, truths)
        faces = [f for f in everyone if f is not None]
        truth = np.asarray([f.truth for f in faces])
        rows = []
        for system, weights in systems.items():
            points, _ = fused_points(faces, weights)
            raw, moved = normalised_errors(points, truth), normalised_errors(points, truth, remove_translation=True)
            rows.append([system, *(f"{100 * np.nanmean(e):.2f}" for e in (raw, moved)), f"{100 * np.nanmean(moved > FAILURE):.1f}"])
        title = f"Landmarks, {name} development half: {len(faces)} of {len(paths)} faces found"
        print(table(title, ["points of", "NME %", "translation removed", "above 10 %"], rows))


if __name__ == "__main__":
    main()
