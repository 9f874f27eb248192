"""What a study has to measure: every segment of every segmentation and every ROI of every structure set, before it is measured."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

from service.errors import InputError
from service.measure.contours import contours_on, grid_of
from service.measure.images import OpenFile, Source, source_of
from service.measure.mask import SegmentMask, mask_of, stack_of
from service.model.measurement import Reference, RegionKind, SegmentMeasurements
from service.model.study import Instance, Study
from service.read.segmentation import FRACTION_THRESHOLD, FRACTIONAL, Segment, read_segmentation
from service.read.sop_classes import LABEL_MAP_SEGMENTATION, RT_STRUCTURE_SET, SEGMENTATION
from service.read.structure_set import Roi, read_structure_set
from service.read.structures import Structure, structure_of

#: RT ROI Interpreted Type (3006,00A4) of what is no tissue: planning volumes, and things beside the patient
_NO_TISSUE = frozenset(
    {
        "AVOIDANCE", "BOLUS", "CONTROL", "CTV", "DOSE_REGION", "EXTERNAL", "FIXATION", "IRRAD_VOLUME", "ISOCENTER", "MARKER", "PTV",
        "REGISTRATION", "SUPPORT", "TREATED_VOLUME",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A segment or an ROI, before it is measured."""

    instance: Instance
    kind: RegionKind
    segment: Segment
    source: Source
    structure: Structure
    #: returns its mask; raises `InputError` where there is none
    decode: Callable[[], SegmentMask]
    #: the space that it lies in; empty where its object does not say
    frame_of_reference_uid: str = ""
    #: what a reader must know of every number of it
    remarks: tuple[str, ...] = ()
    #: which of several that look alike in one object it is
    ordinal: int

    @property
    def reference(self) -> Reference:
        """Return a pointer to the segment or ROI."""
        whole = self.instance.reference
        if self.kind is RegionKind.ROI:
            return replace(whole, roi=self.segment.number, roi_name=self.segment.label)
        return replace(whole, segment=self.segment.number)

    @property
    def identity(self) -> tuple[str, int]:
        """Return what no other region is called."""
        return self.instance.sop_instance_uid, self.segment.number

    @property
    def thing(self) -> tuple[object, ...]:
        """Return what is the same in two deliveries of one region."""
        images = self.source.series.series_instance_uid if self.source.series else ""
        if self.segment.tracking_uid:
            return "tracked", self.segment.tracking_uid, images, self.ordinal
        kind = self.segment.property_type
        code = (kind.scheme, kind.value) if kind else ()
        return "labelled", self.instance.series_instance_uid, images, self.segment.label.casefold(), code, self.ordinal

    @property
    def age(self) -> tuple[str, str, int, str]:
        """Return what sorts deliveries from old to new."""
        number = next(iter(self.instance.numbers("InstanceNumber")), 0.0)
        time = next(iter(self.instance.own.get("ContentTime", ())), "")
        return self.instance.header.text("ContentDate"), time, int(number), self.instance.sop_instance_uid


Found = Region | SegmentMeasurements
"""A region, or an object that cannot be read: its refusal."""


def regions_of(study: Study, open_file: OpenFile, *, names: str = "") -> list[Found]:
    """Return what the objects of a study mark, in the order of series, instances and numbers.

    Of a region that was delivered several times the newest counts, by content date, content time, instance number and UID.

    Parameters
    ----------
    study, open_file:
        As for `service.measure.segments.measure_study`.
    names:
        As for `service.read.structures.structure_of`.
    """
    found: list[Found] = []
    for instance in study.instances:
        try:
            if instance.sop_class_uid in {SEGMENTATION, LABEL_MAP_SEGMENTATION}:
                found.extend(_segments(instance, study, open_file, names))
            elif instance.sop_class_uid == RT_STRUCTURE_SET:
                found.extend(_rois(instance, study, open_file, names))
        except InputError as error:
            refusal = f"Not measured: {error}"
            kind = RegionKind.ROI if instance.sop_class_uid == RT_STRUCTURE_SET else RegionKind.SEGMENT
            found.append(
                SegmentMeasurements(label="", segment=0, source=instance.reference, kind=kind, refusals=(refusal,))
            )
    older = _older([f for f in found if isinstance(f, Region)])
    return [f for f in found if not isinstance(f, Region) or f.identity not in older]


