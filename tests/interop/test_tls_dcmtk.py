"""TLS with dcmtk on the other side, calling and called: its profiles of PS3.15, and everything that must not be believed.

``LMS_SR_TESTS_DCMTK`` names the folder of another dcmtk than the system's: profiles B.12 and B.13 came with 3.6.8, and an older
one is asked for the profiles that they grew from.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from pydicom.data import get_testdata_file

from service.clock import ManualClock
from service.dimse import scu
from service.dimse.scp import Receiver
from service.dimse.scu import COMPREHENSIVE_SR
from service.errors import PeerUnavailable
from service.settings import Local, Node, Outgoing, Settings, Tls
from service.store.file_meta import FileMeta
from service.store.spool import Spool
from tests.authority import Authority, Identity
from tests.dicom_bytes import EXPLICIT, INSTANCE, data_set
from tests.helpers import dcmtk_environment, free_port, real_dcmtk, require

Profile = Literal["B.12", "B.13"]
#: the profile's option, and, for a dcmtk that does not have it, that of its forerunner (B.10 and B.11 of earlier standards)
OPTIONS: dict[Profile, tuple[str, ...]] = {
    "B.12": ("--profile-8996", "--profile-bcp195-nd"),
    "B.13": ("--profile-8996-mod", "--profile-bcp195-ex"),
}


def program(name: str) -> Path:
    folder = os.environ.get("LMS_SR_TESTS_DCMTK")
    return require(Path(folder) / name, "LMS_SR_TESTS_DCMTK names its folder") if folder else real_dcmtk(name)


@cache
def option(profile: Profile) -> str:
    """Return the option of this dcmtk for a profile."""
    told = subprocess.run([program("storescu"), "--help"], capture_output=True, text=True, check=True).stdout
    return next(o for o in OPTIONS[profile] if re.search(rf"{o}\s", told))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "Stranger CA")


@pytest.fixture(scope="module")
def ours(authority: Authority) -> Identity:
    return authority.issue("ours", key="rsa")


@pytest.fixture(scope="module")
def device(authority: Authority) -> Identity:
    return authority.issue("device", ["device.example", "127.0.0.1"], key="rsa", number=1)


def untrusted(authority: Authority, stranger: Authority, kind: str) -> Identity:
    if kind == "expired":
        return authority.issue(kind, days=-1, key="rsa", number=2)
    if kind == "self-signed":
        return authority.issue(kind, key="rsa", number=2, self_signed=True)
    if kind == "unknown CA":
        return stranger.issue(kind.replace(" ", "-"), key="rsa", number=2)
    revoked = authority.issue(kind, key="rsa", number=2)
    authority.revoke(revoked)
    return revoked


#: of a certificate that is not to be believed, and what our log says of it
UNTRUSTED = {
    "expired": "its certificate has expired",
    "self-signed": "its certificate is self-signed and not in [tls] ca",
    "unknown CA": "its certificate comes from a CA that is not in [tls] ca",
    "revoked": "its certificate was revoked",
}


# --- dcmtk calls us ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    receiver: Receiver
    spool: Spool
    caplog: pytest.LogCaptureFixture

    def why(self) -> str:
        """Return what the log says of the one handshake that failed."""
        end = time.monotonic() + 10
        while True:
            found = [r.ids["why"] for r in self.caplog.records if r.getMessage() == "tls_refused"]  # type: ignore[attr-defined]
            if found or time.monotonic() > end:
                (why,) = found
                return str(why)
            time.sleep(0.01)


@pytest.fixture
def start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, authority: Authority, ours: Identity, device: Identity
) -> Iterator[Callable[..., Rig]]:
    caplog.set_level(logging.INFO, "lms_sr")
    started: list[Receiver] = []

    def begin(identity: Identity = ours, **more: Any) -> Rig:
        spool = Spool(tmp_path / "spool", reserve_mb=0)
        spool.prepare()
        settings = Settings(
            local=Local(port=0, tls_port=2762),
            tls=Tls(certificate=str(identity.cert), key=str(identity.key), ca=(str(authority.ca),), **more),
            nodes=(
                Node(name="PACS", ae_title="PACS"),
                Node(name="DEVICE", ae_title="DEVICE", certificate=("device.example",)),
                Node(name="ELSE", ae_title="ELSE", certificate=("else.example",)),
            ),
        )
        receiver = Receiver(settings, spool, ManualClock())
        receiver.start(None, 0)
        started.append(receiver)
        return Rig(receiver=receiver, spool=spool, caplog=caplog)

    yield begin
    for receiver in started:
        receiver.stop(5)


def shows(identity: Identity | None, *trusted: Authority) -> list[str]:
    mine = ["+tls", str(identity.key), str(identity.cert)] if identity else ["+tla"]
    return [*mine, *(word for a in trusted for word in ("+cf", str(a.ca)))]


def calls(name: str, rig: Rig, *words: str, calling: str = "DEVICE") -> subprocess.CompletedProcess[str]:
    where = ["127.0.0.1", str(rig.receiver.tls_port)]
    command = [str(program(name)), "-aet", calling, "-aec", "LMS_SR", *words[:-1], *where, *words[-1:]]
    if name == "echoscu":
        command = [str(program(name)), "-aet", calling, "-aec", "LMS_SR", *words, *where]
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=60, check=False, env=dcmtk_environment()
    )


@pytest.mark.parametrize("key", ["rsa", "ec"])
@pytest.mark.parametrize("profile", ["B.12", "B.13"])
def test_dcmtk_echoes_and_stores_with_its_profile(
    profile: Profile, key: Literal["rsa", "ec"], start: Callable[..., Rig], authority: Authority, device: Identity
) -> None:
    rig = start(authority.issue(f"server-{key}", key=key), profile=profile)
    words = [*shows(device, authority), option(profile)]
    done = calls("echoscu", rig, *words)
    assert done.returncode == 0, done.stderr
    sample = get_testdata_file("CT_small.dcm", download=False)
    assert isinstance(sample, str)
    done = calls("storescu", rig, *words, sample)
    assert done.returncode == 0, done.stderr
    assert len(list(rig.spool.all_keys())) == 1


@pytest.mark.parametrize("kind", UNTRUSTED)
def test_dcmtk_that_shows_what_is_not_to_be_believed_is_refused(
    kind: str, start: Callable[..., Rig], authority: Authority, stranger: Authority
) -> None:
    identity = untrusted(authority, stranger, kind)
    rig = start(crl=(str(authority.crl()),) if kind == "revoked" else ())
    done = calls("echoscu", rig, *shows(identity, authority))
    assert done.returncode != 0
    assert rig.why().startswith(UNTRUSTED[kind])


@pytest.mark.parametrize("kind", UNTRUSTED)
def test_dcmtk_does_not_believe_what_is_not_to_be_believed_of_us(
    kind: str, start: Callable[..., Rig], authority: Authority, stranger: Authority, device: Identity
) -> None:
    rig = start(untrusted(authority, stranger, kind))
    more = ["+crl", str(authority.crl())] if kind == "revoked" else []
    assert calls("echoscu", rig, *shows(device, authority), *more).returncode != 0
    # what it says is about our certificate
    assert "our certificate" in rig.why() or "broke" in rig.why()


def test_dcmtk_of_another_name_is_refused_its_association(
    start: Callable[..., Rig], authority: Authority, device: Identity
) -> None:
    rig = start()
    assert calls("echoscu", rig, *shows(device, authority)).returncode == 0
    done = calls("echoscu", rig, *shows(device, authority), calling="ELSE")
    assert done.returncode != 0
    assert "Rejected Permanent" in done.stderr
    assert calls("echoscu", rig, *shows(device, authority), calling="PACS").returncode == 0


def test_dcmtk_without_a_certificate_gets_in_only_where_that_is_allowed(
    start: Callable[..., Rig], authority: Authority
) -> None:
    rig = start()
    assert calls("echoscu", rig, *shows(None, authority), calling="PACS").returncode != 0
    assert rig.why() == "it shows no certificate"
    rig = start(mutual=False)
    assert calls("echoscu", rig, *shows(None, authority), calling="PACS").returncode == 0
    assert calls("echoscu", rig, *shows(None, authority), calling="DEVICE").returncode != 0


def test_dcmtk_with_an_old_profile_is_refused(
    start: Callable[..., Rig], authority: Authority, device: Identity
) -> None:
    rig = start()
    done = calls("echoscu", rig, *shows(device, authority), "--profile-aes")
    assert done.returncode != 0
    assert "old version of TLS" in rig.why() or "no cipher suite" in rig.why()


# --- we call dcmtk -------------------------------------------------------------------------------------------------------


@contextmanager
def storescp(folder: Path, identity: Identity, *words: str) -> Iterator[Node]:
    """Run dcmtk's storescp with TLS; yield it as a node."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = [
        str(program("storescp")),
        "-od",
        str(folder),
        "+tls",
        str(identity.key),
        str(identity.cert),
        *words,
        str(port),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dcmtk_environment()
    ) as process:
        try:
            for _ in range(500):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None, "storescp ended"
                    time.sleep(0.02)
            yield Node(name="DCMTK", ae_title="STORESCP", host="127.0.0.1", port=port, tls=True)
        finally:
            process.terminate()


