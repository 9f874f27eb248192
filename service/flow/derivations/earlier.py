"""What follows from the patient's earlier time points: growth, and whether attenuation can be compared.

Of a report of ours only what a person stated or confirmed counts. What was measured at a time point without one counts too, but what
follows from it stays a proposal and says so. Which lesion is which is in `timeline`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

from service.flow.derivations.asked import Asked, Derived, Look, coded, key_in, numeric
from service.flow.derivations.sizes import means, volume_method
from service.flow.derivations.timeline import (
    Then,
    baseline_point,
    day,
    days_since,
    is_baseline,
    last_seen,
    points_of,
    seen_at,
)
from service.flow.recist import PARTIAL, progressed
from service.model.code import Code
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status, Subject
from sr_templates.evaluate import evaluated

_DAYS_PER_MONTH = Decimal("30.4375")
#: tube voltages this close count as one class: low-kV images differ by 20 kV and more
_SAME_KV = Decimal(10)
#: where this item says what a lesion measures elsewhere, that is not what is compared
_OTHER_SERIES = "ct.hu_series"


def earlier_subject(look: Look, subject: str) -> Subject | None:
    """Return the same lesion at the newest earlier time point that shows it."""
    then = last_seen(look, subject)
    return then.subject if then is not None else None


def earlier_answers(look: Look, item: str, subject: str) -> tuple[Answer, ...]:
    """Return what counts as said of the same lesion at the newest earlier time point that shows it."""
    then = last_seen(look, subject)
    return then.answers(item) if then is not None else ()


def _number(answers: tuple[Answer, ...]) -> Decimal | None:
    numbers = (v.number for a in answers for v in a.values if isinstance(v, Quantity))
    return next((n for n in numbers if n is not None), None)


def days_between(look: Look) -> Decimal | None:
    """Return the days from the time point that a lesion is compared with to this examination; None where not known or below 1."""
    then = last_seen(look, look.subject)
    point = then.point if then is not None else look.prior
    if point is None:
        days = look.number("fu.interval")
        return days if days is not None and days >= 1 else None
    return days_since(look, point)


def _so_far(derived: Derived | None, answers: tuple[Answer, ...]) -> Derived | None:
    """Return what follows from earlier numbers: as unsure as they are."""
    if derived is None or all(a.status is Status.CONFIRMED for a in answers):
        return derived
    return replace(
        derived, unsure=True, basis=f"{derived.basis}; the earlier number was measured, and nobody confirmed it"
    )


def specific_growth_rate(before: Decimal, now: Decimal, days: Decimal) -> Decimal:
    """Return ln(V2/V1)/dt in %/day (Mehrara et al., Cancer Res 2007); volumes above 0 in one unit, at least one day."""
    return Decimal(repr(math.log(now / before))) / days * 100


def doubling_days(before: Decimal, now: Decimal, days: Decimal) -> Decimal | None:
    """Return dt x ln 2 / ln(V2/V1) in days; None where the volume did not grow."""
    if not now > before > 0:
        return None
    return days * Decimal(repr(math.log(2) / math.log(now / before)))


def volumes(look: Look) -> tuple[Decimal, Decimal] | None:
    """Return the lesion's volume then and now, where both were found by one method in one modality."""
    before, now = _number(earlier_answers(look, "sz.volume", look.subject)), look.number("sz.volume")
    if before is None or now is None or before <= 0 or now <= 0 or not same_way(look):
        return None
    return before, now


def same_way(look: Look) -> bool:
    """Say whether the two volumes were found by one method, known for both, and in the same modalities."""
    before = _method(look)
    then = last_seen(look, look.subject)
    modalities = then.point.modalities if then is not None else ()
    return bool(before) and before == volume_method(look) and _images(modalities) == _images(look.report.modalities)


