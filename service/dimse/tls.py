"""DICOM over TLS (PS3.15 Annex B): what is offered and demanded, on both sides, and who the other side turned out to be.

The profiles are B.12 "BCP 195 RFC 8996, 9325 TLS Secure Transport Connection Profile" and B.13, its "Modified" form. TLS is
spoken from the first byte on a port of its own: both rule out the upgrade of an open connection.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import ipaddress
import logging
import os
import ssl
import threading
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

from service.errors import ConfigurationError
from service.settings import FINGERPRINT, Settings, Tls

#: seconds between two looks at whether a file has changed
_LOOK_SECONDS: Final = 1.0
#: Cipher suites of TLS 1.2, best first. B.12 leaves them to RFC 9325: those of its section 4.2, and their like with ChaCha20
#: (RFC 7905). B.13 lists what it takes: these and the CCM ones; its optional Camellia suites OpenSSL does not build as a rule,
#: and DHE is left out, as RFC 9325 advises. TLS 1.3 has no suite that either forbids; which are on is OpenSSL's choice, not ours.
_SUITES: Final = {
    "B.12": (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
    ),
    "B.13": (
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-CCM",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ECDSA-AES256-CCM8",
        "ECDHE-ECDSA-AES128-CCM8",
    ),
}
#: at least 112 bits of security whatever the system's configuration says: RSA from 2048, no SHA-1 (RFC 9325 4.4 and 4.5, B.13)
_LEVEL: Final = "@SECLEVEL=2"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerCertificate:
    """Who the other side is, by the certificate that was verified; empty where it showed none.

    ``names`` are those of the subject alternative name (RFC 5280 4.2.1.6): DNS names, addresses and URIs in lower case;
    ``fingerprint`` is ``sha256:`` and 64 digits, ``ends`` is notAfter.
    """

    names: frozenset[str] = frozenset()
    fingerprint: str = ""
    ends: dt.datetime | None = None

    def is_one_of(self, wanted: tuple[str, ...]) -> bool:
        """Say whether it has one of these names or fingerprints."""
        return bool(self.fingerprint) and any(w in self.names or w == self.fingerprint for w in wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secured:
    """What was agreed on: version of TLS, cipher suite, and the other side's certificate."""

    version: str
    cipher: str
    peer: PeerCertificate


def peer_names(ssl_object: ssl.SSLSocket | ssl.SSLObject) -> PeerCertificate:
    """Return whom the certificate of the other side names; call it after the handshake."""
    raw = ssl_object.getpeercert(binary_form=True)
    if not raw:
        return PeerCertificate()
    told: dict[str, Any] = dict(ssl_object.getpeercert() or {})
    alternatives: tuple[tuple[str, str], ...] = told.get("subjectAltName", ())
    names = frozenset(_plain(name) for kind, name in alternatives if kind in {"DNS", "IP Address", "URI"})
    seconds = ssl.cert_time_to_seconds(str(told["notAfter"])) if "notAfter" in told else None
    return PeerCertificate(
        names=names,
        fingerprint=FINGERPRINT + hashlib.sha256(raw).hexdigest(),
        ends=None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC),
    )


def secured(ssl_object: ssl.SSLSocket | ssl.SSLObject) -> Secured:
    """Return what a handshake came to."""
    suite = ssl_object.cipher()
    return Secured(version=ssl_object.version() or "", cipher=suite[0] if suite else "", peer=peer_names(ssl_object))


class _Contexts(ABC):
    """A context that is made anew when one of its files has changed.

    Connections keep the context that they began with; new ones get the new. What cannot be read later, when the service runs,
    leaves the old one in force: a certificate that is being replaced, file by file, stops nobody.
    """

    #: for the log
    _side: ClassVar[str]

    def __init__(self, settings: Settings, *, log: logging.Logger | None = None) -> None:
        self._tls = settings.tls
        self._log = log or logging.getLogger("lms_sr.tls")
        self._lock = threading.Lock()
        self._made: tuple[ssl.SSLContext, ...] = ()
        self._seen: tuple[object, ...] = ()
        self._look_at = 0.0

    def _current(self) -> tuple[ssl.SSLContext, ...]:
        with self._lock:
            now = time.monotonic()
            if self._made and now < self._look_at:
                return self._made
            self._look_at = now + _LOOK_SECONDS
            # before reading: what changes meanwhile is seen the next time
            stamp = tuple(_stamp(file) for file in _files(self._tls))
            if self._made and stamp == self._seen:
                return self._made
            try:
                made = self._make()
            except ConfigurationError as error:
                if not self._made:
                    raise
                self._log.error("tls_reload_failed", extra={"ids": {"why": str(error)}})
            else:
                if self._made:
                    self._log.info("tls_reloaded", extra={"ids": {"side": self._side}})
                self._made = made
            self._seen = stamp
            return self._made

    @abstractmethod
    def _make(self) -> tuple[ssl.SSLContext, ...]:
        """Read the files; raise `ConfigurationError` where that cannot be done."""


