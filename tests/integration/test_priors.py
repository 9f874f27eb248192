"""Earlier examinations: asked for before the first draft, never reported by themselves, and never what stops a draft."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from service.demo import phantom as demo
from service.demo.phantom import Phantom
from service.flow.given import parse_text
from service.flow.produce import CLASS_NAMES
from service.measure.segments import measure_study
from service.model.events import StudyEvent, StudyState
from service.model.prior import Place, PriorReport
from service.model.report import Provenance, Quantity, Status, Uid
from service.model.signing import Person
from service.settings import Measuring, Outgoing, Priors
from service.store import inbox, priors, registry
from service.store.engine import make_engine
from service.store.priors import AskState
from service.work import completing, earlier, fetching, revising
from service.work.indexer import Indexer
from tests import builders
from tests.integration.world import FakeJobs, World, as_data_set, as_file, node

TODAY = Phantom(seed="today", pixel=4.0, matrix=90, slices=38, slice_spacing=5.0, phases=("portal venous",), noise=0)
#: the same patient and tumour, in another frame of reference and under another tracking UID
BEFORE = replace(TODAY, seed="before", study_date="20251201", accession_number="A2025009")
ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ANNA = Person(name="Albrecht^Anna")


@pytest.fixture(scope="module")
def today() -> list[bytes]:
    return [as_file(ds) for ds in demo.study(TODAY)]


@pytest.fixture(scope="module")
def before() -> list[Dataset]:
    return demo.study(BEFORE)


def seg_of(objects: list[Dataset]) -> Dataset:
    (found,) = (ds for ds in objects if ds.Modality == "SEG")
    return found


def tracked(objects: list[Dataset], uid: str) -> list[Dataset]:
    """Return a study whose tumour has another tracking UID."""
    changed = dcmread(io.BytesIO(as_file(seg_of(objects))))
    for segment in changed.SegmentSequence:
        if "TrackingUID" in segment:
            segment.TrackingUID = uid
    return [*(ds for ds in objects if ds.Modality != "SEG"), changed]


def put(world: World, objects: list[Dataset], name: str = "PACS") -> None:
    for ds in objects:
        world.peers.archives[name].put(as_file(ds))


def asking(make_world: Callable[..., World], retrieve: str = "get", **changes: object) -> World:
    return make_world(node(retrieve=retrieve), outgoing=Outgoing(first_retry_seconds=60), **changes)


def draft(world: World, objects: list[bytes]) -> None:
    """Let today's study arrive and be composed, with the index at work meanwhile."""
    world.arrive(*map(as_data_set, objects))
    settle(world, 120)


