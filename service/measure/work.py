"""Measures one segment or ROI, and keeps what came of it: numbers, what must be known beside them, what was refused and why."""

from __future__ import annotations

import math

import numpy as np

from service.errors import InputError
from service.measure.geometry import plane_name, to_patient, to_pixels
from service.measure.laterality import Side, side_of
from service.measure.lengths import Axes, Point, axes_of, extents_of, parts_of
from service.measure.mask import SegmentMask
from service.measure.mesh import largest_diameter, mesh_volume
from service.measure.regions import Region
from service.measure.statistics import Statistics
from service.measure.values import ImageValues
from service.model.measurement import Measurement, Reference
from service.model.study import Study
from service.read.structures import is_sided
from service.settings import Measuring

MM, MM3 = "mm", "mm3"
_SHARE_OF_ONE = 0.999
#: part of the pixel spacing by which rows and columns may differ and still be called equal
_SQUARE = 1e-3
#: degrees between the line along which images are stacked and their normal, from which a stack is tilted
_TILTED = 1.0


class Work:
    """Measures one region."""

    def __init__(self, one: Region, study: Study, values: ImageValues, measuring: Measuring) -> None:
        self._one = one
        self._study = study
        self._values = values
        self._measuring = measuring
        self.reference = one.reference
        self.measurements: list[Measurement] = []
        self.on_other_series: list[Measurement] = []
        self.remarks: list[str] = list(one.remarks)
        self.refusals: list[str] = []
        self.mask: SegmentMask | None = None
        self.side = Side(side=one.structure.laterality, basis=one.structure.laterality_basis)

    def measure(self, *, fully: bool) -> None:
        """Measure: everything, or the volume alone."""
        one = self._one
        try:
            mask = one.decode()
        except InputError as error:
            self.refusals.append(f"Not measured: {error}")
            return
        self.mask = mask
        modality = one.source.series.modality if one.source.series is not None else ""
        if not self.side.side and is_sided(one.structure.role):
            self.side = side_of(mask, is_ct=modality == "CT", values=self._values)
        if fully:
            self._lengths(mask)
        self._volume(mask, fully=fully)
        if fully:
            statistics = Statistics(one, mask, self._study, self._values, self._measuring, self._line)
            self.measurements += statistics.measurements
            self.on_other_series += statistics.on_other_series
            self.refusals += statistics.refusals
            self.remarks += statistics.remarks
            self._remark(mask)

    def _add(self, name: str, value: float, unit: str, method: str, *evidence: Reference) -> None:
        self.measurements.append(
            Measurement(name=name, value=value, unit=unit, method=method, evidence=(self.reference, *evidence))
        )

    @property
    def _line(self) -> Reference | None:
        """Return the image of the long axis, where there is one."""
        lines = (e for m in self.measurements if m.name == "sz.long_axis" for e in m.evidence if e.points)
        return next(lines, None)

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
                    self._add(name, value, MM, method, *evidence)
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
        self._add("sz.max3d", largest_diameter(mask), MM, "largest distance on the surface, in any direction")

    def _volume(self, mask: SegmentMask, *, fully: bool) -> None:
        if mask.incomplete:
            self.refusals.append("No volume: slices are missing inside the segment")
            return
        unequal = ", each slice by its own thickness (unequal spacing)" if mask.unequal_spacing else ""
        self._add("sz.volume", mask.volume, MM3, f"voxel count of the {self._one.kind.value}{unequal}")
        if fully:
            self._add("sz.vol_mesh", mesh_volume(mask), MM3, "volume inside the surface (marching cubes)")

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
        rows, columns = mask.slices[0].plane.spacing
        if abs(rows - columns) > _SQUARE * max(rows, columns):
            self.remarks.append(
                f"The pixels are not square ({rows:.2f} mm between rows, {columns:.2f} mm between columns): "
                "lengths are in mm along both"
            )
        if (tilt := _tilt(mask)) > _TILTED:
            self.remarks.append(
                f"The stack of slices is tilted by {tilt:.0f} degrees against their normal (gantry tilt): "
                "distances between slices are taken along the normal"
            )


def _tilt(mask: SegmentMask) -> float:
    """Return the angle in degrees between the line through the origins of the slices and their normal."""
    way = np.array(mask.slices[-1].plane.origin) - np.array(mask.slices[0].plane.origin)
    length = float(np.linalg.norm(way))
    if length <= 0:
        return 0.0
    return math.degrees(math.acos(min(1.0, abs(float(way @ mask.normal)) / length)))


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
