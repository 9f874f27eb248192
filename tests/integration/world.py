"""The service without its engine and its network: jobs that run when a test says so, and archives in memory that misbehave on demand."""

from __future__ import annotations

import datetime as dt
import io
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from service.clock import ManualClock
from service.dimse.query import Found, FoundSeries, FoundStudy
from service.dimse.retrieve import Incoming, Keep, Retrieved, Wanted
from service.dimse.scu import StoreOutcome
from service.errors import LmsSrError, OutcomeUnknown, PeerUnavailable, Rejected
from service.flow import triage
from service.flow.produce import COMPREHENSIVE_SR, ENHANCED_SR
from service.model.events import StudyState
from service.settings import Node, Settings, Storage, Triage
from service.sr import render
from service.store import events, inbox, outbox, registry
from service.store.file_meta import FileMeta
from service.store.outbox import OutboxRecord
from service.store.spool import Spool
from service.work import completing, composing, fetching, jobs, sending
from service.work.indexer import Indexer
from service.work.jobs import Job
from service.work.services import Services
from tests.dicom_bytes import CT, data_set, encode
from tests.helpers import ROOT

STUDY = "1.2.826.0.1.3680043.10.1.1"
#: a triage rule of the shipped file finds it
INDICATION = "retroperitoneal mass, ?sarcoma"
REASON = 0x00401002
STS = ROOT / "tests" / "data" / "sts_002"
NO_SERVER = 104
_GONE = "the archive: no connection"


