"""Fixtures for every test: loopback only, examples that repeat, and the record that proofs leave."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import platform
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("proof", settings.get_profile("ci"), derandomize=False, max_examples=2000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def _is_local(host: object) -> bool:
    if host in (None, "", "localhost", b"localhost", "0.0.0.0", "::"):
        return True
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Refuse connections and name look-ups that would leave this machine: the hospital's network is no test bench."""
    with pytest.MonkeyPatch.context() as patch:

        def guard(name: str) -> None:
            original = getattr(socket.socket, name)

            def guarded(self: socket.socket, address: Any) -> Any:
                if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
                    msg = f"tests connect to loopback only, not to {address[0]}"
                    raise AssertionError(msg)
                return original(self, address)

            patch.setattr(socket.socket, name, guarded)

        guard("connect")
        guard("connect_ex")
        look_up = socket.getaddrinfo

        def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
            if not _is_local(host):
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return look_up(host, *args, **kwargs)

        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        yield


@dataclass(slots=True)
class ProofRecord:
    """What the long proofs did, for ``docs/proof.md``."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, claim: str, *, seed: int | str, **numbers: object) -> None:
        """Keep one row: the claim, the seed that repeats it, and the numbers that came out."""
        self.rows.append(
            (claim, str(seed), ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in numbers.items()))
        )

    def markdown(self, day: dt.date) -> str:
        """Return the page."""
        from service import __version__  # noqa: PLC0415 - only here, so that a test run needs no package to start

        table = "\n".join(f"| {claim} | {seed} | {numbers} |" for claim, seed, numbers in self.rows)
        return (
            "# Proof\n\n"
            "Written by `make proof`. Each row is one long test that passed, with the seed that repeats it.\n\n"
            f"Run on {day.isoformat()}, LMS-SR {__version__}, Python {platform.python_version()}, "
            f"{os.cpu_count()} cores, {sys.platform}.\n\n"
            f"| claim | seed | numbers |\n| --- | --- | --- |\n{table}\n"
        )


_PROOFS = pytest.StashKey[ProofRecord]()


@pytest.fixture
def proof_record(request: pytest.FixtureRequest) -> ProofRecord:
    """Return where a test marked ``proof`` leaves its row for ``docs/proof.md``."""
    return request.config.stash.setdefault(_PROOFS, ProofRecord())


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write ``docs/proof.md`` when ``make proof`` asked for it and everything passed."""
    target = os.environ.get("LMS_SR_PROOF_PAGE")
    record = session.config.stash.get(_PROOFS, None)
    if target and record is not None and exitstatus == pytest.ExitCode.OK:
        Path(target).write_text(record.markdown(dt.datetime.now(dt.UTC).date()), encoding="utf-8")
