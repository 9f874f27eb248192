"""The database engine: SQLite by default, PostgreSQL by URL, the same promises on both."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import CursorResult, Engine, Result, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from service.errors import ConfigurationError

#: how long a writer waits for another before it gives up
BUSY_SECONDS = 10


def parse_url(text: str) -> URL:
    """Return a database URL with the driver that we use.

    Raises
    ------
    ConfigurationError
        The URL is none, or names another database.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        msg = "[database] url is no database URL: use sqlite:///PATH or postgresql://USER@HOST/NAME"
        raise ConfigurationError(msg) from error
    if url.drivername in {"postgresql", "postgres", "postgresql+psycopg2"}:
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in {"sqlite", "sqlite+pysqlite", "postgresql+psycopg"}:
        msg = f"[database] url: '{url.drivername}' is not supported: use sqlite:///PATH or postgresql://USER@HOST/NAME"
        raise ConfigurationError(msg)
    return url


def make_engine(text: str) -> Engine:
    """Return an engine for ``text``, with the pragmas and transactions that "acknowledged means durable" needs.

    SQLite: WAL, synchronous=FULL (in WAL, NORMAL does not sync at commit), foreign keys, BEGIN IMMEDIATE: a deferred transaction that
    turns into a writer fails at once when another writer is there, an immediate one waits its turn.

    Raises
    ------
    ConfigurationError
        The URL is wrong, or the folder of the SQLite file cannot be made.
    """
    url = parse_url(text)
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": BUSY_SECONDS})
    if url.database and url.database != ":memory:":
        folder = Path(url.database).resolve().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"[database] url: folder {folder} cannot be made ({error.strerror}): choose another, or make it and give it to this user"
            raise ConfigurationError(msg) from error
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # the driver must not begin transactions by itself: `_begin_immediate` does
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_SECONDS * 1000}"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_immediate(connection: Any) -> None:
    # reads that never write say so (execution_options(read_only=True)) and do not queue behind writers
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def changed(result: Result[Any]) -> bool:
    """Say whether an update or delete met a row."""
    return isinstance(result, CursorResult) and result.rowcount > 0


def check(engine: Engine) -> None:
    """See that the database answers.

    Raises
    ------
    ConfigurationError
        It does not; the message names it without its password.
    """
    try:
        with engine.connect():
            pass
    except (OperationalError, SQLAlchemyError) as error:
        shown = engine.url.render_as_string(hide_password=True)
        cause = type(error.__cause__).__name__ if error.__cause__ else type(error).__name__
        msg = f"the database {shown} does not answer ({cause}): is the address right, the server up, the file writable?"
        raise ConfigurationError(msg) from error
