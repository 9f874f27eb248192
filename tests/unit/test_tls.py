"""Who is believed in a TLS handshake, on both sides, and that a changed file is in force without a restart."""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import socket
import ssl
import subprocess
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from service.dimse import handshake, tls
from service.dimse.tls import ClientContexts, PeerCertificate, Secured, ServerContexts
from service.errors import ConfigurationError, PeerUnavailable
from service.settings import Local, Node, Settings, Tls
from tests.authority import Authority, Identity, key_pem, make_key, shake_hands
from tests.helpers import ROOT, require

Profile = Literal["B.12", "B.13"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "Stranger CA")


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Identity:
    return authority.issue("ours")


@pytest.fixture(scope="module")
def peer(authority: Authority) -> Identity:
    return authority.issue("peer", ["peer.example", "127.0.0.1", "urn://device/7"])


def settings(identity: Identity | None, *trusted: Authority, **more: Any) -> Settings:
    files = {"certificate": str(identity.cert), "key": str(identity.key)} if identity else {}
    return Settings(local=Local(port=0, tls_port=2762), tls=Tls(**files, ca=tuple(str(a.ca) for a in trusted), **more))


def node(**more: Any) -> Node:
    return Node(name="PEER", ae_title="PEER", port=2762, tls=True, **more)


#: what each side says of the other, or of what went wrong
Said = Secured | str


def meet(
    server: Callable[[socket.socket], ssl.SSLSocket],
    client: Callable[[socket.socket], ssl.SSLSocket],
    *,
    goodbye: bool = False,
) -> tuple[Said, Said]:
    """Let the two shake hands over loopback and exchange a byte, and perhaps part in order; return what each said."""
    said: dict[str, Said] = {}

    def side(name: str, act: Callable[[socket.socket], ssl.SSLSocket], connection: socket.socket) -> None:
        connection.settimeout(10)
        try:
            with act(connection) as wrapped:
                wrapped.sendall(b"x")
                if not wrapped.recv(1):
                    raise ConnectionResetError
                said[name] = tls.secured(wrapped)
                if goodbye:
                    handshake.say_goodbye(wrapped)
        except PeerUnavailable as error:
            said[name] = str(error)
        except OSError as error:
            said[name] = handshake.why(error)
        finally:
            connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        outgoing = socket.create_connection(listener.getsockname())
        incoming, _ = listener.accept()
        thread = threading.Thread(target=side, args=("server", server, incoming))
        thread.start()
        side("client", client, outgoing)
        thread.join(20)
    return said["server"], said["client"]


def we_answer(given: Settings) -> Callable[[socket.socket], ssl.SSLSocket]:
    contexts = ServerContexts(given)
    return lambda connection: shake_hands(contexts.current(), connection)


def we_call(given: Settings, whom: Node) -> Callable[[socket.socket], ssl.SSLSocket]:
    return lambda connection: handshake.connect(given, whom, connection, who="PEER")


def plain_context(
    side: int,
    identity: Identity | None,
    *,
    ciphers: str = "ALL:@SECLEVEL=0",
    highest: ssl.TLSVersion | None = None,
    demands: Authority | None = None,
) -> ssl.SSLContext:
    """Return the context of a peer that takes what it gets."""
    context = ssl.SSLContext(side)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if demands else ssl.CERT_NONE
    if demands:
        context.load_verify_locations(demands.ca)
    context.set_ciphers(ciphers)
    if identity:
        context.load_cert_chain(identity.cert, identity.key)
    if highest:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = min(highest, ssl.TLSVersion.TLSv1)
            context.maximum_version = highest
    return context


def peer_calls(identity: Identity | None, **how: Any) -> Callable[[socket.socket], ssl.SSLSocket]:
    context = plain_context(ssl.PROTOCOL_TLS_CLIENT, identity, **how)
    return context.wrap_socket


def peer_answers(identity: Identity, **how: Any) -> Callable[[socket.socket], ssl.SSLSocket]:
    context = plain_context(ssl.PROTOCOL_TLS_SERVER, identity, **how)

    return lambda connection: shake_hands(context, connection)


