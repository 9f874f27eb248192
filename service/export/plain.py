"""Conditions as a radiologist reads them: labels and meanings instead of keys."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from service.settings import Clinical
from sr_templates import Template, load_codes
from sr_templates.evaluate import DEFAULTS
from sr_templates.language.conditions import All, Condition, Not, Operator, Some, Test

_FACTS: Mapping[str, str] = MappingProxyType(
    {"modality": "modality", "template": "template", "patient.sex": "sex", "patient.age": "age in years"}
)
_SIGNS: Mapping[Operator, str] = MappingProxyType(
    {
        Operator.LESS: "less than",
        Operator.AT_MOST: "at most",
        Operator.MORE: "more than",
        Operator.AT_LEAST: "at least",
    }
)


def in_words(condition: Condition, template: Template, clinical: Clinical = DEFAULTS) -> str:
    """Return a condition in words: "Fat component is Present and Age in years is at least 50"."""
    match condition:
        case Test():
            return _test(condition, template, clinical)
        case Not():
            return f"not ({in_words(condition.part, template, clinical)})"
        case All():
            parts = (
                f"({in_words(p, template, clinical)})" if isinstance(p, Some) else in_words(p, template, clinical)
                for p in condition.parts
            )
            return " and ".join(parts)
        case Some():
            return " or ".join(in_words(p, template, clinical) for p in condition.parts)


def _test(test: Test, template: Template, clinical: Clinical) -> str:
    name = _name(test, template)
    match test.operator:
        case Operator.ANSWERED:
            return f"{name} is answered"
        case Operator.EVALUATED:
            return f"{name} is evaluated"
        case Operator.IN:
            return f"{name} is {' or '.join(_values(test))}"
        case Operator.NOT_IN:
            return f"{name} is answered and not {' or '.join(_values(test))}"
        case _:
            limit = getattr(clinical, test.threshold) if test.threshold else test.number
            return f"{name} is {_SIGNS[test.operator]} {limit:g}"


def _name(test: Test, template: Template) -> str:
    if test.name.item in _FACTS:
        return _FACTS[test.name.item]
    item = template.item(test.name.item)
    label = item.label if item else test.name.item
    if not test.name.row:
        return label
    rows = {r.key: r.label for m in template.matrices for r in m.rows}
    return f"{label} of {rows.get(test.name.row, test.name.row)}"


def _values(test: Test) -> list[str]:
    if test.name.item in _FACTS:
        return list(test.values)
    codes = load_codes()
    return [codes[v].meaning for v in test.values]
