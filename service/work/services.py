"""What every job needs: settings, clock, database, spool, nodes, and where further jobs are asked for."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from service.clock import Clock
from service.flow.triage import Rule
from service.settings import Node, Settings
from service.store.spool import Spool
from service.work.jobs import Jobs
from service.work.peers import Peers

_spread = random.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the jobs of one process share. ``jitter`` returns 0 to 1."""

    settings: Settings
    clock: Clock
    engine: Engine
    spool: Spool
    peers: Peers
    jobs: Jobs
    rules: tuple[Rule, ...]
    jitter: Callable[[], float] = field(default=_spread.random)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a session whose changes are committed together when the block ends, or not at all."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that only reads, and does not wait for writers."""
        with Session(self.engine.execution_options(read_only=True)) as session:
            yield session

    def now(self) -> dt.datetime:
        """Return the time."""
        return self.clock.now()

    def sender(self, calling_ae: str) -> Node | None:
        """Return the node that calls itself ``calling_ae``, one that we can call back if there are several."""
        named = [n for n in self.settings.nodes if n.ae_title == calling_ae]
        return next((n for n in named if n.port), named[0] if named else None)
