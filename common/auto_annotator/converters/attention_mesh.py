"""MediaPipe's face mesh with attention (a .tflite file with three operators of its own) to plain ONNX.

LiteRT does not run the file: a region of interest is cut out of a feature map by `Landmarks2TransformMatrix` and
`TransformTensorBilinear`, and the points found in it go back through `TransformLandmarks`. All three are similarity transforms
and bilinear sampling, which ONNX has. Everything else is convolutions, copied layer by layer.

Source: Grishchenko et al., "Attention Mesh: High-fidelity Face Mesh Prediction in Real-time", 2020 (arXiv:2006.10962); the
operators as documented by MediaPipe's sources (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.converters.onnx_graph import Graph
from auto_annotator.errors import WeightsError

OPSET = 16  # GridSample
VERTICES, SIDE, GRID, CROP = 468, 192, 48, 16
"""Vertices of the mesh, sides in pixels of the input, of the feature map and of the map cut out of it."""
HEADS = {
    "conv_left_eye": "right_eye",
    "conv_right_eye": "left_eye",
    "conv_left_iris": "right_iris",
    "conv_right_iris": "left_iris",
}
"""Layers of the file, named from the image's side -> outputs here, named from the person's own side."""
OUTPUTS = {
    "mesh": (VERTICES, 3),
    "lips": (80, 2),
    "right_eye": (71, 2),
    "left_eye": (71, 2),
    "right_iris": (5, 2),
    "left_iris": (5, 2),
}
"""Output -> (points, coordinates) for each picture of the batch, in pixels of the crop; beside them `face`, one logit."""

_FLOAT32, _FLOAT16 = 0, 1


@dataclass(frozen=True, slots=True)
class _Region:
    """A turned rectangle of the feature map: its middle (b, 1, 2) and the matrix (b, 2, 2) from its cells to those of the map."""

    middle: str
    linear: str


@dataclass(slots=True, kw_only=True)
class _Writer(Graph):
    """The ONNX graph of one file.

    `values`: index of a tensor of the file -> name in the graph (maps as (b, c, h, w)).
    """

    file: Any
    schema: Any
    values: dict[int, str] = field(default_factory=dict)
    regions: dict[int, _Region] = field(default_factory=dict)

    @property
    def tensors_of_file(self) -> Any:
        return self.file.subgraphs[0].tensors

    def shape(self, index: int) -> list[int]:
        return [int(d) for d in self.tensors_of_file[index].shape]

    def array(self, index: int) -> npt.NDArray[Any]:
        """A constant of the file."""
        tensor = self.tensors_of_file[index]
        dtype = {_FLOAT32: np.float32, _FLOAT16: np.float16}.get(tensor.type, np.int32)
        values = np.frombuffer(bytes(self.file.buffers[tensor.buffer].data), dtype).reshape(self.shape(index))
        return values.astype(np.float32) if dtype is np.float16 else values

    def convolution(self, operator: Any, *, depthwise: bool) -> str:
        x, weight, bias = operator.inputs[0], self.weights[operator.inputs[1]], self.weights[operator.inputs[2]]
        options = operator.builtinOptions
        kernel = weight.transpose(3, 0, 1, 2) if depthwise else weight.transpose(0, 3, 1, 2)
        return self.add(
            "Conv",
            self.values[x],
            self.constant(kernel.astype(np.float32)),
            self.constant(bias.astype(np.float32)),
            strides=[options.strideH, options.strideW],
            pads=self.pads(x, kernel.shape[2:], (options.strideH, options.strideW), options.padding),
            group=len(kernel) if depthwise else 1,
        )

    def pooling(self, operator: Any) -> str:
        options, x = operator.builtinOptions, operator.inputs[0]
        kernel, strides = (options.filterHeight, options.filterWidth), (options.strideH, options.strideW)
        pads = self.pads(x, kernel, strides, options.padding)
        return self.add("MaxPool", self.values[x], kernel_shape=list(kernel), strides=list(strides), pads=pads)

    def pads(self, x: int, kernel: Sequence[int], strides: Sequence[int], padding: int) -> list[int]:
        """Top, left, bottom, right; the odd pixel of TensorFlow's SAME goes to the bottom and the right."""
        if padding != self.schema.Padding.SAME:
            return [0, 0, 0, 0]
        sides = self.shape(x)[1:3]
        total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(sides, kernel, strides, strict=True)]
        return [total[0] // 2, total[1] // 2, total[0] - total[0] // 2, total[1] - total[1] // 2]

    def padding(self, operator: Any) -> str:
        before_after = self.weights[operator.inputs[1]][[0, 3, 1, 2]].T.reshape(-1)
        return self.add("Pad", self.values[operator.inputs[0]], self.constant(before_after.astype(np.int64)))

    @property
    def weights(self) -> _Weights:
        return _Weights(self)

    def points(self, operator: Any) -> str:
        """A map of 1 x 1 cells as (b, points, coordinates)."""
        target = [-1, *self.shape(operator.outputs[0])[1:]]
        return self.add("Reshape", self.values[operator.inputs[0]], self.constant(np.array(target, np.int64)))

    def region(self, mesh: str, options: Mapping[str, Any]) -> _Region:
        """Where the vertices of a region lie on the feature map, upright along the line between two of them."""
        mesh = self.add("Gather", mesh, self.constant(np.array([0, 1], np.int64)), axis=2)  # without depth
        ends = self._vertices(mesh, [options["left_rotation_idx"], options["right_rotation_idx"]])
        start, end = (self._slice(ends, i, axis=1) for i in (0, 1))
        along = self.add("Sub", end, start)  # (b, 1, 2)
        length = self.add("ReduceL2", along, axes=[2], keepdims=1)
        unit = self.add("Div", along, self.add("Max", length, self._number(1e-6)))
        cos, sin = (self._slice(unit, i, axis=2) for i in (0, 1))
        rows = [self.add("Concat", cos, self.add("Neg", sin), axis=2), self.add("Concat", sin, cos, axis=2)]
        turn = self.add("Concat", *rows, axis=1)  # (b, 2, 2), columns: along the region, down the region
        upright = self.add("MatMul", self._vertices(mesh, options["subset_idxs"]), turn)
        low, high = (self.add(kind, upright, axes=[1], keepdims=1) for kind in ("ReduceMin", "ReduceMax"))
        back = self.add("Transpose", turn, perm=[0, 2, 1])
        middle = self.add("MatMul", self.add("Mul", self.add("Add", low, high), self._number(0.5)), back)
        scale = np.array([options["scale_x"], options["scale_y"]], np.float32) / CROP
        cell = self.add("Mul", self.add("Sub", high, low), self.constant(scale))
        return _Region(middle=middle, linear=self.add("Mul", turn, cell))

    def cut(self, features: str, region: _Region) -> str:
        """(b, c, CROP, CROP): the feature map sampled at the centres of the region's cells; 0 outside the map."""
        y, x = np.mgrid[0:CROP, 0:CROP]
        cells = np.stack([x, y], axis=-1).reshape(1, -1, 2).astype(np.float32) + np.float32(0.5 - CROP / 2)
        places = self.add("Sub", self._to_map(self.constant(cells), region, scale=1.0), self._number(0.5))
        grid = self.add("Sub", self.add("Mul", places, self._number(2 / (GRID - 1))), self._number(1))
        grid = self.add("Reshape", grid, self.constant(np.array([-1, CROP, CROP, 2], np.int64)))
        sampled = self.add("GridSample", features, grid, mode="bilinear", padding_mode="zeros", align_corners=1)
        beyond = self.add("ReduceMax", self.add("Abs", grid), axes=[3], keepdims=0)
        inside = self.add("Cast", self.add("LessOrEqual", beyond, self._number(1)), to=1)
        return self.add("Mul", sampled, self.add("Unsqueeze", inside, self.constant(np.array([1], np.int64))))

    def to_crop(self, points: str, region: _Region) -> str:
        """(b, n, 2) points of a region, which counts 4 pixels a cell as the crop does, in pixels of the crop."""
        ratio = SIDE / GRID
        return self._to_map(self.add("Sub", points, self._number(CROP / 2 * ratio)), region, scale=ratio)

    def _to_map(self, points: str, region: _Region, *, scale: float) -> str:
        turned = self.add("MatMul", points, self.add("Transpose", region.linear, perm=[0, 2, 1]))
        return self.add("Add", turned, self.add("Mul", region.middle, self._number(scale)))

    def _vertices(self, mesh: str, indexes: Sequence[int]) -> str:
        return self.add("Gather", mesh, self.constant(np.array(indexes, np.int64)), axis=1)

    def _slice(self, x: str, index: int, *, axis: int) -> str:
        return self.add("Gather", x, self.constant(np.array([index], np.int64)), axis=axis)

    def _number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))


