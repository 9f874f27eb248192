"""MRRT: well-formed as XML and as HTML, Dublin Core and coded content in place, a field for every question that a person answers."""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from service.export.codings import SCHEMES
from service.export.mrrt import mrrt, template_uid
from service.export.plain import in_words
from service.model.uids import is_uid
from service.settings import Clinical
from sr_templates import ItemType, Need, load_codes, load_template, template_names
from sr_templates.language.conditions import parse_condition
from sr_templates.language.values import Fill

TEMPLATES = [load_template(name) for name in template_names()]
BASELINE = load_template("baseline")
CODES = load_codes()
DATE = dt.date(2026, 3, 1)
VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Reads the file as a browser does: a script is text, and void elements have no end."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.fields: dict[str, dict[str, str | None]] = {}
        self.script = ""
        self.unbalanced: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        given = dict(attrs)
        if "data-field-type" in given:
            self.fields[str(given["id"])] = given

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            # a browser ignores the slash and leaves the element open
            self.unbalanced.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.script += data


@pytest.fixture(scope="module", params=TEMPLATES, ids=[t.key for t in TEMPLATES])
def file(request):
    """Return a template, and its file as text, as XML, and as a browser reads it."""
    text = mrrt(request.param, DATE)
    page = Page()
    page.feed(text)
    page.close()
    return request.param, text, ET.fromstring(text), page  # noqa: S314 - our own


def test_the_file_is_html_and_well_formed_xml(file):
    _, text, root, page = file
    assert text.startswith("<!DOCTYPE html>\n<html")
    assert [c.tag for c in root] == ["head", "body"]
    assert root.find("head/meta[@charset]").get("charset") == "UTF-8"
    assert page.unbalanced == []
    assert page.open == []


def test_the_head_has_the_dublin_core_elements(file):
    template, _, root, _ = file
    core = {m.get("name"): m.get("content") for m in root.iterfind("head/meta[@name]")}
    wanted = "title description identifier type language publisher rights license date creator subject"
    assert set(core) == {f"dcterms.{n}" for n in wanted.split()}
    assert core["dcterms.title"] == root.findtext("head/title") == template.label
    assert core["dcterms.type"] == "IMAGE_REPORT_TEMPLATE"
    assert core["dcterms.date"] == "2026-03-01"
    assert is_uid(core["dcterms.identifier"])
    assert len({template_uid(t) for t in TEMPLATES}) == len(TEMPLATES)


