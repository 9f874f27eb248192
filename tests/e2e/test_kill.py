"""kill -9, at any moment, of any part: what was acknowledged is kept, and each study has exactly one current draft, sent as one object."""

from __future__ import annotations

import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydicom.dataset import Dataset
from sqlalchemy.orm import Session

from service import app
from service.demo.pacs import Behaviour, Fault, StandInPacs
from service.demo.phantom import Phantom, plain_study, study
from service.demo.process import ServiceProcess, write_settings
from service.dimse.scu import Offer, Sender
from service.errors import ConfigurationError, LmsSrError
from service.model.events import StudyState
from service.settings import Completion, Database, Local, Outgoing, Settings, Storage
from service.store import inbox, outbox, registry
from service.store.outbox import OutboxState
from service.store.spool import key_of
from service.work.receiving import make_spool
from tests.conftest import ProofRecord
from tests.helpers import free_port

REPORT, COMPANION = "126001", "126000"
SUCCESS = 0
#: who may be killed: the supervisor, which takes its children along, the door, a process that receives behind it, and the work
VICTIMS = ("serve", "receive", "associate", "work")
#: a small patient with a SEG, so that a companion is on its way too
SEGMENTED = Phantom(seed="killed", slices=16, slice_spacing=12.0, matrix=48, pixel=7.0, phases=("portal venous",))


@dataclass(slots=True)
class Loop:
    """A stand-in PACS, the service beside it, and what the service acknowledged."""

    pacs: StandInPacs
    settings: Settings
    service: ServiceProcess
    rng: random.Random
    acknowledged: set[str] = field(default_factory=set)
    kills: list[str] = field(default_factory=list)
    #: objects that may be sent by now
    released: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    stopped: threading.Event = field(default_factory=threading.Event)

    # --- a PACS that forwards until all is taken ---------------------------------------------------------------------------

    def forward(self, uids: Sequence[str]) -> None:
        """Send these objects, in order, each until it is acknowledged, as a PACS does."""
        held = {h.sop_instance_uid: h for h in self.pacs.held()}
        offers = dict.fromkeys(
            Offer(sop_class_uid=held[u].sop_class_uid, transfer_syntax_uid=held[u].transfer_syntax_uid) for u in uids
        )
        me = Settings(local=Local(ae_title=self.pacs.ae_title), outgoing=Outgoing(timeout_seconds=5))
        waiting = list(uids)
        while waiting and not self.stopped.is_set():
            node = self.service.node(self.settings.local.ae_title).model_copy(update={"port": self.settings.local.port})
            with suppress(LmsSrError), Sender(me, node, offers) as sender:
                while waiting:
                    self.released.acquire()
                    try:
                        one = held[waiting[0]]
                        outcome = sender.store(
                            sop_class_uid=one.sop_class_uid,
                            sop_instance_uid=one.sop_instance_uid,
                            transfer_syntax_uid=one.transfer_syntax_uid,
                            part10=self.pacs.archive.file(one.sop_instance_uid),
                        )
                    except LmsSrError:
                        # it is sent again, and may be
                        self.released.release()
                        raise
                    if outcome.status == SUCCESS:
                        self.acknowledged.add(waiting.pop(0))
                    else:
                        self.released.release()
            self.stopped.wait(0.1)

    # --- kill -9 -----------------------------------------------------------------------------------------------------------

    def pid_of(self, victim: str) -> int:
        """Return the process of a role; 0 while there is none."""
        parent = self.service.pid
        if victim == "serve" or not parent:
            return parent
        with suppress(OSError, ValueError):
            for child in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
                if b"service.work.child" in words and victim.encode() in words:
                    return child
        return 0

    def kill(self, victim: str) -> bool:
        """Kill a role; say whether there was one to kill."""
        pid = self.pid_of(victim)
        if not pid:
            return False
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills.append(victim)
        return True

    def ensure(self) -> None:
        """See that the service runs: start it where its supervisor was killed, or gave up after five deaths in a minute."""
        end = time.monotonic() + 60
        while not self.service.alive:
            self.service.kill()
            try:
                self.service.start()
            except ConfigurationError:
                # killed while it started
                assert time.monotonic() < end, "it does not start any more"

    def storm(self, kills: int, release: int) -> None:
        """Kill ``kills`` times at random moments, letting ``release`` objects go in the pause before each."""
        while len(self.kills) < kills:
            victim = self.rng.choice(VICTIMS)
            if self.rng.random() < 0.2:
                # while it starts
                starting = threading.Timer(self.rng.uniform(0.1, 4.0), self.kill, (victim,))
                self.service.kill()
                self.kills.append("serve")
                starting.start()
                self.ensure()
                starting.join()
            for _ in range(release):
                self.released.release()
            time.sleep(self.rng.uniform(0.05, 2.5))
            self.kill(victim)
            self.ensure()

    # --- how it ends ---------------------------------------------------------------------------------------------------------

    def settle(self, studies: Sequence[str], seconds: float) -> None:
        """Wait until every study has its report in the PACS."""
        end = time.monotonic() + seconds
        while True:
            self.ensure()
            with app.reading(self.settings) as session:
                states = {uid: getattr(inbox.get_study(session, uid), "state", None) for uid in studies}
            if set(states.values()) == {StudyState.SENT}:
                return
            assert time.monotonic() < end, (states, self.kills)
            time.sleep(0.25)

    def check(self, studies: Sequence[str]) -> None:
        """See that nothing was lost and nothing stands twice."""
        spool = make_spool(self.settings)
        sent = {h.sop_instance_uid for h in self.pacs.held() if h.study_instance_uid in studies}
        reports = {str(ds.SOPInstanceUID) for ds in self.pacs.reports()}
        assert self.acknowledged == sent - reports, "the sender went on until all was taken"
        assert [uid for uid in self.acknowledged if not spool.path(key_of(uid)).is_file()] == []
        assert spool.arrivals() == []
        assert spool.quarantined() == []
        assert self.pacs.archive.conflicts == [], "one SOP Instance UID, two contents"
        with app.reading(self.settings) as session:
            indexed = {uid for s in studies for uid in inbox.instance_uids(session, s)}
            assert self.acknowledged <= indexed
            for uid in studies:
                self._check_study(session, uid)
            assert outbox.in_state(session, OutboxState.QUEUED) == ()

    def _check_study(self, session: Session, uid: str) -> None:
        documents = self.pacs.reports(uid)
        record = registry.current(session, uid)
        assert record is not None
        for title in (REPORT, COMPANION):
            members = [ds for ds in documents if ds.ConceptNameCodeSequence[0].CodeValue == title]
            if title == COMPANION and uid != SEGMENTED.study_instance_uid:
                assert members == []
                continue
            replaced = {p for ds in members for p in _predecessors(ds)}
            current = [ds for ds in members if ds.SOPInstanceUID not in replaced]
            assert len(current) == 1, f"{len(current)} current objects {title} after {self.kills}"
            assert int(current[0].InstanceNumber) == record.version
            assert len({ds.InstanceNumber for ds in members}) == len(members), "one version, two objects"


