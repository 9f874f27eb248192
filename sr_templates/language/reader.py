"""Typed access to a mapping of a template file; every fault is collected with its place, and reading goes on."""

from __future__ import annotations

import difflib
import enum
from typing import TypeVar

from service.errors import TemplateError
from service.model.code import Code
from sr_templates.codes import CodeTable
from sr_templates.language.source import Mapping

E = TypeVar("E", bound=enum.StrEnum)
_PAIR = 2


class Reader:
    """Reads one mapping; what is missing or wrong is added to ``problems`` and stands in as an empty value."""

    def __init__(self, mapping: Mapping, codes: CodeTable, problems: list[str]) -> None:
        self.mapping = mapping
        self._codes = codes
        self._problems = problems

    def fault(self, key: str, what: str) -> None:
        """Record what is wrong at ``key``."""
        self._problems.append(f"{self.mapping.at(key)}: {what}")

    def known(self, *keys: str) -> None:
        """Record every key that is not one of ``keys``."""
        for key in self.mapping:
            if key not in keys:
                close = difflib.get_close_matches(key, keys, n=1)
                hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(keys)}"
                self.fault(key, f"'{key}' is not known here: {hint}")

    def text(self, key: str, *, default: str | None = None) -> str:
        """Return a text; a number stands for its digits."""
        value = self.mapping.get(key, default)
        if value is None:
            self.fault(key, f"'{key}' is missing")
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.fault(key, f"'{key}' has to be a text")
            return ""
        return str(value)

    def flag(self, key: str) -> bool:
        """Return true or false; false where the key is absent."""
        value = self.mapping.get(key, False)
        if not isinstance(value, bool):
            self.fault(key, f"'{key}' has to be true or false")
            return False
        return value

    def whole(self, key: str, *, default: int) -> int:
        """Return a whole number."""
        value = self.mapping.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            self.fault(key, f"'{key}' has to be a whole number, 0 or more")
            return default
        return value

    def span(self, key: str) -> tuple[float | None, float | None]:
        """Return the two ends of a range, or two Nones where the key is absent."""
        value = self.mapping.get(key)
        if value is None:
            return None, None
        if (
            not isinstance(value, list)
            or len(value) != _PAIR
            or not all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
            or value[0] > value[1]
        ):
            self.fault(key, f"'{key}' has to be two numbers, the lower first: [1, 500]")
            return None, None
        return value[0], value[1]

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of texts; one text stands for a list of one, an absent key for an empty list."""
        value = self.mapping.get(key, [])
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            self.fault(key, f"'{key}' has to be a list of texts")
            return ()
        return tuple(value)

    def mappings(self, key: str) -> tuple[Mapping, ...]:
        """Return a list of mappings."""
        value = self.mapping.get(key, [])
        if not isinstance(value, list) or not all(isinstance(v, Mapping) for v in value):
            self.fault(key, f"'{key}' has to be a list of mappings")
            return ()
        return tuple(value)

    def inner(self, key: str) -> Reader | None:
        """Return a reader of the mapping at ``key``, or None where it is absent."""
        value = self.mapping.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.fault(key, f"'{key}' has to be a mapping")
            return None
        return Reader(value, self._codes, self._problems)

    def member(self, key: str, kind: type[E], *, default: E | None = None) -> E:
        """Return a member of a closed set."""
        text = self.text(key, default=default.value if default is not None else None)
        try:
            return kind(text)
        except ValueError:
            members = list(kind)
            self.fault(key, f"'{text}' is no {key}: one of {', '.join(m.value for m in members)}")
            return default if default is not None else members[0]

    def code(self, key: str, *, default: str | None = None) -> Code:
        """Return the code whose key in ``codes.csv`` stands at ``key``."""
        return self._lookup(key, self.text(key, default=default))

    def codes(self, key: str) -> tuple[Code, ...]:
        """Return the codes whose keys stand in the list at ``key``."""
        return tuple(self._lookup(key, name) for name in self.names(key))

    def _lookup(self, key: str, name: str) -> Code:
        try:
            return self._codes[name]
        except TemplateError as error:
            self.fault(key, str(error))
            return Code("", "", name)
