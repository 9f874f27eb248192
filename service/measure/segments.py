"""A study to measurements: every segment of every segmentation in it, each number with its method and its evidence."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from service.errors import InputError
from service.measure.attenuation import FAT_ATTENUATION_HU, LOW_ATTENUATION_HU, attenuation_of
from service.measure.geometry import plane_name, to_patient, to_pixels
from service.measure.images import OpenFile, Source, source_of
from service.measure.laterality import Side, side_of
from service.measure.lengths import Axes, Point, axes_of, extents_of, parts_of
from service.measure.mask import SegmentMask, Stack, mask_of, stack_of
from service.model.measurement import Measurement, Reference, SegmentMeasurements
from service.model.study import Instance, Study
from service.read.segmentation import FRACTION_THRESHOLD, FRACTIONAL, Segment, Segmentation, read_segmentation
from service.read.sop_classes import LABEL_MAP_SEGMENTATION, SEGMENTATION
from service.read.structures import LESIONS, Structure, is_sided, structure_of

MM, MM3, HOUNSFIELD, PERCENT = "mm", "mm3", "[hnsf'U]", "%"
_SHARE_OF_ONE = 0.999


def measure_study(study: Study, open_file: OpenFile, *, every_segment: bool = False) -> tuple[SegmentMeasurements, ...]:
    """Measure the segmentations of a study.

    Lesions (see `service.read.structures`) get long and short axis, extents, volume and, on CT, attenuation; other structures that are
    known get their volume; what is not known gets nothing. Where one segment was delivered several times (the same tracking UID on the
    same images, or without one, the same label and type in the same series) the newest object counts, by content date, content time,
    instance number and UID.

    Parameters
    ----------
    study:
        As `service.read.normalise` made it.
    open_file:
        Returns the path of an instance's file.
    every_segment:
        Measure everything on every segment, known or not.

    Returns
    -------
    tuple of SegmentMeasurements
        In the order of series, instances and segment numbers; the same for the same study.

    Raises
    ------
    StoreUnavailable
        A file cannot be read now. All that is wrong with an object stands in ``refusals``.
    """
    found: list[_Found | SegmentMeasurements] = []
    for instance in study.instances:
        if instance.sop_class_uid in {SEGMENTATION, LABEL_MAP_SEGMENTATION}:
            found.extend(_open(instance, study, open_file))
    older = _older([f for f in found if isinstance(f, _Found)])
    measured = []
    for one in found:
        if isinstance(one, SegmentMeasurements):
            measured.append(one)
        elif one.identity not in older:
            measured.append(_measured(one, open_file, everything=every_segment))
    return tuple(measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A segment, before it is measured."""

    instance: Instance
    segmentation: Segmentation
    segment: Segment
    source: Source
    #: None: its frames make no stack, and why
    stack: Stack | None
    no_stack: str
    structure: Structure
    #: which of several segments that look alike in one object it is
    ordinal: int

    @property
    def identity(self) -> tuple[str, int]:
        return self.instance.sop_instance_uid, self.segment.number

    @property
    def thing(self) -> tuple[object, ...]:
        """Return what is the same in two deliveries of one segment."""
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


def _open(instance: Instance, study: Study, open_file: OpenFile) -> list[_Found | SegmentMeasurements]:
    try:
        segmentation = read_segmentation(open_file(instance), name="the segmentation")
    except InputError as error:
        source = Reference(
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            series_instance_uid=instance.series_instance_uid,
        )
        return [SegmentMeasurements(label="", segment=0, source=source, refusals=(f"Not measured: {error}",))]
    images = source_of(segmentation, study, open_file)
    stack, no_stack = None, ""
    try:
        stack = stack_of(segmentation, images)
    except InputError as error:
        no_stack = str(error)
    seen: Counter[tuple[object, ...]] = Counter()
    found: list[_Found | SegmentMeasurements] = []
    for segment in segmentation.segments:
        key = (segment.tracking_uid,) if segment.tracking_uid else (segment.label.casefold(), segment.property_type)
        found.append(
            _Found(
                instance=instance,
                segmentation=segmentation,
                segment=segment,
                source=images,
                stack=stack,
                no_stack=no_stack,
                structure=structure_of(segment),
                ordinal=seen[key],
            )
        )
        seen[key] += 1
    return found


