"""What the network and the server do to requests, and what becomes of them; writes land exactly once."""

from __future__ import annotations

import cvat_sdk
import pytest
from fake_cvat import FakeCvat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_annotator.bridge import converge as converge_module
from auto_annotator.bridge import retry, transport
from auto_annotator.bridge.converge import Write, converge
from auto_annotator.bridge.errors import ServerError, Unsure
from auto_annotator.bridge.retry import Backoff, backoff_of_environment, parse_retry_after
from auto_annotator.bridge.server import Server
from auto_annotator.errors import ConfigError

QUICK = Backoff(base=0.0, attempts=7)


def connected(fake):
    client = cvat_sdk.Client(fake.url, check_server_version=False)
    client.login(cvat_sdk.core.client.AccessTokenCredentials(fake.token))
    return Server(client, backoff=QUICK)


@pytest.fixture
def fake():
    with FakeCvat(seed=3) as server:
        yield server


@pytest.fixture
def server(fake):
    return connected(fake)


@pytest.fixture
def waits(monkeypatch):
    """Every wait that was asked for, in seconds; none is waited for."""
    asked = []
    for module in (transport, converge_module):
        monkeypatch.setattr(module, "pause", asked.append)
    return asked


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_reads_are_repeated_while_the_server_is_busy(fake, server, waits, status):
    job = fake.make_task(frames=1).jobs[0].id
    fake.forget()
    fake.fault("status", status=status, count=3)
    assert server.annotations(job)["shapes"] == []
    assert len(fake.requests) == 4 and len(waits) == 3


@pytest.mark.parametrize("kind", ["reset", "truncated"])
def test_reads_are_repeated_after_a_broken_connection(fake, server, waits, kind):
    job = fake.make_task(frames=1).jobs[0].id
    fake.forget()
    fake.fault(kind, count=2)
    assert server.annotations(job)["shapes"] == []
    assert len(fake.requests) == 3


def test_reads_give_up_in_the_end(fake, server, waits):
    job = fake.make_task(frames=1).jobs[0].id
    fake.forget()
    fake.fault("status", status=503, count=99)
    with pytest.raises(ServerError, match=r"busy or failing \(503\)") as caught:
        server.annotations(job)
    assert not isinstance(caught.value, Unsure)  # a read that failed leaves nothing in doubt
    assert len(fake.requests) == QUICK.attempts


def test_retry_after_is_waited_for(fake, server, waits):
    job = fake.make_task(frames=1).jobs[0].id
    fake.fault("status", status=429, retry_after=17, count=1)
    server.annotations(job)
    assert waits == [17]


@pytest.mark.parametrize("status", [400, 403, 500])
def test_an_answer_that_stays_is_asked_for_once(fake, server, status):
    job = fake.make_task(frames=1).jobs[0].id
    fake.forget()
    fake.fault("status", status=status, count=99)
    with pytest.raises(ServerError) as caught:
        server.annotations(job)
    assert caught.value.status == status and len(fake.requests) == 1


def test_the_token_may_expire_on_the_way(fake, server):
    job = fake.make_task(frames=1).jobs[0].id
    server.annotations(job)
    fake.expire_token()
    with pytest.raises(ServerError, match=r"401.*expired.*make a new token") as caught:
        server.annotations(job)
    assert fake.token not in str(caught.value)


@pytest.mark.parametrize("kind", ["reset", "reset_in_body", "reset_after_commit", "truncated"])
def test_a_write_that_broke_off_is_unsure_and_sent_once(fake, server, kind):
    job = fake.make_task(frames=1).jobs[0].id
    fake.forget()
    fake.fault(kind, method="PATCH")
    with pytest.raises(Unsure):
        server.patch(job, "create", {"shapes": []})
    assert fake.writes == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_write_that_failed_at_the_server_is_unsure(fake, server, status):
    job = fake.make_task(frames=1).jobs[0].id
    fake.forget()
    fake.fault("status", status=status, retry_after=3, method="PATCH")
    with pytest.raises(Unsure) as caught:
        server.patch(job, "create", {"shapes": []})
    assert caught.value.retry_after == 3 and fake.writes == 1


def test_a_write_that_was_refused_is_no_doubt(fake, server):
    job = fake.make_task(frames=1).jobs[0].id
    with pytest.raises(ServerError, match="refused the request") as caught:
        server.patch(job, "create", {"shapes": [{"frame": 0, "label_id": 99, "type": "rectangle", "points": [0, 0, 1, 1]}]})
    assert not isinstance(caught.value, Unsure) and caught.value.status == 400


def shapes_of(label, boxes):
    return [
        {"type": "rectangle", "frame": 0, "label_id": label, "points": list(map(float, box)), "occluded": False, "z_order": 0,
         "rotation": 0.0, "outside": False, "group": 0, "source": "auto", "attributes": []}
        for box in boxes
    ]  # fmt: skip


def exactly(label, boxes, chunk=2):
    """What is pending until each box is there once; items that stand there twice are deleted."""

    def pending(now):
        there = {}
        twice = [shape for shape in now["shapes"] if there.setdefault(tuple(shape["points"]), shape) is not shape]
        missing = [box for box in boxes if tuple(map(float, box)) not in there]
        writes = [Write(action="delete", body={"shapes": twice})] if twice else []
        parts = [missing[i : i + chunk] for i in range(0, len(missing), chunk)]
        return writes + [Write(action="create", body={"shapes": shapes_of(label, part)}) for part in parts]

    return pending


FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["status", "status_after_commit", "reset", "reset_in_body", "reset_after_commit", "truncated"]),
        st.sampled_from(["PATCH", "GET", ""]),
        st.integers(0, 4),
    ),
    max_size=5,
)


@given(faults=FAULTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_everything_lands_exactly_once(fake, server, faults):
    task = fake.make_task(frames=1)
    job, label = task.jobs[0].id, server.tasks(tasks=[task.id])[0].labels[0].id
    boxes = [(i, i, i + 10, i + 10) for i in range(7)]
    fake.faults.clear()
    for kind, method, skip in faults:
        fake.fault(kind, method=method, skip=skip)
    final = converge(server, job, exactly(label, boxes), wait=lambda failures: 0.0)
    fake.faults.clear()
    points = sorted(tuple(shape["points"]) for shape in server.annotations(job)["shapes"])
    assert points == sorted(tuple(map(float, box)) for box in boxes)
    assert sorted(tuple(shape["points"]) for shape in final["shapes"]) == points


def test_a_write_that_was_done_is_not_sent_again(fake, server, waits):
    task = fake.make_task(frames=1)
    job, label = task.jobs[0].id, server.tasks(tasks=[task.id])[0].labels[0].id
    fake.forget()
    fake.fault("reset_after_commit", method="PATCH")
    converge(server, job, exactly(label, [(0, 0, 5, 5)]))
    assert fake.writes == 1 and len(server.annotations(job)["shapes"]) == 1 and len(waits) == 1


def test_nothing_pending_writes_nothing(fake, server):
    job = fake.make_task(frames=1).jobs[0].id
    fake.forget()
    converge(server, job, lambda now: [])
    assert fake.writes == 0 and len(fake.requests) == 1


def test_giving_up_says_that_one_may_go_on(fake, server, waits):
    job = fake.make_task(frames=1).jobs[0].id
    fake.forget()
    fake.fault("status", status=503, method="PATCH", count=99)
    with pytest.raises(ServerError, match=r"gave up after 3 tries.*start the command again"):
        converge(server, job, lambda now: [Write(action="create", body={})], attempts=3)
    assert fake.writes == 3


def test_an_update_that_meets_the_one_before_it_is_tried_again(fake, server, waits):
    job = fake.make_task(frames=1).jobs[0].id
    fake.fault("status", status=504, method="PATCH")
    fake.fault("status", status=400, method="PATCH")
    todo = [[Write(action="update", body={})]] * 3
    converge(server, job, lambda now: todo.pop() if todo else [])
    assert fake.writes == 3 and len(waits) == 2


def test_an_update_that_is_refused_at_once_is_wrong(fake, server):
    job = fake.make_task(frames=1).jobs[0].id
    fake.fault("status", status=400, method="PATCH")
    with pytest.raises(ServerError, match="400"):
        converge(server, job, lambda now: [Write(action="update", body={})])


def test_progress_counts_as_a_new_start(fake, server, waits):
    task = fake.make_task(frames=1)
    job, label = task.jobs[0].id, server.tasks(tasks=[task.id])[0].labels[0].id
    rest = exactly(label, [(i, 0, i + 5, 5) for i in range(14)], chunk=1)

    def pending(now):  # every second write fails
        fake.faults.clear()
        fake.fault("status", status=502, method="PATCH", skip=1)
        return rest(now)

    converge(server, job, pending, attempts=2)
    assert len(server.annotations(job)["shapes"]) == 14 and len(waits) > 5


def test_writes_that_are_accepted_and_lost_between_failures_end(fake, server, waits):
    job = fake.make_task(frames=1).jobs[0].id

    def pending(now):
        fake.faults.clear()
        fake.fault("status", status=502, method="PATCH", skip=1)
        return [Write(action="update", body={})] * 2

    with pytest.raises(ServerError, match="gave up"):
        converge(server, job, pending, attempts=3)


def test_a_server_that_keeps_something_else_is_not_asked_for_ever(fake, server):
    job = fake.make_task(frames=1).jobs[0].id
    fake.forget()
    with pytest.raises(ServerError, match="does not keep them"):
        converge(server, job, lambda now: [Write(action="update", body={})])
    assert 1 < fake.writes < 10


@given(failures=st.integers(1, 5000), base=st.floats(0, 10), after=st.none() | st.floats(0, 1e9))
def test_waits_are_bounded_and_never_shorter_than_asked(failures, base, after):
    backoff = Backoff(base=base)
    seconds = backoff.seconds(failures, after)
    assert 0 <= seconds <= backoff.patience and seconds >= min(after or 0, backoff.patience)
    assert backoff.seconds(failures + 1, after) >= seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("3", 3.0), ("0", 0.0), (None, None), ("", None), ("Wed, 21 Oct 2026", None), ("-1", 0.0)]
)
def test_retry_after(text, seconds):
    assert parse_retry_after(text) == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "1e9"])
def test_a_wrong_waiting_time_names_its_variable(monkeypatch, text):
    monkeypatch.setenv(retry.RETRY_SECONDS, text)
    with pytest.raises(ConfigError, match=retry.RETRY_SECONDS):
        backoff_of_environment()


def test_the_first_wait_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv(retry.RETRY_SECONDS, "0.25")
    assert [backoff_of_environment().seconds(n) for n in (1, 2, 3)] == [0.25, 0.5, 1.0]
