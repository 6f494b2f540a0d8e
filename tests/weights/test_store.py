"""Test 46 of the hostile table: a weight that is not what the registry promises is never loaded."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import onnx
import pytest
from local_index import Site, https_weight
from onnx import TensorProto, helper

from auto_annotator.errors import WeightsError
from auto_annotator.weights import Client, Weight, find, locate, pull, registry, verify
from auto_annotator.weights import store as store_module


@pytest.fixture
def weight(site: Site, content: bytes) -> Weight:
    return https_weight(site, content)


@pytest.fixture
def folder(weight: Weight, client: Client, tmp_path: Path) -> Path:
    pull(["model"], tmp_path / "models", rows={"model": weight}, client=client, progress=False)
    return tmp_path / "models"


def refusal(weight: Weight, folder: Path) -> str:
    with pytest.raises(WeightsError) as error:
        locate(weight.name, folder, rows={weight.name: weight})
    return str(error.value)


def test_missing_file_names_it_and_the_command(weight, tmp_path):
    message = refusal(weight, tmp_path)
    assert "model.bin" in message and "auto-annotator models pull model" in message and "AUTO_ANNOTATOR_MODELS" in message


@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit", "longer"])
def test_damaged_file_names_it_and_both_hashes(weight, folder, content, damage):
    path = folder / "model.bin"
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 0x10
    path.write_bytes({"truncated": content[:-1], "empty": b"", "one bit": bytes(flipped), "longer": content + b"\0"}[damage])

    message = refusal(weight, folder)

    assert "model.bin" in message and "auto-annotator models pull model" in message
    assert hashlib.sha256(path.read_bytes()).hexdigest() in message and weight.sha256 in message


def test_wrong_name_proposes_the_right_one(tmp_path):
    with pytest.raises(WeightsError, match="got 'yunet-2023', expected a registered name \\(did you mean yunet-2023mar"):
        locate("yunet-2023", tmp_path)
    with pytest.raises(WeightsError, match="models list"):
        find("zzzzzz")


def test_read_only_folder_with_good_files_needs_no_writing(weight, folder, site):
    before = len(site.requests)
    folder.chmod(0o555)
    try:
        assert locate("model", folder, rows={"model": weight}).is_file()
        pull(["model"], folder, rows={"model": weight}, progress=False)
    finally:
        folder.chmod(0o755)
    assert len(site.requests) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_folder_without_the_file_says_what_to_do(weight, client, tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(WeightsError, match="make it writable"):
            pull(["model"], tmp_path, rows={"model": weight}, client=client, progress=False)
    finally:
        tmp_path.chmod(0o755)


def test_symlink_out_is_refused_and_one_inside_is_not(weight, folder, content, tmp_path):
    (folder / "model.bin").rename(folder / "kept.bin")
    (folder / "model.bin").symlink_to("kept.bin")
    assert locate("model", folder, rows={"model": weight}).read_bytes() == content

    (folder / "model.bin").unlink()
    (tmp_path / "outside.bin").write_bytes(content)
    (folder / "model.bin").symlink_to(tmp_path / "outside.bin")
    assert "symlink out of the folder" in refusal(weight, folder)


def test_file_that_cannot_be_read_is_a_weights_error(weight, folder, monkeypatch):
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(store_module, "sha256_of", refuse)
    assert "cannot be read (Permission denied)" in refusal(weight, folder)


@pytest.fixture
def converted(site: Site) -> Weight:
    """A model of fixed size that is freed at pull."""
    node = helper.make_node("Relu", ["x"], ["y"])
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3, 32, 32]) for n in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]), ir_version=8)
    return https_weight(site, model.SerializeToString(), convert=("dynamic_shape",), file="model.onnx")


@pytest.fixture
def converted_folder(converted: Weight, client: Client, tmp_path: Path) -> Path:
    pull(["model"], tmp_path, rows={"model": converted}, client=client, progress=False)
    return tmp_path


def test_converted_file_has_its_own_hash_beside_it(converted, converted_folder):
    path = locate("model", converted_folder, rows={"model": converted})
    record = json.loads((converted_folder / "model.onnx.json").read_text())
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() != converted.sha256 == record["source_sha256"]
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[2].dim_param


def test_damaged_converted_file_is_refused(converted, converted_folder):
    path = converted_folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    message = refusal(converted, converted_folder)
    assert "model.onnx" in message and json.loads((converted_folder / "model.onnx.json").read_text())["sha256"] in message


@pytest.mark.parametrize("record", [None, "", "{}", "[1]", '{"sha256": 1}'])
def test_missing_or_damaged_record_is_refused(converted, converted_folder, record):
    path = converted_folder / "model.onnx.json"
    path.unlink() if record is None else path.write_text(record)
    assert "record model.onnx.json is missing or damaged" in refusal(converted, converted_folder)


def test_record_of_another_source_is_refused(converted, converted_folder):
    other = converted.model_copy(update={"sha256": "0" * 64})
    message = refusal(other, converted_folder)
    assert str(converted.sha256) in message and "0" * 64 in message


def test_newer_converter_converts_again(converted, converted_folder, client, site, monkeypatch):
    for module in ("store", "pulling"):
        monkeypatch.setattr(f"auto_annotator.weights.{module}.CONVERTER_VERSION", 10**6)
    assert "converted by version" in refusal(converted, converted_folder)

    pull(["model"], converted_folder, rows={"model": converted}, client=client, progress=False)

    assert locate("model", converted_folder, rows={"model": converted}).is_file()


def test_file_that_cannot_be_converted_is_not_kept(site, client, tmp_path):
    weight = https_weight(site, b"not a model", convert=("dequantise",))
    with pytest.raises(WeightsError, match=r"model\.bin.*not a valid ONNX model"):
        pull(["model"], tmp_path, rows={"model": weight}, client=client, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == [".locks"]


def test_own_file_is_taken_as_it_is(tmp_path):
    own = tmp_path / "mine.onnx"
    own.write_bytes(b"anything")
    assert locate(str(own), tmp_path / "models") == own


@pytest.mark.parametrize("name", ["mine.onnx", "./mine", "sub/mine", "mine.tflite"])
def test_own_file_that_is_not_there_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match="is not a file"):
        locate(name, tmp_path)


def test_verify_tells_the_states_apart(tmp_path):
    names = ["iris", "face-mesh"]
    (tmp_path / "iris_landmark.tflite").write_bytes(b"x")

    assert [(r.name, r.state) for r in verify(tmp_path, names, quick=True)] == [("iris", "present"), ("face-mesh", "missing")]
    rows = verify(tmp_path, names)
    assert [r.state for r in rows] == ["broken", "missing"] and registry()["iris"].sha256 in rows[0].detail
    assert {r.state for r in verify(tmp_path / "nowhere")} == {"missing"}
    assert not any(r.weight.task == "sample" for r in verify(tmp_path))
