"""One attempt after the other, on both databases: lost answers, refusals, crashes, a person's hand; never a twin, never a lost report."""

from __future__ import annotations

import threading

import pytest

from service.errors import GateError, PeerUnavailable, Rejected
from service.flow.produce import COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR
from service.model.events import StudyState
from service.settings import Outgoing
from service.store import outbox
from service.store.outbox import OutboxState
from service.work import completing, delivery, jobs, sending
from tests.integration.world import LOST_AFTER, LOST_BEFORE, STS, STUDY, image, images, node, predecessors

STS_FILES = (*sorted(STS.glob("CT/*.dcm")), STS / "CT_SEG.dcm")


@pytest.fixture
def queued(world):
    """A report that waits for its first attempt."""
    world.composed()
    assert world.jobs.ids == ["send:1:1"]
    return world


class TestLostAnswers:
    @pytest.mark.parametrize("lost", [LOST_AFTER, LOST_BEFORE])
    def test_the_node_is_asked_and_gets_the_same_bytes_or_nothing(self, queued, lost):
        uid, content = queued.row(1).sop_instance_uid, queued.content(1)
        queued.pacs.next_stores = [lost]
        assert queued.run() == ["send_unknown"]
        row = queued.row(1)
        assert (row.state, row.begun, row.next_at) == (
            OutboxState.QUEUED,
            1,
            queued.clock.now() + sending.dt.timedelta(seconds=5),
        )
        assert queued.run(5) == ["sent"]
        assert queued.pacs.stores[uid] == (1 if lost is LOST_AFTER else 2)
        assert queued.pacs.bytes == {uid: content}
        assert ("found there, the answer was lost" in queued.told()) is (lost is LOST_AFTER)
        assert "did not say whether it stored the report" in queued.told()

    @pytest.mark.parametrize("asking", ["may not", "gets no answer"])
    def test_a_node_that_cannot_be_asked_gets_the_same_bytes(self, make_world, asking):
        world = make_world(node(query=asking != "may not"))
        world.composed()
        world.pacs.mute = True
        world.pacs.next_stores = [LOST_AFTER]
        assert world.run(5) == ["send_unknown", "sent"]
        (uid,) = world.pacs.bytes
        assert world.pacs.stores[uid] == 2

    def test_a_node_that_has_it_already_says_so_and_that_is_delivery(self, queued):
        queued.pacs.mute = True
        queued.pacs.next_stores = [LOST_AFTER, 0x0111]
        assert queued.run(5) == ["send_unknown", "sent"]
        assert "Duplicate" not in queued.row(1).last_message
        assert queued.state is StudyState.SENT

    def test_further_lost_answers_are_spaced_like_other_failures(self, queued):
        queued.pacs.next_stores = [LOST_BEFORE] * 3
        queued.run(5)
        assert queued.row(1).next_at == queued.clock.now() + sending.dt.timedelta(seconds=60)

    def test_doubt_stays_until_it_is_cleared_up(self, queued):
        """What a node is still working on it does not hold yet: a later version has to name it."""
        queued.pacs.next_stores = [LOST_BEFORE, 0xA700]
        queued.run(5)
        assert queued.row(1).last_status == 0xA700
        assert queued.row(1).may_be_there

    def test_a_crash_after_the_act_and_before_the_record_sends_the_same_or_nothing(self, queued, monkeypatch):
        class Killed(BaseException):
            pass

        def die(*_args, **_kwargs):
            raise Killed

        monkeypatch.setattr(outbox, "record_sent", die)
        with pytest.raises(Killed):
            queued.run()
        monkeypatch.undo()
        assert queued.row(1).may_be_there
        assert queued.do(jobs.send(1, 1, "PACS")) == "sent"
        assert sum(queued.pacs.stores.values()) == 1

    def test_an_attempt_that_is_run_twice_is_recorded_once(self, queued):
        job = queued.jobs.take_due()
        assert [queued.do(job), queued.do(job)] == ["sent", "overtaken"]
        assert queued.story().count("sent") == 1

    def test_two_at_the_same_moment_make_no_twin(self, queued):
        queued.pacs.meanwhile = lambda: queued.do(jobs.send(1, 1, "PACS"))
        assert queued.do(queued.jobs.take_due()) == "overtaken"
        assert (queued.row(1).state, len(queued.pacs.reports)) == (OutboxState.SENT, 1)


