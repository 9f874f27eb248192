"""The demo shows the whole loop, and is not satisfied with a report that says what is not so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from service.demo import run as demo
from service.demo.pacs import StandInPacs
from service.demo.phantom import Phantom
from service.demo.truth import Truth
from service.sr import gate

#: coarse, so that it is made and measured within a second, and yet covers the tumour
SMALL = Phantom(seed="small", slices=44, slice_spacing=4.4, matrix=96, pixel=3.7, phases=("portal venous",))


def test_the_loop_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert demo.run(out, as_json=True, phantom=SMALL) == 0
    printed = capsys.readouterr()
    found: dict[str, Any] = json.loads(printed.out)
    assert (found["good"], found["problems"], found["registered"]) == (True, [], True)
    assert found["study"] == SMALL.study_instance_uid
    assert len(found["values"]) == len(SMALL.truth.all)
    for value in found["values"]:
        assert value["agrees"]
        assert abs(value["measured"] - value["true"]) <= value["tolerance"]
    assert gate.document_problems(dcmread(found["sr"])) == []
    assert "DRAFT, NOT VERIFIED" in Path(found["page"]).read_text(encoding="utf-8")
    assert str(out / "lms-sr.toml") in found["command"]
    # what it does is told beside the results
    assert "the report is back in the PACS" in printed.err


def test_a_report_that_does_not_say_what_is_true(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = SMALL.truth
    volume = replace(right.volume, value=right.volume.value * 1.5)
    monkeypatch.setattr(Phantom, "truth", property(lambda self: wrong(right, volume=volume)))
    assert demo.run(tmp_path / "out", phantom=SMALL) == 1
    text = capsys.readouterr().out
    assert "DRAFT, NOT VERIFIED" in text
    assert "stored at PACS" in text
    assert "valid: yes; the registry has the same report: yes" in text
    lines = [line for line in text.splitlines() if " ± " in line]
    assert len(lines) == len(right.all)
    assert [line.strip().split("  ")[0] for line in lines if line.endswith("NO")] == [volume.name]
    assert "lms-sr registry show" in text


def wrong(right: Truth, **changes: Any) -> Truth:
    return replace(right, **changes)


def test_a_report_that_never_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_PATIENCE", 0.5)
    monkeypatch.setattr(StandInPacs, "forward", lambda *_, **__: 0)
    assert demo.run(tmp_path / "out", phantom=replace(SMALL, slices=44, matrix=16, pixel=22.0)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "no report came back" in printed.err
    assert "was not received" in printed.err
    assert str(tmp_path / "out" / "lms-sr.log") in printed.err
