"""What happened to a report: the steps it took, where facts differ from what it says, and which reports of others it goes over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from service.flow.carry import Difference
from service.flow.lifecycle import Action, State, Transition
from service.model.measurement import Reference
from service.store.tables import DifferenceRow, ReportRow, SourceRow, TransitionRow

_TAKEN_IN, _REPLACED = "taken_in", "replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A step that a report took, and the version that came of it."""

    report_id: int
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
            report_id=row.report_id,
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


def add_sources(
    session: Session, report_id: int, *, taken_in: Iterable[Reference], replaced: Iterable[Reference]
) -> None:
    """Keep which reports of others a version has the content of, and which it replaces without."""
    rows = [
        {
            "report_id": report_id,
            "use": use,
            "sop_class_uid": one.sop_class_uid,
            "sop_instance_uid": one.sop_instance_uid,
            "series_instance_uid": one.series_instance_uid,
        }
        for use, references in ((_TAKEN_IN, taken_in), (_REPLACED, replaced))
        for one in references
    ]
    if rows:
        session.execute(insert(SourceRow), rows)


def taken_in(session: Session, report_id: int) -> tuple[Reference, ...]:
    """Return the reports of others whose content is in a version, in order of their UIDs."""
    query = (
        select(SourceRow)
        .where(SourceRow.report_id == report_id, SourceRow.use == _TAKEN_IN)
        .order_by(SourceRow.sop_instance_uid)
    )
    return tuple(
        Reference(
            sop_class_uid=r.sop_class_uid,
            sop_instance_uid=r.sop_instance_uid,
            series_instance_uid=r.series_instance_uid,
        )
        for r in session.scalars(query)
    )


def gone_over(session: Session, study_instance_uid: str, *, up_to: int | None = None) -> frozenset[str]:
    """Return the SOP Instance UIDs of every report of others that a version of a study took in or replaced.

    ``up_to``: id of the last version that counts.
    """
    query = (
        select(SourceRow.sop_instance_uid)
        .join(ReportRow, ReportRow.id == SourceRow.report_id)
        .where(ReportRow.study_instance_uid == study_instance_uid)
    )
    if up_to is not None:
        query = query.where(ReportRow.id <= up_to)
    return frozenset(session.scalars(query))
