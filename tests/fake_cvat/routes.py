"""Every endpoint that cvat-sdk calls for tasks, jobs, labels, frames, annotations and issues."""

from __future__ import annotations

from fake_cvat import contents, remarks, resources
from fake_cvat.routing import Call, Reply, dispatch

__all__ = ["Call", "Reply", "contents", "dispatch", "remarks", "resources"]
