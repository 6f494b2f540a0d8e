"""Pictures made of one real face, ways to encode them, and the large scene with planted faces."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

ASTRONAUT_FACE = (178.0, 59.0, 271.0, 176.0)
"""Where the only face of the astronaut is, x1 y1 x2 y2 (looked at by eye)."""

PATCH = (138, 16, 311, 219)
"""The head of the astronaut with hair and neck, without the flag and the shuttle: what is planted."""


def encoded(picture: np.ndarray | PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """A picture file."""
    image = picture if isinstance(picture, PIL.Image.Image) else PIL.Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def background(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """(h, w, 3) uint8: soft clouds of colour in which no detector can see a face, with a little grain."""
    import cv2

    clouds = rng.integers(60, 190, (9, 9, 3)).astype(np.uint8)
    image = np.asarray(cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC))
    grain = rng.integers(0, 7, (256, 256, 3)).astype(np.uint8)
    for y in range(0, height, 256):  # strip by strip: the large scene exists once only
        strip = image[y : y + 256]
        cv2.add(strip, np.tile(grain, (1, -(-width // 256), 1))[: len(strip), :width], dst=strip)
    return image


def plant(image: np.ndarray, astronaut: np.ndarray, center: tuple[int, int], side: float, rng: np.random.Generator) -> np.ndarray:
    """Paste the astronaut's head with soft edges, its face `side` pixels large, changed at random.

    Args:
        image: (h, w, 3) uint8, written into.
        astronaut: the sample picture.
        center: x y of the middle of the face.
        side: geometric mean of the sides of the face's box, pixels.
        rng: for mirroring, gamma and a turn of up to 12 degrees.

    Returns:
        x1 y1 x2 y2 of the face.
    """
    import cv2

    x1, y1, x2, y2 = PATCH
    patch = astronaut[y1:y2, x1:x2]
    face = np.array(ASTRONAUT_FACE) - [x1, y1, x1, y1]
    scale = side / np.sqrt(np.prod(face[2:] - face[:2]))
    if rng.random() < 0.5:
        patch, face = patch[:, ::-1], np.array([x2 - x1 - face[2], face[1], x2 - x1 - face[0], face[3]])
    patch = (255 * (patch / 255) ** rng.uniform(0.7, 1.4)).astype(np.uint8)
    if scale < 1:
        patch = cv2.resize(patch, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        ratio = np.array(patch.shape[1::-1]) / [x2 - x1, y2 - y1]
    else:
        ratio = np.ones(2)
    middle, sides = (face[:2] + face[2:]) / 2 * ratio, (face[2:] - face[:2]) * scale
    height, width = patch.shape[:2]
    ys, xs = np.mgrid[:height, :width] + 0.5
    distance = np.hypot((xs - width / 2) / (width / 2), (ys - height / 2) / (height / 2))
    layer = np.dstack([patch, (255 * np.clip((1 - distance) / 0.15, 0, 1)).astype(np.uint8)])
    reach = int(np.ceil(max(x2 - x1, y2 - y1) * scale))
    turn = cv2.getRotationMatrix2D(tuple(middle), rng.uniform(-12, 12), max(scale, 1.0))
    turn[:, 2] += reach - middle
    layer = cv2.warpAffine(layer, turn, (2 * reach, 2 * reach), flags=cv2.INTER_LINEAR)
    left, top = center[0] - reach, center[1] - reach
    cut = slice(max(0, top), max(0, top + 2 * reach)), slice(max(0, left), max(0, left + 2 * reach))
    target = image[cut]
    layer = layer[max(0, -top) :, max(0, -left) :][: target.shape[0], : target.shape[1]]
    alpha = layer[..., 3:].astype(np.float32) / 255
    target[:] = np.rint(target * (1 - alpha) + layer[..., :3] * alpha).astype(np.uint8)
    return np.concatenate([center - sides / 2, center + sides / 2])


def crowd(
    astronaut: np.ndarray, *, side: int, faces: int, smallest: float, largest: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """A square scene with faces of sizes in geometric steps, each somewhere within its own cell of a grid.

    Returns:
        (side, side, 3) uint8 and (faces, 4) boxes.
    """
    rng = np.random.default_rng(seed)
    image = background(side, side, rng)
    cells = int(np.ceil(np.sqrt(faces)))
    cell = side / cells
    boxes = []
    for place, size in zip(rng.permutation(cells**2)[:faces], np.geomspace(smallest, largest, faces), strict=True):
        room = max(0.0, cell - 1.8 * size)
        x, y = (np.array([place % cells, place // cells]) + 0.5) * cell + rng.uniform(-room / 2, room / 2, 2)
        boxes.append(plant(image, astronaut, (int(x), int(y)), float(size), rng))
    return image, np.array(boxes)


def write_crowd(astronaut: Path, target: Path, *, side: int, faces: int, smallest: float, largest: float, seed: int) -> None:
    """`crowd` as a JPEG file at `target`, and its boxes beside it as `.npy`."""
    image, boxes = crowd(
        np.asarray(PIL.Image.open(astronaut)), side=side, faces=faces, smallest=smallest, largest=largest, seed=seed
    )
    PIL.Image.fromarray(image).save(target, "JPEG", quality=92)
    np.save(target.with_suffix(".npy"), boxes)
