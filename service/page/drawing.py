"""A measured slice as a picture: windowed as its source says, square pixels, lines with end ticks and labels."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from service.page.content import Picture
from service.page.legible import fonts_folder, one_line
from service.sr.key_image import Mark, MarkedImage, VoiFunction, Window

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
Point = tuple[float, float]

#: a picture is enlarged until its shorter side has this many pixels, so that text on a small matrix can be read
_SMALLEST = 512
#: and never beyond this
_LARGEST = 2048
#: Okabe and Ito: told apart from grey, and from each other, with any colour vision
_MAIN = (255, 200, 60)
_SECOND = (86, 190, 240)
_HALO = (0, 0, 0)
#: parts of the picture's shorter side
_LINE, _TICK, _TEXT = 1 / 300, 1 / 50, 1 / 26
_HALO_WIDTH = 1.6
_LABEL_LENGTH = 60
#: the smallest part of an image that the page shows
_LEAST = 0.45


def windowed(frame: NDArray[np.generic], source: MarkedImage) -> Pixels:
    """Return a frame as 8 bit grey, through modality and VOI LUT (PS3.3 C.11.2.1.2, C.11.2.1.3).

    Parameters
    ----------
    frame:
        Stored values, shape (rows, columns).
    source:
        Its rescaling, window and polarity. Without a window the whole range of the frame is shown.
    """
    values = np.asarray(frame, dtype=np.float64) * source.slope + source.intercept
    window = source.window if source.window is not None and source.window.width > 0 else _whole(values)
    grey = _through(values, window)
    return np.rint(255 * (1 - grey if source.inverted else grey)).astype(np.uint8)


def _whole(values: Floats) -> Window:
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    return Window(center=(low + high) / 2, width=max(high - low, 1.0), function=VoiFunction.LINEAR_EXACT)


def _through(values: Floats, window: Window) -> Floats:
    """Return values as parts of full brightness, 0 to 1."""
    center, width = window.center, window.width
    if window.function is VoiFunction.SIGMOID:
        # beyond this exponent nothing changes in 8 bits, and exp() stays finite
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -50, 50)))
    if window.function is VoiFunction.LINEAR_EXACT:
        return np.clip((values - center) / width + 0.5, 0, 1)
    # LINEAR: the formula's special case, a width of 1, is a threshold
    return np.clip((values - (center - 0.5)) / max(width - 1, 1e-9) + 0.5, 0, 1)


def draw(frame: NDArray[np.generic], source: MarkedImage) -> Pixels:
    """Return a marked image drawn: RGB, shape (rows, columns, 3), square pixels.

    Parameters
    ----------
    frame:
        Stored values of the image or frame, shape (``source.rows``, ``source.columns``).
    source:
        How to show it and what to draw.

    Raises
    ------
    ValueError
        ``frame`` is not of the size that ``source`` says.
    """
    if frame.shape != (source.rows, source.columns):
        msg = f"the frame is {frame.shape[0]} x {frame.shape[1]}, not {source.rows} x {source.columns}"
        raise ValueError(msg)
    grey = windowed(frame, source)
    across, down = _scales(source)
    size = max(1, round(source.columns * across)), max(1, round(source.rows * down))
    if size != (source.columns, source.rows):
        grey = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC))
    # what was rounded away goes into the scale, so that a line keeps its place
    scale = size[0] / source.columns, size[1] / source.rows
    canvas = np.repeat(grey[:, :, np.newaxis], 3, axis=2).astype(np.float64)
    for mark in source.marks:
        _line(canvas, mark, scale)
    image = Image.fromarray(np.rint(canvas).astype(np.uint8))
    _labels(image, source.marks, scale)
    return np.asarray(image)


def picture(frame: NDArray[np.generic], source: MarkedImage, part_of: str = "{caption} (detail)") -> Picture:
    """Return the part of a marked image around its lines drawn, for the page; the caption says that it is a part, as ``part_of``.

    Raises
    ------
    ValueError
        As `draw`.
    """
    part, detail = _detail(frame, source)
    pixels = draw(part, detail)
    caption = source.caption if detail is source else part_of.format(caption=source.caption)
    return Picture(rows=pixels.shape[0], columns=pixels.shape[1], rgb=pixels.tobytes(), caption=caption)


def _detail(frame: NDArray[np.generic], source: MarkedImage) -> tuple[NDArray[np.generic], MarkedImage]:
    """Return the square around the lines, twice as large as they are, and at least `_LEAST` of the image; the window stays the image's."""
    points = np.array([p for m in source.marks for p in m.points], dtype=np.float64).reshape(-1, 2)
    if not len(points) or frame.shape != (source.rows, source.columns) or not np.isfinite(points).all():
        return frame, source
    tall = source.pixel_height
    # in columns: a square for the eye has fewer rows where pixels are tall
    extent = (points.max(axis=0) - points.min(axis=0)) * (1.0, tall)
    side = max(2 * float(extent.max()), _LEAST * min(source.columns, source.rows * tall))
    left, columns = _span(float(points[:, 0].max() + points[:, 0].min()) / 2, side, source.columns)
    top, rows = _span(float(points[:, 1].max() + points[:, 1].min()) / 2, side / tall, source.rows)
    if (rows, columns) == (source.rows, source.columns):
        return frame, source
    marks = tuple(replace(m, points=tuple((x - left, y - top) for x, y in m.points)) for m in source.marks)
    window = source.window or _whole(np.asarray(frame, dtype=np.float64) * source.slope + source.intercept)
    part = replace(source, rows=rows, columns=columns, marks=marks, window=window)
    return frame[top : top + rows, left : left + columns], part


