"""`cvat sheet` and `cvat review` as commands, through cvat-sdk, against the fake CVAT; issues are opened once, whatever happens."""

from __future__ import annotations

import csv
import json
import re
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fake_cvat import FakeCvat

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

from page_reader import Page

from auto_annotator.bridge.faces import face_label, pulled_faces
from auto_annotator.bridge.issues import Known, known_issues, message, missing
from auto_annotator.bridge.plan import Plan, PlannedFace, PlannedPerson, read_plan, write_plan
from auto_annotator.bridge.review_queue import Entry, sentence
from auto_annotator.bridge.server import Server, ServerError
from auto_annotator.cli import main

NAME = "Canary Maier"
FLAGS = {"review": "true", "score": "40"}


class Desk:
    """Twelve frames in two jobs with faces, some of them flagged, a plan for them, and the commands."""

    def __init__(self, server, folder, capsys):
        self.server, self.folder, self.capsys = server, folder, capsys
        self.task = server.make_task(frames=[(320, 240)] * 12, job_size=6, names=[f"canary-{i}.png" for i in range(12)])
        self.jobs = [job.id for job in self.task.jobs]
        draw = server.human.draw
        self.faces = []
        for number in range(10):
            flags = {**FLAGS, "reasons": "low_score,tiny"} if number in (1, 2, 8) else {"score": "90"}
            frame = 1 if number in (1, 2) else number
            box = (20.0 + 60 * (number % 3), 30.0, 60.0 + 60 * (number % 3), 80.0)
            self.faces.append(draw(self.jobs[frame // 6], frame, box, source="auto", **flags))
        self.track = server.human.draw_track(self.jobs[1], {9: (200, 20, 240, 60), 11: (210, 20, 250, 60)})
        self.plan_path = folder / "plan.json"

    def plan(self):
        """A plan that gives everybody to one person, and doubts face 0."""
        server = Server(self.client())
        [task] = server.tasks(tasks=[self.task.id])
        faces = [f for job in task.jobs for f in pulled_faces(task, job, server.annotations(job.id), face_label(task))]
        planned = []
        for face in faces:
            before = {name: face.attributes[name] for name in ("person", "name", "face_key")}
            after = {"person": "p0001", "name": NAME, "face_key": face.ref.key}
            doubt = ("doubtful_person",) if (face.ref.kind, face.ref.id) == ("shape", self.faces[0]) else ()
            codes = tuple(filter(None, face.attributes["reasons"].split(",")))
            planned.append(PlannedFace(ref=face.ref, before=before, after=after, reasons=doubt, detector_reasons=codes, score=40))
        people = (PlannedPerson(id="p0001", name=NAME, faces=len(planned)),)
        plan = Plan(
            server=self.server.url, tasks=(task.id,), created="2026-01-02T03:04:05+00:00", model_set="fakes", model_hash="x",
            threshold=0.4, faces=tuple(planned), people=people,
        )  # fmt: skip
        write_plan(self.plan_path, plan)
        self.server.forget()
        return self.plan_path

    def client(self):
        import cvat_sdk

        return cvat_sdk.make_client(self.server.url, access_token=self.server.token)

    def cli(self, *arguments, code=0, host=True):
        """Run; standard output and standard error."""
        self.capsys.readouterr()
        try:
            got = main(["cvat", *map(str, arguments), *(["--server-host", self.server.url] if host else [])])
        except SystemExit as error:
            got = error.code
        out, err = self.capsys.readouterr()
        assert got == code, err
        for canary in (NAME, self.server.token, "canary-"):
            assert canary not in out + err
        return out, err

    def issues(self):
        """(frame, message) of all issues."""
        store = self.server.store
        texts = {comment.issue: comment.message for comment in store.comments.values()}
        return sorted((issue.frame, texts[issue.id]) for issue in store.issues.values())

    def frames_asked(self):
        return sum("/data" in r.path and "meta" not in r.path for r in self.server.requests)


def rows_of(name):
    with Path(name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def desk(tmp_path, monkeypatch, capsys):
    """A fake server, its token in the environment, an empty working folder."""
    with FakeCvat(seed=2) as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AUTO_ANNOTATOR_CVAT_RETRY_SECONDS", "0.001")
        monkeypatch.chdir(tmp_path)
        yield Desk(server, tmp_path, capsys)


def test_the_sheet_with_pictures(desk):
    plan = desk.plan()
    out, err = desk.cli("sheet", plan)
    path = desk.folder / "plan.html"
    assert out == f"{path}\n" and stat.S_IMODE(path.stat().st_mode) == 0o600
    page = Page(path)
    assert NAME in page.text and len(page.images) == 11
    assert desk.server.writes == 0 and desk.frames_asked() == 9  # of 12; each once
    assert "1 people, 0 seen once, 4 faces to check" in err


def test_the_sheet_without_pictures_needs_no_server(desk):
    plan = desk.plan()
    out, _ = desk.cli("sheet", plan, "--no-pictures", "--output", desk.folder / "x.html", host=False)
    assert out.strip().endswith("x.html") and not desk.server.requests
    links = [link for link in Page(desk.folder / "x.html").links if "serverID" in link]
    assert len(set(links)) == 11
    assert f"{desk.server.url}/tasks/{desk.task.id}/jobs/{desk.jobs[0]}?frame=0&serverID={desk.faces[0]}&type=shape" in links
    assert f"{desk.server.url}/tasks/{desk.task.id}/jobs/{desk.jobs[1]}?frame=9&serverID={desk.track}&type=track" in links


def test_a_deleted_frame_and_a_frame_that_is_broken_leave_faces_without_picture(desk):
    plan = desk.plan()
    desk.server.human.delete_frame(desk.task.id, 4)
    desk.server.fault("status", status=500, method="GET", path=r"/data/?$", skip=1)
    _, err = desk.cli("sheet", plan)
    assert re.search(r"note: [23] faces without a picture", err)
    assert len(Page(desk.folder / "plan.html").images) in (8, 9)


def test_the_sheet_of_another_server_or_of_no_plan_is_refused(desk):
    plan = desk.plan()
    write_plan(plan, replace(read_plan(plan), server="http://other.example.com"))
    _, err = desk.cli("sheet", plan, code=2)
    assert "was made for http://other.example.com" in err and not (desk.folder / "plan.html").exists()
    _, err = desk.cli("sheet", desk.folder / "none.json", code=2)
    assert "cvat cluster" in err
    _, err = desk.cli("sheet", plan, "--output", desk.folder / "no" / "x.html", code=2)
    assert "its folder does not exist" in err


def test_the_queue_of_a_task_as_page_and_csv(desk):
    out, err = desk.cli("review", "--task", desk.task.id, "--csv", "queue.csv", "--output", "queue.html")
    assert out == "queue.html\nqueue.csv\n" and "3 faces to look at" in err
    assert {stat.S_IMODE(Path(name).stat().st_mode) for name in ("queue.html", "queue.csv")} == {0o600}
    rows = rows_of("queue.csv")
    assert [row["reasons"] for row in rows] == ["low_score tiny"] * 3 and [row["frame"] for row in rows] == ["1", "1", "8"]
    page = Page(Path("queue.html"))
    assert len(page.images) == 3 and [row["link"] for row in rows] == [link for link in page.links if "serverID" in link]
    assert desk.frames_asked() == 2 and desk.server.writes == 0


def test_the_queue_of_a_job_and_a_limit(desk):
    desk.cli("review", "--job", desk.jobs[1], "--no-pictures")
    assert "1 face in 1 job" in Page(Path("review.html")).text
    _, err = desk.cli("review", "--task", desk.task.id, "--limit", 1, "--no-pictures")
    assert "3 faces to look at, the first 1 taken" in err
    assert "and 2 more beyond the limit" in Page(Path("review.html")).text and not desk.frames_asked()


def test_the_queue_of_a_plan_works_offline(desk):
    plan = desk.plan()
    out, err = desk.cli("review", "--plan", plan, "--no-pictures", host=False)
    assert out == f"{desk.folder / 'plan.review.html'}\n" and "4 faces to look at" in err and not desk.server.requests
    out, _ = desk.cli("review", "--plan", plan, "--csv", "q.csv", host=False)
    assert out == "q.csv\n" and not desk.server.requests
    assert rows_of("q.csv")[0]["reasons"] == "doubtful_person"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "give either"),
        (("--task", "1", "--plan", "p.json"), "give either"),
        (("--task", "1", "--dry-run"), "--issues"),
        (("--task", "99"), "task 99"),
        (("--task", "1", "--label", "car"), "no rectangle label 'car'"),
        (("--task", "1", "--limit", "0"), "expected a number"),
        (("--task", "1", "--csv", "."), "a folder"),
    ],
)
def test_wrong_arguments(desk, arguments, text):
    _, err = desk.cli("review", *arguments, code=2)
    assert text in err and desk.server.writes == 0


def test_a_label_of_which_no_detector_spoke(desk):
    label = {"name": "head", "type": "rectangle", "attributes": []}
    task = desk.server.make_task(frames=1, labels=[label])
    _, err = desk.cli("review", "--task", task.id, "--label", "head", code=2)
    assert "neither attribute review nor reasons" in err


def test_issues_are_opened_once(desk):
    arguments = ("review", "--task", desk.task.id, "--issues")
    out, err = desk.cli(*arguments, "--dry-run")
    assert desk.server.writes == 0 and "3 issues would be opened, 0 faces had one" in err and not out
    _, err = desk.cli(*arguments)
    assert "3 issues opened" in err and desk.server.writes == 3
    assert [frame for frame, _ in desk.issues()] == [1, 1, 8]  # two faces of a frame are two issues
    assert all(sentence("low_score") in text and "[auto-annotator f" in text for _, text in desk.issues())
    for issue in desk.server.store.issues.values():
        issue.resolved = True
    _, err = desk.cli(*arguments)
    assert "0 issues opened, 3 faces had one" in err and desk.server.writes == 3
    assert all(issue.resolved for issue in desk.server.store.issues.values())


def test_the_region_of_an_issue_is_the_box(desk):
    desk.cli("review", "--task", desk.task.id, "--issues", "--limit", 1)
    [issue] = desk.server.store.issues.values()
    assert list(issue.position) == [80.0, 30.0, 120.0, 80.0] and issue.job == desk.jobs[0]


def test_a_face_that_was_moved_a_little_or_got_another_id_has_its_issue(desk):
    arguments = ("review", "--task", desk.task.id, "--issues")
    desk.cli(*arguments)
    desk.server.human.move(desk.faces[1], (83.0, 32.0, 122.0, 82.0))
    _, err = desk.cli(*arguments)
    assert "0 issues opened, 3 faces had one" in err
    desk.server.human.move(desk.faces[1], (200.0, 100.0, 240.0, 150.0))  # this is about something else
    _, err = desk.cli(*arguments)
    assert "1 issues opened, 2 faces had one" in err


def test_issues_of_people_are_left_alone(desk):
    desk.cli("review", "--task", desk.task.id, "--issues", "--limit", 1)
    server = Server(desk.client())
    server.create_issue(desk.jobs[1], 8, [140.0, 30.0, 180.0, 80.0], "is this a face?")
    _, err = desk.cli("review", "--task", desk.task.id, "--issues")
    assert "2 issues opened, 1 faces had one" in err
    assert len(desk.server.store.issues) == 4


FAULTS = (
    {"kind": "reset_after_commit"}, {"kind": "reset"}, {"kind": "status", "status": 503}, {"kind": "status", "status": 429},
    {"kind": "status_after_commit", "status": 502}, {"kind": "truncated"},
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault['kind']}-{fault.get('status', '')}")
@pytest.mark.parametrize("skip", [0, 1, 2])
def test_no_fault_opens_an_issue_twice_or_never(desk, fault, skip):
    desk.server.fault(**fault, method="POST", path="/issues", skip=skip)
    desk.cli("review", "--task", desk.task.id, "--issues")
    assert [frame for frame, _ in desk.issues()] == [1, 1, 8]
    assert len({text for _, text in desk.issues()}) == 3


def test_a_server_that_stays_busy_is_told_and_the_next_run_goes_on(desk):
    desk.server.fault("status", status=503, method="POST", path="/issues", skip=1, count=100)
    _, err = desk.cli("review", "--task", desk.task.id, "--issues", code=2)
    assert "gave up" in err and "1 of 3 faces are done; the same command goes on, no face gets two" in err
    desk.server.faults.__init__()
    _, err = desk.cli("review", "--task", desk.task.id, "--issues")
    assert "2 issues opened, 1 faces had one" in err and len(desk.issues()) == 3


def test_issues_of_a_plan_name_no_name(desk):
    plan = desk.plan()
    _, err = desk.cli("review", "--plan", plan, "--issues")
    assert "4 issues opened" in err
    assert not any(NAME in text for _, text in desk.issues())
    assert json.loads(plan.read_text())["people"][0]["name"] == NAME
    _, err = desk.cli("review", "--task", desk.task.id, "--issues")
    assert "0 issues opened, 3 faces had one" in err


# without a server


def entry(key="f" + "1" * 16, box=(0.0, 0.0, 10.0, 10.0), frame=1, earlier="", **more):
    from planned import planned_face

    ref = replace(planned_face(1, frame=frame).ref, key=key, box=box)
    return Entry(ref=ref, priority=1, reasons=("tiny",), earlier_key=earlier, **more)


def issue(number=1, frame=1, position=(0, 0, 10, 10), count=1):
    return {"id": number, "frame": frame, "position": list(position), "resolved": False, "comments": {"count": count}}


def test_comments_that_cannot_be_seen_are_no_reason_to_open_issues_again():
    with pytest.raises(ServerError, match="organization"):
        known_issues([issue()], [])
    assert known_issues([issue(count=0)], []) == []


def test_the_mark_is_the_last_one_of_a_comment():
    person = "[auto-annotator f" + "9" * 16 + "]"
    text = message(entry(person=person, was=person, nearest=person))
    [known] = known_issues([issue()], [{"issue": 1, "message": text}])
    assert known.key == "f" + "1" * 16


def test_an_issue_stands_for_one_face_only():
    known = [Known(key="f" + "9" * 16, frame=1, region=(0, 0, 10, 10))]
    twins = [entry(key="f" + "1" * 16), entry(key="f" + "2" * 16, box=(0.0, 0.0, 10.0, 11.0))]
    assert missing(twins, known) == [twins[1]]
    assert missing([entry(frame=2)], known) == [entry(frame=2)]
    assert missing([entry(earlier="f" + "9" * 16, box=(500.0, 500.0, 510.0, 510.0))], known) == []


def test_an_issue_of_a_face_in_the_queue_is_not_taken_for_its_neighbour():
    known = [Known(key="f" + "1" * 16, frame=1, region=(0, 0, 10, 10))]
    neighbour = entry(key="f" + "2" * 16, box=(1.0, 0.0, 11.0, 10.0))
    assert missing([entry(), neighbour], known) == [neighbour]


def test_a_long_person_is_cut_in_an_issue():
    text = message(entry(nearest="x" * 10_000, was="a\nb", person="c"))
    assert len(text) < 400 and "Before it was a b, now it is c." in text
