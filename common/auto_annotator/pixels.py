"""A Pillow picture to an upright RGB uint8 array: the rules for bit depths, integers, floats and turns.

* **16 bits per channel**, grey or colour: the depth of the content is the smallest of 8, 10, 12, 14 and 16 bits that holds the
  largest value of the picture, and the top 8 of those bits are kept. Full-range and 12-bit-in-16 pictures both come out as
  their 8-bit versions; a full-range picture darker than a quarter of white is brightened, which harms no detector.
  Pillow alone would clip grey (`convert("RGB")`) and keep only the high byte of colour.
* **Mode I** (32-bit integers): the same rule when all values lie in 0..65535, else minimum..maximum becomes 0..255.
* **Mode F** (floats): white is the smallest of 1, 255, 1023, 4095, 16383 and 65535 that holds the largest value, or the largest
  value itself where the picture would use less than a sixteenth of that range (0..1 with a few highlights above 1). With
  negative or larger values minimum..maximum becomes 0..255. Not-a-number and -infinity become black, +infinity white.
* **WhiteIsZero** TIFF of more than 8 bits is inverted, which Pillow does up to 8 bits only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from auto_annotator.types import Image

Array = npt.NDArray[Any]
Strips = Iterator[tuple[slice, PIL.Image.Image]]

_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0  # TIFF tags and their values by number, TIFF 6.0 specification
_SAMPLE_FORMAT, _SIGNED = 339, 2
_BITS_PER_SAMPLE = 258

_STRIP_PIXELS = 1 << 20  # converted at once: keeps the peak near Pillow's picture plus the result
_DEPTHS = (8, 10, 12, 14, 16)  # bits of the sensors that write 16-bit files
_FLOAT_WHITES = (1.0, 255.0, 1023.0, 4095.0, 16383.0, 65535.0)
_FLOAT_USE = 1 / 16  # a float picture that uses less of its range is one with highlights just above the next lower white

_SHALLOW = 1 << (_DEPTHS[-2] - 8)  # high bytes all below this: 14 bits of content or fewer
_SWAPPED = "B" if sys.byteorder == "little" else "L"
_BANDS = ("RGB", "RGBA", "RGBX", "R", "G", "B", "A")
_LOW_BYTES = {  # raw layout whose high bytes Pillow keeps: layout of the same length that gives the low bytes instead
    "LA;16B": "RGBA",  # grey high, grey low, alpha high, alpha low
    **{f"{bands};16{order}": f"{bands};16{other}" for bands in _BANDS for order, other in ("BL", "LB")},
    **{f"{bands};16N": f"{bands};16{_SWAPPED}" for bands in _BANDS},
}
_NATIVE = {"F;32BF": "F;32NF", "I;32BS": "I;32NS", "I;16BS": "I;16NS"}  # libtiff has already swapped the bytes
_ORIENTATION = 0x0112  # EXIF 2.32


def to_rgb(picture: PIL.Image.Image, *, again: Callable[[], PIL.Image.Image]) -> Image:
    """Decode and convert strip by strip, straight into the turned result, so that no second full-size copy ever exists.

    Args:
        picture: opened, not yet loaded.
        again: opens the same picture once more; called only for colour files of 16 bits per channel with shallow content.

    Returns:
        (h, w, 3) uint8, C-contiguous.

    Raises:
        Exception: whatever Pillow raises while it decodes; `ValueError` for a mode without a way to RGB (LAB).
    """
    _repair_layouts(picture)
    layout = _layout(picture)
    picture.load()
    picture.info.pop("transparency", None)  # alpha is dropped, and convert() warns about palettes that have it
    orientation = _orientation(picture)
    width, height = picture.size
    out: Image = np.empty((width, height, 3) if orientation >= 5 else (height, width, 3), np.uint8)
    stored = as_stored(out, orientation)
    for rows, values in _converted(picture, layout, again):
        stored[rows] = values
    return out


def as_stored(upright: Image, orientation: int) -> Image:
    """View of an upright array in the layout of the stored picture: what is written into it arrives turned.

    Orientations 5 to 8 swap the axes; 3, 4, 6, 7 run the stored rows backwards and 2, 3, 7, 8 the stored columns.
    """
    view = upright.transpose(1, 0, 2) if orientation >= 5 else upright
    if orientation in (3, 4, 6, 7):
        view = view[::-1]
    return view[:, ::-1] if orientation in (2, 3, 7, 8) else view


def _orientation(picture: PIL.Image.Image) -> int:
    if picture.format == "TIFF":
        return 1  # Pillow has turned it while loading
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _layout(picture: PIL.Image.Image) -> str:
    """Name of the raw layout of a picture that is not yet loaded; empty where the plugin has none."""
    tiles = getattr(picture, "tile", [])
    args = tiles[0].args if tiles else ""
    layout = args[0] if isinstance(args, tuple) and args else args
    return layout if isinstance(layout, str) else ""


def _change_layouts(picture: PIL.Image.Image, change: Callable[[str, str], str]) -> None:
    """Replace the raw layout of every part of a picture that is not yet loaded; `change` gets codec and layout."""
    tiles: list[Any] = getattr(picture, "tile", [])
    for i, tile in enumerate(tiles):
        if isinstance(tile.args, tuple):
            tiles[i] = tile._replace(args=(change(tile.codec_name, tile.args[0]), *tile.args[1:]))
        else:
            tiles[i] = tile._replace(args=change(tile.codec_name, tile.args))


def _repair_layouts(picture: PIL.Image.Image) -> None:
    """Two TIFF layouts that Pillow (11.3 to 13.0) reads as noise without an error.

    Compressed big-endian floats and signed integers have their bytes swapped twice; uncompressed planes of 16 bits are read as
    planes of 8.
    """
    tags: Any = getattr(picture, "tag_v2", None)
    if tags is None:
        return
    planes_of_16 = max(tags.get(_BITS_PER_SAMPLE, (1,))) == 16
    order = "L" if tags.prefix == b"II" else "B"

    def repaired(codec: str, layout: str) -> str:
        if codec == "libtiff":
            return _NATIVE.get(layout, layout)
        return f"{layout};16{order}" if planes_of_16 and len(layout) == 1 else layout

    _change_layouts(picture, repaired)


def _load_low_bytes(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Decode, by the layout with the opposite byte order, the byte of each sample that Pillow otherwise drops."""
    _repair_layouts(picture)
    grey = _layout(picture).startswith("LA")
    _change_layouts(picture, lambda _, layout: _LOW_BYTES[layout])
    picture.load()
    return picture.getchannel(1) if grey else picture


