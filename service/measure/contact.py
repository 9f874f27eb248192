"""Where a tumour touches a structure: the area, and of a vessel the part of its circumference in each slice, and the length.

Two segments touch where a voxel of one lies beside a voxel of the other. The degrees are the touched part of the vessel's outline times
360: for a round vessel the angle at its middle, and well defined for a flattened one. An outline that is cut at a slant is measured as
seen along the vessel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from service.errors import InputError
from service.measure.centreline import Centreline
from service.measure.geometry import Array
from service.measure.solid import Bools, Solid

#: the outline is looked for on pixels so many times finer
_FINER = 3
#: a pixel that is longer one way is divided into at most so many
_MOST_FINER = 12
#: smoothing of the outline, in pixels
_SIGMA = 1.3
#: pixels around one that lies beside the tumour, in which the outline may count as touched: never across a gap
_BESIDE = 2
#: degrees are averaged over slices so near (mm), the nearer the more: of many slices the largest would be that of the largest error
_AVERAGED_MM = 4.0
#: part of the smoothed mask around one half that counts as outline
_BAND = (0.15, 0.85)
#: pixels around the outline that its smoothing needs
_MARGIN = 6
#: part of a vessel's largest region in a slice from which on another one is looked at
_LARGE = 0.2
#: a vessel that is thinner than so many pixels (area over half the outline), or whose degrees are known no better than that, has no
#: outline that could be divided
_THIN = 2.0
_MOST_WITHIN = 20.0
#: a tumour is within the vessel where it is the vessel that lies around so much of its outline
_ENCLOSED = 0.75
#: least cosine of the angle between vessel and normal of the slices
_ACROSS = math.cos(math.radians(55))
#: contact of less than so many pixels of outline is none
_LEAST_PIXELS = 1.0
_EIGHT = np.ones((3, 3), bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Touch:
    """Contact in one slice of a vessel."""

    level: int
    #: degrees of its circumference, and how exactly they are known: half a pixel at each of two ends
    angle: float
    within: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The part of a tumour that lies within the outline of a vessel: on its voxels, or in the hole that a label map leaves."""

    #: mm3
    volume: float
    #: how deep it reaches from the outline, mm
    depth: float
    levels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Along:
    """How a tumour touches a vessel, slice by slice."""

    touches: tuple[Touch, ...]
    inside: Inside | None
    #: levels within the vessel's course where it is not marked and the tumour is in its place
    replaced: tuple[int, ...]
    #: levels where the vessel is too thin for degrees, though touched
    thin: tuple[int, ...]
    #: from where to where along the vessel's centreline the tumour is at, in or in place of it, mm; None: nowhere
    span: tuple[float, float] | None

    @property
    def levels(self) -> tuple[int, ...]:
        """Return every level at which the tumour is at, in or in place of the vessel, ascending."""
        inside = self.inside.levels if self.inside else ()
        return tuple(sorted({*(t.level for t in self.touches), *inside, *self.replaced, *self.thin}))

    @property
    def most(self) -> Touch | None:
        """Return the slice of greatest contact: of several the first."""
        return max(self.touches, key=lambda t: (round(t.angle, 1), -t.level), default=None)


def contact_area(structure: Solid, tumour: Bools) -> float:
    """Return the area in mm2 of the structure's surface that the tumour lies at; ``tumour`` is on the structure's voxels."""
    voxels = structure.surface
    reached = ndimage.binary_dilation(tumour, ndimage.generate_binary_structure(3, 1)) if tumour.any() else tumour
    faces = structure.faces_at(voxels[reached[tuple(voxels.T)]])
    touched = tumour[tuple(faces.outside.T)]
    return float(structure.areas(faces)[touched].sum()) if touched.any() else 0.0


