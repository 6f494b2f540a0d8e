"""The fake CVAT server through the real SDK: faults on the way, and hooks."""

from __future__ import annotations

import time

import pytest
import urllib3
from fake_cvat import FAULTS, FakeCvat

cvat_sdk = pytest.importorskip("cvat_sdk")

from cvat_sdk.api_client import exceptions  # noqa: E402 - only with the extra


@pytest.fixture
def server():
    with FakeCvat() as running:
        running.make_task(2)
        yield running


@pytest.fixture
def create(server):
    """Function: one PATCH that creates a face."""
    label = next(iter(server.store.tasks[1].labels))
    shape = {"type": "rectangle", "label_id": label, "frame": 0, "points": [1.0, 2.0, 30.0, 40.0]}
    body = {"tags": [], "tracks": [], "shapes": [shape]}
    with cvat_sdk.make_client(server.url, access_token=server.token) as client:
        server.forget()
        api = client.api_client.jobs_api
        yield lambda: api.partial_update_annotations("create", 1, patched_labeled_data_request=body)


def stored(server) -> int:
    return len(server.store.jobs[1].shapes)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("kind", ["status", "status_after_commit"])
def test_a_status_before_and_after_the_commit(server, create, kind, status):
    server.fault(kind, status=status, retry_after=7, method="PATCH")
    with pytest.raises(exceptions.ApiException) as caught:
        create()
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (status, "7")
    assert stored(server) == (kind != "status")
    create()
    assert stored(server) == 1 + (kind != "status")


@pytest.mark.parametrize(("kind", "done"), [("reset", 0), ("reset_in_body", 0), ("reset_after_commit", 1), ("truncated", 1)])
def test_connections_that_break(server, create, kind, done):
    server.fault(kind, method="PATCH")
    with pytest.raises(urllib3.exceptions.HTTPError):
        create()
    assert stored(server) == done
    assert [k for k, _ in server.faults.fired] == [kind]
    create()
    assert stored(server) == done + 1
    assert server.writes == 2


@pytest.mark.parametrize("kind", ["slow", "slow_reply"])
def test_slow_is_slow(server, create, kind):
    server.fault(kind, seconds=0.05, method="PATCH")
    start = time.monotonic()
    create()
    assert time.monotonic() - start >= 0.05
    assert stored(server) == 1


def test_the_sdk_repeats_reads_by_itself(server):
    with cvat_sdk.make_client(server.url, access_token=server.token) as client:
        server.fault("status", status=503, retry_after=0, path=r"/tasks/1$")
        assert client.tasks.retrieve(1).id == 1
    assert [r.path for r in server.requests].count("/api/tasks/1") == 2


def test_faults_wait_for_their_request(server, create):
    server.fault("reset", method="PATCH", path="/annotations", skip=1, count=2)
    server.fault("reset", method="!GET", path="/issues")
    outcomes = []
    for _ in range(4):
        try:
            create()
            outcomes.append(True)
        except urllib3.exceptions.HTTPError:
            outcomes.append(False)
    assert outcomes == [True, False, False, True]
    server.faults.clear()
    assert stored(server) == 2


def test_a_schedule_is_drawn_with_its_seed():
    def outcomes(seed):
        with FakeCvat() as server, cvat_sdk.make_client(server.url, access_token=server.token) as client:
            server.make_task(1)
            server.fault("status", status=500, method="DELETE", rate=0.5, seed=seed, count=100)
            out = []
            for _ in range(12):
                _, reply = client.api_client.jobs_api.destroy_annotations(1, _check_status=False)
                out.append(reply.status)
            return out

    assert outcomes(1) == outcomes(1) != outcomes(2)
    assert set(outcomes(1)) == {204, 500}


def test_a_hook_comes_just_before_its_request(server, create):
    face = server.human.draw(1, 0, (1, 2, 3, 4))
    server.before(lambda request: server.human.delete(face), method="PATCH")
    create()
    assert face not in server.store.jobs[1].shapes
    create()
    assert stored(server) == 2


def test_a_fault_that_does_not_exist(server):
    with pytest.raises(ValueError, match=f"expected one of {', '.join(FAULTS)}"):
        server.fault("earthquake")
