"""The loop over pictures that `detect` and `annotate` share: decode ahead, detect, append a line, go on after an interruption."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from auto_annotator import __version__
from auto_annotator.commands.pictures import Picture
from auto_annotator.config import Settings, ensemble_path, load_ensemble
from auto_annotator.cvat.failures import failure_place, failure_reason
from auto_annotator.errors import AutoAnnotatorError, ConfigError, ImageError
from auto_annotator.imageio import read
from auto_annotator.pipeline import FaceDetection
from auto_annotator.reports.files import replacing
from auto_annotator.reports.records import Record, RecordError, RecordWriter, from_detection, from_error, read_records, to_json
from auto_annotator.types import Detection, Image

STDOUT = Path("-")

Detect = Callable[..., Detection]
"""An image and the keyword `threshold` in, a `Detection` out: what `FaceDetection` is."""


@dataclass(slots=True)
class Summary:
    """What a run did, for the last line a person reads and for the exit code."""

    pictures: int = 0
    faces: int = 0
    review: int = 0
    failed: int = 0
    earlier: int = 0

    def add(self, record: Record) -> None:
        """Count one picture."""
        self.pictures += 1
        self.faces += len(record.faces)
        self.review += record.review_count
        self.failed += record.error is not None

    @property
    def exit_code(self) -> int:
        """1 if no picture at all could be used, else 0."""
        return int(self.failed == self.pictures > 0)

    def __str__(self) -> str:
        text = f"{self.pictures} pictures, {self.faces} faces, {self.review} of them to review"
        if self.failed:
            text += f", {self.failed} pictures failed (see `error` in the output)"
        return text + (f", {self.earlier} pictures were done before" if self.earlier else "")


def fingerprint(settings: Settings, threshold: float | None) -> dict[str, object]:
    """What must be equal for a run to be resumed: version, content of the ensemble and its calibration, threshold, orientations.

    Raises:
        ConfigError: if the ensemble cannot be read.
    """
    config = load_ensemble(settings.ensemble)
    digest = hashlib.sha256(config.model_dump_json().encode())
    if config.calibration is not None:
        path = ensemble_path(settings.ensemble).parent / config.calibration
        digest.update(path.read_bytes() if path.is_file() else b"")
    name = f"{config.name} {digest.hexdigest()[:16]}"
    return {"version": __version__, "ensemble": name, "threshold": threshold, "rotations": settings.rotations}


def make_folder(path: Path) -> None:
    """Make a folder for results.

    Raises:
        ConfigError: if it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be made a folder for results ({error.strerror}): name another one") from error


def detect_pictures(
    pictures: Sequence[Picture],
    output: Path,
    settings: Settings,
    *,
    threshold: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    exports: Sequence[Path] = (),
    pipeline: Detect | None = None,
) -> Summary:
    """Detect the faces of all pictures and append one JSON line each; every line is complete once it is written.

    Args:
        pictures: what to work on.
        output: JSON Lines file; `-` is standard output.
        settings: models and device.
        threshold: of the fused score, None = the ensemble's own.
        resume: go on with an output that an earlier run of the same settings left.
        overwrite: start anew although the output exists.
        exports: files made from an earlier output; they go when the run starts anew, for they would no longer fit.
        pipeline: built already (tests); None = from the settings.

    Raises:
        ConfigError: if the output exists and neither `resume` nor `overwrite` says what to do with it, or it was made otherwise.
        AutoAnnotatorError: if the models cannot be loaded; nothing was written or removed by then.
        KeyboardInterrupt: after Ctrl-C, with a message how to go on; what was written stays valid.
    """
    made_by = fingerprint(settings, threshold)
    append = _may_append(output, pictures, made_by, resume=resume, overwrite=overwrite)
    summary = Summary()
    done = _count_earlier(output, pictures, summary) if append else set()
    todo = [p for p in pictures if p.name not in done]
    try:
        detect = (pipeline or FaceDetection.from_settings(settings)) if todo else None
        with _writer(output, append=append) as write:
            if not append:
                _begin(output, made_by, exports)
            if detect is not None:
                _loop(todo, detect, write, summary, threshold, settings.max_pixels)
    except KeyboardInterrupt:
        if is_stream(output):
            raise
        text = f"interrupted: {summary.pictures} of {len(pictures)} pictures are in {output}"
        raise KeyboardInterrupt(f"{text}; the same command with --resume (without --overwrite) goes on") from None
    return summary


def _loop(
    todo: Sequence[Picture], detect: Detect, write: Callable[[Record], None], summary: Summary, threshold: float | None, limit: int
) -> None:
    bar = tqdm(total=summary.pictures + len(todo), initial=summary.pictures, unit="picture", disable=None, file=sys.stderr)
    with bar, logging_redirect_tqdm():  # a warning goes above the bar, not into it
        for picture, image in decoded(todo, limit):
            record = _record(picture, image, detect, threshold)
            write(record)
            summary.add(record)
            bar.set_postfix(faces=summary.faces, review=summary.review, refresh=False)
            bar.update()


