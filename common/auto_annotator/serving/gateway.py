"""The functions over HTTP with neither Docker nor Nuclio: the part of Nuclio's dashboard API that CVAT uses, and direct mode.

A request does what it does under Nuclio: same bodies, same statuses, same limits. The protocol has no authentication.
Two headers of CVAT have no effect, as they have none on our functions: `x-nuclio-path` (they have one path) and
`X-Nuclio-Invoke-Timeout` (the caller gives up by itself at that time).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from auto_annotator.cvat.failures import failure_place
from auto_annotator.errors import ConfigError
from auto_annotator.serving.dashboard import Function, Handler
from auto_annotator.serving.limits import BodyTooLarge, Busy, Limits, Overdue, Worker, read_body
from auto_annotator.serving.models import Models
from auto_annotator.serving.replies import CONTENT_TYPE, Reply

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger(__name__)

_LEVELS = {"info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}


def require_extra() -> None:
    """Check that the HTTP packages are there.

    Raises:
        ConfigError: with the command that brings them.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"serve: the package {error.name} is missing: pip install 'auto-annotator[serve]'") from error


class ServedFunction:
    """A function with its worker: what an invocation does, whichever way it came.

    Attributes:
        function: its row.
        port: its port of direct mode, None = off.
    """

    def __init__(self, function: Function, limits: Limits, *, port: int | None = None) -> None:
        self.function, self.port, self._limits = function, port, limits
        self._worker = Worker(function.name, limits)
        self._handler: Handler | None = None
        self._present = 0

    async def reserve(self) -> None:
        """Let requests wait for the models from now on, also while other functions load theirs."""
        await self._worker.reserve()

    def release(self) -> None:
        """Let go the requests that wait for models that will not be loaded."""
        self._worker.release()

    async def load(self, models: Models) -> None:
        """Load and warm up in the worker's thread; requests that come meanwhile wait for it.

        Raises:
            AutoAnnotatorError: if settings, weights or the device are wrong.
        """
        self._handler = await self._worker.load(partial(self.function.load, models))

    def close(self) -> None:
        """Let the worker's thread end."""
        self._worker.close()

    @property
    def overdue(self) -> bool:
        """Whether an event is running that should have ended; only a restart of the process can end it."""
        return self._worker.overdue

    @property
    def ready(self) -> bool:
        """Whether the models are loaded and warm, and the worker is not stuck."""
        return self._handler is not None and not self.overdue

    def describe(self) -> dict[str, Any]:
        """The function object with its present state, in Nuclio's words."""
        state = "ready" if self.ready else "unhealthy" if self.overdue else "building"
        return self.function.describe(state=state, port=self.port)

    async def answer(self, request: Request) -> Response:
        """Invoke the function with the body of a request."""
        from starlette.responses import Response

        start = time.perf_counter()
        reply, size = await self._reply(request)
        fields = {"status": reply.status, "bytes": size, "total_milliseconds": round((time.perf_counter() - start) * 1000)}
        text = " ".join(f"{key}={value}" for key, value in (fields | dict(reply.fields)).items())
        log.log(_LEVELS[reply.level], "%s: %s: %s", self.function.name, reply.event, text)
        return Response(reply.body, status_code=reply.status, media_type=reply.content_type if reply.body else None)

    async def _reply(self, request: Request) -> tuple[Reply, int]:
        """The reply, and the size of the body as far as it was taken, in bytes."""
        from starlette.requests import ClientDisconnect

        limits, size = self._limits, 0
        if self._present >= limits.requests:
            return _no_worker("too many requests"), size
        self._present += 1
        try:
            body = await read_body(request, limits)
            size = len(body)
            return await self._worker.run(partial(self._handle, body)), size
        except BodyTooLarge:
            advice = f"; {self.function.too_large}" if self.function.too_large else ""
            return _refusal(400, "body too large", f"body: larger than the limit of {limits.body_bytes} bytes{advice}"), size
        except Busy:
            return _no_worker("no free worker"), size
        except Overdue:
            return _refusal(408, "timed out", f"no answer within {limits.event_seconds:g} s"), size
        except ClientDisconnect:
            return _refusal(400, "caller went away", "body: incomplete"), size
        finally:
            self._present -= 1

    def _handle(self, body: bytearray) -> Reply:
        """In the worker's thread. The handler parses the body itself, so that a large one does not hold up the event loop.

        Nuclio parses a body of exactly `application/json` and hands over bytes otherwise; our handlers take both alike.
        """
        if self._handler is None:
            return _no_worker("models are not loaded")
        try:
            return self._handler(body)
        except BaseException as error:  # SystemExit too: one request must not end the service
            where = failure_place(error) if isinstance(error, Exception) else ""
            text = json.dumps({"error": "the function failed; the gateway's log has the place"})
            fields = {"kind": type(error).__name__, "where": where}
            return Reply(status=500, body=text, level="error", event="function failed", fields=fields)


