"""One real face in every encoding that CVAT may hand over, through the whole path: the faces found must not depend on it."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import PIL.Image
import pytest
import tifffile
from hostile_pictures import encoded
from hostile_replies import same_faces

from auto_annotator.imageio import decode
from auto_annotator.pixels import as_stored

pytestmark = pytest.mark.weights

SAME = 0.95
"""IoU with the boxes of the RGB original from which two answers count as the same."""

SAME_DITHERED = 0.9
"""The same for one bit per pixel: little is left of the face but its shape."""

DECODE_SLACK = 0.005
"""Seconds that a small decode may take longer for reasons of its own: looking at a longer file."""


@pytest.fixture(scope="module")
def original(answer, astronaut):
    """The answer for the astronaut as a PNG."""
    found = answer(encoded(astronaut))
    assert len(found.boxes) == 1 and not found.fields["problems"]
    return found


@pytest.fixture(scope="module")
def small(answer, portrait):
    """The answer for the portrait as a PNG."""
    found = answer(encoded(portrait))
    assert len(found.boxes) == 1
    return found


def grey_of(picture: np.ndarray) -> np.ndarray:
    return np.asarray(PIL.Image.fromarray(picture).convert("L"))


def in_mode(mode: str, kind: str):
    return lambda p: encoded(PIL.Image.fromarray(p).convert(mode), kind)


MODES = {
    "L": in_mode("L", "PNG"),
    "LA": in_mode("LA", "PNG"),
    "P": lambda p: encoded(PIL.Image.fromarray(p).quantize(256), "PNG"),
    "PA": lambda p: encoded(PIL.Image.fromarray(p).quantize(256).convert("PA"), "TIFF"),
    "RGBA": lambda p: encoded(PIL.Image.fromarray(np.dstack([p, np.zeros(p.shape[:2], np.uint8)])), "PNG"),  # transparent
    "CMYK": in_mode("CMYK", "TIFF"),
    "YCbCr": in_mode("YCbCr", "TIFF"),
    "1": in_mode("1", "PNG"),
    "I": lambda p: encoded(PIL.Image.fromarray(grey_of(p).astype(np.int32) * 257), "TIFF"),
    "F": lambda p: encoded(PIL.Image.fromarray(grey_of(p).astype(np.float32) / 255), "TIFF"),
    "I;16": lambda p: encoded(PIL.Image.fromarray(grey_of(p).astype(np.uint16) * 257), "PNG"),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_shows_the_same_face(mode, answer, astronaut, original):
    # Of a picture in dots only CenterFace is sure: the score is 0.59, below the ensemble's own threshold.
    request = {"threshold": 0.5} if mode == "1" else {}
    found = answer(MODES[mode](astronaut), **request)
    assert same_faces(found.boxes, original.boxes, SAME_DITHERED if mode == "1" else SAME)


def test_grey_in_all_its_forms_is_one_picture(answer, portrait):
    assert len({answer(MODES[mode](portrait)).body for mode in ("L", "LA", "I", "F", "I;16")}) == 1


def png_of_16_bits(samples: np.ndarray) -> bytes:
    """A PNG from (h, w) or (h, w, 3) uint16, written by hand: Pillow has no colour of 16 bits."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if samples.ndim == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff_of_16_bits(samples: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, samples, photometric="rgb" if samples.ndim == 3 else "minisblack")
    return buffer.getvalue()


@pytest.mark.parametrize("colour", [True, False], ids=["colour", "grey"])
def test_16_bit_equals_its_8_bit_version(colour, answer, portrait):
    picture = (portrait if colour else grey_of(portrait)).astype(np.uint16)
    shallow = answer(encoded(picture.astype(np.uint8))).body
    full_range, twelve_in_16 = picture << 8 | picture, picture << 4 | picture >> 4
    for deep in (full_range, twelve_in_16):
        assert answer(png_of_16_bits(deep)).body == shallow
        assert answer(tiff_of_16_bits(deep)).body == shallow


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, answer, portrait, small):
    """The boxes are those of the upright picture, so that they lie where CVAT shows the face: not one pixel off, but none."""
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(as_stored(portrait, orientation))
    assert stored.shape[:2] == (portrait.shape[:2] if orientation < 5 else portrait.shape[1::-1])
    assert answer(encoded(stored, "PNG", exif=exif)).body == small.body


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 50, "progressive": True}),
        ("WEBP", {"quality": 80}),
        ("AVIF", {"quality": 80}),
        ("GIF", {}),
    ],
    ids=["jpeg", "jpeg-progressive", "webp", "avif", "gif"],
)
def test_lossy_formats_show_the_same_face(kind, options, answer, astronaut, original):
    assert same_faces(answer(encoded(astronaut, kind, **options)).boxes, original.boxes, SAME)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {"compress_level": 0}), ("WEBP", {"lossless": True}), ("TIFF", {"compression": "tiff_lzw"}), ("BMP", {})],
    ids=["png", "webp-lossless", "tiff", "bmp"],
)
def test_lossless_formats_give_the_very_same_reply(kind, options, answer, portrait, small):
    assert answer(encoded(portrait, kind, **options)).body == small.body


def test_heic_is_answered_with_or_without_its_package(answer, portrait, original):
    try:
        import pillow_heif
    except ImportError:
        assert answer(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)).error == "unsupported"
    else:
        buffer = io.BytesIO()
        pillow_heif.from_pillow(PIL.Image.fromarray(portrait)).save(buffer, quality=90)
        assert len(answer(buffer.getvalue()).boxes) == 1


@pytest.mark.parametrize(
    ("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})], ids=["gif", "webp", "apng", "tiff"]
)
def test_of_an_animation_the_first_frame(kind, options, answer, portrait):
    still = encoded(portrait, kind, **options)
    others = [PIL.Image.fromarray(np.roll(portrait[::-1], 7 * i, axis=1)) for i in range(1, 30)]
    animated = encoded(PIL.Image.fromarray(portrait), kind, save_all=True, append_images=others, **options)
    assert len(animated) > 5 * len(still)
    expected, found = answer(still), answer(animated)
    if kind == "GIF":  # the palette of the first of many frames is another one
        assert same_faces(found.boxes, expected.boxes, SAME)
    else:
        assert found.body == expected.body

    # CPU time of this thread, the best of a few: what else the machine does has no say.
    assert decode_seconds(animated) <= 2 * decode_seconds(still) + DECODE_SLACK


def decode_seconds(data: bytes) -> float:
    times = []
    for _ in range(5):
        start = time.thread_time()
        decode(data, max_pixels=10**6)
        times.append(time.thread_time() - start)
    return min(times)
