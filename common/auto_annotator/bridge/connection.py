"""Logging in exactly as cvat-cli does, with errors a person can act on."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from auto_annotator.bridge.errors import ServerError
from auto_annotator.bridge.failures import broken_connection, web_page
from auto_annotator.bridge.server import Server
from auto_annotator.bridge.transport import Transport
from auto_annotator.errors import AutoAnnotatorError, ConfigError

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
        client = make_client_from_cli(_looked_at_first(parameters))
    except CvatSdkException as error:  # its own words about profiles and addresses
        raise ConfigError(f"cvat-sdk: {error}") from None
    except EOFError:
        raise ServerError(
            "the password cannot be asked without a terminal: set CVAT_ACCESS_TOKEN, or PASS with --auth USER"
        ) from None
    except AutoAnnotatorError:
        raise
    except Exception as error:
        raise _login_failed(error, str(getattr(parameters, "server_host", None) or "the server")) from None
    return Server(client)


def _looked_at_first(parameters: argparse.Namespace | Any) -> Any:
    """The same parameters; a server that is none is found out before a password is asked for and sent."""
    from cvat_sdk.core.auth import ClientAuthParameters
    from cvat_sdk.core.client import Client, Config

    known = isinstance(parameters, ClientAuthParameters)
    looked = copy(parameters) if known else ClientAuthParameters.from_namespace(parameters)
    credentials = looked.auth
    if credentials is None:
        return looked

    def auth(url: str) -> Any:
        client = Client(url, config=Config(verify_ssl=not looked.insecure), check_server_version=False)
        try:
            Transport(client).read_json("server_api.retrieve_about", what="the server")
        except ServerError as error:
            if error.status not in (401, 403):  # some let nobody look before the login
                raise
        return credentials(url)

    looked.auth = auth
    return looked


def _login_failed(error: Exception, host: str) -> ServerError:
    host = host.rpartition("@")[2]
    status = getattr(error, "status", None)
    if status in (400, 401, 403):
        return ServerError(f"{host} refused the login ({status}): check the user name and the password of --auth", status=status)
    if status in (404, 405) or (isinstance(error, (AssertionError, TypeError, ValueError)) and not isinstance(error, UnicodeError)):
        return web_page(host, "html", status or 200)
    return broken_connection(error, host=host, what="login", known=False)
