"""`cvat setup`: adds what is missing, keeps what is there, and stops before anything in the way."""

from __future__ import annotations

import copy
import io

import pytest
from fake_cvat import FakeCvat
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.bridge.label_check import check_labels
from auto_annotator.bridge.setup import plan_setup
from auto_annotator.cli import main
from auto_annotator.cvat.labels import LABELS, label_constructor

CAR = {"name": "car", "type": "polygon", "color": "#010203", "attributes": []}


@pytest.fixture
def fake(monkeypatch):
    with FakeCvat(seed=3) as server:
        monkeypatch.setenv("CVAT_ACCESS_TOKEN", server.token)
        monkeypatch.setenv("AUTO_ANNOTATOR_CVAT_RETRY_SECONDS", "0")
        monkeypatch.setattr("sys.stdin", io.StringIO())
        yield server


def setup(fake, *words):
    return main(["cvat", "setup", "--server-host", fake.url, *(str(word) for word in words)])


def labels_of(fake, **where):
    """Labels as a reader of the API sees them, by name."""
    from types import SimpleNamespace

    from auto_annotator.bridge.connection import open_server

    args = SimpleNamespace(server_host=fake.url)
    return {row["name"]: row for row in open_server(args).raw_labels(**where)}


def bare(attributes=(), **more):
    return {"name": "face", "type": "rectangle", "color": "#123456", "attributes": list(attributes)} | more


def attribute(name, **more):
    known = next(a for label in label_constructor() for a in label["attributes"] if a["name"] == name)
    return copy.deepcopy(known) | more


def test_everything_is_created_and_a_second_run_writes_nothing(fake, capsys):
    task = fake.make_task(frames=1, labels=[CAR])
    before = labels_of(fake, task=task.id)["car"]
    assert setup(fake, "--task", task.id, "--yes") == 0
    out = capsys.readouterr().out
    assert "create label face (rectangle)" in out and "create label face_landmarks" in out and "create label face_error" in out
    there = labels_of(fake, task=task.id)
    assert there["car"] == before
    for wanted in label_constructor():
        row = there[wanted["name"]]
        assert (row["type"], row["color"]) == (wanted["type"], wanted["color"])
        got = [{key: value for key, value in a.items() if key != "id"} for a in row["attributes"]]
        assert sorted(got, key=str) == sorted(wanted["attributes"], key=str)
        assert [s["name"] for s in row["sublabels"]] == [s["name"] for s in wanted.get("sublabels", [])]
    fake.forget()
    assert setup(fake, "--task", task.id, "--yes") == 0
    assert fake.writes == 0 and "nothing to do" in capsys.readouterr().out


def test_only_what_is_missing_is_added(fake):
    mine = [
        attribute("score"),
        {"name": "age", "mutable": True, "input_type": "select", "default_value": "old", "values": ["young", "old"]},
    ]
    project = fake.make_project(labels=[bare(mine), CAR])
    before = labels_of(fake, project=project.id)
    assert setup(fake, "--project", project.id, "--yes") == 0
    after = labels_of(fake, project=project.id)
    assert after["car"] == before["car"]
    face, old = after["face"], before["face"]
    assert (face["id"], face["color"]) == (old["id"], old["color"])
    kept = {a["name"]: a for a in face["attributes"]}
    assert all(kept[a["name"]] == a for a in old["attributes"])
    assert set(kept) == {"age"} | {a.name for a in LABELS[0].attributes}


def test_annotations_are_not_touched(fake):
    task = fake.make_task(frames=2, labels=[bare([attribute("score")])])
    fake.human.draw(task.jobs[0].id, 0, (1, 2, 3, 4), source="auto", score="93")
    before = copy.deepcopy(fake.snapshot())
    assert setup(fake, "--task", task.id, "--yes") == 0
    from auto_annotator.bridge.connection import open_server

    (shape,) = open_server(type("Args", (), {"server_host": fake.url})).annotations(task.jobs[0].id)["shapes"]
    assert shape["points"] == [1, 2, 3, 4] and shape["source"] == "auto"
    assert "93" in {value["value"] for value in shape["attributes"]} and before


