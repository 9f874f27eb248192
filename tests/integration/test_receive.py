"""What the receiver promises a sender, over real sockets: it takes what it should, and success means that it is in the spool."""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.data import get_testdata_file
from pynetdicom import AE, build_context

from service.clock import ManualClock
from service.dimse import access, entrance, scp
from service.dimse.scp import Counts, Receiver
from service.errors import ConfigurationError
from service.settings import Local, Node, Settings, Storage, Triage
from service.store import draft
from service.store.spool import Spool, key_of, read_meta
from tests import dicom_bytes as db
from tests import raw_peer
from tests.dicom_bytes import BIG, CT, DEFLATED, EXPLICIT, IMPLICIT, INSTANCE, JPEG2000, MR, data_set
from tests.helpers import dcmtk_environment, real_dcmtk
from tests.raw_peer import ABORT, ASSOCIATE_RJ, P_DATA, RELEASE_RP, VERIFICATION, RawPeer, command, pdu, store_rq, value

NODES = (
    Node(name="PACS", ae_title="PACS"),
    Node(name="HEALTH", ae_title="HEALTH", may=("echo",)),
    Node(name="SCANNER", ae_title="SCANNER", may=("store",)),
    Node(name="CORRECTOR", ae_title="CORRECTOR", may=("store", "correct")),
    Node(name="ELSEWHERE", ae_title="ELSEWHERE", host="192.0.2.7"),
    Node(name="SIX", ae_title="SIX", host="::1"),
    Node(name="NAMED", ae_title="NAMED", host="named.example"),
)
#: Deflated ones, whose data sets have no limit, and those that are no DICOM encoding
NOT_TAKEN = {
    DEFLATED,
    "1.2.840.10008.1.2.4.95",
    "1.2.840.10008.1.2.4.205",
    "1.2.840.10008.1.2.6.1",
    "1.2.840.10008.1.2.6.2",
    "1.2.840.10008.1.20",
}
#: (0002,0010) of what dcmtk's storescu sends, by the option that makes it propose that
STORESCU = {
    "CT_small.dcm": "-xe",
    "MR_small_implicit.dcm": "-xi",
    "MR_small_bigendian.dcm": "-xb",
    "JPEG2000.dcm": "-xw",
    "MR_small_jpeg_ls_lossless.dcm": "-xt",
    "MR_small_RLE.dcm": "-xr",
    "SC_rgb_jpeg_gdcm.dcm": "-xs",
    "reportsi.dcm": "-xe",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """A receiver, its spool and what it logged."""

    receiver: Receiver
    spool: Spool
    clock: ManualClock
    caplog: pytest.LogCaptureFixture

    @property
    def port(self) -> int:
        return self.receiver.port

    def peer(self) -> RawPeer:
        return RawPeer(self.port)

    def files(self) -> list[str]:
        return sorted(str(p.relative_to(self.spool.root)) for p in self.spool.root.rglob("*") if p.is_file())

    def data(self, instance: str = INSTANCE) -> bytes:
        """Return the data set as it lies in the spool."""
        path = self.spool.path(key_of(instance))
        return path.read_bytes()[read_meta(path).dataset_offset :]

    def records(self, event: str) -> list[dict[str, Any]]:
        return [getattr(r, "ids", {}) for r in self.caplog.records if r.getMessage() == event]

    def told(self, event: str) -> dict[str, Any]:
        """Return the ids of the one record of this event; it may come a moment later than the answer."""
        assert until(lambda: len(self.records(event)) == 1), [r.getMessage() for r in self.caplog.records]
        return self.records(event)[0]


def until(condition: Callable[[], object], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


Start = Callable[..., Rig]


@pytest.fixture(params=["fast", "ordinary"])
def start(tmp_path: Path, caplog: pytest.LogCaptureFixture, request: pytest.FixtureRequest) -> Iterator[Start]:
    """Every promise is kept on both paths: ours, and pynetdicom's."""
    caplog.set_level(logging.DEBUG, "lms_sr")
    started: list[Receiver] = []

    def begin(*, reserve_mb: int = 0, max_object_mb: int = 16384, **local: Any) -> Rig:
        spool = Spool(tmp_path / "spool", reserve_mb=reserve_mb)
        spool.prepare()
        local = {"fast_path": request.param == "fast", **local}
        storage = Storage(max_object_mb=max_object_mb)
        settings = Settings(local=Local(**local), storage=storage, triage=Triage(always=("LMS_ALWAYS",)), nodes=NODES)
        clock = ManualClock()
        receiver = Receiver(settings, spool, clock)
        receiver.start(0)
        started.append(receiver)
        return Rig(receiver=receiver, spool=spool, clock=clock, caplog=caplog)

    yield begin
    for receiver in started:
        receiver.stop(5)
    assert until(lambda: not [t for t in threading.enumerate() if t.name.startswith("AcceptorThread")])


@pytest.fixture
def rig(start: Start) -> Rig:
    return start()


def dcmtk(program: str, rig: Rig, *arguments: str | Path, calling: str = "PACS") -> subprocess.CompletedProcess[str]:
    command_line = [
        str(real_dcmtk(program)),
        "-aet",
        calling,
        "-aec",
        "LMS_SR",
        "127.0.0.1",
        str(rig.port),
        *map(str, arguments),
    ]
    return subprocess.run(
        command_line,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
        env=dcmtk_environment(),
    )


def sample(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


# --- other implementations ---------------------------------------------------------------------------------------------


def test_dcmtk_may_echo(rig: Rig) -> None:
    assert dcmtk("echoscu", rig).returncode == 0


@pytest.mark.parametrize(("name", "option"), STORESCU.items())
def test_dcmtk_sends_and_the_object_is_in_the_spool(rig: Rig, name: str, option: str) -> None:
    done = dcmtk("storescu", rig, sample(name), option)
    assert done.returncode == 0, done.stderr
    sent = pydicom.dcmread(sample(name))
    (key,) = rig.spool.all_keys()
    assert key == key_of(str(sent.SOPInstanceUID))
    assert rig.spool.arrivals() == [key]
    kept = pydicom.dcmread(rig.spool.path(key))
    assert kept.file_meta.TransferSyntaxUID == sent.file_meta.TransferSyntaxUID
    assert kept.file_meta.MediaStorageSOPClassUID == sent.SOPClassUID
    # storescu leaves out what says nothing: group lengths and padding
    expected = {e.tag: e.value for e in sent if e.tag.element != 0 and e.tag != 0xFFFCFFFC}
    assert {e.tag: e.value for e in kept} == expected


def test_pynetdicom_echoes_and_sends_and_everything_is_told_in_the_file_meta(rig: Rig) -> None:
    image = pydicom.dcmread(sample("CT_small.dcm"))
    ae = AE("PACS")
    ae.add_requested_context(VERIFICATION)
    ae.add_requested_context(image.SOPClassUID, image.file_meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", rig.port, ae_title="LMS_ALWAYS")
    assert association.is_established
    assert association.send_c_echo().Status == 0
    assert association.send_c_store(image).Status == 0
    assert association.acceptor.implementation_version_name == "LMS_SR_0_1"
    association.release()
    assert association.is_released
    meta = read_meta(rig.spool.path(key_of(str(image.SOPInstanceUID))))
    assert (meta.calling_ae_title, meta.called_ae_title, meta.address) == ("PACS", "LMS_ALWAYS", "127.0.0.1")
    assert meta.received_at == rig.clock.now()
    assert rig.receiver.counts == Counts(stored=1)
    ended = rig.told("association_ended")
    assert (ended["how"], ended["served"], ended["failed"]) == ("released", 1, 0)


# --- negotiation -------------------------------------------------------------------------------------------------------


def test_every_transfer_syntax_of_the_standard_is_taken_and_its_bytes_are_kept(rig: Rig) -> None:
    syntaxes = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"]
    assert len(syntaxes) > 50
    with rig.peer() as peer:
        results = peer.negotiate([(CT, [s]) for s in syntaxes])
        taken = {s: 2 * n + 1 for n, s in enumerate(syntaxes) if results[2 * n + 1][0] == raw_peer.ACCEPTED}
        assert set(syntaxes) - set(taken) == NOT_TAKEN & set(syntaxes)
        for number, (syntax, context) in enumerate(taken.items()):
            assert results[context][1] == syntax
            instance = f"1.2.3.{number}"
            encoding = syntax if syntax in (IMPLICIT, BIG) else EXPLICIT
            data = data_set(instance=instance, syntax=encoding)
            assert peer.store(data, context=context, sop_instance=instance).status == 0
            assert rig.data(instance) == data
            assert read_meta(rig.spool.path(key_of(instance))).transfer_syntax_uid == syntax
        assert peer.release() == RELEASE_RP


@pytest.mark.parametrize("first", [*sorted(NOT_TAKEN), "1.2.276.0.7230010.9.9", "1.2.840.10008.1.2.4.9999"])
def test_syntax_that_is_not_taken_is_passed_over(rig: Rig, first: str) -> None:
    with rig.peer() as peer:
        results = peer.negotiate(
            [(CT, [first, JPEG2000, IMPLICIT]), (CT, [first]), (MR, [first]), (VERIFICATION, [first, IMPLICIT])]
        )
        assert results[1] == (raw_peer.ACCEPTED, JPEG2000)
        assert results[3][0] == results[5][0] == raw_peer.NO_TRANSFER_SYNTAX
        assert results[7] == (raw_peer.ACCEPTED, IMPLICIT)


def test_each_context_gets_the_first_of_its_own_syntaxes(rig: Rig) -> None:
    with rig.peer() as peer:
        results = peer.negotiate([(CT, [JPEG2000, EXPLICIT]), (CT, [IMPLICIT, EXPLICIT]), (MR, [BIG, IMPLICIT])])
        assert [results[n][1] for n in (1, 3, 5)] == [JPEG2000, IMPLICIT, BIG]


@pytest.mark.parametrize(
    "sop_class",
    [
        "1.2.840.113619.4.27",  # General Electric's
        "1.3.12.2.1107.5.9.1",  # Siemens' CSA non-image
        "1.2.840.10008.5.1.4.1.1.6",  # retired ultrasound
        "1.2.840.10008.5.1.4.1.1.999.1",  # newer than any dictionary
    ],
)
def test_private_retired_and_future_storage_classes_are_stored(rig: Rig, sop_class: str) -> None:
    with rig.peer() as peer:
        assert peer.negotiate([(sop_class, [EXPLICIT])])[1] == (raw_peer.ACCEPTED, EXPLICIT)
        data = data_set(sop_class)
        assert peer.store(data, sop_class=sop_class).status == 0
    assert rig.data() == data


def test_what_is_no_storage_class_is_refused_in_its_context_alone(rig: Rig) -> None:
    others = [
        "1.2.840.10008.5.1.4.1.2.2.1",  # Study Root FIND
        "1.2.840.10008.5.1.4.1.2.2.2",  # Study Root MOVE
        "1.2.840.10008.1.20.1",  # Storage Commitment
        "1.2.840.10008.1.3.10",  # Media Storage Directory
        "1.2.840.10008.5.1.4.38.1",  # Hanging Protocol
        "1.2.840.10008.5.1.4.31",  # Modality Worklist
        EXPLICIT,  # a transfer syntax
    ]
    with rig.peer() as peer:
        results = peer.negotiate([(CT, [EXPLICIT]), *((uid, [EXPLICIT, IMPLICIT]) for uid in others)])
        assert results.pop(1) == (raw_peer.ACCEPTED, EXPLICIT)
        assert {r for r, _ in results.values()} == {raw_peer.NO_ABSTRACT_SYNTAX}
        assert len(results) == len(others)
        assert peer.store(data_set()).status == 0


@pytest.mark.parametrize(
    ("changes", "failed", "reason"),
    [
        ({"called": "ANY-SCP"}, "called", 7),
        ({"calling": "STRANGER"}, "calling", 3),
        ({"calling": "ELSEWHERE"}, "address", 1),
        ({"called": "ANY-SCP", "calling": "STRANGER"}, "called", 7),
    ],
)
def test_refused_association_says_why_to_both_sides(
    rig: Rig, changes: dict[str, str], failed: str, reason: int
) -> None:
    with rig.peer() as peer:
        titles = {"calling": "PACS", "called": "LMS_SR", **changes}
        peer.write(raw_peer.associate_rq([(CT, [EXPLICIT])], **titles))  # type: ignore[arg-type] - titles only
        # result, source, reason (PS3.8 Table 9-21): rejected permanent by the service user
        assert peer.read() == (ASSOCIATE_RJ, bytes([0, 1, 1, reason]))
        assert peer.read() == (0, b"")
    told = rig.told("association_refused")
    assert (told["failed"], told["address"]) == (failed, "127.0.0.1")
    assert titles[failed] in told["why"] if failed in titles else "192.0.2.7" in told["why"]
    with rig.peer() as peer:
        assert peer.negotiate()[1][0] == raw_peer.ACCEPTED


def test_number_of_associations_is_limited_and_a_place_comes_free_again(start: Start) -> None:
    rig = start(max_associations=2)
    with rig.peer() as first, rig.peer() as second:
        first.negotiate()
        second.negotiate()
        with rig.peer() as third:
            third.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="PACS", called="LMS_SR"))
            # rejected transient, by the service provider (presentation): local limit exceeded
            assert third.read() == (ASSOCIATE_RJ, bytes([0, 2, 3, 2]))
        assert rig.told("association_refused")["failed"] == "limit"
        assert first.store(data_set()).status == 0
        assert second.release() == RELEASE_RP

        def let_in() -> bool:
            with rig.peer() as peer:
                peer.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="PACS", called="LMS_SR"))
                return peer.read()[0] == raw_peer.ASSOCIATE_AC

        assert until(let_in, 5)


