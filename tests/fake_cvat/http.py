"""HTTP: login, organisation, recording and faults before the routes see a request."""

from __future__ import annotations

import json
import socket
import struct
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from fake_cvat.faults import Fault, Request
from fake_cvat.routes import Call, Reply, dispatch
from fake_cvat.store import Refused

if TYPE_CHECKING:
    from fake_cvat.server import FakeCvat

PUBLIC = ("/api/server/about", "/api/auth/login")
SESSION, CSRF = "sessionid", "csrftoken"


class Gone(Exception):
    """The connection was cut on purpose."""


class LoopbackServer(ThreadingHTTPServer):
    """The listening socket; every connection has a thread."""

    daemon_threads = True
    request_queue_size = 64
    fake: FakeCvat

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away, or were cut off, are part of the tests; nothing is printed."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: LoopbackServer

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        authorized = "Authorization" in self.headers or SESSION in self._cookies()
        request = Request(self.command, parts.path, query, authorized)
        fake = self.server.fake
        fake.record(request)
        fault = fake.faults.take(request)
        try:
            body = self._read(fault)
            if fault and fault.kind == "status":
                self._send(self._fault_reply(fault))
                return
            if fault and fault.kind == "slow":
                time.sleep(fault.seconds)
            reply = self._reply(request, body)
            self._after(fault)
            self._send(self._fault_reply(fault) if fault and fault.kind == "status_after_commit" else reply, fault)
        except Gone:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def _read(self, fault: Fault | None) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        if fault and fault.kind == "reset":
            self._reset()
        if fault and fault.kind == "reset_in_body":
            self.rfile.read(length // 2)
            self._reset()
        return self.rfile.read(length)

    def _after(self, fault: Fault | None) -> None:
        if fault and fault.kind == "reset_after_commit":
            self._reset()
        if fault and fault.kind == "slow_reply":
            time.sleep(fault.seconds)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()
        raise Gone

    def _reply(self, request: Request, body: bytes) -> Reply:
        try:
            if request.path == "/api/auth/login" and request.method == "POST":
                return self._login(body)
            organization = self._let_in(request)
            if request.path == "/api/auth/logout" and request.method == "POST":
                self.server.fake.sessions.discard(self._cookies().get(SESSION, ""))
                return Reply(body={"detail": "Successfully logged out."})
            query = {k: v for k, v in request.query.items() if k not in ("org", "org_id")}
            call = Call(self.server.fake.store, self.server.fake.url, request.path, query, self._json(body), organization)
            return dispatch(call, request.method)
        except Refused as refused:
            return Reply(refused.status, refused.body, "text/html" if isinstance(refused.body, bytes) else "application/json")

    def _json(self, body: bytes) -> Any:
        if not body:
            return {}
        try:
            return json.loads(body)
        except ValueError as error:
            raise Refused(400, {"detail": "JSON parse error"}) from error

    def _cookies(self) -> dict[str, str]:
        return {name: morsel.value for name, morsel in SimpleCookie(self.headers.get("Cookie", "")).items()}

    def _login(self, body: bytes) -> Reply:
        data, fake = self._json(body), self.server.fake
        if (data.get("username"), data.get("password")) != fake.login:
            raise Refused(400, {"non_field_errors": ["Unable to log in with provided credentials."]})
        session = fake.new_session()
        cookies = f"{CSRF}=csrf-{session}; Path=/; SameSite=Lax, {SESSION}={session}; HttpOnly; Path=/; SameSite=Lax"
        return Reply(body={"key": session}, headers={"Set-Cookie": cookies})

    def _let_in(self, request: Request) -> int | str | None:
        fake, cookies = self.server.fake, self._cookies()
        if request.path not in PUBLIC:
            kind, _, token = self.headers.get("Authorization", "").partition(" ")
            if kind:
                if kind not in ("Bearer", "Token") or token not in fake.tokens:
                    raise Refused(401, {"detail": "Invalid token."})
            elif cookies.get(SESSION) not in fake.sessions:
                raise Refused(401, {"detail": "Authentication credentials were not provided."})
            elif request.method != "GET" and self.headers.get("X-CSRFToken") != cookies.get(CSRF):
                raise Refused(403, {"detail": "CSRF Failed: CSRF token missing."})
        return self._organization(request)

    def _organization(self, request: Request) -> int | str | None:
        slug, number = self.headers.get("X-Organization", request.query.get("org")), request.query.get("org_id")
        if number is not None and slug is not None:
            text = 'You cannot specify "org_id" query parameter with "org" query parameter or "X-Organization" HTTP header'
            raise Refused(400, [text + " at the same time."])
        known = self.server.fake.store.organizations
        if number is not None:
            if not number.isdigit() or int(number) not in known:
                raise Refused(404, {"detail": f"{number} organization does not exist."})
            return int(number)
        if slug:
            found = [n for n, name in known.items() if name == slug]
            if not found:
                raise Refused(404, {"detail": f"{slug} organization does not exist."})
            return found[0]
        return "" if slug is None else None

    @staticmethod
    def _fault_reply(fault: Fault) -> Reply:
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        return Reply(fault.status, b"<html>the proxy says no</html>", "text/html", headers)

    def _send(self, reply: Reply, fault: Fault | None = None) -> None:
        data = reply.body if isinstance(reply.body, bytes) else b"" if reply.body is None else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.media_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in reply.headers.items():
            for line in value.split(", ") if name == "Set-Cookie" else [value]:
                self.send_header(name, line)
        self.end_headers()
        if fault and fault.kind == "truncated":
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            raise Gone
        self.wfile.write(data)
        self.wfile.flush()
