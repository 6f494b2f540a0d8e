"""Push and undo against annotations in memory: only the values of the plan change, people's edits are left alone."""

from __future__ import annotations

import copy
import json
import stat
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from push_scene import (
    CAR,
    COLOUR,
    FACE_LABEL,
    LABELS,
    SKELETON,
    MemoryServer,
    canonical,
    empty,
    face,
    held,
    plan_of,
    set_values,
    shape,
    task,
    track,
)

from auto_annotator.bridge.backup import open_backup, plan_digest, read_backup, write_backup
from auto_annotator.bridge.diff import plan_lines
from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.judging import State
from auto_annotator.bridge.plan import Change
from auto_annotator.bridge.push import check_server, goals_of, push
from auto_annotator.bridge.undo import undo
from auto_annotator.bridge.writing import survey
from auto_annotator.errors import ConfigError


@pytest.fixture(autouse=True, scope="module")
def _no_waiting():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTO_ANNOTATOR_CVAT_RETRY_SECONDS", "0")
        yield


def scene():
    """Two jobs: faces of all sources, a track, and what is none of our business."""
    first = empty()
    first["shapes"] = [
        face(1, 0, 10),
        face(2, 0, 100, source="semi-auto"),
        face(3, 1, 10, source="manual", name="Zoë"),
        face(4, 2, 10, source="file", person="p0009"),
        face(5, 3, 10),
        shape(6, 0, [5.0, 5.0, 9.0, 9.0], label_id=CAR, attributes=[{"spec_id": COLOUR, "value": "blue"}]),
        shape(7, 0, [], label_id=SKELETON, type="skeleton", elements=[{"id": 70, "label_id": 31, "points": [1.0, 2.0]}]),
    ]
    first["tags"] = [{"id": 8, "frame": 0, "label_id": 9, "attributes": []}]
    second = empty()
    second["shapes"] = [face(11, 10, 10), face(12, 10, 10), face(13, 11, 50)]
    second["tracks"] = [track(21, [12, 15], 200), track(22, [11], 300, person="p0005")]
    return {101: first, 102: second}


def server_of(annotations=None, **options):
    return MemoryServer([task()], annotations or scene(), **options)


def everybody(ref, before):
    return {"person": f"p{ref.id:04d}", **({"name": "Ann"} if ref.id % 2 else {})}


def run_push(server, plan, folder, **options):
    found = survey(server, goals_of(plan))
    return push(server, plan, Path(folder) / "plan.json", found, **options)


def run_undo(server, path, **options):
    return undo(server, survey(server, read_backup(path).goals), **options)


def everything_of(server):
    return {item["id"]: item for job in server.jobs.values() for kind in ("shapes", "tracks") for item in job[kind]}


@pytest.mark.parametrize("renumber", [False, True])
def test_only_the_values_of_the_plan_change_and_undo_brings_all_back(tmp_path, renumber):
    server = server_of(renumber=renumber)
    before = copy.deepcopy(server.jobs)
    plan = plan_of(server, everybody)
    outcome = run_push(server, plan, tmp_path, chunk=2)
    assert (outcome.written, outcome.skipped) == (len(plan.faces), ())
    expected = copy.deepcopy(before)
    for planned in plan.faces:
        item = next(i for i in expected[planned.ref.job][f"{planned.ref.kind}s"] if i["id"] == planned.ref.id)
        set_values(item, **planned.after)
    assert canonical(server.jobs, ids=not renumber) == canonical(expected, ids=not renumber)
    assert server.jobs[102]["tracks"][0]["shapes"][0]["attributes"], "values of keyframes stay"

    writes = server.writes
    again = run_push(server, plan, tmp_path)
    assert (server.writes, again.written, again.backup) == (writes, 0, None)
    assert len(list(tmp_path.glob("plan.backup-*.json"))) == 1

    back = run_undo(server, outcome.backup, chunk=2)
    assert (back.written, back.skipped) == (len(plan.faces), ())
    assert canonical(server.jobs, ids=not renumber) == canonical(before, ids=not renumber)
    writes = server.writes
    assert run_undo(server, outcome.backup).written == 0
    assert server.writes == writes


