"""The same person in the next picture: faces near the last box, compared by descriptor and by motion.

Every followed person is matched with every face in reach at once, so that two people who cross do not take each other's face.
A person who is not near the last box is looked for in the whole picture, there by the descriptor alone. A person who is not
found is lost, and stays known: the next picture is searched again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.geometry import box_sides, iou_matrix
from auto_annotator.serving.descriptor import Description
from auto_annotator.serving.requests import Pipeline
from auto_annotator.serving.search import Search
from auto_annotator.serving.track_memory import Person, TrackMemory
from auto_annotator.types import Descriptors, Faces, Float32Array, Image

Boxes = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingSettings:
    """How looks and motion are weighed against each other. A pair of person and face is possible from a sum of 0.

    Attributes:
        same: cosine at which two faces are as likely one person as two; the model set's own where it has one.
        step: cosine that counts as much as standing still counts in favour.
        certain: looks from which motion is not asked, in steps above `same`.
        strange: looks may count against a face at most so much, in steps.
        reach: distance of the centres, in sides of the last box, at which motion counts neither way.
        growth: logarithm of the ratio of the sides at which motion counts neither way.
        start_iou: overlap from which a detected face is the one that a human pointed at.
        learn: looks from which the template learns, in steps above `same`.
        learn_quality: quality from which it does.
        rate: share of the new face in the template; small, so that a mistake does not carry it away.
    """

    same: float = 0.36
    step: float = 0.1
    certain: float = 1.0
    strange: float = 4.0
    reach: float = 0.7
    growth: float = 0.5
    start_iou: float = 0.3
    learn: float = 1.5
    learn_quality: float = 0.3
    rate: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Somebody to follow: where the person was last (x1 y1 x2 y2 in pixels of the picture now), and the key from then."""

    box: tuple[float, float, float, float]
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """Where somebody is.

    Attributes:
        box: x1 y1 x2 y2 in pixels; of a person who is lost the last one.
        key: what the memory knows the person by.
        lost: whether the person was not found in this picture.
        anew: whether the memory had forgotten the person, so that the face nearest to the last box was taken.
    """

    box: tuple[float, float, float, float]
    key: str
    lost: bool = False
    anew: bool = False


