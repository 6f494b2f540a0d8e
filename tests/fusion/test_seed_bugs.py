"""Bugs of the two older systems that a fusion can have, each by its number in the list of seed bugs (and the legacy system's)."""

import numpy as np
import pytest
from fusion.scenes import faces, seen, sources_of

from auto_annotator.fusion.boxes import FusionSettings, Source, fuse_boxes
from auto_annotator.fusion.faces import fuse_faces
from auto_annotator.geometry import flip_faces
from auto_annotator.types import Faces

RULES = ["nms", "soft_nms", "nmw", "wbf", "vote"]
FACE = (100, 100, 200, 220)


@pytest.mark.parametrize("rule", RULES)
def test_b1_one_detector_empty(rule):
    lists = [faces((*FACE, 0.9)), Faces.empty()]
    fused = fuse_boxes(lists, sources_of(lists, [2, 1]), FusionSettings(rule=rule))
    assert fused.boxes.tolist() == [list(map(float, FACE))]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("lists", [[], [Faces.empty()], [Faces.empty(), Faces.empty()]])
def test_b1_all_detectors_empty(rule, lists):
    fused, votes, opinions = fuse_faces(lists, sources_of(lists), ["a", "b"], FusionSettings(rule=rule))
    assert (len(fused), len(votes), len(opinions)) == (0, 0, 0)


def test_b2_weights_stay_with_their_member_when_another_is_empty():
    a, b = faces((100, 100, 200, 200, 0.8)), faces((110, 100, 210, 200, 0.8))
    lists = [Faces.empty(), a, b]
    fused = fuse_boxes(lists, sources_of(lists, [100, 3, 1]), FusionSettings())
    assert fused.boxes[0] == pytest.approx([102.5, 100, 202.5, 200], abs=1e-4)


def test_b3_one_of_n_does_not_keep_its_full_score():
    lists = [faces((*FACE, 0.41)), Faces.empty(), Faces.empty(), Faces.empty()]
    assert fuse_boxes(lists, sources_of(lists), FusionSettings()).scores[0] == pytest.approx(0.41 / 4)


def test_b3_a_member_that_could_not_see_the_size_does_not_count():
    lists = [faces((*FACE, 0.8)), faces((*FACE, 0.6)), Faces.empty()]
    sources = [Source(member=0), Source(member=1), Source(member=2, max_side=50)]
    assert fuse_boxes(lists, sources, FusionSettings()).scores[0] == pytest.approx(0.7)


def test_b3_a_member_that_saw_what_it_could_not_see_counts():
    lists = [faces((*FACE, 0.8)), faces((*FACE, 0.6))]
    sources = [Source(member=0), Source(member=1, max_side=50)]
    assert fuse_boxes(lists, sources, FusionSettings()).scores[0] == pytest.approx(0.7)


@pytest.mark.parametrize("rule", RULES)
def test_b4_order_of_members_and_rows_has_no_say(rule):
    rng = np.random.default_rng(4)
    lists = seen(rng, count=12, members=5, jitter=0.3)
    expected = fuse_boxes(lists, sources_of(lists), FusionSettings(rule=rule))
    for _ in range(10):
        mixed = [lists[m].select(rng.permutation(len(lists[m]))) for m in rng.permutation(len(lists))]
        fused = fuse_boxes(mixed, sources_of(mixed), FusionSettings(rule=rule))
        assert np.array_equal(fused.boxes, expected.boxes)
        assert fused.scores == pytest.approx(expected.scores, rel=1e-6)


def test_b4_order_has_no_say_among_equal_scores():
    lists = [faces((0, 0, 10, 10, 0.5), (3, 0, 13, 10, 0.5)), faces((2, 0, 12, 10, 0.5)), faces((0, 0, 10, 10, 0.5))]
    results = []
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]):
        mixed = [lists[m] for m in order]
        results.append(fuse_boxes(mixed, sources_of(mixed), FusionSettings()).boxes)
    assert all(np.array_equal(r, results[0]) for r in results)


def test_b4_centre_follows_its_rows():
    """The third box overlaps the mean of the first two by more than half, but not the first alone."""
    lists = [faces((0, 0, 100, 100, 0.9)), faces((30, 0, 130, 100, 0.8)), faces((40, 0, 140, 100, 0.7))]
    assert len(fuse_boxes(lists, sources_of(lists), FusionSettings(iou=0.5))) == 1
    assert len(fuse_boxes(lists, sources_of(lists), FusionSettings(iou=0.5, rule="nmw"))) == 2


@pytest.mark.parametrize("rule", ["nms", "nmw", "wbf", "vote"])
def test_b5_two_overlapping_faces_of_one_member_stay_two(rule):
    lists = [faces((100, 100, 200, 200, 0.9), (120, 100, 220, 200, 0.8))]
    assert len(fuse_boxes(lists, sources_of(lists), FusionSettings(rule=rule))) == 2


