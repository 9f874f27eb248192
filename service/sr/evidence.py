"""Evidence sequences (PS3.3 C.17.2): every instance that we know of, grouped by study and series.

A study of 2,000 images makes 2,000 items of two elements each. Through pydicom's data sets they took 0.45 of the 0.53 s that report,
companion and their checks need (`tests/bench/bench_compose.py` has today's numbers), so this one sequence is written and read as
bytes: `current_evidence` and `listed`. `plain` and `_listed_plainly` do the same the ordinary way, for what is not ours, and tests
compare the two.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from service.errors import InputError
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


def current_evidence(study_uid: str, references: Iterable[Reference]) -> bytes:
    """Return Current Requested Procedure Evidence Sequence for one study, encoded in explicit VR little endian."""
    series_items = []
    for series_uid, members in _by_series(references).items():
        sops = b"".join(
            _item(_uid(0x0008, 0x1150, m.sop_class_uid) + _uid(0x0008, 0x1155, m.sop_instance_uid)) for m in members
        )
        series_items.append(_item(_sequence(0x0008, 0x1199, sops) + _uid(0x0020, 0x000E, series_uid)))
    # the order of tags within an item: (0008,1115) before (0020,000D), (0008,1199) before (0020,000E)
    study = _item(_sequence(0x0008, 0x1115, b"".join(series_items)) + _uid(0x0020, 0x000D, study_uid))
    tag = CURRENT_REQUESTED_PROCEDURE_EVIDENCE
    return _sequence(tag.group, tag.element, study)


@dataclass(frozen=True, slots=True)
class Listed:
    """What the evidence says of one instance."""

    sop_class_uid: str
    series_instance_uid: str


def listed(ds: Dataset) -> dict[str, Listed]:
    """Return SOP Instance UID → class and series of everything that the evidence sequences of ``ds`` name.

    Raises
    ------
    InputError
        The sequence is damaged.
    """
    found: dict[str, Listed] = {}
    if CURRENT_REQUESTED_PROCEDURE_EVIDENCE in ds:
        # not yet converted: the bytes as they stand in the file
        element = cast("RawDataElement | DataElement", ds.get_item(CURRENT_REQUESTED_PROCEDURE_EVIDENCE))
        if isinstance(element, RawDataElement) and element.value is not None and not element.is_implicit_VR:
            found.update(_scanned(element.value))
        else:
            found.update(_listed_plainly(ds.CurrentRequestedProcedureEvidenceSequence))
    found.update(_listed_plainly(ds.get("PertinentOtherEvidenceSequence") or ()))
    return found


def _listed_plainly(sequence: Iterable[Dataset]) -> dict[str, Listed]:
    return {
        str(sop.get("ReferencedSOPInstanceUID", "")): Listed(
            str(sop.get("ReferencedSOPClassUID", "")), str(series.get("SeriesInstanceUID", ""))
        )
        for study in sequence
        for series in study.get("ReferencedSeriesSequence") or ()
        for sop in series.get("ReferencedSOPSequence") or ()
    }


def _scanned(content: bytes) -> dict[str, Listed]:
    """Read the value of the sequence as `current_evidence` writes it, without making data sets."""
    found: dict[str, Listed] = {}
    for study in _elements_of_items(content):
        for series in _elements_of_items(study.get(_SERIES, b"")):
            series_uid = _text(series.get(_SERIES_UID, b""))
            for sop in _elements_of_items(series.get(_SOPS, b"")):
                found[_text(sop.get(_SOP_INSTANCE, b""))] = Listed(_text(sop.get(_SOP_CLASS, b"")), series_uid)
    return found


_SERIES, _SOPS = b"\x08\x00\x15\x11", b"\x08\x00\x99\x11"
_SOP_CLASS, _SOP_INSTANCE, _SERIES_UID = b"\x08\x00\x50\x11", b"\x08\x00\x55\x11", b"\x20\x00\x0e\x00"


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0 ").decode("ascii", "replace")


def _elements_of_items(content: bytes) -> Iterator[dict[bytes, bytes]]:
    """Yield the elements of each item of a sequence of defined lengths: tag → value."""
    position = 0
    while position < len(content):
        if content[position : position + 4] != _ITEM:
            raise InputError(_DAMAGED)
        end = position + 8 + int.from_bytes(content[position + 4 : position + 8], "little")
        position += 8
        elements: dict[bytes, bytes] = {}
        while position < end:
            long = content[position + 4 : position + 6] == b"SQ"
            start = position + (12 if long else 8)
            length = int.from_bytes(content[start - (4 if long else 2) : start], "little")
            elements[content[position : position + 4]] = content[start : start + length]
            position = start + length
        if position != end or end > len(content):
            raise InputError(_DAMAGED)
        yield elements


_DAMAGED = "the evidence sequence is damaged"


def _item(content: bytes) -> bytes:
    return _ITEM + len(content).to_bytes(4, "little") + content


def _uid(group: int, element: int, value: str) -> bytes:
    raw = value.encode("ascii")
    raw += b"\0" * (len(raw) % 2)
    return _UID.pack(group, element, b"UI", len(raw)) + raw


def _sequence(group: int, element: int, content: bytes) -> bytes:
    return _SEQUENCE.pack(group, element, b"SQ", 0, len(content)) + content
