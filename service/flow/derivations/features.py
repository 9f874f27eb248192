"""The features for which a candidate diagnosis is named, from what the report states of its findings."""

from __future__ import annotations

from service.flow.derivations.asked import Asked, Derived, coded
from service.flow.differential import State, evidence_for


def dd_feature(asked: Asked) -> Derived | None:
    """Propose the supporting features of a candidate: those of its findings that are present here."""
    subject = asked.report.subject(asked.subject)
    if subject is None or subject.structure is None:
        return None
    row = evidence_for(subject.structure, asked.report, asked.template, asked.clinical)
    present = [f for f in row.favours if f.state is State.PRESENT and f.feature] if row else []
    keys = [k for k in asked.item.value_keys if any(f.feature == k for f in present)]
    if not keys:
        return None
    used = tuple(dict.fromkeys((a.item, a.subject) for f in present for a in f.rests_on))
    return coded(tuple(keys), "findings of this report", used)
