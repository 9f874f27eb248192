"""Faults of single items: their values, numbers, texts, sources."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from service.model.code import Code
from service.model.report import Scope
from sr_templates.language.faults import MAX_HELP, MAX_LABEL, MODALITIES, Linted
from sr_templates.language.reader import did_you_mean
from sr_templates.language.values import Fill, Item, ItemType, Need

#: where a fault stands (a key of the item), what it is, and the member of the list where that is known
Found = tuple[str, str] | tuple[str, str, int]

_CODED = frozenset({ItemType.CODE, ItemType.CODES})
#: values of these types are written by the software alone: Not Evaluated cannot stand in their place
_NEVER_PERSONS = frozenset({ItemType.UID, ItemType.PERSON})
_LENGTH = ("mm", "cm")
_TIME = ("s", "min", "h", "d", "wk", "mo", "a")
#: what a concept measures, by the words of its meaning, and the units that fit; the first that matches counts
_UNITS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"\bper ?cent|\bfraction\b", ("%", "{ratio}", "1")),
    (r"\bratio\b", ("{ratio}", "1", "%")),
    (r"\bdoubling time\b|\bincubation time\b|\bduration\b|\binterval\b|\boffset\b|\bdelay\b", _TIME),
    (r"\brate\b", ()),
    (r"\bangle\b", ("deg",)),
    (r"^number of\b|\bcount\b", ("{lesions}", "{nodes}", "1")),
    (r"\bsuv", ("g/ml{SUVbw}", "g/ml{SUVlbm}", "g/ml{SUVbsa}", "g/ml{SUVibw}")),
    (r"\bdiffusion coefficient\b", ("mm2/s", "um2/s")),
    (r"\battenuation\b", ("[hnsf'U]",)),
    (r"\barea\b", ("mm2", "cm2")),
    (r"\bvolume\b", ("mm3", "cm3", "ml")),
    (r"\b(diameter|axis|length|height|width|depth|thickness|spacing|distance|dimension)\b", _LENGTH),
)


def item_faults(linted: Linted) -> None:
    """Tell the faults of every item of the template that stand in the item alone."""
    for item in linted.template:
        _tell(item, linted, (_texts, _values, _number, _unit, _fill, _asked_about))
        for key, what, *member in _sources(item, linted):
            linted.item(item, key, what, *member)
    for item in linted.template.retired:
        # nobody is asked about them any more: only what they read back matters
        _tell(item, linted, (_texts, _values, _number, _unit))


def _tell(item: Item, linted: Linted, finders: Iterable[Callable[[Item], Iterable[Found]]]) -> None:
    if linted.sound(item):
        for find in finders:
            for key, what, *member in find(item):
                linted.item(item, key, what, *member)


def _texts(item: Item) -> Iterator[Found]:
    for key, text in {"label": item.label, "prompt": "" if item.prompt == item.label else item.prompt}.items():
        if len(text) > MAX_LABEL:
            yield key, f"the {key} has {len(text)} characters, and {MAX_LABEL} fit into a report: shorten it"
        if "\n" in text.strip():
            yield key, f"the {key} has to be one line"
    if "\n" in item.help.strip() or len(item.help) > MAX_HELP:
        yield "help", f"the help is one line of at most {MAX_HELP} characters ({len(item.help)} now): shorten it"
    yield from ((k, w) for k, w in _meaning("concept", item.concept))
    for member, name in enumerate(item.modalities):
        if name not in MODALITIES:
            yield "modality", f"'{name}' is no modality: {did_you_mean(name, MODALITIES)}", member


def _meaning(key: str, code: Code) -> Iterator[tuple[str, str]]:
    if not code.meaning.strip():
        yield key, f"the code {code.scheme} {code.value} has no meaning in sr_templates/codes.csv: give it one"
    elif len(code.meaning) > MAX_LABEL:
        yield key, f"the meaning '{code.meaning[:30]}…' is longer than {MAX_LABEL} characters: shorten it in codes.csv"


def _values(item: Item) -> Iterator[Found]:
    if item.type not in _CODED:
        if item.values:
            yield "values", f"an item of type {item.type.value} takes no values: make it 'code', or remove them"
        if item.extensible:
            yield "extensible", f"an item of type {item.type.value} takes any value: remove 'extensible'"
        return
    if not item.values and not item.extensible:
        yield "values", "a coded item needs values, or 'extensible: true'"
    codes: dict[tuple[str, str], str] = {}
    meanings: dict[str, str] = {}
    for member, (value, name) in enumerate(zip(item.values, item.value_keys, strict=True)):
        for key, what in _meaning("values", value):
            yield key, what, member
        pair, meaning = (value.scheme, value.value), value.meaning.casefold().strip()
        if pair in codes:
            yield "values", f"the value stands twice, as '{codes[pair]}' and as '{name}': remove one", member
        elif meaning and meaning in meanings:
            yield (
                "values",
                f"'{meanings[meaning]}' and '{name}' both read \"{value.meaning}\": nobody could tell them apart; remove one",
                member,
            )
        codes.setdefault(pair, name)
        meanings.setdefault(meaning, name)


def _number(item: Item) -> Iterator[Found]:
    if item.type is not ItemType.NUMBER:
        if item.unit is not None:
            yield "unit", "only a number has a unit: make it 'number', or remove it"
        if item.low is not None:
            yield "range", "only a number has a range: make it 'number', or remove it"
        return
    if item.unit is None:
        yield "unit", "a number needs a unit (u.no_units for a bare count)"
    for end in (item.low, item.high):
        if end is not None and end != round(end, item.decimals):
            yield (
                "range",
                f"the end {end} of the range has more digits than 'decimals: {item.decimals}' writes: raise 'decimals', or round it",
            )


def _unit(item: Item) -> Iterator[Found]:
    unit = item.unit
    if unit is None or item.type is not ItemType.NUMBER:
        return
    if unit.scheme != "UCUM":
        yield "unit", f"the unit '{unit.meaning}' is not a UCUM unit: units are the keys u.… of sr_templates/codes.csv"
        return
    if unit.value in {"{lesions}", "{nodes}", "{pixels}"} and item.decimals:
        yield "decimals", "a count is a whole number: write 'decimals: 0'"
    meaning = item.concept.meaning.casefold()
    fitting = next((units for words, units in _UNITS if re.search(words, meaning)), ())
    if fitting and unit.value not in fitting:
        yield (
            "unit",
            f"'{item.concept.meaning}' is not measured in '{unit.value}': use {' or '.join(fitting)}, or another concept",
        )


def _fill(item: Item) -> Iterator[Found]:
    needed = item.need is not Need.OPTIONAL
    if item.need is Need.CONDITIONAL and item.when is None:
        yield "need", "a conditional item needs 'when': say when it is needed, or make it essential or optional"
    if item.fill is Fill.AUTOMATIC and needed and not item.prefill and not item.derive:
        yield "fill", "the software has to fill it in, but neither 'prefill' nor 'derive' says from where: name one"
    if item.fill is Fill.DERIVED and not item.derive:
        yield "fill", "a derived item needs 'derive': name the function, or let a person answer it"
    if item.fill is Fill.DERIVED and item.prefill:
        yield "prefill", "a derived item follows from other answers alone: remove 'prefill', or 'fill: derived'"
    if item.fill is Fill.PERSON and needed and item.type in _NEVER_PERSONS:
        yield (
            "type",
            f"a person could not answer Not Evaluated to a {item.type.value}: fill it automatically, or make it optional",
        )
    if item.fill is Fill.SIGNING and item.scope is not Scope.REPORT:
        yield "scope", "who signs signs the report as a whole: remove the scope"
    if item.fill is Fill.ROW and item.type is not ItemType.CODE:
        yield "type", "the item that names the rows of a matrix is of type 'code'"


def _asked_about(item: Item) -> Iterator[Found]:
    if item.each and item.scope is not Scope.LESION:
        yield "each", f"'each' is about lesions, and this item is asked of a {item.scope.value}: remove it"


def _sources(item: Item, linted: Linted) -> Iterator[Found]:
    for member, name in enumerate(item.prefill):
        if name not in linted.names.prefill:
            yield "prefill", f"prefill '{name}' is not known: {did_you_mean(name, linted.names.prefill)}", member
    if item.derive and item.derive not in linted.names.derive:
        yield "derive", f"derive '{item.derive}' is not known: {did_you_mean(item.derive, linted.names.derive)}"
