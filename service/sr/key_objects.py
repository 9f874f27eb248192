"""Key Object Selection (PS3.3 A.35.4, TID 2010): which images of the study the report rests on. The originals, never our captures."""

from __future__ import annotations

from typing import Literal

from pydicom.dataset import Dataset

from service.model.code import Code
from service.model.measurement import Reference
from service.model.study import Study
from service.sr import evidence, items
from service.sr.document import Envelope, common, part10, referenced_requests

KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
#: CID 7010; pydicom's dictionary: DCM.OfInterest
OF_INTEREST = Code("113000", "DCM", "Of Interest")
#: TID 2010; pydicom's dictionary: DCM.KeyObjectDescription
DESCRIPTION = Code("113012", "DCM", "Key Object Description")


def key_objects(
    images: tuple[Reference, ...], study: Study, envelope: Envelope, *, description: str, device_uid: str
) -> bytes:
    """Return the selection as a DICOM file.

    Parameters
    ----------
    images:
        The original images, or frames of them, that measurements stand on; each once.
    study, envelope:
        The study, and what the object is called; ``envelope.sop_class_uid`` is `KEY_OBJECT_SELECTION`.
    description:
        One line on why they were selected.
    device_uid:
        Device Observer UID (121012, DCM): who selected them.

    Raises
    ------
    ValueError
        There is no image.
    """
    selected = tuple(dict.fromkeys(_plain(i) for i in images))
    return selection(
        selected, study, envelope, title=OF_INTEREST, kind="IMAGE", description=description, device_uid=device_uid
    )


def selection(
    selected: tuple[Reference, ...],
    study: Study,
    envelope: Envelope,
    *,
    title: Code,
    kind: Literal["IMAGE", "COMPOSITE"],
    description: str,
    device_uid: str,
) -> bytes:
    """Return a key object selection of any title (CID 7010) as a DICOM file.

    Parameters
    ----------
    selected:
        What it points at, each once.
    study, envelope:
        The study, and what the object is called.
    title:
        Document title.
    kind:
        Value type of what is selected.
    description:
        One line.
    device_uid:
        Device Observer UID (121012, DCM).

    Raises
    ------
    ValueError
        Nothing is selected, which TID 2010 does not allow.
    """
    if not selected:
        msg = f"a key object selection '{title.meaning}' needs something that it points at"
        raise ValueError(msg)
    root = items.container(title, relation=None, template="2010")
    items.add(
        root,
        items.code(items.key("tid.observer_type"), items.key("tid.device"), items.HAS_OBS_CONTEXT),
        items.uid(items.key("tid.device_uid"), device_uid, items.HAS_OBS_CONTEXT),
        items.text(DESCRIPTION, description),
    )
    ds = common(study, envelope, "KO")
    ds.ReferencedPerformedProcedureStepSequence = []
    if requests := referenced_requests(study):
        ds.ReferencedRequestSequence = requests
    ds.CurrentRequestedProcedureEvidenceSequence = [evidence.plain(study.study_instance_uid, selected)]
    for name in ("ValueType", "ConceptNameCodeSequence", "ContinuityOfContent", "ContentTemplateSequence"):
        ds[name] = root[name]
    ds.ContentSequence = [*root.ContentSequence, *(_selected(r, kind) for r in selected)]
    return part10(ds)


def _plain(reference: Reference) -> Reference:
    return Reference(
        sop_class_uid=reference.sop_class_uid,
        sop_instance_uid=reference.sop_instance_uid,
        series_instance_uid=reference.series_instance_uid,
        frames=reference.frames,
    )


def _selected(reference: Reference, kind: str) -> Dataset:
    """Return an item as TID 2010 has it: without a concept name, unlike those of our reports."""
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = kind
    sop = Dataset()
    sop.ReferencedSOPClassUID = reference.sop_class_uid
    sop.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reference.frames:
        sop.ReferencedFrameNumber = list(reference.frames)
    item.ReferencedSOPSequence = [sop]
    return item
