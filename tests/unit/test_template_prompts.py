"""What each template asks, by modality and by answer, and what its rules accept: a change of the clinical content shows here."""

from __future__ import annotations

import pytest

from service.model.report import Scope
from sr_templates import load_template, template_names
from sr_templates.evaluate import holds
from sr_templates.language.values import Fill, Matrix, Need
from sr_templates.questions import prompts
from tests.answered import report

CT, MR, PET_CT, US = ("CT",), ("MR",), ("PT", "CT"), ("US",)
NO_EVIDENCE = ("ctx.dx_status=ctx.dx_status.resected", "fu.recurrence=fu.ned")
LOCAL = ("ctx.dx_status=ctx.dx_status.resected", "fu.recurrence=rec.local")

_BEFORE = ["Indication", "Diagnosis", "Presenting symptom", "Prior tumour treatment", "Comparison", "Coverage"]
_TUMOUR = ["Tumour finding and site", "Lesion load and compartments"]
_ENHANCED = ["Necrosis, haemorrhage, cystic change", "Calcification and fat", "Attenuation and enhancement"]
_VEINS = ["Vessel relations", "Tumour in vein", "Venous obstruction and collaterals"]
_AROUND = ["Organ relations", "Hydronephrosis", "Lymph nodes", "Metastases"]
_BASELINE_END = ["Operative planning", "Staging", "Differential", "Impression and recommendation"]
_RESPONSE = ["Response method", "Target lesions", "New lesion", "Target sums", "RECIST response"]
_RESPONSE_BEFORE = ["Indication", "Diagnosis", "Prior tumour treatment", "Comparison", "Coverage"]
_FREE = ["Hydronephrosis", "Lymph nodes", "Metastases", "Impression and recommendation"]

#: the prompts of a draft in which nothing is answered yet, in the order in which they are read
DRAFTS: dict[tuple[str, tuple[str, ...]], list[str]] = {
    ("baseline", CT): [
        *_BEFORE, "Contrast and phase", "Image quality", *_TUMOUR, "Vertebral extent", "Growth pattern",
        "Vein wall at the interface", "Size", "Margin and composition", *_ENHANCED, "Vessel of origin", *_VEINS, *_AROUND,
        *_BASELINE_END,
    ],
    ("baseline", MR): [
        *_BEFORE, "Contrast and phase", "Image quality", "MR sequences", *_TUMOUR, "Vertebral extent", "Growth pattern",
        "Vein wall at the interface", "Size", "Margin and composition", *_ENHANCED, "MR signal", "Diffusion",
        "Vessel of origin", *_VEINS, *_AROUND, *_BASELINE_END,
    ],
    ("baseline", PET_CT): [
        *_BEFORE, "Contrast and phase", "Image quality", "PET technique", *_TUMOUR, "Vertebral extent", "Growth pattern",
        "Vein wall at the interface", "Size", "Margin and composition", *_ENHANCED, "FDG uptake", "Vessel of origin",
        *_VEINS, *_AROUND, *_BASELINE_END,
    ],
    ("baseline", US): [
        *_BEFORE, "Image quality", *_TUMOUR, "Growth pattern", "Size", "Margin and composition",
        "Necrosis, haemorrhage, cystic change", "Calcification and fat", "Echo pattern and vascularity",
        "Vessel of origin", *_VEINS, *_AROUND, *_BASELINE_END,
    ],
    ("response", CT): [
        *_RESPONSE_BEFORE, "Contrast and phase", "Image quality", *_RESPONSE, *_TUMOUR, "Growth pattern", "Size",
        "Necrosis, haemorrhage, cystic change", "Attenuation and enhancement", *_VEINS, *_AROUND,
        "Impression and recommendation",
    ],
    ("response", MR): [
        *_RESPONSE_BEFORE, "Contrast and phase", "Image quality", "MR sequences", *_RESPONSE, *_TUMOUR, "Growth pattern",
        "Size", "Necrosis, haemorrhage, cystic change", "Attenuation and enhancement", "MR signal", "Diffusion", *_VEINS,
        *_AROUND, "Impression and recommendation",
    ],
    ("response", PET_CT): [
        *_RESPONSE_BEFORE, "Contrast and phase", "Image quality", "PET technique", *_RESPONSE, *_TUMOUR, "Growth pattern",
        "Size", "Necrosis, haemorrhage, cystic change", "Attenuation and enhancement", "FDG uptake", *_VEINS, *_AROUND,
        "Impression and recommendation",
    ],
    ("response", US): [
        *_RESPONSE_BEFORE, "Image quality", "Response method", "Target lesions", "New lesion", "RECIST response",
        *_TUMOUR, "Growth pattern", "Size", "Necrosis, haemorrhage, cystic change", "Echo pattern and vascularity",
        *_VEINS, *_AROUND, "Impression and recommendation",
    ],
    ("surveillance", CT): [
        *_BEFORE, "Contrast and phase", "Image quality", "Recurrence", "Venous obstruction and collaterals", *_FREE,
    ],
    ("surveillance", MR): [
        *_BEFORE, "Contrast and phase", "Image quality", "MR sequences", "Recurrence", "Venous obstruction and collaterals",
        *_FREE,
    ],
    ("surveillance", PET_CT): [
        *_BEFORE, "Contrast and phase", "Image quality", "PET technique", "Recurrence", "Venous obstruction and collaterals",
        *_FREE,
    ],
    ("surveillance", US): [*_BEFORE, "Image quality", "Recurrence", "Venous obstruction and collaterals", *_FREE],
}  # fmt: skip

