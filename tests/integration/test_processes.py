"""Several receiving processes behind one door: here they are parts of one process, each with its own thread and socket."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.clock import SystemClock
from service.dimse import hub as hubs
from service.dimse.door import Door, Places, Port
from service.dimse.entrance import Bounds, Wrap
from service.dimse.hub import Hub, Service
from service.dimse.keeper import Keeper
from service.dimse.library import configure
from service.dimse.scp import Associations
from service.dimse.tls import ServerContexts
from service.settings import Local, Node, Settings, Tls
from service.store.spool import Spool, key_of
from tests import raw_peer
from tests.authority import Authority
from tests.dicom_bytes import CT, EXPLICIT, INSTANCE, data_set
from tests.integration.test_tls import TlsPeer
from tests.raw_peer import ABORT, ASSOCIATE_RJ, RELEASE_RP, RawPeer

LOG = logging.getLogger("lms_sr.receive")


def until(condition: Callable[[], object], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


class Receiver:
    """A door and the processes behind it."""

    def __init__(
        self,
        folder: Path,
        settings: Settings | None = None,
        ports: dict[Port, int] | None = None,
        **local: Any,
    ) -> None:
        configure()
        self.path = folder / "door"
        nodes = (Node(name="PACS", ae_title="PACS"), Node(name="OTHER", ae_title="OTHER"))
        self.settings = settings or Settings(local=Local(**local), nodes=nodes)
        self.spool = Spool(folder / "spool", durability="write")
        self.spool.prepare()
        self.services: list[Service] = []
        self.open_door(ports or {"port": 0})

    def open_door(self, ports: dict[Port, int]) -> None:
        self.hub = Hub(self.path, LOG)
        self.door = Door(self.settings, self.hub.take, LOG, bounds=Bounds(seconds=2), pass_on=self.hub.pass_on)
        self.hub.open(self.door)
        self.door.open(ports)

    def close_door(self) -> None:
        self.door.close()
        self.hub.close()
        self.door.entrance.stop()

    def end(self) -> None:
        self.close_door()
        for service in self.services:
            service.stop(2)

    def add(self, wrap: Wrap | None = None) -> Service:
        keeper = Keeper(self.spool, SystemClock(), LOG)
        service = Service(self.settings, self.path, LOG, wrap)
        service.start(lambda left: Associations(self.settings, keeper, LOG, left))
        self.services.append(service)
        assert until(lambda: len(self.hub._processes) == len(self.services))
        return service

    def peer(self) -> RawPeer:
        return RawPeer(self.door.port("port"))

    def open_ones(self) -> list[int]:
        return [len(service._associations.open_ones()) for service in self.services if service._associations]


@pytest.fixture
def make(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[..., Receiver]]:
    caplog.set_level(logging.INFO, "lms_sr")
    made: list[Receiver] = []

    def begin(processes: int, **local: Any) -> Receiver:
        made.append(Receiver(tmp_path, **local))
        for _ in range(processes):
            made[-1].add()
        return made[-1]

    yield begin
    for receiver in made:
        receiver.end()


def test_associations_go_to_the_least_busy_and_all_is_stored(make: Callable[..., Receiver]) -> None:
    receiver = make(2)
    peers = [receiver.peer() for _ in range(6)]
    for number, peer in enumerate(peers):
        peer.negotiate()
        assert peer.store(data_set(instance=f"1.2.{number}"), sop_instance=f"1.2.{number}").status == 0
    assert receiver.open_ones() == [3, 3]
    for peer in peers:
        assert peer.release() == RELEASE_RP
        peer.socket.close()
    assert until(lambda: receiver.open_ones() == [0, 0] and not len(receiver.door.places))
    assert sorted(receiver.spool.all_keys()) == sorted(key_of(f"1.2.{n}") for n in range(6))


def test_process_that_hangs_gets_nothing_and_nobody_is_refused(
    make: Callable[..., Receiver], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "PATIENCE_SECONDS", 0.1)
    receiver = make(2)
    hung, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        hung.set()
        assert go_on.wait(20)

    receiver.services[0].entrance.soon(hang)
    assert hung.wait(5)
    for number in range(6):
        with receiver.peer() as peer:
            peer.negotiate()
            assert peer.store(data_set(instance=f"1.2.{number}"), sop_instance=f"1.2.{number}").status == 0
            assert receiver.open_ones()[0] == 0
    assert [r.getMessage() for r in caplog.records].count("receive_process_silent") == 1
    go_on.set()
    assert until(lambda: "receive_process_answers_again" in [r.getMessage() for r in caplog.records])


def test_limit_is_that_of_all_processes_together(make: Callable[..., Receiver]) -> None:
    receiver = make(2, max_associations=3)
    peers = [receiver.peer() for _ in range(3)]
    for peer in peers:
        peer.negotiate()
    with receiver.peer() as more:
        more.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="PACS", called="LMS_SR"))
        assert more.read() == (ASSOCIATE_RJ, bytes([0, 2, 3, 2]))
    # a node that has none open still finds a place
    with receiver.peer() as other:
        other.negotiate(calling="OTHER")
    for peer in peers:
        peer.socket.close()


def test_strangers_are_refused_by_the_door_alone(make: Callable[..., Receiver]) -> None:
    receiver = make(0)
    with receiver.peer() as peer:
        peer.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="STRANGER", called="LMS_SR"))
        assert peer.read() == (ASSOCIATE_RJ, bytes([0, 1, 1, 3]))


def test_caller_waits_for_a_process_that_is_starting(make: Callable[..., Receiver]) -> None:
    receiver = make(0)
    with receiver.peer() as peer:
        peer.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="PACS", called="LMS_SR"))
        assert until(lambda: len(receiver.hub._waiting) == 1)
        receiver.add()
        assert peer.read()[0] == raw_peer.ASSOCIATE_AC


def test_caller_whom_no_process_serves_is_told_to_come_later(
    make: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "Bounds", lambda: Bounds(seconds=0.3))
    receiver = make(0)
    with receiver.peer() as peer:
        peer.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="PACS", called="LMS_SR"))
        # rejected transient, by the presentation provider: temporary congestion
        assert peer.read() == (ASSOCIATE_RJ, bytes([0, 2, 3, 1]))
    assert not len(receiver.door.places)


def test_associations_outlive_the_door_and_are_counted_by_the_next(make: Callable[..., Receiver]) -> None:
    receiver = make(1, max_associations=1)
    with receiver.peer() as peer:
        peer.negotiate()
        port = receiver.door.port("port")
        receiver.close_door()
        assert peer.store(data_set()).status == 0
        receiver.open_door({"port": port})
        assert until(lambda: len(receiver.door.places) == 1)
        with receiver.peer() as more:
            more.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="PACS", called="LMS_SR"))
            assert more.read() == (ASSOCIATE_RJ, bytes([0, 2, 3, 2]))
        assert peer.store(data_set(instance="1.2.3"), sop_instance="1.2.3").status == 0
    assert until(lambda: not len(receiver.door.places))


def test_places_of_a_process_that_died_are_free(make: Callable[..., Receiver]) -> None:
    receiver = make(1, max_associations=1)
    with receiver.peer() as peer:
        peer.negotiate()
        assert len(receiver.door.places) == 1
        receiver.services.pop().stop(0.1)
        assert peer.read()[0] in (ABORT, 0)
    assert until(lambda: not len(receiver.door.places))
    receiver.add()
    with receiver.peer() as peer:
        peer.negotiate()
        assert peer.store(data_set()).status == 0


def test_no_descriptor_is_left(make: Callable[..., Receiver]) -> None:
    receiver = make(2)

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def one() -> None:
        with receiver.peer() as peer:
            peer.negotiate()

    one()
    assert until(lambda: receiver.open_ones() == [0, 0])
    before = descriptors()
    for _ in range(20):
        one()
    assert until(lambda: receiver.open_ones() == [0, 0] and descriptors() <= before)


def test_tls_is_spoken_by_the_process_and_decided_by_the_door(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lms_sr")
    authority = Authority(tmp_path)
    ours, device, other = (authority.issue(name, [f"{name}.example"]) for name in ("ours", "device", "other"))
    settings = Settings(
        local=Local(tls_port=2762, max_associations=1),
        tls=Tls(certificate=str(ours.cert), key=str(ours.key), ca=(str(authority.ca),)),
        nodes=(Node(name="DEVICE", ae_title="DEVICE", certificate=("device.example",)),),
    )
    receiver = Receiver(tmp_path, settings=settings, ports={"tls_port": 0})
    for _ in range(2):
        receiver.add(ServerContexts(settings).current)
    try:
        port = receiver.door.port("tls_port")
        with TlsPeer(port, device) as peer:
            peer.negotiate(calling="DEVICE")
            assert len(receiver.door.places) == 1
            assert peer.store(data_set()).status == 0
            with TlsPeer(port, other) as stranger:
                stranger.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="DEVICE", called="LMS_SR"))
                assert stranger.read() == (ASSOCIATE_RJ, bytes([0, 1, 1, 1]))
            assert peer.release() == RELEASE_RP
        assert until(lambda: not len(receiver.door.places))
        with RawPeer(port) as plain:
            plain.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="DEVICE", called="LMS_SR"))
            assert plain.read() == (0, b"")
        with pytest.raises(OSError, match=r"(?i)certificate|reset|eof"), TlsPeer(port, None) as nobody:
            nobody.negotiate(calling="DEVICE")
        assert receiver.spool.read(key_of(INSTANCE)).endswith(data_set())
    finally:
        receiver.end()


def test_places_for_nodes_that_have_none_are_few() -> None:
    places = Places(20)
    assert all(places.take("PACS") for _ in range(20))
    assert not places.take("PACS")
    assert places.take("A")
    assert not places.take("A")
    assert places.take("B")
    assert not places.take("C")
