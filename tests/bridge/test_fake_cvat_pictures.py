"""The fake CVAT server through the real SDK: frames, chunks, albums, processes, snapshots."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import PIL.Image
import pytest
from fake_cvat import FakeCvat, normalised, write_ensemble

cvat_sdk = pytest.importorskip("cvat_sdk")

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


def test_frames_of_images(server, client):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 255, (30, 40, 3), dtype=np.uint8)
    drawn = []
    late = lambda: drawn.append(1) or pixels[:, :20]  # noqa: E731
    task = server.make_task([pixels, (64, 32), late], names=["a.png", "b.png", "sub/c.png"], job_size=2)
    found = client.tasks.retrieve(task.id)
    assert not drawn, "pictures are drawn only when asked for"
    assert np.array_equal(np.array(PIL.Image.open(found.get_frame(0, quality="original"))), pixels)
    assert PIL.Image.open(found.get_frame(1)).format == "JPEG"
    meta = found.get_meta()
    assert [(f.name, f.width, f.height) for f in meta.frames] == [("a.png", 40, 30), ("b.png", 64, 32), ("sub/c.png", 20, 30)]
    job = client.jobs.retrieve(task.jobs[1].id)
    assert (job.get_meta().start_frame, job.get_meta().stop_frame, [f.name for f in job.get_meta().frames]) == (2, 2, ["sub/c.png"])
    assert PIL.Image.open(job.get_frame(2, quality="original")).size == (20, 30)
    for asked in (lambda: found.get_frame(3), lambda: job.get_frame(0, quality="original")):
        with pytest.raises(exceptions.ApiException) as caught:
            asked()
        assert caught.value.status == 400


def test_frames_of_a_video_have_one_entry(server, client):
    task = server.make_task([(64, 32)] * 7, video=True)
    found = client.tasks.retrieve(task.id)
    assert (found.mode, found.size, found.data_original_chunk_type) == ("interpolation", 7, "video")
    assert [(f.width, f.height) for f in found.get_frames_info()] == [(64, 32)]
    assert PIL.Image.open(found.get_frame(6, quality="original")).size == (64, 32)


def test_chunks_are_zip_files_in_the_order_of_frames(server, client):
    task = server.make_task([(10 + i, 8) for i in range(5)], chunk_size=3)
    sizes = []
    for chunk in (0, 1):
        out = io.BytesIO()
        client.tasks.retrieve(task.id).download_chunk(chunk, out, quality="original")
        with zipfile.ZipFile(out) as archive:
            sizes += [PIL.Image.open(archive.open(name)).size[0] for name in archive.namelist()]
    assert sizes == [10, 11, 12, 13, 14]


def test_frames_deleted_by_a_person_and_by_a_client(server, client):
    task = server.make_task(6, job_size=3)
    server.human.delete_frame(task.id, 1)
    client.jobs.retrieve(task.jobs[1].id).remove_frames_by_ids([4])
    assert client.tasks.retrieve(task.id).get_meta().deleted_frames == [1, 4]
    assert client.jobs.retrieve(task.jobs[0].id).get_meta().deleted_frames == [1]
    server.human.restore_frame(task.id, 1)
    assert client.tasks.retrieve(task.id).get_meta().deleted_frames == [4]


def test_the_album_is_seen_by_its_ensemble(server, tmp_path):
    from auto_annotator.config import load_settings
    from auto_annotator.pipeline import FaceDescription, FaceDetection

    settings = load_settings(ensemble=str(write_ensemble(tmp_path)))
    album = server.album(people=40, frames=6, seed=2, annotate=False)
    detect, describe = FaceDetection.from_settings(settings), FaceDescription.from_settings(settings)
    vectors, people = [], []
    for frame in range(6):
        image = np.array(PIL.Image.open(io.BytesIO(album.task.frames.original(frame)[0])))
        faces = detect(image).faces
        people += [album.person_at(frame, box) for box in faces.boxes]
        vectors.append(describe(image, faces).vectors)
    assert sorted(people) == sorted(f.person for f in album.faces)
    cosines = np.concatenate(vectors).astype(np.float32) @ np.concatenate(vectors).astype(np.float32).T
    same = np.equal.outer(people, people)
    assert cosines[same].min() > 0.99
    assert cosines[~same].max() < 0.6


def test_the_same_seed_is_the_same_album(server):
    first, second, other = (server.album(8, 12, seed=seed) for seed in (1, 1, 2))

    def truth(album):
        return [(f.frame, f.box, f.person) for f in album.faces]

    assert truth(first) == truth(second) != truth(other)
    assert server.human.see(first.faces[0].id)["group"] == server.human.see(first.faces[0].skeleton)["group"] == 1


def test_a_process_of_its_own_serves_an_album(server):
    command = [sys.executable, "-m", "fake_cvat", "--album", "3x4", "--job-size", "2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=server.environment()) as process:
        line = json.loads(process.stdout.readline())
        with cvat_sdk.make_client(line["url"], access_token=line["token"]) as client:
            shapes = client.tasks.retrieve(line["task"]).get_annotations().shapes
        process.stdin.close()
        assert process.wait(20) == 0
    assert sum(str(s.type) == "rectangle" for s in shapes) == line["faces"]
    assert len(line["jobs"]) == 2


def test_snapshots_are_copies_and_normalised_ones_have_no_ids(server):
    task = server.make_task(1)
    job = task.jobs[0].id
    face = server.human.draw(job, 0, (1, 2, 30, 40), person="p0001")
    before = server.snapshot()
    server.human.delete(face)
    assert before != server.snapshot()
    again = server.human.draw(job, 0, (1, 2, 30, 40), person="p0001")
    assert again != face
    assert before != server.snapshot()
    assert normalised(before, ids=False) == normalised(server.snapshot(), ids=False)