def _method(look: Look) -> str:
    """Return the key of the method that the earlier volume was found by; empty: not said."""
    answers = earlier_answers(look, "sz.volume", look.subject)
    found = [a.method for a in answers if a.method]
    found += [v for a in earlier_answers(look, "tid.method", look.subject) for v in a.values if isinstance(v, Code)]
    return key_in(look.template.item("tid.method"), found[0]) if found else ""


def _images(modalities: tuple[str, ...]) -> frozenset[str]:
    return frozenset({"CT", "MR"}.intersection(modalities))


def doubling_time(asked: Asked) -> Derived | None:
    """Give the volume doubling time in days: of growth, over the least interval, by one method in one modality."""
    pair, days = volumes(asked), days_between(asked)
    if pair is None or days is None or days < asked.clinical.doubling_min_days:
        return None
    found = doubling_days(*pair, days)
    if found is None:
        return None
    derived = numeric(asked, found, _volumes(pair, days), asked.used("sz.volume", "fu.interval"))
    return _so_far(derived, earlier_answers(asked, "sz.volume", asked.subject))


def sgr(asked: Asked) -> Derived | None:
    """Give the specific growth rate in %/day; defined for shrinkage too."""
    pair, days = volumes(asked), days_between(asked)
    if pair is None or days is None:
        return None
    derived = numeric(
        asked, specific_growth_rate(*pair, days), _volumes(pair, days), asked.used("sz.volume", "fu.interval")
    )
    return _so_far(derived, earlier_answers(asked, "sz.volume", asked.subject))


def _volumes(pair: tuple[Decimal, Decimal], days: Decimal) -> str:
    return f"volume {pair[0]:f} mL, {days:f} days later {pair[1]:f} mL"


def _axes(look: Look) -> tuple[Decimal, Decimal] | None:
    before, now = _number(earlier_answers(look, "sz.long_axis", look.subject)), look.number("sz.long_axis")
    return (before, now) if before and now is not None else None


def diameter_rate(asked: Asked) -> Derived | None:
    """Give the growth of the long axis in mm per month of 30.44 days."""
    pair, days = _axes(asked), days_between(asked)
    if pair is None or days is None:
        return None
    basis = f"long axis {pair[0]:f} mm, {days:f} days later {pair[1]:f} mm"
    derived = numeric(
        asked, (pair[1] - pair[0]) / days * _DAYS_PER_MONTH, basis, asked.used("sz.long_axis", "fu.interval")
    )
    return _so_far(derived, earlier_answers(asked, "sz.long_axis", asked.subject))


def lesion_change(asked: Asked) -> Derived | None:
    """Propose whether a lesion grew or shrank since the comparison, by RECIST's limits applied to it alone.

    20 % and 5 mm more is larger, 30 % less is smaller. A lesion without an earlier size is only a question, never a new finding.
    """
    pair = _axes(asked)
    if pair is None:
        return None
    before, now = pair
    key = "v.increase" if progressed(now, before) else "v.decrease" if now <= PARTIAL * before else "v.no_change"
    derived = coded((key,), f"long axis {now:f} mm, before {before:f} mm", asked.used("sz.long_axis"))
    return _so_far(derived, earlier_answers(asked, "sz.long_axis", asked.subject))


def baseline_report(look: Look) -> Report | None:
    """Return the report of the baseline: the one at hand, or an earlier one; None where none is."""
    if is_baseline(look.report):
        return look.report
    point = baseline_point(look)
    return point.report if point is not None else None


def baseline_size(look: Look, item: str, subject: str) -> Decimal | None:
    """Return a size of a lesion at baseline, in mm; None where it is not known. An earlier one has to be confirmed."""
    if is_baseline(look.report):
        return look.number(item, subject)
    then = at_baseline(look, subject)
    return _number(then.answers(item)) if then is not None else None


def at_baseline(look: Look, subject: str) -> Then | None:
    """Return a lesion at the earlier time point that is the baseline; None where that is not known, or does not show it."""
    point = baseline_point(look)
    return seen_at(look, subject, point) if point is not None else None


