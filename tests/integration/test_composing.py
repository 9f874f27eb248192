"""A completed study to a report in the outbox, on both databases: what is issued, what is not, and what a version replaces."""

from __future__ import annotations

import io
import threading

import pytest
from pydicom import dcmread
from sqlalchemy import update
from sqlalchemy.orm import Session

from service.errors import StoreUnavailable, TemplateError
from service.flow import produce as making
from service.flow import triage
from service.flow.given import parse_text
from service.flow.produce import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR
from service.model.events import StudyState
from service.model.report import Provenance, Status
from service.model.signing import Person
from service.store import inbox, outbox, registry
from service.store.outbox import OutboxState
from service.store.tables import ReportRow
from service.work import completing, composing, issuing, jobs, revising, versions
from tests.integration.world import (
    LOST_AFTER,
    LOST_BEFORE,
    STS,
    STUDY,
    as_data_set,
    as_file,
    edit_of,
    image,
    images,
    node,
    predecessors,
    text_of,
)

PRESENTATION = {"modality": "PR", "sop_class": "1.2.840.10008.5.1.4.1.1.11.1"}
STS_FILES = (*sorted(STS.glob("CT/*.dcm")), STS / "CT_SEG.dcm")


def sts_uid() -> str:
    return str(dcmread(STS_FILES[0], stop_before_pixels=True).StudyInstanceUID)


def later(world, *objects, seconds=60, **how):
    """Let something arrive, be composed and be sent."""
    world.arrive(*objects, **how)
    return world.run(seconds)


class TestTriage:
    @pytest.mark.parametrize(
        ("objects", "reason"),
        [
            (images(indication=""), "no rule applied: the texts name no sarcoma"),
            (images(name="Test^Patient"), "a test or phantom patient"),
            (
                [image(modality="SR", sop_class="1.2.840.10008.5.1.4.1.1.88.67")],
                "nothing but radiation dose reports",
            ),
            (images(modality="CR"), "no CT, MR, PET or ultrasound image"),
        ],
        ids=["no rule", "test patient", "dose report", "no image"],
    )
    def test_a_study_that_gets_no_report_says_why(self, world, objects, reason):
        world.composed(*objects)
        assert world.state is StudyState.IGNORED
        assert world.story()[-1] == "triaged"
        assert f"triage: ignored by rule '{'no rule' if 'no rule' in reason else ''}" in world.told()
        assert reason in world.told()
        assert (world.rows(), world.versions(), world.study().crashes) == ((), [], 0)

    def test_the_texts_of_a_patient_are_not_in_the_story(self, world):
        world.composed()
        assert "Sommer" not in world.told()
        assert "?sarcoma" not in world.told()

    def test_a_known_case_gets_a_report_whatever_its_texts_say(self, world):
        world.composed()
        world.composed(*images(study="1.2.3.4", indication=""))
        assert world.study("1.2.3.4").state is StudyState.COMPOSED
        assert "the registry knows a case of this patient" in world.told("1.2.3.4")

    def test_a_title_can_ask_for_a_report_always(self, world):
        world.composed(*images(indication=""), called="LMS_ALWAYS")
        assert world.state is StudyState.COMPOSED

    def test_started_by_hand_the_template_is_that_of_the_rule(self, world):
        rules = (triage.Rule(name="mine", report=True, reason="so", template="no-such", called="always"),)
        world.services = composing.Services(
            **{f: getattr(world.services, f) for f in world.services.__slots__} | {"rules": rules}
        )
        world.arrive(*images(), called="LMS_ALWAYS")
        completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["parked"]
        assert "no-such" in world.study().flag


