"""The cache of descriptors: owner only, expiry, purge without residue."""

from __future__ import annotations

import stat

import numpy as np
import pytest

from auto_annotator.bridge.faces import Look
from auto_annotator.bridge.vector_cache import DAY, EXPIRY_DAYS, Described, VectorCache, cache_path, caches, look_key, remove
from auto_annotator.errors import ConfigError


def described(seed):
    vector = np.random.default_rng(seed).normal(size=64).astype(np.float16)
    return Described(vector=vector, quality=0.75, failure="", notes=("blurred", "turned_away"))


def look(x=0.0, landmarks=None):
    return Look(frame=0, box=(x, 0.0, 10.0, 10.0), landmarks=landmarks)


@pytest.fixture
def path(tmp_path):
    return cache_path("http://cvat.test", "project 3", tmp_path / "cache")


def test_what_was_put_comes_back_after_opening_again(path):
    with VectorCache(path) as cache:
        cache.put("1/0", "hash", {"k": ("f1", described(1))})
    with VectorCache(path) as cache:
        assert cache.pictures(["1/0", "1/1"]) == {"1/0": "hash"}
        found = cache.get(["k", "other"])
    assert set(found) == {"k"}
    assert (found["k"].vector == described(1).vector).all()
    assert (found["k"].quality, found["k"].notes, found["k"].failure) == (0.75, ("blurred", "turned_away"), "")


def test_only_the_owner_may_read_it(path):
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o644)
    with VectorCache(path) as cache:
        cache.put("1/0", "hash", {"k": ("f1", described(1))})
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_name_tells_nobody_the_server(path):
    assert "cvat.test" not in path.name and path != cache_path("http://cvat.test", "project 4", path.parent)


def test_rows_that_nobody_used_expire_and_used_ones_stay(path):
    with VectorCache(path, now=0.0) as cache:
        cache.put("1/0", "hash", {"old": ("f1", described(1)), "used": ("f2", described(2))})
    with VectorCache(path, now=(EXPIRY_DAYS - 1) * DAY) as cache:
        assert set(cache.get(["used"])) == {"used"}
    with VectorCache(path, now=(EXPIRY_DAYS + 1) * DAY) as cache:
        assert set(cache.get(["old", "used"])) == {"used"}


def test_a_purged_person_leaves_no_residue(path):
    with VectorCache(path) as cache:
        cache.put("1/0", "hash", {f"k{i}": (f"f{i}", described(i)) for i in range(40)})
        cache.give({f"f{i}": "p0001" if i % 2 else "p0002" for i in range(40)})
        assert cache.purge("p0001") == 20
        assert cache.purge("p0001") == 0
    content = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for i in range(40):
        assert (described(i).vector.tobytes() in content) == (i % 2 == 0)


def test_remove_takes_damaged_files_too(path):
    with VectorCache(path) as cache:
        cache.put("1/0", "hash", {"k": ("f1", described(1))})
    assert caches(path.parent) == [path]
    assert remove(path) == 1 and not path.exists()
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(ConfigError, match="purge --all"):
        VectorCache(path)
    remove(path)
    assert not list(path.parent.iterdir())


def test_a_key_depends_on_picture_box_points_and_models():
    points = np.arange(10, dtype=np.float32).reshape(5, 2)
    keys = [
        look_key("a", look(), "m"),
        look_key("b", look(), "m"),
        look_key("a", look(1.0), "m"),
        look_key("a", look(landmarks=points), "m"),
        look_key("a", look(landmarks=points + 1), "m"),
        look_key("a", look(), "n"),
    ]
    assert len(set(keys)) == len(keys)
    assert look_key("a", look(landmarks=points.copy()), "m") == keys[3]
