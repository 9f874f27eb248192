"""A lesion beside its earlier self: which one that is and why, and what became of its size and attenuation. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal

from service.flow.derivations.asked import Look
from service.flow.derivations.earlier import days_between, other_scan, same_way, volumes
from service.flow.derivations.sizes import means
from service.flow.derivations.timeline import Then, last_seen
from service.model.comparison import Change, LesionOverTime, Matched, MatchKind, Value
from service.model.prior import PriorReport
from service.model.report import Answer, Quantity, Report, Subject, Uid
from service.settings import Clinical
from sr_templates import Template
from sr_templates.evaluate import evaluated

#: what is told of a lesion's size, where it is known
_SIZES = ("sz.long_axis", "sz.short_axis", "sz.max3d", "sz.volume", "ct.hu")
_TENTH = Decimal("0.1")


def lesion_over_time(
    report: Report, key: str, template: Template, clinical: Clinical, prior: PriorReport | None
) -> LesionOverTime:
    """Return a lesion of a report beside the newest earlier time point that shows it.

    Parameters
    ----------
    report, template:
        What was derived with ``prior``.
    key:
        The lesion's.
    clinical:
        Thresholds.
    prior:
        The newest earlier time point, with those before it.
    """
    look = Look(report=report, template=template, subject=key, clinical=clinical, prior=prior)
    lesion = report.subject(key)
    if lesion is None:
        msg = f"no lesion {key} in the report"
        raise ValueError(msg)
    then = last_seen(look, key)
    return LesionOverTime(
        key=key,
        tracking_id=lesion.tracking_id,
        tracking_uid=lesion.tracking_uid,
        sizes=tuple(_sizes(look)),
        match=_known(lesion, then) if then is not None else _suggested(look, prior),
        change=_change(look, then) if then is not None else None,
        course=tuple(str(v) for a in report.answers_of("fu.course", key) for v in a.values),
        remarks=lesion.remarks,
    )


def _sizes(look: Look) -> Iterable[Value]:
    for name in _SIZES:
        item = look.template.item(name)
        answers = look.answers(name)
        for answer in means(answers) if name == "ct.hu" else answers:
            for value in answer.values:
                if item is not None and isinstance(value, Quantity) and value.number is not None:
                    yield Value(
                        item=name,
                        label=item.label,
                        value=value.number,
                        unit=value.unit.value,
                        status=answer.status,
                        provenance=answer.provenance,
                        basis=answer.basis,
                    )


def _known(lesion: Subject, then: Then) -> Matched:
    same = then.subject.tracking_uid == lesion.tracking_uid
    return Matched(
        how=MatchKind.TRACKING_UID if same else MatchKind.SAID,
        study_date=then.point.study_date,
        tracking_uid=then.subject.tracking_uid,
        label=then.subject.tracking_id or then.subject.key,
        reason="it has the same tracking UID" if same else "a person said that they are one lesion",
    )


def _suggested(look: Look, prior: PriorReport | None) -> Matched | None:
    """Return the lesion that it may be by position and size; None: none is suggested."""
    points = prior.points if prior is not None else ()
    for answer in look.report.answers_of("fu.same_as", look.subject):
        for uid in answer.values:
            places = ((p, at) for p in points for at in p.lesions_at if isinstance(uid, Uid) and at.key == uid.value)
            for point, place in places:
                return Matched(
                    how=MatchKind.SUGGESTED,
                    study_date=point.study_date,
                    tracking_uid=place.key,
                    label=place.label,
                    reason=answer.basis,
                )
    return None


def _change(look: Look, then: Then) -> Change:
    not_given: list[str] = []
    volume_before, volume = _number(then.answers("sz.volume")), look.number("sz.volume")
    pair = volumes(look)
    if pair is None:
        not_given.append(_no_volume_change(look, volume_before, volume))
    days = days_between(look)
    doubling = _number(look.answers("fu.doubling"))
    if pair is not None and doubling is None:
        not_given.append(_no_doubling(look, pair, days))
    axis_before, axis = _number(then.answers("sz.long_axis")), look.number("sz.long_axis")
    hu_before, hu = _number(means(then.answers("ct.hu"))), _number(means(look.answers("ct.hu")))
    mismatch = other_scan(look, look.subject)
    if mismatch:
        not_given.append(f"no change of attenuation: {mismatch}")
    comparable = hu_before is not None and hu is not None and not mismatch
    return Change(
        since=then.point.study_date,
        days=days,
        volume_before_ml=volume_before,
        volume_ml=volume,
        volume_change_percent=_percent(*pair) if pair is not None else None,
        doubling_time_days=doubling,
        growth_percent_per_day=_number(look.answers("fu.sgr")),
        long_axis_before_mm=axis_before,
        long_axis_mm=axis,
        long_axis_change_percent=_percent(axis_before, axis) if axis_before and axis is not None else None,
        attenuation_before_hu=hu_before,
        attenuation_hu=hu,
        attenuation_change_hu=hu - hu_before if comparable and hu is not None and hu_before is not None else None,
        not_given=tuple(not_given),
    )


def _no_volume_change(look: Look, before: Decimal | None, now: Decimal | None) -> str:
    if before is None or now is None:
        return f"no change of volume: it was not measured {'now' if now is None else 'then'}"
    if not same_way(look):
        return "no change of volume: the two were not found by one method, known for both, in the same modalities"
    return "no change of volume: one of them is 0"


def _no_doubling(look: Look, pair: tuple[Decimal, Decimal], days: Decimal | None) -> str:
    least = look.clinical.doubling_min_days
    if pair[1] <= pair[0]:
        return "no doubling time: the volume did not grow"
    if days is None or days < least:
        return f"no doubling time: it needs at least {least} days between the examinations"
    return "no doubling time: it lies outside the range in which it is told"


def _percent(before: Decimal, now: Decimal) -> Decimal:
    return ((now - before) / before * 100).quantize(_TENTH, ROUND_HALF_UP)


def _number(answers: Iterable[Answer]) -> Decimal | None:
    numbers = (v.number for a in answers if evaluated(a) for v in a.values if isinstance(v, Quantity))
    return next((n for n in numbers if n is not None), None)
