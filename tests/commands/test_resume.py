"""Runs that end half way, by Ctrl-C or by force, and how they go on."""

from __future__ import annotations

import io
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TIMEOUT = 60
"""Seconds until a process that hangs fails a test; none comes near it."""


def until_picture(process: subprocess.Popen[bytes]) -> None:
    for line in process.stderr:
        if line == b"picture came\n":
            return
    raise AssertionError("the run ended early")


def let_through(process: subprocess.Popen[bytes], pictures: int) -> None:
    """Let so many pictures through the gate; on return they are written, and the next one stands before the gate."""
    for _ in range(pictures):
        until_picture(process)
        process.stdin.write(b"go\n")
        process.stdin.flush()
    until_picture(process)


def images(output: Path) -> list[str]:
    return [json.loads(line)["image"] for line in output.read_bytes().splitlines()]


@pytest.fixture
def command(photos, ensemble, tmp_path) -> list[object]:
    once = ["--rotations", "off"]  # the gate counts looks
    return ["detect", photos, "--ensemble", ensemble("Gated"), *once, "--output", tmp_path / "faces.jsonl"]


@pytest.fixture
def output(command) -> Path:
    return command[-1]


@pytest.fixture
def ungated(cli, monkeypatch):
    """Function: arguments -> result in this process, the gate open."""

    def run(*arguments):
        monkeypatch.setattr(sys, "stdin", io.StringIO("go\n" * 1000))
        result = cli(*arguments)
        return type(result)(result.code, result.out, result.err.replace("picture came\n", ""))

    return run


@pytest.fixture
def whole(ungated, command, output) -> bytes:
    """What an uninterrupted run writes; nothing of it is left."""
    assert ungated(*command).code == 0
    content = output.read_bytes()
    output.unlink()
    (output.with_name(output.name + ".run.json")).unlink()
    return content


@pytest.mark.parametrize("done", [0, 3, 5])
def test_ctrl_c_leaves_whole_lines_and_resume_completes_them(spawn, ungated, command, output, whole, done):
    process = spawn(*command)
    let_through(process, done)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert images(output) == [f"{i}.png" for i in range(done)]
    assert out == b"" and b"Traceback" not in err
    assert f"interrupted: {done} of 6 pictures are in {output}" in err.decode()
    assert "--resume (without --overwrite) goes on" in err.decode()
    result = ungated(*command, "--resume")
    assert result.code == 0
    assert output.read_bytes() == whole
    assert result.one_line.startswith("6 pictures, 6 faces") and (f"{done} pictures were done before" in result.err) == (done > 0)


def test_ctrl_c_before_the_first_picture_has_no_traceback(spawn, command, tmp_path):
    """While the models are loaded: here a detector that waits when it is built."""
    (tmp_path / "slow_start.py").write_text(
        "import sys\n"
        "class Slow:\n"
        "    def __init__(self, context):\n"
        "        sys.stderr.write('picture came\\n'); sys.stderr.flush()\n"
        "        sys.stdin.readline()\n"
    )
    command[3].write_text(command[3].read_text().replace("command_detectors:Gated", "slow_start:Slow"))
    process = spawn(*command)
    until_picture(process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 130
    assert b"Traceback" not in err and b"interrupted: 0 of 6" in err
    assert not command[-1].exists()


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_run_goes_on_to_the_same_result(spawn, ungated, command, output, whole, seed):
    rng = random.Random(seed)
    process = spawn(*command)
    let_through(process, rng.randrange(4))
    process.stdin.write(b"go\n" * 6)  # from here on it runs freely, and is killed wherever it happens to be
    process.stdin.flush()
    for _ in range(rng.randrange(2)):
        until_picture(process)
    process.kill()
    process.wait(TIMEOUT)
    assert ungated(*command, "--resume").code == 0
    assert output.read_bytes() == whole


def test_a_run_cut_at_any_byte_goes_on_to_the_same_result(ungated, command, output, whole):
    """A system that goes down can leave any beginning of the file."""
    assert ungated(*command).code == 0
    ends = [i + 1 for i, byte in enumerate(whole) if byte == 10]
    cuts = {0, 1, *(e + d for e in ends for d in (-2, -1, 0, 1)), *random.Random(0).sample(range(len(whole)), 8)}
    for cut in sorted(c for c in cuts if c <= len(whole)):
        output.write_bytes(whole[:cut])
        assert ungated(*command, "--resume").code == 0
        assert output.read_bytes() == whole, f"cut at byte {cut} of {len(whole)}"


def test_an_output_that_exists_is_not_touched_without_a_word(ungated, command, output, whole):
    output.write_bytes(b"of someone else")
    result = ungated(*command)
    assert result.code == 2
    assert "exists already: add --resume to go on with it, or --overwrite to start anew" in result.one_line
    assert output.read_bytes() == b"of someone else"
    assert ungated(*command, "--overwrite").code == 0
    assert output.read_bytes() == whole


def test_overwrite_loses_nothing_when_the_models_cannot_be_loaded(ungated, command, output, tmp_path):
    output.write_bytes(b"precious")
    command[3].write_text(command[3].read_text().replace(":Gated", ":Gone"))
    result = ungated(*command, "--overwrite")
    assert result.code == 2 and "has no Gone" in result.one_line
    assert output.read_bytes() == b"precious"


def test_resume_with_nothing_there_just_starts(ungated, command, output, whole):
    assert ungated(*command, "--resume").code == 0
    assert output.read_bytes() == whole


def test_resume_of_a_finished_run_runs_no_model(cli, ungated, command, output, whole, monkeypatch):
    assert ungated(*command).code == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO())  # the gate is shut: a detector that were asked would end the run
    result = cli(*command, "--resume")
    assert result.code == 0
    assert result.one_line == "6 pictures, 6 faces, 0 of them to review, 6 pictures were done before"
    assert output.read_bytes() == whole


