"""A checkout with spaces in its path, and stand-ins for docker, nuctl and nvidia-smi that record how they are called."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(HERE))  # helpers of this folder: with import mode importlib pytest does not add it

TOOLS = ("bash", "sed", "grep", "find", "head", "sort", "tr", "mktemp", "rm", "dirname", "basename", "sleep")
"""All that the scripts may use besides the programs that are stood in for."""


class Workshop:
    """Runs the scripts of `deploy/` in a copy of the checkout, with nothing on PATH but `TOOLS` and the stand-ins.

    Args:
        folder: where the copy is made.
        functions: folders of functions that are in it.
    """

    def __init__(self, folder: Path, functions: tuple[str, ...]) -> None:
        self.folder, self.root, self.bin = folder, folder / "a check out", folder / "bin"
        self.bin.mkdir()
        for name in TOOLS:
            found = shutil.which(name)
            assert found, f"{name} is needed by the scripts"
            (self.bin / name).symlink_to(found)
        for part in ("deploy", "common/auto_annotator/ensembles", *(f"functions/{name}" for name in functions)):
            shutil.copytree(REPOSITORY / part, self.root / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(REPOSITORY / "common/auto_annotator/__init__.py", self.root / "common/auto_annotator/__init__.py")
        self.answers: list[dict] = []
        (self.folder / "calls.jsonl").touch()
        self.install("docker", "nuctl", "nvidia-smi")
        self.nuctl_is("1.15.9")
        self.answer("docker", "info", "--format", "{{.ServerVersion}}", stdout="28.2.2\n")
        self.answer("docker", "info", "--format", "{{json .Runtimes}}", stdout='{"nvidia":{"path":"x"},"runc":{"path":"runc"}}\n')
        self.networks(by_label=["cvat_cvat"])
        self.answer("nvidia-smi", "--query-gpu=driver_version", stdout="580.82.07\n580.82.07\n")
        self.answer("nvidia-smi", "--query-gpu=index", stdout="0\n1\n")

    def install(self, *names: str) -> None:
        program = (HERE / "stand_in.py").read_text(encoding="utf-8")
        for name in names:
            (self.bin / name).write_text(f"#!{sys.executable} -SE\n{program}", encoding="utf-8")
            (self.bin / name).chmod(0o755)

    def remove(self, name: str) -> None:
        (self.bin / name).unlink()

    def answer(self, program: str, *starts: str, stdout: str = "", code: int = 0) -> None:
        self.answers.append({"program": program, "starts": list(starts), "stdout": stdout, "code": code})

    def nuctl_is(self, version: str) -> None:
        text = f'Client version:\n"Label: {version}, Git commit: 821ee87, OS: linux, Arch: amd64, Go version: go1.21.13"\n'
        self.answer("nuctl", "version", stdout=text)

    def networks(self, *, by_label: list[str] = (), by_name: list[str] = ()) -> None:
        lines = ["".join(f"{n}\n" for n in names) for names in (by_name, by_label)]
        self.answer("docker", "network", "ls", stdout=lines[0])
        self.answer("docker", "network", "ls", "--filter", "label=com.docker.compose.network=cvat", stdout=lines[1])

    def running(self, *images: str) -> None:
        self.answer("docker", "ps", stdout="".join(f"{i}\n" for i in images))

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "answers.json").write_text(json.dumps(self.answers), encoding="utf-8")
        (self.folder / "calls.jsonl").write_text("", encoding="utf-8")
        (self.folder / "tmp").mkdir(exist_ok=True)
        environment = {"PATH": str(self.bin), "HOME": str(self.folder), "TMPDIR": str(self.folder / "tmp")} | variables
        command = [str(self.root / "deploy" / script), *arguments]
        return subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)

    @property
    def calls(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()]

    def commands(self, program: str, *starts: str) -> list[list[str]]:
        """Arguments of the calls of a program that begin with `starts`."""
        return [c["args"] for c in self.calls if c["program"] == program and c["args"][: len(starts)] == list(starts)]

    @property
    def changes(self) -> list[list[str]]:
        """The calls that change something, with the program's name first."""
        changing = (("docker", "build"), ("docker", "run"), ("docker", "image", "rm"), ("nuctl", "create"), ("nuctl", "deploy"))
        changing += (("nuctl", "delete"),)
        lines = [[c["program"], *c["args"]] for c in self.calls]
        return [line for line in lines if any(tuple(line[: len(c)]) == c for c in changing)]

    def models(self, name: str = "models") -> Path:
        """A folder of weights that every user may read, whatever the umask is."""
        path = self.folder / name
        path.mkdir()
        path.chmod(0o755)
        return path

    @property
    def nuclio_folder(self) -> str:
        return str(self.root / "functions" / "face-detection" / "nuclio")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """The checkout with one function, which is enough for most of what the scripts do."""
    if os.name != "posix":
        pytest.skip("the scripts are for bash")
    return Workshop(tmp_path, ("face-detection",))


@pytest.fixture
def whole(tmp_path: Path) -> Workshop:
    """The checkout with all its functions."""
    if os.name != "posix":
        pytest.skip("the scripts are for bash")
    return Workshop(tmp_path, tuple(sorted(path.name for path in (REPOSITORY / "functions").iterdir())))


@pytest.fixture(scope="module")
def smoke(repository):
    spec = importlib.util.spec_from_file_location("smoke", repository / "deploy" / "smoke.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["smoke"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["smoke"]


@pytest.fixture
def serve():
    """Function: start a server whose answer to a parsed request is (status, content type, text); returns its address."""
    servers = []

    def start(answer, health=200):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, status, kind, text):
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                assert self.path == "/__internal/health"
                self.reply(health, "text/plain", "")

            def do_POST(self):
                assert (self.path, self.headers["Content-Type"]) == ("/", "application/json")
                self.reply(*answer(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
