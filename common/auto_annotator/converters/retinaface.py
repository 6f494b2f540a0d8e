"""RetinaFace training checkpoints (.pth) to ONNX.

The network is written down as an ONNX graph straight from the tensors of the state dict, batch normalisation folded into the
convolutions: torch only reads the file (`weights_only=True`, so no code in it runs), and no exporter is involved.

Networks: biubug6/Pytorch_Retinaface (`mobilenet0.25`, `resnet50`; MIT) and biubug6/Face-Detector-1MB-with-landmark
(`1mb-mobilenet`; MIT). Paper: Deng et al., arXiv 1905.00641.

Run it with `python -m auto_annotator.converters.retinaface in.pth out.onnx --variant mobilenet0.25`. Whatever the variant, the
file regresses relative to the standard anchors, so `detectors.retinaface.RetinaFace` reads it with its default options.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from auto_annotator.converters.onnx_graph import Graph, write_model
from auto_annotator.errors import WeightsError

Weights = Mapping[str, npt.NDArray[np.float32]]

_BN_EPSILON = 1e-5  # torch's default, which both repositories keep
_STANDARD_SIDES = ((16, 32), (64, 128), (256, 512))
_SIZE_VARIANCE = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a state dict does not tell about its network.

    Attributes:
        backbone: `mobilenet` or `resnet50`.
        slope: of the leaky ReLUs; 0 = plain ReLU.
        sides: anchor sides in pixels per level that it was trained with.
    """

    backbone: str
    slope: float
    sides: tuple[tuple[int, ...], ...] = _STANDARD_SIDES


VARIANTS: Mapping[str, Variant] = {
    "mobilenet0.25": Variant(backbone="mobilenet", slope=0.1),
    "resnet50": Variant(backbone="resnet50", slope=0.0),
    "1mb-mobilenet": Variant(backbone="mobilenet", slope=0.0, sides=((10, 20), (32, 64), (128, 256))),
}


@dataclass(slots=True, kw_only=True)
class _Graph(Graph):
    """The graph while it grows; every method adds nodes and returns the name of their result."""

    weights: Weights
    used: set[str] = field(default_factory=set)

    def take(self, name: str) -> npt.NDArray[np.float64]:
        if name not in self.weights:
            raise WeightsError(
                f"the checkpoint has no tensor {name!r}; choose the --variant that it was trained as ({', '.join(VARIANTS)})"
            )
        self.used.add(name)
        return self.weights[name].astype(np.float64)

    def conv(self, x: str, weight: npt.NDArray[Any], bias: npt.NDArray[Any], *, stride: int = 1, groups: int = 1) -> str:
        pad = weight.shape[2] // 2
        w, b = self.constant(weight.astype(np.float32)), self.constant(bias.astype(np.float32))
        return self.add("Conv", x, w, b, strides=[stride, stride], pads=[pad] * 4, group=groups)

    def conv_bn(self, x: str, conv: str, bn: str, *, stride: int = 1, slope: float | None = None) -> str:
        """Convolution `conv` and batch norm `bn` in one, then a (leaky) ReLU unless `slope` is None."""
        weight = self.take(f"{conv}.weight")
        gain = self.take(f"{bn}.weight") / np.sqrt(self.take(f"{bn}.running_var") + _BN_EPSILON)
        bias = self.take(f"{bn}.bias") - self.take(f"{bn}.running_mean") * gain
        groups = len(weight) if weight.shape[1] == 1 else 1  # depthwise
        y = self.conv(x, weight * gain[:, None, None, None], bias, stride=stride, groups=groups)
        return y if slope is None else self.activation(y, slope)

    def activation(self, x: str, slope: float) -> str:
        return self.add("LeakyRelu", x, alpha=slope) if slope else self.add("Relu", x)

    def twice(self, x: str) -> str:
        """Nearest-neighbour enlargement by 2, as torch's `interpolate` does it when sides are multiples of the stride."""
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        return self.add("Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")


