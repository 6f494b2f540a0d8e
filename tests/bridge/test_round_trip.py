"""Faces -> cluster -> push -> human edits -> cluster again, by the command line, against the fake CVAT through the real SDK."""

from __future__ import annotations

import json
import stat
from collections import defaultdict

import numpy as np
import pytest
from fake_cvat import FakeCvat, normalised, write_ensemble
from fake_cvat.ensemble import direction

from auto_annotator.bridge.marks import parse_mark
from auto_annotator.cli import main


class Bench:
    """A fake server with an album, and the commands on it."""

    def __init__(self, server, folder, capsys):
        self.server, self.folder, self.capsys = server, folder, capsys
        self.album = server.album(people=4, frames=12, seed=3)
        self.task = self.album.task.id
        self.ensemble = write_ensemble(folder)
        self.plan = folder / "plan.json"
        self.who = {face.id: face.person for face in self.album.faces}

    def cli(self, *arguments, code=0):
        """Run; returns standard output, standard error and the number of write requests."""
        before = self.server.writes
        self.capsys.readouterr()
        try:
            got = main(["cvat", *map(str, arguments), "--server-host", self.server.url])
        except SystemExit as error:
            got = error.code
        out, err = self.capsys.readouterr()
        assert got == code, err
        return out, err, self.server.writes - before

    def cluster(self, *more, code=0):
        out = self.cli("cluster", "--task", self.task, "--ensemble", self.ensemble, "--output", self.plan, *more, code=code)
        return json.loads(self.plan.read_text()) if code == 0 else out

    def push(self, **options):
        return self.cli("push", self.plan, **options)

    def cycle(self):
        plan = self.cluster()
        self.push()
        return plan

    def attributes(self):
        """Attribute values of all rectangles, by id and name, as the server would send them."""
        found = {}
        names = {}
        for label in self.album.task.labels.values():
            names.update({a.id: (a.name, a.default_value) for a in label.attributes.values()})
        label = next(one for one in self.album.task.labels.values() if one.name == "face")
        for job in self.album.task.jobs:
            for number, shape in job.shapes.items():
                if shape["label_id"] == label.id:
                    values = {a.name: a.default_value for a in label.attributes.values()}
                    found[number] = values | {names[spec][0]: value for spec, value in shape["attributes"]}
        return found

    def people(self):
        groups = defaultdict(set)
        for number, values in self.attributes().items():
            groups[values["person"]].add(self.who[number])
        return dict(groups)

    def faces_of(self, who):
        return [number for number, person in self.who.items() if person == who and number in self.attributes()]


@pytest.fixture
def bench(tmp_path, monkeypatch, capsys):
    """A fake server with four people in twelve frames; the environment knows its token."""
    with FakeCvat(seed=1) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AUTO_ANNOTATOR_CVAT_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("AUTO_ANNOTATOR_CVAT_RETRY_SECONDS", "0.01")
        yield Bench(server, tmp_path, capsys)


def test_every_person_gets_one_id_and_nothing_else_changes(bench):
    before = bench.server.snapshot()
    bench.cycle()
    assert sorted(bench.people().values(), key=min) == [{0}, {1}, {2}, {3}]
    bench.cli("undo", next(bench.folder.glob("plan.backup*.json")))
    assert normalised(bench.server.snapshot()) == normalised(before)


def test_a_second_run_downloads_no_frame_and_writes_nothing(bench):
    bench.cycle()
    frames = sum("/data" in r.path and "meta" not in r.path for r in bench.server.requests)
    plan = bench.cluster()
    assert sum("/data" in r.path and "meta" not in r.path for r in bench.server.requests) == frames
    assert all(face["before"] == face["after"] for face in plan["faces"])
    assert bench.push()[2] == 0


def test_clustering_writes_nothing(bench):
    bench.cluster()
    assert bench.server.writes == 0


def test_human_words_through_the_server(bench):
    bench.cycle()
    human = bench.server.human
    a, b = bench.faces_of(0), bench.faces_of(1)
    id_b = bench.attributes()[b[0]]["person"]
    human.set_attribute(a[0], "person", id_b)
    human.set_attribute(a[1], "person", "none")
    human.set_attribute(b[1], "name", "Ada")
    human.move(b[2], tuple(v + 3 for v in next(f.box for f in bench.album.faces if f.id == b[2])))
    gone = bench.faces_of(2)[0]
    human.delete(gone)
    bench.cycle()
    values = bench.attributes()
    assert values[a[0]]["person"] == id_b and values[a[1]]["person"] == "none"
    assert gone not in values
    assert {values[n]["name"] for n in b} == {"Ada"} == {values[a[0]]["name"]}
    assert values[a[1]]["name"] == ""
    assert values[b[2]]["person"] == id_b
    (bench.folder / "plan.identities.json").unlink()
    assert bench.cluster() and bench.push()[2] == 0, "the state can be read back from CVAT alone"


def test_new_faces_keep_old_ids(bench):
    bench.cycle()
    before = {n: v["person"] for n, v in bench.attributes().items()}
    drawn = {}
    for face in bench.album.faces[:4]:
        number = bench.server.human.draw(bench.album.task.jobs[0].id, face.frame, [v + 1 for v in face.box])
        drawn[number], bench.who[number] = face.person, face.person
    bench.cycle()
    values = bench.attributes()
    assert all(values[n]["person"] == person for n, person in before.items())


