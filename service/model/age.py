"""A patient's age, from dates as DICOM writes them."""

from __future__ import annotations

import datetime as dt

_OLDEST = 150
SEXES = frozenset({"M", "F", "O"})


def age_at(birth_date: str, date: str) -> int | None:
    """Return the age in whole years on ``date``, or None where a date (DA) is missing, is none, or the two make no sense.

    Patient's Age (0010,1010) is not asked: studies disagree with themselves about it.
    """
    try:
        born, on = (dt.datetime.strptime(d, "%Y%m%d").replace(tzinfo=dt.UTC).date() for d in (birth_date, date))
    except ValueError:
        return None
    years = on.year - born.year - ((on.month, on.day) < (born.month, born.day))
    return years if 0 <= years <= _OLDEST else None


def sex_of(value: str) -> str:
    """Return Patient's Sex (0010,0040), or an empty text where it is none of the defined terms."""
    return value if value in SEXES else ""