class TestRefusals:
    def test_a_pacs_without_room_is_tried_again_without_end_ever_more_seldom(self, queued):
        queued.pacs.every_store = 0xA700
        queued.run(7 * 24 * 3600)
        row = queued.row(1)
        assert row.state is OutboxState.QUEUED
        assert row.attempt > 150
        assert (row.last_status, row.begun, queued.state) == (0xA700, 0, StudyState.COMPOSED)
        assert 0 < (row.next_at - queued.clock.now()).total_seconds() <= 3600
        waits = [line for line in queued.told().splitlines() if "next attempt in" in line]
        assert [w.rpartition("in ")[2] for w in waits[:4]] == ["30 s", "60 s", "120 s", "240 s"]
        assert "A700H (Refused: out of resources): says the?archive" in waits[0]
        queued.pacs.every_store = None
        assert queued.run(3600)[-1] == "sent"
        assert list(queued.pacs.stores) == [row.sop_instance_uid]

    def test_a_pacs_that_is_down_is_tried_again(self, queued):
        queued.pacs.down = True
        queued.run(24 * 3600)
        assert queued.row(1).state is OutboxState.QUEUED
        assert not queued.row(1).may_be_there
        queued.pacs.down = False
        queued.run(3600)
        assert queued.state is StudyState.SENT

    @pytest.mark.parametrize(
        "answer", [0xC000, 0xA900, 0x0117, 0x0124, Rejected("PACS refuses the association: title not recognised")]
    )
    def test_what_no_repetition_mends_is_parked(self, queued, answer):
        queued.pacs.next_stores = [answer]
        assert queued.run(24 * 3600) == ["parked"]
        row = queued.row(1)
        assert (row.state, row.next_at, row.may_be_there) == (OutboxState.PARKED, None, False)
        assert queued.state is StudyState.PARKED
        assert "parked: report for PACS: " in queued.told()
        assert ("C000H (Cannot understand): says the?archive" in row.last_message) is (answer == 0xC000)

    def test_a_status_that_nobody_knows_is_tried_five_times(self, queued):
        queued.pacs.every_store = 0x1234
        assert queued.run(24 * 3600) == [*["send_failed"] * 4, "parked"]
        assert "1234H (not in the standard)" in queued.row(1).last_message
        assert queued.row(1).may_be_there

    @pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007, 0x0107])
    def test_a_warning_is_delivery_and_is_told(self, queued, status):
        queued.pacs.next_stores = [status]
        assert queued.run() == ["sent"]
        assert (queued.row(1).last_status, queued.state) == (status, StudyState.SENT)
        assert f"status {status:04X}H): says the?archive" in queued.told()

    def test_a_node_that_is_not_in_the_settings_any_more_parks(self, queued):
        queued.configure(nodes=(node("OTHER"),))
        assert queued.run() == ["parked"]
        assert "[[nodes]] has no 'PACS' with a port any more: add it, then 'lms-sr outbox retry 1'" in queued.told()
        queued.configure(nodes=(node(),))
        assert sending.retry(queued.services, 1).state is OutboxState.QUEUED
        assert queued.run() == ["sent"]

    def test_a_node_that_lost_its_port_parks_what_may_be_there_as_such(self, queued):
        queued.pacs.next_stores = [LOST_BEFORE]
        queued.run()
        queued.configure(nodes=(node(port=0),))
        assert queued.run(5) == ["parked"]
        assert queued.row(1).may_be_there


