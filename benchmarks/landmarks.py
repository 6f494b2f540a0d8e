"""Five points against truth: members, refiners and the fused points, on the development halves of Helen, LFW and AFLW.

`AUTO_ANNOTATOR_ENSEMBLE` names the ensemble. A first run looks at every picture with every member and keeps the answers.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from tqdm import tqdm

from auto_annotator.config import load_settings
from auto_annotator.ensemble import Ensemble
from auto_annotator.fusion.boxes import FusionSettings
from auto_annotator.fusion.faces import fuse_faces
from auto_annotator.fusion.landmarks import LandmarkOpinions, fuse_landmarks
from auto_annotator.geometry import box_sides
from auto_annotator.pipeline.refining import better_known
from auto_annotator.types import Faces
from benchmarks.common import CACHE, landmarked, load, need, table
from benchmarks.raw import ensemble_without_calibration, looks

FAILURE = 0.10
"""An error above this share of the eye distance is a failure."""

WORST = 0.2
"""Share of the faces, those with the largest spread, among which failures are looked for."""

AFLW_STEP, AFLW_ENLARGE, AFLW_PAD = 5, 3, 80
"""Every fifth crop is taken, enlarged and surrounded by black pixels: detectors find no face that fills the picture."""

SCORE = 0.1
"""Fused faces with a lower score are not looked at, like the ensembles' own thresholds in effect."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Face:
    """The labelled face of one picture: its box and every opinion on its points.

    `opinions`: name of a member or refiner -> (o, 5, 2), one row per view.
    """

    box: np.ndarray
    truth: np.ndarray
    opinions: dict[str, np.ndarray]


