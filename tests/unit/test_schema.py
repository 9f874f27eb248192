"""The schemas that editors use: generated, taken by every shipped file, and refusing what a file alone can have wrong."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from service.flow.registered import registered
from sr_templates.language import loader
from sr_templates.language.schema import ITEM_KEYS, Kind, schema
from sr_templates.language.source import read
from tests.helpers import ROOT
from tests.unit.test_linter import CLIN, CLINICAL, FILES, FORM, MEANING, RETIRED, SAMPLE, TOP, TUM, TUMOUR, VES, VESSELS

PACKAGE = ROOT / "sr_templates"
NAMES = registered()
SHIPPED = {
    Kind.SECTION: sorted((PACKAGE / "sections").glob("*.yaml")),
    Kind.TEMPLATE: sorted((PACKAGE / "leiomyosarcoma").glob("*.yaml")),
    Kind.RETIRED: sorted(PACKAGE.glob("retired.yaml")),
    Kind.LANGUAGE: sorted((PACKAGE / "languages").glob("*.yaml")),
    Kind.DIFFERENTIAL: sorted(PACKAGE.glob("differential.yaml")),
}
GERMAN = 'language: de\nname: Deutsch\ncode: de-DE\nlabels: {gp: Wachstumsmuster}\nphrases: {"Confirm all": "Alle bestätigen"}\n'


def validator(kind: Kind) -> jsonschema.Draft202012Validator:
    made = json.loads(schema(kind, NAMES))
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


VALIDATORS = {kind: validator(kind) for kind in Kind}


def faults(kind: Kind, text: str) -> list[str]:
    content: Any = json.loads(json.dumps(read(text, "file.yaml")))
    return [error.message for error in VALIDATORS[kind].iter_errors(content)]


@pytest.mark.parametrize("kind", Kind)
def test_the_schemas_beside_the_templates_are_fresh(kind: Kind) -> None:
    file = PACKAGE / "schema" / f"{kind}.schema.json"
    assert file.read_text(encoding="utf-8") == schema(kind, NAMES), f"run: lms-sr template schema {kind} > {file}"


def test_there_is_no_schema_that_nothing_makes() -> None:
    assert {f.name for f in (PACKAGE / "schema").iterdir()} == {f"{kind}.schema.json" for kind in Kind}


@pytest.mark.parametrize(
    ("kind", "file"), [(k, f) for k, files in SHIPPED.items() for f in files], ids=lambda v: getattr(v, "name", str(v))
)
def test_every_shipped_file_is_taken(kind: Kind, file) -> None:
    assert faults(kind, file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.SECTION, CLINICAL),
        (Kind.SECTION, TUMOUR),
        (Kind.SECTION, VESSELS),
        (Kind.TEMPLATE, SAMPLE),
        (Kind.RETIRED, RETIRED),
        (Kind.LANGUAGE, GERMAN),
    ],
)
def test_what_the_linter_takes_is_taken(kind: Kind, text: str) -> None:
    assert faults(kind, text) == []


#: what shows in one file without the codes' kinds, the other files, or arithmetic
PLANTED = [
    *(
        FORM[k]
        for k in (
            "key that does not exist", "type that does not exist", "need that does not exist", "scope that does not exist",
            "fill that does not exist", "code that does not exist", "code that is not verified", "heading that does not exist",
            "title that does not exist", "unit that does not exist", "value twice", "range of words", "decimals that are no number",
            "more decimals than a number has", "flag that is no truth", "list where one word belongs", "mapping where a list belongs",
            "items that are no list", "label that is missing", "section without items", "section that climbs out",
            "template without version", "template without sections", "key of a row that does not exist", "rule without a message",
        )
    ),
    *(
        MEANING[k]
        for k in (
            "number without unit", "unit that is not UCUM", "unit of a text", "modality that does not exist",
            "label that does not fit", "help that is a chapter", "prefill that nobody wrote", "derivation that nobody wrote",
            "check that nobody wrote", "conditional without when", "derived without derive",
        )
    ),
]  # fmt: skip
KINDS = {CLIN: Kind.SECTION, TUM: Kind.SECTION, VES: Kind.SECTION, TOP: Kind.TEMPLATE}


@pytest.mark.parametrize("planted", PLANTED, ids=lambda p: p.said)
def test_a_fault_of_one_file_is_refused(planted) -> None:
    assert faults(KINDS[planted.file], FILES[planted.file].replace(planted.old, planted.new, 1)) != []


@pytest.mark.parametrize(
    "text",
    [
        GERMAN.replace("de-DE", "German"),
        GERMAN.replace("labels:", "lables:"),
        GERMAN.replace("{gp: Wachstumsmuster}", "[gp]"),
        GERMAN.replace("name: Deutsch\n", ""),
    ],
)
def test_a_language_file_with_a_fault_is_refused(text: str) -> None:
    assert faults(Kind.LANGUAGE, text) != []


@pytest.mark.parametrize(
    "finding",
    ['{finding: "fat"}', '{finding: "fat", when: "a = b", ask: true}', "{when: answered(gp)}", "{finding: f, ask: no}"],
)
def test_a_finding_is_recorded_or_asked_for(finding: str) -> None:
    text = f"candidates:\n  - {{candidate: dd.wdlps, mark: V, cite: x, for: [{finding}]}}\n"
    assert faults(Kind.DIFFERENTIAL, text) != []


def test_every_key_that_the_loader_takes_is_in_the_schema() -> None:
    properties = json.loads(schema(Kind.SECTION, NAMES))["$defs"]["item"]["properties"]
    assert tuple(properties) == tuple(ITEM_KEYS)
    assert all(p["description"] for p in properties.values())
    assert tuple(ITEM_KEYS) == loader.ITEM_KEYS
