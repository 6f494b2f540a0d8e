"""The network of dlib's face recognition ResNet, and its weights out of a file.

The file names neither the network nor its sizes as a whole: in dlib the C++ type does. So the network stands here, as
`anet_type` of dlib's dnn_face_recognition_ex.cpp (public domain) states it, and each layer of the file is held against it.
The file lists the layers' versions from the loss down to the input, then their content from the input up to the loss
(dlib/dnn/core.h, layers.h, input.h, loss.h; Boost licence).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from auto_annotator.converters.dlib_format import Reader

SIDE = 150  # pixels of the aligned face
DESCRIPTOR_SIZE = 128
PIXEL_SCALE = 256.0  # fixed in dlib's code (dnn/input.h), not in the file

WHOLE_PICTURE = 0  # window of avg_pool_everything

_STEM_FILTERS = 32
_LEVELS = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""Filters, blocks, and whether the first of them halves the picture: alevel4 .. alevel0 of dlib's example, from the input on."""

_MARKS = ("tag", "skip")
_LAYER_VERSIONS, _INPUT_VERSIONS, _OTHER_VERSIONS = (1, 2), (2, 3), (1,)  # add_layer; the one on the input; loss, tag, skip
_CONVOLUTION_MODE = 0  # layer_mode of an affine layer: one gain per channel
_NO_BIAS = 1  # fc_bias_mode
_SAMPLES_PER_PICTURE = 1


class Layer(NamedTuple):
    """One layer of the network as the file lists it.

    Attributes:
        kind: `con`, `affine`, `relu`, `max_pool`, `avg_pool`, `add_prev`, `fc`; `tag` (remember what comes here) and `skip` (go on
            with what a tag remembers), of which the file has a version only.
        filters: output channels of a convolution, outputs of `fc`; 0 for others.
        window: side of the window in pixels; 0 = the whole picture.
        stride: in pixels.
        tag: number of the tag that `tag`, `skip` and `add_prev` mean.
    """

    kind: str
    filters: int = 0
    window: int = 1
    stride: int = 1
    tag: int = 0

    @property
    def padding(self) -> int:
        """The default padding of dlib on every side: half the window of a convolution, none with a stride or of a pooling."""
        return self.window // 2 if self.kind == "con" and self.stride == 1 else 0


def _block(filters: int, halves: bool) -> Iterator[Layer]:
    yield Layer("tag", tag=1)
    yield from (Layer("con", filters, 3, 2 if halves else 1), Layer("affine"), Layer("relu"))
    yield from (Layer("con", filters, 3), Layer("affine"))
    if halves:
        yield from (Layer("tag", tag=2), Layer("skip", tag=1), Layer("avg_pool", window=2, stride=2))
    yield from (Layer("add_prev", tag=2 if halves else 1), Layer("relu"))


