"""The TLS handshake on a connection that we open, and what a handshake is said to have failed of, on either side.

That of a connection that was accepted is made by ``service.dimse.entrance``, which waits for nobody.
"""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Final

from service.dimse.tls import ClientContexts, client_contexts, peer_names
from service.errors import PeerUnavailable
from service.settings import FINGERPRINT, Node, Settings

#: seconds from the connection to the end of the handshake, whatever the peer sends meanwhile
HANDSHAKE_TIMEOUT: Final = 10.0

#: X509_V_ERR_*: what was wrong with a certificate
_NOT_BELIEVED: Final = {
    3: "there is no revocation list of its CA in [tls] crl",
    9: "its certificate is not valid yet: see the clocks of both machines",
    10: "its certificate has expired",
    11: "the revocation list of its CA is not valid yet: see the clock of this machine",
    12: "the revocation list of its CA in [tls] crl has expired",
    18: "its certificate is self-signed and not in [tls] ca",
    19: "its certificate comes from a CA that is not in [tls] ca",
    20: "its certificate comes from a CA that is not in [tls] ca, or a certificate between them was not sent",
    21: "its certificate comes from a CA that is not in [tls] ca, or a certificate between them was not sent",
    23: "its certificate was revoked",
    26: "its certificate is not meant for this side of a connection (extended key usage)",
    62: "its certificate has another name than tls_name, or else host, says",
    64: "its certificate has another address than tls_name, or else host, says",
    66: "the key of its certificate is too weak",
    67: "the key of its CA is too weak",
    68: "its certificate is signed with an algorithm that is too weak",
}
#: OpenSSL's reasons: what else may go wrong with a handshake
_NOT_AGREED: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it shows no certificate",
    "UNSUPPORTED_PROTOCOL": "it speaks an old version of TLS (1.2 or 1.3 is needed)",
    "TLSV1_ALERT_PROTOCOL_VERSION": "it speaks another version of TLS (1.2 or 1.3 is needed)",
    "NO_SHARED_CIPHER": "it has no cipher suite in common with us",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it has nothing in common with us, or misses our certificate",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "it has no cipher suite in common with us",
    "WRONG_VERSION_NUMBER": "it speaks no TLS",
    "HTTP_REQUEST": "it speaks HTTP",
    "RECORD_LAYER_FAILURE": "it speaks no TLS",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not know the CA of our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it wants to see a certificate of ours: set [tls] certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not believe our certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not believe our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "our certificate was revoked",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it says that our certificate is not meant for this (extended key usage)",
    "TLSV1_ALERT_ACCESS_DENIED": "it denies us access",
    "TLSV1_UNRECOGNIZED_NAME": "it does not know the name that we call it by: see host and tls_name",
}


def why(error: OSError) -> str:
    """Say what went wrong between us and a peer that speaks TLS, or should."""
    if isinstance(error, ssl.SSLCertVerificationError):
        said = getattr(error, "verify_message", "") or "certificate verify failed"
        return _NOT_BELIEVED.get(getattr(error, "verify_code", 0), f"its certificate is not believed ({said})")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "it left in the middle of the TLS handshake"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        return _NOT_AGREED.get(reason, f"TLS fails ({reason.lower().replace('_', ' ') or 'no reason'})")
    if isinstance(error, _OtherFingerprint):
        return "its certificate has another fingerprint than tls_name says"
    if isinstance(error, TimeoutError):
        return "it does not answer in time: does it speak TLS on this port?"
    return "it broke the connection"


def _close(connections: list[socket.socket]) -> None:
    for connection in connections:
        with suppress(OSError):
            connection.close()


def connect(settings: Settings, node: Node, connection: socket.socket, *, who: str) -> ssl.SSLSocket:
    """Speak TLS on a connection that we opened to a node, and see that it is the node.

    Parameters
    ----------
    who:
        How messages call the node.

    Raises
    ------
    PeerUnavailable
        No TLS with it, or it is not who it should be. Trying again may help: certificates are renewed.
    ConfigurationError
        Our own files cannot be used.
    """
    contexts = client_contexts(settings)
    try:
        secured = _call(contexts, node, connection, seconds=min(HANDSHAKE_TIMEOUT, settings.outgoing.timeout_seconds))
    except OSError as error:
        msg = f"{who}: TLS fails: {why(error)}"
        raise PeerUnavailable(msg) from error
    except ValueError as error:
        msg = f"{who}: '{node.tls_name or node.host}' cannot be the name of a certificate: set tls_name of [[nodes]] {node.name}"
        raise PeerUnavailable(msg) from error
    secured.settimeout(settings.outgoing.timeout_seconds)
    return secured


def _call(contexts: ClientContexts, node: Node, connection: socket.socket, *, seconds: float) -> ssl.SSLSocket:
    name = node.tls_name or node.host
    pinned = name.startswith(FINGERPRINT)
    opened: list[socket.socket] = [connection]
    try:
        context = contexts.current(by_name=not pinned)
        called = None if pinned else name
        if called:
            # ssl does the same, and loses the connection where it fails
            called.encode("idna")
        wrapped = context.wrap_socket(connection, server_hostname=called, do_handshake_on_connect=False)
        opened.append(wrapped)
        wrapped.settimeout(seconds)
        wrapped.do_handshake()
        if pinned:
            _must_be(wrapped, name)
    except BaseException:
        _close(opened)
        raise
    return wrapped


def _must_be(wrapped: ssl.SSLSocket, fingerprint: str) -> None:
    if not peer_names(wrapped).is_one_of((fingerprint,)):
        raise _OtherFingerprint


class _OtherFingerprint(ConnectionError):
    """A certificate that is believed, and is not the one that ``tls_name`` names."""


def say_goodbye(connection: ssl.SSLSocket) -> None:
    """Send close_notify (RFC 8446 6.1) without waiting for the answer."""
    with suppress(OSError, ValueError):
        connection.settimeout(0)
        connection.unwrap()