MOST = {"baseline": 30, "response": 30, "surveillance": 25}


def labels(name: str, *given: str, modalities: tuple[str, ...] = CT) -> list[str]:
    template = load_template(name)
    return [p.label for p in prompts(report(template, *given, modalities=modalities), template)]


def asked(name: str, *given: str, modalities: tuple[str, ...] = CT, sex: str = "") -> set[tuple[str, str]]:
    """Return (item, subject) of every question that a report asks."""
    template = load_template(name)
    of = report(template, *given, modalities=modalities, sex=sex)
    return {(q.item.key, q.subject) for p in prompts(of, template) for q in p.questions}


def matrix(name: str, scope: Scope) -> Matrix:
    found = load_template(name).matrix(scope)
    assert found is not None
    return found


def rows(name: str, scope: Scope, *given: str, sex: str = "") -> list[str]:
    template = load_template(name)
    of = report(template, *given, sex=sex)
    return [r.key for r in matrix(name, scope).rows if holds(r.when, of, template, r.key)]


# what is asked


@pytest.mark.parametrize(("name", "modalities"), DRAFTS, ids=[f"{n} {'+'.join(m)}" for n, m in DRAFTS])
def test_a_draft_asks_exactly(name, modalities):
    assert labels(name, modalities=modalities) == DRAFTS[name, modalities]


def test_every_template_is_listed_here_for_every_modality():
    assert {n for n, _ in DRAFTS} == set(template_names())
    assert len(DRAFTS) == 4 * len(template_names())


@pytest.mark.parametrize("name", MOST)
def test_a_ct_draft_has_no_more_prompts_than_a_radiologist_will_answer(name):
    assert len(labels(name)) <= MOST[name]


def test_surveillance_without_disease_asks_little_and_nothing_of_a_tumour():
    found = labels("surveillance", *NO_EVIDENCE)
    assert len(found) <= MOST["surveillance"]
    assert not {"Tumour finding and site", "Size", "Vessel relations", "Tumour in vein", "Organ relations"} & set(found)


@pytest.mark.parametrize("name", template_names())
def test_a_prompt_never_spans_two_sections(name):
    sections: dict[str, set[str]] = {}
    for item in load_template(name):
        sections.setdefault(item.prompt, set()).add(item.section)
    assert {p: s for p, s in sections.items() if len(s) > 1} == {}


@pytest.mark.parametrize("name", template_names())
def test_every_row_of_a_matrix_is_one_of_the_structures_of_its_item(name):
    template = load_template(name)
    for found in template.matrices:
        item = template.item(found.item)
        assert item is not None
        assert item.fill is Fill.ROW
        assert {r.key.partition("/")[0] for r in found.rows} <= set(item.value_keys)


# rows

VESSELS = [
    "ves.ivc", "ves.renal_v/right", "ves.renal_v/left", "ves.aorta_abd", "ves.renal_a/right", "ves.renal_a/left", "ves.celiac",
    "ves.sma", "ves.smv", "ves.portal_v", "ves.common_iliac_v/right", "ves.common_iliac_v/left", "ves.common_iliac_a/right",
    "ves.common_iliac_a/left",
]  # fmt: skip
ORGANS = [
    "org.kidney/right", "org.kidney/left", "org.adrenal/right", "org.adrenal/left", "org.ureter/right", "org.ureter/left",
    "org.liver", "org.pancreas", "org.duodenum", "org.colon", "org.spleen", "org.psoas/right", "org.psoas/left", "org.diaphragm",
    "org.spine",
]  # fmt: skip


