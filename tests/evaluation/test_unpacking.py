"""Labelled sets as a zip: taken apart safely, or refused."""

import json
import os
import stat
import zipfile

import pytest

from auto_annotator.errors import ConfigError
from auto_annotator.evaluation import unpacking
from auto_annotator.evaluation.readers import read_labelled

LABELS = json.dumps([{"file": "a.jpg", "boxes_xywh": [[1, 2, 3, 4]]}])


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(unpacking.tempfile, "tempdir", str(tmp_path / "scratch"))


def pack(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("top", ["", "my set/"])
def test_a_zip_is_read_as_the_folder_in_it_and_only_its_owner_sees_it(tmp_path, top):
    path = pack(tmp_path / "s.zip", {f"{top}annotations.json": LABELS, f"{top}images/a.jpg": b"picture"})
    (one,) = read_labelled(path)
    assert one.path.read_bytes() == b"picture"
    (folder,) = (tmp_path / "scratch").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_macos_adds_to_a_zip_is_left_out(tmp_path):
    files = {"my set/annotations.json": LABELS, "my set/images/a.jpg": b"p", "__MACOSX/my set/._a.jpg": b"x", ".DS_Store": b"x"}
    (one,) = read_labelled(pack(tmp_path / "s.zip", files))
    assert one.path.read_bytes() == b"p"
    assert not list((tmp_path / "scratch").rglob("__MACOSX"))


@pytest.mark.parametrize("name", ["../out.txt", "/abs.txt", "a/../../b", "C:/x", "a\\b"])
def test_places_outside_are_refused_before_anything_is_written(tmp_path, name):
    path = pack(tmp_path / "s.zip", {"annotations.json": LABELS})
    with zipfile.ZipFile(path, "a") as archive:
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        archive.writestr(entry, b"x")
    with pytest.raises(ConfigError, match="outside of itself"):
        read_labelled(path)
    assert not any(p.is_file() for p in (tmp_path / "scratch").rglob("*"))
    assert not (tmp_path / "out.txt").exists()


def test_links_are_refused(tmp_path):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("images")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc")
    with pytest.raises(ConfigError, match="links"):
        read_labelled(path)


def test_bombs_are_refused_unopened(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "ALWAYS_ALLOWED", 1000)
    path = pack(tmp_path / "s.zip", {"annotations.json": b" " * 1_000_000})
    with pytest.raises(ConfigError, match="grow to"):
        read_labelled(path)
    monkeypatch.setattr(unpacking, "ALWAYS_ALLOWED", 1 << 30)
    monkeypatch.setattr(unpacking, "MOST_FILES", 1)
    with pytest.raises(ConfigError, match="got 2 files"):
        read_labelled(pack(path, {"a": b"", "b": b""}))


def test_an_entry_that_lies_about_its_size_gives_no_byte_more(tmp_path):
    path = pack(tmp_path / "s.zip", {"annotations.json": b"[" + b" " * 5000 + b"]"})
    data = path.read_bytes().replace((5002).to_bytes(4, "little"), (2).to_bytes(4, "little"))
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="damaged"):
        read_labelled(path)
    assert sum(p.stat().st_size for p in (tmp_path / "scratch").rglob("*") if p.is_file()) <= 2


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("at", [30, 60, 230])
def test_damaged_and_other_files_are_refused(tmp_path, method, at):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a", bytes(range(256)) * 20 + os.urandom(500))
    whole = bytearray(path.read_bytes())
    for place in range(at + 1, at + 9):  # behind the local header: in the packed bytes
        whole[place] ^= 255
    path.write_bytes(whole)
    with pytest.raises(ConfigError, match="damaged"):
        read_labelled(path)
    path.write_bytes(b"no zip")
    with pytest.raises(ConfigError, match="expected a folder or a "):
        read_labelled(path)


def test_a_file_twice_and_encrypted_are_refused(tmp_path):
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a", b"1")
        archive.writestr("a", b"2")
    with pytest.raises(ConfigError, match="twice"):
        read_labelled(path)
    path = pack(tmp_path / "e.zip", {"a": b"1"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="encrypted"):
        read_labelled(path)
