"""EdgeFace checkpoints to ONNX: the graph computes what EdgeNeXt is, and every wrong file is refused."""

from __future__ import annotations

import math
import pickle

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import erf, softmax

from auto_annotator.converters import edgeface as converter
from auto_annotator.errors import WeightsError

WIDTHS, HEADS, FREQUENCIES = (4, 6, 8, 8), 2, 4
SCALES = {1: (3,), 2: (3, 3), 3: (2, 2, 2)}  # widths of the convolved parts in the last block of each stage; the rest stays


def random_state(seed=0):
    """A small network with the names of the published checkpoints and random values of a size that keeps signals alive."""
    random, state = np.random.default_rng(seed), {}

    def put(name, *shape):
        spread = 1 / math.sqrt(max(1, math.prod(shape[1:]))) if len(shape) > 1 else 0.3
        state[f"{name}.weight"] = random.normal(len(shape) == 1, spread, shape)
        state[f"{name}.bias"] = random.normal(0, 0.3, shape[0])

    def put_block(base, width, parts, *, position):
        if parts:
            for i, part in enumerate(parts):
                put(f"{base}.convs.{i}", part, 1, 3, 3)
            if position:
                put(f"{base}.pos_embd.token_projection", width, 2 * FREQUENCIES, 1, 1)
            put(f"{base}.norm_xca", width)
            put(f"{base}.xca.qkv", 3 * width, width)
            put(f"{base}.xca.proj", width, width)
            state[f"{base}.gamma_xca"] = random.normal(1, 0.3, width)
            state[f"{base}.xca.temperature"] = random.normal(1, 0.3, (HEADS, 1, 1))
        else:
            put(f"{base}.conv_dw", width, 1, 5, 5)
        put(f"{base}.norm", width)
        put(f"{base}.mlp.fc1", 4 * width, width)
        put(f"{base}.mlp.fc2", width, 4 * width)
        state[f"{base}.gamma"] = random.normal(1, 0.3, width)

    put("stem.0", WIDTHS[0], 3, 4, 4)
    put("stem.1", WIDTHS[0])
    for stage, width in enumerate(WIDTHS):
        if stage:
            put(f"stages.{stage}.downsample.0", WIDTHS[stage - 1])
            put(f"stages.{stage}.downsample.1", width, WIDTHS[stage - 1], 2, 2)
        put_block(f"stages.{stage}.blocks.0", width, (), position=False)
        if stage:
            put_block(f"stages.{stage}.blocks.1", width, SCALES[stage], position=stage == 1)
    put("head.norm", WIDTHS[-1])
    put("head.fc", 16, WIDTHS[-1])
    return {name: value.astype(np.float32) for name, value in state.items()}


