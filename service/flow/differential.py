"""For each candidate diagnosis: which of its findings this report has, which it contradicts, which it does not tell.

No probability, no score, no order by likelihood and no diagnosis: the radiologist weighs them, and a core biopsy decides.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from service.model.code import Code
from service.model.report import Answer, Report, Scope, Status
from service.settings import Clinical
from sr_templates import Template, load_codes
from sr_templates.evaluate import DEFAULTS, about, evaluated, holds
from sr_templates.language.conditions import FACTS, All, Condition, Not, Operator, Some, Test, tests
from sr_templates.language.evidence import Candidate, Feature, Mark, load_candidates
from sr_templates.language.values import Fill, Row

FAVOURS = "features that favour"
AGAINST = "features that argue against"
_LMS = "hist.lms.retro"


class State(enum.StrEnum):
    """What a report says of a finding."""

    PRESENT = "present"
    #: the answers say that it is not so
    CONTRADICTED = "contradicted"
    #: not answered, not evaluated, undetermined
    UNKNOWN = "unknown"
    #: no item records it: a reader is asked to look
    NOT_RECORDED = "not recorded here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A finding of a candidate, and what this report says of it."""

    words: str
    state: State
    #: the answers that it rests on, proposed or confirmed as they are
    rests_on: tuple[Answer, ...] = ()
    #: facts of the patient that it rests on beside them: ``patient.age``, ``patient.sex``
    facts: tuple[str, ...] = ()
    #: key of the value of ``dd.feature`` that says it; empty: none does
    feature: str = ""

    @property
    def proposed(self) -> bool:
        """Say whether one of its answers is a proposal that nobody confirmed."""
        return any(a.status is Status.PROPOSED for a in self.rests_on)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """A candidate with its findings, in the order of ``differential.yaml``; nothing follows from that order."""

    key: str
    code: Code
    label: str
    mark: Mark
    cite: str
    favours: tuple[Finding, ...]
    against: tuple[Finding, ...]

    @property
    def title(self) -> str:
        """Return the heading of the findings that favour it."""
        return "Features that favour LMS overall" if self.key == _LMS else f"Features that favour {self.label}"


def evidence(report: Report, template: Template, clinical: Clinical = DEFAULTS) -> tuple[EvidenceRow, ...]:
    """Return every candidate with what the report says of its findings.

    Parameters
    ----------
    report, template:
        The answers and their template. A finding of an item that the template does not have is not recorded here.
    clinical:
        The thresholds.
    """
    return tuple(_evidence_row(c, report, template, clinical) for c in load_candidates())


def evidence_for(code: Code, report: Report, template: Template, clinical: Clinical = DEFAULTS) -> EvidenceRow | None:
    """Return the row of one candidate, or None where the table has none."""
    found = next((c for c in load_candidates() if c.code.same(code)), None)
    return _evidence_row(found, report, template, clinical) if found else None


def _evidence_row(candidate: Candidate, report: Report, template: Template, clinical: Clinical) -> EvidenceRow:
    return EvidenceRow(
        key=candidate.key,
        code=candidate.code,
        label=candidate.label,
        mark=candidate.mark,
        cite=candidate.cite,
        favours=tuple(_finding(f, report, template, clinical) for f in candidate.favours),
        against=tuple(_finding(f, report, template, clinical) for f in candidate.against),
    )


def _finding(feature: Feature, report: Report, template: Template, clinical: Clinical) -> Finding:
    used = tuple(tests(feature.when))
    names = [t.name.item for t in used]
    if feature.when is None or any(n not in FACTS and template.item(n) is None for n in names):
        return Finding(words=feature.words, state=State.NOT_RECORDED, feature=feature.feature)
    subjects = _asked_about(feature, report, template, clinical)
    results = [(s, _truth(feature.when, report, template, s, clinical)) for s in subjects]
    state = _STATES[_some(r for _, r in results)]
    # a structure that is not asked about is ruled out by what its row rests on
    used = (*used, *(r for t in used for r in _row_tests(t, report, template)))
    names = [t.name.item for t in used]
    # what decided: where one subject has the finding, the answers about that one
    deciding = [s for s, r in results if r] or [s for s, _ in results]
    answers = dict.fromkeys(
        a
        for s in deciding
        for t in used
        for a in (() if _names_rows(t, template) else _asked(t, report, template, s))
        if state is not State.UNKNOWN
    )
    facts = tuple(n for n in dict.fromkeys(names) if n.startswith("patient.") and state is not State.UNKNOWN)
    return Finding(words=feature.words, state=state, rests_on=tuple(answers), facts=facts, feature=feature.feature)


_STATES = {True: State.PRESENT, False: State.CONTRADICTED, None: State.UNKNOWN}


def _asked_about(feature: Feature, report: Report, template: Template, clinical: Clinical) -> tuple[str, ...]:
    """Return the subjects that a finding is looked for in; empty text: the report as a whole.

    Most is asked of the index tumour alone, so a lesion of which nothing is said does not leave the finding open.
    """
    if feature.of is None:
        return ("",)
    subjects = _subjects(feature.of, report, template, clinical)
    if feature.of is Scope.LESION:
        items = {t.name.item for t in tests(feature.when)}
        subjects = tuple(s for s in subjects if any(a.item in items and a.subject == s for a in report.answers))
    return subjects or ("",)


