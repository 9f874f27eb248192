"""Which SOP classes we store, and in which transfer syntaxes.

Storage SOP classes (PS3.4 B.5 and Annex I): all, the retired ones, the private ones, and those that are newer than the
dictionary of this machine. Left out, though their names say Storage: Storage Commitment (PS3.4 J), Media Storage Directory (files
only), and the Non-Patient Object Storage service (PS3.4 GG: hanging protocols, implant templates and the like), whose objects
belong to no study.

Transfer syntaxes (PS3.5 Annex A): all of the standard but Deflated ones, whose data sets can be of any size when they
are inflated, and those that are no DICOM encoding at all (MIME, XML, Papyrus). A private transfer syntax may encode
whatever it likes, so nobody could check what came: the peer takes another one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from pydicom.uid import UID

from service.model.uids import is_uid

IMPLICIT_LITTLE: Final = "1.2.840.10008.1.2"
EXPLICIT_LITTLE: Final = "1.2.840.10008.1.2.1"
EXPLICIT_BIG: Final = "1.2.840.10008.1.2.2"
VERIFICATION: Final = "1.2.840.10008.1.1"

_STANDARD_ROOT = "1.2.840.10008."
#: where the standard numbers its storage SOP classes: those that a dictionary does not name are newer than it
_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."

_NOT_STORAGE = frozenset(
    {
        "1.2.840.10008.1.3.10",  # Media Storage Directory Storage
        "1.2.840.10008.1.20.1",  # Storage Commitment Push Model
        "1.2.840.10008.1.20.2",  # Storage Commitment Pull Model
        # Non-Patient Object Storage (PS3.4 Table GG.3-1)
        "1.2.840.10008.5.1.4.38.1",  # Hanging Protocol
        "1.2.840.10008.5.1.4.39.1",  # Color Palette
        "1.2.840.10008.5.1.4.43.1",  # Generic Implant Template
        "1.2.840.10008.5.1.4.44.1",  # Implant Assembly Template
        "1.2.840.10008.5.1.4.45.1",  # Implant Template Group
        "1.2.840.10008.5.1.4.1.1.200.1",  # CT Defined Procedure Protocol
        "1.2.840.10008.5.1.4.1.1.200.3",  # Protocol Approval
        "1.2.840.10008.5.1.4.1.1.200.7",  # XA Defined Procedure Protocol
        "1.2.840.10008.5.1.4.1.1.201.1",  # Inventory
    }
)

_NOT_TAKEN = frozenset(
    {
        "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
        "1.2.840.10008.1.2.4.95",  # JPIP Referenced Deflate
        "1.2.840.10008.1.2.4.205",  # JPIP HTJ2K Referenced Deflate
        "1.2.840.10008.1.2.6.1",  # RFC 2557 MIME encapsulation
        "1.2.840.10008.1.2.6.2",  # XML Encoding
        "1.2.840.10008.1.20",  # Papyrus 3 Implicit VR Little Endian
    }
)


@lru_cache(maxsize=1024)
def is_storage_class(uid: str) -> bool:
    """Say whether ``uid`` is a SOP class of the Storage Service Class, or a private one."""
    if not is_uid(uid) or uid in _NOT_STORAGE:
        return False
    if not uid.startswith(_STANDARD_ROOT):
        return True
    known = UID(uid)
    if known.type:
        return known.type == "SOP Class" and (
            "Storage" in known.name or (known.name == "" and uid.startswith(_STORAGE_ROOT))
        )
    return uid.startswith(_STORAGE_ROOT)


@lru_cache(maxsize=1024)
def is_taken_syntax(uid: str) -> bool:
    """Say whether we take objects in the transfer syntax ``uid``."""
    return (
        is_uid(uid) and uid.startswith(_STANDARD_ROOT) and uid not in _NOT_TAKEN and UID(uid).type == "Transfer Syntax"
    )
