"""A document of ours that somebody edited and sent back: what it says now, and who answers for it."""

from __future__ import annotations

import io
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from service.errors import InputError
from service.model.report import Report
from service.sr.parse import parse, template_of
from sr_templates import Template

_EMPTY = "the edited report has no answers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """An edited report."""

    report: Report
    #: PN of who verified it; empty: nobody
    verifier: str = ""


def template_in(part10: bytes) -> str:
    """Return the key of the template that a report of ours was made by; empty where a document is no report of ours.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        return template_of(dcmread(io.BytesIO(part10), stop_before_pixels=True))
    except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        # pydicom converts a value when it is asked for it, and says in many ways that it cannot
        msg = f"the structured report cannot be read: {type(error).__name__}"
        raise InputError(msg) from error


def read_edited(part10: bytes, template: Template) -> Edited | None:
    """Return what an edited report of ours says; None where it is no report of this template (the measurements, say).

    Raises
    ------
    InputError
        It is one, and cannot be read: the message names the place.
    """
    try:
        ds = dcmread(io.BytesIO(part10), stop_before_pixels=True)
        if template_of(ds) != template.key:
            return None
        verified = str(ds.get("VerificationFlag", "")) == "VERIFIED"
        observers = ds.get("VerifyingObserverSequence") or ()
        names = [str(o.get("VerifyingObserverName", "") or "").strip() for o in observers] if verified else []
        report = parse(ds, template)
        if not report.answers:
            raise InputError(_EMPTY)
        return Edited(report=report, verifier=next((n for n in names if n.strip("^= ")), ""))
    except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        # pydicom converts a value when it is asked for it, and says in many ways that it cannot
        msg = f"the edited report cannot be read: {type(error).__name__}"
        raise InputError(msg) from error
