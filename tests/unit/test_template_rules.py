"""What the rules of the templates accept and what they refuse, each with one set of answers that keeps it and one that breaks it."""

from __future__ import annotations

import pytest

from service.model.report import Scope
from sr_templates import load_template, template_names
from sr_templates.evaluate import holds
from sr_templates.language.values import Rule
from tests.answered import report

IVC = "ves.relation@ves.ivc="
T1 = "@LMS-T1"
NODE = "@LMS-LN1"
PROVEN = "ctx.dx_status=ctx.dx_status.biopsy"
#: rule: (template, subject, answers that satisfy it, answers that break it); both have what makes the rule look
RULES: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    "DX1-type": (
        "baseline", "",
        ("ctx.dx_status=ctx.dx_status.suspected",), ("ctx.dx_status=ctx.dx_status.suspected", "ctx.histologic_type=hist.lms"),
    ),
    "DX1-finding": (
        "baseline", "",
        (f"tid.finding{T1}=hist.lms", PROVEN), (f"tid.finding{T1}=hist.lms", "ctx.dx_status=ctx.dx_status.suspected"),
    ),
    "TX1-none": ("baseline", "", ("ctx.prior_tx=v.none",), ("ctx.prior_tx=v.none;tx.rt",)),
    "TUM1-load": (
        "baseline", "", ("tum.lesion_load=load.solitary", "tum.n_lesions=1"), ("tum.lesion_load=load.solitary", "tum.n_lesions=2"),
    ),
    "ARC1-present": (
        "baseline", "",
        (f"arc.necrosis{T1}=v.present", f"arc.necrosis_ext{T1}=nec.lt25"), (f"arc.necrosis{T1}=v.present", f"arc.necrosis_ext{T1}=nec.none"),
    ),
    "ARC1-absent": (
        "baseline", "",
        (f"arc.necrosis{T1}=v.absent", f"arc.necrosis_ext{T1}=nec.none"), (f"arc.necrosis{T1}=v.absent", f"arc.necrosis_ext{T1}=nec.ge50"),
    ),
    "GP1-mixed": ("baseline", "", (f"gp{T1}=gp.mixed", f"{IVC}vr.luminal"), (f"gp{T1}=gp.mixed", f"{IVC}vr.abut")),
    "GP1-intra": (
        "baseline", "",
        (f"gp{T1}=gp.intra", "ves.origin=ves.renal_v", "ves.relation@ves.renal_v/left=vr.luminal"),
        (f"gp{T1}=gp.intra", "ves.origin=ves.ivc", "ves.relation@ves.renal_v/left=vr.luminal"),
    ),
    "GP1-extra": ("baseline", "", (f"gp{T1}=gp.extra", f"{IVC}vr.origin"), (f"gp{T1}=gp.extra", f"{IVC}vr.luminal")),
    "VES1-none": ("baseline", "ves.ivc", (f"{IVC}vr.none",), (f"{IVC}vr.none;vr.abut",)),
    "VES1-degree": ("baseline", "ves.ivc", (f"{IVC}vr.encase;vr.luminal",), (f"{IVC}vr.abut;vr.encase",)),
    "VES1-apart": (
        "baseline", "ves.ivc",
        (f"{IVC}vr.none", "ves.contact_angle@ves.ivc=0"), (f"{IVC}vr.none", "ves.contact_angle@ves.ivc=30"),
    ),
    "VES1-abut": (
        "baseline", "ves.ivc",
        (f"{IVC}vr.abut", "ves.contact_angle@ves.ivc=180"), (f"{IVC}vr.abut", "ves.contact_angle@ves.ivc=181"),
    ),
    "VES1-encase": (
        "baseline", "ves.ivc",
        (f"{IVC}vr.encase", "ves.contact_angle@ves.ivc=181"), (f"{IVC}vr.encase", "ves.contact_angle@ves.ivc=180"),
    ),
    "VES1-circumf": (
        "baseline", "ves.ivc",
        (f"{IVC}vr.circumf", "ves.contact_angle@ves.ivc=360"), (f"{IVC}vr.circumf", "ves.contact_angle@ves.ivc=350"),
    ),
    "VES2-occluded": (
        "baseline", "",
        ("ves.caliber@ves.ivc=cal.occluded", "iv.obstruction=iv.obs_complete"),
        ("ves.caliber@ves.ivc=cal.occluded", "iv.obstruction=v.absent"),
    ),
    "ACT-cava": (
        "baseline", "",
        ("ves.caliber@ves.ivc=cal.occluded", "im.actionable=im.act2"), ("ves.caliber@ves.ivc=cal.occluded",),
    ),
    "IV1-criteria": (
        "baseline", "",
        ("iv.thrombus_type=iv.tumor_in_vein", "iv.criteria=iv.restricted;iv.enhancing"),
        ("iv.thrombus_type=iv.mixed_thrombus", "iv.criteria=iv.restricted"),
    ),
    "IV1-bland": (
        "baseline", "",
        ("iv.thrombus_type=iv.thrombus", "iv.criteria=iv.nonenhancing"), ("iv.thrombus_type=iv.thrombus", "iv.criteria=iv.enhancing"),
    ),
    "IV2-present": (
        "baseline", "",
        ("iv.tumor_in_vein=v.present", "iv.thrombus_type=iv.mixed_thrombus"), ("iv.tumor_in_vein=v.present", "iv.thrombus_type=iv.thrombus"),
    ),
    "IV2-absent": (
        "baseline", "",
        ("iv.tumor_in_vein=v.absent", "iv.thrombus_type=iv.thrombus"), ("iv.tumor_in_vein=v.absent", f"{IVC}vr.luminal"),
    ),
    "IV2-vessel": (
        "baseline", "", ("iv.tumor_in_vein=v.present", f"{IVC}vr.luminal"), ("iv.tumor_in_vein=v.present", f"{IVC}vr.abut"),
    ),
    "IV3-phase": (
        "baseline", "",
        ("iv.tumor_in_vein=v.absent", "tech.phase@Series 2=phase.arterial", "tech.limitation=arterial phase only"),
        ("iv.tumor_in_vein=v.absent", "tech.phase@Series 2=phase.arterial"),
    ),
    "ACT-atrium": ("baseline", "", ("iv.cranial=ves.right_atrium", "im.actionable=im.act1"), ("iv.cranial=ves.right_atrium",)),
    "ACT-embolism": ("baseline", "", ("sym.pe=v.present", "im.actionable=im.act1"), ("sym.pe=v.present",)),
    "ACT-cord": ("baseline", "", ("op.neuroforaminal=v.present", "im.actionable=im.act2"), ("op.neuroforaminal=v.present",)),
    "ORG1-separate": (
        "baseline", "org.liver", ("org.relation@org.liver=or.separate;or.displaced",), ("org.relation@org.liver=or.separate;or.contact",),
    ),
    "ORG2-beak": (
        "baseline", "org.kidney/right",
        ("org.relation@org.kidney/right=or.origin", "org.beak_sign@org.kidney/right=v.present"),
        ("org.relation@org.kidney/right=or.origin", "org.beak_sign@org.kidney/right=v.absent"),
    ),
    "LN1-size": (
        "baseline", "",
        ("ln.lymphadenopathy=v.absent", f"sz.short_axis#node{NODE}=9"), ("ln.lymphadenopathy=v.absent", f"sz.short_axis#node{NODE}=15"),
    ),
    "MET1-peritoneum": (
        "baseline", "",
        ("met.peritoneal_pattern=v.present", "met.status@mets.peritoneum=mst.definite"),
        ("met.peritoneal_pattern=v.present", "met.status@mets.peritoneum=mst.none"),
    ),
    "OP1-variant": ("baseline", "", ("op.variant=v.none",), ("op.variant=v.none;var.double_ivc",)),
    "OP2-cava": ("baseline", "", ("op.ivc_resection=opr.none", f"{IVC}vr.abut"), ("op.ivc_resection=opr.none", f"{IVC}vr.luminal")),
    "OP3-atrium": (
        "baseline", "",
        ("op.right_atrium=v.absent", "iv.cranial=ivc.upper"), ("op.right_atrium=v.absent", "iv.cranial=ves.right_atrium"),
    ),
    "T2-chapter": (
        "baseline", "",
        ("st.chapter=st.chapter.rp", "ctx.topography=topo.c48_0"), ("st.chapter=st.chapter.rp", "ctx.topography=topo.c49_4"),
    ),
    "T2-chapter-group": (
        "baseline", "", ("st.group=st.g_ii", "st.chapter=st.chapter.rp"), ("st.group=st.g_ii", "st.chapter=st.chapter.trunk"),
    ),
    "T2-grade": ("baseline", "", (PROVEN, "gr.histologic_grade=gr.g2"), (PROVEN, "gr.histologic_grade=gr.gx")),
    "N1-nodes": (
        "baseline", "", ("st.n=st.n1", "ln.lymphadenopathy=v.present"), ("st.n=st.n0", "ln.lymphadenopathy=v.present"),
    ),
    "M1-sites": (
        "baseline", "",
        ("met.status@mets.lung=mst.definite", "st.m=st.m1"), ("met.status@mets.lung=mst.definite", "st.m=st.m0"),
    ),
    "M1-none": (
        "baseline", "", ("st.m=st.m1", "met.status@mets.liver=mst.proven"), ("st.m=st.m1", "met.status@mets.liver=mst.none"),
    ),
    "DD1-fat": (
        "baseline", "",
        (f"arc.fat{T1}=v.present", "cert@dd.ddlps=cert.probably"), (f"arc.fat{T1}=v.present", "cert@dd.lymphoma=cert.possibly"),
    ),
    "DD2-fat-fraction": (
        "baseline", "", (f"arc.fat_pct{T1}=80", "cert@dd.wdlps=cert.probably"), (f"arc.fat_pct{T1}=80", "cert@dd.ddlps=cert.probably"),
    ),
    "DD3-origin": (
        "baseline", "",
        ("org.relation@org.kidney/right=or.origin", "cert@dd.rcc=cert.probably"), ("org.relation@org.kidney/right=or.origin",),
    ),
    "DD4-nodes": (
        "baseline", "",
        ("ln.lymphadenopathy=v.present", "cert@dd.lymphoma=cert.possibly"), ("ln.lymphadenopathy=v.present", "cert@dd.ups=cert.possibly"),
    ),
    "DD5-paraganglioma": (
        "baseline", "",
        ("cert@dd.paraganglioma=cert.possibly", "op.biopsy_route=br.flank", "ctx.tumor_markers=metanephrines normal"),
        ("cert@dd.paraganglioma=cert.possibly", "op.biopsy_route=br.flank"),
    ),
    "FU1-free": (
        "surveillance", "", ("fu.recurrence=fu.ned", "met.status@mets.lung=mst.none"), ("fu.recurrence=fu.ned", "met.status@mets.lung=mst.definite"),
    ),
    "FU2-distant": (
        "surveillance", "",
        ("fu.recurrence=rec.distant", "met.status@mets.lung=mst.suspicious"), ("fu.recurrence=rec.distant", "met.status@mets.lung=mst.none"),
    ),
    "FU3-local": (
        "surveillance", "", ("fu.recurrence=rec.local", "met.status@mets.lung=mst.suspicious"), ("fu.recurrence=rec.local", "met.status@mets.lung=mst.proven"),
    ),
    "FU4-site": (
        "surveillance", "",
        ("fu.recurrence=rec.both", "fu.recur_site=rs.margin;mets.lung"), ("fu.recurrence=rec.local", "fu.recur_site=mets.lung"),
    ),
    "FU5-lesion": ("surveillance", "", ("fu.recurrence=fu.ned",), ("fu.recurrence=fu.ned", f"sz.long_axis{T1}=14")),
    "R2-new": ("response", "", ("fu.new_lesion=v.present", "fu.overall=fu.pd"), ("fu.new_lesion=v.present", "fu.overall=fu.sd")),
    "R2-question": ("response", "", ("fu.overall=fu.sd", "fu.new_lesion=v.absent"), ("fu.overall=fu.sd",)),
    "C1-nodule": ("response", "", ("fu.new_nodule=v.present", "fu.choi_resp=fu.pd"), ("fu.new_nodule=v.present", "fu.choi_resp=fu.pr")),
    "IM1-board": (
        "baseline", "", ("im.category=cert.probably", "im.mdt=v.yes"), ("im.category=cert.probably", "im.mdt=v.no"),
    ),
}  # fmt: skip

