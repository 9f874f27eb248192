"""An abdomen made of ellipsoids and tubes, in the patient coordinate system (mm, LPS: x grows to the left, y to the back, z to the head).

The tumour is a tilted ellipsoid in the right retroperitoneum with a necrotic core. It takes in the wall of the inferior vena cava and
grows on inside the vein towards the liver. All shapes are convex and have closed formulas, so that what is true of the tumour does not
depend on any grid (`service.demo.truth`).
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Grid = npt.NDArray[np.float64]
Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """An ellipsoid.

    ``semi`` are its semi-axes in mm before it is turned: by ``turned`` degrees about z (from x towards y), then by ``tilted`` degrees
    about x (from y towards z).
    """

    centre: Vector
    semi: Vector
    turned: float = 0.0
    tilted: float = 0.0

    @cached_property
    def _axes(self) -> Grid:
        """The directions of the semi-axes, as columns."""
        turn, tilt = math.radians(self.turned), math.radians(self.tilted)
        about_z = np.array([[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]])
        about_x = np.array([[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]])
        axes: Grid = about_x @ about_z
        return axes

    @cached_property
    def _form(self) -> Grid:
        """The matrix Q of (p - c)' Q (p - c) <= 1."""
        form: Grid = self._axes @ np.diag(1 / np.square(self.semi)) @ self._axes.T
        return form

    def holds(self, x: Grid, y: Grid, z: Grid) -> Mask:
        """Say which points lie inside; all arrays of one shape."""
        cx, cy, cz = self.centre
        reach = self.reach((0, 0, 1))
        if float(z.max()) < cz - reach or float(z.min()) > cz + reach:
            return np.zeros(x.shape, bool)
        dx, dy, dz = x - cx, y - cy, z - cz
        q = self._form
        value = dx * (q[0, 0] * dx + 2 * q[0, 1] * dy + 2 * q[0, 2] * dz)
        value += dy * (q[1, 1] * dy + 2 * q[1, 2] * dz) + q[2, 2] * dz * dz
        inside: Mask = value <= 1.0
        return inside

    def reach(self, direction: Vector) -> float:
        """Return how far it reaches from its centre along a unit vector, in mm: half its extent."""
        return float(np.linalg.norm(np.array(direction) @ self._axes * np.array(self.semi)))

    def section(self, normal: Vector) -> tuple[float, float]:
        """Return the semi-axes in mm, the longer first, of its section through the centre by a plane with this unit normal.

        Parallel planes cut similar ellipses out of it, and this is the largest of them.
        """
        n = np.array(normal)
        first = np.cross(n, [0.0, 0.0, 1.0] if abs(n[2]) < 0.9 else [1.0, 0.0, 0.0])  # noqa: PLR2004 - not along the normal
        first /= np.linalg.norm(first)
        plane = np.column_stack([first, np.cross(n, first)])
        smallest, largest = np.linalg.eigvalsh(plane.T @ self._form @ plane)
        return 1 / math.sqrt(float(smallest)), 1 / math.sqrt(float(largest))

    @property
    def volume(self) -> float:
        """Return its volume in mm3."""
        return 4 / 3 * math.pi * math.prod(self.semi)

    @property
    def surface(self) -> float:
        """Return its surface in mm2, to one in a hundred (Thomsen's formula)."""
        a, b, c = (s**1.6075 for s in self.semi)
        return float(4 * math.pi * ((a * b + a * c + b * c) / 3) ** (1 / 1.6075))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tube:
    """A straight tube along the whole body: axis at (x, y), radius in mm."""

    axis: tuple[float, float]
    radius: float

    def holds(self, x: Grid, y: Grid, z: Grid) -> Mask:  # noqa: ARG002 - it has no ends
        """Say which points lie inside."""
        inside: Mask = (x - self.axis[0]) ** 2 + (y - self.axis[1]) ** 2 <= self.radius**2
        return inside


Shape = Ellipsoid | Tube

BODY: Final = Ellipsoid(centre=(0, 10, 0), semi=(165, 115, 4000))
#: within the wall of muscle
CAVITY: Final = Ellipsoid(centre=(0, 10, 0), semi=(152, 102, 4000))
CAVA: Final = Tube(axis=(-16, 26), radius=12)
MASS: Final = Ellipsoid(centre=(-46, 18, -10), semi=(44, 32, 52), turned=120, tilted=8)
CORE: Final = Ellipsoid(centre=(-48, 20, -12), semi=(20, 14, 25), turned=120, tilted=8)
#: the part inside the vena cava: up from the mass, it tapers towards the liver
THROMBUS: Final = Ellipsoid(centre=(*CAVA.axis, 35), semi=(11, 11, 45))


class Tissue(enum.IntEnum):
    """What a point of the phantom is made of; a higher number displaces a lower one."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    BONE = 3
    BOWEL = 4
    LIVER = 5
    KIDNEY_RIGHT = 6
    KIDNEY_LEFT = 7
    CAVA = 8
    AORTA = 9
    TUMOUR = 10
    NECROSIS = 11


_WHERE: Final[tuple[tuple[Shape, Tissue], ...]] = (
    (Tube(axis=(-42, 70), radius=20), Tissue.MUSCLE),
    (Tube(axis=(42, 70), radius=20), Tissue.MUSCLE),
    (Tube(axis=(0, 62), radius=22), Tissue.BONE),
    (Ellipsoid(centre=(45, -55, -40), semi=(60, 22, 26), turned=8), Tissue.BOWEL),
    (Ellipsoid(centre=(88, -30, 60), semi=(34, 42, 30)), Tissue.BOWEL),
    (Ellipsoid(centre=(-78, -30, 78), semi=(70, 62, 58)), Tissue.LIVER),
    (Ellipsoid(centre=(-92, 60, -55), semi=(27, 24, 50), turned=-25, tilted=8), Tissue.KIDNEY_RIGHT),
    (Ellipsoid(centre=(78, 50, 5), semi=(27, 24, 52), turned=25, tilted=8), Tissue.KIDNEY_LEFT),
    (CAVA, Tissue.CAVA),
    (Tube(axis=(14, 27), radius=10), Tissue.AORTA),
    (MASS, Tissue.TUMOUR),
    (THROMBUS, Tissue.TUMOUR),
    (CORE, Tissue.NECROSIS),
)

#: Hounsfield units of each tissue, in the order of `Tissue`, for each phase
HOUNSFIELD: Final = MappingProxyType(
    {
        "unenhanced": (-1000, -100, 50, 320, 20, 58, 32, 32, 42, 42, 42, 14),
        "arterial": (-1000, -100, 55, 330, 35, 68, 140, 140, 75, 320, 52, 14),
        "portal venous": (-1000, -100, 60, 330, 45, 108, 185, 185, 150, 160, 68, 14),
    }
)


def tissues(x: Grid, y: Grid, z: Grid) -> npt.NDArray[np.uint8]:
    """Return the `Tissue` of each point; all arrays of one shape."""
    body = BODY.holds(x, y, z)
    made = body.astype(np.uint8) * Tissue.MUSCLE
    made[CAVITY.holds(x, y, z)] = Tissue.FAT
    for shape, tissue in _WHERE:
        made[shape.holds(x, y, z) & body] = tissue
    return made
