"""Several receiving processes behind one front door: the door decides, and hands each connection to the least busy of them.

A process gets a connection only when it has just answered that it is there (``ASK``, ``READY``, ``GIVE``): one that hangs gets nothing,
and who would have been its caller waits half a second once, and is given to another. Numbers and limits are the door's alone, so
they stay those of the whole receiver.

The processes call the door, over a Unix socket in a folder that only this user may enter. When the door dies, they serve on, and
tell the next door what they serve; when one of them dies, its places are free.

A TLS session cannot be handed over, so the process that will serve makes the handshake: the door only looks whether what came
begins like one. The process then asks whether the peer may come in (``WISH``, ``ANSWER``).
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from service.dimse import access
from service.dimse.acceptor import Admitted, Peer
from service.dimse.door import Door, peer_of
from service.dimse.entrance import Arrival, Bounds, Entrance, Wrap, reject_pdu
from service.dimse.library import end
from service.dimse.scp import Associations
from service.dimse.tls import PeerCertificate
from service.dimse.wire import Frame, Kind, Wire
from service.settings import Settings

#: seconds in which a process that is there answers, however busy it is
PATIENCE_SECONDS: Final = 0.5
#: callers that wait for a process at the same time
_MOST_WAITING: Final = 64
#: seconds between two attempts to call the door
_CALL_AGAIN_SECONDS: Final = 0.2
_CONGESTED = reject_pdu(access.REJECTED_TRANSIENT, access.SOURCE_PRESENTATION, 1)


@dataclass(slots=True, eq=False)
class _Process:
    """A receiving process, as the door sees it."""

    wire: Wire | None = None
    pid: int = 0
    #: numbers of its associations
    open: set[int] = field(default_factory=set)
    #: when it was asked and has not answered, on time.monotonic
    asked_at: float | None = None
    is_ready: bool = False
    is_silent: bool = False


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Who waits for a process: a peer that is let in, or one whose TLS handshake is still to be made."""

    who: Admitted | Arrival
    until: float


