"""The walk-through of ``sr_templates/README.md``, done as it is written: edits, commands, and what comes of them."""

from __future__ import annotations

import io
import re
import shlex
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pydicom
import pytest

from service.flow.rules import broken_rules
from service.model.report import Answer, Provenance, Quantity, Report, Status
from service.sr.document import Envelope, document, to_bytes
from service.sr.encode import Presentation, encode
from service.sr.parse import parse
from service.sr.render import as_text
from sr_templates import Template, load_codes, load_template
from sr_templates.language.conditions import parse_condition, words
from sr_templates.language.schema import ITEM_KEYS, MATRIX_KEYS, RULE_KEYS
from sr_templates.language.source import read
from sr_templates.order import canonical
from sr_templates.questions import prompts
from tests import builders as b
from tests.commands import lms_sr
from tests.helpers import ROOT

README = (ROOT / "sr_templates" / "README.md").read_text(encoding="utf-8")
CODES = load_codes()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WALK = README[README.index("## Walk-through") : README.index("### Take it into use")]
NEW_FILE = re.compile(r"`my-templates/(sections/local\.yaml)`:\n\n```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def edited(folder: Path, diff: str) -> None:
    """Apply an edit as the page shows it: lines that go, lines that come, lines that stay."""
    head, *lines = diff.splitlines()
    file = folder / head.removeprefix("--- ")
    before = "".join(f"{line[1:]}\n" for line in lines if line[0] in " -")
    after = "".join(f"{line[1:]}\n" for line in lines if line[0] in " +")
    content = file.read_text(encoding="utf-8")
    assert content.count(before) == 1, f"{file.name} has {content.count(before)} places like\n{before}"
    file.write_text(content.replace(before, after), encoding="utf-8")


def said(folder: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a command of the page in ``folder`` and return what it says."""
    program, *arguments = shlex.split(command)
    if program == "cp":
        assert arguments[0] == "-r"
        shutil.copytree(ROOT / arguments[1], folder / arguments[2], ignore=shutil.ignore_patterns("__pycache__"))
        return ""
    assert program == "lms-sr"
    monkeypatch.chdir(folder)
    # each command is a process of its own for whoever follows the page
    load_template.cache_clear()
    done = lms_sr(*arguments)
    return done.out + done.err


@pytest.fixture
def walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Do the whole walk-through; every command says what the page says that it says."""
    steps = {m.start(): m for m in BLOCK.finditer(WALK)}
    files = {m.start(2): m for m in NEW_FILE.finditer(WALK)}
    done = []
    for found in steps.values():
        kind, block = found.groups()
        done.append(kind)
        if kind == "diff":
            edited(tmp_path, block)
        elif kind == "yaml":
            name = next(m.group(1) for m in files.values() if m.group(2) == block)
            (tmp_path / "my-templates" / name).write_text(block, encoding="utf-8")
        else:
            assert kind == "console"
            output = ""
            for line in block.splitlines():
                if line.startswith("$ "):
                    output = said(tmp_path, line.removeprefix("$ "), monkeypatch)
                else:
                    assert line in output, f"'{line}' is not in\n{output[:2000]}"
    assert done.count("console") >= 5
    assert done.count("diff") >= 5
    load_template.cache_clear()
    return tmp_path / "my-templates"


def answered(report: Report, template: Template, *answers: tuple[str, object]) -> Report:
    stated = tuple(
        Answer(
            item=item,
            values=(value,),  # type: ignore[arg-type]
            status=Status.CONFIRMED,
            provenance=Provenance.RADIOLOGIST,
            observer="Reader^One",
        )
        for item, value in answers
    )
    kept = tuple(a for a in report.answers if a.item not in {s.item for s in stated})
    return canonical(replace(report, answers=(*kept, *stated)), template)


def test_the_walk_changes_form_report_rules_and_what_is_read_back(walked: Path) -> None:
    template = load_template("baseline", walked)
    assert template.version == "2-local"
    draft = replace(b.report(), template_version=template.version)
    suspected = answered(draft, template, ("ctx.dx_status", CODES["ctx.dx_status.suspected"]))
    proven = answered(
        draft, template, ("ctx.dx_status", CODES["ctx.dx_status.biopsy"]), ("ctx.prior_tx", CODES["v.unknown"])
    )

    # the form asks once the diagnosis is called biopsy-proven, and right behind the clinical section
    assert "Needle gauge" not in [p.label for p in prompts(suspected, template)]
    asked = {p.label: p for p in prompts(proven, template)}
    assert asked["Needle gauge"].section == "local"
    (question,) = asked["Needle gauge"].questions
    assert question.item.help == "Of the biopsy that made the diagnosis."

    # the rule speaks until there is an answer
    assert "LOCAL-gauge" in {r.rule for r in broken_rules(proven, template)}
    full = answered(proven, template, ("op.needle_gauge", Quantity(number=Decimal(14), unit=CODES["u.no_units"])))
    assert "LOCAL-gauge" not in {r.rule for r in broken_rules(full, template)}

    # the SR has it under its heading, and reads back as the same report
    envelope = Envelope(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33",
        sop_instance_uid="2.25.1",
        series_instance_uid="2.25.2",
        series_number=1,
        series_description="LMS report",
        version=1,
        created_at=b.CREATED_AT,
    )
    root = encode(full, template, Presentation())
    ds = pydicom.dcmread(io.BytesIO(to_bytes(document(root, b.study(), envelope), b.study(), envelope)))
    section = next(c for c in ds.ContentSequence if c.ConceptNameCodeSequence[0].CodeMeaning == "History")
    assert "Needle Gauge" in {c.ConceptNameCodeSequence[0].CodeMeaning for c in section.ContentSequence}
    back = parse(ds, template)
    assert back == full
    assert "Unknown" in as_text(ds)


def test_the_example_of_a_section_is_one(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "sr_templates", tmp_path / "copy", ignore=shutil.ignore_patterns("__pycache__", "*.py"))
    example = next(m.group(2) for m in BLOCK.finditer(README) if m.group(2).startswith("section: example"))
    (tmp_path / "copy" / "sections" / "example.yaml").write_text(example, encoding="utf-8")
    file = tmp_path / "copy" / "leiomyosarcoma" / "baseline.yaml"
    file.write_text(file.read_text().replace("  - comparison\n", "  - example\n  - comparison\n"))
    assert load_template("baseline", tmp_path / "copy").item("op.needle_gauge") is not None


def test_the_example_of_a_matrix_is_one() -> None:
    example = next(m.group(2) for m in BLOCK.finditer(README) if m.group(2).startswith("matrices:"))
    (matrix,) = read(example, "README.md")["matrices"]
    assert set(matrix) == set(MATRIX_KEYS)
    assert len(matrix["rows"]) == 3


def test_every_key_of_an_item_and_of_a_rule_has_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \| \S", README, re.MULTILINE)
    assert rows == [*ITEM_KEYS, *RULE_KEYS]


def test_the_conditions_of_the_table_are_conditions() -> None:
    table = README[README.index("### Conditions") : README.index("**Nothing follows")]
    written = [
        text
        for cell in re.findall(r"^\| (`[^|]*) \|", table, re.MULTILINE)
        for text in re.findall(r"`([^`]*)`", cell)
        if "…" not in text
    ]
    assert len(written) > 9
    for text in written:
        assert words(parse_condition(text)) == text


def test_every_file_that_the_page_names_is_there() -> None:
    table = README[README.index("| File |") : README.index("After every change")]
    for name in re.findall(r"`([a-z]+\.(?:yaml|csv))`", table):
        assert (ROOT / "sr_templates" / name).is_file(), name
