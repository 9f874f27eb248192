"""Which template a study gets, from what the registry knows of the patient: baseline, response on treatment, or surveillance.

A rule of triage that names a template decides before this. Only what a person stated or confirmed counts: no template follows from a
proposal. The first rule that applies decides, and is kept with the values it went by.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from service.flow import triage
from service.model.prior import PriorReport
from service.model.report import Report, Status
from sr_templates import load_codes

BASELINE, RESPONSE, SURVEILLANCE = "baseline", "response", "surveillance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A template and why it was taken."""

    template: str
    reason: str


def choose(prior: PriorReport | None, current_template: str = "") -> Choice:
    """Return the template for a study.

    Parameters
    ----------
    prior:
        The patient's newest earlier time point, with those before it; the newest report among them counts. None without one.
    current_template:
        The template of the report that the study already has: it stays, since a second report would stand beside the first.
    """
    if current_template:
        return Choice(template=current_template, reason="the study has a report of this template")
    prior = prior.newest_report if prior is not None else None
    if prior is None or prior.report is None:
        return Choice(template=BASELINE, reason="no earlier report in the registry")
    for applies, template, reason in _RULES:
        if applies(prior.report):
            return Choice(template=template, reason=f"{reason} (report of {prior.study_date or 'unknown date'})")
    return Choice(template=BASELINE, reason="the earlier report states no treatment")


def with_template(decision: triage.Decision, prior: PriorReport | None, current_template: str) -> triage.Decision:
    """Return a decision of triage with its template: that of the study's report, else the rule's, else what `choose` says, and why."""
    if not decision.report or (decision.template and not current_template):
        return decision
    choice = choose(prior, current_template)
    return replace(
        decision,
        template=choice.template,
        values=(*decision.values, ("template", f"{choice.template}, {choice.reason}")),
    )


def _states(report: Report, item: str, *keys: str) -> bool:
    codes = load_codes()
    return any(
        a.says(codes[key]) for a in report.answers if a.item == item and a.status is Status.CONFIRMED for key in keys
    )


def _recurred(report: Report) -> bool:
    return _states(report, "fu.recurrence", "rec.local", "rec.distant", "rec.both") or _states(
        report, "ctx.dx_status", "ctx.dx_status.recurrent"
    )


def _on_treatment(report: Report) -> bool:
    return (
        report.template == RESPONSE
        or _states(report, "ctx.prior_tx", "tx.chemo", "tx.rt")
        or _states(report, "tid.tp_type", "tpt.pretreatment", "tpt.postchemo", "tpt.postrad", "tpt.posttreatment")
    )


def _resected(report: Report) -> bool:
    return (
        _states(report, "fu.recurrence", "fu.ned", "rec.equivocal")
        or _states(report, "ctx.dx_status", "ctx.dx_status.resected")
        or _states(report, "tid.tp_type", "tpt.postop")
    )


#: in order: a recurrence is treated again, so it counts before the resection that went before it
_RULES: tuple[tuple[Callable[[Report], bool], str, str], ...] = (
    (_recurred, RESPONSE, "the earlier report states a recurrence"),
    (_resected, SURVEILLANCE, "the earlier report states a resection"),
    (_on_treatment, RESPONSE, "the earlier report states a treatment"),
)
