"""An ensemble against the best member of each size and attribute."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from detection_oracle import labelled

from auto_annotator.evaluation.bootstrap import Interval
from auto_annotator.evaluation.comparison import compare
from auto_annotator.evaluation.labels import size_names
from auto_annotator.evaluation.subsets import FEW, ONCE, VIEWS, Gain, Subset, worst
from auto_annotator.evaluation.systems import System
from auto_annotator.evaluation.tables import markdown
from auto_annotator.reports.evaluation_page import tables, write_evaluation_page
from auto_annotator.types import Faces

SMALL, LARGE, FALSE = [0, 0, 10, 10], [100, 0, 180, 80], [300, 0, 380, 80]
TINY, HUGE = (f"size: {name}" for name in (size_names()[0], size_names()[-1]))


@pytest.fixture
def results():
    """Two pictures, each a small blurred face and a large clear one; one member sees the small ones, the other the large ones."""
    pictures = [labelled([SMALL, LARGE], attributes={"blur": np.array([2, 0])}) for _ in range(2)]
    small, large = Faces.of([SMALL], [0.9]), Faces.of([LARGE], [0.9])
    both = Faces.of([FALSE, SMALL, LARGE], [0.95, 0.9, 0.8])
    found = [
        System(name="a, one look", kind="member", faces=[small, small]),
        System(name="b, one look", kind="member", faces=[large, large]),
        System(name="b, all views", kind="member", faces=[both, large]),
        System(name="NMS, raw scores", kind="rule", faces=[both, both]),
        System(name="ours", kind="ensemble", faces=[both, large], threshold=0.5),
    ]
    return compare(found, pictures)


def test_each_subset_has_its_own_best_member(results):
    subsets = results[-1].subsets
    assert [s.against[ONCE].system for s in (subsets[TINY], subsets[HUGE])] == ["a, one look", "b, one look"]
    assert (subsets[TINY].faces, subsets[TINY].ap) == (2, 0.5)
    assert subsets[TINY].against[ONCE].difference.value == pytest.approx(-0.5)
    assert subsets["blur: clear"].faces == 2
    assert not any(r.subsets for r in results[:-1])


def test_a_false_box_counts_in_its_own_size_and_in_every_attribute(results):
    subsets = results[-1].subsets
    # Down to .8 both large faces are found, with one false box above them.
    assert subsets[HUGE].ap == pytest.approx(2 / 3)
    assert subsets["blur: clear"].ap == pytest.approx(2 / 3)
    assert subsets["blur: heavy"].ap == pytest.approx(0.25)  # a small face below a false box of another size
    assert subsets[TINY].ap == pytest.approx(0.5)  # in its own size nothing is false


def test_draws_are_paired(results):
    gap = results[-1].subsets[HUGE].against[VIEWS]
    assert gap.system == "b, all views"
    assert (gap.difference.value, gap.difference.low, gap.difference.high) == (0, 0, 0)
    spread = results[-1].subsets[TINY].against[ONCE].difference
    assert spread.low == -1
    assert spread.high == 0


def test_the_worst_subset_has_enough_faces():
    def subset(faces, value):
        gain = Gain(system="a, one look", ap=0.5, difference=Interval(value=value, low=value, high=value))
        return Subset(faces=faces, ap=0.5, against={ONCE: gain})

    subsets = {"few": subset(FEW - 1, -0.5), "enough": subset(FEW, 0.1), "more": subset(100, 0.2)}
    assert worst(subsets) == "enough"
    assert worst(subsets, VIEWS) is None
    assert worst({}) is None


def test_tables_and_page(results, tmp_path):
    text = markdown(results, title="t", protocol=[])
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {TINY} | 2 | 0.500 | 1.000 (a)")]
    assert "-50.0 [-100.0, +0.0]" in row
    report = {"title": "t", "protocol": [], "systems": json.loads(json.dumps([r.as_json() for r in results], allow_nan=False))}
    (table,) = [t for t in tables(report["systems"]) if t.title.startswith("ours:")]
    assert table.rows[0][:5] == (TINY, "2", "0.500", "1.000", "-50.0 [-100.0, +0.0]")
    write_evaluation_page(report, tmp_path / "page.html")
    assert "against the best member there" in (tmp_path / "page.html").read_text()


def test_without_members_there_is_nothing_to_compare_with():
    pictures = [labelled([LARGE])]
    (ours,) = compare([System(name="ours", kind="ensemble", faces=[Faces.of([LARGE], [0.9])], threshold=0.5)], pictures)
    assert ours.subsets[HUGE].against == {}
    assert "Where ours gains" not in markdown([ours], title="t", protocol=[])
