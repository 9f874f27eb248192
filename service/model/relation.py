"""What was measured between a tumour's segment and that of a structure: distance, contact, what it suggests. All of it is a proposal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # `SegmentMeasurements` holds relations
    from service.model.measurement import Measurement, Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Coded answers that follow from where the segments lie, without any threshold that could be chosen otherwise."""

    #: key of an item (``ivc.segment``)
    item: str
    #: keys of ``sr_templates/codes.csv``
    values: tuple[str, ...]
    #: in words: what it rests on
    basis: str
    evidence: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Intravascular:
    """The part of a tumour that lies within the outline of a vessel: on its voxels, or in the hole that they leave."""

    #: mm3
    volume: float
    #: mm: how far it reaches in from the outline
    depth: float
    #: part of the tumour's volume, in %
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A tumour and one structure; ``refusals`` says what was not measured, and why."""

    tumour: Reference
    tumour_label: str
    structure: Reference
    label: str
    #: the series that the structure was segmented on, where it is in the study
    structure_series_instance_uid: str = ""
    #: which structure it is taken for, as in `SegmentMeasurements`: ``ves.ivc``, ``org.kidney`` …
    role: str
    #: ``v.right`` or ``v.left``; empty: not known or not sided
    laterality: str = ""
    #: shortest distance of the surfaces in mm, 0 where they touch; None: not measured
    distance: float | None = None
    #: lengths and distances are known within so many mm: half the diagonal of the larger voxel
    within: float = 0.0
    #: degrees of contact are known within so many
    angle_within: float = 0.0
    #: ``ves.distance``, ``ves.contact_area``, ``ves.contact_angle`` …: names are keys of items
    measurements: tuple[Measurement, ...] = ()
    suggestions: tuple[Suggestion, ...] = ()
    intravascular: Intravascular | None = None
    remarks: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()

    def number(self, name: str) -> Measurement | None:
        """Return the measurement that is called ``name``."""
        return next((m for m in self.measurements if m.name == name), None)