# --- who is believed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", ["B.12", "B.13"])
def test_both_sides_know_each_other(profile: Profile, authority: Authority, ours: Identity, peer: Identity) -> None:
    calling = settings(peer, authority, profile=profile)
    server, client = meet(we_answer(settings(ours, authority, profile=profile)), we_call(calling, node()))
    assert isinstance(server, Secured)
    assert isinstance(client, Secured)
    assert (server.version, client.version) == ("TLSv1.3", "TLSv1.3")
    assert server.peer.names == {"peer.example", "127.0.0.1", "urn://device/7"}
    assert server.peer.fingerprint == peer.fingerprint
    assert client.peer.fingerprint == ours.fingerprint
    assert client.peer.ends is not None
    assert client.peer.ends - dt.datetime.now(dt.UTC) > dt.timedelta(days=360)


def refused(authority: Authority, stranger: Authority, kind: str) -> tuple[Identity, str]:
    """Return an identity that must not be believed, and what is said of it."""
    if kind == "expired":
        return authority.issue(kind, days=-1), "its certificate has expired"
    if kind == "not yet valid":
        return authority.issue(kind, since=1), "its certificate is not valid yet"
    if kind == "self-signed":
        return authority.issue(kind, self_signed=True), "its certificate is self-signed and not in [tls] ca"
    if kind == "unknown CA":
        return stranger.issue(kind), "its certificate comes from a CA that is not in [tls] ca"
    if kind == "weak key":
        return authority.issue(kind, key="rsa-1024"), "the key of its certificate is too weak"
    revoked = authority.issue(kind)
    authority.revoke(revoked)
    return revoked, "its certificate was revoked"


KINDS = ["expired", "not yet valid", "self-signed", "unknown CA", "weak key", "revoked"]


@pytest.mark.parametrize("kind", KINDS)
def test_caller_that_is_not_believed_is_refused(
    kind: str, authority: Authority, stranger: Authority, ours: Identity
) -> None:
    identity, said = refused(authority, stranger, kind)
    given = settings(ours, authority, crl=(str(authority.crl()),) if kind == "revoked" else ())
    server, client = meet(we_answer(given), peer_calls(identity))
    assert isinstance(server, str)
    assert server.startswith(said)
    assert isinstance(client, str)


@pytest.mark.parametrize("kind", KINDS)
def test_peer_that_we_call_and_do_not_believe_gets_nothing(
    kind: str, authority: Authority, stranger: Authority, ours: Identity
) -> None:
    identity, said = refused(authority, stranger, kind)
    given = settings(ours, authority, crl=(str(authority.crl()),) if kind == "revoked" else ())
    server, client = meet(peer_answers(identity), we_call(given, node()))
    assert isinstance(client, str)
    assert client.startswith(f"PEER: TLS fails: {said}")
    assert isinstance(server, str)


def test_peer_is_called_by_its_name(authority: Authority, ours: Identity, peer: Identity) -> None:
    given = settings(ours, authority)
    for whom, said in (
        (node(host="127.0.0.1"), ""),
        (node(host="10.1.2.3"), "another address"),
        (node(host="other.example"), "another name"),
        (node(host="10.1.2.3", tls_name="PEER.example"), ""),
        (node(host="127.0.0.1", tls_name="ours.example"), "another name"),
        (node(host="10.1.2.3", tls_name=peer.fingerprint), ""),
        (node(host="127.0.0.1", tls_name=ours.fingerprint), "another fingerprint"),
    ):
        _, client = meet(peer_answers(peer), we_call(given, whom))
        if said:
            assert isinstance(client, str)
            assert said in client
        else:
            assert isinstance(client, Secured)


def test_name_in_the_subject_alone_is_no_name_but_its_fingerprint_may_be_named(
    authority: Authority, ours: Identity
) -> None:
    nameless = authority.issue("localhost", names=())
    given = settings(ours, authority)
    _, client = meet(peer_answers(nameless), we_call(given, node(host="localhost")))
    assert isinstance(client, str)
    _, client = meet(peer_answers(nameless), we_call(given, node(tls_name=nameless.fingerprint)))
    assert isinstance(client, Secured)
    assert client.peer.names == frozenset()


