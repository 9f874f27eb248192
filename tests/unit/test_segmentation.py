"""Segmentations as masks: every type and packing gives the voxels that were marked, everything else is refused in words."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from pydicom.dataset import Dataset

from service.errors import InputError
from service.model.code import Code
from service.read.part10 import Item
from service.read.pixels import open_pixels
from service.read.segmentation import Segmentation, plane_of, read_segmentation
from tests.helpers import ROOT
from tests.phantoms import Grid, Part, Seg, code, item

PYDICOM_FILES = Path(pydicom.data.__file__).parent
CHANCE = np.random.default_rng(7)
#: 7 x 5 pixels: frames begin within a byte
GRID = Grid(rows=7, columns=5, depths=(0.0, 2.0, 4.0), spacing=(0.5, 0.75))
MASKS = [CHANCE.random((3, 7, 5)) < 0.5, CHANCE.random((3, 7, 5)) < 0.3]


def read(folder: Path, **changes: Any) -> Segmentation:
    scale = changes.pop("scale", 1)
    parts = changes.pop("parts", [Part(mask=MASKS[0] * scale), Part(mask=MASKS[1] * scale, label="IVC")])
    Seg(grid=GRID, parts=parts, ct=None, **changes).write(folder)
    return read_segmentation(folder / "seg.dcm", name="the segmentation")


def masks(of: Segmentation, segment: int) -> np.ndarray:
    return np.stack([of.mask(f, segment) for f in of.frames_of(segment)])


@pytest.mark.parametrize(
    "how",
    [
        {"kind": "BINARY"},
        {"kind": "FRACTIONAL", "scale": 200},
        {"kind": "FRACTIONAL", "scale": 101},
        {"kind": "FRACTIONAL", "scale": 200, "compressed": True},
    ],
)
def test_masks_are_what_was_marked(tmp_path: Path, how: dict[str, Any]) -> None:
    segmentation = read(tmp_path, keep_empty_frames=True, **how)
    for number, mask in enumerate(MASKS, start=1):
        assert np.array_equal(masks(segmentation, number), mask)


def test_overlapping_segments_stay_apart(tmp_path: Path) -> None:
    segmentation = read(tmp_path, keep_empty_frames=True)
    assert (MASKS[0] & MASKS[1]).any()
    assert np.array_equal(masks(segmentation, 1) & masks(segmentation, 2), MASKS[0] & MASKS[1])


def test_label_maps_are_read(tmp_path: Path) -> None:
    apart = [MASKS[0], MASKS[1] & ~MASKS[0]]
    segmentation = read(tmp_path, kind="LABELMAP", parts=[Part(mask=m) for m in apart])
    assert np.array_equal(masks(segmentation, 1), apart[0])
    assert np.array_equal(masks(segmentation, 2), apart[1])


def test_less_than_half_a_fraction_does_not_count(tmp_path: Path) -> None:
    assert not masks(read(tmp_path, kind="FRACTIONAL", scale=99), 1).any()


def test_fractions_above_their_maximum_are_refused(tmp_path: Path) -> None:
    segmentation = read(tmp_path, kind="FRACTIONAL", scale=201)
    with pytest.raises(InputError, match="above its maximum of 200"):
        masks(segmentation, 1)


def test_geometry_and_segments_are_read(tmp_path: Path) -> None:
    segmentation = read(tmp_path, nominal_spacing=2.0, keep_empty_frames=True)
    assert segmentation.nominal_spacing == 2
    planes = [f.plane for f in segmentation.frames_of(1)]
    assert [p.origin for p in planes if p] == [(-64, -64, 0), (-64, -64, 2), (-64, -64, 4)]
    assert all(p and p.spacing == (0.5, 0.75) for p in planes)
    first, second = segmentation.segments
    assert (first.label, second.label, first.algorithm) == ("Tumour", "IVC", "MANUAL")
    assert first.property_type == Code("4147007", "SCT", "Mass")


def test_a_real_segmentation_reads() -> None:
    segmentation = read_segmentation(ROOT / "tests" / "data" / "sts_002" / "CT_SEG.dcm", name="the segmentation")
    (segment,) = segmentation.segments
    assert (segment.label, segment.tracking_id) == ("GTV_Mass", "GTV_Mass")
    assert segment.tracking_uid.startswith("1.2.826.0.1.3680043.8.498.")
    assert int(masks(segmentation, 1).sum()) == 17090
    assert len({s.sop_instance_uid for f in segmentation.frames for s in f.sources}) == 16


def fault(tmp_path: Path, change: Any) -> str:
    def decode() -> None:
        masks(read(tmp_path, change=change, keep_empty_frames=True), 1)

    with pytest.raises(InputError) as caught:
        decode()
    return str(caught.value)


def test_too_little_pixel_data_is_refused(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        ds.PixelData = ds.PixelData[:4]

    assert "too little pixel data" in fault(tmp_path, change)


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("NumberOfFrames", "9", "describes 6 frames and has 9"),
        ("Rows", 65535, "too little pixel data"),
        ("Columns", 0, "no usable image"),
        ("BitsAllocated", 12, "no usable image"),
        ("SamplesPerPixel", 3, "is in colour"),
        ("SegmentationType", "SURFACE", "Segmentation Type (0062,0001) is SURFACE"),
        ("SegmentationType", None, "Segmentation Type (0062,0001) is missing"),
    ],
)
def test_impossible_headers_are_refused(tmp_path: Path, keyword: str, value: Any, said: str) -> None:
    assert said in fault(tmp_path, lambda ds: setattr(ds, keyword, value))


def test_two_segments_of_one_number_are_refused(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        ds.SegmentSequence[1].SegmentNumber = 1

    assert "without a number of its own" in fault(tmp_path, change)


def test_an_object_without_pixel_data_is_refused(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        del ds.PixelData

    assert "has no pixel data" in fault(tmp_path, change)


def test_what_nothing_here_decodes_is_refused_in_words(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"

    with pytest.raises(InputError, match="cannot be decoded here"):
        masks(read(tmp_path, kind="FRACTIONAL", scale=200, compressed=True, change=change), 1)


def test_a_frame_that_is_not_there_is_refused(tmp_path: Path) -> None:
    read(tmp_path)
    _, pixels = open_pixels(tmp_path / "seg.dcm", name="the segmentation")
    with pytest.raises(InputError, match="has no frame 100"):
        pixels.frame(99)


#: badVR.dcm: pydicom cannot read it itself
CORPUS = sorted(p for p in PYDICOM_FILES.rglob("*.dcm") if p.is_file() and p.name != "badVR.dcm")


@pytest.mark.parametrize("file", CORPUS, ids=lambda p: p.name)
def test_pixels_are_those_that_pydicom_reads(file: Path) -> None:
    try:
        _, pixels = open_pixels(file, name=file.name)
        frames = np.stack([pixels.frame(i) for i in range(min(3, pixels.frames))])
    except InputError:
        return  # no image, in colour, cut short, or compressed in a way that nothing here decodes
    with warnings.catch_warnings():
        # of pydicom about its own test files
        warnings.simplefilter("ignore")
        expected = pydicom.dcmread(file).pixel_array
    assert np.array_equal(frames, expected[:3] if expected.ndim == 3 else expected[None])


def test_most_images_of_the_corpus_are_decoded() -> None:
    decoded = 0
    for file in CORPUS:
        try:
            open_pixels(file, name=file.name)[1].frame(0)
        except InputError:
            continue
        decoded += 1
    assert decoded > 15


@pytest.mark.parametrize(
    ("position", "orientation", "spacing"),
    [
        ((), (1, 0, 0, 0, 1, 0), (1, 1)),
        ((0, 0, 0), (1, 0, 0), (1, 1)),
        ((0, 0, 0), (1, 0, 0, 0, 1, 0), (1, 0)),
        ((0, 0, 0), (1, 0, 0, 0, 1, 0), (1, -1)),
        ((0, 0, 0), (2, 0, 0, 0, 1, 0), (1, 1)),
        ((0, 0, 0), (1, 0, 0, 0.5, 0.866, 0), (1, 1)),
        ((0, 0, 0), (0, 0, 0, 0, 0, 0), (1, 1)),
    ],
)
def test_impossible_planes_are_none(position: Any, orientation: Any, spacing: Any) -> None:
    assert plane_of(position=position, orientation=orientation, spacing=spacing, rows=1, columns=1) is None


def test_directions_that_were_rounded_are_mended() -> None:
    plane = plane_of(
        position=(0, 0, 0), orientation=(0.7071, 0.7071, 0, -0.7071, 0.7072, 0), spacing=(1, 1), rows=1, columns=1
    )
    assert plane is not None
    assert np.dot(plane.along_row, plane.along_column) == pytest.approx(0, abs=1e-12)
    assert np.linalg.norm(plane.along_row) == pytest.approx(1, abs=1e-12)


def test_further_dimensions_are_kept(tmp_path: Path) -> None:
    def change(ds: Dataset) -> None:
        ds.DimensionIndexSequence = [
            item(DimensionIndexPointer=0x0062000B),
            item(DimensionIndexPointer=0x00209128),
            item(DimensionIndexPointer=0x00200032),
        ]
        for n, group in enumerate(ds.PerFrameFunctionalGroupsSequence, start=1):
            group.FrameContentSequence = [item(DimensionIndexValues=[1, 40 + n, n])]

    segmentation = read(tmp_path, change=change, keep_empty_frames=True)
    assert [f.dimensions for f in segmentation.frames[:2]] == [("41",), ("42",)]


def test_codes_without_a_scheme_are_none() -> None:
    holder = item(SegmentedPropertyTypeCodeSequence=[item(CodeValue="1", CodeMeaning="x"), code("2", "99X", "y")])
    assert Item(holder).code("SegmentedPropertyTypeCodeSequence") == Code("2", "99X", "y")
