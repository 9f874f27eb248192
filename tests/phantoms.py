"""CT images and segmentations of shapes whose size is known: for tests of what is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian

from service.measure.segments import measure_study
from service.model.measurement import SegmentMeasurements
from service.model.study import Instance, Study
from service.read.headers import read_instance
from service.read.normalise import normalise

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
ROOT = "1.2.826.0.1.3680043.8.498.77"
STUDY_UID = f"{ROOT}.1"
CT_SERIES_UID = f"{ROOT}.2"
FRAME_OF_REFERENCE_UID = f"{ROOT}.3"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)

Bools = NDArray[np.bool_]
Inside = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]


def number(value: float) -> str:
    """Return ``value`` as DS writes it."""
    return f"{value:.10g}"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A stack of parallel planes; ``depths`` are the distances of the planes from ``origin`` along the normal, in mm."""

    origin: tuple[float, float, float] = (-64.0, -64.0, 0.0)
    orientation: tuple[float, ...] = AXIAL
    #: between rows, between columns
    spacing: tuple[float, float] = (1.0, 1.0)
    rows: int = 128
    columns: int = 128
    depths: tuple[float, ...] = tuple(5.0 * i for i in range(20))

    @property
    def normal(self) -> NDArray[Any]:
        return np.cross(self.orientation[:3], self.orientation[3:])

    def position(self, at: int) -> NDArray[Any]:
        """Return the position of the upper left pixel of plane ``at``."""
        return np.array(self.origin) + self.depths[at] * self.normal

    def voxels(self, inside: Inside) -> Bools:
        """Return which voxel centres (x, y, z in mm) are inside, shape (planes, rows, columns)."""
        right = np.multiply.outer(np.arange(self.columns) * self.spacing[1], np.array(self.orientation[:3]))
        down = np.multiply.outer(np.arange(self.rows) * self.spacing[0], np.array(self.orientation[3:]))
        planes = []
        for at in range(len(self.depths)):
            points = self.position(at) + down[:, None] + right[None]
            planes.append(np.asarray(inside(points[..., 0], points[..., 1], points[..., 2]), bool))
        return np.stack(planes)

    @property
    def centre(self) -> NDArray[Any]:
        """Return the middle of the stack."""
        right = np.array(self.orientation[:3]) * self.spacing[1] * (self.columns - 1) / 2
        down = np.array(self.orientation[3:]) * self.spacing[0] * (self.rows - 1) / 2
        depth = self.normal * (self.depths[0] + self.depths[-1]) / 2
        return np.array(self.origin) + right + down + depth


def ellipsoid(centre: Sequence[float], semi_axes: Sequence[float]) -> Inside:
    """Return an ellipsoid along the patient's axes; semi-axes in mm."""
    (cx, cy, cz), (a, b, c) = centre, semi_axes
    return lambda x, y, z: ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 + ((z - cz) / c) ** 2 <= 1


def box(centre: Sequence[float], sides: Sequence[float]) -> Inside:
    """Return a box along the patient's axes; sides in mm."""
    (cx, cy, cz), (a, b, c) = centre, sides
    return lambda x, y, z: (abs(x - cx) <= a / 2) & (abs(y - cy) <= b / 2) & (abs(z - cz) <= c / 2)


