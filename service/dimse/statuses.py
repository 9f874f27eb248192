"""Statuses of C-STORE: what we answer, and what we do when a peer answers (PS3.4 B.2.3, PS3.7 9.1.1.1.9 and C)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: the object is on the disk (see ``service.store.spool``)
SUCCESS: Final = 0x0000
#: something failed that should not: the sender may try again (PS3.7 C.5.11)
PROCESSING_FAILURE: Final = 0x0110
#: the SOP Instance UID violates the grammar of PS3.5 9.1 (PS3.7 C.5.9)
INVALID_INSTANCE: Final = 0x0117
#: another SOP class than the presentation context's (PS3.7 C.5.6)
CLASS_NOT_SUPPORTED: Final = 0x0122
#: this peer may not do this (PS3.7 C.5.25)
NOT_AUTHORISED: Final = 0x0124
#: a parameter of the request is missing or wrong (PS3.7 C.5.15)
MISTYPED_ARGUMENT: Final = 0x0212
#: Refused: Out of Resources: disk reserve, disk errors (PS3.4 Table B.2-1)
OUT_OF_RESOURCES: Final = 0xA700
#: Error: Data Set Does Not Match SOP Class: it is another class or instance than the command says (PS3.4 Table B.2-1)
DATA_SET_MISMATCH: Final = 0xA900
#: Error: Cannot Understand: truncated, nested too deeply, nameless (PS3.4 Table B.2-1)
CANNOT_UNDERSTAND: Final = 0xC000

#: Error Comment (0000,0902) is an LO
_LONGEST_COMMENT = 64


class Action(StrEnum):
    """What a status of the peer means for an object that we sent."""

    DELIVERED = "delivered"
    DELIVERED_WITH_WARNING = "delivered_with_warning"
    RETRY = "retry"
    PARK = "park"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Statuses ``first`` to ``last``: their name in the standard, and what follows for what we sent."""

    first: int
    last: int
    meaning: str
    action: Action


#: first match wins
TABLE: Final = (
    Row(first=0x0000, last=0x0000, meaning="Success", action=Action.DELIVERED),
    # PS3.7 C.4: warnings of any service; C-STORE knows the Bxxx ones (PS3.4 Table B.2-1)
    Row(first=0x0001, last=0x0001, meaning="Warning", action=Action.DELIVERED_WITH_WARNING),
    Row(first=0x0107, last=0x0107, meaning="Attribute list error", action=Action.DELIVERED_WITH_WARNING),
    Row(first=0x0116, last=0x0116, meaning="Attribute value out of range", action=Action.DELIVERED_WITH_WARNING),
    Row(first=0xB000, last=0xB000, meaning="Coercion of data elements", action=Action.DELIVERED_WITH_WARNING),
    Row(first=0xB006, last=0xB006, meaning="Elements discarded", action=Action.DELIVERED_WITH_WARNING),
    Row(first=0xB007, last=0xB007, meaning="Data set does not match SOP class", action=Action.DELIVERED_WITH_WARNING),
    Row(first=0xB000, last=0xBFFF, meaning="Warning", action=Action.DELIVERED_WITH_WARNING),
    # the peer has it already: what we send again is the same object, byte for byte
    Row(first=0x0111, last=0x0111, meaning="Duplicate SOP instance", action=Action.DELIVERED_WITH_WARNING),
    Row(first=0x0110, last=0x0110, meaning="Processing failure", action=Action.RETRY),
    Row(first=0x0213, last=0x0213, meaning="Resource limitation", action=Action.RETRY),
    Row(first=0xA700, last=0xA7FF, meaning="Refused: out of resources", action=Action.RETRY),
    Row(first=0x0117, last=0x0117, meaning="Invalid object instance", action=Action.PARK),
    Row(first=0x0122, last=0x0122, meaning="SOP class not supported", action=Action.PARK),
    Row(first=0x0124, last=0x0124, meaning="Refused: not authorized", action=Action.PARK),
    Row(first=0x0210, last=0x0210, meaning="Duplicate invocation", action=Action.PARK),
    Row(first=0x0211, last=0x0211, meaning="Unrecognized operation", action=Action.PARK),
    Row(first=0x0212, last=0x0212, meaning="Mistyped argument", action=Action.PARK),
    Row(first=0xA900, last=0xA9FF, meaning="Data set does not match SOP class", action=Action.PARK),
    Row(first=0xC000, last=0xCFFF, meaning="Cannot understand", action=Action.PARK),
)

#: a status that no table knows is tried this often before a person is asked
UNKNOWN_ATTEMPTS: Final = 5


def row_of(status: int) -> Row | None:
    """Return the row of ``status``, or None where the standard has none."""
    return next((row for row in TABLE if row.first <= status <= row.last), None)


def what_to_do(status: int, *, attempt: int = 1) -> Action:
    """Say what follows from the ``status`` that a peer answered to the ``attempt``-th C-STORE of an object (from 1)."""
    row = row_of(status)
    if row is not None:
        return row.action
    return Action.RETRY if attempt < UNKNOWN_ATTEMPTS else Action.PARK


def describe(status: int) -> str:
    """Return the status as people write it, with its meaning: ``A700H (Refused: out of resources)``."""
    row = row_of(status)
    return f"{status:04X}H ({row.meaning if row else 'not in the standard'})"


def error_comment(text: str) -> str:
    """Return ``text`` as an Error Comment (0000,0902): printable ASCII, at most 64 characters."""
    clean = "".join(c if c.isascii() and c.isprintable() and c != "\\" else "?" for c in text)
    return clean[:_LONGEST_COMMENT].strip()
