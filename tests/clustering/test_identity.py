"""Ids over runs: never reused, never lost, the same whatever the order of faces and the numbers of labels."""

import json
import random
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auto_annotator.clustering.identity import MERGE_SHARE, Registry, assign_people
from auto_annotator.clustering.registry import age
from auto_annotator.errors import ConfigError


def run(registry, text, **options):
    """One run over faces written as `abc de -f`: clusters of one-letter faces, `-` before faces of label -1."""
    keys, labels = [], []
    for number, word in enumerate(text.split()):
        faces = word.lstrip("-")
        keys += faces
        labels += [-1 if word.startswith("-") else number] * len(faces)
    result = assign_people(registry, keys, labels, **options)
    return result.registry, dict(zip(keys, result.people, strict=True)), result


def kinds(result):
    return [(event.kind, event.person, event.others) for event in result.events]


def test_new_people_get_ids_by_size():
    registry, people, result = run(Registry.empty(), "ab cdef -g")
    assert people == {"a": "p0002", "b": "p0002", "c": "p0001", "d": "p0001", "e": "p0001", "f": "p0001", "g": ""}
    assert kinds(result) == [("created", "p0001", ()), ("created", "p0002", ())]
    assert (registry.run, registry.next_number) == (1, 3)


def test_the_same_faces_keep_their_ids_under_other_labels():
    registry, before, _ = run(Registry.empty(), "ab cdef -g")
    _, after, result = run(registry, "-g fedc ba")
    assert after == before
    assert result.events == ()


def test_new_faces_join_and_new_people_get_new_ids():
    registry, _, _ = run(Registry.empty(), "ab cdef")
    _, people, result = run(registry, "abx cdefy zw")
    assert (people["x"], people["y"], people["z"]) == ("p0002", "p0001", "p0003")
    assert kinds(result) == [("created", "p0003", ())]


def test_a_merge_keeps_the_older_id_and_the_other_leads_to_it():
    registry, _, _ = run(Registry.empty(), "abcd efg")
    registry, _, _ = run(registry, "abcd efgxyz")  # the younger has grown larger
    registry, people, result = run(registry, "abcdefgxyz")
    assert set(people.values()) == {"p0001"}
    assert kinds(result) == [("merged", "p0001", ("p0002",))]
    assert registry.resolve("p0002") == "p0001"


def test_a_stray_face_does_not_give_a_crowd_another_id():
    crowd = "bcdefghijklm"
    registry, _, _ = run(Registry.empty(), "a")
    registry, _, _ = run(registry, f"a {crowd}")
    assert len(crowd) * MERGE_SHARE > 1
    registry, people, _ = run(registry, f"a{crowd}")
    assert set(people.values()) == {"p0002"}
    assert registry.resolve("p0001") == "p0002"


def test_chains_of_merges_lead_to_the_end():
    registry, _, _ = run(Registry.empty(), "abcd efg hi")
    registry, _, _ = run(registry, "abcd efghi")
    registry, people, _ = run(registry, "abcdefghi")
    assert [registry.resolve(f"p000{i}") for i in (1, 2, 3)] == ["p0001"] * 3
    assert registry.people["p0003"].alias_of == "p0002"
    assert set(people.values()) == {"p0001"}


def test_a_split_keeps_the_id_on_the_larger_part():
    registry, _, _ = run(Registry.empty(), "abcde")
    _, people, result = run(registry, "ab cde")
    assert (people["c"], people["a"]) == ("p0001", "p0002")
    assert kinds(result) == [("created", "p0002", ()), ("split", "p0001", ("p0002",))]


def test_a_split_keeps_the_id_on_the_confirmed_part():
    registry, _, _ = run(Registry.empty(), "abcde")
    _, people, _ = run(registry, "ab cde", confirmed={"a": "p0001"})
    assert (people["a"], people["b"], people["c"]) == ("p0001", "p0001", "p0002")


def test_equal_parts_go_to_the_surer_then_to_the_first_key():
    registry, _, _ = run(Registry.empty(), "abcd")
    _, people, _ = run(registry, "ab cd")
    assert people["a"] == "p0001"
    _, people, _ = run(registry, "ab cd", confidence=[0.1, 0.2, 0.3, 0.3])
    assert people["c"] == "p0001"


def test_a_confirmed_cluster_wins_against_a_larger_overlap():
    registry, _, _ = run(Registry.empty(), "abcd ef")
    _, people, _ = run(registry, "abcde f", confirmed={"e": "p0002"})
    assert people == dict.fromkeys("abcde", "p0002") | {"f": "p0003"}


