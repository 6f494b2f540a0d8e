"""Logging in as cvat-cli does, wrong servers, and secrets that never show."""

from __future__ import annotations

import argparse
import logging
import socket
import sys
from pathlib import Path

import pytest
from cvat_sdk.core.auth import AuthStore, ProfileEntry, configure_client_auth_arguments
from fake_cvat import FakeCvat

from auto_annotator.bridge.connection import open_server
from auto_annotator.bridge.errors import ServerError
from auto_annotator.cli import main
from auto_annotator.errors import ConfigError

sys.path.insert(0, str(Path(__file__).parent))
from scripted_answers import HTML, Scripted

CANARY = "canary-4711-secret"


@pytest.fixture
def fake():
    with FakeCvat(seed=3) as server:
        yield server


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No credentials but those of the test, and no waits."""
    for name in ("CVAT_ACCESS_TOKEN", "PASS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("AUTO_ANNOTATOR_CVAT_RETRY_SECONDS", "0")


def options(*words):
    parser = argparse.ArgumentParser()
    configure_client_auth_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def test_a_token_of_the_environment(fake, monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", fake.token)
    server = open_server(options("--server-host", fake.url))
    assert server.host == fake.url and server.version == "2.54.1"


def test_a_password_beats_the_token_of_the_environment(fake, monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", CANARY)
    task = fake.make_task(frames=1)
    server = open_server(options("--server-host", fake.url, "--auth", ":".join(fake.login)))
    job = server.tasks(tasks=[task.id])[0].jobs[0].id
    server.patch(job, "create", {"shapes": []})  # a session needs its CSRF token too
    assert fake.writes == 1 == server.writes


def test_the_password_of_the_environment(fake, monkeypatch):
    monkeypatch.setenv("PASS", fake.login[1])
    assert open_server(options("--server-host", fake.url, "--auth", fake.login[0])).version


def test_profiles(fake, monkeypatch):
    store = AuthStore()
    store.put_profile("mine", ProfileEntry(server=fake.url, token=fake.token, created_date=""))
    assert open_server(options("--profile", "mine")).host == fake.url
    assert open_server(options()).host == fake.url  # the first one saved is the default
    with pytest.raises(ConfigError, match="mutually exclusive"):
        open_server(options("--profile", "mine", "--server-host", fake.url))
    with pytest.raises(ConfigError, match="Unknown profile"):
        open_server(options("--profile", "other"))


def test_an_organization_goes_along(fake, monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", fake.token)
    task = fake.make_task(frames=1, organization=fake.add_organization("lab"))
    assert open_server(options("--server-host", fake.url, "--org", "lab")).tasks(tasks=[task.id])


def test_a_wrong_password(fake):
    with pytest.raises(ServerError, match=r"refused the login.*user name and the password") as caught:
        open_server(options("--server-host", fake.url, "--auth", f"{fake.login[0]}:{CANARY}"))
    assert CANARY not in str(caught.value)


def test_a_password_that_cannot_be_asked(fake, monkeypatch):
    def ask(prompt):
        raise EOFError

    monkeypatch.setattr("getpass.getpass", ask)
    with pytest.raises(ServerError, match="without a terminal: set CVAT_ACCESS_TOKEN"):
        open_server(options("--server-host", fake.url, "--auth", "somebody"))


def test_nobody_listens(monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", CANARY)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        for words in ([], ["--auth", f"me:{CANARY}"]):
            with pytest.raises(ServerError, match="nothing answers there") as caught:
                open_server(options("--server-host", "http://127.0.0.1", "--server-port", port, *words))
            assert CANARY not in str(caught.value)


def test_no_such_host_and_no_such_address(monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", CANARY)
    with pytest.raises(ServerError, match="no host of that name"):
        open_server(options("--server-host", "http://nowhere.invalid"))
    with pytest.raises(ConfigError, match="schema"):
        open_server(options("--server-host", "ftp://localhost"))


def test_https_where_there_is_none(fake, monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", CANARY)
    for words in ([], ["--auth", f"me:{CANARY}"]):
        with pytest.raises(ServerError, match=r"TLS certificate or protocol.*--insecure") as caught:
            open_server(options("--server-host", fake.url.replace("http", "https"), *words))
        assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ((200, HTML, f"<html>{CANARY}</html>"), "a web page, expected CVAT's API"),
        ((200, {}, {"hello": CANARY}), "not as CVAT's API"),
        ((200, {}, [CANARY]), "not as CVAT's API"),
        ((404, HTML, f"<html>{CANARY}</html>"), "404"),
        ((302, {"Location": f"https://login.example.com/?next={CANARY}"}, b""), "redirects to https://login.example.com"),
        ((302, {"Location": "/login"}, b""), "redirects to another page"),
        ((401, {}, {"detail": CANARY}), "expired, revoked or wrong"),
        ((403, {}, {"detail": CANARY}), "403"),
        ((500, {}, {"detail": CANARY}), "500"),
        ((200, {}, b"\xff\xfe"), "not JSON"),
    ],
)
@pytest.mark.parametrize("auth", [(), ("--auth", f"me:{CANARY}")])
def test_something_else_answers(monkeypatch, answer, text, auth):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", CANARY)
    with Scripted(answer) as other, pytest.raises(ServerError) as caught:
        open_server(options("--server-host", other.url, *auth))
    assert CANARY not in str(caught.value) and other.url in str(caught.value)
    if auth and answer[0] in (401, 403):
        text = f"refused the login ({answer[0]})"
    elif auth and "not as CVAT's API" in text:  # found out by the login
        text = "expected CVAT's API"
    assert text in str(caught.value)


def test_a_password_is_not_asked_for_a_server_that_is_none(monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt: pytest.fail("asked"))
    with Scripted((404, HTML, "<html>")) as other, pytest.raises(ServerError, match="web page"):
        open_server(options("--server-host", other.url, "--auth", "me"))


def test_a_password_in_the_address_is_not_shown(fake, monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", fake.token)
    server = open_server(options("--server-host", fake.url.replace("http://", f"http://me:{CANARY}@")))
    assert server.host == fake.url and CANARY not in server.job_url(1, 2)


def test_a_token_is_not_carried_to_another_address(monkeypatch):
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", CANARY)
    with Scripted((200, {}, {"version": "2.54"})) as target, Scripted((301, {"Location": target.url}, b"")) as first:
        with pytest.raises(ServerError, match="redirects"):
            open_server(options("--server-host", first.url))
        assert target.seen == [] and CANARY in str(first.seen)


def test_nothing_secret_is_logged_or_printed(fake, monkeypatch, capsys, caplog):
    """Tokens, passwords and sessions in no line, even with every logger at its most talkative."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", fake.token)
    task = fake.make_task(frames=1, labels=[], names=[f"{CANARY}.jpg"])
    fake.fault("status", status=503, count=2, path="/labels")
    words = ["--verbose", "cvat", "setup", "--task", str(task.id), "--yes", "--server-host", fake.url]
    assert main(words) == 0
    assert main([*words, "--auth", ":".join(fake.login)]) == 0
    fake.expire_token()
    assert main(words) == 2
    shown = capsys.readouterr()
    for secret in (fake.token, fake.login[1], *fake.sessions, CANARY, "Authorization", "Cookie"):
        assert secret not in shown.out + shown.err + caplog.text


def test_without_the_sdk_the_commands_say_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cvat_sdk.core.auth", None)
    assert main(["cvat", "setup", "--task", "1"]) == 2
    assert "pip install 'auto-annotator[cvat]'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="auto-annotator"):
        open_server(argparse.Namespace())
