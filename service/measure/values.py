"""What images say at the voxels of a segment: rescaled values with their unit, each image read once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.measure.geometry import Array, to_patient, to_pixels
from service.measure.images import OpenFile, SourceImage
from service.measure.mask import MaskSlice, SegmentMask
from service.read.part10 import Item
from service.read.pixels import PixelData, open_pixels

#: part of a pixel by which a mask's pixel may lie beside the image's
_OFF_GRID = 0.1
#: bytes of decoded images that are kept while a study is measured
_KEPT_BYTES = 512 << 20
_HOUNSFIELD = frozenset({"", "HU"})
#: units of diffusion as Rescale Type (0028,1054) and UCUM write them → factor to um2/s
_DIFFUSION = {
    "um2/s": 1.0,
    "um^2/s": 1.0,
    "mm2/s": 1e6,
    "mm^2/s": 1e6,
    "10-6mm2/s": 1.0,
    "10-6 mm2/s": 1.0,
    "10^-6 mm^2/s": 1.0,
    "10*-6.mm2/s": 1.0,
    "10-3mm2/s": 1e3,
    "10-3 mm2/s": 1e3,
    "10^-3 mm^2/s": 1e3,
    "10*-3.mm2/s": 1e3,
}

Scale = Callable[[Item, SourceImage], tuple[float, float]]
"""Header of an image and which it is → factor and addend of its stored values; raises `InputError` where they have no such unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The values of a segment's voxels, those of padding left out."""

    values: NDArray[np.float32]
    #: mm3 that each voxel stands for; one number where all are alike
    volumes: NDArray[np.float32] | float
    #: voxels of the segment that are padding, and were left out
    padding: int

    @property
    def volume(self) -> float:
        """Return the volume of all voxels, mm3."""
        return float(np.sum(self.volumes)) if not isinstance(self.volumes, float) else self.volumes * self.values.size

    def volume_where(self, chosen: NDArray[np.bool_]) -> float:
        """Return the volume of some of the voxels, mm3."""
        if isinstance(self.volumes, float):
            return self.volumes * int(np.count_nonzero(chosen))
        return float(self.volumes[chosen].sum(dtype=np.float64))

    def part(self, chosen: NDArray[np.bool_]) -> float:
        """Return which part of the segment some voxels are, in %."""
        return 100 * self.volume_where(chosen) / self.volume

    def mean(self, chosen: NDArray[np.bool_] | None = None) -> float:
        """Return the mean of all values, or of some, each weighing as its volume."""
        values = self.values if chosen is None else self.values[chosen]
        if isinstance(self.volumes, float):
            return float(values.mean(dtype=np.float64))
        return float(np.average(values, weights=self.volumes if chosen is None else self.volumes[chosen]))

    def deviation(self) -> float:
        """Return the standard deviation over the voxels."""
        if isinstance(self.volumes, float):
            return float(self.values.std(dtype=np.float64))
        # differences from the mean keep the sums of squares small
        return float(np.sqrt(np.average((self.values - self.mean()) ** 2, weights=self.volumes)))

    def percentiles(self, *wanted: float) -> tuple[float, ...]:
        """Return percentiles: between two voxels by linear interpolation, and by volume where voxels differ in it."""
        if isinstance(self.volumes, float):
            return tuple(float(v) for v in np.percentile(self.values, wanted))
        order = np.argsort(self.values, kind="stable")
        reached = np.cumsum(self.volumes[order], dtype=np.float64)
        at = np.searchsorted(reached, np.array(wanted) / 100 * reached[-1])
        return tuple(float(v) for v in self.values[order][np.minimum(at, order.size - 1)])


