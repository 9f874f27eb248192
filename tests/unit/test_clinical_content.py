"""The clinical content as agreed (``tests/data/items.csv``) is what the templates ask: nothing lost, nothing changed without a reason."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from pydicom.sr._concepts_dict import concepts

from service.model.code import Code
from sr_templates import Item, Need, load_codes, load_template, template_names
from sr_templates.evaluate import holds
from sr_templates.language import conditions
from sr_templates.questions import prompts
from tests.answered import report

ROOT = Path(__file__).parent.parent.parent
CODES = load_codes()
NEEDS = {"E": Need.ESSENTIAL, "C": Need.CONDITIONAL, "O": Need.OPTIONAL}
TYPES = {
    "CODE": {"code", "codes"},
    "NUM": {"number"},
    "TEXT": {"text"},
    "DATE": {"date"},
    "PNAME": {"person"},
    "UIDREF": {"uid"},
}
RANGE = re.compile(r"(-?[\d.]+)(?:-| to )(-?[\d.]+)(?: \(.*\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of ``items.csv``."""

    key: str
    type: str
    unit: str
    #: keys of values, or the range in words
    allowed: str
    modality: str
    need: str

    @property
    def values(self) -> tuple[str, ...]:
        return tuple(self.allowed.split(";")) if self.type == "CODE" else ()

    @property
    def modalities(self) -> frozenset[str]:
        return frozenset() if self.modality == "all" else frozenset(self.modality.split())


def _rows() -> dict[str, Row]:
    with (ROOT / "tests" / "data" / "items.csv").open(newline="", encoding="utf-8") as file:
        return {
            r["key"]: Row(
                key=r["key"],
                type=r["value_type"],
                unit=r["unit_key"],
                allowed=r["allowed_value_keys_or_range"],
                modality=r["modality"],
                need=r["need"],
            )
            for r in csv.DictReader(file)
        }


ROWS = _rows()
EXCLUSIONS = yaml.safe_load((ROOT / "sr_templates" / "exclusions.yaml").read_text(encoding="utf-8"))
ASKED: list[tuple[str, Item]] = [(name, item) for name in template_names() for item in load_template(name)]

#: (item, what) → why the templates say something else than the content
DEVIATIONS: dict[tuple[str, str], str] = {
    ("tid.tp_order", "range"): "the content says 'integer >=1': an upper end that no course of treatment reaches",
    (
        "tid.temporal_offset",
        "range",
    ): "the content says 'days': ten years before the baseline event, a hundred after it",
    ("ves.involved", "values"): "the hemiazygos vein has no verified code (exclusions.yaml)",
    (
        "gr.residual",
        "values",
    ): "R1 and R2 have no verified SNOMED CT id: codes of our own stand in their place (exclusions.yaml)",
    ("fu.graft", "values"): "after a resection without a graft, not applicable is the answer",
    ("sz.long_axis", "range"): "a target that is gone measures 0 mm (R3)",
    ("sz.short_axis", "range"): "a target that is gone measures 0 mm (R3)",
    ("sz.volume", "need"): "after resection a recurrence is followed by its diameters; a volume may stand beside them",
}
#: beyond the content: measured, demanded by its review, or by signing
BEYOND = {
    "ms.low_att_fraction": "measured on every CT segmentation",
    "ms.fat_att_fraction": "measured on every CT segmentation",
    "ves.distance": "measured where vessels are segmented",
    "ves.contact_area": "measured where vessels are segmented",
    "org.distance": "measured where organs are segmented",
    "org.contact_area": "measured where organs are segmented",
    "ctx.topography": "corrections after review: ICD-O topography",
    "st.chapter": "corrections after review: AJCC chapter used",
    "hd.addendum": "what is added after signing",
    "comm.what": "corrections after review: communication of a critical result",
    "comm.to": "corrections after review: communication of a critical result",
    "comm.by": "corrections after review: communication of a critical result",
    "comm.when": "corrections after review: communication of a critical result",
    "comm.time": "corrections after review: communication of a critical result",
    "fu.course": "the sizes at every examination, for readers of the text",
    "fu.sum_course": "the sums at every examination, for readers of the text",
    "ct.hu_series": "measured on every other phase of a CT with the same planes",
    "fu.too_small": "rule R3 of the content: a target too small to measure counts 5 mm",
    "fu.same_as": "the name of a lesion under another tracking UID: a suggestion to confirm",
}


