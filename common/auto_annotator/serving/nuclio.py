"""What the Nuclio handlers of this project do: `load` in `init_context`, `respond` in `handler`."""

from __future__ import annotations

import time
from typing import Any

from auto_annotator.config import load_settings
from auto_annotator.serving.dashboard import function_of
from auto_annotator.serving.models import Models, Service


def load(context: Any, name: str = "auto-annotator-face-detection") -> None:
    """Build what the function needs from the AUTO_ANNOTATOR_* variables and warm it up; the worker is ready only after that.

    Args:
        context: Nuclio's context; `context.user_data.service` is set.
        name: of the function, as in its function file.

    Raises:
        AutoAnnotatorError: if settings, weights or the device are wrong. Nuclio then shows the message and the function as
            unhealthy, which is better than one that answers slowly or not at all.
    """
    start = time.perf_counter()
    service = function_of(name).load(Models(load_settings()))
    context.user_data.service = service
    context.logger.info_with("ready", **service.facts, milliseconds=round((time.perf_counter() - start) * 1000))


def respond(context: Any, event: Any) -> Any:
    """Answer one event.

    Args:
        context: Nuclio's context after `load`.
        event: Nuclio's event; the body is a dict if the caller sent `application/json`, else bytes.

    Returns:
        `context.Response` with JSON *text*: Nuclio would take a list for a batch of responses.
    """
    service: Service = context.user_data.service
    reply = service(event.body)
    # Nuclio's logger has warn_with, not the warning that the standard library has.
    log = {"info": context.logger.info_with, "warn": context.logger.warn_with, "error": context.logger.error_with}[reply.level]
    log(reply.event, **reply.fields)
    return context.Response(body=reply.body, content_type=reply.content_type, status_code=reply.status)
