"""What an answer is about: found by key or by name, and made where the report does not have it yet."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from service.errors import AnswerError
from service.flow.given import THE_REST
from service.flow.prefill import tracking_uid
from service.flow.valuation import values_of
from service.model.code import Code
from service.model.report import Answer, Provenance, Report, Scope, Status, Subject, Uid
from service.model.study import Study
from service.model.uids import derived_uid
from service.settings import Clinical
from sr_templates import Item, Template, load_codes
from sr_templates.evaluate import DEFAULTS, holds
from sr_templates.language.loader import AFTER_STRUCTURE, side_of
from sr_templates.language.values import Fill, Matrix, Row

_NUMBERED: Mapping[Scope, str] = {Scope.LESION: "LMS-T", Scope.NODE: "LMS-LN"}
_CLOSE = 3
#: more lesions or nodes than a report names one by one
_MAX_NUMBER = 99
_IDENTIFIER, _UID = "tid.tracking_id", "tid.tracking_uid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The subjects that an answer is about, and the report in which they all stand."""

    keys: tuple[str, ...]
    report: Report


def structure_of_role(
    template: Template, study: Study, scope: Scope, role: str, side: str, *, touched: bool
) -> Subject | str | None:
    """Return the vessel or organ that a segment is, as it stands in a report of ``template``.

    Parameters
    ----------
    role, side:
        Keys of ``codes.csv``: ``ves.renal_v``, ``v.right``; an empty side: not known.
    touched:
        Whether the tumour touches it: what the template does not list in every report stands only then.

    Returns
    -------
    Subject or str or None
        A text says why the structure cannot be told; None: the template has no place for it.
    """
    matrix = template.matrix(scope)
    listed = template.item(matrix.item) if matrix else None
    if matrix is None or listed is None:
        return None
    word = side.removeprefix("v.")
    rows = {r.key: r for r in matrix.rows}
    sided = [r for r in matrix.rows if r.side is not None and r.key.partition(AFTER_STRUCTURE)[0] == role]
    if sided:
        row = rows.get(f"{role}{AFTER_STRUCTURE}{word}")
        if row is None:
            return "which side it is on is not known"
    else:
        row = rows.get(role)
    if row is not None and (touched or row.when is None):
        return _of_row(scope, study, row)
    if touched and row is None and role in listed.value_keys:
        return _of_value(scope, study, listed, matrix, role)
    return None


def structure_uid(study: Study, key: str) -> str:
    """Return the tracking UID of a structure of a patient: the same in every study."""
    return derived_uid("structure", study.patient.issuer, study.patient.patient_id, key)


def find(
    report: Report, template: Template, study: Study, item: Item, named: str, clinical: Clinical = DEFAULTS
) -> Asked:
    """Return what an answer to ``item`` about ``named`` is about.

    Parameters
    ----------
    report, template, study:
        What is answered; the patient makes the tracking UID of a subject that is new.
    item:
        The question.
    named:
        A key, a name ("right renal vein"), ``*`` for every subject without an answer, or empty.
    clinical:
        Thresholds of the conditions that say what ``*`` is asked about.

    Raises
    ------
    AnswerError
        Nothing is called so, or a subject has to be named.
    """
    if item.scope is Scope.REPORT:
        if named:
            msg = f"{item.label} ({item.key}) is asked of the report as a whole: leave out '@{named}'"
            raise AnswerError((msg,))
        return Asked(keys=("",), report=report)
    if named == THE_REST:
        return _rest(report, template, study, item, clinical)
    if not named:
        named = _only(report, template, item)
    there = _there(report, item.scope, named)
    if there is not None:
        _must_be_row(item, there.key)
        return Asked(keys=(there.key,), report=report)
    made = _made(report, template, study, item, named)
    _must_be_row(item, made.key)
    return Asked(keys=(made.key,), report=_with(report, template, made))


def _only(report: Report, template: Template, item: Item) -> str:
    there = report.subjects_of(item.scope)
    if item.scope is Scope.LESION and not there:
        # without a segmentation the index tumour has still to be described
        return f"{_NUMBERED[Scope.LESION]}1"
    if len(there) == 1 and item.scope in {Scope.LESION, Scope.SERIES}:
        return there[0].key
    names = _names(report, template, item)
    msg = f"{item.label} ({item.key}) is asked about each {item.scope.value}: write {item.key}@NAME{_shown(names)}"
    raise AnswerError((msg,))


def _names(report: Report, template: Template, item: Item) -> list[str]:
    """Return what an answer to ``item`` may be about: what is there, the rows of the list, else what the list may name."""
    there = [s.key for s in report.subjects_of(item.scope)]
    matrix = template.matrix(item.scope)
    rows = [r.key for r in (matrix.rows if matrix else ())]
    row_item = template.item(matrix.item) if matrix else None
    if item.scope in _NUMBERED:
        rows = [f"{_NUMBERED[item.scope]}{len(there) + 1}"]
    elif not rows and row_item is not None:
        rows = list(row_item.value_keys)
    return list(dict.fromkeys([*there, *rows]))


def _shown(names: list[str]) -> str:
    return f", where NAME is one of {', '.join(names)}" if names else ""


def _there(report: Report, scope: Scope, named: str) -> Subject | None:
    wanted = named.casefold()
    subjects = report.subjects_of(scope)
    return next(
        (s for s in subjects if s.key == named),
        next((s for s in subjects if wanted in {s.key.casefold(), s.tracking_id.casefold()}), None),
    )


