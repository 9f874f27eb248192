"""Languages of the form: what a file says, what it lacks, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import TemplateError
from sr_templates import load_template
from sr_templates.language.labels import Language, language_names, load_language, missing_labels
from tests.unit.test_linter import FILES

GERMAN = """\
language: de
name: Deutsch
code: de-DE
labels:
  hd.indications: Indikation
  ctx.dx_status: Diagnose
prompts:
  Size: Größe
headings:
  hd.clin_info: Klinische Angaben
values:
  v.present: vorhanden
rules:
  SZ-axis: Keine Ausdehnung erreicht die lange Achse.
phrases:
  "Confirm all": Alle bestätigen
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {**FILES, "languages/de.yaml": GERMAN}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def change(folder: Path, old: str, new: str) -> None:
    file = folder / "languages" / "de.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_english_needs_no_file_and_lacks_nothing() -> None:
    english = load_language("en")
    assert (english.code, english.name, english.tag) == ("en", "English", "en")
    assert not any((english.labels, english.helps, english.prompts, english.values, english.rules, english.phrases))
    assert missing_labels(load_template("baseline"), english) == ()


def test_a_language_says_what_its_file_says(folder: Path) -> None:
    assert language_names(folder) == ("en", "de")
    german = load_language("de", folder)
    assert (german.code, german.name, german.tag) == ("de", "Deutsch", "de-DE")
    assert german.labels["ctx.dx_status"] == "Diagnose"
    assert german.prompts == {"Size": "Größe"}
    assert german.helps == {}
    assert german.phrases["Confirm all"] == "Alle bestätigen"


def test_what_a_language_lacks_is_listed_once(folder: Path) -> None:
    missing = missing_labels(load_template("sample", folder), load_language("de", folder))
    assert len(missing) == len(set(missing))
    for lacking in (
        "'labels' lacks 'hd.presentation' (\"Presenting symptom\")",
        "'helps' lacks 'hd.indications' (\"As the request words it.\")",
        "'prompts' lacks 'Vessel relations'",
        "'headings' lacks 'sec.tumour' (\"Tumor findings\")",
        "'values' lacks 'vr.abut'",
        "'rules' lacks 'SZ-small'",
    ):
        assert any(lacking in m for m in missing), (lacking, missing)
    for said in ("'hd.clin_info'", "'ctx.dx_status' ", "'Size'", "'v.present'", "'SZ-axis'"):
        assert not any(f"lacks {said}" in m for m in missing), said
    assert all(m.startswith("languages/de.yaml:1:1: ") for m in missing)


def test_a_whole_language_lacks_nothing(folder: Path) -> None:
    template = load_template("sample", folder)
    whole = Language(
        code="de",
        name="Deutsch",
        tag="de",
        labels={i.key: "x" for i in template},
        helps={i.key: "x" for i in template},
        prompts={i.prompt: "x" for i in template},
        headings={"hd.clin_info": "x", "sec.tumour": "x", "sec.vessels": "x"},
        values={k: "x" for i in template for k in i.value_keys},
        rules={r.key: "x" for r in template.rules},
    )
    assert missing_labels(template, whole) == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("language: de", "language: fr", "1:1: the language is called 'fr' in a file called 'de'"),
        ("code: de-DE", "code: German", "3:1: 'German' is no language of RFC 5646"),
        ("labels:", "lables:", "4:1: 'lables' is not known here: did you mean 'labels'?"),
        ("name: Deutsch\n", "", "1:1: 'name' is missing"),
        ("prompts:\n  Size: Größe", "prompts: [Größe]", "7:1: 'prompts' has to be a mapping"),
        ("Diagnose", "[Diagnose]", "6:3: 'ctx.dx_status' has to be a text"),
        ("Diagnose", "D" * 65, "6:3: 'ctx.dx_status' has 65 characters, and 64 fit"),
        ("ctx.dx_status:", "hd.indications:", "6:3: 'hd.indications' stands twice"),
        ("vorhanden", '""', "12:3: 'v.present' is empty"),
    ],
)
def test_a_fault_of_a_language_file_is_told_at_its_place(folder: Path, old: str, new: str, said: str) -> None:
    change(folder, old, new)
    with pytest.raises(TemplateError) as raised:
        load_language("de", folder)
    assert f"languages/de.yaml:{said}" in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_a_language_that_is_not_there_says_which_are(folder: Path) -> None:
    with pytest.raises(TemplateError, match="no language 'fr': known are en, de"):
        load_language("fr", folder)
    with pytest.raises(TemplateError, match="no language"):
        load_language("../sections/clinical", folder)
