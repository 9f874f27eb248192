"""Measurements as plain values, for ``lms-sr measure FOLDER --json`` and for scripts."""

from __future__ import annotations

from collections.abc import Iterable

from service.model.measurement import Measurement, SegmentMeasurements
from service.model.relation import Relation


def segments(measured: Iterable[tuple[str, SegmentMeasurements]]) -> list[dict[str, object]]:
    """Return a list of segments and ROIs: study, label, source, number, and their measurements with name, value, unit and method.

    Lengths are in mm, areas in mm2, volumes in mm3, attenuation in HU, uptake in g/ml (SUVbw), diffusion in um2/s, fractions in %,
    angles in degrees. A tumour's ``relations`` are to the other segments of its frame of reference.

    ``measured``: segments, each with the Study Instance UID of its study.
    """
    return [{"study_instance_uid": uid, **_segment(m)} for uid, m in measured]


def _segment(measured: SegmentMeasurements) -> dict[str, object]:
    return {
        "label": measured.label,
        "source_sop_instance_uid": measured.source.sop_instance_uid,
        "segment": measured.segment,
        "kind": measured.kind.value,
        "role": measured.role,
        "role_basis": measured.role_basis,
        "tracking_uid": measured.tracking_uid,
        "image_series_instance_uid": measured.image_series_instance_uid,
        "modality": measured.modality,
        "overlaps": [{"source_sop_instance_uid": uid, "segment": number} for uid, number in measured.overlaps],
        "laterality": measured.laterality,
        "laterality_basis": measured.laterality_basis,
        "measurements": [_measurement(m) for m in measured.measurements],
        "on_other_series": [_measurement(m) for m in measured.on_other_series],
        "relations": [_relation(r) for r in measured.relations],
        "remarks": list(measured.remarks),
        "refusals": list(measured.refusals),
    }


def _relation(relation: Relation) -> dict[str, object]:
    facts: dict[str, object] = {
        "label": relation.label,
        "source_sop_instance_uid": relation.structure.sop_instance_uid,
        "segment": relation.structure.number,
        "role": relation.role,
        "laterality": relation.laterality,
        "measurements": [_measurement(m) for m in relation.measurements],
        "suggestions": [{"name": s.item, "values": list(s.values), "basis": s.basis} for s in relation.suggestions],
        "remarks": list(relation.remarks),
        "refusals": list(relation.refusals),
    }
    if relation.intravascular is not None:
        inside = relation.intravascular
        facts["intravascular"] = {"volume_mm3": inside.volume, "depth_mm": inside.depth, "percent": inside.share}
    return facts


def _measurement(measurement: Measurement) -> dict[str, object]:
    facts: dict[str, object] = {
        "name": measurement.name,
        "value": measurement.value,
        "unit": measurement.unit,
        "method": measurement.method,
    }
    if measurement.derivation:
        facts["derivation"] = measurement.derivation
    if measurement.threshold is not None:
        facts["threshold"] = measurement.threshold
    lines = [
        {"sop_instance_uid": e.sop_instance_uid, "frames": list(e.frames), "points": [list(p) for p in e.points]}
        for e in measurement.evidence
        if e.points
    ]
    if lines:
        facts["lines"] = lines
    images = [
        {"series_instance_uid": e.series_instance_uid, "sop_instance_uid": e.sop_instance_uid}
        for e in measurement.evidence[1:]
        if not e.points
    ]
    if images:
        facts["images"] = images
    return facts
