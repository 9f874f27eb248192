"""DICOM over TLS through real listeners: who gets in, who is harmed by whom, and files that change while the service runs."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from service.clock import ManualClock
from service.demo.process import ServiceProcess, write_settings
from service.dimse import scu, tls
from service.dimse.scp import Receiver
from service.dimse.scu import COMPREHENSIVE_SR
from service.errors import ConfigurationError, PeerUnavailable, Rejected
from service.settings import Database, Local, Node, Outgoing, Settings, Storage, Tls
from service.store.file_meta import FileMeta
from service.store.spool import Spool, key_of, read_meta
from tests.authority import Authority, Identity
from tests.commands import lms_sr
from tests.dicom_bytes import CT, EXPLICIT, INSTANCE, data_set
from tests.helpers import free_port
from tests.raw_peer import ABORT, ASSOCIATE_AC, ASSOCIATE_RJ, RELEASE_RP, RawPeer, associate_rq


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Identity:
    return authority.issue("ours", ["lms-sr.example", "127.0.0.1"])


@pytest.fixture(scope="module")
def device(authority: Authority) -> Identity:
    return authority.issue("device", ["device.example"])


@pytest.fixture(scope="module")
def other(authority: Authority) -> Identity:
    return authority.issue("other", ["other.example"])


def until(condition: Callable[[], object], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class TlsPeer(RawPeer):
    """A caller that speaks TLS, and asks nobody who he is."""

    def __init__(self, port: int, identity: Identity | None) -> None:
        super().__init__(port)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if identity:
            context.load_cert_chain(identity.cert, identity.key)
        self.secured = self.socket = context.wrap_socket(self.socket)

    @property
    def seen(self) -> str:
        """The fingerprint that the other side has shown."""
        return tls.peer_names(self.secured).fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    receiver: Receiver
    spool: Spool
    caplog: pytest.LogCaptureFixture

    @property
    def tls_port(self) -> int:
        return self.receiver.tls_port

    def records(self, event: str) -> list[dict[str, Any]]:
        return [getattr(r, "ids", {}) for r in self.caplog.records if r.getMessage() == event]

    def told(self, event: str) -> dict[str, Any]:
        assert until(lambda: len(self.records(event)) == 1), [r.getMessage() for r in self.caplog.records]
        return self.records(event)[0]


Start = Callable[..., Rig]


@pytest.fixture
def start(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    authority: Authority,
    ours: Identity,
    device: Identity,
) -> Iterator[Start]:
    # callers that look at the certificate and leave
    monkeypatch.setattr("service.dimse.scp.ASSOCIATE_TIMEOUT", 1.0, raising=False)
    caplog.set_level(logging.DEBUG, "lms_sr")
    started: list[Receiver] = []

    def begin(*, cleartext: bool = True, local: dict[str, Any] | None = None, **more: Any) -> Rig:
        spool = Spool(tmp_path / "spool", reserve_mb=0)
        spool.prepare()
        given = {"certificate": str(ours.cert), "key": str(ours.key), "ca": (str(authority.ca),), **more}
        settings = Settings(
            local=Local(port=11112 if cleartext else 0, tls_port=2762, **(local or {})),
            tls=Tls(**given),
            nodes=(
                Node(name="PACS", ae_title="PACS"),
                Node(name="DEVICE", ae_title="DEVICE", certificate=("device.example",)),
                Node(name="PINNED", ae_title="PINNED", certificate=(device.fingerprint,)),
            ),
        )
        receiver = Receiver(settings, spool, ManualClock())
        receiver.start(0 if cleartext else None, 0)
        started.append(receiver)
        return Rig(receiver=receiver, spool=spool, caplog=caplog)

    yield begin
    for receiver in started:
        receiver.stop(5)
    assert until(lambda: not [t for t in threading.enumerate() if t.name.startswith("AcceptorThread")])


def asks(peer: RawPeer, calling: str) -> tuple[int, bytes]:
    peer.write(associate_rq([(CT, [EXPLICIT])], calling=calling, called="LMS_SR"))
    return peer.read()


def calling_settings(authority: Authority, identity: Identity | None, **more: Any) -> Settings:
    files = {"certificate": str(identity.cert), "key": str(identity.key)} if identity else {}
    return Settings(
        local=Local(ae_title="PACS"),
        tls=Tls(ca=(str(authority.ca),), **files, **more),
        outgoing=Outgoing(timeout_seconds=10),
    )


def the_service(port: int, **more: Any) -> Node:
    return Node(name="SERVICE", ae_title="LMS_SR", host="127.0.0.1", port=port, tls=True, **more)


# --- who gets in ---------------------------------------------------------------------------------------------------------


def test_object_that_comes_over_tls_is_in_the_spool_as_any_other(start: Start, device: Identity) -> None:
    rig = start()
    data = data_set()
    with TlsPeer(rig.tls_port, device) as peer:
        peer.negotiate()
        assert peer.store(data).status == 0
        # larger than a record of TLS, in PDUs that end anywhere in one
        large = data_set(instance="1.2.3.4", pixels=bytes(300_001))
        assert peer.store(large, sop_instance="1.2.3.4").status == 0
        assert peer.release() == RELEASE_RP
        # close_notify: the end is an end, and no cut
        assert peer.secured.recv(1) == b""
    path = rig.spool.path(key_of(INSTANCE))
    assert path.read_bytes()[read_meta(path).dataset_offset :] == data
    assert read_meta(path).address == "127.0.0.1"
    ended = rig.told("association_ended")
    assert (ended["how"], ended["served"], ended["tls"]) == ("released", 2, True)


def test_both_ports_are_open_where_both_are_set_and_the_one_without_tls_only_then(
    start: Start, device: Identity
) -> None:
    rig = start()
    with RawPeer(rig.receiver.port) as plain:
        plain.negotiate()
        assert plain.store(data_set()).status == 0
    rig.receiver.stop(5)
    rig = start(cleartext=False)
    assert rig.receiver.port == 0
    with TlsPeer(rig.tls_port, device) as peer:
        assert asks(peer, "PACS")[0] == ASSOCIATE_AC


def test_node_is_bound_to_its_certificate(start: Start, device: Identity, other: Identity) -> None:
    rig = start()
    refused = (ASSOCIATE_RJ, bytes([0, 1, 1, 1]))
    for calling in ("DEVICE", "PINNED"):
        with TlsPeer(rig.tls_port, device) as peer:
            assert asks(peer, calling)[0] == ASSOCIATE_AC
        with TlsPeer(rig.tls_port, other) as peer:
            assert asks(peer, calling) == refused
        with RawPeer(rig.receiver.port) as peer:
            assert asks(peer, calling) == refused
        # the certificate does not open another node's door, nor a stranger's
        with TlsPeer(rig.tls_port, other) as peer:
            assert asks(peer, "PACS")[0] == ASSOCIATE_AC
    assert until(lambda: len(rig.records("association_refused")) == 4)
    assert {r["failed"] for r in rig.records("association_refused")} == {"certificate"}
    assert "other.example" in rig.records("association_refused")[0]["why"]


def test_without_mutual_a_bound_node_still_has_to_show_its_certificate(start: Start, device: Identity) -> None:
    rig = start(mutual=False)
    with TlsPeer(rig.tls_port, None) as peer:
        assert asks(peer, "PACS")[0] == ASSOCIATE_AC
    with TlsPeer(rig.tls_port, None) as peer:
        assert asks(peer, "DEVICE")[0] == ASSOCIATE_RJ
    with TlsPeer(rig.tls_port, device) as peer:
        assert asks(peer, "DEVICE")[0] == ASSOCIATE_AC
    assert "it showed none" in rig.told("association_refused")["why"]


def test_limit_of_associations_counts_both_ports(start: Start, device: Identity) -> None:
    rig = start(local={"max_associations": 2})
    with RawPeer(rig.receiver.port) as first, TlsPeer(rig.tls_port, device) as second:
        assert asks(first, "PACS")[0] == ASSOCIATE_AC
        assert asks(second, "PACS")[0] == ASSOCIATE_AC
        for late in (RawPeer(rig.receiver.port), TlsPeer(rig.tls_port, device)):
            with late:
                assert asks(late, "PACS") == (ASSOCIATE_RJ, bytes([0, 2, 3, 2]))


def test_refused_handshake_is_told_once_with_the_reason_and_the_address(start: Start, authority: Authority) -> None:
    rig = start()
    expired = authority.issue("expired", days=-1)
    peer = TlsPeer(rig.tls_port, expired)
    with peer, pytest.raises(ssl.SSLError, match="CERTIFICATE_EXPIRED"):
        # with TLS 1.3 the caller hears it when it reads, and it is an alert, no mere end
        peer.secured.recv(1)
    assert rig.told("tls_refused") == {"address": "127.0.0.1", "why": "its certificate has expired"}
    assert not rig.records("association_ended")


def test_cleartext_on_the_tls_port_is_refused_and_told(start: Start) -> None:
    rig = start()
    with RawPeer(rig.tls_port) as peer:
        peer.write(associate_rq([(CT, [EXPLICIT])], calling="PACS", called="LMS_SR"))
        assert peer.read()[0] not in (ASSOCIATE_AC, ASSOCIATE_RJ, ABORT)
    assert rig.told("tls_refused")["why"] == "it speaks no TLS"


# --- who is harmed by whom -----------------------------------------------------------------------------------------------


def test_silent_sockets_on_the_tls_port_harm_nobody(start: Start, authority: Authority, device: Identity) -> None:
    rig = start(local={"max_associations": 5})
    silent = [socket.create_connection(("127.0.0.1", rig.tls_port)) for _ in range(40)]
    # some say the first words of a handshake
    for connection in silent[::2]:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    # and some have TLS, and then say nothing
    quiet = [TlsPeer(rig.tls_port, device) for _ in range(3)]
    settings = calling_settings(authority, device)
    begun = time.monotonic()
    for _ in range(3):
        scu.echo(settings, the_service(rig.tls_port))
    with RawPeer(rig.receiver.port) as plain:
        assert asks(plain, "PACS")[0] == ASSOCIATE_AC
    assert time.monotonic() - begun < 5
    for connection in silent:
        connection.close()
    for peer in quiet:
        peer.socket.close()


def test_silent_socket_is_closed_when_its_time_is_over(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.dimse.scp.ASSOCIATE_TIMEOUT", 0.2)
    rig = start()
    with socket.create_connection(("127.0.0.1", rig.tls_port), timeout=10) as silent:
        assert silent.recv(1) == b""
    assert "in time" in rig.told("tls_refused")["why"]


def test_handshake_has_one_deadline_however_slowly_the_peer_speaks(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.dimse.scp.ASSOCIATE_TIMEOUT", 0.4)
    rig = start()
    with socket.create_connection(("127.0.0.1", rig.tls_port), timeout=5) as slow:
        begun = time.monotonic()
        with suppress(OSError):
            for byte in b"\x16\x03\x01\x02\x00\x01" + bytes(500):
                slow.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - begun < 5
    assert "in time" in rig.told("tls_refused")["why"]


def test_connections_that_come_and_go_harm_nobody(start: Start, authority: Authority, device: Identity) -> None:
    rig = start()
    for _ in range(50):
        socket.create_connection(("127.0.0.1", rig.tls_port)).close()
    begun = time.monotonic()
    scu.echo(calling_settings(authority, device), the_service(rig.tls_port))
    assert time.monotonic() - begun < 5


def test_stopping_does_not_wait_for_a_handshake(start: Start) -> None:
    rig = start()
    with socket.create_connection(("127.0.0.1", rig.tls_port)):
        time.sleep(0.05)
        begun = time.monotonic()
        rig.receiver.stop(5)
        assert time.monotonic() - begun < 2


# --- files that change ---------------------------------------------------------------------------------------------------


def test_certificate_is_replaced_while_an_association_goes_on(
    start: Start, authority: Authority, ours: Identity, device: Identity, tmp_path: Path
) -> None:
    live = tmp_path / "live.pem"
    live.write_bytes(ours.cert.read_bytes() + ours.key.read_bytes())
    rig = start(certificate=str(live), key="")
    renewed = authority.issue("renewed")
    with TlsPeer(rig.tls_port, device) as before:
        before.negotiate()
        assert before.seen == ours.fingerprint
        assert before.store(data_set()).status == 0
        new = tmp_path / "new.pem"
        new.write_bytes(renewed.cert.read_bytes() + renewed.key.read_bytes())
        new.replace(live)

        def shows_the_new_one() -> bool:
            with TlsPeer(rig.tls_port, device) as peer:
                return peer.seen == renewed.fingerprint

        assert until(shows_the_new_one, 5)
        # the association that was open goes on
        assert before.store(data_set(instance="1.2.3.4"), sop_instance="1.2.3.4").status == 0
        live.write_text("half a file")
        time.sleep(1.1)
        with TlsPeer(rig.tls_port, device) as peer:
            assert peer.seen == renewed.fingerprint
            assert asks(peer, "PACS")[0] == ASSOCIATE_AC
        assert before.release() == RELEASE_RP
    assert rig.records("tls_reloaded") == [{"side": "server"}]
    assert str(live) in rig.told("tls_reload_failed")["why"]


# --- starting ------------------------------------------------------------------------------------------------------------


def test_file_that_cannot_be_used_is_told_before_anything_listens(
    tmp_path: Path, authority: Authority, ours: Identity
) -> None:
    port = free_port()
    broken = Tls(certificate=str(ours.cert), key=str(authority.ca), ca=(str(authority.ca),))
    receiver = Receiver(Settings(local=Local(port=port, tls_port=2762), tls=broken), Spool(tmp_path), ManualClock())
    with pytest.raises(ConfigurationError, match=r"\[tls\] key"):
        receiver.start(None, 0)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_tls_port_in_use_is_told_by_its_name_and_frees_the_other(start: Start, tmp_path: Path) -> None:
    rig = start()
    port = free_port()
    settings = rig.receiver._settings
    second = Receiver(settings, rig.spool, ManualClock())
    with pytest.raises(ConfigurationError, match=r"is in use: .* or set \[local\] tls_port"):
        second.start(port, rig.tls_port)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


def test_without_any_port_there_is_nothing_to_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\[local\] port and tls_port are 0"):
        Receiver(Settings(local=Local(port=0)), Spool(tmp_path), ManualClock()).start()


# --- calling others ------------------------------------------------------------------------------------------------------


def part10() -> bytes:
    meta = FileMeta(sop_class_uid=COMPREHENSIVE_SR, sop_instance_uid=INSTANCE, transfer_syntax_uid=EXPLICIT)
    return meta.encode() + data_set(COMPREHENSIVE_SR, INSTANCE, syntax=EXPLICIT)


def test_we_echo_and_store_over_tls(start: Start, authority: Authority, ours: Identity, device: Identity) -> None:
    rig = start()
    settings = calling_settings(authority, device)
    secured = scu.echo(settings, the_service(rig.tls_port))
    assert secured is not None
    assert (secured.version, secured.peer.fingerprint) == ("TLSv1.3", ours.fingerprint)
    assert "lms-sr.example" in secured.peer.names
    outcome = scu.store(
        settings,
        the_service(rig.tls_port, tls_name="lms-sr.example"),
        sop_class_uid=COMPREHENSIVE_SR,
        sop_instance_uid=INSTANCE,
        transfer_syntax_uid=EXPLICIT,
        part10=part10(),
    )
    assert outcome.status == 0
    assert rig.spool.path(key_of(INSTANCE)).exists()
    assert scu.echo(settings, Node(name="S", ae_title="LMS_SR", port=rig.receiver.port)) is None


def test_what_is_wrong_with_tls_is_tried_again_and_told(
    start: Start, authority: Authority, device: Identity, tmp_path: Path
) -> None:
    rig = start()
    stranger = Authority(tmp_path, "Stranger")
    port = rig.tls_port
    for settings, node, said in (
        (calling_settings(stranger, device), the_service(port), "its certificate comes from a CA that is not in"),
        (calling_settings(authority, device), the_service(port, tls_name="pacs.example"), "another name than tls_name"),
        (calling_settings(authority, None), the_service(port), "it wants to see a certificate of ours: set"),
        (calling_settings(authority, stranger.issue("x")), the_service(port), "it does not know the CA of our certif"),
        (
            calling_settings(authority, authority.issue("old", days=-1)),
            the_service(port),
            "our certificate has expired",
        ),
        (calling_settings(authority, device), the_service(rig.receiver.port), "TLS fails"),
    ):
        with pytest.raises(PeerUnavailable) as caught:
            scu.echo(settings, node)
        assert str(caught.value).startswith(f"SERVICE (LMS_SR at 127.0.0.1:{node.port})")
        assert said in str(caught.value)


def test_node_that_refuses_our_certificate_by_its_list_refuses_the_association(
    start: Start, authority: Authority, other: Identity
) -> None:
    rig = start()
    settings = calling_settings(authority, other)
    settings = settings.model_copy(update={"local": Local(ae_title="DEVICE")})
    with pytest.raises(Rejected):
        scu.echo(settings, the_service(rig.tls_port))


# --- commands ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(tmp_path: Path, authority: Authority, ours: Identity) -> Iterator[tuple[Path, Settings, Identity]]:
    """Run a receiver on fixed ports; yield its settings file, and the certificate that may be replaced."""
    live = Identity(cert=tmp_path / "live.pem", key=tmp_path / "live.key", x509=ours.x509)
    live.cert.write_bytes(ours.cert.read_bytes())
    live.key.write_bytes(ours.key.read_bytes())
    settings = Settings(
        local=Local(port=0, tls_port=free_port()),
        tls=Tls(certificate=str(live.cert), key=str(live.key), ca=(str(authority.ca),)),
        storage=Storage(spool=tmp_path / "spool", reserve_mb=0),
    )
    spool = Spool(settings.storage.spool, reserve_mb=0)
    spool.prepare()
    receiver = Receiver(settings, spool, ManualClock())
    receiver.start()
    yield write_settings(tmp_path / "lms-sr.toml", settings), settings, live
    receiver.stop(5)


def test_health_asks_the_tls_listener_and_tells_what_ends(
    running: tuple[Path, Settings, Identity], authority: Authority, tmp_path: Path
) -> None:
    config, settings, live = running
    port = settings.local.tls_port
    done = lms_sr("health", "--config", config)
    assert (done.code, done.err) == (0, "")
    assert done.out == f"healthy\nTLS on port {port}: TLSv1.3, TLS_AES_256_GCM_SHA384, profile B.12\n"
    found = lms_sr("health", "--json", "--config", config).data
    assert (found["healthy"], found["tls"]["port"], found["tls"]["mutual"]) == (True, port, True)
    assert [(e["setting"], e["days"] > 300, e["alarm"]) for e in found["tls"]["lapses"]] == [
        ("[tls] certificate", True, None),
        ("[tls] ca", True, None),
    ]
    # a shorter one: its last week
    short = authority.issue("short", days=5)
    live.cert.write_bytes(short.cert.read_bytes())
    live.key.write_bytes(short.key.read_bytes())
    time.sleep(1.1)
    done = lms_sr("health", "--config", config)
    assert done.code == 0
    assert f"look at: [tls] certificate ({live.cert}) ends in 4 days" in done.out
    assert lms_sr("health", "--json", "--config", config).data["tls"]["lapses"][0]["alarm"] == 7
    # the certificate is there, its key not yet: a command has no older one to go on with
    live.cert.write_bytes(authority.issue("unmatched").cert.read_bytes())
    tls._clients.cache_clear()
    done = lms_sr("health", "--config", config)
    assert (done.code, done.out) == (2, "")
    assert "is not the key of the certificate" in done.err
    # one that has ended
    ended = authority.issue("ended", days=-2)
    live.cert.write_bytes(ended.cert.read_bytes())
    live.key.write_bytes(ended.key.read_bytes())
    done = lms_sr("health", "--config", config)
    assert (done.code, done.out) == (1, "")
    assert f"[tls] certificate ({live.cert}) has ended on" in done.err


def test_health_needs_the_listener_to_show_the_certificate_of_the_settings(
    running: tuple[Path, Settings, Identity], authority: Authority, tmp_path: Path
) -> None:
    config, settings, _ = running
    another = authority.issue("another")
    files = settings.tls.model_copy(update={"certificate": str(another.cert), "key": str(another.key)})
    config = write_settings(tmp_path / "other.toml", settings.model_copy(update={"tls": files}))
    done = lms_sr("health", "--config", config)
    assert (done.code, done.out) == (1, "")
    assert "another fingerprint" in done.err


def test_echo_tells_what_was_agreed_on(
    running: tuple[Path, Settings, Identity], authority: Authority, tmp_path: Path
) -> None:
    _, settings, live = running
    node = Node(name="US", ae_title="LMS_SR", port=settings.local.tls_port, tls=True)
    config = write_settings(tmp_path / "echo.toml", settings.model_copy(update={"nodes": (node,)}))
    done = lms_sr("echo", "US", "--config", config)
    assert (done.code, done.err) == (0, "")
    assert (
        f"TLSv1.3, TLS_AES_256_GCM_SHA384; its certificate: 127.0.0.1, lms-sr.example, {live.fingerprint}" in done.out
    )
    assert "Its certificate ends on " in done.out
    data = lms_sr("echo", "US", "--json", "--config", config).data
    assert data["tls"]["peer"]["fingerprint"] == live.fingerprint
    plain = node.model_copy(update={"tls": False})
    config = write_settings(tmp_path / "plain.toml", settings.model_copy(update={"nodes": (plain,)}))
    assert lms_sr("echo", "US", "--config", config).code == 1


def test_check_config_sees_files_that_cannot_be_used(running: tuple[Path, Settings, Identity], tmp_path: Path) -> None:
    config, settings, _ = running
    assert lms_sr("check-config", "--config", config).code == 0
    broken = settings.tls.model_copy(update={"ca": (str(tmp_path / "none.pem"),)})
    config = write_settings(tmp_path / "broken.toml", settings.model_copy(update={"tls": broken}))
    done = lms_sr("check-config", "--config", config)
    assert done.code == 2
    assert "[tls] ca: " in done.err


# --- as a service --------------------------------------------------------------------------------------------------------


def test_receive_runs_on_the_tls_port_alone_and_tells_what_ends(
    tmp_path: Path, authority: Authority, device: Identity
) -> None:
    short = authority.issue("service", days=3, passphrase="hunter2")
    settings = Settings(
        local=Local(port=0, tls_port=2762),
        tls=Tls(
            certificate=str(short.cert),
            key=str(short.key),
            key_passphrase=SecretStr("hunter2"),
            ca=(str(authority.ca),),
        ),
        storage=Storage(spool=tmp_path / "spool", reserve_mb=0),
        database=Database(url=SecretStr(f"sqlite:///{tmp_path / 'lms-sr.db'}")),
        nodes=(Node(name="PACS", ae_title="PACS"),),
    )
    log = tmp_path / "log"
    with ServiceProcess(write_settings(tmp_path / "lms-sr.toml", settings), log, roles=("receive",)) as service:
        assert (service.port, service.tls_port > 0) == (0, True)
        scu.echo(calling_settings(authority, device), the_service(service.tls_port))
        assert until(lambda: "certificate_ends" in log.read_text())
    records = [json.loads(line) for line in log.read_text().splitlines()]
    (told,) = [r for r in records if r["event"] == "certificate_ends"]
    assert (told["setting"], told["days"], told["level"]) == ("[tls] certificate", 2, "error")
    assert "hunter2" not in log.read_text()
