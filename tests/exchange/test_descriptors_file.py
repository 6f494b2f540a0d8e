"""The descriptors file: what is written comes back, numpy alone can read it, and every damage has its message."""

from __future__ import annotations

import contextlib
import json
import zipfile

import numpy as np
import pytest
from described import described
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.errors import ConfigError
from auto_annotator.exchange.descriptors_file import MAX_TEXT, read_descriptors, write_descriptors

COLUMNS = ("vectors", "quality", "boxes", "scores", "landmarks", "images", "image_names", "keys", "failures", "notes")


def same(a, b) -> None:
    for name in COLUMNS:
        one, other = getattr(a, name), getattr(b, name)
        assert one == other if isinstance(one, tuple) else np.array_equal(one, other, equal_nan=True), name
    assert (a.model_set, a.model_hash, a.threshold) == (b.model_set, b.model_hash, b.threshold)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "d.npz"


@pytest.mark.parametrize("mapped", [True, False])
@pytest.mark.parametrize("people", [((0, 1), (0,), (1, 2), (-1,)), ((), ()), ()])
def test_round_trip(path, people, mapped):
    faces = described(people, threshold=None if people == () else 0.25)
    write_descriptors(path, faces)
    back = read_descriptors(path, mapped=mapped)
    same(faces, back)
    assert isinstance(back.vectors, np.memmap) == (mapped and len(back) > 0)
    assert not back.vectors.flags.writeable


def test_numpy_alone_reads_it(path):
    faces = described()
    write_descriptors(path, faces)
    with np.load(path, allow_pickle=False) as content:
        assert set(content.files) == {"meta", *COLUMNS}
        np.testing.assert_array_equal(content["vectors"], faces.vectors)
        assert content["image_names"].tolist() == list(faces.image_names)
        assert content["notes"].tolist() == [",".join(codes) for codes in faces.notes]
        assert json.loads(str(content["meta"]))["model_hash"] == "abc123"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_saved_is_read(path, save):
    faces = described()
    write_descriptors(path, faces)
    with np.load(path) as content:
        columns = dict(content)
    save(path, **columns)
    same(faces, read_descriptors(path))


def test_the_same_faces_give_the_same_bytes(path, tmp_path):
    write_descriptors(path, described())
    write_descriptors(tmp_path / "e.npz", described())
    assert path.read_bytes() == (tmp_path / "e.npz").read_bytes()


@settings(max_examples=30, deadline=None)
@given(names=st.lists(st.text(st.characters(), max_size=9), min_size=3, max_size=3))
def test_any_name_comes_back(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("any") / "d.npz"
    write_descriptors(path, described(image_names=tuple(names)))
    assert read_descriptors(path).image_names == tuple(n.replace("\0", "\ufffd") for n in names)


def test_an_interrupted_write_leaves_the_older_file(path):
    write_descriptors(path, described())
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="image_names: got a text of"):
        write_descriptors(path, described(image_names=("a", "b", "c" * (MAX_TEXT + 1))))
    assert path.read_bytes() == before and [p.name for p in path.parent.iterdir()] == ["d.npz"]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("vectors", None, "vectors: the column is missing, the file has boxes, failures"),
        ("keys", None, "keys: the column is missing"),
        ("vectors", np.zeros((5, 16), np.float32), "vectors: got float32, expected float16"),
        ("vectors", np.full((5, 16), np.nan, np.float16), "vectors: row 0 has numbers that are not finite"),
        ("vectors", np.full((5, 16), 1, np.float16), "vectors: row 0 has length 4"),
        ("vectors", np.zeros((4, 16), np.float16), r"vectors: got shape \(4, 16\), expected \(5, any\)"),
        ("vectors", np.zeros((5, 0), np.float16), r"vectors: got shape \(5, 0\)"),
        ("quality", np.zeros(4, np.float32), r"quality: got shape \(4,\), expected \(5\)"),
        (
            "quality",
            np.full(5, np.nan, np.float32),
            "quality: has numbers that are NaN or out of range, expected numbers from 0 to 1",
        ),
        ("scores", np.full(5, 1.5, np.float32), "scores: has numbers"),
        ("boxes", np.full((5, 4), np.inf, np.float32), "boxes: .* expected finite numbers"),
        ("boxes", np.zeros(5, np.float32), "boxes: got shape"),
        ("images", np.full(5, 3), "images: got 3 to 3, expected rows of the 3 image_names"),
        ("images", np.full(5, -1), "images: got -1 to -1"),
        ("keys", np.array(["a"] * 5), "keys: some are empty or stand twice"),
        ("keys", np.arange(5), "keys: got int64, expected text"),
        ("keys", np.array([{}] * 5, dtype=object), "keys: got object, expected text"),
        ("notes", np.array(["a"]), "notes: got shape"),
        ("meta", np.array("{"), "meta: not JSON"),
        ("meta", np.array("[]"), "meta: expected the format"),
        ("meta", np.array('{"format": "auto-annotator descriptors", "version": 2}'), "got version 2, expected 1"),
        ("meta", np.array('{"format": "auto-annotator descriptors", "version": 1}'), "model_set is missing"),
    ],
)
def test_damage_is_named(path, column, value, message):
    write_descriptors(path, described())
    with np.load(path) as content:
        columns = dict(content)
    columns.pop(column)
    if value is not None:
        columns[column] = value
    np.savez(path, **columns)
    with pytest.raises(ConfigError, match=message) as caught:
        read_descriptors(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_threshold_of_another_kind_is_refused(path):
    write_descriptors(path, described())
    with np.load(path) as content:
        columns = dict(content)
    meta = json.loads(str(columns["meta"]))
    for threshold in ("0.5", True, 7):
        np.savez(path, **(columns | {"meta": np.array(json.dumps(meta | {"threshold": threshold}))}))
        with pytest.raises(ConfigError, match="threshold"):
            read_descriptors(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"x" * 1000])
def test_another_file_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as a descriptors file"):
        read_descriptors(path)


def test_no_file_at_all(path):
    with pytest.raises(ConfigError, match="no such file"):
        read_descriptors(path)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_flipped_bytes_never_raise_anything_else(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("flip") / "d.npz"
    write_descriptors(path, described(((0,),)))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    with contextlib.suppress(ConfigError):
        read_descriptors(path)


def test_a_member_that_claims_to_be_huge_takes_no_memory(path):
    write_descriptors(path, described())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["vectors.npy"] = members["vectors.npy"].replace(b"(5, 16)", b"(5, 99999999999)")[:128] + members["vectors.npy"][128:]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ConfigError, match="vectors"):
        read_descriptors(path)
