"""A look at a received data set before any parser sees it: bounded, without recursion, without decoding values.

What it guards against: parsers that recurse (a sequence in a sequence, a thousand times), that believe a length and allocate
it, that read past a truncated element without a word, or that file an object under another name than the sender was told.

It walks the elements (PS3.5 7.1, 7.5, A.4) and jumps over values; a CT image takes well under a millisecond. It is strict
about structure and identity, and lenient about what devices get wrong without harm: odd lengths, tags out of order, superfluous
delimiters, items of implicit VR inside a data set of explicit VR.

What it does not do: look at values other than the four UIDs, or check that an object is what its SOP class asks for (Level 2 storage
need not, PS3.4 B.4); nor at the items inside values of unknown VR and defined length, which parsers leave alone too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, NoReturn

from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]

from service.dimse import statuses
from service.dimse.syntaxes import EXPLICIT_BIG, IMPLICIT_LITTLE
from service.errors import Refused
from service.model.uids import is_uid

#: sequences may be nested this deep; dcmtk's limit, and far more than any SOP class asks for
MAX_DEPTH: Final = 64
#: elements in one data set, those in sequences included; a multi-frame object of 30,000 frames has about a million
MAX_ELEMENTS: Final = 4_000_000

_UNDEFINED = 0xFFFFFFFF
_SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_ITEM_GROUP = 0xFFFE
_ITEM = 0xE000
_ITEM_END = 0xE00D
_SEQUENCE_END = 0xE0DD
_PIXEL_DATA = (0x7FE0, 0x0010)
#: groups 0000 to 0006 belong to commands, file meta information and directories: in a data set they would pass for ours
_FIRST_GROUP = 0x0008

#: the sequences of the standard, by (group, element): implicit VR does not say which elements are
_SEQUENCES = frozenset((tag >> 16, tag & 0xFFFF) for tag, entry in DicomDictionary.items() if entry[0] == "SQ")

_SOP_CLASS = (0x0008, 0x0016)
_SOP_INSTANCE = (0x0008, 0x0018)
_STUDY = (0x0020, 0x000D)
_SERIES = (0x0020, 0x000E)
_IDENTITY = {
    _SOP_CLASS: "SOP Class",
    _SOP_INSTANCE: "SOP Instance",
    _STUDY: "Study Instance",
    _SERIES: "Series Instance",
}

# what a container holds
_ELEMENTS, _ITEMS, _FRAGMENTS = range(3)

_NO_BYTES = b""
#: (implicit VR, element header, item header, 32-bit length)
_Encoding = tuple[bool, struct.Struct, struct.Struct, struct.Struct]
_IMPLICIT: _Encoding = (True, struct.Struct("<HHL"), struct.Struct("<HHL"), struct.Struct("<L"))
_EXPLICIT: _Encoding = (False, struct.Struct("<HH2sH"), struct.Struct("<HHL"), struct.Struct("<L"))
_BIG: _Encoding = (False, struct.Struct(">HH2sH"), struct.Struct(">HHL"), struct.Struct(">L"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """Whose object it is, and how large its structure is."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    elements: int
    depth: int


