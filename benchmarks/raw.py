"""What each member of an ensemble finds in each view, kept on disk, so that fusion can be measured many times."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from auto_annotator.config import load_settings
from auto_annotator.ensemble import Ensemble, Member, build_ensemble
from auto_annotator.fusion.boxes import FusionSettings, Source
from auto_annotator.fusion.calibration import Curve
from auto_annotator.fusion.faces import fuse_faces
from auto_annotator.types import Faces
from benchmarks.common import CACHE, load

Curves = dict[str, dict[str, Curve]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The faces of one member in one view of one picture, scores raw."""

    member: str
    view: str
    source: Source
    faces: Faces


def ensemble_without_calibration(name: str = "embedded") -> Ensemble:
    """The ensemble with raw scores."""
    built = build_ensemble(load_settings(ensemble=name))
    members = tuple(Member(index=m.index, config=m.config, detector=m.detector, curves={}) for m in built.members)
    return Ensemble(config=built.config, members=members, refiners=built.refiners, devices=built.devices)


def looks(ensemble: Ensemble, paths: Sequence[Path]) -> list[list[Look]]:
    """All looks at all pictures; from the cache where the members' entries in the ensemble file are the same."""
    keys = {m.name: hashlib.sha256(m.config.model_dump_json().encode()).hexdigest()[:12] for m in ensemble.members}
    folder = CACHE / "looks"
    folder.mkdir(parents=True, exist_ok=True)
    return [
        [look for m in ensemble.members for look in _looks(m, path, folder / f"{path.stem}-{m.name}-{keys[m.name]}.npz")]
        for path in tqdm(paths, unit="picture", disable=None)
    ]


def _looks(member: Member, path: Path, cache: Path) -> list[Look]:
    if not cache.exists():
        image = load(path)
        columns: dict[str, np.ndarray] = {"size": np.array(image.shape[1::-1])}
        for plan in member.plans(image.shape[1], image.shape[0]):
            faces = member.look(image, plan, max_faces=100_000)
            for column in ("boxes", "scores", "landmarks"):
                columns[f"{plan.view.name}/{column}"] = getattr(faces, column)
        np.savez(cache, **columns)
    with np.load(cache) as data:
        width, height = (int(v) for v in data["size"])
        return [
            Look(
                member=member.name,
                view=plan.view.name,
                source=member.source(plan),
                faces=Faces(**{c: data[f"{plan.view.name}/{c}"] for c in ("boxes", "scores", "landmarks")}),
            )
            for plan in member.plans(width, height)
        ]


def fuse(picture: Sequence[Look], members: Sequence[str], settings: FusionSettings, curves: Curves, final: Curve | None) -> Faces:
    """The fused faces of one picture's looks, as the pipeline would give them (without refiners and threshold)."""
    lists = [_calibrated(look.faces, curves.get(look.member, {}).get(look.view)) for look in picture]
    faces, _, _ = fuse_faces(lists, [look.source for look in picture], members, settings, None)
    return _calibrated(faces, final)


def _calibrated(faces: Faces, curve: Curve | None) -> Faces:
    if curve is None:
        return faces
    scores = np.clip(np.asarray(curve(faces.scores), np.float32), 0, 1)
    return Faces(boxes=faces.boxes, scores=scores, landmarks=faces.landmarks)
