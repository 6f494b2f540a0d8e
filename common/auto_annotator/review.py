"""Why a person should look at a face: short stable codes, and what each means.

Codes up to `at_border` are about boxes and points and come from the detection; the others are about who it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auto_annotator.geometry import box_sides
from auto_annotator.types import Faces, Votes

REASONS: dict[str, str] = {
    "low_score": "The ensemble is not sure that this is a face.",
    "few_votes": "Few members of the ensemble saw this face, or one of them did not answer for this picture.",
    "boxes_disagree": "The members place the edges of the box differently.",
    "possible_duplicate": "The box lies in that of another face for the most part: both may mean the same face.",
    "loose_box": "Faces like this one often have a box that does not fit well.",
    "landmarks_disagree": "The members place the landmarks differently, or one of them sees no face in a large box.",
    "no_landmarks": "No member could place the landmarks.",
    "tiny": "The face is so small that details cannot be trusted.",
    "at_border": "The face is cut by the border of the picture; the box covers the visible part only.",
    "turned_away": "The face is turned so far away that the person may not be told from others.",
    "blurred": "The face is so blurred that the person may not be told from others.",
    "too_small_to_identify": "The face is so small that the person may not be told from others.",
    "maybe_occluded": "Part of the face may be hidden: a recogniser takes it and its mirror image for less alike than usual.",
    "identity_doubtful": "The recognisers are not sure of this face; it should not decide who is who.",
    "aligned_by_box": "The landmarks are missing or absurd; the box alone told the recognisers where the face is.",
    "few_recognisers": "A recogniser did not describe this face.",
    "doubtful_person": "The face may belong to somebody else than the person it was given to.",
}
"""Code -> sentence for a person. Codes go into CVAT attributes and files: they never change their meaning."""

BORDER_PIXELS, BORDER_SHARE = 1.0, 0.05
"""A box this close to the border of the picture, in pixels or as a share of its side, touches it: detectors end the box of a cut
face a little beside the cut."""

POINT_PIXELS = 3.0
"""Points this close together agree however small the face is: a person does not place them more exactly. On the blurred faces of
WIDER FACE 2 would flag 19 % of the shown boxes for their points alone, 3 flags 9 %."""

UNSEEN_SIDE = 100.0
"""Box side in pixels from which a face in which a landmark model sees none is odd: occluded, painted, turned far or upside down. On
WIDER FACE that is one face in five; of 36 to 50 pixels it is 70 %, and says only that they are small and blurred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSettings:
    """When a person should look.

    Attributes:
        score_below: fused score, 0..1.
        votes_below: share of the members that saw the face, 0..1.
        edge_spread_above: largest standard deviation of an edge, as a share of the box side.
        landmark_spread_above: largest spread of a point, of the opinions or of one model's looks, as a share of the box side.
        side_below: geometric mean side in pixels.
        duplicate_above: share of the smaller box that lies in that of a better face, times the better one's score.
        error_above: a box more likely wrong than this is flagged and no other, where that likelihood is known; what else speaks
            against a box then only explains the flag, but for the border. None = each limit flags by itself.
        landmarks_expected: False for an ensemble without landmark models: their absence is then no reason.
    """

    score_below: float = 0.5
    votes_below: float = 0.6
    edge_spread_above: float = 0.08
    landmark_spread_above: float = 0.06
    side_below: float = 16.0
    duplicate_above: float = 0.6
    error_above: float | None = None
    landmarks_expected: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Doubts:
    """What the fusion knows against n faces beyond their scores and votes.

    Attributes:
        wrong: (n,) probability that the box needs a correction (no face, or IoU below 0.7); None = no model of errors.
        inside: (n,) how far the box lies in that of a better face, times the better one's score; None = not known.
        unseen: (n,) bool, a landmark model that looked at the face found none; None = nothing known.
    """

    wrong: npt.NDArray[np.floating] | None = None
    inside: npt.NDArray[np.floating] | None = None
    unseen: npt.NDArray[np.bool_] | None = None


def review_reasons(
    faces: Faces,
    votes: Votes,
    *,
    width: int,
    height: int,
    settings: ReviewSettings,
    failed_members: bool,
    doubts: Doubts | None = None,
) -> tuple[tuple[str, ...], ...]:
    """Codes of `REASONS` for each face, in the order of `REASONS`; empty = no need to look.

    Args:
        faces: fused faces of one picture.
        votes: who saw them, same rows.
        width: of the picture in pixels.
        height: of the picture in pixels.
        settings: the limits.
        failed_members: a member did not answer for this picture, so every face of it lacks a vote.
        doubts: what else speaks against the boxes, same rows.

    Raises:
        ValueError: if faces and votes have different numbers of rows.
    """
    if len(faces) != len(votes):
        raise ValueError(f"review: got {len(faces)} faces and votes for {len(votes)}")
    doubts = doubts or Doubts()
    side = box_sides(faces.boxes)
    points_apart = np.maximum(settings.landmark_spread_above * side, POINT_PIXELS)[:, None]
    flags = _box_flags(faces, votes, width, height, settings, doubts)
    flags["few_votes"] |= failed_members
    unseen = np.zeros(len(faces), bool) if doubts.unseen is None else doubts.unseen & (side >= UNSEEN_SIDE)
    flags |= {
        "landmarks_disagree": (votes.landmark_spread > points_apart).any(axis=1) | unseen,
        "no_landmarks": ~faces.has_landmarks & settings.landmarks_expected,
    }
    return tuple(tuple(code for code in REASONS if code in flags and flags[code][row]) for row in range(len(faces)))


