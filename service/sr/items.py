"""Content items (PS3.3 C.17.3) in the few shapes that our reports use.

Every item gets a Concept Name, images too: a viewer in wide use turns black without one. Every container is SEPARATE, since CONTINUOUS
prints values without their names.

The items are data sets built from elements that are ready made: a full report has some 1,300 items, most of them with names and values
that stand many times, and a code sequence is built once and shared. highdicom's classes, which look every attribute up by its name and
convert it, took four times as long (`tests/bench/bench_sr.py`). `tests/plain_items.py` builds the same items with highdicom, and tests
compare the two; what highdicom checks is checked of the written object by `service.sr.gate`. So nothing here may be changed once it is
built, but by `add`.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import Date, PersonName, Quantity, Uid, Value
from sr_templates import load_codes

#: an item of a content tree
ContentItem = Dataset


class Relation(enum.StrEnum):
    """Relationship Type (0040,A010)."""

    CONTAINS = "CONTAINS"
    HAS_CONCEPT_MOD = "HAS CONCEPT MOD"
    HAS_OBS_CONTEXT = "HAS OBS CONTEXT"
    HAS_ACQ_CONTEXT = "HAS ACQ CONTEXT"
    INFERRED_FROM = "INFERRED FROM"
    SELECTED_FROM = "SELECTED FROM"


CONTAINS = Relation.CONTAINS
HAS_CONCEPT_MOD = Relation.HAS_CONCEPT_MOD
HAS_OBS_CONTEXT = Relation.HAS_OBS_CONTEXT
HAS_ACQ_CONTEXT = Relation.HAS_ACQ_CONTEXT
INFERRED_FROM = Relation.INFERRED_FROM
SELECTED_FROM = Relation.SELECTED_FROM

#: a text item holds UT, but viewers and archives cut long lines: ours stay short of this
MAX_TEXT = 4000
#: how many different codes are kept ready
_KEPT = 4096
#: what Code Value (0008,0100) can hold (SH)
_CODE_VALUE = 16
#: what Code Meaning (0008,0104) can hold (LO)
_CODE_MEANING = 64


@functools.cache
def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return BaseTag(tag)


_NAME, _CODE = _tag("ConceptNameCodeSequence"), _tag("ConceptCodeSequence")
_CONTENT = _tag("ContentSequence")


@functools.cache
def _constant(keyword: str, text: str) -> DataElement:
    return _element(keyword, text)


def _element(keyword: str, given: Any) -> DataElement:
    """Return an element whose value pydicom converts."""
    tag = _tag(keyword)
    return DataElement(tag, dictionary_VR(tag), given)


def _ready(keyword: str, given: Any) -> DataElement:
    """Return an element whose value is what pydicom would make of it."""
    tag = _tag(keyword)
    return DataElement(tag, dictionary_VR(tag), given, already_converted=True)


def _sequence(tag: BaseTag, *found: Dataset) -> DataElement:
    return DataElement(tag, "SQ", Sequence(found), already_converted=True)


def _dataset(*elements: DataElement) -> Dataset:
    return Dataset({e.tag: e for e in elements})


@functools.lru_cache(maxsize=_KEPT)
def _coded(tag: BaseTag, of: Code) -> DataElement:
    """Return a code sequence (PS3.3 8.8); a value that is too long for Code Value stands in Long Code Value or URN Code Value."""
    keyword = "CodeValue"
    if len(of.value) > _CODE_VALUE:
        keyword = "URNCodeValue" if of.value.startswith("urn") or "://" in of.value else "LongCodeValue"
    return _sequence(
        tag,
        _dataset(
            _element(keyword, of.value),
            _element("CodingSchemeDesignator", of.scheme),
            _element("CodeMeaning", of.meaning[:_CODE_MEANING]),
        ),
    )


def _item(kind: str, name: Code, relation: Relation | None, *elements: DataElement) -> ContentItem:
    of = () if relation is None else (_constant("RelationshipType", relation.value),)
    return _dataset(*of, _constant("ValueType", kind), _coded(_NAME, name), *elements)


@functools.cache
def key(name: str) -> Code:
    """Return the code that stands under ``name`` in ``codes.csv``."""
    return load_codes()[name]


def text(name: Code, value: str, relation: Relation = CONTAINS) -> ContentItem:
    """Return a TEXT item."""
    return _item("TEXT", name, relation, _ready("TextValue", value[:MAX_TEXT]))


def code(name: Code, value: Code, relation: Relation = CONTAINS) -> ContentItem:
    """Return a CODE item."""
    return _item("CODE", name, relation, _coded(_CODE, value))


def uid(name: Code, value: str, relation: Relation = CONTAINS) -> ContentItem:
    """Return a UIDREF item."""
    return _item("UIDREF", name, relation, _element("UID", value))


def container(
    name: Code,
    children: Iterable[ContentItem] = (),
    *,
    relation: Relation | None = CONTAINS,
    template: str | None = None,
) -> ContentItem:
    """Return a CONTAINER, separate, of template ``template`` of PS3.16 where one is named."""
    elements = [_constant("ContinuityOfContent", "SEPARATE")]
    if template is not None:
        elements.append(_of_template(template))
    item = _item("CONTAINER", name, relation, *elements)
    add(item, *children)
    return item


@functools.cache
def _of_template(number: str) -> DataElement:
    which = _dataset(_element("MappingResource", "DCMR"), _element("TemplateIdentifier", number))
    return _sequence(_tag("ContentTemplateSequence"), which)


def add(item: ContentItem, *children: ContentItem) -> None:
    """Put ``children`` below ``item``, after those that it has."""
    if not children:
        return
    if _CONTENT in item:
        item[_CONTENT].value.extend(children)
    else:
        item[_CONTENT] = _sequence(_CONTENT, *children)


def value(name: Code, given: Value, relation: Relation = CONTAINS) -> ContentItem:
    """Return the item of the value type that ``given`` has."""
    match given:
        case Code():
            return code(name, given, relation)
        case Quantity():
            return _number(name, given, relation)
        case Date():
            return _item("DATE", name, relation, _element("Date", given.value))
        case Uid():
            return uid(name, given.value, relation)
        case PersonName():
            return _item("PNAME", name, relation, _element("PersonName", given.value))
        case str():
            return text(name, given, relation)


def _number(name: Code, given: Quantity, relation: Relation) -> ContentItem:
    """Return a NUM item; without a number, an empty Measured Value Sequence and the qualifier that says why (PS3.3 C.18.1, CID 42).

    Not every reader expects that (highdicom's parser stops at it, PixelMed's validator misses the value), so the group's comment says it
    in words, too. The decimal string is exact for what we write: Floating Point Value, a second, binary one, would only invite
    disagreement.
    """
    measured = []
    if given.number is not None:
        number = _element("NumericValue", format(given.number, "f"))
        measured.append(_dataset(number, _coded(_tag("MeasurementUnitsCodeSequence"), given.unit)))
    elements = [_sequence(_tag("MeasuredValueSequence"), *measured)]
    if given.qualifier is not None:
        elements.append(_coded(_tag("NumericValueQualifierCodeSequence"), given.qualifier))
    return _item("NUM", name, relation, *elements)


def image(name: Code, reference: Reference, relation: Relation = CONTAINS) -> ContentItem:
    """Return an IMAGE item that points at an image, at frames of it or at a segment."""
    elements = [
        _ready("ReferencedSOPClassUID", UID(reference.sop_class_uid)),
        _ready("ReferencedSOPInstanceUID", UID(reference.sop_instance_uid)),
    ]
    if reference.frames:
        elements.append(_element("ReferencedFrameNumber", list(reference.frames)))
    if reference.segment is not None:
        elements.append(_element("ReferencedSegmentNumber", reference.segment))
    return _item("IMAGE", name, relation, _sequence(_tag("ReferencedSOPSequence"), _dataset(*elements)))


def region(reference: Reference, relation: Relation = CONTAINS) -> ContentItem:
    """Return a COMPOSITE item that points at an RT structure set, its ROI named below (TID 1411, rows 12b and 12c).

    The relationship of row 12c, HAS PROPERTIES, is none that an SR lets a COMPOSITE have (PS3.3 A.35.3.3.1.2): the identifier is a
    modifier here.
    """
    target = _dataset(
        _ready("ReferencedSOPClassUID", UID(reference.sop_class_uid)),
        _ready("ReferencedSOPInstanceUID", UID(reference.sop_instance_uid)),
    )
    item = _item("COMPOSITE", key("tid.region_in_space"), relation, _sequence(_tag("ReferencedSOPSequence"), target))
    add(item, text(key("tid.roi_identifier"), str(reference.roi), HAS_CONCEPT_MOD))
    if reference.roi_name:
        add(item, text(key("rep.roi_name"), reference.roi_name, HAS_CONCEPT_MOD))
    return item


def graphic(name: Code, reference: Reference) -> ContentItem:
    """Return an SCOORD item, inferred from, with the image that it was drawn on."""
    points = [coordinate for point in reference.points for coordinate in point]
    item = _item(
        "SCOORD",
        name,
        INFERRED_FROM,
        _constant("GraphicType", "POLYLINE"),
        _element("GraphicData", points),
    )
    plain = Reference(
        sop_class_uid=reference.sop_class_uid,
        sop_instance_uid=reference.sop_instance_uid,
        series_instance_uid=reference.series_instance_uid,
        frames=reference.frames,
    )
    add(item, image(key("tid.source"), plain, SELECTED_FROM))
    return item


def evidence(reference: Reference) -> ContentItem:
    """Return what an answer was inferred from: a line on an image, a segment, an ROI, or an image."""
    if reference.points:
        return graphic(key("tid.source_of_measurement"), reference)
    if reference.roi is not None:
        return region(reference, INFERRED_FROM)
    name = "tid.referenced_segment" if reference.segment is not None else "tid.source"
    return image(key(name), reference, INFERRED_FROM)
