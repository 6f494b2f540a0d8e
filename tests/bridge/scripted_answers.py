"""An HTTP server whose answers a test writes down: for what no CVAT says, such as a proxy's page or a redirect."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Scripted:
    """Answers in order of arrival; the last one stays. An answer is (status, headers, body), body as bytes, text or JSON."""

    def __init__(self, *answers):
        self.answers, self.seen, self.peers = list(answers), [], set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.peers.add(self.client_address)
                outer.seen.append((self.command, self.path, dict(self.headers), body))
                status, headers, content = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                data = (
                    content
                    if isinstance(content, bytes)
                    else (content if isinstance(content, str) else json.dumps(content)).encode()
                )
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = answer

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self._http.shutdown()
        self._http.server_close()


HTML = {"Content-Type": "text/html; charset=utf-8"}
