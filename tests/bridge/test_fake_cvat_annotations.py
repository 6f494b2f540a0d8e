"""The fake CVAT server through the real SDK: what reads and writes of annotations mean."""

from __future__ import annotations

import json

import pytest
import urllib3
from fake_cvat import FakeCvat, normalised

cvat_sdk = pytest.importorskip("cvat_sdk")

from cvat_sdk.api_client import exceptions  # noqa: E402 - only with the extra

BOX = (10.25, 20.5, 50.123456789, 60.0)


class Bench:
    """One task of a server, and raw requests to one of its jobs through the SDK."""

    def __init__(self, server: FakeCvat, client, frames: int = 4, job_size: int = 0, **options) -> None:
        self.server, self.api = server, client.api_client
        self.task = server.make_task(frames, job_size=job_size, **options)
        self.job = self.task.jobs[0].id
        self.labels = {label.name: label for label in server.store.labels_of(self.task).values()}

    def spec(self, name: str, label: str = "face") -> int:
        return self.labels[label].attribute(name).id

    def read(self, job: int | None = None) -> dict:
        _, reply = self.api.jobs_api.retrieve_annotations(job or self.job, _parse_response=False)
        return json.loads(reply.data)

    def patch(self, action: str, job: int | None = None, **body) -> dict:
        request = {"tags": [], "shapes": [], "tracks": []} | body
        _, reply = self.api.jobs_api.partial_update_annotations(
            action, job or self.job, patched_labeled_data_request=request, _parse_response=False
        )
        return json.loads(reply.data)

    def raw(self, query: str, body: dict) -> int:
        """Status of a PATCH that the SDK would not let out."""
        headers = {"Authorization": f"Bearer {self.server.token}"}
        path = f"{self.server.url}/api/jobs/{self.job}/annotations/{query}"
        return urllib3.request("PATCH", path, json=body, headers=headers, retries=False).status

    def shape(self, **changes) -> dict:
        return {"type": "rectangle", "label_id": self.labels["face"].id, "frame": 0, "points": list(BOX)} | changes

    def values(self, row: dict) -> dict[str, str]:
        names = {a.id: a.name for label in self.labels.values() for a in label.attributes.values()}
        return {names[v["spec_id"]]: v["value"] for v in row["attributes"]}


@pytest.fixture(params=[False, True], ids=["ids stay", "ids change"])
def bench(request):
    with (
        FakeCvat(seed=3, ids_change_on_update=request.param) as server,
        cvat_sdk.make_client(server.url, access_token=server.token) as client,
    ):
        yield Bench(server, client, job_size=2)


def test_create_gives_growing_ids_and_keeps_all_fields(bench):
    sent = bench.shape(group=3, z_order=2, occluded=True, rotation=12.5, score=0.25, source="auto")
    first, second = (bench.patch("create", shapes=[sent])["shapes"][0]["id"] for _ in range(2))
    assert second > first
    row = bench.read()["shapes"][0]
    assert row["id"] == first
    assert {k: row[k] for k in sent} == sent, "floats as they were sent"
    assert (row["outside"], row["elements"]) == (False, [])


def test_objects_show_every_attribute_of_their_label_in_any_order(bench):
    bench.patch("create", shapes=[bench.shape(attributes=[{"spec_id": bench.spec("person"), "value": "p0001"}])])
    orders = set()
    for _ in range(8):
        row = bench.read()["shapes"][0]
        orders.add(tuple(v["spec_id"] for v in row["attributes"]))
        assert bench.values(row) == {
            **{"score": "0", "votes": "", "review": "false", "reasons": "", "quality": "0"},
            **{"person": "p0001", "name": "", "face_key": ""},
        }
    assert len(orders) > 1


def test_update_resets_what_is_left_out(bench):
    bench.patch(
        "create", shapes=[bench.shape(source="auto", group=1, attributes=[{"spec_id": bench.spec("name"), "value": "Ada"}])]
    )
    row = bench.read()["shapes"][0]
    bench.patch("update", shapes=[bench.shape(id=row["id"])])
    after = bench.read()["shapes"][0]
    assert bench.values(after)["name"] == ""
    assert (after["source"], after["group"]) == ("manual", None)
    assert (after["id"] == row["id"]) is not bench.server.store.ids_change_on_update


def test_update_of_a_full_shape_changes_one_value_and_nothing_else(bench):
    bench.server.album(people=3, frames=4, seed=1)
    album = bench.server.store.tasks[2]
    job = album.jobs[0].id
    labels = {label.name: label for label in bench.server.store.labels_of(album).values()}
    before = bench.server.snapshot()
    row = bench.read(job)["shapes"][0]
    spec = labels["face"].attribute("person").id
    values = [v for v in row["attributes"] if v["spec_id"] != spec]
    bench.patch("update", job, shapes=[row | {"attributes": [*values, {"spec_id": spec, "value": "p0007"}]}])
    after = bench.server.snapshot()
    assert after != before
    number = next(n for n, r in after["jobs"][job]["shapes"].items() if r["attributes"].get("person") == "p0007")
    after["jobs"][job]["shapes"][number]["attributes"]["person"] = ""
    assert normalised(after, ids=False) == normalised(before, ids=False)


