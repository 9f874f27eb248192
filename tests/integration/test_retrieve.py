"""Objects that a node is asked for: those that were asked for, all or with a word on what lacks, and never one from somewhere else."""

from __future__ import annotations

import copy
import datetime as dt
import io
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.events import Event

from service.clock import ManualClock
from service.demo.pacs import StandInPacs
from service.demo.phantom import plain_study, save
from service.dimse import retrieve
from service.dimse.query import FoundSeries, series_in, studies_of
from service.dimse.retrieve import STUDY_ROOT_GET, STUDY_ROOT_MOVE, Incoming, Wanted
from service.dimse.scp import Receiver
from service.errors import PeerUnavailable, Refused, Rejected
from service.settings import Local, Node, Outgoing, Settings
from service.store.spool import Spool, key_of
from tests.e2e import orthanc
from tests.helpers import ROOT, free_port

SETTINGS = Settings(local=Local(ae_title="LMS_SR"), outgoing=Outgoing(timeout_seconds=10))
STS = ROOT / "tests" / "data" / "sts_002"


@dataclass
class Kept:
    """What was handed over."""

    objects: list[Incoming] = field(default_factory=list)
    refuse: int = 0

    def __call__(self, incoming: Incoming) -> None:
        if self.refuse:
            raise Refused("no room", self.refuse)
        self.objects.append(incoming)

    @property
    def uids(self) -> set[str]:
        return {o.sop_instance_uid for o in self.objects}


def wanted(*objects: Dataset, sop_class: str | None = None) -> list[Wanted]:
    return [
        Wanted(
            study_instance_uid=str(ds.StudyInstanceUID),
            series_instance_uid=str(ds.SeriesInstanceUID),
            sop_instance_uid=str(ds.SOPInstanceUID),
            sop_class_uid=str(ds.SOPClassUID) if sop_class is None else sop_class,
        )
        for ds in objects
    ]


@dataclass
class GetPeer:
    """A peer that answers C-GET and C-MOVE as a test says."""

    node: Node
    asked: list[Dataset] = field(default_factory=list)