class TestClasses:
    def test_a_class_that_is_refused_is_followed_by_the_next(self, queued):
        before = queued.row(1)
        queued.pacs.accepts = {ENHANCED_SR}
        assert queued.run() == ["class changed", "sent"]
        row = queued.row(1)
        assert (row.sop_class_uid, row.version, row.report_id) == (ENHANCED_SR, 1, before.report_id)
        assert row.sop_instance_uid != before.sop_instance_uid
        assert list(queued.pacs.bytes) == [row.sop_instance_uid]
        assert "PACS does not take Comprehensive SR: report made again as Enhanced SR" in queued.told()
        queued.arrive(image(2))
        queued.run(60)
        assert [str(r.SOPClassUID) for r in queued.pacs.reports] == [ENHANCED_SR] * 2
        assert predecessors(queued.pacs.reports[1]) == {row.sop_instance_uid}

    def test_report_and_measurements_refer_to_each_other_in_the_new_class(self, world):
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        world.pacs.accepts = {COMPREHENSIVE_3D_SR}
        world.run()
        report, lines = world.pacs.reports
        assert {str(report.SOPClassUID), str(lines.SOPClassUID)} == {COMPREHENSIVE_3D_SR}
        assert report.SOPInstanceUID in str(lines.CurrentRequestedProcedureEvidenceSequence)

    def test_a_node_that_takes_none_parks_with_that_reason(self, queued):
        queued.pacs.accepts = set()
        assert queued.run() == ["parked"]
        row = queued.row(1)
        assert row.last_message == (
            "PACS takes none of Comprehensive 3D SR, Comprehensive SR, Enhanced SR, Basic Text SR, Encapsulated PDF: allow one of them there, then 'lms-sr outbox retry 1'"
        )
        assert not row.may_be_there
        queued.pacs.accepts = {COMPREHENSIVE_SR}
        sending.retry(queued.services, 1)
        assert queued.run() == ["sent"]

    def test_a_node_that_took_none_is_asked_again_for_the_next_study(self, queued):
        queued.pacs.accepts = set()
        queued.run()
        queued.pacs.accepts = {ENHANCED_SR}
        queued.composed(*images(study="1.2.3.4"))
        assert queued.run() == ["class changed", "sent"]

    def test_a_class_that_is_refused_while_the_object_may_be_there_parks(self, queued):
        """Made again it would have another UID: a twin."""
        queued.pacs.next_stores = [LOST_AFTER]
        queued.pacs.mute = True
        queued.run()
        queued.pacs.accepts = {ENHANCED_SR}
        assert queued.run(5) == ["parked"]
        assert "may hold the object from an earlier attempt" in queued.row(1).last_message
        assert queued.row(1).may_be_there

    def test_a_class_that_is_refused_is_replaced_where_the_node_says_that_it_holds_nothing(self, queued):
        queued.pacs.next_stores = [LOST_BEFORE]
        queued.run()
        queued.pacs.accepts = {ENHANCED_SR}
        assert queued.run(5) == ["class changed", "sent"]

    def test_a_status_that_refuses_the_class_is_the_same(self, queued):
        queued.pacs.next_stores = [0x0122]
        assert queued.run() == ["class changed", "sent"]
        assert queued.row(1).sop_class_uid == ENHANCED_SR

    def test_a_node_that_takes_classes_and_refuses_their_objects_ends_in_a_park(self, queued):
        queued.pacs.accepts = {COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR}
        queued.pacs.every_store = 0x0122
        assert queued.run() == ["class changed", "parked"]

    def test_a_node_that_changes_its_mind_each_time_is_not_tried_without_a_pause(self, queued, monkeypatch):
        """Two nodes behind one address, of which each takes another class."""
        takes = [{ENHANCED_SR}, {COMPREHENSIVE_SR}] * 100

        def accepted(_node):
            queued.pacs.accepts = set()
            return frozenset(takes.pop(0))

        queued.pacs.accepts = set()
        monkeypatch.setattr(queued.peers, "accepted_classes", accepted)
        queued.run(3600)
        assert 4 < len(queued.outcomes) < 40
        queued.pacs.accepts = {COMPREHENSIVE_SR, ENHANCED_SR}
        assert queued.run(3600)[-1] == "sent"

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [(PeerUnavailable("PACS: gone"), "send_failed"), (Rejected("PACS: not you"), "parked")],
    )
    def test_a_node_that_does_not_say_what_it_takes(self, queued, monkeypatch, error, outcome):
        def fail(_node):
            raise error

        queued.pacs.accepts = set()
        monkeypatch.setattr(queued.peers, "accepted_classes", fail)
        assert queued.run() == [outcome]
        assert not queued.row(1).may_be_there

    def test_an_object_that_cannot_be_made_again_is_parked(self, queued, monkeypatch):
        def refuse(*_args):
            raise GateError(("it does not fit",))

        monkeypatch.setattr(sending, "render_again", refuse)
        queued.pacs.accepts = {ENHANCED_SR}
        assert queued.run() == ["parked"]
        assert queued.row(1).last_message == "it does not fit"

    def test_what_another_node_has_in_that_class_is_sent_as_it_is(self, make_world):
        """One UID has one content, wherever it goes."""
        world = make_world(node(), node("SECOND"))
        second = world.peers.archives["SECOND"]
        second.accepts = {ENHANCED_SR}
        world.composed()
        world.clock.advance(100)
        world.pacs.accepts = {ENHANCED_SR}
        world.run()
        assert world.pacs.bytes == second.bytes
        assert len(second.bytes) == 1

    def test_two_nodes_that_change_class_at_the_same_moment_get_the_same_object(self, make_world, monkeypatch):
        world = make_world(node(), node("SECOND"))
        world.composed()
        for archive in world.peers.archives.values():
            archive.accepts = {ENHANCED_SR}
        original = sending.render_again

        def render_again(services, row, sop_class):
            made = original(services, row, sop_class)
            if row.id == 1:
                world.clock.advance(100)
                world.do(jobs.send(2, 1, "SECOND"))
                world.do(jobs.send(2, 2, "SECOND"))
            return made

        monkeypatch.setattr(sending, "render_again", render_again)
        world.do(jobs.send(1, 1, "PACS"))
        world.do(jobs.send(1, 2, "PACS"))
        assert world.pacs.bytes == world.peers.archives["SECOND"].bytes

    def test_the_lesser_class_is_never_the_one_that_was_refused(self):
        three = (COMPREHENSIVE_3D_SR, COMPREHENSIVE_SR, ENHANCED_SR)
        assert delivery.lesser_class(three, COMPREHENSIVE_3D_SR, "report") == COMPREHENSIVE_SR
        assert delivery.lesser_class(three, COMPREHENSIVE_SR, "companion") == ENHANCED_SR
        assert delivery.lesser_class(three, ENHANCED_SR, "report") is None
        assert delivery.lesser_class({COMPREHENSIVE_3D_SR}, COMPREHENSIVE_SR, "report") == COMPREHENSIVE_3D_SR
        assert delivery.lesser_class((), COMPREHENSIVE_SR, "report") is None


