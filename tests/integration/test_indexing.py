"""From the spool to the index, on both databases: batches, what is found after a crash, what cannot be read, and no order that matters."""

from __future__ import annotations

import itertools
import shutil
import sqlite3
import threading
import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from service.errors import StoreUnavailable
from service.model.events import StudyState
from service.store import inbox, registry, schema
from service.store.engine import make_engine
from service.store.spool import key_of
from service.work import indexer
from service.work.indexer import Indexer
from tests.integration.world import STS, STUDY, World, as_data_set, as_file, image, images

STS_FILES = (*sorted(STS.glob("CT/*.dcm"))[::4], STS / "CT_SEG.dcm", STS / "MR_T1/000010.dcm", STS / "PET/000010.dcm")


def test_a_batch_is_one_revision_and_one_look(world):
    world.receive(*images(5), *images(2, study="1.2.3"))
    assert world.index() == 7
    assert sorted(world.jobs.ids) == ["complete:1.2.3:1", f"complete:{STUDY}:1"]
    assert world.study().instance_count == 5
    assert world.services.spool.arrivals() == []
    assert world.index() == 0


def test_a_crash_between_the_commit_and_the_list_of_arrivals_indexes_nothing_twice(world, monkeypatch):
    class Killed(BaseException):
        pass

    def die(_keys):
        raise Killed

    world.receive(*images())
    monkeypatch.setattr(world.services.spool, "indexed", die)
    with pytest.raises(Killed):
        world.index()
    monkeypatch.undo()
    before = world.study()
    assert world.index() == 3
    assert world.study() == before
    assert len(world.jobs.known) == 1


def test_a_crash_before_the_commit_loses_nothing(world, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*_args, **_kwargs):
        raise Killed

    world.receive(*images())
    monkeypatch.setattr(indexer.completing, "ask_for_check", die)
    with pytest.raises(Killed):
        world.index()
    monkeypatch.undo()
    assert world.jobs.ids == []
    assert world.index() == 3
    assert world.jobs.ids == [f"complete:{STUDY}:1"]


def test_files_without_a_row_are_found_at_the_start(world):
    """After a power failure the list of arrivals may be shorter than the spool; after the loss of a database it is all there is."""
    world.receive(*images())
    world.services.spool.indexed(dict.fromkeys(world.services.spool.arrivals(), 0))
    assert world.index() == 0
    assert Indexer(world.services).reconcile() == 3
    assert Indexer(world.services).reconcile() == 0
    assert world.study().instance_count == 3


def test_our_own_reports_are_found_at_each_start_and_change_nothing(world):
    world.composed()
    world.run()
    world.arrive(as_data_set(as_file(world.pacs.reports[0])))
    before = world.study()
    assert Indexer(world.services).reconcile() == 0
    assert world.study() == before


def test_a_start_that_is_stopped_goes_no_further(world):
    world.receive(*images())
    stop = threading.Event()
    stop.set()
    assert Indexer(world.services).reconcile(stop) == 0


class TestUnreadable:
    def break_file(self, world, number=2):
        path = world.services.spool.path(key_of(f"{STUDY}.1.{number}"))
        path.chmod(0o600)
        raw = path.read_bytes()
        # the length of the Study Date runs far beyond the end of the file
        at = raw.index(b"\x08\x00\x20\x00DA")
        path.write_bytes(raw[: at + 6] + b"\xff\x7f" + raw[at + 8 :])
        return path

    def test_an_unreadable_file_is_shown_with_a_reason_and_stays(self, world):
        world.receive(*images())
        path = self.break_file(world)
        world.index()
        (aside,) = world.services.spool.quarantined()
        assert (aside.key, bool(aside.reason)) == (path.stem, True)
        assert path.exists()
        assert world.study().instance_count == 2
        assert world.services.spool.arrivals() == []

    def test_it_is_shown_once_however_often_the_service_starts(self, world):
        world.receive(*images())
        self.break_file(world)
        world.index()
        for _ in range(2):
            Indexer(world.services).reconcile()
        assert len(world.services.spool.quarantined()) == 1

    def test_a_file_that_is_gone_stops_nothing(self, world, caplog):
        world.receive(*images())
        world.services.spool.path(key_of(f"{STUDY}.1.2")).unlink()
        assert world.index() == 3
        assert world.study().instance_count == 2
        assert "instance_missing" in caplog.text

    def test_a_file_that_cannot_be_read_now_is_waited_for(self, world, monkeypatch):
        def unavailable(_path):
            raise StoreUnavailable("spool: the disk does not answer")

        world.receive(*images())
        monkeypatch.setattr(indexer, "read_meta", unavailable)
        with pytest.raises(StoreUnavailable):
            world.index()
        assert len(world.services.spool.arrivals()) == 3

    def test_a_disk_that_fails_is_waited_for(self, world, monkeypatch):
        def broken(*_args, **_kwargs):
            raise OSError(5, "Input/output error")

        world.receive(*images())
        monkeypatch.setattr(indexer, "read_instance", broken)
        with pytest.raises(OSError, match="Input/output"):
            world.index()
        assert len(world.services.spool.arrivals()) == 3


