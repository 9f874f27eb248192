"""Evidence sequences (PS3.3 C.17.2): every instance that we know of, grouped by study and series.

A study of 2,000 images makes 2,000 items of two elements each. Built as data sets and written by pydicom they take longer than the
rest of the report together (`tests/bench/bench_compose.py` has the numbers), so `current_evidence` writes the bytes of the one
sequence directly; `plain` builds the same sequence the ordinary way and a test compares the two byte by byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from service.model.measurement import Reference

CURRENT_REQUESTED_PROCEDURE_EVIDENCE = Tag(0x0040, 0xA375)

_ITEM = b"\xfe\xff\x00\xe0"
_UID = struct.Struct("<HH2sH")
_SEQUENCE = struct.Struct("<HH2sHL")


def _by_series(references: Iterable[Reference]) -> dict[str, list[Reference]]:
    """Group by series; every instance once, series and instances ordered by UID, so that the order of arrival does not show."""
    unique = {r.sop_instance_uid: r for r in references}
    grouped: dict[str, list[Reference]] = {}
    for reference in sorted(unique.values(), key=lambda r: (r.series_instance_uid, r.sop_instance_uid)):
        grouped.setdefault(reference.series_instance_uid, []).append(reference)
    return grouped


def plain(study_uid: str, references: Iterable[Reference]) -> Dataset:
    """Return the one item (one study) of an evidence or predecessor sequence as a data set."""
    item = Dataset()
    item.StudyInstanceUID = study_uid
    item.ReferencedSeriesSequence = []
    for series_uid, members in _by_series(references).items():
        series = Dataset()
        series.SeriesInstanceUID = series_uid
        series.ReferencedSOPSequence = []
        for member in members:
            sop = Dataset()
            sop.ReferencedSOPClassUID = member.sop_class_uid
            sop.ReferencedSOPInstanceUID = member.sop_instance_uid
            series.ReferencedSOPSequence.append(sop)
        item.ReferencedSeriesSequence.append(series)
    return item


def current_evidence(study_uid: str, references: Iterable[Reference]) -> RawDataElement:
    """Return Current Requested Procedure Evidence Sequence for one study, encoded in explicit VR little endian."""
    series_items = []
    for series_uid, members in _by_series(references).items():
        sops = b"".join(
            _item(_uid(0x0008, 0x1150, m.sop_class_uid) + _uid(0x0008, 0x1155, m.sop_instance_uid)) for m in members
        )
        series_items.append(_item(_sequence(0x0008, 0x1199, sops) + _uid(0x0020, 0x000E, series_uid)))
    # the order of tags within an item: (0008,1115) before (0020,000D), (0008,1199) before (0020,000E)
    study = _item(_sequence(0x0008, 0x1115, b"".join(series_items)) + _uid(0x0020, 0x000D, study_uid))
    return RawDataElement(
        CURRENT_REQUESTED_PROCEDURE_EVIDENCE, "SQ", len(study), study, 0, is_implicit_VR=False, is_little_endian=True
    )


def _item(content: bytes) -> bytes:
    return _ITEM + len(content).to_bytes(4, "little") + content


def _uid(group: int, element: int, value: str) -> bytes:
    raw = value.encode("ascii")
    raw += b"\0" * (len(raw) % 2)
    return _UID.pack(group, element, b"UI", len(raw)) + raw


def _sequence(group: int, element: int, content: bytes) -> bytes:
    return _SEQUENCE.pack(group, element, b"SQ", 0, len(content)) + content
