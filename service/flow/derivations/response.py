"""What follows for the response to treatment: sums, changes, RECIST 1.1 and Choi. The criteria are in `recist` and `choi`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from service.flow import recist
from service.flow.choi import Change, Signs, choi_response
from service.flow.derivations.asked import Asked, Derived, Look, Pair, coded, numeric
from service.flow.derivations.earlier import baseline_attenuation, baseline_size
from service.flow.derivations.sizes import means
from service.flow.derivations.timeline import Then, baseline_point, day, is_baseline, seen_at, since_baseline
from service.flow.recist import Response, Target
from service.model.prior import PriorReport
from service.model.report import Quantity, Scope, Status
from sr_templates import load_codes

TARGET_KEYS: Mapping[Response, str] = MappingProxyType(
    {Response.CR: "fu.t_cr", Response.PR: "fu.t_pr", Response.SD: "fu.t_sd", Response.PD: "fu.t_pd"}
)
_NON_TARGET: Mapping[str, Response] = MappingProxyType(
    {"fu.n_cr": Response.CR, "fu.n_irsd": Response.NOT_CR_NOT_PD, "fu.n_pd": Response.PD}
)
NON_TARGET_KEYS = frozenset(_NON_TARGET)
RESPONSE_KEYS: Mapping[Response, str] = MappingProxyType(
    {
        Response.CR: "fu.cr",
        Response.PR: "fu.pr",
        Response.SD: "fu.sd",
        Response.PD: "fu.pd",
        Response.NE: "fu.ne",
        Response.NOT_CR_NOT_PD: "fu.noncr_nonpd",
    }
)
CHOI_METHODS = frozenset({"fu.choi", "fu.mchoi"})
NODE_KEYS = ("ln.", "mets.lymph_node")
_TOO_SMALL = "fu.too_small"


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The target lesions of a report, measured."""

    lesions: tuple[Target, ...]
    #: the answers that this rests on
    used: tuple[Pair, ...]
    #: how many of them have no size because they are too small
    too_small: int = 0


def in_role(look: Look, role: str) -> tuple[str, ...]:
    """Return the keys of the lesions with a role at baseline (``fu.target``, ``fu.nontarget``)."""
    return tuple(s.key for s in look.report.subjects_of(Scope.LESION) if role in look.keys("fu.baseline_cat", s.key))


def measured_targets(look: Look) -> Targets | None:
    """Return the target lesions with their diameters; None where there is none, or one has no size."""
    lesions: list[Target] = []
    used: list[Pair] = []
    too_small = 0
    for key in in_role(look, "fu.target"):
        axis = axis_of(look, key)
        measured = look.number(axis, key)
        size = size_of(look, key)
        if size is None:
            return None
        lesions.append(_target(look, key, size))
        used.extend(look.used("fu.baseline_cat", axis if measured is not None else _TOO_SMALL, row=key))
        too_small += measured is None
    return Targets(lesions=tuple(lesions), used=tuple(used), too_small=too_small) if lesions else None


def size_of(look: Look, key: str) -> Decimal | None:
    """Return the size of a target now, in mm; None where it has none.

    A size that was measured counts, however small it is; without one, what is called too small to measure counts 5 mm (RECIST 1.1, 4.3.1).
    """
    measured = look.number(axis_of(look, key), key)
    if measured is None and "v.yes" in look.keys(_TOO_SMALL, key):
        return recist.TOO_SMALL_MM
    return measured


def axis_of(look: Look, key: str) -> str:
    """Return the item of a lesion's length by RECIST: the long axis, of a node the short one."""
    return "sz.short_axis" if _is_node(look, key) else "sz.long_axis"


def _is_node(look: Look, key: str) -> bool:
    return any(k.startswith(NODE_KEYS) for i in ("tid.finding_site", "tid.finding") for k in look.keys(i, key))


def _target(look: Look, key: str, size: Decimal) -> Target:
    return Target(diameter_mm=size, node=_is_node(look, key), organ=look.key("tid.finding_site", key))


