"""What happened to a report: the steps it took, and where facts differ from what it says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from service.flow.carry import Difference
from service.flow.lifecycle import Action, State, Transition
from service.store.tables import DifferenceRow, TransitionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A step that a report took, and the version that came of it."""

    version: int
    transition: Transition


def record(session: Session, report_id: int, study_instance_uid: str, version: int, transition: Transition) -> None:
    """Add a step to the history of a study's report."""
    session.add(
        TransitionRow(
            report_id=report_id,
            study_instance_uid=study_instance_uid,
            version=version,
            action=transition.action.value,
            state_before=transition.before.value if transition.before else "",
            state_after=transition.after.value,
            at=transition.at,
            who=transition.who,
            why=transition.why,
        )
    )


def history(session: Session, study_instance_uid: str) -> tuple[Taken, ...]:
    """Return every step of a study's report, oldest first."""
    query = (
        select(TransitionRow).where(TransitionRow.study_instance_uid == study_instance_uid).order_by(TransitionRow.id)
    )
    return tuple(
        Taken(
            version=row.version,
            transition=Transition(
                action=Action(row.action),
                before=State(row.state_before) if row.state_before else None,
                after=State(row.state_after),
                at=row.at,
                who=row.who,
                why=row.why,
            ),
        )
        for row in session.scalars(query)
    )


def add_differences(session: Session, report_id: int, found: Iterable[Difference], at: dt.datetime) -> int:
    """Keep differences of a version that are not kept yet; return how many are new."""
    known = set(differences(session, report_id))
    new = [d for d in dict.fromkeys(found) if d not in known]
    rows = [
        {
            "report_id": report_id,
            "item": d.item,
            "subject": d.subject,
            "stands": d.stands,
            "found": d.found,
            "source": d.source,
            "at": at,
        }
        for d in new
    ]
    if rows:
        session.execute(insert(DifferenceRow), rows)
    return len(new)


def differences(session: Session, report_id: int) -> tuple[Difference, ...]:
    """Return where facts differ from a version, in the order in which that was found."""
    query = select(DifferenceRow).where(DifferenceRow.report_id == report_id).order_by(DifferenceRow.id)
    return tuple(
        Difference(item=r.item, subject=r.subject, stands=r.stands, found=r.found, source=r.source)
        for r in session.scalars(query)
    )
