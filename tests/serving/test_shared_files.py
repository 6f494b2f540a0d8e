"""Descriptor files of the shared folder: what is read, and that nothing else can be."""

from __future__ import annotations

import io
import json
import os
import zipfile

import numpy as np
import pytest
from service_fakes import RecordingClustering, conforms

from auto_annotator.config import Settings
from auto_annotator.exchange.descriptors_file import DescribedFaces, write_descriptors
from auto_annotator.serving.clustering import FaceClusters

N, D = 7, 16


def unit(n=N, d=D, dtype=np.float16):
    rows = np.random.default_rng(1).normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(dtype)


def faces_file(path, **changes):
    columns = {
        "vectors": unit(),
        "quality": np.linspace(0, 1, N, dtype=np.float32),
        "boxes": np.tile(np.float32([0, 0, 5, 5]), (N, 1)),
        "scores": np.ones(N, np.float32),
        "landmarks": np.zeros((N, 5, 2), np.float32),
        "images": np.array([0, 0, 1, 1, 1, 2, 2]),
        "image_names": ("CANARY a.jpg", "b.jpg", "c.jpg"),
        "keys": tuple(f"k{i}" for i in range(N)),
        "failures": ("",) * N,
        "notes": ((),) * N,
        "model_set": "embedded",
        "model_hash": "0123abcd",
        "threshold": 0.31,
    }
    write_descriptors(path, DescribedFaces(**columns | changes))
    return path


@pytest.fixture
def shared(tmp_path):
    folder = tmp_path / "shared"
    (folder / "deep" / "er").mkdir(parents=True)
    return folder


@pytest.fixture
def ask(shared):
    """Function: path and more keys -> reply, with what reached the engine in `ask.engine.calls`."""

    def asked(path, *, folder=shared, most=1000, **keys):
        settings = Settings(shared_dir=folder, max_cluster_faces=most)
        return FaceClusters(clustering=asked.engine.engine, settings=settings)({"path": path} | keys)

    asked.engine = RecordingClustering([])
    return asked


def refused(reply):
    assert reply.status == 400, reply
    return json.loads(reply.body)["error"]


def test_a_file_of_describe_brings_its_columns(ask, shared):
    faces_file(shared / "deep" / "faces.npz")
    reply = ask("deep/faces.npz", must=[[0, 2]])
    assert reply.status == 200 and reply.fields["from_file"] is True and "CANARY" not in repr(reply)
    value = json.loads(reply.body)
    conforms(value, "face-clustering.reply")
    (call,) = ask.engine.calls
    assert np.array_equal(call["vectors"], unit()) and call["threshold"] == 0.31 and value["model_hash"] == "0123abcd"
    assert call["constraints"].images.tolist() == [0, 0, 1, 1, 1, 2, 2] and call["quality"][-1] == 1


