"""FHIR: what we write is R4, asks what the template asks under its conditions, and a response reads back as the report it came from."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft6Validator

from service.errors import InputError
from service.export.codings import SCHEMES
from service.export.enabling import Enabler
from service.export.fhir import canonical_url, questionnaire
from service.export.fhir_response import Occasion, ResponseStatus, response, status_of
from service.export.outline import Kind, Part, every, outline
from service.model.code import Code
from service.model.report import (
    Answer,
    CompletionFlag,
    Date,
    PersonName,
    Provenance,
    Quantity,
    Report,
    Scope,
    Status,
    Subject,
    Uid,
)
from service.settings import Clinical
from sr_templates import Need, load_codes, load_template, template_names
from sr_templates.evaluate import holds
from sr_templates.language.conditions import parse_condition
from sr_templates.language.values import Fill
from sr_templates.order import canonical
from tests import builders as b
from tests.fhir_reading import read_response
from tests.helpers import ROOT
from tests.property.test_round_trip import reports

TEMPLATES = [load_template(name) for name in template_names()]
BASELINE = load_template("baseline")
CODES = load_codes()
OCCASION = Occasion(
    status=ResponseStatus.IN_PROGRESS,
    authored=dt.datetime(2026, 3, 1, 10, 20, tzinfo=dt.timezone(dt.timedelta(hours=1))),
    patient_id="P-1",
    issuer="HOSPITAL",
)
SCHEMA = Draft6Validator(json.loads((ROOT / "tests/data/fhir/r4_questionnaire.schema.json").read_text()))
CHOICES = {"choice", "open-choice"}


def faults(resource: dict[str, Any]) -> list[str]:
    """Return what the schema of FHIR R4 says is wrong with a resource."""
    kind = resource["resourceType"]
    one = SCHEMA.evolve(schema={"$ref": f"#/definitions/{kind}", "definitions": SCHEMA.schema["definitions"]})
    return [f"{'/'.join(map(str, e.path))}: {e.message[:200]}" for e in one.iter_errors(resource)]


def walk(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield items, outer ones first."""
    for item in items:
        yield item
        yield from walk(item.get("item", []))


def extension(holder: dict[str, Any], ending: str) -> dict[str, Any] | None:
    return next((e for e in holder.get("extension", []) if e["url"].endswith(ending)), None)


@pytest.fixture(scope="module", params=TEMPLATES, ids=[t.key for t in TEMPLATES])
def form(request):
    """Return a template, and its Questionnaire."""
    return request.param, json.loads(questionnaire(request.param))


@pytest.fixture(scope="module")
def items_of_baseline():
    return {i["linkId"]: i for i in walk(json.loads(questionnaire(BASELINE))["item"])}


# --- the Questionnaire -----------------------------------------------------------------------------------------------


def test_a_questionnaire_keeps_the_schema_of_r4(form):
    assert faults(form[1]) == []


def test_the_schema_refuses_what_is_no_r4():
    broken = json.loads(questionnaire(BASELINE))
    broken["item"][0]["item"][0]["typ"] = "choice"
    broken["status"] = "final"
    assert len(faults(broken)) == 2


def test_a_questionnaire_keeps_the_invariants_of_r4(form):
    """que-1 to que-13 and dom-3 of http://hl7.org/fhir/R4/questionnaire.html, where they concern what we write."""
    _, resource = form
    items = list(walk(resource["item"]))
    ids = [i["linkId"] for i in items]
    assert len(ids) == len(set(ids))
    value_sets = {f"#{c['id']}" for c in resource["contained"]}
    used = {i["answerValueSet"] for i in items if "answerValueSet" in i}
    assert used == value_sets
    for item in items:
        kind = item["type"]
        if kind == "group":
            assert item["item"], item["linkId"]
        if kind == "display":
            assert not {"item", "code", "required", "repeats", "readOnly"} & set(item)
        assert not ({"answerOption", "answerValueSet"} & set(item)) or kind in CHOICES
        assert len({"answerOption", "answerValueSet"} & set(item)) == (1 if kind in CHOICES else 0), item["linkId"]
        assert "maxLength" not in item or kind in {"text", "string"}
        tests = item.get("enableWhen", [])
        assert (len(tests) > 1) == ("enableBehavior" in item)
        for test in tests:
            assert test["question"] in ids
            assert (test["operator"] == "exists") == ("answerBoolean" in test)
        assert not (tests and extension(item, "enableWhenExpression"))


