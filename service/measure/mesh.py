"""The surface of a segment: the volume inside it, and its largest diameter in any direction (IBSI RNU0, L0JK).

The surface is that of marching cubes through the half-way points between voxel centres. Its volume is counted, not meshed: a cell of
two by two by two voxel centres has one of 256 patterns, and each pattern encloses a known part of it. No library is used since
scikit-image and what it brings weigh 57 MB, and building the triangles of a large organ takes five times as long; the numbers below are
those of its triangles (`skimage.measure.marching_cubes` 0.26, method of Lewiner), whose volume they give to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.distance import cdist

from service.measure.geometry import Array, to_patient
from service.measure.mask import MaskSlice, SegmentMask

#: of each pattern, the part inside the surface in 96ths; bits are (0,0,0), (0,0,1), (0,1,0) … by (slice, row, column)
_INSIDE = np.array([
    0, 2, 2, 12, 2, 12, 20, 34, 2, 20, 12, 34, 12, 34, 34, 48, 2, 12, 20, 34, 20, 34, 6, 48, 4, 54, 54, 48, 54, 48, 60, 62,
    2, 20, 12, 34, 4, 54, 54, 48, 20, 6, 34, 48, 54, 60, 48, 62, 12, 34, 34, 48, 54, 48, 60, 62, 54, 60, 48, 62, 72, 58, 58, 84,
    2, 20, 4, 54, 12, 34, 54, 48, 20, 6, 54, 60, 34, 48, 48, 62, 12, 34, 54, 48, 34, 48, 60, 62, 54, 60, 72, 58, 48, 62, 58, 84,
    20, 6, 54, 60, 54, 60, 72, 58, 6, 88, 60, 90, 60, 90, 58, 92, 34, 48, 48, 62, 48, 62, 58, 84, 60, 90, 58, 92, 58, 92, 92, 94,
    2, 4, 20, 54, 20, 54, 6, 60, 12, 54, 34, 48, 34, 48, 48, 62, 20, 54, 6, 60, 6, 60, 88, 90, 54, 72, 60, 58, 60, 58, 90, 92,
    12, 54, 34, 48, 54, 72, 60, 58, 34, 60, 48, 62, 48, 58, 62, 84, 34, 48, 48, 62, 60, 58, 90, 92, 48, 58, 62, 84, 58, 92, 92, 94,
    12, 54, 54, 72, 34, 48, 60, 58, 34, 60, 48, 58, 48, 62, 62, 84, 34, 48, 60, 58, 48, 62, 90, 92, 48, 58, 58, 92, 62, 84, 92, 94,
    34, 60, 48, 58, 48, 58, 58, 92, 48, 90, 62, 92, 62, 92, 84, 94, 48, 62, 62, 84, 62, 84, 92, 94, 62, 92, 84, 94, 84, 94, 94, 96,
])  # fmt: skip
#: part of the slice thickness that may lie between two slabs that touch
_TOUCHING = 0.1
_COUNT = 500
#: angle in radians within which one of the directions lies to every line: more than a spiral of that many points leaves open
_COVERED = 3.2 / np.sqrt(2 * _COUNT)
_LEAST_COSINE = float(np.cos(_COVERED))


def _spiral() -> Array:
    """Return directions spread over half a sphere (a Fibonacci lattice), shape (3, n)."""
    z = (np.arange(_COUNT) + 0.5) / _COUNT
    angle = np.arange(_COUNT) * np.pi * (3 - np.sqrt(5))
    flat = np.sqrt(1 - z**2)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z])


_DIRECTIONS = _spiral()


def mesh_volume(mask: SegmentMask) -> float:
    """Return the volume inside the surface of ``mask``, in mm3."""
    box = _Box(mask)
    total = 0.0
    for below, above, gap in _layers(mask):
        patterns = box.corners(below) | (box.corners(above) << 4)
        parts = int(np.bincount(patterns.ravel(), minlength=_INSIDE.size) @ _INSIDE)
        total += parts / 96 * gap
    rows, columns = mask.slices[0].plane.spacing
    return total * rows * columns


def _layers(mask: SegmentMask) -> Iterator[tuple[MaskSlice | None, MaskSlice | None, float]]:
    """Yield what lies below and above each layer of cells, and how far apart the two planes are, in mm.

    Beyond the first and the last slice, and where slices do not touch, an empty plane lies as far away again as the face of the slab.
    """
    previous: MaskSlice | None = None
    for s in mask.slices:
        if previous is not None and s.faces[0] - previous.faces[1] <= _TOUCHING * s.thickness:
            yield previous, s, s.depth - previous.depth
        else:
            if previous is not None:
                yield previous, None, 2 * (previous.faces[1] - previous.depth)
            yield None, s, 2 * (s.depth - s.faces[0])
        previous = s
    if previous is not None:
        yield previous, None, 2 * (previous.faces[1] - previous.depth)


class _Box:
    """The part of the planes that holds the whole segment, with a margin of one pixel."""

    def __init__(self, mask: SegmentMask) -> None:
        self._row = min(s.row for s in mask.slices) - 1
        self._column = min(s.column for s in mask.slices) - 1
        height = max(s.row + s.mask.shape[0] for s in mask.slices) - self._row + 1
        width = max(s.column + s.mask.shape[1] for s in mask.slices) - self._column + 1
        self._shape = height, width

    def corners(self, s: MaskSlice | None) -> NDArray[np.uint8]:
        """Return which of the four pixels of each cell are inside, as bits."""
        plane = np.zeros(self._shape, np.uint8)
        if s is not None:
            y, x = s.row - self._row, s.column - self._column
            plane[y : y + s.mask.shape[0], x : x + s.mask.shape[1]] = s.mask
        return np.asarray(plane[:-1, :-1] | plane[:-1, 1:] << 1 | plane[1:, :-1] << 2 | plane[1:, 1:] << 3, np.uint8)


def largest_diameter(mask: SegmentMask) -> float:
    """Return the largest distance between two points of the surface of ``mask``, in mm."""
    found = [_outermost(s, mask.normal) for s in mask.slices]
    centres = np.concatenate([c for c, _ in found])
    at = np.repeat(np.arange(len(found)), [c.shape[0] for c, _ in found])
    if not mask.unequal_spacing:
        # the same steps from every centre: only from the outermost of all can they lead to the outermost points
        kept = _hull(centres)
        centres, at = centres[kept], at[kept]
    steps = np.stack([s for _, s in found])[at]
    points = (centres[:, None] + steps).reshape(-1, 3)
    return _diameter(points[_hull(points)])


def _hull(points: Array) -> NDArray[np.intp]:
    """Return which points are corners of the convex hull; all where they lie in one plane."""
    try:
        return np.asarray(ConvexHull(points).vertices, np.intp)
    except QhullError:
        return np.arange(points.shape[0])


def _diameter(points: Array) -> float:
    """Return the largest distance between two of ``points``, exactly.

    Some direction lies within `_COVERED` of the line between the two that are farthest apart, and along it both are nearly outermost: what
    they lack of that is at most the width less the cosine of that angle times a distance that is known. So only those are compared.
    """
    along = points @ _DIRECTIONS
    high, low = along.max(axis=0), along.min(axis=0)
    ends = points[along.argmax(axis=0)] - points[along.argmin(axis=0)]
    known = float(np.sqrt(np.einsum("ij,ij->i", ends, ends).max()))
    for at in np.flatnonzero(high - low >= known * _LEAST_COSINE):
        slack = high[at] - low[at] - known * _LEAST_COSINE
        if slack < 0:
            continue
        tops, bottoms = points[along[:, at] >= high[at] - slack], points[along[:, at] <= low[at] + slack]
        known = max(known, float(cdist(tops, bottoms).max()))
    return known


def _outermost(s: MaskSlice, normal: Array) -> tuple[Array, Array]:
    """Return the outermost voxel centres of a slice, and the steps from a centre half way to its six neighbours; in mm."""
    columns, rows = s.edge_points()
    pixels = np.column_stack([columns, rows])
    pixels = pixels[_hull(pixels)]
    right = np.array(s.plane.along_row) * s.plane.spacing[1] / 2
    down = np.array(s.plane.along_column) * s.plane.spacing[0] / 2
    up, low = ((face - s.depth) * normal for face in s.faces)
    steps = np.stack([right, -right, down, -down, up, low])
    return to_patient(s.plane, pixels[:, 0], pixels[:, 1]), steps
