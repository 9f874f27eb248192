"""A patient who was examined several times: each report made by the software from a segmentation, with the roles that a person gave."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from service.flow.derive import derive
from service.flow.produce import Options, Produced, produce, reproduce
from service.model.measurement import SegmentMeasurements
from service.model.prior import PriorReport
from service.model.report import Answer, Provenance, Report, Status
from sr_templates import load_codes, load_template
from sr_templates.order import canonical
from tests import builders as b
from tests.filled import confirmed

READER = "Reader^One"


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One examination: Study Date (DA), long axes of both lesions in mm, volume of the first in mL, how far it went."""

    date: str
    long_axes: tuple[float, float]
    volume: float
    template: str = "response"
    #: a person confirmed the numbers
    confirmed: bool = True
    #: there is a report of ours
    reported: bool = True


#: a tumour that shrinks under treatment and grows again, measured in between by another department
EXAMINATIONS = (
    Examination(date="20251001", long_axes=(118.2, 40.1), volume=684.4, template="baseline"),
    Examination(date="20251203", long_axes=(79.4, 30.2), volume=327.1),
    Examination(date="20260115", long_axes=(78.1, 29.8), volume=310.0, confirmed=False, reported=False),
    Examination(date="20260301", long_axes=(88.3, 31.5), volume=402.5, confirmed=False),
)


def segments(of: Examination) -> tuple[SegmentMeasurements, ...]:
    """Return both lesions measured, the same ones at every examination."""
    found = []
    for number, axis in enumerate(of.long_axes, start=1):
        made = b.tumour(number)
        numbers = {"sz.long_axis": axis, "sz.short_axis": axis * 0.75, "sz.volume": of.volume * 1000 / number**2}
        measured = tuple(replace(m, value=numbers.get(m.name, m.value)) for m in made.measurements)
        found.append(replace(made, tracking_id=f"LMS-T{number}", tracking_uid=f"2.25.{number}", measurements=measured))
    return tuple(found)


def at(of: Examination, before: PriorReport | None, *, language: str = "en") -> Produced:
    """Return the report of an examination, compared with those before it."""
    study = replace(b.study(), date=of.date)
    options = Options(installation="1.2.3.4", template=of.template, timezone="Europe/Berlin", language=language)
    draft = produce(study, segments(of), before, options)
    report = draft.report if of.template == "baseline" else _with_roles(draft.report)
    report = confirmed(report, READER) if of.confirmed else report
    template = load_template(of.template)
    return reproduce(derive(report, template, prior=before), draft.study, options)


def _with_roles(report: Report) -> Report:
    roles = (
        Answer(
            item="fu.baseline_cat",
            subject=key,
            values=(load_codes()["fu.target"],),
            status=Status.CONFIRMED,
            provenance=Provenance.RADIOLOGIST,
            observer=READER,
        )
        for key in ("LMS-T1", "LMS-T2")
    )
    others = (a for a in report.answers if a.item != "fu.baseline_cat")
    return canonical(replace(report, answers=(*others, *roles)), load_template(report.template))


def before(examinations: Iterable[Examination]) -> PriorReport | None:
    """Return examinations, the oldest first, as the earlier time points of the one that follows."""
    prior: PriorReport | None = None
    for one in examinations:
        made = at(one, prior)
        point = PriorReport(
            study_instance_uid=f"{b.STUDY_UID}.{one.date}",
            study_date=one.date,
            modalities=made.report.modalities,
            report=made.report,
            reported=one.reported,
        )
        prior = replace(point, earlier=prior.points if prior is not None else ())
    return prior


def last(examinations: tuple[Examination, ...] = EXAMINATIONS, *, language: str = "en") -> tuple[Produced, PriorReport]:
    """Return the report of the last examination, and those before it."""
    prior = before(examinations[:-1])
    assert prior is not None
    return at(examinations[-1], prior, language=language), prior
