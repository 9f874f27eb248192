"""Which regions mark the same place: one tumour is often delivered as a segmentation and as contours of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from service.measure.geometry import to_patient, to_pixels, tolerance
from service.measure.mask import MaskSlice, SegmentMask
from service.model.measurement import RegionKind, SegmentMeasurements

#: Dice coefficient from which two marks on the same images are marks of one thing
SAME_PLACE = 0.7


def overlapping(
    measured: Sequence[SegmentMeasurements], masks: Sequence[SegmentMask | None]
) -> tuple[SegmentMeasurements, ...]:
    """Return ``measured`` with those named in ``overlaps`` that mark the same place on the same images.

    Segments of one object are never marks of one thing: their maker told them apart.
    """
    pairs: dict[int, list[tuple[str, int]]] = {n: [] for n in range(len(measured))}
    for (n, one), (k, other) in combinations(enumerate(measured), 2):
        a, b = masks[n], masks[k]
        if RegionKind.LINE in {one.kind, other.kind}:
            mask = a if a is not None else b
            line = other if a is not None else one
            if mask is not None and line.kind is RegionKind.LINE and _within(line, mask):
                pairs[n].append((other.source.sop_instance_uid, other.segment))
                pairs[k].append((one.source.sop_instance_uid, one.segment))
            continue
        same_images = one.image_series_instance_uid and one.image_series_instance_uid == other.image_series_instance_uid
        if a is None or b is None or not same_images or one.source.sop_instance_uid == other.source.sop_instance_uid:
            continue
        if _dice(a, b) >= SAME_PLACE:
            pairs[n].append((other.source.sop_instance_uid, other.segment))
            pairs[k].append((one.source.sop_instance_uid, one.segment))
    return tuple(replace(m, overlaps=tuple(pairs[n])) if pairs[n] else m for n, m in enumerate(measured))


def _within(line: SegmentMeasurements, mask: SegmentMask) -> bool:
    """Say whether the middle of a line lies in a mask on the same image."""
    drawn = next((e for m in line.measurements for e in m.evidence if e.points), None)
    if drawn is None:
        return False
    for s in mask.slices:
        image = s.image
        if image is None or image.instance.sop_instance_uid != drawn.sop_instance_uid:
            continue
        if image.frame is not None and drawn.frames and image.frame + 1 not in drawn.frames:
            continue
        # image coordinates have 0.5 at the centre of the first pixel
        column, row = (sum(p[i] for p in drawn.points) / len(drawn.points) - 0.5 for i in (0, 1))
        place = to_patient(image.plane, np.array([column]), np.array([row]))
        columns, rows = to_pixels(s.plane, place)
        y, x = round(float(rows[0])) - s.row, round(float(columns[0])) - s.column
        if 0 <= y < s.mask.shape[0] and 0 <= x < s.mask.shape[1] and s.mask[y, x]:
            return True
    return False


def _dice(one: SegmentMask, other: SegmentMask) -> float:
    """Return twice the voxels in both over the voxels of each; 0 where their pixels are not the same."""
    total = sum(s.voxels for s in one.slices) + sum(s.voxels for s in other.slices)
    if abs(float(one.normal @ other.normal)) < 1 - 1e-6:
        return 0.0
    sign = 1 if float(one.normal @ other.normal) > 0 else -1
    shared = 0
    for s in one.slices:
        near = tolerance(s.thickness)
        for t in other.slices:
            if abs(sign * t.depth - s.depth) <= near and np.allclose(s.plane.origin, t.plane.origin, atol=near):
                shared += _common(s, t)
    return 2 * shared / total


def _common(one: MaskSlice, other: MaskSlice) -> int:
    """Return how many pixels are in both."""
    top, left = max(one.row, other.row), max(one.column, other.column)
    bottom = min(one.row + one.mask.shape[0], other.row + other.mask.shape[0])
    right = min(one.column + one.mask.shape[1], other.column + other.mask.shape[1])
    if bottom <= top or right <= left:
        return 0
    a, b = (m.mask[top - m.row : bottom - m.row, left - m.column : right - m.column] for m in (one, other))
    return int(np.count_nonzero(a & b))
