"""Content items (PS3.3 C.17.3) in the few shapes that our reports use; highdicom builds each of them and checks it.

Every item gets a Concept Name, images too: a viewer in wide use turns black without one. Every container is SEPARATE, since CONTINUOUS
prints values without their names.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

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

from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import Date, PersonName, Quantity, Uid, Value
from sr_templates import load_codes

CONTAINS = RelationshipTypeValues.CONTAINS
HAS_CONCEPT_MOD = RelationshipTypeValues.HAS_CONCEPT_MOD
HAS_OBS_CONTEXT = RelationshipTypeValues.HAS_OBS_CONTEXT
HAS_ACQ_CONTEXT = RelationshipTypeValues.HAS_ACQ_CONTEXT
INFERRED_FROM = RelationshipTypeValues.INFERRED_FROM
SELECTED_FROM = RelationshipTypeValues.SELECTED_FROM

#: a text item holds UT, but viewers and archives cut long lines: ours stay short of this
MAX_TEXT = 4000


def concept(code: Code) -> CodedConcept:
    """Return ``code`` as highdicom's coded concept."""
    return CodedConcept(code.value, code.scheme, code.meaning[:64])


def key(name: str) -> Code:
    """Return the code that stands under ``name`` in ``codes.csv``."""
    return load_codes()[name]


def text(name: Code, value: str, relation: RelationshipTypeValues = CONTAINS) -> ContentItem:
    """Return a TEXT item."""
    return TextContentItem(concept(name), value[:MAX_TEXT], relation)


def code(name: Code, value: Code, relation: RelationshipTypeValues = CONTAINS) -> ContentItem:
    """Return a CODE item."""
    return CodeContentItem(concept(name), concept(value), relation)


def uid(name: Code, value: str, relation: RelationshipTypeValues = CONTAINS) -> ContentItem:
    """Return a UIDREF item."""
    return UIDRefContentItem(concept(name), value, relation)


def container(
    name: Code,
    children: Iterable[ContentItem] = (),
    *,
    relation: RelationshipTypeValues | None = CONTAINS,
    template: str | None = None,
) -> ContentItem:
    """Return a CONTAINER, separate, of template ``template`` of PS3.16 where one is named."""
    item = ContainerContentItem(
        concept(name), is_content_continuous=False, template_id=template, relationship_type=relation
    )
    add(item, *children)
    return item


def add(item: ContentItem, *children: ContentItem) -> None:
    """Put ``children`` below ``item``, after those that it has."""
    if not children:
        return
    if "ContentSequence" in item:
        item.ContentSequence.extend(children)
    else:
        item.ContentSequence = ContentSequence(list(children))


def value(name: Code, given: Value, relation: RelationshipTypeValues = CONTAINS) -> ContentItem:
    """Return the item of the value type that ``given`` has."""
    match given:
        case Code():
            return code(name, given, relation)
        case Quantity():
            return _number(name, given, relation)
        case Date():
            return DateContentItem(concept(name), given.value, relation)
        case Uid():
            return uid(name, given.value, relation)
        case PersonName():
            return PnameContentItem(concept(name), given.value, relation)
        case str():
            return text(name, given, relation)


def _number(name: Code, given: Quantity, relation: RelationshipTypeValues) -> ContentItem:
    number = given.number if given.number is not None else Decimal(0)
    item = NumContentItem(
        name=concept(name),
        value=float(number),
        unit=concept(given.unit),
        qualifier=concept(given.qualifier) if given.qualifier else None,
        relationship_type=relation,
    )
    if given.number is None:
        # no number: an empty Measured Value Sequence and the qualifier that says why (PS3.3 C.18.1)
        item.MeasuredValueSequence = []
    else:
        measured = item.MeasuredValueSequence[0]
        measured.NumericValue = format(given.number, "f")
        if "FloatingPointValue" in measured:
            # the decimal string is exact for what we write; a second, binary value would only invite disagreement
            del measured.FloatingPointValue
    return item


def image(name: Code, reference: Reference, relation: RelationshipTypeValues = CONTAINS) -> ContentItem:
    """Return an IMAGE item that points at an image, at frames of it or at a segment."""
    return ImageContentItem(
        concept(name),
        reference.sop_class_uid,
        reference.sop_instance_uid,
        list(reference.frames) or None,
        reference.segment,
        relation,
    )


def graphic(name: Code, reference: Reference) -> ContentItem:
    """Return an SCOORD item, inferred from, with the image that it was drawn on."""
    item = ScoordContentItem(
        concept(name),
        GraphicTypeValues.POLYLINE,
        np.array(reference.points, dtype=np.float32),
        relationship_type=INFERRED_FROM,
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
    """Return what an answer was inferred from: a line on an image, a segment, or an image."""
    if reference.points:
        return graphic(key("tid.source_of_measurement"), reference)
    name = "tid.referenced_segment" if reference.segment is not None else "tid.source"
    return image(key(name), reference, INFERRED_FROM)
