"""Seconds per picture: each member alone, the ensemble, and what the ensemble adds to its members' inference."""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from pathlib import Path

from auto_annotator.config import load_settings
from auto_annotator.cvat.shapes import reply
from auto_annotator.imageio import decode
from auto_annotator.pipeline import FaceDetection
from auto_annotator.types import Image
from auto_annotator.weights import locate
from benchmarks.common import samples, table

ROUNDS = 3


def main() -> None:
    """Print the table."""
    settings = load_settings()
    pipeline = FaceDetection.from_settings(settings)
    pipeline.warm_up()
    files = [path.read_bytes() for path in samples()]
    stages: dict[str, list[float]] = defaultdict(list)
    totals, models = [], []
    for data in files:
        runs = [measure(pipeline, data, settings.max_pixels) for _ in range(ROUNDS)]
        best = min(runs, key=lambda run: run["total"])
        for stage, seconds in best.items():
            stages[stage].append(seconds)
        totals.append(best["total"])
        models.append(sum(s for stage, s in best.items() if stage.startswith(("members/", "refiners/"))))
    rows = [(stage, statistics.median(s), sum(s) / sum(totals)) for stage, s in sorted(stages.items()) if stage != "total"]
    rows.append(("whole ensemble", statistics.median(totals), 1.0))
    title = f"Seconds per picture, {len(files)} sample pictures, best of {ROUNDS}, embedded ensemble on {pipeline.device}"
    print(table(title, ["stage", "median s", "share of the time"], rows))
    alone = [opencv_yunet(decode(data, max_pixels=settings.max_pixels), settings.models) for data in files]
    ratio = statistics.median(t / a for t, a in zip(totals, alone, strict=True))
    alone_s = statistics.median(alone)
    print(f"OpenCV's YuNet alone, at the size of the picture: median {alone_s:.3f} s; the ensemble takes {ratio:.0f} times as long")
    own = sum(totals) - sum(models)
    print(f"the ensemble's own work (decode, fusion, encode) is {own / sum(models):.1%} of its models' time (target: at most 15 %)")


def measure(pipeline: FaceDetection, data: bytes, max_pixels: int) -> dict[str, float]:
    """Seconds by stage for one picture, from bytes to the text of CVAT's reply."""
    start = time.perf_counter()
    image = decode(data, max_pixels=max_pixels)
    decoded = time.perf_counter()
    detection = pipeline(image)
    detected = time.perf_counter()
    json.dumps(reply(detection))
    end = time.perf_counter()
    return {**detection.seconds, "decode": decoded - start, "encode": end - detected, "total": end - start}


def opencv_yunet(image: Image, models: Path) -> float:
    """Seconds of what a user would pick instead: `cv2.FaceDetectorYN` on the whole picture, best of `ROUNDS`."""
    import cv2

    height, width = image.shape[:2]
    net = cv2.FaceDetectorYN.create(str(locate("yunet-2023mar", models)), "", (width, height), 0.6, 0.3)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        net.detect(image[..., ::-1].copy())
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()