class TestParking:
    def test_a_study_without_patient_id_is_parked_and_told(self, world):
        world.composed(*images(patient=""))
        assert world.state is StudyState.PARKED
        assert world.study().flag == "the study has no Patient ID: correct it in the PACS and send the study again"
        assert world.story()[-1] == "parked"
        assert (world.rows(), world.versions()) == ((), [])

    def test_two_patients_in_one_study_are_parked(self, world):
        world.composed(*images(), image(2, patient="P-2"))
        assert world.state is StudyState.PARKED
        assert "name 2 different patients" in world.study().flag
        assert world.rows() == ()

    def test_all_that_is_wrong_is_told_at_once(self, world, monkeypatch):
        def refuse(*_args, **_kwargs):
            raise issuing.GateError(("something else is wrong, too",))

        monkeypatch.setattr(making, "renditions", refuse)
        world.composed(*images(patient=""))
        assert world.study().flag.startswith("the study has no Patient ID")
        assert world.study().flag.endswith("; something else is wrong, too")

    @pytest.mark.parametrize("nodes", [(node("OTHER", reports=False),), (node(port=0, reports=False),)])
    def test_without_a_destination_a_study_is_parked_and_goes_on_when_there_is_one(self, make_world, nodes):
        world = make_world(*nodes)
        world.composed()
        assert world.state is StudyState.PARKED
        assert "knows no port of the sender 'PACS'" in world.study().flag
        world.configure(nodes=(node(),))
        completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["version 1", "sent"]
        assert (world.state, world.study().flag) == (StudyState.SENT, "")

    def test_a_report_that_fails_the_gate_is_parked_shown_and_tried_again_by_hand(self, world, monkeypatch):
        good = versions.for_destination

        def refuse(*_args, **_kwargs):
            raise issuing.GateError(("the root title is wrong", "so is another thing"))

        monkeypatch.setattr(versions, "for_destination", refuse)
        world.composed()
        assert (world.state, world.study().crashes) == (StudyState.PARKED, 0)
        assert world.study().flag == "the root title is wrong; so is another thing"
        assert "parked: the root title is wrong; so is another thing" in world.told()
        world.clock.advance(1)
        completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["parked"]
        monkeypatch.setattr(versions, "for_destination", good)
        world.clock.advance(1)
        completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["version 1", "sent"]
        assert (world.state, world.study().flag) == (StudyState.SENT, "")

    def test_a_template_that_cannot_be_loaded_parks(self, world, monkeypatch):
        def missing(_name):
            raise TemplateError("template 'baseline' is not there: reinstall")

        monkeypatch.setattr(making, "load_template", missing)
        world.composed()
        assert world.study().flag == "template 'baseline' is not there: reinstall"

    def test_a_flag_goes_when_its_reason_does(self, world):
        world.composed()
        world.run()
        later(world, image(2, patient="P-2"))
        assert (world.state, "different patients" in world.study().flag) == (StudyState.PARKED, True)
        with Session(world.services.engine) as session, session.begin():
            session.query(inbox.InstanceRow).filter_by(series_instance_uid=f"{STUDY}.2").delete()
        completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["unchanged"]
        assert (world.state, world.study().flag) == (StudyState.SENT, "")

    def test_a_study_that_is_ignored_now_needs_nobody(self, world):
        world.composed(*images(patient=""))
        assert world.study().flag
        world.services = composing.Services(
            **{f: getattr(world.services, f) for f in world.services.__slots__} | {"rules": ()}
        )
        later(world, image(2, patient=""))
        assert (world.state, world.study().flag) == (StudyState.IGNORED, "")

    def test_what_fails_for_an_older_revision_does_not_park_the_newer_one(self, world, monkeypatch):
        def refuse(*_args, **_kwargs):
            world.arrive(image(2))
            raise issuing.GateError(("no",))

        monkeypatch.setattr(versions, "for_destination", refuse)
        world.composed()
        assert ("compose" in world.outcomes[1][0], world.outcomes[1][1]) == (True, "overtaken")


