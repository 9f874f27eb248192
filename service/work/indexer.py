"""The indexer: what the spool received becomes rows, one transaction for each batch.

The workflow that looks whether a study is complete is asked for in the same transaction, once for each study and batch. Only then
are the arrivals taken off the spool's list: after a crash in between, they are read once more and found to be known.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from service.errors import InputError, StoreUnavailable
from service.model.study import Instance
from service.read.headers import read_instance
from service.store import inbox, outbox, priors
from service.store.asked import is_host_name
from service.store.spool import Spool, key_of, read_meta
from service.work import completing
from service.work.database import is_away
from service.work.services import Services

_log = logging.getLogger("lms_sr.indexer")

BATCH = 500
#: between two looks at the spool: what arrives in the meantime becomes one batch
PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 15.0


def place(spool: Spool, key: str) -> str:
    """Return the path of an object as rows keep it, relative to the spool's folder."""
    return str(spool.path(key).relative_to(spool.root))


class Indexer:
    """Feeds the index; one for each spool.

    Parameters
    ----------
    services:
        Whose spool is read, and whose index is fed.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._spool = services.spool

    def run(self, stop: threading.Event) -> None:
        """Reconcile, then index what arrives until ``stop`` is set. A database that does not answer is waited for."""
        pause, reconciled = PAUSE_SECONDS, False
        while not stop.is_set():
            try:
                if not reconciled:
                    self.reconcile(stop)
                    reconciled = True
                while self.turn() == BATCH and not stop.is_set():
                    pass
                pause = PAUSE_SECONDS
            except (DBAPIError, OSError, StoreUnavailable) as error:
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                ids = {"error": type(error).__name__, "again_in_seconds": pause}
                _log.warning("indexing_waits", extra={"ids": ids})
            except Exception:  # noqa: BLE001 - the edge: what is wrong with one batch must not end the indexing of others
                pause = _LONGEST_PAUSE_SECONDS
                _log.exception("indexing_failed", extra={"ids": {"again_in_seconds": pause}})
            stop.wait(pause)

    def turn(self) -> int:
        """Index the oldest arrivals, at most a batch; return how many there were."""
        keys = self._spool.arrivals(BATCH)
        if keys:
            self.index(keys)
        return len(keys)

    def reconcile(self, stop: threading.Event | None = None) -> int:
        """Index every file of the spool that has no row; return how many there were.

        After a crash of a machine the list of arrivals may be shorter than the spool, and after the loss of a database the spool is all
        there is. So the spool is told first what the database knows of what was fetched: earlier versions kept that there alone.
        """
        with self._services.reading() as session:
            known = inbox.known_paths(session)
            fetched = priors.everything_asked_for(session)
        self._spool.asked.remember(map(key_of, fetched))
        found = 0
        for keys in _batches(k for k in self._spool.all_keys() if place(self._spool, k) not in known):
            if stop is not None and stop.is_set():
                break
            found += self.index(keys)
        _log.info("spool_reconciled", extra={"ids": {"known": len(known), "indexed": found}})
        return found

    def index(self, keys: Iterable[str]) -> int:
        """Index some objects of the spool; return how many were new."""
        numbers = {key: self._spool.number(key) for key in keys}
        read = dict(self._read(numbers))
        new = self._add_whole(read) if read else 0
        self._spool.indexed(numbers)
        return new

    def _add_whole(self, read: dict[str, Instance]) -> int:
        """Add a batch; what the index does not take is put aside, so that it does not stand before all that comes after it."""
        try:
            return self._add(list(read.values()))
        except Exception as error:
            if _may_pass(error):
                raise
            if len(read) > 1:
                return sum(self._add_whole({key: instance}) for key, instance in read.items())
            (key,) = read
            _log.exception("instance_not_indexed", extra={"ids": {"key": key}})
            self._spool.put_aside(key, f"a fault of LMS-SR: it could not be indexed ({type(error).__name__})")
            return 0

    def _add(self, read: list[Instance]) -> int:
        services = self._services
        with services.transaction() as session:
            ours = {uid for study in {i.study_instance_uid for i in read} for uid in outbox.sent_uids(session, study)}
            # our reports come back by auto-forward: they are no news, and no evidence of themselves
            arrived = [i for i in read if i.sop_instance_uid not in ours]
            now = services.now()
            priors.add_objects(
                session, ((i.study_instance_uid, i.sop_instance_uid) for i in arrived if self._was_fetched(i)), now
            )
            arrivals = inbox.add_instances(session, arrived, now) if arrived else ()
            for arrival in arrivals:
                completing.ask_for_check(services, session, arrival.study_instance_uid, now)
        new = sum(a.new_instances for a in arrivals)
        corrected = sum(a.corrected for a in arrivals)
        if new or corrected:
            ids = {"instances": new, "corrected": corrected, "studies": len({a.study_instance_uid for a in arrivals})}
            _log.info("batch_indexed", extra={"ids": ids})
        return new

    def _was_fetched(self, instance: Instance) -> bool:
        """Say whether an object was asked for as an earlier examination, as the spool knows it."""
        return self._spool.asked.knows(key_of(instance.sop_instance_uid)) or is_host_name(instance.source_address)

    def _read(self, keys: Iterable[str]) -> Iterator[tuple[str, Instance]]:
        for key in keys:
            path = self._spool.path(key)
            try:
                yield key, self._one(key, path)
            except InputError as error:
                # it was acknowledged, so it stays; a person finds it by this record and by `unreadable`
                _log.error("instance_unreadable", extra={"ids": {"key": key, "reason": str(error)}})
                self._spool.put_aside(key, str(error))
            except StoreUnavailable:
                if path.exists():
                    raise
                _log.error("instance_missing", extra={"ids": {"key": key}})
            except OSError:
                raise
            except Exception as error:  # noqa: BLE001 - the edge: one object must not stand before all others
                _log.exception("instance_unreadable", extra={"ids": {"key": key}})
                self._spool.put_aside(key, f"a fault of LMS-SR: it could not be read ({type(error).__name__})")

    def _one(self, key: str, path: Path) -> Instance:
        received_at = read_meta(path).received_at
        instance = read_instance(path, path=place(self._spool, key), received_at=received_at)
        return replace(instance, received_at=received_at)


def _may_pass(error: Exception) -> bool:
    """Say whether trying again may help."""
    if isinstance(error, DBAPIError):
        return is_away(error)
    return isinstance(error, OSError | StoreUnavailable)


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(keys)
    while batch := list(islice(iterator, BATCH)):
        yield batch
