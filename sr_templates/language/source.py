"""YAML with places: every mapping remembers where its keys stand, so that a fault is reported as file:line:column."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml

from service.errors import TemplateError


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something stands in a file; lines and columns count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Mapping(dict[str, Any]):
    """A mapping of the file with the place of itself and of each key."""

    place: Place
    places: dict[str, Place]

    def at(self, key: str) -> Place:
        """Return where ``key`` stands, or where the mapping begins if it has no such key."""
        return self.places.get(key, self.place)


class _Loader(yaml.SafeLoader):
    file = ""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Mapping:
    result = Mapping()
    result.place = Place(loader.file, node.start_mark.line + 1, node.start_mark.column + 1)
    result.places = {}
    for key_node, value_node in node.value:
        key: Hashable = loader.construct_object(key_node, deep=True)
        place = Place(loader.file, key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if not isinstance(key, str):
            msg = f"{place}: '{key}' is no text: write names as they are, without brackets"
            raise TemplateError(msg)
        if key in result:
            msg = f"{place}: '{key}' stands twice in one mapping: remove one"
            raise TemplateError(msg)
        result[key] = loader.construct_object(value_node, deep=True)
        result.places[key] = place
    return result


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
# `yes`, `no`, `on` and dates stay text: a template's values are names, never YAML 1.1's idea of a truth or a day
_Loader.yaml_implicit_resolvers = {
    first: [(tag, expression) for tag, expression in resolvers if not tag.endswith(("timestamp", ":bool"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))


def read(text: str, file: str) -> Mapping:
    """Read a YAML text whose top level is a mapping.

    Raises
    ------
    TemplateError
        The text is no YAML, or its top level is no mapping.
    """
    loader = _Loader(text)
    loader.file = file
    try:
        result = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else file
        msg = f"{place}: no YAML: {error.problem}"
        raise TemplateError(msg) from error
    finally:
        loader.dispose()
    if not isinstance(result, Mapping):
        msg = f"{file}:1:1: a mapping is expected at the top"
        raise TemplateError(msg)
    return result
