"""What a template is, once loaded: frozen values."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType

from service.model.code import Code
from service.model.report import Scope
from sr_templates.language.conditions import Condition
from sr_templates.language.source import Place


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
    #: needed while its ``when`` holds
    CONDITIONAL = "conditional"
    OPTIONAL = "optional"


class Fill(enum.StrEnum):
    """Who answers an item."""

    #: a person answers or confirms it: it counts in the completeness
    PERSON = "person"
    #: identity rows (UIDs, dates, device): written unattended, nothing to confirm
    AUTOMATIC = "automatic"
    #: follows from other answers by ``derive``, and is not asked
    DERIVED = "derived"
    #: the structure that a row of a matrix is about: stands in the `Subject`, not among the answers
    ROW = "row"
    #: who signs is known when the report is signed
    SIGNING = "signing"


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
    place: Place
    fill: Fill = Fill.PERSON
    values: tuple[Code, ...] = ()
    #: the keys of ``values`` in ``codes.csv``, in the same order
    value_keys: tuple[str, ...] = ()
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
    #: asked about every lesion, not about the index tumour alone
    each: bool = False
    #: keys of the rows that it is asked about; empty: every row of its matrix
    rows: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    when: Condition | None = None
    #: items with the same prompt are asked together and counted once
    prompt: str = ""
    #: names of functions in ``service.flow.prefill``, tried in order
    prefill: tuple[str, ...] = ()
    #: name of a function in ``service.flow.derive``; empty: none
    derive: str = ""
    help: str = ""
    cite: str = ""

    def applies_to(self, modalities: tuple[str, ...]) -> bool:
        """Say whether a study of these modalities can answer the item at all."""
        return not self.modalities or any(m in self.modalities for m in modalities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A structure that every report of the template says something about."""

    #: ``ves.ivc``, ``ves.renal_v/right``: the key of the subject, too
    key: str
    structure: Code
    side: Code | None
    #: as a reader calls it: "right renal vein"
    label: str
    when: Condition | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Structures times questions: one prompt with every row visible."""

    scope: Scope
    prompt: str
    #: the item whose values are the structures (`Fill.ROW`)
    item: str
    place: Place
    #: needs an answer in every report; other structures of the item stand only when something is said about them
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the answers have to say together, and what a radiologist reads where they do not.

    ``require`` has to hold wherever ``when`` does, for each subject of ``scope``; or ``check`` names a function of ``service.flow.rules``.
    """

    key: str
    message: str
    place: Place
    scope: Scope = Scope.REPORT
    when: Condition | None = None
    require: Condition | None = None
    check: str = ""
    #: a warning may be signed over; anything else may not
    warning: bool = False
    cite: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Items that stand under one heading."""

    key: str
    heading: Code
    place: Place
    items: tuple[Item, ...]
    matrices: tuple[Matrix, ...] = ()
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A report template: sections in reading order."""

    key: str
    version: str
    label: str
    title: Code
    sections: tuple[Section, ...]
    #: items that earlier versions had and reports of them still carry (``sr_templates/retired.yaml``)
    retired: tuple[Item, ...] = ()
    #: key → item: conditions and derivations look items up by the thousand for each report
    _items: Mapping[str, Item] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the items; of two with one key (which the linter refuses) the first counts."""
        found = {i.key: i for s in reversed(self.sections) for i in reversed(s.items)}
        object.__setattr__(self, "_items", MappingProxyType(found))

    def __iter__(self) -> Iterator[Item]:
        return (i for s in self.sections for i in s.items)

    def item(self, key: str) -> Item | None:
        """Return the item called ``key``."""
        return self._items.get(key)

    def select(self, accept: Callable[[Item], bool]) -> tuple[Item, ...]:
        """Return the items that ``accept`` takes, in reading order."""
        return tuple(i for i in self if accept(i))

    @property
    def matrices(self) -> tuple[Matrix, ...]:
        """Return the matrices of all sections."""
        return tuple(m for s in self.sections for m in s.matrices)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Return the rules of all sections."""
        return tuple(r for s in self.sections for r in s.rules)

    def matrix(self, scope: Scope) -> Matrix | None:
        """Return the matrix of structures of one scope."""
        return next((m for m in self.matrices if m.scope is scope), None)
