"""The page of the queue: groups, order, links, boxes on the pictures, hostile texts."""

from __future__ import annotations

import stat
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pytest
from page_reader import HOSTILE, Page
from planned import HOST, make_plan, planned_face

from auto_annotator.bridge.review_queue import queue_of_plan
from auto_annotator.errors import ConfigError, ImageError
from auto_annotator.reports import frame_pictures
from auto_annotator.reports.frame_pictures import SIDE, face_pictures
from auto_annotator.reports.queue_page import write_queue


class Server:
    """Frames in memory."""

    def __init__(self):
        self.asked = []


class Task:
    """As much of a task as the pictures need."""

    def __init__(self, number, size=100, deleted=()):
        self.id, self.size, self.deleted_frames = number, size, frozenset(deleted)


@pytest.fixture
def server(monkeypatch):
    """Frames of 200 x 100; frame 13 cannot be read."""
    found = Server()

    def stream(server, task, frames, *, max_pixels):
        for frame in frames:
            server.asked.append((task.id, frame))
            bad = ImageError("unreadable_file", "no picture")
            yield frame, bad if frame == 13 else np.full((100, 200, 3), frame, np.uint8)

    monkeypatch.setattr(frame_pictures, "stream_frames", stream)
    return found


def page_of(tmp_path, entries, *, pictures=None, **options):
    write_queue(entries, HOST, tmp_path / "review.html", pictures or {}, **{"subtitle": "the plan", **options})
    return Page(tmp_path / "review.html")


def test_groups_come_in_order_of_gravity_and_every_face_is_a_link(tmp_path):
    entries = queue_of_plan(make_plan())
    page = page_of(tmp_path, entries, left_out=7)
    assert [a["id"] for t, a in page.tags if t == "section" and "id" in a] == ["words", "person", "moved", "detection"]
    links = [link for link in page.links if "serverID" in link]
    assert len(links) == len(entries) == 5
    assert links[2] == f"{HOST}/tasks/1/jobs/11?frame=2&serverID=102&type=shape"
    texts = (
        "Faces to look at", "the plan", "5 faces in 2 jobs", "and 7 more beyond the limit", "maybe p0002",
        "was p0002", "score 30 %", "fits 30 %", "task 2, job 21, frame 6", "frame 10, track", "The ensemble is not sure", "face 1",
    )  # fmt: skip
    for text in texts:
        assert text in page.text, text
    assert all(link.removeprefix("#") in page.ids for link in page.links if link.startswith("#"))


def test_only_the_owner_may_read_it(tmp_path):
    page_of(tmp_path, ())
    path = tmp_path / "review.html"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "personal data" in path.read_text().splitlines()[1]
    assert "No face needs a look." in path.read_text()


@pytest.mark.parametrize("text", [*HOSTILE, '"><script>', "\u05d0\u05d1"])
def test_hostile_texts_are_only_text(tmp_path, text):
    face = planned_face(1, text, was="p0001", nearest=text, detector_reasons=(text,), reasons=("doubtful_person", text))
    page = page_of(tmp_path, queue_of_plan(make_plan(faces=(face,))), subtitle=text)
    assert not [t for t, _ in page.tags if t == "script"]
    assert "\u202e" not in page.text and len(page.text) < 15_000
    assert all(link.startswith(("#", HOST)) for link in page.links)


def test_a_host_that_is_no_web_address_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="http or https"):
        write_queue((), "javascript:alert(1)", tmp_path / "x.html", {}, subtitle="")


def test_pictures_show_where_the_box_is(tmp_path, server):
    face = planned_face(1, "p0001", detector_reasons=("tiny",))
    face = replace(face, ref=replace(face.ref, box=(80.0, 20.0, 120.0, 60.0)))
    found = dict(face_pictures(server, [Task(1)], [face.ref], margin=0.5, max_pixels=10**6))
    picture = found[face.ref]
    assert (picture.left, picture.top, picture.width, picture.height) == (25.0, 25.0, 50.0, 50.0)
    page = page_of(tmp_path, queue_of_plan(make_plan(faces=(face,))), pictures={face.ref.place: picture})
    assert [image.size for image in page.images] == [(80, 80)]
    assert "left:25.0%;top:25.0%;width:50.0%;height:50.0%" in [a.get("style") for t, a in page.tags if t == "i"]
    assert {a["loading"] for t, a in page.tags if t == "img"} == {"lazy"}


def test_only_needed_frames_are_asked_for_each_once(server):
    faces = [planned_face(i, frame=frame, task=task) for i, (task, frame) in enumerate([(2, 5), (1, 7), (1, 7), (1, 3), (9, 1)])]
    steps = []
    refs = [face.ref for face in faces]
    found = dict(face_pictures(server, [Task(1), Task(2)], refs, margin=0.2, max_pixels=1, progress=steps.append))
    assert server.asked == [(1, 3), (1, 7), (2, 5)]
    assert set(found) == set(refs[:4])
    assert sum(steps) == 4


def test_frames_that_are_gone_or_broken_are_left_out(server):
    faces = [planned_face(i, frame=frame) for i, frame in enumerate([3, 4, 13, 99, 100])]
    steps = []
    refs = [face.ref for face in faces]
    found = dict(face_pictures(server, [Task(1, deleted=(4,))], refs, margin=0.2, max_pixels=1, progress=steps.append))
    assert sorted(ref.frame for ref in found) == [3, 99]
    assert server.asked == [(1, 3), (1, 13), (1, 99)]
    assert sum(steps) == 5


@pytest.mark.parametrize(
    "box", [(-50.0, -50.0, 10.0, 10.0), (190.0, 90.0, 400.0, 400.0), (300.0, 300.0, 310.0, 310.0), (5.0, 5.0, 5.0, 5.0)]
)
def test_boxes_beyond_the_frame_still_make_a_picture(server, box):
    face = planned_face(1)
    ref = replace(face.ref, box=box)
    [(_, picture)] = face_pictures(server, [Task(1)], [ref], margin=0.2, max_pixels=1)
    assert 0 <= picture.left <= picture.left + picture.width <= 100.1 and 0 <= picture.top <= picture.top + picture.height <= 100.1
    assert picture.url.startswith("data:image/jpeg;base64,") and SIDE >= 96
