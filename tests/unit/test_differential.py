"""The table of mimics: complete, sound against the template, and honest about what is not known."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest

from service.errors import TemplateError
from service.flow.differential import AGAINST, FAVOURS, EvidenceRow, Finding, State, evidence, evidence_for
from service.model.report import Scope
from service.settings import Clinical
from sr_templates import load_codes
from sr_templates.language.conditions import All
from sr_templates.language.conditions import tests as every_test
from sr_templates.language.evidence import FILE, lint_candidates, load_candidates, read_candidates
from tests.stated import TEMPLATES, every, rows, stated

CODES = load_codes()
BASELINE = TEMPLATES["baseline"]
#: the table of mimics of the clinical content, in its order, and its mark of evidence
MIMICS = {
    "dd.wdlps": "V", "dd.ddlps": "V", "dd.ups": "V", "dd.sft": "V", "dd.synovial": "V", "dd.mpnst": "V/G", "dd.schwannoma": "G",
    "dd.ganglioneuroma": "G", "dd.paraganglioma": "V/G", "dd.lymphoma": "V", "dd.gist": "V/G", "dd.gct": "V/G", "dd.seminoma": "V/G",
    "dd.nodal_mets": "V", "dd.castleman": "V", "dd.rpf": "V", "dd.ecd": "G", "dd.desmoid": "V/G", "dd.rcc": "V", "dd.acc": "V",
    "dd.hcc": "G", "dd.aml": "V", "iv.thrombus": "V/G", "dd.ovarian": "G", "hist.lms.uterus": "V/G", "dd.leiomyoma": "V/G", "dd.ivl": "V",
    "dd.angiosarcoma": "G", "dd.sarcoma_nos": "G",
}  # fmt: skip


def findings(report, candidate) -> dict[str, Finding]:
    (row,) = (r for r in evidence(report, BASELINE) if r.key == candidate)
    return {f.words: f for f in (*row.favours, *row.against)}


def state(report, candidate, words) -> State:
    (found,) = (f.state for w, f in findings(report, candidate).items() if words in w)
    return found


def test_every_mimic_and_leiomyosarcoma_itself_are_there_with_findings_on_both_sides():
    candidates = load_candidates()
    assert [c.key for c in candidates] == ["hist.lms.retro", *MIMICS]
    assert {c.key: c.mark.value for c in candidates if c.key in MIMICS} == MIMICS
    for one in candidates:
        assert one.favours, one.key
        assert one.cite, one.key
        assert one.against or one.key in {"hist.lms.retro", "dd.sarcoma_nos"}, one.key


def test_conditions_name_items_and_values_of_the_template():
    assert lint_candidates(BASELINE) == ()


def test_every_candidate_of_the_form_has_a_row_but_the_general_name():
    item = BASELINE.item("dd")
    assert item is not None
    without = {k for k in item.value_keys if evidence_for(CODES[k], stated({}), BASELINE) is None}
    assert without == {"hist.lms.disorder"}


def test_every_supporting_feature_of_the_form_stands_for_a_finding():
    item = BASELINE.item("dd.feature")
    assert item is not None
    used = {f.feature for c in load_candidates() for f in c.favours if f.feature}
    # a compressed vein argues against leiomyosarcoma in general and is no finding of one mimic
    assert used == set(item.value_keys) - {"veinif.neg_embedded"}


def test_no_probability_score_rank_or_diagnosis():
    fields = {f.name for of in (EvidenceRow, Finding) for f in dataclasses.fields(of)}
    assert fields == {
        "key", "code", "label", "mark", "cite", "favours", "against", "words", "state", "rests_on", "facts", "feature",
    }  # fmt: skip
    assert [r.key for r in evidence(stated({"arc.fat@LMS-T1": "v.present"}), BASELINE)] == [
        r.key for r in evidence(stated({}), BASELINE)
    ]
    titles = {r.title for r in evidence(stated({}), BASELINE)}
    assert "Features that favour LMS overall" in titles
    assert all(t.startswith("Features that favour ") for t in titles)
    assert (FAVOURS, AGAINST) == ("features that favour", "features that argue against")


def test_an_empty_report_tells_nothing():
    for row in evidence(stated({}), BASELINE):
        for finding in (*row.favours, *row.against):
            assert finding.state in {State.UNKNOWN, State.NOT_RECORDED}, (row.key, finding.words)
            assert finding.rests_on == ()
            assert finding.facts == ()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("v.present", State.CONTRADICTED),
        ("v.absent", State.PRESENT),
        ("v.undetermined", State.UNKNOWN),
        ("v.not_evaluated", State.UNKNOWN),
    ],
)
def test_a_finding_is_there_contradicted_or_not_known(answer, expected):
    assert state(stated({"arc.fat@LMS-T1": answer}), "hist.lms.retro", "no macroscopic fat") is expected


def test_a_finding_names_the_answer_it_rests_on_and_whether_that_is_proposed():
    confirmed = findings(stated({"arc.necrosis@LMS-T1": "v.absent"}), "dd.lymphoma")["no necrosis before therapy"]
    assert [(a.item, a.subject) for a in confirmed.rests_on] == [("arc.necrosis", "LMS-T1")]
    assert not confirmed.proposed
    proposed = findings(stated({}, proposed={"arc.necrosis@LMS-T1": "v.absent"}), "dd.lymphoma")
    assert proposed["no necrosis before therapy"].proposed


def test_part_of_a_finding_is_not_the_finding():
    fat = {"arc.fat@LMS-T1": "v.present"}
    share = "macroscopic fat in at least"
    assert state(stated(fat), "dd.wdlps", share) is State.UNKNOWN
    assert state(stated({**fat, "arc.fat_pct@LMS-T1": 74}), "dd.wdlps", share) is State.CONTRADICTED
    assert state(stated({**fat, "arc.fat_pct@LMS-T1": 75}), "dd.wdlps", share) is State.PRESENT
    # one contradicted part decides, whatever is not known of the other
    assert state(stated({"arc.fat@LMS-T1": "v.absent"}), "dd.wdlps", share) is State.CONTRADICTED


def test_the_limit_of_the_settings_counts():
    report = stated({"arc.fat@LMS-T1": "v.present", "arc.fat_pct@LMS-T1": 60})
    (row,) = (r for r in evidence(report, BASELINE, Clinical(fat_fraction_percent=50)) if r.key == "dd.wdlps")
    assert row.favours[0].state is State.PRESENT


ORGANS = rows("baseline", Scope.ORGAN)


def test_absence_from_a_list_needs_all_of_the_list():
    asked = [k for k in ORGANS if k not in {"org.bladder", "org.rectum", "org.uterus", "org.ovary", "org.prostate"}]
    everything = every("org.relation", asked, "or.separate")
    words = "no organ of origin"
    assert state(stated(everything), "dd.ups", words) is State.PRESENT
    one_open = {k: v for k, v in everything.items() if k != "org.relation@org.spleen"}
    assert state(stated(one_open), "dd.ups", words) is State.UNKNOWN
    unseen = {**everything, "org.relation@org.spleen": "v.not_evaluated"}
    assert state(stated(unseen), "dd.ups", words) is State.UNKNOWN
    of_one = {**one_open, "org.relation@org.liver": "or.origin"}
    assert state(stated(of_one), "dd.ups", words) is State.CONTRADICTED


def test_two_things_said_of_one_vessel_are_not_put_together_from_two():
    words = "encases a vessel without narrowing it"
    apart = {"ves.relation@ves.sma": "vr.encase", "ves.caliber@ves.sma": "cal.narrowed"}
    apart |= {"ves.relation@ves.ivc": "vr.none", "ves.caliber@ves.ivc": "cal.unchanged"}
    assert state(stated(apart), "dd.ganglioneuroma", words) is not State.PRESENT
    together = stated({**apart, "ves.caliber@ves.sma": "cal.unchanged"})
    assert state(together, "dd.ganglioneuroma", words) is State.PRESENT
    rests_on = findings(together, "dd.ganglioneuroma")[words].rests_on
    assert {a.subject for a in rests_on} == {"ves.sma"}


def test_two_things_said_of_one_lesion_are_not_put_together_from_two():
    words = "necrosis in a solid mass"
    one = {"arc.necrosis@LMS-T1": "v.present", "arc.composition@LMS-T1": "com.cystic"}
    other = {"arc.necrosis@LMS-T2": "v.absent", "arc.composition@LMS-T2": "com.solid"}
    assert state(stated({**one, **other}), "dd.schwannoma", words) is State.CONTRADICTED
    together = stated({**one, **other, "arc.composition@LMS-T1": "com.solid"})
    assert state(together, "dd.schwannoma", words) is State.PRESENT
    assert {a.subject for a in findings(together, "dd.schwannoma")[words].rests_on} == {"LMS-T1"}
    # most is asked of the index tumour alone: a lesion of which nothing is said leaves nothing open
    assert state(stated(one, lesions=2), "dd.schwannoma", words) is State.CONTRADICTED
    assert state(stated({}, lesions=2), "dd.schwannoma", words) is State.UNKNOWN
    none = stated({})
    assert state(dataclasses.replace(none, subjects=()), "dd.schwannoma", words) is State.UNKNOWN


def test_findings_of_several_answers_about_lesions_look_at_one_lesion_at_a_time():
    """Alternatives may be of any lesion, and so may an absence that is said of all; what has to go together is of one."""
    for candidate in load_candidates():
        for finding in (*candidate.favours, *candidate.against):
            if finding.of is not None or not isinstance(finding.when, All):
                continue
            together = {n for part in finding.when.parts for n in {t.name.item for t in every_test(part)}}
            lesion = [n for n in together if (item := BASELINE.item(n)) and item.scope is Scope.LESION]
            assert len(lesion) < 2, (candidate.key, finding.words)


@pytest.mark.parametrize(
    ("item", "absent", "candidate", "words"),
    [
        ("arc.fat", "v.absent", "hist.lms.retro", "no macroscopic fat"),
        ("arc.fat", "v.absent", "dd.wdlps", "no macroscopic fat"),
        ("arc.calcification", "v.absent", "hist.lms.retro", "no calcification"),
        ("arc.necrosis", "v.absent", "dd.lymphoma", "no necrosis before therapy"),
        ("arc.necrosis", "v.absent", "dd.desmoid", "no necrosis"),
    ],
)
def test_an_absence_is_said_of_all_lesions(item, absent, candidate, words):
    one = {f"{item}@LMS-T1": absent}
    assert state(stated({**one, f"{item}@LMS-T2": absent}), candidate, words) is State.PRESENT
    assert state(stated({**one, f"{item}@LMS-T2": "v.present"}), candidate, words) is State.CONTRADICTED
    assert state(stated({**one, f"{item}@LMS-T2": "v.undetermined"}), candidate, words) is State.UNKNOWN
    assert state(stated({**one, f"{item}@LMS-T2": "v.not_evaluated"}), candidate, words) is State.UNKNOWN


def test_growth_of_one_lesion_is_no_standstill():
    change = {"fu.change@LMS-T1": "v.no_change"}
    assert state(stated(change), "dd.schwannoma", "no growth") is State.PRESENT
    assert (
        state(stated({**change, "fu.change@LMS-T2": "v.increase"}), "dd.schwannoma", "no growth") is State.CONTRADICTED
    )


def test_lesions_on_both_sides_are_not_on_one_side():
    one = {"tid.laterality@LMS-T1": "v.right"}
    assert state(stated(one), "dd.ecd", "on one side") is State.PRESENT
    assert state(stated({**one, "tid.laterality@LMS-T2": "v.right"}), "dd.ecd", "on one side") is State.PRESENT
    assert state(stated({**one, "tid.laterality@LMS-T2": "v.left"}), "dd.ecd", "on one side") is State.CONTRADICTED
    assert state(stated({"tid.laterality@LMS-T1": "v.midline"}), "dd.ecd", "on one side") is State.CONTRADICTED


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("risk.nf1", State.PRESENT),
        ("risk.lfs", State.CONTRADICTED),
        ("v.none", State.CONTRADICTED),
        ("v.unknown", State.UNKNOWN),
        (("risk.nf1", "v.unknown"), State.PRESENT),
        (("risk.lfs", "v.unknown"), State.UNKNOWN),
        ("v.not_evaluated", State.UNKNOWN),
    ],
)
def test_unknown_is_not_known(answer, expected):
    assert state(stated({"ctx.risk": answer}), "dd.mpnst", "neurofibromatosis") is expected


VESSELS = rows("baseline", Scope.VESSEL)
APART = every("ves.relation", VESSELS, "vr.none")
NOT_NAMED = {"ves.origin": "v.none"}


@pytest.mark.parametrize(
    ("vessel", "vein", "named"),
    [
        ("ves.ivc", True, True),
        ("ves.renal_v/left", True, True),
        ("ves.ovarian_v/left", True, True),
        ("ves.common_iliac_v/right", True, True),
        ("ves.smv", True, False),  # a vein, but none of those that leiomyosarcoma of the retroperitoneum arises from
        ("ves.aorta_abd", False, False),
        ("ves.renal_a/left", False, False),
        ("ves.ext_iliac_a/left", False, False),
    ],
)
def test_an_artery_is_no_vein(vessel, vein, named):
    arises = stated({**APART, **NOT_NAMED, "veinif@LMS-T1": "veinif.fat_plane", f"ves.relation@{vessel}": "vr.origin"})
    assert (state(arises, "hist.lms.retro", "origin at a vein") is State.PRESENT) is named
    assert (state(arises, "dd.ddlps", "contiguous with a vein") is State.PRESENT) is vein
    assert (state(arises, "dd.sft", "contact with a vein") is State.PRESENT) is vein
    narrowed = stated({"iv.obstruction": "v.absent", f"ves.caliber@{vessel}": "cal.narrowed"})
    assert (state(narrowed, "dd.ganglioneuroma", "narrowed or occluded") is State.PRESENT) is vein


def test_no_origin_at_a_vein_needs_every_listed_vessel():
    words = "origin at a vein"
    assert state(stated({**APART, **NOT_NAMED}), "hist.lms.retro", words) is State.CONTRADICTED
    assert state(stated(NOT_NAMED), "hist.lms.retro", words) is State.UNKNOWN
    assert state(stated({"ves.origin": "ves.ivc"}), "hist.lms.retro", words) is State.PRESENT


@pytest.mark.parametrize("part", ["ves.aorta_abd", "ves.aorta_suprarenal", "ves.aorta_infrarenal"])
def test_each_part_of_the_aorta_is_the_aorta(part):
    encased = stated({**APART, f"ves.relation@{part}": "vr.circumf"})
    assert state(encased, "hist.lms.retro", "aorta not encased") is State.CONTRADICTED
    assert state(encased, "dd.ecd", "encases the aorta") is State.PRESENT
    assert state(encased, "dd.paraganglioma", "beside the aorta") is State.PRESENT
    # fibrosis lies around the distal aorta
    fibrosis = state(encased, "dd.rpf", "encases aorta or iliac artery")
    assert (fibrosis is State.PRESENT) is (part != "ves.aorta_suprarenal")


def test_a_part_that_no_row_lists_stands_only_when_something_is_said_about_it():
    assert state(stated(APART), "hist.lms.retro", "aorta not encased") is State.PRESENT
    assert state(stated(APART), "dd.ecd", "encases the aorta") is State.CONTRADICTED
    unsaid = {**APART, "ves.caliber@ves.aorta_infrarenal": "cal.unchanged"}
    assert state(stated(unsaid), "hist.lms.retro", "aorta not encased") is State.UNKNOWN


BOWEL = (
    "org.stomach", "org.duodenum", "org.small_bowel", "org.colon", "org.colon_asc", "org.colon_desc", "org.sigmoid", "org.rectum",
)  # fmt: skip
PELVIC = {"org.bladder", "org.rectum", "org.uterus", "org.ovary", "org.prostate"}
NOT_PELVIC = {"tum.compartment@LMS-T1": "comp.great_vessel", "tid.finding_site@LMS-T1": "site.retroperitoneum"}
SEPARATE = {**NOT_PELVIC, **every("org.relation", [k for k in ORGANS if k not in PELVIC], "or.separate")}


@pytest.mark.parametrize("part", BOWEL)
def test_each_part_of_stomach_and_bowel_may_be_the_origin_of_a_stromal_tumour(part):
    arises = stated({**SEPARATE, f"org.relation@{part}": "or.origin"})
    assert state(arises, "dd.gist", "stomach or bowel as organ of origin") is State.PRESENT
    assert state(arises, "dd.gist", "separate from duodenum and colon") is State.CONTRADICTED


def test_another_organ_is_no_bowel():
    arises = stated({**SEPARATE, "org.relation@org.liver": "or.origin"})
    assert state(arises, "dd.gist", "stomach or bowel as organ of origin") is State.CONTRADICTED
    assert state(arises, "dd.gist", "separate from duodenum and colon") is State.PRESENT
    # of a pelvic tumour the rectum is asked, too
    pelvic = {**SEPARATE, "tum.compartment@LMS-T1": "comp.presacral"}
    assert state(stated(pelvic), "dd.gist", "separate from duodenum and colon") is State.UNKNOWN


def test_an_organ_that_is_not_asked_about_is_ruled_out_by_what_rules_out_its_row():
    words = "adnexal origin"
    man = findings(stated({}, sex="M"), "dd.ovarian")[words]
    assert (man.state, man.facts, man.rests_on) == (State.CONTRADICTED, ("patient.sex",), ())
    assert state(stated({}, sex="F"), "dd.ovarian", words) is State.UNKNOWN
    elsewhere = findings(stated(NOT_PELVIC, sex="F"), "dd.ovarian")[words]
    assert elsewhere.state is State.CONTRADICTED
    assert {a.item for a in elsewhere.rests_on} == {"tum.compartment", "tid.finding_site"}
    said = {**NOT_PELVIC, "org.relation@org.ovary": "or.origin"}
    assert state(stated(said, sex="F"), "dd.ovarian", words) is State.PRESENT


@pytest.mark.parametrize("vessel", ["ves.ivc", "ves.renal_v/right", "ves.lumbar_v/left", "ves.common_iliac_v/left"])
def test_a_stromal_tumour_does_not_touch_retroperitoneal_veins(vessel):
    words = "contact with a retroperitoneal vein"
    assert state(stated({**APART, **NOT_NAMED, f"ves.relation@{vessel}": "vr.abut"}), "dd.gist", words) is State.PRESENT
    assert (
        state(stated({**APART, **NOT_NAMED, "ves.relation@ves.smv": "vr.abut"}), "dd.gist", words) is State.CONTRADICTED
    )


@pytest.mark.parametrize(
    ("suv", "expected"),
    [("2.9", False), ("3", True), ("6.3", True), ("8.9", True), ("9", False), ("12", False)],
)
def test_uptake_of_a_liposarcoma_is_about_half_of_that_of_a_leiomyosarcoma(suv, expected):
    report = stated({"pet.suvbw@LMS-T1": Decimal(suv)}, modalities=("CT", "PT"))
    assert (state(report, "dd.ddlps", "SUVmax about 6") is State.PRESENT) is expected
    high = state(report, "dd.ddlps", "SUVmax as high as")
    assert (high is State.PRESENT) is (suv == "12")


def test_a_mass_without_fat_may_be_a_dedifferentiated_liposarcoma():
    against = [
        f.words for f in findings(stated({"arc.fat@LMS-T1": "v.absent"}), "dd.ddlps").values() if "no fat" in f.words
    ]
    assert against == ["no fat anywhere in the retroperitoneum, the mass included"]
    assert state(stated({"arc.fat@LMS-T1": "v.absent"}), "dd.ddlps", "no fat anywhere") is State.NOT_RECORDED


@pytest.mark.parametrize(
    ("sex", "age", "expected"),
    [
        ("M", 39, State.PRESENT),
        ("M", 40, State.CONTRADICTED),
        ("F", 30, State.CONTRADICTED),
        ("M", None, State.UNKNOWN),
        ("F", None, State.CONTRADICTED),
        ("", None, State.UNKNOWN),
    ],
)
def test_age_and_sex_are_facts_of_the_study(sex, age, expected):
    found = findings(stated({}, sex=sex, age=age), "dd.gct")["man under 40"]
    assert found.state is expected
    assert bool(found.facts) is (expected is not State.UNKNOWN)


def test_what_no_item_records_is_left_to_the_reader():
    found = findings(stated({}), "dd.paraganglioma")["raised metanephrines"]
    assert found.state is State.NOT_RECORDED
    # the response template has no vessel matrix row for this: not recorded there, and no error
    for name in ("response", "surveillance"):
        assert len(evidence(stated({}, template=name), TEMPLATES[name])) == len(MIMICS) + 1


FAULTY = """candidates:
  - candidate: dd.wdlps
    mark: V
    cite: "source"
    for:
      - finding: "{finding}"
        {rest}
