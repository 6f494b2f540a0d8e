"""A CVAT server for tests: the endpoints that cvat-sdk calls, over HTTP on the loopback, with the habits of CVAT 2.54.

In a test (everything below runs in the test's own process, the server in a thread of it)::

    from fake_cvat import FakeCvat, normalised

    with FakeCvat(seed=1) as server:
        task = server.make_task(frames=[(640, 480)] * 4, job_size=2)      # labels: the schema of auto_annotator.cvat
        album = server.album(people=5, frames=20, seed=3)                 # pictures of people, face boxes already in CVAT
        client = cvat_sdk.make_client(server.url, access_token=server.token)      # or credentials=server.login
        face = server.human.draw(task.jobs[0].id, frame=1, box=(10, 10, 50, 50), person="p0001")
        server.human.set_attribute(face, "name", "Ada")                   # the source stays as it was
        server.human.move(face, (12, 10, 52, 50))                         # source "auto" becomes "semi-auto"
        server.human.delete(face); server.human.delete_frame(task.id, 3)
        before = server.snapshot()                                        # deep copy, in a fixed order
        assert server.snapshot() == before and normalised(before, ids=False) == normalised(server.snapshot(), ids=False)
        server.fault("status", status=503, retry_after=0, method="PATCH", path="/annotations", count=2)
        server.fault("reset_after_commit", method="PATCH", skip=3)        # the fourth PATCH is stored, its reply never comes
        server.before(lambda request: server.human.delete(face), method="PATCH")   # once, just before the next PATCH
        assert server.writes == 0 and [r.path for r in server.requests]

Pictures of your own: `make_task(frames=[array, "path.png", png_bytes, PIL.Image, (width, height), a_function_without_arguments])`.
Frames are drawn when asked for; two thousand of them cost nothing until then.

The command line, in a process of its own, with an ensemble whose detector and recogniser know the people of `album`::

    ensemble = write_ensemble(tmp_path)
    command = ["cvat", "cluster", "--task", str(album.id), "--ensemble", str(ensemble), "--server-host", server.url]
    subprocess.run([..., *command], env=server.environment())

As a process (for the memory of the client alone): `PYTHONPATH=tests python -m fake_cvat --port 0 --album 50x2000` prints one
line of JSON: `{"url": ..., "token": ..., "task": 1, "jobs": [...]}`; it ends when its stdin closes.

What it does as CVAT does, and how that was found, is in `docs` of the modules: `stored` (what a write means), `labels`
(what a PATCH of labels means), `faults` (what can go wrong), `human` (what the annotation page does). Deliberate differences:
a write through a job of a frame that the job does not hold is a 400 (CVAT stores it where nobody sees it); tracks that cross
jobs are cut at keyframes only; there is no overlap merging; original chunks of video tasks cannot be downloaded.
"""

from __future__ import annotations

from fake_cvat.ensemble import write_ensemble
from fake_cvat.faults import FAULTS
from fake_cvat.server import FakeCvat
from fake_cvat.snapshots import normalised

__all__ = ["FAULTS", "FakeCvat", "normalised", "write_ensemble"]
