"""Whether a length that came with its line is the length of that line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal

from service.measure.lines import differs
from service.model.foreign import Evidence, ForeignMeasurement, GraphicType
from service.settings import Measuring
from sr_templates import load_codes

MEASURING = Measuring()
_ENDS = 2
_IN_SPACE = 3


def lines_told(
    measurement: ForeignMeasurement,
    group: Iterable[Evidence],
    spacings: Mapping[str, tuple[float, float]],
    measuring: Measuring,
) -> str:
    """Return in words that a length and its line differ; empty where they agree, or where there is nothing to compare.

    Parameters
    ----------
    measurement:
        A number of somebody else's report; only lengths in mm are looked at.
    group:
        The evidence of its group, which counts where the number itself has none.
    spacings:
        Pixel Spacing (rows, columns) in mm of the images of the study, by SOP Instance UID.
    measuring:
        The tolerances.
    """
    if measurement.value is None or measurement.unit is None or not measurement.unit.same(load_codes()["u.mm"]):
        return ""
    drawn = list(_lengths(measurement.evidence or group, spacings))
    stated = float(measurement.value)
    rounding = float(_step(measurement)) / 2
    if not drawn or any(not differs(stated, d, rounding, measuring) for d in drawn):
        # several lines, the two axes say: one of them is its own
        return ""
    nearest = min(drawn, key=lambda d: abs(d - stated))
    name = measurement.concept.code.meaning
    return (
        f"{name} {stated:.1f} mm is not the length of its line on the image, which is {nearest:.1f} mm: measure again"
    )


def _step(measurement: ForeignMeasurement) -> Decimal:
    """Return the last digit that was given, in mm."""
    if measurement.received_value is None or measurement.value is None:
        return Decimal(0)
    exponent = measurement.received_value.as_tuple().exponent
    digit = Decimal(1).scaleb(exponent) if isinstance(exponent, int) else Decimal(0)
    return digit * (measurement.value / measurement.received_value) if measurement.received_value else digit


def _lengths(evidence: Iterable[Evidence], spacings: Mapping[str, tuple[float, float]]) -> Iterator[float]:
    for one in evidence:
        line = one.graphic
        if line is None or line.kind is not GraphicType.POLYLINE or len(line.points) != _ENDS:
            continue
        first, second = line.points
        if len(first) == _IN_SPACE:
            yield math.dist(first, second)
            continue
        known = {spacings[i.sop_instance_uid] for i in one.images if i.sop_instance_uid in spacings}
        if len(known) == 1:
            ((row, column),) = known
            yield math.hypot((second[0] - first[0]) * column, (second[1] - first[1]) * row)
