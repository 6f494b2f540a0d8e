"""The fake CVAT server through the real SDK: login, lists, labels, issues."""

from __future__ import annotations

import pytest
from fake_cvat import FakeCvat

from auto_annotator.cvat.labels import label_constructor

cvat_sdk = pytest.importorskip("cvat_sdk")

from cvat_sdk import models  # noqa: E402 - only with the extra
from cvat_sdk.api_client import exceptions  # noqa: E402


@pytest.fixture
def server():
    with FakeCvat(seed=5) as running:
        yield running


@pytest.fixture
def client(server):
    with cvat_sdk.make_client(server.url, access_token=server.token) as opened:
        server.forget()
        yield opened


def test_login_by_password_sends_cookies_and_the_csrf_token_with_writes(server):
    task = server.make_task(1)
    with cvat_sdk.make_client(server.url, credentials=server.login) as client:
        assert client.users.retrieve_current_user().username == "annotator"
        client.tasks.retrieve(task.id).remove_annotations()
        del client.api_client.configuration.api_key["csrfHeaderAuth"]
        with pytest.raises(exceptions.ForbiddenException):
            client.tasks.retrieve(task.id).remove_annotations()


def test_a_wrong_password_is_a_400(server):
    with pytest.raises(exceptions.ApiException) as caught:
        cvat_sdk.make_client(server.url, credentials=("annotator", "wrong"))
    assert caught.value.status == 400


def test_only_the_version_is_told_without_login(server):
    with cvat_sdk.make_client(server.url) as client:
        assert str(client.get_server_version()) == "2.54.1"
        with pytest.raises(exceptions.UnauthorizedException):
            client.users.retrieve_current_user()


def test_an_expired_token_is_a_401(server, client):
    client.users.retrieve_current_user()
    server.expire_token()
    with pytest.raises(exceptions.UnauthorizedException):
        client.tasks.list()


def test_requests_are_recorded_without_secrets(server, client):
    task = server.make_task(1)
    client.tasks.retrieve(task.id).remove_annotations()
    seen = [(r.method, r.path, r.has_auth) for r in server.requests]
    path = f"/api/tasks/{task.id}"
    assert seen == [("GET", path, True), ("DELETE", f"{path}/annotations/", True)]
    assert server.writes == 1
    assert server.token not in repr(server.requests)


def test_an_organisation_shows_its_own(server, client):
    team = server.add_organization("team")
    own, ours = server.make_task(1), server.make_task(1, organization=team)
    assert [t.id for t in client.tasks.list()] == [ours.id, own.id]
    client.organization_slug = "team"
    assert [t.id for t in client.tasks.list()] == [ours.id]
    client.organization_slug = ""
    assert [t.id for t in client.tasks.list()] == [own.id]
    client.organization_slug = "nobody"
    with pytest.raises(exceptions.NotFoundException):
        client.tasks.list()


def test_lists_come_in_pages_newest_first(server, client):
    tasks = [server.make_task(1).id for _ in range(23)]
    page, _ = client.api_client.tasks_api.list(page_size=10)
    assert [t.id for t in page.results] == tasks[:-11:-1]
    assert page.count == 23
    assert [t.id for t in client.tasks.list()] == tasks[::-1]
    with pytest.raises(exceptions.NotFoundException):
        client.api_client.tasks_api.list(page=4)


def test_lists_take_filters_of_fields_and_of_logic(server, client):
    project = server.make_project()
    inside, outside = server.make_task(2, project=project), server.make_task(2, video=True)
    assert [t.id for t in client.tasks.list(project_id=project.id)] == [inside.id]
    assert [t.id for t in client.tasks.list(id__in=[outside.id, 99])] == [outside.id]
    assert [t.id for t in client.tasks.list(mode="interpolation")] == [outside.id]
    assert [j.task_id for j in client.jobs.list(task_id=inside.id)] == [inside.id]
    assert [j.task_id for j in client.jobs.list(project_id=project.id)] == [inside.id]
    assert client.projects.retrieve(project.id).tasks.count == 1
    with pytest.raises(exceptions.ApiException):
        client.tasks.list(filter='{"==":[{"var":"no_such_field"},1]}')


def test_jobs_of_all_kinds(server, client):
    task = server.make_task(10, job_size=4, replicas=1, ground_truth=(2, 7))
    jobs = {j.id: j for j in client.tasks.retrieve(task.id).get_jobs()}
    kinds = [(j.type, j.start_frame, j.stop_frame, j.frame_count, j.parent_job_id) for _, j in sorted(jobs.items())]
    parents = [j.id for j in task.jobs if j.type == "annotation"]
    annotation, replica = "annotation", "consensus_replica"
    assert kinds == [
        *((kind, a, b, b - a + 1, parent) for (a, b), of in zip(((0, 3), (4, 7), (8, 9)), parents, strict=True)
          for kind, parent in ((annotation, None), (replica, of))),
        ("ground_truth", 0, 9, 2, None),
    ]  # fmt: skip
    meta = client.jobs.retrieve(task.jobs[-1].id).get_meta()
    assert (meta.included_frames, len(meta.frames)) == ([2, 7], 2)
    job = client.jobs.retrieve(parents[0]).update({"stage": "validation", "state": "completed"})
    assert (job.stage, job.state) == ("validation", "completed")