def test_a_questionnaire_says_which_template_it_is(form):
    template, resource = form
    assert resource["url"] == canonical_url(template.key)
    assert resource["url"].startswith("urn:oid:2.25.")
    assert (resource["version"], resource["status"], resource["title"]) == (template.version, "active", template.label)
    assert resource["code"][0]["code"] == "126001"
    assert "SNOMED International" in resource["copyright"]
    assert len({canonical_url(t.key) for t in TEMPLATES}) == len(TEMPLATES)


def test_every_question_is_asked_under_its_key_and_concept(form):
    template, resource = form
    items = {i["linkId"]: i for i in walk(resource["item"])}
    for item in template:
        rows = template.matrix(item.scope).rows if template.matrix(item.scope) else ()
        plain = [] if item.rows else [item.key]
        keys = plain + [
            f"{item.key}[{r.key}]" for r in rows if item.fill is not Fill.ROW and (not item.rows or r.key in item.rows)
        ]
        assert keys
        for key in keys:
            found = items[key]
            assert found["text"] == item.label
            assert found["code"][0]["code"] == item.concept.value
            assert found["code"][0]["system"] == SCHEMES[item.concept.scheme].uri


def test_codes_bear_the_systems_that_others_know():
    systems = {s: SCHEMES[s].uri for s in ("DCM", "SCT", "LN", "UCUM", "RADLEX")}
    assert systems == {
        "DCM": "http://dicom.nema.org/resources/ontology/DCM",
        "SCT": "http://snomed.info/sct",
        "LN": "http://loinc.org",
        "UCUM": "http://unitsofmeasure.org",
        "RADLEX": "http://radlex.org",
    }
    assert {r.code.scheme for r in CODES} <= set(SCHEMES)
    assert len({s.uri for s in SCHEMES.values()}) == len({s.oid for s in SCHEMES.values()}) == len(SCHEMES)


def test_a_question_lists_its_values_and_not_evaluated(form):
    template, resource = form
    value_sets = {
        f"#{c['id']}": [e for i in c["compose"]["include"] for e in i["concept"]] for c in resource["contained"]
    }
    for item in walk(resource["item"]):
        mine = template.item(item["linkId"].partition("[")[0])
        if mine is None or item["type"] not in CHOICES:
            continue
        options = [o["valueCoding"] for o in item.get("answerOption", [])] or value_sets[item["answerValueSet"]]
        codes = [o["code"] for o in options]
        assert codes[: len(mine.values)] == [v.value for v in mine.values]
        assert ("373121007" in codes) == (mine.fill is Fill.PERSON or any(v.value == "373121007" for v in mine.values))
        assert (item["type"] == "open-choice") == mine.extensible


def test_need_says_what_is_required(form):
    template, resource = form
    items = {i["linkId"]: i for i in walk(resource["item"])}
    for item in template:
        if item.scope is Scope.REPORT:
            expected = item.need is not Need.OPTIONAL and item.fill is Fill.PERSON
            assert items[item.key].get("required", False) == expected, item.key
        if item.fill is Fill.DERIVED:
            assert all(i["readOnly"] for k, i in items.items() if k.partition("[")[0] == item.key)


def test_a_number_bears_unit_range_and_digits(items_of_baseline):
    item = items_of_baseline["arc.fat_pct"]
    assert item["type"] == "decimal"
    assert extension(item, "questionnaire-unit")["valueCoding"]["code"] == "%"
    assert extension(item, "minValue")["valueDecimal"] == 0
    assert extension(item, "maxValue")["valueDecimal"] == 100
    assert extension(item, "maxDecimalPlaces")["valueInteger"] == BASELINE.item("arc.fat_pct").decimals
    # mean and standard deviation stand beside each other
    assert items_of_baseline["ct.hu"]["repeats"]


def test_rows_are_fixed_groups_and_the_rest_repeats(items_of_baseline):
    matrix = BASELINE.matrix(Scope.VESSEL)
    group = items_of_baseline["matrix.vessel"]
    rows = [i for i in group["item"] if i["type"] == "group"]
    assert [r["linkId"] for r in rows] == [*(f"vessel[{r.key}]" for r in matrix.rows), "vessel"]
    assert [bool(r.get("repeats")) for r in rows] == [False] * len(matrix.rows) + [True]
    for key in ("lesion", "node", "candidate", "series"):
        assert items_of_baseline[key]["repeats"], key
    assert "ivc.segment[ves.ivc]" in items_of_baseline
    assert "ivc.segment[ves.aorta_abd]" not in items_of_baseline


