"""Memory over many pictures, and one huge picture: measured in processes of their own, whose peak nothing else has raised."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from auto_annotator.geometry import iou_matrix

pytestmark = [
    pytest.mark.weights,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads memory as Linux counts it"),
]

HERE = Path(__file__).resolve().parent

RECALL, MEGABYTES, SECONDS = 0.98, 1500, 60.0
"""Of the picture of 12,000 x 12,000 pixels, on the CPU."""

GROWTH = 0.02
"""Share by which memory may grow over many pictures once the first of them have been seen."""

HUGE = """
import base64, json, resource, sys, time
from auto_annotator.config import load_settings
from auto_annotator.pipeline import FaceDetection
from auto_annotator.serving.requests import handle_body

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

settings = load_settings(device="cpu")
pipeline = FaceDetection.from_settings(settings)
pipeline.warm_up()
before = peak()
with open(sys.argv[1], "rb") as file:
    body = json.dumps({"image": base64.b64encode(file.read()).decode()}).encode()
start = time.perf_counter()
reply = handle_body(body, pipeline, settings)
seconds = time.perf_counter() - start
boxes = [item["points"] for item in json.loads(reply.body) if item["type"] == "rectangle"]
print(json.dumps({"status": reply.status, "boxes": boxes, "seconds": seconds, "megabytes": peak() - before,
                  "problems": reply.fields["problems"]}))
"""

MANY = """
import json, os
import cv2, numpy as np
from auto_annotator.config import load_settings
from auto_annotator.pipeline import FaceDetection

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

pipeline = FaceDetection.from_settings(load_settings(device="cpu"))
pipeline.warm_up()
rng = np.random.default_rng(0)
sizes = [(200, 200), *np.exp(rng.uniform(np.log(20), np.log(200), (100, 2))).astype(int).tolist()]
noise = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
megabytes = []
for width, height in sizes:
    pipeline(cv2.resize(noise, (width, height)))
    megabytes.append(resident())
print(json.dumps(megabytes))
"""


def run(script: str, *arguments: str) -> object:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_memory_over_a_hundred_pictures_of_mixed_size(detector):
    megabytes = run(MANY)
    early, late = max(megabytes[:30]), max(megabytes[-30:])
    assert late <= (1 + GROWTH) * early, f"{early:.0f} -> {late:.0f} MB"


@pytest.mark.slow
def test_fifty_faces_in_12000_x_12000_pixels(detector, pulled, tmp_path):
    path = tmp_path / "crowd.jpg"
    scene = {"side": 12_000, "faces": 50, "smallest": 24, "largest": 800, "seed": 1}
    make = "import json, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); from hostile_pictures import write_crowd;"
    make += " write_crowd(Path(sys.argv[2]), Path(sys.argv[3]), **json.loads(sys.argv[4])); print(0)"
    run(make, str(HERE), str(pulled("sample-astronaut")), str(path), json.dumps(scene))
    found = run(HUGE, str(path))
    planted = np.load(path.with_suffix(".npy"))
    overlaps = iou_matrix(planted, np.array(found["boxes"], float).reshape(-1, 4))
    figures = f"{found['seconds']:.1f} s, {found['megabytes']:.0f} MB, {(overlaps.max(axis=1) >= 0.5).sum()} of {len(planted)}"
    assert found["status"] == 200 and found["problems"] == [], figures
    assert (overlaps.max(axis=1) >= 0.5).mean() >= RECALL, figures
    assert (overlaps.max(axis=0) < 0.3).sum() <= 1, "faces where none was planted"
    assert found["megabytes"] <= MEGABYTES and found["seconds"] <= SECONDS, figures
    print(figures)
