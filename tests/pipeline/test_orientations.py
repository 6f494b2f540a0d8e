"""Faces on their side and upside down: fake detectors that know upright faces only, in pictures turned every way."""

import itertools

import numpy as np
import pytest
from fakes import AnsweringDetector, RaisingDetector, SquareDetector, picture, pipeline
from hypothesis import given
from hypothesis import strategies as st

from auto_annotator.geometry import iou_matrix, turn_edges, turn_faces
from auto_annotator.pipeline import orientations
from auto_annotator.pipeline.orientations import SAME_INSIDE, SAME_IOU, SURE, chosen, joined, less_likely, turned_back
from auto_annotator.types import Detection, Faces, Votes

WIDTH, HEIGHT = 640, 448
PLACES = [(40, 60, 100, 150), (300, 40, 360, 130), (480, 300, 570, 360), (60, 300, 150, 360)]
OFFSETS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


class UprightDetector(SquareDetector):
    """Sees a bright rectangle only if its top third lacks green; its edges lie `grow` pixels off.

    With `sideways` it sees others too, at that share of the score, with points that lie `astray` pixels off.
    """

    def __init__(self, grow=(0, 0, 0, 0), sideways: float = 0.0, astray: float = 0.0) -> None:
        super().__init__()
        self.grow, self.sideways, self.astray = np.array(grow, float), sideways, astray

    def _one(self, canvas, threshold):
        found = super()._one(canvas, threshold)
        rows = []
        for row, (x1, y1, x2, y2) in enumerate(found.boxes.astype(int)):
            third = (y2 - y1) // 3
            dark, bright = canvas[y1 : y1 + third, x1:x2, 1], canvas[y2 - third : y2, x1:x2, 1]
            rows.append((row, dark.mean() < 60 and bright.mean() > 90))
        scores = [found.scores[row] * (1 if upright else self.sideways) for row, upright in rows]
        keep = np.flatnonzero(np.array(scores) > 0)
        boxes = found.boxes[keep]
        points = boxes[:, None, :2] + OFFSETS * (boxes[:, 2:] - boxes[:, :2])[:, None]
        points += self.astray * ~np.array([upright for _, upright in rows], bool)[keep, None, None]
        return Faces.of(boxes + self.grow, np.array(scores)[keep], points)


def scene(*turns: int) -> np.ndarray:
    """A picture with a face in each of the first places, each turned clockwise by its number of quarters."""
    image = picture(WIDTH, HEIGHT, PLACES[: len(turns)])
    for (x1, y1, x2, y2), turn in zip(PLACES, turns, strict=False):
        patch = np.rot90(image[y1:y2, x1:x2].copy(), turn)  # as it looks when the face is upright
        patch[: len(patch) // 3, :, 1] = 0
        image[y1:y2, x1:x2] = np.rot90(patch, -turn)
    return image


def turned(image: np.ndarray, quarters: int) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(image, -quarters))


def pair_of(rotations="always", settings=None, **config):
    detectors = {"a": UprightDetector(), "b": UprightDetector(grow=(2, 0, 0, -6))}
    return pipeline(detectors, settings={"rotations": rotations} | (settings or {}), **config)


ALL = (0, 1, 2, 3)


def test_faces_of_all_orientations_are_found_where_they_are():
    detection = pair_of()(scene(*ALL))
    assert len(detection.faces) == 4
    assert (detection.width, detection.height) == (WIDTH, HEIGHT)
    gaps = np.abs(detection.faces.boxes[:, None] - np.array(PLACES)[None]).max(axis=2)
    assert sorted(gaps.argmin(axis=0).tolist()) == [0, 1, 2, 3] and gaps.min(axis=0).max() <= 3.01
    assert detection.votes.count.tolist() == [2] * 4