def test_fingerprint_does_not_stand_for_the_ca(stranger: Authority, authority: Authority, ours: Identity) -> None:
    foreign = stranger.issue("foreign")
    _, client = meet(peer_answers(foreign), we_call(settings(ours, authority), node(tls_name=foreign.fingerprint)))
    assert isinstance(client, str)
    assert "CA that is not in [tls] ca" in client


@pytest.mark.parametrize("side", ["server", "client"])
def test_certificate_that_is_meant_for_the_other_side_is_refused(
    side: str, authority: Authority, ours: Identity
) -> None:
    usage = ExtendedKeyUsageOID.CLIENT_AUTH if side == "client" else ExtendedKeyUsageOID.SERVER_AUTH
    wrong = authority.issue(f"for {side}", usages=[usage])
    if side == "server":
        said, _ = meet(we_answer(settings(ours, authority)), peer_calls(wrong))
    else:
        _, said = meet(peer_answers(wrong), we_call(settings(ours, authority), node()))
    assert "not meant for this side" in str(said)


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["1.0", "1.1"])
def test_old_protocols_are_refused_both_ways(
    highest: ssl.TLSVersion, authority: Authority, ours: Identity, peer: Identity
) -> None:
    given = settings(ours, authority)
    server, client = meet(we_answer(given), peer_calls(peer, highest=highest))
    assert server == "it speaks an old version of TLS (1.2 or 1.3 is needed)"
    assert isinstance(client, str)
    server, client = meet(peer_answers(peer, highest=highest), we_call(given, node()))
    assert isinstance(server, str)
    assert "version of TLS" in str(client)


def test_tls_1_2_is_taken_with_suites_that_keep_secrets(authority: Authority, ours: Identity, peer: Identity) -> None:
    rsa = authority.issue("rsa", key="rsa")
    for identity, suite in ((ours, "ECDHE-ECDSA-AES256-GCM-SHA384"), (rsa, "ECDHE-RSA-AES256-GCM-SHA384")):
        server, _ = meet(we_answer(settings(identity, authority)), peer_calls(peer, highest=ssl.TLSVersion.TLSv1_2))
        assert isinstance(server, Secured)
        assert (server.version, server.cipher) == ("TLSv1.2", suite)


@pytest.mark.parametrize(
    ("suite", "profiles"),
    [
        ("ECDHE-RSA-AES128-GCM-SHA256", {"B.12", "B.13"}),
        ("ECDHE-RSA-CHACHA20-POLY1305", {"B.12", "B.13"}),
        ("ECDHE-ECDSA-AES256-CCM", {"B.13"}),
        ("ECDHE-ECDSA-AES128-CCM", {"B.13"}),
        ("AES128-SHA", set()),
        ("AES256-GCM-SHA384", set()),
        ("ECDHE-RSA-AES256-SHA384", set()),
        ("DHE-RSA-AES256-GCM-SHA384", set()),
        ("NULL-SHA256", set()),
    ],
)
def test_suites_are_those_of_the_profile(
    suite: str, profiles: set[str], authority: Authority, ours: Identity, peer: Identity
) -> None:
    identity = ours if "ECDSA" in suite else authority.issue("rsa", key="rsa")
    for profile in ("B.12", "B.13"):
        given = settings(identity, authority, profile=profile)
        server, _ = meet(
            we_answer(given), peer_calls(peer, ciphers=f"{suite}:@SECLEVEL=0", highest=ssl.TLSVersion.TLSv1_2)
        )
        if profile in profiles:
            assert isinstance(server, Secured)
            assert server.cipher == suite
        else:
            assert server == "it has no cipher suite in common with us"


@pytest.mark.parametrize("highest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_mutual_demands_a_certificate_and_otherwise_a_good_one_may_be_shown(
    highest: ssl.TLSVersion, authority: Authority, stranger: Authority, ours: Identity, peer: Identity
) -> None:
    demanding, lenient = (settings(ours, authority, mutual=m) for m in (True, False))
    server, _ = meet(we_answer(demanding), peer_calls(None, highest=highest))
    assert server == "it shows no certificate"
    server, client = meet(we_answer(lenient), peer_calls(None, highest=highest))
    assert isinstance(server, Secured)
    assert isinstance(client, Secured)
    assert server.peer == PeerCertificate()
    server, _ = meet(we_answer(lenient), peer_calls(peer, highest=highest))
    assert isinstance(server, Secured)
    assert "peer.example" in server.peer.names
    server, _ = meet(we_answer(lenient), peer_calls(stranger.issue("bad"), highest=highest))
    assert "not in [tls] ca" in str(server)


