"""What the rules of the templates accept and what they refuse, each with one set of answers that keeps it and one that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from service.flow.derivations.asked import Look
from service.flow.rules import CHECKS
from service.model.report import Report, Scope
from sr_templates import load_template, template_names
from sr_templates.evaluate import DEFAULTS, holds
from sr_templates.language.conditions import Condition
from sr_templates.language.values import Rule, Template
from tests.answered import report
from tests.rule_mutants import mutants, named

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
        "baseline", "LMS-T1",
        (f"arc.necrosis{T1}=v.present", f"arc.necrosis_ext{T1}=nec.lt25"), (f"arc.necrosis{T1}=v.present", f"arc.necrosis_ext{T1}=nec.none"),
    ),
    "ARC1-absent": (
        "baseline", "LMS-T1",
        (f"arc.necrosis{T1}=v.absent", f"arc.necrosis_ext{T1}=nec.none"), (f"arc.necrosis{T1}=v.absent", f"arc.necrosis_ext{T1}=nec.ge50"),
    ),
    "GP1-mixed": ("baseline", "LMS-T1", (f"gp{T1}=gp.mixed", f"{IVC}vr.luminal"), (f"gp{T1}=gp.mixed", f"{IVC}vr.abut")),
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
        "baseline", "LMS-LN1",
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
        "baseline", "mets.lung",
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
        "surveillance", "mets.lung", ("fu.recurrence=rec.both", "met.status@mets.lung=mst.proven"), ("fu.recurrence=rec.local", "met.status@mets.lung=mst.proven"),
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
    "GP1-intra": "growth_intravascular",
    "GP1-extra": "growth_extravascular",
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


#: rules with a check and a condition: (template, subject, answers that keep it, answers that break it)
CHECKED_EXAMPLES: dict[str, tuple[str, str, tuple[str, ...], tuple[str, ...]]] = {
    "GP1-intra": (
        "baseline", "LMS-T1",
        (f"gp{T1}=gp.intra", "ves.origin=ves.renal_v", "ves.relation@ves.renal_v/left=vr.luminal"),
        (f"gp{T1}=gp.intra", "ves.origin=ves.ivc", "ves.relation@ves.renal_v/left=vr.luminal"),
    ),
    "GP1-extra": ("baseline", "LMS-T1", (f"gp{T1}=gp.extra", f"{IVC}vr.origin"), (f"gp{T1}=gp.extra", f"{IVC}vr.luminal")),
    "IVC1-contiguous": (
        "baseline", "ves.ivc", ("ivc.segment@ves.ivc=ivc.lower;ivc.middle",), ("ivc.segment@ves.ivc=ivc.lower;ivc.upper",),
    ),
    "IVC1-origin": (
        "baseline", "ves.ivc",
        ("ivc.segment@ves.ivc=ivc.middle", "ivc.origin_segment@ves.ivc=ivc.middle"),
        ("ivc.segment@ves.ivc=ivc.middle", "ivc.origin_segment@ves.ivc=ivc.lower"),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """Answers, whether they break a rule, and the subject if it is not the rule's usual one."""

    broken: bool
    given: tuple[str, ...]
    about: str = ""


def keeps(*given: str, about: str = "") -> Example:
    return Example(broken=False, given=given, about=about)


def breaks(*given: str, about: str = "") -> Example:
    return Example(broken=True, given=given, about=about)


def each(example: Callable[..., Example], text: str, values: str, *given: str) -> tuple[Example, ...]:
    """Return one example for each of the values."""
    return tuple(example(f"{text}{v}", *given) for v in values.split())


