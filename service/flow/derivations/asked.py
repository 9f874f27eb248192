"""What a derivation looks at and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from service.model.code import Code
from service.model.prior import PriorReport
from service.model.report import Answer, Quantity, Report, Scope, Status, Value
from service.settings import Clinical
from sr_templates import Item, Template, load_codes
from sr_templates.evaluate import evaluated

Pair = tuple[str, str]
"""An item and a subject: which answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """What follows from other answers."""

    values: tuple[Value, ...]
    #: in words, what it was taken from
    basis: str
    #: the answers that it rests on: it is as sure as the least sure of them
    from_items: tuple[Pair, ...]
    derivation: Code | None = None
    method: Code | None = None
    #: it rests on what nobody has confirmed at an earlier time point: a proposal, whatever it rests on here
    unsure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A report as seen from one of its subjects.

    Answers of Not Evaluated count as no answers here: nothing follows from them.
    """

    report: Report
    template: Template
    #: key of the subject; empty: the report as a whole
    subject: str
    clinical: Clinical
    #: the patient's newest earlier time point, with those before it, where the caller has it
    prior: PriorReport | None = None

    @property
    def index(self) -> str:
        """Return the key of the index tumour: the first lesion; empty where there is none."""
        return next((s.key for s in self.report.subjects_of(Scope.LESION)), "")

    def of(self, item: str, row: str = "") -> Pair:
        """Return which answer is meant by ``item``: about ``row`` if given, else about the subject at hand or the index tumour."""
        asked = self.template.item(item)
        if asked is None or asked.scope is Scope.REPORT:
            return item, ""
        if row:
            return item, row
        subject = self.report.subject(self.subject)
        if subject is not None and subject.scope is asked.scope:
            return item, self.subject
        return item, self.index if asked.scope is Scope.LESION else ""

    def answers(self, item: str, row: str = "") -> tuple[Answer, ...]:
        """Return the answers to ``item`` that say something."""
        return tuple(a for a in self.report.answers_of(*self.of(item, row)) if evaluated(a))

    def used(self, *items: str, row: str = "") -> tuple[Pair, ...]:
        """Return those of ``items`` that are answered, as pairs."""
        return tuple(self.of(i, row) for i in items if self.answers(i, row))

    def keys(self, item: str, row: str = "") -> tuple[str, ...]:
        """Return the coded answers to ``item`` as the template calls them."""
        return tuple(
            key_in(self.template.item(item), v)
            for a in self.answers(item, row)
            for v in a.values
            if isinstance(v, Code)
        )

    def key(self, item: str, row: str = "") -> str:
        """Return the one coded answer to ``item``; empty where there is none, or more than one."""
        keys = self.keys(item, row)
        return keys[0] if len(keys) == 1 else ""

    def stated(self, item: str, row: str = "") -> tuple[str, ...]:
        """Return the coded answers to ``item`` that a person stated or confirmed."""
        about = self.report.answers_of(*self.of(item, row))
        confirmed = any(a.status is Status.CONFIRMED for a in about)
        return self.keys(item, row) if confirmed else ()

    def number(self, item: str, row: str = "") -> Decimal | None:
        """Return the first number that answers ``item``, in the item's unit."""
        numbers = (v.number for a in self.answers(item, row) for v in a.values if isinstance(v, Quantity))
        return next((n for n in numbers if n is not None), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked(Look):
    """One question to a derivation: an item about a subject."""

    item: Item


Derivation = Callable[[Asked], Derived | None]
"""Returns what follows, or None where nothing does."""


def key_in(item: Item | None, code: Code) -> str:
    """Return the key of ``code``: as the item's values call it, since one concept may have several keys; empty: no key."""
    if item is not None:
        for key, value in zip(item.value_keys, item.values, strict=False):
            if value.same(code):
                return key
    return load_codes().key_of(code) or ""


def coded(keys: tuple[str, ...], basis: str, from_items: tuple[Pair, ...]) -> Derived:
    """Return coded values."""
    codes = load_codes()
    return Derived(values=tuple(codes[k] for k in keys), basis=basis, from_items=from_items)


def numeric(asked: Asked, number: Decimal, basis: str, from_items: tuple[Pair, ...]) -> Derived | None:
    """Return a number as the item writes it, or None where it lies outside the item's range."""
    item = asked.item
    if (
        item.unit is None
        or (item.low is not None and number < item.low)
        or (item.high is not None and number > item.high)
    ):
        return None
    rounded = number.quantize(Decimal(1).scaleb(-item.decimals), ROUND_HALF_UP)
    return Derived(values=(Quantity(number=rounded, unit=item.unit),), basis=basis, from_items=from_items)
