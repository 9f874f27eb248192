"""Sending to a PACS that takes, refuses, dies or babbles: an outcome is success, refusal or unknown, and never a false success."""

from __future__ import annotations

import io
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event

from service.demo.pacs import Fault, StandInPacs
from service.demo.phantom import plain_study
from service.dimse import scu
from service.dimse.scu import (
    COMPREHENSIVE_3D_SR,
    COMPREHENSIVE_SR,
    ENHANCED_SR,
    KEY_OBJECT_SELECTION,
    OTHER_CLASSES,
    SR_CLASSES,
    Offer,
    Sender,
    StoreOutcome,
)
from service.errors import InputError, OutcomeUnknown, PeerUnavailable, Rejected
from service.model.uids import IMPLEMENTATION_CLASS_UID
from service.settings import Local, Node, Outgoing, Settings
from service.store.file_meta import FileMeta
from tests.dicom_bytes import BIG, CT, EXPLICIT, IMPLICIT, INSTANCE, JPEG2000, data_set
from tests.helpers import dcmtk_environment, free_port, real_dcmtk
from tests.raw_peer import (
    ABORT,
    ASSOCIATE_RJ,
    NO_DATA_SET,
    P_DATA,
    RELEASE_RP,
    RELEASE_RQ,
    VERIFICATION,
    associate_ac,
    command,
    pdu,
    raw_acceptor,
    read_pdu,
    value,
)

SETTINGS = Settings(local=Local(ae_title="LMS_SR"), outgoing=Outgoing(timeout_seconds=10))
#: for peers that say nothing
HASTY = Settings(local=Local(ae_title="LMS_SR"), outgoing=Outgoing(timeout_seconds=0.3))


@pytest.fixture
def pacs() -> Iterator[StandInPacs]:
    with StandInPacs() as running:
        yield running


def part10(
    data: bytes | None = None, *, sop_class: str = CT, instance: str = INSTANCE, syntax: str = EXPLICIT
) -> bytes:
    meta = FileMeta(sop_class_uid=sop_class, sop_instance_uid=instance, transfer_syntax_uid=syntax)
    return meta.encode() + (data if data is not None else data_set(sop_class, instance, syntax=syntax))


def send(
    node: Node,
    file: bytes | None = None,
    *,
    settings: Settings = SETTINGS,
    sop_class: str = CT,
    instance: str = INSTANCE,
    syntax: str = EXPLICIT,
) -> StoreOutcome:
    return scu.store(
        settings,
        node,
        sop_class_uid=sop_class,
        sop_instance_uid=instance,
        transfer_syntax_uid=syntax,
        part10=file if file is not None else part10(sop_class=sop_class, instance=instance, syntax=syntax),
    )


def loopback(port: int) -> Node:
    return Node(name="PEER", ae_title="PEER", port=port)


# --- a PACS that behaves -----------------------------------------------------------------------------------------------


def test_echo_is_answered(pacs: StandInPacs) -> None:
    scu.echo(SETTINGS, pacs.node())


def test_object_arrives_as_it_was_sent(pacs: StandInPacs) -> None:
    data = data_set(pixels=bytes(range(256)) * 2000)
    assert send(pacs.node(), part10(data)) == StoreOutcome(status=0, comment="")
    assert pacs.archive.file(INSTANCE).endswith(data)
    assert pacs.stores == {INSTANCE: 1}


def test_resend_is_the_same_object(pacs: StandInPacs) -> None:
    for _ in range(2):
        assert send(pacs.node()).status == 0
    assert pacs.stores == {INSTANCE: 2}
    assert pacs.archive.conflicts == []


