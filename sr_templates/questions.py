"""Which questions a report still has: prompts, open, proposed, confirmed."""

from __future__ import annotations

from service.model.code import Code
from service.model.report import Answer, Completeness, Report, Status
from sr_templates.language.values import Condition, Fill, Item, Need, Template


def applicable(report: Report, template: Template) -> tuple[Item, ...]:
    """Return the essential and conditional items that this report is asked, in reading order.

    An item counts when the study's modalities can answer it and its condition holds for the answers so far.
    """
    return template.select(
        lambda i: i.need is not Need.OPTIONAL and i.applies_to(report.modalities) and holds(i.when, report)
    )


def holds(condition: Condition | None, report: Report) -> bool:
    """Say whether ``condition`` holds for the answers of ``report``."""
    if condition is None:
        return True
    given = [v for a in report.answers if a.item == condition.item for v in a.values]
    if condition.answered:
        return bool(given)
    codes = [v for v in given if isinstance(v, Code)]
    if condition.one_of:
        return any(c.same(v) for c in codes for v in condition.one_of)
    return not any(c.same(v) for c in codes for v in condition.none_of)


def completeness(report: Report, template: Template) -> Completeness:
    """Count the prompts of a report.

    A prompt is open while one of its items has no answer, proposed while one of its answers is not confirmed. A lesion's items are
    looked for at the first lesion, the index tumour.
    """
    answered: dict[str, list[Answer]] = {}
    for answer in report.answers:
        answered.setdefault(answer.item, []).append(answer)
    states: dict[str, str] = {}
    for item in applicable(report, template):
        if item.fill is not Fill.PERSON:
            continue
        state = _state(answered.get(item.key, []))
        worst = states.get(item.prompt, "confirmed")
        states[item.prompt] = min(state, worst, key=("open", "proposed", "confirmed").index)
    return Completeness(
        proposed=sum(s == "proposed" for s in states.values()),
        confirmed=sum(s == "confirmed" for s in states.values()),
        open=sum(s == "open" for s in states.values()),
        open_items=tuple(p for p, s in states.items() if s == "open"),
    )


def _state(answers: list[Answer]) -> str:
    if not answers:
        return "open"
    return "proposed" if any(a.status is Status.PROPOSED for a in answers) else "confirmed"