def _predecessors(ds: Dataset) -> list[str]:
    return [
        str(item.ReferencedSOPInstanceUID)
        for of in ds.get("PredecessorDocumentsSequence", ())
        for series in of.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    ]


@contextmanager
def running(folder: Path, database_url: str, *, seed: int, query: bool = True) -> Iterator[Loop]:
    """Run the stand-in PACS and the service until the block ends."""
    with StandInPacs() as pacs:
        settings = Settings(
            local=Local(port=free_port()),
            storage=Storage(spool=folder / "spool", reserve_mb=10),
            database=Database(url=SecretStr(database_url)),
            completion=Completion(confirmed_quiet_seconds=0.5, quiet_seconds=2.0),
            outgoing=Outgoing(first_retry_seconds=0.5, max_retry_seconds=2, timeout_seconds=4),
            nodes=(pacs.node(query=query),),
        )
        config = write_settings(folder / "lms-sr.toml", settings)
        with ServiceProcess(config, folder / "lms-sr.log", any_port=False) as service:
            yield Loop(pacs=pacs, settings=settings, service=service, rng=random.Random(seed))


def studies_for(count: int, seed: int) -> tuple[list[str], list[Dataset]]:
    """Return small studies, one of them with a SEG: their UIDs, and their objects in the order of sending."""
    members = [study(SEGMENTED), *(plain_study(4 + n % 5, seed=f"{seed} {n}") for n in range(1, count))]
    return [str(m[0].StudyInstanceUID) for m in members], [ds for m in members for ds in m]


