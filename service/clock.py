"""Time as an argument: no logic here asks the operating system what time it is."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> dt.datetime:
        """Return the current time, aware, in UTC."""
        ...


class SystemClock:
    """The operating system's clock."""

    def now(self) -> dt.datetime:
        """Return the current time, aware, in UTC."""
        return dt.datetime.now(dt.UTC)


@dataclass(slots=True)
class ManualClock:
    """A clock that stands still until it is told to move; for tests and for replays."""

    at: dt.datetime = field(default_factory=lambda: dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC))

    def now(self) -> dt.datetime:
        """Return the time it was set to."""
        return self.at

    def advance(self, seconds: float) -> None:
        """Move forward by ``seconds``."""
        self.at += dt.timedelta(seconds=seconds)