def span(row: Row) -> tuple[Decimal, Decimal] | None:
    """Return the range that a row gives in numbers; None where it gives words."""
    match = RANGE.fullmatch(row.allowed)
    return (Decimal(match[1]), Decimal(match[2])) if match else None


def differences(item: Item, row: Row) -> set[str]:
    """Return in what an item differs from its row of the content."""
    found: set[str] = set()
    if item.need is not NEEDS[row.need]:
        found.add("need")
    if frozenset(item.modalities) != row.modalities:
        found.add("modality")
    if item.type.value not in TYPES[row.type]:
        found.add("type")
    if (item.unit is not None) != bool(row.unit) or (item.unit is not None and not item.unit.same(CODES[row.unit])):
        found.add("unit")
    if row.type == "NUM" and (item.low, item.high) != span(row):
        found.add("range")
    if set(item.value_keys) != set(row.values):
        found.add("values")
    return found


def test_the_content_has_the_items_that_were_agreed():
    assert len(ROWS) == 232
    assert {n: sum(r.need == n for r in ROWS.values()) for n in "ECO"} == {"E": 84, "C": 65, "O": 83}


# coverage


def test_every_item_of_the_content_is_asked_or_left_out_for_a_reason():
    asked = {item.key for _, item in ASKED}
    left_out = {e["key"]: e["reason"] for e in EXCLUSIONS["items"]}
    assert set(ROWS) - asked == set(left_out)
    assert all(left_out.values())


def test_every_value_of_the_content_can_be_chosen_or_is_left_out_for_a_reason():
    chosen: dict[str, set[str]] = {}
    for _, item in ASKED:
        chosen.setdefault(item.key, set()).update(item.value_keys)
    missing = {(v, key) for key, row in ROWS.items() for v in row.values if v not in chosen.get(key, set())}
    left_out = {(e["key"], e["item"]): e["reason"] for e in EXCLUSIONS["values"]}
    assert missing == set(left_out)
    assert all(left_out.values())


def test_what_the_templates_ask_beyond_the_content_is_listed_here():
    assert {item.key for _, item in ASKED} - set(ROWS) == set(BEYOND)


@pytest.mark.parametrize("key", ROWS)
def test_an_item_is_what_the_content_says(key):
    found = {what for _, item in ASKED if item.key == key for what in differences(item, ROWS[key])}
    assert found == {what for k, what in DEVIATIONS if k == key}


def test_the_first_template_asks_everything_but_the_response():
    asked = {i.key for i in load_template("baseline")}
    missing = set(ROWS) - asked
    assert missing == {
        i.key for n, i in ASKED if n == "response" and i.section == "response" and i.key not in {*asked, *BEYOND}
    }
    assert all(key.startswith("fu.") for key in missing)


def test_essential_items_are_asked_in_the_first_template():
    essential = {k for k, r in ROWS.items() if r.need == "E"}
    found = {i.key for i in load_template("baseline") if i.need is Need.ESSENTIAL}
    assert found & set(ROWS) == essential


@pytest.mark.parametrize("name", template_names())
def test_every_item_tells_a_radiologist_what_it_is(name):
    for item in load_template(name):
        assert 0 < len(item.label) <= 64, item.key
        assert len(item.help) <= 200, item.key
        assert "\n" not in item.help + item.cite, item.key
        assert not item.help or item.help.endswith("."), item.key


# how much is asked

PROMPTS = {
    ("baseline", ("CT",)): 30,
    ("baseline", ("MR",)): 33,
    ("baseline", ("CT", "PT")): 32,
    ("baseline", ("US",)): 27,
    ("response", ("CT",)): 26,
    ("response", ("MR",)): 29,
    ("response", ("CT", "PT")): 28,
    ("response", ("US",)): 24,
    ("surveillance", ("CT",)): 14,
    ("surveillance", ("MR",)): 15,
    ("surveillance", ("CT", "PT")): 15,
    ("surveillance", ("US",)): 13,
}


@pytest.mark.parametrize(("name", "modalities"), PROMPTS, ids=[f"{n} {'+'.join(m)}" for n, m in PROMPTS])
def test_a_draft_asks_no_more_prompts_than_agreed(name, modalities):
    template = load_template(name)
    assert len(prompts(report(template, modalities=modalities), template)) == PROMPTS[name, modalities]


# conditional items of the clinical, technique and tumour sections: closed in an empty draft, opened by these answers

