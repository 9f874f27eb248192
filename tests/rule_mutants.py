"""Small changes of a condition, for tests of the rules: what a rule's examples have to notice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sr_templates.language.conditions import All, Condition, Not, Operator, Some, Test, words

_EQUALITY = {
    Operator.LESS: Operator.AT_MOST,
    Operator.AT_MOST: Operator.LESS,
    Operator.MORE: Operator.AT_LEAST,
    Operator.AT_LEAST: Operator.MORE,
}


def mutants(condition: Condition) -> Iterator[Condition]:
    """Yield every condition that one small change makes: a part dropped or negated, a value dropped, a limit with or without equality."""
    match condition:
        case Test():
            yield Not(part=condition)
            if len(condition.values) > 1:
                for value in condition.values:
                    yield replace(condition, values=tuple(v for v in condition.values if v != value))
            if condition.operator in _EQUALITY:
                yield replace(condition, operator=_EQUALITY[condition.operator])
        case Not():
            yield condition.part
            yield from (Not(part=m) for m in mutants(condition.part) if m != Not(part=condition.part))
        case All() | Some():
            for place, part in enumerate(condition.parts):
                rest = (*condition.parts[:place], *condition.parts[place + 1 :])
                yield rest[0] if len(rest) == 1 else replace(condition, parts=rest)
                for changed in mutants(part):
                    yield replace(condition, parts=(*condition.parts[:place], changed, *condition.parts[place + 1 :]))


def named(condition: Condition | None) -> str:
    """Return a mutant as a list of equivalent ones writes it."""
    return words(condition) if condition else "always"
