"""The answer of an ensemble does not depend on the order of its members, views and tiles, nor on how many tiles run together."""

import zlib

import numpy as np
import pytest
from fakes import SquareDetector, picture
from scipy.optimize import linear_sum_assignment

from auto_annotator import members as members_module
from auto_annotator.calibration import Calibration, ViewCalibration
from auto_annotator.config import EnsembleConfig, Settings, ViewConfig
from auto_annotator.ensemble import Ensemble, Member
from auto_annotator.fusion.calibration import Curve
from auto_annotator.fusion.edges import KNOTS, EdgeHabit
from auto_annotator.fusion.stacking import Stack
from auto_annotator.pipeline import FaceDetection
from auto_annotator.types import Faces
from auto_annotator.views import view_windows

RULES = ["nms", "soft_nms", "nmw", "wbf", "vote", "stack"]
NAMES = ("one", "two", "three")
VIEWS = ({"size": 1200}, {"size": 1200, "flip": True}, {"size": 800}, {"tile": 320, "overlap": 0.4})
BOX_PIXELS, SCORE = 0.01, 1e-4


class Noisy(SquareDetector):
    """Misses some squares, moves the others and doubles some, as the pixels around them and its seed say; scores in twentieths."""

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def _one(self, canvas, threshold):
        found = super()._one(canvas, threshold)
        boxes, scores, points = [], [], []
        for box, five in zip(found.boxes.astype(float), found.landmarks.astype(float), strict=True):
            x1, y1, x2, y2 = (int(v) for v in box)
            near = canvas[max(0, y1 - 9) : y2 + 9, max(0, x1 - 9) : x2 + 9]
            rng = np.random.default_rng([self.seed, zlib.crc32(near.tobytes())])
            for _ in range(1 + (rng.random() < 0.2)):
                if rng.random() > 0.1:
                    moved = rng.normal(0, 0.06, 4) * (x2 - x1)
                    boxes.append(box + moved)
                    scores.append(rng.integers(8, 20) / 20)
                    points.append(five + moved[:2])
        kept = np.flatnonzero(np.array(scores) >= threshold) if scores else np.zeros(0, int)
        return Faces.of(np.array(boxes).reshape(-1, 4), scores, np.array(points).reshape(-1, 5, 2)).select(kept)


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(5)
    squares = []
    for _ in range(70):
        side = int(rng.integers(12, 60))
        x, y = int(rng.integers(0, 1200 - side)), int(rng.integers(0, 800 - side))
        squares.append((x, y, x + side, y + side))
    made = picture(1200, 800, squares)
    made[..., 1] = np.random.default_rng(6).integers(0, 255, made.shape[:2])  # so that every place looks different
    return made


def view_calibration(number):
    curve = Curve(x=[0.0, 0.5, 1.0], y=[0.0, 0.3 + 0.05 * number, 0.95])
    shape = np.ones((len(KNOTS), 4))
    habit = EdgeHabit(knots=KNOTS, bias=0.01 * number * shape, spread=(0.04 + 0.02 * number) * shape)
    return ViewCalibration(curve=curve, edges=habit)


def build(rule, *, order=(0, 1, 2), views=VIEWS):
    """The ensemble with its members and views in some order; everything else goes by name."""
    entries = [{"name": NAMES[i], "use": "tests:Noisy", "views": list(views)} for i in order]
    config = EnsembleConfig.model_validate({"name": "noisy", "members": entries, "fusion": {"rule": rule}, "threshold": 0.0})
    number = {ViewConfig.model_validate(view).name: n for n, view in enumerate(VIEWS)}
    weights = {f"{kind}/{name}": 0.1 + 0.1 * i for i, name in enumerate(NAMES) for kind in ("mean", "best")}
    weights |= {"votes": 0.7, "agreement": 2.0, "size": 0.2, "overlap": -3.0, "inside": -2.0}
    score = Stack(constant=-0.5, weights=weights) if rule == "stack" else None
    members = tuple(
        Member(
            index=index,
            config=entry,
            detector=Noisy(NAMES.index(entry.name)),
            curves={v: view_calibration(n + NAMES.index(entry.name)) for v, n in number.items()},
        )
        for index, entry in enumerate(config.members)
    )
    ensemble = Ensemble(config=config, members=members, calibration=Calibration(score=score), devices=("cpu",))
    return FaceDetection(ensemble, Settings(threads=1))


def assert_same(a, b):
    """The same faces in any order."""
    assert not a.problems
    assert not b.problems
    assert len(a.faces) == len(b.faces) > 30
    far = np.abs(a.faces.boxes[:, None] - b.faces.boxes[None]).max(axis=2)
    apart = np.abs(a.faces.scores[:, None] - b.faces.scores[None])
    rows, twins = linear_sum_assignment(np.minimum(far / BOX_PIXELS, 1e6) + np.minimum(apart / SCORE, 1e6))
    assert far[rows, twins].max() <= BOX_PIXELS
    assert apart[rows, twins].max() <= SCORE
    points = np.abs(a.faces.landmarks[rows] - b.faces.landmarks[twins])
    assert points.max() <= BOX_PIXELS


@pytest.mark.parametrize("rule", RULES)
def test_order_of_members(image, rule):
    plain = build(rule)(image)
    for order in ((2, 1, 0), (1, 2, 0)):
        assert_same(plain, build(rule, order=order)(image))


@pytest.mark.parametrize("rule", RULES)
def test_order_of_views(image, rule):
    plain = build(rule)(image)
    for order in ((3, 2, 1, 0), (1, 3, 0, 2)):
        assert_same(plain, build(rule, views=[VIEWS[i] for i in order])(image))


@pytest.mark.parametrize("rule", RULES)
def test_order_of_tiles(image, rule, monkeypatch):
    plain = build(rule)(image)
    monkeypatch.setattr(members_module, "view_windows", lambda *args: view_windows(*args)[::-1])
    assert_same(plain, build(rule)(image))


@pytest.mark.parametrize("pixels", [1, 400_000, 10**9])
def test_how_many_tiles_run_together(image, pixels, monkeypatch):
    plain = build("stack")(image)
    monkeypatch.setattr(members_module, "BATCH_PIXELS", pixels)
    detection = build("stack")
    assert_same(plain, detection(image))


def test_the_scene_is_hard_enough(image):
    """Rules that looked at the order of arrival would show it here: there are equal scores, doubles and faces in several tiles."""
    member = build("stack").ensemble.members[0]
    plan = member.plans(image.shape[1], image.shape[0])[-1]
    assert len(plan.windows) > 10
    answers = [faces for _, faces in member._run(image, plan, 10**4, lambda: False)]
    assert sum(map(len, answers)) > 1.3 * len(member.look(image, plan, max_faces=10**4))
    scores = np.concatenate([f.scores for f in answers])
    assert len(np.unique(scores)) < len(scores) / 3
