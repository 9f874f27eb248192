"""Objects that a node is asked for: C-GET over our own association, or C-MOVE to our receiver (PS3.4 Annex C, Study Root, as SCU).

C-GET needs nothing from the node but that it takes the request: the objects come over the association that asks. C-MOVE needs our AE
title and address at the node, and its objects come to the ordinary receiver, like any that the node sends. Asked for are instances by
their UIDs (PS3.4 C.4.3.1.3.1), never a whole study.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_GET, C_MOVE, C_STORE
from pynetdicom.dsutils import encode

from service.dimse import gatekeeper, statuses
from service.dimse.requestor import Accepted, Proposal, Requestor, context_of
from service.dimse.syntaxes import EXPLICIT_LITTLE, IMPLICIT_LITTLE
from service.errors import PeerUnavailable, Refused, Rejected
from service.settings import Node, Settings

STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
#: instances that one request names: an identifier of a thousand UIDs is more than some archives read
CHUNK: Final = 32

#: as objects may lie in an archive; each is proposed by itself, so that what is compressed need not be made anew for us
_SYNTAXES: Final = (
    EXPLICIT_LITTLE,
    IMPLICIT_LITTLE,
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
)
_PLAIN: Final = (EXPLICIT_LITTLE, IMPLICIT_LITTLE)
#: presentation contexts beside the one of the request (PS3.8 9.3.2.2)
_MOST_CONTEXTS = 127
#: where a node does not say what an instance is: SR (Basic Text, Enhanced, Comprehensive, 3D), SEG (also label map), CT, MR, PET images
_LIKELY: Final = (
    "1.2.840.10008.5.1.4.1.1.88.11",
    "1.2.840.10008.5.1.4.1.1.88.22",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.66.7",
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.128",
)
_SR_ROOT = "1.2.840.10008.5.1.4.1.1.88."
_PENDING = (0xFF00, 0xFF01)
#: PS3.4 Tables C.4-2 and C.4-3
_MEANINGS: Final = {
    0xA701: "out of resources: it cannot count the matches",
    0xA702: "out of resources: it cannot send them",
    0xA801: "it does not know where to send to: add our AE title there, with this machine's address and port",
    0xA900: "the request does not match the SOP class",
    0xB000: "some of the objects could not be sent",
    0xFE00: "cancelled",
}
#: out of resources: later it may go
_LATER = frozenset({0xA701, 0xA702, 0xFE00})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An instance to ask for. ``sop_class_uid`` as the node answered to C-FIND; empty where it did not."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """An object that came over our association, checked by the gatekeeper, not yet kept."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieved:
    """What came of a retrieval: how many objects the node says it sent, how many it could not, and in words why there are fewer."""

    sent: int = 0
    failed: int = 0
    #: empty: all of them came
    lacking: str = ""


Keep = Callable[[Incoming], None]
"""Keeps an object, or raises `Refused`."""


def get(settings: Settings, node: Node, wanted: Iterable[Wanted], keep: Keep, *, seconds: float) -> Retrieved:
    """Ask for instances by C-GET, and hand over each that comes.

    Parameters
    ----------
    settings, node:
        Who we are, and whom to ask.
    wanted:
        The instances; what comes beside them is refused.
    keep:
        Called with each object before the node hears that it was taken.
    seconds:
        All of it takes no longer; what has not come by then is lacking.

    Raises
    ------
    PeerUnavailable
        No connection, no association, no answer in time, out of resources.
    Rejected
        The node refuses the association, takes no C-GET, or refuses the request.
    """
    wanted = tuple(wanted)
    named = {w.sop_class_uid for w in wanted}
    classes = sorted(named - {""}) if "" not in named else sorted(named - {""} | set(_LIKELY))
    proposals = [Proposal(abstract_syntax=STUDY_ROOT_GET, transfer_syntaxes=_PLAIN), *_storage(classes)]
    until = time.monotonic() + seconds
    with Requestor(settings, node, proposals) as peer:
        context = peer.context_for(STUDY_ROOT_GET)
        if context is None:
            msg = f'{peer} does not take C-GET (Study Root): allow it there, or set retrieve = "move"'
            raise Rejected(msg, statuses.CLASS_NOT_SUPPORTED)
        taken = {c.context_id: c for c in peer.accepted}
        retrieval = _Retrieval(peer, settings.outgoing.timeout_seconds, until)
        for chunk in _chunks(wanted):
            if time.monotonic() >= until:
                return retrieval.cut()
            request = C_GET()
            request.AffectedSOPClassUID = UID(STUDY_ROOT_GET)
            request.Priority = 0
            request.Identifier = _identifier(chunk, context)
            expected = {w.sop_instance_uid for w in chunk}

            def take(store: C_STORE, expected: set[str] = expected) -> int:
                return _take(store, taken.get(context_of(store)), expected, keep)

            retrieval.run(request, context, take)
        return retrieval.outcome()


def move(settings: Settings, node: Node, wanted: Iterable[Wanted], *, seconds: float) -> Retrieved:
    """Ask the node to send instances to our receiver (C-MOVE), and wait until it says that it has.

    Parameters
    ----------
    settings, node, wanted, seconds:
        As for ``get``. ``[local] ae_title`` is where the node sends to.

    Raises
    ------
    PeerUnavailable, Rejected
        As ``get``. Rejected also where the node does not know us.
    """
    proposals = [Proposal(abstract_syntax=STUDY_ROOT_MOVE, transfer_syntaxes=_PLAIN)]
    until = time.monotonic() + seconds
    with Requestor(settings, node, proposals) as peer:
        context = peer.context_for(STUDY_ROOT_MOVE)
        if context is None:
            msg = f'{peer} does not take C-MOVE (Study Root): allow it there, or set retrieve = "get"'
            raise Rejected(msg, statuses.CLASS_NOT_SUPPORTED)
        retrieval = _Retrieval(peer, settings.outgoing.timeout_seconds, until)
        for chunk in _chunks(tuple(wanted)):
            if time.monotonic() >= until:
                return retrieval.cut()
            request = C_MOVE()
            request.AffectedSOPClassUID = UID(STUDY_ROOT_MOVE)
            request.Priority = 0
            request.MoveDestination = settings.local.ae_title
            request.Identifier = _identifier(chunk, context)
            retrieval.run(request, context, lambda _store: statuses.NOT_AUTHORISED)
        return retrieval.outcome()


