"""What has to hold of everything that is derived, whatever the answers."""

from __future__ import annotations

import math
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from service.flow.choi import Change, Signs, choi_response
from service.flow.derivations.earlier import doubling_days, specific_growth_rate
from service.flow.derivations.staging import stage_group, t_category
from service.flow.derive import DERIVATIONS, derive
from service.flow.differential import State, evidence
from service.flow.recist import Response, overall_response, target_response
from service.flow.rules import broken_rules
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status
from sr_templates import Item, ItemType, load_codes
from sr_templates.language.values import Fill
from sr_templates.order import canonical
from tests.stated import TEMPLATES, stated, subject

CODES = load_codes()
#: from best to worst
ORDER = [Response.CR, Response.PR, Response.SD, Response.PD]
lengths = st.integers(1, 5000).map(lambda n: Decimal(n) / 10)


@given(lengths, lengths)
def test_a_larger_tumour_has_no_lower_t_category(one, other):
    small, large = sorted((one, other))
    assert t_category(small) <= t_category(large)


GROUPS = ["st.g_ia", "st.g_ib", "st.g_ii", "st.g_iiia", "st.g_iiib", "st.g_iv"]


@given(
    st.sampled_from(["st.t1", "st.t2", "st.t3", "st.t4"]),
    st.sampled_from(["st.n0", "st.n1"]),
    st.sampled_from(["st.m0", "st.m1"]),
    st.sampled_from(["gr.g1", "gr.g2", "gr.g3"]),
    st.data(),
)
def test_more_of_anything_is_no_lower_stage(t, n, m, grade, data):
    here = GROUPS.index(stage_group(t, n, m, grade))
    higher_grade = data.draw(st.sampled_from([g for g in ("gr.g1", "gr.g2", "gr.g3") if g >= grade]))
    assert GROUPS.index(stage_group(t, n, m, higher_grade)) >= here
    assert GROUPS.index(stage_group(t, "st.n1", m, grade)) >= here
    assert GROUPS.index(stage_group(t, n, "st.m1", grade)) >= here
    # the printed table itself puts a small tumour of high grade (II) above a large one of low grade (IB), but within a grade size counts
    larger = data.draw(st.sampled_from([x for x in ("st.t1", "st.t2", "st.t3", "st.t4") if x >= t]))
    assert GROUPS.index(stage_group(larger, n, m, grade)) >= here


@given(lengths, lengths, lengths, lengths)
def test_a_larger_sum_is_no_better_response(one, other, baseline, nadir):
    small, large = sorted((one, other))
    better, worse = (target_response(s, baseline, nadir, all_gone=False) for s in (small, large))
    assert ORDER.index(better) <= ORDER.index(worse)
    assert ORDER.index(target_response(small, baseline, nadir, all_gone=True)) <= ORDER.index(better)


@given(lengths, lengths, lengths)
def test_a_response_does_not_depend_on_the_unit(now, baseline, nadir):
    # but for the 5 mm, which are mm: ten times the size passes them sooner, never later
    here = target_response(now, baseline, nadir, all_gone=False)
    scaled = target_response(10 * now, 10 * baseline, 10 * nadir, all_gone=False)
    assert scaled is here or scaled is Response.PD


responses = st.sampled_from([Response.CR, Response.PR, Response.SD, Response.PD, Response.NE])
others = st.sampled_from([None, Response.CR, Response.NOT_CR_NOT_PD, Response.NE, Response.PD])


@given(responses, others)
def test_a_new_lesion_or_progression_is_progression_and_doubt_is_no_response(target, non_target):
    assert overall_response(target, non_target, new_lesion=True) is Response.PD
    without = overall_response(target, non_target, new_lesion=False)
    assert (without is Response.PD) is (Response.PD in {target, non_target})
    assert overall_response(target, non_target, new_lesion=None) in {Response.PD, Response.NE}


@given(lengths, lengths, st.integers(1, 200), st.integers(1, 200), st.booleans())
def test_smaller_or_darker_is_no_worse_by_choi(one, other, hounsfield, more, modified):
    small, large = sorted((one, other))
    dark, bright = sorted((hounsfield, more))
    signs = Signs(new_lesion=False, new_nodule=False, non_target_progression=False)

    def at(size, density):
        found = choi_response(
            Change(before=Decimal(100), now=size),
            Change(before=Decimal(100), now=Decimal(density)),
            signs,
            modified=modified,
        )
        return ORDER.index(found)

    assert at(small, dark) <= at(large, dark)
    assert at(large, dark) <= at(large, bright)


