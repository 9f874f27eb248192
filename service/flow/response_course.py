"""The response at a study of a folder, and where none follows, why not, in words. Pure: the criteria are in `recist` and `choi`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from service.flow import timepoint
from service.flow.declared import BASELINE, Said, answered, counted, judged
from service.flow.derivations.asked import Look
from service.flow.derivations.earlier import incomparable
from service.flow.derivations.response import (
    CHOI_METHODS,
    NON_TARGET_KEYS,
    RESPONSE_KEYS,
    TARGET_KEYS,
    baseline_targets,
    in_role,
    measured_targets,
    nadir,
    size_of,
)
from service.flow.derivations.timeline import baseline_point, day, is_baseline
from service.flow.derive import derive
from service.flow.rules import broken_rules
from service.model.comparison import ResponseOverTime
from service.model.prior import PriorReport
from service.model.report import Report, Scope, Status
from service.settings import Clinical
from sr_templates import Template, load_codes

_TARGET, _NON_TARGET = "fu.target", "fu.nontarget"
_METHODS = {"fu.choi": "Choi", "fu.mchoi": "modified Choi"}
_RECIST = "RECIST 1.1"
#: rules about a choice of targets
_TARGET_RULES = frozenset({"R1-targets"})
_NO_TARGET = "no lesion was chosen as target: name them with --target"


def response_over_time(
    report: Report,
    points: tuple[PriorReport, ...],
    template: Template,
    said: Said,
    clinical: Clinical,
    *,
    newest: bool,
) -> ResponseOverTime:
    """Return the response at a study.

    The overall response is never given before somebody has said whether there is a new lesion (`recist.overall_response`).

    Parameters
    ----------
    report:
        That of the study, in which lesions go by what was said of them.
    points:
        The earlier time points, the newest first.
    template:
        That of ``report``.
    said, newest:
        What a person said, and whether the study is the newest one, of which it was said.
    clinical:
        Thresholds.
    """
    if template.item("fu.baseline_cat") is None or template.key == BASELINE:
        why = f"the report of this study is by the template '{template.key}', which asks for no response"
        return ResponseOverTime(method=_RECIST, not_given=(why,))
    named = answered(report, said, newest=newest, earlier=_shown(points))
    missing = _missing(named, points, said)
    prior = timepoint.chain(counted(points, said))
    if missing:
        named = replace(named, answers=tuple(a for a in named.answers if a.item != "fu.baseline_cat"))
    found = derive(named, template, clinical, prior=prior)
    look = Look(report=found, template=template, subject="", clinical=clinical, prior=prior)
    if newest and not missing:
        found = derive(judged(look, said), template, clinical, prior=prior)
        look = replace(look, report=found)
    response = _response(look, missing, said, newest=newest)
    unseen = _unseen(look, points, said)
    return _without_them(response, unseen, newest=newest) if unseen else response


def _shown(points: tuple[PriorReport, ...]) -> frozenset[str]:
    """Return the tracking UIDs of the lesions that time points show."""
    return frozenset(
        s.tracking_uid for p in points if p.report is not None for s in p.report.subjects_of(Scope.LESION)
    ) - {""}


def _missing(report: Report, points: tuple[PriorReport, ...], said: Said) -> tuple[str, ...]:
    """Return in words the targets that this study has no measurement of: a sum without one of them is no sum."""
    here = {s.tracking_uid for s in report.subjects_of(Scope.LESION)}
    wanted = said.targets or tuple(said.names(uid) for uid in _reported_targets(points))
    return tuple(
        f"target {_name(uids, points)} has no measurement in this examination: whether it is gone, or was not measured, is for the "
        "radiologist to say"
        for uids in wanted
        if uids.isdisjoint(here)
    )


def _unseen(look: Look, points: tuple[PriorReport, ...], said: Said) -> tuple[str, ...]:
    """Return the names of lesions that no targets are, that an earlier study shows and this one does not, and nobody has judged."""
    if not in_role(look, _TARGET) or not NON_TARGET_KEYS.isdisjoint(look.stated("fu.current")):
        return ()
    seen = set[str]()
    for lesion in look.report.subjects_of(Scope.LESION):
        seen |= said.names(lesion.tracking_uid)
    gone = dict.fromkeys(said.names(uid) for uid in sorted(_shown(points) - seen))
    return tuple(_name(uids, points) for uids in gone if not any(uids & t for t in said.targets))


def _without_them(response: ResponseOverTime, unseen: tuple[str, ...], *, newest: bool) -> ResponseOverTime:
    """Return a response that leaves open what the lesions without a measurement decide: everything but progression."""
    way = ": say what the non-targets do with --non-targets" if newest else ""
    why = f"{', '.join(unseen)}, no target, has no measurement in this examination{way}"
    overall, choi = (None if r != "PD" else r for r in (response.overall_response, response.choi_response))
    if (overall, choi) == (response.overall_response, response.choi_response) != (None, None):
        return response
    return replace(
        response,
        overall_response=overall,
        choi_response=choi,
        not_given=(*response.not_given, f"no response of all lesions together: {why}"),
    )


def _reported_targets(points: tuple[PriorReport, ...]) -> Iterator[str]:
    """Yield the tracking UIDs of the lesions that the newest report of ours calls targets."""
    newest = next((p.report for p in points if p.reported and p.report is not None), None)
    for lesion in newest.subjects_of(Scope.LESION) if newest is not None else ():
        answers = newest.answers_of("fu.baseline_cat", lesion.key) if newest is not None else ()
        if any(a.status is Status.CONFIRMED and a.says(load_codes()[_TARGET]) for a in answers):
            yield lesion.tracking_uid


def _name(uids: frozenset[str], points: tuple[PriorReport, ...]) -> str:
    """Return what a lesion was called when it was last seen."""
    for point in points:
        for lesion in point.report.subjects_of(Scope.LESION) if point.report is not None else ():
            if lesion.tracking_uid in uids:
                return f"{lesion.tracking_id or lesion.key} of {day(point.study_date)}"
    return min(uids)


def _response(look: Look, missing: tuple[str, ...], said: Said, *, newest: bool) -> ResponseOverTime:
    report = look.report
    base = baseline_point(look)
    method = next((m for m in look.keys("fu.method") if m in CHOI_METHODS), "")
    current, overall, by_choi = look.keys("fu.current"), look.key("fu.overall"), look.key("fu.choi_resp")
    known = ResponseOverTime(
        method=_METHODS.get(method, _RECIST),
        targets=in_role(look, _TARGET),
        baseline_date=base.study_date if base is not None else "",
        sum_mm=look.number("fu.sum"),
        baseline_sum_mm=look.number("fu.sum_baseline"),
        nadir_mm=look.number("fu.sum_nadir"),
        nadir_basis=next((a.basis for a in report.answers_of("fu.sum_nadir")), ""),
        change_from_baseline_percent=look.number("fu.pct_baseline"),
        change_from_nadir_percent=look.number("fu.pct_nadir"),
        change_from_nadir_mm=look.number("fu.abs_nadir"),
        attenuation_change_percent=look.number("fu.choi_hu_pct"),
        target_response=next((str(r) for r, k in TARGET_KEYS.items() if k in current), None),
        overall_response=next((str(r) for r, k in RESPONSE_KEYS.items() if k == overall), None),
        choi_response=next((str(r) for r, k in RESPONSE_KEYS.items() if k == by_choi), None),
        course=tuple(str(v) for a in report.answers_of("fu.sum_course") for v in a.values),
        remarks=tuple(_remarks(look, said)),
    )
    return replace(known, not_given=tuple(_not_given(look, known, missing, method=method, newest=newest)))


def _remarks(look: Look, said: Said) -> Iterator[str]:
    for rule in broken_rules(look.report, look.template, look.clinical, prior=look.prior):
        if rule.rule in _TARGET_RULES:
            yield rule.message
    if said.targets:
        yield (
            "targets were named for this comparison: where no report of ours says otherwise, their sizes are those that were measured, "
            "which nobody has confirmed"
        )


# --- why not ---------------------------------------------------------------------------------------------------------------


def _not_given(
    look: Look, known: ResponseOverTime, missing: tuple[str, ...], *, method: str, newest: bool
) -> Iterator[str]:
    if is_baseline(look.report):
        yield "the report of this study says that it is the baseline"
        return
    if missing:
        yield from missing
    elif not known.targets:
        yield _NO_TARGET
    else:
        yield from _no_sums(look, known)
    if method:
        if known.choi_response is None:
            yield from _no_choi(look, known, newest=newest)
    elif known.overall_response is None:
        yield from _no_overall(look, newest=newest)


def _no_sums(look: Look, known: ResponseOverTime) -> Iterator[str]:
    if measured_targets(look) is None:
        unmeasured = [k for k in known.targets if size_of(look, k) is None]
        yield f"no sum: {', '.join(unmeasured) or 'a target'} has no diameter in this examination"
    if known.baseline_sum_mm is None:
        base = baseline_point(look)
        if base is None:
            yield "no baseline sum: no earlier examination is known as the baseline"
        else:
            unknown = _unknown_at_baseline(look, known)
            yield (
                f"no baseline sum: the size of {', '.join(unknown)} is not known at the baseline of {day(base.study_date)}; where it "
                "goes by another tracking UID there, say so with --same-as"
            )
    elif known.baseline_sum_mm == 0:
        yield "no change from baseline: the baseline sum is 0 mm"
    elif nadir(look) is None and not CHOI_METHODS.intersection(look.keys("fu.method")):
        yield "no smallest sum: the size of a target is not known at one of the examinations since the baseline"


def _unknown_at_baseline(look: Look, known: ResponseOverTime) -> tuple[str, ...]:
    alone = (replace(look, report=_only(look.report, k)) for k in known.targets)
    return tuple(k for k, one in zip(known.targets, alone, strict=True) if not baseline_targets(one))


def _only(report: Report, target: str) -> Report:
    """Return a report in which one lesion alone has a role."""
    kept = (a for a in report.answers if a.item != "fu.baseline_cat" or a.subject == target)
    return replace(report, answers=tuple(kept))


def _new_lesion(look: Look, *, newest: bool) -> Iterator[str]:
    if look.stated("fu.new_lesion"):
        return
    if newest:
        yield "nobody has said whether there is a new lesion: say it with --new-lesion"
    else:
        yield "nobody has said whether there is a new lesion; --new-lesion is said of the newest examination alone"


def _others(look: Look, *, newest: bool) -> Iterator[str]:
    others = in_role(look, _NON_TARGET)
    if others and NON_TARGET_KEYS.isdisjoint(look.stated("fu.current")):
        way = ": say it with --non-targets" if newest else ""
        yield f"nobody has said what the lesions do that are no targets ({', '.join(others)}){way}"


def _no_overall(look: Look, *, newest: bool) -> Iterator[str]:
    for why in _new_lesion(look, newest=newest):
        yield f"no overall response: {why}"
    for why in _others(look, newest=newest):
        yield f"no overall response: {why}"


def _no_choi(look: Look, known: ResponseOverTime, *, newest: bool) -> Iterator[str]:
    whys = [*_new_lesion(look, newest=newest)]
    if not look.stated("fu.new_nodule"):
        way = ": say it with --new-nodule" if newest else ""
        whys.append(f"nobody has said whether a nodule in the tumour is new or grows{way}")
    whys += _others(look, newest=newest)
    if known.targets and known.attenuation_change_percent is None:
        whys.append(_no_attenuation(look, known))
    yield from (f"no response by {known.method}: {why}" for why in whys)


def _no_attenuation(look: Look, known: ResponseOverTime) -> str:
    if len(known.targets) > 1:
        return "the attenuation of several targets is not put together, since the criteria leave open how"
    why = incomparable(look, known.targets[0])
    if why == "the enhancement phase is not known for both":
        return f"{why}: where those that the headers propose are right, say so with --confirm-phases"
    return why or "the attenuation at the baseline is not known, or is 0 HU or below"
