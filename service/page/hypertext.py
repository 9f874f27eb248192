"""The page as one HTML file: same content and order as the PDF, nothing loaded from elsewhere, nothing that runs.

Every text is escaped; the content security policy forbids scripts, frames, forms and all sources but the pictures within the file.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
from collections.abc import Iterable, Iterator
from importlib import resources

from service.page.content import Cell, CourseTable, EvidenceRow, Matrix, PageContent, Row, Table
from service.page.legible import More, visible
from service.page.pdf import png
from service.page.plot import Plot, plots

#: characters of one text; the whole text stands in the report
_LONGEST = 20_000
_WIDTH, _HEIGHT = 420, 130
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 40, 22, 24


def web_page(content: PageContent) -> str:
    """Return the page as HTML that stands by itself."""
    parts = _Page(content).parts()
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    kind = "draft" if content.banner else "signed"
    language = html.escape(content.captions.language)
    return (
        f'<!doctype html>\n<html lang="{language}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">'
        f"<title>{_text(content.title, content.captions.characters)}</title><style>{style}</style></head>\n"
        f'<body class="{kind}">\n' + "\n".join(parts) + "\n</body></html>\n"
    )


@functools.cache
def _style() -> str:
    return resources.files("service.page").joinpath("style.css").read_text(encoding="utf-8")


def _text(value: str, more: More) -> str:
    return html.escape(visible(value, _LONGEST, more))


class _Page:
    """Writes the parts of one page in the language of its captions."""

    def __init__(self, content: PageContent) -> None:
        self._content = content
        self._captions = content.captions

    def parts(self) -> list[str]:
        """Return the parts in reading order."""
        content, captions = self._content, self._captions
        return [
            *self._head(),
            *self._impression(),
            *self._figures(),
            *(part for c in content.courses for part in self._course(c)),
            *self._answers(captions.tumour, content.lesions),
            *(part for m in content.matrices for part in self._matrix(m)),
            *self._evidence(content.evidence),
            *self._answers(captions.report, content.sections),
            *self._open(content.open_items),
            *self._foot(),
        ]

    def _text(self, value: str) -> str:
        return _text(value, self._captions.characters)

    def _head(self) -> Iterator[str]:
        # dir="auto": a name in Arabic or Hebrew keeps its own direction
        banner = (
            f'<p class="banner" role="status">{self._text(self._content.banner)}</p>' if self._content.banner else ""
        )
        name = f'<h1 dir="auto">{self._text(self._content.patient)}</h1>'
        yield f'<header class="head"><div><p class="kind">{self._text(self._content.title)}</p>{name}</div>{banner}</header>'
        facts = "".join(
            f'<div><dt>{self._text(f.label)}</dt><dd dir="auto">{self._text(f.value)}</dd></div>'
            for f in self._content.facts
        )
        yield f'<dl class="facts">{facts}</dl>'
        yield f'<p class="status">{self._text(self._content.status)}</p>'

    def _impression(self) -> Iterator[str]:
        yield '<section class="impression">'
        for paragraph in self._content.impression:
            whence = f' <span class="proposed">({self._text(paragraph.whence)})</span>' if paragraph.whence else ""
            yield f'<h2>{self._text(paragraph.label)}{whence}</h2><p dir="auto">{self._text(paragraph.text)}</p>'
        note = self._text(self._captions.note)
        yield from (f'<p class="note">{note}: {self._text(r)}</p>' for r in self._content.remarks)
        yield "</section>"

    def _figures(self) -> Iterator[str]:
        content = self._content
        drawn = plots(content.history, content.history_label, self._captions, content.volume_label)
        if not self._content.pictures and not drawn:
            return
        yield '<div class="figures">'
        for picture in self._content.pictures:
            caption = self._text(picture.caption)
            size = f'width="{picture.columns}" height="{picture.rows}"'
            data = base64.b64encode(png(picture)).decode()
            yield f'<figure><img {size} alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
        if drawn:
            yield '<div class="courses">'
            for plot in drawn:
                yield f"<figure><figcaption>{self._text(plot.title)}</figcaption>{self._svg(plot)}</figure>"
            yield "</div>"
        yield "</div>"
        if any(m.proposed for p in drawn for m in p.marks):
            yield f'<p class="note">{self._text(self._captions.hollow)}</p>'

    def _svg(self, plot: Plot) -> str:
        def x(at: float) -> float:
            return round(_LEFT + at * (_WIDTH - _LEFT - _RIGHT), 1)

        def y(at: float) -> float:
            return round(_TOP + (1 - at) * (_HEIGHT - _TOP - _BOTTOM), 1)

        parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{self._text(plot.title)}">']
        for tick in plot.up:
            parts.append(f'<line class="grid" x1="36" x2="{_WIDTH - 22}" y1="{y(tick.at)}" y2="{y(tick.at)}"/>')
            parts.append(f'<text x="32" y="{y(tick.at) + 4}" text-anchor="end">{self._text(tick.label)}</text>')
        foot = f'y="{_HEIGHT - 7}" text-anchor="middle"'
        parts.extend(f'<text x="{x(tick.at)}" {foot}>{self._text(tick.label)}</text>' for tick in plot.across)
        course = " ".join(f"{x(m.x)},{y(m.y)}" for m in plot.marks)
        parts.append(f'<polyline class="line" points="{course}"/>')
        for mark in plot.marks:
            kind = "dot proposed" if mark.proposed else "dot"
            parts.append(f'<circle class="{kind}" cx="{x(mark.x)}" cy="{y(mark.y)}" r="4"/>')
            at = f'x="{x(mark.x)}" y="{y(mark.y) - 9}"'
            parts.append(f'<text class="number" {at} text-anchor="middle">{self._text(mark.label)}</text>')
        return "".join(parts) + "</svg>"

    def _course(self, table: CourseTable) -> Iterator[str]:
        words = self._captions
        yield f"<h2>{self._text(table.title)}</h2>"
        columns = zip(table.columns, table.units, strict=True)
        heads = "".join(f'<th scope="col">{self._text(h)}<br>{self._text(u)}</th>' for h, u in columns)
        first, last = (f'<th scope="col">{self._text(h)}</th>' for h in (words.examined, words.stands))
        yield f'<div class="course"><table><thead><tr>{first}{heads}{last}</tr></thead><tbody>'
        for number, row in enumerate(table.rows):
            if number == 1 and table.left_out:
                more = self._text(words.more_examinations.format(count=table.left_out))
                yield f'<tr><td class="wide" colspan="{len(table.columns) + 2}">… {more} …</td></tr>'
            here = f" <small>({self._text(words.this_examination)})</small>" if row.here else ""
            cells = "".join(f'<td class="number">{self._text(c) or "–"}</td>' for c in row.cells)
            kind = "proposed" if row.proposed else "source"
            line = '<tr class="here">' if row.here else "<tr>"
            stands = f'<td class="{kind}">{self._text(row.stands)}</td>'
            yield f'{line}<th scope="row"><span>{self._text(row.date)}</span>{here}</th>{cells}{stands}</tr>'
        yield "</tbody></table></div>"

    def _answers(self, title: str, tables: tuple[Table, ...]) -> Iterator[str]:
        if not tables:
            return
        yield f"<h2>{self._text(title)}</h2>"
        words = self._captions
        item, value, code, source, note = (
            self._text(w) for w in (words.item, words.value, words.code, words.source, words.note)
        )
        heads = f'<th>{item}</th><th colspan="2">{value}</th><th>{code}</th><th>{source}</th>'
        yield f'<table class="answers"><thead><tr>{heads}</tr></thead>'
        for table in tables:
            common = (
                f'<span class="{self._kind(table.whence)}">{self._text(table.whence)}</span>' if table.whence else ""
            )
            yield f'<tbody><tr class="group"><th colspan="5">{self._text(table.title)}{common}</th></tr>'
            yield from (self._row(table, r) for r in table.rows)
            yield from (f'<tr><td class="wide" colspan="5">{note}: {self._text(r)}</td></tr>' for r in table.remarks)
            yield "</tbody>"
        yield "</table>"

    def _kind(self, whence: str) -> str:
        return "proposed" if whence.startswith(self._captions.proposed) else "said"

    def _row(self, table: Table, row: Row) -> str:
        head = f'<tr><th scope="row">{self._text(row.item)}</th>'
        if row.wide:
            return f'{head}<td class="wide" colspan="4">{self._text(row.value)}</td></tr>'
        if row.numeric:
            value = f'<td class="number">{self._text(row.value)}</td><td class="unit">{self._text(row.unit)}</td>'
        else:
            value = f'<td class="value" colspan="2" dir="auto">{self._text(row.value)}</td>'
        origin = table.origin(row)
        said = f'<span class="{self._kind(origin)}">{self._text(origin)}</span>' if origin else ""
        basis = f"{': ' if origin else ''}{self._text(row.basis)}" if row.basis else ""
        return f'{head}{value}<td class="code">{self._text(row.code)}</td><td class="source">{said}{basis}</td></tr>'

    def _grid(self, title: str, heads: Iterable[str], lines: Iterable[str]) -> Iterator[str]:
        yield f"<h2>{self._text(title)}</h2>"
        head = "".join(f"<th>{self._text(h)}</th>" for h in heads)
        yield f'<div class="matrix"><table><thead><tr>{head}</tr></thead><tbody>'
        yield from lines
        yield "</tbody></table></div>"

    def _matrix(self, matrix: Matrix) -> Iterator[str]:
        def line(name: str, remark: str, cells: tuple[Cell, ...]) -> str:
            said = f' <span class="note">({self._text(remark)})</span>' if remark else ""
            return f'<tr><th scope="row">{self._text(name)}{said}</th>{"".join(self._cell(c) for c in cells)}</tr>'

        yield from self._grid(
            matrix.title, ("", *matrix.columns), (line(m.name, m.remark, m.cells) for m in matrix.lines)
        )
        if matrix.whence:
            yield f'<p class="note">{self._text(self._captions.source)}: {self._text(matrix.whence)}</p>'

    def _cell(self, cell: Cell) -> str:
        doubt = f' <span class="proposed">{self._text(self._captions.proposed)}</span>' if cell.proposed else ""
        return f'<td class="value">{self._text(cell.text)}{doubt}</td>' if cell.text else '<td class="source">–</td>'

    def _evidence(self, rows: tuple[EvidenceRow, ...]) -> Iterator[str]:
        if not rows:
            return

        def line(row: EvidenceRow) -> str:
            favours, against = (
                "; ".join(self._text(f) for f in given) or "–" for given in (row.favours, row.argues_against)
            )
            diagnosis = f'<th scope="row"><strong>{self._text(row.diagnosis)}</strong></th>'
            return f'<tr>{diagnosis}<td>{favours}</td><td>{against}</td><td class="source">{self._text(row.source)}</td></tr>'

        words = self._captions
        heads = (words.diagnosis, words.favours, words.argues_against, words.reference)
        yield from self._grid(words.differential, heads, map(line, rows))

    def _open(self, items: tuple[str, ...]) -> Iterator[str]:
        if items:
            yield f"<h2>{self._text(self._captions.open_items)}</h2><p>{' · '.join(self._text(i) for i in items)}</p>"

    def _foot(self) -> Iterator[str]:
        uid = (
            f"<p>SOP Instance UID {self._text(self._content.sop_instance_uid)}</p>"
            if self._content.sop_instance_uid
            else ""
        )
        yield f"<footer><p>{self._text(self._content.version)} · {self._text(self._content.made_by)}</p>{uid}</footer>"
