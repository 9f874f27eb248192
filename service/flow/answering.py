"""A person's answers, put into a report. Pure; what follows from them is for `service.flow.derive`.

A confirmed proposal keeps where it came from; anything else is the person's own statement. Nothing confirms everything at once: each
answer is named, or is one of the rest of a list about which the person says one and the same thing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from service.errors import AnswerError
from service.flow.carry import Rank, rank
from service.flow.derivations.impression import PROPOSED
from service.flow.given import THE_REST, Given, What
from service.flow.subjects import find, located
from service.flow.valuation import is_not_evaluated, not_evaluated, values_of
from service.model.code import Code
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status, Value
from service.model.study import Study
from service.settings import Clinical
from sr_templates import Item, Template
from sr_templates.evaluate import DEFAULTS
from sr_templates.language.values import Fill
from sr_templates.order import canonical

_CLOSE = 3
#: a reason is one line beside an answer
MAX_REASON = 500
_NOT_ASKED = {
    Fill.AUTOMATIC: "is recorded by the software and not answered",
    Fill.DERIVED: "follows from other answers: change those",
    Fill.SIGNING: "is filled in when the report is signed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    template: Template
    study: Study
    who: str
    clinical: Clinical


def apply(
    report: Report,
    given: Iterable[Given],
    *,
    template: Template,
    study: Study,
    who: str,
    clinical: Clinical = DEFAULTS,
) -> Report:
    """Return ``report`` with the answers of a person, in the one order; `derive` has to follow.

    Parameters
    ----------
    report, template, study:
        What is answered. New lesions and structures get tracking UIDs of the study's patient.
    given:
        The answers, in the order in which they were given: a later one stands. ``*`` is about what is left when its turn comes.
    who:
        Who answers (PN).
    clinical:
        Thresholds of conditions.

    Raises
    ------
    AnswerError
        A line for each answer that does not fit, in the words of the form; nothing is taken then.
    """
    work = _Work(template=template, study=study, who=who, clinical=clinical)
    problems: list[str] = []
    for one in given:
        try:
            report = _answered(report, one, work)
        except AnswerError as error:
            problems += error.problems
    nowhere = [s.key for s in report.subjects if s.scope is Scope.NODE and s.structure is None]
    if nowhere and not problems:
        row = template.matrix(Scope.NODE)
        problems += [
            f"{key}: say at which station it lies: {row.item if row else 'station'}@{key}=…" for key in nowhere
        ]
    if problems:
        raise AnswerError(tuple(dict.fromkeys(problems)))
    return canonical(_without_empty(report), template)


def _answered(report: Report, given: Given, work: _Work) -> Report:
    item = _item(work.template, given.item)
    if len(given.reason) > MAX_REASON:
        raise AnswerError(
            (f"{item.label}: the reason has {len(given.reason)} characters, and {MAX_REASON} are the most",)
        )
    if item.fill is Fill.ROW:
        return _placed(report, given, item, work)
    if item.fill in _NOT_ASKED:
        raise AnswerError((f"{item.label} ({item.key}) {_NOT_ASKED[item.fill]}",))
    if not item.applies_to(report.modalities) and given.what is not What.CLEAR:
        wanted = ", ".join(item.modalities)
        raise AnswerError(
            (f"{item.label} ({item.key}) is asked of {wanted}; this study is {', '.join(report.modalities)}",)
        )
    asked = find(report, work.template, work.study, item, given.subject, work.clinical)
    if given.subject == THE_REST and given.what in {What.CONFIRM, What.CLEAR}:
        raise AnswerError(
            (f"{item.label} ({item.key}): '*' is for what has no answer yet; name each that is to be changed",)
        )
    report = asked.report
    for key in asked.keys:
        report = _one(report, given, item, key, work)
    return report


def _one(report: Report, given: Given, item: Item, subject: str, work: _Work) -> Report:
    match given.what:
        case What.CONFIRM:
            return _confirmed(report, item, subject, given, work)
        case What.CLEAR:
            return _cleared(report, item, subject)
        case What.NOT_EVALUATED:
            return _stated(report, item, subject, (not_evaluated(),), given, work)
        case What.VALUES:
            if len(given.values) == 1 and is_not_evaluated(given.values[0]):
                return _stated(report, item, subject, (not_evaluated(),), given, work)
            return _stated(report, item, subject, values_of(item, given.values), given, work)


def _item(template: Template, key: str) -> Item:
    found = template.item(key)
    if found is not None:
        return found
    wanted = " ".join(key.casefold().split())
    by_name = [i for i in template if wanted in {i.key.casefold(), i.label.casefold()}]
    if len(by_name) == 1:
        return by_name[0]
    keys = {i.key.casefold(): i.key for i in template} | {i.label.casefold(): i.key for i in template}
    close = dict.fromkeys(keys[k] for k in difflib.get_close_matches(wanted, list(keys), n=_CLOSE, cutoff=0.6))
    hint = f": did you mean {', '.join(close)}?" if close else ": 'lms-sr report show' lists the questions"
    raise AnswerError((f"there is no question '{key}' in template '{template.key}'{hint}",))


# --- what is done to an answer -------------------------------------------------------------------------------------------


def _confirmed(report: Report, item: Item, subject: str, given: Given, work: _Work) -> Report:
    there = report.answers_of(item.key, subject)
    if not there:
        about = f" about {subject}" if subject else ""
        raise AnswerError((f"{item.label} ({item.key}){about} has no proposal to confirm: give a value",))
    return _replaced(report, there, [_as_confirmed(a, " ".join(given.reason.split()), work.who) for a in there])


def _as_confirmed(answer: Answer, reason: str, who: str) -> Answer:
    """Return an answer as a person's: a proposal that is confirmed, or an answer that is given a reason."""
    if answer.status is Status.PROPOSED:
        values = tuple(_as_own(v) for v in answer.values)
        return replace(answer, values=values, status=Status.CONFIRMED, observer=who, reason=reason or answer.reason)
    if answer.status is not Status.CONFIRMED or not reason or reason == answer.reason:
        return answer
    # what somebody verified elsewhere is now stated here, and gives way to nothing that is verified elsewhere
    basis = "" if rank((answer,)) is Rank.VERIFIED else answer.basis
    return replace(answer, observer=who, reason=reason, basis=basis)


