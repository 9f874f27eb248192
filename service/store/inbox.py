"""Received instances and the studies that they make."""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from service.model.events import StudyEvent, StudyState
from service.model.study import Header, Instance
from service.read.facts_json import header_from_json, header_to_json, own_from_json, own_to_json
from service.store import events, priors
from service.store.engine import changed
from service.store.tables import HeaderRow, Installation, InstanceRow, StudyRow

#: databases limit the number of values in one statement
_CHUNK = 500
#: why a study counts as complete that is here as an earlier examination alone
FETCHED = "asked for as an earlier examination"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """A study and where it stands, as it was when it was read."""

    study_instance_uid: str
    state: StudyState
    revision: int
    completed_revision: int
    instance_count: int
    first_received_at: dt.datetime
    last_received_at: dt.datetime
    burst_started_at: dt.datetime
    accession_number: str
    calling_ae: str
    called_ae: str
    source_address: str
    completion_reason: str
    forced: bool
    flag: str
    crashes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyArrival:
    """What a batch brought to one study: ``revision`` is the study's new one."""

    study_instance_uid: str
    new_instances: int
    revision: int
    #: instances that were known, and have another header now
    corrected: int = 0


def installation(session: Session, at: dt.datetime) -> str:
    """Return the identity of this installation, made once and kept."""
    known = select(Installation).order_by(Installation.created_at, Installation.id)
    row = session.scalars(known).first()
    if row is None and session.get_bind().dialect.name == "postgresql":
        # two processes that start together must not become two installations (SQLite has one writer anyway)
        session.execute(text(f"LOCK TABLE {Installation.__tablename__} IN SHARE ROW EXCLUSIVE MODE"))
        row = session.scalars(known).first()
    if row is None:
        row = Installation(id=str(uuid.uuid4()), created_at=at)
        session.add(row)
        session.flush()
    return row.id


def add_instances(session: Session, instances: Sequence[Instance], at: dt.datetime) -> tuple[StudyArrival, ...]:
    """Add what is not known yet; of what is known, take the header where it came later than the one that we have, and differs.

    A study's revision goes up once if the batch brought something new to it. Of a study that counted as complete, the completion
    clock starts again.

    What was asked for as an earlier examination is no arrival, as long as nothing else of its study is here: it is indexed, no more.
    """
    unique = {i.sop_instance_uid: i for i in reversed(instances)}
    known = _known(session, unique)
    new = [i for uid, i in sorted(unique.items()) if uid not in known]
    later = [i for uid, i in sorted(unique.items()) if uid in known and (i.received_at or at) > known[uid]]
    corrections = _correct(session, later, at) if later else ()
    by_study = _by_study(new)
    asked = priors.asked_for(session, [i.sop_instance_uid for i in new])
    arrivals = tuple(
        arrival
        for uid, members in sorted(by_study.items())
        if (arrival := _arrived(session, uid, members, asked, at)) is not None
    )
    if new:
        hashes = _headers(session, new)
        session.execute(insert(InstanceRow), [_row(i, hashes[id(i.header)], at) for i in new])
    return (*arrivals, *corrections)


def _by_study(instances: Iterable[Instance]) -> dict[str, list[Instance]]:
    found: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        found[instance.study_instance_uid].append(instance)
    return found


def _correct(session: Session, later: list[Instance], at: dt.datetime) -> tuple[StudyArrival, ...]:
    """Take headers that came again: the newest identity wins. What is the same as before changes nothing."""
    hashes = _headers(session, later)
    changed_ones = []
    for instance in later:
        row = _row(instance, hashes[id(instance.header)], at)
        held = session.execute(
            select(InstanceRow.header_hash, InstanceRow.own, InstanceRow.study_instance_uid).where(
                InstanceRow.sop_instance_uid == instance.sop_instance_uid
            )
        ).one()
        same = held.header_hash == row["header_hash"] and held.own == row["own"]
        if same or held.study_instance_uid != instance.study_instance_uid:
            continue
        session.execute(
            update(InstanceRow).where(InstanceRow.sop_instance_uid == instance.sop_instance_uid).values(**row)
        )
        changed_ones.append(instance)
    found = (_corrected(session, uid, members, at) for uid, members in sorted(_by_study(changed_ones).items()))
    return tuple(arrival for arrival in found if arrival is not None)


