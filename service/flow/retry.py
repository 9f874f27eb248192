"""When to send again: capped exponential back-off without an end. A PACS that is down for a weekend gets its reports on Monday."""

from __future__ import annotations

from service.settings import Outgoing

#: 2 to the power of this is more than any cap: larger attempts would only make larger numbers
_LARGEST_POWER = 30


def next_delay(attempt: int, settings: Outgoing, jitter: float) -> float:
    """Return the seconds between attempt number ``attempt`` (from 1), which failed, and the next.

    Parameters
    ----------
    attempt:
        The attempt that failed.
    settings:
        First and longest delay.
    jitter:
        0 to 1: spreads the delay over its upper half, so that a PACS that comes back does not meet every report at once.
    """
    power = min(max(attempt, 1) - 1, _LARGEST_POWER)
    longest = max(settings.first_retry_seconds, settings.max_retry_seconds)
    delay = min(settings.first_retry_seconds * 2.0**power, longest)
    return delay * (0.5 + 0.5 * min(max(jitter, 0.0), 1.0))
