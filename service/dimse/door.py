"""The front door: who listens, and who decides whether a peer is let in. What is let in is somebody else's.

The decisions are those of ``service.dimse.access`` and of the number of associations, made on the entrance's thread from the two AE
titles of the A-ASSOCIATE-RQ, the address and the certificate. They wait for nothing: where a node is given by a host name, a thread
beside looks it up.
"""

from __future__ import annotations

import errno
import itertools
import logging
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Literal

from service.dimse import access
from service.dimse.acceptor import Admitted, Peer
from service.dimse.entrance import Arrival, Bounds, Entrance, Wrap, listening, reject_pdu
from service.dimse.library import end
from service.dimse.tls import peer_names
from service.errors import ConfigurationError
from service.settings import Settings

#: a port that is listened on, by its setting
Port = Literal["port", "tls_port"]

#: threads that look up host names of nodes, and how many callers may wait for that
_LOOK_UPS: Final = 2
_WAITING_FOR_NAMES: Final = 32
# fields of the A-ASSOCIATE-RQ (PS3.8 Table 9-11)
_CALLED = slice(10, 26)
_CALLING = slice(26, 42)
#: A-ASSOCIATE-RJ: temporary congestion (PS3.8 Table 9-21)
_CONGESTED = reject_pdu(access.REJECTED_TRANSIENT, access.SOURCE_PRESENTATION, 1)