def _span(middle: float, wanted: float, room: int) -> tuple[int, int]:
    """Return where a part begins, and how long it is, within ``room``."""
    size = max(1, min(room, math.ceil(wanted)))
    return int(min(max(round(middle - size / 2), 0), room - size)), size


def _scales(source: MarkedImage) -> tuple[float, float]:
    """Return pixels of the picture for each column and each row of the image: square, whole where the image's are."""
    tall = min(max(source.pixel_height, 1 / 16), 16.0)
    across, down = (1.0, tall) if tall >= 1 else (1 / tall, 1.0)
    height, width = source.rows * down, source.columns * across
    enlarged = math.ceil(_SMALLEST / min(height, width)) if min(height, width) < _SMALLEST else 1
    factor = min(float(enlarged), _LARGEST / max(height, width))
    return across * factor, down * factor


def _line(canvas: Floats, mark: Mark, scale: tuple[float, float]) -> None:
    """Draw a line and its end ticks, each dark below and coloured above, so that it shows on bright and on dark ground."""
    points = [(x * scale[0], y * scale[1]) for x, y in mark.points]
    short = min(canvas.shape[:2])
    width = max(1.0, short * _LINE) * (1.0 if mark.main else 0.8)
    pieces = list(itertools.pairwise(points))
    if pieces:
        tick = max(4.0, short * _TICK) / 2
        pieces += [_across(points[0], points[1], tick), _across(points[-1], points[-2], tick)]
    for extra, colour in ((_HALO_WIDTH, _HALO), (0.0, _MAIN if mark.main else _SECOND)):
        for start, end in pieces:
            stroke(canvas, start, end, width + 2 * extra, colour)


def _across(at: tuple[float, float], towards: tuple[float, float], half: float) -> tuple[Point, Point]:
    dx, dy = towards[0] - at[0], towards[1] - at[1]
    length = math.hypot(dx, dy) or 1.0
    x, y = -dy / length * half, dx / length * half
    return (at[0] + x, at[1] + y), (at[0] - x, at[1] - y)


