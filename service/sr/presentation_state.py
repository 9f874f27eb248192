"""Grayscale Softcopy Presentation State (PS3.3 A.33.1): the measurement lines over the original images, in viewers that draw no SR."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom.dataset import Dataset
from pydicom.valuerep import format_number_as_ds

from service.model.study import Study
from service.sr.document import Envelope, common, part10
from service.sr.key_image import MarkedImage, VoiFunction

GRAYSCALE_SOFTCOPY_PRESENTATION_STATE = "1.2.840.10008.5.1.4.1.1.11.1"
#: Graphic Layer (0070,0002) is CS: capitals, digits, blank, underscore; its description says it in words
LAYER = "LMS_MEASUREMENTS"
LAYER_DESCRIPTION = "LMS measurements"
#: Unformatted Text Value (0070,0006) is ST
_MAX_TEXT = 1024
#: how far a label stands from its line, in pixels, and the box it gets
_LABEL_OFFSET = 4.0
_LABEL_BOX = (120.0, 12.0)


def groups(images: Iterable[MarkedImage]) -> tuple[tuple[MarkedImage, ...], ...]:
    """Part images into those that one presentation state can hold: one series, one size, one rescaling, one polarity."""
    found: dict[tuple[object, ...], list[MarkedImage]] = {}
    for image in images:
        found.setdefault(_group_of(image), []).append(image)
    return tuple(tuple(g) for g in found.values())


def _group_of(image: MarkedImage) -> tuple[object, ...]:
    series = image.reference.series_instance_uid
    rescale = (image.slope, image.intercept, image.rescale_type)
    return series, image.rows, image.columns, image.spacing, image.aspect_ratio, rescale, image.inverted


def presentation_state(images: tuple[MarkedImage, ...], study: Study, envelope: Envelope, *, description: str) -> bytes:
    """Return the presentation state of one group of images (`groups`), as a DICOM file.

    Graphics are in PIXEL units (PS3.3 C.10.5): the upper left corner of the upper left pixel is (0, 0), as in our lines.

    Parameters
    ----------
    images:
        The images or frames, with their lines.
    study, envelope:
        The study, and what the object is called; ``envelope.sop_class_uid`` is `GRAYSCALE_SOFTCOPY_PRESENTATION_STATE`.
    description:
        Content Description (0070,0081): says whether the measurements are confirmed.

    Raises
    ------
    ValueError
        No image, or images of more than one group.
    """
    if len({_group_of(i) for i in images}) != 1:
        msg = "a presentation state holds images of one series, size and rescaling"
        raise ValueError(msg)
    first = images[0]
    ds = common(study, envelope, "PR")
    # 2C: what is examined may be one of a pair
    ds.Laterality = ""
    # the presentation state has a creation date of its own
    ds.PresentationCreationDate, ds.PresentationCreationTime = ds.ContentDate, ds.ContentTime
    del ds.ContentDate, ds.ContentTime
    ds.ContentLabel = LAYER
    ds.ContentDescription = description[:64]
    ds.ContentCreatorName = ""
    ds.ReferencedSeriesSequence = [_series(images)]
    if (first.slope, first.intercept) != (1.0, 0.0) or first.rescale_type:
        ds.RescaleIntercept, ds.RescaleSlope = _decimal(first.intercept), _decimal(first.slope)
        ds.RescaleType = first.rescale_type or "US"
    ds.DisplayedAreaSelectionSequence = [_area(images)]
    ds.GraphicAnnotationSequence = [_annotation(i) for i in images if i.marks]
    layer = Dataset()
    layer.GraphicLayer, layer.GraphicLayerOrder, layer.GraphicLayerDescription = LAYER, 1, LAYER_DESCRIPTION
    ds.GraphicLayerSequence = [layer]
    windowed = [_window(i) for i in images if i.window is not None]
    if windowed:
        ds.SoftcopyVOILUTSequence = windowed
    ds.PresentationLUTShape = "INVERSE" if first.inverted else "IDENTITY"
    return part10(ds)


def _decimal(value: float) -> str:
    return format_number_as_ds(float(value))


def _series(images: tuple[MarkedImage, ...]) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID = images[0].reference.series_instance_uid
    item.ReferencedImageSequence = _references(images)
    return item


def _references(images: Iterable[MarkedImage]) -> list[Dataset]:
    """Return one item for each instance, with its frames where it has several."""
    found: dict[str, Dataset] = {}
    frames: dict[str, list[int]] = {}
    for image in images:
        uid = image.reference.sop_instance_uid
        if uid not in found:
            found[uid] = Dataset()
            found[uid].ReferencedSOPClassUID = image.reference.sop_class_uid
            found[uid].ReferencedSOPInstanceUID = uid
        frames.setdefault(uid, []).extend(image.reference.frames)
    for uid, item in found.items():
        if frames[uid]:
            item.ReferencedFrameNumber = sorted(set(frames[uid]))
    return list(found.values())


def _area(images: tuple[MarkedImage, ...]) -> Dataset:
    """Return the displayed area (PS3.3 C.10.4): the whole of every image. Here pixels are counted from 1."""
    first = images[0]
    item = Dataset()
    item.ReferencedImageSequence = _references(images)
    item.DisplayedAreaTopLeftHandCorner = [1, 1]
    item.DisplayedAreaBottomRightHandCorner = [first.columns, first.rows]
    item.PresentationSizeMode = "SCALE TO FIT"
    if first.spacing is not None:
        item.PresentationPixelSpacing = [_decimal(v) for v in first.spacing]
    else:
        item.PresentationPixelAspectRatio = list(first.aspect_ratio)
    return item


def _annotation(image: MarkedImage) -> Dataset:
    item = Dataset()
    item.ReferencedImageSequence = _references((image,))
    item.GraphicLayer = LAYER
    texts = [_text(m.label, m.points[-1], image) for m in image.marks if m.label]
    if texts:
        item.TextObjectSequence = texts
    item.GraphicObjectSequence = [_polyline(m.points) for m in image.marks]
    return item


def _polyline(points: tuple[tuple[float, float], ...]) -> Dataset:
    item = Dataset()
    item.GraphicAnnotationUnits = "PIXEL"
    item.GraphicDimensions = 2
    item.NumberOfGraphicPoints = len(points)
    item.GraphicData = [float(v) for point in points for v in point]
    item.GraphicType = "POLYLINE"
    item.GraphicFilled = "N"
    return item


def _text(label: str, end: tuple[float, float], image: MarkedImage) -> Dataset:
    """Return a label beside the end of its line, within the image, with an anchor at that end."""
    width, height = (min(size, room) for size, room in zip(_LABEL_BOX, (image.columns, image.rows), strict=True))
    left = min(max(end[0] + _LABEL_OFFSET, 0.0), image.columns - width)
    top = min(max(end[1] + _LABEL_OFFSET, 0.0), image.rows - height)
    item = Dataset()
    item.BoundingBoxAnnotationUnits = "PIXEL"
    item.AnchorPointAnnotationUnits = "PIXEL"
    item.UnformattedTextValue = label[:_MAX_TEXT]
    item.BoundingBoxTopLeftHandCorner = [left, top]
    item.BoundingBoxBottomRightHandCorner = [left + width, top + height]
    item.BoundingBoxTextHorizontalJustification = "LEFT"
    item.AnchorPoint = list(end)
    item.AnchorPointVisibility = "N"
    return item


def _window(image: MarkedImage) -> Dataset:
    item = Dataset()
    item.ReferencedImageSequence = _references((image,))
    if image.window is not None:
        item.WindowCenter, item.WindowWidth = _decimal(image.window.center), _decimal(image.window.width)
        if image.window.function is not VoiFunction.LINEAR:
            item.VOILUTFunction = image.window.function.value
    return item
