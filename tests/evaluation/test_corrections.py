"""The simulated annotator on cases that can be worked out by hand, and its bookkeeping against a fresh count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.evaluation.clustering import score
from auto_annotator.evaluation.corrections import FACES_PER_GESTURE, _Sheet, contingency, operations_to


def test_what_is_right_needs_nothing():
    done = operations_to([0, 0, 1, 2], [5, 5, 6, 7])
    assert (done.operations, done.bcubed_f) == (0, 1)


def test_a_person_in_two_pieces_is_one_merge():
    done = operations_to([0] * 50 + [1] * 40, [0] * 90)
    assert (done.operations, done.merges, done.splits, done.moves) == (1, 1, 0, 0)


def test_a_stranger_is_one_move_and_many_strangers_cost_by_the_row():
    assert operations_to([0, 0, 0], [1, 1, 2]).moves == 1
    done = operations_to([0] * 55, [1] * 30 + [2] * 25)
    assert (done.operations, done.splits) == (-(-25 // FACES_PER_GESTURE), 1)


def test_unknown_faces_come_home_by_merges():
    assert operations_to([0, 0, -1, -1], [1, 1, 1, 1], bcubed_f=1).merges == 2


def test_the_greatest_gain_comes_first_and_the_rest_is_left():
    labels, identity = [0] * 100 + [1] * 100 + [2, 3], [0] * 200 + [1, 1]
    done = operations_to(labels, identity, bcubed_f=0.98)
    assert done.operations == 1
    assert 0.98 <= done.bcubed_f < 1


partitions = st.integers(1, 40).flatmap(
    lambda n: st.tuples(st.lists(st.integers(-1, 5), min_size=n, max_size=n), st.lists(st.integers(0, 5), min_size=n, max_size=n))
)


@given(partitions)
def test_everything_can_be_repaired(case):
    done = operations_to(*case, bcubed_f=1 - 1e-9)
    assert done.bcubed_f == pytest.approx(1)
    assert done.operations >= done.merges + done.splits + done.moves


@given(partitions, st.integers(0, 30))
def test_gains_are_what_the_measure_says(case, steps):
    labels, identity = np.array(case[0]), np.array(case[1])
    sheet = _Sheet(contingency(labels, identity))
    assert sheet.f() == pytest.approx(score(labels, identity).bcubed_f)
    for _ in range(steps):
        open_ = [g for c, people in sheet.clusters.items() for p in people if (g := sheet.gesture(c, p))]
        if not open_:
            break
        before = sheet.f()
        sheet.apply(open_[0])
        assert sheet.f() - before == pytest.approx(open_[0].gain * open_[0].cost, abs=1e-9)
        assert all(sheet.main[c] == min(p, key=lambda k: (-p[k], k)) for c, p in sheet.clusters.items() if p)
        people = [person for people in sheet.clusters.values() for person, count in people.items() for _ in range(count)]
        clusters = [c for c, people in sheet.clusters.items() for count in people.values() for _ in range(count)]
        assert sheet.f() == pytest.approx(score(clusters, people).bcubed_f)