class TestCrashes:
    def test_composing_that_never_ends_is_parked_after_five_starts(self, world, monkeypatch):
        class Killed(BaseException):
            pass

        def die(*_args, **_kwargs):
            raise Killed

        monkeypatch.setattr(composing, "measure_study", die)
        world.arrive(*images())
        world.run(59)
        world.clock.advance(1)
        world.do(world.jobs.take_due())
        job = world.jobs.take_due()
        for _ in range(composing.MAX_CRASHES):
            with pytest.raises(Killed):
                world.do(job)
        assert world.do(job) == "parked"
        assert world.state is StudyState.PARKED
        assert f"started 5 times and never ended: see the log, then 'lms-sr start {STUDY}'" in world.study().flag
        monkeypatch.undo()
        completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["version 1", "sent"]
        assert (world.study().flag, world.study().crashes) == ("", 0)

    def test_a_spool_that_is_away_is_waited_for_as_long_as_it_takes_and_shown(self, world, monkeypatch):
        def away(*_args, **_kwargs):
            raise StoreUnavailable("spool: the disk does not answer")

        monkeypatch.setattr(composing, "measure_study", away)
        world.composed()
        assert world.study().flag == "composing waits: spool: the disk does not answer"
        world.run(3600)
        assert {o for i, o in world.outcomes if i.startswith("compose")} == {"waits"}
        assert world.story().count("flagged") == 1
        assert world.state is StudyState.COMPLETE
        monkeypatch.undo()
        world.run(30)
        assert (world.state, world.study().flag) == (StudyState.SENT, "")

    def test_waiting_once_more_after_a_start_by_hand_is_asked_for_under_a_new_id(self, world, monkeypatch):
        """Ids are done once: one that was used before the person came would be dropped, and the study forgotten."""

        def away(*_args, **_kwargs):
            raise StoreUnavailable("spool: the disk does not answer")

        monkeypatch.setattr(composing, "measure_study", away)
        world.composed()
        world.run(40)
        world.jobs.waiting.clear()
        completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["waits"]
        monkeypatch.undo()
        assert world.run(30) == ["version 1", "sent"]

    def test_waiting_for_an_older_revision_ends(self, world, monkeypatch):
        def away(*_args, **_kwargs):
            world.arrive(image(2))
            raise StoreUnavailable("spool: the disk does not answer")

        monkeypatch.setattr(composing, "measure_study", away)
        world.composed()
        assert world.outcomes[1][1] == "overtaken"

    def test_a_crash_after_the_commit_issues_nothing_twice(self, world):
        """The engine runs what it did not see end once more."""
        world.composed()
        again = jobs.compose(STUDY, 1)
        assert world.do(again) == "unchanged"
        assert (world.versions(), len(world.rows()), world.jobs.ids) == ([1], 1, ["send:1:1"])
        assert world.state is StudyState.COMPOSED

    def test_a_run_for_an_older_revision_or_an_unknown_study_does_nothing(self, world):
        world.arrive(*images())
        assert composing.compose(world.services, STUDY, 2, by_hand=False) == "overtaken"
        assert composing.compose(world.services, "1.2.3", 1, by_hand=False) == "overtaken"
        assert world.study().crashes == 0