def _corrected(session: Session, uid: str, members: list[Instance], at: dt.datetime) -> StudyArrival | None:
    """Move a study on whose headers were corrected; None where it is here as an earlier examination alone."""
    row = session.get_one(StudyRow, uid, populate_existing=True, with_for_update=True)
    if not row.fetched:
        _move_on(session, row, members, at)
    times = [m.received_at or at for m in members]
    row.last_received_at = max(row.last_received_at, *times)
    accession = max((m.header.text("AccessionNumber") for m in members), default="")
    row.accession_number = accession[:64] or row.accession_number
    priors.forget(session, uid)
    _tell_ways(session, StudyEvent.CORRECTED, uid, members, at)
    session.flush()
    if row.fetched:
        return None
    return StudyArrival(study_instance_uid=uid, new_instances=0, revision=row.revision, corrected=len(members))


def _arrived(
    session: Session, uid: str, members: list[Instance], asked: frozenset[str], at: dt.datetime
) -> StudyArrival | None:
    """Make or move on a study; None where all that came was asked for, and its study is here for that alone."""
    if any(m.sop_instance_uid not in asked for m in members):
        return _touch(session, uid, members, at)
    row = session.get(StudyRow, uid, populate_existing=True, with_for_update=True)
    if row is not None and not row.fetched:
        return _touch(session, uid, members, at)
    if row is None:
        row = _new_study(uid, members, at)
        row.state, row.fetched, row.completion_reason = StudyState.IGNORED.value, True, FETCHED
        row.revision = row.completed_revision = 1
        session.add(row)
    _count(row, members, at)
    _tell_ways(session, StudyEvent.INSTANCES_INDEXED, uid, members, at)
    session.flush()
    return None


def _new_study(uid: str, members: list[Instance], at: dt.datetime) -> StudyRow:
    times = [m.received_at or at for m in members]
    return StudyRow(
        study_instance_uid=uid,
        state=StudyState.RECEIVED.value,
        revision=0,
        completed_revision=0,
        instance_count=0,
        first_received_at=min(times),
        last_received_at=max(times),
        burst_started_at=min(times),
        accession_number="",
        fetched=False,
    )


def _count(row: StudyRow, members: list[Instance], at: dt.datetime) -> None:
    """Count what came, and from where."""
    times = [m.received_at or at for m in members]
    newest = max(members, key=lambda m: (m.received_at or at, m.sop_instance_uid))
    row.instance_count += len(members)
    row.last_received_at = max(row.last_received_at, *times)
    row.first_received_at = min(row.first_received_at, *times)
    row.calling_ae = newest.calling_ae[:16]
    row.called_ae = newest.called_ae[:16]
    row.source_address = newest.source_address[:64]
    accession = max((m.header.text("AccessionNumber") for m in members), default="")
    row.accession_number = row.accession_number or accession[:64]


def _headers(session: Session, instances: Sequence[Instance]) -> dict[int, str]:
    """Store each distinct header once; return id of the header object → hash."""
    texts: dict[str, str] = {}
    hashes: dict[int, str] = {}
    for header in {id(i.header): i.header for i in instances}.values():
        facts = header_to_json(header)
        digest = hashlib.sha256(facts.encode()).hexdigest()
        hashes[id(header)] = digest
        texts[digest] = facts
    known: set[str] = set()
    for chunk in _chunks(sorted(texts)):
        known.update(session.scalars(select(HeaderRow.hash).where(HeaderRow.hash.in_(chunk))))
    missing = [{"hash": h, "facts": t} for h, t in sorted(texts.items()) if h not in known]
    if missing:
        session.execute(insert(HeaderRow), missing)
    return hashes


def _row(instance: Instance, header_hash: str, at: dt.datetime) -> dict[str, object]:
    return {
        "sop_instance_uid": instance.sop_instance_uid,
        "study_instance_uid": instance.study_instance_uid,
        "series_instance_uid": instance.series_instance_uid,
        "sop_class_uid": instance.sop_class_uid,
        "transfer_syntax_uid": instance.transfer_syntax_uid,
        "header_hash": header_hash,
        "own": own_to_json(instance.own),
        "received_at": instance.received_at or at,
        "calling_ae": instance.calling_ae[:16],
        "called_ae": instance.called_ae[:16],
        "source_address": instance.source_address[:64],
        "path": instance.path,
    }


