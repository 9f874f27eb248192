"""Which images a segmentation or a structured report is about: from its references alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from service.errors import InputError
from service.model.measurement import Reference
from service.read.sop_classes import LABEL_MAP_SEGMENTATION, SEGMENTATION

_SR_ROOT = "1.2.840.10008.5.1.4.1.1.88."
_TAGS = ["SOPClassUID", "StudyInstanceUID", "ReferencedSeriesSequence", "CurrentRequestedProcedureEvidenceSequence"]


def images_of(path: Path) -> tuple[Reference, ...]:
    """Return images that an object of a study refers to: of a segmentation one of each series, of a report all that it names.

    Raises
    ------
    InputError
        It is no DICOM file.
    """
    try:
        ds = dcmread(path, specific_tags=list(_TAGS))
        if str(ds.get("SOPClassUID", "")) in {SEGMENTATION, LABEL_MAP_SEGMENTATION}:
            found = _in_series(ds.get("ReferencedSeriesSequence") or (), "ReferencedInstanceSequence", first_only=True)
        else:
            studies = ds.get("CurrentRequestedProcedureEvidenceSequence") or ()
            own = [s for s in studies if str(s.get("StudyInstanceUID", "")) == str(ds.get("StudyInstanceUID", ""))]
            found = (
                r
                for s in own
                for r in _in_series(s.get("ReferencedSeriesSequence") or (), "ReferencedSOPSequence", first_only=False)
            )
        return tuple(dict.fromkeys(r for r in found if _is_image(r)))
    except (InvalidDicomError, EOFError, ValueError, KeyError, AttributeError, TypeError) as error:
        # pydicom converts a value when it is asked for it, and says in many ways that it cannot
        msg = f"the references cannot be read: {type(error).__name__}"
        raise InputError(msg) from error


def _in_series(items: Iterable[Dataset], sequence: str, *, first_only: bool) -> Iterator[Reference]:
    for series in items:
        members = list(series.get(sequence) or ())
        for sop in members[:1] if first_only else members:
            yield Reference(
                sop_class_uid=str(sop.get("ReferencedSOPClassUID", "")),
                sop_instance_uid=str(sop.get("ReferencedSOPInstanceUID", "")),
                series_instance_uid=str(series.get("SeriesInstanceUID", "")),
            )


def _is_image(reference: Reference) -> bool:
    if not (reference.sop_class_uid and reference.sop_instance_uid and reference.series_instance_uid):
        return False
    other = reference.sop_class_uid in {SEGMENTATION, LABEL_MAP_SEGMENTATION}
    return not other and not reference.sop_class_uid.startswith(_SR_ROOT)
