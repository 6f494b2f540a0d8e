"""The embedded weights and sample pictures as the package index serves them."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from auto_annotator.config import load_ensemble
from auto_annotator.samples import sample_names, sample_pictures
from auto_annotator.weights import expand, locate, pull, registry, verify

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that a fresh machine has after its first pull."""
    folder = tmp_path_factory.mktemp("models")
    pull([*load_ensemble("embedded").weight_names, "mtcnn-*", "sface-2021dec"], folder, progress=False)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The sample pictures by name, RGB."""
    paths = sample_pictures(tmp_path_factory.mktemp("samples"), progress=False)
    return {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in paths}


def session(folder: Path, name: str) -> ort.InferenceSession:
    return ort.InferenceSession(str(locate(name, folder)), providers=["CPUExecutionProvider"])


def canvas(rgb: np.ndarray, multiple: int = 32) -> np.ndarray:
    height, width = (-(-side // multiple) * multiple for side in rgb.shape[:2])
    padded = np.zeros((height, width, 3), np.uint8)
    padded[: rgb.shape[0], : rgb.shape[1]] = rgb
    return padded


def test_everything_pulled_is_what_the_registry_promises(folder):
    names = [w.name for w in expand([*load_ensemble("embedded").weight_names, "mtcnn-*", "sface-2021dec"])]
    assert {row.state for row in verify(folder, names)} == {"ok"}
    converted = {n for n in names if registry()[n].convert}
    assert {p.name for p in folder.glob("*.json")} == {f"{registry()[n].file}.json" for n in converted}


def test_a_second_pull_works_without_network(folder, monkeypatch):
    monkeypatch.setenv("AUTO_ANNOTATOR_INDEX_URL", "http://127.0.0.1:9/simple")
    pull(load_ensemble("embedded").weight_names, folder, progress=False)


@pytest.mark.parametrize(("batch", "size"), [(1, (32, 32)), (1, (640, 640)), (1, (736, 1280)), (1, (1280, 960)), (2, (64, 320))])
@pytest.mark.parametrize("name", ["yunet-2023mar", "centerface"])
def test_detectors_take_every_canvas_of_their_stride(folder, name, batch, size):
    model = session(folder, name)
    assert len(model.get_inputs()) == 1
    outputs = model.run(None, {model.get_inputs()[0].name: np.zeros((batch, 3, *size), np.float32)})
    cells = {"yunet-2023mar": [size[0] * size[1] // s**2 for s in (8, 16, 32)], "centerface": [size[0] * size[1] // 16]}[name]
    assert {int(np.prod(o.shape[1:-1] if o.ndim == 3 else o.shape[2:])) for o in outputs} == set(cells)
    assert {o.shape[0] for o in outputs} == {batch}


@pytest.mark.parametrize("picture", ["astronaut", "crossing"])
def test_dequantised_yunet_equals_opencv_on_the_original_file(folder, pictures, tmp_path, picture):
    """OpenCV's own reader of the quantised file and ONNX Runtime on the float file give the same twelve outputs."""
    source = registry()["yunet-2023mar"]
    rows = {"original": source.model_copy(update={"name": "original", "convert": ()})}
    pull(["original"], tmp_path, rows=rows, progress=False)
    net = cv2.dnn.readNetFromONNX(str(locate("original", tmp_path, rows=rows)))
    blob = canvas(pictures[picture])[:640, :640, ::-1].transpose(2, 0, 1)[None].astype(np.float32)
    blob = np.pad(blob, ((0, 0), (0, 0), (0, 640 - blob.shape[2]), (0, 640 - blob.shape[3])))
    model = session(folder, "yunet-2023mar")
    names = [o.name for o in model.get_outputs()]
    net.setInput(blob)
    expected = net.forward(names)
    outputs = model.run(names, {"input": blob})
    for name, ours, theirs in zip(names, outputs, expected, strict=True):
        np.testing.assert_allclose(ours.ravel(), np.asarray(theirs).ravel(), atol=2e-3, rtol=1e-3, err_msg=name)
    assert max(float(o.max()) for n, o in zip(names, outputs, strict=True) if n.startswith("cls")) > 0.5


def test_dequantised_sface_gives_a_stable_vector(folder, pictures):
    model = session(folder, "sface-2021dec")
    face = cv2.resize(pictures["astronaut"][60:220, 150:310], (112, 112)).transpose(2, 0, 1)[None].astype(np.float32)
    vectors = [model.run(["fc1"], {"data": x})[0][0] for x in (face, np.clip(face * 1.1, 0, 255), face[..., ::-1].copy(), face * 0)]
    unit = [v / np.linalg.norm(v) for v in vectors]
    assert vectors[0].shape == (128,)
    assert unit[0] @ unit[1] > 0.95 and unit[0] @ unit[2] > 0.8
    assert unit[0] @ unit[3] < 0.6


def test_samples_are_pictures_of_different_kinds(pictures):
    assert len(pictures) == len(sample_names())
    grey = {name: bool((p[..., 0] == p[..., 1]).all()) for name, p in pictures.items()}
    assert set(grey.values()) == {True, False}
    for a, b in itertools.combinations(pictures.values(), 2):
        assert a.shape != b.shape or not (a == b).all()
