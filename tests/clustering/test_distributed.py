"""The clustering on Dask workers: equal to that of one process, and clear about what is missing."""

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from described import described

from auto_annotator.clustering import crew as crew_module
from auto_annotator.clustering import distributed as stages_module
from auto_annotator.clustering.components import component_batches
from auto_annotator.clustering.crew import Crew, connect
from auto_annotator.clustering.distributed import DaskStages
from auto_annotator.clustering.engine import cluster_faces
from auto_annotator.clustering.exact import to_grid
from auto_annotator.clustering.neighbours import NeighbourLists
from auto_annotator.clustering.potts import communities
from auto_annotator.clustering.settings import ClusteringSettings
from auto_annotator.clustering.shards import read_columns, read_grid, read_lists, write_columns, write_grid, write_lists
from auto_annotator.clustering.tasks import look
from auto_annotator.commands.clustering import cluster_faces as command_cluster_faces
from auto_annotator.errors import ConfigError
from auto_annotator.evaluation.synthetic import generate
from auto_annotator.pipeline import FaceClustering
from auto_annotator.types import Constraints

distributed = pytest.importorskip("distributed")
FACES = 3000


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
    ) as local:
        yield local


@pytest.fixture(scope="module")
def faces():
    return generate("album", FACES, seed=5)


def known(faces):
    must = np.array([[0, 1], [2, 3]])
    return {"quality": faces.quality, "constraints": Constraints(images=faces.image, must=must, cannot=np.array([[4, 5]]))}


def assert_equal(found, expected):
    for field in dataclasses.fields(expected):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        assert np.array_equal(a, b) if isinstance(b, np.ndarray) else a == b, field.name


@pytest.fixture(scope="module")
def alone(faces):
    return FaceClustering()(faces.vectors, **known(faces))


