"""Links into CVAT's pages, made without a connection."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit

from auto_annotator.bridge.plan import FaceRef
from auto_annotator.errors import ConfigError


def checked_host(host: str) -> str:
    """The address of a server as links may begin with it: a file could name anything, such as `javascript:`.

    Raises:
        ConfigError: if it is no plain http or https address.
    """
    try:
        parts = urlsplit(host)
        plain = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment or parts.username)
    except ValueError:
        plain = False
    if not plain or any(sign.isspace() for sign in host):
        raise ConfigError(
            "the server of the plan: got no http or https address: make the plan anew with `auto-annotator cvat cluster`"
        )
    return host.rstrip("/")


def job_url(host: str, task: int, job: int, *, frame: int | None = None, shape: int | None = None, kind: str = "shape") -> str:
    """Address of CVAT's job page.

    Args:
        host: `https://cvat.example.com`.
        task: number of the task.
        job: number of the job.
        frame: where the page opens, number in the task; None = where the person last was.
        shape: the server's id of an object; the page then shows that object alone.
        kind: what the object is: `shape`, `track` or `tag`.
    """
    query: dict[str, Any] = {} if frame is None else {"frame": frame}
    if shape is not None:
        query |= {"serverID": shape, "type": kind}
    return f"{host}/tasks/{task}/jobs/{job}" + (f"?{urlencode(query)}" if query else "")


def face_url(host: str, ref: FaceRef) -> str:
    """Address of CVAT's job page at a face."""
    return job_url(host, ref.task, ref.job, frame=ref.frame, shape=ref.id, kind=ref.kind)
