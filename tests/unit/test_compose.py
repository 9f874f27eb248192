"""What a draft says, and what it must not say."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from service.flow.derive import derive, t_category
from service.model.code import Code
from service.model.prior import PriorReport
from service.model.report import Date, Provenance, Quantity, Scope, Status
from sr_templates import load_codes, load_template
from sr_templates.questions import completeness
from tests import builders as b

CODES = load_codes()


def values(report, item, subject=""):
    return [v for a in report.answers_of(item, subject) for v in a.values]


def test_measurements_of_a_segmentation_become_proposals_with_their_source():
    report = b.report(b.study(), b.tumour())
    (answer,) = report.answers_of("sz.volume", "LMS-T1")
    assert answer.values == (Quantity(number=Decimal("684.0"), unit=CODES["u.cm3"]),)
    assert (answer.status, answer.provenance) == (Status.PROPOSED, Provenance.SEGMENTATION)
    assert "voxel count" in answer.basis
    (long_axis,) = report.answers_of("sz.long_axis", "LMS-T1")
    assert [len(e.points) for e in long_axis.evidence] == [2]


def test_mean_and_standard_deviation_stay_two_answers():
    answers = b.report(b.study(), b.tumour()).answers_of("ct.hu", "LMS-T1")
    assert [(a.derivation.meaning, str(a.values[0].number)) for a in answers] == [
        ("Mean", "61.2"),
        ("Standard Deviation", "24.4"),
    ]


@pytest.mark.parametrize(
    ("millimetres", "category"),
    [(50, "st.t1"), (50.1, "st.t2"), (100, "st.t2"), (100.04, "st.t3"), (150, "st.t3"), (150.01, "st.t4")],
)
def test_t_category_takes_the_lower_class_at_its_limits_without_rounding(millimetres, category):
    assert t_category(millimetres) == category


def test_t_category_uses_the_largest_dimension_in_any_plane():
    report = derive(b.report(b.study(), b.tumour(extents=(151.0, 60.0, 60.0))), load_template("baseline"))
    assert values(report, "st.t", "LMS-T1") == [CODES["st.t4"]]


def test_the_t_category_names_the_dimension_that_the_report_shows():
    report = derive(b.report(b.study(), b.tumour(extents=(142.46, 60.0, 60.0))), load_template("baseline"))
    (category,) = report.answers_of("st.t", "LMS-T1")
    assert category.basis == f"largest segmented dimension, {values(report, 'sz.height', 'LMS-T1')[0].number} mm"


def test_one_segment_proves_no_solitary_lesion_and_several_say_multiple():
    assert values(b.report(b.study(), b.tumour()), "tum.lesion_load") == []
    two = b.report(b.study(), b.tumour(1), b.tumour(2))
    assert values(two, "tum.lesion_load") == [CODES["load.2_5"]]
    assert values(derive(two, load_template("baseline")), "st.t", "LMS-T1") == []


def test_masks_of_one_tumour_on_several_series_are_not_counted_as_lesions():
    other = b.tumour()
    other = replace(other, source=replace(other.source, sop_instance_uid=f"{b.series_uid(6)}.1"))
    report = b.report(b.study(), b.tumour(), other)
    assert values(report, "tum.lesion_load") == []
    assert any("whether they show one lesion" in r for r in report.remarks)


def test_nothing_is_said_to_be_absent_because_a_header_does_not_name_it():
    bare = b.study(b.series(2, description="Thorax nativ"))
    report = b.report(bare)
    for item in ("tech.contrast_given", "tech.chest_covered", "tid.target_region"):
        assert values(report, item) == []


def test_before_tissue_diagnosis_the_finding_is_a_mass():
    assert values(b.report(b.study(), b.tumour()), "tid.finding", "LMS-T1") == [CODES["tum.mass"]]


def test_no_draft_has_an_impression_a_diagnosis_or_a_growth_pattern():
    report = b.report(b.study(), b.tumour())
    for item in ("hd.impression_el", "hd.recommendation_el", "ctx.dx_status", "gp", "cert", "ves.origin"):
        assert [a for a in report.answers if a.item == item] == []


def test_not_evaluated_is_never_written_by_the_machine():
    report = b.report(b.study(), b.tumour())
    assert CODES["v.not_evaluated"] not in [v for a in report.answers for v in a.values]


def test_comparison_is_none_in_the_registry_or_the_earlier_report():
    assert values(b.report(), "ctx.comparison") == ["none in the registry"]
    prior = PriorReport(study_instance_uid="1.2.3", study_date="20251201", modalities=("CT",), version=2, signed=True)
    report = b.report(b.study(), prior=prior)
    assert values(report, "ctx.comparison") == ["CT, 2025-12-01, report version 2, signed"]
    assert values(report, "ctx.comparison_date") == [Date("20251201")]
    assert values(report, "fu.interval") == [Quantity(number=Decimal(90), unit=CODES["u.day"])]


def test_a_site_procedure_code_passes_through_and_an_overlong_one_falls_back():
    assert values(b.report(b.study(procedure_codes=(b.SITE_CODE,))), "tid.procedure_reported") == [b.SITE_CODE]
    long = Code("X" * 17, "99SITE", "too long")
    assert values(b.report(b.study(procedure_codes=(long,))), "tid.procedure_reported") == [CODES["proc.ct_report"]]


def test_a_study_of_several_modalities_is_an_imaging_procedure():
    mixed = b.study(b.series(2), b.series(3, modality="PT"))
    assert values(b.report(mixed), "tid.procedure_reported") == [CODES["proc.imaging"]]


def test_a_number_outside_its_range_is_not_proposed():
    absurd = b.study(b.series(2, SliceThickness="900"))
    assert values(b.report(absurd), "tid.slice_thickness", "Series 2") == []


def test_two_series_of_one_number_stay_apart():
    twins = b.study(b.series(2), replace(b.series(3), number=2))
    keys = [s.key for s in b.report(twins).subjects_of(Scope.SERIES)]
    assert keys == ["Series 2", "Series 2 (2)"]


def test_items_of_other_modalities_are_not_asked():
    template = load_template("baseline")
    ct, mr = (completeness(b.report(b.study(b.series(2, modality=m))), template).open_items for m in ("CT", "MR"))
    assert "MR signal" not in ct
    assert "Attenuation and enhancement" in ct
    assert "MR signal" in mr
    assert "Restricted diffusion" not in ct


def test_completeness_counts_what_a_person_has_to_do():
    counted = completeness(b.report(b.study(), b.tumour()), load_template("baseline"))
    assert counted.prompts == counted.open + counted.proposed
    assert counted.confirmed == 0
    assert "Growth pattern" in counted.open_items
    assert "Size" not in counted.open_items


def test_a_confirmed_answer_is_counted_as_confirmed():
    report = b.report(b.study(), b.tumour())
    answers = tuple(
        replace(a, status=Status.CONFIRMED, provenance=Provenance.RADIOLOGIST) if a.item == "hd.indications" else a
        for a in report.answers
    )
    assert completeness(replace(report, answers=answers), load_template("baseline")).confirmed == 1


def test_without_tissue_diagnosis_the_certainty_is_asked_and_with_one_it_is_not():
    template = load_template("baseline")
    report = b.report()
    assert "Differential" in completeness(report, template).open_items
    base = report.answers[0]
    proven = replace(
        base, item="ctx.dx_status", values=(CODES["ctx.dx_status.biopsy"],), subject="", status=Status.CONFIRMED
    )
    answered = replace(report, answers=(*report.answers, proven))
    assert "Differential" not in completeness(answered, template).open_items
