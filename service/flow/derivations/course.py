"""The measured course: of each lesion, and of the sum of the targets, what every examination says. Nothing is interpolated.

The rows of the report's text, the table and the plot of the page are all made from the same `Course`. What nobody confirmed is shown and
says so; nothing is compared with it that `earlier` and `response` do not compare with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal

from service.flow.choi import Change
from service.flow.derivations.asked import Asked, Derived, Look
from service.flow.derivations.earlier import baseline_size, doubling_time, earlier_answers, incomparable_with, volumes
from service.flow.derivations.response import axis_of, by_recist, sum_at
from service.flow.derivations.sizes import means
from service.flow.derivations.timeline import (
    Then,
    baseline_point,
    day,
    is_baseline,
    last_seen,
    points_of,
    seen,
    since_baseline,
    study_date,
)
from service.model.course import Course, CoursePoint
from service.model.prior import PriorReport
from service.model.report import Answer, Quantity, Scope, Status
from sr_templates.evaluate import evaluated

SUM = "fu.sum"
_LONG, _SHORT, _VOLUME, _ATTENUATION, _DOUBLING = "sz.long_axis", "sz.short_axis", "sz.volume", "ct.hu", "fu.doubling"
#: changes have as many digits as those that the report derives (``fu.pct_baseline``)
_TENTH = Decimal("0.1")
_NAMES = {_LONG: "long axis", _SHORT: "short axis", SUM: "sum of targets"}


# --- a lesion ------------------------------------------------------------------------------------------------------------


def course_of_lesion(look: Look, subject: str) -> Course | None:
    """Return what every examination that measured a lesion says of it; None where only this one did, or this one did not."""
    look = replace(look, subject=subject)
    item = axis_of(look, subject)
    measured = any(look.answers(i, subject) for i in _sizes(item))
    thens = [t for t in reversed(seen(look, subject)) if any(_listed(t, i) for i in _sizes(item))]
    if not thens or not measured:
        return None
    base = None if is_baseline(look.report) else baseline_size(look, item, subject)
    start, since = baseline_point(look), since_baseline(look)
    points: list[CoursePoint] = []
    least = base
    for then in thens:
        point = _then(look, then, item)
        if base is not None and then.point == start:
            point = replace(point, baseline=True)
        elif base is not None and then.point in since:
            point = _compared(look, point, base, least)
            counted = first_number(then.answers(item)) if then.point.reported else None
            least = min(n for n in (least, counted) if n is not None)
        points.append(point)
    # an attenuation that none can be held against is no course
    mean = means(look.answers(_ATTENUATION, subject)) if any(p.attenuation_hu is not None for p in points) else ()
    here = _compared(look, _here(look, item, mean), base, least)
    return Course(subject=subject, item=item, points=(*points, here))


def _sizes(item: str) -> tuple[str, ...]:
    return (_LONG, _SHORT, _VOLUME) if item == _LONG else (item, _VOLUME)


def _compared(look: Look, point: CoursePoint, base: Decimal | None, least: Decimal | None) -> CoursePoint:
    """Return a point with the changes of its length from baseline and from the smallest one before it."""
    nadir = _percent(least, point.length_mm) if by_recist(look) else None
    return replace(point, pct_baseline=_percent(base, point.length_mm), pct_nadir=nadir)


def _percent(before: Decimal | None, now: Decimal | None) -> Decimal | None:
    change = Change(before=before, now=now).percent if before is not None and now is not None else None
    return change.quantize(_TENTH, ROUND_HALF_UP) if change is not None else None


def _listed(then: Then, item: str) -> tuple[Answer, ...]:
    """Return what counts as said at an earlier time point; where nothing does, what a machine proposed there."""
    return then.answers(item) or tuple(a for a in then.report.answers_of(item, then.subject.key) if evaluated(a))


def _here(look: Look, item: str, mean: tuple[Answer, ...]) -> CoursePoint:
    answers = {i: look.answers(i, look.subject) for i in _sizes(item)}
    growth = look.answers(_DOUBLING, look.subject)
    made = _point(look, study_date(look.report), item, answers, mean, first_number(growth))
    return replace(made, here=True, growth_confirmed=made.growth_confirmed and not _proposed(growth))


def _then(look: Look, then: Then, item: str) -> CoursePoint:
    """Return an earlier examination as it was looked at then: compared with those before it alone."""
    point = then.point
    before = points_of(look)[points_of(look).index(point) + 1 :]
    prior = replace(before[0], earlier=before[1:]) if before else None
    there = replace(look, report=then.report, subject=then.subject.key, prior=prior)
    mean = () if incomparable_with(look, look.subject, then) else means(then.answers(_ATTENUATION))
    answers = {i: _listed(then, i) for i in _sizes(item)}
    made = _point(there, point.study_date, item, answers, mean, _doubling(there))
    return replace(made, study_instance_uid=point.study_instance_uid)


def _doubling(there: Look) -> Decimal | None:
    """Return the doubling time up to an earlier examination: as reported there, else derived now."""
    item = there.template.item(_DOUBLING)
    if (stated := there.number(_DOUBLING, there.subject)) is not None or item is None:
        return stated
    derived = doubling_time(
        Asked(
            report=there.report,
            template=there.template,
            subject=there.subject,
            clinical=there.clinical,
            prior=there.prior,
            item=item,
        )
    )
    return next((v.number for v in derived.values if isinstance(v, Quantity)), None) if derived else None


def _point(
    look: Look,
    date: str,
    item: str,
    answers: dict[str, tuple[Answer, ...]],
    mean: tuple[Answer, ...],
    doubling: Decimal | None,
) -> CoursePoint:
    pair, before = volumes(look), last_seen(look, look.subject)
    change = _percent(*pair) if pair is not None else None
    told = [a for found in (*answers.values(), mean) for a in found]
    return CoursePoint(
        study_instance_uid=look.report.study_instance_uid,
        date=date,
        length_mm=first_number(answers[item]),
        short_axis_mm=first_number(answers[_SHORT]) if item == _LONG else None,
        volume_ml=first_number(answers[_VOLUME]),
        attenuation_hu=first_number(mean),
        pct_volume=change,
        volume_since=before.point.study_date if change is not None and before is not None else "",
        doubling_days=doubling,
        confirmed=all(a.status is Status.CONFIRMED for a in told),
        growth_confirmed=change is None
        or all(a.status is Status.CONFIRMED for a in earlier_answers(look, _VOLUME, look.subject)),
    )


# --- the sum of the targets ----------------------------------------------------------------------------------------------


def course_of_sums(look: Look) -> Course | None:
    """Return the sums of target diameters over time; None where only this examination has one, or this one has none.

    Of an earlier examination its report states the sum; since the baseline it is added up from the sizes of the targets where it does not.
    """
    now = look.number(SUM)
    points = list(_sums(look))
    if not points or now is None:
        return None
    told = {i: look.answers(i) for i in ("fu.pct_baseline", "fu.pct_nadir")}
    here = CoursePoint(
        study_instance_uid=look.report.study_instance_uid,
        date=study_date(look.report),
        here=True,
        length_mm=now,
        pct_baseline=first_number(told["fu.pct_baseline"]),
        pct_nadir=first_number(told["fu.pct_nadir"]),
        confirmed=not _proposed(look.answers(SUM)),
        changes_confirmed=not any(map(_proposed, told.values())),
    )
    return Course(subject="", item=SUM, points=(*points, here))


def _sums(look: Look) -> Iterator[CoursePoint]:
    """Yield the sums of earlier examinations, the oldest first."""
    stated_base = look.answers("fu.sum_baseline")
    base_point = None if is_baseline(look.report) else baseline_point(look)
    base = first_number(stated_base)
    since = since_baseline(look)
    least = base
    for point in reversed(points_of(look)):
        sum_mm, sure, added_up = _sum_then(look, point, add=point in since)
        if point == base_point and base is not None:
            yield CoursePoint(
                study_instance_uid=point.study_instance_uid,
                date=point.study_date,
                baseline=True,
                length_mm=base,
                confirmed=not _proposed(stated_base),
            )
        elif sum_mm is not None:
            follows = base_point is not None and base is not None and point in since
            made = CoursePoint(
                study_instance_uid=point.study_instance_uid,
                date=point.study_date,
                added_up=added_up,
                length_mm=sum_mm,
                confirmed=sure,
                changes_confirmed=not (follows and _proposed(stated_base)),
            )
            yield _compared(look, made, base, least) if follows else made
            if follows and sure and least is not None:
                least = min(least, sum_mm)


def _sum_then(look: Look, point: PriorReport, *, add: bool) -> tuple[Decimal | None, bool, bool]:
    """Return the sum at an earlier time point, whether it counts and was added up: as reported, else added up, else as proposed."""
    said = tuple(a for a in point.report.answers_of(SUM) if evaluated(a)) if point.report is not None else ()
    if said and not _proposed(said):
        return first_number(said), True, False
    total = sum_at(look, point) if add else None
    return (total, point.reported, True) if total is not None else (first_number(said), False, False)


# --- all of a report -----------------------------------------------------------------------------------------------------


def courses(look: Look) -> tuple[Course, ...]:
    """Return every course of a report: that of the sums, then those of its lesions, each where there is one."""
    keys = (s.key for s in look.report.subjects_of(Scope.LESION))
    found = (course_of_sums(look), *(course_of_lesion(look, key) for key in keys))
    return tuple(c for c in found if c is not None)


# --- in words ------------------------------------------------------------------------------------------------------------


def lesion_course(asked: Asked) -> Derived | None:
    """Tell the sizes of a lesion at every time point that shows it, this one included; nothing without an earlier one."""
    found = course_of_lesion(asked, asked.subject)
    return _derived(asked, found, (_LONG, _SHORT, _VOLUME, _ATTENUATION, _DOUBLING))


def sum_course(asked: Asked) -> Derived | None:
    """Tell the sums of target diameters, this one included; nothing without an earlier one."""
    items = (SUM, "fu.sum_baseline", "fu.sum_nadir", "fu.pct_baseline", "fu.pct_nadir")
    return _derived(asked, course_of_sums(asked), items)


def _derived(asked: Asked, course: Course | None, items: tuple[str, ...]) -> Derived | None:
    if course is None:
        return None
    rows = [_row(course, p) for p in course.told]
    if course.untold:
        rows.insert(1, f"… {course.untold} more …")
    count = len(course.points) - 1
    return Derived(
        values=tuple(rows),
        basis=f"{count} earlier examination{'s' * (count > 1)}",
        from_items=asked.used(*items),
        unsure=not all(p.all_confirmed for p in course.points),
    )


def _row(course: Course, point: CoursePoint) -> str:
    """Return one examination in words: "2026-01-03: long axis 88 mm, volume 327 mL (-12.0 % since 2025-10-01)"."""

    def unsure(sure: bool) -> str:
        # once is enough where the sizes themselves are not
        return "not confirmed" if point.confirmed and not sure else ""

    parts = []
    if point.length_mm is not None:
        said = f"{_NAMES[course.item]} {point.length_mm:f} mm"
        changes = (
            _signed(point.pct_baseline, "from baseline"),
            _signed(point.pct_nadir, "from nadir"),
            "baseline" if point.baseline else "",
            "added up from the sizes of the targets" if point.added_up else "",
        )
        parts.append(_aside(said, changes, unsure(point.changes_confirmed)))
    if course.item == _LONG and point.short_axis_mm is not None:
        parts.append(f"short axis {point.short_axis_mm:f} mm")
    if point.volume_ml is not None:
        growth = (
            _signed(point.pct_volume, f"since {day(point.volume_since)}"),
            f"doubling time {point.doubling_days:f} days" if point.doubling_days is not None else "",
        )
        parts.append(_aside(f"volume {point.volume_ml:f} mL", growth, unsure(point.growth_confirmed)))
    if point.attenuation_hu is not None:
        parts.append(f"mean attenuation {point.attenuation_hu:f} HU")
    when = day(point.date) if point.date or not point.here else "this examination"
    return f"{when}: {', '.join(parts)}{'' if point.confirmed else ' (not confirmed)'}"


def _signed(change: Decimal | None, against: str) -> str:
    return "" if change is None else f"{f'{change:+f}' if change else '0.0'} % {against}"


def _aside(said: str, asides: Iterable[str], unsure: str) -> str:
    """Return what is said with asides in brackets, which say where one of them is ``unsure``."""
    found = ", ".join(filter(None, asides))
    return f"{said} ({'; '.join(filter(None, (found, unsure)))})" if found else said


def _proposed(answers: Iterable[Answer]) -> bool:
    return any(a.status is Status.PROPOSED for a in answers)


def first_number(answers: Iterable[Answer]) -> Decimal | None:
    """Return the first number of some answers."""
    return next((v.number for a in answers for v in a.values if isinstance(v, Quantity) and v.number is not None), None)
