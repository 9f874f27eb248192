"""What OHIF, dcmqi, highdicom and dcmtk wrote is read as it stands; what is broken is refused, never half taken in.

The numbers of the files under ``tests/data`` were compared with dcmtk's dsrdump by hand.
"""

from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode

from service.model.foreign import (
    Coded,
    Completion,
    ForeignMeasurement,
    ForeignReport,
    GraphicType,
    ObserverKind,
    Preliminary,
    Relationship,
    ValueType,
    Verification,
)
from service.read.structured_report import read_structured_report

DATA = Path(__file__).parent.parent / "data"
PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ABDOMEN_SERIES = "1.2.392.200103.20080913.113635.1.2009.6.22.21.43.10.23430.1"


def key(of: Coded | str | None) -> str:
    """Return value and scheme of a code, and the value as received where that differs."""
    assert isinstance(of, Coded)
    text = f"{of.code.value} {of.code.scheme}"
    return text if of.code == of.received else f"{text} < {of.received.value} {of.received.scheme}"


def line(of: ForeignMeasurement) -> tuple[str, Decimal | None, str, Decimal | None, str]:
    assert of.unit
    assert of.received_unit
    return key(of.concept), of.value, of.unit.value, of.received_value, of.received_unit.value


def read(name: str) -> ForeignReport:
    return read_structured_report(dcmread(DATA / name))


# --- files of others ------------------------------------------------------------------------------------------------------


def test_dcmqi_document_facts() -> None:
    report = read("abdomen/sr_verified.dcm")

    assert (report.sop_class_uid, report.title.code.value) == ("1.2.840.10008.5.1.4.1.1.88.22", "126000")
    assert report.template_id == "1500"
    assert (report.completion, report.verification) == (Completion.COMPLETE, Verification.VERIFIED)
    assert report.preliminary is None
    assert [(v.name, v.organisation, v.at, v.code) for v in report.verifiers] == [
        ("Reader1", "QIICR", "20161124153754", None)
    ]
    assert [(o.kind, o.name) for o in report.observers] == [(ObserverKind.PERSON, "Reader1")]
    assert report.language
    assert key(report.language) == "eng RFC5646"
    assert [key(p) for p in report.procedures] == ["363679005 SCT < P0-0099A SRT"]
    assert (report.instance_number, report.content_date, report.content_time) == (1, "20161124", "153754")
    assert len(report.evidence) == 4
    assert {r.series_instance_uid for r in report.evidence if r.sop_class_uid == CT_IMAGE} == {ABDOMEN_SERIES}
    assert report.predecessors == ()
    assert report.refusals == ()


def test_dcmqi_volumetric_group_with_snomed_rt_codes() -> None:
    (group,) = read("abdomen/sr_verified.dcm").groups

    assert (group.place, group.template_id) == ("1.6.1", "1411")
    assert group.tracking_id == "Measurements group 1"
    assert group.tracking_uid == "1.3.6.1.4.1.43046.3.1.4.0.83735.1480019874.480725"
    assert (group.time_point, group.activity_session) == ("1", "1")
    assert key(group.finding) == "113343008 SCT < T-D0060 SRT"
    assert [key(s.site) for s in group.sites] == ["10200004 SCT < T-62000 SRT"]
    (segment,) = group.segments
    assert (segment.segment, segment.frames) == (1, ())
    assert segment.sop_instance_uid.endswith("1.665796")
    assert group.source_series == (ABDOMEN_SERIES,)
    assert [line(m) for m in group.measurements] == [
        ("112031 DCM", Decimal("37.3289"), "[hnsf'U]", Decimal("37.3289"), "[hnsf'U]"),
        ("112031 DCM", Decimal(-778), "[hnsf'U]", Decimal(-778), "[hnsf'U]"),
        ("112031 DCM", Decimal(221), "[hnsf'U]", Decimal(221), "[hnsf'U]"),
        ("112031 DCM", Decimal("59.1691"), "[hnsf'U]", Decimal("59.1691"), "[hnsf'U]"),
        ("118565006 SCT < G-D705 SRT", Decimal("70.3619"), "cm3", Decimal("70361.9"), "mm3"),
        ("118565006 SCT < G-D705 SRT", Decimal("70.3619"), "cm3", Decimal("70.3619"), "cm3"),
    ]
    assert [key(m.derivation) for m in group.measurements[:4]] == [
        "373098007 SCT < R-00317 SRT",
        "255605001 SCT < R-404FB SRT",
        "56851009 SCT < G-A437 SRT",
        "386136009 SCT < R-10047 SRT",
    ]


