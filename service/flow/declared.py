"""What a person says for one comparison of a folder: which lesions are targets, which are one, whether one is new. Pure.

Nothing of it is kept, and no report is changed: the reports of the time points are copied, and the copies say what the person said.
Without a report of ours the sizes of the targets that a person named are taken as they were measured, the oldest of them as the baseline.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from service.errors import InputError
from service.flow.derivations.asked import Look
from service.flow.derivations.response import TARGET_KEYS, by_recist, in_role, target_category
from service.flow.derivations.timeline import is_baseline
from service.model.prior import PriorReport
from service.model.report import Answer, Provenance, Report, Scope, Status, Subject, Uid
from service.model.report import Value as AnswerValue
from sr_templates import load_codes
from sr_templates.order import canonical

_SAME_AS, _ROLE, _PHASE = "fu.same_as", "fu.baseline_cat", "tech.phase"
#: what is taken as it was measured of a target without a report
_TAKEN = frozenset({"sz.long_axis", "sz.short_axis", "ct.hu"})
#: how an answer that was said here says where it came from
BASIS = "said for this comparison"
#: the template of a study that is compared; a time point of it is no baseline by itself
RESPONSE = "response"
BASELINE = "baseline"


class Method(enum.StrEnum):
    """By what the response is evaluated."""

    RECIST = "recist"
    CHOI = "choi"
    MODIFIED_CHOI = "mchoi"


class NonTargets(enum.StrEnum):
    """What the lesions do that are no targets, taken together: a judgement, and a person's."""

    GONE = "gone"
    STABLE = "stable"
    PROGRESSING = "progressing"


