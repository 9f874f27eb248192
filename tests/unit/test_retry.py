"""Back-off without an end."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from service.flow.retry import next_delay
from service.settings import Outgoing

SETTINGS = Outgoing()


def test_doubles_up_to_the_cap():
    assert [next_delay(n, SETTINGS, 1) for n in range(1, 10)] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_every_attempt_has_a_next_within_the_cap(attempt, jitter):
    assert 15 <= next_delay(attempt, SETTINGS, jitter) <= 3600


def test_a_week_of_outage_is_no_more_than_two_hundred_attempts_and_ends_within_an_hour():
    elapsed, attempt = 0.0, 0
    while elapsed < 7 * 86_400:
        attempt += 1
        elapsed += next_delay(attempt, SETTINGS, 1)
    assert attempt < 200
    assert elapsed - 7 * 86_400 <= 3600
