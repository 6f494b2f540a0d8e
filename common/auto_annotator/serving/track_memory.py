"""What face-tracker remembers of the people it follows: vectors that stay in this process, for a while, and a bounded number."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from auto_annotator.types import Float32Array

KEY_BYTES = 16
"""Random bytes of a key: nobody guesses one of another caller."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Person:
    """Somebody who is followed.

    Attributes:
        anchor: (d,) float32 unit vector of the face that a human pointed at.
        template: (d,) float32 unit vector that follows the person's look.
    """

    anchor: Float32Array
    template: Float32Array


class TrackMemory:
    """People by opaque keys, the least recently used forgotten first, and each after a time in which nobody asked.

    Args:
        most: how many are remembered at once.
        seconds: how long one is remembered after the last use.
        clock: seconds that never go back.
    """

    def __init__(self, most: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._seconds, self._clock = most, seconds, clock
        self._people: OrderedDict[str, tuple[float, Person]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._people)

    def new_key(self) -> str:
        """A key that nobody has; it means nothing by itself."""
        return secrets.token_urlsafe(KEY_BYTES)

    def put(self, key: str, person: Person) -> None:
        """Remember somebody under a key, in place of whom it stood for."""
        with self._lock:
            self._people[key] = (self._clock(), person)
            self._people.move_to_end(key)
            self._forget()

    def get(self, key: str) -> Person | None:
        """Who a key stands for; None = never known here, or forgotten. Asking counts as use."""
        with self._lock:
            self._forget()
            if key not in self._people:
                return None
            _, person = self._people[key]
            self._people[key] = (self._clock(), person)
            self._people.move_to_end(key)
            return person

    def _forget(self) -> None:
        """The first ones were used longest ago, so the expired ones stand in front."""
        while self._people:
            used, _ = next(iter(self._people.values()))
            if len(self._people) <= self._most and self._clock() - used < self._seconds:
                return
            self._people.popitem(last=False)
