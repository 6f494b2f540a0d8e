"""Photos of known people for measuring recognition: which face counts, detections and descriptors from the cache.

Detections are cached by photo set and detection part of the ensemble, opinions of the recognisers by that and their own part, under
.cache/benchmarks/people. Both are worth most of the time of the measurements.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm import tqdm

from auto_annotator.alignment import Template, align
from auto_annotator.config import DescriptorConfig, Settings, ensemble_path, load_ensemble, load_settings
from auto_annotator.crops import Pyramid
from auto_annotator.descriptor_set import CODE_VERSION, DescriptorMember, DescriptorSet
from auto_annotator.ensemble import build_part
from auto_annotator.fusion.descriptors import DescriptorCalibration
from auto_annotator.geometry import box_sides
from auto_annotator.pipeline import FaceDescription, FaceDetection
from auto_annotator.quality import FaceMeasures, measure, sharpness
from auto_annotator.session import Runtime
from auto_annotator.types import Faces, Image
from auto_annotator.weights import identity_of
from benchmarks.common import CACHE, DATA, load, need


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """One photo of one person: its key in the set, who it shows, its file, and how it is changed after decoding."""

    key: str
    person: str
    path: Path
    face_px: int | None = None
    scale: float = 1.0

    def load(self) -> Image:
        """The picture, shrunk by area averaging if the set says so."""
        image = load(self.path)
        if self.scale == 1.0:
            return image
        import cv2

        size = [max(1, round(side * self.scale)) for side in image.shape[1::-1]]
        return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Verification pairs: rows (p, 2) of photos, truth (p,), fold (p,)."""

    rows: np.ndarray
    same: np.ndarray
    folds: np.ndarray


def lfw() -> list[Photo]:
    """The development half of LFW."""
    root = need("lfw") / "images"
    return [
        Photo(key=f"{p.parent.name}/{p.name}", person=p.parent.name, path=p)
        for p in sorted(root.glob("*/*.jpg"), key=lambda p: f"{p.parent.name}/{p.name}")
    ]


def lfw_pairs(photos: Sequence[Photo]) -> Pairs:
    """The standard pairs of the development half (folds 0, 2, 4, 6, 8)."""
    place = {p.key: i for i, p in enumerate(photos)}
    with (need("lfw") / "pairs.tsv").open(encoding="utf-8") as file:
        table = list(csv.DictReader(file, delimiter="\t"))
    return Pairs(
        rows=np.array([[place[r["a"]], place[r["b"]]] for r in table]),
        same=np.array([r["same"] == "1" for r in table]),
        folds=np.array([int(r["fold"]) for r in table]),
    )


def celeba() -> list[Photo]:
    """The development half of CelebA in the wild: 48 people with 8 photos each."""
    root = need("celeba_wild")
    rows = json.loads((root / "annotations.json").read_text())
    return sorted(
        (Photo(key=r["file"], person=str(r["identity"]), path=root / "images" / r["file"]) for r in rows), key=lambda p: p.key
    )


def shrunk(photos: Sequence[Photo], faces: Faces, px: int) -> list[Photo]:
    """The same photos shrunk so that the box of the face that counts is `px` pixels tall."""
    heights = faces.boxes[:, 3] - faces.boxes[:, 1]
    return [
        replace(p, face_px=px, scale=float(px / h)) if np.isfinite(h) and h > 0 else p for p, h in zip(photos, heights, strict=True)
    ]


