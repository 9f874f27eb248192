"""The receivers that are measured side by side, each as a process of its own that an administrator could start so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from tests.bench.senders import AE_TITLE, CALLING, echo, environment
from tests.helpers import ROOT, free_port, real_dcmtk, require

_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A receiver that can be started: its name in the tables, its command line, and how its objects are counted.

    ``ours`` marks this project's own. ``waits`` says that it acknowledges late, so that a sender with Nagle's algorithm waits 40 ms
    for each object.
    """

    name: str
    command: Callable[[Path, int], list[str]]
    count: Callable[[Path, int], int]
    ours: bool = False
    waits: bool = True


class Receiver:
    """A running receiver; a context manager.

    Parameters
    ----------
    kind:
        Which.
    folder:
        An empty one; everything it writes goes there.
    nodelay:
        Whether it is told TCP_NODELAY; dcmtk's library, which Orthanc has too, lets the sender wait 40 ms for each answer where it is not.
    """

    def __init__(self, kind: Kind, folder: Path, *, nodelay: bool = True) -> None:
        self.kind = kind
        self._nodelay = nodelay
        self._folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it; `wait` says when it listens."""
        self._folder.mkdir(parents=True)
        command = self.kind.command(self._folder, self.port)
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
                cwd=self._folder,
                env={**environment(nodelay=self._nodelay), "PYTHONPATH": str(ROOT)},
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def wait(self) -> None:
        """Wait until it answers a C-ECHO.

        Raises
        ------
        RuntimeError
            It ended, or does not within a minute; the message has the end of its log.
        """
        until = time.monotonic() + _START_SECONDS
        while not _answers(self.port):
            if time.monotonic() > until or self._process is None or self._process.poll() is not None:
                tail = (self._folder / "log").read_text(encoding="utf-8", errors="replace")[-1500:]
                msg = f"{self.kind.name} did not start:\n{tail}"
                raise RuntimeError(msg)
            time.sleep(0.1)

    def stop(self) -> None:
        """End it, and whatever it started."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)

    def count(self) -> int:
        """Return how many objects it keeps."""
        return self.kind.count(self._folder, self.port)

    def processes(self) -> list[int]:
        """Return the ids of its process and of all below it."""
        found = [self._process.pid] if self._process else []
        parents = _parents()
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found


class Growth:
    """How much the processes of a receiver grow, from now on: each one's largest resident size minus what it is now."""

    def __init__(self, receiver: Receiver) -> None:
        self._before: dict[int, int] = {}
        for pid in receiver.processes():
            # Linux forgets the largest size so far
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
            self._before[pid] = _status(pid, "VmRSS")

    def megabytes(self) -> float:
        """Return what the one grew that grew most."""
        return max(_status(pid, "VmHWM") - before for pid, before in self._before.items()) * 1024 / 1e6


def _status(pid: int, field: str) -> int:
    """Return a size of a process, in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    return 0


def _parents() -> dict[int, int]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            found[int(entry.name)] = int(fields[1])
    return found


def _answers(port: int) -> bool:
    try:
        echo(port)
    except (OSError, AssertionError, ValueError):
        return False
    return True


# --- the kinds -----------------------------------------------------------------------------------------------------------


def _in_folder(folder: Path, _: int) -> int:
    with os.scandir(folder / "received") as entries:
        return sum(1 for _ in entries)


def _storescp(*options: str) -> Callable[[Path, int], list[str]]:
    def command(folder: Path, port: int) -> list[str]:
        (folder / "received").mkdir()
        where = ["-aet", AE_TITLE, "-od", str(folder / "received"), str(port)]
        return [str(real_dcmtk("storescp")), "-q", "+B", "-pdu", "131072", *options, *where]

    return command


def _pynetdicom(folder: Path, port: int) -> list[str]:
    (folder / "received").mkdir()
    where = ["-ba", "127.0.0.1", "-aet", AE_TITLE, "-od", str(folder / "received"), str(port)]
    return [sys.executable, "-m", "pynetdicom", "storescp", "-q", *where]


def _orthanc(folder: Path, port: int) -> list[str]:
    configuration = {
        "Name": "bench",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [],
        "DicomAet": AE_TITLE,
        "DicomPort": port,
        "HttpPort": _http_port(folder),
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "MaximumPduLength": 131072,
        "DicomThreadsCount": 64,
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration), encoding="utf-8")
    return [str(require("/usr/sbin/Orthanc", "apt install orthanc")), str(folder / "orthanc.json")]


def _http_port(folder: Path) -> int:
    kept = folder / "http-port"
    if not kept.exists():
        kept.write_text(str(free_port()), encoding="ascii")
    return int(kept.read_text(encoding="ascii"))


def _orthanc_count(folder: Path, _: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{_http_port(folder)}/statistics", timeout=60) as answer:
        return int(json.load(answer)["CountInstances"])


def _ours(durability: Literal["write", "commit"]) -> Callable[[Path, int], list[str]]:
    def command(folder: Path, port: int) -> list[str]:
        config = folder / "lms-sr.toml"
        config.write_text(
            f'[local]\nae_title = "{AE_TITLE}"\nport = {port}\nmax_associations = 100\n\n'
            f'[storage]\nspool = "{folder / "spool"}"\ndurability = "{durability}"\nreserve_mb = 100\n\n'
            f'[[nodes]]\nname = "{CALLING}"\nae_title = "{CALLING}"\n',
            encoding="utf-8",
        )
        return [sys.executable, "-m", "service.cli", "serve", "--role", "receive", "--config", str(config)]

    return command


def _in_spool(folder: Path, _: int) -> int:
    return sum(name.endswith(".dcm") for _, _, names in os.walk(folder / "spool" / "instances") for name in names)


STORESCP = Kind(name="dcmtk storescp +B", command=_storescp(), count=_in_folder)
STORESCP_FORK = Kind(name="dcmtk storescp +B --fork", command=_storescp("--fork"), count=_in_folder)
ORTHANC = Kind(name="Orthanc", command=_orthanc, count=_orthanc_count)
PYNETDICOM = Kind(name="pynetdicom storescp", command=_pynetdicom, count=_in_folder)
OURS_WRITE = Kind(name="LMS-SR, write", command=_ours("write"), count=_in_spool, ours=True, waits=False)
OURS_COMMIT = Kind(name="LMS-SR, commit", command=_ours("commit"), count=_in_spool, ours=True, waits=False)
