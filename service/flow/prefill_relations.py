"""Proposals about vessels and organs, from how a tumour's segment lies to theirs (`service.measure.relations`).

A number is proposed as it was measured. What is said in words rests on the thresholds of ``[clinical]``, and is left open where the
number is too near to one to tell. That two segments do not overlap never says anything: label maps exclude each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from service.flow.context import Context, Source, quantity
from service.model.measurement import Measurement, Reference
from service.model.relation import Relation
from service.model.report import Answer, Provenance, Scope, Status, Value
from service.settings import Clinical
from sr_templates import Item

#: vessels in which tumour grows on; an artery that overlaps the tumour is a fault of one of the segments
_VEINS = frozenset(
    {
        "ves.ivc", "ves.renal_v", "ves.renal_v_r", "ves.renal_v_l", "ves.ovarian_v", "ves.testicular_v", "ves.adrenal_v",
        "ves.common_iliac_v", "ves.ext_iliac_v", "ves.int_iliac_v", "ves.iliac_v", "ves.hepatic_v", "ves.hepatic_v_r",
        "ves.hepatic_v_m", "ves.hepatic_v_l", "ves.hepatic_v_inf_r", "ves.portal_v", "ves.smv", "ves.imv", "ves.splenic_v",
        "ves.azygos_v", "ves.lumbar_v", "ves.asc_lumbar_v", "ves.great_saphenous_v", "ves.femoral_v", "ves.svc",
    }
)  # fmt: skip
_FULL_CIRCLE = 360
#: part of a tumour in %, within a vein, from which hardly any of it lies outside: whether it is all within is not for a mask to say
_MOSTLY_WITHIN = 95.0
_MM3_PER_CM3 = 1000


def touches(relation: Relation) -> bool:
    """Say whether the two segments touch."""
    return relation.distance is not None and relation.distance <= 0


def degrees_of(relation: Relation, angle: Measurement, clinical: Clinical) -> str:
    """Return abutment, encasement or circumferential encasement; empty where the angle is too near to the limit."""
    if round(angle.value) >= _FULL_CIRCLE:
        return "vr.circumf"
    if abs(angle.value - clinical.encasement_degrees) <= relation.angle_within:
        return ""
    return "vr.encase" if angle.value > clinical.encasement_degrees else "vr.abut"


def _enters(relation: Relation, clinical: Clinical) -> bool:
    """Say whether the tumour's segment reaches into a vein's outline deeper than two outlines of one wall would differ."""
    inside = relation.intravascular
    return inside is not None and relation.role in _VEINS and inside.depth >= clinical.intravascular_depth_mm


def _within(relation: Relation) -> str:
    inside = relation.intravascular
    if inside is None:  # pragma: no cover - the caller has looked
        return ""
    return (
        f"{inside.volume / _MM3_PER_CM3:.1f} mL of the tumour's segment lie within the outline of '{relation.label}', up to "
        f"{inside.depth:.0f} mm deep: suggests tumour in the vein"
    )


def _answer(
    context: Context, item: Item, values: tuple[Value, ...], basis: str, evidence: Iterable[Reference]
) -> tuple[Answer, ...]:
    own = context.subject.segment if context.subject else None
    return (
        Answer(
            item=item.key,
            subject=context.subject.key if context.subject else "",
            values=values,
            status=Status.PROPOSED,
            provenance=Provenance.SEGMENTATION,
            basis=basis,
            evidence=tuple(dict.fromkeys(e for e in evidence if e != own)),
        ),
    )


def _related(context: Context, item: Item) -> tuple[Answer, ...]:
    """Propose a number that was measured between tumour and structure."""
    found = context.relation.number(item.key) if context.relation else None
    value = quantity(item, found.value) if found else None
    return _answer(context, item, (value,), found.method, found.evidence) if found and value else ()


def _suggested(context: Context, item: Item) -> tuple[Answer, ...]:
    """Propose what follows from where the segments lie."""
    suggestions = context.relation.suggestions if context.relation else ()
    for suggestion in suggestions:
        if suggestion.item == item.key and set(suggestion.values) <= set(item.value_keys):
            values = tuple(context.codes[v] for v in suggestion.values)
            tumour = (context.relation.tumour,) if context.relation else ()
            return _answer(context, item, values, suggestion.basis, (*tumour, *suggestion.evidence))
    return ()


def _relation(context: Context, item: Item) -> tuple[Answer, ...]:
    """Propose the relation to a vessel or an organ: no contact, contact, and how much of it."""
    relation, clinical = context.relation, context.clinical
    if relation is None or relation.distance is None:
        return ()
    names: list[str] = []
    bases: list[str] = []
    apart = relation.distance
    organ = item.scope is Scope.ORGAN
    angle = relation.number("ves.contact_angle")
    if apart >= clinical.apart_mm:
        names.append("or.separate" if organ else "vr.none")
        bases.append(
            f"segments {apart:.0f} mm apart, known within {relation.within:.1f} mm, at least {clinical.apart_mm:g}"
        )
    elif organ and touches(relation):
        names.append("or.contact")
        bases.append(f"the segments touch, known within {relation.within:.1f} mm")
    elif angle is not None and (degrees := degrees_of(relation, angle, clinical)):
        names.append(degrees)
        bases.append(
            f"contact of {angle.value:.0f} degrees, known within {relation.angle_within:.0f}; "
            f"above {clinical.encasement_degrees:g} encasement"
        )
    if not organ and _enters(relation, clinical):
        names.append("vr.luminal")
        bases.append(_within(relation))
    values = tuple(context.codes[n] for n in names if n in item.value_keys)
    evidence = (relation.tumour, *(angle.evidence if angle else ()))
    return _answer(context, item, values, "; ".join(bases), evidence) if values else ()


def _tumour_in_vein(context: Context, item: Item) -> tuple[Answer, ...]:
    # never "absent": label maps exclude each other
    entered = [r for r in context.relations if _enters(r, context.clinical)]
    if not entered:
        return ()
    deepest = max(entered, key=lambda r: r.intravascular.depth if r.intravascular else 0.0)
    value = context.codes["v.present"]
    return _answer(context, item, (value,), _within(deepest), (deepest.structure, deepest.tumour))


def _growth_pattern(context: Context, item: Item) -> tuple[Answer, ...]:
    # never completely extravascular, nor completely intravascular: masks show neither
    for relation in context.segment.relations if context.segment else ():
        inside = relation.intravascular
        if inside is not None and _enters(relation, context.clinical) and inside.share < _MOSTLY_WITHIN:
            evidence = (relation.structure,)
            return _answer(context, item, (context.codes["gp.mixed"],), _within(relation), evidence)
    return ()


RELATION_SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "related": _related,
        "related_levels": _suggested,
        "relation": _relation,
        "tumour_in_vein": _tumour_in_vein,
        "growth_pattern": _growth_pattern,
    }
)
"""What an item's ``prefill`` may name, beside `service.flow.prefill.SOURCES`."""
