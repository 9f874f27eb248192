"""Basic Text SR: only what PS3.3 A.35.1 allows, all of it text, and nothing of the report left out that people read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from pydicom.dataset import Dataset
from pydicom.sr._concepts_dict import concepts

from service.model.report import (
    Answer,
    CompletionFlag,
    Provenance,
    Quantity,
    Report,
    Scope,
    Status,
    Subject,
    Uid,
)
from service.sr import words
from service.sr.basic_text import BASIC_TEXT_SR, RENDITION, TITLE, basic_text
from service.sr.document import Envelope, document, to_bytes
from service.sr.encode import Presentation, observer_rows
from service.sr.items import MAX_TEXT
from sr_templates import load_codes, load_template
from sr_templates.language.values import Fill
from tests import builders as b
from tests.property.test_round_trip import reports

BASELINE = load_template("baseline")
CODES = load_codes()
CID_7001 = {c for s in concepts["LN"].values() for c, (_, cids) in s.items() if 7001 in cids}
#: source → relationship → targets, of PS3.3 Table A.35.1-2, as far as we write them
ALLOWED = {
    ("CONTAINER", "CONTAINS"): {"TEXT", "CODE", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME", "COMPOSITE", "IMAGE", "WAVEFORM", "CONTAINER"},
    ("CONTAINER", "HAS OBS CONTEXT"): {"TEXT", "CODE", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME", "COMPOSITE"},
    ("CONTAINER", "HAS CONCEPT MOD"): {"TEXT", "CODE"},
}  # fmt: skip


def edges(item: Dataset) -> Iterator[tuple[str, str, str]]:
    for child in item.get("ContentSequence", ()):
        yield item.ValueType, child.RelationshipType, child.ValueType
        yield from edges(child)


def name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def sections(root: Dataset) -> dict[str, list[tuple[str, str]]]:
    """Return heading → (name, text) of a root."""
    return {
        name(c): [(name(t), str(t.TextValue)) for t in c.ContentSequence]
        for c in root.ContentSequence
        if c.ValueType == "CONTAINER"
    }


def answer(item: str, *values: object, subject: str = "", status: Status = Status.CONFIRMED, **more: object) -> Answer:
    return Answer(
        item=item, values=values, subject=subject, status=status, provenance=Provenance.RADIOLOGIST, **more  # type: ignore[arg-type]
    )  # fmt: skip


def report(*answers: Answer, subjects: tuple[Subject, ...] = (), remarks: tuple[str, ...] = ()) -> Report:
    procedure = replace(answer("tid.procedure_reported", CODES["proc.ct_report"]), provenance=Provenance.DICOM)
    return Report(
        template="baseline",
        template_version=BASELINE.version,
        study_instance_uid=b.STUDY_UID,
        modalities=("CT",),
        subjects=subjects,
        answers=(procedure, *answers),
        remarks=remarks,
    )


@settings(max_examples=25)
@given(reports())
def test_only_what_basic_text_allows_is_written(made):
    root = basic_text(*made, Presentation())
    for source, relation, target in edges(root):
        assert target in ALLOWED[source, relation]
    for container in (c for c in root.ContentSequence if c.ValueType == "CONTAINER"):
        assert {t.ValueType for t in container.ContentSequence} == {"TEXT"}
        assert container.ConceptNameCodeSequence[0].CodeValue in CID_7001
        assert container.ContinuityOfContent == "SEPARATE"
        assert all(0 < len(t.TextValue) <= MAX_TEXT for t in container.ContentSequence)


@settings(max_examples=25)
@given(reports())
def test_every_answer_that_people_read_is_said(made):
    made_report, template = made
    root = basic_text(made_report, template, Presentation())
    said = "".join(t for lines in sections(root).values() for _, t in lines)
    for found in made_report.answers:
        item = template.item(found.item)
        # the line of a series says what its headers say; who and what made the report stands in front
        in_a_line = item.scope is Scope.SERIES and (item.fill is not Fill.PERSON or item.key == "tech.phase")
        if in_a_line or item.fill is Fill.ROW or item.key in observer_rows(made_report):
            continue
        if found.item in {"tid.procedure_reported", "tid.tracking_id", "tid.tracking_uid"}:
            continue
        if all(isinstance(v, Uid) for v in found.values):
            # for machines: people have no use for it
            continue
        for value in found.values:
            assert words.value(value).strip() in said, found.item
        assert found.reason in said, found.item


def test_the_root_is_a_diagnostic_imaging_report_of_tid_2000():
    root = basic_text(report(), BASELINE, Presentation())
    assert root.ContentTemplateSequence[0].TemplateIdentifier == "2000"
    title = root.ConceptNameCodeSequence[0]
    assert (title.CodeValue, title.CodingSchemeDesignator) == (TITLE.value, "LN")
    assert 7000 in concepts["LN"]["DiagnosticImagingReport"][TITLE.value][1]
    (language, procedure) = [c for c in root.ContentSequence if c.RelationshipType == "HAS CONCEPT MOD"]
    assert name(language) == "Language of Content Item and Descendants"
    assert name(procedure) == "Procedure reported"


def test_it_says_that_the_coded_report_is_elsewhere():
    for presentation in (Presentation(), Presentation(completion=CompletionFlag.COMPLETE)):
        found = sections(basic_text(report(), BASELINE, presentation))
        assert found["Summary"][0] == ("Remark", RENDITION)


def test_a_draft_says_that_it_is_one_and_what_is_open():
    found = dict(sections(basic_text(report(), BASELINE, Presentation(complete_at="https://x.example/r/1")))["Summary"])
    assert found["Summary (automatic, not verified)"].startswith("DRAFT, NOT VERIFIED.")
    assert "Vessel relations" in found["To be answered"]
    assert found["Complete at"] == "https://x.example/r/1"


def test_a_complete_report_is_no_draft():
    found = sections(basic_text(report(), BASELINE, Presentation(completion=CompletionFlag.COMPLETE)))
    assert [n for n, _ in found["Summary"]] == ["Remark", "Completeness"]


@pytest.mark.parametrize("status", [Status.PROPOSED, Status.CONFIRMED])
def test_a_machines_impression_does_not_stand_under_impressions(status):
    made = report(replace(answer("hd.impression_el", "Mass of the IVC", status=status), provenance=Provenance.RULE))
    found = sections(basic_text(made, BASELINE, Presentation()))
    if status is Status.CONFIRMED:
        assert found["Impressions"] == [("Impression", "Mass of the IVC")]
        assert next(iter(found)) == "Impressions"
    else:
        assert "Impressions" not in found
        assert ("Suggested impression (automatic)", "Mass of the IVC (proposed by a rule)") in found["Summary"]


def test_a_number_is_text_with_its_unit_and_statistic():
    unit = BASELINE.item("ct.hu").unit
    made = report(
        answer("ct.hu", Quantity(number=Decimal("61.2"), unit=unit), subject="LMS-T1", derivation=CODES["deriv.mean"]),
        answer(
            "ct.hu",
            Quantity(number=None, unit=unit, qualifier=CODES["nq.not_attempted"]),
            subject="LMS-T1",
            reason="metal",
        ),
        subjects=(Subject(key="LMS-T1", scope=Scope.LESION, tracking_id="LMS-T1", tracking_uid="2.25.7"),),
    )
    label = BASELINE.item("ct.hu").label
    ((heading, text),) = sections(basic_text(made, BASELINE, Presentation()))["Findings"]
    assert heading == "Tumor findings"
    assert text == (f"LMS-T1: {label} (Mean): 61.2 HU; {label}: {CODES['nq.not_attempted'].meaning} (metal)")


def test_a_structure_is_called_as_people_call_it():
    made = report(
        answer("ves.relation", CODES["vr.abut"], subject="ves.renal_v/left"),
        subjects=(
            Subject(
                key="ves.renal_v/left",
                scope=Scope.VESSEL,
                tracking_id="left renal vein",
                tracking_uid="2.25.8",
                structure=CODES["ves.renal_v"],
                side=CODES["v.left"],
                remarks=("cut by the image border",),
            ),
        ),
    )
    ((heading, text),) = sections(basic_text(made, BASELINE, Presentation()))["Findings"]
    assert heading == "Vessels"
    assert text.startswith("Left renal vein: ")
    assert text.endswith(f"{CODES['vr.abut'].meaning}; cut by the image border")


def test_a_long_line_is_parted_and_nothing_is_lost():
    remarks = tuple(f"remark {n} " + "x" * 90 for n in range(100))
    made = report(subjects=(Subject(key="LMS-T1", scope=Scope.LESION, tracking_id="LMS-T1", tracking_uid="2.25.7", remarks=remarks),))  # fmt: skip
    lines = sections(basic_text(made, BASELINE, Presentation()))["Findings"]
    assert len(lines) > 1
    assert "; ".join(t for _, t in lines) == "LMS-T1: " + "; ".join(remarks)
    unbroken = report(answer("hd.indications", "y" * (2 * MAX_TEXT + 3)))
    parts = sections(basic_text(unbroken, BASELINE, Presentation()))["Clinical Information"]
    assert [len(t) for _, t in parts] == [MAX_TEXT, MAX_TEXT, 3]


def test_the_same_report_gives_the_same_bytes():
    envelope = Envelope(
        sop_class_uid=BASIC_TEXT_SR,
        sop_instance_uid="2.25.1",
        series_instance_uid="2.25.2",
        series_number=9901,
        series_description="LMS report",
        version=1,
        created_at=b.CREATED_AT,
    )
    made = report(answer("ctx.dx_status", CODES["ctx.dx_status.biopsy"]), remarks=("late images",))
    one, two = (
        to_bytes(document(basic_text(made, BASELINE, Presentation()), b.study(), envelope), b.study(), envelope)
        for _ in range(2)
    )
    assert one == two
    assert b"NUM" not in one
