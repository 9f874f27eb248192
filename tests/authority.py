"""A certification authority for tests: certificates of every kind that a peer may show, good and bad."""

from __future__ import annotations

import datetime as dt
import functools
import ipaddress
import os
import socket
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
KeyKind = Literal["rsa", "ec", "rsa-1024"]
PEM = serialization.Encoding.PEM
BOTH_SIDES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
_DAY = dt.timedelta(days=1)


@functools.cache
def _rsa(bits: int, number: int) -> rsa.RSAPrivateKey:
    """Return a key; making one takes long enough that tests share them."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def make_key(kind: KeyKind = "ec", number: int = 0) -> Key:
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return _rsa(1024 if kind == "rsa-1024" else 2048, number)


def key_pem(key: Key, passphrase: str = "") -> bytes:
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, encryption)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate and its key, as files."""

    cert: Path
    key: Path
    x509: x509.Certificate

    @property
    def fingerprint(self) -> str:
        return "sha256:" + self.x509.fingerprint(hashes.SHA256()).hex()


class Authority:
    """A CA in a folder of its own; ``ca`` is its certificate."""

    def __init__(self, folder: Path, name: str = "Test CA", *, above: Authority | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = make_key()
        self._revoked: list[int] = []
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(above.name if above else self.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _DAY)
            .not_valid_after(now + 3650 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        )
        self.x509 = builder.sign((above or self).key, hashes.SHA256())
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(self.x509.public_bytes(PEM))

    def issue(
        self,
        name: str,
        names: Sequence[str] = ("127.0.0.1", "localhost"),
        *,
        days: float = 365,
        since: float = -1,
        key: KeyKind = "ec",
        number: int = 0,
        passphrase: str = "",
        usages: Sequence[x509.ObjectIdentifier] = BOTH_SIDES,
        self_signed: bool = False,
        sends_ca: bool = False,
    ) -> Identity:
        """Return a certificate that is good from ``since`` to ``days`` from now; files are called ``name``."""
        made = make_key(key, number)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self.name)
            .public_key(made.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + min(since, days - 1) * _DAY)
            .not_valid_after(now + days * _DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(n) for n in names]), critical=False
            )
        signed = builder.sign(made if self_signed else self.key, hashes.SHA256())
        cert, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        chain = signed.public_bytes(PEM) + (self.x509.public_bytes(PEM) if sends_ca else b"")
        cert.write_bytes(chain)
        key_file.write_bytes(key_pem(made, passphrase))
        return Identity(cert=cert, key=key_file, x509=signed)

    def revoke(self, identity: Identity) -> None:
        """Put a certificate on the next list."""
        self._revoked.append(identity.x509.serial_number)

    def crl(self, name: str = "crl.pem", *, days: float = 7, encoding: serialization.Encoding = PEM) -> Path:
        """Write the list of what was revoked."""
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(now - 30 * _DAY)
            .next_update(now + days * _DAY)
        )
        for serial in self._revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now - _DAY).build()
            builder = builder.add_revoked_certificate(entry)
        path = self.folder / name
        path.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(encoding))
        return path


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


# --- a peer that answers with TLS -----------------------------------------------------------------------------------------

_LINGER_SECONDS, _LINGER_BYTES = 0.5, 1 << 16


def shake_hands(context: ssl.SSLContext, connection: socket.socket, *, timeout: float = 10.0) -> ssl.SSLSocket:
    """Speak TLS on a connection that was accepted; it is closed where that fails, when the other side can have read the alert."""
    wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    wrapped.settimeout(timeout)
    try:
        wrapped.do_handshake()
    except OSError as error:
        if isinstance(error, ssl.SSLError):
            _linger(wrapped)
        wrapped.close()
        raise
    return wrapped


def _linger(connection: socket.socket) -> None:
    """Read away what was sent meanwhile: closing with something unread would lose our last word."""
    with suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as plain:
        plain.shutdown(socket.SHUT_WR)
        until, left = time.monotonic() + _LINGER_SECONDS, _LINGER_BYTES
        while left > 0 and (wait := until - time.monotonic()) > 0:
            plain.settimeout(wait)
            piece = plain.recv(min(left, 4096))
            if not piece:
                break
            left -= len(piece)