def settle(world: World, seconds: int) -> None:
    for _ in range(max(1, seconds // 20)):
        world.run(20)
        world.index()


def report(world: World, uid: str = TODAY.study_instance_uid):
    with world.services.reading() as session:
        newest = registry.newest(session, uid)
        assert newest is not None
        return registry.read_content(session, newest.id)


def ask(world: World) -> priors.Ask:
    with world.services.reading() as session:
        found = priors.ask_of(session, TODAY.study_instance_uid)
    assert found is not None
    return found


def number(world: World, item: str, subject: str = "LMS-T1") -> list[float]:
    values = [v for a in report(world).answers_of(item, subject) for v in a.values]
    return [float(v.number) for v in values if isinstance(v, Quantity) and v.number is not None]


# --- what comes --------------------------------------------------------------------------------------------------------


@ONLY_SQLITE
@pytest.mark.parametrize("retrieve", ["get", "move"])
def test_a_segmentation_of_an_earlier_study_is_compared_with(make_world, today, before, retrieve) -> None:
    world = asking(make_world, retrieve)
    put(world, tracked(before, TODAY.tracking_uid))
    draft(world, today)
    seg = seg_of(before)
    # the segmentation and one image of its series, not the study
    assert len(world.peers.sent) == 2
    assert str(seg.SOPInstanceUID) in world.peers.sent
    assert f"retrieve {retrieve}" in world.peers.questions
    assert world.versions(TODAY.study_instance_uid) == [1]
    assert number(world, "fu.interval", "") == [90]
    assert number(world, "fu.sgr") == [0]
    (change,) = report(world).answers_of("fu.change", "LMS-T1")
    assert change.status is Status.PROPOSED
    assert "the earlier number was measured, and nobody confirmed it" in change.basis
    (comparison,) = report(world).answers_of("ctx.comparison")
    assert comparison.values == ("CT, 2025-12-01, accession A2025009, measurements, no report of ours",)
    told = world.told(TODAY.study_instance_uid)
    assert "earlier examinations at PACS: 1 with something to compare, 1 objects of them asked for" in told
    assert ask(world).state is AskState.DONE


@ONLY_SQLITE
def test_the_plot_of_what_was_fetched_goes_out_with_the_key_images(make_world, today, before) -> None:
    world = make_world(node(retrieve="get", objects=("key-image",)), outgoing=Outgoing(first_retry_seconds=60))
    world.pacs.accepts = set(CLASS_NAMES)
    put(world, tracked(before, TODAY.tracking_uid))
    draft(world, today)
    pictures = [dcmread(io.BytesIO(p)) for p in world.pacs.bytes.values()]
    pictures = sorted((ds for ds in pictures if ds.get("SeriesNumber") == 9904), key=lambda ds: ds.InstanceNumber)
    *slices, plot = pictures
    assert slices
    assert plot.DerivationDescription.startswith("Course of the tumour: Long axis (LMS-T1), mm")
    rows = [str(v) for a in report(world).answers_of("fu.course", "LMS-T1") for v in a.values]
    assert [r.partition(":")[0] for r in rows] == ["2025-12-01", "2026-03-01"]


def of_another(objects: list[bytes], patient: str) -> list[bytes]:
    """Return objects with their header corrected to another patient."""
    changed = []
    for raw in objects:
        ds = dcmread(io.BytesIO(raw))
        ds.PatientID = patient
        changed.append(as_data_set(as_file(ds)))
    return changed


@ONLY_SQLITE
def test_a_study_that_goes_to_another_patient_leaves_the_comparison_behind(make_world, today, before) -> None:
    """What was fetched for the patient that it was taken for is somebody else's past."""
    world = asking(make_world)
    put(world, tracked(before, TODAY.tracking_uid))
    draft(world, today)
    assert report(world).answers_of("fu.change", "LMS-T1")
    with world.services.reading() as session:
        assert priors.studies(session, TODAY.study_instance_uid)
    asked = world.peers.questions.count("studies")
    world.clock.advance(60)
    world.arrive(*of_another(today, "LMS-0002"), corrects=True)
    settle(world, 120)
    assert world.versions(TODAY.study_instance_uid) == [1, 2]
    compared = [a for a in report(world).answers if a.item.startswith("fu.") or a.provenance is Provenance.PRIOR]
    assert [a.item for a in compared] == []
    assert "2025-12-01" not in str(report(world))
    assert "20251201" not in str(report(world))
    # the patient that it is of now is asked about
    assert world.peers.questions.count("studies") > asked
    with world.services.reading() as session:
        assert priors.studies(session, TODAY.study_instance_uid) == ()


@ONLY_SQLITE
def test_an_earlier_examination_never_gets_a_report_of_its_own(make_world, today, before) -> None:
    world = asking(make_world)
    put(world, before)
    draft(world, today)
    settle(world, 600)
    there = world.study(BEFORE.study_instance_uid)
    assert there.state is StudyState.IGNORED
    assert world.versions(BEFORE.study_instance_uid) == []
    assert StudyEvent.COMPLETED.value not in world.story(BEFORE.study_instance_uid)
    # forwarded whole it is a study like any other, with all that is here of it
    world.arrive(*(as_data_set(as_file(ds)) for ds in before))
    settle(world, 120)
    assert world.versions(BEFORE.study_instance_uid) == [1]
    assert report(world, BEFORE.study_instance_uid).subjects[-1].segment is not None


# --- what a new index makes of it --------------------------------------------------------------------------------------


@pytest.fixture
def losing(sqlite_template, tmp_path) -> Iterator[Callable[[World], World]]:
    """Return what loses the database of an installation, and has an empty one fed from the spool at the next start."""
    engines = []

    def lose(world: World) -> World:
        path = tmp_path / f"again-{len(engines)}.db"
        shutil.copyfile(sqlite_template, path)
        engines.append(make_engine(f"sqlite:///{path}"))
        jobs = FakeJobs(world.clock)
        services = replace(world.services, engine=engines[-1], jobs=jobs)
        found = World(services, world.clock, jobs, world.peers)
        Indexer(services).reconcile()
        # the PACS names our reports, which did not come here: the study at hand is completed by force
        world.clock.advance(1800)
        return found

    yield lose
    for engine in engines:
        engine.dispose()


def drafted(make_world: Callable[..., World], today: list[bytes], before: list[Dataset], **how: object) -> World:
    """Return an installation that fetched an earlier examination and compared with it."""
    world = make_world(node(**{"retrieve": "get", **how}), outgoing=Outgoing(first_retry_seconds=60))
    put(world, tracked(before, TODAY.tracking_uid))
    draft(world, today)
    assert world.study(BEFORE.study_instance_uid).state is StudyState.IGNORED
    return world


@ONLY_SQLITE
@pytest.mark.parametrize("retrieve", ["get", "move"])
def test_what_was_fetched_is_no_arrival_for_a_new_index(make_world, losing, today, before, retrieve) -> None:
    world = drafted(make_world, today, before, retrieve=retrieve, host="10.0.0.7")
    sent = list(world.peers.sent)
    again = losing(world)
    settle(again, 120)
    assert again.study(BEFORE.study_instance_uid).state is StudyState.IGNORED
    assert again.versions(BEFORE.study_instance_uid) == []
    # the study at hand has its draft again, compared with what is here: nothing is fetched twice
    assert again.versions(TODAY.study_instance_uid) == [1]
    assert number(again, "fu.interval", "") == [90]
    assert again.peers.sent == sent
    # forwarded whole it is a study like any other
    again.arrive(*(as_data_set(as_file(ds)) for ds in before))
    settle(again, 120)
    assert again.versions(BEFORE.study_instance_uid) == [1]


def as_before(world: World) -> None:
    """Make of a spool what it was before it knew what was asked for."""
    for mark in (world.services.spool.root / "asked").iterdir():
        mark.unlink()


@ONLY_SQLITE
def test_an_older_spool_learns_from_the_database_what_was_fetched(make_world, losing, today, before) -> None:
    world = drafted(make_world, today, before, retrieve="move")
    as_before(world)
    assert Indexer(world.services).reconcile() == 0
    again = losing(world)
    assert again.study(BEFORE.study_instance_uid).state is StudyState.IGNORED


@ONLY_SQLITE
@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("pacs.example", True),  # no arrival comes from a name
        ("10.0.0.7", False),  # nothing tells it from an arrival
    ],
)
def test_an_older_spool_without_its_database_knows_what_came_from_a_host_name(
    make_world, losing, today, before, host, known
) -> None:
    world = drafted(make_world, today, before, host=host)
    as_before(world)
    again = losing(world)
    assert (again.study(BEFORE.study_instance_uid).state is StudyState.IGNORED) is known