@pytest.mark.parametrize("turn", ALL)
def test_points_go_by_the_person_and_spreads_by_the_edges(turn):
    upright = pair_of()(scene(0))
    image = turned(scene(0), turn)
    detection = pair_of()(image)
    expected = turn_faces(upright.faces, turn, WIDTH, HEIGHT)
    assert detection.faces.boxes == pytest.approx(expected.boxes, abs=1e-3)
    assert detection.faces.landmarks == pytest.approx(expected.landmarks, abs=1e-3)
    assert detection.votes.edge_spread == pytest.approx(np.array([np.roll([1, 0, 0, 3], turn)]), abs=0.01)
    assert detection.votes.scores.tolist() == upright.votes.scores.tolist()


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_turned_picture_has_the_same_faces_turned(turn):
    detect = pair_of(turned_odds=1)
    upright, other = detect(scene(*ALL)), detect(turned(scene(*ALL), turn))
    expected = turn_faces(upright.faces, turn, WIDTH, HEIGHT)
    rows, others = np.lexsort(expected.boxes.round(2).T), np.lexsort(other.faces.boxes.round(2).T)
    assert other.faces.boxes[others] == pytest.approx(expected.boxes[rows], abs=1e-3)
    assert other.faces.landmarks[others] == pytest.approx(expected.landmarks[rows], abs=1e-3)
    assert other.faces.scores[others] == pytest.approx(upright.faces.scores[rows])
    assert [other.reasons[i] for i in others] == [upright.reasons[i] for i in rows]
    spread = turn_edges(upright.votes.edge_spread, turn)
    assert other.votes.edge_spread[others] == pytest.approx(spread[rows], abs=1e-2)


def test_a_turned_face_is_less_likely_and_sorted_by_what_is_left():
    detection = pair_of(turned_odds=0.5)(scene(0, 2))
    assert detection.faces.scores == pytest.approx([0.9, 0.9 * 0.5 / (0.1 + 0.9 * 0.5)], abs=0.02)
    assert not detection.problems


def test_off_looks_once():
    detect = pair_of("off")
    assert len(detect(scene(*ALL)).faces) == 1
    assert [len(m.detector.calls) for m in detect.ensemble.members] == [1, 1]


@pytest.mark.parametrize(("turns", "faces", "looks"), [((0, 1), 1, 1), ((1, 2), 2, 4), ((), 0, 4)])
def test_when_empty_looks_around_only_where_no_face_stands_upright(turns, faces, looks):
    detect = pair_of("when_empty")
    assert len(detect(scene(*turns)).faces) == faces
    assert [len(m.detector.calls) for m in detect.ensemble.members] == [looks, looks]


@pytest.mark.parametrize("rotations", ["when_empty", "always"])
def test_a_higher_threshold_of_the_caller_brings_no_face_that_a_lower_one_hides(rotations):
    detect = pair_of(rotations, threshold=0.5)
    image = scene(0)
    image[PLACES[3][1] : PLACES[3][3]] = scene(0, 0, 0, 3)[PLACES[3][1] : PLACES[3][3]]  # one more, on its side
    image[PLACES[2][1] : PLACES[2][3], PLACES[2][0] :] = picture(1, 1, [])
    sets = [{tuple(b) for b in detect(image, threshold=t).faces.boxes.round(1).tolist()} for t in (0, 0.3, 0.6, 0.8, 0.95)]
    assert all(more >= less for more, less in itertools.pairwise(sets))
    assert len(sets[0]) == (1 if rotations == "when_empty" else 2)


def test_a_face_that_is_seen_from_everywhere_is_one_face_and_upright_wins_ties():
    detection = pipeline({"a": SquareDetector(), "b": SquareDetector()}, settings={"rotations": "always"}, turned_odds=1)(
        picture(WIDTH, HEIGHT, PLACES)
    )
    assert len(detection.faces) == len(PLACES)
    assert detection.faces.scores == pytest.approx(0.9, abs=0.02)
    eyes, mouth = detection.faces.landmarks[:, :2].mean(axis=1), detection.faces.landmarks[:, 3:].mean(axis=1)
    assert (mouth[:, 1] > eyes[:, 1] + 5).all() and np.abs(mouth[:, 0] - eyes[:, 0]).max() < 5


def test_a_face_that_fits_better_turned_is_taken_from_there():
    detectors = {"a": UprightDetector(sideways=0.6), "b": UprightDetector(sideways=0.6)}
    detection = pipeline(detectors, settings={"rotations": "always"}, turned_odds=0.1)(scene(2))
    assert len(detection.faces) == 1
    assert detection.faces.scores[0] == pytest.approx(0.54, abs=0.02)  # it is one upright too: no less likely for being found again
    assert detection.faces.landmarks[0, 0, 1] > detection.faces.landmarks[0, 3, 1] + 5  # eyes below the mouth


