"""A structured report of somebody else, from the bytes of its file."""

from __future__ import annotations

import io
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from service.errors import InputError
from service.model.foreign import ForeignReport
from service.read.structured_report import read_structured_report

#: classes that hold numbers and codes of TID 1500 and its relatives (PS3.4 B.5); dose reports, CAD and key objects do not
SR_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
        "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
        "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
        "1.2.840.10008.5.1.4.1.1.88.35",  # Extensible SR
    }
)

#: a structured report larger than this is none that a person wrote
MAX_BYTES = 32 * 2**20


def document_bytes(path: Path) -> bytes:
    """Return the bytes of a structured report.

    Raises
    ------
    InputError
        It is larger than any report.
    OSError
        It cannot be read.
    """
    if path.stat().st_size > MAX_BYTES:
        msg = f"larger than {MAX_BYTES} bytes"
        raise InputError(msg)
    return path.read_bytes()


def read_foreign(part10: bytes) -> ForeignReport:
    """Return what a structured report says.

    Raises
    ------
    InputError
        It is none, or is damaged.
    """
    try:
        ds = dcmread(io.BytesIO(part10), stop_before_pixels=True)
    except (InvalidDicomError, EOFError, ValueError) as error:
        msg = f"the structured report cannot be read: {type(error).__name__}"
        raise InputError(msg) from error
    return read_structured_report(ds)
