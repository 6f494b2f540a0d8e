from __future__ import annotations

import hashlib
import importlib
import inspect
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import ValidationError

from auto_annotator.config import load_ensemble, packaged_ensembles
from auto_annotator.errors import WeightsError
from auto_annotator.samples import sample_names
from auto_annotator.weights import HttpsSource, PypiSource, Weight, expand, find, is_path, parse_registry, registry

ROW = {
    "file": "m.onnx",
    "task": "detector",
    "source": {"kind": "https", "url": "https://host/m.onnx"},
    "sha256": "0" * 64,
    "licence": "MIT",
    "commercial": "yes",
}


@pytest.mark.parametrize("weight", registry().values(), ids=list(registry()))
def test_packaged_row_is_complete_and_pinned(weight):
    assert weight.licence and weight.note
    assert weight.verified is (weight.sha256 is not None)
    if isinstance(weight.source, PypiSource):
        assert weight.size and weight.source.version in weight.source.filename
    else:
        assert isinstance(weight.source, HttpsSource)
        assert urlsplit(weight.source.url).scheme == "https"


@pytest.mark.parametrize("name", ["scrfd-10g", "scrfd-500m", "arcface-r50"])
def test_insightface_weights_are_not_for_commercial_use(name):
    assert registry()[name].commercial == "no"


@pytest.mark.parametrize("name", packaged_ensembles())
def test_packaged_ensembles_name_registered_weights_of_the_right_task(name):
    ensemble = load_ensemble(name)
    for part in (*ensemble.members, *ensemble.refiners):
        assert part.weights
        assert {registry()[w].task for w in part.weights} <= {"detector", "landmarks"}
    assert ensemble.descriptors
    for part in ensemble.descriptors:
        assert {registry()[w].task for w in part.weights} == {"descriptor"}


@pytest.mark.parametrize("name", packaged_ensembles())
def test_packaged_ensembles_name_classes_and_options_that_exist(name):
    ensemble = load_ensemble(name)
    for part in (*ensemble.members, *ensemble.refiners, *ensemble.descriptors):
        module, _, attribute = part.use.partition(":")
        parameters = inspect.signature(getattr(importlib.import_module(module), attribute)).parameters
        assert set(part.options) <= set(parameters)


@pytest.mark.parametrize("name", ["commercial", "embedded"])
def test_no_restricted_weight_slips_into_a_commercial_ensemble(name):
    assert {w: registry()[w].commercial for w in load_ensemble(name).weight_names if registry()[w].commercial != "yes"} == {}


def test_embedded_comes_from_the_package_index_alone():
    assert all(isinstance(registry()[w].source, PypiSource) for w in load_ensemble("embedded").weight_names)


def test_samples_are_free_pictures_of_the_package_index():
    rows = [registry()[name] for name in sample_names()]
    assert len(rows) >= 3
    assert all(r.commercial == "yes" and isinstance(r.source, PypiSource) and r.file.endswith((".png", ".jpg")) for r in rows)


@pytest.mark.shared
def test_published_hash_is_that_of_the_genuine_file(shared_models):
    genuine = hashlib.sha256((shared_models / "det_500m.onnx").read_bytes()).hexdigest()
    assert registry()["scrfd-500m"].sha256 == genuine


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "zz"}, "sha256"),
        ({"sha256": None}, "verified: false"),
        ({"verified": False}, "verified: false"),
        ({"commercial": "maybe"}, "commercial"),
        ({"file": "../m.onnx"}, "file"),
        ({"file": "/m.onnx"}, "file"),
        ({"file": ".hidden"}, "file"),
        ({"size": 0}, "size"),
        ({"convert": ["compress"]}, "convert"),
        ({"licence": None}, "licence"),
        ({"source": {"kind": "ftp", "url": "ftp://host/m"}}, "source"),
        ({"source": {"kind": "https", "url": "file:///etc/passwd"}}, "url"),
        ({"source": {"kind": "pypi", "project": "p", "version": "1", "filename": "p.exe", "member": "m"}}, "expected a .whl"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_broken_row_is_refused_by_field(change, words):
    with pytest.raises(WeightsError, match=words):
        parse_registry({"m": {**ROW, **change}})


def test_two_rows_may_not_share_a_file():
    with pytest.raises(WeightsError, match=r"b and a share the file m\.onnx"):
        parse_registry({"a": ROW, "b": ROW})


def test_registry_must_be_a_mapping():
    with pytest.raises(WeightsError, match="got list, expected a mapping"):
        parse_registry(yaml.safe_load("- a"))


def test_rows_cannot_be_changed():
    with pytest.raises(ValidationError):
        registry()["iris"].licence = "mine"
    with pytest.raises(TypeError):
        registry()["new"] = registry()["iris"]


def test_patterns_expand_once_and_in_order():
    assert [w.name for w in expand(["iris", "mtcnn-*", "mtcnn-onet"])] == ["iris", "mtcnn-pnet", "mtcnn-rnet", "mtcnn-onet"]
    with pytest.raises(WeightsError, match="mtcmm-"):
        expand(["mtcmm-*"])


@pytest.mark.parametrize(
    ("name", "own"), [("yunet-2023mar", False), ("a.onnx", True), ("a.tflite", True), ("models/a", True), ("C:\\a", True)]
)
def test_path_or_name(name, own):
    assert is_path(name) is own
    if own:
        row = find(name)
        assert isinstance(row, Weight) and row.sha256 is None and row.commercial == "unclear"
