"""What CVAT's server does when it uses a function, written from the contract: list, get, invoke by dashboard or directly."""

from __future__ import annotations

import json
from typing import Any

import requests


class CvatClient:
    """One CVAT server that is pointed at a gateway.

    Args:
        host: CVAT_NUCLIO_HOST.
        port: CVAT_NUCLIO_PORT.
        method: CVAT_NUCLIO_INVOKE_METHOD.
    """

    TIMEOUT = 120

    def __init__(self, host: str, port: int, method: str = "dashboard") -> None:
        self.url, self.method = f"http://{host}:{port}", method

    def _dashboard(self, verb: str, path: str, *, extra: dict[str, str] | None = None, data: Any = None) -> requests.Response:
        headers = {
            "User-Agent": "CVAT/2.54.1 python-requests/2.32.0",
            "x-nuclio-project-name": "cvat",
            "x-nuclio-function-namespace": "nuclio",
            "x-nuclio-invoke-via": "domain-name",
            "X-Nuclio-Invoke-Timeout": f"{self.TIMEOUT}s",
        } | (extra or {})
        reply = requests.request(verb, self.url + path, headers=headers, json=data, timeout=self.TIMEOUT)
        reply.raise_for_status()
        return reply

    def list(self) -> list[dict[str, Any]]:
        """The function objects, as for the Models page."""
        answer = self._dashboard("GET", "/api/functions").json()
        assert isinstance(answer, dict)
        return list(answer.values())

    def get(self, name: str) -> dict[str, Any]:
        """One function object; what CVAT reads of it must be there."""
        found = self._dashboard("GET", f"/api/functions/{name}").json()
        assert found["metadata"]["name"] == name
        json.loads(found["metadata"]["annotations"]["spec"])
        return found

    def invoke(self, name: str, data: dict[str, Any]) -> str:
        """The text of the answer to one picture; CVAT gets the object first, each time."""
        function = self.get(name)
        if self.method == "dashboard":
            extra = {"x-nuclio-function-name": name, "x-nuclio-path": "/"}
            return self._dashboard("POST", "/api/function_invocations", extra=extra, data=data).text
        reply = requests.post(f"http://127.0.0.1:{function['status']['httpPort']}/", json=data, timeout=self.TIMEOUT)
        reply.raise_for_status()
        return reply.text
