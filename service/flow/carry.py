"""What a person has said stays when the facts change: a draft made anew takes over every confirmed answer, and tells where facts differ.

Pure. Lesions and series are the same where their tracking UIDs are, whatever the order in which they were found this time; several with
one tracking UID by the segment that they were measured on, else in their order; structures where their keys are.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from service.model.code import Code
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status, Subject, Value
from service.sr import words
from sr_templates import Template
from sr_templates.order import canonical

#: what the keys of things that are counted begin with
NUMBERED: Mapping[Scope, str] = MappingProxyType({Scope.LESION: "LMS-T", Scope.NODE: "LMS-LN"})


class Came(enum.StrEnum):
    """How an answer came out of a structured report: its ``basis``."""

    EDITED = "changed in an edited report"
    MEASURED = "measured in a viewer"
    STATED = "stated in a viewer"


_CAME = frozenset(c.value for c in Came)


class Rank(enum.IntEnum):
    """Whose word an answer is: one of a higher rank stands, of two with the same rank the later."""

    #: a machine's, or nobody has verified it
    PROPOSED = 0
    #: of a person who verified another document
    VERIFIED = 1
    #: of a person in our report
    CONFIRMED = 2


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


def rank(answers: Iterable[Answer]) -> Rank:
    """Return whose word answers to one question are; nobody's where there are none."""
    return max((_rank(a) for a in answers), default=Rank.PROPOSED)


def _rank(answer: Answer) -> Rank:
    if answer.status is not Status.CONFIRMED:
        return Rank.PROPOSED
    # a proposal that is confirmed in our report keeps its provenance, and what is stated there rests on nothing
    taken = answer.provenance is Provenance.RADIOLOGIST and answer.basis in _CAME
    return Rank.VERIFIED if taken else Rank.CONFIRMED


def carry(fresh: Report, before: Report, template: Template, told: Iterable[Difference] = ()) -> Carried:
    """Return ``fresh`` with every confirmed answer of ``before``; `derive` has to follow.

    What a person verified in another document gives way to what was verified later in another one; what was confirmed in our report does
    not. Nodes at a station and candidates of the differential stay too, with or without an answer: that they were named is a person's word.

    Parameters
    ----------
    fresh:
        What the facts of today say by themselves.
    before:
        The version that stands.
    template:
        The template of ``fresh``. An answer to a question that it does not have any more is told as a difference.
    told:
        Where facts differ from ``fresh``: returned with the others, about the subjects as they are called now, held against what stands.
    """
    confirmed = [a for a in before.answers if a.status is Status.CONFIRMED]
    pairs = _pair(fresh, before, {a.subject for a in confirmed})
    ours = [replace(a, subject=pairs.renamed.get(a.subject, a.subject)) for a in fresh.answers]
    moved = [replace(a, subject=pairs.mapped[a.subject]) for a in confirmed if a.subject in pairs.mapped]
    found = _by_place(ours)
    said_before = {
        place: answers
        for place, answers in _by_place(a for a in moved if template.item(a.item) is not None).items()
        if rank(answers) is Rank.CONFIRMED or rank(found.get(place, ())) < Rank.VERIFIED
    }
    # what identifies a lesion that only a person knows
    identity = [
        replace(a, subject=pairs.mapped[a.subject])
        for a in before.answers
        if a.status is Status.AUTOMATIC and a.subject in pairs.added and _is_identity(a)
    ]
    standing = [a for a in ours if (a.item, a.subject) not in said_before]
    asked = [a for answers in said_before.values() for a in answers]
    report = replace(fresh, subjects=pairs.subjects, answers=(*standing, *identity, *asked))
    differences = [
        *_restated(told, pairs.renamed, said_before),
        *_differences(found, said_before),
        *_not_asked(moved, template),
        *_lost(confirmed, pairs.mapped),
    ]
    return Carried(report=canonical(report, template), differences=tuple(dict.fromkeys(differences)))


def still(differences: Iterable[Difference], report: Report) -> tuple[Difference, ...]:
    """Return the differences whose field still says in ``report`` what it said when they were found."""
    return tuple(d for d in differences if _parts(said(report.answers_of(d.item, d.subject))) == _parts(d.stands))


def _parts(words_of: str) -> list[str]:
    """Return what is said of one field in no particular order."""
    return sorted(words_of.split("; "))


