"""Which questions a report still has: prompts, open, proposed, confirmed."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from service.model.report import Answer, Completeness, Report, Scope, Status
from service.settings import Clinical
from sr_templates.evaluate import DEFAULTS, holds
from sr_templates.language.values import Fill, Item, Need, Template

#: scopes whose subjects are found and not listed: without one, the question whether there is one stands for all
_FOUND = frozenset({Scope.NODE, Scope.CANDIDATE})


class State(enum.StrEnum):
    """How far a question, or a prompt, is answered; a prompt is as far as its least answered question."""

    OPEN = "open"
    PROPOSED = "proposed"
    CONFIRMED = "confirmed"


_ORDER = tuple(State)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An item that needs an answer, about a subject."""

    item: Item
    #: key of the subject, which need not be in the report yet; empty: the report as a whole
    subject: str
    #: as a reader calls the subject: "right renal vein"; empty for the report as a whole
    subject_label: str
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is asked together and counted once."""

    label: str
    section: str
    questions: tuple[Question, ...]

    @property
    def state(self) -> State:
        """Return how far the prompt is answered."""
        return min((q.state for q in self.questions), key=_ORDER.index)


def prompts(report: Report, template: Template, clinical: Clinical = DEFAULTS) -> tuple[Prompt, ...]:
    """Return the prompts of a report in reading order: essential items, and conditional ones while their condition holds.

    An item is asked when the study's modalities can answer it. What a person fills in at signing, what the software records and what
    follows from other answers is not asked.
    """
    found: dict[str, list[Question]] = {}
    sections: dict[str, str] = {}
    for item in template:
        if item.fill is not Fill.PERSON or item.need is Need.OPTIONAL or not item.applies_to(report.modalities):
            continue
        for subject, label in _subjects(item, report, template, clinical):
            if holds(item.when, report, template, subject, clinical):
                state = _state(_answers(item, subject, report))
                question = Question(item=item, subject=subject, subject_label=label, state=state)
                found.setdefault(item.prompt, []).append(question)
                sections.setdefault(item.prompt, item.section)
    return tuple(Prompt(label=k, section=sections[k], questions=tuple(v)) for k, v in found.items())


def _subjects(item: Item, report: Report, template: Template, clinical: Clinical) -> Iterator[tuple[str, str]]:
    """Yield key and label of everything that ``item`` is asked about."""
    there = report.subjects_of(item.scope)
    if item.scope in {Scope.REPORT, Scope.SERIES}:
        yield "", ""
    elif item.scope is Scope.LESION:
        # without a lesion the index tumour is still to be described
        yield from ((s.key, s.key) for s in (there if item.each else there[:1]))
        if not there:
            yield "", ""
    elif (matrix := template.matrix(item.scope)) is not None:
        wanted = {r.key: r.label for r in matrix.rows if holds(r.when, report, template, r.key, clinical)}
        rows = wanted | {s.key: s.tracking_id for s in there if s.key not in wanted}
        if not rows and item.scope in _FOUND:
            yield "", ""
        yield from ((k, label) for k, label in rows.items() if not item.rows or k in item.rows)


def _answers(item: Item, subject: str, report: Report) -> list[Answer]:
    if item.scope is Scope.SERIES:
        return [a for a in report.answers if a.item == item.key]
    return [a for a in report.answers if a.item == item.key and a.subject == subject]


def _state(answers: list[Answer]) -> State:
    if not answers:
        return State.OPEN
    return State.PROPOSED if any(a.status is Status.PROPOSED for a in answers) else State.CONFIRMED


def completeness(report: Report, template: Template, clinical: Clinical = DEFAULTS) -> Completeness:
    """Count the prompts of a report.

    A prompt is open while one of its questions has no answer, proposed while one of its answers is not confirmed.
    """
    states = [(p.label, p.state) for p in prompts(report, template, clinical)]
    return Completeness(
        proposed=sum(s is State.PROPOSED for _, s in states),
        confirmed=sum(s is State.CONFIRMED for _, s in states),
        open=sum(s is State.OPEN for _, s in states),
        open_items=tuple(label for label, s in states if s is State.OPEN),
        proposed_items=tuple(label for label, s in states if s is State.PROPOSED),
    )
