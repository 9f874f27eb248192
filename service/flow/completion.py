"""When a study counts as complete: a pure decision over arrivals, the clock and what the PACS says.

Nothing in DICOM ends a study (PS3.4 B.4), so quiet decides, and the PACS confirms: when it names no instance that we lack, a short quiet
is enough. That our number equals the PACS's proves nothing by itself: a PACS that forwards while it receives equals it at every lull.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from service.settings import Completion

#: never shorter than this, so that rounding makes no busy loop
_LEAST_WAIT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionState:
    """What the decision rests on. Times are aware.

    ``lacking`` is how many instances the PACS names that we do not hold, our own reports left out; None: it gave no answer, or was not
    asked.
    """

    burst_started_at: dt.datetime
    last_received_at: dt.datetime
    now: dt.datetime
    lacking: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Not yet: look again after ``seconds``."""

    seconds: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete:
    """The study counts as complete; ``forced`` when time ran out, which the report has to say."""

    reason: str
    forced: bool = False


def decide(state: CompletionState, settings: Completion) -> Wait | Complete:
    """Say whether a study is complete, or when to look again."""
    quiet = (state.now - state.last_received_at).total_seconds()
    age = (state.now - state.burst_started_at).total_seconds()
    short, long = min(settings.confirmed_quiet_seconds, settings.quiet_seconds), settings.quiet_seconds
    if state.lacking == 0 and quiet >= short:
        return Complete(reason=f"quiet for {quiet:.0f} s, and the PACS names no instance that is not here")
    if state.lacking is None and quiet >= long:
        return Complete(reason=f"quiet for {quiet:.0f} s; the PACS was not asked or gave no answer")
    if age >= settings.max_seconds:
        return Complete(reason=_forced(state, age), forced=True)
    return Wait(seconds=max(_LEAST_WAIT, _wait(state, settings, quiet, age)), reason=_reason(state, short, long))


def _wait(state: CompletionState, settings: Completion, quiet: float, age: float) -> float:
    left = settings.max_seconds - age
    short = min(settings.confirmed_quiet_seconds, settings.quiet_seconds)
    if quiet < short:
        return min(left, short - quiet)
    if state.lacking is None:
        # asking again before the long quiet is over may bring an answer; no more often than the short quiet
        return min(left, settings.quiet_seconds - quiet, short)
    return min(left, short)


def _reason(state: CompletionState, short: float, long: float) -> str:
    if state.lacking:
        return f"the PACS names {state.lacking} instance{'s' if state.lacking > 1 else ''} that did not arrive yet"
    if state.lacking is None:
        return f"waiting for {long:g} s of quiet; the PACS was not asked or gave no answer"
    return f"waiting for {short:g} s of quiet"


def _forced(state: CompletionState, age: float) -> str:
    missing = f"; the PACS names {state.lacking} instances that did not arrive" if state.lacking else ""
    return f"by force, {age:.0f} s after the first instance{missing}"