class ImageValues:
    """Reads images, each once as long as there is room."""

    def __init__(self, open_file: OpenFile) -> None:
        self.open_file = open_file
        self._opened: dict[str, tuple[Item, PixelData]] = {}
        self._kept: dict[tuple[str, int | None], NDArray[np.generic]] = {}
        self._bytes = 0
        #: x of the middle of the body in mm, or why there is none, by image (`service.measure.laterality`)
        self.middles: dict[tuple[str, int | None], float | str | None] = {}

    def header(self, image: SourceImage) -> Item:
        """Return the header of an image.

        Raises
        ------
        InputError
            It is not there any more, or cannot be read.
        StoreUnavailable
            The file cannot be read now.
        """
        return self._open(image)[0]

    def stored(self, image: SourceImage) -> NDArray[np.generic]:
        """Return the stored values of an image, shape (rows, columns); raises as `header`, and where it cannot be decoded."""
        key = image.instance.sop_instance_uid, image.frame
        found = self._kept.get(key)
        if found is None:
            found = self._open(image)[1].frame(image.frame or 0)
            if self._bytes + found.nbytes <= _KEPT_BYTES:
                self._kept[key] = found
                self._bytes += found.nbytes
        return found

    def _open(self, image: SourceImage) -> tuple[Item, PixelData]:
        uid = image.instance.sop_instance_uid
        if uid not in self._opened:
            self._opened[uid] = open_pixels(self.open_file(image.instance), name="an image")
        return self._opened[uid]

    def read(self, image: SourceImage, scale: Scale) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return an image in the unit of ``scale``, and where it is padding; both of shape (rows, columns).

        Raises
        ------
        InputError
            The image cannot be read or decoded, or its values are not of that unit.
        StoreUnavailable
            The file cannot be read now.
        """
        header = self.header(image)
        stored = self.stored(image)
        slope, intercept = scale(header, image)
        values = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
        return values, _padding(header, stored, signed=self._open(image)[1].signed)

    def samples(self, mask: SegmentMask, scale: Scale) -> Samples:
        """Return the values of the voxels of ``mask`` on the images that its slices lie in.

        Raises
        ------
        InputError
            A slice has no image, an image cannot be read or decoded, its values have another unit, or it has another grid than the mask.
        StoreUnavailable
            A file cannot be read now.
        """
        without = sum(s.image is None for s in mask.slices)
        if without:
            msg = f"{without} of {len(mask.slices)} slices of the segment have no image in the study"
            raise InputError(msg)
        if mask.incomplete:
            raise InputError("slices are missing inside the segment")
        found, volumes, padding = [], [], 0
        for s in mask.slices:
            values, padded = self._values(s, scale)
            padding += padded
            found.append(values)
            volumes.append(s.volume / s.voxels)
        counts = [v.size for v in found]
        if not sum(counts):
            raise InputError("all voxels of the segment are padding in the images")
        alike = max(volumes) - min(volumes) <= 1e-6 * max(volumes)
        return Samples(
            values=np.concatenate(found),
            volumes=volumes[0] if alike else np.repeat(np.array(volumes, np.float32), counts),
            padding=padding,
        )

    def _values(self, s: MaskSlice, scale: Scale) -> tuple[NDArray[np.float32], int]:
        image = s.image
        if image is None:  # pragma: no cover - the caller has looked
            raise InputError("a slice of the segment has no image in the study")
        header, stored = self.header(image), self.stored(image)
        slope, intercept = scale(header, image)
        chosen = _on_image(s, stored)
        padded = _padding(header, chosen, signed=self._open(image)[1].signed)
        if padded.any():
            chosen = chosen[~padded]
        return chosen.astype(np.float32) * np.float32(slope) + np.float32(intercept), int(np.count_nonzero(padded))


def _on_image(s: MaskSlice, stored: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the pixels of the image that lie below the mask: the grids may be cropped or flipped, not resampled."""
    height, width = stored.shape
    if s.image is not None and s.image.plane == s.plane and (s.plane.rows, s.plane.columns) == (height, width):
        rows, columns = s.mask.shape
        return np.asarray(stored[s.row : s.row + rows, s.column : s.column + columns][s.mask])
    rows_, columns_ = np.nonzero(s.mask)
    at_rows, at_columns = _placed(s, rows_ + s.row, columns_ + s.column, (height, width))
    return np.asarray(stored[at_rows, at_columns])


