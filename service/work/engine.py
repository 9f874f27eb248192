"""DBOS Transact: started, stopped and asked here, and nowhere else.

One queue, partitioned into lanes: polling costs per queue, so more queues would only cost more.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dbos import DBOS, DBOSClient, EnqueueOptions, WorkflowStatus
from dbos import error as dbos_error
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.work.database import outdated
from service.work.jobs import Job

_log = logging.getLogger("lms_sr.engine")

APPLICATION = "lms-sr"
#: a constant: DBOS never runs work of another version
VERSION = "1"
QUEUE = "work"
POLLING_SECONDS = 0.1
#: workflows of one lane that a process runs at the same time
LANE_WORKERS = 4

#: ended badly, and nobody has looked yet
FAILED = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_PAGE = 500


class DbosJobs:
    """Asks for jobs, from any process on the database.

    Parameters
    ----------
    engine:
        Of the database in which the sessions are that jobs are asked for in.
    """

    def __init__(self, engine: Engine) -> None:
        self._client = DBOSClient(
            system_database_engine=engine, application_name=APPLICATION, lazy=True, retry_connection_errors=False
        )

    def enqueue(self, session: Session, job: Job, *, delay: float = 0.0) -> None:
        """Ask for ``job`` in the session's transaction, not before ``delay`` seconds from now; nothing for an id that is known."""
        options = EnqueueOptions(
            workflow_name=job.workflow,
            queue_name=QUEUE,
            workflow_id=job.id,
            app_version=VERSION,
            queue_partition_key=job.lane,
        )
        if delay > 0:
            options["delay_seconds"] = delay
        # what a transaction of ours holds back must be in the database before DBOS writes beside it
        session.flush()
        self._client.enqueue_in_transaction(session, options, *job.args)

    def failed(self) -> tuple[str, ...]:
        """Return the ids of workflows that ended badly, the oldest first, one page of them."""
        return _ids(self._client.list_workflows(status=list(FAILED), limit=_PAGE, load_input=False, load_output=False))

    def finished(self, before: dt.datetime) -> tuple[str, ...]:
        """Return the ids of workflows that ended well before a time, the oldest first, one page of them."""
        found = self._client.list_workflows(
            status="SUCCESS", completed_before=before.isoformat(), limit=_PAGE, load_input=False, load_output=False
        )
        return _ids(found)

    def forget(self, ids: tuple[str, ...]) -> None:
        """Delete workflows."""
        if ids:
            self._client.delete_workflows(list(ids))

    def status(self, job: Job) -> WorkflowStatus | None:
        """Return what became of a job; None for one that is not known."""
        found = self._client.list_workflows(workflow_ids=[job.id], load_input=False, load_output=True)
        return found[0] if found else None


def _ids(found: list[WorkflowStatus]) -> tuple[str, ...]:
    return tuple(w.workflow_id for w in found)


@dataclass(frozen=True, slots=True)
class Runner:
    """DBOS in this process, running.

    A process has one at a time.
    """

    executor: str

    @classmethod
    def start(cls, engine: Engine, executor: str, workflows: Mapping[str, Callable[..., str]]) -> Runner:
        """Run the workflows of this application, those first that a process of the same executor id left behind.

        Parameters
        ----------
        engine:
            For DBOS alone, so that its threads and ours do not wait for each other's connections.
        executor:
            Stable over restarts, unique among living processes.
        workflows:
            Name → function of ids and numbers, which returns what came of it in a word and raises nothing.

        Raises
        ------
        ConfigurationError
            The database lacks DBOS's tables, or has old ones.
        """
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": engine,
                "run_migrations": False,
                "application_version": VERSION,
                "executor_id": executor,
                "use_listen_notify": False,
                "log_level": "WARNING",
            }
        )
        for name, function in workflows.items():
            DBOS.workflow(name=name, max_recovery_attempts=None)(function)
        try:
            DBOS.launch()
        except dbos_error.DBOSInitializationError as error:
            DBOS.destroy(destroy_registry=True)
            raise outdated() from error
        DBOS.register_queue(
            QUEUE,
            partition_worker_concurrency=LANE_WORKERS,
            polling_interval_sec=POLLING_SECONDS,
            on_conflict="always_update",
        )
        _log.info("engine_started", extra={"ids": {"executor": executor}})
        return cls(executor)

    def stop(self, seconds: float) -> None:
        """Start nothing more, and wait for what runs, ``seconds`` at most."""
        DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=max(1, int(seconds)))
        _log.info("engine_stopped", extra={"ids": {"executor": self.executor}})