class Hub:
    """The door's side.

    Parameters
    ----------
    path:
        Of the Unix socket; in a folder that only this user may enter.
    log:
        Where it is told.
    """

    def __init__(self, path: Path, log: logging.Logger) -> None:
        self._path = path
        self._log = log
        self._door: Door | None = None
        self._listener: socket.socket | None = None
        self._processes: list[_Process] = []
        self._waiting: deque[_Waiting] = deque()
        self._is_timed = False

    def open(self, door: Door) -> None:
        """Let processes call; before ``door.open``.

        Raises
        ------
        OSError
            The socket cannot be made.
        """
        self._door = door
        with suppress(FileNotFoundError):
            self._path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self._path))
        listener.listen(64)
        listener.setblocking(False)
        self._listener = listener
        door.entrance.soon(lambda: door.entrance.watch(listener, selectors.EVENT_READ, self._called))

    def close(self) -> None:
        """Hang up on everybody; the processes serve on. After ``door.close``."""
        if self._door is not None:
            self._door.entrance.soon(self._hang_up)

    # --- on the entrance's thread --------------------------------------------------------------------------------------

    def take(self, admitted: Admitted) -> None:
        """Hand a peer that is let in to a process."""
        self._queue(_Waiting(admitted, time.monotonic() + Bounds().seconds))

    def pass_on(self, arrival: Arrival) -> None:
        """Hand a connection to a process that makes the TLS handshake."""
        self._queue(_Waiting(arrival, arrival.deadline))

    def _queue(self, waiting: _Waiting) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self._turn_away(waiting)
            return
        self._waiting.append(waiting)
        self._pump()

    def _pump(self) -> None:
        """Give to processes that are there, and ask others where somebody waits."""
        while self._waiting:
            ready = [p for p in self._processes if p.is_ready]
            if not ready:
                break
            chosen = min(ready, key=lambda p: len(p.open))
            # one answer, one connection
            chosen.is_ready = False
            self._give(chosen, self._waiting.popleft())
        for process in self._processes:
            process.is_ready = False
        if not self._waiting:
            return
        asked = [p for p in self._processes if p.asked_at is not None and not p.is_silent]
        free = [p for p in self._processes if p.asked_at is None]
        # as many as are needed, the least busy first: who answers gets one
        for process in sorted(free, key=lambda p: len(p.open))[: max(0, len(self._waiting) - len(asked))]:
            process.asked_at = time.monotonic()
            if process.wire is not None:
                process.wire.say(Kind.ASK)
        if not self._is_timed:
            self._is_timed = True
            self._require_door().entrance.later(PATIENCE_SECONDS / 2, self._look)

    def _look(self) -> None:
        """Give up on processes that do not answer, and on callers that waited too long."""
        self._is_timed = False
        now = time.monotonic()
        for process in self._processes:
            late = process.asked_at is not None and now - process.asked_at > PATIENCE_SECONDS
            if late and not process.is_silent:
                process.is_silent = True
                self._log.error(
                    "receive_process_silent", extra={"ids": {"pid": process.pid, "associations": len(process.open)}}
                )
        still: deque[_Waiting] = deque()
        for waiting in self._waiting:
            if waiting.until > now:
                still.append(waiting)
            else:
                self._turn_away(waiting)
        self._waiting = still
        self._pump()

    def _give(self, process: _Process, waiting: _Waiting) -> None:
        who, wire = waiting.who, process.wire
        if wire is None:
            self._waiting.appendleft(waiting)
            return
        if isinstance(who, Admitted):
            node = who.granted.node.name if who.granted.node else ""
            words = {"address": who.peer.address, "port": who.port, "calling": who.peer.calling}
            words |= {"called": who.peer.called, "node": node, "tls": False}
            process.open.add(who.number)
            wire.say(Kind.GIVE, who.number, words, who.request, who.connection.fileno())
        else:
            words = {"address": who.address, "port": who.port, "tls": True, "left": who.deadline - time.monotonic()}
            wire.say(Kind.GIVE, 0, words, b"", who.connection.fileno())
        who.connection.close()

    def _turn_away(self, waiting: _Waiting) -> None:
        door, who = self._require_door(), waiting.who
        self._log.warning("no_receive_process", extra={"ids": {"waiting": len(self._waiting)}})
        if isinstance(who, Admitted):
            door.left(who.number)
            door.congested(who.connection)
        else:
            end(who.connection)

    def _called(self, _: int) -> None:
        assert self._listener is not None  # noqa: S101 - it called us
        with suppress(BlockingIOError, ConnectionError):
            connection, _where = self._listener.accept()
            process = _Process()
            process.wire = Wire(
                connection,
                self._require_door().entrance,
                lambda frame: self._said(process, frame),
                lambda: self._gone(process),
            )

    def _said(self, process: _Process, frame: Frame) -> None:
        door = self._require_door()
        match frame.kind:
            case Kind.HELLO:
                process.pid = int(frame.words["pid"])
                for number, node in frame.words["open"]:
                    process.open.add(number)
                    door.places.keep(number, node)
                self._processes.append(process)
                self._log.info(
                    "receive_process_joined", extra={"ids": {"pid": process.pid, "associations": len(process.open)}}
                )
                self._pump()
            case Kind.READY:
                process.asked_at, process.is_ready = None, True
                if process.is_silent:
                    process.is_silent = False
                    self._log.info("receive_process_answers_again", extra={"ids": {"pid": process.pid}})
                self._pump()
            case Kind.LEFT:
                process.open.discard(frame.number)
                door.left(frame.number)
            case Kind.WISH:
                self._wished(process, frame)
            case _:
                pass

    def _wished(self, process: _Process, frame: Frame) -> None:
        door = self._require_door()

        def answer(decision: access.Access, number: int) -> None:
            wire = process.wire
            if wire is None or not wire.is_open:
                door.left(number)
                return
            if number:
                process.open.add(number)
            words = {"number": number, "node": decision.node.name if decision.node and number else ""}
            words |= {"result": decision.result, "source": decision.source, "reason": decision.reason}
            wire.say(Kind.ANSWER, frame.number, words)

        door.ask(_peer_from(frame.words), answer)

    def _gone(self, process: _Process) -> None:
        process.wire = None
        if process in self._processes:
            self._processes.remove(process)
            self._log.warning(
                "receive_process_gone", extra={"ids": {"pid": process.pid, "associations": len(process.open)}}
            )
        for number in process.open:
            self._require_door().left(number)
        self._pump()

    def _hang_up(self) -> None:
        if self._listener is not None:
            self._require_door().entrance.watch(self._listener, 0, self._called)
            self._listener.close()
            self._listener = None
        for process in list(self._processes):
            if process.wire is not None:
                process.wire.close()
        self._processes.clear()
        while self._waiting:
            self._turn_away(self._waiting.popleft())

    def _require_door(self) -> Door:
        assert self._door is not None  # noqa: S101 - nothing happens before ``open``
        return self._door