def test_our_certificate_is_shown_where_it_is_asked_for(
    authority: Authority, stranger: Authority, ours: Identity, peer: Identity
) -> None:
    server, client = meet(peer_answers(peer, demands=authority), we_call(settings(ours, authority), node()))
    assert isinstance(server, Secured)
    assert isinstance(client, Secured)
    _, client = meet(peer_answers(peer, demands=authority), we_call(settings(None, authority), node()))
    assert "[tls] certificate" in str(client)
    _, client = meet(peer_answers(peer, demands=stranger), we_call(settings(ours, authority), node()))
    assert client == "it does not know the CA of our certificate"


def test_certificate_between_ours_and_the_ca_is_sent_and_known(
    authority: Authority, ours: Identity, tmp_path: Path
) -> None:
    between = Authority(tmp_path, "Between", above=authority)
    for sends, believed in ((True, True), (False, False)):
        server, _ = meet(we_answer(settings(ours, authority)), peer_calls(between.issue("leaf", sends_ca=sends)))
        assert isinstance(server, Secured) is believed
    assert "between them was not sent" in str(server)


def test_two_cas_are_believed_while_one_replaces_the_other(
    authority: Authority, stranger: Authority, ours: Identity, peer: Identity
) -> None:
    answer = we_answer(settings(ours, authority, stranger))
    for identity in (peer, stranger.issue("new")):
        server, _ = meet(answer, peer_calls(identity))
        assert isinstance(server, Secured)


def test_revocation_list_that_is_missing_or_old_lets_nobody_in(
    authority: Authority, stranger: Authority, ours: Identity, peer: Identity
) -> None:
    for crl, said in (
        (stranger.crl(), "there is no revocation list of its CA in [tls] crl"),
        (authority.crl("old.pem", days=-1), "the revocation list of its CA in [tls] crl has expired"),
    ):
        server, _ = meet(we_answer(settings(ours, authority, crl=(str(crl),))), peer_calls(peer))
        assert server == said


def test_what_speaks_no_tls_is_told_apart(ours: Identity, authority: Authority) -> None:
    given = settings(ours, authority)
    for sent, said in (
        (b"\x01\x00\x00\x00\x00\xcd" + bytes(205), "it speaks no TLS"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "it speaks HTTP"),
        (b"", "it left in the middle of the TLS handshake"),
    ):

        def speak(connection: socket.socket, sent: bytes = sent) -> ssl.SSLSocket:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(100)
            raise ConnectionResetError

        server, _ = meet(we_answer(given), speak)
        assert server == said


def test_silent_server_is_given_up(authority: Authority) -> None:
    given = Settings(tls=Tls(ca=(str(authority.ca),)), outgoing={"timeout_seconds": 0.2})  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = socket.create_connection(listener.getsockname())
        with pytest.raises(PeerUnavailable, match=r"PEER: TLS fails: it does not answer in time"):
            handshake.connect(given, node(), connection, who="PEER")
        assert connection.fileno() == -1


def test_name_that_can_be_none_is_told(authority: Authority) -> None:
    given = settings(None, authority)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = socket.create_connection(listener.getsockname())
        with pytest.raises(
            PeerUnavailable, match=r"cannot be the name of a certificate: set tls_name of \[\[nodes\]\] PEER"
        ):
            handshake.connect(given, node(tls_name="." + "x" * 80), connection, who="PEER")
        assert connection.fileno() == -1


# --- names ---------------------------------------------------------------------------------------------------------------


def test_names_and_fingerprints_are_compared_in_one_spelling() -> None:
    shown = PeerCertificate(names=frozenset({"a.example", "2001:db8::1"}), fingerprint="sha256:" + "ab" * 32)
    for wanted in ("A.Example", "2001:DB8:0::1", "SHA256:" + ":".join(["AB"] * 32)):
        bound = Node.model_validate({"name": "A", "ae_title": "A", "certificate": [wanted]})
        assert shown.is_one_of(bound.certificate)
    for wanted in ("b.example", "*.example", "sha256:" + "cd" * 32):
        bound = Node.model_validate({"name": "A", "ae_title": "A", "certificate": [wanted]})
        assert not shown.is_one_of(bound.certificate)
    assert not PeerCertificate(names=frozenset({"a.example"})).is_one_of(("a.example",))


