"""Faults of a template as a whole: what stands twice, matrices and their items, prompts, rules, rings of derivations."""

from __future__ import annotations

from service.model.report import Scope
from sr_templates.language.faults import MAX_MESSAGE, Linted
from sr_templates.language.reader import did_you_mean
from sr_templates.language.values import Fill, Item, ItemType, Matrix, Need

#: what a matrix lists; series and lesions are found in the study, the report is one
_STRUCTURES = frozenset({Scope.VESSEL, Scope.ORGAN, Scope.NODE, Scope.METASTASIS, Scope.CANDIDATE})
#: structures that are found and not listed: their matrix has no rows
_FOUND = frozenset({Scope.NODE, Scope.CANDIDATE})
_CODED = frozenset({ItemType.CODE, ItemType.CODES})


def structure_faults(linted: Linted) -> None:
    """Tell the faults that show only when items, matrices and rules are seen together."""
    _keys(linted)
    _concepts(linted)
    _retired(linted)
    _matrices(linted)
    _prompts(linted)
    _rules(linted)
    _derivations(linted)


def _keys(linted: Linted) -> None:
    first: dict[str, Item] = {}
    for item in linted.template:
        if item.key in first:
            where = linted.reading.at(first[item.key].place, "key")
            linted.item(
                item, "key", f"the key stands twice in template '{linted.template.key}', first at {where}: rename one"
            )
        first.setdefault(item.key, item)
    headings: dict[tuple[str, str], str] = {}
    for section in linted.template.sections:
        pair = (section.heading.scheme, section.heading.value)
        if pair[1] and pair in headings:
            linted.faults.append(
                f"{section.place}: section '{section.key}': '{headings[pair]}' has the same heading: an SR could not tell them apart"
            )
        headings.setdefault(pair, section.key)


def _concepts(linted: Linted) -> None:
    """Tell items of one scope with one concept that an SR could not tell apart: by their values is the only way."""
    seen: dict[tuple[Scope, str, str], list[Item]] = {}
    for item in linted.template:
        if item.fill is Fill.ROW or not linted.sound(item):
            continue
        others = seen.setdefault((item.scope, item.concept.scheme, item.concept.value), [])
        for other in others:
            if other.key != item.key and not _told_apart(item, other):
                linted.item(
                    item,
                    "concept",
                    f"'{other.key}' has the same concept in the same scope: an SR could not tell them apart; use another concept",
                )
                break
        others.append(item)


def _told_apart(one: Item, other: Item) -> bool:
    if not {one.type, other.type} <= _CODED or one.extensible or other.extensible:
        return False
    # Not Evaluated, which a person may answer, has one code for both
    if one.fill is Fill.PERSON and other.fill is Fill.PERSON:
        return False
    return not any(v.same(w) for v in one.values for w in other.values)


def _retired(linted: Linted) -> None:
    live = {(i.key, i.scope): i for i in linted.template}
    for item in linted.template.retired:
        if (item.key, item.scope) in live:
            linted.item(
                item,
                "key",
                f"it is retired, but the template still asks for it of a {item.scope.value}: take it out of retired.yaml",
            )


# --- matrices -------------------------------------------------------------------------------------------------------------


def _matrices(linted: Linted) -> None:
    scopes: dict[Scope, Matrix] = {}
    for matrix in linted.template.matrices:
        if not linted.sound(matrix):
            scopes.setdefault(matrix.scope, matrix)
            continue
        if matrix.scope not in _STRUCTURES:
            linted.matrix(
                matrix,
                "scope",
                f"a {matrix.scope.value} is no structure: a matrix lists vessels, organs, nodes, metastases, candidates",
            )
        elif matrix.scope in scopes:
            linted.matrix(
                matrix,
                "scope",
                f"matrix '{scopes[matrix.scope].prompt}' lists {matrix.scope.value}s already: put the rows there",
            )
        elif not matrix.rows and matrix.scope not in _FOUND:
            linted.matrix(
                matrix, "rows", f"it has no rows: list the {matrix.scope.value}s that every report says something about"
            )
        scopes.setdefault(matrix.scope, matrix)
        _named(matrix, linted)
    named = {m.item for m in linted.template.matrices}
    for item in linted.template:
        if linted.sound(item):
            _in_matrix(item, scopes, named, linted)


