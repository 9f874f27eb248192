"""The page as PDF/A-2a: laid out by Typst from data, so that no text can become markup; the same content gives the same bytes.

Only the fonts of this package are used, never those of the machine. The PDF's dates are the content's.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import functools
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources

import typst
from PIL import Image

from service.page import legible
from service.page.content import Captions, CourseTable, Matrix, PageContent, Picture, Row, Table
from service.page.plot import Plot, plots

#: the most pages: a report with an answer to everything about three lesions takes seven. What is larger is no report that a person wrote:
#: it is cut, and the page says so
MOST_PAGES = 12
#: the most key images
MOST_PICTURES = 3
_PAGES = re.compile(rb"<xmpTPg:NPages>(\d+)</xmpTPg:NPages>")

Clean = Callable[[str, int, legible.More], str]
Line = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fit:
    """How much is shown: size of type in points, characters of a text, rows of a table, entries of a list, tables of a kind."""

    type_size: float
    text: int = 1500
    rows: int = 200
    lines: int = 60
    tables: int = 40


#: what may bring two pages to one
_ONE_PAGE = _Fit(type_size=7.2)
#: tried in turn: a comfortable size, then less of what is over-long
_FITS = (
    _Fit(type_size=8.0),
    _Fit(type_size=7.2, text=700, rows=120, lines=45, tables=24),
    _Fit(type_size=7.2, text=240, rows=50, lines=24, tables=16),
    _Fit(type_size=7.0, text=60, rows=16, lines=10, tables=8),
    _Fit(type_size=7.0, text=24, rows=4, lines=4, tables=4),
    _Fit(type_size=7.0, text=24, rows=2, lines=2, tables=1),
)
#: bytes of data that so many pages of the smallest type may hold at most: more is not even tried
_HOPELESS = 360_000
#: characters of an impression that are never cut: as many as its item takes
_IMPRESSION = 1024
#: characters of what stands in the head and has no room to run on
_HEAD = 120
_MOST_COLUMNS = 8
_MOST_FEATURES = 12
#: characters of what the page says itself: origin, status, foot
_OWN_WORDS = 200


def page(content: PageContent) -> bytes:
    """Return the page as PDF/A-2a: one A4 page where everything fits on one, else as many as it takes, up to `MOST_PAGES`.

    Characters that no font of the page has are written as their code points; a text that is too long is cut and says so.
    """
    fit = _fitting(content)
    return _laid_out(content, fit, drawn=True)


def _fitting(content: PageContent) -> _Fit:
    """Return how much is shown, tried with blank pictures: most of the time of a layout goes into packing them."""
    for fit in _FITS:
        if len(_json(content, fit, legible.legible)) > _HOPELESS and fit is not _FITS[-1]:
            continue
        pages = page_count(_laid_out(content, fit, drawn=False))
        if pages == 2 and fit is _FITS[0]:  # noqa: PLR2004 - with fewer there is nothing to gain, with more no hope
            return _ONE_PAGE if page_count(_laid_out(content, _ONE_PAGE, drawn=False)) == 1 else fit
        if pages <= MOST_PAGES:
            return fit
    return _FITS[-1]


def page_count(pdf: bytes) -> int:
    """Return the number of pages that a PDF of ours says it has (XMP, ``xmpTPg:NPages``).

    Raises
    ------
    ValueError
        It says nothing.
    """
    found = _PAGES.search(pdf)
    if found is None:
        raise ValueError("the PDF does not say how many pages it has")
    return int(found[1])


def _laid_out(content: PageContent, fit: _Fit, *, drawn: bool) -> bytes:
    try:
        return _compiled(content, _json(content, fit, legible.legible), drawn=drawn)
    except typst.TypstError:
        # a combination of characters that no font has together: nothing but ASCII then, and code points for the rest
        data = _json(content, fit, lambda text, limit, more: legible.ascii_only(legible.legible(text, limit, more)))
        return _compiled(content, data, drawn=drawn)


def _compiled(content: PageContent, data: bytes, *, drawn: bool) -> bytes:
    files: dict[str, bytes] = {"main.typ": _layout(), "data.json": data}
    for index, picture in enumerate(content.pictures[:MOST_PICTURES]):
        files[f"picture-{index}.svg"] = _wrapped(picture, drawn=drawn)
    pdf = typst.compile(
        files,  # type: ignore[call-overload] # its annotation lags behind: files may be a mapping of names to bytes
        format="pdf",
        font_paths=_fonts(),
        pdf_standards=["a-2a"],
        # fixed offsets and whole seconds only
        timestamp=content.created_at.astimezone(dt.UTC).replace(microsecond=0),
    )
    if not isinstance(pdf, bytes):
        raise TypeError("the layout gave no single document")
    return pdf


def png(picture: Picture) -> bytes:
    """Return a picture as PNG."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (picture.columns, picture.rows), picture.rgb).save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()


def _wrapped(picture: Picture, *, drawn: bool) -> bytes:
    """Return a picture as text, since files that are handed to the layout have to be UTF-8: PNG within SVG, or a blank of its size."""
    size = f'width="{picture.columns}" height="{picture.rows}"'
    data = base64.b64encode(png(picture)).decode() if drawn else ""
    image = f'<image {size} href="data:image/png;base64,{data}"/>' if drawn else f"<rect {size}/>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{image}</svg>'.encode()


@functools.cache
def _layout() -> bytes:
    return resources.files("service.page").joinpath("layout.typ").read_bytes()


