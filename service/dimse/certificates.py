"""The certificates and revocation lists that the settings name: whether they can be read, and until when they hold.

A certificate that lapses stops all of DICOM at a moment that everybody could have known of. So the days that are left are
told 30, 7 and 1 days before, in the log each day and by ``lms-sr health``.
"""

from __future__ import annotations

import datetime as dt
import enum
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from service.clock import Clock
from service.errors import ConfigurationError
from service.settings import FINGERPRINT, Tls

_T = TypeVar("_T")

#: seconds between two looks at the files
LOOK_SECONDS: Final = 600.0


class Kind(enum.Enum):
    """What lapses, by the setting that names it."""

    CERTIFICATE = "certificate"
    CA = "ca"
    CRL = "crl"


#: days before the end at which it is told; revocation lists live for days only, and are renewed by machines
ALARM_DAYS: Final = {Kind.CERTIFICATE: (30, 7, 1), Kind.CA: (30, 7, 1), Kind.CRL: (1,)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lapse:
    """When something that TLS needs is no longer good.

    ``file`` names it as the settings do; ``number`` counts within the file from 1; ``ends`` is notAfter of a certificate
    (RFC 5280 4.1.2.5), nextUpdate of a revocation list (RFC 5280 5.1.2.5).
    """

    kind: Kind
    file: str
    number: int
    ends: dt.datetime

    @property
    def setting(self) -> str:
        """Return the setting that names the file."""
        return f"[tls] {self.kind.value}"

    def days_left(self, now: dt.datetime) -> int:
        """Return how many whole days are left; below zero where it has ended."""
        return (self.ends - now) // dt.timedelta(days=1)

    def has_ended(self, now: dt.datetime) -> bool:
        """Say whether it is no longer good."""
        return now > self.ends

    def alarm(self, now: dt.datetime) -> int | None:
        """Return the alarm that is due: 30, 7 or 1 (days), 0 where it has ended, None where there is time."""
        if self.has_ended(now):
            return 0
        left = (self.ends - now) / dt.timedelta(days=1)
        return next((days for days in sorted(ALARM_DAYS[self.kind]) if left <= days), None)

    def sentence(self, now: dt.datetime) -> str:
        """Say to a person when it ends."""
        which = f"{self.file}, number {self.number}" if self.number > 1 else self.file
        day = f"{self.ends:%Y-%m-%d %H:%M} UTC"
        if self.has_ended(now):
            return f"{self.setting} ({which}) has ended on {day}: nobody believes it any more; renew it"
        days = self.days_left(now)
        return f"{self.setting} ({which}) ends in {days} day{'' if days == 1 else 's'}, on {day}"


def lapses(tls: Tls) -> tuple[Lapse, ...]:
    """Return when each certificate and revocation list of the settings ends.

    Raises
    ------
    ConfigurationError
        A file cannot be read, or holds something else; the message names it and the way out.
    """
    found: list[Lapse] = []
    if tls.certificate:
        found += _lapses(Kind.CERTIFICATE, tls.certificate, [c.not_valid_after_utc for c in _chain(tls.certificate)])
    for file in tls.ca:
        ends = [c.not_valid_after_utc for c in _certificates(Kind.CA, file)]
        found += _lapses(Kind.CA, file, ends)
    for file in tls.crl:
        lists = _revocation_lists(file)
        found += _lapses(Kind.CRL, file, [r.next_update_utc for r in lists if r.next_update_utc is not None])
    return tuple(found)


def fingerprint(tls: Tls) -> str:
    """Return ``sha256:`` and the SHA-256 of our own certificate, as ``tls_name`` of a node takes it.

    Raises
    ------
    ConfigurationError
        It cannot be read.
    """
    return FINGERPRINT + _chain(tls.certificate)[0].fingerprint(hashes.SHA256()).hex()


def text_of(setting: str, file: str) -> bytes:
    """Return what a file holds.

    Raises
    ------
    ConfigurationError
        It cannot be read.
    """
    try:
        return Path(file).read_bytes()
    except OSError as error:
        msg = f"[tls] {setting}: {file} cannot be read ({error.strerror or type(error).__name__}): name a file that this user may read"
        raise ConfigurationError(msg) from error


class Alarms:
    """Tells in the log what is about to lapse: at each step of `ALARM_DAYS`, and once a day from then on.

    Parameters
    ----------
    clock:
        Says what day it is.
    log:
        Where it is told.
    """

    def __init__(self, clock: Clock, log: logging.Logger) -> None:
        self._clock = clock
        self._log = log
        self._told: dict[tuple[Kind, str, int], tuple[int, dt.date]] = {}

    def look(self, found: tuple[Lapse, ...]) -> None:
        """Tell what has not been told today."""
        now = self._clock.now()
        for lapse in found:
            key = (lapse.kind, lapse.file, lapse.number)
            alarm = lapse.alarm(now)
            if alarm is None:
                self._told.pop(key, None)
                continue
            if self._told.get(key) == (alarm, now.date()):
                continue
            self._told[key] = (alarm, now.date())
            ids = {"setting": lapse.setting, "file": lapse.file, "number": lapse.number}
            ids |= {"ends": lapse.ends.isoformat(), "days": lapse.days_left(now)}
            if alarm == 0:
                self._log.error("certificate_ended", extra={"ids": ids})
            elif alarm == max(ALARM_DAYS[lapse.kind]) and lapse.kind is not Kind.CRL:
                self._log.warning("certificate_ends", extra={"ids": ids})
            else:
                self._log.error("certificate_ends", extra={"ids": ids})


def keep_watch(
    tls: Tls, clock: Clock, stop: threading.Event, log: logging.Logger | None = None, *, seconds: float = LOOK_SECONDS
) -> threading.Thread | None:
    """Look at the files now and then until ``stop`` is set, on a thread of its own; None where no file is named."""
    if not (tls.certificate or tls.ca):
        return None
    logger = log or logging.getLogger("lms_sr.tls")
    alarms = Alarms(clock, logger)

    def watch() -> None:
        said = ""
        while True:
            try:
                alarms.look(lapses(tls))
                said = ""
            except ConfigurationError as error:
                # a file that is being replaced is there again at the next look
                if str(error) != said:
                    logger.error("certificates_unreadable", extra={"ids": {"why": str(error)}})  # noqa: TRY400 - ours
                said = str(error)
            if stop.wait(seconds):
                return

    thread = threading.Thread(target=watch, name="certificate-watch", daemon=True)
    thread.start()
    return thread


def _lapses(kind: Kind, file: str, ends: list[dt.datetime]) -> Iterator[Lapse]:
    for number, end in enumerate(ends, start=1):
        yield Lapse(kind=kind, file=file, number=number, ends=end)


def _chain(file: str) -> list[x509.Certificate]:
    return _certificates(Kind.CERTIFICATE, file)


def _certificates(kind: Kind, file: str) -> list[x509.Certificate]:
    raw = text_of(kind.value, file)
    found = _parsed(lambda: x509.load_pem_x509_certificates(raw))
    if found:
        return found
    if _parsed(lambda: x509.load_der_x509_certificate(raw)) is not None:
        way = f"is DER: openssl x509 -inform DER -in {file} -out FILE.pem makes a PEM file of it"
    else:
        way = "holds no certificate: name a PEM file, which has a line BEGIN CERTIFICATE"
    msg = f"[tls] {kind.value}: {file} {way}"
    raise ConfigurationError(msg)


def _revocation_lists(file: str) -> list[x509.CertificateRevocationList]:
    raw = text_of(Kind.CRL.value, file)
    mark, end = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"
    pieces = [mark + piece.split(end)[0] + end + b"\n" for piece in raw.split(mark)[1:]]
    found = _parsed(lambda: [x509.load_pem_x509_crl(piece) for piece in pieces])
    if found:
        return found
    # a list that names nobody is false, too
    if _parsed(lambda: x509.load_der_x509_crl(raw)) is not None:
        way = f"is DER: openssl crl -inform DER -in {file} -out FILE.pem makes a PEM file of it"
    else:
        way = "holds no revocation list: name a PEM file, which has a line BEGIN X509 CRL"
    msg = f"[tls] crl: {file} {way}"
    raise ConfigurationError(msg)


def _parsed(parse: Callable[[], _T]) -> _T | None:
    with suppress(ValueError):
        return parse()
    return None
