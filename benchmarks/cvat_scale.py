"""10,000 faces in 2,000 frames of a (fake) CVAT server: seconds, share of them spent waiting for it, memory, progress.

The server is the one of the tests, a process of its own on the same machine: it answers in milliseconds, so a real server makes
the share of waiting greater. Detector and recogniser are stand-ins, so memory is that of the bridge and the libraries.
"""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import tempfile
import termios
import time
from collections import Counter
from pathlib import Path

from benchmarks.common import REPOSITORY, table

PEOPLE, FRAMES, FACES = 200, 2000, (4, 6)
JOB = 250


def run(folder: Path, environment: dict[str, str], *arguments: str) -> dict[str, float]:
    """One command on a terminal of its own; what it cost, and the longest silence of its progress."""
    result = folder / "cost.json"
    result.unlink(missing_ok=True)
    outer, inner = pty.openpty()
    termios.tcsetwinsize(inner, (30, 120))  # on a terminal of no width the bars show nothing
    command = [sys.executable, "-m", "benchmarks.cvat_child", str(result), "cvat", *arguments]
    child = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdin=inner, stdout=subprocess.DEVNULL, stderr=inner)
    os.close(inner)
    last = None
    silence = 0.0
    while child.poll() is None:
        ready, _, _ = select.select([outer], [], [], 0.05)
        if not ready:
            continue
        try:
            os.read(outer, 65536)
        except OSError:  # the terminal is gone with the process
            break
        now = time.perf_counter()
        silence = max(silence, now - last) if last is not None else silence
        last = now
    child.wait()
    os.close(outer)
    told = json.loads(result.read_text())
    if told["code"]:
        raise RuntimeError(f"{arguments[0]} ended with {told['code']}")
    return told | {"silence": silence}


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = os.pathsep.join([str(REPOSITORY / "tests"), str(REPOSITORY)])
        environment = os.environ | {"PYTHONPATH": paths, "AUTO_ANNOTATOR_CVAT_CACHE": str(folder / "cache"), "COLUMNS": "100"}
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "fake_cvat",
                "--album",
                f"{PEOPLE}x{FRAMES}",
                "--job-size",
                str(JOB),
                "--faces",
                *map(str, FACES),
            ],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            told = json.loads(server.stdout.readline())
            environment["CVAT_ACCESS_TOKEN"] = told["token"]
            sys.path.insert(0, str(REPOSITORY / "tests"))
            from fake_cvat import write_ensemble

            ensemble, plan = str(write_ensemble(folder)), str(folder / "plan.json")
            where = ["--server-host", told["url"]]
            cluster = ["cluster", "--project", str(told["project"]), "--ensemble", ensemble, "--output", plan, *where]
            costs = {
                "cluster, nothing cached": run(folder, environment, *cluster),
                "push": run(folder, environment, "push", plan, *where),
                "cluster again, nothing new": run(folder, environment, *cluster),
                "push again, nothing to write": run(folder, environment, "push", plan, *where),
            }
            people = Counter(face["after"]["person"] for face in json.loads(Path(plan).read_text())["faces"])
        finally:
            server.stdin.close()
            server.wait(30)
        rows = [
            [
                step,
                f"{c['seconds']:.1f}",
                f"{100 * c['server_seconds'] / c['seconds']:.0f} %",
                f"{c['megabytes']:.0f}",
                f"{c['silence']:.1f}",
            ]
            for step, c in costs.items()
        ]
        head = ["step", "seconds", "of them waiting for the server", "peak MB", "longest silence of the progress, s"]
        print(table(f"{told['faces']} faces of {len(people)} people in {FRAMES} frames", head, rows))


if __name__ == "__main__":
    main()
