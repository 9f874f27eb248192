"""The schema: brought up to date by one process before any other starts, and only verified by all others."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from service.errors import ConfigurationError
from service.store.engine import check

_FOLDER = Path(__file__).parent / "migrations"
#: the workflow engine's tables, which live in the same database and are its own
FOREIGN_TABLES = frozenset(
    {
        "workflow_status", "workflow_events", "workflow_events_history", "workflow_schedules", "operation_outputs", "notifications",
        "streams", "queues", "event_dispatch_kv", "application_versions", "dbos_migrations", "sqlite_sequence",
    }
)  # fmt: skip


def is_ours(name: str | None, kind: str) -> bool:
    """Say whether a table is ours: the engine's tables are left alone by migrations."""
    return kind != "table" or (
        name is not None and name not in FOREIGN_TABLES and not name.startswith(("workflow_", "dbos_"))
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.set_main_option("path_separator", "os")
    return config


def head() -> str:
    """Return the revision that this software needs."""
    found = ScriptDirectory.from_config(_config()).get_current_head()
    if found is None:
        msg = "this installation has no migrations: install it again"
        raise ConfigurationError(msg)
    return found


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the schema up to date.

    Raises
    ------
    ConfigurationError
        The database does not answer.
    """
    check(engine)
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema back to ``revision`` (``base``: no tables)."""
    config = _config()
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def revision(engine: Engine) -> str | None:
    """Return the revision of the database, or None for an empty one."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def verify(engine: Engine) -> None:
    """See that the schema is the one that this software needs.

    Raises
    ------
    ConfigurationError
        It is not, or the database does not answer: the message says what to run.
    """
    check(engine)
    try:
        found = revision(engine)
    except OperationalError as error:
        msg = "the database cannot be read: see that its file or server is the one of this service"
        raise ConfigurationError(msg) from error
    if found != head():
        msg = f"the database has schema {found or 'none'}, this version needs {head()}: run 'lms-sr db upgrade'"
        raise ConfigurationError(msg)
