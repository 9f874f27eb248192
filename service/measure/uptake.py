"""Standardized uptake by body weight (SUVbw), and what follows from it: maximum, mean, peak, metabolic volume, total lesion glycolysis.

From the attributes as QIBA's vendor-neutral formula has them (FDG-PET/CT profile 1.14, appendix G):
``SUVbw = activity concentration [Bq/ml] x body weight [g] / decayed activity [Bq]``. Each attribute that is needed and missing, or that
contradicts another, is a refusal which names it; no unit, weight, time or half-life is ever assumed.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from service.errors import InputError
from service.measure.geometry import to_patient, to_pixels
from service.measure.images import Source, SourceImage
from service.measure.mask import SegmentMask
from service.measure.values import ImageValues, Samples
from service.read.part10 import Item
from service.read.segmentation import PlaneGeometry
from service.read.values import clean_date, clean_time

#: radius of a sphere of 1 cm3, mm (PERCIST, Wahl et al., J Nucl Med 2009;50:122S)
PEAK_RADIUS_MM = (3 / (4 * math.pi) * 1000) ** (1 / 3)
#: points along each axis of a voxel by which the sphere's share of it is counted
_FINE = 5
#: part of a pixel by which grids that are one may differ
_OFF_GRID = 0.1

_BQML, _CNTS, _GML = "BQML", "CNTS", "GML"
#: SUV Type (0054,1006) that is body weight; an absent one of images in g/ml means it (PS3.3 C.8.9.1)
_BODY_WEIGHT = frozenset({"", "BW"})
#: Philips: factor from counts to SUVbw, and to Bq/ml
_PHILIPS, _PHILIPS_SUV, _PHILIPS_BQML = "Philips PET Private Group", 0x00, 0x09
#: GE: the start of the scan, to which the images are corrected
_GE, _GE_SCAN_START = "GEMS_PETD_01", 0x0D
#: less is no activity of an examination: some scanners write MBq where Bq belong, and a unit is never assumed
_LEAST_BQ = 1_000_000
_WEIGHTS_KG = (1.0, 400.0)
_DAY = dt.timedelta(days=1)
#: a scan that begins later after the injection than this many half-lives has no counts left
_MOST_HALF_LIVES = 10
_SAME_TIME = dt.timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class UptakeScale:
    """How the values of a PET series become SUVbw; ``basis`` says it in words."""

    #: what (rescaled) values are multiplied with; for images that are not corrected for decay, `factor_of` differs from image to image
    factor: float
    basis: str
    #: seconds; None: all images are corrected to one time
    half_life: float | None = None
    #: to which ``factor`` belongs, where each image has a time of its own
    start: dt.datetime | None = None

    def __call__(self, header: Item, _image: SourceImage) -> tuple[float, float]:
        """Return slope and intercept from stored values to SUVbw (`service.measure.values.Scale`)."""
        slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept") or 0.0
        if not slope:
            raise InputError("a PET image states no Rescale Slope")
        factor = self.factor
        if self.half_life is not None and self.start is not None:
            acquired = _moment(header, "AcquisitionDate", "AcquisitionTime")
            if acquired is None:
                raise InputError("the images are not corrected for decay, and one does not say when it was acquired")
            factor *= 2 ** ((acquired - self.start).total_seconds() / self.half_life)
        return slope * factor, intercept * factor


def uptake_scale(images: tuple[SourceImage, ...], values: ImageValues) -> UptakeScale:
    """Return how the values of a PET series become SUVbw.

    Raises
    ------
    InputError
        An attribute that is needed is missing, impossible, or contradicts another.
    StoreUnavailable
        A file cannot be read now.
    """
    if not images:
        raise InputError("the PET images have no position in the patient")
    if any(i.frame is not None for i in images):
        raise InputError("SUV from enhanced (multi-frame) PET images is not computed")
    header = values.header(images[0])
    units = {i.instance.header.text("Units") for i in images}
    if len(units) > 1:
        raise InputError("the PET images have different Units (0054,1001)")
    unit = header.text("Units").upper()
    if unit == _GML:
        return _of_gml(header)
    if unit not in {_BQML, _CNTS}:
        msg = f"no SUV from PET images whose Units (0054,1001) are {unit or 'missing'}"
        raise InputError(msg)
    corrected = {c.upper() for c in header.texts("CorrectedImage")}
    if corrected and "ATTN" not in corrected:
        raise InputError("the PET images are not corrected for attenuation (Corrected Image (0028,0051))")
    factor, how = 1.0, "from Bq/ml"
    if unit == _CNTS:
        ready = _private(header, _PHILIPS, _PHILIPS_SUV)
        if ready:
            return UptakeScale(factor=ready, basis="counts by the SUV factor of the scanner (7053,1000)")
        factor = _private(header, _PHILIPS, _PHILIPS_BQML) or 0.0
        how = "from counts by the activity factor of the scanner (7053,1009)"
        if not factor:
            raise InputError("the PET images are in counts, and have no factor to SUV or to Bq/ml")
    weight = header.number("PatientWeight")
    if weight is None or not _WEIGHTS_KG[0] <= weight <= _WEIGHTS_KG[1]:
        state = "missing" if not weight else "impossible"
        msg = f"Patient's Weight (0010,1030) is {state}"
        raise InputError(msg)
    dose = _dose(header)
    start, half_life = dose.decayed_to(header, images)
    at = dose.activity * 2 ** (-start.since_injection / dose.half_life)
    return UptakeScale(
        factor=factor * weight * 1000 / at,
        basis=f"{how}, weight {weight:g} kg, {dose.activity / 1e6:.0f} MBq, {start.words}",
        half_life=half_life,
        start=start.at,
    )


def _of_gml(header: Item) -> UptakeScale:
    kind = header.text("SUVType").upper()
    if kind not in _BODY_WEIGHT:
        msg = f"the PET images are SUV by {kind}, not by body weight"
        raise InputError(msg)
    return UptakeScale(factor=1.0, basis="as the images state it (g/ml, body weight)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """The time to which activity is decayed."""

    since_injection: float
    words: str
    at: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Dose:
    """Radiopharmaceutical Information Sequence (0054,0016)."""

    #: Bq at injection
    activity: float
    half_life: float
    item: Item

    def decayed_to(self, header: Item, images: tuple[SourceImage, ...]) -> tuple[_Start, float | None]:
        """Return the time to which the images are corrected, and the half-life where each is as it was acquired."""
        correction = header.text("DecayCorrection").upper()
        if correction == "ADMIN":
            return _Start(since_injection=0.0, words="decay corrected to administration"), None
        if correction not in {"START", "NONE"}:
            msg = f"Decay Correction (0054,1102) is {correction or 'missing'}"
            raise InputError(msg)
        corrected = {c.upper() for c in header.texts("CorrectedImage")}
        if corrected and ("DECY" in corrected) != (correction == "START"):
            raise InputError("Decay Correction (0054,1102) and Corrected Image (0028,0051) contradict each other")
        if correction == "START":
            at = _scan_start(header, images, self.half_life)
            words = "decay corrected to the start of the scan"
        else:
            at = _earliest(images)
            words = "decay from administration to each image"
        if at is None:
            raise InputError("the time of the scan is missing (Series Time, Acquisition Time)")
        seconds = self._injected_before(at)
        minutes = f"{words} {seconds / 60:.0f} min after administration"
        return _Start(since_injection=seconds, words=minutes, at=at), None if correction == "START" else self.half_life

    def _injected_before(self, scan: dt.datetime) -> float:
        """Return the seconds from administration to ``scan``."""
        when = self.item.text("RadiopharmaceuticalStartDateTime")
        bare = when.partition("+")[0].partition("-")[0]
        if bare != when:
            raise InputError("the administration is given with an offset from UTC, the scan without")
        full = _parsed(bare[:8], bare[8:])
        clock = _parsed(scan.strftime("%Y%m%d"), self.item.text("RadiopharmaceuticalStartTime"))
        if full is None and clock is None:
            raise InputError("the time of administration is missing (0018,1078), (0018,1072)")
        if full is not None and clock is not None:
            apart = (full - clock) % _DAY
            if min(apart, _DAY - apart) > _SAME_TIME:
                raise InputError("the two times of administration (0018,1078) and (0018,1072) contradict each other")
        seconds = ((scan - full) if full is not None else (scan - (clock or scan)) % _DAY).total_seconds()
        if seconds < 0:
            raise InputError("the radiopharmaceutical was given after the scan, by its date and time")
        if seconds > _MOST_HALF_LIVES * self.half_life or (full is None and seconds > _DAY.total_seconds() / 2):
            raise InputError("the scan began too long after the administration, by their times: one of them is wrong")
        return seconds


def _dose(header: Item) -> _Dose:
    items = header.items("RadiopharmaceuticalInformationSequence")
    if len(items) != 1:
        msg = "the radiopharmaceutical is not described" if not items else "several radiopharmaceuticals are described"
        raise InputError(msg)
    (item,) = items
    activity, half_life = item.number("RadionuclideTotalDose"), item.number("RadionuclideHalfLife")
    if activity is None or activity < _LEAST_BQ:
        state = "missing" if not activity else "no activity of an examination in Bq"
        msg = f"Radionuclide Total Dose (0018,1074) is {state}"
        raise InputError(msg)
    if not half_life or half_life <= 0:
        raise InputError("Radionuclide Half Life (0018,1075) is missing")
    return _Dose(activity=activity, half_life=half_life, item=item)


def _scan_start(header: Item, images: tuple[SourceImage, ...], half_life: float) -> dt.datetime | None:
    """Return the start of the scan: Series Time, unless the series was made after the images were acquired.

    Then it is what the scanner says (GE), else it follows from Frame Reference Time, else it is the earliest acquisition.
    """
    began = _moment(header, "SeriesDate", "SeriesTime")
    earliest = _earliest(images)
    if began is not None and (earliest is None or began <= earliest):
        return began
    ge = _private_text(header, _GE, _GE_SCAN_START)
    if stated := _parsed(ge[:8], ge[8:]):
        return stated
    reference, duration = header.number("FrameReferenceTime"), header.number("ActualFrameDuration")
    acquired = _moment(header, "AcquisitionDate", "AcquisitionTime")
    if reference and duration and acquired is not None:
        decay = math.log(2) / half_life
        during = decay * duration / 1000
        average = math.log(during / (1 - math.exp(-during))) / decay
        return acquired - dt.timedelta(seconds=reference / 1000 - average)
    return earliest


def _earliest(images: tuple[SourceImage, ...]) -> dt.datetime | None:
    found = []
    for image in images:
        own, header = image.instance.own, image.instance.header
        time = next(iter(own.get("AcquisitionTime", ())), "")
        when = next(iter(own.get("AcquisitionDateTime", ())), "")
        date = header.text("AcquisitionDate") or when[:8] or header.text("SeriesDate")
        if moment := _parsed(date, time or when[8:]):
            found.append(moment)
    return min(found, default=None)


def _moment(header: Item, date: str, time: str) -> dt.datetime | None:
    day = header.text(date) or header.text("SeriesDate") or header.text("StudyDate")
    return _parsed(day, header.text(time))


def _parsed(date: str, time: str) -> dt.datetime | None:
    """Return DA and TM as a time without a zone: only differences are ever taken."""
    day, clock = clean_date(date), clean_time(time)
    if not day or len(clock) < len("HHMM"):
        return None
    whole, _, fraction = clock.partition(".")
    padded = whole.ljust(len("HHMMSS"), "0")
    try:
        base = dt.datetime.strptime(day + padded, "%Y%m%d%H%M%S")  # noqa: DTZ007 - see above
    except ValueError:
        return None
    return base + dt.timedelta(seconds=float(f"0.{fraction or 0}"))


def _private(header: Item, creator: str, element: int) -> float | None:
    try:
        value = float(_private_text(header, creator, element))
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _private_text(header: Item, creator: str, element: int) -> str:
    """Return the value of a private element (PS3.5 7.8.1); empty where there is none."""
    group = {_PHILIPS: 0x7053, _GE: 0x0009}[creator]
    for block in range(0x10, 0x100):
        if header.private_text(group << 16 | block) == creator:
            return header.private_text(group << 16 | block << 8 | element)
    return ""


# --- measures ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Metabolic:
    """The part of a segment that takes up most."""

    #: SUVbw from which voxels belong to it
    threshold: float
    #: mm3
    volume: float
    #: mean SUVbw of it
    mean: float

    @property
    def glycolysis(self) -> float:
        """Return the total lesion glycolysis: mean SUVbw (g/ml) x volume (ml), g."""
        return self.mean * self.volume / 1000


def metabolic(samples: Samples, percent: float) -> Metabolic:
    """Return the voxels of at least ``percent`` of the segment's maximum; 0: the whole segment."""
    threshold = float(samples.values.max()) * percent / 100
    chosen = samples.values >= np.float32(threshold) if percent else np.ones(samples.values.shape, bool)
    return Metabolic(threshold=threshold, volume=samples.volume_where(chosen), mean=samples.mean(chosen))


