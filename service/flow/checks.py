"""Checks that a rule of a template may name, where a condition cannot say it: the consistency checks of the clinical content."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType

from service.flow import recist
from service.flow.derivations import earlier, response, sizes, staging
from service.flow.derivations.asked import Look, key_in
from service.flow.derive import derived_value
from service.model.code import Code
from service.model.report import Answer, Provenance, Quantity, Report, Scope, Status, Value
from service.sr import words
from sr_templates import Item, load_codes
from sr_templates.evaluate import evaluated, holds

Check = Callable[[Look], str | None]
"""Returns what breaks the rule, in words that follow "Here:", or None where it is kept; an empty text says nothing beside the message."""


_SEGMENTS = ("ivc.lower", "ivc.middle", "ivc.upper")


def ivc_contiguous(look: Look) -> str | None:
    """Check that the segments of the vena cava that are involved lie beside each other (check IVC1)."""
    found = sorted(_SEGMENTS.index(k) for k in look.keys("ivc.segment", "ves.ivc") if k in _SEGMENTS)
    return "" if found == [0, 2] else None


def ivc_origin(look: Look) -> str | None:
    """Check that the segment of origin is one of those involved (check IVC1)."""
    origin, involved = look.key("ivc.origin_segment", "ves.ivc"), look.keys("ivc.segment", "ves.ivc")
    return "" if origin in _SEGMENTS and involved and origin not in involved else None


_LUMINAL = "vr.luminal"
_INTRAVASCULAR = frozenset({"gp.mixed", "gp.intra"})


def growth_intravascular(look: Look) -> str | None:
    """Check that a tumour that is completely intravascular lies in its vessel of origin (check GP1).

    The origin is the index tumour's: another lesion, or one whose origin is not known, lies in any vessel.
    """
    if look.key("gp") != "gp.intra":
        return None
    filled = _vessels_with_tumour(look)
    origin = look.key("ves.origin")
    if look.subject not in {"", look.index} or origin in {"v.none", "v.undetermined", ""}:
        return None if filled else ""
    return None if any(_is_or_is_part_of(vessel, origin) for vessel in filled) else ""


def growth_extravascular(look: Look) -> str | None:
    """Check that no vessel has intraluminal tumour where growth is completely extravascular (check GP1).

    The vessels' relations are those of every lesion: intraluminal tumour may be another one's, which is mixed or intravascular.
    """
    if look.key("gp") != "gp.extra" or not _vessels_with_tumour(look):
        return None
    others = (s.key for s in look.report.subjects_of(Scope.LESION) if s.key != look.subject)
    return None if any(_INTRAVASCULAR.intersection(look.keys("gp", k)) for k in others) else ""


def _vessels_with_tumour(look: Look) -> tuple[str, ...]:
    """Return the vessels with intraluminal tumour, as the item that names them calls them."""
    matrix = look.template.matrix(Scope.VESSEL)
    listed = look.template.item(matrix.item) if matrix else None
    return tuple(
        key_in(listed, s.structure) if s.structure else s.key.partition("/")[0]
        for s in look.report.subjects_of(Scope.VESSEL)
        if _LUMINAL in look.keys("ves.relation", s.key)
    )


def _is_or_is_part_of(vessel: str, origin: str) -> bool:
    """Say whether a vessel is the origin, one side or branch of it (``ves.hepatic_v_l``), or called by the general name."""
    general = vessel == "ves.iliac_v" and origin.endswith("_iliac_v")
    return vessel == origin or vessel.startswith(f"{origin}_") or general


#: "less than 1 %" (check SZ1)
_ELLIPSOID_TOLERANCE = Decimal("0.01")


def ellipsoid_volume(look: Look) -> str | None:
    """Check that a volume that is called an ellipsoid's is that of the three extents, but for less than 1 % (check SZ1)."""
    volume, ellipsoid = look.number("sz.volume"), sizes.ellipsoid_of(look)
    if sizes.volume_method(look) != "sz.method_ellipsoid" or volume is None or not ellipsoid:
        return None
    if abs(volume - ellipsoid) < _ELLIPSOID_TOLERANCE * ellipsoid:
        return None
    return f"{volume:f} mL, the extents give {ellipsoid:.1f} mL"


