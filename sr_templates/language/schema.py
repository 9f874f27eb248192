"""JSON Schemas of the template files, for editors: completion of keys and codes, and a first look at what is wrong.

The linter is the judge; a schema knows one file at a time. ``lms-sr template schema KIND`` prints one; those of the shipped version lie
in ``sr_templates/schema/``.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from service.model.report import Scope
from sr_templates.codes import load_codes
from sr_templates.language.evidence import Mark
from sr_templates.language.faults import MAX_HELP, MAX_LABEL, MAX_MESSAGE, MODALITIES, Registered
from sr_templates.language.values import Fill, ItemType, Need

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]
"""A JSON Schema, or a part of one."""


class Kind(enum.StrEnum):
    """The files that there are."""

    SECTION = "section"
    TEMPLATE = "template"
    RETIRED = "retired"
    LANGUAGE = "language"
    DIFFERENTIAL = "differential"


ITEM_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "key": "Name of the item, unique in a template. Without `concept` it is the key of the concept's code, too.",
        "label": "What a reader calls it, in a few words.",
        "concept": "Key of the concept's code; `#word` behind it tells two uses of one concept apart. By default the item's key.",
        "type": "What kind of value answers it.",
        "scope": "What it is asked about: the report as a whole, each series, lesion, vessel …. By default the report.",
        "need": "essential: in every report; conditional: while `when` holds; optional: never counted as open.",
        "fill": "Who answers it: a person (by default), the software, other answers, a row of a matrix, the signature.",
        "values": "Keys of the codes that may be chosen. Not Evaluated, with a reason, may always be chosen.",
        "extensible": "Other codes than `values` may be given (a site's own procedure code, say).",
        "unit": "Key of the unit of a number (u.…); u.no_units for a bare count or score.",
        "range": "Least and greatest number that is plausible: [1, 500]. A number outside is told, not refused.",
        "decimals": "Digits behind the decimal point that are written. By default 1.",
        "max_length": "Longest text, in characters. By default 1024.",
        "many": "Several answers may stand beside each other.",
        "each": "Asked of every lesion, not of the index tumour alone.",
        "rows": "Keys of the rows of the matrix that it is asked about. By default all.",
        "modality": "Modalities whose studies can answer it. By default all.",
        "when": "Condition under which it is needed (of an optional item: under which the form shows it).",
        "prompt": "Items with the same prompt are asked together and counted once. By default the label.",
        "prefill": "Names of sources of a proposal, tried in order.",
        "derive": "Name of the function that computes it from other answers (fill: derived), or proposes it to a person.",
        "help": "One line for the radiologist.",
        "cite": "Where it comes from: paper, guideline, clause.",
    }
)
"""Every key of an item, with its meaning, in the order in which they are written."""

MATRIX_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "scope": "What the rows are: vessel, organ, node, metastasis, candidate.",
        "prompt": "The whole matrix is asked together under this name.",
        "item": "Key of the item with `fill: row`, whose values are the structures that may stand in a row.",
        "rows": "Structures that every report says something about; a side behind a stroke; `{row: …, when: …}` with a condition.",
    }
)
RULE_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "rule": "Name of the rule, unique in a template.",
        "scope": "Whose answers are looked at together: one lesion's, one vessel's …. By default the report's.",
        "when": "Condition under which the rule applies; without it, always.",
        "require": "Condition that has to hold there.",
        "check": "Instead of `require`: name of a function of the software.",
        "warning": "true: a reader may sign over it. By default the rule has to be kept.",
        "message": "What the radiologist reads where it is broken, with the way out.",
        "cite": "Where it comes from.",
    }
)
SECTION_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "section": "Name of the section: that of its file.",
        "heading": "Key of the code of its heading.",
        "matrices": "Structures times questions.",
        "items": "The questions, in reading order.",
        "rules": "What the answers have to say together.",
    }
)
TEMPLATE_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "template": "Name of the template: that of its file.",
        "version": 'Version of its content, between quotation marks: "2".',
        "label": "What it is called in lists.",
        "title": "Key of the code of the document's title.",
        "sections": "Names of its sections, in reading order.",
        "without": "Keys of items of these sections that this template leaves out.",
    }
)
_LANGUAGE_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "labels": "Key of an item to its label.",
        "helps": "Key of an item to its line of help.",
        "prompts": "English prompt to prompt.",
        "headings": "Key of a heading's code to heading.",
        "values": "Key of a value's code to value.",
        "rules": "Key of a rule to its message.",
        "phrases": "English phrase of the form and the report to phrase.",
        "notes": "What the software notes in English, with {1} for what changes, to what it says.",
        "uncertain": "What stays in English (labels/KEY), and why.",
    }
)


def schema(kind: Kind, names: Registered) -> str:
    """Return the JSON Schema of one kind of file as text that ends with a line end.

    Parameters
    ----------
    kind:
        Which file.
    names:
        Names of functions that a template may use.
    """
    made = {
        Kind.SECTION: _section,
        Kind.TEMPLATE: _template,
        Kind.RETIRED: _retired,
        Kind.LANGUAGE: _language,
        Kind.DIFFERENTIAL: _differential,
    }[kind](names)
    top = {"$schema": _DIALECT, "title": f"LMS-SR {kind.value} file", **made}
    return json.dumps(top, ensure_ascii=False, indent=1) + "\n"


def _object(properties: Mapping[str, Schema], required: Iterable[str], described: Mapping[str, str]) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {k: ({"description": described[k]} if k in described else {}) | v for k, v in properties.items()},
    }


def _text(longest: int) -> Schema:
    return {"type": ["string", "number"], "maxLength": longest, "minLength": 1}


def _one_of(members: Iterable[str]) -> Schema:
    return {"enum": [str(m) for m in members]}


def _list(of: Schema) -> Schema:
    """Return a list, or one member in its place."""
    return {"anyOf": [of, {"type": "array", "items": of, "uniqueItems": True}]}


_CODE: Schema = {"$ref": "#/$defs/code"}
_CONDITION: Schema = {"type": "string", "minLength": 1, "maxLength": 2000}
_NAME: Schema = {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}
_KEY: Schema = {"type": "string", "minLength": 1}


def _codes() -> Schema:
    keys = [r.key for r in load_codes() if r.status != "unverified"]
    return {"code": {"anyOf": [{"enum": keys}, {"type": "string", "pattern": "^[^#]+#\\w+$"}]}}


def _item(names: Registered) -> Schema:
    number = {"type": "number"}
    properties: dict[str, Schema] = {
        "key": _KEY,
        "label": _text(MAX_LABEL),
        "concept": _CODE,
        "type": _one_of(ItemType),
        "scope": _one_of(Scope),
        "need": _one_of(Need),
        "fill": _one_of(Fill),
        "values": _list(_CODE),
        "extensible": {"type": "boolean"},
        "unit": _one_of(r.key for r in load_codes() if r.code.scheme == "UCUM"),
        "range": {"type": "array", "items": number, "minItems": 2, "maxItems": 2},
        "decimals": {"type": "integer", "minimum": 0, "maximum": 6},
        "max_length": {"type": "integer", "minimum": 1, "maximum": 10240},
        "many": {"type": "boolean"},
        "each": {"type": "boolean"},
        "rows": _list(_KEY),
        "modality": _list(_one_of(MODALITIES)),
        "when": _CONDITION,
        "prompt": _text(MAX_LABEL),
        "prefill": _list(_one_of(sorted(names.prefill))),
        "derive": _one_of(sorted(names.derive)),
        "help": _text(MAX_HELP),
        "cite": _text(MAX_MESSAGE),
    }
    found = _object(properties, ("key", "label", "type", "need"), ITEM_KEYS)
    is_number = {"properties": {"type": {"const": ItemType.NUMBER.value}}, "required": ["type"]}
    is_conditional = {"properties": {"need": {"const": Need.CONDITIONAL.value}}, "required": ["need"]}
    is_derived = {"properties": {"fill": {"const": Fill.DERIVED.value}}, "required": ["fill"]}
    found["allOf"] = [
        {"if": is_number, "then": {"required": ["unit"]}, "else": {"not": {"required": ["unit"]}}},
        {"if": is_conditional, "then": {"required": ["when"]}},
        {"if": is_derived, "then": {"required": ["derive"]}},
    ]
    return found


def _section(names: Registered) -> Schema:
    row = {"anyOf": [_KEY, _object({"row": _KEY, "when": _CONDITION}, ("row",), {})]}
    structures = [s for s in Scope if s not in {Scope.REPORT, Scope.SERIES, Scope.LESION}]
    matrix = _object(
        {
            "scope": _one_of(structures),
            "prompt": _text(MAX_LABEL),
            "item": _KEY,
            "rows": {"type": "array", "items": row, "uniqueItems": True},
        },
        ("scope", "prompt", "item"),
        MATRIX_KEYS,
    )
    rule = _object(
        {
            "rule": _KEY,
            "scope": _one_of(Scope),
            "when": _CONDITION,
            "require": _CONDITION,
            "check": _one_of(sorted(names.check)),
            "warning": {"type": "boolean"},
            "message": _text(MAX_MESSAGE),
            "cite": _text(MAX_MESSAGE),
        },
        ("rule", "message"),
        RULE_KEYS,
    )
    rule["oneOf"] = [{"required": ["require"]}, {"required": ["check"]}]
    made = _object(
        {
            "section": _NAME,
            "heading": _CODE,
            "matrices": {"type": "array", "items": matrix},
            "items": {"type": "array", "items": {"$ref": "#/$defs/item"}, "minItems": 1},
            "rules": {"type": "array", "items": rule},
        },
        ("section", "heading", "items"),
        SECTION_KEYS,
    )
    return made | {"$defs": _codes() | {"item": _item(names)}}


def _template(_: Registered) -> Schema:
    return _object(
        {
            "template": _NAME,
            "version": _text(16),
            "label": _text(MAX_HELP),
            "title": _one_of(r.key for r in load_codes() if r.key.startswith("tid.title.")),
            "sections": {"type": "array", "items": _NAME, "minItems": 1, "uniqueItems": True},
            "without": {"type": "array", "items": _KEY, "uniqueItems": True},
        },
        ("template", "version", "label", "title", "sections"),
        TEMPLATE_KEYS,
    )


def _retired(names: Registered) -> Schema:
    return {
        "type": "object",
        "propertyNames": _NAME,
        "additionalProperties": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "$defs": _codes() | {"item": _item(names)},
    }


def _language(_: Registered) -> Schema:
    limits = {"helps": MAX_HELP, "uncertain": MAX_HELP} | dict.fromkeys(("rules", "phrases", "notes"), MAX_MESSAGE)
    tables: dict[str, Schema] = {
        k: {"type": "object", "additionalProperties": _text(limits.get(k, MAX_LABEL))} for k in _LANGUAGE_KEYS
    }
    described = {"language": "Name of the language: that of its file.", "code": "RFC 5646: de, de-DE."}
    first: dict[str, Schema] = {
        "language": {"type": "string", "pattern": "^[a-z]{2,3}$"},
        "name": _text(MAX_LABEL),
        "code": {"type": "string", "pattern": "^[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?$"},
    }
    return _object(first | tables, first, {**described, **_LANGUAGE_KEYS})


def _differential(_: Registered) -> Schema:
    finding = _object(
        {
            "finding": _text(120),
            "of": _one_of(Scope),
            "when": _CONDITION,
            "ask": {"const": True},
            "feature": _CODE,
        },
        ("finding",),
        {
            "finding": "The finding in a few words.",
            "of": "Asked about one subject of this scope at a time, and there if it is so for one.",
            "when": "Condition that says that it is there.",
            "ask": "true: no item records it, so a reader is asked to look.",
            "feature": "Key of the value of `dd.feature` that says it.",
        },
    )
    finding["oneOf"] = [{"required": ["when"]}, {"required": ["ask"]}]
    candidate = _object(
        {
            "candidate": _CODE,
            "label": _text(128),
            "mark": _one_of(Mark),
            "cite": _text(1024),
            "for": {"type": "array", "items": finding, "minItems": 1},
            "against": {"type": "array", "items": finding},
        },
        ("candidate", "mark", "cite", "for"),
        {
            "candidate": "Key of the diagnosis's code, a value of `dd`.",
            "mark": "V: read in public material; G: general knowledge; V/G: some of each.",
            "for": "Findings that favour it.",
            "against": "Findings that argue against it.",
        },
    )
    made = _object({"candidates": {"type": "array", "items": candidate}}, ("candidates",), {})
    return made | {"$defs": _codes()}
