"""Calibrations of the ensembles whose weights could not be had: whose curves they are, and that they fit their ensembles."""

import json

import numpy as np
import pytest

from auto_annotator.calibration import load_calibration
from auto_annotator.config import ensemble_path, load_ensemble
from auto_annotator.fusion.boxes import FusionSettings, Source
from auto_annotator.fusion.faces import fuse_evidence
from auto_annotator.types import Faces

BORROWED = ["commercial", "research"]


@pytest.fixture(params=BORROWED)
def name(request):
    return request.param


def test_the_file_says_whose_curves_they_are(name):
    config = load_ensemble(name)
    data = json.loads(ensemble_path(name).with_name(config.calibration).read_text())
    assert list(data["borrowed"]) == [m.name for m in config.members]
    for member in ("yunet", "centerface"):
        assert data["borrowed"][member] == "itself"
    others = {m for m, of in data["borrowed"].items() if of != "itself"}
    assert others == {m.name for m in config.members} - {"yunet", "centerface"}
    assert data["command"].endswith(f"borrowed_calibration {name}")
    assert len(data["data_sha256"]) == 16


def test_every_view_has_a_curve_and_nothing_else_is_borrowed(name):
    config = load_ensemble(name)
    calibration = load_calibration(name, config)
    for member in config.members:
        views = calibration.views[member.name]
        assert {v.curve or v.name for v in member.views} == set(views)
        assert all(v.edges is None for v in views.values())
    for model in (calibration.score, calibration.right):
        assert not [n for n in model.weights if "/" in n]  # a model that names members would not be that of these


def fused_score(name, lists):
    config = load_ensemble(name)
    members = [m.name for m in config.members]
    faces = [Faces.of(rows, [score] * len(rows)) if rows else Faces.empty() for rows, score in lists]
    sources = [Source(member=i) for i in range(len(members))]
    score = load_calibration(name, config).final_scores
    return fuse_evidence(faces, sources, members, FusionSettings(rule="stack"), None, score).faces.scores


def test_more_votes_and_surer_ones_never_lower_the_score(name):
    box = [100, 100, 140, 150]
    members = len(load_ensemble(name).members)
    by_votes = [fused_score(name, [([box], 0.7)] * n + [([], 0)] * (members - n))[0] for n in range(1, members + 1)]
    assert (np.diff(by_votes) > 0).all()
    by_score = [fused_score(name, [([box], s)] * members)[0] for s in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert (np.diff(by_score) > 0).all()
    threshold = load_ensemble(name).threshold
    assert by_score[-1] > threshold > by_score[0]
