"""OHIF in a real browser, on a real Orthanc: what a radiologist sees of a report and of its companion.

Orthanc's DICOMweb and OHIF's settings are those of ``config/compose``, so what is shown here is what the try-out shows.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from service.demo.phantom import Phantom, write
from service.flow.produce import Produced, Rendition, produce
from service.measure.segments import measure_study
from service.model.report import Quantity
from service.read.folder import read_folder
from tests import builders as b
from tests.e2e.orthanc import Orthanc
from tests.helpers import NODE_FOLDER, ROOT, free_port, require, require_node_package
from tests.interop.validators import run
from tests.proof import test_many_reports as many

#: small enough for a software renderer, fine enough to be looked at
PHANTOM = Phantom(seed="viewer", slices=38, slice_spacing=5.0, phases=("portal venous",))
COMPLETE_AT = "https://lms-sr.hospital.example/r/7QF4-K2MD"
#: where the screenshots go that the documentation shows
SCREENSHOTS = "LMS_SR_SCREENSHOTS"


@dataclass(frozen=True, slots=True)
class Viewer:
    """A viewer with one study: where it listens, and where its screenshots go."""

    address: str
    study: str
    folder: Path

    def look(self, rendition: Rendition, name: str = "") -> dict[str, Any]:
        """Open the series of an object as a reader does, and return what could be seen."""
        done = run(
            "node",
            NODE_FOLDER / "look.mjs",
            self.address,
            self.study,
            rendition.series_instance_uid,
            self.folder / (name or rendition.kind),
            timeout=240,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        seen: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return seen


@pytest.fixture(scope="module")
def produced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Produced, list[Path]]:
    """Return the draft of the phantom, and the files of its study."""
    folder = tmp_path_factory.mktemp("study")
    files = write(PHANTOM, folder)
    found = read_folder(folder)
    (study,) = found.studies
    options = replace(b.OPTIONS, complete_at=COMPLETE_AT)
    return produce(study, measure_study(study, found.open_file), None, options), files


@pytest.fixture(scope="module")
def renditions(produced: tuple[Produced, list[Path]]) -> tuple[Rendition, ...]:
    return b.rendered(produced[0], profile="ohif")


@pytest.fixture(scope="module")
def answered(produced: tuple[Produced, list[Path]]) -> Rendition:
    """Return the report of another installation for the same study, with an answer to everything and signed."""
    draft = replace(
        produced[0], options=replace(produced[0].options, installation="5f0c5a0a-0000-4000-8000-000000000001")
    )
    return b.rendered(many.stage(draft, random.Random(3), "signed"))[0]


@pytest.fixture(scope="module")
def viewer(
    produced: tuple[Produced, list[Path]],
    renditions: tuple[Rendition, ...],
    answered: Rendition,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Viewer]:
    require("/usr/bin/chromium", "apt install chromium")
    require_node_package("playwright-core")
    require_node_package("@ohif/app")
    folder = tmp_path_factory.mktemp("viewer")
    with ExitStack() as stack:
        orthanc = stack.enter_context(_orthanc(folder))
        files = [folder / f"{r.kind}.dcm" for r in renditions]
        for path, rendition in zip(files, renditions, strict=True):
            path.write_bytes(rendition.part10)
        (folder / "answered.dcm").write_bytes(answered.part10)
        orthanc.send(*produced[1], *files, folder / "answered.dcm", called="PACS")
        port = free_port()
        served = stack.enter_context(
            subprocess.Popen(
                ["node", NODE_FOLDER / "serve.mjs", str(port), str(orthanc.http)], stdout=subprocess.PIPE, text=True
            )
        )
        stack.callback(served.terminate)
        assert served.stdout is not None
        assert served.stdout.readline() == "ready\n"
        yield Viewer(f"http://127.0.0.1:{port}", produced[0].study.study_instance_uid, folder)


@contextmanager
def _orthanc(folder: Path) -> Iterator[Orthanc]:
    """Run an Orthanc with the DICOMweb settings of ``config/compose`` until the block ends."""
    program = require("/usr/sbin/Orthanc", "apt install orthanc")
    plugin = require("/usr/share/orthanc/plugins/libOrthancDicomWeb.so", "apt install orthanc-dicomweb")
    shipped = json.loads((ROOT / "config/compose/orthanc.json").read_text(encoding="utf-8"))
    pacs = Orthanc(folder, free_port(), free_port())
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "Plugins": [str(plugin)],
        "HttpPort": pacs.http,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomAet": "PACS",
        "DicomPort": pacs.dicom,
        "DicomAlwaysAllowStore": True,
        "DicomWeb": shipped["DicomWeb"],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("w") as log:
        process = subprocess.Popen([program, folder / "orthanc.json"], stdout=log, stderr=log)
        try:
            end = time.monotonic() + 20
            while True:
                try:
                    pacs.get("/system")
                except OSError:
                    assert time.monotonic() < end, (folder / "orthanc.log").read_text()[-2000:]
                    time.sleep(0.1)
                else:
                    break
            yield pacs
        finally:
            process.terminate()
            process.wait(20)


def _keep(screenshot: Path, name: str) -> None:
    """Keep a screenshot for the documentation, where it is asked for."""
    assert screenshot.stat().st_size > 20_000, "the screenshot is all but empty"
    if folder := os.environ.get(SCREENSHOTS):
        Path(folder).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(screenshot, Path(folder) / name)


@pytest.mark.timeout(300)
def test_the_report_reads_as_text_from_the_summary_on(viewer: Viewer, renditions: tuple[Rendition, ...]) -> None:
    seen = viewer.look(renditions[0])
    assert seen["errors"] == []
    assert not seen["prompt"]
    lines = [line.replace("\xa0", " ") for line in seen["sr"]["text"].splitlines()]
    assert lines[0] == "1. Oncology Measurement Report"
    # the first screen: what is known, how far to trust it, what is open, where to go on
    first = lines[:14]
    assert "1.1. Summary (automatic, not verified)" in first
    assert any(line.startswith("Summary: DRAFT, NOT VERIFIED. Segmented right mass, LMS-T1: ") for line in first)
    assert any(line.startswith("To be answered: Diagnosis · ") for line in first)
    assert f"Complete at: {COMPLETE_AT}" in first
    assert "Indications for Procedure: retroperitoneal mass, ?leiomyosarcoma" in lines
    comment = next(line for line in lines if line.startswith("Comment: "))
    assert comment.startswith(
        "Comment: LMS-T1, proposed from the segmentation and by a rule, not confirmed: Mass, right"
    )
    # what OHIF cannot show is the two images that numbers were taken on and each group's segment, never a page of them
    groups = sum(line.endswith("Measurement Group") for line in lines)
    assert sum("is not supported" in line for line in lines) == 2 + groups
    _keep(viewer.folder / "report_sr.png", "report-ohif.png")


@pytest.mark.timeout(300)
def test_a_signed_report_with_an_answer_to_everything_reads_as_text(viewer: Viewer, answered: Rendition) -> None:
    seen = viewer.look(answered, "answered")
    assert seen["errors"] == []
    lines = [line.replace("\xa0", " ") for line in seen["sr"]["text"].splitlines() if line.strip()]
    assert lines[0] == "1. Oncology Measurement Report"
    # the impression comes first, and nothing of the draft is left
    assert "1.1. Impressions" in lines[:14]
    assert not any("DRAFT" in line or "not confirmed" in line or "Open items" in line for line in lines)
    # a value that is none would be shown so; a value may stand on the line after its name
    assert not any("undefined" in line for line in lines)
    assert [a for a, then in pairwise(lines) if a.rstrip().endswith(":") and ": " in then] == []
    _keep(viewer.folder / "answered_sr.png", "answered-ohif.png")


@pytest.mark.timeout(300)
def test_the_companion_is_drawn_on_its_image_and_becomes_a_measurement(
    viewer: Viewer, produced: tuple[Produced, list[Path]], renditions: tuple[Rendition, ...]
) -> None:
    report = produced[0].report
    long_axis, short_axis = (
        (answer, value.number)
        for item in ("sz.long_axis", "sz.short_axis")
        for answer in report.answers_of(item, "LMS-T1")
        for value in answer.values
        if isinstance(value, Quantity)
    )
    seen = viewer.look(renditions[1])
    assert seen["errors"] == []
    assert seen["sr"]["isLoaded"]
    assert seen["sr"]["shapes"] >= 2
    # the image that the report names is the one on the screen
    number = long_axis[0].basis.removeprefix("axial, image ")
    assert f"I:{number} (" in seen["sr"]["text"]
    (overlay,) = seen["sr"]["overlay"]
    assert overlay.startswith("DRAFT, proposed: LMS-T1 ")
    assert f"{long_axis[1]}" in overlay
    assert f"{short_axis[1]}" in overlay
    assert seen["prompt"], "OHIF does not offer to make it a measurement"
    hydrated = seen["hydrated"]
    assert [m["tool"] for m in hydrated["tracked"]] == ["Bidirectional"]
    assert hydrated["tracked"][0]["label"].startswith("DRAFT, proposed: LMS-T1 ")
    # computed by OHIF from the line's ends
    assert f"L: {long_axis[1]} mm" in hydrated["overlay"][0]
    assert f"W: {short_axis[1]} mm" in hydrated["overlay"][0]
    _keep(viewer.folder / "companion_hydrated.png", "companion-ohif.png")
