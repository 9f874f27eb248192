"""One association that a peer opened: whether it is let in, what is negotiated, and how its requests are answered.

Built on pynetdicom's acceptor. Its own storage service is not used: it accepts the first transfer syntax that a peer
proposes, Deflated or unknown, answers some broken requests not at all, and hands data sets on decoded.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol

from pydicom.uid import UID
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL, C_ECHO, C_STORE, DimseServiceType
from pynetdicom.fsm import InvalidEventError, StateMachine
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import AddressInformation, ThreadedAssociationServer

from service.dimse import access, statuses
from service.dimse.library import GARBAGE, QuickSocket
from service.dimse.syntaxes import IMPLICIT_LITTLE, VERIFICATION, is_storage_class, is_taken_syntax
from service.dimse.tls import PeerCertificate, peer_names
from service.model.uids import MAX_UID


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


class House(Protocol):
    """What an association asks of the receiver that it belongs to."""

    @property
    def is_stopping(self) -> bool:
        """Say whether nothing more is to be begun."""
        ...

    def admit(self, peer: Peer) -> access.Access:
        """Decide about an association."""
        ...

    def store(
        self, peer: Peer, data_set: memoryview, *, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str
    ) -> Answer:
        """Keep an object, or say why not. Raises nothing."""
        ...


class _Messages(DIMSEServiceProvider):
    """From PDUs to messages. pynetdicom's own ends the connection's thread, with a traceback, at what is no message."""

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take the values of one PDU; what is no message ends the association."""
        try:
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


class Acceptor(Association):
    """An association with a peer that called us.

    Parameters
    ----------
    ae, server:
        pynetdicom's, whose time-outs and sizes it takes over.
    connection:
        The accepted socket, after the TLS handshake where there is one.
    address:
        Of the peer, as the socket tells it.
    house:
        Who decides.
    log:
        Where it is told.
    """

    def __init__(
        self,
        ae: ApplicationEntity,
        server: ThreadedAssociationServer,
        connection: socket.socket,
        address: tuple[str, int],
        house: House,
        log: logging.Logger,
    ) -> None:
        super().__init__(ae, "acceptor")
        # pynetdicom counts associations by this name
        self.name = f"AcceptorThread@{address[0]}:{address[1]}"
        self.dimse = _Messages(self)
        self.dul.state_machine = _States(self.dul)
        self._server = server
        self._house = house
        self._log = log
        certificate = peer_names(connection) if isinstance(connection, ssl.SSLSocket) else None
        self.peer = Peer(address=address[0], certificate=certificate)
        self.granted = access.Access()
        self.is_serving = self._told = False
        self.served = self.failed = 0
        self.set_socket(QuickSocket(self, client_socket=connection))
        self.acceptor.maximum_length = ae.maximum_pdu_size
        self.acceptor.ae_title = ae.ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(server.server_address)
        self.acceptor.implementation_class_uid = ae.implementation_class_uid
        self.acceptor.implementation_version_name = ae.implementation_version_name
        self.requestor.address_info = AddressInformation.from_tuple(address)
        self.bind(evt.EVT_REQUESTED, self._guarded(self._admit))
        self.bind(evt.EVT_RELEASED, self._guarded(lambda: self._tell("released")))
        self.bind(evt.EVT_ABORTED, self._guarded(lambda: self._tell("aborted")))

    @property
    def is_busy(self) -> bool:
        """Say whether an object is on its way or being kept."""
        return self.is_serving or self.dimse.message is not None or not self.dimse.msg_queue.empty()

    def belongs_to(self, server: ThreadedAssociationServer) -> bool:
        """Say whether ``server`` took the connection."""
        return self._server is server

    def cut(self) -> None:
        """Close the connection without a word; returns at once."""
        connection = self.dul.socket.socket if self.dul.socket else None
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.dul.kill_dul()

    # --- being let in --------------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Decide while the A-ASSOCIATE-RQ waits, and say what may be negotiated."""
        request = self.requestor.primitive
        if not isinstance(request, A_ASSOCIATE):
            self._reject(access.REJECTED_TRANSIENT, access.SOURCE_PRESENTATION, access.NO_REASON)
            return
        self.peer = Peer(
            calling=str(request.calling_ae_title).strip(),
            called=str(request.called_ae_title).strip(),
            address=self.requestor.address,
            certificate=self.peer.certificate,
        )
        decision = self._house.admit(self.peer)
        if not decision.granted:
            ids = {"failed": decision.failed, "why": decision.why, "address": self.peer.address}
            self._log.warning("association_refused", extra={"ids": ids})
            self._reject(decision.result, decision.source, decision.reason)
            return
        self.granted = decision
        self.acceptor.supported_contexts = self._contexts(request.presentation_context_definition_list)

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

    def _reject(self, result: int, source: int, reason: int) -> None:
        self.acse.send_reject(result, source, reason)
        # returns when the answer has gone out
        self.kill()

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
        if self._house.is_stopping:
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
        if sop_class is None or sop_instance is None or not isinstance(data_set, BytesIO):
            return Answer(
                status=statuses.MISTYPED_ARGUMENT, comment="the request names no SOP class, instance or data set"
            )
        if sop_class != context.abstract_syntax or sop_class == VERIFICATION:
            return Answer(status=statuses.CLASS_NOT_SUPPORTED, comment="not the SOP class of its presentation context")
        node = self.granted.node
        if node is None or "store" not in node.may:
            return Answer(status=statuses.NOT_AUTHORISED, comment="this node may not store here")
        # a view, so that an object is in memory once
        with data_set.getbuffer() as view:
            return self._house.store(
                self.peer,
                view,
                transfer_syntax_uid=str(context.transfer_syntax[0]),
                sop_class_uid=str(sop_class),
                sop_instance_uid=str(sop_instance),
            )
