"""The face mesh with attention in ONNX: its own operators against independent numpy, its layers against LiteRT."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from auto_annotator.converters import attention_mesh
from auto_annotator.converters.attention_mesh import CROP, GRID, OPSET, SIDE, VERTICES, _Writer
from auto_annotator.errors import WeightsError

ENDS, SUBSET = (10, 20), [10, 20, 30, 40, 50]
CHANNELS = 3


@pytest.fixture(scope="module")
def region_session():
    """A graph of one region alone: mesh on the map, features and points of the region in; cut map and points in the crop out."""
    writer = _Writer(file=None, schema=None)
    options = {"left_rotation_idx": ENDS[0], "right_rotation_idx": ENDS[1], "subset_idxs": SUBSET, "scale_x": 1.5, "scale_y": 1.5}
    region = writer.region("mesh", options)
    writer.add("Identity", writer.cut("features", region), output="cut")
    writer.add("Identity", writer.to_crop("points", region), output="places")
    inputs = {"mesh": ("n", VERTICES, 3), "features": ("n", CHANNELS, GRID, GRID), "points": ("n", 7, 2)}
    model = writer.model("region", inputs, {"cut": ("n", CHANNELS, CROP, CROP), "places": ("n", 7, 2)}, opset=OPSET)
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def expected_region(mesh, features, points):
    """One region, from the definition: rectangle along the line of two vertices, 1.5 times the extent of the others."""
    start, end = mesh[list(ENDS), :2]
    angle = np.arctan2(*(end - start)[::-1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright = mesh[SUBSET, :2] @ turn
    low, high = upright.min(0), upright.max(0)
    middle, size = turn @ ((low + high) / 2), 1.5 * (high - low)

    def to_map(shares):  # 0..1 across the region
        return middle + ((shares - 0.5) * size) @ turn.T

    y, x = np.mgrid[0:CROP, 0:CROP]
    places = to_map((np.stack([x, y], -1) + 0.5) / CROP) - 0.5  # pixel centres
    inside = ((places >= 0) & (places <= GRID - 1)).all(-1)
    cut = [
        np.where(inside, map_coordinates(f, places[..., ::-1].reshape(-1, 2).T, order=1).reshape(CROP, CROP), 0) for f in features
    ]
    return np.array(cut), to_map(points / (CROP * SIDE / GRID)) * SIDE / GRID


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), batch=st.integers(1, 3), reach=st.floats(2, 30))
def test_regions_are_cut_and_mapped_back(region_session, seed, batch, reach):
    random = np.random.default_rng(seed)
    mesh = (random.uniform(0, GRID, (batch, 1, 3)) + random.uniform(-reach, reach, (batch, VERTICES, 3))).astype(np.float32)
    ramp = np.mgrid[0:GRID, 0:GRID].astype(np.float32)  # smooth: a rounding of the place does not jump to another value
    features = np.tile(np.concatenate([ramp, ramp[:1] * ramp[1:] / GRID])[None], (batch, 1, 1, 1))
    points = random.uniform(0, CROP * SIDE / GRID, (batch, 7, 2)).astype(np.float32)
    cut, places = region_session.run(["cut", "places"], {"mesh": mesh, "features": features, "points": points})
    for row in range(batch):
        expected_cut, expected_places = expected_region(mesh[row].astype(float), features[row], points[row].astype(float))
        np.testing.assert_allclose(places[row], expected_places, atol=5e-3)
        wrong = np.abs(cut[row] - expected_cut).max(axis=0) > 0.05
        assert wrong.mean() <= 0.02  # cells that lie on the very border of the map may fall on either side


def test_two_vertices_in_one_place_are_no_nan(region_session):
    mesh = np.full((1, VERTICES, 3), 20, np.float32)
    features, points = np.ones((1, CHANNELS, GRID, GRID), np.float32), np.zeros((1, 7, 2), np.float32)
    for output in region_session.run(None, {"mesh": mesh, "features": features, "points": points}):
        assert np.isfinite(output).all()


@pytest.mark.parametrize("content", [b"", b"TFL3", bytes(64), b"\x08\x00\x00\x00TFL3" + bytes(range(200))])
def test_garbage_is_refused(content):
    with pytest.raises(WeightsError, match=r"face mesh with attention|expected one crop|has no"):
        attention_mesh.read(content)


@pytest.mark.weights
def test_another_model_of_the_format_is_refused(pulled):
    with pytest.raises(WeightsError):
        attention_mesh.read(pulled("face-mesh").read_bytes())
    with pytest.raises(WeightsError, match="expected one crop of 192 x 192"):
        attention_mesh.read(pulled("iris").read_bytes())


@pytest.fixture(scope="module")
def session(pulled):
    return ort.InferenceSession(str(pulled("face-mesh-attention")), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def crops():
    """A real face in three croppings."""
    import cv2
    from skimage.data import astronaut

    picture = astronaut()
    cut = [picture[y : y + side, x : x + side] for y, x, side in ((40, 150, 150), (20, 140, 180), (10, 120, 230))]
    return np.stack([cv2.resize(c, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for c in cut]).astype(np.float32) / 255


@pytest.fixture(scope="module")
def published():
    """The file as published."""
    from auto_annotator.config import load_settings
    from auto_annotator.weights import locate, pull, registry

    row = registry()["face-mesh-attention"]
    rows = {"published": row.model_copy(update={"name": "published", "file": "face_landmark_with_attention.tflite", "convert": ()})}
    folder = load_settings().models
    pull(["published"], folder, progress=False, rows=rows)
    return locate("published", folder, rows=rows).read_bytes()


def trunk(content):
    """LiteRT on the part of the file before its own operators: mesh and face logit."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    names = {t.name.decode(): i for i, t in enumerate(graph.tensors)}
    graph.outputs = [names["output_mesh_identity"], names["conv_faceflag"]]
    needed, kept = set(graph.outputs), []
    for operator in reversed(graph.operators):
        if needed & set(operator.outputs):
            kept.append(operator)
            needed |= {int(i) for i in operator.inputs}
    graph.operators, model.metadata = kept[::-1], None
    builder = flatbuffers.Builder(1 << 22)
    builder.Finish(model.Pack(builder), b"TFL3")
    interpreter = Interpreter(model_content=bytes(builder.Output()))
    interpreter.allocate_tensors()

    def run(crop):
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], crop[None])
        interpreter.invoke()
        return [interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()]

    return run


