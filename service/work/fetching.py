"""Earlier examinations of a study, asked for at the nodes before its first draft: one job is one attempt, or one look at the index.

The draft waits for the first attempt and not for its success: what fails is told in the study's story and tried again with back-off, and
what comes then is put into the report as any other late fact.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from service.dimse.retrieve import Incoming, Wanted
from service.errors import InputError, LmsSrError
from service.flow import priors as choosing
from service.flow import retry
from service.model.events import StudyEvent
from service.model.measurement import Reference
from service.model.study import Study
from service.read.normalise import normalise
from service.read.pointed import images_of
from service.settings import Node
from service.store import events, inbox, priors, registry
from service.store.inbox import StudyRecord
from service.store.priors import AskState
from service.store.spool import FileMeta, key_of
from service.work import issuing, jobs
from service.work.services import Services

_log = logging.getLogger("lms_sr.priors")

#: between two looks whether what came is in the index, and how many there are
_LOOK_SECONDS = 1.0
_MAX_LOOKS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What came of asking one node."""

    node: str
    studies: int = 0
    objects: int = 0
    #: of them not here before
    new: int = 0
    lacking: str = ""
    #: why it could not be asked; empty: it could
    error: str = ""


def nodes_of(services: Services, record: StudyRecord) -> tuple[Node, ...]:
    """Return the nodes that are asked, the sender of the study first."""
    sender = services.sender(record.calling_ae)
    able = [n for n in services.settings.nodes if n.retrieve and n.port]
    return tuple(sorted(able, key=lambda n: sender is None or n.name != sender.name))


def ask_first(services: Services, record: StudyRecord, study: Study, *, by_hand: bool) -> bool:
    """Ask for the earlier examinations where nobody did yet; true: a job is on its way, and composing follows it.

    Of a study whose patient nobody knows, or where no node may be asked, there is nothing to wait for.
    """
    uid = record.study_instance_uid
    if not services.settings.priors.max_studies or not study.patient.patient_id or not nodes_of(services, record):
        return False
    with services.transaction() as session:
        ask = priors.ask_of(session, uid, lock=True)
        if ask is not None and ask.state is not AskState.DUE:
            # the first attempt is still on its way, and composing follows it
            return ask.state is AskState.ASKED and not ask.failures
        if not issuing.still(session, record):
            return False
        attempt = priors.begin(session, uid, by_hand=by_hand)
        # it did not crash
        inbox.clear_crashes(session, uid)
        services.jobs.enqueue(session, jobs.fetch(uid, attempt))
    return True


def fetch(services: Services, study_instance_uid: str, attempt: int, look: int) -> str:
    """Make one attempt, or look whether what came is in the index; return what came of it in a word."""
    with services.reading() as session:
        ask = priors.ask_of(session, study_instance_uid)
        record = inbox.get_study(session, study_instance_uid)
    if ask is None or record is None or ask.attempt != attempt:
        return "overtaken"
    if look:
        return _look(services, study_instance_uid, attempt, look)
    if ask.state is not AskState.ASKED:
        return "overtaken"
    with services.reading() as session:
        instances = inbox.load_instances(session, study_instance_uid)
        study = normalise(instances, default_issuer=services.settings.site.issuer)
        reported = registry.studies_of(session, study.patient.patient_id, study.patient.issuer)
    until = time.monotonic() + services.settings.priors.seconds
    asked = tuple(_ask(services, node, study, reported, until) for node in nodes_of(services, record))
    return _end(services, study_instance_uid, attempt, ask.failures, asked)


def after_fault(services: Services, study_instance_uid: str, attempt: int) -> None:
    """Go on without earlier examinations after a fault of the code: it must not stop a draft."""
    with services.transaction() as session:
        ask = priors.ask_of(session, study_instance_uid, lock=True)
        if ask is None or ask.attempt != attempt or ask.state is AskState.DONE:
            return
        priors.ended(session, study_instance_uid, AskState.GIVEN_UP, failed=True)
        data = {"node": "all nodes", "attempt": attempt, "reason": "a fault of LMS-SR: see the log", "next": _NO_MORE}
        events.append(session, study_instance_uid, StudyEvent.PRIORS_FAILED, services.now(), **data)
        _compose(services, session, study_instance_uid, attempt, 0)


_NO_MORE = "not tried again by itself: 'lms-sr start' does"


# --- one node ------------------------------------------------------------------------------------------------------------


