"""What a person confirmed stays when the facts change, and what the facts say otherwise is told field by field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from service.flow.carry import Difference, Rank, carry, rank, still
from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status, Subject, Uid
from sr_templates import Template, load_codes
from tests import builders as b
from tests.small_template import small

CODES = load_codes()
MM = CODES["u.mm"]
ONE = Subject(key="LMS-T1", scope=Scope.LESION, tracking_id="LMS-T1", tracking_uid="2.25.1")
TWO = Subject(key="LMS-T2", scope=Scope.LESION, tracking_id="LMS-T2", tracking_uid="2.25.2")
CAVA = Subject(key="ves.ivc", scope=Scope.VESSEL, tracking_id="cava", tracking_uid="2.25.3", structure=CODES["ves.ivc"])
SERIES = Subject(key="Series 2", scope=Scope.SERIES, tracking_id="CT", tracking_uid="1.2.2")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return small(tmp_path_factory.mktemp("small"))


def report(template: Template, subjects: tuple[Subject, ...] = (), *answers: Answer, **changes: object) -> Report:
    made = Report(
        template=template.key,
        template_version=template.version,
        study_instance_uid=b.STUDY_UID,
        modalities=("CT",),
        subjects=subjects,
        answers=answers,
    )
    return replace(made, **changes)  # type: ignore[arg-type] - fields of Report


def answer(item: str, value: Code | Quantity | str | Uid, subject: str = "LMS-T1", **more: object) -> Answer:
    made = Answer(
        item=item, subject=subject, values=(value,), status=Status.PROPOSED, provenance=Provenance.SEGMENTATION
    )
    return replace(made, **more)  # type: ignore[arg-type] - fields of Answer


def said(item: str, value: Code | Quantity | str, subject: str = "LMS-T1") -> Answer:
    return answer(item, value, subject, status=Status.CONFIRMED, provenance=Provenance.RADIOLOGIST, observer="Roe^Jane")


def mm(number: str) -> Quantity:
    return Quantity(number=Decimal(number), unit=MM)


def identity(subject: Subject) -> tuple[Answer, ...]:
    rows = (("tid.tracking_id", subject.tracking_id), ("tid.tracking_uid", Uid(subject.tracking_uid)))
    return tuple(answer(i, v, subject.key, status=Status.AUTOMATIC, provenance=Provenance.RULE) for i, v in rows)


def test_what_was_confirmed_stands_and_the_rest_is_fresh(template: Template) -> None:
    before = report(template, (ONE,), said("gp", CODES["gp.mixed"]), answer("sz.long_axis", mm("100.0")))
    fresh = report(template, (ONE,), answer("sz.long_axis", mm("110.0")), remarks=("new",))
    found = carry(fresh, before, template)
    assert set(found.report.answers) == {said("gp", CODES["gp.mixed"]), answer("sz.long_axis", mm("110.0"))}
    assert found.report.remarks == ("new",)
    assert found.differences == ()


def test_a_confirmed_number_that_is_measured_otherwise_now_is_a_difference(template: Template) -> None:
    before = report(template, (ONE,), said("sz.long_axis", mm("100.0")))
    fresh = report(template, (ONE,), answer("sz.long_axis", mm("110.0")))
    found = carry(fresh, before, template)
    assert found.report.answers == before.answers
    assert found.differences == (
        Difference(
            item="sz.long_axis", subject="LMS-T1", stands="100.0 mm", found="110.0 mm", source="from the segmentation"
        ),
    )


@pytest.mark.parametrize("number", ["100", "100.0", "100.00"])
def test_the_same_number_is_no_difference(template: Template, number: str) -> None:
    before = report(template, (ONE,), said("sz.long_axis", mm("100.0")))
    assert carry(report(template, (ONE,), answer("sz.long_axis", mm(number))), before, template).differences == ()


def test_the_same_code_in_other_words_is_no_difference(template: Template) -> None:
    code = CODES["gp.mixed"]
    before = report(template, (ONE,), said("gp", code))
    fresh = report(template, (ONE,), answer("gp", Code(code.value, code.scheme, "other words")))
    assert carry(fresh, before, template).differences == ()


def test_a_statistic_that_the_person_did_not_give_is_no_difference(template: Template) -> None:
    mean, spread = CODES["deriv.mean"], CODES["deriv.sd"]
    before = report(template, (ONE,), replace(said("ct.hu", mm("40")), derivation=mean))
    fresh = report(
        template, (ONE,), answer("ct.hu", mm("40"), derivation=mean), answer("ct.hu", mm("8"), derivation=spread)
    )
    found = carry(fresh, before, template)
    assert found.differences == ()
    assert found.report.answers == before.answers


def test_lesions_are_the_same_by_tracking_uid_whatever_their_order_now(template: Template) -> None:
    before = report(template, (ONE, TWO), *identity(ONE), *identity(TWO), said("gp", CODES["gp.mixed"], "LMS-T2"))
    swapped = (replace(TWO, key="LMS-T1"), replace(ONE, key="LMS-T2"))
    fresh = report(
        template,
        swapped,
        answer("sz.long_axis", mm("20.0"), "LMS-T1"),
        answer("sz.long_axis", mm("110.0"), "LMS-T2"),
    )
    found = carry(fresh, before, template).report
    assert [(s.key, s.tracking_uid) for s in found.subjects] == [("LMS-T1", "2.25.1"), ("LMS-T2", "2.25.2")]
    assert found.answers_of("sz.long_axis", "LMS-T1")[0].values == (mm("110.0"),)
    assert found.answers_of("gp", "LMS-T2")[0].values == (CODES["gp.mixed"],)


def test_a_lesion_that_only_a_person_described_stays_the_index_tumour(template: Template) -> None:
    before = report(template, (ONE,), *identity(ONE), said("gp", CODES["gp.mixed"]))
    other = replace(ONE, tracking_uid="2.25.77")
    fresh = report(template, (other,), *identity(other), answer("sz.long_axis", mm("110.0")))
    found = carry(fresh, before, template).report
    assert [(s.key, s.tracking_uid) for s in found.subjects] == [("LMS-T1", "2.25.1"), ("LMS-T2", "2.25.77")]
    assert found.answers_of("tid.tracking_uid", "LMS-T1")[0].values == (Uid("2.25.1"),)
    assert found.answers_of("tid.tracking_uid", "LMS-T2")[0].values == (Uid("2.25.77"),)
    assert not found.answers_of("gp", "LMS-T2")
    assert found.answers_of("sz.long_axis", "LMS-T2")


def test_a_lesion_that_nobody_confirmed_anything_about_goes_with_its_segmentation(template: Template) -> None:
    before = report(template, (ONE,), *identity(ONE), answer("sz.long_axis", mm("110.0")))
    assert carry(report(template), before, template).report.subjects == ()


def test_structures_stay_with_what_was_said_about_them(template: Template) -> None:
    before = report(template, (ONE, CAVA), said("ves.relation", CODES["vr.abut"], "ves.ivc"))
    found = carry(report(template, (ONE,)), before, template).report
    assert found.subject("ves.ivc") == CAVA
    assert found.answers == before.answers


def test_what_is_said_about_a_series_that_is_gone_is_told(template: Template) -> None:
    before = report(template, (SERIES,), said("tid.modality", CODES["mod.ct"], "Series 2"))
    found = carry(report(template), before, template)
    assert found.report.answers == ()
    (difference,) = found.differences
    assert "not in the study any more" in difference.source


def test_a_series_is_the_same_under_another_name(template: Template) -> None:
    before = report(template, (SERIES,), said("tid.modality", CODES["mod.ct"], "Series 2"))
    renamed = replace(SERIES, key="Series 2 (2)")
    found = carry(report(template, (renamed,)), before, template).report
    assert found.answers_of("tid.modality", "Series 2 (2)")


def test_an_answer_to_a_question_that_is_not_asked_any_more_is_told_and_not_kept(template: Template) -> None:
    before = report(template, (ONE,), said("gone.item", CODES["gp.mixed"]))
    found = carry(report(template, (ONE,)), before, template)
    assert found.report.answers == ()
    (difference,) = found.differences
    assert difference.source.endswith("the template does not ask it any more")


def test_carrying_twice_is_carrying_once(template: Template) -> None:
    before = report(
        template,
        (ONE, CAVA),
        *identity(ONE),
        said("gp", CODES["gp.mixed"]),
        said("ves.relation", CODES["vr.abut"], "ves.ivc"),
    )
    fresh = report(template, (replace(ONE, tracking_uid="2.25.77"), SERIES), answer("sz.long_axis", mm("1.0")))
    once = carry(fresh, before, template).report
    assert carry(fresh, once, template).report == once


# --- what has one tracking UID, and what is said by being named ------------------------------------------------------------


def on(subject: Subject, number: int) -> Subject:
    segment = Reference(
        sop_class_uid=b.SEGMENTATION, sop_instance_uid="1.7.1", series_instance_uid="1.7", segment=number
    )
    return replace(subject, segment=segment)


def contoured(subject: Subject, number: int) -> Subject:
    return replace(subject, segment=b.roi(number))


@pytest.mark.parametrize("marked", [on, contoured])
def test_two_masks_with_one_tracking_uid_are_told_apart_by_their_segments(
    template: Template, marked: Callable[[Subject, int], Subject]
) -> None:
    one, two = marked(ONE, 1), marked(replace(TWO, tracking_uid=ONE.tracking_uid), 2)
    before = report(template, (one, two), said("gp", CODES["gp.mixed"]), said("gp", CODES["gp.intra"], "LMS-T2"))
    # found in another order this time
    swapped = (replace(two, key="LMS-T1"), replace(one, key="LMS-T2"))
    fresh = report(
        template,
        swapped,
        answer("sz.long_axis", mm("20.0"), "LMS-T1"),
        answer("sz.long_axis", mm("110.0"), "LMS-T2"),
    )
    found = carry(fresh, before, template).report
    assert [(s.key, s.segment.number) for s in found.subjects if s.segment] == [("LMS-T1", 1), ("LMS-T2", 2)]
    assert found.answers_of("sz.long_axis", "LMS-T1")[0].values == (mm("110.0"),)
    assert found.answers_of("sz.long_axis", "LMS-T2")[0].values == (mm("20.0"),)
    assert found.answers_of("gp", "LMS-T2")[0].values == (CODES["gp.intra"],)


def test_two_masks_with_one_tracking_uid_stay_two_without_their_segments(template: Template) -> None:
    twin = replace(TWO, tracking_uid=ONE.tracking_uid)
    before = report(template, (ONE, twin), said("gp", CODES["gp.mixed"]), said("gp", CODES["gp.intra"], "LMS-T2"))
    fresh = report(template, (ONE, twin), answer("sz.long_axis", mm("20.0"), "LMS-T2"))
    found = carry(fresh, before, template).report
    assert [s.key for s in found.subjects] == ["LMS-T1", "LMS-T2"]
    assert found.answers_of("gp", "LMS-T1")[0].values == (CODES["gp.mixed"],)
    assert found.answers_of("sz.long_axis", "LMS-T2")


def test_a_node_at_its_station_and_a_candidate_stay_without_an_answer(template: Template) -> None:
    node = Subject(
        key="LMS-LN1", scope=Scope.NODE, tracking_id="LMS-LN1", tracking_uid="2.25.8", structure=CODES["ln.aortic"]
    )
    candidate = Subject(
        key="dd.ddlps",
        scope=Scope.CANDIDATE,
        tracking_id=CODES["dd.ddlps"].meaning,
        tracking_uid="",
        structure=CODES["dd.ddlps"],
    )
    before = report(template, (ONE, node, candidate))
    assert carry(report(template, (ONE,)), before, template).report.subjects == (ONE, node, candidate)


# --- whose word stands ---------------------------------------------------------------------------------------------------


def taken(value: str, who: str) -> Answer:
    return replace(said("sz.long_axis", mm(value)), observer=who, basis="measured in a viewer")


def test_what_was_verified_elsewhere_gives_way_to_what_is_verified_now_and_not_to_a_proposal(
    template: Template,
) -> None:
    before = report(template, (ONE,), taken("100.0", "Poe^Ann"))
    later = report(template, (ONE,), taken("104.0", "Roe^Jane"))
    assert carry(later, before, template).report.answers == later.answers
    proposal = report(template, (ONE,), answer("sz.long_axis", mm("104.0")))
    assert carry(proposal, before, template).report.answers == before.answers
    ours = report(template, (ONE,), said("sz.long_axis", mm("99.0")))
    assert carry(later, ours, template).report.answers == ours.answers


def test_ranks(template: Template) -> None:
    assert rank(()) is Rank.PROPOSED
    assert rank((answer("sz.long_axis", mm("1.0")),)) is Rank.PROPOSED
    assert rank((taken("1.0", "Poe^Ann"),)) is Rank.VERIFIED
    assert rank((said("sz.long_axis", mm("1.0")),)) is Rank.CONFIRMED


def test_what_was_told_of_the_facts_is_held_against_what_stands(template: Template) -> None:
    told = Difference(item="sz.long_axis", subject="LMS-T1", stands="104.0 mm", found="100.0 mm", source="a viewer")
    fresh = report(template, (ONE,), answer("sz.long_axis", mm("104.0")))
    before = report(template, (ONE,), said("sz.long_axis", mm("100.0")))
    found = carry(fresh, before, template, [told])
    # what was found there is what the radiologist says: that is no difference any more, what the viewer says now is one
    assert [(d.stands, d.found) for d in found.differences] == [("100.0 mm", "104.0 mm")]
    assert still([told], fresh) == (told,)
    assert still([told], before) == ()
