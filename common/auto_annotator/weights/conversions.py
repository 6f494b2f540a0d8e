"""Conversions of a downloaded model, done once at pull: ONNX out of other formats, float weights, free input sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from auto_annotator.converters import attention_mesh, dlib_resnet
from auto_annotator.errors import WeightsError

if TYPE_CHECKING:
    import onnx

CONVERTER_VERSION = 1
"""Part of the identity of a converted file: raise it with every change of the result, and `pull` converts again."""

_MAP_AXES = {0: "batch", 2: "height", 3: "width"}
_LIST_AXES = {0: "batch", 1: "cells"}
_BATCH_AXIS = {0: "batch"}


def expand_blocks(values: npt.NDArray[Any], quantised_shape: tuple[int, ...], axis: int, block: int) -> npt.NDArray[Any]:
    """Scale or zero point of DequantizeLinear, repeated to the shape of the quantised tensor.

    Args:
        values: a scalar (whole tensor), one value per slice of `axis`, or one per block of `block` slices of `axis`.
        quantised_shape: shape of the quantised tensor.
        axis: the quantised axis; may be negative.
        block: slices per value; 0 = one value per slice.
    """
    if values.size == 1:
        return np.broadcast_to(values.reshape(()), quantised_shape)
    if block:
        repeated = np.repeat(values, block, axis=axis)
        return np.take(repeated, np.arange(quantised_shape[axis]), axis=axis)  # the last block may be shorter
    shape = [1] * len(quantised_shape)
    shape[axis] = -1
    return np.broadcast_to(values.reshape(shape), quantised_shape)


def _float_weight(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> onnx.TensorProto:
    from onnx import helper, numpy_helper

    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    quantised, scale = (numpy_helper.to_array(constants[name]) for name in node.input[:2])
    axis, block = int(attributes.get("axis", 1)), int(attributes.get("block_size", 0))
    result = quantised.astype(np.float32)
    if len(node.input) > 2 and node.input[2]:
        zero = numpy_helper.to_array(constants[node.input[2]]).astype(np.float32)
        result = result - expand_blocks(zero, quantised.shape, axis, block)
    result = result * expand_blocks(scale.astype(np.float32), quantised.shape, axis, block)
    return numpy_helper.from_array(np.ascontiguousarray(result, np.float32), node.output[0])


def dequantise(model: onnx.ModelProto) -> None:
    """Turn every block-quantised weight into a float32 initialiser, in place.

    ONNX Runtime does not load the OpenCV Zoo's `int8bq` files as shipped; their float form runs everywhere. Inputs of the
    graph that only named such weights go too.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = [n for n in graph.node if n.op_type == "DequantizeLinear" and all(i in constants for i in n.input if i)]
    weights = [_float_weight(node, constants) for node in nodes]
    for node in nodes:
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    _replace(graph.initializer, [*kept, *weights])
    _replace(graph.input, [value for value in graph.input if value.name in used])
    _drop_constant_inputs(graph)


def _replace(field: Any, values: list[Any]) -> None:
    del field[:]
    field.extend(values)


def _drop_constant_inputs(graph: onnx.GraphProto) -> None:
    """Weights that are listed as inputs too could be overridden by a caller, so a runtime may not fold them: list them once."""
    names = {tensor.name for tensor in graph.initializer}
    _replace(graph.input, [value for value in graph.input if value.name not in names])


def _free_reshapes(graph: onnx.GraphProto) -> None:
    """Turn a leading 1 in the target of an activation's Reshape into 0 (= keep), so that a batch is not mixed into one row."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    free: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[0] in constants or node.input[1] not in constants:
            continue
        shape = numpy_helper.to_array(constants[node.input[1]])
        if shape[0] == 1:
            name = f"{node.input[1]}_any_batch"
            free[name] = numpy_helper.from_array(np.array([0, *shape[1:]], np.int64), name)
            node.input[1] = name
    used = {name for node in graph.node for name in node.input}
    _replace(graph.initializer, [t for t in graph.initializer if t.name in used] + list(free.values()))


def dynamic_shape(model: onnx.ModelProto) -> None:
    """Free batch, height and width of every input and the matching axes of every output, in place.

    Only for fully convolutional models whose heads are maps (b, c, h, w) or lists (b, cells, values). Recorded shapes of inner
    tensors are dropped: they hold for the old size only.
    """
    _free_axes(model.graph, maps=_MAP_AXES, lists=_LIST_AXES)


def dynamic_batch(model: onnx.ModelProto) -> None:
    """Free the first axis of every input and output, in place: for networks that take one crop of a fixed size at a time."""
    _free_axes(model.graph, maps=_BATCH_AXIS, lists=_BATCH_AXIS)


def _free_axes(graph: onnx.GraphProto, *, maps: Mapping[int, str], lists: Mapping[int, str]) -> None:
    """Give names instead of sizes to some axes of inputs and outputs: of those with four axes, and of those with others."""
    from onnx import helper

    _drop_constant_inputs(graph)
    _free_reshapes(graph)
    for value in [*graph.input, *graph.output]:
        tensor = value.type.tensor_type
        sizes: list[int | str] = [d.dim_value or d.dim_param for d in tensor.shape.dim]
        free = maps if len(sizes) == 4 else lists
        sizes = [f"{value.name}_{free[axis]}" if axis in free else size for axis, size in enumerate(sizes)]
        value.CopyFrom(helper.make_tensor_value_info(value.name, tensor.elem_type, sizes))
    del graph.value_info[:]


def _read_onnx(content: bytes) -> onnx.ModelProto:
    import onnx

    model = onnx.load_model_from_string(content)
    onnx.checker.check_model(model)
    return model


CONVERSIONS: Mapping[str, Callable[[Any], None]] = {
    "dequantise": dequantise,
    "dynamic_batch": dynamic_batch,
    "dynamic_shape": dynamic_shape,
}
READERS: Mapping[str, Callable[[bytes], Any]] = {"attention_mesh": attention_mesh.read, "dlib_resnet": dlib_resnet.read}
"""First steps that make the ONNX model out of a file of another format."""


def convert(content: bytes, steps: Sequence[str]) -> bytes:
    """The converted form of a model file; equal input gives equal bytes.

    Args:
        content: the downloaded file, its hash already checked.
        steps: names in `CONVERSIONS`, applied in order; the first may be one in `READERS`, else the file is ONNX.

    Raises:
        WeightsError: if the file is not a valid model of its format, before or after.
    """
    import onnx

    other_format = bool(steps) and steps[0] in READERS
    try:
        model = READERS[steps[0]](content) if other_format else _read_onnx(content)
        for step in steps[1:] if other_format else steps:
            CONVERSIONS[step](model)
        onnx.checker.check_model(model)
    except WeightsError as error:
        raise WeightsError(f"conversion {', '.join(steps)}: {error}") from error
    except Exception as error:
        raise WeightsError(
            f"conversion {', '.join(steps)}: not a valid ONNX model ({type(error).__name__}); expected the file the registry names"
        ) from error
    return bytes(model.SerializeToString(deterministic=True))
