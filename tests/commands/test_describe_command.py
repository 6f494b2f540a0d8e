"""`auto-annotator describe`: what it writes, what it does with pictures that are gone or broken, and how it goes on."""

from __future__ import annotations

import json
import shutil
import signal

import numpy as np
import pytest
from command_people import photo

from auto_annotator.commands import describing
from auto_annotator.exchange.descriptors_file import read_descriptors
from auto_annotator.exchange.journal import journal_path
from auto_annotator.exchange.keys import face_keys


@pytest.fixture
def faces(cli, album, people_ensemble, tmp_path):
    path = tmp_path / "faces.jsonl"
    assert cli("detect", album, "--recursive", "--ensemble", people_ensemble(), "--output", path).code == 0
    return path


@pytest.fixture
def output(tmp_path):
    return tmp_path / "descriptors.npz"


@pytest.fixture
def command(faces, album, people_ensemble, output):
    return ["describe", faces, "--images", album, "--ensemble", people_ensemble(), "--output", output]


def test_every_face_gets_a_row(cli, command, output):
    result = cli(*command)
    assert result.code == 0 and result.out == f"{output}\n"
    assert "6 of 7 faces described, without descriptor: 1 " in result.err
    found = read_descriptors(output)
    assert found.image_names == ("a/x.png", "b/x.png", "b/y.png", "z.png")
    assert len(found) == 7 and found.usable.sum() == 6
    alike = found.vectors.astype(np.float32) @ found.vectors.astype(np.float32).T
    images = [found.image_of(i) for i in range(7)]
    person = [int(np.argmax(v)) if v.any() else -1 for v in found.vectors]
    assert sorted(p for p, name in zip(person, images, strict=True) if name == "b/y.png") == [-1, 1, 2]
    assert [p for p, name in zip(person, images, strict=True) if name == "b/x.png"] == [0]
    assert alike.max() <= 1.001


def test_two_pictures_of_one_name_in_two_folders(cli, faces, album, people_ensemble, tmp_path):
    """Also when the folders were given one by one."""
    paths, output = (album / "a", album / "b"), tmp_path / "d.npz"
    assert cli("detect", *paths, "--ensemble", people_ensemble(), "--output", tmp_path / "two.jsonl").code == 0
    result = cli("describe", tmp_path / "two.jsonl", "--images", *paths, "--ensemble", people_ensemble(), "--output", output)
    assert result.code == 0
    assert read_descriptors(output).image_names == ("a/x.png", "b/x.png", "b/y.png")


def test_a_name_in_two_folders_is_not_guessed(cli, album, people_ensemble, tmp_path):
    assert cli("detect", album / "a", "--ensemble", people_ensemble(), "--output", tmp_path / "a.jsonl").code == 0
    result = cli(
        "describe", tmp_path / "a.jsonl", "--images", album / "a", album / "b", "--ensemble", people_ensemble(), "--output", "d.npz"
    )
    assert result.code == 2 and "'x.png' is there twice" in result.one_line


def test_keys_are_those_of_the_records(cli, command, faces, output):
    assert cli(*command).code == 0
    found = read_descriptors(output)
    records = [json.loads(line) for line in faces.read_text().splitlines()]
    assert found.keys == tuple(k for r in records for k in face_keys(r["image"], [f["box"] for f in r["faces"]]))


def test_pictures_that_are_gone_changed_or_broken_end_nothing(cli, command, album, output):
    (album / "a" / "x.png").unlink()
    photo(album / "b" / "x.png", [0], width=410)
    (album / "b" / "y.png").write_bytes(b"no picture")
    result = cli(*command)
    assert result.code == 0
    found = read_descriptors(output)
    codes = {found.image_of(i): code for i, code in enumerate(found.failures)}
    assert codes == {"a/x.png": "missing_picture", "b/x.png": "changed_picture", "b/y.png": "not_an_image", "z.png": ""}
    assert "1 of 7 faces described, without descriptor: 1 changed_picture, 2 missing_picture, 3 not_an_image" in result.err


def test_no_picture_at_all_is_told_at_once(cli, command, album, output):
    shutil.rmtree(album / "a"), shutil.rmtree(album / "b")
    (album / "z.png").unlink()
    result = cli(*command)
    assert result.code == 2 and "not one of 4 pictures with faces is there (the first is 'a/x.png')" in result.one_line
    assert not output.exists()


def test_a_recogniser_that_breaks_ends_no_run(cli, command, album, faces, people_ensemble, output):
    photo(album / "z.png", [5])
    result = cli(*command[:-4], "--ensemble", people_ensemble("FailsOnBlack"), "--output", output)
    assert result.code == 0 and "secret" not in result.err
    found = read_descriptors(output)
    assert [bool(code) for code in found.failures].count(True) == 2 and found.failures[-1]


def test_results_are_not_lost_without_a_word(cli, command, output):
    assert cli(*command).code == 0
    before = output.read_bytes()
    result = cli(*command)
    assert result.code == 2 and "add --resume to go on with it, or --overwrite to start anew" in result.one_line
    assert output.read_bytes() == before
    assert cli(*command, "--overwrite").code == 0
    assert output.read_bytes() == before