METHOD_KEYS: Mapping[Method, str] = MappingProxyType(
    {Method.RECIST: "fu.recist11", Method.CHOI: "fu.choi", Method.MODIFIED_CHOI: "fu.mchoi"}
)
_NON_TARGET_KEYS: Mapping[NonTargets, str] = MappingProxyType(
    {NonTargets.GONE: "fu.n_cr", NonTargets.STABLE: "fu.n_irsd", NonTargets.PROGRESSING: "fu.n_pd"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a person says. A lesion is named by its tracking UID, or by its key in the newest study (``LMS-T1``)."""

    targets: tuple[str, ...] = ()
    #: pairs of names of one lesion under two tracking UIDs
    same: tuple[tuple[str, str], ...] = ()
    #: of the newest study
    new_lesion: bool | None = None
    #: of the newest study: a nodule in the tumour that is new, or grows (Choi)
    new_nodule: bool | None = None
    #: of the newest study
    non_targets: NonTargets | None = None
    method: Method | None = None
    #: the phases of contrast that the headers propose are right
    phases: bool = False


NOTHING = Declared()


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a person said, with every lesion by its tracking UIDs."""

    declared: Declared = NOTHING
    #: for each target the UIDs that it goes by
    targets: tuple[frozenset[str], ...] = ()
    #: UID → all UIDs of the same lesion, as the person said, and as reports confirm
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: the same, as the person said alone
    same: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def names(self, uid: str) -> frozenset[str]:
        """Return every UID that a lesion goes by."""
        return self.known.get(uid, frozenset({uid}))


def understand(declared: Declared, newest: Report | None, reports: Iterable[Report]) -> Said:
    """Return what a person said by tracking UIDs.

    Parameters
    ----------
    declared:
        As it was said.
    newest:
        The report of the newest study, whose keys name lesions; None: keys name nothing.
    reports:
        Those of all studies, whose tracking UIDs do.

    Raises
    ------
    InputError
        A lesion is not there; the message lists those that are.
    """
    lesions = tuple((r, s) for r in reports for s in r.subjects_of(Scope.LESION))
    known = {s.tracking_uid for _, s in lesions}

    def uid_of(name: str) -> str:
        here = newest.subject(name) if newest is not None else None
        if here is not None and here.scope is Scope.LESION:
            return here.tracking_uid
        if name in known:
            return name
        keys = ", ".join(s.key for s in (newest.subjects_of(Scope.LESION) if newest is not None else ())) or "none"
        msg = (
            f"there is no lesion '{name}': name one of the newest study by its key (it has {keys}), or one of any study by its "
            "tracking UID, as 'lms-sr measure' lists it"
        )
        raise InputError(msg)

    pairs = [{uid_of(a), uid_of(b)} for a, b in declared.same]
    confirmed = [{s.tracking_uid, *_confirmed(r, s)} for r, s in lesions]
    said = Said(declared=declared, known=_together([*pairs, *confirmed]), same=_together(pairs))
    targets = tuple(dict.fromkeys(said.names(uid_of(t)) for t in declared.targets))
    return replace(said, targets=targets)


def _together(pairs: Iterable[set[str]]) -> dict[str, frozenset[str]]:
    """Return UID → all UIDs that are linked with it."""
    groups: list[set[str]] = []
    for pair in pairs:
        touching = [g for g in groups if g & pair]
        groups = [g for g in groups if not g & pair]
        groups.append(pair.union(*touching))
    return {uid: frozenset(g) for g in groups if len(g) > 1 for uid in g}


def _confirmed(report: Report, lesion: Subject) -> set[str]:
    answers = report.answers_of(_SAME_AS, lesion.key)
    return {v.value for a in answers if a.status is Status.CONFIRMED for v in a.values if isinstance(v, Uid)}


# --- which lesion is which, and what the headers say ---------------------------------------------------------------------


def identified(report: Report, said: Said) -> Report:
    """Return a report in which the lesions go by the names that a person said, and the phases are right where a person said so."""
    answers = [
        replace(a, status=Status.CONFIRMED) if said.declared.phases and a.item == _PHASE and _proposed(a) else a
        for a in report.answers
    ]
    for lesion in report.subjects_of(Scope.LESION):
        others = sorted(said.same.get(lesion.tracking_uid, frozenset()) - {lesion.tracking_uid})
        if others:
            answers = [a for a in answers if (a.item, a.subject) != (_SAME_AS, lesion.key)]
            answers.append(_answer(_SAME_AS, lesion.key, *(Uid(o) for o in others)))
    return replace(report, answers=tuple(answers))


def identified_point(point: PriorReport, said: Said) -> PriorReport:
    """Return a time point whose report is `identified`."""
    return point if point.report is None else replace(point, report=identified(point.report, said))


# --- the response --------------------------------------------------------------------------------------------------------


def counted(points: tuple[PriorReport, ...], said: Said) -> tuple[PriorReport, ...]:
    """Return time points, the newest first, in which the targets that a person named count as they were measured.

    The oldest is the baseline, unless a report of ours is one. What a report of ours says stays as it is.
    """
    if not said.targets:
        return points
    base = any(p.reported and p.report is not None and is_baseline(p.report) for p in points)
    oldest = next((p for p in reversed(points) if p.report is not None), None)
    return tuple(_counted(p, said, baseline=not base and p is oldest) for p in points)


def _counted(point: PriorReport, said: Said, *, baseline: bool) -> PriorReport:
    report = point.report
    if report is None or point.reported:
        return point
    keys = {s.key for s in report.subjects_of(Scope.LESION) if any(s.tracking_uid in t for t in said.targets)}
    answers = tuple(
        replace(a, status=Status.CONFIRMED) if a.subject in keys and a.item in _TAKEN and _proposed(a) else a
        for a in report.answers
    )
    named = replace(report, template=BASELINE if baseline else RESPONSE, answers=answers)
    return replace(point, report=named, reported=True)


def answered(report: Report, said: Said, *, newest: bool, earlier: frozenset[str]) -> Report:
    """Return a report with the roles that a person gave the lesions, the method, and of the newest study what was said of it.

    Lesions that no target is and that an earlier study shows are non-targets (RECIST 1.1: all other disease).

    Parameters
    ----------
    report:
        That of a study that is compared.
    said, newest:
        What was said, and whether the study is the newest one.
    earlier:
        The tracking UIDs that earlier studies have.
    """
    declared, answers = said.declared, list(report.answers)

    def put(item: str, key: str, subject: str = "") -> None:
        answers[:] = [a for a in answers if (a.item, a.subject) != (item, subject)]
        answers.append(_answer(item, subject, load_codes()[key]))

    if said.targets:
        answers = [a for a in answers if a.item != _ROLE]
        for lesion in report.subjects_of(Scope.LESION):
            if any(lesion.tracking_uid in t for t in said.targets):
                put(_ROLE, "fu.target", lesion.key)
            elif not said.names(lesion.tracking_uid).isdisjoint(earlier):
                put(_ROLE, "fu.nontarget", lesion.key)
    if declared.method is not None:
        put("fu.method", METHOD_KEYS[declared.method])
    for item, word in (("fu.new_lesion", declared.new_lesion), ("fu.new_nodule", declared.new_nodule)):
        if newest and word is not None:
            put(item, "v.present" if word else "v.absent")
    return replace(report, answers=tuple(answers))


def judged(look: Look, said: Said) -> Report:
    """Return a report whose current response names that of the non-targets, which a person said, beside what follows for the targets."""
    report, word = look.report, said.declared.non_targets
    found = target_category(look)
    unknown = found is None and by_recist(look) and bool(in_role(look, "fu.target"))
    if word is None or (unknown and word is not NonTargets.PROGRESSING):
        # without the targets only progression is certain
        return report
    keys = [*([TARGET_KEYS[found[0]]] if found is not None else []), _NON_TARGET_KEYS[word]]
    kept = tuple(a for a in report.answers if a.item != "fu.current")
    stated = _answer("fu.current", "", *(load_codes()[k] for k in keys))
    return canonical(replace(report, answers=(*kept, stated)), look.template)


def _answer(item: str, subject: str, *values: AnswerValue) -> Answer:
    return Answer(
        item=item,
        subject=subject,
        values=values,
        status=Status.CONFIRMED,
        provenance=Provenance.RADIOLOGIST,
        basis=BASIS,
    )


def _proposed(answer: Answer) -> bool:
    return answer.status is Status.PROPOSED