def _names_rows(test: Test, template: Template) -> bool:
    item = template.item(test.name.item)
    return item is not None and item.fill is Fill.ROW


def _subjects(scope: Scope, report: Report, template: Template, clinical: Clinical) -> tuple[str, ...]:
    matrix = template.matrix(scope)
    rows = [r.key for r in (matrix.rows if matrix else ()) if holds(r.when, report, template, r.key, clinical)]
    return tuple(dict.fromkeys((*rows, *(s.key for s in report.subjects_of(scope)))))


def _truth(condition: Condition, report: Report, template: Template, subject: str, clinical: Clinical) -> bool | None:
    """Return whether a condition holds; None where the answers do not tell (Kleene's three values)."""
    match condition:
        case Not():
            inner = _truth(condition.part, report, template, subject, clinical)
            return None if inner is None else not inner
        case All():
            return _every(_truth(p, report, template, subject, clinical) for p in condition.parts)
        case Some():
            return _some(_truth(p, report, template, subject, clinical) for p in condition.parts)
        case Test():
            return _test(condition, report, template, subject, clinical)


def _every(results: Iterator[bool | None]) -> bool | None:
    found = list(results)
    return False if False in found else None if None in found else True


def _some(results: Iterator[bool | None]) -> bool | None:
    found = list(results)
    return True if True in found else None if None in found else False


def _test(test: Test, report: Report, template: Template, subject: str, clinical: Clinical) -> bool | None:
    found = holds(test, report, template, subject, clinical)
    if test.operator in {Operator.ANSWERED, Operator.EVALUATED}:
        return found
    if test.name.item in FACTS:
        known = {"patient.age": report.patient_age is not None, "patient.sex": bool(report.patient_sex)}
        return found if known.get(test.name.item, True) else None
    if not _asked(test, report, template, subject):
        # a structure that is not asked about stands only when something is said about it
        return False if _not_there(test, report, template, clinical) else None
    # an absence, of a value or from a list of structures, needs every answer and every one of the structures
    absence = found if test.operator is Operator.NOT_IN else not found
    if absence and any(not _tells_all(a) for a in _about(test, report, template, subject)):
        return None
    if not found and not test.name.row and not _all_told(test, report, template, subject, clinical):
        return None
    return found


def _about(test: Test, report: Report, template: Template, subject: str) -> tuple[Answer, ...]:
    """Return the answers that a test looks at."""
    if test.name.item in FACTS:
        return ()
    return about(report, template, test.name.item, test.name.row or subject, row=bool(test.name.row))


def _asked(test: Test, report: Report, template: Template, subject: str) -> tuple[Answer, ...]:
    """Return the answers that a test looks at and that tell something."""
    return tuple(a for a in _about(test, report, template, subject) if evaluated(a) and _certain(a))


#: values that say that something is not known
_UNCERTAIN = ("v.undetermined", "v.unknown")


def _certain(answer: Answer) -> bool:
    """Say whether an answer has a value that is known."""
    uncertain = [load_codes()[k] for k in _UNCERTAIN]
    return any(not isinstance(v, Code) or not any(v.same(u) for u in uncertain) for v in answer.values)


def _tells_all(answer: Answer) -> bool:
    """Say whether what an answer does not name is not there: it was evaluated, and nothing in it is called unknown."""
    return evaluated(answer) and not any(answer.says(load_codes()[k]) for k in _UNCERTAIN)


def _not_there(test: Test, report: Report, template: Template, clinical: Clinical) -> bool:
    """Say whether a test is about a structure that nothing is said about and that nothing need be said about.

    It is no row of its matrix, or the row of a structure that this tumour is known not to lie near.
    """
    item = template.item(test.name.item)
    matrix = template.matrix(item.scope) if item and test.name.row else None
    if matrix is None or report.subject(test.name.row) is not None:
        return False
    row = _row_of(test, template)
    if row is None:
        return True
    return row.when is not None and _truth(row.when, report, template, "", clinical) is False


def _row_of(test: Test, template: Template) -> Row | None:
    return next((r for m in template.matrices for r in m.rows if r.key == test.name.row), None)


def _row_tests(test: Test, report: Report, template: Template) -> tuple[Test, ...]:
    """Return the tests that a row depends on which nothing is said about."""
    row = _row_of(test, template) if report.subject(test.name.row) is None else None
    return tuple(tests(row.when)) if row is not None else ()


def _all_told(test: Test, report: Report, template: Template, subject: str, clinical: Clinical) -> bool:
    item = template.item(test.name.item)
    matrix = template.matrix(item.scope) if item else None
    here = report.subject(subject)
    if item is None or matrix is None or (here is not None and here.scope is item.scope) or subject:
        return True
    rows = [k for k in _subjects(item.scope, report, template, clinical) if not item.rows or k in item.rows]
    told = {a.subject for a in _asked(test, report, template, subject)}
    return all(k in told for k in rows)