def settings(authority: Authority, identity: Identity | None, **more: Any) -> Settings:
    files = {"certificate": str(identity.cert), "key": str(identity.key)} if identity else {}
    return Settings(tls=Tls(ca=(str(authority.ca),), **files, **more), outgoing=Outgoing(timeout_seconds=10))


@pytest.mark.parametrize("profile", ["B.12", "B.13"])
def test_we_store_at_dcmtk_with_its_profile(
    profile: Profile, authority: Authority, ours: Identity, device: Identity, tmp_path: Path
) -> None:
    meta = FileMeta(sop_class_uid=COMPREHENSIVE_SR, sop_instance_uid=INSTANCE, transfer_syntax_uid=EXPLICIT)
    with storescp(tmp_path / "in", device, "+cf", str(authority.ca), option(profile)) as node:
        secured = scu.echo(settings(authority, ours, profile=profile), node)
        assert secured is not None
        assert secured.peer.fingerprint == device.fingerprint
        outcome = scu.store(
            settings(authority, ours, profile=profile),
            node.model_copy(update={"tls_name": "device.example"}),
            sop_class_uid=COMPREHENSIVE_SR,
            sop_instance_uid=INSTANCE,
            transfer_syntax_uid=EXPLICIT,
            part10=meta.encode() + data_set(COMPREHENSIVE_SR, INSTANCE, syntax=EXPLICIT),
        )
    assert outcome.status == 0
    assert len(list((tmp_path / "in").iterdir())) == 1