def test_labels_of_a_task_in_a_project_are_set_up_in_the_project(fake, capsys):
    project = fake.make_project(labels=[CAR])
    task = fake.make_task(frames=1, project=project)
    assert setup(fake, "--task", task.id, "--yes") == 0
    assert f"task {task.id} is in project {project.id}: its labels belong to the project" in capsys.readouterr().out
    assert "face" in labels_of(fake, project=project.id)
    assert {r.path.rstrip("/") for r in fake.requests if r.method == "PATCH"} == {f"/api/projects/{project.id}"}


def test_without_a_terminal_and_without_yes_nothing_is_written(fake, capsys):
    task = fake.make_task(frames=1, labels=[CAR])
    assert setup(fake, "--task", task.id) == 1
    assert fake.writes == 0 and "give --yes" in capsys.readouterr().out


@pytest.mark.parametrize(("typed", "code", "writes"), [("y\n", 0, 1), ("yes\n", 0, 1), ("n\n", 1, 0), ("\n", 1, 0), ("", 1, 0)])
def test_a_terminal_is_asked(fake, monkeypatch, capsys, typed, code, writes):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdin", Terminal(typed))
    task = fake.make_task(frames=1, labels=[CAR])
    assert setup(fake, "--task", task.id) == code and fake.writes == writes
    assert f"Write this to task {task.id}? [y/N]" in capsys.readouterr().out


CONFLICTS = [
    (bare(type="polygon"), "label face: got type polygon, expected rectangle"),
    (bare([attribute("score", input_type="text", values=[""], default_value="")]), "score: got input type text, expected number"),
    (bare([attribute("score", values=["0", "1", "0.1"])]), "score: got the range 0, 1, 0.1"),
    (bare([attribute("person", input_type="select", values=["a"], default_value="a")]), "person: got input type select"),
    ({"name": "face_error", "type": "rectangle", "attributes": []}, "label face_error: got type rectangle, expected tag"),
    (
        {"name": "face_landmarks", "type": "skeleton", "attributes": [], "svg": "", "sublabels": [{"name": "1"}, {"name": "2"}]},
        "skeleton of the points 1, 2, expected right_eye",
    ),
]


@pytest.mark.parametrize(("label", "text"), CONFLICTS)
def test_what_is_in_the_way_is_named_and_nothing_written(fake, capsys, label, text):
    task = fake.make_task(frames=1, labels=[label])
    assert setup(fake, "--task", task.id, "--yes") == 2
    error = capsys.readouterr().err
    assert text in error and "rename" in error and "nothing was written" in error and fake.writes == 0


def test_all_conflicts_are_named_at_once(fake, capsys):
    task = fake.make_task(frames=1, labels=[CONFLICTS[1][0], CONFLICTS[4][0]])
    assert setup(fake, "--task", task.id, "--yes") == 2
    error = capsys.readouterr().err
    assert CONFLICTS[1][1] in error and CONFLICTS[4][1] in error


def test_another_label_gets_the_attributes_and_nothing_else_happens(fake, capsys):
    task = fake.make_task(frames=1, labels=[{"name": "head", "type": "rectangle", "color": "#010203", "attributes": []}, CAR])
    assert setup(fake, "--task", task.id, "--label", "head", "--yes") == 0
    there = labels_of(fake, task=task.id)
    assert set(there) == {"head", "car"} and there["head"]["color"] == "#010203"
    assert {a["name"] for a in there["head"]["attributes"]} == {a.name for a in LABELS[0].attributes}
    fake.forget()
    assert setup(fake, "--task", task.id, "--label", "head", "--yes") == 0 and fake.writes == 0


