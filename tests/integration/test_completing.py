"""When a study counts as complete, on both databases: looks that follow one another, late images, a person who does not want to wait."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from service.model.events import StudyState
from service.settings import Completion
from service.work import completing, jobs
from tests.integration.world import STUDY, as_data_set, as_file, image, images, node, text_of


def uids(count, series=1):
    return {f"{STUDY}.{series}.{n + 1}" for n in range(count)}


class TestQuiet:
    def test_a_silent_pacs_means_the_long_quiet(self, world):
        world.pacs.mute = True
        world.arrive(*images())
        world.run(59)
        assert world.state is StudyState.RECEIVED
        world.run(1)
        assert world.state is not StudyState.RECEIVED
        assert "complete with 3 instances: quiet for 60 s; the PACS was not asked or gave no answer" in world.told()

    def test_a_pacs_that_names_nothing_that_we_lack_means_the_short_quiet(self, world):
        world.pacs.images = uids(3)
        world.arrive(*images())
        world.run(4.9)
        assert world.state is StudyState.RECEIVED
        world.run(0.1)
        assert "quiet for 5 s, and the PACS names no instance that is not here" in world.told()

    def test_our_own_reports_at_the_pacs_are_nothing_that_we_lack(self, world):
        world.pacs.images = uids(3) | uids(1, series=2)
        world.composed()
        world.run()
        assert len(world.pacs.reports) == 1
        world.arrive(image(2))
        world.run(5)
        assert world.story()[-1] == "sent"
        assert "names no instance" in world.told().splitlines()[-5]

    def test_a_pacs_that_names_only_our_own_report_has_said_nothing_of_the_images(self, world):
        world.composed()
        world.run()
        assert len(world.pacs.reports) == 1
        world.arrive(image(2))
        world.run(59)
        assert world.state is StudyState.RECEIVED

    def test_equality_alone_never_completes(self, world):
        """A PACS that forwards while it receives has as many as we at every lull."""
        for number in range(1, 9):
            world.pacs.images = uids(number)
            world.arrive(image(1, number))
            world.run(4)
            assert world.state is StudyState.RECEIVED
        assert "complete" not in world.outcomes
        world.run(1)
        assert world.study().completed_revision == 8

    def test_what_the_pacs_names_is_waited_for_beyond_the_quiet(self, world):
        world.pacs.images = uids(4)
        world.arrive(*images())
        world.run(300)
        assert world.state is StudyState.RECEIVED
        assert "not complete yet: the PACS names 1 instance that did not arrive yet" in world.told()
        world.arrive(image(1, 4))
        world.run(5)
        assert world.study().completed_revision == 2
        assert not world.study().forced

    def test_time_runs_out_and_the_report_says_so(self, world):
        world.pacs.images = uids(4)
        world.arrive(*images())
        world.run(900)
        assert world.study().forced
        (report,) = world.pacs.reports
        assert "The study may be incomplete: it was taken by force, 900 s after" in text_of(report)

    def test_why_a_study_waits_is_told_once_and_not_at_each_look(self, world):
        world.pacs.images = uids(4)
        world.arrive(*images())
        world.run(600)
        assert len(world.outcomes) > 50
        assert world.story().count("completion_waits") == 1

    @pytest.mark.parametrize(
        ("nodes", "ask"),
        [((node(query=False),), True), ((node("OTHER"),), True), ((node(),), False), ((node(port=0),), True)],
        ids=["may not be asked", "an unknown sender", "asking is switched off", "it only calls us"],
    )
    def test_who_may_not_be_asked_is_not_asked(self, make_world, nodes, ask):
        world = make_world(*nodes, completion=Completion(ask_pacs=ask))
        world.arrive(*images())
        assert world.jobs.waiting[0][0] == world.clock.now() + completing.dt.timedelta(seconds=5)
        world.run(59)
        assert "instances" not in world.peers.questions
        assert world.state is StudyState.RECEIVED
        world.run(1)
        assert world.study().completed_revision == 1

    def test_of_several_nodes_with_the_senders_title_the_one_is_asked_that_has_a_port(self, make_world):
        world = make_world(node("A", ae_title="PACS", port=0), node("B", ae_title="PACS"), node("C", ae_title="X"))
        assert world.services.sender("PACS").name == "B"
        assert world.services.sender("NOBODY") is None


class TestLateImages:
    def test_a_look_at_an_older_revision_does_nothing(self, world):
        world.arrive(*images())
        ((_, first),) = world.jobs.waiting
        world.arrive(image(1, 4))
        world.clock.advance(100)
        assert world.do(first) == "overtaken"
        assert world.study().completed_revision == 0

    def test_a_look_that_is_overtaken_while_it_asks_asks_for_no_further_one(self, world, monkeypatch):
        world.arrive(*images())
        _, first = world.jobs.waiting.pop()

        def meanwhile(_node, _study):
            world.arrive(image(1, 4))
            return frozenset(uids(4))

        monkeypatch.setattr(world.peers, "instances_at", meanwhile)
        assert world.do(first) == "overtaken"
        assert world.jobs.ids == [f"complete:{STUDY}:2"]
        world.clock.advance(100)
        _, second = world.jobs.waiting.pop()
        monkeypatch.setattr(world.peers, "instances_at", lambda _n, _s: world.arrive(image(1, 5)) or frozenset(uids(5)))
        assert world.do(second) == "overtaken"
        assert world.study().completed_revision == 0

    def test_late_images_reopen_and_reissue_only_what_changed(self, world):
        world.composed()
        world.run()
        world.arrive(image(2))
        assert world.state is StudyState.RECEIVED
        assert "reopened" in world.story()
        world.run(60)
        assert (world.versions(), world.state) == ([1, 2], StudyState.SENT)
        world.arrive(image(3, modality="PR", sop_class="1.2.840.10008.5.1.4.1.1.11.1"))
        world.run(60)
        assert (world.versions(), world.state) == ([1, 2], StudyState.SENT)
        assert "nothing in the report changed: version 2 stands, nothing was sent" in world.told()
        assert [int(r.InstanceNumber) for r in world.pacs.reports] == [1, 2]

    def test_what_is_sent_again_changes_nothing(self, world):
        world.composed()
        world.run()
        before, asked = world.study(), len(world.jobs.known)
        world.arrive(*images())
        world.receive(*images())
        assert world.index() == 0
        assert (world.study(), len(world.jobs.known)) == (before, asked)

    def test_our_own_reports_that_come_back_change_nothing(self, world):
        world.composed()
        world.run()
        before, asked = world.study(), len(world.jobs.known)
        (report,) = world.pacs.reports
        world.arrive(as_data_set(as_file(report)))
        assert (world.study(), len(world.jobs.known)) == (before, asked)
        assert world.services.spool.arrivals() == []


class TestByHand:
    def test_a_study_is_taken_as_it_is(self, world):
        world.arrive(*images(indication=""))
        assert completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["version 1", "sent"]
        (report,) = world.pacs.reports
        assert "started by hand before it counted as complete" in text_of(report)
        assert "triage: report by rule 'by hand': started by hand" in world.told()
        world.run(100)
        assert world.versions() == [1]

    def test_an_unknown_study_is_not_started(self, world):
        assert not completing.start_by_hand(world.services, "1.2.3")
        assert world.jobs.waiting == []

    def test_a_study_that_was_ignored_is_composed_again(self, world):
        world.composed(*images(indication=""))
        assert world.state is StudyState.IGNORED
        assert completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["version 1", "sent"]
        assert "may be incomplete" not in text_of(world.pacs.reports[0])

    def test_each_start_is_a_run_of_its_own(self, world):
        world.composed()
        world.run()
        for _ in range(3):
            world.clock.advance(1)
            assert completing.start_by_hand(world.services, STUDY)
            assert world.run() == ["unchanged"]

    def test_images_that_arrive_afterwards_are_composed_by_themselves(self, world):
        world.arrive(*images())
        completing.start_by_hand(world.services, STUDY)
        world.arrive(image(2))
        world.run(60)
        assert [o for _, o in world.outcomes if o in {"overtaken", "version 1"}].count("version 1") == 1
        assert world.state is StudyState.SENT


def test_a_check_is_asked_for_of_known_studies_only(world):
    with world.services.transaction() as session:
        completing.ask_for_check(world.services, session, "1.2.3", world.clock.now())
    assert world.jobs.waiting == []
    assert completing.complete(world.services, "1.2.3", 1, 0) == "overtaken"


def test_a_job_of_a_transaction_that_is_rolled_back_was_never_asked_for(world):
    with Session(world.services.engine) as session:
        world.jobs.enqueue(session, jobs.sweep(1))
        session.rollback()
    assert world.jobs.waiting == []


def test_completion_survives_a_crash_between_its_act_and_the_engines_record_of_it(world):
    """The engine runs the same job again: it finds its revision completed, and asks for nothing twice."""
    world.arrive(*images())
    world.clock.advance(60)
    job = world.jobs.take_due()
    assert world.do(job) == "complete"
    assert world.do(job) == "overtaken"
    assert world.jobs.ids == [f"compose:{STUDY}:1"]
