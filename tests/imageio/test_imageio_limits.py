"""The pixel limit: exact, before anything is decoded, and undisturbed by Pillow's own."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings

import PIL.Image
import pytest
from refusals import reason_of

from auto_annotator import imageio

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def test_limit_is_exact(files, scene):
    pixels = scene.shape[0] * scene.shape[1]
    for name, data in files.items():
        assert reason_of(data, limit=pixels) is None, name
        assert reason_of(data, limit=pixels - 1) == "too_many_pixels", name


def test_pillows_own_limit_neither_refuses_nor_warns(files, scene, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)  # the scene is far above twice this
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name, data in files.items():
            assert reason_of(data, limit=scene.size // 3) is None, name
            assert PIL.Image.MAX_IMAGE_PIXELS == 100
            assert reason_of(data[: len(data) // 2]) == "truncated", name
            assert PIL.Image.MAX_IMAGE_PIXELS == 100


def test_pillow_without_a_limit_stays_so(files, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    assert reason_of(files["tiff"]) is None
    assert PIL.Image.MAX_IMAGE_PIXELS is None


def test_pillows_limit_under_threads(files, scene, monkeypatch):
    """Threads with different limits overlap; none is disturbed and the last one restores what the first found."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    pixels, outcomes = scene.size // 3, []

    def work(limit):
        for _ in range(5):
            outcomes.extend((limit, reason_of(files[name], limit)) for name in ("webp", "tiff", "gif", "png"))

    threads = [threading.Thread(target=work, args=(limit,)) for limit in (pixels, pixels - 1, 10 * pixels, pixels) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8 * 5 * 4
    assert all(reason == ("too_many_pixels" if limit < pixels else None) for limit, reason in outcomes)
    assert PIL.Image.MAX_IMAGE_PIXELS == 100


BOMBS = r"""
import io, json, resource, struct, sys, time, zlib
from PIL import Image
from auto_annotator import imageio
from auto_annotator.errors import ImageError

def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

def png(width, height, extra=b""):
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(50)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", body) + chunk(b"IEND", b"")

def tiff(tags, body=b""):
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(tags)) + entries + bytes(4) + body

def encoded(size, kind, **options):
    buffer = io.BytesIO()
    Image.new("RGB", size, (9, 8, 7)).save(buffer, kind, **options)
    return buffer.getvalue()

avif = encoded((64, 64), "AVIF")
jpeg = bytearray(encoded((64, 64), "JPEG"))
frame = jpeg.index(b"\xff\xc0")
jpeg[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
gif = bytearray(encoded((64, 64), "GIF"))
nested = gif.index(b",", 13 + 3 * 2)
while gif[nested + 1 : nested + 9] != struct.pack("<4H", 0, 0, 64, 64):
    nested = gif.index(b",", nested + 1)
inner = gif[:]
inner[nested + 1 : nested + 9] = struct.pack("<4H", 60000, 60000, 5000, 5000)
gif[6:10] = b"\xff\xff\xff\xff"
webp = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\xff\xff\xff" + b"\xfe\0\0" + encoded((64, 64), "WEBP")[12:]
packed = zlib.compress(bytes(1 << 20))
plain = {256: 40000, 257: 40000, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 40000, 279: 8}
tile = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: 65536, 323: 32768, 324: 150, 325: len(packed)}
bombs = {
    "png": png(20000, 20000),
    "png-largest": png(2**31 - 1, 2**31 - 1),
    "apng": png(20000, 20000, chunk(b"acTL", struct.pack(">II", 1000, 0))),
    "tiff": tiff(plain),
    "tiff-largest": tiff({**plain, 256: 2**32 - 1, 257: 2**32 - 1}),
    "tiff-tile": tiff(tile, bytes(150 - 10 - 12 * len(tile) - 4) + packed),
    "jpeg": bytes(jpeg),
    "gif": bytes(gif),
    "gif-nested-frame": bytes(inner),
    "bmp": b"BM" + struct.pack("<IHHIIiiHH", 0, 0, 0, 54, 40, 30000, -30000, 1, 24) + bytes(24) + bytes(99),
    "webp": b"RIFF" + struct.pack("<I", len(webp)) + webp,
    "avif": avif.replace(struct.pack(">II", 64, 64), struct.pack(">II", 16000, 16000)),
}
imageio.decode(encoded((64, 64), "AVIF"), max_pixels=10**6)  # libraries are loaded before anything is measured
report = {}
for name, data in bombs.items():
    peak, times = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(3):
        start = time.perf_counter()
        try:
            imageio.decode(data, max_pixels=200_000_000)
            reason = "decoded"
        except ImageError as error:
            reason = error.reason
        times.append(time.perf_counter() - start)
    report[name] = [reason, min(times) * 1000, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1024, len(data)]
json.dump(report, sys.stdout)
"""


@pytest.fixture(scope="module")
def bomb_report():
    """Name -> reason, milliseconds, megabytes, measured in a process of its own, whose peak nothing else has raised."""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", BOMBS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak memory as Linux counts it")
def test_bombs_are_refused_before_they_are_decoded(bomb_report):
    assert len(bomb_report) == 12
    assert {name: reason for name, (reason, *_) in bomb_report.items() if reason != "too_many_pixels"} == {}
    assert {name: ms for name, (_, ms, *_) in bomb_report.items() if ms > 50} == {}
    assert {name: mb for name, (_, _, mb, _) in bomb_report.items() if mb > 50} == {}


@pytest.mark.slow
def test_200_megapixels_are_accepted(encode):
    """Above Pillow's own refusal (179 megapixels)."""
    data = encode(PIL.Image.new("1", (20_000, 10_000), 1), "PNG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = imageio.decode(data, max_pixels=200_000_000)
    assert decoded.shape == (10_000, 20_000, 3)
    assert decoded[-1, -1].tolist() == [255, 255, 255]
    assert reason_of(data, limit=199_999_999) == "too_many_pixels"
