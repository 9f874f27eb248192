"""What a viewer measured and stated, as a report of ours takes it: numbers in our digits, images with or without their line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import ROUND_HALF_UP, Decimal

from service.model.code import Code
from service.model.foreign import Evidence, ForeignMeasurement, GraphicType
from service.model.measurement import Reference
from service.model.report import Quantity, Subject
from sr_templates import Item, load_codes

#: Neoplasm; Neoplasm, Primary; Malignant neoplasm, primary (as 3D Slicer has it): what makers of segmentations and viewers call a mass
_NEOPLASMS = frozenset({"108369006", "372087000", "86049000"})
_LINE_ENDS = 2


def on_segment(subject: Subject, reference: Reference) -> bool:
    """Say whether a subject was measured on a segment."""
    return subject.segment is not None and subject.segment.mark == reference.mark


def quantity_of(item: Item, measurement: ForeignMeasurement) -> Quantity | None:
    """Return a number in the digits of the question; None where it is none, or lies outside of what the question takes."""
    if measurement.value is None or item.unit is None or not measurement.value.is_finite():
        return None
    if (item.low is not None and measurement.value < item.low) or (
        item.high is not None and measurement.value > item.high
    ):
        return None
    return Quantity(number=measurement.value.quantize(Decimal(1).scaleb(-item.decimals), ROUND_HALF_UP), unit=item.unit)


def references_of(evidence: Iterable[Evidence], *, drawn: bool) -> Iterator[Reference]:
    """Yield the images that something was measured on.

    ``drawn``: with the line, since the next version of our measurements replaces the one it stands in. A line that stands in a
    viewer's own report is not drawn a second time.
    """
    for one in evidence:
        for image in one.images:
            if image.segment is not None:
                continue
            line = one.graphic
            points: tuple[tuple[float, float], ...] = ()
            if drawn and line is not None and line.kind is GraphicType.POLYLINE and len(line.points) == _LINE_ENDS:
                points = tuple((round(p[0], 2), round(p[1], 2)) for p in line.points if len(p) == _LINE_ENDS)
            yield Reference(
                sop_class_uid=image.sop_class_uid,
                sop_instance_uid=image.sop_instance_uid,
                series_instance_uid=image.series_instance_uid,
                frames=image.frames,
                points=points if len(points) == _LINE_ENDS else (),
            )


def finding_of(code: Code, verifier: str) -> Code:
    """Return a finding as it may be proposed: before tissue diagnosis a tumour is a mass, unless a person has signed for more."""
    neoplasm = code.scheme == "SCT" and code.value in _NEOPLASMS
    return load_codes()["tum.mass"] if neoplasm and not verifier else code
