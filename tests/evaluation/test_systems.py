"""Systems side by side on generated pictures: members, rules, older rules, peers, the ensemble; and what is kept between runs."""

import stat
import sys
import types

import numpy as np
import PIL.Image
import pytest
import yaml
from fakes import picture

from auto_annotator.config import load_settings
from auto_annotator.evaluation import peers
from auto_annotator.evaluation import systems as module
from auto_annotator.evaluation.comparison import compare
from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.looks import Cache
from auto_annotator.evaluation.peers import Missing, Peer
from auto_annotator.evaluation.pictures import load, prepare
from auto_annotator.evaluation.systems import KINDS, systems
from auto_annotator.evaluation.tables import markdown
from auto_annotator.types import Faces

SQUARES = [(20, 20, 60, 60), (120, 40, 180, 100)]


@pytest.fixture
def settings(tmp_path, monkeypatch):
    members = [
        {"name": name, "use": "fakes:SquareDetector", "options": options, "views": [{"size": 320}, {"size": 320, "flip": True}]}
        for name, options in (("one", {}), ("two", {"blind_below": 50}))
    ]
    for member in members:
        member["use"] = "systems_detectors:" + member["name"].title()
        member.pop("options")
    (tmp_path / "systems_detectors.py").write_text(
        "from fakes import SquareDetector\n"
        "class One(SquareDetector):\n    def __init__(self, context):\n        super().__init__()\n"
        "class Two(SquareDetector):\n    def __init__(self, context):\n        super().__init__(blind_below=50)\n"
    )
    path = tmp_path / "fakes.yaml"
    path.write_text(yaml.safe_dump({"name": "fakes", "members": members, "threshold": 0.4}))
    return load_settings(ensemble=str(path), models=tmp_path / "models")


@pytest.fixture
def set_(tmp_path):
    pictures = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        PIL.Image.fromarray(picture(320, 240, SQUARES[: number or 2])).save(path)
        boxes = np.array(SQUARES[: number or 2], np.float32)
        pictures.append(LabelledPicture(path=path, boxes=boxes))
    return prepare(pictures, 10**7)


def refuse(*_):
    raise AssertionError("looked at a picture again")


def by_name(found):
    return {s.name: s for s in found}


def test_every_kind_finds_the_squares(settings, set_):
    shown, labels = set_
    found = by_name(systems(shown, settings, cache=Cache(None)))
    assert {s.kind for s in found.values()} == set(KINDS)
    assert [len(f) for f in found["one, one look"].faces] == [2, 1, 2]
    assert [len(f) for f in found["two, one look"].faces] == [1, 0, 1]
    assert [len(f) for f in found["2 votes, raw scores"].faces] == [1, 0, 1]
    assert [len(f) for f in found["first-seen fusion"].faces] == [2, 1, 2]
    results = {r.system: r for r in compare(list(found.values()), labels)}
    ours, blind = results["fakes"], results["two, one look"]
    assert (ours.summary.ap["hard"], blind.summary.ap["hard"]) == (1.0, pytest.approx(2 / 5))
    assert (ours.summary.threshold, ours.own_threshold, blind.own_threshold) == (0.4, True, False)
    assert ours.summary.c100() == 0.0
    assert ours.review is not None
    assert blind.review is None


def test_differences_are_to_the_member_that_is_best_in_the_measure(settings, set_):
    shown, labels = set_
    results = {
        r.system: r for r in compare(list(systems(shown, settings, kinds=("member", "ensemble"), cache=Cache(None))), labels)
    }
    assert results["two, one look"].against["ap_hard"].value == pytest.approx(-0.6)
    assert results["two, one look"].against["ap_hard"].high <= 0
    assert "ap_hard" not in results["one, one look"].against
    assert results["fakes"].against["c100_medium"].value == 0.0


def test_a_peer_that_is_not_here_is_not_available_and_never_zero(settings, set_, monkeypatch):
    def missing(settings):
        raise Missing("package nowhere is not installed")

    monkeypatch.setattr(module, "PEERS", (Peer(name="nowhere", package="nowhere", threshold=0.5, load=missing),))
    shown, labels = set_
    results = compare(list(systems(shown, settings, kinds=("member", "peer"), cache=Cache(None))), labels)
    (peer,) = [r for r in results if r.kind == "peer"]
    assert (peer.summary, peer.note) == (None, "package nowhere is not installed")
    text = markdown(results, title="t", protocol=[])
    assert "- nowhere: package nowhere is not installed" in text
    assert "| nowhere |" not in text


def test_answers_are_kept_for_the_owner_and_asked_for_once(settings, set_, tmp_path, monkeypatch):
    shown, _ = set_
    cache = Cache(tmp_path / "kept")
    first = by_name(systems(shown, settings, kinds=("member", "ensemble"), cache=cache))
    for name in ("systems", "looks"):
        monkeypatch.setattr(f"auto_annotator.evaluation.{name}.load", refuse)
    second = by_name(systems(shown, settings, kinds=("member", "ensemble"), cache=cache))
    for name, system in first.items():
        assert [f.boxes.tolist() for f in second[name].faces] == [f.boxes.tolist() for f in system.faces]
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "kept").iterdir()} == {0o600}


