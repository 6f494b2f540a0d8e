"""How each function is put together from the models of its process."""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np

from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.pipeline import FaceClustering
from auto_annotator.serving.cluster_requests import Method
from auto_annotator.serving.clustering import Clustering, FaceClusters
from auto_annotator.serving.descriptor import FaceDescriptor
from auto_annotator.serving.models import Models, Service
from auto_annotator.serving.requests import handle_body
from auto_annotator.serving.track_memory import TrackMemory
from auto_annotator.serving.tracker import FaceTracker
from auto_annotator.serving.tracking import FaceTracking
from auto_annotator.types import Float32Array

MINUTE = 60.0

WARM_UP_FACES, WARM_UP_PEOPLE, WARM_UP_DIMENSION = 240, 30, 64
"""The set on which the clustering is compiled: enough for every stage to have something to do."""


def load_face_detection(models: Models) -> Service:
    """The ensemble of the settings, warmed up.

    Raises:
        AutoAnnotatorError: if settings, weights or the device are wrong.
    """
    answer = partial(handle_body, pipeline=models.detection, settings=models.settings)
    return Service(answer=answer, facts=models.facts() | {"on_error": models.settings.on_error})


def load_face_descriptor(models: Models) -> Service:
    """Detection and description.

    Raises:
        AutoAnnotatorError: if settings, weights or the device are wrong, or the ensemble has no descriptors.
    """
    answer = FaceDescriptor(
        detection=models.detection,
        description=models.description,
        settings=models.settings,
        points=models.points,
    )
    return Service(answer=answer, facts=models.facts(described=True))


def load_face_tracker(models: Models) -> Service:
    """Detection, description and an empty memory.

    Raises:
        AutoAnnotatorError: if settings, weights or the device are wrong, or the ensemble has no descriptors.
    """
    settings = models.settings
    memory = TrackMemory(settings.tracks, settings.track_minutes * MINUTE)
    tracking = FaceTracking(models.detection, models.description, memory)
    facts = models.facts(described=True) | {"on_lost": settings.on_lost, "on_error": settings.on_error}
    return Service(answer=FaceTracker(tracking=tracking, settings=settings), facts=facts)


def load_face_clustering(models: Models) -> Service:
    """The engine, which needs no weights; a first small run compiles it, so that the first request does not wait for that.

    With a GPU the neighbours of many faces are searched on it, those of few on the CPU, which is quicker for them. A GPU that is
    absent is no reason to refuse the start, as it is for models: all but that search runs on the CPU anyway.
    """
    settings = models.settings
    FaceClustering()(_people())
    device: Literal["auto", "cpu"] = "cpu" if settings.device == "cpu" else "auto"

    def engine(method: Method) -> Clustering:
        return FaceClustering(ClusteringSettings(method=method, device=device))

    facts = {"device": device, "most_faces": settings.max_cluster_faces, "shared_folder": settings.shared_dir is not None}
    return Service(answer=FaceClusters(clustering=engine, settings=settings), facts=facts)


def _people() -> Float32Array:
    """(n, d) unit rows of a few made-up people, the same each time."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(WARM_UP_PEOPLE, WARM_UP_DIMENSION))
    rows = centers[np.arange(WARM_UP_FACES) % WARM_UP_PEOPLE] + rng.normal(size=(WARM_UP_FACES, WARM_UP_DIMENSION))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)
