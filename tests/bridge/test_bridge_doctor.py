"""`cvat doctor`: says what fits and what does not, and writes nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_cvat import FakeCvat

from auto_annotator.bridge.functions_client import CLUSTERING, DESCRIPTOR, DETECTION
from auto_annotator.cli import main
from auto_annotator.commands.cvat import doctor
from auto_annotator.cvat.labels import label_constructor

sys.path.insert(0, str(Path(__file__).parent))
from scripted_answers import Scripted

READY = {name: {"status": {"state": "ready"}} for name in (DETECTION, DESCRIPTOR, CLUSTERING)}
MODELS = {"model_set": "embedded", "model_hash": "abc123", "dimension": 8, "threshold": 0.5, "faces": []}


@pytest.fixture
def fake(monkeypatch):
    with FakeCvat(seed=3, version="2.80.0") as server:
        monkeypatch.setenv("CVAT_ACCESS_TOKEN", server.token)
        monkeypatch.setenv("AUTO_ANNOTATOR_CVAT_RETRY_SECONDS", "0")
        yield server


@pytest.fixture
def functions():
    with Scripted((200, {}, READY), (200, {}, MODELS)) as server:
        yield server


@pytest.fixture
def look(fake, functions, capsys):
    """Function: task, more words -> exit code, and (level, text) of each line."""

    def run(task, *words):
        at = ["--functions", functions.url] if "--functions" not in words else []
        code = main(["cvat", "doctor", "--task", str(task), "--server-host", fake.url, *at, *words])
        lines = capsys.readouterr().out.splitlines()
        assert fake.writes == 0
        return code, [(line[:8].strip(), line[8:]) for line in lines]

    return run


def texts(findings, level):
    return "\n".join(text for found, text in findings if found == level)


def test_a_task_where_all_is_well(fake, look):
    task = fake.make_task(frames=[(640, 480), (1000, 800)], job_size=1)
    fake.human.draw(task.jobs[0].id, 0, (1, 2, 30, 40))
    fake.human.draw_track(task.jobs[1].id, {1: (1, 2, 30, 40)})
    code, findings = look(task.id)
    assert code == 0 and not texts(findings, "problem")
    fine = texts(findings, "ok")
    assert "CVAT 2.80.0" in fine and f"task {task.id}: 2 frames (pictures), 2 jobs" in fine
    assert "no value is dropped" in fine and "label face: 1 boxes and 1 tracks" in fine
    assert "largest frame 1: 1000 x 800" in fine and "64 MiB" in fine
    assert f"{CLUSTERING} is ready" in fine and "embedded (abc123), 8 numbers" in fine


def test_missing_labels_and_attributes(fake, look):
    labels = label_constructor()
    labels[0]["attributes"] = [a for a in labels[0]["attributes"] if a["name"] not in ("person", "votes")]
    task = fake.make_task(frames=1, labels=labels[:2])
    code, findings = look(task.id)
    wrong = texts(findings, "problem")
    assert code == 1 and "attribute votes (text) is not there: its values are dropped" in wrong
    assert "label face_error (tag) is not there" in wrong and f"run: auto-annotator cvat setup --task {task.id}" in wrong
    assert "a push cannot write to label face (0 boxes and 0 tracks): no attribute person" in wrong


def test_attributes_that_would_be_dropped(fake, look):
    labels = label_constructor()
    score = next(a for a in labels[0]["attributes"] if a["name"] == "score")
    score["values"] = ["0", "1", "0.1"]
    code, findings = look(fake.make_task(frames=1, labels=labels).id)
    wrong = texts(findings, "problem")
    assert code == 1 and "range 0, 1, 0.1" in wrong and "automatic annotation fails" in wrong and "cvat setup" not in wrong


def test_faces_of_another_label(fake, look):
    labels = [*label_constructor(), {"name": "head", "type": "rectangle", "attributes": []}]
    task = fake.make_task(frames=1, labels=labels)
    fake.human.draw(task.jobs[0].id, 0, (1, 2, 30, 40), label="head")
    code, findings = look(task.id)
    assert code == 0 and "label head has 1 boxes and 0 tracks" in texts(findings, "note")
    code, findings = look(task.id, "--label", "head")
    assert code == 1 and "setup --task 1 --label 'head'" in texts(findings, "problem")


def test_deleted_frames_overlap_and_old_servers(fake, look):
    fake.store.version = "2.15.0"
    code, findings = look(fake.make_task(frames=6, job_size=3, overlap=1, deleted_frames=[2, 3]).id)
    assert "2 deleted frames" in texts(findings, "note") and "in more than one job" in texts(findings, "note")
    assert code == 1 and "expected CVAT 2.54 or newer" in texts(findings, "problem")


def test_every_frame_deleted(fake, look):
    code, findings = look(fake.make_task(frames=2, deleted_frames=[0, 1]).id)
    assert code == 1 and "every frame is deleted" in texts(findings, "problem")


def test_frames_beyond_a_limit(fake, look, monkeypatch):
    task = fake.make_task(frames=1)
    monkeypatch.setattr(doctor, "BODY_BYTES", 1 << 10)
    code, findings = look(task.id)
    assert code == 1 and "that the functions take" in texts(findings, "problem")
    monkeypatch.setenv("AUTO_ANNOTATOR_MAX_PIXELS", "1000")
    code, findings = look(task.id)
    assert code == 1 and "more than 1000 pixels" in texts(findings, "problem")


def test_a_frame_that_cannot_be_read(fake, look):
    code, findings = look(fake.make_task(frames=[b"no picture"]).id)
    assert code == 1 and "no known picture format" in texts(findings, "problem")


def test_functions_that_are_missing_or_broken(fake, look, functions):
    functions.answers[0] = (200, {}, {DETECTION: {"status": {"state": "unhealthy"}}, DESCRIPTOR: {}})
    code, findings = look(fake.make_task(frames=1).id)
    wrong = texts(findings, "problem")
    assert code == 1 and f"{DETECTION} is unhealthy" in wrong and f"{DESCRIPTOR} is in an unknown state" in wrong
    assert f"has no {CLUSTERING}: deploy it" in wrong


def test_this_machine_is_looked_at_without_functions(fake, monkeypatch, capsys):
    seen = []
    monkeypatch.setattr(doctor, "examine", lambda settings: seen.append(settings.device) or iter(()))
    task = fake.make_task(frames=1)
    assert main(["cvat", "doctor", "--task", str(task.id), "--server-host", fake.url, "--device", "cpu"]) == 0
    assert seen == ["cpu"] and "--functions" not in capsys.readouterr().out


def test_a_task_that_is_not_there(fake, capsys):
    assert main(["cvat", "doctor", "--task", "9", "--server-host", fake.url]) == 2
    assert "task 9 is not on" in capsys.readouterr().err