def contact_along(vessel: Solid, tumour: Bools, line: Centreline) -> Along:
    """Look at each slice of a vessel that runs across the slices; ``tumour`` is on the vessel's voxels.

    Raises
    ------
    InputError
        The vessel runs along the slices where the tumour touches it.
    """
    near = ndimage.binary_dilation(tumour, _EIGHT[None])
    candidates = [
        int(k)
        for k in line.levels
        if (near[k] & vessel.mask[k]).any() or (near[k].any() and _hollow(vessel, tumour, int(k)))
    ]
    lean = line.lean(np.array(candidates)) if candidates else np.zeros(3)
    lean = vessel.normal if not lean.any() else lean
    if abs(lean @ vessel.normal) < _ACROSS:
        raise InputError("the vessel runs along the slices there, not across them")
    work = _Slices(vessel, tumour, lean)
    for level in candidates:
        work.look(level)
    replaced = tuple(
        int(k)
        for k, at in zip(line.levels, line.points, strict=True)
        if not vessel.mask[k].any() and _lies_at(vessel, tumour, int(k), at)
    )
    inside = work.inside()
    beside = sorted({*(t.level for t in work.touches), *work.thin})
    spans = [_span_of(vessel, near, line, np.array(beside), lean)] if beside else []
    spans += [line.span(np.array(levels)) for levels in (inside.levels if inside else (), replaced) if levels]
    return Along(
        touches=_averaged(work.touches, vessel),
        inside=inside,
        replaced=replaced,
        thin=tuple(work.thin),
        span=(min(low for low, _ in spans), max(high for _, high in spans)) if spans else None,
    )


def _span_of(
    vessel: Solid, near: Bools, line: Centreline, levels: NDArray[np.intp], lean: Array
) -> tuple[float, float]:
    """Return from where to where along the vessel its voxels touch the tumour."""
    at = np.argwhere((vessel.mask & near)[levels])
    at[:, 0] = levels[at[:, 0]]
    where = line.where(vessel.points(at))
    half = (vessel.faces[at[:, 0], 1] - vessel.faces[at[:, 0], 0]) / 2 * abs(float(lean @ vessel.normal))
    return float((where - half).min()), float((where + half).max())


def _averaged(touches: list[Touch], vessel: Solid) -> tuple[Touch, ...]:
    depths = np.array([vessel.faces[t.level].mean() for t in touches])
    angles = np.array([t.angle for t in touches])
    found = []
    for touch, depth in zip(touches, depths, strict=True):
        weights = np.maximum(0, 1 - np.abs(depths - depth) / _AVERAGED_MM)
        found.append(replace(touch, angle=float(weights @ angles / weights.sum())))
    return tuple(found)


def _hollow(vessel: Solid, tumour: Bools, level: int) -> bool:
    """Say whether the tumour is at a level where nothing of the vessel is beside it, but around it."""
    rows, columns = np.nonzero(vessel.mask[level])
    if not rows.size:
        return False
    return bool(tumour[level, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].any())


def _lies_at(vessel: Solid, tumour: Bools, level: int, point: Array) -> bool:
    off = point - vessel.origins[level]
    row, column = (
        round(float(off @ vessel.down / (vessel.down @ vessel.down))),
        round(float(off @ vessel.right / (vessel.right @ vessel.right))),
    )
    return bool(tumour[level, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].any())


