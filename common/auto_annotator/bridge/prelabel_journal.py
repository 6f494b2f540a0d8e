"""The journal of pre-labelling a task: which frames an interrupted run has done, and what stood in them.

From it a run knows which faces people deleted, and what they changed without CVAT saying so. One file per server and task in the
user's cache folder, readable by its owner only: geometry keys, boxes and digests, no names and no pictures. JSON Lines of ASCII,
the last line of a frame holds; half a line of a killed run is skipped. Without the file a run still works: it then starts anew,
and may add faces again that people deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from auto_annotator.bridge.prelabel_known import FaceNote, FrameNote
from auto_annotator.bridge.vector_cache import cache_folder
from auto_annotator.errors import ConfigError
from auto_annotator.exchange.files import replacing

VERSION = 1
KIND = "auto-annotator prelabel"

Place = tuple[int, int]
"""Job and frame."""


def journal_path(host: str, task: int, folder: Path | None = None) -> Path:
    """Where the journal of a task lies; its name tells nobody which server that is."""
    name = hashlib.sha256(host.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return (folder or cache_folder() / "prelabel") / f"{name}-{task}.jsonl"


class Journal:
    """What is remembered of a task. A context manager; every line is on its way to the disk when a call returns.

    Args:
        path: the file; its folder is made.
        made_by: what makes the faces now; an unfinished run goes on only if it is the same.
        fresh: start anew although the last run was not finished.
        read_only: remember nothing: for a dry run.

    Raises:
        ConfigError: if another run works on the task just now, or the file cannot be used.
    """

    def __init__(self, path: Path, made_by: str, *, fresh: bool = False, read_only: bool = False) -> None:
        self._notes: dict[Place, FrameNote] = {}
        self._done: set[Place] = set()
        self._stream: TextIO | None = None
        self._lock: TextIO | None = None
        try:
            if not read_only:
                for folder in (path.parent.parent, path.parent):  # the mode is that of the last folder only
                    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._lock = _locked(path.with_suffix(".lock"))
            going_on = self._load(path, made_by) and not fresh
            if not going_on:
                self._done.clear()
            if not read_only:
                self._begin(path, made_by)
        except OSError as error:
            self.close()
            raise ConfigError(
                f"journal {path}: cannot be used ({error.strerror}); set AUTO_ANNOTATOR_CVAT_CACHE to a folder of yours"
            ) from error

    def _load(self, path: Path, made_by: str) -> bool:
        """Read what is there; whether its last run was ours and not finished."""
        going_on = False
        for line in _lines(path):
            if "run" in line:
                going_on = line["run"] == made_by
                self._done.clear()
            elif "end" in line:
                going_on = False
                self._done.clear()
            else:
                place = int(line["job"]), int(line["frame"])
                self._notes[place] = FrameNote(**{kind: _faces(line.get(kind, [])) for kind in ("faces", "gone", "next")})
                if line.get("done"):
                    self._done.add(place)
        return going_on

    def _begin(self, path: Path, made_by: str) -> None:
        """Write the file anew with one line per frame, and go on behind them."""
        with replacing(path, private=True) as stream:
            stream.write(json.dumps({"kind": KIND, "version": VERSION}) + "\n" + json.dumps({"run": made_by}) + "\n")
            for place, note in sorted(self._notes.items()):
                stream.write(_text(place, note, done=place in self._done))
        self._stream = path.open("a", encoding="ascii", newline="\n")

    def note(self, job: int, frame: int) -> FrameNote:
        """What is remembered of a frame."""
        return self._notes.get((job, frame), FrameNote())

    def is_done(self, job: int, frame: int) -> bool:
        """Whether the unfinished run that goes on has done the frame."""
        return (job, frame) in self._done

    def plan(self, job: int, notes: Mapping[int, FrameNote]) -> None:
        """Remember, before they are written, how frames may look from now on."""
        self._write(job, notes, done=False)

    def done(self, job: int, notes: Mapping[int, FrameNote]) -> None:
        """Remember how frames are, now that nothing is left to write in them."""
        self._write(job, notes, done=True)

    def finish(self) -> None:
        """The run is complete: the next one looks at every frame again."""
        if self._stream is not None:
            self._stream.write(json.dumps({"end": True}) + "\n")
            self._stream.flush()

    def _write(self, job: int, notes: Mapping[int, FrameNote], *, done: bool) -> None:
        if self._stream is None:
            return
        lines = []
        for frame, note in notes.items():
            self._notes[job, frame] = note
            if done:
                self._done.add((job, frame))
            lines.append(_text((job, frame), note, done=done))
        self._stream.write("".join(lines))
        self._stream.flush()

    def close(self) -> None:
        """Let go of the file."""
        for stream in (self._stream, self._lock):
            if stream is not None:
                stream.close()
        self._stream = self._lock = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _locked(path: Path) -> TextIO:
    stream = os.fdopen(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="ascii")
    try:
        import fcntl
    except ImportError:  # not on this system
        return stream
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stream.close()
        raise ConfigError("another `auto-annotator cvat prelabel` works on this task just now: wait for it to end") from None
    return stream


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as stream:
            for raw in stream:
                with suppress(ValueError, RecursionError):
                    line = json.loads(raw)
                    if isinstance(line, dict) and ("run" in line or "end" in line or _whole(line)):
                        yield line
    except FileNotFoundError:
        return


def _whole(line: dict[str, Any]) -> bool:
    """Whether a line of a frame can be used."""
    try:
        for kind in ("faces", "gone", "next"):
            _faces(line.get(kind, []))
        return isinstance(line["job"], int) and isinstance(line["frame"], int)
    except (KeyError, TypeError, ValueError):
        return False


def _text(place: Place, note: FrameNote, *, done: bool) -> str:
    content: dict[str, Any] = {"job": place[0], "frame": place[1], "done": done}
    for kind in ("faces", "gone", "next"):
        if faces := getattr(note, kind):
            content[kind] = [[one.key, list(one.box), one.words, one.points] for one in faces]
    return json.dumps(content, allow_nan=False, separators=(",", ":")) + "\n"


def _faces(rows: Any) -> tuple[FaceNote, ...]:
    faces = []
    for key, box, words, points in rows:
        x1, y1, x2, y2 = (float(edge) for edge in box)
        faces.append(FaceNote(key=str(key), box=(x1, y1, x2, y2), words=str(words), points=str(points)))
    return tuple(faces)
