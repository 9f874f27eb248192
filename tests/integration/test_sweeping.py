"""What happens when something fails that should not, on both databases: the edge of each workflow, and the hourly sweep."""

from __future__ import annotations

import logging
import threading
import time

import pytest
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError

from service.model.events import StudyState
from service.store.engine import make_engine
from service.store.outbox import OutboxState
from service.work import completing, composing, database, jobs, sending, sweeping, working
from tests.integration.world import STUDY, image, images


class History:
    """What an engine remembers."""

    def __init__(self, failed=(), finished=()):
        self.pages_failed, self.pages_finished, self.forgotten, self.asked = list(failed), list(finished), [], []

    def failed(self):
        return self.pages_failed[0] if self.pages_failed else ()

    def finished(self, before):
        self.asked.append(before)
        return self.pages_finished[0] if self.pages_finished else ()

    def forget(self, ids):
        self.forgotten += ids
        (self.pages_failed or self.pages_finished).pop(0)


def run_sweep(world, *failed, finished=()):
    history = History([failed] if failed else [], finished)
    said = sweeping.sweep(world.services, history, sweeping.hour_of(world.clock.now()))
    assert set(failed) <= set(history.forgotten)
    return said, history


class TestSweep:
    def test_a_send_that_the_engine_failed_is_parked_and_shown(self, world):
        world.composed()
        said, _ = run_sweep(world, "send:1:1")
        assert said == "parked 1, forgot 0"
        assert (world.row(1).state, world.state) == (OutboxState.PARKED, StudyState.PARKED)
        assert world.row(1).last_message == "the workflow send:1:1 ended with an error: see the log"
        assert sending.retry(world.services, 1) is not None
        world.jobs.waiting = [e for e in world.jobs.waiting if e[1].workflow == jobs.SEND]
        assert "sent" in world.run()

    def test_a_send_that_was_made_again_by_hand_is_left_alone(self, world):
        world.composed()
        sending.retry(world.services, 1)
        run_sweep(world, "send:1:1")
        assert world.row(1).state is OutboxState.QUEUED

    @pytest.mark.parametrize("kind", ["complete", "compose"])
    def test_a_study_that_the_engine_failed_is_parked_and_started_again_by_hand(self, world, kind):
        world.arrive(*images())
        if kind == "compose":
            world.clock.advance(60)
            world.do(world.jobs.take_due())
        world.jobs.waiting.clear()
        run_sweep(world, f"{kind}:{STUDY}:1")
        assert world.state is StudyState.PARKED
        assert world.study().flag == f"the workflow {kind}:{STUDY}:1 ended with an error: see the log"
        assert world.story()[-1] == "parked"
        world.jobs.waiting.clear()
        completing.start_by_hand(world.services, STUDY)
        assert world.run() == ["version 1", "sent"]
        assert (world.state, world.study().flag) == (StudyState.SENT, "")

    def test_a_study_that_has_moved_on_is_left_alone(self, world):
        world.arrive(*images())
        world.arrive(image(2))
        run_sweep(world, f"complete:{STUDY}:1", f"compose:{STUDY}:1:by-hand-1.5", f"complete:{STUDY}:1:7")
        assert (world.state, world.study().flag) == (StudyState.RECEIVED, "")

    def test_a_further_run_that_failed_is_shown_and_what_was_sent_stands(self, world):
        world.composed()
        world.run()
        run_sweep(world, f"compose:{STUDY}:1:by-hand-1.5")
        assert (world.state, "ended with an error" in world.study().flag) == (StudyState.SENT, True)

    @pytest.mark.parametrize(
        "workflow", ["", "nonsense", "send", "send:x:1", "send:99:1", "send:1", "complete:1.2.3:1", "sweep:1", ":::"]
    )
    def test_what_is_about_nothing_that_is_known_is_forgotten(self, world, workflow):
        assert run_sweep(world, workflow)[0] == "parked 1, forgot 0"

    def test_all_pages_are_swept_and_what_ended_well_a_week_ago_is_forgotten(self, world):
        history = History([("send:1:1",), ("send:2:1",)], [("a", "b"), ("c",)])
        assert sweeping.sweep(world.services, history, 1) == "parked 2, forgot 3"
        assert history.forgotten == ["send:1:1", "send:2:1", "a", "b", "c"]
        assert set(history.asked) == {world.clock.now() - sweeping.KEPT}

    def test_the_next_hours_sweep_is_asked_for_at_that_hour(self, world):
        world.clock.advance(600)
        run_sweep(world)
        ((due, job),) = world.jobs.waiting
        assert job.id == f"sweep:{sweeping.hour_of(world.clock.now()) + 1}"
        assert (due.minute, due.second, due.hour) == (0, 0, 13)

    def test_after_a_long_stop_one_sweep_follows_and_not_one_for_each_hour(self, world):
        sweeping.sweep(world.services, History(), sweeping.hour_of(world.clock.now()) - 500)
        assert world.jobs.ids == [f"sweep:{sweeping.hour_of(world.clock.now()) + 1}"]


@pytest.fixture
def stop():
    return threading.Event()


