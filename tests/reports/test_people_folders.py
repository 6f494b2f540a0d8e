"""Folders per person: what is in them, what a second run does, and whose files are never touched."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from clusters_ready import make_clusters
from page_reader import HOSTILE

from auto_annotator.errors import ImageError
from auto_annotator.reports.people_folders import LIST, safe_name, write_folders


def grey(path):
    return np.full((60, 80, 3), 130, np.uint8)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        PIL.Image.fromarray(grey(name)).save(folder / name)
    return folder


@pytest.fixture
def write(photos, tmp_path):
    """Function: clusters, options -> what was written to `tmp_path/people`."""

    def find(name):
        return photos / name if name in ("a.png", "b.png") else None

    return lambda content, **options: write_folders(content, find, tmp_path / "people", **({"read": grey} | options))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "people"


def tree(folder):
    return {p.name: sorted(f.name for f in p.iterdir()) for p in sorted(folder.iterdir()) if p.is_dir()}


EXPECTED = {
    "p0001": ["a f1.jpg", "a f2.jpg", "a f3.jpg"],
    "p0002 Anna": ["b f4.jpg", "b f5.jpg"],
    "seen once": ["b f6.jpg"],
    "unknown": ["a f7.jpg"],
}


def test_close_ups(write, folder):
    assert write(make_clusters()).files == 7
    assert tree(folder) == EXPECTED


@pytest.mark.parametrize("form", ["copy", "link"])
def test_photos_stand_once_in_each_folder(write, folder, photos, form):
    write(make_clusters(), form=form)
    assert {name: len(files) for name, files in tree(folder).items()} == {"p0001": 1, "p0002 Anna": 1, "seen once": 1, "unknown": 1}
    for path in folder.rglob("*.png"):
        assert path.is_symlink() == (form == "link") and path.read_bytes() == (photos / f"{path.name[0]}.png").read_bytes()


def test_a_second_run_changes_nothing(write, folder):
    write(make_clusters())
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.rglob("*.jpg")}
    assert write(make_clusters()).removed == 0
    assert {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in folder.rglob("*.jpg")} == before


def test_a_new_name_moves_the_folder(write, folder):
    write(make_clusters())
    assert write(make_clusters(names=("Bo", "Anna"))).removed == 3
    assert tree(folder) == {"p0001 Bo": EXPECTED["p0001"], **{k: v for k, v in EXPECTED.items() if k != "p0001"}}


def test_another_form_replaces_the_files(write, folder):
    write(make_clusters())
    write(make_clusters(), form="link")
    assert not list(folder.rglob("*.jpg"))


def test_strangers_are_never_touched(write, folder):
    for place in ("p0001/a f1.jpg", "p0002 Anna/notes.txt", "mine/x.jpg", "top.txt"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text("stranger")
    (folder / "p0001" / "a f2.jpg").symlink_to("/nowhere")
    write(make_clusters())
    write(make_clusters())
    assert (folder / "p0001" / "a f1.jpg").read_text() == "stranger" and (folder / "p0001" / "a f2.jpg").is_symlink()
    assert (folder / "p0001" / "a f1 (2).jpg").exists() and (folder / "p0001" / "a f2 (2).jpg").exists()
    write(make_clusters(names=("Bo", "Cy")))
    assert tree(folder)["p0001"] == ["a f1.jpg", "a f2.jpg"] and tree(folder)["p0002 Anna"] == ["notes.txt"]
    assert (folder / "mine" / "x.jpg").read_text() == (folder / "top.txt").read_text() == "stranger"


def test_our_files_that_somebody_changed_are_theirs(write, folder):
    write(make_clusters())
    changed = folder / "p0001" / "a f1.jpg"
    changed.write_text("retouched")
    write(make_clusters())
    assert changed.read_text() == "retouched" and (folder / "p0001" / "a f1 (2).jpg").exists()
    write(make_clusters(names=("Bo", "Anna")))
    assert changed.read_text() == "retouched" and tree(folder)["p0001"] == ["a f1.jpg"]


def test_a_person_folder_that_is_a_link_is_not_followed(write, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder.mkdir()
    (folder / "p0001").symlink_to(tmp_path / "elsewhere")
    (folder / "unknown").write_text("a file")
    write(make_clusters())
    assert not list((tmp_path / "elsewhere").iterdir()) and (folder / "unknown").read_text() == "a file"


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"files": ["a"]}', '{"files": {"../photos/a.png": "x", "/etc/passwd": "x", "a/b/c": "x", "..": "x"}}'],
)
def test_a_list_that_is_damaged_or_hostile_removes_nothing(write, folder, photos, content):
    folder.mkdir()
    (folder / LIST).write_text(content)
    write(make_clusters())
    assert sorted(p.name for p in photos.iterdir()) == ["a.png", "b.png"] and tree(folder) == EXPECTED


def test_a_list_cannot_remove_what_lies_outside(write, folder, photos):
    folder.mkdir()
    path = photos / "a.png"
    sign = f"{path.stat().st_size} {path.stat().st_mtime_ns}"
    (folder / LIST).write_text(json.dumps({"files": {"../photos/a.png": sign, f"{photos}/a.png": sign, "..\\photos\\a.png": sign}}))
    write(make_clusters())
    assert path.exists()


def test_a_picture_that_is_gone_keeps_what_was_written(write, folder):
    write(make_clusters())

    def gone(path):
        raise ImageError("unreadable_file", "gone")

    write(make_clusters(), read=gone)
    assert tree(folder) == EXPECTED


def test_an_interrupted_run_knows_its_files(write, folder, monkeypatch):
    calls = []

    def stop(path):
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return grey(path)

    with pytest.raises(KeyboardInterrupt):
        write(make_clusters(), read=stop)
    write(make_clusters())
    assert tree(folder) == EXPECTED and not list(folder.rglob("*.part"))


@pytest.mark.parametrize("name", [*HOSTILE, "CON", ".. ", ".", "a/b\\c", "x" * 300, "é" * 200, "tab\tname", "trailing. ", "-rf *"])
def test_hostile_names_stay_in_their_folder(write, folder, tmp_path, name):
    write(make_clusters(names=(name, "")))
    assert all(p.resolve().is_relative_to(folder) for p in folder.rglob("*"))
    assert len(tree(folder)) == 4
    assert all(len(p.name.encode()) < 200 for p in folder.rglob("*"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["people", "photos"]


def test_safe_names():
    assert safe_name("Anna Müller") == "Anna Müller"
    assert safe_name("a/b:c") == "a_b_c"
    assert safe_name(" .. ") == ""
    assert safe_name("\u202egpj.exe") == "_gpj.exe"
    assert Path(safe_name("../../etc/passwd")).name == safe_name("../../etc/passwd")


def test_photos_of_one_name_in_two_folders(tmp_path):
    content = make_clusters()
    faces = tuple(replace(f, image=f"{i % 2}/a.png") for i, f in enumerate(content.faces))
    source = tmp_path / "s.png"
    PIL.Image.fromarray(grey("x")).save(source)
    for form, count in (("crops", 3), ("copy", 2)):
        write_folders(replace(content, faces=faces), lambda _: source, tmp_path / form, form=form, read=grey)
        assert len(list((tmp_path / form / "p0001").iterdir())) == count
