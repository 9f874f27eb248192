"""Content items of any structured report as values: numbers, evaluations and sites, with all that stands below them.

Each method returns a value, or raises an `InputError` that says what is wrong with that item; the reader of the report
(`structured_report`) turns the error into a refusal at that place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal

from service.errors import InputError
from service.model.code import Code
from service.model.foreign import Coded, Evaluation, Evidence, ForeignMeasurement, Site, ValueType
from service.read.sr_evidence import EvidenceReader
from service.read.sr_tree import Node
from service.read.sr_units import convert
from service.read.sr_values import EVIDENCE, WRITTEN, AlgorithmParts, Refuse, code_of, concept, is_a, written

_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?")
#: DS has at most 16 characters; what writes more digits than double precision has is let pass
_LONGEST_NUMBER = 32


@dataclass(slots=True)
class _Below:
    """What stands below a value."""

    method: Coded | None = None
    derivation: Coded | None = None
    sites: list[Site] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    algorithm: AlgorithmParts = field(default_factory=AlgorithmParts)
    modifiers: list[Evaluation] = field(default_factory=list)
    numbers: list[ForeignMeasurement] = field(default_factory=list)
    inferred_from: list[str] = field(default_factory=list)


class ItemReader:
    """Reads content items of one report.

    Parameters
    ----------
    evidence:
        Reads what the items point at.
    refuse:
        Called with an item that cannot be read and the reason, where the item above it can.
    """

    def __init__(self, evidence: EvidenceReader, refuse: Refuse) -> None:
        self._evidence = evidence
        self._refuse = refuse

    def measurement(self, node: Node, heading: Coded | None = None) -> ForeignMeasurement:
        """Return the number in a NUM item with all that stands below it.

        Raises
        ------
        InputError
            The number, its unit, its evidence or anything below it cannot be read: a number is taken in whole or not.
        """
        if node.concept is None or node.value_type is not ValueType.NUM:
            raise InputError("it is no number with a name")
        for below in node.descendants():
            if below.fault:
                where = "" if below is node else f"content item {below.place} below it: "
                raise InputError(where + below.fault)
        number, unit = _number(node)
        qualifier = node.content.code("NumericValueQualifierCodeSequence")
        if number is None and qualifier is None:
            raise InputError("it has neither a number nor a reason why there is none")
        converted = convert(number, unit) if number is not None and unit is not None else (None, None)
        below_it = self._below(node)
        return ForeignMeasurement(
            place=node.place,
            concept=node.concept,
            value=converted[0],
            unit=converted[1],
            received_value=number,
            received_unit=unit,
            qualifier=qualifier,
            relationship=node.relationship,
            heading=heading,
            method=below_it.method,
            derivation=below_it.derivation,
            sites=tuple(below_it.sites),
            evidence=tuple(below_it.evidence),
            algorithm=below_it.algorithm.value(),
            modifiers=tuple(below_it.modifiers),
            numbers=tuple(below_it.numbers),
            inferred_from=tuple(below_it.inferred_from),
        )

    def evaluation(self, node: Node, heading: Coded | None = None) -> Evaluation:
        """Return the value of a CODE item, or of one with a written value, with all that stands below it.

        Raises
        ------
        InputError
            It has no value of its type, or something below it cannot be read.
        """
        if node.fault or node.concept is None or node.value_type is None:
            raise InputError(node.fault or "it has no concept name or no value type")
        value: Coded | str
        if node.value_type is ValueType.CODE:
            value = code_of(node)
        elif node.value_type in WRITTEN:
            value = written(node)
        else:
            msg = f"a {node.value_type} item is not read here"
            raise InputError(msg)
        below = self._below(node, plain=True)
        return Evaluation(
            place=node.place,
            concept=node.concept,
            value_type=node.value_type,
            value=value,
            relationship=node.relationship,
            heading=heading,
            modifiers=tuple(below.modifiers),
            evidence=tuple(below.evidence),
            numbers=tuple(below.numbers),
            inferred_from=tuple(below.inferred_from),
        )

    def site(self, node: Node) -> Site:
        """Return a Finding Site with the modifiers below it; errors as in `evaluation`."""
        found = self.evaluation(node)
        if not isinstance(found.value, Coded):
            raise InputError("it has no code as its value")
        modifiers = list(found.modifiers)
        sides = [m for m in modifiers if m.concept.same(concept("tid.laterality")) and isinstance(m.value, Coded)]
        laterality = sides[0].value if len(sides) == 1 and isinstance(sides[0].value, Coded) else None
        if laterality is not None:
            modifiers.remove(sides[0])
        return Site(site=found.value, laterality=laterality, modifiers=tuple(modifiers))

    def _below(self, node: Node, *, plain: bool = False) -> _Below:
        """Return what stands below a value; ``plain``: everything coded or written is a modifier, whatever it says."""
        found = _Below()
        for child in node.children:
            meant = child.target or child
            if child.fault:
                msg = f"content item {child.place} below it: {child.fault}"
                raise InputError(msg)
            if meant.value_type in EVIDENCE:
                try:
                    found.evidence.append(self._evidence.read(meant))
                except InputError as error:
                    msg = f"content item {child.place} below it: {error}"
                    raise InputError(msg) from error
            elif child.target is not None and meant.value_type is ValueType.NUM:
                found.inferred_from.append(meant.place)
            elif meant.value_type is ValueType.NUM:
                try:
                    found.numbers.append(self.measurement(child))
                except InputError as error:
                    self._refuse(child, str(error))
            elif child.target is not None or meant.value_type not in {ValueType.CODE, *WRITTEN}:
                self._refuse(child, "an item of this kind, or a reference to one, is not read below a value")
            else:
                self._modifier(child, found, plain=plain)
        return found

    def _modifier(self, child: Node, found: _Below, *, plain: bool) -> None:
        try:
            if plain:
                found.modifiers.append(self.evaluation(child))
            elif is_a(child, "tid.method") and found.method is None:
                found.method = code_of(child)
                found.modifiers += self._whole(child)
            elif is_a(child, "tid.derivation") and found.derivation is None:
                found.derivation = code_of(child)
                found.modifiers += self._whole(child)
            elif is_a(child, "tid.finding_site") and child.value_type is ValueType.CODE:
                found.sites.append(self.site(child))
            elif not found.algorithm.take(child):
                found.modifiers.append(self.evaluation(child))
        except InputError as error:
            msg = f"content item {child.place} below it: {error}"
            raise InputError(msg) from error

    def _whole(self, node: Node) -> list[Evaluation]:
        """Return an item that has a place of its own as a modifier too, where something stands below it."""
        return [self.evaluation(node)] if node.children else []


def _number(node: Node) -> tuple[Decimal | None, Code | None]:
    if "MeasuredValueSequence" not in node.content:
        raise InputError("it has no MeasuredValueSequence")
    measured = node.content.items("MeasuredValueSequence")
    if not measured:
        return None, None
    if len(measured) > 1:
        msg = f"it has {len(measured)} measured values where one belongs"
        raise InputError(msg)
    texts = measured[0].texts("NumericValue")
    if len(texts) != 1 or len(texts[0]) > _LONGEST_NUMBER or not _NUMBER.fullmatch(texts[0]):
        raise InputError("its number is no number" if texts else "its number is missing")
    unit = measured[0].code("MeasurementUnitsCodeSequence")
    if unit is None:
        raise InputError("its number has no unit")
    return Decimal(texts[0]), unit.received
