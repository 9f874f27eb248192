"""What a person has said stays when the facts change: a draft made anew takes over every confirmed answer, and tells where facts differ.

Pure. Lesions and series are the same where their tracking UIDs are, whatever the order in which they were found this time; structures
where their keys are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from service.model.code import Code
from service.model.report import Answer, Quantity, Report, Scope, Status, Subject, Value
from service.sr import words
from sr_templates import Template
from sr_templates.order import canonical

_LESION = "LMS-T"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field in which a fact says something else than the report, which stays as it is."""

    item: str
    subject: str = ""
    #: what the report says, in words
    stands: str
    #: what the fact says, in words; empty: nothing any more
    found: str
    #: where the fact comes from, in words: "from the segmentation", "measured in a viewer (…)"
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A draft made anew, with what was confirmed before."""

    report: Report
    differences: tuple[Difference, ...] = ()


def carry(fresh: Report, before: Report, template: Template) -> Carried:
    """Return ``fresh`` with every confirmed answer of ``before``; `derive` has to follow.

    Parameters
    ----------
    fresh:
        What the facts of today say by themselves.
    before:
        The version that stands.
    template:
        The template of ``fresh``. An answer to a question that it does not have any more is told as a difference.
    """
    confirmed = [a for a in before.answers if a.status is Status.CONFIRMED]
    kept = {a.subject for a in confirmed}
    mapped, subjects = _subjects(fresh, before, kept)
    moved = [replace(a, subject=mapped[a.subject]) for a in confirmed if a.subject in mapped]
    asked = [a for a in moved if template.item(a.item) is not None]
    places = {(a.item, a.subject) for a in asked}
    renamed = _fresh_names(fresh, subjects)
    ours = [replace(a, subject=renamed.get(a.subject, a.subject)) for a in fresh.answers]
    standing = [a for a in ours if (a.item, a.subject) not in places]
    new = {s.key for s in subjects} - {renamed.get(s.key, s.key) for s in fresh.subjects}
    # what identifies a lesion that only a person knows
    identity = [
        replace(a, subject=mapped[a.subject])
        for a in before.answers
        if a.status is Status.AUTOMATIC and mapped.get(a.subject) in new and _is_identity(a)
    ]
    report = replace(fresh, subjects=tuple(subjects), answers=(*standing, *identity, *asked))
    differences = [*_differences(ours, asked), *_not_asked(moved, template), *_lost(confirmed, mapped)]
    return Carried(report=canonical(report, template), differences=tuple(dict.fromkeys(differences)))


def _is_identity(answer: Answer) -> bool:
    return answer.item in {"tid.tracking_id", "tid.tracking_uid"}


def _subjects(fresh: Report, before: Report, kept: set[str]) -> tuple[Mapping[str, str], list[Subject]]:
    """Return key before → key now, and the subjects: a lesion that a person spoke of keeps its key, so that it keeps its name."""
    by_uid: dict[tuple[Scope, str], Subject] = {
        (s.scope, s.tracking_uid): s for s in fresh.subjects if s.tracking_uid and s.scope is not Scope.CANDIDATE
    }
    by_key = {s.key: s for s in fresh.subjects}
    mapped: dict[str, str] = {"": ""}
    taken: dict[int, str] = {}
    added: list[Subject] = []
    for subject in before.subjects:
        same = by_uid.get((subject.scope, subject.tracking_uid))
        if same is None and subject.scope not in {Scope.LESION, Scope.SERIES, Scope.NODE}:
            same = by_key.get(subject.key)
        if same is not None:
            mapped[subject.key] = subject.key if subject.scope is not Scope.SERIES else same.key
            taken[id(same)] = mapped[subject.key]
        elif subject.key in kept and subject.scope is not Scope.SERIES:
            mapped[subject.key] = subject.key
            added.append(subject)
    used = {*taken.values(), *(s.key for s in added)}
    found: list[Subject] = []
    for subject in fresh.subjects:
        key = taken.get(id(subject)) or _free(subject, used)
        used.add(key)
        found.append(replace(subject, key=key))
    # what a person spoke of stands before what was found since: the first lesion is the one that the report is about
    order = {s.key: n for n, s in enumerate(before.subjects)}
    together = sorted([*found, *added], key=lambda s: order.get(s.key, len(order)))
    return mapped, together


def _free(subject: Subject, used: set[str]) -> str:
    if subject.key not in used:
        return subject.key
    if subject.scope is Scope.LESION:
        return next(k for n in range(1, len(used) + 2) if (k := f"{_LESION}{n}") not in used)
    return next(k for n in range(2, len(used) + 3) if (k := f"{subject.key} ({n})") not in used)


def _fresh_names(fresh: Report, subjects: Iterable[Subject]) -> Mapping[str, str]:
    """Return key in ``fresh`` → key now."""
    now = {(s.scope, s.tracking_uid, s.structure): s.key for s in subjects}
    return {s.key: now[s.scope, s.tracking_uid, s.structure] for s in fresh.subjects}


def _differences(fresh: Iterable[Answer], kept: Iterable[Answer]) -> Iterable[Difference]:
    found: dict[tuple[str, str], list[Answer]] = {}
    for answer in fresh:
        found.setdefault((answer.item, answer.subject), []).append(answer)
    standing: dict[tuple[str, str], list[Answer]] = {}
    for answer in kept:
        standing.setdefault((answer.item, answer.subject), []).append(answer)
    for place, answers in standing.items():
        others = found.get(place, [])
        if others and not agree(answers, others):
            yield difference(answers, others)


def agree(some: Iterable[Answer], others: Iterable[Answer]) -> bool:
    """Say whether two sets of answers to one question say the same; a statistic that one of them does not give is no difference."""
    one, other = (_by_statistic(a) for a in (some, others))
    both = one.keys() & other.keys()
    return bool(both) and all(one[k] == other[k] for k in both)


def _by_statistic(answers: Iterable[Answer]) -> dict[str, frozenset[object]]:
    return {a.derivation.value if a.derivation else "": frozenset(_plain(v) for v in a.values) for a in answers}


def _plain(value: Value) -> object:
    match value:
        case Code():
            return value.value, value.scheme
        case Quantity():
            return value.number, value.unit.value, value.qualifier.value if value.qualifier else ""
        case _:
            return value


def difference(stands: Iterable[Answer], found: Iterable[Answer], source: str = "") -> Difference:
    """Return how answers that stand differ from what was found."""
    standing, others = tuple(stands), tuple(found)
    return Difference(
        item=standing[0].item,
        subject=standing[0].subject,
        stands=said(standing),
        found=said(others),
        source=source or " and ".join(dict.fromkeys(words.WHENCE[a.provenance] for a in others)),
    )


def said(answers: Iterable[Answer]) -> str:
    """Return answers in words: "Mean 42 HU; Standard Deviation 8 HU"."""
    return "; ".join(
        f"{f'{a.derivation.meaning} ' if a.derivation else ''}{words.value(v)}" for a in answers for v in a.values
    )


def _not_asked(moved: Iterable[Answer], template: Template) -> Iterable[Difference]:
    for answer in moved:
        if template.item(answer.item) is None:
            yield Difference(
                item=answer.item,
                subject=answer.subject,
                stands="",
                found=said((answer,)),
                source="answered in an earlier version; the template does not ask it any more",
            )


def _lost(confirmed: Iterable[Answer], mapped: Mapping[str, str]) -> Iterable[Difference]:
    for answer in confirmed:
        if answer.subject not in mapped:
            yield Difference(
                item=answer.item,
                subject=answer.subject,
                stands="",
                found=said((answer,)),
                source="answered in an earlier version; what it was about is not in the study any more",
            )
