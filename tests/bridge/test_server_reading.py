"""Tasks, jobs, labels and frames through the real cvat-sdk, as the fake server sends them."""

from __future__ import annotations

import copy
import threading

import cvat_sdk
import numpy as np
import pytest
from fake_cvat import FakeCvat

from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.frames import stream_frames
from auto_annotator.bridge.retry import Backoff
from auto_annotator.bridge.server import Server
from auto_annotator.errors import ImageError

QUICK = Backoff(base=0.0, attempts=4)


@pytest.fixture
def fake():
    with FakeCvat(seed=3) as server:
        yield server


@pytest.fixture
def server(fake):
    client = cvat_sdk.Client(fake.url, check_server_version=False)
    client.login(cvat_sdk.core.client.AccessTokenCredentials(fake.token))
    made = Server(client, backoff=QUICK)
    yield made
    made.close()


def test_a_task_with_everything(fake, server):
    made = fake.make_task(
        frames=[(640, 480), (320, 240), (64, 48)], job_size=2, deleted_frames=[1], names=["a.jpg", "b.jpg", "c.jpg"]
    )
    (task,) = server.tasks(tasks=[made.id])
    assert (task.id, task.project, task.size, task.video) == (made.id, None, 3, False)
    assert [(job.task, job.start, job.stop) for job in task.jobs] == [(made.id, 0, 1), (made.id, 2, 2)]
    assert task.deleted_frames == {1} and task.frames == (0, 2)
    assert task.frame_sizes == ((640, 480), (320, 240), (64, 48)) and task.frame_size(2) == (64, 48)
    assert task.frame_names == ("a.jpg", "b.jpg", "c.jpg")
    face, points, error = task.labels
    assert (face.name, points.type, error.type) == ("face", "skeleton", "tag")
    assert face.attribute("person").mutable is False and face.attribute("score").values == ("0", "100", "1")
    assert face.attribute("nothing") is None and len(points.sublabels) == 5
    assert task.job_of(2) == task.jobs[1] and task.job_of(3) is None


def test_one_entry_of_a_video_stands_for_all_frames(fake, server):
    made = fake.make_task(frames=5, video=True)
    (task,) = server.tasks(tasks=[made.id])
    assert task.video and task.frame_sizes == ((640, 480),) * 5 and task.frame_size(4) == (640, 480)
    frames = list(stream_frames(server, task, task.frames, max_pixels=10**7))
    assert [number for number, _ in frames] == [0, 1, 2, 3, 4] and all(image.shape == (480, 640, 3) for _, image in frames)


def test_scopes_are_merged_and_ordered(fake, server):
    project = fake.make_project()
    first, second = (fake.make_task(frames=4, job_size=2, project=project) for _ in range(2))
    alone = fake.make_task(frames=4, job_size=2)
    scope = server.tasks(
        projects=[project.id, project.id], jobs=[alone.jobs[1].id, alone.jobs[1].id, first.jobs[0].id], tasks=[second.id]
    )
    assert [task.id for task in scope] == [first.id, second.id, alone.id]
    assert [len(task.jobs) for task in scope] == [2, 2, 1]
    assert scope[2].jobs[0].id == alone.jobs[1].id and scope[2].frames == (2, 3)
    assert scope[0].project == project.id and scope[0].labels[0].name == "face"


def test_two_jobs_of_one_task_are_both_kept(fake, server):
    made = fake.make_task(frames=6, job_size=2)
    (task,) = server.tasks(jobs=[made.jobs[2].id, made.jobs[0].id])
    assert [job.id for job in task.jobs] == [made.jobs[0].id, made.jobs[2].id]


def test_ground_truth_and_replicas_are_no_jobs_of_the_task(fake, server):
    made = fake.make_task(frames=6, job_size=3, ground_truth=[1, 4], replicas=2)
    (task,) = server.tasks(tasks=[made.id])
    assert [(job.start, job.stop) for job in task.jobs] == [(0, 2), (3, 5)]
    truth = next(job for job in server.raw_jobs(made.id) if job["type"] == "ground_truth")
    assert server.job_frames(truth["id"]) == (1, 4)
    with pytest.raises(ServerError, match="ground_truth"):
        server.tasks(jobs=[truth["id"]])


def test_more_jobs_and_tasks_than_a_page_holds(fake, server):
    made = fake.make_task(frames=230, job_size=1)
    (task,) = server.tasks(tasks=[made.id])
    assert [job.start for job in task.jobs] == list(range(230))


def test_a_task_without_pictures_says_so(fake, server):
    made = fake.make_task(frames=0)
    with pytest.raises(ServerError, match="no pictures or video yet: upload"):
        server.tasks(tasks=[made.id])


def test_a_project_leaves_out_tasks_without_pictures(fake, server, caplog):
    project = fake.make_project()
    fake.make_task(frames=0, project=project)
    with pytest.raises(ServerError, match="no tasks with pictures"):
        server.tasks(projects=[project.id])
    full = fake.make_task(frames=1, project=project)
    assert [task.id for task in server.tasks(projects=[project.id])] == [full.id]
    assert "1 tasks have no pictures" in caplog.text


