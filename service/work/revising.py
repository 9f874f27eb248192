"""What a person does to a report: answer, sign, amend, add to it, withdraw it. Each is a new version, or nothing at all.

The service itself never takes these steps: every function asks for a named `Person`. What is read, checked and decided here is checked once
more in the transaction that queues the version: whoever was faster is met by beginning anew.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from service.errors import InputError, NotAllowed, StoreUnavailable
from service.flow import lifecycle, signing, triage
from service.flow import produce as making
from service.flow.answering import apply
from service.flow.comparability import with_mismatches
from service.flow.derive import derive
from service.flow.given import Given
from service.flow.lifecycle import Action, Need, State, Step
from service.flow.produce import Produced
from service.model.prior import PriorReport
from service.model.report import Report
from service.model.report_json import content_hash
from service.model.signing import Person, Signature
from service.read.normalise import normalise
from service.sr import words
from service.store import inbox, life, outbox, registry
from service.store.registry import ReportRecord
from service.work import earlier, issuing
from service.work.services import Services
from service.work.versions import Known, Revision, options_of
from sr_templates import Template, load_template

_log = logging.getLogger("lms_sr.revise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The newest version of a study's report, and everything that is needed to make the next."""

    known: Known
    record: ReportRecord
    report: Report
    template: Template
    prior: PriorReport | None

    @property
    def state(self) -> State:
        """Return where the report stands."""
        return self.record.state


_Change = Callable[[Standing, dt.datetime], Report]


def standing(services: Services, study_instance_uid: str) -> Standing:
    """Return how the report of a study stands.

    Raises
    ------
    InputError
        The study is not known, or has no report.
    """
    uid = study_instance_uid
    with services.transaction() as session:
        installation = inbox.installation(session, services.now())
    with services.reading() as session:
        study_record = inbox.get_study(session, uid)
        if study_record is None:
            msg = f"study {uid} was not received: see 'lms-sr status'"
            raise InputError(msg)
        newest = registry.newest(session, uid)
        if newest is None:
            msg = f"study {uid} has no report yet: 'lms-sr explain {uid}' tells why, 'lms-sr start {uid}' makes one"
            raise InputError(msg)
        report = registry.read_content(session, newest.id)
        ours = outbox.sent_uids(session, uid)
        study = making.without(
            normalise(inbox.load_instances(session, uid), default_issuer=services.settings.site.issuer), ours
        )
        prior = earlier.prior_of(session, study)
    known = Known(record=study_record, study=study, installation=installation, ours=ours, newest=newest)
    template = load_template(report.template)
    return Standing(known=known, record=newest, report=report, template=template, prior=prior)


def answer(services: Services, study: str, given: tuple[Given, ...], person: Person) -> str:
    """Put a person's answers into the draft; return what came of it in a word.

    Raises
    ------
    NotAllowed
        The report is signed or withdrawn, or nothing would change.
    AnswerError
        An answer does not fit its question: nothing is taken.
    """
    return _revise(services, study, Action.ANSWER, person, "", lambda s, _: _answered(services, s, given, person))


def sign(services: Services, study: str, person: Person) -> str:
    """Sign the report as it stands: complete, verified, final.

    Raises
    ------
    NotAllowed
        Something is open, only proposed or contradictory: the message lists all of it. Or the report is signed, or withdrawn.
    """
    return _revise(services, study, Action.SIGN, person, "", lambda s, _: s.report)


def amend(
    services: Services,
    study: str,
    given: tuple[Given, ...],
    person: Person,
    reason: str,
    *,
    over_edits: bool = False,
) -> str:
    """Change answers of a signed report, for a reason, and sign the new version in the same step.

    ``over_edits``: the version replaces what others saved into the series of our reports since.

    Raises
    ------
    NotAllowed
        As `sign`; or the report is not signed, no reason is given, nothing would change, or others saved something and it is not replaced.
    AnswerError
        As `answer`.
    """
    return _revise(
        services,
        study,
        Action.AMEND,
        person,
        reason,
        lambda s, _: _answered(services, s, given, person),
        over_edits=over_edits,
    )


def addendum(
    services: Services, study: str, text: str, person: Person, reason: str, *, over_edits: bool = False
) -> str:
    """Add a text to a signed report whose answers stay as they are, and sign the new version in the same step.

    ``over_edits``: as in `amend`.

    Raises
    ------
    NotAllowed
        The report is not signed, no reason is given, or others saved something and it is not replaced.
    AnswerError
        The text is empty or too long.
    """
    zone = ZoneInfo(services.settings.site.timezone)

    def change(standing: Standing, at: dt.datetime) -> Report:
        day = f"{at.astimezone(zone):%Y-%m-%d}"
        return signing.added(standing.report, standing.template, text, person=person, day=day)

    return _revise(services, study, Action.ADDEND, person, reason, change, over_edits=over_edits)


