from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from auto_annotator.errors import WeightsError
from auto_annotator.weights.conversions import convert, expand_blocks


def run(model: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    return ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, feeds)


def quantised_convolution(axis: int, block: int, *, zero: bool = True, listed: bool = True) -> tuple[bytes, np.ndarray]:
    """A 1x1 convolution of 4 -> 6 channels with a quantised weight, as the OpenCV Zoo writes them, and the weight in float."""
    random = np.random.default_rng(0)
    shape = (6, 4)
    quantised = random.integers(-128, 128, shape, dtype=np.int8)
    blocks = list(shape)
    if block:
        blocks[axis] = -(-shape[axis] // block)
    else:
        blocks = [shape[axis]]
    scale = random.uniform(0.01, 0.1, blocks).astype(np.float32)
    offset = random.integers(-5, 6, blocks, dtype=np.int8)
    constants = {"q": quantised, "s": scale, "z": offset, "shape": np.array([6, 4, 1, 1])}
    attributes = {"axis": axis, **({"block_size": block} if block else {})}
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", *(["z"] if zero else [])], ["w"], **attributes),
        helper.make_node("Reshape", ["w", "shape"], ["w4"]),
        helper.make_node("Conv", ["x", "w4"], ["y"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 8, 8])]
    if listed:  # SFace lists its quantised weights, and even names that do not exist, as inputs
        inputs += [helper.make_tensor_value_info("q", TensorProto.INT8, shape)]
        inputs += [helper.make_tensor_value_info("old_weight", TensorProto.FLOAT, shape)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 8, 8])
    initialisers = [numpy_helper.from_array(v, k) for k, v in constants.items() if zero or k != "z"]
    graph = helper.make_graph(nodes, "g", inputs, [output], initialisers)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    spread = [np.repeat(v, block, axis)[tuple(map(slice, shape))] if block else v.reshape((-1, 1) if axis == 0 else (1, -1))
              for v in (scale, offset if zero else np.zeros_like(offset))]  # fmt: skip
    return model.SerializeToString(), (quantised.astype(np.float32) - spread[1]) * spread[0]


@pytest.mark.parametrize(("axis", "block"), [(0, 0), (1, 0), (0, 3), (1, 2), (0, 4), (1, 3), (-1, 2)])
@pytest.mark.parametrize("zero", [True, False])
def test_dequantised_weight_is_the_float_weight(axis, block, zero):
    model, weight = quantised_convolution(axis, block, zero=zero)
    x = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)

    converted = convert(model, ["dequantise"])

    np.testing.assert_allclose(run(converted, {"x": x})[0], np.einsum("oc,bchw->bohw", weight, x), rtol=1e-4, atol=1e-4)
    graph = onnx.load_from_string(converted).graph
    assert [i.name for i in graph.input] == ["x"]
    assert sorted(t.name for t in graph.initializer) == ["shape", "w"]


def test_dequantised_equals_what_onnxruntime_makes_of_the_original():
    model, _ = quantised_convolution(0, 0, listed=False)
    x = np.random.default_rng(1).normal(size=(1, 4, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(run(convert(model, ["dequantise"]), {"x": x})[0], run(model, {"x": x})[0], rtol=1e-5, atol=1e-5)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 1))
def test_blocks_repeat_along_their_axis(rows, columns, block, axis):
    shape = (rows, columns)
    blocks = list(shape)
    blocks[axis] = -(-shape[axis] // block)
    values = np.arange(np.prod(blocks), dtype=np.float32).reshape(blocks)
    spread = expand_blocks(values, shape, axis, block)
    assert spread.shape == shape
    for index in np.ndindex(shape):
        source = list(index)
        source[axis] //= block
        assert spread[index] == values[tuple(source)]


def fixed_size_head() -> bytes:
    """A head as YuNet has it: convolution, channels last, rows of cells; of fixed size, with a weight listed as an input."""
    weight = np.random.default_rng(0).normal(size=(5, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["map"]),
        helper.make_node("Transpose", ["map"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["last", "to"], ["rows"]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])]
    inputs += [helper.make_tensor_value_info("w", TensorProto.FLOAT, [5, 3, 1, 1])]
    outputs = [helper.make_tensor_value_info("map", TensorProto.FLOAT, [1, 5, 32, 32])]
    outputs += [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [1, 1024, 5])]
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.array([1, -1, 5]), "to")]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, outputs, constants), ir_version=8)
    model.graph.value_info.append(helper.make_tensor_value_info("last", TensorProto.FLOAT, [1, 32, 32, 5]))
    return model.SerializeToString()


def test_freed_model_takes_every_size_and_keeps_the_pictures_of_a_batch_apart():
    converted = convert(fixed_size_head(), ["dynamic_shape"])
    x = np.random.default_rng(1).normal(size=(3, 3, 64, 96)).astype(np.float32)

    maps, rows = run(converted, {"x": x})

    assert maps.shape == (3, 5, 64, 96) and rows.shape == (3, 64 * 96, 5)
    for i in range(3):
        np.testing.assert_allclose(run(converted, {"x": x[i : i + 1]})[1][0], rows[i], rtol=0, atol=1e-5)


def test_freed_batch_keeps_the_size_and_the_crops_of_a_batch_apart():
    converted = convert(fixed_size_head(), ["dynamic_batch"])
    x = np.random.default_rng(1).normal(size=(3, 3, 32, 32)).astype(np.float32)
    maps, rows = run(converted, {"x": x})
    assert maps.shape == (3, 5, 32, 32) and rows.shape == (3, 1024, 5)
    for i in range(3):
        np.testing.assert_allclose(run(fixed_size_head(), {"x": x[i : i + 1]})[1][0], rows[i], rtol=0, atol=1e-5)
    with pytest.raises(Exception, match="invalid dimensions"):
        run(converted, {"x": np.zeros((1, 3, 64, 64), np.float32)})


def test_freed_model_equals_the_original_at_its_own_size():
    x = np.random.default_rng(1).normal(size=(1, 3, 32, 32)).astype(np.float32)
    for freed, original in zip(
        run(convert(fixed_size_head(), ["dynamic_shape"]), {"x": x}), run(fixed_size_head(), {"x": x}), strict=True
    ):
        np.testing.assert_allclose(freed, original, rtol=0, atol=1e-5)


@pytest.mark.parametrize("steps", [["dequantise"], ["dynamic_shape"], ["dequantise", "dynamic_shape"]])
def test_conversion_is_deterministic_and_changes_nothing_twice(steps):
    model = fixed_size_head()
    once = convert(model, steps)
    assert convert(model, steps) == once
    assert convert(once, steps) == once


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07" * 50])
def test_what_is_no_model_is_refused(content):
    with pytest.raises(WeightsError, match="not a valid ONNX model"):
        convert(content, ["dequantise"])
