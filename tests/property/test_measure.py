"""Measurements of any mask: what is drawn is exact, and nothing depends on how the object was packed."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from service.measure.geometry import slabs_of
from service.measure.lengths import axes_of, extents_of, parts_of
from service.measure.mask import MaskSlice, SegmentMask
from service.read.segmentation import PlaneGeometry

SPACINGS = st.sampled_from([(1.0, 1.0), (0.5, 0.9), (2.0, 0.7)])


def plane(spacing: tuple[float, float], depth: float) -> PlaneGeometry:
    return PlaneGeometry(
        origin=(0.0, 0.0, depth),
        along_row=(1.0, 0.0, 0.0),
        along_column=(0.0, 1.0, 0.0),
        spacing=spacing,
        rows=9,
        columns=9,
    )


def stacked(masks: np.ndarray, spacing: tuple[float, float], thickness: float = 3.0) -> SegmentMask:
    """Return a stack of masks that need not be cropped."""
    slices = tuple(
        MaskSlice(
            frame=at,
            plane=plane(spacing, at * thickness),
            depth=at * thickness,
            faces=((at - 0.5) * thickness, (at + 0.5) * thickness),
            row=0,
            column=0,
            mask=mask,
            voxels=int(mask.sum()),
        )
        for at, mask in enumerate(masks)
        if mask.any()
    )
    return SegmentMask(normal=np.array([0.0, 0.0, 1.0]), slices=slices)


MASKS = st_numpy.arrays(np.bool_, (2, 7, 8), elements=st.booleans()).filter(lambda m: bool(m.any()))


def brute_force(mask: np.ndarray, spacing: tuple[float, float]) -> float:
    """Return the longest distance between two pixels of a slice that are connected, by trying all."""
    rows, columns = np.nonzero(mask)
    points = list(zip(rows.tolist(), columns.tolist(), strict=True))
    group = {p: n for n, p in enumerate(points)}
    for _ in points:
        for y, x in points:
            for other in ((y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                if other in group:
                    group[y, x] = group[other] = min(group[y, x], group[other])
    return max(
        math.hypot((a[1] - b[1]) * spacing[1], (a[0] - b[0]) * spacing[0])
        for a in points
        for b in points
        if group[a] == group[b]
    )


@given(MASKS, SPACINGS)
def test_the_long_axis_is_the_longest_distance_between_two_pixels(
    masks: np.ndarray, spacing: tuple[float, float]
) -> None:
    truth = max(brute_force(m, spacing) for m in masks if m.any())
    axes = axes_of(stacked(masks, spacing))
    if axes is None:
        assert truth == 0
        return
    (x1, y1), (x2, y2) = axes.long
    assert math.hypot((x2 - x1) * spacing[1], (y2 - y1) * spacing[0]) == truth or math.isclose(
        math.hypot((x2 - x1) * spacing[1], (y2 - y1) * spacing[0]), truth
    )
    # its ends are pixels of the segment
    assert axes.slice.mask[int(y1), int(x1)]
    assert axes.slice.mask[int(y2), int(x2)]


@given(MASKS, SPACINGS)
def test_the_short_axis_is_perpendicular_and_no_longer(masks: np.ndarray, spacing: tuple[float, float]) -> None:
    axes = axes_of(stacked(masks, spacing))
    if axes is None or axes.short is None:
        return
    scale = np.array([spacing[1], spacing[0]])
    long, short = (np.diff(np.array(ends) * scale, axis=0)[0] for ends in (axes.long, axes.short))
    rounding = 0.02 * scale.max()
    assert np.linalg.norm(short) <= np.linalg.norm(long) + rounding
    assert abs(long @ short) / np.linalg.norm(long) <= rounding
    # within the box of the slice's mask
    rows, columns = np.nonzero(axes.slice.mask)
    for x, y in axes.short:
        assert columns.min() - 0.01 <= x <= columns.max() + 0.01
        assert rows.min() - 0.01 <= y <= rows.max() + 0.01


@given(MASKS, SPACINGS)
def test_turning_the_mask_turns_the_measurements(masks: np.ndarray, spacing: tuple[float, float]) -> None:
    mask = stacked(masks, spacing)
    turned = stacked(masks.transpose(0, 2, 1), (spacing[1], spacing[0]))
    x, y, z = extents_of(mask)
    assert np.allclose(extents_of(turned), (y, x, z))
    assert math.isclose(mask.volume, turned.volume)
    assert parts_of(mask) == parts_of(turned)


@given(MASKS, SPACINGS)
def test_centre_and_volume_are_those_of_the_voxels(masks: np.ndarray, spacing: tuple[float, float]) -> None:
    mask = stacked(masks, spacing)
    at, rows, columns = np.nonzero(masks)
    assert math.isclose(mask.volume, rows.size * spacing[0] * spacing[1] * 3)
    assert np.allclose(mask.centroid, (columns.mean() * spacing[1], rows.mean() * spacing[0], at.mean() * 3))


@given(
    st.lists(st.floats(0.5, 10), min_size=1, max_size=30),
    st.none() | st.floats(0.5, 10),
    st.booleans(),
    st.randoms(use_true_random=False),
)
def test_slabs_never_overlap_and_hold_their_planes(
    gaps: list[float], nominal: float | None, complete: bool, chance
) -> None:  # type: ignore[no-untyped-def]
    depths = [float(d) for d in np.cumsum([0.0, *gaps])]
    shuffled = list(depths)
    chance.shuffle(shuffled)
    slabs = slabs_of(shuffled, nominal, complete=complete)
    assert slabs == slabs_of(depths, nominal, complete=complete)
    for depth, (low, high) in zip(slabs.depths, slabs.faces, strict=True):
        assert low < depth < high
    if complete:
        for (_, upper), (lower, _) in zip(slabs.faces, slabs.faces[1:], strict=False):
            assert upper <= lower + 1e-9