def test_a_human_word_on_a_face_holds_whatever_the_clustering_says():
    registry, _, _ = run(Registry.empty(), "abcd efg")
    _, people, _ = run(registry, "abcdefg", confirmed={"a": "p0001", "b": "p0001", "e": "p0002"})
    assert (people["e"], people["f"], people["c"]) == ("p0002", "p0001", "p0001")
    _, people, _ = run(registry, "bcd efg -a", confirmed={"a": "p0002"})
    assert people["a"] == "p0002"


def test_a_person_confirmed_in_two_clusters_has_both():
    registry, _, _ = run(Registry.empty(), "abcd")
    _, people, _ = run(registry, "ab cd", confirmed={"a": "p0001", "c": "p0001"})
    assert set(people.values()) == {"p0001"}


def test_a_confirmed_alias_counts_as_what_it_leads_to():
    registry, _, _ = run(Registry.empty(), "abcd efg")
    registry, _, _ = run(registry, "abcdefg")
    _, people, _ = run(registry, "abcdefg xy", confirmed={"x": "p0002"})
    assert people["y"] == "p0001"


def test_an_id_that_nobody_had_is_refused():
    with pytest.raises(ConfigError, match="got 'p0009', expected an id of the registry; its highest is p0001"):
        run(run(Registry.empty(), "ab")[0], "ab", confirmed={"a": "p0009"})


def test_names_follow_people():
    registry, _, result = run(Registry.empty(), "ab cd", names={"c": "Ann"})
    assert registry.people["p0002"].name == "Ann"
    assert ("named", "p0002", ()) in kinds(result)
    registry, people, _ = run(registry, "ab cdefgh")
    registry, people, _ = run(registry, "abcdefgh")  # merged into the older id
    assert set(people.values()) == {"p0001"}
    assert registry.people["p0001"].name == "Ann"


def test_two_names_in_one_cluster_are_a_question_and_nobody_loses_theirs():
    registry, _, _ = run(Registry.empty(), "abc de", names={"a": "Ann", "d": "Bob"})
    registry, people, result = run(registry, "abcdex")
    (conflict,) = result.name_conflicts
    assert (conflict.person, conflict.others, conflict.names) == ("p0001", ("p0002",), ("Ann", "Bob"))
    assert (people["d"], people["e"], people["x"]) == ("p0002", "p0002", "p0001")
    registry, people, result = run(registry, "abcx de")
    assert (people["d"], registry.people["p0002"].name, result.name_conflicts) == ("p0002", "Bob", ())


def test_names_said_of_faces_that_contradict_are_not_guessed_about():
    registry, _, result = run(Registry.empty(), "ab", names={"a": "Ann", "b": "Bob"})
    assert registry.people["p0001"].name == ""
    assert result.name_conflicts[0].names == ("Ann", "Bob")
    registry = registry.renamed("p0001", "Ann")
    registry, _, result = run(registry, "ab", names={"b": "Bob"})
    assert registry.people["p0001"].name == "Ann"
    assert result.name_conflicts[0].names == ("Ann", "Bob")


def test_the_same_name_twice_is_no_contradiction():
    registry, _, _ = run(Registry.empty(), "abc de", names={"a": "Ann", "d": "Ann"})
    registry, people, result = run(registry, "abcde")
    assert set(people.values()) == {"p0001"}
    assert result.name_conflicts == ()


def test_who_is_gone_is_retired_once_and_comes_back():
    registry, _, _ = run(Registry.empty(), "abc de", names={"d": "Bob"})
    registry, people, result = run(registry, "abc -de")
    assert kinds(result) == [("retired", "p0002", ())]
    registry, _, result = run(registry, "abc -de")
    assert result.events == ()
    registry, people, result = run(registry, "abc de")
    assert (people["d"], registry.people["p0002"].name) == ("p0002", "Bob")


def test_faces_that_are_not_in_this_run_are_remembered():
    registry, _, _ = run(Registry.empty(), "abc de")
    registry, _, result = run(registry, "abc")
    assert result.events == ()
    _, people, _ = run(registry, "abc de")
    assert people["d"] == "p0002"


def test_a_part_of_somebody_is_too_little_for_a_merge():
    registry, _, _ = run(Registry.empty(), "abcdef ghi")
    registry, people, _ = run(registry, "abcdefg")  # h and i are not in this run
    assert people["g"] == "p0001"
    assert registry.resolve("p0002") == "p0002"


