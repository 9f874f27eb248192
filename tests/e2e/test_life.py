"""The life of a report in a real Orthanc: draft, answered, signed, amended, withdrawn, beside a running service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydicom.dataset import Dataset

from service.demo.process import ServiceProcess, write_settings
from service.settings import Completion, Database, Local, Node, Settings, Signing, Storage, Triage
from tests.commands import lms_sr
from tests.e2e import orthanc
from tests.e2e.test_orthanc import (
    ALWAYS,
    COMPANION,
    DATA,
    QUIET,
    REPORT,
    Hospital,
    assert_stays,
    assert_valid,
    current,
    study_of,
    wait,
)
from tests.helpers import free_port
from tests.interop import validators

KOS = "1.2.840.10008.5.1.4.1.1.88.59"
SIGNED = ("COMPLETE", "VERIFIED", "FINAL")
DRAFT = ("PARTIAL", "UNVERIFIED", "PRELIMINARY")


def flags(ds: Dataset) -> tuple[str, str, str]:
    return ds.CompletionFlag, ds.VerificationFlag, ds.PreliminaryFlag


def run(there: Hospital, *words: str | Path) -> dict[str, object]:
    """Run ``lms-sr report …``, and return what it says."""
    done = lms_sr("report", *words, "--config", there.config, "--json")
    assert done.code == 0, done.err
    found: dict[str, object] = done.data
    return found


def purposes(ds: Dataset) -> dict[str, str]:
    return {
        str(sop.ReferencedSOPInstanceUID): str(sop.PurposeOfReferenceCodeSequence[0].CodeMeaning)
        for item in ds.PredecessorDocumentsSequence
        for series in item.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }


def complete(there: Hospital, study: str, folder: Path) -> Path:
    """Return a file of answers to everything that is not confirmed."""
    answers: list[dict[str, object]] = []
    for prompt in run(there, "show", study)["prompts"]:  # type: ignore[attr-defined] - JSON
        for question in prompt["questions"]:
            place = {"item": question["item"], "subject": question["subject"]}
            if question["state"] == "proposed":
                answers.append({**place, "confirm": True})
            elif question["item"] == "cert" and not question["subject"]:
                answers.append({"item": "cert", "subject": "dd.ddlps", "value": "possibly"})
            elif question["state"] == "open" and question["item"] != "dd":
                answers.append({**place, "not_evaluated": "not asked in this test"})
    path = folder / "answers.json"
    path.write_text(json.dumps(answers), encoding="utf-8")
    return path if answers else folder / "none"


def newest(there: Hospital, study: str, title: str = REPORT) -> Dataset:
    """Return what a viewer opens: the highest Instance Number of the series."""
    return max(there.reports(study, title), key=lambda ds: int(ds.InstanceNumber))


@pytest.mark.parametrize("name", ["sts_002"])
def test_a_report_lives_and_is_withdrawn_in_a_real_archive(tmp_path: Path, name: str) -> None:
    study = study_of(DATA / name)
    port = free_port()
    with orthanc.running(tmp_path / "orthanc", service_port=port, service_ae=ALWAYS) as pacs:
        settings = Settings(
            local=Local(port=port),
            storage=Storage(spool=tmp_path / "spool", reserve_mb=10),
            database=Database(url=SecretStr(f"sqlite:///{tmp_path / 'lms-sr.db'}")),
            completion=Completion(confirmed_quiet_seconds=QUIET, quiet_seconds=10),
            triage=Triage(always=(ALWAYS,)),
            signing=Signing(organisation="St Elsewhere", id_scheme="99HOSPITAL"),
            nodes=(Node(name="PACS", ae_title="PACS", port=pacs.dicom, query=True, reports=True),),
        )
        config = write_settings(tmp_path / "lms-sr.toml", settings)
        with ServiceProcess(config, tmp_path / "lms-sr.log", any_port=False):
            there = Hospital(pacs=pacs, config=config)
            pacs.send(DATA / name)
            wait(lambda: there.settled(study, 1, companion=True), "the draft")
            draft = current(there.reports(study))
            assert flags(draft) == DRAFT

            # answered, beside the running service, over its database
            version = 1
            while (file := complete(there, study, tmp_path)).is_file():
                version = int(str(run(there, "answer", study, "--file", file, "--as", "Roe^Jane")["version"]))
                file.unlink()
                assert version < 8
            wait(lambda: there.settled(study, version, companion=False), f"version {version}")
            assert flags(newest(there, study)) == DRAFT

            signed = int(str(run(there, "sign", study, "--as", "Roe^Jane", "--id", "4711")["version"]))
            wait(lambda: there.settled(study, signed, companion=False), "the signed report")
            report = newest(there, study)
            assert flags(report) == SIGNED
            assert current(there.reports(study)).SOPInstanceUID == report.SOPInstanceUID
            assert str(report.VerifyingObserverSequence[0].VerifyingObserverName) == "Roe^Jane"
            assert set(purposes(report).values()) - {"Current procedure evidence"} == {"Preliminary report"}
            assert_valid(report, tmp_path)
            if there.reports(study, COMPANION):
                assert flags(newest(there, study, COMPANION)) in {SIGNED, DRAFT}

            # what comes back by auto-forward changes nothing
            pacs.forward(study)
            assert_stays(there, study, len(pacs.documents(study)))
            assert there.status(study)["flag"] == ""

            words = ("hd.recommendation_el=Core biopsy.", "--reason", "second reading", "--as", "Doe^John")
            amended = int(str(run(there, "amend", study, *words)["version"]))
            wait(lambda: there.settled(study, amended, companion=False), "the amended report")
            after = newest(there, study)
            assert flags(after) == SIGNED
            assert purposes(after)[str(report.SOPInstanceUID)] == "Replaced report"
            assert set(purposes(after).values()) <= {"Replaced report", "Current procedure evidence"}
            assert_valid(after, tmp_path)

            ours = {str(ds.SOPInstanceUID) for ds in pacs.documents(study)}
            words = ("--reason", "images of another patient", "--as", "Doe^John")
            gone = int(str(run(there, "withdraw", study, *words)["version"]))
            wait(lambda: there.settled(study, gone, companion=False), "the last version")
            last = newest(there, study)
            assert current(there.reports(study)).SOPInstanceUID == last.SOPInstanceUID
            said = lms_sr("render", _saved(last, tmp_path)).out
            assert "WITHDRAWN" in said
            assert "images of another patient" in said
            assert_valid(last, tmp_path)

            wait(lambda: len(_notes(there, study)) == 1, "the rejection note")
            (note,) = _notes(there, study)
            named = {
                str(c.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)
                for c in note.ContentSequence
                if c.ValueType == "COMPOSITE"
            }
            assert named == ours
            assert note.ConceptNameCodeSequence[0].CodeMeaning == "Rejected for Patient Safety Reasons"
            path = tmp_path / "note.dcm"
            note.save_as(path)
            checked = validators.run(validators.require_python_tool("dciodvfy"), "-new", path)
            said = checked.stdout + checked.stderr
            assert "KeyObjectSelectionDocument" in said
            assert [line for line in said.splitlines() if line.startswith("Error")] == []

            states = [s["after"] for s in lms_sr("report", "history", study, "--json", "--config", config).data]
            assert [s for n, s in enumerate(states) if n == 0 or states[n - 1] != s] == [
                "draft", "in_progress", "signed", "amended", "withdrawn",
            ]  # fmt: skip
            # nothing is issued by itself any more
            pacs.forward(study)
            assert_stays(there, study, len(pacs.documents(study)))


def _saved(ds: Dataset, folder: Path) -> Path:
    path = folder / "last.dcm"
    ds.save_as(path)
    return path


def _notes(there: Hospital, study: str) -> list[Dataset]:
    """Return the rejection notes of the study in the archive."""
    found = []
    for series in there.pacs.get(f"/studies/{there.pacs._study(study)}/series"):
        if series["MainDicomTags"].get("Modality") == "KO":
            found += [orthanc.dcmread(orthanc.io.BytesIO(there.pacs.file(i))) for i in series["Instances"]]
    return [ds for ds in found if ds.SOPClassUID == KOS]
