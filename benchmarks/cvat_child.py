"""One `auto-annotator` command in a process of its own: seconds in all, seconds of waiting for the server, peak memory.

    python -m benchmarks.cvat_child RESULT.json cvat cluster --task 1 ...

With AUTO_ANNOTATOR_BENCH_BASE=1 it only loads the models, for the memory that is theirs.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from pathlib import Path


def main() -> int:
    """Run the command and write what it cost."""
    from cvat_sdk.api_client import rest

    from auto_annotator.cli import main as command

    waited, lock, inside, since = [0.0], threading.Lock(), [0], [0.0]
    original = rest.RESTClientObject.request

    def request(self: object, *args: object, **kwargs: object) -> object:
        with lock:  # time in which at least one request is under way
            inside[0] += 1
            if inside[0] == 1:
                since[0] = time.perf_counter()
        try:
            return original(self, *args, **kwargs)
        finally:
            with lock:
                inside[0] -= 1
                if not inside[0]:
                    waited[0] += time.perf_counter() - since[0]

    rest.RESTClientObject.request = request
    start = time.perf_counter()
    code = command(sys.argv[2:])
    told = {
        "code": code,
        "seconds": time.perf_counter() - start,
        "server_seconds": waited[0],
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    Path(sys.argv[1]).write_text(json.dumps(told))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
