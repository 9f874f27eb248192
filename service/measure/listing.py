"""Measurements as JSON, for ``lms-sr measure FOLDER --json`` and for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterable

from service.model.measurement import Measurement, SegmentMeasurements


def to_json(measured: Iterable[SegmentMeasurements]) -> str:
    """Return a list of segments: label, source, segment number, and their measurements with name, value, unit and method.

    Lengths are in mm, volumes in mm3, attenuation in HU, fractions in %.
    """
    return json.dumps([_segment(m) for m in measured], ensure_ascii=False, indent=2)


def _segment(measured: SegmentMeasurements) -> dict[str, object]:
    return {
        "label": measured.label,
        "source_sop_instance_uid": measured.source.sop_instance_uid,
        "segment": measured.segment,
        "role": measured.role,
        "role_basis": measured.role_basis,
        "tracking_uid": measured.tracking_uid,
        "image_series_instance_uid": measured.image_series_instance_uid,
        "laterality": measured.laterality,
        "laterality_basis": measured.laterality_basis,
        "measurements": [_measurement(m) for m in measured.measurements],
        "remarks": list(measured.remarks),
        "refusals": list(measured.refusals),
    }


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
    return facts