def withdraw(services: Services, study: str, person: Person, reason: str) -> str:
    """Take a report out of use: a last version that says so, and a rejection note for the nodes that take one.

    Raises
    ------
    NotAllowed
        It is withdrawn already, or no reason is given.
    """
    zone = ZoneInfo(services.settings.site.timezone)

    def change(standing: Standing, at: dt.datetime) -> Report:
        who = words.value(signing.name_of(person))
        said = f"Withdrawn on {at.astimezone(zone):%Y-%m-%d} by {who}: {' '.join(reason.split())}"
        return signing.emptied(standing.report, standing.template, said, person)

    return _revise(services, study, Action.WITHDRAW, person, reason, change)


def _answered(services: Services, standing: Standing, given: tuple[Given, ...], person: Person) -> Report:
    changed = apply(
        standing.report,
        given,
        template=standing.template,
        study=standing.known.study,
        who=person.name,
        clinical=services.settings.clinical,
    )
    clinical = services.settings.clinical
    derived = derive(changed, standing.template, clinical, prior=standing.prior)
    return with_mismatches(derived, standing.template, clinical, standing.prior)


def _revise(
    services: Services,
    study: str,
    action: Action,
    person: Person,
    reason: str,
    change: _Change,
    *,
    over_edits: bool = False,
) -> str:
    """Take one step, and begin anew where somebody else was first."""
    for _ in range(issuing.MAX_ROUNDS):
        try:
            outcome = _once(services, study, action, person, reason, change, over_edits=over_edits)
        except issuing.Moved:
            _log.warning("revise_met_another", extra={"ids": {"study": study}})
            continue
        if outcome != "overtaken":
            return outcome
    msg = "images go on arriving, or others work on this report: try again in a minute"
    raise StoreUnavailable(msg)


def _once(
    services: Services,
    study: str,
    action: Action,
    person: Person,
    reason: str,
    change: _Change,
    *,
    over_edits: bool,
) -> str:
    stands = standing(services, study)
    step = lifecycle.step(stands.state, action)
    lifecycle.must_name(step, person=person.name, reason=reason)
    now = services.now()
    report = change(stands, now)
    same = content_hash(report) == stands.record.content_hash and stands.record.names(stands.known.study)
    if Need.CHANGE in step.needs and same:
        msg = "that is what the report says already: nothing was changed, and no version was made"
        raise NotAllowed(msg)
    if step.to.is_signed:
        # after the comparison: another signer alone is no change
        report = signing.observed(report, stands.template, person)
    signature = _signature(step, stands, report, person, services, now)
    produced = _produced(services, stands, report, step, signature)
    revision = Revision(
        action=action,
        after=step.to,
        who=person.name,
        why=" ".join(reason.split()),
        rejects=step.to is State.WITHDRAWN,
    )
    decision = triage.Decision(report=True, rule="by hand", reason=action.value, template=report.template)
    # a withdrawn report goes over whatever was saved there
    by_hand = over_edits or step.to is State.WITHDRAWN
    outcome = issuing.issue(services, stands.known, decision, produced, by_hand=by_hand, revision=revision)
    _log.info("revised", extra={"ids": {"study": study, "action": action.value, "outcome": outcome}})
    return outcome


def _signature(
    step: Step, stands: Standing, report: Report, person: Person, services: Services, now: dt.datetime
) -> Signature | None:
    if Need.COMPLETE in step.needs:
        signing.must_be_complete(report, stands.template, services.settings.clinical)
    if Need.CONSISTENT in step.needs:
        signing.must_be_consistent(report, stands.template, services.settings.clinical, prior=stands.prior)
    if not (step.to.is_signed or step.to is State.WITHDRAWN):
        return None
    signing.must_be_identified(person)
    return Signature(person=person, at=now)


def _produced(
    services: Services, stands: Standing, report: Report, step: Step, signature: Signature | None
) -> Produced:
    decision = triage.Decision(report=True, rule="", reason="", template=report.template)
    options = replace(options_of(services, stands.known, decision), remarks=())
    produced = making.reproduce(report, stands.known.study, options, state=step.to, signature=signature)
    if step.to is State.WITHDRAWN:
        return replace(produced, facts_hash=stands.record.facts_hash)
    with services.reading() as session:
        # what the version before had taken in is in this one, too
        included = life.taken_in(session, stands.record.id)
    return replace(produced, facts_hash=stands.record.facts_hash, included=included)
