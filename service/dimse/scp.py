"""The receiver: C-ECHO and C-STORE (PS3.4 Annexes A and B, as SCP), into the spool.

Success means that the object is safe (see ``service.store.spool``). Nothing is decoded, and nothing of it needs a database.
``service.dimse.door`` decides who is let in; here is who serves them: ``Associations`` in a process that may be one of
several, ``Receiver`` both in one process.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from pynetdicom.ae import ApplicationEntity

from service.clock import Clock
from service.dimse import access, tls
from service.dimse.acceptor import Acceptor, Admitted, Incoming, Times
from service.dimse.door import Door, Port, wait_until
from service.dimse.entrance import Bounds
from service.dimse.fast import FastAcceptor
from service.dimse.keeper import Counts, Keeper
from service.dimse.library import MAX_PDU, configure
from service.errors import ConfigurationError
from service.model.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from service.settings import Settings
from service.store.spool import FileMeta, Spool

__all__ = ["Associations", "Counts", "Receiver"]

#: seconds from the connection to the end of the A-ASSOCIATE-RQ, TLS handshake and all (ARTIM, PS3.8 9.1.5)
ASSOCIATE_TIMEOUT = 10.0
#: seconds that a PDU may take from its first byte to its last, or a peer to take what we send
STALL_TIMEOUT = 15.0
#: seconds that an association may be idle between two messages
IDLE_TIMEOUT = 60.0

_MEGABYTE = 1_000_000


def times() -> Times:
    """Return how long peers may take for what."""
    return Times(associate=ASSOCIATE_TIMEOUT, stall=STALL_TIMEOUT, idle=IDLE_TIMEOUT)


class Associations:
    """Serves those who were let in, each on a thread of its own (``service.dimse.acceptor.House``).

    Parameters
    ----------
    settings:
        ``local`` says as whom.
    keeper:
        Keeps what they bring.
    log:
        Where their ends are told.
    left:
        Hears the number of each association that is over; called on its thread.
    """

    def __init__(self, settings: Settings, keeper: Keeper, log: logging.Logger, left: Callable[[int], None]) -> None:
        self._keeper = keeper
        self._log = log
        self._left = left
        self._stopping = threading.Event()
        self._open: dict[int, Acceptor] = {}
        self._times = times()
        self._kind = FastAcceptor if settings.local.fast_path else Acceptor
        self._max_object = settings.storage.max_object_mb * _MEGABYTE
        ae = ApplicationEntity(settings.local.ae_title)
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.maximum_pdu_size = MAX_PDU
        # the door has counted already
        ae.maximum_associations = 1 << 20
        self._ae = ae

    def take(self, admitted: Admitted) -> None:
        """Serve a peer that is let in; returns at once.

        Raises
        ------
        OSError
            Its connection is gone.
        """
        acceptor = self._kind(self._ae, admitted, self, self._times, self._log)
        self._open[admitted.number] = acceptor
        try:
            acceptor.start()
        except BaseException:
            self._open.pop(admitted.number, None)
            raise

    def open_ones(self) -> dict[int, str]:
        """Return the numbers of those that are open, and whose they are (names of nodes)."""
        return {number: a.granted.node.name if a.granted.node else "" for number, a in list(self._open.items())}

    def stop(self, timeout: float) -> int:
        """Finish and answer the objects in flight, then end the associations; return how many there were.

        What takes longer than ``timeout`` seconds is cut: its sender got no answer, and sends it again.
        """
        deadline = time.monotonic() + timeout
        self._stopping.set()
        open_ones = list(self._open.values())
        for association in open_ones:
            if not association.is_busy:
                association.end()
        # those that are busy end by themselves with the object in flight
        wait_until(lambda: not any(a.is_alive() and a.is_busy for a in open_ones), deadline)
        for association in open_ones:
            if association.is_alive():
                if association.is_busy:
                    association.cut()
                else:
                    association.end()
        wait_until(lambda: not any(a.is_alive() for a in open_ones), max(deadline, time.monotonic() + 1.0))
        return len(open_ones)

    # --- what associations ask -----------------------------------------------------------------------------------------

    @property
    def is_stopping(self) -> bool:
        """Say whether ``stop`` was called."""
        return self._stopping.is_set()

    @property
    def max_object_bytes(self) -> int:
        """How large an object may be."""
        return self._max_object

    def begin(self, meta: FileMeta, *, may_correct: bool) -> Incoming:
        """Begin an object."""
        return self._keeper.begin(meta, may_correct=may_correct)

    def answered(self) -> None:
        """Make ready for the next object."""
        self._keeper.spool.make_ready(len(self._open))

    def ended(self, number: int) -> None:
        """Hear that an association is over."""
        self._open.pop(number, None)
        self._keeper.spool.rest(len(self._open))
        self._left(number)


class Receiver:
    """Listens, lets in, and keeps what is brought, all in this process.

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
        self._log = log or logging.getLogger("lms_sr.receive")
        self._addresses_of = addresses_of
        self._keeper = Keeper(spool, clock, self._log)
        self._door: Door | None = None
        self._associations: Associations | None = None

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
        wanted = wanted_ports(self._settings, port, tls_port)
        contexts = None
        if "tls_port" in wanted:
            contexts = tls.ServerContexts(self._settings)
            contexts.current()
        door = Door(
            self._settings,
            self._serve,
            self._log,
            addresses_of=lambda: self._addresses_of,
            bounds=Bounds(seconds=ASSOCIATE_TIMEOUT),
        )
        self._associations = Associations(self._settings, self._keeper, self._log, door.left)
        door.open(wanted, contexts.current if contexts else None)
        self._door = door
        local = self._settings.local
        ids = {"ae_title": local.ae_title, "bind": local.bind, "port": self.port, "tls_port": self.tls_port}
        self._log.info("receiver_started", extra={"ids": ids})

    def _serve(self, admitted: Admitted) -> None:
        assert self._associations is not None  # noqa: S101 - nobody is let in before
        self._associations.take(admitted)

    @property
    def port(self) -> int:
        """The port without TLS that is listened on; 0 before ``start`` and after ``stop``, or where there is none."""
        return self._door.port("port") if self._door else 0

    @property
    def tls_port(self) -> int:
        """The port with TLS that is listened on; 0 as for ``port``."""
        return self._door.port("tls_port") if self._door else 0

    @property
    def counts(self) -> Counts:
        """What was received since the start."""
        return self._keeper.counts

    @property
    def is_stopping(self) -> bool:
        """Say whether ``stop`` was called."""
        return self._associations is not None and self._associations.is_stopping

    def stop(self, timeout: float = 10.0) -> None:
        """Take no more connections, finish and answer the objects in flight, then end the associations.

        What takes longer than ``timeout`` seconds is cut: its sender got no answer, and sends it again.
        """
        door, self._door = self._door, None
        if door is None or self._associations is None:
            return
        door.close()
        ended = self._associations.stop(timeout)
        door.entrance.stop()
        self._log.info("receiver_stopped", extra={"ids": {"associations": ended}})


def wanted_ports(settings: Settings, port: int | None = None, tls_port: int | None = None) -> dict[Port, int]:
    """Return what to listen on: the ports of ``[local]``, or those given instead of them.

    Raises
    ------
    ConfigurationError
        None is set.
    """
    local = settings.local
    wanted: dict[Port, int] = {}
    if local.port or port is not None:
        wanted["port"] = local.port if port is None else port
    if local.tls_port or tls_port is not None:
        wanted["tls_port"] = local.tls_port if tls_port is None else tls_port
    if not wanted:
        msg = "[local] port and tls_port are 0, which switches the listener off: set one, or run 'work' alone"
        raise ConfigurationError(msg)
    return wanted
