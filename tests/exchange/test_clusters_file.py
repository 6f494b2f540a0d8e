"""The clusters file: round trip, readable form, its schema, and what is wrong has its message."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from clusters_ready import make_clusters

from auto_annotator.errors import ConfigError
from auto_annotator.exchange.clusters_file import Words, json_schema, read_clusters, write_clusters


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clusters.json"


@pytest.fixture
def content():
    words = Words(must=(("f1", "f2"),), cannot=(("f1", "f4"),), never=("f9",))
    return make_clusters(names=("Ännchen \ud800 \u202e", ""), words=words, registry={"version": 1, "faces": {"f1": "p0001"}})


def test_round_trip(path, content):
    write_clusters(path, content)
    assert read_clusters(path) == content


def test_nothing_at_all(path, content):
    empty = replace(content, people=(), faces=(), suggestions=(), doubtful=(), conflicts=(), warnings=())
    write_clusters(path, empty)
    assert read_clusters(path) == empty


def test_it_can_be_read_by_people(path, content):
    write_clusters(path, content)
    text = path.read_text(encoding="ascii")
    lines = text.splitlines()
    assert sum(line.startswith('  {"key": ') for line in lines) == len(content.faces)
    assert list(json.loads(text))[:4] == ["format", "version", "meta", "people"]
    assert '"failure": ""' not in text and '"nearest": null' not in text


def test_the_documented_schema_is_that_of_the_code(repository):
    assert json.loads((repository / "docs" / "clusters.schema.json").read_text()) == json.loads(json.dumps(json_schema())), (
        "write json_schema() into docs/clusters.schema.json"
    )


def test_the_schema_names_every_field(path, content):
    write_clusters(path, content)
    assert set(json.loads(path.read_text())) <= set(json_schema()["properties"])


def test_keys_of_a_later_form_are_ignored(path, content):
    write_clusters(path, content)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"later": 1}))
    assert read_clusters(path) == content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("format"), "not a clusters file"),
        (lambda d: d.update(version=2), "got version 2, expected 1"),
        (lambda d: d.pop("faces"), "faces: "),
        (lambda d: d["faces"][0].update(confidence=2), "faces.0.confidence"),
        (lambda d: d["faces"][0].update(confidence="0.5"), "faces.0.confidence"),
        (lambda d: d["faces"][0].update(state="maybe"), "faces.0.state"),
        (lambda d: d["faces"][0].update(box=[1, 2, 3]), "faces.0.box"),
        (lambda d: d["faces"][0].update(person="p9999"), "'p9999' is named, but not listed"),
        (lambda d: d["faces"][0].update(key="f2"), "a key is empty or stands twice"),
        (lambda d: d["people"][0].update(id="p0002"), "an id is empty or stands twice"),
        (lambda d: d["doubtful"].append("f99"), "'f99' is not the key of a face"),
        (lambda d: d["suggestions"][0].update(first="p7"), "'p7' is named"),
        (lambda d: d["words"].update(must=[["f1"]]), "words.must.0"),
    ],
)
def test_what_is_wrong_is_said(path, content, change, message):
    write_clusters(path, content)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=r"clusters\.json: ") as caught:
        read_clusters(path)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"format": NaN}'])
def test_another_file_is_refused(path, text):
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=r"clusters\.json: not"):
        read_clusters(path)


def test_no_file(path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_clusters(path)
