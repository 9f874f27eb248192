"""Every check broken and kept, the rules of the templates, and what holds for every item."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest

from service.flow.derive import derive
from service.flow.rules import BUILT_IN, CHECKS, broken_rules
from service.model.code import Code
from service.model.measurement import Reference
from service.model.report import Provenance, Quantity, Status
from service.settings import Clinical
from sr_templates import load_codes
from tests.stated import SERIES_UID, TEMPLATES, earlier, given_reason, stated

CODES = load_codes()
PROVEN = {"ctx.dx_status": "ctx.dx_status.biopsy"}


def broken(report, clinical=None, prior=None):
    return broken_rules(report, TEMPLATES[report.template], clinical or Clinical(), prior=prior)


def rules(report, **arguments):
    return [b.rule for b in broken(report, **arguments)]


def test_every_check_that_a_template_names_exists_and_every_one_is_named():
    named = {r.check for t in TEMPLATES.values() for r in t.rules if r.check}
    assert named == set(CHECKS)


def test_an_empty_report_breaks_nothing():
    for name in TEMPLATES:
        assert broken(stated({}, template=name)) == ()


# --- vessels


@pytest.mark.parametrize(
    ("segments", "kept"),
    [
        (("ivc.lower", "ivc.upper"), False),
        (("ivc.lower", "ivc.middle"), True),
        (("ivc.lower", "ivc.middle", "ivc.upper"), True),
        (("ivc.upper",), True),
    ],
)
def test_segments_of_the_vena_cava_are_contiguous(segments, kept):
    report = stated({"ves.relation@ves.ivc": "vr.luminal", "ivc.segment@ves.ivc": segments})
    assert ("IVC1-contiguous" not in rules(report)) is kept


@pytest.mark.parametrize(
    ("origin", "kept"), [("ivc.middle", True), ("v.undetermined", True), ("ivc.lower", False), ("ivc.upper", False)]
)
def test_the_segment_of_origin_is_one_of_those_involved(origin, kept):
    report = stated(
        {
            "ves.origin": "ves.ivc",
            "ves.relation@ves.ivc": "vr.origin",
            "ivc.segment@ves.ivc": "ivc.middle",
            "ivc.origin_segment@ves.ivc": origin,
        }
    )
    assert ("IVC1-origin" not in rules(report)) is kept


@pytest.mark.parametrize(("angle", "kept"), [(180, True), (1, True), (181, False), (0, False)])
def test_a_rule_with_require_is_about_each_subject(angle, kept):
    report = stated(
        {
            "ves.relation@ves.ivc": "vr.abut",
            "ves.contact_angle@ves.ivc": angle,
            "ves.relation@ves.aorta_abd": "vr.encase",
            "ves.contact_angle@ves.aorta_abd": 200,
        }
    )
    found = [(b.rule, b.subject) for b in broken(report) if b.rule == "VES1-abut"]
    assert found == ([] if kept else [("VES1-abut", "ves.ivc")])


def test_a_rule_about_lesions_names_the_one_that_breaks_it():
    answers = {
        "arc.necrosis@LMS-T1": "v.present",
        "arc.necrosis_ext@LMS-T1": "nec.ge50",
        "arc.necrosis@LMS-T2": "v.absent",
        "arc.necrosis_ext@LMS-T2": "nec.none",
        "gp@LMS-T1": "gp.extra",
        "gp@LMS-T2": "gp.intra",
        "ves.origin": "ves.ivc",
        "ves.relation@ves.ivc": "vr.origin",
        "ves.relation@ves.renal_v/left": "vr.luminal",
    }
    assert broken(stated(answers)) == ()
    report = stated({**answers, "arc.necrosis_ext@LMS-T2": "nec.lt25", "ves.relation@ves.renal_v/left": "vr.abut"})
    assert [(b.rule, b.subject) for b in broken(report)] == [("ARC1-absent", "LMS-T2"), ("GP1-intra", "LMS-T2")]


def test_a_large_node_is_told_though_another_is_small():
    nodes = {"ln.lymphadenopathy": "v.absent", "sz.short_axis#node@LMS-LN1": 9, "sz.short_axis#node@LMS-LN2": 16}
    assert [(b.rule, b.subject) for b in broken(stated(nodes))] == [("LN1-size", "LMS-LN2")]


def test_a_node_is_no_distant_metastasis_and_every_other_site_is():
    item = TEMPLATES["baseline"].item("tid.finding_site#met")
    assert item is not None
    for site in item.value_keys:
        report = stated({f"met.status@{site}": "mst.definite", "st.m": "st.m0"})
        assert ("M1-sites" in rules(report)) is (site != "mets.lymph_node"), site


# --- sizes

EXTENTS = {"sz.height@LMS-T1": 100, "sz.width@LMS-T1": 80, "sz.depth@LMS-T1": 60}
ELLIPSOID = Decimal(str(math.pi)) / 6 * 100 * 80 * 60 / 1000  # 251.3 mL


def volume(millilitres, method, **answers):
    report = stated({**EXTENTS, "sz.volume@LMS-T1": millilitres, **answers})
    return replace(
        report,
        answers=tuple(replace(a, method=CODES[method]) if a.item == "sz.volume" else a for a in report.answers),
    )


@pytest.mark.parametrize(
    ("share", "kept"), [("1.0", True), ("1.0099", True), ("0.9901", True), ("1.0101", False), ("0.9899", False)]
)
def test_an_ellipsoids_volume_is_that_of_its_extents_but_for_one_percent(share, kept):
    report = volume(ELLIPSOID * Decimal(share), "sz.method_ellipsoid")
    assert ("SZ1-ellipsoid" not in rules(report)) is kept
    assert "SZ1-ellipsoid" not in rules(volume(ELLIPSOID * Decimal(share), "sz.method_voxel"))


def test_segmented_volume_and_ellipsoid_may_differ_by_what_the_setting_says():
    assert "SZ1-volumes" not in rules(volume(ELLIPSOID / Decimal("1.39"), "sz.method_voxel"))
    off = [b for b in broken(volume(ELLIPSOID / Decimal("1.41"), "sz.method_voxel")) if b.rule == "SZ1-volumes"]
    assert [(b.subject, b.warning) for b in off] == [("LMS-T1", True)]
    assert "the extents give 251 mL" in off[0].message
    assert "SZ1-volumes" not in rules(
        volume(ELLIPSOID / Decimal("1.41"), "sz.method_voxel"), clinical=Clinical(volume_disagreement_percent=50)
    )


@pytest.mark.parametrize(("axis", "kept"), [(110, True), (110.1, False), (90, True)])
def test_an_extent_reaches_the_long_axis_but_for_what_the_setting_allows(axis, kept):
    assert ("SZ2-axis" not in rules(stated({**EXTENTS, "sz.long_axis@LMS-T1": axis}))) is kept


# --- staging


def test_another_t_category_than_the_size_gives_needs_a_reason():
    report = stated({**EXTENTS, "st.t@LMS-T1": "st.t3"})
    (found,) = (b for b in broken(report) if b.rule == "T1-override")
    assert found.message.endswith("cT2 (largest dimension, 100.0 mm).")
    assert not found.warning
    assert "T1-override" not in rules(given_reason(report, "st.t", "growth since the biopsy", "LMS-T1"))
    assert "T1-override" not in rules(stated({**EXTENTS, "st.t@LMS-T1": "st.t2"}))
    assert "T1-override" not in rules(stated({"st.t@LMS-T1": "st.t3"}))  # no size, nothing to differ from
    assert "override-reason" not in rules(report)  # said once


STAGED = {
    **PROVEN,
    "st.chapter": "st.chapter.rp",
    "gr.histologic_grade": "gr.g2",
    "st.t@LMS-T1": "st.t3",
    "st.n": "st.n0",
    "st.m": "st.m0",
}


@pytest.mark.parametrize(
    ("changes", "group", "kept"),
    [
        ({}, "st.g_iiib", True),
        ({}, "st.g_iiia", False),
        ({"gr.histologic_grade": "gr.gx"}, "st.g_ib", True),  # stated as such it counts with G1
        ({"gr.histologic_grade": "gr.gx"}, "st.g_iiib", False),
        ({"gr.histologic_grade": "gr.gx", "st.t@LMS-T1": "st.t1"}, "st.g_ia", True),
        ({"gr.histologic_grade": "v.not_evaluated"}, "st.g_ib", False),
        ({"st.chapter": "st.chapter.trunk"}, "st.g_iiib", False),
        ({"st.n": "st.n1", "gr.histologic_grade": "gr.gx"}, "st.g_iiib", True),  # every grade
        ({"st.n": "st.n1"}, "st.g_iv", False),  # the trunk's table
        ({"st.m": "st.m1", "gr.histologic_grade": "gr.gx"}, "st.g_iv", True),
    ],
)
def test_a_stated_stage_group_is_that_of_the_table(changes, group, kept):
    report = stated({**STAGED, **changes, "st.group": group})
    assert ("T2-group" not in rules(report)) is kept


def test_a_stage_group_with_a_reason_stands():
    report = stated({**STAGED, "st.group": "st.g_iiia"})
    assert "T2-group" not in rules(given_reason(report, "st.group", "board decision"))


@pytest.mark.parametrize(
    ("scores", "grade", "kept"),
    [
        ((1, 1, 1), "gr.g1", True),
        ((1, 1, 1), "gr.g2", False),
        ((2, 1, 1), "gr.g2", True),
        ((3, 1, 1), "gr.g2", True),
        ((3, 2, 1), "gr.g2", False),
        ((3, 2, 1), "gr.g3", True),
        ((3, 3, 2), "gr.gx", False),
    ],
)
def test_a_grade_is_that_of_its_scores(scores, grade, kept):
    answers = dict(zip(("gr.diff", "gr.mitosis", "gr.necrosis"), scores, strict=True))
    assert ("FN1-grade" not in rules(stated({**PROVEN, **answers, "gr.histologic_grade": grade}))) is kept


# --- response


def response(*lengths, nodes=(), **more):
    answers = {f"fu.baseline_cat@LMS-T{n}": "fu.target" for n in range(1, len(lengths) + 1)}
    answers |= {f"sz.long_axis@LMS-T{n}": v for n, v in enumerate(lengths, 1)}
    answers |= {f"sz.short_axis@LMS-T{n}": v for n, v in nodes}
    answers |= {k.replace("__", "@").replace("_", ".", 1): v for k, v in more.items()}
    return stated(answers, template="response", lesions=len(lengths))


def test_targets_are_few_and_measurable_at_baseline():
    assert "R1-targets" not in rules(response(20, 20, 20, 20, 20))
    assert "R1-targets" in rules(response(20, 20, 20, 20, 20, 20))
    three = response(20, 20, 20)
    sites = stated({f"tid.finding_site@LMS-T{n}": "site.retroperitoneum" for n in (1, 2, 3)}, template="response")
    in_one_organ = replace(three, answers=(*three.answers, *sites.answers))
    assert "R1-targets" in rules(in_one_organ)
    assert "R1-targets" not in rules(response(9))
    (found,) = (b for b in broken(response(9, tid_tp_type="tpt.baseline")) if b.rule == "R1-targets")
    assert found.message.endswith("Here: long axis 9 mm, at least 10 mm at baseline.")


def at_baseline(*lengths, thickness=None, nodes=(), **more):
    answers = {f"sz.long_axis@LMS-T{n}": v for n, v in enumerate(lengths, 1)} | more
    answers |= {f"sz.short_axis@LMS-T{n}": v for n, v in nodes}
    if thickness is not None:
        answers["tid.slice_thickness@Series 1"] = thickness
    return earlier(stated(answers, lesions=len(lengths)))


def unfit(report, prior=None):
    return [b.message.partition("Here: ")[2] for b in broken(report, prior=prior) if b.rule == "R1-targets"]


def test_targets_have_been_measurable_in_the_report_of_the_baseline():
    assert unfit(response(4), at_baseline(10)) == []  # it has shrunk since
    assert unfit(response(30), at_baseline(9)) == ["long axis 9 mm, at least 10 mm at baseline."]
    assert unfit(response(30), at_baseline(13, thickness=7)) == ["long axis 13 mm, at least 14 mm at baseline."]
    # a report of later is not the baseline, and what nobody measured or confirmed there is not small
    assert unfit(response(30), at_baseline(9, **{"tid.tp_type": "tpt.nadir"})) == []
    assert unfit(response(30), earlier(stated({}))) == []
    assert unfit(response(30), earlier(stated({}, proposed={"sz.long_axis@LMS-T1": 9}))) == []
    two = response(30, 30)
    assert unfit(two, at_baseline(9)) == ["long axis 9 mm, at least 10 mm at baseline."]


def test_target_nodes_have_been_measurable_by_their_short_axis():
    node = response(30, nodes=((1, 8),), **{"tid_finding_site__LMS-T1": "ln.aortic"})
    assert unfit(node, at_baseline(30, nodes=((1, 15),))) == []
    assert unfit(node, at_baseline(30, nodes=((1, 14),))) == ["short axis of a node 14 mm, at least 15 mm at baseline."]


def test_nodes_are_one_organ_before_anybody_measured_them():
    sites = ("ln.aortic", "ln.iliac", "ln.inguinal")
    answers = {f"tid.finding_site@LMS-T{n}": k for n, k in enumerate(sites, 1)}
    answers |= {f"fu.baseline_cat@LMS-T{n}": "fu.target" for n in (1, 2, 3)}
    (found,) = unfit(stated(answers, template="response"))
    assert found.startswith("3 of them in one organ")


def test_stated_responses_are_those_of_recist():
    sums = {"fu_sum_baseline": 118, "fu_sum_nadir": 118, "fu_new_lesion": "v.absent", "fu_method": "fu.recist11"}
    assert "R2-response" not in rules(response(79, **sums, fu_current="fu.t_pr", fu_overall="fu.pr"))
    assert "R2-response" in rules(response(79, **sums, fu_current="fu.t_sd"))
    assert "R2-response" in rules(response(79, **sums, fu_current="fu.t_pr", fu_overall="fu.sd"))
    assert "R2-response" in rules(response(79, **{**sums, "fu_new_lesion": "v.present"}, fu_overall="fu.pr"))
    assert "R2-response" not in rules(response(79, **{**sums, "fu_method": "fu.choi"}, fu_overall="fu.sd"))
    explained = given_reason(response(79, **sums, fu_current="fu.t_sd"), "fu.current", "two readers")
    assert "R2-response" not in rules(explained)


TECHNIQUE = {"tech.phase@Series 1": "phase.portal", "tech.kvp@Series 1": 120}


def choi(template="response", **changes):
    answers = {
        "fu.method": "fu.choi",
        "fu.choi_resp": "fu.pr",
        "fu.baseline_cat@LMS-T1": "fu.target",
        "ct.hu@LMS-T1": 45,
        "tid.tp_type": "tpt.baseline",
        **TECHNIQUE,
        **changes,
    }
    if template == "baseline":
        answers = {k: v for k, v in answers.items() if not k.startswith("fu.")}
    report = stated(answers, template=template)
    where = Reference(sop_class_uid="1.2", sop_instance_uid="1.2", series_instance_uid=SERIES_UID.format(1))
    return replace(
        report,
        answers=tuple(
            replace(a, evidence=(where,), provenance=Provenance.SEGMENTATION) if a.item == "ct.hu" else a
            for a in report.answers
        ),
    )


def test_a_choi_response_stands_only_where_attenuation_can_be_compared():
    prior = earlier(choi("baseline"))
    assert "C1-comparable" not in rules(choi(), prior=prior)
    assert "C1-comparable" not in rules(choi())
    assert "C1-comparable" in rules(choi(**{"tech.phase@Series 1": "phase.arterial"}))
    low = earlier(choi("baseline", **{"tech.kvp@Series 1": 100}))
    (found,) = (b for b in broken(choi(), prior=low) if b.rule == "C1-comparable")
    assert "the tube voltages differ" in found.message
    for response_ in ("fu.ne", "fu.pd"):
        assert "C1-comparable" not in rules(choi(**{"fu.choi_resp": response_}), prior=low)


def test_a_doubling_time_is_of_growth_over_the_least_interval():
    def doubling(days, before, now):
        prior = earlier(stated({"sz.volume@LMS-T1": before}, provenance=Provenance.SEGMENTATION))
        answers = {"fu.interval": days, "sz.volume@LMS-T1": now, "fu.doubling@LMS-T1": 30, "ctx.comparison_uid": "1.2"}
        return rules(stated(answers, provenance=Provenance.SEGMENTATION), prior=prior)

    assert "G1-interval" not in doubling(14, 100, 200)
    assert "G1-interval" in doubling(13, 100, 200)
    assert "G1-interval" in doubling(60, 200, 200)
    assert "G1-interval" in rules(
        stated({"fu.interval": 60, "sz.volume@LMS-T1": 200, "fu.doubling@LMS-T1": 30}),
        prior=earlier(stated({"sz.volume@LMS-T1": 100}, provenance=Provenance.SEGMENTATION)),
    )


# --- what holds for every item


def only(report, rule):
    return [b for b in broken(report) if b.rule == rule]


def test_a_number_outside_its_range_needs_a_reason():
    (found,) = only(stated({"sz.height@LMS-T1": 600.1}), "value-range")
    assert found.message == (
        "Craniocaudal dimension: 600.1 mm lies outside 1 to 600 mm: correct it, or give the reason why it is so."
    )
    assert (found.subject, found.warning) == ("LMS-T1", False)
    assert only(stated({"sz.height@LMS-T1": 600}), "value-range") == []
    explained = given_reason(stated({"sz.height@LMS-T1": 601}), "sz.height", "reaches from chest to groin", "LMS-T1")
    assert only(explained, "value-range") == []


def test_a_target_that_is_gone_has_a_length_of_zero():
    assert only(response(0), "value-range") == []
    assert len(only(stated({"sz.long_axis@LMS-T1": 0}), "value-range")) == 1


def test_a_value_outside_the_list_is_kept_and_flagged():
    report = stated({"gp@LMS-T1": "gp.extra"})
    foreign = Code("X1", "99SITE", "Something else")
    strange = replace(report, answers=tuple(replace(a, values=(foreign,)) for a in report.answers))
    (found,) = only(strange, "value-list")
    assert found.warning
    assert "'Something else'" in found.message
    assert only(report, "value-list") == []
    # an extensible item takes a site's own
    site = stated({"tid.finding_site@LMS-T1": "site.retroperitoneum"})
    site = replace(site, answers=tuple(replace(a, values=(foreign,)) for a in site.answers))
    assert only(site, "value-list") == []


def test_an_item_of_one_value_takes_one_value_and_one_answer():
    assert len(only(stated({"gp@LMS-T1": ("gp.extra", "gp.mixed")}), "one-value")) == 1
    assert only(stated({"mar@LMS-T1": ("mar.smooth", "mar.lobulated")}), "one-value") == []
    report = stated({"gp@LMS-T1": "gp.extra"})
    assert len(only(replace(report, answers=report.answers * 2), "one-value")) == 1


def test_not_evaluated_needs_a_reason_and_stands_alone():
    report = stated({"arc.fat@LMS-T1": "v.not_evaluated"})
    (found,) = only(report, "not-evaluated-reason")
    assert found.message == "Macroscopic fat: not evaluated needs a reason: say why in a few words."
    assert only(given_reason(report, "arc.fat", "no fat-suppressed images", "LMS-T1"), "not-evaluated-reason") == []
    assert only(given_reason(report, "arc.fat", "  ", "LMS-T1"), "not-evaluated-reason")
    both = stated({"ves.relation@ves.ivc": ("vr.abut", "v.not_evaluated")})
    assert len(only(both, "not-evaluated-alone")) == 1
    empty = stated({"sz.height@LMS-T1": 60})
    unit = empty.answers[0].values[0].unit
    nothing = Quantity(number=None, unit=unit, qualifier=CODES["nvq.not_attempted"])
    empty = replace(empty, answers=(replace(empty.answers[0], values=(nothing,)),))
    assert len(only(empty, "not-evaluated-reason")) == 1


def test_a_stated_number_other_than_the_derived_one_needs_a_reason():
    answers = {**PROVEN, "gr.histologic_grade": "gr.g2", "gr.diff": 2, "gr.mitosis": 1, "gr.necrosis": 1}
    assert only(stated({**answers, "gr.total": 4}), "override-reason") == []
    (found,) = only(stated({**answers, "gr.total": 5}), "override-reason")
    assert found.message == (
        "FNCLCC total differs from what the software derives: add the reason, or take the derived value. "
        "Here: 4 (differentiation + mitosis + necrosis)."
    )
    assert only(given_reason(stated({**answers, "gr.total": 5}), "gr.total", "second opinion"), "override-reason") == []


def test_a_percentage_may_be_stated_with_fewer_digits():
    def change(percent):
        report = response(79, fu_sum_baseline=118, fu_pct_baseline=percent)
        return only(derive(report, TEMPLATES["response"]), "override-reason")

    assert change(-33) == []
    assert change(Decimal("-33.1")) == []
    assert len(change(-34)) == 1
    assert len(change(Decimal("-33.0"))) == 1


def test_a_suggestion_may_be_set_aside_without_a_reason():
    report = stated({"ln.lymphadenopathy": "v.absent", "st.n": "st.nx", "hd.impression_el": "In my own words."})
    assert only(report, "override-reason") == []


def test_what_the_software_derived_breaks_no_rule_of_its_own():
    report = derive(
        stated({**STAGED, **EXTENTS, "st.t@LMS-T1": "st.t2", "ln.lymphadenopathy": "v.absent"}), TEMPLATES["baseline"]
    )
    assert any(a.status is Status.PROPOSED for a in report.answers)
    assert [b for b in broken(report) if b.rule in BUILT_IN] == []
