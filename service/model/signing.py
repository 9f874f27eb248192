"""Who does something to a report, and how a signature is written down."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from service.model.code import Code
from service.model.measurement import Reference

#: CID 7009 Purpose of Reference to Predecessor Report (PS3.16), as in pydicom's dictionary
REPLACED = Code("121360", "DCM", "Replaced report")
ADDENDED = Code("121361", "DCM", "Addended report")
PRELIMINARY = Code("121362", "DCM", "Preliminary report")
EVIDENCE = Code("122073", "DCM", "Current procedure evidence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who answers, signs, amends or withdraws. Named on the command line or in the settings, never taken from a DICOM header."""

    #: PN (PS3.5 6.2): Family^Given
    name: str
    #: Verifying Organization (0040,A027)
    organisation: str = ""
    #: Verifying Observer Identification Code Sequence (0040,A088)
    code: Code | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A person's word that a document is right: one item of Verifying Observer Sequence (0040,A073), PS3.3 C.17.2."""

    person: Person
    #: Verification DateTime (0040,A030); aware
    at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Predecessor(Reference):
    """A document whose content another takes over (Predecessor Documents Sequence (0040,A360), PS3.3 C.17.2)."""

    #: Purpose of Reference Code Sequence (0040,A170), CID 7009; None: not said
    purpose: Code | None = None