def _older(found: list[Region]) -> frozenset[tuple[str, int]]:
    """Return the regions of which a newer delivery is there."""
    deliveries: dict[tuple[object, ...], list[Region]] = defaultdict(list)
    for one in found:
        deliveries[one.thing].append(one)
    return frozenset(d.identity for same in deliveries.values() for d in sorted(same, key=lambda f: f.age)[:-1])


def _segments(instance: Instance, study: Study, open_file: OpenFile, names: str) -> list[Region]:
    segmentation = read_segmentation(open_file(instance), name="the segmentation")
    images = source_of(segmentation, study, open_file)
    stack, no_stack = None, ""
    try:
        stack = stack_of(segmentation, images)
    except InputError as error:
        no_stack = str(error)
    fractional = f"Fractional segmentation: voxels of at least {FRACTION_THRESHOLD:.0%} count"
    remarks = (fractional,) if segmentation.kind == FRACTIONAL else ()

    def decoder(number: int) -> Callable[[], SegmentMask]:
        def decode() -> SegmentMask:
            if stack is None:
                raise InputError(no_stack)
            return mask_of(segmentation, number, images, stack)

        return decode

    return [
        Region(
            instance=instance,
            kind=RegionKind.SEGMENT,
            segment=segment,
            source=images,
            structure=structure_of(segment, names),
            decode=decoder(segment.number),
            frame_of_reference_uid=segmentation.frame_of_reference_uid,
            remarks=remarks,
            ordinal=ordinal,
        )
        for segment, ordinal in _numbered(segmentation.segments)
    ]


def _numbered(segments: tuple[Segment, ...]) -> list[tuple[Segment, int]]:
    seen: Counter[tuple[object, ...]] = Counter()
    found = []
    for segment in segments:
        key = (segment.tracking_uid,) if segment.tracking_uid else (segment.label.casefold(), segment.property_type)
        found.append((segment, seen[key]))
        seen[key] += 1
    return found


def _rois(instance: Instance, study: Study, open_file: OpenFile, names: str) -> list[Region]:
    structures = read_structure_set(open_file(instance), name="the structure set")
    segments = tuple(_as_segment(r) for r in structures.rois)
    found = []
    for roi, (segment, ordinal) in zip(structures.rois, _numbered(segments), strict=True):
        grid = grid_of(structures, roi, study, open_file)
        found.append(
            Region(
                instance=instance,
                kind=RegionKind.ROI,
                segment=segment,
                source=grid.source,
                structure=_structure(roi, segment, names),
                decode=lambda roi=roi, grid=grid: contours_on(roi, grid),  # type: ignore[misc]
                frame_of_reference_uid=roi.frame_of_reference_uid,
                remarks=grid.remarks,
                ordinal=ordinal,
            )
        )
    return found


def _as_segment(roi: Roi) -> Segment:
    return Segment(
        number=roi.number,
        label=roi.name,
        description=roi.description or roi.observation_label,
        property_type=roi.code,
        algorithm=roi.algorithm,
    )


def _structure(roi: Roi, segment: Segment, names: str) -> Structure:
    if roi.interpreted_type in _NO_TISSUE:
        return Structure(basis=f"its interpreted type is {roi.interpreted_type}, which is no tissue")
    found = structure_of(segment, names)
    if roi.interpreted_type.startswith("GTV") and roi.code is None:
        if found.role and found.role not in {"tumour", "metastasis", "node"}:
            return Structure(basis=f"its interpreted type is GTV, {found.basis} says otherwise")
        if not found.role:
            return Structure(
                role="tumour",
                basis="the interpreted type GTV",
                laterality=found.laterality,
                laterality_basis=found.laterality_basis,
            )
    return found
