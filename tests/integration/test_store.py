"""The store on both databases: what is added twice, what is compared and swapped, what is kept for ever."""

from __future__ import annotations

import csv
import datetime as dt
import io
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session

from service.errors import ConfigurationError
from service.flow.produce import COMPREHENSIVE_SR
from service.model.events import SENTENCES, StudyEvent, StudyState, tell
from service.model.study import Header, Patient
from service.store import csvout, events, inbox, outbox, registry, schema
from service.store.engine import make_engine, parse_url
from service.store.outbox import OutboxState
from service.store.tables import Base, EventRow
from sr_templates import load_template
from sr_templates.questions import completeness
from tests import builders as b

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


@pytest.fixture
def session(engine):
    with Session(engine) as made:
        yield made


def received(series: int, numbers: range, seconds: int = 0, **changes: object):
    header = Header(elements={"AccessionNumber": ("A123",), "Modality": ("CT",)})
    at = NOW + dt.timedelta(seconds=seconds)
    return [
        replace(
            b.instance(series, n, header=header),
            received_at=at,
            calling_ae="PACS",
            called_ae="LMS_SR",
            source_address="127.0.0.1",
            path=f"{series}/{n}",
            **changes,
        )
        for n in numbers
    ]


def register(session, study=None, segments=(), version=1, at=NOW):
    made = b.produced(study or b.study(), *(segments or (b.tumour(),)))
    counted = completeness(made.report, load_template("baseline"))
    return made, registry.register(session, made.study, made.report, counted, version=version, at=at)


class TestInbox:
    def test_instances_come_back_as_they_were(self, session):
        instances = received(2, range(1, 4))
        (arrival,) = inbox.add_instances(session, instances, NOW)
        assert (arrival.new_instances, arrival.revision) == (3, 1)
        session.commit()
        loaded = inbox.load_instances(session, b.STUDY_UID)
        assert loaded == sorted(instances, key=lambda i: i.sop_instance_uid)
        assert len({id(i.header) for i in loaded}) == 1

    def test_what_is_sent_again_changes_nothing(self, session):
        inbox.add_instances(session, received(2, range(1, 4)), NOW)
        before = inbox.get_study(session, b.STUDY_UID)
        assert inbox.add_instances(session, received(2, range(1, 4), 30), NOW) == ()
        assert inbox.get_study(session, b.STUDY_UID) == before

    def test_one_batch_counts_once_whatever_it_brings(self, session):
        inbox.add_instances(session, received(2, range(1, 4)), NOW)
        (arrival,) = inbox.add_instances(session, received(2, range(2, 9), 5), NOW)
        study = inbox.get_study(session, b.STUDY_UID)
        assert (arrival.new_instances, study.revision, study.instance_count) == (5, 2, 8)
        assert study.last_received_at == NOW + dt.timedelta(seconds=5)
        assert study.accession_number == "A123"

    def test_an_instance_twice_in_one_batch_is_one(self, session):
        (arrival,) = inbox.add_instances(session, received(2, range(1, 4)) * 2, NOW)
        assert arrival.new_instances == 3

    def test_late_images_reopen_a_complete_study_and_start_its_clock_again(self, session):
        inbox.add_instances(session, received(2, range(1, 4)), NOW)
        assert inbox.complete(session, b.STUDY_UID, 1, reason="quiet", forced=False)
        inbox.add_instances(session, received(2, range(4, 6), 600), NOW)
        study = inbox.get_study(session, b.STUDY_UID)
        assert (study.state, study.completed_revision, study.revision) == (StudyState.RECEIVED, 1, 2)
        assert study.burst_started_at == NOW + dt.timedelta(seconds=600)
        assert StudyEvent.REOPENED in [e.event for e in events.story(session, b.STUDY_UID)]

    def test_a_revision_completes_once_and_never_when_the_study_moved_on(self, session):
        inbox.add_instances(session, received(2, range(1, 4)), NOW)
        assert inbox.complete(session, b.STUDY_UID, 1, reason="quiet", forced=False)
        assert not inbox.complete(session, b.STUDY_UID, 1, reason="quiet", forced=False)
        inbox.add_instances(session, received(2, range(4, 6)), NOW)
        assert not inbox.complete(session, b.STUDY_UID, 1, reason="quiet", forced=False)

    def test_studies_are_found(self, session):
        inbox.add_instances(session, received(2, range(1, 2)), NOW)
        assert inbox.find_by_accession(session, "A123") == (b.STUDY_UID,)
        assert inbox.find_by_accession(session, "A12") == ()
        assert [s.study_instance_uid for s in inbox.list_studies(session, state=StudyState.RECEIVED)] == [b.STUDY_UID]
        assert inbox.list_studies(session, state=StudyState.SENT) == ()
        assert inbox.count_states(session) == {StudyState.RECEIVED: 1}
        assert inbox.known_paths(session) == {"2/1"}
        assert inbox.instance_uids(session, b.STUDY_UID) == {b.instance(2, 1).sop_instance_uid}
        assert inbox.get_study(session, "1.2.3") is None

    def test_crashes_are_counted_until_composing_ends(self, session):
        inbox.add_instances(session, received(2, range(1, 2)), NOW)
        assert [inbox.count_crash(session, b.STUDY_UID) for _ in range(3)] == [1, 2, 3]
        inbox.clear_crashes(session, b.STUDY_UID)
        assert inbox.count_crash(session, b.STUDY_UID) == 1

    def test_a_study_can_be_flagged_and_moved(self, session):
        inbox.add_instances(session, received(2, range(1, 2)), NOW)
        inbox.set_flag(session, b.STUDY_UID, "signed report is older than the images")
        inbox.set_state(session, b.STUDY_UID, StudyState.PARKED)
        study = inbox.get_study(session, b.STUDY_UID)
        assert (study.flag, study.state) == ("signed report is older than the images", StudyState.PARKED)

    def test_the_installation_keeps_its_identity(self, session):
        first = inbox.installation(session, NOW)
        session.commit()
        assert inbox.installation(session, NOW + dt.timedelta(days=9)) == first