def _placed(
    s: MaskSlice, rows: NDArray[np.intp], columns: NDArray[np.intp], shape: tuple[int, int]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which pixels of the image lie at these pixels of the mask."""
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


# --- units -----------------------------------------------------------------------------------------------------------------


def hounsfield(header: Item, image: SourceImage) -> tuple[float, float]:
    """Return slope and intercept to Hounsfield units (PS3.3 C.11.1); raises `InputError` where the image is not in them."""
    if header.items("ModalityLUTSequence"):
        raise InputError("the images map their values through a table: they are not in Hounsfield units")
    for item in _transformations(header, image):
        slope, intercept = item.number("RescaleSlope"), item.number("RescaleIntercept")
        if slope and intercept is not None:
            if item.text("RescaleType").upper() not in _HOUNSFIELD:
                msg = f"the images are not in Hounsfield units: Rescale Type is {item.text('RescaleType')}"
                raise InputError(msg)
            return slope, intercept
    raise InputError("the images state no Rescale Slope and Intercept: they are not in Hounsfield units")


def signal(header: Item, image: SourceImage) -> tuple[float, float]:
    """Return slope and intercept of a signal without a unit: as stored where the image states none."""
    if header.items("ModalityLUTSequence"):
        raise InputError("the images map their values through a table")
    for item in _transformations(header, image):
        slope, intercept = item.number("RescaleSlope"), item.number("RescaleIntercept")
        if slope and intercept is not None:
            return slope, intercept
    return 1.0, 0.0


def diffusion(header: Item, image: SourceImage) -> tuple[float, float]:
    """Return slope and intercept to um2/s of an ADC map; raises `InputError` where it does not say its unit.

    Real World Value Mapping (PS3.3 C.7.6.16.2.11) counts before Rescale Type (0028,1054). Nothing is taken from the size of the numbers.
    """
    groups = _groups(header, image)
    for item in (header, *groups):
        for mapping in item.items("RealWorldValueMappingSequence"):
            unit = mapping.code("MeasurementUnitsCodeSequence")
            factor = _DIFFUSION.get(unit.value if unit else "")
            slope, intercept = mapping.number("RealWorldValueSlope"), mapping.number("RealWorldValueIntercept")
            if factor and slope and intercept is not None:
                return slope * factor, intercept * factor
    for item in _transformations(header, image):
        slope, intercept = item.number("RescaleSlope"), item.number("RescaleIntercept")
        factor = _DIFFUSION.get(item.text("RescaleType"))
        if factor and slope and intercept is not None:
            return slope * factor, intercept * factor
    raise InputError("the ADC map does not say its unit, and none is assumed")


def is_adc_map(header: Item, description: str) -> bool:
    """Say whether an MR image is a map of the apparent diffusion coefficient: by Image Type (0008,0008), or its description."""
    words = {*header.texts("ImageType"), *description.replace("_", " ").replace("-", " ").upper().split()}
    return "ADC" in words or "DIFFUSION_ADC" in words


def _groups(header: Item, image: SourceImage) -> tuple[Item, ...]:
    own = header.items("PerFrameFunctionalGroupsSequence") if image.frame is not None else ()
    at = own[image.frame : image.frame + 1] if image.frame is not None else ()
    return (*at, header.item("SharedFunctionalGroupsSequence"))


def _transformations(header: Item, image: SourceImage) -> tuple[Item, ...]:
    """Return what may hold slope and intercept: the data set, then the functional groups of the frame and of all frames."""
    return (header, *(g.item("PixelValueTransformationSequence") for g in _groups(header, image)))


def _padding(header: Item, stored: NDArray[np.generic], *, signed: bool) -> NDArray[np.bool_]:
    """Return where pixels are Pixel Padding (0028,0120), up to the range limit (0028,0121) where there is one."""
    first = header.integer("PixelPaddingValue")
    if first is None:
        return np.zeros(stored.shape, bool)
    last = header.integer("PixelPaddingRangeLimit")
    low, high = sorted(_as_stored(v, signed=signed) for v in (first, first if last is None else last))
    values = stored.astype(np.int64)
    return (values >= low) & (values <= high)


_SIGN, _WRAP = 1 << 15, 1 << 16


def _as_stored(value: int, *, signed: bool) -> int:
    # "US or SS": whichever way it was written, it is meant as the pixels are
    if signed and value >= _SIGN:
        return value - _WRAP
    return value + _WRAP if not signed and value < 0 else value
