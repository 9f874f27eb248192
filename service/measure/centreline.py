"""The line through the middle of a vessel that runs across the slices, and lengths along it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from service.measure.geometry import Array
from service.measure.solid import Solid

#: centres are averaged over so many mm to each side: pixels make them jump, and jumps make a line longer
_AVERAGED_MM = 5.0
_SAMPLES_PER_LEVEL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Centreline:
    """Points in the middle of a vessel, one for each level from the first to the last that holds it, and the length along them.

    Lengths grow towards the head, from 0 at the middle of the level that lies next to the feet.
    """

    #: levels of the solid, ascending
    levels: Array
    #: mm, shape (levels, 3)
    points: Array
    #: length along the line at each point, mm
    lengths: Array
    #: half the thickness of each level along the line, mm
    halves: Array

    def span(self, levels: Array) -> tuple[float, float]:
        """Return from where to where ``levels`` reach along the line, from face to face, mm; the end towards the feet first."""
        at = np.searchsorted(self.levels, levels)
        return float((self.lengths[at] - self.halves[at]).min()), float((self.lengths[at] + self.halves[at]).max())

    def where(self, points: Array) -> Array:
        """Return at which length along the line ``points`` (mm, shape (n, 3)) lie: at that of the nearest point of it.

        The line goes on straight beyond its ends.
        """
        if len(self.points) == 1:
            return np.zeros(len(points))
        fine = np.linspace(0, len(self.points) - 1, (len(self.points) - 1) * _SAMPLES_PER_LEVEL + 1)
        at = np.arange(len(self.points))
        line = np.column_stack([np.interp(fine, at, self.points[:, a]) for a in range(3)])
        lengths = np.interp(fine, at, self.lengths)
        nearest = cKDTree(line).query(points)[1]
        found = lengths[nearest]
        for end, inner in ((0, 1), (-1, -2)):
            direction = (line[end] - line[inner]) / np.linalg.norm(line[end] - line[inner])
            beyond = np.maximum((points - line[end]) @ direction, 0)
            at_end = nearest == (end % len(line))
            found = np.where(at_end, found + beyond * np.sign(lengths[end] - lengths[inner]), found)
        return np.asarray(found)

    def lean(self, levels: Array) -> Array:
        """Return the direction (unit length) that the vessel takes at ``levels``, by the points around them."""
        at = np.searchsorted(self.levels, levels)
        low, high = int(at.min()), int(at.max())
        steps = np.linalg.norm(np.diff(self.points, axis=0), axis=1)
        usual = float(np.median(steps)) if steps.size else 1.0
        margin = max(1, round(3 * _AVERAGED_MM / max(usual, 0.1)))
        part = self.points[max(0, low - margin) : high + margin + 1]
        if len(part) < 2:  # noqa: PLR2004 - two points make a line
            return np.zeros(3)
        # of a line that bends, the direction of its largest spread
        direction: Array = np.linalg.svd(part - part.mean(axis=0))[2][0]
        return direction


def centreline_of(solid: Solid) -> Centreline:
    """Return the line through the centres of a vessel's levels; a level without the vessel lies between its neighbours."""
    counts = solid.mask.sum(axis=(1, 2))
    held = np.flatnonzero(counts)
    rows = solid.mask.sum(axis=2) @ np.arange(solid.mask.shape[1])
    columns = solid.mask.sum(axis=1) @ np.arange(solid.mask.shape[2])
    levels = np.arange(held[0], held[-1] + 1)
    row = np.interp(levels, held, rows[held] / counts[held])
    column = np.interp(levels, held, columns[held] / counts[held])
    points = solid.origins[levels] + np.multiply.outer(row, solid.down) + np.multiply.outer(column, solid.right)
    thickness = solid.faces[levels, 1] - solid.faces[levels, 0]
    points = _averaged(points, max(0, round(_AVERAGED_MM / float(np.median(thickness)))))
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    lengths = np.concatenate([[0.0], np.cumsum(steps)])
    depths = (points - points[0]) @ solid.normal
    stretch = np.gradient(lengths, depths) if len(levels) > 1 else np.ones(1)
    if solid.normal[2] < 0:
        lengths = lengths[-1] - lengths
    return Centreline(levels=levels, points=points, lengths=lengths, halves=thickness / 2 * stretch)


def _averaged(points: Array, half: int) -> Array:
    """Return the points averaged over ``half`` neighbours to each side; towards the ends over fewer, so that the ends stay."""
    sums = np.concatenate([np.zeros((1, 3)), np.cumsum(points, axis=0)])
    at = np.arange(len(points))
    reach = np.minimum(half, np.minimum(at, len(points) - 1 - at))
    return np.asarray((sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1)[:, None])