def _mobilenet(g: _Graph, slope: float) -> list[str]:
    """MobileNet V1 at width 0.25; feature maps of stride 8, 16, 32."""
    x, levels = "input", []
    first_strides = {1: (2, 1, 2, 1, 2, 1), 2: (2, 1, 1, 1, 1, 1), 3: (2, 1)}
    for stage, strides in first_strides.items():
        for block, stride in enumerate(strides):
            base = f"body.stage{stage}.{block}"
            x = g.conv_bn(x, f"{base}.0", f"{base}.1", stride=stride, slope=slope)
            if (stage, block) != (1, 0):  # the very first block is a plain convolution, the others are depthwise + pointwise
                x = g.conv_bn(x, f"{base}.3", f"{base}.4", slope=slope)
        levels.append(x)
    return levels


def _resnet50(g: _Graph) -> list[str]:
    """ResNet-50 (stride in the 3x3 convolution); feature maps of stride 8, 16, 32."""
    x = g.conv_bn("input", "body.conv1", "body.bn1", stride=2, slope=0)
    x = g.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    levels = []
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            base, stride = f"body.layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = g.conv_bn(x, f"{base}.conv1", f"{base}.bn1", slope=0)
            y = g.conv_bn(y, f"{base}.conv2", f"{base}.bn2", stride=stride, slope=0)
            y = g.conv_bn(y, f"{base}.conv3", f"{base}.bn3")
            if block == 0:
                x = g.conv_bn(x, f"{base}.downsample.0", f"{base}.downsample.1", stride=stride)
            x = g.activation(g.add("Add", y, x), 0)
        levels.append(x)
    return levels[1:]


def _pyramid(g: _Graph, levels: Sequence[str], slope: float) -> list[str]:
    """Feature pyramid: each level plus the coarser one, enlarged."""
    fine, middle, coarse = (
        g.conv_bn(x, f"fpn.output{i}.0", f"fpn.output{i}.1", slope=slope) for i, x in enumerate(levels, start=1)
    )
    middle = g.conv_bn(g.add("Add", middle, g.twice(coarse)), "fpn.merge2.0", "fpn.merge2.1", slope=slope)
    fine = g.conv_bn(g.add("Add", fine, g.twice(middle)), "fpn.merge1.0", "fpn.merge1.1", slope=slope)
    return [fine, middle, coarse]


def _context(g: _Graph, x: str, level: int, slope: float) -> str:
    """The SSH context module of one level."""

    def block(x: str, name: str, slope: float | None) -> str:
        return g.conv_bn(x, f"ssh{level}.{name}.0", f"ssh{level}.{name}.1", slope=slope)

    three = block(x, "conv3X3", None)
    shared = block(x, "conv5X5_1", slope)
    five = block(shared, "conv5X5_2", None)
    seven = block(block(shared, "conv7X7_2", slope), "conv7x7_3", None)
    return g.add("Relu", g.add("Concat", three, five, seven, axis=1))


def _head(g: _Graph, features: Sequence[str], name: str, size: int, sides: Sequence[Sequence[int]]) -> str:
    """Rows (b, n, size) of one head over all levels: level by level, row by row, anchors of a cell together."""
    parts = []
    for level, x in enumerate(features):
        weight, bias = g.take(f"{name}.{level}.conv1x1.weight"), g.take(f"{name}.{level}.conv1x1.bias")
        anchors = len(sides[level])
        if len(bias) != anchors * size:
            raise WeightsError(f"{name}.{level}: got {len(bias)} channels, expected {anchors * size}; this is another network")
        scale, shift = _standard_anchors(name, sides[level], _STANDARD_SIDES[level])
        y = g.conv(x, weight * scale[:, None, None, None], bias * scale + shift)
        rows = g.constant(np.array([0, -1, size], np.int64))
        parts.append(g.add("Reshape", g.add("Transpose", y, perm=[0, 2, 3, 1]), rows))
    return g.add("Concat", *parts, axis=1)


def _standard_anchors(name: str, sides: Sequence[int], standard: Sequence[int]) -> tuple[Any, Any]:
    """Scale and shift per channel that make a head regress relative to the standard anchors.

    Offsets are in anchor sides, so they scale by side / standard; log sizes shift by log(side / standard). The result is exact, and
    every converted file is read with the same anchors.
    """
    ratio = np.asarray(sides, np.float64) / np.asarray(standard, np.float64)
    if name == "BboxHead":
        one, zero, log = np.ones_like(ratio), np.zeros_like(ratio), np.log(ratio) / _SIZE_VARIANCE
        return np.stack([ratio, ratio, one, one], 1).ravel(), np.stack([zero, zero, log, log], 1).ravel()
    if name == "LandmarkHead":
        return np.repeat(ratio, 10), np.zeros(10 * len(ratio))
    return np.ones(2 * len(ratio)), np.zeros(2 * len(ratio))


