"""What stands before an association: connections of which nothing is known yet.

One thread, one selector. A connection costs a socket and the bytes it sent, until a whole A-ASSOCIATE-RQ (and before it the TLS
handshake, where there is one) has arrived; only then does anybody else hear of it. So a peer that connects and says nothing,
says it slowly, or says something else, takes no thread and no place among the associations.

What is bounded: the time until the request is whole, its length, the connections that wait (of one address and in total), and the
bytes that they have sent together. When a bound is reached, the oldest connection that has sent nothing goes first.
"""

from __future__ import annotations

import errno
import heapq
import logging
import selectors
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from service.dimse.handshake import say_goodbye, why
from service.dimse.library import end, tune

#: an SSL context for the next handshake; asked each time, so that new certificates need no restart
Wrap = Callable[[], ssl.SSLContext]
Stage = Literal["glance", "handshake", "request", "leaving"]

_HEAD = 6
#: fixed fields of the A-ASSOCIATE-RQ (PS3.8 Table 9-11), without which it names nobody
_SHORTEST = 68
_ASSOCIATE_RQ = 0x01
#: the first bytes of a TLS record that can hold a ClientHello (RFC 8446 5.1 and 4): handshake, version 3.x, length, client_hello
_RECORD_HANDSHAKE, _MAJOR_VERSION, _CLIENT_HELLO, _LONGEST_RECORD = 0x16, 0x03, 0x01, 16384 + 256
#: A-ABORT by the service provider (PS3.8 Table 9-26)
_UNRECOGNISED_PDU, _UNEXPECTED_PDU, _INVALID_PARAMETER = 1, 2, 6
_ACCEPTS_PER_TURN = 64
_PIECE = 65536
#: seconds in which a peer that was turned away may read why
_LEAVING_SECONDS = 2.0
#: seconds between two log records of one kind: an attack is a number, not a thousand lines
_QUIET_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What connections may take before they are associations: seconds, bytes, and how many."""

    seconds: float = 10.0
    request_bytes: int = 256 << 10
    of_one_address: int = 64
    in_total: int = 256
    bytes_in_total: int = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A connection whose A-ASSOCIATE-RQ has arrived whole; nothing beyond it was read.

    ``request`` is empty where the listener only glances: then the TLS handshake is still to come, unread.
    """

    connection: socket.socket
    address: str
    port: int
    request: bytes
    is_tls: bool
    #: on ``time.monotonic``: when its time before the association is over
    deadline: float


class _Pending:
    """One connection that waits."""

    __slots__ = ("address", "buffer", "connection", "deadline", "is_tls", "needed", "port", "stage", "wrap")

    def __init__(self, connection: socket.socket, address: str, port: int, stage: Stage, deadline: float) -> None:
        self.connection = connection
        self.address = address
        self.port = port
        self.stage: Stage = stage
        self.deadline = deadline
        self.buffer = bytearray()
        self.needed = _HEAD
        self.wrap: Wrap | None = None
        self.is_tls = False


@dataclass(frozen=True, slots=True)
class _Listener:
    socket: socket.socket
    wrap: Wrap | None
    glance: bool


