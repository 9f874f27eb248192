"""The one place where the encoding of an object changes: for a destination that takes nothing but implicit VR."""

from __future__ import annotations

from io import BytesIO

import pydicom
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from service.dimse.library import GARBAGE
from service.dimse.syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from service.errors import InputError
from service.store.file_meta import dataset_offset

#: syntaxes that differ in nothing but how elements are written
CONVERTIBLE = frozenset({IMPLICIT_LITTLE, EXPLICIT_LITTLE})


def data_set_of(part10: bytes) -> memoryview:
    """Return the encoded data set of a Part 10 file, as it stands there; not a copy.

    Raises
    ------
    InputError
        No Part 10 file.
    """
    return memoryview(part10)[dataset_offset(part10[:4096], "the object to send") :]


def convert(part10: bytes, *, to: str) -> bytes:
    """Return the data set of a Part 10 file in another of the ``CONVERTIBLE`` syntaxes; the same bytes each time.

    Raises
    ------
    InputError
        The file cannot be parsed, or is in a syntax that takes more than this.
    """
    if to not in CONVERTIBLE:
        msg = f"objects are not converted to the transfer syntax {to}"
        raise InputError(msg)
    try:
        dataset = pydicom.dcmread(BytesIO(part10))
        source = str(dataset.file_meta.TransferSyntaxUID)
        if source not in CONVERTIBLE:
            msg = f"objects are not converted from the transfer syntax {source}"
            raise InputError(msg)
        out = DicomBytesIO()
        out.is_little_endian = True
        out.is_implicit_VR = to == IMPLICIT_LITTLE
        write_dataset(out, dataset)
    except GARBAGE as error:
        msg = f"the object to send cannot be parsed: {type(error).__name__}"
        raise InputError(msg) from error
    return out.getvalue()
