"""Values within a region: attenuation on CT, uptake on PET, diffusion on ADC maps, signal on other MR images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from service.errors import InputError
from service.measure.geometry import tolerance
from service.measure.images import Source, images_of
from service.measure.mask import SegmentMask
from service.measure.regions import Region
from service.measure.uptake import UptakeScale, metabolic, peak, uptake_scale
from service.measure.values import ImageValues, Samples, diffusion, hounsfield, is_adc_map, signal
from service.model.measurement import Measurement, Reference
from service.model.study import Series, Study
from service.settings import Measuring

HOUNSFIELD, PERCENT, MM3 = "[hnsf'U]", "%", "mm3"
SUV, GRAM, DIFFUSION, NO_UNIT = "g/ml{SUVbw}", "g", "um2/s", "1"
#: key of the derivation → what it is called, in the order of the list
_PERCENTILES = (
    ("deriv.p10", 10.0, "10th percentile"),
    ("deriv.median", 50.0, "median"),
    ("deriv.p90", 90.0, "90th percentile"),
)


class Statistics:
    """Measures the values of one region."""

    def __init__(
        self,
        one: Region,
        mask: SegmentMask,
        study: Study,
        values: ImageValues,
        measuring: Measuring,
        line: Reference | None,
    ) -> None:
        self.measurements: list[Measurement] = []
        self.on_other_series: list[Measurement] = []
        self.remarks: list[str] = []
        self.refusals: list[str] = []
        self._one = one
        self._values = values
        self._measuring = measuring
        self._line = line
        series = one.source.series
        if series is None:
            return
        if series.modality == "CT":
            self._try("attenuation", lambda: self._attenuation(mask))
            self._other_phases(mask, series, study)
        elif series.modality == "PT":
            self._try("SUV", lambda: self._uptake(mask))
        elif series.modality == "MR":
            self._magnetic(mask, series)

    def _try(self, what: str, measure: Callable[[], None]) -> None:
        try:
            measure()
        except InputError as error:
            self.refusals.append(f"No {what}: {error}")

    def _add(
        self,
        name: str,
        value: float,
        unit: str,
        method: str,
        derivation: str = "",
        threshold: float | None = None,
        on: Reference | None = None,
    ) -> None:
        (self.measurements if on is None else self.on_other_series).append(
            Measurement(
                name=name,
                value=value,
                unit=unit,
                method=method,
                derivation=derivation,
                threshold=threshold,
                evidence=(self._one.reference, *([on] if on is not None else [])),
            )
        )

    def _distribution(
        self, name: str, unit: str, found: Samples, suffix: str = "", on: Reference | None = None
    ) -> None:
        """Add mean, SD, extremes and percentiles."""
        what = f"of all voxels of the {self._one.kind.value}{suffix}"
        extremes = (float(found.values.min()), float(found.values.max()))
        self._add(name, found.mean(), unit, f"mean {what}", "deriv.mean", on=on)
        self._add(name, found.deviation(), unit, f"SD {what}", "deriv.sd", on=on)
        for (key, _, words), value in zip(
            _PERCENTILES, found.percentiles(*(p for _, p, _ in _PERCENTILES)), strict=True
        ):
            self._add(name, value, unit, f"{words} {what}", key, on=on)
        for key, words, value in (("deriv.min", "minimum", extremes[0]), ("deriv.max", "maximum", extremes[1])):
            self._add(name, value, unit, f"{words} {what}", key, on=on)
        if found.padding and on is None:
            kind = "attenuation" if name == "ct.hu" else "statistic"
            self.remarks.append(
                f"{found.padding} voxels of the segment are padding in the images and count for no {kind}"
            )

    def _on_images(self) -> None:
        if self._one.source.refusal:
            raise InputError(self._one.source.refusal)

    def _attenuation(self, mask: SegmentMask) -> None:
        self._on_images()
        found = self._values.samples(mask, hounsfield)
        self._distribution("ct.hu", HOUNSFIELD, found)
        for name, limit in (
            ("ms.low_att_fraction", self._measuring.low_attenuation_hu),
            ("ms.fat_att_fraction", self._measuring.fat_attenuation_hu),
        ):
            share = found.part(found.values < np.float32(limit))
            self._add(name, share, PERCENT, f"part of the segment below {limit:g} HU", threshold=limit)

    def _other_phases(self, mask: SegmentMask, own: Series, study: Study) -> None:
        """Measure the attenuation on every other CT series whose images lie in the very planes and pixels of the region's."""
        frame = own.header.text("FrameOfReferenceUID")
        if self._line is None or not frame or self._one.source.refusal or mask.incomplete:
            return
        for series in study.images:
            if series is own or series.modality != "CT" or series.header.text("FrameOfReferenceUID") != frame:
                continue
            try:
                other = _moved(mask, Source(series=series, images=images_of(series, self._values.open_file)))
                found = self._values.samples(other, hounsfield) if other is not None else None
            except InputError:
                # another grid, a localizer: nothing that anybody asked for is left out
                continue
            if other is None or found is None:
                continue
            image = next((s.image for s in other.slices if s.image is not None), None)
            if image is not None:
                reference = image.instance.reference
                on = replace(reference, frames=() if image.frame is None else (image.frame + 1,))
                name = f"series {series.number}" if series.number is not None else "another series"
                self._distribution("ct.hu", HOUNSFIELD, found, f", on {name}", on)

    def _uptake(self, mask: SegmentMask) -> None:
        self._on_images()
        source = self._one.source
        scale = uptake_scale(source.images, self._values)
        found = self._values.samples(mask, scale)
        basis = f"; SUVbw {scale.basis}"
        self._distribution("pet.suvbw", SUV, found, basis)
        self._try("SUVpeak", lambda: self._peak(mask, scale, basis))
        percent = self._measuring.metabolic_percent
        part = metabolic(found, percent)
        where = (
            f"voxels of at least {percent:g} % of SUVmax ({part.threshold:.2f} g/ml)" if percent else "whole segment"
        )
        threshold = part.threshold if percent else None
        self._add("pet.mtv", part.volume, MM3, where, threshold=threshold)
        self._add("pet.tlg", part.glycolysis, GRAM, f"mean SUVbw x volume of the {where}", threshold=threshold)

    def _peak(self, mask: SegmentMask, scale: UptakeScale, basis: str) -> None:
        value = peak(mask, self._one.source, self._values, scale)
        method = f"highest mean of a sphere of 1 cm3 centred in the {self._one.kind.value}{basis}"
        self._add("pet.suvbw", value, SUV, method, "deriv.peak")

    def _magnetic(self, mask: SegmentMask, series: Series) -> None:
        image = next((s.image for s in mask.slices if s.image is not None), None)
        try:
            adc = image is not None and is_adc_map(self._values.header(image), series.description)
        except InputError:
            adc = False
        if adc:
            self._try("ADC", lambda: self._sampled(mask, "mr.adc", DIFFUSION))
        else:
            self._try("signal", lambda: self._sampled(mask, "ms.signal", NO_UNIT))

    def _sampled(self, mask: SegmentMask, name: str, unit: str) -> None:
        self._on_images()
        scale = diffusion if name == "mr.adc" else signal
        self._distribution(name, unit, self._values.samples(mask, scale))


def _moved(mask: SegmentMask, source: Source) -> SegmentMask | None:
    """Return ``mask`` on the images of another series; None where a slice has no image of its own there."""
    slices = []
    for s in mask.slices:
        image = source.image_in(s.plane, (), tolerance(s.thickness))
        if image is None:
            return None
        slices.append(replace(s, image=image))
    return replace(mask, slices=tuple(slices))