#: rules whose check is a function, and the function's name
CHECKED = {
    "IVC1-contiguous": "ivc_contiguous",
    "IVC1-origin": "ivc_origin",
    "T1-override": "t_override",
    "T2-group": "stage_group",
    "FN1-grade": "fnclcc_grade",
    "SZ1-ellipsoid": "ellipsoid_volume",
    "SZ1-volumes": "volume_disagreement",
    "SZ2-axis": "axis_shortfall",
    "R1-targets": "recist_targets",
    "R2-response": "recist_response",
    "C1-comparable": "choi_phase",
    "G1-interval": "doubling_interval",
}


def all_rules() -> dict[str, Rule]:
    return {r.key: r for name in template_names() for r in load_template(name).rules}


def test_every_rule_is_tried_here():
    rules = all_rules()
    assert {k for k, r in rules.items() if r.require is not None} == set(RULES)
    assert {k: r.check for k, r in rules.items() if r.check} == CHECKED


@pytest.mark.parametrize("key", RULES)
def test_a_rule_accepts_what_it_should_and_nothing_else(key):
    name, subject, kept, broken = RULES[key]
    template = load_template(name)
    rule = next(r for r in template.rules if r.key == key)
    for given, expected in ((kept, True), (broken, False)):
        of = report(template, *given)
        assert holds(rule.when, of, template, subject), f"{key} does not look at {given}"
        assert holds(rule.require, of, template, subject) is expected, given


