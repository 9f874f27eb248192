"""On which side of the patient a segment lies: a proposal from its centre and the midline of the body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from service.errors import InputError
from service.measure.geometry import to_patient
from service.measure.images import SourceImage
from service.measure.mask import SegmentMask
from service.measure.values import ImageValues, hounsfield

RIGHT, LEFT, MIDLINE = "v.right", "v.left", "v.midline"
#: a centre nearer than this to the midline belongs to neither side
MIDLINE_MM = 15.0

_BODY_HU = -300.0
#: an image narrower than this may be a part of the body
_BODY_MM = 250.0
#: part of the largest region's area from which on another one belongs to the body
_LARGE = 0.2
#: part of the image width that the body has to fill to be taken for one
_WIDE_ENOUGH = 0.25
_AXIAL = np.cos(np.radians(45))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A side (key of ``codes.csv``) and how it was found; empty where it was not, with the reason."""

    side: str = ""
    basis: str = ""


def side_of(mask: SegmentMask, *, is_ct: bool, values: ImageValues) -> Side:
    """Return the side of the segment's centre of mass.

    The midline is half way between the right and left border of the body in the image nearest to the centre (CT only, values above
    -300 HU), else the middle of that image. Nothing is proposed where the images are not axial, too narrow to show the whole body, or
    cut it off at one side only.

    Raises
    ------
    StoreUnavailable
        A file cannot be read now.
    """
    if abs(mask.normal[2]) < _AXIAL:
        return Side(basis="not proposed: the images are not axial")
    centre = np.array(mask.centroid)
    depth = float(mask.normal @ centre)
    nearest = min(mask.slices, key=lambda s: (abs(s.depth - depth), s.depth))
    if nearest.image is None:
        return Side(basis="not proposed: the images are not in the study")
    low, high = _borders(nearest.image)
    if high - low < _BODY_MM:
        return Side(basis="not proposed: the images do not show the whole width of the body")
    found = None
    if is_ct:
        key = nearest.image.instance.sop_instance_uid, nearest.image.frame
        if key not in values.middles:
            # the segments of a study often share their middle image
            values.middles[key] = _body_middle(nearest.image, values)
        found = values.middles[key]
    if found is None:
        middle, what = (low + high) / 2, "the middle of the image"
    elif isinstance(found, str):
        return Side(basis=f"not proposed: {found}")
    else:
        middle, what = found, "the middle of the body"
    offset = float(centre[0]) - middle
    if abs(offset) <= MIDLINE_MM:
        return Side(side=MIDLINE, basis=f"centre within {MIDLINE_MM:.0f} mm of {what}")
    # x grows to the patient's left
    side, word = (LEFT, "left") if offset > 0 else (RIGHT, "right")
    return Side(side=side, basis=f"centre {abs(offset):.0f} mm {word} of {what}")


def _borders(image: SourceImage) -> tuple[float, float]:
    """Return the smallest and the largest x of the pixels of an image, in mm."""
    right, bottom = image.plane.columns - 1.0, image.plane.rows - 1.0
    x = to_patient(image.plane, np.array([0, right, 0, right]), np.array([0, 0, bottom, bottom]))[:, 0]
    return float(x.min()), float(x.max())


def _body_middle(image: SourceImage, values: ImageValues) -> float | str | None:
    """Return the x of the body's middle in mm, why there is none, or None where the image cannot be used."""
    try:
        attenuation, padding = values.read(image, hounsfield)
    except InputError:
        return None
    body = _body((attenuation > _BODY_HU) & ~padding)
    rows = np.flatnonzero(body.any(axis=1))
    if not rows.size:
        return None
    # of each row, only the first and the last pixel can be outermost
    lines = body[rows]
    columns = np.concatenate([lines.argmax(axis=1), lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)])
    x = to_patient(image.plane, columns.astype(float), np.concatenate([rows, rows]).astype(float))[:, 0]
    low, high = _borders(image)
    pixel = max(image.plane.spacing)
    cut_right, cut_left = x.min() <= low + pixel, x.max() >= high - pixel
    if cut_right != cut_left:
        return "the body is cut off at one side of the image"
    if cut_right and cut_left:
        return None
    width = float(x.max() - x.min())
    return float(x.max() + x.min()) / 2 if width >= _WIDE_ENOUGH * (high - low) else None


def _body(tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the large connected regions (both legs, say) after thin things (table, tubes, clothes) are eroded away."""
    opened = ndimage.binary_opening(tissue, iterations=3)
    labels, count = ndimage.label(opened)
    if not count:
        return np.zeros_like(tissue)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(np.isin(labels, np.flatnonzero(sizes >= _LARGE * sizes.max())))
