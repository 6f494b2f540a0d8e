"""Human words rule: values that differ from what was pushed are decisions, kept through any history of runs and edits."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from auto_annotator.bridge.decisions import Decision, decide, links_of
from auto_annotator.bridge.marks import Mark, digest, parse_mark, token

sys.path.insert(0, str(Path(__file__).parent))
from album_in_memory import Album


@pytest.fixture
def album():
    """Three people of six faces."""
    made = Album()
    for who in (1, 2, 3):
        for _ in range(6):
            made.add(who)
    made.run()
    return made


def people(album):
    found = defaultdict(set)
    for face in album.faces.values():
        found[face.attributes["person"]].add(face.who)
    return dict(found)


def rows(album, who):
    return [number for number, face in album.faces.items() if face.who == who]


def test_a_first_run_gives_everybody_an_id(album):
    assert people(album) == {"p0001": {1}, "p0002": {2}, "p0003": {3}} or len(people(album)) == 3


def test_a_second_run_writes_nothing(album):
    assert album.run().changed == ()
    assert album.run(lost_state=True).changed == ()


def test_two_plans_that_are_not_pushed_give_the_same_ids():
    album = Album()
    for who in (1, 1, 1, 2, 2, 2):
        album.add(who)
    first = album.run(push=False)
    second = album.run(push=False)
    assert [f.after["person"] for f in first.faces] == [f.after["person"] for f in second.faces]


def test_new_faces_join_known_people(album):
    known = {who: album.person(rows(album, who)[0]) for who in (1, 2, 3)}
    new = {album.add(who): who for who in (1, 2, 3, 2)}
    album.run(lost_state=True)
    assert all(album.person(number) == known[who] for number, who in new.items())


def test_a_changed_person_is_a_decision_and_takes_nobody_back(album):
    a, target = rows(album, 1)[0], album.person(rows(album, 2)[0])
    album.say(a, person=target)
    plan = album.run()
    assert album.person(a) == target
    face = next(f for f in plan.faces if f.ref.id == a)
    assert face.human and not face.changed
    assert all(album.person(n) != target for n in rows(album, 1) if n != a)


def test_none_is_never_clustered_again(album):
    a = rows(album, 1)[0]
    album.say(a, person="none")
    for lost in (False, True):
        album.run(lost_state=lost)
        assert album.person(a) == "none" and album.faces[a].attributes["name"] == ""


def test_a_cleared_face_does_not_go_back(album):
    a = rows(album, 1)[0]
    old = album.person(a)
    album.say(a, person="")
    for _ in range(3):
        album.run(lost_state=True)
        assert album.person(a) != old


def test_an_id_whose_faces_were_all_cleared_is_not_given_again():
    album = Album()
    faces = [album.add(1), album.add(1)]
    album.run()
    old = album.person(faces[0])
    for number in faces:
        album.say(number, person="")
    for _ in range(2):
        album.run(lost_state=True)
        assert all(album.person(number) != old for number in faces)


def test_human_words_join_two_clusters(album):
    keep, others = album.person(rows(album, 1)[0]), rows(album, 2)
    for number in others:
        album.say(number, person=keep)
    plan = album.run()
    assert {album.person(n) for n in rows(album, 1) + others} == {keep}
    assert any(change.kind in ("retired", "merged") for change in plan.changes)
    assert album.run(lost_state=True).changed == ()


def test_a_split_keeps_both_parts_apart(album):
    part = rows(album, 1)[:3]
    for number in part:
        album.say(number, person="p0099")
    album.run()
    old = {album.person(n) for n in rows(album, 1)[3:]}
    assert {album.person(n) for n in part} == {"p0099"} and "p0099" not in old
    album.add(9)
    album.add(9)
    album.run()
    assert max(p for p in people(album) if p.startswith("p")) >= "p0100", "ids after one that a person made up are higher"


def test_a_text_that_is_no_id_is_a_person_too(album):
    a = rows(album, 3)
    album.say(a[0], person="the man in red")
    album.say(a[1], person="the man in red")
    album.run(lost_state=True)
    assert album.person(a[0]) == album.person(a[1]) == "the man in red"
    marks = [parse_mark(album.faces[n].attributes["face_key"]) for n in a]
    assert all("red" not in str(mark) for mark in marks)


def test_an_id_that_stands_for_a_text_is_free_for_somebody_else(album):
    a, b = rows(album, 3), rows(album, 1)
    for number in a:
        album.say(number, person="the man in red")
    album.run()
    made_up = album.identities.typed["the man in red"]
    for number in b:
        album.say(number, person=made_up)
    album.run()
    new = {album.add(1): made_up, album.add(3): "the man in red"}
    album.run()
    assert {number: album.person(number) for number in new} == new
    assert album.run().changed == ()


def test_who_is_not_somebody_is_not_whom_that_one_became():
    not_one, two = Decision(apart=("p0001",)), Decision(machine="p0002")
    ends = {"p0001": "p0002", "p0002": "p0002"}
    assert links_of([not_one, two], [0.5, 0.5], ends.__getitem__, ends).cannot.tolist() == [[0, 1]]
    said = Decision(apart=("p0001",), person="p0002")
    assert links_of([said, two], [0.5, 0.5], ends.__getitem__, ends).cannot.tolist() == []


def test_one_name_names_everybody(album):
    a = rows(album, 2)
    album.say(a[0], name="Ada")
    album.run()
    assert {album.faces[n].attributes["name"] for n in a} == {"Ada"}
    new = album.add(2)
    album.run(lost_state=True)
    assert album.faces[new].attributes["name"] == "Ada"
    assert all("Ada" not in album.faces[n].attributes["face_key"] for n in a)


def test_another_name_on_the_same_face_renames(album):
    a = rows(album, 2)
    album.say(a[0], name="Ada")
    album.run()
    album.say(a[0], name="Grace")
    album.run()
    assert {album.faces[n].attributes["name"] for n in a} == {"Grace"}


def test_two_names_are_a_suggestion_and_never_a_guess(album):
    a = rows(album, 2)
    album.say(a[0], name="Ada")
    album.say(a[1], name="Grace")
    plan = album.run()
    assert [s.kind for s in plan.suggestions] == ["two_names"]
    assert set(plan.suggestions[0].names) == {"Ada", "Grace"}
    assert [album.faces[n].attributes["name"] for n in a] == ["Ada", "Grace", "", "", "", ""]
    assert "Ada" not in plan.suggestions[0].text


def test_a_removed_name_stays_away_from_that_face(album):
    a = rows(album, 2)
    album.say(a[0], name="Ada")
    album.run()
    album.say(a[1], name="")
    album.run(lost_state=True)
    assert [album.faces[n].attributes["name"] for n in a[:3]] == ["Ada", "", "Ada"]


def test_an_id_that_was_merged_stands_for_itself_when_a_person_says_so(album):
    a, b = rows(album, 1), rows(album, 2)
    old = album.person(b[0])
    for number in b:
        album.say(number, person=album.person(a[0]))
    album.run()
    album.say(b[0], person=old)
    album.run()
    assert album.person(b[0]) == old != album.person(a[0])


def test_a_moved_box_keeps_its_person(album):
    a = rows(album, 1)[0]
    before = dict(album.faces[a].attributes)
    album.faces[a].x += 7
    plan = album.run(lost_state=True)
    assert album.person(a) == before["person"]
    assert [f.ref.id for f in plan.changed] == [a] and album.faces[a].attributes["face_key"] != before["face_key"]


def test_a_box_in_two_overlapping_jobs_is_one_person():
    album = Album()
    for who in (1, 1, 1, 2, 2, 2):
        album.add(who, frame=len(album.faces))
    twin = album.add(3, frame=0, job=2)
    album.faces[twin].x = album.faces[1].x + 1
    album.run()
    assert album.person(twin) == album.person(1)


def test_marks_survive_their_text():
    mark = Mark(key="f0123456789abcdef", person=token("p0042"), name=digest("x"), apart=(token("p0001"), token("Bob ~!. x")))
    assert parse_mark(str(mark)) == mark
    assert parse_mark("f0123456789abcdef-2") == Mark(key="f0123456789abcdef-2")
    for text in ("", "hello", "f012", "f0123456789abcdef.p1~zz", "f0123456789abcdef p0042", "f0123456789abcdef..p1"):
        assert parse_mark(text) is None


def test_a_face_key_that_a_person_broke_makes_the_value_a_decision():
    assert decide({"person": "p0007", "name": "", "face_key": "oops"}).human


class Histories(RuleBasedStateMachine):
    """Runs and human edits in any order; what people said holds after each run."""

    def __init__(self):
        super().__init__()
        self.album = Album()
        self.said: dict[int, str] = {}
        self.names: dict[int, str] = {}
        self.not_person: dict[int, set[str]] = defaultdict(set)
        self.fresh = False
        self.pushed: dict[int, dict] = {}

    @initialize(counts=st.lists(st.integers(1, 5), min_size=1, max_size=4))
    def start(self, counts):
        for who, count in enumerate(counts):
            for _ in range(count):
                self.album.add(who)

    @rule(who=st.integers(0, 5), count=st.integers(1, 3))
    def add(self, who, count):
        for _ in range(count):
            self.album.add(who)
        self.fresh = False

    def pick(self, data):
        return data.draw(st.sampled_from(sorted(self.album.faces)))

    @precondition(lambda self: self.album.faces)
    @rule(data=st.data(), kind=st.sampled_from(["other", "new", "text", "none"]))
    def say_person(self, data, kind):
        number = self.pick(data)
        ids = sorted({f.attributes["person"] for f in self.album.faces.values()} - {"", "none"})
        value = {"new": "p0077", "text": "somebody", "none": "none"}.get(kind) or (
            data.draw(st.sampled_from(ids)) if ids else "p0005"
        )
        self._say(number, value)

    @precondition(lambda self: self.album.faces)
    @rule(data=st.data())
    def merge(self, data):
        ids = sorted({f.attributes["person"] for f in self.album.faces.values()} - {"", "none"})
        if len(ids) > 1:
            one, other = data.draw(st.permutations(ids))[:2]
            for number, face in self.album.faces.items():
                if face.attributes["person"] == other:
                    self._say(number, one)

    def _say(self, number, value):
        pushed = self.pushed.get(number, {}).get("person", "")
        self.album.say(number, person=value)
        self.not_person[number].discard(value)
        self.said.pop(number, None)
        if value != pushed:
            self.said[number] = value
        self.fresh = False

    @precondition(lambda self: self.pushed)
    @rule(data=st.data())
    def clear(self, data):
        number = self.pick(data)
        pushed = self.pushed.get(number, {}).get("person", "")
        if pushed and number not in self.said:
            self.album.say(number, person="")
            self.not_person[number].add(pushed)
            self.fresh = False

    @precondition(lambda self: self.album.faces)
    @rule(data=st.data(), name=st.sampled_from(["Ada", "Grace", "Mary"]))
    def type_name(self, data, name):
        number = self.pick(data)
        self.album.say(number, name=name)
        self.names.pop(number, None)
        if name != self.pushed.get(number, {}).get("name", ""):
            self.names[number] = name
        self.fresh = False

    @precondition(lambda self: len(self.album.faces) > 1)
    @rule(data=st.data())
    def delete(self, data):
        number = self.pick(data)
        del self.album.faces[number]
        for book in (self.said, self.names, self.not_person, self.pushed):
            book.pop(number, None)
        self.fresh = False

    @precondition(lambda self: self.album.faces)
    @rule(data=st.data(), by=st.integers(1, 9))
    def move(self, data, by):
        self.album.faces[self.pick(data)].x += by
        self.fresh = False

    @rule(lost=st.booleans())
    def run(self, lost):
        before = {n: dict(f.attributes) for n, f in self.album.faces.items()}
        plan = self.album.run(lost_state=lost)
        for face in plan.faces:
            mark = parse_mark(face.after["face_key"])
            number = face.ref.id
            if number not in self.said:
                self.pushed.setdefault(number, {})["person"] = face.after["person"]
            if number not in self.names and mark.name == (digest(face.after["name"]) if face.after["name"] else ""):
                self.pushed.setdefault(number, {})["name"] = face.after["name"]
        self.fresh = True
        self.before = before
        assert self.album.run(lost_state=lost).changed == (), "a run right after a push has nothing to write"

    @invariant()
    def what_people_said_holds(self):
        for number, value in self.said.items():
            assert self.album.person(number) == value
        for number, name in self.names.items():
            assert self.album.faces[number].attributes["name"] == name
        if not self.fresh:
            return
        for number, face in self.album.faces.items():
            if face.attributes["person"] == "none":
                assert self.said.get(number) == "none", "only a person says none"
        for number, people in self.not_person.items():
            assert self.album.person(number) not in people
        typed = defaultdict(set)
        for number, name in self.names.items():
            typed[self.album.person(number)].add(name)
        for number, face in self.album.faces.items():
            names = typed[face.attributes["person"]]
            if face.attributes["person"] in ("", "none") or number in self.names:
                continue
            if len(names) == 1:
                assert face.attributes["name"] in names or self.cleared_name(number)
            if len(names) > 1 and self.before.get(number, {}).get("person") == face.attributes["person"]:
                assert face.attributes["name"] == self.before[number]["name"], "two names are never guessed about"

    def cleared_name(self, number):
        mark = parse_mark(self.album.faces[number].attributes["face_key"])
        return bool(mark and mark.name and not self.album.faces[number].attributes["name"])


HISTORIES = int(os.environ.get("AUTO_ANNOTATOR_HISTORIES", "30"))
Histories.TestCase.settings = settings(max_examples=HISTORIES, stateful_step_count=12, deadline=None)
TestHistories = Histories.TestCase