class TestEvents:
    def test_a_story_is_told_in_order_with_bursts_together(self, session):
        inbox.add_instances(session, received(2, range(1, 4)), NOW)
        inbox.add_instances(session, received(2, range(4, 9), 48), NOW)
        later = NOW + dt.timedelta(seconds=60)
        events.append(session, b.STUDY_UID, StudyEvent.COMPLETED, later, count=8, reason="quiet for 5 s")
        told = tell(events.story(session, b.STUDY_UID), "Europe/Berlin")
        assert told == (
            "2026-03-01 13:00:00  8 instances arrived from PACS (127.0.0.1), called as LMS_SR, within 48 s",
            "2026-03-01 13:01:00  complete with 8 instances: quiet for 5 s",
        )
        assert events.last(session, b.STUDY_UID).event is StudyEvent.COMPLETED
        assert events.last(session, "1.2.3") is None

    def test_every_event_has_a_sentence(self):
        assert set(SENTENCES) == set(StudyEvent)

    def test_a_time_without_offset_is_refused(self, session):
        session.add(EventRow(study_instance_uid="1", at=dt.datetime(2026, 1, 1), name="sent", data={}))  # noqa: DTZ001 - the point
        with pytest.raises(StatementError, match="without an offset"):
            session.flush()


class TestRegistry:
    def test_a_report_is_kept_whole_and_coded(self, session):
        made, report_id = register(session)
        session.commit()
        assert registry.read_content(session, report_id) == made.report
        row = registry.current(session, b.STUDY_UID)
        assert (row.version, row.content_hash, row.current) == (1, made.content_hash, True)
        (case,) = registry.list_cases(session)
        assert (case.patient_id, case.issuer, case.studies, case.lesions) == ("P-1", "HOSPITAL", 1, 1)

    def test_a_new_version_is_the_current_one(self, session):
        register(session)
        _, second = register(session, version=2)
        assert registry.current(session, b.STUDY_UID, "baseline").id == second
        assert [(v.version, v.current) for v in registry.versions(session, b.STUDY_UID)] == [(1, False), (2, True)]
        assert registry.current(session, b.STUDY_UID, "response") is None

    def test_the_prior_is_the_newest_report_of_another_study_of_the_same_patient(self, session):
        register(session)
        assert registry.prior(session, "P-1", "HOSPITAL", b.STUDY_UID) is None
        later = b.study(study_instance_uid="1.2.3.4", date="20260401")
        register(session, later)
        found = registry.prior(session, "P-1", "HOSPITAL", "1.2.3.5")
        assert (found.study_instance_uid, found.study_date, found.signed) == ("1.2.3.4", "20260401", False)
        assert [le.tracking_id for le in found.lesions] == ["LMS-T1", "LMS-T1"]

    def test_a_later_study_is_no_comparison(self, session):
        register(session)
        register(session, b.study(study_instance_uid="1.2.3.4", date="20260401"))
        assert registry.prior(session, "P-1", "HOSPITAL", "1.2.3.5", "20260331").study_instance_uid == b.STUDY_UID
        assert registry.prior(session, "P-1", "HOSPITAL", "1.2.3.5", "20260401").study_instance_uid == "1.2.3.4"
        assert registry.prior(session, "P-1", "HOSPITAL", "1.2.3.5", "20200101") is None

    def test_the_same_identifier_of_another_issuer_is_another_patient(self, session):
        register(session)
        assert registry.is_known(session, "P-1", "HOSPITAL")
        assert not registry.is_known(session, "P-1", "ELSEWHERE")
        assert not registry.is_known(session, "", "")
        assert registry.prior(session, "P-1", "ELSEWHERE", "9") is None
        assert registry.prior(session, "", "", "9") is None

    def test_no_name_and_no_birth_date_is_kept(self, session):
        register(session)
        for table in ("patient", "tumour_case", "report", "answer", "lesion", "event", "study"):
            for row in session.execute(text(f"SELECT * FROM {table}")):
                assert "Müller" not in str(row)
                assert "19600101" not in str(row)

    def test_csv_has_every_value_and_no_formula(self, session):
        evil = b.study(b.series(2, ReasonForTheRequestedProcedure="=cmd|' /C calc'!A0"))
        made = replace(b.produced(), study=evil, report=b.report(evil))
        counted = completeness(made.report, load_template("baseline"))
        registry.register(session, evil, made.report, counted, version=1, at=NOW)
        out = io.StringIO()
        count = csvout.write_long(session, out)
        rows = list(csv.DictReader(io.StringIO(out.getvalue())))
        assert len(rows) == count == sum(len(a.values) for a in made.report.answers)
        indication = next(r for r in rows if r["item"] == "hd.indications")
        assert indication["value"].startswith("'=cmd")
        wide = io.StringIO()
        assert csvout.write_wide(session, wide) == 1
        (row,) = csv.DictReader(io.StringIO(wide.getvalue()))
        assert row["patient_id"] == "P-1"
        assert row["ctx.comparison"] == "none in the registry"

    @given(st.text(max_size=20))
    def test_no_cell_is_a_formula(self, cell):
        shown = csvout.safe(cell)
        assert not shown.startswith(("=", "@", "\t", "\r"))
        assert shown.removeprefix("'") == cell.removeprefix("'") or shown == cell


