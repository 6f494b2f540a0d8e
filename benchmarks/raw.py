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
from auto_annotator.fusion.boxes import Source
from auto_annotator.types import Faces
from benchmarks.common import CACHE, load


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The faces of one member in one view of one picture, scores raw."""

    member: str
    view: str
    source: Source
    faces: Faces


def ensemble_without_calibration(name: str = "embedded") -> Ensemble:
    """The ensemble with raw scores."""
    return build_ensemble(load_settings(ensemble=name), calibrated=False)


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