def test_requests_hold_as_many_faces_as_asked(tmp_path):
    server = server_of()
    run_push(server, plan_of(server, everybody), tmp_path, chunk=2)
    assert server.writes == 3 + 3, "five faces in the first job, five in the second"


def test_a_long_job_is_read_again_in_between(tmp_path):
    content = empty()
    content["shapes"] = [face(i, i % 10, 40 * i) for i in range(1, 31)]
    server = server_of({101: content})
    run_push(server, plan_of(server, everybody), tmp_path, chunk=2)
    assert server.writes == 15
    assert all(held(item)["person"] for item in server.every(101))


EDITS = {
    "person": lambda item: set_values(item, person="Somebody"),
    "cleared": lambda item: set_values(item, person="", name="", face_key="x"),
    "name": lambda item: set_values(item, name="Bob"),
    "moved": lambda item: item.update(points=[p + 3 for p in item["points"]]),
    "turned": lambda item: item.update(rotation=12.0),
    "relabelled": lambda item: item.update(label_id=CAR, attributes=[]),
    "to another frame": lambda item: item.update(frame=item["frame"] + 4),
}


@pytest.mark.parametrize("edit", [*EDITS, "deleted"])
@pytest.mark.parametrize("renumber", [False, True])
def test_a_face_that_a_person_changed_since_the_pull_is_left_alone_and_listed(tmp_path, edit, renumber):
    server = server_of(renumber=renumber)
    plan = plan_of(server, everybody)
    shapes = server.jobs[101]["shapes"]
    target = next(s for s in shapes if s["id"] == 3)
    if edit == "deleted":
        shapes.remove(target)
    else:
        EDITS[edit](target)
    kept = copy.deepcopy(target)
    outcome = run_push(server, plan, tmp_path)
    assert [one.goal.ref.id for one in outcome.skipped] == [3]
    expected = {"deleted": State.GONE, "person": State.EDITED, "cleared": State.EDITED, "name": State.EDITED}
    moved = State.EDITED if edit == "relabelled" else State.MOVED
    assert outcome.skipped[0].state is expected.get(edit, moved)
    assert [s for s in shapes if s["id"] == 3] == ([] if edit == "deleted" else [kept])
    assert outcome.written == len(plan.faces) - 1
    assert 3 not in {f.ref.id for f in read_backup(outcome.backup).faces}


def test_edits_between_push_and_undo_stay(tmp_path):
    server = server_of()
    before = copy.deepcopy(server.jobs)
    outcome = run_push(server, plan_of(server, everybody), tmp_path)
    target = everything_of(server)[3]
    set_values(target, person="Somebody")
    back = run_undo(server, outcome.backup)
    assert [(one.goal.ref.id, one.state) for one in back.skipped] == [(3, State.EDITED)]
    set_values(next(s for s in before[101]["shapes"] if s["id"] == 3), **held(target))
    assert canonical(server.jobs) == canonical(before)


def test_quality_is_written_for_shapes_only_and_a_track_loses_nothing(tmp_path):
    server = server_of()
    plan = plan_of(server, lambda ref, before: {"person": "p0001", "quality": "55"})
    outcome = run_push(server, plan, tmp_path)
    assert not outcome.skipped
    assert {held(s)["quality"] for s in server.every(101) if s["label_id"] == FACE_LABEL.id} == {"55"}
    assert {held(s)["person"] for s in server.every(102, "tracks")} == {"p0001"}


def test_somebody_elses_quality_is_not_touched(tmp_path):
    server = server_of()
    plan = plan_of(server, lambda ref, before: {"person": "p0001"})
    set_values(everything_of(server)[1], quality="12")
    outcome = run_push(server, plan, tmp_path)
    assert not outcome.skipped
    values = held(everything_of(server)[1])
    assert (values["quality"], values["score"], values["person"]) == ("12", "87", "p0001")