class ServerContexts(_Contexts):
    """How we answer those who call with TLS.

    Parameters
    ----------
    settings:
        Their ``tls`` says with what.
    log:
        By default ``lms_sr.tls``.
    """

    _side = "server"

    def current(self) -> ssl.SSLContext:
        """Return the context for a connection that comes now; cheap, the files are looked at once a second.

        Raises
        ------
        ConfigurationError
            The first time: a file cannot be used; the message says which, and the way out. Later the last good one stays, and
            ``tls_reload_failed`` is logged.
        """
        return self._current()[0]

    def _make(self) -> tuple[ssl.SSLContext, ...]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # No tickets, so that TLS 1.3 never resumes. Sessions of TLS 1.2, which ssl cannot switch off, live in the context: they
        # end when a file changes, so that a certificate that was revoked does not linger on.
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.verify_mode = ssl.CERT_REQUIRED if self._tls.mutual else ssl.CERT_OPTIONAL
        _fill(context, self._tls)
        return (context,)


class ClientContexts(_Contexts):
    """How we call nodes with TLS; the parameters are those of `ServerContexts`."""

    _side = "client"

    def current(self, *, by_name: bool = True) -> ssl.SSLContext:
        """Return the context for a connection that is opened now.

        Parameters
        ----------
        by_name:
            See that the certificate has the name that is called; False: the caller compares the fingerprint.

        Raises
        ------
        ConfigurationError
            As `ServerContexts.current`.
        """
        named, unnamed = self._current()
        return named if by_name else unnamed

    def _make(self) -> tuple[ssl.SSLContext, ...]:
        return self._context(by_name=True), self._context(by_name=False)

    def _context(self, *, by_name: bool) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = by_name
        # RFC 9525 6.3: a name is one of the subject alternative names, or none
        context.hostname_checks_common_name = False
        _fill(context, self._tls)
        return context


@lru_cache(maxsize=8)
def _clients(tls: Tls) -> ClientContexts:
    return ClientContexts(Settings(tls=tls))


def client_contexts(settings: Settings) -> ClientContexts:
    """Return the contexts that every association of this process shares."""
    return _clients(settings.tls)


def verify(settings: Settings) -> None:
    """See that everything that the settings say about TLS can be used.

    Raises
    ------
    ConfigurationError
        What cannot, and the way out.
    """
    if settings.local.tls_port:
        ServerContexts(settings).current()
    if any(node.tls for node in settings.nodes):
        ClientContexts(settings).current()


def _fill(context: ssl.SSLContext, tls: Tls) -> None:
    """Set what both sides have in common."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(":".join((*_SUITES[tls.profile], _LEVEL)))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    if tls.certificate:
        _load_key(context, tls)
    for setting, files in (("ca", tls.ca), ("crl", tls.crl)):
        for file in files:
            try:
                context.load_verify_locations(cafile=file)
            except (OSError, ValueError) as error:
                raise _unusable(tls, f"[tls] {setting}: {file} cannot be used") from error
    if tls.crl:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF


def _load_key(context: ssl.SSLContext, tls: Tls) -> None:
    asked: list[bool] = []

    def passphrase() -> bytes:
        # without this OpenSSL would ask on the terminal
        asked.append(True)
        return _passphrase(tls)

    key = tls.key or tls.certificate
    try:
        context.load_cert_chain(tls.certificate, tls.key or None, passphrase)
    except ConfigurationError:
        raise
    except (OSError, ValueError) as error:
        if asked:
            way = "set [tls] key_passphrase or key_passphrase_file" if not _passphrase(tls) else "it is another one"
            msg = f"[tls] key: {key} does not open with the passphrase: {way}"
            raise ConfigurationError(msg) from error
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            msg = f"[tls] key: {key} is not the key of the certificate {tls.certificate}: name the two that belong together"
            raise ConfigurationError(msg) from error
        if isinstance(error, ssl.SSLError) and error.reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"}:
            msg = f"[tls] certificate: {tls.certificate} is too weak: RSA from 2048 bits, or an elliptic curve, with SHA-256"
            raise ConfigurationError(msg) from error
        what = f"[tls] key: {key} cannot be read, or holds no private key: name a PEM file that this user may read"
        raise _unusable(tls, what) from error


def _passphrase(tls: Tls) -> bytes:
    if not tls.key_passphrase_file:
        return tls.key_passphrase.get_secret_value().encode()
    try:
        with open(tls.key_passphrase_file, "rb") as file:  # noqa: PTH123 - a file, not a path
            return file.read().strip()
    except OSError as error:
        msg = f"[tls] key_passphrase_file: {tls.key_passphrase_file} cannot be read ({error.strerror})"
        raise ConfigurationError(msg) from error


def _unusable(tls: Tls, otherwise: str) -> ConfigurationError:
    """Return the error that names what is wrong with the files; ``otherwise`` where nothing more can be said."""
    from service.dimse import certificates  # noqa: PLC0415 - the library costs 12 MB, and only TLS needs it

    try:
        certificates.lapses(tls)
    except ConfigurationError as error:
        return error
    return ConfigurationError(otherwise)


def _files(tls: Tls) -> tuple[str, ...]:
    return tuple(f for f in (tls.certificate, tls.key, tls.key_passphrase_file, *tls.ca, *tls.crl) if f)


def _stamp(file: str) -> object:
    try:
        found = os.stat(file)  # noqa: PTH116 - as above
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _plain(name: str) -> str:
    """Return a name as the settings hold names."""
    with suppress(ValueError):
        return str(ipaddress.ip_address(name.strip()))
    return name.strip().lower()
