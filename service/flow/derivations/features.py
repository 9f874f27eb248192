"""The features for which a candidate diagnosis is named, from what the report states of its findings."""

from __future__ import annotations

from service.flow.derivations.asked import Asked, Derived, coded
from service.flow.differential import Finding, State, evidence_for
from sr_templates import load_codes


def _says(asked: Asked, finding: Finding) -> bool:
    """Say whether a finding that is there says its feature.

    Some findings are there by one of several values: encasement without being circumferential, for one, is no "circumferential".
    """
    said = [a for a in finding.rests_on if finding.feature in getattr(asked.template.item(a.item), "value_keys", ())]
    code = load_codes()[finding.feature] if finding.feature else None
    return code is not None and (not said or any(a.says(code) for a in said))


def dd_feature(asked: Asked) -> Derived | None:
    """Propose the supporting features of a candidate: those of its findings that are present here."""
    subject = asked.report.subject(asked.subject)
    if subject is None or subject.structure is None:
        return None
    row = evidence_for(subject.structure, asked.report, asked.template, asked.clinical)
    present = [f for f in row.favours if f.state is State.PRESENT and _says(asked, f)] if row else []
    keys = [k for k in asked.item.value_keys if any(f.feature == k for f in present)]
    if not keys:
        return None
    used = tuple(dict.fromkeys((a.item, a.subject) for f in present for a in f.rests_on))
    return coded(tuple(keys), "findings of this report", used)