def _known(session: Session, uids: Iterable[str]) -> dict[str, dt.datetime]:
    """Return those of the SOP Instance UIDs that are known, and when what is known was received."""
    found: dict[str, dt.datetime] = {}
    for chunk in _chunks(sorted(uids)):
        query = select(InstanceRow.sop_instance_uid, InstanceRow.received_at)
        found.update(
            (row.sop_instance_uid, row.received_at)
            for row in session.execute(query.where(InstanceRow.sop_instance_uid.in_(chunk)))
        )
    return found


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[i : i + _CHUNK] for i in range(0, len(values), _CHUNK))


def _touch(session: Session, uid: str, members: list[Instance], at: dt.datetime) -> StudyArrival:
    """Make or move on the study that ``members`` belong to."""
    # locked: what completes the study at this moment has to come before this, or after it
    row = session.get(StudyRow, uid, populate_existing=True, with_for_update=True)
    if row is None:
        row = _new_study(uid, members, at)
        session.add(row)
    _move_on(session, row, members, at)
    row.fetched = False
    _count(row, members, at)
    _tell_ways(session, StudyEvent.INSTANCES_INDEXED, uid, members, at)
    session.flush()
    return StudyArrival(study_instance_uid=uid, new_instances=len(members), revision=row.revision)


def _move_on(session: Session, row: StudyRow, members: list[Instance], at: dt.datetime) -> None:
    """Begin the next revision; of a study that counted as complete, begin to count anew."""
    if row.completed_revision == row.revision and row.revision:
        if not row.fetched:
            events.append(session, row.study_instance_uid, StudyEvent.REOPENED, at)
        row.burst_started_at = min(m.received_at or at for m in members)
        row.state = StudyState.RECEIVED.value
    row.revision += 1
    row.crashes = 0


def _tell_ways(session: Session, event: StudyEvent, uid: str, members: list[Instance], at: dt.datetime) -> None:
    """Record what came, once for each way by which it came."""
    ways: dict[tuple[str, str, str], list[Instance]] = defaultdict(list)
    for member in members:
        ways[(member.calling_ae, member.called_ae, member.source_address)].append(member)
    for (calling, called, address), group in sorted(ways.items()):
        arrived = max(m.received_at or at for m in group)
        events.append(
            session,
            uid,
            event,
            arrived,
            count=len(group),
            calling_ae=calling,
            called_ae=called,
            address=address,
        )


def load_instances(session: Session, study_instance_uid: str) -> list[Instance]:
    """Return the instances of a study; those of one header share the object."""
    headers: dict[str, Header] = {}
    # columns, not objects: a study of 10,000 instances is read each time it is composed
    rows = session.execute(
        select(*InstanceRow.__table__.columns, HeaderRow.facts)
        .join(HeaderRow, HeaderRow.hash == InstanceRow.header_hash)
        .where(InstanceRow.study_instance_uid == study_instance_uid)
        .order_by(InstanceRow.sop_instance_uid)
    )
    found = []
    for row in rows:
        header = headers.get(row.header_hash)
        if header is None:
            header = headers[row.header_hash] = header_from_json(row.facts)
        found.append(
            Instance(
                study_instance_uid=row.study_instance_uid,
                series_instance_uid=row.series_instance_uid,
                sop_instance_uid=row.sop_instance_uid,
                sop_class_uid=row.sop_class_uid,
                transfer_syntax_uid=row.transfer_syntax_uid,
                header=header,
                own=own_from_json(row.own),
                received_at=row.received_at,
                calling_ae=row.calling_ae,
                called_ae=row.called_ae,
                source_address=row.source_address,
                path=row.path,
            )
        )
    return found


def instance_uids(session: Session, study_instance_uid: str) -> frozenset[str]:
    """Return the SOP Instance UIDs that we hold of a study."""
    return frozenset(
        session.scalars(
            select(InstanceRow.sop_instance_uid).where(InstanceRow.study_instance_uid == study_instance_uid)
        )
    )


