"""Writer of dlib's binary serialisation, so that tests can make files: the counterpart of the reader, after dlib's source."""

from __future__ import annotations

import math

import numpy as np

from auto_annotator.converters.dlib_layers import Layer

EMPTY = (0, 0, 0, 0)


def integer(value):
    magnitude = abs(value)
    length = max(1, (magnitude.bit_length() + 7) // 8)
    return bytes([length | (0x80 if value < 0 else 0)]) + magnitude.to_bytes(length, "little")


def number(value):
    fraction, exponent = math.frexp(value)
    mantissa, exponent = int(fraction * 2**53), exponent - 53
    for _ in range(8):
        if mantissa & 0xFF:
            break
        mantissa, exponent = mantissa >> 8, exponent + 8
    return integer(mantissa) + integer(exponent)


def text(value):
    return integer(len(value)) + value.encode()


def sizes(shape):
    return b"".join(map(integer, shape))


def tensor(values, shape):
    values = np.asarray(values, "<f4").ravel()
    assert len(values) == math.prod(shape)
    return integer(2) + sizes(shape) + values.tobytes()


def alias(shape):
    return integer(1) + sizes(shape)


def _training():
    return b"".join(map(number, (1.0, 1.0, 1.0, 0.0)))


def _window(layer: Layer, padding):
    return b"".join(map(integer, (layer.window, layer.window, layer.stride, layer.stride, padding, padding)))


def details(layer: Layer, values, channels):
    """The content of one layer; `channels` come in."""
    padding = layer.window // 2 if layer.kind == "con" and layer.stride == 1 else 0
    match layer.kind:
        case "con":
            weight, bias = values
            both = np.concatenate([weight.ravel(), bias])
            parts = [tensor(both, (both.size, 1, 1, 1)), integer(layer.filters), _window(layer, padding)]
            parts += [alias((layer.filters, channels, layer.window, layer.window)), alias((1, layer.filters, 1, 1)), _training()]
            return text("con_4") + b"".join(parts)
        case "affine":
            return text("affine_") + tensor(np.concatenate(values), (2 * channels, 1, 1, 1)) \
                + alias((1, channels, 1, 1)) * 2 + integer(0)  # fmt: skip
        case "max_pool" | "avg_pool":
            return text(f"{layer.kind}_2") + _window(layer, padding)
        case "fc":
            shape = (channels, layer.filters, 1, 1)
            parts = [integer(layer.filters), integer(channels), tensor(values[0], shape), alias(shape), alias(EMPTY), integer(1)]
            return text("fc_2") + b"".join(parts) + _training()
    return text(f"{layer.kind}_")


def network(layers, parameters, mean=(122.782, 117.001, 104.298), *, newest=True):
    """A whole file. `newest`: the versions that today's dlib writes, else the oldest that it still reads."""
    marks = [layer.kind in ("tag", "skip") for layer in layers]
    state = b"110" + tensor([], EMPTY) * (3 if newest else 2)
    parts = [integer(1), text("loss_metric_2"), number(0.04), number(0.6)]
    parts += [integer(1 if mark else 1 + newest) for mark in reversed(marks[1:])]
    parts += [integer(2 + newest), text("input_rgb_image_sized"), *map(number, mean), integer(150), integer(150)]
    channels = 3
    for place, (layer, values) in enumerate(zip(layers, parameters, strict=True)):
        if marks[place]:
            continue
        parts.append(details(layer, values, channels))
        channels = layer.filters or channels
        first = b"110" + tensor([], EMPTY) * 3 + (integer(1) if newest else b"")
        parts.append(state if place else first)
    return b"".join(parts)


def random_parameters(layers, seed=0):
    """Weights that keep the values of a network of these layers in a moderate range."""
    random, channels, result = np.random.default_rng(seed), 3, []
    for layer in layers:
        shapes = {
            "con": [(layer.filters, channels, layer.window, layer.window), (layer.filters,)],
            "affine": [(channels,), (channels,)],
            "fc": [(channels, layer.filters)],
        }.get(layer.kind, [])
        values = [random.normal(0, math.sqrt(2 / math.prod(s[1:])) if s[1:] else 0.1, s).astype(np.float32) for s in shapes]
        if layer.kind == "affine":
            values[0] += 1
        elif layer.kind == "fc":
            values[0] *= math.sqrt(layer.filters / channels)
        result.append(tuple(values))
        channels = layer.filters or channels
    return result