def chosen_targets(look: Look) -> tuple[Target, ...]:
    """Return the lesions that were chosen as targets, with their size now; 0 where they have none."""
    return tuple(_target(look, k, size_of(look, k) or Decimal(0)) for k in in_role(look, "fu.target"))


def baseline_targets(look: Look) -> tuple[Target, ...]:
    """Return the targets whose size at baseline is known, with that size."""
    sizes = ((k, baseline_size(look, axis_of(look, k), k)) for k in in_role(look, "fu.target"))
    return tuple(_target(look, k, size) for k, size in sizes if size is not None)


def baseline_sum(asked: Asked) -> Derived | None:
    """Sum up the targets as they were at baseline; nothing where the size of one is not known there, or nobody confirmed it."""
    keys, targets = in_role(asked, "fu.target"), baseline_targets(asked)
    if not keys or len(targets) < len(keys):
        return None
    point = baseline_point(asked)
    when = (
        "this examination" if is_baseline(asked.report) or point is None else f"the baseline of {day(point.study_date)}"
    )
    used = tuple(pair for key in keys for pair in asked.used("fu.baseline_cat", row=key))
    count = len(keys)
    return numeric(asked, recist.total(targets), f"sum of {count} target{'s' * (count > 1)} in {when}", used)


def nadir_sum(asked: Asked) -> Derived | None:
    """Give the smallest sum so far: of the baseline, and of every time point since for which the sum is known.

    Nothing where a report since the baseline knows no sum and not the size of every target: the smallest one may have been there.
    """
    base = asked.number("fu.sum_baseline")
    if base is None or is_baseline(asked.report):
        return None
    least, when, left_out = base, "the baseline", 0
    start = baseline_point(asked)
    for point in since_baseline(asked):
        if point == start or point.report is None:
            continue
        if not point.reported:
            left_out += 1
            continue
        found = sum_at(asked, point)
        if found is None:
            return None
        if found < least:
            least, when = found, day(point.study_date)
    note = f"; {left_out} examination{'s' * (left_out > 1)} without a report not counted" if left_out else ""
    return numeric(asked, least, f"smallest sum so far: {when}{note}", asked.used("fu.sum_baseline"))


def sum_at(look: Look, point: PriorReport) -> Decimal | None:
    """Return the sum of the targets at an earlier time point: as reported, else of their confirmed sizes."""
    stated = [
        v.number
        for a in (point.report.answers_of("fu.sum") if point.report is not None else ())
        if a.status is not Status.PROPOSED
        for v in a.values
        if isinstance(v, Quantity) and v.number is not None
    ]
    if stated:
        return stated[0]
    keys = in_role(look, "fu.target")
    total = Decimal(0)
    for key in keys:
        then = seen_at(look, key, point)
        size = _size_then(then, axis_of(look, key)) if then is not None else None
        if size is None:
            return None
        total += size
    return total if keys else None


def _size_then(then: Then, axis: str) -> Decimal | None:
    """Return the size of a target at an earlier time point, as `size_of` does."""
    sizes = [v.number for a in then.answers(axis) for v in a.values if isinstance(v, Quantity)]
    if sizes and sizes[0] is not None:
        return sizes[0]
    yes = load_codes()["v.yes"]
    return recist.TOO_SMALL_MM if any(a.says(yes) for a in then.answers(_TOO_SMALL)) else None


def target_sum(asked: Asked) -> Derived | None:
    """Sum up the targets: long axes, short axes of nodes; nothing where one was not measured."""
    targets = measured_targets(asked)
    if targets is None:
        return None
    count, small = len(targets.lesions), targets.too_small
    said = f", {small} too small to measure: 5 mm{' each' * (small > 1)}" if small else ""
    return numeric(
        asked, recist.total(targets.lesions), f"sum of {count} target{'s' * (count > 1)}{said}", targets.used
    )


