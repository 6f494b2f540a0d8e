"""Faces as they stand in CVAT, and their descriptors from the cache or from frames."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest

from auto_annotator.bridge.describing import LocalDescriber, describe_faces
from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.faces import TRACK_LOOKS, face_label, pulled_faces
from auto_annotator.bridge.infos import AttributeInfo, JobInfo, LabelInfo, TaskInfo
from auto_annotator.bridge.vector_cache import VectorCache
from auto_annotator.errors import ConfigError, MemberError
from auto_annotator.types import LANDMARK_NAMES, Descriptors


def text(number, name):
    return AttributeInfo(id=number, name=name, input_type="text", mutable=False, default="", values=("",))


FACE = LabelInfo(
    id=1, name="face", type="rectangle", attributes=tuple(text(n, a) for n, a in enumerate(("person", "name", "face_key"), 1))
)
POINTS = LabelInfo(
    id=2,
    name="face_landmarks",
    type="skeleton",
    sublabels=tuple(LabelInfo(id=10 + n, name=name, type="points") for n, name in enumerate(LANDMARK_NAMES)),
)
JOB = JobInfo(id=5, task=3, start=0, stop=9)


def make_task(**changes):
    values = {
        "id": 3,
        "project": None,
        "name": "",
        "size": 10,
        "video": False,
        "jobs": (JOB,),
        "labels": (FACE, POINTS),
        "deleted_frames": frozenset(),
        "sizes": ((64, 48),),
        "names": tuple(f"{n}.png" for n in range(10)),
    }
    return TaskInfo(**(values | changes))


def rectangle(number, frame=0, box=(10, 10, 30, 40), **more):
    shape = {"id": number, "type": "rectangle", "label_id": 1, "frame": frame, "points": list(box), "group": 0, "attributes": []}
    return shape | more


def skeleton(number, frame=0, at=(20, 25), **more):
    elements = [{"label_id": 10 + n, "type": "points", "points": [at[0] + n, at[1]], "outside": n == 4} for n in range(5)]
    return {"id": number, "type": "skeleton", "label_id": 2, "frame": frame, "group": 0, "elements": elements} | more


def pull(shapes=(), tracks=(), task=None):
    return pulled_faces(task or make_task(), JOB, {"shapes": list(shapes), "tracks": list(tracks)}, FACE)


def test_every_rectangle_of_the_label_is_a_face_by_frame_and_id():
    other = {**rectangle(9), "label_id": 7}
    faces = pull([rectangle(4, 1), rectangle(2, 1), rectangle(7, 0), other, skeleton(8)])
    assert [face.ref.id for face in faces] == [7, 2, 4]
    assert faces[0].ref.box == (10.0, 10.0, 30.0, 40.0) and faces[0].ref.kind == "shape"
    assert len({face.ref.key for face in faces}) == 3


def test_deleted_frames_have_no_faces():
    track = {"id": 1, "label_id": 1, "attributes": [], "shapes": [rectangle(0, 2, outside=False)]}
    task = make_task(deleted_frames=frozenset(range(1, 10)))
    assert [face.ref.id for face in pull([rectangle(4, 1), rectangle(5, 0)], [track], task)] == [5]


def test_attributes_come_by_name_with_defaults():
    (face,) = pull([rectangle(1, attributes=[{"spec_id": 1, "value": "p0007"}])])
    assert face.attributes == {"person": "p0007", "name": "", "face_key": ""}


def test_points_of_the_tied_skeleton_count_and_those_hidden_wait_at_their_place():
    tied = skeleton(2, group=3)
    faces = pull([rectangle(1, group=3), tied, rectangle(4, box=(100, 100, 120, 120))])
    assert faces[0].looks[0].landmarks.tolist() == [[20.0 + n, 25.0] for n in range(5)]
    assert tied["elements"][4]["outside"], "what the server sent is not changed"
    assert faces[1].looks[0].landmarks is None


@pytest.mark.parametrize("place", [[0.0, 20.0], [64.0, 20.0], [30.0, 0.0], [30.0, 48.0], [0.0, 0.0]])
def test_an_outside_point_at_the_border_of_the_picture_is_unknown(place):
    tied = skeleton(2, group=3)
    tied["elements"][4]["points"] = place
    points = pull([rectangle(1, group=3), tied])[0].looks[0].landmarks
    assert np.isnan(points).all(axis=1).tolist() == [False] * 4 + [True]


def test_a_track_is_one_face_with_some_looks():
    shapes = [rectangle(0, f, (f, 0, f + 10, 10), outside=False) for f in range(8)] + [rectangle(0, 8, outside=True)]
    (face,) = pull(tracks=[{"id": 6, "label_id": 1, "attributes": [{"spec_id": 1, "value": "x"}], "shapes": shapes}])
    assert face.ref.kind == "track" and face.ref.frame == 0 and face.attributes["person"] == "x"
    assert len(face.looks) == TRACK_LOOKS and face.looks[-1].frame == 7
    assert face.looks[-1].box == (7.0, 0.0, 17.0, 10.0)


def test_a_track_that_is_never_visible_is_no_face():
    hidden = {"id": 6, "label_id": 1, "attributes": [], "shapes": [rectangle(0, 1, outside=True)]}
    flat = {"id": 7, "label_id": 1, "attributes": [], "shapes": [rectangle(0, 1, (5, 5, 5, 9), outside=False)]}
    assert pull(tracks=[hidden, flat]) == []


def test_the_label_must_be_there_with_its_attributes():
    assert face_label(make_task()) is FACE
    with pytest.raises(ConfigError, match=r"setup --task 3.*--label"):
        face_label(make_task(labels=(POINTS,)))
    bare = LabelInfo(id=1, name="head", type="rectangle", attributes=(text(1, "person"),))
    with pytest.raises(ConfigError, match=r"name, face_key.*setup --project 8 --label head"):
        face_label(make_task(labels=(bare,), project=8), "head")


class Describing:
    """Stands in for recognisers: counts, and fails on demand."""

    model_set, model_hash, dimension, threshold = "fake", "h", 4, None

    def __init__(self, error=None):
        self.calls, self.error = [], error

    def __call__(self, image, faces):
        self.calls.append(faces)
        if self.error:
            raise self.error
        rows = np.tile(np.array([1, 0, 0, 0], np.float32), (len(faces), 1))
        n = len(faces)
        return Descriptors(
            vectors=rows, quality=np.full(n, 0.5), failures=("",) * n, notes=((),) * n, model_set="fake", model_hash="h"
        )


class Frames:
    """Stands in for a server that gives frames."""

    def __init__(self, bad=()):
        self.asked, self.bad = [], bad

    def frame_bytes(self, task, frame):
        self.asked.append(frame)
        if frame in self.bad:
            return b"no picture"
        buffer = io.BytesIO()
        PIL.Image.new("RGB", (64, 48), (frame, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()


@pytest.fixture
def cache(tmp_path):
    with VectorCache(tmp_path / "cache" / "x.vectors.sqlite") as opened:
        yield opened


def run(faces, cache, description, frames, points=None):
    describer = LocalDescriber(description, points)
    return describe_faces(frames, [make_task()], faces, cache, describer, max_pixels=10**6)


def test_a_second_run_asks_for_no_frame_and_no_model(cache):
    faces = pull([rectangle(1, 0), rectangle(2, 3), rectangle(3, 3, (0, 0, 9, 9))])
    first = run(faces, cache, Describing(), Frames())
    frames, description = Frames(), Describing()
    second = run(faces, cache, description, frames)
    assert frames.asked == [] and description.calls == []
    assert (first.vectors == second.vectors).all() and first.picture.tolist() == second.picture.tolist() == [0, 1, 1]


def test_only_a_moved_face_is_described_again(cache):
    faces = pull([rectangle(1, 0), rectangle(2, 3)])
    run(faces, cache, Describing(), Frames())
    frames, description = Frames(), Describing()
    run(pull([rectangle(1, 0), rectangle(2, 3, (11, 10, 30, 40))]), cache, description, frames)
    assert frames.asked == [3] and [len(faces) for faces in description.calls] == [1]


def test_a_frame_that_is_no_picture_leaves_its_faces_without_descriptor(cache):
    looks = run(pull([rectangle(1, 0), rectangle(2, 3)]), cache, Describing(), Frames(bad={3}))
    assert looks.failures == ("", "not_an_image") and not looks.vectors[1].any() and looks.quality[1] == 0


def test_a_frame_that_no_model_can_describe_does_not_end_the_run(cache):
    looks = run(pull([rectangle(1, 0)]), cache, Describing(MemberError("x")), Frames())
    assert looks.failures == ("no_descriptor",)


def test_a_service_that_is_gone_does(cache):
    with pytest.raises(ServerError):
        run(pull([rectangle(1, 0)]), cache, Describing(ServerError("gone")), Frames())


def test_points_are_looked_for_only_where_cvat_knows_none(cache):
    asked = []

    def points(image, boxes):
        asked.append(np.asarray(boxes).tolist())
        return np.full((len(boxes), 5, 2), 7.0, np.float32)

    description = Describing()
    run(
        pull([rectangle(1, group=1), skeleton(2, group=1), rectangle(3, box=(40, 0, 50, 12))]), cache, description, Frames(), points
    )
    assert asked == [[[40.0, 0.0, 50.0, 12.0]]]
    landmarks = description.calls[0].landmarks
    assert landmarks[0, 0].tolist() == [20.0, 25.0] and (landmarks[1] == 7).all()
