"""What a template is, once loaded: frozen values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from service.model.code import Code
from service.model.report import Scope


class ItemType(enum.StrEnum):
    """What kind of value answers an item."""

    CODE = "code"
    CODES = "codes"
    NUMBER = "number"
    TEXT = "text"
    DATE = "date"
    UID = "uid"
    PERSON = "person"


class Need(enum.StrEnum):
    """How much a report needs an item."""

    ESSENTIAL = "essential"
    CONDITIONAL = "conditional"
    OPTIONAL = "optional"


class Fill(enum.StrEnum):
    """Who answers an item."""

    #: a person answers or confirms it: it counts in the completeness
    PERSON = "person"
    #: identity rows (UIDs, dates, device): written unattended, nothing to confirm
    AUTOMATIC = "automatic"
    #: who signs is known when the report is signed
    SIGNING = "signing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """When an item applies, beyond its modalities.

    ``one_of``: the item applies when the answer to ``item`` is one of these; ``none_of``: unless it is one of these (an item that is
    not answered yet applies: the question may still come up); ``answered``: only once ``item`` has an answer at all.
    """

    item: str
    one_of: tuple[Code, ...] = ()
    none_of: tuple[Code, ...] = ()
    answered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question."""

    key: str
    label: str
    concept: Code
    type: ItemType
    section: str
    scope: Scope
    need: Need
    fill: Fill = Fill.PERSON
    values: tuple[Code, ...] = ()
    #: a value outside ``values`` may stand (a site's own procedure code, a finding site, say)
    extensible: bool = False
    unit: Code | None = None
    #: inclusive range of a number
    low: Decimal | None = None
    high: Decimal | None = None
    #: digits after the decimal point that are written
    decimals: int = 1
    max_length: int = 1024
    #: several answers may stand beside each other
    many: bool = False
    modalities: tuple[str, ...] = ()
    when: Condition | None = None
    #: items with the same prompt are asked together and counted once
    prompt: str = ""
    #: names of functions in ``service.flow.prefill``, tried in order
    prefill: tuple[str, ...] = ()
    help: str = ""
    cite: str = ""

    def applies_to(self, modalities: tuple[str, ...]) -> bool:
        """Say whether a study of these modalities can answer the item at all."""
        return not self.modalities or any(m in self.modalities for m in modalities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Items that stand under one heading."""

    key: str
    heading: Code
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A report template: sections in reading order."""

    key: str
    version: str
    label: str
    title: Code
    sections: tuple[Section, ...]

    def __iter__(self) -> Iterator[Item]:
        return (i for s in self.sections for i in s.items)

    def item(self, key: str) -> Item | None:
        """Return the item called ``key``."""
        return next((i for i in self if i.key == key), None)

    def select(self, accept: Callable[[Item], bool]) -> tuple[Item, ...]:
        """Return the items that ``accept`` takes, in reading order."""
        return tuple(i for i in self if accept(i))
