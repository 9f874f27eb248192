"""Where answers contradict each other, or say what an item cannot take: the template's rules, and what holds for every item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from service.flow.checks import CHECKS, Check, differs, seen_from, subjects_of
from service.flow.derivations.asked import Look
from service.flow.derive import COMPUTED
from service.model.code import Code
from service.model.prior import PriorReport
from service.model.report import Answer, Quantity, Report, Status
from service.settings import Clinical
from service.sr import words
from sr_templates import Item, ItemType, Template, load_codes
from sr_templates.evaluate import DEFAULTS, holds
from sr_templates.language.loader import NOT_EVALUATED
from sr_templates.language.values import Fill

__all__ = ["BUILT_IN", "CHECKS", "Broken", "Check", "broken_rules"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A rule that the answers break."""

    #: the rule's key in its section, or one of `BUILT_IN`
    rule: str
    #: what a radiologist reads, with the way out
    message: str
    #: key of the subject; empty: the report as a whole
    subject: str = ""
    #: may be signed over
    warning: bool = False


BUILT_IN = ("value-range", "value-list", "one-value", "not-evaluated-reason", "not-evaluated-alone", "override-reason")
"""Rules that hold for every item of every template."""


def broken_rules(
    report: Report, template: Template, clinical: Clinical = DEFAULTS, *, prior: PriorReport | None = None
) -> tuple[Broken, ...]:
    """Return every rule that the answers break: first those of the template in its order, then those of every item.

    Parameters
    ----------
    report, template:
        The answers, and the template with its rules.
    clinical:
        The thresholds.
    prior:
        The patient's newest earlier report, as for `derive`; checks against it keep still without it.
    """
    look = Look(report=report, template=template, subject="", clinical=clinical, prior=prior)
    return (*_of_template(look), *_of_every_item(look))


def _of_template(look: Look) -> Iterator[Broken]:
    for rule in look.template.rules:
        for subject in subjects_of(rule.scope, look):
            here = seen_from(look, subject)
            if not holds(rule.when, look.report, look.template, subject, look.clinical):
                continue
            detail = CHECKS[rule.check](here) if rule.check in CHECKS else None
            kept = holds(rule.require, look.report, look.template, subject, look.clinical)
            if detail is not None or not kept:
                message = f"{rule.message} Here: {detail}." if detail else rule.message
                yield Broken(rule=rule.key, message=message, subject=subject, warning=rule.warning)


#: derivations that a check of the template speaks for, so that nothing is said twice
_SPOKEN_FOR: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "t_override": frozenset({"t_category"}),
        "stage_group": frozenset({"stage_group"}),
        "recist_response": frozenset({"current_response", "overall_response"}),
    }
)


def _of_every_item(look: Look) -> Iterator[Broken]:
    spoken_for: set[str] = {d for r in look.template.rules for d in _SPOKEN_FOR.get(r.check, ())}
    for answer in look.report.answers:
        item = look.template.item(answer.item)
        if item is None or item.fill is Fill.SIGNING:
            continue
        # only a lesion that a treatment made vanish has a length of 0 mm (RECIST 1.1, check R3)
        gone = item.key in _LENGTHS and bool(_ROLES.intersection(look.keys("fu.baseline_cat", answer.subject)))
        yield from _of_answer(item, answer, gone=gone)
        if item.derive in COMPUTED and item.derive not in spoken_for and answer.status is Status.CONFIRMED:
            detail = differs(item, seen_from(look, answer.subject))
            if detail is not None:
                message = (
                    f"{item.label} differs from what the software derives: add the reason, or take the derived value."
                )
                yield Broken(rule="override-reason", message=f"{message} Here: {detail}.", subject=answer.subject)
    yield from _repeated(look)


def _of_answer(item: Item, answer: Answer, *, gone: bool) -> Iterator[Broken]:
    def broken(rule: str, what: str, *, warning: bool = False) -> Broken:
        return Broken(rule=rule, message=f"{item.label}: {what}", subject=answer.subject, warning=warning)

    if answer.says(load_codes()[NOT_EVALUATED]) or _qualified(answer):
        if not answer.reason.strip():
            yield broken("not-evaluated-reason", "not evaluated needs a reason: say why in a few words.")
        if len(answer.values) > 1:
            yield broken("not-evaluated-alone", "not evaluated stands beside a value: keep one of them.")
        return
    if item.type is ItemType.CODE and not item.many and len(answer.values) > 1:
        yield broken("one-value", "takes one value: remove the others.")
    unknown = [v for v in answer.values if isinstance(v, Code) and not _allowed(item, v)]
    if unknown:
        yield broken(
            "value-list",
            f"'{unknown[0].meaning[:64]}' is not in the list; it is kept as it was received: choose a value of the list, or leave it.",
            warning=True,
        )
    for value in answer.values:
        if not isinstance(value, Quantity) or value.number is None:
            continue
        if value.number == 0 and item.key in _LENGTHS and not gone and not answer.reason.strip():
            yield broken(
                "value-range", "0 mm is the length of a target that is gone: give the lesion its role, or correct it."
            )
            continue
        # a reason is the way out for what is true and rare
        if not _in_range(item, value.number) and not answer.reason.strip():
            what = f"{words.number(value)} lies outside {_span(item)}: correct it, or give the reason why it is so."
            yield broken("value-range", what)


def _qualified(answer: Answer) -> bool:
    return any(isinstance(v, Quantity) and v.number is None for v in answer.values)


def _allowed(item: Item, code: Code) -> bool:
    return item.extensible or not item.values or any(v.same(code) for v in item.values)


_LENGTHS = frozenset({"sz.long_axis", "sz.short_axis", "sz.short_axis#node"})
_ROLES = frozenset({"fu.target", "fu.nontarget"})


def _in_range(item: Item, number: Decimal) -> bool:
    return (item.low is None or number >= item.low) and (item.high is None or number <= item.high)


def _span(item: Item) -> str:
    unit = words.number(Quantity(number=Decimal(0), unit=item.unit)).removeprefix("0").strip() if item.unit else ""
    return f"{item.low} to {item.high} {unit}".strip()


def _repeated(look: Look) -> Iterator[Broken]:
    """Yield items that take one answer and have several (numbers by several derivations are no repetition)."""
    seen: set[tuple[str, str, Code | None]] = set()
    for answer in look.report.answers:
        item = look.template.item(answer.item)
        if item is None or item.many or item.type is ItemType.NUMBER:
            continue
        key = (answer.item, answer.subject, answer.derivation)
        if key in seen:
            yield Broken(
                rule="one-value", message=f"{item.label}: takes one answer: remove the others.", subject=answer.subject
            )
        seen.add(key)
