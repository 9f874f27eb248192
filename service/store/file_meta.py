"""File Meta Information (PS3.10 7.1) of the files that the spool writes: encode it, and read it back without a parser.

It carries what a crash must not lose and what the data set does not say: from whom, as whom and from where an object came.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import struct
from dataclasses import dataclass, fields
from pathlib import Path

from service.errors import InputError, StoreUnavailable
from service.model.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

PREAMBLE = bytes(128) + b"DICM"
#: where the data set begins, counted from the value of (0002,0000)
_GROUP_LENGTH_END = len(PREAMBLE) + 12
#: nobody's file meta information is longer
_LONGEST = 1 << 20

_GROUP = 0x0002
#: head of File Meta Information Group Length (0002,0000)
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_LONG = frozenset({b"OB", b"OW", b"OF", b"OD", b"OL", b"OV", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMeta:
    """What is known of an object besides its data set.

    ``calling_ae_title`` and ``called_ae_title`` are those of the association it came over, ``address`` is the peer's IP
    address. Text is ASCII, without padding.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae_title: str = ""
    called_ae_title: str = ""
    address: str = ""

    def encode(self) -> bytes:
        """Return the beginning of a Part 10 file: 128 zero bytes, ``DICM`` and File Meta Information, up to the data set.

        The Source Application Entity (0002,0016) is the one that sent us the object, as is the Sending one (0002,0017):
        readers look at either.
        """
        before, after = _alike(
            self.sop_class_uid, self.transfer_syntax_uid, self.calling_ae_title, self.called_ae_title, self.address
        )
        own = _element(0x0003, b"UI", self.sop_instance_uid)
        length = struct.pack("<L", len(before) + len(own) + len(after))
        return b"".join((PREAMBLE, _GROUP_LENGTH, length, before, own, after))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMeta(FileMeta):
    """File meta information as it stands in a file, the time of receipt (aware, UTC) and where the data set begins."""

    received_at: dt.datetime
    dataset_offset: int


def read_meta(path: Path) -> StoredMeta:
    """Read the file meta information at the head of ``path``; the data set is not touched.

    Raises
    ------
    InputError
        No Part 10 file, or its File Meta Information is broken.
    StoreUnavailable
        The file cannot be read.
    """
    try:
        with path.open("rb", buffering=0) as stream:
            received_ns = os.fstat(stream.fileno()).st_mtime_ns
            head = stream.read(4096)
            end = dataset_offset(head, path.name)
            if end > len(head):
                head += stream.read(end - len(head))
    except OSError as error:
        msg = f"{path.name} cannot be read: {error.strerror or type(error).__name__}"
        raise StoreUnavailable(msg) from error
    found = _elements(head[_GROUP_LENGTH_END:end], path.name)
    names = {"sop_class_uid": 0x02, "sop_instance_uid": 0x03, "transfer_syntax_uid": 0x10}
    names |= {"calling_ae_title": 0x17, "called_ae_title": 0x18, "address": 0x26}
    return StoredMeta(
        **{f.name: found.get(names[f.name], "") for f in fields(FileMeta)},
        received_at=dt.datetime.fromtimestamp(received_ns / 1e9, dt.UTC),
        dataset_offset=end,
    )


def dataset_offset(head: bytes, name: str) -> int:
    """Return where the data set begins in a Part 10 file whose first bytes are ``head`` (at least 144).

    Raises
    ------
    InputError
        No Part 10 file, or one without File Meta Information Group Length (0002,0000), which PS3.10 requires.
    """
    is_part10 = head[: len(PREAMBLE)].endswith(b"DICM")
    if not is_part10 or head[132:140] != _GROUP_LENGTH or len(head) < _GROUP_LENGTH_END:
        msg = f"{name} is no DICOM file: File Meta Information (PS3.10 7.1) is missing"
        raise InputError(msg)
    (length,) = struct.unpack_from("<L", head, _GROUP_LENGTH_END - 4)
    if length > _LONGEST:
        msg = f"{name} is no DICOM file: its File Meta Information claims {length} bytes"
        raise InputError(msg)
    return _GROUP_LENGTH_END + int(length)


@functools.lru_cache(maxsize=256)
def _alike(
    sop_class_uid: str, transfer_syntax_uid: str, calling_ae_title: str, called_ae_title: str, address: str
) -> tuple[bytes, bytes]:
    """Return what stands before and after the SOP Instance UID: in one series it is the same for each object."""
    before = (_element(0x0001, b"OB", b"\x00\x01"), _element(0x0002, b"UI", sop_class_uid))
    after = (
        _element(0x0010, b"UI", transfer_syntax_uid),
        _element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        _element(0x0016, b"AE", calling_ae_title),
        _element(0x0017, b"AE", calling_ae_title),
        _element(0x0018, b"AE", called_ae_title),
        _element(0x0026, b"UR", address),
    )
    return b"".join(before), b"".join(after)


def _element(element: int, vr: bytes, value: str | bytes) -> bytes:
    raw = value.encode("ascii", "replace") if isinstance(value, str) else value
    if len(raw) % 2:
        raw += b"\0" if vr in (b"UI", b"OB") else b" "
    if vr in _LONG:
        return struct.pack("<HH2sHL", _GROUP, element, vr, 0, len(raw)) + raw
    return struct.pack("<HH2sH", _GROUP, element, vr, len(raw)) + raw


def _elements(body: bytes, name: str) -> dict[int, str]:
    found: dict[int, str] = {}
    at = 0
    while at + 8 <= len(body):
        group, element, vr, length = struct.unpack_from("<HH2sH", body, at)
        at += 8
        if vr in _LONG and at + 4 <= len(body):
            (length,) = struct.unpack_from("<L", body, at)
            at += 4
        if group != _GROUP or at + length > len(body):
            break
        found[element] = body[at : at + length].rstrip(b"\0 ").decode("ascii", "replace").strip()
        at += length
    if at != len(body):
        msg = f"{name} is no DICOM file: its File Meta Information is broken"
        raise InputError(msg)
    return found
