"""The table of mimics: complete, sound against the template, and honest about what is not known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from service.errors import TemplateError
from service.flow.differential import AGAINST, FAVOURS, EvidenceRow, Finding, State, evidence, evidence_for
from service.model.report import Scope
from service.settings import Clinical
from sr_templates import load_codes
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
