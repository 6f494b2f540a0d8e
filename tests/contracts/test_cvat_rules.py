"""The test-side copy of CVAT's acceptance rules, row by row: a rule that does not bite protects nothing."""

from __future__ import annotations

import json

import pytest
from cvat_rules import Crashed, Refused, list_functions, receive

TASK = [
    {
        "name": "face",
        "type": "rectangle",
        "attributes": [
            {"name": "score", "input_type": "number", "values": ["0", "100", "1"]},
            {"name": "broken", "input_type": "number", "values": ["0", "1", "0.1"]},
            {"name": "sex", "input_type": "select", "values": ["male", "female"]},
            {"name": "review", "input_type": "checkbox", "values": ["false"]},
            {"name": "note", "input_type": "text", "values": [""]},
        ],
    },
    {
        "name": "points",
        "type": "skeleton",
        "attributes": [],
        "sublabels": [{"name": n, "type": "points", "attributes": []} for n in ("a", "b", "c")],
    },
    {"name": "bad", "type": "tag", "attributes": [{"name": "reason", "input_type": "text", "values": [""]}]},
]


def box(**changes):
    return {"label": "face", "type": "rectangle", "points": [1, 2, 3, 4]} | changes


def element(name, outside=False):
    return {"label": name, "type": "points", "points": [1, 2], "outside": outside, "attributes": []}


def skeleton(*elements, **changes):
    return {"label": "points", "type": "skeleton", "elements": list(elements)} | changes


def with_value(name, value, version="2.54"):
    return receive(json.dumps([box(attributes=[{"name": name, "value": value}])]), TASK, version=version)


def test_a_good_answer_lands_completely():
    tag = {"label": "bad", "type": "tag", "attributes": [{"name": "reason", "value": "x"}]}
    items = [box(group_id=1), skeleton(element("c"), element("a"), element("b", True), group_id=1), tag]
    verdict = receive(json.dumps(items), TASK)
    assert (len(verdict.shapes), len(verdict.tags), verdict.dropped_items, verdict.dropped_attributes) == (2, 1, [], [])
    assert [e["label"] for e in verdict.shapes[1]["elements"]] == ["a", "b", "c"], "stored in the task's order"


@pytest.mark.parametrize("body", ["{}", "null", "not json", '[{"type": "tag"}]', '[{"label": "face"}]'])
def test_crashes_of_the_body(body):
    with pytest.raises(Crashed):
        receive(body, TASK)


@pytest.mark.parametrize(
    "item",
    [
        box(points=[1, 2, float("nan"), 4]),
        box(points=[1, 2, float("inf"), 4]),
        box(attributes={"score": "1"}),
        box(attributes=None),
        box(attributes=[{"name": "score"}]),
        box(attributes=[{"name": "score", "value": None}]),
        box(attributes=[{"name": "broken", "value": "1"}]),
        box(attributes=[{"name": "sex", "value": 1}]),
        box(elements=[]),
        skeleton() | {"elements": [{"label": "a", "points": [1, 2]}]},
        {"label": "points", "type": "skeleton"},
        skeleton(element("a"), label="face"),
    ],
)
def test_crashes_of_an_item(item):
    with pytest.raises(Crashed):
        receive(json.dumps([item]), TASK)


@pytest.mark.parametrize(
    "item",
    [
        box(type="Rectangle"),
        box(type="box"),
        box(points=[1, 2, 3]),
        box(points=["1", "2", "3", "4"]),
        box(points=[[1, 2], [3, 4]]),
        box(points=None),
        box(rotation=400),
        box(group_id=-1),
        box(group_id="1"),
        box(group_id=1.5),
        box(attributes=[{"name": "note", "value": "x" * 4097}]),
    ],
)
def test_refusals(item):
    with pytest.raises(Refused):
        receive(json.dumps([item]), TASK)


@pytest.mark.parametrize(
    ("name", "value"),
    [("score", v) for v in ("0.93", "93.0", "9e1", "", "-1", "101", 93, 0.93, True)]
    + [("sex", "ale"), ("sex", ""), ("sex", "other")]
    + [("review", v) for v in ("True", True, 1, None)]
    + [("note", 1), ("note", None), ("unknown", "1")],
)
def test_values_that_vanish_or_surprise(name, value):
    assert len(with_value(name, value).dropped_attributes) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("score", "0"), ("score", "93"), ("score", "100"), ("sex", "male"), ("review", "true"), ("note", ""), ("note", "x" * 4096)],
)
def test_values_that_are_stored(name, value):
    verdict = with_value(name, value)
    assert verdict.dropped_attributes == [] and verdict.shapes[0]["attributes"] == {name: value}


def test_a_number_that_is_no_text_crashes_the_old_server():
    with pytest.raises(Crashed):
        with_value("score", 93, version="2.15")
    assert with_value("score", "0.93", version="2.15").dropped_attributes


def test_items_that_vanish():
    items = [
        box(label="nobody"),
        skeleton(),
        skeleton(element("a", True), element("b", True)),
        skeleton(element("x"), element("a")),
    ]
    verdict = receive(json.dumps(items), TASK)
    assert len(verdict.shapes) == 1 and len(verdict.dropped_items) == 6


GOOD = {
    "metadata": {"name": "f", "annotations": {"type": "detector", "spec": json.dumps([{"name": "face"}])}},
    "spec": {"description": "d"},
    "status": {},
}


def function(**annotations):
    return GOOD | {"metadata": {"name": "g", "annotations": GOOD["metadata"]["annotations"] | annotations}}


@pytest.mark.parametrize(
    "bad",
    [
        function(spec="[{},]"),
        function(spec=json.dumps([{"name": "a", "attributes": [{"name": "x", "input_type": "text"}]}])),
        function(spec=json.dumps([{"name": "a", "type": "skeleton", "sublabels": []}])),
        function(version="1.0"),
        GOOD | {"spec": {}},
        GOOD | {"metadata": {"name": "g"}},
        {k: v for k, v in GOOD.items() if k != "status"},
    ],
)
def test_metadata_that_breaks_the_list_for_all(bad):
    with pytest.raises(Crashed):
        list_functions([GOOD, bad])


@pytest.mark.parametrize("bad", [function(type="Detector"), function(spec=json.dumps([{"name": "a"}, {"name": "a"}]))])
def test_metadata_that_is_left_out_since_218(bad):
    assert [f["id"] for f in list_functions([GOOD, bad])] == ["f"]
    with pytest.raises(Crashed):
        list_functions([GOOD, bad], version="2.15")