T1 = "@LMS-T1"
S2, S3 = "@Series 2", "@Series 3"
PROVEN = "ctx.dx_status=ctx.dx_status.biopsy"
OPENED = [
    ("ctx.histologic_type", "CT", (PROVEN,), ("ctx.dx_status=ctx.dx_status.suspected",)),
    ("ctx.dx_date", "CT", ("ctx.dx_status=ctx.dx_status.recurrent",), ("ctx.dx_status=ctx.dx_status.suspected",)),
    ("ctx.prior_tx_date", "CT", ("ctx.prior_tx=tx.chemo",), ("ctx.prior_tx=v.none",)),
    ("tech.limitation", "CT", ("tech.quality=qual.limited",), ("tech.quality=qual.diagnostic",)),
    ("tech.bvalue", "MR", (f"mr.adc{T1}=1100",), (f"mr.restricted{T1}=v.present",)),
    ("gp.dominant", "CT", (f"gp{T1}=gp.mixed",), (f"gp{T1}=gp.intra",)),
    ("tid.method", "CT", (f"sz.volume{T1}=684",), (f"sz.volume{T1}=684", f"sz.basis{T1}=szb.seg")),
    ("arc.calc_pattern", "CT", (f"arc.calcification{T1}=v.present",), (f"arc.calcification{T1}=v.absent",)),
    ("arc.fat_pct", "CT", (f"arc.fat{T1}=v.present",), (f"arc.fat{T1}=v.undetermined",)),
    ("ct.attenuation", "CT", (f"tech.phase{S2}=phase.unenhanced",), (f"tech.phase{S2}=phase.portal",)),
    (
        "enh.temporal", "CT",
        (f"tech.phase{S2}=phase.arterial", f"tech.phase{S3}=phase.portal"),
        (f"tech.phase{S2}=phase.unenhanced", f"tech.phase{S3}=phase.portal"),
    ),
    (
        "enh.temporal", "MR",
        (f"tech.phase{S2}=phase.portal", f"tech.phase{S3}=phase.delayed"),
        (f"tech.phase{S2}=phase.portal", f"tech.phase{S3}=phase.nephrographic"),
    ),
    ("us.ivc_flow", "US", ("iv.obstruction=iv.obs_partial",), ("iv.obstruction=v.absent",)),
]  # fmt: skip


def asked_keys(modality: str, *given: str) -> set[str]:
    template = load_template("baseline")
    of = report(template, *given, modalities=(modality,))
    return {q.item.key for p in prompts(of, template) for q in p.questions}


@pytest.mark.parametrize(("key", "modality", "opening", "closing"), OPENED, ids=[f"{o[0]} {o[1]}" for o in OPENED])
def test_a_conditional_item_is_asked_when_it_has_to_be(key, modality, opening, closing):
    assert key not in asked_keys(modality)
    assert key not in asked_keys(modality, *closing)
    assert key in asked_keys(modality, *opening)


@pytest.mark.parametrize(
    ("modality", "keys"),
    [
        ("MR", {"tech.mr_sequence", "mr.t1", "mr.t2", "mr.restricted"}),
        (
            "PT",
            {"tech.pet_agent", "tech.pet_activity", "tech.pet_uptake", "tech.suv_method", "pet.suvbw", "pet.pattern"},
        ),
        ("US", {"us.echo", "us.vasc"}),
        ("CT", {"ct.hu", "arc.calcification"}),
    ],
)
def test_a_modality_brings_its_own_questions_and_no_other_does(modality, keys):
    assert keys <= asked_keys(modality)
    others = {"CT", "MR", "PT", "US"} - {modality} - ({"US"} if modality == "CT" else set())
    for other in others:
        assert not (keys & asked_keys(other)), other


def test_every_conditional_item_of_these_sections_is_tried_here():
    sections = {
        "clinical",
        "comparison",
        "technique",
        "tumour",
        "size",
        "architecture",
        "enhancement",
        "mr",
        "pet",
        "ultrasound",
    }
    conditional = {i.key for i in load_template("baseline") if i.section in sections and i.need is Need.CONDITIONAL}
    by_modality = {
        i.key for i in load_template("baseline") if {t.name.item for t in conditions.tests(i.when)} == {"modality"}
    }
    assert conditional - by_modality == {o[0] for o in OPENED}


