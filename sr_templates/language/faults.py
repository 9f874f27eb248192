"""What the linter's parts share: what they look at, and how a fault is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sr_templates.language.loader import Reading
from sr_templates.language.values import Item, Matrix, Rule, Template

#: modalities that a template may name (Modality, 0008,0060)
MODALITIES = ("CT", "MR", "US", "PT", "NM", "XA")
#: a label becomes a table's row and a viewer's line; meanings are LO (PS3.5 6.2)
MAX_LABEL = 64
MAX_HELP = 200
MAX_MESSAGE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """The names of functions that a template may use; who calls the linter knows them."""

    #: of ``service.flow.prefill.SOURCES``
    prefill: frozenset[str] = frozenset()
    #: of ``service.flow.derive.DERIVATIONS``
    derive: frozenset[str] = frozenset()
    #: of ``service.flow.rules.CHECKS``
    check: frozenset[str] = frozenset()
    #: which items a derivation reads, where that is known: derivations that read each other in a ring never settle
    reads: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Linted:
    """A template under the linter, and the faults that were found so far."""

    reading: Reading
    template: Template
    names: Registered
    #: items of the folder's sections that this template does not have, and why not
    absent: Mapping[str, str]
    #: names of the folder's templates
    templates: tuple[str, ...]
    faults: list[str] = field(default_factory=list)

    def sound(self, thing: Item | Matrix | Rule) -> bool:
        """Say whether the form of an item, a matrix or a rule is in order."""
        return thing.place not in self.reading.unsound

    @property
    def whole(self) -> bool:
        """Say whether every section could be read: only then can something be said to be missing."""
        return self.reading.whole

    def item(self, item: Item, key: str, what: str, member: int | None = None) -> None:
        """Tell a fault of an item at one of its keys."""
        self.faults.append(f"{self.reading.at(item.place, key, member)}: item '{item.key}': {what}")

    def matrix(self, matrix: Matrix, key: str, what: str, member: int | None = None) -> None:
        """Tell a fault of a matrix."""
        self.faults.append(f"{self.reading.at(matrix.place, key, member)}: matrix '{matrix.prompt}': {what}")

    def rule(self, rule: Rule, key: str, what: str) -> None:
        """Tell a fault of a rule."""
        self.faults.append(f"{self.reading.at(rule.place, key)}: rule '{rule.key}': {what}")