def _ask(services: Services, node: Node, study: Study, reported: frozenset[str], until: float) -> _Asked:
    """Ask one node; what it does not say, or does wrongly, is part of what came of it."""
    uid = study.study_instance_uid
    try:
        found = services.peers.studies_of(node, study.patient.patient_id)
        with services.reading() as session:
            here = inbox.arrived(session, [f.study_instance_uid for f in found])
        chosen = choosing.choose_studies(found, study, reported | here, services.settings.priors)
        _tell_left_out(services, uid, chosen.left_out)
        count = objects = new = 0
        lacking: list[str] = []
        for one in chosen.studies:
            left = until - time.monotonic()
            if left <= 0:
                lacking.append("not all studies were looked into in time")
                break
            series = services.peers.series_in(node, one.study_instance_uid)
            if services.settings.priors.same_region and not choosing.same_region(study, series):
                continue
            there, came, why = _retrieve(
                services, node, study, one.study_instance_uid, choosing.choose_series(series), until
            )
            count += 1 if there else 0
            objects, new = objects + there, new + came
            lacking += [why] * bool(why)
    except LmsSrError as error:
        ids = {"study": uid, "node": node.name, "error": type(error).__name__}
        _log.warning("priors_not_asked", extra={"ids": ids})
        return _Asked(node=node.name, error=str(error))
    return _Asked(node=node.name, studies=count, objects=objects, new=new, lacking="; ".join(dict.fromkeys(lacking)))


def _tell_left_out(services: Services, uid: str, reasons: Iterable[str]) -> None:
    with services.transaction() as session:
        told = {e.data.get("reason") for e in events.story(session, uid) if e.event is StudyEvent.PRIOR_LEFT_OUT}
        for reason in reasons:
            if reason not in told:
                events.append(session, uid, StudyEvent.PRIOR_LEFT_OUT, services.now(), reason=reason)


def _retrieve(
    services: Services, node: Node, study: Study, prior_uid: str, series: tuple[str, ...], until: float
) -> tuple[int, int, str]:
    """Ask for the objects of one study, then for the headers that they need; return how many there are, how many new, what lacks."""
    found = services.peers.reports_at(node, prior_uid, series)
    with services.reading() as session:
        held = inbox.instance_uids(session, prior_uid)
    everything = choosing.choose_objects(found, frozenset(), services.settings.priors)
    wanted = [
        Wanted(
            study_instance_uid=prior_uid,
            series_instance_uid=f.series_instance_uid,
            sop_instance_uid=f.sop_instance_uid,
            sop_class_uid=f.sop_class_uid,
        )
        for f in everything
        if f.sop_instance_uid not in held
    ]
    lacking = _have_sent(services, node, study, prior_uid, wanted, until)
    headers = [
        w
        for w in _headers(services, prior_uid, [f.sop_instance_uid for f in everything])
        if w.sop_instance_uid not in held
    ]
    lacking = lacking or _have_sent(services, node, study, prior_uid, headers, until)
    return len(everything), len(wanted) + len(headers), lacking


def _have_sent(services: Services, node: Node, study: Study, prior_uid: str, wanted: list[Wanted], until: float) -> str:
    """Have some objects sent; that they are asked for is kept first, so that they are no arrivals. Return what lacks.

    It is kept in the spool, too, for an index that is made anew.
    """
    with services.transaction() as session:
        priors.add_studies(session, study.study_instance_uid, [prior_uid], node.name)
        priors.add_objects(session, [(prior_uid, w.sop_instance_uid) for w in wanted], services.now())
    if not wanted:
        return ""
    services.spool.asked.remember(key_of(w.sop_instance_uid) for w in wanted)
    left = until - time.monotonic()
    if left <= 0:
        return "not all objects were asked for in time"

    def keep(incoming: Incoming) -> None:
        meta = FileMeta(
            sop_class_uid=incoming.sop_class_uid,
            sop_instance_uid=incoming.sop_instance_uid,
            transfer_syntax_uid=incoming.transfer_syntax_uid,
            calling_ae_title=node.ae_title,
            called_ae_title=services.settings.local.ae_title,
            address=node.host,
        )
        services.spool.receive(incoming.data_set, meta, at=services.now())

    return services.peers.retrieve(node, wanted, keep, seconds=left).lacking