STATUS = "ctx.dx_status=ctx.dx_status."
T2 = "@LMS-T2"
#: further examples, for what a change of one part of a rule would do
MORE: dict[str, tuple[Example, ...]] = {
    "DX1-type": (keeps("ctx.histologic_type=hist.lms"), keeps(PROVEN, "ctx.histologic_type=hist.lms")),
    "DX1-finding": (keeps(), *each(keeps, STATUS, "biopsy resected recurrent", f"tid.finding{T1}=hist.lms")),
    "TX1-none": (keeps("ctx.prior_tx=tx.rt"), *each(breaks, "ctx.prior_tx=v.none;", "tx.surgery tx.chemo tx.rt tx.hysterectomy")),
    "TUM1-load": (keeps("tum.n_lesions=2"), keeps("tum.lesion_load=load.2_5", "tum.n_lesions=2")),
    "ARC1-present": (
        keeps(f"arc.necrosis_ext{T1}=nec.none"),
        # another lesion's extent is another lesion's
        keeps(f"arc.necrosis{T1}=v.present", f"arc.necrosis_ext{T1}=nec.lt25", f"arc.necrosis_ext{T2}=nec.none"),
        keeps(f"arc.necrosis{T1}=v.absent", f"arc.necrosis_ext{T1}=nec.none", f"arc.necrosis{T2}=v.present"),
    ),
    "ARC1-absent": (
        keeps(f"arc.necrosis_ext{T1}=nec.lt25"),
        *each(breaks, f"arc.necrosis_ext{T1}=", "nec.lt25 nec.25_49 nec.ge50", f"arc.necrosis{T1}=v.absent"),
        keeps(f"arc.necrosis{T1}=v.absent", f"arc.necrosis_ext{T1}=nec.none", f"arc.necrosis_ext{T2}=nec.ge50"),
        keeps(f"arc.necrosis{T1}=v.present", f"arc.necrosis_ext{T1}=nec.ge50", f"arc.necrosis{T2}=v.absent"),
    ),
    "GP1-mixed": (
        keeps(), keeps(f"{IVC}vr.abut"), keeps(f"gp{T1}=gp.mixed"),
        keeps(f"gp{T1}=gp.extra", f"gp{T2}=gp.mixed", f"{IVC}vr.abut"),
        breaks(f"gp{T1}=gp.extra", f"gp{T2}=gp.mixed", f"{IVC}vr.abut", about="LMS-T2"),
    ),
    "GP1-intra": (
        keeps("ves.origin=ves.ivc", "ves.relation@ves.renal_v/left=vr.luminal"),
        keeps(f"gp{T1}=gp.intra", "ves.origin=ves.ivc"),
        keeps(f"gp{T1}=gp.intra", "ves.relation@ves.renal_v/left=vr.abut"),
        keeps(f"gp{T1}=gp.intra", "ves.origin=v.undetermined", "ves.relation@ves.renal_v/left=vr.luminal"),
        breaks(f"gp{T1}=gp.intra", "ves.origin=v.undetermined", "ves.relation@ves.renal_v/left=vr.abut"),
        keeps(f"gp{T1}=gp.intra", "ves.origin=ves.hepatic_v", "ves.relation@ves.hepatic_v_l=vr.luminal"),
        breaks(f"gp{T1}=gp.intra", "ves.origin=ves.hepatic_v", f"{IVC}vr.luminal"),
        keeps(f"gp{T1}=gp.intra", "ves.origin=ves.ext_iliac_v", "ves.relation@ves.iliac_v/left=vr.luminal"),
        keeps(f"gp{T1}=gp.extra", f"gp{T2}=gp.intra", "ves.origin=ves.ivc", f"{IVC}vr.abut"),
        # the origin is the index tumour's
        keeps(f"gp{T1}=gp.extra", f"gp{T2}=gp.intra", "ves.origin=ves.ivc", "ves.relation@ves.femoral_v=vr.luminal", about="LMS-T2"),
        breaks(f"gp{T1}=gp.extra", f"gp{T2}=gp.intra", "ves.origin=ves.ivc", f"{IVC}vr.abut", about="LMS-T2"),
    ),
    "GP1-extra": (
        keeps(f"gp{T1}=gp.mixed", f"{IVC}vr.luminal"), keeps(f"gp{T1}=gp.extra"),
        keeps(f"gp{T1}=gp.extra", f"gp{T2}=gp.mixed", f"{IVC}vr.luminal"),
        keeps(f"gp{T1}=gp.extra", f"gp{T2}=gp.intra", f"{IVC}vr.luminal"),
        breaks(f"gp{T1}=gp.extra", f"gp{T2}=gp.extra", f"{IVC}vr.luminal"),
        keeps(f"gp{T1}=gp.mixed", f"gp{T2}=gp.extra", f"{IVC}vr.luminal", about="LMS-T2"),
    ),
    "VES1-none": (
        *each(breaks, f"{IVC}vr.none;", "vr.abut vr.encase vr.circumf vr.luminal vr.origin"), keeps(f"{IVC}vr.abut"),
        keeps(f"{IVC}vr.none", "ves.relation@ves.sma=vr.abut"),
    ),
    "VES1-degree": (
        keeps(f"{IVC}vr.abut"), keeps(f"{IVC}vr.encase"), keeps(f"{IVC}vr.circumf"), keeps(f"{IVC}vr.luminal"),
        breaks(f"{IVC}vr.abut;vr.circumf"), breaks(f"{IVC}vr.encase;vr.circumf"),
        keeps(f"{IVC}vr.abut", "ves.relation@ves.sma=vr.encase"),
    ),
    "VES1-apart": (
        keeps(f"{IVC}vr.none"), keeps("ves.contact_angle@ves.ivc=30"), keeps(f"{IVC}vr.abut", "ves.contact_angle@ves.ivc=30"),
        keeps(f"{IVC}vr.none", "ves.contact_angle@ves.ivc=0", "ves.contact_angle@ves.sma=30"),
    ),
    "VES1-abut": (
        keeps(f"{IVC}vr.abut"), keeps("ves.contact_angle@ves.ivc=200"), breaks(f"{IVC}vr.abut", "ves.contact_angle@ves.ivc=0"),
        keeps(f"{IVC}vr.encase", "ves.contact_angle@ves.ivc=200"),
    ),
    "VES1-encase": (
        keeps(f"{IVC}vr.encase"), keeps("ves.contact_angle@ves.ivc=90"), breaks(f"{IVC}vr.encase", "ves.contact_angle@ves.ivc=360"),
        keeps(f"{IVC}vr.abut", "ves.contact_angle@ves.ivc=90"),
    ),
    "VES1-circumf": (
        keeps(f"{IVC}vr.circumf"), keeps("ves.contact_angle@ves.ivc=90"), keeps(f"{IVC}vr.abut", "ves.contact_angle@ves.ivc=90"),
    ),
    "VES2-occluded": (
        keeps("ves.caliber@ves.ivc=cal.occluded"), keeps("iv.obstruction=v.absent"), keeps("ves.caliber@ves.ivc=cal.narrowed", "iv.obstruction=v.absent"),
        keeps("ves.caliber@ves.ivc=cal.occluded", "iv.obstruction=iv.obs_partial"),
        keeps("ves.caliber@ves.renal_v/left=cal.occluded", "iv.obstruction=v.absent"),
    ),
    "ACT-cava": (keeps(), keeps("ves.caliber@ves.ivc=cal.narrowed"), keeps("ves.caliber@ves.renal_v/left=cal.occluded")),
    "IVC1-contiguous": (keeps(), keeps("ivc.origin_segment@ves.ivc=ivc.middle")),
    "IVC1-origin": (
        keeps("ivc.segment@ves.ivc=ivc.middle"), keeps("ivc.origin_segment@ves.ivc=ivc.middle"),
        keeps("ivc.segment@ves.ivc=ivc.middle", "ivc.origin_segment@ves.ivc=v.undetermined"),
    ),
    "IV1-criteria": (
        keeps(), keeps("iv.thrombus_type=iv.tumor_in_vein"), keeps("iv.thrombus_type=iv.thrombus", "iv.criteria=iv.nonenhancing"),
        keeps("iv.criteria=iv.restricted"), breaks("iv.thrombus_type=iv.tumor_in_vein", "iv.criteria=iv.restricted"),
        *each(keeps, "iv.criteria=", "iv.enhancing iv.expansile iv.contiguous iv.neovascularity iv.fdg_avid", "iv.thrombus_type=iv.mixed_thrombus"),
    ),
    "IV1-bland": (
        keeps("iv.thrombus_type=iv.thrombus"), keeps("iv.criteria=iv.enhancing"), keeps("iv.thrombus_type=iv.tumor_in_vein", "iv.criteria=iv.enhancing"),
        *each(breaks, "iv.criteria=", "iv.enhancing iv.neovascularity iv.fdg_avid", "iv.thrombus_type=iv.thrombus"),
        keeps("iv.thrombus_type=iv.thrombus", "iv.criteria=v.not_evaluated"),
    ),
    "IV2-present": (
        keeps("iv.tumor_in_vein=v.present"), keeps("iv.thrombus_type=iv.thrombus"), keeps("iv.tumor_in_vein=v.absent", "iv.thrombus_type=iv.thrombus"),
        keeps("iv.tumor_in_vein=v.present", "iv.thrombus_type=iv.tumor_in_vein"),
    ),
    "IV2-absent": (
        keeps("iv.thrombus_type=iv.tumor_in_vein"), keeps(f"{IVC}vr.luminal"),
        *each(breaks, "iv.thrombus_type=", "iv.tumor_in_vein iv.mixed_thrombus", "iv.tumor_in_vein=v.absent"),
    ),
    "IV2-vessel": (keeps("iv.tumor_in_vein=v.present"), keeps(f"{IVC}vr.abut"), keeps("iv.tumor_in_vein=v.absent", f"{IVC}vr.abut")),
    "IV3-phase": (
        keeps(), keeps("tech.phase@Series 2=phase.arterial"), keeps("iv.tumor_in_vein=v.present"),
        breaks("iv.tumor_in_vein=v.present", "tech.phase@Series 2=phase.arterial"),
        keeps("iv.tumor_in_vein=v.undetermined", "tech.phase@Series 2=phase.arterial"),
        *each(keeps, "tech.phase@Series 2=phase.", "portal nephrographic delayed excretory", "iv.tumor_in_vein=v.absent"),
        # one series with a venous phase is enough
        keeps("iv.tumor_in_vein=v.absent", "tech.phase@Series 2=phase.arterial", "tech.phase@Series 3=phase.portal"),
    ),
    "ACT-atrium": (keeps(), keeps("iv.cranial=ivc.upper")),
    "ACT-embolism": (keeps(), keeps("sym.pe=v.absent")),
    "ACT-cord": (keeps(), keeps("op.neuroforaminal=v.absent")),
    "ORG1-separate": (
        keeps("org.relation@org.liver=or.contact"),
        *each(breaks, "org.relation@org.liver=or.separate;", "or.contact or.encased or.invaded or.origin"),
        keeps("org.relation@org.liver=or.separate", "org.relation@org.spleen=or.contact"),
    ),
    "ORG2-beak": (
        keeps("org.relation@org.kidney/right=or.origin"), keeps("org.beak_sign@org.kidney/right=v.absent"),
        keeps("org.relation@org.kidney/right=or.contact", "org.beak_sign@org.kidney/right=v.absent"),
    ),
    "LN1-size": (
        keeps("ln.lymphadenopathy=v.absent"), keeps(f"sz.short_axis#node{NODE}=15"), keeps("ln.lymphadenopathy=v.present", f"sz.short_axis#node{NODE}=15"),
        # a small node beside it does not hide a large one, and the large one is named
        breaks("ln.lymphadenopathy=v.absent", f"sz.short_axis#node{NODE}=15", "sz.short_axis#node@LMS-LN2=9"),
        keeps("ln.lymphadenopathy=v.absent", f"sz.short_axis#node{NODE}=15", "sz.short_axis#node@LMS-LN2=9", about="LMS-LN2"),
        keeps("ln.lymphadenopathy=v.absent", f"sz.short_axis#node{NODE}=v.not_evaluated"),
    ),
    "MET1-peritoneum": (
        keeps("met.peritoneal_pattern=v.present"), keeps("met.status@mets.peritoneum=mst.none"),
        keeps("met.peritoneal_pattern=v.absent", "met.status@mets.peritoneum=mst.none"),
        *each(keeps, "met.status@mets.peritoneum=mst.", "suspicious definite proven", "met.peritoneal_pattern=v.present"),
        breaks("met.peritoneal_pattern=v.present", "met.status@mets.peritoneum=mst.none", "met.status@mets.lung=mst.definite"),
    ),
    "OP1-variant": (
        keeps("op.variant=var.double_ivc"),
        *each(breaks, "op.variant=v.none;", "var.retroaortic_lrv var.circumaortic_lrv var.double_ivc var.acc_renal"),
    ),
    "OP2-cava": (keeps(f"{IVC}vr.luminal"), *each(breaks, IVC, "vr.luminal vr.origin", "op.ivc_resection=opr.none")),
    "OP3-atrium": (keeps("iv.cranial=ves.right_atrium"), keeps("op.right_atrium=v.present", "iv.cranial=ves.right_atrium")),
    "T2-chapter": (keeps("st.chapter=st.chapter.rp"), keeps("ctx.topography=topo.c49_4"), keeps("st.chapter=st.chapter.trunk", "ctx.topography=topo.c49_4")),
    "T2-chapter-group": (keeps(), keeps("st.chapter=st.chapter.trunk"), breaks("st.group=st.g_ii")),
    "T2-grade": (
        keeps(), keeps(PROVEN), keeps("gr.histologic_grade=gr.gx"), keeps(f"{STATUS}suspected", "gr.histologic_grade=gr.gx"),
        *each(breaks, STATUS, "biopsy resected recurrent", "gr.histologic_grade=gr.gx"),
        *each(keeps, "gr.histologic_grade=gr.", "g1 g2 g3", PROVEN),
    ),
    "N1-nodes": (
        keeps("ln.lymphadenopathy=v.absent", "st.n=st.n0"), breaks("ln.lymphadenopathy=v.absent", "st.n=st.n1"),
        keeps("ln.lymphadenopathy=v.undetermined", "st.n=st.n0"), keeps("ln.lymphadenopathy=v.undetermined", "st.n=st.n1"),
        keeps("ln.lymphadenopathy=v.present", "st.n=st.nx"), keeps("ln.lymphadenopathy=v.absent", "st.n=st.nx"),
    ),
    "M1-sites": (
        keeps("st.m=st.m0"), keeps("met.status@mets.lung=mst.none", "st.m=st.m0"), keeps("met.status@mets.lung=mst.definite"),
        *each(breaks, "met.status@mets.lung=mst.", "definite proven", "st.m=st.m0"),
        # a node may be regional, and then it is N1; another site's metastasis is told of that site
        keeps("met.status@mets.lymph_node=mst.definite", "st.m=st.m0", about="mets.lymph_node"),
        keeps("met.status@mets.lymph_node/left=mst.proven", "st.m=st.m0", about="mets.lymph_node/left"),
        keeps("met.status@mets.lung=mst.none", "met.status@mets.liver=mst.definite", "st.m=st.m0"),
        breaks("met.status@mets.peritoneum=mst.definite", "st.m=st.m0", about="mets.peritoneum"),
    ),
    "M1-none": (
        keeps("st.m=st.m1"), keeps("met.status@mets.liver=mst.none"), keeps("st.m=st.m0", "met.status@mets.liver=mst.none"),
        *each(keeps, "met.status@mets.liver=mst.", "suspicious definite proven", "st.m=st.m1"),
        keeps("st.m=st.m1", "met.status@mets.liver=mst.none", "met.peritoneal_pattern=v.present"),
        keeps("st.m=st.m1", "met.status@mets.lymph_node=mst.definite"),
    ),
    "DD1-fat": (
        keeps(), keeps(f"arc.fat{T1}=v.absent"), *each(keeps, "cert@", "dd.ddlps=cert.possibly dd.wdlps=cert.possibly dd.aml=cert.possibly", f"arc.fat{T1}=v.present"),
    ),
    "DD2-fat-fraction": (keeps(), keeps(f"arc.fat_pct{T1}=74"), breaks(f"arc.fat_pct{T1}=75")),
    "DD3-origin": (keeps(), keeps("org.relation@org.kidney/right=or.contact")),
    "DD4-nodes": (
        keeps(), keeps("ln.lymphadenopathy=v.absent"), breaks("ln.lymphadenopathy=v.present", f"{STATUS}suspected"),
        *each(keeps, STATUS, "biopsy resected recurrent", "ln.lymphadenopathy=v.present"),
        *(
            keeps("ln.lymphadenopathy=v.present", f"cert@{k}=cert.possibly")
            for k in ("dd.lymphoma", "dd.gct", "dd.seminoma", "dd.nodal_mets", "dd.castleman")
        ),
    ),
    "DD5-paraganglioma": (
        keeps(), keeps("cert@dd.paraganglioma=cert.possibly"), keeps("op.biopsy_route=br.flank"),
        *each(keeps, "cert@dd.paraganglioma=cert.", "probably_not almost_certainly_not definitely_not", "op.biopsy_route=br.flank"),
    ),
    "FU1-free": (
        keeps("met.status@mets.lung=mst.definite"), keeps("met.peritoneal_pattern=v.present"),
        *each(breaks, "met.status@mets.lung=mst.", "definite proven", "fu.recurrence=fu.ned"),
        breaks("fu.recurrence=fu.ned", "met.peritoneal_pattern=v.present"),
        keeps("fu.recurrence=fu.ned", "met.status@mets.lung=mst.suspicious"),
        # a node is no distant metastasis, but disease
        breaks("fu.recurrence=fu.ned", "met.status@mets.lymph_node=mst.proven"),
    ),
    "FU2-distant": (
        keeps("fu.recurrence=rec.distant"), keeps("met.status@mets.lung=mst.none"), keeps("fu.recurrence=rec.local", "met.status@mets.lung=mst.none"),
        *each(breaks, "fu.recurrence=rec.", "distant both", "met.status@mets.lung=mst.none"),
        *each(keeps, "met.status@mets.lung=mst.", "suspicious definite proven", "fu.recurrence=rec.distant"),
        keeps("fu.recurrence=rec.distant", "met.status@mets.lung=mst.none", "met.peritoneal_pattern=v.present"),
    ),
    "FU3-local": (
        keeps("fu.recurrence=rec.local"), keeps("met.status@mets.lung=mst.proven"),
        *each(keeps, "met.status@mets.lung=mst.", "none suspicious", "fu.recurrence=rec.local"),
        *each(breaks, "met.status@mets.lung=mst.", "definite proven", "fu.recurrence=rec.local"),
        *(
            keeps("fu.recurrence=rec.local", f"met.status@{k}=mst.definite", about=k)
            for k in ("mets.lymph_node", "mets.peritoneum", "mets.omentum")
        ),
        breaks("fu.recurrence=rec.local", "met.status@mets.brain=mst.definite", about="mets.brain"),
    ),
    "FU4-site": (
        keeps(), keeps("fu.recurrence=rec.local"), keeps("fu.recur_site=mets.lung"), keeps("fu.recurrence=rec.distant", "fu.recur_site=mets.lung"),
        *each(breaks, "fu.recurrence=rec.", "local both", "fu.recur_site=mets.lung"),
        *each(keeps, "fu.recur_site=", "rs.bed rs.margin rs.abdomen rs.tract mets.peritoneum", "fu.recurrence=rec.local"),
    ),
    "FU5-lesion": (
        keeps(f"sz.long_axis{T1}=14"), keeps("fu.recurrence=rec.local", f"sz.long_axis{T1}=14"),
        keeps("fu.recurrence=fu.ned", f"sz.long_axis{T1}=0"), keeps("fu.recurrence=fu.ned", f"sz.long_axis{T1}=v.not_evaluated"),
    ),
    "R2-new": (keeps("fu.new_lesion=v.present"), keeps("fu.overall=fu.sd"), keeps("fu.new_lesion=v.absent", "fu.overall=fu.sd")),
    "R2-question": (keeps(), keeps("fu.overall=v.not_evaluated")),
    "C1-nodule": (
        keeps("fu.new_nodule=v.present"), keeps("fu.choi_resp=fu.pr"), keeps("fu.new_nodule=v.absent", "fu.choi_resp=fu.pr"),
        keeps("fu.new_nodule=v.present", "fu.choi_resp=fu.ne"),
    ),
    "IM1-board": (
        keeps("im.category=cert.probably"), keeps("im.mdt=v.no"), keeps("im.category=cert.possibly", "im.mdt=v.no"),
        *each(breaks, "im.category=cert.", "definitely almost_certainly probably", "im.mdt=v.no"),
    ),
}  # fmt: skip