def test_deleted_frames_are_left_alone(tmp_path):
    server = server_of()
    plan = plan_of(server, everybody)
    server._tasks[1] = task(deleted=(0,))
    before = canonical({101: {"shapes": [s for s in server.every(101) if s["frame"] == 0]}})
    outcome = run_push(server, plan, tmp_path)
    assert sorted(one.goal.ref.id for one in outcome.skipped) == [1, 2]
    assert canonical({101: {"shapes": [s for s in server.every(101) if s["frame"] == 0]}}) == before


def test_a_track_whose_attribute_may_change_within_it_is_listed(tmp_path):
    server = server_of()
    plan = plan_of(server, everybody)
    loose = replace(FACE_LABEL, attributes=tuple(replace(a, mutable=True) for a in FACE_LABEL.attributes))
    server._tasks[1] = task(labels=(loose, *LABELS[1:]))
    outcome = run_push(server, plan, tmp_path)
    assert {one.goal.ref.kind for one in outcome.skipped} == {"track"}
    assert {one.state for one in outcome.skipped} == {State.FIXED}


def test_a_label_without_the_attribute_is_refused_before_anything_is_written(tmp_path):
    server = server_of()
    plan = plan_of(server, everybody)
    bare = replace(FACE_LABEL, attributes=FACE_LABEL.attributes[:3])
    server._tasks[1] = task(labels=(bare, *LABELS[1:]))
    with pytest.raises(ConfigError, match=r"no attribute name.*cvat setup"):
        run_push(server, plan, tmp_path)
    assert server.writes == 0
    assert not list(tmp_path.iterdir())


def test_two_faces_in_one_place_keep_their_own_values_though_ids_change(tmp_path):
    server = server_of(renumber=True)
    plan = plan_of(server, everybody)
    twins = {f.ref.id: f.after["person"] for f in plan.faces if f.ref.id in (11, 12)}
    run_push(server, plan, tmp_path, chunk=1)
    there = [held(s)["person"] for s in server.every(102) if s["frame"] == 10]
    assert sorted(there) == sorted(twins.values()) == ["p0011", "p0012"]


def test_a_copy_of_a_deleted_face_is_not_taken_for_it_when_another_plan_face_stands_there(tmp_path):
    server = server_of()
    plan = plan_of(server, lambda ref, before: None if ref.id == 12 else everybody(ref, before))
    server.jobs[102]["shapes"] = [s for s in server.every(102) if s["id"] != 11]
    outcome = run_push(server, plan, tmp_path)
    assert [(one.goal.ref.id, one.state) for one in outcome.skipped] == [(11, State.GONE)]
    assert held(everything_of(server)[12])["person"] == ""


@pytest.mark.parametrize("renumber", [False, True])
@pytest.mark.parametrize("fault", ["lost", "silent"])
def test_requests_without_an_answer_converge(tmp_path, fault, renumber):
    calm = server_of(renumber=renumber)
    (tmp_path / "calm").mkdir()
    run_push(calm, plan_of(calm, everybody), tmp_path / "calm", chunk=2)
    server = server_of(renumber=renumber, faults=[fault] * 5)
    outcome = run_push(server, plan_of(server, everybody), tmp_path, chunk=2)
    assert not outcome.skipped
    assert canonical(server.jobs, ids=not renumber) == canonical(calm.jobs, ids=not renumber)


def test_a_refused_request_ends_the_push_and_the_next_one_goes_on_with_the_same_backup(tmp_path):
    server = server_of(faults=["", "refused"])
    before = copy.deepcopy(server.jobs)
    plan = plan_of(server, everybody)
    with pytest.raises(ServerError, match="refused"):
        run_push(server, plan, tmp_path, chunk=2)
    (backup,) = tmp_path.glob("plan.backup-*.json")
    unfinished = read_backup(backup)
    assert not unfinished.complete
    outcome = run_push(server, plan, tmp_path, chunk=2)
    assert outcome.backup == backup
    assert read_backup(backup).faces == unfinished.faces
    assert read_backup(backup).complete
    run_undo(server, backup)
    assert canonical(server.jobs) == canonical(before)