def test_another_ensemble_file_is_another_answer(settings, tmp_path):
    before = module.content_digest(settings)
    path = tmp_path / "fakes.yaml"
    path.write_text(path.read_text().replace("0.4", "0.6"))
    assert module.content_digest(settings) != before


def test_another_calibration_is_another_answer_whatever_its_name(settings, tmp_path):
    path = tmp_path / "fakes.yaml"
    path.write_text(path.read_text() + "calibration: of-ours.json\n")
    digests = []
    for text in ("{}", '{"version": 2}'):
        (tmp_path / "of-ours.json").write_text(text)
        digests.append(module.content_digest(settings))
    assert digests[0] != digests[1]


def test_small_crops_get_room_and_their_labels_go_with_them(tmp_path):
    PIL.Image.fromarray(picture(80, 80, [(20, 30, 50, 70)])).save(tmp_path / "crop.png")
    points = np.array([[[25, 40], [45, 40], [35, 50], [27, 60], [43, 60]]], np.float32)
    crop = LabelledPicture(path=tmp_path / "crop.png", boxes=np.array([[20, 30, 50, 70]], np.float32), landmarks=points)
    (shown,), (label,) = prepare([crop], 10**7)
    image = load(shown, 10**7)
    assert image.shape == (shown.height, shown.width, 3) == (480, 480, 3)
    x1, y1, x2, y2 = label.boxes[0].astype(int)
    assert (image[y1 + 9 : y2 - 9, x1 + 9 : x2 - 9] > 150).all()
    assert image[:120].max() == 0
    assert label.landmarks[0, 0].tolist() == [25 * 3 + 120, 40 * 3 + 120]


def stand_in(monkeypatch, name, **attributes):
    package = types.ModuleType(name)
    package.__dict__.update(attributes)
    monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.setattr(peers, "_module", lambda *_: package)


def test_mediapipe_boxes_are_shares_of_the_picture(monkeypatch):
    frame = types.SimpleNamespace(xmin=0.25, ymin=0.5, width=0.5, height=0.25)
    face = types.SimpleNamespace(location_data=types.SimpleNamespace(relative_bounding_box=frame), score=[0.7])

    class FaceDetection:
        def __init__(self, **options):
            assert options["model_selection"] == 1

        def process(self, image):
            return types.SimpleNamespace(detections=[face] if image.any() else None)

    solutions = types.SimpleNamespace(face_detection=types.SimpleNamespace(FaceDetection=FaceDetection))
    stand_in(monkeypatch, "mediapipe", solutions=solutions)
    detect = peers.mediapipe_full(load_settings())
    got = detect(np.ones((100, 200, 3), np.uint8))
    assert (got.boxes.tolist(), got.scores.tolist()) == ([[50, 50, 150, 75]], [pytest.approx(0.7)])
    assert not got.has_landmarks.any()
    assert len(detect(np.zeros((100, 200, 3), np.uint8))) == 0


def test_a_mediapipe_without_the_solution_is_missing(monkeypatch):
    stand_in(monkeypatch, "mediapipe")
    with pytest.raises(Missing, match=r"0\.10\.14"):
        peers.mediapipe_full(load_settings())


def test_facenet_answers_none_when_there_is_no_face(monkeypatch):
    five = np.arange(10).reshape(1, 5, 2)

    class Mtcnn:
        def __init__(self, **options):
            assert options["keep_all"]

        def detect(self, image, *, landmarks):
            return (np.array([[1, 2, 3, 4]]), np.array([0.9]), five) if image.any() else (None, [None], None)

    stand_in(monkeypatch, "facenet_pytorch", MTCNN=Mtcnn)
    detect = peers.facenet_mtcnn(load_settings())
    assert detect(np.ones((9, 9, 3), np.uint8)).landmarks.tolist() == five.tolist()
    assert len(detect(np.zeros((9, 9, 3), np.uint8))) == 0


@pytest.mark.parametrize(("load_peer", "package"), [(peers.uniface_default, "uniface"), (peers.insightface_pack, "insightface")])
def test_a_package_without_its_weights_is_missing(monkeypatch, tmp_path, load_peer, package):
    monkeypatch.setattr(peers.Path, "home", lambda: tmp_path)
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(Missing, match=f"weights of {package}"):
        load_peer(load_settings())


def test_sides_are_put_in_our_order():
    ours = [[30, 40], [70, 40], [50, 60], [35, 80], [65, 80]]
    other = [ours[1], ours[0], ours[2], ours[4], ours[3]]
    assert peers.sorted_sides(other).tolist() == peers.sorted_sides(ours).tolist() == ours


def test_opencv_without_weights_is_missing(tmp_path):
    with pytest.raises(Missing, match="models pull"):
        peers.opencv_yunet(load_settings(models=tmp_path))


def test_rows_of_a_peer_may_lack_points():
    got = peers._faces([[0, 0, 1, 1], [0, 0, 2, 2]], [0.5, 1.2], [None, np.zeros(10)])
    assert (got.has_landmarks.tolist(), got.scores.tolist()) == ([False, True], [0.5, 1.0])
    assert isinstance(peers._faces([], [], []), Faces)
