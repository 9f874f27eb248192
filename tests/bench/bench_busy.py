"""Receiving while a large segmentation is measured on the same machine.

A lower priority for the role ``work`` was tried here (niceness 10): it made no difference.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tests.bench.bench_measure import write_study
from tests.bench.receivers import OURS_COMMIT, Receiver
from tests.bench.senders import Files, send
from tests.helpers import ROOT

TITLE = (
    "Receiving 300 objects of 512 KB over one association while six segments of 300 slices are measured again and again"
)

_COUNT, _SIZE, _ROUNDS = 300, 512 * 1024, 5
#: what a process does that is to compete with the receiver: its argument is the folder; it says when it has begun
_MEASURE = """
import sys
from pathlib import Path
from service.measure.segments import measure_study
from tests.phantoms import study_of
folder = Path(sys.argv[1])
study = study_of(folder)
while True:
    print("begins", flush=True)
    measure_study(study, lambda instance: folder / instance.path)
"""


@contextmanager
def _measuring(folder: Path) -> Iterator[None]:
    """Measure all the while, in a process of its own."""
    command = [sys.executable, "-c", _MEASURE, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(1)
            yield
        finally:
            process.kill()


def table() -> str:
    """Measure and return a Markdown table."""
    cases = {"nothing else": False, "measuring": True}
    found: dict[str, list[float]] = {name: [] for name in cases}
    with tempfile.TemporaryDirectory(prefix="lms-sr-bench-") as name:
        study = Path(name) / "study"
        study.mkdir()
        write_study(study, 300)
        files = Files.make(Path(name) / "files", _COUNT, _SIZE)
        with Receiver(OURS_COMMIT, Path(name) / "receiver") as receiver:
            receiver.wait()
            for number in range(_ROUNDS):
                for position, (case, is_busy) in enumerate(cases.items()):
                    files.renew(401 + number * len(cases) + position)
                    with _measuring(study) if is_busy else nullcontext():
                        found[case].append(send(receiver.port, files.paths, nodelay=True))
    first = statistics.median(found["nothing else"])
    lines = ["| beside it | seconds (median of 5) | of the rate alone |", "|---|---|---|"]
    for case, seconds in found.items():
        median = statistics.median(seconds)
        lines.append(f"| {case} | {median:.2f} | {first / median:.2f} |")
    return "\n".join(lines) + "\n"
