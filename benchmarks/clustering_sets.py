"""The sets that clusterings are measured on: LFW embeddings, photos end to end, synthetic faces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.common import CACHE, NotAvailable, digest, load, need


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceSet:
    """Faces with known people.

    Attributes:
        name: for tables and files.
        vectors: (n, d) float32 unit rows; zeros = the face could not be described.
        identity: (n,) who each is.
        quality: (n,) 0..1 or None = not measured.
        images: (n,) picture of each face or None = each face alone.
        junk: (n,) bool, nobody.
        person: (n,) who each truly is where `identity` has errors, for the ceiling; None = no errors.
        threshold: calibrated cosine of the recogniser or None.
    """

    name: str
    vectors: np.ndarray
    identity: np.ndarray
    quality: np.ndarray | None = None
    images: np.ndarray | None = None
    junk: np.ndarray
    person: np.ndarray | None = None
    threshold: float | None = None

    def select(self, rows: np.ndarray) -> FaceSet:
        """Some of the faces."""
        columns = {n: None if (v := getattr(self, n)) is None else v[rows] for n in ("quality", "images", "person")}
        return FaceSet(
            name=self.name,
            vectors=self.vectors[rows],
            identity=self.identity[rows],
            junk=self.junk[rows],
            threshold=self.threshold,
            **columns,
        )


def lfw_embeddings() -> Iterator[FaceSet]:
    """Every recogniser of `lfw_embeddings`: faces of people of whom many are seen once."""
    with np.load(need("lfw_embeddings") / "embeddings.npz") as file:
        people = file["y"].astype(np.int64)
        models = {name: unit(file[name]) for name in file.files if file[name].ndim == 2 and len(file[name]) == len(people)}
    for name, vectors in models.items():
        yield FaceSet(name=f"lfw {name}", vectors=vectors, identity=people, junk=np.zeros(len(people), bool))


def synthetic(preset: str, faces: int, seed: int) -> FaceSet:
    """A set of the generator."""
    from auto_annotator.evaluation.synthetic import generate

    made = generate(preset, faces, seed=seed)
    return FaceSet(
        name=f"{preset} {faces // 1000}k seed {seed}",
        vectors=np.asarray(made.vectors, np.float32),
        identity=made.identity,
        quality=made.quality,
        images=made.image,
        junk=made.is_junk,
        person=made.person,
    )


def photos() -> FaceSet:
    """`celeba_wild` end to end: the most central, largest face of each photo, described by the embedded ensemble.

    A photo in which no face was found stays in the set without a vector: it can never be put to its person.
    """
    folder = need("celeba_wild")
    rows = json.loads((folder / "annotations.json").read_text())
    paths = [folder / "images" / row["file"] for row in rows]
    identity = np.array([row["identity"] for row in rows], np.int64)
    vectors, quality, threshold = _described(paths)
    return FaceSet(
        name="celeba_wild",
        vectors=vectors,
        identity=identity,
        quality=quality,
        images=np.arange(len(rows)),
        junk=np.zeros(len(rows), bool),
        threshold=threshold,
    )


def _described(paths: list) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Vectors and qualities of the main face of each photo; kept beside the checkout for the same photos and models."""
    from auto_annotator.config import load_settings
    from auto_annotator.pipeline import FaceDescription, FaceDetection

    settings = load_settings()
    detection, description = FaceDetection.from_settings(settings), FaceDescription.from_settings(settings)
    kept = CACHE / f"celeba-{digest(paths)}-{description.model_hash}.npz"
    if not kept.exists():
        vectors, quality = np.zeros((len(paths), description.dimension), np.float32), np.zeros(len(paths), np.float32)
        for number, path in enumerate(paths):
            image = load(path)
            faces = detection(image).faces
            if len(faces):
                described = description(image, faces.select([_main_face(faces.boxes, image.shape)]))
                vectors[number], quality[number] = described.vectors[0], described.quality[0]
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, vectors=vectors, quality=quality)
    with np.load(kept) as file:
        return file["vectors"], file["quality"], description.threshold


def _main_face(boxes: np.ndarray, shape: tuple[int, ...]) -> int:
    """The face that is large and near the middle."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 - np.array([shape[1], shape[0]]) / 2
    side = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    return int(np.argmax(side - np.linalg.norm(middle, axis=1)))


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of unit length."""
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def face_sets(names: list[str], faces: int, seeds: list[int]) -> Iterator[list[FaceSet]]:
    """Sets by name; those of a synthetic preset together, one for each seed.

    Raises:
        NotAvailable: if a set is not here; the sets after it are lost, so ask for one name at a time.
    """
    for name in names:
        if name == "lfw":
            yield from ([made] for made in lfw_embeddings())
        elif name == "celeba_wild":
            try:
                yield [photos()]
            except ImportError as error:
                raise NotAvailable(f"no descriptors of photos: {error}") from error
        else:
            yield [synthetic(name, faces, seed) for seed in seeds]
