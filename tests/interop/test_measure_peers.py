"""The same numbers as dcmqi, highdicom and SimpleITK read and measure from the same objects."""

from __future__ import annotations

import gzip
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813 - as it is called everywhere
from numpy.typing import NDArray

from service.measure.segments import measure_study
from service.model.measurement import RegionKind, SegmentMeasurements
from service.read.folder import read_folder
from tests.helpers import require_python_tool
from tests.phantoms import CORONAL, Ct, Grid, Part, Seg, box, ellipsoid, value

DATA = Path(__file__).parents[1] / "data"
GRID = Grid(spacing=(0.8, 0.9), depths=tuple(2.5 * i for i in range(30)))


#: planes that are neither axial nor along any axis of the patient, with pixels that are not square
OBLIQUE = Grid(
    origin=(-40.0, -50.0, 20.0),
    orientation=(0.96, 0.0, -0.28, 0.168, 0.8, 0.576),
    spacing=(0.8, 1.1),
    rows=110,
    columns=90,
    depths=tuple(2.5 * i for i in range(30)),
)
UPRIGHT = Grid(
    origin=(-50.0, -40.0, 60.0), orientation=CORONAL, spacing=(1.2, 0.7), depths=tuple(2.5 * i for i in range(30))
)


def phantom(folder: Path, grid: Grid = GRID) -> Path:
    """Write a CT with three segments, two of them overlapping."""
    centre = grid.centre
    masks = [
        grid.voxels(ellipsoid(centre, (20, 14, 25))),
        grid.voxels(ellipsoid(centre + np.array([10, 0, 0]), (14, 14, 20))),
        grid.voxels(box(centre - np.array([0, 30, 0]), (20, 10, 30))),
    ]
    rng = np.random.default_rng(7)
    ct = Ct(grid=grid, hounsfield=np.round(rng.normal(60, 25, masks[0].shape)))
    ct.write(folder)
    Seg(
        grid=grid,
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
    axes = ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient
    normal = np.cross(axes[:3], axes[3:])
    depths = [
        float(np.dot(g.PlanePositionSequence[0].ImagePositionPatient, normal))
        for g in ds.PerFrameFunctionalGroupsSequence
    ]
    for group, depth in zip(ds.PerFrameFunctionalGroupsSequence, depths, strict=True):
        content = pydicom.Dataset()
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        content.DimensionIndexValues = [number, round((depth - min(depths)) / 2.5) + 1]
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


# --- SimpleITK, which measures by itself -------------------------------------------------------------------------------


PLACES: dict[str, Callable[[Path], Path]] = {
    "phantom": phantom,
    "oblique": partial(phantom, grid=OBLIQUE),
    "coronal": partial(phantom, grid=UPRIGHT),
    "sts_002": lambda _: DATA / "sts_002",
    "sts_035": lambda _: DATA / "sts_035",
    "abdomen": lambda _: DATA / "abdomen",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A segment as we measured it, beside what SimpleITK reads: its images, and its mask on their grid."""

    measured: SegmentMeasurements
    image: sitk.Image
    mask: sitk.Image

    @property
    def diagonal(self) -> float:
        """Return the diagonal of a voxel in mm."""
        return math.hypot(*self.image.GetSpacing())

    @property
    def values(self) -> str:
        """Return the name of what the voxels hold."""
        return "pet.suvbw" if self.measured.modality == "PT" else "ct.hu"


def read_by_itk(place: Path, out: Path) -> list[Read]:
    """Return every segment of the one study in a folder; masks are as dcmqi writes them for ITK."""
    found = read_folder(place)
    (study,) = found.studies
    measured = [m for m in measure_study(study, found.open_file, every_segment=True) if m.kind is RegionKind.SEGMENT]
    masks: dict[str, list[sitk.Image]] = {}
    for instance in (i for s in study.series if s.modality == "SEG" for i in s.instances):
        folder = out / instance.sop_instance_uid
        folder.mkdir(parents=True)
        command = [require_python_tool("segimage2itkimage"), "--inputDICOM", found.open_file(instance)]
        command += ["--outputDirectory", folder, "-t", "nrrd"]
        subprocess.run([str(c) for c in command], check=True, capture_output=True, timeout=60)
        masks[instance.sop_instance_uid] = [sitk.ReadImage(str(f)) for f in sorted(folder.glob("*.nrrd"))]
    result = []
    for one in measured:
        (series,) = (s for s in study.images if s.series_instance_uid == one.image_series_instance_uid)
        reader = sitk.ImageSeriesReader()
        folder = found.open_file(series.instances[0]).parent
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series.series_instance_uid))
        image = reader.Execute()
        # segments that overlap lie in files of their own
        (marked,) = (
            m for m in masks[one.source.sop_instance_uid] if (sitk.GetArrayViewFromImage(m) == one.segment).any()
        )
        on_image = sitk.Resample(marked == one.segment, image, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
        result.append(Read(measured=one, image=image, mask=on_image))
    assert result
    return result


@pytest.fixture(scope="module", params=PLACES)
def read(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Read]:
    out = tmp_path_factory.mktemp("itk")
    return read_by_itk(PLACES[request.param](out / "in"), out / "masks")


def test_the_statistics_are_those_of_simpleitk(read: list[Read]) -> None:
    for one in read:
        of = sitk.LabelStatisticsImageFilter()
        of.Execute(one.image, one.mask)
        count = of.GetCount(1)
        expected = {
            "deriv.mean": of.GetMean(1),
            # ITK's is that of a sample
            "deriv.sd": of.GetSigma(1) * math.sqrt((count - 1) / count),
            "deriv.min": of.GetMinimum(1),
            "deriv.max": of.GetMaximum(1),
        }
        found = {k: value(one.measured, one.values, k) for k in expected}
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), one.measured.label


def test_the_median_is_that_of_simpleitk_within_a_bin(read: list[Read]) -> None:
    for one in read:
        values = sitk.GetArrayViewFromImage(one.image)
        bins = 8192
        of = sitk.LabelIntensityStatisticsImageFilter()
        of.SetNumberOfBins(bins)
        of.Execute(one.mask, one.image)
        width = (float(values.max()) - float(values.min())) / bins
        assert value(one.measured, one.values, "deriv.median") == pytest.approx(of.GetMedian(1), abs=width)


def test_volume_and_largest_diameter_are_those_of_simpleitk(read: list[Read]) -> None:
    for one in read:
        of = sitk.LabelShapeStatisticsImageFilter()
        # ITK compares every two voxels of the surface: the liver would take ten seconds
        small = int(np.count_nonzero(sitk.GetArrayViewFromImage(one.mask))) < 50_000
        of.SetComputeFeretDiameter(small)
        of.Execute(one.mask)
        assert value(one.measured, "sz.volume") == pytest.approx(of.GetPhysicalSize(1), rel=1e-4)
        if small:
            # ITK measures between voxel centres, we on the surface around them
            longer = value(one.measured, "sz.max3d") - of.GetFeretDiameter(1)
            assert 0 < longer <= one.diagonal, one.measured.label


def test_extents_are_those_of_simpleitks_voxels(read: list[Read]) -> None:
    for one in read:
        index = np.argwhere(sitk.GetArrayViewFromImage(one.mask))[:, ::-1]
        # from centre to centre within a plane, as axes are measured, and from face to face across planes
        faces = np.concatenate([index + np.array([0, 0, half]) for half in (-0.5, 0.5)])
        axes = np.reshape(one.image.GetDirection(), (3, 3)) * one.image.GetSpacing()
        points = faces @ axes.T
        found = [value(one.measured, f"sz.{n}") for n in ("width", "depth", "height")]
        assert found == pytest.approx(list(np.ptp(points, axis=0)), rel=1e-5), one.measured.label
