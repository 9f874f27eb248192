"""The two command sets of C-STORE, without a parser: what a request says, and the bytes of its response (PS3.7 6.3.1, 9.3.1).

Only what every sender writes is understood: elements of group 0000 in order, each once, text in ASCII. A command that is anything
else is nobody's here, and goes the ordinary way, through pynetdicom.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from service.model.uids import MAX_UID

#: Message Control Header (PS3.8 E.2)
COMMAND: Final = 1
LAST: Final = 2

_STORE_RQ = 0x0001
_STORE_RSP = 0x8001
_NO_DATA_SET = 0x0101
_SOP_CLASS, _FIELD, _MESSAGE_ID, _RESPONDS_TO, _DATA_SET_TYPE = 0x0002, 0x0100, 0x0110, 0x0120, 0x0800
_STATUS, _COMMENT, _SOP_INSTANCE = 0x0900, 0x0902, 0x1000

_ELEMENT = struct.Struct("<HHL")
_NUMBER = struct.Struct("<H")
#: P-DATA-TF with one value: PDU type, length, value length, context, control
_PDU = struct.Struct(">BxLLBB")


@dataclass(frozen=True, slots=True)
class StoreRequest:
    """A C-STORE request with a data set. A UID that is missing, or longer than a UID can be, is None."""

    message_id: int
    sop_class: str | None
    sop_instance: str | None


def store_request(raw: bytes) -> StoreRequest | None:
    """Return what a command set asks for; None where it is no C-STORE request with a data set, or not written as all others are."""
    values: dict[int, bytes] = {}
    at, end, last = 0, len(raw), -1
    while at < end:
        if end - at < 8:  # noqa: PLR2004 - tag and length
            return None
        group, element, length = _ELEMENT.unpack_from(raw, at)
        at += 8
        if group or element <= last or length > end - at:
            return None
        values[element] = raw[at : at + length]
        at += length
        last = element
    numbers = [values.get(n, b"") for n in (_FIELD, _MESSAGE_ID, _DATA_SET_TYPE)]
    if any(len(number) != 2 for number in numbers):  # noqa: PLR2004 - VR US
        return None
    field, message_id, data_set_type = (_NUMBER.unpack(number)[0] for number in numbers)
    if field != _STORE_RQ or data_set_type == _NO_DATA_SET or _RESPONDS_TO in values:
        return None
    uids: list[str | None] = []
    for name in (_SOP_CLASS, _SOP_INSTANCE):
        uid = values.get(name)
        if uid is None:
            uids.append(None)
            continue
        text = uid.rstrip(b"\0 ")
        if not text or not text.isascii() or b"\\" in text or text[:1].isspace() or not text.decode().isprintable():
            return None
        uids.append(text.decode() if len(text) <= MAX_UID else None)
    return StoreRequest(message_id, *uids)


def store_response(request: StoreRequest, status: int, comment: str, context_id: int) -> bytes:
    """Return the P-DATA-TF PDU that answers ``request``."""
    elements = [_text(_SOP_CLASS, request.sop_class), _number(_FIELD, _STORE_RSP)]
    elements += [_number(_RESPONDS_TO, request.message_id), _number(_DATA_SET_TYPE, _NO_DATA_SET)]
    elements += [
        _number(_STATUS, status),
        _text(_COMMENT, comment or None, b" "),
        _text(_SOP_INSTANCE, request.sop_instance),
    ]
    body = b"".join(elements)
    length = _ELEMENT.pack(0, 0, 4) + len(body).to_bytes(4, "little")
    size = len(length) + len(body)
    return b"".join((_PDU.pack(0x04, size + 6, size + 2, context_id, COMMAND | LAST), length, body))


def _number(element: int, number: int) -> bytes:
    return _ELEMENT.pack(0, element, 2) + _NUMBER.pack(number)


def _text(element: int, text: str | None, padding: bytes = b"\0") -> bytes:
    if text is None:
        return b""
    raw = text.encode("ascii")
    raw += padding * (len(raw) % 2)
    return _ELEMENT.pack(0, element, len(raw)) + raw
