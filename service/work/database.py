"""The one database of both: our tables and the workflow engine's, brought up to date together, verified together."""

from __future__ import annotations

import logging
import threading
import time

from dbos import DBOS
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from service.errors import ConfigurationError
from service.settings import Settings
from service.store import schema
from service.store.engine import make_engine

_log = logging.getLogger("lms_sr.database")

#: how long a start waits for a database that does not answer (servers that boot together)
PATIENCE_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 5.0


def migrate(settings: Settings, *, patience: float = PATIENCE_SECONDS) -> None:
    """Bring both schemas up to date; nothing happens where they are.

    Raises
    ------
    ConfigurationError
        The URL is wrong, or the database does not answer in time.
    """
    engine = make_engine(settings.database.url.get_secret_value())
    try:
        wait_for(engine, seconds=patience)
        # ours first: it sets the journal of a new SQLite file to WAL, which DBOS does not
        schema.upgrade(engine)
        DBOS.migrate(engine.url.render_as_string(hide_password=False))
        _log.info("database_ready", extra={"ids": {"schema": schema.revision(engine)}})
    finally:
        engine.dispose()


def wait_for(engine: Engine, *, seconds: float | None = None, stop: threading.Event | None = None) -> None:
    """Wait until the database answers: ``seconds`` at most, or until ``stop`` is set, or without end.

    After ``seconds`` it returns all the same: whoever asks next says what is wrong.
    """
    started, pause = time.monotonic(), 0.2
    stop = stop or threading.Event()
    while not stop.is_set():
        try:
            with engine.connect():
                return
        except DBAPIError as error:
            waited = time.monotonic() - started
            if seconds is not None and waited >= seconds:
                return
            ids = {"error": type(error.__cause__ or error).__name__, "waited_seconds": round(waited, 1)}
            _log.warning("database_does_not_answer", extra={"ids": ids})
        stop.wait(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


def is_away(error: DBAPIError) -> bool:
    """Say whether an error is the database's state (gone, locked, full, a deadlock): trying again may help, and it is no fault of ours."""
    return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated


def verify_own(engine: Engine) -> None:
    """See that our tables are there and of this version.

    Raises
    ------
    ConfigurationError
        They are not; the message says what to run.
    """
    schema.verify(engine)


def outdated() -> ConfigurationError:
    """Return what to raise where the workflow engine finds its tables missing or old."""
    return ConfigurationError(
        "the database lacks the tables of this version's workflow engine: run 'lms-sr db upgrade'"
    )
