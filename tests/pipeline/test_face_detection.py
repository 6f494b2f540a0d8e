"""The pipeline with fake members: views, votes, members that break, time budgets."""

import numpy as np
import pytest
from fakes import AnsweringDetector, RaisingDetector, SquareDetector, picture, pipeline

from auto_annotator.errors import MemberError
from auto_annotator.types import Faces

BOXES = [(50, 60, 130, 150), (300, 200, 340, 245)]


def found(detection, box, tolerance=1.5):
    return any(np.abs(np.array(b) - box).max() <= tolerance for b in detection.faces.boxes)


def test_faces_votes_and_points_of_two_members():
    detection = pipeline({"a": SquareDetector(), "b": SquareDetector(shift=2)})(picture(640, 480, BOXES))
    assert len(detection.faces) == 2
    assert all(found(detection, np.array(b) + 1) for b in BOXES)
    assert detection.votes.count.tolist() == [2, 2]
    assert detection.votes.edge_spread == pytest.approx(np.ones((2, 4)), abs=0.3)
    box, points = detection.faces.boxes[0], detection.faces.landmarks[0]
    assert (points[:, 0] > box[0]).all()
    assert points[0, 0] < points[1, 0]
    assert points[0, 1] < points[3, 1]
    assert (detection.width, detection.height) == (640, 480)


@pytest.mark.parametrize("views", [
    [{"size": 640}, {"size": 640, "flip": True}],
    [{"size": 320}, {"size": 960}, {"size": 960, "flip": True}],
    [{"tile": 300, "overlap": 0.4}, {"size": 640}],
])  # fmt: skip
def test_every_view_leads_back_to_the_same_place(views):
    detection = pipeline({"a": SquareDetector(), "b": SquareDetector()}, views=views)(picture(640, 480, BOXES))
    assert len(detection.faces) == 2
    assert all(found(detection, b) for b in BOXES)
    assert detection.faces.landmarks[0, 0, 0] < detection.faces.landmarks[0, 1, 0]


def test_a_lone_vote_is_worth_half_and_is_flagged():
    detection = pipeline({"a": SquareDetector(), "b": SquareDetector(blind_below=60)})(picture(640, 480, BOXES))
    by_side = {
        round(b[2] - b[0]): (s, r) for b, s, r in zip(detection.faces.boxes, detection.faces.scores, detection.reasons, strict=True)
    }
    assert by_side[80][0] == pytest.approx(0.9, abs=0.02)
    assert by_side[40][0] == pytest.approx(0.45, abs=0.02)
    assert "few_votes" in by_side[40][1] or "low_score" in by_side[40][1]
    assert not by_side[80][1]


@pytest.mark.parametrize(("min_face", "score"), [(60, 0.9), (0, 0.6)])
def test_a_view_that_could_not_have_seen_the_size_is_not_held_against_the_face(min_face, score):
    views = [{"size": 640}, {"size": 640, "flip": True}, {"size": 320, "min_face": min_face}]
    detection = pipeline({"a": SquareDetector(blind_below=30)}, views=views)(picture(640, 480, [BOXES[1]]))
    assert detection.faces.scores[0] == pytest.approx(score, abs=0.02)