"""


@pytest.mark.parametrize(
    ("rest", "fault"),
    [
        ('when: "arc.fat = v.present"\n        ask: true', ":6:9: a finding has either 'when'"),
        ("feature: arc.fat", ":6:9: a finding has either 'when'"),
        ('when: "arc.fat is present"', ":7:9: 'when' is no condition"),
        ('when: "arc.fatt = v.present"', ":6:9: 'arc.fatt' is no item of template 'baseline'"),
        ('when: "arc.fat = gp.extra"', ":6:9: 'gp.extra' is no value of 'arc.fat'"),
        ('when: "ves.relation[ves.aorta] = vr.none"', ":6:9: 'ves.aorta' is no row of the matrix of 'ves.relation'"),
        ('when: "arc.fat_pct >= threshold.nothing"', ":6:9: 'nothing' is no setting of [clinical]"),
        ("ask: true\n        feature: gp.extra", ":6:9: 'gp.extra' is no value of 'dd.feature'"),
        ("ask: true\n        off: vessel", ":8:9: 'off' is not known here: did you mean 'of'?"),
    ],
)
def test_a_fault_is_found_at_its_place(tmp_path: Path, rest: str, fault: str):
    (tmp_path / FILE).write_text(FAULTY.format(finding="fat", rest=rest), encoding="utf-8")
    (found, *_) = lint_candidates(BASELINE, tmp_path)
    assert found.startswith(f"{FILE}{fault}")


def test_a_candidate_stands_once_needs_a_finding_and_is_one_of_the_form(tmp_path: Path):
    once = FAULTY.format(finding="fat", rest="ask: true")
    (tmp_path / FILE).write_text(once + once.removeprefix("candidates:\n"), encoding="utf-8")
    assert "stands twice" in read_candidates(tmp_path)[1][0]
    bare = 'candidates:\n  - candidate: dd.wdlps\n    mark: V\n    cite: "source"\n'
    (tmp_path / FILE).write_text(bare, encoding="utf-8")
    assert "needs a finding" in read_candidates(tmp_path)[1][0]
    with pytest.raises(TemplateError, match="needs a finding"):
        load_candidates(tmp_path)
    (tmp_path / FILE).write_text(once.replace("dd.wdlps", "dd.liposarcoma"), encoding="utf-8")
    assert lint_candidates(BASELINE, tmp_path) == (
        f"{FILE}:2:5: 'dd.liposarcoma' is no value of 'dd': add it there, or remove the candidate",
    )
    (tmp_path / FILE).unlink()
    assert "cannot be read" in read_candidates(tmp_path)[1][0]