def test_the_coded_content_names_elements_of_the_body_and_known_schemes(file):
    template, _, root, page = file
    # as a browser sees it, the script is text; the XML in it has to stand by itself
    attributes = ET.fromstring(page.script.strip())  # noqa: S314 - our own
    assert ET.canonicalize(ET.tostring(attributes), strip_text=True) == ET.canonicalize(
        ET.tostring(root.find("head/script/template_attributes")), strip_text=True
    )
    assert attributes.findtext("top-level-flag") == "true"
    assert attributes.findtext("status") == "ACTIVE"
    schemes = {
        s.get("name"): s.get("designator") for s in attributes.iterfind("coded_content/coding_schemes/coding_scheme")
    }
    assert schemes
    assert schemes == {n: SCHEMES[n].oid for n in schemes}
    ids = [e.get("id") for e in root.find("body").iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    entries = list(attributes.iterfind("coded_content/entry"))
    assert {e.get("ORIGTXT") for e in entries} <= set(ids)
    codes = {(c.get("value"), c.get("scheme")) for e in entries for c in e.iterfind("term/code")}
    assert {s for _, s in codes} <= set(schemes)
    assert (template.title.value, template.title.scheme) == (
        attributes.find("term/code").get("value"),
        attributes.find("term/code").get("scheme"),
    )
    assert all(len(t) == 1 and t[0].get("meaning") for e in entries for t in e)


def test_every_question_for_a_person_has_a_field_with_its_code(file):
    template, _, root, page = file
    coded = {e.get("ORIGTXT"): e.find("term/code").get("value") for e in root.iter("entry")}
    for item in template:
        if item.fill is not Fill.PERSON or item.section == "participants":
            continue
        if item.type in {ItemType.UID, ItemType.PERSON}:
            continue
        fields = {k: f for k, f in page.fields.items() if k.partition("[")[0] == item.key}
        assert fields, item.key
        for key, field in fields.items():
            assert coded[key] == item.concept.value
            assert field["name"] == key
            expected = {
                ItemType.CODE: "SELECTION_LIST", ItemType.CODES: "SELECTION_LIST", ItemType.NUMBER: "NUMBER",
                ItemType.DATE: "DATE", ItemType.TEXT: "TEXT",
            }  # fmt: skip
            assert field["data-field-type"] == expected[item.type]
            assert ("multiple" in field) == (item.type in {ItemType.CODE, ItemType.CODES} and item.many)


def test_every_field_has_its_label(file):
    _, _, root, page = file
    labels = {e.get("for") for e in root.iter("label")}
    assert labels == set(page.fields)


def test_options_are_the_values_and_not_evaluated(file):
    template, _, root, _ = file
    for select in root.iter("select"):
        item = template.item(select.get("id").partition("[")[0])
        if item is None:
            continue
        options = [o.text or "" for o in select.iterfind("option")]
        meanings = [v.meaning for v in item.values]
        if not item.many:
            assert options.pop(0) == ""
        assert options[: len(meanings)] == meanings
        assert ("Not Evaluated" in options) == (item.fill is Fill.PERSON or "Not Evaluated" in meanings)


def test_numbers_bear_range_step_and_unit():
    root = ET.fromstring(mrrt(BASELINE, DATE))  # noqa: S314 - our own
    field = next(e for e in root.iter("input") if e.get("id") == "arc.fat_pct")
    item = BASELINE.item("arc.fat_pct")
    assert (field.get("min"), field.get("max")) == ("0", "100")
    assert float(field.get("step")) == 10**-item.decimals
    line = next(p for p in root.iter("p") if field in list(p))
    assert field.tail.startswith(" %")
    # the condition stands beside the field, in words
    assert "Asked only while: " in "".join(line.itertext())


def test_signing_is_prohibited_only_where_a_field_is_always_needed(file):
    template, _, _, page = file
    for key, field in page.fields.items():
        item = template.item(key.partition("[")[0])
        if item is None or item.fill is not Fill.PERSON:
            continue
        action = field["data-field-completion-action"]
        if item.need is Need.OPTIONAL:
            assert action == "NONE", key
        if action == "PROHIBIT":
            assert item.when is None
            assert not item.modalities
            assert item.scope == "report"
    assert page.fields["ctx.dx_status"]["data-field-completion-action"] == "PROHIBIT"


def test_the_same_input_gives_the_same_bytes():
    for template in TEMPLATES:
        assert mrrt(template, DATE) == mrrt(load_template.__wrapped__(template.key), DATE)


def test_nothing_is_run_and_nothing_is_loaded(file):
    _, text, root, _ = file
    assert [s.get("type") for s in root.iter("script")] == ["text/xml"]
    assert not re.search(r'\s(on\w+|src|href)="', text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arc.fat = v.present", "Macroscopic fat is Present"),
        ("answered(ctx.comparison_uid) and patient.age >= 50", "Comparison study UID is answered and age in years is at least 50"),
        ("modality = MR or not (patient.sex = F)", "modality is MR or not (sex is F)"),
        ("arc.fat_pct >= threshold.fat_fraction_percent", "Visual fat fraction is at least 60"),
        ("evaluated(arc.fat) and (modality = CT or modality = MR)", "Macroscopic fat is evaluated and (modality is CT or modality is MR)"),
        ("arc.fat != v.present", "Macroscopic fat is answered and not Present"),
    ],
)  # fmt: skip
def test_conditions_are_said_in_words(text, words):
    labels = {
        "Macroscopic fat": BASELINE.item("arc.fat").label,
        "Visual fat fraction": BASELINE.item("arc.fat_pct").label,
    }
    for word, label in labels.items():
        words = words.replace(word, label)
    assert in_words(parse_condition(text), BASELINE, Clinical(fat_fraction_percent=60)) == words


def test_a_row_is_called_by_its_structure():
    said = in_words(parse_condition("ves.relation[ves.ivc] = vr.abut"), BASELINE)
    assert said == f"{BASELINE.item('ves.relation').label} of Inferior vena cava is {CODES['vr.abut'].meaning}"
