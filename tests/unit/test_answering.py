"""Answers as a person gives them: what is understood, what is refused and in which words, and what becomes of the report."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest

from service.errors import AnswerError
from service.flow.answering import apply
from service.flow.given import Given, What, named, parse_json, parse_text
from service.model.code import Code
from service.model.report import Answer, Date, Provenance, Quantity, Report, Scope, Status, Subject, Uid
from sr_templates import Template, load_codes
from sr_templates.questions import State, prompts
from tests import builders as b
from tests.small_template import small

WHO = "Roe^Jane"
CODES = load_codes()
MM, HU = CODES["u.mm"], CODES["u.hu"]
STUDY = b.study()
LINE = b.line((10, 10), (60, 10))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return small(tmp_path_factory.mktemp("small"))


def report(template: Template, *answers: Answer, lesion: bool = True, modalities: tuple[str, ...] = ("CT",)) -> Report:
    subjects = (
        (Subject(key="LMS-T1", scope=Scope.LESION, tracking_id="LMS-T1", tracking_uid="2.25.9"),) if lesion else ()
    )
    return Report(
        template=template.key,
        template_version=template.version,
        study_instance_uid=b.STUDY_UID,
        modalities=modalities,
        subjects=subjects,
        answers=answers,
    )


def proposed(item: str, *values: Code | Quantity | str, subject: str = "LMS-T1", **more: object) -> Answer:
    return Answer(
        item=item,
        subject=subject,
        values=values,
        status=Status.PROPOSED,
        provenance=Provenance.SEGMENTATION,
        **more,  # type: ignore[arg-type] - fields of Answer
    )


def mm(number: str) -> Quantity:
    return Quantity(number=Decimal(number), unit=MM)


def give(template: Template, before: Report, *texts: str, reason: str = "") -> Report:
    return apply(before, [parse_text(t, reason=reason) for t in texts], template=template, study=STUDY, who=WHO)


def refused(template: Template, *texts: str, before: Report | None = None, reason: str = "") -> str:
    with pytest.raises(AnswerError) as error:
        give(template, before or report(template), *texts, reason=reason)
    return str(error.value)


def only(found: Report, item: str, subject: str = "LMS-T1") -> Answer:
    (answer,) = found.answers_of(item, subject)
    return answer


# --- values that are understood ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gp=gp.mixed", "gp.mixed"),
        ("gp@LMS-T1=gp.mixed", "gp.mixed"),
        ("gp@lms-t1=GP.MIXED", "gp.mixed"),
        ("gp = gp.intra ", "gp.intra"),
        ("gp=v.undetermined", "v.undetermined"),
        ("gp=undetermined", "v.undetermined"),
        ("Growth pattern=gp.extra", "gp.extra"),
        ("tid.laterality=RIGHT", "v.right"),
        ("tid.finding=mass", "tum.mass"),
        ("tid.finding_site=ves.ivc", "ves.ivc"),
        # a site outside of the list, which may be extended
        ("tid.finding_site=org.liver", "org.liver"),
    ],
)
def test_a_code_is_named_by_key_or_by_meaning(template: Template, text: str, expected: str) -> None:
    found = give(template, report(template), text)
    item = {"Growth pattern": "gp"}.get(
        text.partition("=")[0].strip(), text.partition("=")[0].partition("@")[0].strip()
    )
    answer = only(found, item)
    assert answer.values == (CODES[expected],)
    assert (answer.status, answer.provenance, answer.observer) == (Status.CONFIRMED, Provenance.RADIOLOGIST, WHO)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sz.long_axis=118", "118.0"),
        ("sz.long_axis=118 mm", "118.0"),
        ("sz.long_axis=11.8 cm", "118.0"),
        ("sz.long_axis=11,8cm", "118.0"),
        ("sz.long_axis=0.118 m", "118.0"),
        ("sz.long_axis=118.04", "118.0"),
        ("sz.long_axis=118.05", "118.1"),
        ("sz.volume=0.5 l", "500.0"),
        ("sz.volume=512 mL", "512.0"),
        ("sz.volume=512.3 ccm", "512.3"),
        ("sz.volume=512300 mm3", "512.3"),
        ("ct.hu=-12", "-12"),
        ("ct.hu=42 HU", "42"),
        ("ct.hu=42 Hounsfield unit", "42"),
    ],
)
def test_a_number_is_converted_to_the_items_unit_and_digits(template: Template, text: str, expected: str) -> None:
    item = text.partition("=")[0]
    (value,) = only(give(template, report(template), text), item).values
    assert isinstance(value, Quantity)
    assert str(value.number) == expected
    asked = template.item(item)
    assert asked is not None
    assert value.unit == asked.unit


@pytest.mark.parametrize("text", ["2026-11-24", "20261124", "24.11.2026"])
def test_a_date_is_written_as_dicom_writes_it(template: Template, text: str) -> None:
    assert only(give(template, report(template), f"ctx.dx_date={text}"), "ctx.dx_date", "").values == (
        Date("20261124"),
    )


def test_several_values_stand_in_one_answer(template: Template) -> None:
    found = give(template, report(template), "mar=mar.smooth; lobulated;mar.smooth")
    assert only(found, "mar").values == (CODES["mar.smooth"], CODES["mar.lobulated"])


def test_a_text_keeps_its_semicolons_and_loses_its_blanks(template: Template) -> None:
    found = give(template, report(template), "hd.impression_el=  A mass;   of 118 mm = large ")
    assert only(found, "hd.impression_el", "").values == ("A mass; of 118 mm = large",)


@pytest.mark.parametrize(
    "text", ["gp=v.not_evaluated", "gp=Not Evaluated", "sz.long_axis=n/e", "ctx.dx_date=not evaluated"]
)
def test_every_item_takes_not_evaluated_with_a_reason(template: Template, text: str) -> None:
    item = text.partition("=")[0]
    found = give(template, report(template), text, reason="arterial phase only")
    (answer,) = (a for a in found.answers if a.item == item)
    assert answer.values == (CODES["v.not_evaluated"],)
    assert answer.reason == "arterial phase only"


# --- what is refused, in which words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gp", "'gp' is no answer: write item=value, or item@subject=value"),
        ("gp=", "is no answer"),
        ("=gp.mixed", "names no question"),
        ("gp@=gp.mixed", "names no question"),
        ("growth=gp.mixed", "there is no question 'growth'"),
        ("sz.longaxis=12", "did you mean sz.long_axis"),
        ("gp=gp.mixd", "did you mean gp.mixed ("),
        ("gp=purple", "'purple' is none of its values: it takes gp.extra ("),
        ("gp=gp.mixed;gp.intra", "Growth pattern (gp) takes one value, and 2 were given"),
        ("mar=;", "no value is given"),
        ("mar=mar.smooth;mar.blue", "'mar.blue' is none of its values"),
        ("tid.finding_site=site.nowhere", "'site.nowhere' is none of its values"),
        ("sz.long_axis=long", "'long' is no number"),
        ("sz.long_axis=12 kg", "unit 'kg' is not one it can be given in: mm, cm, m"),
        ("sz.long_axis=118 cm", "1180.0 mm lies outside of 1 to 500: is the unit right?"),
        ("sz.long_axis=0", "lies outside of 1 to 500"),
        ("sz.long_axis=nan", "'nan' is no number"),
        ("sz.long_axis=1e9", "lies outside"),
        ("ct.hu=-2000", "lies outside of -200 to 400"),
        ("ctx.dx_date=yesterday", "'yesterday' is no date: write 2026-11-24"),
        ("ctx.dx_date=2026-02-30", "is no date"),
        ("hd.indications=" + "x" * 41, "the text has 41 characters, and 40 are the most"),
        ("hd.impression_el=a\x07b", "characters that cannot be printed"),
        ("gp@LMS-T3=gp.mixed", "there is no lesion 'LMS-T3': the report has LMS-T1, a new one is LMS-T2"),
        ("gp@ves.ivc=gp.mixed", "there is no lesion 'ves.ivc'"),
        ("ctx.dx_status@LMS-T1=ctx.dx_status.biopsy", "is asked of the report as a whole: leave out '@LMS-T1'"),
        ("ves.relation=vr.none", "is asked about each vessel: write ves.relation@NAME, where NAME is one of ves.ivc"),
        ("cert=cert.possibly", "write cert@NAME, where NAME is one of dd.ddlps, dd.wdlps"),
        ("ves.relation@ves.icv=vr.none", "did you mean ves.ivc"),
        ("ves.relation@ves.renal_v/up=vr.none", "'up' is no side"),
        ("ves.caliber@ves.renal_v/left=cal.narrowed", "is asked about ves.ivc, not about ves.renal_v/left"),
        ("mr.restricted=v.present", "is asked of MR; this study is CT"),
        ("tid.tracking_uid=1.2.3", "is recorded by the software and not answered"),
        ("tid.person_observer_name=Roe^Jane", "is filled in when the report is signed"),
        ("ves.involved@ves.ivc=ves.ivc", "names what a row is about"),
        ("gp=v.not_evaluated", "give a reason (--reason"),
        ("sz.short_axis#node@LMS-LN1=12", "LMS-LN1: say at which station it lies: tid.finding_site#node@LMS-LN1=…"),
        ("sz.short_axis#node@LMS-LN4=12", "a new one is LMS-LN1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_radiologists_words(template: Template, text: str, said: str) -> None:
    assert said in refused(template, text)


def test_a_meaning_that_several_values_share_has_to_be_named_by_key(template: Template) -> None:
    assert "name one by its key" in refused(template, "gp=vascular")


def test_every_problem_is_told_at_once_and_nothing_is_taken(template: Template) -> None:
    said = refused(template, "gp=gp.mixed", "mar=mar.blue", "sz.long_axis=0", "foo=1").splitlines()
    assert [line.partition(":")[0] for line in said[:2]] == ["Margin (mar)", "Longest axial diameter (sz.long_axis)"]
    assert len(said) == 3


def test_a_derived_item_is_not_answered(template: Template) -> None:
    item = template.item("gp")
    assert item is not None
    derived = replace(item, fill=type(item.fill).DERIVED)
    section = next(s for s in template.sections if s.key == "tumour")
    changed = replace(section, items=tuple(derived if i.key == "gp" else i for i in section.items))
    other = replace(template, sections=tuple(changed if s.key == "tumour" else s for s in template.sections))
    assert "follows from other answers: change those" in refused(other, "gp=gp.mixed", before=report(template))


# --- confirming, changing, taking back -----------------------------------------------------------------------------------


def test_a_confirmed_proposal_keeps_where_it_came_from_and_its_line(template: Template) -> None:
    before = report(template, proposed("sz.long_axis", mm("118.2"), basis="in-plane", evidence=(LINE,)))
    found = apply(before, [Given(item="sz.long_axis", what=What.CONFIRM)], template=template, study=STUDY, who=WHO)
    expected = replace(before.answers[0], status=Status.CONFIRMED, observer=WHO)
    assert found.answers == (expected,)


def test_a_sentence_that_is_confirmed_proposes_nothing_any_more(template: Template) -> None:
    said = "Mass, 118 mm (proposed). cT3 (AJCC, 8th edition) (proposed)."
    before = report(template, proposed("hd.indications", said, subject=""))
    found = apply(before, [Given(item="hd.indications", what=What.CONFIRM)], template=template, study=STUDY, who=WHO)
    (answer,) = found.answers_of("hd.indications")
    assert answer.values == ("Mass, 118 mm. cT3 (AJCC, 8th edition).",)


def test_the_same_value_stated_is_a_confirmation(template: Template) -> None:
    before = report(template, proposed("sz.long_axis", mm("118.2"), evidence=(LINE,)))
    answer = only(give(template, before, "sz.long_axis=11.82 cm"), "sz.long_axis")
    assert (answer.provenance, answer.status, answer.evidence) == (Provenance.SEGMENTATION, Status.CONFIRMED, (LINE,))


def test_a_changed_number_is_the_persons_and_loses_its_line(template: Template) -> None:
    before = report(template, proposed("sz.long_axis", mm("118.2"), basis="in-plane", evidence=(LINE,)))
    answer = only(give(template, before, "sz.long_axis=121"), "sz.long_axis")
    assert (answer.provenance, answer.evidence, answer.basis) == (Provenance.RADIOLOGIST, (), "")
    assert answer.values == (mm("121.0"),)


def test_a_changed_number_stands_under_its_statistic_and_the_others_are_gone(template: Template) -> None:
    mean, spread = CODES["deriv.mean"], CODES["deriv.sd"]
    before = report(
        template,
        proposed("ct.hu", Quantity(number=Decimal(40), unit=HU), derivation=mean),
        proposed("ct.hu", Quantity(number=Decimal(8), unit=HU), derivation=spread),
    )
    assert only(give(template, before, "ct.hu=44"), "ct.hu").derivation == mean


def test_all_statistics_of_a_number_are_confirmed_together(template: Template) -> None:
    before = report(
        template,
        proposed("ct.hu", Quantity(number=Decimal(40), unit=HU), derivation=CODES["deriv.mean"]),
        proposed("ct.hu", Quantity(number=Decimal(8), unit=HU), derivation=CODES["deriv.sd"]),
    )
    found = apply(before, [Given(item="ct.hu", what=What.CONFIRM)], template=template, study=STUDY, who=WHO)
    assert [a.status for a in found.answers_of("ct.hu", "LMS-T1")] == [Status.CONFIRMED] * 2


def test_there_is_nothing_to_confirm_without_a_proposal(template: Template) -> None:
    with pytest.raises(AnswerError, match="has no proposal to confirm: give a value"):
        apply(report(template), [Given(item="gp", what=What.CONFIRM)], template=template, study=STUDY, who=WHO)


@pytest.mark.parametrize("what", [What.CONFIRM, What.CLEAR])
def test_there_is_no_confirming_or_clearing_of_everything(template: Template, what: What) -> None:
    with pytest.raises(AnswerError, match="name each"):
        apply(report(template), [Given(item="gp", subject="*", what=what)], template=template, study=STUDY, who=WHO)


def test_an_answer_is_taken_back(template: Template) -> None:
    before = give(template, report(template), "gp=gp.mixed")
    found = apply(before, [Given(item="gp", what=What.CLEAR)], template=template, study=STUDY, who=WHO)
    assert found == report(template)
    with pytest.raises(AnswerError, match="no answer to take back"):
        apply(found, [Given(item="gp", what=What.CLEAR)], template=template, study=STUDY, who=WHO)


def test_a_later_answer_stands(template: Template) -> None:
    found = give(template, report(template), "gp=gp.mixed", "gp=gp.intra")
    assert only(found, "gp").values == (CODES["gp.intra"],)


def test_a_reason_is_kept_and_not_endless(template: Template) -> None:
    assert only(give(template, report(template), "gp=gp.mixed", reason=" seen  on MR "), "gp").reason == "seen on MR"
    assert "500 are the most" in refused(template, "gp=gp.mixed", reason="x" * 501)


def test_a_reason_is_added_to_what_is_confirmed(template: Template) -> None:
    before = give(template, report(template), "sz.long_axis=118")
    given = [Given(item="sz.long_axis", what=What.CONFIRM, reason=" arterial   phase ")]
    found = apply(before, given, template=template, study=STUDY, who="Poe^Ann")
    answer = only(found, "sz.long_axis")
    assert (answer.values, answer.reason, answer.observer) == ((mm("118.0"),), "arterial phase", "Poe^Ann")
    again = [Given(item="sz.long_axis", what=What.CONFIRM)]
    assert apply(found, again, template=template, study=STUDY, who=WHO) == found


def test_what_somebody_verified_elsewhere_becomes_a_statement_of_who_gives_a_reason(template: Template) -> None:
    taken = Answer(
        item="sz.long_axis",
        subject="LMS-T1",
        values=(mm("118.0"),),
        status=Status.CONFIRMED,
        provenance=Provenance.RADIOLOGIST,
        observer="Poe^Ann",
        basis="measured in a viewer",
    )
    given = [Given(item="sz.long_axis", what=What.CONFIRM, reason="measured again")]
    answer = only(apply(report(template, taken), given, template=template, study=STUDY, who=WHO), "sz.long_axis")
    assert (answer.observer, answer.basis) == (WHO, "")


@pytest.mark.parametrize("text", ["tid.finding_site#node@*=ln.aortic", "dd@*=dd.ddlps"])
def test_a_row_that_is_to_be_named_has_a_name(template: Template, text: str) -> None:
    assert "'*' names none" in refused(template, text)


# --- subjects ------------------------------------------------------------------------------------------------------------


def test_the_first_lesion_is_made_with_its_identity(template: Template) -> None:
    found = give(template, report(template, lesion=False), "gp=gp.mixed")
    (lesion,) = found.subjects_of(Scope.LESION)
    assert (lesion.key, lesion.tracking_id) == ("LMS-T1", "LMS-T1")
    assert only(found, "tid.tracking_uid").values == (Uid(lesion.tracking_uid),)
    assert only(found, "tid.tracking_id").status is Status.AUTOMATIC


def test_a_second_lesion_has_to_be_named_and_then_each(template: Template) -> None:
    found = give(template, report(template), "gp@LMS-T2=gp.intra")
    assert [s.key for s in found.subjects] == ["LMS-T1", "LMS-T2"]
    assert "write gp@NAME, where NAME is one of LMS-T1, LMS-T2, LMS-T3" in refused(
        template, "gp=gp.mixed", before=found
    )


def test_a_vessel_is_made_with_the_same_tracking_uid_in_every_study_of_the_patient(template: Template) -> None:
    first = give(template, report(template), "ves.relation@ves.renal_v/right=vr.abut")
    other = replace(STUDY, study_instance_uid="1.2.3")
    second = apply(
        report(template),
        [parse_text("ves.relation@ves.renal_v/right=vr.none")],
        template=template,
        study=other,
        who=WHO,
    )
    one, two = (f.subject("ves.renal_v/right") for f in (first, second))
    assert one is not None
    assert one == two
    assert (one.structure, one.side, one.tracking_id) == (CODES["ves.renal_v"], CODES["v.right"], "right renal vein")
    stranger = replace(STUDY, patient=replace(STUDY.patient, patient_id="P-2"))
    third = apply(
        report(template), [parse_text("ves.relation@ves.ivc=vr.none")], template=template, study=stranger, who=WHO
    )
    mine = give(template, report(template), "ves.relation@ves.ivc=vr.none").subject("ves.ivc")
    theirs = third.subject("ves.ivc")
    assert mine is not None
    assert theirs is not None
    assert mine.tracking_uid != theirs.tracking_uid


@pytest.mark.parametrize("name", ["ves.ivc", "VES.IVC", "Inferior vena cava", "inferior Vena  Cava"])
def test_a_row_is_named_by_key_or_by_what_it_is_called(template: Template, name: str) -> None:
    row = next(r for m in template.matrices for r in m.rows if r.key == "ves.ivc")
    name = name if "." in name else row.label.upper()
    assert only(give(template, report(template), f"ves.relation@{name}=vr.none"), "ves.relation", "ves.ivc")


def test_a_vessel_beside_the_rows_stands_when_something_is_said_about_it(template: Template) -> None:
    found = give(template, report(template), "ves.relation@ves.smv=vr.encase")
    assert found.subject("ves.smv") is not None
    gone = apply(
        found, [Given(item="ves.relation", subject="ves.smv", what=What.CLEAR)], template=template, study=STUDY, who=WHO
    )
    assert gone.subject("ves.smv") is None


def test_the_rest_is_every_row_that_has_no_answer_yet(template: Template) -> None:
    found = give(template, report(template), "ves.relation@ves.ivc=vr.abut", "ves.relation@*=vr.none")
    said = {s.key: only(found, "ves.relation", s.key).values for s in found.subjects_of(Scope.VESSEL)}
    none = (CODES["vr.none"],)
    # the hepatic veins are asked about only where the tumour grows within the vein
    assert said == {"ves.ivc": (CODES["vr.abut"],), "ves.renal_v/right": none, "ves.renal_v/left": none}
    assert {only(found, "ves.relation", k).observer for k in said} == {WHO}
    prompt = next(p for p in prompts(found, template) if p.label == "Vessel relations")
    assert prompt.state is State.CONFIRMED


def test_the_rest_follows_the_conditions_of_its_rows(template: Template) -> None:
    found = give(template, report(template), "gp=gp.intra", "ves.relation@*=vr.none")
    assert found.subject("ves.hepatic_v") is not None


def test_the_rest_twice_changes_nothing(template: Template) -> None:
    found = give(template, report(template), "ves.relation@*=vr.none")
    assert give(template, found, "ves.relation@*=vr.abut") == found


def test_a_node_has_a_station_and_a_number(template: Template) -> None:
    found = give(
        template,
        report(template),
        "ln.lymphadenopathy=v.present",
        "tid.finding_site#node@LMS-LN1=ln.aortic",
        "sz.short_axis#node@LMS-LN1=14",
    )
    node = found.subject("LMS-LN1")
    assert node is not None
    assert node.structure == CODES["ln.aortic"]
    assert only(found, "sz.short_axis#node", "LMS-LN1").values == (mm("14.0"),)


def test_a_candidate_is_named_by_its_diagnosis(template: Template) -> None:
    found = give(template, report(template), "cert@dd.ddlps=cert.possibly")
    candidate = found.subject("dd.ddlps")
    assert candidate is not None
    assert (candidate.tracking_id, candidate.tracking_uid) == (CODES["dd.ddlps"].meaning, "")


def test_a_row_is_taken_out_with_everything_that_is_said_about_it(template: Template) -> None:
    found = give(template, report(template), "cert@dd.ddlps=cert.possibly", "cert@dd.lymphoma=cert.probably")
    less = apply(
        found, [Given(item="dd", subject="dd.ddlps", what=What.CLEAR)], template=template, study=STUDY, who=WHO
    )
    assert [s.key for s in less.subjects_of(Scope.CANDIDATE)] == ["dd.lymphoma"]
    assert not less.answers_of("cert", "dd.ddlps")


def test_the_order_in_which_answers_are_given_does_not_show(template: Template) -> None:
    texts = [
        "gp=gp.mixed",
        "ves.relation@ves.renal_v/left=vr.none",
        "ves.relation@ves.ivc=vr.abut",
        "hd.impression_el=A mass.",
    ]
    assert give(template, report(template), *texts) == give(template, report(template), *reversed(texts))


# --- files ---------------------------------------------------------------------------------------------------------------


def test_a_file_of_answers_is_read() -> None:
    text = json.dumps(
        [
            {"item": "gp", "subject": "LMS-T1", "value": "gp.mixed"},
            {"item": "sz.long_axis", "value": 118},
            {"item": "mar", "values": ["mar.smooth", "mar.lobulated"]},
            {"item": "ct.hu", "confirm": True},
            {"item": "gp@LMS-T2", "not_evaluated": "not covered"},
            {"item": "gp", "not_evaluated": True, "reason": "not covered"},
            {"item": "tid.laterality", "clear": True},
        ]
    )
    found = parse_json(text)
    assert [g.what for g in found] == [What.VALUES] * 3 + [
        What.CONFIRM,
        What.NOT_EVALUATED,
        What.NOT_EVALUATED,
        What.CLEAR,
    ]
    assert found[1].values == ("118",)
    assert (found[4].subject, found[4].reason) == ("LMS-T2", "not covered")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON (line 1)"),
        ("{}", "a list of answers"),
        ("[1]", "answer 1: an object with 'item' is expected"),
        ('[{"item": "gp"}]', "answer 1: one of value, values, confirm, not_evaluated and clear is expected"),
        ('[{"item": "gp", "value": "a", "confirm": true}]', "one of value"),
        ('[{"item": "gp", "valeu": "a"}]', "'valeu' is not known"),
        ('[{"item": "gp", "value": true}]', "a text or a number"),
        ('[{"item": "gp", "values": []}]', "a list that is not empty"),
        ('[{"item": "gp", "confirm": "yes"}]', "'confirm' is true or left out"),
        ('[{"item": "gp", "value": "a", "reason": 3}]', "are texts"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_file_that_is_none_is_refused_with_the_place(text: str, said: str) -> None:
    with pytest.raises(AnswerError) as error:
        parse_json(text)
    assert said in str(error.value)


def test_item_and_subject_are_told_apart() -> None:
    assert named("ves.relation@ves.renal_v/left") == ("ves.relation", "ves.renal_v/left")
    assert named("tid.finding_site#node@LMS-LN1") == ("tid.finding_site#node", "LMS-LN1")
