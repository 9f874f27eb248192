"""What becomes of a received object: looked over, kept in the spool, counted and told; every outcome is a status."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from dataclasses import dataclass

from service.clock import Clock
from service.dimse import gatekeeper, statuses
from service.dimse.acceptor import Answer
from service.errors import Refused
from service.store.draft import Draft
from service.store.spool import FileMeta, Outcome, Receipt, Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was received since the start."""

    stored: int = 0
    duplicate: int = 0
    other_syntax: int = 0
    corrected: int = 0
    conflict: int = 0
    refused: int = 0


class Keeper:
    """Keeps objects.

    Parameters
    ----------
    spool:
        Prepared.
    clock:
        The time of receipt.
    log:
        Where it is told.
    """

    def __init__(self, spool: Spool, clock: Clock, log: logging.Logger) -> None:
        self.spool = spool
        self.clock = clock
        self.log = log
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Counts:
        """What was received since the start."""
        with self._lock:
            return Counts(**self._counts)

    def count(self, name: str) -> None:
        """Add one."""
        with self._lock:
            self._counts[name] += 1

    def begin(self, meta: FileMeta, *, may_correct: bool = False) -> Coming:
        """Begin an object; ``may_correct``: see `service.store.spool.Spool.keep`."""
        return Coming(self, meta, may_correct=may_correct)


class Coming:
    """An object on its way (``service.dimse.acceptor.Incoming``)."""

    __slots__ = ("_answer", "_draft", "_keeper", "_may_correct", "_meta", "size")

    def __init__(self, keeper: Keeper, meta: FileMeta, *, may_correct: bool) -> None:
        self.size = 0
        self._may_correct = may_correct
        self._keeper = keeper
        self._meta = meta
        #: once it is refused: what the sender hears when it has said everything
        self._answer: Answer | None = None
        self._draft: Draft | None = None
        try:
            self._draft = keeper.spool.begin(meta)
        except Refused as error:
            self._answer = self._refused(error)
        except Exception:  # noqa: BLE001 - the edge: the sender must hear that the object is not safe
            self._answer = self._failed()

    def write(self, piece: memoryview) -> None:
        """Take a piece of the data set."""
        self.size += len(piece)
        draft = self._draft
        if draft is None:
            return
        try:
            draft.write(piece)
        except Refused as error:
            self._answer = self._refused(error)
        except OSError as error:
            self._answer = self._refused(self._keeper.spool.refusal(draft.key, error))
        else:
            return
        self.discard()

    def finish(self) -> Answer:
        """Look the object over and keep it, or say why not."""
        draft = self._draft
        if draft is None:
            return self._answer or self._failed()
        try:
            with draft.view() as (data, give_back):
                gatekeeper.scan(
                    data,
                    transfer_syntax_uid=self._meta.transfer_syntax_uid,
                    sop_class_uid=self._meta.sop_class_uid,
                    sop_instance_uid=self._meta.sop_instance_uid,
                    give_back=give_back,
                )
            receipt = self._keeper.spool.keep(draft, at=self._keeper.clock.now(), may_correct=self._may_correct)
        except Refused as error:
            return self._refused(error)
        except OSError as error:
            # the object cannot be mapped
            return self._refused(self._keeper.spool.refusal(draft.key, error))
        except Exception:  # noqa: BLE001 - the edge: the sender must hear that the object is not safe
            return self._failed()
        finally:
            self.discard()
        self._tell(receipt)
        return Answer(status=statuses.SUCCESS)

    def discard(self) -> None:
        """Throw it away; nothing where it was kept."""
        draft, self._draft = self._draft, None
        if draft is not None:
            draft.discard()

    def _tell(self, receipt: Receipt) -> None:
        keeper = self._keeper
        keeper.count(receipt.outcome.value)
        if receipt.outcome is Outcome.CONFLICT and receipt.first_time:
            place = receipt.quarantined.name if receipt.quarantined else ""
            ids = {**self._ids(), "key": receipt.key, "quarantined": place}
            keeper.log.error("instance_conflict", extra={"ids": ids})
        elif receipt.outcome is Outcome.CORRECTED:
            keeper.log.info("instance_corrected", extra={"ids": {**self._ids(), "key": receipt.key}})
        elif keeper.log.isEnabledFor(logging.DEBUG):
            keeper.log.debug("instance_received", extra={"ids": {**self._ids(), "outcome": receipt.outcome.value}})

    def _refused(self, error: Refused) -> Answer:
        self._keeper.count("refused")
        # a UID that is none may hold anything, so it is not logged
        hidden = {"sop_instance_uid": ""} if error.status == statuses.INVALID_INSTANCE else {}
        ids = {**self._ids(), **hidden, "status": f"{error.status:04X}H", "why": str(error)}
        self._keeper.log.warning("instance_refused", extra={"ids": ids})
        return Answer(status=error.status, comment=str(error))

    def _failed(self) -> Answer:
        self._keeper.count("refused")
        self._keeper.log.error("instance_failed", exc_info=True, extra={"ids": self._ids()})  # noqa: LOG014 - called inside handlers
        return Answer(status=statuses.PROCESSING_FAILURE, comment="unexpected error; see the log of the receiver")

    def _ids(self) -> dict[str, str]:
        meta = self._meta
        return {
            "sop_instance_uid": meta.sop_instance_uid,
            "calling": meta.calling_ae_title,
            "address": meta.address,
        }