def _file(sop_class: str, uid: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = sop_class, uid
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, uid
    ds.StudyInstanceUID = STUDY_UID
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20260301", "101500", "A1", "1"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Phantom^Analytic", "PHANTOM-1", "", "O"
    ds.FrameOfReferenceUID = FRAME_OF_REFERENCE_UID
    return ds


@dataclass(kw_only=True)
class Ct:
    """A CT series; change an attribute to make it wrong."""

    grid: Grid
    #: HU, shape (planes, rows, columns)
    hounsfield: NDArray[Any]
    series_uid: str = CT_SERIES_UID
    series_number: int = 2
    modality: str = "CT"
    sop_class: str = CT_IMAGE
    slope: float = 1.0
    intercept: float = -1024.0
    signed: bool = False
    padding: int | None = None
    #: changes every data set before it is written
    change: Callable[[Dataset, int], None] = lambda ds, at: None

    def uid(self, at: int) -> str:
        return f"{self.series_uid}.{at + 1}"

    def dataset(self, at: int) -> Dataset:
        ds = _file(self.sop_class, self.uid(at))
        ds.Modality, ds.SeriesInstanceUID = self.modality, self.series_uid
        ds.SeriesNumber, ds.InstanceNumber = str(self.series_number), str(at + 1)
        ds.ImagePositionPatient = [number(v) for v in self.grid.position(at)]
        ds.ImageOrientationPatient = [number(v) for v in self.grid.orientation]
        ds.PixelSpacing = [number(v) for v in self.grid.spacing]
        ds.Rows, ds.Columns = self.grid.rows, self.grid.columns
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
        ds.PixelRepresentation = int(self.signed)
        ds.RescaleSlope, ds.RescaleIntercept = number(self.slope), number(self.intercept)
        stored = np.round((self.hounsfield[at] - self.intercept) / self.slope)
        ds.PixelData = stored.astype("<i2" if self.signed else "<u2").tobytes()
        if self.padding is not None:
            ds.add_new("PixelPaddingValue", "SS" if self.signed else "US", self.padding)
        self.change(ds, at)
        return ds

    def write(self, folder: Path, *, without: Sequence[int] = ()) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for at in range(len(self.grid.depths)):
            if at not in without:
                self.dataset(at).save_as(folder / f"ct{self.series_number}_{at:04d}.dcm", enforce_file_format=True)


def item(**elements: Any) -> Dataset:
    """Return an item of a sequence."""
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """Return an item of a code sequence."""
    return item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


MASS = ("4147007", "SCT", "Mass")
NOTHING_SAID = ("85756007", "SCT", "Tissue")


@dataclass(kw_only=True)
class Part:
    """A segment."""

    mask: NDArray[Any]
    label: str = "Tumour"
    property_type: tuple[str, str, str] = MASS
    tracking_uid: str = ""


@dataclass(kw_only=True)
class Seg:
    """A segmentation of a `Ct`; change an attribute to make it wrong."""

    grid: Grid
    parts: Sequence[Part]
    ct: Ct | None
    kind: str = "BINARY"
    uid: str = f"{ROOT}.9.1"
    series_uid: str = f"{ROOT}.9"
    instance_number: int = 1
    content_time: str = "120000"
    keep_empty_frames: bool = False
    nominal_spacing: float | None = None
    compressed: bool = False
    change: Callable[[Dataset], None] = lambda ds: None
    frames: list[tuple[int, int]] = field(default_factory=list)

    def dataset(self) -> Dataset:
        sop_class = LABEL_MAP if self.kind == "LABELMAP" else SEGMENTATION
        ds = _file(sop_class, self.uid)
        ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber = "SEG", self.series_uid, "100"
        ds.InstanceNumber = str(self.instance_number)
        ds.ContentDate, ds.ContentTime = "20260301", self.content_time
        ds.SegmentationType = self.kind
        ds.Rows, ds.Columns, ds.SamplesPerPixel = self.grid.rows, self.grid.columns, 1
        ds.PhotometricInterpretation, ds.PixelRepresentation = "MONOCHROME2", 0
        bits = 1 if self.kind == "BINARY" else 8
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
        if self.kind == "FRACTIONAL":
            ds.SegmentationFractionalType, ds.MaximumFractionalValue = "PROBABILITY", 200
        ds.SegmentSequence = [self._segment(n, p) for n, p in enumerate(self.parts, start=1)]
        measures = item(PixelSpacing=[number(v) for v in self.grid.spacing])
        if self.nominal_spacing:
            measures.SpacingBetweenSlices = number(self.nominal_spacing)
        orientation = item(ImageOrientationPatient=[number(v) for v in self.grid.orientation])
        ds.SharedFunctionalGroupsSequence = [
            item(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[orientation])
        ]
        self.frames = self._frames()
        ds.NumberOfFrames = str(len(self.frames))
        ds.PerFrameFunctionalGroupsSequence = [self._frame(n, at) for n, at in self.frames]
        self._pixels(ds)
        self.change(ds)
        return ds

    def _segment(self, number_: int, part: Part) -> Dataset:
        segment = item(SegmentNumber=number_, SegmentLabel=part.label, SegmentAlgorithmType="MANUAL")
        segment.SegmentedPropertyCategoryCodeSequence = [code("49755003", "SCT", "Morphologically Altered Structure")]
        segment.SegmentedPropertyTypeCodeSequence = [code(*part.property_type)]
        if part.tracking_uid:
            segment.TrackingID, segment.TrackingUID = part.label, part.tracking_uid
        return segment

    def _frames(self) -> list[tuple[int, int]]:
        if self.kind == "LABELMAP":
            return [(0, at) for at in range(len(self.grid.depths))]
        return [
            (n, at)
            for n, part in enumerate(self.parts, start=1)
            for at in range(len(self.grid.depths))
            if self.keep_empty_frames or part.mask[at].any()
        ]

    def _frame(self, segment: int, at: int) -> Dataset:
        group = item(PlanePositionSequence=[item(ImagePositionPatient=[number(v) for v in self.grid.position(at)])])
        if segment:
            group.SegmentIdentificationSequence = [item(ReferencedSegmentNumber=segment)]
        if self.ct is not None:
            source = item(ReferencedSOPClassUID=self.ct.sop_class, ReferencedSOPInstanceUID=self.ct.uid(at))
            group.DerivationImageSequence = [item(SourceImageSequence=[source])]
        return group

    def _pixels(self, ds: Dataset) -> None:
        if self.kind == "LABELMAP":
            values = np.zeros((len(self.grid.depths), self.grid.rows, self.grid.columns), np.uint8)
            for n, part in enumerate(self.parts, start=1):
                values[part.mask.astype(bool)] = n
        else:
            values = np.stack([self.parts[n - 1].mask[at] for n, at in self.frames]).astype(np.uint8)
        if self.kind == "BINARY":
            raw = np.packbits(values.ravel(), bitorder="little").tobytes()
            ds.PixelData = raw + b"\0" * (len(raw) % 2)
        elif self.compressed:
            from pydicom.pixels.encoders import RLELosslessEncoder  # noqa: PLC0415 - rarely needed

            encoded = [
                RLELosslessEncoder.encode(
                    f.tobytes(),
                    rows=self.grid.rows,
                    columns=self.grid.columns,
                    samples_per_pixel=1,
                    number_of_frames=1,
                    bits_allocated=8,
                    bits_stored=8,
                    pixel_representation=0,
                    photometric_interpretation="MONOCHROME2",
                )
                for f in values
            ]
            ds.file_meta.TransferSyntaxUID = pydicom.uid.RLELossless
            ds.PixelData = encapsulate(encoded)
            ds["PixelData"].is_undefined_length = True
        else:
            raw = values.tobytes()
            ds.PixelData = raw + b"\0" * (len(raw) % 2)
        ds["PixelData"].VR = "OB"

    def write(self, folder: Path, name: str = "seg.dcm") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dataset().save_as(folder / name, enforce_file_format=True)


def study_of(folder: Path) -> tuple[Study, Callable[[Instance], Path]]:
    """Return the study in a folder, and what opens its files."""
    study = normalise(read_instance(f, path=f.name) for f in sorted(folder.iterdir()))
    return study, lambda instance: folder / instance.path


def measured(folder: Path, **options: bool) -> tuple[SegmentMeasurements, ...]:
    """Measure the study in a folder."""
    study, open_file = study_of(folder)
    return measure_study(study, open_file, **options)


def value(of: SegmentMeasurements, name: str, derivation: str = "") -> float:
    """Return a measured number."""
    (found,) = [m.value for m in of.measurements if (m.name, m.derivation) == (name, derivation)]
    return found


def phantom(
    folder: Path, inside: Inside, grid: Grid | None = None, *, hounsfield: float = 60.0, **changes: Any
) -> tuple[Ct, Seg]:
    """Write a CT of one shape in air and its segmentation; keywords change the segmentation."""
    grid = grid or Grid()
    mask = grid.voxels(inside)
    ct = Ct(grid=grid, hounsfield=np.where(mask, hounsfield, -1000.0))
    seg = replace(Seg(grid=grid, parts=[Part(mask=mask)], ct=ct), **changes)
    ct.write(folder)
    seg.write(folder)
    return ct, seg
