"""Studies, segment measurements and reports made of plain values, for tests that need no files."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

from service.flow.compose import Facts, compose
from service.flow.context import Device
from service.flow.produce import COMPREHENSIVE_SR, Options, Produced, Rendition, produce, renditions
from service.model.code import Code
from service.model.measurement import Measurement, Reference, SegmentMeasurements
from service.model.prior import PriorReport
from service.model.report import Report
from service.model.study import Header, Instance, Patient, Request, Series, Study
from sr_templates import load_template

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY_UID = "1.2.826.0.1.3680043.8.498.1"
#: (row, column) in mm
SPACING = (0.8, 0.8)
CREATED_AT = dt.datetime(2026, 3, 1, 10, 20, tzinfo=dt.UTC)
PATIENT = Patient(patient_id="P-1", issuer="HOSPITAL", name="Müller^Jörg", birth_date="19600101", sex="M")
DEVICE = Device(name="LMS-SR 0", uid="2.25.5")
OPTIONS = Options(installation="5f0c5a0a-0000-4000-8000-000000000000")


def series_uid(number: int) -> str:
    """Return the UID of a series of the example study."""
    return f"{STUDY_UID}.{number}"


def instance(series: int, number: int, sop_class: str = CT_IMAGE, header: Header | None = None) -> Instance:
    """Return one instance of the example study."""
    return Instance(
        study_instance_uid=STUDY_UID,
        series_instance_uid=series_uid(series),
        sop_instance_uid=f"{series_uid(series)}.{number}",
        sop_class_uid=sop_class,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        header=header or Header(elements={}),
        own={"PixelSpacing": tuple(str(s) for s in SPACING)},
    )


def series(
    number: int = 2, *, images: int = 20, modality: str = "CT", description: str = "", **elements: str
) -> Series:
    """Return an image series; further keywords become header elements."""
    header = Header(elements={k: (v,) for k, v in elements.items()})
    return Series(
        series_instance_uid=series_uid(number),
        modality=modality,
        header=header,
        instances=tuple(instance(number, i + 1, header=header) for i in range(images)),
        number=number,
        description=description,
    )


def ct_series(images: int = 20) -> Series:
    """Return a contrast CT series whose header says what a scanner writes."""
    return series(
        2,
        images=images,
        description="Abdomen portal venous 1.5 B31f",
        SliceThickness="1.5",
        KVP="120",
        ContrastBolusAgent="Ultravist 370",
        BodyPartExamined="ABDOMENPELVIS",
        ReasonForTheRequestedProcedure="retroperitoneal mass, ?sarcoma",
    )


def segmentation_series() -> Series:
    """Return the series that holds the SEG of `tumour`."""
    return Series(
        series_instance_uid=series_uid(5),
        modality="SEG",
        header=Header(elements={}),
        instances=(instance(5, 1, SEGMENTATION),),
        number=5,
    )


def structure_set_series() -> Series:
    """Return the series that holds the structure set of `roi`."""
    return Series(
        series_instance_uid=series_uid(6),
        modality="RTSTRUCT",
        header=Header(elements={}),
        instances=(instance(6, 1, STRUCTURE_SET),),
        number=6,
    )


def study(*members: Series, patient: Patient = PATIENT, **changes: object) -> Study:
    """Return a study of ``members``, by default of one CT series and a SEG."""
    base = Study(
        study_instance_uid=STUDY_UID,
        patient=patient,
        date="20260301",
        time="101500",
        accession_number="A123",
        study_id="S1",
        description="CT Abdomen",
        series=members or (ct_series(), segmentation_series()),
        requests=(Request(accession_number="A123", requested_procedure_id="R1"),),
    )
    return replace(base, **changes)  # type: ignore[arg-type] - the caller's keywords are Study's


def line(*points: tuple[float, float], image: int = 14) -> Reference:
    """Return a line on an image of the CT series."""
    return Reference(
        sop_class_uid=CT_IMAGE,
        sop_instance_uid=f"{series_uid(2)}.{image}",
        series_instance_uid=series_uid(2),
        points=points,
    )


def roi(number: int = 3, name: str = "GTV") -> Reference:
    """Return an ROI of a structure set of the study."""
    return Reference(
        sop_class_uid=STRUCTURE_SET,
        sop_instance_uid=f"{series_uid(6)}.1",
        series_instance_uid=series_uid(6),
        roi=number,
        roi_name=name,
    )


def length(reference: Reference) -> float:
    """Return the length of a line in mm."""
    (x0, y0), (x1, y1) = reference.points
    return math.hypot((x1 - x0) * SPACING[1], (y1 - y0) * SPACING[0])


def tumour(segment: int = 1, *, extents: tuple[float, float, float] = (134.2, 112.0, 87.0)) -> SegmentMeasurements:
    """Return a measured tumour segment; ``extents`` are CC, TR and AP in mm."""
    source = Reference(
        sop_class_uid=SEGMENTATION,
        sop_instance_uid=f"{series_uid(5)}.1",
        series_instance_uid=series_uid(5),
        segment=segment,
    )
    long_axis, short_axis = line((100.5, 120.5), (200.5, 130.25)), line((150.5, 80.5), (145.5, 160.5))

    def measured(
        name: str, value: float, unit: str, method: str, derivation: str = "", *lines: Reference
    ) -> Measurement:
        return Measurement(
            name=name, value=value, unit=unit, method=method, derivation=derivation, evidence=(source, *lines)
        )

    height, width, depth = extents
    return SegmentMeasurements(
        label="Tumour",
        segment=segment,
        source=source,
        role="tumour",
        role_basis="coded property type",
        laterality="v.right",
        laterality_basis="centroid right of the midline",
        measurements=(
            measured("sz.long_axis", length(long_axis), "mm", "axial, slice 14", "", long_axis),
            measured("sz.short_axis", length(short_axis), "mm", "axial, slice 14", "", short_axis),
            measured("sz.height", height, "mm", "extent of the segment"),
            measured("sz.width", width, "mm", "extent of the segment"),
            measured("sz.depth", depth, "mm", "extent of the segment"),
            measured("sz.volume", 684_000.0, "mm3", "voxel count of segment 'Tumour'"),
            measured("ct.hu", 61.2, "[hnsf'U]", "series 2", "deriv.mean"),
            measured("ct.hu", 24.4, "[hnsf'U]", "series 2", "deriv.sd"),
            measured("ms.low_att_fraction", 22.0, "%", "below 30 HU"),
        ),
    )


def report(of: Study | None = None, *segments: SegmentMeasurements, prior: PriorReport | None = None) -> Report:
    """Return the draft of a study."""
    facts = Facts(study=of or study(), device=DEVICE, segments=segments, prior=prior)
    return compose(facts, load_template("baseline"))


def produced(of: Study | None = None, *segments: SegmentMeasurements, prior: PriorReport | None = None) -> Produced:
    """Return a produced draft, by default with a measured tumour."""
    return produce(of or study(), segments or (tumour(),), prior, OPTIONS)


def rendered(of: Produced | None = None, **changes: object) -> tuple[Rendition, ...]:
    """Return the renditions of a produced draft as Comprehensive SR, version 1."""
    arguments: dict[str, object] = {
        "sop_class_uid": COMPREHENSIVE_SR,
        "profile": "standard",
        "version": 1,
        "created_at": CREATED_AT,
    }
    return renditions(of or produced(), **{**arguments, **changes})  # type: ignore[arg-type] - as above


SITE_CODE = Code("CTABD", "99SITE", "CT abdomen, site protocol")