class TestOvertaken:
    """A newer version, or a person, comes while an attempt is in flight."""

    def supersede(self, world):
        world.jobs.waiting = [e for e in world.jobs.waiting if e[1].workflow != jobs.SEND]
        world.composed(image(2))

    def test_an_object_that_was_superseded_in_flight_is_sent_all_the_same_and_named(self, queued):
        queued.pacs.meanwhile = lambda: self.supersede(queued)
        assert queued.do(queued.jobs.take_due()) == "sent"
        assert [r.state for r in queued.rows()] == [OutboxState.SENT, OutboxState.QUEUED]
        assert queued.state is StudyState.COMPOSED
        queued.run()
        first, second = queued.pacs.reports
        assert predecessors(second) == {first.SOPInstanceUID}
        assert queued.state is StudyState.SENT

    @pytest.mark.parametrize("answer", [0xA700, 0xC000, LOST_BEFORE])
    def test_one_that_was_superseded_in_flight_and_not_taken_is_not_tried_again(self, queued, answer):
        queued.pacs.meanwhile = lambda: self.supersede(queued)
        queued.pacs.next_stores = [answer]
        assert queued.do(queued.jobs.take_due()) == "overtaken"
        first = queued.row(1)
        assert (first.state, first.may_be_there) == (OutboxState.SUPERSEDED, answer is LOST_BEFORE)
        assert queued.run(100)[-1] == "sent"
        assert [int(r.InstanceNumber) for r in queued.pacs.reports] == [2]

    def test_one_whose_class_is_refused_after_it_was_superseded_is_not_made_again(self, queued):
        queued.pacs.meanwhile = lambda: self.supersede(queued)
        queued.pacs.next_stores = [0x0122]
        assert queued.do(queued.jobs.take_due()) == "overtaken"
        assert (queued.row(1).sop_class_uid, queued.row(1).may_be_there) == (COMPREHENSIVE_SR, False)

    def test_one_that_was_parked_by_hand_in_flight_counts_as_sent_when_it_arrives(self, queued):
        queued.pacs.meanwhile = lambda: sending.park(queued.services, 1, "by hand")
        assert queued.do(queued.jobs.take_due()) == "sent"
        assert (queued.row(1).state, queued.state) == (OutboxState.SENT, StudyState.SENT)

    def test_one_that_was_parked_by_hand_in_flight_stays_so_when_it_does_not(self, queued):
        queued.pacs.meanwhile = lambda: sending.park(queued.services, 1, "by hand")
        queued.pacs.next_stores = [0xA700]
        assert queued.do(queued.jobs.take_due()) == "overtaken"
        row = queued.row(1)
        assert (row.state, row.last_message, row.may_be_there) == (OutboxState.PARKED, "by hand", False)
        assert sending.retry(queued.services, 1) is not None
        assert queued.run() == ["sent"]

    def test_a_retry_by_hand_in_flight_makes_no_twin(self, queued):
        queued.pacs.meanwhile = lambda: sending.retry(queued.services, 1)
        assert queued.run() == ["overtaken", "sent"]
        assert sum(queued.pacs.stores.values()) == 1
        assert len(queued.pacs.reports) == 1

    def test_late_images_while_an_object_is_in_flight_keep_the_study_waiting(self, queued):
        queued.pacs.meanwhile = lambda: queued.arrive(image(2))
        assert queued.do(queued.jobs.take_due()) == "sent"
        assert queued.state is StudyState.RECEIVED


