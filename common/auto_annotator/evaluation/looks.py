"""What each member of an ensemble finds in each view, kept on disk, so that rules of fusion can be compared many times.

The files hold faces' boxes and points: the folder is readable by its owner only.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from auto_annotator.config import Settings
from auto_annotator.ensemble import Ensemble, Member, Plan
from auto_annotator.evaluation.pictures import Prepared, load
from auto_annotator.exchange.files import replacing_binary
from auto_annotator.fusion.boxes import Source
from auto_annotator.types import Faces
from auto_annotator.weights import identity_of, is_path

MOST_FACES = 100_000
COLUMNS = ("boxes", "scores", "landmarks")
Columns = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The faces of one member in one view of one picture.

    Attributes:
        member, view: names in the ensemble file.
        curve: name of the view whose calibration it uses.
        size: (width, height) of the picture.
        tiles: whether the view showed the picture in parts.
        source: what the fusion must know of the list.
        faces: scores raw.
        calibrated: the same faces with the scores that the ensemble's curves give them.
        seconds: CPU time.
    """

    member: str
    view: str
    curve: str
    size: tuple[int, int]
    tiles: bool
    source: Source
    faces: Faces
    calibrated: Faces
    seconds: float


@dataclass(frozen=True, slots=True)
class Cache:
    """Arrays by key, one file each, in a folder of the user; None as folder = nothing is kept."""

    folder: Path | None

    def get(self, key: str, make: Callable[[], Columns]) -> Columns:
        """What was made earlier under that key, else what `make` gives now."""
        if self.folder is None:
            return make()
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            columns = make()
            with replacing_binary(path) as stream:
                Path(stream.name).chmod(0o600)
                np.savez(stream, **columns)  # type: ignore[arg-type]
        with np.load(path) as data:
            return {name: data[name] for name in data.files}


def looks(ensemble: Ensemble, pictures: Sequence[Prepared], settings: Settings, cache: Cache) -> list[list[Look]]:
    """All looks of all members at all pictures, from the cache where member, weights and picture are the same."""
    keys = {m.name: member_key(m, settings) for m in ensemble.members}
    return [
        [look for m in ensemble.members for look in _looks(m, picture, settings, cache, keys[m.name])]
        for picture in tqdm(pictures, unit="picture", desc="members", disable=None)
    ]


def member_key(member: Member, settings: Settings) -> str:
    """What the looks of a member depend on, but for its curves and its say."""
    dull = {"landmark_weight", "views"}
    weights = [_identity(w, settings) for w in member.config.weights]
    return f"{member.config.model_dump_json(exclude=dull)} {weights} {_code(member)}"


def _code(member: Member) -> str:
    """Of the source that turns a picture into raw faces: another decoder is another answer."""
    source = inspect.getsourcefile(type(member.detector))
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()[:16] if source else ""


def _identity(name: str, settings: Settings) -> str:
    if not is_path(name):
        return identity_of(name, settings.models)
    with Path(name).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _looks(member: Member, picture: Prepared, settings: Settings, cache: Cache, key: str) -> list[Look]:
    raw = replace(member, curves={})
    image = partial(load, picture, settings.max_pixels)
    out = []
    for plan in member.plans(picture.width, picture.height):
        whole = _without_limits(plan)
        columns = cache.get(f"look {key} {_plan_key(whole)} {picture.digest}", partial(_run, raw, whole, image))
        faces = plan.heard(Faces(**{c: columns[c] for c in COLUMNS}))
        out.append(
            Look(
                member=member.name,
                view=plan.view.name,
                curve=plan.view.curve or plan.view.name,
                size=(picture.width, picture.height),
                tiles=plan.tiles,
                source=member.source(plan),
                faces=faces,
                calibrated=member.calibrated(plan, faces, picture.width, picture.height),
                seconds=float(columns["seconds"]),
            )
        )
    return out


def _without_limits(plan: Plan) -> Plan:
    """The plan with all its boxes, so that one look serves any limits. Tiles leave boxes out before they are joined."""
    return plan if plan.tiles else replace(plan, view=plan.view.model_copy(update={"close_up": 0.0, "max_face": math.inf}))


def _plan_key(plan: Plan) -> str:
    """What a look at a picture depends on: boxes that the view leaves out are not kept, so its limits are part of it."""
    view = plan.view
    return f"{plan.windows} {plan.scale} {view.flip} {view.close_up} {view.max_face}"


def _run(member: Member, plan: Plan, image: Callable[[], Any]) -> dict[str, np.ndarray]:
    pixels = image()
    start = time.process_time()
    faces = member.look(pixels, plan, max_faces=MOST_FACES)
    seconds = time.process_time() - start
    return {**{c: getattr(faces, c) for c in COLUMNS}, "seconds": np.array(seconds)}