def test_help_is_shown_beside_its_question(items_of_baseline):
    shown = items_of_baseline["ctx.dx_status/help"]
    assert shown["type"] == "display"
    assert shown["text"] == BASELINE.item("ctx.dx_status").help


def test_the_same_template_gives_the_same_bytes():
    for template in TEMPLATES:
        assert questionnaire(template) == questionnaire(load_template.__wrapped__(template.key))


# --- when a question is asked ----------------------------------------------------------------------------------------


def enabling(text: str, key: str = "ctx.prior_tx_detail", clinical: Clinical | None = None) -> Any:
    """Return when the question ``key`` of the baseline would be asked if ``text`` were its condition."""
    parts = outline(BASELINE)
    (part,) = (p for p in every(parts) if p.key == key)
    changed = replace(part, item=replace(part.item, when=parse_condition(text), modalities=()))
    return Enabler(template=BASELINE, parts=parts, clinical=clinical or Clinical()).of(changed)


def simple(text: str, **more: Any) -> tuple[list[tuple[str, str, Any]], bool]:
    found = enabling(text, **more)
    assert not found.expression
    answers = [t.answer.value if isinstance(t.answer, Code) else t.answer for t in found.tests]
    return [(t.question, t.operator, a) for t, a in zip(found.tests, answers, strict=True)], found.every


ITEMS = "%resource.repeat(item)"
ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
BIOPSY, RESECTED = (CODES[f"ctx.dx_status.{k}"].value for k in ("biopsy", "resected"))
IS_BIOPSY = f"(system = '{SCHEMES['99LMSSR'].uri}' and (code = '{BIOPSY}'))"


@pytest.mark.parametrize(
    ("text", "tests", "together"),
    [
        ("ctx.dx_status = ctx.dx_status.biopsy", [("ctx.dx_status", "=", BIOPSY)], True),
        (
            "ctx.dx_status in [ctx.dx_status.biopsy, ctx.dx_status.resected]",
            [("ctx.dx_status", "=", BIOPSY), ("ctx.dx_status", "=", RESECTED)],
            False,
        ),
        # silence is no answer: nothing follows from it
        (
            "ctx.dx_status != ctx.dx_status.biopsy",
            [("ctx.dx_status", "exists", True), ("ctx.dx_status", "!=", BIOPSY)],
            True,
        ),
        ("answered(ctx.comparison_uid)", [("ctx.comparison_uid", "exists", True)], True),
        (
            "evaluated(ctx.dx_status)",
            [("ctx.dx_status", "exists", True), ("ctx.dx_status", "!=", "373121007")],
            True,
        ),
        ("fu.interval >= 14", [("fu.interval", ">=", 14.0)], True),
        ("fu.interval < threshold.doubling_min_days", [("fu.interval", "<", 14.0)], True),
        (
            "ctx.dx_status = ctx.dx_status.biopsy and fu.interval > 3",
            [("ctx.dx_status", "=", BIOPSY), ("fu.interval", ">", 3.0)],
            True,
        ),
        (
            "answered(ctx.comparison_uid) or ctx.dx_status = ctx.dx_status.resected",
            [("ctx.comparison_uid", "exists", True), ("ctx.dx_status", "=", RESECTED)],
            False,
        ),
        # what the template alone decides is decided
        ("template = surveillance or answered(ctx.comparison_uid)", [("ctx.comparison_uid", "exists", True)], True),
        ("template = baseline", [], True),
        ("modality = MR", [("tid.modality", "=", "MR")], True),
        ("ves.relation[ves.ivc] = vr.abut", [("ves.relation[ves.ivc]", "=", CODES["vr.abut"].value)], True),
    ],
)
def test_a_simple_condition_is_a_list_of_tests(text, tests, together):
    assert simple(text) == (tests, together)


def test_thresholds_are_those_of_the_installation():
    tests, _ = simple("fu.interval < threshold.doubling_min_days", clinical=Clinical(doubling_min_days=30))
    assert tests == [("fu.interval", "<", 30.0)]