def _made(report: Report, template: Template, study: Study, item: Item, named: str) -> Subject:
    """Return a new subject."""
    scope = item.scope
    if scope is Scope.SERIES:
        msg = f"the study has no {named}: it has {', '.join(s.key for s in report.subjects_of(scope)) or 'no series of images'}"
        raise AnswerError((msg,))
    if scope is Scope.LESION:
        key = _number(report, scope, named)
        return Subject(key=key, scope=scope, tracking_id=key, tracking_uid=tracking_uid(study, key))
    matrix = template.matrix(scope)
    row_item = template.item(matrix.item) if matrix else None
    if matrix is None or row_item is None:
        msg = f"the template has no list of {scope.value}s that '{named}' could be one of"
        raise AnswerError((msg,))
    if scope is Scope.NODE:
        return _node(report, study, named)
    row = _row(matrix, named)
    if row is not None:
        return _of_row(scope, study, row)
    return _of_value(scope, study, row_item, matrix, named)


def _number(report: Report, scope: Scope, named: str) -> str:
    prefix = _NUMBERED[scope]
    found = re.fullmatch(rf"{prefix}(\d{{1,2}})", named, re.IGNORECASE)
    following = len(report.subjects_of(scope)) + 1
    if found is None or not 1 <= int(found[1]) <= min(following, _MAX_NUMBER):
        there = ", ".join(s.key for s in report.subjects_of(scope)) or "none yet"
        msg = f"there is no {scope.value} '{named}': the report has {there}, a new one is {prefix}{following}"
        raise AnswerError((msg,))
    return f"{prefix}{int(found[1])}"


def _node(report: Report, study: Study, named: str) -> Subject:
    """Return a node that is named but has no station yet; its first answer has to be the station, which `located` puts in."""
    key = _number(report, Scope.NODE, named)
    return Subject(key=key, scope=Scope.NODE, tracking_id=key, tracking_uid=tracking_uid(study, key))


def located(subject: Subject, station: Code, side: Code | None = None) -> Subject:
    """Return a node at its station."""
    return replace(subject, structure=station, side=side or subject.side)


def _row(matrix: Matrix, named: str) -> Row | None:
    wanted = " ".join(named.casefold().split())
    return next((r for r in matrix.rows if r.key == named), None) or next(
        (r for r in matrix.rows if wanted in {r.key.casefold(), r.label.casefold()}), None
    )


def _of_row(scope: Scope, study: Study, row: Row) -> Subject:
    return Subject(
        key=row.key,
        scope=scope,
        tracking_id=row.label if scope is not Scope.CANDIDATE else row.structure.meaning,
        tracking_uid=structure_uid(study, row.key) if scope is not Scope.CANDIDATE else "",
        structure=row.structure,
        side=row.side,
    )


def _of_value(scope: Scope, study: Study, row_item: Item, matrix: Matrix, named: str) -> Subject:
    """Return a structure that the matrix does not list, but the item knows: "ves.sma", "ves.gonadal_v/left"."""
    name, _, word = named.partition(AFTER_STRUCTURE)
    codes = load_codes()
    side = None
    if word:
        if f"v.{word}" in codes:
            side = codes[f"v.{word}"]
        if not side_of(side):
            msg = f"'{word}' is no side: write {name}/right, {name}/left, {name}/midline or {name}/bilateral"
            raise AnswerError((msg,))
    try:
        (value,) = values_of(row_item, (name,))
    except AnswerError as error:
        listed = [r.key for r in matrix.rows]
        close = difflib.get_close_matches(named, [*listed, *(r.label for r in matrix.rows)], n=_CLOSE)
        hint = (
            f": did you mean {', '.join(close)}?" if close else f"; the rows are {', '.join(listed)}" if listed else ""
        )
        raise AnswerError((f"no {scope.value} is called '{named}'{hint}",)) from error
    if not isinstance(value, Code):
        raise AnswerError((f"no {scope.value} is called '{named}'",))
    key = next((k for k, v in zip(row_item.value_keys, row_item.values, strict=True) if v.same(value)), "")
    key = key or f"{value.scheme}:{value.value}"
    key = f"{key}{AFTER_STRUCTURE}{word}" if word else key
    row = Row(key=key, structure=value, side=side, label=f"{word} {value.meaning}".strip())
    return _of_row(scope, study, row)


def _must_be_row(item: Item, key: str) -> None:
    if item.rows and key not in item.rows:
        msg = f"{item.label} ({item.key}) is asked about {', '.join(item.rows)}, not about {key}"
        raise AnswerError((msg,))


def _rest(report: Report, template: Template, study: Study, item: Item, clinical: Clinical) -> Asked:
    """Return every subject that is asked ``item`` and has no answer: rows are made where the report does not have them."""
    matrix = template.matrix(item.scope)
    for row in matrix.rows if matrix else ():
        wanted = not item.rows or row.key in item.rows
        if wanted and report.subject(row.key) is None and holds(row.when, report, template, row.key, clinical):
            report = _with(report, template, _of_row(item.scope, study, row))
    keys = tuple(
        s.key
        for s in report.subjects_of(item.scope)
        if (not item.rows or s.key in item.rows)
        and not report.answers_of(item.key, s.key)
        and holds(item.when, report, template, s.key, clinical)
    )
    return Asked(keys=keys, report=report)


def _with(report: Report, template: Template, subject: Subject) -> Report:
    answers = report.answers
    if subject.scope is Scope.LESION:
        answers = (*answers, *_identity(template, subject))
    return replace(report, subjects=(*report.subjects, subject), answers=answers)


def _identity(template: Template, subject: Subject) -> Iterator[Answer]:
    """Yield the rows that every lesion's group begins with."""
    for key, value in ((_IDENTIFIER, subject.tracking_id), (_UID, Uid(subject.tracking_uid))):
        item = template.item(key)
        if item is not None and item.fill is Fill.AUTOMATIC:
            yield Answer(
                item=key, subject=subject.key, values=(value,), status=Status.AUTOMATIC, provenance=Provenance.RULE
            )