def test_dcmqi_parameters_algorithms_and_properties_below_numbers() -> None:
    report = read("abdomen/sr_dcmqi_unverified.dcm")

    (observer,) = report.observers
    assert observer.kind is ObserverKind.DEVICE
    assert (observer.name, observer.uid) == ("SecretSauceGenerator", "1.2.3.4")
    (group,) = report.groups
    assert group.algorithm
    assert group.algorithm.version == "4.6 (group level)"
    mean, lowest = group.measurements[:2]
    assert mean.algorithm
    assert mean.algorithm.version == "4.6 (measurement level)"
    assert mean.algorithm.parameters == ("gamma: 2 (measurement level)",)
    assert [key(m.concept) for m in mean.modifiers] == ["A.13 99TEST", "A.13b 99TEST", "121405 DCM"]
    assert [(n.place, n.value, n.received_value) for n in lowest.numbers] == [
        ("1.8.1.13.3", Decimal(20), Decimal(20)),
        ("1.8.1.13.4", Decimal(210), Decimal(21)),
    ]
    # the parameters of the first number are counted in Cats, Elephants and Apples
    assert [(r.place, r.tracking_uid == group.tracking_uid) for r in report.refusals] == [
        ("1.8.1.12.4", True),
        ("1.8.1.12.5", True),
        ("1.8.1.12.6", True),
    ]
    assert {r.reason for r in report.refusals} == {"its unit is not known: it is no UCUM code"}


def test_dcmqi_laterality_method_evaluations_and_centimetres() -> None:
    report = read("foreign_sr/dcmqi.dcm")

    assert (report.completion, report.instance_number) == (Completion.PARTIAL, 2)
    (group,) = report.groups
    (site,) = group.sites
    assert (key(site.site), key(site.laterality)) == ("64033007 SCT", "24028007 SCT")
    assert key(group.method) == "126410 DCM"
    assert [line(m) for m in group.measurements] == [
        ("118565006 SCT", Decimal("12.5"), "cm3", Decimal("12.5"), "ml"),
        ("103339001 SCT", Decimal(32), "mm", Decimal("3.2"), "cm"),
        ("113041 DCM", Decimal(1150), "um2/s", Decimal(1150), "10-6.mm2/s"),
    ]
    (evaluation,) = group.evaluations
    assert (key(evaluation.concept), key(evaluation.value)) == ("111056 DCM", "255503000 SCT < R-404A4 SRT")
    assert evaluation.relationship is Relationship.CONTAINS
    assert [(e.value_type, key(e.concept)) for e in group.evidence] == [
        (ValueType.IMAGE, "121191 DCM"),
        (ValueType.COMPOSITE, "126100 DCM"),
    ]
    assert report.refusals == ()