@ONLY_SQLITE
def test_what_cannot_be_written_down_is_not_asked_for(make_world, today, before, monkeypatch) -> None:
    world = asking(make_world)
    put(world, before)
    monkeypatch.setattr(world.services.spool.asked, "_folder", world.services.spool.root / "gone")
    draft(world, today)
    assert world.peers.sent == []
    assert world.versions(TODAY.study_instance_uid) == [1]
    assert "what is asked for cannot be written down: No such file or directory" in world.told(TODAY.study_instance_uid)


@ONLY_SQLITE
def test_a_lesion_under_another_uid_is_a_suggestion_until_it_is_confirmed(make_world, today, before) -> None:
    world = asking(make_world)
    put(world, before)
    draft(world, today)
    (same,) = report(world).answers_of("fu.same_as", "LMS-T1")
    assert same.values == (Uid(BEFORE.tracking_uid),)
    assert same.status is Status.PROPOSED
    assert "laid over each other, volume" in same.basis
    assert number(world, "fu.sgr") == []
    assert not report(world).answers_of("fu.change", "LMS-T1")
    assert not report(world).answers_of("fu.new_lesion")
    given = parse_text(f"fu.same_as@LMS-T1={BEFORE.tracking_uid}")
    revising.answer(world.services, TODAY.study_instance_uid, (given,), ANNA)
    assert number(world, "fu.sgr") == [0]


