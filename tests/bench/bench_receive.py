"""Receiving, beside dcmtk's storescp, Orthanc and pynetdicom's storescp: same sender, same files, one run.

Every round sends new instances to every receiver, one receiver after the other, and counts them afterwards where they are kept. The
sender is dcmtk's storescu in processes of its own. Of the rounds the median stands; ratios are of numbers from the same run. The
receivers are started by their command lines, ours as ``lms-sr serve --role receive`` with a settings file. In the case of the
defaults neither the sender nor a receiver is told TCP_NODELAY, in all others both are. ``LMS_SR_BENCH_ROUNDS`` says how many rounds,
where five take too long.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from service.dimse import gatekeeper
from tests import dicom_bytes as db
from tests.bench.bars import Bar, Panel, svg
from tests.bench.receivers import (
    ORTHANC,
    OURS_COMMIT,
    OURS_WRITE,
    PYNETDICOM,
    STORESCP,
    STORESCP_FORK,
    Growth,
    Kind,
    Receiver,
)
from tests.bench.senders import Files, bare_loop, echoing, hold, image, large_file, send

TITLE = "Receiving, beside three other receivers in one run"
PICTURE = Path(__file__).parent.parent.parent / "docs" / "images" / "receive.svg"

KB = 1024
ALL = (STORESCP, ORTHANC, PYNETDICOM, OURS_WRITE, OURS_COMMIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is sent: (objects, bytes of each) of the two cases, and so on."""

    large: tuple[int, int] = (500, 512 * KB)
    small: tuple[int, int] = (2000, 12 * KB)
    #: objects to those that keep a sender with Nagle's algorithm waiting: they take 40 ms each
    waiting: int = 40
    #: objects for each of the eight associations
    each_large: int = 60
    each_small: int = 250
    multi_frame: int = 2_000_000_000
    associations: int = 50
    rounds: int = int(os.environ.get("LMS_SR_BENCH_ROUNDS", "5"))