# --- files that change ---------------------------------------------------------------------------------------------------


def served(contexts: ServerContexts) -> str:
    """Return the fingerprint that callers see now."""
    contexts._look_at = 0
    _, client = meet(lambda c: shake_hands(contexts.current(), c), peer_calls(None))
    assert isinstance(client, Secured)
    return client.peer.fingerprint


def replace(to: Identity, cert: Path, key: Path) -> None:
    for source, target in ((to.cert, cert), (to.key, key)):
        new = target.with_suffix(".new")
        new.write_bytes(source.read_bytes())
        new.replace(target)


@pytest.fixture
def files(tmp_path: Path, ours: Identity) -> tuple[Path, Path]:
    cert, key = tmp_path / "live.pem", tmp_path / "live.key"
    replace(ours, cert, key)
    return cert, key


def test_changed_files_are_in_force_for_new_connections_and_open_ones_stay(
    files: tuple[Path, Path], authority: Authority, ours: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lms_sr")
    cert, key = files
    contexts = ServerContexts(
        Settings(tls=Tls(certificate=str(cert), key=str(key), ca=(str(authority.ca),), mutual=False))
    )
    assert served(contexts) == ours.fingerprint
    before = contexts.current()
    assert contexts.current() is before

    opened = threading.Event()
    changed = threading.Event()

    def stays_open(connection: socket.socket) -> ssl.SSLSocket:
        wrapped = shake_hands(contexts.current(), connection)
        opened.set()
        assert changed.wait(10)
        return wrapped

    said: list[tuple[Said, Said]] = []
    thread = threading.Thread(target=lambda: said.append(meet(stays_open, peer_calls(None))))
    thread.start()
    assert opened.wait(10)
    renewed = authority.issue("renewed")
    replace(renewed, cert, key)
    assert served(contexts) == renewed.fingerprint
    changed.set()
    thread.join(10)
    # the one that was open has gone on with the old certificate
    assert isinstance(said[0][1], Secured)
    assert said[0][1].peer.fingerprint == ours.fingerprint
    assert [r.getMessage() for r in caplog.records] == ["tls_reloaded"]


def test_files_are_looked_at_once_a_second(files: tuple[Path, Path], authority: Authority) -> None:
    cert, key = files
    contexts = ServerContexts(Settings(tls=Tls(certificate=str(cert), key=str(key), ca=(str(authority.ca),))))
    before = contexts.current()
    replace(authority.issue("early"), cert, key)
    assert contexts.current() is before
    contexts._look_at -= 1
    assert contexts.current() is not before


def test_what_cannot_be_read_leaves_the_old_in_force_and_is_told_once(
    files: tuple[Path, Path], authority: Authority, ours: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lms_sr")
    cert, key = files
    contexts = ServerContexts(
        Settings(tls=Tls(certificate=str(cert), key=str(key), ca=(str(authority.ca),), mutual=False))
    )
    assert served(contexts) == ours.fingerprint
    renewed = authority.issue("half")
    # the certificate is there, its key not yet
    cert.write_bytes(renewed.cert.read_bytes())
    assert [served(contexts) for _ in range(3)] == [ours.fingerprint] * 3
    assert [r.getMessage() for r in caplog.records] == ["tls_reload_failed"]
    assert "is not the key of the certificate" in caplog.records[0].ids["why"]  # type: ignore[attr-defined]
    key.unlink()
    assert served(contexts) == ours.fingerprint
    key.write_bytes(renewed.key.read_bytes())
    assert served(contexts) == renewed.fingerprint
    assert [r.getMessage() for r in caplog.records] == ["tls_reload_failed", "tls_reload_failed", "tls_reloaded"]


def test_revocation_counts_from_the_moment_that_the_list_is_there(
    authority: Authority, ours: Identity, peer: Identity, tmp_path: Path
) -> None:
    mine = Authority(tmp_path, "Mine")
    caller = mine.issue("caller")
    crl = mine.crl()
    contexts = ServerContexts(settings(ours, mine, crl=(str(crl),)))
    for highest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        server, _ = meet(lambda c: shake_hands(contexts.current(), c), peer_calls(caller, highest=highest))
        assert isinstance(server, Secured)
    mine.revoke(caller)
    mine.crl()
    contexts._look_at = 0
    server, _ = meet(lambda c: shake_hands(contexts.current(), c), peer_calls(caller))
    assert server == "its certificate was revoked"


def test_session_that_is_resumed_keeps_its_certificate_and_ends_with_the_files(ours: Identity, tmp_path: Path) -> None:
    mine = Authority(tmp_path, "Mine")
    caller = mine.issue("caller", ["caller.example"])
    contexts = ServerContexts(settings(ours, mine, crl=(str(mine.crl()),)))
    context = plain_context(ssl.PROTOCOL_TLS_CLIENT, caller, highest=ssl.TLSVersion.TLSv1_2)
    sessions: list[Any] = [None]
    resumed: list[bool | None] = []

    def answer(connection: socket.socket) -> ssl.SSLSocket:
        contexts._look_at = 0
        return shake_hands(contexts.current(), connection)

    def call(connection: socket.socket) -> ssl.SSLSocket:
        wrapped = context.wrap_socket(connection, session=sessions[-1])
        sessions.append(wrapped.session)
        resumed.append(wrapped.session_reused)
        return wrapped

    for _ in range(2):
        server, _ = meet(answer, call, goodbye=True)
        assert isinstance(server, Secured)
        assert server.peer.names == {"caller.example"}
    assert resumed == [False, True]
    mine.revoke(caller)
    mine.crl()
    server, _ = meet(answer, call)
    assert server == "its certificate was revoked"


def test_commands_of_the_documentation_make_files_that_work(tmp_path: Path) -> None:
    require("openssl", "apt install openssl")
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    (script,) = (block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "openssl" in block)
    done = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    def side(who: str) -> Settings:
        files = {"certificate": str(tmp_path / f"{who}.pem"), "key": str(tmp_path / f"{who}.key")}
        return Settings(tls=Tls(**files, ca=(str(tmp_path / "ca.pem"),), crl=(str(tmp_path / "crl.pem"),)))

    server, client = meet(we_answer(side("lms-sr")), we_call(side("pacs"), node(tls_name="lms-sr.hospital.example")))
    assert isinstance(client, Secured)
    assert isinstance(server, Secured)
    assert "pacs.hospital.example" in server.peer.names
    revoke = "openssl ca -config ca.conf -cert ca.pem -keyfile ca.key"
    again = f"{revoke} -revoke pacs.pem && {revoke} -gencrl -out crl.pem"
    subprocess.run(["bash", "-euc", again], cwd=tmp_path, capture_output=True, check=True)
    server, _ = meet(we_answer(side("lms-sr")), we_call(side("pacs"), node(tls_name="lms-sr.hospital.example")))
    assert server == "its certificate was revoked"


def test_client_contexts_are_shared_and_follow_their_files(
    files: tuple[Path, Path], authority: Authority, ours: Identity, peer: Identity
) -> None:
    cert, key = files
    given = Settings(tls=Tls(certificate=str(cert), key=str(key), ca=(str(authority.ca),)))
    contexts = tls.client_contexts(given)
    assert tls.client_contexts(given.model_copy()) is contexts
    server, _ = meet(peer_answers(peer, demands=authority), we_call(given, node()))
    assert isinstance(server, Secured)
    assert server.peer.fingerprint == ours.fingerprint
    renewed = authority.issue("client renewed")
    replace(renewed, cert, key)
    contexts._look_at = 0
    server, _ = meet(peer_answers(peer, demands=authority), we_call(given, node()))
    assert isinstance(server, Secured)
    assert server.peer.fingerprint == renewed.fingerprint


# --- files that cannot be used -------------------------------------------------------------------------------------------


def test_passphrase_comes_from_the_setting_or_a_file(authority: Authority, tmp_path: Path) -> None:
    locked = authority.issue("locked", passphrase="hunter2")
    word = tmp_path / "word"
    word.write_text("hunter2\n")
    base = {"certificate": str(locked.cert), "key": str(locked.key), "ca": (str(authority.ca),)}
    for more in ({"key_passphrase": "hunter2"}, {"key_passphrase_file": str(word)}):
        assert ServerContexts(Settings(tls=Tls.model_validate({**base, **more}))).current()
    word.write_text("hunter3\n")
    for more, said in (
        ({}, "set [tls] key_passphrase or key_passphrase_file"),
        ({"key_passphrase": "hunter3"}, "does not open with the passphrase: it is another one"),
        ({"key_passphrase_file": str(word)}, "does not open with the passphrase: it is another one"),
        ({"key_passphrase_file": "/nowhere"}, "[tls] key_passphrase_file: /nowhere cannot be read"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            ServerContexts(Settings(tls=Tls.model_validate({**base, **more}))).current()
        assert said in str(caught.value)
        assert "hunter" not in str(caught.value)


def test_passphrase_file_is_read_again_with_the_key(authority: Authority, tmp_path: Path) -> None:
    first, second = authority.issue("first", passphrase="one"), authority.issue("second", passphrase="two")
    cert, key, word = tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "word"
    replace(first, cert, key)
    word.write_text("one")
    given = Tls(
        certificate=str(cert), key=str(key), key_passphrase_file=str(word), ca=(str(authority.ca),), mutual=False
    )
    contexts = ServerContexts(Settings(tls=given))
    assert served(contexts) == first.fingerprint
    replace(second, cert, key)
    word.write_text("two!".rstrip("!"))
    os.utime(word, ns=(1, 1))
    assert served(contexts) == second.fingerprint


def test_what_is_wrong_at_the_start_is_named_with_the_way_out(
    authority: Authority, ours: Identity, peer: Identity, tmp_path: Path
) -> None:
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing\n")
    weak = authority.issue("weak", key="rsa-1024")
    in_one = tmp_path / "one.pem"
    in_one.write_bytes(ours.cert.read_bytes() + ours.key.read_bytes())
    good: dict[str, Any] = {"certificate": str(ours.cert), "key": str(ours.key), "ca": (str(authority.ca),)}
    assert ServerContexts(Settings(tls=Tls.model_validate({**good, "certificate": str(in_one), "key": ""}))).current()
    for changes, said in (
        ({"certificate": "/nowhere.pem"}, "[tls] certificate: /nowhere.pem cannot be read (No such file or directory)"),
        ({"certificate": str(nothing)}, f"[tls] certificate: {nothing} holds no certificate"),
        ({"key": "/nowhere.key"}, "[tls] key: /nowhere.key cannot be read, or holds no private key"),
        ({"key": str(nothing)}, f"[tls] key: {nothing} cannot be read, or holds no private key"),
        ({"key": ""}, f"[tls] key: {ours.cert} cannot be read, or holds no private key"),
        ({"key": str(peer.key)}, f"[tls] key: {peer.key} is not the key of the certificate {ours.cert}"),
        ({"certificate": str(weak.cert), "key": str(weak.key)}, f"[tls] certificate: {weak.cert} is too weak"),
        ({"ca": (str(nothing),)}, f"[tls] ca: {nothing} holds no certificate"),
        ({"ca": ("/nowhere.pem",)}, "[tls] ca: /nowhere.pem cannot be read"),
        ({"crl": (str(nothing),)}, f"[tls] crl: {nothing} holds no revocation list"),
        ({"crl": ("/nowhere.pem",)}, "[tls] crl: /nowhere.pem cannot be read"),
    ):
        given = Settings(tls=Tls.model_validate({**good, **changes}), local=Local(tls_port=2762))
        for use in (ServerContexts(given).current, ClientContexts(given).current, lambda g=given: tls.verify(g)):
            with pytest.raises(ConfigurationError) as caught:
                use()
            assert said in str(caught.value)


def test_settings_without_tls_need_no_files() -> None:
    tls.verify(Settings())
    with pytest.raises(ConfigurationError):
        tls.verify(Settings(nodes=(node(),), tls=Tls(ca=("/nowhere.pem",))))


def test_key_helper_makes_what_openssl_reads(tmp_path: Path) -> None:
    assert b"ENCRYPTED" in key_pem(make_key(), "word")