def test_resume_describes_only_what_is_new(cli, command, faces, album, people_ensemble, output, monkeypatch):
    assert cli(*command).code == 0
    photo(album / "new.png", [2])
    photo(album / "z.png", [2, 0])
    (album / "b" / "x.png").unlink()
    cli("detect", album, "--recursive", "--ensemble", people_ensemble(), "--output", faces, "--overwrite")
    looked = []
    real = describing.decoded
    monkeypatch.setattr(
        describing, "decoded", lambda pictures, limit: looked.extend(p.name for p in pictures) or real(pictures, limit)
    )
    result = cli(*command, "--resume")
    assert result.code == 0 and looked == ["new.png", "z.png"]
    assert "5 faces were done before" in result.err
    found = read_descriptors(output)
    assert found.image_names == ("a/x.png", "b/y.png", "new.png", "z.png")
    cli(*command, "--overwrite")
    assert np.array_equal(read_descriptors(output).vectors, found.vectors)


def test_resume_tries_missing_pictures_again(cli, command, album, output):
    (album / "z.png").rename(album / "hidden")
    assert cli(*command).code == 0 and read_descriptors(output).failures[-1] == "missing_picture"
    (album / "hidden").rename(album / "z.png")
    assert cli(*command, "--resume").code == 0 and read_descriptors(output).failures[-1] == ""


def test_other_models_are_not_mixed(cli, command, people_ensemble, output):
    assert cli(*command).code == 0
    other = [*command[:-4], "--ensemble", people_ensemble("FailsOnBlack"), "--output", output]
    result = cli(*other, "--resume")
    assert result.code == 2 and "made by the models 'fakes'" in result.one_line and "--overwrite" in result.one_line
    assert cli(*other, "--overwrite").code == 0


def interrupted(monkeypatch, after: int) -> None:
    real = describing.decoded

    def stopping(pictures, limit):
        for number, pair in enumerate(real(pictures, limit)):
            if number == after:
                raise KeyboardInterrupt
            yield pair

    monkeypatch.setattr(describing, "decoded", stopping)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_ctrl_c_loses_nothing_and_resume_goes_on(cli, command, output, monkeypatch, after):
    assert cli(*command).code == 0
    whole = output.read_bytes()
    output.unlink()
    with monkeypatch.context() as patch:
        interrupted(patch, after)
        result = cli(*command)
    assert result.code == 130 and "--resume (without --overwrite) goes on" in result.err and not output.exists()
    assert cli(*command).code == 2, "an interrupted run is not forgotten silently"
    journal = journal_path(output)
    with journal.open("ab") as stream:
        stream.write(b'{"image": "z.png", "dig')  # killed half way
    result = cli(*command, "--resume")
    assert result.code == 0 and output.read_bytes() == whole and not journal.exists()
    assert ("faces were done before" in result.err) == (after > 0)


def test_a_second_interruption_loses_nothing_either(cli, command, output, monkeypatch):
    for after in (1, 1):
        with monkeypatch.context() as patch:
            interrupted(patch, after)
            assert cli(*command, "--resume").code == 130
    assert "4 faces" not in cli(*command).err
    result = cli(*command, "--resume")
    assert result.code == 0 and "faces were done before" in result.err and len(read_descriptors(output)) == 7


def test_a_real_signal_leaves_a_journal(cli, spawn, command, output, album):
    for number in range(300):
        photo(album / f"many{number}.png", [0])
    faces = command[1]
    cli("detect", album, "--recursive", "--ensemble", command[5], "--output", faces, "--overwrite")
    process = spawn(*command)
    journal = journal_path(output)
    while not (journal.exists() and journal.stat().st_size > 2000):
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"Traceback" not in err and b"goes on" in err
    assert cli(*command, "--resume").code == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({1: "absent.jsonl"}, "absent.jsonl: no such file"),
        ({3: "absent"}, "absent: no such folder"),
        ({7: "out.txt"}, "expected a name that ends in .npz"),
    ],
)
def test_bad_arguments(cli, command, change, message):
    for place, value in change.items():
        command[place] = value
    result = cli(*command)
    assert result.code == 2 and message in result.one_line


def test_an_ensemble_without_descriptors_says_so(cli, command, ensemble):
    command[5] = ensemble()
    result = cli(*command)
    assert result.code == 2 and "has no `descriptors`" in result.one_line


def test_a_name_that_leaves_the_folder_is_not_followed(cli, command, faces, album, output):
    lines = faces.read_text().splitlines()
    secret = json.loads(lines[-1])
    for name in ("../z.png", "/etc/passwd", "nul\0.png", "x" * 5000):
        lines.append(json.dumps(secret | {"image": name}))
    faces.write_text("\n".join(lines) + "\n")
    photo(album.parent / "z.png", [0])
    assert cli(*command).code == 0
    found = read_descriptors(output)
    assert found.failures[-4:] == ("missing_picture",) * 4


def test_no_faces_at_all_is_a_file_without_rows(cli, command, faces, output):
    faces.write_text("")
    assert cli(*command).code == 0
    assert len(read_descriptors(output)) == 0
