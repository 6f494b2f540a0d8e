"""The loop over pictures that `describe`, `people` and `annotate` share: faces of a records file in, a descriptors file out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from auto_annotator.commands.pictures import Picture
from auto_annotator.commands.run import decoded, make_folder, told
from auto_annotator.errors import ConfigError, ImageError
from auto_annotator.exchange.descriptors_file import MAX_TEXT, DescribedFaces, read_descriptors, write_descriptors
from auto_annotator.exchange.journal import DescribedPicture, Journal, digest_of, journal_path, pictures_of, read_journal
from auto_annotator.exchange.keys import face_keys
from auto_annotator.pipeline.protocols import DescribesFaces
from auto_annotator.reports.records import Record
from auto_annotator.types import Faces, Image

MISSING, CHANGED = "missing_picture", "changed_picture"
"""Failure codes of faces whose picture is not where it was, or has another size than when its faces were found."""

Find = Callable[[str], Path | None]
"""Name of a picture in the records -> where it lies, None = nowhere."""


@dataclass(slots=True)
class Summary:
    """What a run did, for the last line a person reads and for the exit code."""

    faces: int = 0
    described: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    earlier: int = 0

    def add(self, picture: DescribedPicture) -> None:
        """Count the faces of one picture."""
        self.faces += len(picture.failures)
        for code in picture.failures:
            if code:
                self.failures[code] = self.failures.get(code, 0) + 1
            else:
                self.described += 1

    @property
    def exit_code(self) -> int:
        """1 if there are faces and none could be described, else 0."""
        return int(self.faces > 0 and self.described == 0)

    def __str__(self) -> str:
        text = f"{self.described} of {self.faces} faces described"
        if self.failures:
            text += f", without descriptor: {', '.join(f'{n} {code}' for code, n in sorted(self.failures.items()))}"
        return text + (f", {self.earlier} faces were done before" if self.earlier else "")


def faces_of(record: Record) -> Faces:
    """The faces of a record as columns; unknown points are NaN."""
    unknown = (np.nan, np.nan)
    points = [[unknown if p is None else p for p in face.landmarks] for face in record.faces]
    boxes, scores = [face.box for face in record.faces], [face.score for face in record.faces]
    return Faces.of(boxes, scores, np.array(points, np.float32).reshape(-1, 5, 2))


def describe_faces(
    records: Iterable[Record],
    find: Find,
    output: Path,
    description: DescribesFaces,
    *,
    max_pixels: int,
    resume: bool = False,
    overwrite: bool = False,
) -> Summary:
    """Describe all faces of all records; whatever goes wrong with a picture becomes the failure code of its faces.

    Args:
        records: pictures with their faces; of two records of one picture the first counts.
        find: where each picture lies.
        output: the .npz.
        description: the recognisers.
        max_pixels: of a picture, more are refused.
        resume: go on with what an interrupted run left, and keep the descriptors of faces that have not changed. Pictures without
            any descriptor are tried again.
        overwrite: start anew although there is something.

    Raises:
        ConfigError: if there are results and neither `resume` nor `overwrite` says what to do with them, if they were made by
            other models, or if not one of the pictures is there.
        KeyboardInterrupt: after Ctrl-C, with a message how to go on; nothing that was described is lost.
    """
    unique = {record.image: record for record in reversed([r for r in records if r.error is None])}
    wanted = dict(reversed(unique.items()))
    head = {"model_set": description.model_set, "model_hash": description.model_hash}
    done = _earlier(output, head, description.dimension, resume=resume, overwrite=overwrite)
    todo, done = _split(wanted, done)
    summary = Summary(earlier=sum(len(p.failures) for p in done.values()))
    for picture in done.values():
        summary.add(picture)
    found = {name: path for name in todo if (path := find(name)) is not None}
    if todo and not found and not done:
        raise ConfigError(f"not one of {len(todo)} pictures with faces is there (the first is {_shown(next(iter(todo)))}):"
                          " give --images the folders that detection looked at")  # fmt: skip
    journal = journal_path(output)
    try:
        with Journal(journal, head, append=resume) as writer:
            _loop([todo[n] for n in todo], found, description, done, writer, summary, max_pixels)
    except KeyboardInterrupt:
        text = f"interrupted: {summary.faces} of {sum(len(r.faces) for r in wanted.values())} faces are in {journal}"
        raise KeyboardInterrupt(f"{text}; the same command with --resume (without --overwrite) goes on") from None
    write_descriptors(output, _content(wanted, done, description))
    journal.unlink(missing_ok=True)
    return summary


def _shown(name: str) -> str:
    limit = 80  # characters: enough to recognise a name, and the message stays short whatever the file holds
    return repr(name[:limit])


def _earlier(
    output: Path, head: Mapping[str, str], dimension: int, *, resume: bool, overwrite: bool
) -> dict[str, DescribedPicture]:
    """What is there by picture; refuses to mix models or to lose a run."""
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder, expected a file such as {output / 'descriptors.npz'}")
    journal = journal_path(output)
    left = next((path for path in (output, journal) if path.exists()), None)
    if left is not None and not (resume or overwrite):
        raise ConfigError(f"{left} exists already: add --resume to go on with it, or --overwrite to start anew")
    make_folder(output.parent)
    if not resume:
        return {}
    done: dict[str, DescribedPicture] = {}
    if output.exists():
        # Not mapped: the file is replaced in the end, and a map of a replaced file is a trap on Windows.
        faces = read_descriptors(output, mapped=False)
        if faces.model_hash != head["model_hash"]:
            raise ConfigError(
                f"{output}: made by the models {faces.model_set!r} {faces.model_hash!r}, now they are {head['model_set']!r}"
                f" {head['model_hash']!r}: use those again, or --overwrite to start anew"
            )
        done = pictures_of(faces)
    return done | read_journal(journal, head, dimension)


def _split(
    wanted: Mapping[str, Record], earlier: Mapping[str, DescribedPicture]
) -> tuple[dict[str, Record], dict[str, DescribedPicture]]:
    """Pictures to describe, and those whose faces are the ones that were described before."""
    todo: dict[str, Record] = {}
    done: dict[str, DescribedPicture] = {}
    for name, record in wanted.items():
        before = earlier.get(name)
        faces = faces_of(record)
        if before is None or before.failed or before.digest != digest_of(faces.boxes, faces.landmarks):
            if record.faces:
                todo[name] = record
        else:
            done[name] = before
    return todo, done


def _loop(
    records: Sequence[Record],
    found: Mapping[str, Path],
    description: DescribesFaces,
    done: dict[str, DescribedPicture],
    journal: Journal,
    summary: Summary,
    max_pixels: int,
) -> None:
    total = summary.faces + sum(len(r.faces) for r in records)
    bar = tqdm(total=total, initial=summary.faces, unit="face", disable=None, file=sys.stderr)

    def take(record: Record, picture: DescribedPicture) -> None:
        journal.write(record.image, picture)
        done[record.image] = picture
        summary.add(picture)
        bar.update(len(record.faces))

    with bar, logging_redirect_tqdm():
        for record in records:
            if record.image not in found:
                take(record, _failed(record, description.dimension, MISSING))
        there = [record for record in records if record.image in found]
        pictures = [Picture(path=found[record.image], name=record.image) for record in there]
        for record, (_, image) in zip(there, decoded(pictures, max_pixels) if pictures else (), strict=True):
            take(record, _described(record, image, description))


def _described(record: Record, image: Image | Exception, description: DescribesFaces) -> DescribedPicture:
    """The descriptors of one picture; whatever goes wrong with it, the run of thousands goes on."""
    faces = faces_of(record)
    try:
        if isinstance(image, Exception):
            raise image
        if image.shape[:2] != (record.height, record.width):
            return _failed(record, description.dimension, CHANGED)
        answer = description(image, faces)
        if answer.vectors.shape != (len(faces), description.dimension):
            raise ImageError("garbage", "descriptors of another shape")
        return DescribedPicture(
            digest=digest_of(faces.boxes, faces.landmarks),
            vectors=answer.vectors.astype(np.float16),
            quality=np.clip(np.nan_to_num(answer.quality), 0, 1),
            failures=answer.failures,
            notes=answer.notes,
        )
    except Exception as error:
        return _failed(record, description.dimension, told(error).reason)


def _failed(record: Record, dimension: int, code: str) -> DescribedPicture:
    n, faces = len(record.faces), faces_of(record)
    return DescribedPicture(
        digest=digest_of(faces.boxes, faces.landmarks),
        vectors=np.zeros((n, dimension), np.float16),
        quality=np.zeros(n, np.float32),
        failures=(code,) * n,
        notes=((),) * n,
    )


def _content(wanted: Mapping[str, Record], done: Mapping[str, DescribedPicture], description: DescribesFaces) -> DescribedFaces:
    """All faces in the order of the records."""
    names = [name for name in wanted if name in done and done[name].failures]
    columns = [faces_of(wanted[name]) for name in names]
    faces, parts = Faces.concat(columns), [done[name] for name in names]
    counts = [len(part.failures) for part in parts]
    return DescribedFaces(
        vectors=np.concatenate([np.zeros((0, description.dimension), np.float16), *(p.vectors for p in parts)], dtype=np.float16),
        quality=np.concatenate([np.zeros(0, np.float32), *(p.quality for p in parts)]),
        boxes=faces.boxes,
        scores=np.clip(faces.scores, 0, 1),
        landmarks=faces.landmarks,
        images=np.repeat(np.arange(len(names)), counts),
        image_names=tuple(name[:MAX_TEXT] for name in names),
        keys=tuple(key for name, part in zip(names, columns, strict=True) for key in face_keys(name, part.boxes)),
        failures=tuple(code for part in parts for code in part.failures),
        notes=tuple(codes for part in parts for codes in part.notes),
        model_set=description.model_set,
        model_hash=description.model_hash,
        threshold=getattr(description, "threshold", None),
    )
