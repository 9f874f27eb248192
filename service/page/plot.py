"""The tumour over time as a drawing: positions in the unit square, which both layouts draw as vectors. Nothing is interpolated."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, replace

from service.page.content import Captions, TimePoint

#: fewer points are no course
ENOUGH = 2
_TICKS = 3
_ENGLISH = Captions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point: x from the left, y from the bottom, both 0 to 1, and the number beside it; empty where it would run into another."""

    x: float
    y: float
    label: str
    proposed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A place on an axis, 0 to 1, and what it says."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One course: its marks in order of time, the ticks of both axes; the vertical axis begins at 0."""

    title: str
    marks: tuple[Mark, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]


def plots(
    history: tuple[TimePoint, ...], length_label: str, captions: Captions = _ENGLISH, volume_label: str = ""
) -> tuple[Plot, ...]:
    """Return a plot of the lengths and one of the volumes, each where it has two dated points; points without a date are left out.

    ``length_label``, ``volume_label``: what they are of; without a label volumes are called that.
    """
    dated = _ordered([(d, p) for p in history if (d := _day(p.date)) is not None])
    lengths = [(d, p.length_mm, p.proposed) for d, p in dated if p.length_mm is not None]
    volumes = [(d, p.volume_ml, p.volume_proposed) for d, p in dated if p.volume_ml is not None]
    titles = f"{length_label}, mm", f"{volume_label or captions.volume}, mL"
    found = (_plot(titles[0], lengths, captions), _plot(titles[1], volumes, captions))
    return tuple(p for p in found if p is not None)


def _ordered(dated: list[tuple[dt.date, TimePoint]]) -> list[tuple[dt.date, TimePoint]]:
    return sorted(dated, key=lambda pair: pair[0])


def _day(written: str) -> dt.date | None:
    try:
        return dt.date(int(written[:4]), int(written[4:6]), int(written[6:8]))
    except ValueError:
        return None


def _plot(title: str, points: list[tuple[dt.date, float, bool]], captions: Captions) -> Plot | None:
    points = [p for p in points if math.isfinite(p[1]) and p[1] >= 0]
    if len(points) < ENOUGH or points[0][0] == points[-1][0]:
        return None
    first, last = points[0][0], points[-1][0]
    days = (last - first).days
    step = _step(max(value for _, value, _ in points))
    top = step * max(1, math.ceil(max(value for _, value, _ in points) / step))
    marks = tuple(
        Mark(x=(d - first).days / days, y=value / top, label=_number(value, captions), proposed=proposed)
        for d, value, proposed in points
    )
    marks = _legible(marks)
    across = tuple(Tick(at=m.x, label=captions.day(d)) for m, (d, _, _) in zip(marks, points, strict=True))
    up = tuple(Tick(at=i * step / top, label=_number(i * step, captions)) for i in range(round(top / step) + 1))
    return Plot(title=title, marks=marks, across=_apart(across), up=up)


def _legible(marks: tuple[Mark, ...]) -> tuple[Mark, ...]:
    """Leave out numbers that would run into another: the first and the last stay, and the table has them all."""
    room = 0.09
    at, kept = marks[0].x, [marks[0]]
    for mark in marks[1:-1]:
        clear = mark.x - at >= room and marks[-1].x - mark.x >= room
        at = mark.x if clear else at
        kept.append(mark if clear else replace(mark, label=""))
    return (*kept, marks[-1])


def _apart(ticks: tuple[Tick, ...]) -> tuple[Tick, ...]:
    """Leave out dates that would run into another: the first and the last stay."""
    room = 0.3
    kept = [ticks[0]]
    for tick in ticks[1:-1]:
        if tick.at - kept[-1].at >= room and ticks[-1].at - tick.at >= room:
            kept.append(tick)
    return (*kept, ticks[-1])


def _step(highest: float) -> float:
    """Return a round distance between ticks: 1, 2 or 5 times a power of ten."""
    raw = max(highest, 1.0) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    return next(s * power for s in (1, 2, 5, 10) if s * power >= raw)


def _number(value: float, captions: Captions) -> str:
    # half up, as the report's own sentences round
    said = f"{math.floor(value + 0.5)}" if value >= 10 or value == int(value) else f"{value:.1f}"  # noqa: PLR2004 - readable digits
    return said.replace(".", captions.decimal_mark)
