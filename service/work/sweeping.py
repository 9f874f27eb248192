"""Once an hour: what the engine ended badly is shown to a person, what it finished long ago is forgotten."""

from __future__ import annotations

import datetime as dt
import logging
from typing import Protocol

from service.model.events import StudyEvent, StudyState
from service.store import events, inbox
from service.work import fetching, issuing, jobs, sending
from service.work.services import Services

_log = logging.getLogger("lms_sr.sweep")

#: how long a finished workflow is kept, for whoever asks what happened
KEPT = dt.timedelta(days=7)
_HOUR = 3600


class History(Protocol):
    """What the engine remembers of workflows."""

    def failed(self) -> tuple[str, ...]:
        """Return the ids of workflows that ended badly, one page of them."""
        ...

    def finished(self, before: dt.datetime) -> tuple[str, ...]:
        """Return the ids of workflows that ended well before a time, one page of them."""
        ...

    def forget(self, ids: tuple[str, ...]) -> None:
        """Delete workflows."""
        ...


def hour_of(now: dt.datetime) -> int:
    """Return the hour since 1970."""
    return int(now.timestamp()) // _HOUR


def sweep(services: Services, history: History, hour: int) -> str:
    """Sweep once, and ask for the next hour's sweep."""
    now = services.now()
    parked = 0
    while failed := history.failed():
        for workflow in failed:
            _show(services, workflow)
        history.forget(failed)
        parked += len(failed)
    forgotten = 0
    while finished := history.finished(now - KEPT):
        history.forget(finished)
        forgotten += len(finished)
    following = max(hour, hour_of(now)) + 1
    with services.transaction() as session:
        services.jobs.enqueue(session, jobs.sweep(following), delay=max(0.0, following * _HOUR - now.timestamp()))
    _log.info("swept", extra={"ids": {"parked": parked, "forgotten": forgotten}})
    return f"parked {parked}, forgot {forgotten}"


def _show(services: Services, workflow: str) -> None:
    """Park what a workflow left undone; its id says what it was about (`service.work.jobs`)."""
    kind, subject, number, *_ = *workflow.split(":"), "", ""
    reason = f"the workflow {workflow} ended with an error: see the log"
    _log.error("workflow_failed", extra={"ids": {"workflow": workflow}})
    if kind == jobs.SEND and subject.isdigit() and number.isdigit():
        # where the row has moved on, by hand, what failed is over
        sending.park(services, int(subject), reason, attempt=int(number))
    elif kind == jobs.FETCH and number.isdigit():
        # a draft that waits for it goes on without earlier examinations
        fetching.after_fault(services, subject, int(number))
    elif kind in {jobs.COMPLETE, jobs.COMPOSE}:
        with services.transaction() as session:
            study = inbox.get_study(session, subject, lock=True)
            if study is None or str(study.revision) != number:
                return
            if study.state in {StudyState.RECEIVED, StudyState.COMPLETE}:
                inbox.set_state(session, subject, StudyState.PARKED)
                inbox.set_flag(session, subject, reason)
                events.append(session, subject, StudyEvent.PARKED, services.now(), reason=reason)
            else:
                # a further run, by hand: what was there before stands
                issuing.flag(services, session, subject, reason)
