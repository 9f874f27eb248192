"""Lines that a reader drew in a presentation state, as marks: their length, where they lie, and what they are called."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from service.errors import InputError
from service.measure.images import OpenFile
from service.model.measurement import Measurement, Reference, RegionKind, SegmentMeasurements
from service.model.study import Instance, Series, Study
from service.read.part10 import as_numbers
from service.read.presentation import DrawnLine, check_ends, read_presentation
from service.read.segmentation import Segment
from service.read.sop_classes import PRESENTATION_STATE
from service.read.structures import structure_of
from service.settings import Measuring

MM = "mm"
#: modalities whose Pixel Spacing is that of the patient; elsewhere it may be that of a detector
_CROSS_SECTIONS = frozenset({"CT", "MR", "PT"})
_NUMBER = re.compile(r"(\d+(?:[.,]\d+)?)\s*(mm|cm)\b", re.IGNORECASE)
_MM_PER_CM = 10
#: cosine of the angle between two lines up to which they are perpendicular: 80 degrees
_PERPENDICULAR = math.cos(math.radians(80))


def lines_of(study: Study, open_file: OpenFile, measuring: Measuring) -> list[SegmentMeasurements]:
    """Return the lines of every presentation state of a study, in the order of series, instances and annotations.

    A line has the length ``sz.length``; one that is called a tumour is its long axis, and a line across it on the same image, in the
    same object, its short axis.

    Raises
    ------
    ConfigurationError
        The file of further names cannot be read.
    StoreUnavailable
        A file cannot be read now.
    """
    found: list[SegmentMeasurements] = []
    for instance in study.instances:
        if instance.sop_class_uid != PRESENTATION_STATE:
            continue
        try:
            drawings = read_presentation(open_file(instance), name="the presentation state")
        except InputError as error:
            refusal = f"Not measured: {error}"
            found.append(
                SegmentMeasurements(
                    label="", segment=0, source=instance.reference, kind=RegionKind.LINE, refusals=(refusal,)
                )
            )
            continue
        found.extend(_marks(drawings.lines, instance, study, measuring))
    return found


def _marks(
    lines: tuple[DrawnLine, ...], instance: Instance, study: Study, measuring: Measuring
) -> Iterator[SegmentMeasurements]:
    used: set[int] = set()
    for number, line in enumerate(lines, start=1):
        if number in used:
            continue
        across = next(
            (n for n, other in enumerate(lines, start=1) if n > number and n not in used and _crosses(line, other)),
            None,
        )
        pair = (line, lines[across - 1]) if across is not None else (line,)
        used |= {number, *([across] if across is not None else [])}
        yield _mark(pair, number, instance, study, measuring)


def _mark(
    pair: tuple[DrawnLine, ...], number: int, instance: Instance, study: Study, measuring: Measuring
) -> SegmentMeasurements:
    line = pair[0]
    words = " ".join(dict.fromkeys(_NUMBER.sub(" ", t).strip() for one in pair for t in one.texts))
    label = " ".join(words.split())[:64]
    structure = structure_of(Segment(number=number, label=label), measuring.structures)
    place = _place(line, study)
    remarks: list[str] = []
    measurements: list[Measurement] = []
    refusal = ""
    try:
        measured = sorted(
            (_measure(one, place, remarks, measuring, alone=one.alone) for one in pair), key=lambda m: -m[0]
        )
    except InputError as error:
        measured, refusal = [], f"Not measured: {error}"
    names = ("sz.long_axis", "sz.short_axis") if structure.role == "tumour" else ("sz.length", "sz.length")
    for name, (length, reference) in zip(names, measured, strict=False):
        method = (
            "line of a presentation state" if name != "sz.short_axis" else "line across it, of a presentation state"
        )
        measurements.append(
            Measurement(name=name, value=length, unit=MM, method=method, evidence=(instance.reference, reference))
        )
    return SegmentMeasurements(
        label=label,
        segment=number,
        source=instance.reference,
        kind=RegionKind.LINE,
        image_series_instance_uid=place[0].series_instance_uid if place else "",
        modality=place[0].modality if place else "",
        role=structure.role,
        role_basis=structure.basis,
        laterality=structure.laterality,
        laterality_basis=structure.laterality_basis,
        measurements=tuple(measurements),
        remarks=tuple(remarks),
        refusals=(refusal,) if refusal else (),
    )


def _place(line: DrawnLine, study: Study) -> tuple[Series, Instance] | None:
    found = ((s, i) for s in study.images for i in s.instances if i.sop_instance_uid == line.sop_instance_uid)
    return next(found, None)


def _measure(
    line: DrawnLine,
    place: tuple[Series, Instance] | None,
    remarks: list[str],
    measuring: Measuring,
    *,
    alone: bool,
) -> tuple[float, Reference]:
    """Return the length of a line in mm, and the line on its image.

    A text beside it counts as its own where it is ``alone`` in its annotation.

    Raises
    ------
    InputError
        Its length cannot be told.
    """
    if line.fault:
        raise InputError(line.fault)
    if place is None:
        raise InputError("the image that it is drawn on is not in this study")
    series, image = place
    spacing = as_numbers(image.header.texts("PixelSpacing"))
    if series.modality not in _CROSS_SECTIONS or len(spacing) != 2 or min(spacing) <= 0:  # noqa: PLR2004 - rows, columns
        raise InputError("its image states no spacing of pixels in the patient")
    check_ends(line, int(image.header.number("Rows") or 0), int(image.header.number("Columns") or 0))
    (x1, y1), (x2, y2) = line.ends
    length = math.hypot((x2 - x1) * spacing[1], (y2 - y1) * spacing[0])
    for text in line.texts if alone else ():
        for number, unit in _NUMBER.findall(text):
            stated = float(number.replace(",", ".")) * (_MM_PER_CM if unit.lower() == "cm" else 1)
            digits = len(number.replace(",", ".").partition(".")[2])
            step = (_MM_PER_CM if unit.lower() == "cm" else 1) / 10**digits
            if differs(stated, length, step / 2, measuring):
                remarks.append(
                    f"The text beside the line says {stated:.1f} mm, the line itself is {length:.1f} mm long"
                )
    reference = Reference(
        sop_class_uid=image.sop_class_uid,
        sop_instance_uid=image.sop_instance_uid,
        series_instance_uid=image.series_instance_uid,
        frames=line.frames,
        points=tuple((round(x, 2), round(y, 2)) for x, y in line.ends),
    )
    return length, reference


def differs(stated: float, drawn: float, rounding: float, measuring: Measuring) -> bool:
    """Say whether a length is another one than that of its own line: by more than the tolerances and than it was rounded by; in mm."""
    apart = abs(stated - drawn)
    allowed = min(measuring.length_tolerance_mm, drawn * measuring.length_tolerance_percent / 100)
    return apart > max(allowed, rounding + 1e-6)


def _crosses(one: DrawnLine, other: DrawnLine) -> bool:
    """Say whether two lines on one image cross at a right angle, as the two axes of one lesion do."""
    if one.sop_instance_uid != other.sop_instance_uid or one.frames != other.frames:
        return False
    (a, b), (c, d) = one.ends, other.ends
    u, v = (b[0] - a[0], b[1] - a[1]), (d[0] - c[0], d[1] - c[1])
    if abs(u[0] * v[0] + u[1] * v[1]) > _PERPENDICULAR * math.hypot(*u) * math.hypot(*v):
        return False

    def side(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) <= 0 and side(c, d, a) * side(c, d, b) <= 0
