"""A Basic Text rendition through the validators and readers that others trust: dciodvfy, PixelMed, dcmtk."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from service.model.report import (
    Answer,
    CompletionFlag,
    PersonName,
    Provenance,
    Quantity,
    Report,
    Scope,
    Status,
    Subject,
    Uid,
)
from service.model.signing import Person, Signature
from service.sr.basic_text import BASIC_TEXT_SR, RENDITION, basic_text
from service.sr.document import Envelope, document, to_bytes
from service.sr.encode import Presentation
from sr_templates import Template, load_codes, load_template, template_names
from tests import builders as b
from tests.helpers import require_python_tool
from tests.interop import validators

CODES = load_codes()
ENVELOPE = Envelope(
    sop_class_uid=BASIC_TEXT_SR,
    sop_instance_uid="2.25.101",
    series_instance_uid="2.25.102",
    series_number=9901,
    series_description="LMS report",
    version=1,
    created_at=dt.datetime(2026, 3, 1, 10, 20, tzinfo=dt.UTC),
    timezone="Europe/Berlin",
)


def _report(template: Template, *, full: bool) -> Report:
    """Return a report that says a little of everything, or nothing but what each report has."""

    def answer(item: str, *values: object, subject: str = "", **more: object) -> Answer:
        given: dict[str, object] = {"status": Status.PROPOSED, "provenance": Provenance.SEGMENTATION, **more}
        return Answer(item=item, values=values, subject=subject, **given)  # type: ignore[arg-type]

    recorded = {"status": Status.AUTOMATIC, "provenance": Provenance.RULE}
    found = [
        answer("tid.procedure_reported", CODES["proc.ct_report"], **recorded),
        answer("tid.device_name", "LMS-SR 0", **recorded),
        answer("tid.device_uid", Uid("2.25.5"), **recorded),
    ]
    subjects: tuple[Subject, ...] = ()
    if full:
        subjects = (
            Subject(key="Series 2", scope=Scope.SERIES, tracking_id="CT, venous, 1.5 mm", tracking_uid=b.series_uid(2)),
            Subject(key="LMS-T1", scope=Scope.LESION, tracking_id="Tumour", tracking_uid="2.25.7"),
            Subject(
                key="ves.renal_v/left",
                scope=Scope.VESSEL,
                tracking_id="left renal vein",
                tracking_uid="2.25.8",
                structure=CODES["ves.renal_v"],
                side=CODES["v.left"],
            ),
        )
        axis = template.item("sz.long_axis")
        assert axis is not None
        assert axis.unit is not None
        confirmed = {"status": Status.CONFIRMED, "provenance": Provenance.RADIOLOGIST, "observer": "Reader^One"}
        found += [
            answer("sz.long_axis", Quantity(number=Decimal("118.4"), unit=axis.unit), subject="LMS-T1"),
            answer("ves.relation", CODES["vr.abut"], subject="ves.renal_v/left", **confirmed),
            answer("tech.quality", CODES["v.not_evaluated"], reason="größtenteils außerhalb, 肉腫", **confirmed),
            answer("hd.impression_el", "Leiomyosarcoma\nof the IVC <b>", **confirmed),
            answer("tid.person_observer_name", PersonName("Yamada^Tarou=山田^太郎"), **confirmed),
        ]
    report = Report(
        template=template.key,
        template_version=template.version,
        study_instance_uid=b.STUDY_UID,
        modalities=("CT",),
        subjects=subjects,
        answers=tuple(found),
        remarks=("The study was completed by force",) if full else (),
    )
    return replace(report, answers=tuple(a for a in found if template.item(a.item) is not None))


@pytest.fixture(scope="module", params=[(n, f) for n in template_names() for f in (False, True)], ids=str)
def path(request, tmp_path_factory) -> Path:
    """Return the rendition of a report of each template, bare and full, as a file."""
    name, full = request.param
    template = load_template(name)
    presentation = Presentation(complete_at="https://lms-sr.hospital.example/r/7QF4-K2MD")
    envelope = ENVELOPE
    if full:
        presentation = Presentation(completion=CompletionFlag.COMPLETE)
        signer = Person(name="Yamada^Tarou=山田^太郎", organisation="Radiology")
        envelope = replace(ENVELOPE, signature=Signature(person=signer, at=ENVELOPE.created_at))
    ds = document(basic_text(_report(template, full=full), template, presentation), b.study(), envelope)
    file = tmp_path_factory.mktemp("basic") / f"{name}_{full}.dcm"
    file.write_bytes(to_bytes(ds, b.study(), envelope))
    return file


def test_dciodvfy_finds_no_fault(path):
    done = validators.run(require_python_tool("dciodvfy"), "-new", path)
    said = (done.stdout + done.stderr).splitlines()
    assert "BasicTextSR" in {line.strip() for line in said}
    assert [line for line in said if line.startswith("Error")] == []
    warnings = [line for line in said if line.startswith("Warning")]
    assert [w for w in warnings if not validators._PRIVATE_SCHEME.search(w)] == []


def test_pixelmed_finds_no_fault(path):
    assert validators.pixelmed(path) == []


def test_dcmtk_reads_it_as_a_basic_text_sr(path):
    assert validators.dsrdump(path).startswith("Basic Text SR Document")


def test_a_reader_sees_values_beside_their_names(path):
    lines = validators.read_lines(path)
    assert "Diagnostic Imaging Report" in lines
    assert f"Remark: {RENDITION}" in lines
    if "True" in path.name:
        text = "\n".join(lines)
        assert "118.4 mm" in text
        assert "Left renal vein: " in text
        assert "größtenteils außerhalb, 肉腫" in text
        assert "DRAFT" not in text
    else:
        assert any("DRAFT, NOT VERIFIED." in line for line in lines)
