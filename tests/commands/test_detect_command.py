"""`auto-annotator detect`: what comes out, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import termios
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from auto_annotator.commands import run
from auto_annotator.pipeline import FaceDetection


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_object_per_picture_in_order(cli, photos, ensemble, tmp_path):
    output = tmp_path / "new" / "folder" / "faces.jsonl"
    result = cli("detect", photos, "--output", output, "--ensemble", ensemble())
    assert result.code == 0
    assert result.one_line == "6 pictures, 6 faces, 0 of them to review"
    assert result.out == ""
    found = lines(output)
    assert [(f["image"], len(f["faces"])) for f in found] == [(f"{i}.png", i % 3) for i in range(6)]
    face = found[1]["faces"][0]
    assert face["box"] == pytest.approx([10, 20, 50, 60], abs=0.5)
    assert set(face) == {"box", "score", "landmarks", "votes", "review", "reasons"}
    assert (found[1]["width"], found[1]["height"], list(face["votes"])) == (320, 240, ["squares"])


def test_the_threshold_leaves_faces_out(cli, photos, ensemble, tmp_path):
    assert cli("detect", photos, "--output", tmp_path / "f.jsonl", "--ensemble", ensemble(), "--threshold", "0.95").code == 0
    assert [f["faces"] for f in lines(tmp_path / "f.jsonl")] == [[]] * 6


def test_a_broken_picture_among_good_ones_is_an_error_record(cli, photos, ensemble, tmp_path):
    (photos / "1b.png").write_bytes((photos / "1.png").read_bytes()[:200])
    (photos / "3b.jpg").write_bytes(b"")
    (photos / "4b.jpg").symlink_to("gone.jpg")
    result = cli("detect", photos, "--output", tmp_path / "f.jsonl", "--ensemble", ensemble())
    found = lines(tmp_path / "f.jsonl")
    assert result.code == 0
    assert "9 pictures, 6 faces" in result.one_line
    assert "3 pictures failed (see `error` in the output)" in result.one_line
    errors = {f["image"]: f["error"]["reason"] for f in found if "error" in f}
    assert errors == {"1b.png": "truncated", "3b.jpg": "empty", "4b.jpg": "unreadable_file"}
    assert all(f["width"] is None and f["faces"] == [] for f in found if "error" in f)
    assert sum(len(f["faces"]) for f in found) == 6


def test_a_picture_that_every_member_breaks_on_is_an_error_record(cli, photos, ensemble, tmp_path):
    PIL.Image.fromarray(np.zeros((240, 320, 3), np.uint8)).save(photos / "2b.png")
    result = cli("detect", photos, "--output", tmp_path / "f.jsonl", "--ensemble", ensemble("FailsOnBlack"))
    errors = {f["image"]: f["error"] for f in lines(tmp_path / "f.jsonl") if "error" in f}
    assert result.code == 0
    assert list(errors) == ["2b.png"]
    assert errors["2b.png"]["reason"] == "no_member_answered"
    assert "secret" not in result.err + json.dumps(errors)


def first_call_fails(owner: object, name: str, error: Exception):
    """A stand-in for a function: its first call raises, the others do what they did."""
    original, errors = getattr(owner, name), [error]

    def call(*arguments, **options):
        if errors:
            raise errors.pop()
        return original(*arguments, **options)

    return call


@pytest.mark.parametrize(("error", "reason"), [(ValueError, "internal_error"), (MemoryError, "out_of_memory")])
@pytest.mark.parametrize("place", ["pipeline", "decoder"])
def test_an_error_that_nobody_foresaw_is_a_record_and_the_run_goes_on(
    cli, photos, ensemble, tmp_path, monkeypatch, error, reason, place
):
    target = (FaceDetection, "__call__") if place == "pipeline" else (run, "read")
    monkeypatch.setattr(*target, first_call_fails(*target, error("secret of the picture")))
    result = cli("detect", photos, "--output", tmp_path / "f.jsonl", "--ensemble", ensemble())
    found = lines(tmp_path / "f.jsonl")
    assert result.code == 0 and "1 pictures failed" in result.one_line
    assert [f["image"] for f in found if "error" in f] == ["0.png"] and len(found) == 6
    told = found[0]["error"]
    assert told["reason"] == reason and told["message"].startswith(f"{error.__name__} at ")
    assert "secret" not in result.err + json.dumps(found) and ".py" not in told["message"]


def test_exit_1_when_no_picture_could_be_used(cli, ensemble, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(b"no picture")
    result = cli("detect", tmp_path / "in", "--output", tmp_path / "f.jsonl", "--ensemble", ensemble())
    assert result.code == 1
    assert "1 pictures failed" in result.one_line
    assert len(lines(tmp_path / "f.jsonl")) == 1


@pytest.mark.parametrize("name", ["two\nlines.png", "\u7b11.PNG", os.fsdecode(b"latin-\xe9.png")])
def test_a_line_is_one_line_of_ascii_whatever_the_name(cli, save, ensemble, tmp_path, name):
    save(tmp_path / "in" / name)
    assert cli("detect", tmp_path / "in", "--output", tmp_path / "f.jsonl", "--ensemble", ensemble()).code == 0
    content = (tmp_path / "f.jsonl").read_bytes()
    assert content.isascii() and content.count(b"\n") == 1
    assert json.loads(content)["image"] == name


def test_stdout_is_clean_json_lines(spawn, photos, ensemble, tmp_path):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    out, err = spawn("detect", photos, "--output", "-", "--ensemble", ensemble(), cwd=tmp_path).communicate(timeout=60)
    assert [json.loads(line)["image"] for line in out.splitlines()] == [*(f"{i}.png" for i in range(6)), "broken.jpg"]
    assert err.decode().splitlines()[-1].startswith("7 pictures, 6 faces")
    assert not list(tmp_path.glob("-*"))


def test_progress_goes_to_stderr_only(spawn, photos, ensemble):
    """With a terminal at stderr, as a person has it, the bar is there and stdout is as clean."""
    ours, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 100))
    process = spawn("detect", photos, "--output", "-", "--ensemble", ensemble(), stderr=terminal)
    os.close(terminal)
    shown = b""
    with contextlib.suppress(OSError):  # Linux reports the end of a terminal as an error
        while chunk := os.read(ours, 1 << 16):
            shown += chunk
    os.close(ours)
    out, _ = process.communicate(timeout=60)
    assert len([json.loads(line) for line in out.splitlines()]) == 6
    assert b"6/6" in shown and b"picture/s" in shown


def test_a_reader_that_has_seen_enough_is_no_error(spawn, photos, ensemble):
    once = ["--rotations", "off"]  # the gate counts looks
    process = spawn("detect", photos, "--output", "-", "--ensemble", ensemble("Gated"), *once)
    process.stdin.write(b"go\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["image"] == "0.png"
    process.stdout.close()
    process.stdin.write(b"go\n" * 5)
    process.stdin.close()
    said = process.stderr.read().decode()
    assert process.wait(timeout=60) == 0
    assert "Traceback" not in said and "Broken" not in said


@pytest.mark.parametrize("command", ["labels", "detect"])
def test_a_reader_that_was_never_there_is_no_error(spawn, photos, ensemble, command):
    """Python's own flush at exit must not complain either, which it does with exit code 120."""
    reader, writer = os.pipe()
    os.close(reader)
    arguments = ["labels"] if command == "labels" else ["detect", photos, "--output", "-", "--ensemble", ensemble()]
    process = spawn(*arguments, stdout=writer)
    os.close(writer)
    assert process.stderr.read() == b""
    assert process.wait(timeout=60) == 0


