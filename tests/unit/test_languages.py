"""German as proof of the languages: nothing is left out, nothing is said twice, the SR says its language and keeps the standard's English."""

from __future__ import annotations

import datetime as dt
import io
import random
import re
from collections import defaultdict
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import pydicom
import pytest
from pydicom.dataset import Dataset

from service.errors import TemplateError
from service.flow.lifecycle import State
from service.flow.objects import content, extras
from service.flow.produce import Options, Produced, Rendition, produce, reproduce
from service.model.code import Code
from service.model.report import Provenance, Report, Scope, Status, Subject
from service.model.report_json import from_json
from service.model.signing import Person, Signature
from service.page.assemble import captions, page_content, whence
from service.page.content import Captions, PageContent
from service.page.hypertext import web_page
from service.page.pdf import page
from service.page.pictures import KeyImages
from service.settings import Reports
from service.sr import words
from service.sr.parse import parse
from service.sr.phrases import ENGLISH, Phrase, Wording, wording
from service.sr.tree import children, concept, pair, text
from sr_templates import Template, load_codes, load_template, template_names
from sr_templates.documentation import markdown
from sr_templates.language.labels import Language, language_names, load_language, missing_labels, places
from sr_templates.questions import completeness
from tests import builders as b
from tests import pages as p
from tests.commands import lms_sr
from tests.filled import asked, confirmed
from tests.helpers import ROOT

CODES = load_codes()
TEMPLATES = [load_template(name) for name in template_names()]
GERMAN = wording("de")
DE = GERMAN.language
SIGNATURE = Signature(
    person=Person(name="Weber^Anna", organisation="Klinikum"), at=dt.datetime(2026, 3, 2, 13, 5, tzinfo=dt.UTC)
)
LANGUAGE, ORIGINAL, COMMENT = (pair(CODES[k]) for k in ("tid.language", "rep.original", "tid.comment"))


def dataset(rendition: Rendition) -> Dataset:
    return pydicom.dcmread(io.BytesIO(rendition.part10))


