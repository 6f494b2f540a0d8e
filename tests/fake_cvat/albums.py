"""A task with pictures of people whose identity is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from fake_cvat import builders, stored
from fake_cvat.ensemble import paint
from fake_cvat.frames import BACKGROUND, Frames
from fake_cvat.store import JSON, Project, Store, Task

POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
"""Where `fakes.SquareDetector` sees the five points of a square."""


@dataclass(frozen=True, slots=True)
class AlbumFace:
    """One face: where it is, who it is, and the id of its shape when it was made (0 without)."""

    frame: int
    box: tuple[int, int, int, int]
    person: int
    id: int = 0
    skeleton: int = 0


@dataclass(slots=True)
class Album:
    """The task and the truth about it."""

    task: Task
    faces: list[AlbumFace] = field(default_factory=list)

    def person_at(self, frame: int, box: Sequence[float]) -> int | None:
        """Who is at a box of a frame, None for nobody: the face whose square overlaps it most."""
        best, who = 0.3, None
        for face in self.faces:
            if face.frame == frame and (overlap := _iou(face.box, box)) > best:
                best, who = overlap, face.person
        return who

    @property
    def id(self) -> int:
        """Id of the task."""
        return self.task.id

    @property
    def jobs(self) -> list[int]:
        """Ids of the jobs."""
        return [job.id for job in self.task.jobs]


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    inner = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    return inner / area if area > 0 else 0.0


def draw_picture(size: tuple[int, int], faces: Sequence[tuple[tuple[int, int, int, int], int]]) -> np.ndarray:
    """(h, w, 3) uint8: a grey picture with the squares of people."""
    image = np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
    for box, person in faces:
        paint(image, box, person)
    return image


def make_album(
    store: Store,
    people: int,
    frames: int,
    seed: int = 0,
    *,
    faces: tuple[int, int] = (1, 3),
    square: tuple[int, int] = (56, 88),
    size: tuple[int, int] = (640, 480),
    annotate: bool = True,
    landmarks: bool = True,
    source: str = "auto",
    video: bool = False,
    job_size: int = 0,
    project: Project | None = None,
    first_person: int = 0,
    who: Sequence[Sequence[int]] | None = None,
    **options: object,
) -> Album:
    """An album.

    Args:
        store: the server's.
        people: how many people; their numbers start at `first_person`.
        frames: how many pictures.
        seed: who is in which picture, where and how big.
        faces: least and most faces of a picture; different people, as far as there are any.
        square: least and greatest side of a face in pixels.
        size: width and height of the pictures.
        annotate: whether the faces are in CVAT already, as *Automatic annotation* leaves them.
        landmarks: whether each face has its skeleton, tied to it by `group`.
        source: of these shapes.
        video: a video task.
        job_size: frames in a job; 0 for one job.
        project: the task is in it.
        first_person: number of the first person: two albums with the same numbers show the same people.
        who: the people of each picture, in place of drawing lots; -1 for a face that nobody can describe.
        options: more of `builders.make_task`.
    """
    rng = np.random.default_rng(seed)
    found: list[AlbumFace] = []
    for frame in range(frames):
        if who is None:
            count = min(int(rng.integers(faces[0], faces[1] + 1)), people)
            present = [first_person + int(p) for p in rng.choice(people, count, replace=False)]
        else:
            present = list(who[frame])
        boxes = _places(rng, len(present), square, size)
        found += [AlbumFace(frame, box, person) for box, person in zip(boxes, present, strict=True)]
    by_frame: list[list[tuple[tuple[int, int, int, int], int]]] = [[] for _ in range(frames)]
    for face in found:
        by_frame[face.frame].append((face.box, face.person))
    pictures = Frames([partial(draw_picture, size, them) for them in by_frame], sizes=[size] * frames)
    task = builders.make_task(store, pictures, video=video, job_size=job_size, project=project, **options)  # type: ignore[arg-type]
    album = Album(task, found)
    if annotate:
        _annotate(store, album, landmarks=landmarks, source=source)
    return album


def _places(
    rng: np.random.Generator, count: int, square: tuple[int, int], size: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    cell = square[1] + 12
    columns, rows = size[0] // cell, size[1] // cell
    if count > columns * rows:
        raise ValueError(f"faces: got {count} in a picture, room for {columns * rows}; make the picture greater")
    boxes = []
    for place in rng.choice(columns * rows, count, replace=False).tolist():
        side = int(rng.integers(square[0], square[1] + 1))
        x, y = (int(rng.integers(2, cell - side - 2)) for _ in range(2))
        x, y = x + place % columns * cell, y + place // columns * cell
        boxes.append((x, y, x + side, y + side))
    return boxes


def _annotate(store: Store, album: Album, *, landmarks: bool, source: str) -> None:
    labels = {label.name: label for label in store.labels_of(album.task).values()}
    face, skeleton = labels["face"], labels.get("face_landmarks")
    values = {"score": "90", "votes": "1/1", "quality": "80"}
    attributes = [{"spec_id": a.id, "value": values[a.name]} for a in face.attributes.values() if a.name in values]
    for job in album.task.jobs:
        mine = [i for i, f in enumerate(album.faces) if job.holds(f.frame)]
        if job.type != "annotation" or not mine:
            continue
        shapes: list[JSON] = []
        groups: dict[int, int] = {}
        for index in mine:
            here = album.faces[index]
            group = groups[here.frame] = groups.get(here.frame, 0) + 1
            common = {"frame": here.frame, "group": group, "source": source}
            box = [float(v) for v in here.box]
            shapes.append(
                common | {"label_id": face.id, "type": "rectangle", "points": box, "attributes": attributes, "score": 0.9}
            )
            if landmarks and skeleton:
                points = POINTS * (box[2] - box[0]) + box[:2]
                elements = [
                    {"label_id": point.id, "frame": here.frame, "type": "points", "points": xy.tolist(), "source": source}
                    for point, xy in zip(skeleton.sublabels.values(), points, strict=True)
                ]
                shapes.append(common | {"label_id": skeleton.id, "type": "skeleton", "points": [], "elements": elements})
        ids = iter(row["id"] for row in stored.write(store, job, "create", {"shapes": shapes})["shapes"])
        for index in mine:
            old = album.faces[index]
            number = next(ids)
            album.faces[index] = AlbumFace(old.frame, old.box, old.person, number, next(ids) if landmarks and skeleton else 0)
