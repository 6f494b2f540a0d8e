"""Which pictures a command finds, and what it calls them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from auto_annotator.commands.pictures import find_pictures
from auto_annotator.errors import ConfigError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def names(*paths: Path, recursive: bool = True) -> list[str]:
    return [p.name for p in find_pictures(paths, recursive=recursive)]


def test_names_are_relative_to_the_folder_and_sorted(tmp_path):
    touch(tmp_path, "b.jpg", "a.png", "party/two/c.webp")
    assert names(tmp_path) == ["a.png", "b.jpg", "party/two/c.webp"]
    assert names(tmp_path, recursive=False) == ["a.png", "b.jpg"]


def test_every_path_leads_to_its_file(tmp_path, monkeypatch):
    touch(tmp_path, "in/a.jpg", "in/sub/b.jpg")
    monkeypatch.chdir(tmp_path / "in")
    for found in find_pictures([Path()], recursive=True):
        assert found.path.samefile(tmp_path / "in" / found.name)


def test_suffixes_in_any_case_count_and_other_files_do_not(tmp_path):
    touch(tmp_path, "a.JPG", "b.JpEg", "c.TIFF", "notes.txt", "jpg", "d.jpg.part")
    assert names(tmp_path) == ["a.JPG", "b.JpEg", "c.TIFF"]


def test_hidden_files_and_folders_are_left_out_unless_they_are_named(tmp_path):
    touch(tmp_path, "a.jpg", "._a.jpg", ".thumbnails/t.jpg")
    assert names(tmp_path) == ["a.jpg"]
    assert names(tmp_path / ".thumbnails") == ["t.jpg"]
    assert names(tmp_path / "._a.jpg") == ["._a.jpg"]


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path):
    assert names(touch(tmp_path, "upload") / "upload") == ["upload"]


def test_several_folders_are_told_apart_by_their_names(tmp_path):
    touch(tmp_path, "one/a.jpg", "two/a.jpg", "b.jpg")
    assert names(tmp_path / "one", tmp_path / "two", tmp_path / "b.jpg") == ["one/a.jpg", "two/a.jpg", "b.jpg"]


def test_folders_of_one_name_are_told_apart_below_the_folder_they_share(tmp_path):
    touch(tmp_path, "x/faces/a.jpg", "y/faces/a.jpg", "y/faces/b.jpg")
    expected = ["x/faces/a.jpg", "y/faces/a.jpg", "y/faces/b.jpg"]
    assert names(tmp_path / "x/faces", tmp_path / "y/faces") == expected
    assert sorted(names(tmp_path / "y/faces", tmp_path / "x/faces")) == expected, "names depend on the order of the PATHs"


def test_files_of_one_name_are_told_apart(tmp_path, monkeypatch):
    touch(tmp_path, "x/a.jpg", "y/a.jpg", "here/b.jpg")
    monkeypatch.chdir(tmp_path / "here")
    assert names(Path("../x/a.jpg"), Path("../y/a.jpg"), Path("b.jpg")) == ["x/a.jpg", "y/a.jpg", "here/b.jpg"]


def test_no_picture_comes_twice(tmp_path, monkeypatch):
    touch(tmp_path, "in/a.jpg", "in/sub/b.jpg")
    monkeypatch.chdir(tmp_path)
    assert len(names(Path("in"), tmp_path / "in", Path("in/a.jpg"), Path("in/../in/sub"))) == 2


def test_links_to_files_are_pictures_of_their_own_and_links_to_folders_are_not_followed(tmp_path):
    touch(tmp_path, "in/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "in/link.jpg").symlink_to("a.jpg")
    (tmp_path / "in/round").symlink_to(tmp_path / "in", target_is_directory=True)
    (tmp_path / "in/out").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert names(tmp_path / "in") == ["a.jpg", "link.jpg"]
    assert names(tmp_path / "in/out") == ["b.jpg"], "a link that is named itself is followed"


@pytest.mark.parametrize(
    "name", ["\u7b11\u9854 \U0001f642.jpg", "two\nlines.jpg", "a\tb\\c'\".jpg", os.fsdecode(b"latin-\xe9.jpg")]
)
def test_unusual_names_stay_as_they_are(tmp_path, name):
    try:
        touch(tmp_path, name)
    except OSError:
        pytest.skip("this file system does not take the name")
    assert names(tmp_path) == [name]


def test_a_path_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.jpg: no such file or folder"):
        find_pictures([tmp_path / "absent.jpg"], recursive=False)


def test_something_that_is_neither_file_nor_folder_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="neither a file nor a folder"):
        find_pictures([tmp_path / "pipe"], recursive=False)


def test_a_folder_without_pictures_says_what_was_looked_for(tmp_path):
    touch(tmp_path, "notes.txt", "sub/a.jpg")
    with pytest.raises(ConfigError, match=r"--recursive.*\.jpg"):
        find_pictures([tmp_path], recursive=False)
    with pytest.raises(ConfigError, match="no pictures") as caught:
        find_pictures([touch(tmp_path / "deep", "x.txt")], recursive=True)
    assert "--recursive" not in str(caught.value)


def test_a_subfolder_that_cannot_be_read_is_not_left_out_in_silence(tmp_path, monkeypatch):
    touch(tmp_path, "a.jpg", "secret/b.jpg")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ConfigError, match=r"secret: cannot be read \(Permission denied\)"):
        find_pictures([tmp_path], recursive=True)
