"""What comes back as an SR: what is taken, what is left, whose it is, and that the order of arrival does not show."""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal

import pytest

from service.flow.taking import Look, Returned, take, verifier_of
from service.model.code import Code
from service.model.foreign import (
    Coded,
    Evaluation,
    Evidence,
    ForeignGroup,
    ForeignMeasurement,
    ForeignReport,
    Graphic,
    GraphicType,
    Site,
    ValueType,
    Verification,
    Verifier,
)
from service.model.measurement import Reference
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status, Subject
from sr_templates import Template, load_codes
from tests import builders as b
from tests.small_template import small

CODES = load_codes()
MM, CM3 = CODES["u.mm"], CODES["u.cm3"]
ONE = Subject(key="LMS-T1", scope=Scope.LESION, tracking_id="LMS-T1", tracking_uid="2.25.1")
IMAGE = Reference(sop_class_uid=b.CT_IMAGE, sop_instance_uid="1.2.9", series_instance_uid="1.2")
SR = Reference(sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33", sop_instance_uid="1.5.1", series_instance_uid="1.5")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return small(tmp_path_factory.mktemp("small"))


def report(template: Template, *answers: Answer, subjects: tuple[Subject, ...] = (ONE,)) -> Report:
    return Report(
        template=template.key,
        template_version=template.version,
        study_instance_uid=b.STUDY_UID,
        modalities=("CT",),
        subjects=subjects,
        answers=answers,
    )


def segmented(item: str, value: Quantity) -> Answer:
    return Answer(
        item=item, subject="LMS-T1", values=(value,), status=Status.PROPOSED, provenance=Provenance.SEGMENTATION
    )


def mm(number: str) -> Quantity:
    return Quantity(number=Decimal(number), unit=MM)


def coded(key: str) -> Coded:
    return Coded(code=CODES[key], received=CODES[key])


def line(*points: tuple[float, float]) -> Evidence:
    graphic = Graphic(kind=GraphicType.POLYLINE, points=points)
    return Evidence(place="1.2.1", value_type=ValueType.SCOORD, images=(IMAGE,), graphic=graphic)


def measured(number: str, concept: str = "sz.long_axis", unit: Code | None = MM, **more: object) -> ForeignMeasurement:
    made = ForeignMeasurement(
        place="1.2",
        concept=coded(concept),
        value=Decimal(number),
        unit=unit,
        received_value=Decimal(number),
        received_unit=unit,
        evidence=(line((1.0, 2.0), (3.0, 4.0)),),
    )
    return replace(made, **more)  # type: ignore[arg-type] - fields of ForeignMeasurement


def group(*measurements: ForeignMeasurement, **more: object) -> ForeignGroup:
    made = ForeignGroup(place="1", tracking_id="a", tracking_uid="2.25.1", measurements=measurements)
    return replace(made, **more)  # type: ignore[arg-type] - fields of ForeignGroup


def returned(*groups: ForeignGroup, uid: str = "1.5.1", **more: object) -> Returned:
    foreign = ForeignReport(
        sop_class_uid=SR.sop_class_uid,
        sop_instance_uid=uid,
        series_instance_uid="1.5",
        study_instance_uid=b.STUDY_UID,
        title=coded("tid.title.imaging"),
        groups=groups,
    )
    made = Returned(reference=replace(SR, sop_instance_uid=uid), foreign=foreign)
    return replace(made, **more)  # type: ignore[arg-type] - fields of Returned


def test_a_measured_number_takes_the_place_of_the_segmented_one(template: Template) -> None:
    found = take(
        report(template, segmented("sz.long_axis", mm("100.0"))), [returned(group(measured("104.26")))], template
    )
    (answer,) = found.report.answers_of("sz.long_axis", "LMS-T1")
    assert answer.values == (mm("104.3"),)
    assert (answer.status, answer.provenance, answer.observer) == (Status.PROPOSED, Provenance.MEASUREMENT_SR, "")
    assert found.included == (SR,)
    (difference,) = found.differences
    assert (difference.stands, difference.found, difference.source) == ("104.3 mm", "100.0 mm", "from the segmentation")


def test_a_verified_number_is_confirmed_by_who_verified_it(template: Template) -> None:
    found = take(report(template), [returned(group(measured("104")), verifier="Poe^Ann")], template)
    (answer,) = found.report.answers_of("sz.long_axis", "LMS-T1")
    assert (answer.status, answer.provenance, answer.observer) == (Status.CONFIRMED, Provenance.RADIOLOGIST, "Poe^Ann")


def test_a_line_in_a_viewers_own_report_is_referenced_and_in_an_edit_of_ours_drawn(template: Template) -> None:
    theirs = take(report(template), [returned(group(measured("104")))], template).report
    ours = take(report(template), [returned(group(measured("104")), edit=True)], template).report
    assert theirs.answers[0].evidence == (IMAGE,)
    assert ours.answers[0].evidence == (replace(IMAGE, points=((1.0, 2.0), (3.0, 4.0))),)


@pytest.mark.parametrize(
    "odd",
    [
        measured("104", "sz.length"),  # a length is no long axis: nothing is mapped by what it may mean
        measured("104", unit=CODES["u.cm"]),
        measured("104", unit=None),
        measured("0.2"),
        measured("9999"),
        measured("104", value=None),
    ],
    ids=["another concept", "another unit", "no unit", "too small", "too large", "no number"],
)
def test_what_answers_no_question_is_left_alone(template: Template, odd: ForeignMeasurement) -> None:
    before = report(template, segmented("sz.long_axis", mm("100.0")))
    found = take(before, [returned(group(odd))], template)
    assert (found.report, found.included, found.differences) == (before, (), ())


def test_a_lesion_that_nobody_tracks_is_made_only_where_it_is_called_a_tumour(template: Template) -> None:
    stranger = group(measured("30"), tracking_uid="2.25.9", tracking_id="node?")
    assert take(report(template), [returned(stranger)], template).report == report(template)
    tumour = replace(stranger, finding=coded("tum.mass"), tracking_id="second mass")
    found = take(report(template), [returned(tumour)], template).report
    made = found.subject("LMS-T2")
    assert made is not None
    assert (made.tracking_uid, made.tracking_id) == ("2.25.9", "second mass")
    assert found.answers_of("sz.long_axis", "LMS-T2")[0].values == (mm("30.0"),)
    assert found.answers_of("tid.tracking_uid", "LMS-T2")


def test_coded_findings_are_taken_where_the_question_has_the_value(template: Template) -> None:
    spoken = Evaluation(place="1.3", concept=coded("gp"), value_type=ValueType.CODE, value=coded("gp.mixed"))
    odd = replace(spoken, value=coded("v.right"))
    site = Site(site=coded("site.retroperitoneum"), laterality=coded("v.left"))
    found = take(
        report(template), [returned(group(measured("104"), evaluations=(spoken,), sites=(site,)))], template
    ).report
    assert found.answers_of("gp", "LMS-T1")[0].values == (CODES["gp.mixed"],)
    assert found.answers_of("tid.laterality", "LMS-T1")[0].values == (CODES["v.left"],)
    assert not take(report(template), [returned(group(evaluations=(odd,)))], template).report.answers


def test_the_later_of_two_counts_whatever_the_order_of_arrival(template: Template) -> None:
    early = returned(group(measured("90")), uid="1.5.9", written="20260101120000")
    late = returned(group(measured("95")), uid="1.5.1", written="20260101130000")
    results = [take(report(template), order, template) for order in itertools.permutations([early, late])]
    assert results[0] == results[1]
    (answer,) = results[0].report.answers_of("sz.long_axis", "LMS-T1")
    assert answer.values == (mm("95.0"),)
    assert [r.sop_instance_uid for r in results[0].included] == ["1.5.1", "1.5.9"]
    assert results[0].differences[0].found == "90.0 mm"


def test_an_edit_of_ours_with_a_line_that_no_question_asks_for_is_left_to_a_person(template: Template) -> None:
    """Our next version would hide that line."""
    found = take(report(template), [returned(group(measured("104"), measured("12", "sz.length")), edit=True)], template)
    assert found.included == ()
    whole = take(report(template), [returned(group(measured("104")), edit=True)], template)
    assert whole.included == (SR,)


def test_a_group_on_our_segment_is_about_our_lesion_whatever_its_tracking_uid(template: Template) -> None:
    segment = Reference(sop_class_uid=b.SEGMENTATION, sop_instance_uid="1.7.1", series_instance_uid="1.7", segment=2)
    before = report(template, subjects=(replace(ONE, segment=segment),))
    there = group(measured("104"), tracking_uid="2.25.99", segments=(segment,), finding=coded("tum.neoplasm"))
    found = take(before, [returned(there)], template).report
    assert [s.key for s in found.subjects] == ["LMS-T1"]
    assert found.answers_of("sz.long_axis", "LMS-T1")
    other = replace(there, segments=(replace(segment, segment=3),))
    assert len(take(before, [returned(other)], template).report.subjects) == 2


def test_of_several_statistics_the_mean_is_taken_and_our_others_stay(template: Template) -> None:
    hu = CODES["u.hu"]
    mean, spread = CODES["deriv.mean"], CODES["deriv.sd"]
    mine = [
        replace(segmented("ct.hu", Quantity(number=Decimal(n), unit=hu)), derivation=d)
        for n, d in ((40, mean), (8, spread))
    ]
    theirs = [
        measured(n, "ct.hu", hu, derivation=Coded(code=d, received=d))
        for n, d in (("44", mean), ("300", CODES["deriv.max"]))
    ]
    found = take(report(template, *mine), [returned(group(*theirs))], template).report
    assert {(a.derivation, str(a.values[0].number)) for a in found.answers} == {(mean, "44"), (spread, "8")}  # type: ignore[union-attr] - quantities


def test_a_later_report_that_nobody_verified_leaves_what_somebody_verified(template: Template) -> None:
    verified = returned(group(measured("90")), uid="1.5.1", written="20260101120000", verifier="Poe^Ann")
    later = returned(group(measured("95")), uid="1.5.2", written="20260101130000")
    found = take(report(template), [verified, later], template)
    (answer,) = found.report.answers_of("sz.long_axis", "LMS-T1")
    assert (answer.values, answer.status, answer.observer) == ((mm("90.0"),), Status.CONFIRMED, "Poe^Ann")
    assert [(d.stands, d.found) for d in found.differences] == [("90.0 mm", "95.0 mm")]
    # and what somebody verified later stands over both
    last = returned(group(measured("97")), uid="1.5.3", written="20260101140000", verifier="Roe^Jane")
    (answer,) = take(report(template), [verified, later, last], template).report.answers_of("sz.long_axis", "LMS-T1")
    assert (answer.values, answer.observer) == ((mm("97.0"),), "Roe^Jane")


def test_of_two_masks_with_one_tracking_uid_the_measured_one_is_meant(template: Template) -> None:
    first = Reference(sop_class_uid=b.SEGMENTATION, sop_instance_uid="1.7.1", series_instance_uid="1.7", segment=1)
    second = replace(first, segment=2)
    twins = (
        replace(ONE, segment=first),
        replace(ONE, key="LMS-T2", tracking_id="LMS-T2", segment=second),
    )
    there = group(measured("104"), segments=(second,))
    found = take(report(template, subjects=twins), [returned(there)], template).report
    assert found.answers_of("sz.long_axis", "LMS-T2")
    assert not found.answers_of("sz.long_axis", "LMS-T1")


# --- edits of our report -------------------------------------------------------------------------------------------------


def edited(report_: Report, base: Report | None, **more: object) -> Returned:
    made = Returned(reference=SR, edit=True, report=report_, base=base)
    return replace(made, **more)  # type: ignore[arg-type] - fields of Returned


def test_only_what_an_edit_changed_is_taken(template: Template) -> None:
    base = report(template, segmented("sz.long_axis", mm("100.0")), segmented("sz.short_axis", mm("50.0")))
    edit = report(template, segmented("sz.long_axis", mm("104.0")), segmented("sz.short_axis", mm("50.0")))
    fresh = report(template, segmented("sz.long_axis", mm("100.0")), segmented("sz.short_axis", mm("51.0")))
    found = take(fresh, [edited(edit, base)], template)
    by_item = {a.item: a for a in found.report.answers}
    assert by_item["sz.long_axis"].values == (mm("104.0"),)
    assert by_item["sz.long_axis"].provenance is Provenance.MEASUREMENT_SR
    # the edit says what the version before said, and that is what the facts no longer say
    assert by_item["sz.short_axis"] == fresh.answers[1]
    assert found.included == (SR,)


def test_what_an_edit_leaves_out_is_no_statement(template: Template) -> None:
    base = report(template, segmented("sz.long_axis", mm("100.0")))
    assert take(base, [edited(report(template), base)], template).report == base


def test_a_report_of_ours_that_the_registry_lost_gives_back_what_was_confirmed(template: Template) -> None:
    stated = Answer(
        item="gp",
        subject="LMS-T1",
        values=(CODES["gp.mixed"],),
        status=Status.CONFIRMED,
        provenance=Provenance.RADIOLOGIST,
        observer="Roe^Jane",
    )
    lost = report(template, segmented("sz.long_axis", mm("77.0")), stated)
    found = take(report(template, segmented("sz.long_axis", mm("100.0"))), [edited(lost, None)], template).report
    assert set(found.answers) == {segmented("sz.long_axis", mm("100.0")), stated}


def test_an_edited_vessel_is_found_by_its_key(template: Template) -> None:
    cava = Subject(
        key="ves.ivc", scope=Scope.VESSEL, tracking_id="cava", tracking_uid="2.25.3", structure=CODES["ves.ivc"]
    )
    relation = Answer(
        item="ves.relation",
        subject="ves.ivc",
        values=(CODES["vr.abut"],),
        status=Status.CONFIRMED,
        provenance=Provenance.RADIOLOGIST,
        observer="Roe^Jane",
    )
    edit = report(template, relation, subjects=(ONE, cava))
    found = take(report(template), [edited(edit, report(template), verifier="Poe^Ann")], template).report
    assert found.subject("ves.ivc") == cava
    assert found.answers_of("ves.relation", "ves.ivc")[0].observer == "Poe^Ann"


# --- who verified --------------------------------------------------------------------------------------------------------


def test_nobody_verified_what_is_not_flagged_so() -> None:
    foreign = returned().foreign
    assert foreign is not None
    named = replace(foreign, verifiers=(Verifier(name="Poe^Ann"),))
    assert verifier_of(named) == ""
    assert verifier_of(replace(named, verification=Verification.VERIFIED)) == "Poe^Ann"
    assert verifier_of(replace(foreign, verification=Verification.VERIFIED)) == ""


def test_a_report_about_a_further_mark_of_a_lesion_is_about_that_lesion(template: Template) -> None:
    """The segmentation on PET of what was also segmented on CT."""
    further = Reference(sop_class_uid=b.SEGMENTATION, sop_instance_uid="1.8.1", series_instance_uid="1.8", segment=1)
    there = group(measured("104"), tracking_uid="2.25.99", segments=(further,), finding=coded("tum.neoplasm"))
    assert len(take(report(template), [returned(there)], template).report.subjects) == 2
    found = take(report(template), [returned(there)], template, Look(marks={("1.8.1", 1): "LMS-T1"})).report
    assert [s.key for s in found.subjects] == ["LMS-T1"]
    assert found.answers_of("sz.long_axis", "LMS-T1")


@pytest.mark.parametrize(("number", "flagged"), [("10.0", False), ("12.0", True)])
def test_a_length_that_is_not_that_of_its_line_is_said_beside_the_number(
    template: Template, number: str, flagged: bool
) -> None:
    one = measured(number, evidence=(line((10.0, 20.0), (30.0, 20.0)),))
    look = Look(spacings={"1.2.9": (0.7, 0.5)})
    (lesion,) = take(report(template), [returned(group(one))], template, look).report.subjects
    said = "Long Axis 12.0 mm is not the length of its line on the image, which is 10.0 mm: measure again"
    assert lesion.remarks == ((said,) if flagged else ())
