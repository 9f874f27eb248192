"""The content items of `service.sr.items` built the ordinary way, by highdicom, which checks each of them: what the tests compare with."""

from __future__ import annotations

import numpy as np
from highdicom.sr import (
    CodeContentItem,
    CodedConcept,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    DateContentItem,
    GraphicTypeValues,
    ImageContentItem,
    NumContentItem,
    PnameContentItem,
    RelationshipTypeValues,
    ScoordContentItem,
    TextContentItem,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset


def plainly(item: Dataset) -> ContentItem:
    """Return ``item`` and all below it as highdicom builds it.

    Raises
    ------
    ValueError, TypeError
        highdicom refuses what it says.
    """
    built = _built(item, RelationshipTypeValues(item.RelationshipType) if "RelationshipType" in item else None)
    if "ContentSequence" in item:
        built.ContentSequence = ContentSequence([plainly(c) for c in item.ContentSequence])
    return built


def written(item: Dataset) -> bytes:
    """Return an item as explicit VR little endian, UTF-8."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, item, "utf-8")
    return buffer.getvalue()


def _concept(sequence: list[Dataset]) -> CodedConcept:
    (code,) = sequence
    (value,) = (str(code[k].value) for k in ("CodeValue", "LongCodeValue", "URNCodeValue") if k in code)
    return CodedConcept(value, str(code.CodingSchemeDesignator), str(code.CodeMeaning))


def _built(item: Dataset, relation: RelationshipTypeValues | None) -> ContentItem:  # noqa: PLR0911 - one for each value type
    name = _concept(item.ConceptNameCodeSequence)
    match item.ValueType:
        case "CONTAINER":
            assert item.ContinuityOfContent == "SEPARATE"
            template = item.ContentTemplateSequence[0].TemplateIdentifier if "ContentTemplateSequence" in item else None
            return ContainerContentItem(
                name, is_content_continuous=False, template_id=template, relationship_type=relation
            )
        case "CODE":
            return CodeContentItem(name, _concept(item.ConceptCodeSequence), relation)
        case "TEXT":
            return TextContentItem(name, item.TextValue, relation)
        case "DATE":
            return DateContentItem(name, item.Date, relation)
        case "UIDREF":
            return UIDRefContentItem(name, item.UID, relation)
        case "PNAME":
            return PnameContentItem(name, item.PersonName, relation)
        case "NUM":
            return _number(item, name, relation)
        case "IMAGE":
            (sop,) = item.ReferencedSOPSequence
            frames = sop.get("ReferencedFrameNumber")
            return ImageContentItem(
                name,
                sop.ReferencedSOPClassUID,
                sop.ReferencedSOPInstanceUID,
                ([frames] if isinstance(frames, int) else list(frames)) if frames is not None else None,
                sop.get("ReferencedSegmentNumber"),
                relation,
            )
        case "SCOORD":
            points = np.array(item.GraphicData, dtype=np.float32).reshape(-1, 2)
            return ScoordContentItem(name, GraphicTypeValues(item.GraphicType), points, relationship_type=relation)
        case kind:
            raise AssertionError(kind)


def _number(item: Dataset, name: CodedConcept, relation: RelationshipTypeValues | None) -> ContentItem:
    measured = item.MeasuredValueSequence[0] if item.MeasuredValueSequence else None
    qualifier = item.get("NumericValueQualifierCodeSequence")
    built = NumContentItem(
        name=name,
        value=float(measured.NumericValue) if measured else 0.0,
        unit=_concept(measured.MeasurementUnitsCodeSequence) if measured else CodedConcept("1", "UCUM", "no units"),
        qualifier=_concept(qualifier) if qualifier else None,
        relationship_type=relation,
    )
    if measured is None:
        built.MeasuredValueSequence = []
    else:
        # ours is the exact decimal string alone
        del built.MeasuredValueSequence[0].FloatingPointValue
        built.MeasuredValueSequence[0].NumericValue = measured.NumericValue
    return built