def peak(mask: SegmentMask, source: Source, values: ImageValues, scale: UptakeScale) -> float:
    """Return SUVpeak: the highest mean of a sphere of 1 cm3 whose centre is a voxel of the segment.

    The sphere may reach beyond the segment, not beyond the images; a voxel at its border counts with the share that is inside.

    Raises
    ------
    InputError
        The images are not equally spaced around the segment, or end within a radius of every voxel of it.
    StoreUnavailable
        A file cannot be read now.
    """
    spacing = np.array([mask.slices[0].thickness, *mask.slices[0].plane.spacing])
    reach = np.ceil(PEAK_RADIUS_MM / spacing).astype(int)
    block, marked = _block(mask, source, values, scale, reach)
    kernel = _sphere(spacing, reach)
    known = ndimage.correlate(np.isfinite(block).astype(np.float32), kernel, mode="constant")
    sums = ndimage.correlate(np.nan_to_num(block), kernel, mode="constant")
    whole = marked & (known >= 1 - 1e-4)
    if not whole.any():
        raise InputError("the images end within the sphere of 1 cm3 around every voxel of the segment")
    return float(sums[whole].max())


def _block(
    mask: SegmentMask, source: Source, values: ImageValues, scale: UptakeScale, reach: NDArray[np.int_]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the values around the segment (not a number where there is no image), and where the segment is."""
    step = mask.slices[0].thickness
    if mask.unequal_spacing or not all(s.image is not None and _same_grid(s.image.plane, s.plane) for s in mask.slices):
        raise InputError("the segment is not on the grid of equally spaced images")
    first = mask.slices[0].depth
    levels = [round((s.depth - first) / step) for s in mask.slices]
    count = levels[-1] + 1 + 2 * reach[0]
    row = min(s.row for s in mask.slices) - reach[1]
    column = min(s.column for s in mask.slices) - reach[2]
    height = max(s.row + s.mask.shape[0] for s in mask.slices) + reach[1] - row
    width = max(s.column + s.mask.shape[1] for s in mask.slices) + reach[2] - column
    block = np.full((count, height, width), np.nan, np.float32)
    marked = np.zeros(block.shape, bool)
    by_level = {round((float(d) - first) / step): i for i, d in source.placed(mask.normal)}
    for level in range(count):
        image = by_level.get(level - reach[0])
        if image is None:
            continue
        whole, padded = values.read(image, scale)
        whole[padded] = np.nan
        low, left = max(row, 0), max(column, 0)
        bottom, right = min(row + height, whole.shape[0]), min(column + width, whole.shape[1])
        block[level, low - row : bottom - row, left - column : right - column] = whole[low:bottom, left:right]
    for level, s in zip(levels, mask.slices, strict=True):
        y, x = s.row - row, s.column - column
        marked[level + reach[0], y : y + s.mask.shape[0], x : x + s.mask.shape[1]] = s.mask
    return block, marked


def _same_grid(one: PlaneGeometry, other: PlaneGeometry) -> bool:
    """Say whether the pixels of two planes are the same, within a tenth of one."""
    corners = np.array([0.0, other.columns - 1.0, 0.0]), np.array([0.0, 0.0, other.rows - 1.0])
    columns, rows = to_pixels(one, to_patient(other, *corners))
    off = max(float(np.abs(columns - corners[0]).max()), float(np.abs(rows - corners[1]).max()))
    return (one.rows, one.columns) == (other.rows, other.columns) and off <= _OFF_GRID


def _sphere(spacing: NDArray[np.float64], reach: NDArray[np.int_]) -> NDArray[np.float32]:
    """Return the share of each voxel around a centre in a sphere of 1 cm3; they sum to 1."""
    fine = (np.arange(_FINE) + 0.5) / _FINE - 0.5
    axes = [np.add.outer(np.arange(-r, r + 1), fine).ravel() * s for r, s in zip(reach, spacing, strict=True)]
    inside = sum(np.square(a).reshape([-1 if i == n else 1 for i in range(3)]) for n, a in enumerate(axes))
    shares = (np.asarray(inside) <= PEAK_RADIUS_MM**2).astype(np.float32)
    shape = [n for r in reach for n in (2 * int(r) + 1, _FINE)]
    weights = shares.reshape(shape).sum(axis=(1, 3, 5))
    return np.asarray(weights / weights.sum(), np.float32)
