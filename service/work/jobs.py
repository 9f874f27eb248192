"""What can be done later, as values: each job has an id, and a job that was asked for twice is done once."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy.orm import Session

#: names of the workflows
COMPLETE = "complete"
COMPOSE = "compose"
FETCH = "fetch"
SEND = "send"
SWEEP = "sweep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run of a workflow.

    ``lane`` keeps jobs of one kind, or for one node, from standing behind all others: each lane has its own workers.
    ``args`` are ids and numbers; everything else is read from the database when the job runs.
    """

    workflow: str
    id: str
    lane: str
    args: tuple[str | int | bool, ...]


def check_completion(study_instance_uid: str, revision: int, step: int = 0) -> Job:
    """Look whether a revision of a study is complete; ``step`` counts the looks."""
    suffix = f":{step}" if step else ""
    return Job(
        workflow=COMPLETE,
        id=f"complete:{study_instance_uid}:{revision}{suffix}",
        lane="complete",
        args=(study_instance_uid, revision, step),
    )


def compose(study_instance_uid: str, revision: int, *, run: str = "", by_hand: bool = False) -> Job:
    """Make the report of a revision; ``run`` tells apart further runs: by hand, after a fault, after waiting.

    It has to be new each time: a job whose id is known is not done again.
    """
    suffix = f":{run}" if run else ""
    return Job(
        workflow=COMPOSE,
        id=f"compose:{study_instance_uid}:{revision}{suffix}",
        lane="compose",
        args=(study_instance_uid, revision, by_hand),
    )


def fetch(study_instance_uid: str, attempt: int, look: int = 0) -> Job:
    """Ask nodes for the earlier examinations of a study; ``look`` counts the looks whether what was asked for is in the index."""
    return Job(
        workflow=FETCH,
        id=f"fetch:{study_instance_uid}:{attempt}:{look}",
        lane="fetch",
        args=(study_instance_uid, attempt, look),
    )


def send(outbox_id: int, attempt: int, node: str) -> Job:
    """Make one attempt to send an outbox row."""
    return Job(workflow=SEND, id=f"send:{outbox_id}:{attempt}", lane=f"send:{node}", args=(outbox_id, attempt))


def sweep(hour: int, *, run: str = "") -> Job:
    """Clean up; ``hour`` counts from 1970, so that there is one each; ``run`` as for `compose`."""
    suffix = f":{run}" if run else ""
    return Job(workflow=SWEEP, id=f"sweep:{hour}{suffix}", lane="sweep", args=(hour,))


def run_at(reason: str, at: dt.datetime) -> str:
    """Return a ``run`` for `compose` and `sweep`."""
    return f"{reason}-{at.timestamp():.6f}"


class Jobs(Protocol):
    """Where jobs are asked for."""

    def enqueue(self, session: Session, job: Job, *, delay: float = 0.0) -> None:
        """Ask for ``job`` in the session's transaction, not before ``delay`` seconds from now; nothing for an id that is known."""
        ...
