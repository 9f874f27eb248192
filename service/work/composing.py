"""A completed study becomes a report in the outbox, or is left alone; either way its story says why."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy.orm import Session

from service.errors import Permanent, StoreUnavailable, TemplateError
from service.flow import lifecycle, triage
from service.flow import produce as making
from service.flow.choice import with_template
from service.flow.lifecycle import Action, State
from service.flow.produce import Produced
from service.measure.segments import measure_study
from service.model.events import StudyEvent, StudyState
from service.model.report import Status
from service.model.study import Instance, Study
from service.read.normalise import normalise
from service.store import events, inbox, life, outbox, registry
from service.store.inbox import StudyRecord
from service.store.registry import ReportRecord
from service.work import delivery, earlier, fetching, issuing, jobs, moved, taking
from service.work.completing import BY_HAND
from service.work.services import Services
from service.work.versions import Known, Revision, options_of

_log = logging.getLogger("lms_sr.compose")

#: starts of one revision that ended without a word before a person is asked
MAX_CRASHES = 5
#: wait before a study is composed again whose files could not be read
_AGAIN_SECONDS = 30.0


def compose(services: Services, study_instance_uid: str, revision: int, by_hand: bool) -> str:
    """Make the report of a revision; return what came of it in a word."""
    ids = {"study": study_instance_uid, "revision": revision}
    with services.transaction() as session:
        record = inbox.get_study(session, study_instance_uid)
        if record is None or record.revision != revision:
            return "overtaken"
        crashes = inbox.count_crash(session, study_instance_uid)
    if crashes > MAX_CRASHES:
        why = f"composing was started {MAX_CRASHES} times and never ended: see the log, then 'lms-sr start {study_instance_uid}'"
        return _park(services, record, why)
    try:
        outcome = _in_rounds(services, record, by_hand=by_hand)
    except StoreUnavailable as error:
        return _wait(services, record, str(error), by_hand=by_hand)
    except (Permanent, TemplateError) as error:
        _log.error("compose_failed", extra={"ids": {**ids, "error": type(error).__name__}})
        return _park(services, record, str(error))
    _log.info("composed", extra={"ids": {**ids, "outcome": outcome}})
    return outcome


def _in_rounds(services: Services, record: StudyRecord, *, by_hand: bool) -> str:
    for _ in range(issuing.MAX_ROUNDS):
        try:
            return _compose(services, record, by_hand=by_hand)
        except issuing.Moved:
            _log.warning("compose_met_another", extra={"ids": {"study": record.study_instance_uid}})
    raise StoreUnavailable("another version was issued each time while this one was made")


def _wait(services: Services, record: StudyRecord, reason: str, *, by_hand: bool) -> str:
    """Compose again later, as often as it takes, and say so: what is away comes back, or a person sees to it."""
    uid, now = record.study_instance_uid, services.now()
    why = f"composing waits: {reason}"
    with services.transaction() as session:
        if not issuing.still(session, record):
            return "overtaken"
        if record.flag != why:
            issuing.flag(services, session, uid, why)
        # it did not crash
        inbox.clear_crashes(session, uid)
        again = jobs.compose(uid, record.revision, run=jobs.run_at("again", now), by_hand=by_hand)
        services.jobs.enqueue(session, again, delay=_AGAIN_SECONDS)
    _log.warning("compose_waits", extra={"ids": {"study": uid, "revision": record.revision, "reason": reason}})
    return "waits"


def _park(services: Services, record: StudyRecord, why: str) -> str:
    """Leave a study to a person, unless something new arrived, which is composed by itself."""
    uid = record.study_instance_uid
    with services.transaction() as session:
        if not issuing.still(session, record):
            return "overtaken"
        inbox.set_state(session, uid, StudyState.PARKED)
        inbox.set_flag(session, uid, why)
        inbox.clear_crashes(session, uid)
        events.append(session, uid, StudyEvent.PARKED, services.now(), reason=why)
    return "parked"


def _compose(services: Services, record: StudyRecord, *, by_hand: bool) -> str:
    uid = record.study_instance_uid
    with services.transaction() as session:
        installation = inbox.installation(session, services.now())
    with services.reading() as session:
        instances = inbox.load_instances(session, uid)
        ours = outbox.sent_uids(session, uid)
        study = making.without(normalise(instances, default_issuer=services.settings.site.issuer), ours)
        newest = registry.newest(session, uid)
        before = registry.read_content(session, newest.id) if newest is not None and newest.current else None
        patient = study.patient
        known_case = registry.is_known(session, patient.patient_id, patient.issuer)
        prior = earlier.prior_of(session, study)
    decision = _decide(services, study, known_case=known_case, by_hand=by_hand)
    decision = with_template(decision, prior, newest.template if newest is not None else "")
    if not decision.report:
        with services.transaction() as session:
            if not issuing.still(session, record):
                return "overtaken"
            issuing.tell_triage(services, session, uid, decision)
            inbox.set_state(session, uid, StudyState.IGNORED)
            inbox.set_flag(session, uid, "")
            inbox.clear_crashes(session, uid)
        return "ignored"
    known = Known(record=record, study=study, installation=installation, ours=ours, newest=newest)
    if known.state is State.WITHDRAWN and not by_hand:
        reason = f"the report was withdrawn, and nothing is issued by itself any more: 'lms-sr start {uid}' makes a new draft"
        return issuing.stands(services, known, decision, reason)
    if not (known.current is not None and known.current.state.is_signed) and fetching.ask_first(
        services, record, study, by_hand=by_hand
    ):
        return "asks for earlier examinations"
    options = options_of(services, known, decision)
    earlier.refresh(services, study, options)
    with services.reading() as session:
        prior = earlier.prior_of(session, study)
    came_back = taking.returned(services, study, options)
    measured = measure_study(study, lambda instance: _place(services, instance), services.settings.measuring)
    produced = making.produce(
        study,
        measured,
        prior,
        options,
        returned=came_back,
        before=before,
        clinical=services.settings.clinical,
        measuring=services.settings.measuring,
    )
    current = known.current
    new = _new(services, uid, produced)
    # what was there before the first draft is a fact like any other
    action = Action.TAKE_IN if new and current is not None else Action.RECOMPOSE
    if current is not None:
        same_facts = not new and produced.facts_hash == current.facts_hash
        moved.tell_others(services, known, current)
        if current.state.is_signed:
            return _signed(services, known, decision, current, produced, same_facts=same_facts)
        same = same_facts or (not new and produced.content_hash == current.content_hash)
        if same and current.names(study):
            unread = bool(issuing.saved(services, known, produced).undecided(produced.included))
            if not (unread and by_hand):
                return _unchanged(services, known, decision, current, produced, unread=unread)
    after = lifecycle.step(known.state or State.DRAFT, action, by_hand=by_hand).to
    if after is State.DRAFT and any(a.status is Status.CONFIRMED and a.observer for a in produced.report.answers):
        # verified elsewhere: somebody has worked on it
        after = State.IN_PROGRESS
    revision = Revision(action=action, after=after, takes_in=new)
    return issuing.issue(services, known, decision, produced, by_hand=by_hand, revision=revision)


def _new(services: Services, uid: str, produced: Produced) -> bool:
    """Say whether something came back that no version goes over yet."""
    if not produced.included:
        return False
    with services.reading() as session:
        gone_over = life.gone_over(session, uid)
    return any(r.sop_instance_uid not in gone_over for r in produced.included)


def _signed(
    services: Services,
    known: Known,
    decision: triage.Decision,
    current: ReportRecord,
    produced: Produced,
    *,
    same_facts: bool,
) -> str:
    """Leave a signed report as it is, keep what the facts say otherwise, and ask for a person where there is something to be asked.

    Raises
    ------
    Moved
        Another run has issued a version meanwhile.
    """
    # nothing is taken into a signed report: what was saved over it waits for a person, whether it can be read or not
    unread = bool(issuing.saved(services, known, produced).undecided())
    corrected = not current.names(known.study)
    if same_facts and not unread and not corrected:
        return _unchanged(services, known, decision, current, produced)
    with services.transaction() as session:
        if not issuing.unmoved(session, known):
            return "overtaken"
        _keep(services, session, known, current, produced)
    reason = f"version {current.version} is signed and does not change by itself: what arrived since is not in it"
    if unread:
        reason = f"somebody saved into the series of our reports, over signed version {current.version}: {issuing.way_out(known)}"
    if corrected:
        way = f"'lms-sr report amend {known.record.study_instance_uid}' with a --reason signs one that names them as they are now"
        said = f"patient or order were corrected since, and signed version {current.version} names them as they were: {way}"
        reason = f"{said}; {reason}" if unread else said
    return issuing.stands(services, known, decision, reason)


def _keep(services: Services, session: Session, known: Known, current: ReportRecord, produced: Produced) -> None:
    """Keep where the facts differ from a version, and say so once."""
    count = life.add_differences(session, current.id, produced.differences, services.now())
    if count:
        uid = known.record.study_instance_uid
        data = {"count": count, "version": current.version}
        events.append(session, uid, StudyEvent.FACTS_DIFFER, services.now(), **data)


def _place(services: Services, instance: Instance) -> Path:
    return services.spool.root / instance.path


def _decide(services: Services, study: Study, *, known_case: bool, by_hand: bool) -> triage.Decision:
    question = triage.Question(study=study, always=services.settings.triage.always, known_case=known_case)
    decision = triage.decide(services.rules, question)
    if not by_hand:
        return decision
    # whatever triage says; but the template is that of its rule, where it names one
    template = decision.template if decision.report else ""
    return triage.Decision(report=True, rule="by hand", reason=BY_HAND, template=template)


# --- nothing to issue ----------------------------------------------------------------------------------------------------


def _unchanged(
    services: Services,
    known: Known,
    decision: triage.Decision,
    current: ReportRecord,
    produced: Produced,
    *,
    unread: bool = False,
) -> str:
    """Leave the version that stands: the facts are what they were, or do not show in it.

    ``unread``: somebody saved into our series what no version goes over, and nobody has decided about it.
    """
    uid = known.record.study_instance_uid
    with services.transaction() as session:
        if not issuing.unmoved(session, known):
            return "overtaken"
        registry.set_facts(session, current.id, produced.facts_hash)
        _keep(services, session, known, current, produced)
    if unread:
        revision = Revision(action=Action.RECOMPOSE, after=current.state)
        return issuing.unread(services, known, decision, revision)
    with services.transaction() as session:
        if not issuing.unmoved(session, known):
            return "overtaken"
        rows = outbox.for_study(session, uid)
        issuing.tell_triage(services, session, uid, decision)
        events.append(session, uid, StudyEvent.REPORT_UNCHANGED, services.now(), version=current.version)
        inbox.set_state(session, uid, delivery.standing(rows) or StudyState.COMPOSED)
        # why it was parked or waited is over; lines that an older version left on the images are not
        has_lines = any(r.kind == "companion" and r.version == current.version for r in rows)
        inbox.set_flag(session, uid, issuing.left_over(rows, current.version, has_lines=has_lines))
        inbox.clear_crashes(session, uid)
    return "unchanged"
