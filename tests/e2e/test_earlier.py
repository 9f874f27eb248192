"""An earlier examination that only the PACS knows: a real Orthanc gives it by C-GET or C-MOVE, and the first draft is compared with it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydicom.dataset import Dataset

from service.demo import phantom as demo
from service.demo.phantom import Phantom
from service.demo.process import ServiceProcess, write_settings
from service.settings import Completion, Database, Local, Node, Settings, Storage
from tests.commands import lms_sr
from tests.e2e import orthanc
from tests.e2e.test_orthanc import wait
from tests.helpers import free_port
from tests.integration.world import text_of

TODAY = Phantom(seed="today", pixel=4.0, matrix=90, slices=38, slice_spacing=5.0, phases=("portal venous",), noise=0)
BEFORE = replace(TODAY, seed="before", study_date="20251201", accession_number="A2025009")


def earlier() -> list[Dataset]:
    """Return the study before, of the same tumour."""
    made = demo.study(BEFORE)
    for ds in made:
        for segment in ds.get("SegmentSequence", ()):
            if "TrackingUID" in segment:
                segment.TrackingUID = TODAY.tracking_uid
    return made


@pytest.mark.parametrize("retrieve", ["move", pytest.param("get", marks=pytest.mark.proof)])
def test_the_first_draft_is_compared_with_what_only_the_pacs_knows(tmp_path: Path, retrieve: str) -> None:
    port = free_port()
    with orthanc.running(tmp_path / "orthanc", service_port=port, stable_seconds=600) as pacs:
        node = Node.model_validate(
            {
                "name": "PACS",
                "ae_title": "PACS",
                "port": pacs.dicom,
                "query": True,
                "reports": True,
                "retrieve": retrieve,
            }
        )
        settings = Settings(
            local=Local(port=port),
            storage=Storage(spool=tmp_path / "spool", reserve_mb=10),
            database=Database(url=SecretStr(f"sqlite:///{tmp_path / 'lms-sr.db'}")),
            completion=Completion(confirmed_quiet_seconds=1, quiet_seconds=10),
            nodes=(node,),
        )
        config = write_settings(tmp_path / "lms-sr.toml", settings)
        pacs.send(*demo.save(earlier(), tmp_path / "before"), *demo.save(demo.study(TODAY), tmp_path / "today"))
        with ServiceProcess(config, tmp_path / "lms-sr.log", any_port=False):
            pacs.forward(TODAY.study_instance_uid)
            wait(lambda: bool(pacs.documents(TODAY.study_instance_uid)), "a report in the PACS")
            story = lms_sr("explain", TODAY.study_instance_uid, "--config", config).out
            assert "earlier examinations at PACS: 1 with something to compare, 1 objects of them asked for" in story
            there = lms_sr("status", BEFORE.study_instance_uid, "--json", "--config", config).data
            assert (there["state"], there["instances"], there["reports"]) == ("ignored", 2, [])
            shown = text_of(pacs.documents(TODAY.study_instance_uid)[0])
    rows = r"Course of the lesion in words: 2025-12-01: long axis 86\.5 mm[^:]*\(not confirmed\)\s.*words: 2026-03-01: long axis 86\.5 mm"
    assert re.search(rows, shown, re.DOTALL)
    assert "Specific growth rate of tumor volume: 0.000 %/d" in shown
