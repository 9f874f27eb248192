"""Reports, page contents and marked images made of plain values, for tests of the page and of the objects made from it."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import (
    Answer,
    Completeness,
    PersonName,
    Provenance,
    Quantity,
    Report,
    Scope,
    Status,
    Subject,
    Uid,
    Value,
)
from service.model.study import Header, Instance, Patient, Request, Series, Study
from service.page.assemble import page_content
from service.page.content import EvidenceRow, PageContent, TimePoint
from service.page.drawing import picture
from service.sr.document import Envelope
from service.sr.key_image import Mark, MarkedImage, Window
from sr_templates import load_codes, load_template

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
STUDY_UID = "1.2.826.0.1.3680043.8.498.77"
SERIES_UID = f"{STUDY_UID}.2"
IMAGE_UID = f"{SERIES_UID}.14"
CREATED_AT = dt.datetime(2026, 3, 1, 10, 20, tzinfo=dt.UTC)
COUNTED = Completeness(proposed=4, confirmed=2, open=2, open_items=("Growth pattern", "Necrosis"))
MILLIMETRE, MILLILITRE = Code("mm", "UCUM", "millimeter"), Code("cm3", "UCUM", "cubic centimeter")
SR = Reference(sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33", sop_instance_uid="2.25.7", series_instance_uid="2.25.8")
#: markup of the layout's language, of the web, of TeX; quotes, entities, formats
HOSTILE = '#panic("x") *b* $x$ <script>alert(1)</script> &amp; \\par {0} %s @cite #include "/etc/passwd" `c`'


def study(**changes: object) -> Study:
    """Return a CT study of one series with one image."""
    header = Header(elements={})
    image = Instance(
        study_instance_uid=STUDY_UID,
        series_instance_uid=SERIES_UID,
        sop_instance_uid=IMAGE_UID,
        sop_class_uid=CT_IMAGE,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        header=header,
        own={"InstanceNumber": ("14",)},
        path="image.dcm",
    )
    whole = Study(
        study_instance_uid=STUDY_UID,
        patient=Patient(patient_id="P-1", issuer="HOSPITAL", name="Müller^Jörg", birth_date="19600101", sex="M"),
        date="20260301",
        time="101500",
        study_id="S1",
        accession_number="A123",
        description="CT Abdomen",
        series=(Series(series_instance_uid=SERIES_UID, modality="CT", header=header, instances=(image,), number=2),),
        requests=(Request(accession_number="A123", requested_procedure_id="R1"),),
    )
    return replace(whole, **changes)  # type: ignore[arg-type] - the caller's keywords are Study's


def answer(item: str, *values: Value, subject: str = "", **changes: object) -> Answer:
    """Return a proposed answer from the segmentation."""
    proposed = Answer(
        item=item, values=values, status=Status.PROPOSED, provenance=Provenance.SEGMENTATION, subject=subject
    )
    return replace(proposed, **changes)  # type: ignore[arg-type] - the caller's keywords are Answer's


def millimetres(number: str) -> Quantity:
    """Return a length."""
    return Quantity(number=Decimal(number), unit=MILLIMETRE)


def line(*points: tuple[float, float]) -> Reference:
    """Return a line on the study's image."""
    return Reference(sop_class_uid=CT_IMAGE, sop_instance_uid=IMAGE_UID, series_instance_uid=SERIES_UID, points=points)


LONG, SHORT = line((20.5, 30.5), (100.5, 90.5)), line((45.5, 80.5), (75.5, 40.5))