@given(lengths, lengths, st.integers(14, 3000).map(Decimal))
def test_doubling_time_and_growth_rate_say_the_same(before, now, days):
    rate, doubling = specific_growth_rate(before, now, days), doubling_days(before, now, days)
    assert (doubling is not None) == (now > before)
    assert (rate > 0) == (now > before)
    if doubling is not None:
        assert math.isclose(float(doubling * rate), 100 * math.log(2), rel_tol=1e-9)


KEYS = {
    Scope.REPORT: ("",),
    Scope.SERIES: ("Series 1",),
    Scope.LESION: ("LMS-T1", "LMS-T2"),
    Scope.VESSEL: ("ves.ivc", "ves.renal_v/left", "ves.aorta_abd"),
    Scope.ORGAN: ("org.kidney/right", "org.colon"),
    Scope.METASTASIS: ("mets.liver", "mets.lung"),
    Scope.NODE: ("LMS-LN1",),
    Scope.CANDIDATE: ("dd.ddlps", "dd.lymphoma"),
}


@st.composite
def answers(draw: st.DrawFn, item: Item, key: str) -> Answer:
    """Return an answer to a coded item or a number."""
    if item.type is ItemType.NUMBER:
        assert item.unit is not None
        low, high = int(item.low or 0), int(item.high or 1000)
        values = [Quantity(number=Decimal(draw(st.integers(low, high))), unit=item.unit)]
    else:
        several = 2 if item.type is ItemType.CODES else 1
        pool = [*item.values, CODES["v.not_evaluated"]]
        values = draw(st.lists(st.sampled_from(pool), min_size=1, max_size=several, unique=True))
    status = draw(st.sampled_from(Status))
    origin = st.sampled_from([Provenance.SEGMENTATION, Provenance.RULE, Provenance.RADIOLOGIST])
    return Answer(item=item.key, subject=key, values=tuple(values), status=status, provenance=draw(origin))


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Return a report with a part of its questions answered at random."""
    name = draw(st.sampled_from(sorted(TEMPLATES)))
    template = TEMPLATES[name]
    coded = {ItemType.CODE, ItemType.CODES, ItemType.NUMBER}
    askable = [i for i in template if i.type in coded and i.fill is not Fill.ROW and (i.values or i.unit)]
    chosen = draw(st.lists(st.sampled_from(askable), max_size=60, unique_by=lambda i: i.key))
    made = [draw(answers(i, k)) for i in chosen for k in KEYS[i.scope] if draw(st.booleans())]
    used = {a.subject for a in made if a.subject}
    empty = stated({}, template=name, modalities=draw(st.sampled_from([("CT",), ("MR",), ("CT", "PT")])))
    return canonical(
        Report(
            template=name,
            template_version=template.version,
            study_instance_uid="1.2.3",
            modalities=empty.modalities,
            patient_sex=draw(st.sampled_from(["", "M", "F"])),
            patient_age=draw(st.one_of(st.none(), st.integers(0, 100))),
            subjects=(*empty.subjects, *(subject(template, k) for k in sorted(used - {"LMS-T1"}))),
            answers=tuple(made),
        ),
        template,
    )


@given(reports())
@settings(max_examples=60)
def test_deriving_is_idempotent_ordered_and_takes_nobodys_word(report):
    template = TEMPLATES[report.template]
    found = derive(report, template)
    assert derive(found, template) == found
    assert canonical(found, template) == found
    derived = {i.key for i in template if i.derive in DERIVATIONS}
    kept = [
        a
        for a in report.answers
        if a.item not in derived or a.provenance is not Provenance.RULE or a.status is Status.CONFIRMED
    ]
    assert [a for a in found.answers if a in kept] == kept
    for answer in found.answers:
        if answer in kept:
            continue
        item = template.item(answer.item)
        assert item is not None
        assert item.key in derived
        assert answer.provenance is Provenance.RULE
        allowed = {Status.PROPOSED, Status.AUTOMATIC} if item.fill is Fill.DERIVED else {Status.PROPOSED}
        assert answer.status in allowed
        assert answer.basis
        assert not answer.says(CODES["v.not_evaluated"])
        if item.key == "hd.impression_el":
            assert len(str(answer.values[0])) <= 1024


@given(reports())
@settings(max_examples=60)
def test_rules_and_evidence_speak_of_every_report(report):
    template = TEMPLATES[report.template]
    found = derive(report, template)
    for one in broken_rules(found, template):
        assert one.message.endswith((".", "?"))
        assert (
            not one.subject
            or found.subject(one.subject)
            or any(r.key == one.subject for m in template.matrices for r in m.rows)
        )
    for row in evidence(found, template):
        for finding in (*row.favours, *row.against):
            told = finding.state in {State.PRESENT, State.CONTRADICTED}
            assert bool(finding.rests_on or finding.facts) is told
