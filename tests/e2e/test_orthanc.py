"""The main job on real studies: a real Orthanc forwards, the real service answers, and what lies in the study is what it should be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydicom import dcmread
from pydicom.dataset import Dataset

from service.demo.process import ServiceProcess, write_settings
from service.model.report_json import from_json, to_json
from service.settings import Completion, Database, Local, Node, Settings, Storage, Triage
from service.sr.parse import parse
from sr_templates import load_template
from tests.commands import lms_sr
from tests.e2e import orthanc
from tests.helpers import ROOT, free_port
from tests.interop import validators

DATA = ROOT / "tests" / "data"
ALWAYS = "LMS_ALWAYS"
REPORT, COMPANION = "126001", "126000"
#: purpose of a predecessor whose content was taken in (CID 7009): the studies of tests/data hold measurements of others
EVIDENCE = "122073"
#: the studies of tests/data, and whether a segmentation of a tumour is in them
STUDIES = {"sts_002": True, "sts_035": True, "abdomen": False}
SECONDS = 45.0
#: quiet after which a study counts as complete: a second stable event has to be over well within the time that a test waits for nothing
QUIET = 1.0
#: how long a test waits for something that must not happen
NOTHING = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    """An Orthanc and the service beside it, each configured for the other."""

    pacs: orthanc.Orthanc
    config: Path

    def reports(self, study: str, title: str = REPORT) -> list[Dataset]:
        """Return our documents with this title in the PACS's study."""
        return [ds for ds in self.pacs.documents(study) if ds.ConceptNameCodeSequence[0].CodeValue == title]

    def status(self, study: str) -> dict[str, object]:
        """Return what ``lms-sr status`` says."""
        done = lms_sr("status", study, "--json", "--config", self.config)
        assert done.code == 0, done.err
        found: dict[str, object] = done.data
        return found

    def settled(self, study: str, version: int, *, companion: bool) -> bool:
        """Say whether the PACS holds this version, and the service knows that it does."""
        objects = self.reports(study) + (self.reports(study, COMPANION) if companion else [])
        there = {(ds.ConceptNameCodeSequence[0].CodeValue, int(ds.InstanceNumber)) for ds in objects}
        wanted = {(REPORT, version)} | ({(COMPANION, version)} if companion else set())
        return wanted <= there and self.status(study)["state"] == "sent"


@contextmanager
def hospital(folder: Path, database_url: str) -> Iterator[Hospital]:
    """Run Orthanc and the service until the block ends."""
    port = free_port()
    with ExitStack() as stack:
        pacs = stack.enter_context(orthanc.running(folder / "orthanc", service_port=port, service_ae=ALWAYS))
        settings = Settings(
            local=Local(port=port),
            storage=Storage(spool=folder / "spool", reserve_mb=10),
            database=Database(url=SecretStr(database_url)),
            completion=Completion(confirmed_quiet_seconds=QUIET, quiet_seconds=10),
            triage=Triage(always=(ALWAYS,)),
            nodes=(Node(name="PACS", ae_title="PACS", port=pacs.dicom, query=True, reports=True),),
        )
        config = write_settings(folder / "lms-sr.toml", settings)
        stack.enter_context(ServiceProcess(config, folder / "lms-sr.log", any_port=False))
        yield Hospital(pacs=pacs, config=config)


def wait(condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Wait until ``condition`` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.25)


def study_of(folder: Path) -> str:
    """Return the Study Instance UID of the files in a folder."""
    found = {str(dcmread(p, specific_tags=["StudyInstanceUID"]).StudyInstanceUID) for p in folder.rglob("*.dcm")}
    (uid,) = found
    return uid


def current(documents: list[Dataset]) -> Dataset:
    """Return the only document that no other names as predecessor."""
    named = {uid for ds in documents for uid in predecessors(ds)}
    (found,) = (ds for ds in documents if ds.SOPInstanceUID not in named)
    return found


def predecessors(ds: Dataset) -> list[str]:
    """Return what a document replaces: Predecessor Documents Sequence (0040,A360) but the SRs of others that are its evidence."""
    return [
        str(item.ReferencedSOPInstanceUID)
        for study in ds.get("PredecessorDocumentsSequence", ())
        for series in study.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
        if item.PurposeOfReferenceCodeSequence[0].CodeValue != EVIDENCE
    ]


def assert_valid(ds: Dataset, folder: Path) -> None:
    """See that the object as the PACS gives it has no errors for dciodvfy, and reads in dcmtk."""
    path = folder / f"{ds.SOPInstanceUID}.dcm"
    ds.save_as(path)
    found = [line for line in validators.dciodvfy(path) if line.startswith("Error")]
    assert found == []
    assert validators.dsrdump(path)