@pytest.mark.parametrize("name", template_names())
def test_the_mandatory_vessels_and_organs_are_rows(name):
    assert rows(name, Scope.VESSEL) == VESSELS
    assert rows(name, Scope.ORGAN) == ORGANS


@pytest.mark.parametrize(
    ("given", "sex", "more"),
    [
        (("tum.compartment@LMS-T1=comp.presacral",), "F", ["org.bladder", "org.rectum", "org.uterus", "org.ovary"]),
        (("tum.compartment@LMS-T1=comp.great_vessel;comp.pelvic_extraperit",), "M", ["org.bladder", "org.rectum", "org.prostate"]),
        (("tid.finding_site@LMS-T1=site.pelvic_cavity",), "", ["org.bladder", "org.rectum"]),
        (("tum.compartment@LMS-T1=comp.great_vessel",), "F", []),
    ],
)  # fmt: skip
def test_pelvic_organs_are_rows_when_the_tumour_lies_in_the_pelvis(given, sex, more):
    assert rows("baseline", Scope.ORGAN, *given, sex=sex) == ORGANS + more


def test_the_lung_is_a_row_only_when_the_chest_was_imaged():
    sites = ["mets.liver", "mets.peritoneum", "mets.bone", "mets.soft_tissue"]
    assert rows("baseline", Scope.METASTASIS) == sites
    assert rows("baseline", Scope.METASTASIS, "tech.chest_covered=v.no") == sites
    assert rows("baseline", Scope.METASTASIS, "tech.chest_covered=v.yes") == ["mets.lung", *sites]


def test_a_structure_beyond_the_rows_is_asked_about_once_it_is_named():
    found = asked("baseline", "ves.relation@ves.ovarian_v/right=vr.luminal", "org.relation@org.stomach=or.contact")
    assert {("ves.caliber", "ves.ovarian_v/right"), ("org.relation", "org.stomach")} <= found


def test_hydronephrosis_is_asked_of_each_kidney_and_of_nothing_else():
    found = {s for i, s in asked("baseline") if i == "uro.hydronephrosis"}
    assert found == {"org.kidney/right", "org.kidney/left"}


def test_the_renal_veins_are_derived_per_side_and_never_asked():
    item = load_template("baseline").item("op.renal_vein")
    assert item is not None
    assert (item.scope, item.fill, item.derive) == (Scope.VESSEL, Fill.DERIVED, "renal_vein")
    assert item.rows == ("ves.renal_v/right", "ves.renal_v/left")
    assert not any(i == "op.renal_vein" for i, _ in asked("baseline"))


# what opens when

