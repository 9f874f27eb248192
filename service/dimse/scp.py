"""The receiver: C-ECHO and C-STORE (PS3.4 Annexes A and B, as SCP), into the spool.

Success means that the object is safe (see ``service.store.spool``). Nothing is decoded, and nothing of it needs a database.
"""

from __future__ import annotations

import errno
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from pynetdicom.ae import ApplicationEntity
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from service.clock import Clock
from service.dimse import access, gatekeeper, handshake, statuses, tls
from service.dimse.acceptor import Acceptor, Answer, Peer
from service.dimse.library import MAX_PDU, configure, tune
from service.errors import ConfigurationError, Refused
from service.model.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from service.settings import Settings
from service.store.spool import FileMeta, Outcome, Spool

#: a port that is listened on, by its setting
Entrance = Literal["port", "tls_port"]

#: seconds from the connection to the A-ASSOCIATE-RQ (ARTIM, PS3.8 9.1.5)
ASSOCIATE_TIMEOUT = 10.0
#: seconds that a connection may be silent in the middle of a PDU, or take nothing that we send
STALL_TIMEOUT = 30.0
#: seconds that an association may be idle between two messages
IDLE_TIMEOUT = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What was received since the start."""

    stored: int = 0
    duplicate: int = 0
    other_syntax: int = 0
    conflict: int = 0
    refused: int = 0


class Receiver:
    """Takes associations and keeps what they bring.

    Parameters
    ----------
    settings:
        ``local`` says where to listen and as whom, ``nodes`` who may call.
    spool:
        Prepared.
    clock:
        The time of receipt.
    log:
        By default ``lms_sr.receive``.
    addresses_of:
        How host names of nodes become addresses; by default the system's resolver.
    """

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        clock: Clock,
        log: logging.Logger | None = None,
        *,
        addresses_of: Callable[[str], frozenset[access.Address]] | None = None,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._clock = clock
        self._log = log or logging.getLogger("lms_sr.receive")
        self._addresses_of = addresses_of
        self._stopping = threading.Event()
        self._servers: dict[Entrance, _Server] = {}
        self._lock = threading.Lock()
        self._counts = Counts()

    def start(self, port: int | None = None, tls_port: int | None = None) -> None:
        """Listen; returns when connections are taken.

        Parameters
        ----------
        port, tls_port:
            Instead of those of ``[local]``; 0: one that is free.

        Raises
        ------
        ConfigurationError
            No port is set, or an address, a port or a file for TLS cannot be had; the message says why, and which setting is
            meant.
        """
        configure()
        local = self._settings.local
        wanted: dict[Entrance, int] = {}
        if local.port or port is not None:
            wanted["port"] = local.port if port is None else port
        if local.tls_port or tls_port is not None:
            wanted["tls_port"] = local.tls_port if tls_port is None else tls_port
        if not wanted:
            msg = "[local] port and tls_port are 0, which switches the listener off: set one, or run 'work' alone"
            raise ConfigurationError(msg)
        contexts = None
        if "tls_port" in wanted:
            contexts = tls.ServerContexts(self._settings)
            contexts.current()
        ae = ApplicationEntity(local.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.maximum_pdu_size = MAX_PDU
        ae.maximum_associations = local.max_associations
        ae.acse_timeout = ASSOCIATE_TIMEOUT
        ae.dimse_timeout = STALL_TIMEOUT
        ae.network_timeout = IDLE_TIMEOUT
        servers: dict[Entrance, _Server] = {}
        for name, number in wanted.items():
            where = (local.bind, number)
            try:
                servers[name] = _Server(ae, where, self, self._log, contexts if name == "tls_port" else None)
            except OSError as error:
                for server in servers.values():
                    server.server_close()
                raise ConfigurationError(_cannot_listen(error, *where, setting=name)) from error
        self._servers = servers
        for server in servers.values():
            threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="dicom-listener", daemon=True
            ).start()
        ids = {"ae_title": local.ae_title, "bind": local.bind, "port": self.port, "tls_port": self.tls_port}
        self._log.info("receiver_started", extra={"ids": ids})

    @property
    def port(self) -> int:
        """The port without TLS that is listened on; 0 before ``start`` and after ``stop``, or where there is none."""
        return self._port("port")

    @property
    def tls_port(self) -> int:
        """The port with TLS that is listened on; 0 as for ``port``."""
        return self._port("tls_port")

    def _port(self, entrance: Entrance) -> int:
        server = self._servers.get(entrance)
        return int(server.server_address[1]) if server else 0

    def _associations(self) -> list[Acceptor]:
        """Return those that are alive, through whichever port they came."""
        return [a for server in self._servers.values() for a in server.associations()]

    @property
    def counts(self) -> Counts:
        """What was received since the start."""
        return self._counts

    @property
    def is_stopping(self) -> bool:
        """Say whether ``stop`` was called."""
        return self._stopping.is_set()

    def stop(self, timeout: float = 10.0) -> None:
        """Take no more connections, finish and answer the objects in flight, then end the associations.

        What takes longer than ``timeout`` seconds is cut: its sender got no answer, and sends it again.
        """
        if not self._servers:
            return
        self._stopping.set()
        deadline = time.monotonic() + timeout
        for server in self._servers.values():
            server.shutdown()
        open_ones, self._servers = self._associations(), {}
        closers = [threading.Thread(target=_close, args=(a, deadline), daemon=True) for a in open_ones]
        for thread in closers:
            thread.start()
        for thread in closers:
            thread.join(max(0.0, deadline - time.monotonic()))
        for association in open_ones:
            if association.is_alive():
                association.cut()
        for association in open_ones:
            association.join(1.0)
        self._log.info("receiver_stopped", extra={"ids": {"associations": len(open_ones)}})

    # --- what associations ask (``service.dimse.acceptor.House``) -----------------------------------------------------------

    def admit(self, peer: Peer) -> access.Access:
        """Decide about an association."""
        if not self._servers or len(self._associations()) > self._settings.local.max_associations:
            limit = self._settings.local.max_associations
            return access.Access(
                failed="limit",
                why=f"{limit} associations are open: see [local] max_associations",
                result=access.REJECTED_TRANSIENT,
                source=access.SOURCE_PRESENTATION,
                reason=access.LOCAL_LIMIT_EXCEEDED,
            )
        return access.decide(
            self._settings,
            peer.called,
            peer.calling,
            peer.address,
            "associate",
            certificate=peer.certificate,
            addresses_of=self._addresses_of,
        )

    def store(
        self, peer: Peer, data_set: memoryview, *, transfer_syntax_uid: str, sop_class_uid: str, sop_instance_uid: str
    ) -> Answer:
        """Check an object and keep it; every outcome is a status."""
        ids = {"sop_instance_uid": sop_instance_uid, "calling": peer.calling, "address": peer.address}
        try:
            gatekeeper.scan(
                data_set,
                transfer_syntax_uid=transfer_syntax_uid,
                sop_class_uid=sop_class_uid,
                sop_instance_uid=sop_instance_uid,
            )
            meta = FileMeta(
                sop_class_uid=sop_class_uid,
                sop_instance_uid=sop_instance_uid,
                transfer_syntax_uid=transfer_syntax_uid,
                calling_ae_title=peer.calling,
                called_ae_title=peer.called,
                address=peer.address,
            )
            receipt = self._spool.receive(data_set, meta, at=self._clock.now())
        except Refused as error:
            self._count("refused")
            # a UID that is none may hold anything, so it is not logged
            shown = ids | {"sop_instance_uid": ""} if error.status == statuses.INVALID_INSTANCE else ids
            status = f"{error.status:04X}H"
            self._log.warning("instance_refused", extra={"ids": {**shown, "status": status, "why": str(error)}})
            return Answer(status=error.status, comment=str(error))
        except Exception:  # noqa: BLE001 - the edge: the sender must hear that the object is not safe
            self._count("refused")
            self._log.exception("instance_failed", extra={"ids": ids})
            return Answer(status=statuses.PROCESSING_FAILURE, comment="unexpected error; see the log of the receiver")
        self._count(receipt.outcome.value)
        if receipt.outcome is Outcome.CONFLICT and receipt.first_time:
            place = receipt.quarantined.name if receipt.quarantined else ""
            self._log.error("instance_conflict", extra={"ids": {**ids, "key": receipt.key, "quarantined": place}})
        else:
            self._log.debug("instance_received", extra={"ids": {**ids, "outcome": receipt.outcome.value}})
        return Answer(status=statuses.SUCCESS)

    def _count(self, name: str) -> None:
        with self._lock:
            self._counts = replace(self._counts, **{name: getattr(self._counts, name) + 1})


class _Server(ThreadedAssociationServer):
    """The listening socket: each connection becomes an ``Acceptor``."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(
        self,
        ae: ApplicationEntity,
        where: tuple[str, int],
        receiver: Receiver,
        log: logging.Logger,
        tls_contexts: tls.ServerContexts | None,
    ) -> None:
        self.receiver = receiver
        self.log = log
        self.tls_contexts = tls_contexts
        super().__init__(ae, where, ae.ae_title, [], request_handler=_Handler)

    def associations(self) -> list[Acceptor]:
        """Return those that are alive."""
        return [t for t in threading.enumerate() if isinstance(t, Acceptor) and t.belongs_to(self)]

    def shutdown(self) -> None:
        """Take no more connections."""
        # pynetdicom's expects to be one of several servers of an AE
        socketserver.BaseServer.shutdown(self)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the signature is socketserver's
        """Log what went wrong with a connection; socketserver would print it."""
        error = sys.exc_info()[1]
        self.log.warning(
            "connection_failed", extra={"ids": {"address": client_address[0], "error": type(error).__name__}}
        )