def _refusal(status: int, event: str, message: str) -> Reply:
    return Reply(status=status, body=json.dumps({"error": message}), level="warn", event=event, fields={})


def _no_worker(event: str) -> Reply:
    """Nuclio's answer when no worker becomes free: 503 with nothing in it."""
    return Reply(status=503, body="", level="warn", event=event, fields={})


def dashboard_app(served: Sequence[ServedFunction]) -> Starlette:
    """The dashboard API over all functions, and the health of all of them."""
    from starlette.routing import Route

    by_name = {one.function.name: one for one in served}

    async def list_functions(request: Request) -> Response:
        # Without the header Nuclio takes its default namespace; we have one set of functions, whatever CVAT calls it.
        if not request.headers.get("x-nuclio-function-namespace", "default").strip():
            return _error(400, "Namespace must exist")
        project = request.headers.get("x-nuclio-project-name")
        return _json({name: one.describe() for name, one in by_name.items() if project in (None, "", one.function.project)})

    async def get_function(request: Request) -> Response:
        if not request.headers.get("x-nuclio-function-namespace", "default").strip():
            return _error(400, "Namespace must exist")
        one = by_name.get(request.path_params["name"])
        return _error(404, "Function not found") if one is None else _json(one.describe())

    async def invoke(request: Request) -> Response:
        name = request.headers.get("x-nuclio-function-name", "")
        if not name:
            return _error(400, "Function name must be provided")
        one = by_name.get(name)
        return _error(404, "Function not found") if one is None else await one.answer(request)

    routes = [
        Route("/api/functions", list_functions, methods=["GET"]),
        Route("/api/functions/{name}", get_function, methods=["GET"]),
        Route("/api/function_invocations", invoke, methods=["POST"]),
    ]
    return _app(routes, served)


def direct_app(served: ServedFunction) -> Starlette:
    """Direct mode: a port of its own for one function, because nothing in the request names it."""
    from starlette.routing import Route

    return _app([Route("/", served.answer, methods=["POST"])], [served])


def _app(routes: list[Any], served: Sequence[ServedFunction]) -> Starlette:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Route

    async def health(_: Request) -> Response:
        return _json({"status": "ok"})

    async def live(_: Request) -> Response:
        stuck = [one.function.name for one in served if one.overdue]
        return _error(503, f"overdue: {', '.join(stuck)}; restart the gateway") if stuck else _json({"status": "ok"})

    async def ready(_: Request) -> Response:
        missing = [one.function.name for one in served if not one.ready]
        return _error(503, f"not ready: {', '.join(missing)}") if missing else _json({"status": "ready"})

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _error(error.status_code, str(error.detail), error.headers)

    checks = [("/__internal/health", health), ("/live", live), ("/ready", ready)]
    routes = [*routes, *(Route(path, check, methods=["GET"]) for path, check in checks)]
    return Starlette(routes=routes, exception_handlers={HTTPException: refused})


def _json(value: object, status: int = 200, headers: Any = None) -> Response:
    from starlette.responses import Response

    return Response(json.dumps(value), status_code=status, media_type=CONTENT_TYPE, headers=headers)


def _error(status: int, message: str, headers: Any = None) -> Response:
    return _json({"error": message}, status, headers)