def _headers(services: Services, prior_uid: str, objects: Iterable[str]) -> Iterator[Wanted]:
    """Yield images that objects refer to, as many as the settings allow: one of each series before the second of any."""
    references: list[Reference] = []
    for uid in objects:
        path = services.spool.path(key_of(uid))
        try:
            if path.exists():
                references += images_of(path)
        except (InputError, OSError) as error:
            ids = {"study": prior_uid, "instance": uid, "error": type(error).__name__}
            _log.warning("prior_unreadable", extra={"ids": ids})
    unique = dict.fromkeys(references)
    seen: dict[str, int] = {}
    ranked = []
    for reference in unique:
        rank = seen[reference.series_instance_uid] = seen.get(reference.series_instance_uid, -1) + 1
        ranked.append((rank, reference))
    ranked.sort(key=lambda pair: (pair[0], pair[1].series_instance_uid, pair[1].sop_instance_uid))
    for _, reference in ranked[: services.settings.priors.max_headers]:
        yield Wanted(
            study_instance_uid=prior_uid,
            series_instance_uid=reference.series_instance_uid,
            sop_instance_uid=reference.sop_instance_uid,
            sop_class_uid=reference.sop_class_uid,
        )


# --- how it ends ---------------------------------------------------------------------------------------------------------


def _end(services: Services, uid: str, attempt: int, failures: int, asked: tuple[_Asked, ...]) -> str:
    """Record an attempt, ask for the next one where it failed, and for the draft."""
    failed = [a for a in asked if a.error or a.lacking]
    tries = failures + 1
    again = bool(failed) and tries < services.settings.priors.attempts
    delay = retry.next_delay(tries, services.settings.outgoing, services.jitter())
    following = f"next attempt in {delay:.0f} s" if again else _NO_MORE
    with services.transaction() as session:
        ask = priors.ask_of(session, uid, lock=True)
        if ask is None or ask.attempt != attempt or ask.state is not AskState.ASKED:
            return "overtaken"
        for one in asked:
            _tell(services, session, uid, attempt, one, following)
        came = any(a.new for a in asked)
        state = AskState.AGAIN if again else AskState.GIVEN_UP if failed else AskState.DONE
        priors.ended(session, uid, state, failed=bool(failed))
        if came:
            # the next attempt, if there is one, is asked for when that is done: its number would overtake the looks
            services.jobs.enqueue(session, jobs.fetch(uid, attempt, 1), delay=_LOOK_SECONDS)
        elif tries == 1:
            _compose(services, session, uid, attempt, 0)
        if again and not came:
            _again(services, session, uid, delay)
    ids = {"study": uid, "attempt": attempt, "objects": sum(a.objects for a in asked), "failed": len(failed)}
    _log.info("priors_asked", extra={"ids": ids})
    return "asked" if not failed else "failed"


def _tell(services: Services, session: Session, uid: str, attempt: int, one: _Asked, following: str) -> None:
    if one.error:
        data = {"node": one.node, "attempt": attempt, "reason": one.error, "next": following}
        events.append(session, uid, StudyEvent.PRIORS_FAILED, services.now(), **data)
        return
    lacking = f"; {one.lacking}; {following}" if one.lacking else ""
    numbers = {"node": one.node, "studies": one.studies, "count": one.objects, "lacking": lacking}
    events.append(session, uid, StudyEvent.PRIORS_FETCHED, services.now(), **numbers)


def _again(services: Services, session: Session, uid: str, delay: float) -> None:
    following = priors.begin(session, uid)
    services.jobs.enqueue(session, jobs.fetch(uid, following), delay=delay)


def _look(services: Services, uid: str, attempt: int, look: int) -> str:
    """Have the draft made once all that came is in the index, or after a minute without it."""
    with services.transaction() as session:
        ask = priors.ask_of(session, uid, lock=True)
        if ask is None or ask.attempt != attempt:
            return "overtaken"
        missing = [u for u in priors.not_indexed(session, uid) if services.spool.path(key_of(u)).exists()]
        if missing and look < _MAX_LOOKS:
            services.jobs.enqueue(session, jobs.fetch(uid, attempt, look + 1), delay=_LOOK_SECONDS)
            return "waits"
        _compose(services, session, uid, attempt, look)
        if ask.state is AskState.AGAIN:
            _again(
                services, session, uid, retry.next_delay(ask.failures, services.settings.outgoing, services.jitter())
            )
    return "compose"


def _compose(services: Services, session: Session, uid: str, attempt: int, look: int) -> None:
    """Have the draft made, unless images are still coming: then it is made when they are there."""
    study = inbox.get_study(session, uid)
    if study is None or study.completed_revision != study.revision:
        return
    ask = priors.ask_of(session, uid)
    run = f"priors-{attempt}-{look}"
    services.jobs.enqueue(session, jobs.compose(uid, study.revision, run=run, by_hand=ask is not None and ask.by_hand))
