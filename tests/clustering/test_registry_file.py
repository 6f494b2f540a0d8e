"""The registry as JSON: what was written is read back, and what contradicts itself is refused."""

import copy
import json

import pytest

from auto_annotator.clustering.identity import assign_people
from auto_annotator.clustering.registry import Registry, person_id
from auto_annotator.errors import ConfigError


@pytest.fixture
def written():
    registry = assign_people(Registry.empty(), list("abcde"), [0, 0, 0, 1, 1], names={"a": "Ann"}).registry
    return assign_people(registry, list("abcde"), [0] * 5).registry.to_json()


def test_it_comes_back_equal(written):
    read = Registry.from_json(json.loads(json.dumps(written)))
    assert read.to_json() == written
    assert read.resolve("p0002") == "p0001"
    assert Registry.from_json(Registry.empty().to_json()).to_json() == Registry.empty().to_json()


def test_ids_grow_past_four_digits():
    assert (person_id(42), person_id(12345)) == ("p0042", "p12345")


def change(data, *path, to):
    data = copy.deepcopy(data)
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    return data


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (["version"], 2, "got version 2, expected 1"),
        (["run"], -1, r"registry.run: got -1, expected a whole number"),
        (["next_number"], "3", r"registry.next_number: got '3'"),
        (["next_number"], 2, "got id p0002 and next_number 2, expected a greater one"),
        (["people"], {}, r"registry.people: got dict, expected list"),
        (["people", 0, "id"], "q1", "got id 'q1', expected p and a number"),
        (["people", 0, "id"], "p00001", "got id 'p00001', expected p and a number"),
        (["people", 0, "id"], "p0002", "got an id twice"),
        (["people", 0, "id"], 7, "is no text"),
        (["people", 0], {"who": 1}, "an entry that does not fit"),
        (["people", 0, "alias_of"], "p0009", "got p0001 as alias of 'p0009'"),
        (["people", 0, "alias_of"], "p0002", "got p0001 as alias of itself through others"),
        (["faces", "a"], "p0009", "got the person 'p0009'"),
        (["faces"], [], "registry.faces: got list, expected dict"),
        (["events", 0, "kind"], "born", "got kind 'born', expected one of created"),
        (["events", 0], {}, "an entry that does not fit"),
    ],
)
def test_what_is_wrong_is_refused(written, path, to, message):
    with pytest.raises(ConfigError, match=message):
        Registry.from_json(change(written, *path, to=to))


@pytest.mark.parametrize("data", [{}, [], None])
def test_what_is_no_registry_is_refused(data):
    with pytest.raises(ConfigError, match="got version None, expected 1"):
        Registry.from_json(data)
