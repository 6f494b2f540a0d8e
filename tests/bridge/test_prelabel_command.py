"""`cvat prelabel` as a command, through cvat-sdk, against the fake CVAT: kills, faults, edits, videos, what is printed."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading

import pytest
import yaml
from fake_cvat import FakeCvat, normalised
from fakes import picture

from auto_annotator.bridge.server import Server, ServerError
from auto_annotator.cli import main
from auto_annotator.cvat.labels import label_constructor

CONSOLE_SCRIPT = "from auto_annotator.cli import main; raise SystemExit(main())"
KILLS, ROUNDS = 20, 10
SURE, UNSURE = 0.9, 0.6
CAR = {"name": "car", "type": "rectangle", "color": "#fff", "attributes": []}


def scene(frame):
    """A frame with a sure face and one that a higher threshold leaves out, each frame elsewhere."""
    x = 10 + 4 * (frame % 8)
    image = picture(256, 128, [(x, 10, x + 50, 60)], SURE)
    image[50:90, 150 + x : 190 + x] = 100 + round(UNSURE * 100)
    return image


class Desk:
    """A server with a task of two jobs, and the command against it."""

    def __init__(self, server, folder, capsys, monkeypatch, **options):
        self.server, self.folder, self.capsys = server, folder, capsys
        self.cache = folder / "cache"
        for name, value in self.environment().items():
            monkeypatch.setenv(name, value)
        frames = options.pop("frames", [scene(number) for number in range(8)])
        options = {"job_size": 4, "labels": [*label_constructor(), CAR]} | options
        self.task = server.make_task(frames=frames, **options)
        self.jobs = [job.id for job in self.task.jobs]

    def environment(self):
        return {
            "CVAT_ACCESS_TOKEN": self.server.token,
            "AUTO_ANNOTATOR_CVAT_RETRY_SECONDS": "0.001",
            "AUTO_ANNOTATOR_CVAT_CACHE": str(self.cache),
            "OMP_NUM_THREADS": "1",
        }

    def ensemble(self, shift=0.0):
        """An ensemble whose faces lie `shift` pixels further right and down."""
        path = self.folder / f"squares-{shift}.yaml"
        member = {"name": "squares", "use": "fake_cvat.ensemble:Squares", "views": [{"size": 256}], "options": {"shift": shift}}
        path.write_text(yaml.safe_dump({"name": "squares", "members": [member]}))
        return path

    def arguments(self, *more, shift=0.0, threshold=0.5):
        scope = [] if {"--task", "--job", "--project"} & set(more) else ["--task", self.task.id]
        common = ["--ensemble", self.ensemble(shift), "--threshold", threshold, "--threads", 1, "--server-host", self.server.url]
        return [str(part) for part in ["cvat", "prelabel", *scope, *common, *more]]

    def run(self, *more, expected=0, **options):
        """The command in this process: standard output and error."""
        code = main(self.arguments(*more, **options))
        out, err = self.capsys.readouterr()
        assert code == expected, err
        return out, err

    def spawn(self, *more, **options):
        """The command in a process of its own."""
        command = [sys.executable, "-c", CONSOLE_SCRIPT, *self.arguments(*more, **options)]
        environment = self.server.environment(**self.environment())
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def content(self):
        """Everything on the server, without ids."""
        return normalised(self.server.snapshot(), ids=False)

    def faces(self, job=None, label="face"):
        """What stands in the jobs under a label, by frame and place."""
        jobs = self.server.snapshot()["jobs"]
        found = [
            s for number, tables in jobs.items() if job in (None, number) for s in tables["shapes"].values() if s["label"] == label
        ]
        return sorted(found, key=lambda s: (s["frame"], s["points"]))

    def tags(self):
        """Reasons of `face_error` tags by frame."""
        tables = self.server.snapshot()["jobs"].values()
        return {tag["frame"]: tag["attributes"]["reason"] for table in tables for tag in table["tags"].values()}

    def journals(self):
        return sorted((self.cache / "prelabel").glob("*.jsonl"))


@pytest.fixture
def server():
    with FakeCvat(seed=3) as fake:
        yield fake


@pytest.fixture
def desk(server, tmp_path, capsys, monkeypatch):
    return Desk(server, tmp_path, capsys, monkeypatch)


def populate(desk):
    """Objects of people and other tools that nothing may change; their ids."""
    draw, (first, second) = desk.server.human.draw, desk.jobs
    shapes = [
        draw(first, 0, (12, 12, 62, 62), person="p0007", occluded=True),  # over the sure face of frame 0
        draw(first, 1, (160, 48, 206, 94), source="semi-auto", name="Ada"),
        draw(second, 5, (28, 8, 80, 62), source="file", rotation=20.0, group=1),
        draw(second, 6, (100, 60, 130, 90), label="car", source="auto"),
    ]
    track = desk.server.human.draw_track(second, {4: (26, 10, 76, 60), 7: (40, 10, 90, 60)}, person="p0001", group=2)
    return shapes, track


def kept(desk, shapes, track):
    jobs = desk.server.snapshot()["jobs"].values()
    table = {number: shape for job in jobs for number, shape in job["shapes"].items()}
    return {number: table[number] for number in shapes}, [job["tracks"] for job in jobs], track


def test_faces_are_saved_once_and_the_second_run_writes_nothing(desk):
    out, err = desk.run()
    faces, skeletons = desk.faces(), desk.faces(label="face_landmarks")
    assert len(faces) == len(skeletons) == 16
    assert {face["source"] for face in faces} == {"auto"}
    assert faces[0]["points"] == [10.0, 10.0, 60.0, 60.0]
    assert all(face["attributes"]["face_key"] for face in faces)
    assert "8 frames, 16 faces: 16 added" in err
    assert out.splitlines() == [f"{desk.server.url}/tasks/{desk.task.id}/jobs/{job}" for job in desk.jobs]
    before = desk.server.snapshot()
    desk.server.forget()
    _, err = desk.run()
    assert desk.server.writes == 0
    assert desk.server.snapshot() == before
    assert "16 as before" in err


def test_a_dry_run_writes_nothing_anywhere(desk):
    populate(desk)
    before = desk.server.snapshot()
    _, err = desk.run("--dry-run")
    assert desk.server.writes == 0
    assert desk.server.snapshot() == before
    assert not desk.cache.exists()
    expected = re.search(r"(\d+) would be added", err)
    _, err = desk.run()
    assert expected
    assert f"{expected[1]} added" in err


def test_what_is_not_ours_stays_bit_for_bit_over_runs_of_other_models(desk):
    what = populate(desk)
    before = kept(desk, *what)
    for options in ({}, {"shift": 3.0}, {"threshold": 0.8}, {"shift": 1.0}):
        desk.run(**options)
        assert kept(desk, *what) == before
    faces = desk.faces()
    ours = [face for face in faces if face["id"] not in what[0]]
    assert len(ours) == 16 - 2 - 4, "two boxes and a track over four frames stand where faces are"


def test_other_models_bring_our_faces_up_to_date_in_place(desk):
    desk.run()
    old = desk.faces()
    desk.server.human.set_attribute(old[0]["id"], "name", "Ada")
    desk.server.human.set_attribute(old[0]["id"], "person", "p0001")
    desk.run(shift=2.0, threshold=0.8)
    new = desk.faces()
    assert len(new) == 8, "the unsure faces are gone"
    assert {face["id"] for face in new} == {face["id"] for face in old if face["attributes"]["score"] == "90"}
    assert new[0]["points"] == [12.0, 12.0, 62.0, 62.0]
    assert (new[0]["attributes"]["name"], new[0]["attributes"]["person"]) == ("Ada", "p0001")
    assert [s["group"] for s in desk.faces(label="face_landmarks")] == [face["group"] for face in new]


def test_people_s_deletions_and_edits_are_respected(desk):
    desk.run()
    human, faces = desk.server.human, desk.faces()
    deleted, moved, reviewed, named = faces[0], faces[3], faces[4], faces[7]
    human.delete(deleted["id"])
    human.move(moved["id"], [p + 4 for p in moved["points"]])
    human.set_attribute(reviewed["id"], "review", "true")
    human.set_attribute(named["id"], "name", "Ada")
    before = {face["id"]: face for face in desk.faces()}
    for options in ({}, {"shift": 2.0}, {"threshold": 0.8}):
        _, err = desk.run(**options)
        now = {face["id"]: face for face in desk.faces()}
        assert deleted["id"] not in now
        assert len([f for f in now.values() if f["frame"] == 0 and f["attributes"]["score"] == "90"]) == 0
        assert [now[face["id"]] for face in (moved, reviewed)] == [before[face["id"]] for face in (moved, reviewed)]
        assert now[named["id"]]["attributes"]["name"] == "Ada"
        assert "1 faces that people deleted are not added again (--restore-deleted" in err
    desk.run("--restore-deleted", threshold=0.8)
    assert len([f for f in desk.faces() if f["frame"] == 0]) == 1


def test_jobs_in_scope_only(desk):
    desk.run("--job", desk.jobs[1])
    assert {face["frame"] for face in desk.faces()} == {4, 5, 6, 7}
    desk.run()
    assert len(desk.faces()) == 16


def test_a_video_with_deleted_frames_and_overlapping_jobs(server, tmp_path, capsys, monkeypatch):
    desk = Desk(server, tmp_path, capsys, monkeypatch, video=True, overlap=1, deleted_frames=[2])
    desk.run()
    for number, job in zip(desk.jobs, desk.task.jobs, strict=True):
        frames = {face["frame"] for face in desk.faces(number)}
        assert frames == set(range(job.start, job.stop + 1)) - {2}
        assert len(desk.faces(number)) == 2 * len(frames)
    asked = [int(r.query["number"]) for r in server.requests if r.query.get("type") == "frame"]
    assert 2 not in asked
    server.forget()
    desk.run()
    assert server.writes == 0


def test_bad_frames_get_a_tag_with_the_reason_until_they_work(server, tmp_path, capsys, monkeypatch):
    pictures = [scene(number) for number in range(4)]
    frames = [*pictures[:1], b"\x89PNG\r\n\x1a\nnothing", *pictures[2:]]
    desk = Desk(server, tmp_path, capsys, monkeypatch, frames=frames)
    fetch = Server.frame_bytes

    def refuse(self, task, frame):
        if frame == 3:
            raise ServerError("refused", status=500)
        return fetch(self, task, frame)

    with monkeypatch.context() as patch:
        patch.setattr(Server, "frame_bytes", refuse)
        _, err = desk.run("--chunk", 2)
    assert "2 frames failed" in err
    assert desk.tags().keys() == {1, 3}
    assert desk.tags()[3] == "unreadable_file"
    assert len(desk.faces()) == 4
    server.forget()
    desk.run()
    assert desk.tags().keys() == {1}, "frame 3 works by now"
    assert len(desk.faces()) == 6
    server.forget()
    desk.run()
    assert server.writes == 0


def test_no_frame_at_all_is_exit_1(server, tmp_path, capsys, monkeypatch):
    desk = Desk(server, tmp_path, capsys, monkeypatch, frames=[b"nothing", b"nothing"])
    desk.run(expected=1)
    assert len(desk.tags()) == 2


@pytest.mark.parametrize("labels", [[CAR], label_constructor()[:1], label_constructor()[:2]])
def test_missing_labels_are_said_before_anything_is_written(server, tmp_path, capsys, monkeypatch, labels):
    desk = Desk(server, tmp_path, capsys, monkeypatch)
    good = desk.task.id
    bad = server.make_task(frames=2, labels=labels)
    _, err = desk.run("--task", good, "--task", bad.id, expected=2)
    assert f"auto-annotator cvat setup --task {bad.id}" in err
    assert server.writes == 0


FAULTS = [
    ("status", {"status": 502}),
    ("status", {"status": 503}),
    ("status", {"status": 504}),
    ("status", {"status": 429, "retry_after": 0}),
    ("reset", {}),
    ("reset_in_body", {}),
    ("reset_after_commit", {}),
    ("status_after_commit", {"status": 504}),
    ("truncated", {}),
]


@pytest.mark.parametrize(("kind", "options"), FAULTS)
def test_faults_of_the_network_leave_every_face_exactly_once(desk, kind, options):
    for skip in (0, 1, 2):
        desk.server.fault(kind, method="PATCH", skip=skip, **options)
    desk.server.fault(kind.replace("_after_commit", ""), rate=0.2, count=5, method="GET", path="annotations", seed=1, **options)
    desk.run("--chunk", 2)
    assert [len([f for f in desk.faces() if f["frame"] == frame]) for frame in range(8)] == [2] * 8
    assert len(desk.faces(label="face_landmarks")) == 16
    desk.server.faults.clear()
    for skip in (0, 1, 3):
        desk.server.fault(kind, method="PATCH", skip=skip, **options)
    desk.run("--chunk", 2, shift=2.0, threshold=0.8)
    assert [face["points"][0] for face in desk.faces()] == [12.0 + 4 * (frame % 8) for frame in range(8)]
    desk.server.faults.clear()
    desk.server.forget()
    desk.run(shift=2.0, threshold=0.8)
    assert desk.server.writes == 0


def test_a_server_that_stays_away_is_exit_2_and_the_same_command_goes_on(desk):
    desk.server.fault("status", status=503, method="PATCH", skip=1, count=100)
    _, err = desk.run("--chunk", 2, expected=2)
    assert "2 of 8 frames are done; the same command goes on" in err
    desk.server.faults.clear()
    desk.server.forget()
    _, err = desk.run("--chunk", 2)
    assert "2 frames were done before" in err
    asked = [int(r.query["number"]) for r in desk.server.requests if r.query.get("type") == "frame"]
    assert sorted(asked) == [2, 3, 4, 5, 6, 7]
    assert len(desk.faces()) == 16


def killed(desk, moment, delay, *more, **options):
    """Start the command and kill it `delay` seconds after its request number `moment`; whether it was still at work."""
    process: list[subprocess.Popen[bytes]] = []
    ready = threading.Event()

    def kill(request):
        ready.wait(10)
        if delay:
            threading.Timer(delay, process[0].kill).start()
        else:
            process[0].kill()

    desk.server.before(kill, skip=moment)
    process.append(desk.spawn(*more, **options))
    ready.set()
    process[0].communicate(timeout=60)
    desk.server.faults.clear()
    return process[0].returncode == -signal.SIGKILL


def test_killed_at_any_moment_a_run_goes_on_to_the_same_result(tmp_path, capsys, monkeypatch):
    rng = random.Random(20)
    again = {"shift": 2.0, "threshold": 0.8}

    def prepared(server, folder):
        """A task after an earlier run and the work of people: a run of other models adds, updates and deletes."""
        folder.mkdir()
        desk = Desk(server, folder, capsys, monkeypatch)
        desk.run("--job", desk.jobs[0])
        human, faces = server.human, desk.faces()
        human.delete(faces[2]["id"])
        human.set_attribute(faces[1]["id"], "name", "Ada")
        human.move(faces[4]["id"], [p + 3 for p in faces[4]["points"]])
        populate(desk)
        server.forget()
        return desk

    with FakeCvat(seed=3) as server:
        desk = prepared(server, tmp_path / "whole")
        desk.run("--chunk", 1, **again)
        expected, requests = desk.content(), len(server.requests)
    died = 0
    for attempt in range(ROUNDS):
        with FakeCvat(seed=attempt) as server:
            desk = prepared(server, tmp_path / str(attempt))
            for part in range(KILLS // ROUNDS):
                moment = rng.randrange(6, max(requests - 10 * part, 8))
                died += killed(desk, moment, rng.choice([0, rng.uniform(0, 0.03)]), "--chunk", 1, **again)
            desk.run("--chunk", 1, **again)
            assert desk.content() == expected
            server.forget()
            desk.run("--chunk", 1, **again)
            assert server.writes == 0
    assert died >= KILLS - 4, "most of the moments must be in the run"


def test_ctrl_c_says_how_to_go_on(desk):
    process: list[subprocess.Popen[bytes]] = []
    ready = threading.Event()

    def interrupt(request):
        ready.wait(10)
        process[0].send_signal(signal.SIGINT)

    desk.server.before(interrupt, method="PATCH", skip=2)
    desk.server.fault("slow_reply", seconds=0.3, method="PATCH", skip=2)
    process.append(desk.spawn("--chunk", 2))
    ready.set()
    _, err = process[0].communicate(timeout=60)
    text = err.decode()
    assert process[0].returncode == 130, text
    assert re.search(r"interrupted: [4-6] of 8 frames are done; the same command goes on", text)
    assert "Traceback" not in text
    desk.run("--chunk", 2)
    assert len(desk.faces()) == 16


def test_the_journal_is_private_and_names_nobody(desk):
    desk.run()
    human = desk.server.human
    human.set_attribute(desk.faces()[0]["id"], "name", "Canary Maier")
    human.set_attribute(desk.faces()[0]["id"], "person", "p0042")
    out, err = desk.run(shift=1.0)
    (path,) = desk.journals()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    texts = path.read_text() + out + err
    for canary in ("Canary", "Maier", "p0042", desk.server.token, "frame_00000"):
        assert canary not in texts
    for line in path.read_text().splitlines():
        json.loads(line)


def test_without_its_journal_a_run_still_converges(desk):
    desk.run()
    before = desk.server.snapshot()
    shutil.rmtree(desk.cache)
    desk.server.forget()
    desk.run()
    assert desk.server.writes == 0
    assert desk.server.snapshot() == before


def test_functions_instead_of_models(desk, monkeypatch):
    from auto_annotator.bridge import functions_client
    from auto_annotator.config import load_settings
    from auto_annotator.cvat.shapes import reply
    from auto_annotator.imageio import decode
    from auto_annotator.pipeline import FaceDetection

    pipeline = FaceDetection.from_settings(load_settings(ensemble=str(desk.ensemble())))

    def detect(self, image, threshold=None):
        return reply(pipeline(decode(image, max_pixels=10**6), threshold=threshold))

    monkeypatch.setattr(functions_client.FunctionsClient, "detect", detect)
    desk.run("--functions", "http://127.0.0.1:1", "--in-flight", 3)
    assert len(desk.faces()) == 16
    desk.server.forget()
    desk.run()
    assert desk.server.writes == 0, "the function says the same as the ensemble here"


def test_ids_that_change_on_update(tmp_path, capsys, monkeypatch):
    with FakeCvat(seed=5, ids_change_on_update=True, keeps_score=False) as server:
        desk = Desk(server, tmp_path, capsys, monkeypatch)
        desk.run()
        desk.run(shift=2.0)
        assert len(desk.faces()) == len(desk.faces(label="face_landmarks")) == 16
        server.forget()
        desk.run(shift=2.0)
        assert server.writes == 0
