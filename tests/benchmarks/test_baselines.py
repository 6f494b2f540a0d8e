"""The peers of the clustering benchmark do what their makers' code does."""

import numpy as np
import pytest
from benchmarks.baselines import METHODS, build_graph, dbscan
from benchmarks.common import NotAvailable
from sklearn.cluster import DBSCAN

from auto_annotator.evaluation.clustering import alone, score
from auto_annotator.evaluation.synthetic import generate


@pytest.fixture(scope="module")
def faces():
    return generate("album", 600, seed=1)


@pytest.fixture(scope="module")
def graph(faces):
    return build_graph(faces.vectors, neighbours=599)


def test_the_graph_is_exact(faces, graph):
    cosines = faces.vectors @ faces.vectors.T
    np.fill_diagonal(cosines, -np.inf)
    assert graph.cosines == pytest.approx(-np.sort(-cosines, axis=1)[:, :-1], abs=1e-5)
    assert (graph.neighbours != np.arange(600)[:, None]).all()
    small = build_graph(faces.vectors, neighbours=5)
    assert small.cosines == pytest.approx(graph.cosines[:, :5], abs=1e-5)


def test_equal_faces_do_not_hide_each_other():
    graph = build_graph(np.repeat(np.eye(3, 8, dtype=np.float32), 7, axis=0), neighbours=4)
    assert graph.cosines == pytest.approx(1)
    assert (graph.neighbours != np.arange(21)[:, None]).all()
    assert len(np.unique(dbscan(graph, 0.9))) == 3


@pytest.mark.parametrize("core", [1, 2, 3, 5])
@pytest.mark.parametrize("threshold", [0.4, 0.55, 0.7])
def test_dbscan_equals_scikit_learn(faces, graph, core, threshold):
    theirs = DBSCAN(eps=1 - threshold, min_samples=core, metric="cosine").fit_predict(faces.vectors)
    mine = dbscan(graph, threshold, core=core)
    assert np.array_equal(mine < 0, theirs < 0)
    assert score(mine, alone(theirs)).bcubed_f > 0.98  # a face between two cores may go to either


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_people(faces, graph, name):
    method = METHODS[name]
    try:
        results = [score(method.run(graph, p), faces.identity).bcubed_f for p in method.on(graph)[4:6] or method.grid]
    except NotAvailable as error:
        pytest.skip(str(error))
    assert max(results) > 0.85
