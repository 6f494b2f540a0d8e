"""One generated scene and ways to encode it, for the tests of pictures."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def scene():
    """(90, 120, 3) uint8: smooth, all grey levels, no symmetry, so that a wrong turn, scale or channel shows."""
    y, x = np.mgrid[:90, :120].astype(float)
    red = 255 * x / 119
    green = 127 + 120 * np.sin(x / 17 + y / 23)
    blue = 255 * (y / 89) ** 2
    array = np.clip(np.stack([red, green, blue], -1), 0, 255).astype(np.uint8)
    array[5:25, 8:40] = (250, 20, 30)
    return array


@pytest.fixture(scope="session")
def grey(scene):
    """(90, 120) uint8 luma of the scene; reaches 0 and 255."""
    values = np.asarray(Image.fromarray(scene).convert("L")).astype(int)
    return ((values - values.min()) * 255 // np.ptp(values)).astype(np.uint8)


@pytest.fixture(scope="session")
def encode():
    """Function: picture (array or Pillow image) and format -> bytes."""

    def save(picture, kind, **options):
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return save


@pytest.fixture(scope="session")
def files(scene, encode):
    """Name -> the scene as a file, one for each path through the decoders."""
    picture = Image.fromarray(scene)
    return {
        "jpeg": encode(scene, "JPEG", quality=95, subsampling=0),
        "jpeg-progressive": encode(scene, "JPEG", quality=95, subsampling=0, progressive=True),
        "jpeg-cmyk": encode(picture.convert("CMYK"), "JPEG", quality=95, subsampling=0),
        "png": encode(scene, "PNG"),
        "webp": encode(scene, "WEBP", quality=95),
        "webp-lossless": encode(scene, "WEBP", lossless=True),
        "avif": encode(scene, "AVIF", quality=95, subsampling="4:4:4"),
        "bmp": encode(scene, "BMP"),
        "gif": encode(scene, "GIF"),
        "tiff": encode(scene, "TIFF"),
        "tiff-lzw": encode(scene, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": encode(scene, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-packbits": encode(scene, "TIFF", compression="packbits"),
        "tiff-jpeg": encode(scene, "TIFF", compression="jpeg", quality=95),
    }