def report(*more: Answer, subjects: tuple[Subject, ...] = ()) -> Report:
    """Return a report with a series, a lesion and two vessels, and ``more`` answers."""
    code = load_codes()
    radiologist = {"status": Status.CONFIRMED, "provenance": Provenance.RADIOLOGIST}
    return Report(
        template="baseline",
        template_version="1",
        study_instance_uid=STUDY_UID,
        modalities=("CT",),
        subjects=(
            Subject(key="Series 2", scope=Scope.SERIES, tracking_id="CT, 1.5 mm, 120 kV", tracking_uid=SERIES_UID),
            Subject(
                key="LMS-T1",
                scope=Scope.LESION,
                tracking_id="LMS-T1",
                tracking_uid="2.25.99",
                remarks=("In two parts",),
            ),
            Subject(key="ves.ivc", scope=Scope.VESSEL, tracking_id="inferior vena cava"),
            Subject(key="ves.aorta_abd", scope=Scope.VESSEL, tracking_id="abdominal aorta"),
            *subjects,
        ),
        answers=(
            answer("hd.indications", "mass, ?sarcoma", provenance=Provenance.DICOM, basis="reason for the request"),
            answer("ctx.dx_status", code["ctx.dx_status.biopsy"], **radiologist),
            answer("tid.tracking_id", "LMS-T1", subject="LMS-T1", status=Status.AUTOMATIC),
            answer("tid.tracking_uid", Uid("2.25.99"), subject="LMS-T1", status=Status.AUTOMATIC),
            answer("tid.finding", code["tum.mass"], subject="LMS-T1"),
            answer("sz.long_axis", millimetres("100.0"), subject="LMS-T1", basis="axial, image 14", evidence=(LONG,)),
            answer("sz.short_axis", millimetres("50.0"), subject="LMS-T1", evidence=(SHORT,)),
            answer("sz.volume", Quantity(number=Decimal("684.0"), unit=MILLILITRE), subject="LMS-T1"),
            answer("ves.relation", code["vr.encase"], subject="ves.ivc"),
            answer("ves.relation", code["vr.none"], subject="ves.aorta_abd", **radiologist),
            *more,
            answer("tid.person_observer_name", PersonName("Weber^Anna"), **radiologist),
        ),
    )


HISTORY = (
    TimePoint(date="20251201", length_mm=118, volume_ml=684),
    TimePoint(date="20260115", length_mm=96, volume_ml=455),
    TimePoint(date="20260301", length_mm=79, volume_ml=301, proposed=True, volume_proposed=True),
)
EVIDENCE = (
    EvidenceRow(
        diagnosis="Leiomyosarcoma", favours=("No macroscopic fat", "Contact with the IVC"), source="Marko 2018"
    ),
    EvidenceRow(diagnosis="Liposarcoma", argues_against=("No macroscopic fat",)),
)


def frame(rows: int = 128, columns: int = 128) -> NDArray[np.int16]:
    """Return stored values that rise from left to right."""
    return np.tile(np.linspace(-200, 300, columns).astype(np.int16), (rows, 1))


def marked(**changes: object) -> MarkedImage:
    """Return the measured image with its two lines."""
    image = MarkedImage(
        reference=Reference(sop_class_uid=CT_IMAGE, sop_instance_uid=IMAGE_UID, series_instance_uid=SERIES_UID),
        rows=128,
        columns=128,
        marks=(
            Mark(points=LONG.points, label="LMS-T1 100 mm (proposed)"),
            Mark(points=SHORT.points, label="50 mm", main=False),
        ),
        spacing=(1.0, 1.0),
        window=Window(center=50, width=400),
        rescale_type="HU",
        caption="Series 2, image 14",
    )
    return replace(image, **changes)  # type: ignore[arg-type] - the caller's keywords are MarkedImage's


def content(of: Report | None = None, **changes: object) -> PageContent:
    """Return the page of a draft with everything on it."""
    page = page_content(
        of or report(),
        load_template("baseline"),
        study(),
        COUNTED,
        created_at=CREATED_AT,
        timezone="Europe/Berlin",
        version=2,
        sop_instance_uid="2.25.7",
        evidence_rows=EVIDENCE,
        history=HISTORY,
        pictures=(picture(frame(), marked()),),
    )
    return replace(page, **changes)  # type: ignore[arg-type] - the caller's keywords are PageContent's


def envelope(sop_class_uid: str) -> Envelope:
    """Return what an object is called."""
    return Envelope(
        sop_class_uid=sop_class_uid,
        sop_instance_uid="2.25.101",
        series_instance_uid="2.25.201",
        series_number=9903,
        series_description="LMS page",
        version=2,
        created_at=CREATED_AT,
        timezone="Europe/Berlin",
    )
