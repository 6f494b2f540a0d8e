"""EdgeFace training checkpoints (.pt) to ONNX, in float32.

The network (EdgeNeXt of timm, 112 x 112) is written down as an ONNX graph straight from the tensors of the state dict, whose names
and shapes tell its size. torch only reads the file (`weights_only=True`, so no code in it runs); neither timm nor an exporter is
involved. Two forms are read beside the plain one: linear layers split into two of low rank (`..._gamma_..`) become one again, and
dynamically quantised ones (`..._q`) become float32. The latter is not bit for bit what torch computes: torch also rounds the
*values between the layers* to 8 bits, which ONNX Runtime need not.

Network: George et al., arXiv 2307.01838 (otroshi/edgeface, BSD-3; the weights' terms are stated elsewhere as non-commercial),
Maaz et al., arXiv 2206.10589 (EdgeNeXt), as timm's edgenext.py (Apache-2.0) computes it.

The result takes `input` (b, 3, 112, 112) float32, RGB, (value - 127.5) / 127.5, and gives `embedding` (b, 512), not of unit length.
Run it with `python -m auto_annotator.converters.edgeface in.pt out.onnx`.
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

Array = npt.NDArray[np.float32]
Weights = Mapping[str, Array]

SIDE = 112  # pixels of the aligned face
OPSET = 17  # the first with LayerNormalization

_EPSILON = 1e-6  # of every layer norm in EdgeNeXt
_SMALLEST_NORM = 1e-12  # torch's normalize()
_STAGES = 4
_WAVELENGTH, _POSITION_EPSILON = 10_000.0, 1e-6  # of the Fourier position code
_QUANTISED = "._packed_params._packed_params"


@dataclass(slots=True, kw_only=True)
class _Network(Graph):
    """The graph while it grows; every method adds nodes and returns the name of their result. Maps are (b, c, h, w)."""

    weights: Weights
    used: set[str] = field(default_factory=set)

    def take(self, name: str) -> Array:
        if name not in self.weights:
            raise WeightsError(f"the checkpoint has no tensor {name!r}; expected an EdgeFace state dict (plain, gamma or q)")
        self.used.add(name)
        return self.weights[name]

    def has(self, name: str) -> bool:
        return name in self.weights

    def conv(self, x: str, name: str, *, stride: int = 1) -> str:
        """Depthwise with half a window of padding, or a patch of the stride without any."""
        weight = self.take(f"{name}.weight")
        depthwise = stride == 1
        pads = [weight.shape[2] // 2 if depthwise else 0] * 4
        groups = len(weight) if depthwise else 1
        inputs = (self.constant(weight), self.constant(self.take(f"{name}.bias")))
        return self.add("Conv", x, *inputs, strides=[stride] * 2, pads=pads, group=groups)

    def linear(self, x: str, name: str) -> str:
        product = self.add("MatMul", x, self.constant(self.take(f"{name}.weight").T))
        return self.add("Add", product, self.constant(self.take(f"{name}.bias")))

    def norm(self, x: str, name: str) -> str:
        """Layer norm over the last axis."""
        inputs = (self.constant(self.take(f"{name}.weight")), self.constant(self.take(f"{name}.bias")))
        return self.add("LayerNormalization", x, *inputs, axis=-1, epsilon=_EPSILON)

    def transposed(self, x: str, *axes: int) -> str:
        return self.add("Transpose", x, perm=list(axes))

    def reshaped(self, x: str, *sizes: int) -> str:
        """Sizes: 0 = as before, -1 = the rest."""
        return self.add("Reshape", x, self.constant(np.array(sizes, np.int64)))

    def channel_norm(self, x: str, name: str) -> str:
        """Layer norm over the channels of a map."""
        return self.transposed(self.norm(self.transposed(x, 0, 2, 3, 1), name), 0, 3, 1, 2)

    def perceptron(self, x: str, base: str) -> str:
        """Norm, two linear layers with a GELU between them, gain; channels last."""
        y = self.linear(self.norm(x, f"{base}.norm"), f"{base}.mlp.fc1")
        bent = self.add("Erf", self.add("Div", y, self.constant(np.array(np.sqrt(2), np.float32))))
        y = self.add("Mul", y, self.add("Add", bent, self.constant(np.array(1, np.float32))))
        y = self.add("Mul", y, self.constant(np.array(0.5, np.float32)))
        return self.add("Mul", self.linear(y, f"{base}.mlp.fc2"), self.constant(self.take(f"{base}.gamma")))


def build_model(weights: Weights) -> Any:
    """The network of a state dict as an ONNX model; the module docstring has its input and output.

    Args:
        weights: as `read_checkpoint` gives them.

    Raises:
        WeightsError: if a tensor is missing, has another shape than the network needs, or is left over.
    """
    g = _Network(weights=weights)
    x = g.channel_norm(g.conv("input", "stem.0", stride=4), "stem.1")
    side = SIDE // 4
    for stage in range(_STAGES):
        base = f"stages.{stage}"
        if stage:
            x = g.conv(g.channel_norm(x, f"{base}.downsample.0"), f"{base}.downsample.1", stride=2)
            side //= 2
        for block in range(_count(weights, f"{base}.blocks")):
            x = _block(g, x, f"{base}.blocks.{block}", side)
    x = g.norm(g.reshaped(g.add("GlobalAveragePool", x), 0, -1), "head.norm")
    size = len(g.take("head.fc.weight"))
    g.add("Identity", g.linear(x, "head.fc"), output="embedding")
    unused = sorted(set(weights) - g.used)
    if unused:
        raise WeightsError(f"the checkpoint has {len(unused)} tensors that EdgeFace does not use, first {unused[0]!r}")
    try:
        return g.model("edgeface", {"input": ("batch", 3, SIDE, SIDE)}, {"embedding": ("batch", size)}, opset=OPSET)
    except Exception as error:  # onnx reports shapes that do not fit with several kinds of errors
        raise WeightsError(f"the checkpoint's tensors do not fit together ({type(error).__name__}); expected EdgeFace") from error


def _count(weights: Weights, base: str) -> int:
    """Blocks or layers in a row: names `base.0.`, `base.1.`, ..."""
    return len({name[len(base) + 1 :].split(".")[0] for name in weights if name.startswith(f"{base}.")})


def _block(g: _Network, x: str, base: str, side: int) -> str:
    y = _attended(g, x, base, side) if g.has(f"{base}.xca.temperature") else g.transposed(g.conv(x, f"{base}.conv_dw"), 0, 2, 3, 1)
    return g.add("Add", x, g.transposed(g.perceptron(y, base), 0, 3, 1, 2))


def _attended(g: _Network, x: str, base: str, side: int) -> str:
    """Split depth-wise transpose attention up to its last norm; the result has its channels last."""
    channels = len(g.take(f"{base}.gamma_xca"))
    tokens = g.transposed(g.reshaped(_scales(g, x, base, channels), 0, 0, -1), 0, 2, 1)
    if g.has(f"{base}.pos_embd.token_projection.weight"):
        projection, bias = (g.take(f"{base}.pos_embd.token_projection.{part}") for part in ("weight", "bias"))
        tokens = g.add("Add", tokens, g.constant(position_code(side, projection[:, :, 0, 0], bias)))
    attention = _cross_covariance(g, g.norm(tokens, f"{base}.norm_xca"), f"{base}.xca", channels)
    tokens = g.add("Add", tokens, g.add("Mul", attention, g.constant(g.take(f"{base}.gamma_xca"))))
    return g.reshaped(tokens, 0, side, side, channels)


def _scales(g: _Network, x: str, base: str, channels: int) -> str:
    """Each part of the channels is convolved together with the result of the part before; the last one stays as it is."""
    count = _count(g.weights, f"{base}.convs")
    width = len(g.take(f"{base}.convs.0.weight"))
    sizes = [width] * count + [channels - width * count]
    parts = [f"{base}.part{i}" for i in range(count + 1)]
    g.add_all("Split", x, g.constant(np.array(sizes, np.int64)), outputs=parts, axis=1)
    done: list[str] = []
    for i in range(count):
        part = g.add("Add", done[-1], parts[i]) if done else parts[i]
        done.append(g.conv(part, f"{base}.convs.{i}"))
    return g.add("Concat", *done, parts[-1], axis=1)


def _cross_covariance(g: _Network, x: str, base: str, channels: int) -> str:
    """Attention between channels instead of places (XCiT, arXiv 2106.09681); tokens in and out are (b, places, channels)."""
    temperature = g.take(f"{base}.temperature")
    heads = len(temperature)
    joint = g.reshaped(g.linear(x, f"{base}.qkv"), 0, 0, 3 * heads, channels // heads)
    names = [f"{base}.{part}" for part in "qkv"]
    split = g.constant(np.array([heads] * 3, np.int64))
    g.add_all("Split", g.transposed(joint, 0, 2, 3, 1), split, outputs=names, axis=1)  # (b, heads, channels, places) each
    q, k = (_unit_rows(g, name) for name in names[:2])
    similarity = g.add("Mul", g.add("MatMul", q, g.transposed(k, 0, 1, 3, 2)), g.constant(temperature))
    mixed = g.add("MatMul", g.add("Softmax", similarity, axis=-1), names[2])
    return g.linear(g.reshaped(g.transposed(mixed, 0, 3, 1, 2), 0, 0, channels), f"{base}.proj")


def _unit_rows(g: _Network, x: str) -> str:
    length = g.add("ReduceL2", x, axes=[-1], keepdims=1)
    return g.add("Div", x, g.add("Max", length, g.constant(np.array(_SMALLEST_NORM, np.float32))))


def position_code(side: int, projection: Array, bias: Array) -> Array:
    """What the Fourier position code adds to each place of a square map; it is the same for every picture.

    Args:
        side: of the map.
        projection: (channels, 2 * frequencies); the first half belongs to the row, the second to the column.
        bias: (channels,).

    Returns:
        (side * side, channels) float32, row by row.
    """
    frequencies = projection.shape[1] // 2
    places = np.arange(1, side + 1) / (side + _POSITION_EPSILON) * 2 * np.pi
    exponents = 2 * (np.arange(frequencies) // 2) / frequencies
    angles = places[:, None] / _WAVELENGTH**exponents
    code = np.where(np.arange(frequencies) % 2 == 0, np.sin(angles), np.cos(angles))
    rows, columns = projection[:, :frequencies].astype(np.float64), projection[:, frequencies:].astype(np.float64)
    total: npt.NDArray[np.float64] = (code @ rows.T)[:, None] + (code @ columns.T)[None] + bias
    return total.reshape(side * side, len(bias)).astype(np.float32)


def read_checkpoint(path: Path) -> Weights:
    """Float32 tensors of an EdgeFace state dict; every linear layer is one `weight` and one `bias`, whatever form it is stored in.

    Raises:
        WeightsError: if torch is not installed, or the file is not a state dict of tensors.
    """
    try:
        import torch
    except ImportError as error:
        raise WeightsError("torch is not installed; it is needed once to read a .pt file: pip install torch") from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return joined({name.removeprefix("model."): value for name, value in state.items()})
    except Exception as error:  # torch reports a damaged or unsafe file with many kinds of errors
        reason = f"torch cannot read it as a state dict of tensors ({type(error).__name__}); take the original .pt"
        raise WeightsError(f"{path.name}: {reason}") from error


def joined(state: Mapping[str, Any]) -> Weights:
    """Torch tensors as float32 arrays: quantised linear layers in float, those of low rank multiplied out."""
    weights: dict[str, Array] = {}
    for name, value in state.items():
        if name.endswith(_QUANTISED):
            base = name.removesuffix(_QUANTISED)
            weights[f"{base}.weight"] = value[0].dequantize().numpy().astype(np.float32)
            weights[f"{base}.bias"] = value[1].detach().numpy().astype(np.float32)
        elif name.endswith("._packed_params.dtype") or f"{name.rpartition('.')[0]}{_QUANTISED}" in state:
            continue  # scale and zero point of a quantised layer's output: unused when it is quantised dynamically
        else:
            weights[name] = value.detach().numpy().astype(np.float32)
    for name in [name for name in weights if name.endswith(".linear1.weight")]:
        base = name.removesuffix(".linear1.weight")
        first, second = weights.pop(name), weights.pop(f"{base}.linear2.weight")
        weights[f"{base}.weight"] = (second.astype(np.float64) @ first).astype(np.float32)
        weights[f"{base}.bias"] = weights.pop(f"{base}.linear2.bias")
    return weights


def convert(source: Path, target: Path) -> None:
    """Write the ONNX file of a checkpoint; the target appears whole or not at all.

    The same input gives the same bytes. The file records the SHA-256 of its source.

    Raises:
        WeightsError: if the file is missing or not an EdgeFace checkpoint.
    """
    if not source.is_file():
        raise WeightsError(f"{source}: no such file")
    from onnx import helper

    model = build_model(read_checkpoint(source))
    helper.set_model_props(model, {"source_sha256": hashlib.sha256(source.read_bytes()).hexdigest()})
    write_model(model, target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: 0 when the file was written, 2 with one line on stderr otherwise."""
    parser = argparse.ArgumentParser(prog="python -m auto_annotator.converters.edgeface", description="EdgeFace .pt to ONNX")
    parser.add_argument("source", type=Path, help="state dict (.pt)")
    parser.add_argument("target", type=Path, help="ONNX file to write")
    options = parser.parse_args(arguments)
    try:
        convert(options.source, options.target)
    except (WeightsError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