def test_a_row_asks_about_itself_and_a_group_about_its_repetition():
    assert simple("ves.relation = vr.abut", key="ves.contact_angle[ves.ivc]")[0][0][0] == "ves.relation[ves.ivc]"
    assert simple("ves.relation = vr.abut", key="ves.contact_angle")[0][0][0] == "ves.relation"
    # asked of another scope: about any structure
    any_vessel, together = simple("ves.relation = vr.abut")
    assert len(any_vessel) == len(BASELINE.matrix(Scope.VESSEL).rows) + 1
    assert not together


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        (
            "not (ctx.dx_status = ctx.dx_status.biopsy)",
            f"({ITEMS}.where(linkId = 'ctx.dx_status').answer.value.where({IS_BIOPSY}).exists()).not()",
        ),
        ("patient.sex = F", "%patient.gender = 'female'"),
        ("patient.age >= 50", "%patient.birthDate <= today() - 50 years"),
        ("patient.age > 50", "%patient.birthDate <= today() - 51 years"),
        ("patient.age < 50", "%patient.birthDate > today() - 50 years"),
        ("patient.age <= 50", "%patient.birthDate > today() - 51 years"),
        ("template = response", "false"),
        (
            "evaluated(fu.interval)",
            f"{ITEMS}.where(linkId = 'fu.interval').answer.value.where(extension('{ABSENT}').empty()).exists()",
        ),
    ],
)
def test_other_conditions_are_expressions(text, expression):
    assert enabling(text).expression == expression


def test_an_expression_of_a_repeated_group_names_its_repetition(items_of_baseline):
    found = enabling("not (gp = gp.mixed)", key="gp.dominant")
    assert found.expression.startswith("(%subject.item.where(linkId = 'gp')")
    assert extension(items_of_baseline["lesion"], "variable")["valueExpression"]["name"] == "subject"


def test_the_patient_is_asked_for_only_where_a_condition_needs_it(form):
    _, resource = form
    needs = any("%patient" in json.dumps(i.get("extension", [])) for i in walk(resource["item"]))
    assert (extension(resource, "launchContext") is not None) == needs


@settings(max_examples=40)
@given(reports())
def test_lists_of_tests_hold_where_the_condition_does(made):
    """R4's enableWhen, evaluated over our response, gives what our own evaluation gives."""
    report, template = made
    parts = outline(template)
    enabler = Enabler(template=template, parts=parts)
    given_answers: dict[str, list[Any]] = {}
    for item in walk(json.loads(response(report, template, OCCASION)).get("item", [])):
        given_answers.setdefault(item["linkId"], []).extend(item.get("answer", []))
    seen = 0
    for part in every(parts):
        found = enabler.of(part)
        condition = part.row.when if part.kind is Kind.ROW else part.item.when if part.item else None
        repeated = part.row is None and part.scope is not Scope.REPORT
        if condition is None or not found.tests or repeated or (part.item and part.item.modalities):
            continue
        results = [_enabled(t, given_answers.get(t.question, [])) for t in found.tests]
        expected = holds(condition, report, template, part.row.key if part.row else "")
        assert (all if found.every else any)(results) == expected, part.key
        seen += 1
    assert seen


def _enabled(test: Any, answers: list[dict[str, Any]]) -> bool:
    if test.operator == "exists":
        return bool(answers) == test.answer
    if isinstance(test.answer, Code):
        same = any(a.get("valueCoding", {}).get("code") == test.answer.value for a in answers)
        return same == (test.operator == "=")
    compare = {">": float.__gt__, ">=": float.__ge__, "<": float.__lt__, "<=": float.__le__}[test.operator]
    return any(compare(float(a["valueDecimal"]), float(test.answer)) for a in answers if "valueDecimal" in a)


# --- the response ----------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(reports())
def test_a_response_is_r4_and_reads_back_as_the_report(made):
    report, template = made
    text = response(report, template, OCCASION)
    assert faults(json.loads(text)) == []
    assert read_response(text, template) == report
    assert response(report, template, OCCASION) == text


@settings(max_examples=30)
@given(reports())
def test_a_response_stands_where_the_questionnaire_asks(made):
    report, template = made
    asked = [i["linkId"] for i in walk(json.loads(questionnaire(template))["item"])]
    rank = {k: n for n, k in enumerate(asked)}
    answered = [i["linkId"] for i in walk(json.loads(response(report, template, OCCASION)).get("item", []))]
    # what a report says about a structure that the item is not asked of has no question
    known = [k for k in answered if k in rank]
    sections = [rank[k] for k in known if k.startswith("section.")]
    assert sections == sorted(sections)
    assert len(known) > len(sections)


