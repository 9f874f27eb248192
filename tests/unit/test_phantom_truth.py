"""The phantom's truth is true: by brute force over its shapes, and by measuring its voxels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from service.demo import anatomy, truth
from service.demo.anatomy import CAVA, CORE, MASS, THROMBUS
from service.demo.phantom import Phantom, images, segmentation
from service.demo.truth import Truth
from service.measure.geometry import to_patient
from service.measure.lengths import axes_of, extents_of
from service.measure.mask import MaskSlice, SegmentMask
from service.read.segmentation import PlaneGeometry

GRIDS = [
    Phantom(),
    Phantom(matrix=512, pixel=0.7, slices=50, slice_spacing=3.5),
    Phantom(matrix=128, pixel=2.8, slices=40, slice_spacing=5.0),
    Phantom(matrix=200, pixel=1.9, slices=160, slice_spacing=1.0),
    Phantom(matrix=181, pixel=2.1, slices=71, slice_spacing=2.7, tilt=15.0),
    Phantom(matrix=256, pixel=1.3, slices=60, slice_spacing=3.0, tilt=-20.0),
]


def described(phantom: Phantom) -> str:
    return f"{phantom.pixel}x{phantom.slice_spacing} at {phantom.tilt:g}"


def tumour_mask(phantom: Phantom, *, grown: int = 0) -> SegmentMask:
    """Return the tumour on the phantom's grid, without any DICOM between."""
    line = (np.arange(phantom.matrix) - (phantom.matrix - 1) / 2) * phantom.pixel
    across, down = np.meshgrid(line, line)
    slices = []
    for index, depth in enumerate(phantom.depths):
        (_, cy, cz), (_, ny, nz) = phantom.column, phantom.normal
        points = across, down * cy + depth * ny, down * cz + depth * nz
        mask = MASS.holds(*points) | THROMBUS.holds(*points)
        if grown and mask.any():
            mask = ndimage.binary_dilation(mask, iterations=grown)
        if mask.any():
            plane = PlaneGeometry(
                origin=tuple(float(p[0, 0]) for p in points),  # type: ignore[arg-type]
                along_row=(1.0, 0.0, 0.0),
                along_column=phantom.column,
                spacing=(phantom.pixel, phantom.pixel),
                rows=phantom.matrix,
                columns=phantom.matrix,
            )
            half = phantom.slice_spacing / 2
            slices.append(
                MaskSlice(
                    frame=index, plane=plane, depth=float(depth), faces=(depth - half, depth + half), row=0, column=0,
                    mask=mask, voxels=int(mask.sum()),
                )
            )  # fmt: skip
    return SegmentMask(normal=np.array(phantom.normal), slices=tuple(slices))


def length(mask: SegmentMask, which: str) -> float:
    axes = axes_of(mask)
    assert axes is not None
    ends = axes.long if which == "long" else axes.short
    assert ends is not None
    points = to_patient(axes.slice.plane, np.array([e[0] for e in ends]), np.array([e[1] for e in ends]))
    return float(np.linalg.norm(points[0] - points[1]))


def off(told: Truth, mask: SegmentMask) -> dict[str, float]:
    """Return how far what is measured lies from the truth, in tolerances."""
    x, y, z = extents_of(mask)
    measured = {
        "long_axis": length(mask, "long"),
        "short_axis": length(mask, "short"),
        "transverse": x,
        "anteroposterior": y,
        "craniocaudal": z,
        "volume": mask.volume,
    }
    return {name: abs(v - getattr(told, name).value) / getattr(told, name).tolerance for name, v in measured.items()}


@pytest.mark.parametrize("phantom", GRIDS, ids=described)
def test_what_is_measured_on_voxels_lies_within_the_tolerances(phantom: Phantom) -> None:
    assert max(off(phantom.truth, tumour_mask(phantom)).values()) <= 1


@pytest.mark.parametrize("phantom", GRIDS, ids=described)
def test_the_tolerances_catch_a_tumour_that_is_two_pixels_larger_all_around(phantom: Phantom) -> None:
    wrong = off(phantom.truth, tumour_mask(phantom, grown=2))

    assert min(wrong[name] for name in ("long_axis", "short_axis", "transverse", "volume")) > 1


def test_the_tolerances_catch_missing_slices_and_a_lost_thrombus() -> None:
    whole = tumour_mask(Phantom())
    shorter = SegmentMask(normal=whole.normal, slices=whole.slices[:-2])
    only_mass = SegmentMask(
        normal=whole.normal, slices=tuple(s for s in whole.slices if s.depth < MASS.centre[2] + MASS.reach((0, 0, 1)))
    )

    assert off(Phantom().truth, shorter)["craniocaudal"] > 1
    assert off(Phantom().truth, only_mass)["volume"] > 1


