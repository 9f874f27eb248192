"""Both databases: every test that takes ``database_url`` runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url

from service.store import schema
from service.store.engine import make_engine
from tests import postgres
from tests.integration.world import World

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Run one PostgreSQL for all tests of the session."""
    with postgres.running() as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite file with today's schema, to be copied: migrating anew for each test took half of its time."""
    path = tmp_path_factory.mktemp("template") / "lms-sr.db"
    made = make_engine(f"sqlite:///{path}")
    schema.upgrade(made)
    made.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> str:
    """Return the name of a PostgreSQL database with today's schema, to be copied."""
    admin = create_engine(postgres_server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE DATABASE migrated"))
    admin.dispose()
    made = make_engine(make_url(postgres_server).set(database="migrated").render_as_string(hide_password=False))
    schema.upgrade(made)
    made.dispose()
    return "migrated"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a database: with today's schema where the test takes ``engine`` too, else empty."""
    migrated = "engine" in request.fixturenames
    if request.param == "sqlite":
        if migrated:
            shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "lms-sr.db")
        yield f"sqlite:///{tmp_path / 'lms-sr.db'}"
        return
    server = request.getfixturevalue("postgres_server")
    template = f" TEMPLATE {request.getfixturevalue('postgres_template')}" if migrated else ""
    name = f"test_{next(_numbers)}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}{template}"))
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def make_world(engine: Engine, tmp_path: Path) -> Callable[..., World]:
    """Return what makes an installation with some nodes and settings."""
    return partial(World.make, engine, tmp_path)


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """Return an installation that knows one PACS, which can be asked and takes reports."""
    return make_world()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Return an engine on a database with today's schema."""
    made = make_engine(database_url)
    schema.verify(made)
    yield made
    made.dispose()
