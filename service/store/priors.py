"""Asking nodes for a study's earlier examinations: where that stands, which studies they named, which objects were asked for."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from service.model.prior import PriorReport
from service.model.prior_json import from_json, to_json
from service.store.tables import InstanceRow, PriorAskRow, PriorObjectRow, PriorStudyRow

#: databases limit the number of values in one statement
_CHUNK = 500


class AskState(enum.StrEnum):
    """Where asking stands."""

    #: to be asked (again) before the next draft
    DUE = "due"
    #: an attempt is on its way
    ASKED = "asked"
    #: the first attempt failed: the draft goes on, and a later attempt follows
    AGAIN = "again"
    DONE = "done"
    GIVEN_UP = "given up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Where asking for a study stands."""

    state: AskState
    attempt: int
    failures: int
    #: the draft that waits for the first attempt was asked for by hand
    by_hand: bool


def ask_of(session: Session, study_instance_uid: str, *, lock: bool = False) -> Ask | None:
    """Return where asking stands; None: nobody was asked yet."""
    row = session.get(PriorAskRow, study_instance_uid, populate_existing=True, with_for_update=lock or None)
    if row is None:
        return None
    return Ask(state=AskState(row.state), attempt=row.attempt, failures=row.failures, by_hand=row.by_hand)


def begin(session: Session, study_instance_uid: str, *, by_hand: bool = False) -> int:
    """Count one more attempt, and return its number, from 1."""
    row = _row(session, study_instance_uid)
    row.by_hand = by_hand
    row.attempt += 1
    row.state = AskState.ASKED.value
    return row.attempt


def ended(session: Session, study_instance_uid: str, state: AskState, *, failed: bool) -> int:
    """Say how an attempt ended; return how many failed in a row."""
    row = _row(session, study_instance_uid)
    row.state = state.value
    row.failures = row.failures + 1 if failed else 0
    return row.failures


def ask_again(session: Session, study_instance_uid: str) -> None:
    """Have nodes asked again before the next draft, where they were asked before."""
    row = session.get(PriorAskRow, study_instance_uid)
    if row is not None:
        row.state, row.failures = AskState.DUE.value, 0


def _row(session: Session, study_instance_uid: str) -> PriorAskRow:
    row = session.get(PriorAskRow, study_instance_uid, populate_existing=True, with_for_update=True)
    if row is None:
        row = PriorAskRow(
            study_instance_uid=study_instance_uid, state=AskState.DUE.value, attempt=0, failures=0, by_hand=False
        )
        session.add(row)
    return row


def add_studies(session: Session, study_instance_uid: str, prior_studies: Iterable[str], node: str) -> None:
    """Keep which studies a node named as earlier examinations."""
    known = set(studies(session, study_instance_uid))
    for uid in prior_studies:
        if uid not in known:
            known.add(uid)
            session.add(
                PriorStudyRow(
                    study_instance_uid=study_instance_uid, prior_study_uid=uid, node=node, instances=0, content=""
                )
            )


def studies(session: Session, study_instance_uid: str) -> tuple[str, ...]:
    """Return the studies that nodes named as earlier examinations of a study."""
    query = select(PriorStudyRow.prior_study_uid).where(PriorStudyRow.study_instance_uid == study_instance_uid)
    return tuple(session.scalars(query.order_by(PriorStudyRow.id)))


def add_objects(session: Session, objects: Iterable[tuple[str, str]], at: dt.datetime) -> None:
    """Keep which objects are asked for, as (study, SOP instance), before they are."""
    wanted = {instance: study for study, instance in objects}
    known = asked_for(session, wanted)
    for instance, study in sorted(wanted.items()):
        if instance not in known:
            session.add(PriorObjectRow(sop_instance_uid=instance, prior_study_uid=study, asked_at=at))


def asked_for(session: Session, instances: Iterable[str]) -> frozenset[str]:
    """Return those of some SOP Instance UIDs that were asked for as earlier examinations."""
    uids = sorted(set(instances))
    found: set[str] = set()
    for start in range(0, len(uids), _CHUNK):
        chunk = uids[start : start + _CHUNK]
        found.update(
            session.scalars(select(PriorObjectRow.sop_instance_uid).where(PriorObjectRow.sop_instance_uid.in_(chunk)))
        )
    return frozenset(found)


def everything_asked_for(session: Session) -> frozenset[str]:
    """Return the SOP Instance UIDs of all that was ever asked for as earlier examinations."""
    return frozenset(session.scalars(select(PriorObjectRow.sop_instance_uid)))


def not_indexed(session: Session, study_instance_uid: str) -> tuple[str, ...]:
    """Return the SOP Instance UIDs that were asked for as earlier examinations of a study and are not in the index."""
    query = (
        select(PriorObjectRow.sop_instance_uid)
        .join(PriorStudyRow, PriorStudyRow.prior_study_uid == PriorObjectRow.prior_study_uid)
        .outerjoin(InstanceRow, InstanceRow.sop_instance_uid == PriorObjectRow.sop_instance_uid)
        .where(PriorStudyRow.study_instance_uid == study_instance_uid, InstanceRow.sop_instance_uid.is_(None))
        .order_by(PriorObjectRow.sop_instance_uid)
    )
    return tuple(session.scalars(query))


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An earlier examination of a study, and what was read of it."""

    prior_study_uid: str
    node: str
    #: instances of it that were here when it was read
    instances: int
    #: None: not read yet, or nothing in it can be compared
    prior: PriorReport | None


def kept(session: Session, study_instance_uid: str) -> tuple[Kept, ...]:
    """Return the earlier examinations of a study, with what was read of them."""
    query = select(PriorStudyRow).where(PriorStudyRow.study_instance_uid == study_instance_uid)
    return tuple(
        Kept(
            prior_study_uid=row.prior_study_uid,
            node=row.node,
            instances=row.instances,
            prior=from_json(row.content) if row.content else None,
        )
        for row in session.scalars(query.order_by(PriorStudyRow.id))
    )


def forget(session: Session, study_instance_uid: str) -> None:
    """Forget what rests on whose study it was: its patient may be another one by now.

    What was read of it as an earlier examination of others is read again, and held against their patient; its own earlier examinations,
    which may be somebody else's, are asked for anew.
    """
    of_others = update(PriorStudyRow).where(PriorStudyRow.prior_study_uid == study_instance_uid)
    session.execute(of_others.values(instances=0, content=""))
    session.execute(delete(PriorStudyRow).where(PriorStudyRow.study_instance_uid == study_instance_uid))
    ask_again(session, study_instance_uid)


def keep(
    session: Session, study_instance_uid: str, prior_study_uid: str, prior: PriorReport | None, instances: int
) -> None:
    """Keep what was read of an earlier examination, and from how many instances."""
    query = select(PriorStudyRow).where(
        PriorStudyRow.study_instance_uid == study_instance_uid, PriorStudyRow.prior_study_uid == prior_study_uid
    )
    row = session.scalars(query).first()
    if row is None:
        row = PriorStudyRow(
            study_instance_uid=study_instance_uid, prior_study_uid=prior_study_uid, node="", instances=0, content=""
        )
        session.add(row)
    row.instances = instances
    row.content = to_json(prior) if prior is not None else ""