class FaceTracking:
    """Follows people from picture to picture.

    Args:
        detection: finds faces.
        description: describes them.
        memory: of people.
        settings: how to weigh.
    """

    def __init__(
        self, detection: Pipeline, description: Description, memory: TrackMemory, settings: TrackingSettings | None = None
    ) -> None:
        self._search, self._description, self.memory = Search(detection), description, memory
        measured = {} if description.threshold is None else {"same": description.threshold}
        self._settings = settings or TrackingSettings(**measured)

    def start(self, image: Image, boxes: Sequence[tuple[float, float, float, float]]) -> list[Followed]:
        """Remember who is in the boxes that a human drew; the boxes are left as they are.

        A box without a detected face is described as it is, without landmarks.
        """
        wanted = np.array(boxes, np.float32).reshape(-1, 4)
        faces = self._search.near(image, wanted)
        overlap = iou_matrix(wanted, faces.boxes)
        chosen = _assign(np.where(overlap >= self._settings.start_iou, overlap, 0.0))
        shown = Faces.concat([faces.select([c]) if c >= 0 else Faces.of(wanted[i : i + 1], [0.0]) for i, c in enumerate(chosen)])
        described = self._describe(image, shown)
        followed = []
        for row, box in enumerate(boxes):
            key = self.memory.new_key()
            self._remember(key, described, row)
            followed.append(Followed(box=box, key=key))
        return followed

    def follow(self, image: Image, targets: Sequence[Target]) -> list[Followed]:
        """Find the people of the last picture in this one."""
        last = np.array([target.box for target in targets], np.float32).reshape(-1, 4)
        people = [self.memory.get(target.key) for target in targets]
        faces = self._search.near(image, last)
        described = self._describe(image, faces)
        scores, looks = self._scores(last, people, faces, described)
        chosen = _assign(scores)
        followed = self._answers(targets, people, faces, described, chosen, looks)
        missing = [row for row, one in enumerate(followed) if one.lost and people[row] is not None]
        if missing:
            taken = faces.select(chosen[chosen >= 0])
            found = self._elsewhere(image, [targets[i] for i in missing], [people[i] for i in missing], taken)
            for row, one in zip(missing, found, strict=True):
                followed[row] = one
        return followed

    def _elsewhere(self, image: Image, targets: Sequence[Target], people: Sequence[Person | None], taken: Faces) -> list[Followed]:
        """Look for people in the whole picture, among the faces that nobody else has."""
        last = np.array([target.box for target in targets], np.float32)
        faces = self._search.everywhere(image, last, taken)
        described = self._describe(image, faces)
        scores, looks = self._scores(last, people, faces, described)
        chosen = _assign(np.where(looks >= self._settings.certain, scores, 0.0))
        return self._answers(targets, people, faces, described, chosen, looks)

    def _describe(self, image: Image, faces: Faces) -> Descriptors | None:
        return self._description(image, faces) if len(faces) else None

    def _scores(
        self, last: Boxes, people: Sequence[Person | None], faces: Faces, described: Descriptors | None
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """(m, n) how well each face suits each person, above 0 = possible; and looks alone, NaN where they say nothing."""
        looks = np.full((len(people), len(faces)), np.nan)
        if described is None:
            return np.zeros(looks.shape), looks
        for row, person in enumerate(people):
            if person is not None:
                looks[row] = (self._cosines(person, described) - self._settings.same) / self._settings.step
        looks[:, ~described.usable] = np.nan
        # A poor picture of a face is unlike everything, also unlike its own person: it says little against.
        against = np.maximum(looks, -self._settings.strange) * described.quality
        said = np.nan_to_num(np.where(looks > 0, looks, against))
        still = _motion(last, faces.boxes, self._settings)
        return np.where(looks >= self._settings.certain, said + still + 1, said + still), looks

    def _cosines(self, person: Person, described: Descriptors) -> Float32Array:
        """(n,) cosine with the first face or the template, whichever is nearer."""
        pair = np.stack([person.anchor, person.template])
        return np.asarray((described.vectors @ pair.T).max(axis=1), np.float32)

    def _answers(
        self,
        targets: Sequence[Target],
        people: Sequence[Person | None],
        faces: Faces,
        described: Descriptors | None,
        chosen: npt.NDArray[np.intp],
        looks: npt.NDArray[np.float64],
    ) -> list[Followed]:
        followed = []
        for row, (target, person) in enumerate(zip(targets, people, strict=True)):
            column = int(chosen[row])
            if column < 0 or described is None:
                followed.append(Followed(box=target.box, key=target.key, lost=True))
                continue
            x1, y1, x2, y2 = faces.boxes[column].tolist()
            key = target.key
            if person is None:
                key = self.memory.new_key()
                self._remember(key, described, column)
            else:
                self._learn(key, person, described, column, looks[:, column], row)
            followed.append(Followed(box=(x1, y1, x2, y2), key=key, anew=person is None))
        return followed

    def _remember(self, key: str, described: Descriptors | None, row: int) -> None:
        if described is not None and not described.failures[row]:
            self.memory.put(key, Person(anchor=described.vectors[row], template=described.vectors[row]))

    def _learn(
        self, key: str, person: Person, described: Descriptors, column: int, looks: npt.NDArray[np.float64], row: int
    ) -> None:
        """Let the template follow a person who ages, turns and is lit otherwise, but never towards somebody else.

        Only a good picture that is alike to the face a human pointed at counts, and only if no other followed person could be it.
        """
        settings = self._settings
        rivals = np.delete(looks, row)
        vector = described.vectors[column]
        alike = (float(person.anchor @ vector) - settings.same) / settings.step
        if alike < settings.learn or described.quality[column] < settings.learn_quality or (rivals > 0).any():
            return
        mixed = (1 - settings.rate) * person.template + settings.rate * vector
        template = np.asarray(mixed / np.linalg.norm(mixed), np.float32)
        self.memory.put(key, Person(anchor=person.anchor, template=template))


def _motion(last: Boxes, boxes: Boxes, settings: TrackingSettings) -> npt.NDArray[np.float64]:
    """(m, n) 1 for a face exactly where the person was and of the same size, 0 at the reach, never below -1."""
    centers = [(b[:, :2] + b[:, 2:]).astype(np.float64) / 2 for b in (last, boxes)]
    sides = [np.maximum(box_sides(b).astype(np.float64), 1.0) for b in (last, boxes)]
    distance = np.linalg.norm(centers[0][:, None] - centers[1][None], axis=2) / sides[0][:, None]
    growth = np.log(sides[1][None] / sides[0][:, None])
    return np.asarray(np.maximum(1 - (distance / settings.reach) ** 2 - (growth / settings.growth) ** 2, -1.0))


def _assign(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """(m,) face of each person, -1 = none: the pairs above 0 with the largest sum, no face given twice."""
    from scipy.optimize import linear_sum_assignment

    worth = np.maximum(scores, 0.0)
    chosen = np.full(len(scores), -1, np.intp)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    good = worth[rows, columns] > 0
    chosen[rows[good]] = columns[good]
    return chosen
