"""What was measured on a segmentation: numbers with their method, unit and evidence."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from service.model.code import Code
from service.model.relation import Relation


class RegionKind(enum.StrEnum):
    """What marked the voxels that were measured."""

    #: a segment of a segmentation
    SEGMENT = "segment"
    #: an ROI of an RT structure set
    ROI = "ROI"
    #: a line of a presentation state
    LINE = "line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A pointer into an object: an image, a frame, a segment, an ROI, a line on an image.

    ``points`` are (column, row) pairs in image coordinates of PS3.3 C.18.6.1.1: the origin is the upper left corner of the
    upper left pixel, so that pixel's centre is (0.5, 0.5).
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    #: Referenced Frame Number (0008,1160), counted from 1; empty: the whole object
    frames: tuple[int, ...] = ()
    #: Referenced Segment Number (0062,000B)
    segment: int | None = None
    #: ROI Number (3006,0022) and ROI Name (3006,0026) in an RT structure set
    roi: int | None = None
    roi_name: str = ""
    #: POLYLINE points on the referenced image; empty where the reference is no graphic
    points: tuple[tuple[float, float], ...] = ()

    @property
    def mark(self) -> tuple[str, int | None, int | None]:
        """Return what no other segment or ROI is called: SOP Instance UID and number."""
        return self.sop_instance_uid, self.segment, self.roi

    @property
    def number(self) -> int | None:
        """Return the number of the segment or ROI; None: it points at neither."""
        return self.roi if self.segment is None else self.segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One measured number.

    ``name`` is a key of ``sr_templates/codes.csv`` that is also an item's key (``sz.long_axis``, ``sz.volume``, ``ct.hu`` …);
    lengths are in mm, volumes in mm3, attenuation in HU, uptake in g/ml (SUVbw), diffusion in um2/s, fractions in %: unrounded.
    """

    name: str
    value: float
    #: UCUM: mm, mm3, [hnsf'U], g/ml{SUVbw}, g, um2/s, %
    unit: str
    #: how it was measured, in words a radiologist reads
    method: str
    #: key of the derivation in ``codes.csv`` (``deriv.mean``), where there is one
    derivation: str = ""
    #: the attenuation in HU below which voxels were counted, for fractions (``ms.threshold``); the SUVbw from which, for what is metabolic
    threshold: float | None = None
    evidence: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentMeasurements:
    """A segment and what was measured on it; ``refusals`` says what was not, and why."""

    label: str
    #: Segment Number (0062,0004) or ROI Number (3006,0022), or the how-many-th line it is; 0 where the object could not be read at all
    segment: int
    source: Reference
    kind: RegionKind = RegionKind.SEGMENT
    #: the series that was segmented, where it is in the study; its images gave the attenuation
    image_series_instance_uid: str = ""
    #: Modality (0008,0060) of that series
    modality: str = ""
    #: MANUAL, SEMIAUTOMATIC or AUTOMATIC (0062,0008), with the algorithm's name where there is one
    algorithm: str = ""
    #: Segmented Property Category and Type (0062,0003), (0062,000F)
    category: Code | None = None
    property_type: Code | None = None
    #: Tracking ID and UID (0062,0020), (0062,0021), empty where the SEG has none
    tracking_id: str = ""
    tracking_uid: str = ""
    #: which structure it is taken for: ``tumour``, ``ves.ivc``, ``org.kidney`` …; empty: not known
    role: str = ""
    #: in words: what decided the role ("coded property type", "the label 'Tumour'")
    role_basis: str = ""
    #: key of ``codes.csv``: ``v.right`` or ``v.left``; empty: not known or not sided
    laterality: str = ""
    #: how the laterality was found, in words
    laterality_basis: str = ""
    #: the centroid in the patient coordinate system, mm, LPS (PS3.3 C.7.6.2.1.1); None for an empty segment
    centroid: tuple[float, float, float] | None = None
    #: sources of segments and ROIs that mark the same place on the same images: two marks of one thing
    overlaps: tuple[tuple[str, int], ...] = ()
    measurements: tuple[Measurement, ...] = ()
    #: the same voxels on other series in the same place, another phase say; the image in each one's evidence says which
    on_other_series: tuple[Measurement, ...] = ()
    #: of a tumour: how it lies to the vessels and organs that are segmented in the same frame of reference
    relations: tuple[Relation, ...] = ()
    #: what a reader must know beside the numbers ("the segment is in 3 parts")
    remarks: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
