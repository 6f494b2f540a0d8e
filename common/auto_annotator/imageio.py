"""Encoded pictures in, upright RGB uint8 arrays out, under a pixel limit; every refusal is an `ImageError` with a reason.

Pillow is the only decoder. Its plugin classes are built directly, after our own look at the first bytes, so that only the
formats listed here can ever run (no Ghostscript for EPS, no icon containers), and so that `PIL.Image.open` with its own pixel
guard is not involved: pictures of any size up to `max_pixels` are accepted without a warning, larger ones are refused from
the header.

Decisions about pixels:

* **Orientation**: the eight values of the EXIF tag are applied (also `irot`/`imir` of AVIF and the TIFF tag). A damaged EXIF block
  counts as orientation 1.
* **First frame only** of animations and multi-page files.
* **Alpha is dropped**, the colours below it are kept. CVAT shows its annotators frames that went through `convert("RGB")`, which
  does the same; a face that they see must be found, one painted over with a background of our choice would not be.
* **ICC profiles are ignored**, as the data sets that detectors learn from ignore them. CMYK is converted by the plain formula.
* **More than 8 bits** per channel, integers and floats are scaled, never clipped: the rules stand in `auto_annotator.pixels`.
"""

from __future__ import annotations

import binascii
import contextlib
import importlib
import io
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
from PIL import features

from auto_annotator import pixels
from auto_annotator.errors import ImageError
from auto_annotator.types import Image

REASONS = (
    "empty",  # no bytes at all
    "not_base64",  # the text is not standard base64 (alphabet, padding, type)
    "not_an_image",  # the first bytes are of no picture format: text, PDF, zip, SVG, EPS, video, ...
    "unsupported",  # a picture format, or a variant of one, that this installation does not decode
    "too_many_pixels",  # width x height of the header is above the limit; nothing was decoded
    "truncated",  # the file ends before the picture does
    "broken",  # the bytes contradict the format
    "out_of_memory",  # the decoder could not get the memory that the picture needs
    "unreadable_file",  # the operating system refused to read the file
)
"""Every value that `ImageError.reason` can have when it comes from this module."""

