"""The role ``work``: the indexer and the workflows, over one database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack

from sqlalchemy.exc import DBAPIError

from service.clock import SystemClock
from service.dimse.certificates import keep_watch
from service.dimse.tls import client_contexts
from service.flow import triage
from service.store.engine import make_engine
from service.work import completing, composing, database, fetching, jobs, sending, sweeping
from service.work.engine import DbosJobs, Runner
from service.work.handover import CHILD_GRACE_SECONDS, GRACE_SECONDS, Order, Ready
from service.work.indexer import Indexer
from service.work.locks import only_executor
from service.work.peers import NetworkPeers
from service.work.receiving import make_spool
from service.work.services import Services
from sr_templates import load_template, template_names

_log = logging.getLogger("lms_sr.work")

#: a step that failed by a fault of the code is tried again after so long
_FAULT_SECONDS = 10.0
#: a database that says no, but answers, is asked again after so long
_PAUSE_SECONDS = 1.0


class WorkflowFailed(Exception):
    """A step failed, and so did asking for it again. Without a text, since the engine keeps it; the log says what happened."""


def work(order: Order, announce: Callable[[Ready], None], stop: threading.Event) -> None:
    """Index and run workflows until ``stop`` is set.

    Raises
    ------
    ConfigurationError
        The database, the spool, the triage rules or a file for TLS cannot be used.
    TemplateError
        The template that the rules name cannot be loaded.
    """
    settings = order.settings
    if any(node.tls for node in settings.nodes):
        client_contexts(settings).current()
    rules = triage.load(settings.triage.rules)
    for name in sorted({*template_names(), *(r.template for r in rules if r.template)}):
        load_template(name)
    executor = f"work-{order.slot}"
    url = settings.database.url.get_secret_value()
    with ExitStack() as stack:
        own, engines = make_engine(url), make_engine(url)
        stack.callback(own.dispose)
        stack.callback(engines.dispose)
        if order.alone:
            database.wait_for(own, seconds=database.PATIENCE_SECONDS, stop=stop)
            database.verify_own(own)
        stack.enter_context(only_executor(own, executor))
        spool = make_spool(settings)
        spool.prepare()
        queue = DbosJobs(own)
        services = Services(
            settings=settings,
            clock=SystemClock(),
            engine=own,
            spool=spool,
            peers=NetworkPeers(settings),
            jobs=queue,
            rules=rules,
        )
        runner = Runner.start(engines, executor, workflows(services, queue, stop))
        indexer = threading.Thread(target=Indexer(services).run, args=(stop,), name="indexer", daemon=True)
        # one indexer for each spool: further slots only work
        if order.slot == 0:
            indexer.start()
        with services.transaction() as session:
            queue.enqueue(session, jobs.sweep(sweeping.hour_of(services.now())))
        if order.alone:
            # else `receive` does it
            keep_watch(settings.tls, services.clock, stop)
        announce(Ready())
        stop.wait()
        runner.stop(CHILD_GRACE_SECONDS)
        if indexer.is_alive():
            indexer.join(CHILD_GRACE_SECONDS)


def workflows(services: Services, history: sweeping.History, stop: threading.Event) -> dict[str, Callable[..., str]]:
    """Return what the engine runs: name → function of ids and numbers.

    None of them raises (but see `WorkflowFailed`): the engine would not try again.
    """

    def complete(study_instance_uid: str, revision: int, step: int) -> str:
        def later() -> None:
            with services.transaction() as session:
                following = jobs.check_completion(study_instance_uid, revision, step + 1)
                services.jobs.enqueue(session, following, delay=_FAULT_SECONDS)

        return _guarded(
            services,
            stop,
            jobs.COMPLETE,
            lambda: completing.complete(services, study_instance_uid, revision, step),
            later,
        )

    def compose(study_instance_uid: str, revision: int, by_hand: bool) -> str:
        def later() -> None:
            # the crash counter of the study ends this
            run = jobs.run_at("fault", services.now())
            with services.transaction() as session:
                again = jobs.compose(study_instance_uid, revision, run=run, by_hand=by_hand)
                services.jobs.enqueue(session, again, delay=_FAULT_SECONDS)

        return _guarded(
            services,
            stop,
            jobs.COMPOSE,
            lambda: composing.compose(services, study_instance_uid, revision, by_hand),
            later,
        )

    def fetch(study_instance_uid: str, attempt: int, look: int) -> str:
        return _guarded(
            services,
            stop,
            jobs.FETCH,
            lambda: fetching.fetch(services, study_instance_uid, attempt, look),
            lambda: fetching.after_fault(services, study_instance_uid, attempt),
        )

    def send(outbox_id: int, attempt: int) -> str:
        return _guarded(
            services,
            stop,
            jobs.SEND,
            lambda: sending.send(services, outbox_id, attempt),
            lambda: sending.after_fault(services, outbox_id, attempt),
        )

    def sweep(hour: int) -> str:
        def later() -> None:
            run = jobs.run_at("fault", services.now())
            with services.transaction() as session:
                services.jobs.enqueue(session, jobs.sweep(hour, run=run), delay=_FAULT_SECONDS)

        return _guarded(services, stop, jobs.SWEEP, lambda: sweeping.sweep(services, history, hour), later)

    return {jobs.COMPLETE: complete, jobs.COMPOSE: compose, jobs.FETCH: fetch, jobs.SEND: send, jobs.SWEEP: sweep}


def _guarded(
    services: Services, stop: threading.Event, name: str, step: Callable[[], str], later: Callable[[], None]
) -> str:
    """Run a step; a fault of the code is logged and the step asked for once more, a database that is away is waited for.

    Raises
    ------
    WorkflowFailed
        Not even that could be asked for: then the engine has to know, so that the sweep shows it to a person.
    """

    def ask_again() -> str:
        later()
        return "failed"

    doing = step
    while True:
        try:
            return doing()
        except Exception as error:  # noqa: BLE001 - the edge of a workflow
            if isinstance(error, DBAPIError) and database.is_away(error):
                _wait_for_database(services, stop, name, error)
                continue
            _log.exception("step_failed", extra={"ids": {"step": name}})
            if doing is ask_again:
                raise WorkflowFailed from None
            doing = ask_again


def _wait_for_database(services: Services, stop: threading.Event, name: str, error: DBAPIError) -> None:
    """Wait until it answers; every step records in a transaction or not at all, so that it may be run again then."""
    _log.warning("step_waits_for_database", extra={"ids": {"step": name, "error": type(error).__name__}})
    database.wait_for(services.engine, stop=stop)
    if stop.wait(_PAUSE_SECONDS):
        # this process ends within seconds: what did not end is found again by the engine at the next start, which an
        # exception would prevent
        threading.Event().wait(GRACE_SECONDS)
