"""When a study counts as complete, walked with a clock that stands still until told."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.clock import ManualClock
from service.flow.completion import Complete, CompletionState, Wait, decide
from service.settings import Completion

START = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SETTINGS = Completion()


def state(age: float, quiet: float, lacking: int | None) -> CompletionState:
    now = START + dt.timedelta(seconds=age)
    return CompletionState(
        burst_started_at=START, last_received_at=now - dt.timedelta(seconds=quiet), now=now, lacking=lacking
    )


@pytest.mark.parametrize(
    ("age", "quiet", "lacking", "complete", "forced"),
    [
        (30, 4.9, 0, False, False),
        (30, 5, 0, True, False),
        (30, 0, 0, False, False),
        (30, 5, None, False, False),
        (59.9, 59.9, None, False, False),
        (60, 60, None, True, False),
        (300, 120, 3, False, False),
        (899, 890, 3, False, False),
        (900, 890, 3, True, True),
        (900, 1, None, True, True),
        (900, 0, 0, True, True),
        (5000, 6, 0, True, False),
    ],
)
def test_table(age, quiet, lacking, complete, forced):
    decision = decide(state(age, quiet, lacking), SETTINGS)
    assert isinstance(decision, Complete) == complete
    if isinstance(decision, Complete):
        assert decision.forced == forced


def test_equality_with_the_pacs_never_completes_while_images_flow():
    """A PACS that forwards while it receives names nothing that we lack at every lull."""
    clock = ManualClock(START)
    for _ in range(200):
        clock.advance(3)
        decision = decide(
            CompletionState(burst_started_at=START, last_received_at=clock.now(), now=clock.now(), lacking=0), SETTINGS
        )
        assert isinstance(decision, Wait)


def test_force_says_what_is_missing():
    decision = decide(state(900, 880, 7), SETTINGS)
    assert isinstance(decision, Complete)
    assert "7 instances that did not arrive" in decision.reason


@given(age=st.floats(0, 10_000), share=st.floats(0, 1), lacking=st.one_of(st.none(), st.integers(0, 50)))
def test_a_wait_ends_before_the_force_and_walking_it_ends_in_completion(age, share, lacking):
    now, quiet = age, age * share
    for _ in range(5000):
        decision = decide(state(now, quiet, lacking), SETTINGS)
        if isinstance(decision, Complete):
            return
        assert 0 < decision.seconds <= SETTINGS.max_seconds - now + 0.2
        now, quiet = now + decision.seconds, quiet + decision.seconds
    pytest.fail("never completed")


def test_a_short_quiet_longer_than_the_long_one_does_not_delay():
    settings = Completion(quiet_seconds=2, confirmed_quiet_seconds=5, max_seconds=900)
    assert isinstance(decide(state(10, 2, 0), settings), Complete)
