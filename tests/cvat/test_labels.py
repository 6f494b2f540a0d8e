"""The label schema and its renderings."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree

import pytest

from auto_annotator.cli import main
from auto_annotator.cvat import labels
from auto_annotator.cvat.label_rules import spec_problems
from auto_annotator.types import LANDMARK_NAMES


def test_names_are_the_decided_ones():
    face, points, error = labels.LABELS
    assert (face.name, face.type) == ("face", "rectangle")
    assert [a.name for a in face.attributes] == ["score", "votes", "review", "reasons", "quality", "person", "name", "face_key"]
    assert (points.name, points.type, points.points) == ("face_landmarks", "skeleton", LANDMARK_NAMES)
    assert (error.name, error.type, [a.name for a in error.attributes]) == ("face_error", "tag", ["reason"])


def test_number_attributes_are_whole_percents():
    numbers = [a for label in labels.LABELS for a in label.attributes if a.input_type == "number"]
    assert {a.name for a in numbers} == {"score", "quality"}
    assert all(a.values == ("0", "100", "1") and 0 <= int(a.default) <= 100 for a in numbers)


def test_what_names_a_person_does_not_change_along_a_track():
    assert {a.name for a in labels.label("face").attributes if not a.mutable} == {"person", "name", "face_key"}


def test_label_by_name():
    assert labels.label("face_error").id == 3
    with pytest.raises(KeyError, match="expected one of face, face_landmarks, face_error"):
        labels.label("nose")


def svg_elements(svg):
    return list(ElementTree.fromstring(f"<svg>{svg}</svg>"))


def test_the_svg_draws_five_named_points_and_their_edges():
    elements = svg_elements(labels.skeleton_svg())
    circles = [e.attrib for e in elements if e.tag == "circle"]
    lines = [e.attrib for e in elements if e.tag == "line"]
    assert [c["data-label-name"] for c in circles] == list(LANDMARK_NAMES)
    assert [c["data-node-id"] for c in circles] == [c["data-element-id"] for c in circles] == ["1", "2", "3", "4", "5"]
    assert {c["data-type"] for c in circles} == {"element node"} and {e["data-type"] for e in lines} == {"edge"}
    place = {c["data-node-id"]: (c["cx"], c["cy"]) for c in circles}
    for line in lines:
        assert (line["x1"], line["y1"]) == place[line["data-node-from"]]
        assert (line["x2"], line["y2"]) == place[line["data-node-to"]]
    assert {n for line in lines for n in (line["data-node-from"], line["data-node-to"])} == set(place), "no loose point"


def test_the_svg_shows_the_persons_right_eye_on_the_left():
    place = dict(zip(LANDMARK_NAMES, labels.LANDMARK_TEMPLATE, strict=True))
    assert place["right_eye"][0] < place["nose"][0] < place["left_eye"][0]
    assert place["mouth_right"][0] < place["mouth_left"][0]
    assert place["right_eye"][1] < place["nose"][1] < place["mouth_left"][1]


def test_the_nuclio_spec_follows_the_rules_of_cvat():
    assert list(spec_problems(json.dumps(labels.nuclio_spec()))) == []


def raw_editor_problems(entries):
    """What the Raw tab of CVAT's label constructor refuses, in words of our own."""
    for entry in entries:
        if not re.fullmatch(r"#[0-9a-fA-F]{6}", entry.get("color") or "#000000"):
            yield f"{entry['name']}: color"
        if not isinstance(entry.get("attributes"), list):
            yield f"{entry['name']}: attributes must be a list, empty or not"
        for a in entry.get("attributes") or []:
            values = a["values"]
            if not values or len({v.strip() for v in values}) < len(values) or not all(isinstance(v, str) for v in values):
                yield f"{a['name']}: values must be there and differ"
            if not isinstance(a["mutable"], bool) or not a["name"].strip():
                yield f"{a['name']}: mutable and name"
            if a["default_value"] and a["input_type"] == "checkbox" and a["default_value"] not in ("true", "false"):
                yield f"{a['name']}: default"
        if entry["type"] == "skeleton":
            if not entry["sublabels"] or not isinstance(entry["svg"], str):
                yield f"{entry['name']}: sublabels and svg"
            yield from raw_editor_problems(entry["sublabels"])


def test_the_printed_labels_are_taken_by_the_raw_editor(capsys):
    assert main(["labels"]) == 0
    text = capsys.readouterr().out
    entries = json.loads(text)
    assert list(raw_editor_problems(entries)) == []
    assert [e["name"] for e in entries] == ["face", "face_landmarks", "face_error"]
    # The editor deletes a comma before a closing brace from the pasted text, and every "id": number.
    assert not re.search(r",\s*}", text) and not re.search(r'"id":\s?[-\d]', text)


def test_all_renderings_agree():
    def shape(entries):
        return [
            (
                e["name"],
                e["type"],
                [(a["name"], str(a["input_type"]), list(a["values"])) for a in e.get("attributes", [])],
                [s["name"] for s in e.get("sublabels", [])],
                e.get("svg"),
            )
            for e in entries
        ]

    sdk = [label.to_dict() for label in labels.sdk_labels()]
    assert shape(labels.nuclio_spec()) == shape(labels.label_constructor()) == shape(sdk)


def test_the_sdk_takes_the_spec():
    from cvat_sdk.auto_annotation import DetectionFunctionSpec

    spec = DetectionFunctionSpec(labels=labels.sdk_labels())
    assert [label.id for label in spec.labels] == [label.id for label in labels.LABELS]
    assert [s.id for s in spec.labels[1].sublabels] == [1, 2, 3, 4, 5]
