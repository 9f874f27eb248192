"""Functional groups cut from bytes say what pydicom says."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from service.read.functional_groups import groups_of
from service.read.part10 import Item, open_part10
from tests.phantoms import Ct, Grid, Part, Seg, ellipsoid

DATA = Path(__file__).parents[1] / "data"
GRID = Grid(rows=16, columns=16, spacing=(8, 8))
WANTED = {
    "FrameContentSequence": ("DimensionIndexValues",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"),
    "SegmentIdentificationSequence": ("ReferencedSegmentNumber",),
}


def said(groups: tuple[Item, ...]) -> list[Any]:
    return [
        (
            [(s, s in g, [g.item(s).texts(k) for k in keywords]) for s, keywords in WANTED.items()],
            [
                (source.text("ReferencedSOPInstanceUID"), source.numbers("ReferencedFrameNumber"))
                for derivation in g.items("DerivationImageSequence")
                for source in derivation.items("SourceImageSequence")
            ],
        )
        for g in groups
    ]


def dataset(**changes: Any) -> Dataset:
    mask = GRID.voxels(ellipsoid(GRID.centre, (40, 40, 40)))
    ct = Ct(grid=GRID, hounsfield=mask * 60.0)
    return Seg(grid=GRID, parts=[Part(mask=mask)], ct=ct, nominal_spacing=5, **changes).dataset()


def opened(ds: Dataset, syntax: str) -> Item:
    ds.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    stream.seek(0)
    return open_part10(stream, name="the segmentation")[1]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [(), (0,), (0, 1), (1,)], ids=["defined", "outer", "both", "inner"])
def test_groups_are_those_of_pydicom(syntax: str, undefined: tuple[int, ...]) -> None:
    ds = dataset()
    groups = ds["PerFrameFunctionalGroupsSequence"]
    groups.is_undefined_length = 0 in undefined
    for group in groups.value:
        group.is_undefined_length_sequence_item = 1 in undefined
        for element in group:
            element.is_undefined_length = 1 in undefined
    found = said(groups_of(opened(ds, syntax)))
    assert found == said(opened(ds, syntax).items("PerFrameFunctionalGroupsSequence"))
    assert len(found) == int(ds.NumberOfFrames)
    assert found[0][1][0][0] != ""


@pytest.mark.parametrize("file", sorted(DATA.rglob("*SEG.dcm")) + sorted(DATA.rglob("seg_*.dcm")), ids=lambda p: p.stem)
def test_real_segmentations_say_the_same(file: Path) -> None:
    found = said(groups_of(open_part10(file, name="a file")[1]))
    assert found == said(open_part10(file, name="a file")[1].items("PerFrameFunctionalGroupsSequence"))
    assert found


def test_damaged_bytes_say_nothing_that_pydicom_does_not() -> None:
    stream = io.BytesIO()
    ds = dataset()
    ds.save_as(stream, enforce_file_format=True)
    whole = stream.getvalue()
    start = whole.find(b"\x00\x52\x30\x92SQ")
    rng = np.random.default_rng(5)
    for _ in range(150):
        broken = bytearray(whole)
        broken[int(rng.integers(start + 12, len(whole) - 2000))] = int(rng.integers(256))
        try:
            found = said(groups_of(open_part10(io.BytesIO(bytes(broken)), name="a file")[1]))
            plain = said(
                open_part10(io.BytesIO(bytes(broken)), name="a file")[1].items("PerFrameFunctionalGroupsSequence")
            )
        except pydicom.errors.InvalidDicomError:
            continue
        # where pydicom gives up, so do we; where it reads on, we say the same or nothing
        assert len(found) <= len(plain) or not plain
