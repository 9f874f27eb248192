"""Conditions are written one way, and what the linter calls impossible never happens."""

from __future__ import annotations

import itertools
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.model.code import Code
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status
from sr_templates import Template, load_codes, load_template
from sr_templates.evaluate import holds
from sr_templates.language.conditions import (
    All,
    Condition,
    ConditionError,
    Name,
    Not,
    Operator,
    Some,
    parse_condition,
    words,
)
from sr_templates.language.conditions import Test as One  # no class of tests
from sr_templates.language.satisfiable import Surroundings, can_hold

CODES = load_codes()
ONE, SEVERAL, NUMBER = "ctx.dx_status", "hd.presentation", "tum.n_lesions"
ONE_VALUES = ("ctx.dx_status.suspected", "ctx.dx_status.biopsy")
SEVERAL_VALUES = ("sym.abd_pain", "sym.flank_pain")
NOTHING = "v.not_evaluated"
NUMBERS = tuple(Decimal(n) / 2 for n in range(2, 9))
SECTION = f"""\
section: clinical
heading: hd.clin_info
items:
  - {{key: {ONE}, label: One, type: code, need: optional, values: [{", ".join(ONE_VALUES)}]}}
  - {{key: {SEVERAL}, label: Several, type: codes, need: optional, values: [{", ".join(SEVERAL_VALUES)}]}}
  - {{key: {NUMBER}, label: Number, type: number, need: optional, unit: u.no_units, range: [1, 4]}}
"""
TOP = 'template: small\nversion: "1"\nlabel: Small\ntitle: tid.title.oncology\nsections: [clinical]\n'


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder: Path = tmp_path_factory.mktemp("small")
    for name, text in {"leiomyosarcoma/small.yaml": TOP, "sections/clinical.yaml": SECTION}.items():
        (folder / name).parent.mkdir()
        (folder / name).write_text(text)
    return load_template("small", folder)


def members(item: str, values: tuple[str, ...]) -> st.SearchStrategy[One]:
    return st.builds(
        lambda operator, some: One(name=Name(item=item), operator=operator, values=tuple(some)),
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        st.lists(st.sampled_from([*values, NOTHING]), min_size=1, max_size=2, unique=True),
    )


TESTS = st.one_of(
    members(ONE, ONE_VALUES),
    members(SEVERAL, SEVERAL_VALUES),
    st.builds(
        lambda operator, number: One(name=Name(item=NUMBER), operator=operator, number=Decimal(number)),
        st.sampled_from([Operator.LESS, Operator.AT_MOST, Operator.MORE, Operator.AT_LEAST]),
        st.integers(0, 5),
    ),
    st.builds(
        lambda operator, item: One(name=Name(item=item), operator=operator),
        st.sampled_from([Operator.ANSWERED, Operator.EVALUATED]),
        st.sampled_from([ONE, SEVERAL, NUMBER]),
    ),
    st.sampled_from(
        [
            One(name=Name(item="patient.sex"), operator=Operator.IN, values=("F",)),
            One(name=Name(item="patient.sex"), operator=Operator.NOT_IN, values=("F",)),
            One(name=Name(item="patient.age"), operator=Operator.AT_LEAST, number=Decimal(50)),
            One(name=Name(item="template"), operator=Operator.IN, values=("small",)),
            One(name=Name(item="modality"), operator=Operator.IN, values=("CT",)),
        ]
    ),
)


def _joined(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    parts = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        inner.map(lambda part: Not(part=part)),
        parts.map(lambda p: All(parts=p)),
        parts.map(lambda p: Some(parts=p)),
    )


CONDITIONS: st.SearchStrategy[Condition] = st.recursive(TESTS, _joined, max_leaves=6)


def _flat(condition: Condition) -> Condition:
    """Return a condition as a person writes it: no "and" straight inside an "and"."""
    match condition:
        case Not():
            return Not(part=_flat(condition.part))
        case All() | Some():
            kind = type(condition)
            inner = (_flat(p) for p in condition.parts)
            return kind(parts=tuple(q for p in inner for q in (p.parts if isinstance(p, kind) else (p,))))
        case _:
            return condition


@given(CONDITIONS)
def test_a_condition_reads_back_as_it_is_written(condition: Condition) -> None:
    assert parse_condition(words(_flat(condition))) == _flat(condition)


@given(st.text(st.sampled_from("ab.[]()=!<>, notinor19#/threshold"), max_size=60))
def test_any_text_is_a_condition_or_a_condition_error(text: str) -> None:
    try:
        found, column = parse_condition(text), 0
    except ConditionError as error:
        found, column = None, error.column
    assert 0 <= column <= len(text)
    assert found is None or parse_condition(words(found)) == found


def _answer(item: str, values: tuple[Code | Quantity, ...]) -> Answer:
    return Answer(item=item, values=values, status=Status.CONFIRMED, provenance=Provenance.RADIOLOGIST)


def _coded(item: str, *choices: tuple[str, ...]) -> list[Answer | None]:
    return [None, *(_answer(item, tuple(CODES[k] for k in keys)) for keys in choices)]


def reports() -> list[Report]:
    """Return every report that the small template allows, as far as conditions can tell them apart."""
    one = _coded(ONE, *((k,) for k in (*ONE_VALUES, NOTHING)))
    several = _coded(SEVERAL, *((k,) for k in (*SEVERAL_VALUES, NOTHING)), SEVERAL_VALUES, (*SEVERAL_VALUES, NOTHING))
    several += _coded(SEVERAL, *((k, NOTHING) for k in SEVERAL_VALUES))[1:]
    unit = CODES["u.no_units"]
    numbers: list[Answer | None] = [None, _answer(NUMBER, (Quantity(number=None, unit=unit),))]
    numbers += [_answer(NUMBER, (Quantity(number=n, unit=unit),)) for n in NUMBERS]
    return [
        Report(
            template="small",
            template_version="1",
            study_instance_uid="2.25.1",
            modalities=modalities,
            patient_sex=sex,
            patient_age=age,
            answers=tuple(a for a in answers if a is not None),
        )
        for *answers, (sex, age), modalities in itertools.product(
            one, several, numbers, [("", None), ("F", 70), ("M", 40), ("F", 40), ("M", 70)], [("CT",), ("MR",)]
        )
    ]


REPORTS = reports()


@given(CONDITIONS)
def test_the_linter_calls_impossible_what_no_report_makes_true_and_nothing_else(
    template: Template, condition: Condition
) -> None:
    surroundings = Surroundings(items={i.key: i for i in template}, scope=Scope.REPORT, template="small")
    happens = any(holds(condition, report, template) for report in REPORTS)
    assert can_hold(condition, surroundings) == happens
