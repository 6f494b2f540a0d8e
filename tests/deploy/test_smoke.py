"""smoke.py and smoke.sh against servers that answer well, badly or not at all."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys

import numpy as np
import pytest
from fakes import SquareDetector, picture, pipeline

from auto_annotator.config import load_settings
from auto_annotator.cvat.labels import nuclio_spec
from auto_annotator.serving.requests import handle_body

FACE = {
    "label": "face", "type": "rectangle", "points": [10, 10, 50, 60], "group_id": 1,
    "attributes": [{"name": "score", "value": "97"}, {"name": "votes", "value": "2/2"}],
}  # fmt: skip
NAMES = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
POINTS = {
    "label": "face_landmarks", "type": "skeleton", "group_id": 1, "attributes": [],
    "elements": [{"label": n, "type": "points", "points": [20.5, 20], "outside": False, "attributes": []} for n in NAMES],
}  # fmt: skip
ERROR = {"label": "face_error", "type": "tag", "attributes": [{"name": "reason", "value": "not_an_image"}]}


def good(body):
    """A function as it should be."""
    if "image" not in body:
        return 400, "text/plain", "image: missing"
    if base64.b64decode(body["image"]).startswith(b"this is not"):
        return 200, "application/json", json.dumps([ERROR])
    if body.get("threshold", 0) > 0.97:
        return 200, "application/json", "[]"
    return 200, "application/json", json.dumps([FACE, POINTS])


def instead(items, status=200, kind="application/json"):
    """A function that answers a real picture with something else."""

    def answer(body):
        reply = good(body)
        return (
            (status, kind, items if isinstance(items, str) else json.dumps(items))
            if reply[2].startswith("[{") and "tag" not in reply[2]
            else reply
        )

    return answer


@pytest.fixture
def own(tmp_path, smoke):
    path = tmp_path / "a picture.png"
    path.write_bytes(smoke.generated_picture())
    return ["--picture", str(path), "--wait", "5"]


def test_the_labels_are_those_of_the_schema(smoke):
    spec = {label["name"]: label for label in nuclio_spec()}
    assert {name: label["type"] for name, label in spec.items()} == smoke.LABELS
    assert {point["name"] for point in spec["face_landmarks"]["sublabels"]} == smoke.POINTS


def test_a_good_function(smoke, serve, own, capsys):
    assert smoke.main([serve(good), *own, "--name", "mine"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("mine at http://127.0.0.1:") and "with your picture" in out
    assert out.count("  ok    ") == 4 and "FAIL" not in out
    assert "faces: 1, with landmarks: 1" in out


def test_our_own_replies_pass(smoke, serve, tmp_path, capsys):
    """The real request handling over a fake ensemble."""
    import cv2

    faces = pipeline({"one": SquareDetector()})
    settings = load_settings(device="cpu")

    def answer(body):
        reply = handle_body(body, faces, settings)
        return reply.status, reply.content_type, reply.body

    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), picture(640, 480, [(100, 100, 200, 220)]))
    assert smoke.main([serve(answer), "--picture", str(path), "--wait", "5"]) == 0
    assert "faces: 1, with landmarks: 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (instead("boom", status=500), "status is 500, expected 200; the reply begins b'boom'"),
        (instead([FACE], kind="text/plain"), "content type is 'text/plain'"),
        (instead("[{'label': 'face'}]"), "the reply is not JSON"),
        (instead({"faces": []}), "a JSON dict, expected a list"),
        (instead("null"), "a JSON NoneType, expected a list"),
        (instead([FACE | {"label": "person"}]), "expected a label of face"),
        (instead([FACE | {"type": "polygon"}]), "with its own type"),
        (instead(["face"]), "expected a label of face"),
        (instead([FACE | {"points": [1, 2, 3]}]), "expected 4 finite numbers"),
        (instead(json.dumps([FACE | {"points": [1, 2, float("nan"), 4]}])), "expected 4 finite numbers"),
        (instead([FACE | {"points": ["1", "2", "3", "4"]}]), "expected 4 finite numbers"),
        (instead([FACE | {"points": [50, 10, 10, 60]}]), "has no area"),
        (instead([FACE, POINTS | {"elements": POINTS["elements"][:4]}]), "face_landmarks: got ["),
        (instead([FACE, POINTS | {"elements": None}]), "malformed"),
        (instead([FACE | {"label": ["face"]}]), "malformed"),
        (instead([FACE, POINTS | {"group_id": 2}]), "without a box of the same group_id"),
        (instead([ERROR]), "got a face_error tag (not_an_image)"),
    ],
)  # fmt: skip
def test_replies_that_cvat_would_not_take(smoke, serve, own, capsys, answer, says):
    assert smoke.main([serve(answer), *own]) == 1
    out = capsys.readouterr().out
    assert says in out, out
    assert "FAIL  a picture" in out and "ok    a broken picture" in out, "the other checks go on"


def test_a_threshold_that_is_ignored(smoke, serve, own, capsys):
    def answer(body):
        return good({k: v for k, v in body.items() if k != "threshold"})

    assert smoke.main([serve(answer), *own]) == 1
    assert "FAIL  a threshold: asked for scores of 0.99, got 97 %" in capsys.readouterr().out


@pytest.mark.parametrize("score", ["0.97", "101", "-1", "high"])
def test_a_score_that_cvat_would_drop(smoke, serve, own, capsys, score):
    item = FACE | {"attributes": [{"name": "score", "value": score}]}
    assert smoke.main([serve(lambda body: (200, "application/json", json.dumps([item, POINTS]))), *own]) == 1
    assert f"FAIL  a threshold: face: the attribute score is '{score}'" in capsys.readouterr().out


@pytest.mark.parametrize(("status", "text"), [(500, "Traceback"), (200, "[]"), (200, json.dumps([FACE]))])
def test_a_broken_picture_must_become_a_tag(smoke, serve, own, capsys, status, text):
    def answer(body):
        reply = good(body)
        return (status, "application/json", text) if "face_error" in reply[2] else reply

    assert smoke.main([serve(answer), *own]) == 1
    assert "FAIL  a broken picture" in capsys.readouterr().out


def test_nonsense_must_be_refused(smoke, serve, own, capsys):
    def answer(body):
        return good(body) if "image" in body else (200, "application/json", "[]")

    assert smoke.main([serve(answer), *own]) == 1
    assert "FAIL  a request without picture: status is 200, expected 400" in capsys.readouterr().out


def test_a_known_face_must_be_found(smoke, serve, own, capsys, monkeypatch):
    monkeypatch.setattr(smoke, "choose_picture", lambda _: (smoke.generated_picture(), "a portrait", True))
    assert smoke.main([serve(instead([])), *own]) == 1
    assert "got no face, expected at least one" in capsys.readouterr().out


@pytest.mark.parametrize("health", [404, 405])
def test_a_server_without_the_health_path_is_taken_for_ready(smoke, serve, own, health):
    assert smoke.main([serve(good, health=health), *own]) == 0


def test_a_function_that_is_not_ready(smoke, serve, own, capsys):
    assert smoke.main([serve(good, health=503), *own[:2], "--wait", "0"]) == 2
    assert "status 503" in capsys.readouterr().err


def test_nobody_there(smoke, own, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        assert smoke.main([url, *own[:2], "--wait", "0"]) == 2
    message = capsys.readouterr().err
    for text in ("nobody is ready", "nuctl get function", "PORT=", "docker logs"):
        assert text in message


def test_a_picture_that_is_not_there(smoke, capsys):
    assert smoke.main(["http://127.0.0.1:1/", "--picture", "not there.png"]) == 2
    assert "not there.png" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["127.0.0.1:18101", "file:///etc/passwd"])
def test_an_address_that_is_none(smoke, url):
    with pytest.raises(SystemExit) as stop:
        smoke.main([url])
    assert stop.value.code == 2


def test_the_generated_picture_is_a_picture(smoke):
    import cv2

    pixels = cv2.imdecode(np.frombuffer(smoke.generated_picture(64), np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels.shape == (64, 64)
    assert np.array_equal(pixels, np.add.outer(np.arange(64), np.arange(64)) % 256)


def test_without_the_package_a_picture_is_generated(smoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "auto_annotator.samples", None)
    data, what, face = smoke.choose_picture(None)
    assert data.startswith(b"\x89PNG") and "generated" in what and not face


def shell(workshop, url, **variables):
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    names = {"HOST": host, "PORT": port, "PYTHON": sys.executable, "WAIT": "5"}
    return workshop.run("smoke.sh", **(names | variables))


def test_the_script_asks_every_detector(workshop, serve, own):
    result = shell(workshop, serve(good), PICTURE=own[1])
    assert result.returncode == 0, result.stdout + result.stderr
    assert "auto-annotator-face-detection at http://127.0.0.1:" in result.stdout
    assert result.stdout.count("  ok    ") == 4
    assert shell(workshop, serve(instead("boom", status=500)), PICTURE=own[1]).returncode == 1


def test_the_script_takes_the_pinned_port_and_brackets_ipv6(workshop):
    result = workshop.run("smoke.sh", DRY_RUN="1", PYTHON=sys.executable, HOST="::1")
    assert result.returncode == 0
    words = "--name auto-annotator-face-detection --function face-detection --wait 60"
    assert f"smoke.py http://\\[::1\\]:18101/ {words}" in result.stdout


def test_the_script_without_python(workshop):
    result = workshop.run("smoke.sh")
    assert result.returncode == 1
    assert "python3 is missing" in result.stderr and "PYTHON=" in result.stderr


def test_smoke_needs_no_package(repository):
    """On a host that has nothing but Python, without site-packages."""
    command = [sys.executable, "-I", "-S", str(repository / "deploy" / "smoke.py"), "http://127.0.0.1:1/", "--wait", "0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 2
    assert "nobody is ready" in result.stderr