def test_many_objects_go_over_one_association(pacs: StandInPacs) -> None:
    offers = [Offer(sop_class_uid=CT), Offer(sop_class_uid=COMPREHENSIVE_SR)]
    with Sender(SETTINGS, pacs.node(), offers) as sender:
        assert sender.accepted_classes == {CT, COMPREHENSIVE_SR}
        for n in range(20):
            sop_class = CT if n % 2 else COMPREHENSIVE_SR
            outcome = sender.store(
                sop_class_uid=sop_class,
                sop_instance_uid=f"1.2.{n}",
                transfer_syntax_uid=EXPLICIT,
                part10=part10(sop_class=sop_class, instance=f"1.2.{n}"),
            )
            assert outcome.status == 0
    assert len(pacs.held()) == 20


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, JPEG2000])
def test_own_transfer_syntax_is_proposed(pacs: StandInPacs, syntax: str) -> None:
    encoding = IMPLICIT if syntax == IMPLICIT else EXPLICIT
    data = data_set(syntax=encoding)
    assert send(pacs.node(), part10(data, syntax=syntax), syntax=syntax).status == 0
    (held,) = pacs.held()
    assert held.transfer_syntax_uid == syntax
    assert pacs.archive.file(INSTANCE).endswith(data)


@pytest.mark.parametrize("taken", [SR_CLASSES, (COMPREHENSIVE_SR,), (ENHANCED_SR, COMPREHENSIVE_3D_SR), ()])
def test_probe_tells_which_sr_classes_a_node_takes(taken: tuple[str, ...]) -> None:
    with StandInPacs(sr_classes=taken) as pacs:
        # what else we send, the stand-in takes with every other class
        others = {*OTHER_CLASSES, KEY_OBJECT_SELECTION}
        assert scu.probe(SETTINGS, pacs.node()) == frozenset({*taken, *others})


@pytest.mark.parametrize(
    "status", [0xB000, 0xB006, 0xB007, 0x0107, 0x0111, 0xA700, 0xA900, 0xC000, 0x0122, 0x0124, 0xD123]
)
def test_status_of_the_peer_is_told_as_it_is(pacs: StandInPacs, status: int) -> None:
    pacs.behaviour.next_stores = [status]
    assert send(pacs.node()).status == status
    assert send(pacs.node()).status == 0


def test_comment_of_the_peer_is_told(peer_that_answers: PeerThatAnswers) -> None:
    with peer_that_answers(rsp(0xA700, comment="disk is full ")) as port:
        assert send(loopback(port)) == StoreOutcome(status=0xA700, comment="disk is full")


# --- refused for good --------------------------------------------------------------------------------------------------


def test_class_that_is_refused_is_rejected_with_0122(pacs: StandInPacs) -> None:
    pacs.behaviour.refused_classes = frozenset({CT})
    with pytest.raises(Rejected, match=r"PACS .* does not take CT Image Storage .*: allow it there") as error:
        send(pacs.node())
    assert error.value.status == 0x0122
    assert pacs.stores == {}


def test_transfer_syntax_that_is_refused_is_rejected_and_not_decoded(pacs: StandInPacs) -> None:
    with pytest.raises(Rejected, match="in JPEG 2000 Part 2") as error:
        send(pacs.node(), syntax="1.2.840.10008.1.2.4.92")
    assert error.value.status == 0x0122
    with pytest.raises(Rejected, match="Explicit VR Big Endian"):
        send(pacs.node(), syntax=BIG)


def test_rejected_association_says_what_helps(pacs: StandInPacs) -> None:
    pacs.behaviour.associations = "reject"
    node = pacs.node()
    for act in (lambda: scu.echo(SETTINGS, node), lambda: scu.probe(SETTINGS, node), lambda: send(node)):
        with pytest.raises(Rejected, match="does not know our AE title LMS_SR: add it there"):
            act()