def whole(name: str, language: str, *, signed: bool = False) -> Produced:
    """Return a report of a template with every question answered."""
    options = replace(b.OPTIONS, template=name, language=language)
    draft = produce(b.study(), (b.tumour(),), None, options).report
    report = asked(draft, load_template(name), random.Random(7), person="Weber^Anna")
    return reproduce(
        confirmed(report, "Weber^Anna") if signed else report,
        b.study(),
        options,
        state=State.SIGNED if signed else State.DRAFT,
        signature=SIGNATURE if signed else None,
    )


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a German report of real images."""
    out = tmp_path_factory.mktemp("german")
    done = lms_sr("compose", ROOT / "tests" / "data" / "sts_002", "--out", out, "--language", "de")
    assert done.code == 0, done.err
    return out


def drafted(language: str) -> Produced:
    """Return the draft of a study in a language."""
    return produce(b.study(), (b.tumour(),), None, replace(b.OPTIONS, language=language))


def texts(ds: Dataset) -> list[str]:
    found = [text(ds)] if ds.get("ValueType") == "TEXT" else []
    return [*found, *(t for c in children(ds) for t in texts(c))]


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.key)
@pytest.mark.parametrize("code", language_names())
def test_every_label_is_translated_or_called_uncertain(template: Template, code: str) -> None:
    assert missing_labels(template, load_language(code)) == ()


def test_what_is_uncertain_is_asked_and_is_on_the_clinical_page() -> None:
    items = {i.key: i for t in TEMPLATES for i in t}
    known = {
        "labels": items.keys(),
        "helps": items.keys(),
        "values": {k for i in items.values() for k in i.value_keys},
    }
    shown = markdown(TEMPLATES)
    for name, why in DE.uncertain.items():
        table, _, key = name.partition("/")
        assert key in known[table], name
        assert f"| Deutsch | `{name}` | " in shown
        assert f" | {why} |" in shown


@pytest.mark.parametrize("table", ["labels", "helps", "prompts", "rules", "values", "headings"])
def test_nothing_is_translated_that_nobody_asks(table: str) -> None:
    items = [i for t in TEMPLATES for i in t]
    asked_of = {
        "labels": {i.key for i in items},
        "helps": {i.key for i in items if i.help},
        "prompts": {i.prompt for i in items} | {m.prompt for t in TEMPLATES for m in t.matrices},
        "rules": {r.key for t in TEMPLATES for r in t.rules},
        # what the software itself says: derivations and reasons for a missing number
        "values": {k for i in items for k in i.value_keys}
        | {r.key for r in CODES if r.key.startswith(("deriv.", "nq."))},
        "headings": {CODES.key_of(s.heading) for t in TEMPLATES for s in t.sections}
        | {CODES.key_of(t.title) for t in TEMPLATES},
    }
    assert set(getattr(DE, table)) - asked_of[table] == set()


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.key)
def test_the_values_of_an_item_are_told_apart(template: Template) -> None:
    for item in template:
        said = [DE.values.get(k, v.meaning) for k, v in zip(item.value_keys, item.values, strict=True)]
        assert len({s.casefold() for s in said}) == len(said), item.key


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda t: t.key)
def test_the_items_of_a_section_and_the_prompts_are_told_apart(template: Template) -> None:
    for section in template.sections:
        said = [GERMAN.label(i) for i in section.items]
        assert len(set(said)) == len({i.label for i in section.items}), section.key
    prompts = {i.prompt for i in template}
    assert len({GERMAN.prompt(q, template) for q in prompts}) == len(prompts)


def test_a_code_means_the_same_whatever_key_it_has() -> None:
    said = defaultdict(set)
    for key, value in DE.values.items():
        said[pair(CODES[key])].add(value)
    assert {k: v for k, v in said.items() if len(v) > 1} == {}


def test_every_phrase_is_there_and_no_other() -> None:
    assert set(DE.phrases) == {str(q) for q in Phrase}
    assert all(places(q) is not None for q in Phrase)


@pytest.mark.parametrize("said", [ENGLISH, GERMAN], ids=["en", "de"])
def test_a_proposals_origin_begins_with_the_word(said: Wording) -> None:
    # the layouts tell proposals by it
    begins = said.say(Phrase.PROPOSED)
    assert said.say(Phrase.PROPOSED_UNCONFIRMED, whence="x").startswith(begins)
    stated = p.answer("tid.finding", "x", status=Status.CONFIRMED, provenance=Provenance.RADIOLOGIST)
    for provenance in Provenance:
        assert not whence(replace(stated, provenance=provenance), said).startswith(begins)
        assert not said.whence(provenance).startswith(begins)


def test_settings_and_files_know_the_same_languages() -> None:
    assert get_args(Reports.model_fields["language"].annotation) == language_names()
    assert Reports().language == "en"


def test_a_language_without_a_code_cannot_be_said() -> None:
    with pytest.raises(TemplateError, match="no row of RFC5646 for 'fr-FR'"):
        _ = Wording(Language(code="fr", name="Français", tag="fr-FR")).code


# --- words -----------------------------------------------------------------------------------------------------------


def test_a_draft_in_german() -> None:
    report = b.report(None, b.tumour())
    said = words.summary(report, completeness(report, load_template("baseline")), draft=True, wording=GERMAN)
    assert said.startswith(
        "ENTWURF, NICHT FREIGEGEBEN. Segmentiert: Raumforderung rechts, LMS-T1: 134 x 112 x 87 mm (kk x tr x ap), 684 mL "
        "(vorgeschlagen aus der Segmentierung). "
    )
    assert re.search(r" \d+ von \d+ wesentlichen Angaben sind offen\.$", said)
    (lesion,) = report.subjects_of(Scope.LESION)
    comment = words.lesion_comment(report, lesion, GERMAN)
    assert comment.startswith("LMS-T1, vorgeschlagen aus der Segmentierung")
    assert ", nicht bestätigt: Raumforderung, rechts · Lange Achse: " in comment
    assert "Ausdehnung (kk x tr x ap): 134 x 112 x 87 mm · Volumen: 684 mL (" in comment
    assert "Mittlere Dichte: 61 HU, SD 24 (portalvenöse Phase) · Anteil unter 30 HU: 22 %" in comment
    (series,) = report.subjects_of(Scope.SERIES)
    line = words.series_line(report, series, GERMAN)
    assert line.endswith("20 Bilder; portalvenöse Phase (vorgeschlagen aus: Serienbeschreibung)")


def test_structures_numbers_and_dates_in_german() -> None:
    renal = Subject(key="ves.renal_v/right", scope=Scope.VESSEL, structure=CODES["ves.renal_v"], side=CODES["v.right"])
    assert GERMAN.structure(renal) == "V. renalis rechts"
    assert ENGLISH.structure(renal) == "Right renal vein"
    assert GERMAN.date("20260105") == "05.01.2026"
    assert ENGLISH.date("20260105") == "2026-01-05"
    assert words.number(p.millimetres("55.30"), wording=GERMAN) == "55,30 mm"
    assert GERMAN.listed(["a", "b", "c"]) == "a und b und c"
    assert GERMAN.meaning(Code("X", "99SITE", "A code of the site")) == "A code of the site"
    assert (GERMAN.series("Series 2"), GERMAN.series("Series without number 3")) == ("Serie 2", "Serie ohne Nummer 3")


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("registry", "Register"),
        ("report of 2026-01-05", "Bericht vom 05.01.2026"),
        ("oblique coronal, image 14", "schräg koronar, Bild 14"),
        ("centre 41 mm right of the middle of the body", "Zentrum 41 mm rechts von der Körpermitte"),
        ("largest segmented dimension, 55.3 mm", "größte segmentierte Ausdehnung, 55,3 mm"),
        ("Not measured: slices are missing inside the segment", "Nicht gemessen: im Segment fehlen Schichten"),
        (
            "Longer than DICOM allows, and cut: patient ID, study ID",
            "Länger als DICOM erlaubt, und gekürzt: Patienten-ID, Studien-ID",
        ),
        # what nobody here wrote stays as it is
        ("CT am 5.1. auswärts", "CT am 5.1. auswärts"),
        ("x" * 500 + ", image 3", "x" * 500 + ", image 3"),
        ("", ""),
    ],
)
def test_notes_of_the_software(note: str, said: str) -> None:
    assert GERMAN.note(note) == said
    assert ENGLISH.note(note) == note


def test_every_note_of_a_draft_of_real_images_is_known(german: Path) -> None:
    report = from_json((german / "report.json").read_text(encoding="utf-8"))
    notes = {a.basis for a in report.answers if a.basis}
    notes |= {*report.remarks, *(r for s in report.subjects for r in s.remarks)}
    notes |= {s.tracking_id for s in report.subjects_of(Scope.SERIES)}
    assert len(notes) > 20
    assert {n for n in notes if GERMAN.note(n) == n and "kernel" not in n} == set()


# --- the SR ----------------------------------------------------------------------------------------------------------


def plain(item: Dataset) -> tuple[object, ...]:
    """Return an item without what depends on the language: prose, comments that English rows need none of, the English below."""
    kind = item.get("ValueType")
    said = () if kind == "TEXT" or concept(item) == LANGUAGE else (str(item.get("ConceptCodeSequence")),)
    below = [c for c in children(item) if concept(c) not in {ORIGINAL, LANGUAGE, COMMENT}]
    return (kind, item.get("RelationshipType"), str(item.ConceptNameCodeSequence), *said, *map(plain, below))


@pytest.mark.parametrize("signed", [False, True], ids=["draft", "signed"])
@pytest.mark.parametrize("name", template_names())
def test_the_sr_declares_its_language_and_differs_in_prose_alone(name: str, signed: bool) -> None:
    made = whole(name, "de", signed=signed)
    # the gate has read it back already, and compared it
    (german, *_), (english, *_) = b.rendered(made), b.rendered(whole(name, "en", signed=signed))
    ds, other = dataset(german), dataset(english)
    assert parse(ds, made.template) == made.report == parse(other, made.template)
    declared = [(c.ConceptCodeSequence[0].CodeValue, c.ConceptCodeSequence[0].CodingSchemeDesignator)
                for tree in (ds, other) for c in children(tree) if concept(c) == LANGUAGE]  # fmt: skip
    assert declared == [("de-DE", "RFC5646"), ("en-US", "RFC5646")]
    assert plain(ds) == plain(other)
    said = "\n".join(t for c in children(ds) for t in texts(c))
    assert "Fragen: " in said
    assert not re.search(r"not confirmed|prompts:|essential items|NOT VERIFIED", said)
    assert not any(concept(c) == ORIGINAL for i in other.iterall() if i.keyword == "ContentSequence" for c in i.value)


def test_texts_that_the_software_wrote_say_that_they_are_english() -> None:
    (report, *_) = b.rendered(drafted("de"))
    below = {
        child.ConceptNameCodeSequence[0].CodeMeaning: [
            c.ConceptCodeSequence[0].CodeValue for c in children(child) if concept(c) == LANGUAGE
        ]
        for section in children(dataset(report))
        for child in children(section)
    }
    assert below["Suggested impression (automatic)"] == ["en-US"]
    assert below["Summary"] == []


def test_english_is_what_it_was_and_german_another_document() -> None:
    english, german = (b.rendered(drafted(c)) for c in ("en", "de"))
    assert english == b.rendered(b.produced(None, b.tumour()))
    assert english[0].sop_instance_uid != german[0].sop_instance_uid
    assert english[0].series_instance_uid == german[0].series_instance_uid
    # the measurements say nothing in a language of their own
    assert english[1].sop_instance_uid == german[1].sop_instance_uid


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_layouts_own_words_are_those_of_the_phrases() -> None:
    assert captions(ENGLISH) == Captions()
    german = captions(GERMAN)
    same = {f.name for f in fields(german) if getattr(german, f.name) == getattr(Captions(), f.name)}
    assert same == {"code"}


def german_page(report: Report | None = None) -> PageContent:
    return page_content(
        report or p.report(),
        load_template("baseline"),
        p.study(),
        replace(p.COUNTED, open_items=("Growth pattern", "Attenuation and enhancement")),
        created_at=p.CREATED_AT,
        timezone="Europe/Berlin",
        version=2,
        history=p.HISTORY,
        wording=GERMAN,
    )


def test_the_page_in_german() -> None:
    shown = german_page()
    assert (shown.title, shown.banner) == ("Onkologischer Messbericht", "ENTWURF, NICHT FREIGEGEBEN")
    assert shown.status == "8 Fragen: 4 vorgeschlagen, 2 bestätigt, 2 offen"
    assert {f.label: f.value for f in shown.facts}["Geboren"] == "01.01.1960"
    (lesion,) = shown.lesions
    axis = next(r for r in lesion.rows if r.item == "Längster axialer Durchmesser")
    assert (axis.value, axis.unit, axis.code, axis.basis) == ("100,0", "mm", "SCT 103339001", "axial, Bild 14")
    assert lesion.origin(axis) == "vorgeschlagen"
    (matrix,) = shown.matrices
    assert [line.cells[0].text for line in matrix.lines] == [
        "Ummauerung, Kontakt über 180 Grad",
        "kein Kontakt, Fettlamelle erhalten",
    ]
    assert matrix.whence == "vorgeschlagen aus der Segmentierung, nicht bestätigt; angegeben von der befundenden Person"
    assert shown.open_items == ("Wuchsmuster", "Dichte und Kontrastmittelaufnahme")
    assert shown.history_label == "Lange Achse"
    html = web_page(shown)
    assert html.startswith('<!doctype html>\n<html lang="de-DE">')
    assert "Hinweis: In two parts" in html
    assert "Offene Punkte: vorgeschlagen, nicht bestätigt." in html
    assert ">01.12.2025<" in html
    for english in ("Open items", ">Source<", "proposed from", "not confirmed", "Volume, mL"):
        assert english not in html, english


def test_the_pdf_says_what_it_is_written_in() -> None:
    assert b"/Lang(de)" in page(german_page())
    assert b"/Lang(en)" in page(p.content())


def test_pdf_of_a_german_report_and_of_an_english_one_are_two() -> None:
    images = KeyImages()
    made = {}
    for code in language_names():
        produced = drafted(code)
        (report, *_) = b.rendered(produced)
        (made[code],) = extras(produced, report, ("pdf",), images, version=1, created_at=b.CREATED_AT)
    assert made["en"].sop_instance_uid != made["de"].sop_instance_uid
    assert dataset(made["de"]).DocumentTitle == "Onkologischer Messbericht, Entwurf, nicht freigegeben"


def test_a_page_of_every_answer_has_no_english_label() -> None:
    english = {i.label for t in TEMPLATES for i in t} - set(DE.labels.values())
    english -= {i.label for t in TEMPLATES for i in t if f"labels/{i.key}" in DE.uncertain}
    made = whole("response", "de")
    shown = content(made, KeyImages(), version=1, sop_instance_uid="2.25.1", created_at=b.CREATED_AT)
    labels = {r.item.partition(",")[0] for t in (*shown.lesions, *shown.sections) for r in t.rows}
    labels |= {c for m in shown.matrices for c in m.columns}
    assert len(labels) > 100
    assert labels & english == set()


# --- commands --------------------------------------------------------------------------------------------------------


def test_compose_in_german(german: Path) -> None:
    ds = pydicom.dcmread(german / "report.dcm")
    assert any("ENTWURF, NICHT FREIGEGEBEN." in t for c in ds.ContentSequence for t in texts(c))


def test_a_language_that_is_not_there(tmp_path: Path) -> None:
    done = lms_sr("compose", ROOT / "tests" / "data" / "sts_002", "--out", tmp_path, "--language", "fr")
    assert done.code != 0
    assert "there is no language 'fr': known are en, de" in done.err


def test_no_file_of_a_language_misses_in_lint() -> None:
    done = lms_sr("template", "lint", "--language", "de")
    assert done.code == 0, done.err


def test_options_say_english_where_nothing_is_said() -> None:
    assert Options(installation="x").language == "en"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('phrases: {"{open} open": "{offen} offen"}', "'{open} open' has other places in braces than its English: write {open}"),
        ('phrases: {"{open} open": "{open.__class__} offen"}', "other places in braces"),
        ('phrases: {"{open} open": "{open!r} offen"}', "other places in braces"),
        ('notes: {"report of {1}": "Bericht"}', "write {1}"),
        ('labels: {gp: Wuchsmuster}\nuncertain: {labels/gp: "why"}', "'gp' of 'labels' is uncertain and translated: remove one"),
        ('uncertain: {gp: "why"}', "'gp' names no table and key"),
    ],
)  # fmt: skip
def test_a_phrase_that_would_break_and_a_doubt_that_is_none(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages" / "de.yaml").write_text(
        f"language: de\nname: Deutsch\ncode: de-DE\n{written}\n", encoding="utf-8"
    )
    with pytest.raises(TemplateError) as raised:
        load_language("de", tmp_path)
    assert said in str(raised.value)