@ONLY_SQLITE
def test_nothing_is_asked_for_where_nobody_may_be_asked(make_world, today, before) -> None:
    for world in (
        make_world(node()),
        asking(make_world, priors=Priors(max_studies=0)),
    ):
        put(world, before)
    draft(world, today)
    assert "studies" not in world.peers.questions
    assert world.versions(TODAY.study_instance_uid) == [1]


# --- what does not ----------------------------------------------------------------------------------------------------


@ONLY_SQLITE
def test_a_node_that_gives_no_answer_does_not_stop_the_draft(make_world, today, before) -> None:
    world = asking(make_world)
    put(world, tracked(before, TODAY.tracking_uid))
    world.pacs.mute = True
    world.configure(completion=world.services.settings.completion.model_copy(update={"ask_pacs": False}))
    world.arrive(*map(as_data_set, today))
    settle(world, 90)
    assert world.versions(TODAY.study_instance_uid) == [1]
    assert not report(world).answers_of("fu.change", "LMS-T1")
    told = world.told(TODAY.study_instance_uid)
    assert (
        "earlier examinations could not be asked for at PACS (attempt 1): the archive: no connection; next attempt in 60 s"
        in told
    )
    # it comes back: what it has is put in
    world.pacs.mute = False
    settle(world, 300)
    assert number(world, "fu.sgr") == [0]
    assert world.versions(TODAY.study_instance_uid) == [1, 2]
    assert ask(world).state is AskState.DONE


@ONLY_SQLITE
def test_attempts_end_and_a_start_by_hand_begins_anew(make_world, today, before) -> None:
    world = asking(make_world, priors=Priors(attempts=2))
    put(world, tracked(before, TODAY.tracking_uid))
    world.pacs.withheld = {str(seg_of(before).SOPInstanceUID)}
    draft(world, today)
    settle(world, 600)
    assert ask(world).state is AskState.GIVEN_UP
    told = world.told(TODAY.study_instance_uid)
    assert "1 failed; not tried again by itself: 'lms-sr start' does" in told
    assert world.versions(TODAY.study_instance_uid) == [1]
    world.pacs.withheld = set()
    assert completing.start_by_hand(world.services, TODAY.study_instance_uid)
    settle(world, 60)
    assert number(world, "fu.sgr") == [0]


@ONLY_SQLITE
def test_another_patient_under_the_same_id_is_left_out_and_told(make_world, today, before) -> None:
    world = asking(make_world)
    other = [dcmread(io.BytesIO(as_file(ds))) for ds in tracked(before, TODAY.tracking_uid)]
    for ds in other:
        ds.PatientBirthDate = "19700101"
    put(world, other)
    draft(world, today)
    assert world.peers.sent == []
    assert (
        "an earlier examination is not compared with: the study of 2025-12-01 names another birth date"
        in world.told(TODAY.study_instance_uid)
    )
    assert not report(world).answers_of("fu.change", "LMS-T1")


