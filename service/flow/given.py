"""What a person gives as answers, as text or JSON, before it is known what the questions are.

As text::

    gp=gp.mixed                      an item of the report, or of its only lesion
    ves.relation@ves.ivc=vr.abut     an item about one subject
    ves.relation@*=vr.none           about every row that has no answer yet ("the rest: no contact")
    sz.long_axis@LMS-T1=11.8 cm      a number, its unit converted
    mar=mar.lobulated; mar.smooth    several values

As JSON: a list of objects with ``item`` and one of ``value``, ``values``, ``confirm``, ``not_evaluated`` or ``clear``, beside them
``subject`` and ``reason``.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from service.errors import AnswerError

#: every subject that has no answer yet
THE_REST = "*"
#: more than a person gives at once
MAX_GIVEN = 2000


class What(enum.StrEnum):
    """What is done to an answer."""

    VALUES = "values"
    #: the proposal stands
    CONFIRM = "confirm"
    NOT_EVALUATED = "not_evaluated"
    #: the answer is taken back
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """One answer as it was given. ``values`` are texts: what they mean depends on the item."""

    item: str
    what: What = What.VALUES
    subject: str = ""
    values: tuple[str, ...] = ()
    reason: str = ""


def parse_text(text: str, *, reason: str = "") -> Given:
    """Return the answer that ``text`` writes: ``item=value`` or ``item@subject=value``.

    Raises
    ------
    AnswerError
        It writes none.
    """
    name, sign, value = text.partition("=")
    if not sign or not value.strip():
        msg = f"'{text}' is no answer: write item=value, or item@subject=value ('lms-sr report show' lists the items)"
        raise AnswerError((msg,))
    item, subject = named(name)
    return Given(item=item, subject=subject, values=(value.strip(),), reason=reason)


def named(text: str) -> tuple[str, str]:
    """Return item and subject of ``item`` or ``item@subject``.

    Raises
    ------
    AnswerError
        There is no item.
    """
    item, sign, subject = (part.strip() for part in text.partition("@"))
    if not item or (sign and not subject):
        msg = f"'{text}' names no question: write item, or item@subject"
        raise AnswerError((msg,))
    return item, subject


def parse_json(text: str) -> tuple[Given, ...]:
    """Return the answers of a JSON file.

    Raises
    ------
    AnswerError
        A line for each entry that is none.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "nested too deeply"
        raise AnswerError((f"the file is no JSON ({where})",)) from error
    if not isinstance(data, list) or len(data) > MAX_GIVEN:
        raise AnswerError((f"the file has to hold a list of answers, {MAX_GIVEN} at most",))
    problems: list[str] = []
    found: list[Given] = []
    for number, entry in enumerate(data, start=1):
        try:
            found.append(_entry(entry))
        except AnswerError as error:
            problems += [f"answer {number}: {p}" for p in error.problems]
    if problems:
        raise AnswerError(tuple(problems))
    return tuple(found)


_KEYS = frozenset({"item", "subject", "value", "values", "confirm", "not_evaluated", "clear", "reason"})


def _entry(entry: Any) -> Given:
    if not isinstance(entry, dict) or not isinstance(entry.get("item"), str):
        raise AnswerError(("an object with 'item' is expected",))
    if strange := sorted(set(entry) - _KEYS):
        raise AnswerError((f"'{strange[0]}' is not known: known are {', '.join(sorted(_KEYS))}",))
    done = list(_done(entry))
    if len(done) != 1:
        raise AnswerError(("one of value, values, confirm, not_evaluated and clear is expected",))
    what, values = done[0]
    item, of_item = named(entry["item"])
    subject, reason = (entry.get(k, "") for k in ("subject", "reason"))
    if not isinstance(subject, str) or not isinstance(reason, str):
        raise AnswerError(("'subject' and 'reason' are texts",))
    if isinstance(entry.get("not_evaluated"), str):
        reason = reason or entry["not_evaluated"]
    return Given(item=item, what=what, subject=subject or of_item, values=values, reason=reason)


def _done(entry: dict[str, Any]) -> Iterator[tuple[What, tuple[str, ...]]]:
    if "value" in entry:
        yield What.VALUES, (_text(entry["value"]),)
    if "values" in entry:
        values = entry["values"]
        if not isinstance(values, list) or not values:
            raise AnswerError(("'values' is a list that is not empty",))
        yield What.VALUES, tuple(_text(v) for v in values)
    for key, what in (("confirm", What.CONFIRM), ("not_evaluated", What.NOT_EVALUATED), ("clear", What.CLEAR)):
        flag = entry.get(key, False)
        if flag is True or (key == "not_evaluated" and isinstance(flag, str) and flag):
            yield what, ()
        elif flag is not False:
            raise AnswerError((f"'{key}' is true or left out",))


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise AnswerError(("a value is a text or a number, and not empty",))
    return str(value).strip()