IVC = "ves.relation@ves.ivc="
#: template, answers before, the answer that opens, prompts that come, questions that come (item, subject)
OPENS = [
    ("baseline", (), f"{IVC}vr.abut", ["IVC level"],
     [("ivc.segment", "ves.ivc"), ("ivc.length", "ves.ivc"), ("ivc.dist_renal", "ves.ivc"), ("ves.contact_angle", "ves.ivc"),
      ("ves.caliber", "ves.ivc"), ("op.ivc_resection", "")]),
    ("baseline", (f"{IVC}vr.luminal",), "ivc.segment@ves.ivc=ivc.middle", [], [("ivc.dist_hepatic", "ves.ivc")]),
    ("baseline", (f"{IVC}vr.luminal",), "ivc.segment@ves.ivc=ivc.middle;ivc.upper", [],
     [("ivc.dist_hepatic", "ves.ivc"), ("ivc.dist_atrium", "ves.ivc"), ("op.hepatic_vein", ""), ("op.right_atrium", "")]),
    ("baseline", (f"{IVC}vr.luminal", "ivc.segment@ves.ivc=ivc.middle"), "ivc.middle_sub@ves.ivc=ivc.2b", [], [("op.hepatic_vein", "")]),
    ("baseline", (f"{IVC}vr.luminal",), "op.ivc_resection=opr.retrohepatic", [], [("op.hepatic_vein", "")]),
    ("baseline", (), "ves.origin=ves.ivc", ["IVC level"], [("ivc.origin_segment", "ves.ivc")]),
    ("baseline", (), "ves.relation@ves.renal_a/left=vr.encase", [],
     [("ves.contact_angle", "ves.renal_a/left"), ("ves.caliber", "ves.renal_a/left")]),
    ("baseline", (), "iv.tumor_in_vein=v.present", ["Intravascular extent"], [("iv.cranial", ""), ("iv.caudal", "")]),
    ("baseline", ("iv.tumor_in_vein=v.present",), "iv.thrombus_type=iv.mixed_thrombus", [], [("iv.criteria", ""), ("iv.bland_extent", "")]),
    ("baseline", (), "iv.thrombus_type=iv.thrombus", ["Intravascular extent"], [("iv.criteria", ""), ("iv.bland_extent", "")]),
    ("baseline", ("iv.tumor_in_vein=v.present",), "iv.cranial=ves.right_atrium", [], [("iv.ra_extent", ""), ("op.right_atrium", "")]),
    ("baseline", (), "iv.collaterals=v.present", [], [("iv.collateral_route", "")]),
    ("baseline", (), "uro.hydronephrosis@org.kidney/left=v.mild", [], [("uro.level", "org.kidney/left")]),
    ("baseline", (), "org.relation@org.colon=or.encased", [], [("op.organs_resect", "")]),
    ("baseline", (), "tum.compartment@LMS-T1=comp.presacral", [], [("op.foraminal_pelvic", ""), ("org.relation", "org.rectum")]),
    ("baseline", (), "ln.lymphadenopathy=v.present", [], [("sz.short_axis#node", "")]),
    ("baseline", (), "ctx.dx_status=ctx.dx_status.suspected", [], [("op.biopsy_route", "")]),
    ("baseline", (), "ctx.dx_status=ctx.dx_status.biopsy", ["Grade"], [("gr.histologic_grade", ""), ("st.chapter", ""), ("ctx.topography", "")]),
    ("baseline", ("ctx.dx_status=ctx.dx_status.biopsy",), "gr.histologic_grade=gr.g2", [], [("tid.method#grading", "")]),
    ("baseline", ("ctx.dx_status=ctx.dx_status.biopsy", "gr.histologic_grade=gr.g2"), "st.chapter=st.chapter.rp", [], [("st.group", "")]),
    ("baseline", (), "st.n=st.n1", [], [("st.chapter", "")]),
    ("baseline", (), "ctx.dx_status=ctx.dx_status.resected", ["Grade", "Recurrence"], [("fu.recurrence", "")]),
    ("baseline", (), "ctx.prior_tx=tx.surgery", ["Recurrence"], [("fu.recurrence", ""), ("fu.graft", "")]),
    ("baseline", ("ctx.dx_status=ctx.dx_status.recurrent",), "fu.recurrence=rec.local", [], [("fu.recur_site", ""), ("fu.recur_date", "")]),
    ("baseline", (), "ctx.comparison_uid=2.25.9", ["Change since comparison"], [("fu.change", "")]),
    ("baseline", ("ctx.dx_status=ctx.dx_status.biopsy",), "org.relation@org.kidney/right=or.origin", ["Differential"], [("cert", "")]),
    ("baseline", ("ctx.dx_status=ctx.dx_status.biopsy",), "arc.fat@LMS-T1=v.present", ["Differential"], [("cert", "")]),
    ("baseline", (), "im.actionable=im.act1", ["Communication of critical results"],
     [("comm.what", ""), ("comm.to", ""), ("comm.by", ""), ("comm.when", ""), ("comm.time", "")]),
    ("response", (), "fu.method=fu.choi", ["Choi response"], [("fu.choi_hu_pct", ""), ("fu.new_nodule", ""), ("fu.choi_resp", "")]),
    ("response", (), f"{IVC}vr.encase", ["IVC level", "Operative planning"], [("op.ivc_resection", "")]),
    ("response", (), "org.relation@org.spine=or.invaded", ["Operative planning"], [("op.neuroforaminal", ""), ("op.organs_resect", "")]),
    ("surveillance", (), "fu.recurrence=rec.local",
     ["Tumour finding and site", "Lesion load and compartments", "Growth pattern", "Size", "Vessel of origin", "Vessel relations",
      "Tumour in vein", "Organ relations"],
     [("fu.recur_site", ""), ("tid.finding_site", ""), ("org.relation", "org.liver"), ("ves.relation", "ves.ivc")]),
    ("surveillance", (), "fu.recurrence=rec.distant", ["Tumour finding and site", "Lesion load and compartments", "Size"], [("fu.recur_site", "")]),
    ("surveillance", LOCAL, f"{IVC}vr.luminal", ["IVC level"], [("ivc.segment", "ves.ivc")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "before", "opening", "labelled", "questions"), OPENS, ids=[f"{o[0]} {o[2]}" for o in OPENS]
)
def test_an_answer_opens_what_it_makes_necessary(name, before, opening, labelled, questions):
    assert sorted(set(labels(name, *before, opening)) - set(labels(name, *before))) == sorted(labelled)
    assert set(questions) <= asked(name, *before, opening) - asked(name, *before)


#: template, answers before, the answer that closes, prompts that go
CLOSES = [
    ("baseline", (), "ctx.dx_status=ctx.dx_status.biopsy", ["Differential"]),
    ("response", (), "fu.method=fu.mchoi", ["RECIST response"]),
    ("baseline", ("ves.origin=ves.ivc",), "ves.origin=ves.renal_v", ["IVC level"]),
]


@pytest.mark.parametrize(("name", "before", "closing", "labelled"), CLOSES)
def test_an_answer_closes_what_it_makes_needless(name, before, closing, labelled):
    replaced = [b for b in before if b.partition("=")[0] != closing.partition("=")[0]]
    assert sorted(set(labels(name, *before)) - set(labels(name, *replaced, closing))) == sorted(labelled)


def test_not_evaluated_opens_nothing_of_the_intravascular_part():
    found = asked(
        "baseline", "iv.tumor_in_vein=v.not_evaluated", "iv.thrombus_type=v.not_evaluated", f"{IVC}v.not_evaluated"
    )
    assert not {i for i, _ in found} & {"iv.cranial", "iv.criteria", "ivc.segment", "ves.contact_angle", "ves.caliber"}


def test_ultrasound_asks_the_lumen_of_vessels_whose_relation_it_cannot_show():
    found = asked("baseline", modalities=US)
    assert ("ves.caliber", "ves.ivc") in found
    assert not any(i == "ves.relation" for i, _ in found)
    assert ("ivc.segment", "ves.ivc") in asked("baseline", "ves.caliber@ves.ivc=cal.expanded", modalities=US)


def test_every_recurrent_lesion_is_described():
    two = ("sz.long_axis@LMS-T1=20", "sz.long_axis@LMS-T2=12", *LOCAL)
    found = asked("surveillance", *two)
    assert {("tid.finding_site", "LMS-T1"), ("tid.finding_site", "LMS-T2"), ("sz.long_axis", "LMS-T2")} <= found


def test_every_lesion_on_treatment_has_a_role_and_a_size():
    found = asked("response", "sz.long_axis@LMS-T1=20", "sz.long_axis@LMS-T2=12", "ctx.comparison_uid=2.25.9")
    for lesion in ("LMS-T1", "LMS-T2"):
        assert {("fu.baseline_cat", lesion), ("sz.long_axis", lesion), ("fu.change", lesion)} <= found


def test_every_candidate_needs_its_certainty():
    found = asked("baseline", "dd.rank@dd.ddlps=1", "dd.rank@dd.lymphoma=2")
    assert {("cert", "dd.ddlps"), ("cert", "dd.lymphoma")} <= found
    assert ("cert", "") in asked("baseline")


# what a recurrence shares with the tumour


@pytest.mark.parametrize("key", [i.key for i in load_template("surveillance") if i.section == "recurrence"])
def test_a_recurrence_is_described_in_the_words_of_the_tumour(key):
    ours, theirs = load_template("surveillance").item(key), load_template("baseline").item(key)
    assert ours is not None
    assert theirs is not None
    for name in (
        "label", "concept", "type", "scope", "fill", "value_keys", "extensible", "unit", "low", "high", "decimals", "max_length",
        "many", "modalities", "prompt", "prefill", "derive",
    ):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.need in {theirs.need, Need.OPTIONAL}


def test_what_version_one_asked_once_per_report_is_still_read():
    template = load_template("baseline")
    assert {i.key for i in template.retired} == {"uro.hydronephrosis", "op.renal_vein", "cert"}
    for retired in template.retired:
        live = template.item(retired.key)
        assert live is not None
        assert retired.scope is Scope.REPORT
        assert live.scope is not Scope.REPORT
        assert retired.concept == live.concept
        assert set(retired.value_keys) == set(live.value_keys)