def baseline_attenuation(look: Look, subject: str) -> Decimal | None:
    """Return the lesion's mean attenuation at baseline, in HU; None where it is not known or cannot be compared."""
    then = at_baseline(look, subject)
    if then is None or incomparable(look, subject):
        return None
    return _number(means(then.answers("ct.hu")))


def incomparable(look: Look, subject: str) -> str:
    """Return why the attenuation of a lesion cannot be compared with that at baseline, in words; empty where it can.

    Without a baseline the newest time point that shows the lesion is looked at.
    """
    if not any(p.report is not None for p in points_of(look)):
        return "the earlier report is not known"
    then = at_baseline(look, subject) or last_seen(look, subject)
    if look.report.subject(subject) is None or then is None:
        return "the lesion is not in the earlier report"
    return incomparable_with(look, subject, then)


def incomparable_with(look: Look, subject: str, then: Then) -> str:
    """Return why the attenuation of a lesion cannot be compared with that at an earlier time point, in words; empty where it can.

    Phase and tube voltage have to be known and the same, and both numbers have to be means of the whole segmented lesion.
    """
    here = look.report.subject(subject)
    if here is None:
        return "the lesion is not in this report"
    now, before = _scan(look.report, here, sure=True), _scan(then.report, then.subject, sure=True)
    if now[0] is None or before[0] is None:
        return "the enhancement phase is not known for both"
    if not now[0].same(before[0]):
        return "the enhancement phases differ"
    if now[1] is None or before[1] is None:
        return "the tube voltage is not known for both"
    if abs(now[1] - before[1]) > _SAME_KV:
        return "the tube voltages differ"
    kinds = {
        a.provenance
        for answers in (means(look.answers("ct.hu", subject)), means(then.answers("ct.hu")))
        for a in answers
    }
    return "" if kinds == {Provenance.SEGMENTATION} else "not both are means of the whole segmented lesion"


def other_scan(look: Look, subject: str) -> str:
    """Return in words how the scan of a lesion's attenuation differs from that of the earlier one; empty where it is not known to.

    A proposed phase counts: this warns, it decides nothing.
    """
    here, then = look.report.subject(subject), last_seen(look, subject)
    if here is None or then is None or not (means(look.answers("ct.hu", subject)) and means(then.answers("ct.hu"))):
        return ""
    now, before = _scan(look.report, here, sure=False), _scan(then.report, then.subject, sure=False)
    found = []
    if now[0] is not None and before[0] is not None and not now[0].same(before[0]):
        found.append(f"{before[0].meaning} then, {now[0].meaning} now")
    if now[1] is not None and before[1] is not None and abs(now[1] - before[1]) > _SAME_KV:
        found.append(f"{before[1]:f} kV then, {now[1]:f} kV now")
    return f"{day(then.point.study_date)}: {'; '.join(found)}" if found else ""


def _scan(report: Report, lesion: Subject, *, sure: bool) -> tuple[Code | None, Decimal | None]:
    """Return phase and tube voltage of the series that a lesion was measured on; of several, only what they have in common.

    ``sure``: a phase that is only proposed is not known.
    """
    uids = {
        e.series_instance_uid
        for a in report.answers
        if a.subject == lesion.key and a.item != _OTHER_SERIES
        for e in a.evidence
    }
    series = [s for s in report.subjects_of(Scope.SERIES) if s.tracking_uid in uids]
    phases = {
        v
        for s in series
        for a in report.answers_of("tech.phase", s.key)
        if not (sure and a.status is Status.PROPOSED) and evaluated(a)
        for v in a.values
        if isinstance(v, Code)
    }
    volts = {_number(report.answers_of("tech.kvp", s.key)) for s in series}
    return phases.pop() if len(phases) == 1 else None, volts.pop() if len(volts) == 1 else None