def storm(folder: Path, database_url: str, *, kills: int, studies: int, seed: int) -> dict[str, object]:
    """Let studies flow while everything is killed; return the numbers."""
    started = time.monotonic()
    uids, objects = studies_for(studies, seed)
    with running(folder, database_url, seed=seed) as loop:
        loop.pacs.put(objects)
        loop.pacs.behaviour = Behaviour(store_delay=0.05)
        order = [str(ds.SOPInstanceUID) for ds in objects]
        sender = threading.Thread(target=loop.forward, args=(order,), daemon=True)
        sender.start()
        try:
            loop.storm(kills, release=-(-len(objects) // kills))
            for _ in objects:
                loop.released.release()
            sender.join(60)
            assert not sender.is_alive()
            loop.settle(uids, 90)
            loop.check(uids)
        finally:
            loop.stopped.set()
            for _ in objects:
                loop.released.release()
        counted = {v: loop.kills.count(v) for v in VICTIMS}
        resent = sum(n - 1 for n in loop.pacs.stores.values())
        versions = len([ds for ds in loop.pacs.reports() if ds.ConceptNameCodeSequence[0].CodeValue == REPORT])
    return {
        "kills": sum(counted.values()),
        **{f"of {k}": v for k, v in counted.items()},
        "studies": studies,
        "objects": len(objects),
        "reports": versions,
        "sent again as the same object": resent,
        "seconds": round(time.monotonic() - started),
    }


def test_killed_while_studies_flow(tmp_path: Path) -> None:
    done = storm(tmp_path, f"sqlite:///{tmp_path / 'lms-sr.db'}", kills=4, studies=5, seed=20260301)
    assert int(str(done["kills"])) >= 4


@pytest.mark.parametrize("query", [True, False], ids=["asks", "sends again"])
def test_killed_while_the_pacs_takes_its_time(tmp_path: Path, query: bool) -> None:
    images = plain_study(3, seed="slow")
    uid = str(images[0].StudyInstanceUID)
    with running(tmp_path, f"sqlite:///{tmp_path / 'lms-sr.db'}", seed=1, query=query) as loop:
        loop.pacs.put(images)
        loop.pacs.behaviour = Behaviour(store_delay=1.0, next_stores=[SUCCESS, Fault.DROP_AFTER])
        for _ in images:
            loop.released.release()
        loop.forward([str(ds.SOPInstanceUID) for ds in images])
        # the first attempt is under way (the stand-in has taken its answer from the list): its answer finds nobody
        _wait(lambda: len(loop.pacs.behaviour.next_stores) == 1)
        assert loop.kill("work")
        assert loop.pacs.wait(lambda: len(loop.pacs.reports(uid)) == 1, 10)
        loop.settle([uid], 45)
        loop.check([uid])
        (report,) = loop.pacs.reports(uid)
        # who can ask does not send again; who cannot sends the same object until an answer comes: one was dropped as well
        assert loop.pacs.stores[str(report.SOPInstanceUID)] == (1 if query else 3)


def _wait(condition: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    assert callable(condition)
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_forty_kills(tmp_path: Path, database_url: str, proof_record: ProofRecord) -> None:
    seed = int(os.environ.get("LMS_SR_PROOF_SEED") or secrets.randbelow(2**32))
    try:
        done = storm(tmp_path, database_url, kills=40, studies=20, seed=seed)
    except BaseException:
        print(f"repeat with LMS_SR_PROOF_SEED={seed}")
        raise
    kind = database_url.partition(":")[0].partition("+")[0]
    claim = f"kill -9 at random moments loses nothing and leaves one current draft for each study ({kind})"
    proof_record.add(claim, seed=seed, **done)


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_kills_while_answers_are_slow_or_lost(tmp_path: Path, database_url: str, proof_record: ProofRecord) -> None:
    seed = int(os.environ.get("LMS_SR_PROOF_SEED") or secrets.randbelow(2**32))
    rng = random.Random(seed)
    faults: list[int | Fault] = [
        Fault.ABORT,
        Fault.ABORT_AFTER,
        Fault.DROP,
        Fault.DROP_AFTER,
        Fault.SILENCE_AFTER,
        0xA700,
    ]
    uids, objects = studies_for(8, seed)
    with running(tmp_path, database_url, seed=seed, query=rng.random() < 0.5) as loop:
        loop.pacs.put(objects)
        loop.pacs.behaviour = Behaviour(
            store_delay=0.5, next_stores=[rng.choice([*faults, SUCCESS]) for _ in range(24)]
        )
        for _ in range(2 * len(objects)):
            loop.released.release()
        order = [str(ds.SOPInstanceUID) for ds in objects]
        sender = threading.Thread(target=loop.forward, args=(order,), daemon=True)
        sender.start()
        try:
            for _ in range(10):
                time.sleep(rng.uniform(0.1, 3.0))
                loop.kill(rng.choice(("work", "work", "serve")))
                loop.ensure()
            sender.join(60)
            loop.settle(uids, 120)
            loop.check(uids)
        finally:
            loop.stopped.set()
        resent = sum(n - 1 for n in loop.pacs.stores.values())
        kind = database_url.partition(":")[0].partition("+")[0]
        claim = f"kills while the PACS is slow, aborts, drops or loses answers leave no twin ({kind})"
        proof_record.add(claim, seed=seed, kills=len(loop.kills), faults=24, sent_again_as_the_same_object=resent)