@pytest.mark.parametrize(
    ("name", "text"), [("hat", "there is no label 'hat'; rectangle labels are: 'head'"), ("car", "got type polygon")]
)
def test_another_label_must_be_there_and_a_rectangle(fake, capsys, name, text):
    task = fake.make_task(frames=1, labels=[{"name": "head", "type": "rectangle", "attributes": []}, CAR])
    assert setup(fake, "--task", task.id, "--label", name, "--yes") == 2
    assert text in capsys.readouterr().err and fake.writes == 0


def test_a_label_of_any_type_takes_boxes(fake):
    task = fake.make_task(frames=1, labels=[bare(type="any")])
    assert setup(fake, "--task", task.id, "--yes") == 0
    assert labels_of(fake, task=task.id)["face"]["type"] == "any"


def test_an_attribute_that_may_change_within_a_track_is_a_note(fake, capsys):
    task = fake.make_task(frames=1, labels=[bare([attribute("person", mutable=True)])])
    assert setup(fake, "--task", task.id, "--yes") == 0
    assert "note: label face, attribute person may change from frame to frame" in capsys.readouterr().out
    (person,) = (a for a in labels_of(fake, task=task.id)["face"]["attributes"] if a["name"] == "person")
    assert person["mutable"] is True


@pytest.mark.parametrize("kind", ["reset", "reset_after_commit", "truncated"])
def test_faults_end_in_the_same_labels(fake, kind):
    task = fake.make_task(frames=1, labels=[CAR])
    fake.fault(kind, method="PATCH")
    assert setup(fake, "--task", task.id, "--yes") == 0
    assert set(labels_of(fake, task=task.id)) == {"car", "face", "face_landmarks", "face_error"}
    assert fake.writes == (2 if kind == "reset" else 1)


def test_a_server_that_stays_busy(fake, capsys):
    task = fake.make_task(frames=1, labels=[CAR])
    fake.fault("status", status=503, method="PATCH", count=99)
    assert setup(fake, "--task", task.id, "--yes") == 2
    assert "start the command again" in capsys.readouterr().err


def test_one_place_must_be_named(fake):
    for words in ([], ["--task", 1, "--project", 1], ["--task", "x"], ["--task", "0"]):
        with pytest.raises(SystemExit) as caught:
            setup(fake, *words)
        assert caught.value.code == 2


def served(labels):
    """Labels as the API sends them: with ids, and a label's points inside."""
    ids = iter(range(1, 1000))
    number = lambda row: {"id": next(ids)} | row  # noqa: E731
    return [
        number(
            label
            | {"attributes": [number(a) for a in label["attributes"]], "sublabels": [number(s) for s in label.get("sublabels", [])]}
        )
        for label in labels
    ]


@given(st.data())
def test_whatever_part_is_there_only_the_rest_is_added(data):
    whole = label_constructor()
    part = [
        label
        | {"attributes": data.draw(st.lists(st.sampled_from(label["attributes"]), unique_by=str)) if label["attributes"] else []}
        for label in data.draw(st.lists(st.sampled_from(whole), unique_by=lambda label: label["name"]))
    ]
    there = served(part)
    frozen = copy.deepcopy(there)
    plan = plan_setup(there)
    assert there == frozen and len(plan.steps) == len(plan.labels)
    by_name = {row["name"]: row for row in there}
    for label in plan.labels:
        old = by_name.pop(label["name"], None)
        names = [a["name"] for a in label["attributes"]]
        assert len(set(names)) == len(names)
        if old:
            assert (
                label["id"] == old["id"]
                and label["color"] == old["color"]
                and label["attributes"][: len(old["attributes"])] == old["attributes"]
            )
    result = {**{row["name"]: row for row in there}, **{label["name"]: label for label in plan.labels}}
    assert set(result) == {label["name"] for label in whole}
    for label in whole:
        assert {a["name"] for a in result[label["name"]]["attributes"]} == {a["name"] for a in label["attributes"]}
    assert all(row["name"] in {label.name for label in LABELS} for row in plan.labels) and check_labels([], LABELS)
