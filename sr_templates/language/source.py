"""YAML with places: every mapping and every list remembers where its parts stand, so that a fault is told as file:line:column."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml

from service.errors import TemplateError

#: a file of these is written by hand; what is larger, or nested deeper, is none
MAX_CHARACTERS = 1_000_000
_MAX_DEPTH = 12


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Entries(list[Any]):
    """A list of the file with the place of each member."""

    places: list[Place]


class Mapping(dict[str, Any]):
    """A mapping of the file with the place of itself and of each key."""

    place: Place
    places: dict[str, Place]

    def at(self, key: str, member: int | None = None) -> Place:
        """Return where ``key`` stands, or where the mapping begins if it has no such key.

        With ``member``, return where that member of the list at ``key`` stands.
        """
        found = self.get(key)
        if member is not None and isinstance(found, Entries) and member < len(found):
            return found.places[member]
        return self.places.get(key, self.place)


class _Loader(yaml.SafeLoader):
    """Reads plain YAML: no anchors, no aliases, no nesting that a person could not follow."""

    file = ""
    #: where keys that stand twice are told; None: the first one is an error
    problems: list[str] | None = None
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Compose one node, and refuse what a template has no use for."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None):
            problem = "anchors (&) and aliases (*) are not used here: write the lines out"
            raise yaml.MarkedYAMLError(None, None, problem, event.start_mark)
        if self.depth >= _MAX_DEPTH:
            raise yaml.MarkedYAMLError(None, None, f"nested deeper than {_MAX_DEPTH}", event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _place(loader: _Loader, node: yaml.Node) -> Place:
    return Place(loader.file, node.start_mark.line + 1, node.start_mark.column + 1)


def _value(loader: _Loader, node: yaml.Node) -> Any:
    try:
        return loader.construct_object(node, deep=True)
    except ValueError as error:
        # a number of thousands of digits, a base 60 number that is none
        msg = f"{_place(loader, node)}: this is no number: write it in digits, or put it between quotation marks"
        raise TemplateError(msg) from error


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Mapping:
    result = Mapping()
    result.place = _place(loader, node)
    result.places = {}
    for key_node, value_node in node.value:
        key: Hashable = _value(loader, key_node)
        place = _place(loader, key_node)
        if not isinstance(key, str):
            msg = f"{place}: '{key}' is no text: write names as they are, without brackets"
            raise TemplateError(msg)
        if key in result:
            msg = f"{place}: '{key}' stands twice in one mapping: remove one"
            if loader.problems is None:
                raise TemplateError(msg)
            loader.problems.append(msg)
            continue
        result[key] = _value(loader, value_node)
        result.places[key] = place
    return result


def _entries(loader: _Loader, node: yaml.SequenceNode) -> Entries:
    result = Entries(_value(loader, n) for n in node.value)
    result.places = [_place(loader, n) for n in node.value]
    return result


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_SEQUENCE_TAG, _entries)
# `yes`, `no`, `on` and dates stay text: a template's values are names, never YAML 1.1's idea of a truth or a day
_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if not tag.endswith(("timestamp", ":bool", ":merge"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def read(text: str, file: str, problems: list[str] | None = None) -> Mapping:
    """Read a YAML text whose top level is a mapping.

    Parameters
    ----------
    text, file:
        The text, and what its file is called in messages.
    problems:
        Where keys that stand twice are told, so that reading goes on; without it the first one is an error.

    Raises
    ------
    TemplateError
        The text is no YAML, or its top level is no mapping.
    """
    if len(text) > MAX_CHARACTERS:
        msg = f"{file}:1:1: longer than {MAX_CHARACTERS} characters: split it into sections"
        raise TemplateError(msg)
    try:
        return _read(text, file, problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else f"{file}:1:1"
        hint = " (indent with spaces, never with a tab)" if "'\\t'" in str(error.problem) else ""
        msg = f"{place}: no YAML: {error.problem}{hint}"
        raise TemplateError(msg) from error
    except yaml.reader.ReaderError as error:
        msg = f"{position(text, error.position, file)}: no YAML: the character U+{error.character:04X} cannot stand in a file: remove it"
        raise TemplateError(msg) from error


def _read(text: str, file: str, problems: list[str] | None) -> Mapping:
    loader = _Loader(text)
    loader.file = file
    loader.problems = problems
    try:
        result = loader.get_single_data()
    finally:
        loader.dispose()
    if not isinstance(result, Mapping):
        msg = f"{file}:1:1: a mapping is expected at the top"
        raise TemplateError(msg)
    return result


def position(before: str, offset: int, file: str) -> Place:
    """Return the place of the character at ``offset`` of a text."""
    lines = before[:offset].split("\n")
    return Place(file, len(lines), len(lines[-1]) + 1)


def decoded(data: bytes, file: str) -> str:
    """Return the text of a file.

    Raises
    ------
    TemplateError
        It is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = position(data.decode("latin-1"), error.start, file)
        msg = f"{place}: the byte 0x{data[error.start]:02X} is not UTF-8: save the file as UTF-8"
        raise TemplateError(msg) from error
