"""Contours of structure sets: what is inside, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from service.measure.contours import inside
from service.model.measurement import RegionKind, SegmentMeasurements
from tests.phantoms import (
    CORONAL,
    ROOT,
    Contours,
    Ct,
    Grid,
    Part,
    Points,
    Seg,
    ball,
    circle,
    ellipsoid,
    item,
    measured,
    value,
)

GRID = Grid()
MIDDLE = GRID.centre
#: planes at 5 mm
BALL = ball(GRID, 30)
VOLUME = 4 / 3 * np.pi * 30**3
PLANES = [float(GRID.position(at)[2]) for at in range(len(GRID.depths))]


def ct(grid: Grid = GRID, **changes: Any) -> Ct:
    return Ct(grid=grid, hounsfield=np.full((len(grid.depths), grid.rows, grid.columns), 60.0), **changes)


def roi(tmp_path: Path, contours: list[Points], images: Ct | None = None, **changes: Any) -> SegmentMeasurements:
    """Measure one ROI."""
    images = images or ct()
    images.write(tmp_path)
    Contours(contours=contours, ct=images, **changes).write(tmp_path)
    (found,) = measured(tmp_path)
    assert found.kind is RegionKind.ROI
    return found


def said(of: SegmentMeasurements) -> str:
    return "; ".join(of.refusals)


@pytest.mark.parametrize(
    "grid",
    [
        GRID,
        Grid(depths=tuple(2.5 * i for i in range(40)), spacing=(0.8, 1.1), rows=140, columns=110),
        Grid(origin=(-64, 0, 100), orientation=CORONAL, depths=tuple(2.0 * i for i in range(64)), rows=128),
    ],
    ids=["axial", "not square", "coronal"],
)
def test_a_ball_of_contours_has_its_volume_and_its_diameters(tmp_path: Path, grid: Grid) -> None:
    centre = grid.centre
    contours = []
    for at in range(len(grid.depths)):
        depth = (np.array(grid.position(at)) - centre) @ grid.normal
        if abs(depth) < 29.9:
            flat = circle((0, 0), float(np.sqrt(900 - depth**2)), 0)
            right, down = np.array(grid.orientation[:3]), np.array(grid.orientation[3:])
            contours.append([tuple(centre + depth * grid.normal + x * right + y * down) for x, y, _ in flat])
    found = roi(tmp_path, contours, ct(grid))
    assert value(found, "sz.volume") == pytest.approx(VOLUME, rel=0.01)
    assert value(found, "sz.vol_mesh") == pytest.approx(VOLUME, rel=0.02)
    diagonal = float(np.hypot(*grid.spacing))
    assert value(found, "sz.long_axis") == pytest.approx(60, abs=diagonal + 0.6)
    assert value(found, "sz.max3d") == pytest.approx(60, abs=np.hypot(diagonal, grid.depths[1]) + 0.6)
    assert value(found, "ct.hu", "deriv.mean") == pytest.approx(60)
    assert found.refusals == ()


def test_contours_and_the_segment_of_the_same_pixels_measure_the_same_and_are_one(tmp_path: Path) -> None:
    images = ct()
    images.write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=GRID.voxels(ellipsoid(MIDDLE, (30, 30, 30))))], ct=images).write(tmp_path)
    Contours(contours=BALL, ct=images).write(tmp_path)
    segment, contoured = measured(tmp_path)
    assert (segment.kind, contoured.kind) == (RegionKind.SEGMENT, RegionKind.ROI)
    assert value(contoured, "sz.volume") == pytest.approx(value(segment, "sz.volume"), rel=0.01)
    assert segment.overlaps == ((f"{ROOT}.8.1", 1),)
    assert contoured.overlaps == ((f"{ROOT}.9.1", 1),)


def test_contours_elsewhere_are_another_thing(tmp_path: Path) -> None:
    images = ct()
    images.write(tmp_path)
    Seg(grid=GRID, parts=[Part(mask=GRID.voxels(ellipsoid(MIDDLE, (10, 10, 10))))], ct=images).write(tmp_path)
    Contours(contours=ball(GRID, 10, MIDDLE + np.array([30, 0, 0])), ct=images).write(tmp_path)
    segment, contoured = measured(tmp_path)
    assert (segment.overlaps, contoured.overlaps) == ((), ())


def ring(z: float) -> tuple[Points, Points, Points]:
    return circle(MIDDLE, 30, z), circle(MIDDLE, 20, z), circle(MIDDLE, 10, z)


def test_a_contour_within_is_a_hole_and_one_within_that_an_island(tmp_path: Path) -> None:
    found = roi(tmp_path, [c for z in PLANES[8:12] for c in ring(z)])
    assert value(found, "sz.volume") == pytest.approx(np.pi * (900 - 400 + 100) * 20, rel=0.01)


def test_a_keyhole_is_a_hole(tmp_path: Path) -> None:
    def keyhole(z: float) -> Points:
        outer, inner = circle(MIDDLE, 30, z), circle(MIDDLE, 15, z)
        return [*outer, outer[0], *reversed([*inner, inner[0]])]

    found = roi(tmp_path, [keyhole(z) for z in PLANES[8:12]])
    assert value(found, "sz.volume") == pytest.approx(np.pi * (900 - 225) * 20, rel=0.01)


def test_two_islands_in_one_plane_are_both_measured(tmp_path: Path) -> None:
    left, right = MIDDLE - np.array([30, 0, 0]), MIDDLE + np.array([30, 0, 0])
    found = roi(tmp_path, [circle(c, 10, z) for z in PLANES[8:12] for c in (left, right)])
    assert value(found, "sz.volume") == pytest.approx(2 * np.pi * 100 * 20, rel=0.02)
    assert value(found, "sz.long_axis") == pytest.approx(20, abs=2)
    assert "in 2 separate parts" in "; ".join(found.remarks)


def test_the_same_contour_twice_counts_once(tmp_path: Path) -> None:
    found = roi(tmp_path, [*BALL, BALL[3]])
    assert value(found, "sz.volume") == pytest.approx(VOLUME, rel=0.01)


def test_contours_that_cross_are_refused(tmp_path: Path) -> None:
    other = [circle(MIDDLE + np.array([20, 0, 0]), 20, z) for z in PLANES[8:12]]
    assert "cross each other" in said(roi(tmp_path, [*BALL, *other]))


@pytest.mark.parametrize("kind", ["OPEN_PLANAR", "OPEN_NONPLANAR", ""])
def test_open_contours_are_refused(tmp_path: Path, kind: str) -> None:
    found = roi(tmp_path, BALL, kind=kind)
    assert "not closed" in said(found)
    assert found.measurements == ()


def test_points_alone_are_refused(tmp_path: Path) -> None:
    assert "points only" in said(roi(tmp_path, [[p] for p in BALL[0][:4]], kind="POINT"))


def test_a_single_point_beside_contours_changes_nothing(tmp_path: Path) -> None:
    found = roi(tmp_path, [*BALL, [BALL[0][0]]])
    assert value(found, "sz.volume") == pytest.approx(VOLUME, rel=0.01)


def _first(ds: Dataset) -> Dataset:
    first: Dataset = ds.ROIContourSequence[0].ContourSequence[0]
    return first


def _fewer_points(ds: Dataset) -> None:
    _first(ds).NumberOfContourPoints = 7


def _half_a_point(ds: Dataset) -> None:
    _first(ds).ContourData = list(_first(ds).ContourData)[:-1]


def _no_data(ds: Dataset) -> None:
    for contour in ds.ROIContourSequence[0].ContourSequence:
        contour.ContourData, contour.NumberOfContourPoints = None, 0


def _tilted(ds: Dataset) -> None:
    data = list(_first(ds).ContourData)
    data[2] = float(data[2]) + 3
    _first(ds).ContourData = data


def _no_contours(ds: Dataset) -> None:
    del ds.ROIContourSequence


def _no_rois(ds: Dataset) -> None:
    del ds.StructureSetROISequence


def _two_of_one_number(ds: Dataset) -> None:
    ds.StructureSetROISequence = [*ds.StructureSetROISequence, item(ROINumber=1, ROIName="Twin")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_fewer_points, "states 7 points and has 180"),
        (_half_a_point, "coordinates are incomplete"),
        (_no_data, "points only"),
        (_tilted, "do not lie in the planes"),
        (_no_contours, "the ROI has no contour"),
        (_no_rois, "has no ROI"),
        (_two_of_one_number, "without a number of its own"),
    ],
)
def test_damaged_contours_are_refused(tmp_path: Path, change: Callable[[Dataset], None], words: str) -> None:
    found = roi(tmp_path, BALL, change=change)
    assert words in said(found)
    assert found.measurements == ()


def test_another_frame_of_reference_is_refused(tmp_path: Path) -> None:
    assert "another frame of reference" in said(roi(tmp_path, BALL, frame_of_reference_uid=f"{ROOT}.99"))


def test_an_roi_of_another_study_is_refused(tmp_path: Path) -> None:
    ct().write(tmp_path)
    elsewhere = ct(series_uid=f"{ROOT}.77")
    Contours(contours=BALL, ct=elsewhere, study_uid=f"{ROOT}.78").write(tmp_path)
    (found,) = measured(tmp_path)
    assert said(found) == "Not measured: the ROI was drawn on another study"


def test_references_that_dangle_are_resolved_by_place(tmp_path: Path) -> None:
    ct().write(tmp_path)
    Contours(contours=BALL, ct=ct(series_uid=f"{ROOT}.77")).write(tmp_path)
    (found,) = measured(tmp_path)
    assert value(found, "sz.volume") == pytest.approx(VOLUME, rel=0.01)
    assert value(found, "ct.hu", "deriv.mean") == pytest.approx(60)
    assert "The images that the contours name are not in the study" in found.remarks[0]


def test_between_two_series_in_its_planes_none_is_chosen_for_what_needs_images(tmp_path: Path) -> None:
    ct().write(tmp_path)
    ct(series_uid=f"{ROOT}.5", series_number=5).write(tmp_path)
    Contours(contours=BALL, ct=ct(series_uid=f"{ROOT}.77")).write(tmp_path)
    (found,) = measured(tmp_path)
    assert value(found, "sz.volume") == pytest.approx(VOLUME, rel=0.01)
    assert "2 series lie in its planes" in said(found)
    assert not any(m.name == "ct.hu" for m in found.measurements)


def test_no_images_in_its_planes_is_refused(tmp_path: Path) -> None:
    ct().write(tmp_path)
    between = [[(x, y, z + 2) for x, y, z in c] for c in BALL]
    Contours(contours=between, ct=ct(series_uid=f"{ROOT}.77")).write(tmp_path)
    (found,) = measured(tmp_path)
    assert "are not in this study" in said(found)


def test_contours_on_every_second_image_stand_for_the_tissue_between(tmp_path: Path) -> None:
    fine = Grid(depths=tuple(2.0 * i for i in range(48)))
    found = roi(tmp_path, ball(fine, 30)[::2], ct(fine))
    assert value(found, "sz.volume") == pytest.approx(VOLUME, rel=0.02)


def test_contours_between_the_images_are_measured_in_their_own_planes(tmp_path: Path) -> None:
    own = Grid(origin=(-64, -64, 1.3), depths=tuple(2.0 * i for i in range(48)))
    contours = ball(own, 30, MIDDLE)
    found = roi(tmp_path, contours, name_images=True)
    assert value(found, "sz.volume") == pytest.approx(VOLUME, rel=0.02)
    assert "have no image in the study" in said(found)


def test_a_contour_that_is_missing_refuses_what_it_would_falsify(tmp_path: Path) -> None:
    found = roi(tmp_path, [c for n, c in enumerate(BALL) if n != 5])
    assert "No volume: slices are missing inside the segment" in found.refusals
    assert {m.name for m in found.measurements} == {"sz.long_axis", "sz.short_axis"}


def test_contours_beyond_the_images_are_refused(tmp_path: Path) -> None:
    far = ball(GRID, 30, MIDDLE + np.array([50, 0, 0]))
    assert "reaches beyond the images" in said(roi(tmp_path, far))


def test_an_roi_smaller_than_a_pixel_is_refused(tmp_path: Path) -> None:
    speck = [circle((MIDDLE[0], MIDDLE[1]), 0.2, z) for z in PLANES[8:10]]
    assert "smaller than a pixel" in said(roi(tmp_path, speck))


def test_one_contour_has_the_thickness_of_its_image(tmp_path: Path) -> None:
    found = roi(tmp_path, [circle(MIDDLE, 20, PLANES[10])])
    assert value(found, "sz.volume") == pytest.approx(np.pi * 400 * 5, rel=0.01)


def test_images_without_a_place_are_said(tmp_path: Path) -> None:
    images = ct(change=lambda ds, at: ds.__delattr__("ImagePositionPatient"))
    assert "have no position in the patient" in said(roi(tmp_path, BALL, images))


@pytest.mark.parametrize(
    ("name", "interpreted", "role", "basis"),
    [
        ("Tumour", "", "tumour", "the label 'Tumour'"),
        ("ROI-1", "GTV", "tumour", "the interpreted type GTV"),
        ("IVC", "ORGAN", "ves.ivc", "the label 'IVC'"),
        ("Tumor 5mm", "PTV", "", "its interpreted type is PTV, which is no tissue"),
        ("Liver", "GTV", "", "its interpreted type is GTV, the label 'Liver' says otherwise"),
        ("Structure 3", "", "", ""),
    ],
)
def test_what_an_roi_is(tmp_path: Path, name: str, interpreted: str, role: str, basis: str) -> None:
    found = roi(tmp_path, BALL, name=name, interpreted_type=interpreted)
    assert (found.role, found.role_basis) == (role, basis)


def test_long_contours_are_read_whole(tmp_path: Path) -> None:
    """More than 64 KB of coordinates in one contour."""
    found = roi(tmp_path, [circle(MIDDLE, 30, z, corners=4000) for z in PLANES[8:12]])
    assert value(found, "sz.volume") == pytest.approx(np.pi * 900 * 20, rel=0.01)


def test_pixel_centres_decide() -> None:
    square = np.array([0.5, 3.5, 3.5, 0.5]), np.array([1.5, 1.5, 2.5, 2.5])
    expected = np.zeros((4, 5), bool)
    expected[2, 1:4] = True
    np.testing.assert_array_equal(inside(*square, (4, 5)), expected)


def test_neighbouring_polygons_share_no_pixel_and_leave_none_out() -> None:
    """Borders that run through pixel centres belong to one side."""
    left = inside(np.array([0.0, 2.0, 2.0, 0.0]), np.array([0.0, 0.0, 3.0, 3.0]), (4, 6))
    right = inside(np.array([2.0, 4.0, 4.0, 2.0]), np.array([0.0, 0.0, 3.0, 3.0]), (4, 6))
    both = inside(np.array([0.0, 4.0, 4.0, 0.0]), np.array([0.0, 0.0, 3.0, 3.0]), (4, 6))
    assert not (left & right).any()
    np.testing.assert_array_equal(left | right, both)
