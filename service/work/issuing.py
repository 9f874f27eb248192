"""A new version of a report: what it replaces, its objects for each node, registered and queued together."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.dimse.query import Found
from service.errors import GateError, LmsSrError, StoreUnavailable
from service.flow import produce as making
from service.flow import triage
from service.flow.produce import Kind, Options, Produced, Rendition
from service.model.events import StudyEvent, StudyState
from service.model.study import Study
from service.read.normalise import normalise
from service.read.predecessors import predecessors
from service.settings import Node
from service.store import events, inbox, outbox, registry
from service.store.inbox import StudyRecord
from service.store.outbox import OutboxRecord
from service.store.registry import ReportRecord
from service.work import delivery, jobs
from service.work.completing import BY_HAND
from service.work.edits import edits_in, named_and_settled
from service.work.services import Services
from sr_templates.questions import completeness

_log = logging.getLogger("lms_sr.issue")

#: how often a version is made anew because the outbox moved meanwhile
MAX_ROUNDS = 5


class Moved(Exception):
    """Another run has issued a version meanwhile: whoever gets this begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the store and the nodes know beforehand."""

    record: StudyRecord
    study: Study
    installation: str
    ours: frozenset[str]
    current: ReportRecord | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    node: Node
    sop_class_uid: str


def options_of(services: Services, known: Known, decision: triage.Decision) -> Options:
    """Return what a report needs to know of this installation and of how its study was completed."""
    settings, record = services.settings, known.record
    remarks = []
    if record.forced:
        remarks.append(f"The study may be incomplete: it was taken {record.completion_reason}")
    elif record.completion_reason == BY_HAND:
        remarks.append("The study may be incomplete: its report was started by hand before it counted as complete")
    return Options(
        installation=known.installation,
        template=decision.template,
        timezone=settings.site.timezone,
        series_number=settings.reports.series_number,
        companion_series_number=settings.reports.companion_series_number,
        complete_at=making.completion_address(settings.web.public_url, known.installation, record.study_instance_uid),
        remarks=tuple(remarks),
        ours=known.ours,
    )


def issue(services: Services, known: Known, decision: triage.Decision, produced: Produced, *, by_hand: bool) -> str:
    """Make the next version and queue it for every destination; return what came of it in a word.

    Raises
    ------
    GateError
        The report must not leave the house, or has nowhere to go.
    Moved
        Another run was first.
    """
    record, study = known.record, produced.study
    if not study.patient.patient_id:
        reason = "the study has no Patient ID: correct it in the PACS and send the study again"
        raise GateError((reason, *_other_problems(produced, services)))
    sender = services.sender(record.calling_ae)
    nodes = delivery.destinations(services.settings, sender)
    if not nodes:
        reason = f"no node takes the report: [[nodes]] knows no port of the sender '{record.calling_ae}', and no node has reports = true"
        raise GateError((reason,))
    targets = tuple(_target(services, node) for node in nodes)
    edits = edits_in(services, known.study, produced.options, nodes)
    named, settled = named_and_settled(services, record.study_instance_uid, edits)
    if any(f.sop_instance_uid not in named for members in edits.values() for f in members) and not by_hand:
        reason = (
            "somebody saved into the series of our reports: nothing is issued over it by itself; "
            f"'lms-sr start {record.study_instance_uid}' issues a version that replaces it"
        )
        return stands(services, known, decision, reason)
    for _ in range(MAX_ROUNDS):
        with services.reading() as session:
            rows = outbox.for_study(session, record.study_instance_uid)
        made = _render(services, known, produced, targets, rows, edits, settled)
        try:
            outcome = _commit(services, known, decision, produced, made, rows)
        except IntegrityError:
            # two studies of a new patient, or with a new lesion, at the same moment: now the registry knows it
            _log.warning("compose_met_another", extra={"ids": {"study": record.study_instance_uid}})
            continue
        if outcome:
            return outcome
    raise StoreUnavailable("the outbox changed each time while the version was made")


def stands(services: Services, known: Known, decision: triage.Decision, reason: str) -> str:
    """Leave what is in the PACS alone, and ask for a person.

    Raises
    ------
    Moved
        Another run has issued a version meanwhile.
    """
    uid = known.record.study_instance_uid
    with services.transaction() as session:
        if not unmoved(session, known):
            return "overtaken"
        tell_triage(services, session, uid, decision)
        flag(services, session, uid, reason)
        inbox.set_state(session, uid, delivery.standing(outbox.for_study(session, uid)) or StudyState.COMPOSED)
        inbox.clear_crashes(session, uid)
    return "flagged"


def _other_problems(produced: Produced, services: Services) -> tuple[str, ...]:
    """Make the report all the same: what else is wrong with the study is told at once, not after the first correction."""
    try:
        making.renditions(
            produced, sop_class_uid=delivery.DEFAULT_CLASS, profile="standard", version=1, created_at=services.now()
        )
    except GateError as error:
        return error.problems
    return ()


def _target(services: Services, node: Node) -> _Target:
    with services.reading() as session:
        accepted = outbox.accepted(session, node.name)
    if accepted is None:
        accepted = _learn(services, node)
    chosen = delivery.choose_class(accepted)
    # a node that takes none may have been mended since: the sender asks again, and parks with that reason
    return _Target(node=node, sop_class_uid=chosen or delivery.DEFAULT_CLASS)


def _learn(services: Services, node: Node) -> frozenset[str] | None:
    try:
        accepted = services.peers.accepted_classes(node)
    except LmsSrError as error:
        _log.warning("destination_not_asked", extra={"ids": {"node": node.name, "error": type(error).__name__}})
        return None
    with services.transaction() as session:
        outbox.learn(session, node.name, sorted(accepted), services.now())
    return accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    number: int
    created_at: dt.datetime
    #: node → its objects
    renditions: tuple[tuple[Node, tuple[Rendition, ...]], ...]


def _render(
    services: Services,
    known: Known,
    produced: Produced,
    targets: tuple[_Target, ...],
    rows: tuple[OutboxRecord, ...],
    edits: Mapping[Kind, tuple[Found, ...]],
    settled: frozenset[str],
) -> _Version:
    numbers = [f.instance_number or 0 for members in edits.values() for f in members]
    last = max([0, *(r.version for r in rows), *numbers, known.current.version if known.current else 0])
    older = {
        kind: delivery.replaced(rows, kind, [f for f in edits.get(kind, ()) if f.sop_instance_uid not in settled])
        for kind in making.KINDS
    }
    now = services.now()
    made: dict[tuple[str, str], tuple[Rendition, ...]] = {}
    for target in targets:
        key = (target.sop_class_uid, target.node.profile)
        if key not in made:
            made[key] = making.renditions(
                produced,
                sop_class_uid=target.sop_class_uid,
                profile=target.node.profile,
                version=last + 1,
                predecessors=older,
                created_at=now,
            )
    return _Version(
        number=last + 1,
        created_at=now,
        renditions=tuple((t.node, made[t.sop_class_uid, t.node.profile]) for t in targets),
    )


def _commit(
    services: Services,
    known: Known,
    decision: triage.Decision,
    produced: Produced,
    made: _Version,
    rows: tuple[OutboxRecord, ...],
) -> str:
    """Put a version into registry and outbox; empty where the outbox has moved since ``rows`` were read."""
    uid, now = known.record.study_instance_uid, made.created_at
    with services.transaction() as session:
        if not unmoved(session, known):
            return "overtaken"
        # locked: an attempt that begins now would leave an object behind that nothing names as its predecessor
        if not _same(outbox.for_study(session, uid, lock=True), rows):
            return ""
        tell_triage(services, session, uid, decision)
        counted = completeness(produced.report, produced.template)
        report_id = registry.register(session, produced.study, produced.report, counted, version=made.number, at=now)
        events.append(
            session,
            uid,
            StudyEvent.COMPOSED,
            now,
            version=made.number,
            template=produced.template.key,
            proposed=counted.proposed,
            open=counted.open,
        )
        for older in outbox.supersede(session, uid, made.number):
            events.append(session, uid, StudyEvent.SUPERSEDED, now, kind=older.kind, version=older.version)
        has_lines = any(r.kind == "companion" for _, renditions in made.renditions for r in renditions)
        inbox.set_flag(session, uid, "")
        if reason := left_over(rows, made.number, has_lines=has_lines):
            flag(services, session, uid, reason)
        for node, renditions in made.renditions:
            for rendition in renditions:
                _queue(services, session, known, report_id, made, node, rendition)
        inbox.set_state(session, uid, StudyState.COMPOSED)
        inbox.clear_crashes(session, uid)
    return f"version {made.number}"


def _same(now: tuple[OutboxRecord, ...], before: tuple[OutboxRecord, ...]) -> bool:
    """Say whether what counts for predecessors is as it was."""
    return [(r.id, r.may_be_there, r.state in delivery.DELIVERED) for r in now] == [
        (r.id, r.may_be_there, r.state in delivery.DELIVERED) for r in before
    ]


def left_over(rows: tuple[OutboxRecord, ...], version: int, *, has_lines: bool) -> str:
    """Return what to tell a person of lines that stay on the images because no newer object replaces them; empty: there are none."""
    older = [r.version for r in rows if r.kind == "companion" and r.version < version and r.may_be_there]
    if not older or has_lines:
        return ""
    return f"the measurements of version {max(older)} are still in the PACS, but version {version} has none: remove them there"


def _queue(
    services: Services, session: Session, known: Known, report_id: int, made: _Version, node: Node, rendition: Rendition
) -> None:
    uid, now = known.record.study_instance_uid, made.created_at
    row = outbox.put(
        session,
        rendition,
        study_instance_uid=uid,
        report_id=report_id,
        version=made.number,
        node=node.name,
        profile=node.profile,
        at=now,
    )
    if row is None:
        return
    ids = {"kind": rendition.kind, "node": node.name, "sop_class": making.CLASS_NAMES[rendition.sop_class_uid]}
    events.append(session, uid, StudyEvent.QUEUED, now, **ids)
    services.jobs.enqueue(session, jobs.send(row, 1, node.name))


def still(session: Session, record: StudyRecord) -> bool:
    """Say whether the study is at the revision that was read, and keep it there until the transaction ends."""
    now = inbox.get_study(session, record.study_instance_uid, lock=True)
    return now is not None and now.revision == record.revision


def unmoved(session: Session, known: Known) -> bool:
    """Do as `still`, and see that the report that was current still is.

    Raises
    ------
    Moved
        Another run for the same revision, by hand and by itself, was first: without this the same content would be issued twice.
    """
    if not still(session, known.record):
        return False
    current = registry.current(session, known.record.study_instance_uid)
    if (current.id if current else None) != (known.current.id if known.current else None):
        raise Moved
    return True


def tell_triage(services: Services, session: Session, uid: str, decision: triage.Decision) -> None:
    """Record the decision with the rule and the values that made it."""
    values = "; ".join(f"{field}: {value}" for field, value in decision.values)
    events.append(
        session,
        uid,
        StudyEvent.TRIAGED,
        services.now(),
        outcome="report" if decision.report else "ignored",
        rule=decision.rule,
        reason=decision.reason,
        values=f" ({values})" if values else "",
    )


def render_again(services: Services, row: OutboxRecord, sop_class_uid: str) -> Rendition:
    """Return the object of a row in another SOP class: the same version of the same report.

    Raises
    ------
    Permanent
        It cannot be made, or does not pass the gate.
    """
    uid = row.study_instance_uid
    with services.reading() as session:
        frozen = outbox.frozen(session, row, sop_class_uid)
        report = registry.read_content(session, row.report_id)
        record = registry.get(session, row.report_id)
        instances = inbox.load_instances(session, uid)
        ours = outbox.sent_uids(session, uid)
        old = outbox.content(session, row.id)
        study_record = inbox.get_study(session, uid)
    if frozen is not None:
        # another node has this very object already: one UID, one content
        return frozen
    with services.transaction() as session:
        installation = inbox.installation(session, services.now())
    if record is None or study_record is None:
        raise GateError((f"report {row.report_id} is not in the registry",))
    study = making.without(normalise(instances, default_issuer=services.settings.site.issuer), ours)
    known = Known(record=study_record, study=study, installation=installation, ours=ours, current=record)
    decision = triage.Decision(report=True, rule="", reason="", template=report.template)
    produced = making.reproduce(report, study, options_of(services, known, decision))
    made = making.renditions(
        produced,
        sop_class_uid=sop_class_uid,
        profile=row.profile,
        version=row.version,
        # what a version replaces was decided when it was made, what a reader had saved among it
        predecessors={row.kind: predecessors(old)},
        created_at=row.created_at,
    )
    found = next((r for r in made if r.kind == row.kind), None)
    if found is None:
        raise GateError((f"the report has no {row.kind} any more",))
    return found


def flag(services: Services, session: Session, uid: str, reason: str) -> None:
    """Say that a person has to look at a study, and why."""
    inbox.set_flag(session, uid, reason)
    events.append(session, uid, StudyEvent.FLAGGED, services.now(), reason=reason)
