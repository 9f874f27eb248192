"""What a person may ask of a report: show it, answer, sign, amend, add, withdraw, tell its history. Composition only; nothing prints.

Every function takes the settings, opens what it needs, and closes it. The steps themselves are in `service.work.revising`; what they queue
is sent by the running service.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from service import app as composition
from service.errors import InputError, NotAllowed
from service.flow.carry import Difference
from service.flow.given import Given
from service.flow.lifecycle import Action, State, allowed
from service.flow.rules import Broken, broken_rules
from service.model.code import Code
from service.model.report import Answer, PersonName, Report, Scope, Status
from service.model.signing import Person
from service.settings import Settings
from service.sr import words
from service.store import life, registry
from sr_templates.questions import Question, prompts
from sr_templates.questions import State as Answered


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAnswer:
    """One answer in words, with where it came from."""

    value: str
    status: Status
    #: "from the segmentation", "by the radiologist" …
    source: str
    basis: str
    reason: str
    observer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownQuestion:
    """One question of a prompt."""

    item: str
    subject: str
    label: str
    about: str
    state: Answered
    answers: tuple[ShownAnswer, ...]
    #: keys and meanings of the values that it takes; empty: any
    values: tuple[tuple[str, str], ...]
    unit: str
    help: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPrompt:
    """What is asked together."""

    label: str
    section: str
    state: Answered
    questions: tuple[ShownQuestion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A report as a person works on it."""

    study: str
    version: int
    state: State
    template: str
    signer: str
    signed_at: dt.datetime | None
    #: what may be done now
    actions: tuple[Action, ...]
    open: int
    proposed: int
    confirmed: int
    prompts: tuple[ShownPrompt, ...]
    broken: tuple[Broken, ...]
    differences: tuple[Difference, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of a step."""

    study: str
    action: Action
    version: int
    state: State
    open: int
    proposed: int
    confirmed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """One step of a report's history."""

    at: dt.datetime
    version: int
    action: Action
    before: State | None
    after: State
    #: empty: the software
    who: str
    why: str


def person(settings: Settings, named: str = "", code: str = "") -> Person:
    """Return who does this: as named, else the person of the settings. Never from a DICOM header.

    Raises
    ------
    NotAllowed
        Nobody is named, or an identification code has no scheme.
    """
    known = settings.signing
    name = " ".join((named or known.person).split())
    if not name:
        msg = "who does this has to be named: --as 'Family^Given', or [signing] person in the settings"
        raise NotAllowed(msg)
    # the code of the settings is that of the person of the settings
    value = code or (known.id if name == known.person else "")
    if value and not known.id_scheme:
        msg = "an identification code needs its coding scheme: set [signing] id_scheme, for example 99HOSPITAL"
        raise NotAllowed(msg)
    return Person(
        name=name,
        organisation=known.organisation or settings.site.institution,
        code=Code(value, known.id_scheme, words.value(PersonName(name))[:64]) if value else None,
    )


def show(settings: Settings, study: str) -> Shown:
    """Return the report of a study as a person works on it.

    Raises
    ------
    InputError
        The study is not known, or has no report.
    """
    from service.work.revising import standing  # noqa: PLC0415 - the workflow engine stays out of commands that only read

    with composition.services(settings) as wired:
        stands = standing(wired, study)
    with composition.reading(settings) as session:
        differences = life.differences(session, stands.record.id)
    report, template, record = stands.report, stands.template, stands.record
    withdrawn = stands.state is State.WITHDRAWN
    asked = () if withdrawn else prompts(report, template, settings.clinical)
    signature = record.signature
    return Shown(
        study=study,
        version=record.version,
        state=stands.state,
        template=report.template,
        signer=signature.person.name if signature else "",
        signed_at=signature.at if signature else None,
        actions=tuple(a for a in allowed(stands.state) if a not in {Action.RECOMPOSE, Action.TAKE_IN}),
        open=record.open,
        proposed=record.proposed,
        confirmed=record.confirmed,
        prompts=tuple(
            ShownPrompt(
                label=p.label,
                section=p.section,
                state=p.state,
                questions=tuple(shown for q in p.questions for shown in _questions(report, q)),
            )
            for p in asked
        ),
        broken=() if withdrawn else broken_rules(report, template, settings.clinical, prior=stands.prior),
        differences=differences,
        remarks=report.remarks,
    )


def _questions(report: Report, question: Question) -> Iterator[ShownQuestion]:
    """Yield a question as it is answered: one about the series by the name of each that says something, of all where none does."""
    if question.item.scope is not Scope.SERIES:
        yield _question(report, question, question.subject, question.subject_label, question.state)
        return
    series = report.subjects_of(Scope.SERIES)
    answered = [s for s in series if report.answers_of(question.item.key, s.key)]
    for subject in answered or series:
        there = report.answers_of(question.item.key, subject.key)
        state = Answered.PROPOSED if any(a.status is Status.PROPOSED for a in there) else Answered.CONFIRMED
        yield _question(report, question, subject.key, subject.tracking_id, state if there else Answered.OPEN)


def _question(report: Report, question: Question, subject: str, about: str, state: Answered) -> ShownQuestion:
    item = question.item
    return ShownQuestion(
        item=item.key,
        subject=subject,
        label=item.label,
        about=about,
        state=state,
        answers=tuple(_answer(a) for a in report.answers_of(item.key, subject)),
        values=tuple((k, v.meaning) for k, v in zip(item.value_keys, item.values, strict=True)),
        unit=item.unit.value if item.unit else "",
        help=item.help,
    )


def _answer(answer: Answer) -> ShownAnswer:
    statistic = f"{answer.derivation.meaning} " if answer.derivation else ""
    return ShownAnswer(
        value=statistic + "; ".join(words.value(v) for v in answer.values),
        status=answer.status,
        source=words.WHENCE[answer.provenance],
        basis=answer.basis,
        reason=answer.reason,
        observer=answer.observer,
    )


def answer(settings: Settings, study: str, given: tuple[Given, ...], who: Person) -> Done:
    """Answer, confirm or take back; one new version of the draft.

    Raises
    ------
    InputError, NotAllowed, AnswerError
        As `service.work.revising.answer`.
    """
    from service.work import revising  # noqa: PLC0415 - as above

    if not given:
        msg = (
            "nothing was answered: write item=value, --confirm ITEM, --clear ITEM, --not-evaluated ITEM or --file FILE"
        )
        raise InputError(msg)
    with composition.services(settings) as wired:
        revising.answer(wired, study, given, who)
    return _done(settings, study, Action.ANSWER)


def sign(settings: Settings, study: str, who: Person) -> Done:
    """Sign the report as it stands.

    Raises
    ------
    InputError, NotAllowed, AnswerError
        As `service.work.revising.sign`.
    """
    from service.work import revising  # noqa: PLC0415 - as above

    with composition.services(settings) as wired:
        revising.sign(wired, study, who)
    return _done(settings, study, Action.SIGN)


def amend(
    settings: Settings, study: str, given: tuple[Given, ...], who: Person, reason: str, *, over_edits: bool = False
) -> Done:
    """Change answers of a signed report and sign it anew.

    Raises
    ------
    InputError, NotAllowed, AnswerError
        As `service.work.revising.amend`.
    """
    from service.work import revising  # noqa: PLC0415 - as above

    with composition.services(settings) as wired:
        revising.amend(wired, study, given, who, reason, over_edits=over_edits)
    return _done(settings, study, Action.AMEND)


def addendum(settings: Settings, study: str, text: str, who: Person, reason: str, *, over_edits: bool = False) -> Done:
    """Add a text to a signed report and sign it anew.

    Raises
    ------
    InputError, NotAllowed, AnswerError
        As `service.work.revising.addendum`.
    """
    from service.work import revising  # noqa: PLC0415 - as above

    with composition.services(settings) as wired:
        revising.addendum(wired, study, text, who, reason, over_edits=over_edits)
    return _done(settings, study, Action.ADDEND)


def withdraw(settings: Settings, study: str, who: Person, reason: str) -> Done:
    """Take a report out of use.

    Raises
    ------
    InputError, NotAllowed
        As `service.work.revising.withdraw`.
    """
    from service.work import revising  # noqa: PLC0415 - as above

    with composition.services(settings) as wired:
        revising.withdraw(wired, study, who, reason)
    return _done(settings, study, Action.WITHDRAW)


def _done(settings: Settings, study: str, action: Action) -> Done:
    with composition.reading(settings) as session:
        record = registry.newest(session, study)
    if record is None:
        msg = f"study {study} has no report"
        raise InputError(msg)
    return Done(
        study=study,
        action=action,
        version=record.version,
        state=record.state,
        open=record.open,
        proposed=record.proposed,
        confirmed=record.confirmed,
    )


def history(settings: Settings, study: str) -> tuple[Past, ...]:
    """Return every step of a report, oldest first.

    Raises
    ------
    InputError
        The study has no report.
    """
    with composition.reading(settings) as session:
        if registry.newest(session, study) is None:
            msg = f"study {study} has no report: see 'lms-sr explain {study}'"
            raise InputError(msg)
        steps = life.history(session, study)
    return tuple(
        Past(
            at=s.transition.at,
            version=s.version,
            action=s.transition.action,
            before=s.transition.before,
            after=s.transition.after,
            who=s.transition.who,
            why=s.transition.why,
        )
        for s in steps
    )
