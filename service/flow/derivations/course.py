"""The measured course in words, for readers of the report's text: the numbers of the plot, oldest first. Nothing is interpolated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from service.flow.derivations.asked import Asked, Derived
from service.flow.derivations.sizes import means
from service.flow.derivations.timeline import baseline_point, day, points_of, seen
from service.model.report import Answer, Date, Quantity, Status
from service.sr.words import value

#: time points in one line: the oldest, and the newest of the others
_MOST = 12
_SIZES = (("sz.long_axis", "long axis"), ("sz.short_axis", "short axis"), ("sz.volume", "volume"), ("ct.hu", "mean"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """What one time point says."""

    date: str
    words: str
    confirmed: bool = True

    def __str__(self) -> str:
        return f"{day(self.date)}: {self.words}{'' if self.confirmed else ' (not confirmed)'}"


def lesion_course(asked: Asked) -> Derived | None:
    """Tell the sizes of a lesion at every time point that shows it, this one included; nothing without an earlier one."""
    lines = []
    for then in seen(asked, asked.subject):
        told = {item: means(then.answers(item)) if item == "ct.hu" else then.answers(item) for item, _ in _SIZES}
        if words := _sizes(told):
            sure = all(a.status is Status.CONFIRMED for answers in told.values() for a in answers)
            lines.append(_Line(date=then.point.study_date, words=words, confirmed=sure))
    here = {item: means(asked.answers(item)) if item == "ct.hu" else asked.answers(item) for item, _ in _SIZES}
    words = _sizes(here)
    if not lines or not words:
        return None
    used = asked.used(*(item for item, answers in here.items() if answers))
    return _told(asked, lines, words, used)


def sum_course(asked: Asked) -> Derived | None:
    """Tell the sums of target diameters that reports state, this one included; nothing without an earlier one."""
    base = baseline_point(asked)
    lines: list[_Line] = []
    for point in points_of(asked):
        answers = point.report.answers_of("fu.sum") if point.report is not None else ()
        said = _number(a for a in answers if a.status is not Status.PROPOSED)
        if said:
            lines.append(_Line(date=point.study_date, words=said))
    baseline = asked.answers("fu.sum_baseline")
    if baseline and base is not None and all(line.date != base.study_date for line in lines):
        sure = all(a.status is Status.CONFIRMED for a in baseline)
        lines.append(_Line(date=base.study_date, words=f"baseline {_number(baseline)}", confirmed=sure))
        lines.sort(key=lambda line: line.date, reverse=True)
    words = _number(asked.answers("fu.sum"))
    if not lines or not words:
        return None
    least = _number(asked.answers("fu.sum_nadir"))
    words = f"{words} (smallest before: {least})" if least else words
    return _told(asked, lines, words, asked.used("fu.sum", "fu.sum_baseline", "fu.sum_nadir"))


def _told(asked: Asked, lines: list[_Line], here: str, used: tuple[tuple[str, str], ...]) -> Derived | None:
    """Return lines, the newest first, as one text, the oldest first."""
    shown = [*lines[: _MOST - 1], lines[-1]] if len(lines) > _MOST else lines
    parts = [str(line) for line in reversed(shown)]
    if len(shown) < len(lines):
        parts.insert(1, f"… {len(lines) - len(shown)} more …")
    date = next(
        (v.value for a in asked.report.answers_of("tid.study_date") for v in a.values if isinstance(v, Date)), ""
    )
    parts.append(f"{day(date) if date else 'this examination'}: {here}")
    text = "; ".join(parts)
    limit = asked.item.max_length
    if limit and len(text) > limit:
        return None
    count = len(lines)
    basis = f"{count} earlier examination{'s' * (count > 1)}"
    return Derived(values=(text,), basis=basis, from_items=used, unsure=not all(line.confirmed for line in lines))


def _sizes(told: dict[str, tuple[Answer, ...]]) -> str:
    parts = [f"{name} {said}" for item, name in _SIZES if (said := _number(told[item]))]
    return ", ".join(parts)


def _number(answers: Iterable[Answer]) -> str:
    """Return the first number of some answers with its unit, as people write it; empty: there is none."""
    numbers = (v for a in answers for v in a.values if isinstance(v, Quantity) and v.number is not None)
    return next((value(n) for n in numbers), "")