@pytest.mark.parametrize("key", RULES)
def test_a_rule_is_silent_about_an_empty_draft(key):
    name, subject, _, _ = RULES[key]
    template = load_template(name)
    rule = next(r for r in template.rules if r.key == key)
    assert not holds(rule.when, report(template), template, subject)


@pytest.mark.parametrize("key", RULES)
def test_a_rule_of_one_structure_says_nothing_of_another(key):
    name, subject, _, broken = RULES[key]
    template = load_template(name)
    rule = next(r for r in template.rules if r.key == key)
    if rule.scope is Scope.REPORT:
        assert not subject
        return
    other = "ves.sma" if rule.scope is Scope.VESSEL else "org.spleen"
    assert not holds(rule.when, report(template, *broken), template, other)


@pytest.mark.parametrize("rule", all_rules().values(), ids=all_rules())
def test_a_message_names_the_way_out(rule):
    assert rule.message.endswith(".")
    assert ":" in rule.message or "," in rule.message
    assert len(rule.message) <= 200


@pytest.mark.parametrize(
    ("angle", "relation"),
    [
        ("0.5", "vr.abut"),
        ("90", "vr.abut"),
        ("180", "vr.abut"),
        ("181", "vr.encase"),
        ("359", "vr.encase"),
        ("360", "vr.circumf"),
    ],
)
def test_every_angle_of_contact_has_one_relation(angle, relation):
    template = load_template("baseline")
    agreeing = []
    for key, of in (("VES1-abut", "vr.abut"), ("VES1-encase", "vr.encase"), ("VES1-circumf", "vr.circumf")):
        rule = next(r for r in template.rules if r.key == key)
        made = report(template, f"{IVC}{of}", f"ves.contact_angle@ves.ivc={angle}")
        if holds(rule.require, made, template, "ves.ivc"):
            agreeing.append(of)
    assert agreeing == [relation]


def test_a_diagnosis_of_tumour_thrombus_by_diffusion_alone_is_never_accepted():
    template = load_template("baseline")
    rule = next(r for r in template.rules if r.key == "IV1-criteria")
    for criteria in ("iv.restricted", "v.not_evaluated", "iv.restricted;iv.nonenhancing"):
        of = report(template, "iv.thrombus_type=iv.tumor_in_vein", f"iv.criteria={criteria}")
        assert holds(rule.when, of, template)
        assert not holds(rule.require, of, template)
