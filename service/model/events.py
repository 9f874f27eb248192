"""The life of a study, as it is recorded: states, events, and the sentence that each event makes in its story."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from zoneinfo import ZoneInfo


class StudyState(enum.StrEnum):
    """Where a study stands."""

    RECEIVED = "received"
    COMPLETE = "complete"
    IGNORED = "ignored"
    COMPOSED = "composed"
    SENT = "sent"
    COMMITTED = "committed"
    PARKED = "parked"


class StudyEvent(enum.StrEnum):
    """What can happen to a study; the value is what is stored."""

    INSTANCES_INDEXED = "instances_indexed"
    REOPENED = "reopened"
    CORRECTED = "corrected"
    COMPLETION_WAITS = "completion_waits"
    STARTED_BY_HAND = "started_by_hand"
    COMPLETED = "completed"
    TRIAGED = "triaged"
    PRIORS_FETCHED = "priors_fetched"
    PRIORS_FAILED = "priors_failed"
    PRIOR_LEFT_OUT = "prior_left_out"
    COMPOSED = "composed"
    TAKEN_IN = "taken_in"
    REVISED = "revised"
    FACTS_DIFFER = "facts_differ"
    REPORT_UNCHANGED = "report_unchanged"
    FLAGGED = "flagged"
    QUEUED = "queued"
    SENT = "sent"
    SEND_FAILED = "send_failed"
    SEND_UNKNOWN = "send_unknown"
    CLASS_CHANGED = "class_changed"
    NOT_TAKEN = "not_taken"
    SUPERSEDED = "superseded"
    RETRIED = "retried"
    PARKED = "parked"
    COMMITTED = "committed"


#: event → sentence; the names in braces are keys of the event's data
SENTENCES: Mapping[StudyEvent, str] = MappingProxyType(
    {
        StudyEvent.INSTANCES_INDEXED: "{count} instances arrived from {calling_ae} ({address}), called as {called_ae}",
        StudyEvent.REOPENED: "what came late re-opened the study, which had counted as complete",
        StudyEvent.CORRECTED: "{count} instances came again from {calling_ae} ({address}) with a corrected header, which counts now",
        StudyEvent.COMPLETION_WAITS: "not complete yet: {reason}",
        StudyEvent.STARTED_BY_HAND: "started by hand",
        StudyEvent.COMPLETED: "complete with {count} instances: {reason}",
        StudyEvent.TRIAGED: "triage: {outcome} by rule '{rule}': {reason}{values}",
        StudyEvent.PRIORS_FETCHED: "earlier examinations at {node}: {studies} with something to compare, {count} objects of them asked for"
        "{lacking}",
        StudyEvent.PRIORS_FAILED: "earlier examinations could not be asked for at {node} (attempt {attempt}): {reason}; {next}",
        StudyEvent.PRIOR_LEFT_OUT: "an earlier examination is not compared with: {reason}",
        StudyEvent.COMPOSED: "report version {version} composed from template {template}: {proposed} proposed, {open} open",
        StudyEvent.TAKEN_IN: "content of {count} structured reports of others taken in",
        StudyEvent.REVISED: "report version {version}: {action} by a person, now {state}: {confirmed} confirmed, {proposed} proposed, "
        "{open} open",
        StudyEvent.FACTS_DIFFER: "{count} fields in which facts say something else than report version {version}, which stands",
        StudyEvent.REPORT_UNCHANGED: "nothing in the report changed: version {version} stands, nothing was sent",
        StudyEvent.FLAGGED: "flagged for a person: {reason}",
        StudyEvent.QUEUED: "{kind} queued for {node} as {sop_class}",
        StudyEvent.SENT: "{kind} stored at {node} (attempt {attempt}, status {status}){comment}",
        StudyEvent.SEND_FAILED: "sending {kind} to {node} failed (attempt {attempt}): {reason}; next attempt in {delay} s",
        StudyEvent.SEND_UNKNOWN: "{node} did not say whether it stored the {kind} (attempt {attempt}): the same object is sent again "
        "in {delay} s",
        StudyEvent.CLASS_CHANGED: "{node} does not take {old_class}: {kind} made again as {new_class}",
        StudyEvent.NOT_TAKEN: "{node} takes no rejection notes: the last version says that the report was withdrawn",
        StudyEvent.SUPERSEDED: "{kind} version {version} was not sent any more: a newer version replaces it",
        StudyEvent.RETRIED: "{kind} put back into the queue by hand",
        StudyEvent.PARKED: "parked: {reason}",
        StudyEvent.COMMITTED: "{node} committed to keep the {kind}",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One recorded event. ``data`` holds ids, numbers and reasons; never a patient's name, birth date or free text."""

    at: dt.datetime
    event: StudyEvent
    data: Mapping[str, str] = field(default_factory=dict)


class _Blank(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return ""


#: what comes in bursts
_ARRIVALS = frozenset({StudyEvent.INSTANCES_INDEXED, StudyEvent.CORRECTED})


def tell(events: Sequence[Event], timezone: str = "UTC") -> tuple[str, ...]:
    """Return the story of a study, one line for each event, arrivals of one burst together, in the site's time."""
    zone = ZoneInfo(timezone)
    lines: list[str] = []
    position = 0
    while position < len(events):
        event = events[position]
        burst = [event]
        while event.event in _ARRIVALS and position + 1 < len(events) and _same_burst(event, events[position + 1]):
            position += 1
            burst.append(events[position])
        position += 1
        lines.append(f"{event.at.astimezone(zone):%Y-%m-%d %H:%M:%S}  {_sentence(burst)}")
    return tuple(lines)


def _same_burst(first: Event, following: Event) -> bool:
    keys = ("calling_ae", "called_ae", "address")
    return following.event is first.event and all(first.data.get(k) == following.data.get(k) for k in keys)


def _sentence(burst: list[Event]) -> str:
    first = burst[0]
    data = _Blank(first.data)
    if len(burst) > 1:
        data["count"] = str(sum(int(e.data.get("count", "0")) for e in burst))
    said = SENTENCES[first.event].format_map(data)
    if data["count"] == "1":
        said = said.replace("1 instances", "1 instance")
    seconds = (burst[-1].at - first.at).total_seconds()
    return f"{said}, within {seconds:.0f} s" if seconds >= 1 else said
