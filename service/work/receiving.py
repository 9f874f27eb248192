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
        The spool, a port or a file for TLS cannot be used, or no port is configured.
    """
    settings, local = order.settings, order.settings.local
    if not (local.port or local.tls_port or order.any_port):
        msg = "[local] port and tls_port are 0, which switches the listener off: set one, or run 'work' alone"
        raise ConfigurationError(msg)
    spool = make_spool(settings)
    spool.prepare()
    receiver = Receiver(settings, spool, SystemClock())
    if order.any_port:
        receiver.start(0 if local.port or not local.tls_port else None, 0 if local.tls_port else None)
    else:
        receiver.start()
    if settings.tls.certificate or settings.tls.ca:
        # the library that reads certificates costs 12 MB: only where there are some
        from service.dimse.certificates import keep_watch  # noqa: PLC0415

        keep_watch(settings.tls, SystemClock(), stop)
    announce(Ready(port=receiver.port, tls_port=receiver.tls_port))
    stop.wait()
    receiver.stop(CHILD_GRACE_SECONDS)