class TestTwoRuns:
    """By hand and by itself at once: what one of them issues the other must not issue again."""

    @pytest.fixture
    def interrupted(self, world, monkeypatch):
        """Let another run for the same revision come between the reading and the writing of the first one."""
        original, done = issuing.render, []

        def render(*args):
            made = original(*args)
            if not done:
                done.append("begun")
                done[0] = composing.compose(world.services, STUDY, world.study().revision, by_hand=True)
            return made

        monkeypatch.setattr(issuing, "render", render)
        return done

    def test_the_same_content_is_issued_once(self, world, interrupted):
        world.composed()
        assert interrupted == ["version 1"]
        assert world.outcomes[-1][1] == "unchanged"
        assert (world.versions(), len(world.rows())) == ([1], 1)

    def test_a_second_version_is_issued_once_too(self, world, interrupted):
        interrupted.append("not yet")
        world.composed()
        world.run()
        interrupted.clear()
        later(world, image(2))
        assert interrupted == ["version 2"]
        assert world.versions() == [1, 2]
        assert [int(r.InstanceNumber) for r in world.pacs.reports] == [1, 2]

    def test_what_the_other_run_sent_is_no_edit_of_a_viewer(self, world, monkeypatch):
        world.composed()
        world.run()
        original, done = issuing.edits_in, []

        def edits_in(*args):
            if not done:
                done.append("begun")
                composing.compose(world.services, STUDY, 2, by_hand=True)
                world.do(jobs.send(2, 1, "PACS"))
            return original(*args)

        monkeypatch.setattr(issuing, "edits_in", edits_in)
        later(world, image(2))
        assert world.versions() == [1, 2]
        assert "flagged" not in world.story()

    def test_images_that_arrive_while_a_version_is_made_take_it_back(self, world, monkeypatch):
        original = issuing.render

        def render(*args):
            if world.study().revision == 1:
                world.arrive(image(2))
            return original(*args)

        monkeypatch.setattr(issuing, "render", render)
        world.composed()
        world.run(60)
        assert [o for i, o in world.outcomes if i.startswith("compose")] == ["overtaken", "version 1"]
        assert (world.versions(), len(world.rows())) == ([1], 1)

    def test_runs_that_always_meet_another_wait(self, world, monkeypatch):
        def moved(*_args, **_kwargs):
            raise issuing.Moved

        monkeypatch.setattr(issuing, "issue", moved)
        world.composed()
        assert "another version was issued each time" in world.study().flag
        monkeypatch.undo()
        world.run(30)
        assert world.state is StudyState.SENT

    def test_an_outbox_that_always_moves_is_waited_for(self, world, monkeypatch):
        monkeypatch.setattr(issuing, "_commit", lambda *_args: "")
        world.composed()
        assert "the outbox changed each time" in world.study().flag

    @pytest.mark.parametrize("outcome", ["ignored", "unchanged", "flagged"])
    def test_no_outcome_is_recorded_for_a_revision_that_is_over(self, world, monkeypatch, outcome):
        if outcome != "ignored":
            world.composed()
            world.run()
        if outcome == "flagged":
            sign(world)
        original = composing.measure_study if outcome != "ignored" else composing._decide
        target = original.__name__

        def meanwhile(*args, **kwargs):
            world.arrive(image(9, world.study().revision))
            return original(*args, **kwargs)

        objects = {"ignored": images(indication=""), "unchanged": [image(3, **PRESENTATION)], "flagged": [image(2)]}
        world.arrive(*objects[outcome])
        world.clock.advance(60)
        world.do(world.jobs.take_due())
        monkeypatch.setattr(composing, target, meanwhile)
        assert world.do(world.jobs.take_due()) == "overtaken"
        assert world.state is StudyState.RECEIVED


