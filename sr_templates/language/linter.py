"""Finds every fault of a template before a patient's report does: ``file:line:column: what is wrong and the way out``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from sr_templates.language.loader import read_template
from sr_templates.language.values import Item, ItemType, Need, Template

_CODED = {ItemType.CODE, ItemType.CODES}


def lint(name: str, *, sources: Collection[str], folder: Path | None = None) -> tuple[str, ...]:
    """Return every fault of the template ``name``; an empty tuple when it is sound.

    Parameters
    ----------
    name:
        The template's name.
    sources:
        Names that ``prefill`` may use (``service.flow.prefill.SOURCES``).
    folder:
        A folder laid out as this package; by default the package.
    """
    template, problems = read_template(name, folder)
    if template is None or problems:
        return problems
    return (*_duplicates(template), *(p for item in template for p in _item(item, template, sources)))


def _where(item: Item) -> str:
    return f"sections/{item.section}.yaml: item '{item.key}'"


def _duplicates(template: Template) -> list[str]:
    problems: list[str] = []
    keys: set[str] = set()
    concepts: dict[tuple[str, str, str], Item] = {}
    for item in template:
        if item.key in keys:
            problems.append(f"{_where(item)}: the key stands twice in template '{template.key}': rename one")
        keys.add(item.key)
        concept = (item.scope.value, item.concept.scheme, item.concept.value)
        if concept in concepts:
            other = concepts[concept].key
            problems.append(
                f"{_where(item)}: '{other}' has the same concept in the same scope: an SR could not tell them apart"
            )
        concepts[concept] = item
    return problems


def _item(item: Item, template: Template, sources: Collection[str]) -> list[str]:
    problems: list[str] = []

    def fault(what: str) -> None:
        problems.append(f"{_where(item)}: {what}")

    if item.type in _CODED and not item.values and not item.extensible:
        fault("a coded item needs values, or 'extensible: true'")
    if item.type not in _CODED and item.values:
        fault(f"an item of type {item.type.value} takes no values: make it 'code', or remove them")
    if len({(v.scheme, v.value) for v in item.values}) != len(item.values):
        fault("a value stands twice: remove one")
    if item.type is ItemType.NUMBER and item.unit is None:
        fault("a number needs a unit (u.no_units for a bare count)")
    if item.type is not ItemType.NUMBER and item.unit is not None:
        fault("only a number has a unit")
    if item.unit is not None and item.unit.scheme != "UCUM":
        fault(f"the unit '{item.unit.meaning}' is not a UCUM unit")
    for source in item.prefill:
        if source not in sources:
            fault(f"prefill '{source}' is not known: one of {', '.join(sorted(sources))}")
    for what in _condition(item, template):
        fault(what)
    if item.need is Need.ESSENTIAL and not item.label:
        fault("an essential item needs a label")
    return problems


def _condition(item: Item, template: Template) -> Iterator[str]:
    when = item.when
    if when is None:
        return
    if not (when.one_of or when.none_of or when.answered):
        yield "its condition says nothing: give 'one_of', 'none_of' or 'answered: true'"
    other = template.item(when.item)
    if other is None:
        yield f"its condition asks for '{when.item}', which this template does not have"
        return
    if other.key == item.key:
        yield "its condition asks for itself"
    allowed = {(v.scheme, v.value) for v in other.values}
    for value in (*when.one_of, *when.none_of):
        if (value.scheme, value.value) not in allowed and not other.extensible:
            yield f"its condition can never hold: '{value.meaning}' is no value of '{other.key}'"
