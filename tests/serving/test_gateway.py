"""Every endpoint and every error row of the contract, without sockets."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import replace

import pytest
from contract_fakes import FakePipeline, as_base64, png
from cvat_rules import receive
from serving_fakes import NAME, AppClient, function_of, reply_of

from auto_annotator.config import Settings
from auto_annotator.cvat.labels import label_constructor
from auto_annotator.errors import ConfigError
from auto_annotator.serving.gateway import ServedFunction, dashboard_app, direct_app, require_extra
from auto_annotator.serving.limits import Limits
from auto_annotator.serving.requests import handle_body

CVAT = {"x-nuclio-project-name": "cvat", "x-nuclio-function-namespace": "nuclio"}
INVOKE = CVAT | {"x-nuclio-function-name": NAME, "x-nuclio-path": "/"}
INVOCATIONS = "/api/function_invocations"
PICTURE = json.dumps({"image": as_base64(png()), "threshold": 0.5})
SMALL = Limits(body_bytes=100)


async def _loaded(function, limits):
    one = ServedFunction(function, limits, port=18101)
    await one.load(Settings())
    return one


@pytest.fixture
def start():
    """Function: rows -> test client of the dashboard over them, loaded; `direct` = of the first one's own port."""
    opened = []

    def make(*rows, limits=None, direct=False):
        served = [asyncio.run(_loaded(row, limits or Limits())) for row in rows or (function_of(),)]
        opened.extend(served)
        app = direct_app(served[0]) if direct else dashboard_app(served)
        return AppClient(app)

    yield make
    for one in opened:
        one.close()


def error_of(reply, status):
    assert reply.status_code == status and reply.headers["content-type"] == "application/json"
    assert list(reply.json()) == ["error"]
    return reply.json()["error"]


def test_list_is_an_object_by_name(start):
    reply = start().get("/api/functions", headers=CVAT)
    assert reply.status_code == 200 and reply.headers["content-type"] == "application/json"
    (name, function), *rest = reply.json().items()
    assert name == function["metadata"]["name"] == NAME and not rest
    assert function["status"] == {"state": "ready", "httpPort": 18101} and function["spec"]["description"]


@pytest.mark.parametrize(
    ("project", "expected"),
    [("cvat", [NAME]), ("faces", ["descriptor"]), ("other", []), ("", [NAME, "descriptor"]), (None, [NAME, "descriptor"])],
)
def test_the_project_filter_hides_what_cvat_should_not_see(start, project, expected):
    client = start(function_of(), function_of(name="descriptor", project="faces", port=18102))
    headers = {} if project is None else {"x-nuclio-project-name": project}
    assert list(client.get("/api/functions", headers=headers).json()) == expected


@pytest.mark.parametrize("path", ["/api/functions", f"/api/functions/{NAME}"])
def test_an_empty_namespace_is_refused_and_any_other_taken(start, path):
    client = start()
    assert error_of(client.get(path, headers={"x-nuclio-function-namespace": ""}), 400) == "Namespace must exist"
    assert client.get(path, headers={"x-nuclio-function-namespace": "mine"}).status_code == 200
    assert client.get(path).status_code == 200


def test_get_is_the_same_object_as_in_the_list(start):
    client = start()
    one = client.get(f"/api/functions/{NAME}", headers=CVAT)
    assert one.json() == client.get("/api/functions", headers=CVAT).json()[NAME]
    assert error_of(client.get("/api/functions/other", headers=CVAT), 404) == "Function not found"


def test_invocation_gives_what_cvat_accepts(start):
    reply = start().post(INVOCATIONS, content=PICTURE, headers=INVOKE | {"content-type": "application/json"})
    assert reply.status_code == 200 and reply.headers["content-type"] == "application/json"
    verdict = receive(reply.text, label_constructor())
    assert sum(shape["type"] == "rectangle" for shape in verdict.shapes) == 2, "two of the fake's faces reach 0.5"
    assert not verdict.dropped_items and not verdict.dropped_attributes


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain", "", None])
def test_the_content_type_changes_nothing(start, content_type):
    client = start()
    headers = dict(INVOKE) if content_type is None else INVOKE | {"content-type": content_type}
    direct = start(direct=True)
    for reply in (client.post(INVOCATIONS, content=PICTURE, headers=headers), direct.post("/", content=PICTURE)):
        assert len(json.loads(reply.text)) >= 2


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff\xfe", b'{"image": 5}', b'{"image": "", "threshold": 7}'])
def test_a_body_that_is_no_request_is_400_by_both_ways(start, body):
    assert error_of(start().post(INVOCATIONS, content=body, headers=INVOKE), 400)
    assert error_of(start(direct=True).post("/", content=body), 400)


def test_a_picture_that_cannot_be_read_gets_a_tag_not_an_error(start):
    reply = start().post(INVOCATIONS, content=json.dumps({"image": as_base64(b"no picture")}), headers=INVOKE)
    assert reply.status_code == 200
    assert receive(reply.text, label_constructor()).tags[0]["attributes"]["reason"] == "not_an_image"