class TestPoison:
    """One object that meets a fault of ours must not stand before all that come after it, for ever."""

    @pytest.fixture
    def poisoned(self, world, monkeypatch):
        original = inbox.add_instances

        def add_instances(session, instances, at):
            made = original(session, instances, at)
            if any(i.sop_instance_uid == f"{STUDY}.1.2" for i in instances):
                raise ZeroDivisionError
            return made

        monkeypatch.setattr(inbox, "add_instances", add_instances)
        return world

    def test_what_the_index_does_not_take_is_put_aside_and_the_rest_is_indexed(self, poisoned):
        poisoned.receive(*images(4))
        poisoned.index()
        assert poisoned.study().instance_count == 3
        (aside,) = poisoned.services.spool.quarantined()
        assert aside.reason == "a fault of LMS-SR: it could not be indexed (ZeroDivisionError)"
        assert poisoned.services.spool.arrivals() == []
        poisoned.arrive(image(1, 9))
        assert poisoned.study().instance_count == 4

    def test_a_fault_in_reading_one_is_the_same(self, world, monkeypatch):
        original = indexer.read_instance

        def read_instance(file, **how):
            if file.stem == key_of(f"{STUDY}.1.2"):
                raise RecursionError
            return original(file, **how)

        monkeypatch.setattr(indexer, "read_instance", read_instance)
        world.arrive(*images(4))
        assert world.study().instance_count == 3
        assert "could not be read (RecursionError)" in world.services.spool.quarantined()[0].reason

    def test_a_database_that_is_away_is_no_poison(self, world, monkeypatch):
        def away(*_args):
            raise OperationalError("INSERT", {}, Exception("gone"))

        world.receive(*images(4))
        monkeypatch.setattr(inbox, "add_instances", away)
        with pytest.raises(OperationalError):
            world.index()
        monkeypatch.undo()
        assert world.services.spool.quarantined() == []
        assert world.index() == 4


