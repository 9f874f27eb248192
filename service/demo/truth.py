"""What is true of the phantom's tumour, from its shape alone, and how far a measurement on voxels may be from it.

A voxel belongs to the tumour when its centre does. From that follow the tolerances, for pixels of *p* and slices *t* apart:

* in a slice, the outermost pixel centres lie less than a pixel inside the outline: at most *p* is lost at each end of a length;
* the largest section lies between two slices, at most *t*/2 from one of them: there all lengths are shorter by the factor
  sqrt(1 - (t/2s)²), where *s* is how far the mass reaches along the stack;
* a slice stands for its whole thickness, so along the stack each end is off by at most *t*/2, and by what a tip loses where it is
  narrower than a pixel;
* a voxel on the surface is counted whole or not at all. These errors cancel: three hundredths of a voxel over all of the surface
  are more than what remains.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from service.demo.anatomy import CORE, HOUNSFIELD, MASS, THROMBUS, Ellipsoid, Tissue, Vector

_AXES: tuple[Vector, Vector, Vector] = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
#: mm, of the grid that the overlap of mass and thrombus is summed over
_FINE = 0.25
_SURFACE_SHARE = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where and how finely the tumour is sampled: mm, and the unit normal of the slices."""

    pixel: float
    slice_spacing: float
    normal: Vector = (0.0, 0.0, 1.0)
    #: standard deviation of the noise, HU
    noise: float = 0.0
    phase: str = "portal venous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """One number that a report has to give: mm, mm3, HU or %, and how far it may be off.

    ``item`` and ``derivation`` are keys of ``codes.csv``, as measurements use them.
    """

    name: str
    item: str
    value: float
    tolerance: float
    unit: str
    derivation: str = ""

    def admits(self, measured: float) -> bool:
        """Say whether ``measured`` is near enough."""
        return abs(measured - self.value) <= self.tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What is true of the tumour."""

    long_axis: Expected
    short_axis: Expected
    craniocaudal: Expected
    transverse: Expected
    anteroposterior: Expected
    volume: Expected
    mean_hu: Expected
    sd_hu: Expected
    below_30_hu: Expected

    @property
    def all(self) -> tuple[Expected, ...]:
        """Return all of it, in the order in which a report tells it."""
        return (
            self.long_axis,
            self.short_axis,
            self.craniocaudal,
            self.transverse,
            self.anteroposterior,
            self.volume,
            self.mean_hu,
            self.sd_hu,
            self.below_30_hu,
        )


def truth_on(grid: Grid) -> Truth:
    """Return the truth, with the tolerances that ``grid`` calls for."""
    major, minor = MASS.section(grid.normal)
    longest = 1 - math.sqrt(1 - min(1.0, grid.slice_spacing / 2 / MASS.reach(grid.normal)) ** 2)
    pixels = 2 * grid.pixel
    transverse, anteroposterior, craniocaudal = (
        _extent(name, item, axis, grid)
        for name, item, axis in (
            ("Transverse extent", "sz.width", _AXES[0]),
            ("Anteroposterior extent", "sz.depth", _AXES[1]),
            ("Craniocaudal extent", "sz.height", _AXES[2]),
        )
    )
    return Truth(
        # the thrombus begins above the largest section of the mass, and below it would not reach beyond
        long_axis=Expected(
            name="Long axis",
            item="sz.long_axis",
            value=2 * major,
            tolerance=pixels + 2 * major * longest,
            unit="mm",
        ),
        short_axis=Expected(
            name="Short axis",
            item="sz.short_axis",
            value=2 * minor,
            tolerance=pixels + 2 * minor * longest,
            unit="mm",
        ),
        craniocaudal=craniocaudal,
        transverse=transverse,
        anteroposterior=anteroposterior,
        volume=_volume(grid),
        **_attenuation(grid),
    )


def bounds(direction: Vector) -> tuple[float, float]:
    """Return where the tumour begins and ends along a unit vector, in mm from the origin."""
    parts = [(float(np.dot(e.centre, direction)), e.reach(direction)) for e in (MASS, THROMBUS)]
    return min(c - r for c, r in parts), max(c + r for c, r in parts)