def test_a_device_can_take_the_output(cli, photos, ensemble):
    assert cli("detect", photos, "--output", "/dev/null", "--ensemble", ensemble()).code == 0
    assert not Path("/dev/null.run.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PHOTOS", "--output", "out.jsonl", "--threshold", "2"], "got '2', expected a number from 0 to 1"),
        (["PHOTOS", "--output", "out.jsonl", "--threshold", "nan"], "got 'nan', expected a number from 0 to 1"),
        (["PHOTOS", "--output", "out.jsonl", "--threads", "-1"], "got '-1', expected a whole number"),
        (["PHOTOS", "--output", "out.jsonl", "--resume", "--overwrite"], "not allowed with argument"),
        (["PHOTOS"], "required: --output"),
        (["--output", "out.jsonl"], "give at least one picture or folder"),
        (["PHOTOS", "--output", "out.jsonl", "--device", "tpu"], "invalid choice: 'tpu'"),
        (["PHOTOS", "--output", "out.jsonl", "--ensemble", "embeded"], "got 'embeded', expected one of"),
        (["PHOTOS", "--output", "out.jsonl", "--ensemble", "absent.yaml"], "absent.yaml"),
        (["PHOTOS", "--output", "out.jsonl", "--ensemble", "FOLDER.yaml"], "FOLDER.yaml"),
        (["PHOTOS", "--output", "out.jsonl", "--ensemble", "binary.yaml"], "ensemble binary.yaml: not valid YAML"),
        (["PHOTOS", "--output", "out.jsonl", "--ensemble", "empty.yaml"], "ensemble empty.yaml: file:"),
        (["EMPTY", "--output", "out.jsonl"], "no pictures in"),
        (["TEXTS", "--output", "out.jsonl"], "no pictures in"),
        (["absent", "--output", "out.jsonl"], "absent: no such file or folder"),
        (["PHOTOS", "--output", "EMPTY"], "EMPTY: is a folder, expected a file such as EMPTY/faces.jsonl"),
        (["PHOTOS", "--output", "file/out.jsonl"], "file: cannot be made a folder for results"),
        (["PHOTOS", "--output", "-", "--resume"], "--resume needs a file"),
        (["PHOTOS", "--output", "PHOTOS/0.png", "--overwrite"], "is one of the pictures"),
    ],
)
def test_bad_arguments_exit_2_with_one_clear_line(cli, photos, ensemble, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    photos.rename("PHOTOS")
    Path("EMPTY").mkdir()
    Path("TEXTS").mkdir()
    Path("TEXTS/notes.txt").write_text("no picture")
    Path("FOLDER.yaml").mkdir()
    Path("binary.yaml").write_bytes(bytes(range(128, 256)))
    Path("empty.yaml").write_text("")
    Path("file").write_text("")
    picture_before = Path("PHOTOS/0.png").read_bytes()
    if "--ensemble" not in arguments:
        arguments = [*arguments, "--ensemble", ensemble()]
    result = cli("detect", *arguments)
    assert result.code == 2
    assert message in result.err.splitlines()[-1]
    assert [line for line in result.err.splitlines()[:-1] if not line.startswith(("usage:", " "))] == []
    assert result.out == "" and not Path("out.jsonl").exists()
    assert Path("PHOTOS/0.png").read_bytes() == picture_before


@pytest.mark.parametrize("arguments", [[], ["detekt"], ["models"], ["models", "fetch"], ["detect", "--nonsense"]])
def test_a_wrong_command_shows_the_usage(cli, arguments):
    result = cli(*arguments)
    assert result.code == 2
    assert result.err.startswith("usage: auto-annotator")
    assert "Traceback" not in result.err


def test_a_full_disk_is_one_line(cli, photos, ensemble):
    """/dev/full refuses every write, as a full disk does."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    result = cli("detect", photos, "--output", "/dev/full", "--ensemble", ensemble())
    assert result.code == 2
    assert result.one_line == "auto-annotator: No space left on device"


def test_missing_weights_leave_no_output(cli, photos, tmp_path):
    result = cli("detect", photos, "--output", tmp_path / "f.jsonl", "--models", tmp_path / "none")
    assert result.code == 2
    assert "run `auto-annotator models pull" in result.one_line
    assert not (tmp_path / "f.jsonl").exists()
