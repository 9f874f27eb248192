"""The service as a process of its own, as an administrator starts it: settings in a file, events on standard error."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from service import configuration
from service.errors import ConfigurationError
from service.settings import Node, Settings

_STOP_SECONDS = 15.0


def write_settings(path: Path, settings: Settings) -> Path:
    """Write ``settings`` as a file for ``--config``, secrets as they are."""
    values = settings.model_dump(mode="json", by_alias=True)
    values["database"]["url"] = settings.database.url.get_secret_value()
    values["tls"]["key_passphrase"] = settings.tls.key_passphrase.get_secret_value()
    path.write_text(configuration.as_toml(values), encoding="utf-8")
    return path


class ServiceProcess:
    """``lms-sr serve`` on a port that the system chooses; a context manager.

    Parameters
    ----------
    config:
        The settings file.
    log:
        Where its standard error goes.
    roles:
        ``receive``, ``work``; none: both.
    any_port:
        Listen on a port that is free, whatever the settings say.
    environ:
        Variables beside those of this process.
    """

    def __init__(
        self,
        config: Path,
        log: Path,
        *,
        roles: tuple[str, ...] = (),
        any_port: bool = True,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._config, self._log, self._roles, self._any_port = config, log, roles, any_port
        self._environ = {**os.environ, **(environ or {})}
        self._ready = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self.port = self.tls_port = 0

    def __enter__(self) -> Self:
        """Start, and wait until it is ready."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the supervisor; 0 while it does not run."""
        return self._process.pid if self._process else 0

    @property
    def alive(self) -> bool:
        """Say whether the supervisor runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, seconds: float = 60.0) -> None:
        """Start, and wait until it is ready.

        Raises
        ------
        ConfigurationError
            It ended, or was not ready in time; the message has the end of its log.
        """
        self._ready.clear()
        command = [sys.executable, "-m", "service.cli", "serve", "--json", "--config", str(self._config)]
        command += [word for role in self._roles for word in ("--role", role)]
        if self._any_port:
            command.append("--any-port")
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
            command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=self._environ, process_group=0
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="service-log", daemon=True)
        self._reader.start()
        until = time.monotonic() + seconds
        while not self._ready.wait(0.05):
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                tail = self._log.read_text(encoding="utf-8", errors="replace")[-1500:]
                msg = f"the service did not start; the end of its log, {self._log}:\n{tail}"
                raise ConfigurationError(msg)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        if process.stderr is None:
            return
        with self._log.open("ab") as log:
            for line in process.stderr:
                log.write(line)
                log.flush()
                if b'"ready"' in line:
                    self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            record: dict[str, Any] = json.loads(line)
        except ValueError:
            return
        if record.get("event") == "ready":
            self.port, self.tls_port = int(record.get("port") or 0), int(record.get("tls_port") or 0)
            self._ready.set()

    def stop(self) -> int:
        """Ask it to end, and return its exit code; 0 where it did not run."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End the supervisor at once, as ``kill -9`` does; its children follow by themselves."""
        return self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        try:
            code = process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if self._reader is not None:
            self._reader.join(_STOP_SECONDS)
        if process.stderr is not None:
            process.stderr.close()
        return code

    def node(self, ae_title: str) -> Node:
        """Return the service as a node to send to."""
        return Node(name="LMS_SR", ae_title=ae_title, host="127.0.0.1", port=self.port)