def test_b5_rows_of_two_close_faces_go_to_the_face_they_fit():
    """B's box of the right face comes before A's: one pass would put it to the left face, and both boxes would lie in between."""
    left, right = (100, 100, 200, 200), (125, 100, 225, 200)
    lists = [faces((*left, 0.9), (*right, 0.6)), faces((*right, 0.8), (*left, 0.5))]
    fused = fuse_boxes(lists, sources_of(lists), FusionSettings())
    assert sorted(fused.boxes.tolist()) == [list(map(float, left)), list(map(float, right))]
    assert fused.membership[[0, 1]].tolist() == fused.membership[[3, 2]].tolist()


def test_b5_a_row_moves_to_the_face_that_was_found_later():
    """B saw only the right face, before A's box of it had its turn."""
    left, right = (100, 100, 200, 200), (125, 100, 225, 200)
    lists = [faces((*left, 0.9), (*right, 0.6)), faces((*right, 0.8))]
    fused = fuse_boxes(lists, sources_of(lists), FusionSettings())
    assert sorted(fused.boxes.tolist()) == [list(map(float, left)), list(map(float, right))]


def test_b6_best_face_comes_first():
    lists = [faces((0, 0, 50, 50, 0.3), (100, 0, 150, 50, 0.9), (200, 0, 250, 50, 0.6))]
    assert fuse_boxes(lists, sources_of(lists), FusionSettings()).boxes[:, 0].tolist() == [100, 200, 0]


def test_b7_no_integer_cut():
    lists = [faces((100.25, 100.5, 200.75, 220.125, 0.9))]
    fused, _, _ = fuse_faces(lists, sources_of(lists), ["a"], FusionSettings())
    assert fused.boxes[0].tolist() == [100.25, 100.5, 200.75, 220.125]
    assert fused.landmarks[0] == pytest.approx(lists[0].landmarks[0], abs=1e-4)


def test_b8_scores_of_boxes_have_no_say_in_landmarks():
    """Scores of different heads do not compare; the say of a member in the points is a setting of its own."""
    a, b = faces((0, 0, 100, 100, 0.9)), faces((2, 0, 102, 100, 0.1))
    points = [fuse_faces([x, y], sources_of([x, y]), ["a", "b"], FusionSettings())[0].landmarks for x, y in ((a, b), (b, a))]
    swapped = Faces.of(a.boxes, [0.1], a.landmarks), Faces.of(b.boxes, [0.9], b.landmarks)
    other = fuse_faces(swapped, sources_of(swapped), ["a", "b"], FusionSettings())[0].landmarks
    assert points[0] == pytest.approx(other, abs=1e-4) == points[1]


def test_b9_flipped_view_fuses_with_the_plain_one():
    plain = faces((*FACE, 0.9))
    back = flip_faces(flip_faces(plain, 640), 640)
    fused, votes, _ = fuse_faces([plain, back], [Source(member=0), Source(member=0)], ["a"], FusionSettings())
    assert votes.landmark_spread == pytest.approx(np.zeros((1, 5)), abs=1e-3)
    assert fused.landmarks[0, 0, 0] < fused.landmarks[0, 1, 0]


def test_b10_inputs_are_not_changed():
    lists = [faces((*FACE, 0.9)), faces((110, 100, 210, 220, 0.8))]
    sources, weights = sources_of(lists, [2, 1]), [1.0, 0.5]
    before = [(f.boxes.copy(), f.scores.copy(), f.landmarks.copy()) for f in lists]
    fuse_faces(lists, sources, ["a", "b"], FusionSettings(), weights)
    assert weights == [1.0, 0.5]
    for faces_, (boxes, scores, landmarks) in zip(lists, before, strict=True):
        assert np.array_equal(faces_.boxes, boxes)
        assert np.array_equal(faces_.scores, scores)
        assert np.array_equal(faces_.landmarks, landmarks)


def test_b17_weak_boxes_that_agree_beat_a_strong_one_alone():
    weak, alone = (100, 100, 200, 200), (400, 100, 500, 200)
    lists = [faces((*weak, 0.3)), faces((*weak, 0.25)), faces((*weak, 0.35), (*alone, 0.6)), faces((*weak, 0.3))]
    fused = fuse_boxes(lists, sources_of(lists), FusionSettings())
    assert fused.boxes[0].tolist() == list(map(float, weak))
    assert fused.scores[0] > fused.scores[1]


def test_legacy_a_single_sure_box_survives():
    """The legacy vote deletes every face for which no two detectors agree at IoU 0.8."""
    lists = [faces((*FACE, 0.99)), Faces.empty(), Faces.empty()]
    assert len(fuse_boxes(lists, sources_of(lists), FusionSettings(rule="vote"))) == 1


def test_legacy_one_member_cannot_cast_two_votes():
    lists = [faces((*FACE, 0.9)), faces((*FACE, 0.8)), Faces.empty()]
    views_of_one = [Source(member=0), Source(member=0), Source(member=1)]
    assert len(fuse_boxes(lists, views_of_one, FusionSettings(rule="vote", min_votes=2))) == 0
    assert len(fuse_boxes(lists, sources_of(lists), FusionSettings(rule="vote", min_votes=2))) == 1
