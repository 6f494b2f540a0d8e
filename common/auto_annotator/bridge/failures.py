"""Texts for what can go wrong between us and a CVAT server: what it is and what to do; never what was sent or received."""

from __future__ import annotations

from urllib.parse import urlsplit

from auto_annotator.bridge.errors import ServerError, Unsure

_LOG_IN_ANEW = "make a new token in CVAT (your profile, Security) and set CVAT_ACCESS_TOKEN, or give --auth USER"

# Names of exceptions of urllib3, http.client and the system, as they stand in a chain of causes.
_TLS = frozenset({"SSLError", "SSLCertVerificationError", "CertificateError"})
_NO_HOST = frozenset({"NameResolutionError", "gaierror", "LocationParseError", "LocationValueError", "UnicodeError", "InvalidURL"})
_NOBODY = frozenset({"NewConnectionError", "ConnectionRefusedError", "ConnectTimeoutError"})
_SLOW = frozenset({"ReadTimeoutError", "TimeoutError"})
_BROKEN = frozenset(
    {"ProtocolError", "IncompleteRead", "RemoteDisconnected", "ConnectionResetError", "BrokenPipeError", "InvalidChunkLength",
     "DecodeError", "MaxRetryError", "HTTPError", "OSError"}
)  # fmt: skip


def refused(host: str, what: str, status: int, *, html: bool = False) -> ServerError:
    """An answer that repeating does not change."""
    if status == 401:
        text = (
            f"{host} refused the login (401): the access token is expired, revoked or wrong, or the session ended; {_LOG_IN_ANEW}"
        )
    elif status == 403:
        text = (
            f"{what}: this account may not do that on {host} (403): ask the owner for access, or give the right --org and account"
        )
    elif status == 404 and html:
        text = f"{what}: {host} answered 404 with a web page, expected CVAT's API: check --server-host and --server-port"
    elif status == 404:
        text = (
            f"{what} is not on {host}, or this account cannot see it (404): check the number, the account, "
            "and --org if it belongs to an organization"
        )
    elif status == 413:
        text = f"{what}: the request is larger than the proxy before {host} lets through (413): raise its body limit"
    else:
        text = f"{what}: {host} refused the request ({status}); the server's log has the reason"
    return ServerError(text, status=status)


def web_page(host: str, content_type: str, status: int) -> ServerError:
    """A body that is no JSON where CVAT's API would send some."""
    got = "a web page" if "html" in content_type else "an answer that is not JSON"
    return ServerError(
        f"{host} answered with {got}, expected CVAT's API: check --server-host and --server-port, "
        "and whether a proxy asks for a login of its own",
        status=status,
    )


def redirected(host: str, location: str, status: int) -> ServerError:
    """Tokens are not sent on to another address without being asked to."""
    target = urlsplit(location)
    address = (
        f"{target.scheme}://{target.hostname}" + (f":{target.port}" if target.port else "") if target.hostname else "another page"
    )
    return ServerError(f"{host} redirects to {address} ({status}): give that address as --server-host", status=status)


def broken_connection(error: BaseException, *, host: str, what: str, known: bool) -> ServerError:
    """What an exception of the HTTP library means.

    Args:
        error: the exception; its text is not used, it may hold an address with credentials.
        host: the server.
        what: what was asked for.
        known: the server has answered before in this run, so that its address is right.

    Returns:
        `Unsure` where another try makes sense.
    """
    names = {type(cause).__name__ for cause in _causes(error)}
    kind = Unsure if known else ServerError
    if names & _TLS or _says_ssl(error):
        text = (
            f"{host}: the TLS certificate or protocol was not accepted: check the address and the port (http or https), "
            "trust the server's certificate authority (SSL_CERT_FILE), or use --insecure"
        )
        return ServerError(text)
    if names & _NO_HOST:
        return kind(f"{host}: there is no host of that name: check --server-host and the network")
    if names & _NOBODY:
        return kind(f"{host}: nothing answers there (refused or no route): check --server-host, --server-port and that CVAT runs")
    if names & _SLOW:
        return Unsure(f"{what}: {host} did not answer in time: try again later")
    if names & _BROKEN:
        return Unsure(f"{what}: the connection to {host} broke off: try again later")
    return ServerError(f"{what}: the request to {host} failed ({type(error).__name__})")


def _causes(error: BaseException) -> list[BaseException]:
    """The exception, what caused it, and what urllib3 keeps in `reason`."""
    found: list[BaseException] = []
    todo: list[object] = [error]
    while todo:
        item = todo.pop()
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            todo += [item.__cause__, item.__context__, getattr(item, "reason", None)]
    return found


def _says_ssl(error: BaseException) -> bool:
    """cvat-sdk turns TLS failures into an exception of its own whose reason is a text."""
    return any(str(getattr(cause, "reason", "")).startswith("SSLError") for cause in _causes(error))
