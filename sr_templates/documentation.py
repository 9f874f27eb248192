"""The clinical content as a page: generated from the templates, so that what is documented is what is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path

from service.model.code import Code
from sr_templates.codes import load_codes
from sr_templates.language.conditions import FACTS, THRESHOLD, All, Condition, Not, Operator, Some, Test
from sr_templates.language.labels import ENGLISH, language_names, load_language
from sr_templates.language.source import Mapping, decoded, read
from sr_templates.language.values import Fill, Item, Matrix, Rule, Section, Template

LITERATURE = "literature.yaml"
EXCLUSIONS = "exclusions.yaml"
_SHOWN_VALUES = 12
_FACTS = {
    "modality": "modality of the study",
    "template": "template",
    "patient.age": "patient's age in years",
    "patient.sex": "patient's sex",
}
_FILLS = {
    Fill.AUTOMATIC: "by the software",
    Fill.DERIVED: "from other answers",
    Fill.ROW: "the rows of the matrix",
    Fill.SIGNING: "when it is signed",
}


def markdown(templates: Sequence[Template], folder: Path | None = None) -> str:
    """Return the documentation page of templates.

    Parameters
    ----------
    templates:
        What to document; a section that several of them share is written once.
    folder:
        The folder that they were read from, for its exclusions and its literature; by default the package.
    """
    return "\n".join(_lines(templates, folder)) + "\n"


def _lines(templates: Sequence[Template], folder: Path | None) -> Iterator[str]:
    yield "# Clinical content"
    yield ""
    yield (
        "Generated from `sr_templates/`. Do not edit this page: edit the section file and run "
        "`lms-sr template docs > docs/clinical.md`. How a template is written stands in `sr_templates/README.md`."
    )
    yield ""
    yield (
        "The software proposes, the radiologist decides: every value in the column *Proposed from* stays marked as proposed until a "
        "person confirms it. What the software fills in by itself are rows that identify things (UIDs, dates, the device). Every item "
        "also accepts *Not Evaluated* (SCT 373121007) with a reason, given by a person, never by the software."
    )
    yield from _table(
        ("Template", "Version", "Title", "Items", "Rules", "Sections"),
        (
            (
                f"{t.label}<br>`{t.key}`",
                t.version,
                t.title.meaning,
                str(len(list(t))),
                str(len(t.rules)),
                ", ".join(s.key for s in t.sections),
            )
            for t in templates
        ),
    )
    for key in dict.fromkeys(s.key for t in templates for s in t.sections):
        yield from _section(key, templates)
    yield from _derived(templates)
    yield from _retired(templates)
    yield from _exclusions(folder)
    yield from _literature(folder)
    yield from _languages(templates, folder)
    yield from _codes()


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield ""
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in row) + " |"


def _section(key: str, templates: Sequence[Template]) -> Iterator[str]:
    """Write a section once, with the templates that use it."""
    using = [(t, s) for t in templates for s in t.sections if s.key == key]
    first = using[0][1]
    yield ""
    yield f"## {first.heading.meaning}"
    yield ""
    yield f"Section `{key}` of {_names(t for t, _ in using)}."
    items = {i.key: i for _, s in using for i in s.items}
    yield from _table(
        ("Item", "Concept", "Asked about", "Type", "Need", "Modalities", "Values", "Proposed from", "Note"),
        (_row(item, using) for item in items.values()),
    )
    matrices = {(m.scope, m.prompt): (m, t) for t, s in reversed(using) for m in s.matrices}
    for matrix, template in matrices.values():
        yield from _matrix(matrix, template)
    rules = {r.key: (r, t) for t, s in reversed(using) for r in s.rules}
    if rules:
        yield ""
        yield "Rules:"
        yield from _table(
            ("Rule", "Where", "Has to hold", "What a reader is told", "Source"),
            (_rule(r, t) for r, t in rules.values()),
        )


def _names(templates: Iterable[Template]) -> str:
    return ", ".join(f"`{t.key}`" for t in templates)


def _row(item: Item, using: Sequence[tuple[Template, Section]]) -> tuple[str, ...]:
    asking = [t for t, s in using if any(i.key == item.key for i in s.items)]
    proposed = ", ".join(p.replace("_", " ") for p in (*item.prefill, *((item.derive,) if item.derive else ())))
    if item.fill is not Fill.PERSON:
        proposed = f"{proposed} ({_FILLS[item.fill]})" if proposed else _FILLS[item.fill]
    notes = (
        item.help,
        f"[{item.cite}]" if item.cite else "",
        f"Only when {said(item.when, asking[0])}." if item.when else "",
        f'Asked with "{item.prompt}".' if item.prompt != item.label else "",
        f"Rows: {', '.join(item.rows)}." if item.rows else "",
        f"Not in {_names(t for t, _ in using if t not in asking)}." if len(asking) < len(using) else "",
    )
    return (
        f"{item.label}<br>`{item.key}`",
        _code(item.concept),
        f"each {item.scope.value}" if item.each else item.scope.value,
        item.type.value + (f" [{item.unit.value}]" if item.unit else ""),
        item.need.value,
        " ".join(item.modalities) or "all",
        _values(item),
        proposed,
        " ".join(n for n in notes if n),
    )


def _matrix(matrix: Matrix, template: Template) -> Iterator[str]:
    yield ""
    if not matrix.rows:
        yield f"*{matrix.prompt}*: one row for each {matrix.scope.value} that is found."
        return
    yield f"*{matrix.prompt}*: each of these needs an answer, other {matrix.scope.value}s only when something is said about them."
    yield ""
    for row in matrix.rows:
        condition = f": only when {said(row.when, template)}" if row.when else ""
        yield f"- {row.label} (`{row.key}`){condition}"


def _rule(rule: Rule, template: Template) -> tuple[str, ...]:
    required = said(rule.require, template) if rule.require else f"check `{rule.check}`"
    weight = " (may be signed over)" if rule.warning else ""
    return (
        f"`{rule.key}`",
        said(rule.when, template) if rule.when else "always",
        required,
        rule.message + weight,
        rule.cite,
    )


def _code(code: Code) -> str:
    return f"{code.meaning}<br>{code.scheme} {code.value}"


def _values(item: Item) -> str:
    if item.low is not None and item.high is not None:
        return f"{item.low} to {item.high}"
    shown = "; ".join(v.meaning for v in item.values[:_SHOWN_VALUES])
    more = len(item.values) - _SHOWN_VALUES
    return shown + (f"; and {more} more" if more > 0 else "") + (" (others allowed)" if item.extensible else "")


# --- what stands behind the sections --------------------------------------------------------------------------------------


def _derived(templates: Sequence[Template]) -> Iterator[str]:
    items = {i.key: i for t in templates for i in t if i.derive}
    if not items:
        return
    yield ""
    yield "## What follows from other answers"
    yield ""
    yield (
        "A value that is computed is as sure as the least sure answer that it was computed from; one that is proposed waits for a "
        "person. A stated value is never replaced."
    )
    yield from _table(
        ("Item", "Function", "", "Note"),
        (
            (
                f"{i.label}<br>`{i.key}`",
                f"`{i.derive}`",
                "computed" if i.fill is Fill.DERIVED else "proposed",
                " ".join(n for n in (i.help, f"[{i.cite}]" if i.cite else "") if n),
            )
            for i in items.values()
        ),
    )


def _retired(templates: Sequence[Template]) -> Iterator[str]:
    rows = [(t, i) for t in templates for i in t.retired]
    if not rows:
        return
    yield ""
    yield "## What earlier versions asked"
    yield ""
    yield "Reports of earlier versions are read with these; nobody is asked about them any more."
    yield from _table(
        ("Template", "Item", "Concept", "Values"),
        ((f"`{t.key}`", f"{i.label}<br>`{i.key}`", _code(i.concept), _values(i)) for t, i in rows),
    )


def _exclusions(folder: Path | None) -> Iterator[str]:
    found = _file(EXCLUSIONS, folder)
    rows = [(f"`{e['key']}`", "", str(e["reason"])) for e in found.get("items", [])]
    rows += [(f"`{e['key']}`", f"`{e['item']}`", str(e["reason"])) for e in found.get("values", [])]
    if not rows:
        return
    yield ""
    yield "## What is left out"
    yield ""
    yield "Items of the clinical catalogue, and values of its items, that no template has, and why."
    yield from _table(("Left out", "Value of", "Reason"), rows)


def _literature(folder: Path | None) -> Iterator[str]:
    entries = _file(LITERATURE, folder).get("disagreements", [])
    if not entries:
        return
    yield ""
    yield "## Where the literature disagrees"
    yield from _table(
        ("Topic", "What sources say", "What the templates do"),
        ((str(e["topic"]), str(e["says"]), str(e["followed"])) for e in entries),
    )


def _languages(templates: Sequence[Template], folder: Path | None) -> Iterator[str]:
    """Write what each language leaves in English, for a clinician to decide."""
    languages = [load_language(code, folder) for code in language_names(folder) if code != ENGLISH]
    if not languages:
        return
    items = {i.key: i for t in templates for i in t}
    english = {
        "labels": {k: i.label for k, i in items.items()},
        "helps": {k: i.help for k, i in items.items()},
        "values": {k: v.meaning for i in items.values() for k, v in zip(i.value_keys, i.values, strict=True)},
        "rules": {r.key: r.message for t in templates for r in t.rules},
    }
    yield ""
    yield "## What other languages leave in English"
    yield ""
    yield (
        "Forms, reports and pages can be had in another language (`sr_templates/languages`). Wording that is not certain stays in English "
        "until a clinician decides. English everywhere are the concept names and code meanings of the SR, texts that are proposed as "
        "texts (impression, comparison), and the features of the differential with their sources."
    )
    yield from _table(
        ("Language", "What", "English", "Why"),
        (
            (language.name, f"`{name}`", english.get(table, {}).get(key, key), why)
            for language in languages
            for name, why in language.uncertain.items()
            for table, _, key in (name.partition("/"),)
        ),
    )


def _file(name: str, folder: Path | None) -> Mapping:
    file = (folder if folder is not None else resources.files("sr_templates")).joinpath(name)
    return read(decoded(file.read_bytes(), name), name) if file.is_file() else Mapping()


def _codes() -> Iterator[str]:
    rows = list(load_codes())
    counts = {s: sum(r.status == s for r in rows) for s in ("verified", "private", "unverified")}
    yield ""
    yield "## Codes"
    yield ""
    yield (
        f"`sr_templates/codes.csv` has {len(rows)} rows: {counts['verified']} verified in public code lists, {counts['private']} of our "
        f"own scheme 99LMSSR, {counts['unverified']} unverified and refused by the linter until somebody verifies them."
    )


# --- conditions in words --------------------------------------------------------------------------------------------------


def said(condition: Condition | None, template: Template) -> str:
    """Return a condition as a radiologist reads it: labels and meanings in place of keys."""
    match condition:
        case None:
            return "always"
        case Test():
            return _said(condition, template)
        case Not():
            return f"not ({said(condition.part, template)})"
        case All():
            return " and ".join(
                f"({said(p, template)})" if isinstance(p, Some) else said(p, template) for p in condition.parts
            )
        case Some():
            return " or ".join(said(p, template) for p in condition.parts)


def _said(test: Test, template: Template) -> str:
    name = _named(test, template)
    match test.operator:
        case Operator.ANSWERED:
            return f"{name} is answered"
        case Operator.EVALUATED:
            return f"{name} is answered and evaluated"
        case Operator.IN | Operator.NOT_IN:
            is_it = "is" if test.operator is Operator.IN else "is not"
            return f"{name} {is_it} {' or '.join(_value(v, test.name.item) for v in test.values)}"
        case _:
            limit = (
                f"the setting `{THRESHOLD.replace('threshold', 'clinical')}{test.threshold}`"
                if test.threshold
                else str(test.number)
            )
            return f"{name} {test.operator.value} {limit}"


def _named(test: Test, template: Template) -> str:
    if test.name.item in FACTS:
        return f"the {_FACTS[test.name.item]}"
    item = template.item(test.name.item)
    label = f"*{item.label}*" if item is not None else f"`{test.name.item}` (not in this template)"
    if not test.name.row:
        return label
    rows = {r.key: r.label for m in template.matrices for r in m.rows}
    return f"{label} of the {rows.get(test.name.row, test.name.row)}"


def _value(key: str, item: str) -> str:
    codes = load_codes()
    return key if item in FACTS or key not in codes else f'"{codes[key].meaning}"'
