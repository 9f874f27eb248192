"""Contours of a structure set to a mask on the pixels of the images that they were drawn on (PS3.3 C.8.8.6).

A pixel belongs to the ROI when its centre lies inside an odd number of the closed contours in its plane: so an inner contour is a hole,
a contour within a hole is an island, and a keyhole (out and back along one channel) needs no care. Contours that cross each other say
nothing certain, and are refused.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.measure.geometry import Array, Slabs, normal_of, slabs_of, to_pixels, tolerance
from service.measure.images import OpenFile, Source, SourceImage, images_of
from service.measure.mask import MaskSlice, SegmentMask
from service.model.study import Series, Study
from service.read.segmentation import PlaneGeometry
from service.read.structure_set import CLOSED, POINT, Contour, Roi, StructureSet

#: corners of an area
_FEWEST = 3
#: part of a pixel, around the borders of the image, that a contour may reach
_BORDER = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The images whose pixels an ROI is marked on; ``refusal`` says why there are none."""

    source: Source
    #: of ``source``, or of one of several series that fit: then nothing is said to lie on an image
    images: tuple[SourceImage, ...] = ()
    refusal: str = ""
    remarks: tuple[str, ...] = ()


def grid_of(structures: StructureSet, roi: Roi, study: Study, open_file: OpenFile) -> Grid:
    """Return the images that ``roi`` was drawn on.

    The images that its contours name decide, then the series that the structure set names, in this study and in the frame of reference
    of the ROI; where both dangle, the series of that frame of reference in whose planes the contours lie.

    Raises
    ------
    StoreUnavailable
        A file cannot be read now.
    """
    frame = roi.frame_of_reference_uid
    named = _named(structures, roi, study)
    if named is not None:
        theirs = named.header.text("FrameOfReferenceUID")
        if frame and theirs and frame != theirs:
            return _none("the ROI has another frame of reference than the images it was drawn on")
        images = images_of(named, open_file)
        if not images:
            return _none("the images that the ROI was drawn on have no position in the patient")
        return Grid(source=Source(series=named, images=images), images=images)
    if structures.referenced_studies and study.study_instance_uid not in structures.referenced_studies:
        return _none("the ROI was drawn on another study")
    fitting = [
        (series, images)
        for series in study.images
        if frame and series.header.text("FrameOfReferenceUID") == frame and (images := images_of(series, open_file))
        if _in_planes(roi, images)
    ]
    if not fitting:
        return _none("the images that the ROI was drawn on are not in this study")
    series, images = fitting[0]
    if len(fitting) == 1:
        said = "The images that the contours name are not in the study: the series in whose planes they lie was taken"
        return Grid(source=Source(series=series, images=images), images=images, remarks=(said,))
    refusal = f"the ROI names no images of this study, and {len(fitting)} series lie in its planes"
    return Grid(source=Source(refusal=refusal), images=max((i for _, i in fitting), key=_resolution))


def _none(refusal: str) -> Grid:
    return Grid(source=Source(refusal=refusal), refusal=refusal)


def _resolution(images: tuple[SourceImage, ...]) -> float:
    rows, columns = images[0].plane.spacing
    return -rows * columns


def _named(structures: StructureSet, roi: Roi, study: Study) -> Series | None:
    by_instance = {i.sop_instance_uid: s.series_instance_uid for s in study.images for i in s.instances}
    by_uid = {s.series_instance_uid: s for s in study.images}
    votes = Counter(by_instance[uid] for c in roi.contours for uid in c.images if uid in by_instance)
    votes = votes or Counter(uid for uid in structures.referenced_series if uid in by_uid)
    return by_uid[min(votes, key=lambda uid: (-votes[uid], uid))] if votes else None


def _in_planes(roi: Roi, images: tuple[SourceImage, ...]) -> bool:
    """Say whether every contour lies in the plane of one of the images."""
    normal = normal_of(images[0].plane)
    depths = np.array(Source(images=images).depths(normal))
    if not depths.size:
        return False
    near = tolerance(float(np.median(np.diff(np.sort(depths)))) if depths.size > 1 else 1.0)
    found = [c.points @ normal for c in roi.contours if c.points.size]
    return bool(found) and all(float(np.abs(f[:, None] - depths).min(axis=1).max()) <= near for f in found)


