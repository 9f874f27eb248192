"""A new version of a report: what it replaces, its objects for each node, registered and queued together."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import replace
from functools import partial

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import GateError, LmsSrError, NotAllowed, StoreUnavailable
from service.flow import carry, triage
from service.flow import produce as making
from service.flow.carry import Difference
from service.flow.lifecycle import Action, State, Transition
from service.flow.produce import Produced, Rendition
from service.model.events import StudyEvent, StudyState
from service.settings import Node
from service.store import events, inbox, life, outbox, registry
from service.store.inbox import StudyRecord
from service.store.outbox import OutboxRecord
from service.store.registry import Entry
from service.work import delivery, jobs
from service.work.edits import Saved, decided, edits_in
from service.work.services import Services
from service.work.versions import Known, Revision, Target, Version, render, replaced, with_notes
from sr_templates.questions import completeness

_log = logging.getLogger("lms_sr.issue")

#: what the software does; everything else is a person's
_MADE = frozenset({Action.RECOMPOSE, Action.TAKE_IN})
#: a study whose images are still coming stays where it is when a person works on its report
_ON_ITS_WAY = frozenset({StudyState.RECEIVED, StudyState.COMPLETE})
#: Key Object Selection Document Storage
REJECTION_CLASS = "1.2.840.10008.5.1.4.1.1.88.59"
#: kinds whose name does not say what they are
_WORDS = {"rejection": "rejection note"}
#: how often a version is made anew because the outbox moved meanwhile
MAX_ROUNDS = 5


class Moved(Exception):
    """Another run has issued a version meanwhile: whoever gets this begins anew."""


def issue(
    services: Services,
    known: Known,
    decision: triage.Decision,
    produced: Produced,
    *,
    by_hand: bool,
    revision: Revision,
) -> str:
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
    nodes = _nodes(services, known)
    if not nodes:
        reason = f"no node takes the report: [[nodes]] knows no port of the sender '{record.calling_ae}', and no node has reports = true"
        raise GateError((reason,))
    targets = tuple(_target(services, node) for node in nodes)
    there = saved(services, known, produced)
    over = there.undecided(produced.included)
    if over and not by_hand:
        return unread(services, known, decision, revision)
    revision = replace(revision, over=over)
    for _ in range(MAX_ROUNDS):
        with services.reading() as session:
            rows = outbox.for_study(session, record.study_instance_uid)
            states = {v.id: v.state for v in registry.versions(session, record.study_instance_uid)}
        older = replaced(produced, revision, rows, states, there.edits, there.settled)
        made = render(services, known, produced, targets, rows, there.edits, older)
        if revision.rejects:
            made = with_notes(produced, revision, rows, made, partial(_takes_notes, services))
        try:
            outcome = _commit(services, known, decision, produced, made, rows, revision)
        except IntegrityError:
            # two studies of a new patient, or with a new lesion, at the same moment: now the registry knows it
            _log.warning("compose_met_another", extra={"ids": {"study": record.study_instance_uid}})
            continue
        if outcome:
            return outcome
    raise StoreUnavailable("the outbox changed each time while the version was made")


def _nodes(services: Services, known: Known) -> tuple[Node, ...]:
    return delivery.destinations(services.settings, services.sender(known.record.calling_ae))


def saved(services: Services, known: Known, produced: Produced) -> Saved:
    """Return what others saved into the series of our reports, at the nodes and among what arrived, and what was decided about it."""
    edits = edits_in(services, known.study, produced.options, _nodes(services, known))
    return decided(services, known.record.study_instance_uid, edits)


def way_out(known: Known) -> str:
    """Return how a person lets a version replace what others saved into our series."""
    uid = known.record.study_instance_uid
    if known.state is not None and known.state.is_signed:
        return f"'lms-sr report amend {uid}', or 'lms-sr report addendum {uid}', with --over-edits signs a version that replaces it"
    return f"'lms-sr start {uid}' issues a version that replaces it"


def unread(services: Services, known: Known, decision: triage.Decision, revision: Revision) -> str:
    """Issue nothing over what somebody saved into our series and what is not in the report.

    Raises
    ------
    NotAllowed
        A person asked for the version: the message says what to do.
    Moved
        Another run was first.
    """
    if revision.who:
        signed = known.state is not None and known.state.is_signed
        why = "'lms-sr report show' tells where it says something else" if signed else "send the study again"
        msg = (
            "somebody saved into the series of our reports, and what was saved is not in the report (it has not arrived here yet, cannot "
            f"be read, or came after the signature): {why}, or: {way_out(known)}"
        )
        raise NotAllowed(msg)
    reason = f"somebody saved into the series of our reports: nothing is issued over it by itself; {way_out(known)}"
    return stands(services, known, decision, reason)


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


def _target(services: Services, node: Node) -> Target:
    with services.reading() as session:
        accepted = outbox.accepted(session, node.name)
    if accepted is None:
        accepted = _learn(services, node)
    chosen = delivery.choose_class(accepted)
    # a node that takes none may have been mended since: the sender asks again, and parks with that reason
    return Target(node=node, sop_class_uid=chosen or delivery.DEFAULT_CLASS)


def _learn(services: Services, node: Node) -> frozenset[str] | None:
    try:
        accepted = services.peers.accepted_classes(node)
    except LmsSrError as error:
        _log.warning("destination_not_asked", extra={"ids": {"node": node.name, "error": type(error).__name__}})
        return None
    with services.transaction() as session:
        outbox.learn(session, node.name, sorted(accepted), services.now())
    return accepted


def _takes_notes(services: Services, node: Node) -> bool:
    """Say whether a node takes rejection notes, as far as it can be asked now: else the sender finds out."""
    accepted = _learn(services, node)
    return accepted is None or REJECTION_CLASS in accepted


def _commit(
    services: Services,
    known: Known,
    decision: triage.Decision,
    produced: Produced,
    made: Version,
    rows: tuple[OutboxRecord, ...],
    revision: Revision,
) -> str:
    """Put a version into registry and outbox; empty where the outbox has moved since ``rows`` were read."""
    uid, now = known.record.study_instance_uid, made.created_at
    with services.transaction() as session:
        if not unmoved(session, known):
            return "overtaken"
        # locked: an attempt that begins now would leave an object behind that nothing names as its predecessor
        if not _same(outbox.for_study(session, uid, lock=True), rows):
            return ""
        if revision.action in _MADE:
            # the story of a version has one time: later than what follows, it would read backwards
            tell_triage(services, session, uid, decision, now)
        counted = completeness(produced.report, produced.template, services.settings.clinical)
        # a person's step asks no facts: where they differed from what still stands, they do
        kept = () if revision.action in _MADE else _still_different(session, known, produced, revision)
        entry = Entry(
            transition=Transition(
                action=revision.action,
                before=known.state,
                after=revision.after,
                at=now,
                who=revision.who,
                why=revision.why,
            ),
            signature=produced.signature,
            facts_hash=produced.facts_hash,
            differences=(*produced.differences, *kept),
            taken_in=produced.included,
            over=revision.over,
        )
        report_id = registry.register(
            session, produced.study, produced.report, counted, version=made.number, at=now, entry=entry
        )
        if revision.action in _MADE:
            if revision.takes_in:
                events.append(session, uid, StudyEvent.TAKEN_IN, now, count=len(produced.included))
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
        else:
            events.append(
                session,
                uid,
                StudyEvent.REVISED,
                now,
                version=made.number,
                action=revision.action.value,
                state=revision.after.value.replace("_", " "),
                confirmed=counted.confirmed,
                proposed=counted.proposed,
                open=counted.open,
            )
        for older in outbox.supersede(session, uid, made.number):
            events.append(session, uid, StudyEvent.SUPERSEDED, now, kind=older.kind, version=older.version)
        has_lines = any(r.kind == "companion" for _, renditions in made.renditions for r in renditions)
        if revision.action in _MADE or revision.over:
            inbox.set_flag(session, uid, "")
        if reason := left_over(rows, made.number, has_lines=has_lines):
            flag(services, session, uid, reason)
        for node, renditions in made.renditions:
            for rendition in renditions:
                _queue(services, session, known, report_id, made, node, rendition)
        if revision.action in _MADE or known.record.state not in _ON_ITS_WAY:
            inbox.set_state(session, uid, StudyState.COMPOSED)
        inbox.clear_crashes(session, uid)
    return f"version {made.number}"


def _still_different(session: Session, known: Known, produced: Produced, revision: Revision) -> tuple[Difference, ...]:
    """Return where facts differed from the version before, as far as the new one says the same."""
    if known.newest is None or revision.after is State.WITHDRAWN:
        return ()
    return carry.still(life.differences(session, known.newest.id), produced.report)


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
    services: Services, session: Session, known: Known, report_id: int, made: Version, node: Node, rendition: Rendition
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
    name = making.CLASS_NAMES[rendition.sop_class_uid]
    ids = {"kind": _WORDS.get(rendition.kind, rendition.kind), "node": node.name, "sop_class": name}
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
    newest = registry.newest(session, known.record.study_instance_uid)
    if (newest.id if newest else None) != (known.newest.id if known.newest else None):
        raise Moved
    return True


def tell_triage(
    services: Services, session: Session, uid: str, decision: triage.Decision, at: dt.datetime | None = None
) -> None:
    """Record the decision with the rule and the values that made it; ``at``: when, by default now."""
    values = "; ".join(f"{field}: {value}" for field, value in decision.values)
    events.append(
        session,
        uid,
        StudyEvent.TRIAGED,
        at or services.now(),
        outcome="report" if decision.report else "ignored",
        rule=decision.rule,
        reason=decision.reason,
        values=f" ({values})" if values else "",
    )


def flag(services: Services, session: Session, uid: str, reason: str) -> None:
    """Say that a person has to look at a study, and why."""
    inbox.set_flag(session, uid, reason)
    events.append(session, uid, StudyEvent.FLAGGED, services.now(), reason=reason)