def test_a_lost_backup_is_made_anew_with_the_faces_that_were_written_already(tmp_path):
    server = server_of(faults=["", "refused"])
    before = copy.deepcopy(server.jobs)
    plan = plan_of(server, everybody)
    with pytest.raises(ServerError):
        run_push(server, plan, tmp_path, chunk=2)
    next(tmp_path.glob("plan.backup-*.json")).unlink()
    outcome = run_push(server, plan, tmp_path)
    run_undo(server, outcome.backup)
    assert canonical(server.jobs) == canonical(before)


def test_an_interrupted_undo_goes_on(tmp_path):
    server = server_of()
    before = copy.deepcopy(server.jobs)
    outcome = run_push(server, plan_of(server, everybody), tmp_path)
    server.faults = ["", "refused"]
    with pytest.raises(ServerError):
        run_undo(server, outcome.backup, chunk=2)
    run_undo(server, outcome.backup, chunk=2)
    assert canonical(server.jobs) == canonical(before)


def test_the_backup_is_on_disk_before_the_first_request_and_only_its_owner_can_read_it(tmp_path):
    server = server_of()
    seen = []
    server.after_write = lambda: seen.append([read_backup(p) for p in tmp_path.glob("plan.backup-*.json")])
    plan = plan_of(server, everybody)
    outcome = run_push(server, plan, tmp_path)
    assert [len(backups[0].faces) for backups in seen] == [len(plan.faces)] * server.writes
    assert stat.S_IMODE(outcome.backup.stat().st_mode) == 0o600
    rows = json.loads(outcome.backup.read_text())["faces"]
    assert rows[0]["ref"].keys() == {"task", "job", "frame", "kind", "id", "label", "box", "key"}
    assert rows[0]["before"] == {"person": "", "name": "", "face_key": ""}
    assert rows[0]["after"]["person"] == "p0001"


def test_a_backup_that_cannot_be_written_stops_the_push(tmp_path):
    server = server_of()
    with pytest.raises(ConfigError, match="nothing is pushed"):
        run_push(server, plan_of(server, everybody), tmp_path, backup=tmp_path / "no" / "where.json")
    assert server.writes == 0


def test_a_backup_of_another_plan_is_not_overwritten(tmp_path):
    server = server_of()
    plan = plan_of(server, everybody)
    run_push(server, plan, tmp_path, backup=tmp_path / "b.json")
    content = (tmp_path / "b.json").read_bytes()
    other = plan_of(server, lambda ref, before: {"person": "p9999"})
    with pytest.raises(ConfigError, match="another plan"):
        run_push(server, other, tmp_path, backup=tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == content


def test_two_backups_in_one_second_have_two_names(tmp_path):
    server = server_of()
    plans = [plan_of(server, lambda ref, before, n=n: {"person": f"p000{n}"}) for n in (1, 2, 3)]
    paths = [open_backup(None, tmp_path / "plan.json", plan, goals_of(plan))[0] for plan in plans]
    assert len(set(paths)) == 3
    assert len({plan_digest(plan) for plan in plans}) == 3


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "auto-annotator backup", "version": 1}', '{"version": 2}'])
def test_a_damaged_backup_is_refused(tmp_path, content):
    path = tmp_path / "b.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="backup"):
        read_backup(path)


def test_a_backup_comes_back_as_it_was_written(tmp_path):
    server = server_of()
    plan = plan_of(server, everybody)
    path, backup = open_backup(None, tmp_path / "odd [name]*.json", plan, goals_of(plan))
    assert read_backup(path) == backup
    path.chmod(0o644)
    write_backup(path, backup)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert open_backup(None, tmp_path / "odd [name]*.json", plan, goals_of(plan)) == (path, backup)


def test_another_server_is_refused():
    with pytest.raises(ConfigError, match="was made for http://other"):
        check_server(server_of(), "http://other", "plan x")