def the_draft() -> Report:
    """Return a draft with one measured tumour."""
    tumour = b.tumour()
    attenuation = [m for m in tumour.measurements if m.name == "ct.hu"]
    answers = [
        Answer(
            item="ct.hu",
            subject="LMS-T1",
            values=(Quantity(number=Decimal(str(m.value)), unit=BASELINE.item("ct.hu").unit),),
            status=Status.PROPOSED,
            provenance=Provenance.SEGMENTATION,
            basis=m.method,
            derivation=CODES[m.derivation],
            evidence=m.evidence,
        )
        for m in attenuation
    ]
    report = Report(
        template="baseline",
        template_version=BASELINE.version,
        study_instance_uid=b.STUDY_UID,
        modalities=("CT",),
        patient_sex=b.PATIENT.sex,
        patient_age=66,
        subjects=(
            Subject(
                key="LMS-T1",
                scope=Scope.LESION,
                tracking_id="Tumour",
                tracking_uid="2.25.7",
                segment=tumour.source,
                remarks=("the segment is in 3 parts",),
            ),
        ),
        answers=tuple(answers),
        remarks=("The study was completed by force after 15 minutes",),
    )
    return canonical(report, BASELINE)


def test_a_draft_of_a_measured_tumour_says_where_its_numbers_came_from():
    resource = json.loads(response(the_draft(), BASELINE, OCCASION))
    items = {i["linkId"]: i for i in walk(resource["item"])}
    mean, deviation = items["ct.hu"]["answer"]
    assert (mean["valueDecimal"], deviation["valueDecimal"]) == (61.2, 24.4)
    stated = {e["url"]: e for e in mean["extension"][0]["extension"]}
    assert stated["status"]["valueCode"] == "proposed"
    assert stated["provenance"]["valueCode"] == "segmentation"
    assert stated["derivation"]["valueCoding"]["display"] == "Mean"
    assert stated["basis"]["valueString"] == "series 2"
    assert read_response(json.dumps(resource), BASELINE) == the_draft()


def test_the_subject_is_an_identifier_and_never_a_name():
    text = response(the_draft(), BASELINE, OCCASION)
    resource = json.loads(text)
    assert resource["subject"] == {
        "type": "Patient",
        "identifier": {"value": "P-1", "assigner": {"display": "HOSPITAL"}},
    }
    assert "Müller" not in text
    assert "19600101" not in text
    assert "1960-01-01" not in text
    assert "subject" not in json.loads(response(the_draft(), BASELINE, replace(OCCASION, patient_id="")))


def test_a_response_names_the_questionnaire_and_its_time():
    resource = json.loads(response(the_draft(), BASELINE, OCCASION))
    assert resource["questionnaire"] == f"{canonical_url('baseline')}|{BASELINE.version}"
    assert (resource["status"], resource["authored"]) == ("in-progress", "2026-03-01T10:20:00+01:00")


@pytest.mark.parametrize(
    ("completion", "replaces", "status"),
    [
        (CompletionFlag.PARTIAL, False, "in-progress"),
        (CompletionFlag.PARTIAL, True, "in-progress"),
        (CompletionFlag.COMPLETE, False, "completed"),
        (CompletionFlag.COMPLETE, True, "amended"),
    ],
)
def test_the_status_follows_the_flags(completion, replaces, status):
    assert status_of(completion, replaces=replaces) == status


def with_answer(item: str, *values: Any, **more: Any) -> Report:
    """Return a report of one answer."""
    answer = Answer(
        item=item, values=values, status=Status.CONFIRMED, provenance=Provenance.RADIOLOGIST, **more
    )  # fmt: skip
    return Report(
        template="baseline",
        template_version="2",
        study_instance_uid="1.2.3",
        modalities=("CT",),
        answers=(answer,),
    )


def answer_of(report: Report, key: str) -> dict[str, Any]:
    resource = json.loads(response(report, BASELINE, OCCASION))
    assert faults(resource) == []
    assert read_response(json.dumps(resource), BASELINE) == report
    (item,) = (i for i in walk(resource["item"]) if i["linkId"] == key)
    return item["answer"][0]


def test_not_evaluated_to_a_number_is_absent_with_its_reason():
    report = with_answer("fu.interval", CODES["v.not_evaluated"], reason="no date on the prior")
    found = answer_of(report, "fu.interval")
    assert "valueDecimal" not in found
    assert found["_valueDecimal"]["extension"][0]["valueCode"] == "not-performed"
    stated = {e["url"]: e for e in found["extension"][0]["extension"]}
    assert stated["coded"]["valueCoding"]["display"] == "Not Evaluated"
    assert stated["reason"]["valueString"] == "no date on the prior"


