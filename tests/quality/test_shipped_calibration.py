"""The calibration of the embedded descriptors as it is shipped."""

import json

import numpy as np
import pytest

from auto_annotator.config import ensemble_path, load_ensemble
from auto_annotator.fusion.descriptors import DescriptorCalibration, fuse_descriptors
from auto_annotator.quality import QualityModel, ingredients, measure
from auto_annotator.types import Faces


@pytest.fixture(scope="module")
def data():
    config = load_ensemble("embedded")
    return json.loads((ensemble_path("embedded").parent / config.descriptor_calibration).read_text())


def lists(value):
    if isinstance(value, dict):
        return [found for v in value.values() for found in lists(v)]
    return [value, *(found for v in value for found in lists(v))] if isinstance(value, list) else []


def test_it_holds_no_vectors_but_means_over_people(data):
    calibration = DescriptorCalibration.from_json(data)
    numbers = [row for row in lists(data) if row and isinstance(row[0], float)]
    assert len(numbers) == sum(v is not None for m in calibration.members for v in (m.neutral, m.origin))
    assert all(np.linalg.norm(row) < 0.95 for row in numbers)  # a mean over people is shorter than the unit vector of one


def test_it_says_where_it_comes_from(data):
    assert data["provenance"]["command"] == "python -m benchmarks.calibrate_descriptors embedded"
    assert len(data["provenance"]["data_sha256"]) == 16


def test_members_are_those_of_the_ensemble(data):
    calibration = DescriptorCalibration.from_json(data)
    assert [m.name for m in calibration.members] == [d.name for d in load_ensemble("embedded").descriptors]
    assert all(m.coefficient > 0 for m in calibration.members)
    assert calibration.slope == pytest.approx(sum(m.coefficient for m in calibration.members), abs=0.01)


def test_strangers_lie_below_the_threshold(data):
    """Two faces of which nothing is known but that they are faces are strangers."""
    calibration = DescriptorCalibration.from_json(data)
    strangers = calibration.fused_cosine([float(np.sum(m.neutral**2)) for m in calibration.members])
    assert strangers < calibration.threshold - 0.1
    assert calibration.log_odds(strangers) < -10
    face = {m.name: np.ones((1, m.dimension)) for m in calibration.members}
    assert np.linalg.norm(fuse_descriptors(face, calibration)) == pytest.approx(1, abs=1e-5)


def test_the_quality_knows_its_ingredients(data):
    model = QualityModel.from_json(data["quality"])
    vectors = {d.name: np.ones((1, 4)) for d in load_ensemble("embedded").descriptors}
    measures = measure(Faces.of([[0, 0, 50, 50]], [0.9]), [0.1], vectors, vectors)
    assert set(model.ingredients) <= set(ingredients(measures))
    assert all(i.weight >= 0 for i in model.ingredients.values())
