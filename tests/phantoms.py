"""CT images and segmentations of shapes whose size is known: for tests of what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

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


# --- structure sets ----------------------------------------------------------------------------------------------------------

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
Points = Sequence[Sequence[float]]


def circle(centre: Sequence[float], radius: float, z: float, corners: int = 180) -> list[tuple[float, float, float]]:
    """Return a circle in an axial plane, whose area is that of the polygon drawn."""
    angles = np.arange(corners) * 2 * np.pi / corners
    outer = radius * np.sqrt(2 * np.pi / corners / np.sin(2 * np.pi / corners))
    return [(centre[0] + outer * np.cos(a), centre[1] + outer * np.sin(a), z) for a in angles]


def ball(grid: Grid, radius: float, centre: Sequence[float] | None = None) -> list[Points]:
    """Return the contours of a ball in the planes of an axial grid."""
    middle = grid.centre if centre is None else centre
    planes = [grid.position(at)[2] for at in range(len(grid.depths))]
    return [circle(middle, np.sqrt(radius**2 - (z - middle[2]) ** 2), z) for z in planes if abs(z - middle[2]) < radius]


@dataclass(kw_only=True)
class Contours:
    """A structure set with one ROI, and with ``further`` ones; change an attribute to make it wrong."""

    contours: Sequence[Points]
    ct: Ct | None
    name: str = "Tumour"
    #: name → contours, numbered from 2
    further: Mapping[str, Sequence[Points]] = field(default_factory=dict)
    interpreted_type: str = ""
    kind: str = "CLOSED_PLANAR"
    study_uid: str = STUDY_UID
    frame_of_reference_uid: str = FRAME_OF_REFERENCE_UID
    name_images: bool = True
    uid: str = f"{ROOT}.8.1"
    change: Callable[[Dataset], None] = lambda ds: None

    def dataset(self) -> Dataset:
        ds = _file(STRUCTURE_SET, self.uid)
        ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = "RTSTRUCT", f"{ROOT}.8", "101", "1"
        ds.StructureSetLabel, ds.ContentDate, ds.ContentTime = "Contours", "20260301", "130000"
        ds.FrameOfReferenceUID = self.frame_of_reference_uid
        if self.ct is not None:
            series = item(SeriesInstanceUID=self.ct.series_uid)
            series.ContourImageSequence = [
                item(ReferencedSOPClassUID=self.ct.sop_class, ReferencedSOPInstanceUID=self.ct.uid(0))
            ]
            study = item(ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1", ReferencedSOPInstanceUID=self.study_uid)
            study.RTReferencedSeriesSequence = [series]
            frame = item(FrameOfReferenceUID=self.frame_of_reference_uid, RTReferencedStudySequence=[study])
            ds.ReferencedFrameOfReferenceSequence = [frame]
        rois = list(enumerate([(self.name, self.contours), *self.further.items()], start=1))
        ds.StructureSetROISequence = [
            item(
                ROINumber=n,
                ROIName=name,
                ROIGenerationAlgorithm="MANUAL",
                ReferencedFrameOfReferenceUID=self.frame_of_reference_uid,
            )
            for n, (name, _) in rois
        ]
        ds.ROIContourSequence = [
            item(ReferencedROINumber=n, ContourSequence=[self._contour(c) for c in contours])
            for n, (_, contours) in rois
        ]
        ds.RTROIObservationsSequence = [
            item(
                ObservationNumber=n,
                ReferencedROINumber=n,
                RTROIInterpretedType=self.interpreted_type if n == 1 else "",
                ROIInterpreter="",
            )
            for n, _ in rois
        ]
        self.change(ds)
        return ds

    def _contour(self, points: Points) -> Dataset:
        contour = item(ContourGeometricType=self.kind, NumberOfContourPoints=len(points))
        if self.ct is not None and self.name_images:
            grid, z = self.ct.grid, points[0][2]
            at = min(range(len(grid.depths)), key=lambda i: abs(float(grid.position(i)[2]) - z))
            contour.ContourImageSequence = [
                item(ReferencedSOPClassUID=self.ct.sop_class, ReferencedSOPInstanceUID=self.ct.uid(at))
            ]
        contour.ContourData = [number(round(float(v), 4)) for p in points for v in p]
        return contour

    def write(self, folder: Path, name: str = "rtstruct.dcm") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        ds = self.dataset()
        # as most planning systems write; no length of a value is limited to 64 KB
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        ds.save_as(folder / name, enforce_file_format=True)


# --- positron emission --------------------------------------------------------------------------------------------------------

PET_IMAGE = "1.2.840.10008.5.1.4.1.1.128"
#: what makes 1 Bq/ml an SUVbw of 0.0002: 70 kg, 350 MBq at the start of the scan
WEIGHT_KG, HALF_LIFE, INJECTED_BQ = 70.0, 6588.0, 350e6 * 2 ** (3600 / 6588)


def pet_header(**changes: Any) -> Callable[[Dataset, int], None]:
    """Return what makes an image of `Ct` a PET image in Bq/ml; None as a value deletes an element."""

    def change(ds: Dataset, at: int) -> None:
        ds.Units, ds.DecayCorrection, ds.CorrectedImage = "BQML", "START", ["DECY", "ATTN", "SCAT"]
        ds.PatientWeight = str(WEIGHT_KG)
        ds.SeriesDate, ds.SeriesTime = "20260301", "110000"
        ds.AcquisitionDate, ds.AcquisitionTime = "20260301", "110000"
        ds.RadiopharmaceuticalInformationSequence = [
            item(
                RadionuclideTotalDose=f"{INJECTED_BQ:.2f}",
                RadionuclideHalfLife=str(HALF_LIFE),
                RadiopharmaceuticalStartTime="100000",
            )
        ]
        dose = ds.RadiopharmaceuticalInformationSequence[0]
        for keyword, value_ in changes.items():
            nested = keyword.startswith("Radio") and keyword != "RadiopharmaceuticalInformationSequence"
            holder = dose if nested else ds
            if value_ is None:
                if keyword in holder:
                    delattr(holder, keyword)
            else:
                setattr(holder, keyword, value_(at) if callable(value_) else value_)

    return change


def pet(grid: Grid, suv: NDArray[Any], **changes: Any) -> Ct:
    """Return a PET series whose uptake is ``suv``."""
    change = changes.pop("change", None) or pet_header(**changes)
    return Ct(
        grid=grid,
        hounsfield=suv / 0.0002,
        modality="PT",
        sop_class=PET_IMAGE,
        slope=2.0,
        intercept=0.0,
        change=change,
    )


# --- presentation states -------------------------------------------------------------------------------------------------------

PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"


@dataclass(kw_only=True)
class Lines:
    """A presentation state with lines on one image of a `Ct`; change an attribute to make it wrong."""

    ct: Ct
    at: int
    #: (column, row, column, row) in image coordinates
    lines: Sequence[tuple[float, float, float, float]]
    texts: Sequence[str] = ()
    change: Callable[[Dataset], None] = lambda ds: None

    def dataset(self) -> Dataset:
        ds = _file(PRESENTATION_STATE, f"{ROOT}.7.1")
        del ds.FrameOfReferenceUID
        ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber, ds.InstanceNumber = "PR", f"{ROOT}.7", "102", "1"
        ds.ContentLabel = "LENGTHS"
        image = item(ReferencedSOPClassUID=self.ct.sop_class, ReferencedSOPInstanceUID=self.ct.uid(self.at))
        ds.ReferencedSeriesSequence = [item(SeriesInstanceUID=self.ct.series_uid, ReferencedImageSequence=[image])]
        annotation = item(GraphicLayer="MEASURE", ReferencedImageSequence=[image])
        annotation.GraphicObjectSequence = [
            item(
                GraphicAnnotationUnits="PIXEL",
                GraphicDimensions=2,
                NumberOfGraphicPoints=2,
                GraphicData=list(line),
                GraphicType="POLYLINE",
                GraphicFilled="N",
            )
            for line in self.lines
        ]
        annotation.TextObjectSequence = [item(UnformattedTextValue=t) for t in self.texts]
        ds.GraphicAnnotationSequence = [annotation]
        self.change(ds)
        return ds

    def write(self, folder: Path, name: str = "lines.dcm") -> None:
        self.dataset().save_as(folder / name, enforce_file_format=True)


# --- several studies of one patient --------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Visit:
    """A CT of boxes with a segmentation of each, as one study of several; change an attribute to make it wrong."""

    date: str
    #: middle and sides of each tumour, in mm: measured exactly on the pixels of `BOXES`
    boxes: Sequence[tuple[Sequence[float], Sequence[float]]]
    #: Tracking UID of each; empty: none
    uids: Sequence[str] = ()
    #: names the study's UIDs
    number: int = 1
    patient_id: str = "PHANTOM-1"
    birth_date: str = "19600101"
    time: str = "101500"
    hounsfield: float = 60.0
    frame_of_reference_uid: str = FRAME_OF_REFERENCE_UID
    #: further elements of every image
    header: dict[str, str] = field(default_factory=lambda: {"KVP": "120", "SeriesDescription": "Abdomen portal venous"})

    @property
    def root(self) -> str:
        return f"{ROOT}.5.{self.number}"

    def _place(self, ds: Dataset) -> None:
        ds.StudyInstanceUID, ds.StudyDate, ds.StudyTime = self.root, self.date, self.time
        ds.PatientID, ds.PatientBirthDate = self.patient_id, self.birth_date
        ds.FrameOfReferenceUID = self.frame_of_reference_uid

    def _image(self, ds: Dataset, at: int) -> None:
        del at
        self._place(ds)
        for keyword, value_ in self.header.items():
            setattr(ds, keyword, value_)

    def write(self, folder: Path) -> Path:
        """Write the study into a folder of its own."""
        place = folder / f"visit{self.number}"
        masks = [BOXES.voxels(box(centre, sides)) for centre, sides in self.boxes]
        everything = np.any(masks, axis=0) if masks else BOXES.voxels(lambda x, y, z: x > np.inf)
        ct = Ct(
            grid=BOXES,
            hounsfield=np.where(everything, self.hounsfield, -1000.0),
            series_uid=f"{self.root}.2",
            change=self._image,
        )
        ct.write(place)
        uids = [*self.uids, *[""] * (len(masks) - len(self.uids))]
        parts = [Part(mask=m, tracking_uid=u) for m, u in zip(masks, uids, strict=True)]
        if parts:
            seg = Seg(grid=BOXES, parts=parts, ct=ct, uid=f"{self.root}.9.1", series_uid=f"{self.root}.9")
            seg.change = self._place
            seg.write(place)
        return place


#: pixels of 1 mm at whole numbers of mm, planes of 5 mm: a box around (0.5, 0.5, 47.5) with even sides across and tens along is exact
BOXES = Grid()