def test_the_lines_of_a_dry_run_hold_ids_and_reasons_but_no_names(tmp_path):
    server = server_of()
    set_values(everything_of(server)[1], person="Grandma Maier")
    plan = plan_of(server, everybody)
    plan = replace(plan, changes=(Change(kind="merged", person="p0001", others=("p0009",), reason="they look alike"),))
    found = survey(server, goals_of(plan))
    text = "\n".join(plan_lines(plan, found.judged, 3))
    assert server.writes == 0
    assert "10  faces to write" in text
    assert "p0009 merged into p0001 (they look alike)" in text
    assert "(typed) -> p0001" in text
    assert "... and 7 more (--all prints them)" in text
    assert not {"Maier", "Ann", "Zoë"} & set(text.replace("'", " ").split())
    assert len("\n".join(plan_lines(plan, found.judged, None)).splitlines()) == len(text.splitlines()) + 6


people = st.sampled_from(["", "p0001", "p0002", "none", "Somebody"])
edits = st.sampled_from(["", "", "", "person", "name", "moved", "deleted", "relabelled"])


@st.composite
def stories(draw):
    faces = draw(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 2), people, people, edits, edits), min_size=1, max_size=12))
    faults = draw(st.lists(st.sampled_from(["lost", "silent", ""]), max_size=6))
    return faces, faults, draw(st.booleans()), draw(st.integers(1, 4))


@settings(max_examples=150, deadline=None)
@given(stories())
def test_any_plan_and_any_edits(story):
    faces, faults, renumber, chunk = story
    annotations = {101: empty(), 102: empty()}
    for number, (frame, column, person, _, _, _) in enumerate(faces, start=1):
        item = face(number, frame, 100 * column, person=person)
        if number % 4:
            annotations[101 + frame // 10]["shapes"].append(item)
        else:
            annotations[101 + frame // 10]["tracks"].append(track(number, [frame], 100 * column, person=person))
    annotations[101]["shapes"].append(shape(99, 0, [0.0, 0.0, 31.0, 60.0], label_id=CAR))
    server = MemoryServer([task()], annotations, renumber=renumber)
    wanted = {number: row[3] for number, row in enumerate(faces, start=1)}
    plan = plan_of(server, lambda ref, before: {"person": wanted[ref.id]})
    _edit(server, {n: row[4] for n, row in enumerate(faces, start=1)})
    edited = copy.deepcopy(server.jobs)
    skipped = {n for n, row in enumerate(faces, start=1) if row[4]}
    with tempfile.TemporaryDirectory() as folder:
        server.faults = list(faults)
        outcome = run_push(server, plan, folder, chunk=chunk)
        expected = copy.deepcopy(edited)
        _fulfil(expected, plan, skipped)
        assert canonical(server.jobs, ids=not renumber) == canonical(expected, ids=not renumber)
        assert {one.goal.ref.id for one in outcome.skipped} == skipped
        writes = server.writes
        run_push(server, plan, folder)
        assert server.writes == writes
        if outcome.backup is None:
            assert skipped == set(wanted)
            return
        server.faults = list(reversed(faults))
        run_undo(server, outcome.backup, chunk=chunk)
        assert canonical(server.jobs, ids=not renumber) == canonical(edited, ids=not renumber)


def _edit(server, wanted):
    for job in server.jobs.values():
        for kind in ("shapes", "tracks"):
            for item in [i for i in job[kind] if wanted.get(i["id"])]:
                edit = wanted[item["id"]]
                if edit == "deleted":
                    job[kind].remove(item)
                elif edit == "relabelled":
                    item.update(label_id=CAR, attributes=[])
                elif edit == "moved":
                    box = item if kind == "shapes" else item["shapes"][0]
                    box["points"] = [p + 2 for p in box["points"]]
                else:
                    set_values(item, **{edit: "typed by hand"})


def _fulfil(jobs, plan, skipped):
    for planned in plan.faces:
        if planned.ref.id not in skipped:
            for item in jobs[planned.ref.job][f"{planned.ref.kind}s"]:
                if item["id"] == planned.ref.id:
                    set_values(item, **planned.after)
