"""The courses of a report as tables: a row for each examination, the oldest first, and only the columns that say something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from service.model.course import Course, CoursePoint
from service.model.report import Report
from service.page.content import CourseRow, CourseTable
from service.sr import words
from service.sr.phrases import Phrase, Wording


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column: its head and unit, the number of a point, and how it is written."""

    head: Phrase
    unit: Phrase | str
    number: Callable[[CoursePoint], Decimal | None]
    decimals: int = 1
    #: a change, which says its sign
    signed: bool = False


_LENGTHS = {
    "fu.sum": Phrase.COURSE_SUM,
    "sz.long_axis": Phrase.LENGTH_OVER_TIME,
    "sz.short_axis": Phrase.SHORT_OVER_TIME,
}
_BESIDE = (
    _Column(head=Phrase.COURSE_PCT_BASELINE, unit="%", number=lambda p: p.pct_baseline, signed=True),
    _Column(head=Phrase.COURSE_PCT_NADIR, unit="%", number=lambda p: p.pct_nadir, signed=True),
    _Column(head=Phrase.VOLUME_OVER_TIME, unit="mL", number=lambda p: p.volume_ml),
    _Column(head=Phrase.COURSE_PCT_VOLUME, unit="%", number=lambda p: p.pct_volume, signed=True),
    _Column(head=Phrase.COURSE_DOUBLING, unit=Phrase.DAYS, number=lambda p: p.doubling_days, decimals=0),
    _Column(head=Phrase.COURSE_ATTENUATION, unit="HU", number=lambda p: p.attenuation_hu, decimals=0),
)


def course_tables(courses: tuple[Course, ...], report: Report, wording: Wording) -> tuple[CourseTable, ...]:
    """Return the courses as tables; of a lesion the title says which it is, as the report's other tables do."""
    return tuple(_table(c, report, wording) for c in courses)


def _table(course: Course, report: Report, wording: Wording) -> CourseTable:
    length = _Column(head=_LENGTHS[course.item], unit="mm", number=lambda p: p.length_mm)
    columns = [c for c in (length, *_BESIDE) if any(c.number(p) is not None for p in course.points)]
    subject = report.subject(course.subject)
    what = words.lesion_label(report, subject, wording) if subject else wording.say(Phrase.SUM_OVER_TIME)
    return CourseTable(
        title=wording.say(Phrase.COURSE, what=what),
        columns=tuple(wording.say(c.head) for c in columns),
        units=tuple(wording.say(c.unit) if isinstance(c.unit, Phrase) else c.unit for c in columns),
        rows=tuple(_row(p, columns, wording) for p in course.told),
        left_out=course.untold,
    )


def _row(point: CoursePoint, columns: list[_Column], wording: Wording) -> CourseRow:
    sure = Phrase.IS_CONFIRMED if point.all_confirmed else Phrase.PARTLY_PROPOSED
    stands = wording.say(sure if point.confirmed else Phrase.PROPOSED)
    return CourseRow(
        date=wording.date(point.date) or wording.say(Phrase.THIS_EXAMINATION if point.here else Phrase.UNKNOWN_DATE),
        cells=tuple(_cell(point, c, wording) for c in columns),
        stands=wording.say(Phrase.ADDED_UP, stands=stands) if point.added_up else stands,
        proposed=not point.all_confirmed,
        here=point.here,
    )


def _cell(point: CoursePoint, column: _Column, wording: Wording) -> str:
    if column.head is Phrase.COURSE_PCT_BASELINE and point.baseline:
        return wording.say(Phrase.IS_BASELINE)
    number = column.number(point)
    if number is None:
        return ""
    shown = number.quantize(Decimal(1).scaleb(-column.decimals), ROUND_HALF_UP)
    sign = "+" if column.signed and shown > 0 else ""
    return f"{sign}{wording.decimal(shown or abs(shown))}"
