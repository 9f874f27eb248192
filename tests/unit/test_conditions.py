"""Conditions: what is one, what is none and where, and what each test says of a report."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pytest

from service.model.code import Code
from service.model.report import Answer, Date, Provenance, Quantity, Report, Scope, Status, Subject
from service.settings import Clinical
from sr_templates import load_codes, load_template
from sr_templates.evaluate import holds
from sr_templates.language.conditions import (
    All,
    ConditionError,
    Name,
    Not,
    Operator,
    Some,
    parse_condition,
    words,
)
from sr_templates.language.conditions import Test as One  # no class of tests
from sr_templates.language.conditions import tests as every_test
from tests.stated import TEMPLATES, stated
from tests.unit.test_linter import FILES

CODES = load_codes()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("templates")
    for name, text in FILES.items():
        file: Path = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return load_template("sample", folder)


# --- what is written ------------------------------------------------------------------------------------------------------


def test_and_binds_closer_than_or():
    a, b, c = (parse_condition(f"answered({n})") for n in "abc")
    assert parse_condition("answered(a) or answered(b) and answered(c)") == Some(parts=(a, All(parts=(b, c))))
    assert parse_condition("(answered(a) or answered(b)) and answered(c)") == All(parts=(Some(parts=(a, b)), c))


def test_not_binds_the_next_test_alone():
    a, b = (parse_condition(f"answered({n})") for n in "ab")
    assert parse_condition("not answered(a) and answered(b)") == All(parts=(Not(part=a), b))
    assert parse_condition("not (answered(a) and answered(b))") == Not(part=All(parts=(a, b)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = x", One(name=Name(item="a"), operator=Operator.IN, values=("x",))),
        ("a != x", One(name=Name(item="a"), operator=Operator.NOT_IN, values=("x",))),
        ("a in [x, y.z]", One(name=Name(item="a"), operator=Operator.IN, values=("x", "y.z"))),
        ("a not in [x]", One(name=Name(item="a"), operator=Operator.NOT_IN, values=("x",))),
        ("a >= -1.5", One(name=Name(item="a"), operator=Operator.AT_LEAST, number=Decimal("-1.5"))),
        ("a < threshold.fat_fraction_percent", One(name=Name(item="a"), operator=Operator.LESS, threshold="fat_fraction_percent")),
        ("evaluated(a.b_c)", One(name=Name(item="a.b_c"), operator=Operator.EVALUATED)),
        ("ves.relation[ves.renal_v/right] = vr.abut", One(name=Name(item="ves.relation", row="ves.renal_v/right"), operator=Operator.IN, values=("vr.abut",))),
        ("tid.method#staging = st.system", One(name=Name(item="tid.method#staging"), operator=Operator.IN, values=("st.system",))),
    ],
)  # fmt: skip
def test_each_test_reads_as_it_is_written(text, expected):
    assert parse_condition(text) == expected


@pytest.mark.parametrize(
    ("text", "said", "column"),
    [
        ("", "ends too early", 0),
        ("a", "one of =, !=", 1),
        ("a =", "ends too early", 3),
        ("a = and", "'and'", 4),
        ("a in x", r"'\[' is expected", 5),
        ("a in [x y]", r"'\]' is expected", 8),
        ("a in []", "a value is expected", 6),
        ("a < x", "no number and no 'threshold", 4),
        ("a < 1..2", "not understood", 3),
        ("answered a", r"'\(' is expected", 9),
        ("answered(a", r"'\)' is expected", 10),
        ("a = x b = y", "too much", 6),
        ("a not = x", "one of =, !=", 6),
        ("a = 'x'", "not understood", 3),
        ("a = x; import os", "not understood", 5),
        ("__import__(a) = x", "not understood", 0),
        ("a[b = x", r"'\]' is expected", 4),
        ("not " * 20 + "answered(a)", "nested deeper", 68),
        ("(" * 50 + "a = x" + ")" * 50, "nested deeper", 17),
        ("a = x or " * 300 + "a = x", "longer than 2000", 2000),
    ],
)
def test_what_is_no_condition_says_where(text, said, column):
    with pytest.raises(ConditionError, match=said) as raised:
        parse_condition(text)
    assert raised.value.column == column


def test_every_test_of_a_condition_is_found():
    condition = parse_condition("not (a = x or b = y) and (answered(c) or d > 1)")
    assert [t.name.item for t in every_test(condition)] == ["a", "b", "c", "d"]
    assert list(every_test(None)) == []


@pytest.mark.parametrize(
    "text",
    [
        "a = x and (b = y or c != z)",
        "not (a in [x, y]) or answered(b[c/right])",
        "a >= threshold.fat_fraction_percent and a < 3.50",
    ],
)
def test_words_are_the_same_condition(text):
    assert words(parse_condition(text)) == text


# --- what it says of a report ---------------------------------------------------------------------------------------------


def _answer(item: str, *values: str | Decimal, subject: str = "") -> Answer:
    given = tuple(CODES[v] if isinstance(v, str) else Quantity(number=v, unit=CODES["u.mm"]) for v in values)
    return Answer(item=item, subject=subject, values=given, status=Status.CONFIRMED, provenance=Provenance.RADIOLOGIST)


def _report(*answers: Answer, age: int | None = 61, sex: str = "F") -> Report:
    subjects = [Subject(key=f"LMS-T{n}", scope=Scope.LESION) for n in (1, 2)]
    subjects += [
        Subject(key=k, scope=Scope.VESSEL, structure=CODES[k.partition("/")[0]])
        for k in ("ves.ivc", "ves.renal_v/right")
    ]
    return Report(
        template="sample",
        template_version="1",
        study_instance_uid="2.25.1",
        modalities=("CT", "PT"),
        patient_sex=sex,
        patient_age=age,
        subjects=tuple(subjects),
        answers=answers,
    )


SILENT = _report(age=None, sex="")
BIOPSY = _report(_answer("ctx.dx_status", "ctx.dx_status.biopsy"))
UNKNOWN = _report(_answer("ctx.dx_status", "v.not_evaluated"))


@pytest.mark.parametrize(
    ("text", "report", "expected"),
    [
        # nothing follows from silence
        ("ctx.dx_status = ctx.dx_status.biopsy", SILENT, False),
        ("ctx.dx_status != ctx.dx_status.biopsy", SILENT, False),
        ("ctx.dx_status not in [ctx.dx_status.biopsy]", SILENT, False),
        ("not (ctx.dx_status = ctx.dx_status.biopsy)", SILENT, True),
        ("answered(ctx.dx_status)", SILENT, False),
        ("ctx.dx_status = ctx.dx_status.biopsy", BIOPSY, True),
        ("ctx.dx_status in [ctx.dx_status.suspected, ctx.dx_status.biopsy]", BIOPSY, True),
        ("ctx.dx_status != ctx.dx_status.suspected", BIOPSY, True),
        ("answered(ctx.dx_status) and evaluated(ctx.dx_status)", BIOPSY, True),
        # Not Evaluated is an answer, and says nothing
        ("answered(ctx.dx_status)", UNKNOWN, True),
        ("evaluated(ctx.dx_status)", UNKNOWN, False),
        ("ctx.dx_status = v.not_evaluated", UNKNOWN, True),
        # facts
        ("modality = CT and modality = PT", SILENT, True),
        ("modality != MR", SILENT, True),
        ("modality in [MR, US]", SILENT, False),
        ("template = sample", SILENT, True),
        ("patient.age >= 18", SILENT, False),
        ("patient.age > 60 and patient.age <= 61", BIOPSY, True),
        ("patient.sex = F", BIOPSY, True),
        ("patient.sex != M", SILENT, False),
        ("answered(patient.sex)", SILENT, False),
    ],
)
def test_what_a_condition_says_of_a_report(template, text, report, expected):
    assert holds(parse_condition(text), report, template) is expected


def test_a_test_of_the_same_scope_is_about_the_same_subject(template):
    report = _report(_answer("arc.fat", "v.present", subject="LMS-T2"))
    condition = parse_condition("arc.fat = v.present")
    assert not holds(condition, report, template, "LMS-T1")
    assert holds(condition, report, template, "LMS-T2")


def test_a_test_of_another_scope_is_about_any_subject(template):
    report = _report(_answer("arc.fat", "v.present", subject="LMS-T2"))
    assert holds(parse_condition("arc.fat = v.present"), report, template, "ves.ivc")
    assert holds(parse_condition("arc.fat = v.present"), report, template)


def test_a_row_is_named(template):
    report = _report(_answer("ves.relation", "vr.abut", "vr.encase", subject="ves.renal_v/right"))
    assert holds(parse_condition("ves.relation[ves.renal_v/right] = vr.encase"), report, template)
    assert not holds(parse_condition("answered(ves.relation[ves.ivc])"), report, template)
    assert not holds(parse_condition("ves.relation = vr.abut"), report, template, "ves.ivc")


def test_the_item_that_names_the_rows_is_the_structure_of_a_subject():
    template = TEMPLATES["baseline"]
    report = stated(
        {
            "met.status@mets.brain": "mst.none",
            "ves.relation@ves.sma": "vr.abut",
            "met.status@mets.lymph_node/left": "mst.none",
        }
    )
    distant = parse_condition("tid.finding_site#met != mets.lymph_node")
    assert holds(distant, report, template, "mets.brain")
    assert not holds(distant, report, template, "mets.lymph_node/left")
    # a row of the matrix is one before anything is said about it; asked about nothing in particular, any subject will do
    assert holds(distant, report, template, "mets.liver")
    assert holds(parse_condition("ves.involved in [ves.sma, ves.ivc]"), report, template)
    assert not holds(parse_condition("ves.involved = ves.ivc"), report, template)
    assert holds(parse_condition("ves.involved = ves.ivc"), report, template, "ves.ivc")
    assert not holds(parse_condition("ves.involved = ves.renal_v"), report, template, "ves.femoral_v")


@pytest.mark.parametrize(
    ("number", "text", "expected"),
    [
        ("100", "sz.long_axis <= 100", True),
        ("100", "sz.long_axis < 100", False),
        ("100.1", "sz.long_axis > 100", True),
        ("75", "sz.long_axis >= threshold.fat_fraction_percent", True),
        ("74.9", "sz.long_axis >= threshold.fat_fraction_percent", False),
    ],
)
def test_numbers_are_compared_exactly(template, number, text, expected):
    report = _report(_answer("sz.long_axis", Decimal(number), subject="LMS-T1"))
    assert holds(parse_condition(text), report, template, "LMS-T1") is expected


def test_a_threshold_is_what_the_hospital_sets(template):
    report = _report(_answer("sz.long_axis", Decimal(60), subject="LMS-T1"))
    condition = parse_condition("sz.long_axis >= threshold.fat_fraction_percent")
    assert not holds(condition, report, template, "LMS-T1")
    assert holds(condition, report, template, "LMS-T1", Clinical(fat_fraction_percent=60))


def test_a_number_that_could_not_be_measured_is_no_number(template):
    nothing = Quantity(number=None, unit=CODES["u.mm"], qualifier=Code("114006", "DCM", "Measurement failure"))
    answer = Answer(
        item="sz.long_axis",
        subject="LMS-T1",
        values=(nothing,),
        status=Status.CONFIRMED,
        provenance=Provenance.RADIOLOGIST,
    )
    assert not holds(parse_condition("sz.long_axis >= 0"), _report(answer), template, "LMS-T1")
    assert not holds(parse_condition("evaluated(sz.long_axis)"), _report(answer), template, "LMS-T1")
    assert holds(parse_condition("answered(sz.long_axis)"), _report(answer), template, "LMS-T1")


def test_a_date_is_answered(template):
    day = Date(dt.date(2026, 5, 2).strftime("%Y%m%d"))
    answer = Answer(item="ctx.dx_date", values=(day,), status=Status.CONFIRMED, provenance=Provenance.RADIOLOGIST)
    assert holds(parse_condition("evaluated(ctx.dx_date)"), _report(answer), template)