@pytest.fixture
def guarded(world, stop, monkeypatch):
    monkeypatch.setattr(working, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(working, "GRACE_SECONDS", 0.01)
    return working.workflows(world.services, History(), stop)


def fault(*_args, **_kwargs):
    raise ZeroDivisionError


def away(times, then=None):
    """Fail as a database does that is away, ``times`` times."""
    left = [times]

    def step(*args, **kwargs):
        if left[0]:
            left[0] -= 1
            raise OperationalError("SELECT 1", {}, Exception("server closed the connection"))
        return then(*args, **kwargs) if then else "done"

    return step


class TestGuard:
    CASES = (
        (jobs.COMPLETE, completing, "complete", (STUDY, 1, 0), f"complete:{STUDY}:1:1"),
        (jobs.COMPOSE, composing, "compose", (STUDY, 1, False), f"compose:{STUDY}:1:fault-"),
        (jobs.SEND, sending, "send", (1, 1), "send:1:2"),
        (jobs.SWEEP, sweeping, "sweep", (7,), "sweep:7:fault-"),
    )

    @pytest.mark.parametrize(("name", "module", "step", "args", "again"), CASES)
    def test_a_fault_of_the_code_is_logged_and_asked_for_again_and_not_raised(
        self, world, guarded, monkeypatch, caplog, name, module, step, args, again
    ):
        world.composed()
        world.jobs.waiting.clear()
        world.jobs.known.clear()
        monkeypatch.setattr(module, step, fault)
        assert guarded[name](*args) == "failed"
        ((due, job),) = world.jobs.waiting
        assert job.id.startswith(again)
        assert job.workflow == name
        assert due > world.clock.now()
        assert "step_failed" in caplog.text

    @pytest.mark.parametrize(("name", "module", "step", "args", "again"), CASES)
    def test_a_database_that_is_away_is_waited_for(self, world, guarded, monkeypatch, name, module, step, args, again):
        monkeypatch.setattr(module, step, away(3))
        assert guarded[name](*args) == "done"
        assert world.jobs.waiting == []

    def test_a_database_that_goes_away_while_a_fault_is_recorded_is_waited_for(self, world, guarded, monkeypatch):
        world.composed()
        world.jobs.waiting.clear()
        monkeypatch.setattr(sending, "send", fault)
        monkeypatch.setattr(sending, "after_fault", away(2, sending.after_fault))
        assert guarded[jobs.SEND](1, 1) == "failed"
        assert world.jobs.ids == ["send:1:2"]

    def test_what_the_database_refuses_is_a_fault_and_is_not_tried_for_ever(self, world, guarded, monkeypatch):
        def refuse(*_args):
            raise DataError("INSERT", {}, Exception("value too long"))

        world.composed()
        world.jobs.waiting.clear()
        monkeypatch.setattr(sending, "send", refuse)
        assert guarded[jobs.SEND](1, 1) == "failed"
        assert world.jobs.ids == ["send:1:2"]

    def test_a_fault_that_cannot_even_be_recorded_is_left_to_the_sweep_without_a_text(self, guarded, monkeypatch):
        monkeypatch.setattr(sending, "send", fault)
        monkeypatch.setattr(sending, "after_fault", fault)
        with pytest.raises(working.WorkflowFailed) as caught:
            guarded[jobs.SEND](1, 1)
        assert str(caught.value) == ""
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    def test_a_process_that_ends_while_the_database_is_away_leaves_its_step_to_the_next_start(
        self, world, guarded, stop, monkeypatch
    ):
        """An exception, or an end, would count for the engine as the end of the workflow."""
        stop.set()
        monkeypatch.setattr(working, "GRACE_SECONDS", 0.2)
        monkeypatch.setattr(completing, "complete", away(1))
        started = time.monotonic()
        assert guarded[jobs.COMPLETE](STUDY, 1, 0) == "done"
        assert time.monotonic() - started > 0.2

    def test_composing_that_fails_each_time_is_parked_in_the_end(self, world, guarded, monkeypatch):
        monkeypatch.setattr(composing, "measure_study", fault)
        world.arrive(*images())
        world.run(59)
        world.clock.advance(1)
        world.do(world.jobs.take_due())
        outcomes = []
        while job := world.jobs.take_due():
            outcomes.append(guarded[job.workflow](*job.args))
            world.clock.advance(10)
        assert outcomes == [*["failed"] * 5, "parked"]
        # and once more, from the start: ids that were used before must not swallow it
        completing.start_by_hand(world.services, STUDY)
        outcomes.clear()
        while job := world.jobs.take_due():
            outcomes.append(guarded[job.workflow](*job.args))
            world.clock.advance(10)
        assert outcomes == [*["failed"] * 5, "parked"]

    def test_nothing_of_a_fault_but_its_place_is_in_the_log(self, world, guarded, monkeypatch, caplog):
        monkeypatch.setattr(completing, "complete", fault)
        with caplog.at_level(logging.INFO):
            guarded[jobs.COMPLETE](STUDY, 1, 0)
        (record,) = [r for r in caplog.records if r.message == "step_failed"]
        assert record.ids == {"step": "complete"}


class TestDatabase:
    def test_what_may_pass_and_what_is_a_fault(self):
        assert database.is_away(OperationalError("", {}, Exception()))
        assert database.is_away(InterfaceError("", {}, Exception()))
        assert database.is_away(IntegrityError("", {}, Exception(), connection_invalidated=True))
        assert not database.is_away(IntegrityError("", {}, Exception()))

    def test_a_database_that_answers_is_not_waited_for(self, engine):
        started = time.monotonic()
        database.wait_for(engine)
        assert time.monotonic() - started < 1

    def test_a_database_that_does_not_answer_is_waited_for_until_patience_or_the_process_ends(self):
        nowhere = make_engine("postgresql://user@127.0.0.1:1/none")
        started = time.monotonic()
        database.wait_for(nowhere, seconds=0.3)
        assert 0.3 <= time.monotonic() - started < 5
        stop = threading.Event()
        threading.Timer(0.3, stop.set).start()
        database.wait_for(nowhere, stop=stop)
        assert stop.is_set()
        nowhere.dispose()