def test_two_studies_of_a_new_patient_at_the_same_moment_both_get_their_report(make_world, monkeypatch):
    """Both find the patient unknown and add one: the second has to find it known, not to be dropped."""
    world = make_world()
    other = "1.2.3.4"
    world.arrive(*images(), *images(study=other))
    world.clock.advance(60)
    for _ in range(2):
        world.do(world.jobs.take_due())
    original, met = registry._case, threading.Barrier(2, timeout=2)

    def case(session, *args):
        if session.get_bind().dialect.name == "postgresql" and met.n_waiting < 2:
            try:
                session.query(registry.PatientRow).all()
                met.wait()
            except threading.BrokenBarrierError:
                pass
        return original(session, *args)

    monkeypatch.setattr(registry, "_case", case)
    outcomes = {}
    threads = [
        threading.Thread(target=lambda u=uid: outcomes.update({u: composing.compose(world.services, u, 1, False)}))
        for uid in (STUDY, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert outcomes == {STUDY: "version 1", other: "version 1"}
    with world.services.reading() as session:
        assert len(registry.list_cases(session)) == 1


def test_processes_that_start_together_are_one_installation(engine):
    """Two identities would be two UIDs for one report."""
    from service.clock import SystemClock  # noqa: PLC0415 - here only

    found, met = [], threading.Barrier(4)

    def ask():
        with Session(engine) as session, session.begin():
            met.wait(10)
            found.append(inbox.installation(session, SystemClock().now()))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 4
    assert len(set(found)) == 1


def sign(world, version=1):
    with Session(world.services.engine) as session, session.begin():
        session.execute(
            update(ReportRow)
            .where(ReportRow.version == version)
            .values(verification="VERIFIED", completion="COMPLETE", state="signed")
        )


class TestSigned:
    @pytest.fixture
    def signed(self, world):
        world.composed()
        world.run()
        sign(world)
        return world

    def test_a_signed_report_is_flagged_and_not_replaced(self, signed):
        assert later(signed, image(2))[-1] == "flagged"
        assert (signed.versions(), signed.state) == ([1], StudyState.SENT)
        assert signed.study().flag.startswith("version 1 is signed and does not change by itself")
        assert "flagged for a person: version 1 is signed" in signed.told()

    def test_not_even_by_hand(self, signed):
        later(signed, image(2))
        completing.start_by_hand(signed.services, STUDY)
        assert signed.run() == ["flagged"]
        assert signed.versions() == [1]

    def test_what_changes_nothing_in_it_flags_nothing(self, signed):
        later(signed, image(3, **PRESENTATION))
        assert (signed.study().flag, signed.state) == ("", StudyState.SENT)


class TestEdits:
    """What a radiologist saved into our series is theirs: it is never replaced unasked, and never forgotten."""

    @pytest.fixture
    def edited(self, world):
        world.composed()
        world.run()
        world.pacs.put(edit_of(world.pacs.reports[0]))
        return world

    def test_an_edit_in_our_series_is_flagged(self, edited):
        assert later(edited, image(2), seconds=900)[-1] == "flagged"
        assert edited.versions() == [1]
        assert edited.state is StudyState.SENT
        assert f"'lms-sr start {STUDY}' issues a version that replaces it" in edited.study().flag

    def test_by_hand_it_is_replaced_with_predecessor_and_higher_number(self, edited):
        first, edit = edited.pacs.reports
        later(edited, image(2), seconds=900)
        completing.start_by_hand(edited.services, STUDY)
        assert edited.run() == ["version 3", "sent"]
        newest = edited.pacs.reports[-1]
        assert int(newest.InstanceNumber) == 3
        assert predecessors(newest) == {first.SOPInstanceUID, edit.SOPInstanceUID}
        assert (edited.state, edited.study().flag) == (StudyState.SENT, "")

    def test_an_edit_that_was_replaced_does_not_flag_every_later_revision(self, edited):
        later(edited, image(2), seconds=900)
        completing.start_by_hand(edited.services, STUDY)
        edited.run()
        assert later(edited, image(4), seconds=900)[-2:] == ["version 4", "sent"]
        third, fourth = edited.pacs.reports[-2:]
        assert predecessors(fourth) == {third.SOPInstanceUID}

    def test_an_edit_is_named_until_a_version_that_names_it_has_arrived(self, edited):
        first, edit = edited.pacs.reports
        later(edited, image(2), seconds=900)
        edited.pacs.every_store = 0xA700
        completing.start_by_hand(edited.services, STUDY)
        edited.run()
        later(edited, image(4), seconds=900)
        edited.pacs.every_store = None
        edited.run(100)
        newest = edited.pacs.reports[-1]
        assert (int(newest.InstanceNumber), edited.versions()) == (4, [1, 3, 4])
        assert predecessors(newest) == {first.SOPInstanceUID, edit.SOPInstanceUID}

    def test_a_further_edit_is_flagged_again(self, edited):
        later(edited, image(2), seconds=900)
        completing.start_by_hand(edited.services, STUDY)
        edited.run()
        edited.pacs.put(edit_of(edited.pacs.reports[-1]))
        assert later(edited, image(4), seconds=900)[-1] == "flagged"

    def test_an_edit_that_arrives_by_forwarding_is_taken_in_without_asking(self, make_world):
        world = make_world(node(query=False))
        world.composed()
        world.run()
        (first,) = world.pacs.reports
        assert later(world, as_data_set(edit_of(first, number=7)))[-2:] == ["version 8", "sent"]
        newest = world.pacs.reports[-1]
        assert (int(newest.InstanceNumber), len(predecessors(newest))) == (8, 2)
        assert (world.study().flag, world.versions()) == ("", [1, 8])
        later(world, image(9, **PRESENTATION))
        assert world.versions() == [1, 8]

    def test_an_edit_that_cannot_be_read_is_flagged_and_replaced_by_hand(self, make_world):
        world = make_world(node(query=False))
        world.composed()
        world.run()
        edit = dcmread(io.BytesIO(edit_of(world.pacs.reports[0], number=7)))
        del edit.ContentSequence
        later(world, as_data_set(as_file(edit)))
        later(world, image(2))
        assert world.versions() == [1]
        assert "somebody saved into the series" in world.study().flag
        completing.start_by_hand(world.services, STUDY)
        world.run()
        newest = world.pacs.reports[-1]
        assert (int(newest.InstanceNumber), len(predecessors(newest))) == (8, 2)

    def test_a_pacs_that_does_not_answer_stops_no_report(self, edited):
        edited.pacs.mute = True
        later(edited, image(2), seconds=900)
        assert edited.versions() == [1, 2]

    def test_a_class_that_is_refused_loses_no_edit_from_the_chain(self, edited):
        edit = edited.pacs.reports[1]
        later(edited, image(2), seconds=900)
        edited.pacs.accepts = {ENHANCED_SR}
        completing.start_by_hand(edited.services, STUDY)
        assert edited.run() == ["version 3", "class changed", "sent"]
        newest = edited.pacs.reports[-1]
        assert newest.SOPClassUID == ENHANCED_SR
        assert edit.SOPInstanceUID in predecessors(newest)
        assert len(predecessors(newest)) == 2

    def test_before_a_first_version_earlier_reports_of_ours_are_asked_for(self, make_world, world):
        """The database was lost, or restored from before: what the PACS has in our series is replaced, not doubled."""
        world.composed()
        world.run()
        old = world.pacs.reports[0]
        with Session(world.services.engine) as session, session.begin():
            for table in ("outbox", "answer", "lesion", "report_transition", "report_difference", "report"):
                session.execute(inbox.text(f"DELETE FROM {table}"))
        world.jobs.known.clear()
        completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["version 2", "sent"]
        assert predecessors(world.pacs.reports[-1]) == {old.SOPInstanceUID}


class TestPredecessors:
    def test_a_version_that_never_left_is_not_named_and_is_superseded(self, world):
        world.pacs.down = True
        world.composed()
        world.run()
        later(world, image(2))
        world.pacs.down = False
        world.run(3600)
        (only,) = world.pacs.reports
        assert (int(only.InstanceNumber), predecessors(only)) == (2, set())
        assert [(r.version, r.state) for r in world.rows()] == [(1, OutboxState.SUPERSEDED), (2, OutboxState.SENT)]
        assert "report version 1 was not sent any more: a newer version replaces it" in world.told()

    def test_a_version_that_may_be_there_is_named(self, world):
        world.pacs.next_stores = [LOST_AFTER]
        world.composed()
        world.run()
        world.pacs.mute = True
        later(world, image(2), seconds=3)
        completing.start_by_hand(world.services, STUDY)
        world.run(100)
        first, second = world.pacs.reports
        assert predecessors(second) == {first.SOPInstanceUID}

    def test_the_newest_that_is_there_and_what_may_be_there_since_are_named_and_nothing_older(self, world):
        world.composed()
        world.run()
        later(world, image(2))
        world.pacs.every_store = LOST_BEFORE
        world.pacs.mute = True
        later(world, image(4))
        world.composed(image(5))
        world.pacs.every_store, world.pacs.mute = None, False
        world.run(100)
        numbers = {r.SOPInstanceUID: int(r.InstanceNumber) for r in world.pacs.reports}
        newest = world.pacs.reports[-1]
        lost = next(r.sop_instance_uid for r in world.rows() if r.version == 3)
        assert int(newest.InstanceNumber) == 4
        assert {numbers.get(u, "lost" if u == lost else "?") for u in predecessors(newest)} == {2, "lost"}

    def test_a_version_whose_attempt_begins_while_the_next_is_made_is_named(self, world, monkeypatch):
        """Without this, both would be current at the PACS."""
        world.composed()
        original, done = issuing.render, []

        def render(*args):
            made = original(*args)
            if not done and world.study().revision == 2:
                done.append(world.do(jobs.send(1, 1, "PACS")))
            return made

        monkeypatch.setattr(issuing, "render", render)
        world.jobs.waiting.clear()
        later(world, image(2))
        assert done == ["sent"]
        first, second = world.pacs.reports
        assert predecessors(second) == {first.SOPInstanceUID}

    def test_an_attempt_cannot_begin_while_a_version_that_replaces_it_is_committed(self, world, monkeypatch):
        """Either the new version names it, or it does not begin."""
        world.composed()
        original, begun, threads = registry.register, [], []

        def register(session, *args, **kwargs):
            def begin():
                with Session(world.services.engine) as other, other.begin():
                    begun.append(outbox.begin(other, 1, 1))

            threads.append(threading.Thread(target=begin))
            threads[0].start()
            threads[0].join(0.3)
            assert begun == []
            return original(session, *args, **kwargs)

        monkeypatch.setattr(registry, "register", register)
        world.jobs.waiting.clear()
        world.arrive(image(2))
        world.clock.advance(60)
        world.do(world.jobs.take_due())
        assert world.do(world.jobs.take_due()) == "version 2"
        threads[0].join(10)
        assert begun == [False]

    def test_a_report_replaces_reports_and_measurements_replace_measurements(self, world):
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        assert [(int(r.SeriesNumber), int(r.InstanceNumber)) for r in world.pacs.reports] == [(9901, 1), (9902, 1)]
        later(world, STS / "MR_T1" / "000010.dcm", called="LMS_ALWAYS")
        one, two, lines_one, lines_two = world.pacs.reports
        assert predecessors(two) == {one.SOPInstanceUID}
        assert predecessors(lines_two) == {lines_one.SOPInstanceUID}

    def test_lines_that_no_newer_version_replaces_are_shown_to_a_person(self, world, monkeypatch):
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        monkeypatch.setattr(composing, "measure_study", lambda *_args: ())
        later(world, STS / "MR_T1" / "000010.dcm", called="LMS_ALWAYS")
        told = "the measurements of version 1 are still in the PACS, but version 2 has none: remove them there"
        assert world.study(sts_uid()).flag == told
        later(world, STS / "PET" / "000010.dcm", called="LMS_ALWAYS")
        assert "but version 3 has none" in world.study(sts_uid()).flag
        completing.start_by_hand(world.services, sts_uid())
        assert world.run() == ["unchanged"]
        assert "but version 3 has none" in world.study(sts_uid()).flag


class TestDestinations:
    def test_two_destinations_get_the_same_version_each_in_its_way(self, make_world):
        world = make_world(node(), node("SECOND", profile="ohif"), node("THIRD"))
        second, third = world.peers.archives["SECOND"], world.peers.archives["THIRD"]
        second.accepts = {ENHANCED_SR}
        third.accepts = {COMPREHENSIVE_SR}
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        assert {str(r.SOPClassUID) for r in world.pacs.reports} == {COMPREHENSIVE_SR}
        assert {str(r.SOPClassUID) for r in second.reports} == {ENHANCED_SR}
        assert [r.SOPInstanceUID for r in third.reports] == [r.SOPInstanceUID for r in world.pacs.reports]
        assert third.bytes == world.pacs.bytes
        assert text_of(second.reports[0]) == text_of(world.pacs.reports[0])
        assert (world.versions(sts_uid()), world.study(sts_uid()).state) == ([1], StudyState.SENT)

    def test_one_class_and_two_profiles_share_the_report_and_not_the_measurements(self, make_world):
        world = make_world(node(), node("SECOND", profile="ohif"))
        second = world.peers.archives["SECOND"]
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.run()
        (report, lines), (other_report, other_lines) = world.pacs.reports, second.reports
        assert second.bytes[other_report.SOPInstanceUID] == world.pacs.bytes[report.SOPInstanceUID]
        assert lines.SOPInstanceUID != other_lines.SOPInstanceUID
        assert lines.SeriesInstanceUID == other_lines.SeriesInstanceUID

    def test_the_study_stands_where_its_last_destination_does(self, make_world):
        world = make_world(node(), node("SECOND"))
        world.peers.archives["SECOND"].next_stores = [0xC000]
        world.pacs.next_stores = [0xA700]
        world.composed()
        world.run()
        assert world.state is StudyState.PARKED
        world.run(30)
        assert world.state is StudyState.PARKED

    def test_without_a_named_destination_reports_go_to_the_sender(self, make_world):
        world = make_world(node(reports=False), node("SECOND", reports=False))
        world.composed()
        world.run()
        assert len(world.pacs.reports) == 1
        assert world.peers.archives["SECOND"].reports == []

    def test_the_best_class_that_a_node_takes_is_asked_for_once_and_remembered(self, world):
        world.pacs.accepts = {COMPREHENSIVE_3D_SR, ENHANCED_SR}
        world.composed()
        world.run()
        later(world, image(2))
        assert {str(r.SOPClassUID) for r in world.pacs.reports} == {COMPREHENSIVE_3D_SR}
        assert world.peers.questions.count("classes") == 1

    def test_a_node_that_cannot_be_asked_gets_what_most_take(self, world):
        world.pacs.down = True
        world.composed()
        assert [r.sop_class_uid for r in world.rows()] == [COMPREHENSIVE_SR]


def test_every_uid_in_the_chain_is_in_the_evidence_of_nothing_else(world):
    """The predecessors of a document are read back from its bytes as they were written."""
    from service.read.predecessors import predecessors as read  # noqa: PLC0415 - the thing itself

    world.composed()
    world.run()
    later(world, image(2))
    first, second = world.pacs.reports
    assert read(as_file(first)) == ()
    (reference,) = read(as_file(second))
    assert reference.sop_instance_uid == first.SOPInstanceUID
    assert reference.series_instance_uid == first.SeriesInstanceUID
    assert reference.sop_class_uid == first.SOPClassUID
    assert dcmread(io.BytesIO(as_file(second))).SOPInstanceUID == second.SOPInstanceUID


class TestTemplates:
    """Which template a study gets follows from what the registry knows of the patient (`service.flow.choice`)."""

    WHO = Person(name="Roe^Jane")

    def answered(self, world, *texts):
        world.composed()
        world.run()
        revising.answer(world.services, STUDY, tuple(parse_text(t) for t in texts), self.WHO)
        world.run()

    def test_a_study_on_treatment_gets_the_response_template_and_the_story_says_why(self, world):
        self.answered(world, "ctx.prior_tx=tx.chemo")
        world.composed(*images(study="1.2.3.4"))
        with world.services.reading() as session:
            report = registry.read_content(session, registry.current(session, "1.2.3.4").id)
        assert report.template == "response"
        assert "response, the earlier report states a treatment" in world.told("1.2.3.4")
        # what was confirmed there is proposed here, with its date
        (answer,) = report.answers_of("ctx.prior_tx")
        assert (answer.status, answer.provenance) == (Status.PROPOSED, Provenance.PRIOR)

    def test_a_report_keeps_its_template_whatever_the_registry_learns(self, world):
        world.composed(*images(study="1.2.3.4"))
        world.run()
        self.answered(world, "ctx.dx_status=ctx.dx_status.resected")
        world.arrive(image(2, study="1.2.3.4"))
        world.run(3600)
        with world.services.reading() as session:
            assert {v.template for v in registry.versions(session, "1.2.3.4")} == {"baseline"}
