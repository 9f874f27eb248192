"""What a source of proposals may look at, and how it writes its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from service.model.measurement import SegmentMeasurements
from service.model.prior import Match, PriorReport
from service.model.relation import Relation
from service.model.report import Answer, Provenance, Quantity, Status, Subject, Value
from service.model.study import Series, Study
from service.settings import Clinical
from sr_templates import CodeTable, Item, load_codes
from sr_templates.evaluate import DEFAULTS
from sr_templates.language.values import Fill


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """The device observer: this installation of the service."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Everything a source may look at."""

    study: Study
    device: Device
    prior: PriorReport | None = None
    subject: Subject | None = None
    series: Series | None = None
    segment: SegmentMeasurements | None = None
    #: other marks of the same lesion
    further: tuple[SegmentMeasurements, ...] = ()
    #: all tumour segments of the study
    tumours: tuple[SegmentMeasurements, ...] = ()
    #: which lesions may be which of an earlier time point
    matches: tuple[Match, ...] = ()
    #: of a vessel or an organ: how the tumour lies to it
    relation: Relation | None = None
    #: the relations that vessels and organs of the report have
    relations: tuple[Relation, ...] = ()
    #: thresholds of proposals
    clinical: Clinical = DEFAULTS

    @property
    def codes(self) -> CodeTable:
        """Return the table of codes."""
        return load_codes()


Source = Callable[[Context, Item], tuple[Answer, ...]]


def proposal(
    context: Context, item: Item, provenance: Provenance, *values: Value, basis: str = ""
) -> tuple[Answer, ...]:
    """Return the one answer that a source gives: proposed, or recorded where nobody is asked."""
    return (
        Answer(
            item=item.key,
            subject=context.subject.key if context.subject else "",
            values=values,
            status=Status.AUTOMATIC if item.fill is Fill.AUTOMATIC else Status.PROPOSED,
            provenance=provenance,
            basis=basis,
        ),
    )


def quantity(item: Item, number: float) -> Quantity | None:
    """Return ``number`` rounded as the item writes it, or None where it lies outside the item's range."""
    if item.unit is None:
        return None
    exact = Decimal(repr(number))
    if (item.low is not None and exact < item.low) or (item.high is not None and exact > item.high):
        return None
    return Quantity(number=exact.quantize(Decimal(1).scaleb(-item.decimals), ROUND_HALF_UP), unit=item.unit)
