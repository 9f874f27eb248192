"""What a report and the earlier time points say over time: for the tables and the plot of the page, and for the picture of the plot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType

from service.flow.derivations.asked import Look
from service.flow.derivations.course import SUM, courses
from service.model.course import Course
from service.model.prior import PriorReport
from service.model.report import Report, Scope
from service.page.content import TimePoint
from service.settings import Clinical
from service.sr.phrases import ENGLISH, Phrase, Wording
from sr_templates import Template

#: what the lengths of a course are → what the plot calls them
_LENGTHS: Mapping[str, Phrase] = MappingProxyType(
    {
        SUM: Phrase.SUM_OVER_TIME,
        "sz.long_axis": Phrase.LENGTH_OVER_TIME,
        "sz.short_axis": Phrase.SHORT_OVER_TIME,
    }
)


def courses_of(report: Report, template: Template, clinical: Clinical, prior: PriorReport | None) -> tuple[Course, ...]:
    """Return every course of a report, as its answers tell them; ``prior``: the newest earlier time point, with those before it."""
    return courses(Look(report=report, template=template, subject="", clinical=clinical, prior=prior))


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The tumour over time for the plot, this examination included, and what its lengths and volumes are of."""

    length_label: str
    volume_label: str
    points: tuple[TimePoint, ...] = ()


def history(report: Report, over_time: tuple[Course, ...], wording: Wording = ENGLISH) -> History:
    """Return what is plotted of the courses, with labels in a language.

    The sum of the target lesions where there is a course of it, else the length of the index tumour, whose volumes stand beside either.
    """
    index = next((s.key for s in report.subjects_of(Scope.LESION)), None)
    tumour = next((c for c in over_time if c.subject == index), None)
    lengths = next((c for c in over_time if c.item == SUM), tumour)
    found: dict[str, TimePoint] = {}
    for course in (lengths, tumour):
        for point in course.points if course is not None else ():
            known = found.get(point.study_instance_uid, TimePoint(date=point.date))
            if course is lengths:
                known = replace(known, length_mm=_float(point.length_mm), proposed=not point.confirmed)
            if course is tumour:
                known = replace(known, volume_ml=_float(point.volume_ml), volume_proposed=not point.confirmed)
            found[point.study_instance_uid] = known
    what = wording.say(_LENGTHS[lengths.item] if lengths is not None else Phrase.LENGTH_OVER_TIME)
    return History(
        length_label=what if lengths is None or not lengths.subject else f"{what} ({lengths.subject})",
        volume_label=f"{wording.say(Phrase.VOLUME_OVER_TIME)}{f' ({index})' if index else ''}",
        points=tuple(sorted(found.values(), key=lambda p: p.date)),
    )


def _float(number: Decimal | None) -> float | None:
    return None if number is None else float(number)