def test_the_result_is_that_of_one_process(cluster, faces, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(stages_module, "WEIGHT_BLOCK", 700)
    monkeypatch.setattr(stages_module, "component_batches", lambda graph, start: component_batches(graph, start, batch_edges=500))
    settings = ClusteringSettings(block=700)
    found = FaceClustering(settings)(faces.vectors, **known(faces), workspace=tmp_path, scheduler=cluster.scheduler_address)
    assert_equal(found, alone)


def test_from_earlier_labels_and_with_an_inverted_file(cluster, faces, alone, tmp_path):
    previous = np.where(np.arange(FACES) % 5 == 0, -1, alone.labels // 2)  # two people each begin as one
    settings = ClusteringSettings(exact_below=1000, block=900)
    here = FaceClustering(settings)(faces.vectors, **known(faces), previous=previous)
    there = FaceClustering(settings)(
        faces.vectors, **known(faces), previous=previous, workspace=tmp_path, scheduler=cluster.scheduler_address
    )
    assert_equal(there, here)


def test_what_is_finished_is_not_done_again(cluster, faces, alone, tmp_path):
    seen = []
    with connect(cluster.scheduler_address, tmp_path) as crew:
        plain = crew.run
        crew.run = lambda task, given, tell: (seen.append((task.__name__, len(given))), plain(task, given, tell))[1]
        shares = []
        for _ in range(2):
            stages = DaskStages(crew, tmp_path)
            found = cluster_faces(
                faces.vectors, **known(faces), stages=stages, report=lambda stage, share: shares.append((stage, share))
            )
            assert_equal(found, alone)
    searches = [n for name, n in seen if name == "search_block"]
    assert searches[0] > 0 and sum(searches[len(searches) // 2 :]) == 0
    assert {"neighbours", "edge weights", "people"} <= {stage for stage, _ in shares}
    left = {path.name.split("-")[0] for path in tmp_path.iterdir()}
    assert left <= {"vectors", "neighbours"}


@pytest.mark.slow
def test_a_lost_worker(faces, alone, tmp_path):
    """One of two processes is killed during the search; the other, and the one that comes in its place, do its tasks."""
    killed = []
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as local:

        def kill_one(stage, share):
            if not killed:
                killed.append(next(iter(local.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        with connect(local.scheduler_address, tmp_path) as crew:
            settings, stages = ClusteringSettings(block=100), DaskStages(crew, tmp_path)
            found = cluster_faces(faces.vectors, **known(faces), settings=settings, stages=stages, report=kill_one)
    assert killed
    assert_equal(found, alone)


@pytest.mark.slow
def test_the_scheduler_is_lost(tmp_path):
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    where = tmp_path / "scheduler.json"
    environment = os.environ | {"PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen([*command, "--scheduler-file", str(where)], env=environment, stderr=subprocess.DEVNULL)
    try:
        while not where.exists() or not where.read_text():
            assert process.poll() is None, "the scheduler did not start"
            time.sleep(0.1)
        address = json.loads(where.read_text())["address"]
        with distributed.Client(address, set_as_default=False) as client:
            crew = Crew(client, address, patience=30)
            with pytest.raises(ConfigError, match=r"expected auto-annotator .* on the scheduler's machine too"):
                crew.run(vanish, [()], lambda share: None)  # the scheduler cannot import this module
            killer = threading.Timer(1, process.kill)
            killer.start()
            with pytest.raises(ConfigError, match=f"scheduler {address}: got "):
                crew.run(look, [(str(tmp_path), "x")], lambda share: None)
    finally:
        process.kill()
        process.wait()


def test_the_command_hands_the_scheduler_on(tmp_path):
    given = {}

    def clustering(vectors, **arguments):
        given.update(arguments)
        return FaceClustering()(vectors)

    command_cluster_faces(described(), clustering, workspace=tmp_path / "work", scheduler="tcp://127.0.0.1:1")
    assert given["scheduler"] == "tcp://127.0.0.1:1" and given["workspace"] == tmp_path / "work"


def test_no_workspace(faces):
    with pytest.raises(ConfigError, match="got no workspace, expected a folder that all machines share"):
        FaceClustering()(faces.vectors, scheduler="tcp://127.0.0.1:1")


def test_another_method(faces, tmp_path):
    with pytest.raises(ConfigError, match="the method dbscan runs on one machine only, expected potts"):
        FaceClustering(ClusteringSettings(method="dbscan"))(faces.vectors, scheduler="tcp://127.0.0.1:1", workspace=tmp_path)


def test_no_scheduler_there(faces, tmp_path, monkeypatch):
    monkeypatch.setattr(crew_module, "CONNECT_SECONDS", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConfigError, match=r"scheduler tcp://127.0.0.1:\d+: got .*expected a running Dask scheduler"):
        FaceClustering()(faces.vectors, scheduler=address, workspace=tmp_path)


@pytest.mark.parametrize("address", ["", "nonsense://x:1", "10.0.0.1:port", "tcp://host", "tcp://a/b:1"])
def test_no_address(address, tmp_path):
    with pytest.raises(ConfigError, match=r"got the address '.*', expected one such as tcp"), connect(address, tmp_path):
        pass


def test_dask_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match=r"pip install 'auto-annotator\[dask\]'"), connect("tcp://127.0.0.1:1", tmp_path):
        pass


def test_no_worker(tmp_path):
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=None, protocol="tcp") as empty,
        pytest.raises(ConfigError, match="no worker after"),
        connect(empty.scheduler_address, tmp_path, patience=0.5),
    ):
        pass


def vanish():
    raise OSError("the folder is gone")


def test_a_task_that_fails(cluster, tmp_path):
    with connect(cluster.scheduler_address, tmp_path) as crew, pytest.raises(ConfigError, match="got OSError: the folder is gone"):
        crew.run(vanish, [()], lambda share: None)


def test_all_workers_lost(tmp_path):
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None, protocol="tcp") as local,
        connect(local.scheduler_address, tmp_path, patience=1) as crew,
    ):
        local.scale(0)
        with pytest.raises(ConfigError, match="got no worker for 1 s"):
            crew.run(vanish, [()], lambda share: None)


def test_a_folder_that_workers_do_not_see(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(crew_module, "look", lambda folder, name: (__import__("auto_annotator").__version__, False))
    with pytest.raises(ConfigError, match="is not there, expected a folder that all machines share"):
        connect(cluster.scheduler_address, tmp_path).__enter__()


def test_a_worker_of_another_version(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(crew_module, "look", lambda folder, name: ("0.0.1", True))
    with pytest.raises(ConfigError, match=r"got auto-annotator 0\.0\.1, expected"):
        connect(cluster.scheduler_address, tmp_path).__enter__()


def random_graph(seed, n=300):
    import scipy.sparse as sparse

    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, n, (2, n))
    close = np.abs(a - b) < n // 4
    graph = sparse.coo_matrix((rng.choice([0.5, 1.0, -2.0, 0.3], n)[close], (a[close], b[close])), shape=(n, n)).tolil()
    graph.setdiag(0)
    graph = graph.tocsr()
    graph.eliminate_zeros()
    graph = (graph + graph.T).tocsr()
    graph.sort_indices()
    return graph


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("warm", [False, True])
def test_components_apart_are_as_together(seed, warm):
    graph = random_graph(seed)
    n = graph.shape[0]
    rng = np.random.default_rng(seed)
    start = rng.integers(0, n // 3, n) if warm else None
    sizes = rng.integers(1, 4, n).astype(np.float64)
    together = communities(graph, sizes, resolution=0.1, start=start)
    apart = np.arange(n) + n
    batches = component_batches(graph, start, batch_edges=20)
    for batch in batches:
        part = graph[batch][:, batch]
        assert part.nnz == graph[batch].nnz
        found = communities(part, sizes[batch], resolution=0.1, start=None if start is None else start[batch])
        apart[batch] = batch[[int(np.flatnonzero(found == label)[0]) for label in found]]
    assert len(np.unique(np.stack([together, apart]), axis=1).T) == len(np.unique(together)) == len(np.unique(apart))


def test_files(tmp_path):
    rng = np.random.default_rng(0)
    lists = NeighbourLists(
        starts=np.array([0, 2, 2, 5]), rows=np.array([1, 2, 0, 1, 2], np.int32), scores=rng.random(5, np.float32)
    )
    write_lists(tmp_path / "lists.parquet", lists)
    read = read_lists(tmp_path / "lists.parquet")
    for name in ("starts", "rows", "scores"):
        assert np.array_equal(getattr(read, name), getattr(lists, name)) and getattr(read, name).dtype == getattr(lists, name).dtype
    write_columns(tmp_path / "columns.parquet", a=np.arange(3), b=np.ones(3, np.float32))
    assert read_columns(tmp_path / "columns.parquet")["b"].dtype == np.float32
    vectors = rng.normal(size=(500, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    grid = to_grid(vectors, np.arange(500))
    write_grid(tmp_path / "grid", grid)
    assert np.array_equal(read_grid(tmp_path / "grid"), grid)
    shutil.rmtree(tmp_path / "grid")