def _older(found: list[_Found]) -> frozenset[tuple[str, int]]:
    """Return the segments of which a newer delivery is there."""
    deliveries: dict[tuple[object, ...], list[_Found]] = defaultdict(list)
    for one in found:
        deliveries[one.thing].append(one)
    return frozenset(d.identity for same in deliveries.values() for d in sorted(same, key=lambda f: f.age)[:-1])


def _measured(one: _Found, open_file: OpenFile, *, everything: bool) -> SegmentMeasurements:
    role = one.structure.role
    work = _Work(one, open_file)
    if role or everything:
        work.measure(fully=everything or role in LESIONS)
    else:
        hint = f": {one.structure.basis}" if one.structure.basis else ""
        work.refusals.append(f"Not measured: it is not known which structure the segment is{hint}")
    side = work.side
    return SegmentMeasurements(
        label=one.segment.label,
        segment=one.segment.number,
        source=work.reference,
        image_series_instance_uid=one.source.series.series_instance_uid if one.source.series else "",
        algorithm=one.segment.algorithm,
        category=one.segment.category,
        property_type=one.segment.property_type,
        tracking_id=one.segment.tracking_id,
        tracking_uid=one.segment.tracking_uid,
        role=role,
        role_basis=one.structure.basis,
        laterality=side.side,
        laterality_basis=side.basis,
        centroid=work.centroid,
        measurements=tuple(work.measurements),
        remarks=tuple(work.remarks),
        refusals=tuple(work.refusals),
    )


class _Work:
    """Measures one segment, and keeps what came of it."""

    def __init__(self, one: _Found, open_file: OpenFile) -> None:
        self._one = one
        self._open_file = open_file
        self.reference = Reference(
            sop_class_uid=one.instance.sop_class_uid,
            sop_instance_uid=one.instance.sop_instance_uid,
            series_instance_uid=one.instance.series_instance_uid,
            segment=one.segment.number,
        )
        self.measurements: list[Measurement] = []
        self.remarks: list[str] = []
        self.refusals: list[str] = []
        self.centroid: tuple[float, float, float] | None = None
        self.side = Side(side=one.structure.laterality, basis=one.structure.laterality_basis)

    def measure(self, *, fully: bool) -> None:
        one = self._one
        if one.stack is None:
            self.refusals.append(f"Not measured: {one.no_stack}")
            return
        try:
            mask = mask_of(one.segmentation, one.segment.number, one.source, one.stack)
        except InputError as error:
            self.refusals.append(f"Not measured: {error}")
            return
        self.centroid = mask.centroid
        if not self.side.side and is_sided(self._one.structure.role):
            self.side = side_of(mask, is_ct=self._is_ct, open_file=self._open_file)
        if fully:
            self._lengths(mask)
        self._volume(mask)
        if fully and self._is_ct:
            self._try("attenuation", lambda: self._attenuation(mask))
        if fully:
            self._remark(mask)
        if self._one.segmentation.kind == FRACTIONAL:
            self.remarks.append(f"Fractional segmentation: voxels of at least {FRACTION_THRESHOLD:.0%} count")

    @property
    def _is_ct(self) -> bool:
        return self._one.source.series is not None and self._one.source.series.modality == "CT"

    def _try(self, what: str, measure: Callable[[], None]) -> None:
        try:
            measure()
        except InputError as error:
            self.refusals.append(f"No {what}: {error}")

    def _add(
        self,
        name: str,
        value: float,
        unit: str,
        method: str,
        *,
        derivation: str = "",
        threshold: float | None = None,
        evidence: Iterable[Reference] = (),
    ) -> None:
        self.measurements.append(
            Measurement(
                name=name,
                value=value,
                unit=unit,
                method=method,
                derivation=derivation,
                threshold=threshold,
                evidence=(self.reference, *evidence),
            )
        )

    def _lengths(self, mask: SegmentMask) -> None:
        plane = plane_name(mask.normal)
        axes = axes_of(mask)
        if axes is None:
            self.refusals.append("No long and short axis: the segment is one pixel in every slice")
        else:
            drawn = _Drawing(axes)
            if drawn.image is None:
                why = self._one.source.refusal or "the slice of the long axis has no image in the study"
                self.refusals.append(f"No line for long and short axis: {why}")
            elif axes.short is None:
                self.refusals.append("No short axis: the segment is one pixel wide in the slice of its long axis")
            for name, ends, method in (
                ("sz.long_axis", axes.long, f"{plane}, {drawn.where}"),
                ("sz.short_axis", axes.short, "longest perpendicular, same slice"),
            ):
                if ends is not None:
                    value, evidence = drawn.line(ends)
                    self._add(name, value, MM, method, evidence=evidence)
        if mask.incomplete:
            self.refusals.append("No extents: slices are missing inside the segment")
            self.remarks.append(
                "Slices are missing inside the segment: the long axis is the longest on those that are there"
            )
            return
        x, y, z = extents_of(mask)
        self._add("sz.height", z, MM, "craniocaudal extent of the segment")
        self._add("sz.width", x, MM, "transverse extent of the segment")
        self._add("sz.depth", y, MM, "anteroposterior extent of the segment")

    def _volume(self, mask: SegmentMask) -> None:
        if mask.incomplete:
            self.refusals.append("No volume: slices are missing inside the segment")
            return
        unequal = ", each slice by its own thickness (unequal spacing)" if mask.unequal_spacing else ""
        self._add("sz.volume", mask.volume, MM3, f"voxel count of the segment{unequal}")

    def _attenuation(self, mask: SegmentMask) -> None:
        if self._one.source.refusal:
            raise InputError(self._one.source.refusal)
        found = attenuation_of(mask, self._open_file)
        self._add("ct.hu", found.mean, HOUNSFIELD, "mean of all voxels of the segment", derivation="deriv.mean")
        self._add("ct.hu", found.sd, HOUNSFIELD, "SD of all voxels of the segment", derivation="deriv.sd")
        for name, share, limit in (
            ("ms.low_att_fraction", found.low, LOW_ATTENUATION_HU),
            ("ms.fat_att_fraction", found.fat, FAT_ATTENUATION_HU),
        ):
            self._add(name, share, PERCENT, f"part of the segment below {limit:.0f} HU", threshold=limit)
        if found.padding:
            self.remarks.append(
                f"{found.padding} voxels of the segment are padding in the images and count for no attenuation"
            )

    def _remark(self, mask: SegmentMask) -> None:
        count, largest = parts_of(mask)
        if count > 1:
            share = f"{100 * min(largest, _SHARE_OF_ONE):.1f}"
            self.remarks.append(
                f"The segment is in {count} separate parts, the largest holds {share} % of it: axes are of one part, "
                "extents and volume of all"
            )
        if mask.misnamed:
            self.remarks.append(
                "Frames of the segmentation name images that lie elsewhere: the images in their planes were taken"
            )


