"""Neighbours on a GPU are those of the exact search; ties go to the smaller rows everywhere."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from auto_annotator.clustering import gpu
from auto_annotator.clustering.gpu import gpu_search, wants_gpu
from auto_annotator.clustering.neighbours import choose_search, exact_search, neighbour_lists
from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.errors import DeviceError


def coarse_grid(n, dimension=16):
    """Few different numbers: most similarities are tied."""
    return np.random.default_rng(n).integers(-6, 7, (n, dimension)).astype(np.float16)


def by_hand(grid, faces, k):
    scores = grid[faces].astype(np.float32) @ grid.astype(np.float32).T
    order = np.lexsort((np.broadcast_to(np.arange(len(grid)), scores.shape), -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), order


def assert_best(search, grid, faces, k):
    scores, rows = search(grid[faces].astype(np.float32), k)
    expected, order = by_hand(grid, faces, k)
    assert np.array_equal(scores, expected)
    assert [sorted(row) for row in rows.tolist()] == [sorted(row) for row in order.tolist()]


@pytest.mark.parametrize(("n", "k"), [(3000, 50), (20_000, 81), (3000, 241), (40, 81), (41, 41), (1, 5)])
def test_ties_go_to_the_smaller_rows(n, k):
    grid = coarse_grid(n)
    assert_best(exact_search(grid), grid, np.arange(min(n, 200)), min(k, n))


def test_below_the_floor_ties_are_left_alone():
    grid = coarse_grid(3000)
    scores, _ = exact_search(grid)(grid[:200].astype(np.float32), 50, floor=0.5)
    assert np.array_equal(scores, by_hand(grid, np.arange(200), 50)[0])


def test_many_equal_vectors():
    grid = np.repeat(coarse_grid(3), 200, axis=0)
    assert_best(exact_search(grid), grid, np.arange(600), 81)
    lists = neighbour_lists(grid, exact_search(grid), np.arange(590, 600), count=80, floor=-1.0)
    assert (np.diff(lists.starts) == 80).all()


class FakeTensor(np.ndarray):
    """As much of a tensor as the search uses."""

    def to(self, device):
        return self

    def float(self):
        return self.astype(np.float32)

    cpu = lambda self: self  # noqa: E731
    numpy = lambda self: np.asarray(self)  # noqa: E731


def fake_torch():
    def topk(values, k, dim):
        order = np.argsort(-values[:, ::-1], axis=1, kind="stable")[:, :k]  # of ties the last ones: any are allowed
        order = values.shape[1] - 1 - order
        return np.take_along_axis(values, order, axis=1).view(FakeTensor), order.view(FakeTensor)

    matmul = SimpleNamespace(allow_tf32=False)
    return SimpleNamespace(
        from_numpy=lambda array: array.view(FakeTensor),
        topk=topk,
        cat=lambda parts, dim: np.concatenate(parts, axis=dim).view(FakeTensor),
        gather=lambda values, dim, index: np.take_along_axis(values, index, axis=dim).view(FakeTensor),
        nonzero=lambda values, as_tuple: tuple(part.view(FakeTensor) for part in np.nonzero(np.asarray(values))),
        backends=SimpleNamespace(cuda=SimpleNamespace(matmul=matmul)),
    )


@pytest.mark.parametrize("real", [False, True], ids=["fake", "torch"])
@pytest.mark.parametrize(("n", "k", "chunk"), [(3000, 50, 700), (3000, 241, 100), (40, 81, 16)])
def test_in_chunks(n, k, chunk, real, monkeypatch):
    if real:
        pytest.importorskip("torch")
    else:
        monkeypatch.setitem(sys.modules, "torch", fake_torch())
    monkeypatch.setattr(gpu, "CHUNK", chunk)
    grid = coarse_grid(n)
    assert_best(gpu_search(grid, device="cpu"), grid, np.arange(min(n, 200)), min(k, n))


@pytest.mark.gpu
def test_equal_on_a_gpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU")
    from benchmarks.gpu_check import check_equality

    before = torch.backends.cuda.matmul.allow_tf32
    check_equality(8000)
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_no_gpu_is_said(monkeypatch):
    monkeypatch.setattr(gpu, "_why_not", lambda shape: "torch sees no NVIDIA GPU")
    with pytest.raises(DeviceError, match="device cuda: torch sees no NVIDIA GPU; use the device cpu or auto"):
        choose_search(coarse_grid(10), ClusteringSettings(device="cuda"))


def test_who_goes_to_the_gpu(monkeypatch):
    monkeypatch.setattr(gpu, "_why_not", lambda shape: "")
    assert not wants_gpu((10**6, 512), "cpu")
    assert not wants_gpu((100, 512), "auto")
    assert wants_gpu((10**6, 512), "auto")
    assert wants_gpu((100, 512), "cuda")
    monkeypatch.setattr(gpu, "_why_not", lambda shape: "none here")
    assert not wants_gpu((10**6, 512), "auto")