class Service:
    """The receiving process's side: serves what the door gives.

    Parameters
    ----------
    settings:
        The receiver's.
    path:
        Where the door is called.
    log:
        Where it is told.
    wrap:
        The TLS contexts; None where no TLS is spoken.
    bounds:
        Of connections whose TLS handshake is still to be made.
    """

    def __init__(
        self,
        settings: Settings,
        path: Path,
        log: logging.Logger,
        wrap: Wrap | None = None,
        bounds: Bounds | None = None,
    ) -> None:
        self._settings = settings
        self._path = path
        self._log = log
        self._wrap = wrap
        self._wire: Wire | None = None
        self._wishes: dict[int, tuple[Arrival, Peer]] = {}
        self._last_wish = 0
        self._is_stopping = False
        self.entrance = Entrance(self._arrived, log, bounds)
        self._associations: Associations | None = None

    def start(self, make: Callable[[Callable[[int], None]], Associations]) -> None:
        """Begin; ``make`` gets what hears of associations that are over. Returns at once: the door is called until it answers."""
        self._associations = make(self._left)
        self.entrance.start()
        self.entrance.soon(self._call)

    def stop(self, timeout: float) -> int:
        """Take nothing more, finish what is in flight; return how many associations there were."""
        self._is_stopping = True
        self.entrance.close()
        ended = self._associations.stop(timeout) if self._associations is not None else 0
        self.entrance.soon(self._hang_up)
        self.entrance.stop()
        return ended

    # --- on the entrance's thread --------------------------------------------------------------------------------------

    def _call(self) -> None:
        if self._is_stopping:
            return
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            self.entrance.later(_CALL_AGAIN_SECONDS, self._call)
            return
        self._wire = Wire(connection, self.entrance, self._said, self._lost)
        assert self._associations is not None  # noqa: S101 - ``start`` made it
        words: dict[str, Any] = {"pid": os.getpid(), "open": list(self._associations.open_ones().items())}
        self._wire.say(Kind.HELLO, 0, words)

    def _lost(self) -> None:
        self._wire = None
        for arrival, _ in self._wishes.values():
            self.entrance.dismiss(arrival.connection, _CONGESTED)
        self._wishes.clear()
        self.entrance.later(_CALL_AGAIN_SECONDS, self._call)

    def _hang_up(self) -> None:
        if self._wire is not None:
            self._wire.close()
        for arrival, _ in self._wishes.values():
            end(arrival.connection)

    def _left(self, number: int) -> None:
        def tell() -> None:
            if self._wire is not None:
                self._wire.say(Kind.LEFT, number)

        self.entrance.soon(tell)

    def _said(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.ASK:
                if self._wire is not None and not self._is_stopping:
                    self._wire.say(Kind.READY)
            case Kind.GIVE if frame.descriptor >= 0:
                self._given(frame, socket.socket(fileno=frame.descriptor))
            case Kind.ANSWER:
                self._answered(frame)
            case _:
                pass

    def _given(self, frame: Frame, connection: socket.socket) -> None:
        words = frame.words
        address, port = str(words["address"]), int(words["port"])
        if words["tls"]:
            if self._wrap is None:
                end(connection)
                return
            until = time.monotonic() + float(words["left"])
            self.entrance.adopt(connection, address, port, wrap=self._wrap, deadline=until)
            return
        peer = Peer(calling=str(words["calling"]), called=str(words["called"]), address=address)
        self._serve(frame.number, connection, port, frame.raw, peer, str(words["node"]))

    def _arrived(self, arrival: Arrival) -> None:
        wire = self._wire
        if wire is None:
            self.entrance.dismiss(arrival.connection, _CONGESTED)
            return
        peer = peer_of(arrival)
        self._last_wish += 1
        self._wishes[self._last_wish] = (arrival, peer)
        wire.say(Kind.WISH, self._last_wish, _peer_words(peer))

    def _answered(self, frame: Frame) -> None:
        words = frame.words
        wish = self._wishes.pop(frame.number, None)
        if wish is None:
            return
        arrival, peer = wish
        if words["number"]:
            self._serve(
                int(words["number"]), arrival.connection, arrival.port, arrival.request, peer, str(words["node"])
            )
        else:
            refusal = reject_pdu(int(words["result"]), int(words["source"]), int(words["reason"]))
            self.entrance.dismiss(arrival.connection, refusal)

    def _serve(self, number: int, connection: socket.socket, port: int, request: bytes, peer: Peer, node: str) -> None:
        granted = access.Access(node=access.node_named(self._settings, node))
        try:
            assert self._associations is not None  # noqa: S101 - ``start`` made it
            self._associations.take(
                Admitted(number=number, connection=connection, port=port, request=request, peer=peer, granted=granted)
            )
        except Exception:  # noqa: BLE001 - the edge: as if it had not come
            self._log.exception("association_failed", extra={"ids": {"address": peer.address}})
            end(connection)
            self._left(number)


def _peer_words(peer: Peer) -> dict[str, Any]:
    words: dict[str, Any] = {"calling": peer.calling, "called": peer.called, "address": peer.address}
    if (shown := peer.certificate) is not None:
        ends = shown.ends.isoformat() if shown.ends else ""
        words["certificate"] = {"names": sorted(shown.names), "fingerprint": shown.fingerprint, "ends": ends}
    return words


def _peer_from(words: dict[str, Any]) -> Peer:
    shown = words.get("certificate")
    certificate = None
    if shown is not None:
        certificate = PeerCertificate(
            names=frozenset(shown["names"]),
            fingerprint=shown["fingerprint"],
            ends=dt.datetime.fromisoformat(shown["ends"]) if shown["ends"] else None,
        )
    return Peer(calling=words["calling"], called=words["called"], address=words["address"], certificate=certificate)
