"""Other packages' face detectors, each behind one function: a picture in, faces out.

Nothing is downloaded: a package that is not installed, or whose weights are not on this machine, is `Missing`; the tables say so.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auto_annotator.config import Settings
from auto_annotator.errors import WeightsError
from auto_annotator.types import Faces, Image
from auto_annotator.weights import locate

LOW = 0.02
"""Score from which peers are asked for boxes, so that their whole curve is seen; their own default is `Peer.threshold`."""

YUNET = "yunet-2023mar"
Detect = Callable[[Image], Faces]


class Missing(Exception):
    """The package or its weights are not here; the message says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Another package's detector.

    Attributes:
        name: what the tables call it, with the model that it brings.
        package: its distribution, whose version is part of the key of cached answers.
        threshold: score from which it shows boxes unless told otherwise.
        load: settings -> function; raises `Missing`.
    """

    name: str
    package: str
    threshold: float
    load: Callable[[Settings], Detect]

    def version(self) -> str:
        """Of the installed package; empty if it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return ""


def _module(name: str, *weights: Path) -> Any:
    """Import an optional package once its weights are seen to be here."""
    if importlib.util.find_spec(name) is None:
        raise Missing(f"package {name} is not installed")
    for path in weights:
        if not path.exists():
            raise Missing(f"the weights of {name} are not on this machine ({path.name})")
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"package {name} cannot be imported ({type(error).__name__})") from error


def _bgr(image: Image) -> Image:
    return np.ascontiguousarray(image[..., ::-1])


def _faces(boxes: Sequence[Any], scores: Sequence[float], points: Sequence[Any]) -> Faces:
    """Faces from rows of any length."""
    if not len(boxes):
        return Faces.empty()
    landmarks = np.asarray([np.full((5, 2), np.nan) if p is None else np.asarray(p, float).reshape(5, 2) for p in points])
    return Faces.of(np.asarray(boxes, float).reshape(-1, 4), np.clip(np.asarray(scores, float), 0, 1), landmarks)


def opencv_yunet(settings: Settings) -> Detect:
    """OpenCV's `FaceDetectorYN` with YuNet 2023mar, as OpenCV runs it: the picture at its own size, its own NMS."""
    import cv2

    try:
        path = locate(YUNET, settings.models)
        detector = cv2.FaceDetectorYN.create(str(path), "", (320, 320), LOW, 0.3, 5000)
    except WeightsError as error:
        raise Missing(f"weights {YUNET} are not here: auto-annotator models pull {YUNET}") from error
    except cv2.error as error:
        raise Missing("this OpenCV cannot load the model") from error

    def detect(image: Image) -> Faces:
        detector.setInputSize((image.shape[1], image.shape[0]))
        rows = detector.detect(_bgr(image))[1]
        rows = np.zeros((0, 15), np.float32) if rows is None else np.asarray(rows, np.float32)
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return Faces.of(boxes, np.clip(rows[:, 14], 0, 1), rows[:, 4:14].reshape(-1, 5, 2))

    return detect


def insightface_pack(settings: Settings) -> Detect:
    """Insightface with its default pack buffalo_l: SCRFD-10G at 640."""
    _module("insightface", Path.home() / ".insightface" / "models" / "buffalo_l")
    from insightface.app import FaceAnalysis

    app = FaceAnalysis(name="buffalo_l", allowed_modules=["detection"])
    app.prepare(ctx_id=-1, det_size=(640, 640), det_thresh=LOW)

    def detect(image: Image) -> Faces:
        found = app.get(_bgr(image))
        return _faces([f.bbox for f in found], [f.det_score for f in found], [f.kps for f in found])

    return detect


def uniface_default(settings: Settings) -> Detect:
    """Uniface with its default detector, RetinaFace."""
    package = _module("uniface", Path.home() / ".uniface" / "models")
    detector = package.RetinaFace(confidence_threshold=LOW)

    def detect(image: Image) -> Faces:
        found = detector.detect(_bgr(image))
        return _faces([f.bbox for f in found], [f.confidence for f in found], [f.landmarks for f in found])

    return detect


