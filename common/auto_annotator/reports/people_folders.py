"""A folder per person: close-ups of the faces, or the photos they are in. What is not ours is never written over or removed.

A list of what was written (`.auto-annotator.json` in the folder) tells our files from other people's. The next run removes those
that no longer fit, unless somebody changed them, and adds the new ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from auto_annotator.errors import ImageError
from auto_annotator.exchange.clusters_file import ClusteredFace, ClusterFile
from auto_annotator.reports.files import printable, replacing
from auto_annotator.reports.page import default_read
from auto_annotator.reports.page_view import Read, square_around
from auto_annotator.types import Image

LIST = ".auto-annotator.json"
SINGLES, UNKNOWN = "seen once", "unknown"
Form = Literal["crops", "copy", "link"]
"""Close-ups, copies of the photos, or symbolic links to them."""

MARGIN = 0.3
"""Share of the box side around a face in a close-up."""
CROP_LIMIT, CROP_QUALITY = 512, 92
"""Largest side of a close-up in pixels, and its JPEG quality: for people to look at, not for training."""
MAX_BESIDE = 100
"""So many strangers' files of one name mean that something else is wrong."""
MAX_BYTES = 120
"""Of a file or folder name made from a name of a person or picture; file systems take 255."""

_REFUSED = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]')
"""What some file system or terminal cannot take or can be fooled by."""

Find = Callable[[str], Path | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a run did: files that are there now, and files of the earlier run that went."""

    files: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """One file to be there: its place below the folder, and the face it shows."""

    place: str
    face: ClusteredFace


def safe_name(text: str) -> str:
    """A name of a person or picture as a part of a file name, on any system; empty if nothing is left of it."""
    text = _REFUSED.sub("_", printable(text)).strip(" .")
    while len(text.encode("utf-8")) > MAX_BYTES:
        text = text[:-1]
    return text.strip(" .")


def write_folders(content: ClusterFile, find: Find, folder: Path, *, form: Form = "crops", read: Read | None = None) -> Written:
    """Write the folders, or bring those of an earlier run up to date.

    Args:
        content: the clusters.
        find: name of a picture -> where it lies, None = nowhere; such faces are left out.
        folder: holds a folder per person; made if absent.
        form: what is put into them.
        read: file -> upright RGB picture, default `imageio.read`.

    Raises:
        OSError: if something cannot be written; the list is then still true of what is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ours = _read_list(folder)
    kept: dict[str, str] = {}
    source = _Source(find, read or default_read())
    try:
        for one in _wanted(content, form):
            if one.place in ours and _unchanged(folder / one.place, ours[one.place]):
                kept[one.place] = ours[one.place]  # the key of the face is in its name: it shows what it should
            elif (place := _free(folder, one.place, ours, kept)) is not None and _put(folder / place, one.face, source, form):
                kept[place] = _sign(folder / place)
    finally:
        _write_list(folder, ours | kept)
    gone = [place for place in ours if place not in kept and _remove(folder, place, ours[place])]
    _write_list(folder, kept)
    return Written(files=len(kept), removed=len(gone))


class _Source:
    """Where pictures lie and what is in them; the last one is held, for faces come picture by picture."""

    def __init__(self, find: Find, read: Read) -> None:
        self.find, self._read = find, read
        self._last: tuple[str, Image | None] | None = None

    def image(self, name: str) -> Image | None:
        """The pixels, None if the picture cannot be read any more."""
        if self._last is None or self._last[0] != name:
            self._last = (name, self._load(name))
        return self._last[1]

    def _load(self, name: str) -> Image | None:
        path = self.find(name)
        try:
            return None if path is None else self._read(path)
        except (ImageError, OSError):
            return None


def _wanted(content: ClusterFile, form: Form) -> list[_Wanted]:
    """Every file that should be there; a photo once in each folder, however many faces it has."""
    people = {person.id: person for person in content.people}
    wanted: dict[str, _Wanted] = {}
    for face in content.faces:
        if face.person:
            person = people[face.person]
            named = f"{safe_name(person.id)} {safe_name(person.name)}".strip()
            parent = named if person.faces > 1 or person.name else SINGLES
        elif face.state == "unknown":
            parent = UNKNOWN
        else:
            continue
        name = PurePosixPath(face.image)
        stem, suffix = safe_name(name.stem) or "picture", safe_name(name.suffix)
        # The key keeps apart photos of one name in several folders, and faces of one photo.
        file = (
            f"{stem} {safe_name(face.key)}.jpg"
            if form == "crops"
            else f"{stem} {_short_hash(face.image)}.{suffix.lstrip('.') or 'jpg'}"
        )
        place = f"{parent}/{file}"
        wanted.setdefault(place, _Wanted(place=place, face=face))
    return sorted(wanted.values(), key=lambda one: one.face.image)


def _short_hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _free(folder: Path, place: str, ours: dict[str, str], kept: dict[str, str]) -> str | None:
    """The place, or one beside it where a file stands that is not ours or was changed; None if there is none."""
    path = PurePosixPath(place)
    parent = folder / path.parent
    if parent.is_symlink() or (parent.exists() and not parent.is_dir()):
        return None
    for number in range(1, MAX_BESIDE):
        tried = place if number == 1 else f"{path.parent}/{path.stem} ({number}){path.suffix}"
        mine = tried in ours and _unchanged(folder / tried, ours[tried])
        if tried not in kept and (mine or not os.path.lexists(folder / tried)):
            return tried
    return None


def _put(path: Path, face: ClusteredFace, source: _Source, form: Form) -> bool:
    """Write one file; False if its picture is not there any more."""
    image, original = (source.image(face.image) if form == "crops" else None), source.find(face.image)
    if original is None or (form == "crops" and image is None):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    try:
        if image is not None:
            _save(image, face, part)
        elif form == "link":
            part.symlink_to(original.resolve())
        else:
            shutil.copyfile(original, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return True


def _save(image: Image, face: ClusteredFace, path: Path) -> None:
    from PIL import Image as PillowImage

    picture = PillowImage.fromarray(square_around(image, face.box, MARGIN)[0])
    picture.thumbnail((CROP_LIMIT, CROP_LIMIT), PillowImage.Resampling.LANCZOS)
    picture.save(path, "JPEG", quality=CROP_QUALITY)


def _sign(path: Path) -> str:
    """What tells that a file is still the one we wrote: where a link leads, or size and time of change."""
    if path.is_symlink():
        return f"link {path.readlink()}"
    state = path.stat()
    return f"{state.st_size} {state.st_mtime_ns}"


def _unchanged(path: Path, sign: str) -> bool:
    try:
        return _sign(path) == sign
    except OSError:  # gone
        return False


def _remove(folder: Path, place: str, sign: str) -> bool:
    """Take one of our files away, and its folder when that is then empty; one that was changed stays."""
    path = folder / place
    if not _unchanged(path, sign):
        return False
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # other files are in it
        path.parent.rmdir()
    return True


def _read_list(folder: Path) -> dict[str, str]:
    try:
        data = json.loads((folder / LIST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    files = data.get("files") if isinstance(data, dict) else None
    if not isinstance(files, dict):
        return {}
    return {place: str(sign) for place, sign in files.items() if _below(place)}


def _below(place: str) -> bool:
    """A list may come from anyone: only places one folder below this one count."""
    parts = PurePosixPath(place).parts
    return len(parts) == 2 and ".." not in parts and not place.startswith("/") and "\\" not in place


def _write_list(folder: Path, files: dict[str, str]) -> None:
    with replacing(folder / LIST) as stream:
        json.dump({"files": files}, stream, indent=0)
