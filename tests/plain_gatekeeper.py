"""The gatekeeper's walk written plainly, element by element, without memory: what the quick one must say too."""

from __future__ import annotations

import struct
from typing import Final

from service.dimse import gatekeeper
from service.dimse.gatekeeper import (
    _ELEMENTS,
    _FIRST_GROUP,
    _FRAGMENTS,
    _IDENTITY,
    _ITEM,
    _ITEM_END,
    _ITEM_GROUP,
    _ITEMS,
    _LONG,
    _PIXEL_DATA,
    _PIXEL_GROUP,
    _PRIVATE_SEQUENCES,
    _SEQUENCE_END,
    _SEQUENCES,
    _SHORT,
    _UNDEFINED,
    _WHOSE,
    MAX_DEPTH,
    _name,
    _refuse,
)

#: (implicit VR, element header, item header, 32-bit length)
Encoding = tuple[bool, struct.Struct, struct.Struct, struct.Struct]
IMPLICIT: Final[Encoding] = (True, struct.Struct("<HHL"), struct.Struct("<HHL"), struct.Struct("<L"))
EXPLICIT: Final[Encoding] = (False, struct.Struct("<HH2sH"), struct.Struct("<HHL"), struct.Struct("<L"))
BIG: Final[Encoding] = (False, struct.Struct(">HH2sH"), struct.Struct(">HHL"), struct.Struct(">L"))
_IMPLICIT = IMPLICIT


def _may_be_sequence(group: int, element: int) -> bool:
    return (group, element) in _SEQUENCES or (group % 2 == 1 and (group, element % 0x100) in _PRIVATE_SEQUENCES)


def _is_implied(
    data: bytes | bytearray | memoryview,
    at: int,
    end: int,
    group: int,
    element: int,
    length: int,
    header: struct.Struct,
) -> bool:
    """Say whether an element without VR is a sequence."""
    if length == _UNDEFINED or (group, element) in _SEQUENCES:
        return True
    if not _may_be_sequence(group, element) or not 8 <= length <= end - at:
        return False
    return header.unpack_from(data, at)[:2] == (_ITEM_GROUP, _ITEM)


def walk(  # noqa: C901, PLR0912
    data: bytes | bytearray | memoryview, encoding: Encoding
) -> tuple[dict[tuple[int, int], bytes], int, int]:
    """Walk all elements; return the four UIDs as encoded, the number of elements and the depth."""
    found: dict[tuple[int, int], bytes] = {}
    # the containers around this one: (kind, end, has a defined length, encoding)
    stack: list[tuple[int, int, bool, Encoding]] = []
    kind, end, defined = _ELEMENTS, len(data), True
    implicit, header, item_header, long_length = encoding
    at = count = depth = deepest = 0
    last_of_whose = (0, 0)

    while True:
        if at >= end:
            if not defined:
                _refuse("a sequence or item has no end")
            if not stack:
                return found, count, deepest
            if kind == _ITEMS:
                depth -= 1
            kind, end, defined, encoding = stack.pop()
            implicit, header, item_header, long_length = encoding
            continue
        if end - at < 8:
            _refuse("the data set ends inside an element")
        count += 1
        if count > gatekeeper.MAX_ELEMENTS:
            _refuse(f"more than {gatekeeper.MAX_ELEMENTS} elements")

        if kind != _ELEMENTS:
            group, element, length = item_header.unpack_from(data, at)
            at += 8
            if group != _ITEM_GROUP:
                _refuse(f"{_name((group, element))} stands where an item must be")
            if element == _SEQUENCE_END:
                if not defined:
                    if kind == _ITEMS:
                        depth -= 1
                    kind, end, defined, encoding = stack.pop()
                    implicit, header, item_header, long_length = encoding
                continue
            if element != _ITEM:
                _refuse(f"{_name((group, element))} stands where an item must be")
            if length == _UNDEFINED:
                if kind == _FRAGMENTS:
                    _refuse("a fragment of pixel data has no length")
                stack.append((kind, end, defined, encoding))
                kind, defined = _ELEMENTS, False
                continue
            if length > end - at:
                _refuse("an item is longer than what holds it")
            if kind == _FRAGMENTS:
                at += length
            else:
                stack.append((kind, end, defined, encoding))
                kind, end, defined = _ELEMENTS, at + length, True
            continue

        if implicit:
            group, element, length = header.unpack_from(data, at)
            at += 8
            vr = b"SQ" if _is_implied(data, at, end, group, element, length, item_header) else b""
        else:
            group, element, vr, length = header.unpack_from(data, at)
            at += 8
            if vr in _SHORT:
                pass
            elif vr in _LONG:
                if end - at < 4:
                    _refuse("the data set ends inside an element")
                (length,) = long_length.unpack_from(data, at)
                at += 4
            else:
                # delimiters have no VR; devices that keep private sequences as they got them leave implicit VR in items
                group, element, length = item_header.unpack_from(data, at - 8)
                if group != _ITEM_GROUP and not stack:
                    _refuse(f"{_name((group, element))} has no value representation: not explicit VR")
                vr = b"SQ" if _is_implied(data, at, end, group, element, length, item_header) else b""

        if group == _ITEM_GROUP:
            if element != _ITEM_END or not stack:
                _refuse(f"{_name((group, element))} stands where an element must be")
            if not defined:
                kind, end, defined, encoding = stack.pop()
                implicit, header, item_header, long_length = encoding
            continue

        if length == _UNDEFINED:
            if vr in (b"OB", b"OW") or (group, element) == _PIXEL_DATA:
                if (group, element) == _PIXEL_DATA and not stack:
                    last_of_whose = max(last_of_whose, _PIXEL_DATA)
                stack.append((kind, end, defined, encoding))
                kind, defined = _FRAGMENTS, False
                continue
            if vr not in (b"SQ", b"UN"):
                _refuse(f"{_name((group, element))} has no length")
        elif length > end - at:
            _refuse(f"{_name((group, element))} is longer than what holds it")

        # UN is a sequence where it has no length (PS3.5 6.2.2 Note 4), and where parsers know better: the standard's sequences
        if vr == b"SQ" or (
            vr == b"UN"
            and (
                length == _UNDEFINED
                or (length >= 8 and _may_be_sequence(group, element) and data[at : at + 4] == b"\xfe\xff\x00\xe0")
            )
        ):
            depth += 1
            if depth > MAX_DEPTH:
                _refuse(f"sequences are nested more than {MAX_DEPTH} deep")
            deepest = max(deepest, depth)
            stack.append((kind, end, defined, encoding))
            if length == _UNDEFINED:
                kind, defined = _ITEMS, False
            else:
                kind, end, defined = _ITEMS, at + length, True
            if vr == b"UN":
                encoding = _IMPLICIT
                implicit, header, item_header, long_length = encoding
            continue

        if not stack:
            if group < _FIRST_GROUP:
                _refuse(f"{_name((group, element))} does not belong into a data set")
            if group == _PIXEL_GROUP:
                last_of_whose = max(last_of_whose, (group, element))
            if (group, element) in _WHOSE:
                if (group, element) == last_of_whose or (group, element) in found:
                    _refuse(f"{_name((group, element))} stands there twice")
                if (group, element) < last_of_whose:
                    _refuse(f"{_name((group, element))} stands out of order")
                last_of_whose = (group, element)
                if (group, element) in _IDENTITY:
                    found[group, element] = bytes(data[at : at + min(length, 256)])
        at += length
