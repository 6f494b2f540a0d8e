"""The default ensemble with its real weights through HTTP, as CVAT calls it."""

from __future__ import annotations

import io

import PIL.Image
import pytest
from contract_fakes import as_base64
from cvat_client import CvatClient
from cvat_rules import receive
from serving_fakes import running_gateway

from auto_annotator.config import Settings, load_ensemble
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.serving.dashboard import FUNCTIONS

ASTRONAUT_NOSE = (224, 127)
"""Where the astronaut's nose is, read off the picture, in pixels."""


@pytest.mark.weights
def test_one_face_on_the_astronaut(pulled):
    data = pytest.importorskip("skimage.data")
    for name in load_ensemble("embedded").weight_names:
        pulled(name)
    buffer = io.BytesIO()
    PIL.Image.fromarray(data.astronaut()).save(buffer, "JPEG", quality=95)
    with running_gateway(FUNCTIONS, Settings(device="cpu", threads=1)) as gateway:
        texts = [
            CvatClient("127.0.0.1", gateway.port, m).invoke(FUNCTIONS[0].name, {"image": as_base64(buffer.getvalue())})
            for m in ("dashboard", "direct")
        ]
    assert texts[0] == texts[1]
    verdict = receive(texts[0], label_constructor())
    assert not verdict.dropped_items and not verdict.dropped_attributes and not verdict.tags
    face, skeleton = verdict.shapes
    x1, y1, x2, y2 = face["points"]
    assert x1 < ASTRONAUT_NOSE[0] < x2 and y1 < ASTRONAUT_NOSE[1] < y2 and face["attributes"]["votes"].startswith("2/2")
    nose = next(e["points"] for e in skeleton["elements"] if e["label"] == "nose")
    assert nose == pytest.approx(ASTRONAUT_NOSE, abs=6) and face["group"] == skeleton["group"] > 0
