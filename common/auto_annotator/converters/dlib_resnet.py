"""dlib's face recognition ResNet (`dlib_face_recognition_resnet_model_v1.dat`) to ONNX, without dlib.

dlib's own rules that the graph keeps: a convolution or pooling with a stride above 1 has no padding; `add_prev` takes the larger
of both sizes on every axis and counts what is missing as zero, which is how a block grows from 32 to 64 channels and why one of
3x3 may meet one of 4x4. Affine layers are folded into the convolutions before them.

The result takes `data` (b, 3, 150, 150) float32, **RGB 0..255 as it is**: dlib's normalisation, (value - mean of the channel)
/ 256, is part of the graph. It gives `descriptor` (b, 128) float32, not of unit length, as dlib does with `num_jitters=0`.
dlib calls two faces the same person where the Euclidean distance is below 0.6.

`auto-annotator models pull dlib-resnet` runs it; for an own file:
`python -m auto_annotator.converters.dlib_resnet in.dat out.onnx`.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.converters.dlib_layers import DESCRIPTOR_SIZE, PIXEL_SCALE, SIDE, WHOLE_PICTURE, Layer, Network, parse
from auto_annotator.converters.onnx_graph import Graph, write_model
from auto_annotator.errors import WeightsError

INPUT, OUTPUT = "data", "descriptor"
_MAX_FILE_BYTES = 1 << 28  # 256 MiB, read in one go; the published file has 22.5 MB and no other of this network is longer

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Value:
    """A result inside the graph: its name, channels, and side in pixels."""

    name: str
    channels: int
    side: int


class _Graph(Graph):
    """The graph while it grows; sizes are followed, because `add_prev` needs them."""

    def conv(self, x: _Value, layer: Layer, weight: Array, bias: Array, gain: Array, offset: Array) -> _Value:
        """Convolution and the affine layer behind it in one."""
        wide = gain.astype(np.float64)
        folded = self.constant((weight * wide[:, None, None, None]).astype(np.float32))
        shift = self.constant((bias * wide + offset).astype(np.float32))
        name = self.add("Conv", x.name, folded, shift, strides=[layer.stride] * 2, pads=[layer.padding] * 4)
        return _Value(name=name, channels=layer.filters, side=_side(x.side + 2 * layer.padding, layer))

    def pool(self, x: _Value, layer: Layer) -> _Value:
        if layer.window == WHOLE_PICTURE:
            return _Value(name=self.add("GlobalAveragePool", x.name), channels=x.channels, side=1)
        kind = "MaxPool" if layer.kind == "max_pool" else "AveragePool"
        name = self.add(kind, x.name, kernel_shape=[layer.window] * 2, strides=[layer.stride] * 2)
        return _Value(name=name, channels=x.channels, side=_side(x.side, layer))

    def sum(self, a: _Value, b: _Value) -> _Value:
        """`add_prev`: zeros where one of both has no value."""
        channels, side = max(a.channels, b.channels), max(a.side, b.side)
        name = self.add("Add", *(self.grown(x, channels, side) for x in (a, b)))
        return _Value(name=name, channels=channels, side=side)

    def grown(self, x: _Value, channels: int, side: int) -> str:
        if (x.channels, x.side) == (channels, side):
            return x.name
        after = [0, channels - x.channels, side - x.side, side - x.side]
        return self.add("Pad", x.name, self.constant(np.array([0, 0, 0, 0, *after], np.int64)), mode="constant")


def _side(side: int, layer: Layer) -> int:
    """Side after a window; windows that would not fit whole are left out, as in dlib and ONNX alike."""
    if side < layer.window:
        raise WeightsError(f"network: got a window of {layer.window} pixels on a side of {side}, expected one that fits")
    return (side - layer.window) // layer.stride + 1


def build_model(network: Network) -> Any:
    """The network as an ONNX model (`onnx.ModelProto`); the module docstring has its input and output.

    Raises:
        WeightsError: if a window does not fit into the picture.
    """
    g = _Graph()
    centred = g.add("Sub", INPUT, g.constant(network.mean.reshape(1, 3, 1, 1)))
    x = _Value(name=g.add("Mul", centred, g.constant(np.array(1 / PIXEL_SCALE, np.float32))), channels=3, side=SIDE)
    _body(g, x, network)
    shapes = {INPUT: ("batch", 3, SIDE, SIDE)}, {OUTPUT: ("batch", DESCRIPTOR_SIZE)}
    return g.model("dlib-face-recognition-resnet-v1", *shapes)


def _body(g: _Graph, x: _Value, network: Network) -> None:
    tags: dict[int, _Value] = {}
    waiting: tuple[Layer, Array, Array] | None = None
    for layer, values in zip(network.layers, network.parameters, strict=True):
        match layer.kind:
            case "con":
                waiting = (layer, values[0], values[1])
            case "affine":
                assert waiting is not None  # `layers` puts one behind every convolution
                x = g.conv(x, *waiting, gain=values[0], offset=values[1])
            case "relu":
                x = _Value(name=g.add("Relu", x.name), channels=x.channels, side=x.side)
            case "max_pool" | "avg_pool":
                x = g.pool(x, layer)
            case "tag":
                tags[layer.tag] = x
            case "skip":
                x = tags[layer.tag]
            case "add_prev":
                x = g.sum(x, tags[layer.tag])
            case "fc":
                g.add("MatMul", g.add("Flatten", x.name), g.constant(values[0]), output=OUTPUT)


def read(content: bytes) -> Any:
    """The ONNX model (`onnx.ModelProto`) of the content of a .dat file; it records the SHA-256 of its source.

    Raises:
        WeightsError: if the content is not dlib's face recognition ResNet v1, whole and with nothing behind it.
    """
    from onnx import helper

    model = build_model(parse(content))
    helper.set_model_props(model, {"source_sha256": hashlib.sha256(content).hexdigest()})
    return model


def convert(source: Path, target: Path) -> None:
    """Write the ONNX file of a .dat file; the target appears whole or not at all. The same input gives the same bytes.

    Raises:
        WeightsError: if the file is missing or not dlib's face recognition ResNet v1.
    """
    if not source.is_file():
        raise WeightsError(f"{source}: no such file")
    if source.stat().st_size > _MAX_FILE_BYTES:
        raise WeightsError(f"{source}: got {source.stat().st_size} bytes, expected dlib's ResNet v1, at most {_MAX_FILE_BYTES}")
    write_model(read(source.read_bytes()), target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when the file was written, 2 with one line on stderr otherwise."""
    parser = argparse.ArgumentParser(prog="python -m auto_annotator.converters.dlib_resnet", description="dlib's ResNet v1 to ONNX")
    parser.add_argument("source", type=Path, help="dlib_face_recognition_resnet_model_v1.dat")
    parser.add_argument("target", type=Path, help="ONNX file to write")
    options = parser.parse_args(arguments)
    try:
        convert(options.source, options.target)
    except (WeightsError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
