"""Key images: a measured slice with its lines burnt in, the plot of the course; as Secondary Capture (PS3.3 A.8.1), and what describes one.

`MarkedImage` is what the key images, the key object selection and the presentation state are all made from.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from service.model.code import Code
from service.model.measurement import Reference
from service.model.study import Study
from service.sr.document import Envelope, coded, common, part10

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
#: CID 7202; pydicom's dictionary: DCM.SourceImageForImageProcessingOperation
SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
#: Derivation Description (0008,2111) is ST: at most 1,024 characters
_MAX_DESCRIPTION = 1024


class VoiFunction(enum.StrEnum):
    """VOI LUT Function (0028,1056), PS3.3 C.11.2.1.3."""

    LINEAR = "LINEAR"
    LINEAR_EXACT = "LINEAR_EXACT"
    SIGMOID = "SIGMOID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window of the VOI LUT module (PS3.3 C.11.2), in output units of the modality LUT."""

    center: float
    width: float
    function: VoiFunction = VoiFunction.LINEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A line on an image with its label ("LMS-T1 118 mm"); points as in `Reference`: the first pixel's centre is (0.5, 0.5)."""

    points: tuple[tuple[float, float], ...]
    label: str = ""
    #: False for a line beside the main one (the short axis): drawn thinner
    main: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedImage:
    """An image, or one frame of it, that measurements were made on, with how to show it and the lines to draw."""

    #: the image; ``frames`` has one number where the image has several
    reference: Reference
    rows: int
    columns: int
    marks: tuple[Mark, ...]
    #: (row, column) Pixel Spacing (0028,0030) in mm; None: not known
    spacing: tuple[float, float] | None = None
    #: (vertical, horizontal) Pixel Aspect Ratio (0028,0034), used where there is no spacing
    aspect_ratio: tuple[int, int] = (1, 1)
    window: Window | None = None
    #: Rescale Slope (0028,1053), Rescale Intercept (0028,1052) and Rescale Type (0028,1054)
    slope: float = 1.0
    intercept: float = 0.0
    rescale_type: str = ""
    #: Photometric Interpretation is MONOCHROME1: low values are bright
    inverted: bool = False
    #: Lossy Image Compression (0028,2110) is 01, which whatever is derived from it inherits (PS3.3 C.7.6.1.1.5)
    lossy: bool = False
    #: in words: "Series 2, image 143"
    caption: str = ""

    @property
    def pixel_height(self) -> float:
        """Return the height of a pixel over its width."""
        if self.spacing is not None and min(self.spacing) > 0:
            return self.spacing[0] / self.spacing[1]
        vertical, horizontal = self.aspect_ratio
        return vertical / horizontal if vertical > 0 and horizontal > 0 else 1.0


def key_image(
    pixels: NDArray[np.uint8], source: MarkedImage, study: Study, envelope: Envelope, *, number: int, proposed: bool
) -> bytes:
    """Return a key image as a DICOM file.

    Parameters
    ----------
    pixels:
        The drawn image, RGB, shape (rows, columns, 3), square pixels (`service.page.drawing.draw`).
    source:
        The image it was drawn on.
    study, envelope:
        The study, and what the object is called; ``envelope.sop_class_uid`` is `SECONDARY_CAPTURE`.
    number:
        Instance Number (0020,0013): all key images of all versions stand in one series.
    proposed:
        Whether a measurement on it has yet to be confirmed by a person.

    Raises
    ------
    ValueError
        ``pixels`` has another shape or type.
    """
    ds = _capture(pixels, study, envelope, number)
    ds.DerivationDescription = _description(source, proposed=proposed)
    ds.SourceImageSequence = [_source(source.reference)]
    ds.LossyImageCompression = "01" if source.lossy else "00"
    ds.ImageComments = "Not for measurement: lines and text are burnt in"
    return part10(ds)


def course_image(
    pixels: NDArray[np.uint8], study: Study, envelope: Envelope, *, number: int, title: str, proposed: bool
) -> bytes:
    """Return the plot of the tumour over time as a DICOM file, to stand among the key images.

    It is drawn from the report's numbers and shows no image, so that it names none as its source.

    Parameters
    ----------
    pixels:
        The picture, RGB, shape (rows, columns, 3) (`service.page.course_picture`).
    study, envelope, number:
        As for `key_image`; ``number`` is another than theirs.
    title:
        What it shows, as it stands in the picture.
    proposed:
        Whether a number in it has yet to be confirmed by a person.

    Raises
    ------
    ValueError
        ``pixels`` has another shape or type.
    """
    ds = _capture(pixels, study, envelope, number)
    status = "not all confirmed" if proposed else "confirmed"
    ds.DerivationDescription = f"{title}: drawn from the numbers of the report ({status})"[:_MAX_DESCRIPTION]
    ds.LossyImageCompression = "00"
    ds.ImageComments = "Not for measurement: a plot"
    return part10(ds)


def _capture(pixels: NDArray[np.uint8], study: Study, envelope: Envelope, number: int) -> Dataset:
    """Return what all captures have: the picture, with text burnt in."""
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:  # noqa: PLR2004 - rows, columns, RGB
        msg = f"a key image has rows x columns x 3 bytes, not {pixels.dtype} {pixels.shape}"
        raise ValueError(msg)
    ds = common(study, envelope, "OT")
    ds.InstanceNumber = number
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    # 2C: what is examined may be one of a pair
    ds.Laterality = ""
    # 2C, and not known to hold once viewers have turned the capture
    ds.PatientOrientation = ""
    ds.BurnedInAnnotation = "YES"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    raw = np.ascontiguousarray(pixels).tobytes()
    ds.PixelData = raw + b"\0" * (len(raw) % 2)
    ds["PixelData"].VR = "OB"
    return ds


def _description(source: MarkedImage, *, proposed: bool) -> str:
    said = "; ".join(m.label for m in source.marks if m.label)
    status = "measurements proposed, not confirmed" if proposed else "measurements confirmed"
    return f"Windowed, measurement lines burnt in ({status}): {said}"[:_MAX_DESCRIPTION]


def _source(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = reference.sop_class_uid
    item.ReferencedSOPInstanceUID = reference.sop_instance_uid
    if reference.frames:
        item.ReferencedFrameNumber = list(reference.frames)
    item.PurposeOfReferenceCodeSequence = [coded(SOURCE_IMAGE)]
    return item