def pct_baseline(asked: Asked) -> Derived | None:
    """Give the change of the sum from baseline in %."""
    now, then = asked.number("fu.sum"), asked.number("fu.sum_baseline")
    if now is None or then is None or (change := Change(before=then, now=now).percent) is None:
        return None
    return numeric(asked, change, "sum against baseline sum", asked.used("fu.sum", "fu.sum_baseline"))


def nadir(look: Look) -> Decimal | None:
    """Return the smallest sum so far: the baseline is one of them."""
    known = [n for n in (look.number("fu.sum_nadir"), look.number("fu.sum_baseline")) if n is not None]
    return min(known) if look.number("fu.sum_nadir") is not None else None


_NADIR_ITEMS = ("fu.sum", "fu.sum_nadir", "fu.sum_baseline")


def pct_nadir(asked: Asked) -> Derived | None:
    """Give the change of the sum from its nadir in %."""
    now, least = asked.number("fu.sum"), nadir(asked)
    if now is None or least is None or (change := Change(before=least, now=now).percent) is None:
        return None
    return numeric(asked, change, "sum against nadir sum", asked.used(*_NADIR_ITEMS))


def abs_nadir(asked: Asked) -> Derived | None:
    """Give the change of the sum from its nadir in mm."""
    now, least = asked.number("fu.sum"), nadir(asked)
    if now is None or least is None:
        return None
    return numeric(asked, now - least, "sum - nadir sum", asked.used(*_NADIR_ITEMS))


def by_recist(look: Look) -> bool:
    """Say whether the response is by RECIST: the method says so, or says nothing."""
    return not CHOI_METHODS.intersection(look.keys("fu.method"))


def target_category(look: Look) -> tuple[Response, tuple[Pair, ...]] | None:
    """Return the response of the targets and what it rests on; None where sums or sizes are missing."""
    targets, baseline, least = measured_targets(look), look.number("fu.sum_baseline"), nadir(look)
    if targets is None or not baseline or least is None or not by_recist(look):
        return None
    found = recist.target_response(
        recist.total(targets.lesions), baseline, least, all_gone=all(t.gone for t in targets.lesions)
    )
    return found, (*targets.used, *look.used("fu.sum_baseline", "fu.sum_nadir"))


def current_response(asked: Asked) -> Derived | None:
    """Propose the response of the set of targets; that of the non-targets is a judgement, and a person's."""
    found = target_category(asked)
    if found is None:
        return None
    response, used = found
    return coded((TARGET_KEYS[response],), "RECIST 1.1, targets", used)


def overall_category(look: Look) -> Response | None:
    """Return the overall response by RECIST 1.1; None before a person has answered the question for new lesions.

    Non-targets count as not all evaluated once a person stated the current response without one for them.
    """
    new_lesion = look.stated("fu.new_lesion")
    if not by_recist(look) or not new_lesion:
        return None
    current = look.keys("fu.current")
    stated = any(a.status is Status.CONFIRMED for a in look.report.answers_of(*look.of("fu.current")))
    has_targets, has_others = bool(in_role(look, "fu.target")), bool(in_role(look, "fu.nontarget"))
    target = next((r for r, key in TARGET_KEYS.items() if key in current), None)
    others = next((_NON_TARGET[k] for k in current if k in _NON_TARGET), None)
    if target is None and has_targets:
        if not stated and others is not Response.PD and "v.present" not in new_lesion:
            return None
        target = Response.NE
    if others is None and has_others:
        if not stated and target is not Response.PD and "v.present" not in new_lesion:
            return None
        others = Response.NE
    known = {"v.present": True, "v.absent": False}.get(new_lesion[0])
    if target is None and others is None and not known:
        return None
    return recist.overall_response(target, others, new_lesion=known)


def overall_response(asked: Asked) -> Derived | None:
    """Propose the overall response from targets, non-targets and new lesions."""
    found = overall_category(asked)
    if found is None:
        return None
    roles = (p for s in asked.report.subjects_of(Scope.LESION) for p in asked.used("fu.baseline_cat", row=s.key))
    used = (*asked.used("fu.current", "fu.new_lesion"), *roles)
    return coded((RESPONSE_KEYS[found],), "RECIST 1.1: targets, non-targets, new lesions", used)


