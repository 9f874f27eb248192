"""A look at a received data set before any parser sees it: bounded, without recursion, without decoding values.

What it guards against: parsers that recurse (a sequence in a sequence, a thousand times), that believe a length and allocate
it, that read past a truncated element without a word, or that file an object under another name than the sender was told.

It walks the elements (PS3.5 7.1, 7.5, A.4) and jumps over values, so that of a mapped file only the pages with headers are read. It
is strict about structure and identity, and lenient about what devices get wrong without harm: odd lengths, tags out of order,
superfluous delimiters, items of implicit VR inside a data set of explicit VR. What says whose object it is must stand once, in order
and before the pixel data (PS3.5 7.1), since parsers disagree about which of two they take, and some stop at the pixel data.

Headers repeat: nearly every element of an image has a header (tag, VR and length, eight bytes) that an element of an earlier image
had. How far it is from such a header to the next is remembered, and one look-up decides about it. Only elements that are nothing but
a value to jump over are remembered, and what is remembered follows from the eight bytes alone; so nothing depends on what came before.

What it does not do: look at values other than the four UIDs, or check that an object is what its SOP class asks for (Level 2 storage
need not, PS3.4 B.4); nor at the items inside values of unknown VR and defined length that no dictionary knows as sequences, which
parsers leave alone too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn

from pydicom._private_dict import private_dictionaries
from pydicom.datadict import DicomDictionary, RepeatersDictionary  # type: ignore[attr-defined]

from service.dimse import statuses
from service.dimse.syntaxes import EXPLICIT_BIG, IMPLICIT_LITTLE
from service.errors import Refused
from service.model.uids import is_uid

#: sequences may be nested this deep; dcmtk's limit, and far more than any SOP class asks for
MAX_DEPTH: Final = 64
#: elements in one data set, those in sequences included; a multi-frame object of 30,000 frames has about a million
MAX_ELEMENTS: Final = 4_000_000
#: after so many elements memory is given back; each may have brought in 64 KB of a mapped file
GIVE_BACK_EVERY: Final = 256

_UNDEFINED = 0xFFFFFFFF
_SHORT = frozenset(b"AE AS AT CS DA DS DT FL FD IS LO LT PN SH SL SS ST TM UI UL US".split())
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_ITEM_GROUP = 0xFFFE
_ITEM = 0xE000
_ITEM_END = 0xE00D
_SEQUENCE_END = 0xE0DD
_PIXEL_DATA = (0x7FE0, 0x0010)
#: Float and Double Float Pixel Data too
_PIXEL_GROUP = 0x7FE0
#: groups 0000 to 0006 belong to commands, file meta information and directories: in a data set they would pass for ours
_FIRST_GROUP = 0x0008


def _tags(pattern: str) -> set[tuple[int, int]]:
    """Return the tags (group, element) that a repeating group's pattern stands for, such as ``50xx2600``."""
    group, element = pattern[:4], int(pattern[4:], 16)
    return {(int(group.replace("xx", f"{n:02X}"), 16), element) for n in range(0, 0x100, 2)}


#: the sequences of the standard, by (group, element): implicit VR does not say which elements are
_SEQUENCES = frozenset((tag >> 16, tag & 0xFFFF) for tag, entry in DicomDictionary.items() if entry[0] == "SQ").union(
    *(_tags(pattern) for pattern, entry in RepeatersDictionary.items() if entry[0] == "SQ")
)
#: the sequences of manufacturers that pydicom knows, by group and the element's last two digits (PS3.5 7.8.1), whoever is their creator
_PRIVATE_SEQUENCES = frozenset(
    (int(tag[:4], 16), int(tag[6:], 16))
    for entries in private_dictionaries.values()
    for tag, entry in entries.items()
    if entry[0] == "SQ" and "x" not in tag[:4]
)

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
#: whose object it is, and what its text is written in: these may stand once, each after the ones before it
_WHOSE = frozenset(
    {
        *_IDENTITY,
        (0x0008, 0x0005),  # Specific Character Set
        (0x0008, 0x0050),  # Accession Number
        (0x0010, 0x0010),  # Patient's Name
        (0x0010, 0x0020),  # Patient ID
        (0x0010, 0x0021),  # Issuer of Patient ID
        (0x0010, 0x0030),  # Patient's Birth Date
        (0x0010, 0x0040),  # Patient's Sex
    }
)

# what a container holds
_ELEMENTS, _ITEMS, _FRAGMENTS = range(3)

_NO_BYTES = b""
#: so many headers are remembered for each encoding, about 5 MB; when there are more, all are forgotten
_REMEMBERED = 1 << 15


class _Encoding(NamedTuple):
    """How elements are read: whether their VR is implied, the layouts of headers, and what is known of headers.

    ``word`` is a header as one number, ``steps`` says by that number how far it is to the next element.
    """

    implicit: bool
    header: struct.Struct
    item_header: struct.Struct
    long_length: struct.Struct
    word: struct.Struct
    steps: dict[int, int]


def _encoding(order: str, *, implicit: bool) -> _Encoding:
    header = struct.Struct(order + ("HHL" if implicit else "HH2sH"))
    return _Encoding(
        implicit, header, struct.Struct(order + "HHL"), struct.Struct(order + "L"), struct.Struct(order + "Q"), {}
    )


_IMPLICIT = _encoding("<", implicit=True)
_EXPLICIT = _encoding("<", implicit=False)
_BIG = _encoding(">", implicit=False)
#: all others are explicit and little endian (PS3.5 A.4)
_ENCODINGS = {IMPLICIT_LITTLE: _IMPLICIT, EXPLICIT_BIG: _BIG}


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
    data: bytes | bytearray | memoryview,
    *,
    transfer_syntax_uid: str,
    sop_class_uid: str,
    sop_instance_uid: str,
    give_back: Callable[[], object] = lambda: None,
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
    give_back:
        Called each time that ``GIVE_BACK_EVERY`` elements were read: the pages of a mapped file count as memory once they were looked at.

    Raises
    ------
    Refused
        0117 (the UID breaks the grammar of PS3.5 9.1), A900 (another class or instance than the command says), C000 (cannot
        be understood: truncated, nested too deeply, too many elements, no study or series). The message names tags, never values.
    """
    if not is_uid(sop_instance_uid):
        _refuse("SOP Instance UID breaks the grammar of UIDs", statuses.INVALID_INSTANCE)
    encoding = _ENCODINGS.get(transfer_syntax_uid, _EXPLICIT)
    found, elements, depth = _walk(data, encoding, give_back)
    uids: dict[tuple[int, int], str] = {}
    for tag, name in _IDENTITY.items():
        uids[tag] = uid = _text(found.get(tag, _NO_BYTES))
        if not uid:
            _refuse(f"{name} UID {_name(tag)} is missing")
        if not is_uid(uid):
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
    data: bytes | bytearray | memoryview, encoding: _Encoding, give_back: Callable[[], object]
) -> tuple[dict[tuple[int, int], bytes], int, int]:
    """Walk all elements; return the four UIDs as encoded, the number of elements and the depth."""
    found: dict[tuple[int, int], bytes] = {}
    # the containers around this one: (kind, end, has a defined length, encoding)
    stack: list[tuple[int, int, bool, _Encoding]] = []
    kind, end, defined = _ELEMENTS, len(data), True
    implicit, header, item_header, long_length, word, steps = encoding
    read, step_of = word.unpack_from, steps.get
    at = count = depth = deepest = 0
    last_of_whose = (0, 0)
    # where to pause: to give memory back, or to give up
    limit = min(GIVE_BACK_EVERY, MAX_ELEMENTS)

    while True:
        if kind == _ELEMENTS:
            # the quick part: headers that are known
            last, start = end - 8, at
            while at <= last and count < limit:
                (known,) = read(data, at)
                step = step_of(known)
                if step is None:
                    break
                start = at
                at += step
                count += 1
            if at > end:
                group, element, _ = item_header.unpack_from(data, start)
                _refuse(f"{_name((group, element))} is longer than what holds it")
        if at >= end:
            if not defined:
                _refuse("a sequence or item has no end")
            if not stack:
                return found, count, deepest
            if kind == _ITEMS:
                depth -= 1
            kind, end, defined, outer = stack.pop()
            if outer is not encoding:
                encoding = outer
                implicit, header, item_header, long_length, word, steps = encoding
                read, step_of = word.unpack_from, steps.get
            continue
        if end - at < 8:  # noqa: PLR2004 - tag and length
            _refuse("the data set ends inside an element")
        count += 1
        if count > limit:
            if limit == MAX_ELEMENTS:
                _refuse(f"more than {limit} elements")
            give_back()
            limit = min(limit + GIVE_BACK_EVERY, MAX_ELEMENTS)

        if kind != _ELEMENTS:
            group, element, length = item_header.unpack_from(data, at)
            at += 8
            if group != _ITEM_GROUP:
                _refuse(f"{_name((group, element))} stands where an item must be")
            if element == _SEQUENCE_END:
                if not defined:
                    if kind == _ITEMS:
                        depth -= 1
                    kind, end, defined, outer = stack.pop()
                    if outer is not encoding:
                        encoding = outer
                        implicit, header, item_header, long_length, word, steps = encoding
                        read, step_of = word.unpack_from, steps.get
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

        begin = at
        if implicit:
            group, element, length = header.unpack_from(data, at)
            at += 8
            vr, whole = b"", True
        else:
            group, element, vr, length = header.unpack_from(data, at)
            at += 8
            whole = vr in _SHORT
            if whole:
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
                vr = b""

        if group == _ITEM_GROUP:
            if element != _ITEM_END or not stack:
                _refuse(f"{_name((group, element))} stands where an element must be")
            if not defined:
                kind, end, defined, outer = stack.pop()
                if outer is not encoding:
                    encoding = outer
                    implicit, header, item_header, long_length, word, steps = encoding
                    read, step_of = word.unpack_from, steps.get
            continue

        tag = (group, element)
        if length == _UNDEFINED:
            if vr in (b"OB", b"OW") or tag == _PIXEL_DATA:
                stack.append((kind, end, defined, encoding))
                kind, defined = _FRAGMENTS, False
                if tag == _PIXEL_DATA and len(stack) == 1:
                    last_of_whose = max(last_of_whose, tag)
                continue
            if vr not in (b"SQ", b"UN", b""):
                _refuse(f"{_name(tag)} has no length")
        elif length > end - at:
            _refuse(f"{_name(tag)} is longer than what holds it")

        # without a VR, or with UN, it is a sequence where it has no length (PS3.5 6.2.2 Note 4), and where parsers know better:
        # the standard's sequences, and manufacturers' that hold an item
        if vr == b"SQ":
            is_sequence = True
        elif vr not in (b"", b"UN"):
            is_sequence = False
        elif length == _UNDEFINED:
            is_sequence = True
        elif tag in _SEQUENCES:
            is_sequence, whole = vr == b"" or _is_item(data, at, length, _IMPLICIT), False
        elif group & 1 and (group, element & 0xFF) in _PRIVATE_SEQUENCES:
            is_sequence, whole = _is_item(data, at, length, _IMPLICIT if vr else encoding), False
        else:
            is_sequence = False
        if is_sequence:
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
                implicit, header, item_header, long_length, word, steps = encoding
                read, step_of = word.unpack_from, steps.get
            continue

        if group < _FIRST_GROUP:
            if not stack:
                _refuse(f"{_name(tag)} does not belong into a data set")
        elif tag in _WHOSE:
            if not stack:
                if tag <= last_of_whose:
                    twice = tag == last_of_whose or tag in found
                    _refuse(f"{_name(tag)} stands there twice" if twice else f"{_name(tag)} stands out of order")
                last_of_whose = tag
                if tag in _IDENTITY:
                    found[tag] = bytes(data[at : at + min(length, 256)])
        elif group == _PIXEL_GROUP:
            if not stack:
                last_of_whose = max(last_of_whose, tag)
        elif whole:
            if len(steps) >= _REMEMBERED:
                steps.clear()
            (known,) = read(data, begin)
            steps[known] = 8 + length
        at += length


def _is_item(data: bytes | bytearray | memoryview, at: int, length: int, encoding: _Encoding) -> bool:
    """Say whether a value begins with the header of an item."""
    return length >= 8 and encoding.item_header.unpack_from(data, at)[:2] == (_ITEM_GROUP, _ITEM)  # noqa: PLR2004


def _refuse(why: str, status: int = statuses.CANNOT_UNDERSTAND) -> NoReturn:
    raise Refused(why, status)


def _name(tag: tuple[int, int]) -> str:
    return f"({tag[0]:04X},{tag[1]:04X})"


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "replace").rstrip("\0 ").lstrip(" ")