def test_node_that_may_not_store_is_not_authorised(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.negotiate([(CT, [EXPLICIT]), (VERIFICATION, [IMPLICIT])], calling="HEALTH")
        answer = peer.store(data_set())
        assert (answer.status, answer.comment) == (0x0124, "this node may not store here")
        assert peer.release() == RELEASE_RP
    assert rig.files() == []
    assert dcmtk("echoscu", rig, calling="HEALTH").returncode == 0


def test_node_that_may_not_echo_gets_no_context_for_it(rig: Rig) -> None:
    with rig.peer() as peer:
        results = peer.negotiate([(VERIFICATION, [IMPLICIT]), (CT, [EXPLICIT])], calling="SCANNER")
        assert results[1][0] == raw_peer.NO_ABSTRACT_SYNTAX
        assert peer.store(data_set(), context=3).status == 0
    assert dcmtk("echoscu", rig, calling="SCANNER").returncode != 0


# --- the answer to C-STORE ---------------------------------------------------------------------------------------------


def test_encoded_data_set_is_kept_as_it_was_sent(rig: Rig) -> None:
    # what a parser would write otherwise: odd length, tags out of order, undefined lengths, a group length, private text
    extra = db.sequence(0x00081140, db.item(db.encode(0x00081150, "UI", CT), defined=False), defined=False)
    extra += struct.pack("<HH2sH", 0x0010, 0x4000, b"LT", 3) + b"odd" + db.encode(0x00091001, "LO", "b\xe4h ")
    data = db.encode(0x00080000, "UL", bytes(4)) + data_set(extra=extra, pixels=os.urandom(70_000))
    with rig.peer() as peer:
        peer.negotiate()
        answer = peer.store(data, message_id=0xFFFF)
    assert (answer.status, answer.responds_to, answer.field, answer.comment) == (0, 0xFFFF, 0x8001, "")
    assert rig.data() == data


def test_message_in_any_pieces_is_understood(rig: Rig) -> None:
    data = data_set(pixels=bytes(10))
    with rig.peer() as peer:
        peer.negotiate(max_length=64)
        rq = store_rq()
        # the command in two PDUs, the second of which also begins the data set; then byte by byte; then an empty end
        peer.write(pdu(P_DATA, value(rq[:30], command=True, last=False)))
        peer.write(pdu(P_DATA, value(rq[30:], command=True) + value(data[:50], last=False)))
        for byte in data[50:]:
            peer.write(pdu(P_DATA, value(bytes([byte]), last=False)))
        peer.write(pdu(P_DATA, value(b"")))
        assert peer.response().status == 0
        # all in one PDU
        other = data_set(instance="1.2.3")
        peer.write(pdu(P_DATA, value(store_rq(sop_instance="1.2.3"), command=True) + value(other)))
        assert peer.response().status == 0
        # a PDU that comes in single bytes
        for byte in pdu(P_DATA, value(store_rq(sop_instance="1.2.3"), command=True) + value(other)):
            peer.write(bytes([byte]))
        assert peer.response().status == 0
    assert rig.data() == data
    assert rig.data("1.2.3") == other
    assert rig.receiver.counts == Counts(stored=2, duplicate=1)


@pytest.mark.parametrize(
    ("data", "changes", "status", "comment"),
    [
        (data_set(sop_class=MR), {}, 0xA900, "SOP Class UID differs from the command's"),
        (data_set(instance="1.2.3"), {}, 0xA900, "SOP Instance UID differs from the command's"),
        (data_set()[:-60], {}, 0xC000, "(7FE0,0010) is longer than what holds it"),
        (data_set(drop=[0x0020000D]), {}, 0xC000, "Study Instance UID (0020,000D) is missing"),
        (data_set(syntax=IMPLICIT), {}, 0xC000, "not explicit VR"),
        (b"garbage, and no data set at all", {}, 0xC000, "not explicit VR"),
        (data_set(instance="../../x"), {"sop_instance": "../../x"}, 0x0117, "breaks the grammar of UIDs"),
        (data_set(), {"sop_instance": "1.2." + "3" * 70}, 0x0212, "names no SOP class, instance or data set"),
        (data_set(), {"sop_class": "1.2." + "3" * 70}, 0x0212, "names no SOP class, instance or data set"),
        (data_set(instance="1..2"), {"sop_instance": "1..2"}, 0x0117, "breaks the grammar of UIDs"),
        (data_set(sop_class=MR), {"sop_class": MR}, 0x0122, "not the SOP class of its presentation context"),
        (data_set(), {"sop_instance": ""}, 0x0212, "names no SOP class, instance or data set"),
        (data_set(), {"sop_class": ""}, 0x0212, "names no SOP class, instance or data set"),
    ],
)
def test_refused_object_gets_its_status_and_leaves_nothing(
    rig: Rig, data: bytes, changes: dict[str, str], status: int, comment: str
) -> None:
    with rig.peer() as peer:
        peer.negotiate()
        answer = peer.store(data, **changes)
        assert (f"{answer.status:04X}", answer.responds_to) == (f"{status:04X}", 1)
        assert comment in answer.comment
        assert rig.files() == []
        # the association goes on
        assert peer.store(data_set()).status == 0
        assert peer.release() == RELEASE_RP
    ended = rig.told("association_ended")
    assert (ended["served"], ended["failed"]) == (1, 1)
    assert "../" not in str(rig.records("instance_refused"))


def test_refusal_is_logged_without_values(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.negotiate()
        peer.store(data_set(name="SECRET^NAME", drop=[0x0020000E]))
    told = rig.told("instance_refused")
    assert (told["status"], told["calling"], told["sop_instance_uid"]) == ("C000H", "PACS", INSTANCE)
    assert "SECRET" not in rig.caplog.text + str(told)
    assert rig.receiver.counts == Counts(refused=1)


def test_request_without_data_set_is_answered(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.negotiate()
        peer.write(pdu(P_DATA, value(store_rq(data_set_type=raw_peer.NO_DATA_SET), command=True)))
        assert peer.response().status in (0x0212, 0xC000)
        assert peer.store(data_set()).status == 0


def test_store_in_the_context_of_echo_is_refused(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.negotiate([(VERIFICATION, [IMPLICIT])])
        assert peer.store(data_set(syntax=IMPLICIT)).status == 0x0122
        data = data_set(VERIFICATION, syntax=IMPLICIT)
        assert peer.store(data, sop_class=VERIFICATION).status == 0x0122
    assert rig.files() == []


def test_no_room_is_out_of_resources_and_echo_goes_on(start: Start) -> None:
    rig = start(reserve_mb=10**12)
    with rig.peer() as peer:
        peer.negotiate([(CT, [EXPLICIT]), (VERIFICATION, [IMPLICIT])])
        answer = peer.store(data_set())
        assert (answer.status, answer.comment) == (0xA700, "spool: the disk reserve is reached")
        echo = command(sop_class=VERIFICATION, field=raw_peer.ECHO_RQ, message_id=2, data_set_type=0x0101)
        peer.write(pdu(P_DATA, value(echo, context=3, command=True)))
        answer = peer.response()
        assert (answer.status, answer.responds_to, answer.field) == (0, 2, 0x8030)
    assert rig.files() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
@pytest.mark.parametrize("size", [128, 300_000])
def test_a_disk_that_does_not_take_it_is_out_of_resources(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, number: int, size: int
) -> None:
    """Full, over quota, read-only, broken: the sender hears to try again, nothing is left, C-ECHO goes on, and so does all when it is mended."""

    def failing(_fd: int, _piece: object) -> None:
        raise OSError(number, os.strerror(number))

    with rig.peer() as peer:
        peer.negotiate([(CT, [EXPLICIT]), (VERIFICATION, [IMPLICIT])])
        with monkeypatch.context() as patch:
            patch.setattr(draft, "write_all", failing)
            answer = peer.store(data_set(pixels=bytes(size)))
            assert (answer.status, answer.comment) == (0xA700, f"spool: {os.strerror(number)}")
            echo = command(sop_class=VERIFICATION, field=raw_peer.ECHO_RQ, message_id=2, data_set_type=0x0101)
            peer.write(pdu(P_DATA, value(echo, context=3, command=True)))
            assert peer.response().status == 0
        assert rig.files() == []
        assert peer.store(data_set(pixels=bytes(size))).status == 0
    assert rig.data() == data_set(pixels=bytes(size))
    assert rig.told("spool_write_failed")["reason"] == os.strerror(number)


def test_descriptors_are_back_when_the_senders_have_gone(rig: Rig) -> None:
    """Files that are made beforehand are as many as there are senders, and go with them."""
    before = _descriptors()
    for n in range(12):
        with rig.peer() as peer:
            peer.negotiate()
            assert peer.store(data_set(instance=f"{INSTANCE}.{n}"), sop_instance=f"{INSTANCE}.{n}").status == 0
            assert peer.store(data_set(pixels=b"")[:-8]).status != 0
    assert until(lambda: _descriptors() <= before)


def test_a_spool_that_is_gone_for_a_while_is_not_made_anew_elsewhere(rig: Rig) -> None:
    """A disk that was detached: what lies below its mount point must not take the objects."""
    aside = rig.spool.root.with_name("aside")
    with rig.peer() as peer:
        peer.negotiate()
        rig.spool.root.rename(aside)
        for size in (128, 300_000):
            assert peer.store(data_set(pixels=bytes(size))).status == 0xA700
        assert not rig.spool.root.exists()
        # mounted again empty, as after a mistake in the mount table
        rig.spool.root.mkdir()
        assert peer.store(data_set()).status == 0xA700
        assert list(rig.spool.root.iterdir()) == []
        rig.spool.root.rmdir()
        aside.rename(rig.spool.root)
        assert peer.store(data_set()).status == 0
    assert rig.data() == data_set()


def test_unexpected_error_is_a_processing_failure_and_not_silence(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise KeyError("SECRET^NAME")

    with rig.peer() as peer:
        peer.negotiate()
        with monkeypatch.context() as patch:
            patch.setattr(rig.spool, "keep", broken)
            answer = peer.store(data_set())
        assert answer.status == 0x0110
        assert "SECRET" not in answer.comment
        assert peer.store(data_set()).status == 0
    assert rig.told("instance_failed")["sop_instance_uid"] == INSTANCE


def test_same_uid_again_is_success_and_never_overwrites(rig: Rig) -> None:
    other = data_set(study="1.2.3.4", pixels=bytes(range(128)))
    with rig.peer() as peer:
        peer.negotiate([(CT, [EXPLICIT]), (CT, [IMPLICIT])])
        for data, context in (
            (data_set(), 1),
            (data_set(), 1),
            (data_set(syntax=IMPLICIT), 3),
            (other, 1),
            (other, 1),
        ):
            answer = peer.store(data, context=context)
            assert (answer.status, answer.comment) == (0, "")
    assert rig.receiver.counts == Counts(stored=1, duplicate=1, other_syntax=1, conflict=2)
    assert rig.data() == data_set()
    (held,) = rig.spool.quarantined()
    assert held.path.read_bytes().endswith(other)
    # it is told once, not each time that a PACS repeats it
    told = rig.told("instance_conflict")
    assert (told["quarantined"], told["calling"]) == (held.path.name, "PACS")
    assert rig.spool.arrivals() == [key_of(INSTANCE)]


def test_who_may_correct_gives_what_we_hold_another_header(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.negotiate()
        assert peer.store(data_set()).status == 0
        assert peer.store(data_set(name="OTHER^NAME")).status == 0
    assert rig.receiver.counts == Counts(stored=1, conflict=1)
    assert rig.data() == data_set()
    with rig.peer() as peer:
        peer.negotiate(calling="CORRECTOR")
        assert peer.store(data_set(name="OTHER^NAME")).status == 0
        assert peer.store(data_set(name="OTHER^NAME")).status == 0
        assert peer.store(data_set(pixels=b"\1" * 128)).status == 0
    assert rig.receiver.counts == Counts(stored=1, conflict=2, corrected=1, duplicate=1)
    assert rig.data() == data_set(name="OTHER^NAME")
    (before,) = (rig.spool.root / "earlier").rglob("*.dcm")
    assert before.read_bytes().endswith(data_set())
    told = rig.told("instance_corrected")
    assert (told["sop_instance_uid"], told["calling"]) == (INSTANCE, "CORRECTOR")
    assert "OTHER^NAME" not in rig.caplog.text


# --- peers that go away, stall or misbehave ----------------------------------------------------------------------------


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _abort(peer: RawPeer) -> None:
    peer.write(pdu(ABORT, bytes(4)))


def _close(peer: RawPeer) -> None:
    peer.socket.shutdown(socket.SHUT_RDWR)


def _reset(peer: RawPeer) -> None:
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.socket.close()


def _release(peer: RawPeer) -> None:
    peer.write(pdu(raw_peer.RELEASE_RQ, bytes(4)))


def _half_a_pdu(peer: RawPeer) -> None:
    peer.write(pdu(P_DATA, value(data_set()[50:100]), length=5000))
    peer.socket.close()


def _garbage(peer: RawPeer) -> None:
    peer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert peer.read()[0] == ABORT
    peer.socket.close()


def _huge_pdu(peer: RawPeer) -> None:
    peer.write(pdu(P_DATA, b"", length=0x7FFFFFFF))


@pytest.mark.parametrize("leave", [_abort, _close, _reset, _release, _half_a_pdu, _garbage, _huge_pdu])
def test_peer_that_leaves_in_the_middle_of_an_object_leaves_nothing(rig: Rig, leave: Callable[[RawPeer], None]) -> None:
    descriptors = _descriptors()
    with rig.peer() as peer:
        peer.negotiate()
        peer.write(pdu(P_DATA, value(store_rq(), command=True)))
        peer.write_data(data_set()[:50], last=False)
        leave(peer)
        assert until(lambda: not [t for t in threading.enumerate() if t.name.startswith("AcceptorThread")])
    assert rig.files() == []
    assert rig.receiver.counts == Counts()
    assert until(lambda: _descriptors() <= descriptors)
    with rig.peer() as peer:
        peer.negotiate()
        assert peer.store(data_set()).status == 0


def _not_a_message(content: bytes) -> bytes:
    return pdu(P_DATA, value(content, command=True))


@pytest.mark.parametrize(
    "raw",
    [
        _not_a_message(b"garbage that is no command set"),
        _not_a_message(b""),
        _not_a_message(command(sop_class=CT, field=0x7777, message_id=1, data_set_type=0x0101)),
        _not_a_message(command(sop_class=CT, message_id=1, data_set_type=0x0101)),
        pdu(P_DATA, value(store_rq(), command=True, context=99) + value(data_set(), context=99)),
        pdu(P_DATA, value(store_rq(message_id=""), command=True) + value(data_set())),
        _not_a_message(command(sop_class=CT, field=raw_peer.FIND_RQ, message_id=1, priority=0, data_set_type=0x0101)),
        _not_a_message(
            command(
                sop_class=CT,
                field=raw_peer.EVENT_REPORT_RQ,
                message_id=1,
                data_set_type=0x0101,
                sop_instance=INSTANCE,
                event_type=1,
            )
        ),
        pdu(P_DATA, struct.pack(">LBB", 0xFFFFFFF0, 1, 3)),
        pdu(P_DATA, struct.pack(">LB", 1, 1)),
        pdu(P_DATA, b""),
        pdu(raw_peer.ASSOCIATE_RQ, bytes(70)),
        pdu(raw_peer.RELEASE_RQ, b""),
        pdu(0x77, b"unknown"),
    ],
    ids=[
        "no command set",
        "empty command",
        "unknown command",
        "command without its field",
        "context that was not accepted",
        "no message ID",
        "find",
        "event report",
        "value longer than its PDU",
        "value without header",
        "no value",
        "association request again",
        "short release",
        "unknown PDU",
    ],
)
def test_request_that_is_none_ends_the_association_and_no_other(rig: Rig, raw: bytes) -> None:
    with rig.peer() as other, rig.peer() as peer:
        other.negotiate()
        peer.negotiate()
        peer.write(raw)
        if raw != pdu(P_DATA, b""):
            peer.socket.settimeout(5)
            assert peer.read()[0] in (ABORT, RELEASE_RP, 0)
        assert other.store(data_set()).status == 0
    assert rig.receiver.counts == Counts(stored=1)


def test_abort_from_a_source_that_is_none_ends_the_association_at_once(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.negotiate()
        peer.write(pdu(ABORT, b"\0\0\xfd\0"))
        # while the connection is still open on this side
        assert until(lambda: not [t for t in threading.enumerate() if t.name.startswith("AcceptorThread")])


def test_context_without_abstract_syntax_is_answered_with_an_abort(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    asked = raw_peer.associate_rq([(CT, [EXPLICIT])], calling="PACS", called="LMS_SR")
    with rig.peer() as peer:
        peer.write(asked.replace(b"\x30\0", b"\x38\0", 1))
        peer.socket.settimeout(5)
        assert peer.read()[0] == ABORT
    assert not [r for r in caplog.records if r.exc_info]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x01",
        b"GET / HTTP/1.1\r\n\r\n",
        pdu(raw_peer.ASSOCIATE_RQ, b""),
        pdu(raw_peer.ASSOCIATE_RQ, bytes(range(200))),
        pdu(raw_peer.ASSOCIATE_RQ, b"", length=0xFFFFFFFF),
        pdu(raw_peer.ASSOCIATE_AC, bytes(80)),
        pdu(raw_peer.RELEASE_RQ, bytes(4)),
        pdu(P_DATA, value(store_rq(), command=True)),
    ],
    ids=["nothing", "one byte", "http", "empty", "noise", "four gigabytes", "acceptance", "release", "data"],
)
def test_connection_that_is_no_dicom_harms_nobody(start: Start, monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    # a thread waits that long for the request of a connection that has gone
    monkeypatch.setattr(scp, "ASSOCIATE_TIMEOUT", 0.3)
    rig = start()
    with rig.peer() as peer:
        peer.write(raw)
        if len(raw) > 1:
            peer.socket.settimeout(5)
            # noise may name a caller, whom we do not know
            assert peer.read()[0] in (ABORT, ASSOCIATE_RJ, 0)
    with rig.peer() as peer:
        peer.negotiate()
        assert peer.store(data_set()).status == 0


def test_peer_that_says_nothing_is_let_go(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scp, "ASSOCIATE_TIMEOUT", 0.2)
    monkeypatch.setattr(scp, "IDLE_TIMEOUT", 0.3)
    monkeypatch.setattr(scp, "STALL_TIMEOUT", 0.4)
    rig = start()
    with rig.peer() as never, rig.peer() as idle, rig.peer() as stalled:
        idle.negotiate()
        stalled.negotiate()
        stalled.write(pdu(P_DATA, b"abc", length=5000))
        for peer in (never, idle, stalled):
            peer.socket.settimeout(5)
            assert peer.read()[0] in (ABORT, 0)
    assert rig.files() == []


def test_peer_that_drips_a_pdu_is_let_go_when_its_time_is_over(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scp, "STALL_TIMEOUT", 0.5)
    rig = start()
    with rig.peer() as peer:
        peer.negotiate()
        begun = time.monotonic()
        whole = pdu(P_DATA, value(store_rq(), command=True))
        with suppress(ConnectionError):
            for byte in whole:
                peer.write(bytes([byte]))
                time.sleep(0.05)
        assert time.monotonic() - begun < 0.05 * len(whole) - 1
        peer.socket.settimeout(5)
        assert peer.read()[0] in (ABORT, 0)
    assert rig.receiver.counts == Counts()


def test_clock_that_is_set_ends_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    real, jump = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + jump[0])
    with rig.peer() as peer:
        peer.negotiate()
        for number, jump[0] in enumerate((3600.0, -3600.0, 86400.0)):
            time.sleep(0.02)
            uid = f"1.2.{number}"
            assert peer.store(data_set(instance=uid), sop_instance=uid).status == 0
        assert peer.release() == RELEASE_RP


def test_object_without_end_is_cut_off_and_leaves_nothing(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scp, "_MEGABYTE", 1)
    rig = start(max_object_mb=300_000)
    with rig.peer() as peer:
        peer.negotiate()
        assert peer.store(data_set(pixels=bytes(200_000))).status == 0
        peer.write(pdu(P_DATA, value(store_rq(sop_instance="1.2.3"), command=True)))
        with suppress(ConnectionError):
            for _ in range(500):
                peer.write_data(bytes(16_000), last=False)
        peer.socket.settimeout(5)
        assert peer.read()[0] in (ABORT, 0)
    assert until(lambda: rig.spool.arrivals() == [key_of(INSTANCE)] and len(rig.files()) == 2)
    assert rig.receiver.counts == Counts(stored=1)


def test_sender_that_does_not_wait_for_answers_is_held_back_and_served(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = rig.spool.keep

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(0.05)
        return keep(*args, **kwargs)

    monkeypatch.setattr(rig.spool, "keep", slow)
    with rig.peer() as peer:
        peer.negotiate()

        def send() -> None:
            for number in range(20):
                uid = f"1.2.{number}"
                peer.write(pdu(P_DATA, value(store_rq(sop_instance=uid, message_id=number), command=True)))
                peer.write_data(data_set(instance=uid, pixels=bytes(300_000)))

        Path("/proc/self/clear_refs").write_text("5")
        before = _peak_kilobytes()
        sender = threading.Thread(target=send)
        sender.start()
        assert [peer.response().responds_to for _ in range(20)] == list(range(20))
        sender.join(10)
        # 6 MB were sent, of which few at a time are here
        assert _peak_kilobytes() - before < 4000
    assert rig.receiver.counts == Counts(stored=20)


@pytest.mark.parametrize(
    "raw",
    [pdu(ABORT, bytes(4)), pdu(0x77, bytes(4)), pdu(raw_peer.RELEASE_RQ, bytes(4))],
    ids=["abort", "unknown", "release"],
)
def test_peer_that_leaves_while_it_is_let_in_harms_nobody(rig: Rig, raw: bytes) -> None:
    came, gone = threading.Event(), threading.Event()

    def slow(host: str) -> frozenset[Any]:
        came.set()
        gone.wait(10)
        return access.resolve("127.0.0.1")

    rig.receiver._addresses_of = slow
    with rig.peer() as peer:
        peer.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="NAMED", called="LMS_SR"))
        assert came.wait(10)
        peer.write(raw)
        # until our side has read it
        time.sleep(0.1)
        gone.set()
        peer.socket.settimeout(5)
        kind, _ = peer.read()
        if kind == raw_peer.ASSOCIATE_AC:
            kind, _ = peer.read()
        assert kind in (ABORT, RELEASE_RP, 0)
    # an exception in a thread would fail this test
    assert until(lambda: not [t for t in threading.enumerate() if t.name.startswith("AcceptorThread")])
    with rig.peer() as peer:
        peer.negotiate()
        assert peer.store(data_set()).status == 0


def test_peer_that_leaves_while_its_object_is_kept_can_send_it_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    came, gone = threading.Event(), threading.Event()
    keep = rig.spool.keep

    def slow(*args: Any, **kwargs: Any) -> Any:
        came.set()
        gone.wait(10)
        return keep(*args, **kwargs)

    with monkeypatch.context() as patch, rig.peer() as peer:
        patch.setattr(rig.spool, "keep", slow)
        peer.negotiate()
        peer.write(pdu(P_DATA, value(store_rq(), command=True) + value(data_set())))
        assert came.wait(10)
        _abort(peer)
        _reset(peer)
        gone.set()
        assert until(lambda: rig.receiver.counts == Counts(stored=1))
    with rig.peer() as peer:
        peer.negotiate()
        assert peer.store(data_set()).status == 0
    assert rig.receiver.counts == Counts(stored=1, duplicate=1)


def test_error_of_ours_lets_nobody_in_and_is_logged(rig: Rig) -> None:
    def broken(host: str) -> frozenset[Any]:
        raise RuntimeError("SECRET")

    rig.receiver._addresses_of = broken
    with rig.peer() as peer:
        peer.write(raw_peer.associate_rq([(CT, [EXPLICIT])], calling="NAMED", called="LMS_SR"))
        # rejected transient: it is no fault of the peer's
        assert peer.read() == (ASSOCIATE_RJ, bytes([0, 2, 3, 1]))
    assert rig.told("association_failed")["address"] == "127.0.0.1"
    with rig.peer() as peer:
        peer.negotiate()


def test_connection_that_cannot_be_set_up_is_logged_and_the_next_is_taken(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(connection: socket.socket, timeout: float) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    with monkeypatch.context() as patch:
        patch.setattr(entrance, "tune", broken)
        with rig.peer() as peer:
            assert peer.read()[0] == 0
    assert rig.told("connection_failed") == {"address": "127.0.0.1", "error": "OSError"}
    with rig.peer() as peer:
        peer.negotiate()


# --- many, and large ---------------------------------------------------------------------------------------------------


def test_associations_in_parallel_are_all_stored(rig: Rig) -> None:
    objects = {f"1.2.3.{n}": data_set(instance=f"1.2.3.{n}", pixels=os.urandom(40_000)) for n in range(96)}
    failures: list[object] = []

    def send(part: list[str]) -> None:
        try:
            with rig.peer() as peer:
                peer.negotiate()
                failures.extend(u for u in part if peer.store(objects[u], sop_instance=u).status)
                assert peer.release() == RELEASE_RP
        except Exception as error:  # noqa: BLE001 - told in the test's own thread
            failures.append(error)

    uids = list(objects)
    threads = [threading.Thread(target=send, args=(uids[n::12],)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    assert rig.receiver.counts == Counts(stored=96)
    assert all(rig.data(uid) == data for uid, data in objects.items())
    assert len(rig.spool.arrivals()) == 96


def _peak_kilobytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])


def test_memory_does_not_grow_with_the_object(rig: Rig, tmp_path: Path) -> None:
    size = 20_000_000
    image = pydicom.dcmread(sample("CT_small.dcm"))
    image.Rows, image.Columns = 5000, 2000
    image.PixelData = os.urandom(size)
    image.save_as(tmp_path / "large.dcm")
    expected = image.PixelData
    # the first object brings what is loaded once
    assert dcmtk("storescu", rig, sample("MR_small_implicit.dcm"), "-xi").returncode == 0
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_kilobytes()
    assert dcmtk("storescu", rig, tmp_path / "large.dcm", "-xe").returncode == 0
    grown = (_peak_kilobytes() - before) * 1024
    # on the fast path it is never in memory; pynetdicom's own holds it once and a half
    assert grown < (0.5 if rig.receiver._settings.local.fast_path else 2.5) * size
    assert pydicom.dcmread(rig.spool.path(key_of(str(image.SOPInstanceUID)))).PixelData == expected


# --- starting and stopping ---------------------------------------------------------------------------------------------


def test_stop_finishes_and_answers_the_object_in_flight(rig: Rig) -> None:
    data = data_set(pixels=os.urandom(40_000))
    with rig.peer() as idle, rig.peer() as peer:
        idle.negotiate()
        peer.negotiate()
        port = rig.port
        peer.write(pdu(P_DATA, value(store_rq(), command=True)))
        peer.write_data(data[:20_000], last=False)
        time.sleep(0.1)
        stopper = threading.Thread(target=rig.receiver.stop, args=(10,))
        stopper.start()
        assert until(lambda: rig.receiver.is_stopping)
        assert idle.read()[0] in (ABORT, 0)
        with pytest.raises(ConnectionError):
            RawPeer(port)
        peer.write_data(data[20_000:])
        assert peer.response().status == 0
        assert peer.read()[0] in (ABORT, 0)
        stopper.join(10)
        assert not stopper.is_alive()
    assert rig.data() == data
    assert rig.port == 0
    assert rig.told("receiver_stopped")["associations"] == 2


def test_stop_cuts_what_takes_too_long_without_an_answer(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.negotiate()
        peer.write(pdu(P_DATA, value(store_rq(), command=True)))
        peer.write_data(data_set()[:50], last=False)
        time.sleep(0.1)
        begun = time.monotonic()
        rig.receiver.stop(0.3)
        assert time.monotonic() - begun < 3
        peer.socket.settimeout(5)
        assert peer.read()[0] in (ABORT, 0)
    assert rig.files() == []


def test_stopping_twice_and_before_the_start_is_nothing(rig: Rig) -> None:
    rig.receiver.stop()
    rig.receiver.stop()
    Receiver(Settings(), rig.spool, rig.clock).stop()


def test_address_of_ipv6_is_told(start: Start) -> None:
    rig = start(bind="::1")
    with RawPeer(rig.port, "::1") as peer:
        peer.negotiate(calling="SIX")
        assert peer.store(data_set()).status == 0
    assert read_meta(rig.spool.path(key_of(INSTANCE))).address == "::1"


def test_port_in_use_is_one_clear_error(rig: Rig) -> None:
    other = Receiver(Settings(nodes=NODES), rig.spool, rig.clock)
    with pytest.raises(ConfigurationError) as error:
        other.start(rig.port)
    assert str(error.value) == (
        f"port {rig.port} on 127.0.0.1 is in use: stop the program that listens there, or set [local] port"
    )
    assert other.port == 0
    other.stop()


@pytest.mark.parametrize("bind", ["192.0.2.1", "no-such-host.invalid", "2001:db8::1"])
def test_address_of_another_machine_is_one_clear_error(rig: Rig, bind: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{bind} is no address of this machine; set \[local\] bind"):
        Receiver(Settings(local=Local(bind=bind)), rig.spool, rig.clock).start(0)


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EACCES, "above 1023"), (errno.ENOBUFS, r"No buffer space .*: see \[local\] bind")]
)
def test_other_reasons_are_told_with_the_way_out(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def fails(self: socket.socket, address: object) -> None:
        raise OSError(number, os.strerror(number))

    # root may use any port, so the refusal is played
    monkeypatch.setattr(socket.socket, "bind", fails)
    with pytest.raises(ConfigurationError, match=words):
        Receiver(Settings(), rig.spool, rig.clock).start(104)


def test_several_messages_in_one_pdu_are_all_answered(rig: Rig) -> None:
    with rig.peer() as peer:
        peer.negotiate([(CT, [EXPLICIT]), (VERIFICATION, [IMPLICIT])])
        echo = command(sop_class=VERIFICATION, field=raw_peer.ECHO_RQ, message_id=2, data_set_type=0x0101)
        first = value(store_rq(), command=True) + value(data_set())
        peer.write(pdu(P_DATA, first + value(echo, context=3, command=True)))
        assert [peer.response().responds_to for _ in range(2)] == [1, 2]
    assert rig.receiver.counts == Counts(stored=1)


def test_proposal_of_pynetdicom_defaults_is_answered(rig: Rig) -> None:
    ae = AE("PACS")
    ae.requested_contexts = [build_context(CT)]
    association = ae.associate("127.0.0.1", rig.port, ae_title="LMS_SR")
    # its defaults hold Deflated, which is not chosen
    assert [c.transfer_syntax for c in association.accepted_contexts] == [[IMPLICIT]]
    association.release()
