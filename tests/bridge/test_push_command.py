"""`cvat push` and `cvat undo` as commands, through cvat-sdk, against the fake CVAT: faults, kills, edits, what is printed."""

from __future__ import annotations

import io
import random
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import cvat_sdk
import pytest
from fake_cvat import FakeCvat
from fake_cvat.stored import read_job

sys.path.insert(0, str(Path(__file__).parent))

from push_scene import canonical

from auto_annotator.bridge.backup import read_backup
from auto_annotator.bridge.faces import pulled_faces
from auto_annotator.bridge.plan import Change, Plan, PlannedFace, read_plan, write_plan
from auto_annotator.bridge.server import Server
from auto_annotator.cli import main
from auto_annotator.commands.progress import progress_bar
from auto_annotator.cvat.labels import label_constructor

CONSOLE_SCRIPT = "from auto_annotator.cli import main; raise SystemExit(main())"
KILLS = 20
CAR = {"name": "car", "type": "rectangle", "attributes": []}
NAME = "Canary Maier"


class Desk:
    """A fake server with faces of every kind, a plan for them, and the commands."""

    def __init__(self, server, folder, capsys):
        self.server, self.folder, self.capsys = server, folder, capsys
        self.plan_path = folder / "plan.json"
        labels = [*label_constructor(), {**CAR, "color": "#fff"}]
        self.task = server.make_task(frames=20, job_size=10, labels=labels)
        self.jobs = [job.id for job in self.task.jobs]
        self.face = next(label for label in self.task.labels.values() if label.name == "face")
        draw, (first, second) = server.human.draw, self.jobs
        self.shapes = []
        for number in range(12):
            box = (10.0 + 40 * (number % 3), 20.25, 40.5 + 40 * (number % 3), 60.125)
            source = ("auto", "semi-auto", "manual", "file")[number % 4]
            job = first if number < 6 else second
            self.shapes.append(
                draw(job, 10 * (number // 6) + number % 5, box, source=source, score=81 + number, votes="2/2 a=1", group=number + 1)
            )
        self.tracks = [
            server.human.draw_track(second, {12: (200, 20, 240, 60), 15: (210, 20, 250, 60), 17: None}, quality=40),
            server.human.draw_track(first, {3: (300, 20, 340, 60)}, person="p0005"),
        ]
        draw(first, 0, (300.0, 300.0, 400.0, 400.0), label="car")
        server.human.draw_skeleton(first, 0, [(15.0, 30.0), (25.0, 30.0), (20.0, 40.0), None, (25.0, 50.0)], group=1, source="auto")
        server.human.tag(second, 19, reason="not_an_image")
        server.human.delete_frame(self.task.id, 9)
        draw(first, 9, (1.0, 1.0, 30.0, 30.0), person="x")

    def plan(self, **changes):
        """Pull the faces through the SDK and plan a person for each."""
        with cvat_sdk.make_client(self.server.url, access_token=self.server.token) as client:
            remote = Server(client)
            (info,) = remote.tasks(tasks=[self.task.id])
            label = next(one for one in info.labels if one.name == "face")
            found = [f for job in info.jobs for f in pulled_faces(info, job, remote.annotations(job.id), label)]
        planned = []
        for number, one in enumerate(found):
            before = {name: one.attributes[name] for name in ("person", "name", "face_key")}
            person = f"p{1 + number % 4:04d}"
            after = {"person": person, "name": NAME if number % 4 == 0 else "", "face_key": f"{one.ref.key}.{person}"}
            planned.append(PlannedFace(ref=one.ref, before=before, after=after))
        plan = Plan(
            server=self.server.url,
            tasks=(self.task.id,),
            created="2026-11-27T10:00:00+00:00",
            model_set="fakes",
            model_hash="0",
            threshold=0.4,
            faces=tuple(planned),
        )
        write_plan(self.plan_path, replace(plan, **changes))
        return read_plan(self.plan_path)

    def cli(self, *arguments, code=0):
        """Run a subcommand of `cvat`; returns standard output, standard error and how many requests wrote."""
        before = self.server.writes
        self.capsys.readouterr()
        got = main(["cvat", *map(str, arguments), "--server-host", self.server.url])
        out, err = self.capsys.readouterr()
        assert got == code, (got, out, err)
        return out, err, self.server.writes - before

    def push(self, *more, code=0):
        return self.cli("push", self.plan_path, *more, code=code)

    def undo(self, *more, code=0):
        return self.cli("undo", self.backups()[-1], *more, code=code)

    def backups(self):
        return sorted(self.folder.glob("plan.backup-*.json"))

    def content(self):
        """What the server sends, without ids where those change."""
        return self.read(ids=not self.server.store.ids_change_on_update)

    def read(self, *, ids=False):
        """What the server sends of all jobs, in an order of its own."""
        return canonical({number: read_job(self.server.store, job) for number, job in self.server.store.jobs.items()}, ids=ids)

    def values(self, number, kind="shapes"):
        return self.server.human.see(number, kind=kind)["attributes"]


@pytest.fixture(params=[False, True], ids=["ids stay", "ids change"])
def desk(request, tmp_path, monkeypatch, capsys):
    """A desk on a server that keeps ids, and on one that does not."""
    with FakeCvat(seed=2, ids_change_on_update=request.param) as server:
        _use(server, monkeypatch)
        yield Desk(server, tmp_path, capsys)


@pytest.fixture
def calm(tmp_path, monkeypatch, capsys):
    """A desk on a server of today."""
    with FakeCvat(seed=2) as server:
        _use(server, monkeypatch)
        yield Desk(server, tmp_path, capsys)


def _use(server, monkeypatch):
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)


def expected_of(desk, plan):
    """What the server must send after the push, without ids: only the values of the plan are others."""
    jobs = {number: read_job(desk.server.store, job) for number, job in desk.server.store.jobs.items()}
    specs = {a.name: a.id for label in desk.task.labels.values() if label.name == "face" for a in label.attributes.values()}
    for face in plan.faces:
        (item,) = (i for i in jobs[face.ref.job][f"{face.ref.kind}s"] if i["id"] == face.ref.id)
        for value in item["attributes"]:
            value["value"] = next((v for name, v in face.after.items() if specs[name] == value["spec_id"]), value["value"])
    return canonical(jobs, ids=False)


def test_push_writes_what_was_planned_and_nothing_else_then_undo_brings_it_back(desk):
    before = desk.content()
    plan = desk.plan()
    expected = expected_of(desk, plan)
    out, err, writes = desk.push("--chunk", "4")
    assert writes == 2 + 2
    assert desk.read() == expected
    assert out.strip() == str(desk.backups()[0])
    assert "14 faces written, 0 were written before, 0 left alone" in err
    assert stat.S_IMODE(desk.backups()[0].stat().st_mode) == 0o600

    assert desk.push()[2] == 0
    assert len(desk.backups()) == 1
    out, err, writes = desk.undo("--chunk", "4")
    assert "14 faces restored" in err
    assert desk.content() == before
    assert desk.undo()[2] == 0


def test_a_dry_run_writes_nothing_and_says_what_would_change(desk):
    changes = (Change(kind="created", person="p0001"), Change(kind="merged", person="p0001", others=("p0005",), reason="alike"))
    desk.plan(changes=changes)
    before = desk.content()
    out, _, writes = desk.push("--dry-run")
    assert writes == 0
    assert desk.content() == before
    assert not desk.backups()
    assert "     14  faces to write" in out
    assert "p0005 merged into p0001 (alike)" in out
    assert "      1  created" in out
    assert re.search(r"track \d+ +p0005 -> p0002|track \d+ +p0005 -> p000\d", out)
    desk.push()
    out, _, writes = desk.undo("--dry-run")
    assert writes == 0
    assert "     14  faces to write" in out
    assert desk.push()[2] == 0


def test_no_name_reaches_the_terminal(calm):
    calm.plan()
    assert NAME in calm.plan_path.read_text()
    for step in (calm.push, calm.undo):
        for more in (("--dry-run", "--all"), ("--all",)):
            out, err, _ = step(*more)
            assert NAME not in out + err
            assert calm.server.token not in out + err


def test_edits_since_the_pull_are_left_alone_and_listed_with_links(desk):
    plan = desk.plan()
    human = desk.server.human
    ids = desk.shapes
    edited = human.set_attribute(ids[0], "person", "Somebody")
    human.set_attribute(ids[1], "name", "Bob")
    human.move(ids[2], (50.0, 21.0, 90.0, 60.0))
    human.delete(ids[3])
    human.relabel(ids[4], "car")
    human.delete_frame(desk.task.id, 4 + 10)
    moved = human.move(desk.tracks[0], (201.0, 20, 240, 60), kind="tracks", frame=12)
    hidden = [f.ref.id for f in plan.faces if f.ref.frame == 14 and f.ref.kind == "shape"]
    before = desk.content()
    out, err, _ = desk.push(code=1)
    left = 6 + len(hidden)
    assert f"{14 - left} faces written, 0 were written before, {left} left alone" in err
    assert f"left alone: {left} faces" in out
    lines = [line for line in out.splitlines() if "serverID=" in line]
    assert len(lines) == left
    assert any("edited by a person" in line and f"serverID={edited}&type=shape" in line for line in lines)
    assert any("no longer there" in line and f"serverID={ids[3]}" in line for line in lines)
    gone = desk.server.store.ids_change_on_update  # with another id and another box nothing tells it from a new face
    number = desk.tracks[0] if gone else moved
    assert any(("no longer" if gone else "moved") in line and f"serverID={number}&type=track" in line for line in lines)
    assert desk.push(code=1)[2] == 0
    assert desk.undo()[2] > 0
    assert desk.content() == before, "what people did stays, what we did is gone"


def test_edits_after_the_push_survive_the_undo(calm):
    calm.plan()
    calm.push()
    calm.server.human.set_attribute(calm.shapes[0], "person", "Somebody")
    before = calm.values(calm.shapes[0])
    _, err, _ = calm.undo(code=1)
    assert "13 faces restored, 0 held the old values already, 1 left alone" in err
    assert calm.values(calm.shapes[0]) == before


def test_an_edit_in_the_middle_of_a_push_is_seen_at_the_next_read(calm):
    calm.plan()
    target = calm.shapes[-1]
    job = calm.jobs[1]
    calm.server.before(
        lambda request: calm.server.human.set_attribute(target, "person", "Somebody"), method="PATCH", path=f"/{calm.jobs[0]}/"
    )
    out, _, _ = calm.push(code=1)
    assert f"serverID={target}" in out
    assert str(job) in out
    assert calm.values(target)["person"] == "Somebody"


FAULTS = [
    ("status", {"status": 502}),
    ("status", {"status": 503, "retry_after": 0}),
    ("status", {"status": 504}),
    ("status", {"status": 429, "retry_after": 0}),
    ("status_after_commit", {"status": 504}),
    ("reset", {}),
    ("reset_in_body", {}),
    ("reset_after_commit", {}),
    ("truncated", {}),
]


@pytest.mark.parametrize(("kind", "options"), FAULTS, ids=[f"{k} {o.get('status', '')}".strip() for k, o in FAULTS])
def test_a_bad_network_changes_nothing_about_the_result(desk, kind, options):
    before = desk.content()
    expected = expected_of(desk, desk.plan())
    desk.server.fault(kind, method="PATCH", count=3, **options)
    desk.server.fault(kind, method="PATCH", skip=1, count=2, **options)
    desk.server.fault("status", status=503, method="GET", path="annotations", count=2, retry_after=0)
    desk.push("--chunk", "3")
    assert desk.read() == expected
    desk.server.fault(kind, method="PATCH", count=3, **options)
    desk.undo("--chunk", "3")
    assert desk.content() == before


def test_a_server_that_stays_away_ends_with_how_to_go_on(calm):
    expected = expected_of(calm, calm.plan())
    calm.server.fault("status", status=503, method="PATCH", skip=1, count=100, retry_after=0)
    _, err, _ = calm.push("--chunk", "4", code=2)
    assert re.search(
        r"at least \d+ of 14 faces are written; the same command goes on, auto-annotator cvat undo \S+ takes them", err
    )
    assert str(calm.backups()[0]) in err
    calm.server.faults.clear()
    calm.push()
    assert calm.read() == expected
    assert len(calm.backups()) == 1
    assert read_backup(calm.backups()[0]).complete


def test_another_server_and_other_files_are_refused(calm, tmp_path):
    calm.plan(server="http://elsewhere")
    assert "was made for http://elsewhere" in calm.push(code=2)[1]
    (tmp_path / "no.json").write_text("{}")
    assert "expected" in calm.cli("push", tmp_path / "no.json", code=2)[1]
    assert "cannot be read" in calm.cli("undo", tmp_path / "nothing.json", code=2)[1]
    calm.plan()
    assert "expected 'auto-annotator backup'" in calm.cli("undo", calm.plan_path, code=2)[1]
    assert calm.server.writes == 0


def _spawn(desk, *arguments):
    command = [sys.executable, "-c", CONSOLE_SCRIPT, "cvat", *map(str, arguments), "--server-host", desk.server.url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=desk.server.environment())


def test_killed_at_any_moment_and_started_again_ends_like_an_uninterrupted_push(desk):
    """Half of the kills with ids that stay and half with ids that change; each at a random request, some with it half done."""
    before = desk.content()
    expected = expected_of(desk, desk.plan())
    draw = random.Random(5 + desk.server.store.ids_change_on_update)
    died = 0
    for _ in range(KILLS // 2):
        process: list[subprocess.Popen[bytes]] = []
        ready = threading.Event()

        def kill(request, process=process, ready=ready):
            ready.wait(10)
            process[0].send_signal(signal.SIGKILL)
            process[0].wait()

        moment = {"method": draw.choice(["PATCH", "PATCH", "PATCH", "GET"]), "path": "annotations", "skip": draw.randrange(5)}
        desk.server.before(kill, **moment)
        if draw.random() < 0.5:
            desk.server.fault(draw.choice(["reset_in_body", "reset_after_commit"]), **moment)
        process.append(_spawn(desk, "push", desk.plan_path, "--chunk", "3"))
        ready.set()
        _, err = process[0].communicate(timeout=60)
        died += process[0].returncode == -signal.SIGKILL
        assert process[0].returncode in (0, -signal.SIGKILL), err
        desk.server.faults.clear()
        old = {path: read_backup(path).faces for path in desk.backups()}

        desk.push("--chunk", "3")
        assert desk.read() == expected
        assert all(read_backup(path).faces == faces for path, faces in old.items()), "a backup is never overwritten"
        assert len(desk.backups()) == 1
        desk.undo()
        assert desk.content() == before
        if desk.server.store.ids_change_on_update:
            desk.plan()
        desk.backups()[0].unlink()
    assert died >= KILLS // 2 - 2


def test_ctrl_c_says_how_far_it_came_and_how_to_go_on(calm):
    expected = expected_of(calm, calm.plan())
    process: list[subprocess.Popen[bytes]] = []
    ready = threading.Event()

    def interrupt(request):
        ready.wait(10)
        process[0].send_signal(signal.SIGINT)

    calm.server.before(interrupt, method="PATCH", skip=1)
    calm.server.fault("slow_reply", seconds=0.3, method="PATCH", skip=1)
    process.append(_spawn(calm, "push", calm.plan_path, "--chunk", "4"))
    ready.set()
    _, err = process[0].communicate(timeout=60)
    text = err.decode()
    assert process[0].returncode == 130, text
    assert "interrupted: at least" in text
    assert "the same command goes on, auto-annotator cvat undo" in text
    assert "Traceback" not in text
    calm.push()
    assert calm.read() == expected
    assert len(calm.backups()) == 1


def test_the_backup_goes_where_it_is_told(calm, tmp_path):
    calm.plan()
    before = calm.content()
    target = tmp_path / "elsewhere" / "kept.json"
    target.parent.mkdir()
    calm.push("--backup", target)
    assert not calm.backups()
    assert Path(calm.cli("undo", target)[0] or target).exists()
    assert calm.content() == before


def test_the_clock_of_the_bar_goes_on_during_one_long_request():
    terminal = io.StringIO()
    with progress_bar(10, "face", "written", every=0.005, disable=False, file=terminal) as bar:
        bar.update(3)
        drawn = terminal.getvalue().count("written")
        deadline = time.monotonic() + 10
        while terminal.getvalue().count("written") < drawn + 3 and time.monotonic() < deadline:
            time.sleep(0.005)
    assert terminal.getvalue().count("3/10") >= 3