@ONLY_SQLITE
def test_a_fault_goes_on_without(make_world, today, monkeypatch: pytest.MonkeyPatch) -> None:
    world = asking(make_world)
    monkeypatch.setattr(fetching, "_ask", lambda *_: 1 / 0)
    world.arrive(*map(as_data_set, today))
    with pytest.raises(ZeroDivisionError):
        settle(world, 60)
    fetching.after_fault(world.services, TODAY.study_instance_uid, 1)
    settle(world, 60)
    assert world.versions(TODAY.study_instance_uid) == [1]
    assert "a fault of LMS-SR: see the log" in world.told(TODAY.study_instance_uid)


def test_where_asking_stands_is_kept(world: World) -> None:
    with world.services.transaction() as session:
        assert priors.begin(session, "1.2") == 1
        assert priors.ended(session, "1.2", AskState.AGAIN, failed=True) == 1
        assert priors.begin(session, "1.2", by_hand=True) == 2
        priors.add_studies(session, "1.2", ["1.3", "1.3"], "PACS")
        priors.add_objects(session, [("1.3", "1.3.1"), ("1.3", "1.3.2")], world.clock.now())
    with world.services.transaction() as session:
        priors.add_objects(session, [("1.3", "1.3.1")], world.clock.now())
        assert priors.ended(session, "1.2", AskState.DONE, failed=False) == 0
    with world.services.reading() as session:
        assert priors.studies(session, "1.2") == ("1.3",)
        assert priors.not_indexed(session, "1.2") == ("1.3.1", "1.3.2")
        assert priors.asked_for(session, ["1.3.1", "9"]) == {"1.3.1"}
        assert inbox.arrived(session, ["1.3"]) == frozenset()
        found = priors.ask_of(session, "1.2")
    assert found == priors.Ask(state=AskState.DONE, attempt=2, failures=0, by_hand=True)


def test_every_time_point_keeps_where_its_lesions_and_landmarks_lie(world: World) -> None:
    """A lesion that the newest one does not show is looked for in those before it."""
    at = Place(key="2.25.8", label="LMS-T1", frame_of_reference="1.9", position=(1.0, 2.0, 3.0))
    with world.services.transaction() as session:
        priors.add_studies(session, builders.STUDY_UID, ["1.3", "1.4", "1.5"], "PACS")
        for uid, date in (("1.4", "20250101"), ("1.3", "20251201"), ("1.5", "20240101")):
            point = PriorReport(
                study_instance_uid=uid, study_date=date, modalities=("CT",), lesions_at=(at,), landmarks=(at,)
            )
            priors.keep(session, builders.STUDY_UID, uid, point, 1)
    with world.services.reading() as session:
        prior = earlier.prior_of(session, builders.study())
    assert prior is not None
    assert [(p.study_instance_uid, p.lesions_at, p.landmarks) for p in prior.points] == [
        ("1.3", (at,), (at,)),
        ("1.4", (at,), (at,)),
        ("1.5", (at,), (at,)),
    ]


@ONLY_SQLITE
def test_an_earlier_examination_is_measured_by_the_sites_own_names(make_world, today, before, monkeypatch) -> None:
    """A hospital's name for a tumour says the same in last year's segmentation."""
    given = []

    def measure(study, open_file, measuring=None, **how):
        given.append(measuring)
        return measure_study(study, open_file, measuring, **how)

    monkeypatch.setattr(earlier, "measure_study", measure)
    world = asking(make_world, measuring=Measuring(low_attenuation_hu=31))
    put(world, tracked(before, TODAY.tracking_uid))
    draft(world, today)
    assert given
    assert all(m == world.services.settings.measuring for m in given)
