"""The life of a report: which step may follow which, as one table.

::

    draft ──answer, take in──▶ in progress ──sign──▶ signed ──amend──▶ amended
      │                            │                   │                  │
      └────────── sign ────────────┼──────────────▶    ├── addend ──▶ addendum
                                   │                   │
                                   └──── withdraw ─────┴──▶ withdrawn

Signed, amended and addendum are three names for a report that a person answers for: each may be amended, be given an addendum or be
withdrawn, and none changes by itself. Nothing follows a withdrawn report but a new draft that a person asks for.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from service.errors import NotAllowed


class State(enum.StrEnum):
    """Where a report stands."""

    #: made by the software; nobody has worked on it
    DRAFT = "draft"
    #: a person has answered, confirmed or measured something
    IN_PROGRESS = "in_progress"
    SIGNED = "signed"
    #: signed again with other answers, for a stated reason
    AMENDED = "amended"
    #: signed again with a text added and every answer as it was
    ADDENDUM = "addendum"
    #: not to be used any more
    WITHDRAWN = "withdrawn"

    @property
    def is_signed(self) -> bool:
        """Say whether a person answers for what the report says."""
        return self in _SIGNED


_SIGNED = frozenset({State.SIGNED, State.AMENDED, State.ADDENDUM})


class Action(enum.StrEnum):
    """What can be done to a report."""

    ANSWER = "answer"
    SIGN = "sign"
    AMEND = "amend"
    ADDEND = "addendum"
    WITHDRAW = "withdraw"
    #: new images or segmentations: the software makes the draft anew
    RECOMPOSE = "recompose"
    #: somebody's SR came back: an edit of ours, or measurements of a viewer
    TAKE_IN = "take_in"


class Need(enum.StrEnum):
    """What a step asks for."""

    #: a named person: the service itself never takes this step
    PERSON = "a named person"
    REASON = "a reason"
    #: every prompt is answered and confirmed
    COMPLETE = "every prompt confirmed"
    #: no rule is broken that may not be signed over
    CONSISTENT = "no broken rule"
    #: something says something else than before
    CHANGE = "a change"
    #: a person asks for it; it does not happen by itself
    BY_HAND = "a person who asks for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where an action leads, and what it asks for."""

    to: State
    needs: frozenset[Need] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One step as it was taken."""

    action: Action
    #: None: the report did not exist
    before: State | None
    after: State
    at: dt.datetime
    #: PN of the person; empty: the software
    who: str = ""
    why: str = ""


_SIGNING = frozenset({Need.PERSON, Need.COMPLETE, Need.CONSISTENT})
_ANSWERING = frozenset({Need.PERSON, Need.CHANGE})
_WITHDRAWING = Step(to=State.WITHDRAWN, needs=frozenset({Need.PERSON, Need.REASON}))
_AMENDING = Step(to=State.AMENDED, needs=_SIGNING | {Need.REASON, Need.CHANGE})
_ADDING = Step(to=State.ADDENDUM, needs=_SIGNING | {Need.REASON})

#: every step there is; what is not here is refused
TABLE: Mapping[tuple[State, Action], Step] = MappingProxyType(
    {
        (State.DRAFT, Action.ANSWER): Step(to=State.IN_PROGRESS, needs=_ANSWERING),
        (State.DRAFT, Action.SIGN): Step(to=State.SIGNED, needs=_SIGNING),
        (State.DRAFT, Action.WITHDRAW): _WITHDRAWING,
        (State.DRAFT, Action.RECOMPOSE): Step(to=State.DRAFT),
        (State.DRAFT, Action.TAKE_IN): Step(to=State.IN_PROGRESS),
        (State.IN_PROGRESS, Action.ANSWER): Step(to=State.IN_PROGRESS, needs=_ANSWERING),
        (State.IN_PROGRESS, Action.SIGN): Step(to=State.SIGNED, needs=_SIGNING),
        (State.IN_PROGRESS, Action.WITHDRAW): _WITHDRAWING,
        (State.IN_PROGRESS, Action.RECOMPOSE): Step(to=State.IN_PROGRESS),
        (State.IN_PROGRESS, Action.TAKE_IN): Step(to=State.IN_PROGRESS),
        **{
            (state, action): step
            for state in (State.SIGNED, State.AMENDED, State.ADDENDUM)
            for action, step in (
                (Action.AMEND, _AMENDING),
                (Action.ADDEND, _ADDING),
                (Action.WITHDRAW, _WITHDRAWING),
            )
        },
        (State.WITHDRAWN, Action.RECOMPOSE): Step(to=State.DRAFT, needs=frozenset({Need.BY_HAND})),
    }
)

_COMMANDS: Mapping[Action, str] = MappingProxyType(
    {
        Action.ANSWER: "'lms-sr report answer'",
        Action.SIGN: "'lms-sr report sign'",
        Action.AMEND: "'lms-sr report amend'",
        Action.ADDEND: "'lms-sr report addendum'",
        Action.WITHDRAW: "'lms-sr report withdraw'",
        Action.RECOMPOSE: "'lms-sr start', for a new draft",
    }
)
#: why a step is refused, where the state alone does not say it
_WHY: Mapping[tuple[State, Action], str] = MappingProxyType(
    {
        (State.DRAFT, Action.AMEND): "it is not signed yet, so it can still be answered",
        (State.IN_PROGRESS, Action.AMEND): "it is not signed yet, so it can still be answered",
        (State.DRAFT, Action.ADDEND): "only a signed report is given an addendum",
        (State.IN_PROGRESS, Action.ADDEND): "only a signed report is given an addendum",
        **{
            (state, action): why
            for state in (State.SIGNED, State.AMENDED, State.ADDENDUM)
            for action, why in (
                (Action.ANSWER, "a signed report is changed by an amendment, with a reason"),
                (Action.SIGN, "it is signed already"),
                (Action.RECOMPOSE, "a signed report does not change by itself"),
                (Action.TAKE_IN, "a signed report does not change by itself"),
            )
        },
    }
)


def allowed(state: State) -> tuple[Action, ...]:
    """Return what may be done to a report in ``state``."""
    return tuple(a for a in Action if (state, a) in TABLE)


def step(state: State, action: Action, *, by_hand: bool = False) -> Step:
    """Return the step that ``action`` is in ``state``. What the step needs, but `Need.BY_HAND`, is for the caller to see to.

    Raises
    ------
    NotAllowed
        The action does not follow; the message says what does, and the way out.
    """
    found = TABLE.get((state, action))
    if found is None or (Need.BY_HAND in found.needs and not by_hand):
        raise NotAllowed(_refusal(state, action))
    return found


def must_name(found: Step, *, person: str, reason: str) -> None:
    """See that a person is named, and a reason given, where a step asks for them.

    Raises
    ------
    NotAllowed
        One is missing: the message says which, and how to give it.
    """
    if Need.PERSON in found.needs and not person.strip():
        msg = "who does this has to be named: --as 'Family^Given', or [signing] person in the settings"
        raise NotAllowed(msg)
    if Need.REASON in found.needs and not reason.strip():
        msg = "a reason is needed, since a reader of the earlier version has to know why it changed: --reason '…'"
        raise NotAllowed(msg)


def _refusal(state: State, action: Action) -> str:
    why = _WHY.get((state, action))
    commands = [_COMMANDS[a] for a in allowed(state) if a in _COMMANDS and (state, a) in TABLE]
    if not state.is_signed:
        # the software makes drafts anew by itself, a person need not be told of it
        commands = [c for c in commands if c != _COMMANDS[Action.RECOMPOSE] or state is State.WITHDRAWN]
    now, asked = (name.value.replace("_", " ") for name in (state, action))
    said = f"the report is {now}{f': {why}' if why else ''}"
    return f"{said}; '{asked}' is not possible now, but {' or '.join(commands)}"