class TestByHand:
    def test_a_parked_object_is_sent_again_and_a_waiting_one_at_once(self, queued):
        queued.pacs.next_stores = [0xC000]
        queued.run()
        assert sending.retry(queued.services, 1).attempt == 2
        assert queued.state is StudyState.COMPOSED
        queued.pacs.next_stores = [0xA700]
        assert queued.run() == ["send_failed"]
        assert sending.retry(queued.services, 1) is not None
        assert queued.run() == ["sent"]
        assert queued.story().count("retried") == 2

    def test_a_delayed_attempt_does_nothing_after_a_retry_by_hand(self, queued):
        queued.pacs.next_stores = [0xA700]
        queued.run()
        assert queued.jobs.ids == ["send:1:2"]
        sending.retry(queued.services, 1)
        assert queued.run(100) == ["sent", "overtaken"]
        assert sum(queued.pacs.stores.values()) == 2

    def test_what_is_sent_or_unknown_cannot_be_retried_or_parked(self, queued):
        queued.run()
        assert sending.retry(queued.services, 1) is None
        assert sending.park(queued.services, 1, "no") is None
        assert sending.retry(queued.services, 99) is None
        assert sending.park(queued.services, 99, "no") is None
        assert sending.send(queued.services, 99, 1) == "overtaken"

    def test_a_waiting_object_can_be_parked_and_its_attempt_does_nothing(self, queued):
        row = sending.park(queued.services, 1, "the archive is being moved")
        assert (row.state, row.last_message) == (OutboxState.PARKED, "the archive is being moved")
        assert queued.state is StudyState.PARKED
        assert queued.run(100) == ["overtaken"]
        assert "parked: report for PACS: the archive is being moved" in queued.told()

    def test_only_the_attempt_that_is_meant_is_parked(self, queued):
        assert sending.park(queued.services, 1, "late", attempt=2) is None
        assert sending.park(queued.services, 1, "now", attempt=1) is not None


class TestWhereTheStudyStands:
    def test_a_study_parked_for_another_reason_stays_parked_when_an_older_version_arrives(self, queued):
        queued.pacs.down = True
        queued.run()
        queued.composed(image(2, patient="P-2"))
        assert queued.state is StudyState.PARKED
        queued.pacs.down = False
        queued.run(3600)
        assert queued.row(1).state is OutboxState.SENT
        assert (queued.state, "different patients" in queued.study().flag) == (StudyState.PARKED, True)

    def test_all_objects_have_to_arrive(self, world):
        world.composed(*STS_FILES, called="LMS_ALWAYS")
        uid = world.rows(str(world.row(1).study_instance_uid))[0].study_instance_uid
        world.pacs.next_stores = [None, 0xA700]
        world.run()
        assert world.study(uid).state is StudyState.COMPOSED
        world.run(30)
        assert world.study(uid).state is StudyState.SENT

    def test_what_has_no_rows_stands_nowhere(self):
        assert delivery.standing(()) is None


class TestFaults:
    def test_a_fault_of_our_own_is_tried_again_and_parked_when_it_goes_on(self, queued):
        for attempt in range(1, 5):
            sending.after_fault(queued.services, 1, attempt)
            assert queued.row(1).attempt == attempt
            assert queued.row(1).may_be_there
        sending.after_fault(queued.services, 1, 5)
        assert (queued.row(1).state, queued.state) == (OutboxState.PARKED, StudyState.PARKED)
        assert queued.row(1).last_message == "a fault of LMS-SR: see the log"
        sending.after_fault(queued.services, 99, 1)


def test_many_objects_at_once_are_each_recorded_once(make_world):
    """Threads, as the engine's: transactions that wait for each other's rows in different orders would fail here."""
    world = make_world(node(), node("SECOND"), outgoing=Outgoing(first_retry_seconds=1))
    studies = [f"1.2.3.{n}" for n in range(4)]
    for study in studies:
        world.composed(*images(study=study, patient=f"P-{study}"))
    for archive in world.peers.archives.values():
        archive.next_stores = [0xA700] * 2
    for _ in range(4):
        batch = []
        while job := world.jobs.take_due():
            batch.append(job)
        threads = [threading.Thread(target=world.do, args=(job,)) for job in batch]
        threads += [threading.Thread(target=completing.start_by_hand, args=(world.services, s)) for s in studies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        world.clock.advance(10)
    world.run(60)
    for study in studies:
        assert world.study(study).state is StudyState.SENT
        assert [r.state for r in world.rows(study)] == [OutboxState.SENT] * 2
        assert world.versions(study) == [1]
    assert STUDY not in studies
