"""The real workflow engine on both databases: what is asked for is done, once, later where it says so, and again after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter

import pytest
from dbos import DBOS
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.orm import Session

from service.clock import SystemClock
from service.errors import ConfigurationError
from service.settings import Database, Settings
from service.store.engine import make_engine
from service.work import database
from service.work import engine as engine_module
from service.work.engine import DbosJobs, Runner
from service.work.jobs import Job
from tests.helpers import ROOT


def job(name, lane="one", workflow="note", args=None):
    return Job(workflow=workflow, id=name, lane=lane, args=(name,) if args is None else args)


def wait(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


class Notes:
    """Workflows that keep what they were run for."""

    def __init__(self):
        self.done = Counter()
        self.times = {}
        self.gate = threading.Event()

    def note(self, name):
        self.done[name] += 1
        self.times[name] = time.monotonic()
        return "noted"

    def hold(self, name):
        self.done[name] += 1
        self.gate.wait(20)
        return "held"

    def fail(self, name):
        self.done[name] += 1
        raise ZeroDivisionError

    @property
    def workflows(self):
        # functions: the engine marks what it is given, which methods do not allow
        def note(name):
            return self.note(name)

        def hold(name):
            return self.hold(name)

        def fail(name):
            return self.fail(name)

        return {"note": note, "hold": hold, "fail": fail}


@pytest.fixture
def migrated(database_url):
    """Our tables and the engine's."""
    database.migrate(Settings(database=Database(url=SecretStr(database_url))))
    made = make_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def notes():
    made = Notes()
    yield made
    made.gate.set()


@pytest.fixture
def running(migrated, database_url, notes):
    own = make_engine(database_url)
    runner = Runner.start(own, "work-0", notes.workflows)
    yield DbosJobs(migrated)
    notes.gate.set()
    runner.stop(5)
    own.dispose()


@pytest.fixture
def ask(migrated, running):
    def ask(*jobs, delay=0.0, commit=True):
        with Session(migrated) as session:
            for one in jobs:
                running.enqueue(session, one, delay=delay)
            if commit:
                session.commit()
            else:
                session.rollback()

    return ask


def test_what_the_engine_promises(ask, notes, running):
    """One start for all that needs no start of its own: it takes a second each."""
    # a job of a transaction that is rolled back is not run, and one that is asked for twice is run once
    ask(job("rolled back"), commit=False)
    ask(job("twice"), job("twice"))
    wait(lambda: notes.done["twice"])
    ask(job("twice"))
    # a delayed one waits
    started = time.monotonic()
    ask(job("delayed"), delay=0.6)
    # lanes do not stand in each other's way: one is full of jobs that hold
    ask(*(job(f"slow {n}", lane="slow", workflow="hold") for n in range(12)))
    wait(lambda: sum(notes.done[f"slow {n}"] for n in range(12)) == engine_module.LANE_WORKERS)
    ask(job("quick", lane="quick"))
    wait(lambda: notes.done["quick"])
    assert sum(notes.done[f"slow {n}"] for n in range(12)) == engine_module.LANE_WORKERS
    wait(lambda: notes.done["delayed"])
    assert notes.times["delayed"] - started >= 0.6
    notes.gate.set()
    wait(lambda: sum(notes.done[f"slow {n}"] for n in range(12)) == 12)
    assert notes.done["twice"] == 1
    assert notes.done["rolled back"] == 0
    wait(lambda: running.status(job("quick")).status == "SUCCESS")
    assert running.status(job("rolled back")) is None
    # what ends with an exception is never run again by itself, is found, and can be forgotten; so is what ended well
    ask(job("fault", workflow="fail"))
    wait(running.failed)
    assert running.failed() == ("fault",)
    now = SystemClock().now()
    assert running.finished(now - engine_module.dt.timedelta(hours=1)) == ()
    ended = running.finished(now + engine_module.dt.timedelta(hours=1))
    assert {"quick", "delayed", "twice"} <= set(ended)
    running.forget(("fault", *ended))
    running.forget(())
    assert (running.failed(), running.status(job("quick"))) == ((), None)
    assert notes.done["fault"] == 1


def test_a_database_without_the_engines_tables_says_what_to_run(engine, database_url, notes):
    own = make_engine(database_url)
    with pytest.raises(ConfigurationError, match="run 'lms-sr db upgrade'"):
        Runner.start(own, "work-0", notes.workflows)
    own.dispose()


def test_migrating_twice_is_nothing_new_and_our_tables_are_verified(migrated, database_url):
    database.migrate(Settings(database=Database(url=SecretStr(database_url))))
    database.verify_own(migrated)
    with migrated.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
    with pytest.raises(ConfigurationError, match="run 'lms-sr db upgrade'"):
        database.verify_own(migrated)


_CHILD = """
    import sys, time
    from service.store.engine import make_engine
    from service.work.engine import Runner

    def act(name, seconds):
        with open(sys.argv[2], "a") as stream:
            stream.write(f"{name}\\n")
        time.sleep(seconds)
        return "done"

    if __name__ == "__main__":
        runner = Runner.start(make_engine(sys.argv[1]), "work-0", {"act": lambda name: act(name, float(sys.argv[3]))})
        print("ready", flush=True)
        sys.stdin.readline()
        runner.stop(5)
"""


def test_what_a_killed_process_left_unfinished_is_run_again_by_the_next_of_its_name(migrated, database_url, tmp_path):
    script, record = tmp_path / "child.py", tmp_path / "record"
    script.write_text(textwrap.dedent(_CHILD))
    record.write_text("")

    def start(seconds):
        child = subprocess.Popen(
            [sys.executable, script, database_url, record, str(seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert child.stdout.readline() == b"ready\n"
        return child

    def end(child):
        child.communicate(b"\n", timeout=30)

    queue = DbosJobs(migrated)
    first = start(60)
    try:
        with Session(migrated) as session:
            queue.enqueue(session, job("a", workflow="act"))
            queue.enqueue(session, job("b", lane="two", workflow="act"))
            session.commit()
        wait(lambda: sorted(record.read_text().split()) == ["a", "b"])
    finally:
        first.send_signal(signal.SIGKILL)
        end(first)
    second = start(0)
    try:
        wait(lambda: sorted(record.read_text().split()) == ["a", "a", "b", "b"])
        wait(lambda: queue.status(job("a")).status == queue.status(job("b")).status == "SUCCESS")
    finally:
        end(second)
    assert second.returncode == 0


@pytest.fixture(autouse=True)
def no_engine_is_left():
    yield
    DBOS.destroy(destroy_registry=True)
