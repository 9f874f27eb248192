"""Proposals from the patient's newest earlier report: only what a person stated or confirmed there, always with its date."""

from __future__ import annotations

from dataclasses import replace

from service.flow.context import Context, proposal
from service.model.prior import PriorReport
from service.model.report import Answer, Provenance, Quantity, Scope, Status
from sr_templates import Item
from sr_templates.evaluate import evaluated


def prior_answer(context: Context, item: Item) -> tuple[Answer, ...]:
    """Return the earlier answer to the same item, as a proposal.

    About a lesion, the earlier lesion with the same tracking UID is asked: a lesion that only looks alike is for a person to say.
    """
    prior = context.prior
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
            basis=f"report of {_day(prior.study_date)}",
            evidence=(),
            reason="",
            observer="",
        )
        for answer in prior.report.answers_of(item.key, subject)
        if answer.status is Status.CONFIRMED and evaluated(answer)
    )


def prior_nadir(context: Context, item: Item) -> tuple[Answer, ...]:
    """Return the smallest sum of target diameters so far: of the earlier nadir, the earlier sum and the baseline (RECIST 1.1).

    A sum that was computed from confirmed diameters counts as they do.
    """
    prior = context.prior
    if prior is None or prior.report is None:
        return ()
    known = [
        value
        for name in ("fu.sum_baseline", "fu.sum_nadir", "fu.sum")
        for answer in prior.report.answers_of(name)
        if answer.status is not Status.PROPOSED
        for value in answer.values
        if isinstance(value, Quantity) and value.number is not None
    ]
    if not known:
        return ()
    least = min(known, key=lambda q: q.number or 0)
    return proposal(
        context, item, Provenance.PRIOR, least, basis=f"smallest sum up to the report of {_day(prior.study_date)}"
    )


def _subject(context: Context, prior: PriorReport, item: Item) -> str | None:
    if item.scope is Scope.REPORT:
        return ""
    if context.subject is None or prior.report is None:
        return None
    same = (s for s in prior.report.subjects_of(item.scope) if s.tracking_uid == context.subject.tracking_uid)
    return next((s.key for s in same), None)


def _day(date: str) -> str:
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == len("YYYYMMDD") else "an unknown date"
