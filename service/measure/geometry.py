"""Planes in the patient coordinate system (PS3.3 C.7.6.2.1.1): millimetres, LPS; x grows to the left, y to the back, z to the head.

A *depth* is a position along the common normal of parallel planes. Pixel indices count from 0 at the centre of the upper left pixel;
image coordinates of the standard (PS3.3 C.18.6.1.1) have 0.5 there.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.read.segmentation import PlaneGeometry, Vector

Array = NDArray[np.float64]

#: planes whose normals differ by less are parallel: 0.8 degrees
_PARALLEL = 1 - 1e-4
#: part of the slice spacing within which two planes are one
_SAME_PLANE = 0.05
_SMALLEST_DISTANCE = 0.01
#: a gap counts as a multiple of the spacing when it is that near to one
_MULTIPLE = 0.1
#: part of the gaps up to which multiples are missing slices, not another spacing
_RARE = 0.1
_AXIS_NAMES = ("sagittal", "coronal", "axial")
_OBLIQUE = np.cos(np.radians(10))


def normal_of(plane: PlaneGeometry) -> Array:
    """Return the unit normal of ``plane``; not to be written to."""
    return _normal(plane.along_row, plane.along_column)


@functools.lru_cache(maxsize=64)
def _normal(along_row: Vector, along_column: Vector) -> Array:
    # thousands of frames share a handful of orientations
    normal: Array = np.cross(along_row, along_column)
    normal.flags.writeable = False
    return normal


def parallel(normals: Array, normal: Array) -> NDArray[np.bool_]:
    """Say which of ``normals`` (shape (n, 3) or (3,), unit length) are parallel to ``normal``, whatever their direction."""
    return np.asarray(np.abs(normals @ normal) >= _PARALLEL, bool)


def to_patient(plane: PlaneGeometry, columns: Array, rows: Array) -> Array:
    """Return where pixels (indices, from 0) lie, in mm; shape (n, 3)."""
    along_row = np.multiply.outer(columns * plane.spacing[1], np.array(plane.along_row))
    along_column = np.multiply.outer(rows * plane.spacing[0], np.array(plane.along_column))
    return np.asarray(np.array(plane.origin) + along_row + along_column, np.float64)


def to_pixels(plane: PlaneGeometry, points: Array) -> tuple[Array, Array]:
    """Return the column and row indices, from 0, of ``points`` (mm, shape (n, 3)) projected onto ``plane``."""
    relative = points - np.array(plane.origin)
    return relative @ np.array(plane.along_row) / plane.spacing[1], relative @ np.array(
        plane.along_column
    ) / plane.spacing[0]


def plane_name(normal: Array) -> str:
    """Return "axial", "coronal" or "sagittal", whichever is nearest; with "oblique" before it from 10 degrees on."""
    axis = int(np.argmax(np.abs(normal)))
    return _AXIS_NAMES[axis] if abs(normal[axis]) >= _OBLIQUE else f"oblique {_AXIS_NAMES[axis]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slabs:
    """How thick the slices are: from where to where, along the normal, each plane stands for the tissue around it."""

    #: depth of each plane, ascending
    depths: tuple[float, ...]
    #: lower and upper face of each plane's slab
    faces: tuple[tuple[float, float], ...]
    #: pairs of depths between which slices are missing
    missing: tuple[tuple[float, float], ...] = ()
    unequal: bool = False

    def index(self, depth: float) -> int | None:
        """Return which plane lies at ``depth``, or None."""
        at = int(np.argmin(np.abs(np.array(self.depths) - depth)))
        low, high = self.faces[at]
        return at if abs(self.depths[at] - depth) <= tolerance(high - low) else None

    def missing_within(self, low: float, high: float) -> bool:
        """Say whether slices are missing between two depths."""
        return any(a < high and b > low for a, b in self.missing)


def tolerance(spacing: float) -> float:
    """Return the distance in mm within which two planes are the same."""
    return max(_SMALLEST_DISTANCE, _SAME_PLANE * spacing)


def slabs_of(depths: list[float], nominal: float | None, *, complete: bool) -> Slabs:
    """Return the slabs around parallel planes.

    A face lies half way between two planes; at the ends, and beside missing slices, half the usual spacing away.

    Parameters
    ----------
    depths:
        Of the planes in any order; several at one place count once.
    nominal:
        The slice spacing in mm that the object states, if any.
    complete:
        Whether ``depths`` are all planes of the stack. Where they are not (a segmentation leaves out its empty frames), a gap of
        several spacings is no gap in the images, and every slab is one spacing thick.

    Raises
    ------
    InputError
        The thickness of the only plane is not known.
    """
    planes = _merged(sorted(depths), nominal)
    gaps = [b - a for a, b in pairwise(planes)]
    if not gaps:
        if nominal is None:
            raise InputError("the slice spacing is not known: there is one slice, and no thickness is stated")
        return Slabs(depths=tuple(planes), faces=tuple((d - nominal / 2, d + nominal / 2) for d in planes))
    usual = _usual(gaps, nominal)
    multiples = [round(g / usual) for g in gaps]
    regular = all(abs(g / usual - m) <= _MULTIPLE and m >= 1 for g, m in zip(gaps, multiples, strict=True))
    wide = [i for i, m in enumerate(multiples) if m > 1]
    if not complete and regular:
        return Slabs(depths=tuple(planes), faces=tuple((d - usual / 2, d + usual / 2) for d in planes))
    missing = {i for i in wide if regular and len(wide) <= max(1, _RARE * len(gaps))}
    below = [usual if i in missing else g for i, g in enumerate(gaps)]
    lower = [below[0], *below]
    upper = [*below, below[-1]]
    return Slabs(
        depths=tuple(planes),
        faces=tuple((d - a / 2, d + b / 2) for d, a, b in zip(planes, lower, upper, strict=True)),
        missing=tuple((planes[i], planes[i + 1]) for i in sorted(missing)),
        unequal=max(below) - min(below) > _SAME_PLANE * usual,
    )


def _merged(depths: list[float], nominal: float | None) -> list[float]:
    near = tolerance(nominal) if nominal else _SMALLEST_DISTANCE
    kept: list[float] = []
    for depth in depths:
        if not kept or depth - kept[-1] > near:
            kept.append(depth)
    return kept


def _usual(gaps: list[float], nominal: float | None) -> float:
    """Return the spacing that most gaps have: the stated one where some do, else the most frequent, else the smallest."""
    if nominal and any(abs(g - nominal) <= _SAME_PLANE * nominal for g in gaps):
        near = [g for g in gaps if abs(g - nominal) <= _SAME_PLANE * nominal]
        return float(np.median(near))
    ordered = np.array(sorted(gaps))
    counts = (np.abs(ordered[:, None] - ordered) <= _SAME_PLANE * ordered[:, None]).sum(axis=1)
    best = float(ordered[int(counts.argmax())])
    return float(np.median([g for g in ordered if abs(g - best) <= _SAME_PLANE * best]))