def _record(picture: Picture, image: Image | Exception, detect: Detect, threshold: float | None) -> Record:
    """The record of one picture; whatever goes wrong with it, the run of thousands goes on."""
    try:
        if isinstance(image, Exception):
            raise image
        return from_detection(picture.name, detect(image, threshold=threshold))
    except Exception as error:
        return from_error(picture.name, told(error))


def told(error: Exception) -> ImageError:
    """What the record says of an error: our own message as it is, of a foreign one, which may hold anything, type and place."""
    if isinstance(error, ImageError):
        return error
    own = isinstance(error, AutoAnnotatorError)
    return ImageError(failure_reason(error), str(error) if own else f"{type(error).__name__} at {failure_place(error)}")


def decoded(pictures: Sequence[Picture], max_pixels: int) -> Iterator[tuple[Picture, Image | Exception]]:
    """Pictures with their pixels, the next one decoded while the models work on this one."""

    def load(picture: Picture) -> Image | Exception:
        try:
            return read(picture.path, max_pixels=max_pixels)
        except Exception as error:
            return error

    pool = ThreadPoolExecutor(1)
    try:
        ahead: Future[Image | Exception] = pool.submit(load, pictures[0])
        for picture, following in zip(pictures, [*pictures[1:], None], strict=True):
            image = ahead.result()
            if following is not None:
                ahead = pool.submit(load, following)
            yield picture, image
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def is_stream(output: Path) -> bool:
    """Standard output, a pipe or a device: nothing to go on with, and no place for a note beside it."""
    return output == STDOUT or (output.exists() and not output.is_file() and not output.is_dir())


@contextmanager
def _writer(output: Path, *, append: bool) -> Iterator[Callable[[Record], None]]:
    """What takes the records one by one; each is flushed, so that an interrupted run loses nothing that was counted."""

    def to_stdout(record: Record) -> None:
        sys.stdout.write(to_json(record) + "\n")
        sys.stdout.flush()

    if output == STDOUT:
        yield to_stdout
        return
    with RecordWriter(output, append=append) as writer:
        yield writer.write


def _note(output: Path) -> Path:
    """Where it stands how an output was made."""
    return output.with_name(f"{output.name}.run.json")


def _begin(output: Path, made_by: dict[str, object], exports: Sequence[Path]) -> None:
    """Note how the output is made; it is empty by now, so that no note ever stands beside the records of another run."""
    if is_stream(output):
        return
    for path in exports:
        path.unlink(missing_ok=True)
    with replacing(_note(output)) as stream:
        stream.write(json.dumps(made_by) + "\n")


def _may_append(output: Path, pictures: Sequence[Picture], made_by: dict[str, object], *, resume: bool, overwrite: bool) -> bool:
    """Whether to go on with what is there; refuses to mix runs, to lose one, or to write over a picture."""
    if is_stream(output):
        if resume:
            raise ConfigError("--resume needs a file: --output faces.jsonl")
        return False
    if output.is_dir():
        raise ConfigError(f"{output}: is a folder, expected a file such as {output / 'faces.jsonl'}")
    if output.exists() and not (resume or overwrite):
        raise ConfigError(f"{output} exists already: add --resume to go on with it, or --overwrite to start anew")
    if output.resolve() in {p.path.resolve() for p in pictures}:
        raise ConfigError(f"{output}: is one of the pictures, expected another file for the results")
    make_folder(output.parent)
    if not resume or not output.exists() or output.stat().st_size == 0:
        return False
    earlier = _read_note(output)
    if differing := [f"{key} was {earlier.get(key)}, is {value}" for key, value in made_by.items() if earlier.get(key) != value]:
        raise ConfigError(
            f"{output}: made with other settings ({'; '.join(differing)}): use those again, or --overwrite to start anew"
        )
    return True


def _read_note(output: Path) -> dict[str, object]:
    note = _note(output)
    try:
        content = json.loads(note.read_bytes())
        if isinstance(content, dict):
            return content
        problem = "damaged"
    except FileNotFoundError:
        problem = "missing"
    except (OSError, ValueError):
        problem = "damaged"
    raise ConfigError(f"{output}: cannot be resumed, for {note.name} with its settings is {problem}: use --overwrite to start anew")


def _count_earlier(output: Path, pictures: Sequence[Picture], summary: Summary) -> set[str]:
    """Names of the pictures that are done, which are counted too."""
    wanted = {picture.name for picture in pictures}
    done: set[str] = set()
    try:
        for record in read_records(output):
            if record.image in wanted and record.image not in done:
                done.add(record.image)
                summary.add(record)
    except RecordError as error:
        raise ConfigError(f"{error}; it cannot be resumed: use --overwrite to start anew") from error
    summary.earlier = len(done)
    return done