@pytest.mark.parametrize("kind", ["task", "job", "project"])
def test_what_is_not_there_says_so(fake, server, kind):
    with pytest.raises(ServerError, match=f"{kind} 99 is not on .*404") as caught:
        server.tasks(**{f"{kind}s": [99]})
    assert caught.value.status == 404


def test_annotations_are_what_the_server_sent_and_go_back_unharmed(fake, server):
    made = fake.make_task(frames=2)
    job = made.jobs[0].id
    face = fake.human.draw(job, 0, (1.5, 2.25, 30.125, 40.0625), source="auto")
    fake.human.draw(job, 1, (1, 2, 3, 4))
    before = fake.snapshot()
    raw = server.annotations(job)
    assert set(raw) >= {"version", "tags", "shapes", "tracks"} and {shape["source"] for shape in raw["shapes"]} == {
        "auto",
        "manual",
    }
    server.patch(job, "update", {"shapes": copy.deepcopy(raw["shapes"])})
    assert fake.snapshot() == before and face in {shape["id"] for shape in server.annotations(job)["shapes"]}


def test_writes_are_counted_apart(fake, server):
    made = fake.make_task(frames=1)
    job = made.jobs[0].id
    assert (server.requests, server.writes) == (1, 0)  # the version
    server.annotations(job)
    server.patch(job, "create", {"shapes": []})
    assert (server.requests, server.writes) == (3, 1) == (len(fake.requests), fake.writes)


def test_issues(fake, server):
    made = fake.make_task(frames=1)
    job = made.jobs[0].id
    assert server.issues(job) == []
    made_issue = server.create_issue(job, 0, [1, 2, 30, 40], "who is this?")
    (issue,) = server.issues(job)
    assert issue["id"] == made_issue["id"] and issue["frame"] == 0 and issue["position"] == [1, 2, 30, 40]
    assert [comment["message"] for comment in server.issue_comments(job)] == ["who is this?"]


def test_links_into_the_job_page(fake, server):
    assert server.job_url(3, 7) == f"{fake.url}/tasks/3/jobs/7"
    assert server.job_url(3, 7, frame=4) == f"{fake.url}/tasks/3/jobs/7?frame=4"
    assert server.job_url(3, 7, frame=4, shape=9) == f"{fake.url}/tasks/3/jobs/7?frame=4&serverID=9&type=shape"
    assert server.job_url(3, 7, frame=4, shape=9, kind="track").endswith("type=track")


def test_frames_come_in_order_whatever_arrives_first(fake, server):
    fills = [np.full((8, 8, 3), value * 20, np.uint8) for value in range(12)]
    made = fake.make_task(frames=fills)
    (task,) = server.tasks(tasks=[made.id])
    fake.fault("slow", seconds=0.05, path="/data", count=1)  # the first one comes last
    wanted = [11, 3, 3, 0, 7, 1]
    got = list(stream_frames(server, task, wanted, max_pixels=10**6, ahead=3))
    assert [number for number, _ in got] == wanted
    assert [int(image[0, 0, 0]) // 20 for _, image in got] == wanted


def test_frames_are_fetched_no_further_ahead_than_asked(fake, server):
    made = fake.make_task(frames=20)
    (task,) = server.tasks(tasks=[made.id])
    asked = []

    def numbers():
        for number in range(20):
            asked.append(number)
            yield number

    stream = stream_frames(server, task, numbers(), max_pixels=10**7, ahead=2)
    next(stream)
    assert len(asked) == 3
    stream.close()
    assert len(asked) == 3
    with pytest.raises(ValueError, match="ahead"):
        list(stream_frames(server, task, [0], max_pixels=1, ahead=0))


def test_a_bad_frame_does_not_end_the_stream(fake, server):
    made = fake.make_task(frames=[np.zeros((8, 8, 3), np.uint8), b"no picture", np.zeros((80, 80, 3), np.uint8), (8, 8)])
    (task,) = server.tasks(tasks=[made.id])
    fake.fault("status", status=500, path="/data", skip=0, count=1)
    got = dict(stream_frames(server, task, [3, 0, 1, 2, 99], max_pixels=1000, ahead=1))
    reasons = {number: value.reason for number, value in got.items() if isinstance(value, ImageError)}
    assert reasons == {3: "unreadable_file", 1: "not_an_image", 2: "too_many_pixels", 99: "unreadable_file"}
    assert got[0].shape == (8, 8, 3)


def test_a_server_that_is_gone_ends_the_stream(fake, server):
    made = fake.make_task(frames=3)
    (task,) = server.tasks(tasks=[made.id])
    fake.fault("status", status=503, path="/data", count=100)
    with pytest.raises(ServerError, match="busy or failing"):
        list(stream_frames(server, task, task.frames, max_pixels=10**7))


def test_threads_share_one_server(fake, server):
    made = fake.make_task(frames=1)
    before, failures = server.requests, []

    def work():
        try:
            for _ in range(10):
                server.annotations(made.jobs[0].id)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and server.requests - before == 80
