"""What is refused, with which reason, how soon and at what cost; nothing but an `ImageError` ever comes out."""

from __future__ import annotations

import base64
import io
import os
import struct
import time
import traceback
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from refusals import LIMIT, reason_of

from auto_annotator import imageio
from auto_annotator.errors import ImageError

# Pillow's remarks on damaged metadata are no concern of these tests; those about its pixel limit are, and are errors there.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

ANY_TIME = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- other kinds of data --------------------------------------------------------------------------------------------

OTHER_DATA = {
    "empty": (b"", "empty"),
    "text": (b"BM is how this sentence starts, and it goes on for a while", "not_an_image"),
    "html": (b"<!doctype html><html><body>404</body></html>", "not_an_image"),
    "svg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "not_an_image"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "not_an_image"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) run", "not_an_image"),
    "zip": (b"PK\x03\x04" + bytes(60), "not_an_image"),
    "video": (b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2" + bytes(60), "not_an_image"),
    "wav": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(40), "not_an_image"),
    "one byte": (b"\xff", "not_an_image"),
    "icon": (b"\0\0\1\0\1\0" + bytes(40), "unsupported"),
    "jpeg 2000": (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "unsupported"),
    "jpeg xl": (b"\xff\x0a" + bytes(40), "unsupported"),
    "photoshop": (b"8BPS" + bytes(40), "unsupported"),
    "png magic alone": (b"\x89PNG\r\n\x1a\n", "truncated"),
    "jpeg magic alone": (b"\xff\xd8\xff\xe0", "truncated"),
}


@pytest.mark.parametrize("name", OTHER_DATA)
def test_other_data(name):
    data, reason = OTHER_DATA[name]
    assert reason_of(data) == reason


def test_float64_tiff_says_what_to_do(scene):
    tifffile = pytest.importorskip("tifffile", reason="tifffile, a part of scikit-image, writes this layout")
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, scene[..., 0].astype(np.float64))
    with pytest.raises(ImageError, match="convert it to 8-bit") as caught:
        imageio.decode(buffer.getvalue(), max_pixels=LIMIT)
    assert caught.value.reason == "unsupported"


def test_missing_codec(files, monkeypatch):
    monkeypatch.setattr(imageio.features, "check", lambda name: name != "avif")
    assert reason_of(files["avif"]) == "unsupported"
    assert reason_of(files["webp"]) is None


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (MemoryError(), "out_of_memory"),
        (RecursionError("maximum recursion depth exceeded"), "broken"),
        (OverflowError(), "broken"),
        (zlib.error("Error -3"), "broken"),
        (struct.error("unpack requires a buffer of 4 bytes"), "truncated"),
        (PIL.Image.DecompressionBombWarning(), "too_many_pixels"),
        (SyntaxError("secret bytes"), "broken"),
    ],
    ids=lambda value: getattr(value, "__class__", type(value)).__name__,
)
def test_any_exception_of_the_decoder(files, monkeypatch, raised, reason):
    def fail(*_args, **_options):
        raise raised

    monkeypatch.setattr(imageio.pixels, "to_rgb", fail)
    with pytest.raises(ImageError) as caught:
        imageio.decode(files["png"], max_pixels=LIMIT)
    assert caught.value.reason == reason
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_limit_below_one_is_the_callers_mistake(files):
    with pytest.raises(ValueError, match="got 0, expected at least 1"):
        imageio.decode(files["png"], max_pixels=0)


# --- damage ---------------------------------------------------------------------------------------------------------


def test_cut_at_every_tenth(files):
    for name, data in files.items():
        for tenth in range(1, 10):
            assert reason_of(data[: len(data) * tenth // 10]) == "truncated", (name, tenth)


def test_a_cut_picture_is_never_half_grey(files):
    for name, data in files.items():
        whole = imageio.decode(data, max_pixels=LIMIT)
        for cut in range(1, 200, 7):  # near the end some formats are complete without their last bytes
            try:
                decoded = imageio.decode(data[:-cut], max_pixels=LIMIT)
            except ImageError:
                continue
            assert np.array_equal(decoded, whole), (name, cut)


def test_flipped_bits(files):
    for seed, (name, data) in enumerate(files.items()):
        random = np.random.default_rng(seed)
        for _ in range(200):
            damaged = bytearray(data)
            reach = len(data) if random.random() < 0.5 else min(len(data), 300)  # half of them among the headers
            for _ in range(random.integers(1, 5)):
                damaged[random.integers(reach)] ^= 1 << random.integers(8)
            start = time.perf_counter()
            reason_of(bytes(damaged))
            assert time.perf_counter() - start <= 5, name


@ANY_TIME
@given(data=st.binary(max_size=500))
@example(data=b"\0" * 12)
def test_arbitrary_bytes(data):
    reason_of(data)


@ANY_TIME
@given(
    head=st.sampled_from([*imageio._SIGNATURES, b"RIFF\x40\0\0\0WEBPVP8 ", b"\0\0\0\x18ftypavif\0\0\0\0"]),
    tail=st.binary(max_size=400),
)
def test_arbitrary_bytes_behind_a_signature(head, tail):
    reason_of(head + tail)


@ANY_TIME
@given(draw=st.data())
def test_mutated_pictures(files, draw):
    data = files[draw.draw(st.sampled_from(sorted(files)))]
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, min(len(data), start + 64)))
    reason_of(data[:start] + draw.draw(st.binary(max_size=64)) + data[end:])


