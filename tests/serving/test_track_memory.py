"""What face-tracker remembers, and for how long."""

from __future__ import annotations

import numpy as np

from auto_annotator.serving.track_memory import Person, TrackMemory


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def person(value: float = 1.0) -> Person:
    return Person(anchor=np.float32([value]), template=np.float32([value]))


def test_a_key_is_random_and_short_and_somebody_is_found_by_it():
    memory = TrackMemory(10, 10)
    one = person()
    keys = {memory.new_key() for _ in range(1000)}
    assert len(keys) == 1000 and all(20 < len(k) <= 64 for k in keys)
    memory.put("a", one)
    assert memory.get("a") is one and memory.get("b") is None


def test_the_least_recently_used_goes_first():
    memory = TrackMemory(3, 1000)
    for key in "abc":
        memory.put(key, person())
    assert memory.get("a")
    memory.put("d", person())
    assert len(memory) == 3 and memory.get("b") is None and all(memory.get(k) for k in "acd")


def test_after_the_time_somebody_is_forgotten_and_use_prolongs_it():
    clock = Clock()
    memory = TrackMemory(10, 100, clock)
    memory.put("a", person())
    memory.put("b", person())
    clock.now = 60
    assert memory.get("a")
    clock.now = 120
    assert memory.get("b") is None and memory.get("a"), "b was used 120 s ago, a 60 s ago"
    clock.now = 500
    memory.put("c", person())
    assert len(memory) == 1, "the expired ones hold no memory"


def test_a_key_is_overwritten_and_counts_as_used():
    clock = Clock()
    memory = TrackMemory(2, 100, clock)
    memory.put("a", person(1))
    clock.now = 90
    memory.put("a", person(2))
    clock.now = 180
    assert memory.get("a").anchor[0] == 2
