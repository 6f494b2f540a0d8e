"""Other packages on the same photos, each from the photo with its own detector, alignment and model, where they are installed.

Nothing is downloaded: a peer whose weights are not on this machine yet is not available.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from auto_annotator.config import load_settings
from auto_annotator.fusion.descriptors import unit_rows
from auto_annotator.types import Image
from auto_annotator.weights import locate
from benchmarks.common import CACHE
from benchmarks.people import Photo

Describe = Callable[[Image], np.ndarray | None]


class Missing(Exception):
    """The package or its weights are not here; the message says which."""


def insightface() -> Describe:
    """Insightface with its default pack buffalo_l: SCRFD-10G and ArcFace R50."""
    require("insightface", Path.home() / ".insightface" / "models" / "buffalo_l")
    from insightface.app import FaceAnalysis

    app = FaceAnalysis(name="buffalo_l", allowed_modules=["detection", "recognition"])
    app.prepare(ctx_id=-1)

    def describe(image: Image) -> np.ndarray | None:
        faces = app.get(np.ascontiguousarray(image[..., ::-1]))
        return central([f.bbox for f in faces], [f.embedding for f in faces], image)

    return describe


def uniface() -> Describe:
    """Uniface with its defaults: RetinaFace and ArcFace."""
    require("uniface", Path.home() / ".uniface" / "models")
    from uniface import ArcFace, RetinaFace

    detector, recogniser = RetinaFace(), ArcFace()

    def describe(image: Image) -> np.ndarray | None:
        bgr = np.ascontiguousarray(image[..., ::-1])
        faces = detector.detect(bgr)
        vectors = [recogniser.get_normalized_embedding(bgr, f.landmarks).ravel() for f in faces]
        return central([f.bbox for f in faces], vectors, image)

    return describe


def deepface() -> Describe:
    """Deepface with its strongest pair: RetinaFace and Facenet512."""
    require("deepface", Path.home() / ".deepface" / "weights" / "facenet512_weights.h5")
    from deepface import DeepFace

    def describe(image: Image) -> np.ndarray | None:
        try:
            found = DeepFace.represent(np.ascontiguousarray(image[..., ::-1]), "Facenet512", detector_backend="retinaface")
        except ValueError:  # that is how it says that there is no face
            return None
        boxes = [(a["x"], a["y"], a["x"] + a["w"], a["y"] + a["h"]) for a in (f["facial_area"] for f in found)]
        return central(boxes, [f["embedding"] for f in found], image)

    return describe


def opencv() -> Describe:
    """OpenCV as its own sample does it, with the weights of the embedded ensemble: YuNet, `alignCrop`, SFace, mirrored crop too."""
    import cv2

    folder = load_settings().models
    detector = cv2.FaceDetectorYN.create(str(locate("yunet-2023mar", folder)), "", (320, 320), OPENCV_SCORE)
    recogniser = cv2.FaceRecognizerSF.create(str(locate("sface-2021dec", folder)), "")

    def describe(image: Image) -> np.ndarray | None:
        bgr = np.ascontiguousarray(image[..., ::-1])
        detector.setInputSize(image.shape[1::-1])
        faces = detector.detect(bgr)[1]
        if faces is None:
            return None
        vectors = []
        for face in faces:
            crop = recogniser.alignCrop(bgr, face)
            vectors.append(recogniser.feature(crop).ravel() + recogniser.feature(np.ascontiguousarray(crop[:, ::-1])).ravel())
        corners = np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4]], axis=1)
        return central(corners, vectors, image)

    return describe


OPENCV_SCORE = 0.6
"""Of YuNet in the OpenCV Zoo's demo."""

PEERS: dict[str, Callable[[], Describe]] = {
    "opencv (YuNet, SFace mirrored)": opencv,
    "insightface": insightface,
    "uniface": uniface,
    "deepface": deepface,
}


def require(package: str, weights: Path) -> None:
    """Both the package and its weights.

    Raises:
        Missing: says which is not here.
    """
    if importlib.util.find_spec(package) is None:
        raise Missing("not installed")
    if not weights.exists():
        raise Missing("installed, but its weights are not on this machine")


def central(boxes: Sequence[object], vectors: Sequence[object], image: Image) -> np.ndarray | None:
    """The vector of the largest, most central face by the rule of `people.main_face`, None where there is no face."""
    if not len(boxes):
        return None
    edges = np.asarray(boxes, float)[:, :4]
    side = np.sqrt(np.prod(np.clip(edges[:, 2:] - edges[:, :2], 0, None), axis=1))
    away = np.linalg.norm((edges[:, :2] + edges[:, 2:]) / 2 - np.array(image.shape[1::-1]) / 2, axis=1)
    return np.asarray(vectors[int(np.argmax(side / (1 + away / np.maximum(side, 1))))], np.float32).ravel()


def peer_vectors(name: str, photos: Sequence[Photo]) -> np.ndarray | str:
    """(n, d) unit vectors of a peer, zeros where it found no face, cached; or why it is not available."""
    shown = hashlib.sha256(json.dumps([name, [(p.key, round(p.scale, 6)) for p in photos]]).encode()).hexdigest()[:16]
    cache = CACHE / "people" / f"peer-{name.split()[0]}-{shown}.npy"
    if cache.exists():
        return np.asarray(np.load(cache))
    try:
        describe = PEERS[name]()
    except Missing as error:
        return str(error)
    except Exception as error:  # whatever a peer's start brings must not end the benchmark
        return f"{type(error).__name__}: {error}"
    rows = [describe(p.load()) for p in tqdm(photos, desc=name, unit="photo", disable=None)]
    size = next((len(r) for r in rows if r is not None), 1)
    vectors = unit_rows(np.stack([np.zeros(size, np.float32) if r is None else r for r in rows]))[0]
    cache.parent.mkdir(parents=True, exist_ok=True)
    np.save(cache, vectors)
    return vectors
