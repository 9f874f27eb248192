"""What tests of every kind share: absent programs, free ports, the real dcmtk."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
#: where ``npm`` puts what the interoperability tests need (``.ci/run`` fills it)
NODE_FOLDER = ROOT / "tests" / "interop" / "npm"


def absent(what: str, hint: str) -> None:
    """Skip the test that needs ``what``, saying how to get it; fail it where everything must be there (CI)."""
    message = f"{what} is not installed: {hint}"
    if os.environ.get("LMS_SR_TESTS_REQUIRE_ALL") == "1":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def require(program: str | Path, hint: str) -> Path:
    """Return the path of a program (a name on PATH, or a path) or of a file that a test needs.

    Where it is absent the test is skipped with ``hint``, or fails when ``LMS_SR_TESTS_REQUIRE_ALL=1``.
    """
    text = str(program)
    if os.sep in text:
        if Path(text).exists():
            return Path(text)
    elif found := shutil.which(text):
        return Path(found)
    absent(text, hint)
    raise AssertionError  # absent() never returns


def require_python_tool(name: str) -> Path:
    """Return a command that the development requirements bring into the virtual environment (``dciodvfy``, ...)."""
    return require(Path(sys.executable).parent / name, "make venv")


def require_node_package(name: str) -> Path:
    """Return the folder of an npm package of ``tests/interop/npm/package-lock.json``."""
    require("node", "apt install nodejs npm")
    return require(
        NODE_FOLDER / "node_modules" / name, f"npm ci --ignore-scripts --prefix {NODE_FOLDER.relative_to(ROOT)}"
    )


def real_dcmtk(name: str) -> Path:
    """Return dcmtk's own program: the virtual environment has pynetdicom's namesakes (``storescu``, ``echoscu``) first."""
    return require(f"/usr/bin/{name}", "apt install dcmtk")


def dcmtk_environment() -> dict[str, str]:
    """Return an environment in which dcmtk's programs do not wait 40 ms for each small message (Nagle's algorithm)."""
    return {**os.environ, "TCP_NODELAY": "1"}


def free_port() -> int:
    """Return a loopback port that nobody listened on a moment ago."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