def test_labels_of_task_project_and_job_are_ours_with_their_points(server, client):
    project = server.make_project()
    task = server.make_task(2, project=project)
    ways = ({"task_id": task.id}, {"project_id": project.id}, {"job_id": task.jobs[0].id})
    for way in ways:
        labels = client.api_client.labels_api.list(**way)[0].results
        assert [(x.name, str(x.type)) for x in labels] == [(x["name"], x["type"]) for x in label_constructor()]
        assert [a.name for a in labels[0].attributes] == [a["name"] for a in label_constructor()[0]["attributes"]]
        assert len(labels[1].sublabels) == 5
        assert labels[0].project_id == project.id
    everything = client.api_client.labels_api.list(page_size=100)[0].results
    assert sum(bool(x.parent_id) for x in everything) == 5


def test_patch_of_labels_adds_and_keeps(server, client):
    task = server.make_task(1, labels=[{"name": "face", "type": "rectangle", "color": "#112233", "attributes": []}])
    known = client.tasks.retrieve(task.id).get_labels()[0]
    face = server.human.draw(task.jobs[0].id, 0, (1, 2, 30, 40))
    attribute = {"name": "person", "mutable": False, "input_type": "text", "values": [""], "default_value": ""}
    request = [
        {"id": known.id, "color": known.color, "attributes": [attribute]},
        {"name": "other", "type": "tag", "attributes": []},
    ]
    client.api_client.tasks_api.partial_update(task.id, patched_task_write_request={"labels": request})
    first, second = client.tasks.retrieve(task.id).get_labels()
    assert (first.id, first.name, first.color, second.name) == (known.id, "face", "#112233", "other")
    assert server.human.see(face)["attributes"] == {"person": ""}
    spec = first.attributes[0].id
    again = [{"id": known.id, "attributes": [attribute | {"default_value": "none"}]}]
    client.api_client.tasks_api.partial_update(task.id, patched_task_write_request={"labels": again})
    first = client.tasks.retrieve(task.id).get_labels()[0]
    assert [(a.id, a.default_value) for a in first.attributes] == [(spec, "none")]
    assert first.color != "#112233", "a color left out is chosen anew"


def test_patch_of_labels_deletes_what_says_so_with_its_annotations(server, client):
    project = server.make_project()
    task = server.make_task(1, project=project)
    job = task.jobs[0].id
    kept = server.human.draw(job, 0, (1, 2, 30, 40), reasons="blurred")
    server.human.tag(job, 0)
    face, _, error = client.projects.retrieve(project.id).get_labels()
    reasons = next(a for a in face.attributes if a.name == "reasons")
    gone = {"id": reasons.id, "name": "reasons", "mutable": True, "input_type": "text", "values": [""], "deleted": True}
    request = [{"id": error.id, "deleted": True}, {"id": face.id, "attributes": [gone]}]
    client.api_client.projects_api.partial_update(project.id, patched_project_write_request={"labels": request})
    annotations = client.tasks.retrieve(task.id).get_annotations()
    assert [s.id for s in annotations.shapes] == [kept]
    assert annotations.tags == []
    assert "reasons" not in server.human.see(kept)["attributes"]


@pytest.mark.parametrize(
    ("labels", "status"),
    [
        ([{"id": 999, "name": "x"}], 404),
        ([{"name": "face", "type": "rectangle", "attributes": []}], 400),
        ([{"name": "bare", "type": "skeleton", "attributes": []}], 400),
    ],
)
def test_patch_of_labels_that_cvat_refuses_changes_nothing(server, client, labels, status):
    task = server.make_task(1)
    before = server.snapshot()
    with pytest.raises(exceptions.ApiException) as caught:
        client.api_client.tasks_api.partial_update(task.id, patched_task_write_request={"labels": labels})
    assert caught.value.status == status
    assert server.snapshot() == before


def test_labels_of_a_task_in_a_project_are_the_projects(server, client):
    task = server.make_task(1, project=server.make_project())
    with pytest.raises(exceptions.ApiException) as caught:
        client.api_client.tasks_api.partial_update(task.id, patched_task_write_request={"labels": [{"name": "new"}]})
    assert caught.value.status == 400


def test_issues_and_comments(server, client):
    task = server.make_task(4, job_size=2)
    one, two = (job.id for job in task.jobs)
    issue = client.issues.create(models.IssueWriteRequest(frame=1, position=[1.5, 2, 30, 40], job=one, message="who?"))
    client.issues.create(models.IssueWriteRequest(frame=3, position=[1, 2, 30, 40], job=two, message="two names"))
    assert [i.id for i in client.issues.list(job_id=one)] == [issue.id]
    assert (issue.position, issue.resolved) == ([1.5, 2, 30, 40], False)
    client.comments.create(models.CommentWriteRequest(issue=issue.id, message="she"))
    assert [c.message for c in client.comments.list(job_id=one)] == ["she", "who?"]
    assert [c.message for c in client.issues.retrieve(issue.id).get_comments()] == ["she", "who?"]
    assert issue.update({"resolved": True}).resolved
    assert [i.id for i in client.issues.list(resolved=True)] == [issue.id]
    assert client.jobs.retrieve(one).issues.count == 1
    issue.remove()
    assert len(client.issues.list()) == len(client.comments.list()) == 1


def test_what_is_not_there_is_a_404(client):
    for asked in (client.tasks, client.jobs, client.projects, client.issues):
        with pytest.raises(exceptions.NotFoundException):
            asked.retrieve(99)
