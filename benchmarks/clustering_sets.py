"""The sets that clusterings are measured on: LFW embeddings, photos end to end, synthetic faces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from auto_annotator.config import load_settings
from auto_annotator.evaluation.synthetic import generate
from auto_annotator.fusion.descriptor_fit import fit_log_odds
from auto_annotator.fusion.descriptors import DescriptorCalibration, MemberCalibration, fuse_descriptors
from benchmarks.common import NotAvailable, need

STRANGERS = 200_000
FIT_PRIOR, LINK_PRIOR = 1e-6, 1e-4
"""Of `fused`: share of pairs of one person at which the fit is to be good, and at which two faces are linked."""


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
    """Every recogniser of `lfw_embeddings`, and all of them fused: faces of people of whom many are seen once."""
    with np.load(need("lfw_embeddings") / "embeddings.npz") as file:
        people = file["y"].astype(np.int64)
        models = {name: unit(file[name]) for name in file.files if file[name].ndim == 2 and len(file[name]) == len(people)}
    nobody = np.zeros(len(people), bool)
    for name, vectors in models.items():
        yield FaceSet(name=f"lfw {name}", vectors=vectors, identity=people, junk=nobody)
    vectors, threshold = fused(models, people)
    yield FaceSet(name="lfw fused", vectors=vectors, identity=people, junk=nobody, threshold=threshold)


def fused(models: Mapping[str, np.ndarray], people: np.ndarray) -> tuple[np.ndarray, float]:
    """Vectors of all recognisers as one, and the link threshold; fitted on pairs of a third of the people, one number for each."""
    rng = np.random.default_rng(0)
    names = np.unique(people)
    rows = np.flatnonzero(np.isin(people, rng.choice(names, len(names) // 3, replace=False)))
    first, second = np.triu_indices(len(rows), 1)
    same = people[rows[first]] == people[rows[second]]
    pick = np.concatenate([np.flatnonzero(same), rng.choice(np.flatnonzero(~same), STRANGERS, replace=False)])
    pairs, same = (rows[first[pick]], rows[second[pick]]), same[pick]
    cosines = np.stack([np.einsum("ij,ij->i", v[pairs[0]], v[pairs[1]]) for v in models.values()], axis=1)
    coefficients, constant = fit_log_odds(cosines, same, prior=FIT_PRIOR)
    members = tuple(
        MemberCalibration(name=name, dimension=vectors.shape[1], coefficient=float(c))
        for (name, vectors), c in zip(models.items(), coefficients, strict=True)
    )
    threshold = (np.log((1 - LINK_PRIOR) / LINK_PRIOR) - constant) / coefficients.sum()
    return fuse_descriptors(models, DescriptorCalibration(members=members)), float(threshold)


def synthetic(preset: str, faces: int, seed: int) -> FaceSet:
    """A set of the generator."""
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
    """`celeba_wild` end to end: the main face of each photo, described by the product's ensemble at its shipped calibration.

    A photo in which no face was found stays in the set without a vector: it can never be put to its person.
    """
    from benchmarks.people import Studio, celeba

    studio, shown = Studio(load_settings()), celeba()
    faces = studio.faces("celeba", shown)
    content = hashlib.sha256(np.nan_to_num(faces.landmarks).tobytes()).hexdigest()[:12]
    kept = studio.folder / f"clustering-celeba-{studio.description.model_hash}-{content}.npz"
    if not kept.exists():
        vectors, quality = np.zeros((len(shown), studio.description.dimension), np.float32), np.zeros(len(shown), np.float32)
        for row in np.flatnonzero(np.isfinite(faces.boxes).all(axis=1)).tolist():
            described = studio.description(shown[row].load(), faces.select([row]))
            vectors[row], quality[row] = described.vectors[0], described.quality[0]
        np.savez(kept, vectors=vectors, quality=quality)
    with np.load(kept) as file:
        columns = dict(file)
    return FaceSet(
        name="celeba_wild",
        identity=np.unique([photo.person for photo in shown], return_inverse=True)[1],
        images=np.arange(len(shown)),
        junk=np.zeros(len(shown), bool),
        threshold=studio.description.threshold,
        **columns,
    )


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