def test_the_same_person_has_one_id_over_the_tasks_of_a_project(bench):
    project = bench.server.make_project()
    first = bench.server.album(people=3, frames=8, seed=5, project=project)
    second = bench.server.album(people=3, frames=8, seed=6, project=project, job_size=3)
    bench.cli("cluster", "--project", project.id, "--ensemble", bench.ensemble, "--output", bench.plan)
    plan = json.loads(bench.plan.read_text())
    who = {face.id: face.person for album in (first, second) for face in album.faces}
    groups = defaultdict(set)
    for face in plan["faces"]:
        groups[face["after"]["person"]].add(who[face["ref"]["id"]])
    assert plan["tasks"] == [first.task.id, second.task.id]
    assert sorted(groups.values(), key=min) == [{0}, {1}, {2}]
    before = bench.server.snapshot()
    bench.push()
    assert bench.server.snapshot() != before and bench.push()[2] == 0


def test_a_track_is_one_person_and_only_its_own_attributes_change(bench):
    faces = [face for face in bench.album.faces if face.person == 2][:2]
    job = bench.album.task.jobs[0].id
    ends = {face.frame: face.box for face in faces} | {faces[-1].frame + 1: None}
    track = bench.server.human.draw_track(job, ends)
    for face in faces:
        bench.server.human.delete(face.id)
    bench.cycle()
    planned = next(f for f in json.loads(bench.plan.read_text())["faces"] if f["ref"]["kind"] == "track")
    assert planned["ref"]["id"] == track
    other = bench.attributes()[next(n for n in bench.faces_of(2))]["person"]
    assert planned["after"]["person"] == other
    assert bench.cluster() and bench.push()[2] == 0


def test_files_are_for_their_owner_only(bench):
    bench.cycle()
    files = [*bench.folder.glob("plan*"), *(bench.folder / "cache").iterdir()]
    assert len(files) == 4
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((bench.folder / "cache").stat().st_mode) == 0o700


def test_purge_deletes_and_says_so(bench, capsys):
    bench.cycle()
    person = bench.attributes()[bench.faces_of(0)[0]]["person"]
    assert main(["cvat", "purge", "--person", person]) == 0
    assert capsys.readouterr().out.startswith(f"{len(bench.faces_of(0))} descriptors deleted")
    assert main(["cvat", "purge", "--person", person]) == 1
    assert main(["cvat", "purge", "--all"]) == 0
    assert not list((bench.folder / "cache").iterdir())


@pytest.mark.parametrize("kind", ["status", "reset_after_commit"])
def test_faults_on_the_way_change_nothing_in_the_result(bench, kind):
    options = {"status": 503} if kind == "status" else {}
    bench.server.fault(kind, method="PATCH", count=2, **options)
    bench.cycle()
    assert sorted(bench.people().values(), key=min) == [{0}, {1}, {2}, {3}]
    assert bench.cluster() and bench.push()[2] == 0


def test_a_label_that_lacks_attributes_is_an_error_with_the_fix(bench):
    _, err, writes = bench.cluster("--label", "nobody", code=2)
    assert "setup" in err and writes == 0


def test_a_plan_of_another_server_is_refused(bench):
    bench.cluster()
    text = bench.plan.read_text().replace(bench.server.url, "http://elsewhere.test")
    bench.plan.write_text(text)
    _, err, writes = bench.push(code=2)
    assert "elsewhere" in err and writes == 0


def test_marks_in_cvat_hold_no_name(bench):
    bench.cycle()
    bench.server.human.set_attribute(bench.faces_of(0)[0], "name", "Canary Person")
    bench.cycle()
    marks = [parse_mark(values["face_key"]) for values in bench.attributes().values()]
    assert all(marks) and not any("anary" in str(mark) for mark in marks)


def test_no_token_name_picture_or_vector_leaks(bench, caplog):
    """Canaries in the token, in file names, in names of people; vectors and pictures as bytes and as numbers."""
    caplog.set_level(0)
    bench.server.tokens.add("canary-token-5150")
    bench.server.human.set_attribute(bench.faces_of(0)[0], "name", "Canary Person")
    bench.album.task.frames.names = [f"canary-file-{n}.png" for n in range(12)]
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CVAT_ACCESS_TOKEN", "canary-token-5150")
        said += bench.cli("cluster", "--task", bench.task, "--ensemble", bench.ensemble, "--output", bench.plan)[:2]
        said += bench.cli("push", bench.plan, "--dry-run", "--all")[:2]
        said += bench.cli("push", bench.plan)[:2]
        said += bench.cli("cluster", "--task", "99", code=2)[:2]
        patch.setenv("CVAT_ACCESS_TOKEN", "canary-token-of-nobody")
        said += bench.cli("cluster", "--task", bench.task, code=2)[:2]
    text = "\n".join([*said, *(record.getMessage() for record in caplog.records)])
    assert "canary-token" not in text and "Bearer" not in text
    assert "canary-file" not in text
    assert "Canary Person" not in "\n".join(record.getMessage() for record in caplog.records)
    files = {file.name: file.read_bytes() for file in bench.folder.glob("plan*")}
    assert not [name for name, content in files.items() if b"canary-token" in content or b"canary-file" in content]
    vector = np.asarray(direction(0), np.float16)
    assert not [
        name for name, content in files.items() if vector.tobytes() in content or repr(float(vector[0])).encode() in content
    ]
