"""Whether a condition can hold at all: what the tests of one condition say together, for every report that there could be.

A condition is taken apart into cases, each a list of tests that hold and tests that do not. A case is possible when the tests about
each item are. Where a case cannot be decided it counts as possible: a condition is called impossible only when it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from service.model.report import Scope
from sr_templates.codes import load_codes
from sr_templates.language.conditions import FACTS, All, Condition, Name, Not, Operator, Some, Test
from sr_templates.language.loader import NOT_EVALUATED
from sr_templates.language.values import Item, ItemType

#: more cases than this are not taken apart
_MAX_CASES = 512
_COMPARISONS = {Operator.LESS, Operator.AT_MOST, Operator.MORE, Operator.AT_LEAST}
_OPPOSITE = {
    Operator.LESS: Operator.AT_LEAST,
    Operator.AT_MOST: Operator.MORE,
    Operator.MORE: Operator.AT_MOST,
    Operator.AT_LEAST: Operator.LESS,
}
_SEXES = frozenset({"M", "F", "O"})

Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a condition is judged against."""

    items: Mapping[str, Item]
    #: the scope of the item or rule that has the condition
    scope: Scope
    template: str
    #: items that are never answered: left out, or not asked under these modalities
    never: Collection[str] = ()
    #: items of which nothing is known yet: whatever is asked of them is possible
    unknown: Collection[str] = ()
    #: the modalities of the study; empty: any
    modalities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Literal:
    test: Test
    holds: bool


def can_hold(condition: Condition | None, surroundings: Surroundings) -> bool:
    """Say whether some report makes ``condition`` true; no condition always holds."""
    if condition is None:
        return True
    cases = _cases(condition, holds=True)
    return cases is None or any(_possible(case, surroundings) for case in cases)


def _cases(condition: Condition, *, holds: bool) -> list[tuple[_Literal, ...]] | None:
    """Return the cases in which a condition is true (or false); None: too many."""
    match condition:
        case Test():
            return [(_Literal(condition, holds),)]
        case Not():
            return _cases(condition.part, holds=not holds)
        case All() | Some():
            parts = [_cases(p, holds=holds) for p in condition.parts]
            return _together(parts) if isinstance(condition, All) == holds else _either(parts)


def _either(parts: Iterable[list[tuple[_Literal, ...]] | None]) -> list[tuple[_Literal, ...]] | None:
    found: list[tuple[_Literal, ...]] = []
    for part in parts:
        if part is None:
            return None
        found.extend(part)
    return found if len(found) <= _MAX_CASES else None


def _together(parts: Iterable[list[tuple[_Literal, ...]] | None]) -> list[tuple[_Literal, ...]] | None:
    found: list[tuple[_Literal, ...]] = [()]
    for part in parts:
        if part is None or len(found) * len(part) > _MAX_CASES:
            return None
        found = [(*before, *case) for before in found for case in part]
    return found


def _possible(case: tuple[_Literal, ...], surroundings: Surroundings) -> bool:
    by_name: dict[Name, list[_Literal]] = {}
    for literal in case:
        by_name.setdefault(literal.test.name, []).append(literal)
    return all(_about(name, literals, surroundings) for name, literals in by_name.items())


def _about(name: Name, literals: list[_Literal], surroundings: Surroundings) -> bool:
    """Say whether the tests of one name can go together."""
    if name.item in FACTS:
        return _fact(name.item, literals, surroundings)
    yes = [one.test for one in literals if one.holds]
    no = [one.test for one in literals if not one.holds]
    if not yes or name.item in surroundings.unknown:
        # an item without an answer makes every test false
        return True
    item = surroundings.items.get(name.item)
    if item is None or name.item in surroundings.never:
        return False
    if any(t.operator is Operator.ANSWERED for t in no):
        return False
    one_subject = item.scope is Scope.REPORT or item.scope is surroundings.scope or bool(name.row)
    if item.type in {ItemType.CODE, ItemType.CODES}:
        return _coded(item, yes, no, single=one_subject and not item.many)
    if item.type is ItemType.NUMBER:
        return _number(item, yes, no, single=one_subject and not item.many)
    return not (_evaluated(yes) and _evaluated(no))


