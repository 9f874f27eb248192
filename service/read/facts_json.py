"""Header facts as compact JSON for the index, and back: the same facts give the same text, on every machine and in every order.

A header that many images share is stored once: its text can serve as its key. One value stands for itself, several stand in a list;
what is empty is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

from service.errors import InputError
from service.model.code import Code
from service.model.study import Elements, Header, Request

_ELEMENTS, _CODES, _REQUESTS = "e", "c", "r"
_REQUEST_TEXTS = tuple(f.name for f in fields(Request) if f.name != "requested_procedure_code")
_REQUEST_CODE = "requested_procedure_code"

Json = str | list["Json"] | dict[str, "Json"]


def header_to_json(header: Header) -> str:
    """Return ``header`` as text; equal headers give equal texts."""
    facts: dict[str, Json] = {}
    if header.elements:
        facts[_ELEMENTS] = _pack(header.elements)
    if header.codes:
        facts[_CODES] = {k: [_pack_code(c) for c in v] for k, v in header.codes.items()}
    if header.requests:
        facts[_REQUESTS] = [_pack_request(r) for r in header.requests]
    return _dump(facts)


def header_from_json(text: str) -> Header:
    """Return the header that `header_to_json` wrote.

    Raises
    ------
    InputError
        ``text`` is not what `header_to_json` writes.
    """
    facts = _load(text)
    try:
        return Header(
            elements=_unpack(_mapping(facts.get(_ELEMENTS, {}))),
            codes={k: tuple(_unpack_code(c) for c in v) for k, v in _mapping(facts.get(_CODES, {})).items()},
            requests=tuple(_unpack_request(_mapping(r)) for r in facts.get(_REQUESTS, [])),
        )
    except (TypeError, ValueError, KeyError) as error:
        raise _unusable(error) from error


def own_to_json(own: Elements) -> str:
    """Return what an instance has of its own (``Instance.own``) as text."""
    return _dump(_pack(own))


def own_from_json(text: str) -> Elements:
    """Return what `own_to_json` wrote.

    Raises
    ------
    InputError
        ``text`` is not what `own_to_json` writes.
    """
    try:
        return _unpack(_load(text))
    except (TypeError, ValueError) as error:
        raise _unusable(error) from error


def _dump(facts: Mapping[str, Json]) -> str:
    return json.dumps(facts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _load(text: str) -> dict[str, Json]:
    try:
        return _mapping(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise _unusable(error) from error


def _unusable(error: Exception) -> InputError:
    # the text may name a patient, the kind of the error does not
    return InputError(f"header facts in the index cannot be read ({type(error).__name__}): read the file again")


def _mapping(value: object) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError("no object")
    return value


def _pack(elements: Elements) -> dict[str, Json]:
    return {k: v[0] if len(v) == 1 else list(v) for k, v in elements.items() if v}


def _unpack(packed: Mapping[str, Json]) -> dict[str, tuple[str, ...]]:
    return {k: (v,) if isinstance(v, str) else tuple(_text(t) for t in v) for k, v in packed.items()}


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _pack_code(code: Code) -> list[Json]:
    return [code.value, code.scheme, code.meaning]


def _unpack_code(packed: Json) -> Code:
    if not isinstance(packed, list):
        raise TypeError("no code")
    value, scheme, meaning = packed
    return Code(_text(value), _text(scheme), _text(meaning))


def _pack_request(request: Request) -> dict[str, Json]:
    packed: dict[str, Json] = {name: getattr(request, name) for name in _REQUEST_TEXTS if getattr(request, name)}
    if request.requested_procedure_code is not None:
        packed[_REQUEST_CODE] = _pack_code(request.requested_procedure_code)
    return packed


def _unpack_request(packed: dict[str, Json]) -> Request:
    code = packed.pop(_REQUEST_CODE, None)
    return Request(
        requested_procedure_code=_unpack_code(code) if code is not None else None,
        **{k: _text(v) for k, v in packed.items()},
    )
