"""One association that a peer opened: what is negotiated, and how its requests are answered.

Built on pynetdicom's acceptor. Its own storage service is not used: it accepts the first transfer syntax that a peer
proposes, Deflated or unknown, answers some broken requests not at all, and hands data sets on decoded.

Whether the peer is let in was decided before (``service.dimse.door``); its A-ASSOCIATE-RQ has arrived whole. This class runs on
pynetdicom's two threads, as they are; ``service.dimse.fast`` runs the same on one.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol, cast

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_ECHO, C_STORE, DimseServiceType
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError, StateMachine
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.timer import Timer
from pynetdicom.transport import AddressInformation

from service.dimse import access, statuses
from service.dimse.library import GARBAGE, QuickSocket, end
from service.dimse.syntaxes import IMPLICIT_LITTLE, VERIFICATION, is_storage_class, is_taken_syntax
from service.dimse.tls import PeerCertificate
from service.model.uids import MAX_UID
from service.store.file_meta import FileMeta

#: source of an A-ABORT (PS3.8 Table 9-26)
_SERVICE_PROVIDER = 0x02


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end: AE titles without padding, IP address, and the certificate (None: it called without TLS)."""

    calling: str = ""
    called: str = ""
    address: str = ""
    certificate: PeerCertificate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A C-STORE response: the status, and for people the Error Comment (0000,0902)."""

    status: int
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """A peer that is let in: its connection, the A-ASSOCIATE-RQ as it came, and who may do what there.

    ``number`` is its place among the open associations.
    """

    number: int
    connection: socket.socket
    port: int
    request: bytes
    peer: Peer
    granted: access.Access


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """How long a peer may take, in seconds on a clock that nobody sets.

    ``stall``: for a PDU from its first byte to its last, or to take what we send. ``idle``: between two messages. ``associate``: to
    close the connection after our last word (the ARTIM timer of PS3.8 9.1.5).
    """

    associate: float = 10.0
    stall: float = 15.0
    idle: float = 60.0


class Incoming(Protocol):
    """An object on its way: written piece by piece, then finished or thrown away. Nothing here raises."""

    @property
    def size(self) -> int:
        """How many bytes have come."""
        ...

    def write(self, piece: memoryview) -> None:
        """Take a piece of the data set; a view that is valid during the call."""
        ...

    def finish(self) -> Answer:
        """Look the object over and keep it, or say why not."""
        ...

    def discard(self) -> None:
        """Throw it away: it has not come whole."""
        ...


class House(Protocol):
    """What an association asks of the receiver that it belongs to."""

    @property
    def is_stopping(self) -> bool:
        """Say whether nothing more is to be begun."""
        ...

    @property
    def max_object_bytes(self) -> int:
        """How large an object may be; whoever sends more is cut off."""
        ...

    def begin(self, meta: FileMeta, *, may_correct: bool) -> Incoming:
        """Begin an object that is allowed to come, from a peer that may correct, or not. Raises nothing."""
        ...

    def answered(self) -> None:
        """Hear that an object was answered: before the next one there is a moment in which nobody waits."""
        ...

    def ended(self, number: int) -> None:
        """Hear that the association with this number is over."""
        ...


class _Messages(DIMSEServiceProvider):
    """From PDUs to messages. pynetdicom's own ends the connection's thread, with a traceback, at what is no message."""

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the values of one PDU; what is no message ends the association."""
        try:
            self._check_size(primitive)
            # one value at a time: pynetdicom forgets what follows the end of a message in the same PDU
            for value in primitive.presentation_data_value_list:
                piece = P_DATA()
                piece.presentation_data_value_list.append(value)
                self.message = self.message or DIMSEMessage()
                if self.message.decode_msg(piece, self.assoc):
                    self._finish(self.message)
                    self.message = None
        except GARBAGE:
            # unrecognised or invalid PDU (PS3.8 Table 9-5): it is answered with an abort
            self.dul.event_queue.put("Evt19")

    def _check_size(self, primitive: P_DATA) -> None:
        held = self.message.data_set if self.message is not None else None
        if held is None:
            return
        coming = sum(len(data) for _, data in primitive.presentation_data_value_list)
        if held.tell() + coming > cast("Acceptor", self.assoc).house.max_object_bytes:
            raise ValueError

    def _finish(self, message: DIMSEMessage) -> None:
        # pynetdicom cannot hold such a UID; without it the request is answered, where an abort would make the peer try for ever
        for keyword in ("AffectedSOPClassUID", "AffectedSOPInstanceUID"):
            if len(str(message.command_set.get(keyword, ""))) > MAX_UID:
                delattr(message.command_set, keyword)
        primitive = message.message_to_primitive()
        if message.context_id is not None and not isinstance(primitive, C_CANCEL):
            self.msg_queue.put((message.context_id, primitive))


class _States(StateMachine):
    """pynetdicom's state machine, in which a peer that leaves at the wrong moment is no error of ours."""

    def do_action(self, event: str) -> None:
        """Act on an event; what cannot follow ends the connection."""
        try:
            super().do_action(event)
        except (InvalidEventError, *GARBAGE):
            self.dul.kill_dul()


