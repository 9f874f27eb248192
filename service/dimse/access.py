"""Who may associate with us, and do what. Decisions only: nothing here waits for a peer.

A caller is known by its AE title and its address together. Neither is a proof of who it is, but both keep the wrong sender
out, and say which of the two is wrong. Proof is a certificate: where a node names one, it has to be shown.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from service.dimse.tls import PeerCertificate
from service.settings import Node, Settings

Operation = Literal["associate", "echo", "store"]
Failed = Literal["", "called", "calling", "address", "certificate", "operation", "limit"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# PS3.8 Table 9-21
REJECTED_PERMANENT: Final = 1
REJECTED_TRANSIENT: Final = 2
SOURCE_USER: Final = 1
SOURCE_PRESENTATION: Final = 3
NO_REASON: Final = 1
LOCAL_LIMIT_EXCEEDED: Final = 2
CALLING_NOT_RECOGNISED: Final = 3
CALLED_NOT_RECOGNISED: Final = 7

#: names are looked up again after this many seconds
_NAME_LIFETIME = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """A decision.

    Where it is no, ``failed`` says what failed, ``why`` says it to an administrator (never to the peer), and ``result``,
    ``source`` and ``reason`` are the peer's answer (A-ASSOCIATE-RJ, PS3.8 Table 9-21).
    """

    node: Node | None = None
    failed: Failed = ""
    why: str = ""
    result: int = 0
    source: int = 0
    reason: int = 0

    @property
    def granted(self) -> bool:
        """Say whether the answer is yes."""
        return not self.failed


def called_titles(settings: Settings) -> frozenset[str]:
    """Return the AE titles that we answer to."""
    return frozenset((settings.local.ae_title, *settings.triage.always))


def decide(
    settings: Settings,
    called: str,
    calling: str,
    address: str,
    operation: Operation = "associate",
    *,
    certificate: PeerCertificate | None = None,
    addresses_of: Callable[[str], frozenset[Address]] | None = None,
) -> Access:
    """Decide whether a peer may associate (``associate``), and whether it may then do what it asks for.

    Parameters
    ----------
    called, calling:
        The AE titles of the A-ASSOCIATE-RQ; spaces around them do not count (PS3.8 9.3.2).
    address:
        The peer's IP address.
    operation:
        What it wants to do.
    certificate:
        Which one it showed, verified, in the TLS handshake; None: it called without TLS.
    addresses_of:
        How host names become addresses; by default the system's resolver, remembered for a minute.
    """
    called, calling = called.strip(), calling.strip()
    if called not in called_titles(settings):
        ours = ", ".join(sorted(called_titles(settings)))
        why = f"called AE title '{_plain(called)}' is not ours ({ours})"
        return _rejected("called", why, CALLED_NOT_RECOGNISED)
    candidates = [node for node in (*settings.nodes, _ourselves(settings)) if node.ae_title == calling]
    if not candidates:
        why = f"calling AE title '{_plain(calling)}' belongs to no node: add one to [[nodes]]"
        return _rejected("calling", why, CALLING_NOT_RECOGNISED)
    there = [n for n in candidates if _may_call_from(n, address, addresses_of or resolve)]
    if not there:
        places = ", ".join(place for n in candidates for place in (n.from_ or (n.host,)))
        why = f"address {_plain(address)} is not where '{_plain(calling)}' may call from ({places}): see `from` in [[nodes]]"
        return _rejected("address", why, NO_REASON)
    found = next((n for n in there if _is_proven(n, certificate)), None)
    if found is None:
        return _rejected("certificate", _unproven(there, certificate), NO_REASON)
    if operation != "associate" and operation not in found.may:
        why = f"node {found.name} may not {operation}: see `may` in [[nodes]]"
        return Access(node=found, failed="operation", why=why)
    return Access(node=found)


def needs_names(settings: Settings, calling: str) -> bool:
    """Say whether deciding about a caller of this title asks the resolver for a host name, and so may take its time."""
    return any(
        not _is_network(place)
        for node in settings.nodes
        if node.ae_title == calling.strip()
        for place in node.from_ or (node.host,)
    )


def node_named(settings: Settings, name: str) -> Node | None:
    """Return the node that `decide` found, by its name."""
    return settings.node(name) or next((n for n in [_ourselves(settings)] if n.name == name), None)


def _is_network(place: str) -> bool:
    try:
        ipaddress.ip_network(place, strict=False)
    except ValueError:
        return False
    return True


def _ourselves(settings: Settings) -> Node:
    """Return ourselves as a node: from this machine, by our own title, for C-ECHO only (``lms-sr health``)."""
    local = settings.local
    places = ("127.0.0.0/8", "::1") if local.bind in {"0.0.0.0", "::"} else (local.bind,)  # noqa: S104 - what "all" is called
    return Node.model_construct(name="self", ae_title=local.ae_title, host=local.bind, from_=places, may=("echo",))


def resolve(host: str) -> frozenset[Address]:
    """Return the addresses of ``host``: an address, or a name that the system resolves; empty where it does not."""
    try:
        return frozenset({_plain_address(host)})
    except ValueError:
        return _names.look_up(host)


def _rejected(failed: Failed, why: str, reason: int) -> Access:
    return Access(failed=failed, why=why, result=REJECTED_PERMANENT, source=SOURCE_USER, reason=reason)


def _is_proven(node: Node, certificate: PeerCertificate | None) -> bool:
    return not node.certificate or (certificate is not None and certificate.is_one_of(node.certificate))


def _unproven(nodes: list[Node], certificate: PeerCertificate | None) -> str:
    names = ", ".join(node.name for node in nodes)
    if certificate is None:
        return f"node {names} has to call with TLS, since it has a certificate in [[nodes]]: it called without"
    if not certificate.fingerprint:
        return f"node {names} has to show its certificate: it showed none"
    shown = ", ".join((*sorted(_plain(name) for name in certificate.names), certificate.fingerprint))
    return f"its certificate ({shown}) is not that of node {names}: see `certificate` in [[nodes]]"


def _may_call_from(node: Node, address: str, addresses_of: Callable[[str], frozenset[Address]]) -> bool:
    try:
        caller = _plain_address(address)
    except ValueError:
        return False
    for place in node.from_ or (node.host,):
        try:
            if caller in ipaddress.ip_network(place, strict=False):
                return True
        except ValueError:
            if caller in addresses_of(place):
                return True
    return False


def _plain_address(text: str) -> Address:
    """Return an address without its scope, and an IPv4 address inside an IPv6 one as what it is."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _plain(text: str) -> str:
    """Return a peer's text so that it cannot break a log line."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text[:64])


class _Names:
    """Host names that were looked up lately. A name that does not resolve is asked for again the next time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, frozenset[Address]]] = {}

    def look_up(self, host: str) -> frozenset[Address]:
        """Return the addresses of ``host``."""
        with self._lock:
            until, known = self._known.get(host, (0.0, frozenset()))
        if time.monotonic() < until:
            return known
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            # the resolver is down: better a name of a minute ago than a scanner that is locked out
            return known
        found = frozenset(_plain_address(str(answer[4][0])) for answer in answers)
        with self._lock:
            self._known[host] = (time.monotonic() + _NAME_LIFETIME, found)
        return found


_names = _Names()
