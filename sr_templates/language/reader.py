"""Typed access to a mapping of a template file; every fault is collected with its place, and reading goes on."""

from __future__ import annotations

import difflib
import enum
import math
from collections.abc import Iterable
from decimal import Decimal
from typing import TypeVar

from service.errors import TemplateError
from service.model.code import Code
from sr_templates.codes import CodeTable
from sr_templates.language.conditions import Condition, ConditionError, parse_condition
from sr_templates.language.source import Mapping

E = TypeVar("E", bound=enum.StrEnum)
_PAIR = 2
#: so many names are listed where none is close to what was written
_SHOWN = 16


class Reader:
    """Reads one mapping; what is missing or wrong is added to ``problems`` and stands in as an empty value."""

    def __init__(self, mapping: Mapping, codes: CodeTable, problems: list[str]) -> None:
        self.mapping = mapping
        self._codes = codes
        self.problems = problems
        #: False once something was missing or wrong
        self.sound = True

    def fault(self, key: str, what: str, member: int | None = None) -> None:
        """Record what is wrong at ``key``, or at a member of the list there."""
        self.sound = False
        self.problems.append(f"{self.mapping.at(key, member)}: {what}")

    def known(self, *keys: str) -> None:
        """Record every key that is not one of ``keys``."""
        for key in self.mapping:
            if key not in keys:
                self.fault(key, f"'{key}' is not known here: {did_you_mean(key, keys)}")

    def text(self, key: str, *, default: str | None = None) -> str:
        """Return a text; a number stands for its digits."""
        value = self.mapping.get(key, default)
        if value is None:
            self.fault(key, f"'{key}' is missing")
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.fault(key, f"'{key}' has to be a text")
            return ""
        if default is None and not str(value).strip():
            self.fault(key, f"'{key}' is empty: write what it is, or remove the key")
        return str(value)

    def flag(self, key: str) -> bool:
        """Return true or false; false where the key is absent."""
        value = self.mapping.get(key, False)
        if not isinstance(value, bool):
            self.fault(key, f"'{key}' has to be true or false")
            return False
        return value

    def whole(self, key: str, *, default: int, low: int = 0, high: int) -> int:
        """Return a whole number from ``low`` to ``high``."""
        value = self.mapping.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.fault(key, f"'{key}' has to be a whole number, {low} to {high}")
            return default
        return value

    def span(self, key: str) -> tuple[Decimal | None, Decimal | None]:
        """Return the two ends of a range, or two Nones where the key is absent."""
        value = self.mapping.get(key)
        if value is None:
            return None, None
        if (
            not isinstance(value, list)
            or len(value) != _PAIR
            or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
            or not all(math.isfinite(v) for v in value)
            or value[0] >= value[1]
        ):
            self.fault(key, f"'{key}' has to be two numbers, the lower first: [1, 500]")
            return None, None
        return Decimal(str(value[0])), Decimal(str(value[1]))

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; one text stands for a list of one, an absent key for an empty list."""
        value = self.mapping.get(key, [])
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            self.fault(key, f"'{key}' has to be a list of texts")
            return ()
        for member, name in enumerate(value):
            if name in value[:member]:
                self.fault(key, f"'{name}' stands twice in '{key}': remove one", member)
        return tuple(value)

    def mappings(self, key: str) -> tuple[Mapping, ...]:
        """Return a list of mappings."""
        value = self.mapping.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, Mapping) for v in value):
            self.fault(key, f"'{key}' has to be a list of mappings")
            return ()
        return tuple(value)

    def entries(self, key: str) -> tuple[str | Mapping, ...]:
        """Return a list whose members are texts or mappings."""
        value = self.mapping.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, str | Mapping) for v in value):
            self.fault(key, f"'{key}' has to be a list of texts or mappings")
            return ()
        return tuple(value)

    def condition(self, key: str) -> Condition | None:
        """Return the condition at ``key``, or None where it is absent."""
        if key not in self.mapping:
            return None
        text = self.text(key)
        try:
            return parse_condition(text)
        except ConditionError as error:
            self.fault(key, f"'{key}' is no condition: {error} (character {error.column + 1} of \"{text}\")")
            return None

    def member(self, key: str, kind: type[E], *, default: E | None = None) -> E:
        """Return a member of a closed set."""
        text = self.text(key, default=default.value if default is not None else None)
        try:
            return kind(text)
        except ValueError:
            members = list(kind)
            if text:
                self.fault(key, f"'{text}' is no {key}: {did_you_mean(text, [m.value for m in members])}")
            return default if default is not None else members[0]

    def code(self, key: str, *, default: str | None = None) -> Code:
        """Return the code whose key in ``codes.csv`` stands at ``key``."""
        return self.lookup(key, self.text(key, default=default))

    def codes(self, key: str) -> tuple[Code, ...]:
        """Return the codes whose keys stand in the list at ``key``."""
        return tuple(self.lookup(key, name, member) for member, name in enumerate(self.names(key)))

    def lookup(self, key: str, name: str, member: int | None = None) -> Code:
        """Return the code called ``name``; a fault stands at ``key``, or at a member of the list there."""
        try:
            return self._codes[name]
        except TemplateError as error:
            if name:
                close = difflib.get_close_matches(name, [r.key for r in self._codes], n=1)
                hint = f" (did you mean '{close[0]}'?)" if close and name not in self._codes else ""
                self.fault(key, f"{error}{hint}", member)
            return Code("", "", name)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the way out of a name that is not known: the one that was meant, or those that there are."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    if not names:
        return "none is known"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"known are {', '.join(names[:_SHOWN])}{more}"
