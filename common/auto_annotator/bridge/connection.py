"""Logging in exactly as cvat-cli does, with errors a person can act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.failures import broken_connection, web_page
from auto_annotator.bridge.server import Server
from auto_annotator.errors import ConfigError

if TYPE_CHECKING:
    import argparse

NEEDS_SDK = "auto-annotator cvat needs cvat-sdk to talk to a server: pip install 'auto-annotator[cvat]'"


def open_server(parameters: argparse.Namespace | Any) -> Server:
    """Log in and see that a CVAT answers.

    Args:
        parameters: the options of `cvat_sdk.core.auth.configure_client_auth_arguments` as argparse gives them, or
            `cvat_sdk.core.auth.ClientAuthParameters`. What takes precedence is cvat-sdk's business: `--profile`, then
            `--server-host` and `--auth`, `CVAT_ACCESS_TOKEN`, the default profile.

    Raises:
        ConfigError: if cvat-sdk is missing, or the options contradict each other.
        ServerError: if the server cannot be reached, is no CVAT, or refuses the login.
    """
    try:
        from cvat_sdk.core.auth import make_client_from_cli
        from cvat_sdk.core.exceptions import CvatSdkException
    except ImportError:
        raise ConfigError(NEEDS_SDK) from None
    try:
        client = make_client_from_cli(parameters)
    except CvatSdkException as error:  # its own words about profiles and addresses
        raise ConfigError(f"cvat-sdk: {error}") from None
    except EOFError:
        raise ServerError(
            "the password cannot be asked without a terminal: set CVAT_ACCESS_TOKEN, or PASS with --auth USER"
        ) from None
    except Exception as error:
        raise _login_failed(error, str(getattr(parameters, "server_host", None) or "the server")) from None
    return Server(client)


def _login_failed(error: Exception, host: str) -> ServerError:
    host = host.rpartition("@")[2]
    status = getattr(error, "status", None)
    if status in (400, 401, 403):
        return ServerError(f"{host} refused the login ({status}): check the user name and the password of --auth", status=status)
    if status in (404, 405) or (isinstance(error, (AssertionError, TypeError, ValueError)) and not isinstance(error, UnicodeError)):
        return web_page(host, "html", status or 200)
    return broken_connection(error, host=host, what="login", known=False)
