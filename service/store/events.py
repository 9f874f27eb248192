"""The story of a study: events appended, never changed."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.model.events import Event, StudyEvent
from service.store.tables import EventRow


def append(session: Session, study_instance_uid: str, event: StudyEvent, at: dt.datetime, **data: object) -> None:
    """Record an event; ``data`` are the values that its sentence names."""
    kept = {key: str(value) for key, value in data.items()}
    session.add(EventRow(study_instance_uid=study_instance_uid, at=at, name=event.value, data=kept))


def story(session: Session, study_instance_uid: str) -> tuple[Event, ...]:
    """Return the events of a study, oldest first."""
    rows = session.scalars(
        select(EventRow).where(EventRow.study_instance_uid == study_instance_uid).order_by(EventRow.id)
    )
    return tuple(Event(at=r.at, event=StudyEvent(r.name), data=r.data) for r in rows)


def last(session: Session, study_instance_uid: str) -> Event | None:
    """Return the newest event of a study."""
    row = session.scalars(
        select(EventRow).where(EventRow.study_instance_uid == study_instance_uid).order_by(EventRow.id.desc()).limit(1)
    ).first()
    return Event(at=row.at, event=StudyEvent(row.name), data=row.data) if row else None