class Entrance:
    """Takes connections, and hands on those that ask for an association.

    Parameters
    ----------
    arrived:
        Gets each arrival, on the entrance's own thread: it must not wait for anything. The connection is its own from then on.
    log:
        Where it is told what was turned away.
    bounds:
        What may wait, and how long.
    """

    def __init__(self, arrived: Callable[[Arrival], None], log: logging.Logger, bounds: Bounds | None = None) -> None:
        self._arrived = arrived
        self._log = log
        self._bounds = bounds or Bounds()
        self._selector = selectors.DefaultSelector()
        self._waiting: dict[int, _Pending] = {}
        self._of_address: Counter[str] = Counter()
        self._bytes = 0
        self._next_deadline = float("inf")
        self._listeners: list[_Listener] = []
        self._soon: deque[Callable[[], None]] = deque()
        self._bell, self._rope = socket.socketpair()
        for side in (self._bell, self._rope):
            side.setblocking(False)
        self._selector.register(self._bell, selectors.EVENT_READ, self._rung)
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = 0
        self._is_over = False
        self._told: dict[str, tuple[float, int]] = {}
        self._thread = threading.Thread(target=self._run, name="dicom-entrance", daemon=True)

    # --- from other threads --------------------------------------------------------------------------------------------

    def listen(self, listener: socket.socket, *, wrap: Wrap | None = None, glance: bool = False) -> None:
        """Take connections from a listening socket; before ``start``.

        Parameters
        ----------
        wrap:
            Connections begin with a TLS handshake, as this context's server.
        glance:
            Connections begin with a TLS handshake that somebody else makes: they are handed on unread when what they sent looks like
            the beginning of one.
        """
        listener.setblocking(False)
        self._listeners.append(_Listener(listener, wrap, glance))

    def start(self) -> None:
        """Begin; returns at once."""
        for listener in self._listeners:
            self._selector.register(listener.socket, selectors.EVENT_READ, lambda _, it=listener: self._accept(it))
        self._thread.start()

    def soon(self, action: Callable[[], None]) -> None:
        """Do something on the entrance's thread."""
        self._soon.append(action)
        # a rope that was pulled already rings all the same
        with suppress(OSError):
            self._rope.send(b"\0")

    def adopt(self, connection: socket.socket, address: str, port: int, *, wrap: Wrap | None, deadline: float) -> None:
        """Take over a connection of which nothing was read yet."""
        self.soon(lambda: self._begin(connection, address, port, wrap=wrap, deadline=deadline))

    def dismiss(self, connection: socket.socket, last_word: bytes) -> None:
        """Send a few bytes to a peer and let it go, without waiting for it; on the entrance's thread."""
        try:
            connection.setblocking(False)
            connection.send(last_word)
        except (OSError, ValueError):
            end(connection)
            return
        self._let_go(connection)

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something in a while; on the entrance's thread."""
        self._numbers += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._numbers, action))

    def watch(self, connection: socket.socket, events: int, action: Callable[[int], None]) -> None:
        """Call ``action`` with the events that come; 0: no longer. On the entrance's thread."""
        with suppress(KeyError, ValueError):
            self._selector.unregister(connection)
        if events:
            self._selector.register(connection, events, action)

    def close(self) -> None:
        """Take no more connections, and drop those that wait; returns when the port is free."""
        done = threading.Event()

        def shut() -> None:
            for listener in self._listeners:
                with suppress(KeyError, ValueError):
                    self._selector.unregister(listener.socket)
                listener.socket.close()
            self._listeners.clear()
            for pending in list(self._waiting.values()):
                self._drop(pending)
            done.set()

        if not self._thread.is_alive():
            shut()
            return
        self.soon(shut)
        done.wait(5)

    def stop(self) -> None:
        """End the thread; after ``close``."""
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self.soon(self._end)
            self._thread.join(5)
        for side in (self._bell, self._rope):
            side.close()

    @property
    def waiting(self) -> int:
        """How many connections wait."""
        return len(self._waiting)

    # --- the loop ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_over:
            wait = min(self._next_deadline, self._timers[0][0] if self._timers else float("inf")) - time.monotonic()
            for key, events in self._selector.select(None if wait == float("inf") else max(0.0, wait)):
                try:
                    key.data(events)
                except Exception:  # noqa: BLE001 - the edge: one connection must not end the listening for all others
                    self._log.exception("entrance_failed")
            while self._timers and self._timers[0][0] <= time.monotonic():
                self._soon.append(heapq.heappop(self._timers)[2])
            while self._soon:
                try:
                    self._soon.popleft()()
                except Exception:  # noqa: BLE001 - as above
                    self._log.exception("entrance_failed")
            if self._next_deadline <= time.monotonic():
                self._expire()
        self._selector.close()

    def _end(self) -> None:
        self._is_over = True

    def _rung(self, _: int) -> None:
        with suppress(BlockingIOError):
            while self._bell.recv(4096):
                pass

    def _accept(self, listener: _Listener) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                connection, where = listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in {errno.EMFILE, errno.ENFILE}:
                    # no descriptor is free: whoever waits longest makes room, or the next turn tries again
                    self._tell("descriptors", "")
                    self._make_room("")
                    time.sleep(0.01)
                return
            address, port = str(where[0]), int(where[1])
            deadline = time.monotonic() + self._bounds.seconds
            try:
                tune(connection, self._bounds.seconds)
            except OSError as error:
                ids = {"address": address, "error": type(error).__name__}
                self._log.warning("connection_failed", extra={"ids": ids})
                connection.close()
                continue
            self._begin(connection, address, port, wrap=listener.wrap, glance=listener.glance, deadline=deadline)

    def _begin(
        self,
        connection: socket.socket,
        address: str,
        port: int,
        *,
        wrap: Wrap | None,
        deadline: float,
        glance: bool = False,
    ) -> None:
        while self._of_address[address] >= self._bounds.of_one_address:
            self._make_room(address)
        while len(self._waiting) >= self._bounds.in_total:
            self._make_room("")
        pending = _Pending(connection, address, port, "glance" if glance else "request", deadline)
        try:
            connection.setblocking(False)
            if glance:
                # the selector speaks when there is enough to look at
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, _HEAD)
            elif wrap is not None:
                pending.stage, pending.is_tls = "handshake", True
                pending.connection = connection = wrap().wrap_socket(
                    connection, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
                )
        except (OSError, ValueError) as error:
            ids = {"address": address, "error": type(error).__name__}
            self._log.warning("connection_failed", extra={"ids": ids})
            end(connection)
            return
        self._add(pending)

    def _add(self, pending: _Pending) -> None:
        self._waiting[pending.connection.fileno()] = pending
        self._of_address[pending.address] += 1
        self._next_deadline = min(self._next_deadline, pending.deadline)
        self._selector.register(pending.connection, selectors.EVENT_READ, lambda _: self._progress(pending))

    def _forget(self, pending: _Pending) -> bool:
        """Take a connection out of those that wait; False where it is out already."""
        if self._waiting.get(number := pending.connection.fileno()) is not pending:
            return False
        del self._waiting[number]
        self._selector.unregister(pending.connection)
        self._of_address[pending.address] -= 1
        if self._of_address[pending.address] <= 0:
            del self._of_address[pending.address]
        self._bytes -= len(pending.buffer)
        return True

    def _drop(self, pending: _Pending) -> None:
        if self._forget(pending):
            end(pending.connection)

    def _make_room(self, address: str) -> None:
        """Drop the oldest silent connection of an address; of the one that has most, where none is named."""
        if not self._waiting:
            return
        address = address or max(self._of_address, key=self._of_address.__getitem__)
        theirs = [p for p in self._waiting.values() if p.address == address]
        oldest = next((p for p in theirs if p.stage == "leaving"), None) or next(
            (p for p in theirs if not p.buffer and p.stage != "handshake"), theirs[0]
        )
        if oldest.stage != "leaving":
            self._tell("evicted", address)
        self._drop(oldest)

    def _expire(self) -> None:
        now = time.monotonic()
        for pending in [p for p in self._waiting.values() if p.deadline <= now]:
            if pending.stage == "handshake":
                self._tell_handshake(pending, TimeoutError())
            elif pending.stage != "leaving":
                self._tell("deadline", pending.address)
            self._drop(pending)
        self._next_deadline = min((p.deadline for p in self._waiting.values()), default=float("inf"))

    def _tell(self, why: str, address: str) -> None:
        now = time.monotonic()
        last, untold = self._told.get(why, (-_QUIET_SECONDS, 0))
        if now - last < _QUIET_SECONDS:
            self._told[why] = (last, untold + 1)
            return
        self._told[why] = (now, 0)
        ids = {"why": why, "address": address, "waiting": len(self._waiting), "others": untold}
        self._log.warning("connection_dropped", extra={"ids": ids})

    # --- one connection ------------------------------------------------------------------------------------------------

    def _progress(self, pending: _Pending) -> None:
        try:
            match pending.stage:
                case "request":
                    self._read(pending)
                case "glance":
                    self._glance(pending)
                case "handshake":
                    self._shake_hands(pending)
                case "leaving":
                    if not pending.connection.recv(_PIECE):
                        self._drop(pending)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except ssl.SSLWantWriteError:
            # a handshake writes a few kilobytes into an empty buffer: whoever cannot take that is let go
            self._drop(pending)
        except ssl.SSLError as error:
            self._tell_handshake(pending, error)
            if self._forget(pending):
                # so that the peer reads the alert, which says what is wrong
                self._let_go(pending.connection)
        except OSError as error:
            if pending.stage == "handshake":
                self._tell_handshake(pending, error)
            self._drop(pending)

    def _glance(self, pending: _Pending) -> None:
        seen = pending.connection.recv(_HEAD, socket.MSG_PEEK)
        if len(seen) < _HEAD:
            self._drop(pending)
            return
        length = int.from_bytes(seen[3:5], "big")
        is_hello = seen[0] == _RECORD_HANDSHAKE and seen[1] == _MAJOR_VERSION and seen[5] == _CLIENT_HELLO
        if not is_hello or not 4 <= length <= _LONGEST_RECORD:  # noqa: PLR2004 - a handshake message's head
            self._tell("no_tls", pending.address)
            self._drop(pending)
            return
        pending.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._hand_on(pending, is_tls=True)

    def _shake_hands(self, pending: _Pending) -> None:
        connection = pending.connection
        assert isinstance(connection, ssl.SSLSocket)  # noqa: S101 - of this stage
        connection.do_handshake()
        pending.stage = "request"
        # what the peer sent behind its last handshake message is with OpenSSL already: no selector would speak of it
        self._read(pending)

    def _read(self, pending: _Pending) -> None:
        while True:
            piece = pending.connection.recv(min(_PIECE, pending.needed - len(pending.buffer)))
            if not piece:
                self._drop(pending)
                return
            pending.buffer += piece
            self._bytes += len(piece)
            if len(pending.buffer) < pending.needed:
                while self._bytes > self._bounds.bytes_in_total:
                    self._drop(max(self._waiting.values(), key=lambda p: len(p.buffer)))
                    self._tell("bytes", pending.address)
                    if self._waiting.get(pending.connection.fileno()) is not pending:
                        return
                continue
            if pending.needed > _HEAD:
                self._hand_on(pending, is_tls=pending.is_tls)
                return
            kind, length = pending.buffer[0], int.from_bytes(pending.buffer[2:_HEAD], "big")
            reason = 0
            if kind != _ASSOCIATE_RQ:
                reason = _UNEXPECTED_PDU if 1 < kind <= 7 else _UNRECOGNISED_PDU  # noqa: PLR2004 - PS3.8 9.3.1
            elif not _SHORTEST <= length <= self._bounds.request_bytes:
                reason = _INVALID_PARAMETER
            if reason:
                self._tell("no_request", pending.address)
                if self._forget(pending):
                    self.dismiss(pending.connection, abort_pdu(reason))
                return
            pending.needed = _HEAD + length

    def _hand_on(self, pending: _Pending, *, is_tls: bool) -> None:
        if not self._forget(pending):
            return
        arrival = Arrival(
            connection=pending.connection,
            address=pending.address,
            port=pending.port,
            request=bytes(pending.buffer),
            is_tls=is_tls,
            deadline=pending.deadline,
        )
        try:
            self._arrived(arrival)
        except Exception:  # noqa: BLE001 - the edge: as if it had not come
            self._log.exception("association_failed", extra={"ids": {"address": pending.address}})
            end(pending.connection)

    def _let_go(self, connection: socket.socket) -> None:
        """Close after the peer has read the last word: closing with something unread would destroy it on its way."""
        try:
            if isinstance(connection, ssl.SSLSocket):
                say_goodbye(connection)
                # what the peer still sends is read away as it comes, no longer as TLS
                connection = socket.socket(fileno=connection.detach())
                connection.setblocking(False)
            connection.shutdown(socket.SHUT_WR)
            address, port = connection.getpeername()[:2]
        except (OSError, ValueError):
            end(connection)
            return
        until = time.monotonic() + min(_LEAVING_SECONDS, self._bounds.seconds)
        self._add(_Pending(connection, str(address), int(port), "leaving", until))

    def _tell_handshake(self, pending: _Pending, error: OSError) -> None:
        if not isinstance(error, ssl.SSLError):
            # scanners and peers without power come in numbers; what has to be mended is a certificate
            now = time.monotonic()
            last, untold = self._told.get("handshake", (-_QUIET_SECONDS, 0))
            if now - last < _QUIET_SECONDS:
                return
            self._told["handshake"] = (now, untold)
        self._log.warning("tls_refused", extra={"ids": {"address": pending.address, "why": why(error)}})


def abort_pdu(reason: int) -> bytes:
    """Return an A-ABORT of the service provider with ``reason`` (PS3.8 Table 9-26)."""
    return bytes((0x07, 0, 0, 0, 0, 4, 0, 0, 2, reason))


def reject_pdu(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8 Table 9-21)."""
    return bytes((0x03, 0, 0, 0, 0, 4, 0, result, source, reason))


_BACKLOG: Final = 512


def listening(bind: str, port: int) -> socket.socket:
    """Return a listening socket on an address or name of this machine; IPv4 where a name has both.

    Raises
    ------
    OSError
        It cannot be had.
    """
    found = socket.getaddrinfo(bind or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, where = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