def _box_flags(
    faces: Faces, votes: Votes, width: int, height: int, settings: ReviewSettings, doubts: Doubts
) -> dict[str, npt.NDArray[np.bool_]]:
    side = box_sides(faces.boxes)
    x1, y1, x2, y2 = faces.boxes.T
    gap = np.minimum(np.minimum(x1, y1), np.minimum(width - x2, height - y2))
    # A spread of NaN (fewer than two opinions) compares as False: what only one member saw is the matter of few_votes.
    flags = {
        "low_score": faces.scores < settings.score_below,
        "few_votes": votes.count < settings.votes_below * len(votes.members),
        "boxes_disagree": (votes.edge_spread > settings.edge_spread_above * side[:, None]).any(axis=1),
        "possible_duplicate": np.zeros(len(faces), bool) if doubts.inside is None else doubts.inside > settings.duplicate_above,
        "tiny": side < settings.side_below,
        "at_border": gap <= np.maximum(BORDER_PIXELS, BORDER_SHARE * side),
    }
    if doubts.wrong is None or settings.error_above is None:
        return flags
    likely = doubts.wrong > settings.error_above
    explained = np.any(list(flags.values()), axis=0)
    border = flags["at_border"]  # no matter of likelihood: how far a cut face should reach is for a person to say
    return {code: flag & likely for code, flag in flags.items()} | {"loose_box": likely & ~explained, "at_border": border}


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentitySettings:
    """When a face should not decide alone who is who. Measured with the embedded recognisers on 314 LFW faces, see each limit.

    Attributes:
        quality_below: `quality.QualityModel`, 0..1.
        side_below: geometric mean side in pixels. Shrunk to 24, 20, 16, 12 px, 0.7, 2.7, 8.6, 46 % of the pairs of one person
            are not recognised at one in 10,000 false ones; unshrunk 0.2 %.
        sharpness_below: `quality.sharpness` of the crop: between those of faces of 16 px (0.0045) and of 20 px (0.0078); the
            unshrunk photos have 0.05 to 0.3.
        yaw_above: `geometry.pose`; there the tip of the nose lies below the farther eye, turned by some 40 degrees.
        pitch_above: distance from a level face, `geometry.pose`.
        mirror_above: angle between crop and mirrored crop over that of a typical face. Above 1.35 lie 2 % of the photos, half of
            those with the eyes covered, and three in four of those with one half covered; a mask over the mouth is not seen.
    """

    quality_below: float = 0.5
    side_below: float = 20.0
    sharpness_below: float = 0.006
    yaw_above: float = 0.4
    pitch_above: float = 0.3
    mirror_above: float = 1.35


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IdentitySigns:
    """What is known of n faces that bears on who they are; NaN = not known.

    Attributes:
        quality, side, sharpness, yaw, pitch: (n,) as in `IdentitySettings`, pitch as distance from a level face.
        mirror: (n,) angle between crop and mirrored crop over that of a typical face.
        by_box: (n,) bool: the box alone placed the face.
        few: (n,) bool: a recogniser has no vector.
    """

    quality: npt.NDArray[np.floating]
    side: npt.NDArray[np.floating]
    sharpness: npt.NDArray[np.floating]
    yaw: npt.NDArray[np.floating]
    pitch: npt.NDArray[np.floating]
    mirror: npt.NDArray[np.floating]
    by_box: npt.NDArray[np.bool_]
    few: npt.NDArray[np.bool_]


def identity_reasons(signs: IdentitySigns, settings: IdentitySettings) -> tuple[tuple[str, ...], ...]:
    """Codes of `REASONS` for each face, in their order; empty = nothing to say. What a cause explains is not said twice."""
    small = signs.side < settings.side_below  # comparisons with NaN are False: what is not known is no reason
    turned = (np.abs(signs.yaw) > settings.yaw_above) | (signs.pitch > settings.pitch_above)
    blurred = (signs.sharpness < settings.sharpness_below) & ~small
    flags = {
        "turned_away": turned,
        "blurred": blurred,
        "too_small_to_identify": small,
        "maybe_occluded": (signs.mirror > settings.mirror_above) & ~(small | turned | blurred | signs.by_box),
        "identity_doubtful": signs.quality < settings.quality_below,
        "aligned_by_box": signs.by_box,
        "few_recognisers": signs.few,
    }
    return tuple(tuple(code for code in flags if flags[code][row]) for row in range(len(signs.side)))
