"""Building the recognisers of an ensemble file: classes, options, licences, calibration, the hash of the model set."""

from __future__ import annotations

import json

import pytest
import yaml
from fake_recognisers import GridRecogniser

from auto_annotator.config import load_ensemble, load_settings
from auto_annotator.descriptor_set import build_descriptors
from auto_annotator.ensemble import build_ensemble, require_licences
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.fusion.descriptors import DescriptorCalibration, MemberCalibration
from auto_annotator.pipeline import FaceDescription, build_description
from auto_annotator.weights import identity_of


class Contextual(GridRecogniser):
    """What an ensemble file can name."""

    def __init__(self, context, *, template="arcface"):
        super().__init__(template)


class Undecided:
    """A class that is no recogniser."""

    template = "arcface"

    def __init__(self, context):
        pass


@pytest.fixture(autouse=True)
def importable(monkeypatch, request):
    monkeypatch.syspath_prepend(str(request.path.parent))


DETECTOR = {"name": "d", "use": "test_ensemble:Contextual", "views": [{"size": 640}]}


def ensemble_file(tmp_path, *descriptors, calibration=None, **fields):
    rows = [{"name": "a", "use": "test_descriptor_set:Contextual", **d} for d in descriptors]
    data = {"name": "mine", "members": [DETECTOR], "descriptors": rows, **fields}
    if calibration is not None:
        (tmp_path / "say.json").write_text(calibration if isinstance(calibration, str) else json.dumps(calibration))
        data["descriptor_calibration"] = "say.json"
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    return load_settings(ensemble=str(path), models=tmp_path / "none", threads=1)


def say(**dimensions):
    rows = tuple(MemberCalibration(name=n, dimension=d, coefficient=c) for n, (d, c) in dimensions.items())
    return DescriptorCalibration(members=rows, threshold=0.4).to_json()


def test_a_users_own_recogniser_works(tmp_path):
    describe = build_description(ensemble_file(tmp_path, {}, {"name": "b", "options": {"template": "dlib"}, "weight": 3.0}))
    assert (describe.model_set, describe.members, describe.dimension, describe.device) == ("mine", ("a", "b"), 96, "cpu")
    assert [m.coefficient for m in describe.descriptors.calibration.members] == [1.0, 3.0]
    assert describe.threshold is None


@pytest.mark.parametrize(
    ("descriptor", "error", "message"),
    [
        ({"options": {"tempalte": 1}}, ConfigError, "tempalte"),
        ({"options": {"template": "square"}}, ConfigError, "got template 'square', expected one of arcface, sphereface, dlib"),
        ({"use": "test_descriptor_set:Absent"}, ConfigError, "Absent"),
        ({"use": "test_descriptor_set:Undecided"}, ConfigError, "no `dimension` above 0"),
        ({"weights": "no-such-weights"}, WeightsError, "no-such-weights"),
        ({"use": "auto_annotator.descriptors.sface:SFace"}, ConfigError, "got 0 weight files, expected one"),
    ],
)
def test_what_cannot_be_built_is_named(tmp_path, descriptor, error, message):
    with pytest.raises(error, match=message):
        build_descriptors(ensemble_file(tmp_path, descriptor))


def test_an_ensemble_without_recognisers_says_so(tmp_path):
    with pytest.raises(ConfigError, match="has no `descriptors`"):
        FaceDescription.from_settings(ensemble_file(tmp_path))


def test_names_must_differ_among_descriptors_only(tmp_path):
    with pytest.raises(ConfigError, match="names of descriptors must differ, got a, a"):
        build_descriptors(ensemble_file(tmp_path, {}, {}))
    build_descriptors(ensemble_file(tmp_path, {"name": "d"}))


def test_faces_are_found_without_the_weights_of_recognisers(tmp_path):
    settings = ensemble_file(tmp_path, {"weights": "sface-2021dec"})
    assert build_ensemble(settings).members
    with pytest.raises(WeightsError, match="sface_2021dec"):
        build_descriptors(settings)


def test_faces_are_described_without_the_weights_of_detectors(tmp_path):
    detector = DETECTOR | {"weights": "yunet-2023mar"}
    assert build_descriptors(ensemble_file(tmp_path, {}, members=[detector])).members


def test_a_commercial_ensemble_is_held_to_it_for_recognisers_too(tmp_path):
    with pytest.raises(ConfigError, match="arcface-r50"):
        build_descriptors(ensemble_file(tmp_path, {"weights": "arcface-r50"}, commercial=True))
    require_licences(load_ensemble("embedded"))


def test_a_calibration_gives_say_and_threshold(tmp_path):
    built = build_descriptors(ensemble_file(tmp_path, {}, calibration=say(a=(48, 7.0))))
    assert built.calibration.threshold == 0.4 and built.calibration.members[0].coefficient == 7.0


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ("{", "cannot be read"),
        ([], "got list"),
        ({"members": []}, "fit it again"),
        (say(b=(48, 1.0)), "is of the members {'b': 48}, but the ensemble has {'a': 48}"),
        (say(a=(47, 1.0)), "is of the members {'a': 47}"),
    ],
)
def test_a_calibration_of_something_else_is_refused(tmp_path, calibration, message):
    with pytest.raises(ConfigError, match=message):
        build_descriptors(ensemble_file(tmp_path, {}, calibration=calibration))


def test_the_hash_follows_all_that_vectors_depend_on_and_nothing_else(tmp_path):
    def of(*descriptors, **fields):
        return build_descriptors(ensemble_file(tmp_path, *descriptors, **fields)).model_hash

    own = tmp_path / "own.onnx"
    hashes = [of({}), of({"flip": False}), of({"name": "b"}), of({"options": {"template": "dlib"}}), of({}, {"name": "b"})]
    for content in (b"1", b"2"):
        own.write_bytes(content)
        hashes.append(of({"weights": str(own)}))
    hashes += [of({}, {"name": "b"}, calibration=say(a=(48, c), b=(48, 1.0))) for c in (2.0, 3.0)]
    assert len(set(hashes)) == len(hashes)
    other_threshold = say(a=(48, 2.0), b=(48, 1.0)) | {"fused": {"threshold": 0.9, "slope": 2.0}}
    assert of({}, {"name": "b"}, calibration=other_threshold) == hashes[-2]
    assert of({}, name="another name", threshold=0.7) == hashes[0]


def test_a_registered_weight_is_known_by_its_source_and_what_was_made_of_it(tmp_path):
    assert identity_of("arcface-r50", tmp_path).startswith("4c06341c")
    assert identity_of("sface-2021dec", tmp_path).endswith("+dequantise+dynamic_batch")