GARBAGE = {
    "nan": lambda c: Faces.of([[np.nan, 0, 5, 5]], [0.5]),
    "nan score": lambda c: Faces.of([[0, 0, 5, 5]], [np.nan]),
    "inverted": lambda c: Faces.of([[90, 90, 10, 10]], [0.9]),
    "outside": lambda c: Faces.of([[5000, 5000, 6000, 6000]], [0.9]),
    "score of 7": lambda c: Faces.of([[0, 0, 5, 5]], [7.0]),
    "a million boxes": lambda c: Faces.of(np.tile(np.float32([[0, 0, 5, 5]]), (1_000_000, 1)), np.full(1_000_000, 0.5)),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_of_one_member_changes_nothing_for_the_others(kind):
    image = picture(640, 480, BOXES)
    alone = pipeline({"a": SquareDetector(), "b": SquareDetector(shift=1)})(image)
    mixed = pipeline({"a": SquareDetector(), "b": SquareDetector(shift=1), "bad": AnsweringDetector(GARBAGE[kind])})(image)
    assert mixed.faces.boxes.tolist() == alone.faces.boxes.tolist()
    assert mixed.faces.scores.tolist() == alone.faces.scores.tolist()
    assert [p.member for p in mixed.problems] == ["bad"]
    assert mixed.problems[0].reason == ("too_many_boxes" if "million" in kind else "garbage")
    assert all("few_votes" in r for r in mixed.reasons)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("CUDA failure 2: out of memory; secret-name.jpg"), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (ValueError("secret-name.jpg"), "raised"),
        (ZeroDivisionError(), "raised"),
    ],
)
def test_a_member_that_raises_is_reported_once_and_tells_nothing_of_the_picture(error, reason, caplog):
    views = [{"size": 640}, {"size": 640, "flip": True}]
    detection = pipeline({"a": SquareDetector(), "bad": RaisingDetector(error)}, views=views)(picture(640, 480, BOXES))
    assert len(detection.faces) == 2
    assert [(p.member, p.reason) for p in detection.problems] == [("bad", reason)]
    assert "secret" not in caplog.text + detection.problems[0].detail


def test_a_member_that_breaks_in_its_second_view_has_no_say_at_all():
    class Tires(SquareDetector):
        def detect(self, canvases, *, threshold):
            if self.calls:
                raise RuntimeError
            return super().detect(canvases, threshold=threshold)

    views = [{"size": 640}, {"size": 640, "flip": True}]
    detection = pipeline({"a": SquareDetector(), "bad": Tires(shift=3)}, views=views)(picture(640, 480, BOXES))
    assert np.isnan(detection.votes.scores[:, 1]).all()
    assert all(found(detection, b, 0.6) for b in BOXES)


def test_when_nobody_answers_there_is_no_pretence_of_an_empty_picture():
    with pytest.raises(MemberError, match="no member answered: a: raised; b: garbage"):
        pipeline({"a": RaisingDetector(ValueError()), "b": AnsweringDetector(GARBAGE["nan"])})(picture(64, 64, []))


def test_a_picture_without_faces_is_an_empty_answer():
    for shape in [(1, 1), (4000, 1), (1, 4000), (480, 640)]:
        detection = pipeline({"a": SquareDetector()})(np.zeros((*shape, 3), np.uint8))
        assert len(detection.faces) == 0
        assert not detection.problems


def test_a_higher_threshold_gives_a_subset():
    image = np.maximum(picture(640, 480, [BOXES[0]], 0.9), picture(640, 480, [BOXES[1]], 0.5))
    detect = pipeline({"a": SquareDetector()}, threshold=0.7)
    counts = [len(detect(image, threshold=t).faces) for t in (0, 0.3, 0.6, 0.95)]
    assert counts == [2, 2, 1, 0]
    assert len(detect(image).faces) == 1


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 4), np.uint8)]
)
def test_what_is_not_an_rgb_picture_is_refused(image):
    with pytest.raises(ValueError, match="expected uint8"):
        pipeline({"a": SquareDetector()})(image)


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(ValueError, match="threshold"):
        pipeline({"a": SquareDetector()})(picture(64, 64, []), threshold=threshold)


def test_views_are_dropped_to_keep_the_time_budget_but_every_member_has_its_say():
    views = [{"size": 640}, {"size": 640, "flip": True}, {"size": 960}]
    slow = pipeline({"a": SquareDetector(), "b": SquareDetector()}, views=views, settings={"budget_seconds": 1e-9})
    detection = slow(picture(640, 480, BOXES))
    assert {(p.member, p.reason) for p in detection.problems} == {("a", "out_of_time"), ("b", "out_of_time")}
    assert len(detection.faces) == 2
    assert detection.votes.count.tolist() == [2, 2]
    assert [len(m.detector.calls) for m in slow.ensemble.members] == [1, 1]


