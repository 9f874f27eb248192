"""Lengths of a segment: the RECIST long axis and its perpendicular in one slice, and the extents along the patient's axes.

Ends of in-plane lengths lie at pixel *centres*. A voxel is marked when its centre is inside, so the outermost centres are the best
estimate of the border: on a smooth lesion the long axis comes out within a fraction of a pixel, where outer pixel edges would add
one pixel to every length. Across the planes a slice stands for its whole thickness, so extents go from face to face there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from service.measure.geometry import Array, to_patient
from service.measure.mask import MaskSlice, SegmentMask

#: pixels that touch at a corner belong together
_NEIGHBOURS_2D = np.ones((3, 3), int)
_NEIGHBOURS_3D = np.ones((3, 3, 3), int)
#: part of the slice thickness that may lie between two slabs that touch
_TOUCHING = 0.1
_EPSILON = 1e-9
#: hundredths of a pixel: finer than a reader sees, and the same after single precision
_POINT_DECIMALS = 2

_STEPS = 24
_ANGLES = np.arange(_STEPS) * np.pi / _STEPS
#: directions in a plane, shape (2, n)
_DIRECTIONS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)])
_LEAST_COSINE = float(np.cos(np.pi / _STEPS / 2))

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axes:
    """The long axis of a segment, and the longest perpendicular to it in the same slice.

    Points are (column, row) indices of the frame, from 0 at pixel centres; ``short`` is None where the slice is one pixel wide.
    """

    slice: MaskSlice
    long: tuple[Point, Point]
    short: tuple[Point, Point] | None


def axes_of(mask: SegmentMask) -> Axes | None:
    """Return the axes, exactly: the longest distance between two pixels of one connected region of one slice, over all slices.

    Of several equally long ones the first along the normal counts, then the first by row and column. None where no slice has two
    pixels that touch.
    """
    best: tuple[float, int, tuple[Point, Point], Array] | None = None
    bounds = [_bound(s) for s in mask.slices]
    for at in sorted(range(len(bounds)), key=lambda i: (-bounds[i], i)):
        if best is not None and bounds[at] < best[0] - _EPSILON:
            break
        for hull in _hulls(mask.slices[at]):
            length, ends = _longest(hull, mask.slices[at])
            if length <= 0:
                continue
            if best is None or length > best[0] + _EPSILON or (length > best[0] - _EPSILON and at < best[1]):
                best = length, at, ends, hull
    if best is None:
        return None
    _, at, ends, hull = best
    return Axes(slice=mask.slices[at], long=ends, short=_perpendicular(hull, ends, mask.slices[at]))


def _scale(s: MaskSlice) -> Array:
    """Return mm for each column and each row."""
    return np.array([s.plane.spacing[1], s.plane.spacing[0]])


def _bound(s: MaskSlice) -> float:
    """Return a length that no diameter of the slice exceeds, and that hardly exceeds it.

    A diameter lies within half a step of one of the directions, so it is no longer than the width there over the cosine of that angle.
    """
    columns, rows = s.edge_points()
    along = np.column_stack([columns, rows]) * _scale(s) @ _DIRECTIONS
    return float((along.max(axis=0) - along.min(axis=0)).max() / _LEAST_COSINE)


def _hulls(s: MaskSlice) -> list[Array]:
    """Return the corners (column, row) of the convex hull of each connected region, counter-clockwise; shape (n, 2)."""
    labels, count = ndimage.label(s.mask, _NEIGHBOURS_2D)
    hulls = []
    for region in range(1, count + 1):
        rows, columns = np.nonzero(labels == region) if count > 1 else np.nonzero(s.mask)
        # of each row, only the first and the last pixel can be a corner
        first = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
        last = np.r_[first[1:] - 1, rows.size - 1]
        keep = np.unique(np.r_[first, last])
        points = np.column_stack([columns[keep] + s.column, rows[keep] + s.row]).astype(float)
        hulls.append(_hull(points))
    return hulls


def _hull(points: Array) -> Array:
    try:
        return np.asarray(points[ConvexHull(points).vertices])
    except QhullError:
        # all on one line (or fewer than three): its two ends are the hull
        order = np.lexsort((points[:, 0], points[:, 1]))
        return np.asarray(points[order[[0, -1]]])


def _longest(hull: Array, s: MaskSlice) -> tuple[float, tuple[Point, Point]]:
    ordered = hull[np.lexsort((hull[:, 0], hull[:, 1]))]
    millimetres = ordered * _scale(s)
    squared = ((millimetres[:, None] - millimetres[None]) ** 2).sum(axis=2)
    first, second = np.unravel_index(int(np.argmax(squared >= squared.max() * (1 - _EPSILON))), squared.shape)
    return float(np.sqrt(squared[first, second])), (_point(ordered[first]), _point(ordered[second]))


def _point(values: NDArray[np.float64]) -> Point:
    return round(float(values[0]), _POINT_DECIMALS), round(float(values[1]), _POINT_DECIMALS)


def _perpendicular(hull: Array, ends: tuple[Point, Point], s: MaskSlice) -> tuple[Point, Point] | None:
    """Return the longest chord of the hull that is perpendicular to the long axis; both cross, since the hull is convex.

    The width of a convex polygon across a direction changes linearly between its corners, so the longest chord goes through one.
    """
    scale = _scale(s)
    corners = hull * scale
    start, end = (np.array(p) * scale for p in ends)
    along = (end - start) / np.linalg.norm(end - start)
    across = np.array([-along[1], along[0]])
    t, u = (corners - start) @ along, (corners - start) @ across
    t_next, u_next = np.roll(t, -1), np.roll(u, -1)
    low, high = np.minimum(t, t_next), np.maximum(t, t_next)
    best: tuple[float, float, float, float] | None = None
    for at in np.sort(t):
        crossed = (low <= at + _EPSILON) & (high >= at - _EPSILON)
        steep = crossed & (high - low > _EPSILON)
        part = np.clip((at - t[steep]) / (t_next[steep] - t[steep]), 0, 1)
        # an edge across the axis is crossed at both its ends
        flat = crossed & ~steep
        heights = np.r_[u[steep] + part * (u_next[steep] - u[steep]), u[flat], u_next[flat]]
        width = float(heights.max() - heights.min())
        if best is None or width > best[0] + _EPSILON:
            best = width, float(at), float(heights.min()), float(heights.max())
    if best is None or best[0] <= _EPSILON:
        return None
    _, at, lower, upper = best
    first, second = (_point((start + at * along + h * across) / scale) for h in (lower, upper))
    return first, second


def extents_of(mask: SegmentMask) -> tuple[float, float, float]:
    """Return the extents along the patient's x (transverse), y (anteroposterior) and z (craniocaudal) axis, in mm."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for s in mask.slices:
        points = to_patient(s.plane, *s.edge_points())
        for face in s.faces:
            shifted = points + (face - s.depth) * mask.normal
            low, high = np.minimum(low, shifted.min(axis=0)), np.maximum(high, shifted.max(axis=0))
    x, y, z = (float(v) for v in high - low)
    return x, y, z


def parts_of(mask: SegmentMask) -> tuple[int, float]:
    """Return of how many separate parts the segment consists (voxels that touch belong together), and the largest one's share of it.

    Slices are neighbours when their slabs touch; the share is one of voxels.
    """
    levels = [0]
    for below, above in pairwise(mask.slices):
        # an empty level keeps apart what does not touch
        levels.append(levels[-1] + (1 if above.faces[0] - below.faces[1] <= _TOUCHING * above.thickness else 2))
    row, column = min(s.row for s in mask.slices), min(s.column for s in mask.slices)
    height = max(s.row + s.mask.shape[0] for s in mask.slices) - row
    width = max(s.column + s.mask.shape[1] for s in mask.slices) - column
    whole = np.zeros((levels[-1] + 1, height, width), bool)
    for level, s in zip(levels, mask.slices, strict=True):
        y, x = s.row - row, s.column - column
        whole[level, y : y + s.mask.shape[0], x : x + s.mask.shape[1]] = s.mask
    labels, count = ndimage.label(whole, _NEIGHBOURS_3D)
    if count == 1:
        return 1, 1.0
    sizes = np.bincount(labels.ravel())[1:]
    return int(count), float(sizes.max() / sizes.sum())