class _Slices:
    """Looks at one slice after the other."""

    def __init__(self, vessel: Solid, tumour: Bools, lean: Array) -> None:
        self._vessel, self._tumour = vessel, tumour
        self._outline = _Outlines(vessel, lean)
        self._pixel = math.sqrt(math.prod(vessel.pixel))
        self.touches: list[Touch] = []
        self.thin: list[int] = []
        self._within: list[tuple[int, float, float]] = []

    def look(self, level: int) -> None:
        vessel, tumour = self._vessel.mask[level], self._tumour[level]
        rows, columns = np.flatnonzero(vessel.any(axis=1)), np.flatnonzero(vessel.any(axis=0))
        box = slice(max(0, rows[0] - 2), rows[-1] + 3), slice(max(0, columns[0] - 2), columns[-1] + 3)
        vessel, tumour = np.pad(vessel[box], _MARGIN), np.pad(tumour[box], _MARGIN, mode="edge")
        whole = self._whole(vessel, tumour)
        self._look_inside(level, whole, tumour)
        labels, _ = ndimage.label(whole, _EIGHT)
        sizes = np.bincount(labels.ravel())[1:]
        best, thin = 0.0, False
        within = 0.0
        for region in np.flatnonzero(sizes >= _LARGE * sizes.max()) + 1:
            part = labels == region
            share, length = self._outline.share(part, tumour)
            if share * length < _LEAST_PIXELS * self._pixel:
                continue
            thickness, known = (
                sizes[region - 1] * math.prod(self._vessel.pixel) / (length / 2),
                360 * self._pixel / length,
            )
            if thickness < _THIN * self._pixel or known > _MOST_WITHIN:
                thin = True
            elif 360 * share > best:
                best, within = 360 * share, known
        if best:
            self.touches.append(Touch(level=level, angle=best, within=within))
        elif thin:
            self.thin.append(level)

    def _whole(self, vessel: Bools, tumour: Bools) -> Bools:
        """Return the vessel with what lies within it: holes, and the tumour in a ring that is all but closed."""
        filled = np.asarray(ndimage.binary_fill_holes(vessel))
        if (filled & ~vessel & tumour).any():
            return filled
        closed = ndimage.binary_closing(vessel, _EIGHT, iterations=2)
        holes = ndimage.binary_fill_holes(closed) & ~closed & tumour
        if holes.any():
            return np.asarray(ndimage.binary_fill_holes(closed))
        for part in self._parts_within(vessel, tumour):
            if self._outline.share(part, vessel)[0] >= _ENCLOSED:
                filled = filled | part
        return np.asarray(filled)

    @staticmethod
    def _parts_within(vessel: Bools, tumour: Bools) -> list[Bools]:
        """Return the regions of the tumour that lie within the box around the vessel."""
        labels, count = ndimage.label(tumour)
        rows, columns = np.flatnonzero(vessel.any(axis=1)), np.flatnonzero(vessel.any(axis=0))
        boxes = ndimage.find_objects(labels)
        return [
            labels == n
            for n in range(1, count + 1)
            if boxes[n - 1][0].start >= rows[0]
            and boxes[n - 1][0].stop <= rows[-1] + 1
            and boxes[n - 1][1].start >= columns[0]
            and boxes[n - 1][1].stop <= columns[-1] + 1
        ]

    def _look_inside(self, level: int, whole: Bools, tumour: Bools) -> None:
        within = whole & tumour
        if within.any():
            depths = ndimage.distance_transform_edt(whole, sampling=self._vessel.pixel)
            low, high = self._vessel.faces[level]
            area = int(within.sum()) * math.prod(self._vessel.pixel)
            self._within.append((level, area * (high - low), float(depths[within].max()) - self._pixel / 2))

    def inside(self) -> Inside | None:
        """Return what lies within the vessel, over all levels."""
        if not self._within:
            return None
        return Inside(
            volume=sum(v for _, v, _ in self._within),
            depth=max(d for _, _, d in self._within),
            levels=tuple(n for n, _, _ in self._within),
        )


class _Outlines:
    """Measures outlines in the slices of a vessel."""

    def __init__(self, vessel: Solid, lean: Array) -> None:
        rows, columns = vessel.pixel
        step = min(rows, columns) / _FINER
        self._times = tuple(min(_MOST_FINER, max(1, round(p / step))) for p in (rows, columns))
        self._steps = rows / self._times[0], columns / self._times[1]
        sigma = _SIGMA * math.sqrt(rows * columns)
        self._sigmas = tuple(sigma / s for s in self._steps)
        self._across = float(lean @ vessel.normal)
        self._along = float(lean @ vessel.down) / rows, float(lean @ vessel.right) / columns

    def share(self, region: Bools, around: Bools) -> tuple[float, float]:
        """Return which part of the outline of ``region`` has ``around`` on its outside, and the length of the outline in mm."""
        smooth = self._smooth(region)
        beside = self._smooth(around & ~region)
        by_row, by_column = np.gradient(smooth, *self._steps)
        # the sum of the slopes is the length of the outline, whatever its direction (co-area formula)
        slanted = by_row * self._along[0] + by_column * self._along[1]
        slopes = np.sqrt(self._across**2 * (by_row**2 + by_column**2) + slanted**2)
        band = (smooth > _BAND[0]) & (smooth < _BAND[1])
        total = float(slopes[band].sum())
        adjoining = ndimage.binary_dilation(
            region & ndimage.binary_dilation(around, _EIGHT), _EIGHT, iterations=_BESIDE
        )
        touched = float(slopes[band & (beside >= 0.5 * (1 - smooth)) & self._fine(adjoining)].sum())
        return touched / total if total else 0.0, float(slopes.sum()) * math.prod(self._steps)

    def _smooth(self, mask: Bools) -> Array:
        fine = self._fine(mask).astype(np.float32)
        return np.asarray(ndimage.gaussian_filter(fine, self._sigmas, truncate=3.0), np.float64)

    def _fine(self, mask: Bools) -> Bools:
        return np.repeat(np.repeat(mask, self._times[0], axis=0), self._times[1], axis=1)