def lfw(limit: int) -> tuple[list[Path], np.ndarray]:
    """LFW photos with five points, evenly chosen."""
    root = need("lfw")
    rows = json.loads((root / "landmarks.json").read_text())
    rows = [{"file": k, **v} for k, v in rows.items()] if isinstance(rows, dict) else rows
    rows = rows[:: max(1, len(rows) // limit)][:limit]
    return [root / "images" / r["file"] for r in rows], np.asarray([r["landmarks5"] for r in rows], float)


def aflw() -> tuple[list[Path], np.ndarray]:
    """AFLW crops of 80 pixels, enlarged and padded; the pictures lie in the cache, for the owner only."""
    import cv2

    paths, truth = landmarked("aflw_crops")
    folder = CACHE / "aflw"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = []
    for path in paths[::AFLW_STEP]:
        target = folder / f"{path.stem}-{AFLW_ENLARGE}-{AFLW_PAD}.png"
        if not target.exists():
            crop = cv2.resize(cv2.imread(str(path)), None, fx=AFLW_ENLARGE, fy=AFLW_ENLARGE, interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(target), cv2.copyMakeBorder(crop, *[AFLW_PAD] * 4, cv2.BORDER_CONSTANT))
            target.chmod(0o600)
        made.append(target)
    return made, truth[::AFLW_STEP] * AFLW_ENLARGE + AFLW_PAD


SETS: dict[str, Callable[[], tuple[list[Path], np.ndarray]]] = {
    "Helen": lambda: landmarked("helen"),
    "LFW": lambda: lfw(170),
    "AFLW": aflw,
}


def errors_by_eyes(points: np.ndarray, truth: np.ndarray, *, remove_translation: bool) -> np.ndarray:
    """(n,) NME by the eye distance, for profiles too, as published figures have it; with one shift of the whole set taken off."""
    offsets = (points - truth) / np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)[:, None, None]
    if remove_translation:
        offsets = offsets - np.nanmean(offsets, axis=(0, 1))
    return np.linalg.norm(offsets, axis=2).mean(axis=1)


def faces_of(ensemble: Ensemble, paths: Sequence[Path], truths: np.ndarray) -> list[Face | None]:
    """The labelled face of every picture with all opinions; None where no member found it."""
    members = [m.name for m in ensemble.members]
    says = {m.name: m.config.landmark_weight for m in ensemble.members}
    out: list[Face | None] = []
    for path, row, truth in zip(tqdm(paths, disable=None), looks(ensemble, paths), truths, strict=True):
        lists = [look.faces for look in row]
        fused, _, _ = fuse_faces(lists, [k.source for k in row], members, FusionSettings(), [says[k.member] for k in row])
        middle = truth.mean(0)
        inside = (fused.boxes[:, :2] < middle).all(axis=1) & (middle < fused.boxes[:, 2:]).all(axis=1)
        hit = np.flatnonzero(inside & (fused.scores >= SCORE))
        if not len(hit):
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
        out.append(Face(box=one.boxes[0], truth=truth, opinions=opinions | _refined(ensemble, path, one)))
    return out


def _refined(ensemble: Ensemble, path: Path, face: Faces) -> dict[str, np.ndarray]:
    """What each refiner says, each after the ones before it, as in the pipeline; kept on disk."""
    recipe = json.dumps([n.config.model_dump(mode="json") for n in ensemble.refiners]).encode()
    key = hashlib.sha256(recipe + face.boxes.tobytes() + face.landmarks.tobytes()).hexdigest()[:12]
    cache = CACHE / "refined" / f"{path.stem}-{key}.npz"
    if not cache.exists():
        cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        image, columns = load(path), {}
        for named in ensemble.refiners:
            start = time.perf_counter()
            columns[named.config.name] = named.refiner.refine(image, face)
            columns[f"seconds/{named.config.name}"] = np.array(time.perf_counter() - start)
            face = better_known(face, columns[named.config.name])
        np.savez(cache, **columns)
    with np.load(cache) as data:
        return {name: data[name] for name in data.files}


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


def review_line(spread: np.ndarray, errors: np.ndarray) -> str:
    """How well the spread of the opinions tells where the points are wrong."""
    known = np.isfinite(spread) & np.isfinite(errors)
    spread, errors = spread[known], errors[known]
    worst = np.argsort(-spread)[: int(np.ceil(WORST * len(spread)))]
    failed = errors > FAILURE
    found = f"{failed[worst].sum()} of {failed.sum()}"
    return f"Spearman of spread and error {spearmanr(spread, errors)[0]:.2f}; failures in the worst {WORST:.0%}: {found}"


def main() -> None:
    """Print one table per set."""
    ensemble = ensemble_without_calibration(load_settings().ensemble)
    shipped = {m.name: m.config.landmark_weight for m in ensemble.members}
    shipped |= {n.config.name: n.config.landmark_weight for n in ensemble.refiners}
    systems = {name: {name: 1.0} for name in shipped}
    systems |= {"all, equal weights": dict.fromkeys(shipped, 1.0), "**as shipped**": shipped}
    for name, pictures in SETS.items():
        paths, truths = pictures()
        faces = [f for f in faces_of(ensemble, paths, truths) if f is not None]
        truth = np.asarray([f.truth for f in faces])
        rows = []
        for system, weights in systems.items():
            points, spread = fused_points(faces, weights)
            raw, moved = (errors_by_eyes(points, truth, remove_translation=moved) for moved in (False, True))
            rows.append([system, *(f"{100 * np.nanmean(e):.2f}" for e in (raw, moved)), f"{100 * np.nanmean(moved > FAILURE):.1f}"])
        title = f"Landmarks of {ensemble.config.name}, {name} development half: {len(faces)} of {len(paths)} faces found"
        print(table(title, ["points of", "NME %", "translation removed", "above 10 %"], rows))
        print(review_line(spread, moved))
        refiners = [n.config.name for n in ensemble.refiners]
        spent = ", ".join(f"{n} {1000 * np.median([f.opinions[f'seconds/{n}'] for f in faces]):.1f}" for n in refiners)
        print(f"Refiners, milliseconds a face with {load_settings().threads or 'all'} threads: {spent}")


if __name__ == "__main__":
    main()