@dataclass(frozen=True, slots=True)
class _Weights:
    """Constants of the file, through the float16 -> float32 step that stands before most of them."""

    writer: _Writer

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        for operator in self.writer.file.subgraphs[0].operators:
            if index in operator.outputs:
                index = operator.inputs[0]
                break
        return self.writer.array(index)


def read(content: bytes) -> Any:
    """The model as an `onnx.ModelProto`: `crop` (b, 192, 192, 3) RGB in 0..1 -> `OUTPUTS` and `face`.

    Raises:
        WeightsError: if the file is not MediaPipe's face mesh with attention, or its format cannot be read here.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise WeightsError("ai-edge-litert is not installed: pip install 'auto-annotator[cpu]' (or [gpu])") from error
    try:
        return _write(_Writer(file=schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0)), schema=schema))
    except WeightsError:
        raise
    except Exception as error:  # a damaged flatbuffer fails in any way
        raise WeightsError(f"not MediaPipe's face mesh with attention ({type(error).__name__})") from error


def _write(writer: _Writer) -> Any:
    graph = writer.file.subgraphs[0]
    if [writer.shape(i) for i in graph.inputs] != [[1, SIDE, SIDE, 3]]:
        raise WeightsError(f"got inputs {[writer.shape(i) for i in graph.inputs]}, expected one crop of {SIDE} x {SIDE} pixels")
    writer.values[graph.inputs[0]] = writer.add("Transpose", "crop", perm=[0, 3, 1, 2])
    found: dict[str, str] = {}
    for operator in graph.operators:
        _operator(writer, operator, found)
    missing = {*OUTPUTS, "face"} - set(found)
    if missing:
        raise WeightsError(f"the file has no {', '.join(sorted(missing))}")
    for name, value in found.items():
        writer.add("Identity", value, output=name)
    shapes: dict[str, tuple[int | str, ...]] = {name: ("batch", *OUTPUTS[name]) for name in OUTPUTS} | {"face": ("batch", 1)}
    return writer.model("face_mesh_attention", {"crop": ("batch", SIDE, SIDE, 3)}, shapes, opset=OPSET)


def _operator(writer: _Writer, operator: Any, found: dict[str, str]) -> None:
    """Write one operator of the file, and note which results are outputs."""
    kind = _kind(writer, operator)
    if kind in ("DEQUANTIZE", "STRIDED_SLICE"):  # weights; a copy of the mesh
        return
    target, first = operator.outputs[0], operator.inputs[0]
    name = writer.tensors_of_file[target].name.decode()
    if kind == "Landmarks2TransformMatrix":
        writer.regions[target] = writer.region(writer.values[first], _options(operator))
    elif kind == "TransformTensorBilinear":
        writer.values[target] = writer.cut(writer.values[first], writer.regions[operator.inputs[1]])
    elif kind == "TransformLandmarks":
        source = _head_of(writer, first)
        found[HEADS.get(source, source.removeprefix("conv_"))] = writer.to_crop(
            writer.values[first], writer.regions[operator.inputs[1]]
        )
    elif kind == "MUL" and first in writer.regions:  # the file's own way to bring a matrix to pixels of the crop
        writer.regions[target] = writer.regions[first]
    elif kind == "RESHAPE" and first not in writer.values:
        return
    else:
        writer.values[target] = _layer(writer, operator, kind)
        if name == "conv_faceflag":
            found["face"] = writer.add("Flatten", writer.values[target])
        if kind == "RESHAPE" and writer.shape(target) == [1, *OUTPUTS["mesh"]]:
            found["mesh"] = writer.values[target]


def _layer(writer: _Writer, operator: Any, kind: str) -> str:
    x = writer.values[operator.inputs[0]]
    if getattr(operator.builtinOptions, "fusedActivationFunction", 0):
        raise WeightsError(f"{kind} has a fused activation, expected none")
    if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return writer.convolution(operator, depthwise=kind == "DEPTHWISE_CONV_2D")
    if kind == "PRELU":
        return writer.add("PRelu", x, writer.constant(writer.weights[operator.inputs[1]].reshape(-1, 1, 1)))
    if kind == "ADD":
        return writer.add("Add", x, writer.values[operator.inputs[1]])
    if kind == "MAX_POOL_2D":
        return writer.pooling(operator)
    if kind == "PAD":
        return writer.padding(operator)
    if kind == "MUL":
        return writer.add("Mul", x, writer.constant(writer.weights[operator.inputs[1]]))
    if kind == "RESHAPE":
        return writer.points(operator)
    raise WeightsError(f"operator {kind} is not one of the face mesh with attention")


def _kind(writer: _Writer, operator: Any) -> str:
    """Name of an operator, its own for a custom one."""
    code = writer.file.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == writer.schema.BuiltinOperator.CUSTOM:
        return str(code.customCode.decode())
    return next((n for n, v in vars(writer.schema.BuiltinOperator).items() if v == number), str(number))


def _options(operator: Any) -> Mapping[str, Any]:
    from flatbuffers import flexbuffers  # type: ignore[import-untyped]

    loaded: Mapping[str, Any] = flexbuffers.Loads(bytes(operator.customOptions))
    return loaded


def _head_of(writer: _Writer, points: int) -> str:
    """Name of the layer whose numbers were reshaped into these points."""
    for operator in writer.file.subgraphs[0].operators:
        if points in operator.outputs:
            return str(writer.tensors_of_file[operator.inputs[0]].name.decode())
    raise WeightsError("points without a layer")
