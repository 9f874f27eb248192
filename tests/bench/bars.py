"""Bars on a logarithmic scale, as an SVG that any page can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LABEL, _ROOM, _ROW, _TITLE = 760, 210, 110, 22, 46
_OURS, _OTHERS, _INK, _GRID = "#00796b", "#90a4ae", "#212121", "#e0e0e0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A value above 0, and what stands beside it."""

    label: str
    value: float
    text: str
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Some bars under one heading."""

    title: str
    bars: tuple[Bar, ...]


def svg(title: str, panels: Sequence[Panel]) -> str:
    """Return the drawing; all panels share one scale, whose lines are powers of ten."""
    values = [bar.value for panel in panels for bar in panel.bars]
    low = math.floor(math.log10(min(values)) - 0.01)
    high = max(low + 1, math.ceil(math.log10(max(values))))
    span = _WIDTH - _LABEL - _ROOM
    height = sum(_TITLE + _ROW * len(panel.bars) for panel in panels) + 14

    def across(value: float) -> float:
        return round(_LABEL + span * (math.log10(value) - low) / (high - low), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    top = 0
    for panel in panels:
        bottom = top + _TITLE + _ROW * len(panel.bars)
        parts.append(f'<text x="8" y="{top + 22}" font-weight="bold" fill="{_INK}">{escape(panel.title)}</text>')
        for power in range(low, high + 1):
            x = across(10.0**power)
            parts.append(f'<line x1="{x}" y1="{top + _TITLE - 4}" x2="{x}" y2="{bottom - 2}" stroke="{_GRID}"/>')
            parts.append(f'<text x="{x}" y="{top + _TITLE - 8}" font-size="9" fill="{_INK}">{10.0**power:g}</text>')
        for number, bar in enumerate(panel.bars):
            y = top + _TITLE + _ROW * number
            length = max(1.0, across(bar.value) - _LABEL)
            parts.append(f'<text x="8" y="{y + 13}" fill="{_INK}">{escape(bar.label)}</text>')
            fill = _OURS if bar.ours else _OTHERS
            parts.append(f'<rect x="{_LABEL}" y="{y + 2}" width="{length:.1f}" height="{_ROW - 7}" fill="{fill}"/>')
            x = _LABEL + length + 5
            parts.append(f'<text x="{x:.1f}" y="{y + 13}" fill="{_INK}">{escape(bar.text)}</text>')
        top = bottom
    return "\n".join([*parts, "</svg>", ""])
