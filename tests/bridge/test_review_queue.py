"""The order of the queue, its reasons, and the CSV."""

from __future__ import annotations

import csv
import io
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "reports"))

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planned import HOST, make_plan, planned_face

from auto_annotator.bridge.faces import Look, PulledFace
from auto_annotator.bridge.plan import PlannedPerson, Suggestion
from auto_annotator.bridge.planning import CONTRADICTIONS
from auto_annotator.bridge.review_queue import (
    COLUMNS,
    QUEUE_REASONS,
    TIERS,
    Entry,
    Tier,
    detector_reasons,
    queue_of_faces,
    queue_of_plan,
    write_csv,
)
from auto_annotator.review import REASONS


def numbers(entries):
    return [entry.ref.id - 100 for entry in entries]


def pulled(number, *, kind="shape", **attributes):
    ref = planned_face(number, kind=kind).ref
    return PulledFace(ref=ref, attributes=attributes, looks=(Look(frame=ref.frame, box=ref.box),))


def rows_of(entries):
    stream = io.StringIO()
    write_csv(stream, entries, HOST)
    return list(csv.DictReader(io.StringIO(stream.getvalue())))


def test_the_order_of_a_plan():
    entries = queue_of_plan(make_plan())
    assert numbers(entries) == [5, 10, 2, 3, 6]
    assert [entry.tier for entry in entries] == [Tier.WORDS, Tier.WORDS, Tier.PERSON, Tier.MOVED, Tier.DETECTION]
    assert [entry.priority for entry in entries] == sorted((e.priority for e in entries), reverse=True)
    assert entries[2].reasons == ("doubtful_person",) and entries[2].nearest == "p0002"
    assert entries[3].was == "p0002" and entries[3].person == "p0001"
    assert entries[4].reasons == ("low_score", "few_votes") and entries[4].score == 30


def test_the_queue_of_a_plan_does_not_depend_on_its_order():
    plan = make_plan()
    assert queue_of_plan(replace(plan, faces=plan.faces[::-1])) == queue_of_plan(plan)


def test_within_a_tier_the_more_doubtful_face_comes_first():
    doubt = [planned_face(i, "p0001", reasons=("doubtful_person",), confidence=c) for i, c in enumerate([0.9, 0.1, 0.5])]
    assert numbers(queue_of_plan(make_plan(faces=tuple(doubt)))) == [1, 2, 0]
    unsure = [planned_face(i, "p0001", detector_reasons=("tiny",), score=s) for i, s in enumerate([90, 10, 50])]
    assert numbers(queue_of_plan(make_plan(faces=tuple(unsure)))) == [1, 2, 0]


def test_what_a_person_decided_is_not_doubted_but_a_bad_box_is():
    faces = (
        planned_face(1, "p0001", was="p0002", human=True, reasons=("doubtful_person", "identity_doubtful")),
        planned_face(2, "p0001", human=True, reasons=("doubtful_person",), detector_reasons=("boxes_disagree",)),
    )
    entries = queue_of_plan(make_plan(faces=faces, suggestions=()))
    assert numbers(entries) == [2]
    assert entries[0].tier == Tier.DETECTION and set(entries[0].reasons) == {"boxes_disagree", "doubtful_person"}


def test_a_contradiction_is_about_faces_that_people_decided():
    faces = tuple(planned_face(i, "p0001", human=True) for i in range(3))
    keys = tuple(face.ref.key for face in faces[:2])
    asked = Suggestion(kind="contradiction", person="p0001", text=next(iter(CONTRADICTIONS.values())), faces=keys)
    entries = queue_of_plan(make_plan(faces=faces, suggestions=(asked,)))
    assert numbers(entries) == [0, 1] and {entry.reasons for entry in entries} == {("words_contradict",)}


def test_a_merged_person_did_not_move_and_a_split_one_did():
    faces = (planned_face(1, "p0001", was="p0007"), planned_face(2, "p0002", was="p0001"), planned_face(3, "", was="p0001"))
    people = (PlannedPerson(id="p0001", faces=1, aliases=("p0007",)), PlannedPerson(id="p0002", faces=1))
    assert numbers(queue_of_plan(make_plan(faces=faces, people=people, suggestions=()))) == [2]