def contours_on(roi: Roi, grid: Grid) -> SegmentMask:
    """Return the mask of ``roi``.

    Raises
    ------
    InputError
        There are no images to mark it on, or its contours are open, damaged, not in planes, cross each other or reach beyond the images.
    """
    if grid.refusal:
        raise InputError(grid.refusal)
    closed = _closed(roi)
    normal = normal_of(grid.images[0].plane)
    source = Source(images=grid.images)
    image_slabs = slabs_of(source.depths(normal), None, complete=True)
    near = min(tolerance(high - low) for low, high in image_slabs.faces)
    planes = _planes(closed, normal, near)
    slabs, incomplete = _slabs(sorted(planes), image_slabs)
    slices = []
    for index, depth in enumerate(sorted(planes)):
        image = _image_at(source, normal, depth, near)
        plane = image.plane if image is not None else _moved(grid.images[0].plane, normal, depth)
        at = slabs.index(depth)
        if at is None:  # pragma: no cover - the slabs were made of these planes
            raise InputError("a contour lies outside its own stack")
        found = _slice(index, plane, depth, slabs.faces[at], _marked(planes[depth], plane), image)
        if found is not None:
            slices.append(found)
    if not slices:
        raise InputError("the contours are smaller than a pixel of the images: no pixel's centre is inside")
    if not grid.source.images:
        slices = [_without_image(s) for s in slices]
    return SegmentMask(normal=normal, slices=tuple(slices), unequal_spacing=slabs.unequal, incomplete=incomplete)


def _closed(roi: Roi) -> list[Contour]:
    """Return the contours that enclose an area, each once."""
    if not roi.contours:
        raise InputError("the ROI has no contour")
    for number, contour in enumerate(roi.contours, start=1):
        if contour.fault:
            msg = f"contour {number} is damaged: {contour.fault}"
            raise InputError(msg)
    # a contour of one or two points marks nothing, whatever it is called
    areas = [c for c in roi.contours if c.kind != POINT and c.points.shape[0] >= _FEWEST]
    strange = sorted({c.kind or "missing" for c in areas if c.kind not in CLOSED})
    if strange:
        msg = f"the ROI has contours that are not closed ({', '.join(strange)}): they enclose nothing"
        raise InputError(msg)
    if not areas:
        raise InputError("the ROI has points only: they enclose nothing")
    seen: dict[bytes, Contour] = {}
    for contour in areas:
        seen.setdefault(contour.points.tobytes(), contour)
    return list(seen.values())


def _planes(contours: list[Contour], normal: Array, near: float) -> dict[float, list[Contour]]:
    """Return the contours of each plane, by its depth."""
    planes: dict[float, list[Contour]] = defaultdict(list)
    for contour in contours:
        depths = contour.points @ normal
        depth = float(np.median(depths))
        if float(np.abs(depths - depth).max()) > near:
            raise InputError("the contours do not lie in the planes of the images")
        known = next((d for d in planes if abs(d - depth) <= near), depth)
        planes[known].append(contour)
    return dict(planes)


def _slabs(depths: list[float], images: Slabs) -> tuple[Slabs, bool]:
    """Return how thick the planes of contours are, and whether planes are missing between them.

    Contours on each image have the slabs of the images; those on every second or third image, or between the images, slabs of their own.
    """
    at = [images.index(d) for d in depths]
    steps = {b - a for a, b in pairwise(at) if a is not None and b is not None}
    if None not in at and steps <= {1}:
        return images, images.missing_within(depths[0], depths[-1])
    if None in at or len(steps) == 1:
        gaps = [b - a for a, b in pairwise(depths)]
        if gaps and max(gaps) - min(gaps) <= 2 * tolerance(min(gaps)):
            return slabs_of(depths, None, complete=True), False
        if not gaps:
            usual = float(np.median([high - low for low, high in images.faces]))
            return slabs_of(depths, usual, complete=True), False
        return slabs_of(depths, min(gaps), complete=False), True
    return images, True


