"""A DICOM file's header to an `Instance`: the elements that later steps need, as text, however badly they are written."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from pydicom.datadict import tag_for_keyword

from service.errors import InputError
from service.model.code import Code
from service.model.study import Header, Instance, Request
from service.model.uids import is_uid
from service.read.keywords import CODE_KEYWORDS, FUNCTIONAL_GROUPS, HEADER_KEYWORDS, INSTANCE_KEYWORDS, NESTED
from service.read.part10 import Item, as_numbers, open_part10

__all__ = ["CODE_KEYWORDS", "HEADER_KEYWORDS", "INSTANCE_KEYWORDS", "read_instance"]

_SHARED_GROUPS = "SharedFunctionalGroupsSequence"
_FRAME_GROUPS = "PerFrameFunctionalGroupsSequence"
_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_REQUEST = (
    "RequestAttributesSequence",
    "ReferencedRequestSequence",
    "IssuerOfAccessionNumberSequence",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
)
_NOT_IN_PS3_6 = frozenset({"LastImagePositionPatient"})


def _tags(*keywords: str) -> dict[int, str]:
    found = {tag_for_keyword(k): k for k in keywords if k not in _NOT_IN_PS3_6}
    return {tag: keyword for tag, keyword in found.items() if tag is not None}


_HEADER_TAGS = _tags(*HEADER_KEYWORDS)
_OWN_TAGS = _tags(*INSTANCE_KEYWORDS)
_CODE_TAGS = _tags(*CODE_KEYWORDS)
_WANTED = frozenset(
    _HEADER_TAGS | _OWN_TAGS | _CODE_TAGS | _tags(*_IDENTITY, *_REQUEST, *NESTED, _SHARED_GROUPS, _FRAME_GROUPS)
)
_HEADER_ORDER = {keyword: position for position, keyword in enumerate(HEADER_KEYWORDS)}

# Their frames say nothing that composing needs, and a segmentation can have thousands of them.
_NO_FRAMES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation
    }
)


def read_instance(
    source: Path | BinaryIO,
    *,
    path: str = "",
    received_at: dt.datetime | None = None,
) -> Instance:
    """Read the header of a DICOM file (PS3.10), without its pixel data.

    Values are decoded with the file's character set and never refused for their form: a value that is too long, or that its value
    representation forbids, is kept as it stands (`service.read.normalise` mends). Of sequences, the first item counts, but for
    requests and codes. Multi-frame images get the values of their shared functional groups, else those of their first frame.

    Parameters
    ----------
    source:
        A path, or a seekable binary stream at its beginning.
    path:
        Where the file lies, relative to the spool's or the folder's root; error messages name it.
    received_at:
        When the file was received (aware, UTC).

    Returns
    -------
    Instance
        AE titles and address of the peer come from the file meta information (0002,0017), (0002,0018), (0002,0026).

    Raises
    ------
    InputError
        The file is no DICOM file, cannot be parsed, or one of its study, series and SOP instance and class UIDs is missing or no UID.
    StoreUnavailable
        The file cannot be opened or read.
    """
    name = path or (str(source) if isinstance(source, Path) else "the object")
    meta, dataset = open_part10(source, name=name, tags=_WANTED)
    # an object without them still says in its file meta information who it is
    uids = {
        "StudyInstanceUID": dataset.text("StudyInstanceUID"),
        "SeriesInstanceUID": dataset.text("SeriesInstanceUID"),
        "SOPInstanceUID": dataset.text("SOPInstanceUID") or meta.text("MediaStorageSOPInstanceUID"),
        "SOPClassUID": dataset.text("SOPClassUID") or meta.text("MediaStorageSOPClassUID"),
    }
    for keyword, uid in uids.items():
        if not is_uid(uid):
            msg = f"{name} has {'no valid' if uid else 'no'} {keyword}: it cannot be placed in a study"
            raise InputError(msg)
    elements, own, codes = _facts(dataset, uids["SOPClassUID"])
    return Instance(
        study_instance_uid=uids["StudyInstanceUID"],
        series_instance_uid=uids["SeriesInstanceUID"],
        sop_instance_uid=uids["SOPInstanceUID"],
        sop_class_uid=uids["SOPClassUID"],
        transfer_syntax_uid=meta.text("TransferSyntaxUID"),
        header=Header(elements=elements, codes=codes, requests=_requests(dataset)),
        own=own,
        received_at=received_at,
        calling_ae=meta.text("SendingApplicationEntityTitle"),
        called_ae=meta.text("ReceivingApplicationEntityTitle"),
        source_address=meta.text("SourcePresentationAddress"),
        path=path,
    )


Values = dict[str, tuple[str, ...]]
Codes = dict[str, tuple[Code, ...]]


def _facts(dataset: Item, sop_class_uid: str) -> tuple[Values, Values, Codes]:
    elements: Values = {}
    own: Values = {}
    codes: Codes = {}
    for tag in dataset:
        if keyword := _HEADER_TAGS.get(tag):
            if values := dataset.values_at(tag):
                elements[keyword] = values
        elif keyword := _OWN_TAGS.get(tag):
            if values := dataset.values_at(tag):
                own[keyword] = values
        elif (keyword := _CODE_TAGS.get(tag)) and (found := dataset.codes(keyword)):
            codes[keyword] = found
    for sequence, keywords in NESTED.items():
        if sequence in dataset:
            _take(dataset.item(sequence), keywords, elements, codes)
    if sop_class_uid not in _NO_FRAMES and _SHARED_GROUPS in dataset:
        _functional_groups(dataset, elements, own, codes)
    ordered = dict(sorted(elements.items(), key=lambda e: _HEADER_ORDER[e[0]]))
    return ordered, own, {k: codes[k] for k in CODE_KEYWORDS if k in codes}


def _take(item: Item, keywords: tuple[str, ...], elements: Values, codes: Codes) -> None:
    """Take the elements of a nested item that the data set itself does not have."""
    for keyword in keywords:
        if keyword in CODE_KEYWORDS:
            if keyword not in codes and (found := item.codes(keyword)):
                codes[keyword] = found
        elif keyword not in elements and (values := item.texts(keyword)):
            elements[keyword] = values


def _functional_groups(dataset: Item, elements: Values, own: Values, codes: Codes) -> None:
    shared = dataset.item(_SHARED_GROUPS)
    frames = dataset.items(_FRAME_GROUPS)
    for sequence, keyword, name in FUNCTIONAL_GROUPS:
        for group in (shared, *frames[:1]):
            item = group.item(sequence)
            if name in CODE_KEYWORDS:
                if name not in codes and (found := item.codes(keyword)):
                    codes[name] = found
            elif name not in elements and (values := item.texts(keyword)):
                elements[name] = values
    b_values = {g.item("MRDiffusionSequence").number("DiffusionBValue") for g in (shared, *frames)} - {None}
    if b_values and "DiffusionBValue" not in elements:
        elements["DiffusionBValue"] = tuple(format(b, "g") for b in sorted(b for b in b_values if b is not None))
    positions = [
        p for p in (g.item("PlanePositionSequence").texts("ImagePositionPatient") for g in (shared, *frames)) if p
    ]
    _first_and_last(positions, elements.get("ImageOrientationPatient", ()), own)


_ORIENTATION, _POSITION = 6, 3


def _first_and_last(positions: list[tuple[str, ...]], orientation: tuple[str, ...], own: Values) -> None:
    """Keep the positions of the frames that lie first and last along the normal (PS3.3 C.7.6.2.1.1)."""
    axes = as_numbers(orientation)
    placed = [(as_numbers(p), p) for p in positions]
    placed = [(numbers, text) for numbers, text in placed if len(numbers) == _POSITION]
    if not placed or len(axes) != _ORIENTATION or own.get("ImagePositionPatient"):
        return
    (a, b, c), (d, e, f) = axes[:3], axes[3:]
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)

    def depth(entry: tuple[tuple[float, ...], tuple[str, ...]]) -> float:
        return sum(n * p for n, p in zip(normal, entry[0], strict=True))

    own["ImagePositionPatient"] = min(placed, key=depth)[1]
    if len(placed) > 1:
        own["LastImagePositionPatient"] = max(placed, key=depth)[1]


def _requests(dataset: Item) -> tuple[Request, ...]:
    """Return what the header says about the order(s): each item of its request sequence, else its own attributes.

    (0040,0275) in images, (0040,A370) in structured reports; an item without an accession number takes the object's.
    """
    whole = replace(_request(dataset), study_instance_uid="")
    items = [
        _request(item)
        for keyword in ("RequestAttributesSequence", "ReferencedRequestSequence")
        for item in dataset.items(keyword)
    ]
    filled = [
        replace(
            r,
            accession_number=r.accession_number or whole.accession_number,
            accession_issuer=r.accession_issuer or ("" if r.accession_number else whole.accession_issuer),
            requested_procedure_description=r.requested_procedure_description or whole.requested_procedure_description,
            requested_procedure_code=r.requested_procedure_code or whole.requested_procedure_code,
        )
        for r in items
    ]
    if whole.accession_number not in {"", *(r.accession_number for r in filled)} or not filled:
        filled.append(whole)
    return tuple(r for r in dict.fromkeys(filled) if r != Request())


def _request(item: Item) -> Request:
    issuer = item.item("IssuerOfAccessionNumberSequence") if "IssuerOfAccessionNumberSequence" in item else None
    return Request(
        accession_number=item.text("AccessionNumber"),
        accession_issuer=(issuer.text("LocalNamespaceEntityID") or issuer.text("UniversalEntityID")) if issuer else "",
        requested_procedure_id=item.text("RequestedProcedureID"),
        requested_procedure_description=item.text("RequestedProcedureDescription"),
        requested_procedure_code=item.code("RequestedProcedureCodeSequence"),
        scheduled_procedure_step_id=item.text("ScheduledProcedureStepID"),
        placer_order_number=item.text("PlacerOrderNumberImagingServiceRequest"),
        filler_order_number=item.text("FillerOrderNumberImagingServiceRequest"),
        study_instance_uid=item.text("StudyInstanceUID"),
    )
