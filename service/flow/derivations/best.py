"""The best overall response (RECIST 1.1, 4.4.3): the best of all time points from the baseline to progression."""

from __future__ import annotations

from service.flow.derivations.asked import Asked, Derived, coded, key_in
from service.flow.derivations.response import RESPONSE_KEYS
from service.flow.derivations.timeline import baseline_point, day, is_baseline, since_baseline
from service.flow.recist import Response
from service.model.code import Code
from service.model.prior import PriorReport
from service.model.report import Status
from sr_templates.evaluate import evaluated

_OVERALL = "fu.overall"
#: the better one first; what is not evaluable is no response
_ORDER = (Response.CR, Response.PR, Response.SD, Response.PD)


def best_response(asked: Asked) -> Derived | None:
    """Propose the best overall response, this examination included.

    Nothing without a baseline, where a report since then states no overall response, or states one of disease without targets, which the
    item has no value for. Whether a response was confirmed by a second examination, and whether the disease was stable for long enough,
    depends on the trial: nothing is taken from that, and the basis says so.
    """
    start = baseline_point(asked)
    now = asked.key(_OVERALL)
    if start is None or is_baseline(asked.report) or not now:
        return None
    said, left_out = [], 0
    for point in reversed(since_baseline(asked)):
        if point == start:
            continue
        if not point.reported or point.report is None:
            left_out += 1
            continue
        key = _stated(asked, point)
        if not key:
            return None
        said.append(key)
    responses = [r for key in (*said, now) for r, known in RESPONSE_KEYS.items() if known == key]
    if Response.NOT_CR_NOT_PD in responses:
        return None
    if Response.PD in responses:
        responses = responses[: responses.index(Response.PD) + 1]
    best = next((r for r in _ORDER if r in responses), None)
    if best is None:
        return None
    count = len(responses)
    note = f"; {left_out} examination{'s' * (left_out > 1)} without a report not counted" if left_out else ""
    basis = (
        f"best of {count} examination{'s' * (count > 1)} since the baseline of {day(start.study_date)}, up to progression; neither "
        f"confirmation nor duration was looked at{note}"
    )
    return coded((RESPONSE_KEYS[best],), basis, asked.used(_OVERALL))


def _stated(asked: Asked, point: PriorReport) -> str:
    """Return the overall response that a person stated or confirmed at an earlier time point, as the template calls it."""
    item = asked.template.item(_OVERALL)
    answers = point.report.answers_of(_OVERALL) if point.report is not None else ()
    stated = (a for a in answers if a.status is Status.CONFIRMED and evaluated(a))
    found = [v for a in stated for v in a.values if isinstance(v, Code)]
    return key_in(item, found[0]) if len(found) == 1 else ""
