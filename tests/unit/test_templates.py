"""The templates, their codes and the linter."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from pydicom.sr._concepts_dict import concepts

from service.errors import TemplateError
from service.flow.prefill import SOURCES
from service.model.report import Scope
from sr_templates import Need, load_codes, load_template, template_names
from sr_templates.documentation import markdown
from sr_templates.language.linter import lint

DATA = Path(__file__).parent.parent / "data"
PACKAGE = Path(__file__).parent.parent.parent / "sr_templates"


def test_the_shipped_templates_are_sound():
    assert template_names() == ("baseline",)
    assert lint("baseline", sources=SOURCES) == ()


def test_every_essential_item_of_the_content_is_in_the_baseline():
    with (DATA / "items_essential.csv").open(newline="") as file:
        wanted = {row["key"]: row for row in csv.DictReader(file)}
    found = {item.key: item for item in load_template("baseline") if item.need is Need.ESSENTIAL}
    assert len(wanted) == 84
    assert set(found) == set(wanted)
    for key, row in wanted.items():
        modalities = () if row["modality"] == "all" else tuple(row["modality"].split())
        assert found[key].modalities == modalities, key


def test_every_public_code_that_pydicom_knows_means_what_we_say():
    differing = []
    for row in load_codes():
        known = {
            value: meaning[0]
            for entries in concepts.get(row.code.scheme, {}).values()
            for value, meaning in entries.items()
        }
        if row.code.value in known and row.code.scheme in {"DCM", "UCUM"}:
            ours, theirs = row.code.meaning.casefold(), known[row.code.value].casefold()
            if ours != theirs and ours not in theirs and theirs not in ours:
                differing.append((row.key, row.code.meaning, known[row.code.value]))
    assert differing == []


def test_codes_fit_their_value_representations():
    for row in load_codes():
        assert 0 < len(row.code.value) <= 16, row.key
        assert 0 < len(row.code.scheme) <= 16, row.key
        assert 0 < len(row.code.meaning) <= 64, row.key
        assert row.status in {"verified", "private", "unverified"}, row.key
        assert (row.status == "private") == (row.code.scheme == "99LMSSR"), row.key


def test_private_codes_are_unambiguous():
    values = [r.code.value for r in load_codes() if r.status == "private"]
    assert len(values) == len(set(values))


def test_an_unverified_code_is_refused():
    with pytest.raises(TemplateError, match="not verified"):
        load_codes()["gr.r1"]


def test_every_item_that_is_not_open_to_all_values_lists_some():
    for item in load_template("baseline"):
        if item.scope is not Scope.REPORT:
            continue
        assert item.label


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("leiomyosarcoma", "sections"):
        shutil.copytree(PACKAGE / name, tmp_path / name)
    return tmp_path


FAULTS = [
    ("growth pattern of no code", "tumour", "[gp.extra,", "[gp.extra, gp.unheard_of,", "'gp.unheard_of' is not in"),
    ("misspelt key", "tumour", "    type: number\n", "    tpye: number\n", "did you mean 'type'"),
    ("unknown type", "tumour", "type: number", "type: nummer", "'nummer' is no type"),
    ("unknown need", "tumour", "need: essential", "need: urgent", "'urgent' is no need"),
    ("unknown scope", "tumour", "scope: lesion", "scope: tumor", "'tumor' is no scope"),
    ("unit that is none", "tumour", "unit: u.mm\n", "unit: v.yes\n", "not a UCUM unit"),
    ("number without unit", "tumour", "    unit: u.percent\n", "", "needs a unit"),
    ("range upside down", "tumour", "range: [1, 500]", "range: [500, 1]", "the lower first"),
    ("prefill that nobody wrote", "tumour", "[laterality]", "[side]", "prefill 'side' is not known"),
    ("value twice", "tumour", "[v.right, v.left", "[v.right, v.right", "stands twice"),
    ("key twice in one mapping", "tumour", "    need: essential\n", "    need: essential\n    need: optional\n", "stands twice"),
    ("mapping where a list belongs", "tumour", "prefill: [laterality]", "prefill: {laterality: 1}", "list of texts"),
    ("condition on nothing", "differential", "item: ctx.dx_status", "item: ctx.nothing", "does not have"),
    ("condition that can never hold", "differential", "ctx.dx_status.biopsy", "v.mild", "can never hold"),
    ("condition that says nothing", "differential", ", none_of: [ctx.dx_status.biopsy, ctx.dx_status.resected]", "", "says nothing"),
    ("section of another name", "tumour", "section: tumour", "section: tumor", "in a file called 'tumour'"),
    ("unknown heading", "tumour", "heading: sec.tumour", "heading: sec.unknown", "'sec.unknown' is not in"),
    ("no YAML", "tumour", "section: tumour", "section: [", "no YAML"),
    ("flag that is no truth", "technique", "extensible: true", "extensible: maybe", "true or false"),
    ("decimals that are no number", "technique", "decimals: 0", "decimals: few", "whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("section", "old", "new", "said"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_the_linter_finds(folder, section, old, new, said):
    file = folder / "sections" / f"{section}.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    problems = lint("baseline", sources=SOURCES, folder=folder)
    assert any(said in p for p in problems), problems
    assert all("sections/" in p for p in problems), problems


def test_a_fault_names_file_line_and_column(folder):
    file = folder / "sections" / "clinical.yaml"
    file.write_text(file.read_text().replace("type: text", "type: novel", 1))
    (problem,) = lint("baseline", sources=SOURCES, folder=folder)
    line = next(n for n, text in enumerate(file.read_text().splitlines(), start=1) if "novel" in text)
    assert problem.startswith(f"sections/clinical.yaml:{line}:5: ")


def test_the_same_concept_twice_in_one_scope_is_refused(folder):
    file = folder / "sections" / "vessels.yaml"
    file.write_text(
        file.read_text() + '  - key: "ves.origin#again"\n    label: Again\n    type: text\n    need: optional\n'
    )
    assert any("same concept in the same scope" in p for p in lint("baseline", sources=SOURCES, folder=folder))


def test_a_missing_section_is_named(folder):
    (folder / "sections" / "vessels.yaml").unlink()
    assert any("section 'vessels'" in p for p in lint("baseline", sources=SOURCES, folder=folder))


def test_an_unknown_template_says_which_there_are():
    with pytest.raises(TemplateError, match=r"there are: baseline\.yaml"):
        load_template("surveilance")


def test_a_broken_template_does_not_load(folder):
    file = folder / "sections" / "clinical.yaml"
    file.write_text(file.read_text().replace("type: text", "type: novel", 1))
    with pytest.raises(TemplateError, match="novel"):
        load_template("baseline", folder)


def test_the_clinical_page_is_generated_from_the_template():
    page = (PACKAGE.parent / "docs" / "clinical.md").read_text(encoding="utf-8")
    assert page == markdown(load_template("baseline")), "run: lms-sr template docs > docs/clinical.md"