def layers(stem_filters: int = _STEM_FILTERS, levels: Sequence[tuple[int, int, bool]] = _LEVELS) -> list[Layer]:
    """The network from the input to the descriptor; the defaults are the published one."""
    stem = [Layer("con", stem_filters, 7, 2), Layer("affine"), Layer("relu"), Layer("max_pool", window=3, stride=2)]
    blocks = [(filters, halves and number == 0) for filters, count, halves in levels for number in range(count)]
    inner = [layer for filters, halves in blocks for layer in _block(filters, halves)]
    return [*stem, *inner, Layer("avg_pool", window=WHOLE_PICTURE), Layer("fc", DESCRIPTOR_SIZE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What the file holds.

    Attributes:
        mean: (3,) float32, of red, green and blue in 0..255.
        layers: as `layers` gives them.
        parameters: per layer; a convolution: weight (out, in, rows, columns), bias (out,); an affine layer: gain (c,), offset (c,);
            the last layer: weight (in, 128); others: nothing. float32.
    """

    mean: npt.NDArray[np.float32]
    layers: Sequence[Layer]
    parameters: Sequence[tuple[npt.NDArray[np.float32], ...]]


def parse(content: bytes, expected: Sequence[Layer] | None = None) -> Network:
    """The weights in a file.

    Args:
        content: the whole file.
        expected: another network than the published one.

    Raises:
        WeightsError: if the file is not such a network, ends early or goes on after its end.
    """
    expected = layers() if expected is None else expected
    reader = Reader(content)
    reader.version(_OTHER_VERSIONS, "the loss layer")
    reader.tag("loss_metric_2")
    for _ in range(2):
        reader.number()  # margin and distance of the training loss: no part of the descriptor
    marks = [layer.kind in _MARKS for layer in expected]
    versions = [reader.version(_OTHER_VERSIONS if mark else _LAYER_VERSIONS, "a layer") for mark in reversed(marks[1:])]
    versions.append(reader.version(_INPUT_VERSIONS, "the first layer"))
    mean = _input(reader)
    parameters, channels = [], len(mean)
    for number, (layer, version) in enumerate(zip(expected, reversed(versions), strict=True)):
        parameters.append(_details(reader, layer, channels))
        channels = layer.filters or channels
        if layer.kind not in _MARKS:
            _state(reader, first=number == 0, version=version)
    reader.end()
    return Network(mean=mean, layers=expected, parameters=parameters)


def _input(reader: Reader) -> npt.NDArray[np.float32]:
    reader.tag("input_rgb_image_sized")
    mean = [reader.number() for _ in range(3)]
    reader.expect(SIDE, "rows of the input")
    reader.expect(SIDE, "columns of the input")
    if not all(0 <= value < PIXEL_SCALE for value in mean):
        raise reader.refuse("a mean colour outside 0..255", "the mean of red, green and blue")
    return np.array(mean, np.float32)


def _details(reader: Reader, layer: Layer, channels: int) -> tuple[npt.NDArray[np.float32], ...]:
    """The content of one layer, by its kind; `channels` come in."""
    match layer.kind:
        case "con":
            return _convolution(reader, layer, channels)
        case "affine":
            reader.tag("affine_")
            gain, offset = reader.tensor((2 * channels, 1, 1, 1)).reshape(2, channels)
            reader.alias((1, channels, 1, 1))
            reader.alias((1, channels, 1, 1))
            reader.expect(_CONVOLUTION_MODE, "mode of an affine layer")
            return gain, offset
        case "max_pool" | "avg_pool":
            reader.tag(f"{layer.kind}_2")
            _window(reader, layer)
        case "fc":
            return (_fully_connected(reader, layer, channels),)
        case "relu" | "add_prev":
            reader.tag(f"{layer.kind}_")
    return ()


def _window(reader: Reader, layer: Layer) -> None:
    names = ("rows of the window", "columns of the window", "vertical stride", "horizontal stride")
    for name, value in zip(names, (layer.window, layer.window, layer.stride, layer.stride), strict=True):
        reader.expect(value, name)
    reader.expect(layer.padding, "vertical padding")
    reader.expect(layer.padding, "horizontal padding")


def _convolution(reader: Reader, layer: Layer, channels: int) -> tuple[npt.NDArray[np.float32], ...]:
    reader.tag("con_4")
    shape = (layer.filters, channels, layer.window, layer.window)
    count = int(np.prod(shape))
    values = reader.tensor((count + layer.filters, 1, 1, 1)).ravel()
    reader.expect(layer.filters, "filters")
    _window(reader, layer)
    reader.alias(shape)
    reader.alias((1, layer.filters, 1, 1))
    _training(reader)
    return values[:count].reshape(shape), values[count:]


def _fully_connected(reader: Reader, layer: Layer, channels: int) -> npt.NDArray[np.float32]:
    reader.tag("fc_2")
    reader.expect(layer.filters, "outputs")
    reader.expect(channels, "inputs")
    weight = reader.tensor((channels, layer.filters, 1, 1)).reshape(channels, layer.filters)
    reader.alias((channels, layer.filters, 1, 1))
    reader.alias((0, 0, 0, 0))
    reader.expect(_NO_BIAS, "bias mode")
    _training(reader)
    return weight


def _training(reader: Reader) -> None:
    """Multipliers of learning rate and weight decay, of the weights and of the bias: no part of the network."""
    for _ in range(4):
        reader.number()


def _state(reader: Reader, *, first: bool, version: int) -> None:
    """What dlib keeps behind each layer for training: flags, gradients and the last output (empty in a cleaned network)."""
    for _ in range(3):
        reader.flag()
    for _ in range(3 if first or version >= _LAYER_VERSIONS[-1] else 2):
        reader.skip_tensor()
    if first and version == _INPUT_VERSIONS[-1]:
        reader.expect(_SAMPLES_PER_PICTURE, "samples per picture")