def build_model(weights: Weights, variant: str) -> Any:
    """The ONNX model of a state dict.

    Args:
        weights: tensor name -> float array, as `read_checkpoint` gives them.
        variant: one of `VARIANTS`.

    Returns:
        An `onnx.ModelProto`: `input` (b, 3, h, w) float32, BGR minus (104, 117, 123), sides multiples of 32 -> `loc` (b, n, 4),
        `conf` (b, n, 2) after softmax, `landmarks` (b, n, 10), relative to the standard anchors.

    Raises:
        WeightsError: if the tensors are not those of the variant.
    """
    if variant not in VARIANTS:
        raise WeightsError(f"variant: got {variant!r}, expected one of {', '.join(VARIANTS)}")
    spec, g = VARIANTS[variant], _Graph(weights=weights)
    levels = _mobilenet(g, spec.slope) if spec.backbone == "mobilenet" else _resnet50(g)
    features = [_context(g, x, i, spec.slope) for i, x in enumerate(_pyramid(g, levels, spec.slope), start=1)]
    loc, landmarks = (_head(g, features, name, size, spec.sides) for name, size in (("BboxHead", 4), ("LandmarkHead", 10)))
    conf = g.add("Softmax", _head(g, features, "ClassHead", 2, spec.sides), axis=2)
    unused = sorted(set(weights) - g.used)
    if unused:
        raise WeightsError(f"the checkpoint has {len(unused)} tensors that {variant} does not use, first {unused[0]!r}")
    return _finished(g, {"loc": (loc, 4), "conf": (conf, 2), "landmarks": (landmarks, 10)}, f"retinaface-{variant}")


def _finished(g: _Graph, outputs: Mapping[str, tuple[str, int]], title: str) -> Any:
    """The checked model of a graph; outputs: name -> (result of a node, columns)."""
    for name, (source, _) in outputs.items():
        g.add("Identity", source, output=name)
    tables = {name: ("batch", "anchors", size) for name, (_, size) in outputs.items()}
    return g.model(title, {"input": ("batch", 3, "height", "width")}, tables)


def read_checkpoint(path: Path) -> Weights:
    """Tensors of a torch state dict without its counters, float32, names without the `module.` of data-parallel training.

    Raises:
        WeightsError: if torch is not installed, or the file is not a state dict of plain tensors.
    """
    try:
        import torch
    except ImportError as error:
        raise WeightsError("torch is not installed; it is needed once to read a .pth file: pip install torch") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        tensors = {name.removeprefix("module."): tensor for name, tensor in state.items()}
        return {n: t.numpy().astype(np.float32) for n, t in tensors.items() if not n.endswith("num_batches_tracked")}
    except Exception as error:  # torch reports a damaged or unsafe file with many kinds of errors
        reason = f"torch cannot read it as a state dict of plain tensors ({type(error).__name__}); take the original .pth"
        raise WeightsError(f"{path.name}: {reason}") from error


def convert(source: Path, target: Path, *, variant: str) -> None:
    """Write the ONNX file of a checkpoint; the target appears whole or not at all.

    The same input gives the same bytes. The file records the variant and the SHA-256 of its source.

    Raises:
        WeightsError: if the file is missing or not a checkpoint of the variant.
    """
    if not source.is_file():
        raise WeightsError(f"{source}: no such file")
    from onnx import helper

    model = build_model(read_checkpoint(source), variant)
    helper.set_model_props(model, {"variant": variant, "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest()})
    write_model(model, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when the file was written, 2 with one line on stderr otherwise."""
    parser = argparse.ArgumentParser(prog="python -m auto_annotator.converters.retinaface", description="RetinaFace .pth to ONNX")
    parser.add_argument("source", type=Path, help="state dict (.pth)")
    parser.add_argument("target", type=Path, help="ONNX file to write")
    parser.add_argument("--variant", choices=tuple(VARIANTS), required=True, help="network it was trained as")
    options = parser.parse_args(arguments)
    try:
        convert(options.source, options.target, variant=options.variant)
    except (WeightsError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
