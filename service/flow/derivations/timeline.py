"""A lesion over the patient's earlier time points: which of them show it, and what they say of it.

It is known by its tracking UID, or by the one that a person confirmed as its own (``fu.same_as``); a suggestion that nobody confirmed
matches nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from service.flow.derivations.asked import Look
from service.model.prior import PriorReport
from service.model.report import Answer, Date, Provenance, Report, Status, Subject, Uid
from sr_templates import load_codes
from sr_templates.evaluate import evaluated

_SAME_AS = "fu.same_as"
_BASELINE = ("tpt.baseline", "tpt.pretreatment")
_MEASURED = frozenset({Provenance.SEGMENTATION, Provenance.MEASUREMENT_SR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Then:
    """A lesion at an earlier time point."""

    point: PriorReport
    report: Report
    subject: Subject

    def answers(self, item: str) -> tuple[Answer, ...]:
        """Return what counts as said there: what a person stated or confirmed; without a report of ours, what was measured too."""
        said = tuple(a for a in self.report.answers_of(item, self.subject.key) if evaluated(a))
        confirmed = tuple(a for a in said if a.status is Status.CONFIRMED)
        if confirmed or self.point.reported:
            return confirmed
        return tuple(a for a in said if a.provenance in _MEASURED)


def points_of(look: Look) -> tuple[PriorReport, ...]:
    """Return the earlier time points, the newest first."""
    return look.prior.points if look.prior is not None else ()


def last_seen(look: Look, subject: str) -> Then | None:
    """Return a lesion at the newest earlier time point that shows it."""
    return next(_seen(look, subject), None)


def seen_at(look: Look, subject: str, point: PriorReport) -> Then | None:
    """Return a lesion at one earlier time point; None where that does not show it."""
    return next((t for t in seen(look, subject) if t.point == point), None)


def seen(look: Look, subject: str) -> tuple[Then, ...]:
    """Return a lesion at every earlier time point that shows it, the newest first."""
    return tuple(_seen(look, subject))


def _seen(look: Look, subject: str) -> Iterator[Then]:
    here = look.report.subject(subject)
    if here is None or not here.tracking_uid:
        return
    ids = {here.tracking_uid, *_confirmed_uids(look.report, subject)}
    for point in points_of(look):
        if point.report is None:
            continue
        same = next((s for s in point.report.subjects_of(here.scope) if s.tracking_uid in ids), None)
        if same is not None:
            # a name that it was given there leads further back
            ids |= _confirmed_uids(point.report, same.key)
            yield Then(point=point, report=point.report, subject=same)


def _confirmed_uids(report: Report, subject: str) -> set[str]:
    answers = report.answers_of(_SAME_AS, subject)
    return {v.value for a in answers if a.status is Status.CONFIRMED for v in a.values if isinstance(v, Uid)}


def is_baseline(report: Report) -> bool:
    """Say whether a report is of the baseline: its time point says so, or it has none and its template is the baseline's."""
    codes = load_codes()
    answers = report.answers_of("tid.tp_type")
    return any(a.says(codes[k]) for a in answers for k in _BASELINE) or (not answers and report.template == "baseline")


def baseline_point(look: Look) -> PriorReport | None:
    """Return the newest earlier time point that a report calls the baseline; what nobody reported on is none."""
    return next((p for p in points_of(look) if p.reported and p.report is not None and is_baseline(p.report)), None)


def since_baseline(look: Look) -> tuple[PriorReport, ...]:
    """Return the earlier time points down to the baseline, it included, the newest first; all where none is known as that."""
    base = baseline_point(look)
    points = points_of(look)
    return points if base is None else points[: points.index(base) + 1]


def days_since(look: Look, point: PriorReport) -> Decimal | None:
    """Return the days from a time point to this examination; None where that is not known, or below 1.

    Of the examination that is compared with, the report says it; where it has no answer to that, the dates do.
    """
    compared = look.prior is not None and point.study_instance_uid == look.prior.study_instance_uid
    if compared and look.report.answers_of("fu.interval"):
        days = look.number("fu.interval")
    else:
        days = _days(point.study_date, study_date(look.report))
    return days if days is not None and days >= 1 else None


def study_date(report: Report) -> str:
    """Return the Study Date (DA) that a report states; empty where it states none."""
    return next((v.value for a in report.answers_of("tid.study_date") for v in a.values if isinstance(v, Date)), "")


def _days(then: str, now: str) -> Decimal | None:
    try:
        first, last = (dt.datetime.strptime(d, "%Y%m%d").replace(tzinfo=dt.UTC) for d in (then, now))
    except ValueError:
        return None
    return Decimal((last - first).days)


def day(date: str) -> str:
    """Return a Study Date (DA) as it is read."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == len("YYYYMMDD") else "an unknown date"
