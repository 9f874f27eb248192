"""The fast path: an association on one thread, its data straight from the socket into the spool.

pynetdicom reads a PDU in pieces of 4 KB, copies it three times, and passes it over two threads that look for work every millisecond.
For a C-STORE that is most of the time. Here the association's own thread does it all, and waits in the kernel for the peer, never on
a clock. What is kept of pynetdicom: its state machine, its negotiation, its messages; what is replaced: its two reactors, and the way
from P-DATA-TF to a C-STORE's data set. ``[local] fast_path = false`` switches back to pynetdicom's own; tests hold the two
against each other, byte by byte.

How it goes:

* **State.** ``_Direct`` is pynetdicom's upper layer without its thread. What its reactor would do on its next turn (take a primitive,
  make an event of it, let the state machine act) is done at once, by whoever asked for it. So after each call the state is the true
  one, and it is looked at before each PDU: P-DATA-TF is read here in Sta6 alone (PS3.8 Table 9-10: DT-2).
* **Reading.** One buffer for each association, filled with whatever the kernel has (one call can bring many small PDUs, or a part
  of a large one). A value's bytes go on as a view of that buffer as soon as they are there, whole or not: whatever its length says,
  memory is that buffer. Only heads (6 bytes) and the small PDUs that are not P-DATA-TF are waited for.
* **Back-pressure.** Nothing is read while an object is being kept: what a peer sends too early waits in the kernel's window.
* **Deadlines.** From the first byte of a PDU to its last ``stall`` seconds, however it drips; between the PDUs of one message the
  same; between messages ``idle``. On the monotonic clock.
* **What is not C-STORE** is put together by pynetdicom's ``DIMSEMessage`` and served as on the slow path, with at most
  ``_ORDINARY_BYTES`` in memory. So is a C-STORE command that is written as nobody writes it (``service.dimse.commands``).

One thing differs from the slow path by design. It decodes a PDU before it believes a part of it; here a message that ends in the
middle of a PDU is served when the head of the next value has been seen, before the rest. A peer that sends a whole object, begins another
message in the same PDU and breaks that has its object kept, its answer, and an abort; on the slow path it has the abort alone.
"""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress
from typing import Final, cast

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.dimse_messages import DIMSEMessage
from pynetdicom.dimse_primitives import C_CANCEL
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA, _PDUPrimitiveType

from service.dimse import commands, statuses
from service.dimse.acceptor import Acceptor, Admitted, Answer, House, Incoming, Times
from service.dimse.commands import COMMAND, LAST, StoreRequest
from service.dimse.library import GARBAGE, MAX_PDU, QuickSocket, acknowledge_at_once, end
from service.model.uids import MAX_UID

#: the reused buffer: two of the largest PDUs that we ask for
_BUFFER_BYTES: Final = 2 * MAX_PDU
#: head of a PDU (PS3.8 9.3.1): type, reserved, length; head of a value (9.3.5.1): length, context, control
_HEAD = 6
_P_DATA_TF = 0x04
#: type and length of the longest PDU that may follow in Sta6 besides P-DATA-TF (an A-ASSOCIATE-RQ, which the state machine refuses)
_LONGEST_OTHER = _BUFFER_BYTES - _HEAD
#: nobody's command set is longer
_COMMAND_BYTES = 1 << 16
#: data of messages that are no C-STORE, which pynetdicom holds in memory
_ORDINARY_BYTES = 1 << 20
#: what is thrown away of a peer that goes on sending after our last word, at most, before the connection is cut
_LINGER_BYTES = 16 << 20


class _Direct(DULServiceProvider):
    """pynetdicom's upper layer, acting at once and on the caller's thread; its own thread is never started."""

    def send_pdu(self, primitive: _PDUPrimitiveType) -> None:
        """Send what the user asks for; pynetdicom's hook."""
        super().send_pdu(primitive)
        self.turn()

    def turn(self) -> None:
        """Act on all that is queued: events in their order, then what the user wants sent (the order of pynetdicom's reactor)."""
        while not self._kill_thread:
            if self.event_queue.empty() and not self._process_recv_primitive():
                return
            self.state_machine.do_action(self.event_queue.get(block=False))

    def happened(self, event: str) -> None:
        """Act on an event of PS3.8 Table 9-10."""
        self.event_queue.put(event)
        self.turn()

    def arrived(self, raw: bytes) -> None:
        """Act on a whole PDU."""
        try:
            pdu, event = self._decode_pdu(bytearray(raw))
        except GARBAGE:
            # unrecognised or invalid PDU
            self.happened("Evt19")
            return
        self._recv_pdu.put(pdu)
        self.happened(event)


