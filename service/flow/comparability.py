"""Whether an attenuation may be held against that of an earlier examination; where not, that is said beside it."""

from __future__ import annotations

from dataclasses import replace

from service.flow.derivations.asked import Look
from service.flow.derivations.earlier import other_scan
from service.model.prior import PriorReport
from service.model.report import Report, Scope, Subject
from service.settings import Clinical
from sr_templates import Template

_BEGINS = "Attenuation is not to be held against that of "


def with_mismatches(report: Report, template: Template, clinical: Clinical, prior: PriorReport | None) -> Report:
    """Return a report that says of each lesion whose attenuation was measured in another phase, or at another tube voltage, than before.

    What was said of it before is replaced: a person may have corrected the phase since.
    """

    def told(subject: Subject) -> Subject:
        if subject.scope is not Scope.LESION:
            return subject
        kept = tuple(r for r in subject.remarks if not r.startswith(_BEGINS))
        look = Look(report=report, template=template, subject=subject.key, clinical=clinical, prior=prior)
        mismatch = other_scan(look, subject.key) if prior is not None else ""
        remarks = (*kept, f"{_BEGINS}{mismatch}") if mismatch else kept
        return subject if remarks == subject.remarks else replace(subject, remarks=remarks)

    subjects = tuple(map(told, report.subjects))
    return report if subjects == report.subjects else replace(report, subjects=subjects)