def confused(rotations, astray):
    """Detectors that like a face as much on its head as upright, but then place its points apart from each other."""
    detectors = {"a": UprightDetector(sideways=1.0), "b": UprightDetector(sideways=1.0, astray=astray)}
    return pipeline(detectors, settings={"rotations": rotations})


def eyes_below_mouth(detection) -> bool:
    return bool(detection.faces.landmarks[0, 0, 1] > detection.faces.landmarks[0, 3, 1] + 5)


@pytest.mark.parametrize("rotations", ["when_empty", "always"])
@pytest.mark.parametrize("turn", [0, 2])
def test_of_equal_scores_the_orientation_stays_in_which_the_detectors_agree_on_the_points(rotations, turn):
    detection = confused(rotations, astray=25)(scene(turn))
    assert len(detection.faces) == 1
    assert eyes_below_mouth(detection) == (turn == 2)


@pytest.mark.parametrize(("astray", "looks"), [(25, 4), (5, 1)])
def test_a_face_whose_points_lie_apart_does_not_stand_upright(astray, looks):
    detect = confused("when_empty", astray)
    detect(scene(2))
    assert [len(m.detector.calls) for m in detect.ensemble.members] == [looks, looks]


def test_one_opinion_on_the_points_cannot_tell():
    detect = pipeline({"a": UprightDetector(sideways=1.0, astray=25)}, settings={"rotations": "when_empty"})
    detect(scene(2))
    assert len(detect.ensemble.members[0].detector.calls) == 1


@pytest.mark.parametrize("shape", [(1, 1), (4000, 1), (1, 4000), (480, 640)])
def test_a_picture_without_faces_is_an_empty_answer(shape):
    detection = pair_of()(np.zeros((*shape, 3), np.uint8))
    assert len(detection.faces) == 0 and not detection.problems
    assert (detection.height, detection.width) == shape


class PortraitBreaks(UprightDetector):
    """Raises at a canvas higher than wide."""

    def detect(self, canvases, *, threshold):
        if canvases[0].shape[0] > canvases[0].shape[1]:
            self.calls.append(())
            raise RuntimeError("secret")
        return super().detect(canvases, threshold=threshold)


def test_a_member_that_breaks_in_one_orientation_keeps_its_say_in_those_before():
    detectors = {"a": UprightDetector(), "bad": PortraitBreaks()}
    detection = pipeline(detectors, settings={"rotations": "always"}, threshold=0.1)(scene(0, 2))
    by_place = {round(float(b[0])): row for row, b in enumerate(detection.faces.boxes)}
    upright, inverted = by_place[40], by_place[300]
    assert np.isfinite(detection.votes.scores[upright]).all() and "few_votes" not in detection.reasons[upright]
    assert np.isnan(detection.votes.scores[inverted, 1]) and "few_votes" in detection.reasons[inverted]
    assert [(p.member, p.reason, p.detail) for p in detection.problems] == [
        ("bad", "raised", "RuntimeError (picture turned by 90 degrees)")
    ]
    assert len(detectors["bad"].calls) == 2  # upright and once on its side: it is not asked again


def test_when_nobody_answers_turned_the_upright_faces_stay():
    detection = pipeline({"bad": PortraitBreaks()}, settings={"rotations": "always"})(scene(0, 2))
    assert len(detection.faces) == 1 and [p.member for p in detection.problems] == ["bad"]


def test_a_member_that_broke_upright_is_not_asked_again():
    bad = RaisingDetector(ValueError())
    detection = pipeline({"a": UprightDetector(), "bad": bad}, settings={"rotations": "always"}, threshold=0.1)(scene(2))
    assert [(p.member, p.detail) for p in detection.problems] == [("bad", "ValueError")]
    assert "few_votes" in detection.reasons[0]


class Slow(UprightDetector):
    """Takes a second for each look."""

    def __init__(self, clock) -> None:
        super().__init__()
        self.clock = clock

    def detect(self, canvases, *, threshold):
        self.clock.now += 1.0
        return super().detect(canvases, threshold=threshold)