def _by_place(answers: Iterable[Answer]) -> dict[tuple[str, str], list[Answer]]:
    found: dict[tuple[str, str], list[Answer]] = {}
    for answer in answers:
        found.setdefault((answer.item, answer.subject), []).append(answer)
    return found


def _is_identity(answer: Answer) -> bool:
    return answer.item in {"tid.tracking_id", "tid.tracking_uid"}


# --- which subject is which ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """The subjects of a draft made anew, and what each was called before and in the facts."""

    subjects: tuple[Subject, ...]
    #: key before → key now
    mapped: Mapping[str, str]
    #: key in the facts → key now
    renamed: Mapping[str, str]
    #: keys of what the facts do not know
    added: frozenset[str]


def _pair(fresh: Report, before: Report, kept: set[str]) -> _Pairs:
    """Pair the subjects: a lesion that stood before keeps its key, so that it keeps its name."""
    same = _same(fresh.subjects, before.subjects)
    mapped: dict[str, str] = {"": ""}
    renamed: dict[str, str] = {}
    added: list[Subject] = []
    for subject in before.subjects:
        if (now := same.get(subject.key)) is not None:
            mapped[subject.key] = subject.key if subject.scope is not Scope.SERIES else now.key
            renamed[now.key] = mapped[subject.key]
        elif subject.scope is not Scope.SERIES and (subject.key in kept or _says_something(subject)):
            mapped[subject.key] = subject.key
            added.append(subject)
    used = {*renamed.values(), *(s.key for s in added)}
    found: list[Subject] = []
    for subject in fresh.subjects:
        key = renamed.get(subject.key) or _free(subject, used)
        used.add(key)
        renamed[subject.key] = key
        found.append(replace(subject, key=key))
    # what a person spoke of stands before what was found since: the first lesion is the one that the report is about
    order = {s.key: n for n, s in enumerate(before.subjects)}
    together = sorted([*found, *added], key=lambda s: order.get(s.key, len(order)))
    return _Pairs(
        subjects=tuple(together), mapped=mapped, renamed=renamed, added=frozenset(mapped[s.key] for s in added)
    )


def _says_something(subject: Subject) -> bool:
    """Say whether a subject is an answer by itself: a node at its station, a diagnosis that is considered."""
    return subject.scope is Scope.CANDIDATE or (subject.scope is Scope.NODE and subject.structure is not None)


def _same(fresh: Iterable[Subject], before: tuple[Subject, ...]) -> Mapping[str, Subject]:
    """Return key before → the subject of today, each once: the surest likeness first, then in their order."""
    left = list(fresh)
    found: dict[str, Subject] = {}
    for alike in (same_segment, same_uid, _same_structure):
        for subject in before:
            if subject.key in found:
                continue
            match = next((s for s in left if s.scope is subject.scope and alike(subject, s)), None)
            if match is not None:
                found[subject.key] = match
                left.remove(match)
    return found


def same_uid(one: Subject, other: Subject) -> bool:
    """Say whether two subjects have one tracking UID."""
    return bool(one.tracking_uid) and one.tracking_uid == other.tracking_uid


def same_segment(one: Subject, other: Subject) -> bool:
    """Say whether two subjects have one tracking UID and were measured on one segment or ROI: two masks may share the UID."""
    if one.segment is None or other.segment is None or not same_uid(one, other):
        return False
    return one.segment.mark == other.segment.mark


def _same_structure(one: Subject, other: Subject) -> bool:
    return one.scope not in {Scope.LESION, Scope.SERIES, Scope.NODE} and one.key == other.key


def _free(subject: Subject, used: set[str]) -> str:
    if subject.key not in used:
        return subject.key
    if prefix := NUMBERED.get(subject.scope):
        return next(k for n in range(1, len(used) + 2) if (k := f"{prefix}{n}") not in used)
    return next(k for n in range(2, len(used) + 3) if (k := f"{subject.key} ({n})") not in used)


# --- where facts differ --------------------------------------------------------------------------------------------------

_Places = Mapping[tuple[str, str], list[Answer]]


def _restated(told: Iterable[Difference], renamed: Mapping[str, str], standing: _Places) -> Iterable[Difference]:
    """Yield what was told of the facts alone, held against what stands."""
    for one in told:
        subject = renamed.get(one.subject, one.subject)
        stands = said(standing[one.item, subject]) if (one.item, subject) in standing else one.stands
        if _parts(stands) != _parts(one.found):
            yield replace(one, subject=subject, stands=stands)


def _differences(found: _Places, standing: _Places) -> Iterable[Difference]:
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
