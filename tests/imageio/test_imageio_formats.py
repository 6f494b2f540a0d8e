"""Every accepted format and mode shows the same scene, upright, with its brightness kept."""

from __future__ import annotations

import io
import struct
import sys
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from auto_annotator import imageio, pixels
from auto_annotator.errors import ImageError

LIMIT = 10**7


def decode(data):
    return imageio.decode(data, max_pixels=LIMIT)


def error_of(decoded, expected):
    """Mean absolute difference in grey levels."""
    expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, axis=2)
    assert decoded.shape == expected.shape
    return float(np.abs(decoded.astype(int) - expected).mean())


def png(array, *, colour, bits=16):
    """A hand-made PNG: Pillow writes no 16-bit colour."""
    height, width = array.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else "u1").tobytes() for row in array)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(array, **options):
    """A TIFF by another writer than Pillow, for layouts that Pillow reads but does not write."""
    tifffile = pytest.importorskip("tifffile", reason="tifffile, a part of scikit-image, writes these layouts")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


# --- formats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        *[(name, 0) for name in ("png", "webp-lossless", "bmp", "tiff", "tiff-lzw", "tiff-deflate", "tiff-packbits")],
        *[(name, 2.5) for name in ("jpeg", "jpeg-progressive", "jpeg-cmyk", "webp", "avif", "tiff-jpeg")],
        ("gif", 8),  # 256 colours
    ],
)
def test_format(files, scene, name, tolerance):
    decoded = decode(files[name])
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable
    assert error_of(decoded, scene) <= tolerance


def test_cmyk_jpeg_is_stored_inverted_as_adobe_does(files, scene):
    assert b"Adobe" in files["jpeg-cmyk"]
    decoded = decode(files["jpeg-cmyk"])
    assert decoded[15, 20, 0] > 230  # the red patch, not its complement
    assert decoded[15, 20, 1:].max() < 60


def test_more_rows_than_one_strip(encode, monkeypatch, scene):
    monkeypatch.setattr(pixels, "_STRIP_PIXELS", 7 * scene.shape[1])  # 90 rows are no multiple of 7
    assert np.array_equal(decode(encode(scene, "PNG")), scene)


def test_heic_with_its_package(scene):
    pillow_heif = pytest.importorskip("pillow_heif", reason="HEIC needs the package pillow-heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(scene)).save(buffer, quality=95)
    assert error_of(decode(buffer.getvalue()), scene) <= 4


def test_heic_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="pip install pillow-heif") as caught:
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert caught.value.reason == "unsupported"


# --- modes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("L", "PNG"),
        ("L", "JPEG"),
        ("LA", "PNG"),
        ("I;16", "PNG"),
        ("I;16", "TIFF"),
        ("I;16B", "TIFF"),
        ("I", "TIFF"),
        ("F", "TIFF"),
    ],
)
def test_grey_modes(encode, grey, mode, kind):
    assert error_of(decode(encode(Image.fromarray(grey).convert(mode), kind)), grey) <= 1


@pytest.mark.parametrize(
    ("mode", "kind", "tolerance"),
    [("RGBA", "PNG", 0), ("CMYK", "TIFF", 1), ("YCbCr", "TIFF", 1.5), ("P", "PNG", 8), ("PA", "TIFF", 8), ("P", "GIF", 8)],
)
def test_colour_modes(encode, scene, mode, kind, tolerance):
    picture = Image.fromarray(scene)
    adaptive = picture.quantize(256)
    source = {"P": adaptive, "PA": adaptive.convert("PA")}.get(mode) or picture.convert(mode)
    assert error_of(decode(encode(source, kind)), scene) <= tolerance


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_bilevel(encode, grey, kind):
    bilevel = Image.fromarray(grey).convert("1")
    assert np.array_equal(decode(encode(bilevel, kind))[..., 0], np.asarray(bilevel) * np.uint8(255))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_dropped_and_the_colours_below_it_stay(encode, scene, kind):
    alpha = np.tile(np.linspace(0, 255, scene.shape[1]).astype(np.uint8), (scene.shape[0], 1))
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    assert np.array_equal(decode(encode(np.dstack([scene, alpha]), kind, **options)), scene)


def test_palette_with_transparency_gives_no_warning(encode, recwarn, scene):
    palette = Image.fromarray(scene).quantize(64)
    opaque = decode(encode(palette, "PNG"))
    assert np.array_equal(decode(encode(palette, "PNG", transparency=bytes(range(64)))), opaque)
    assert not recwarn.list


def test_premultiplied_grey(grey):
    data = tiff(np.dstack([grey, np.full_like(grey, 255)]), photometric="minisblack", extrasamples=["assocalpha"])
    assert error_of(decode(data), grey) <= 1


# --- depth ----------------------------------------------------------------------------------------------------------

DEPTHS = pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])