@pytest.mark.parametrize("kind", [*UNTRUSTED, "wrong name", "wrong fingerprint", "old profile"])
def test_dcmtk_that_is_not_to_be_believed_gets_no_association_of_ours(
    kind: str, authority: Authority, stranger: Authority, ours: Identity, device: Identity, tmp_path: Path
) -> None:
    identity = untrusted(authority, stranger, kind) if kind in UNTRUSTED else device
    words = ["--profile-aes"] if kind == "old profile" else []
    given = settings(authority, ours, crl=(str(authority.crl()),) if kind == "revoked" else ())
    said = UNTRUSTED.get(
        kind, {"wrong name": "another name", "wrong fingerprint": "fingerprint"}.get(kind, "TLS fails")
    )
    with storescp(tmp_path / "in", identity, "+cf", str(authority.ca), *words) as node:
        name = {"wrong name": "pacs.example", "wrong fingerprint": ours.fingerprint}.get(kind, "")
        with pytest.raises(PeerUnavailable) as caught:
            scu.echo(given, node.model_copy(update={"tls_name": name}))
    assert str(caught.value).startswith("DCMTK (STORESCP at 127.0.0.1:")
    assert said in str(caught.value)


def test_dcmtk_that_does_not_believe_us_is_told_as_such(
    authority: Authority, stranger: Authority, device: Identity, tmp_path: Path
) -> None:
    with storescp(tmp_path / "in", device, "+cf", str(authority.ca)) as node:
        for identity in (None, stranger.issue("not-known", key="rsa", number=3)):
            with pytest.raises(PeerUnavailable, match=r"our certificate|certificate of ours"):
                scu.echo(settings(authority, identity), node)
