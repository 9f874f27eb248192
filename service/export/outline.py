"""A template as a form: sections, questions, and the groups in which structures and lesions are asked about.

FHIR and MRRT name every field of a form. A question about the report as a whole bears the key of its item; one about a row of a matrix
bears the row behind it, as conditions write it (``ves.relation[ves.ivc]``); a group that repeats (lesions, nodes, candidates, structures
that no row lists) uses the plain keys, once for each repetition.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from service.model.code import Code
from service.model.report import Scope
from sr_templates import Item, Template, load_codes
from sr_templates.language.values import Fill, Matrix, Row

_TITLES: Mapping[Scope, str] = MappingProxyType(
    {
        Scope.SERIES: "Image series (one group each)",
        Scope.LESION: "Lesion (one group each)",
        Scope.VESSEL: "Further vessel (one group each)",
        Scope.ORGAN: "Further organ (one group each)",
        Scope.NODE: "Lymph node (one group each)",
        Scope.METASTASIS: "Further site of metastasis (one group each)",
        Scope.CANDIDATE: "Candidate diagnosis (one group each)",
    }
)


class Kind(enum.StrEnum):
    """What a part of a form is."""

    SECTION = "section"
    #: the rows of a matrix, and the group for structures that it does not list
    MATRIX = "matrix"
    #: one structure that is always asked about
    ROW = "row"
    #: a group that is repeated for each subject
    REPEATED = "repeated"
    QUESTION = "question"
    #: which structure a repeated group is about
    STRUCTURE = "structure"
    #: which side of it
    SIDE = "side"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a form."""

    kind: Kind
    #: unique in the form
    key: str
    text: str
    concept: Code | None = None
    item: Item | None = None
    scope: Scope = Scope.REPORT
    row: Row | None = None
    parts: tuple[Part, ...] = ()


def outline(template: Template) -> tuple[Part, ...]:
    """Return the sections of a template with all that they ask, in reading order.

    The questions about one kind of subject stand together, where the template first asks one of them.
    """
    seen: set[Scope] = set()
    sections = []
    for section in template.sections:
        parts: list[Part] = []
        for item in section.items:
            if item.scope is Scope.REPORT:
                parts.append(_question(item, item.key))
            elif item.scope not in seen:
                seen.add(item.scope)
                parts.append(_subjects(template, item.scope))
        if parts:
            sections.append(
                Part(
                    kind=Kind.SECTION,
                    key=f"section.{section.key}",
                    text=section.heading.meaning,
                    concept=section.heading,
                    parts=tuple(parts),
                )
            )
    return tuple(sections)


def _question(item: Item, key: str, row: Row | None = None) -> Part:
    kind = Kind.STRUCTURE if item.fill is Fill.ROW else Kind.QUESTION
    return Part(kind=kind, key=key, text=item.label, concept=item.concept, item=item, scope=item.scope, row=row)


def row_key(item: str, row: str) -> str:
    """Return how a question about a row is called."""
    return f"{item}[{row}]"


def _subjects(template: Template, scope: Scope) -> Part:
    asked = template.select(lambda i: i.scope is scope)
    matrix = template.matrix(scope)
    if matrix is None or not matrix.rows:
        return _repeated(scope, asked, structured=matrix is not None)
    return Part(
        kind=Kind.MATRIX,
        key=f"matrix.{scope}",
        text=matrix.prompt,
        scope=scope,
        parts=(*_rows(matrix, asked), _repeated(scope, asked, structured=True)),
    )


def _rows(matrix: Matrix, asked: Iterable[Item]) -> Iterator[Part]:
    rest = [i for i in asked if i.fill is not Fill.ROW]
    for row in matrix.rows:
        questions = (_question(i, row_key(i.key, row.key), row) for i in rest if not i.rows or row.key in i.rows)
        yield Part(
            kind=Kind.ROW,
            key=row_key(matrix.scope, row.key),
            text=row.label[:1].upper() + row.label[1:],
            concept=row.structure,
            scope=matrix.scope,
            row=row,
            parts=tuple(questions),
        )


def _repeated(scope: Scope, asked: Iterable[Item], *, structured: bool) -> Part:
    questions = [_question(i, i.key) for i in asked if not i.rows]
    if structured and scope is not Scope.CANDIDATE:
        side = load_codes()["tid.laterality"]
        questions.insert(1, Part(kind=Kind.SIDE, key=f"{scope}/side", text="Side", concept=side, scope=scope))
    return Part(kind=Kind.REPEATED, key=scope.value, text=_TITLES[scope], scope=scope, parts=tuple(questions))


def every(parts: Iterable[Part]) -> Iterator[Part]:
    """Yield all parts, outer ones before what they hold."""
    for part in parts:
        yield part
        yield from every(part.parts)