@pytest.mark.parametrize("name", [None, ""])
def test_no_function_name_is_400(start, name):
    headers = CVAT if name is None else CVAT | {"x-nuclio-function-name": name}
    assert error_of(start().post(INVOCATIONS, content=PICTURE, headers=headers), 400) == "Function name must be provided"


def test_an_unknown_function_is_404(start):
    reply = start().post(INVOCATIONS, content=PICTURE, headers=INVOKE | {"x-nuclio-function-name": "other"})
    assert error_of(reply, 404) == "Function not found"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/api", 404),
        ("POST", "/api/functions", 405),
        ("GET", INVOCATIONS, 405),
        ("DELETE", f"/api/functions/{NAME}", 405),
    ],
)
def test_other_paths_and_methods_answer_json(start, method, path, status):
    assert error_of(start().request(method, path, headers=CVAT), status)


def test_direct_mode_is_one_function_and_its_health(start):
    client = start(function_of(reply_of), direct=True)
    assert client.post("/", content=b"body").json() == {"got": "body"}
    assert client.get("/ready").status_code == 200
    assert error_of(client.get("/"), 405) and error_of(client.get("/api/functions"), 404)


@pytest.mark.parametrize("path", ["/__internal/health", "/ready", "/live"])
def test_health(start, path):
    assert start().get(path).status_code == 200


def test_status_type_and_body_of_the_function_go_through_unchanged(start):
    odd = replace(reply_of(), status=422, body="[1,  2]", content_type="text/x-odd")
    reply = start(function_of(lambda body: odd)).post(INVOCATIONS, content=b"", headers=INVOKE)
    assert (reply.status_code, reply.text) == (422, "[1,  2]") and reply.headers["content-type"].startswith("text/x-odd")


def test_the_body_limit_counts_bytes_exactly(start):
    client = start(function_of(reply_of), limits=SMALL)
    assert client.post(INVOCATIONS, content=b"x" * 100, headers=INVOKE).status_code == 200
    assert "100 bytes" in error_of(client.post(INVOCATIONS, content=b"x" * 101, headers=INVOKE), 400)


@pytest.mark.parametrize(
    "error", [RuntimeError("CANARY"), MemoryError("CANARY"), SystemExit("CANARY"), KeyboardInterrupt("CANARY")]
)
def test_whatever_a_function_raises_is_a_short_500_and_the_service_lives_on(start, error, caplog):
    answers = [error, None]

    def handler(body):
        if (raised := answers.pop(0)) is not None:
            raise raised
        return reply_of(body)

    client = start(function_of(handler))
    reply = client.post(INVOCATIONS, content=b"x", headers=INVOKE)
    assert error_of(reply, 500) and len(reply.content) < 200
    for text in (reply.text, *caplog.messages):
        assert "CANARY" not in text and "Traceback" not in text and ".py" not in text
    assert type(error).__name__ in caplog.messages[0]
    assert client.post(INVOCATIONS, content=b"x", headers=INVOKE).status_code == 200


def test_the_log_has_counts_sizes_times_and_nothing_of_the_request(start, caplog):
    caplog.set_level(logging.DEBUG)
    client = start()
    headers = INVOKE | {"authorization": "Bearer CANARYtoken", "user-agent": "CANARYagent"}
    client.post(f"{INVOCATIONS}?CANARYquery=1", content=PICTURE, headers=headers)
    client.post(INVOCATIONS, content=b'{"image": "CANARYbytes"}', headers=headers)
    client.post(INVOCATIONS, content=b'{"threshold": "CANARYthreshold"}', headers=headers)
    client.post(INVOCATIONS, content=b"", headers=headers | {"x-nuclio-function-name": "CANARYname"})
    client.get("/CANARYpath")
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("auto_annotator")]
    assert len(lines) == 3
    assert all(part in lines[0] for part in (f"{NAME}: answered: status=200", f"bytes={len(PICTURE)}", "faces=2", "milliseconds="))
    assert not [line for line in lines if "CANARY" in line or as_base64(png())[:20] in line]


def test_failures_of_the_pipeline_are_the_settings_choice(start):
    def failing(on_error):
        settings = Settings(on_error=on_error)
        return function_of(lambda body: handle_body(body, FakePipeline(RuntimeError("CANARY")), settings))

    tag = start(failing("tag")).post(INVOCATIONS, content=PICTURE, headers=INVOKE)
    assert tag.status_code == 200 and receive(tag.text, label_constructor()).tags
    assert error_of(start(failing("fail")).post(INVOCATIONS, content=PICTURE, headers=INVOKE), 500)


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_a_missing_extra_is_an_error_with_the_command(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{package}.*pip install 'auto-annotator\[serve\]'"):
        require_extra()
