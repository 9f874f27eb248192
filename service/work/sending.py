"""One attempt to send one object. What came of it is recorded together with the next attempt, if there is to be one.

A lost answer makes no twin: the node is asked whether it holds the object, or gets the same bytes under the same UID again.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from service.dimse import statuses
from service.dimse.statuses import Action, describe, what_to_do
from service.errors import LmsSrError, OutcomeUnknown, PeerUnavailable, Permanent, Rejected, TemplateError
from service.flow.produce import CLASS_NAMES, EXTRAS, LADDER, SR_CLASSES, Rendition
from service.flow.retry import next_delay
from service.model.events import StudyEvent
from service.settings import Node
from service.store import events, inbox, outbox
from service.store.outbox import OutboxRecord
from service.work import delivery, jobs
from service.work.services import Services
from service.work.versions import render_again

_log = logging.getLogger("lms_sr.send")

#: a lost answer is cleared up sooner than a node that is down
_UNKNOWN_DELAY = 5.0
#: attempts after which a fault of our own is shown to a person
_MAX_FAULTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """One attempt: the row as it was before, its number, and whether an earlier attempt may have stored the object.

    ``absent``: the node says that it does not hold it. What it is still working on it does not hold yet, so that alone ends no doubt.
    """

    row: OutboxRecord
    number: int
    in_doubt: bool
    absent: bool = False

    @property
    def ids(self) -> dict[str, object]:
        row = self.row
        return {"outbox": row.id, "study": row.study_instance_uid, "node": row.node, "attempt": self.number}


def send(services: Services, outbox_id: int, attempt: int) -> str:
    """Make attempt number ``attempt``; return what came of it in a word."""
    with services.transaction() as session:
        row = outbox.get(session, outbox_id)
        if row is None or not outbox.begin(session, outbox_id, attempt):
            return "overtaken"
        part10 = outbox.content(session, outbox_id)
    this = _Attempt(row=row, number=attempt, in_doubt=row.begun > 0)
    node = services.settings.node(row.node)
    if node is None or not node.port:
        reason = f"[[nodes]] has no '{row.node}' with a port any more: add it, then 'lms-sr outbox retry {outbox_id}'"
        return _parked(services, this, None, reason, may_be_there=this.in_doubt)
    if this.in_doubt:
        there = _ask(services, node, this)
        if there:
            return _sent(services, this, statuses.SUCCESS, "found there, the answer was lost")
        if there is False:
            this = replace(this, absent=True)
    return _store(services, node, this, part10)


def _store(services: Services, node: Node, this: _Attempt, part10: bytes) -> str:
    try:
        outcome = services.peers.store(node, this.row, part10)
    except OutcomeUnknown as error:
        return _unknown(services, this, str(error))
    except Rejected as error:
        if error.status == statuses.CLASS_NOT_SUPPORTED:
            return _other_class(services, node, this)
        return _parked(services, this, error.status, str(error), may_be_there=this.in_doubt)
    except PeerUnavailable as error:
        return _failed(services, this, error.status, str(error))
    except Permanent as error:
        return _parked(services, this, None, str(error), may_be_there=this.in_doubt)
    return _answered(services, node, this, outcome.status, outcome.comment)


def _answered(services: Services, node: Node, this: _Attempt, status: int, comment: str) -> str:
    if status == statuses.CLASS_NOT_SUPPORTED:
        return _other_class(services, node, this)
    comment = "".join(c if c.isprintable() else "?" for c in comment)
    said = f"{describe(status)}{f': {comment}' if comment else ''}"
    # what a status means that the standard does not know is the node's secret
    doubt = this.in_doubt or statuses.row_of(status) is None
    match what_to_do(status, attempt=this.number):
        case Action.DELIVERED | Action.DELIVERED_WITH_WARNING:
            return _sent(services, this, status, comment if status != statuses.SUCCESS else "")
        case Action.RETRY:
            return _failed(services, this, status, f"{node.name} answers {said}", may_be_there=doubt)
        case Action.PARK:
            return _parked(services, this, status, f"{node.name} answers {said}", may_be_there=doubt)


def _ask(services: Services, node: Node, this: _Attempt) -> bool | None:
    """Say whether the node holds the object; None where it cannot be asked or gives no answer."""
    if not node.query:
        return None
    try:
        return services.peers.holds(node, this.row)
    except LmsSrError as error:
        _log.warning("node_not_asked", extra={"ids": {**this.ids, "error": type(error).__name__}})
        return None


# --- what is recorded ----------------------------------------------------------------------------------------------------


@contextmanager
def _moving(services: Services, study_instance_uid: str) -> Iterator[Session]:
    """Open a transaction in which the outbox of a study moves on, and the study with it.

    A study that stands where its outbox says does so afterwards, too; one that waits for images or for composing, or that was parked
    for another reason, stays where it is. The study is locked first, as everywhere, so that no two wait for each other.
    """
    with services.transaction() as session:
        study = inbox.get_study(session, study_instance_uid, lock=True)
        before = delivery.standing(outbox.for_study(session, study_instance_uid))
        yield session
        after = delivery.standing(outbox.for_study(session, study_instance_uid))
        if study is not None and after is not None and study.state is before:
            inbox.set_state(session, study_instance_uid, after)


def _sent(services: Services, this: _Attempt, status: int, comment: str) -> str:
    row, now = this.row, services.now()
    with _moving(services, row.study_instance_uid) as session:
        if not outbox.record_sent(session, row.id, this.number, status=status, message=comment, at=now):
            return "overtaken"
        _tell(
            session,
            this,
            StudyEvent.SENT,
            now,
            status=f"{status:04X}H",
            comment=f": {comment}" if comment else "",
        )
    _log.info("sent", extra={"ids": {**this.ids, "status": f"{status:04X}"}})
    return "sent"


def _failed(
    services: Services, this: _Attempt, status: int | None, reason: str, *, may_be_there: bool | None = None
) -> str:
    delay = next_delay(this.number, services.settings.outgoing, services.jitter())
    doubt = this.in_doubt if may_be_there is None else may_be_there
    return _again(services, this, StudyEvent.SEND_FAILED, delay, status=status, reason=reason, may_be_there=doubt)


def _unknown(services: Services, this: _Attempt, reason: str) -> str:
    delay = next_delay(this.number, services.settings.outgoing, services.jitter())
    if this.number == 1:
        delay = min(delay, _UNKNOWN_DELAY)
    return _again(services, this, StudyEvent.SEND_UNKNOWN, delay, status=None, reason=reason, may_be_there=True)


def _again(
    services: Services,
    this: _Attempt,
    event: StudyEvent,
    delay: float,
    *,
    status: int | None,
    reason: str,
    may_be_there: bool,
) -> str:
    row, now = this.row, services.now()
    due = now + dt.timedelta(seconds=delay)
    with _moving(services, row.study_instance_uid) as session:
        if not outbox.record_retry(
            session, row.id, this.number, status=status, message=reason, next_at=due, may_be_there=may_be_there
        ):
            outbox.record_overtaken(session, row.id, this.number, status=status, may_be_there=may_be_there)
            return "overtaken"
        _tell(session, this, event, now, reason=reason, delay=f"{delay:.0f}")
        services.jobs.enqueue(session, jobs.send(row.id, this.number + 1, row.node), delay=delay)
    _log.warning(event.value, extra={"ids": {**this.ids, "again_in_seconds": round(delay)}})
    return event.value


def _parked(services: Services, this: _Attempt, status: int | None, reason: str, *, may_be_there: bool) -> str:
    row, now = this.row, services.now()
    with _moving(services, row.study_instance_uid) as session:
        if not outbox.record_parked(
            session, row.id, this.number, status=status, message=reason, may_be_there=may_be_there
        ):
            outbox.record_overtaken(session, row.id, this.number, status=status, may_be_there=may_be_there)
            return "overtaken"
        _tell(session, this, StudyEvent.PARKED, now, reason=f"{row.kind} for {row.node}: {reason}")
    _log.error("send_parked", extra={"ids": this.ids})
    return "parked"


def _other_class(services: Services, node: Node, this: _Attempt) -> str:
    """Learn which classes the node takes, and make the object again as one of them."""
    row, now = this.row, services.now()
    if row.kind == "rejection":
        return _needless(services, this)
    if this.in_doubt and not this.absent:
        # made again it would have another UID, and might be the second one there
        reason = f"{node.name} does not take {CLASS_NAMES[row.sop_class_uid]} any more, and may hold the object from an earlier attempt"
        return _parked(services, this, statuses.CLASS_NOT_SUPPORTED, reason, may_be_there=True)
    try:
        accepted = services.peers.accepted_classes(node)
    except PeerUnavailable as error:
        return _failed(services, this, error.status, str(error))
    except Permanent as error:
        return _parked(services, this, None, str(error), may_be_there=this.in_doubt)
    with services.transaction() as session:
        outbox.learn(session, node.name, sorted(accepted), now)
    other = delivery.lesser_class(accepted, row.sop_class_uid, row.kind)
    if other is None:
        reason = _no_class(node, row)
        return _parked(services, this, statuses.CLASS_NOT_SUPPORTED, reason, may_be_there=this.in_doubt)
    try:
        rendition = render_again(services, row, other)
    except (Permanent, TemplateError) as error:
        return _parked(services, this, None, str(error), may_be_there=this.in_doubt)
    return _replaced(services, this, rendition)


def _needless(services: Services, this: _Attempt) -> str:
    """Give up a rejection note that the node does not take: the last version says to its readers that the report was withdrawn."""
    row = this.row
    message = f"{row.node} takes no rejection notes: the last version says that the report was withdrawn"
    with _moving(services, row.study_instance_uid) as session:
        done = outbox.record_needless(
            session, row.id, this.number, status=statuses.CLASS_NOT_SUPPORTED, message=message
        )
        if not done:
            return "overtaken"
        _tell(session, this, StudyEvent.NOT_TAKEN, services.now())
    _log.info("note_not_taken", extra={"ids": this.ids})
    return "not taken"


def _no_class(node: Node, row: OutboxRecord) -> str:
    """Return why an object cannot go to a node, and the way out."""
    retry = f"then 'lms-sr outbox retry {row.id}'"
    if row.kind in EXTRAS:
        name = CLASS_NAMES[row.sop_class_uid]
        return (
            f"{node.name} does not take {name}: allow it there, {retry}, or take '{row.kind}' out of the node's objects"
        )
    names = ", ".join(CLASS_NAMES[c] for c in (LADDER if row.kind == "report" else SR_CLASSES))
    return f"{node.name} takes none of {names}: allow one of them there, {retry}"


def _replaced(services: Services, this: _Attempt, rendition: Rendition) -> str:
    row, now = this.row, services.now()
    delay = 0.0
    if this.number > 1 and delivery.is_step_up(row.sop_class_uid, rendition.sop_class_uid):
        # a node that takes this today and that tomorrow (two of them behind one address, say) must not be tried without a pause
        delay = next_delay(this.number, services.settings.outgoing, services.jitter())
    with _moving(services, row.study_instance_uid) as session:
        # made for another node at this very moment: one UID, one content
        rendition = outbox.frozen(session, row, rendition.sop_class_uid) or rendition
        due = now + dt.timedelta(seconds=delay)
        if not outbox.replace_rendition(session, row.id, this.number, rendition, next_at=due):
            outbox.record_overtaken(
                session, row.id, this.number, status=statuses.CLASS_NOT_SUPPORTED, may_be_there=this.in_doubt
            )
            return "overtaken"
        _tell(
            session,
            this,
            StudyEvent.CLASS_CHANGED,
            now,
            old_class=CLASS_NAMES[row.sop_class_uid],
            new_class=CLASS_NAMES[rendition.sop_class_uid],
        )
        services.jobs.enqueue(session, jobs.send(row.id, this.number + 1, row.node), delay=delay)
    _log.info("class_changed", extra={"ids": this.ids})
    return "class changed"


def _tell(session: Session, this: _Attempt, event: StudyEvent, at: dt.datetime, **data: object) -> None:
    row = this.row
    known = {"kind": row.kind, "node": row.node, "attempt": this.number}
    events.append(session, row.study_instance_uid, event, at, **known, **data)


def after_fault(services: Services, outbox_id: int, attempt: int) -> None:
    """Record that an attempt ended by a fault of our own: it is tried again, and parked when it goes on failing."""
    with services.reading() as session:
        row = outbox.get(session, outbox_id)
    if row is None:
        return
    this = _Attempt(row=row, number=attempt, in_doubt=True)
    reason = "a fault of LMS-SR: see the log"
    if attempt >= _MAX_FAULTS:
        _parked(services, this, None, reason, may_be_there=True)
    else:
        _failed(services, this, None, reason)


# --- by hand -------------------------------------------------------------------------------------------------------------


def retry(services: Services, outbox_id: int) -> OutboxRecord | None:
    """Send a parked or waiting object now; None where there is no such row, or it needs no sending."""
    with services.reading() as session:
        known = outbox.get(session, outbox_id)
    if known is None:
        return None
    with _moving(services, known.study_instance_uid) as session:
        row = outbox.requeue(session, outbox_id, services.now())
        if row is None:
            return None
        events.append(session, row.study_instance_uid, StudyEvent.RETRIED, services.now(), kind=row.kind)
        services.jobs.enqueue(session, jobs.send(row.id, row.attempt + 1, row.node))
        return row


def park(services: Services, outbox_id: int, reason: str, *, attempt: int | None = None) -> OutboxRecord | None:
    """Stop sending a waiting object; None where there is no such row, it does not wait, or not for ``attempt``."""
    with services.reading() as session:
        known = outbox.get(session, outbox_id)
    if known is None:
        return None
    with _moving(services, known.study_instance_uid) as session:
        row = outbox.get(session, outbox_id)
        if row is None or attempt not in {None, row.attempt + 1} or not outbox.park(session, outbox_id, reason):
            return None
        said = f"{row.kind} for {row.node}: {reason}"
        events.append(session, row.study_instance_uid, StudyEvent.PARKED, services.now(), reason=said)
        return outbox.get(session, outbox_id)