@DEPTHS
@pytest.mark.parametrize(("colour", "bands"), [(0, 1), (2, 3), (4, 2), (6, 4)], ids=["grey", "rgb", "grey-alpha", "rgba"])
def test_png_16_bit_equals_its_8_bit_version(grey, scene, bits, colour, bands):
    reference = grey if bands < 3 else scene
    shown = reference.astype(np.uint16)[..., None] if bands < 3 else reference.astype(np.uint16)
    alpha = np.full((*grey.shape, 1), (1 << bits) - 1, np.uint16)
    shifted = shown << (bits - 8)
    array = np.concatenate([shifted, alpha], axis=2) if bands in (2, 4) else shifted
    assert np.array_equal(decode(png(array, colour=colour)), np.broadcast_to(reference.reshape(*grey.shape, -1), scene.shape))


def test_16_bit_replicated_levels(grey):
    assert np.array_equal(decode(png(grey.astype(np.uint16)[..., None] * 257, colour=0))[..., 0], grey)


def test_black_16_bit_stays_black():
    assert not decode(png(np.zeros((4, 5, 1), np.uint16), colour=0)).any()
    assert not decode(png(np.zeros((4, 5, 3), np.uint16), colour=2)).any()


@DEPTHS
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_tiff_16_bit_equals_its_8_bit_version(grey, scene, bits, order, compression):
    options = {"byteorder": order, "compression": compression}
    assert np.array_equal(decode(tiff(grey.astype(np.uint16) << (bits - 8), **options))[..., 0], grey)
    colour = scene.astype(np.uint16) << (bits - 8)
    assert np.array_equal(decode(tiff(colour, photometric="rgb", **options)), scene)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [12, 16])
def test_tiff_planes_of_16_bits(order, bits, scene):
    planes = np.moveaxis(scene.astype(np.uint16) << (bits - 8), 2, 0).copy()
    data = tiff(planes, photometric="rgb", planarconfig="separate", byteorder=order)
    assert np.array_equal(decode(data), scene)


@pytest.mark.parametrize("bits", [12, 16])
def test_tiff_white_is_zero(grey, bits):
    white = (1 << bits) - 1
    stored = white - (grey.astype(np.uint16) << (bits - 8))
    assert error_of(decode(tiff(stored, photometric="miniswhite")), grey) <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("white", [1, 1.05, 255, 4095, 65535])
def test_floats(grey, order, compression, white):
    values = (grey / 255 * white).astype(np.float32)
    assert error_of(decode(tiff(values, byteorder=order, compression=compression)), grey) <= 1


def test_floats_with_negatives_and_holes(grey):
    values = grey.astype(np.float32) * 3 - 500
    holes = values.copy()
    holes[0, :4] = np.nan, np.inf, -np.inf, np.nan
    decoded = decode(tiff(holes))[..., 0]
    assert decoded[0, :4].tolist() == [0, 255, 0, 0]
    assert error_of(decoded[1:, :, None].repeat(3, 2), grey[1:]) <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "deflate"])
def test_signed_integers_are_stretched(grey, order, compression):
    for values in (grey.astype(np.int32) * 100_000 - 9_000_000, grey.astype(np.int16) * 100 - 9_000):
        assert error_of(decode(tiff(values, byteorder=order, compression=compression)), grey) <= 1


def test_unsigned_32_bit_does_not_wrap(grey):
    assert error_of(decode(tiff(grey.astype(np.uint32) * 0x01010101)), grey) <= 1


# --- turns and frames -----------------------------------------------------------------------------------------------

STORED = {  # orientation: how an upright picture is turned before it is stored with that value
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_orientation(encode, scene, orientation, kind):
    upright = Image.fromarray(scene)
    turn = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}, "AVIF": {"quality": 95}}.get(kind, {})
    decoded = decode(encode(upright if turn is None else upright.transpose(turn), kind, exif=exif, **options))
    assert decoded.flags.c_contiguous
    assert error_of(decoded, scene) <= (4 if options.get("quality") else 0)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_damaged_exif_is_orientation_1(encode, scene, block):
    assert np.array_equal(decode(encode(scene, "PNG", exif=block)), scene)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_unknown_orientation_is_1(encode, scene, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode(encode(scene, "PNG", exif=exif)), scene)


def fastest(data, repeats=7):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        decode(data)
        times.append(time.perf_counter() - start)
    return min(times)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("GIF", {}),
        ("WEBP", {"lossless": True}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("AVIF", {"speed": 10}),
    ],
    ids=["gif", "webp", "apng", "tiff", "tiff-lzw", "avif"],
)
def test_first_frame_only(encode, scene, kind, options):
    picture = Image.fromarray(np.tile(scene, (3, 3, 1)))
    others = [picture.transpose(turn).resize(picture.size) for turn in STORED.values() if turn is not None] * 3
    still = encode(picture, kind, **options)
    animated = encode(picture, kind, save_all=True, append_images=others, **options)
    assert len(animated) > 4 * len(still)
    assert error_of(decode(animated), decode(still)) <= 4
    assert fastest(animated) <= 2 * fastest(still) + 0.003  # decoding the 21 others would take 20 times as long