def arrived(session: Session, studies: Iterable[str]) -> frozenset[str]:
    """Return those of some studies that came here by themselves, not as earlier examinations of others alone."""
    found: set[str] = set()
    for chunk in _chunks(sorted(set(studies))):
        query = select(StudyRow.study_instance_uid).where(
            StudyRow.study_instance_uid.in_(chunk), StudyRow.fetched.is_(False)
        )
        found.update(session.scalars(query))
    return frozenset(found)


def known_paths(session: Session) -> frozenset[str]:
    """Return the path of every indexed file: what the spool has beside these was not indexed yet."""
    return frozenset(session.scalars(select(InstanceRow.path)))


def get_study(session: Session, study_instance_uid: str, *, lock: bool = False) -> StudyRecord | None:
    """Return a study, or None; ``lock``: nobody else changes it before the transaction ends (SQLite has one writer anyway)."""
    row = session.get(StudyRow, study_instance_uid, populate_existing=True, with_for_update=lock or None)
    return _record(row) if row else None


def list_studies(session: Session, *, state: StudyState | None = None, limit: int = 100) -> tuple[StudyRecord, ...]:
    """Return studies, newest arrival first."""
    query = select(StudyRow).order_by(StudyRow.last_received_at.desc(), StudyRow.study_instance_uid).limit(limit)
    if state is not None:
        query = query.where(StudyRow.state == state.value)
    return tuple(_record(r) for r in session.scalars(query))


def find_by_accession(session: Session, accession_number: str) -> tuple[str, ...]:
    """Return the studies with an accession number."""
    query = select(StudyRow.study_instance_uid).where(StudyRow.accession_number == accession_number)
    return tuple(session.scalars(query.order_by(StudyRow.study_instance_uid)))


def count_states(session: Session) -> dict[StudyState, int]:
    """Return how many studies stand where."""
    rows = session.execute(select(StudyRow.state, func.count()).group_by(StudyRow.state))
    return {StudyState(state): count for state, count in rows}


def complete(session: Session, study_instance_uid: str, revision: int, *, reason: str, forced: bool) -> bool:
    """Count ``revision`` as complete, once; false where the study has moved on, or already counts as complete."""
    done = session.execute(
        update(StudyRow)
        .where(
            StudyRow.study_instance_uid == study_instance_uid,
            StudyRow.revision == revision,
            StudyRow.completed_revision < revision,
        )
        .values(
            completed_revision=revision,
            state=StudyState.COMPLETE.value,
            completion_reason=reason,
            forced=forced,
            crashes=0,
        )
    )
    return changed(done)


def set_state(session: Session, study_instance_uid: str, state: StudyState) -> None:
    """Say where a study stands."""
    session.execute(update(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid).values(state=state.value))


def set_flag(session: Session, study_instance_uid: str, why: str) -> None:
    """Say why a person has to look at a study; an empty text takes the flag away."""
    session.execute(update(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid).values(flag=why))


def count_crash(session: Session, study_instance_uid: str) -> int:
    """Count one more start of the composing of a study, and return how many there were; `clear_crashes` when it ended."""
    session.execute(
        update(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid).values(crashes=StudyRow.crashes + 1)
    )
    return session.scalar(select(StudyRow.crashes).where(StudyRow.study_instance_uid == study_instance_uid)) or 0


def clear_crashes(session: Session, study_instance_uid: str) -> None:
    """Forget the starts that `count_crash` counted."""
    session.execute(update(StudyRow).where(StudyRow.study_instance_uid == study_instance_uid).values(crashes=0))


def _record(row: StudyRow) -> StudyRecord:
    return StudyRecord(
        study_instance_uid=row.study_instance_uid,
        state=StudyState(row.state),
        revision=row.revision,
        completed_revision=row.completed_revision,
        instance_count=row.instance_count,
        first_received_at=row.first_received_at,
        last_received_at=row.last_received_at,
        burst_started_at=row.burst_started_at,
        accession_number=row.accession_number,
        calling_ae=row.calling_ae,
        called_ae=row.called_ae,
        source_address=row.source_address,
        completion_reason=row.completion_reason,
        forced=row.forced,
        flag=row.flag,
        crashes=row.crashes,
    )
