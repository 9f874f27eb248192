"""A synthetic patient as DICOM: a CT in one or more phases, and a SEG of tumour, vena cava, aorta, kidneys and liver.

Everything is derived from a seed: the same phantom gives the same UIDs, the same noise, the same bytes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from service.demo import anatomy, truth
from service.demo.anatomy import Tissue, Vector
from service.demo.truth import Truth
from service.model.code import Code
from service.model.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, derived_uid
from sr_templates import load_codes

if TYPE_CHECKING:
    from highdicom.seg import Segmentation
    from highdicom.sr import CodedConcept

_INTERCEPT: Final = -1024
_HIGHEST: Final = 4095
_FIRST_SERIES: Final = 2
_SEG_SERIES: Final = 100
TRACKING_ID: Final = "LMS-T1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """What to make.

    Lengths are in mm. The slices lie around the origin, ``slice_spacing`` apart, from the feet up; they are axial, or turned by
    ``tilt`` degrees about the patient's x axis (then the slices stay perpendicular to the stack: a reformatted series, no gantry tilt).
    """

    seed: str = "demo"
    slices: int = 76
    matrix: int = 256
    pixel: float = 1.4
    slice_spacing: float = 2.5
    tilt: float = 0.0
    #: standard deviation, HU
    noise: float = 10.0
    #: one series each (keys of `service.demo.anatomy.HOUNSFIELD`); the last one is segmented
    phases: tuple[str, ...] = ("arterial", "portal venous")
    #: Specific Character Set (0008,0005)
    charset: str = "ISO_IR 192"
    # no word of it may be one by which triage knows test patients
    patient_name: str = "Sommerfeld^Jörg"
    patient_id: str = "LMS-0001"
    issuer: str = "KLINIKUM-SEEBLICK"
    birth_date: str = "19610412"
    study_date: str = "20260301"
    accession_number: str = "A2026001"
    indication: str = "retroperitoneal mass, ?leiomyosarcoma"

    @property
    def study_instance_uid(self) -> str:
        """Return the Study Instance UID."""
        return self.uid("study")

    @property
    def tracking_uid(self) -> str:
        """Return the Tracking UID of the tumour."""
        return self.uid("tumour")

    def uid(self, *parts: str) -> str:
        """Return the UID of a part of the phantom."""
        return derived_uid("synthetic patient", self.seed, *parts)

    @property
    def column(self) -> Vector:
        """Return the direction in which rows follow each other; columns follow each other along x."""
        angle = math.radians(self.tilt)
        return 0.0, math.cos(angle), math.sin(angle)

    @property
    def normal(self) -> Vector:
        """Return the unit normal of the slices."""
        _, y, z = self.column
        return 0.0, -z, y

    @property
    def depths(self) -> npt.NDArray[np.float64]:
        """Return where the slices lie along the normal."""
        return _centred(self.slices, self.slice_spacing)

    @property
    def truth(self) -> Truth:
        """Return what is true of the tumour in the segmented series.

        Raises
        ------
        ValueError
            The slices do not cover the tumour: then nothing is.
        """
        low, high = truth.bounds(self.normal)
        half = self.slices * self.slice_spacing / 2
        if low < -half or high > half:
            msg = f"{self.slices} slices {self.slice_spacing:g} mm apart do not cover the tumour: it takes {2 * max(-low, high):.0f} mm"
            raise ValueError(msg)
        return truth.truth_on(
            truth.Grid(
                pixel=self.pixel,
                slice_spacing=self.slice_spacing,
                normal=self.normal,
                noise=self.noise,
                phase=self.phases[-1],
            )
        )


def images(phantom: Phantom) -> Iterator[Dataset]:
    """Make the CT images, series by series, from the feet up."""
    for position, phase in enumerate(phantom.phases):
        levels = np.array(anatomy.HOUNSFIELD[phase], float)
        for index in range(phantom.slices):
            hounsfield = levels[_tissues(phantom, index)]
            if phantom.noise:
                hounsfield += _generator(phantom.seed, phase, index).normal(0, phantom.noise, hounsfield.shape)
            yield _image(phantom, position, index, hounsfield)


def segmentation(phantom: Phantom, sources: Iterable[Dataset]) -> Dataset:
    """Return the SEG (binary) of the last series of ``sources``, whose pixel data is not looked at."""
    import highdicom as hd  # noqa: PLC0415 - two seconds that only a phantom with a SEG should cost

    number = _FIRST_SERIES + len(phantom.phases) - 1
    chosen = [_for_highdicom(s) for s in sources if s.SeriesNumber == number]
    masks = np.stack([_LABELS[_tissues(phantom, index)] for index in range(phantom.slices)])
    codes = load_codes()
    descriptions = [
        hd.seg.SegmentDescription(
            position,
            segment.label,
            _coded(codes[segment.category]),
            _coded(codes[segment.kind]),
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
            tracking_uid=phantom.tracking_uid if segment.tracked else None,
            tracking_id=TRACKING_ID if segment.tracked else None,
        )
        for position, segment in enumerate(_SEGMENTS, start=1)
    ]
    for description, segment in zip(descriptions, _SEGMENTS, strict=True):
        if segment.side:
            kind = description.SegmentedPropertyTypeCodeSequence[0]
            kind.SegmentedPropertyTypeModifierCodeSequence = [_coded(codes[segment.side])]
    with warnings.catch_warnings():
        # it thinks that a name in one component might be one family name
        warnings.simplefilter("ignore")
        seg = hd.seg.Segmentation(
            source_images=chosen,
            pixel_array=masks,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=descriptions,
            series_instance_uid=phantom.uid("segmentation series"),
            series_number=_SEG_SERIES,
            sop_instance_uid=phantom.uid("segmentation"),
            instance_number=1,
            manufacturer="LMS-SR",
            manufacturer_model_name="Synthetic patient",
            software_versions="1",
            device_serial_number="1",
            content_description="Tumour, vessels, organs",
            series_description="Segmentation",
        )
    _made_the_images_way(seg, phantom, chosen[0])
    return seg


def study(phantom: Phantom) -> list[Dataset]:
    """Return all objects of the study: images, then the SEG."""
    made = list(images(phantom))
    return [*made, segmentation(phantom, made)]


def write(phantom: Phantom, folder: Path, *, with_segmentation: bool = True) -> list[Path]:
    """Write the study as DICOM files into ``folder``, which is made where it is missing, and return their paths."""
    headers, paths = [], []
    for number, ds in enumerate(images(phantom), start=1):
        paths += save([ds], folder, first=number)
        # the SEG takes the headers; a thousand images would fill the memory
        del ds.PixelData
        headers.append(ds)
    if with_segmentation:
        paths += save([segmentation(phantom, headers)], folder, first=len(paths) + 1)
    return paths


def save(objects: Iterable[Dataset], folder: Path, *, first: int = 1) -> list[Path]:
    """Write objects as DICOM files into ``folder``, numbered from ``first``, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, ds in enumerate(objects, start=first):
        paths.append(folder / f"{number:05d}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def plain_study(
    n_images: int, *, seed: str = "plain", matrix: int = 8, indication: str = "?sarcoma", **changes: str
) -> list[Dataset]:
    """Return a study of tiny CT images without anatomy, of a patient of its own: for load, not for looking at.

    Parameters
    ----------
    n_images:
        How many.
    seed:
        Another seed makes another patient, with other UIDs.
    matrix:
        Rows and columns.
    indication:
        The default makes triage report on the study.
    changes:
        Other fields of `Phantom`.
    """
    digits = f"{int.from_bytes(hashlib.sha256(seed.encode()).digest()[:5], 'big') % 10**10:010d}"
    phantom = Phantom(
        seed=f"plain {seed}",
        slices=n_images,
        matrix=matrix,
        phases=("portal venous",),
        patient_name=f"{_name(digits[:5])}^{_name(digits[5:])}",
        patient_id=f"P{digits}",
        accession_number=f"A{digits}",
        indication=indication,
    )
    phantom = replace(phantom, **changes)  # type: ignore[arg-type]  # texts only
    empty = np.zeros((matrix, matrix))
    return [_image(phantom, 0, index, empty) for index in range(n_images)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Segment:
    """A segment: ``category``, ``kind`` and ``side`` are keys of ``codes.csv``."""

    label: str
    kind: str
    tissues: tuple[Tissue, ...]
    category: str = "cat.anatomical"
    side: str = ""
    tracked: bool = False


# The tumour has no side of its own, as most segmentations: finding it out is the service's work.
_SEGMENTS: Final = (
    _Segment(
        label="Tumour",
        category="cat.morph_abnormal",
        kind="tum.neoplasm",
        tissues=(Tissue.TUMOUR, Tissue.NECROSIS),
        tracked=True,
    ),
    _Segment(label="Inferior vena cava", kind="ves.ivc", tissues=(Tissue.CAVA,)),
    _Segment(label="Aorta", kind="ves.aorta_abd", tissues=(Tissue.AORTA,)),
    _Segment(label="Kidney right", kind="org.kidney", tissues=(Tissue.KIDNEY_RIGHT,), side="v.right"),
    _Segment(label="Kidney left", kind="org.kidney", tissues=(Tissue.KIDNEY_LEFT,), side="v.left"),
    _Segment(label="Liver", kind="org.liver", tissues=(Tissue.LIVER,)),
)
#: `Tissue` to segment number, 0 for none
_LABELS: Final = np.array(
    [next((n for n, s in enumerate(_SEGMENTS, start=1) if tissue in s.tissues), 0) for tissue in Tissue], np.uint8
)
_SYLLABLES: Final = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "ro", "su")


