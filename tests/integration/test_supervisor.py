"""``serve`` as an administrator runs it: ready, asked to stop, killed, its children killed, and every setting that cannot work."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from service.demo.process import ServiceProcess, write_settings
from service.dimse import scu
from service.errors import ConfigurationError
from service.settings import Completion, Database, Local, Node, Settings, Storage
from service.work import locks, supervisor
from service.work.handover import Order, Ready
from service.work.jobs import run_at
from tests.helpers import free_port


def make_settings(folder: Path, **changes) -> Settings:
    given = {
        "storage": Storage(spool=folder / "spool", reserve_mb=0),
        "database": Database(url=SecretStr(f"sqlite:///{folder / 'lms-sr.db'}")),
        # one: what is asked here does not depend on the cores of the machine
        "local": Local(port=free_port(), receive_processes=1),
        "completion": Completion(quiet_seconds=1),
        "nodes": (Node(name="PACS", ae_title="PACS", **{"from": ("127.0.0.1",)}),),
    }
    return Settings(**{**given, **changes})


@pytest.fixture
def configure(tmp_path):
    def configure(**changes):
        return write_settings(tmp_path / "lms-sr.toml", make_settings(tmp_path, **changes))

    return configure


@pytest.fixture
def service(tmp_path, configure):
    with ServiceProcess(configure(), tmp_path / "log") as running:
        yield running


def records(tmp_path, event=""):
    found = []
    for line in (tmp_path / "log").read_text().splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.get("event") == event or not event:
            found.append(record)
    return found


def children(tmp_path):
    """The newest process of each role."""
    return {r["process"]: r["pid"] for r in records(tmp_path, "process_started") if r["process"] != "migrate"}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def answers(port):
    try:
        scu.echo(Settings(local=Local(ae_title="PACS")), Node(name="S", ae_title="LMS_SR", port=port))
    except Exception:  # noqa: BLE001 - whatever it is, it is no answer
        return False
    return True


def run_serve(config, *words, seconds=60):
    """Run ``serve`` to its end; return exit code and standard error."""
    command = [sys.executable, "-m", "service.cli", "serve", "--config", str(config), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    return done.returncode, done.stderr


class TestLife:
    def test_it_is_ready_is_killed_leaves_nothing_and_starts_again_where_it_was(self, tmp_path, configure):
        """One process for several promises: each start takes seconds."""
        config = configure()
        service = ServiceProcess(config, tmp_path / "log")
        service.start()
        try:
            assert service.port
            assert answers(service.port)
            before = children(tmp_path)
            assert set(before) == {"receive", "work"}
            # a child that is killed is started again, on its own
            os.kill(before["work"], signal.SIGKILL)
            wait(lambda: len(records(tmp_path, "ready")) == 2)
            after = children(tmp_path)
            assert (after["receive"], after["work"] != before["work"]) == (before["receive"], True)
            assert records(tmp_path, "process_died")[0]["process"] == "work"
            # a second one on the same file is refused in one line
            wait_less = (
                f"import service.work.locks as l; l.only_serve.__wrapped__.__kwdefaults__['patience'] = 0.2; {_CLI}"
            )
            done = subprocess.run(
                [sys.executable, "-c", wait_less, "serve", "--config", str(config), "--any-port"],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 2
            (line,) = done.stderr.splitlines()
            assert "another 'lms-sr serve' (process " in line
            # the parent is killed: its children end at once, and the port is free
            port = service.port
            service.kill()
            wait(lambda: not any(alive(p) for p in after.values()), 5)
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
            # and what was asked to stop, stops
            service.start()
            assert answers(service.port)
            last = children(tmp_path)
            assert service.stop() == 0
            wait(lambda: not any(alive(p) for p in last.values()), 5)
            assert records(tmp_path)[-1]["event"] == "stopped"
        finally:
            service.kill()

    def test_several_receiving_processes_start_behind_one_door_and_all_end(self, tmp_path, configure):
        settings = make_settings(tmp_path)
        local = settings.local.model_copy(update={"receive_processes": 2})
        service = ServiceProcess(configure(local=local), tmp_path / "log", roles=("receive",))
        service.start()
        try:
            started = children(tmp_path)
            assert set(started) == {"receive", "associate-1", "associate-2"}
            assert [r["roles"] for r in records(tmp_path, "ready")] == ["receive"]
            assert answers(service.port)
            # the door is killed: the next one listens on the same port, and the processes are still there
            os.kill(started["receive"], signal.SIGKILL)
            wait(lambda: len(records(tmp_path, "ready")) == 2)
            assert answers(service.port)
            # one of the two is killed: the other one serves
            os.kill(started["associate-1"], signal.SIGKILL)
            assert all(answers(service.port) for _ in range(4))
            wait(lambda: len(records(tmp_path, "ready")) == 3)
            assert service.stop() == 0
            wait(lambda: not any(alive(p) for p in children(tmp_path).values()), 5)
        finally:
            service.kill()

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
    def test_other_signals_that_ask_it_to_stop_do_too(self, tmp_path, configure, number):
        service = ServiceProcess(configure(), tmp_path / "log", roles=("receive",))
        service.start()
        process = service._process
        process.send_signal(number)
        assert process.wait(20) == 0
        service.kill()

    def test_it_stops_in_the_middle_of_its_start(self, tmp_path, configure):
        command = [sys.executable, "-m", "service.cli", "serve", "--config", str(configure()), "--any-port"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            assert "process_started" in process.stderr.readline()
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "stopped" in rest


_CLI = "from service.cli.commands import main; main()"


class TestWhatCannotWork:
    def test_a_port_in_use(self, tmp_path, configure):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            config = configure(local=Local(port=taken.getsockname()[1]))
            code, said = run_serve(config)
        assert code == 2
        wrong = [line for line in said.splitlines() if "misconfigured" in line]
        assert len(wrong) == 1
        assert str(taken) not in said
        assert "port" in wrong[0]
        assert "Traceback" not in said

    def test_a_spool_that_cannot_be_written(self, tmp_path, configure):
        (tmp_path / "file").write_text("")
        code, said = run_serve(
            configure(storage=Storage(spool=tmp_path / "file" / "spool", reserve_mb=0)), "--any-port"
        )
        assert code == 2
        assert "[storage] spool" in said
        assert "Traceback" not in said

    def test_a_role_alone_on_an_empty_database_says_what_to_run(self, configure):
        code, said = run_serve(configure(), "--role", "work")
        assert code == 2
        assert "lms-sr db upgrade" in said
        assert "Traceback" not in said

    def test_a_listener_that_is_switched_off(self, configure):
        code, said = run_serve(configure(local=Local(port=0)), "--role", "receive")
        assert code == 2
        assert "[local] port and tls_port are 0" in said

    def test_triage_rules_that_are_not_there(self, configure, tmp_path):
        from service.settings import Triage  # noqa: PLC0415 - here only

        code, said = run_serve(configure(triage=Triage(rules=str(tmp_path / "none.toml"))), "--any-port")
        assert code == 2
        assert "none.toml cannot be read" in said

    def test_a_role_that_is_none(self, configure):
        code, said = run_serve(configure(), "--role", "cook")
        assert (code, said.strip()) == (2, "lms-sr: 'cook' is no role: use receive or work")

    def test_no_role_at_all(self, tmp_path):
        with pytest.raises(ConfigurationError, match="no role to run"):
            supervisor.serve(make_settings(tmp_path), ())


class TestSupervisor:
    """The parent by itself, with children that are scripts."""

    @pytest.fixture
    def parent(self, tmp_path, monkeypatch):
        monkeypatch.setattr(supervisor, "FIRST_BACK_OFF_SECONDS", 0.01)
        monkeypatch.setattr(supervisor, "MAX_BACK_OFF_SECONDS", 0.02)
        monkeypatch.setattr(supervisor, "GRACE_SECONDS", 0.5)
        started = []
        popen = subprocess.Popen

        def run(*scripts, **order):
            """Run with children that do as the scripts say, one after the other, the last one again and again."""

            def child(_command, **how):
                script = scripts[min(len(started), len(scripts) - 1)]
                started.append(popen([sys.executable, "-c", script], **how))
                return started[-1]

            monkeypatch.setattr(supervisor.subprocess, "Popen", child)
            orders = [Order(task="receive", settings=make_settings(tmp_path), **order)]
            with supervisor._signals() as wakeup:
                return supervisor._Supervisor(tuple(orders), wakeup=wakeup).run()

        run.started = started
        return run

    #: one write, as a child's: a pipe hands over what was written so far
    READY = "import os, sys; sys.stdin.readline(); os.write(1, b'{}\\n'); ".format('{"ready": true, "port": 7}')

    def test_five_deaths_within_a_minute_end_it(self, parent):
        assert parent(self.READY) == 1
        assert len(parent.started) == supervisor.MAX_DEATHS

    def test_a_wrong_setting_ends_it_at_once(self, parent):
        assert parent("raise SystemExit(2)") == 2
        assert len(parent.started) == 1

    def test_a_wrong_setting_that_was_right_at_the_start_is_tried_again(self, parent):
        assert parent(self.READY, "raise SystemExit(2)") == 1
        assert len(parent.started) == supervisor.MAX_DEATHS

    def test_a_child_that_does_not_end_is_killed_and_the_end_is_in_order(self, parent):
        stubborn = "import signal; signal.signal(15, signal.SIG_IGN); " + self.READY + "import time; time.sleep(60)"
        # the pytest process must not meet the signal without the supervisor's handler
        timer = threading.Timer(1.0, lambda: parent.started and os.kill(os.getpid(), signal.SIGTERM))
        before = signal.signal(signal.SIGTERM, lambda *_args: None)
        timer.start()
        assert parent(stubborn) == 0
        timer.join()
        signal.signal(signal.SIGTERM, before)
        assert parent.started[0].returncode == -signal.SIGKILL


class TestHandover:
    def test_an_order_arrives_as_it_was_given(self, tmp_path):
        order = Order(task="work", settings=make_settings(tmp_path), slot=3, any_port=True, alone=True)
        assert Order.from_line(order.to_line()) == order
        assert order.to_line().count(b"\n") == 1

    def test_a_secret_of_the_settings_is_not_lost_on_the_way(self, tmp_path):
        url = "postgresql://user:hunter2@db/lms"
        order = Order(task="work", settings=make_settings(tmp_path, database=Database(url=SecretStr(url))))
        assert Order.from_line(order.to_line()).settings.database.url.get_secret_value() == url

    def test_an_answer_arrives_as_it_was_given(self):
        for ready in (Ready(port=7), Ready(tls_port=8), Ready(port=7, tls_port=8)):
            assert Ready.from_line(ready.to_line()) == ready


class TestLocks:
    def test_one_serve_over_a_file_and_the_next_when_it_has_ended(self, tmp_path):
        settings = make_settings(tmp_path)
        with locks.only_serve(settings):
            said = f"another 'lms-sr serve' \\(process {os.getpid()}\\)"
            with pytest.raises(ConfigurationError, match=said), locks.only_serve(settings, patience=0.15):
                pass
        with locks.only_serve(settings, patience=0):
            pass

    def test_any_number_of_serves_over_postgresql(self, tmp_path):
        settings = make_settings(tmp_path, database=Database(url=SecretStr("postgresql://u@h/d")))
        with locks.only_serve(settings), locks.only_serve(settings, patience=0):
            assert locks.sqlite_file(settings) is None

    def test_a_serve_that_is_just_ending_is_waited_for(self, tmp_path):
        settings, entered = make_settings(tmp_path), threading.Event()

        def hold():
            with locks.only_serve(settings):
                entered.set()
                time.sleep(0.3)

        thread = threading.Thread(target=hold)
        thread.start()
        entered.wait(10)
        with locks.only_serve(settings, patience=10):
            thread.join()

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("")
        settings = make_settings(tmp_path, database=Database(url=SecretStr(f"sqlite:///{tmp_path}/file/a.db")))
        with pytest.raises(ConfigurationError, match=r"lock file .* cannot be written"), locks.only_serve(settings):
            pass

    def test_one_process_works_under_a_name_and_others_under_other_names(self, engine):
        def refused():
            with pytest.raises(ConfigurationError, match=r"another process .*'work-0'"):
                locks.only_executor(engine, "work-0", patience=0.15).__enter__()

        with locks.only_executor(engine, "work-0"), locks.only_executor(engine, "work-1", patience=0):
            refused()
        with locks.only_executor(engine, "work-0", patience=0):
            pass


def test_runs_at_different_times_have_different_names():
    import datetime as dt  # noqa: PLC0415 - here only

    first = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
    assert run_at("again", first) != run_at("again", first + dt.timedelta(microseconds=1))
    assert run_at("again", first) != run_at("fault", first)
