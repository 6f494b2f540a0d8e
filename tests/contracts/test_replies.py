"""Random results, hostile ones too, through CVAT's acceptance rules and through the real driver of cvat-sdk."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from contract_fakes import random_detection
from cvat_rules import receive

from auto_annotator.cvat import labels, shapes

CASES = 1000


@pytest.fixture(scope="module")
def detections():
    rng = np.random.default_rng(20240611)
    return [random_detection(rng) for _ in range(CASES)]


@pytest.mark.parametrize("version", ["2.15", "2.54"])
def test_nothing_is_dropped_refused_or_crashes(detections, version):
    task = labels.label_constructor()
    stored = 0
    for detection in detections:
        items = shapes.reply(detection)
        verdict = receive(json.dumps(items, allow_nan=False), task, version=version)
        assert (verdict.dropped_items, verdict.dropped_attributes, verdict.tags) == ([], [], [])
        assert len(verdict.shapes) == len(items)
        stored += len(items)
    assert stored > CASES, "the cases hold real faces"


def test_every_value_is_text(detections):
    values = [a["value"] for d in detections for item in shapes.reply(d) for a in item["attributes"]]
    assert values and {type(v) for v in values} == {str}


def test_an_error_reply_lands():
    verdict = receive(json.dumps(shapes.error_reply("truncated")), labels.label_constructor())
    assert verdict.tags == [{"label": "face_error", "attributes": {"reason": "truncated"}}]
    long = receive(json.dumps(shapes.error_reply("x" * 9999)), labels.label_constructor())
    assert long.tags and not long.dropped_attributes


def task_labels():
    """The schema as the SDK reads it back from a server, with the server's own ids."""
    from cvat_sdk import models

    number = iter(range(1000, 2000))

    def attributes(entry):
        return [models.Attribute(**a, id=next(number)) for a in entry["attributes"]]

    def label(entry):
        kept = {k: entry[k] for k in ("name", "type", "svg") if k in entry}
        points = [
            models.Sublabel(name=s["name"], type="points", id=next(number), attributes=[]) for s in entry.get("sublabels", [])
        ]
        return models.Label(**kept, id=next(number), attributes=attributes(entry), sublabels=points)

    return [label(entry) for entry in labels.label_constructor()]


@pytest.fixture(scope="module")
def mapper():
    """The driver's own checks; `_AnnotationMapper` is private, but it is the code that `annotate_task` runs."""
    from cvat_sdk.auto_annotation import DetectionFunctionSpec
    from cvat_sdk.auto_annotation.driver import _AnnotationMapper

    spec = DetectionFunctionSpec(labels=labels.sdk_labels())
    return _AnnotationMapper(
        logging.getLogger("test"), spec.labels, task_labels(), allow_unmatched_labels=False, conv_mask_to_poly=False
    )


def test_the_sdk_driver_takes_every_result(detections, mapper):
    stored = 0
    for detection in detections:
        tags, taken = mapper.validate_and_remap(shapes.sdk_annotations(detection), 7)
        assert tags == []
        assert all(s.frame == 7 and s.group >= 1 and 0 <= s.score <= 1 for s in taken)
        stored += len(taken)
    assert stored == sum(len(shapes.reply(d)) for d in detections)


def test_the_sdk_driver_takes_the_error_tag(mapper):
    tags, taken = mapper.validate_and_remap(shapes.sdk_error("broken"), 0)
    assert [t.attributes[0].value for t in tags] == ["broken"] and taken == []


def test_the_sdk_driver_refuses_what_we_never_send(mapper):
    """The check bites: a score that is no whole percent is an error there, and four points of five too."""
    from cvat_sdk.auto_annotation import BadFunctionError

    rng = np.random.default_rng(5)
    good = next(a for d in iter(lambda: random_detection(rng, hostile=False), None) if len(a := shapes.sdk_annotations(d)) > 1)
    good[0].attributes[0].value = "0.93"
    with pytest.raises(BadFunctionError):
        mapper.validate_and_remap(good, 0)