def _strips(picture: PIL.Image.Image) -> Strips:
    step = max(1, _STRIP_PIXELS // picture.width)
    for top in range(0, picture.height, step):
        bottom = min(top + step, picture.height)
        yield slice(top, bottom), picture.crop((0, top, picture.width, bottom))


def _converted(picture: PIL.Image.Image, layout: str, again: Callable[[], PIL.Image.Image]) -> Iterator[tuple[slice, Array]]:
    """Rows of the stored picture and their values 0..255, (n, w, 3) or (n, w, 1)."""
    if picture.mode == "F":
        return _floats(picture)
    if picture.mode.startswith("I"):
        return _integers(picture)
    if layout in _LOW_BYTES:
        extrema: Any = picture.getextrema()
        highest = int(max(high for _, high in extrema[:3]))
        if highest < _SHALLOW:
            return _shallow_colours(picture, _load_low_bytes(again()), highest)
    return ((rows, np.asarray(_rgb(strip))) for rows, strip in _strips(picture))


def _rgb(strip: PIL.Image.Image) -> PIL.Image.Image:
    if strip.mode == "La":  # premultiplied: Pillow converts it to LA only
        strip = strip.convert("LA")
    return strip.convert("RGB")


def _depth(highest: int) -> int:
    return next(depth for depth in _DEPTHS if highest < 1 << depth)


def _shallow_colours(high: PIL.Image.Image, low: PIL.Image.Image, highest: int) -> Iterator[tuple[slice, Array]]:
    """10, 12 or 14 bits in 16: joins both bytes and keeps the top 8 bits of the content."""
    shift = _depth(highest << 8 | 0xFF) - 8
    for (rows, upper), (_, lower) in zip(_strips(high), _strips(low), strict=True):
        low_values = np.atleast_3d(np.asarray(lower))[..., :3]
        joined = np.asarray(upper)[..., :3].astype(np.uint16) << 8 | low_values
        yield rows, (joined >> shift).astype(np.uint8)


def _samples(picture: PIL.Image.Image) -> Iterator[tuple[slice, Array]]:
    """Rows and their raw (n, w) numbers; unsigned 32-bit TIFF is read by Pillow as signed and put right here."""
    tags: Any = getattr(picture, "tag_v2", {})
    unsigned = picture.mode == "I" and tags.get(_SAMPLE_FORMAT, (1,))[0] != _SIGNED
    for rows, strip in _strips(picture):
        values = np.asarray(strip)
        yield rows, values.view(np.uint32) if unsigned else values


def _white_is_zero(picture: PIL.Image.Image) -> bool:
    tags: Any = getattr(picture, "tag_v2", {})
    return bool(tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)  # Pillow inverts such TIFF files for up to 8 bits only


def _integers(picture: PIL.Image.Image) -> Iterator[tuple[slice, Array]]:
    """Modes I;16 (any byte order) and I: see the rules in `auto_annotator.imageio`."""
    extrema = [(int(values.min()), int(values.max())) for _, values in _samples(picture)]
    lowest, highest = min(low for low, _ in extrema), max(high for _, high in extrema)
    invert = np.uint8(255 if _white_is_zero(picture) else 0)
    for rows, values in _samples(picture):
        if lowest >= 0 and highest < 1 << _DEPTHS[-1]:
            grey = (values >> (_depth(highest) - 8)).astype(np.uint8)
        else:
            grey = _stretched(values, lowest, highest)
        yield rows, (grey ^ invert)[..., None]


def _floats(picture: PIL.Image.Image) -> Iterator[tuple[slice, Array]]:
    """Mode F: see the rules in `auto_annotator.imageio`."""
    extrema = [(0.0, 0.0)]
    for _, values in _samples(picture):
        finite = values[np.isfinite(values)]
        if finite.size:
            extrema.append((float(finite.min()), float(finite.max())))
    lowest, highest = min(low for low, _ in extrema), max(high for _, high in extrema)
    black, white = lowest, highest
    if lowest >= 0 and highest <= _FLOAT_WHITES[-1]:
        white = next(level for level in _FLOAT_WHITES if highest <= level)
        if white > _FLOAT_WHITES[0] and highest < white * _FLOAT_USE:
            white = highest
    invert = np.uint8(255 if _white_is_zero(picture) else 0)
    for rows, values in _samples(picture):
        finite = np.nan_to_num(values, nan=black, posinf=white, neginf=black)
        yield rows, (_stretched(finite, black, white) ^ invert)[..., None]


def _stretched(values: Array, black: float, white: float) -> npt.NDArray[np.uint8]:
    """Linear: black becomes 0 and white 255."""
    scale = 255 / (white - black) if white > black else 0.0
    return np.asarray(np.clip((values.astype(np.float64) - black) * scale + 0.5, 0, 255), dtype=np.uint8)