def scan(
    data: bytes | bytearray | memoryview, *, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str
) -> Scanned:
    """Check a data set against its C-STORE command.

    Parameters
    ----------
    data:
        The encoded data set, or a view of a mapped file.
    transfer_syntax_uid:
        One that ``service.dimse.syntaxes.is_taken_syntax`` takes.
    sop_class_uid, sop_instance_uid:
        What the command says.

    Raises
    ------
    Refused
        0117 (the UID breaks the grammar of PS3.5 9.1), A900 (another class or instance than the command says), C000 (cannot
        be understood: truncated, nested too deeply, too many elements, no study or series). The message names tags, never values.
    """
    if not is_uid(sop_instance_uid):
        _refuse("SOP Instance UID breaks the grammar of UIDs", statuses.INVALID_INSTANCE)
    encoding = {IMPLICIT_LITTLE: _IMPLICIT, EXPLICIT_BIG: _BIG}.get(transfer_syntax_uid, _EXPLICIT)
    found, elements, depth = _walk(data, encoding)
    uids = {tag: _text(found.get(tag, _NO_BYTES)) for tag in _IDENTITY}
    for tag, name in _IDENTITY.items():
        if not uids[tag]:
            _refuse(f"{name} UID {_name(tag)} is missing")
        if not is_uid(uids[tag]):
            _refuse(f"{name} UID {_name(tag)} breaks the grammar of UIDs")
    if uids[_SOP_CLASS] != sop_class_uid:
        _refuse("SOP Class UID differs from the command's", statuses.DATA_SET_MISMATCH)
    if uids[_SOP_INSTANCE] != sop_instance_uid:
        _refuse("SOP Instance UID differs from the command's", statuses.DATA_SET_MISMATCH)
    return Scanned(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        study_instance_uid=uids[_STUDY],
        series_instance_uid=uids[_SERIES],
        elements=elements,
        depth=depth,
    )


# One loop with its state in local variables: a call for each element would cost more than the rest of it together.
def _walk(  # noqa: C901, PLR0912, PLR0915
    data: bytes | bytearray | memoryview, encoding: _Encoding
) -> tuple[dict[tuple[int, int], bytes], int, int]:
    """Walk all elements; return the four UIDs as encoded, the number of elements and the depth."""
    found: dict[tuple[int, int], bytes] = {}
    # the containers around this one: (kind, end, has a defined length, encoding)
    stack: list[tuple[int, int, bool, _Encoding]] = []
    kind, end, defined = _ELEMENTS, len(data), True
    implicit, header, item_header, long_length = encoding
    at = count = depth = deepest = 0

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
        if end - at < 8:  # noqa: PLR2004 - tag and length
            _refuse("the data set ends inside an element")
        count += 1
        if count > MAX_ELEMENTS:
            _refuse(f"more than {MAX_ELEMENTS} elements")

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
            vr = b"SQ" if length == _UNDEFINED or (group, element) in _SEQUENCES else b""
        else:
            group, element, vr, length = header.unpack_from(data, at)
            at += 8
            if vr in _SHORT:
                pass
            elif vr in _LONG:
                if end - at < 4:  # noqa: PLR2004 - the length
                    _refuse("the data set ends inside an element")
                (length,) = long_length.unpack_from(data, at)
                at += 4
            else:
                # delimiters have no VR; devices that keep private sequences as they got them leave implicit VR in items
                group, element, length = item_header.unpack_from(data, at - 8)
                if group != _ITEM_GROUP and not stack:
                    _refuse(f"{_name((group, element))} has no value representation: not explicit VR")
                vr = b"SQ" if length == _UNDEFINED or (group, element) in _SEQUENCES else b""

        if group == _ITEM_GROUP:
            if element != _ITEM_END or not stack:
                _refuse(f"{_name((group, element))} stands where an element must be")
            if not defined:
                kind, end, defined, encoding = stack.pop()
                implicit, header, item_header, long_length = encoding
            continue

        if length == _UNDEFINED:
            if vr in (b"OB", b"OW") or (group, element) == _PIXEL_DATA:
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
            and (length == _UNDEFINED or ((group, element) in _SEQUENCES and data[at : at + 4] == b"\xfe\xff\x00\xe0"))
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
            if (group, element) in _IDENTITY:
                if (group, element) in found:
                    _refuse(f"{_name((group, element))} stands there twice")
                found[group, element] = bytes(data[at : at + min(length, 256)])
        at += length


def _refuse(why: str, status: int = statuses.CANNOT_UNDERSTAND) -> NoReturn:
    raise Refused(why, status)


def _name(tag: tuple[int, int]) -> str:
    return f"({tag[0]:04X},{tag[1]:04X})"


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace").rstrip("\0 ").lstrip(" ")