def test_update_of_what_is_gone_makes_it_again(bench):
    number = bench.patch("create", shapes=[bench.shape()])["shapes"][0]["id"]
    bench.server.human.delete(number)
    bench.patch("update", shapes=[bench.shape(id=number)])
    (row,) = bench.read()["shapes"]
    assert (row["id"] == number) is not bench.server.store.ids_change_on_update


def test_delete_goes_by_id_and_does_not_mind_what_is_gone(bench):
    first, second = (bench.patch("create", shapes=[bench.shape()])["shapes"][0]["id"] for _ in range(2))
    for _ in range(2):
        bench.patch("delete", shapes=[bench.shape(id=first)])
        assert [s["id"] for s in bench.read()["shapes"]] == [second]
    bench.patch("delete", bench.task.jobs[1].id, shapes=[bench.shape(id=second)])
    assert len(bench.read()["shapes"]) == 1, "an id of another job is left alone"


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"attributes": [{"spec_id": 999, "value": "x"}]}, 400),
        ({"label_id": 999}, 400),
        ({"type": "box"}, 400),
        ({"frame": 2}, 400),
        ({"rotation": 400.0}, 400),
        ({"group": -1}, 400),
        ({"attributes": [{"spec_id": 1, "value": True}]}, 400),
        ({"attributes": [{"spec_id": 1, "value": "x" * 4097}]}, 400),
        ({"points": ["1", 2, 3, 4]}, 400),
        ({"score": 1.5}, 400),
        ({"id": 1}, 500),
    ],
    ids=lambda v: str(v)[:20],
)
def test_a_request_is_stored_as_a_whole_or_not_at_all(bench, wrong, status):
    bench.patch("create", shapes=[bench.shape()])
    before = bench.server.snapshot()
    body = {"tags": [{"label_id": bench.labels["face_error"].id, "frame": 0}], "shapes": [bench.shape(), bench.shape() | wrong]}
    assert bench.raw("?action=create", body) == status
    assert bench.server.snapshot() == before
    bench.patch("create", shapes=[bench.shape()])


def test_the_action_must_be_known(bench):
    assert [bench.raw(query, {}) for query in ("", "?action=replace", "?action=create")] == [400, 400, 200]


def test_values_are_not_looked_at(bench):
    values = [{"spec_id": bench.spec("score"), "value": "9999"}, {"spec_id": bench.spec("review"), "value": "maybe"}]
    bench.patch("create", shapes=[bench.shape(attributes=values)])
    found = bench.values(bench.read()["shapes"][0])
    assert (found["score"], found["review"]) == ("9999", "maybe")


def test_skeletons_keep_their_elements_in_any_order(bench):
    label = bench.labels["face_landmarks"]
    elements = [
        {"type": "points", "label_id": point, "frame": 1, "points": [float(i), 2.5], "outside": i == 3, "occluded": i == 2}
        for i, point in enumerate(label.sublabels)
    ]
    bench.patch("create", shapes=[{"type": "skeleton", "label_id": label.id, "frame": 1, "elements": elements, "group": 1}])
    orders = set()
    for _ in range(8):
        (row,) = bench.read()["shapes"]
        orders.add(tuple(e["label_id"] for e in row["elements"]))
        found = {e["label_id"]: (e["points"], e["outside"], e["occluded"]) for e in row["elements"]}
        assert found == {e["label_id"]: (e["points"], e["outside"], e["occluded"]) for e in elements}
        assert row["points"] == []
    assert len(orders) > 1
    old = {row["id"], *(e["id"] for e in row["elements"])}
    bench.patch("update", shapes=[row])
    (new,) = bench.read()["shapes"]
    kept = {new["id"], *(e["id"] for e in new["elements"])}
    assert (kept.isdisjoint(old)) is bench.server.store.ids_change_on_update
    assert (kept == old) is not bench.server.store.ids_change_on_update


def test_tracks_hold_what_may_not_change_and_keyframes_the_rest(bench):
    track = bench.server.human.draw_track(bench.job, {0: BOX, 1: None}, person="p0003", score="77")
    (row,) = bench.read()["tracks"]
    assert (row["id"], row["frame"], bench.values(row)) == (track, 0, {"person": "p0003", "name": "", "face_key": ""})
    shapes = row["shapes"]
    assert [(s["frame"], s["outside"], bench.values(s)["score"]) for s in shapes] == [(0, False, "77"), (1, True, "77")]
    changed = [v | {"value": "p0009"} if v["spec_id"] == bench.spec("person") else v for v in row["attributes"]]
    bench.patch("update", tracks=[row | {"attributes": changed}])
    (after,) = bench.read()["tracks"]
    assert bench.values(after)["person"] == "p0009"
    assert (after["id"] == track) is not bench.server.store.ids_change_on_update
    same = [s["id"] for s in after["shapes"]] == [s["id"] for s in row["shapes"]]
    assert same is not bench.server.store.ids_change_on_update


