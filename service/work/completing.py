"""Is a study complete? One job is one look; the next look is another job."""

from __future__ import annotations

import datetime as dt
import logging

from sqlalchemy.orm import Session

from service.errors import LmsSrError
from service.flow.completion import Complete, CompletionState, Wait, decide
from service.model.events import StudyEvent
from service.store import events, inbox, outbox, priors
from service.store.inbox import StudyRecord
from service.work import jobs
from service.work.services import Services

_log = logging.getLogger("lms_sr.complete")

BY_HAND = "started by hand"


def ask_for_check(services: Services, session: Session, study_instance_uid: str, now: dt.datetime) -> None:
    """Ask for the first look at the newest revision of a study, at the time at which it may be complete at the earliest."""
    study = inbox.get_study(session, study_instance_uid)
    if study is None:
        return
    lacking = 0 if _may_be_asked(services, study) else None
    decision = _decide(services, study, lacking, now)
    delay = decision.seconds if isinstance(decision, Wait) else 0.0
    services.jobs.enqueue(session, jobs.check_completion(study_instance_uid, study.revision), delay=delay)


def complete(services: Services, study_instance_uid: str, revision: int, step: int) -> str:
    """Look once whether ``revision`` is complete; return what came of it."""
    with services.reading() as session:
        study = inbox.get_study(session, study_instance_uid)
        if study is None or study.revision != revision or study.completed_revision >= revision:
            return "overtaken"
        held = inbox.instance_uids(session, study_instance_uid)
        ours = outbox.sent_uids(session, study_instance_uid)
    lacking = _lacking(services, study, held, ours)
    now = services.now()
    decision = _decide(services, study, lacking, now)
    ids = {"study": study_instance_uid, "revision": revision}
    with services.transaction() as session:
        if isinstance(decision, Wait):
            if not _stands(session, study, revision):
                return "overtaken"
            _tell_once(session, study_instance_uid, decision.reason, now)
            following = jobs.check_completion(study_instance_uid, revision, step + 1)
            services.jobs.enqueue(session, following, delay=decision.seconds)
            return "waits"
        if not finish(services, session, study, decision.reason, forced=decision.forced, now=now):
            return "overtaken"
    _log.info("study_completed", extra={"ids": {**ids, "instances": study.instance_count, "forced": decision.forced}})
    return "complete"


def finish(
    services: Services,
    session: Session,
    study: StudyRecord,
    reason: str,
    *,
    forced: bool,
    now: dt.datetime,
    by_hand: bool = False,
) -> bool:
    """Count the study's revision as complete and ask for its report; false where it has moved on."""
    uid, revision = study.study_instance_uid, study.revision
    if not inbox.complete(session, uid, revision, reason=reason, forced=forced):
        return False
    events.append(session, uid, StudyEvent.COMPLETED, now, count=study.instance_count, reason=reason)
    services.jobs.enqueue(session, jobs.compose(uid, revision, by_hand=by_hand))
    return True


def start_by_hand(services: Services, study_instance_uid: str) -> bool:
    """Take a study as it is, now, and make its report, again if need be; false for a study that is not known."""
    now = services.now()
    with services.transaction() as session:
        # locked: images that arrive at this moment come before, and are taken along, or after
        study = inbox.get_study(session, study_instance_uid, lock=True)
        if study is None:
            return False
        events.append(session, study_instance_uid, StudyEvent.STARTED_BY_HAND, now)
        priors.ask_again(session, study_instance_uid)
        if not finish(services, session, study, BY_HAND, forced=False, now=now, by_hand=True):
            inbox.clear_crashes(session, study_instance_uid)
            again = jobs.compose(study_instance_uid, study.revision, run=jobs.run_at("by-hand", now), by_hand=True)
            services.jobs.enqueue(session, again)
    _log.info("study_started_by_hand", extra={"ids": {"study": study_instance_uid}})
    return True


def _decide(services: Services, study: StudyRecord, lacking: int | None, now: dt.datetime) -> Complete | Wait:
    state = CompletionState(
        burst_started_at=study.burst_started_at, last_received_at=study.last_received_at, now=now, lacking=lacking
    )
    return decide(state, services.settings.completion)


def _may_be_asked(services: Services, study: StudyRecord) -> bool:
    sender = services.sender(study.calling_ae)
    return services.settings.completion.ask_pacs and sender is not None and sender.query and bool(sender.port)


def _lacking(services: Services, study: StudyRecord, held: frozenset[str], ours: frozenset[str]) -> int | None:
    """Return how many instances the sender names that we do not hold; None where it gives no answer, or is not asked."""
    sender = services.sender(study.calling_ae)
    if sender is None or not _may_be_asked(services, study):
        return None
    try:
        there = services.peers.instances_at(sender, study.study_instance_uid)
    except LmsSrError as error:
        ids = {"study": study.study_instance_uid, "node": sender.name, "error": type(error).__name__}
        _log.warning("pacs_gives_no_answer", extra={"ids": ids})
        return None
    others = there - ours
    # a node that knows nothing of a study that it has just sent has not finished storing it, or does not say
    return len(others - held) if others else None


def _stands(session: Session, study: StudyRecord, revision: int) -> bool:
    now = inbox.get_study(session, study.study_instance_uid)
    return now is not None and now.revision == revision and now.completed_revision < revision


def _tell_once(session: Session, study_instance_uid: str, reason: str, now: dt.datetime) -> None:
    """Record why the study waits, unless that is what was said last."""
    last = events.last(session, study_instance_uid)
    said = last.data.get("reason") if last and last.event is StudyEvent.COMPLETION_WAITS else None
    if said != reason:
        events.append(session, study_instance_uid, StudyEvent.COMPLETION_WAITS, now, reason=reason)
