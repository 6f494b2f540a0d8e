"""Building an ensemble from its file: classes, options, licences, calibration."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from fakes import SquareDetector, picture

from auto_annotator.calibration import Calibration, ViewCalibration, calibration_json, load_calibration, parse_calibration
from auto_annotator.config import load_ensemble, load_settings
from auto_annotator.ensemble import build_ensemble, require_licences
from auto_annotator.errors import ConfigError, WeightsError
from auto_annotator.fusion.calibration import Curve, SizedCurve
from auto_annotator.fusion.edges import EdgeHabit
from auto_annotator.fusion.stacking import Stack
from auto_annotator.pipeline import FaceDetection
from auto_annotator.types import Faces


class Contextual(SquareDetector):
    """What an ensemble file can name: built with a context and options."""

    def __init__(self, context, *, shift=0.0):
        super().__init__(shift)


class Hungry(SquareDetector):
    """Wants two weight files."""

    def __init__(self, context):
        super().__init__()
        context.session(1)


def ensemble_file(tmp_path, calibration=None, **member):
    data = {"name": "mine", "members": [{"name": "a", "use": "test_ensemble:Contextual", "views": [{"size": 640}], **member}]}
    if calibration is not None:
        (tmp_path / "curves.json").write_text(calibration if isinstance(calibration, str) else json.dumps(calibration))
        data["calibration"] = "curves.json"
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


@pytest.fixture(autouse=True)
def importable(monkeypatch, request):
    monkeypatch.syspath_prepend(str(request.path.parent))


def test_a_users_own_detector_file_works(tmp_path):
    detect = FaceDetection.from_settings(load_settings(ensemble=ensemble_file(tmp_path, options={"shift": 2.0})))
    detection = detect(picture(640, 480, [(50, 60, 130, 150)]))
    assert detection.faces.boxes[0] == pytest.approx([52, 62, 132, 152], abs=0.5)
    assert detection.votes.members == ("a",)


@pytest.mark.parametrize(
    ("member", "error", "message"),
    [
        ({"options": {"sihft": 1}}, ConfigError, "sihft"),
        ({"use": "test_ensemble:Absent"}, ConfigError, "Absent"),
        ({"use": "test_ensemble:Hungry"}, ConfigError, "more weight files than 0"),
        ({"weights": "no-such-weights"}, WeightsError, "no-such-weights"),
    ],
)
def test_what_cannot_be_built_is_named(tmp_path, member, error, message):
    with pytest.raises(error, match=message):
        build_ensemble(load_settings(ensemble=ensemble_file(tmp_path, **member), models=tmp_path))


def test_an_ensemble_that_says_commercial_is_held_to_it(tmp_path):
    require_licences(load_ensemble("embedded"))
    require_licences(load_ensemble("commercial"))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(load_ensemble("research").model_dump(mode="json") | {"commercial": True}))
    with pytest.raises(ConfigError, match="scrfd-10g"):
        require_licences(load_ensemble(str(path)))
    own = ensemble_file(tmp_path, weights="./own.onnx")
    config = load_ensemble(own).model_copy(update={"commercial": True})
    with pytest.raises(ConfigError, match=r"own\.onnx"):
        require_licences(config)


CURVE = {"x": [0.0, 1.0], "y": [0.0, 0.5]}


def test_calibration_changes_scores_and_a_view_can_borrow_a_curve(tmp_path):
    image = picture(640, 480, [(50, 60, 130, 150)], score=0.8)
    for views, curves, expected in [
        ([{"size": 640}], {"a": {"640": CURVE}}, 0.4),
        ([{"size": 320, "curve": "640"}], {"a": {"640": CURVE}}, 0.4),
        ([{"size": 320}], {}, 0.8),
    ]:
        path = ensemble_file(tmp_path, {"members": curves}, views=views)
        detection = FaceDetection.from_settings(load_settings(ensemble=path))(image)
        assert detection.faces.scores == pytest.approx([expected], abs=0.02)
    path = ensemble_file(tmp_path, {"members": {}, "final": CURVE})
    detection = FaceDetection.from_settings(load_settings(ensemble=path))(image)
    assert detection.faces.scores == pytest.approx([0.4], abs=0.02)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"members": {"a": {"640": {"x": [0, 1]}}}}', '{"members": {"a": {"640": {"x": [1, 0], "y": [0, 1]}}}}'],
)
def test_a_calibration_file_that_cannot_be_used_is_named(tmp_path, text):
    path = ensemble_file(tmp_path, text)
    with pytest.raises(ConfigError, match=r"curves\.json"):
        load_calibration(path, load_ensemble(path))


@pytest.mark.parametrize(
    ("views", "curves", "message"),
    [
        ([{"size": 640}], {"a": {"640": CURVE}, "b": {}}, "curves of b"),
        ([{"size": 640}, {"size": 320}], {"a": {"640": CURVE}}, "no curve '320' of member a"),
        ([{"size": 640, "curve": "nope"}], {"a": {"640": CURVE}}, "no curve 'nope'"),
        ([{"size": 640, "curve": "nope"}], {}, "no curve 'nope'"),
    ],
)
def test_a_calibration_of_other_members_or_views_is_refused(tmp_path, views, curves, message):
    path = ensemble_file(tmp_path, {"members": curves}, views=views)
    with pytest.raises(ConfigError, match=message):
        build_ensemble(load_settings(ensemble=path))


def test_a_missing_calibration_file_is_named(tmp_path):
    path = ensemble_file(tmp_path, {"members": {}})
    (tmp_path / "curves.json").unlink()
    with pytest.raises(ConfigError, match=r"curves\.json"):
        load_calibration(path, load_ensemble(path))


def test_the_shipped_calibration_fits_the_shipped_ensemble():
    config = load_ensemble("embedded")
    calibration = load_calibration("embedded", config)
    for member in config.members:
        for view in member.views:
            assert (view.curve or view.name) in calibration.views[member.name]
    scores = np.linspace(0, 1, 101)
    for side in (6, 24, 200):
        faces = Faces.of(np.tile([[10, 10, 10 + side, 10 + side]], (101, 1)), scores)
        for view in [c for views in calibration.views.values() for c in views.values()]:
            values = view(faces, 1.0).scores
            assert (np.diff(values) >= 0).all()
            assert 0 <= values.min() <= values.max() <= 1


def test_what_is_written_is_what_is_read():
    view = ViewCalibration(
        curve=SizedCurve(curve=Curve(x=[0.1, 0.9], y=[0.05, 0.95]), terms=[0.1, 1.0, 0.2, -0.1, 0.05]),
        edges=EdgeHabit(knots=[-1.0, 1.0], bias=[[0.01, 0, 0, 0], [0, 0.02, 0, 0]], spread=np.full((2, 4), 0.05)),
    )
    plain = ViewCalibration(curve=Curve(x=[0.0, 1.0], y=[0.0, 1.0]))
    model = Stack(constant=-1.0, weights={"mean/a": 0.5, "size": -0.1}, curve=Curve(x=[0.0, 1.0], y=[0.0, 0.9]))
    written = Calibration(views={"a": {"640": view, "320": plain}}, score=model, right=model)
    read = parse_calibration(json.loads(json.dumps(calibration_json(written))))
    assert calibration_json(read) == calibration_json(written)
    faces = Faces.of([[100, 100, 120, 124], [10, 10, 90, 99]], [0.3, 0.8])
    one, other = view(faces, 2.0), read.views["a"]["640"](faces, 2.0)
    assert other.scores == pytest.approx(one.scores)
    assert other.boxes == pytest.approx(one.boxes)
    assert one.boxes[0] != pytest.approx(faces.boxes[0])
    with pytest.raises(ValueError, match="version"):
        parse_calibration({"version": 99, "members": {}})


def test_the_rule_stack_needs_its_model(tmp_path):
    path = Path(ensemble_file(tmp_path, {"members": {}}))
    path.write_text(path.read_text() + "fusion: {rule: stack}\n")
    with pytest.raises(ConfigError, match="needs a fitted model"):
        build_ensemble(load_settings(ensemble=str(path)))
    assert build_ensemble(load_settings(ensemble=str(path)), calibrated=False).calibration.score is None
    model = {"constant": 0, "weights": {"mean/z": 1}}
    (tmp_path / "curves.json").write_text(json.dumps({"members": {}, "score": model}))
    with pytest.raises(ConfigError, match="counts on z"):
        build_ensemble(load_settings(ensemble=str(path)))


def test_on_a_gpu_all_pictures_make_a_handful_of_shapes_and_the_same_faces(tmp_path):
    built = build_ensemble(load_settings(ensemble=ensemble_file(tmp_path)))
    (member,) = built.members
    assert not member.few_shapes  # no model on a GPU
    coarse = replace(member, few_shapes=True)
    for height in range(200, 640, 24):
        image = picture(640, height, [(50, 60, 130, 150)])
        (plan,) = member.plans(640, height)
        fine_faces = member.look(image, plan, max_faces=10)
        coarse_faces = coarse.look(image, plan, max_faces=10)
        assert coarse_faces.boxes == pytest.approx(fine_faces.boxes)
    shapes = set(member.detector.calls)
    assert {s for s in shapes if s[1] == 768} == {(256, 768, 3), (512, 768, 3), (768, 768, 3)}


def test_the_refiners_alone_are_those_of_the_whole_ensemble(monkeypatch):
    from auto_annotator import ensemble as module

    built = []
    monkeypatch.setattr(module, "build_part", lambda part, *_, **__: built.append(part.name) or part.name)
    settings = load_settings(ensemble="embedded")
    alone = module.build_refiners(settings)
    assert [r.config.name for r in alone] == built == [r.name for r in module.load_ensemble("embedded").refiners]
