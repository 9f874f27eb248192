"""The same numbers as dcmqi and highdicom read from the same objects."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from service.measure.segments import measure_study
from service.model.measurement import RegionKind, SegmentMeasurements
from service.read.folder import read_folder
from tests.helpers import require_python_tool
from tests.phantoms import Ct, Grid, Part, Seg, box, ellipsoid, value

DATA = Path(__file__).parents[1] / "data"
GRID = Grid(spacing=(0.8, 0.9), depths=tuple(2.5 * i for i in range(30)))


def phantom(folder: Path) -> Path:
    """Write a CT with three segments, two of them overlapping."""
    centre = GRID.centre
    masks = [
        GRID.voxels(ellipsoid(centre, (20, 14, 25))),
        GRID.voxels(ellipsoid(centre + np.array([10, 0, 0]), (14, 14, 20))),
        GRID.voxels(box(centre - np.array([0, 30, 0]), (20, 10, 30))),
    ]
    rng = np.random.default_rng(7)
    ct = Ct(grid=GRID, hounsfield=np.round(rng.normal(60, 25, masks[0].shape)))
    ct.write(folder)
    Seg(
        grid=GRID,
        parts=[Part(mask=m, label=f"Tumour {n}") for n, m in enumerate(masks, start=1)],
        ct=ct,
        nominal_spacing=2.5,
        change=_whole,
    ).write(folder)
    return folder


def _whole(ds: pydicom.Dataset) -> None:
    """Add what dcmqi and highdicom ask of a segmentation beyond what we read."""
    organisation = "1.2.826.0.1.3680043.8.498.77.40"
    ds.DimensionOrganizationSequence = [pydicom.Dataset()]
    ds.DimensionOrganizationSequence[0].DimensionOrganizationUID = organisation
    indices = []
    for pointer, group in ((0x0062000B, 0x0062000A), (0x00200032, 0x00209113)):
        index = pydicom.Dataset()
        index.DimensionOrganizationUID = organisation
        index.DimensionIndexPointer, index.FunctionalGroupPointer = pointer, group
        indices.append(index)
    ds.DimensionIndexSequence = indices
    for group in ds.PerFrameFunctionalGroupsSequence:
        position = float(group.PlanePositionSequence[0].ImagePositionPatient[2])
        content = pydicom.Dataset()
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        content.DimensionIndexValues = [number, round(position / 2.5) + 1]
        group.FrameContentSequence = [content]
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = "2.5"
    ds.SeriesDescription, ds.Manufacturer, ds.ContentLabel = "Segmentation", "Test", "SEG"
    ds.ManufacturerModelName, ds.SoftwareVersions, ds.DeviceSerialNumber = "Test", "1", "1"
    ds.LossyImageCompression = "00"


FOLDERS: tuple[Callable[[Path], Path], ...] = (phantom, lambda _: DATA / "sts_002", lambda _: DATA / "sts_035")
NAMES = ("phantom", "sts_002", "sts_035")


def segments(folder: Path) -> tuple[Path, list[SegmentMeasurements]]:
    found = read_folder(folder)
    (study,) = found.studies
    measured = [m for m in measure_study(study, found.open_file) if m.kind is RegionKind.SEGMENT]
    (instance,) = (i for s in study.series if s.modality == "SEG" for i in s.instances)
    return found.open_file(instance), measured


def nrrd(file: Path) -> tuple[NDArray[np.generic], float]:
    """Return the voxels of an NRRD file, and the volume of one in mm3."""
    head, _, body = file.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in head.decode("latin_1").splitlines() if ": " in line)
    raw = gzip.decompress(body) if fields["encoding"] == "gzip" else body
    kinds = {
        "unsigned char": np.uint8,
        "uchar": np.uint8,
        "uint8": np.uint8,
        "short": np.int16,
        "unsigned short": np.uint16,
    }
    sizes = [int(s) for s in fields["sizes"].split()]
    axes = np.array([[float(v) for v in a.strip("()").split(",")] for a in fields["space directions"].split()])
    return np.frombuffer(raw, kinds[fields["type"]]).reshape(sizes[::-1]), float(abs(np.linalg.det(axes)))


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_volumes_are_those_that_dcmqi_reads(tmp_path: Path, folder: Callable[[Path], Path]) -> None:
    program = require_python_tool("segimage2itkimage")
    file, measured = segments(folder(tmp_path / "in"))
    out = tmp_path / "out"
    out.mkdir()
    command = [str(program), "--inputDICOM", str(file), "--outputDirectory", str(out), "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    volumes = []
    for path in sorted(out.glob("*.nrrd")):
        voxels, size = nrrd(path)
        volumes += [np.count_nonzero(voxels == n) * size for n in np.unique(voxels) if n]
    assert sorted(volumes) == pytest.approx(sorted(value(m, "sz.volume") for m in measured), rel=1e-3)


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_volumes_and_values_are_those_that_highdicom_reads(tmp_path: Path, folder: Callable[[Path], Path]) -> None:
    import highdicom as hd  # noqa: PLC0415 - two seconds, for these tests only

    place = folder(tmp_path / "in")
    file, measured = segments(place)
    segmentation = hd.seg.segread(file)
    images = {ds.SOPInstanceUID: ds for f in sorted(place.rglob("*.dcm")) if "PixelData" in (ds := pydicom.dcmread(f))}
    for one in measured:
        volume = segmentation.get_volume(segment_numbers=[one.segment], combine_segments=False)
        marked = np.asarray(volume.array)[..., 0] > 0
        assert value(one, "sz.volume") == pytest.approx(marked.sum() * np.prod(volume.spacing), rel=1e-3)
        found = []
        for frame in range(segmentation.number_of_frames):
            group = segmentation.PerFrameFunctionalGroupsSequence[frame]
            if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber != one.segment:
                continue
            source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            image = images[source]
            values = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
            found.append(values[np.asarray(segmentation.get_stored_frame(frame + 1)) > 0])
        values = np.concatenate(found)
        name = "pet.suvbw" if one.modality == "PT" else "ct.hu"
        for derivation, expected in (
            ("deriv.mean", values.mean()),
            ("deriv.sd", values.std()),
            ("deriv.max", values.max()),
            ("deriv.min", values.min()),
            ("deriv.p90", np.percentile(values, 90)),
        ):
            assert value(one, name, derivation) == pytest.approx(float(expected), rel=1e-4, abs=1e-4)
