"""What the benchmarks write into the documentation: the drawing is well-formed, and a verdict follows from the numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from service.dimse import gatekeeper
from tests import dicom_bytes as db
from tests.bench import bench_receive
from tests.bench.bars import Bar, Panel, svg
from tests.bench.bench_receive import ALL, FULL, KB, Memory, Parallel, Speed
from tests.bench.receivers import ORTHANC, OURS_COMMIT, OURS_WRITE, PYNETDICOM, STORESCP, STORESCP_FORK
from tests.bench.senders import Files, bare_loop, large_file

SVG = "{http://www.w3.org/2000/svg}"


def test_longer_bars_stand_for_greater_numbers_on_one_scale() -> None:
    bars = tuple(Bar(label=f"<{v}>", value=v, text=f"{v:g} & more") for v in (0.5, 10.0, 1000.0, 4000.0))
    root = ET.fromstring(svg("A & B", [Panel(title="first", bars=bars[:2]), Panel(title="second", bars=bars[2:])]))  # noqa: S314 - our own
    widths = [float(r.attrib["width"]) for r in root.iter(f"{SVG}rect")][1:]
    assert widths == sorted(widths)
    # half a decade is half as long, wherever it stands
    assert widths[2] - widths[1] == pytest.approx((widths[1] - widths[0]) * 2 / (1 + 0.30103), rel=0.02)


def test_new_round_makes_new_instances_that_the_gatekeeper_takes(tmp_path: Path) -> None:
    files = Files.make(tmp_path / "files", 3, 12 * KB)
    seen = set()
    for number in (1, 2, 150):
        files.renew(number)
        for path in files.paths:
            raw = path.read_bytes()
            offset = 144 + int.from_bytes(raw[140:144], "little")
            at = raw.index(b"\x08\x00\x18\x00UI") + 8
            instance = raw[at : at + raw[at - 2]].rstrip(b"\0").decode()
            gatekeeper.scan(
                raw[offset:], transfer_syntax_uid=db.EXPLICIT, sop_class_uid=db.CT, sop_instance_uid=instance
            )
            seen.add(instance)
            assert raw.count(instance.encode()) == 2, "the file meta information says the same"
            assert abs(len(raw) - 12 * KB) < 500
    assert len(seen) == 9


def test_large_object_takes_no_room(tmp_path: Path) -> None:
    path = large_file(tmp_path / "large.dcm", 500_000_000, "2.25.1")
    assert path.stat().st_size > 500_000_000
    assert path.stat().st_blocks * 512 < 1_000_000


def test_bare_loop_leaves_each_file_once(tmp_path: Path) -> None:
    assert bare_loop(tmp_path / "bare", [10, 20, 30]) > 0
    assert sorted(p.stat().st_size for p in (tmp_path / "bare" / "final").iterdir()) == [10, 20, 30]


def test_bars_are_judged_by_the_numbers() -> None:
    seconds = {STORESCP: 1.0, ORTHANC: 5.0, PYNETDICOM: 8.0, OURS_WRITE: 1.1, OURS_COMMIT: 2.2}
    sizes = (512 * KB, 12 * KB)
    fast = {s: {k: Speed(seconds=seconds[k], objects=100, size=s) for k in ALL} for s in sizes}
    slow = {k: 1.0 if k.ours else 100.0 for k in ALL}
    plain = {s: {k: Speed(seconds=slow[k], objects=100, size=s) for k in ALL} for s in sizes}
    one = Parallel(speed=Speed(seconds=1.0, objects=8, size=1), echo_p50=0.01, echo_p99=0.02, echoes=9)
    parallel = {s: dict.fromkeys((STORESCP_FORK, OURS_WRITE, OURS_COMMIT), one) for s in sizes}
    memory: Memory = {STORESCP: (0.0, float("nan")), OURS_COMMIT: (10.0, 20.0)}
    bare = dict.fromkeys(sizes, 1.0)

    def verdicts() -> list[str]:
        table = bench_receive._bars_table(sizes, fast, plain, bare, parallel, memory)
        return [line.rsplit("|", 2)[1].strip() for line in table.splitlines()[2:]]

    assert set(verdicts()) == {"yes"}
    fast[sizes[1]][OURS_COMMIT] = replace(fast[sizes[1]][OURS_COMMIT], seconds=2.4)
    memory[OURS_COMMIT] = (65.0, 20.0)
    assert verdicts().count("no") == 2
    assert "takes one at a time" in bench_receive._memory_table(memory, FULL)
    assert "2,000 MB" in bench_receive._memory_table(memory, FULL)
    text = bench_receive._speeds("A case", sizes, fast, bare)
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