@pytest.mark.parametrize("tilt", [0.0, 15.0, -20.0])
def test_no_slice_of_the_tumour_is_longer_than_the_long_axis(tilt: float) -> None:
    phantom = Phantom(tilt=tilt)
    told = phantom.truth.long_axis.value
    line = np.arange(-120, 120, 0.5)
    across, down = np.meshgrid(line, line)
    (_, cy, cz), (_, ny, nz) = phantom.column, phantom.normal
    longest = 0.0
    for depth in np.arange(-60, 90, 2.0):
        inside = np.zeros(across.shape, bool)
        for part in (MASS, THROMBUS):
            inside |= part.holds(across, down * cy + depth * ny, down * cz + depth * nz)
        labels, count = ndimage.label(inside, np.ones((3, 3)))
        for region in range(1, count + 1):
            points = np.column_stack([across[labels == region], down[labels == region]])
            if len(points) > 10:
                longest = max(longest, float(pdist(points[ConvexHull(points).vertices]).max()))

    assert told - 1.5 < longest <= told


def test_the_truth_does_not_depend_on_the_grid_and_the_tolerances_do() -> None:
    fine, coarse = Phantom(pixel=0.7, matrix=512).truth, Phantom().truth

    assert [e.value for e in fine.all] == pytest.approx([e.value for e in coarse.all])
    assert all(a.tolerance < b.tolerance for a, b in zip(fine.all, coarse.all, strict=True))


def test_volumes_sections_and_extents_of_an_ellipsoid_follow_from_its_equation() -> None:
    turned = anatomy.Ellipsoid(centre=(3, -4, 5), semi=(30, 20, 10), turned=90)

    assert turned.reach((1, 0, 0)) == pytest.approx(20)
    assert turned.reach((0, 1, 0)) == pytest.approx(30)
    assert turned.section((0, 0, 1)) == pytest.approx((30, 20))
    assert turned.section((0, 1, 0)) == pytest.approx((20, 10))
    assert turned.volume == pytest.approx(25132.7, abs=0.1)
    sphere = anatomy.Ellipsoid(centre=(0, 0, 0), semi=(10, 10, 10), turned=37, tilted=-12)
    assert sphere.reach((0.6, 0.0, 0.8)) == pytest.approx(10)
    assert sphere.surface == pytest.approx(4 * np.pi * 100)


def test_the_core_lies_in_the_mass_and_the_thrombus_in_the_vein_and_connected_to_the_mass() -> None:
    line = np.arange(-100, 100, 1.5)
    x, y, z = np.meshgrid(line, line, line)
    mass, thrombus = MASS.holds(x, y, z), THROMBUS.holds(x, y, z)

    assert not (CORE.holds(x, y, z) & (~mass | thrombus)).any()
    assert not (thrombus & ~CAVA.holds(x, y, z)).any()
    assert ndimage.label(mass | thrombus)[1] == 1
    assert (thrombus & ~mass).sum() > 0.4 * thrombus.sum()


def test_a_stack_that_does_not_cover_the_tumour_has_no_truth() -> None:
    with pytest.raises(ValueError, match=r"do not cover the tumour: it takes 16\d mm"):
        Phantom(slices=20).truth  # noqa: B018 - the property raises


def test_the_attenuation_of_the_voxels_is_the_truth() -> None:
    phantom = Phantom(matrix=128, pixel=2.8, slices=48, slice_spacing=4.0, phases=("portal venous",))
    told = phantom.truth
    made = list(images(phantom))
    hounsfield = np.stack([ds.pixel_array.astype(float) - 1024 for ds in made])
    seg = segmentation(phantom, made)
    frames = [
        g.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1 for g in seg.PerFrameFunctionalGroupsSequence
    ]
    heights = [ds.ImagePositionPatient[2] for ds in made]
    values = np.concatenate(
        [
            hounsfield[heights.index(group.PlanePositionSequence[0].ImagePositionPatient[2])][mask.astype(bool)]
            for group, mask, is_tumour in zip(
                seg.PerFrameFunctionalGroupsSequence, seg.pixel_array, frames, strict=True
            )
            if is_tumour
        ]
    )

    assert told.mean_hu.admits(float(values.mean()))
    assert told.sd_hu.admits(float(values.std()))
    assert told.below_30_hu.admits(float((values < 30).mean() * 100))
    assert not told.mean_hu.admits(float(values.mean()) + 3)


def test_without_noise_every_voxel_has_the_attenuation_of_its_tissue() -> None:
    grid = truth.Grid(pixel=1.4, slice_spacing=2.5)

    assert truth.truth_on(grid).below_30_hu.value == pytest.approx(
        100 * CORE.volume / truth.truth_on(grid).volume.value
    )
    made = next(iter(images(Phantom(slices=1, matrix=64, pixel=5.6, noise=0.0))))
    assert set(np.unique(made.pixel_array.astype(int) - 1024)) <= set(anatomy.HOUNSFIELD["arterial"])