class _Handler(RequestHandler):
    """Makes an ``Acceptor`` of a connection."""

    server: _Server

    def handle(self) -> None:
        """Speak TLS where that is to be, on this connection's own thread, and start the association."""
        if self.server.tls_contexts is not None:
            try:
                self.request = handshake.accept(self.server.tls_contexts, self.request)
            except OSError as error:
                ids = {"address": self.client_address[0], "why": handshake.why(error)}
                self.server.log.warning("tls_refused", extra={"ids": ids})
                return
        super().handle()

    def _create_association(self) -> Acceptor:
        connection: socket.socket = self.request
        tune(connection, STALL_TIMEOUT)
        server = self.server
        return Acceptor(server.ae, server, connection, self.client_address, server.receiver, server.log)


def _close(association: Acceptor, deadline: float) -> None:
    while association.is_alive() and association.is_busy and time.monotonic() < deadline:
        time.sleep(0.01)
    if association.is_established and not association.is_busy:
        association.abort()
    else:
        association.cut()


def _cannot_listen(error: OSError, bind: str, port: int, *, setting: Entrance) -> str:
    place = f"port {port} on {bind}"
    if error.errno == errno.EADDRINUSE:
        return f"{place} is in use: stop the program that listens there, or set [local] {setting}"
    if error.errno == errno.EACCES:
        return f"{place} may not be used by this user: set [local] {setting} to one above 1023"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{place} cannot be used: {bind} is no address of this machine; set [local] bind"
    return f"{place} cannot be used ({error.strerror or type(error).__name__}): see [local] bind and {setting}"
