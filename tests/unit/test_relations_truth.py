"""Distances and contacts against shapes for which they are known: oblique, anisotropic, unequally spaced, on one grid or on two."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.phantoms import CORONAL, Grid, box, ellipsoid
from tests.relations import cylinder, exclusive, relations, seg, value
from tests.unit.test_measure_truth import orientation

EQUAL = tuple(2.5 * i for i in range(24))
UNEQUAL = tuple(float(d) for d in np.cumsum([2.0, 2.0, 3.1, 3.1] * 6))
GRIDS = {
    "axial": Grid(rows=72, columns=72, depths=EQUAL),
    "thick slices": Grid(rows=72, columns=72, depths=tuple(5.0 * i for i in range(13))),
    "anisotropic pixels": Grid(rows=90, columns=52, spacing=(0.8, 1.4), depths=EQUAL),
    "unequal slices": Grid(rows=72, columns=72, depths=UNEQUAL),
    "oblique": Grid(rows=72, columns=72, orientation=orientation(0.3, -0.2, 0.15), depths=EQUAL),
    "oblique, anisotropic, unequal": Grid(
        rows=90, columns=52, spacing=(0.8, 1.4), orientation=orientation(-0.4, 0.25, 0.5), depths=UNEQUAL
    ),
    "from head to feet": Grid(rows=72, columns=72, depths=tuple(-d for d in EQUAL)),
    "coronal": Grid(rows=72, columns=72, orientation=CORONAL, depths=EQUAL),
}
OFF_CENTRE = np.array([0.3, -0.4, 0.2])


def half_diagonal(grid: Grid) -> float:
    return math.hypot(*grid.spacing, float(np.abs(np.diff(grid.depths)).max())) / 2


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize(
    "direction", [(1, 0, 0), (0.6, -0.7, 0.4), (0, 0.1, 1)], ids=["transverse", "slanting", "craniocaudal"]
)
def test_the_distance_of_spheres(tmp_path: Path, grid: Grid, direction: tuple[float, ...]) -> None:
    towards = np.array(direction) / np.linalg.norm(direction)
    radii, gap = (11.0, 8.0), 7.3
    centre = grid.centre + OFF_CENTRE
    apart = (sum(radii) + gap) / 2
    masks = {
        "tumour": grid.voxels(ellipsoid(centre - apart * towards, (radii[0],) * 3)),
        "org.duodenum": grid.voxels(ellipsoid(centre + apart * towards, (radii[1],) * 3)),
    }
    found = relations(tmp_path, seg(grid, masks))["org.duodenum"]
    # the spheres are 11 and 8 mm from the middle of their gap, wherever it lies
    assert abs(value(found, "org.distance") - gap) <= half_diagonal(grid)
    assert found.within == pytest.approx(half_diagonal(grid), abs=0.3)
    assert found.number("org.contact_area") is None


@pytest.mark.parametrize("turn", [0.0, 0.4], ids=["straight", "turned"])
def test_the_distance_of_boxes(tmp_path: Path, turn: float) -> None:
    grid = Grid(rows=80, columns=80, spacing=(0.8, 0.8), orientation=orientation(z=turn), depths=EQUAL)
    x, y, z = grid.centre
    masks = {
        "tumour": grid.voxels(box((x - 15.05, y, z), (19.9, 22, 25))),
        "org.kidney/left": grid.voxels(box((x + 12.55, y, z), (15.1, 18, 30))),
    }
    found = relations(tmp_path, seg(grid, masks))["org.kidney/left"]
    assert abs(value(found, "org.distance") - 10.1) <= half_diagonal(grid)


WRAPS = (50, 170, 250, 360)


@pytest.mark.parametrize(
    ("name", "along"), [*((name, "z") for name in GRIDS), *((name, "slices") for name in GRIDS if "oblique" in name)]
)
def test_a_tumour_that_wraps_a_tube(tmp_path: Path, name: str, along: str) -> None:
    grid = GRIDS[name]
    axis = np.array([0, 0, 1.0]) if along == "z" else grid.normal
    for radius, wrap in zip((10.0, 12.0, 9.0, 14.0), WRAPS, strict=True):
        rng = np.random.default_rng(wrap)
        centre, start, half = grid.centre + rng.uniform(-0.5, 0.5, 3), float(rng.uniform(0, 360)), 15.0
        masks = {
            "tumour": grid.voxels(
                cylinder(centre, radius + 11, axis=axis, inner=radius, wrap=(start, wrap), half=half)
            ),
            "ves.ivc": grid.voxels(cylinder(centre, radius, axis=axis)),
        }
        folder = tmp_path / str(wrap)
        found = relations(folder, seg(grid, masks))["ves.ivc"]
        what = f"{wrap} degrees of {radius} mm"
        assert value(found, "ves.contact_angle") == pytest.approx(wrap, abs=5), what
        assert value(found, "ves.distance") == 0
        thickness = float(np.abs(np.diff(grid.depths)).max())
        assert value(found, "ves.contact_length") == pytest.approx(2 * half, abs=2 * thickness), what
        assert value(found, "ivc.length") == value(found, "ves.contact_length")
        area = math.radians(wrap) * radius * 2 * half
        assert value(found, "ves.contact_area") == pytest.approx(area, rel=0.15, abs=thickness * 2 * half), what


def test_a_tube_in_the_edge_of_a_mass(tmp_path: Path) -> None:
    # the surfaces of tube and ball cross where the angle at the tube's axis says
    grid = Grid(rows=110, columns=110, spacing=(0.8, 0.8), depths=EQUAL)
    x, y, z = grid.centre
    radius, ball, apart = 10.0, 30.0, 33.0
    masks = exclusive(
        {
            "ves.aorta_abd": grid.voxels(cylinder((x + 18, y, z), radius)),
            "tumour": grid.voxels(ellipsoid((x + 18 - apart, y, z), (ball,) * 3)),
        }
    )
    found = relations(tmp_path, seg(grid, dict(reversed(masks.items()))))["ves.aorta_abd"]
    half = math.acos((radius**2 + apart**2 - ball**2) / (2 * radius * apart))
    assert value(found, "ves.contact_angle") == pytest.approx(2 * math.degrees(half), abs=5)
    evidence = found.number("ves.contact_angle")
    assert evidence is not None
    assert "greatest in" in evidence.method


@pytest.mark.parametrize("wrap", [100, 250])
def test_a_structure_on_another_grid(tmp_path: Path, wrap: int) -> None:
    fine = Grid(rows=90, columns=90, spacing=(0.8, 0.8), depths=tuple(1.5 * i for i in range(40)))
    coarse = Grid(
        origin=(-70.0, -60.0, -4.0),
        rows=64,
        columns=64,
        spacing=(1.3, 1.3),
        orientation=orientation(0.1, 0, 0.2),
        depths=EQUAL,
    )
    centre = fine.centre
    tumour = seg(coarse, {"tumour": coarse.voxels(cylinder(centre, 25, inner=12, wrap=(20, wrap), half=14))})
    vessel = seg(fine, {"ves.ivc": fine.voxels(cylinder(centre, 12))}, uid="1.2.826.0.1.3680043.8.498.77.9.2")
    found = relations(tmp_path, tumour, vessel)["ves.ivc"]
    assert value(found, "ves.distance") == 0
    # half a pixel of the coarser grid at each end, and that of the finer
    assert value(found, "ves.contact_angle") == pytest.approx(wrap, abs=math.degrees(1.3 / 12) + 5)
    assert value(found, "ves.contact_length") == pytest.approx(28, abs=5)
    assert any("On other voxels" in r for r in found.remarks)


def test_what_lies_apart_is_not_touched(tmp_path: Path) -> None:
    # one empty pixel between them
    grid = Grid(rows=72, columns=72, depths=EQUAL)
    x, y, z = grid.centre
    masks = {
        "tumour": grid.voxels(cylinder((x, y, z), 24, inner=12.3, half=15)),
        "ves.ivc": grid.voxels(cylinder((x, y, z), 10)),
    }
    found = relations(tmp_path, seg(grid, masks))["ves.ivc"]
    assert 0.8 <= value(found, "ves.distance") <= 2.3 + half_diagonal(grid)
    assert found.number("ves.contact_angle") is None
    assert found.number("ves.contact_area") is None
    assert found.number("ivc.length") is None


def test_the_same_on_every_kind_of_segmentation(tmp_path: Path) -> None:
    grid = Grid(rows=60, columns=60, depths=EQUAL[:12])
    masks = {
        "tumour": grid.voxels(cylinder(grid.centre, 20, inner=9, wrap=(0, 130), half=10)),
        "ves.ivc": grid.voxels(cylinder(grid.centre, 9)),
    }
    found = [
        relations(tmp_path / kind, replace(seg(grid, {k: m * most for k, m in masks.items()}), kind=kind))[
            "ves.ivc"
        ].measurements
        for kind, most in (("BINARY", 1), ("LABELMAP", 1), ("FRACTIONAL", 200))
    ]
    numbers = [[(m.name, m.value) for m in one] for one in found]
    assert numbers[0] == numbers[1] == numbers[2]