def test_equal_views_of_a_small_picture_run_once():
    views = [{"size": 640, "max_enlarge": 2}, {"size": 1280, "max_enlarge": 2}, {"tile": 500}]
    detect = pipeline({"a": SquareDetector()}, views=views)
    detect(picture(100, 100, [(20, 20, 60, 60)]))
    assert detect.ensemble.members[0].detector.calls == [(224, 224, 3), (128, 128, 3)]


def test_side_by_side_gives_the_same_answer():
    image = picture(640, 480, BOXES)
    serial = pipeline({"a": SquareDetector(), "b": SquareDetector(shift=2)})(image)
    parallel = pipeline({"a": SquareDetector(), "b": SquareDetector(shift=2)}, settings={"side_by_side": True})(image)
    assert parallel.faces.boxes.tolist() == serial.faces.boxes.tolist()
    assert parallel.votes.scores.tolist() == serial.votes.scores.tolist()


def test_member_order_does_not_matter():
    image = picture(640, 480, BOXES)
    one = pipeline({"a": SquareDetector(), "b": SquareDetector(shift=2), "c": SquareDetector(shift=-3)})(image)
    other = pipeline({"c": SquareDetector(shift=-3), "a": SquareDetector(), "b": SquareDetector(shift=2)})(image)
    assert other.faces.boxes == pytest.approx(one.faces.boxes, abs=1e-4)
    assert other.faces.landmarks == pytest.approx(one.faces.landmarks, abs=1e-3)


class Refiner:
    def __init__(self, answer):
        self.answer = answer

    def refine(self, image, faces):
        return self.answer(faces)


def test_a_refiner_moves_the_points_and_not_the_boxes():
    image = picture(640, 480, BOXES)
    plain = pipeline({"a": SquareDetector()})(image)
    moved = pipeline({"a": SquareDetector()}, refiners={"r": Refiner(lambda f: f.landmarks + 2)})(image)
    assert moved.faces.boxes.tolist() == plain.faces.boxes.tolist()
    shift = moved.faces.landmarks - plain.faces.landmarks
    assert ((shift > 0) & (shift < 2.01)).all()


def test_a_refiner_sees_the_points_of_those_before_it():
    image, seen = picture(640, 480, BOXES), []

    def half(faces):
        points = faces.landmarks + 4
        points[:, 3:] = np.nan  # an opinion that is not complete is none on how far the face is turned
        return points

    def look(faces):
        seen.append(faces.landmarks)
        return faces.landmarks

    pipeline({"a": SquareDetector()}, refiners={"r": Refiner(lambda f: f.landmarks + 2), "h": Refiner(half), "l": Refiner(look)})(
        image
    )
    first = pipeline({"a": SquareDetector()})(image).faces.landmarks
    assert seen[0] == pytest.approx(first + 2)


def broken_refiner(faces):
    raise RuntimeError("secret")


@pytest.mark.parametrize("answer", [broken_refiner, lambda f: np.zeros((1, 2)), lambda f: np.full((len(f), 5, 2), np.nan)])
def test_a_refiner_that_breaks_leaves_the_points_of_the_detectors(answer):
    image = picture(640, 480, BOXES)
    plain = pipeline({"a": SquareDetector()})(image)
    detection = pipeline({"a": SquareDetector()}, refiners={"r": Refiner(answer)})(image)
    assert detection.faces.landmarks == pytest.approx(plain.faces.landmarks)
    assert "secret" not in str(detection.problems)


def test_warm_up_fails_loudly_when_a_member_is_broken():
    with pytest.raises(MemberError, match="bad"):
        pipeline({"a": SquareDetector(), "bad": RaisingDetector(ValueError())}).warm_up()
