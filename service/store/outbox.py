"""What is to be sent: a row with the frozen bytes stands here before the first attempt, and stays."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.flow.produce import Kind, Rendition
from service.sr.companion import Profile
from service.store.engine import changed
from service.store.tables import DestinationRow, OutboxRow


class OutboxState(enum.StrEnum):
    """Where an object to be sent stands."""

    QUEUED = "queued"
    SENT = "sent"
    COMMITTED = "committed"
    PARKED = "parked"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRecord:
    """One object for one destination, without its bytes (`content` reads them)."""

    id: int
    study_instance_uid: str
    report_id: int
    version: int
    kind: Kind
    node: str
    profile: Profile
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    state: OutboxState
    attempt: int
    begun: int
    next_at: dt.datetime | None
    last_status: int | None
    last_message: str
    created_at: dt.datetime
    sent_at: dt.datetime | None

    @property
    def may_be_there(self) -> bool:
        """Say whether the node may hold the object: it was sent, or an attempt was begun whose outcome is not known."""
        return self.begun > 0 or self.state in {OutboxState.SENT, OutboxState.COMMITTED}


def put(
    session: Session,
    rendition: Rendition,
    *,
    study_instance_uid: str,
    report_id: int,
    version: int,
    node: str,
    profile: Profile,
    at: dt.datetime,
) -> int | None:
    """Queue a rendition for a node; None where this very object was queued for it before."""
    there = session.scalar(
        select(OutboxRow.id).where(OutboxRow.node == node, OutboxRow.sop_instance_uid == rendition.sop_instance_uid)
    )
    if there is not None:
        return None
    row = OutboxRow(
        study_instance_uid=study_instance_uid,
        report_id=report_id,
        version=version,
        kind=rendition.kind,
        node=node,
        profile=profile,
        sop_class_uid=rendition.sop_class_uid,
        sop_instance_uid=rendition.sop_instance_uid,
        series_instance_uid=rendition.series_instance_uid,
        transfer_syntax_uid=rendition.transfer_syntax_uid,
        content=rendition.part10,
        state=OutboxState.QUEUED.value,
        attempt=0,
        begun=0,
        next_at=at,
        created_at=at,
    )
    session.add(row)
    session.flush()
    return row.id


def get(session: Session, outbox_id: int) -> OutboxRecord | None:
    """Return a row, or None."""
    return next(iter(_select(session, OutboxRow.id == outbox_id)), None)


def content(session: Session, outbox_id: int) -> bytes:
    """Return the bytes of a row, as a DICOM file."""
    return session.scalars(select(OutboxRow.content).where(OutboxRow.id == outbox_id)).one()


def frozen(session: Session, like: OutboxRecord, sop_class_uid: str) -> Rendition | None:
    """Return the object that ``like`` would be in another SOP class, where it was made before, for another node."""
    query = select(OutboxRow).where(
        OutboxRow.report_id == like.report_id, OutboxRow.kind == like.kind, OutboxRow.sop_class_uid == sop_class_uid
    )
    if like.kind != "report":
        # the profile words the companion only
        query = query.where(OutboxRow.profile == like.profile)
    row = session.scalars(query.order_by(OutboxRow.id).limit(1)).first()
    if row is None:
        return None
    return Rendition(
        kind=like.kind,
        sop_class_uid=row.sop_class_uid,
        sop_instance_uid=row.sop_instance_uid,
        series_instance_uid=row.series_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        part10=row.content,
    )


def for_study(session: Session, study_instance_uid: str, *, lock: bool = False) -> tuple[OutboxRecord, ...]:
    """Return the rows of a study, oldest first; ``lock``: no attempt begins or ends before the transaction does."""
    return _select(session, OutboxRow.study_instance_uid == study_instance_uid, lock=lock)


def in_state(session: Session, state: OutboxState) -> tuple[OutboxRecord, ...]:
    """Return the rows of one state, oldest first."""
    return _select(session, OutboxRow.state == state.value)


def everything(session: Session, *, limit: int = 1000) -> tuple[OutboxRecord, ...]:
    """Return the newest rows, oldest first."""
    newest = session.scalars(select(OutboxRow.id).order_by(OutboxRow.id.desc()).limit(limit))
    return _select(session, OutboxRow.id.in_(list(newest)))


def sent_uids(session: Session, study_instance_uid: str) -> frozenset[str]:
    """Return the SOP Instance UIDs that are ours in a study: what came from this outbox, whatever became of it."""
    return frozenset(
        session.scalars(select(OutboxRow.sop_instance_uid).where(OutboxRow.study_instance_uid == study_instance_uid))
    )


def begin(session: Session, outbox_id: int, attempt: int) -> bool:
    """Say that attempt number ``attempt`` is about to be made; false where it must not be: it was recorded, or the row is not queued."""
    return changed(
        session.execute(
            update(OutboxRow)
            .where(
                OutboxRow.id == outbox_id,
                OutboxRow.attempt == attempt - 1,
                OutboxRow.state == OutboxState.QUEUED.value,
            )
            .values(begun=attempt)
        )
    )


def record_sent(session: Session, outbox_id: int, attempt: int, *, status: int, message: str, at: dt.datetime) -> bool:
    """Record that attempt number ``attempt`` delivered; false where another process has recorded it already.

    An object that was superseded, or parked by hand, while it was on its way is sent all the same.
    """
    return _attempted(
        session,
        outbox_id,
        attempt,
        {
            "state": OutboxState.SENT.value,
            "last_status": status,
            "last_message": message,
            "sent_at": at,
            "next_at": None,
        },
        (OutboxState.QUEUED, OutboxState.SUPERSEDED, OutboxState.PARKED),
    )


def record_retry(
    session: Session,
    outbox_id: int,
    attempt: int,
    *,
    status: int | None,
    message: str,
    next_at: dt.datetime,
    may_be_there: bool,
) -> bool:
    """Record that attempt number ``attempt`` did not deliver and when the next is due; false where that was recorded already.

    ``may_be_there``: this attempt, or one before it, may have stored the object all the same.
    """
    values: dict[str, object] = {
        "last_status": status,
        "last_message": message,
        "next_at": next_at,
        "begun": attempt if may_be_there else 0,
    }
    return _attempted(session, outbox_id, attempt, values)


def record_parked(
    session: Session, outbox_id: int, attempt: int, *, status: int | None, message: str, may_be_there: bool
) -> bool:
    """Record that attempt number ``attempt`` was refused for good; false where that was recorded already."""
    return _attempted(
        session,
        outbox_id,
        attempt,
        {
            "state": OutboxState.PARKED.value,
            "last_status": status,
            "last_message": message,
            "next_at": None,
            "begun": attempt if may_be_there else 0,
        },
    )


def record_needless(session: Session, outbox_id: int, attempt: int, *, status: int | None, message: str) -> bool:
    """Record that attempt number ``attempt`` was refused, and that nothing is lost by that; false where it was recorded already."""
    values: dict[str, object] = {
        "state": OutboxState.SUPERSEDED.value,
        "last_status": status,
        "last_message": message,
        "next_at": None,
        "begun": 0,
    }
    return _attempted(session, outbox_id, attempt, values)


def record_overtaken(session: Session, outbox_id: int, attempt: int, *, status: int | None, may_be_there: bool) -> bool:
    """Record that attempt number ``attempt`` did not deliver an object that was superseded, or parked by hand, meanwhile.

    It stays what it became; but whether the node may hold it counts for what the next version replaces.
    """
    values: dict[str, object] = {"last_status": status, "begun": attempt if may_be_there else 0}
    return _attempted(session, outbox_id, attempt, values, (OutboxState.SUPERSEDED, OutboxState.PARKED))


def _attempted(
    session: Session,
    outbox_id: int,
    attempt: int,
    values: dict[str, object],
    states: tuple[OutboxState, ...] = (OutboxState.QUEUED,),
) -> bool:
    done = session.execute(
        update(OutboxRow)
        .where(
            OutboxRow.id == outbox_id,
            OutboxRow.attempt == attempt - 1,
            OutboxRow.state.in_([state.value for state in states]),
        )
        .values(attempt=attempt, **values)
    )
    return changed(done)


def park(session: Session, outbox_id: int, reason: str) -> bool:
    """Park a queued row; false where it is not queued."""
    done = session.execute(
        update(OutboxRow)
        .where(OutboxRow.id == outbox_id, OutboxRow.state == OutboxState.QUEUED.value)
        .values(state=OutboxState.PARKED.value, last_message=reason, next_at=None)
    )
    return changed(done)


def requeue(session: Session, outbox_id: int, at: dt.datetime) -> OutboxRecord | None:
    """Put a parked or waiting row back into the queue, due now; None where it is sent or superseded.

    The number of attempts goes on: the next one is ``attempt + 1`` of the record that is returned.
    """
    waiting = (OutboxState.QUEUED.value, OutboxState.PARKED.value)
    done = session.execute(
        update(OutboxRow)
        .where(OutboxRow.id == outbox_id, OutboxRow.state.in_(waiting))
        # one attempt is counted, so that a delayed workflow of the attempt that waited finds its number taken
        .values(state=OutboxState.QUEUED.value, attempt=OutboxRow.attempt + 1, next_at=at)
    )
    return get(session, outbox_id) if changed(done) else None


def replace_rendition(
    session: Session, outbox_id: int, attempt: int, rendition: Rendition, *, next_at: dt.datetime | None = None
) -> bool:
    """Put another rendition in the place of one whose class the destination refuses; it was never stored there.

    False where the attempt was recorded already.
    """
    return _attempted(
        session,
        outbox_id,
        attempt,
        {
            "sop_class_uid": rendition.sop_class_uid,
            "sop_instance_uid": rendition.sop_instance_uid,
            "series_instance_uid": rendition.series_instance_uid,
            "transfer_syntax_uid": rendition.transfer_syntax_uid,
            "content": rendition.part10,
            "begun": 0,
            "next_at": next_at,
        },
    )


def supersede(session: Session, study_instance_uid: str, version: int) -> tuple[OutboxRecord, ...]:
    """Take older versions out of the queue, and return them: a newer one replaces them before they were sent."""
    waiting = (OutboxState.QUEUED.value, OutboxState.PARKED.value)
    older = (
        OutboxRow.study_instance_uid == study_instance_uid,
        OutboxRow.version < version,
        OutboxRow.state.in_(waiting),
        # what a note takes out of use stays out of use, whatever comes later
        OutboxRow.kind != "rejection",
    )
    found = _select(session, *older)
    session.execute(update(OutboxRow).where(*older).values(state=OutboxState.SUPERSEDED.value, next_at=None))
    return found


def learn(session: Session, node: str, sop_classes: Sequence[str], at: dt.datetime) -> None:
    """Keep which classes a destination accepts."""
    values: dict[str, object] = {"sop_classes": " ".join(sop_classes), "learnt_at": at}
    known = update(DestinationRow).where(DestinationRow.node == node).values(**values)
    if changed(session.execute(known)):
        return
    try:
        with session.begin_nested():
            session.execute(insert(DestinationRow).values(node=node, **values))
    except IntegrityError:
        # asked by two at the same moment
        session.execute(known)


def accepted(session: Session, node: str) -> frozenset[str] | None:
    """Return which classes a destination accepts, or None where nobody asked it yet."""
    row = session.get(DestinationRow, node)
    return frozenset(row.sop_classes.split()) if row else None


_COLUMNS = tuple(c for c in OutboxRow.__table__.columns if c.name != "content")


def _select(session: Session, *where: ColumnElement[bool], lock: bool = False) -> tuple[OutboxRecord, ...]:
    query = select(*_COLUMNS).where(*where).order_by(OutboxRow.id)
    # SQLite has one writer, and no such clause
    rows = session.execute(query.with_for_update() if lock else query)
    return tuple(OutboxRecord(**{**row._asdict(), "state": OutboxState(row.state)}) for row in rows)