@contextmanager
def get_peer(
    objects: list[Dataset], *, status: int | None = None, more: list[Dataset] | None = None, classes: bool = True
) -> Iterator[GetPeer]:
    ae = AE("PEER")
    for ds in [*objects, *(more or [])] if classes else []:
        ae.add_supported_context(ds.SOPClassUID, ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"], True, True)
    ae.add_supported_context(STUDY_ROOT_GET)
    ae.add_supported_context(STUDY_ROOT_MOVE)

    def on_get(event: Event) -> Iterator[Any]:
        peer.asked.append(event.identifier)
        named = event.identifier.SOPInstanceUID
        uids = {str(u) for u in ([named] if isinstance(named, str) else named)}
        chosen = [ds for ds in objects if str(ds.SOPInstanceUID) in uids] + (more or [])
        yield len(chosen)
        if status is not None:
            yield status, None
            return
        for ds in chosen:
            yield 0xFF00, ds

    def on_move(event: Event) -> Iterator[Any]:
        peer.asked.append(event.identifier)
        yield None, None

    connections: list[socket.socket] = []

    def on_open(event: Event) -> None:
        wrapped = event.assoc.dul.socket
        assert wrapped is not None
        assert wrapped.socket is not None
        connections.append(wrapped.socket)

    handlers: list[Any] = [(evt.EVT_CONN_OPEN, on_open), (evt.EVT_C_GET, on_get), (evt.EVT_C_MOVE, on_move)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    peer = GetPeer(Node(name="PEER", ae_title="PEER", port=server.server_address[1]))
    try:
        yield peer
    finally:
        server.shutdown()
        # pynetdicom leaves a socket open whose peer has gone
        for connection in connections:
            connection.close()


@pytest.fixture(scope="module")
def study() -> list[Dataset]:
    return plain_study(5)


# --- C-FIND ------------------------------------------------------------------------------------------------------------


def test_studies_of_a_patient_and_of_no_other_are_named(study: list[Dataset]) -> None:
    other = plain_study(2, seed="another patient")
    with StandInPacs() as pacs:
        pacs.put([*study, *other])
        patient = str(study[0].PatientID)
        assert patient != str(other[0].PatientID)
        (found,) = studies_of(SETTINGS, pacs.node(), patient)
        assert (found.study_instance_uid, found.date) == (str(study[0].StudyInstanceUID), str(study[0].StudyDate))
        # to the node that is a wild card
        assert studies_of(SETTINGS, pacs.node(), "*") == ()
        assert {s.modality for s in series_in(SETTINGS, pacs.node(), found.study_instance_uid)} == {"CT"}


# --- C-GET -------------------------------------------------------------------------------------------------------------


def test_instances_that_are_asked_for_come_over_the_association(study: list[Dataset]) -> None:
    kept = Kept()
    with get_peer(study) as peer:
        done = retrieve.get(SETTINGS, peer.node, wanted(*study[:3]), kept, seconds=20)
    assert (done.sent, done.failed, done.lacking) == (3, 0, "")
    assert kept.uids == {str(ds.SOPInstanceUID) for ds in study[:3]}
    first = dcmread(io.BytesIO(kept.objects[0].data_set), force=True)
    assert first.PatientID == study[0].PatientID
    (request,) = peer.asked
    assert request.QueryRetrieveLevel == "IMAGE"
    assert len(request.SOPInstanceUID) == 3


def test_a_class_that_the_node_did_not_name_is_asked_for_as_the_likely_ones(study: list[Dataset]) -> None:
    kept = Kept()
    with get_peer(study) as peer:
        assert not retrieve.get(SETTINGS, peer.node, wanted(study[0], sop_class=""), kept, seconds=20).lacking
    assert len(kept.objects) == 1


def test_what_nobody_asked_for_is_not_taken(study: list[Dataset]) -> None:
    kept = Kept()
    with get_peer(study[:1], more=study[1:2]) as peer:
        done = retrieve.get(SETTINGS, peer.node, wanted(study[0]), kept, seconds=20)
    assert kept.uids == {str(study[0].SOPInstanceUID)}
    assert (done.sent, done.failed) == (1, 1)
    assert "B000H (some of the objects could not be sent): 1 failed" in done.lacking


def test_what_cannot_be_kept_is_told(study: list[Dataset]) -> None:
    with get_peer(study) as peer, pytest.raises(PeerUnavailable, match="A702H"):
        retrieve.get(SETTINGS, peer.node, wanted(*study[:2]), Kept(refuse=0xA700), seconds=20)


def test_a_large_request_goes_in_pieces(study: list[Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieve, "CHUNK", 2)
    kept = Kept()
    with get_peer(study) as peer:
        assert retrieve.get(SETTINGS, peer.node, wanted(*study), kept, seconds=20).sent == 5
    assert len(peer.asked) == 3
    assert len(kept.uids) == 5


@pytest.mark.parametrize(("status", "kind"), [(0xA701, PeerUnavailable), (0xA900, Rejected), (0xC001, Rejected)])
def test_a_refusal_is_one(study: list[Dataset], status: int, kind: type[Exception]) -> None:
    with get_peer(study, status=status) as peer, pytest.raises(kind, match=f"answers C-GET with {status:04X}H"):
        retrieve.get(SETTINGS, peer.node, wanted(*study), Kept(), seconds=20)


def test_a_node_without_c_get_says_the_way_out(study: list[Dataset]) -> None:
    with StandInPacs() as pacs:
        with pytest.raises(Rejected, match=r'does not take C-GET .*retrieve = "move"'):
            retrieve.get(SETTINGS, pacs.node(), wanted(*study), Kept(), seconds=20)
        with pytest.raises(Rejected, match=r'does not take C-MOVE .*retrieve = "get"'):
            retrieve.move(SETTINGS, pacs.node(), wanted(*study), seconds=20)


def test_no_more_time_is_no_more_requests(study: list[Dataset]) -> None:
    with get_peer(study) as peer:
        done = retrieve.get(SETTINGS, peer.node, wanted(*study), Kept(), seconds=0)
        assert done.lacking.endswith("did not send all of it in time")
    assert peer.asked == []


def test_an_object_that_is_too_large_ends_it(study: list[Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.dimse.requestor.LARGEST_OBJECT", 1000)
    large = copy.deepcopy(study[0])
    # more than one PDU
    large.PixelData = bytes(300_000)
    with get_peer([large]) as peer, pytest.raises(PeerUnavailable, match="sends an object of more than"):
        retrieve.get(SETTINGS, peer.node, wanted(large), Kept(), seconds=20)


def test_a_move_to_us_that_the_node_does_not_know_says_the_way_out(study: list[Dataset]) -> None:
    with get_peer(study) as peer, pytest.raises(Rejected, match=r"A801H .*add our AE title there"):
        retrieve.move(SETTINGS, peer.node, wanted(*study), seconds=20)


# --- Orthanc -----------------------------------------------------------------------------------------------------------


def test_orthanc_gives_and_moves(tmp_path: Path, study: list[Dataset]) -> None:
    spool = Spool(tmp_path / "spool", durability="write")
    spool.prepare()
    service = free_port()
    with orthanc.running(tmp_path / "orthanc", service_port=service, stable_seconds=600) as pacs:
        seg, report = dcmread(STS / "CT_SEG.dcm"), dcmread(STS / "CT_SR_TID1500.dcm")
        pacs.send(*save(study, tmp_path / "study"), STS / "CT_SEG.dcm", STS / "CT_SR_TID1500.dcm")
        node = Node(name="ORTHANC", ae_title="PACS", port=pacs.dicom)
        (found,) = studies_of(SETTINGS, node, str(seg.PatientID))
        assert found.modalities == {"SEG", "SR"}
        assert {s.series_instance_uid: s.modality for s in series_in(SETTINGS, node, found.study_instance_uid)} == {
            str(seg.SeriesInstanceUID): "SEG",
            str(report.SeriesInstanceUID): "SR",
        }
        assert isinstance(series_in(SETTINGS, node, str(study[0].StudyInstanceUID))[0], FoundSeries)

        kept = Kept()
        done = retrieve.get(SETTINGS, node, wanted(seg, report, *study[:2]), kept, seconds=30)
        assert (done.sent, done.failed, done.lacking) == (4, 0, "")
        came = {o.sop_instance_uid: dcmread(io.BytesIO(o.data_set), force=True) for o in kept.objects}
        assert came[str(seg.SOPInstanceUID)].PixelData == seg.PixelData
        assert len(came) == 4

        receiving = Settings(
            local=Local(ae_title="LMS_SR", port=service),
            nodes=(Node(name="ORTHANC", ae_title="PACS", port=pacs.dicom),),
        )
        receiver = Receiver(receiving, spool, ManualClock(dt.datetime(2026, 3, 1, tzinfo=dt.UTC)))
        receiver.start(service)
        try:
            done = retrieve.move(receiving, node, wanted(seg, report), seconds=30)
        finally:
            receiver.stop()
        assert (done.sent, done.failed, done.lacking) == (2, 0, "")
        assert set(spool.arrivals()) == {key_of(str(ds.SOPInstanceUID)) for ds in (seg, report)}
