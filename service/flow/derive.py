"""What follows from a report's answers: computed, or proposed for a person to confirm, and always marked as that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from service.flow.derivations import best, course, earlier, response, sizes, staging, structures
from service.flow.derivations.asked import Asked, Derivation, Derived, Look
from service.flow.derivations.features import dd_feature
from service.flow.derivations.impression import impression
from service.flow.derivations.staging import T_LIMITS_MM, t_category
from service.model.prior import PriorReport
from service.model.report import Answer, Provenance, Report, Scope, Status
from service.settings import Clinical
from sr_templates import Item, Template
from sr_templates.evaluate import DEFAULTS, holds
from sr_templates.language.values import Fill
from sr_templates.order import ordered_answers

__all__ = ["COMPUTED", "DERIVATIONS", "T_LIMITS_MM", "Derivation", "Derived", "derive", "derived_value", "t_category"]

DERIVATIONS: Mapping[str, Derivation] = MappingProxyType(
    {
        "t_category": staging.clinical_t,
        "n_category": staging.clinical_n,
        "m_category": staging.clinical_m,
        "stage_group": staging.propose_group,
        "fnclcc_total": staging.fnclcc_total,
        "necrosis_pct": sizes.necrosis_pct,
        "lesion_count": sizes.lesion_count,
        "delta_hu": sizes.delta_hu,
        "renal_vein": structures.renal_vein,
        "schwarzbach": structures.schwarzbach,
        "ivc_resection": structures.ivc_resection,
        "organs_at_risk": structures.organs_at_risk,
        "baseline_sum": response.baseline_sum,
        "nadir_sum": response.nadir_sum,
        "target_sum": response.target_sum,
        "pct_baseline": response.pct_baseline,
        "pct_nadir": response.pct_nadir,
        "abs_nadir": response.abs_nadir,
        "current_response": response.current_response,
        "overall_response": response.overall_response,
        "best_response": best.best_response,
        "choi_hu_pct": response.choi_hu_pct,
        "choi_response": response.propose_choi,
        "doubling_time": earlier.doubling_time,
        "sgr": earlier.sgr,
        "diameter_rate": earlier.diameter_rate,
        "lesion_change": earlier.lesion_change,
        "lesion_course": course.lesion_course,
        "sum_course": course.sum_course,
        "dd_feature": dd_feature,
        "impression": impression,
    }
)
"""What an item's ``derive`` may name."""

COMPUTED = frozenset(
    {
        "t_category", "stage_group", "fnclcc_total", "necrosis_pct", "delta_hu", "baseline_sum", "nadir_sum", "target_sum",
        "pct_baseline", "pct_nadir", "abs_nadir", "current_response", "overall_response", "choi_hu_pct", "choi_response",
        "doubling_time", "sgr", "diameter_rate",
    }
)  # fmt: skip
"""Derivations by arithmetic or by a published table: a person who states another value gives a reason. The others are suggestions."""

#: a chain of derivations is no longer than this; the linter refuses cycles
_MAX_ROUNDS = 12


def derive(
    report: Report, template: Template, clinical: Clinical = DEFAULTS, *, prior: PriorReport | None = None
) -> Report:
    """Return ``report`` with everything that follows from its answers, in the one order.

    What a person stated or confirmed stays, and so does what another source proposed (a segmentation, an earlier report). An earlier
    result of this function is replaced, or removed where its inputs are gone.

    Parameters
    ----------
    report, template:
        The answers, and the template whose ``derive`` names what follows.
    clinical:
        The thresholds.
    prior:
        The patient's newest earlier time point, with those before it: growth, attenuation and sums are compared with them. Without it
        nothing is compared, and what was derived from it is removed.
    """
    for _ in range(_MAX_ROUNDS):
        following = _once(report, template, clinical, prior)
        if following == report:
            break
        report = following
    return report


def _once(report: Report, template: Template, clinical: Clinical, prior: PriorReport | None) -> Report:
    for item in template:
        if item.derive not in DERIVATIONS:
            continue
        found = {
            a.subject: a
            for a in _answers(item, Look(report=report, template=template, subject="", clinical=clinical, prior=prior))
        }
        kept = [a for a in report.answers if a.item != item.key or not _own(a)]
        taken = {a.subject for a in kept if a.item == item.key}
        new = [a for s, a in found.items() if s not in taken]
        answers = ordered_answers((*kept, *new), report.subjects, template)
        if answers != report.answers:
            report = replace(report, answers=answers)
    return report


def _own(answer: Answer) -> bool:
    return answer.provenance is Provenance.RULE and answer.status is not Status.CONFIRMED


def _subjects(item: Item, report: Report) -> Iterable[str]:
    if item.scope is Scope.REPORT:
        return ("",)
    keys = (s.key for s in report.subjects_of(item.scope))
    return tuple(k for k in keys if not item.rows or k in item.rows)


def _answers(item: Item, look: Look) -> Iterable[Answer]:
    for subject in _subjects(item, look.report):
        derived = _derived(item, replace(look, subject=subject))
        if derived is not None:
            yield _answer(item, subject, derived, look.report)


def _derived(item: Item, look: Look) -> Derived | None:
    if not item.applies_to(look.report.modalities):
        return None
    if not holds(item.when, look.report, look.template, look.subject, look.clinical):
        return None
    asked = Asked(
        report=look.report,
        template=look.template,
        subject=look.subject,
        clinical=look.clinical,
        prior=look.prior,
        item=item,
    )
    return DERIVATIONS[item.derive](asked)


def derived_value(item: Item, look: Look) -> Derived | None:
    """Return what the software derives for ``item`` about the subject of ``look``, whatever a person stated there."""
    return _derived(item, look) if item.derive in DERIVATIONS else None


def _answer(item: Item, subject: str, derived: Derived, report: Report) -> Answer:
    used = [a for pair in derived.from_items for a in report.answers_of(*pair)]
    sure = bool(used) and not derived.unsure and all(a.status is not Status.PROPOSED for a in used)
    return Answer(
        item=item.key,
        subject=subject,
        values=derived.values,
        status=Status.AUTOMATIC if item.fill is Fill.DERIVED and sure else Status.PROPOSED,
        provenance=Provenance.RULE,
        basis=derived.basis,
        derivation=derived.derivation,
        method=derived.method,
    )