def volume_disagreement(look: Look) -> str | None:
    """Check that segmented volume and ellipsoid differ by no more than the setting says, in % of the segmented volume (check SZ1)."""
    volume, ellipsoid = look.number("sz.volume"), sizes.ellipsoid_of(look)
    segmented = sizes.volume_method(look) == "sz.method_voxel" or any(
        a.provenance is Provenance.SEGMENTATION for a in look.answers("sz.volume")
    )
    if not segmented or not volume or ellipsoid is None:
        return None
    limit = Decimal(str(look.clinical.volume_disagreement_percent))
    if abs(volume - ellipsoid) / volume * 100 <= limit:
        return None
    return f"{volume:f} mL segmented, the extents give {ellipsoid:.0f} mL"


def axis_shortfall(look: Look) -> str | None:
    """Check that one of the extents reaches the long axis, but for what the setting allows (check SZ2)."""
    axis = look.number("sz.long_axis")
    extents = [n for n in (look.number(i) for i in (*sizes.EXTENTS, "sz.max3d")) if n is not None]
    if axis is None or not extents or max(extents) >= axis - Decimal(str(look.clinical.axis_shortfall_mm)):
        return None
    return f"long axis {axis:f} mm, largest dimension {max(extents):f} mm"


def _stated(look: Look, item: str, row: str = "") -> Answer | None:
    """Return an answer that a person stated without a reason; a reason explains why it differs."""
    answers = look.report.answers_of(*look.of(item, row))
    return next((a for a in answers if a.status is Status.CONFIRMED and not a.reason and evaluated(a)), None)


def t_override(look: Look) -> str | None:
    """Check that a T category other than the size gives has a reason (check T1)."""
    return _overridden(look, "t_category")


def _overridden(look: Look, *derivations: str) -> str | None:
    for item in look.template:
        if item.derive not in derivations:
            continue
        # a rule about the report as a whole looks at every subject of the item
        subjects = subjects_of(item.scope, look) if item.scope is not Scope.REPORT else ("",)
        for subject in subjects:
            if (detail := differs(item, seen_from(look, subject))) is not None:
                return detail
    return None


def stage_group(look: Look) -> str | None:
    """Check that a stated stage group is the one of the retroperitoneum chapter for T, N, M and grade (check T2).

    With M1, or with N1 and M0, the chapter has one group for every grade. A grade that pathology could not assess counts with G1 there:
    such a group may be stated, and is never proposed. Without a grade at all a group follows from nothing.
    """
    answer = _stated(look, "st.group")
    if answer is None:
        return None
    if look.key("st.chapter") != "st.chapter.rp":
        return "the retroperitoneum chapter is not chosen"
    t, n, m, grade = (look.key(i) for i in ("st.t", "st.n", "st.m", "gr.histologic_grade"))
    expected = staging.stage_group(t, n, m, "gr.g1" if grade == "gr.gx" else grade)
    if not expected and (m == "st.m1" or (n == "st.n1" and m == "st.m0")):
        expected = staging.stage_group(t, n, m, "gr.g1")
    if not expected:
        return "T, N, M or grade is missing"
    return None if look.key("st.group") == expected else f"{load_codes()[expected].meaning} follows"


def fnclcc_grade(look: Look) -> str | None:
    """Check that a stated grade is that of its scores (check FN1)."""
    grade, total = look.key("gr.histologic_grade"), staging.fnclcc_sum(look)
    if total is None:
        total = look.number("gr.total")
    if total is None or not grade or grade == staging.fnclcc_grade(total):
        return None
    return f"total {total:f} is {load_codes()[staging.fnclcc_grade(total)].meaning}"


def recist_targets(look: Look) -> str | None:
    """Check that there are at most 5 targets, 2 in one organ, measurable at baseline (check R1).

    The sizes at baseline are those of this report where it is the baseline, else those of the earlier report where that is: what was
    measured later may have shrunk.
    """
    faults = recist.unfit_targets(response.chosen_targets(look), baseline=False)
    report = earlier.baseline_report(look)
    if report is not None:
        faults += recist.unmeasurable(response.baseline_targets(look), slice_mm=_thinnest(report))
    return ", ".join(faults) if faults else None


def _thinnest(report: Report) -> Decimal | None:
    """Return the least slice thickness of a report's series, in mm; None where none is known."""
    answers = (a for s in report.subjects_of(Scope.SERIES) for a in report.answers_of("tid.slice_thickness", s.key))
    numbers = (v.number for a in answers for v in a.values if isinstance(v, Quantity) and v.number is not None)
    return min(numbers, default=None)


