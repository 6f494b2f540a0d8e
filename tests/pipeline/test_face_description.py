"""FaceDescription with fake recognisers: rows, failures, members that break, order, hostile faces."""

from __future__ import annotations

import numpy as np
import pytest
from fake_recognisers import GridRecogniser, RaisingRecogniser, description

from auto_annotator.alignment import align
from auto_annotator.crops import Pyramid
from auto_annotator.errors import MemberError
from auto_annotator.fusion.descriptors import DescriptorCalibration, MemberCalibration
from auto_annotator.pipeline.description import CHUNK, SMALL_SHIFTS, SMALL_SIDE
from auto_annotator.review import REASONS
from auto_annotator.types import Faces

SIDE = 400


def picture(seed=0, width=SIDE, height=SIDE):
    import cv2

    small = np.random.default_rng(seed).integers(0, 256, (max(2, height // 20), max(2, width // 20), 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def boxes(count, seed=0, side=60):
    corners = np.random.default_rng(seed).uniform(0, SIDE - side, (count, 2))
    return Faces.of(np.hstack([corners, corners + side]), np.linspace(0.3, 1, count))


def two():
    return {"a": GridRecogniser(), "b": GridRecogniser("dlib")}


def test_rows_are_those_of_the_faces():
    describe = description(two())
    faces = boxes(5)
    described = describe(picture(), faces)
    assert described.vectors.shape == (5, describe.dimension) and describe.dimension == 96
    assert described.failures == ("",) * 5 and described.usable.all()
    np.testing.assert_allclose(np.linalg.norm(described.vectors, axis=1), 1, atol=1e-5)
    assert (described.quality >= 0).all() and (described.quality <= 1).all()
    assert described.model_set == describe.model_set == "fakes" and described.model_hash == describe.model_hash
    assert describe.members == ("a", "b") and describe.device == "cpu" and describe.threshold is None


def test_no_face_gives_no_row():
    described = description(two())(picture(), Faces.empty())
    assert described.vectors.shape == (0, 96) and described.failures == ()


def test_a_face_does_not_depend_on_its_company_or_its_place():
    describe, image, faces = description(two()), picture(), boxes(2 * CHUNK + 5)
    together = describe(image, faces)
    order = np.random.default_rng(3).permutation(len(faces))
    np.testing.assert_allclose(describe(image, faces.select(order)).vectors, together.vectors[order], atol=1e-6)
    for row in (0, CHUNK - 1, CHUNK, 2 * CHUNK + 4):
        np.testing.assert_allclose(describe(image, faces.select([row])).vectors[0], together.vectors[row], atol=1e-6)


def test_crops_come_in_bounded_batches():
    members = two()
    description(members)(picture(), boxes(CHUNK + 1))
    assert max(members["a"].calls) == CHUNK and sum(members["a"].calls) == 2 * (CHUNK + 1)


def test_a_mirrored_picture_gives_the_same_vectors():
    """The mirrored crop has its say, so that left and right do not count; without it they do."""
    image, faces = picture(), boxes(4)
    mirrored = Faces.of(SIDE - faces.boxes[:, [2, 1, 0, 3]] * [1, -1, 1, -1] - [0, SIDE, 0, SIDE], faces.scores)
    np.testing.assert_allclose(mirrored.boxes[:, [1, 3]], faces.boxes[:, [1, 3]])
    for flip in (True, False):
        describe = description({"a": GridRecogniser("dlib")}, flip=flip)
        first, second = describe(image, faces), describe(np.ascontiguousarray(image[:, ::-1]), mirrored)
        cosines = (first.vectors * second.vectors).sum(axis=1)
        assert (cosines > 0.98).all() if flip else (cosines < 0.9).any()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (RaisingRecogniser(RuntimeError("pixels: 1 2 3")), "raised"),
        (RaisingRecogniser(MemoryError()), "out_of_memory"),
        (GridRecogniser(answer=lambda v: v[:-1]), "garbage"),
        (GridRecogniser(answer=lambda v: v[:, :-1]), "garbage"),
        (GridRecogniser(answer=lambda v: v.astype(np.int32)), "garbage"),
        (GridRecogniser(answer=lambda v: [[1.0] * 48] * (len(v) + 1)), "garbage"),
        (GridRecogniser(answer=lambda v: np.full_like(v, np.nan)), "garbage"),
    ],
)
def test_a_member_that_breaks_is_left_out_and_the_others_answer(broken, reason, caplog):
    image, faces = picture(), boxes(3)
    alone, whole = description({"a": GridRecogniser(), "b": broken}), description({"a": GridRecogniser(), "b": GridRecogniser()})
    described = alone(image, faces)
    assert described.failures == ("",) * 3
    np.testing.assert_allclose(described.vectors[:, :48], whole(image, faces).vectors[:, :48], atol=1e-6)
    assert not described.vectors[:, 48:].any()
    assert all("few_recognisers" in notes for notes in described.notes)
    (problem,) = alone.opinions(image, faces).problems
    assert (problem.member, problem.reason) == ("b", reason)
    assert "1 2 3" not in caplog.text


def test_a_member_that_breaks_late_says_nothing_of_any_face():
    answers = iter([None] * 2)

    def once(vectors):
        next(answers, "late")
        if next(answers, "late") == "late" and len(vectors) < CHUNK:
            raise RuntimeError
        return vectors

    described = description({"a": GridRecogniser(), "b": GridRecogniser(answer=once)})(picture(), boxes(CHUNK + 3))
    assert not described.vectors[:, 48:].any()


def test_a_row_without_numbers_is_one_face_without_that_member():
    def spoil(vectors):
        vectors[1] = np.nan
        return vectors

    neutral = np.full(48, 0.1, np.float32)
    calibration = DescriptorCalibration(
        members=(
            MemberCalibration(name="a", dimension=48, coefficient=1.0),
            MemberCalibration(name="b", dimension=48, coefficient=1.0, neutral=neutral),
        )
    )
    describe = description({"a": GridRecogniser(), "b": GridRecogniser(answer=spoil)}, calibration=calibration)
    described = describe(picture(), boxes(3))
    np.testing.assert_allclose(described.vectors[1, 48:], neutral * np.sqrt(0.5), atol=1e-6)
    assert ["few_recognisers" in notes for notes in described.notes] == [False, True, False]
    assert described.failures == ("",) * 3


def test_a_face_that_no_member_describes_has_no_descriptor():
    def nothing(vectors):
        vectors[0] = 0
        return vectors

    described = description({"a": GridRecogniser(answer=nothing)})(picture(), boxes(2))
    assert described.failures == ("no_descriptor", "") and not described.vectors[0].any() and described.quality[0] == 0


def test_all_members_broken_is_an_error():
    with pytest.raises(MemberError, match="no member answered: a: raised; b: raised"):
        description({n: RaisingRecogniser(RuntimeError("x")) for n in "ab"})(picture(), boxes(2))
    with pytest.raises(MemberError, match="member a: raised"):
        description({"a": RaisingRecogniser(RuntimeError("x")), "b": GridRecogniser()}).warm_up()
    description(two()).warm_up()


HOSTILE = {
    "one pixel": [10, 10, 11, 11],
    "not finite": [np.nan, 0, 1, 1],
    "inverted": [50, 50, 20, 20],
    "outside": [SIDE + 5, 0, SIDE + 50, 60],
    "at the border": [-30, -30, 30, 30],
    "everything": [0, 0, SIDE, SIDE],
    "far too large": [-1e7, -1e7, 1e7, 1e7],
    "a line": [0, 100, SIDE, 100.5],
}


def test_hostile_faces_leave_the_others_alone():
    describe, image, good = description(two()), picture(), boxes(1)
    bad = Faces.of(list(HOSTILE.values()), np.linspace(-1, 2, len(HOSTILE)), np.full((len(HOSTILE), 5, 2), 1e20))
    described = describe(image, Faces.concat([bad, good]))
    assert np.isfinite(described.vectors).all() and np.isfinite(described.quality).all()
    failures = dict(zip(HOSTILE, described.failures, strict=False))
    assert [n for n, f in failures.items() if f] == ["not finite", "inverted", "outside"]
    assert failures["not finite"] == failures["inverted"] == "bad_box" and failures["outside"] == "outside_picture"
    np.testing.assert_allclose(described.vectors[-1], describe(image, good).vectors[0], atol=1e-6)
    assert (np.linalg.norm(described.vectors, axis=1) > 0).tolist() == [not f for f in described.failures]
    assert all(code in REASONS for notes in described.notes for code in notes)


def test_absurd_points_are_said():
    faces = boxes(2)
    absurd = Faces.of(faces.boxes, faces.scores, np.full((2, 5, 2), 7.0))
    described = description(two())(picture(), absurd)
    assert all("aligned_by_box" in notes for notes in described.notes)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 900), (40_000, 40)])
