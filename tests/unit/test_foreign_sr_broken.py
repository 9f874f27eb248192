"""Small reports written by hand, sound and broken, and mutated files of others: read whole, or refused with the place and the reason."""

from __future__ import annotations

import io
import random
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from service.errors import InputError
from service.model.code import Code
from service.model.foreign import (
    Coded,
    ForeignGroup,
    ForeignReport,
    Verification,
)
from service.read import sr_tree
from service.read.sr_tree import DEEPEST
from service.read.sr_units import convert
from service.read.structured_report import read_structured_report
from sr_templates import load_codes

DATA = Path(__file__).parent.parent / "data"
PYDICOM_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
CORPUS = (
    DATA / "abdomen" / "sr_dcmqi_unverified.dcm",
    DATA / "abdomen" / "sr_verified.dcm",
    DATA / "foreign_sr" / "dcmqi.dcm",
    DATA / "foreign_sr" / "ohif.dcm",
    DATA / "sts_002" / "CT_SR_TID1500.dcm",
    DATA / "sts_035" / "PET_SR_TID1500.dcm",
    PYDICOM_FILES / "test-SR.dcm",
    PYDICOM_FILES / "reportsi.dcm",
)


def key(of: Coded | str | None) -> str:
    """Return value and scheme of a code, and the value as received where that differs."""
    assert isinstance(of, Coded)
    text = f"{of.code.value} {of.code.scheme}"
    return text if of.code == of.received else f"{text} < {of.received.value} {of.received.scheme}"


# --- written by hand: small trees, sound and broken -------------------------------------------------------------------------


def code(value: str, scheme: str = "DCM", meaning: str = "something") -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def named(name: str) -> Sequence:
    of = load_codes()[name]
    return code(of.value, of.scheme, of.meaning)


def node(relationship: str, value_type: str, name: str = "", *children: Dataset, **elements: Any) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = relationship, value_type
    if name:
        item.ConceptNameCodeSequence = named(name)
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    if children:
        item.ContentSequence = Sequence(children)
    return item


def text(name: str, value: str) -> Dataset:
    return node("HAS OBS CONTEXT", "TEXT", name, TextValue=value)


def num(number: str, unit: str = "mm", *children: Dataset, name: str = "sz.long_axis") -> Dataset:
    measured = Dataset()
    measured.NumericValue = number
    measured.MeasurementUnitsCodeSequence = code(unit, "UCUM", "a unit")
    return node("CONTAINS", "NUM", name, *children, MeasuredValueSequence=Sequence([measured]))


def image(relationship: str = "SELECTED FROM", name: str = "") -> Dataset:
    sop = Dataset()
    sop.ReferencedSOPClassUID, sop.ReferencedSOPInstanceUID = CT_IMAGE, "1.2.3.9"
    return node(relationship, "IMAGE", name, ReferencedSOPSequence=Sequence([sop]))


def scoord(*children: Dataset, kind: str = "POLYLINE", points: Any = (1.5, 2.5, 3.5, 4.5)) -> Dataset:
    return node("INFERRED FROM", "SCOORD", "", *children, GraphicType=kind, GraphicData=list(points))


def by_reference(*path: int, relationship: str = "INFERRED FROM") -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ReferencedContentItemIdentifier = relationship, list(path)
    return item


def group(*children: Dataset) -> Dataset:
    uid = node("HAS OBS CONTEXT", "UIDREF", "tid.tracking_uid", UID="2.25.5")
    return node("CONTAINS", "CONTAINER", "tid.measurement_group", text("tid.tracking_id", "SECRET"), uid, *children)


def report(*groups: Dataset) -> Dataset:
    ds = node(
        "CONTAINS", "CONTAINER", "tid.title.imaging", node("CONTAINS", "CONTAINER", "tid.imaging_measurements", *groups)
    )
    del ds.RelationshipType
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.3.4"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.3.1", "1.2.3.2"
    ds.PatientName = "SECRET"
    return ds


