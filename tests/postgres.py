"""A PostgreSQL of our own: started by the tests, on loopback, as a user that is not root, gone with them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers import absent, free_port

_OPTIONS = (
    "-c",
    "fsync=off",
    "-c",
    "synchronous_commit=off",
    "-c",
    "full_page_writes=off",
    "-c",
    "max_connections=200",
)


def _programs() -> Path:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    if found := shutil.which("initdb"):
        return Path(found).parent
    absent("PostgreSQL's server", "apt install postgresql")
    raise AssertionError  # absent() never returns


def _as_postgres(*command: str | Path) -> list[str]:
    """PostgreSQL refuses to run as root."""
    words = [str(c) for c in command]
    return ["runuser", "-u", "postgres", "--", *words] if os.geteuid() == 0 else words


@contextmanager
def running() -> Iterator[str]:
    """Run a server until the block ends; yields the URL of its first database."""
    programs = _programs()
    folder = Path(tempfile.mkdtemp(prefix="lms-sr-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    data, port = folder / "data", free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
    initdb = _as_postgres(programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")
    subprocess.run(initdb, check=True, timeout=120, **quiet)  # type: ignore[call-overload] - two constants
    options = " ".join(
        (*_OPTIONS, "-c listen_addresses=127.0.0.1", f"-c port={port}", f"-c unix_socket_directories={folder}")
    )
    control = programs / "pg_ctl"
    try:
        start = _as_postgres(control, "-D", data, "-o", options, "-l", folder / "log", "-w", "-t", "60", "start")
        subprocess.run(start, check=True, timeout=90, **quiet)  # type: ignore[call-overload] - as above
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    finally:
        stop = _as_postgres(control, "-D", data, "-m", "immediate", "-w", "stop")
        subprocess.run(stop, check=False, timeout=60, **quiet)  # type: ignore[call-overload] - as above
        shutil.rmtree(folder, ignore_errors=True)