def recist_response(look: Look) -> str | None:
    """Check that stated responses are those of RECIST 1.1 for sums, non-targets and new lesions (check R2)."""
    current = _stated(look, "fu.current")
    found = response.target_category(look)
    if current is not None and found is not None:
        expected = response.TARGET_KEYS[found[0]]
        stated = [k for k in look.keys("fu.current") if k in response.TARGET_KEYS.values()]
        if stated and stated != [expected]:
            return f"the sums give {load_codes()[expected].meaning}"
    overall = response.overall_category(look)
    if _stated(look, "fu.overall") is None or overall is None:
        return None
    expected = response.RESPONSE_KEYS[overall]
    return None if look.key("fu.overall") == expected else f"{load_codes()[expected].meaning} follows"


def choi_phase(look: Look) -> str | None:
    """Check that a Choi response, or a change in attenuation, stands only where the two scans can be compared (check C1).

    "Not evaluable" stands always, and so does progression, which new lesions and nodules give without attenuation. Without the earlier
    report only this examination's phase is looked at: portal venous.
    """
    answers = [_stated(look, "fu.choi_resp"), _stated(look, "fu.choi_hu_pct")]
    free = {"fu.ne", "fu.pd", ""}
    if answers[1] is None and (answers[0] is None or look.key("fu.choi_resp") in free):
        return None
    phases = {look.key("tech.phase", s.key) for s in look.report.subjects_of(Scope.SERIES)}
    if "phase.portal" not in phases:
        return "no series of this examination is called portal venous"
    targets = response.in_role(look, "fu.target")
    if look.prior is None or look.prior.report is None or len(targets) != 1:
        return None
    return earlier.incomparable(look, targets[0]) or None


def doubling_interval(look: Look) -> str | None:
    """Check that a stated doubling time is of growth, over the least interval, by one method in one modality (check G1)."""
    if look.number("fu.doubling") is None:
        return None
    days, least = earlier.days_between(look), look.clinical.doubling_min_days
    if days is not None and days < least:
        return f"{days:f} days, at least {least}"
    before = earlier.earlier_answers(look, "sz.volume", look.subject)
    if not before:
        return None
    pair = earlier.volumes(look)
    if pair is None:
        return "the two volumes were not found by one method in one modality"
    return None if pair[1] > pair[0] else "the volume did not grow"


CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "ivc_contiguous": ivc_contiguous,
        "ivc_origin": ivc_origin,
        "growth_intravascular": growth_intravascular,
        "growth_extravascular": growth_extravascular,
        "ellipsoid_volume": ellipsoid_volume,
        "axis_shortfall": axis_shortfall,
        "volume_disagreement": volume_disagreement,
        "t_override": t_override,
        "stage_group": stage_group,
        "fnclcc_grade": fnclcc_grade,
        "recist_targets": recist_targets,
        "recist_response": recist_response,
        "choi_phase": choi_phase,
        "doubling_interval": doubling_interval,
    }
)
"""What a rule's ``check`` may name."""


def seen_from(look: Look, subject: str) -> Look:
    """Return the same report as seen from another subject."""
    return Look(report=look.report, template=look.template, subject=subject, clinical=look.clinical, prior=look.prior)


def subjects_of(scope: Scope, look: Look) -> tuple[str, ...]:
    """Return the subjects of a scope, those of the matrix that no answer has yet among them; empty text: the report as a whole."""
    if scope is Scope.REPORT:
        return ("",)
    matrix = look.template.matrix(scope)
    rows = matrix.rows if matrix else ()
    asked = [r.key for r in rows if holds(r.when, look.report, look.template, r.key, look.clinical)]
    return tuple(dict.fromkeys((*asked, *(s.key for s in look.report.subjects_of(scope)))))


def differs(item: Item, look: Look) -> str | None:
    """Return what the software derives instead of what a person stated without a reason.

    None where the two agree, where it derives nothing, and where a reason stands beside the answer.
    """
    answer = _stated(look, item.key, look.subject)
    if answer is None:
        return None
    derived = derived_value(item, look)
    if derived is None or all(_agrees(v, answer.values) for v in derived.values):
        return None
    return f"{'; '.join(words.value(v) for v in derived.values)} ({derived.basis})"


def _agrees(value: Value, stated: Iterable[Value]) -> bool:
    if isinstance(value, Code):
        return any(isinstance(s, Code) and s.same(value) for s in stated)
    if isinstance(value, Quantity) and value.number is not None:
        # as many digits as were stated are what was meant
        numbers = [s.number for s in stated if isinstance(s, Quantity) and s.number is not None]
        return any(round(value.number, max(0, -int(n.as_tuple().exponent))) == n for n in numbers)
    return value in tuple(stated)