FULL = Plan()
QUICK = Plan(
    large=(20, 512 * KB),
    small=(50, 12 * KB),
    waiting=5,
    each_large=5,
    each_small=10,
    multi_frame=64_000_000,
    associations=10,
    rounds=1,
)
AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What a receiver took in a case: seconds (median of the rounds) for so many objects of so many bytes."""

    seconds: float
    objects: int
    size: int

    @property
    def rate(self) -> float:
        """Objects in a second."""
        return self.objects / self.seconds


Speeds = dict[Kind, Speed]


def table(*, quick: bool = False) -> str:
    """Measure, draw the picture (not when ``quick``) and return Markdown."""
    plan = QUICK if quick else FULL
    with tempfile.TemporaryDirectory(prefix="lms-sr-bench-") as name:
        folder = Path(name)
        with _files(folder, *plan.large) as large, _files(folder, *plan.small) as small:
            bare = {f.size: _bare(folder, f, plan.rounds) for f in (large, small)}
            fast = {f.size: _one_association(folder, f, plan, nodelay=True) for f in (large, small)}
            plain = {f.size: _one_association(folder, f, plan, nodelay=False) for f in (large, small)}
        with (
            _files(folder, AT_ONCE * plan.each_large, large.size) as large,
            _files(folder, AT_ONCE * plan.each_small, small.size) as small,
        ):
            parallel = {f.size: _eight(folder, f, plan.rounds) for f in (large, small)}
        memory = _memory(folder, plan)
    if not quick:
        PICTURE.write_text(_picture(fast, plain), encoding="utf-8")
    sizes = (large.size, small.size)
    parts = [
        f"Medians of {plan.rounds} rounds.\n\n{_HOW_TO_READ}",
        "![Objects received in a second](images/receive.svg)\n" if not quick else "",
        _bars_table(sizes, fast, plain, bare, parallel, memory),
        _speeds("One association, sender with TCP_NODELAY", sizes, fast, bare),
        _speeds("One association, sender and receivers with their defaults (Nagle's algorithm)", sizes, plain, {}),
        _parallel_table(sizes, parallel),
        _memory_table(memory, plan),
        _gatekeeper_table(),
    ]
    return "\n".join(part for part in parts if part)


# --- measuring -----------------------------------------------------------------------------------------------------------


@contextmanager
def _files(folder: Path, count: int, size: int) -> Iterator[Files]:
    made = Files.make(folder / f"files-{count}-{size}", count, size)
    try:
        yield made
    finally:
        shutil.rmtree(made.folder)


@contextmanager
def _running(folder: Path, kinds: Sequence[Kind], *, nodelay: bool = True) -> Iterator[dict[Kind, Receiver]]:
    place = folder / "receivers"
    with ExitStack() as stack:
        # tens of thousands of files in folders of their own: Python would take minutes
        stack.callback(subprocess.run, ["rm", "-rf", str(place)], check=True)
        receivers = {
            kind: stack.enter_context(Receiver(kind, place / str(n), nodelay=nodelay)) for n, kind in enumerate(kinds)
        }
        for receiver in receivers.values():
            receiver.wait()
        yield receivers


def _bare(folder: Path, files: Files, rounds: int) -> float:
    sizes = [path.stat().st_size for path in files.paths]
    seconds = []
    for number in range(rounds):
        os.sync()
        place = folder / f"bare-{number}"
        seconds.append(bare_loop(place, sizes))
        shutil.rmtree(place)
    return statistics.median(seconds)


def _sent(receiver: Receiver, *batches: Sequence[Path], nodelay: bool) -> float:
    """Send, and see that everything is kept."""
    before = receiver.count()
    # what an earlier receiver has left to be written is not this one's
    os.sync()
    seconds = send(receiver.port, *batches, nodelay=nodelay)
    print(f"  {receiver.kind.name}: {seconds:.2f} s", file=sys.stderr)
    kept, wanted = receiver.count() - before, sum(len(batch) for batch in batches)
    if kept != wanted:
        msg = f"{receiver.kind.name} keeps {kept} of {wanted} objects that it acknowledged"
        raise RuntimeError(msg)
    return seconds


def _one_association(folder: Path, files: Files, plan: Plan, *, nodelay: bool) -> Speeds:
    found: dict[Kind, list[float]] = {kind: [] for kind in ALL}
    counts = {k: files.count if nodelay or not k.waits else min(files.count, plan.waiting) for k in ALL}
    with _running(folder, ALL, nodelay=nodelay) as receivers:
        for number in range(plan.rounds):
            files.renew(number + (1 if nodelay else 101))
            for kind, receiver in receivers.items():
                found[kind].append(_sent(receiver, files.paths[: counts[kind]], nodelay=nodelay))
    return {k: Speed(seconds=statistics.median(s), objects=counts[k], size=files.size) for k, s in found.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """Eight associations at once, and the C-ECHOs meanwhile, in seconds."""

    speed: Speed
    echo_p50: float
    echo_p99: float
    echoes: int


def _eight(folder: Path, files: Files, rounds: int) -> dict[Kind, Parallel]:
    kinds = (STORESCP_FORK, ORTHANC, PYNETDICOM, OURS_WRITE, OURS_COMMIT)
    found: dict[Kind, list[float]] = {kind: [] for kind in kinds}
    latencies: dict[Kind, list[float]] = {kind: [] for kind in kinds}
    with _running(folder, kinds) as receivers:
        for number in range(rounds):
            files.renew(number + 201)
            batches = [files.paths[n::AT_ONCE] for n in range(AT_ONCE)]
            for kind, receiver in receivers.items():
                with echoing(receiver.port) as echoes:
                    found[kind].append(_sent(receiver, *batches, nodelay=True))
                latencies[kind] += echoes
    return {
        kind: Parallel(
            speed=Speed(seconds=statistics.median(found[kind]), objects=files.count, size=files.size),
            echo_p50=statistics.median(latencies[kind]),
            echo_p99=_percentile(latencies[kind], 99),
            echoes=len(latencies[kind]),
        )
        for kind in kinds
    }


def _percentile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


#: what each receiver grew, in MB: with the multi-frame object, with the associations
Memory = dict[Kind, tuple[float, float]]


def _memory(folder: Path, plan: Plan) -> Memory:
    path = large_file(folder / "large.dcm", plan.multi_frame, "1.2.826.0.1.3680043.10.1.9")
    kinds = (STORESCP, ORTHANC, PYNETDICOM, OURS_COMMIT)
    found: Memory = {}
    for kind in kinds:
        with _running(folder, (kind,)) as receivers:
            growth = Growth(receivers[kind])
            _sent(receivers[kind], [path], nodelay=True)
            with_object = growth.megabytes()
        if kind is STORESCP:
            # one association at a time: there is nothing to measure
            found[kind] = (with_object, float("nan"))
            continue
        with _running(folder, (kind,)) as receivers:
            growth = Growth(receivers[kind])
            # pynetdicom's takes no more than ten
            hold(receivers[kind].port, 10 if kind is PYNETDICOM else plan.associations, 512 * KB)
            found[kind] = (with_object, growth.megabytes())
    path.unlink()
    return found


def _gatekeeper_table() -> str:
    rows = []
    for size in (12 * KB, 512 * KB):
        instance = "1.2.826.0.1.3680043.10.1.5"
        data = memoryview(image(instance, size))
        data = data[144 + int.from_bytes(data[140:144], "little") :]

        def look(data: memoryview = data, instance: str = instance) -> gatekeeper.Scanned:
            return gatekeeper.scan(
                data, transfer_syntax_uid=db.EXPLICIT, sop_class_uid=db.CT, sop_instance_uid=instance
            )

        found = look()
        times = []
        for _ in range(500):
            start = time.perf_counter()
            look()
            times.append(time.perf_counter() - start)
        rows.append(f"| {size // KB} KB, {found.elements} elements | {statistics.median(times) * 1e6:.0f} |")
    return (
        "The gatekeeper's look at one object:\n\n| object | µs, median of 500 |\n|---|---|\n" + "\n".join(rows) + "\n"
    )


# --- telling -------------------------------------------------------------------------------------------------------------

_HOW_TO_READ = """\
How to read it: a number of one receiver on one machine says little; how it stands to another's of the same run says much. `write` and
`commit` are the two values of `[storage] durability`: `write` is what the other receivers do (the object is in files when it is
acknowledged), `commit` flushes file and folder first, as Orthanc does with the file, so it is held against dcmtk's time plus what the
disk takes for a bare loop of write, flush, link and flush of the folder. Many senders have Nagle's algorithm switched on, as
dcmtk's has unless it is told otherwise; a receiver that acknowledges late then costs 40 ms for each object, and such a receiver is sent
fewer objects in that case. Rates include the start of the sender, which is alike for all. To repeat it: `make bench ARGS=receive`, or, for a first look
that is not written here, `make bench ARGS="receive --quick"`.
"""


def _name(size: int) -> str:
    return f"{size // KB} KB"


def _speeds(title: str, sizes: tuple[int, int], speeds: dict[int, Speeds], bare: dict[int, float]) -> str:
    head = "".join(f" {_name(s)}: objects | seconds | objects/s | MB/s | of dcmtk's rate |" for s in sizes)
    lines = [f"{title}:\n", f"| receiver |{head}", "|---|" + "---|" * 10]
    for kind in ALL:
        cells = ""
        for size in sizes:
            one = speeds[size][kind]
            ratio = one.rate / speeds[size][STORESCP].rate
            megabytes = one.rate * size / 1e6
            cells += f" {one.objects:,} | {one.seconds:.2f} | {one.rate:,.0f} | {megabytes:.1f} | {ratio:.2f} |"
        lines.append(f"| {kind.name} |{cells}")
    if bare:
        cells = "".join(
            f" {speeds[s][STORESCP].objects:,} | {bare[s]:.2f} | {speeds[s][STORESCP].objects / bare[s]:,.0f} | | |"
            for s in sizes
        )
        lines.append(f"| bare loop: write, flush, link, flush folder |{cells}")
    return "\n".join(lines) + "\n"


def _parallel_table(sizes: tuple[int, int], parallel: dict[int, dict[Kind, Parallel]]) -> str:
    head = "".join(f" {_name(s)}: objects/s | of dcmtk's rate | C-ECHO p50, ms | p99, ms |" for s in sizes)
    lines = [
        "Eight associations at once; a C-ECHO is a whole association, from the connection to the release:\n",
        f"| receiver |{head}",
        "|---|" + "---|" * 8,
    ]
    for kind in parallel[sizes[0]]:
        cells = ""
        for size in sizes:
            one = parallel[size][kind]
            ratio = one.speed.rate / parallel[size][STORESCP_FORK].speed.rate
            cells += f" {one.speed.rate:,.0f} | {ratio:.2f} | {one.echo_p50 * 1000:.1f} | {one.echo_p99 * 1000:.1f} |"
        lines.append(f"| {kind.name} |{cells}")
    return "\n".join(lines) + "\n"


def _memory_table(memory: Memory, plan: Plan) -> str:
    lines = [
        "What the process grew that grew most, in MB (resident, largest):\n",
        f"| receiver | an object of {plan.multi_frame / 1e6:,.0f} MB | {plan.associations} associations with 512 KB each |",
        "|---|---|---|",
    ]
    for kind, (one, many) in memory.items():
        said = "takes one at a time" if many != many else f"{many:.0f}"  # noqa: PLR0124 - not a number
        said += " (10 associations, its limit)" if kind is PYNETDICOM else ""
        lines.append(f"| {kind.name} | {one:,.0f} | {said} |")
    return "\n".join(lines) + "\n"


def _bars_table(
    sizes: tuple[int, int],
    fast: dict[int, Speeds],
    plain: dict[int, Speeds],
    bare: dict[int, float],
    parallel: dict[int, dict[Kind, Parallel]],
    memory: Memory,
) -> str:
    rows: list[tuple[str, str, bool]] = []

    def at_least(what: str, found: float, bar: float) -> None:
        rows.append((f"{what}: at least {bar:g}", f"{found:.2f}", found >= bar))

    def at_most(what: str, found: float, bar: float, unit: str) -> None:
        rows.append((f"{what}: at most {bar:.4g} {unit}", f"{found:.4g} {unit}", found <= bar))

    for size in sizes:
        speeds = fast[size]
        at_least(f"`write`, {_name(size)}, to dcmtk's throughput", speeds[OURS_WRITE].rate / speeds[STORESCP].rate, 0.9)
        allowed = speeds[STORESCP].seconds + 1.3 * bare[size]
        at_most(
            f"`commit`, {_name(size)}: dcmtk's time and 1.3 × the bare loop's",
            speeds[OURS_COMMIT].seconds,
            allowed,
            "s",
        )
    small = fast[sizes[1]]
    at_least(
        f"`write`, {_name(sizes[1])}, to pynetdicom's storescp", small[OURS_WRITE].rate / small[PYNETDICOM].rate, 7
    )
    for size, bar in zip(sizes, (20.0, 80.0), strict=True):
        for other in (STORESCP, ORTHANC):
            found = min(plain[size][k].rate for k in (OURS_WRITE, OURS_COMMIT)) / plain[size][other].rate
            at_least(f"sender's defaults, {_name(size)}, to {other.name}", found, bar)
    for size in sizes:
        eight = parallel[size]
        at_least(
            f"eight associations, {_name(size)}, `write`, to storescp --fork",
            eight[OURS_WRITE].speed.rate / eight[STORESCP_FORK].speed.rate,
            0.8,
        )
        slowest = max(eight[k].echo_p99 for k in (OURS_WRITE, OURS_COMMIT)) * 1000
        at_most(f"C-ECHO p99 meanwhile, {_name(size)}", slowest, 100, "ms")
    for what, found in zip(("the multi-frame object", "the associations"), memory[OURS_COMMIT], strict=True):
        at_most(f"growth of a process with {what}", found, 64, "MB")
    lines = ["| bar | measured | met |", "|---|---|---|"]
    lines += [f"| {what} | {found} | {'yes' if met else 'no'} |" for what, found, met in rows]
    return "\n".join(lines) + "\n"


def _picture(fast: dict[int, Speeds], plain: dict[int, Speeds]) -> str:
    panels = []
    for title, speeds in (("sender with TCP_NODELAY", fast), ("sender's defaults (Nagle's algorithm)", plain)):
        for size, by_kind in speeds.items():
            bars = tuple(
                Bar(label=k.name, value=by_kind[k].rate, text=f"{by_kind[k].rate:,.0f}", ours=k.ours) for k in ALL
            )
            panels.append(Panel(title=f"{_name(size)} each, {title}: objects in a second", bars=bars))
    return svg("Objects received in a second over one association", panels)
