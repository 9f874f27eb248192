"""Faults of conditions: tests that name what is not there, conditions that can never hold, items that wait for each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from service.model.report import Scope
from service.settings import Clinical
from sr_templates.codes import load_codes
from sr_templates.language.conditions import FACTS, THRESHOLD, All, Condition, Operator, Test, tests
from sr_templates.language.faults import MODALITIES, Linted
from sr_templates.language.loader import NOT_EVALUATED
from sr_templates.language.reader import did_you_mean
from sr_templates.language.satisfiable import Surroundings, can_hold
from sr_templates.language.values import Fill, Item, ItemType, Rule

_CODED = frozenset({ItemType.CODE, ItemType.CODES})
_NUMERIC = frozenset({Operator.LESS, Operator.AT_MOST, Operator.MORE, Operator.AT_LEAST})
_MEMBERS = frozenset({Operator.IN, Operator.NOT_IN})
#: a study of the first always has images of one of the others, too
_BESIDE = {"PT": ("CT", "MR"), "NM": ("CT",)}


def condition_faults(linted: Linted) -> None:
    """Tell the faults of every condition: of items, of rows, of rules."""
    wrong: set[str] = set()
    for item in linted.template:
        found = list(dict.fromkeys(_tests(item.when, linted)))
        if item.fill is not Fill.ROW and any(t.name.item == item.key and not t.name.row for t in tests(item.when)):
            found.append("its condition asks for itself: an item is needed because of another")
        if found:
            wrong.add(item.key)
        for what in found:
            linted.item(item, "when", what)
    for matrix in linted.template.matrices:
        for member, row in enumerate(matrix.rows):
            found = list(dict.fromkeys(_tests(row.when, linted)))
            if not found and linted.whole and not can_hold(row.when, _around(linted, matrix.scope)):
                found.append(_never("its condition", row.when, linted))
            for what in found:
                linted.matrix(matrix, "rows", f"row '{row.key}': {what}", member)
    if linted.whole:
        _unreachable(linted, wrong)
    for rule in linted.template.rules:
        _rule(rule, linted)


def _around(
    linted: Linted, scope: Scope, never: Collection[str] = (), modalities: frozenset[str] = frozenset()
) -> Surroundings:
    return Surroundings(
        items={i.key: i for i in linted.template},
        scope=scope,
        template=linted.template.key,
        never=frozenset(never),
        unknown=frozenset(i.key for i in linted.template if not linted.sound(i)),
        modalities=modalities,
    )


# --- single tests --------------------------------------------------------------------------------------------------------


def _tests(condition: Condition | None, linted: Linted) -> Iterator[str]:
    """Yield what is wrong with single tests of a condition."""
    for test in tests(condition):
        if test.threshold and test.threshold not in Clinical.model_fields:
            hint = did_you_mean(test.threshold, Clinical.model_fields)
            yield f"'{THRESHOLD}{test.threshold}' is no setting of [clinical]: {hint}"
        if test.name.item in FACTS:
            yield from _fact(test, linted)
            continue
        item = linted.template.item(test.name.item)
        if item is not None:
            yield from _test(test, item, linted)
        elif test.name.item not in linted.absent and linted.whole:
            hint = did_you_mean(test.name.item, [i.key for i in linted.template])
            yield f"its condition asks for '{test.name.item}', which this template does not have: {hint}"


def _fact(test: Test, linted: Linted) -> Iterator[str]:
    name = test.name.item
    if test.name.row:
        yield f"'{name}' has no rows: write it without [{test.name.row}]"
    if name == "patient.age":
        if test.operator in _MEMBERS:
            yield f"'{name}' is a number of years: compare it by <, <=, > or >="
        return
    if test.operator in _NUMERIC:
        yield f"'{name}' is no number: ask for it by = or in"
    known = {"modality": MODALITIES, "template": linted.templates, "patient.sex": ("F", "M", "O")}[name]
    for value in test.values:
        if value not in known:
            yield f"its condition can never hold: '{value}' is no value of '{name}': {did_you_mean(value, known)}"


def _test(test: Test, item: Item, linted: Linted) -> Iterator[str]:
    if test.name.row and test.name.row not in _rows(linted, item.scope):
        hint = did_you_mean(test.name.row, _rows(linted, item.scope))
        yield f"its condition asks for the row '{test.name.row}', which no matrix of {item.scope.value}s has: {hint}"
    if item.fill is Fill.ROW and (test.operator not in _MEMBERS or test.name.row):
        yield f"'{item.key}' names the rows of a matrix and is no answer: ask which structure it is, by = or in"
    if not linted.sound(item):
        return
    if test.operator in _NUMERIC and item.type is not ItemType.NUMBER:
        yield f"its condition compares '{item.key}', which is no number"
    if test.operator not in _MEMBERS:
        return
    if item.type not in _CODED:
        yield f"its condition asks for a value of '{item.key}', which is a {item.type.value}: use answered(…), or compare a number"
        return
    codes = load_codes()
    allowed = {(v.scheme, v.value) for v in (*item.values, codes[NOT_EVALUATED])}
    rows = {r.key: r for r in codes}
    for value in test.values:
        row = rows.get(value.partition("#")[0])
        if row is None:
            hint = did_you_mean(value, item.value_keys or rows)
            yield f"its condition names '{value}', which is not in sr_templates/codes.csv: {hint}"
        elif not item.extensible and (row.code.scheme, row.code.value) not in allowed:
            hint = did_you_mean(value, item.value_keys)
            yield f"its condition can never hold: '{value}' is no value of '{item.key}': {hint}"


def _rows(linted: Linted, scope: Scope) -> tuple[str, ...]:
    matrix = linted.template.matrix(scope)
    if matrix is None:
        return ()
    named = linted.template.item(matrix.item)
    return (*(r.key for r in matrix.rows), *(named.value_keys if named else ()))


# --- conditions as a whole ------------------------------------------------------------------------------------------------


def _unreachable(linted: Linted, wrong: set[str]) -> None:
    """Tell the items whose condition can never hold, and those that wait for each other."""
    conditional = [i for i in linted.template if i.when is not None and linted.sound(i) and i.key not in wrong]
    for item in conditional:
        if not can_hold(item.when, _around(linted, item.scope)):
            linted.item(item, "when", _never("its condition", item.when, linted))
            wrong.add(item.key)
        else:
            _modalities(item, linted)
    # who has an answer without waiting: no condition, or a source that does not ask for one; the others follow, round by round
    waiting = {i.key: i for i in conditional if i.key not in wrong and not i.prefill}
    while opened := [k for k, i in waiting.items() if can_hold(i.when, _around(linted, i.scope, _but(waiting, k)))]:
        for key in opened:
            del waiting[key]
    for key, item in waiting.items():
        if (ring := _ring(key, waiting)) is not None:
            linted.item(
                item,
                "when",
                f"{' needs '.join(repr(k) for k in ring)}: each waits for the other, so none can ever be asked; drop one condition",
            )


def _but(waiting: dict[str, Item], key: str) -> frozenset[str]:
    return frozenset(k for k in waiting if k != key)


def _ring(start: str, waiting: dict[str, Item]) -> tuple[str, ...] | None:
    """Return the shortest way from an item over those that it waits for back to itself."""
    ways: list[tuple[str, ...]] = [(start,)]
    seen: set[str] = set()
    while ways:
        way = ways.pop(0)
        for needed in dict.fromkeys(t.name.item for t in tests(waiting[way[-1]].when)):
            if needed == start and len(way) > 1:
                return (*way, start)
            if needed in waiting and needed not in seen:
                seen.add(needed)
                ways.append((*way, needed))
    return None


def _modalities(item: Item, linted: Linted) -> None:
    """Tell the modalities under which an item is asked although its condition cannot hold there."""
    for member, modality in enumerate(item.modalities):
        study = (modality, *_BESIDE.get(modality, ()))
        never = [i.key for i in linted.template if not i.applies_to(study)]
        if not can_hold(item.when, _around(linted, item.scope, never, frozenset(study))):
            needed = sorted({t.name.item for t in tests(item.when)} & set(never))
            because = f" ({', '.join(needed)} is not asked there)" if needed else ""
            linted.item(
                item,
                "modality",
                f"under {modality} its condition can never hold{because}: take {modality} out, or ask there for what it needs",
                member,
            )


def _never(what: str, condition: Condition | None, linted: Linted) -> str:
    absent = {t.name.item: linted.absent[t.name.item] for t in tests(condition) if t.name.item in linted.absent}
    if absent:
        reasons = "; ".join(f"'{key}' {why}" for key, why in absent.items())
        return (
            f"{what} can never hold in template '{linted.template.key}': {reasons}; leave this out, too, or keep that"
        )
    return f"{what} can never hold: its tests contradict each other"


# --- rules ----------------------------------------------------------------------------------------------------------------


def _rule(rule: Rule, linted: Linted) -> None:
    if not linted.sound(rule):
        return
    faulty = False
    for key, condition in (("when", rule.when), ("require", rule.require)):
        for what in dict.fromkeys(_tests(condition, linted)):
            faulty = True
            linted.rule(rule, key, what)
    if faulty or not linted.whole:
        return
    around = _around(linted, rule.scope)
    if not can_hold(rule.when, around):
        # a rule about what another template asks says nothing here, and does no harm
        if not any(t.name.item in linted.absent or t.name.item in FACTS for t in tests(rule.when)):
            linted.rule(rule, "when", _never("its 'when'", rule.when, linted))
    elif rule.require is not None and not can_hold(rule.require, around):
        linted.rule(rule, "require", _never("what it requires", rule.require, linted))
    elif rule.require is not None and rule.when is not None and not can_hold(_both(rule.when, rule.require), around):
        linted.rule(rule, "require", "it can never be kept: 'when' and 'require' contradict each other")


def _both(when: Condition, require: Condition) -> Condition:
    return All(parts=(when, require))