def test_node_without_port_is_rejected_without_a_connection() -> None:
    with pytest.raises(Rejected, match=r"node CT1 has no port: set port of \[\[nodes\]\] CT1"):
        scu.echo(SETTINGS, Node(name="CT1", ae_title="CT1"))


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ((1, 1, 7), Rejected, r"does not answer to the AE title PEER: see ae_title of \[\[nodes\]\] PEER"),
        ((1, 1, 2), Rejected, "application context"),
        ((1, 1, 1), Rejected, "gives no reason"),
        ((1, 2, 2), Rejected, "another version"),
        ((2, 3, 1), PeerUnavailable, "for now: it is congested"),
        ((2, 1, 3), PeerUnavailable, "for now: it does not know our AE title"),
        ((2, 9, 9), PeerUnavailable, "a reason that PS3.8 does not know"),
    ],
)
def test_reason_of_a_refusal_is_told(answer: tuple[int, int, int], kind: type[Exception], words: str) -> None:
    def refuse(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(pdu(ASSOCIATE_RJ, bytes([0, *answer])))

    with raw_acceptor(refuse) as port, pytest.raises(kind, match=words):
        scu.echo(SETTINGS, loopback(port))


# --- not now -----------------------------------------------------------------------------------------------------------


def test_busy_peer_is_unavailable(pacs: StandInPacs) -> None:
    pacs.behaviour.associations = "busy"
    with pytest.raises(PeerUnavailable, match="too many associations open"):
        send(pacs.node())


def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(PeerUnavailable, match=r"PEER at 127\.0\.0\.1:\d+\) cannot be reached: Connection refused"):
        scu.echo(SETTINGS, loopback(free_port()))


def test_name_that_does_not_resolve_is_unavailable() -> None:
    node = Node(name="PEER", ae_title="PEER", host="no-such-host.invalid", port=104)
    with pytest.raises(PeerUnavailable, match="cannot be reached: Name or service not known"):
        scu.echo(SETTINGS, node)


def test_connection_that_is_not_answered_is_unavailable() -> None:
    with socket.socket() as full:
        # a listener whose queue is full: the next connection waits
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            with pytest.raises(PeerUnavailable, match="cannot be reached: no answer in time"):
                scu.echo(HASTY, loopback(port))
        finally:
            for one in waiting:
                one.close()


def test_silent_peer_is_unavailable_in_time(pacs: StandInPacs) -> None:
    pacs.behaviour.associations = "silence"
    begun = time.monotonic()
    with pytest.raises(PeerUnavailable, match="did not answer in time"):
        send(pacs.node(), settings=HASTY)
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("fault", list(Fault))
def test_no_answer_to_an_object_is_an_unknown_outcome(pacs: StandInPacs, fault: Fault) -> None:
    pacs.behaviour.next_stores = [fault]
    with pytest.raises(OutcomeUnknown, match=f"whether it holds {INSTANCE} is unknown"):
        send(pacs.node(), settings=HASTY if "silence" in fault.value else SETTINGS)
    assert pacs.stores == ({INSTANCE: 1} if fault.value.endswith("after") else {})
    # the same bytes again are the same object
    assert send(pacs.node()).status == 0
    assert pacs.archive.conflicts == []


def test_answer_that_comes_too_late_is_unknown_and_not_taken_for_the_next(pacs: StandInPacs) -> None:
    pacs.behaviour.store_delay = 0.6
    with Sender(HASTY, pacs.node(), [Offer(sop_class_uid=CT)]) as sender:
        arguments = {"sop_class_uid": CT, "sop_instance_uid": INSTANCE, "transfer_syntax_uid": EXPLICIT}
        with pytest.raises(OutcomeUnknown):
            sender.store(**arguments, part10=part10())
        pacs.behaviour.store_delay = 0
        time.sleep(0.5)
        # the association is not used any further
        with pytest.raises(PeerUnavailable, match="no longer associated"):
            sender.store(**arguments, part10=part10())


# --- peers made of bytes -----------------------------------------------------------------------------------------------


def rsp(status: int | None, *, responds_to: int = 1, comment: str = "", field: int = 0x8001) -> bytes:
    """Return the PDU of a response; a status of None leaves it out."""
    elements: dict[str, int | str] = {
        "sop_class": CT,
        "field": field,
        "responds_to": responds_to,
        "data_set_type": NO_DATA_SET,
    }
    if status is not None:
        elements["status"] = status
    if comment:
        elements["comment"] = comment
    return pdu(P_DATA, value(command(**elements), command=True))


def take_message(connection: socket.socket) -> bytes:
    """Read PDUs up to the end of a data set, or to a release; return the data set."""
    found = b""
    while True:
        kind, body = read_pdu(connection)
        if kind != P_DATA:
            return found
        at = 0
        while at < len(body):
            (length,) = struct.unpack_from(">L", body, at)
            flags = body[at + 5]
            if not flags & 1:
                found += body[at + 6 : at + 4 + length]
                if flags & 2:
                    return found
            at += 4 + length


PeerThatAnswers = Callable[..., AbstractContextManager[int]]


@pytest.fixture
def peer_that_answers() -> PeerThatAnswers:
    """Return a maker of peers that take an association and an object, answer with some bytes, and wait for the end."""

    def make(*answers: bytes, max_length: int = 16384, syntax: str = EXPLICIT) -> AbstractContextManager[int]:
        def script(connection: socket.socket) -> None:
            read_pdu(connection)
            connection.sendall(associate_ac([(1, 0, syntax), (3, 3, "")], max_length=max_length))
            take_message(connection)
            for answer in answers:
                connection.sendall(answer)
            if read_pdu(connection)[0] == RELEASE_RQ:
                connection.sendall(pdu(RELEASE_RP, bytes(4)))

        return raw_acceptor(script)

    return make


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="http"),
        pytest.param(pdu(P_DATA, value(b"garbage that is no command", command=True)), id="garbage command"),
        pytest.param(pdu(P_DATA, value(b"", command=True)), id="empty command"),
        pytest.param(pdu(P_DATA, b"\0\0\0\1\1"), id="value without header"),
        pytest.param(pdu(P_DATA, b"\xff\xff\xff\xf0\1\3"), id="value longer than its PDU"),
        pytest.param(pdu(P_DATA, b"", length=0x7FFFFFFF), id="two gigabytes"),
        pytest.param(pdu(P_DATA, b"abc", length=3)[:-1], id="half a PDU"),
        pytest.param(pdu(0x02, bytes(68)), id="association accepted again"),
        pytest.param(pdu(ABORT, bytes(4)), id="abort"),
        pytest.param(pdu(RELEASE_RQ, bytes(4)), id="release"),
        pytest.param(pdu(0x77, b"unknown"), id="unknown PDU"),
        pytest.param(rsp(None), id="no status"),
        pytest.param(rsp(0, responds_to=77), id="answer to another message"),
        pytest.param(rsp(0, field=0x8030), id="answer to an echo"),
        pytest.param(rsp(0, field=0x7777), id="unknown command"),
    ],
)
def test_answer_that_is_none_is_never_success(peer_that_answers: PeerThatAnswers, answer: bytes) -> None:
    with peer_that_answers(answer) as port, pytest.raises(OutcomeUnknown):
        send(loopback(port), settings=HASTY)


