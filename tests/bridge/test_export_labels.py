"""`cvat export-labels`: finished work out of the fake CVAT, through the real SDK, read back by the readers of sets."""

from __future__ import annotations

import json
import stat
import threading

import numpy as np
import pytest
from fake_cvat import FakeCvat
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.bridge.label_export import VIDEO_BLOCK
from auto_annotator.bridge.truth import is_finished, owners
from auto_annotator.cli import main
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.evaluation.readers import read_labelled

BOX = (100.0, 100.0, 140.0, 150.0)
POINTS = [(112.0, 120.0), (128.0, 120.0), (120.0, 130.0), (114.0, 140.0), (126.0, 140.0)]
CANARY = "Canary Person/canary-file"


class Desk:
    """A task of six frames in two jobs; the first is finished."""

    def __init__(self, server, folder, capsys):
        self.server, self.folder, self.capsys = server, folder / "labels", capsys
        names = [f"{CANARY}-{n}.png" for n in range(6)]
        self.task = server.make_task(frames=6, job_size=3, names=names)
        self.first, self.second = (job.id for job in self.task.jobs)
        self.finish(self.first)

    def finish(self, job, *, stage="annotation", state="completed"):
        self.server.store.job(job).stage, self.server.store.job(job).state = stage, state

    def cli(self, *arguments, code=0):
        before = self.server.writes
        self.capsys.readouterr()
        try:
            got = main(["cvat", "export-labels", *map(str, arguments), "--server-host", self.server.url])
        except SystemExit as error:
            got = error.code
        out, err = self.capsys.readouterr()
        assert got == code, (out, err)
        assert self.server.writes == before, "an export writes nothing to CVAT"
        return out, err

    def export(self, *more, code=0, scope=None):
        return self.cli(*(scope or ("--task", self.task.id)), "--output", self.folder, *more, code=code)

    def rows(self):
        return json.loads((self.folder / "annotations.json").read_text())

    def frames(self):
        return [(row["task"], row["frame"]) for row in self.rows()]

    def downloads(self):
        return sum("/data" in r.path and "meta" not in r.path for r in self.server.requests)


@pytest.fixture
def desk(tmp_path, monkeypatch, capsys):
    with FakeCvat(seed=4) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AUTO_ANNOTATOR_CVAT_RETRY_SECONDS", "0.01")
        yield Desk(server, tmp_path, capsys)


def test_finished_faces_and_their_points_come_back_from_the_folder(desk):
    human = desk.server.human
    human.draw(desk.first, 1, BOX, group=1)
    human.draw_skeleton(desk.first, 1, [*POINTS[:4], None], group=1)
    human.draw(desk.first, 1, (10.0, 10.0, 30.5, 40.25), source="auto")
    human.draw(desk.second, 4, BOX)
    out, err = desk.export()
    assert out == f"{desk.folder}\n"
    assert "3 pictures (3 new), 2 faces of 1 jobs" in err
    assert "1 jobs were left out: nobody has finished them" in err
    assert "1 faces are as the detectors left them" in err
    assert "warning" not in err
    assert desk.frames() == [(desk.task.id, 0), (desk.task.id, 1), (desk.task.id, 2)]
    empty, faces, _ = read_labelled(desk.folder)
    assert len(empty.boxes) == 0
    assert faces.boxes.tolist() == [list(BOX), [10.0, 10.0, 30.5, 40.25]]
    assert faces.landmarks[0, :4].tolist() == [list(xy) for xy in POINTS[:4]]
    assert np.isnan(faces.landmarks[0, 4]).all()
    assert np.isnan(faces.landmarks[1]).all()
    assert faces.path.is_file()
    assert faces.event == "", "all frames of the task are in one folder"


def test_everything_is_for_its_owner_only_and_names_nobody(desk, caplog):
    caplog.set_level(0)
    out, err = desk.export()
    paths = [desk.folder, *desk.folder.rglob("*")]
    assert len(paths) == 7
    assert {stat.S_IMODE(p.stat().st_mode) for p in paths if p.is_dir()} == {0o700}
    assert {stat.S_IMODE(p.stat().st_mode) for p in paths if p.is_file()} == {0o600}
    said = "\n".join([out, err, *(r.getMessage() for r in caplog.records), *map(str, paths)])
    said += "".join(p.read_text() for p in paths if p.suffix == ".json")
    assert "anary" not in said


@pytest.mark.parametrize(
    ("stage", "state", "counts"),
    [
        ("annotation", "completed", True),
        ("acceptance", "new", True),
        ("acceptance", "rejected", False),
        ("validation", "in progress", False),
        ("annotation", "new", False),
    ],
)
def test_what_counts_as_finished(stage, state, counts):
    assert is_finished({"stage": stage, "state": state}) is counts