def _evaluated(tests: Iterable[Test]) -> bool:
    return any(t.operator is Operator.EVALUATED for t in tests)


def _coded(item: Item, yes: list[Test], no: list[Test], *, single: bool) -> bool:
    nothing = _pairs([NOT_EVALUATED])
    wanted = [_pairs(t.values) for t in yes if t.operator is Operator.IN]
    wanted += [_pairs(t.values) for t in no if t.operator is Operator.NOT_IN]
    banned = [_pairs(t.values) for t in yes if t.operator is Operator.NOT_IN]
    banned += [_pairs(t.values) for t in no if t.operator is Operator.IN]
    if _evaluated(yes):
        banned.append(nothing)
    if _evaluated(no):
        wanted.append(nothing)
    out = frozenset().union(*banned)
    known = None if item.extensible else frozenset((v.scheme, v.value) for v in item.values) | nothing
    if not wanted:
        return known is None or bool(known - out)
    left = [(w if known is None else w & known) - out for w in wanted]
    if single:
        return bool(frozenset.intersection(*left))
    return all(left)


def _pairs(keys: Iterable[str]) -> frozenset[Pair]:
    codes = load_codes()
    rows = {r.key: r.code for r in codes}
    found = (rows.get(k.partition("#")[0]) for k in keys)
    return frozenset((c.scheme, c.value) for c in found if c is not None)


@dataclass(slots=True)
class _Span:
    """An interval that comparisons narrow."""

    low: Decimal | None
    high: Decimal | None
    open_low: bool = False
    open_high: bool = False

    def narrow(self, operator: Operator, number: Decimal) -> None:
        strict = operator in {Operator.LESS, Operator.MORE}
        if operator in {Operator.LESS, Operator.AT_MOST}:
            if self.high is None or number < self.high or (number == self.high and strict):
                self.high, self.open_high = number, strict
        elif self.low is None or number > self.low or (number == self.low and strict):
            self.low, self.open_low = number, strict

    @property
    def empty(self) -> bool:
        if self.low is None or self.high is None or self.low < self.high:
            return False
        return self.low > self.high or self.open_low or self.open_high


def _number(item: Item, yes: list[Test], no: list[Test], *, single: bool) -> bool:
    compared = [t for t in yes if t.operator in _COMPARISONS]
    if _evaluated(no) and (_evaluated(yes) or compared):
        return False
    if single and compared:
        opposite = [(_OPPOSITE[t.operator], t.number) for t in no if t.operator in _COMPARISONS]
        return not _narrowed(item.low, item.high, [*((t.operator, t.number) for t in compared), *opposite]).empty
    return not any(_narrowed(item.low, item.high, [(t.operator, t.number)]).empty for t in compared)


def _narrowed(
    low: Decimal | None, high: Decimal | None, comparisons: Iterable[tuple[Operator, Decimal | None]]
) -> _Span:
    span = _Span(low, high)
    for operator, number in comparisons:
        # a threshold is what a hospital sets it to
        if number is not None:
            span.narrow(operator, number)
    return span


def _fact(name: str, literals: list[_Literal], surroundings: Surroundings) -> bool:
    yes = [one.test for one in literals if one.holds]
    no = [one.test for one in literals if not one.holds]
    if name == "patient.age":
        compared = [(t.operator, t.number) for t in yes if t.operator in _COMPARISONS]
        if not compared:
            return True
        compared += [(_OPPOSITE[t.operator], t.number) for t in no if t.operator in _COMPARISONS]
        return not _narrowed(Decimal(0), Decimal(130), compared).empty
    if name == "patient.sex" and not yes:
        # the study need not say it
        return True
    wanted = [set(t.values) for t in yes if t.operator is Operator.IN]
    wanted += [set(t.values) for t in no if t.operator is Operator.NOT_IN]
    banned = {v for t in yes if t.operator is Operator.NOT_IN for v in t.values}
    banned |= {v for t in no if t.operator is Operator.IN for v in t.values}
    if name == "modality":
        there = surroundings.modalities
        if not there:
            return all(w - banned for w in wanted)
        return not there & banned and all(w & there for w in wanted)
    known = {surroundings.template} if name == "template" else set(_SEXES)
    return bool(set.intersection(known - banned, *wanted))
