"""Measurements against shapes whose size is known: oblique, anisotropic, unequally spaced."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from service.model.measurement import Reference, SegmentMeasurements
from tests.phantoms import CORONAL, Ct, Grid, Part, Seg, box, ellipsoid, measured, phantom, value


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Return the rotation by these angles (radians) about the three axes."""
    turned = np.eye(3)
    for axis, angle in enumerate((x, y, z)):
        a, b = [(1, 2), (0, 2), (0, 1)][axis]
        step = np.eye(3)
        step[a, a] = step[b, b] = math.cos(angle)
        step[a, b], step[b, a] = -math.sin(angle), math.sin(angle)
        turned = step @ turned
    return turned


def orientation(x: float = 0, y: float = 0, z: float = 0) -> tuple[float, ...]:
    turned = rotation(x, y, z)
    return (*turned[:, 0], *turned[:, 1])


EQUAL = tuple(2.5 * i for i in range(44))
UNEQUAL = tuple(float(d) for d in np.cumsum([2.0, 2.0, 3.1, 3.1] * 11))
GRIDS = {
    "axial": Grid(rows=110, columns=110, depths=EQUAL),
    "thick slices": Grid(rows=110, columns=110, depths=tuple(5.0 * i for i in range(22))),
    "anisotropic pixels": Grid(rows=140, columns=80, spacing=(0.8, 1.4), depths=EQUAL),
    "unequal slices": Grid(rows=110, columns=110, depths=UNEQUAL),
    "oblique": Grid(rows=110, columns=110, orientation=orientation(0.3, -0.2, 0.15), depths=EQUAL),
    "oblique, anisotropic, unequal": Grid(
        rows=140, columns=80, spacing=(0.8, 1.4), orientation=orientation(-0.4, 0.25, 0.5), depths=UNEQUAL
    ),
    "coronal": Grid(rows=110, columns=110, orientation=CORONAL, depths=EQUAL),
    "from head to feet": Grid(rows=110, columns=110, depths=tuple(-d for d in EQUAL)),
    "flipped rows and columns": Grid(rows=110, columns=110, orientation=(-1.0, 0, 0, 0, -1.0, 0), depths=EQUAL),
}
OFF_CENTRE = np.array([0.3, -0.4, 0.2])
SEMI_AXES = {"sphere": (30.0, 30.0, 30.0), "ellipsoid": (38.0, 24.0, 31.0)}


def near(of: float, truth: float, grid: Grid) -> bool:
    """Say whether a length is right within one voxel diagonal and one in a hundred."""
    diagonal = math.hypot(*grid.spacing, float(np.abs(np.diff(grid.depths)).max()))
    return abs(of - truth) <= diagonal + 0.01 * truth


def line(of: SegmentMeasurements, name: str) -> Reference:
    (found,) = [e for m in of.measurements if m.name == name for e in m.evidence if e.points]
    return found


@pytest.mark.parametrize("semi_axes", SEMI_AXES.values(), ids=SEMI_AXES)
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_ellipsoids_are_measured_right(tmp_path: Path, grid: Grid, semi_axes: tuple[float, ...]) -> None:
    phantom(tmp_path, ellipsoid(grid.centre + OFF_CENTRE, semi_axes), grid, hounsfield=57.0)
    (tumour,) = measured(tmp_path)
    assert tumour.role == "tumour"
    assert tumour.refusals == ()
    volume = 4 / 3 * math.pi * math.prod(semi_axes)
    assert value(tumour, "sz.volume") == pytest.approx(volume, rel=0.01)
    # a plane cuts an ellipsoid in ellipses, the largest through its centre
    plane = np.array(grid.orientation).reshape(2, 3)
    curvature = np.linalg.eigvalsh(plane @ np.diag(1 / np.array(semi_axes) ** 2) @ plane.T)
    assert near(value(tumour, "sz.long_axis"), 2 / math.sqrt(curvature[0]), grid)
    assert near(value(tumour, "sz.short_axis"), 2 / math.sqrt(curvature[1]), grid)
    for name, semi_axis in zip(("sz.width", "sz.depth", "sz.height"), semi_axes, strict=True):
        assert near(value(tumour, name), 2 * semi_axis, grid), name
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(57, abs=1e-4)
    assert value(tumour, "ct.hu", "deriv.sd") == pytest.approx(0, abs=1e-3)
    assert tumour.centroid == pytest.approx(grid.centre + OFF_CENTRE, abs=0.3)


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_what_is_drawn_is_what_is_said(tmp_path: Path, grid: Grid) -> None:
    ct, _ = phantom(tmp_path, ellipsoid(grid.centre, (30, 20, 25)), grid)
    (tumour,) = measured(tmp_path)
    lines = {name: line(tumour, name) for name in ("sz.long_axis", "sz.short_axis")}
    # viewers compute the length from the points and the image's own spacing
    for name, found in lines.items():
        (x1, y1), (x2, y2) = found.points
        drawn = math.hypot((x2 - x1) * grid.spacing[1], (y2 - y1) * grid.spacing[0])
        assert drawn == pytest.approx(value(tumour, name), abs=1e-9)
        assert all(0 <= x <= grid.columns and 0 <= y <= grid.rows for x, y in found.points)
    long, short = (np.array(r.points) * (grid.spacing[1], grid.spacing[0]) for r in lines.values())
    assert lines["sz.long_axis"].sop_instance_uid == lines["sz.short_axis"].sop_instance_uid
    along, across = long[1] - long[0], short[1] - short[0]
    cosine = abs(along @ across) / np.linalg.norm(along) / np.linalg.norm(across)
    assert cosine < 0.002
    # the two cross: the ends of each lie on both sides of the other
    for one, other in ((long, short), (short, long)):
        normal = np.array([-(other[1] - other[0])[1], (other[1] - other[0])[0]])
        sides = (one - other[0]) @ normal / np.linalg.norm(normal)
        assert sides.min() <= 0.02
        assert sides.max() >= -0.02
    # and lie on the lesion, in the slice they name
    at = int(lines["sz.long_axis"].sop_instance_uid.rpartition(".")[2]) - 1
    for x, y in lines["sz.long_axis"].points:
        assert ct.hounsfield[at, int(y), int(x)] == 60


