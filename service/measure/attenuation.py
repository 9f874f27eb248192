"""Attenuation of a segment on the CT images it was made on: rescaled per image, padding left out (PS3.3 C.11.1, C.7.5.1.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.measure.geometry import Array, to_patient, to_pixels
from service.measure.images import OpenFile, SourceImage
from service.measure.mask import MaskSlice, SegmentMask
from service.read.part10 import Item
from service.read.pixels import open_pixels

LOW_ATTENUATION_HU = 30.0
FAT_ATTENUATION_HU = -20.0

#: part of a pixel by which a mask's pixel may lie beside the image's
_OFF_GRID = 0.1
_HOUNSFIELD = frozenset({"", "HU"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attenuation:
    """What the voxels of a segment attenuate; each voxel counts by its volume."""

    #: HU
    mean: float
    #: standard deviation over the voxels, HU
    sd: float
    #: parts of the segment, in %, below `LOW_ATTENUATION_HU` and `FAT_ATTENUATION_HU`
    low: float
    fat: float
    #: voxels of the segment that are padding, and were left out
    padding: int


def attenuation_of(mask: SegmentMask, open_file: OpenFile) -> Attenuation:
    """Measure ``mask`` on its images, which are CT.

    Raises
    ------
    InputError
        A slice has no image, an image cannot be read or decoded, has no Hounsfield units, or another grid than the mask.
    StoreUnavailable
        A file cannot be read now.
    """
    without = sum(s.image is None for s in mask.slices)
    if without:
        msg = f"{without} of {len(mask.slices)} slices of the segment have no image in the study"
        raise InputError(msg)
    if mask.incomplete:
        raise InputError("slices are missing inside the segment")
    weights = weighted = squared = low = fat = 0.0
    padding = 0
    for s in mask.slices:
        values, padded = _values(s, open_file)
        padding += padded
        # differences from water keep the sums of squares small
        values = values.astype(np.float64)
        weights += s.thickness * values.size
        weighted += s.thickness * float(values.sum())
        squared += s.thickness * float((values**2).sum())
        low += s.thickness * int((values < LOW_ATTENUATION_HU).sum())
        fat += s.thickness * int((values < FAT_ATTENUATION_HU).sum())
    if not weights:
        raise InputError("all voxels of the segment are padding in the images")
    mean = weighted / weights
    return Attenuation(
        mean=mean,
        sd=float(np.sqrt(max(0.0, squared / weights - mean**2))),
        low=100 * low / weights,
        fat=100 * fat / weights,
        padding=padding,
    )


def _values(s: MaskSlice, open_file: OpenFile) -> tuple[NDArray[np.float32], int]:
    if s.image is None:  # pragma: no cover - the caller has looked
        raise InputError("a slice of the segment has no image in the study")
    hounsfield, padding = read_hounsfield(s.image, open_file)
    rows, columns = np.nonzero(s.mask)
    rows, columns = _on_image(s, rows + s.row, columns + s.column, hounsfield.shape)
    padded = padding[rows, columns]
    return hounsfield[rows, columns][~padded], int(padded.sum())


def _on_image(
    s: MaskSlice, rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, ...]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which pixels of the image lie at these pixels of the mask: the grids may be cropped or flipped, not resampled."""
    image = s.image.plane if s.image else s.plane
    corners = np.array([0.0, s.plane.columns - 1]), np.array([0.0, s.plane.rows - 1])
    grid = np.array([(c, r) for c in corners[0] for r in corners[1]] + [(1.0, 0.0), (0.0, 1.0)])
    at_columns, at_rows = to_pixels(image, to_patient(s.plane, grid[:, 0], grid[:, 1]))
    whole = np.round(np.column_stack([at_columns, at_rows]))
    if np.abs(whole - np.column_stack([at_columns, at_rows])).max() > _OFF_GRID:
        raise InputError("the segmentation has another pixel grid than the images")
    origin, right, down = whole[0], whole[4] - whole[0], whole[5] - whole[0]
    placed: Array = origin + np.multiply.outer(columns, right) + np.multiply.outer(rows, down)
    found_columns, found_rows = placed[:, 0].astype(np.intp), placed[:, 1].astype(np.intp)
    height, width = shape
    if min(found_columns.min(), found_rows.min()) < 0 or found_columns.max() >= width or found_rows.max() >= height:
        raise InputError("the segment reaches beyond the images")
    return found_rows, found_columns


def read_hounsfield(image: SourceImage, open_file: OpenFile) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a CT image in Hounsfield units, and where it is padding; both of shape (rows, columns).

    Raises
    ------
    InputError
        The image cannot be read or decoded, or its values are no Hounsfield units.
    StoreUnavailable
        The file cannot be read now.
    """
    header, pixels = open_pixels(open_file(image.instance), name="an image")
    stored = pixels.frame(image.frame or 0)
    slope, intercept = _rescale(header, image.frame)
    padding = _padding(header, stored, signed=pixels.signed)
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept), padding


def _rescale(header: Item, frame: int | None) -> tuple[float, float]:
    if header.items("ModalityLUTSequence"):
        raise InputError("the images map their values through a table: they are not in Hounsfield units")
    groups = header.items("PerFrameFunctionalGroupsSequence") if frame is not None else ()
    own = groups[frame : frame + 1] if frame is not None else ()
    candidates = [
        header,
        *(g.item("PixelValueTransformationSequence") for g in (*own, header.item("SharedFunctionalGroupsSequence"))),
    ]
    for item in candidates:
        slope, intercept = item.number("RescaleSlope"), item.number("RescaleIntercept")
        if slope and intercept is not None:
            if item.text("RescaleType").upper() not in _HOUNSFIELD:
                msg = f"the images are not in Hounsfield units: Rescale Type is {item.text('RescaleType')}"
                raise InputError(msg)
            return slope, intercept
    raise InputError("the images state no Rescale Slope and Intercept: they are not in Hounsfield units")


def _padding(header: Item, stored: NDArray[np.generic], *, signed: bool) -> NDArray[np.bool_]:
    """Return where pixels are Pixel Padding (0028,0120), up to the range limit (0028,0121) where there is one."""
    values = stored.astype(np.int64)
    first = header.integer("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, bool)
    last = header.integer("PixelPaddingRangeLimit")
    low, high = sorted(_as_stored(v, signed=signed) for v in (first, first if last is None else last))
    return (values >= low) & (values <= high)


_SIGN, _WRAP = 1 << 15, 1 << 16


def _as_stored(value: int, *, signed: bool) -> int:
    # "US or SS": whichever way it was written, it is meant as the pixels are
    if signed and value >= _SIGN:
        return value - _WRAP
    return value + _WRAP if not signed and value < 0 else value
