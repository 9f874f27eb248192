"""What the fuzzers share: libFuzzer through atheris, a limit to growth, and where inputs that failed are left."""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.helpers import ROOT

CORPUS = ROOT / "tests" / "data" / "fuzz"
#: inputs that failed; not under version control
FAILED = ROOT / "build" / "fuzz"

#: seconds that one input may take
_HANG = 40
#: how much the process may grow once it has seen so many inputs, in MB (the fuzzer's own memory of inputs counts, too)
_GROWTH = 128
_SETTLED = 2000
_LOOK_EVERY = 500


class Grown(Exception):
    """The process has grown beyond its limit."""


class Growth:
    """Looks at the size of the process now and then."""

    def __init__(self, limit_mb: float = _GROWTH, settled: int = _SETTLED) -> None:
        self._limit, self._settled = limit_mb, settled
        self._inputs = 0
        self._first = 0.0

    def look(self) -> None:
        """Count an input.

        Raises
        ------
        Grown
            The process is much larger than it was when the first inputs had been seen.
        """
        self._inputs += 1
        if self._inputs == self._settled:
            self._first = resident()
        elif self._inputs > self._settled and self._inputs % _LOOK_EVERY == 0:
            grown = resident() - self._first
            if grown > self._limit:
                msg = f"{grown:.0f} MB more after {self._inputs} inputs"
                raise Grown(msg)


def resident() -> float:
    """Return the resident size of this process, in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 1e6


def drive(name: str, one_input: Callable[[bytes], None], longest: int) -> None:
    """Run the fuzzer called ``name`` for ``--seconds`` from its corpus; does not return. The exit code is 0 where nothing failed.

    Inputs of at most ``longest`` bytes are made. What one of them brought to light is left in ``build/fuzz``.
    """
    import atheris  # noqa: PLC0415 - Linux on x86-64 only

    parser = argparse.ArgumentParser(prog=f"tests.fuzz.fuzz_{name}")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--keep", type=Path, help="folder for inputs that reached something new")
    options = parser.parse_args()
    FAILED.mkdir(parents=True, exist_ok=True)
    growth = Growth()

    def test_one(data: bytes) -> None:
        one_input(data)
        growth.look()

    with tempfile.TemporaryDirectory() as scratch:
        found = options.keep or Path(scratch)
        found.mkdir(exist_ok=True)
        arguments = [
            sys.argv[0],
            str(found),
            str(CORPUS / name),
            f"-max_total_time={options.seconds}",
            f"-timeout={_HANG}",
            f"-max_len={longest}",
            f"-dict={CORPUS / name}.dict",
            f"-artifact_prefix={FAILED}/{name}-",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
            "-verbosity=1",
        ]
        atheris.Setup(arguments, test_one)
        atheris.Fuzz()