class TestRun:
    @pytest.fixture
    def running(self, world, monkeypatch):
        monkeypatch.setattr(indexer, "PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(indexer, "_LONGEST_PAUSE_SECONDS", 0.02)
        stop = threading.Event()
        threads = []

        def start():
            threads.append(threading.Thread(target=Indexer(world.services).run, args=(stop,)))
            threads[0].start()
            return world

        yield start
        stop.set()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()

    def wait(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.01)

    def test_it_reconciles_and_then_takes_what_arrives(self, world, running):
        world.receive(*images())
        world.services.spool.indexed(dict.fromkeys(world.services.spool.arrivals(), 0))
        running()
        self.wait(lambda: world.jobs.ids)
        world.receive(image(2))
        self.wait(lambda: len(world.jobs.ids) == 2)
        assert world.study().instance_count == 4

    @pytest.mark.parametrize("error", [OperationalError("", {}, Exception()), OSError(5, "I/O"), ZeroDivisionError()])
    def test_whatever_fails_it_goes_on(self, world, running, monkeypatch, error):
        original, left = Indexer.reconcile, [2]

        def reconcile(self, stop=None):
            if left[0]:
                left[0] -= 1
                raise error
            return original(self, stop)

        monkeypatch.setattr(Indexer, "reconcile", reconcile)
        world.receive(*images())
        running()
        self.wait(lambda: world.jobs.ids)
        assert world.study().instance_count == 3

    def test_a_full_batch_is_followed_by_the_next_at_once(self, world, monkeypatch):
        monkeypatch.setattr(indexer, "BATCH", 2)
        world.receive(*images(5))
        assert [world.index(), world.index(), world.index()] == [2, 2, 1]
        assert (world.study().revision, world.study().instance_count) == (3, 5)


def test_a_study_of_two_indexers_keeps_every_instance(world):
    """Two spools over one database: what one adds the other must not count away."""
    barrier, done = threading.Barrier(2), []
    from tests.integration.test_store import received  # noqa: PLC0415 - instances without files

    def add(numbers):
        barrier.wait(10)
        for number in numbers:
            with world.services.transaction() as session:
                done.extend(inbox.add_instances(session, received(2, range(number, number + 1)), world.clock.now()))

    threads = [threading.Thread(target=add, args=(r,)) for r in (range(1, 100, 20), range(2, 100, 20))]
    # the study is there before: two that make it at the same moment would only wait for one another
    add_first = received(9, range(1, 2))
    with world.services.transaction() as session:
        inbox.add_instances(session, add_first, world.clock.now())
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    study = world.study(add_first[0].study_instance_uid)
    assert (study.revision, study.instance_count) == (11, 11)
    assert sorted(a.revision for a in done) == list(range(2, 12))


_worlds = itertools.count()


@hypothesis_settings(max_examples=12)
@given(
    order=st.permutations(range(len(STS_FILES))), sizes=st.lists(st.integers(1, len(STS_FILES)), min_size=1, max_size=4)
)
def test_the_report_does_not_depend_on_the_order_of_arrival(tmp_path_factory, order, sizes):
    """A small real study, in any order, in any batches: the same content; one version, where nothing completes in between."""
    folder = tmp_path_factory.mktemp(f"order{next(_worlds)}")
    engine = make_engine(f"sqlite:///{folder / 'lms-sr.db'}")
    schema.upgrade(engine)
    try:
        world = World.make(engine, folder)
        left = [STS_FILES[i] for i in order]
        for size in (*sizes, len(left)):
            batch, left = left[:size], left[size:]
            if batch:
                world.arrive(*batch, called="LMS_ALWAYS")
                world.clock.advance(1)
        world.run(100)
        (uid,) = {r.StudyInstanceUID for r in world.pacs.reports}
        with world.services.reading() as session:
            (version,) = registry.versions(session, uid)
        _contents.add(version.content_hash)
    finally:
        engine.dispose()
        shutil.rmtree(folder)
    assert len(_contents) == 1


_contents: set[str] = set()


def test_a_locked_database_is_waited_for_while_receiving_goes_on(tmp_path):
    """Another program holds the SQLite file, a backup say: nothing is refused, and nothing is lost."""
    file = tmp_path / "locked.db"
    engine = make_engine(f"sqlite:///{file}")
    schema.upgrade(engine)
    world = World.make(engine, tmp_path)
    stop = threading.Event()
    indexing = threading.Thread(target=Indexer(world.services).run, args=(stop,))
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        indexing.start()
        world.receive(*images(3))
        time.sleep(1)
        assert len(world.services.spool.arrivals()) == 3
        other.execute("COMMIT")
    other.close()
    try:
        end = time.monotonic() + 30
        while world.services.spool.arrivals() and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        stop.set()
        indexing.join()
    assert world.study().instance_count == 3
    engine.dispose()


class TestCorrections:
    """The PACS sends again what we hold, with another header (PS3.4 B.4.1.3)."""

    def arrive_again(self, world, *objects, **how):
        world.clock.advance(30)
        world.arrive(*objects, corrects=True, **how)

    def test_the_newest_header_counts_and_the_study_is_looked_at_again(self, world):
        world.composed(*images(3))
        before = world.study()
        self.arrive_again(world, *images(3, patient="P-2", name="Winter^Jo"))
        after = world.study()
        assert (after.instance_count, after.revision) == (before.instance_count, before.revision + 1)
        assert after.state is StudyState.RECEIVED
        with world.services.reading() as session:
            held = inbox.load_instances(session, STUDY)
        assert {i.header.text("PatientID") for i in held} == {"P-2"}
        assert {i.received_at for i in held} == {world.clock.now()}
        assert "3 instances came again from PACS (127.0.0.1) with a corrected header" in world.told()
        assert "Winter" not in world.told()

    def test_the_same_again_is_no_news(self, world):
        world.composed(*images(2))
        story = world.told()
        self.arrive_again(world, *images(2))
        assert world.told() == story
        # read once more, as after a crash
        Indexer(world.services).index(list(world.services.spool.all_keys()))
        assert world.told() == story

    def test_a_lost_database_gets_the_newest(self, world):
        world.arrive(*images(2))
        self.arrive_again(world, *images(2, patient="P-2"))
        with world.services.engine.begin() as connection:
            for table in ("instance", "study"):
                connection.execute(text(f"DELETE FROM {table}"))
        assert Indexer(world.services).reconcile() == 2
        with world.services.reading() as session:
            assert {i.header.text("PatientID") for i in inbox.load_instances(session, STUDY)} == {"P-2"}

    def test_what_is_read_meanwhile_is_not_lost(self, world, monkeypatch):
        """The correction comes between reading the first one and taking it off the list."""
        world.receive(*images(1))
        indexer = Indexer(world.services)
        add = indexer._add

        def and_then(read):
            found = add(read)
            world.clock.advance(1)
            world.receive(*images(1, patient="P-2"), corrects=True)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(indexer, "_add", and_then)
            indexer.turn()
        assert indexer.turn() == 1
        with world.services.reading() as session:
            assert {i.header.text("PatientID") for i in inbox.load_instances(session, STUDY)} == {"P-2"}