def test_nothing_finished_is_an_error_with_what_to_do(desk):
    desk.finish(desk.first, state="in progress")
    _, err = desk.export(code=2)
    assert "got 2 unfinished ones" in err
    assert "--all-jobs" in err
    assert not desk.folder.exists()


def test_all_jobs_warns(desk):
    desk.server.human.draw(desk.second, 4, BOX, source="auto")
    _, err = desk.export("--all-jobs")
    assert "warning: 1 jobs are not finished" in err
    assert len(desk.rows()) == 6


def test_deleted_frames_are_left_out(desk):
    desk.server.human.draw(desk.first, 1, BOX)
    desk.server.human.delete_frame(desk.task.id, 1)
    desk.export()
    assert desk.frames() == [(desk.task.id, 0), (desk.task.id, 2)]
    assert len(list((desk.folder / "images").iterdir())) == 2


def test_ground_truth_says_what_is_true_of_its_frames(desk):
    task = desk.server.make_task(frames=4, job_size=2, ground_truth=(1, 3), replicas=1)
    first, truth = task.jobs[0].id, task.jobs[-1].id
    for job in task.jobs[:-1]:
        desk.finish(job.id) if job.start == 0 else None
    desk.server.human.draw(first, 0, BOX)
    desk.server.human.draw(first, 1, BOX)
    desk.server.human.draw(truth, 1, (1.0, 2.0, 11.0, 22.0))
    desk.export(scope=("--task", task.id))
    assert [(row["frame"], row["job"]) for row in desk.rows()] == [(0, first), (1, first)], "nobody has finished the ground truth"
    desk.export("--all-jobs", scope=("--task", task.id))
    assert {row["frame"]: row["job"] for row in desk.rows()}[1] == first, "an empty ground truth must not say that nobody is there"
    desk.finish(truth, stage="acceptance")
    _, err = desk.export(scope=("--task", task.id))
    assert "1 of them ground truth" in err
    rows = {row["frame"]: row for row in desk.rows()}
    assert {frame: row["job"] for frame, row in rows.items()} == {0: first, 1: truth, 3: truth}
    assert rows[1]["boxes_xywh"] == [[1.0, 2.0, 10.0, 20.0]]
    assert rows[3]["boxes_xywh"] == []
    desk.export(scope=("--job", truth))
    assert [row["frame"] for row in desk.rows()] == [1, 3]
    replica = next(job for job in task.jobs if job.type == "consensus_replica")
    assert "consensus replica" in desk.export(scope=("--job", replica.id), code=2)[1]


def test_where_jobs_overlap_the_finished_one_is_right(desk):
    task = desk.server.make_task(frames=6, job_size=4, overlap=2)
    second = task.jobs[1].id
    for job in task.jobs:
        desk.server.human.draw(job.id, 3, BOX)
    desk.finish(second)
    desk.export("--all-jobs", scope=("--task", task.id))
    rows = {row["frame"]: row for row in desk.rows()}
    assert [rows[frame]["job"] == second for frame in (1, 2, 3, 5)] == [False, True, True, True]
    assert len(rows[3]["boxes_xywh"]) == 1


def test_ignored_faces_do_not_count(desk):
    labels = label_constructor()
    face = next(label for label in labels if label["name"] == "face")
    flag = {"name": "ignore", "mutable": True, "input_type": "checkbox", "default_value": "false", "values": ["false"]}
    face["attributes"] = [*face["attributes"], flag]
    task = desk.server.make_task(frames=4, labels=[*labels, {"name": "Ignore", "type": "rectangle", "attributes": []}])
    job = task.jobs[0].id
    desk.finish(job)
    human = desk.server.human
    human.draw(job, 0, BOX)
    human.draw(job, 0, (1.0, 1.0, 9.0, 9.0), ignore="true")
    human.draw(job, 0, (20.0, 1.0, 29.0, 9.0), label="Ignore")
    track = human.draw_track(job, {1: BOX, 3: BOX})
    human.set_attribute(track, "ignore", "true", kind="tracks", frame=3)
    _, err = desk.export(scope=("--task", task.id))
    assert "3 faces are marked to be ignored" in err
    pictures = read_labelled(desk.folder)
    assert [p.counts("hard").tolist() for p in pictures] == [[True, False, False], [True], [True], [False]]


