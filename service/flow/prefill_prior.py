"""Proposals from the patient's earlier reports: only what a person stated or confirmed there, always with its date."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from service.flow.context import Context, proposal
from service.flow.derivations.timeline import day, is_baseline
from service.model.prior import PriorReport
from service.model.report import Answer, Provenance, Quantity, Scope, Status, Uid
from sr_templates import Item
from sr_templates.evaluate import evaluated


def prior_answer(context: Context, item: Item) -> tuple[Answer, ...]:
    """Return the answer to the same item in the newest report, as a proposal.

    About a lesion, the earlier lesion with the same tracking UID is asked: a lesion that only looks alike is for a person to say.
    """
    prior = context.prior.newest_report if context.prior is not None else None
    if prior is None or prior.report is None:
        return ()
    subject = _subject(context, prior, item)
    if subject is None:
        return ()
    return tuple(
        replace(
            answer,
            subject=context.subject.key if context.subject else "",
            status=Status.PROPOSED,
            provenance=Provenance.PRIOR,
            basis=f"report of {day(prior.study_date)}",
            evidence=(),
            reason="",
            observer="",
        )
        for answer in prior.report.answers_of(item.key, subject)
        if answer.status is Status.CONFIRMED and evaluated(answer)
    )


def prior_nadir(context: Context, item: Item) -> tuple[Answer, ...]:
    """Return the smallest sum of target diameters so far (RECIST 1.1): of every report down to the baseline.

    A sum that was computed from confirmed diameters counts as they do. A report with another baseline sum is of another course of
    treatment, and so is all that went before it.
    """
    reports = [p for p in context.prior.points if p.reported and p.report] if context.prior is not None else []
    if not reports:
        return ()
    baseline, least, date = None, None, ""
    for point in reports:
        base = _smallest(point, "fu.sum_baseline")
        if base is not None and baseline is not None and base.number != baseline.number:
            break
        baseline = base if baseline is None else baseline
        found = _smallest(point, "fu.sum_baseline", "fu.sum_nadir", "fu.sum")
        if found is not None and (least is None or _size(found) < _size(least)):
            least, date = found, point.study_date
        if point.report is not None and is_baseline(point.report):
            break
    if least is None:
        return ()
    when = f", first in that of {day(date)}" if date != reports[0].study_date else ""
    basis = f"smallest sum up to the report of {day(reports[0].study_date)}{when}"
    return proposal(context, item, Provenance.PRIOR, least, basis=basis)


def prior_match(context: Context, item: Item) -> tuple[Answer, ...]:
    """Return the earlier lesion that lies where this one does and is alike in size, as a suggestion with its reason."""
    if context.subject is None:
        return ()
    found = next((m for m in context.matches if m.subject == context.subject.key), None)
    if found is None:
        return ()
    basis = f"{found.label} of {day(found.date)}: {found.reason}"
    return proposal(context, item, Provenance.PRIOR, Uid(found.tracking_uid), basis=basis)


def _smallest(point: PriorReport, *items: str) -> Quantity | None:
    known = [
        value
        for name in items
        for answer in (point.report.answers_of(name) if point.report is not None else ())
        if answer.status is not Status.PROPOSED
        for value in answer.values
        if isinstance(value, Quantity) and value.number is not None
    ]
    return min(known, key=_size, default=None)


def _size(quantity: Quantity) -> Decimal:
    return quantity.number or Decimal(0)


def _subject(context: Context, prior: PriorReport, item: Item) -> str | None:
    if item.scope is Scope.REPORT:
        return ""
    if context.subject is None or prior.report is None:
        return None
    same = (s for s in prior.report.subjects_of(item.scope) if s.tracking_uid == context.subject.tracking_uid)
    return next((s.key for s in same), None)
