"""``lms-sr template …``: what each command says of a folder of templates."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.cli.common import DONE, WRONG
from service.cli.files import Kind
from sr_templates import template_names
from sr_templates.language.schema import Kind as Files
from tests.commands import lms_sr
from tests.unit.test_labels import GERMAN
from tests.unit.test_linter import CLIN, FILES, TUM, plant


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {**FILES, "languages/de.yaml": GERMAN}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_lint_looks_at_all_or_at_those_that_are_named(folder: Path) -> None:
    assert lms_sr("template", "lint", "--folder", folder).out == "other, sample: no faults\n"
    assert lms_sr("template", "lint", "sample", "--folder", folder).out == "sample: no faults\n"
    assert lms_sr("template", "lint").out == f"{', '.join(template_names())}: no faults\n"


def test_lint_tells_a_fault_of_a_shared_section_once(folder: Path) -> None:
    plant(folder, CLIN, "type: text", "type: txet")
    plant(folder, TUM, "unit: u.mm", "unit: v.present")
    done = lms_sr("template", "lint", "--folder", folder)
    assert done.code == WRONG
    assert [line.split(":")[1].strip() for line in done.err.splitlines()] == [CLIN, TUM]
    as_json = lms_sr("template", "lint", "--folder", folder, "--json")
    assert as_json.code == WRONG
    assert [len(found) for found in as_json.data.values()] == [2, 2]


def test_lint_tells_what_a_language_lacks(folder: Path) -> None:
    done = lms_sr("template", "lint", "sample", "--folder", folder, "--language", "de")
    assert done.code == WRONG
    assert "languages/de.yaml:1:1: 'labels' lacks 'sz.volume' (\"Volume\")" in done.err
    assert lms_sr("template", "lint", "sample", "--folder", folder, "--language", "en").code == DONE
    unknown = lms_sr("template", "lint", "--folder", folder, "--language", "fr")
    assert unknown.code == WRONG
    assert "known are en, de" in unknown.err


def test_list_counts_items_and_rules(folder: Path) -> None:
    assert lms_sr("template", "list", "--folder", folder, "--json").data == [
        {"name": "other", "version": "1", "label": "Other", "items": 8, "rules": 2},
        {"name": "sample", "version": "1", "label": "Sample", "items": 13, "rules": 3},
    ]


def test_show_has_items_and_rules(folder: Path) -> None:
    shown = lms_sr("template", "show", "sample", "--folder", folder).out
    assert "ves.contact_angle  conditional" in shown
    assert "rule SZ-axis (warning): No extent reaches the long axis" in shown


def test_docs_put_templates_on_one_page(folder: Path) -> None:
    page = lms_sr("template", "docs", "--folder", folder).out
    assert page.count("## Clinical Information") == 1
    assert "Section `clinical` of `other`, `sample`." in page
    assert lms_sr("template", "docs", "sample", "--folder", folder, "--json").data["templates"] == ["sample"]


@pytest.mark.parametrize("kind", Kind)
def test_schema_prints_each(kind: Kind) -> None:
    assert json.loads(lms_sr("template", "schema", kind.value).out)["title"] == f"LMS-SR {kind.value} file"


def test_the_command_knows_every_schema() -> None:
    assert [k.value for k in Kind] == [k.value for k in Files]
    assert lms_sr("template", "schema", "sektion").code == WRONG


@pytest.mark.parametrize("command", ["lint", "docs", "show"])
def test_a_template_that_is_not_there_says_which_are(folder: Path, command: str) -> None:
    done = lms_sr("template", command, "simple", "--folder", folder)
    assert done.code == WRONG
    assert "simple" in done.err
    assert "sample" in done.err
