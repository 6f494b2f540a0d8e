"""Systems side by side on the same pictures: members alone, rules of fusion, older systems, other packages, the ensemble."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from tqdm import tqdm

import auto_annotator
from auto_annotator.config import Settings, ensemble_path, load_ensemble
from auto_annotator.evaluation.labels import BoolArray
from auto_annotator.evaluation.looks import COLUMNS, Cache, Columns, Look, looks
from auto_annotator.evaluation.peers import PEERS, Missing, Peer
from auto_annotator.evaluation.pictures import Prepared, load
from auto_annotator.evaluation.reference_rules import FIRST_SEEN_SCORE, VOTE_SCORE, first_seen, two_pass_vote
from auto_annotator.fusion.boxes import FusionSettings
from auto_annotator.fusion.faces import fuse_faces
from auto_annotator.pipeline import FaceDetection
from auto_annotator.types import Detection, Faces, Image

Kind = Literal["member", "rule", "older", "peer", "ensemble"]
KINDS: tuple[Kind, ...] = ("member", "rule", "older", "peer", "ensemble")

FLOOR = 0.02
"""Lowest score of the ensemble's faces that are judged: below it nothing is ever shown, and refiners would look at all of it."""

TIMED = 10
"""Pictures on which the ensemble's time is measured, at its own threshold."""

CODE = (
    "calibration.py",
    "ensemble.py",
    "members.py",
    "views.py",
    "geometry.py",
    "review.py",
    "fusion",
    "pipeline",
    "detectors",
    "landmarks",
)
"""Sources that the ensemble's answer depends on, relative to the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What one system finds in every picture.

    Attributes:
        name: what the tables call it.
        kind: see `KINDS`.
        faces: one list per picture, down to the lowest score it gives; None = the system is not available.
        threshold: score from which it shows boxes by itself; None = it has none, the best one on the set is taken.
        seconds: median CPU seconds per picture; None = not measured.
        flagged, need: for each face of each picture: a person is asked to look; how much, higher first. None = it has no such flag.
        note: why it is not available.
    """

    name: str
    kind: Kind
    faces: Sequence[Faces] | None
    threshold: float | None = None
    seconds: float | None = None
    flagged: Sequence[BoolArray] | None = None
    need: Sequence[np.ndarray] | None = None
    note: str = ""


def systems(pictures: Sequence[Prepared], settings: Settings, *, kinds: Sequence[Kind] = KINDS, cache: Cache) -> Iterator[System]:
    """The systems of some kinds, one after the other.

    Raises:
        AutoAnnotatorError: if the ensemble cannot be built.
    """
    pipeline = FaceDetection.from_settings(settings)
    if {"member", "rule", "older"} & set(kinds):
        seen = looks(pipeline.ensemble, pictures, settings, cache)
        makers: dict[Kind, Callable[..., Iterator[System]]] = {"member": _members, "rule": _rules, "older": _older}
        for kind, make in makers.items():
            if kind in kinds:
                yield from make(seen, pipeline.members)
    if "peer" in kinds:
        for peer in PEERS:
            yield _peer(peer, pictures, settings, cache)
    if "ensemble" in kinds:
        yield _ensemble(pipeline, pictures, settings, cache)


def first_views(row: Sequence[Look]) -> list[Look]:
    """The first view of each member: what it gives when it is run alone, once."""
    return [next(iter(group)) for _, group in groupby(row, key=lambda look: look.member)]


def _members(seen: Sequence[Sequence[Look]], members: Sequence[str]) -> Iterator[System]:
    for member in members:
        own = [[look for look in row if look.member == member] for row in seen]
        once = [row[0] for row in own]
        yield System(
            name=f"{member}, one look",
            kind="member",
            faces=[look.faces for look in once],
            seconds=statistics.median(look.seconds for look in once) if once else None,
        )
        if any(len(row) > 1 for row in own):
            yield System(
                name=f"{member}, all views",
                kind="member",
                faces=[_fused(row, members, FusionSettings(), calibrated=False) for row in own],
                seconds=_seconds(own),
            )


def _rules(seen: Sequence[Sequence[Look]], members: Sequence[str]) -> Iterator[System]:
    votes = min(2, len(members))
    rules = {
        "NMS": FusionSettings(rule="nms"),
        "soft-NMS": FusionSettings(rule="soft_nms"),
        "NMW": FusionSettings(rule="nmw"),
        "WBF": FusionSettings(rule="wbf"),
        f"{votes} votes": FusionSettings(rule="vote", min_votes=votes),
    }
    for calibrated, word in ((False, "raw"), (True, "calibrated")):
        for name, rule in rules.items():
            faces = [_fused(row, members, rule, calibrated=calibrated) for row in seen]
            yield System(name=f"{name}, {word} scores", kind="rule", faces=faces, seconds=_seconds(seen))