class _Retrieval:
    """Requests over one association, and what came of them."""

    def __init__(self, peer: Requestor, timeout: float, until: float) -> None:
        self._peer, self._timeout, self._until = peer, timeout, until
        self._sent = self._failed = 0
        self._lacking = ""

    def outcome(self) -> Retrieved:
        return Retrieved(sent=self._sent, failed=self._failed, lacking=self._lacking)

    def cut(self) -> Retrieved:
        """Return what came in time."""
        return Retrieved(sent=self._sent, failed=self._failed, lacking=f"{self._peer} did not send all of it in time")

    def run(self, request: C_GET | C_MOVE, context: Accepted, take: Callable[[C_STORE], int]) -> None:
        """Send one request, take what comes, and wait for the last answer (PS3.4 C.4.2.1.4, C.4.3.1.4)."""
        peer, name = self._peer, type(request).__name__.replace("_", "-")
        message_id = peer.send(request, context)
        while True:
            message = peer.receive_any(deadline=min(self._until, time.monotonic() + self._timeout))
            # a C-STORE response has no business here, and a request has a Message ID of its own
            if isinstance(message, C_STORE):
                if message.MessageID is not None:
                    peer.answer(message, take(message))
                continue
            if not isinstance(message, C_GET | C_MOVE) or message.MessageIDBeingRespondedTo != message_id:
                continue
            status = message.Status
            if status is None:
                msg = f"{peer} answers {name} without a status"
                raise PeerUnavailable(msg)
            if status in _PENDING:
                continue
            self._sent += int(message.NumberOfCompletedSuboperations or 0)
            self._sent += int(message.NumberOfWarningSuboperations or 0)
            self._failed += int(message.NumberOfFailedSuboperations or 0)
            self._conclude(status, name)
            return

    def _conclude(self, status: int, name: str) -> None:
        if status == statuses.SUCCESS and not self._failed:
            return
        row = statuses.row_of(status)
        meaning = _MEANINGS.get(status) or (row.meaning if row else "not in the standard")
        msg = f"{self._peer} answers {name} with {status:04X}H ({meaning})"
        if status == statuses.SUCCESS or status >> 12 == 0xB:  # noqa: PLR2004 - a warning: the others came
            self._lacking = f"{msg}: {self._failed} failed"
            return
        if status in _LATER or (row is not None and row.action is statuses.Action.RETRY):
            raise PeerUnavailable(msg, status)
        raise Rejected(msg, status)


def _take(store: C_STORE, context: Accepted | None, expected: set[str], keep: Keep) -> int:
    """Look at an object that came, and keep it; return the status to answer."""
    uid, sop_class = str(store.AffectedSOPInstanceUID or ""), str(store.AffectedSOPClassUID or "")
    if context is None or context.abstract_syntax != sop_class:
        return statuses.CLASS_NOT_SUPPORTED
    if uid not in expected:
        return statuses.NOT_AUTHORISED
    data_set = store.DataSet.getvalue() if isinstance(store.DataSet, BytesIO) else b""
    try:
        gatekeeper.scan(
            data_set,
            transfer_syntax_uid=context.transfer_syntax,
            sop_class_uid=sop_class,
            sop_instance_uid=uid,
        )
        keep(
            Incoming(
                sop_class_uid=sop_class,
                sop_instance_uid=uid,
                transfer_syntax_uid=context.transfer_syntax,
                data_set=data_set,
            )
        )
    except Refused as error:
        return error.status
    return statuses.SUCCESS


def _storage(classes: Sequence[str]) -> Iterator[Proposal]:
    """Yield a context for each class and syntax, as many as an association may have: the plain syntaxes of every class first."""
    plain = [(c, (s,)) for c in classes for s in _PLAIN]
    packed = [(c, (s,)) for c in classes if not c.startswith(_SR_ROOT) for s in _SYNTAXES if s not in _PLAIN]
    for sop_class, syntaxes in (*plain, *packed)[:_MOST_CONTEXTS]:
        yield Proposal(abstract_syntax=sop_class, transfer_syntaxes=syntaxes, taken=True)


def _chunks(wanted: Sequence[Wanted]) -> Iterator[tuple[Wanted, ...]]:
    """Yield the instances of one series at a time: the key of a level above takes one value only."""
    by_series: dict[tuple[str, str], list[Wanted]] = {}
    for one in wanted:
        by_series.setdefault((one.study_instance_uid, one.series_instance_uid), []).append(one)
    for members in by_series.values():
        for start in range(0, len(members), CHUNK):
            yield tuple(members[start : start + CHUNK])


def _identifier(chunk: Sequence[Wanted], context: Accepted) -> BytesIO:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = chunk[0].study_instance_uid
    identifier.SeriesInstanceUID = chunk[0].series_instance_uid
    identifier.SOPInstanceUID = [w.sop_instance_uid for w in chunk]
    return BytesIO(encode(identifier, context.transfer_syntax == IMPLICIT_LITTLE, True) or b"")
