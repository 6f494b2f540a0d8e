"""`auto-annotator serve` as a process: start, signals, ends, messages."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from fakes import picture
from serving_fakes import NAME, WAIT
from test_gateway_server import encoded

from auto_annotator import cli
from auto_annotator.serving.server import Gateway

HERE = Path(__file__).parent
CONSOLE_SCRIPT = "from auto_annotator.cli import main; raise SystemExit(main())"
"""What the installed command runs; `-m auto_annotator.cli` would give its loggers another name."""
BODY = {"image": encoded(picture(64, 64, [(10, 10, 40, 40)]))}


def ensemble_file(folder: Path, detector: str, **options: str) -> Path:
    """A user's own ensemble of one detector of these tests."""
    member = {"name": "fake", "use": f"serving_detectors:{detector}", "options": options, "views": [{"size": 64}]}
    path = folder / "mine.yaml"
    path.write_text(json.dumps({"name": "mine", "members": [member]}))
    return path


class Process:
    """A running `serve`, its messages, and the ports that they name."""

    def __init__(self, *arguments: str, verbose: bool = False) -> None:
        paths = os.pathsep.join([str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-c", CONSOLE_SCRIPT, *["--verbose"] * verbose, "serve", "--port", "0", *arguments]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": paths})
        self.lines: list[str] = []

    def until(self, text: str) -> str:
        """Everything said up to a line with the text; the watchdog ends a process that never says it."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if text in line:
                return "".join(self.lines)
        raise AssertionError(f"ended without saying {text!r}: {''.join(self.lines)}")

    def url(self, path: str = "") -> str:
        """Its address, once it is ready."""
        said = self.until("after the running request")
        return f"http://127.0.0.1:{re.search(r'CVAT_NUCLIO_PORT=([0-9]+)', said)[1]}{path}"

    def end(self) -> tuple[int, str]:
        """Exit code, and all it said."""
        rest = self.process.communicate(timeout=WAIT)[1]
        return self.process.returncode, "".join(self.lines) + rest


@contextlib.contextmanager
def serving(*arguments: str, verbose: bool = False):
    one = Process(*arguments, verbose=verbose)
    watchdog = threading.Timer(2 * WAIT, one.process.kill)
    watchdog.start()
    try:
        yield one
    finally:
        watchdog.cancel()
        one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_says_how_to_point_cvat_to_it_and_ends_with_0(tmp_path, number):
    with serving("--ensemble", str(ensemble_file(tmp_path, "Plain")), "--direct-port", "0") as one:
        url = one.url("/api/function_invocations")
        reply = requests.post(url, json=BODY, headers={"x-nuclio-function-name": NAME}, timeout=WAIT)
        assert [item["label"] for item in reply.json()] == ["face", "face_landmarks"]
        one.process.send_signal(number)
        code, said = one.end()
    assert code == 0
    for part in (
        "CVAT_SERVERLESS=1",
        "CVAT_NUCLIO_HOST=",
        "CVAT_NUCLIO_INVOKE_METHOD=dashboard",
        "cvat_worker_annotation",
        "no direct mode",
    ):
        assert part in said
    assert f"{NAME}: answered: status=200" in said and "warning" not in said and "Traceback" not in said


@pytest.fixture
def held(tmp_path):
    """A running `serve` whose detector waits in a picture, the pipes that say so, and the request in a thread."""
    begun, go = tmp_path / "begun", tmp_path / "go"
    for pipe in (begun, go):
        os.mkfifo(pipe)
    file = ensemble_file(tmp_path, "Held", begun=str(begun), go=str(go))
    with ThreadPoolExecutor(1) as pool, serving("--ensemble", str(file), "--direct-port", "0") as one:
        headers = {"x-nuclio-function-name": NAME}
        request = pool.submit(requests.post, one.url("/api/function_invocations"), json=BODY, headers=headers, timeout=WAIT)
        with _both_ends(begun) as pipe:
            assert select.select([pipe], [], [], WAIT)[0], "the picture never reached the detector"
        yield one, go, request


@contextlib.contextmanager
def _both_ends(path: Path):
    """A named pipe opened so that neither this nor what follows waits for the other side."""
    pipe = os.open(path, os.O_RDWR)
    try:
        yield pipe
    finally:
        os.close(pipe)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_signal_lets_the_running_request_finish(held):
    one, go, request = held
    one.process.send_signal(signal.SIGTERM)
    one.until("stopping")
    with _both_ends(go) as pipe:
        os.write(pipe, b"go")
        assert request.result().status_code == 200
    code, said = one.end()
    assert code == 0 and said.endswith("stopped\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_second_signal_ends_it_at_once(held):
    one, _, request = held
    one.process.send_signal(signal.SIGTERM)
    one.until("stopping")
    one.process.send_signal(signal.SIGTERM)
    assert one.end()[0] == -signal.SIGTERM
    assert isinstance(request.exception(), requests.ConnectionError)


@pytest.mark.parametrize("verbose", [False, True])
def test_models_that_cannot_be_loaded_are_exit_2_with_the_reason(tmp_path, verbose):
    with serving("--ensemble", str(ensemble_file(tmp_path, "Missing")), "--direct-port", "0", verbose=verbose) as one:
        code, said = one.end()
    assert code == 2 and "serving_detectors:Missing" in said and "ready:" not in said
    assert ("Traceback" in said) == verbose


@pytest.fixture
def command(monkeypatch):
    """Function: arguments -> exit code of the command in this process, which ends as soon as it is ready."""

    async def run(self, stop, on_ready):
        on_ready()

    def start(*arguments: str) -> int:
        monkeypatch.setattr(Gateway, "run", run)
        return cli.main(["serve", *arguments])

    level = logging.getLogger("auto_annotator.serving").level
    yield start
    logging.getLogger("auto_annotator.serving").setLevel(level)


def test_a_port_in_use_is_exit_2_before_anything_is_loaded(command, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert command("--port", str(port)) == 2
        assert command("--port", "0", "--direct-port", str(port)) == 2
    said = capsys.readouterr().err
    assert said.count(f"127.0.0.1 port {port}: the port is in use") == 2 and "loading" not in said


@pytest.mark.parametrize("port", ["-1", "65536", "http", "", "1.5", "²"])
def test_a_port_that_is_none_is_exit_2(command, port, capsys):
    with pytest.raises(SystemExit) as exit_:
        command(f"--port={port}")
    assert exit_.value.code == 2 and "expected a port number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "warned", "cvat_host"),
    [("127.0.0.1", False, "host.docker.internal"), ("localhost", False, "host.docker.internal"), ("0.0.0.0", True, "<the address")],
)
def test_an_address_that_others_reach_brings_a_warning(command, capsys, host, warned, cvat_host):
    before = signal.getsignal(signal.SIGTERM)
    assert command("--host", host, "--port", "0", "--direct-port", "0") == 0
    said = capsys.readouterr().err
    assert ("no authentication" in said) == warned and f"CVAT_NUCLIO_HOST={cvat_host}" in said
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_missing_extra_is_exit_2_with_the_command(command, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert command("--port", "0") == 2
    assert "pip install 'auto-annotator[serve]'" in capsys.readouterr().err