_FORMATS = {  # format: (module, class, name of the codec for PIL.features or None where Pillow always has it)
    "JPEG": ("PIL.JpegImagePlugin", "JpegImageFile", "jpg"),
    "PNG": ("PIL.PngImagePlugin", "PngImageFile", "zlib"),
    "WebP": ("PIL.WebPImagePlugin", "WebPImageFile", "webp"),
    "AVIF": ("PIL.AvifImagePlugin", "AvifImageFile", "avif"),
    "BMP": ("PIL.BmpImagePlugin", "BmpImageFile", None),
    "GIF": ("PIL.GifImagePlugin", "GifImageFile", None),
    "TIFF": ("PIL.TiffImagePlugin", "TiffImageFile", None),
    "HEIC": ("pillow_heif", "HeifImageFile", None),
}
_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    **dict.fromkeys((b"GIF87a", b"GIF89a"), "GIF"),
    **dict.fromkeys((b"II\x2a\x00", b"MM\x00\x2a", b"II\x2b\x00", b"MM\x00\x2b"), "TIFF"),
}
_REFUSED_SIGNATURES = {
    **dict.fromkeys((b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"), "JPEG 2000"),
    **dict.fromkeys((b"\x00\x00\x00\x0cJXL ", b"\xff\x0a"), "JPEG XL"),
    b"8BPS": "Photoshop",
    b"\x00\x00\x01\x00": "icon",
}
_BMP_HEADER_SIZES = {12, 16, 40, 52, 56, 64, 108, 124}
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
_JPEG_SCAN = b"\xff\xda"
_END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_HEAD = 256  # bytes that tell the format; the brands of an ISO file stand within them

_PARTS = ((273, 279), (324, 325))  # TIFF 6.0 tags: offsets and byte counts of strips, of tiles
_TILE_SIDES = (322, 323)
_TILE_PIXELS = 1 << 24  # tiles of small pictures reach over the edge; 4096 x 4096 is the largest in use
_TRUNCATED = ("truncated", "not enough", "unexpected end", "end of file", "end of data", "end of buffer", "no more images")
_UNSUPPORTED = ("supported", "unknown pixel mode", "unknown raw mode", "unknown data organization")  # also "unsupported"


class _PillowLimit:
    """Keeps Pillow's own pixel guard above ours while a picture is decoded.

    `PIL.Image.MAX_IMAGE_PIXELS` is one variable of the process, and the TIFF, WebP and GIF plugins read it themselves. It is only
    ever raised, never lowered or switched off, for as long as at least one thread decodes; the last one restores what was
    found. Other users of Pillow in the process thus keep a guard at all times.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: list[int] = []
        self._found: int | None = None

    @contextlib.contextmanager
    def at_least(self, pixels: int) -> Iterator[None]:
        with self._lock:
            if not self._active:
                self._found = PIL.Image.MAX_IMAGE_PIXELS
            self._active.append(pixels)
            self._apply()
        try:
            yield
        finally:
            with self._lock:
                self._active.remove(pixels)
                self._apply()

    def _apply(self) -> None:
        if self._found is not None:
            PIL.Image.MAX_IMAGE_PIXELS = max(self._found, *self._active, 0)


_PILLOW_LIMIT = _PillowLimit()


def decode(data: bytes, *, max_pixels: int) -> Image:
    """Decode one encoded picture.

    Args:
        data: the whole file: JPEG, PNG, WebP, AVIF, BMP, GIF, TIFF, or HEIC where pillow-heif is installed.
        max_pixels: largest accepted width x height, checked on the header.

    Returns:
        (h, w, 3) uint8 RGB, upright, C-contiguous, writeable.

    Raises:
        ImageError: with one of `REASONS`; nothing else leaves the decoder.
        ValueError: if `max_pixels` is below 1.
    """
    if max_pixels < 1:
        raise ValueError(f"max_pixels: got {max_pixels}, expected at least 1")
    if not data:
        raise ImageError("empty", "the picture is empty: got 0 bytes, expected an encoded picture")
    kind = format_of(data)
    try:
        with _PILLOW_LIMIT.at_least(max_pixels):
            picture = _open(kind, data)
            _check_header(picture, len(data), max_pixels)
            return pixels.to_rgb(picture, again=lambda: _open(kind, data))
    except ImageError:
        raise
    except Exception as error:
        # Not chained: Pillow's messages may quote bytes of the picture, and a traceback in a log would print them.
        raise _refusal(error, kind, data) from None


def decode_base64(text: str | bytes, *, max_pixels: int) -> Image:
    """Decode a picture from standard base64, as it stands in the body of a function request.

    A data-URL prefix (`data:image/jpeg;base64,`) and white space anywhere are accepted. See `decode` for the rest.

    Raises:
        ImageError: `not_base64` for another alphabet, bad padding or a value that is not text; else as `decode`.
    """
    if not isinstance(text, (str, bytes)):
        raise ImageError("not_base64", f"the picture must be base64 text: got {type(text).__name__}, expected a string")
    try:
        encoded = text.encode("ascii") if isinstance(text, str) else text
        if encoded[:_HEAD].lstrip()[:5].lower() == b"data:":
            prefix, comma, encoded = encoded.partition(b",")
            if not comma or not prefix.rstrip().lower().endswith(b";base64"):
                raise ImageError("not_base64", "got a data URL that is not base64, expected data:image/...;base64,...")
        data = binascii.a2b_base64(encoded.translate(None, b" \t\r\n\f\v"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        message = "the picture is not base64: expected the standard alphabet (A-Z a-z 0-9 + /) and full padding with ="
        raise ImageError("not_base64", message) from None
    return decode(data, max_pixels=max_pixels)


def read(path: Path, *, max_pixels: int) -> Image:
    """Read and decode one picture file; see `decode`.

    The first bytes are checked before the rest is read, so that a huge file of another kind costs nothing.

    Raises:
        ImageError: `unreadable_file` if it is no regular file or the system refuses to read it; else as `decode`. The message
            does not name the file.
    """
    try:
        if not path.is_file():
            raise ImageError("unreadable_file", "cannot read the picture: there is no regular file of that name")
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if head:
                format_of(head)
            file.seek(0)
            data = file.read()
    except OSError as error:
        raise ImageError("unreadable_file", f"cannot read the picture: {error.strerror or type(error).__name__}") from None
    except MemoryError:
        raise ImageError("out_of_memory", "the file does not fit into memory: make it smaller") from None
    return decode(data, max_pixels=max_pixels)


def format_of(data: bytes) -> str:
    """Name of the format that the first bytes announce: `JPEG`, `PNG`, `WebP`, `AVIF`, `BMP`, `GIF`, `TIFF` or `HEIC`.

    Raises:
        ImageError: if it is none of them.
    """
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADER_SIZES:
        return "BMP"
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4], "big"), _HEAD)
        brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIC_BRANDS:
            return "HEIC"
    for signature, name in _REFUSED_SIGNATURES.items():
        if data.startswith(signature):
            raise ImageError("unsupported", f"got a {name} picture, expected {_accepted()}: convert it first")
    raise ImageError("not_an_image", f"got {len(data[:_HEAD])} first bytes of no known picture format, expected {_accepted()}")


def _accepted() -> str:
    return ", ".join(_FORMATS)


def _open(kind: str, data: bytes) -> PIL.Image.Image:
    """The picture with its header read and its pixels not yet decoded."""
    module, name, codec = _FORMATS[kind]
    if kind == "JPEG" and _JPEG_SCAN not in data:
        raise _truncated(kind, len(data))  # Pillow would walk megabytes of fill bytes one by one to find that out
    if codec and not features.check(codec):
        raise ImageError("unsupported", f"this build of Pillow has no {kind} codec: install the wheel from the package index")
    try:
        plugin = importlib.import_module(module)
    except ImportError:
        message = f"got a {kind} picture, which needs one more package: pip install pillow-heif, or convert it to JPEG or PNG"
        raise ImageError("unsupported", message) from None
    picture: PIL.Image.Image = getattr(plugin, name)(io.BytesIO(data), "")
    return picture


def _check_header(picture: PIL.Image.Image, length: int, max_pixels: int) -> None:
    """Refuse, before anything is decoded, what is too large or reaches beyond the end of the file."""
    tags = getattr(picture, "tag_v2", {})
    tile_width, tile_height = (tags.get(side, 0) for side in _TILE_SIDES)
    # The codec decodes whole tiles, however little of them the picture shows.
    if picture.width * picture.height > max_pixels or tile_width * tile_height > max(max_pixels, _TILE_PIXELS):
        size = f"{picture.width} x {picture.height} pixels" + (f" in tiles of {tile_width} x {tile_height}" if tile_width else "")
        raise ImageError("too_many_pixels", f"got {size}, expected at most {max_pixels} in all: make it smaller or raise the limit")
    for offsets, counts in _PARTS:
        ends = (offset + count for offset, count in zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False))
        if max(ends, default=0) > length:
            raise _truncated("TIFF", length)


def _truncated(kind: str, length: int) -> ImageError:
    return ImageError("truncated", f"the {kind} picture ends too early: got {length} bytes, expected more; send the whole file")


def _refusal(error: Exception, kind: str, data: bytes) -> ImageError:
    """The reason behind an exception of a decoder, from its type and the few stable words of its message."""
    name, message = type(error).__name__, str(error).lower()
    if isinstance(error, (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning)):
        return ImageError("too_many_pixels", f"the {kind} picture has far more pixels than the limit: make it smaller")
    if isinstance(error, MemoryError):
        return ImageError("out_of_memory", f"the {kind} picture does not fit into memory: make it smaller")
    if any(words in message for words in _UNSUPPORTED):
        return ImageError("unsupported", f"this variant of {kind} is not supported: convert it to 8-bit RGB PNG or JPEG")
    if isinstance(error, (EOFError, struct.error)) or any(words in message for words in _TRUNCATED) or _cut_off(kind, data):
        return _truncated(kind, len(data))
    return ImageError("broken", f"the {kind} picture is damaged ({name}): save it again from its source")


def _cut_off(kind: str, data: bytes) -> bool:
    """Whether the file's own frame (end marker, lengths, first offset) says that it goes on beyond its end."""
    if kind in _END_MARKS:
        return _END_MARKS[kind] not in data[-_HEAD:]  # some cameras append a little after the mark
    if kind == "WebP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if kind == "TIFF" and b"\x2a" in data[2:4]:  # not BigTIFF, whose first offset stands elsewhere
        return int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big") >= len(data)
    position = 0
    while kind in ("AVIF", "HEIC") and position < len(data):  # boxes: 4 bytes of length, 4 of type
        length = int.from_bytes(data[position : position + 4], "big")
        if length < 8:  # 0 = up to the end, 1 = 64-bit length; both are rare, and damage if the decoder failed
            break
        position += length
    return position > len(data)
