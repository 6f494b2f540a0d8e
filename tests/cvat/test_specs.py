"""Rendering of the label schema into function files."""

from __future__ import annotations

import json
import shutil

import pytest
import yaml

from auto_annotator.cvat import specs
from auto_annotator.cvat.labels import nuclio_spec
from auto_annotator.errors import ConfigError


@pytest.fixture
def functions(repository, tmp_path):
    return shutil.copytree(repository / "functions", tmp_path / "functions")


def test_the_text_is_the_spec():
    assert json.loads(specs.spec_text()) == nuclio_spec()
    assert specs.spec_text([]).split() == ["[", "]"]


def test_a_stale_file_is_found_and_written(functions):
    path = functions / "face-detection" / "nuclio" / "function.yaml"
    fresh = path.read_text()
    path.write_text(fresh.replace('"votes"', '"ballots"'))
    assert specs.render_specs(functions, check=True) == [path]
    assert '"ballots"' in path.read_text(), "check writes nothing"
    assert specs.render_specs(functions) == [path]
    assert path.read_text() == fresh
    assert specs.render_specs(functions) == []


def test_everything_else_is_kept():
    text = (
        "# top\nmetadata:\n  annotations:\n    type: detector  # why\n    spec: |\n      [\n\n        old\n      ]\n\n"
        "    name: x\n\nspec:\n  description: 'a: b'\n"
    )
    new = specs.rendered(text)
    head, _, tail = new.partition("    spec: |\n")
    assert head == "# top\nmetadata:\n  annotations:\n    type: detector  # why\n"
    assert tail.endswith("\n\n    name: x\n\nspec:\n  description: 'a: b'\n")
    data = yaml.safe_load(new)
    assert json.loads(data["metadata"]["annotations"]["spec"]) == nuclio_spec() and data["spec"] == {"description": "a: b"}
    assert specs.rendered(new) == new


def test_a_function_without_labels_stays_as_it_is():
    text = "metadata:\n  annotations:\n    type: reid\nspec:\n  runtime: python:3.11\n"
    assert specs.rendered(text) == text


def test_a_folder_without_functions_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"function\.yaml or function-gpu\.yaml"):
        specs.render_specs(tmp_path)