def choi_hu_pct(asked: Asked) -> Derived | None:
    """Give the change of the mean attenuation from baseline in %, of one target, where the two scans can be compared."""
    change = _attenuation(asked)
    if change is None or change.percent is None:
        return None
    key = in_role(asked, "fu.target")[0]
    basis = f"mean attenuation {change.now:f} HU, baseline {change.before:f} HU"
    return numeric(asked, change.percent, basis, asked.used("ct.hu", "fu.baseline_cat", row=key))


def _attenuation(look: Look) -> Change | None:
    # several targets would need a weighting that the criteria leave open
    targets = in_role(look, "fu.target")
    if len(targets) != 1:
        return None
    now = next(
        (v.number for a in means(look.answers("ct.hu", targets[0])) for v in a.values if isinstance(v, Quantity)), None
    )
    before = baseline_attenuation(look, targets[0])
    return Change(before=before, now=now) if now is not None and before is not None else None


def choi_category(look: Look) -> Response | None:
    """Return the response by Choi, or modified Choi, as the method says; None where something is not answered yet.

    Progression alone does not wait for the word about the non-targets.
    """
    method = CHOI_METHODS.intersection(look.keys("fu.method"))
    new_lesion, nodule = look.stated("fu.new_lesion"), look.stated("fu.new_nodule")
    if not method or not new_lesion or not nodule:
        return None
    targets, baseline = measured_targets(look), look.number("fu.sum_baseline")
    percent = look.number("fu.choi_hu_pct")
    size = Change(before=baseline or Decimal(0), now=recist.total(targets.lesions) if targets else Decimal(0))
    all_gone = targets is not None and all(t.gone for t in targets.lesions)
    if "v.present" not in {*new_lesion, *nodule} and not all_gone and (not targets or not baseline or percent is None):
        return None
    density = _density(look, percent)
    known = {"v.present": True, "v.absent": False}
    signs = Signs(
        new_lesion=known.get(new_lesion[0]),
        new_nodule=known.get(nodule[0]),
        non_target_progression=_non_target_progression(look),
        all_gone=all_gone,
    )
    found = choi_response(size, density, signs, modified="fu.mchoi" in method)
    return None if signs.non_target_progression is None and found is not Response.PD else found


def _non_target_progression(look: Look) -> bool | None:
    """Say whether disease that is not measured progresses; None where nobody has said so yet.

    A person says it of the non-targets; there are none once every lesion has its role and that of none is non-target.
    """
    said = [_NON_TARGET[k] for k in look.stated("fu.current") if k in _NON_TARGET]
    if said:
        return Response.PD in said
    roles = [look.stated("fu.baseline_cat", s.key) for s in look.report.subjects_of(Scope.LESION)]
    return False if all(r and "fu.nontarget" not in r for r in roles) else None


def _density(look: Look, percent: Decimal | None) -> Change | None:
    """Return the change of attenuation: as measured where the answer is ours, so that 14.993 % is not the 15 % that it is shown as."""
    if percent is None:
        return None
    exact = _attenuation(look)
    if exact is not None and exact.percent is not None and exact.percent.quantize(percent) == percent:
        return exact
    return Change(before=Decimal(100), now=100 + percent)


def propose_choi(asked: Asked) -> Derived | None:
    """Propose the response by Choi or modified Choi."""
    found = choi_category(asked)
    if found is None:
        return None
    modified = "fu.mchoi" in asked.keys("fu.method")
    targets = measured_targets(asked)
    used = (
        *(targets.used if targets else ()),
        *asked.used("fu.method", "fu.sum_baseline", "fu.choi_hu_pct", "fu.new_lesion", "fu.new_nodule", "fu.current"),
    )
    return coded((RESPONSE_KEYS[found],), f"{'modified ' if modified else ''}Choi criteria", used)
