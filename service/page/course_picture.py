"""The plots of the page as a picture by itself: light on black, as the images beside it are shown. The same plots give the same pixels."""

from __future__ import annotations

import itertools

import numpy as np
from PIL import Image, ImageDraw

from service.page.drawing import Floats, Pixels, face, stroke
from service.page.legible import one_line
from service.page.plot import Plot

#: pixels
WIDTH = 1024
_PANEL, _FOOT_LINE, _EDGE = 400, 30, 32
_LEFT, _RIGHT, _TOP, _BOTTOM = 110, 90, 100, 56
_SIZE, _TITLE_SIZE, _SMALL = 22, 26, 19
_GROUND, _INK, _SOFT, _GRID = (0, 0, 0), (235, 238, 242), (160, 168, 178), (60, 66, 74)
#: as the main line on a key image
_LINE = (255, 200, 60)
_DOT, _LINE_WIDTH = 9.0, 3.0
#: characters of a line of text
_LONGEST = 300


def course_picture(plots: tuple[Plot, ...], notes: tuple[str, ...]) -> Pixels:
    """Return plots below each other, ``notes`` at the foot: RGB, shape (rows, columns, 3).

    Points that nobody confirmed are hollow.

    Raises
    ------
    ValueError
        There is no plot.
    """
    if not plots:
        msg = "there is no plot to draw"
        raise ValueError(msg)
    lines = [line for note in notes for line in _wrapped(one_line(note, _LONGEST))]
    height = _PANEL * len(plots) + _FOOT_LINE * len(lines) + _EDGE
    canvas = np.empty((height, WIDTH, 3), dtype=np.float64)
    canvas[:] = _GROUND
    tops = [_PANEL * n for n in range(len(plots))]
    for plot, top in zip(plots, tops, strict=True):
        _lines(canvas, plot, top)
    image = Image.fromarray(np.rint(canvas).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for plot, top in zip(plots, tops, strict=True):
        _texts(pen, plot, top)
    foot = _PANEL * len(plots) + _FOOT_LINE // 2
    for number, line in enumerate(lines):
        at = (_EDGE, foot + number * _FOOT_LINE)
        pen.text(at, line, font=face(_SMALL), fill=_SOFT, anchor="lm")
    return np.asarray(image)


def _wrapped(note: str) -> list[str]:
    """Return a note in lines that fit between the edges."""
    lines: list[str] = []
    for word in note.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and face(_SMALL).getlength(longer) <= WIDTH - 2 * _EDGE:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _x(at: float) -> float:
    return _LEFT + at * (WIDTH - _LEFT - _RIGHT)


def _y(at: float, top: int) -> float:
    return top + _TOP + (1 - at) * (_PANEL - _TOP - _BOTTOM)


def _lines(canvas: Floats, plot: Plot, top: int) -> None:
    for tick in plot.up:
        height = _y(tick.at, top)
        stroke(canvas, (_x(0) - 24, height), (_x(1) + 24, height), 1, _GRID)
    for tick in plot.across:
        stroke(canvas, (_x(tick.at), _y(0, top)), (_x(tick.at), _y(0, top) + 8), 1, _SOFT)
    points = [(_x(m.x), _y(m.y, top)) for m in plot.marks]
    for start, end in itertools.pairwise(points):
        stroke(canvas, start, end, _LINE_WIDTH, _LINE)
    for mark, point in zip(plot.marks, points, strict=True):
        # a line of no length is a disc
        stroke(canvas, point, point, 2 * _DOT, _LINE)
        if mark.proposed:
            stroke(canvas, point, point, 2 * (_DOT - _LINE_WIDTH), _GROUND)


def _texts(pen: ImageDraw.ImageDraw, plot: Plot, top: int) -> None:
    pen.text((_EDGE, top + _EDGE), one_line(plot.title, _LONGEST), font=face(_TITLE_SIZE), fill=_INK, anchor="lm")
    for tick in plot.up:
        pen.text((_x(0) - 34, _y(tick.at, top)), tick.label, font=face(_SMALL), fill=_SOFT, anchor="rm")
    for tick in plot.across:
        pen.text((_x(tick.at), _y(0, top) + 28), tick.label, font=face(_SMALL), fill=_SOFT, anchor="mm")
    for mark in plot.marks:
        at = (_x(mark.x), _y(mark.y, top) - _DOT - 14)
        # its ground keeps a number clear of the lines
        pen.text(at, mark.label, font=face(_SIZE), fill=_INK, anchor="mm", stroke_width=4, stroke_fill=_GROUND)