def test_columns_must_agree():
    for keys, labels in (["ab", [0]], ["aa", [0, 0]]):
        with pytest.raises(ValueError, match="no key twice"):
            assign_people(Registry.empty(), list(keys), labels)
    assert assign_people(Registry.empty(), [], []).people == ()


def test_a_name_can_be_changed_by_id():
    registry, _, _ = run(Registry.empty(), "ab")
    registry = registry.renamed("p0001", "Ann")
    assert registry.people["p0001"].name == "Ann"
    assert registry.events[-1].kind == "named"
    assert registry.renamed("p0001", "Ann") is registry
    with pytest.raises(ConfigError, match="got 'p0007'"):
        registry.renamed("p0007", "Bob")


KEYS = [f"picture {number}.jpg#{number % 3}" for number in range(14)]
run_inputs = st.lists(
    st.tuples(
        st.lists(st.integers(-1, 5), min_size=len(KEYS), max_size=len(KEYS)),
        st.sets(st.sampled_from(KEYS), min_size=1),
        st.dictionaries(st.sampled_from(KEYS), st.integers(0, 40), max_size=3),
        st.dictionaries(st.sampled_from(KEYS), st.sampled_from(["Ann", "Bob", "Cy"]), max_size=2),
    ),
    min_size=1,
    max_size=6,
)


def replay(inputs, *, shuffled=None):
    """All runs; human words pick from the ids that exist. Yields registry before, arguments, result."""
    registry = Registry.empty()
    for labels, present, picks, names in inputs:
        rows = [row for row, key in enumerate(KEYS) if key in present]
        known = sorted(registry.people)
        confirmed = {key: known[pick % len(known)] for key, pick in picks.items() if known}
        if shuffled is not None:
            shuffled.shuffle(rows)
            offset = shuffled.randint(0, 99)
            labels = [label if label < 0 else offset - 7 * label + 50 for label in labels]
        keys, numbers = [KEYS[row] for row in rows], [labels[row] for row in rows]
        result = assign_people(registry, keys, numbers, confirmed=confirmed, names=names)
        yield registry, (keys, numbers, confirmed, names), result
        registry = Registry.from_json(json.loads(json.dumps(result.registry.to_json())))


@settings(max_examples=300, deadline=None)
@given(run_inputs)
def test_what_holds_for_every_history(inputs):
    for before, (keys, labels, confirmed, _), result in replay(inputs):
        after = result.registry
        new = set(after.people) - set(before.people)
        assert set(before.people) <= set(after.people)  # nobody is forgotten
        assert all(age(person) >= before.next_number for person in new)  # ids are never reused
        assert after.next_number == before.next_number + len(new)
        for key, label, person in zip(keys, labels, result.people, strict=True):
            if key in confirmed:
                assert person == before.resolve(confirmed[key])
            else:
                assert bool(person) == (label >= 0)
            assert not person or not after.people[person].alias_of  # faces have ids that stand for themselves
        for person in before.people.values():  # names are never lost or changed by themselves
            if person.name and not person.alias_of:
                assert after.people[after.resolve(person.id)].name == person.name
        assert {event.run for event in result.events} <= {after.run}
        assert after.events[: len(before.events)] == before.events


@settings(max_examples=200, deadline=None)
@given(run_inputs, st.integers(0, 1000))
def test_order_of_faces_and_numbers_of_labels_do_not_matter(inputs, seed):
    plain = replay(inputs)
    for (_, (keys, *_), one), (_, (other_keys, *_), two) in zip(plain, replay(inputs, shuffled=random.Random(seed)), strict=True):
        assert dict(zip(keys, one.people, strict=True)) == dict(zip(other_keys, two.people, strict=True))
        assert one.events == two.events
        assert one.name_conflicts == two.name_conflicts
        assert dict(one.registry.people) == dict(two.registry.people)


@settings(max_examples=100, deadline=None)
@given(run_inputs)
def test_a_run_that_repeats_changes_nothing(inputs):
    *_, (_, (keys, labels, *_), last) = replay([(*first, {}, {}) for first in (row[:2] for row in inputs)])
    again = assign_people(last.registry, keys, labels)
    assert again.people == last.people
    assert not [event for event in again.events if event.kind in ("created", "merged", "split")]


@pytest.mark.slow
def test_two_hundred_thousand_faces_take_seconds():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 30_000, 200_000)
    keys = [f"face {number}" for number in range(len(labels))]
    start = time.perf_counter()
    registry = assign_people(Registry.empty(), keys, labels).registry
    assign_people(registry, keys, np.where(rng.random(len(labels)) < 0.02, rng.integers(0, 30_000, len(labels)), labels))
    assert time.perf_counter() - start < 20
