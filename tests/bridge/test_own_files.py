"""Plans, backups and identities: written for the owner only, read back as they were, refused when they are something else."""

from __future__ import annotations

import json
import stat

import pytest

from auto_annotator.bridge.backup import read_backup
from auto_annotator.bridge.plan import FaceRef, Pair, Plan, PlannedFace, PlannedPerson, Suggestion, read_plan, write_plan
from auto_annotator.bridge.state import Identities, read_identities, write_identities
from auto_annotator.errors import ConfigError

SERVER = "http://cvat.test"


def ready_plan():
    ref = FaceRef(task=1, job=2, frame=3, kind="track", id=4, label=5, box=(1.5, 2.0, 30.25, 40.0), key="f0123456789abcdef")
    before, after = (
        {"person": "", "name": "", "face_key": ""},
        {"person": "p0001", "name": 'Ä "x"', "face_key": "f0123456789abcdef.p0001"},
    )
    face = PlannedFace(
        ref=ref, before=before, after=after, confidence=0.5, reasons=("blurred",), nearest="p0002", nearest_score=0.25
    )
    return Plan(
        server=SERVER,
        tasks=(1,),
        created="2026-01-01T00:00:00+00:00",
        model_set="fake",
        model_hash="00",
        threshold=0.5,
        faces=(face, face),
        people=(PlannedPerson(id="p0001", name="Ä", faces=1, aliases=("p0003",)),),
        pairs=(Pair(first="p0001", second="p0002", score=0.5, reason="look_alike"),),
        suggestions=(Suggestion(kind="two_names", person="p0001", text="?", names=("a", "b"), faces=("f0",)),),
        notes=("A note.",),
    )


@pytest.mark.parametrize("faces", [0, 1, 2])
def test_a_plan_comes_back_as_it_was_and_is_for_its_owner_only(tmp_path, faces):
    plan = ready_plan()
    plan = Plan(**{**{name: getattr(plan, name) for name in plan.__dataclass_fields__}, "faces": plan.faces[:faces]})
    path = tmp_path / "plan.json"
    path.write_text("old")
    path.chmod(0o644)
    write_plan(path, plan)
    assert read_plan(path) == plan
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "read", [read_plan, read_backup, lambda path: read_identities(path, SERVER)], ids=["plan", "backup", "identities"]
)
@pytest.mark.parametrize("content", ["", "no json", "[]", "null", "{}", '{"kind": "auto-annotator clusters", "version": 1}'])
def test_another_file_is_refused_with_what_to_do(tmp_path, read, content):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"other\.json: got .*; (`auto-annotator cvat (cluster|push)`|remove it)"):
        read(path)


@pytest.mark.parametrize("damage", [{"faces": [{}]}, {"threshold": "x"}, {"people": 3}, {"tasks": None}])
def test_a_damaged_plan_is_refused(tmp_path, damage):
    path = tmp_path / "plan.json"
    write_plan(path, ready_plan())
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(ConfigError, match="damaged"):
        read_plan(path)


def test_a_plan_that_is_not_there_says_what_writes_one(tmp_path):
    with pytest.raises(ConfigError, match="cvat cluster"):
        read_plan(tmp_path / "plan.json")


def test_identities_of_nobody_are_empty_and_those_of_another_server_are_refused(tmp_path):
    path = tmp_path / "plan.identities.json"
    assert read_identities(path, SERVER).registry.people == {}
    write_identities(path, Identities(server=SERVER, typed={"the man in red": "p0001"}, faces={1: {"f0": "p0001"}}, news="x"))
    again = read_identities(path, SERVER)
    assert (again.typed, again.faces, again.news) == ({"the man in red": "p0001"}, {1: {"f0": "p0001"}}, "x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(ConfigError, match="another CVAT server"):
        read_identities(path, "http://elsewhere.test")
