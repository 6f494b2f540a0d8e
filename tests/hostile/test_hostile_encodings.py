"""One real face in every encoding that CVAT may hand over, through the whole path: the faces found must not depend on it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import tifffile
from hostile_pictures import encoded
from hostile_replies import same_faces

from auto_annotator.pixels import as_stored

pytestmark = pytest.mark.weights

SAME = 0.95
"""IoU with the boxes of the RGB original from which two answers count as the same."""


@pytest.fixture(scope="module")
def original(answer, portrait):
    """The answer for the portrait as a PNG."""
    found = answer(encoded(portrait))
    assert len(found.boxes) == 1
    return found


def grey_of(portrait) -> np.ndarray:
    return np.asarray(PIL.Image.fromarray(portrait).convert("L"))


def png_16(samples: np.ndarray) -> bytes:
    """A PNG of 16 bits per sample from (h, w) or (h, w, 3) uint16, written by hand: Pillow has no 16-bit colour."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if samples.ndim == 3 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


MODES = {
    "L": lambda p: encoded(PIL.Image.fromarray(p).convert("L"), "PNG"),
    "LA": lambda p: encoded(PIL.Image.fromarray(p).convert("LA"), "PNG"),
    "P": lambda p: encoded(PIL.Image.fromarray(p).quantize(256), "PNG"),
    "PA": lambda p: encoded(PIL.Image.fromarray(p).quantize(256).convert("PA"), "TIFF"),
    "RGBA": lambda p: encoded(PIL.Image.fromarray(np.dstack([p, np.zeros(p.shape[:2], np.uint8)])), "PNG"),
    "CMYK": lambda p: encoded(PIL.Image.fromarray(p).convert("CMYK"), "TIFF"),
    "YCbCr": lambda p: encoded(PIL.Image.fromarray(p).convert("YCbCr"), "TIFF"),
    "1": lambda p: encoded(PIL.Image.fromarray(p).convert("1"), "PNG"),
    "I": lambda p: encoded(PIL.Image.fromarray(grey_of(p).astype(np.int32) * 257), "TIFF"),
    "F": lambda p: encoded(PIL.Image.fromarray(grey_of(p).astype(np.float32) / 255), "TIFF"),
    "I;16": lambda p: encoded(PIL.Image.fromarray(grey_of(p).astype(np.uint16) * 257), "PNG"),
}


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_shows_the_same_face(mode, answer, portrait, original):
    found = answer(MODES[mode](portrait))
    assert same_faces(found.boxes, original.boxes, SAME)


def test_greyscale_in_all_its_forms_is_one_picture(answer, portrait):
    assert len({answer(MODES[mode](portrait)).body for mode in ("L", "LA", "I", "F", "I;16")}) == 1


@pytest.mark.parametrize("bits", [16, 12])
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "grey"])
@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_16_bit_equals_its_8_bit_version(kind, colour, bits, answer, portrait):
    picture = portrait if colour else grey_of(portrait)
    deep = picture.astype(np.uint16) << (bits - 8) | picture.astype(np.uint16) >> (16 - bits)
    if kind == "png":
        data = png_16(deep)
    else:
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, deep, photometric="rgb" if colour else "minisblack")
        data = buffer.getvalue()
    assert answer(data).body == answer(encoded(picture)).body


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, answer, portrait, original):
    turned = np.empty_like(portrait if orientation < 5 else portrait.transpose(1, 0, 2))
    turned = inverse_turned(portrait, orientation)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    assert answer(encoded(turned, "PNG", exif=exif)).body == original.body


def inverse_turned(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The picture as a camera stores it that says so in its tag."""
    return np.ascontiguousarray(as_stored(upright, orientation))