def test_pictures_of_any_shape(width, height):
    described = description(two())(picture(width=width, height=height), Faces.of([[0, 0, width, height]], [0.9]))
    assert described.failures == ("",)


@pytest.mark.parametrize("image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3), np.float32)])
def test_only_rgb_pictures(image):
    with pytest.raises(ValueError, match=r"expected uint8 \(h, w, 3\)"):
        description(two())(image, boxes(1))


def test_the_hash_tells_model_sets_apart():
    base = description(two()).model_hash
    assert base == description(two()).model_hash and len(base) == 16
    others = {
        description(two(), flip=False).model_hash,
        description({"b": GridRecogniser("dlib"), "a": GridRecogniser()}).model_hash,
        description({"a": GridRecogniser(), "b": GridRecogniser()}).model_hash,
    }
    assert len(others | {base}) == 4


@pytest.mark.parametrize(("side", "looks"), [(SMALL_SIDE - 1, len(SMALL_SHIFTS)), (SMALL_SIDE + 1, 1)])
def test_a_small_face_is_looked_at_from_several_crops(side, looks):
    class Counting(GridRecogniser):
        crops = 0

        def describe(self, crops):
            self.crops += len(crops)
            return super().describe(crops)

    recogniser, image = Counting(), picture()
    describe = description({"a": recogniser})
    faces = boxes(3, side=side)
    described = describe(image, faces)
    assert recogniser.crops == 3 * looks * 2  # each crop is mirrored, too
    np.testing.assert_allclose(np.linalg.norm(described.vectors, axis=1), 1, atol=1e-5)
    plain = describe.opinions(image, faces).plain["a"]
    single = []
    template = describe.descriptors.members[0].template
    for shift in SMALL_SHIFTS if looks > 1 else (0.0,):
        matrices = align(faces, template, width=SIDE, height=SIDE).matrices
        matrices[:, 1, 2] += shift * template.height
        single.append(GridRecogniser().describe([Pyramid(image).crop(m, template.size, cubic=True) for m in matrices]))
    np.testing.assert_allclose(plain, np.mean(single, axis=0), rtol=1e-4, atol=1e-4)


def test_quality_and_notes_follow_the_face():
    image, describe = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8), description(two())
    template = describe.descriptors.members[0].template
    frontal = (template.points - template.box_center) / template.box_side
    turned = frontal + np.array([[0, 0], [0, 0], [0.25, 0], [0, 0], [0, 0]])

    def faces(points, side):
        return Faces.of([[200 - side / 2, 200 - side / 2, 200 + side / 2, 200 + side / 2]], [0.95], [points * side + 200])

    good, profile, tiny = (describe(image, faces(*args)) for args in ((frontal, 110), (turned, 110), (frontal, 14)))
    assert good.quality[0] > profile.quality[0] and good.quality[0] > tiny.quality[0] > 0
    assert good.notes == ((),)
    assert "turned_away" in profile.notes[0] and "too_small_to_identify" in tiny.notes[0]
    blurred = describe(np.full_like(image, 99), faces(frontal, 110))
    assert "blurred" in blurred.notes[0]


def test_a_face_without_descriptor_has_no_notes():
    described = description(two())(picture(), Faces.of([[SIDE + 5, 0, SIDE + 9, 4]], [0.9]))
    assert described.failures == ("outside_picture",) and described.notes == ((),) and described.quality[0] == 0