class TestOutbox:
    @pytest.fixture
    def row(self, session):
        _, report_id = register(session)
        first, second = b.rendered()
        arguments = {
            "study_instance_uid": b.STUDY_UID,
            "report_id": report_id,
            "version": 1,
            "node": "PACS",
            "profile": "standard",
            "at": NOW,
        }
        first_id = outbox.put(session, first, **arguments)
        assert outbox.put(session, second, **arguments) is not None
        assert outbox.put(session, first, **arguments) is None
        session.commit()
        return first_id

    def test_bytes_are_frozen(self, session, row):
        assert outbox.content(session, row) == b.rendered()[0].part10
        assert outbox.get(session, row).sop_class_uid == COMPREHENSIVE_SR
        assert outbox.sent_uids(session, b.STUDY_UID) == {r.sop_instance_uid for r in b.rendered()}
        assert outbox.get(session, 999) is None

    def test_an_attempt_is_recorded_once(self, session, row):
        assert outbox.record_retry(session, row, 1, status=0xA700, message="busy", next_at=NOW, may_be_there=False)
        assert not outbox.record_retry(session, row, 1, status=0xA700, message="busy", next_at=NOW, may_be_there=False)
        assert outbox.record_sent(session, row, 2, status=0, message="", at=NOW)
        assert not outbox.record_sent(session, row, 3, status=0, message="", at=NOW)
        kept = outbox.get(session, row)
        assert (kept.state, kept.attempt, kept.last_status, kept.sent_at) == (OutboxState.SENT, 2, 0, NOW)

    def test_parked_rows_go_back_by_hand_and_a_late_workflow_finds_its_number_taken(self, session, row):
        assert outbox.record_parked(session, row, 1, status=0xC000, message="cannot understand", may_be_there=False)
        assert outbox.in_state(session, OutboxState.PARKED)[0].id == row
        again = outbox.requeue(session, row, NOW)
        assert (again.state, again.attempt) == (OutboxState.QUEUED, 2)
        assert not outbox.record_retry(session, row, 2, status=None, message="late", next_at=NOW, may_be_there=False)
        assert outbox.park(session, row, "by hand")
        assert not outbox.park(session, row, "by hand")

    def test_what_arrived_although_it_was_parked_meanwhile_counts_as_sent(self, session, row):
        assert outbox.begin(session, row, 1)
        assert outbox.park(session, row, "by hand")
        assert outbox.record_overtaken(session, row, 1, status=0xA700, may_be_there=False)
        parked = outbox.get(session, row)
        assert (parked.state, parked.last_message, parked.may_be_there) == (OutboxState.PARKED, "by hand", False)
        assert outbox.record_sent(session, row, 2, status=0, message="", at=NOW)
        assert outbox.get(session, row).state is OutboxState.SENT

    def test_a_newer_version_takes_older_ones_out_of_the_queue(self, session, row):
        assert outbox.record_sent(session, row, 1, status=0, message="", at=NOW)
        (companion,) = outbox.supersede(session, b.STUDY_UID, 2)
        assert companion.kind == "companion"
        states = {r.kind: r.state for r in outbox.for_study(session, b.STUDY_UID)}
        assert states == {"report": OutboxState.SENT, "companion": OutboxState.SUPERSEDED}
        assert outbox.requeue(session, companion.id, NOW) is None
        assert len(outbox.everything(session)) == 2

    def test_a_refused_class_is_replaced_in_place(self, session, row):
        other = b.rendered(sop_class_uid="1.2.840.10008.5.1.4.1.1.88.22")[0]
        assert outbox.replace_rendition(session, row, 1, other)
        assert not outbox.replace_rendition(session, row, 1, other)
        assert outbox.get(session, row).sop_instance_uid == other.sop_instance_uid
        assert outbox.content(session, row) == other.part10

    def test_what_a_destination_takes_is_remembered(self, session):
        assert outbox.accepted(session, "PACS") is None
        outbox.learn(session, "PACS", ["1.2", "1.3"], NOW)
        outbox.learn(session, "PACS", ["1.3"], NOW)
        assert outbox.accepted(session, "PACS") == {"1.3"}


