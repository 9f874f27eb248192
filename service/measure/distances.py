"""The shortest distance between two segments, in mm by the places of their voxels: the two may be on different grids.

The surfaces are those of `Solid.crossings`. A voxel is marked when its centre is inside, so no mask says where a surface lies better
than to half a voxel: that is what `Gap.within` states.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from service.measure.geometry import Array
from service.measure.solid import Indices, Solid

#: one surface voxel of so many gives a first bound
_SAMPLE = 64


class Nearest:
    """Finds what lies nearest to one segment: its surface is sorted once, for any number of others."""

    def __init__(self, solid: Solid) -> None:
        self.solid = solid
        self.voxels = solid.surface
        self._points = solid.points(self.voxels)
        self._tree = cKDTree(self._points)
        self._low, self._high = self._points.min(axis=0), self._points.max(axis=0)

    def gap(self, other: Solid) -> Gap:
        """Return how far ``other`` lies away."""
        voxels = other.surface
        points = other.points(voxels)
        step = self.solid.diagonal + other.diagonal
        first = self._tree.query(points[::_SAMPLE])[0].min()
        # farther from the box around this one than a pair that is known: never the nearest
        beside = np.maximum(np.maximum(self._low - points, points - self._high), 0)
        near = np.flatnonzero((beside**2).sum(axis=1) <= (first + step) ** 2)
        away = self._tree.query(points[near], distance_upper_bound=first + step)[0]
        centres = float(away.min())
        theirs = near[away <= centres + step]
        return Gap(nearest=self, other=other, centres=centres, theirs=voxels[theirs], their_points=points[theirs])

    def within(self, reach: float, points: Array) -> Indices:
        """Return the voxels of the surface that lie within ``reach`` of one of ``points``."""
        low, high = points.min(axis=0) - reach, points.max(axis=0) + reach
        near = np.flatnonzero(((self._points >= low) & (self._points <= high)).all(axis=1))
        away = cKDTree(points).query(self._points[near], distance_upper_bound=reach)[0]
        return np.asarray(self.voxels[near[away < np.inf]])


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far two segments lie apart, where they do not touch."""

    nearest: Nearest
    other: Solid
    #: the shortest distance of two voxel centres, mm
    centres: float
    #: voxels of the other segment that may be the nearest, and where they lie
    theirs: Indices
    their_points: Array

    @property
    def step(self) -> float:
        """Return how far the centres of voxels that touch may lie apart at most, mm."""
        return self.nearest.solid.diagonal + self.other.diagonal

    @property
    def within(self) -> float:
        """Return how exactly the distance is known, mm: half the diagonal of the larger voxel."""
        return max(self.nearest.solid.diagonal, self.other.diagonal) / 2

    @cached_property
    def distance(self) -> float:
        """Return the shortest distance of the surfaces, mm."""
        ours, solid = self.nearest.within(self.centres + self.step, self.their_points), self.nearest.solid
        mine = solid.crossings(solid.faces_at(ours))
        others = self.other.crossings(self.other.faces_at(self.theirs))
        return float(cKDTree(mine).query(others)[0].min())