def _extent(name: str, item: str, axis: Vector, grid: Grid) -> Expected:
    low, high = bounds(axis)
    across = abs(float(np.dot(axis, grid.normal)))
    in_plane = math.sqrt(max(0.0, 1 - across**2))
    tip = 2 * max(_tip(e, axis, grid) for e in (MASS, THROMBUS))
    return Expected(
        name=name,
        item=item,
        value=high - low,
        tolerance=2 * grid.pixel * in_plane + grid.slice_spacing * across + tip,
        unit="mm",
    )


def _tip(shape: Ellipsoid, axis: Vector, grid: Grid) -> float:
    """Return how much of an end of ``shape`` along ``axis`` may fall between the points of the grid."""
    narrow = shape.section(axis)[1]
    step = math.hypot(grid.pixel, grid.pixel) / 2
    across = abs(float(np.dot(axis, grid.normal)))
    # an end within the plane of the slices may lie between two of them
    step = max(step, math.sqrt(max(0.0, 1 - across**2)) * grid.slice_spacing / 2)
    return shape.reach(axis) * (1 - math.sqrt(1 - min(1.0, step / narrow) ** 2))


def _overlap() -> float:
    """Return the volume in mm3 that mass and thrombus share."""
    boxes = [[(c - e.reach(a), c + e.reach(a)) for c, a in zip(e.centre, _AXES, strict=True)] for e in (MASS, THROMBUS)]
    lows, highs = np.array(boxes)[..., 0].max(axis=0), np.array(boxes)[..., 1].min(axis=0)
    x, y, z = np.meshgrid(*(np.arange(a + _FINE / 2, b, _FINE) for a, b in zip(lows, highs, strict=True)))
    return float(np.count_nonzero(MASS.holds(x, y, z) & THROMBUS.holds(x, y, z))) * _FINE**3


def _volume(grid: Grid) -> Expected:
    voxel = (grid.pixel**2 * grid.slice_spacing) ** (1 / 3)
    return Expected(
        name="Volume",
        item="sz.volume",
        value=MASS.volume + THROMBUS.volume - _overlap(),
        tolerance=_SURFACE_SHARE * voxel * (MASS.surface + THROMBUS.surface),
        unit="mm3",
    )


def _attenuation(grid: Grid) -> dict[str, Expected]:
    """Return mean, standard deviation and low part: two tissues, each with Gaussian noise and rounded to whole HU."""
    volume = _volume(grid)
    share = CORE.volume / volume.value
    voxel = (grid.pixel**2 * grid.slice_spacing) ** (1 / 3)
    off = share * (_SURFACE_SHARE * voxel * CORE.surface / CORE.volume + volume.tolerance / volume.value)
    levels = HOUNSFIELD[grid.phase]
    solid, dead = levels[Tissue.TUMOUR], levels[Tissue.NECROSIS]
    voxels = volume.value / voxel**3
    spread = math.hypot(grid.noise, math.sqrt(1 / 12) if grid.noise else 0.0)
    sd = math.hypot(spread, math.sqrt(share * (1 - share)) * (solid - dead))
    low = share * _below(30, dead, grid.noise) + (1 - share) * _below(30, solid, grid.noise)
    # five standard errors of what the noise does to the mean of so many voxels
    error = 5 * sd / math.sqrt(voxels)
    return {
        "mean_hu": Expected(
            name="Mean attenuation",
            item="ct.hu",
            derivation="deriv.mean",
            value=solid + (dead - solid) * share,
            tolerance=abs(solid - dead) * off + error,
            unit="HU",
        ),
        "sd_hu": Expected(
            name="Standard deviation",
            item="ct.hu",
            derivation="deriv.sd",
            value=sd,
            # d(sd)/d(share) is (solid - dead)² (1 - 2 share) / 2 sd
            tolerance=(solid - dead) ** 2 * abs(1 - 2 * share) / (2 * sd) * off + error,
            unit="HU",
        ),
        "below_30_hu": Expected(
            name="Part below 30 HU",
            item="ms.low_att_fraction",
            value=100 * low,
            tolerance=100 * (off + 5 * math.sqrt(low * (1 - low) / voxels)),
            unit="%",
        ),
    }


def _below(limit: int, level: float, noise: float) -> float:
    """Return which part of the voxels of a tissue lies below ``limit`` HU."""
    if not noise:
        return float(level < limit)
    return 0.5 * (1 + math.erf((limit - 0.5 - level) / noise / math.sqrt(2)))
