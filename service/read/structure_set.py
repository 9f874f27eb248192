"""An RT Structure Set (PS3.3 A.19, C.8.8.5, C.8.8.6, C.8.8.8) as values: ROIs and their contours, in mm in the patient's coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.model.code import Code
from service.read.functional_groups import groups_of
from service.read.part10 import Item, open_part10, tag_of

CLOSED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})
POINT = "POINT"

_CONTOUR_DATA = tag_of("ContourData")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contour:
    """One item of Contour Sequence (3006,0040)."""

    #: Contour Geometric Type (3006,0042)
    kind: str
    #: shape (n, 3), mm, LPS
    points: NDArray[np.float64]
    #: what is wrong with its data; empty: nothing
    fault: str = ""
    #: Referenced SOP Instance UIDs of Contour Image Sequence (3006,0016)
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Roi:
    """A region of interest: Structure Set ROI, its contours, and what was observed of it."""

    number: int
    name: str = ""
    description: str = ""
    #: ROI Generation Algorithm (3006,0036): MANUAL, SEMIAUTOMATIC, AUTOMATIC
    algorithm: str = ""
    frame_of_reference_uid: str = ""
    contours: tuple[Contour, ...] = ()
    observation_label: str = ""
    #: RT ROI Interpreted Type (3006,00A4): GTV, ORGAN, PTV …
    interpreted_type: str = ""
    #: RT ROI Identification Code Sequence (3006,0086)
    code: Code | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureSet:
    """A parsed structure set."""

    sop_instance_uid: str
    #: Study Instance UID that its frames of reference name (RT Referenced Study Sequence), and the series
    referenced_studies: tuple[str, ...]
    referenced_series: tuple[str, ...]
    rois: tuple[Roi, ...]


def read_structure_set(path: Path, *, name: str) -> StructureSet:
    """Parse a structure set.

    Parameters
    ----------
    path:
        A DICOM file (PS3.10).
    name:
        What error messages call it.

    Returns
    -------
    StructureSet
        ROIs by number. A contour whose numbers cannot be read says so in ``fault``.

    Raises
    ------
    InputError
        No structure set, or two ROIs of one number.
    StoreUnavailable
        The file cannot be read.
    """
    _, dataset = open_part10(path, name=name)
    described = dataset.items("StructureSetROISequence")
    if not described:
        msg = f"{name} has no ROI (Structure Set ROI Sequence (3006,0020))"
        raise InputError(msg)
    contours: dict[int, tuple[Contour, ...]] = {}
    for item in groups_of(dataset, "ROIContourSequence"):
        number = item.integer("ReferencedROINumber")
        if number is not None:
            contours[number] = (*contours.get(number, ()), *(_contour(c) for c in item.items("ContourSequence")))
    observed = {
        n: o for o in dataset.items("RTROIObservationsSequence") if (n := o.integer("ReferencedROINumber")) is not None
    }
    rois: dict[int, Roi] = {}
    for item in described:
        number = item.integer("ROINumber")
        if number is None or number in rois:
            msg = f"{name} has an ROI without a number of its own"
            raise InputError(msg)
        observation = observed.get(number)
        rois[number] = Roi(
            number=number,
            name=item.text("ROIName"),
            description=item.text("ROIDescription"),
            algorithm=item.text("ROIGenerationAlgorithm"),
            frame_of_reference_uid=item.text("ReferencedFrameOfReferenceUID") or dataset.text("FrameOfReferenceUID"),
            contours=contours.get(number, ()),
            observation_label=observation.text("ROIObservationLabel") if observation else "",
            interpreted_type=observation.text("RTROIInterpretedType").upper() if observation else "",
            code=observation.code("RTROIIdentificationCodeSequence") if observation else None,
        )
    studies = [
        s for f in dataset.items("ReferencedFrameOfReferenceSequence") for s in f.items("RTReferencedStudySequence")
    ]
    return StructureSet(
        sop_instance_uid=dataset.text("SOPInstanceUID"),
        referenced_studies=tuple(s.text("ReferencedSOPInstanceUID") for s in studies),
        referenced_series=tuple(
            r.text("SeriesInstanceUID") for s in studies for r in s.items("RTReferencedSeriesSequence")
        ),
        rois=tuple(rois[n] for n in sorted(rois)),
    )


def _contour(item: Item) -> Contour:
    kind = item.text("ContourGeometricType").upper()
    images = tuple(i.text("ReferencedSOPInstanceUID") for i in item.items("ContourImageSequence"))
    raw = item.raw(_CONTOUR_DATA)
    nothing = np.empty((0, 3))
    try:
        numbers = np.array(raw.rstrip(b"\0 \\").split(b"\\") if raw.strip(b"\0 \\") else [], np.float64)
    except ValueError:
        return Contour(kind=kind, points=nothing, fault="its coordinates are no numbers", images=images)
    if numbers.size % 3 or not np.isfinite(numbers).all():
        return Contour(kind=kind, points=nothing, fault="its coordinates are incomplete", images=images)
    points = numbers.reshape(-1, 3)
    stated = item.integer("NumberOfContourPoints")
    if stated is not None and stated != points.shape[0]:
        return Contour(
            kind=kind, points=points, fault=f"it states {stated} points and has {points.shape[0]}", images=images
        )
    return Contour(kind=kind, points=points, images=images)
