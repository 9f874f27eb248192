"""The life of a report: every step there is, and that every other one is refused with the way out."""

from __future__ import annotations

import itertools

import pytest

from service.errors import NotAllowed
from service.flow.lifecycle import TABLE, Action, Need, State, allowed, must_name, step

A, S = Action, State
SIGNED = (S.SIGNED, S.AMENDED, S.ADDENDUM)
#: written out once more, by hand: the table has to say the same
EXPECTED = {
    (S.DRAFT, A.ANSWER): S.IN_PROGRESS,
    (S.DRAFT, A.SIGN): S.SIGNED,
    (S.DRAFT, A.WITHDRAW): S.WITHDRAWN,
    (S.DRAFT, A.RECOMPOSE): S.DRAFT,
    (S.DRAFT, A.TAKE_IN): S.IN_PROGRESS,
    (S.IN_PROGRESS, A.ANSWER): S.IN_PROGRESS,
    (S.IN_PROGRESS, A.SIGN): S.SIGNED,
    (S.IN_PROGRESS, A.WITHDRAW): S.WITHDRAWN,
    (S.IN_PROGRESS, A.RECOMPOSE): S.IN_PROGRESS,
    (S.IN_PROGRESS, A.TAKE_IN): S.IN_PROGRESS,
    (S.SIGNED, A.AMEND): S.AMENDED,
    (S.SIGNED, A.ADDEND): S.ADDENDUM,
    (S.SIGNED, A.WITHDRAW): S.WITHDRAWN,
    (S.AMENDED, A.AMEND): S.AMENDED,
    (S.AMENDED, A.ADDEND): S.ADDENDUM,
    (S.AMENDED, A.WITHDRAW): S.WITHDRAWN,
    (S.ADDENDUM, A.AMEND): S.AMENDED,
    (S.ADDENDUM, A.ADDEND): S.ADDENDUM,
    (S.ADDENDUM, A.WITHDRAW): S.WITHDRAWN,
    (S.WITHDRAWN, A.RECOMPOSE): S.DRAFT,
}
ALL = list(itertools.product(State, Action))
FORBIDDEN = [pair for pair in ALL if pair not in EXPECTED]


@pytest.mark.parametrize(("state", "action"), EXPECTED)
def test_a_step_leads_where_it_should(state: State, action: Action) -> None:
    assert step(state, action, by_hand=True).to is EXPECTED[state, action]


@pytest.mark.parametrize(("state", "action"), FORBIDDEN)
def test_every_other_step_is_refused_and_says_what_is_possible(state: State, action: Action) -> None:
    with pytest.raises(NotAllowed) as refused:
        step(state, action, by_hand=True)
    said = str(refused.value)
    assert f"the report is {state.value.replace('_', ' ')}" in said
    assert "'lms-sr" in said.partition("is not possible now, but ")[2]


def test_there_is_no_step_beside_these() -> None:
    assert set(TABLE) == set(EXPECTED)
    assert len(FORBIDDEN) == len(ALL) - len(EXPECTED) == 22


@pytest.mark.parametrize("state", State)
def test_what_is_allowed_is_what_the_table_has(state: State) -> None:
    assert allowed(state) == tuple(a for a in Action if (state, a) in EXPECTED)


@pytest.mark.parametrize(("state", "action"), [p for p in EXPECTED if EXPECTED[p] in SIGNED])
def test_no_signature_without_a_person_and_a_complete_report_without_contradictions(
    state: State, action: Action
) -> None:
    assert step(state, action).needs >= {Need.PERSON, Need.COMPLETE, Need.CONSISTENT}


@pytest.mark.parametrize(("state", "action"), [p for p in EXPECTED if p[1] in {A.RECOMPOSE, A.TAKE_IN}])
def test_what_the_software_does_by_itself_never_signs(state: State, action: Action) -> None:
    assert not step(state, action, by_hand=True).to.is_signed


@pytest.mark.parametrize("state", SIGNED)
@pytest.mark.parametrize("action", [A.ANSWER, A.SIGN, A.RECOMPOSE, A.TAKE_IN])
def test_a_signed_report_is_left_alone(state: State, action: Action) -> None:
    with pytest.raises(NotAllowed, match="'lms-sr report amend'"):
        step(state, action, by_hand=True)


def test_a_withdrawn_report_is_made_anew_only_by_hand() -> None:
    with pytest.raises(NotAllowed, match="'lms-sr start', for a new draft"):
        step(S.WITHDRAWN, A.RECOMPOSE)
    assert step(S.WITHDRAWN, A.RECOMPOSE, by_hand=True).to is S.DRAFT


@pytest.mark.parametrize(("state", "action"), [p for p in EXPECTED if p[1] in {A.AMEND, A.ADDEND, A.WITHDRAW}])
def test_what_changes_or_ends_a_report_needs_a_reason(state: State, action: Action) -> None:
    with pytest.raises(NotAllowed, match="--reason"):
        must_name(step(state, action), person="Roe^Jane", reason=" ")
    with pytest.raises(NotAllowed, match="--as 'Family\\^Given'"):
        must_name(step(state, action), person=" ", reason="wrong patient")
    must_name(step(state, action), person="Roe^Jane", reason="wrong patient")