@functools.cache
def _fonts() -> typst.Fonts:
    return typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(legible.fonts_folder())]
    )


# --- data for the layout: nothing but texts, numbers and lists ----------------------------------------------------------


def _json(content: PageContent, fit: _Fit, clean: Clean) -> bytes:
    captions, more = content.captions, content.captions.characters

    def said(value: str) -> str:
        return clean(value, max(fit.text, _IMPRESSION), more)

    def line(value: str) -> str:
        return clean(" ".join(value.split("\n")), fit.text, more)

    def own(value: str) -> str:
        # "not confirmed" must never be cut off
        return clean(" ".join(value.split("\n")), _OWN_WORDS, more)

    def short(value: str) -> str:
        return clean(" ".join(value.split("\n")), min(fit.text, _HEAD), more)

    kinds = (content.courses, content.lesions, content.matrices, content.sections)
    left_out = sum(max(0, len(k) - fit.tables) for k in kinds) + max(0, len(content.evidence) - fit.lines)

    data = {
        "size": fit.type_size,
        "title": own(content.title),
        "banner": own(content.banner),
        "status": own(content.status),
        "patient": short(content.patient),
        "facts": [[f.label, short(f.value)] for f in content.facts[:6]],
        "impression": [[line(p.label), said(p.text), own(p.whence)] for p in content.impression[: fit.lines]],
        "pictures": [
            {"file": f"picture-{i}.svg", "caption": line(p.caption)}
            for i, p in enumerate(content.pictures[:MOST_PICTURES])
        ],
        "more_pictures": max(0, len(content.pictures) - MOST_PICTURES),
        "plots": [
            _plot(p, line) for p in plots(content.history, content.history_label, captions, content.volume_label)
        ],
        "courses": [_course(c, fit, line, captions) for c in content.courses[: fit.tables]],
        "lesions": [_table(t, fit, line, own, captions) for t in content.lesions[: fit.tables]],
        "matrices": [_matrix(m, fit, line, own) for m in content.matrices[: fit.tables]],
        "evidence": [
            [
                line(e.diagnosis),
                [line(f) for f in e.favours[: min(fit.lines, _MOST_FEATURES)]],
                [line(f) for f in e.argues_against[: min(fit.lines, _MOST_FEATURES)]],
                line(e.source),
            ]
            for e in content.evidence[: fit.lines]
        ],
        "sections": [_table(t, fit, line, own, captions) for t in content.sections[: fit.tables]],
        "open_items": _cut(content.open_items, fit.lines, line, captions),
        "remarks": _cut(content.remarks, fit.lines, line, captions),
        "left_out": left_out,
        "words": {f.name: getattr(captions, f.name) for f in dataclasses.fields(captions)},
        "foot": [own(content.version), own(content.sop_instance_uid), own(content.made_by)],
    }
    return json.dumps(data, ensure_ascii=False).encode()


def _cut(texts: tuple[str, ...], most: int, line: Line, captions: Captions) -> list[str]:
    shown = [line(t) for t in texts[:most]]
    return [*shown, captions.more.format(count=len(texts) - most)] if len(texts) > most else shown


def _table(table: Table, fit: _Fit, line: Line, own: Line, captions: Captions) -> dict[str, object]:
    return {
        "title": line(table.title),
        "whence": own(table.whence),
        "rows": [_row(table, r, line, own) for r in table.rows[: fit.rows]],
        "more": max(0, len(table.rows) - fit.rows),
        "remarks": _cut(table.remarks, fit.lines, line, captions),
    }


def _row(table: Table, row: Row, line: Line, own: Line) -> dict[str, object]:
    return {
        "item": line(row.item),
        "value": line(row.value),
        "unit": line(row.unit),
        "code": line(row.code),
        "whence": own(table.origin(row)),
        "basis": line(row.basis),
        "proposed": row.proposed,
        "numeric": row.numeric,
        "wide": row.wide,
    }


def _course(table: CourseTable, fit: _Fit, line: Line, captions: Captions) -> dict[str, object]:
    # the first and the last are what a course is about
    rows = table.rows if len(table.rows) <= fit.rows else (table.rows[0], *table.rows[1 - max(fit.rows, 2) :])
    left_out = table.left_out + len(table.rows) - len(rows)
    return {
        "title": line(table.title),
        "columns": list(zip(table.columns, table.units, strict=True)),
        "rows": [
            {"date": line(r.date), "cells": list(r.cells), "stands": r.stands, "proposed": r.proposed, "here": r.here}
            for r in rows
        ],
        "more": captions.more_examinations.format(count=left_out) if left_out else "",
    }


def _matrix(matrix: Matrix, fit: _Fit, line: Line, own: Line) -> dict[str, object]:
    return {
        "title": line(matrix.title),
        "columns": [line(c) for c in matrix.columns[:_MOST_COLUMNS]],
        "lines": [
            {
                "name": line(m.name),
                "remark": line(m.remark),
                "cells": [[line(c.text), c.proposed] for c in m.cells[:_MOST_COLUMNS]],
            }
            for m in matrix.lines[: fit.rows]
        ],
        "more": max(0, len(matrix.lines) - fit.rows),
        "whence": own(matrix.whence),
    }


def _plot(plot: Plot, line: Line) -> dict[str, object]:
    return {
        "title": line(plot.title),
        "marks": [[m.x, m.y, m.label, m.proposed] for m in plot.marks],
        "across": [[t.at, t.label] for t in plot.across],
        "up": [[t.at, t.label] for t in plot.up],
    }