@pytest.mark.parametrize(
    ("budget", "looks", "left_out"), [(8.5, 4, None), (6.5, 3, 270), (5.0, 2, 180), (2.5, 1, 90), (0.5, 1, 90)]
)
def test_orientations_are_left_out_to_keep_the_time_budget_upright_never(clock, budget, looks, left_out):
    detectors = {"a": Slow(clock), "b": Slow(clock)}
    detection = pipeline(detectors, settings={"rotations": "always", "budget_seconds": budget})(scene(*ALL))
    assert len(detection.faces) == looks
    assert [len(d.calls) for d in detectors.values()] == [looks, looks]
    told = [] if left_out is None else [f"all views left out (picture turned by {left_out} degrees)"] * 2
    assert [p.detail for p in detection.problems] == told
    assert {p.reason for p in detection.problems} <= {"out_of_time"}
    assert clock.now <= max(budget, 2)
    assert detection.seconds["members/a"] == looks


def test_refiners_see_the_face_upright_and_their_points_come_back():
    shown = []

    class Refiner:
        def refine(self, image, faces):
            shown.append((image.shape[:2], len(faces)))
            return faces.landmarks + np.float32([0, 2])  # further down the face

    def detect(image, refiners):
        return pipeline({"a": UprightDetector()}, refiners=refiners, settings={"rotations": "always"}, turned_odds=1)(image)

    plain, moved = (detect(scene(1, 2), r) for r in ({}, {"r": Refiner()}))
    assert sorted(shown) == [((HEIGHT, WIDTH), 1), ((WIDTH, HEIGHT), 1)]
    assert moved.faces.boxes.tolist() == plain.faces.boxes.tolist()
    shift = {
        tuple(np.sign((m - p).mean(axis=0)).astype(int)) for m, p in zip(moved.faces.landmarks, plain.faces.landmarks, strict=True)
    }
    assert shift == {(-1, 0), (0, -1)}  # turned by 90: down is to the left; by 180: up


def test_boxes_at_the_border_are_told_in_every_orientation():
    image = scene(0)
    for turn in ALL:
        cut = turned(image[:, 45:], turn)
        (reasons,) = pair_of()(cut).reasons
        assert "at_border" in reasons


def detection_of(boxes, scores, **columns):
    n = len(boxes)
    votes = Votes(
        members=("a",), scores=np.full((n, 1), 0.5), edge_spread=np.tile([1.0, 2, 3, 4], (n, 1)), landmark_spread=np.zeros((n, 5))
    )
    return Detection(width=100, height=60, faces=Faces.of(boxes, scores), votes=votes, reasons=((),) * n, **columns)


def test_review_scores_and_hidden_points_stay_with_their_faces():
    one = detection_of([[0, 0, 10, 10]], [0.5], review_scores=[0.3], hidden=[[True, False, False, False, False]])
    other = detection_of([[50, 0, 60, 10]], [0.8], review_scores=[0.1], hidden=[[False, True, False, False, False]])
    both = joined([one, turned_back(turned_back(other, 1), 3)])
    assert both.faces.boxes.tolist() == [[50, 0, 60, 10], [0, 0, 10, 10]]
    assert both.review_scores == pytest.approx([0.1, 0.3])
    assert both.hidden[:, 1].tolist() == [True, False]
    assert both.votes.edge_spread.tolist() == [[1, 2, 3, 4]] * 2


def test_what_is_not_known_of_all_parts_is_not_known():
    one, other = detection_of([[0, 0, 9, 9]], [0.5], review_scores=[0.3]), detection_of([[50, 0, 60, 10]], [0.8])
    assert joined([one, other]).review_scores is None
    assert joined([detection_of([], [])]).hidden is None


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 1))
def test_less_likely_keeps_order_range_and_certainty(p, q, odds):
    low, high = less_likely([min(p, q), max(p, q)], odds)
    assert 0 <= low <= high <= 1
    assert low <= min(p, q) + 1e-12
    assert less_likely([0.0, 1.0], odds).tolist() == [0, 1]
    assert less_likely(less_likely([p], odds), 1 / odds) == pytest.approx([p], abs=1e-6)