def mediapipe_full(settings: Settings) -> Detect:
    """MediaPipe's full-range BlazeFace; its wheel brings the weights. It gives no mouth corners, so its points are not judged."""
    package = _module("mediapipe")
    if not hasattr(package, "solutions"):
        raise Missing("this mediapipe has no face_detection solution any more; the last that has is 0.10.14")
    detector = package.solutions.face_detection.FaceDetection(model_selection=1, min_detection_confidence=LOW)

    def detect(image: Image) -> Faces:
        found = detector.process(np.ascontiguousarray(image)).detections or []
        height, width = image.shape[:2]
        frames = [f.location_data.relative_bounding_box for f in found]
        boxes = [[b.xmin * width, b.ymin * height, (b.xmin + b.width) * width, (b.ymin + b.height) * height] for b in frames]
        return _faces(boxes, [f.score[0] for f in found], [None] * len(found))

    return detect


def deepface_default(settings: Settings) -> Detect:
    """Deepface with the strongest of its detectors, RetinaFace; eyes are all the points it gives."""
    package = _module("deepface", Path.home() / ".deepface" / "weights" / "retinaface.h5")
    find = importlib.import_module("deepface.DeepFace").extract_faces if package else None

    def detect(image: Image) -> Faces:
        assert find is not None
        found = find(_bgr(image), detector_backend="retinaface", enforce_detection=False, align=False)
        found = [f for f in found if f["confidence"] > 0]
        areas = [f["facial_area"] for f in found]
        boxes = [[a["x"], a["y"], a["x"] + a["w"], a["y"] + a["h"]] for a in areas]
        return _faces(boxes, [f["confidence"] for f in found], [None] * len(found))

    return detect


def retina_face(settings: Settings) -> Detect:
    """The retina-face package: RetinaFace with ResNet-50."""
    _module("retinaface", Path.home() / ".deepface" / "weights" / "retinaface.h5")
    find = importlib.import_module("retinaface.RetinaFace").detect_faces
    names = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")

    def detect(image: Image) -> Faces:
        answer = find(_bgr(image), threshold=LOW)
        found = list(answer.values()) if isinstance(answer, Mapping) else []
        points = [sorted_sides([f["landmarks"][n] for n in names]) for f in found]
        return _faces([f["facial_area"] for f in found], [f["score"] for f in found], points)

    return detect


def sorted_sides(points: Sequence[Any]) -> np.ndarray:
    """Five points with image-left first in eyes and mouth: packages disagree on whose right is meant."""
    out = np.asarray(points, float)
    for first, second in ((0, 1), (3, 4)):
        if out[first, 0] > out[second, 0]:
            out[[first, second]] = out[[second, first]]
    return out


def facenet_mtcnn(settings: Settings) -> Detect:
    """facenet-pytorch's MTCNN; its wheel brings the weights. Its thresholds are lowered, else its curve is a stub."""
    package = _module("facenet_pytorch")
    detector = package.MTCNN(keep_all=True, device="cpu", thresholds=[0.5, 0.3, LOW])

    def detect(image: Image) -> Faces:
        boxes, scores, points = detector.detect(np.ascontiguousarray(image), landmarks=True)
        return Faces.empty() if boxes is None else _faces(boxes, scores, points)

    return detect


PEERS: tuple[Peer, ...] = (
    Peer(name="OpenCV FaceDetectorYN, YuNet", package="opencv-python-headless", threshold=0.9, load=opencv_yunet),
    Peer(name="insightface, buffalo_l", package="insightface", threshold=0.5, load=insightface_pack),
    Peer(name="uniface, RetinaFace", package="uniface", threshold=0.5, load=uniface_default),
    Peer(name="mediapipe, full range", package="mediapipe", threshold=0.5, load=mediapipe_full),
    Peer(name="deepface, RetinaFace", package="deepface", threshold=0.0, load=deepface_default),
    Peer(name="retina-face, ResNet-50", package="retina-face", threshold=0.9, load=retina_face),
    Peer(name="facenet-pytorch, MTCNN", package="facenet-pytorch", threshold=0.7, load=facenet_mtcnn),
)