class _Refused:
    """Takes the data set of an object that its command alone refuses: the sender is answered when it has said everything."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.size = 0

    def write(self, piece: memoryview) -> None:
        self.size += len(piece)

    def finish(self) -> Answer:
        return self._answer

    def discard(self) -> None:
        pass


class FastAcceptor(Acceptor):
    """An association on one thread; see the module. Parameters are those of ``Acceptor``."""

    def __init__(
        self, ae: ApplicationEntity, admitted: Admitted, house: House, times: Times, log: logging.Logger
    ) -> None:
        super().__init__(ae, admitted, house, times, log)
        self._request = admitted.request
        self._is_cut = False
        #: the command that is being put together, and where its data set goes
        self._command = bytearray()
        self._context_id = 0
        self._store_request: StoreRequest | None = None
        self._object: Incoming | None = None
        #: all of the object is here; it is kept when its PDU, too, is seen to end
        self._is_whole = False
        self._message: DIMSEMessage | None = None
        self._message_bytes = 0

    def _make_provider(self) -> DULServiceProvider:
        return _Direct(self)

    def _make_socket(self, admitted: Admitted) -> QuickSocket:
        # what was read goes to the state machine, not through the socket again
        return QuickSocket(self, admitted.connection, stall=self._times.stall)

    # --- the association -----------------------------------------------------------------------------------------------

    def run_reactor(self) -> None:
        """Serve the association to its end; pynetdicom's hook, on the association's own thread."""
        try:
            self._negotiate()
            if self.is_established:
                self._serve()
        except OSError:
            self._dul.happened("Evt17")
        except Exception:  # noqa: BLE001 - the edge of the thread
            self._log.exception("association_failed", extra={"ids": {"address": self.peer.address}})
        finally:
            if self._object is not None:
                self._object.discard()
                self._object = None
            self._tell_end()
            self._part()
            self.house.ended(self.number)

    def end(self) -> None:
        """End the association when nothing is on its way; from another thread."""
        if self.is_busy:
            self.cut()
            return
        # wakes the association's own thread, which still can say that it aborts
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RD)

    def cut(self) -> None:
        """Close the connection without a word; returns at once."""
        self._is_cut = True
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    @property
    def is_busy(self) -> bool:
        """Say whether a message is on its way or being served."""
        return self.is_serving or self._object is not None or self._message is not None or bool(self._command)

    @property
    def _dul(self) -> _Direct:
        return cast("_Direct", self.dul)

    def _negotiate(self) -> None:
        self._dul.turn()
        self._dul.arrived(self._request)
        self._request = b""
        primitive = self.dul.receive_pdu()
        if not isinstance(primitive, A_ASSOCIATE):
            return
        self.requestor.primitive = primitive
        evt.trigger(self, evt.EVT_REQUESTED, {})
        if not self._is_over():
            self.acse.negotiate_association()

    def _is_over(self) -> bool:
        # the last: the state machine gave up, on an A-ABORT from a source that Table 9-26 does not have, say
        return self._kill or self.is_aborted or self.is_rejected or self._is_cut or self._dul._kill_thread  # noqa: SLF001

    def _abort_blocking(self, block: bool = True) -> None:  # noqa: ARG002 - pynetdicom's signature
        """Send an A-ABORT; pynetdicom's waits a tenth of a second for its other thread."""
        super()._abort_blocking(block=False)
        self.is_established = False

    def _tell_end(self) -> None:
        """Do what pynetdicom's reactor does when the peer has released or aborted the association, or has gone."""
        primitive = self.dul.receive_pdu()
        if (primitive is not None or self.is_established) and not self.is_released:
            self.is_aborted = True
            evt.trigger(self, evt.EVT_ABORTED, {})
        self.is_established = False

    def _part(self) -> None:
        """Close the connection so that our last word arrives: closing with something unread would destroy it on its way."""
        connection = self._connection
        self._dul.kill_dul()
        with suppress(OSError, ValueError):
            if self.dul.state_machine.current_state == "Sta13" and not self._is_cut:
                connection.shutdown(socket.SHUT_WR)
                until, rest = time.monotonic() + min(2.0, self._times.associate), _LINGER_BYTES
                while rest > 0 and (left := until - time.monotonic()) > 0:
                    connection.settimeout(left)
                    piece = connection.recv(65536)
                    if not piece:
                        break
                    rest -= len(piece)
        end(connection)

    # --- reading -------------------------------------------------------------------------------------------------------

    # One loop with its state in local variables: it runs for every PDU.
    def _serve(self) -> None:  # noqa: C901, PLR0912, PLR0915
        connection, times, dul = self._connection, self._times, self._dul
        now = time.monotonic
        # bytearray: zeroed by the system and touched page by page, so that an idle association costs next to nothing
        buffer = bytearray(_BUFFER_BYTES)
        with memoryview(buffer) as view:
            # buffer[start:end] was read and is not used yet
            start = end_ = 0
            # of the PDU and of the value that are being read: bytes that are still to come
            pdu_left = value_left = 0
            context_id = control = 0
            deadline, is_begun = now() + times.idle, False
            while dul.state_machine.current_state == "Sta6" and not self._is_over():
                have = end_ - start

                if value_left:
                    # in a value: pass on what is there
                    if have:
                        size = min(have, value_left)
                        value_left -= size
                        pdu_left -= size
                        # the piece is the end of its message's part only if it is the end of its value
                        flags = control if not value_left else control & ~LAST
                        with view[start : start + size] as piece:
                            start += size
                            self._take(context_id, flags, piece)
                        if not pdu_left:
                            if self._is_whole:
                                self._keep()
                            deadline = now() + (times.stall if self.is_busy else times.idle)
                        continue

                elif pdu_left:
                    # between values of a P-DATA-TF: the next one's head
                    if pdu_left < _HEAD:
                        # shorter than a head and not empty: no value fits
                        dul.happened("Evt19")
                        continue
                    if have >= _HEAD:
                        length = int.from_bytes(view[start : start + 4], "big")
                        context_id, control = buffer[start + 4], buffer[start + 5]
                        # a value has a context and a control byte, and stays inside its PDU
                        if not 2 <= length <= pdu_left - 4:  # noqa: PLR2004 - as said
                            dul.happened("Evt19")
                            continue
                        start += _HEAD
                        pdu_left -= _HEAD
                        value_left = length - 2
                        if self._is_whole:
                            self._keep()
                        if not value_left:
                            with view[start:start] as piece:
                                self._take(context_id, control, piece)
                            if not pdu_left:
                                if self._is_whole:
                                    self._keep()
                                deadline = now() + (times.stall if self.is_busy else times.idle)
                        continue

                elif have >= _HEAD:
                    # between PDUs: the next one's head
                    kind, length = buffer[start], int.from_bytes(view[start + 2 : start + _HEAD], "big")
                    if kind == _P_DATA_TF:
                        # longer than we asked for is tolerated, as it costs nothing; what no 1 MiB can hold is a lie
                        if length > _ORDINARY_BYTES:
                            dul.happened("Evt19")
                            continue
                        start += _HEAD
                        pdu_left, is_begun = length, False
                        # one that is empty is whole
                        deadline = now() + (times.stall if length or self.is_busy else times.idle)
                        continue
                    if length > _LONGEST_OTHER:
                        dul.happened("Evt19")
                        continue
                    if have >= _HEAD + length:
                        raw = bytes(view[start : start + _HEAD + length])
                        start += _HEAD + length
                        deadline, is_begun = now() + times.idle, False
                        dul.arrived(raw)
                        self._answer_release()
                        continue

                # more is needed: to the front of the buffer with the part of a head (or of a small PDU) that is there
                if start:
                    if have:
                        buffer[:have] = buffer[start:end_]
                    start, end_ = 0, have
                if have and not is_begun and not pdu_left:
                    # a PDU has begun: from here its time runs
                    deadline, is_begun = now() + times.stall, True
                left = deadline - now()
                if left <= 0:
                    self.abort()
                    continue
                connection.settimeout(left)
                try:
                    with view[end_:] as space:
                        count = connection.recv_into(space)
                except TimeoutError:
                    self.abort()
                    continue
                # re-armed each time: the kernel forgets it, and a sender with Nagle's algorithm would wait 40 ms for us
                acknowledge_at_once(connection)
                if not count:
                    if self.house.is_stopping and not self._is_cut and not have and not self.is_busy:
                        self.abort()
                    else:
                        dul.happened("Evt17")
                    continue
                end_ += count

    def _answer_release(self) -> None:
        """Answer A-RELEASE-RQ (AR-4); as pynetdicom's reactor does."""
        if self.is_established and self.acse.is_release_requested():
            self.acse.send_release(is_response=True)
            self.is_released = True
            self.is_established = False
            evt.trigger(self, evt.EVT_RELEASED, {})

    # --- messages ------------------------------------------------------------------------------------------------------

    def _take(self, context_id: int, control: int, piece: memoryview) -> None:
        """Take a piece of a value; ``LAST`` where it ends the command or the data set."""
        if control & COMMAND:
            self._command += piece
            if self._object is not None or self._message is not None or len(self._command) > _COMMAND_BYTES:
                # a command inside a message, or one without end
                self._dul.happened("Evt19")
            elif control & LAST:
                raw = bytes(self._command)
                self._command.clear()
                self._commanded(context_id, raw)
        elif self._object is not None:
            self._object.write(piece)
            if self._object.size > self.house.max_object_bytes:
                ids = {"calling": self.peer.calling, "address": self.peer.address, "bytes": self._object.size}
                self._log.error("object_too_large", extra={"ids": ids})
                self.abort()
            elif control & LAST:
                self._is_whole = True
        elif self._message is not None:
            self._message_bytes += len(piece)
            if self._message_bytes > _ORDINARY_BYTES:
                self._dul.happened("Evt19")
            else:
                self._put_together(context_id, control, piece)
        else:
            # data that belongs to no command
            self._dul.happened("Evt19")

    def _commanded(self, context_id: int, raw: bytes) -> None:
        """Act on a whole command set."""
        request = commands.store_request(raw)
        context = self._accepted_cx.get(context_id)
        if request is None or context is None:
            self._message, self._message_bytes = DIMSEMessage(), 0
            self._put_together(context_id, COMMAND | LAST, memoryview(raw))
            return
        begun = self._begin(request.sop_class, request.sop_instance, context)
        self._object = _Refused(begun) if isinstance(begun, Answer) else begun
        self._store_request, self._context_id = request, context_id

    def _keep(self) -> None:
        """Keep the object that is here now, and answer."""
        incoming, request = self._object, self._store_request
        self.is_serving, self._is_whole = True, False
        self._object = self._store_request = None
        try:
            if incoming is None or request is None:
                return
            answer = incoming.finish()
            if answer.status == statuses.SUCCESS:
                self.served += 1
            else:
                self.failed += 1
            comment = statuses.error_comment(answer.comment)
            self._send(commands.store_response(request, answer.status, comment, self._context_id))
            self.house.answered()
        finally:
            self.is_serving = False
        if self.house.is_stopping:
            self.abort()

    def _send(self, pdu: bytes) -> None:
        limit = self.dimse.maximum_pdu_size
        try:
            self._connection.settimeout(self._times.stall)
            if not limit or len(pdu) - _HEAD <= limit:
                self._connection.sendall(pdu)
                return
            # a peer that takes only tiny PDUs: each value has a head of its own
            body, most = pdu[2 * _HEAD :], max(1, limit - _HEAD)
            for at in range(0, len(body), most):
                part = body[at : at + most]
                control = COMMAND | (LAST if at + most >= len(body) else 0)
                head = (len(part) + _HEAD).to_bytes(4, "big") + (len(part) + 2).to_bytes(4, "big")
                self._connection.sendall(b"\4\0" + head + bytes((self._context_id, control)) + part)
        except OSError:
            self._dul.happened("Evt17")

    def _put_together(self, context_id: int, control: int, piece: memoryview) -> None:
        """Let pynetdicom put a message together, and serve it when it is whole."""
        message = self._message
        value = P_DATA()
        value.presentation_data_value_list.append((context_id, bytes((control,)) + piece))
        try:
            if message is None or not message.decode_msg(value, self):
                return
            self._message = None
            # pynetdicom cannot hold such a UID; without it the request is answered, where an abort would make the peer try for ever
            for keyword in ("AffectedSOPClassUID", "AffectedSOPInstanceUID"):
                if len(str(message.command_set.get(keyword, ""))) > MAX_UID:
                    delattr(message.command_set, keyword)
            primitive = message.message_to_primitive()
        except GARBAGE:
            self._message = None
            self._dul.happened("Evt19")
            return
        if message.context_id is not None and not isinstance(primitive, C_CANCEL):
            self._serve_request(primitive, message.context_id)