def stroke(
    canvas: Floats, start: tuple[float, float], end: tuple[float, float], width: float, colour: tuple[int, int, int]
) -> None:
    """Blend a line into the canvas: how much of a pixel it covers follows from the distance of the pixel's centre (0.5, 0.5)."""
    rows, columns = canvas.shape[:2]
    reach = width / 2 + 1
    left, right = (_bound(v, columns) for v in (min(start[0], end[0]) - reach, max(start[0], end[0]) + reach + 1))
    top, bottom = (_bound(v, rows) for v in (min(start[1], end[1]) - reach, max(start[1], end[1]) + reach + 1))
    if left >= right or top >= bottom:
        return
    y, x = np.mgrid[top:bottom, left:right] + 0.5
    dx, dy = end[0] - start[0], end[1] - start[1]
    squared = dx * dx + dy * dy
    along = np.clip(((x - start[0]) * dx + (y - start[1]) * dy) / squared, 0, 1) if squared else 0.0
    away = np.hypot(x - (start[0] + along * dx), y - (start[1] + along * dy))
    cover = np.clip(width / 2 + 0.5 - away, 0, 1)[:, :, np.newaxis]
    part = canvas[top:bottom, left:right]
    part += cover * (np.array(colour, dtype=np.float64) - part)


def _bound(value: float, end: int) -> int:
    return int(min(max(math.floor(value) if math.isfinite(value) else 0, 0), end))


@functools.cache
def face(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of labels, in pixels."""
    font = fonts_folder() / "Inter-SemiBold.otf"
    # the basic layout is the same on every machine; the other needs a library that may be absent
    return ImageFont.truetype(str(font), size, layout_engine=ImageFont.Layout.BASIC)


def _labels(image: Image.Image, marks: tuple[Mark, ...], scale: tuple[float, float]) -> None:
    """Write each label beside the end of its line that leaves most room, within the picture and clear of the other labels."""
    size = max(13, round(min(image.size) * _TEXT))
    pen = ImageDraw.Draw(image)
    taken: list[tuple[float, float, float, float]] = []
    drawn = [(x * scale[0], y * scale[1]) for m in marks for x, y in _along(m.points)]
    for mark in marks:
        if not mark.label or not mark.points:
            continue
        said = one_line(mark.label, _LABEL_LENGTH)
        left, top, right, bottom = pen.textbbox((0, 0), said, font=face(size))
        width, height = right - left, bottom - top
        ends = [(x * scale[0], y * scale[1]) for x, y in (mark.points[-1], mark.points[0])]
        box = _place(ends, (width, height), image.size, taken, drawn, gap=size * 0.6)
        taken.append(box)
        pen.text(
            (box[0] - left, box[1] - top),
            said,
            font=face(size),
            fill=_MAIN if mark.main else _SECOND,
            stroke_width=max(1, size // 9),
            stroke_fill=_HALO,
        )


def _place(
    ends: list[tuple[float, float]],
    text: tuple[float, float],
    room: tuple[int, int],
    taken: list[tuple[float, float, float, float]],
    drawn: list[tuple[float, float]],
    *,
    gap: float,
) -> tuple[float, float, float, float]:
    """Return the box of a label: of the places around both ends the one that covers no label, least of the lines, and was moved least."""
    width, height = text
    boxes = []
    for x, y in ends:
        for corner_x, corner_y in (
            (x + gap, y + gap / 2),
            (x + gap, y - height - gap / 2),
            (x - width - gap, y + gap / 2),
            (x - width - gap, y - height - gap / 2),
        ):
            left = min(max(corner_x, 4.0), max(room[0] - width - 4.0, 0.0))
            top = min(max(corner_y, 4.0), max(room[1] - height - 4.0, 0.0))
            moved = abs(left - corner_x) + abs(top - corner_y)
            box = (left, top, left + width, top + height)
            covered = sum(
                box[0] - gap < px < box[2] + gap and box[1] - gap / 2 < py < box[3] + gap / 2 for px, py in drawn
            )
            boxes.append((sum(_overlap(box, t) for t in taken), covered, moved, box))
    return min(boxes, key=lambda b: b[:3])[3]


def _along(points: tuple[tuple[float, float], ...]) -> Iterable[tuple[float, float]]:
    """Yield points along a line, close enough for a label not to slip between."""
    steps = 40
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        yield from ((x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(steps + 1))


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
