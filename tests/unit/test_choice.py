"""Which template a study gets, and what an earlier report proposes for it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from service.flow.choice import choose
from service.flow.context import Context
from service.flow.prefill_prior import prior_answer, prior_nadir
from service.model.prior import PriorReport
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status, Subject, Value
from sr_templates import load_codes, load_template
from tests import builders as b

CODES = load_codes()


def said(item: str, *values: Value, status: Status = Status.CONFIRMED, subject: str = "") -> Answer:
    """Return an answer of an earlier report."""
    return Answer(
        item=item,
        subject=subject,
        values=values,
        status=status,
        provenance=Provenance.RADIOLOGIST,
        reason="as told",
        observer="Reader^One",
    )


def earlier(*answers: Answer, template: str = "baseline", subjects: tuple[Subject, ...] = ()) -> PriorReport:
    """Return an earlier report that says this."""
    report = Report(
        template=template,
        template_version="2",
        study_instance_uid="1.2.3",
        modalities=("CT",),
        subjects=subjects,
        answers=answers,
    )
    return PriorReport(study_instance_uid="1.2.3", study_date="20260101", modalities=("CT",), report=report)


@pytest.mark.parametrize(
    ("prior", "template", "why"),
    [
        (None, "baseline", "no earlier report"),
        (earlier(), "baseline", "states no treatment"),
        (earlier(said("ctx.prior_tx", CODES["tx.chemo"])), "response", "states a treatment"),
        (earlier(said("tid.tp_type", CODES["tpt.pretreatment"])), "response", "states a treatment"),
        (earlier(template="response"), "response", "states a treatment"),
        (earlier(said("ctx.dx_status", CODES["ctx.dx_status.resected"])), "surveillance", "states a resection"),
        (earlier(said("fu.recurrence", CODES["fu.ned"]), template="response"), "surveillance", "states a resection"),
        (earlier(said("fu.recurrence", CODES["rec.local"])), "response", "states a recurrence"),
        (
            earlier(
                said("ctx.dx_status", CODES["ctx.dx_status.resected"]), said("fu.recurrence", CODES["rec.distant"])
            ),
            "response",
            "states a recurrence",
        ),
    ],
)
def test_the_registry_decides_the_template(prior, template, why):
    choice = choose(prior)
    assert choice.template == template
    assert why in choice.reason


def test_nothing_follows_from_a_proposal():
    prior = earlier(said("ctx.dx_status", CODES["ctx.dx_status.resected"], status=Status.PROPOSED))
    assert choose(prior).template == "baseline"


def test_a_report_keeps_its_template():
    prior = earlier(said("ctx.prior_tx", CODES["tx.chemo"]))
    assert choose(prior, "baseline").template == "baseline"


class TestPriorAnswers:
    item = load_template("baseline").item("ctx.dx_status")

    def context(self, prior: PriorReport | None, subject: Subject | None = None) -> Context:
        return Context(study=b.study(), device=b.DEVICE, prior=prior, subject=subject)

    def test_a_confirmed_answer_is_proposed_with_its_date(self):
        (answer,) = prior_answer(self.context(earlier(said("ctx.dx_status", CODES["ctx.dx_status.biopsy"]))), self.item)
        assert answer.status is Status.PROPOSED
        assert answer.provenance is Provenance.PRIOR
        assert answer.basis == "report of 2026-01-01"
        assert (answer.reason, answer.observer) == ("", "")

    @pytest.mark.parametrize(
        "answer",
        [
            said("ctx.dx_status", CODES["ctx.dx_status.biopsy"], status=Status.PROPOSED),
            said("ctx.dx_status", CODES["v.not_evaluated"]),
            said("hd.presentation", CODES["sym.abd_pain"]),
        ],
        ids=["only proposed", "not evaluated", "another item"],
    )
    def test_nothing_else_is(self, answer):
        assert prior_answer(self.context(earlier(answer)), self.item) == ()

    def test_without_an_earlier_report_nothing_is_proposed(self):
        assert prior_answer(self.context(None), self.item) == ()
        assert prior_answer(self.context(replace(earlier(), report=None)), self.item) == ()

    def test_a_lesion_is_known_by_its_tracking_uid_alone(self):
        lesion = Subject(key="LMS-T1", scope=Scope.LESION, tracking_id="LMS-T1", tracking_uid="2.25.7")
        site = load_template("baseline").item("tid.finding_site")
        prior = earlier(said("tid.finding_site", CODES["ves.ivc"], subject="LMS-T1"), subjects=(lesion,))
        same = replace(lesion, key="LMS-T2")
        (answer,) = prior_answer(self.context(prior, same), site)
        assert answer.subject == "LMS-T2"
        assert prior_answer(self.context(prior, replace(lesion, tracking_uid="2.25.8")), site) == ()
        assert prior_answer(self.context(prior), site) == ()


class TestNadir:
    item = load_template("response").item("fu.sum_nadir")

    @staticmethod
    def sum_of(number: str) -> Quantity:
        return Quantity(number=Decimal(number), unit=CODES["u.mm"])

    def test_the_smallest_sum_so_far_is_proposed(self):
        prior = earlier(
            said("fu.sum_baseline", self.sum_of("118")),
            said("fu.sum_nadir", self.sum_of("90")),
            said("fu.sum", self.sum_of("79.5"), status=Status.AUTOMATIC),
            template="response",
        )
        (answer,) = prior_nadir(Context(study=b.study(), device=b.DEVICE, prior=prior), self.item)
        assert answer.values == (self.sum_of("79.5"),)
        assert answer.status is Status.PROPOSED
        assert answer.basis == "smallest sum up to the report of 2026-01-01"

    @pytest.mark.parametrize("prior", [None, earlier()], ids=["no report", "no sum"])
    def test_without_a_sum_nothing_is(self, prior):
        assert prior_nadir(Context(study=b.study(), device=b.DEVICE, prior=prior), self.item) == ()

    def test_a_sum_of_proposals_is_no_nadir(self):
        prior = earlier(said("fu.sum", self.sum_of("79"), status=Status.PROPOSED))
        assert prior_nadir(Context(study=b.study(), device=b.DEVICE, prior=prior), self.item) == ()
