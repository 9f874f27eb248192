"""The role ``receive``: the listener and the spool, nothing else; in one process, or in several behind a door."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from service.clock import SystemClock
from service.dimse import tls
from service.dimse.door import Door
from service.dimse.entrance import Bounds
from service.dimse.hub import Hub, Service
from service.dimse.keeper import Keeper
from service.dimse.library import configure
from service.dimse.scp import ASSOCIATE_TIMEOUT, Associations, Receiver, wanted_ports
from service.errors import ConfigurationError
from service.settings import Settings
from service.store.spool import Spool
from service.work.handover import CHILD_GRACE_SECONDS, Order, Ready


def make_spool(settings: Settings) -> Spool:
    """Return the spool that the settings describe, not yet prepared."""
    storage = settings.storage
    return Spool(storage.spool, durability=storage.durability, reserve_mb=storage.reserve_mb)


def receive(order: Order, announce: Callable[[Ready], None], stop: threading.Event) -> None:
    """Take objects until ``stop`` is set; where there are several receiving processes, be the door before them.

    Raises
    ------
    ConfigurationError
        The spool, a port or a file for TLS cannot be used, or no port is configured.
    """
    settings, local = order.settings, order.settings.local
    if not (local.port or local.tls_port or order.any_port):
        msg = "[local] port and tls_port are 0, which switches the listener off: set one, or run 'work' alone"
        raise ConfigurationError(msg)
    ports = (0 if local.port or not local.tls_port else None, 0 if local.tls_port else None)
    if settings.tls.certificate or settings.tls.ca:
        # the library that reads certificates costs 12 MB: only where there are some
        from service.dimse.certificates import keep_watch  # noqa: PLC0415

        keep_watch(settings.tls, SystemClock(), stop)
    spool = make_spool(settings)
    spool.prepare()
    given = ports if order.any_port else (None, None)
    if order.door:
        _be_the_door(order, given, announce, stop)
        return
    receiver = Receiver(settings, spool, SystemClock())
    receiver.start(*given)
    announce(Ready(port=receiver.port, tls_port=receiver.tls_port))
    stop.wait()
    receiver.stop(CHILD_GRACE_SECONDS)


def _be_the_door(
    order: Order, given: tuple[int | None, int | None], announce: Callable[[Ready], None], stop: threading.Event
) -> None:
    settings = order.settings
    log = logging.getLogger("lms_sr.receive")
    wanted = wanted_ports(settings, *given)
    if "tls_port" in wanted:
        # files that cannot be used are told before anything listens
        tls.ServerContexts(settings).current()
    hub = Hub(Path(order.door), log)
    door = Door(settings, hub.take, log, bounds=Bounds(seconds=ASSOCIATE_TIMEOUT), pass_on=hub.pass_on)
    hub.open(door)
    door.open(wanted)
    local = settings.local
    ids = {"ae_title": local.ae_title, "bind": local.bind, "port": door.port("port"), "tls_port": door.port("tls_port")}
    log.info("receiver_started", extra={"ids": ids})
    announce(Ready(port=door.port("port"), tls_port=door.port("tls_port")))
    stop.wait()
    door.close()
    hub.close()
    door.entrance.stop()


def associate(order: Order, announce: Callable[[Ready], None], stop: threading.Event) -> None:
    """Serve what the door hands over until ``stop`` is set.

    Raises
    ------
    ConfigurationError
        The spool or a file for TLS cannot be used.
    """
    configure()
    settings = order.settings
    log = logging.getLogger("lms_sr.receive")
    contexts = None
    if settings.local.tls_port:
        contexts = tls.ServerContexts(settings)
        contexts.current()
    spool = make_spool(settings)
    spool.prepare()
    keeper = Keeper(spool, SystemClock(), log)
    wrap = contexts.current if contexts else None
    service = Service(settings, Path(order.door), log, wrap, Bounds(seconds=ASSOCIATE_TIMEOUT))
    service.start(lambda left: Associations(settings, keeper, log, left))
    announce(Ready())
    stop.wait()
    ended = service.stop(CHILD_GRACE_SECONDS)
    log.info("receiver_stopped", extra={"ids": {"associations": ended}})
