"""Lines of presentation states, and lengths that are not those of their lines."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from service.flow.honesty import lines_told
from service.measure.lines import differs
from service.model.code import Code
from service.model.foreign import Coded, Evidence, ForeignMeasurement, Graphic, GraphicType, ValueType
from service.model.measurement import Reference, RegionKind, SegmentMeasurements
from service.settings import Measuring
from sr_templates import load_codes
from tests.phantoms import ROOT, Ct, Grid, Lines, Part, Seg, ellipsoid, measured, value

GRID = Grid(spacing=(0.5, 0.8))
#: 40 columns of 0.8 mm: 32 mm
LINE = (40.5, 60.5, 80.5, 60.5)
ACROSS = (60.5, 50.5, 60.5, 80.5)


def ct(**changes: Any) -> Ct:
    return Ct(grid=GRID, hounsfield=np.full((len(GRID.depths), GRID.rows, GRID.columns), 60.0), **changes)


def drawn(tmp_path: Path, lines: Any = (LINE,), texts: Any = (), **changes: Any) -> tuple[SegmentMeasurements, ...]:
    images = changes.pop("images", None) or ct()
    images.write(tmp_path)
    Lines(ct=images, at=10, lines=lines, texts=texts, **changes).write(tmp_path)
    return measured(tmp_path)


def test_a_line_has_its_length_in_the_patient_and_its_place(tmp_path: Path) -> None:
    (line,) = drawn(tmp_path, texts=("32.0 mm",))
    assert (line.kind, line.role, line.remarks, line.refusals) == (RegionKind.LINE, "", (), ())
    (length,) = line.measurements
    assert (length.name, length.unit) == ("sz.length", "mm")
    assert length.value == pytest.approx(32)
    assert length.evidence[1].points == ((40.5, 60.5), (80.5, 60.5))
    assert length.evidence[1].sop_instance_uid == ct().uid(10)


def test_two_lines_across_each_other_that_are_called_a_tumour_are_its_axes(tmp_path: Path) -> None:
    (tumour,) = drawn(tmp_path, lines=(ACROSS, LINE), texts=("Tumour 32 mm", "15 mm"))
    assert (tumour.label, tumour.role) == ("Tumour", "tumour")
    assert value(tumour, "sz.long_axis") == pytest.approx(32)
    assert value(tumour, "sz.short_axis") == pytest.approx(15)
    assert tumour.remarks == ()


def test_lines_beside_each_other_are_two(tmp_path: Path) -> None:
    found = drawn(tmp_path, lines=(LINE, (40.5, 90.5, 80.5, 90.5)))
    assert [m.segment for m in found] == [1, 2]


def test_a_text_that_says_another_length_is_flagged(tmp_path: Path) -> None:
    (line,) = drawn(tmp_path, texts=("4,0 cm",))
    assert line.remarks == ("The text beside the line says 40.0 mm, the line itself is 32.0 mm long",)


def _display(ds: Dataset) -> None:
    ds.GraphicAnnotationSequence[0].GraphicObjectSequence[0].GraphicAnnotationUnits = "DISPLAY"


def _no_image(ds: Dataset) -> None:
    del ds.GraphicAnnotationSequence[0].ReferencedImageSequence
    series = ds.ReferencedSeriesSequence[0]
    series.ReferencedImageSequence = [*series.ReferencedImageSequence, *series.ReferencedImageSequence]


def _elsewhere(ds: Dataset) -> None:
    ds.GraphicAnnotationSequence[0].ReferencedImageSequence[0].ReferencedSOPInstanceUID = f"{ROOT}.404"


def _beyond(ds: Dataset) -> None:
    ds.GraphicAnnotationSequence[0].GraphicObjectSequence[0].GraphicData = [1.0, 1.0, 900.0, 1.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_display, "drawn in units of display"),
        (_no_image, "drawn over 2 images"),
        (_elsewhere, "is not in this study"),
        (_beyond, "reaches beyond its image"),
    ],
)
def test_a_line_whose_length_cannot_be_told_is_refused(
    tmp_path: Path, change: Callable[[Dataset], None], words: str
) -> None:
    (line,) = drawn(tmp_path, change=change)
    assert line.measurements == ()
    assert words in line.refusals[0]


def test_an_image_without_spacing_has_no_length(tmp_path: Path) -> None:
    (line,) = drawn(tmp_path, images=ct(change=lambda ds, at: ds.__delattr__("PixelSpacing")))
    assert "states no spacing" in line.refusals[0]


def test_other_graphics_are_no_lines(tmp_path: Path) -> None:
    def polygon(ds: Dataset) -> None:
        graphic = ds.GraphicAnnotationSequence[0].GraphicObjectSequence[0]
        graphic.GraphicData, graphic.NumberOfGraphicPoints = [1.0, 1.0, 9.0, 1.0, 9.0, 9.0], 3

    assert drawn(tmp_path, change=polygon) == ()


def test_a_line_within_a_segmented_tumour_is_of_it(tmp_path: Path) -> None:
    images = ct()
    mask = GRID.voxels(ellipsoid(GRID.centre, (20, 12, 30)))
    Seg(grid=GRID, parts=[Part(mask=mask)], ct=images).write(tmp_path)
    segment, line = drawn(tmp_path, lines=((50.5, 64.5, 80.5, 64.5),))
    assert segment.overlaps == ((f"{ROOT}.7.1", 1),)
    assert line.overlaps == ((f"{ROOT}.9.1", 1),)
    outside = tmp_path / "outside"
    outside.mkdir()
    Seg(grid=GRID, parts=[Part(mask=mask)], ct=images).write(outside)
    segment, line = drawn(outside, lines=((1.5, 1.5, 20.5, 1.5),))
    assert (segment.overlaps, line.overlaps) == ((), ())


@pytest.mark.parametrize(
    ("stated", "line", "rounding", "expected"),
    [
        (50.0, 50.9, 0.05, False),
        (50.0, 51.1, 0.05, True),  # more than 2 %
        (200.0, 201.1, 0.05, True),  # more than 1 mm
        (10.0, 10.3, 0.05, True),
        (10.0, 10.3, 0.5, False),  # written in whole millimetres
        (30.0, 30.0, 0.0, False),
    ],
)
def test_what_is_another_length(stated: float, line: float, rounding: float, expected: bool) -> None:
    assert differs(stated, line, rounding, Measuring()) is expected


def foreign(stated: str, *points: tuple[float, ...], unit: str = "u.mm") -> ForeignMeasurement:
    length = Code("410668003", "SCT", "Length")
    image = Reference(sop_class_uid="1", sop_instance_uid="1.2", series_instance_uid="1.1")
    graphic = Graphic(kind=GraphicType.POLYLINE, points=points) if points else None
    return ForeignMeasurement(
        place="1.1",
        concept=Coded(code=length, received=length),
        value=Decimal(stated),
        unit=load_codes()[unit],
        received_value=Decimal(stated),
        received_unit=load_codes()[unit],
        evidence=(Evidence(place="1.1.1", value_type=ValueType.SCOORD, images=(image,), graphic=graphic),),
    )


@pytest.mark.parametrize(
    ("measurement", "spacings", "flagged"),
    [
        (foreign("32.0", (10, 10), (50, 10)), {"1.2": (0.5, 0.8)}, False),
        (foreign("40.0", (10, 10), (50, 10)), {"1.2": (0.5, 0.8)}, True),
        # rows and columns mixed up
        (foreign("20.0", (10, 10), (50, 10)), {"1.2": (0.5, 0.8)}, True),
        # in space: no spacing is needed
        (foreign("30.0", (0, 0, 0), (0, 30, 0)), {}, False),
        (foreign("35.0", (0, 0, 0), (0, 30, 0)), {}, True),
        # nothing to compare with
        (foreign("40.0", (10, 10), (50, 10)), {}, False),
        (foreign("40.0"), {"1.2": (0.5, 0.8)}, False),
        (foreign("40.0", (10, 10), (50, 10), (50, 50)), {"1.2": (0.5, 0.8)}, False),
        (foreign("40.0", (10, 10), (50, 10), unit="u.cm3"), {"1.2": (0.5, 0.8)}, False),
    ],
)
def test_a_length_of_somebody_elses_report_is_held_against_its_line(
    measurement: ForeignMeasurement, spacings: dict[str, tuple[float, float]], flagged: bool
) -> None:
    told = lines_told(measurement, (), spacings, Measuring())
    assert bool(told) is flagged
    if flagged:
        assert told.startswith("Length ")
        assert "is not the length of its line" in told
