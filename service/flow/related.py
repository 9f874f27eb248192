"""Which vessels and organs of a report are segmented, and which segment of several speaks for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from service.flow.prefill_relations import degrees_of, touches
from service.flow.subjects import structure_of_role
from service.model.measurement import SegmentMeasurements
from service.model.relation import Relation
from service.model.report import Scope, Subject
from service.model.study import Study
from service.settings import Clinical
from sr_templates import Template
from sr_templates.order import ordered_subjects

_SCOPES: Mapping[str, Scope] = MappingProxyType({"ves.": Scope.VESSEL, "org.": Scope.ORGAN})
#: roles that say a side by themselves
_SIDED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {"ves.renal_v_r": ("ves.renal_v", "v.right"), "ves.renal_v_l": ("ves.renal_v", "v.left")}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """A structure of the report, with the relation that its proposals rest on."""

    subject: Subject
    relation: Relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The structures that something is proposed about, in the order of the report, and what to tell about the others."""

    related: tuple[Related, ...] = ()
    remarks: tuple[str, ...] = ()


def related_structures(
    study: Study,
    template: Template,
    lesions: Iterable[tuple[Subject, SegmentMeasurements]],
    clinical: Clinical,
) -> Found:
    """Return the vessels and organs that are segmented.

    Those that the template lists always; others, as a person would name them, only where the tumour touches them. Of several tumours the
    one that lies nearest counts; of several segments of one structure the one of the tumour's own segmentation, else the nearest.
    """
    lesions = tuple(lesions)
    by_structure: dict[str, list[tuple[Relation, str]]] = {}
    remarks: list[str] = []
    for relation, lesion in ((r, one.key) for one, segment in lesions for r in segment.relations):
        role, side = _SIDED.get(relation.role, (relation.role, relation.laterality))
        scope = _SCOPES[role[: len("ves.")]]
        subject = structure_of_role(template, study, scope, role, side, touched=touches(relation))
        if isinstance(subject, str):
            if subject:
                remarks.append(f"No relation to the segment '{relation.label}' is proposed: {subject}")
            continue
        if subject is not None:
            by_structure.setdefault(subject.key, []).append((relation, lesion))
    found = []
    for key, pairs in by_structure.items():
        chosen, lesion = min(pairs, key=lambda p: (_preference(p[0]), p[1]))
        role, side = _SIDED.get(chosen.role, (chosen.role, chosen.laterality))
        subject = structure_of_role(template, study, _SCOPES[role[: len("ves.")]], role, side, touched=True)
        if not isinstance(subject, Subject):  # pragma: no cover - it was one before
            continue
        told = list(_remarks(chosen, clinical))
        segments = {(r.structure, r.label) for r, _ in pairs}
        if len(segments) > 1:
            told.append(f"{len(segments)} segments of it are there: the relation is that of '{chosen.label}'")
        if len(lesions) > 1:
            told.append(f"The relation is that of {lesion}, which lies nearest")
        # the contours of an ROI name their images themselves
        series = chosen.structure_series_instance_uid if chosen.structure.roi is None else ""
        subject = replace(subject, segment=chosen.structure, source_series=series, remarks=tuple(told))
        found.append((key, Related(subject=subject, relation=chosen)))
    by_key = dict(found)
    ordered = ordered_subjects((r.subject for r in by_key.values()), template)
    return Found(related=tuple(by_key[s.key] for s in ordered), remarks=tuple(dict.fromkeys(remarks)))


def _preference(relation: Relation) -> tuple[bool, bool, float, float, str, int]:
    angle = relation.number("ves.contact_angle")
    return (
        relation.distance is None,
        relation.structure.sop_instance_uid != relation.tumour.sop_instance_uid,
        relation.distance or 0.0,
        -(angle.value if angle else 0.0),
        relation.structure.sop_instance_uid,
        relation.structure.number or 0,
    )


def _remarks(relation: Relation, clinical: Clinical) -> Iterable[str]:
    yield from relation.remarks
    yield from relation.refusals
    angle = relation.number("ves.contact_angle")
    if angle is not None and not degrees_of(relation, angle, clinical):
        yield (
            f"Contact of {angle.value:.0f} degrees is known within {relation.angle_within:.0f}: too near to "
            f"{clinical.encasement_degrees:g} to propose abutment or encasement"
        )
    if relation.distance and relation.distance < clinical.apart_mm:
        yield (
            f"The segments lie {relation.distance:.1f} mm apart, known within {relation.within:.1f} mm: "
            f"below {clinical.apart_mm:g} mm neither contact nor its absence is proposed"
        )