class Places:
    """How many associations are open, and whose. Safe for use from several threads.

    Parameters
    ----------
    most:
        ``[local] max_associations``. A few places more are kept for nodes that have none open, so that one node that opens all
        that it can does not shut out the others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._spare = max(2, most // 10)
        self._open: dict[int, str] = {}
        self._of_node: Counter[str] = Counter()
        # higher than those that a door before this one gave: they may still be open
        self._numbers = itertools.count(time.monotonic_ns())
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def take(self, node: str) -> int:
        """Return the number of a new association of ``node``; 0 where there is no place for it."""
        with self._lock:
            if len(self._open) >= self._most + (0 if self._of_node[node] else self._spare):
                return 0
            number = next(self._numbers)
            self._open[number] = node
            self._of_node[node] += 1
            return number

    def leave(self, number: int) -> None:
        """Free a place."""
        with self._lock:
            node = self._open.pop(number, None)
            if node is not None:
                self._of_node[node] -= 1

    def keep(self, number: int, node: str) -> None:
        """Count an association that was let in by a door before this one."""
        with self._lock:
            if number not in self._open:
                self._open[number] = node
                self._of_node[node] += 1


class Door:
    """Listens, decides, and hands over those who are let in.

    Parameters
    ----------
    settings:
        ``local`` says where to listen and as whom, ``nodes`` who may call.
    take:
        Gets each peer that is let in, on the entrance's thread; its place is freed by ``left``.
    log:
        Where decisions are told.
    addresses_of:
        How host names of nodes become addresses; by default the system's resolver.
    bounds:
        Of connections that are no associations yet.
    pass_on:
        Gets connections with TLS unread, for somebody else to shake hands (and then ``ask`` here); None: it is done here.
    """

    def __init__(
        self,
        settings: Settings,
        take: Callable[[Admitted], None],
        log: logging.Logger,
        *,
        addresses_of: Callable[[], Callable[[str], frozenset[access.Address]] | None] = lambda: None,
        bounds: Bounds | None = None,
        pass_on: Callable[[Arrival], None] | None = None,
    ) -> None:
        self._settings = settings
        self._take = take
        self._log = log
        self._addresses_of = addresses_of
        self._pass_on = pass_on
        self.places = Places(settings.local.max_associations)
        self.entrance = Entrance(self._arrived, log, bounds)
        self._ports: dict[Port, int] = {}
        self._names = ThreadPoolExecutor(_LOOK_UPS, thread_name_prefix="dicom-names")
        self._waiting_for_names = 0

    def open(self, wanted: dict[Port, int], wrap: Wrap | None = None) -> None:
        """Listen; returns when connections are taken.

        Parameters
        ----------
        wanted:
            Port numbers by their settings; 0: one that is free.
        wrap:
            The TLS contexts of ``tls_port``; not needed where TLS is passed on.

        Raises
        ------
        ConfigurationError
            The address or a port cannot be had; the message says why, and which setting is meant.
        """
        bind = self._settings.local.bind
        made: dict[Port, socket.socket] = {}
        for name, number in wanted.items():
            try:
                made[name] = listening(bind, number)
            except OSError as error:
                for listener in made.values():
                    listener.close()
                self.close()
                self.entrance.stop()
                raise ConfigurationError(_cannot_listen(error, bind, number, setting=name)) from error
        for name, listener in made.items():
            self._ports[name] = int(listener.getsockname()[1])
            if name == "port":
                self.entrance.listen(listener)
            else:
                self.entrance.listen(listener, wrap=wrap, glance=self._pass_on is not None)
        self.entrance.start()

    def port(self, name: Port) -> int:
        """Return the port that is listened on; 0 where there is none."""
        return self._ports.get(name, 0)

    def close(self) -> None:
        """Take no more connections; those who are let in stay."""
        self._ports = {}
        self.entrance.close()
        self._names.shutdown(wait=False, cancel_futures=True)

    def left(self, number: int) -> None:
        """Free the place of an association that is over; from any thread."""
        self.places.leave(number)

    def decide(self, peer: Peer) -> access.Access:
        """Decide whether a peer may associate, places aside."""
        return access.decide(
            self._settings,
            peer.called,
            peer.calling,
            peer.address,
            certificate=peer.certificate,
            addresses_of=self._addresses_of(),
        )

    def ask(self, peer: Peer, answer: Callable[[access.Access, int], None]) -> None:
        """Decide about a peer, and give it a place; on the entrance's thread, now or (a host name) later.

        ``answer`` gets the decision and the place; 0 where the peer is not let in.
        """
        if not access.needs_names(self._settings, peer.calling):
            answer(*self._place(peer, self.decide(peer)))
            return
        if self._waiting_for_names >= _WAITING_FOR_NAMES:
            answer(_congested("too many callers wait for the name service"), 0)
            return
        self._waiting_for_names += 1

        def found(future: Future[access.Access]) -> None:
            self._waiting_for_names -= 1
            try:
                decision = future.result()
            except Exception:  # noqa: BLE001 - the edge: whoever cannot be decided about is not let in
                self._log.exception("association_failed", extra={"ids": {"address": peer.address}})
                answer(_congested("an error of LMS-SR"), 0)
                return
            answer(*self._place(peer, decision))

        try:
            future = self._names.submit(self.decide, peer)
        except RuntimeError:
            # it is being closed
            self._waiting_for_names -= 1
            answer(_congested("the receiver is stopping"), 0)
            return
        future.add_done_callback(lambda done: self.entrance.soon(lambda: found(done)))

    def dismiss(self, connection: socket.socket, decision: access.Access) -> None:
        """Tell a peer that it is not let in."""
        self.entrance.dismiss(connection, reject_pdu(decision.result, decision.source, decision.reason))

    def congested(self, connection: socket.socket) -> None:
        """Tell a peer to come again later: nobody can serve it now."""
        self.entrance.dismiss(connection, _CONGESTED)

    # --- on the entrance's thread --------------------------------------------------------------------------------------

    def _arrived(self, arrival: Arrival) -> None:
        if not arrival.request:
            if self._pass_on is None:
                end(arrival.connection)
            else:
                self._pass_on(arrival)
            return
        peer = peer_of(arrival)

        def answer(decision: access.Access, number: int) -> None:
            if not number:
                self.dismiss(arrival.connection, decision)
                return
            admitted = Admitted(
                number=number,
                connection=arrival.connection,
                port=arrival.port,
                request=arrival.request,
                peer=peer,
                granted=decision,
            )
            try:
                self._take(admitted)
            except Exception:  # noqa: BLE001 - the edge: as if it had not come
                self._log.exception("association_failed", extra={"ids": {"address": peer.address}})
                self.left(number)
                end(arrival.connection)

        self.ask(peer, answer)

    def _place(self, peer: Peer, decision: access.Access) -> tuple[access.Access, int]:
        number = 0
        if decision.granted and decision.node is not None:
            number = self.places.take(decision.node.name)
            if not number:
                limit = self._settings.local.max_associations
                why = f"{limit} associations are open: see [local] max_associations"
                decision = _limit(why, access.LOCAL_LIMIT_EXCEEDED)
        if not number:
            ids = {"failed": decision.failed, "why": decision.why, "address": peer.address}
            self._log.warning("association_refused", extra={"ids": ids})
        return decision, number


def peer_of(arrival: Arrival) -> Peer:
    """Return who asks for an association, as it says itself and as its connection shows."""
    connection = arrival.connection
    return Peer(
        calling=_title(arrival.request[_CALLING]),
        called=_title(arrival.request[_CALLED]),
        address=arrival.address,
        certificate=peer_names(connection) if isinstance(connection, ssl.SSLSocket) else None,
    )


def _title(raw: bytes) -> str:
    """Return an AE title; zeros around it are tolerated, as pynetdicom tolerates them."""
    return raw.decode("latin-1").strip("\0 ")


def _congested(why: str) -> access.Access:
    return _limit(why, 1)


def _limit(why: str, reason: int) -> access.Access:
    return access.Access(
        failed="limit",
        why=why,
        result=access.REJECTED_TRANSIENT,
        source=access.SOURCE_PRESENTATION,
        reason=reason,
    )


def wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    """Wait for something that other threads bring about, until ``deadline`` on ``time.monotonic``; say whether it came."""
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)
    return True


def _cannot_listen(error: OSError, bind: str, port: int, *, setting: Port) -> str:
    place = f"port {port} on {bind}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} is in use: stop the program that listens there, or set [local] {setting}"
    if error.errno == errno.EACCES:
        return f"{place} may not be used by this user: set [local] {setting} to one above 1023"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{place} cannot be used: {bind} is no address of this machine; set [local] bind"
    return f"{place} cannot be used ({error.strerror or type(error).__name__}): see [local] bind and {setting}"