def test_a_box_is_as_long_as_its_pixels_say(tmp_path: Path) -> None:
    grid = Grid(origin=(0.5, 0.5, 0.5), depths=tuple(float(i) for i in range(40)))
    phantom(tmp_path, box((30, 40, 20), (20, 30, 10)), grid)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "sz.volume") == pytest.approx(20 * 30 * 10)
    # in the plane from pixel centre to pixel centre, across the planes from face to face
    assert value(tumour, "sz.long_axis") == pytest.approx(math.hypot(19, 29))
    assert (value(tumour, "sz.width"), value(tumour, "sz.depth"), value(tumour, "sz.height")) == pytest.approx(
        (19, 29, 10)
    )


def test_the_short_axis_of_a_concave_lesion_stays_within_its_hull(tmp_path: Path) -> None:
    grid = Grid(depths=(0.0, 5.0, 10.0))
    # an L: 60 long at the bottom, 40 high at the left, 10 wide
    masks = np.zeros((3, 128, 128), bool)
    masks[1, 60:100, 20:30] = True
    masks[1, 90:100, 20:80] = True
    ct = Ct(grid=grid, hounsfield=np.where(masks, 50, -1000))
    ct.write(tmp_path)
    Seg(grid=grid, parts=[Part(mask=masks)], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    # corner to corner: (20, 60) to (79, 99)
    assert value(tumour, "sz.long_axis") == pytest.approx(math.hypot(59, 39))
    # the hull's other far corner is (20, 99); its perpendicular ends at the hull's edge beyond the long axis
    inside_hull = 39 * 59 / math.hypot(59, 39)
    assert value(tumour, "sz.short_axis") >= inside_hull - 0.02
    assert value(tumour, "sz.short_axis") < inside_hull + 9


def test_two_lesions_in_one_slice_are_not_one_diameter(tmp_path: Path) -> None:
    grid = Grid(depths=tuple(2.0 * i for i in range(30)))
    (x, y, z) = grid.centre

    def two(a, b, c):  # type: ignore[no-untyped-def]
        return ellipsoid((x - 30, y, z), (10, 10, 10))(a, b, c) | ellipsoid((x + 30, y, z), (15, 12, 12))(a, b, c)

    phantom(tmp_path, two, grid)
    (tumour,) = measured(tmp_path)
    assert value(tumour, "sz.long_axis") == pytest.approx(30, abs=2)
    assert value(tumour, "sz.width") == pytest.approx(85, abs=2)
    assert any("in 2 separate parts" in r for r in tumour.remarks)


def test_a_lesion_of_one_part_says_nothing_of_parts(tmp_path: Path) -> None:
    phantom(tmp_path, ellipsoid(Grid().centre, (20, 20, 30)))
    (tumour,) = measured(tmp_path)
    assert tumour.remarks == ()


def test_parts_that_are_slices_apart_are_two(tmp_path: Path) -> None:
    grid = Grid()
    mask = np.zeros((20, 128, 128), bool)
    mask[3, 50:60, 50:60] = mask[5, 50:60, 50:60] = True
    ct = Ct(grid=grid, hounsfield=np.where(mask, 50, -1000))
    ct.write(tmp_path)
    Seg(grid=grid, parts=[Part(mask=mask)], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert any("in 2 separate parts, the largest holds 50.0 %" in r for r in tumour.remarks)
    assert value(tumour, "sz.height") == pytest.approx(15)


@pytest.mark.parametrize(("width", "short"), [(2, True), (1, False)])
def test_one_pixel_wide_has_no_short_axis(tmp_path: Path, width: int, short: bool) -> None:
    grid = Grid()
    mask = np.zeros((20, 128, 128), bool)
    mask[4, 60 : 60 + width, 20:40] = True
    ct = Ct(grid=grid, hounsfield=np.where(mask, 50, -1000))
    ct.write(tmp_path)
    Seg(grid=grid, parts=[Part(mask=mask)], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert [m.name for m in tumour.measurements if m.name.endswith("_axis")] == ["sz.long_axis", "sz.short_axis"][
        : 1 + short
    ]
    assert any("No short axis" in r for r in tumour.refusals) is not short


def test_one_pixel_has_no_axes(tmp_path: Path) -> None:
    grid = Grid()
    mask = np.zeros((20, 128, 128), bool)
    mask[4, 60, 20] = True
    ct = Ct(grid=grid, hounsfield=np.where(mask, 50, -1000))
    ct.write(tmp_path)
    Seg(grid=grid, parts=[Part(mask=mask)], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    assert "No long and short axis: the segment is one pixel in every slice" in tumour.refusals
    assert value(tumour, "sz.volume") == pytest.approx(5)


def test_the_plane_is_said(tmp_path: Path) -> None:
    for name, word in (("axial", "axial"), ("coronal", "coronal"), ("oblique", "oblique axial")):
        folder = tmp_path / name
        phantom(folder, ellipsoid(GRIDS[name].centre, (20, 25, 30)), GRIDS[name])
        (tumour,) = measured(folder)
        assert tumour.measurements[0].method.startswith(f"{word}, image ")


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("slope", "intercept"), [(1.0, -1024.0), (0.5, -1000.0), (2.0, 0.0)])
def test_attenuation_is_rescaled_and_padding_left_out(
    tmp_path: Path, signed: bool, slope: float, intercept: float
) -> None:
    grid = Grid()
    mask = grid.voxels(ellipsoid(grid.centre, (30, 30, 30)))
    chance = np.random.default_rng(3)
    hounsfield = np.where(mask, np.round(chance.normal(40, 30, mask.shape)) * 2, 200)
    if not signed:
        hounsfield = np.maximum(hounsfield, intercept)
    outside = mask & (chance.random(mask.shape) < 0.1)
    padding = -2000 if signed else 63536 // 2
    ct = Ct(grid=grid, hounsfield=np.where(outside, padding * slope + intercept, hounsfield), slope=slope,
            intercept=intercept, signed=signed, padding=padding)  # fmt: skip
    ct.write(tmp_path)
    Seg(grid=grid, parts=[Part(mask=mask)], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    inside = hounsfield[mask & ~outside]
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx(inside.mean(), abs=1e-3)
    assert value(tumour, "ct.hu", "deriv.sd") == pytest.approx(inside.std(), abs=1e-3)
    assert value(tumour, "ms.low_att_fraction") == pytest.approx(100 * (inside < 30).mean())
    assert value(tumour, "ms.fat_att_fraction") == pytest.approx(100 * (inside < -20).mean())
    assert [m.threshold for m in tumour.measurements if m.name.startswith("ms.")] == [30, -20]
    assert any(r.startswith(f"{int(outside.sum())} voxels of the segment are padding") for r in tumour.remarks)


def test_thick_slices_weigh_more(tmp_path: Path) -> None:
    grid = Grid(depths=(0.0, 2.0, 4.0, 10.0, 16.0))
    mask = np.zeros((5, 128, 128), bool)
    mask[1:4, 50:60, 50:60] = True
    hounsfield = np.where(mask, np.array([0, 10, 20, 100, 0])[:, None, None], 0)
    ct = Ct(grid=grid, hounsfield=hounsfield)
    ct.write(tmp_path)
    Seg(grid=grid, parts=[Part(mask=mask)], ct=ct).write(tmp_path)
    (tumour,) = measured(tmp_path)
    # slabs of 2, 4 and 6 mm
    assert value(tumour, "sz.volume") == pytest.approx(100 * 12)
    assert value(tumour, "ct.hu", "deriv.mean") == pytest.approx((10 * 2 + 20 * 4 + 100 * 6) / 12)
    assert any("unequal spacing" in m.method for m in tumour.measurements if m.name == "sz.volume")