def test_an_interrupted_run_goes_on_and_a_later_one_downloads_nothing(desk):
    desk.finish(desk.second)
    desk.server.fault("status", status=403, path="/data", skip=4, count=1)
    _, err = desk.export(code=2)
    assert "frames are done; the same command goes on" in err
    had = len(list((desk.folder / "images").glob("task*")))
    assert 0 < had < 6
    assert not (desk.folder / "annotations.json").exists(), "half a set must not be taken for a whole one"
    for thread in threading.enumerate():  # a frame that was under way when the run broke off is asked for all the same
        if thread.name.startswith("frames"):
            thread.join()
    before = desk.downloads()
    desk.export()
    assert desk.downloads() - before == 6 - had
    face = desk.server.human.draw(desk.first, 0, BOX)
    before = desk.downloads()
    desk.export()
    assert len(desk.rows()[0]["boxes_xywh"]) == 1, "faces are read anew"
    desk.server.human.delete(face)
    _, err = desk.export()
    assert desk.downloads() == before
    assert desk.rows()[0]["boxes_xywh"] == []


def test_pictures_that_no_longer_count_are_removed(desk):
    desk.export("--all-jobs")
    (desk.folder / "images" / "mine.txt").write_text("x")
    _, err = desk.export()
    assert "3 pictures of an earlier run no longer count and were removed" in err
    assert len(list((desk.folder / "images").glob("task*"))) == 3
    assert (desk.folder / "images" / "mine.txt").exists()


def test_a_folder_of_something_else_is_left_alone(desk):
    desk.folder.mkdir()
    (desk.folder / "diary.txt").write_text("x")
    assert "holds other files" in desk.export(code=2)[1]
    assert [p.name for p in desk.folder.iterdir()] == ["diary.txt"]
    (desk.folder / "diary.txt").unlink()
    about = {"kind": "auto-annotator labels", "version": 1, "server": "http://elsewhere.test"}
    (desk.folder / "export.json").write_text(json.dumps(about))
    assert "another server" in desk.export(code=2)[1]
    (desk.folder / "export.json").write_text("{}")
    assert "name a new folder" in desk.export(code=2)[1]


def test_a_task_without_finished_jobs_need_not_have_the_label(desk):
    other = desk.server.make_task(frames=1, labels=[{"name": "dog", "type": "rectangle", "attributes": []}])
    desk.export(scope=("--task", desk.task.id, "--task", other.id))
    assert len(desk.rows()) == 3
    desk.finish(other.jobs[0].id)
    assert "has no rectangle label 'face'" in desk.export(scope=("--task", desk.task.id, "--task", other.id), code=2)[1]


def test_a_frame_that_is_no_picture_is_left_out_and_counted(desk):
    task = desk.server.make_task(frames=[(64, 48), b"no picture"])
    desk.finish(task.jobs[0].id)
    _, err = desk.export(scope=("--task", task.id))
    assert "1 frames cannot be used" in err
    assert desk.frames() == [(task.id, 0)]


def test_a_project_of_folders_and_a_video(desk):
    project = desk.server.make_project()
    pictures = desk.server.make_task(frames=3, names=["a/1.png", "b/1.png", "a/2.png"], project=project)
    video = desk.server.make_task(frames=VIDEO_BLOCK + 1, names=["film.mp4"] * (VIDEO_BLOCK + 1), video=True, project=project)
    for task in (pictures, video):
        desk.finish(task.jobs[0].id)
    desk.server.human.draw_track(video.jobs[0].id, {0: BOX, 2: None})
    desk.export(scope=("--project", project.id))
    rows = desk.rows()
    events = [row["event"] for row in rows]
    assert events[0] == events[2] != events[1]
    assert events[3] == events[VIDEO_BLOCK + 2] != events[VIDEO_BLOCK + 3]
    assert [len(row["boxes_xywh"]) for row in rows[3:6]] == [1, 1, 0]
    about = json.loads((desk.folder / "export.json").read_text())
    assert (about["tasks"], about["pictures"]) == ([pictures.id, video.id], VIDEO_BLOCK + 4)


def test_what_cannot_be_exported_is_refused(desk):
    assert "name one with --label" in desk.export("--label", "dog", code=2)[1]
    assert "what is meant?" in desk.cli("--output", desk.folder, code=2)[1]
    assert "--output" in desk.cli("--task", desk.task.id, code=2)[1]
    assert "task 99" in desk.export(scope=("--task", 99), code=2)[1]
    assert not desk.folder.exists()


@given(
    st.dictionaries(st.integers(1, 5), st.lists(st.integers(0, 9), unique=True), max_size=5),
    st.randoms(),
    st.frozensets(st.integers(0, 9)),
)
def test_every_frame_goes_to_the_first_job_that_holds_it(frames, random, deleted):
    order = random.sample(sorted(frames), len(frames))
    found = owners(frames, order, deleted)
    assert list(found) == sorted({frame for held in frames.values() for frame in held} - deleted)
    for frame, job in found.items():
        assert job == next(one for one in order if frame in frames[one])
