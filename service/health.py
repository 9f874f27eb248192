"""Whether the service on this machine answers, and what about it will stop answering soon."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from service import app
from service.clock import Clock, SystemClock
from service.dimse import scu
from service.dimse.tls import Secured
from service.errors import PeerUnavailable
from service.settings import Node, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A certificate or revocation list, and how long it is still good.

    ``alarm`` is 30, 7 or 1 where its end is no more days away, 0 where it is past, None where there is time.
    """

    setting: str
    file: str
    number: int
    ends: dt.datetime
    days: int
    alarm: int | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsHealth:
    """How TLS stands; ``listener`` is what a connection to ourselves came to, None where there is no TLS listener."""

    port: int
    profile: str
    mutual: bool
    listener: Secured | None
    lapses: tuple[Ending, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What was found where the service answers; ``tls`` is None where TLS is not configured."""

    tls: TlsHealth | None = None


def examine(settings: Settings, clock: Clock | None = None) -> Health:
    """Ask each listener of our own (C-ECHO), or, where there is none, the database.

    Raises
    ------
    PeerUnavailable, Rejected
        A listener does not answer, or our certificate has ended.
    ConfigurationError
        The database is not as it should be, or a file for TLS cannot be read.
    """
    local = settings.local
    if local.port:
        scu.echo(settings, _ourselves(settings))
    if not (local.port or local.tls_port):
        with app.database(settings):
            pass
    if not (settings.tls.certificate or settings.tls.ca):
        return Health()
    # the library that reads certificates is loaded where there are some
    from service.dimse import certificates  # noqa: PLC0415

    now = (clock or SystemClock()).now()
    found = certificates.lapses(settings.tls)
    ended = next(
        (p for p in found if p.kind is certificates.Kind.CERTIFICATE and p.number == 1 and p.has_ended(now)), None
    )
    if ended is not None:
        raise PeerUnavailable(ended.sentence(now))
    listener = None
    if local.tls_port:
        # our own certificate, whatever it calls us, and no other: a listener that still shows an older one was not told
        us = _ourselves(settings).model_copy(
            update={"port": local.tls_port, "tls": True, "tls_name": certificates.fingerprint(settings.tls)}
        )
        listener = scu.echo(settings, us)
    return Health(
        tls=TlsHealth(
            port=local.tls_port,
            profile=settings.tls.profile,
            mutual=settings.tls.mutual,
            listener=listener,
            lapses=tuple(
                Ending(
                    setting=p.setting,
                    file=p.file,
                    number=p.number,
                    ends=p.ends,
                    days=p.days_left(now),
                    alarm=p.alarm(now),
                    sentence=p.sentence(now),
                )
                for p in found
            ),
        )
    )


def _ourselves(settings: Settings) -> Node:
    local = settings.local
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(local.bind, local.bind)  # noqa: S104 - what "all" is called
    return Node(name="self", ae_title=local.ae_title, host=host, port=local.port)
