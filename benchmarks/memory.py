"""Peak memory of the embedded ensemble in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.common import table

CHILD = """
import resource, sys
from auto_annotator.config import load_settings
from auto_annotator.imageio import read
from auto_annotator.pipeline import FaceDetection
from benchmarks.common import samples
import numpy as np
settings = load_settings()
pipeline = FaceDetection.from_settings(settings)
pipeline.warm_up()
images = [read(p, max_pixels=settings.max_pixels) for p in samples()]
images.append(np.random.default_rng(0).integers(0, 255, (3000, 4000, 3), dtype=np.uint8))
for image in images:
    pipeline(image)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    """Print the table."""
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True)
    peak = float(done.stdout.split()[-1])
    title = "Peak memory: sample pictures and one of 12 megapixels (target: at most 1,500 MB)"
    print(table(title, ["ensemble", "peak MB"], [("embedded", f"{peak:.0f}")]))


if __name__ == "__main__":
    main()
