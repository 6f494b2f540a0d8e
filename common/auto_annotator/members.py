"""A member of an ensemble at work: a detector with its views, its curves, and the way back to pixels of the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auto_annotator.calibration import ViewCalibration
from auto_annotator.config import MemberConfig, ViewConfig
from auto_annotator.detectors.base import Detector, nms
from auto_annotator.errors import MemberError
from auto_annotator.fusion.boxes import Source
from auto_annotator.geometry import area, box_sides, clip_boxes
from auto_annotator.types import Faces, Image
from auto_annotator.views import Canvas, make_canvas, view_scale, view_windows, whole_in_tile

BATCH_PIXELS = 2_500_000
"""Canvases run together up to this many pixels: larger batches only cost memory."""

SHAPE_STEP = 256
"""On a GPU each new input shape costs: memory that stays, cuDNN's choice of kernels, with TensorRT a build of minutes. With this
step, pictures of all formats make a handful of shapes per view."""

TILE_NMS_IOU = 0.5
"""Two tiles of one member that show the same face whole give nearly the same box."""

SCORE_SLACK = 1e-3
"""Rounding that a float16 model may add to a score of 0 or 1."""

BAD_ROWS_ALLOWED, SURE = 0.1, 0.2
"""Share of degenerate rows (inverted, outside) among those of at least this score; above it the answer is garbage. Below that score
good networks predict many of them: SCRFD-500M up to one in five, none above 0.05 (WIDER development half)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One view of one picture, laid out for one detector: what will be run and what it costs."""

    view: ViewConfig
    windows: tuple[tuple[int, int, int, int], ...]
    scale: float

    @property
    def tiles(self) -> bool:
        """Whether it shows the picture in parts."""
        return len(self.windows) > 1

    @property
    def megapixels(self) -> float:
        """Size of all canvases together, without padding."""
        return sum((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in self.windows) * self.scale**2 / 1e6

    def heard(self, faces: Faces) -> Faces:
        """The faces, in picture pixels, that the view is for. Of faces too large for them the detectors draw parts."""
        side = box_sides(faces.boxes) * self.scale
        return faces.select((side >= self.view.close_up) & (side <= self.view.max_face))


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A detector that votes, with its views and calibration.

    Attributes:
        index: its column in `Votes`.
        config: its entry in the ensemble file.
        detector: the built detector.
        curves: calibration by view name; a view without one keeps raw scores and boxes.
        few_shapes: pad canvases to multiples of `SHAPE_STEP`, for devices on which a new shape is dear.
    """

    index: int
    config: MemberConfig
    detector: Detector
    curves: Mapping[str, ViewCalibration]
    few_shapes: bool = False

    @property
    def name(self) -> str:
        """Its name in the ensemble file."""
        return self.config.name

    def plans(self, width: int, height: int) -> list[Plan]:
        """The views that make sense for a picture of that size, in the order of the file.

        A small picture is enlarged only so far; then two sizes can come out the same, and the second is left out.
        """
        seen: set[tuple[bool, bool, float]] = set()
        plans = []
        for view in self.config.views:
            if max(width, height) <= view.longer_than:
                continue
            windows = view_windows(width, height, view.tile, view.overlap)
            first = windows[0]
            shown = (first[2] - first[0], first[3] - first[1])
            scale = view_scale(shown, view.size, view.max_enlarge, self.detector.fixed_size, zoom=view.zoom)
            key = (view.tile is not None and len(windows) > 1, view.flip, round(scale, 4))
            if key not in seen:
                seen.add(key)
                plans.append(Plan(view=view, windows=tuple(windows), scale=scale))
        return plans

    def source(self, plan: Plan) -> Source:
        """What the fusion must know of the list of faces that a plan gives."""
        view, calibration = plan.view, self._calibration(plan)
        return Source(
            member=self.index,
            weight=view.weight,
            min_side=max(view.min_face, view.close_up) / plan.scale,
            max_side=view.max_face / plan.scale,
            scale=plan.scale,
            edges=None if calibration is None else calibration.edges,
        )

    def _calibration(self, plan: Plan) -> ViewCalibration | None:
        return self.curves.get(plan.view.curve or plan.view.name)

    def calibrated(self, plan: Plan, faces: Faces, width: int, height: int) -> Faces:
        """What a look gives of raw faces in a picture of that size: scores on their curve, habits taken off, boxes clipped."""
        calibration = self._calibration(plan)
        if calibration is not None:
            faces = calibration(faces, plan.scale)
        scores = np.clip(faces.scores, 0, 1)
        return Faces(boxes=np.asarray(clip_boxes(faces.boxes, width, height), np.float32), scores=scores, landmarks=faces.landmarks)

    def look(self, image: Image, plan: Plan, *, max_faces: int, stop: Callable[[], bool] = lambda: False) -> Faces:
        """Run the detector on one view of the picture.

        Args:
            image: RGB (h, w, 3) uint8.
            plan: one of `plans`.
            max_faces: more rows than this are garbage.
            stop: asked before each batch of tiles but the first; True = be content with the tiles seen so far.

        Returns:
            Faces in picture pixels, clipped to it, scores calibrated.

        Raises:
            MemberError: if the detector's answer is garbage.
        """
        height, width = image.shape[:2]
        parts = []
        for window, faces in self._run(image, plan, max_faces, stop):
            parts.append(faces.select(whole_in_tile(faces.boxes, window, width, height)))
        faces = plan.heard(Faces.concat(parts))
        if len(parts) > 1:
            faces = faces.select(np.lexsort(faces.boxes.T))  # of equal scores the place decides, not the order of the tiles
            faces = faces.select(nms(faces.boxes, faces.scores, TILE_NMS_IOU))
        return self.calibrated(plan, faces, width, height)

    def _run(
        self, image: Image, plan: Plan, max_faces: int, stop: Callable[[], bool]
    ) -> list[tuple[tuple[int, int, int, int], Faces]]:
        canvas_pixels = plan.megapixels * 1e6 / len(plan.windows)
        step = max(1, int(BATCH_PIXELS // max(1.0, canvas_pixels))) if self.detector.capabilities.batch else 1
        found: list[tuple[tuple[int, int, int, int], Faces]] = []
        total = 0
        for start in range(0, len(plan.windows), step):
            if start and stop():
                break
            canvases = [self._canvas(image, plan, w) for w in plan.windows[start : start + step]]
            for group in _equal_shapes(canvases):
                answers = self.detector.detect([c.pixels for c in group], threshold=self.config.threshold)
                if len(answers) != len(group):
                    raise MemberError(f"{len(answers)} answers for {len(group)} canvases")
                for canvas, faces in zip(group, answers, strict=True):
                    total += len(faces)
                    if total > max_faces:
                        raise MemberError(f"more than {max_faces} boxes", reason="too_many_boxes")
                    found.append((canvas.window, canvas.to_picture(_sane(faces, canvas))))
        return found

    def _canvas(self, image: Image, plan: Plan, window: tuple[int, int, int, int]) -> Canvas:
        fixed, stride = self.detector.fixed_size, self.detector.stride
        if self.few_shapes:
            stride = math.lcm(stride, SHAPE_STEP)
        return make_canvas(image, window, plan.scale, stride=stride, fixed=fixed, flip=plan.view.flip)


def _equal_shapes(canvases: Sequence[Canvas]) -> list[list[Canvas]]:
    groups: dict[tuple[int, ...], list[Canvas]] = {}
    for canvas in canvases:
        groups.setdefault(canvas.pixels.shape, []).append(canvas)
    return list(groups.values())


def _sane(faces: Faces, canvas: Canvas) -> Faces:
    """Rows that can be faces on the canvas; garbage is a MemberError, rows in the padding just go."""
    if not (np.isfinite(faces.boxes).all() and np.isfinite(faces.scores).all()):
        raise MemberError("boxes or scores that are not finite")
    if len(faces) and not (faces.scores.min() >= -SCORE_SLACK and faces.scores.max() <= 1 + SCORE_SLACK):
        raise MemberError("scores outside 0..1")
    height, width = canvas.pixels.shape[:2]
    inside = area(np.asarray(clip_boxes(faces.boxes, width, height))) > 0
    sure = faces.scores >= SURE
    if int((sure & ~inside).sum()) > BAD_ROWS_ALLOWED * int(sure.sum()):
        raise MemberError(f"{int((~inside).sum())} of {len(faces)} boxes are inverted or outside the picture")
    shown = inside & (area(np.asarray(clip_boxes(faces.boxes, *canvas.content))) > 0)
    return faces.select(shown)