def _named(matrix: Matrix, linted: Linted) -> None:
    """Check the item whose values are the rows."""
    item = linted.template.item(matrix.item)
    if item is None:
        if matrix.item not in linted.absent and linted.whole:
            hint = did_you_mean(matrix.item, [i.key for i in linted.template if i.scope is matrix.scope])
            linted.matrix(matrix, "item", f"its item '{matrix.item}' is not in this template: {hint}")
        return
    if item.fill is not Fill.ROW:
        linted.matrix(
            matrix, "item", f"its item '{item.key}' has to have 'fill: row': it names the rows and is not asked"
        )
    if item.scope is not matrix.scope:
        linted.matrix(
            matrix, "item", f"its item '{item.key}' is about a {item.scope.value}, not about a {matrix.scope.value}"
        )
    seen: set[str] = set()
    for member, row in enumerate(matrix.rows):
        if row.key in seen:
            linted.matrix(matrix, "rows", f"the row '{row.key}' stands twice: remove one", member)
        seen.add(row.key)
        if linted.sound(item) and not item.extensible and not any(v.same(row.structure) for v in item.values):
            linted.matrix(
                matrix,
                "rows",
                f"the row '{row.key}' is no value of '{item.key}': add it there, or remove the row",
                member,
            )


def _in_matrix(item: Item, scopes: dict[Scope, Matrix], named: set[str], linted: Linted) -> None:
    matrix = scopes.get(item.scope)
    if item.fill is Fill.ROW:
        if item.key not in named:
            linted.item(
                item,
                "fill",
                "it names the rows of a matrix, but no matrix names it: add one, or let a person answer it",
            )
        return
    known = [r.key for r in matrix.rows] if matrix is not None else []
    for member, row in enumerate(item.rows):
        if row not in known and (matrix is None or linted.sound(matrix)):
            linted.item(
                item,
                "rows",
                f"'{row}' is no row of a matrix of {item.scope.value}s: {did_you_mean(row, known)}",
                member,
            )
    if matrix is None and item.scope in _STRUCTURES and item.need is not Need.OPTIONAL and linted.whole:
        linted.item(
            item, "scope", f"no matrix lists {item.scope.value}s, so it would never be asked: add one to the section"
        )


# --- prompts, rules, derivations ------------------------------------------------------------------------------------------


def _prompts(linted: Linted) -> None:
    """Tell prompts that stand in two sections: what is asked together stands together."""
    sections: dict[str, str] = {}
    for item in linted.template:
        if item.fill is not Fill.PERSON or item.need is Need.OPTIONAL or not linted.sound(item):
            continue
        first = sections.setdefault(item.prompt, item.section)
        if first != item.section:
            linted.item(
                item,
                "prompt",
                f"the prompt '{item.prompt}' is one of section '{first}': what is asked together stands in one section; name another",
            )


def _rules(linted: Linted) -> None:
    seen: set[str] = set()
    for rule in linted.template.rules:
        if rule.key in seen:
            linted.rule(rule, "rule", "a rule of this name stands twice: rename one")
        seen.add(rule.key)
        if not linted.sound(rule):
            continue
        if rule.require is None and not rule.check:
            linted.rule(rule, "rule", "it needs 'require' (a condition) or 'check' (the name of a function)")
        if rule.require is not None and rule.check:
            linted.rule(rule, "check", "it has 'require' and 'check': keep one")
        if rule.check and rule.check not in linted.names.check:
            linted.rule(
                rule, "check", f"check '{rule.check}' is not known: {did_you_mean(rule.check, linted.names.check)}"
            )
        if len(rule.message) > MAX_MESSAGE:
            linted.rule(
                rule,
                "message",
                f"the message has {len(rule.message)} characters: {MAX_MESSAGE} are what a reader reads",
            )


def _derivations(linted: Linted) -> None:
    """Tell derivations that read each other in a ring: they would never settle."""
    derived = {i.key: i for i in linted.template if i.derive}
    needs = {k: sorted(linted.names.reads.get(i.derive, frozenset()) & derived.keys()) for k, i in derived.items()}
    for start, item in derived.items():
        reached: set[str] = set()
        waiting = list(needs[start])
        while waiting:
            key = waiting.pop()
            if key not in reached:
                reached.add(key)
                waiting.extend(needs[key])
        if start in reached:
            ring = sorted(k for k in reached if k == start or start in needs[k] or k in needs[start])
            linted.item(
                item, "derive", f"it is derived from itself, by way of {', '.join(ring)}: derive one of them otherwise"
            )
