"""From a report to its marked images: which slices were measured, how their headers say to show them, and their frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.errors import InputError
from service.model.measurement import Reference
from service.model.report import Answer, Quantity, Report
from service.model.study import Instance, Series, Study
from service.page.content import Picture
from service.page.drawing import picture
from service.read.part10 import Item
from service.read.pixels import open_pixels
from service.sr import words
from service.sr.key_image import Mark, MarkedImage, VoiFunction, Window
from service.sr.phrases import ENGLISH, Phrase, Wording

OpenFile = Callable[[Instance], Path]

#: the line that names its lesion; others carry their number alone
_MAIN = "sz.long_axis"
_FUNCTIONAL_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyImage:
    """A measured slice: how to show and mark it, its stored values (rows, columns), and whether its lines are still proposed."""

    marked: MarkedImage
    frame: NDArray[np.generic]
    proposed: bool
    #: what the caption becomes where a part of the slice is shown
    part: str = Phrase.DETAIL.value

    def picture(self) -> Picture:
        """Return it drawn, for the page."""
        return picture(self.frame, self.marked, self.part)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyImages:
    """The measured slices of a report, in its order; ``problems`` says which could not be shown, and why."""

    images: tuple[KeyImage, ...] = ()
    problems: tuple[str, ...] = ()


def key_images(report: Report, study: Study, open_file: OpenFile, wording: Wording = ENGLISH) -> KeyImages:
    """Return every slice that a line of the report lies on, with all its lines, labelled in a language.

    An image that is not in the study, or that cannot be decoded, is left out and named in ``problems``.

    Raises
    ------
    StoreUnavailable
        A file cannot be read.
    """
    where = {i.sop_instance_uid: (s, i) for s in study.images for i in s.instances}
    found: list[KeyImage] = []
    problems: list[str] = []
    for reference, drawn in _slices(report).items():
        if reference.sop_instance_uid not in where:
            problems.append("A measured image is not in the study: it is not shown")
            continue
        series, instance = where[reference.sop_instance_uid]
        try:
            found.append(_key_image(reference, drawn, series, instance, open_file(instance), wording))
        except InputError as error:
            problems.append(f"A measured image is not shown: {error}")
    return KeyImages(images=tuple(found), problems=tuple(dict.fromkeys(problems)))


_Drawn = list[tuple[Answer, Reference]]


def _slices(report: Report) -> dict[Reference, _Drawn]:
    """Return image or frame → the answers that have a line on it."""
    found: dict[Reference, _Drawn] = {}
    for answer in report.answers:
        for line in answer.evidence:
            if line.points:
                place = replace(line, points=(), segment=None)
                found.setdefault(place, []).append((answer, line))
    return found


def _key_image(
    reference: Reference, drawn: _Drawn, series: Series, instance: Instance, path: Path, wording: Wording
) -> KeyImage:
    header, pixels = open_pixels(path, name="a measured image")
    frame = reference.frames[0] - 1 if reference.frames else 0
    named = {answer.subject for answer, _ in drawn if answer.item == _MAIN}
    marks = tuple(_mark(answer, line, wording, name=answer.subject not in named) for answer, line in drawn)
    marked = MarkedImage(
        reference=reference,
        rows=pixels.rows,
        columns=pixels.columns,
        marks=marks,
        spacing=_spacing(header, frame),
        aspect_ratio=_aspect_ratio(header),
        window=_window(header, frame),
        slope=_number(header, frame, "PixelValueTransformationSequence", "RescaleSlope", 1.0),
        intercept=_number(header, frame, "PixelValueTransformationSequence", "RescaleIntercept", 0.0),
        rescale_type=_group(header, frame, "PixelValueTransformationSequence", "RescaleType").text("RescaleType"),
        inverted=header.text("PhotometricInterpretation") == "MONOCHROME1",
        lossy=header.text("LossyImageCompression") == "01",
        caption=_caption(series, instance, reference, marks, wording),
    )
    proposed = any(words.mark(a) for a, _ in drawn)
    return KeyImage(marked=marked, frame=pixels.frame(frame), proposed=proposed, part=wording.say(Phrase.DETAIL))


def _mark(answer: Answer, line: Reference, wording: Wording, *, name: bool) -> Mark:
    """Return a line with its label: the number, the lesion (``name``: no other line on the slice says it), and that it is only proposed."""
    value = answer.values[0] if answer.values else None
    size = words.number(value, digits=0, wording=wording) if isinstance(value, Quantity) else ""
    main = answer.item == _MAIN
    # "proposed" is drawn, too: a picture is shown without the page around it
    doubt = f" ({wording.say(Phrase.PROPOSED)})" if words.mark(answer) else ""
    lesion = f"{answer.subject} " if main or name else ""
    return Mark(points=line.points, label=f"{lesion}{size}{doubt}".strip(), main=main)


def _caption(
    series: Series, instance: Instance, reference: Reference, marks: tuple[Mark, ...], wording: Wording
) -> str:
    number = series.number if series.number is not None else wording.say(Phrase.NO_NUMBER)
    image = next(iter(instance.own.get("InstanceNumber", ())), "")
    parts = [wording.say(Phrase.SERIES, number=number), wording.say(Phrase.IMAGE, image=image) if image else ""]
    parts += [wording.say(Phrase.FRAME, frame=f) for f in reference.frames]
    said = ", ".join(filter(None, parts))
    labels = " × ".join(m.label for m in marks if m.label)
    return f"{said}: {labels}" if labels else said


# --- what the header says; in multi-frame images, what the frame's functional groups say (PS3.3 C.7.6.16) ----------------


def _group(header: Item, frame: int, sequence: str, keyword: str) -> Item:
    """Return the item that has ``keyword``: the frame's group, the shared one, or the header itself."""
    for groups, index in zip(_FUNCTIONAL_GROUPS, (frame, 0), strict=True):
        members = header.items(groups) if groups in header else ()
        if index < len(members):
            item = members[index].item(sequence)
            if keyword in item:
                return item
    return header


def _number(header: Item, frame: int, sequence: str, keyword: str, default: float) -> float:
    value = _group(header, frame, sequence, keyword).number(keyword)
    return default if value is None else value


def _spacing(header: Item, frame: int) -> tuple[float, float] | None:
    values = _group(header, frame, "PixelMeasuresSequence", "PixelSpacing").numbers("PixelSpacing")
    return (values[0], values[1]) if len(values) == 2 and min(values) > 0 else None  # noqa: PLR2004 - row, column


def _aspect_ratio(header: Item) -> tuple[int, int]:
    values = header.numbers("PixelAspectRatio")
    return (int(values[0]), int(values[1])) if len(values) == 2 and min(values) >= 1 else (1, 1)  # noqa: PLR2004 - as above


def _window(header: Item, frame: int) -> Window | None:
    """Return the first window of the image; None where it has none that can be used."""
    group = _group(header, frame, "FrameVOILUTSequence", "WindowCenter")
    center, width = _first(group.numbers("WindowCenter")), _first(group.numbers("WindowWidth"))
    if center is None or width is None or width <= 0:
        return None
    name = group.text("VOILUTFunction")
    function = VoiFunction(name) if name in set(VoiFunction) else VoiFunction.LINEAR
    return Window(center=center, width=width, function=function)


def _first(values: Iterable[float]) -> float | None:
    return next(iter(values), None)