def main_face(faces: Faces, width: int, height: int) -> Faces:
    """The face that a photo of one person is of, none or one row: sure, large and near the middle."""
    if not len(faces):
        return faces
    side = box_sides(faces.boxes)
    away = np.linalg.norm((faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2 - [width / 2, height / 2], axis=1)
    return faces.select([int(np.argmax(faces.scores * side / (1 + away / np.maximum(side, 1))))])


@dataclass(frozen=True, kw_only=True, eq=False)
class Described:
    """The main face of every photo of a set and what each recogniser says of it, as columns.

    Attributes:
        photos: n photos.
        faces: n rows; boxes of NaN where no face was found.
        sharp: (n,) sharpness of the crops.
        plain, mirrored: by member (n, d) raw vectors, zeros where there is none.
    """

    photos: list[Photo]
    faces: Faces
    sharp: np.ndarray
    plain: dict[str, np.ndarray]
    mirrored: dict[str, np.ndarray]

    @cached_property
    def together(self) -> dict[str, np.ndarray]:
        """By member (n, d) raw vectors of crop and mirrored crop together."""
        return {m: self.plain[m] + self.mirrored.get(m, 0) for m in self.plain}

    @cached_property
    def measures(self) -> FaceMeasures:
        """What the quality is made of."""
        return measure(self.faces, self.sharp, self.plain, self.mirrored)

    @cached_property
    def people(self) -> np.ndarray:
        """(n,) who is who, as numbers."""
        return np.unique([p.person for p in self.photos], return_inverse=True)[1]


class Studio:
    """Detection and description with caches."""

    def __init__(self, settings: Settings, extra: Callable[[], tuple[DescriptorMember, ...]] | None = None) -> None:
        self.settings = settings
        self.extra = extra or no_members
        self._detection: FaceDetection | None = None
        config = load_ensemble(settings.ensemble)
        parts = config.model_dump(mode="json", include={"members", "refiners", "fusion", "threshold", "calibration"})
        self.detection_key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]
        self.folder = CACHE / "people"
        self.folder.mkdir(parents=True, exist_ok=True)

    def faces(self, name: str, photos: Sequence[Photo]) -> Faces:
        """The main face of each photo, NaN where none was found."""
        path = self.folder / f"{name}-{self.detection_key}.jsonl"
        known = {r["key"]: r for r in _lines(path)}
        missing = [p for p in photos if p.key not in known]
        if missing:
            self._detection = self._detection or FaceDetection.from_settings(self.settings)
            with path.open("a", encoding="utf-8") as file:
                for photo in tqdm(missing, desc=f"faces of {name}", unit="photo", disable=None):
                    image = photo.load()
                    found = self._detection(image).faces
                    known[photo.key] = row = _row(photo.key, main_face(found, image.shape[1], image.shape[0]))
                    file.write(json.dumps(row) + "\n")
        rows = [known[p.key] for p in photos]
        return Faces(
            boxes=np.array([r["box"] for r in rows], np.float32).reshape(-1, 4),
            scores=np.array([r["score"] for r in rows], np.float32),
            landmarks=np.array([r["landmarks"] for r in rows], np.float32).reshape(-1, 5, 2),
        )

    def described(self, name: str, photos: Sequence[Photo]) -> Described:
        """The main face of each photo, described by every member."""
        faces = self.faces(name, photos)
        content = hashlib.sha256(json.dumps([p.key for p in photos]).encode())
        content.update(np.nan_to_num(faces.boxes).tobytes() + np.nan_to_num(faces.landmarks).tobytes())
        plain, mirrored, sharp = {}, {}, np.full(len(photos), np.nan)
        for member in self.members:
            path = self.folder / f"{name}-{member.name}-{self.key_of(member)}-{content.hexdigest()[:12]}.npz"
            if not path.exists():
                np.savez(path, **self._describe(f"{member.name} on {name}", photos, faces, member))
            with np.load(path) as data:
                plain[member.name], sharp = data["plain"], data["sharp"] if member is self.members[0] else sharp
                if "mirrored" in data:
                    mirrored[member.name] = data["mirrored"]
        return Described(photos=list(photos), faces=faces, sharp=sharp, plain=plain, mirrored=mirrored)

    @cached_property
    def description(self) -> FaceDescription:
        """The whole ensemble as it is shipped, opened when first needed."""
        return FaceDescription.from_settings(self.settings)

    @cached_property
    def members(self) -> tuple[DescriptorMember, ...]:
        """The recognisers of the ensemble and `extra` ones, opened when first needed."""
        config, beside = load_ensemble(self.settings.ensemble), ensemble_path(self.settings.ensemble).parent
        return (*(open_member(d, self.settings, beside=beside) for d in config.descriptors), *self.extra())

    def key_of(self, member: DescriptorMember) -> str:
        """Of all that its raw vectors depend on."""
        weights = [identity_of(n, self.settings.models) for n in member.config.weights]
        parts = [member.config.use, member.config.options, weights, member.config.flip, member.template.points.tolist()]
        return hashlib.sha256(json.dumps([CODE_VERSION, *parts], sort_keys=True).encode()).hexdigest()[:12]

    def _describe(self, title: str, photos: Sequence[Photo], faces: Faces, member: DescriptorMember) -> dict[str, np.ndarray]:
        equal = DescriptorCalibration.equal({member.name: member.recogniser.dimension})
        describe = FaceDescription(DescriptorSet(name=member.name, members=(member,), calibration=equal, model_hash=""))
        columns = {kind: np.zeros((len(photos), member.recogniser.dimension), np.float32) for kind in ("plain", "mirrored")}
        columns["sharp"] = np.full(len(photos), np.nan)
        for row, photo in enumerate(tqdm(photos, desc=title, unit="photo", disable=None)):
            if not np.isfinite(faces.boxes[row]).all():
                continue
            image, face = photo.load(), faces.select([row])
            opinions = describe.opinions(image, face)
            columns["plain"][row] = opinions.plain[member.name][0]
            if member.config.flip:
                columns["mirrored"][row] = opinions.mirrored[member.name][0]
            columns["sharp"][row] = _sharpness(image, face, member.template)
        return columns


def _sharpness(image: Image, face: Faces, template: Template) -> float:
    matrix = align(face, template, width=image.shape[1], height=image.shape[0]).matrices[0]
    crop = Pyramid(image).crop(matrix, template.size, cubic=True)
    return float("nan") if crop is None else sharpness(crop)


def no_members() -> tuple[DescriptorMember, ...]:
    """Nothing beside the ensemble."""
    return ()


def bench_members() -> tuple[DescriptorMember, ...]:
    """MobileFaceNet (foamliu) of ../shared/models, for comparison only; nobody where it is not."""
    path = DATA.parent / "models" / "MobileFaceNet_foamliu.onnx"
    if not path.is_file():
        return ()
    use = "auto_annotator.descriptors.mobilefacenet:MobileFaceNet"
    return (
        open_member(DescriptorConfig(name="mobilefacenet", use=use, weights=(str(path),)), load_settings(), beside=path.parent),
    )


def open_member(config: DescriptorConfig, settings: Settings, *, beside: Path) -> DescriptorMember:
    """A recogniser without the calibration of its ensemble (which may be what is being made)."""
    runtime = Runtime(device=settings.device, threads=settings.threads)
    return DescriptorMember(config=config, recogniser=build_part(config, settings.models, runtime.open, beside=beside))


def _row(key: str, face: Faces) -> dict[str, object]:
    nothing = np.full((1, 5, 2), np.nan)
    return {
        "key": key,
        "box": (face.boxes if len(face) else nothing.reshape(1, 10)[:, :4])[0].tolist(),
        "score": float(face.scores[0]) if len(face) else 0.0,
        "landmarks": (face.landmarks if len(face) else nothing)[0].tolist(),
    }


def _lines(path: Path) -> Iterator[dict[str, object]]:
    """Rows of a cache; a last line that was cut off by a stop is dropped."""
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue
