"""Data sets made by hand, element by element, so that tests can make wrong ones (PS3.5 7.1)."""

from __future__ import annotations

import struct
from collections.abc import Iterable

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
BIG = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG2000 = "1.2.840.10008.1.2.4.90"

STUDY = "1.2.826.0.1.3680043.10.1.1"
SERIES = "1.2.826.0.1.3680043.10.1.2"
INSTANCE = "1.2.826.0.1.3680043.10.1.3"

UNDEFINED = 0xFFFFFFFF
_LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}

Element = tuple[int, str, str | bytes]


def encode(tag: int, vr: str, value: str | bytes, syntax: str = EXPLICIT, *, length: int | None = None) -> bytes:
    """Return one element; ``length`` replaces the true one."""
    raw = value.encode("latin-1") if isinstance(value, str) else value
    if len(raw) % 2:
        raw += b"\0" if vr in ("UI", "OB", "UN") else b" "
    end = ">" if syntax == BIG else "<"
    count = len(raw) if length is None else length
    group, element = tag >> 16, tag & 0xFFFF
    if syntax == IMPLICIT:
        return struct.pack("<HHL", group, element, count) + raw
    if vr in _LONG:
        return struct.pack(f"{end}HH2sHL", group, element, vr.encode(), 0, count) + raw
    return struct.pack(f"{end}HH2sH", group, element, vr.encode(), count) + raw


def delimiter(element: int, length: int = 0, syntax: str = EXPLICIT) -> bytes:
    """Return (FFFE,element): an item, or the end of one or of a sequence."""
    return struct.pack(">HHL" if syntax == BIG else "<HHL", 0xFFFE, element, length)


def item(content: bytes, syntax: str = EXPLICIT, *, defined: bool = True) -> bytes:
    """Return an item of a sequence."""
    if defined:
        return delimiter(0xE000, len(content), syntax) + content
    return delimiter(0xE000, UNDEFINED, syntax) + content + delimiter(0xE00D, 0, syntax)


def sequence(tag: int, items: bytes, syntax: str = EXPLICIT, *, defined: bool = True, vr: str = "SQ") -> bytes:
    """Return a sequence of encoded items."""
    if defined:
        return encode(tag, vr, items, syntax)
    return encode(tag, vr, b"", syntax, length=UNDEFINED) + items + delimiter(0xE0DD, 0, syntax)


def fragments(*pieces: bytes) -> bytes:
    """Return encapsulated pixel data (PS3.5 A.4) with an empty offset table."""
    body = delimiter(0xE000) + b"".join(delimiter(0xE000, len(p)) + p for p in pieces) + delimiter(0xE0DD)
    return encode(0x7FE00010, "OB", b"", length=UNDEFINED) + body


def data_set(
    sop_class: str = CT,
    instance: str = INSTANCE,
    *,
    syntax: str = EXPLICIT,
    study: str = STUDY,
    series: str = SERIES,
    pixels: bytes = bytes(128),
    name: str = "PHANTOM^TEST",
    drop: Iterable[int] = (),
    extra: bytes = b"",
) -> bytes:
    """Return a small image; ``extra`` stands, encoded, before the pixel data."""
    elements: list[Element] = [
        (0x00080016, "UI", sop_class),
        (0x00080018, "UI", instance),
        (0x00080020, "DA", "20260101"),
        (0x00080060, "CS", "CT"),
        (0x00100010, "PN", name),
        (0x00100020, "LO", "P-1"),
        (0x0020000D, "UI", study),
        (0x0020000E, "UI", series),
        (0x00200013, "IS", "1"),
    ]
    head = b"".join(encode(*e, syntax) for e in elements if e[0] not in set(drop))
    return head + extra + (encode(0x7FE00010, "OW", pixels, syntax) if pixels else b"")
