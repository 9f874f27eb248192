"""``serve``: a parent that only supervises. It imports neither the database nor the workflow engine, and never forks.

* It brings the database up to date (in a child of its own, so that the memory is given back) before any role starts.
* Children are new interpreters, each holding a pipe from the parent. When the parent dies, even by ``kill -9``, the pipe ends
  and so do they: no orphan keeps the port.
* A child that dies is started again, later each time; five deaths within a minute end the parent with 1.
* SIGTERM, SIGINT and SIGHUP are passed on. Children finish what is in flight; what has not ended after ten seconds is killed,
  which is safe: every point is. The exit code is 0.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import service
from service import logs
from service.errors import ConfigurationError
from service.settings import Settings
from service.work.handover import FAILED, GRACE_SECONDS, MISCONFIGURED, OK, ROLES, Order, Ready, process_count
from service.work.locks import only_serve

_log = logging.getLogger("lms_sr.supervisor")

MAX_DEATHS = 5
WITHIN_SECONDS = 60.0
FIRST_BACK_OFF_SECONDS = 0.5
MAX_BACK_OFF_SECONDS = 8.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def serve(settings: Settings, roles: Iterable[str] = ROLES, *, slot: int = 0, any_port: bool = False) -> int:
    """Run the roles until a signal comes; return the exit code.

    Parameters
    ----------
    settings:
        The effective settings.
    roles:
        ``receive``, ``work`` or both. One alone verifies the database and does not migrate it.
    slot:
        Tells apart several ``work`` processes over one PostgreSQL database.
    any_port:
        Listen on a port that the system chooses; the event ``ready`` names it.

    Raises
    ------
    ConfigurationError
        An unknown role, or another ``serve`` uses the SQLite file.
    """
    wanted = tuple(dict.fromkeys(roles))
    for role in wanted:
        if role not in ROLES:
            msg = f"'{role}' is no role: use {' or '.join(ROLES)}"
            raise ConfigurationError(msg)
    if not wanted:
        msg = f"no role to run: use {' or '.join(ROLES)}"
        raise ConfigurationError(msg)
    logs.set_up(settings.log, role="serve")
    with ExitStack() as stack:
        if "work" in wanted:
            stack.enter_context(only_serve(settings))
        alone = len(wanted) == 1
        common = Order(task="work", settings=settings, slot=slot, any_port=any_port, alone=alone)
        orders: list[Order] = []
        if "receive" in wanted:
            orders += _receiving(common, stack)
        if "work" in wanted:
            orders.append(common)
        return _Supervisor(tuple(orders), wakeup=stack.enter_context(_signals())).run()


def _receiving(common: Order, stack: ExitStack) -> list[Order]:
    """Return what receives: one process, or a door and the processes behind it."""
    count = process_count(common.settings)
    if count == 1:
        return [replace(common, task="receive")]
    # a folder that only this user may enter; the path of a Unix socket has to be short
    folder = stack.enter_context(TemporaryDirectory(prefix="lms-sr-"))
    door = str(Path(folder) / "door")
    behind = [replace(common, task="associate", slot=n, door=door) for n in range(1, count + 1)]
    return [replace(common, task="receive", door=door), *behind]


@dataclass(slots=True)
class _Child:
    order: Order
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    tls_port: int = 0
    ready: bool = False
    #: monotonic time of the next start, while it is down
    start_at: float = 0.0
    deaths: deque[float] = field(default_factory=deque)

    @property
    def role(self) -> str:
        return self.order.task

    @property
    def name(self) -> str:
        """How logs call it."""
        return f"{self.role}-{self.order.slot}" if self.role == "associate" else self.role


class _Supervisor:
    def __init__(self, orders: tuple[Order, ...], *, wakeup: socket.socket) -> None:
        self._children = tuple(_Child(order) for order in orders)
        self._wakeup = wakeup
        self._selector = selectors.DefaultSelector()
        self._selector.register(wakeup, selectors.EVENT_READ, None)
        self._deaths: deque[float] = deque()
        self._were_ready = False
        self._stopping = False

    def run(self) -> int:
        try:
            code = self._migrate()
            while code is None and not self._stopping:
                code = self._turn()
        finally:
            self._stop()
            self._selector.close()
        return OK if code is None else code

    def _migrate(self) -> int | None:
        """Return None when all is well, or the exit code to end with."""
        if len(self._children) == 1 or self._children[0].order.alone:
            return None
        first = self._children[0].order
        migration = _Child(Order(task="migrate", settings=first.settings))
        self._start(migration)
        process = migration.process
        while process is not None and process.poll() is None and not self._stopping:
            self._wait(0.1)
        if self._stopping:
            _end((migration,))
            return None
        self._forget(migration)
        code = process.returncode if process is not None else FAILED
        # what is wrong stands in its log already
        return None if code == OK else code if code > 0 else FAILED

    def _turn(self) -> int | None:
        now = time.monotonic()
        for child in self._children:
            if child.process is None and child.start_at <= now:
                self._start(child)
        waits = [child.start_at - now for child in self._children if child.process is None]
        for died in self._wait(max(0.0, min(waits)) if waits else None):
            code = self._died(died)
            if code is not None:
                return code
        return None

    def _start(self, child: _Child) -> None:
        root = str(Path(service.__file__).parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            [sys.executable, "-m", "service.work.child", child.role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONSAFEPATH": "1"},
            # Ctrl-C reaches the parent alone, which then ends the children in order
            process_group=0,
        )
        child.process, child.ready, child.port, child.tls_port = process, False, 0, 0
        assert process.stdin is not None  # noqa: S101 - PIPE
        assert process.stdout is not None  # noqa: S101 - PIPE
        with suppress(BrokenPipeError):
            process.stdin.write(child.order.to_line())
            process.stdin.flush()
        os.set_blocking(process.stdout.fileno(), False)
        self._selector.register(process.stdout, selectors.EVENT_READ, child)
        _log.info("process_started", extra={"ids": {"process": child.name, "pid": process.pid}})

    def _wait(self, seconds: float | None) -> list[_Child]:
        """Wait for news; return the children that have died."""
        dead: list[_Child] = []
        for key, _ in self._selector.select(seconds):
            if key.data is None:
                numbers = self._wakeup.recv(64)
                self._stopping = self._stopping or any(n in _SIGNALS for n in numbers)
                continue
            child: _Child = key.data
            line = child.process.stdout.readline() if child.process and child.process.stdout else b""
            if line:
                ready = Ready.from_line(line)
                child.ready, child.port, child.tls_port = True, ready.port, ready.tls_port
                self._maybe_ready()
            else:
                self._selector.unregister(key.fileobj)
                dead.append(child)
        return dead

    def _maybe_ready(self) -> None:
        if not all(c.ready for c in self._children):
            return
        port = next((c.port for c in self._children if c.role == "receive"), 0)
        roles = ",".join(c.role for c in self._children if c.role in ROLES)
        ids: dict[str, object] = {"roles": roles, "pid": os.getpid()}
        tls_port = next((c.tls_port for c in self._children if c.role == "receive"), 0)
        if port:
            ids["port"] = port
        if tls_port:
            ids["tls_port"] = tls_port
        self._were_ready = True
        _log.info("ready", extra={"ids": ids})

    def _died(self, child: _Child) -> int | None:
        code = self._forget(child)
        now = time.monotonic()
        for deaths in (self._deaths, child.deaths):
            deaths.append(now)
            while deaths and deaths[0] < now - WITHIN_SECONDS:
                deaths.popleft()
        ids = {"process": child.name, "code": code, "deaths": len(self._deaths)}
        if code == MISCONFIGURED and not self._were_ready:
            return MISCONFIGURED
        if len(self._deaths) >= MAX_DEATHS:
            _log.critical("gave_up", extra={"ids": ids})
            return FAILED
        wait = min(FIRST_BACK_OFF_SECONDS * 2 ** (len(child.deaths) - 1), MAX_BACK_OFF_SECONDS)
        child.start_at = now + wait
        _log.error("process_died", extra={"ids": {**ids, "restart_in_seconds": wait}})
        return None

    def _forget(self, child: _Child) -> int:
        process, child.process, child.ready = child.process, None, False
        if process is None:
            return OK
        if process.stdout is not None:
            with suppress(KeyError):
                self._selector.unregister(process.stdout)
        code = process.wait()
        _close(process)
        return code

    def _stop(self) -> None:
        _end(self._children)
        _log.info("stopped", extra={"ids": {"pid": os.getpid()}})


def _end(children: Iterable[_Child]) -> None:
    """Ask the children to end, and kill what has not after ten seconds."""
    alive = [(c, c.process) for c in children if c.process is not None]
    for _, process in alive:
        process.terminate()
    deadline = time.monotonic() + GRACE_SECONDS
    for child, process in alive:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _log.warning("process_killed", extra={"ids": {"process": child.name, "pid": process.pid}})
            process.kill()
            process.wait()
        _close(process)
        child.process = None


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Let signals arrive as bytes on the socket that is returned."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    before = {number: signal.signal(number, _nothing) for number in _SIGNALS}
    woken = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """Be there, so that the signal wakes the selector and does nothing else."""
