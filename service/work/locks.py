"""Who may run: one ``serve`` over an SQLite file, and one living process for each executor id.

Two processes with the same executor id would run each other's workflows a second time. Locks are the operating system's
(``flock``) for SQLite and the server's (advisory, held by a session) for PostgreSQL: both end with their holder, however it ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from service.errors import ConfigurationError
from service.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Engine

#: how long to wait for a process that is just ending
PATIENCE_SECONDS = 12.0
_PAUSE_SECONDS = 0.1


@contextmanager
def only_serve(settings: Settings, *, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Hold the lock file of an SQLite database; nothing for PostgreSQL.

    Raises
    ------
    ConfigurationError
        Another process holds it.
    """
    database = sqlite_file(settings)
    if database is None:
        yield
        return
    path = database.with_name(f"{database.name}.serve.lock")
    with _held(path, patience, "another 'lms-sr serve'"):
        yield


@contextmanager
def only_executor(engine: Engine, executor: str, *, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Be the one process that works as ``executor`` on the engine's database.

    Raises
    ------
    ConfigurationError
        Another process does.
    """
    if engine.dialect.name == "sqlite":
        database = Path(str(engine.url.database)).resolve()
        with _held(database.with_name(f"{database.name}.{executor}.lock"), patience, f"another process '{executor}'"):
            yield
        return
    key = int.from_bytes(hashlib.sha256(f"lms-sr {executor}".encode()).digest()[:8], "big", signed=True)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # back in the pool the session would live on, and hold the lock
        connection.detach()
        deadline = time.monotonic() + patience
        while not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({key})").scalar():
            if time.monotonic() >= deadline:
                msg = f"another process works as '{executor}' on this database: end it, or start this one with another --slot"
                raise ConfigurationError(msg)
            time.sleep(_PAUSE_SECONDS)
        # as long as the session lives, and no longer
        yield


def sqlite_file(settings: Settings) -> Path | None:
    """Return the file of an SQLite database, or None for another database."""
    scheme, _, path = settings.database.url.get_secret_value().partition(":///")
    if not scheme.startswith("sqlite"):
        return None
    return Path(path.partition("?")[0] or "lms-sr.db").resolve()


@contextmanager
def _held(path: Path, patience: float, who: str) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("a+", encoding="ascii")
    except OSError as error:
        msg = f"lock file {path} cannot be written ({error.strerror}): let the service's user write in that folder"
        raise ConfigurationError(msg) from error
    with stream:
        deadline = time.monotonic() + patience
        while not _lock(stream):
            if time.monotonic() >= deadline:
                stream.seek(0)
                msg = f"{who} (process {stream.read(20).strip() or 'unknown'}) uses this database: stop it first; lock file {path}"
                raise ConfigurationError(msg)
            time.sleep(_PAUSE_SECONDS)
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        # the file stays: to remove it would let a second process lock another file of the same name
        yield


def _lock(stream: TextIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
