"""Small networks of dlib's kind, written by the test: the reader's rules, and the graph against dlib's rules in plain numpy."""

from __future__ import annotations

import hashlib

import dlib_files as dat
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from auto_annotator.converters import dlib_resnet as converter
from auto_annotator.converters.dlib_layers import layers, parse
from auto_annotator.errors import WeightsError
from auto_annotator.weights import conversions

# 150 -> 72 -> 35 -> 17 -> 8 -> convolution 3, pooling 4: as in the published network, one sum has sides that differ
SMALL = layers(4, ((4, 1, False), (6, 2, True), (6, 1, True), (7, 1, True)))
MEAN = (120.0, 110.5, 100.25)


@pytest.fixture(scope="module")
def parameters():
    return dat.random_parameters(SMALL)


@pytest.fixture(scope="module")
def content(parameters):
    return dat.network(SMALL, parameters, MEAN)


def windows(x, layer, padding=0):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    return sliding_window_view(x, (layer.window, layer.window), axis=(2, 3))[:, :, :: layer.stride, :: layer.stride]


def add_with_zeros(a, b):
    total = np.zeros([max(sizes) for sizes in zip(a.shape, b.shape, strict=True)])
    for part in (a, b):
        total[tuple(map(slice, part.shape))] += part
    return total


def plain(x, parameters):
    """What dlib's documentation says the layers do."""
    x, tags = (x - np.array(MEAN).reshape(1, 3, 1, 1)) / 256, {}
    for layer, values in zip(SMALL, parameters, strict=True):
        match layer.kind:
            case "con":
                padded = windows(x, layer, 1 if layer.stride == 1 else 0)
                x = np.einsum("bcyxij,ocij->boyx", padded, values[0], optimize=True) + values[1][:, None, None]
            case "affine":
                x = x * values[0][:, None, None] + values[1][:, None, None]
            case "relu":
                x = np.maximum(x, 0)
            case "max_pool":
                x = windows(x, layer).max(axis=(4, 5))
            case "avg_pool":
                x = windows(x, layer).mean(axis=(4, 5)) if layer.window else x.mean(axis=(2, 3), keepdims=True)
            case "tag":
                tags[layer.tag] = x
            case "skip":
                x = tags[layer.tag]
            case "add_prev":
                x = add_with_zeros(x, tags[layer.tag])
            case "fc":
                x = x.reshape(len(x), -1) @ values[0]
    return x


def test_the_graph_computes_what_the_layers_mean(content, parameters):
    model = converter.build_model(parse(content, SMALL))
    coarse = np.random.default_rng(1).integers(0, 256, (3, 3, 6, 6)).astype(np.float32)
    x = coarse.repeat(25, axis=2).repeat(25, axis=3)

    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    got = session.run(None, {converter.INPUT: x})[0]

    expected = plain(x.astype(np.float64), parameters)
    assert got.shape == (3, 128)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert expected.std(axis=0).mean() > 0.01 * expected.std()  # the pictures did reach the end of this random network


@pytest.mark.parametrize("newest", [True, False])
def test_the_weights_come_back_from_both_layouts(newest, parameters):
    network = parse(dat.network(SMALL, parameters, MEAN, newest=newest), SMALL)
    np.testing.assert_allclose(network.mean, MEAN)
    for got, expected in zip(network.parameters, parameters, strict=True):
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_published_network_has_the_layers_of_the_paper_code():
    """29 convolutions, 14 sums, as dlib's example counts them; the descriptor has 128 numbers."""
    kinds = [layer.kind for layer in layers()]
    assert [kinds.count(kind) for kind in ("con", "affine", "relu", "add_prev", "avg_pool", "max_pool", "fc")] == [
        29, 29, 29, 14, 5, 1, 1]  # fmt: skip


@pytest.mark.parametrize("end", [0, 1, 2, 15, 40, 60, 100, 500, 1000, -1, -2, -30])
def test_a_truncated_file_is_refused(content, end):
    with pytest.raises(WeightsError, match="truncated, damaged or holds another network"):
        parse(content[:end], SMALL)


def test_bytes_behind_the_end_are_refused(content):
    with pytest.raises(WeightsError, match="got 3 bytes more, expected the end of the file"):
        parse(content + b"abc", SMALL)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"loss_metric_2", b"loss_metric_3", "got 'loss_metric_3', expected 'loss_metric_2'"),
        (b"input_rgb_image_sized", b"input_rgb_image_SIZED", "expected 'input_rgb_image_sized'"),
        (b"con_4", b"con_9", "got 'con_9', expected 'con_4'"),
        (b"affine_", b"bn_con2", "got 'bn_con2', expected 'affine_'"),
        (b"relu_", b"elu__", "got 'elu__', expected 'relu_'"),
        (b"add_prev_", b"mul_prev_", "got 'mul_prev_', expected 'add_prev_'"),
        (b"relu_110", b"relu_1x0", "got byte 0x78, expected a flag"),
        (dat.text("max_pool_2") + dat.integer(3), dat.text("max_pool_2") + dat.integer(2), "got rows of the window 2, expected 3"),
        (dat.integer(150) * 2, dat.integer(150) + dat.integer(149), "got columns of the input 149, expected 150"),
        (dat.number(MEAN[0]), dat.number(4096.0), "got a mean colour outside 0..255"),
        (dat.text("con_4") + dat.integer(2), dat.text("con_4") + dat.integer(1), "got version 1 of a tensor, expected 2"),
    ],
)
def test_another_network_is_refused_and_the_difference_named(content, old, new, message):
    assert old in content
    with pytest.raises(WeightsError, match=message):
        parse(content.replace(old, new, 1), SMALL)


def test_the_layers_must_be_those_of_the_published_network(content):
    with pytest.raises(WeightsError, match=r"got version .*, expected"):
        converter.read(content)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_damage_gives_a_network_or_a_clear_error(content, data):
    place = data.draw(st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[place] = data.draw(st.integers(0, 255))
    try:
        parse(bytes(damaged), SMALL)
    except WeightsError as error:
        assert "expected" in str(error)


def test_conversion_is_reproducible_and_leaves_nothing_behind_when_it_fails(content, tmp_path, monkeypatch):
    monkeypatch.setattr(converter, "parse", lambda content: parse(content, SMALL))
    source, target = tmp_path / "in.dat", tmp_path / "out.onnx"
    source.write_bytes(content)
    converter.convert(source, target)
    first = target.read_bytes()
    converter.convert(source, target)
    assert target.read_bytes() == first
    model = onnx.load_from_string(first)
    assert {p.key: p.value for p in model.metadata_props} == {"source_sha256": hashlib.sha256(content).hexdigest()}
    assert conversions.convert(content, ("dlib_resnet",)) == first

    source.write_bytes(content[:-1])
    with pytest.raises(WeightsError, match="the end of the file"):
        converter.convert(source, tmp_path / "other.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.dat", "out.onnx"]


def test_a_pull_says_what_is_wrong_with_the_file():
    with pytest.raises(WeightsError, match="conversion dlib_resnet: dlib file, before byte"):
        conversions.convert(b"\x01\x01\x01\x05hello", ("dlib_resnet",))


@pytest.mark.parametrize("content", [None, b"no network"])
def test_the_command_ends_with_2_and_says_why(content, tmp_path, capsys):
    source = tmp_path / "in.dat"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        converter.main([str(source), str(tmp_path / "out.onnx")])
    assert stop.value.code == 2
    assert ("no such file" if content is None else "dlib file") in capsys.readouterr().err
