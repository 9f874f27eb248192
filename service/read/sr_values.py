"""The plain values of content items: which concept an item has, its code or text, and the rows of TID 4019."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from service.errors import InputError
from service.model.code import Code
from service.model.foreign import Algorithm, Coded, ValueType
from service.read.sr_tree import Node
from sr_templates import load_codes

Refuse = Callable[[Node, str], None]

#: value types that point at something outside of the report
EVIDENCE = frozenset({ValueType.IMAGE, ValueType.COMPOSITE, ValueType.WAVEFORM, ValueType.SCOORD, ValueType.SCOORD3D})
#: value types with a value that can be written down, and the attribute that holds it (PS3.3 Table C.17-5)
WRITTEN: Mapping[ValueType, str] = MappingProxyType(
    {
        ValueType.TEXT: "TextValue",
        ValueType.DATE: "Date",
        ValueType.TIME: "Time",
        ValueType.DATETIME: "DateTime",
        ValueType.UIDREF: "UID",
        ValueType.PNAME: "PersonName",
    }
)


@functools.cache
def concept(key: str) -> Code:
    """Return the code of a key of ``codes.csv``."""
    return load_codes()[key]


def is_a(node: Node, *keys: str) -> bool:
    """Say whether the item's concept is one of these keys of ``codes.csv``."""
    return node.concept is not None and any(node.concept.same(concept(k)) for k in keys)


def is_named(code: Coded, key: str) -> bool:
    """Say whether ``code`` is the concept of a key of ``codes.csv``."""
    return code.same(concept(key))


def written(node: Node) -> str:
    """Return the value of a TEXT, DATE, TIME, DATETIME, UIDREF or PNAME item.

    Raises
    ------
    InputError
        It has none, an absurdly long one, or one that is no UID.
    """
    keyword = WRITTEN.get(node.value_type, "") if node.value_type else ""
    if keyword == "UID":
        return node.content.uid(keyword)
    if keyword not in node.content:
        msg = f"it has no {keyword or 'text'}"
        raise InputError(msg)
    return "\n".join(node.content.texts(keyword))


def code_of(node: Node) -> Coded:
    """Return the value of a CODE item.

    Raises
    ------
    InputError
        It is no CODE item, or has no whole code.
    """
    found = node.content.code("ConceptCodeSequence") if node.value_type is ValueType.CODE else None
    if found is None:
        raise InputError("it has no code as its value")
    return found


@dataclass(slots=True)
class AlgorithmParts:
    """Collects the rows of TID 4019 as they stand among other items."""

    names: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    manufacturers: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    families: list[Coded] = field(default_factory=list)

    def take(self, node: Node) -> bool:
        """Take ``node`` where it is a row of TID 4019 that was not there yet, and say so."""
        if is_a(node, "tid.alg_family") and node.value_type is ValueType.CODE:
            self.families.append(code_of(node))
            return True
        if node.value_type is not ValueType.TEXT:
            return False
        if is_a(node, "tid.alg_params"):
            self.parameters.append(written(node))
            return True
        for key, texts in (
            ("tid.alg_name", self.names),
            ("tid.alg_version", self.versions),
            ("tid.alg_manufacturer", self.manufacturers),
        ):
            if is_a(node, key) and not texts:
                texts.append(written(node))
                return True
        return False

    def value(self) -> Algorithm | None:
        """Return what was collected, or None where that is nothing."""
        found = Algorithm(
            name="".join(self.names),
            version="".join(self.versions),
            manufacturer="".join(self.manufacturers),
            parameters=tuple(self.parameters),
            families=tuple(self.families),
        )
        return None if found == Algorithm() else found