#: changes that no report can notice, and why: (rule, "when" or "require", the changed condition)
EQUIVALENT: dict[tuple[str, str, str], str] = {
    **dict.fromkeys(
        [
            ("VES1-degree", "when", "always"),
            ("VES1-degree", "when", "ves.relation in [vr.abut, vr.circumf]"),
            ("VES1-degree", "when", "ves.relation in [vr.abut, vr.encase]"),
            ("VES1-degree", "when", "ves.relation in [vr.encase, vr.circumf]"),
        ],
        "What it requires fails only where two of the three stand; 'when' keeps the rule quiet elsewhere.",
    ),
    **dict.fromkeys(
        [("N1-nodes", "when", "always"), ("N1-nodes", "when", "evaluated(ln.lymphadenopathy)"), ("N1-nodes", "when", "evaluated(st.n)")],
        "What it requires fails only where both are answered; 'when' keeps the rule quiet elsewhere.",
    ),
    **dict.fromkeys(
        [
            ("GP1-intra", "when", "answered(ves.relation) and evaluated(ves.origin)"),
            ("GP1-extra", "when", "always"),
            ("IVC1-contiguous", "when", "always"),
            ("IVC1-origin", "when", "always"),
            ("IVC1-origin", "when", "answered(ivc.origin_segment)"),
            ("IVC1-origin", "when", "answered(ivc.segment)"),
        ],
        "The check looks at the same answer itself, since another rule may name it.",
    ),
}  # fmt: skip