def _older(seen: Sequence[Sequence[Look]], members: Sequence[str]) -> Iterator[System]:
    once = [[look.faces for look in first_views(row)] for row in seen]
    seconds = _seconds([first_views(row) for row in seen])
    for name, fuse, threshold in (
        ("first-seen fusion", first_seen, FIRST_SEEN_SCORE),
        ("two-pass vote", two_pass_vote, VOTE_SCORE),
    ):
        yield System(name=name, kind="older", faces=[fuse(row) for row in once], threshold=threshold, seconds=seconds)


def _fused(row: Sequence[Look], members: Sequence[str], settings: FusionSettings, *, calibrated: bool) -> Faces:
    lists = [look.calibrated if calibrated else look.faces for look in row]
    return fuse_faces(lists, [look.source for look in row], members, settings)[0]


def _seconds(rows: Sequence[Sequence[Look]]) -> float | None:
    return statistics.median(sum(look.seconds for look in row) for row in rows) if rows else None


def _peer(peer: Peer, pictures: Sequence[Prepared], settings: Settings, cache: Cache) -> System:
    try:
        detect = peer.load(settings)
    except Missing as error:
        return System(name=peer.name, kind="peer", faces=None, note=str(error))

    def run(picture: Prepared) -> Columns:
        image = load(picture, settings.max_pixels)
        start = time.process_time()
        faces = detect(image)
        return {**{c: getattr(faces, c) for c in COLUMNS}, "seconds": np.array(time.process_time() - start)}

    rows = [
        cache.get(f"peer {peer.name} {peer.version()} {picture.digest}", partial(run, picture))
        for picture in tqdm(pictures, unit="picture", desc=peer.name, disable=None)
    ]
    return System(
        name=peer.name,
        kind="peer",
        faces=[Faces(**{c: row[c] for c in COLUMNS}) for row in rows],
        threshold=peer.threshold,
        seconds=statistics.median(float(row["seconds"]) for row in rows) if rows else None,
    )


def _ensemble(pipeline: FaceDetection, pictures: Sequence[Prepared], settings: Settings, cache: Cache) -> System:
    key = f"ensemble {content_digest(settings)}"

    def run(picture: Prepared) -> Columns:
        detection = pipeline(load(picture, settings.max_pixels), threshold=FLOOR)
        columns = {c: getattr(detection.faces, c) for c in COLUMNS}
        return {**columns, "flagged": np.array(detection.review, bool), "need": review_need(detection)}

    rows = [
        cache.get(f"{key} {picture.digest}", partial(run, picture))
        for picture in tqdm(pictures, unit="picture", desc="ensemble", disable=None)
    ]
    timed = cache.get(f"time {key} {[p.digest for p in pictures[:TIMED]]}", lambda: _timed(pipeline, pictures[:TIMED], settings))
    return System(
        name=pipeline.ensemble.config.name,
        kind="ensemble",
        faces=[Faces(**{c: row[c] for c in COLUMNS}) for row in rows],
        threshold=pipeline.ensemble.config.threshold,
        seconds=float(np.median(timed["seconds"])) if pictures else None,
        flagged=[row["flagged"].astype(bool) for row in rows],
        need=[row["need"] for row in rows],
    )


def _timed(pipeline: FaceDetection, pictures: Sequence[Prepared], settings: Settings) -> Columns:
    seconds = []
    for picture in pictures:
        image: Image = load(picture, settings.max_pixels)
        start = time.process_time()
        pipeline(image)
        seconds.append(time.process_time() - start)
    return {"seconds": np.array(seconds)}


def review_need(detection: Detection) -> np.ndarray:
    """(n,) how much each face needs a look: the detection's own review score, else how unsure it is, flagged faces first."""
    own = getattr(detection, "review_scores", None)
    if own is not None:
        return np.asarray(own, np.float64)
    return np.array([1.0 - s + f for s, f in zip(detection.faces.scores, detection.review, strict=True)], np.float64)


def content_digest(settings: Settings) -> str:
    """Of everything that the ensemble's answer depends on: its file, its calibration, the code, the orientations looked at."""
    path, calibration = ensemble_path(settings.ensemble), load_ensemble(settings.ensemble).calibration
    package = Path(auto_annotator.__file__).parent
    files = [path] if calibration is None else [path, path.parent / calibration]
    for name in CODE:
        files += sorted((package / name).rglob("*.py")) if (package / name).is_dir() else [package / name]
    digest = hashlib.sha256(b"" if settings.rotations == "off" else settings.rotations.encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]