def test_late_answers_to_other_messages_are_passed_over(peer_that_answers: PeerThatAnswers) -> None:
    first, second = rsp(0, responds_to=77), rsp(0xB000)
    both = pdu(P_DATA, first[6:] + second[6:])
    for answers in ((first, second), (both,), (*(bytes([b]) for b in second),)):
        with peer_that_answers(*answers) as port:
            assert send(loopback(port)).status == 0xB000


@pytest.mark.parametrize("max_length", [0, 7, 64, 0xFFFFFFFF])
def test_largest_pdu_of_the_peer_is_kept_to(max_length: int) -> None:
    data = data_set(pixels=bytes(1000))
    seen: list[int] = []
    got: list[bytes] = []

    def script(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(associate_ac([(1, 0, EXPLICIT)], max_length=max_length))
        collected = b""
        while True:
            kind, body = read_pdu(connection)
            if kind != P_DATA:
                break
            seen.append(len(body))
            if not body[5] & 1:
                collected += body[6:]
                if body[5] & 2:
                    got.append(collected)
                    connection.sendall(rsp(0))
        connection.sendall(pdu(RELEASE_RP, bytes(4)))

    with raw_acceptor(script) as port:
        assert send(loopback(port), part10(data)).status == 0
    assert got == [data]
    assert max(seen) <= (max_length or 1 << 20)


@pytest.mark.parametrize("max_length", [1, 6])
def test_pdu_that_holds_nothing_is_the_peers_fault(peer_that_answers: PeerThatAnswers, max_length: int) -> None:
    with peer_that_answers(max_length=max_length) as port, pytest.raises(PeerUnavailable):
        send(loopback(port))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="ssh"),
        pytest.param(b"", id="closed"),
        pytest.param(pdu(ABORT, bytes(4)), id="abort"),
        pytest.param(pdu(0x02, b""), id="empty"),
        pytest.param(pdu(0x02, bytes(68) + b"\x21\0\0\x08\x01\0\0\0\x40\0\xff\xff"), id="item longer than its PDU"),
        pytest.param(associate_ac([(99, 0, EXPLICIT)]), id="context that was not proposed"),
        pytest.param(associate_ac([(2, 0, EXPLICIT)]), id="context with an even number"),
        pytest.param(pdu(ASSOCIATE_RJ, b"\0"), id="short refusal"),
        pytest.param(pdu(P_DATA, value(b"x")), id="data"),
        pytest.param(pdu(0x02, b"", length=0xFFFFFFFF), id="four gigabytes"),
    ],
)
def test_answer_to_the_association_that_is_none_is_unavailable(answer: bytes) -> None:
    def script(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(answer)
        with suppress(OSError):
            connection.shutdown(socket.SHUT_WR)
        read_pdu(connection)

    with raw_acceptor(script) as port:
        for act in (lambda: scu.echo(SETTINGS, loopback(port)), lambda: send(loopback(port))):
            with pytest.raises(PeerUnavailable):
                act()


def test_connection_that_breaks_while_sending_is_unavailable_and_not_unknown() -> None:
    def script(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(associate_ac([(1, 0, EXPLICIT)]))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    large = part10(data_set(pixels=bytes(30_000_000)))
    with (
        raw_acceptor(script) as port,
        pytest.raises(PeerUnavailable, match="broke the connection while we were sending"),
    ):
        send(loopback(port), large)


@pytest.mark.parametrize("status", [0x0110, 0x0211, None])
def test_echo_that_fails_is_not_taken_for_an_answer(status: int | None) -> None:
    def script(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(associate_ac([(1, 0, IMPLICIT)]))
        read_pdu(connection)
        connection.sendall(rsp(status, field=0x8030))
        read_pdu(connection)

    with raw_acceptor(script) as port, pytest.raises(Rejected, match="answers C-ECHO with"):
        scu.echo(SETTINGS, loopback(port))


def test_peer_without_echo_is_rejected() -> None:
    def script(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(associate_ac([(1, 3, "")]))
        read_pdu(connection)

    with raw_acceptor(script) as port, pytest.raises(Rejected, match="does not take C-ECHO"):
        scu.echo(SETTINGS, loopback(port))


@pytest.mark.parametrize(
    "goodbye",
    [
        pytest.param((), id="silence"),
        pytest.param((pdu(ABORT, bytes(4)),), id="abort"),
        pytest.param((pdu(RELEASE_RQ, bytes(4)), pdu(RELEASE_RP, bytes(4))), id="both at once"),
        pytest.param((b"garbage!",), id="garbage"),
    ],
)
def test_success_stays_success_however_the_peer_says_goodbye(goodbye: tuple[bytes, ...]) -> None:
    def script(connection: socket.socket) -> None:
        read_pdu(connection)
        connection.sendall(associate_ac([(1, 0, EXPLICIT)]))
        take_message(connection)
        connection.sendall(rsp(0))
        assert read_pdu(connection)[0] == RELEASE_RQ
        for piece in goodbye:
            connection.sendall(piece)

    with raw_acceptor(script) as port:
        assert send(loopback(port)).status == 0


# --- another encoding --------------------------------------------------------------------------------------------------


def sample(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path).read_bytes()


@pytest.fixture
def implicit_only() -> Iterator[tuple[Node, list[Dataset]]]:
    """Run a pynetdicom server that takes nothing but Implicit VR Little Endian; return it and what it got."""
    got: list[Dataset] = []

    def keep(event: Event) -> int:
        got.append(pydicom.dcmread(io.BytesIO(event.encoded_dataset())))
        return 0

    ae = AE("OLD")
    for sop_class in (CT, COMPREHENSIVE_SR, "1.2.840.10008.5.1.4.1.1.4"):
        ae.add_supported_context(sop_class, IMPLICIT)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    yield Node(name="OLD", ae_title="OLD", port=server.server_address[1]), got
    server.shutdown()


def test_peer_that_takes_implicit_only_gets_the_converted_data_set(
    implicit_only: tuple[Node, list[Dataset]],
) -> None:
    node, got = implicit_only
    (image,) = plain_study(1)
    stream = io.BytesIO()
    image.save_as(stream, enforce_file_format=True)
    for _ in range(2):
        outcome = send(node, stream.getvalue(), instance=str(image.SOPInstanceUID))
        assert outcome.status == 0
    assert [g.file_meta.TransferSyntaxUID for g in got] == [IMPLICIT] * 2
    assert got[0] == got[1] == image


def test_big_endian_goes_to_a_peer_that_takes_it() -> None:
    got: list[bytes] = []

    def script(connection: socket.socket) -> None:
        _, body = read_pdu(connection)
        assert BIG.encode() in body
        # nothing else is proposed, since it would have to be decoded
        assert body.count(CT.encode()) == 1
        connection.sendall(associate_ac([(1, 0, BIG)]))
        got.append(take_message(connection))
        connection.sendall(rsp(0))
        read_pdu(connection)
        connection.sendall(pdu(RELEASE_RP, bytes(4)))

    with raw_acceptor(script) as port:
        assert send(loopback(port), syntax=BIG).status == 0
    assert got == [data_set(syntax=BIG)]


def test_syntax_of_the_answer_decides_even_where_it_was_not_asked_for(peer_that_answers: PeerThatAnswers) -> None:
    with peer_that_answers(rsp(0), syntax=JPEG2000) as port, pytest.raises(Rejected):
        send(loopback(port))


def test_file_that_is_none_is_not_sent(pacs: StandInPacs) -> None:
    for file in (b"", b"garbage", bytes(200), part10()[:140]):
        with pytest.raises(InputError, match="the object to send is no DICOM file"):
            send(pacs.node(), file)
    assert pacs.stores == {}


# --- dcmtk -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "syntax"), [("+xe", EXPLICIT), ("+xi", IMPLICIT)])
def test_dcmtk_stores_what_we_send(tmp_path: Path, option: str, syntax: str) -> None:
    port = free_port()
    server = subprocess.Popen(
        [str(real_dcmtk("storescp")), "-aet", "PEER", option, "-od", str(tmp_path), str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dcmtk_environment(),
    )
    try:
        end = time.monotonic() + 10
        while True:
            try:
                scu.echo(SETTINGS, loopback(port))
            except PeerUnavailable:
                assert time.monotonic() < end
                time.sleep(0.02)
            else:
                break
        assert CT in {CT} - scu.probe(SETTINGS, loopback(port))
        image = sample("CT_small.dcm")
        uid = str(pydicom.dcmread(io.BytesIO(image), stop_before_pixels=True).SOPInstanceUID)
        assert send(loopback(port), image, instance=uid).status == 0
    finally:
        server.terminate()
        server.wait(10)
    (stored,) = tmp_path.iterdir()
    kept, sent = pydicom.dcmread(stored), pydicom.dcmread(io.BytesIO(image))
    assert kept.file_meta.TransferSyntaxUID == syntax
    assert kept.file_meta.SourceApplicationEntityTitle == "LMS_SR"
    assert {e.tag: e.value for e in kept} == {e.tag: e.value for e in sent if e.tag != 0xFFFCFFFC}


def test_we_say_who_we_are(pacs: StandInPacs) -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket) -> None:
        seen.append(read_pdu(connection)[1])
        connection.sendall(pdu(ABORT, bytes(4)))

    with raw_acceptor(script) as port, pytest.raises(PeerUnavailable):
        scu.echo(SETTINGS, loopback(port))
    assert seen[0][4:36] == b"PEER".ljust(16) + b"LMS_SR".ljust(16)
    assert VERIFICATION.encode() in seen[0]
    assert IMPLEMENTATION_CLASS_UID.encode() in seen[0]
    assert b"LMS_SR_0_1" in seen[0]
