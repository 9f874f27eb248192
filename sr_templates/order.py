"""The one order of a report: subjects by scope, answers by template and then subject. Two reports of the same content are equal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from service.model.report import Answer, Report, Scope, Subject
from sr_templates.language.values import Template

_SCOPES = tuple(Scope)


def ordered_subjects(subjects: Iterable[Subject], template: Template) -> tuple[Subject, ...]:
    """Return subjects by scope; structures as their matrix lists them, others behind those in the order given."""
    rows = {r.key: n for m in template.matrices for n, r in enumerate(m.rows)}
    return tuple(sorted(subjects, key=lambda s: (_SCOPES.index(s.scope), rows.get(s.key, len(rows)))))


def ordered_answers(answers: Iterable[Answer], subjects: Iterable[Subject], template: Template) -> tuple[Answer, ...]:
    """Return answers in template order, then in the order of their subjects; the report as a whole comes first."""
    # what an earlier version had stands behind; where the key lives on with another scope, its place counts
    items = {i.key: n for n, i in reversed(list(enumerate((*template, *template.retired))))}
    ranks = {s.key: n for n, s in enumerate(subjects)}
    return tuple(sorted(answers, key=lambda a: (items.get(a.item, len(items)), ranks.get(a.subject, -1))))


def canonical(report: Report, template: Template) -> Report:
    """Return ``report`` in the one order."""
    subjects = ordered_subjects(report.subjects, template)
    return replace(report, subjects=subjects, answers=ordered_answers(report.answers, subjects, template))
