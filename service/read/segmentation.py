"""A DICOM Segmentation (PS3.3 A.51, C.8.20) as masks with their geometry: parsed once, decoded frame by frame when asked."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.model.code import Code
from service.read.functional_groups import groups_of
from service.read.part10 import Item
from service.read.pixels import PixelData, open_pixels

Vector = tuple[float, float, float]

BINARY, FRACTIONAL, LABELMAP = "BINARY", "FRACTIONAL", "LABELMAP"
#: a voxel of a fractional segmentation counts when its fraction is at least this
FRACTION_THRESHOLD = 0.5

_MOST_FRAMES = 100_000
_UNIT_TOLERANCE = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One item of Segment Sequence (0062,0002)."""

    number: int
    label: str = ""
    description: str = ""
    category: Code | None = None
    property_type: Code | None = None
    modifiers: tuple[Code, ...] = ()
    anatomic_region: Code | None = None
    tracking_id: str = ""
    tracking_uid: str = ""
    #: MANUAL, SEMIAUTOMATIC or AUTOMATIC, with the name of the algorithm where one is given
    algorithm: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """A source image that a frame names."""

    sop_instance_uid: str
    #: Referenced Frame Number (0008,1160); empty: the whole image
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneGeometry:
    """Where a frame's pixels lie, in the patient coordinate system in mm, LPS (PS3.3 C.7.6.2.1.1).

    ``along_row`` points from pixel to pixel of a row (increasing column), ``along_column`` from row to row; both have length 1.
    ``spacing`` is Pixel Spacing (0028,0030): between rows, then between columns.
    """

    origin: Vector
    along_row: Vector
    along_column: Vector
    spacing: tuple[float, float]
    rows: int
    columns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame; ``segment`` is None for a label map, whose values name segments."""

    index: int
    segment: int | None
    #: None where position, orientation or spacing is missing or impossible
    plane: PlaneGeometry | None
    sources: tuple[ImageReference, ...] = ()
    #: further dimensions than position and segment (time, b-value …); frames of one place that differ here are not one mask
    dimensions: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Segmentation:
    """A parsed segmentation; masks are decoded when asked for."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    kind: str
    frame_of_reference_uid: str
    segments: tuple[Segment, ...]
    frames: tuple[Frame, ...]
    #: Spacing Between Slices (0018,0088), else Slice Thickness (0018,0050), in mm; None where neither is given
    nominal_spacing: float | None
    #: Referenced Series Sequence (0008,1115): series, and instances in them
    referenced_series: tuple[str, ...] = ()
    referenced_instances: tuple[str, ...] = ()
    maximum_fraction: int = 255
    _pixels: PixelData

    def mask(self, frame: Frame, segment: int) -> NDArray[np.bool_]:
        """Return where ``segment`` is in ``frame``, shape (rows, columns).

        Raises
        ------
        InputError
            The frame cannot be decoded, or holds fractions above its maximum.
        StoreUnavailable
            The file cannot be read.
        """
        values: NDArray[Any] = self._pixels.frame(frame.index)
        if self.kind == LABELMAP:
            return np.asarray(values == segment, bool)
        if self.kind == FRACTIONAL and self._pixels.bits_allocated > 1:
            if int(values.max(initial=0)) > self.maximum_fraction:
                msg = f"{self._pixels.name} holds fractions above its maximum of {self.maximum_fraction}"
                raise InputError(msg)
            return np.asarray(values >= FRACTION_THRESHOLD * self.maximum_fraction, bool)
        return np.asarray(values != 0, bool)

    def frames_of(self, segment: int) -> tuple[Frame, ...]:
        """Return the frames that may hold ``segment``."""
        return tuple(f for f in self.frames if f.segment in {None, segment})


def read_segmentation(path: Path, *, name: str) -> Segmentation:
    """Parse a segmentation without decoding it.

    Parameters
    ----------
    path:
        A DICOM file (PS3.10).
    name:
        What error messages call it.

    Returns
    -------
    Segmentation
        Frames in the order of the file.

    Raises
    ------
    InputError
        No segmentation, or one of a type that is not read; a frame too many or too few.
    StoreUnavailable
        The file cannot be read.
    """
    dataset, pixels = open_pixels(path, name=name)
    kind = dataset.text("SegmentationType").upper()
    if kind not in {BINARY, FRACTIONAL, LABELMAP}:
        msg = f"{name} is no segmentation that can be read: Segmentation Type (0062,0001) is {kind or 'missing'}"
        raise InputError(msg)
    shared = dataset.item("SharedFunctionalGroupsSequence")
    groups = groups_of(dataset)
    if not len(groups) == pixels.frames <= _MOST_FRAMES:
        msg = f"{name} describes {len(groups)} frames and has {pixels.frames}"
        raise InputError(msg)
    pointers = _further_dimensions(dataset)
    reader = _FrameReader(shared, pixels, pointers, labelled=kind == LABELMAP)
    series = dataset.items("ReferencedSeriesSequence")
    return Segmentation(
        sop_class_uid=dataset.text("SOPClassUID"),
        sop_instance_uid=dataset.text("SOPInstanceUID"),
        series_instance_uid=dataset.text("SeriesInstanceUID"),
        kind=kind,
        frame_of_reference_uid=dataset.text("FrameOfReferenceUID"),
        segments=_segments(dataset, name),
        frames=tuple(reader.frame(i, g) for i, g in enumerate(groups)),
        nominal_spacing=_nominal_spacing(shared, groups),
        referenced_series=tuple(s.text("SeriesInstanceUID") for s in series),
        referenced_instances=tuple(
            i.text("ReferencedSOPInstanceUID") for s in series for i in s.items("ReferencedInstanceSequence")
        ),
        maximum_fraction=dataset.integer("MaximumFractionalValue") or 255,
        _pixels=pixels,
    )


