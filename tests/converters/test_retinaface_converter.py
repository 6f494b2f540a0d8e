"""RetinaFace checkpoints to ONNX: the graph computes what the torch network computes, and every wrong file is refused."""

from __future__ import annotations

import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from auto_annotator.converters import retinaface as converter
from auto_annotator.detectors.retinaface import LAYOUTS, decode_rows
from auto_annotator.errors import WeightsError

MOBILE_WIDTHS = {1: (3, 8, 16, 32, 32, 64, 64), 2: (64, 128, 128, 128, 128, 128, 128), 3: (128, 256, 256)}


def random_state(backbone="mobilenet", seed=0):
    """A state dict with the names and shapes of the published checkpoints and random values of a size that keeps signals alive."""
    rng, state = np.random.default_rng(seed), {}

    def bn(name, width):
        state[f"{name}.weight"] = rng.uniform(0.6, 1.4, width)
        state[f"{name}.bias"] = rng.normal(0, 0.2, width)
        state[f"{name}.running_mean"] = rng.normal(0, 0.2, width)
        state[f"{name}.running_var"] = rng.uniform(0.5, 2, width)

    def conv(name, out, inside, kernel):
        state[f"{name}.weight"] = rng.normal(0, (inside * kernel**2) ** -0.5, (out, inside, kernel, kernel))

    def conv_bn(name, out, inside, kernel):
        conv(f"{name}.0", out, inside, kernel)
        bn(f"{name}.1", out)

    if backbone == "mobilenet":
        for stage, widths in MOBILE_WIDTHS.items():
            for block, (inside, out) in enumerate(pairwise(widths)):
                name = f"body.stage{stage}.{block}"
                if (stage, block) == (1, 0):
                    conv_bn(name, out, inside, 3)
                    continue
                conv_bn(name, inside, 1, 3)
                conv(f"{name}.3", out, inside, 1)
                bn(f"{name}.4", out)
        levels, width = (64, 128, 256), 64
    else:
        conv("body.conv1", 64, 3, 7)
        bn("body.bn1", 64)
        inside = 64
        for layer, (blocks, middle) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), start=1):
            for block in range(blocks):
                name = f"body.layer{layer}.{block}"
                for i, (out, source, kernel) in enumerate(((middle, inside, 1), (middle, middle, 3), (4 * middle, middle, 1)), 1):
                    conv(f"{name}.conv{i}", out, source, kernel)
                    bn(f"{name}.bn{i}", out)
                if block == 0:
                    conv_bn(f"{name}.downsample", 4 * middle, inside, 1)
                inside = 4 * middle
        levels, width = (512, 1024, 2048), 256
    for i, inside in enumerate(levels, start=1):
        conv_bn(f"fpn.output{i}", width, inside, 1)
    for i in (1, 2):
        conv_bn(f"fpn.merge{i}", width, width, 3)
    for i in (1, 2, 3):
        shapes = {"conv3X3": (width // 2, width), "conv5X5_1": (width // 4, width)}
        shapes |= dict.fromkeys(("conv5X5_2", "conv7X7_2", "conv7x7_3"), (width // 4, width // 4))
        for name, (out, inside) in shapes.items():
            conv_bn(f"ssh{i}.{name}", out, inside, 3)
    for head, size in (("ClassHead", 2), ("BboxHead", 4), ("LandmarkHead", 10)):
        for i in range(3):
            conv(f"{head}.{i}.conv1x1", 2 * size, width, 1)
            state[f"{head}.{i}.conv1x1.bias"] = rng.normal(0, 0.2, 2 * size)
    return {name: value.astype(np.float32) for name, value in state.items()}


@pytest.fixture(scope="module")
def state():
    """Random MobileNet checkpoint; tests copy it before they change it."""
    return random_state()


def run(model, blob):
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"input": blob})


def noise(batch=1, height=64, width=96):
    return np.random.default_rng(3).uniform(-110, 140, (batch, 3, height, width)).astype(np.float32)


def test_sizes_and_batch_are_dynamic_and_rows_match_the_standard_anchors(state):
    model = converter.build_model(state, "mobilenet0.25")
    blob = noise(batch=3)
    together = run(model, blob)
    for output, size in zip(together, (4, 2, 10), strict=True):
        assert output.shape == (3, LAYOUTS["standard"].count(64, 96), size)
    np.testing.assert_allclose(together[1].sum(axis=2), 1, atol=1e-5)
    for i in range(3):
        for a, b in zip(together, run(model, blob[i : i + 1]), strict=True):
            np.testing.assert_allclose(a[i], b[0], atol=1e-4)
    assert run(model, noise(height=128, width=32))[0].shape[1] == LAYOUTS["standard"].count(128, 32)


def test_the_small_anchors_are_folded_into_the_standard_ones(state, monkeypatch):
    monkeypatch.setitem(converter.VARIANTS, "unfolded", converter.Variant(backbone="mobilenet", slope=0.0))
    blob = noise()
    loc, conf, marks = run(converter.build_model(state, "1mb-mobilenet"), blob)
    raw_loc, raw_conf, raw_marks = run(converter.build_model(state, "unfolded"), blob)
    boxes, points = decode_rows(loc[0], marks[0], LAYOUTS["standard"].anchors(64, 96))
    raw_boxes, raw_points = decode_rows(raw_loc[0], raw_marks[0], LAYOUTS["1mb-mobilenet"].anchors(64, 96))
    np.testing.assert_allclose(boxes, raw_boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(points, raw_points, rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(conf, raw_conf)
    assert np.abs(loc - raw_loc).max() > 1


def test_leaky_and_plain_variants_differ(state):
    blob = noise()
    assert (
        np.abs(
            run(converter.build_model(state, "mobilenet0.25"), blob)[1]
            - run(converter.build_model(state, "1mb-mobilenet"), blob)[1]
        ).max()
        > 0.01
    )


def test_a_missing_or_left_over_tensor_names_itself(state):
    lacking = {name: value for name, value in state.items() if name != "fpn.merge2.1.running_var"}
    with pytest.raises(WeightsError, match=r"no tensor 'fpn\.merge2\.1\.running_var'"):
        converter.build_model(lacking, "mobilenet0.25")
    with pytest.raises(WeightsError, match=r"has 1 tensors that mobilenet0\.25 does not use, first 'extra\.weight'"):
        converter.build_model({**state, "extra.weight": np.zeros(3, np.float32)}, "mobilenet0.25")
    with pytest.raises(WeightsError, match=r"no tensor 'body\.conv1\.weight'.*1mb-mobilenet"):
        converter.build_model(state, "resnet50")
    with pytest.raises(WeightsError, match="got 'r50', expected one of mobilenet0"):
        converter.build_model(state, "r50")


def test_three_anchors_a_cell_are_refused(state):
    widened = {
        **state,
        "ClassHead.0.conv1x1.bias": np.zeros(6, np.float32),
        "ClassHead.0.conv1x1.weight": np.zeros((6, 64, 1, 1), np.float32),
    }
    with pytest.raises(WeightsError, match=r"ClassHead\.0: got 6 channels, expected 4"):
        converter.build_model(widened, "mobilenet0.25")


def test_conversion_is_reproducible_and_leaves_nothing_behind_when_it_fails(state, tmp_path, monkeypatch):
    source = tmp_path / "in.pth"
    source.write_bytes(b"stands for a checkpoint")
    monkeypatch.setattr(converter, "read_checkpoint", lambda path: state)
    for name in ("a.onnx", "b.onnx"):
        assert converter.main([str(source), str(tmp_path / name), "--variant", "mobilenet0.25"]) == 0
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    with pytest.raises(WeightsError):
        converter.convert(source, tmp_path / "c.onnx", variant="resnet50")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "in.pth"]


@pytest.mark.parametrize("arguments", [["no.pth", "out.onnx", "--variant", "mobilenet0.25"], ["no.pth", "out.onnx"], []])
def test_the_command_ends_with_2_and_says_why(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        converter.main(arguments)
    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "out.onnx").exists()


# ---- with torch ------------------------------------------------------------------------------------------------------------------


def torch_outputs(torch, state, blob, slope):
    """The same network from torch's own functions, batch norm not folded: loc, conf, landmarks relative to its own anchors."""
    f = torch.nn.functional
    w = {name: torch.from_numpy(value) for name, value in state.items()}

    def conv_bn(x, name, bn, stride=1, slope=slope):
        kernel = w[f"{name}.weight"]
        groups = len(kernel) if kernel.shape[1] == 1 else 1
        x = f.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        x = f.batch_norm(x, w[f"{bn}.running_mean"], w[f"{bn}.running_var"], w[f"{bn}.weight"], w[f"{bn}.bias"])
        return x if slope is None else f.leaky_relu(x, slope)

    x, levels = torch.from_numpy(blob), []
    if "body.conv1.weight" in w:
        x = f.max_pool2d(conv_bn(x, "body.conv1", "body.bn1", 2), 3, 2, 1)
        for layer, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
            for block in range(blocks):
                n, stride = f"body.layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
                y = conv_bn(conv_bn(x, f"{n}.conv1", f"{n}.bn1"), f"{n}.conv2", f"{n}.bn2", stride)
                y = conv_bn(y, f"{n}.conv3", f"{n}.bn3", slope=None)
                x = conv_bn(x, f"{n}.downsample.0", f"{n}.downsample.1", stride, None) if block == 0 else x
                x = f.relu(x + y)
            levels.append(x)
        levels = levels[1:]
    else:
        halving = {(1, 0), (1, 2), (1, 4), (2, 0), (3, 0)}
        for stage, blocks in ((1, 6), (2, 6), (3, 2)):
            for block in range(blocks):
                n = f"body.stage{stage}.{block}"
                x = conv_bn(x, f"{n}.0", f"{n}.1", 2 if (stage, block) in halving else 1)
                x = conv_bn(x, f"{n}.3", f"{n}.4") if f"{n}.3.weight" in w else x
            levels.append(x)
    fine, middle, coarse = (conv_bn(x, f"fpn.output{i}.0", f"fpn.output{i}.1") for i, x in enumerate(levels, 1))
    middle = conv_bn(middle + f.interpolate(coarse, size=middle.shape[2:]), "fpn.merge2.0", "fpn.merge2.1")
    fine = conv_bn(fine + f.interpolate(middle, size=fine.shape[2:]), "fpn.merge1.0", "fpn.merge1.1")
    rows = {"BboxHead": [], "ClassHead": [], "LandmarkHead": []}
    for i, x in enumerate((fine, middle, coarse)):
        three = conv_bn(x, f"ssh{i + 1}.conv3X3.0", f"ssh{i + 1}.conv3X3.1", slope=None)
        shared = conv_bn(x, f"ssh{i + 1}.conv5X5_1.0", f"ssh{i + 1}.conv5X5_1.1")
        five = conv_bn(shared, f"ssh{i + 1}.conv5X5_2.0", f"ssh{i + 1}.conv5X5_2.1", slope=None)
        seven = conv_bn(shared, f"ssh{i + 1}.conv7X7_2.0", f"ssh{i + 1}.conv7X7_2.1")
        seven = conv_bn(seven, f"ssh{i + 1}.conv7x7_3.0", f"ssh{i + 1}.conv7x7_3.1", slope=None)
        x = f.relu(torch.cat([three, five, seven], 1))
        for head, parts in rows.items():
            y = f.conv2d(x, w[f"{head}.{i}.conv1x1.weight"], w[f"{head}.{i}.conv1x1.bias"])
            parts.append(y.permute(0, 2, 3, 1).reshape(len(y), -1, y.shape[1] // 2))
    loc, logits, marks = (torch.cat(parts, 1) for parts in rows.values())
    return loc.numpy(), torch.softmax(logits, -1).numpy(), marks.numpy()


@pytest.mark.parametrize(("variant", "slope"), [("mobilenet0.25", 0.1), ("resnet50", 0.0)])
def test_the_graph_computes_what_torch_computes(variant, slope, state):
    torch = pytest.importorskip("torch")
    weights = random_state("resnet50") if variant == "resnet50" else state
    got = run(converter.build_model(weights, variant), noise(batch=2))
    for a, b in zip(got, torch_outputs(torch, weights, noise(batch=2), slope), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * max(1, np.abs(b).max()))


def test_a_checkpoint_is_read_without_counters_and_prefixes(state, tmp_path):
    torch = pytest.importorskip("torch")
    stored = {f"module.{name}": torch.from_numpy(value) for name, value in state.items()}
    stored["module.fpn.merge1.1.num_batches_tracked"] = torch.tensor(7)
    for content in (stored, {"state_dict": stored}):
        torch.save(content, tmp_path / "in.pth")
        weights = converter.read_checkpoint(tmp_path / "in.pth")
        assert set(weights) == set(state)
        np.testing.assert_array_equal(weights["body.stage1.0.0.weight"], state["body.stage1.0.0.weight"])


def test_files_that_could_run_code_or_are_no_checkpoint_are_refused(tmp_path):
    pytest.importorskip("torch")

    class Payload:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    for content in (pickle.dumps({"w": Payload()}, protocol=2), b"", b"no checkpoint at all", pickle.dumps([1, 2], protocol=2)):
        (tmp_path / "in.pth").write_bytes(content)
        with pytest.raises(WeightsError, match=r"in\.pth: torch cannot read it"):
            converter.read_checkpoint(tmp_path / "in.pth")
    assert not (tmp_path / "ran").exists()