def test_resume_takes_in_new_pictures_and_keeps_the_old_lines(ungated, command, output, photos, save, whole):
    assert ungated(*command).code == 0
    save(photos / "0a.png", 1)
    assert ungated(*command, "--resume").code == 0
    assert output.read_bytes().startswith(whole)
    assert images(output)[6:] == ["0a.png"]


def test_the_summary_counts_the_pictures_that_were_asked_for(cli, ungated, command, photos):
    assert ungated(*command).code == 0
    (photos / "2.png").unlink()
    result = cli(*command, "--resume")
    assert result.one_line == "5 pictures, 4 faces, 0 of them to review, 5 pictures were done before"


def test_an_output_that_was_only_just_begun_is_nothing_to_mix_with(ungated, command, output, whole):
    output.write_bytes(b"")  # ended between the making of the file and of the note beside it
    assert ungated(*command, "--resume").code == 0
    assert output.read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: [*c, "--threshold", "0.9"], "threshold was None, is 0.9"),
        (lambda c: [*c[:3], c[3].with_name("other.yaml"), *c[4:]], "ensemble was fakes "),
    ],
)
def test_resume_refuses_other_settings(ungated, command, output, change, message):
    assert ungated(*command).code == 0
    before = output.read_bytes()
    command[3].with_name("other.yaml").write_text(command[3].read_text().replace("320", "256"))
    result = ungated(*change(command), "--resume")
    assert result.code == 2
    assert message in result.one_line and "use those again, or --overwrite" in result.one_line
    assert output.read_bytes() == before


def test_resume_refuses_another_calibration(ungated, command, output, tmp_path):
    curves = tmp_path / "curves.json"
    curves.write_text(json.dumps({"members": {}}))
    command[3].write_text(command[3].read_text() + "\ncalibration: curves.json\n")
    assert ungated(*command).code == 0
    curves.write_text(json.dumps({"members": {}, "note": "fitted anew"}))
    result = ungated(*command, "--resume")
    assert result.code == 2 and "ensemble was fakes " in result.one_line


@pytest.mark.parametrize("note", [b"", b"{", b"[1]", b"\xff\xfe", None])
def test_resume_without_a_readable_note_of_the_settings_is_refused(ungated, command, output, note):
    assert ungated(*command).code == 0
    before, path = output.read_bytes(), output.with_name("faces.jsonl.run.json")
    path.unlink()
    if note is not None:
        path.write_bytes(note)
    result = ungated(*command, "--resume")
    assert result.code == 2
    assert f"faces.jsonl.run.json with its settings is {'missing' if note is None else 'damaged'}" in result.one_line
    assert "--overwrite" in result.one_line
    assert output.read_bytes() == before


def test_resume_refuses_a_damaged_line_in_the_middle(ungated, command, output):
    assert ungated(*command).code == 0
    lines = output.read_bytes().splitlines(keepends=True)
    output.write_bytes(b"".join([lines[0], b"{broken}\n", *lines[2:]]))
    before = output.read_bytes()
    result = ungated(*command, "--resume")
    assert result.code == 2
    assert "faces.jsonl line 2" in result.one_line and "--overwrite" in result.one_line
    assert output.read_bytes() == before