def _name(digits: str) -> str:
    return "".join(_SYLLABLES[int(d)] for d in digits).capitalize()


def _generator(*parts: object) -> np.random.Generator:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _centred(count: int, spacing: float) -> npt.NDArray[np.float64]:
    """Return equidistant positions around 0."""
    return np.asarray((np.arange(count) - (count - 1) / 2) * spacing, np.float64)


def _tissues(phantom: Phantom, index: int) -> npt.NDArray[np.uint8]:
    """Return the tissue at every pixel centre of a slice, shape (rows, columns)."""
    line = _centred(phantom.matrix, phantom.pixel)
    depth = float(phantom.depths[index])
    (_, column_y, column_z), (_, normal_y, normal_z) = phantom.column, phantom.normal
    across, down = np.meshgrid(line, line)
    return anatomy.tissues(across, down * column_y + depth * normal_y, down * column_z + depth * normal_z)


def _header(phantom: Phantom, sop_class: str, sop_instance: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(sop_instance)
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    ds.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    ds.SpecificCharacterSet = phantom.charset.split("\\")
    ds.SOPClassUID, ds.SOPInstanceUID = UID(sop_class), UID(sop_instance)
    ds.PatientName, ds.PatientID, ds.IssuerOfPatientID = phantom.patient_name, phantom.patient_id, phantom.issuer
    ds.PatientBirthDate, ds.PatientSex = phantom.birth_date, "M"
    ds.PatientAge = _age(phantom)
    ds.StudyInstanceUID = phantom.study_instance_uid
    ds.StudyDate, ds.StudyTime, ds.StudyID = phantom.study_date, "101500", "1"
    ds.AccessionNumber, ds.IssuerOfAccessionNumberSequence = phantom.accession_number, [_issuer()]
    ds.ReferringPhysicianName = "Albrecht^Anna^^Dr."
    ds.StudyDescription = "CT abdomen and pelvis with contrast"
    request = Dataset()
    request.AccessionNumber, request.IssuerOfAccessionNumberSequence = phantom.accession_number, [_issuer()]
    request.RequestedProcedureID, request.ScheduledProcedureStepID = "RP1", "SPS1"
    request.RequestedProcedureDescription = "CT abdomen and pelvis with contrast"
    request.ReasonForTheRequestedProcedure = phantom.indication
    ds.RequestAttributesSequence = [request]
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = phantom.uid("frame of reference"), ""
    ds.Manufacturer, ds.ManufacturerModelName = "LMS-SR", "Synthetic patient"
    ds.DeviceSerialNumber, ds.SoftwareVersions = "1", "1"
    ds.InstitutionName = "Klinikum am Seeblick"
    return ds


def _issuer() -> Dataset:
    item = Dataset()
    item.LocalNamespaceEntityID = "RIS-SEEBLICK"
    return item


def _age(phantom: Phantom) -> str:
    born, then = (dt.date.fromisoformat(d) for d in (phantom.birth_date, phantom.study_date))
    return f"{then.year - born.year - ((then.month, then.day) < (born.month, born.day)):03d}Y"


def _image(phantom: Phantom, position: int, index: int, hounsfield: npt.NDArray[np.float64]) -> Dataset:
    phase, number = phantom.phases[position], _FIRST_SERIES + position
    ds = _header(phantom, CTImageStorage, phantom.uid("image", phase, str(index)))
    ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SeriesInstanceUID = phantom.uid("series", phase)
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = number, index + 1, position + 1
    ds.SeriesDescription = f"Abdomen {phase} {phantom.slice_spacing:.1f} B31f"
    ds.ProtocolName, ds.BodyPartExamined, ds.PatientPosition = "Abdomen multiphase", "ABDOMENPELVIS", "HFS"
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = phantom.study_date
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"1017{30 * position % 60:02d}"
    if phase != "unenhanced":
        ds.ContrastBolusAgent, ds.ContrastBolusRoute, ds.ContrastBolusVolume = "Iopromide 370", "IV", "100"
    ds.KVP, ds.ConvolutionKernel = "120", "B31f"
    ds.XRayTubeCurrent, ds.ExposureTime, ds.Exposure = 220, 500, 110
    ds.SliceThickness = ds.SpacingBetweenSlices = _decimal(phantom.slice_spacing)
    ds.PixelSpacing = [_decimal(phantom.pixel)] * 2
    corner = float(_centred(phantom.matrix, phantom.pixel)[0])
    depth = float(phantom.depths[index])
    place = (corner, *(corner * c + depth * n for c, n in zip(phantom.column[1:], phantom.normal[1:], strict=True)))
    ds.ImagePositionPatient = [_decimal(v) for v in place]
    ds.ImageOrientationPatient = [_decimal(v) for v in (1, 0, 0, *phantom.column)]
    ds.SliceLocation = _decimal(depth)
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows = ds.Columns = phantom.matrix
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = str(_INTERCEPT), "1", "HU"
    ds.WindowCenter, ds.WindowWidth = "60", "400"
    ds.PixelData = np.clip(np.rint(hounsfield) - _INTERCEPT, 0, _HIGHEST).astype("<u2").tobytes()
    return ds


def _decimal(value: float) -> str:
    """Return a number as a DS (PS3.5 6.2), at most 16 characters."""
    return f"{round(value, 6) + 0.0:.10g}"


def _for_highdicom(image: Dataset) -> Dataset:
    """Return the header of an image without its character set, of which highdicom knows only some."""
    header = Dataset()
    for element in image:
        if element.keyword not in {"SpecificCharacterSet", "PixelData"}:
            header.add(element)
    header.file_meta, header.SpecificCharacterSet = image.file_meta, "ISO_IR 192"
    return header


def _made_the_images_way(seg: Segmentation, phantom: Phantom, image: Dataset) -> None:
    """Give the SEG what highdicom does not copy, the images' time for now, and a derived UID for a random one."""
    seg.SpecificCharacterSet = phantom.charset.split("\\")
    for keyword in ("IssuerOfPatientID", "PatientAge", "RequestAttributesSequence", "IssuerOfAccessionNumberSequence"):
        seg[keyword] = image[keyword]
    seg.StudyDescription, seg.InstitutionName = image.StudyDescription, image.InstitutionName
    for keyword in ("SeriesDate", "ContentDate", "InstanceCreationDate"):
        setattr(seg, keyword, phantom.study_date)
    for keyword in ("SeriesTime", "ContentTime", "InstanceCreationTime"):
        setattr(seg, keyword, "103000")
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = phantom.uid("dimensions")
    for item in seg.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = f"{phantom.study_date}103000"


def _coded(code: Code) -> CodedConcept:
    from highdicom.sr import CodedConcept  # noqa: PLC0415 - as above

    return CodedConcept(code.value, code.scheme, code.meaning)


__all__: Sequence[str] = (
    "TRACKING_ID",
    "Phantom",
    "images",
    "plain_study",
    "save",
    "segmentation",
    "study",
    "write",
)