@pytest.mark.weights
def test_layers_are_those_of_the_file(session, crops, published):
    run = trunk(published)
    mesh, face = session.run(["mesh", "face"], {"crop": crops})
    for row, crop in enumerate(crops):
        expected_mesh, expected_face = run(crop)
        np.testing.assert_allclose(mesh[row], expected_mesh.reshape(VERTICES, 3), atol=2e-3)
        np.testing.assert_allclose(face[row], expected_face.reshape(-1), atol=1e-3)


@pytest.mark.weights
def test_finer_points_lie_where_the_mesh_has_them(session, crops):
    outputs = {o.name: v for o, v in zip(session.get_outputs(), session.run(None, {"crop": crops}), strict=True)}
    mesh = outputs["mesh"][..., :2]
    for fine, coarse in (("lips", {0: 61, 10: 291}), ("right_eye", {0: 33, 8: 133}), ("left_eye", {0: 263, 8: 362})):
        for row, vertex in coarse.items():
            assert np.abs(outputs[fine][:, row] - mesh[:, vertex]).max() < 8
    for iris, eye in (("right_iris", (33, 133)), ("left_iris", (362, 263))):
        middle, width = mesh[:, eye].mean(axis=1), np.linalg.norm(mesh[:, eye[0]] - mesh[:, eye[1]], axis=1)
        assert (np.linalg.norm(outputs[iris][:, 0] - middle, axis=1) < 0.4 * width).all()


@pytest.mark.weights
def test_a_batch_gives_what_single_crops_give(session, crops):
    together = session.run(None, {"crop": crops})
    for row in range(len(crops)):
        alone = session.run(None, {"crop": crops[row : row + 1]})
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a[row], b[0], atol=2e-3)


@pytest.mark.weights
def test_conversion_is_repeatable(published):
    first, second = (attention_mesh.read(published).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
