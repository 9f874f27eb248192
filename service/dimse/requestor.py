"""An association that we open: the protocol of PS3.8 as requestor, one message at a time, on the caller's thread.

The messages and PDUs are pynetdicom's; its association threads are not used. They poll, they can lose a response to each
other (the peer stored the object and our side saw an empty status), and they hide why a connection failed.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NoReturn, Self

from pydicom.uid import UID
from pynetdicom import dimse_messages as messages
from pynetdicom import pdu as pdus
from pynetdicom.dimse_primitives import (
    C_CANCEL,
    C_ECHO,
    C_FIND,
    C_GET,
    C_MOVE,
    C_STORE,
    DimsePrimitiveType,
    DimseServiceType,
)
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    P_DATA,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import build_context

from service.dimse import handshake, tls
from service.dimse.library import GARBAGE, MAX_PDU, configure, end, read_exactly, tune
from service.errors import PeerUnavailable, Rejected
from service.model.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from service.settings import Node, Settings

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
#: seconds to get a connection; a peer on a hospital's network answers in milliseconds or not at all
_CONNECT_TIMEOUT = 10.0
#: a value's header and one byte of it
_SHORTEST_PDU = 7
#: seconds to wait for the answer to A-RELEASE-RQ
_RELEASE_TIMEOUT = 5.0

_PDUS: Final = {
    0x02: pdus.A_ASSOCIATE_AC,
    0x03: pdus.A_ASSOCIATE_RJ,
    0x04: pdus.P_DATA_TF,
    0x05: pdus.A_RELEASE_RQ,
    0x06: pdus.A_RELEASE_RP,
    0x07: pdus.A_ABORT_RQ,
}
_Pdu = (
    pdus.A_ASSOCIATE_AC | pdus.A_ASSOCIATE_RJ | pdus.P_DATA_TF | pdus.A_RELEASE_RQ | pdus.A_RELEASE_RP | pdus.A_ABORT_RQ
)
_MESSAGES: Final = {
    C_ECHO: messages.C_ECHO_RQ,
    C_STORE: messages.C_STORE_RQ,
    C_FIND: messages.C_FIND_RQ,
    C_GET: messages.C_GET_RQ,
    C_MOVE: messages.C_MOVE_RQ,
}
#: an object that a peer sends over our association (C-GET) is held in memory; a larger one ends it
LARGEST_OBJECT: Final = 1 << 29

#: A-ASSOCIATE-RJ (PS3.8 Table 9-21): (source, reason) to what it means and what helps
_REASONS: Final = {
    (1, 1): "gives no reason",
    (1, 2): "does not know the DICOM application context",
    (1, 3): "does not know our AE title {ours}: add it there, with this machine's address",
    (1, 7): "does not answer to the AE title {theirs}: see ae_title of [[nodes]] {name}",
    (2, 1): "gives no reason",
    (2, 2): "speaks another version of the protocol",
    (3, 1): "is congested",
    (3, 2): "has too many associations open",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A presentation context that we propose: an abstract syntax, and transfer syntaxes in order of preference.

    ``taken``: the peer may send objects of this class to us over the association, as C-GET does (SCP role, PS3.7 D.3.3.4).
    """

    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    taken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A presentation context that the peer accepted."""

    context_id: int
    abstract_syntax: str
    transfer_syntax: str


def context_of(message: DimseServiceType) -> int:
    """Return the ID of the presentation context that a received message came over."""
    return int(message._context_id or 0)  # noqa: SLF001 - pynetdicom has no public way


class Requestor:
    """An association with a node; a context manager, which releases it (or aborts, where something went wrong).

    Parameters
    ----------
    settings:
        ``local`` says who we are, ``outgoing`` how long we wait.
    node:
        Whom to call, and whether with TLS.
    proposals:
        At most 128 (PS3.8 9.3.2.2).

    Raises
    ------
    PeerUnavailable
        On entering: no connection, no TLS, no answer, a transient refusal; later: the association broke.
    ConfigurationError
        On entering: a file that TLS needs cannot be used.
    Rejected
        On entering: the peer refuses for good, or the node has no port.
    """

    def __init__(self, settings: Settings, node: Node, proposals: Iterable[Proposal]) -> None:
        self.node = node
        self.accepted: tuple[Accepted, ...] = ()
        self.secured: tls.Secured | None = None
        self._settings = settings
        self._ours = settings.local.ae_title
        self._timeout = settings.outgoing.timeout_seconds
        self._proposals = tuple(proposals)
        self._socket: socket.socket | None = None
        self._limit = MAX_PDU
        self._message_id = 0
        self._message = messages.DIMSEMessage()
        self._received: deque[DimseServiceType] = deque()
        self._is_broken = False

    def __str__(self) -> str:
        """Return how messages call the peer."""
        return f"{self.node.name} ({self.node.ae_title} at {self.node.host}:{self.node.port})"

    def __enter__(self) -> Self:
        """Connect and associate."""
        configure()
        try:
            self._connect()
            self._associate()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the association; abort it where it is in an unknown state."""
        try:
            if self._is_broken or error is not None:
                self._abort()
            else:
                self._release()
        finally:
            self._close()

    def context_for(self, abstract_syntax: str, transfer_syntax: str | None = None) -> Accepted | None:
        """Return the accepted context for the abstract syntax (and the transfer syntax), or None."""
        return next(
            (
                c
                for c in self.accepted
                if c.abstract_syntax == abstract_syntax and transfer_syntax in (None, c.transfer_syntax)
            ),
            None,
        )

    def send(self, request: C_ECHO | C_STORE | C_FIND | C_GET | C_MOVE, context: Accepted) -> int:
        """Send a request; return its message ID.

        Raises
        ------
        PeerUnavailable
            The association broke before the whole of it was sent.
        """
        self._message_id = self._message_id % 0xFFFF + 1
        request.MessageID = self._message_id
        self._send_message(_MESSAGES[type(request)](), request, context.context_id)
        return self._message_id

    def cancel(self, message_id: int, context: Accepted) -> None:
        """Ask the peer to stop answering a C-FIND, C-GET or C-MOVE (PS3.7 9.3.2.3)."""
        request = C_CANCEL()
        request.MessageIDBeingRespondedTo = message_id
        self._send_message(messages.C_CANCEL_RQ(), request, context.context_id)

    def receive(self, message_id: int, *, deadline: float | None = None) -> DimseServiceType:
        """Return the next response to ``message_id``; others are dropped.

        Parameters
        ----------
        deadline:
            On ``time.monotonic``; by default ``[outgoing] timeout_seconds`` from now.

        Raises
        ------
        PeerUnavailable
            None came in time, or the association broke.
        """
        until = deadline if deadline is not None else time.monotonic() + self._timeout
        while True:
            message = self.receive_any(deadline=until)
            if message.MessageIDBeingRespondedTo == message_id:
                return message

    def receive_any(self, *, deadline: float | None = None) -> DimseServiceType:
        """Return the next message, which may be a request of the peer's: a C-STORE that belongs to our C-GET (PS3.7 9.1.3).

        Parameters
        ----------
        deadline:
            As for ``receive``.

        Raises
        ------
        PeerUnavailable
            None came in time, the association broke, or an object is larger than ``LARGEST_OBJECT``.
        """
        until = deadline if deadline is not None else time.monotonic() + self._timeout
        while True:
            if self._received:
                return self._received.popleft()
            pdu = self._read(until)
            if not isinstance(pdu, pdus.P_DATA_TF):
                self._is_broken = True
                how = "aborted the association" if isinstance(pdu, pdus.A_ABORT_RQ) else "ended the association"
                msg = f"{self} {how}"
                raise PeerUnavailable(msg)
            try:
                self._take(pdu.to_primitive())
            except GARBAGE as error:
                raise self._broken("answers with something that is no DICOM message") from error
            data_set = self._message.data_set
            if data_set is not None and data_set.tell() > LARGEST_OBJECT:
                what = f"sends an object of more than {LARGEST_OBJECT >> 20} MB"
                raise self._broken(what)

    def answer(self, request: C_STORE, status: int) -> None:
        """Answer a C-STORE of the peer's, over its own presentation context (PS3.7 9.3.1.2).

        Raises
        ------
        PeerUnavailable
            The association broke.
        """
        response = C_STORE()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = request.AffectedSOPClassUID
        response.AffectedSOPInstanceUID = request.AffectedSOPInstanceUID
        response.Status = status
        self._send_message(messages.C_STORE_RSP(), response, context_of(request))

    # --- messages ------------------------------------------------------------------------------------------------------

    def _send_message(self, message: messages.DIMSEMessage, primitive: DimsePrimitiveType, context_id: int) -> None:
        message.primitive_to_message(primitive)
        for piece in message.encode_msg(context_id, self._limit):
            self._write(pdus.P_DATA_TF(piece).encode())

    def _take(self, primitive: P_DATA) -> None:
        # one value at a time: pynetdicom forgets what follows the end of a message in the same PDU
        for value in primitive.presentation_data_value_list:
            piece = P_DATA()
            piece.presentation_data_value_list.append(value)
            if self._message.decode_msg(piece):
                message = self._message.message_to_primitive()
                if not isinstance(message, C_CANCEL):
                    self._received.append(message)
                self._message = messages.DIMSEMessage()

    # --- association ---------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        if not self.node.port:
            msg = f"node {self.node.name} has no port: set port of [[nodes]] {self.node.name}"
            raise Rejected(msg)
        try:
            self._socket = socket.create_connection(
                (self.node.host, self.node.port), timeout=min(_CONNECT_TIMEOUT, self._timeout)
            )
            tune(self._socket, self._timeout)
        except OSError as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
            msg = f"{self} cannot be reached: {why}"
            raise PeerUnavailable(msg) from error
        if self.node.tls:
            # it closes the connection where it fails
            plain, self._socket = self._socket, None
            self._socket = secured = handshake.connect(self._settings, self.node, plain, who=str(self))
            self.secured = tls.secured(secured)

    def _associate(self) -> None:
        request = A_ASSOCIATE()
        request.application_context_name = UID(_APPLICATION_CONTEXT)
        request.calling_ae_title = self._ours
        request.called_ae_title = self.node.ae_title
        length = MaximumLengthNotification()
        length.maximum_length_received = MAX_PDU
        implementation = ImplementationClassUIDNotification()
        implementation.implementation_class_uid = UID(IMPLEMENTATION_CLASS_UID)
        version = ImplementationVersionNameNotification()
        version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        roles = []
        for abstract_syntax in dict.fromkeys(p.abstract_syntax for p in self._proposals if p.taken):
            role = SCP_SCU_RoleSelectionNegotiation()
            role.sop_class_uid = UID(abstract_syntax)
            role.scu_role, role.scp_role = False, True
            roles.append(role)
        request.user_information = [length, implementation, version, *roles]
        contexts = []
        for index, proposal in enumerate(self._proposals):
            context = build_context(proposal.abstract_syntax, list(proposal.transfer_syntaxes))
            context.context_id = 2 * index + 1
            contexts.append(context)
        request.presentation_context_definition_list = contexts
        self._write(pdus.A_ASSOCIATE_RQ(request).encode())

        answer = self._read(time.monotonic() + self._timeout)
        if isinstance(answer, pdus.A_ASSOCIATE_RJ):
            self._refused(answer)
        if not isinstance(answer, pdus.A_ASSOCIATE_AC):
            raise self._broken("aborts instead of answering our association request")
        try:
            granted = answer.to_primitive()
            self._limit = min(granted.maximum_length_received or MAX_PDU, MAX_PDU)
            if self._limit < _SHORTEST_PDU:
                raise ValueError
            self.accepted = tuple(
                Accepted(
                    context_id=int(result.context_id or 0),
                    abstract_syntax=self._proposals[(int(result.context_id or 0) - 1) // 2].abstract_syntax,
                    transfer_syntax=str(result.transfer_syntax[0]),
                )
                for result in granted.presentation_context_definition_results_list
                if result.result == 0
            )
        except GARBAGE as error:
            raise self._broken("answers our association request with something that is none") from error

    def _refused(self, answer: pdus.A_ASSOCIATE_RJ) -> NoReturn:
        told = _REASONS.get(
            (answer.source or 0, answer.reason_diagnostic or 0), "gives a reason that PS3.8 does not know"
        )
        told = told.format(ours=self._ours, theirs=self.node.ae_title, name=self.node.name)
        # nothing is left to abort
        self._close()
        if answer.result == 1:
            msg = f"{self} refuses our association: it {told}"
            raise Rejected(msg)
        msg = f"{self} refuses our association for now: it {told}"
        raise PeerUnavailable(msg)

    def _release(self) -> None:
        with suppress(PeerUnavailable):
            self._write(pdus.A_RELEASE_RQ().encode())
            until = time.monotonic() + _RELEASE_TIMEOUT
            while not isinstance(pdu := self._read(until), pdus.A_RELEASE_RP | pdus.A_ABORT_RQ):
                # both sides asked at once (PS3.8 7.2.2.7): the requestor answers first
                if isinstance(pdu, pdus.A_RELEASE_RQ):
                    self._write(pdus.A_RELEASE_RP().encode())

    def _abort(self) -> None:
        abort = pdus.A_ABORT_RQ()
        abort.source = abort.reason_diagnostic = 0
        if self._socket is not None:
            with suppress(OSError):
                self._socket.settimeout(1.0)
                self._socket.sendall(abort.encode())

    def _close(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            end(connection)

    # --- PDUs ----------------------------------------------------------------------------------------------------------

    def _write(self, raw: bytes) -> None:
        if self._socket is None or self._is_broken:
            raise self._broken("is no longer associated with us")
        try:
            self._socket.settimeout(self._timeout)
            self._socket.sendall(raw)
        except OSError as error:
            raise self._lost("broke the connection while we were sending", error) from error

    def _read(self, deadline: float) -> _Pdu:
        if self._socket is None or self._is_broken:
            raise self._broken("is no longer associated with us")
        try:
            head = read_exactly(self._socket, 6, deadline=deadline)
            length = int.from_bytes(head[2:6], "big")
            body = read_exactly(self._socket, length, deadline=deadline) if len(head) == 6 else b""  # noqa: PLR2004
        except TimeoutError as error:
            raise self._broken("did not answer in time") from error
        except OSError as error:
            raise self._lost("broke the connection", error) from error
        if len(head) + len(body) < 6 + (length if len(head) == 6 else 0):  # noqa: PLR2004 - type, reserved, length
            raise self._lost("closed the connection")
        if head[0] not in _PDUS:
            raise self._broken("answers with something that is no DICOM")
        pdu: _Pdu = _PDUS[head[0]]()
        try:
            pdu.decode(bytes(head + body))
        except GARBAGE as error:
            raise self._broken("answers with something that is no DICOM") from error
        return pdu

    def _lost(self, what: str, error: OSError | None = None) -> PeerUnavailable:
        # with TLS 1.3 a peer looks at our certificate when we take the handshake to be over (RFC 8446 4.4.2.4)
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return self._broken(f"ended TLS: {handshake.why(error)}")
        doubt = self.secured is not None and not self.accepted
        return self._broken(f"{what}: perhaps it does not believe our certificate, see its log" if doubt else what)

    def _broken(self, what: str) -> PeerUnavailable:
        self._is_broken = True
        return PeerUnavailable(f"{self} {what}")