def _segments(dataset: Item, name: str) -> tuple[Segment, ...]:
    found: dict[int, Segment] = {}
    for item in dataset.items("SegmentSequence"):
        number = item.integer("SegmentNumber")
        if number is None or number in found:
            msg = f"{name} has a segment without a number of its own"
            raise InputError(msg)
        algorithm = [item.text("SegmentAlgorithmType"), item.text("SegmentAlgorithmName")]
        property_type = item.item("SegmentedPropertyTypeCodeSequence")
        regions = item.item("AnatomicRegionSequence")
        found[number] = Segment(
            number=number,
            label=item.text("SegmentLabel"),
            description=item.text("SegmentDescription"),
            category=item.code("SegmentedPropertyCategoryCodeSequence"),
            property_type=item.code("SegmentedPropertyTypeCodeSequence"),
            modifiers=(
                *property_type.codes("SegmentedPropertyTypeModifierCodeSequence"),
                *regions.codes("AnatomicRegionModifierSequence"),
            ),
            anatomic_region=item.code("AnatomicRegionSequence"),
            tracking_id=item.text("TrackingID"),
            tracking_uid=item.text("TrackingUID"),
            algorithm=": ".join(a for a in algorithm if a),
        )
    return tuple(found[n] for n in sorted(found))


def _nominal_spacing(shared: Item, groups: tuple[Item, ...]) -> float | None:
    for item in (shared, *groups[:1]):
        measures = item.item("PixelMeasuresSequence")
        for keyword in ("SpacingBetweenSlices", "SliceThickness"):
            value = measures.number(keyword)
            if value is not None and value > 0:
                return value
    return None


#: dimension index pointers that say where a frame lies or which segment it is, not what else it is
_PLACE = frozenset(
    {
        "0062000B",  # Referenced Segment Number
        "00200032",  # Image Position (Patient)
        "00209057",  # In-Stack Position Number
        "00209056",  # Stack ID
        "00201041",  # Slice Location
        "00200037",  # Image Orientation (Patient)
        "00081155",  # Referenced SOP Instance UID
    }
)


def _further_dimensions(dataset: Item) -> tuple[int, ...]:
    """Return the positions, in Dimension Index Values, of dimensions that are neither place nor segment."""
    pointers = [item.text("DimensionIndexPointer") for item in dataset.items("DimensionIndexSequence")]
    return tuple(i for i, pointer in enumerate(pointers) if pointer not in _PLACE)


@dataclass(frozen=True, slots=True)
class _FrameReader:
    shared: Item
    pixels: PixelData
    pointers: tuple[int, ...]
    labelled: bool

    def frame(self, index: int, group: Item) -> Frame:
        identification = self._group(group, "SegmentIdentificationSequence")
        number = identification.integer("ReferencedSegmentNumber")
        values = group.item("FrameContentSequence").texts("DimensionIndexValues") if self.pointers else ()
        return Frame(
            index=index,
            # a frame that names no segment belongs to none: 0 is never a segment's number
            segment=None if self.labelled else number or 0,
            plane=self._plane(group),
            sources=tuple(self._sources(group)),
            dimensions=tuple(values[i] for i in self.pointers if i < len(values)),
        )

    def _group(self, group: Item, keyword: str) -> Item:
        return group.item(keyword) if keyword in group else self.shared.item(keyword)

    def _plane(self, group: Item) -> PlaneGeometry | None:
        return plane_of(
            position=self._group(group, "PlanePositionSequence").numbers("ImagePositionPatient"),
            orientation=self._group(group, "PlaneOrientationSequence").numbers("ImageOrientationPatient"),
            spacing=self._group(group, "PixelMeasuresSequence").numbers("PixelSpacing"),
            rows=self.pixels.rows,
            columns=self.pixels.columns,
        )

    def _sources(self, group: Item) -> list[ImageReference]:
        derivations = (*group.items("DerivationImageSequence"), *self.shared.items("DerivationImageSequence"))
        return [
            ImageReference(
                sop_instance_uid=source.text("ReferencedSOPInstanceUID"),
                frames=tuple(int(n) for n in source.numbers("ReferencedFrameNumber")),
            )
            for derivation in derivations
            for source in derivation.items("SourceImageSequence")
        ]


def plane_of(
    *,
    position: tuple[float, ...],
    orientation: tuple[float, ...],
    spacing: tuple[float, ...],
    rows: int,
    columns: int,
) -> PlaneGeometry | None:
    """Return the geometry that the elements describe, or None where one is missing or impossible.

    Impossible are spacings that are not positive, and direction cosines that are not of length 1 or not perpendicular (one in a
    hundred is let pass and mended).
    """
    if (len(position), len(orientation), len(spacing)) != (3, 6, 2) or min(spacing) <= 0:
        return None
    axes = _axes(orientation)
    if axes is None:
        return None
    return PlaneGeometry(
        origin=_vector(position),
        along_row=axes[0],
        along_column=axes[1],
        spacing=(spacing[0], spacing[1]),
        rows=rows,
        columns=columns,
    )


@functools.lru_cache(maxsize=64)
def _axes(orientation: tuple[float, ...]) -> tuple[Vector, Vector] | None:
    # thousands of frames share a handful of orientations
    along_row, along_column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm(along_row), np.linalg.norm(along_column)
    if max(abs(length - 1) for length in lengths) > _UNIT_TOLERANCE or abs(along_row @ along_column) > _UNIT_TOLERANCE:
        return None
    along_row /= lengths[0]
    along_column -= (along_column @ along_row) * along_row
    along_column /= np.linalg.norm(along_column)
    return _vector(along_row), _vector(along_column)


def _vector(values: NDArray[np.float64] | tuple[float, ...]) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z
