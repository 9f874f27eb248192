"""Is an object, received again, the same one under another patient, order or study description? Then its header was corrected.

PACSs correct demographics and send the objects again under the same SOP Instance UID (PS3.4 B.4.1.3). What may differ is listed
here, and is about who was examined, on whose order and under which words; all else must say the same, the pixel data byte by byte. The
values of elements are compared, not their encoding: whoever corrects an object writes it anew, with other lengths, padding or
character set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from pydicom.uid import DeflatedExplicitVRLittleEndian

from service.errors import InputError, StoreUnavailable
from service.read.part10 import Item, open_part10, tag_of

#: a header longer than this is not compared: it would all be in memory (one of 500 frames and six segments has about 2 MB)
MAX_HEADER_BYTES: Final = 16 << 20
_CHUNK = 1 << 20
#: no more of a text is decoded
_LONGEST_TEXT = 1 << 16
_DEEPEST = 64
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

#: patient and patient study (PS3.3 C.7.1, C.7.2.2), clinical trial (C.7.1.3), imaging service request and visit (C.3.2, C.4)
_GROUPS = frozenset({0x0010, 0x0012, 0x0032, 0x0038})
#: study, order and the words for them (PS3.3 C.7.2.1, C.7.3.1, 10.6, 10.17), and what a PACS adds when it corrects (C.12.1)
_KEYWORDS = (
    "SpecificCharacterSet",
    "InstanceCoercionDateTime",
    "OriginalAttributesSequence",
    "ContributingEquipmentSequence",
    "MACParametersSequence",
    "DigitalSignaturesSequence",
    "DataSetTrailingPadding",
    "RetrieveAETitle",
    "RetrieveURL",
    "RetrieveURI",
    "InstanceAvailability",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "StudyID",
    "StudyDescription",
    "ProcedureCodeSequence",
    "ReferringPhysicianName",
    "ReferringPhysicianAddress",
    "ReferringPhysicianTelephoneNumbers",
    "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianName",
    "ConsultingPhysicianIdentificationSequence",
    "PhysiciansOfRecord",
    "PhysiciansOfRecordIdentificationSequence",
    "NameOfPhysiciansReadingStudy",
    "PhysiciansReadingStudyIdentificationSequence",
    "PerformingPhysicianName",
    "PerformingPhysicianIdentificationSequence",
    "OperatorsName",
    "OperatorIdentificationSequence",
    "RequestingService",
    "RequestingServiceCodeSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ReasonForVisit",
    "ReasonForVisitCodeSequence",
    "ReferencedStudySequence",
    "ReferencedPatientSequence",
    "ReferencedPerformedProcedureStepSequence",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionCodeSequence",
    "InstitutionalDepartmentName",
    "InstitutionalDepartmentTypeCodeSequence",
    "SeriesDescription",
    "SeriesDescriptionCodeSequence",
    "SeriesNumber",
    "RequestAttributesSequence",
    "ReferencedRequestSequence",
    "RequestedProcedureID",
    "ReasonForTheRequestedProcedure",
    "ReasonForRequestedProcedureCodeSequence",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "OrderPlacerIdentifierSequence",
    "OrderFillerIdentifierSequence",
    "PerformedProcedureStepID",
    "PerformedProcedureStepDescription",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepEndDate",
    "PerformedProcedureStepEndTime",
    "PerformedProtocolCodeSequence",
    "CommentsOnThePerformedProcedureStep",
)
_CHARSET = tag_of("SpecificCharacterSet")
#: who and what order an object belongs to
_WHO = frozenset(
    tag_of(keyword)
    for keyword in (
        "SpecificCharacterSet",
        "StudyDate",
        "AccessionNumber",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "StudyID",
    )
)
_TAGS = frozenset(tag_of(keyword) for keyword in _KEYWORDS)


def beyond_identity(held: Path, again: Path) -> tuple[str, ...]:
    """Return in what two objects differ beyond patient, order and study: tags, sorted; empty: one is the other, corrected.

    Private elements may be added, since PACSs leave notes of their own, but not changed or taken away: some say how pixel values are
    to be read.

    Parameters
    ----------
    held, again:
        Two DICOM files (PS3.10) of the same SOP Instance UID and transfer syntax.

    Returns
    -------
    tuple of str
        ``(gggg,eeee)``, or words where the objects cannot be compared.

    Raises
    ------
    OSError
        One of them cannot be opened or read.
    """
    with held.open("rb") as first, again.open("rb") as second:
        try:
            meta, ours = open_part10(first, name="the first object")
            _, theirs = open_part10(second, name="the second object")
        except InputError:
            return ("what cannot be parsed",)
        except StoreUnavailable as error:
            raise OSError(str(error)) from error
        if max(first.tell(), second.tell()) > MAX_HEADER_BYTES:
            return ("a header that is too long to be compared",)
        if meta.text("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            # where its pixel data begins is not known
            return ("a deflated data set, which is not compared",)
        found = {_name(tag) for tag in _differing(ours, theirs, top=True)}
        if not _same_rest(first, second):
            found.add("(7FE0,0010)")
        return tuple(sorted(found))


def names_another(held: Path, again: Path) -> bool:
    """Say whether two objects, in whatever encoding, name another patient, order or study; also where one of them cannot be parsed.

    Raises
    ------
    OSError
        One of them cannot be opened or read.
    """
    try:
        (_, first), (_, second) = (open_part10(p, name="the object", tags=_WHO) for p in (held, again))
    except InputError:
        return True
    except StoreUnavailable as error:
        raise OSError(str(error)) from error
    return any(first.values_at(tag) != second.values_at(tag) for tag in _WHO - {_CHARSET})


def _differing(ours: Item, theirs: Item, *, top: bool, depth: int = 0) -> Iterator[int]:
    if depth > _DEEPEST:
        yield from set(ours) | set(theirs)
        return
    known = frozenset(ours)
    for tag in sorted(known.union(theirs)):
        group, element = tag >> 16, tag & 0xFFFF
        may_differ = top and (group in _GROUPS or tag in _TAGS)
        is_added_note = group % 2 and tag not in known
        if may_differ or is_added_note or not element or tag in _PIXEL_DATA:
            continue
        if not _same(ours, theirs, tag, depth):
            yield tag


def _same(ours: Item, theirs: Item, tag: int, depth: int) -> bool:
    if ours.is_sequence(tag) or theirs.is_sequence(tag):
        first, second = ours.items_at(tag), theirs.items_at(tag)
        return len(first) == len(second) and not any(
            next(_differing(a, b, top=False, depth=depth + 1), None) for a, b in zip(first, second, strict=True)
        )
    first_raw, second_raw = ours.raw(tag), theirs.raw(tag)
    if first_raw == second_raw or not (first_raw + second_raw).strip(b" \0"):
        return True
    # the same text, padded otherwise or in another character set
    is_short = max(len(first_raw), len(second_raw)) <= _LONGEST_TEXT
    return is_short and ours.values_at(tag) == theirs.values_at(tag) != ()


def _same_rest(first: BinaryIO, second: BinaryIO) -> bool:
    sizes = {os.fstat(s.fileno()).st_size - s.tell() for s in (first, second)}
    if len(sizes) > 1:
        return False
    while chunk := first.read(_CHUNK):
        if chunk != second.read(len(chunk)):
            return False
    return True


def _name(tag: int) -> str:
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