def encoded(ds: Dataset, codec: str = "utf8") -> bytes:
    """Return a data set in Explicit VR Little Endian: what pydicom has not parsed stays byte by byte what it is."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    for tag in sorted(ds.keys()):
        element = ds.get_item(tag)
        if isinstance(element, DataElement) and element.VR != "SQ":
            write_data_element(out, element, [codec])
            continue
        if isinstance(element, DataElement):
            items = [encoded(item, codec) for item in element.value or ()]
            value = b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<L", len(i)) + i for i in items)
        else:
            value = element.value or b""
        long = element.VR in {"OB", "SQ", "UN", "UT", "UC", "UR", "OW"}
        out.write(struct.pack("<HH2s", tag.group, tag.element, element.VR.encode()))
        out.write(struct.pack("<HL" if long else "<H", *((0, len(value)) if long else (len(value),))) + value)
    return out.getvalue()


def reread(ds: Dataset) -> Dataset:
    """Return ``ds`` as it comes from a file: its elements not parsed yet."""
    codec = "latin_1" if ds.SpecificCharacterSet == "ISO_IR 100" else "utf8"
    meta = Dataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(io.BytesIO(bytes(128) + b"DICM" + encoded(meta) + encoded(ds, codec)), force=True)


def raw(ds: Dataset, keyword: str, value: bytes, vr: str) -> None:
    """Put bytes into an element as a file may hold them, whatever pydicom thinks of them."""
    tag = Tag(keyword)
    ds[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True)


def only_group(ds: Dataset) -> ForeignGroup:
    (found,) = read_structured_report(ds).groups
    return found


def test_cornerstone_layout_by_hand_is_sound() -> None:
    for ds in (made := report(group(num("10", "mm", scoord(image())))), reread(made)):
        found = read_structured_report(ds)
        assert found.refusals == ()
        (number,) = found.groups[0].measurements
        assert (number.value, number.evidence[0].images[0].sop_instance_uid) == (Decimal(10), "1.2.3.9")
        # the report lists no evidence, so that the image's series is not known
        assert number.evidence[0].images[0].series_instance_uid == ""


def test_references_to_drawings_and_numbers_are_resolved() -> None:
    shared = scoord(image())
    shared.RelationshipType = "CONTAINS"
    ds = report(group(shared, num("10", "mm", by_reference(1, 1, 1, 3)), num("20", "mm", by_reference(1, 1, 1, 4))))

    for form in (ds, reread(ds)):
        found = only_group(form)
        first, second = found.measurements
        assert first.evidence == found.evidence
        assert first.evidence[0].place == "1.1.1.3"
        assert second.inferred_from == ("1.1.1.4",)


def test_an_image_by_reference_stands_behind_a_graphic() -> None:
    ds = report(
        group(image("CONTAINS"), num("10", "mm", scoord(by_reference(1, 1, 1, 3, relationship="SELECTED FROM"))))
    )

    (number,) = only_group(reread(ds)).measurements
    assert [i.sop_instance_uid for i in number.evidence[0].images] == ["1.2.3.9"]


def test_segments_and_frames_of_a_reference() -> None:
    of = image("CONTAINS", "tid.referenced_segment")
    of.ReferencedSOPSequence[0].ReferencedSegmentNumber = [2, 5]
    of.ReferencedSOPSequence[0].ReferencedFrameNumber = [1, 7]

    for form in (ds := report(group(of, num("10"))), reread(ds)):
        assert [(s.segment, s.frames) for s in only_group(form).segments] == [(2, (1, 7)), (5, (1, 7))]


def test_numbers_outside_of_groups_are_kept_with_their_heading() -> None:
    ds = report(group(num("10")))
    derived = node("CONTAINS", "CONTAINER", "tid.derived_measurements", num("3", "cm", by_reference(1, 1, 1, 3)))
    rating = node("CONTAINS", "CODE", "tid.finding", ConceptCodeSequence=code("R-404A4", "SRT"))
    ds.ContentSequence.extend([derived, node("CONTAINS", "CONTAINER", "tid.qualitative_evaluations", rating), num("7")])

    found = read_structured_report(reread(ds))
    assert [(m.value, m.heading and m.heading.code.value) for m in found.measurements] == [
        (Decimal(30), "126011"),
        (Decimal(7), None),
    ]
    assert found.measurements[0].inferred_from == ("1.1.1.3",)
    assert [(key(e.value), key(e.heading)) for e in found.evaluations] == [
        ("255503000 SCT < R-404A4 SRT", "C0034375 UMLS")
    ]


def test_a_finding_with_something_below_it_is_a_finding_and_kept_whole() -> None:
    basis = node("HAS PROPERTIES", "TEXT", "tid.comment", TextValue="seen twice")
    finding = node("CONTAINS", "CODE", "tid.finding", basis, ConceptCodeSequence=code("4147007", "SCT", "Mass"))

    found = only_group(report(group(finding, num("10"))))
    assert key(found.finding) == "4147007 SCT"
    assert [[m.value for m in e.modifiers] for e in found.evaluations] == [["seen twice"]]


def test_a_meaning_never_decides_what_a_code_is() -> None:
    other = num("10")
    other.ConceptNameCodeSequence = code("99X", "99OTHER", "Long Axis")
    site = node("HAS CONCEPT MOD", "CODE", "", ConceptCodeSequence=code("T-62000", "99OTHER", "Liver"))
    site.ConceptNameCodeSequence = code("G-C0E3", "SRT", "Ort")

    found = only_group(report(group(site, other)))
    assert key(found.measurements[0].concept) == "99X 99OTHER"
    assert key(found.sites[0].site) == "T-62000 99OTHER"


def test_text_in_another_character_set() -> None:
    ds = report(group(num("10")))
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ContentSequence[0].ContentSequence[0].ContentSequence[0].TextValue = "Läsion"

    assert only_group(ds).tracking_id == "Läsion"
    assert only_group(reread(ds)).tracking_id == "Läsion"


@pytest.mark.parametrize(
    ("number", "unit", "expected", "becomes"),
    [
        ("1.25", "cm", "12.5", "mm"),
        ("0.0125", "m", "12.5", "mm"),
        ("12500", "um", "12.5", "mm"),
        ("2", "cm2", "200", "mm2"),
        ("1", "ml", "1", "cm3"),
        ("1", "mL", "1", "cm3"),
        ("1.5", "L", "1500", "cm3"),
        ("70361.9", "mm3", "70.3619", "cm3"),
        ("0.00115", "mm2/s", "1150", "um2/s"),
        ("1.15", "10-3.mm2/s", "1150", "um2/s"),
        ("1150", "um2/s", "1150", "um2/s"),
        ("-7", "[hnsf'U]", "-7", "[hnsf'U]"),
        ("3", "{lesions}", "3", "{lesions}"),
        ("3", "%", "3", "%"),
        ("9999999999999999", "mm3", "9999999999999.999", "cm3"),
    ],
)
def test_units_are_converted_exactly(number: str, unit: str, expected: str, becomes: str) -> None:
    value, of = convert(Decimal(number), Code(unit, "UCUM", "any wording"))

    assert (value, of.value) == (Decimal(expected), becomes)


@pytest.mark.parametrize(
    "unit",
    [Code("mm", "99MINE", "millimetre"), Code("px", "UCUM", "mm"), Code("MM", "UCUM", "mm"), Code("{}", "UCUM", "")],
)
def test_unknown_units_are_never_millimetres(unit: Code) -> None:
    with pytest.raises(InputError, match="unit is not known"):
        convert(Decimal(1), unit)


# --- broken ------------------------------------------------------------------------------------------------------------------

#: an item of undefined length, and the end of the file in it
GARBAGE = b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x08\x00SECRET"
Break = Callable[[Dataset], None]
#: the number that is broken, in a group of its own after a sound one
PLACE = "1.1.2.3"


def broken(ds: Dataset) -> Dataset:
    """Return the number at `PLACE`."""
    item: Dataset = ds.ContentSequence[0].ContentSequence[1].ContentSequence[2]
    return item


def measured(ds: Dataset) -> Dataset:
    item: Dataset = broken(ds).MeasuredValueSequence[0]
    return item


def graphic(ds: Dataset) -> Dataset:
    item: Dataset = broken(ds).ContentSequence[0]
    return item


def sop(ds: Dataset) -> Dataset:
    item: Dataset = graphic(ds).ContentSequence[0].ReferencedSOPSequence[0]
    return item


def sample() -> Dataset:
    return report(group(num("10", "mm", scoord(image()))), group(num("20", "mm", scoord(image()))))


def _scoord3d(ds: Dataset) -> None:
    item = graphic(ds)
    item.ValueType, item.GraphicData = "SCOORD3D", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def _reference_in_words(ds: Dataset) -> None:
    item = Dataset()
    raw(item, "ReferencedContentItemIdentifier", b"one\\two ", "LO")
    broken(ds).ContentSequence.append(item)


def _below(*items: Dataset) -> Break:
    return lambda ds: broken(ds).ContentSequence.extend(items)


#: what was done to one number → what its refusal says
ONE_NUMBER: dict[str, tuple[Break, str]] = {
    "no measured value sequence": (lambda ds: broken(ds).pop("MeasuredValueSequence"), "no MeasuredValueSequence"),
    "no measured value and no qualifier": (lambda ds: setattr(broken(ds), "MeasuredValueSequence", []), "neither a number nor a reason"),
    "two measured values": (lambda ds: broken(ds).MeasuredValueSequence.append(measured(ds)), "2 measured values"),
    "measured value sequence is text": (lambda ds: raw(broken(ds), "MeasuredValueSequence", b"12", "LO"), "MeasuredValueSequence is no sequence"),
    "measured value sequence is garbage": (lambda ds: raw(broken(ds), "MeasuredValueSequence", GARBAGE, "SQ"), "MeasuredValueSequence cannot be parsed"),
    "number is a word": (lambda ds: raw(measured(ds), "NumericValue", b"ten ", "DS"), "number is no number"),
    "number is NaN": (lambda ds: raw(measured(ds), "NumericValue", b"NaN ", "DS"), "number is no number"),
    "number is infinite": (lambda ds: raw(measured(ds), "NumericValue", b"inf ", "DS"), "number is no number"),
    "number has a comma": (lambda ds: raw(measured(ds), "NumericValue", b"3,5 ", "DS"), "number is no number"),
    "number has an underscore": (lambda ds: raw(measured(ds), "NumericValue", b"1_000 ", "DS"), "number is no number"),
    "number is two numbers": (lambda ds: raw(measured(ds), "NumericValue", b"3\\4 ", "DS"), "number is no number"),
    "number is astronomical": (lambda ds: raw(measured(ds), "NumericValue", b"1e999999", "DS"), "number is no number"),
    "number is endless": (lambda ds: raw(measured(ds), "NumericValue", b"1" * 5000, "DS"), "number is no number"),
    "number is longer than any text": (lambda ds: raw(measured(ds), "NumericValue", b"1" * 60000, "DS"), "NumericValue has 60000 bytes"),
    "number is empty": (lambda ds: raw(measured(ds), "NumericValue", b"", "DS"), "number is missing"),
    "number is of a binary VR": (lambda ds: raw(measured(ds), "NumericValue", b"\0\1\2\3", "OB"), "number is missing"),
    "no unit": (lambda ds: measured(ds).pop("MeasurementUnitsCodeSequence"), "number has no unit"),
    "unit is an empty sequence": (lambda ds: setattr(measured(ds), "MeasurementUnitsCodeSequence", []), "number has no unit"),
    "unit without scheme": (lambda ds: measured(ds).MeasurementUnitsCodeSequence[0].pop("CodingSchemeDesignator"), "code without a scheme"),
    "unit of a private scheme": (lambda ds: setattr(measured(ds), "MeasurementUnitsCodeSequence", code("mm", "99MINE", "mm")), "no UCUM code"),
    "unit that is none": (lambda ds: setattr(measured(ds), "MeasurementUnitsCodeSequence", code("px", "UCUM", "mm")), "unit is not known"),
    "no concept name": (lambda ds: broken(ds).pop("ConceptNameCodeSequence"), "no concept name"),
    "two concept names": (lambda ds: broken(ds).ConceptNameCodeSequence.extend(code("1")), "2 codes where one belongs"),
    "concept name of absurd length": (lambda ds: raw(broken(ds).ConceptNameCodeSequence[0], "CodeMeaning", b"x" * 2000, "LO"), "more than 1024 characters"),
    "unknown relationship": (lambda ds: raw(broken(ds), "RelationshipType", b"BELONGS TO", "CS"), "Relationship Type is none"),
    "graphic without image": (lambda ds: graphic(ds).pop("ContentSequence"), "no image behind the graphic"),
    "graphic on an image without reference": (lambda ds: graphic(ds).ContentSequence[0].pop("ReferencedSOPSequence"), "names no image"),
    "graphic on an image without UID": (lambda ds: sop(ds).pop("ReferencedSOPInstanceUID"), "ReferencedSOPInstanceUID is missing"),
    "graphic on an image whose UID is none": (lambda ds: raw(sop(ds), "ReferencedSOPInstanceUID", b"one.two.three ", "UI"), "ReferencedSOPInstanceUID holds no UID"),
    "graphic on frame 0": (lambda ds: setattr(sop(ds), "ReferencedFrameNumber", 0), "ReferencedFrameNumber holds a number below 1"),
    "graphic on frame x": (lambda ds: raw(sop(ds), "ReferencedFrameNumber", b"x ", "IS"), "something else than whole numbers"),
    "graphic of unknown type": (lambda ds: setattr(graphic(ds), "GraphicType", "SPLINE"), "GraphicType is missing, or none"),
    "graphic without type": (lambda ds: graphic(ds).pop("GraphicType"), "GraphicType is missing, or none"),
    "graphic without points": (lambda ds: graphic(ds).pop("GraphicData"), "0 numbers, which makes no POLYLINE"),
    "graphic with half a point": (lambda ds: setattr(graphic(ds), "GraphicData", [1.0, 2.0, 3.0]), "3 numbers, which makes no POLYLINE"),
    "graphic of a whole slide": (lambda ds: setattr(graphic(ds), "PixelOriginInterpretation", "VOLUME"), "counted in a whole slide"),
    "ellipse of two points": (lambda ds: setattr(graphic(ds), "GraphicType", "ELLIPSE"), "4 numbers, which makes no ELLIPSE"),
    "graphic at infinity": (lambda ds: raw(graphic(ds), "GraphicData", b"\0\0\x80\x7f" * 4, "FL"), "not finite"),
    "graphic with half a number": (lambda ds: raw(graphic(ds), "GraphicData", b"\0\0\0", "FL"), "half a number"),
    "graphic in words": (lambda ds: raw(graphic(ds), "GraphicData", b"1.0\\2.0 ", "DS"), "something else than numbers"),
    "graphic in words, parsed": (lambda ds: graphic(ds).__setitem__(Tag("GraphicData"), DataElement("GraphicData", "LO", ["1", "2"])), "something else than numbers"),
    "graphic in space of no frame of reference": (_scoord3d, "ReferencedFrameOfReferenceUID is missing"),
    "reference to nothing": (_below(by_reference(1, 7, 7)), "refers to a content item that does not exist"),
    "reference to item 0": (_below(by_reference(1, 0)), "refers to a content item that does not exist"),
    "reference to another root": (_below(by_reference(2, 1)), "refers to a content item that does not exist"),
    "reference in words": (_reference_in_words, "ReferencedContentItemIdentifier holds something else than whole numbers"),
    "item without type or reference": (_below(Dataset()), "neither a value type nor a reference"),
    "item of an unknown type": (_below(node("HAS PROPERTIES", "SMELL", "tid.comment")), "Value Type is none"),
    "derivation without a code": (_below(node("HAS CONCEPT MOD", "CODE", "tid.derivation")), "no code as its value"),
    "note of absurd length": (_below(node("HAS PROPERTIES", "TEXT", "tid.comment", TextValue="x" * 40000)), "TextValue has"),
}  # fmt: skip


@pytest.mark.parametrize("what", ONE_NUMBER)
@pytest.mark.parametrize("form", ["file", "memory"])
def test_one_broken_number_is_refused_and_the_sound_one_stays(what: str, form: str) -> None:
    damage, reason = ONE_NUMBER[what]
    ds = sample()
    damage(ds)
    found = read_structured_report(reread(ds) if form == "file" else ds)

    sound, other = found.groups
    assert [m.value for m in sound.measurements] == [Decimal(10)]
    assert other.measurements == ()
    (refusal,) = found.refusals
    assert refusal.place == PLACE
    assert reason in refusal.reason
    assert refusal.tracking_uid == "2.25.5"
    assert "SECRET" not in refusal.reason


def _replace_root_text(ds: Dataset) -> None:
    ds.ValueType, ds.TextValue = "TEXT", "nothing"


def _nested(levels: int) -> Dataset:
    item = node("CONTAINS", "CONTAINER", "tid.comment")
    for _ in range(levels):
        item = node("CONTAINS", "CONTAINER", "tid.comment", item)
    return item


def _bottomless(ds: Dataset) -> None:
    """Nest sequences of undefined length in bytes, so that parsing them recurses."""
    start = b"\x40\x00\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    raw(broken(ds), "ContentSequence", start[12:] + start * 3000, "SQ")


def _circle_of_two(ds: Dataset) -> None:
    first: Dataset = ds.ContentSequence[0].ContentSequence[0].ContentSequence[2]
    first.ContentSequence.append(by_reference(1, 1, 2, 3))
    broken(ds).ContentSequence.append(by_reference(1, 1, 1, 3))


def _items(count: int) -> Break:
    many = (
        struct.pack("<HHL", 0xFFFE, 0xE000, len(one := encoded(node("CONTAINS", "TEXT", "tid.comment", TextValue="x"))))
        + one
    )
    return lambda ds: raw(ds.ContentSequence[0], "ContentSequence", many * count, "SQ")


#: what was done to the tree or to the document → what the error says
WHOLE_REPORT: dict[str, tuple[Break, str]] = {
    "root is text": (_replace_root_text, "its root .* is no container"),
    "root has no type": (lambda ds: ds.pop("ValueType"), "its root .* is no container"),
    "root has no title": (lambda ds: ds.pop("ConceptNameCodeSequence"), "its root .* is no container with a title"),
    "no SOP instance UID": (lambda ds: ds.pop("SOPInstanceUID"), "SOPInstanceUID is missing"),
    "no study instance UID": (lambda ds: ds.pop("StudyInstanceUID"), "StudyInstanceUID is missing"),
    "no series instance UID": (lambda ds: ds.pop("SeriesInstanceUID"), "SeriesInstanceUID is missing"),
    "SOP instance UID in words": (lambda ds: raw(ds, "SOPInstanceUID", b"one.two ", "UI"), "SOPInstanceUID holds no UID"),
    "SOP instance UID of 200 digits": (lambda ds: raw(ds, "SOPInstanceUID", b"1.2" * 50, "UI"), "SOPInstanceUID holds no UID"),
    "manufacturer of absurd length": (lambda ds: raw(ds, "Manufacturer", b"SECRET" * 10000, "LO"), "Manufacturer has 60000 bytes"),
    "content sequence is text": (lambda ds: raw(broken(ds), "ContentSequence", b"12", "LO"), r"1\.1\.2\.3: ContentSequence is no sequence"),
    "content sequence is garbage": (lambda ds: raw(broken(ds), "ContentSequence", GARBAGE, "SQ"), r"1\.1\.2\.3: ContentSequence cannot be parsed"),
    "evidence sequence is garbage": (lambda ds: raw(ds, "CurrentRequestedProcedureEvidenceSequence", GARBAGE, "SQ"), "EvidenceSequence cannot be parsed"),
    "reference to the root": (_below(by_reference(1)), r"1\.1\.2\.3\.2: its reference to 1 leads round in a circle"),
    "reference to the number itself": (_below(by_reference(1, 1, 2, 3)), "leads round in a circle"),
    "reference to the group": (_below(by_reference(1, 1, 2)), "leads round in a circle"),
    "reference to itself": (_below(by_reference(1, 1, 2, 3, 2)), "leads round in a circle"),
    "two numbers inferred from each other": (_circle_of_two, "leads round in a circle"),
    "nested one level too deep": (lambda ds: ds.ContentSequence.append(_nested(DEEPEST - 1)), "deeper than 64 levels"),
    "nested without end": (_bottomless, r"1\.1\.2\.3"),
    "100000 items": (_items(100_000), r"1\.1: ContentSequence has more than 50000 items"),
}  # fmt: skip


@pytest.mark.parametrize("what", WHOLE_REPORT)
@pytest.mark.parametrize("form", ["file", "memory"])
def test_a_broken_tree_is_refused_as_a_whole(what: str, form: str) -> None:
    damage, message = WHOLE_REPORT[what]
    ds = sample()
    damage(ds)
    with pytest.raises(InputError, match=message) as caught:
        read_structured_report(reread(ds) if form == "file" else ds)
    assert "SECRET" not in str(caught.value)


def test_limits_are_not_tighter_than_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sr_tree, "MOST_ITEMS", 500)
    deepest = report(group(num("10")))
    deepest.ContentSequence.append(_nested(DEEPEST - 2))

    assert len(read_structured_report(deepest).groups) == 1
    # beside the root and Imaging Measurements
    for count, fits in ((498, True), (499, False)):
        ds = report()
        _items(count)(ds)
        if fits:
            assert len(read_structured_report(ds).evaluations) == 498
        else:
            with pytest.raises(InputError, match=r"content item 1\.1: the tree has more than 500 items"):
                read_structured_report(ds)


def _region(*children: Dataset) -> Dataset:
    region = scoord(*children)
    region.RelationshipType, region.ConceptNameCodeSequence = "CONTAINS", named("tid.image_region")
    return region


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        (_region(), "content item 1.1.2.3: there is no image behind the graphic"),
        (by_reference(1, 9, relationship="CONTAINS"), "content item 1.1.2.3: it refers to a content item that does not exist"),
        (Dataset(), "content item 1.1.2.3: it has neither a value type nor a reference"),
        (node("CONTAINS", "SHAPE", "tid.image_region"), "content item 1.1.2.3: its Value Type is none of the standard's"),
        (node("CONTAINS", "CONTAINER", "tid.image_region", _region()), "content item 1.1.2.3.1: there is no image behind the graphic"),
    ],
)  # fmt: skip
def test_a_group_whose_region_cannot_be_read_is_refused_with_its_numbers(region: Dataset, reason: str) -> None:
    found = read_structured_report(report(group(num("10")), group(region, num("20"), num("30"))))

    assert [m.value for g in found.groups for m in g.measurements] == [Decimal(10)]
    (refusal,) = found.refusals
    assert (refusal.place, refusal.tracking_uid) == ("1.1.2", "2.25.5")
    assert reason in refusal.reason


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (node("CONTAINS", "CODE", "tid.finding"), "no code as its value"),
        (node("CONTAINS", "CODE", "", ConceptCodeSequence=code("1")), "no concept name"),
        (node("CONTAINS", "TEXT", "tid.comment"), "no TextValue"),
        (node("CONTAINS", "TEXT", "tid.comment", TextValue="x" * 40000), "TextValue has"),
        (node("CONTAINS", "TCOORD", "tid.comment"), "TCOORD item is not read here"),
        (by_reference(1, 1, 1, 1, relationship="CONTAINS"), "reference to an item of this kind"),
    ],
)
def test_other_broken_items_of_a_group_are_named(item: Dataset, reason: str) -> None:
    for form in (ds := report(group(num("10"), item)), reread(ds)):
        found = read_structured_report(form)
        assert [m.value for m in found.groups[0].measurements] == [Decimal(10)]
        (refusal,) = found.refusals
        assert (refusal.place, reason in refusal.reason) == ("1.1.1.4", True), refusal.reason


def test_a_tracking_uid_that_is_none_is_not_taken() -> None:
    ds = report(group(num("10")))
    raw(ds.ContentSequence[0].ContentSequence[0].ContentSequence[1], "UID", b"lesion one", "UI")

    found = read_structured_report(reread(ds))
    assert found.groups[0].tracking_uid == ""
    assert [(r.place, r.reason) for r in found.refusals] == [("1.1.1.2", "UID holds no UID")]


def test_flags_outside_of_the_standard_are_not_guessed() -> None:
    ds = sample()
    ds.CompletionFlag, ds.VerificationFlag = "DONE", "VERIFIED"

    found = read_structured_report(ds)
    assert (found.completion, found.verification) == (None, Verification.VERIFIED)
    assert [r.reason for r in found.refusals] == ["CompletionFlag has none of the values that the standard defines"]


def test_other_objects_are_no_reports() -> None:
    for path in (DATA / "abdomen" / "ct" / "01.dcm", DATA / "abdomen" / "seg_liver.dcm", PYDICOM_FILES / "rtplan.dcm"):
        with pytest.raises(InputError, match="no structured report"):
            read_structured_report(dcmread(path))


def test_three_hundred_groups_are_read_whole() -> None:
    found = read_structured_report(
        reread(report(*(group(*(num(str(n), "mm", scoord(image())) for n in range(1, 6))) for _ in range(300))))
    )

    assert found.refusals == ()
    assert sum(len(g.measurements) for g in found.groups) == 1500


def test_many_references_to_one_drawing_stay_cheap() -> None:
    """Ten thousand numbers refer to one drawing that was made on ten thousand images: it is read once, not ten thousand times."""
    shared = scoord(*[image()] * 10_000)
    shared.RelationshipType = "CONTAINS"
    reference = by_reference(1, 1, 1, 3)

    found = only_group(report(group(shared, *[num("10", "mm", reference)] * 10_000)))
    assert len(found.measurements) == 10_000
    assert all(m.evidence[0] is found.evidence[0] for m in found.measurements)


# --- whatever happens to a file ------------------------------------------------------------------------------------------------

SEEDS = 40


@dataclass(frozen=True)
class _Spot:
    ds: Dataset
    tag: int


def _spots(ds: Dataset) -> Iterator[_Spot]:
    for tag in list(ds.keys()):
        yield _Spot(ds, tag)
        element = ds[tag]
        for item in element.value or () if element.VR == "SQ" else ():
            yield from _spots(item)


def _mutate(ds: Dataset, rng: random.Random) -> None:
    """Damage one to three elements, anywhere."""
    for spot in rng.sample(list(_spots(ds)), rng.randint(1, 3)):
        element = spot.ds.get_item(spot.tag)
        assert isinstance(element, DataElement)
        sequence = element.VR == "SQ"
        junk = rng.choice(
            [b"", b"\0", b"\xff\xff\xff\xff", b"-1", b"1\\2\\3 ", b"nan ", "ä".encode(), b"9" * rng.randint(1, 70000)]
        )
        vr = rng.choice(["LO", "DS", "UI", "US", "FL", "OB", "SQ", "UN", "CS", element.VR])
        match rng.randrange(7):
            case 0:
                del spot.ds[spot.tag]
            case 1:
                spot.ds[spot.tag] = DataElement(spot.tag, element.VR, None)
            case 2 | 3:
                spot.ds[spot.tag] = RawDataElement(
                    Tag(spot.tag), vr, len(junk), junk, 0, rng.random() < 0.5, rng.random() < 0.8
                )
            case 4 if sequence and element.value:
                element.value.append(rng.choice(list(element.value)))
            case 5 if sequence and element.value:
                del element.value[rng.randrange(len(element.value))]
            case 6 if "ContentSequence" in spot.ds:
                spot.ds.ContentSequence.append(by_reference(*(rng.randint(0, 4) for _ in range(rng.randint(1, 6)))))
            case _:
                spot.ds[spot.tag] = DataElement(spot.tag, "OB", junk)


def _outcome(ds: Dataset) -> str:
    """Read ``ds``: a report or an `InputError`, whose words quote no text of the file."""
    try:
        found = read_structured_report(ds)
    except InputError as error:
        said = [str(error)]
    else:
        assert isinstance(found, ForeignReport)
        said = [r.reason for r in found.refusals]
    for words in said:
        assert not any(secret in words for secret in ("Reader", "JANCT", "STS_0", "GTV", "SECRET", "99999")), words
    return said[0] if said else ""


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.name)
def test_mutated_elements_end_in_a_report_or_an_input_error(path: Path) -> None:
    data = path.read_bytes()
    outcomes = set()
    for seed in range(SEEDS):
        rng = random.Random(f"{path.name} {seed}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds = dcmread(io.BytesIO(data))
            _mutate(ds, rng)
        outcomes.add(_outcome(ds))
    assert len(outcomes) > 3, "the mutations hit nothing that matters"


@pytest.mark.parametrize("path", CORPUS, ids=lambda p: p.name)
def test_flipped_and_missing_bytes_end_in_a_report_or_an_input_error(path: Path) -> None:
    data = path.read_bytes()
    parsed = 0
    for seed in range(SEEDS):
        rng = random.Random(f"{path.name} {seed}")
        damaged = bytearray(data[: rng.randint(400, len(data))] if seed % 4 == 0 else data)
        for _ in range(rng.choice([1, 5, 50])):
            damaged[rng.randrange(300, len(damaged))] = rng.randrange(256)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ds = dcmread(io.BytesIO(bytes(damaged)))
            except Exception:  # noqa: BLE001, S112 - whoever reads the file answers for what pydicom raises there
                continue
        parsed += 1
        _outcome(ds)
    assert parsed >= SEEDS // 4