def _image_at(source: Source, normal: Array, depth: float, near: float) -> SourceImage | None:
    found = [i for i, d in source.placed(normal) if abs(d - depth) <= near]
    return found[0] if len(found) == 1 else None


def _moved(plane: PlaneGeometry, normal: Array, depth: float) -> PlaneGeometry:
    """Return the plane parallel to ``plane`` at ``depth``."""
    origin = np.array(plane.origin)
    x, y, z = (float(v) for v in origin + (depth - float(normal @ origin)) * normal)
    return PlaneGeometry(
        origin=(x, y, z),
        along_row=plane.along_row,
        along_column=plane.along_column,
        spacing=plane.spacing,
        rows=plane.rows,
        columns=plane.columns,
    )


def _marked(contours: list[Contour], plane: PlaneGeometry) -> NDArray[np.bool_]:
    masks = []
    for contour in contours:
        columns, rows = to_pixels(plane, contour.points)
        edge = -0.5 - _BORDER
        if min(columns.min(), rows.min()) < edge or (
            columns.max() > plane.columns - 1 - edge or rows.max() > plane.rows - 1 - edge
        ):
            raise InputError("the ROI reaches beyond the images")
        masks.append(inside(columns, rows, (plane.rows, plane.columns)))
    for one, other in combinations(masks, 2):
        both = one & other
        if both.any() and not (np.array_equal(both, one) or np.array_equal(both, other)):
            raise InputError("contours of the ROI cross each other in one plane: what is inside is not certain")
    return np.asarray(np.logical_xor.reduce(masks), bool)


def inside(columns: Array, rows: Array, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return which pixel centres lie inside a closed polygon, by the even-odd rule.

    Parameters
    ----------
    columns, rows:
        Corners, in pixel indices from 0 at pixel centres; the last one is joined to the first.
    shape:
        Rows and columns of the result.
    """
    height, width = shape
    x1, y1 = columns, rows
    x2, y2 = np.roll(columns, -1), np.roll(rows, -1)
    # a row is crossed by an edge that has one end above it and the other on or below it: no corner counts twice
    first = np.clip(np.ceil(np.minimum(y1, y2)), 0, height).astype(int)
    last = np.clip(np.ceil(np.maximum(y1, y2)), 0, height).astype(int)
    counts = last - first
    edges = np.repeat(np.arange(counts.size), counts)
    crossed = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[edges]
    slope = (x2[edges] - x1[edges]) / (y2[edges] - y1[edges])
    at = np.clip(np.ceil(x1[edges] + (crossed - y1[edges]) * slope), 0, width).astype(int)
    toggles = np.zeros((height, width + 1), np.int32)
    np.add.at(toggles, (crossed, at), 1)
    return np.asarray(np.cumsum(toggles, axis=1)[:, :width] % 2 == 1)


def _slice(
    index: int,
    plane: PlaneGeometry,
    depth: float,
    faces: tuple[float, float],
    marked: NDArray[np.bool_],
    image: SourceImage | None,
) -> MaskSlice | None:
    rows = np.flatnonzero(marked.any(axis=1))
    if not rows.size:
        return None
    columns = np.flatnonzero(marked.any(axis=0))
    part = marked[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()
    return MaskSlice(
        frame=index,
        plane=plane,
        depth=depth,
        faces=faces,
        row=int(rows[0]),
        column=int(columns[0]),
        mask=part,
        voxels=int(part.sum()),
        image=image,
    )


def _without_image(s: MaskSlice) -> MaskSlice:
    return MaskSlice(
        frame=s.frame,
        plane=s.plane,
        depth=s.depth,
        faces=s.faces,
        row=s.row,
        column=s.column,
        mask=s.mask,
        voxels=s.voxels,
    )