#: another subject of each scope, and an answer that brings one that no matrix lists into the report
OTHER = {
    Scope.VESSEL: "ves.sma", Scope.ORGAN: "org.spleen", Scope.METASTASIS: "mets.liver", Scope.LESION: "LMS-T2", Scope.NODE: "LMS-LN2",
}  # fmt: skip
PRESENT = {Scope.LESION: f"mar{T2}=mar.smooth", Scope.NODE: "ln.feature@LMS-LN2=lnf.round"}


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
    other = OTHER[rule.scope]
    look = report(template, *broken, PRESENT[rule.scope]) if rule.scope in PRESENT else report(template, *broken)
    assert holds(rule.when, look, template, subject)
    assert not holds(rule.when, look, template, other)


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


# --- each part of each rule counts

EXAMPLES = {**RULES, **CHECKED_EXAMPLES}


def examples(key: str) -> tuple[Example, ...]:
    _, _, kept, broken = EXAMPLES[key]
    return (keeps(*kept), breaks(*broken), *MORE.get(key, ()))


def is_broken(
    rule: Rule, when: Condition | None, require: Condition | None, of: Report, template: Template, about: str
) -> bool:
    """Say whether a rule with these conditions in place of its own is broken."""
    if not holds(when, of, template, about):
        return False
    look = Look(report=of, template=template, subject=about, clinical=DEFAULTS)
    return not holds(require, of, template, about) or (bool(rule.check) and CHECKS[rule.check](look) is not None)


