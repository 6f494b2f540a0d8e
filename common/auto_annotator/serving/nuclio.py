"""What the Nuclio handlers of this project do: `load` in `init_context`, `respond` in `handler`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auto_annotator.config import Settings, load_settings
from auto_annotator.pipeline import FaceDetection, build_pipeline
from auto_annotator.serving.requests import handle_body
from auto_annotator.weights import registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a worker process keeps between calls, in `context.user_data.service`."""

    pipeline: FaceDetection
    settings: Settings


def load(context: Any) -> None:
    """Build the ensemble from the AUTO_ANNOTATOR_* variables and warm it up; the worker reports ready only after that.

    Args:
        context: Nuclio's context; `context.user_data.service` is set.

    Raises:
        AutoAnnotatorError: if settings, weights or the device are wrong. Nuclio then shows the message and the function as
            unhealthy, which is better than one that answers slowly or not at all.
    """
    start = time.perf_counter()
    settings = load_settings()
    pipeline = build_pipeline(settings)
    context.user_data.service = Service(pipeline=pipeline, settings=settings)
    context.logger.info_with(
        "ready",
        ensemble=Path(settings.ensemble).stem,
        members=list(pipeline.members),
        device=pipeline.device,
        licences=licences(pipeline.ensemble.config.weight_names),
        on_error=settings.on_error,
        milliseconds=round((time.perf_counter() - start) * 1000),
    )


def licences(names: Sequence[str]) -> dict[str, str]:
    """Licence of each weight of the ensemble, so that the log of a deployment says what it may be used for."""
    known = registry()
    return {n: f"{known[n].licence}, commercial use: {known[n].commercial}" if n in known else "own file" for n in names}


def respond(context: Any, event: Any) -> Any:
    """Answer one event.

    Args:
        context: Nuclio's context after `load`.
        event: Nuclio's event; the body is a dict if CVAT sent `application/json`, else bytes.

    Returns:
        `context.Response` with JSON *text*: Nuclio would take a list for a batch of responses.
    """
    service: Service = context.user_data.service
    reply = handle_body(event.body, service.pipeline, service.settings)
    # Nuclio's logger has warn_with, not the warning that the standard library has.
    log = {"info": context.logger.info_with, "warn": context.logger.warn_with, "error": context.logger.error_with}[reply.level]
    log(reply.event, **reply.fields)
    return context.Response(body=reply.body, content_type=reply.content_type, status_code=reply.status)
