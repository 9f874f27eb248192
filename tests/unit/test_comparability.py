"""An attenuation of another phase or tube voltage is said not to be comparable, beside the lesion."""

from __future__ import annotations

from dataclasses import replace

import pytest

from service.flow.comparability import with_mismatches
from service.model.prior import PriorReport
from service.model.report import Report, Scope, Status
from service.settings import Clinical
from tests.stated import TEMPLATES, stated
from tests.unit.test_derive import before, now, scanned

BEGINS = "Attenuation is not to be held against that of 2026-01-01: "
PHASE, VOLTAGE = "tech.phase@Series 1", "tech.kvp@Series 1"
PRIOR = before()


def remarks(report: Report, prior: PriorReport | None = PRIOR) -> tuple[str, ...]:
    told = with_mismatches(report, TEMPLATES["response"], Clinical(), prior)
    (lesion,) = told.subjects_of(Scope.LESION)
    assert [s for s in told.subjects if s.scope is not Scope.LESION] == [
        s for s in report.subjects if s.scope is not Scope.LESION
    ]
    return lesion.remarks


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ()),
        ({PHASE: "phase.arterial"}, ("portal venous phase then, arterial phase now",)),
        ({VOLTAGE: 80}, ("120 kV then, 80 kV now",)),
        ({VOLTAGE: 110}, ()),
        ({VOLTAGE: 109}, ("120 kV then, 109 kV now",)),
        (
            {PHASE: "phase.unenhanced", VOLTAGE: 100},
            ("portal venous phase then, unenhanced phase now; 120 kV then, 100 kV now",),
        ),
    ],
)
def test_what_differs_is_said(changes, said):
    assert tuple(r.casefold() for r in remarks(now(**changes))) == tuple((BEGINS + s).casefold() for s in said)


def test_a_proposed_phase_warns_too():
    report = now(**{PHASE: "phase.arterial"})
    proposed = replace(
        report,
        answers=tuple(replace(a, status=Status.PROPOSED) if a.item == "tech.phase" else a for a in report.answers),
    )
    assert len(remarks(proposed)) == 1


def test_what_is_not_known_or_not_measured_is_not_said():
    answers = {"ct.hu@LMS-T1": 45, "sz.long_axis@LMS-T1": 121}
    assert remarks(scanned(stated(answers, template="response"))) == ()
    report = now(**{PHASE: "phase.arterial"})
    unmeasured = replace(report, answers=tuple(a for a in report.answers if a.item != "ct.hu"))
    assert remarks(unmeasured) == ()
    assert remarks(report, None) == ()


def test_what_was_said_goes_when_the_phase_was_corrected():
    told = with_mismatches(now(**{PHASE: "phase.arterial"}), TEMPLATES["response"], Clinical(), before())
    (lesion,) = told.subjects_of(Scope.LESION)
    kept = replace(lesion, remarks=("A slice is missing", *lesion.remarks))
    corrected = now()
    subjects = tuple(kept if s.key == kept.key else s for s in corrected.subjects)
    assert remarks(replace(corrected, subjects=subjects)) == ("A slice is missing",)
    # twice is as once
    assert with_mismatches(told, TEMPLATES["response"], Clinical(), before()) == told
