"""Where a body ends between two slices: its sections shrink towards its end, and the last ones tell how far it still goes.

The area of an ellipsoid's sections is a quadratic function of their place, which three of them determine. A body whose sections do not
shrink ends flat, anywhere before the next slice: half way on average.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from service.measure.geometry import Array

_EIGHT = np.ones((3, 3), bool)
_HALF_WAY = 0.5


def rises(sections: NDArray[np.bool_], beyond: NDArray[np.bool_], depths: Array, pixel: tuple[float, float]) -> Array:
    """Return how far the body reaches above its last section, as part of the way to the next slice.

    Parameters
    ----------
    sections:
        The last section and up to two before it; shape (sections, rows, columns).
    beyond:
        The slice after the last section.
    depths:
        How far each section lies before the last one, in steps to the next slice: 0, 1, 2 with equal spacing.
    pixel:
        Distance of rows and of columns, mm.

    Returns
    -------
    Array
        Shape (rows, columns); NaN outside the section, and in regions of it that go on beyond.
    """
    last = sections[0]
    found = np.full(last.shape, np.nan)
    labels, count = ndimage.label(last, _EIGHT)
    going_on = set(np.unique(labels[ndimage.binary_dilation(beyond, _EIGHT)]).tolist())
    below = [ndimage.label(s, _EIGHT)[0] for s in sections[1:]]
    for region in range(1, count + 1):
        if region in going_on:
            continue
        part = labels == region
        areas, under = [float(part.sum())], part
        for other in below:
            under = np.isin(other, np.unique(other[under & (other > 0)]))
            areas.append(float(under.sum()))
            if not areas[-1]:
                break
        height, flat = _height([a for a in areas if a], depths)
        rows, columns = np.nonzero(part)
        squared = ((rows - rows.mean()) * pixel[0]) ** 2 + ((columns - columns.mean()) * pixel[1]) ** 2
        round_top = np.maximum(0, 1 - squared / (areas[0] * math.prod(pixel) / math.pi))
        found[rows, columns] = height * (flat + (1 - flat) * round_top)
    return found


def _height(areas: list[float], depths: Array) -> tuple[float, float]:
    """Return the height of the end, and how flat it is: 0 for a round one, 1 for one whose sections do not shrink."""
    end = math.inf
    if len(areas) > 1:
        degree = len(areas) - 1
        roots = np.roots(np.polyfit(-depths[: len(areas)], areas, degree))
        ahead = [float(r.real) for r in roots if abs(r.imag) < 1e-9 and r.real > 0]  # noqa: PLR2004 - a real root
        end = min(ahead, default=math.inf)
    if end <= 1:
        return end, 0.0
    # the next slice is empty, so that a round end would have been before it: the nearer to twice the way, the flatter
    flat = min(1.0, end - 1)
    return 1 - flat * (1 - _HALF_WAY), flat