def test_not_evaluated_to_a_choice_is_a_coding():
    assert answer_of(with_answer("ctx.dx_status", CODES["v.not_evaluated"]), "ctx.dx_status")["valueCoding"] == {
        "system": "http://snomed.info/sct",
        "code": "373121007",
        "display": "Not Evaluated",
    }


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (
            "fu.interval",
            Quantity(number=None, unit=BASELINE.item("fu.interval").unit, qualifier=CODES["nq.not_attempted"]),
        ),
        ("fu.interval", Quantity(number=Decimal("12345678901234567.123"), unit=BASELINE.item("fu.interval").unit)),
        ("fu.interval", Quantity(number=Decimal("0.5"), unit=Code("wk", "UCUM", "week"))),
        ("ctx.dx_date", Date("2026")),
        ("ctx.dx_date", Date("20260231")),
        ("ctx.dx_date", CODES["v.not_evaluated"]),
        ("hd.indications", ""),
        ("hd.indications", " \n"),
        ("hd.indications", PersonName("A^B")),
        ("ctx.comparison_uid", Uid("1.2.3")),
        ("ctx.comparison_uid", CODES["v.not_evaluated"]),
        ("tid.procedure_reported", Code("CTABD", "99SITE", "CT abdomen, site protocol")),
        ("no.such_item", "kept"),
    ],
)
def test_every_value_survives(item, value):
    found = answer_of(with_answer(item, value), item)
    assert found["extension"]


def test_a_site_code_keeps_its_scheme_without_pretending_to_a_system():
    found = answer_of(
        with_answer("tid.procedure_reported", Code("CTABD", "99SITE", "CT abdomen")), "tid.procedure_reported"
    )
    assert "system" not in found["valueCoding"]
    assert found["valueCoding"]["extension"][0]["valueString"] == "99SITE"


def test_an_answer_about_a_structure_that_is_not_listed_is_kept():
    report = with_answer("ves.caliber", CODES["cal.narrowed"], subject="ves.ivc")
    resource = json.loads(response(report, BASELINE, OCCASION))
    assert [i["linkId"] for i in resource["item"]] == ["elsewhere"]
    assert read_response(json.dumps(resource), BASELINE) == report


def test_a_report_of_the_first_version_keeps_its_retired_answers():
    from service.model.report_json import from_json  # noqa: PLC0415 - one test

    report = from_json((ROOT / "tests/data/ours_v1/baseline_1.json").read_text())
    text = response(report, BASELINE, OCCASION)
    assert faults(json.loads(text)) == []
    assert json.loads(text)["questionnaire"].endswith("|1")
    assert read_response(text, BASELINE) == canonical(report, BASELINE)


def _nested(depth: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"linkId": "x"}
    for _ in range(depth):
        inner = {"linkId": "x", "item": [inner]}
    return inner


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"resourceType": "Patient"}', '{"resourceType": "QuestionnaireResponse"}']
)
def test_what_is_no_response_of_ours_is_refused(text):
    with pytest.raises(InputError, match=r"QuestionnaireResponse|response to template"):
        read_response(text, BASELINE)


@pytest.mark.parametrize(
    "changes",
    [
        {"item": [{"answer": 3}]},
        {"item": [_nested(30)]},
        {"item": 7},
        {"extension": []},
        {"extension": [{"url": "x"}, 3]},
    ],
)
def test_a_damaged_response_is_refused(changes):
    damaged = json.loads(response(the_draft(), BASELINE, OCCASION)) | changes
    with pytest.raises(InputError, match=r"QuestionnaireResponse|response to template"):
        read_response(json.dumps(damaged), BASELINE)


def test_a_response_to_another_template_is_refused():
    with pytest.raises(InputError, match="'baseline', not to 'response'"):
        read_response(response(the_draft(), BASELINE, OCCASION), load_template("response"))


def test_the_parts_of_a_form_hold_every_item_once(form):
    template, _ = form
    parts: list[Part] = list(every(outline(template)))
    assert len({p.key for p in parts}) == len(parts)
    assert {p.item.key for p in parts if p.item} == {i.key for i in template}


def test_a_subject_keeps_its_tracking():
    report = replace(
        with_answer("gp", CODES["gp.mixed"], subject="LMS-T1"),
        subjects=(Subject(key="LMS-T1", scope=Scope.LESION, tracking_id="left", tracking_uid="2.25.7"),),
    )
    assert read_response(response(report, BASELINE, OCCASION), BASELINE) == report