class TestSchema:
    def test_migrations_and_tables_agree(self, engine):
        with engine.connect() as connection:
            context = MigrationContext.configure(
                connection,
                opts={"include_name": lambda name, kind, _: schema.is_ours(name, kind), "compare_type": True},
            )
            assert compare_metadata(context, Base.metadata) == []

    def test_down_and_up_again(self, engine):
        schema.downgrade(engine, "base")
        assert schema.revision(engine) is None
        with pytest.raises(ConfigurationError, match="lms-sr db upgrade"):
            schema.verify(engine)
        schema.upgrade(engine)
        schema.verify(engine)

    def test_upgrading_twice_is_nothing_new(self, engine):
        schema.upgrade(engine)
        assert schema.revision(engine) == schema.head()


def test_an_acknowledged_commit_survives_on_sqlite(tmp_path):
    engine = make_engine(f"sqlite:///{tmp_path / 'sub' / 'a.db'}")
    with engine.connect() as connection:
        pragmas = {
            p: connection.exec_driver_sql(f"PRAGMA {p}").scalar()
            for p in ("journal_mode", "synchronous", "foreign_keys")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.parametrize(
    ("url", "said"),
    [("nonsense", "no database URL"), ("mysql://u:hunter2@h/d", "'mysql' is not supported")],
)
def test_a_wrong_url_is_named_without_its_secret(url, said):
    with pytest.raises(ConfigurationError, match=said) as caught:
        parse_url(url)
    assert "hunter2" not in str(caught.value)


def test_a_database_that_does_not_answer_is_named_without_its_password():
    engine = make_engine("postgresql://user:hunter2@127.0.0.1:1/none")
    with pytest.raises(ConfigurationError, match="does not answer") as caught:
        schema.upgrade(engine)
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        make_engine(f"sqlite:///{tmp_path / 'file' / 'a.db'}")


def test_identities_of_patients_are_kept_apart_by_issuer(engine):
    with Session(engine) as session:
        for issuer in ("A", "B"):
            register(
                session, b.study(patient=Patient(patient_id="1", issuer=issuer), study_instance_uid=f"1.{ord(issuer)}")
            )
        assert len(registry.list_cases(session)) == 2