def test_a_blurred_face_is_no_reason_but_says_why():
    faces = (
        planned_face(1, "p0001", reasons=("blurred",)),
        planned_face(2, "p0001", reasons=("blurred", "identity_doubtful")),
        planned_face(3, "", reasons=("blurred", "identity_doubtful")),
    )
    entries = queue_of_plan(make_plan(faces=faces, suggestions=()))
    assert numbers(entries) == [2]
    assert entries[0].reasons == ("identity_doubtful", "blurred") and entries[0].tier == Tier.QUALITY


@pytest.mark.parametrize(
    ("attributes", "codes"),
    [
        ({"review": "true", "reasons": "tiny,low_score"}, ("tiny", "low_score")),
        ({"review": "true", "reasons": ""}, ("flagged",)),
        ({"review": "false", "reasons": "tiny"}, ()),
        ({"review": "True", "reasons": " tiny , tiny"}, ("tiny",)),
        ({"reasons": "tiny"}, ("tiny",)),
        ({}, ()),
    ],
)
def test_the_flag_in_cvat_decides(attributes, codes):
    assert detector_reasons(attributes) == codes


def test_the_queue_of_faces_as_they_stand_in_cvat():
    faces = [
        pulled(1, review="true", reasons="tiny", score="80", person="p0001"),
        pulled(2, review="true", reasons="low_score", score="20"),
        pulled(3, review="false", reasons="tiny", score="10"),
        pulled(4, review="true", reasons="tiny", score="no number"),
        pulled(5, review="true", kind="track", score="5", face_key="f0123456789abcdef.p0001"),
    ]
    entries = queue_of_faces(faces)
    assert numbers(entries) == [2, 4, 5, 1]
    assert [entry.score for entry in entries] == [20, -1, -1, 80]
    assert {entry.confidence for entry in entries} == {None}
    assert entries[3].person == "p0001" and entries[2].earlier_key == "f0123456789abcdef"


def test_every_code_has_a_sentence_and_every_tier_code_is_known():
    assert set(TIERS) <= set(QUEUE_REASONS) and set(REASONS) <= set(QUEUE_REASONS)


def test_the_csv_says_it_all():
    rows = rows_of(queue_of_plan(make_plan()))
    assert tuple(rows[0]) == COLUMNS
    assert rows[2] | {"priority": ""} == {
        "priority": "", "task": "1", "job": "11", "frame": "2", "kind": "shape", "person": "p0001", "reasons": "doubtful_person",
        "score": "90", "confidence": "0.3000", "link": f"{HOST}/tasks/1/jobs/11?frame=2&serverID=102&type=shape",
    }  # fmt: skip
    assert rows[1]["score"] == ""


HOSTILE_CELLS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1", "\u00a0=1"]


@pytest.mark.parametrize("text", HOSTILE_CELLS)
def test_no_cell_is_a_formula(text):
    entry = Entry(ref=planned_face(1).ref, priority=5, reasons=(text,), person=text)
    [row] = rows_of([entry])
    assert row["person"].startswith("'") and row["reasons"].startswith("'")


@given(st.text())
def test_any_person_survives_the_csv(text):
    entry = Entry(ref=planned_face(1).ref, priority=5, reasons=("tiny",), person=text)
    stream = io.StringIO(newline="")
    write_csv(stream, [entry], HOST)
    stream.getvalue().encode("utf-8")
    [_, row] = list(csv.reader(io.StringIO(stream.getvalue(), newline="")))
    cell = row[COLUMNS.index("person")]
    assert len(row) == len(COLUMNS)
    plain = "".join(sign if sign.isprintable() or sign.isspace() else " " for sign in cell)
    assert "\n" not in cell and "\r" not in cell and len(plain) - plain.startswith("'") <= len(text) + 1
    if text.isprintable() and text[:1].isalnum():
        assert cell == text
