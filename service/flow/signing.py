"""What a report has to be before a person signs it, and what a signature adds to it. Pure."""

from __future__ import annotations

from dataclasses import replace

from service.errors import AnswerError, NotAllowed
from service.flow.rules import broken_rules
from service.flow.valuation import person_name, values_of
from service.model.prior import PriorReport
from service.model.report import Answer, PersonName, Provenance, Report, Status, Value
from service.model.signing import Person
from service.settings import Clinical
from service.sr import words
from sr_templates import Template
from sr_templates.order import canonical
from sr_templates.questions import State, prompts

#: who reports: filled in by signing
OBSERVER, ORGANISATION = "tid.person_observer_name", "tid.person_observer_org"
#: texts added to a signed report
ADDENDUM = "hd.addendum"
#: what stays of a withdrawn report
_IDENTITY = frozenset({"tid.device_name", "tid.device_uid", "tid.procedure_reported"})


def name_of(person: Person) -> PersonName:
    """Return a person's name as DICOM writes it.

    Raises
    ------
    AnswerError
        It cannot be one.
    """
    return person_name(person.name)


def must_be_identified(person: Person) -> None:
    """See that a person is known by name and organisation, which a verified document has to give (PS3.3 C.17.2).

    Raises
    ------
    NotAllowed
        One is missing.
    AnswerError
        The name cannot be written.
    """
    name_of(person)
    if not person.organisation.strip():
        msg = "a signature needs an organisation: set [signing] organisation, or [site] institution, in the settings"
        raise NotAllowed(msg)


def must_be_complete(report: Report, template: Template, clinical: Clinical) -> None:
    """See that every prompt is answered and confirmed.

    Raises
    ------
    NotAllowed
        A line for each prompt that is open or only proposed.
    """
    asked = prompts(report, template, clinical)
    lines = [
        f"{p.label}: {'open' if p.state is State.OPEN else 'proposed, not confirmed'} "
        f"({', '.join(_named(q.item.key, q.subject) for q in p.questions if q.state is not State.CONFIRMED)})"
        for p in asked
        if p.state is not State.CONFIRMED
    ]
    if lines:
        count = f"{len(lines)} of {len(asked)} prompts {'is' if len(lines) == 1 else 'are'} not confirmed"
        raise NotAllowed(
            "\n".join(
                (
                    f"{count}: answer them with 'lms-sr report answer', or say that they were not evaluated, and why",
                    *lines,
                )
            )
        )


def _named(item: str, subject: str) -> str:
    return f"{item}@{subject}" if subject else item


def must_be_consistent(
    report: Report, template: Template, clinical: Clinical, *, prior: PriorReport | None = None
) -> None:
    """See that the answers do not contradict each other.

    Raises
    ------
    NotAllowed
        A line for each rule that is broken and may not be signed over.
    """
    broken = [b for b in broken_rules(report, template, clinical, prior=prior) if not b.warning]
    if broken:
        lines = [f"{b.message}{f' ({b.subject})' if b.subject else ''} [{b.rule}]" for b in broken]
        raise NotAllowed("\n".join(("the answers contradict each other:", *dict.fromkeys(lines))))


def observed(report: Report, template: Template, person: Person) -> Report:
    """Return the report with the person who answers for it among its participants."""
    rows: list[tuple[str, Value]] = [(OBSERVER, name_of(person)), (ORGANISATION, person.organisation)]
    there = [(key, value) for key, value in rows if template.item(key) is not None and value]
    gone = {key for key, _ in rows}
    stated = tuple(
        Answer(
            item=key,
            values=(value,),
            status=Status.CONFIRMED,
            provenance=Provenance.RADIOLOGIST,
            observer=person.name if key != OBSERVER else "",
        )
        for key, value in there
    )
    kept = tuple(a for a in report.answers if a.item not in gone)
    return canonical(replace(report, answers=(*kept, *stated)), template)


def added(report: Report, template: Template, text: str, *, person: Person, day: str) -> Report:
    """Return the report with an addendum; each begins with its day and who wrote it.

    Raises
    ------
    AnswerError
        The text is empty, too long, or the template has no place for it.
    """
    item = template.item(ADDENDUM)
    if item is None:
        msg = f"template '{template.key}' has no question '{ADDENDUM}': add it, or amend the report instead"
        raise AnswerError((msg,))
    if not text.strip():
        msg = "the addendum is empty"
        raise AnswerError((msg,))
    (value,) = values_of(item, (f"{day}, {words.value(name_of(person))}: {text}",))
    before = tuple(v for a in report.answers_of(ADDENDUM) for v in a.values)
    answer = Answer(
        item=ADDENDUM,
        values=(*before, value),
        status=Status.CONFIRMED,
        provenance=Provenance.RADIOLOGIST,
        observer=person.name,
    )
    kept = tuple(a for a in report.answers if a.item != ADDENDUM)
    return canonical(replace(report, answers=(*kept, answer)), template)


def emptied(report: Report, template: Template, said: str, person: Person) -> Report:
    """Return what stays of a withdrawn report: who and what made it, and why it is withdrawn. Nothing of it can be read as a finding."""
    kept = tuple(a for a in report.answers if a.item in _IDENTITY)
    bare = replace(report, modalities=(), subjects=(), answers=kept, remarks=(said,))
    return observed(bare, template, person)