def test_ohif_length_bidirectional_and_contour() -> None:
    report = read("foreign_sr/ohif.dcm")

    assert (report.sop_class_uid, report.template_id) == ("1.2.840.10008.5.1.4.1.1.88.22", "1500")
    assert report.refusals == ()
    length, bidirectional, contour = report.groups
    assert [g.tracking_id.rpartition(":")[2] for g in report.groups] == [
        "Length",
        "Bidirectional",
        "PlanarFreehandROI",
    ]
    assert {g.template_id for g in report.groups} == {""}
    assert length.comments == ("Mass, right lobe",)
    assert (key(length.finding), key(length.sites[0].site)) == ("4147007 SCT", "10200004 SCT")
    (number,) = length.measurements
    assert line(number) == ("410668003 SCT", Decimal("81.0547"), "mm", Decimal("81.0547"), "mm")
    (drawn,) = number.evidence
    assert drawn.graphic
    assert (drawn.graphic.kind, drawn.graphic.points) == (GraphicType.POLYLINE, ((100.5, 120.5), (160.5, 200.5)))
    (image,) = drawn.images
    assert (image.sop_class_uid, image.series_instance_uid) == (CT_IMAGE, ABDOMEN_SERIES)
    # where the text stands is a drawing of the group, with a concept that says so
    assert [(key(e.concept), e.graphic and e.graphic.kind) for e in length.evidence] == [
        ("TextPosition 99CS3D", GraphicType.POINT)
    ]
    assert [line(m)[:2] for m in bidirectional.measurements] == [
        ("103339001 SCT", Decimal("32.42188")),
        ("103340004 SCT", Decimal("16.21094")),
    ]
    assert [line(m)[:3] for m in contour.measurements] == [
        ("131191004 SCT", Decimal("32.42188"), "mm"),
        ("42798000 SCT", Decimal("65.698643"), "mm2"),
        ("56851009 SCT", Decimal(97), "[hnsf'U]"),
        ("373098007 SCT", Decimal("41.5"), "[hnsf'U]"),
        ("386136009 SCT", Decimal("12.25"), "[hnsf'U]"),
    ]
    assert [len(e.graphic.points) for m in contour.measurements for e in m.evidence if e.graphic] == [5]
    # the language has a country below it: taken, and kept whole beside
    assert key(report.language) == "en RFC5646"
    assert [(key(e.concept), key(e.modifiers[0].value)) for e in report.evaluations] == [("121049 DCM", "US ISO3166_1")]


@pytest.mark.parametrize(
    ("name", "listed", "expected"),
    [
        (
            "sts_002/CT_SR_TID1500.dcm",
            49,
            [
                ("118565006 SCT", Decimal("53.295"), "cm3", Decimal("53.295"), "ml"),
                ("112031 DCM", Decimal("59.021"), "[hnsf'U]", Decimal("59.021"), "[hnsf'U]"),
                ("112031 DCM", Decimal(241), "[hnsf'U]", Decimal(241), "[hnsf'U]"),
            ],
        ),
        (
            "sts_035/PET_SR_TID1500.dcm",
            62,
            [
                ("118565006 SCT", Decimal("35.696"), "cm3", Decimal("35.696"), "ml"),
                ("126401 DCM", Decimal("4.8"), "g/ml{SUVbw}", Decimal("4.8"), "{SUVbw}g/ml"),
                ("126401 DCM", Decimal("14.139"), "g/ml{SUVbw}", Decimal("14.139"), "{SUVbw}g/ml"),
            ],
        ),
    ],
)
def test_published_sarcoma_measurements(name: str, listed: int, expected: list[tuple[Any, ...]]) -> None:
    report = read(name)

    (group,) = report.groups
    assert group.tracking_id == "GTV_Mass"
    assert [line(m) for m in group.measurements] == expected
    assert len(report.evidence) == listed
    assert report.refusals == ()


def test_dcmtk_report_of_another_template_is_read_as_far_as_it_can_be() -> None:
    report = read_structured_report(dcmread(PYDICOM_FILES / "test-SR.dcm"))

    assert (key(report.title), report.template_id, report.groups) == ("1111 TEST", "", ())
    assert [(v.organisation, v.code and key(v.code)) for v in report.verifiers] == [
        ("OFFIS e.V.", "1705 99_OFFIS_DCMTK"),
        ("Organisation", None),
    ]
    assert report.verifiers[0].name == "Riesmeier^Jörg"
    assert len(report.predecessors) == 1
    assert [e.place for e in report.evaluations] == ["1.1", "1.2.1", "1.2.3", "1.2.4.1", "1.2.4.3"]
    assert [(i.place, len(i.images)) for i in report.images] == [("1.4", 1), ("1.5", 1)]
    # two diameters in a private centimetre, and a text that was seen on a drawing without an image
    assert [r.place for r in report.refusals] == ["1.2.2", "1.2.4.2", "1.3"]


# --- made with highdicom ---------------------------------------------------------------------------------------------------