def rule_of(key: str) -> tuple[Rule, Template, str]:
    name, subject, _, _ = EXAMPLES[key]
    template = load_template(name)
    return next(r for r in template.rules if r.key == key), template, subject


def test_every_rule_with_a_condition_has_examples():
    assert {k for k, r in all_rules().items() if r.when is not None or r.require is not None} == set(EXAMPLES)
    assert set(MORE) <= set(EXAMPLES)


@pytest.mark.parametrize("key", EXAMPLES)
def test_every_example_is_judged_as_it_says(key):
    rule, template, subject = rule_of(key)
    for one in examples(key):
        of = report(template, *one.given)
        assert is_broken(rule, rule.when, rule.require, of, template, one.about or subject) is one.broken, one


def survivors(key: str) -> set[tuple[str, str, str]]:
    """Return the changes of a rule that none of its examples notices."""
    rule, template, subject = rule_of(key)
    made = [(one.broken, report(template, *one.given), one.about or subject) for one in examples(key)]
    changed: list[tuple[str, Condition | None, Condition | None, Condition | None]] = []
    if rule.when is not None:
        changed += [("when", m, m, rule.require) for m in (None, *mutants(rule.when))]
    if rule.require is not None:
        changed += [("require", m, rule.when, m) for m in (None, *mutants(rule.require))]
    return {
        (key, part, named(mutant))
        for part, mutant, when, require in changed
        if all(is_broken(rule, when, require, of, template, about) is broken for broken, of, about in made)
    }


@pytest.mark.parametrize("key", EXAMPLES)
def test_a_change_of_any_part_of_a_rule_is_noticed(key):
    assert survivors(key) == {k for k in EQUIVALENT if k[0] == key}


def test_a_change_that_cannot_be_noticed_has_a_reason():
    assert all(reason.endswith(".") for reason in EQUIVALENT.values())