class FakeJobs:
    """Keeps what is asked for, once for each id, and only when the transaction is committed."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.waiting: list[tuple[dt.datetime, Job]] = []
        self.known: set[str] = set()

    def enqueue(self, session: Session, job: Job, *, delay: float = 0.0) -> None:
        due = self._clock.now() + dt.timedelta(seconds=delay)

        def keep(_session: Session) -> None:
            if job.id not in self.known:
                self.known.add(job.id)
                self.waiting.append((due, job))

        event.listen(session, "after_commit", keep, once=True)

    def take_due(self) -> Job | None:
        """Take the oldest job that is due."""
        due = [entry for entry in self.waiting if entry[0] <= self._clock.now()]
        if not due:
            return None
        first = min(due, key=lambda entry: entry[0])
        self.waiting.remove(first)
        return first[1]

    @property
    def ids(self) -> list[str]:
        return [job.id for _, job in self.waiting]


#: what a C-STORE gets instead of the truth: a status, an exception, or "lost": stored or not, and no answer
Answer = int | LmsSrError | str
LOST_AFTER, LOST_BEFORE = "lost after it was stored", "lost before it was stored"


@dataclass
class Archive:
    """A PACS in memory."""

    accepts: set[str] = field(default_factory=lambda: {COMPREHENSIVE_SR, ENHANCED_SR})
    #: for the next C-STOREs, one each; then it stores again
    next_stores: list[Answer] = field(default_factory=list)
    #: for every C-STORE, where it is not None
    every_store: Answer | None = None
    down: bool = False
    #: C-FIND fails
    mute: bool = False
    objects: dict[str, Dataset] = field(default_factory=dict)
    bytes: dict[str, bytes] = field(default_factory=dict)
    #: UIDs of objects that it names and cannot send
    withheld: set[str] = field(default_factory=set)
    #: UIDs of images that it names beside its objects
    images: set[str] = field(default_factory=set)
    stores: Counter[str] = field(default_factory=Counter)
    #: called before each answer to a C-STORE
    meanwhile: Callable[[], Any] | None = None

    def put(self, part10: bytes) -> None:
        ds = dcmread(io.BytesIO(part10))
        uid = str(ds.SOPInstanceUID)
        assert self.bytes.setdefault(uid, part10) == part10, "a twin: one UID, two contents"
        self.objects[uid] = ds

    def answer_store(self, sop_class: str, part10: bytes) -> StoreOutcome:
        if self.down:
            raise PeerUnavailable(_GONE)
        if sop_class not in self.accepts:
            raise Rejected("PACS does not take this class: allow it there", 0x0122)
        uid = str(dcmread(io.BytesIO(part10), stop_before_pixels=True).SOPInstanceUID)
        self.stores[uid] += 1
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        answer = self.next_stores.pop(0) if self.next_stores else self.every_store
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, str):
            if answer == LOST_AFTER:
                self.put(part10)
            raise OutcomeUnknown("PACS: the connection broke: whether it holds it is unknown")
        status = 0x0000 if answer is None else answer
        if status == 0 or status >> 12 == 0xB or status == 0x0111:
            self.put(part10)
        return StoreOutcome(status=status, comment="" if status == 0 else "says the\narchive")

    @property
    def reports(self) -> list[Dataset]:
        """What it holds of ours, and of those who write into our series, by series and instance number."""
        return sorted(self.objects.values(), key=lambda d: (int(d.SeriesNumber), int(d.InstanceNumber)))


class FakePeers:
    """The nodes; each has an archive."""

    def __init__(self) -> None:
        self.archives: dict[str, Archive] = {}
        self.questions: list[str] = []
        #: UIDs of what was sent when it was asked for
        self.sent: list[str] = []
        #: the receiver, to which C-MOVE sends
        self.receive: Callable[[Incoming], object] = lambda _incoming: None

    def _asked(self, node: Node, what: str) -> Archive:
        self.questions.append(what)
        archive = self.archives[node.name]
        if archive.down or archive.mute:
            raise PeerUnavailable(_GONE)
        return archive

    def instances_at(self, node: Node, study_uid: str) -> frozenset[str]:
        archive = self._asked(node, "instances")
        return frozenset(archive.images | {u for u, d in archive.objects.items() if d.StudyInstanceUID == study_uid})

    def reports_at(self, node: Node, study_uid: str, series_uids: Iterable[str]) -> tuple[Found, ...]:
        archive, wanted = self._asked(node, "reports"), set(series_uids)
        return tuple(
            Found(
                series_instance_uid=str(d.SeriesInstanceUID),
                sop_instance_uid=uid,
                sop_class_uid=str(d.SOPClassUID),
                instance_number=int(d.InstanceNumber),
            )
            for uid, d in sorted(archive.objects.items())
            if d.StudyInstanceUID == study_uid and d.SeriesInstanceUID in wanted
        )

    def holds(self, node: Node, row: OutboxRecord) -> bool:
        return row.sop_instance_uid in self._asked(node, "holds").objects

    def accepted_classes(self, node: Node) -> frozenset[str]:
        self.questions.append("classes")
        archive = self.archives[node.name]
        if archive.down:
            raise PeerUnavailable(_GONE)
        return frozenset(archive.accepts)

    def studies_of(self, node: Node, patient_id: str) -> tuple[FoundStudy, ...]:
        held = [d for d in self._asked(node, "studies").objects.values() if d.PatientID == patient_id]
        return tuple(
            FoundStudy(
                study_instance_uid=uid,
                date=str(one.StudyDate),
                modalities=frozenset(str(d.Modality) for d in held if d.StudyInstanceUID == uid),
                birth_date=str(one.get("PatientBirthDate", "")),
            )
            for uid, one in {str(d.StudyInstanceUID): d for d in held}.items()
        )

    def series_in(self, node: Node, study_uid: str) -> tuple[FoundSeries, ...]:
        held = [d for d in self._asked(node, "series").objects.values() if d.StudyInstanceUID == study_uid]
        found = {str(d.SeriesInstanceUID): d for d in held}
        return tuple(
            FoundSeries(
                series_instance_uid=uid, modality=str(d.Modality), body_part=str(d.get("BodyPartExamined", "") or "")
            )
            for uid, d in found.items()
        )

    def retrieve(self, node: Node, wanted: Iterable[Wanted], keep: Keep, *, seconds: float) -> Retrieved:
        archive, sent, failed = self._asked(node, f"retrieve {node.retrieve}"), 0, 0
        assert seconds > 0
        for one in wanted:
            if one.sop_instance_uid not in archive.bytes or one.sop_instance_uid in archive.withheld:
                failed += 1
                continue
            sent += 1
            self.sent.append(one.sop_instance_uid)
            ds = archive.objects[one.sop_instance_uid]
            incoming = Incoming(
                sop_class_uid=str(ds.SOPClassUID),
                sop_instance_uid=one.sop_instance_uid,
                transfer_syntax_uid=str(ds.file_meta.TransferSyntaxUID),
                data_set=as_data_set(archive.bytes[one.sop_instance_uid]),
            )
            if node.retrieve == "move":
                self.receive(incoming)
            else:
                keep(incoming)
        return Retrieved(sent=sent, failed=failed, lacking=f"{failed} failed" if failed else "")

    def store(self, node: Node, row: OutboxRecord, part10: bytes) -> StoreOutcome:
        return self.archives[node.name].answer_store(row.sop_class_uid, part10)


def node(name: str = "PACS", **changes: Any) -> Node:
    return Node(**{"name": name, "ae_title": name, "port": NO_SERVER, "query": True, "reports": True, **changes})


def image(
    series: int = 1,
    number: int = 1,
    *,
    study: str = STUDY,
    patient: str = "P-1",
    name: str = "Sommer^Jo",
    indication: str = INDICATION,
    modality: str = "CT",
    sop_class: str = CT,
) -> bytes:
    """Return a small image as a data set in Explicit VR Little Endian."""
    series_uid = f"{study}.{series}"
    wrong = {0x00100020, 0x00080060}
    content = data_set(
        sop_class,
        f"{series_uid}.{number}",
        study=study,
        series=series_uid,
        name=name,
        pixels=b"",
        drop=wrong | {0x00100010},
    )
    # the elements that differ have to stand in order of their tags
    head = [encode(0x00100010, "PN", name), *([encode(0x00100020, "LO", patient)] if patient else [])]
    end = content.index(encode(0x0020000D, "UI", study))
    text = [encode(REASON, "LO", indication)] if indication else []
    kind = encode(0x00080060, "CS", modality)
    return content[:end] + kind + b"".join(head) + content[end:] + b"".join(text)


def images(count: int = 3, series: int = 1, **changes: Any) -> list[bytes]:
    return [image(series, n + 1, **changes) for n in range(count)]


@dataclass
class World:
    """One installation; ``run`` is what the engine would do."""

    services: Services
    clock: ManualClock
    jobs: FakeJobs
    peers: FakePeers
    outcomes: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def make(cls, engine: Engine, tmp_path: Path, *nodes: Node, **changes: Any) -> World:
        settings = Settings(
            storage=Storage(spool=tmp_path / "spool", durability="write", reserve_mb=0),
            triage=Triage(always=("LMS_ALWAYS",)),
            nodes=nodes or (node(),),
            **changes,
        )
        clock, peers = ManualClock(), FakePeers()
        queue = FakeJobs(clock)
        spool = Spool(settings.storage.spool, durability="write")
        spool.prepare()
        peers.archives = {n.name: Archive() for n in settings.nodes}

        def receive(incoming: Incoming) -> None:
            meta = FileMeta(
                sop_class_uid=incoming.sop_class_uid,
                sop_instance_uid=incoming.sop_instance_uid,
                transfer_syntax_uid=incoming.transfer_syntax_uid,
                calling_ae_title="PACS",
                called_ae_title="LMS_SR",
                address="127.0.0.1",
            )
            spool.receive(incoming.data_set, meta, at=clock.now())

        peers.receive = receive
        services = Services(
            settings=settings,
            clock=clock,
            engine=engine,
            spool=spool,
            peers=peers,
            jobs=queue,
            rules=triage.load(),
            jitter=lambda: 1.0,
        )
        return cls(services, clock, queue, peers)

    @property
    def pacs(self) -> Archive:
        return self.peers.archives["PACS"]

    def configure(self, **changes: Any) -> None:
        """Go on with other settings, as after a restart."""
        self.services = replace(self.services, settings=self.services.settings.model_copy(update=changes))
        for one in self.services.settings.nodes:
            self.peers.archives.setdefault(one.name, Archive())

    # --- what happens --------------------------------------------------------------------------------------------------

    def receive(
        self, *objects: bytes | Path, calling: str = "PACS", called: str = "LMS_SR", corrects: bool = False
    ) -> None:
        """Put objects (data sets, or files) into the spool, as the receiver does."""
        for one in objects:
            if isinstance(one, Path):
                ds = dcmread(one, stop_before_pixels=True)
                raw = one.read_bytes()
                start = 132 + 12 + int.from_bytes(raw[140:144], "little")
                content, syntax = raw[start:], str(ds.file_meta.TransferSyntaxUID)
            else:
                ds = dcmread(io.BytesIO(one), force=True)
                content, syntax = one, "1.2.840.10008.1.2.1"
            meta = FileMeta(
                sop_class_uid=str(ds.SOPClassUID),
                sop_instance_uid=str(ds.SOPInstanceUID),
                transfer_syntax_uid=syntax,
                calling_ae_title=calling,
                called_ae_title=called,
                address="127.0.0.1",
            )
            self.services.spool.receive(content, meta, at=self.clock.now(), may_correct=corrects)

    def index(self) -> int:
        return Indexer(self.services).turn()

    def arrive(self, *objects: bytes | Path, **how: Any) -> None:
        self.receive(*objects, **how)
        self.index()

    def do(self, job: Job) -> str:
        """Do one job, as the engine does, but let faults through."""
        steps: dict[str, Callable[..., str]] = {
            jobs.COMPLETE: completing.complete,
            jobs.COMPOSE: composing.compose,
            jobs.FETCH: fetching.fetch,
            jobs.SEND: sending.send,
        }
        outcome = steps[job.workflow](self.services, *job.args)
        self.outcomes.append((job.id, outcome))
        return outcome

    def run(self, seconds: float = 0.0) -> list[str]:
        """Do what is due, and what falls due within ``seconds``; return what came of it."""
        end, before = self.clock.now() + dt.timedelta(seconds=seconds), len(self.outcomes)
        while True:
            while job := self.jobs.take_due():
                self.do(job)
            following = min((due for due, _ in self.jobs.waiting if due <= end), default=None)
            if following is None:
                break
            self.clock.at = following
        self.clock.at = end
        return [outcome for _, outcome in self.outcomes[before:]]

    def composed(self, *objects: bytes | Path, **how: Any) -> None:
        """Let a study arrive and be composed, but not sent."""
        self.arrive(*(objects or images()), **how)
        self.clock.advance(3600)
        while True:
            due = [e for e in self.jobs.waiting if e[0] <= self.clock.now() and e[1].workflow != jobs.SEND]
            if not due:
                return
            self.jobs.waiting.remove(due[0])
            self.do(due[0][1])

    # --- what can be seen ----------------------------------------------------------------------------------------------

    def study(self, uid: str = STUDY) -> inbox.StudyRecord:
        with self.services.reading() as session:
            found = inbox.get_study(session, uid)
        assert found is not None
        return found

    @property
    def state(self) -> StudyState:
        return self.study().state

    def rows(self, uid: str = STUDY) -> tuple[OutboxRecord, ...]:
        with self.services.reading() as session:
            return outbox.for_study(session, uid)

    def row(self, number: int) -> OutboxRecord:
        with self.services.reading() as session:
            found = outbox.get(session, number)
        assert found is not None
        return found

    def content(self, number: int) -> bytes:
        with self.services.reading() as session:
            return outbox.content(session, number)

    def versions(self, uid: str = STUDY) -> list[int]:
        with self.services.reading() as session:
            return [v.version for v in registry.versions(session, uid)]

    def story(self, uid: str = STUDY) -> list[str]:
        with self.services.reading() as session:
            return [e.event.value for e in events.story(session, uid)]

    def told(self, uid: str = STUDY) -> str:
        from service.model.events import tell  # noqa: PLC0415 - the one reader of it

        with self.services.reading() as session:
            return "\n".join(tell(events.story(session, uid)))


def text_of(ds: Dataset) -> str:
    """Return a document as one line of text."""
    return " ".join(render.as_text(ds).split())


def predecessors(ds: Dataset) -> set[str]:
    """Return the SOP Instance UIDs that a document names as its predecessors."""
    return {
        str(sop.ReferencedSOPInstanceUID)
        for study in ds.get("PredecessorDocumentsSequence") or ()
        for series in study.ReferencedSeriesSequence
        for sop in series.ReferencedSOPSequence
    }


def edit_of(ds: Dataset, *, number: int | None = None) -> bytes:
    """Return what a viewer saves over a document: in its series, under a UID of its own, with the next Instance Number."""
    edited = dcmread(io.BytesIO(as_file(ds)))
    edited.SOPInstanceUID = f"{ds.SOPInstanceUID[:40]}.7"
    edited.file_meta.MediaStorageSOPInstanceUID = edited.SOPInstanceUID
    edited.InstanceNumber = str(int(ds.InstanceNumber) + 1 if number is None else number)
    with suppress(AttributeError):
        del edited.PredecessorDocumentsSequence
    return as_file(edited)


def as_file(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def as_data_set(part10: bytes) -> bytes:
    """Return a document as it comes over an association."""
    return part10[132 + 12 + int.from_bytes(part10[140:144], "little") :]