def highdicom_report() -> Dataset:
    """Return a Comprehensive 3D SR with a group of each kind, on the CT of ``tests/data/abdomen``."""
    import highdicom.sr as hd  # noqa: PLC0415 - two seconds, for these tests only

    images = [dcmread(p, stop_before_pixels=True) for p in sorted((DATA / "abdomen" / "ct").glob("*.dcm"))]
    segmentation = dcmread(DATA / "abdomen" / "seg_liver.dcm", stop_before_pixels=True)
    for source in (*images, segmentation):
        source.SpecificCharacterSet = "ISO_IR 192"
        source.PatientName = "SECRET^Name"
    image = hd.SourceImageForRegion(images[1].SOPClassUID, images[1].SOPInstanceUID)
    site = hd.FindingSite(
        codes.SCT.Kidney, laterality=codes.SCT.Left, topographical_modifier=PydicomCode("261183002", "SCT", "Upper")
    )
    planar = hd.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(uid="2.25.11", identifier="planar"),
        referenced_region=hd.ImageRegion("POLYLINE", np.array([[1.0, 2], [3, 2], [3, 4.25], [1, 2]]), image),
        finding_type=codes.SCT.Mass,
        finding_category=codes.SCT.MorphologicallyAbnormalStructure,
        finding_sites=[site],
        algorithm_id=hd.AlgorithmIdentification(
            name="outliner", version="3", parameters=["a=1", "b=2"], family=codes.DCM.ArtificialIntelligence
        ),
        session="7",
        time_point_context=hd.TimePointContext(time_point="baseline", time_point_order=1),
        measurements=[
            hd.Measurement(
                codes.SCT.Area, 4.5, codes.UCUM.SquareCentimeter, derivation=codes.SCT.Mean, finding_sites=[site]
            ),
        ],
        qualitative_evaluations=[hd.QualitativeEvaluation(codes.SCT.Necrosis, codes.SCT.Present)],
    )
    volumetric = hd.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(uid="2.25.12", identifier="volumetric"),
        referenced_segment=hd.ReferencedSegment.from_segmentation(segmentation, segment_number=1),
        measurements=[
            hd.Measurement(codes.SCT.Volume, 1234.5, codes.UCUM.CubicMillimeter),
            hd.Measurement(codes.SCT.Length, 0, codes.UCUM.Millimeter, qualifier=codes.DCM.NotANumber),
        ],
    )
    line_2d = hd.CoordinatesForMeasurement("POLYLINE", np.array([[10.5, 20.5], [30.5, 20.5]]), image)
    line_3d = hd.CoordinatesForMeasurement3D(
        "POLYLINE", np.array([[1.0, 2, 3], [1, 2, 13.5]]), frame_of_reference_uid=images[0].FrameOfReferenceUID
    )
    bidirectional = hd.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.TrackingIdentifier(uid="2.25.13", identifier="bidirectional"),
        measurements=[
            hd.Measurement(PydicomCode("G-A185", "SRT", "Long Axis"), 2.5, codes.UCUM.Centimeter, referenced_coordinates=[line_2d]),
            hd.Measurement(PydicomCode("G-A22A", "SRT", "Length"), 10.5, codes.UCUM.Millimeter, referenced_coordinates=[line_3d]),
        ],
    )  # fmt: skip
    content = hd.MeasurementReport(
        observation_context=hd.ObservationContext(
            observer_person_context=hd.ObserverContext(
                codes.DCM.Person, hd.PersonObserverIdentifyingAttributes("Reader^Three", organization_name="Clinic")
            ),
            observer_device_context=hd.ObserverContext(
                codes.DCM.Device, hd.DeviceObserverIdentifyingAttributes("2.25.99", name="box", serial_number="S1")
            ),
        ),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=[planar, volumetric, bidirectional],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return hd.Comprehensive3DSR(
        evidence=[*images, segmentation],
        content=content,
        series_instance_uid="2.25.1001",
        series_number=9,
        sop_instance_uid="2.25.1002",
        instance_number=4,
        manufacturer="Somebody",
        is_complete=True,
        is_verified=True,
        verifying_observer_name="Reader^Three",
        verifying_organization="Clinic",
        is_final=True,
    )


@pytest.fixture(scope="module")
def highdicom_bytes() -> bytes:
    stream = io.BytesIO()
    dcmwrite(stream, highdicom_report(), enforce_file_format=True)
    return stream.getvalue()


def test_highdicom_groups_of_every_kind(highdicom_bytes: bytes) -> None:
    report = read_structured_report(dcmread(io.BytesIO(highdicom_bytes)))

    assert report.refusals == ()
    assert (report.preliminary, report.verification) == (Preliminary.FINAL, Verification.VERIFIED)
    assert [(o.kind, o.name, o.organisation, o.uid, o.serial_number) for o in report.observers] == [
        (ObserverKind.PERSON, "Reader^Three", "Clinic", "", ""),
        (ObserverKind.DEVICE, "box", "", "2.25.99", "S1"),
    ]
    planar, volumetric, bidirectional = report.groups
    assert [(g.template_id, g.tracking_id, g.tracking_uid) for g in report.groups] == [
        ("1410", "planar", "2.25.11"),
        ("1411", "volumetric", "2.25.12"),
        ("1501", "bidirectional", "2.25.13"),
    ]
    assert (planar.activity_session, planar.time_point) == ("7", "baseline")
    assert (key(planar.category), key(planar.finding)) == ("49755003 SCT", "4147007 SCT")
    (site,) = planar.sites
    assert (key(site.laterality), key(site.modifiers[0].value)) == ("7771000 SCT", "261183002 SCT")
    assert planar.algorithm
    assert (planar.algorithm.name, planar.algorithm.parameters) == ("outliner", ("a=1", "b=2"))
    assert [key(f) for f in planar.algorithm.families] == ["123110 DCM"]
    (region,) = planar.evidence
    assert region.graphic
    assert region.graphic.points == ((1.0, 2.0), (3.0, 2.0), (3.0, 4.25), (1.0, 2.0))
    assert region.images[0].series_instance_uid == ABDOMEN_SERIES
    (area,) = planar.measurements
    assert line(area) == ("42798000 SCT", Decimal("450.0"), "mm2", Decimal("4.5"), "cm2")
    assert [key(s.laterality) for s in area.sites] == ["7771000 SCT"]
    assert [(key(e.concept), isinstance(e.value, Coded)) for e in planar.evaluations] == [("6574001 SCT", True)]
    assert [(n.concept.code.value, n.value) for n in planar.numbers] == [("126073", Decimal(1))]
    assert [s.segment for s in volumetric.segments] == [1]
    volume, nothing = volumetric.measurements
    assert (volume.value, volume.received_value) == (Decimal("1.2345"), Decimal("1234.5"))
    assert key(nothing.qualifier) == "114000 DCM"
    long_axis, length = bidirectional.measurements
    assert line(long_axis) == ("103339001 SCT < G-A185 SRT", Decimal(25), "mm", Decimal("2.5"), "cm")
    # pydicom knows no SNOMED CT code for it, so it stays what it was
    assert key(length.concept) == "G-A22A SRT"
    (drawn,) = length.evidence
    assert drawn.graphic
    assert (drawn.value_type, drawn.images) == (ValueType.SCOORD3D, ())
    assert drawn.graphic.points == ((1.0, 2.0, 3.0), (1.0, 2.0, 13.5))
    assert drawn.graphic.frame_of_reference_uid


def test_a_report_in_memory_reads_like_the_one_in_the_file(highdicom_bytes: bytes) -> None:
    from_file = read_structured_report(dcmread(io.BytesIO(highdicom_bytes)))
    parsed = dcmread(io.BytesIO(highdicom_bytes))
    parsed.walk(lambda _, element: element.value)

    assert read_structured_report(parsed) == from_file
    in_memory = highdicom_report()
    # highdicom asks the clock
    in_memory.ContentDate, in_memory.ContentTime = parsed.ContentDate, parsed.ContentTime
    for one, other in zip(in_memory.VerifyingObserverSequence, parsed.VerifyingObserverSequence, strict=True):
        one.VerificationDateTime = other.VerificationDateTime
    in_memory.TimezoneOffsetFromUTC = parsed.get("TimezoneOffsetFromUTC")
    assert read_structured_report(in_memory) == from_file