class Plain:
    """EdgeNeXt's inference in numpy, channels last, as timm's edgenext.py states it."""

    def __init__(self, state):
        self.w = {name: value.astype(np.float64) for name, value in state.items()}

    def linear(self, x, name):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def patch(self, x, name, size):
        windows = sliding_window_view(x, (size, size), axis=(1, 2))[:, ::size, ::size]
        return np.einsum("byxcij,ocij->byxo", windows, self.w[f"{name}.weight"]) + self.w[f"{name}.bias"]

    def depthwise(self, x, name):
        weight = self.w[f"{name}.weight"][:, 0]
        pad = weight.shape[1] // 2
        windows = sliding_window_view(np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))), weight.shape[1:], axis=(1, 2))
        return np.einsum("byxcij,cij->byxc", windows, weight) + self.w[f"{name}.bias"]

    def positions(self, base, side):
        """Place by place, frequency by frequency."""
        weight, bias = self.w[f"{base}.weight"][:, :, 0, 0], self.w[f"{base}.bias"]
        code = np.empty((side, side, 2 * FREQUENCIES))
        for y in range(side):
            for x in range(side):
                for axis, place in enumerate((y, x)):
                    for i in range(FREQUENCIES):
                        angle = (place + 1) / (side + 1e-6) * 2 * math.pi / 10000 ** (2 * (i // 2) / FREQUENCIES)
                        code[y, x, axis * FREQUENCIES + i] = math.cos(angle) if i % 2 else math.sin(angle)
        return code @ weight.T + bias

    def attention(self, x, base):
        count, places, width = x.shape
        q, k, v = (part.reshape(count, places, HEADS, -1).transpose(0, 2, 3, 1)
                   for part in np.split(self.linear(x, f"{base}.qkv"), 3, axis=-1))  # fmt: skip
        q, k = (part / np.linalg.norm(part, axis=-1, keepdims=True) for part in (q, k))
        mixed = softmax(q @ k.swapaxes(-1, -2) * self.w[f"{base}.temperature"], axis=-1) @ v
        return self.linear(mixed.transpose(0, 3, 1, 2).reshape(count, places, width), f"{base}.proj")

    def split_transpose(self, x, base, parts):
        pieces, done = np.split(x, np.cumsum(parts), axis=-1), []
        for i, piece in enumerate(pieces[:-1]):
            done.append(self.depthwise(piece + done[-1] if done else piece, f"{base}.convs.{i}"))
        x = np.concatenate([*done, pieces[-1]], axis=-1)
        if f"{base}.pos_embd.token_projection.weight" in self.w:
            x = x + self.positions(f"{base}.pos_embd.token_projection", x.shape[1])
        tokens = x.reshape(len(x), -1, x.shape[-1])
        tokens = tokens + self.w[f"{base}.gamma_xca"] * self.attention(self.norm(tokens, f"{base}.norm_xca"), f"{base}.xca")
        return tokens.reshape(x.shape)

    def block(self, x, base, parts=()):
        y = self.split_transpose(x, base, parts) if parts else self.depthwise(x, f"{base}.conv_dw")
        y = self.linear(self.norm(y, f"{base}.norm"), f"{base}.mlp.fc1")
        y = self.linear(y * (1 + erf(y / math.sqrt(2))) / 2, f"{base}.mlp.fc2")
        return x + self.w[f"{base}.gamma"] * y

    def __call__(self, pictures):
        x = self.norm(self.patch(pictures.transpose(0, 2, 3, 1).astype(np.float64), "stem.0", 4), "stem.1")
        for stage in range(4):
            if stage:
                x = self.patch(self.norm(x, f"stages.{stage}.downsample.0"), f"stages.{stage}.downsample.1", 2)
            x = self.block(x, f"stages.{stage}.blocks.0")
            if stage:
                x = self.block(x, f"stages.{stage}.blocks.1", SCALES[stage])
        return self.linear(self.norm(x.mean(axis=(1, 2)), "head.norm"), "head.fc")


@pytest.fixture(scope="module")
def state():
    return random_state()


def pictures(count=3):
    coarse = np.random.default_rng(1).uniform(-1, 1, (count, 3, 14, 14)).astype(np.float32)
    return coarse.repeat(8, axis=2).repeat(8, axis=3)


def run(model, x):
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["embedding"], {"input": x})[0]


def test_the_graph_computes_what_edgenext_is(state):
    x = pictures()
    expected = Plain(state)(x)
    np.testing.assert_allclose(run(converter.build_model(state), x), expected, rtol=0, atol=2e-5 * np.abs(expected).max())
    assert expected.std(axis=0).mean() > 0.01 * expected.std()  # the pictures did reach the end of this random network


def test_a_map_of_zeros_has_a_vector(state):
    silent = dict(state)
    for name in ("weight", "bias"):
        silent[f"stages.1.blocks.1.xca.qkv.{name}"] = np.zeros_like(state[f"stages.1.blocks.1.xca.qkv.{name}"])
    assert np.isfinite(run(converter.build_model(silent), pictures(1))).all()


def test_a_missing_a_left_over_and_an_unfitting_tensor_are_refused(state):
    missing = {name: value for name, value in state.items() if name != "stages.1.blocks.1.xca.qkv.weight"}
    with pytest.raises(WeightsError, match=r"no tensor 'stages\.1\.blocks\.1\.xca\.qkv\.weight'"):
        converter.build_model(missing)
    with pytest.raises(WeightsError, match=r"has 1 tensors that EdgeFace does not use, first 'extra\.weight'"):
        converter.build_model(state | {"extra.weight": np.zeros(1, np.float32)})
    with pytest.raises(WeightsError, match="do not fit together"):
        converter.build_model(state | {"head.fc.weight": np.zeros((16, 5), np.float32)})


def test_conversion_is_reproducible_and_leaves_nothing_behind_when_it_fails(state, tmp_path, monkeypatch):
    source = tmp_path / "in.pt"
    source.write_bytes(b"stands for a checkpoint")
    monkeypatch.setattr(converter, "read_checkpoint", lambda path: state)
    for name in ("a.onnx", "b.onnx"):
        assert converter.main([str(source), str(tmp_path / name)]) == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert [p.key for p in onnx.load(tmp_path / "a.onnx").metadata_props] == ["source_sha256"]
    monkeypatch.setattr(converter, "read_checkpoint", lambda path: {})
    with pytest.raises(WeightsError):
        converter.convert(source, tmp_path / "c.onnx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "in.pt"]


def test_the_command_ends_with_2_and_says_why(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        converter.main([str(tmp_path / "no.pt"), str(tmp_path / "out.onnx")])
    assert stop.value.code == 2
    assert "no such file" in capsys.readouterr().err


# ---- with torch ------------------------------------------------------------------------------------------------------------------


def test_layers_of_low_rank_become_one(state, tmp_path):
    torch = pytest.importorskip("torch")
    split = {f"model.{name}": torch.from_numpy(value) for name, value in state.items()}
    base = "model.stages.0.blocks.0.mlp.fc1"
    first, second = torch.randn(2, WIDTHS[0]), torch.randn(4 * WIDTHS[0], 2)
    del split[f"{base}.weight"]
    split |= {f"{base}.linear1.weight": first, f"{base}.linear2.weight": second, f"{base}.linear2.bias": split.pop(f"{base}.bias")}
    torch.save(split, tmp_path / "in.pt")

    weights = converter.read_checkpoint(tmp_path / "in.pt")

    assert set(weights) == set(state)
    np.testing.assert_allclose(weights["stages.0.blocks.0.mlp.fc1.weight"], (second @ first).numpy(), atol=1e-5)


def test_files_that_could_run_code_or_are_no_checkpoint_are_refused(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "in.pt"
    for content in (b"", b"no checkpoint", pickle.dumps({"a": print})):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"in\.pt: torch cannot read it"):
            converter.read_checkpoint(path)


@pytest.mark.shared
@pytest.mark.parametrize("variant", ["xxs", "xs"])
def test_published_quantised_checkpoints_are_converted(variant, shared_models):
    pytest.importorskip("torch")
    weights = converter.read_checkpoint(shared_models / f"edgeface_{variant}_q.pt")
    x = pictures(2)
    batch = run(converter.build_model(weights), x)
    assert batch.shape == (2, 512)
    np.testing.assert_allclose(
        np.concatenate([run(converter.build_model(weights), x[i : i + 1]) for i in range(2)]), batch, atol=1e-5
    )
