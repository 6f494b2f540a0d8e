"""Requests through cvat-sdk's API client: counted, repeated where that is safe, every failure a `ServerError` with the fix."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auto_annotator.bridge.errors import ServerError, Unsure
from auto_annotator.bridge.failures import broken_connection, redirected, refused, web_page
from auto_annotator.bridge.retry import BUSY, TIMEOUT_SECONDS, Backoff, backoff_of_environment, parse_retry_after, pause, seconds_of

logger = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0
READ_SECONDS = 300.0  # a task's annotations, or the first frame of a long video, take a server minutes
PAGE = 100  # entries of a list's page


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server sent: status below 300, the bytes of the body, content type."""

    status: int
    data: bytes
    content_type: str


class Transport:
    """Sends requests to the endpoints of cvat-sdk's own table; safe to use from several threads.

    Args:
        client: a `cvat_sdk.Client` that is logged in.
        backoff: waiting times between tries; None = those of the environment.
    """

    def __init__(self, client: Any, *, backoff: Backoff | None = None) -> None:
        from cvat_sdk.api_client.rest import RESTClientObject
        from urllib3.util import Retry

        self.host = _without_credentials(str(client.api_map.host))
        self.backoff = backoff or backoff_of_environment()
        self.requests = 0
        self.writes = 0
        self._lock = threading.Lock()
        self._answered = False
        self._api = client.api_client
        self._timeout = (CONNECT_SECONDS, seconds_of(TIMEOUT_SECONDS, READ_SECONDS))
        # cvat-sdk repeats some methods by itself and follows redirects, where a token would be dropped without a word. All of
        # that is decided here instead.
        self._api.configuration.retries = Retry(
            total=None, connect=0, read=0, redirect=0, status=0, other=0, raise_on_redirect=False, respect_retry_after_header=False
        )
        self._api.rest_client = RESTClientObject(self._api.configuration)

    def read(
        self, endpoint: str, *, what: str, ids: Mapping[str, int] | None = None, query: Mapping[str, Any] | None = None
    ) -> Answer:
        """GET, repeated while the server is busy or the connection breaks.

        Args:
            endpoint: group and operation of cvat-sdk, such as `jobs_api.retrieve_annotations`.
            what: what is asked for, for error texts: `task 3`.
            ids: values of the path.
            query: values of the query.

        Raises:
            ServerError: with the reason and the fix.
        """
        failures = 0
        while True:
            try:
                return self._once(endpoint, what, ids, query, None)
            except Unsure as error:
                failures += 1
                if failures >= self.backoff.attempts:
                    raise ServerError(str(error), status=error.status) from None
                seconds = self.backoff.seconds(failures, error.retry_after)
                logger.info("%s: try %d failed (%s), again in %.1f s", what, failures, error.status or "no answer", seconds)
                pause(seconds)

    def read_json(
        self, endpoint: str, *, what: str, ids: Mapping[str, int] | None = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        """As `read`, the body parsed and otherwise as the server sent it."""
        return self.parse(self.read(endpoint, what=what, ids=ids, query=query))

    def read_list(self, endpoint: str, *, what: str, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """All pages of a list."""
        rows: list[dict[str, Any]] = []
        page = 1
        while True:
            part = self.read_json(endpoint, what=what, query={**query, "page": page, "page_size": PAGE})
            if not isinstance(part, dict) or not isinstance(part.get("results"), list):
                raise ServerError(f"{what}: {self.host} did not send a list, expected CVAT's API; check --server-host")
            rows += part["results"]
            if not part.get("next"):
                return rows
            page += 1

    def write(
        self, endpoint: str, *, what: str, body: Any, ids: Mapping[str, int] | None = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        """One try of a request that changes something.

        Returns:
            The answer's JSON; None for an empty body.

        Raises:
            Unsure: if nobody knows whether it was done.
            ServerError: if it was refused.
        """
        answer = self._once(endpoint, what, ids, query, body)
        if not answer.data:
            return None
        try:
            return self.parse(answer)
        except ServerError as error:  # it was accepted; what came back can be read again
            raise Unsure(str(error), status=answer.status) from None

    def parse(self, answer: Answer) -> Any:
        """The JSON of an answer.

        Raises:
            ServerError: if it is none, as a web page or a proxy's sign-in form.
        """
        try:
            return json.loads(answer.data)
        except ValueError:
            raise web_page(self.host, answer.content_type, answer.status) from None

    def _once(self, endpoint: str, what: str, ids: Mapping[str, int] | None, query: Mapping[str, Any] | None, body: Any) -> Answer:
        group, _, operation = endpoint.partition(".")
        settings = getattr(getattr(self._api, group), f"{operation}_endpoint")
        method = settings.settings["http_method"]
        with self._lock:
            self.requests += 1
            self.writes += method != "GET"
        accept = self._api.select_header_accept(settings.headers_map["accept"])
        try:
            _, response = self._api.call_api(
                settings.path,
                method,
                path_params=dict(ids or {}),
                query_params=list((query or {}).items()),
                header_params={"Accept": accept} if accept else {},
                body=body,
                _parse_response=False,  # cookies stay as the login left them, so that threads do not meet in them
                _check_status=False,
                _request_timeout=self._timeout,
            )
            data = response.data
        except Exception as error:
            raise broken_connection(error, host=self.host, what=what, known=self._answered) from None
        return self._checked(what, response, data, write=method != "GET")

    def _checked(self, what: str, response: Any, data: bytes, *, write: bool) -> Answer:
        status = int(response.status)
        kind = str(response.headers.get("Content-Type") or "")
        if status < 300:
            self._answered = True
            return Answer(status=status, data=data, content_type=kind)
        if status < 400:
            raise redirected(self.host, str(response.headers.get("Location") or ""), status)
        if status in BUSY or (status >= 500 and write):
            raise Unsure(
                f"{what}: {self.host} is busy or failing ({status}): try again later",
                status=status,
                retry_after=parse_retry_after(response.headers.get("Retry-After")),
            )
        raise refused(self.host, what, status, html="html" in kind)


def _without_credentials(host: str) -> str:
    scheme, separator, rest = host.rstrip("/").rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
