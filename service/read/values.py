"""Values as their representation allows them (PS3.5 6.2): what can be mended is, what cannot is dropped."""

from __future__ import annotations

import datetime as dt
import re

SHORT = 16
"""Characters of SH."""
LONG = 64
"""Characters of LO, and of one component group of PN."""
_NAME_GROUPS = 3
_NAME_COMPONENTS = 5

_DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d+))?)?)?")
_HOURS, _MINUTES, _SECONDS = 23, 59, 60
_SEXES = frozenset({"M", "F", "O"})


def clean_text(text: str) -> str:
    """Return one line without blanks around it."""
    return " ".join(text.split())


def clean_date(text: str) -> str:
    """Return a date as DA writes it; empty where ``text`` is none. Dots and hyphens are let pass."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return ""
    year, month, day = match.groups()
    try:
        dt.date(int(year), int(month), int(day))
    except ValueError:
        return ""
    return year + month + day


def clean_time(text: str) -> str:
    """Return a time as TM writes it; empty where ``text`` is none. Colons are let pass, a fraction keeps six digits."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return ""
    hours, minutes, seconds, fraction = match.groups()
    if int(hours) > _HOURS or int(minutes or 0) > _MINUTES or int(seconds or 0) > _SECONDS:
        return ""
    return hours + (minutes or "") + (seconds or "") + (f".{fraction[:6]}" if fraction else "")


def clean_sex(text: str) -> str:
    """Return M, F or O; empty for everything else."""
    sex = text.strip().upper()
    return sex if sex in _SEXES else ""


def clean_name(text: str) -> str:
    """Return a person's name (PN): components without blanks around them, nothing empty at the end of a group or of the name."""
    groups = ["^".join(clean_text(c) for c in group.split("^")).rstrip("^") for group in text.split("=")]
    return "=".join(groups).rstrip("=")


def cut_name(name: str) -> str:
    """Return ``name`` with at most three component groups of at most five components and 64 characters each."""
    groups = [
        "^".join(group.split("^")[:_NAME_COMPONENTS])[:LONG].rstrip("^ ") for group in name.split("=")[:_NAME_GROUPS]
    ]
    return "=".join(groups).rstrip("=")
