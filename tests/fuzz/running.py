"""A fuzzer as a process of its own."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from tests.helpers import ROOT, absent


def fuzz(name: str, *, seconds: int) -> dict[str, int]:
    """Run a fuzzer; fail the test with the end of its output where it found something. Return its numbers by name.

    Skipped where atheris is not installed: it exists for Linux on x86-64.
    """
    if importlib.util.find_spec("atheris") is None:
        absent("atheris", "make venv on Linux, x86-64")
    # coverage of the child is the fuzzer's business
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("COV_CORE", "COVERAGE_PROCESS"))}
    done = subprocess.run(
        [sys.executable, "-m", f"tests.fuzz.fuzz_{name}", "--seconds", str(seconds)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + 180,
        check=False,
    )
    if done.returncode:
        pytest.fail(
            f"the fuzzer found something, see build/fuzz:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}", pytrace=False
        )
    found = {n: int(v) for n, v in re.findall(r"stat::(\w+):\s+(\d+)", done.stderr)}
    covered = re.findall(r"cov: (\d+)", done.stderr)
    return {
        "executed": found["number_of_executed_units"],
        "branches": int(covered[-1]),
        "peak_mb": found["peak_rss_mb"],
        "slowest_s": found["slowest_unit_time_sec"],
    }