def assert_told_alike(there: Hospital, study: str, version: int) -> None:
    """See that status, explain and registry say what lies in the PACS."""
    documents = there.pacs.documents(study)
    status = there.status(study)
    assert status["study"] == study
    told = {(r["sop_instance_uid"], r["version"], r["delivery"]) for r in status["reports"]}  # type: ignore[attr-defined]
    assert told == {(str(ds.SOPInstanceUID), int(ds.InstanceNumber), "sent") for ds in documents}
    assert {(r["completion"], r["verification"]) for r in status["reports"]} == {("PARTIAL", "UNVERIFIED")}  # type: ignore[attr-defined]

    story = lms_sr("explain", study, "--config", there.config)
    assert story.code == 0, story.err
    assert f"report version {version} composed" in story.out
    assert f"report version {version + 1} composed" not in story.out
    assert f"called as {ALWAYS}" in story.out

    shown = lms_sr("registry", "show", study, "--json", "--config", there.config)
    assert shown.code == 0, shown.err
    assert shown.data["record"]["version"] == version
    in_pacs = parse(current(there.reports(study)), load_template("baseline"))
    assert to_json(in_pacs) == to_json(from_json(json.dumps(shown.data["report"])))


def assert_stays(there: Hospital, study: str, documents: int) -> None:
    """See that no further document arrives."""
    end = time.monotonic() + NOTHING
    while time.monotonic() < end:
        assert len(there.pacs.documents(study)) == documents
        time.sleep(0.5)


def test_real_studies_come_back_with_one_current_report_each(tmp_path: Path) -> None:
    with hospital(tmp_path, f"sqlite:///{tmp_path / 'lms-sr.db'}") as there:
        uids = {name: study_of(DATA / name) for name in STUDIES}
        there.pacs.send(*(DATA / name for name in STUDIES))
        for name, segmented in STUDIES.items():
            wait(lambda: there.settled(uids[name], 1, companion=segmented), f"the report of {name}")  # noqa: B023 - called here

        for name, segmented in STUDIES.items():
            study = uids[name]
            documents = there.pacs.documents(study)
            report = current(there.reports(study))
            assert len(documents) == 1 + segmented
            for ds in documents:
                assert_valid(ds, tmp_path)
                assert ds.PatientID == dcmread(next((DATA / name).rglob("0*.dcm"))).PatientID
                assert (ds.CompletionFlag, ds.VerificationFlag) == ("PARTIAL", "UNVERIFIED")
            assert predecessors(report) == []
            if segmented:
                assert predecessors(current(there.reports(study, COMPANION))) == []
            assert_told_alike(there, study, 1)

        # our reports arrived, so each study grew stable a second time, and was forwarded once more
        for name, segmented in STUDIES.items():
            wait(lambda: there.pacs.forwards(uids[name]) >= 2, f"the second forward of {name}")  # noqa: B023 - as above
            there.pacs.forward(uids[name])
            assert len(there.pacs.documents(uids[name])) == 1 + segmented
        assert_stays(there, uids["abdomen"], 1)
        for name, segmented in STUDIES.items():
            assert len(there.pacs.documents(uids[name])) == 1 + segmented
            assert_told_alike(there, uids[name], 1)

        overview = lms_sr("status", "--json", "--config", there.config).data
        assert overview["states"] == {"sent": 3}
        assert (overview["queued"], overview["parked"], overview["quarantined"]) == (0, 0, 0)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_late_images_make_a_second_version_that_replaces_the_first(tmp_path: Path, database_url: str) -> None:
    folder = DATA / "sts_002"
    study = study_of(folder)
    late = folder / "MR_T1"
    with hospital(tmp_path, database_url) as there:
        there.pacs.send(*(p for p in sorted(folder.iterdir()) if p != late))
        wait(lambda: there.settled(study, 1, companion=True), "version 1")
        first = {title: current(there.reports(study, title)) for title in (REPORT, COMPANION)}

        # the same images once more are no news
        there.pacs.send(folder / "CT")
        wait(lambda: there.pacs.forwards(study) >= 2, "the forward that our own reports cause")
        there.pacs.forward(study)
        assert_stays(there, study, 2)

        there.pacs.send(late)
        wait(lambda: there.settled(study, 2, companion=True), "version 2")
        assert len(there.pacs.documents(study)) == 4
        for title, older in first.items():
            newer = current(there.reports(study, title))
            assert predecessors(newer) == [older.SOPInstanceUID]
            assert newer.SeriesInstanceUID == older.SeriesInstanceUID
            assert (int(older.InstanceNumber), int(newer.InstanceNumber)) == (1, 2)
            assert_valid(newer, tmp_path)
        assert_told_alike(there, study, 2)


def test_an_unsegmented_study_gets_no_companion(tmp_path: Path) -> None:
    ct = [DATA / "sts_035" / "CT"]
    study = study_of(DATA / "sts_035")
    with hospital(tmp_path, f"sqlite:///{tmp_path / 'lms-sr.db'}") as there:
        there.pacs.send(*ct)
        wait(lambda: there.settled(study, 1, companion=False), "the report")
        assert there.reports(study, COMPANION) == []
        # a segmentation that comes later brings the companion, as version 2 of both
        there.pacs.send(DATA / "sts_035" / "PET", DATA / "sts_035" / "PET_SEG.dcm")
        wait(lambda: there.settled(study, 2, companion=True), "version 2 with its companion")
        companion = current(there.reports(study, COMPANION))
        assert predecessors(companion) == []
        assert int(companion.InstanceNumber) == 2
        assert predecessors(current(there.reports(study))) == [there.reports(study)[0].SOPInstanceUID]
        assert_valid(companion, tmp_path)