def test_every_lesion_has_a_long_axis_and_a_site_and_only_the_index_tumour_the_rest():
    template = load_template("baseline")
    given = ("tid.finding@LMS-T1=tum.mass", "tid.finding@LMS-T2=tum.mass")
    of = report(template, *given)
    about = {(q.item.key, q.subject) for p in prompts(of, template) for q in p.questions}
    assert {k for k, s in about if s == "LMS-T2"} == {
        "tid.finding", "tid.finding_category", "tid.finding_site", "sz.long_axis"
    }  # fmt: skip
    assert ("sz.height", "LMS-T1") in about


def test_no_tissue_diagnosis_no_leiomyosarcoma():
    template = load_template("baseline")
    rules = {r.key: r for r in template.rules}
    suspected, proven = "ctx.dx_status=ctx.dx_status.suspected", "ctx.dx_status=ctx.dx_status.resected"
    for key, answer in (("DX1-type", "ctx.histologic_type=hist.lms"), ("DX1-finding", f"tid.finding{T1}=hist.lms")):
        rule = rules[key]
        broken = report(template, suspected, answer)
        assert holds(rule.when, broken, template)
        assert not holds(rule.require, broken, template)
        kept = report(template, proven, answer)
        assert not holds(rule.when, kept, template) or holds(rule.require, kept, template)
        assert not rule.warning


@pytest.mark.parametrize(
    ("key", "kept", "broken"),
    [
        ("TX1-none", ("ctx.prior_tx=v.none",), ("ctx.prior_tx=v.none;tx.chemo",)),
        ("TUM1-load", ("tum.lesion_load=load.solitary", "tum.n_lesions=1"), ("tum.lesion_load=load.solitary", "tum.n_lesions=2")),
        (
            "ARC1-present",
            (f"arc.necrosis{T1}=v.present", f"arc.necrosis_ext{T1}=nec.lt25"),
            (f"arc.necrosis{T1}=v.present", f"arc.necrosis_ext{T1}=nec.none"),
        ),
        (
            "ARC1-absent",
            (f"arc.necrosis{T1}=v.absent", f"arc.necrosis_ext{T1}=nec.none"),
            (f"arc.necrosis{T1}=v.absent", f"arc.necrosis_ext{T1}=nec.ge50"),
        ),
    ],
)  # fmt: skip
def test_answers_that_contradict_each_other_are_told(key, kept, broken):
    template = load_template("baseline")
    rule = next(r for r in template.rules if r.key == key)
    for given, expected in ((kept, True), (broken, False)):
        of = report(template, *given)
        assert holds(rule.when, of, template)
        assert holds(rule.require, of, template) is expected


# codes


def codes_of(name: str) -> Iterator[tuple[str, Code]]:
    """Yield every code that a template can write, and where it stands."""
    template = load_template(name)
    yield "title", template.title
    for section in template.sections:
        yield section.key, section.heading
        for matrix in section.matrices:
            for row in matrix.rows:
                yield row.key, row.structure
    for item in template:
        yield item.key, item.concept
        yield from ((f"{item.key}: {key}", v) for key, v in zip(item.value_keys, item.values, strict=True))
        if item.unit is not None:
            yield item.key, item.unit


USED = [(where, code) for name in template_names() for where, code in codes_of(name)]


def concept(key: str) -> tuple[str, str]:
    item = next(i for _, i in ASKED if i.key == key)
    return item.concept.scheme, item.concept.value


def values(key: str) -> dict[str, Code]:
    item = next(i for _, i in ASKED if i.key == key)
    return dict(zip(item.value_keys, item.values, strict=True))


def used(scheme: str, value: str) -> list[str]:
    return [where for where, code in USED if (code.scheme, code.value) == (scheme, value)]


def test_no_unverified_code_is_in_a_template():
    unverified = {(r.code.scheme, r.code.value) for r in CODES if r.status == "unverified"}
    assert unverified
    assert [(where, c) for where, c in USED if (c.scheme, c.value) in unverified] == []


def test_every_code_is_a_row_of_the_table_by_value_and_meaning():
    table = {(r.code.scheme, r.code.value, r.code.meaning) for r in CODES}
    assert [(where, c) for where, c in USED if (c.scheme, c.value, c.meaning) not in table] == []


def test_every_row_that_names_pydicom_stands_there():
    for row in CODES:
        if row.verified_in.startswith("pydicom _concepts_dict."):
            _, scheme, name = row.verified_in.removeprefix("pydicom ").split(".")
            assert row.code.value in concepts[scheme][name], row.key


