"""The loop over pictures that `detect` and `annotate` share: decode ahead, detect, append a line, go on after an interruption."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from auto_annotator import __version__
from auto_annotator.commands.pictures import Picture
from auto_annotator.config import Settings, load_ensemble
from auto_annotator.errors import ConfigError, ImageError, MemberError
from auto_annotator.imageio import read
from auto_annotator.pipeline import FaceDetection
from auto_annotator.reports.records import Record, from_detection, from_error, read_records, to_json
from auto_annotator.types import Image

STDOUT = Path("-")


@dataclass(slots=True)
class Summary:
    """What a run did, for the last line a person reads."""

    pictures: int = 0
    faces: int = 0
    review: int = 0
    failed: int = 0
    earlier: int = 0

    def add(self, record: Record) -> None:
        """Count one picture."""
        self.pictures += 1
        self.faces += len(record.faces)
        self.review += sum(face.review for face in record.faces)
        self.failed += record.error is not None

    def __str__(self) -> str:
        text = f"{self.pictures} pictures, {self.faces} faces, {self.review} of them to review"
        if self.failed:
            text += f", {self.failed} pictures failed (see `error` in the output)"
        return text + (f", {self.earlier} pictures were done before" if self.earlier else "")


def fingerprint(settings: Settings, threshold: float | None) -> dict[str, object]:
    """What must be equal for a run to be resumed: the ensemble's content, the threshold, the version."""
    config = load_ensemble(settings.ensemble).model_dump_json()
    digest = hashlib.sha256(config.encode()).hexdigest()[:16]
    return {"version": __version__, "ensemble": digest, "threshold": threshold}


def detect_pictures(
    pictures: Sequence[Picture],
    output: Path,
    settings: Settings,
    *,
    threshold: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    pipeline: Callable[..., object] | None = None,
) -> Summary:
    """Detect the faces of all pictures and append one JSON line each; every line is complete once it is written.

    Args:
        pictures: what to work on.
        output: JSON Lines file; `-` is standard output.
        settings: models and device.
        threshold: of the fused score, None = the ensemble's own.
        resume: go on with an output that an earlier run of the same settings left.
        overwrite: start anew although the output exists.
        pipeline: built already (tests); None = from the settings.

    Raises:
        ConfigError: if the output exists and neither `resume` nor `overwrite` says what to do with it, or it was made otherwise.
        KeyboardInterrupt: after Ctrl-C; what was written stays valid.
    """
    summary = Summary()
    done = _prepare(output, fingerprint(settings, threshold), resume=resume, overwrite=overwrite)
    todo = [p for p in pictures if p.name not in done]
    for picture in pictures:
        if picture.name in done:
            summary.add(done[picture.name])
    summary.earlier = len(pictures) - len(todo)
    if not todo:
        return summary
    detect = pipeline or FaceDetection.from_settings(settings)
    with _Sink(output, append=bool(done)) as sink, tqdm(total=len(todo), unit="picture", disable=None, file=sys.stderr) as bar:
        for picture, image in _decoded(todo, settings.max_pixels):
            record = _record(picture, image, detect, threshold)
            sink.write(to_json(record))
            summary.add(record)
            bar.set_postfix(faces=summary.faces, review=summary.review, refresh=False)
            bar.update()
    return summary


def _record(picture: Picture, image: Image | ImageError, detect: Callable[..., object], threshold: float | None) -> Record:
    if isinstance(image, ImageError):
        return from_error(picture.name, image)
    try:
        return from_detection(picture.name, detect(image, threshold=threshold))  # type: ignore[arg-type]
    except MemberError as error:
        return from_error(picture.name, ImageError("members_failed", str(error)))


def _decoded(pictures: Sequence[Picture], max_pixels: int) -> Iterator[tuple[Picture, Image | ImageError]]:
    """Pictures with their pixels, the next one decoded while the models work on this one."""

    def load(picture: Picture) -> Image | ImageError:
        try:
            return read(picture.path, max_pixels=max_pixels)
        except ImageError as error:
            return error

    pool = ThreadPoolExecutor(1)
    try:
        ahead: Future[Image | ImageError] = pool.submit(load, pictures[0])
        for picture, following in zip(pictures, [*pictures[1:], None], strict=True):
            image = ahead.result()
            if following is not None:
                ahead = pool.submit(load, following)
            yield picture, image
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _prepare(output: Path, made_by: dict[str, object], *, resume: bool, overwrite: bool) -> dict[str, Record]:
    """Records of an earlier run to keep; refuses to mix runs or to lose one."""
    if output == STDOUT:
        if resume:
            raise ConfigError("--resume needs a file: --output faces.jsonl")
        return {}
    note = output.with_name(output.name + ".run.json")
    if output.exists() and not (resume or overwrite):
        raise ConfigError(f"{output} exists already: add --resume to go on with it, or --overwrite to start anew")
    output.parent.mkdir(parents=True, exist_ok=True)
    done: dict[str, Record] = {}
    if resume and output.exists():
        earlier = json.loads(note.read_text(encoding="utf-8")) if note.exists() else None
        if earlier != made_by:
            raise ConfigError(f"{output}: made with other settings ({earlier}) than now ({made_by}): use --overwrite")
        done = {record.image: record for record in read_records(output)}
        _rewrite(output, done)
    note.write_text(json.dumps(made_by) + "\n", encoding="utf-8")
    return done


def _rewrite(output: Path, done: dict[str, Record]) -> None:
    """Drop the half line that a killed run may have left, so that new lines start on a line of their own."""
    temporary = output.with_name(output.name + ".tmp")
    temporary.write_text("".join(to_json(record) + "\n" for record in done.values()), encoding="utf-8")
    temporary.replace(output)


class _Sink:
    """Where the lines go; each is flushed, so that an interrupted run loses nothing that was counted."""

    def __init__(self, output: Path, *, append: bool) -> None:
        self._own = output != STDOUT
        self._file = output.open("a" if append else "w", encoding="utf-8") if self._own else sys.stdout

    def __enter__(self) -> _Sink:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._file.close()

    def write(self, line: str) -> None:
        """Append one line."""
        self._file.write(line + "\n")
        self._file.flush()