@pytest.mark.parametrize("place", ["track", "shape"])
def test_an_attribute_at_the_wrong_level_of_a_track_is_a_400(bench, place):
    values = {"track": "score", "shape": "person"}[place]
    attributes = [{"spec_id": bench.spec(values), "value": "1"}]
    shape = {"type": "rectangle", "frame": 0, "points": list(BOX)}
    track = {"label_id": bench.labels["face"].id, "frame": 0, "shapes": [shape]}
    (track if place == "track" else shape)["attributes"] = attributes
    with pytest.raises(exceptions.ApiException) as caught:
        bench.patch("create", tracks=[track])
    assert caught.value.status == 400


def test_a_track_without_keyframes_vanishes(bench):
    assert bench.patch("create", tracks=[{"label_id": bench.labels["face"].id, "frame": 0, "shapes": []}])["tracks"] == []
    assert bench.read()["tracks"] == []


def test_a_track_that_starts_late_is_outside_until_then(bench):
    shape = {"type": "rectangle", "frame": 1, "points": list(BOX)}
    bench.patch("create", tracks=[{"label_id": bench.labels["face"].id, "frame": 0, "shapes": [shape]}])
    (row,) = bench.read()["tracks"]
    assert [(s["frame"], s["outside"]) for s in row["shapes"]] == [(0, True), (1, False)]


def test_jobs_hold_their_frames_and_the_task_all(bench):
    one, two = (job.id for job in bench.task.jobs)
    first, second = bench.server.human.draw(one, 1, BOX), bench.server.human.draw(two, 2, BOX)
    assert [s["id"] for s in bench.read(one)["shapes"]] == [first]
    assert [s["id"] for s in bench.read(two)["shapes"]] == [second]
    found, _ = bench.api.tasks_api.retrieve_annotations(bench.task.id)
    assert [s.id for s in found.shapes] == [first, second]


def test_writes_of_a_task_go_to_the_jobs_of_their_frames(bench):
    request = {"version": 0, "tags": [], "tracks": [], "shapes": [bench.shape(frame=f) for f in (0, 3, 99)]}
    bench.api.tasks_api.update_annotations(bench.task.id, labeled_data_request=request)
    assert [len(bench.read(job.id)["shapes"]) for job in bench.task.jobs] == [1, 1]
    bench.api.tasks_api.partial_update_annotations(
        "create", bench.task.id, patched_labeled_data_request=request | {"shapes": [bench.shape(frame=2)]}
    )
    assert [len(bench.read(job.id)["shapes"]) for job in bench.task.jobs] == [1, 2]
    bench.api.jobs_api.destroy_annotations(bench.job)
    assert [len(bench.read(job.id)["shapes"]) for job in bench.task.jobs] == [0, 2]
    bench.api.tasks_api.destroy_annotations(bench.task.id)
    assert [len(bench.read(job.id)["shapes"]) for job in bench.task.jobs] == [0, 0]


def test_a_ground_truth_job_has_its_own(bench):
    task = bench.server.make_task(4, ground_truth=(1,))
    face = bench.server.human.draw(task.jobs[-1].id, 1, BOX)
    assert [s["id"] for s in bench.read(task.jobs[-1].id)["shapes"]] == [face]
    assert bench.api.tasks_api.retrieve_annotations(task.id)[0].shapes == []


def test_what_a_person_does_shows_in_the_source(bench):
    human = bench.server.human
    face = human.draw(bench.job, 0, BOX, source="auto")
    face = human.set_attribute(face, "name", "Ada")
    assert human.see(face)["source"] == "auto", "typing a value is no edit of the shape for CVAT"
    face = human.move(face, (1, 2, 30, 40))
    assert (human.see(face)["source"], human.see(face)["points"]) == ("semi-auto", [1, 2, 30, 40])
    assert human.see(face)["attributes"]["name"] == "Ada"
    drawn = human.move(human.draw(bench.job, 0, BOX, source="file"), (1, 2, 30, 40))
    assert human.see(drawn)["source"] == "manual"
    track = human.draw_track(bench.job, {0: BOX, 1: BOX}, source="auto")
    track = human.move(track, (1, 2, 30, 40), kind="tracks", frame=1)
    track = human.set_attribute(track, "review", "true", kind="tracks", frame=1)
    track = human.set_attribute(track, "person", "p0004", kind="tracks")
    (row,) = bench.read()["tracks"]
    assert (row["source"], bench.values(row)["person"]) == ("semi-auto", "p0004")
    assert [(s["points"], bench.values(s)["review"]) for s in row["shapes"]] == [(list(BOX), "false"), ([1, 2, 30, 40], "true")]
    assert bench.server.writes == 0, "what people do is no request of the client"


def test_an_old_server_has_no_score():
    with (
        FakeCvat(keeps_score=False) as server,
        cvat_sdk.make_client(server.url, access_token=server.token) as client,
    ):
        bench = Bench(server, client)
        bench.patch("create", shapes=[bench.shape(score=0.5)])
        assert "score" not in bench.read()["shapes"][0]
