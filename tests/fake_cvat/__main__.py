"""The fake server as a process: `PYTHONPATH=tests python -m fake_cvat --port 0 --album 50x2000`.

Prints one line of JSON (`url`, `token`, `task`, `jobs`, `project`) and serves until its stdin closes.
"""

from __future__ import annotations

import argparse
import json
import sys

from fake_cvat.server import FakeCvat, serve_until_stdin_closes


def main() -> int:
    """Starts it."""
    parser = argparse.ArgumentParser(prog="fake_cvat", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--album", default="", metavar="PEOPLExFRAMES", help="an album in a project, in CVAT already")
    parser.add_argument("--faces", type=int, nargs=2, default=(1, 3), metavar=("LEAST", "MOST"), help="faces of a picture")
    parser.add_argument("--job-size", type=int, default=0, help="frames in a job; 0 for one job")
    parser.add_argument("--empty", action="store_true", help="no face of the album is in CVAT yet")
    parser.add_argument("--no-landmarks", action="store_true", help="faces without skeletons")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ids-change-on-update", action="store_true", help="as CVAT 2.15")
    args = parser.parse_args()
    server = FakeCvat(seed=args.seed, ids_change_on_update=args.ids_change_on_update, port=args.port)
    line: dict[str, object] = {"url": server.url, "token": server.token}
    if args.album:
        people, frames = map(int, args.album.split("x"))
        project = server.make_project()
        album = server.album(
            people,
            frames,
            args.seed,
            faces=tuple(args.faces),
            job_size=args.job_size,
            project=project,
            annotate=not args.empty,
            landmarks=not args.no_landmarks,
        )
        line |= {"task": album.task.id, "jobs": album.jobs, "project": project.id, "faces": len(album.faces)}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    serve_until_stdin_closes(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