class _Drawing:
    """Lines of a segment on the image below it; where there is none, only their length."""

    def __init__(self, axes: Axes) -> None:
        self._slice = axes.slice
        self.image = axes.slice.image

    @property
    def where(self) -> str:
        """Return the place of the slice in words: the image that a reader finds it on."""
        if self.image is None:
            return "longest diameter in one slice"
        if self.image.frame is not None:
            return f"frame {self.image.frame + 1}"
        number = next(iter(self.image.instance.numbers("InstanceNumber")), None)
        return "longest diameter in one slice" if number is None else f"image {number:.0f}"

    def line(self, ends: tuple[Point, Point]) -> tuple[float, tuple[Reference, ...]]:
        """Return the length in mm, and the line in image coordinates (PS3.3 C.18.6.1.1).

        The length is that of the very points that are drawn, since viewers compute it from them.
        """
        columns, rows = (np.array(v) for v in zip(*ends, strict=True))
        plane = self._slice.plane
        if self.image is None:
            return _length(plane.spacing, tuple(zip(columns, rows, strict=True))), ()
        columns, rows = to_pixels(self.image.plane, to_patient(plane, columns, rows))
        points = tuple((round(float(c) + 0.5, 2), round(float(r) + 0.5, 2)) for c, r in zip(columns, rows, strict=True))
        instance = self.image.instance
        reference = Reference(
            sop_class_uid=instance.sop_class_uid,
            sop_instance_uid=instance.sop_instance_uid,
            series_instance_uid=instance.series_instance_uid,
            frames=() if self.image.frame is None else (self.image.frame + 1,),
            points=points,
        )
        return _length(self.image.plane.spacing, points), (reference,)


def _length(spacing: tuple[float, float], points: tuple[Point, ...]) -> float:
    (x1, y1), (x2, y2) = points
    return math.hypot((x2 - x1) * spacing[1], (y2 - y1) * spacing[0])
