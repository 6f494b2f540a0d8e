"""Damaged, foreign, oversized and odd requests through the whole path: there is always a reply that CVAT takes, and soon."""

from __future__ import annotations

import base64
import dataclasses
import io
import itertools
import json
import logging
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from contract_fakes import FakePipeline, random_detection
from cvat_rules import receive
from hostile_pictures import encoded
from hostile_replies import TASK, check_reply, request_body
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auto_annotator.config import Settings
from auto_annotator.imageio import REASONS
from auto_annotator.serving.requests import handle_body

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # remarks on damaged metadata

EXAMPLES = int(os.environ.get("AUTO_ANNOTATOR_TEST_EXAMPLES", "2000"))
"""Hypothesis examples of decode and respond; 10,000 before a release."""

SOON = 5.0
"""Seconds within which a damaged picture must be answered."""

AT_ONCE = 0.05
"""Seconds of CPU time within which a picture beyond the limit must be refused; nothing of it is decoded."""


@pytest.mark.weights
class TestRealEnsemble:
    @pytest.mark.parametrize(("kind", "options"), [("JPEG", {"quality": 90}), ("PNG", {}), ("WEBP", {}), ("TIFF", {})])
    def test_cut_at_every_tenth(self, kind, options, answer, portrait):
        data = encoded(portrait, kind, **options)
        for tenth in range(10):
            found = answer(data[: len(data) * tenth // 10])
            assert found.error in REASONS
            assert found.error in ("truncated", "broken") or tenth == 0
            assert found.seconds <= SOON
        assert len(answer(data).boxes) == 1

    def test_flipped_bits_that_still_decode(self, answer, portrait):
        """Grey stripes and wrong colours are pictures too: the models get them, and nothing breaks."""
        data, rng = encoded(portrait, "JPEG", quality=90), np.random.default_rng(7)
        for _ in range(12):
            damaged = bytearray(data)
            damaged[rng.integers(len(data) // 4, len(data))] ^= 1 << int(rng.integers(8))
            found = answer(bytes(damaged))
            assert found.seconds <= SOON
            assert found.error in ("", *REASONS)

    def test_a_data_url_and_line_breaks_make_no_difference(self, detector, serving, portrait):
        text = base64.b64encode(encoded(portrait)).decode()
        broken = "\r\n".join(text[i : i + 76] for i in range(0, len(text), 76))
        bodies = ({"image": t} for t in (text, "data:image/png;base64," + text, broken))
        replies = {handle_body(body, detector, serving).body for body in bodies}
        assert len(replies) == 1 and "rectangle" in replies.pop()

    def test_threshold(self, answer, street):
        """Absent, null and empty are the ensemble's own; a higher one gives a part of what a lower one gives."""
        data = encoded(street[80:330, :400])
        answers = [answer(data, threshold=t) for t in (0, 0.3, "0.6", 0.95, 1)]
        sets = [{tuple(box) for box in a.boxes.tolist()} for a in answers]
        assert all(higher <= lower for lower, higher in itertools.pairwise(sets))
        assert len(sets[0]) > len(sets[2]) >= len(sets[3]) > 0
        own = [answer(data), answer(data, threshold=None), answer(data, threshold=" ")]
        assert len({a.body for a in own}) == 1
        assert all(a.scores.min() >= t for a, t in zip(answers[1:4], (0.3, 0.6, 0.95), strict=True))

    def test_pixel_limit_exactly_and_one_over(self, answer, portrait):
        data, pixels = encoded(portrait), portrait.shape[0] * portrait.shape[1]
        assert len(answer(data, settings={"max_pixels": pixels}).boxes) == 1
        start = time.thread_time()
        assert answer(data, settings={"max_pixels": pixels - 1}).error == "too_many_pixels"
        assert time.thread_time() - start <= AT_ONCE


NO_PICTURES = {
    "empty": (b"", "empty"),
    "text": (b"dear reader, here is no picture at all", "not_an_image"),
    "pdf": (b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj", "not_an_image"),
    "zip": (b"PK\x03\x04" + bytes(200), "not_an_image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "not_an_image"),
}


@pytest.mark.parametrize("kind", NO_PICTURES)
def test_what_is_no_picture_gets_a_tag_and_leaves_no_byte_in_the_log(kind, caplog):
    data, reason = NO_PICTURES[kind]
    body, pipeline = request_body(data), FakePipeline()
    with caplog.at_level(logging.DEBUG):
        reply = handle_body(body, pipeline, Settings())
    check_reply(reply)
    assert receive(reply.body, TASK).tags[0]["attributes"]["reason"] == reason == reply.fields["reason"]
    assert pipeline.pictures == []
    said = caplog.text + repr(dict(reply.fields)) + reply.event + reply.body
    assert not data or (data[:12].decode("latin-1") not in said and base64.b64encode(data).decode()[:12] not in said)


def bomb(width: int, height: int) -> bytes:
    """A PNG of 8-bit grey that is all black: a thousandth of its pixels in bytes."""
    packer = zlib.compressobj(6)
    zeros = bytes(1 << 22)
    body = b"".join(packer.compress(zeros) for _ in range((width + 1) * height // len(zeros) + 1)) + packer.flush()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def resident_megabytes() -> float:
    """Memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20


def test_a_decompression_bomb_is_refused_from_its_header():
    body = request_body(bomb(20_000, 20_000))
    assert len(body) < 1_000_000
    before, start = resident_megabytes(), time.thread_time()
    reply = handle_body(body, FakePipeline(), Settings())
    assert time.thread_time() - start <= AT_ONCE
    assert resident_megabytes() - before <= 50
    check_reply(reply)
    assert reply.fields["reason"] == "too_many_pixels"


@pytest.mark.parametrize("text", ["A" * 100_000_000, "%" * 100_000_000], ids=["zeros", "no base64"])
def test_a_string_of_100_megabytes_is_refused_in_a_moment(text):
    start = time.perf_counter()
    reply = handle_body({"image": text}, FakePipeline(), Settings())
    assert time.perf_counter() - start <= SOON
    check_reply(reply)
    assert reply.fields["reason"] in REASONS


def test_200_flipped_bits_in_each_of_four_formats():
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:90, :120]
    scene = np.stack([2 * x, x + y, 2 * y], -1).astype(np.uint8)
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        data = encoded(scene, kind)
        for _ in range(200):
            damaged = bytearray(data)
            damaged[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
            start = time.perf_counter()
            check_reply(handle_body(request_body(bytes(damaged)), FakePipeline(), Settings(max_pixels=10**7)))
            assert time.perf_counter() - start <= SOON


class AnyDetection(FakePipeline):
    """Whatever detectors could say about a picture, in its size, from a seed."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def __call__(self, image, *, threshold=None):
        found = random_detection(np.random.default_rng(self.seed))
        return dataclasses.replace(found, width=image.shape[1], height=image.shape[0])


@st.composite
def files(draw) -> bytes:
    """Pictures of any size, mode and format, whole, cut, or with bytes changed, inserted and repeated."""
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"]))
    kinds = {
        "CMYK": ["JPEG", "TIFF"],
        "F": ["TIFF"],
        "I;16": ["PNG", "TIFF"],
        "LA": ["PNG", "TIFF"],
        "RGBA": ["PNG", "WEBP", "TIFF"],
    }
    kind = draw(st.sampled_from(kinds.get(mode, ["PNG", "TIFF", "BMP", "GIF"] if mode != "P" else ["PNG", "GIF"])))
    noise = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture = PIL.Image.fromarray(noise)
    picture = picture.convert("L").convert(mode) if mode in ("I;16", "F") else picture.convert(mode)
    data = encoded(picture, kind)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        middle = draw(st.sampled_from([b"", b"\0", b"\xff" * 4, data[at : at + 9] * 2]))
        data = data[:at] + middle + data[at + draw(st.integers(0, 5)) :]
    return data


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=files(), seed=st.integers(0, 2**32 - 1))
def test_decode_and_respond(data, seed):
    check_reply(handle_body(request_body(data), AnyDetection(seed), Settings(max_pixels=10**6)))


def test_json_is_never_repaired():
    """A body cut on its way is a bad request, not a picture with a few lines missing."""
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (64, 64)).save(buffer, "BMP")
    body = request_body(buffer.getvalue())
    reply = handle_body(body[: len(body) // 2], FakePipeline(), Settings())
    assert reply.status == 400 and list(json.loads(reply.body)) == ["error"]
