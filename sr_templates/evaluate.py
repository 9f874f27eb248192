"""Whether a condition holds for the answers of a report."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from types import MappingProxyType

from service.model.code import Code
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status
from service.settings import Clinical
from sr_templates.codes import load_codes
from sr_templates.language.conditions import All, Condition, Not, Operator, Some, Test
from sr_templates.language.loader import NOT_EVALUATED
from sr_templates.language.values import Fill, Item, Template

DEFAULTS = Clinical()

_COMPARE: Mapping[Operator, Callable[[Decimal, Decimal], bool]] = MappingProxyType(
    {
        Operator.LESS: operator.lt,
        Operator.AT_MOST: operator.le,
        Operator.MORE: operator.gt,
        Operator.AT_LEAST: operator.ge,
    }
)


def holds(
    condition: Condition | None, report: Report, template: Template, subject: str = "", clinical: Clinical = DEFAULTS
) -> bool:
    """Say whether ``condition`` holds; no condition always does.

    Parameters
    ----------
    condition:
        The condition.
    report, template:
        The answers, and the template whose items the condition names.
    subject:
        The subject that is asked about: a test of an item of the same scope is about it alone, a test of an item of another scope about
        any subject that has it.
    clinical:
        The thresholds that ``threshold.…`` names.
    """
    match condition:
        case None:
            return True
        case Not():
            return not holds(condition.part, report, template, subject, clinical)
        case All():
            return all(holds(p, report, template, subject, clinical) for p in condition.parts)
        case Some():
            return any(holds(p, report, template, subject, clinical) for p in condition.parts)
        case Test():
            return _test(condition, report, template, subject, clinical)


def _test(test: Test, report: Report, template: Template, subject: str, clinical: Clinical) -> bool:
    if (fact := _fact(test, report)) is not None:
        return _fact_holds(test, fact, clinical)
    answers = about(report, template, test.name.item, test.name.row or subject, row=bool(test.name.row))
    if test.operator is Operator.ANSWERED:
        return bool(answers)
    if test.operator is Operator.EVALUATED:
        return any(evaluated(a) for a in answers)
    if test.operator in _COMPARE:
        limit = _limit(test, clinical)
        numbers = (v.number for a in answers for v in a.values if isinstance(v, Quantity) and v.number is not None)
        return any(_COMPARE[test.operator](n, limit) for n in numbers)
    if not answers:
        return False
    codes = load_codes()
    found = any(a.says(codes[key]) for a in answers for key in test.values)
    return found if test.operator is Operator.IN else not found


def about(report: Report, template: Template, item: str, subject: str, *, row: bool = False) -> tuple[Answer, ...]:
    """Return the answers that a test of ``item`` looks at, asked about ``subject`` (`holds` says which those are).

    The item that names the rows of a matrix has no answers: what stands for them are the structures of the subjects, not confirmed by
    anybody and in no report.
    """
    asked = template.item(item)
    if asked is None or asked.scope is Scope.REPORT:
        return report.answers_of(item)
    of_subject = report.subject(subject)
    scope = of_subject.scope if of_subject else _scope_of_row(template, subject)
    one = row or scope is asked.scope
    if asked.fill is Fill.ROW:
        return _structures(report, template, asked, subject if one else "")
    if one:
        return report.answers_of(item, subject)
    return tuple(a for a in report.answers if a.item == item)


def _structures(report: Report, template: Template, item: Item, subject: str) -> tuple[Answer, ...]:
    """Return the structure of a subject, or of every subject, as answers to the item that names the rows."""
    matrix = template.matrix(item.scope)
    found = {r.key: r.structure for r in (matrix.rows if matrix else ()) if r.key == subject}
    found |= {s.key: s.structure for s in report.subjects_of(item.scope) if s.structure and subject in {"", s.key}}
    return tuple(
        Answer(item=item.key, subject=k, values=(v,), status=Status.AUTOMATIC, provenance=Provenance.RULE)
        for k, v in found.items()
    )


def _scope_of_row(template: Template, key: str) -> Scope | None:
    return next((m.scope for m in template.matrices for r in m.rows if r.key == key), None)


def evaluated(answer: Answer) -> bool:
    """Say whether an answer says something: it has a value, and that is not Not Evaluated."""
    if answer.says(load_codes()[NOT_EVALUATED]):
        return False
    return any(not isinstance(v, Quantity) or v.number is not None for v in answer.values)


def _fact(test: Test, report: Report) -> tuple[str, ...] | None:
    match test.name.item:
        case "modality":
            return report.modalities
        case "template":
            return (report.template,)
        case "patient.sex":
            return (report.patient_sex,) if report.patient_sex else ()
        case "patient.age":
            return (str(report.patient_age),) if report.patient_age is not None else ()
        case _:
            return None


def _fact_holds(test: Test, fact: tuple[str, ...], clinical: Clinical) -> bool:
    if test.operator in _COMPARE:
        return any(_COMPARE[test.operator](Decimal(f), _limit(test, clinical)) for f in fact if f.isdigit())
    if test.operator in {Operator.ANSWERED, Operator.EVALUATED} or not fact:
        return bool(fact)
    return bool(set(fact) & set(test.values)) == (test.operator is Operator.IN)


def _limit(test: Test, clinical: Clinical) -> Decimal:
    if test.threshold:
        return Decimal(str(getattr(clinical, test.threshold)))
    return test.number if test.number is not None else Decimal(0)


def code_is(report: Report, item: str, subject: str, *keys: str) -> bool:
    """Say whether the answer to ``item`` about ``subject`` is one of the codes of ``keys``."""
    codes = load_codes()
    return any(a.says(codes[k]) for a in report.answers_of(item, subject) for k in keys)


def codes_of(report: Report, item: str, subject: str = "") -> tuple[Code, ...]:
    """Return the coded answers to ``item`` about ``subject``."""
    return tuple(v for a in report.answers_of(item, subject) for v in a.values if isinstance(v, Code))


def number_of(report: Report, item: str, subject: str = "") -> Decimal | None:
    """Return the first number that answers ``item`` about ``subject``, in the item's unit; None where there is none."""
    numbers = (v.number for a in report.answers_of(item, subject) for v in a.values if isinstance(v, Quantity))
    return next((n for n in numbers if n is not None), None)