def test_the_request_outweighs_the_file(ask, shared):
    faces_file(shared / "faces.npz")
    assert ask("faces.npz", threshold=0.5, images=[None] * N, quality=[0.5] * N, model_hash="0123abcd").status == 200
    (call,) = ask.engine.calls
    assert call["threshold"] == 0.5 and call["constraints"].images.tolist() == [-1] * N and call["quality"][-1] == 0.5
    assert "never compare" in refused(ask("faces.npz", model_hash="another"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_bare_table_of_vectors(ask, shared, dtype):
    np.save(shared / "table.npy", unit(dtype=dtype))
    assert ask("table.npy", count=N, dimension=D).status == 200
    assert np.array_equal(ask.engine.calls[0]["vectors"], unit(dtype=dtype))


def outside(tmp_path, shared):
    np.save(tmp_path / "secret.npy", unit())
    np.save(shared / "inside.npy", unit())
    (shared / "link.npy").symlink_to(tmp_path / "secret.npy")
    (shared / "loop.npy").symlink_to(shared / "loop.npy")
    (shared / "door").symlink_to(tmp_path)
    (shared / "folder.npy").mkdir()
    (shared / "text.txt").write_text("x")
    (shared / "disguised.npy").symlink_to(shared / "text.txt")
    return tmp_path


NAMES = [
    "../secret.npy", "deep/../../secret.npy", "deep/../inside.npy", "/etc/passwd", "link.npy", "loop.npy",
    "door/secret.npy", "folder.npy",
    "text.txt", "disguised.npy", "not there.npy", "deep/not/there.npz", "", ".", "..", "x\0.npy", "inside.npy/", "\ud800.npy",
    "a" * 5000 + ".npy", "inside.npy\n",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_there_and_what_is_not_under_the_folder_are_one_answer(ask, shared, tmp_path, name):
    outside(tmp_path, shared)
    if name == "inside.npy/":
        assert ask(name).status == 200, "a slash at the end changes nothing"
        return
    text = refused(ask(name))
    assert text == refused(ask("not there.npy")) and str(tmp_path) not in text
    assert ask.engine.calls == []


def test_an_absolute_path_into_the_folder_and_links_within_it(ask, shared, tmp_path):
    outside(tmp_path, shared)
    (shared / "deep" / "near.npy").symlink_to(shared / "inside.npy")
    assert ask("deep/near.npy").status == 200
    assert refused(ask(str(shared / "inside.npy")))
    aside = tmp_path / "aside"
    aside.symlink_to(shared)
    assert ask("inside.npy", folder=aside).status == 200, "the folder itself may be a link"


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_a_pipe_does_not_hold_the_function_up(ask, shared):
    os.mkfifo(shared / "pipe.npy")
    assert refused(ask("pipe.npy"))


def test_without_a_shared_folder_paths_are_refused_with_what_to_do(ask, shared):
    assert "AUTO_ANNOTATOR_SHARED_DIR" in refused(ask("x.npy", folder=None))
    assert refused(ask("x.npy", folder=shared / "gone"))


@pytest.mark.parametrize("value", [5, ["x.npy"], {"a": 1}, True])
def test_a_path_is_a_text(ask, value):
    assert "path: got no text" in refused(ask(value))


def test_too_many_faces_are_refused_before_they_are_read(ask, shared):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f2", "fortran_order": False, "shape": (10**9, 512)})
    (shared / "huge.npy").write_bytes(header.getvalue())
    assert "got 1000000000 faces, expected at most 1000" in refused(ask("huge.npy"))
    faces_file(shared / "faces.npz")
    assert "got 7 faces, expected at most 6" in refused(ask("faces.npz", most=6))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("objects.npy", np.array([[{}]], object)),
        ("doubles.npy", np.zeros((3, 4))),
        ("foreign.npy", unit().astype(">f2")),
        ("line.npy", np.zeros(4, np.float16)),
        ("cube.npy", np.zeros((2, 2, 2), np.float16)),
        ("wide.npy", np.zeros((1, 9000), np.float16)),
        ("none.npy", np.zeros((3, 0), np.float16)),
        ("long.npy", unit() * np.float16(3)),
    ],
)
def test_tables_that_are_none(ask, shared, name, content):
    np.save(shared / name, content, allow_pickle=True)
    assert refused(ask(name)).startswith("path: ")


@pytest.mark.parametrize("keys", [{"count": 6}, {"dimension": 8}])
def test_a_size_that_is_not_the_files(ask, shared, keys):
    np.save(shared / "table.npy", unit())
    assert "but the file has" in refused(ask("table.npy", **keys))


def test_damaged_files(ask, shared):
    whole = faces_file(shared / "faces.npz").read_bytes()
    for name, data in (
        ("empty.npz", b""),
        ("cut.npz", whole[:-200]),
        ("text.npz", b"hello"),
        ("text.npy", b"hello"),
        ("no.npy", b""),
    ):
        (shared / name).write_bytes(data)
        assert refused(ask(name)).startswith("path: "), name
    np.save(shared / "t.npy", unit())
    (shared / "short.npy").write_bytes((shared / "t.npy").read_bytes()[:-2])
    assert "shorter than its head says" in refused(ask("short.npy"))
    with zipfile.ZipFile(shared / "other.npz", "w") as archive:
        archive.writestr("vectors.npy", (shared / "t.npy").read_bytes())
    text = refused(ask("other.npz"))
    assert "auto-annotator describe" in text and str(shared) not in text
