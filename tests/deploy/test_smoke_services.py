"""smoke.py against the functions beside the detector: as they are, and answering badly."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contracts"))

from service_fakes import BACKGROUND, ColourDescription, ColourDetector, scene

from auto_annotator.config import Settings
from auto_annotator.serving.clustering import FaceClusters
from auto_annotator.serving.descriptor import FaceDescriptor
from auto_annotator.serving.track_memory import TrackMemory
from auto_annotator.serving.tracker import FaceTracker
from auto_annotator.serving.tracking import FaceTracking
from auto_annotator.types import Clusters


def same_rows(method):
    """An engine for which equal rows are one person, and a cannot-link makes one of the two a person of its own."""

    def cluster(vectors, *, constraints, **_):
        labels = np.unique(vectors, axis=0, return_inverse=True)[1]
        for row, _ in constraints.cannot:
            labels[row] = labels.max() + 1
        n, k = len(labels), int(labels.max()) + 1
        return Clusters(labels=labels, confidence=np.ones(n), purity=np.ones(k), nearest=-np.ones(n), nearest_score=np.zeros(n))

    return cluster


def functions():
    detection, description, settings = ColourDetector(), ColourDescription(), Settings()
    tracking = FaceTracking(detection, description, TrackMemory(10, 10))
    return {
        "face-descriptor": FaceDescriptor(detection=detection, description=description, settings=settings),
        "face-tracker": FaceTracker(tracking=tracking, settings=settings),
        "face-clustering": FaceClusters(clustering=same_rows, settings=settings),
    }


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "my picture.png"
    buffer = io.BytesIO()
    PIL.Image.fromarray(scene(200, 120, [("ann", (12, 12, 62, 62))])).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return ["--picture", str(path), "--wait", "5"]


def answers(function, change=lambda status, value: (status, value)):
    def answer(body):
        reply = function(body)
        status, value = change(reply.status, json.loads(reply.body))
        return status, reply.content_type, json.dumps(value)

    return answer


@pytest.mark.parametrize("name", ["face-descriptor", "face-tracker", "face-clustering"])
def test_the_functions_pass(smoke, serve, own, capsys, name):
    assert smoke.main([serve(answers(functions()[name])), "--function", name, *own]) == 0, capsys.readouterr().out
    out = capsys.readouterr().out
    assert out.count("  ok    ") == 4 and "FAIL" not in out


def test_a_face_is_followed(smoke, serve, own, capsys):
    smoke.main([serve(answers(functions()["face-tracker"])), "--function", "face-tracker", *own])
    assert "ok    the next frame: found" in capsys.readouterr().out


def first_face(**change):
    def changed(status, value):
        if status == 200 and value["faces"]:
            value["faces"][0] |= change
        return status, value

    return changed


def instead(new):
    return lambda status, value: (200, new)


def labelled(labels):
    return instead({"labels": labels, "confidence": [], "purity": []})


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("face-descriptor", instead([]), "expected an object with faces"),
        ("face-descriptor", instead({"faces": []}), "expected an object with faces, dimension"),
        ("face-descriptor", first_face(descriptor="AAAA"), "a descriptor has 3 bytes, expected 32"),
        ("face-descriptor", first_face(descriptor="AAAA" * 10 + "AAA="), "a descriptor has length 0.000, expected 1"),
        ("face-descriptor", first_face(failure=None), "expected one face with the failure outside_picture"),
        ("face-descriptor", lambda status, value: (200, value), "status is 200, expected 400"),
        ("face-clustering", labelled([0] * 12), "expected one for each of the 3 groups"),
        (
            "face-clustering",
            instead({"labels": [-1] * 12, "confidence": [], "purity": []}),
            "expected one for each of the 3 groups",
        ),
        ("face-clustering", labelled(list(range(12))), "expected one for each of the 3 groups"),
        ("face-clustering", instead({"labels": [0] * 12}), "two faces that a person kept apart have one label"),
        ("face-clustering", lambda status, value: (500, value), "status is 500, expected 200"),
        ("face-tracker", instead({"shapes": [], "states": []}), "expected the shape as it was sent"),
        ("face-tracker", instead({"shapes": [None, None], "states": [{}]}), "no state to follow from"),
        ("face-tracker", lambda status, value: (500, value), "status is 500, expected 400"),
    ],
)
def test_replies_that_are_wrong(smoke, serve, own, capsys, name, change, says):
    assert smoke.main([serve(answers(functions()[name], change)), "--function", name, *own]) == 1
    assert says in capsys.readouterr().out


def test_a_known_face_must_be_described(smoke, serve, own, capsys, monkeypatch):
    monkeypatch.setattr(smoke, "choose_picture", lambda _: (smoke.generated_picture(), "a portrait", True))

    def blind(image, *, threshold):
        return ColourDetector()(image * 0 + BACKGROUND)

    nobody = FaceDescriptor(detection=blind, description=ColourDescription(), settings=Settings())
    assert smoke.main([serve(answers(nobody)), "--function", "face-descriptor", *own]) == 1
    assert "got no descriptor, expected at least one" in capsys.readouterr().out