class _Monotonic(Timer):
    """pynetdicom's timer on a clock that nobody sets: an hour forward would abort every association."""

    def start(self) -> None:
        """Begin anew."""
        self._start_time, self._end_time = time.monotonic(), None

    def stop(self) -> None:
        """Stand still."""
        self._end_time = time.monotonic()

    @property
    def remaining(self) -> float:
        """Seconds that are left; 1 where there is no limit."""
        if self.timeout is None:
            return 1
        if self._start_time is None:
            return self.timeout
        until = time.monotonic() if self._end_time is None else self._end_time
        return self.timeout - (until - self._start_time)


class _Provider(DULServiceProvider):
    """pynetdicom's upper layer, which does not read on while a message waits: the network holds what the peer sends too early."""

    def _is_transport_event(self) -> bool:
        """Read a PDU if there is one, and nothing is in the way."""
        assoc = self.assoc
        if not self.event_queue.empty():
            # what was read before comes first: behind an unknown PDU there may be less than the next one's head
            return False
        if self.state_machine.current_state == "Sta6" and isinstance(assoc, Acceptor) and assoc.is_full:
            return False
        return super()._is_transport_event()


class Acceptor(Association):
    """An association with a peer that called us and is let in.

    Parameters
    ----------
    ae:
        pynetdicom's, whose sizes it takes over.
    admitted:
        Who is at the other end, and what it asked for.
    house:
        Who keeps what comes.
    times:
        How long the peer may take for what.
    log:
        Where it is told.
    """

    def __init__(
        self, ae: ApplicationEntity, admitted: Admitted, house: House, times: Times, log: logging.Logger
    ) -> None:
        super().__init__(ae, "acceptor")
        self.peer = admitted.peer
        self.granted = admitted.granted
        self.house = house
        self.number = admitted.number
        self.is_serving = self._told = False
        self.served = self.failed = 0
        self._times = times
        self._log = log
        self._connection = admitted.connection
        # pynetdicom counts associations by this name
        self.name = f"AcceptorThread@{self.peer.address}:{admitted.port}"
        self.dimse = _Messages(self)
        self.dul = self._make_provider()
        self.dul.state_machine = _States(self.dul)
        self.dul._idle_timer = _Monotonic(times.idle)  # noqa: SLF001 - pynetdicom's, on our clock
        self.dul.artim_timer = _Monotonic(times.associate)
        self.acse_timeout, self.dimse_timeout, self.network_timeout = times.associate, times.stall, times.idle
        admitted.connection.settimeout(times.stall)
        self.set_socket(self._make_socket(admitted))
        self.acceptor.maximum_length = ae.maximum_pdu_size
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(_numeric(admitted.connection.getsockname()))
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name
        self.requestor.address_info = AddressInformation.from_tuple(
            (self.peer.address.partition("%")[0], admitted.port)
        )
        self.bind(evt.EVT_REQUESTED, self._guarded(self._propose))
        self.bind(evt.EVT_RELEASED, self._guarded(lambda: self._tell("released")))
        self.bind(evt.EVT_ABORTED, self._guarded(lambda: self._tell("aborted")))

    def _make_provider(self) -> DULServiceProvider:
        return _Provider(self)

    def _make_socket(self, admitted: Admitted) -> QuickSocket:
        return QuickSocket(self, admitted.connection, stall=self._times.stall, read=admitted.request)

    def run_reactor(self) -> None:
        """Serve the association to its end; pynetdicom's hook, on the association's own thread."""
        try:
            super().run_reactor()
        finally:
            # pynetdicom leaves a socket open whose peer has gone
            end(self._connection)
            self.house.ended(self.number)

    @property
    def is_full(self) -> bool:
        """Say whether a message is being served, or waits for that."""
        return self.is_serving or not self.dimse.msg_queue.empty()

    @property
    def is_busy(self) -> bool:
        """Say whether an object is on its way or being kept."""
        return self.is_full or self.dimse.message is not None

    def end(self) -> None:
        """End the association when nothing is on its way; from another thread."""
        if self.is_established and not self.is_busy:
            self.abort()
        else:
            self.cut()

    def cut(self) -> None:
        """Close the connection without a word; returns at once."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self.dul.kill_dul()

    # --- negotiation ---------------------------------------------------------------------------------------------------

    def _propose(self) -> None:
        """Say, while the A-ASSOCIATE-RQ waits, what may be negotiated."""
        request = self.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):
            # the peer left while its request was being read
            self.acse.send_reject(access.REJECTED_TRANSIENT, access.SOURCE_PRESENTATION, access.NO_REASON)
            # returns when the answer has gone out
            self.kill()
            return
        proposed = request.presentation_context_definition_list
        if not all(c.abstract_syntax and c.transfer_syntax for c in proposed):
            # mandatory sub-items of a presentation context (PS3.8 Table 9-13)
            self.acse.send_abort(_SERVICE_PROVIDER)
            self.kill()
            return
        self.acceptor.supported_contexts = self._contexts(proposed)

    def _contexts(self, proposed: list[PresentationContext]) -> list[PresentationContext]:
        """Return what we take of what is proposed: of each context the first transfer syntax that we take.

        pynetdicom answers each proposed context from it: accepted, abstract syntax not supported, or transfer syntaxes not
        supported (PS3.8 Table 9-18).
        """
        wanted: dict[str, dict[str, None]] = {}
        for context in proposed:
            uid = str(context.abstract_syntax)
            if uid == VERIFICATION:
                # PS3.7 knows no status by which a C-ECHO could be refused
                if self.granted.node is None or "echo" not in self.granted.node.may:
                    continue
            elif not is_storage_class(uid):
                continue
            taken = next((str(t) for t in context.transfer_syntax if is_taken_syntax(str(t))), None)
            syntaxes = wanted.setdefault(uid, {})
            if taken is not None:
                # pynetdicom would choose by our order, which one context cannot have without the others of its class
                context.transfer_syntax = [UID(taken)]
                syntaxes[taken] = None
        # where no syntax is taken, one that was not proposed, so that the answer is about syntaxes and not about the class
        return [build_context(uid, list(syntaxes) or [IMPLICIT_LITTLE]) for uid, syntaxes in wanted.items()]

    def _guarded(self, action: Callable[[], None]) -> Callable[[evt.Event], None]:
        def handle(_: evt.Event) -> None:
            try:
                action()
            except Exception:  # noqa: BLE001 - pynetdicom would go on as if it had been let in
                self._log.exception("association_failed", extra={"ids": {"address": self.peer.address}})
                self.cut()

        return handle

    def _tell(self, how: str) -> None:
        if self._told:
            return
        self._told = True
        ids = {"calling": self.peer.calling, "called": self.peer.called, "address": self.peer.address, "how": how}
        counts = {"served": self.served, "failed": self.failed, "tls": self.peer.certificate is not None}
        self._log.info("association_ended", extra={"ids": {**ids, **counts}})

    # --- serving -------------------------------------------------------------------------------------------------------

    def _serve_request(self, msg: DimseServiceType, context_id: int) -> None:
        """Answer one request; pynetdicom's hook, called on this association's own thread."""
        self.is_serving = True
        try:
            context = self._accepted_cx.get(context_id)
            if self._sent_release:
                return
            if context is not None and isinstance(msg, C_STORE) and msg.MessageID is not None:
                self._store(msg, context, context_id)
            elif context is not None and isinstance(msg, C_ECHO) and context.abstract_syntax == VERIFICATION:
                super()._serve_request(msg, context_id)
            else:
                self._log.warning(
                    "operation_refused", extra={"ids": {"calling": self.peer.calling, "operation": msg.msg_type}}
                )
                self.abort()
                return
        finally:
            self.is_serving = False
        if self.house.is_stopping:
            self.abort()

    def _store(self, request: C_STORE, context: PresentationContext, context_id: int) -> None:
        answer = self._answer(request, context)
        if answer.status == statuses.SUCCESS:
            self.served += 1
        else:
            self.failed += 1
        if not self.is_established:
            return
        response = C_STORE()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = request.AffectedSOPClassUID
        response.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        response.Status = answer.status
        if answer.comment:
            response.ErrorComment = statuses.error_comment(answer.comment)  # type: ignore[assignment]
        self.dimse.send_msg(response, context_id)

    def _answer(self, request: C_STORE, context: PresentationContext) -> Answer:
        sop_class, sop_instance = request.AffectedSOPClassUID, request.AffectedSOPInstanceUID
        data_set = request.DataSet
        if not isinstance(data_set, BytesIO):
            sop_instance = None
        incoming = self._begin(sop_class and str(sop_class), sop_instance and str(sop_instance), context)
        if isinstance(incoming, Answer):
            return incoming
        # a view, so that an object is in memory once
        assert isinstance(data_set, BytesIO)  # noqa: S101 - else there was an answer
        with data_set.getbuffer() as view:
            incoming.write(view)
        return incoming.finish()

    def _begin(
        self, sop_class: str | None, sop_instance: str | None, context: PresentationContext
    ) -> Incoming | Answer:
        """Begin an object, or say from its command alone why not."""
        if not sop_class or not sop_instance:
            return Answer(
                status=statuses.MISTYPED_ARGUMENT, comment="the request names no SOP class, instance or data set"
            )
        if sop_class != context.abstract_syntax or sop_class == VERIFICATION:
            return Answer(status=statuses.CLASS_NOT_SUPPORTED, comment="not the SOP class of its presentation context")
        node = self.granted.node
        if node is None or "store" not in node.may:
            return Answer(status=statuses.NOT_AUTHORISED, comment="this node may not store here")
        meta = FileMeta(
            sop_class_uid=sop_class,
            sop_instance_uid=sop_instance,
            transfer_syntax_uid=str(context.transfer_syntax[0]),
            calling_ae_title=self.peer.calling,
            called_ae_title=self.peer.called,
            address=self.peer.address,
        )
        return self.house.begin(meta, may_correct="correct" in node.may)


def _numeric(where: tuple[str, int] | tuple[str, int, int, int]) -> tuple[str, int]:
    return str(where[0]).partition("%")[0], int(where[1])
