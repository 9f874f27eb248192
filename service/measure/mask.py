"""A segment as a stack of cropped masks, each with its place, its thickness and the image below it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.measure.geometry import Array, Slabs, normal_of, parallel, slabs_of, to_patient, tolerance
from service.measure.images import Source, SourceImage
from service.read.segmentation import Frame, PlaneGeometry, Segmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSlice:
    """One slice of a segment: the part of the frame that holds it.

    ``mask`` (rows, columns) begins at ``row``, ``column`` of the frame (from 0) and has at least one voxel. ``faces`` are the depths, in
    mm along the normal of the stack, between which it stands for the tissue.
    """

    frame: int
    plane: PlaneGeometry
    depth: float
    faces: tuple[float, float]
    row: int
    column: int
    mask: NDArray[np.bool_]
    voxels: int
    image: SourceImage | None = None

    @property
    def thickness(self) -> float:
        """Return the thickness of the slab in mm."""
        return self.faces[1] - self.faces[0]

    @property
    def volume(self) -> float:
        """Return the volume in mm3."""
        return self.voxels * self.plane.spacing[0] * self.plane.spacing[1] * self.thickness

    def edge_points(self) -> tuple[Array, Array]:
        """Return columns and rows (indices in the frame, from 0) of the first and the last voxel of each row: all of its hull."""
        rows = np.flatnonzero(self.mask.any(axis=1))
        lines = self.mask[rows]
        first = lines.argmax(axis=1)
        last = lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)
        columns = np.concatenate([first, last]).astype(float) + self.column
        return columns, np.concatenate([rows, rows]).astype(float) + self.row


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentMask:
    """The slices of a segment, ascending along ``normal`` (unit length, patient coordinate system)."""

    normal: Array
    slices: tuple[MaskSlice, ...]
    unequal_spacing: bool = False
    #: slices are missing between the first and the last one
    incomplete: bool = False
    #: a frame names an image that lies elsewhere; the image in its plane was taken
    misnamed: bool = False

    @property
    def volume(self) -> float:
        """Return the volume in mm3: voxels times their volume."""
        return sum(s.volume for s in self.slices)

    @property
    def centroid(self) -> tuple[float, float, float]:
        """Return the centre of mass in the patient coordinate system, mm."""
        total, weight = np.zeros(3), 0.0
        for s in self.slices:
            by_row, by_column = s.mask.sum(axis=1), s.mask.sum(axis=0)
            row = float(by_row @ np.arange(by_row.size)) / s.voxels + s.row
            column = float(by_column @ np.arange(by_column.size)) / s.voxels + s.column
            total += s.volume * to_patient(s.plane, np.array([column]), np.array([row]))[0]
            weight += s.volume
        x, y, z = (float(v) for v in total / weight)
        return x, y, z


@dataclass(frozen=True, slots=True)
class _Part:
    frame: Frame
    plane: PlaneGeometry
    depth: float
    row: int
    column: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The stack of planes that the frames of a segmentation belong to."""

    normal: Array
    slabs: Slabs


def stack_of(segmentation: Segmentation, source: Source) -> Stack:
    """Return the stack of ``segmentation``: that of its images, where every frame lies in one of them, else its own.

    Raises
    ------
    InputError
        The frames have no place or are not parallel, or the slices have no known thickness.
    """
    planes = [f.plane for f in segmentation.frames if f.plane is not None]
    if len(planes) < len(segmentation.frames) or not planes:
        raise InputError("the segmentation does not say where its frames lie in the patient")
    normal = normal_of(planes[0])
    if not bool(parallel(np.array([normal_of(p) for p in planes]), normal).all()):
        raise InputError("the frames of the segmentation are not parallel to each other")
    own = sorted({float(d) for d in np.array([p.origin for p in planes]) @ normal})
    images = source.depths(normal)
    if images:
        slabs = slabs_of(images, segmentation.nominal_spacing, complete=True)
        if all(slabs.index(d) is not None for d in own):
            return Stack(normal=normal, slabs=slabs)
    return Stack(normal=normal, slabs=slabs_of(own, segmentation.nominal_spacing, complete=False))


def mask_of(segmentation: Segmentation, segment: int, source: Source, stack: Stack) -> SegmentMask:
    """Decode a segment.

    Parameters
    ----------
    segmentation:
        The parsed object.
    segment:
        Number of the segment.
    source:
        The images it was made on; may be empty.
    stack:
        What `stack_of` said.

    Raises
    ------
    InputError
        The segment is empty, two frames of one place differ, or a frame cannot be decoded.
    StoreUnavailable
        The file cannot be read.
    """
    found = (_part(segmentation, f, segment, stack.normal) for f in segmentation.frames_of(segment))
    parts = [p for p in found if p is not None]
    if not parts:
        raise InputError("the segment is empty: no voxel is marked")
    return _assembled(_one_per_place(parts, stack.slabs), stack, source)


def _part(segmentation: Segmentation, frame: Frame, segment: int, normal: Array) -> _Part | None:
    plane = frame.plane
    mask = segmentation.mask(frame, segment)
    rows = np.flatnonzero(mask.any(axis=1))
    if plane is None or not rows.size:
        return None
    row, end = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[row:end].any(axis=0))
    column, right = int(columns[0]), int(columns[-1]) + 1
    depth = float(normal @ np.array(plane.origin))
    return _Part(frame, plane, depth, row, column, mask[row:end, column:right].copy())


def _one_per_place(parts: list[_Part], slabs: Slabs) -> list[_Part]:
    """Return the parts ascending, each place once.

    Raises
    ------
    InputError
        Two frames of one place differ: counting both would count tissue twice, and which one holds is not known.
    """
    kept: dict[int, _Part] = {}
    for part in sorted(parts, key=lambda p: (p.depth, p.frame.index)):
        at = slabs.index(part.depth)
        if at is None:  # pragma: no cover - the slabs were made of these planes
            raise InputError("a frame of the segmentation lies outside its own stack")
        other = kept.setdefault(at, part)
        if other is part:
            continue
        same = (other.row, other.column, other.plane, other.frame.sources) == (
            part.row,
            part.column,
            part.plane,
            part.frame.sources,
        )
        if other.frame.dimensions != part.frame.dimensions:
            raise InputError("the segment has several masks in one plane (several times or parameters): none is chosen")
        if not same or not np.array_equal(other.mask, part.mask):
            raise InputError("two frames of the segment lie in one plane and differ")
    return [kept[at] for at in sorted(kept)]


def _assembled(parts: list[_Part], stack: Stack, source: Source) -> SegmentMask:
    slabs = stack.slabs
    slices, misnamed = [], False
    for part in parts:
        at = slabs.index(part.depth) or 0
        low, high = slabs.faces[at]
        image = source.image_in(part.plane, part.frame.sources, tolerance(high - low))
        named = {n.sop_instance_uid for n in part.frame.sources}
        misnamed |= image is not None and bool(named) and image.instance.sop_instance_uid not in named
        slices.append(
            MaskSlice(
                frame=part.frame.index,
                plane=part.plane,
                depth=part.depth,
                faces=(low, high),
                row=part.row,
                column=part.column,
                mask=part.mask,
                voxels=int(part.mask.sum()),
                image=image,
            )
        )
    return SegmentMask(
        normal=stack.normal,
        slices=tuple(slices),
        unequal_spacing=slabs.unequal,
        incomplete=slabs.missing_within(slices[0].depth, slices[-1].depth),
        misnamed=misnamed,
    )
