"""Lines of a Grayscale Softcopy Presentation State (PS3.3 A.33.1, C.10.5): what a reader drew with a viewer's caliper."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from service.errors import InputError
from service.read.part10 import Item, open_part10

Point = tuple[float, float]

_ENDS = 4
#: Graphic Annotation Units (0070,0005) that are pixels of the image; the others are of the display
_PIXEL = "PIXEL"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnLine:
    """A line of two points on an image."""

    #: (column, row) in image coordinates of PS3.3 C.18.6.1.1, which are those of C.10.5 too
    ends: tuple[Point, Point]
    sop_instance_uid: str
    #: Referenced Frame Number (0008,1160); empty: the whole image
    frames: tuple[int, ...] = ()
    #: the texts that stand in the same annotation
    texts: tuple[str, ...] = ()
    #: no other line stands in that annotation
    alone: bool = True
    #: why its length cannot be told; empty: nothing
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawings:
    """The lines of a presentation state; other graphics are none of ours."""

    label: str
    lines: tuple[DrawnLine, ...]


def read_presentation(path: Path, *, name: str) -> Drawings:
    """Parse a presentation state.

    Parameters
    ----------
    path:
        A DICOM file (PS3.10).
    name:
        What error messages call it.

    Raises
    ------
    InputError
        No DICOM file, or one that cannot be parsed.
    StoreUnavailable
        The file cannot be read.
    """
    _, dataset = open_part10(path, name=name)
    everything = [i for s in dataset.items("ReferencedSeriesSequence") for i in s.items("ReferencedImageSequence")]
    lines: list[DrawnLine] = []
    for annotation in dataset.items("GraphicAnnotationSequence"):
        texts = tuple(" ".join(t.text("UnformattedTextValue").split()) for t in annotation.items("TextObjectSequence"))
        images = annotation.items("ReferencedImageSequence") or tuple(everything)
        found: list[DrawnLine] = []
        for graphic in annotation.items("GraphicObjectSequence"):
            if graphic.text("GraphicType") == "POLYLINE":
                found += _line(graphic, graphic.text("GraphicAnnotationUnits"), images, texts)
        for compound in annotation.items("CompoundGraphicSequence"):
            if compound.text("CompoundGraphicType") == "RULER":
                found += _line(compound, compound.text("CompoundGraphicUnits"), images, texts)
        lines += [replace(line, alone=len(found) == 1) for line in found]
    return Drawings(label=dataset.text("ContentLabel"), lines=tuple(lines))


def _line(graphic: Item, units: str, images: tuple[Item, ...], texts: tuple[str, ...]) -> list[DrawnLine]:
    points = graphic.numbers("GraphicData")
    if len(points) != _ENDS or points[:2] == points[2:]:
        return []
    x1, y1, x2, y2 = points
    fault = ""
    if units.upper() != _PIXEL:
        fault = f"it is drawn in units of {units.lower() or 'nothing that is stated'}, not of pixels"
    elif len(images) != 1:
        fault = f"it is drawn over {len(images)} images"
    image = images[0] if images else None
    return [
        DrawnLine(
            ends=((x1, y1), (x2, y2)),
            sop_instance_uid=image.text("ReferencedSOPInstanceUID") if image is not None else "",
            frames=tuple(int(n) for n in image.numbers("ReferencedFrameNumber")) if image is not None else (),
            texts=tuple(t for t in texts if t),
            fault=fault,
        )
    ]


def check_ends(line: DrawnLine, rows: int, columns: int) -> None:
    """Raise `InputError` where a line leaves its image."""
    for column, row in line.ends:
        if not (0 <= column <= columns and 0 <= row <= rows):
            raise InputError("it reaches beyond its image")