boxes = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.2, 0.5, 0.9])),
    max_size=7,
)


def same(a, b):
    a, b = (np.array([x], float) for x in (a, b))
    common = np.prod(np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0))
    smaller = min(np.prod(a[:, 2:] - a[:, :2]), np.prod(b[:, 2:] - b[:, :2]))
    return smaller > 0 and (iou_matrix(a, b)[0, 0] >= SAME_IOU or common >= SAME_INSIDE * smaller)


@given(st.lists(boxes, min_size=1, max_size=4), st.sampled_from([0.1, 0.5, 1.0]))
def test_of_each_face_the_best_orientation_is_kept_with_the_best_score_shown(lists, odds):
    found = [Faces.of([[x, y, x + w, y + h] for x, y, w, h, _ in rows], [s for *_, s in rows]) for rows in lists]
    kept = chosen(found, odds)
    everything = []
    for number, faces in enumerate(found):
        for row, (score, box) in enumerate(zip(faces.scores, faces.boxes, strict=True)):
            shown = score if number == 0 else np.float32(less_likely(float(score), odds))
            everything.append((-(score if score >= SURE else shown), number, row, box, float(shown)))
    stays: list = []
    for _, number, row, box, shown in sorted(everything, key=lambda e: e[:3]):
        rival = next((face for face in stays if face[0] != number and same(box, face[2])), None)
        if rival is None:
            stays.append([number, row, box, shown])
        else:
            rival[3] = max(rival[3], shown)
    for number, choice in enumerate(kept):
        expected = sorted((row, shown) for n, row, _, shown in stays if n == number)
        assert choice.rows.tolist() == [row for row, _ in expected]
        assert choice.scores == pytest.approx([shown for _, shown in expected])
    upright = kept[0]
    assert upright.scores.tolist() == found[0].scores[upright.rows].tolist()


def test_of_many_faces_only_neighbours_are_compared(monkeypatch):
    compared = []

    def counting(boxes, source, plain=orientations._one_face):
        test = plain(boxes, source)

        def counted(i, j):
            compared.append(len(i))
            return test(i, j)

        return counted

    monkeypatch.setattr(orientations, "_one_face", counting)
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 4000, (4, 2500, 2))
    found = [Faces.of(np.concatenate([c, c + 30], axis=1), rng.uniform(0, 1, 2500)) for c in corner]
    assert sum(len(choice.rows) for choice in chosen(found, 0.5)) < 10_000
    assert 0 < sum(compared) < 50 * 10_000, "of fifty million pairs"


def test_garbage_of_a_turned_look_is_a_problem_of_that_member_alone():
    def answer(canvas):
        return Faces.of([[np.nan, 0, 5, 5]], [0.5]) if canvas.shape[0] > canvas.shape[1] else Faces.empty()

    detectors = {"a": UprightDetector(), "bad": AnsweringDetector(answer)}
    detection = pipeline(detectors, settings={"rotations": "always"}, threshold=0.1)(scene(*ALL))
    assert [(p.member, p.reason) for p in detection.problems] == [("bad", "garbage")]
    assert len(detection.faces) == 4


def test_what_is_more_likely_no_face_does_not_drive_an_upright_box_out():
    faint, upright = Faces.of([[0, 0, 10, 13]], [0.49]), Faces.of([[0, 0, 13, 10]], [0.4])
    assert [c.rows.tolist() for c in chosen([upright, faint], 0.25)] == [[0], []]
    assert [c.rows.tolist() for c in chosen([upright, Faces.of(faint.boxes, [0.5])], 0.25)] == [[], [0]]


def test_a_refiner_that_broke_upright_is_not_asked_again():
    class Breaks:
        calls = 0

        def refine(self, image, faces):
            self.calls += 1
            raise ValueError

    refiner = Breaks()
    detection = pipeline({"a": UprightDetector()}, refiners={"r": refiner}, settings={"rotations": "always"}, threshold=0.1)(
        scene(0, 2)
    )
    assert len(detection.faces) == 2 and refiner.calls == 1
    assert [(p.member, p.detail) for p in detection.problems] == [("r", "ValueError")]
