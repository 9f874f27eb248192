"""A completed study becomes a report in the outbox, or is left alone; either way its story says why."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy.orm import Session

from service.errors import Permanent, StoreUnavailable, TemplateError
from service.flow import produce as making
from service.flow import triage
from service.measure.segments import measure_study
from service.model.events import StudyEvent, StudyState
from service.model.report import VerificationFlag
from service.model.study import Instance, Study
from service.read.normalise import normalise
from service.store import events, inbox, outbox, registry
from service.store.inbox import StudyRecord
from service.work import delivery, issuing, jobs
from service.work.completing import BY_HAND
from service.work.services import Services

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
            _park(services, session, study_instance_uid, why)
            return "parked"
    try:
        outcome = _compose(services, record, by_hand=by_hand)
    except StoreUnavailable as error:
        with services.transaction() as session:
            again = jobs.compose(study_instance_uid, revision, run=f"again-{crashes}", by_hand=by_hand)
            services.jobs.enqueue(session, again, delay=_AGAIN_SECONDS)
        _log.warning("compose_waits", extra={"ids": {**ids, "reason": str(error)}})
        return "waits"
    except (Permanent, TemplateError) as error:
        with services.transaction() as session:
            _park(services, session, study_instance_uid, str(error))
        _log.error("compose_parked", extra={"ids": {**ids, "error": type(error).__name__}})
        return "parked"
    _log.info("composed", extra={"ids": {**ids, "outcome": outcome}})
    return outcome


def _park(services: Services, session: Session, study_instance_uid: str, why: str) -> None:
    inbox.set_state(session, study_instance_uid, StudyState.PARKED)
    inbox.set_flag(session, study_instance_uid, why)
    inbox.clear_crashes(session, study_instance_uid)
    events.append(session, study_instance_uid, StudyEvent.PARKED, services.now(), reason=why)


def _compose(services: Services, record: StudyRecord, *, by_hand: bool) -> str:
    uid = record.study_instance_uid
    with services.transaction() as session:
        installation = inbox.installation(session, services.now())
    with services.reading() as session:
        instances = inbox.load_instances(session, uid)
        ours = outbox.sent_uids(session, uid)
        study = making.without(normalise(instances, default_issuer=services.settings.site.issuer), ours)
        current = registry.current(session, uid)
        patient = study.patient
        known_case = registry.is_known(session, patient.patient_id, patient.issuer)
        prior = registry.prior(session, patient.patient_id, patient.issuer, uid)
    decision = _decide(services, study, known_case=known_case, by_hand=by_hand)
    if not decision.report:
        with services.transaction() as session:
            if not issuing.still(session, record):
                return "overtaken"
            issuing.tell_triage(services, session, uid, decision)
            inbox.set_state(session, uid, StudyState.IGNORED)
            inbox.clear_crashes(session, uid)
        return "ignored"
    known = issuing.Known(record=record, study=study, installation=installation, ours=ours, current=current)
    options = issuing.options_of(services, known, decision)
    measured = measure_study(study, lambda instance: _place(services, instance))
    produced = making.produce(study, measured, prior, options)
    if current is not None and current.content_hash == produced.content_hash:
        return _unchanged(services, known, decision)
    if current is not None and current.verification is VerificationFlag.VERIFIED:
        reason = f"version {current.version} is signed and does not change by itself: what arrived since is not in it"
        return issuing.stands(services, known, decision, reason)
    return issuing.issue(services, known, decision, produced, by_hand=by_hand)


def _place(services: Services, instance: Instance) -> Path:
    return services.spool.root / instance.path


def _decide(services: Services, study: Study, *, known_case: bool, by_hand: bool) -> triage.Decision:
    if by_hand:
        return triage.Decision(report=True, rule="by hand", reason=BY_HAND)
    question = triage.Question(study=study, always=services.settings.triage.always, known_case=known_case)
    return triage.decide(services.rules, question)


# --- nothing to issue ----------------------------------------------------------------------------------------------------


def _unchanged(services: Services, known: issuing.Known, decision: triage.Decision) -> str:
    uid, current = known.record.study_instance_uid, known.current
    with services.transaction() as session:
        if not issuing.still(session, known.record):
            return "overtaken"
        issuing.tell_triage(services, session, uid, decision)
        version = current.version if current else 0
        events.append(session, uid, StudyEvent.REPORT_UNCHANGED, services.now(), version=version)
        inbox.set_state(session, uid, delivery.standing(outbox.for_study(session, uid)) or StudyState.COMPOSED)
        inbox.clear_crashes(session, uid)
    return "unchanged"
