"""A segment in space: its slices as one array, with the place of every voxel in the patient (mm, LPS), and its surface.

The array has an empty border of two voxels all round, so that neighbours can be looked at without asking. A voxel's surface lies between
its centre and that of the empty neighbour: where exactly, a smoothed mask says (`Solid.crossings`), half way on a flat face.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.measure.caps import rises
from service.measure.geometry import Array, to_patient
from service.measure.images import SourceImage
from service.measure.mask import MaskSlice, SegmentMask

Bools = NDArray[np.bool_]
Indices = NDArray[np.intp]

BORDER = 2
#: part of the slice thickness that may lie between two slabs that touch
_TOUCHING = 0.1
#: how far direction cosines and spacings of one segment's slices may differ
_SAME_GRID = 1e-3
#: part of a voxel by which the voxels of one grid may lie beside those of another
_OFF_GRID = 0.1
#: a slice that is so many times thicker than most may stand for others that are missing
_UNEVEN = 2.5
#: slices that are so many times thicker than a pixel are thick
_THICK = 1.5
#: thickness of axial slices that are made, in pixels
_AXIAL_SLICE = 2
#: direction cosine from which an axis lies in another grid's plane
_ALONG = 1e-4
#: binomial weights of a voxel and its two neighbours
_SMOOTH = np.array([0.25, 0.5, 0.25])
_SLOPE = np.array([-0.5, 0.0, 0.5])
_CUBE = np.array(list(product((-1, 0, 1), repeat=3)))
_KERNEL = _SMOOTH[_CUBE[:, 0] + 1] * _SMOOTH[_CUBE[:, 1] + 1] * _SMOOTH[_CUBE[:, 2] + 1]
_GRADIENT = np.stack(
    [
        np.prod(
            [(_SLOPE if b == a else _SMOOTH)[_CUBE[:, b] + 1] for b in range(3)], axis=0
        )  # one axis after the other
        for a in range(3)
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faces:
    """Faces between voxels of a solid and their empty neighbours."""

    #: level, row, column of the voxel inside; shape (n, 3)
    inside: Indices
    #: the same of the voxel outside
    outside: Indices
    #: along which axis (0: levels) they lie beside each other; shape (n,)
    axis: Indices


# no slots: `surface` is kept
@dataclass(frozen=True, kw_only=True)
class Solid:
    """A segment as an array (levels, rows, columns)."""

    mask: Bools
    #: where row 0, column 0 of each level lies, mm; shape (levels, 3)
    origins: Array
    #: depths along ``normal`` between which each level stands for the tissue; shape (levels, 2)
    faces: Array
    #: from column to column, and from row to row, mm
    right: Array
    down: Array
    normal: Array
    #: the image below each level, where the study has it
    images: tuple[SourceImage | None, ...]

    @property
    def pixel(self) -> tuple[float, float]:
        """Return the distance of rows and of columns, mm."""
        return float(np.linalg.norm(self.down)), float(np.linalg.norm(self.right))

    @property
    def thickness(self) -> float:
        """Return the largest thickness of a level that holds a voxel, mm."""
        held = self.mask.any(axis=(1, 2))
        return float((self.faces[held, 1] - self.faces[held, 0]).max())

    @property
    def diagonal(self) -> float:
        """Return the diagonal of the largest voxel, mm."""
        return float(np.hypot(np.hypot(*self.pixel), self.thickness))

    @property
    def box(self) -> tuple[Array, Array]:
        """Return the corners of a box in the patient that holds all of it, mm."""
        held = [np.flatnonzero(self.mask.any(axis=axes))[[0, -1]] for axes in ((1, 2), (0, 2), (0, 1))]
        corners = self.points(np.array(list(product(*held))))
        half = self.diagonal / 2
        return corners.min(axis=0) - half, corners.max(axis=0) + half

    def points(self, at: Indices) -> Array:
        """Return where voxel centres lie, mm; ``at`` has shape (n, 3)."""
        return np.asarray(
            self.origins[at[:, 0]]
            + np.multiply.outer(at[:, 2].astype(float), self.right)
            + np.multiply.outer(at[:, 1].astype(float), self.down)
        )

    @cached_property
    def surface(self) -> Indices:
        """Return the voxels that have an empty neighbour; shape (n, 3)."""
        m = self.mask
        inner = m[1:-1, 1:-1, 1:-1]
        whole = (
            m[:-2, 1:-1, 1:-1] & m[2:, 1:-1, 1:-1] & m[1:-1, :-2, 1:-1] & m[1:-1, 2:, 1:-1]
            & m[1:-1, 1:-1, :-2] & m[1:-1, 1:-1, 2:]
        )  # fmt: skip
        return np.argwhere(inner & ~whole) + 1

    def faces_at(self, voxels: Indices) -> Faces:
        """Return the faces that ``voxels`` (inside, shape (n, 3)) share with empty neighbours."""
        inside, outside, axes = [], [], []
        for axis, sign in product(range(3), (-1, 1)):
            beside = voxels.copy()
            beside[:, axis] += sign
            empty = ~self.mask[tuple(beside.T)]
            inside.append(voxels[empty])
            outside.append(beside[empty])
            axes.append(np.full(int(empty.sum()), axis))
        return Faces(inside=np.concatenate(inside), outside=np.concatenate(outside), axis=np.concatenate(axes))

    def crossings(self, faces: Faces) -> Array:
        """Return where the surface crosses from inside to outside, mm; shape (n, 3).

        There the mask, smoothed over a voxel and its neighbours, is one half: on a smooth body within a fraction of a voxel. Where a body
        ends between two thick slices, the sections before tell how far it still rises (`service.measure.caps`).
        """
        within, without = (self._weighted(at, _KERNEL[None])[:, 0] for at in (faces.inside, faces.outside))
        part = np.clip((within - 0.5) / np.maximum(within - without, 1e-9), 0, 1)
        if self.thickness > _THICK * min(self.pixel):
            for level, sign in {
                (int(a), int(b - a)) for a, b in zip(faces.inside[:, 0], faces.outside[:, 0], strict=True)
            }:
                if sign:
                    here = np.flatnonzero((faces.inside[:, 0] == level) & (faces.outside[:, 0] == level + sign))
                    risen = self._rises(level, sign)[faces.inside[here, 1], faces.inside[here, 2]]
                    part[here] = np.where(np.isnan(risen), part[here], risen)
        part = part[:, None]
        return np.asarray((1 - part) * self.points(faces.inside) + part * self.points(faces.outside))

    def _rises(self, level: int, sign: int) -> Array:
        """Return how far the end of a body rises above its last section, in parts of the way to the next level; NaN where it goes on."""
        levels = [k for k in (level, level - sign, level - 2 * sign) if 0 <= k < len(self.mask)]
        depths = np.abs(self.faces[levels].mean(axis=1) - self.faces[level].mean())
        step = abs(self.faces[level + sign].mean() - self.faces[level].mean())
        return rises(self.mask[levels], self.mask[level + sign], depths / step, self.pixel)

    def areas(self, faces: Faces) -> Array:
        """Return the part of the surface in mm2 that each face stands for: its own area times how squarely the surface meets it.

        Faces of a slanting plane are steps, whose areas alone would add up to too much.
        """
        gradient = self._weighted(faces.inside, _GRADIENT) + self._weighted(faces.outside, _GRADIENT)
        held = np.flatnonzero(self.mask.any(axis=(1, 2)))
        up = self.normal * self.thickness
        if held.size > 1:
            up = (self.origins[held[-1]] - self.origins[held[0]]) / (held[-1] - held[0])
        steps = np.array([up, self.down, self.right])
        # a gradient in indices, in mm: the inverse of how indices become mm
        slopes = gradient @ np.linalg.inv(steps).T
        areas = np.array([np.linalg.norm(np.cross(steps[a - 2], steps[a - 1])) for a in range(3)])
        across = np.cross(steps[[1, 2, 0]], steps[[2, 0, 1]])
        across /= np.linalg.norm(across, axis=1)[:, None]
        lengths = np.linalg.norm(slopes, axis=1)
        square = np.abs((slopes * across[faces.axis]).sum(axis=1)) / np.maximum(lengths, 1e-12)
        return np.asarray(areas[faces.axis] * np.where(lengths > 0, square, 1.0))

    def _weighted(self, at: Indices, kernels: Array) -> Array:
        """Return sums of the voxels round about, weighted by each kernel; shape (n, kernels)."""
        shape = self.mask.shape
        reach = np.array([shape[1] * shape[2], shape[2], 1])
        flat = self.mask.reshape(-1)
        around = flat[(at @ reach)[:, None] + (_CUBE @ reach)[None]]
        return np.asarray(around.astype(np.float32) @ kernels.T.astype(np.float32), np.float64)

    def sampled(self, other: Solid) -> Bools:
        """Return where ``other`` is, on the voxels of this one: each takes the nearest of the other grid."""
        found = np.zeros(self.mask.shape, bool)
        low, high = self._box_of(other)
        if (low >= high).any():
            return found
        rows, columns = np.arange(low[1], high[1]), np.arange(low[2], high[2])
        for level in range(low[0], high[0]):
            found[level, low[1] : high[1], low[2] : high[2]] = other.holds_grid(
                self.origins[level], self.right, self.down, rows, columns
            )
        return found

    def _box_of(self, other: Solid) -> tuple[Indices, Indices]:
        """Return the part of this array, from and up to, that ``other`` may lie in."""
        held = np.argwhere(other.mask.any(axis=(1, 2)))[:, 0]
        shape = other.mask.shape
        corners = np.array([(k, r, c) for k in held[[0, -1]] for r in (0, shape[1] - 1) for c in (0, shape[2] - 1)])
        points = other.points(corners)
        half = other.normal * other.thickness / 2
        points = np.concatenate([points - half, points + half])
        depths = points @ self.normal
        levels = np.flatnonzero((self.faces[:, 1] > depths.min()) & (self.faces[:, 0] < depths.max()))
        if not levels.size:
            return np.zeros(3, np.intp), np.zeros(3, np.intp)
        lows, highs = [levels[0]], [levels[-1] + 1]
        for axis, direction in ((1, self.down), (2, self.right)):
            unit = direction / (direction @ direction)
            along = (points @ unit)[:, None] - (self.origins[levels] @ unit)[None]
            lows.append(max(0, int(np.floor(along.min())) - 1))
            highs.append(min(self.mask.shape[axis], int(np.ceil(along.max())) + 2))
        return np.array(lows, np.intp), np.array(highs, np.intp)

    def holds_grid(self, origin: Array, right: Array, down: Array, rows: Indices, columns: Indices) -> Bools:
        """Say which points ``origin + column * right + row * down`` are inside; shape (rows, columns)."""
        unit_r, unit_d = self.right / (self.right @ self.right), self.down / (self.down @ self.down)
        straight = max(abs(right @ self.normal), abs(down @ self.normal)) <= _ALONG * np.linalg.norm(right)
        aligned = straight and max(abs(right @ unit_d), abs(down @ unit_r)) <= _ALONG
        if aligned:
            level = self._level(np.array([origin @ self.normal]))[0]
            if level < 0:
                return np.zeros((rows.size, columns.size), bool)
            off = origin - self.origins[level]
            r = np.rint(off @ unit_d + rows * (down @ unit_d)).astype(np.intp)
            c = np.rint(off @ unit_r + columns * (right @ unit_r)).astype(np.intp)
            in_r, in_c = (r >= 0) & (r < self.mask.shape[1]), (c >= 0) & (c < self.mask.shape[2])
            taken = self.mask[level][np.ix_(np.where(in_r, r, 0), np.where(in_c, c, 0))]
            return np.asarray(taken & in_r[:, None] & in_c[None])
        points = origin + (rows[:, None, None] * down) + (columns[None, :, None] * right)
        return self.holds(points.reshape(-1, 3)).reshape(rows.size, columns.size)

    def holds(self, points: Array) -> Bools:
        """Say which points (mm, shape (n, 3)) lie in a voxel of the solid."""
        levels = self._level(points @ self.normal)
        off = points - self.origins[np.maximum(levels, 0)]
        r = np.rint(off @ self.down / (self.down @ self.down)).astype(np.intp)
        c = np.rint(off @ self.right / (self.right @ self.right)).astype(np.intp)
        there = (levels >= 0) & (r >= 0) & (r < self.mask.shape[1]) & (c >= 0) & (c < self.mask.shape[2])
        return np.asarray(there & self.mask[np.maximum(levels, 0), np.where(there, r, 0), np.where(there, c, 0)])

    def _level(self, depths: Array) -> Indices:
        """Return the level at each depth, -1 outside."""
        at = np.searchsorted(self.faces[:, 0], depths, side="right") - 1
        return np.where((at >= 0) & (depths < self.faces[np.maximum(at, 0), 1] + 1e-6), at, -1)


def solid_of(mask: SegmentMask) -> Solid:
    """Return a segment in space.

    Raises
    ------
    InputError
        Slices are missing inside it or may be, or its frames differ in orientation, pixel spacing or place so that they make no stack.
    """
    if mask.incomplete:
        raise InputError("slices are missing inside the segment")
    thicknesses = [s.thickness for s in mask.slices]
    if max(thicknesses) > _UNEVEN * float(np.median(thicknesses)):
        raise InputError("its slices are so unequally thick that some may be missing")
    first = mask.slices[0].plane
    # thousands of slices share a handful of orientations
    for along_row, along_column, spacing in {
        (s.plane.along_row, s.plane.along_column, s.plane.spacing) for s in mask.slices
    }:
        same = np.allclose((*along_row, *along_column), (*first.along_row, *first.along_column), atol=_SAME_GRID)
        if not same or not np.allclose(spacing, first.spacing, rtol=_SAME_GRID):
            raise InputError("its frames differ in orientation or pixel spacing")
    row, column = min(s.row for s in mask.slices) - BORDER, min(s.column for s in mask.slices) - BORDER
    height = max(s.row + s.mask.shape[0] for s in mask.slices) + BORDER - row
    width = max(s.column + s.mask.shape[1] for s in mask.slices) + BORDER - column
    levels = _levels(mask, row, column)
    whole = np.zeros((len(levels), height, width), bool)
    for at, level in enumerate(levels):
        if (held := level.slice) is not None:
            y, x = held.row - row, held.column - column
            whole[at, y : y + held.mask.shape[0], x : x + held.mask.shape[1]] = held.mask
    return Solid(
        mask=whole,
        origins=np.array([level.origin for level in levels]),
        faces=np.array([level.faces for level in levels]),
        right=np.array(first.along_row) * first.spacing[1],
        down=np.array(first.along_column) * first.spacing[0],
        normal=mask.normal,
        images=tuple(level.slice.image if level.slice else None for level in levels),
    )


def same_grid(one: Solid, other: Solid) -> bool:
    """Say whether voxels of the two lie at the same places, as far as both reach."""
    steps = np.array([one.right, one.down]), np.array([other.right, other.down])
    if not np.allclose(*steps, atol=_SAME_GRID):
        return False
    off = other.origins[BORDER] - one.origins[BORDER]
    within = off @ np.array([one.right / (one.right @ one.right), one.down / (one.down @ one.down)]).T
    middles = one.faces.mean(axis=1), other.faces.mean(axis=1)
    shared = [m for m in middles[1] if middles[0][0] <= m <= middles[0][-1]]
    nearest = [float(np.abs(middles[0] - m).min()) for m in shared]
    in_plane = float(np.abs(within - np.rint(within)).max()) <= _OFF_GRID
    return in_plane and all(n <= _OFF_GRID * one.thickness for n in nearest)


def axial(solid: Solid) -> Solid:
    """Return a segment on axial slices, by nearest voxels; no image lies below them."""
    low, high = solid.box
    pixel = min(*solid.pixel, solid.thickness)
    step = _AXIAL_SLICE * pixel
    shape = np.ceil((high - low) / (pixel, pixel, step)).astype(int) + 1 + 2 * BORDER
    right, down = np.array([pixel, 0, 0]), np.array([0, pixel, 0])
    start = low - BORDER * np.array([pixel, pixel, step])
    origins = start + np.multiply.outer(np.arange(shape[2]) * step, np.array([0.0, 0.0, 1.0]))
    rows, columns = np.arange(shape[1]), np.arange(shape[0])
    mask = np.stack([solid.holds_grid(o, right, down, rows, columns) for o in origins])
    held = np.flatnonzero(mask.any(axis=(1, 2)))
    kept = slice(max(0, held[0] - BORDER), held[-1] + 1 + BORDER)
    depths = origins[:, 2]
    return Solid(
        mask=mask[kept],
        origins=origins[kept],
        faces=np.column_stack([depths - step / 2, depths + step / 2])[kept],
        right=right,
        down=down,
        normal=np.array([0.0, 0.0, 1.0]),
        images=(None,) * len(mask[kept]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    origin: Array
    faces: tuple[float, float]
    slice: MaskSlice | None = None


def _levels(mask: SegmentMask, row: int, column: int) -> list[_Level]:
    """Return the slices with the empty levels between them, and those of the border."""

    def corner(s: MaskSlice) -> Array:
        return np.asarray(to_patient(s.plane, np.array([float(column)]), np.array([float(row)]))[0])

    found = [_Level(origin=corner(mask.slices[0]), faces=mask.slices[0].faces, slice=mask.slices[0])]
    for below, above in pairwise(mask.slices):
        start, end = corner(below), corner(above)
        shift = end - start - (above.depth - below.depth) * mask.normal
        if np.linalg.norm(shift) > abs(above.depth - below.depth):
            raise InputError("its frames do not lie above each other")
        low, high = below.faces[1], above.faces[0]
        gap = high - low
        count = max(1, round(gap / above.thickness)) if gap > _TOUCHING * above.thickness else 0
        for n in range(count):
            part = (n + 0.5) / count
            at = (low + part * gap - below.depth) / (above.depth - below.depth)
            found.append(
                _Level(origin=start + at * (end - start), faces=(low + gap * n / count, low + gap * (n + 1) / count))
            )
        # slabs that touch but for rounding: the upper one begins where the lower one ends
        faces = above.faces if count else (low, above.faces[1])
        found.append(_Level(origin=end, faces=faces, slice=above))
    for _ in range(BORDER):
        bottom, top = found[0], found[-1]
        lower, upper = bottom.faces[1] - bottom.faces[0], top.faces[1] - top.faces[0]
        found.insert(
            0, _Level(origin=bottom.origin - lower * mask.normal, faces=(bottom.faces[0] - lower, bottom.faces[0]))
        )
        found.append(_Level(origin=top.origin + upper * mask.normal, faces=(top.faces[1], top.faces[1] + upper)))
    return found
