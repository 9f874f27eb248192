"""What stands before an association: nothing that a peer sends or does not send there takes more than a socket, and not for long."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from service.dimse.entrance import Arrival, Bounds, Entrance, listening, reject_pdu
from tests.dicom_bytes import CT, EXPLICIT
from tests.raw_peer import ABORT, associate_rq, pdu, read_pdu

REQUEST = associate_rq([(CT, [EXPLICIT])], calling="PACS", called="LMS_SR")


class Rig:
    """An entrance on a free port, and who came through it."""

    def __init__(self, bounds: Bounds, *, glance: bool = False) -> None:
        self.arrivals: list[Arrival] = []
        self.came = threading.Semaphore(0)
        self.entrance = Entrance(self._arrived, logging.getLogger("lms_sr.test"), bounds)
        listener = listening("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self.entrance.listen(listener, glance=glance)
        self.entrance.start()

    def _arrived(self, arrival: Arrival) -> None:
        self.arrivals.append(arrival)
        self.came.release()

    def call(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def close(self) -> None:
        self.entrance.close()
        self.entrance.stop()
        for arrival in self.arrivals:
            arrival.connection.close()


@pytest.fixture
def make() -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def begin(*, glance: bool = False, **bounds: float) -> Rig:
        made.append(Rig(Bounds(**bounds), glance=glance))  # type: ignore[arg-type] - numbers
        return made[-1]

    yield begin
    for rig in made:
        rig.close()


def ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionError:
        return True


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def test_request_in_single_bytes_arrives_whole_and_nothing_beyond_it_is_read(make: Callable[..., Rig]) -> None:
    rig = make()
    with rig.call() as peer:
        for byte in REQUEST:
            peer.sendall(bytes([byte]))
        peer.sendall(b"more")
        assert rig.came.acquire(timeout=5)
        (arrival,) = rig.arrivals
        assert (arrival.request, arrival.address, arrival.is_tls) == (REQUEST, "127.0.0.1", False)
        assert arrival.port == peer.getsockname()[1]
        arrival.connection.settimeout(5)
        assert arrival.connection.recv(100) == b"more"
    assert rig.entrance.waiting == 0


@pytest.mark.parametrize("first", [b"", b"\x01", REQUEST[:-1]])
def test_request_that_is_not_whole_in_time_is_dropped(
    make: Callable[..., Rig], caplog: pytest.LogCaptureFixture, first: bytes
) -> None:
    rig = make(seconds=0.2)
    with rig.call() as peer, caplog.at_level(logging.WARNING):
        peer.sendall(first)
        began = time.monotonic()
        assert ended(peer)
        assert time.monotonic() - began < 2
    assert [r.ids["why"] for r in caplog.records] == ["deadline"]  # type: ignore[attr-defined] - ours
    assert rig.arrivals == []


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 1),
        (pdu(0x04, bytes(6)), 2),
        (pdu(0x01, b"", length=20), 6),
        (pdu(0x01, b"", length=1 << 30), 6),
    ],
)
def test_what_is_no_request_is_aborted_with_the_reason_of_the_standard(
    make: Callable[..., Rig], sent: bytes, reason: int
) -> None:
    with make().call() as peer:
        peer.sendall(sent)
        assert read_pdu(peer) == (ABORT, bytes([0, 0, 2, reason]))
        assert ended(peer)


def test_oldest_silent_connection_of_an_address_goes_first(make: Callable[..., Rig]) -> None:
    rig = make(of_one_address=3)
    talks = rig.call()
    talks.sendall(REQUEST[:40])
    assert until(lambda: rig.entrance.waiting == 1)
    silent = [rig.call() for _ in range(2)]
    assert until(lambda: rig.entrance.waiting == 3)
    newest = rig.call()
    assert ended(silent[0])
    # who has begun to speak may finish, and so may those that came later
    for peer, rest in ((talks, REQUEST[40:]), (silent[1], REQUEST), (newest, REQUEST)):
        peer.sendall(rest)
        assert rig.came.acquire(timeout=5)
    for peer in (talks, newest, *silent):
        peer.close()


def test_more_silent_connections_than_there_is_room_for_keep_nobody_out(make: Callable[..., Rig]) -> None:
    rig = make(in_total=8, of_one_address=8)
    silent = [rig.call() for _ in range(60)]
    with rig.call() as peer:
        peer.sendall(REQUEST)
        assert rig.came.acquire(timeout=5)
    assert rig.entrance.waiting <= 8
    for connection in silent:
        connection.close()


def test_bytes_that_wait_are_bounded_together(make: Callable[..., Rig]) -> None:
    rig = make(request_bytes=100_000, bytes_in_total=150_000)
    large = pdu(0x01, bytes(90_000), length=100_000)
    peers = [rig.call() for _ in range(4)]
    for peer in peers:
        peer.sendall(large)
    assert until(lambda: rig.entrance.waiting <= 1)
    for peer in peers:
        peer.close()


def test_an_attack_is_a_number_in_the_log_and_not_a_line_each(
    make: Callable[..., Rig], caplog: pytest.LogCaptureFixture
) -> None:
    rig = make(of_one_address=2)
    with caplog.at_level(logging.WARNING):
        for peer in [rig.call() for _ in range(30)]:
            peer.close()
        assert until(lambda: rig.entrance.waiting == 0)
    assert len([r for r in caplog.records if r.getMessage() == "connection_dropped"]) <= 1


def test_peer_that_is_turned_away_reads_why_whatever_it_still_sends(make: Callable[..., Rig]) -> None:
    rig = make()
    with rig.call() as peer:
        peer.sendall(REQUEST + bytes(50_000))
        assert rig.came.acquire(timeout=5)
        (arrival,) = rig.arrivals
        rig.entrance.soon(lambda: rig.entrance.dismiss(arrival.connection, reject_pdu(1, 1, 3)))
        assert read_pdu(peer) == (0x03, bytes([0, 1, 1, 3]))
        assert ended(peer)


def test_error_of_whoever_is_told_ends_that_connection_alone(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make()

    def fails(arrival: Arrival) -> None:
        raise RuntimeError

    with rig.call() as peer:
        monkeypatch.setattr(rig.entrance, "_arrived", fails)
        peer.sendall(REQUEST)
        assert ended(peer)
    monkeypatch.undo()
    with rig.call() as peer:
        peer.sendall(REQUEST)
        assert rig.came.acquire(timeout=5)


def test_glance_passes_on_what_begins_like_tls_and_reads_none_of_it(make: Callable[..., Rig]) -> None:
    rig = make(glance=True)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    hello = context.wrap_bio(incoming, outgoing, server_hostname="receiver.example")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    said = outgoing.read()
    with rig.call() as peer:
        for byte in said:
            peer.sendall(bytes([byte]))
        assert rig.came.acquire(timeout=5)
        (arrival,) = rig.arrivals
        assert (arrival.request, arrival.is_tls) == (b"", True)
        arrival.connection.settimeout(5)
        found = b""
        while len(found) < len(said):
            found += arrival.connection.recv(4096)
        assert found == said


@pytest.mark.parametrize(
    "sent", [REQUEST, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x00\x01", b"\x15\x03\x01\x00\x02\x01"]
)
def test_glance_drops_what_is_no_tls(make: Callable[..., Rig], sent: bytes) -> None:
    rig = make(glance=True)
    with rig.call() as peer:
        peer.sendall(sent)
        assert ended(peer)
    assert rig.arrivals == []


def test_glance_waits_for_six_bytes_without_turning(make: Callable[..., Rig]) -> None:
    rig = make(glance=True, seconds=0.4)
    with rig.call() as peer:
        peer.sendall(b"\x16\x03\x01")
        assert until(lambda: rig.entrance.waiting == 1)
        began = time.process_time()
        assert ended(peer)
        assert time.process_time() - began < 0.2


def test_closing_frees_the_port_and_ends_those_that_wait(make: Callable[..., Rig]) -> None:
    rig = make()
    with rig.call() as peer:
        assert until(lambda: rig.entrance.waiting == 1)
        rig.entrance.close()
        assert ended(peer)
    listening("127.0.0.1", rig.port).close()


def test_timers_run_in_their_order(make: Callable[..., Rig]) -> None:
    rig, ran, done = make(), [], threading.Event()

    def set_them() -> None:
        rig.entrance.later(0.04, lambda: (ran.append("second"), done.set()))
        rig.entrance.later(0.01, lambda: ran.append("first"))

    rig.entrance.soon(set_them)
    assert done.wait(5)
    assert ran == ["first", "second"]
