"""Mosaics with exact truth: faces of portraits pasted at chosen sizes, blurred, covered, turned, compressed.

Portraits with five points each come from a folder of the user; nothing of them is kept but what is written where he says.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from auto_annotator.evaluation.labels import LabelledPicture
from auto_annotator.evaluation.readers import box_around
from auto_annotator.exchange.files import replacing, replacing_binary
from auto_annotator.types import Float32Array, Image

SIZES = (8, 10, 12, 16, 24, 32, 48, 64, 96, 128, 200)
"""Heights of the pasted faces in pixels."""

CONTEXT = 1.7
"""Side of the pasted patch, in heights of the face: hair, neck and some background belong to what detectors look for."""

WIDE, EDGE = 0.82, 0.25
"""The patch is seen through an ellipse of this width, so that neighbours stay out, and fades over this share of its radius."""

CHUNK = 44
"""Faces whose sizes are sorted before they are laid out: one shelf then holds faces of like size, and little canvas is empty."""

GAP = 6
"""Pixels between patches."""

SKY = 8
"""Blotches of the background along the long side."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Portrait:
    """A picture with one face.

    Attributes:
        image: RGB (h, w, 3) uint8.
        points: (5, 2) in the order of `LANDMARK_NAMES`.
    """

    image: Image
    points: Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What happens to the faces.

    Attributes:
        name: what tables call it.
        blur: standard deviation of a Gaussian, as a share of the height of the face.
        jpeg: quality of the compression of the whole mosaic, 1..100; None = none.
        covered: share of the face's height that a grey bar hides, over the mouth or over the eyes by turns.
        turned: degrees that faces are turned, clockwise.
    """

    name: str = "clean"
    blur: float = 0.0
    jpeg: int | None = None
    covered: float = 0.0
    turned: float = 0.0


CONDITIONS = (
    Condition(),
    Condition(name="blur", blur=0.06),
    Condition(name="JPEG 30", jpeg=30),
    Condition(name="covered", covered=0.35),
    Condition(name="turned 30", turned=30.0),
    Condition(name="turned 90", turned=90.0),
    Condition(name="turned 180", turned=180.0),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mosaic:
    """One canvas and its truth.

    Attributes:
        image: RGB (h, w, 3) uint8.
        boxes: (g, 4) float32 x1 y1 x2 y2.
        landmarks: (g, 5, 2) float32.
        sizes: (g,) wanted height of each face in pixels, before turning.
        condition: what happened to the faces.
    """

    image: Image
    boxes: Float32Array
    landmarks: Float32Array
    sizes: np.ndarray
    condition: Condition


def make_mosaics(
    portraits: Sequence[Portrait],
    condition: Condition,
    *,
    sizes: Sequence[int] = SIZES,
    per_size: int = 24,
    canvas: tuple[int, int] = (1280, 960),
    seed: int = 0,
) -> Iterator[Mosaic]:
    """Mosaics of one condition: `per_size` faces of every size, mixed, as many canvases as they need.

    Args:
        portraits: faces to choose from; each is used as often as the others, give or take one.
        condition: what happens to them.
        sizes: heights of faces in pixels.
        per_size: faces of each size.
        canvas: (width, height) in pixels.
        seed: of everything random; the same values give the same pixels.

    Raises:
        ValueError: without portraits, or if the largest patch does not fit on a canvas.
    """
    if not portraits:
        raise ValueError("mosaics: got no portrait")
    if max(sizes) * CONTEXT + 2 * GAP > min(canvas):
        raise ValueError(f"mosaics: a face of {max(sizes)} px does not fit on a canvas of {canvas[0]} x {canvas[1]} px")
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(np.repeat(sizes, per_size))
    wanted = np.concatenate([np.sort(mixed[i : i + CHUNK])[::-1] for i in range(0, len(mixed), CHUNK)])
    faces = np.concatenate([rng.permutation(len(portraits)) for _ in range(-(-len(wanted) // len(portraits)))])[: len(wanted)]
    for rows, places in _shelves(wanted, canvas):
        image = _background(canvas, rng)
        boxes, points = [], []
        for row, place in zip(rows, places, strict=True):
            box, five = _paste(image, portraits[faces[row]], int(wanted[row]), place, condition, upper=bool(row % 2))
            boxes.append(box)
            points.append(five)
        yield Mosaic(
            image=image if condition.jpeg is None else compressed(image, condition.jpeg),
            boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
            landmarks=np.asarray(points, np.float32).reshape(-1, 5, 2),
            sizes=wanted[rows],
            condition=condition,
        )


def _shelves(sizes: np.ndarray, canvas: tuple[int, int]) -> Iterator[tuple[list[int], list[tuple[int, int]]]]:
    """Rows of `sizes` that go on one canvas, and the top left corner of each patch: side by side on shelves, in the order given."""
    rows: list[int] = []
    places: list[tuple[int, int]] = []
    x, y, shelf = GAP, GAP, 0
    for row, size in enumerate(sizes.tolist()):
        side = patch_side(size)
        if x + side + GAP > canvas[0]:
            x, y, shelf = GAP, y + shelf + GAP, 0
        if y + side + GAP > canvas[1]:
            yield rows, places
            rows, places, x, y, shelf = [], [], GAP, GAP, 0
        rows.append(row)
        places.append((x, y))
        x, shelf = x + side + GAP, max(shelf, side)
    if rows:
        yield rows, places


def patch_side(size: int) -> int:
    """Side in pixels of the square patch of a face."""
    return math.ceil(CONTEXT * size)


def _background(canvas: tuple[int, int], rng: np.random.Generator) -> Image:
    """Soft blotches of dull colours, with a little noise: nothing that looks like a face."""
    import cv2

    width, height = canvas
    blotches = rng.integers(60, 190, (max(2, SKY * height // width), SKY, 3)).astype(np.float32)
    soft = cv2.resize(blotches, canvas, interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(soft + rng.normal(0, 4, (height, width, 1)), 0, 255), np.uint8)


def _paste(
    image: Image, portrait: Portrait, size: int, place: tuple[int, int], condition: Condition, *, upper: bool
) -> tuple[Float32Array, Float32Array]:
    """Put a face on the canvas; its box and points there."""
    side = patch_side(size)
    box = box_around(portrait.points[None])[0]
    centre, scale = (box[:2] + box[2:]) / 2, size / (box[3] - box[1])
    patch = _patch(portrait.image, centre, scale, side)
    if condition.covered:
        _cover(patch, size, condition.covered, upper=upper)
    angle = math.radians(condition.turned)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    patch = _finished(patch, size, condition)
    mask = _turned(_mask(side), condition)[..., None]
    x, y = place
    below = image[y : y + side, x : x + side]
    image[y : y + side, x : x + side] = np.round(mask * patch + (1 - mask) * below)
    middle = np.array([x + side / 2, y + side / 2])
    half = (box[2:] - box[:2]) / 2 * scale
    # A turned face is an ellipse: its upright box, not the box of the turned corners, which no face fills.
    reach = np.sqrt((turn**2) @ (half**2))
    points = (portrait.points - centre) * scale @ turn.T + middle
    return np.concatenate([middle - reach, middle + reach]).astype(np.float32), points.astype(np.float32)


def _patch(image: Image, centre: np.ndarray, scale: float, side: int) -> np.ndarray:
    """(side, side, 3) float32: the surroundings of a face, resampled; what lies outside the portrait repeats its border."""
    import cv2

    reach = side / (2 * scale)
    margin = math.ceil(reach) + 2
    room = cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_REPLICATE)
    # Averaged down by whole steps before the last, exact step: sampling far apart would alias.
    steps = max(1, math.floor(1 / scale))
    if steps > 1:
        height, width = (n // steps * steps for n in room.shape[:2])
        room = cv2.resize(room[:height, :width], (width // steps, height // steps), interpolation=cv2.INTER_AREA)
    left, top = (centre + margin - reach) / steps
    zoom = scale * steps
    # Edges at 0 .. side on the patch, half a pixel off the centres that warpAffine counts in.
    matrix = np.array([[1 / zoom, 0, left + 0.5 / zoom - 0.5], [0, 1 / zoom, top + 0.5 / zoom - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(room, matrix, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)


def _cover(patch: np.ndarray, size: int, share: float, *, upper: bool) -> None:
    """A grey bar over the eyes or over the mouth."""
    side = len(patch)
    top, bottom = (side - size) / 2, (side + size) / 2
    first, last = (top + 0.25 * size, top + (0.25 + share) * size) if upper else (bottom - share * size, bottom)
    patch[round(first) : round(last), round(side * 0.2) : round(side * 0.8)] = 90


def _finished(patch: np.ndarray, size: int, condition: Condition) -> np.ndarray:
    """Turned and blurred."""
    import cv2

    patch = _turned(patch, condition)
    if condition.blur:
        patch = cv2.GaussianBlur(patch, (0, 0), condition.blur * size)
    return np.asarray(patch, np.float32)


def _turned(patch: np.ndarray, condition: Condition) -> np.ndarray:
    import cv2

    if not condition.turned % 360:
        return patch
    side = len(patch)
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), -condition.turned, 1.0)
    return np.asarray(cv2.warpAffine(patch, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _mask(side: int) -> np.ndarray:
    """(side, side) float32: 1 in the middle of an ellipse, falling to 0 at its border."""
    places = 2 * (np.arange(side) + 0.5) / side - 1
    radius = np.hypot(places[None] / WIDE, places[:, None])
    return np.clip((1 - radius) / EDGE, 0, 1).astype(np.float32)


def compressed(image: Image, quality: int) -> Image:
    """The picture after JPEG at that quality."""
    import cv2

    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1], np.uint8)


def write_mosaics(mosaics: Sequence[Mosaic], folder: Path) -> list[LabelledPicture]:
    """Write mosaics as a labelled set that `auto-annotator evaluate` reads; the folder is readable by its owner only.

    Raises:
        OSError: if it cannot be written.
    """
    from PIL import Image as Pillow

    images = folder / "images"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    images.mkdir(exist_ok=True, mode=0o700)
    rows, pictures = [], []
    for number, mosaic in enumerate(mosaics):
        name = f"{number:04}.png"
        with replacing_binary(images / name) as stream:
            Pillow.fromarray(mosaic.image).save(stream, "PNG")
        boxes = mosaic.boxes.astype(float)
        rows.append(
            {
                "file": name,
                "event": mosaic.condition.name,
                "boxes_xywh": np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).round(3).tolist(),
                "landmarks5": mosaic.landmarks.astype(float).round(3).tolist(),
                "sizes": mosaic.sizes.tolist(),
                "condition": asdict(mosaic.condition),
            }
        )
        pictures.append(
            LabelledPicture(path=images / name, boxes=mosaic.boxes, event=mosaic.condition.name, landmarks=mosaic.landmarks)
        )
    with replacing(folder / "annotations.json", private=True) as file:
        json.dump(rows, file)
    return pictures
