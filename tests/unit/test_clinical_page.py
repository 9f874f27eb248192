"""The page of the clinical content: every item, row, rule and code of every template, in words that a radiologist reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from sr_templates import load_codes, load_template, template_names
from sr_templates.documentation import LITERATURE, markdown, said
from sr_templates.language.conditions import parse_condition
from sr_templates.language.source import read
from tests.helpers import ROOT
from tests.unit.test_linter import FILES

TEMPLATES = [load_template(name) for name in template_names()]
PAGE = markdown(TEMPLATES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("templates")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_every_item_stands_once_in_its_section() -> None:
    for item in {i.key: i for t in TEMPLATES for i in t}.values():
        rows = [line for line in PAGE.splitlines() if line.startswith(f"| {item.label}<br>`{item.key}` | ")]
        assert rows, item.key
        sections = {i.section for t in TEMPLATES for i in t if i.key == item.key}
        derived = int(bool(item.derive))
        retired = sum(i.key == item.key for t in TEMPLATES for i in t.retired)
        assert len(rows) in {len(sections) + d + r for d in (0, derived) for r in range(retired + 1)}, item.key


def test_every_row_rule_and_retired_item_is_on_the_page() -> None:
    for template in TEMPLATES:
        for rule in template.rules:
            assert f"| `{rule.key}` | " in PAGE
            assert rule.message.replace("|", "\\|") in PAGE
        for matrix in template.matrices:
            for row in matrix.rows:
                assert f"- {row.label} (`{row.key}`)" in PAGE
        for item in template.retired:
            assert f"| `{template.key}` | {item.label}<br>`{item.key}` |" in PAGE


def test_every_table_is_a_table() -> None:
    width = None
    for line in PAGE.splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = line.replace("\\|", "").count("|") - 1
        assert width in {None, cells}, line
        width = cells


def test_what_is_left_out_and_where_sources_disagree_is_said() -> None:
    assert "## What is left out" in PAGE
    assert "`ves.hemiazygos_v`" in PAGE
    entries = read((ROOT / "sr_templates" / LITERATURE).read_text(encoding="utf-8"), LITERATURE)["disagreements"]
    assert len(entries) == 12
    for entry in entries:
        assert set(entry) == {"topic", "says", "followed"}
        assert f"| {entry['topic']} | {entry['says']} | {entry['followed']} |" in PAGE


def test_codes_are_counted() -> None:
    assert f"has {len(list(load_codes()))} rows" in PAGE


def test_a_shared_item_says_where_it_is_not_asked(folder: Path) -> None:
    page = markdown([load_template(name, folder) for name in ("sample", "other")], folder)
    (row,) = (line for line in page.splitlines() if line.startswith("| Fat<br>`arc.fat`"))
    assert "Not in `other`." in row
    assert "What is left out" not in page


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arc.fat = v.present", '*Fat* is "Present"'),
        ("arc.fat not in [v.present, v.absent]", '*Fat* is not "Present" or "Absent"'),
        ("not (answered(arc.fat))", "not (*Fat* is answered)"),
        ("evaluated(sz.volume) and (arc.fat = v.absent or sz.volume > 3)", '*Volume* is answered and evaluated and (*Fat* is "Absent" or *Volume* > 3)'),
        ("ves.relation[ves.renal_v/right] = vr.none", 'of the right renal vein is "'),
        ("arc.fat_pct >= threshold.fat_fraction_percent", "*Part of fat* >= the setting `clinical.fat_fraction_percent`"),
        ("modality = CT and patient.age < 18", "the modality of the study is CT and the patient's age in years < 18"),
        ("answered(st.t)", "`st.t` (not in this template) is answered"),
    ],
)  # fmt: skip
def test_conditions_are_said_in_words(folder: Path, text: str, words: str) -> None:
    assert words in said(parse_condition(text), load_template("sample", folder))