# --- base64 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: text,
        lambda text: text.encode(),
        lambda text: "data:image/png;base64," + text,
        lambda text: " \r\n data:image/png;charset=x;BASE64, " + text,
        lambda text: "\n".join(text[i : i + 76] for i in range(0, len(text), 76)) + "\r\n",
        lambda text: "\t ".join(text[i : i + 5] for i in range(0, len(text), 5)),
    ],
    ids=["text", "bytes", "data-url", "data-url-spaced", "mime-lines", "any-white-space"],
)
def test_base64(files, scene, wrap):
    text = base64.b64encode(files["png"]).decode()
    assert np.array_equal(imageio.decode_base64(wrap(text), max_pixels=LIMIT), scene)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (b"", "empty"),
        (" \n\t", "empty"),
        ("data:image/png;base64,", "empty"),
        ("iVBORw0KGg", "not_base64"),  # padding missing
        ("iVBORw0KGgo", "not_base64"),
        ("iVBORw0KGg=a", "not_base64"),
        ("iVBORw0KGg===", "not_base64"),
        ("====", "not_base64"),
        ("iVBORw0K-_o=", "not_base64"),  # the URL alphabet
        ("iVBORw0KÄö==", "not_base64"),
        ("hello, world", "not_base64"),
        ("data:image/png,iVBORw0KGgo=", "not_base64"),
        ("data:image/png;base64", "not_base64"),
        (b"\xff\xd8\xff\xe0", "not_base64"),
        (None, "not_base64"),
        (7, "not_base64"),
        ({"image": "x"}, "not_base64"),
        ("aGVsbG8sIHdvcmxk", "not_an_image"),
    ],
)
def test_bad_base64(text, reason):
    assert reason_of(text, call=imageio.decode_base64) == reason


@ANY_TIME
@given(text=st.one_of(st.text(max_size=200), st.binary(max_size=200), st.text("data:;base64,ABCDabcd019+/=\n ", max_size=60)))
def test_arbitrary_text_as_base64(text):
    assert reason_of(text, call=imageio.decode_base64) is not None


# --- files ----------------------------------------------------------------------------------------------------------


def test_read(files, scene, tmp_path):
    path = tmp_path / "picture.with.no.known.ending"
    path.write_bytes(files["png"])
    assert np.array_equal(imageio.read(path, max_pixels=LIMIT), scene)


def test_unreadable_files(tmp_path, monkeypatch):
    missing, folder, pipe = tmp_path / "private-name.jpg", tmp_path / "folder", tmp_path / "pipe"
    folder.mkdir()
    os.mkfifo(pipe)  # reading it would wait for ever
    for path in (missing, folder, pipe, Path("/dev/zero"), Path("nul\0byte.jpg")):
        with pytest.raises(ImageError) as caught:
            imageio.read(path, max_pixels=LIMIT)
        assert caught.value.reason == "unreadable_file"
        assert "private-name" not in "".join(traceback.format_exception(caught.value))

    def refuse(self, *_args):
        raise PermissionError(13, "Permission denied", str(self))

    missing.write_bytes(b"\xff\xd8\xff")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match="Permission denied") as caught:
        imageio.read(missing, max_pixels=LIMIT)
    assert caught.value.reason == "unreadable_file"
    assert "private-name" not in "".join(traceback.format_exception(caught.value))


def test_empty_and_foreign_files(tmp_path):
    path = tmp_path / "picture.jpg"
    for content, reason in ((b"", "empty"), (b"just text", "not_an_image")):
        path.write_bytes(content)
        assert reason_of(path, call=imageio.read) == reason


def test_a_huge_foreign_file_is_not_read(tmp_path):
    path = tmp_path / "picture.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: no disk is used, but reading it would take all memory
    assert reason_of(path, call=imageio.read) == "not_an_image"


def test_a_jpeg_of_fill_bytes_without_a_scan_is_refused_at_once():
    start = time.process_time()
    with pytest.raises(ImageError) as caught:
        imageio.decode(b"\xff\xd8\xff" * 10_000_000, max_pixels=1_000_000)
    assert caught.value.reason == "truncated"
    assert time.process_time() - start < 1