def _as_own(value: Value) -> Value:
    """Return a value as the person's own words: a sentence that a person confirms proposes nothing any more."""
    return value.replace(PROPOSED, "") if isinstance(value, str) else value


def _cleared(report: Report, item: Item, subject: str) -> Report:
    there = report.answers_of(item.key, subject)
    if not there:
        about = f" about {subject}" if subject else ""
        raise AnswerError((f"{item.label} ({item.key}){about} has no answer to take back",))
    return _replaced(report, there, [])


def _stated(report: Report, item: Item, subject: str, values: tuple[Value, ...], given: Given, work: _Work) -> Report:
    is_open = any(isinstance(v, Code) and v.same(not_evaluated()) for v in values)
    if is_open and not given.reason.strip():
        about = f"@{subject}" if subject else ""
        why = "a reader has to know why something was not evaluated: give a reason (--reason '…'; of an amendment, --answer-reason '…')"
        raise AnswerError((f"{item.key}{about}: {why}",))
    there = report.answers_of(item.key, subject)
    if len(there) == 1 and _same(there[0].values, values):
        # what the software proposed is what the person says: where it came from stays, and so does its line on the image
        return _confirmed(report, item, subject, given, work)
    first = there[0] if there and not is_open else None
    stated = Answer(
        item=item.key,
        subject=subject,
        values=values,
        status=Status.CONFIRMED,
        provenance=Provenance.RADIOLOGIST,
        # a number stands under the statistic that it stood under; the line that it was measured with is gone
        derivation=first.derivation if first else None,
        reason=" ".join(given.reason.split()),
        observer=work.who,
    )
    return _replaced(report, there, [stated])


def _same(one: tuple[Value, ...], other: tuple[Value, ...]) -> bool:
    def plain(value: Value) -> object:
        match value:
            case Code():
                return value.value, value.scheme
            case Quantity(number=Decimal() as number):
                return number, value.unit.value
            case _:
                return value

    return {plain(v) for v in one} == {plain(v) for v in other}


def _replaced(report: Report, old: tuple[Answer, ...], new: list[Answer]) -> Report:
    gone = {id(a) for a in old}
    return replace(report, answers=(*(a for a in report.answers if id(a) not in gone), *new))


def _placed(report: Report, given: Given, item: Item, work: _Work) -> Report:
    """Name a structure: a node's station, or a row that is to stand (or, cleared, not to stand) in the report."""
    found = item.scope in {Scope.NODE, Scope.CANDIDATE} and given.what is What.VALUES
    if given.subject == THE_REST and (found or given.what is What.CLEAR):
        raise AnswerError(
            (f"{item.label} ({item.key}) names what a row is about: '*' names none; name each by itself",)
        )
    if item.scope is Scope.NODE and given.what is What.VALUES:
        asked = find(report, work.template, work.study, item, given.subject)
        values = [v for v in values_of(item, given.values) if isinstance(v, Code)]
        (key,), station = asked.keys, values[0]
        subjects = tuple(located(s, station) if s.key == key else s for s in asked.report.subjects)
        return replace(asked.report, subjects=subjects)
    if item.scope is Scope.CANDIDATE and given.what is What.VALUES:
        for name in given.values:
            report = find(report, work.template, work.study, item, name).report
        return report
    if given.what is What.CLEAR and given.subject:
        there = find(report, work.template, work.study, item, given.subject).keys[0]
        return replace(
            report,
            subjects=tuple(s for s in report.subjects if s.key != there),
            answers=tuple(a for a in report.answers if a.subject != there),
        )
    why = f"answer what is asked about it: ITEM@{given.subject or 'NAME'}=…"
    raise AnswerError((f"{item.label} ({item.key}) names what a row is about; {why}",))


def _without_empty(report: Report) -> Report:
    """Return the report without structures that nothing is said about (a candidate that was named says something by itself)."""
    about = {a.subject for a in report.answers}
    kept = tuple(
        s
        for s in report.subjects
        if s.key in about or s.scope in {Scope.SERIES, Scope.LESION, Scope.NODE, Scope.CANDIDATE}
    )
    return replace(report, subjects=kept)
