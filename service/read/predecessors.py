"""Which documents an SR says that it replaces (Predecessor Documents Sequence, PS3.3 C.17.2)."""

from __future__ import annotations

import io

from pydicom import dcmread
from pydicom.dataset import Dataset

from service.model.code import Code
from service.model.signing import Predecessor


def predecessors(part10: bytes) -> tuple[Predecessor, ...]:
    """Return what stands in an SR of ours as its predecessors, in the order of the file."""
    ds = dcmread(io.BytesIO(part10), specific_tags=["PredecessorDocumentsSequence"])
    return tuple(
        Predecessor(
            sop_class_uid=str(sop.ReferencedSOPClassUID),
            sop_instance_uid=str(sop.ReferencedSOPInstanceUID),
            series_instance_uid=str(series.SeriesInstanceUID),
            purpose=_purpose(sop),
        )
        for study in ds.get("PredecessorDocumentsSequence") or ()
        for series in study.get("ReferencedSeriesSequence") or ()
        for sop in series.get("ReferencedSOPSequence") or ()
    )


def _purpose(sop: Dataset) -> Code | None:
    item = next(iter(sop.get("PurposeOfReferenceCodeSequence") or ()), None)
    if item is None:
        return None
    return Code(str(item.CodeValue), str(item.CodingSchemeDesignator), str(item.CodeMeaning))
