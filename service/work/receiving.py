"""The role ``receive``: the listener and the spool, nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable

from service.clock import SystemClock
from service.dimse.scp import Receiver
from service.errors import ConfigurationError
from service.settings import Settings
from service.store.spool import Spool
from service.work.handover import CHILD_GRACE_SECONDS, Order, Ready


def make_spool(settings: Settings) -> Spool:
    """Return the spool that the settings describe, not yet prepared."""
    storage = settings.storage
    return Spool(storage.spool, durability=storage.durability, reserve_mb=storage.reserve_mb)


def receive(order: Order, announce: Callable[[Ready], None], stop: threading.Event) -> None:
    """Take objects until ``stop`` is set.

    Raises
    ------
    ConfigurationError
        The spool or the port cannot be used, or no port is configured.
    """
    settings = order.settings
    if not (settings.local.port or order.any_port):
        msg = "[local] port is 0, which switches the listener off: set a port, or run 'work' alone"
        raise ConfigurationError(msg)
    spool = make_spool(settings)
    spool.prepare()
    receiver = Receiver(settings, spool, SystemClock())
    receiver.start(0 if order.any_port else None)
    announce(Ready(port=receiver.port))
    stop.wait()
    receiver.stop(CHILD_GRACE_SECONDS)
