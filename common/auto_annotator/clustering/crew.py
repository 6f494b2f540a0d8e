"""The workers of a Dask scheduler: found, checked, given tasks; every way they can fail is told as one sentence."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from auto_annotator.clustering.tasks import look, release
from auto_annotator.errors import ConfigError

CONNECT_SECONDS = 10
WORKERS_SECONDS = 60
"""How long to wait for a first worker, and for another one when all are lost."""

ADDRESS = re.compile(r"((tcp|tls|ucx|ws|wss)://)?[^\s/]+:\d{1,5}")
"""What a client may be given; of others some make it wait without end."""

POLL_SECONDS = 2.0
INSTALL = "pip install 'auto-annotator[dask]'"


class Crew:
    """Workers that do tasks; made by `connect`."""

    def __init__(self, client: Any, address: str, *, patience: float = WORKERS_SECONDS) -> None:
        self._client, self._address, self._patience = client, address, patience

    def check(self, folder: Path) -> None:
        """See that every worker has this version of the package and sees the shared folder.

        Raises:
            ConfigError: names the first worker that does not.
        """
        from auto_annotator import __version__

        try:
            self._client.wait_for_workers(1, timeout=self._patience)
        except TimeoutError as error:
            raise ConfigError(
                f"scheduler {self._address}: no worker after {self._patience:.0f} s, expected at least one;"
                f" start some: dask worker {self._address}"
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        token = folder / f".look-{uuid.uuid4().hex}"
        token.touch()
        try:
            answers = self._client.run(look, str(folder), token.name, on_error="return")
        finally:
            token.unlink(missing_ok=True)
        for worker, answer in answers.items():
            if isinstance(answer, BaseException):
                raise ConfigError(f"worker {worker}: {answer}; expected auto-annotator {__version__} there, install it: {INSTALL}")
            version, seen = answer
            if version != __version__:
                raise ConfigError(
                    f"worker {worker}: got auto-annotator {version}, expected {__version__} as here; install it there"
                )
            if not seen:
                raise ConfigError(
                    f"worker {worker}: {folder} is not there, expected a folder that all machines share under one path"
                )

    def run(self, task: Callable[..., None], arguments: Sequence[tuple[Any, ...]], tell: Callable[[float], None]) -> None:
        """Do a task with each tuple of arguments; a worker that is lost has its tasks done by another.

        Raises:
            ConfigError: if no worker is left, the connection is lost or a task fails.
        """
        futures = [self._client.submit(task, *given, pure=False) for given in arguments]
        try:
            with told_plainly(self._address):
                self._wait(futures, tell)
        finally:
            with suppress(Exception):  # the connection may be what was lost
                self._client.cancel(futures, force=True)

    def _wait(self, futures: list[Any], tell: Callable[[float], None]) -> None:
        from distributed import wait

        pending, last_seen = set(futures), time.monotonic()
        while pending:
            try:
                with self._client.as_current():
                    done, pending = wait(pending, timeout=POLL_SECONDS, return_when="FIRST_COMPLETED")
            except TimeoutError:
                done = set()
            for future in done:
                if future.status != "finished":
                    future.result()  # raises what happened
                    raise ConfigError(f"scheduler {self._address}: a task was {future.status}, expected a result; run again")
            if done or self._has_workers():
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > self._patience:
                raise ConfigError(
                    f"scheduler {self._address}: got no worker for {self._patience:.0f} s, expected at least one;"
                    " start some and run again with the same workspace: finished blocks are kept"
                )
            tell(1 - len(pending) / len(futures))

    def _has_workers(self) -> bool:
        return self._client.status == "running" and bool(self._client.nthreads())

    def close(self) -> None:
        """Let the workers forget the vectors, and go."""
        with suppress(Exception):  # the result is there; a scheduler that is gone is no reason to lose it
            self._client.run(release)
        with suppress(Exception):
            self._client.close(timeout=CONNECT_SECONDS)


@contextmanager
def connect(address: str, folder: Path, *, patience: float = WORKERS_SECONDS) -> Iterator[Crew]:
    """Workers of the scheduler at an address, checked.

    Args:
        address: such as tcp://10.0.0.1:8786.
        folder: the shared folder.
        patience: seconds to wait for workers.

    Raises:
        ConfigError: if Dask is missing here, the scheduler cannot be reached, or a worker cannot take part.
    """
    try:
        import pyarrow.parquet  # noqa: F401, a missing one is better told now than by a worker
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            f"scheduler {address}: {error.name or 'dask'} is not installed, expected Dask and pyarrow; {INSTALL}"
        ) from error
    if not ADDRESS.fullmatch(address):
        raise ConfigError(f"scheduler: got the address '{address}', expected one such as tcp://10.0.0.1:8786")
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="auto-annotator")
    except (OSError, TimeoutError, ValueError, RuntimeError) as error:
        reason = str(error) or type(error).__name__
        raise ConfigError(
            f"scheduler {address}: got {reason}; expected a running Dask scheduler such as tcp://10.0.0.1:8786"
        ) from error
    crew = Crew(client, address, patience=patience)
    try:
        crew.check(folder)
        yield crew
    finally:
        crew.close()


@contextmanager
def told_plainly(address: str) -> Iterator[None]:
    """What goes wrong far away, as a ConfigError."""
    from concurrent.futures import CancelledError

    from distributed.scheduler import KilledWorker

    try:
        yield
    except KilledWorker as error:
        raise ConfigError(
            f"scheduler {address}: workers died at the same task again and again, expected them to last;"
            " most often their memory is too small: each process holds all vectors (1 GB a million) and the index"
        ) from error
    except RuntimeError as error:
        if "deserialization" not in str(error):
            raise
        from auto_annotator import __version__

        raise ConfigError(
            f"scheduler {address}: it cannot read the tasks, expected auto-annotator {__version__} on the scheduler's machine too;"
            f" {INSTALL} there, with the same Python and Dask as here"
        ) from error
    except (CancelledError, OSError, ImportError, TimeoutError) as error:
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        raise ConfigError(
            f"scheduler {address}: got {reason}; expected workers that stay in reach, with the same packages and folder; run again"
        ) from error