def test_infiltrative_margin_is_not_the_cardiomyopathy_descriptor():
    assert used("RADLEX", "RID6282") == []
    assert values("mar")["mar.infiltrative"].scheme == "99LMSSR"


def test_the_renal_vein_is_not_the_inactive_concept():
    assert used("SCT", "116358006") == []
    assert values("ves.origin")["ves.renal_v"].value == "56400007"


def test_bland_thrombus_says_so_and_is_never_thrombus_alone():
    assert used("SCT", "396339007") == []
    bland = values("iv.thrombus_type")["iv.thrombus"]
    assert (bland.scheme, bland.meaning) == ("99LMSSR", "Bland thrombus")
    # and the finding "deep venous thrombosis" is a symptom, not the material in the vein
    assert "sym.dvt" not in values("iv.thrombus_type")


def test_a_change_between_examinations_is_no_differential_diagnosis():
    assert used("DCM", "111023") == []
    assert concept("dd") == ("SCT", "47965005")


@pytest.mark.parametrize("value", range(111495, 111502))
def test_breast_stage_terms_do_not_stage_a_sarcoma(value):
    assert used("DCM", str(value)) == []


def test_every_stage_group_names_its_ajcc_chapter():
    assert {c.scheme for c in values("st.group").values()} == {"99LMSSR"}
    assert all(c.meaning.startswith("AJCC 8 retroperitoneum stage ") for c in values("st.group").values())


def test_invasion_by_tumour_is_left_to_pathology():
    assert used("SCT", "370052007") == []
    assert concept("org.relation")[0] == "99LMSSR"


def test_response_evaluation_is_a_heading_and_no_answer():
    assert [
        w
        for w in used("DCM", "112020")
        if w not in {s.key for n in template_names() for s in load_template(n).sections}
    ] == []
    assert concept("fu.current") == ("DCM", "112048")


def test_disputed_residual_tumour_codes_are_not_written():
    assert [used("SCT", v) for v in ("278271003", "258255004", "278272005")] == [[], [], []]


def test_the_old_hydronephrosis_concept_is_not_used():
    assert used("SCT", "155866001") == []
    assert concept("uro.hydronephrosis") == ("SCT", "43064006")


def test_caval_levels_are_named_and_never_numbered():
    for key in ("ivc.segment", "ivc.origin_segment", "iv.cranial", "iv.caudal"):
        assert [c.meaning for c in values(key).values() if re.search(r"\b(I{1,3}|IV)[AB]?\b", c.meaning)] == []


def test_the_recist_diameter_the_extents_and_the_volume_keep_their_own_concepts():
    assert concept("sz.long_axis") == ("SCT", "103339001")
    assert concept("sz.height") == ("DCM", "121207")
    assert concept("sz.width") == ("SCT", "103355008")
    assert concept("sz.depth") == ("SCT", "131197000")
    # IBSI's volumes are read as Volume with a method, and never written
    assert concept("sz.volume") == ("SCT", "118565006")
    assert [used("IBSI", v) for v in ("YEKZ", "RNU0")] == [[], []]


def test_necrosis_on_images_is_not_the_pathologists_score():
    assert concept("arc.necrosis_ext") != concept("gr.necrosis")
    assert set(values("arc.necrosis_ext")) == {"nec.none", "nec.lt25", "nec.25_49", "nec.ge50"}


def test_suv_by_body_weight_and_by_lean_mass_share_neither_concept_nor_unit():
    items = {i.key: i for _, i in ASKED}
    weight, lean = items["pet.suvbw"], items["pet.suvlbm"]
    assert weight.unit is not None
    assert lean.unit is not None
    assert not weight.unit.same(lean.unit)
    assert not weight.concept.same(lean.concept)


def test_adc_is_in_square_micrometres_per_second():
    item = next(i for _, i in ASKED if i.key == "mr.adc")
    assert item.unit is not None
    assert item.unit.value == "um2/s"
    assert item.high == 4000


def test_procedure_codes_fall_back_to_codes_of_context_group_100():
    assert {(c.scheme, c.value) for c in values("tid.procedure_reported").values()} == {
        ("LN", "25045-6"), ("LN", "25056-3"), ("SCT", "443271005"), ("SCT", "363679005")
    }  # fmt: skip


def test_the_code_of_the_mdrd_equation_is_announced_as_such():
    item = next(i for _, i in ASKED if i.key == "ctx.egfr")
    assert item.concept.value == "33914-3"
    assert "MDRD" in item.concept.meaning
    assert "MDRD" in item.help
